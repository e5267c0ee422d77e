//! What reduces authority: freeze, revoke, veto; and what lifts it (P16–P18).

use custody::Hash;
use custody::apply::{FREEZES_PER_PERSON_LIMIT, REVOKED_FREEZE_S};
use custody::document::{Document, Resume, Revocation};
use custody::payment::Request;
use custody::rule::Rule;
use custody::state::Owner;
use custody::statement::{Body, Freeze, Revoke, Scope};
use fixtures::{DAY, World, destination, genesis, id, name};

use crate::{asked, invalid, refused, rejected};

fn freeze() -> Body {
    Body::Freeze(Freeze { scope: Scope::Everything })
}

fn resume(freezes: &[Hash]) -> Document {
    Document::Resume(Resume { freezes: freezes.to_vec() })
}

#[test]
fn allow_p16_frozen() {
    let (mut world, coin, request) = asked();
    let draft = world.draft(&[request], &[coin], 1_000);
    let one = world.say("dave", freeze()).unwrap();
    let two = world.say("alarm", freeze()).unwrap();
    // A resume lifts the freezes that it names, and no others.
    world.adopt(resume(&[one]));
    invalid(world.pay(&[request], &draft), Rule::Frozen);
    world.adopt(resume(&[two]));
    world.pay(&[request], &draft).unwrap();
}

#[test]
fn deny_p16_frozen() {
    let (mut world, coin, request) = asked();
    let draft = world.draft(&[request], &[coin], 1_000);
    let other = world.asked(world.request(&[("acme", 100_000)]));
    let id = world.pay(&[request], &draft).unwrap();
    world.say("dave", freeze()).unwrap();
    let bump = world.draft(&[request], &[coin], 2_000);
    invalid(world.pay(&[request], &bump), Rule::Frozen);
    refused(world.state.release(&id, world.time, &world.decoder), Rule::Frozen);
    let coin = world.coin(1_000_000);
    let draft = world.draft(&[other], &[coin], 1_000);
    invalid(world.pay(&[other], &draft), Rule::Frozen);
    // It lasts until a quorum lifts it.
    world.tick(30 * DAY);
    refused(world.state.release(&id, world.time - 30 * DAY, &world.decoder), Rule::Frozen);
}

/// A freeze in the same batch as what it stops comes first.
#[test]
fn a_freeze_beats_a_payment_in_its_batch() {
    let (mut world, coin, request) = asked();
    let body = Body::Authorise(world.authorise(&[request], &world.draft(&[request], &[coin], 1_000)));
    let authorise = world.sign("server", body);
    let freeze = world.sign("dave", freeze());
    let (batch, left_out) =
        world.state.compose(world.time, "", &[authorise.clone(), freeze.clone()], &world.decoder);
    assert_eq!((batch.entries, left_out[0].1.rule), (vec![freeze.clone()], Rule::Frozen));
    for (entries, rule) in [
        (vec![freeze.clone(), authorise.clone()], Rule::Frozen),
        (vec![authorise, freeze], Rule::ReductionsFirst),
    ] {
        let batch = world.batch(world.time, &entries);
        refused(world.try_batch(&batch), rule);
    }
}

/// A freeze blocks neither revocation nor resume nor governance; a resume takes a quorum.
#[test]
fn a_freeze_blocks_no_reduction_and_no_resume() {
    let mut world = World::ready();
    let frozen = world.say("dave", freeze()).unwrap();
    world.say("dave", Body::Revoke(Revoke { key: id("dave") })).unwrap();
    let proposal = world.propose("alice", resume(&[frozen])).unwrap();
    world.approve("alice", proposal).unwrap();
    assert_eq!(world.state.freezes().len(), 1, "one person lifts nothing");
    world.approve("carol", proposal).unwrap();
    assert!(world.state.freezes().is_empty());
    // Used once; a freeze that comes later is another.
    rejected(world.propose("alice", resume(&[frozen])), Rule::Document);
}

// ---- a cancel despite a freeze

/// An authorised request under a freeze, and the cancel of it that names `named`, approved by `approvers`.
fn cancel_despite(
    named: bool,
    approvers: &[&str],
    genesis: custody::genesis::Genesis,
) -> Result<Hash, fixtures::Denied> {
    let mut world = World::open(genesis);
    let coin = world.coin(1_000_000);
    let request = world.asked(world.request(&[("acme", 400_000)]));
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    let frozen = world.say("dave", freeze()).unwrap();
    let cancel = Request {
        renews: Some(request),
        despite: if named { vec![frozen] } else { Vec::new() },
        ..world.request(&[])
    };
    let cancel = world.asked_as("carol", cancel, approvers);
    let draft = world.draft(&[cancel], &[coin], 2_000);
    world.pay(&[cancel], &draft)
}

