//! The rules of one height of Tendermint, and nothing else.
//!
//! Algorithm 1 of Buchman, Kwon, Milosevic: *The latest gossip on BFT consensus* (arXiv:1807.04938),
//! transcribed line by line: the numbers in the comments are the paper's. An input is stored, then the
//! rules fire until none can. A value is known here by its hash only.
//!
//! Absent on purpose, because [`crate::agreement`] does them: signatures, the wire, the disk, time,
//! bounds. Inputs must be checked already: each vote is by a member, each proposal by the proposer of
//! its round with `pol_round < round`.
//!
//! Two deviations. `getValue()` (L18) may take a while, so a proposer without a valid value schedules
//! `timeoutPropose` too. `valid(v)` has three answers: a value that is right but came at the wrong time
//! is refused where a value is proposed for the first time (L22) and nowhere else (rule `P9`).

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use serde::{Deserialize, Serialize};

/// The number of a round within a height, from 0.
pub type Round = u32;

/// The index of a member of the committee.
pub type Member = usize;

/// The two kinds of vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The first vote of a round, on a proposal.
    Prevote,
    /// The second vote of a round, on a quorum of prevotes.
    Precommit,
}

/// `step_p`, and the name of the timeout that ends the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Waiting for the proposal.
    Propose,
    /// Prevoted, waiting for a quorum of prevotes.
    Prevote,
    /// Precommitted, waiting for a quorum of precommits.
    Precommit,
}

/// What the application says about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Right, and proposed at the right time.
    Valid,
    /// Right by replay, but its time is off or it leaves out what it should hold: no prevote when first
    /// proposed, yet a quorum that saw it otherwise may overrule.
    Untimely,
    /// Wrong by replay: never voted for, never decided.
    Invalid,
}

impl Judgement {
    fn by_replay(self) -> bool {
        self != Self::Invalid
    }
}

/// `⟨PREVOTE | PRECOMMIT, h, round, value⟩` of a member; no value is a vote for nil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    /// Who votes.
    pub by: Member,
    /// In which round.
    pub round: Round,
    /// Which of the two votes.
    pub kind: Kind,
    /// The hash of the value, or nil.
    pub value: Option<Hash>,
}

/// `⟨PROPOSAL, h, round, value, pol_round⟩` of the proposer of `round`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// In which round.
    pub round: Round,
    /// The round of the quorum of prevotes that the proposer saw for the value; none when first proposed.
    pub pol_round: Option<Round>,
    /// The hash of the value.
    pub value: Hash,
    /// What the application said when the proposal came in.
    pub judgement: Judgement,
}

/// What can happen to a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The value that [`Effect::GetValue`] asked for.
    Value(Round, Hash),
    /// A proposal.
    Proposal(Proposal),
    /// Votes that came together; the rules fire once all are stored.
    Votes(Vec<Vote>),
    /// A timeout that was scheduled has elapsed.
    Timeout(Step, Round),
}

/// What the rules want done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `round_p` is this now.
    StartRound(Round),
    /// Answer with [`Input::Value`]: this member proposes in this round.
    GetValue(Round),
    /// Broadcast a proposal.
    Propose(Round, Hash, Option<Round>),
    /// Broadcast a vote.
    Vote(Kind, Round, Option<Hash>),
    /// Schedule a timeout.
    Schedule(Step, Round),
    /// This value, with a quorum of precommits in this round, is decided.
    Decide(Round, Hash),
}

/// The votes of one kind in one round.
type Cast = BTreeSet<(Member, Option<Hash>)>;

/// The committee as the rules see it, at one height.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Number of members, N.
    pub members: usize,
    /// Votes that decide, the paper's 2f + 1.
    pub quorum: usize,
    /// Members of which one is honest, the paper's f + 1.
    pub some_honest: usize,
    /// This member.
    pub me: Member,
    /// The proposer of round 0; the others follow in turn.
    pub first_proposer: Member,
}

