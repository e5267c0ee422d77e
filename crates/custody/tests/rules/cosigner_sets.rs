//! Another set of co-signers (P30): who joins and leaves, and how the log is handed over.

use custody::Blob;
use custody::apply::DELAY_STEP_LIMIT_S;
use custody::cosigner_set::CosignerSet;
use custody::document::{CosignerCard, Document, Kind, Wallet, WalletState};
use custody::genesis::Genesis;
use custody::resharing::Erased;
use custody::rule::Rule;
use custody::rule_set::NEWEST;
use custody::state::{Stage, State};
use custody::statement::{Body, Supports};
use fixtures::{World, card, certify, head_by, id, name, newest, public};

use crate::{invalid, refused, rejected};

fn set_of(members: &[&str], joining: &[CosignerCard]) -> Document {
    let members = members.iter().map(|member| name(member)).collect();
    Document::CosignerSet(CosignerSet { members, joining: joining.to_vec() })
}

fn new(who: &str) -> CosignerCard {
    card(who, true, 1)
}

const FIVE: [&str; 5] = ["s1", "s2", "s3", "w1", "s4"];

/// A deployment that s4 joined, and whose first batch after that is still to come.
fn joined() -> World {
    let mut world = World::open(newest());
    world.adopt(set_of(&FIVE, &[new("s4")]));
    world
}

/// Deals the accounts of wallet `main` anew, to these.
fn reshare(world: &mut World, nonce: u8, dealers: [&str; 2], holders: &[&str]) -> custody::Hash {
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    let resharing = world.resharing(nonce, ceremony, dealers, holders);
    world.reshare(resharing, &[0, 1])
}

/// A deployment in which w1 holds the shares that s3 had.
fn reshared() -> (World, custody::Hash) {
    let mut world = World::open(newest());
    let dealing = reshare(&mut world, 1, ["s1", "s2"], &["s1", "s2", "w1"]);
    (world, dealing)
}

fn names(world: &World) -> Vec<String> {
    world.state.cosigners().into_iter().map(|card| card.name.to_string()).collect()
}

// ---- P30.committee

#[test]
fn allow_p30_committee_of_another_set() {
    let mut world = joined();
    assert_eq!(names(&world), FIVE);
    let numbers = world.state.numbers();
    assert_eq!((numbers.all, numbers.holders, numbers.quorum, numbers.faulty), (5, 4, 4, 1));
    let since = world.state.clock().height;
    assert_eq!((world.state.set_since(), world.state.is_handing_over()), (since, true));
    // Those who voted on the batch that brought it are those before; from the next one on it is the new ones.
    let voters = |height| {
        let (cards, quorum) = world.state.voters_at(height);
        (cards.iter().map(|card| card.name.to_string()).collect::<Vec<_>>(), quorum)
    };
    let before: Vec<String> = FIVE[..4].iter().map(ToString::to_string).collect();
    assert_eq!(voters(0), (before.clone(), 3));
    assert_eq!(voters(since), (before, 3));
    assert_eq!(voters(since + 1), (FIVE.map(String::from).to_vec(), 4));
    // Its own statements count, and its TLS key is known.
    world.tick(1);
    assert!(!world.state.is_handing_over());
    rejected(world.say("s4", Body::Supports(Supports { version: 9, rules: id("s4") })), Rule::RuleSet);
    assert!(world.state.tls_owner(&public("s4/tls")).is_some());

    // A lost one is let go: its place is taken by the other one in a second step.
    let (mut world, _) = reshared();
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[new("s4")]));
    assert_eq!(names(&world), ["s1", "s2", "w1", "s4"]);
    let numbers = world.state.numbers();
    assert_eq!((numbers.all, numbers.holders, numbers.quorum), (4, 3, 3));
    // And the turns change without anybody coming or going.
    let mut world = World::open(newest());
    world.adopt(set_of(&["w1", "s3", "s2", "s1"], &[]));
    assert_eq!(names(&world), ["w1", "s3", "s2", "s1"]);
}

