//! Bounds, certificates, evidence, and the silence of an idle system.

use custody::{Blob, Hash};
use ed25519_dalek::SigningKey;

use super::signer::agreement::{
    Agreement, App, Certificate, Committee, CommitteeError, Decision, EVIDENCE_PER_MEMBER, Input, LOG_BYTES,
    MEMBERS_MAX, MEMBERS_MIN, MESSAGE_MAX_BYTES, Message, Output, RETRANSMIT_MS, ROUNDS_AHEAD, Seat, TimerId,
    UNFINAL_HEIGHTS, VALUE_MAX_BYTES, VOTES_MAX, Vote, value_hash,
};
use super::signer::tendermint::{Judgement, Kind, Step};
use super::world::{Options, QUORUM, World};

/// Counts what it is asked; every value that is not empty is right.
#[derive(Default)]
struct Plain {
    judged: usize,
    final_height: u64,
    value: Option<Vec<u8>>,
}

impl App for Plain {
    fn propose(&mut self, _: u64, _: u64) -> Option<Vec<u8>> {
        self.value.clone()
    }
    fn judge(&mut self, _: u64, value: &[u8], _: bool, _: u64) -> Judgement {
        self.judged += 1;
        if value.is_empty() { Judgement::Invalid } else { Judgement::Valid }
    }
    fn final_height(&self) -> u64 {
        self.final_height
    }
    fn has_pending(&self) -> bool {
        false
    }
}

/// One member alone, trusted by two answers, and the world that signs for the others.
fn alone(me: usize, app: &mut Plain) -> (Agreement, World) {
    let world = World::new(0, Options { liar: false, ..Options::default() });
    let mut it = world.fresh(me);
    let nonce = Hash::sha256(b"start");
    it.start_guarded(app, 0, false, nonce);
    for by in (0..4).filter(|by| *by != me) {
        hear(&mut it, app, Message::Answer(world.answer(by, me, nonce, 0)));
    }
    assert!(it.may_release());
    (it, world)
}

fn hear(it: &mut Agreement, app: &mut Plain, message: Message) -> Vec<Output> {
    it.step(app, 0, Input::Message(message.encode().expect("short enough")))
}

fn decisions(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Decide(_))).count()
}

#[test]
fn an_idle_system_is_silent() {
    let mut world = World::new(5, Options { liar: false, hostile_relay: false, ..Options::default() });
    world.run_until(|world| world.lowest() >= 3).expect("runs");
    world.idle = true;
    let quiet = world.now_ms + 5000;
    world.run_until(|world| world.now_ms > quiet).expect("runs");
    let sent = world.sent;
    assert!(!world.has_timers());
    let later = world.now_ms + 30_000;
    world.run_until(|world| world.now_ms > later).expect("runs");
    assert_eq!(world.sent, sent);
    world.idle = false;
    let height = world.lowest();
    world.run_until(|world| world.lowest() > height).expect("wakes up");
}

#[test]
fn committees_of_four_to_thirty_two_with_distinct_keys() {
    let seats = |size: usize| -> Vec<Seat> {
        let key = |member: usize| SigningKey::from_bytes(&[member as u8 + 1; 32]).verifying_key();
        (0..size).map(|m| Seat { name: m.to_string(), vote: key(m) }).collect()
    };
    for (size, faulty, quorum) in [(MEMBERS_MIN, 1, 3), (7, 2, 5), (9, 2, 7), (MEMBERS_MAX, 10, 22)] {
        let committee = Committee::new(seats(size), 0).expect("fits");
        assert_eq!((committee.faulty(), committee.quorum()), (faulty, quorum));
    }
    let refused = |seats, me| Committee::new(seats, me).expect_err("refused");
    assert_eq!(refused(seats(MEMBERS_MIN - 1), 0), CommitteeError::Size(3));
    assert_eq!(refused(seats(MEMBERS_MAX + 1), 0), CommitteeError::Size(33));
    assert_eq!(refused(seats(4), 4), CommitteeError::NotMe(4));
    let mut twice = seats(4);
    twice[2].vote = twice[1].vote;
    assert_eq!(refused(twice, 0), CommitteeError::SameKey(2));
    let mut weak = seats(4);
    weak[3].vote = ed25519_dalek::VerifyingKey::from_bytes(&[
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ])
    .expect("a point");
    assert_eq!(refused(weak, 0), CommitteeError::WeakKey(3));
    let another = SigningKey::from_bytes(&[9; 32]);
    let committee = Committee::new(seats(4), 0).expect("fits");
    assert!(Agreement::new(committee, another, Hash::default(), 1).is_err());
}

