//! Agreement on one batch after the other, around the rules in [`crate::tendermint`].
//!
//! **Invariant**: whatever a message of this member depends on is in [`Output::Write`] before the
//! [`Output::Send`] that carries it (rule `P10`). A restart feeds the written inputs to the rules again
//! and so arrives at the votes that it may have sent, never at others.
//!
//! Sans-IO: no clock, randomness, file, socket or thread. Time and the nonce are arguments, the caller
//! executes the outputs strictly in order and may be killed between any two. The formats are specified
//! in `docs/spec/agreement.md`.
//!
//! Deliberately absent: what a value means ([`App`]), and which heads are final (rule `P11`).

mod committee;
mod guard;
mod height;
mod message;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use custody::{Blob, Hash};
use ed25519_dalek::SigningKey;

pub use committee::{Committee, CommitteeError, MEMBERS_MAX, MEMBERS_MIN, Seat};
pub use height::{PROPOSALS_PER_ROUND, ROUNDS_AHEAD};
pub use message::{
    Answer, Certificate, Decision, Evidence, MESSAGE_MAX_BYTES, Message, Probe, Proposal, VALUE_MAX_BYTES,
    VOTES_MAX, Vote, value_hash,
};

use crate::tendermint::{self, Effect, Judgement, Kind, Member, Round, Step, Tendermint};
use guard::{Guard, Trust};
use height::Height;
use message::Voice;
use record::Record;

/// Time for the proposal of round 0 to arrive, in ms: a batch, its replay and one relayed hop.
pub const TIMEOUT_PROPOSE_MS: u64 = 500;

/// Time for the missing votes of round 0, in ms, once a quorum of votes is there.
pub const TIMEOUT_VOTE_MS: u64 = 250;

/// What each further round adds to its timeouts, in ms, so that some round is long enough.
pub const TIMEOUT_STEP_MS: u64 = 250;

/// While a height runs, what the others may have missed is sent again after this time, in ms.
pub const RETRANSMIT_MS: u64 = 1000;

/// Heights that may be decided before the first of them is final. Those that are not final yet are
/// kept to help whoever missed them: nobody can catch up by heads that are not co-signed.
pub const UNFINAL_HEIGHTS: u64 = 8;

/// Heights before this one whose votes are kept for members that lost their disk (rule `P12`).
pub const SEEN_HEIGHTS: u64 = 2;

/// Pieces of evidence that are kept against one member: one convicts, the second shows it was no slip.
pub const EVIDENCE_PER_MEMBER: usize = 2;

/// Bytes of log after which [`Output::Truncate`] replaces it by what still matters.
pub const LOG_BYTES: usize = 4 << 20;

/// The application whose values are agreed on.
pub trait App {
    /// A value for this height, at most [`VALUE_MAX_BYTES`]. A height that has begun ends with a value
    /// only: with nothing to say, propose the empty batch. None: not ready, ask again at the next wake.
    fn propose(&mut self, height: u64, now_ms: u64) -> Option<Vec<u8>>;

    /// Judges a value by replay on the height before. Only if it is proposed for the `first_time` are
    /// its time and what it should hold judged too, and [`Judgement::Untimely`] may be the answer (`P9`).
    fn judge(&mut self, height: u64, value: &[u8], first_time: bool, now_ms: u64) -> Judgement;

    /// The highest height whose head has a quorum of co-signatures (rule `P11`), 0 if none.
    fn final_height(&self) -> u64;

    /// Whether there is anything to agree on.
    fn has_pending(&self) -> bool;
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message came in; nothing is believed of who brought it.
    Message(Vec<u8>),
    /// A timer has run out.
    Timer(TimerId),
    /// Something is pending, or heads became final.
    Wake,
    /// Every height below this one is applied, by [`Output::Decide`] or by co-signed heads.
    Advance(u64),
}

/// A timer. Setting it again replaces it; one that is out of date is ignored when it runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerId {
    /// The timeout of a step.
    Step {
        /// The height.
        height: u64,
        /// The round.
        round: Round,
        /// The step that it ends.
        step: Step,
    },
    /// Time to send again.
    Retransmit,
}

