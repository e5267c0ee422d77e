//! Documents: versions, standing, soundness, delays, vetoes (P3, P13).

use custody::PERSON_KEYS_LIMIT;
use custody::apply::DELAY_STEP_LIMIT_S;
use custody::document::{
    Destination, Document, Grant, Group, Kind, Machine, Model, Person, Resume, Revocation, TABLE, Wallet,
};
use custody::effects::Sats;
use custody::genesis::Genesis;
use custody::rule::Rule;
use custody::state::{Owner, Stage};
use custody::statement::{Approve, Body, Freeze, Propose, Revoke, Scope, Veto};
use custody::{Blob, Hash};
use ed25519_dalek::Signer as _;
use fixtures::{
    DAY, World, card, certify, destination, device, group, id, key, machine, name, person, policy, public,
    regtest, rule, samples,
};

use crate::{invalid, rejected};

fn acme() -> Destination {
    match destination("acme") {
        Document::Destination(acme) => acme,
        _ => unreachable!(),
    }
}

fn stage(world: &World, proposal: Hash) -> Stage {
    world.state.proposals().get(&proposal).unwrap().stage.clone()
}

fn in_force(world: &World, document: &Document) -> bool {
    let found = world.state.document(document.kind(), &document.subject());
    found.is_some_and(|found| found.document == *document)
}

// ---- every kind

#[test]
fn the_table_has_every_kind_once() {
    let all = [fixtures::genesis(), fixtures::second(), fixtures::third(), fixtures::newest()];
    for (rule_set, genesis) in (1..).zip(all) {
        let world = samples::world(genesis);
        let kinds: Vec<Kind> = samples::documents(&world).iter().map(Document::kind).collect();
        let rows = TABLE.iter().filter(|row| row.since <= rule_set);
        assert_eq!(rows.map(|row| row.kind).collect::<Vec<_>>(), kinds);
    }
    for row in TABLE {
        let since = match row.kind {
            Kind::Client | Kind::Resharing => 2,
            Kind::CosignerSet => 4,
            kind if kind >= Kind::Rates => 3,
            _ => 1,
        };
        assert_eq!((row.kind.row().kind, row.since), (row.kind, since));
    }
}

#[test]
fn allow_p3_document() {
    let worlds = [fixtures::genesis(), fixtures::newest()].map(samples::world);
    let of =
        |world: &World| samples::documents(world).into_iter().map(|d| (world.clone(), d)).collect::<Vec<_>>();
    for (mut world, document) in worlds.iter().flat_map(of) {
        let proposer = if document.kind() == Kind::Destination { "dave" } else { "bob" };
        let id = world.adopt_as(proposer, document.clone(), &["alice", "bob"]);
        if document.kind() == Kind::Upgrade {
            assert_eq!(stage(&world, id), Stage::Supporting);
        } else {
            assert_eq!(stage(&world, id), Stage::Done, "{document:?}");
            assert!(in_force(&world, &document), "{document:?}");
        }
    }
}

/// One approval is not enough for a document of any kind: not the same person twice, with two keys, nor
/// with somebody who is in no group of its path, a machine or a co-signer.
#[test]
fn under_signed_documents_of_every_kind_are_not_in_force() {
    let mut genesis = fixtures::newest();
    genesis.people[0].keys.push(device("alice/2"));
    let world = samples::world(genesis);
    for document in samples::documents(&world) {
        let mut world = world.clone();
        let proposer = if document.kind() == Kind::Destination { "dave" } else { "bob" };
        let id = world.propose(proposer, document.clone()).unwrap();
        for who in ["alice", "alice", "alice/2"] {
            world.approve(who, id).unwrap();
        }
        if proposer != "dave" {
            world.approve("dave", id).unwrap();
        }
        for who in ["server", "s1"] {
            rejected(world.approve(who, id), Rule::Standing);
        }
        assert_eq!(stage(&world, id), Stage::Open);
        assert!(!in_force(&world, &document), "{document:?}");
        // Of a review bob is a signatory.
        world.approve(if document.kind() == Kind::Review { "bob" } else { "carol" }, id).unwrap();
        assert_ne!(stage(&world, id), Stage::Open, "{document:?}");
    }
}

/// Wallet `main` of some model, and its next version, of another one.
fn another_model(genesis: Genesis, first: Model, second: Model) -> (World, Document) {
    let world = World::with(genesis, first);
    let main = world.state.wallet(&name("main")).unwrap().clone();
    (world, Document::Wallet(Wallet { model: second, ..main }))
}