#[test]
fn messages_within_their_limits_only() {
    let world = World::new(0, Options::default());
    let with_value = |bytes: usize| serde_json::to_vec(&world.proposal(1, 0, None, &vec![1; bytes]));
    assert!(Message::decode(&with_value(VALUE_MAX_BYTES).expect("JSON")).is_some());
    assert!(Message::decode(&with_value(VALUE_MAX_BYTES + 1).expect("JSON")).is_none());
    let vote = world.vote(1, u64::MAX, u32::MAX, Kind::Precommit, Some(Hash([255; 32])));
    let with_votes = |votes: usize| serde_json::to_vec(&Message::Votes(vec![vote.clone(); votes]));
    assert!(Message::decode(&with_votes(VOTES_MAX).expect("JSON")).is_some());
    assert!(Message::decode(&with_votes(VOTES_MAX + 1).expect("JSON")).is_none());
    // The longest message that may be said fits.
    let mut longest = world.proposal(u64::MAX, u32::MAX, Some(7), &vec![255; VALUE_MAX_BYTES]);
    if let Message::Proposal { polka, .. } = &mut longest {
        *polka = vec![vote.clone(); VOTES_MAX];
    }
    assert!(longest.encode().is_some());
    // White space counts.
    let mut padded = serde_json::to_vec(&Message::Votes(vec![vote])).expect("JSON");
    padded.resize(MESSAGE_MAX_BYTES, b' ');
    assert!(Message::decode(&padded).is_some());
    padded.push(b' ');
    assert!(Message::decode(&padded).is_none());
    let other_forms: [&[u8]; 5] = [
        b"",
        b"{}",
        br#"{"votes":[{"by":0,"height":1,"round":0,"kind":"prevote","value":null,"signature":"","x":1}]}"#,
        br#"{"votes":[{"by":0,"by":1,"height":1,"round":0,"kind":"prevote","value":null,"signature":""}]}"#,
        br#"{"votes":[{"by":-1,"height":1,"round":0,"kind":"prevote","value":null,"signature":""}]}"#,
    ];
    assert!(other_forms.iter().all(|bytes| Message::decode(bytes).is_none()));
}

#[test]
fn a_value_that_is_too_long_is_not_proposed() {
    for (bytes, proposed) in [(VALUE_MAX_BYTES, true), (VALUE_MAX_BYTES + 1, false)] {
        let mut app = Plain { value: Some(vec![1; bytes]), ..Plain::default() };
        let (mut it, world) = alone(1, &mut app);
        let vote = world.vote(2, 1, 0, Kind::Prevote, None);
        let outputs = hear(&mut it, &mut app, Message::Votes(vec![vote]));
        let sends = outputs.iter().any(|output| matches!(output, Output::Send { .. }));
        assert_eq!(sends, proposed, "{bytes} bytes");
    }
}

#[test]
fn one_member_does_not_make_rounds() {
    let votes = |world: &World, by, rounds: std::ops::RangeInclusive<u32>| {
        Message::Votes(rounds.map(|r| world.vote(by, 1, r, Kind::Prevote, None)).collect())
    };
    let mut app = Plain::default();
    let (mut it, world) = alone(3, &mut app);
    hear(&mut it, &mut app, votes(&world, 0, 0..=100));
    assert_eq!(it.round(), 0);
    // What is kept of them, as the log has it: the propose timeout makes it write.
    hear(&mut it, &mut app, votes(&world, 1, ROUNDS_AHEAD..=ROUNDS_AHEAD));
    assert_eq!(it.round(), ROUNDS_AHEAD, "two of four are there");
    hear(&mut it, &mut app, votes(&world, 1, 50..=50));
    assert_eq!(it.round(), ROUNDS_AHEAD, "the votes for round 50 were not kept");
    // One honest member is beyond round 50 if two say so; at the same round both are followed.
    hear(&mut it, &mut app, votes(&world, 1, 100..=100));
    assert_eq!(it.round(), 100);
}

#[test]
fn two_proposals_of_a_round_are_judged_and_the_first_is_voted_for() {
    let mut app = Plain::default();
    let (mut it, world) = alone(0, &mut app);
    let proposal = |value: u8| world.proposal(1, 0, None, &[value]);
    let first = hear(&mut it, &mut app, proposal(1));
    assert!(first.iter().any(|output| matches!(output, Output::Send { .. })));
    for value in [1, 2, 1, 2, 3, 4] {
        let more = hear(&mut it, &mut app, proposal(value));
        assert!(!more.iter().any(|output| matches!(output, Output::Send { .. })));
    }
    assert_eq!(app.judged, 2);
    // A quorum voted for the fourth: then it is wanted.
    let vote = |by| world.vote(by, 1, 0, Kind::Precommit, Some(value_hash(&[4])));
    hear(&mut it, &mut app, Message::Votes((1..4).map(vote).collect()));
    let outputs = hear(&mut it, &mut app, proposal(4));
    assert_eq!((app.judged, decisions(&outputs)), (3, 1));
}