/// What the caller must do, strictly in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append to the log, and return only when it is on disk. The bytes reach the disk whole or not at all.
    Write(Vec<u8>),
    /// Replace the whole log by these bytes, in one step, and return only when that is on disk.
    Truncate(Vec<u8>),
    /// Send to one member, or to all others.
    Send {
        /// The addressee; none is all others.
        to: Option<Member>,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Set a timer.
    SetTimer {
        /// Which.
        id: TimerId,
        /// When it runs out, in ms from now.
        after_ms: u64,
    },
    /// A value is decided: apply it, then [`Input::Advance`]. Comes again after a restart in between.
    Decide(Decision),
    /// Others are at this height: catch up by co-signed heads.
    Behind(u64),
}

/// Why a log cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Not something that this program wrote.
    #[error("write {0} of the agreement log is damaged; start with --restored on a fresh log")]
    Damaged(usize),
    /// The member was started before.
    #[error("the agreement log must be replayed before the start")]
    Started,
}

/// One member of the committee.
#[derive(Debug)]
pub struct Agreement {
    committee: Committee,
    voice: Voice,
    guard: Guard,
    height: Height,
    /// Messages of the next height that came before this one ended.
    next: Height,
    /// Whether this height is decided and waits for [`Input::Advance`].
    decided: bool,
    /// The latest decisions, to help who missed them.
    history: BTreeMap<u64, Decision>,
    /// Last votes of the others in the last heights.
    seen: Vec<Vote>,
    evidence: Vec<Evidence>,
    /// A quorum decided what the own replay finds wrong.
    diverged: bool,
    /// The highest height at which another member was seen.
    ahead: u64,
    /// When the others were last asked for help, and at which height.
    asked: Option<(u64, u64)>,
    /// When each member was last sent a decision, and of which height.
    helped: BTreeMap<Member, (u64, u64)>,
    /// Records that nothing that was sent depends on yet.
    unwritten: Vec<Record>,
    log_bytes: usize,
    log_limit: usize,
    retransmitting: bool,
    out: Vec<Output>,
}

/// Where a message of another member belongs.
enum Place {
    Here,
    Next,
    Nowhere,
}

impl Agreement {
    /// A member with an empty log, at its first height. `genesis` separates deployments.
    ///
    /// # Errors
    /// [`CommitteeError::NotMe`] if `key` is not the vote key of this member.
    pub fn new(
        committee: Committee,
        key: SigningKey,
        genesis: Hash,
        height: u64,
    ) -> Result<Self, CommitteeError> {
        let me = committee.me();
        if committee.key(me) != Some(&key.verifying_key()) {
            return Err(CommitteeError::NotMe(me));
        }
        Ok(Self {
            committee,
            voice: Voice { key, genesis, me },
            guard: Guard::default(),
            height: Height::new(height),
            next: Height::new(height.saturating_add(1)),
            decided: false,
            history: BTreeMap::new(),
            seen: Vec::new(),
            evidence: Vec::new(),
            diverged: false,
            ahead: 0,
            asked: None,
            helped: BTreeMap::new(),
            unwritten: vec![Record::Height(height)],
            log_bytes: 0,
            log_limit: LOG_BYTES,
            retransmitting: false,
            out: Vec::new(),
        })
    }

    /// The height that is being agreed on.
    pub fn height(&self) -> u64 {
        self.height.number
    }

    /// The current round; 0 before the height begins.
    pub fn round(&self) -> Round {
        self.height.round()
    }

    /// Whether the height has begun and is not decided.
    pub fn is_running(&self) -> bool {
        self.height.core.is_some() && !self.decided
    }

    /// The committee.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Decisions of the latest heights, at most [`UNFINAL_HEIGHTS`] + 1.
    pub fn decision(&self, height: u64) -> Option<&Decision> {
        self.history.get(&height)
    }

    /// Proofs that members contradicted themselves.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Whether a quorum decided a value that the own replay finds wrong. Nothing goes on then: this
    /// program or more than f others are at fault.
    pub fn has_diverged(&self) -> bool {
        self.diverged
    }

    /// Whether this member may vote and release shares (rule `P12`).
    pub fn may_release(&self) -> bool {
        self.guard.trust == Trust::Full
    }