impl Rules {
    /// `proposer(h, round)`.
    pub fn proposer(&self, round: Round) -> Member {
        let round = usize::try_from(round).unwrap_or_default();
        self.first_proposer.wrapping_add(round).checked_rem(self.members).unwrap_or_default()
    }
}

/// The state of one height.
#[derive(Clone, Debug)]
pub struct Tendermint {
    rules: Rules,
    round: Round,
    step: Step,
    locked: Option<(Round, Hash)>,
    valid: Option<(Round, Hash)>,
    decision: Option<(Round, Hash)>,
    /// The round for which `getValue()` has not answered yet.
    awaited: Option<Round>,
    /// The rules of this round that fire *for the first time* only, and have fired.
    fired: BTreeSet<u8>,
    proposals: BTreeMap<Round, Vec<Proposal>>,
    votes: BTreeMap<(Round, Kind), Cast>,
}

impl Tendermint {
    /// L1–L10: the height begins with round 0.
    pub fn start(rules: Rules) -> (Self, Vec<Effect>) {
        let mut height = Self {
            rules,
            round: 0,
            step: Step::Propose,
            locked: None,
            valid: None,
            decision: None,
            awaited: None,
            fired: BTreeSet::new(),
            proposals: BTreeMap::new(),
            votes: BTreeMap::new(),
        };
        let mut effects = Vec::new();
        height.start_round(0, &mut effects);
        (height, effects)
    }

    /// `round_p`.
    pub fn round(&self) -> Round {
        self.round
    }

    /// `step_p`.
    pub fn step(&self) -> Step {
        self.step
    }

    /// `lockedRound_p` and `lockedValue_p`.
    pub fn locked(&self) -> Option<(Round, Hash)> {
        self.locked
    }

    /// `validRound_p` and `validValue_p`.
    pub fn valid(&self) -> Option<(Round, Hash)> {
        self.valid
    }

    /// The round of the deciding precommits, and the value.
    pub fn decision(&self) -> Option<(Round, Hash)> {
        self.decision
    }

    /// The round that waits for [`Input::Value`].
    pub fn awaited(&self) -> Option<Round> {
        self.awaited.filter(|_| self.step == Step::Propose && self.decision.is_none())
    }

    /// Whether a quorum cast this vote.
    pub fn has_quorum(&self, kind: Kind, round: Round, value: Option<Hash>) -> bool {
        self.votes_for(kind, round, value) >= self.rules.quorum
    }

    /// Stores the input and applies the rules until none fires.
    pub fn step_with(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.decision.is_some() {
            return out;
        }
        match input {
            Input::Value(round, value) => self.value(round, value, &mut out),
            Input::Proposal(proposal) => self.store(proposal),
            Input::Votes(votes) => votes.into_iter().for_each(|vote| self.count(vote)),
            Input::Timeout(step, round) => self.timeout(step, round, &mut out),
        }
        while self.decision.is_none() && self.fire(&mut out) {}
        out
    }

    fn fire(&mut self, out: &mut Vec<Effect>) -> bool {
        self.decide(out)
            || self.skip_round(out)
            || self.prevote_first(out)
            || self.prevote_again(out)
            || self.precommit_value(out)
            || self.precommit_nil(out)
            || self.prevote_timeout(out)
            || self.precommit_timeout(out)
    }

    /// L11–L21.
    fn start_round(&mut self, round: Round, out: &mut Vec<Effect>) {
        self.round = round;
        self.step = Step::Propose;
        self.awaited = None;
        self.fired.clear();
        out.push(Effect::StartRound(round));
        if self.rules.proposer(round) != self.rules.me {
            out.push(Effect::Schedule(Step::Propose, round));
        } else if let Some((valid_round, value)) = self.valid {
            self.propose(value, Some(valid_round), out);
        } else {
            self.awaited = Some(round);
            out.push(Effect::Schedule(Step::Propose, round));
            out.push(Effect::GetValue(round));
        }
    }

