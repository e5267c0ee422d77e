//! Devices that show by themselves what they sign, and consoles that a server serves: what each carries (S4,
//! DACS OPS-13).

use custody::Hash;
use custody::document::{DeviceKey, DeviceKind, Document, Person};
use custody::genesis::Genesis;
use custody::policy::PolicyRule;
use custody::rule::Rule;
use custody::statement::{Body, Revoke};
use fixtures::{Denied, World, client, name, newest, path};

use crate::limits::only;
use crate::{invalid, rejected};

/// Alice's second device is a console, bob's only one too.
fn consoles(change: impl FnOnce(&mut PolicyRule)) -> World {
    let mut genesis = Genesis { policy: only(change), ..newest() };
    let console = |key: &str| DeviceKey { device: DeviceKind::Console, ..fixtures::device(key) };
    genesis.people[0].keys.push(console("alice/2"));
    let mut world = World::open(genesis);
    let mut bob = fixtures::person("bob");
    bob.keys = vec![console("bob/2")];
    world.adopt_as("bob", Document::Person(bob), &["alice", "carol"]);
    world
}

/// What these keys approve.
fn pay_with(world: &World, keys: &[&str]) -> Result<Hash, Denied> {
    let mut world = world.clone();
    let coin = world.coin(1_000_000);
    let request = world.asked_as("dave", world.request(&[("acme", 10_000)]), keys);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft)
}

#[test]
fn allow_policy_independent() {
    let world = consoles(|rule| rule.require.independent = Some(2));
    pay_with(&world, &["alice", "carol"]).unwrap();
    pay_with(&world, &["alice", "bob/2", "carol"]).unwrap();
    let world = consoles(|rule| rule.require.independent = Some(1));
    pay_with(&world, &["alice", "bob/2"]).unwrap();
}

#[test]
fn deny_policy_independent() {
    let world = consoles(|rule| rule.require.independent = Some(2));
    invalid(pay_with(&world, &["alice", "bob/2"]), Rule::PolicyIndependent);
    invalid(pay_with(&world, &["alice/2", "bob/2", "carol"]), Rule::PolicyIndependent);
    // Somebody who has no seat lends no device.
    let world = consoles(|rule| rule.require.independent = Some(1));
    let mut world = world;
    world.adopt_as(
        "carol",
        Document::Group(fixtures::group("approvers", &["alice", "bob"])),
        &["alice", "carol"],
    );
    invalid(pay_with(&world, &["alice/2", "bob/2", "carol"]), Rule::PolicyIndependent);
}

/// Consoles alone carry de minimis and nothing more, and govern nothing (S4).
#[test]
fn deny_floor_two_people_on_consoles() {
    let world = consoles(|_| ());
    invalid(pay_with(&world, &["alice/2", "bob/2"]), Rule::TwoPeople);
    pay_with(&world, &["alice/2", "bob/2", "carol"]).unwrap();
    let mut world = world;
    let id = world.propose("carol", client("west")).unwrap();
    for who in ["alice/2", "bob/2"] {
        world.approve(who, id).unwrap();
    }
    assert!(world.state.client(&name("west")).is_none());
    world.approve("carol", id).unwrap();
    assert!(world.state.client(&name("west")).is_none());
    world.approve("alice", id).unwrap();
    assert!(world.state.client(&name("west")).is_some());
}

/// Whoever has consoles alone approves no document: a group of them would lock everybody out.
#[test]
fn deny_floor_governance_by_consoles() {
    let console = |key: &str| DeviceKey { device: DeviceKind::Console, ..fixtures::device(key) };
    let with = |people: &[&str]| {
        let mut genesis = newest();
        for person in genesis.people.iter_mut().filter(|person| people.contains(&person.id.as_str())) {
            person.keys = vec![console(person.id.as_str())];
        }
        genesis
    };
    with(&["carol"]).check().unwrap();
    assert_eq!(with(&["bob", "carol"]).check().unwrap_err().rule, Rule::Floor);
    // By a person's next version, by a group's, and for who lost the other key.
    let mut world = World::open(with(&["carol"]));
    let bob = Document::Person(Person { keys: vec![console("bob/2")], ..fixtures::person("bob") });
    rejected(world.propose("alice", bob.clone()), Rule::Floor);
    let both = Person { keys: vec![fixtures::device("bob"), console("bob/2")], ..fixtures::person("bob") };
    world.clone().propose("alice", Document::Person(both)).unwrap();
    let without = Document::Group(fixtures::group("admins", &["alice", "carol"]));
    rejected(world.propose("alice", without.clone()), Rule::Floor);
    // Who revoked the own key holds nobody up by it.
    let mut world = World::open(newest());
    world.say("carol", Body::Revoke(Revoke { key: fixtures::id("carol") })).unwrap();
    world.propose("alice", without).unwrap();
}

/// A rule that asks for more independent approvals than anybody could give lets nothing pass.
#[test]
fn deny_floor_more_independent_approvals_than_there_are_devices() {
    let with = |need: u32, consoles: &[&str]| {
        let mut genesis = newest();
        genesis.policy.rules[0].require.independent = Some(need);
        genesis.groups.push(fixtures::group("payers", &["carol", "dave"]));
        genesis.policy.rules[0].require.approvals = vec![path(&[(2, "payers")])];
        for person in genesis.people.iter_mut().filter(|person| consoles.contains(&person.id.as_str())) {
            person.keys[0].device = DeviceKind::Console;
        }
        genesis.check()
    };
    with(2, &[]).unwrap();
    assert_eq!(with(2, &["dave"]).unwrap_err().rule, Rule::Floor);
    with(1, &["dave"]).unwrap();
    let mut genesis = newest();
    genesis.groups.push(fixtures::group("payers", &["carol", "dave"]));
    genesis.policy.rules[0].require.approvals = vec![path(&[(2, "payers")])];
    genesis.people.iter_mut().filter(|person| ["carol", "dave"].contains(&person.id.as_str())).for_each(
        |p| {
            p.keys[0].device = DeviceKind::Console;
        },
    );
    assert_eq!(genesis.check().unwrap_err().rule, Rule::Floor, "one in any case");
}
