//! Deny lists: what they stop, and that a longer one waits for nothing.

use custody::Hash;
use custody::document::{Destination, Document};
use custody::genesis::Genesis;
use custody::records::{DENIED_LIMIT, DenyList};
use custody::rule::Rule;
use custody::state::Stage;
use custody::statement::{Body, Veto};
use fixtures::{DAY, Denied, World, destination, name, newest, policy_of, regtest, rule, third};

use crate::{invalid, rejected};

fn pay(world: &mut World, to: &str) -> Result<Hash, Denied> {
    let coin = world.coin(1_000_000);
    let request = world.asked_as("dave", world.request(&[(to, 100_000)]), &["alice", "bob"]);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft)
}

fn denies(addresses: &[String]) -> Document {
    let mut addresses = addresses.to_vec();
    addresses.sort();
    Document::DenyList(DenyList { id: name("sanctions"), source: Hash::sha256(b"list"), addresses })
}

#[test]
fn allow_policy_deny_list() {
    let mut world = World::open(newest());
    world.adopt(denies(&[regtest::address("thief")]));
    pay(&mut world, "acme").unwrap();
}

#[test]
fn deny_policy_deny_list() {
    let mut world = World::open(newest());
    world.adopt(denies(&[regtest::address("thief"), regtest::address("acme")]));
    invalid(pay(&mut world, "acme"), Rule::Denied);
    rejected(world.propose("dave", destination("thief")), Rule::Denied);
    // The same address in capitals is the same address (BIP-173).
    let Document::Destination(thief) = destination("thief") else { unreachable!() };
    let address = thief.address.to_uppercase();
    rejected(world.propose("dave", Document::Destination(Destination { address, ..thief })), Rule::Denied);
    let many = |n: usize| (0..n).map(|i| regtest::address(&format!("d-{i}"))).collect::<Vec<_>>();
    for bad in [many(DENIED_LIMIT + 1), vec!["bc1qnone".to_owned()]] {
        rejected(world.propose("bob", denies(&bad)), Rule::Document);
    }
    world.propose("bob", denies(&many(0))).unwrap();
    world.propose("bob", denies(&many(DENIED_LIMIT))).unwrap();
}

/// A deployment whose documents wait for a day.
fn slow(genesis: Genesis) -> World {
    let policy = policy_of(genesis.rules, &[rule()], DAY);
    let mut world = World::open(genesis);
    world.adopt(Document::Policy(policy));
    world
}

fn list(names: &[&str]) -> Document {
    denies(&names.iter().map(|name| regtest::address(name)).collect::<Vec<_>>())
}

fn stage(world: &World, id: Hash) -> Stage {
    world.state.proposals().get(&id).unwrap().stage.clone()
}

fn veto(world: &mut World, id: Hash) -> Result<Hash, Denied> {
    world.say("carol", Body::Veto(Veto { target: id }))
}

#[test]
fn a_deny_list_that_only_grows_is_in_force_at_once() {
    let mut world = slow(newest());
    let (first, longer) = (list(&["thief"]), list(&["acme", "thief"]));
    for list in [&first, &longer, &longer] {
        // Nobody stops it on the way either.
        let id = world.propose("bob", list.clone()).unwrap();
        rejected(veto(&mut world, id), Rule::Standing);
        world.approve("alice", id).unwrap();
        assert_eq!(stage(&world, id), Stage::Open, "one approval is not enough");
        world.approve("bob", id).unwrap();
        assert_eq!(stage(&world, id), Stage::Done);
    }
    invalid(pay(&mut world, "acme"), Rule::Denied);
}

#[test]
fn a_deny_list_that_takes_an_address_away_waits_and_can_be_stopped() {
    let mut world = slow(newest());
    world.adopt(list(&["acme", "thief"]));
    let capitals = denies(&[regtest::address("acme").to_uppercase(), regtest::address("thief")]);
    // However many it adds.
    for shorter in [list(&[]), list(&["acme"]), list(&["acme", "other", "third"]), capitals] {
        let id = world.adopt(shorter);
        assert!(matches!(stage(&world, id), Stage::Waiting(_)));
        invalid(pay(&mut world.clone(), "acme"), Rule::Denied);
        veto(&mut world, id).unwrap();
        assert_eq!(stage(&world, id), Stage::Vetoed(name("carol")));
    }
    // Another list keeps nothing of this one, and takes nothing away from it.
    let Document::DenyList(other) = list(&["other"]) else { unreachable!() };
    let id = world.adopt(Document::DenyList(DenyList { id: name("tax"), ..other }));
    assert_eq!(stage(&world, id), Stage::Done);
    invalid(pay(&mut world, "acme"), Rule::Denied);
}

/// What was proposed while the list was shorter replaces a version that is gone.
#[test]
fn a_deny_list_that_grew_meanwhile_is_not_cut_at_once() {
    let mut world = slow(newest());
    let late = world.propose("bob", list(&["thief"])).unwrap();
    world.adopt(list(&["acme"]));
    world.approve("alice", late).unwrap();
    world.approve("bob", late).unwrap();
    assert!(matches!(stage(&world, late), Stage::Waiting(_)));
    invalid(pay(&mut world, "acme"), Rule::Denied);
}

#[test]
fn before_rule_set_4_a_deny_list_waits_as_all_else() {
    let mut world = slow(third());
    let id = world.adopt(list(&["acme"]));
    assert!(matches!(stage(&world, id), Stage::Waiting(_)));
    pay(&mut world.clone(), "acme").unwrap();
    veto(&mut world, id).unwrap();
}
