//! What a co-signer costs when nothing happens: processor, log, disk. And that an idle log moves for a
//! co-signer that rejoins, as far as that one needs, and no further.

#[allow(dead_code, reason = "the storms use the rest of it")]
#[path = "cosigners/town.rs"]
mod town;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use custody::document::Document;
use custody::statement::{Body, Freeze, Propose, Scope};
use custody::{Blob, Hash};
use signer::cosigner::GUARD_DEAD_LIMIT;
use sim::attacker::Scene;
use sim::deployment::{COSIGNERS, Deployment, name};
use sim::relay::{Cluster, Weather};
use town::{Base, Town};
use wire::message::{FromCosigner, ToCosigner};

const DAY_MS: u64 = 24 * 3_600_000;

fn heights(cluster: &Cluster) -> Vec<u64> {
    (0..4).map(|p| cluster.cosigner(p).map_or(0, |c| c.final_head().0)).collect()
}

fn all_vote(cluster: &Cluster) -> bool {
    (0..4).all(|p| cluster.cosigner(p).is_some_and(|c| c.may_release()))
}

fn everything() -> Body {
    Body::Freeze(Freeze { scope: Scope::Everything })
}

#[test]
fn an_idle_log_moves_two_heights_for_a_co_signer_that_rejoins() {
    for (seed, told) in [(1, true), (3, false)] {
        let mut cluster = Cluster::new(seed, Deployment::default(), false);
        assert!(cluster.run(5_000, all_vote));
        let older = cluster.disk(2);
        let freeze = cluster.deployment.sign("alice", cluster.now_s(), everything());
        cluster.submit(freeze);
        assert!(cluster.run(5_000, |c| heights(c) == [1; 4]), "{:?}", heights(&cluster));
        cluster.run(DAY_MS, |_| false);
        // With this weather the others remember its votes, so it finds out whether it is told or not.
        cluster.restore(2, older, told);
        assert!(cluster.run(10_000, |c| heights(c) == [3; 4]), "told {told}: {:?}", heights(&cluster));
        assert!(cluster.run(1_000, all_vote), "told {told}");
        cluster.run(DAY_MS, |_| false);
        assert_eq!(heights(&cluster), [3; 4], "still again");
    }
}

/// How many records the guard journal of s1 has.
fn guard(town: &Town) -> usize {
    town.cluster.disk(0).guard.len()
}

/// Orders s1 to begin a session. Says by which rule it does not.
fn begin(town: &mut Town, authorisation: Hash, attempt: u32) -> Option<String> {
    let holders = ["s1", "s2"].map(name).to_vec();
    town.cluster.said.clear();
    town.cluster.order("s1", &ToCosigner::Sign { authorisation, holders, attempt });
    town.cluster.run(20, |_| false);
    town.cluster.said.iter().find_map(|(_, message)| match message {
        FromCosigner::Refused { what, rule, .. } if what == "sign" => Some(rule.clone()),
        _ => None,
    })
}

/// Puts a statement into the log.
fn say(town: &mut Town, body: Body) {
    let envelope = town.write("alice", body);
    let not_after = envelope.unverified().unwrap().not_after;
    town.cluster.submit(envelope.clone());
    let done = |c: &Cluster, p| {
        c.cosigner(p).and_then(|c| c.final_state().outcome(&envelope.id(), not_after)) == Some("applied")
    };
    assert!(town.cluster.run(10_000, |c| (0..4).all(|p| done(c, p))));
}

fn news(what: &str) -> Body {
    Body::Propose(Propose { document: Document::Person(fixtures::person(what)), replaces: None })
}

