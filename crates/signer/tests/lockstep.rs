//! The rules of `signer::tendermint` in lockstep with an implementation of others.
//!
//! The oracle is the driver of Malachite (Circle). It is sound only for inputs that its own caller has
//! checked, so the inputs keep to that: proposals are by the proposer of their round with
//! `pol_round < round`, no member votes twice, a value is handed over when asked for and once, timeouts
//! elapse once and only if scheduled, a certificate carries a quorum.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arc_malachitebft_core_driver::{Driver, Input as Ask, Output as Tell, ThresholdParams};
use arc_malachitebft_core_types::{
    self as oracle, Context as _, LinearTimeouts, NilOrVal, PolkaCertificate, Round as R, SignedExtension,
    SignedMessage, Timeout, TimeoutKind, Validity, VoteType,
};
use custody::Hash;
use signer::tendermint::{Effect, Input, Judgement, Kind, Proposal, Round, Rules, Step, Tendermint, Vote};

const SEEDS: u64 = 600;
const INPUTS: usize = 120;

// ---- The oracle's nouns

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Height(u64);

impl std::fmt::Display for Height {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl oracle::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);
    fn increment_by(&self, n: u64) -> Self {
        Self(self.0 + n)
    }
    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }
    fn as_u64(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Who(usize);

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl oracle::Address for Who {}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Validator(Who);

impl oracle::Validator<Ctx> for Validator {
    fn address(&self) -> &Who {
        &self.0
    }
    fn public_key(&self) -> &() {
        &()
    }
    fn voting_power(&self) -> u64 {
        1
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Validators(Vec<Validator>);

impl oracle::ValidatorSet<Ctx> for Validators {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn total_voting_power(&self) -> u64 {
        self.0.len() as u64
    }
    fn get_by_address(&self, address: &Who) -> Option<&Validator> {
        self.0.get(address.0)
    }
    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Value(Hash);

impl oracle::Value for Value {
    type Id = Hash;
    fn id(&self) -> Hash {
        self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Proposed {
    round: R,
    value: Value,
    pol_round: R,
    by: Who,
}

impl oracle::Proposal<Ctx> for Proposed {
    fn height(&self) -> Height {
        Height(1)
    }
    fn round(&self) -> R {
        self.round
    }
    fn value(&self) -> &Value {
        &self.value
    }
    fn take_value(self) -> Value {
        self.value
    }
    fn pol_round(&self) -> R {
        self.pol_round
    }
    fn validator_address(&self) -> &Who {
        &self.by
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Voted {
    kind: VoteType,
    round: R,
    value: NilOrVal<Hash>,
    by: Who,
}

impl oracle::Vote<Ctx> for Voted {
    fn height(&self) -> Height {
        Height(1)
    }
    fn round(&self) -> R {
        self.round
    }
    fn value(&self) -> &NilOrVal<Hash> {
        &self.value
    }
    fn take_value(self) -> NilOrVal<Hash> {
        self.value
    }
    fn vote_type(&self) -> VoteType {
        self.kind
    }
    fn validator_address(&self) -> &Who {
        &self.by
    }
    fn extension(&self) -> Option<&SignedExtension<Ctx>> {
        None
    }
    fn take_extension(&mut self) -> Option<SignedExtension<Ctx>> {
        None
    }
    fn extend(self, _: SignedExtension<Ctx>) -> Self {
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part;

impl oracle::ProposalPart<Ctx> for Part {
    fn is_first(&self) -> bool {
        true
    }
    fn is_last(&self) -> bool {
        true
    }
}

/// Signatures are not the oracle's business.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unsigned;

impl oracle::SigningScheme for Unsigned {
    type DecodingError = String;
    type Signature = ();
    type PublicKey = ();
    type PrivateKey = ();
    fn decode_signature(_: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn encode_signature((): &()) -> Vec<u8> {
        Vec::new()
    }
    fn decode_public_key(_: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn encode_public_key((): &()) -> Vec<u8> {
        Vec::new()
    }
}

#[derive(Clone, Debug)]
struct Ctx;

impl oracle::Context for Ctx {
    type Address = Who;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposed;
    type Validator = Validator;
    type ValidatorSet = Validators;
    type Timeouts = LinearTimeouts;
    type Value = Value;
    type Vote = Voted;
    type Extension = ();
    type SigningScheme = Unsigned;

    fn select_proposer<'a>(&self, all: &'a Validators, _: Height, round: R) -> &'a Validator {
        let turn = round.as_u32().expect("a round") as usize;
        &all.0[turn % all.0.len()]
    }
    fn new_proposal(&self, _: Height, round: R, value: Value, pol_round: R, by: Who) -> Proposed {
        Proposed { round, value, pol_round, by }
    }
    fn new_prevote(&self, _: Height, round: R, value: NilOrVal<Hash>, by: Who) -> Voted {
        Voted { kind: VoteType::Prevote, round, value, by }
    }
    fn new_precommit(&self, _: Height, round: R, value: NilOrVal<Hash>, by: Who) -> Voted {
        Voted { kind: VoteType::Precommit, round, value, by }
    }
}

fn round_to(round: Round) -> R {
    R::new(round)
}

fn round_from(round: R) -> Round {
    round.as_u32().expect("a round")
}

fn vote_to(vote: &Vote) -> SignedMessage<Ctx, Voted> {
    let value = vote.value.map_or(NilOrVal::Nil, NilOrVal::Val);
    let (round, by) = (round_to(vote.round), Who(vote.by));
    let voted = match vote.kind {
        Kind::Prevote => Ctx.new_prevote(Height(1), round, value, by),
        Kind::Precommit => Ctx.new_precommit(Height(1), round, value, by),
    };
    SignedMessage::new(voted, ())
}

// ---- The oracle, answering in our words

struct Oracle {
    driver: Driver<Ctx>,
    validators: Validators,
}

impl Oracle {
    fn start(members: usize, me: usize) -> (Self, Vec<Effect>) {
        let validators = Validators((0..members).map(|member| Validator(Who(member))).collect());
        let params = ThresholdParams::default();
        let driver = Driver::new(Ctx, Height(1), validators.clone(), Who(me), params);
        let mut oracle = Self { driver, validators };
        let mut effects = vec![Effect::StartRound(0)];
        let first = oracle.new_round(R::ZERO);
        effects.extend(oracle.run(first));
        (oracle, effects)
    }

    fn new_round(&self, round: R) -> Ask<Ctx> {
        let proposer = Ctx.select_proposer(&self.validators, Height(1), round).0;
        Ask::NewRound(Height(1), round, proposer)
    }

    /// Its own messages are delivered to itself, as ours does inside.
    fn run(&mut self, ask: Ask<Ctx>) -> Vec<Effect> {
        let (mut asks, mut effects) = (VecDeque::from([ask]), Vec::new());
        while let Some(ask) = asks.pop_front() {
            for tell in self.driver.process(ask).expect("sound input") {
                effects.push(match tell {
                    Tell::NewRound(_, round) => {
                        asks.push_back(self.new_round(round));
                        Effect::StartRound(round_from(round))
                    }
                    Tell::Propose(p) => {
                        let (round, value) = (round_from(p.round), p.value.0);
                        let pol_round = p.pol_round.as_u32();
                        asks.push_back(Ask::Proposal(SignedMessage::new(p, ()), Validity::Valid));
                        Effect::Propose(round, value, pol_round)
                    }
                    Tell::Vote(vote) => {
                        let kind = match vote.kind {
                            VoteType::Prevote => Kind::Prevote,
                            VoteType::Precommit => Kind::Precommit,
                        };
                        let value = match vote.value {
                            NilOrVal::Nil => None,
                            NilOrVal::Val(hash) => Some(hash),
                        };
                        let round = round_from(vote.round);
                        asks.push_back(Ask::Vote(SignedMessage::new(vote, ())));
                        Effect::Vote(kind, round, value)
                    }
                    Tell::ScheduleTimeout(Timeout { kind, round }) => {
                        let step = match kind {
                            TimeoutKind::Propose => Step::Propose,
                            TimeoutKind::Prevote => Step::Prevote,
                            TimeoutKind::Precommit => Step::Precommit,
                            other => panic!("unexpected timeout {other:?}"),
                        };
                        Effect::Schedule(step, round_from(round))
                    }
                    Tell::GetValue(_, round, _) => Effect::GetValue(round_from(round)),
                    // Its round is the current one, not that of the proposal: take the proposal's.
                    Tell::Decide(_, p) => Effect::Decide(round_from(p.round), p.value.0),
                });
            }
        }
        effects
    }

    fn step_with(&mut self, input: &Input) -> Vec<Effect> {
        let ask = match input {
            Input::Value(round, value) => Ask::ProposeValue(round_to(*round), Value(*value)),
            Input::Proposal(p) => {
                let by = Ctx.select_proposer(&self.validators, Height(1), round_to(p.round)).0;
                let proposed = Proposed {
                    round: round_to(p.round),
                    value: Value(p.value),
                    pol_round: p.pol_round.map_or(R::Nil, round_to),
                    by,
                };
                let valid = Validity::from_bool(p.judgement == Judgement::Valid);
                Ask::Proposal(SignedMessage::new(proposed, ()), valid)
            }
            Input::Votes(votes) => match votes.as_slice() {
                [vote] => Ask::Vote(vote_to(vote)),
                all => {
                    let first = all[0];
                    Ask::PolkaCertificate(PolkaCertificate::new(
                        Height(1),
                        round_to(first.round),
                        first.value.expect("a value"),
                        all.iter().map(vote_to).collect(),
                    ))
                }
            },
            Input::Timeout(step, round) => {
                let kind = match step {
                    Step::Propose => TimeoutKind::Propose,
                    Step::Prevote => TimeoutKind::Prevote,
                    Step::Precommit => TimeoutKind::Precommit,
                };
                Ask::TimeoutElapsed(Timeout::new(round_to(*round), kind))
            }
        };
        self.run(ask)
    }
}

// ---- Both on the same inputs

struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

/// What the others could do next, given what they did before.
struct Others {
    rng: Rng,
    members: usize,
    me: usize,
    votes: BTreeMap<(Round, Kind, usize), Option<Hash>>,
    proposals: BTreeMap<Round, Proposal>,
    timers: BTreeSet<(Step, Round)>,
    asked: Option<Round>,
    values: Vec<Hash>,
}

impl Others {
    /// A vote that the member has cast before, or casts now.
    fn vote(&mut self, by: usize, round: Round, kind: Kind, value: Option<Hash>) -> Vote {
        let value = *self.votes.entry((round, kind, by)).or_insert(value);
        Vote { by, round, kind, value }
    }

    fn value(&mut self, round: Round) -> Option<Hash> {
        // Mostly what is proposed, so that quorums form.
        match self.proposals.get(&round) {
            Some(p) if self.rng.percent(75) => Some(p.value),
            _ if self.rng.percent(50) => None,
            _ => Some(self.values[self.rng.below(self.values.len())]),
        }
    }

    fn next(&mut self, current: Round) -> Option<Input> {
        let round = match self.rng.below(10) {
            0 => current.saturating_sub(1),
            1 => current + 1,
            2 => current + self.rng.below(3) as Round,
            _ => current,
        };
        match self.rng.below(20) {
            0..=2 => {
                let timers: Vec<_> = self.timers.iter().copied().collect();
                if timers.is_empty() {
                    return None;
                }
                let timer = timers[self.rng.below(timers.len())];
                self.timers.remove(&timer);
                Some(Input::Timeout(timer.0, timer.1))
            }
            3..=6 => {
                let proposer = round as usize % self.members;
                if proposer == self.me || self.proposals.contains_key(&round) {
                    return None;
                }
                let pol_round =
                    (round > 0 && self.rng.percent(60)).then(|| self.rng.below(round as usize) as Round);
                let earlier = pol_round.and_then(|round| self.proposals.get(&round)).map(|p| p.value);
                let value = match earlier {
                    Some(value) if self.rng.percent(80) => value,
                    _ => self.values[self.rng.below(self.values.len())],
                };
                let valid = value != self.values[0];
                let judgement = if valid { Judgement::Valid } else { Judgement::Invalid };
                let proposal = Proposal { round, pol_round, value, judgement };
                self.proposals.insert(round, proposal);
                Some(Input::Proposal(proposal))
            }
            7 => {
                // A proof of lock that another member shows.
                let (round, kind) = (round, Kind::Prevote);
                let value = self.value(round)?;
                let quorum = self.members - (self.members - 1) / 3;
                let others = (0..self.members).filter(|by| *by != self.me).collect::<Vec<_>>();
                let free = |by: &&usize| {
                    self.votes.get(&(round, kind, **by)).is_none_or(|cast| *cast == Some(value))
                };
                let voters: Vec<usize> = others.iter().filter(free).copied().take(quorum).collect();
                if voters.len() < quorum {
                    return None;
                }
                let votes = voters.into_iter().map(|by| self.vote(by, round, kind, Some(value)));
                Some(Input::Votes(votes.collect()))
            }
            8 => {
                let round = self.asked.take()?;
                let value = self.values[1 + self.rng.below(self.values.len() - 1)];
                Some(Input::Value(round, value))
            }
            _ => {
                let by = (self.me + 1 + self.rng.below(self.members - 1)) % self.members;
                let kind = if self.rng.percent(50) { Kind::Prevote } else { Kind::Precommit };
                let value = self.value(round);
                Some(Input::Votes(vec![self.vote(by, round, kind, value)]))
            }
        }
    }

    fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::Schedule(step, round) => drop(self.timers.insert((step, round))),
                Effect::GetValue(round) => self.asked = Some(round),
                Effect::StartRound(_) => self.asked = None,
                Effect::Vote(kind, round, value) => {
                    // The others see it, and their certificates may carry it.
                    self.votes.insert((round, kind, self.me), value);
                }
                Effect::Propose(round, value, pol_round) => {
                    let judgement = Judgement::Valid;
                    self.proposals.insert(round, Proposal { round, pol_round, value, judgement });
                }
                Effect::Decide(..) => {}
            }
        }
    }
}

/// Words in their order, and the timers that can still do something at `round` and `step`. A timer of a
/// step that is over may or may not have been scheduled: the paper leaves open which rule fires first.
fn compare(effects: &[Effect], round: Round, step: Step) -> (Vec<Effect>, BTreeSet<Step>) {
    let (mut words, mut timers) = (Vec::new(), BTreeSet::new());
    for effect in effects {
        match *effect {
            Effect::Schedule(timer, at) => {
                if at == round && (timer == step || timer == Step::Precommit) {
                    timers.insert(timer);
                }
            }
            word => words.push(word),
        }
    }
    (words, timers)
}

#[derive(Default)]
struct Seen {
    rounds: u64,
    locks: u64,
    again: u64,
    decisions: u64,
}

fn lockstep(seed: u64, members: usize, seen: &mut Seen) {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ members as u64);
    let me = rng.below(members);
    let faulty = (members - 1) / 3;
    let quorum = members - faulty;
    let rules = Rules { members, quorum, some_honest: faulty + 1, me, first_proposer: 0 };
    let values = (0..4_u8).map(|value| Hash([value; 32])).collect();
    let mut others = Others {
        rng,
        members,
        me,
        votes: BTreeMap::new(),
        proposals: BTreeMap::new(),
        timers: BTreeSet::new(),
        asked: None,
        values,
    };
    let (mut ours, mut effects) = Tendermint::start(rules);
    let (mut theirs, their_effects) = Oracle::start(members, me);
    let at = |effects: &[Effect], ours: &Tendermint| compare(effects, ours.round(), ours.step());
    assert_eq!(at(&effects, &ours), at(&their_effects, &ours), "seed {seed}, start");
    others.note(&effects);
    let mut story = Vec::new();
    for _ in 0..INPUTS {
        let Some(input) = others.next(ours.round()) else {
            continue;
        };
        story.push(format!("{input:?}"));
        let told = theirs.step_with(&input);
        effects = ours.step_with(input);
        let here = || format!("seed {seed}, {members} members, after\n{}", story.join("\n"));
        assert_eq!(at(&effects, &ours), at(&told, &ours), "{}", here());
        let state = theirs.driver.round_state();
        let pair = |(round, value): (R, Hash)| (round_from(round), value);
        let locked = state.locked.as_ref().map(|l| pair((l.round, l.value.0)));
        let valid = state.valid.as_ref().map(|v| pair((v.round, v.value.0)));
        assert_eq!((ours.locked(), ours.valid()), (locked, valid), "{}", here());
        assert_eq!(ours.round(), round_from(state.round), "{}", here());
        others.note(&effects);
        let count = |what: fn(&Effect) -> bool| effects.iter().filter(|e| what(e)).count() as u64;
        seen.rounds += count(|e| matches!(e, Effect::StartRound(_)));
        seen.locks += count(|e| matches!(e, Effect::Vote(Kind::Precommit, _, Some(_))));
        seen.again += count(|e| matches!(e, Effect::Propose(_, _, Some(_))));
        if ours.decision().is_some() {
            seen.decisions += 1;
            break;
        }
    }
}

#[test]
fn the_rules_agree_with_another_implementation() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        for members in [4, 5, 7] {
            lockstep(seed, members, &mut seen);
        }
    }
    let Seen { rounds, locks, again, decisions } = seen;
    println!("{rounds} rounds, {locks} locks, {again} proposed again, {decisions} decisions");
    assert!(rounds > SEEDS && locks > SEEDS && again > 0 && decisions > SEEDS / 2);
}