#[test]
fn deny_p30_committee_of_another_set() {
    let cards: Vec<CosignerCard> = (4..=13).map(|i| new(&format!("s{i}"))).collect();
    let join = |count: usize| {
        let names: Vec<String> = cards[..count].iter().map(|card| card.name.to_string()).collect();
        let all = ["s1", "s2", "s3", "w1"].into_iter().chain(names.iter().map(String::as_str));
        set_of(&all.collect::<Vec<_>>(), &cards[..count])
    };
    // One of five may be missing, of six too; with seven, five decide, and only four are there.
    World::open(newest()).adopt(join(1));
    for count in [2, 3, 9] {
        let mut world = World::open(newest());
        rejected(world.propose("bob", join(count)), Rule::Committee);
    }
    let mut world = World::open(newest());
    rejected(world.propose("bob", join(10)), Rule::Committee);
    rejected(world.propose("bob", set_of(&["s1", "s2", "s3"], &[])), Rule::Committee);
    // Too few hold shares when one of them is lost.
    let (mut world, _) = reshared();
    let witness = card("w2", false, 1);
    rejected(world.propose("bob", set_of(&["s1", "s2", "w1", "w2"], &[witness])), Rule::Committee);
}

#[test]
fn a_set_that_is_not_sound_is_refused() {
    let mut world = joined();
    world.tick(1);
    reshare(&mut world, 1, ["s1", "s2"], &["s1", "s2", "s4"]);
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[]));
    world.tick(1);
    let all = ["s1", "s2", "w1", "s4", "s5"];
    let with = |change: &dyn Fn(&mut CosignerCard)| {
        let mut card = new("s5");
        change(&mut card);
        set_of(&all, &[certify(card)])
    };
    let mut broken = new("s5");
    broken.epoch = 2;
    let mut unsound = vec![
        ("nothing changes", set_of(&all[..4], &[])),
        ("twice", set_of(&["s1", "s2", "w1", "s4", "s1"], &[])),
        ("nobody knows it", set_of(&all, &[])),
        ("no member", set_of(&all[..4], &[new("s5")])),
        ("not certified", set_of(&all, &[broken])),
        ("two cards", set_of(&all, &[new("s5"), new("s5")])),
        ("its own key twice", with(&|card| card.frame = card.statement)),
        ("a person's key", with(&|card| card.statement = public("alice"))),
        ("another's TLS key", with(&|card| card.tls = public("server/tls"))),
        ("a vote key of small order", with(&|card| card.vote = custody::Hash(small_order()))),
        ("a vote key that is no point", with(&|card| card.vote = custody::Hash([2; 32]))),
        ("a statement key of small order", with(&|card| card.statement = custody::Hash(small_order()))),
        ("another's vote key", with(&|card| card.vote = public("s1/vote"))),
        ("the vote key of one that left", with(&|card| card.vote = public("s3/vote"))),
        ("the head key of one that left", with(&|card| card.cosign = public("s3/cosign"))),
        ("the statement key of one that left", with(&|card| card.statement = public("s3"))),
    ];
    // The name of one that left is not given again: what it signed would be taken for the other's.
    let mut again = card("s3", true, 1);
    for (key, purpose) in [(&mut again.vote, "vote"), (&mut again.cosign, "cosign"), (&mut again.tls, "tls")]
    {
        *key = public(&format!("s3/{purpose}/again"));
    }
    (again.statement, again.frame) = (public("s3/again"), public("s3/frame/again"));
    unsound.push(("an old name", set_of(&["s1", "s2", "w1", "s4", "s3"], &[certify(again)])));
    for (what, document) in unsound {
        let denied = world.propose("bob", document).expect_err(what);
        assert_eq!((denied.rule, denied.consumed), (Rule::Document, true), "{what}: {}", denied.why);
    }
    world.adopt(set_of(&all, &[new("s5")]));
    assert_eq!(names(&world), all);
}

/// The encoding of the neutral element: everything verifies under it, or nothing does.
fn small_order() -> [u8; 32] {
    let mut one = [0; 32];
    one[0] = 1;
    one
}

/// Under a key that was a co-signer's, no person, machine or other co-signer signs later (P4).
#[test]
fn a_key_of_one_that_left_is_nobody_elses() {
    let (mut world, _) = reshared();
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[new("s4")]));
    world.tick(1);
    for key in ["s3/tls", "s3/vote", "s3/cosign", "s3/identity", "s3"] {
        let machine = custody::document::Machine {
            tls: public(key),
            ..fixtures::machine("teller", &[custody::document::Grant::Request])
        };
        rejected(world.propose("bob", Document::Machine(machine)), Rule::Document);
    }
    let machine = fixtures::machine("teller", &[custody::document::Grant::Request]);
    world.adopt(Document::Machine(machine));
}