#[test]
fn a_proposal_is_by_its_proposer_and_its_lock_is_from_before() {
    let mut app = Plain::default();
    let (mut it, mut world) = alone(0, &mut app);
    for pol in [Some(1), Some(2)] {
        hear(&mut it, &mut app, world.proposal(1, 1, pol, &[1]));
    }
    world.keys.swap(1, 2);
    hear(&mut it, &mut app, world.proposal(1, 0, None, &[1]));
    world.keys.swap(1, 2);
    if let Message::Proposal { proposal, polka, .. } = world.proposal(1, 0, None, &[1]) {
        let value = Blob(vec![2]);
        hear(&mut it, &mut app, Message::Proposal { proposal, value, polka });
    }
    world.genesis = Hash::sha256(b"another deployment");
    hear(&mut it, &mut app, world.proposal(1, 0, None, &[1]));
    assert_eq!(app.judged, 0);
    world.genesis = Hash::sha256(b"genesis");
    hear(&mut it, &mut app, world.proposal(1, 1, Some(0), &[1]));
    assert_eq!(app.judged, 1);
}

#[test]
fn contradictions_are_kept_and_prove_themselves() {
    let mut app = Plain::default();
    let (mut it, mut world) = alone(0, &mut app);
    for round in 0..4 {
        for value in [None, Some(Hash([1; 32])), Some(Hash([2; 32]))] {
            let vote = world.vote(2, 1, round, Kind::Prevote, value);
            hear(&mut it, &mut app, Message::Votes(vec![vote]));
        }
    }
    hear(&mut it, &mut app, world.proposal(1, 0, None, &[1]));
    hear(&mut it, &mut app, world.proposal(1, 0, None, &[2]));
    let culprits: Vec<_> = it.evidence().iter().map(|e| e.culprit(it.committee())).collect();
    assert_eq!(culprits, [vec![2; EVIDENCE_PER_MEMBER], vec![1]].concat());
    assert!(it.evidence().iter().all(|e| e.verify(it.committee(), &world.genesis)));
    world.genesis = Hash::sha256(b"another deployment");
    assert!(!it.evidence().iter().any(|e| e.verify(it.committee(), &world.genesis)));
}

/// A decision of height 1 with these members' precommits.
fn decision(world: &World, value: &[u8], by: &[usize]) -> Decision {
    decision_of(1, world, value, by)
}

fn decision_of(height: u64, world: &World, value: &[u8], by: &[usize]) -> Decision {
    let hash = value_hash(value);
    let vote = |by: &usize| world.vote(*by, height, 3, Kind::Precommit, Some(hash));
    let signature = |vote: Vote| (vote.by, vote.signature);
    let signatures = by.iter().map(vote).map(signature).collect();
    let certificate = Certificate { height, round: 3, value: hash, signatures };
    Decision { value: Blob(value.to_vec()), certificate }
}

#[test]
fn a_quorum_of_precommits_decides_and_nothing_less() {
    let mut app = Plain::default();
    let (mut it, mut world) = alone(0, &mut app);
    let mut tell = |decision| decisions(&hear(&mut it, &mut app, Message::Decision(decision)));
    assert_eq!(tell(decision(&world, &[1], &[1, 2])), 0, "too few");
    assert_eq!(tell(decision(&world, &[1], &[1, 2, 2])), 0, "one of them twice");
    let mut swapped = decision(&world, &[1], &[1, 2, 3]);
    swapped.value = Blob(vec![2]);
    assert_eq!(tell(swapped), 0, "for another value");
    let mut moved = decision(&world, &[1], &[1, 2, 3]);
    moved.certificate.round = 2;
    assert_eq!(tell(moved), 0, "of another round");
    world.keys.swap(0, 3);
    assert_eq!(tell(decision(&world, &[1], &[1, 2, 3])), 0, "by another key");
    world.keys.swap(0, 3);
    assert_eq!(tell(decision(&world, &[1], &[1, 2, 3])), 1);
    assert_eq!(tell(decision(&world, &[1], &[1, 2, 3])), 0, "once");
    assert_eq!(QUORUM, 3);
}

