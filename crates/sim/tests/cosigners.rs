//! Four co-signers, their production code, under a seeded hostile relay.

#[path = "cosigners/acts.rs"]
mod acts;
#[path = "cosigners/judge.rs"]
mod judge;
#[path = "cosigners/storm.rs"]
mod storm;
#[path = "cosigners/town.rs"]
mod town;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use custody::document::Document;
use custody::policy::{Policy, PolicyRule};
use custody::statement::{Approve, Body, ENVELOPE_LIMIT_BYTES, Freeze, Propose, Revoke, Scope};
use custody::{Blob, Hash};
use judge::{Replay, exclude_each_other};
use signer::cosigner::HELD_PER_OWNER_LIMIT;
use sim::deployment::Deployment;
use sim::relay::{Cluster, Release, Released};
use storm::{Mix, Storm, Tally};
use wire::message::ToCosigner;

/// Seeds that `cargo test` runs. `KEYWARD_SEED=n` runs that one.
const SEEDS: u64 = 1_000;

fn frozen(cluster: &Cluster, place: usize) -> usize {
    cluster.cosigner(place).map_or(0, |c| c.final_state().freezes().len())
}

fn all_at(cluster: &Cluster, freezes: usize) -> bool {
    (0..4).all(|place| frozen(cluster, place) >= freezes)
}

#[test]
fn a_statement_becomes_final_and_the_system_falls_idle() {
    let mut cluster = Cluster::new(1, Deployment::default(), false);
    assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
    let now = cluster.now_s();
    let freeze = cluster.deployment.sign("alice", now, Body::Freeze(Freeze { scope: Scope::Everything }));
    cluster.submit(freeze);
    assert!(cluster.run(5_000, |c| all_at(c, 1)), "not final after five seconds");
    let heights: Vec<u64> = (0..4).map(|p| cluster.cosigner(p).unwrap().final_head().0).collect();
    cluster.run(60_000, |_| false);
    let later: Vec<u64> = (0..4).map(|p| cluster.cosigner(p).unwrap().final_head().0).collect();
    assert_eq!(heights, later, "an idle system makes no batches");
}

/// A policy of 400 rules travels in one statement, through co-signers as they run (P5).
#[test]
fn a_long_policy_is_adopted() {
    let mut cluster = Cluster::new(5, Deployment::default(), false);
    assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
    let now = cluster.now_s();
    let (in_force, decides) = {
        let (policy, hash) = cluster.cosigner(0).unwrap().final_state().policy().unwrap();
        (policy.clone(), hash)
    };
    let one = &in_force.rules[0];
    let rules = (0..400).map(|i| PolicyRule { id: format!("rule-{i}").parse().unwrap(), ..one.clone() });
    let document = Document::Policy(Policy { rules: rules.collect(), ..in_force.clone() });
    let propose = Body::Propose(Propose { document, replaces: Some(decides) });
    let proposal = cluster.deployment.sign("alice", now, propose);
    assert!(proposal.size() > ENVELOPE_LIMIT_BYTES);
    let target = proposal.id();
    cluster.submit(proposal);
    let known =
        |c: &Cluster| (0..4).all(|p| c.cosigner(p).unwrap().final_state().proposals().get(&target).is_some());
    assert!(cluster.run(30_000, known), "the proposal is not final");
    for who in ["alice", "bob"] {
        let approve = cluster.deployment.sign(who, now, Body::Approve(Approve { target, decides }));
        cluster.submit(approve);
    }
    let rules = |c: &Cluster, place| c.cosigner(place).unwrap().final_state().policy().unwrap().0.rules.len();
    assert!(cluster.run(30_000, |c| (0..4).all(|place| rules(c, place) == 400)), "it is not in force");
}

/// Two revocations of one key are both held, and only one can stand in a batch: the other's hold ends, and
/// the log goes on (P9).
#[test]
fn what_cannot_stand_in_a_batch_holds_no_vote() {
    let mut cluster = Cluster::new(2, Deployment::default(), false);
    assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
    let now = cluster.now_s();
    let key = custody::statement::key_id(&Hash(sim::deployment::key("dave").verifying_key().to_bytes()));
    let revocations = [(); 2].map(|()| cluster.deployment.sign("dave", now, Body::Revoke(Revoke { key })));
    for revocation in revocations {
        cluster.submit(revocation);
    }
    let freeze = cluster.deployment.sign("alice", now, Body::Freeze(Freeze { scope: Scope::Everything }));
    cluster.submit(freeze);
    assert!(cluster.run(10_000, |c| all_at(c, 1)), "the log stands still");
    let revoked = |c: &Cluster| c.cosigner(0).unwrap().final_state().key(&key).unwrap().revoked_at.is_some();
    assert!(cluster.run(10_000, revoked));
}

/// One person gives every co-signer other freezes, more than can be in force: no batch can hold them all,
/// and the log goes on all the same (P9, P17).
#[test]
fn one_person_with_many_freezes_holds_no_vote() {
    let mut cluster = Cluster::new(3, Deployment::default(), false);
    assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
    let now = cluster.now_s();
    let freeze = Body::Freeze(Freeze { scope: Scope::Everything });
    for place in 0..4 {
        for _ in 0..HELD_PER_OWNER_LIMIT + 1 {
            let envelope = cluster.deployment.sign("dave", now, freeze.clone());
            cluster.tell(place, &ToCosigner::Submit { envelope: Blob(envelope.bytes()) });
        }
    }
    cluster.run(50, |_| false);
    let honest = cluster.deployment.sign("alice", now, freeze);
    let id = honest.id();
    cluster.submit(honest);
    let stands = |c: &Cluster| c.cosigner(0).unwrap().final_state().freezes().get(&id).is_some();
    assert!(cluster.run(30_000, stands), "the log stands still");
    assert!(frozen(&cluster, 0) <= 1 + custody::apply::FREEZES_PER_PERSON_LIMIT);
}