#[test]
fn a_guard_journal_forgets_the_sessions_of_what_ended_and_nothing_else() {
    let base = Base::funded();
    let mut town = Town::new(1, base, &[]);
    assert!(town.cluster.run(5_000, all_vote));
    town.cluster.frames = Some(0);
    let (before, authorisation) = (guard(&town), base.authorisation.unwrap());
    say(&mut town, news("eve"));
    let most = u32::try_from(GUARD_DEAD_LIMIT).unwrap();
    for attempt in 0..most {
        assert_eq!(begin(&mut town, authorisation, attempt), None);
    }
    assert_eq!(guard(&town), before + GUARD_DEAD_LIMIT);

    // As long as the authorisation has not ended its numbers are used up, over new heads and a restart.
    say(&mut town, news("frank"));
    let once = |town: &mut Town| assert_eq!(begin(town, authorisation, 0).as_deref(), Some("P2.once"));
    once(&mut town);
    town.cluster.kill(0, 10);
    assert!(town.cluster.run(5_000, all_vote));
    once(&mut town);

    // It ends. The journal is written anew with the first record above the limit, and keeps what lives.
    town.cluster.run(2 * DAY_MS, |_| false);
    say(&mut town, news("grace"));
    assert_eq!(guard(&town), before + GUARD_DEAD_LIMIT, "as many may be dead");
    // The freeze of alice is decided and not final; that of bob is held by s1 alone.
    town.cluster.weather = Weather { withhold_heads: true, ..Weather::CALM };
    let [decided, held] = ["alice", "bob"].map(|who| town.write(who, everything()));
    town.cluster.submit(decided);
    town.cluster.run(2_000, |_| false);
    (1..4).for_each(|place| town.cluster.kill(place, 10_000));
    town.cluster.tell(0, &ToCosigner::Submit { envelope: Blob(held.bytes()) });
    town.cluster.run(100, |_| false);
    assert_eq!(guard(&town), before + GUARD_DEAD_LIMIT + 2);
    town.cluster.weather = Weather::CALM;
    assert!(town.cluster.run(30_000, |c| c.cosigner(0).unwrap().final_state().freezes().len() == 2));
    assert_eq!(guard(&town), before + 1, "and not one more");
    let is_session = |record: &Vec<u8>| record.starts_with(b"{\"session\"");
    let (proofs, reductions): (Vec<_>, Vec<_>) = town.cluster.disk(0).guard.into_iter().partition(is_session);
    assert_eq!((proofs.len(), reductions.len()), (before, 1), "proofs of the ceremony, and what was held");
    for restart in [false, true] {
        if restart {
            town.cluster.kill(0, 10);
            assert!(town.cluster.run(5_000, all_vote));
        }
        for attempt in [0, most] {
            assert_eq!(begin(&mut town, authorisation, attempt).as_deref(), Some("P20.ended"));
        }
    }
    assert_eq!(guard(&town), before + 1);
}

/// Processor time that a process has used, in ticks of 10 ms.
fn ticks(data: &Path) -> u64 {
    let data = data.to_str().unwrap();
    let is_it = |process: &Path| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == data.as_bytes())
    };
    let mut processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let stat = fs::read_to_string(processes.find(|p| is_it(p)).unwrap().join("stat")).unwrap();
    // proc_pid_stat(5): utime and stime are fields 14 and 15, and the name in field 2 ends with ")".
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Most processor time of a signer in [`IDLE`], in ticks: 0.4 %.
const IDLE_TICKS: u64 = 2;
const IDLE: Duration = Duration::from_secs(5);

#[test]
fn an_idle_signer_uses_no_processor_and_makes_no_batch() {
    let mut scene = Scene::ready();
    let all = |scene: &Scene| COSIGNERS.map(|who| ticks(&scene.signers.data(who)));
    scene.server.settle();
    sleep(Duration::from_secs(2));
    let (busy, height) = (all(&scene), scene.server.view(|v| v.state.clock().height));
    assert!(busy.iter().all(|ticks| *ticks > IDLE_TICKS), "they unlocked their keys: {busy:?}");
    sleep(IDLE);
    let used: Vec<u64> = all(&scene).iter().zip(busy).map(|(now, before)| now - before).collect();
    assert!(used.iter().all(|ticks| *ticks <= IDLE_TICKS), "{used:?} ticks in {IDLE:?}");
    assert_eq!(scene.server.view(|v| v.state.clock().height), height, "nothing was pending");
    // They were awake all the time: the next statement makes the next batch.
    scene.propose("carol", Document::Person(fixtures::person("eve"))).unwrap();
    assert_eq!(scene.server.view(|v| v.state.clock().height), height + 1);
}