    /// L18–L19: `getValue()` has answered.
    fn value(&mut self, round: Round, value: Hash, out: &mut Vec<Effect>) {
        if self.awaited == Some(round) && self.step == Step::Propose {
            self.awaited = None;
            self.propose(value, None, out);
        }
    }

    /// L19; the own proposal is delivered to oneself.
    fn propose(&mut self, value: Hash, pol_round: Option<Round>, out: &mut Vec<Effect>) {
        let (round, judgement) = (self.round, Judgement::Valid);
        out.push(Effect::Propose(round, value, pol_round));
        self.store(Proposal { round, pol_round, value, judgement });
    }

    /// `broadcast ⟨kind, h_p, round_p, value⟩`; the own vote is delivered to oneself.
    fn vote(&mut self, kind: Kind, value: Option<Hash>, out: &mut Vec<Effect>) {
        out.push(Effect::Vote(kind, self.round, value));
        self.count(Vote { by: self.rules.me, round: self.round, kind, value });
        self.step = match kind {
            Kind::Prevote => Step::Prevote,
            Kind::Precommit => Step::Precommit,
        };
    }

    /// L22–L27: upon ⟨PROPOSAL, h_p, round_p, v, −1⟩ while step_p = propose.
    fn prevote_first(&mut self, out: &mut Vec<Effect>) -> bool {
        if self.step != Step::Propose {
            return false;
        }
        let Some(p) = self.current().find(|p| p.pol_round.is_none()) else {
            return false;
        };
        // L23: valid(v) ∧ (lockedRound_p = −1 ∨ lockedValue_p = v)
        let good = p.judgement == Judgement::Valid && self.locked.is_none_or(|(_, locked)| locked == p.value);
        self.vote(Kind::Prevote, good.then_some(p.value), out);
        true
    }

    /// L28–L33: upon ⟨PROPOSAL, h_p, round_p, v, vr⟩ and 2f + 1 ⟨PREVOTE, h_p, vr, id(v)⟩ while
    /// step_p = propose ∧ (vr ≥ 0 ∧ vr < round_p).
    fn prevote_again(&mut self, out: &mut Vec<Effect>) -> bool {
        if self.step != Step::Propose {
            return false;
        }
        let found = self.current().find_map(|p| {
            let vr = p.pol_round.filter(|vr| *vr < self.round)?;
            self.has_quorum(Kind::Prevote, vr, Some(p.value)).then_some((p, vr))
        });
        let Some((p, vr)) = found else { return false };
        // L29: valid(v) ∧ (lockedRound_p ≤ vr ∨ lockedValue_p = v)
        let good = p.judgement.by_replay()
            && self.locked.is_none_or(|(round, locked)| round <= vr || locked == p.value);
        self.vote(Kind::Prevote, good.then_some(p.value), out);
        true
    }

    /// L34–L35: upon 2f + 1 ⟨PREVOTE, h_p, round_p, ∗⟩ while step_p = prevote for the first time.
    fn prevote_timeout(&mut self, out: &mut Vec<Effect>) -> bool {
        let ready = self.step == Step::Prevote
            && self.voters(Kind::Prevote, self.round) >= self.rules.quorum
            && self.fired.insert(34);
        if ready {
            out.push(Effect::Schedule(Step::Prevote, self.round));
        }
        ready
    }

    /// L36–L43: upon ⟨PROPOSAL, h_p, round_p, v, ∗⟩ and 2f + 1 ⟨PREVOTE, h_p, round_p, id(v)⟩ while
    /// valid(v) ∧ step_p ≥ prevote for the first time.
    fn precommit_value(&mut self, out: &mut Vec<Effect>) -> bool {
        if self.step == Step::Propose || self.fired.contains(&36) {
            return false;
        }
        let found = self
            .current()
            .find(|p| p.judgement.by_replay() && self.has_quorum(Kind::Prevote, self.round, Some(p.value)));
        let Some(p) = found else { return false };
        self.fired.insert(36);
        self.valid = Some((self.round, p.value)); // L42–L43
        if self.step == Step::Prevote {
            self.locked = Some((self.round, p.value)); // L38–L39
            self.vote(Kind::Precommit, Some(p.value), out); // L40–L41
        }
        true
    }