/// A ceremony that was held with those of genesis counts when another one has joined since; not one with somebody who left,
/// with too few, or with one twice.
#[test]
fn a_ceremony_is_held_with_those_who_are_co_signers() {
    let mut world = joined();
    world.tick(1);
    let with = |world: &World, holders: &[&str]| {
        let mut record = world.ceremony(20..21);
        record.holders = holders.iter().map(|holder| name(holder)).collect();
        Document::Ceremony(world.sign_record(record, &["alice", "bob"]))
    };
    for holders in [&["s1", "s2"][..], &["s1", "s2", "s2"], &["s1", "s2", "s9"], &[]] {
        let document = with(&world, holders);
        rejected(world.propose("bob", document), Rule::Ceremony);
    }
    let document = with(&world, &["s1", "s2", "s3"]);
    world.clone().adopt(document);
    let document = with(&world, &["s4", "w1", "s2"]);
    world.adopt(document);
    let (mut world, _) = reshared();
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[new("s4")]));
    world.tick(1);
    let document = with(&world, &["s1", "s2", "s3"]);
    rejected(world.propose("bob", document), Rule::Ceremony);
}

/// Two sets in one batch: the second one was compared with the first, of which nobody voted yet.
#[test]
fn one_set_at_a_time_takes_over() {
    let mut world = World::open(newest());
    let first = world.propose("bob", set_of(&FIVE, &[new("s4")])).unwrap();
    world.approve("alice", first).unwrap();
    let Document::CosignerSet(set) = set_of(&FIVE, &[new("s4")]) else { unreachable!() };
    let version = Document::CosignerSet(set).version(None);
    let six = ["s1", "s2", "s3", "w1", "s4", "s5"];
    let propose =
        custody::statement::Propose { document: set_of(&six, &[new("s5")]), replaces: Some(version) };
    let propose = world.sign("bob", Body::Propose(propose));
    let decides = world.state.policy().unwrap().1;
    let mut approve =
        |who: &str, target| world.sign(who, Body::Approve(custody::statement::Approve { target, decides }));
    let carried = approve("bob", first);
    let second = [propose.clone(), approve("alice", propose.id()), approve("bob", propose.id())];
    let batch = world.batch(world.time, &[&[carried][..], &second[..1]].concat());
    let outcomes = world.try_batch(&batch).unwrap();
    assert_eq!(outcomes[1].rejected.as_ref().map(|refusal| refusal.rule), Some(Rule::Document));
    assert_eq!(names(&world), FIVE);
    // In the next batch it may.
    let again = world.propose("bob", set_of(&six, &[new("s5")])).unwrap();
    world.approve("alice", again).unwrap();
    world.approve("bob", again).unwrap();
    assert_eq!(names(&world), six);
}

// ---- P30.handover

#[test]
fn allow_p30_handover() {
    let mut world = joined();
    let old = world.final_head();
    world.state.final_head(&old).unwrap();
    let batch = world.batch(world.time, &[]);
    assert_eq!(batch.tick.handover.as_ref().map(|note| note.0.clone()), Some(old.clone().into_bytes()));
    world.try_batch(&batch).unwrap();
    // The next head is the new set's, and the old one stays what it was.
    world.state.final_head(&head_by(&world.state, &["s1", "s2", "s3", "s4"])).unwrap();
    world.state.final_head_at(world.state.set_since(), &old).unwrap();
    // Ordinary batches show nothing, and their form is as before.
    let batch = world.batch(world.time, &[]);
    assert!(batch.tick.handover.is_none() && !String::from_utf8(batch.bytes()).unwrap().contains("handover"));
    world.try_batch(&batch).unwrap();
}