/// The next version of a wallet is of its model. Under rule set 1 that could change, and does when a log replays.
#[test]
fn allow_p3_document_of_another_model() {
    use Model::{One, OneP, Three, Two, TwoP};
    let same = [One, OneP, Two, TwoP, Three].map(|model| (fixtures::newest(), model, model));
    let first = [(One, Two), (Two, Three), (Three, One)].map(|(a, b)| (fixtures::genesis(), a, b));
    for (genesis, first, second) in same.into_iter().chain(first) {
        let (mut world, next) = another_model(genesis, first, second);
        let id = world.adopt(next.clone());
        assert_eq!(stage(&world, id), Stage::Done);
        assert!(in_force(&world, &next));
    }
}

/// A wallet keeps its model: the books of the clients hold it for ever.
#[test]
fn deny_p3_document_of_another_model() {
    use Model::{One, OneP, Three, Two, TwoP};
    for (first, second) in
        [(One, OneP), (OneP, TwoP), (TwoP, Two), (Two, One), (One, Three), (Three, One), (Three, TwoP)]
    {
        let (mut world, next) = another_model(fixtures::newest(), first, second);
        rejected(world.propose("bob", next), Rule::Document);
    }
}

// ---- P3.replaces

#[test]
fn allow_p3_replaces() {
    let mut world = World::ready();
    let next = Document::Destination(Destination { address: regtest::address("new"), ..acme() });
    world.adopt_as("dave", next.clone(), &["alice", "bob"]);
    assert!(in_force(&world, &next));
}

#[test]
fn deny_p3_replaces() {
    let mut world = World::ready();
    let next = Document::Destination(Destination { address: regtest::address("new"), ..acme() });
    for replaces in [None, Some(Hash([1; 32])), Some(next.hash())] {
        let body = Body::Propose(Propose { document: next.clone(), replaces });
        rejected(world.say("dave", body), Rule::Replaces);
    }
    let fresh = Body::Propose(Propose { document: destination("beta"), replaces: Some(Hash([1; 32])) });
    rejected(world.say("dave", fresh), Rule::Replaces);
}

/// Of two versions that replace the same one, the second can no longer enter into force.
#[test]
fn deny_p3_replaces_of_a_version_that_is_gone() {
    let mut world = slow(600);
    let group_of = |members: &[&str]| Document::Group(group("approvers", members));
    let one = world.adopt(group_of(&["alice", "bob"]));
    let two = world.adopt(group_of(&["bob", "carol"]));
    wait(&mut world, 600);
    // Both became due at once; which of them is first is decided by their ids.
    let stages = [stage(&world, one), stage(&world, two)];
    let void = Stage::Void("P3.replaces".into());
    assert!(stages.contains(&Stage::Done) && stages.contains(&void), "{stages:?}");
}

// ---- P3.standing

#[test]
fn allow_p3_standing() {
    let mut world = World::ready();
    let proposal = world.propose("dave", destination("beta")).unwrap();
    world.approve("alice", proposal).unwrap();
    world.say("carol", Body::Veto(Veto { target: proposal })).unwrap();
    assert_eq!(stage(&world, proposal), Stage::Vetoed(name("carol")));
    // For other kinds the proposer is one of the approvers.
    world.adopt_as("bob", Document::Group(group("risk", &["dave"])), &["bob", "carol"]);
}

#[test]
fn deny_p3_standing() {
    let mut world = World::ready();
    for who in ["server", "alarm", "s1"] {
        rejected(world.propose(who, destination("beta")), Rule::Standing);
    }
    let proposal = world.propose("bob", destination("beta")).unwrap();
    rejected(world.approve("bob", proposal), Rule::Standing);
    for who in ["server", "s1"] {
        rejected(world.say(who, Body::Veto(Veto { target: proposal })), Rule::Standing);
    }
    world.approve("alice", proposal).unwrap();
    world.approve("carol", proposal).unwrap();
    assert_eq!(stage(&world, proposal), Stage::Done);
    rejected(world.approve("alice", proposal), Rule::Standing);
    rejected(world.say("alice", Body::Veto(Veto { target: proposal })), Rule::Standing);
}

/// Nobody approves the payment that the same person asked for.
#[test]
fn deny_p3_standing_of_the_requester() {
    let mut world = World::ready();
    let coin = world.coin(1_000_000);
    let request = world.asked_as("alice", world.request(&[("acme", 400_000)]), &["bob"]);
    rejected(world.approve("alice", request), Rule::Standing);
    rejected(world.approve("server", request), Rule::Standing);
    let draft = world.draft(&[request], &[coin], 1_000);
    invalid(world.pay(&[request], &draft), Rule::PolicyApprovals);
    world.approve("carol", request).unwrap();
    world.pay(&[request], &draft).unwrap();
}

