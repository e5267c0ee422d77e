//! Which rule sets a co-signer says that it supports (P29).

use std::collections::BTreeMap;

use custody::Hash;
use custody::document::{Client, Document, Upgrade};
use custody::rule_set::{NEWEST, rule_set_hash};
use custody::state::Stage;
use custody::statement::{Approve, Body, Propose, Supports};
use fixtures::World;
use signer::cosigner::to_support;
use sim::deployment::{Deployment, name};
use sim::relay::Cluster;

const RULES: Hash = Hash([9; 32]);

fn upgrade(version: u32) -> Document {
    Document::Upgrade(Upgrade { version, rules: RULES })
}

#[test]
fn a_rule_set_that_the_program_has_is_supported_once_and_again_when_that_was_lost() {
    let own = name("s1");
    let (known, mut said) = ([(1, Hash([1; 32])), (2, RULES)], BTreeMap::new());
    let mut world = World::ready();
    let ask = |world: &World, said: &BTreeMap<Hash, u64>, now| {
        to_support(&world.state, &own, &known, said, now).map(|(id, _)| id)
    };
    // Proposed is not approved; of what was approved only what the program has counts, version and hash.
    let two = world.propose("alice", upgrade(2)).unwrap();
    assert_eq!(ask(&world, &said, 0), None);
    let three = world.adopt(upgrade(3));
    let other = world.adopt(Document::Upgrade(Upgrade { version: 2, rules: Hash([8; 32]) }));
    for id in [three, other] {
        assert_eq!(world.state.proposals().get(&id).unwrap().stage, Stage::Supporting);
    }
    assert_eq!(ask(&world, &said, 0), None);
    for who in ["alice", "bob"] {
        world.approve(who, two).unwrap();
    }
    let wanted = to_support(&world.state, &own, &known, &said, 0);
    assert_eq!(wanted, Some((two, Supports { version: 2, rules: RULES })));
    assert_eq!(to_support(&world.state, &own, &known[..1], &said, 0), None, "a program without it");

    // Said: not again before that statement has ended, and then only if it never got into the log.
    said.insert(two, 5_000);
    assert_eq!((ask(&world, &said, 5_000), ask(&world, &said, 5_001)), (None, Some(two)));
    world.say("s1", Body::Supports(Supports { version: 2, rules: RULES })).unwrap();
    assert_eq!(ask(&world, &said, 5_001), None);
    assert!(to_support(&world.state, &name("s2"), &known, &said, 5_001).is_some(), "another one still does");
    for who in ["s2", "s3"] {
        world.say(who, Body::Supports(Supports { version: 2, rules: RULES })).unwrap();
    }
    assert_eq!(to_support(&world.state, &name("w1"), &known, &said, 5_001), None, "enough did");
}

/// Production co-signers under the relay: people approve a rule set that no program has, and nobody supports it.
#[test]
fn a_rule_set_that_the_program_lacks_is_not_supported() {
    let mut cluster = Cluster::new(29, Deployment::default(), false);
    assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
    let mut approved = Vec::new();
    // Unknown; and the hash of the newest one under a version that is no set of this program.
    for rules in [RULES, rule_set_hash(NEWEST).unwrap()] {
        let document = Document::Upgrade(Upgrade { version: NEWEST + 1_000, rules });
        let now = cluster.now_s();
        let proposal =
            cluster.deployment.sign("alice", now, Body::Propose(Propose { document, replaces: None }));
        let target = proposal.id();
        cluster.submit(proposal);
        let known = |c: &Cluster| c.cosigner(0).unwrap().final_state().proposals().get(&target).is_some();
        assert!(cluster.run(10_000, known));
        let decides = cluster.cosigner(0).unwrap().final_state().policy().unwrap().1;
        for who in ["alice", "bob"] {
            let approval = cluster.deployment.sign(who, now, Body::Approve(Approve { target, decides }));
            cluster.submit(approval);
        }
        approved.push(target);
    }
    let stage = |c: &Cluster, id: &Hash| {
        c.cosigner(0).unwrap().final_state().proposals().get(id).unwrap().stage.clone()
    };
    let approved_both = |c: &Cluster| approved.iter().all(|id| stage(c, id) == Stage::Supporting);
    assert!(cluster.run(10_000, approved_both));
    cluster.run(60_000, |_| false);
    for id in &approved {
        let state = cluster.cosigner(0).unwrap().final_state();
        assert!(state.proposals().get(id).unwrap().supports.is_empty());
    }
    assert!(approved_both(&cluster));
}

/// Production co-signers of a deployment that began under rule set 1: once people approved the next one, they
/// support it by themselves, change together, and take in what it brought.
#[test]
fn a_running_deployment_changes_to_the_next_rule_set() {
    let mut deployment = Deployment::default();
    deployment.genesis.rules = 1;
    deployment.genesis.policy.governance.retain(|kind, _| kind.row().since == 1);
    let mut cluster = Cluster::new(31, deployment, false);
    assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
    let now = cluster.now_s();
    let document = Document::Upgrade(Upgrade { version: 2, rules: rule_set_hash(2).unwrap() });
    let proposal = cluster.deployment.sign("alice", now, Body::Propose(Propose { document, replaces: None }));
    let target = proposal.id();
    cluster.submit(proposal);
    assert!(cluster.run(10_000, |c| c.cosigner(0).unwrap().final_state().proposals().get(&target).is_some()));
    let decides = cluster.cosigner(0).unwrap().final_state().policy().unwrap().1;
    for who in ["alice", "bob"] {
        let approval = cluster.deployment.sign(who, now, Body::Approve(Approve { target, decides }));
        cluster.submit(approval);
    }
    let rules = |c: &Cluster| (0..4).all(|p| c.cosigner(p).unwrap().final_state().clock().rules == 2);
    assert!(cluster.run(700_000, rules));
    let client = Client { id: name("north"), name: Hash([7; 32]) };
    let body = Body::Propose(Propose { document: Document::Client(client), replaces: None });
    let now = cluster.now_s();
    let proposal = cluster.deployment.sign("alice", now, body);
    let id = proposal.id();
    cluster.submit(proposal);
    let known =
        |c: &Cluster| (0..4).all(|p| c.cosigner(p).unwrap().final_state().proposals().get(&id).is_some());
    assert!(cluster.run(10_000, known));
}