#[test]
fn deny_p30_handover() {
    let world = joined();
    let before = {
        let log: Vec<_> = world.log.iter().map(|(batch, _)| batch.clone()).collect();
        let mut state = State::new(world.state.genesis().clone()).unwrap();
        log[..log.len() - 1].iter().for_each(|batch| drop(state.apply(batch, &world.decoder).unwrap()));
        state
    };
    let old = ["s1", "s2", "s3"];
    let mut another = joined();
    another.tick(1);
    let wrong = [
        ("nothing", None),
        ("too few of the old set", Some(head_by(&world.state, &old[..2]))),
        ("the new one counted among the old", Some(head_by(&world.state, &["s1", "s2", "s4"]))),
        ("the head before", Some(head_by(&before, &old))),
        ("a head of later", Some(head_by(&another.state, &old))),
        ("no note", Some("s1, s2 and s3 agree".to_owned())),
    ];
    for (what, note) in wrong {
        let mut world = world.clone();
        let mut batch = world.batch(world.time, &[]);
        batch.tick.handover = note.map(|note| Blob(note.into_bytes()));
        let refusal = world.try_batch(&batch).expect_err(what);
        assert_eq!(refusal.rule, Rule::Handover, "{what}: {}", refusal.why);
    }
    // A head to which somebody added lines of strangers is final all the same, and a proposer leaves those out: whoever
    // brings a head to co-signers must not keep them from showing it.
    let mut taken = world.clone();
    let padded = format!("{}— stranger {}\n", world.final_head(), "A".repeat(10_000));
    taken.state.final_head(&padded).unwrap();
    let mut batch = taken.batch(taken.time, &[]);
    batch.tick.handover = Some(Blob(padded.clone().into_bytes()));
    refused(taken.try_batch(&batch), Rule::Handover);
    let (batch, _) = taken.state.compose(taken.time, &padded, &[], &taken.decoder);
    taken.try_batch(&batch).unwrap();
    // Where no set changes there is nothing to show.
    let mut quiet = World::open(newest());
    let mut batch = quiet.batch(quiet.time, &[]);
    batch.tick.handover = Some(Blob(quiet.final_head().into_bytes()));
    refused(quiet.try_batch(&batch), Rule::Handover);
}

/// Heads of before the change are the old set's and of after it the new one's, whoever shows them.
#[test]
fn the_old_set_makes_no_head_of_what_comes_after_it() {
    let mut world = joined();
    world.tick(1);
    for names in [&["s1", "s2", "s3"][..], &["s1", "s2", "s3", "w1"][..3]] {
        assert!(world.state.final_head(&head_by(&world.state, names)).is_err(), "three of five");
    }
    let (mut world, _) = reshared();
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[new("s4")]));
    world.tick(1);
    assert!(world.state.final_head(&head_by(&world.state, &["s1", "s2", "s3"])).is_err(), "s3 has left");
    world.state.final_head(&head_by(&world.state, &["s1", "s2", "s4"])).unwrap();
}

// ---- P30.leaving

#[test]
fn allow_p30_leaving() {
    let (mut world, dealing) = reshared();
    // One may leave with what it had: it counts in f.
    let mut left = world.clone();
    left.adopt(set_of(&["s1", "s2", "w1", "s4"], &[new("s4")]));
    // Its key says nothing any more, and opens no connection.
    assert!(left.state.key(&id("s3")).unwrap().revoked_at.is_some());
    assert!(left.state.tls_owner(&public("s3/tls")).is_none());
    assert!(left.state.document(Kind::Cosigner, "s3").is_none());
    left.tick(1);
    invalid(left.say("s3", Body::Erased(Erased { dealing })), Rule::Signature);
    // A second one too, if the first had erased what it had.
    let mut newer = card("s3", true, 2);
    newer.seal = public("s3/seal/2");
    world.tick(1);
    world.adopt(Document::Cosigner(certify(newer)));
    world.say("s3", Body::Erased(Erased { dealing })).unwrap();
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[new("s4")]));
    world.tick(1);
    let later = reshare(&mut world, 2, ["s1", "s2"], &["s1", "w1", "s4"]);
    assert!(world.state.is_reshared(&later));
    world.adopt(set_of(&["s1", "w1", "s4", "s5"], &[new("s5")]));
    assert_eq!(names(&world), ["s1", "w1", "s4", "s5"]);
}

#[test]
fn deny_p30_leaving() {
    // With shares in use, or to come.
    let mut world = World::open(newest());
    let without = set_of(&["s1", "s2", "w1", "s4"], &[new("s4")]);
    rejected(world.propose("bob", without.clone()), Rule::Leaving);
    let (mut world, _) = reshared();
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    let back = world.resharing(3, ceremony, ["s1", "s2"], &["s1", "s2", "s3"]);
    world.adopt(Document::Resharing(back));
    rejected(world.propose("bob", without.clone()), Rule::Leaving);

    // What was fine when it was proposed is looked at again when it would enter into force.
    let (mut world, _) = reshared();
    let id = world.propose("bob", without.clone()).unwrap();
    world.approve("alice", id).unwrap();
    let back = world.resharing(3, ceremony, ["s1", "s2"], &["s1", "s2", "s3"]);
    world.adopt(Document::Resharing(back));
    world.approve("bob", id).unwrap();
    let stage = &world.state.proposals().get(&id).unwrap().stage;
    assert_eq!(*stage, Stage::Void(Rule::Leaving.id().to_owned()));

    // A second one with shares of the same dealing is one too many.
    let (mut world, _) = reshared();
    world.adopt(without);
    world.tick(1);
    reshare(&mut world, 2, ["s1", "s2"], &["s1", "w1", "s4"]);
    let second = set_of(&["s1", "w1", "s4", "s5"], &[new("s5")]);
    rejected(world.propose("bob", second.clone()), Rule::Leaving);
    // Swept and closed, the wallet is nobody's to steal from …
    let main = world.state.wallet(&name("main")).unwrap().clone();
    world.adopt(Document::Wallet(Wallet { state: Some(WalletState::Retired), ..main.clone() }));
    world.adopt(second);
    world.tick(1);
    // … and neither it nor another one on such an account is opened again.
    rejected(world.propose("bob", Document::Wallet(Wallet { state: None, ..main.clone() })), Rule::Leaving);
    rejected(world.propose("bob", world.wallet("spare", main.ceremony, 1)), Rule::Leaving);
}