/// Storms from many seeds. Whatever must hold is asserted in each of them.
fn seeds(liars: &'static [usize], count: u64) -> Tally {
    let one = std::env::var("KEYWARD_SEED").ok().and_then(|s| s.parse().ok());
    let range = one.map_or(0..count, |seed: u64| seed..seed + 1);
    let mut sum = Tally::default();
    for seed in range {
        match catch_unwind(|| Storm::run(seed, Mix::of(seed), liars).tally()) {
            Ok(tally) => sum.add(&tally),
            Err(cause) => {
                let test = if liars.is_empty() { "crashes_and_bad_weather" } else { "one_co_signer_lies" };
                eprintln!("again with: KEYWARD_SEED={seed} cargo test -p sim --test cosigners {test}");
                resume_unwind(cause);
            }
        }
    }
    println!("{sum:?}");
    if one.is_none() {
        sum.shows_something(count);
    }
    sum
}

#[test]
fn crashes_and_bad_weather() {
    let sum = seeds(&[], SEEDS / 2);
    assert!(std::env::var("KEYWARD_SEED").is_ok() || sum.restored > SEEDS / 20);
}

#[test]
fn one_co_signer_lies() {
    seeds(&[2], SEEDS / 2);
}

/// A failing seed is of use only if it fails again.
#[test]
fn one_seed_is_one_story() {
    let mix = Mix { payments: true, documents: true, restores: true };
    let story = || {
        let storm = Storm::run(5, mix, &[]);
        let record = storm.town.cluster.record;
        (record.heads, record.batches, record.releases, storm.town.cluster.now_ms)
    };
    assert!(story() == story(), "one seed, two stories");
}

/// The words of a panic.
fn words(cause: &(dyn std::any::Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().cloned();
    text.or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

/// A control: more than f liars fork the log, and the storm sees it.
#[test]
fn two_liars_are_found() {
    let mix = Mix { payments: false, documents: false, restores: false };
    let fork = |seed| catch_unwind(|| Storm::run(seed, mix, &[2, 3])).err().map(|cause| words(&*cause));
    let found: Vec<String> = (0..5).filter_map(fork).collect();
    assert!(found.iter().any(|w| w.contains("two final")), "{found:?}");
}

/// A control: the judge of releases is not content with whatever it is shown.
#[test]
fn the_judge_finds_what_must_not_have_left() {
    let mix = Mix { payments: true, documents: false, restores: false };
    let freezes = |s: &Storm| !s.town.freezes.is_empty();
    let storm = (0..20).map(|seed| Storm::run(seed, mix, &[])).find(freezes).expect("a storm with a freeze");
    let replay = &storm.replay;
    let good = storm.town.transactions().last().unwrap().clone();
    let Released::Transaction(id, transaction) = &good.what else { unreachable!() };
    let denied = |release: Release| replay.may_leave(&release, id).unwrap_err();
    assert_eq!(replay.may_leave(&good, id), Ok(()));

    assert_eq!(denied(Release { at_s: good.at_s + 61, ..good.clone() }), "P14.fresh");
    assert_eq!(denied(Release { height: good.height + 1_000, ..good.clone() }), "no such final head");
    let authorisation = replay.last().authorisations().get(id).unwrap().clone();
    let released = |height| replay.may_leave(&Release { height, ..good.clone() }, id);
    let unknown = Hash([9; 32]);
    assert_eq!(replay.may_leave(&good, &unknown), Err("not in the final log".into()));
    // Under any head with a freeze, had it been the one under which it left.
    let frozen = (storm.town.base.state().clock().height..good.height)
        .find(|h| replay.at(*h).is_some_and(|s| !s.freezes().is_empty()));
    assert_eq!(released(frozen.expect("the storm froze something")), Err("P16.frozen".into()));
    // A freeze that was acknowledged and never came into the log.
    let lost = Hash([7; 32]);
    let blind = Replay::of(storm.town.base.state(), &storm.town.cluster.record, [lost].into());
    let held = Release { held: [lost].into(), ..good.clone() };
    assert_eq!(blind.may_leave(&held, id), Err("a freeze was held".into()));

    // Not the transaction, not the signature.
    assert_eq!(replay.is_signed(&authorisation, transaction), Ok(()));
    let last = transaction.0.len();
    for place in [50, last - 20] {
        let mut altered = transaction.clone();
        altered.0[place] ^= 1;
        assert!(replay.is_signed(&authorisation, &altered).is_err(), "{place}");
    }

    // Two payments of one lineage that spend different coins.
    let mut other = authorisation.clone();
    let anchors = [authorisation.transaction.inputs[0].outpoint];
    assert!(exclude_each_other(&[&authorisation, &other], &anchors));
    other.transaction.inputs[0].outpoint.vout += 1;
    assert!(!exclude_each_other(&[&authorisation, &other], &anchors));
}

/// A control: a session's number that is used twice is seen when it happens.
#[test]
fn a_number_used_twice_is_found() {
    let mix = Mix { payments: true, documents: false, restores: false };
    let mut storm = Storm::run(0, mix, &[]);
    let session = |record: &&Vec<u8>| record.starts_with(b"{\"session\"");
    let place = 0;
    let again = storm.town.cluster.disk(place).guard.iter().find(session).unwrap().clone();
    let cause = catch_unwind(AssertUnwindSafe(|| storm.town.cluster.record.guarded(place, &again)));
    assert!(words(&*cause.unwrap_err()).contains("twice"));
}