    /// Feeds the log to the rules again, after [`Self::new`] and before [`Self::start_guarded`].
    /// `writes` are the bytes of each [`Output::Write`] and [`Output::Truncate`] that are on disk.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn replay<'a>(&mut self, writes: impl IntoIterator<Item = &'a [u8]>) -> Result<(), ReplayError> {
        if self.guard.trust != Trust::Unstarted {
            return Err(ReplayError::Started);
        }
        for (index, bytes) in writes.into_iter().enumerate() {
            let records = record::decode(bytes).ok_or(ReplayError::Damaged(index))?;
            self.unwritten.clear();
            self.log_bytes = self.log_bytes.saturating_add(bytes.len());
            records.into_iter().for_each(|record| self.replay_one(record));
        }
        Ok(())
    }

    fn replay_one(&mut self, record: Record) {
        let input = match record {
            Record::Height(height) => return drop(self.enter(height)),
            Record::Begin => {
                self.start_core(false);
                return;
            }
            Record::Seen(votes) => return self.seen = votes,
            Record::Evidence(evidence) => return self.evidence.push(evidence),
            Record::Restored(restored) => return self.guard.restored = restored,
            Record::Decided(decision) => return self.remember(decision),
            Record::Value(round, value) => {
                let hash = value_hash(&value.0);
                self.height.insert_value(hash, &value.0);
                tendermint::Input::Value(round, hash)
            }
            Record::Proposal(proposal, value, judgement) => {
                self.hold(&proposal, &value, judgement);
                plain(&proposal, judgement)
            }
            Record::Votes(votes) => {
                votes.iter().for_each(|vote| self.height.insert(vote.clone()));
                tendermint::Input::Votes(votes.iter().map(Vote::plain).collect())
            }
            Record::Timeout(step, round) => {
                self.height.timers.remove(&(step, round));
                tendermint::Input::Timeout(step, round)
            }
        };
        self.apply(input, false);
    }

    /// Starts the member: it asks the others for its own last votes, and neither votes nor proposes
    /// before enough of them have answered (rule `P12`). `restored` says that the disk may be old,
    /// `nonce` is fresh at each start.
    pub fn start_guarded(
        &mut self,
        app: &mut dyn App,
        now_ms: u64,
        restored: bool,
        nonce: Hash,
    ) -> Vec<Output> {
        self.guard.start(nonce);
        if let Some((round, value)) = self.height.core.as_ref().and_then(Tendermint::decision)
            && !self.decided
        {
            self.decide(round, value);
        } else if self.decided
            && let Some(decision) = self.history.get(&self.height.number)
        {
            self.out.push(Output::Decide(decision.clone()));
        }
        if restored {
            self.distrust();
        }
        self.send_probe(None);
        self.retransmit_later();
        self.settle(app, now_ms);
        std::mem::take(&mut self.out)
    }

    /// Takes one input and says what to do.
    pub fn step(&mut self, app: &mut dyn App, now_ms: u64, input: Input) -> Vec<Output> {
        match input {
            Input::Message(bytes) => {
                if let Some(message) = Message::decode(&bytes) {
                    self.receive(app, now_ms, message);
                }
            }
            Input::Timer(TimerId::Retransmit) => self.retransmit(app, now_ms),
            Input::Timer(TimerId::Step { height, round, step }) => {
                if height == self.height.number
                    && self.takes_part()
                    && self.height.timers.remove(&(step, round))
                {
                    let input = tendermint::Input::Timeout(step, round);
                    self.feed(app, now_ms, Record::Timeout(step, round), input);
                }
            }
            Input::Wake => self.wake(app, now_ms),
            Input::Advance(height) => self.advance(app, now_ms, height),
        }
        std::mem::take(&mut self.out)
    }

    fn receive(&mut self, app: &mut dyn App, now_ms: u64, message: Message) {
        match message {
            Message::Probe(probe) => self.answer(now_ms, &probe),
            Message::Answer(answer) => self.answered(app, now_ms, &answer),
            Message::Decision(decision) => self.learn(app, now_ms, decision),
            Message::Votes(votes) => self.receive_votes(app, now_ms, votes),
            Message::Proposal { proposal, value, polka } => {
                self.receive_votes(app, now_ms, polka);
                self.receive_proposal(app, now_ms, &proposal, value);
            }
        }
    }

    // ---- What comes in

    /// Where a verified message of `by` belongs. Whoever is behind is helped, whoever is ahead is asked.
    fn place(&mut self, now_ms: u64, by: Member, height: u64) -> Place {
        if height < self.height.number || (height == self.height.number && self.decided) {
            self.help(now_ms, by, height);
            Place::Nowhere
        } else if height == self.height.number {
            if self.takes_part() { Place::Here } else { Place::Nowhere }
        } else {
            self.ahead = self.ahead.max(height);
            // One that is in the middle of the height before hears the rest of it any moment.
            if height > self.next.number || self.height.core.is_none() {
                self.ask_for_help(now_ms);
            }
            if height == self.next.number { Place::Next } else { Place::Nowhere }
        }
    }

    fn receive_votes(&mut self, app: &mut dyn App, now_ms: u64, votes: Vec<Vote>) {
        let (mut here, mut next) = (Vec::new(), Vec::new());
        for vote in votes {
            let at = vote.height;
            let known = (at == self.height.number && !self.decided && self.height.knows(&vote))
                || (at == self.next.number && self.next.knows(&vote));
            if known || !vote.verify(&self.committee, &self.voice.genesis) {
                continue;
            }
            if vote.by == self.voice.me {
                if self.lacks(&vote) {
                    self.distrust();
                }
                continue;
            }
            match self.place(now_ms, vote.by, at) {
                Place::Here => here.push(vote),
                Place::Next => next.push(vote),
                Place::Nowhere => {}
            }
        }
        let admitted = self.next.admit(&self.committee, next);
        admitted.evidence.into_iter().for_each(|evidence| self.testify(evidence));
        self.take_votes(app, now_ms, here);
    }

    fn take_votes(&mut self, app: &mut dyn App, now_ms: u64, verified: Vec<Vote>) {
        if verified.is_empty() || !self.begin(app, now_ms) {
            return;
        }
        let admitted = self.height.admit(&self.committee, verified);
        admitted.evidence.into_iter().for_each(|evidence| self.testify(evidence));
        if !admitted.votes.is_empty() {
            let input = tendermint::Input::Votes(admitted.votes.iter().map(Vote::plain).collect());
            self.feed(app, now_ms, Record::Votes(admitted.votes), input);
        }
    }

    fn receive_proposal(&mut self, app: &mut dyn App, now_ms: u64, proposal: &Proposal, value: Blob) {
        if self.height.number == proposal.height && self.height.has_proposal(proposal)
            || proposal.value != value_hash(&value.0)
            || !proposal.verify(&self.committee, &self.voice.genesis)
        {
            return;
        }
        let by = self.committee.proposer(proposal.height, proposal.round);
        if by == self.voice.me {
            // Its own proposal, which its log lacks: as with a vote.
            if proposal.height >= self.height.number {
                self.distrust();
            }
            return;
        }
        match self.place(now_ms, by, proposal.height) {
            Place::Here => self.take_proposal(app, now_ms, proposal, value),
            Place::Next if self.next.room_for(&self.committee, proposal) => {
                self.next.insert_value(proposal.value, &value.0);
                self.next.insert_proposal(proposal.clone());
            }
            Place::Next | Place::Nowhere => {}
        }
    }

    fn take_proposal(&mut self, app: &mut dyn App, now_ms: u64, proposal: &Proposal, value: Blob) {
        if !self.begin(app, now_ms) {
            return;
        }
        if let Some(other) = self.height.contradicted(proposal).cloned() {
            self.testify(Evidence::Proposals(other, proposal.clone()));
        }
        if self.height.room_for(&self.committee, proposal) {
            let first_time = proposal.pol_round.is_none();
            let judgement = app.judge(self.height.number, &value.0, first_time, now_ms);
            // Nobody needs the bytes of a wrong value again, and anybody could make many.
            let value = if judgement == Judgement::Invalid { Blob::default() } else { value };
            self.hold(proposal, &value, judgement);
            let record = Record::Proposal(proposal.clone(), value, judgement);
            self.feed(app, now_ms, record, plain(proposal, judgement));
        }
    }

    fn hold(&mut self, proposal: &Proposal, value: &Blob, judgement: Judgement) {
        if judgement != Judgement::Invalid {
            self.height.insert_value(proposal.value, &value.0);
        }
        self.height.insert_proposal(proposal.clone());
    }

    /// A decision of this height decides, whatever the rules have seen so far.
    fn learn(&mut self, app: &mut dyn App, now_ms: u64, decision: Decision) {
        let height = decision.certificate.height;
        if height != self.height.number
            || self.decided
            || !decision.verify(&self.committee, &self.voice.genesis)
        {
            return;
        }
        if app.judge(height, &decision.value.0, false, now_ms) == Judgement::Invalid {
            self.diverged = true;
        } else {
            self.conclude(decision);
        }
    }

    fn testify(&mut self, evidence: Evidence) {
        let culprit = evidence.culprit(&self.committee);
        let against = self.evidence.iter().filter(|e| e.culprit(&self.committee) == culprit);
        if against.count() < EVIDENCE_PER_MEMBER && !self.evidence.contains(&evidence) {
            self.unwritten.push(Record::Evidence(evidence.clone()));
            self.evidence.push(evidence);
        }
    }

    // ---- The rules and their effects

    fn takes_part(&self) -> bool {
        self.guard.trust == Trust::Full && !self.decided
    }

    fn wake(&mut self, app: &mut dyn App, now_ms: u64) {
        self.settle(app, now_ms);
        if app.has_pending() && self.takes_part() {
            self.begin(app, now_ms);
        }
        self.get_value(app, now_ms);
    }

    /// Begins the height, unless it has begun; false if it cannot.
    fn begin(&mut self, app: &mut dyn App, now_ms: u64) -> bool {
        if !self.takes_part() {
            return false;
        }
        if self.height.core.is_none() {
            if self.height.number > app.final_height().saturating_add(UNFINAL_HEIGHTS) {
                return false;
            }
            self.unwritten.push(Record::Begin);
            self.retransmit_later();
            if self.start_core(true) {
                self.get_value(app, now_ms);
            }
        }
        self.takes_part()
    }

    fn start_core(&mut self, live: bool) -> bool {
        let (core, effects) = Tendermint::start(self.committee.rules(self.height.number));
        self.height.core = Some(core);
        self.perform(effects, live)
    }

    /// One input for the rules, on record.
    fn feed(&mut self, app: &mut dyn App, now_ms: u64, record: Record, input: tendermint::Input) {
        self.unwritten.push(record);
        if self.apply(input, true) {
            self.get_value(app, now_ms);
        }
    }

    fn apply(&mut self, input: tendermint::Input, live: bool) -> bool {
        let effects = self.height.core.as_mut().map(|core| core.step_with(input));
        self.perform(effects.unwrap_or_default(), live)
    }

    /// The value of a round that this member proposes (L18). It is on record before it leaves, so a
    /// restart proposes the same.
    fn get_value(&mut self, app: &mut dyn App, now_ms: u64) {
        let Some(round) = self.height.core.as_ref().and_then(Tendermint::awaited) else {
            return;
        };
        if !self.takes_part() {
            return;
        }
        let value = app.propose(self.height.number, now_ms);
        if let Some(value) = value.filter(|value| value.len() <= VALUE_MAX_BYTES) {
            let hash = value_hash(&value);
            self.height.insert_value(hash, &value);
            self.unwritten.push(Record::Value(round, Blob(value)));
            self.apply(tendermint::Input::Value(round, hash), true);
        }
    }

    /// Does what the rules want done; on replay nothing leaves. True if a value is asked for.
    fn perform(&mut self, effects: Vec<Effect>, live: bool) -> bool {
        let mut asked = false;
        for effect in effects {
            match effect {
                Effect::StartRound(round) => self.height.timers.retain(|(_, r)| *r >= round),
                Effect::GetValue(_) => asked = true,
                Effect::Schedule(step, round) => {
                    self.height.timers.insert((step, round));
                    if live {
                        self.set_timer(step, round);
                    }
                }
                Effect::Propose(round, value, pol_round) => {
                    let number = self.height.number;
                    let proposal = self.voice.proposal(number, round, value, pol_round);
                    self.height.insert_proposal(proposal.clone());
                    if live {
                        self.send_proposal(proposal);
                    }
                }
                Effect::Vote(kind, round, value) => self.vote(kind, round, value, live),
                Effect::Decide(round, value) if live => self.decide(round, value),
                Effect::Decide(..) => {}
            }
        }
        asked
    }

    fn vote(&mut self, kind: Kind, round: Round, value: Option<Hash>, live: bool) {
        // The rules never vote twice. Should they, the second vote would not be signed.
        if self.height.vote_of(self.voice.me, round, kind).is_some() {
            return;
        }
        let vote = self.voice.vote(self.height.number, round, kind, value);
        self.height.insert(vote.clone());
        if live {
            let mut votes = vec![vote];
            if kind == Kind::Precommit && value.is_some() {
                // A lock that nobody else knows the reason of could stop them all.
                votes.extend(self.height.votes_for(Kind::Prevote, round, value));
            }
            self.send(None, &Message::Votes(votes));
        }
    }

    fn set_timer(&mut self, step: Step, round: Round) {
        let base = match step {
            Step::Propose => TIMEOUT_PROPOSE_MS,
            Step::Prevote | Step::Precommit => TIMEOUT_VOTE_MS,
        };
        let after_ms = base.saturating_add(TIMEOUT_STEP_MS.saturating_mul(round.into()));
        let id = TimerId::Step { height: self.height.number, round, step };
        self.out.push(Output::SetTimer { id, after_ms });
    }

    fn decide(&mut self, round: Round, hash: Hash) {
        if let Some(value) = self.height.value(&hash) {
            let value = Blob(value.to_vec());
            self.conclude(Decision { value, certificate: self.height.certificate(round, hash) });
        }
    }

    fn conclude(&mut self, decision: Decision) {
        self.unwritten.push(Record::Decided(decision.clone()));
        self.remember(decision.clone());
        if self.flush() {
            self.out.push(Output::Decide(decision));
        }
    }

    fn remember(&mut self, decision: Decision) {
        let height = decision.certificate.height;
        if height == self.height.number {
            self.decided = true;
            self.height.timers.clear();
        }
        self.history.insert(height, decision);
        while u64::try_from(self.history.len()).unwrap_or_default() > UNFINAL_HEIGHTS {
            self.history.pop_first();
        }
    }

    // ---- From height to height

    fn advance(&mut self, app: &mut dyn App, now_ms: u64, height: u64) {
        if height <= self.height.number {
            return;
        }
        let early = self.enter(height);
        self.unwritten.push(Record::Height(height));
        // What is final is caught up with by heads; the last decision stays for who just missed it.
        let last = self.history.keys().next_back().copied().unwrap_or_default();
        let final_height = app.final_height();
        self.history.retain(|height, _| *height > final_height || *height == last);
        if self.log_bytes > self.log_limit {
            self.truncate();
        }
        if self.ahead > height {
            self.ask_for_help(now_ms);
        }
        self.settle(app, now_ms);
        if early.number == height && self.takes_part() {
            let (proposals, votes) = early.into_messages();
            for (proposal, value) in proposals {
                self.take_proposal(app, now_ms, &proposal, value);
            }
            self.take_votes(app, now_ms, votes);
        }
        self.wake(app, now_ms);
    }

    /// Leaves the height for another; returns what came early for the one after it.
    fn enter(&mut self, height: u64) -> Height {
        let mut votes = self.height.last_votes(None);
        votes.retain(|vote| vote.by != self.voice.me);
        self.seen.append(&mut votes);
        self.seen.retain(|vote| vote.height.saturating_add(SEEN_HEIGHTS) >= height);
        self.height = Height::new(height);
        self.decided = false;
        std::mem::replace(&mut self.next, Height::new(height.saturating_add(1)))
    }

    /// The log anew, at the beginning of a height.
    fn truncate(&mut self) {
        let mut keep = vec![Record::Seen(self.seen.clone())];
        keep.extend(self.evidence.iter().cloned().map(Record::Evidence));
        keep.extend(self.history.values().cloned().map(Record::Decided));
        keep.push(Record::Restored(self.guard.restored));
        keep.push(Record::Height(self.height.number));
        if let Some(bytes) = record::encode(&keep) {
            self.unwritten.clear();
            self.log_bytes = bytes.len();
            self.log_limit = LOG_BYTES.max(bytes.len().saturating_mul(2));
            self.out.push(Output::Truncate(bytes));
        }
    }

    // ---- What goes out

    /// Puts on disk what the next output depends on.
    fn flush(&mut self) -> bool {
        if self.unwritten.is_empty() {
            return true;
        }
        let Some(bytes) = record::encode(&self.unwritten) else {
            return false;
        };
        self.unwritten.clear();
        self.log_bytes = self.log_bytes.saturating_add(bytes.len());
        self.out.push(Output::Write(bytes));
        true
    }

    fn send(&mut self, to: Option<Member>, message: &Message) {
        if let Some(bytes) = message.encode()
            && self.flush()
        {
            self.out.push(Output::Send { to, bytes });
        }
    }

    fn send_proposal(&mut self, proposal: Proposal) {
        let Some(value) = self.height.value(&proposal.value) else {
            return;
        };
        let value = Blob(value.to_vec());
        let polka =
            proposal.pol_round.map(|round| self.height.votes_for(Kind::Prevote, round, Some(proposal.value)));
        self.send(None, &Message::Proposal { proposal, value, polka: polka.unwrap_or_default() });
    }

    fn retransmit_later(&mut self) {
        if !self.retransmitting {
            self.retransmitting = true;
            let id = TimerId::Retransmit;
            self.out.push(Output::SetTimer { id, after_ms: RETRANSMIT_MS });
        }
    }

    fn retransmit(&mut self, app: &mut dyn App, now_ms: u64) {
        self.retransmitting = false;
        if self.wants_answers() {
            self.send_probe(None);
            self.retransmit_later();
        }
        if self.is_running() && self.takes_part() {
            self.get_value(app, now_ms);
            self.send_again();
            self.retransmit_later();
        }
    }

    /// Own votes of the round, why this member is in it, and the value that may be locked with its
    /// proof; and a question, for the others may be past this height.
    fn send_again(&mut self) {
        let Some(core) = &self.height.core else {
            return;
        };
        let (round, valid) = (core.round(), core.valid());
        let me = self.voice.me;
        let both = [Kind::Prevote, Kind::Precommit];
        let own = both.iter().filter_map(|kind| self.height.vote_of(me, round, *kind)).cloned();
        let mut votes: BTreeSet<Vote> = own.collect();
        votes.extend(self.height.round_certificate(&self.committee));
        let mut proposals = Vec::new();
        if let Some((valid_round, value)) = valid {
            votes.extend(self.height.votes_for(Kind::Prevote, valid_round, Some(value)));
            proposals.extend(self.height.proposal(valid_round, &value).cloned());
        }
        if self.committee.proposer(self.height.number, round) == me
            && let Some(own) = self.height.proposals(round).first()
            && !proposals.contains(own)
        {
            proposals.push(own.clone());
        }
        if !votes.is_empty() {
            self.send(None, &Message::Votes(votes.into_iter().collect()));
        }
        proposals.into_iter().for_each(|proposal| self.send_proposal(proposal));
        self.send_probe(None);
    }

    /// Sends the decision that a member at `height` lacks, not more often than it sends again itself.
    fn help(&mut self, now_ms: u64, member: Member, height: u64) {
        let recent = self
            .helped
            .get(&member)
            .is_some_and(|(at, since)| *at == height && now_ms < since.saturating_add(RETRANSMIT_MS));
        let Some(decision) = self.history.get(&height).filter(|_| !recent) else {
            return;
        };
        let message = Message::Decision(decision.clone());
        self.helped.insert(member, (height, now_ms));
        self.send(Some(member), &message);
    }

    fn ask_for_help(&mut self, now_ms: u64) {
        let height = self.height.number;
        let recent = self
            .asked
            .is_some_and(|(at, since)| at == height && now_ms < since.saturating_add(RETRANSMIT_MS));
        if !recent && self.guard.trust != Trust::Unstarted {
            self.asked = Some((height, now_ms));
            self.out.push(Output::Behind(self.ahead));
            self.send_probe(None);
        }
    }
}

fn plain(proposal: &Proposal, judgement: Judgement) -> tendermint::Input {
    let Proposal { height: _, round, pol_round, value, signature: _ } = *proposal;
    tendermint::Input::Proposal(tendermint::Proposal { round, pol_round, value, judgement })
}