/// What a co-signer erased is not what it held later.
#[test]
fn an_erasure_does_not_cover_what_came_after_it() {
    let (mut world, first) = reshared();
    let mut newer = card("s3", true, 2);
    newer.seal = public("s3/seal/2");
    world.tick(1);
    world.adopt(Document::Cosigner(certify(newer)));
    world.say("s3", Body::Erased(Erased { dealing: first })).unwrap();
    // s3 holds again, and then not any more: of that it erased nothing.
    reshare(&mut world, 2, ["s1", "s2"], &["s1", "s2", "s3"]);
    world.tick(1);
    world.adopt(set_of(&FIVE, &[new("s4")]));
    world.tick(1);
    let third = reshare(&mut world, 3, ["s1", "s2"], &["s1", "s2", "s4"]);
    world.tick(1);
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[]));
    world.tick(1);
    let fourth = reshare(&mut world, 4, ["s1", "s2"], &["s1", "w1", "s4"]);
    assert!(
        world.state.is_reshared(&fourth)
            && !world.state.is_current(&third, &world.state.resharings().get(&third).unwrap().clone())
    );
    let without = set_of(&["s1", "w1", "s4", "s5"], &[new("s5")]);
    rejected(world.propose("bob", without), Rule::Leaving);
}

#[test]
fn who_left_supports_no_rule_set() {
    // Only an upgrade waits.
    let mut policy = fixtures::policy_of(NEWEST, &[fixtures::rule()], 0);
    policy.governance.get_mut(&Kind::Upgrade).unwrap().delay_s = 10 * DELAY_STEP_LIMIT_S;
    let mut world = World::open(Genesis { policy, ..newest() });
    reshare(&mut world, 1, ["s1", "s2"], &["s1", "s2", "w1"]);
    let upgrade = fixtures::foreign_rules();
    let supports = Body::Supports(Supports { version: upgrade.version, rules: upgrade.rules });
    let proposal = world.adopt(Document::Upgrade(upgrade));
    for who in ["s3", "s1"] {
        world.say(who, supports.clone()).unwrap();
    }
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[new("s4")]));
    world.tick(1);
    world.say("s2", supports.clone()).unwrap();
    let stage = |world: &World| world.state.proposals().get(&proposal).unwrap().stage.clone();
    assert_eq!(stage(&world), Stage::Supporting, "two of four");
    world.say("s4", supports.clone()).unwrap();
    let Stage::Waiting(due) = stage(&world) else { panic!("three of four") };
    // Of five it takes four: what was enough is so no more when the delay is over …
    world.adopt(set_of(&["s1", "s2", "w1", "s4", "s5"], &[new("s5")]));
    while world.state.clock().delay < due {
        world.tick(DELAY_STEP_LIMIT_S);
    }
    assert_eq!((stage(&world), world.state.clock().rules), (Stage::Supporting, NEWEST));
    // … until another one does, or as many as there are are enough again.
    let mut fourth = world.clone();
    fourth.say("w1", supports).unwrap();
    assert!(matches!(stage(&fourth), Stage::Waiting(_)));
    world.adopt(set_of(&["s1", "s2", "w1", "s4"], &[]));
    assert!(matches!(stage(&world), Stage::Waiting(_)), "three of four again");
}

/// Under earlier rule sets there is no such document.
#[test]
fn another_set_came_with_rule_set_4() {
    let mut world = World::open(fixtures::second());
    let set = set_of(&FIVE, &[new("s4")]);
    assert_eq!(set.since(), 4);
    invalid(world.propose("bob", set), Rule::Form);
}