#[test]
fn allow_a_cancel_despite_a_freeze() {
    cancel_despite(true, &["alice", "bob"], genesis()).unwrap();
}

#[test]
fn deny_p16_frozen_for_a_cancel() {
    invalid(cancel_despite(false, &["alice", "bob"], genesis()), Rule::Frozen);
    // Approved by enough for a payment, but not by those who may resume.
    let mut other = genesis();
    other.groups.push(fixtures::group("crisis", &["carol", "dave"]));
    let path = vec![fixtures::path(&[(2, "crisis")])];
    other.policy.governance.get_mut(&custody::document::Kind::Resume).unwrap().approvals = path;
    invalid(cancel_despite(true, &["alice", "bob"], other.clone()), Rule::Frozen);
    invalid(cancel_despite(true, &["alice", "bob", "dave"], other), Rule::Frozen);
}

// ---- limits

#[test]
fn allow_p16_freeze_limit() {
    let mut world = World::ready();
    let freezes: Vec<Hash> =
        (0..FREEZES_PER_PERSON_LIMIT).map(|_| world.say("dave", freeze()).unwrap()).collect();
    world.say("alice", freeze()).unwrap();
    world.say("alarm", freeze()).unwrap();
    world.adopt(resume(&freezes[..1]));
    world.say("dave", freeze()).unwrap();
}

#[test]
fn deny_p16_freeze_limit() {
    let mut world = World::ready();
    for _ in 0..FREEZES_PER_PERSON_LIMIT {
        world.say("dave", freeze()).unwrap();
    }
    rejected(world.say("dave", freeze()), Rule::FreezeLimit);
    assert_eq!(world.state.freezes().len(), FREEZES_PER_PERSON_LIMIT);
}

// ---- revoke

#[test]
fn allow_p16_own_key() {
    let mut genesis = genesis();
    genesis.people[0].keys.push(fixtures::device("alice/2"));
    let mut world = World::open(genesis);
    // Her own, also another one of hers; machines and co-signers theirs.
    world.say("alice", Body::Revoke(Revoke { key: id("alice/2") })).unwrap();
    invalid(world.propose("alice/2", destination("beta")), Rule::Signature);
    for who in ["alice", "server", "s1"] {
        world.say(who, Body::Revoke(Revoke { key: id(who) })).unwrap();
        invalid(world.propose(who, destination("beta")), Rule::Signature);
    }
}

#[test]
fn deny_p16_own_key() {
    let mut world = World::ready();
    for (who, target) in [("alice", "bob"), ("dave", "server"), ("server", "alice"), ("s1", "s2")] {
        rejected(world.say(who, Body::Revoke(Revoke { key: id(target) })), Rule::OwnKey);
        assert_eq!(world.state.key(&id(target)).unwrap().revoked_at, None);
    }
}

/// A thief who revokes the owner's key does not kill her freeze; after a day the key is silent.
#[test]
fn a_freeze_by_a_key_that_revoked_itself_applies_for_a_day() {
    let mut world = World::ready();
    let freezes: Vec<_> = (0..2).map(|_| world.sign("alice", freeze())).collect();
    world.say("alice", Body::Revoke(Revoke { key: id("alice") })).unwrap();
    world.tick(REVOKED_FREEZE_S);
    world.submit(freezes[0].clone()).unwrap();
    assert_eq!(world.state.freezes().iter().next().unwrap().1.by, Owner::Person(name("alice")));
    world.tick(1);
    invalid(world.submit(freezes[1].clone()), Rule::Signature);
    // Only a freeze: nothing else that was signed before.
    let mut world = World::ready();
    let propose =
        Body::Propose(custody::statement::Propose { document: destination("beta"), replaces: None });
    let propose = world.sign("alice", propose);
    world.say("alice", Body::Revoke(Revoke { key: id("alice") })).unwrap();
    invalid(world.submit(propose), Rule::Signature);
}

/// Whom a quorum revoked freezes no more, not even who revoked the own key before.
#[test]
fn a_freeze_by_a_key_that_a_quorum_revoked_does_not_apply() {
    for first in [false, true] {
        let mut world = World::ready();
        let late = world.sign("dave", freeze());
        if first {
            world.say("dave", Body::Revoke(Revoke { key: id("dave") })).unwrap();
            world.clone().submit(late.clone()).unwrap();
        }
        world.adopt(Document::Revocation(Revocation { key: id("dave") }));
        invalid(world.submit(late), Rule::Signature);
        rejected(
            world.propose("alice", Document::Revocation(Revocation { key: id("dave") })),
            Rule::Document,
        );
    }
}