    /// L44–L46: upon 2f + 1 ⟨PREVOTE, h_p, round_p, nil⟩ while step_p = prevote.
    fn precommit_nil(&mut self, out: &mut Vec<Effect>) -> bool {
        let ready = self.step == Step::Prevote && self.has_quorum(Kind::Prevote, self.round, None);
        if ready {
            self.vote(Kind::Precommit, None, out);
        }
        ready
    }

    /// L47–L48: upon 2f + 1 ⟨PRECOMMIT, h_p, round_p, ∗⟩ for the first time.
    fn precommit_timeout(&mut self, out: &mut Vec<Effect>) -> bool {
        let ready = self.voters(Kind::Precommit, self.round) >= self.rules.quorum && self.fired.insert(47);
        if ready {
            out.push(Effect::Schedule(Step::Precommit, self.round));
        }
        ready
    }

    /// L49–L54: upon ⟨PROPOSAL, h_p, r, v, ∗⟩ and 2f + 1 ⟨PRECOMMIT, h_p, r, id(v)⟩.
    fn decide(&mut self, out: &mut Vec<Effect>) -> bool {
        let found =
            self.proposals.values().flatten().find(|p| {
                p.judgement.by_replay() && self.has_quorum(Kind::Precommit, p.round, Some(p.value))
            });
        let Some(&Proposal { round, value, .. }) = found else {
            return false;
        };
        self.decision = Some((round, value));
        out.push(Effect::Decide(round, value));
        true
    }

    /// L55–L56: upon f + 1 ⟨∗, h_p, round, ∗, ∗⟩ with round > round_p. Counted over votes.
    fn skip_round(&mut self, out: &mut Vec<Effect>) -> bool {
        let later = self.votes.keys().map(|(round, _)| *round).rev();
        let found = later.take_while(|round| *round > self.round).find(|round| {
            let both = [Kind::Prevote, Kind::Precommit];
            let voters: BTreeSet<Member> =
                both.iter().flat_map(|kind| self.cast(*kind, *round)).map(|(by, _)| *by).collect();
            voters.len() >= self.rules.some_honest
        });
        let Some(round) = found else { return false };
        self.start_round(round, out);
        true
    }

    /// L57–L67. A timeout of another round, or of a step that is over, changes nothing.
    fn timeout(&mut self, step: Step, round: Round, out: &mut Vec<Effect>) {
        if round != self.round {
            return;
        }
        match step {
            Step::Propose if self.step == Step::Propose => self.vote(Kind::Prevote, None, out),
            Step::Prevote if self.step == Step::Prevote => self.vote(Kind::Precommit, None, out),
            Step::Precommit => self.start_round(self.round.saturating_add(1), out),
            Step::Propose | Step::Prevote => {}
        }
    }

    fn store(&mut self, proposal: Proposal) {
        self.proposals.entry(proposal.round).or_default().push(proposal);
    }

    fn count(&mut self, vote: Vote) {
        self.votes.entry((vote.round, vote.kind)).or_default().insert((vote.by, vote.value));
    }

    /// The proposals of `round_p`, in the order in which they came.
    fn current(&self) -> impl Iterator<Item = Proposal> {
        self.proposals.get(&self.round).into_iter().flatten().copied()
    }

    fn cast(&self, kind: Kind, round: Round) -> impl Iterator<Item = &(Member, Option<Hash>)> {
        self.votes.get(&(round, kind)).into_iter().flatten()
    }

    /// Members that cast this very vote.
    fn votes_for(&self, kind: Kind, round: Round, value: Option<Hash>) -> usize {
        self.cast(kind, round).filter(|(_, cast)| *cast == value).count()
    }

    /// Members that cast any vote of this kind; one that cast two counts once.
    fn voters(&self, kind: Kind, round: Round) -> usize {
        self.cast(kind, round).map(|(by, _)| by).collect::<BTreeSet<_>>().len()
    }
}