#[test]
fn what_the_own_replay_finds_wrong_is_not_decided() {
    let mut app = Plain::default();
    let (mut it, world) = alone(0, &mut app);
    let wrong = Message::Decision(decision(&world, &[], &[1, 2, 3]));
    assert_eq!(decisions(&hear(&mut it, &mut app, wrong)), 0);
    assert!(it.has_diverged());
}

#[test]
fn heights_wait_for_heads_to_become_final() {
    for (height, begins) in [(UNFINAL_HEIGHTS + 5, true), (UNFINAL_HEIGHTS + 6, false)] {
        let mut app = Plain { final_height: 5, ..Plain::default() };
        let (mut it, world) = alone(0, &mut app);
        it.step(&mut app, 0, Input::Advance(height));
        let vote = world.vote(2, height, 0, Kind::Prevote, None);
        hear(&mut it, &mut app, Message::Votes(vec![vote]));
        assert_eq!(it.is_running(), begins, "height {height}");
    }
}

#[test]
fn who_is_behind_is_told_and_sent_what_it_missed() {
    let mut app = Plain::default();
    let (mut it, world) = alone(0, &mut app);
    hear(&mut it, &mut app, Message::Decision(decision(&world, &[1], &[1, 2, 3])));
    it.step(&mut app, 0, Input::Advance(2));
    let late = Message::Votes(vec![world.vote(3, 1, 0, Kind::Prevote, None)]);
    let helped = hear(&mut it, &mut app, late.clone());
    let [Output::Write(_), Output::Send { to: Some(3), bytes }] = helped.as_slice() else {
        panic!("{helped:?}");
    };
    assert!(matches!(Message::decode(bytes), Some(Message::Decision(_))));
    assert_eq!(hear(&mut it, &mut app, late), [], "once in a while");

    let ahead = Message::Votes(vec![world.vote(3, 9, 0, Kind::Prevote, None)]);
    assert!(hear(&mut it, &mut app, ahead).contains(&Output::Behind(9)));
}

#[test]
fn the_log_stays_short() {
    let options = Options { liar: false, hostile_relay: false, value_bytes: 300_000, ..Options::default() };
    let mut world = World::new(3, options);
    world.run_until(|world| world.lowest() >= 40).expect("runs");
    assert!(world.truncated > 0);
    for node in &world.nodes {
        let bytes: usize = node.disk.iter().map(Vec::len).sum();
        assert!(bytes < LOG_BYTES * 2, "{bytes} bytes");
    }
}

#[test]
fn a_damaged_log_is_refused() {
    let world = World::new(0, Options::default());
    assert!(world.fresh(0).replay([&b"[{\"height\":1}]"[..]]).is_ok());
    assert!(world.fresh(0).replay([&b"[{\"height\":1}"[..]]).is_err());
    assert!(world.fresh(0).replay([&b"[{\"depth\":1}]"[..]]).is_err());
}

fn sent(outputs: &[Output]) -> Vec<Message> {
    let message = |output: &Output| match output {
        Output::Send { bytes, .. } => Message::decode(bytes),
        _ => None,
    };
    outputs.iter().filter_map(message).collect()
}

/// A member locks, the round fails, and whoever missed all of it hears why.
#[test]
fn what_is_sent_again_tells_the_lock_and_the_round() {
    let mut app = Plain::default();
    let (mut it, world) = alone(0, &mut app);
    let value = value_hash(&[1]);
    hear(&mut it, &mut app, world.proposal(1, 0, None, &[1]));
    let prevote = |by| world.vote(by, 1, 0, Kind::Prevote, Some(value));
    let locks = hear(&mut it, &mut app, Message::Votes(vec![prevote(1), prevote(2)]));
    let polka = [0, 1, 2].map(prevote);
    let [Message::Votes(told)] = &sent(&locks)[..] else { panic!("{locks:?}") };
    assert!(polka.iter().all(|vote| told.contains(vote)), "a lock is told with its reason at once");

    let nil = |by| world.vote(by, 1, 0, Kind::Precommit, None);
    hear(&mut it, &mut app, Message::Votes(vec![nil(2), nil(3)]));
    let id = TimerId::Step { height: 1, round: 0, step: Step::Precommit };
    it.step(&mut app, 0, Input::Timer(id));
    assert_eq!(it.round(), 1);

    let again = it.step(&mut app, 0, Input::Timer(TimerId::Retransmit));
    let messages = sent(&again);
    let votes: Vec<&Vote> = messages
        .iter()
        .flat_map(|message| match message {
            Message::Votes(votes) => votes.as_slice(),
            _ => &[],
        })
        .collect();
    let own = world.vote(0, 1, 0, Kind::Precommit, Some(value));
    assert!(polka.iter().all(|vote| votes.contains(&vote)), "the lock");
    assert!([own, nil(2), nil(3)].iter().all(|vote| votes.contains(&vote)), "the round");
    let locked =
        |message: &Message| matches!(message, Message::Proposal { proposal, .. } if proposal.value == value);
    assert!(messages.iter().any(locked), "the value");
}

