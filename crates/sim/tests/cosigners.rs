//! Four co-signers, their production code, under a seeded hostile relay.

use custody::Blob;
use custody::statement::{Body, Freeze, Revoke, Scope};
use signer::cosigner::HELD_PER_OWNER_LIMIT;
use sim::deployment::Deployment;
use sim::relay::{Cluster, Weather};
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

/// Two revocations of one key are both held, and only one can stand in a batch: the other's hold ends, and
/// the log goes on (P9).
#[test]
fn what_cannot_stand_in_a_batch_holds_no_vote() {
    let mut cluster = Cluster::new(2, Deployment::default(), false);
    assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
    let now = cluster.now_s();
    let key =
        custody::statement::key_id(&custody::Hash(sim::deployment::key("dave").verifying_key().to_bytes()));
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

/// One run: statements under bad weather, then calm; everything submitted must become final, and no two
/// heads of one size (checked by the cluster at every head).
fn storm(seed: u64, twins: bool) -> u64 {
    let mut cluster = Cluster::new(seed, Deployment::default(), twins);
    let mut wanted = 0;
    for round in 0..4u64 {
        let roll = seed.wrapping_mul(31).wrapping_add(round);
        cluster.weather = Weather {
            loss: (roll % 300) as u32,
            repeat: (roll % 200) as u32,
            delay_ms: 5 + roll % 400,
            kill: (roll % 7 * 15) as u32,
            ..Weather::CALM
        };
        cluster.recut(roll % 3 == 0 || twins, twins);
        let by = ["alice", "bob", "carol", "dave"][(roll % 4) as usize];
        let now = cluster.now_s();
        let freeze = cluster.deployment.sign(by, now, Body::Freeze(Freeze { scope: Scope::Everything }));
        cluster.submit(freeze);
        wanted += 1;
        cluster.run(1_500, |_| false);
    }
    cluster.weather = Weather::CALM;
    // The relay is honest from here on: it brings every statement to everybody again.
    for place in 0..cluster.len() {
        cluster.kill(place, 10);
    }
    let honest = if twins { vec![0, 1, 3] } else { vec![0, 1, 2, 3] };
    // The liar goes on lying, to everybody now: both its processes hear and answer all others.
    cluster.recut(false, true);
    let done = cluster.run(60_000, |c| honest.iter().all(|p| frozen(c, *p) >= wanted));
    assert!(
        done,
        "seed {seed}: {:?} of {wanted} after a minute of calm",
        honest.iter().map(|p| frozen(&cluster, *p)).collect::<Vec<_>>()
    );
    cluster.kills
}

fn seeds(twins: bool, count: u64) {
    let one = std::env::var("KEYWARD_SEED").ok().and_then(|s| s.parse().ok());
    let range = one.map_or(0..count, |seed: u64| seed..seed + 1);
    let mut kills = 0;
    for seed in range {
        match std::panic::catch_unwind(|| storm(seed, twins)) {
            Ok(killed) => kills += killed,
            Err(cause) => {
                let test = if twins { "one_co_signer_lies" } else { "crashes_and_bad_weather" };
                eprintln!("again with: KEYWARD_SEED={seed} cargo test -p sim --test cosigners {test}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    println!("{kills} processes were killed between two effects");
    assert!(one.is_some() || kills > count, "the weather was too fair to show anything");
}

#[test]
fn crashes_and_bad_weather() {
    seeds(false, SEEDS / 2);
}

#[test]
fn one_co_signer_lies() {
    seeds(true, SEEDS / 2);
}