/// What reduces authority or lifts a freeze by quorum has no veto: not by its target, not by anybody.
#[test]
fn deny_p3_standing_of_a_veto_against_revocation_and_resume() {
    let mut world = World::ready();
    let freeze = world.say("dave", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    let documents = [
        Document::Revocation(Revocation { key: id("dave") }),
        Document::Resume(Resume { freezes: vec![freeze] }),
    ];
    for document in documents {
        let proposal = world.propose("alice", document).unwrap();
        rejected(world.say("dave", Body::Veto(Veto { target: proposal })), Rule::Standing);
        assert_eq!(stage(&world, proposal), Stage::Open);
    }
}

// ---- P3.document

#[test]
fn deny_p3_document() {
    let mut world = World::ready();
    world.say("carol", Body::Revoke(Revoke { key: id("carol") })).unwrap();
    let person_with =
        |keys: Vec<custody::document::DeviceKey>| Document::Person(Person { keys, ..person("erin") });
    let devices = |count: usize| (0..count).map(|i| device(&format!("erin/{i}"))).collect::<Vec<_>>();
    let mut shared_tls = device("erin");
    shared_tls.tls = public("bob/tls");
    let mut one_for_both = device("erin");
    one_for_both.tls = one_for_both.sign;
    let mut of_cosigner = device("erin");
    of_cosigner.tls = public("s1/vote");
    let unsorted = |grants: &[Grant]| Document::Machine(machine("teller", grants));
    let address = |address: &str| Document::Destination(Destination { address: address.into(), ..acme() });
    let mut identity = card("s1", true, 2);
    identity.identity = public("mallory");
    identity.certificate = Blob(key("mallory").sign(&identity.certified_bytes()).to_vec());
    let mut uncertified = card("s1", true, 2);
    uncertified.frame = public("s1/frame/2");
    let mut vote = card("s1", true, 2);
    vote.vote = public("s1/vote/2");
    let mut stolen = card("s1", true, 2);
    stolen.frame = public("s2/frame");
    let header = world.state.header();
    let bad = [
        person_with(devices(0)),
        person_with(devices(PERSON_KEYS_LIMIT + 1)),
        person_with(vec![device("erin"), device("erin")]),
        person_with(vec![device("alice")]),
        person_with(vec![device("server")]),
        person_with(vec![shared_tls]),
        person_with(vec![one_for_both]),
        person_with(vec![of_cosigner]),
        Document::Person(person("carol")),
        Document::Group(group("risk", &["dave", "alice"])),
        Document::Group(group("risk", &["alice", "alice"])),
        Document::Group(group("risk", &["nobody"])),
        Document::Group(group("risk", &["server"])),
        unsorted(&[Grant::Freeze, Grant::Authorise]),
        unsorted(&[Grant::Freeze, Grant::Freeze]),
        Document::Machine(Machine { sign: public("bob"), ..machine("teller", &[]) }),
        address(""),
        address("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        address(&regtest::address("x").replace("bcrt1p", "bcrt1q")),
        Document::Cosigner(certify(card("s1", true, 1))),
        Document::Cosigner(certify(card("s1", false, 2))),
        Document::Cosigner(custody::document::CosignerCard {
            certificate: Blob(vec![0; 64]),
            ..card("s1", true, 2)
        }),
        Document::Cosigner(uncertified),
        Document::Cosigner(identity),
        Document::Cosigner(certify(vote)),
        Document::Cosigner(certify(stolen)),
        Document::Header(header),
        Document::Header(custody::effects::PinnedHeader { hash: Hash([4; 32]), ..header }),
        Document::Resume(Resume { freezes: Vec::new() }),
        Document::Resume(Resume { freezes: vec![Hash([4; 32])] }),
        Document::Revocation(Revocation { key: Hash([4; 32]) }),
        Document::Revocation(Revocation { key: id("s1") }),
    ];
    for document in bad {
        rejected(world.propose("alice", document), Rule::Document);
    }
    world.propose("alice", person_with(devices(PERSON_KEYS_LIMIT))).unwrap();
}

/// A person's two keys are one person, everywhere; and only the keys in force sign.
#[test]
fn a_new_version_of_a_person_retires_the_keys_that_it_leaves_out() {
    let mut world = World::ready();
    let next = Person { keys: vec![device("alice/2")], ..person("alice") };
    let before = world.propose("bob", destination("beta")).unwrap();
    world.approve("alice", before).unwrap();
    world.adopt_as("bob", Document::Person(next), &["bob", "carol"]);
    invalid(world.say("alice", Body::Freeze(Freeze { scope: Scope::Everything })), Rule::Signature);
    world.approve("carol", before).unwrap();
    assert_eq!(stage(&world, before), Stage::Open, "the approval by the old key counts no more");
    world.approve("alice/2", before).unwrap();
    assert_eq!(stage(&world, before), Stage::Done);
    // The old key does not come back, for her or for anybody.
    for (who, keys) in [("alice", vec![device("alice")]), ("erin", vec![device("alice")])] {
        rejected(world.propose("bob", Document::Person(Person { keys, ..person(who) })), Rule::Document);
    }
    let owner = |k: &str| world.state.tls_owner(&public(k));
    assert_eq!(owner("alice/tls"), None);
    assert_eq!(owner("alice/2/tls"), Some(Owner::Person(name("alice"))));
}

#[test]
fn a_revoked_machine_opens_no_connection() {
    let mut world = World::ready();
    assert_eq!(world.state.tls_owner(&public("server/tls")), Some(Owner::Machine(name("server"))));
    assert_eq!(world.state.tls_owner(&public("s1/tls")), Some(Owner::Cosigner(name("s1"))));
    world.adopt(Document::Revocation(Revocation { key: id("server") }));
    assert_eq!(world.state.tls_owner(&public("server/tls")), None);
    invalid(world.propose("server", destination("beta")), Rule::Signature);
}

// ---- delay (P3, P13)

/// Adopts a policy with delays.
fn slow(delay_s: u64) -> World {
    let mut world = World::ready();
    world.adopt(Document::Policy(policy(&[rule()], delay_s)));
    world
}

fn wait(world: &mut World, seconds: u64) {
    let end = world.time + seconds;
    while world.time < end {
        world.tick((end - world.time).min(DELAY_STEP_LIMIT_S));
    }
}

#[test]
fn a_document_waits_for_its_delay() {
    for kind in [Kind::Destination, Kind::Group, Kind::Policy, Kind::Person, Kind::Machine] {
        let mut world = slow(DAY);
        let document = match kind {
            Kind::Destination => destination("beta"),
            Kind::Group => Document::Group(group("risk", &["dave"])),
            Kind::Policy => Document::Policy(policy(&[rule()], 0)),
            Kind::Person => Document::Person(person("erin")),
            _ => Document::Machine(machine("teller", &[])),
        };
        let id = world.adopt_as("dave", document.clone(), &["alice", "bob"]);
        let Stage::Waiting(due) = stage(&world, id) else { panic!("it does not wait") };
        assert_eq!(due, world.state.clock().delay + DAY);
        assert!(world.state.waits_for_time());
        wait(&mut world, DAY - 1);
        assert!(!in_force(&world, &document));
        world.tick(1);
        assert!(in_force(&world, &document));
        assert!(!world.state.waits_for_time());
    }
}

/// A server that stops the log for three days lets ten minutes of a delay run out.
#[test]
fn stopping_the_log_does_not_run_out_a_delay() {
    let mut world = slow(DAY);
    world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    let before = world.state.clock().delay;
    world.tick(3 * DAY);
    assert_eq!(world.state.clock().delay, before + DELAY_STEP_LIMIT_S);
    assert!(world.state.destination(&name("beta")).is_none());
    // Gaps up to the limit count in full.
    world.tick(DELAY_STEP_LIMIT_S);
    world.tick(DELAY_STEP_LIMIT_S + 1);
    assert_eq!(world.state.clock().delay, before + 3 * DELAY_STEP_LIMIT_S);
}

#[test]
fn a_veto_stops_a_document_that_waits() {
    let mut world = slow(DAY);
    let id = world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    wait(&mut world, DAY - 1);
    // In the very batch in which it would enter into force.
    let veto = world.sign("carol", Body::Veto(Veto { target: id }));
    let outcomes = world.apply(world.time + 1, &[veto]);
    assert_eq!(outcomes[0].rejected, None);
    assert_eq!(stage(&world, id), Stage::Vetoed(name("carol")));
    wait(&mut world, DAY);
    assert!(world.state.destination(&name("beta")).is_none());
    assert!(!world.state.waits_for_time());
}

/// What is composed is valid also when a veto and something that needs the vetoed document meet in the
/// batch in which it becomes due.
#[test]
fn what_needs_a_vetoed_document_is_left_out() {
    let mut world = slow(DAY);
    let id = world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    wait(&mut world, DAY - 1);
    let mut ask = world.request(&[("acme", 100_000)]);
    ask.outputs[0].destination = name("beta");
    ask.outputs[0].version = destination("beta").hash();
    let ask = world.sign("carol", Body::Request(ask));
    let veto = world.sign("carol", Body::Veto(Veto { target: id }));
    let (batch, left_out) =
        world.state.compose(world.time + 1, "", &[ask.clone(), veto.clone()], &world.decoder);
    assert_eq!(
        left_out.iter().map(|(id, r)| (*id, r.rule)).collect::<Vec<_>>(),
        [(ask.id(), Rule::Reference)]
    );
    assert_eq!(batch.entries, [veto]);
    world.try_batch(&batch).unwrap();
    // Without the veto it is in force when the request is judged.
    let mut world = slow(DAY);
    world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    wait(&mut world, DAY - 1);
    assert_eq!(world.apply(world.time + 1, &[ask])[0].rejected, None);
}

/// Whoever approved took the key out of use meanwhile: the delay ends in nothing.
#[test]
fn deny_p1_decides_when_the_delay_is_over() {
    let void = Stage::Void("P1.decides".into());
    let mut world = slow(DAY);
    let proposal = world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    world.say("bob", Body::Revoke(Revoke { key: id("bob") })).unwrap();
    wait(&mut world, DAY);
    assert_eq!(stage(&world, proposal), void);
    // The end of an approval, though, no longer matters once it has carried the document.
    let mut world = slow(2 * DAY);
    let id = world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    wait(&mut world, 2 * DAY);
    assert_eq!(stage(&world, id), Stage::Done);
}

#[test]
fn a_policy_in_between_voids_what_waits() {
    let mut world = slow(DAY);
    let mut next = policy(&[rule()], DAY);
    next.rules[0].require.amount_max = Sats(1_000);
    let changed = world.adopt(Document::Policy(next));
    wait(&mut world, 600);
    let id = world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    wait(&mut world, DAY);
    assert_eq!(stage(&world, changed), Stage::Done);
    assert_eq!(stage(&world, id), Stage::Void("P1.decides".into()));
    assert!(world.state.destination(&name("beta")).is_none());
}

/// A resume and a revocation wait for nothing.
#[test]
fn what_reduces_authority_by_quorum_is_immediate() {
    let mut world = slow(DAY);
    let freeze = world.say("dave", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    world.adopt(Document::Resume(Resume { freezes: vec![freeze] }));
    assert!(world.state.freezes().is_empty());
    world.adopt(Document::Revocation(Revocation { key: id("dave") }));
    invalid(world.propose("dave", destination("beta")), Rule::Signature);
}

/// Two hostile people who protect each other: each alone stops no revocation.
#[test]
fn the_target_of_a_revocation_cannot_stop_it() {
    let mut world = World::ready();
    let proposal = world.propose("alice", Document::Revocation(Revocation { key: id("carol") })).unwrap();
    rejected(world.say("carol", Body::Veto(Veto { target: proposal })), Rule::Standing);
    world.say("carol", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    world.approve("alice", proposal).unwrap();
    world.approve("bob", proposal).unwrap();
    assert_eq!(stage(&world, proposal), Stage::Done);
    invalid(world.approve("carol", proposal), Rule::Signature);
}

/// A hoarded approval does not carry another proposal of the same document.
#[test]
fn an_approval_is_for_one_proposal() {
    let mut world = World::ready();
    let one = world.propose("bob", destination("beta")).unwrap();
    let two = world.propose("bob", destination("beta")).unwrap();
    world.approve("alice", one).unwrap();
    world.approve("carol", two).unwrap();
    assert_eq!([stage(&world, one), stage(&world, two)], [Stage::Open, Stage::Open]);
    let (_, decides) = world.state.policy().unwrap();
    let body = Body::Approve(Approve { target: one, decides });
    world.say("carol", body).unwrap();
    assert_eq!(stage(&world, one), Stage::Done);
}

#[test]
fn groups_that_would_lock_everybody_out_are_not_adopted() {
    let mut world = World::ready();
    for members in [&["alice"][..], &[]] {
        rejected(world.propose("alice", Document::Group(group("admins", members))), Rule::Floor);
        rejected(world.propose("alice", Document::Group(group("approvers", members))), Rule::Floor);
    }
    let empty = Document::Group(Group { id: name("risk"), members: Vec::new() });
    world.propose("alice", empty).unwrap();
    world.propose("alice", Document::Group(group("admins", &["alice", "bob"]))).unwrap();
}