#[test]
fn what_comes_a_height_early_is_kept() {
    let mut app = Plain::default();
    let (mut it, world) = alone(0, &mut app);
    hear(&mut it, &mut app, world.proposal(2, 0, None, &[1]));
    hear(&mut it, &mut app, Message::Votes(vec![world.vote(3, 2, 0, Kind::Prevote, None)]));
    hear(&mut it, &mut app, world.proposal(3, 0, None, &[1]));
    assert_eq!(app.judged, 0);
    it.step(&mut app, 0, Input::Advance(2));
    assert_eq!((it.is_running(), app.judged), (true, 1));
    it.step(&mut app, 0, Input::Advance(3));
    assert!(!it.is_running(), "two heights early is too early");
}

#[test]
fn a_log_that_was_replaced_remembers_what_matters() {
    let mut app = Plain::default();
    let world = World::new(0, Options { liar: false, ..Options::default() });
    let mut it = world.fresh(0);
    let mut outputs = it.start_guarded(&mut app, 0, true, Hash::sha256(b"start"));
    let (mut height, mut log) = (1, Vec::new());
    loop {
        for output in outputs {
            match output {
                Output::Write(bytes) => log.push(bytes),
                Output::Truncate(bytes) => log = vec![bytes],
                _ => {}
            }
        }
        // A replaced log begins with the votes of the heights before.
        if log.first().is_some_and(|first| first.starts_with(b"[{\"seen\"")) {
            break;
        }
        let value = vec![1; VALUE_MAX_BYTES];
        let decided = decision_of(height, &world, &value, &[1, 2, 3]);
        height += 1;
        outputs = hear(&mut it, &mut app, Message::Decision(decided));
        outputs.extend(it.step(&mut app, 0, Input::Advance(height)));
    }
    let mut again = world.fresh(0);
    again.replay(log.iter().map(Vec::as_slice)).expect("own log");
    assert_eq!(again.height(), height);
    assert!((1..height).all(|height| again.decision(height) == it.decision(height)));
    again.start_guarded(&mut app, 0, false, Hash::sha256(b"again"));
    for by in 1..4 {
        let answer = Message::Answer(world.answer(by, 0, Hash::sha256(b"again"), 0));
        hear(&mut again, &mut app, answer);
    }
    assert_eq!(again.answers().len(), 3);
    assert!(!again.may_release(), "it forgot that its disk was restored");
}

/// Whoever precommits last for what the others decided without it decides too, and is sent nothing. One
/// that says it again is stuck, and one that voted for something else is behind: both are helped.
#[test]
fn the_last_precommit_needs_no_help_and_a_stuck_member_gets_it() {
    let mut app = Plain::default();
    let (mut it, world) = alone(0, &mut app);
    hear(&mut it, &mut app, Message::Decision(decision(&world, &[1], &[0, 1, 2])));
    let helped = |outputs: &[Output], who: usize| {
        let decision = |bytes: &[u8]| matches!(Message::decode(bytes), Some(Message::Decision(_)));
        let to =
            |o: &Output| matches!(o, Output::Send { to: Some(to), bytes } if *to == who && decision(bytes));
        outputs.iter().any(to)
    };
    let votes = |by, kind, value| {
        let vote = world.vote(by, 1, 3, kind, value);
        Input::Message(Message::Votes(vec![vote]).encode().expect("short"))
    };
    let precommit = || votes(3, Kind::Precommit, Some(value_hash(&[1])));
    assert!(!helped(&it.step(&mut app, 0, precommit()), 3));
    assert!(!helped(&it.step(&mut app, RETRANSMIT_MS - 1, precommit()), 3), "repeated by the relay");
    assert!(helped(&it.step(&mut app, RETRANSMIT_MS, precommit()), 3));
    assert!(helped(&it.step(&mut app, 0, votes(1, Kind::Precommit, None)), 1));
    assert!(helped(&it.step(&mut app, 0, votes(2, Kind::Prevote, Some(value_hash(&[1])))), 2));
}
