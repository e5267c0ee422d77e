//! Real books, and entries as people sign them. A component is asked for after 90 days, a drill after 365.

use custody::statement::Body;
use evidence::register::{HEALTH_INTERVAL_S, Intervals, NOTICE_S, What};
use ledger::Record;

use super::*;
use crate::clerk::observe::{FILE, Observe};
use crate::clerk::reconcile::tests::rig::Rig;
use crate::client;
use crate::counter::Counter;
use crate::shelf::tests::{Copy, reviewed, set};
use api::House as _;
use custody::document::{Document, Grant};

/// A server: it has its own memory of the register.
fn replica(rig: &Rig) -> Recovery {
    Recovery::new(rig.shelf())
}

/// Publishes what is new in a copy.
fn publish(rig: &Rig, copy: &Copy) {
    rig.shelf().publish(rig.state(), rig.now, &copy.entries).unwrap();
}

/// A set that was made then, and both documents reviewed now; published.
fn published(rig: &Rig, made_at: u64) -> Copy {
    let mut copy = Copy::new(rig.state());
    copy.add("alice", made_at, What::Set(set(1, made_at)));
    copy.add("alice", rig.now, reviewed(1));
    let plan = evidence::register::Document::ContinuityPlan;
    let sha256 = Hash([2; 32]);
    copy.add("bob", rig.now, What::Reviewed(evidence::register::Review { document: plan, sha256 }));
    publish(rig, &copy);
    copy
}

fn records(rig: &Rig) -> Vec<Record> {
    rig.books.all(RecordKind::RecoveryRow).unwrap()
}

/// The records of rows: version and state, by how many there are of each.
fn states(rig: &Rig) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for record in records(rig) {
        *states.entry(format!("{} {}", record.version, record.change.state)).or_default() += 1;
    }
    states
}

fn count(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(state, count)| ((*state).to_owned(), *count)).collect()
}

fn alarms(rig: &Rig) -> Vec<String> {
    let all = client::status(&rig.desk).alarms;
    all.into_iter().filter(|alarm| alarm.starts_with("recovery: ")).collect()
}

#[test]
fn what_becomes_overdue_is_a_record_and_an_observation_that_the_log_anchors() {
    let mut rig = Rig::new();
    let made_at = rig.now - HEALTH_INTERVAL_S + NOTICE_S + 10;
    published(&rig, made_at);
    let (mut recovery, mut observe) = (replica(&rig), Observe::new(rig.directory.path(), Arc::default()));
    recovery.turn(&rig.at()).unwrap();
    assert!(records(&rig).is_empty(), "all is in order");
    rig.now += LOOK_EVERY_S;
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("1 due", 6)]));
    assert!(alarms(&rig).is_empty(), "there is time");

    rig.now = made_at + HEALTH_INTERVAL_S + 1;
    let before = rig.batches();
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("2 overdue", 6)]));
    assert_eq!(rig.batches(), before + 6);
    let row = records(&rig).remove(0);
    let expected = format!("REC-09/1.1/paper/{}", Hash([1; 32]));
    assert_eq!((row.change.id.as_str(), row.change.at), (expected.as_str(), rig.now));
    let body = &row.change.body;
    let register = rig.shelf().read(rig.state()).unwrap();
    assert_eq!(body["due_at"], made_at + HEALTH_INTERVAL_S);
    assert_eq!((&body["entries"], &body["head"]), (&json!(3), &json!(register.register.head())));
    assert_eq!((&body["holder"], &body["standing"]), (&json!("carol"), &json!("overdue")));
    let told = alarms(&rig);
    assert_eq!((told.len(), told[0].as_str()), (6, "recovery: REC-09 overdue: 1.1 whole on paper (carol)"));

    // Each of these batches is an entry of the observation log, whose head goes into the command log.
    observe.turn(&rig.at()).unwrap();
    let lines = std::fs::read_to_string(rig.directory.path().join(FILE)).unwrap();
    assert_eq!(lines.lines().count() as u64, rig.batches());
    let anchored = rig.deliver();
    let size = rig.batches();
    assert!(matches!(&anchored[..], [Body::Observe(anchor)] if anchor.size == size), "{anchored:?}");
    observe.turn(&rig.at()).unwrap();
    rig.books.wait(rig.books.books().verify(&[])).unwrap();
}

#[test]
fn two_replicas_and_a_restart_write_each_change_once() {
    let mut rig = Rig::new();
    published(&rig, rig.now - HEALTH_INTERVAL_S - 1);
    let (mut one, mut two) = (replica(&rig), replica(&rig));
    for recovery in [&mut one, &mut two, &mut replica(&rig)] {
        recovery.turn(&rig.at()).unwrap();
        assert_eq!(states(&rig), count(&[("1 overdue", 6)]));
        assert_eq!(alarms(&rig).len(), 6);
    }
    // One whose clock is behind takes nothing back: here by a second, and the rows are just overdue.
    rig.now -= 2;
    let rows = rig.shelf().read(rig.state()).unwrap().rows(rig.now);
    assert!(rows.iter().all(|row| row.standing < evidence::register::Standing::Overdue));
    for recovery in [&mut one, &mut two, &mut replica(&rig)] {
        recovery.turn(&rig.at()).unwrap();
        assert_eq!(states(&rig), count(&[("1 overdue", 6)]));
    }
    // One that is further ahead is not followed for ever.
    rig.now -= CLOCK_TOLERANCE_S;
    replica(&rig).turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("2 due", 6)]));
}

#[test]
fn a_lost_race_is_read_again() {
    let rig = Rig::new();
    published(&rig, rig.now - HEALTH_INTERVAL_S - 1);
    let mut recovery = replica(&rig);
    // What this replica read before the other wrote.
    let known = known(&rig.at()).unwrap();
    let kept = rig.shelf().read(rig.state()).unwrap();
    let rows = kept.rows(rig.now);
    replica(&rig).turn(&rig.at()).unwrap();
    let later = rig.now + 1;
    for change in changes(&known.rows, &rows) {
        assert!(!record(&rig.at(), &kept, &known, later, &change).unwrap(), "the other was first");
    }
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("1 overdue", 6)]));
}

#[test]
fn what_is_proven_is_in_order_again_and_what_is_replaced_is_asked_for_no_more() {
    let rig = Rig::new();
    let old = rig.now - HEALTH_INTERVAL_S - 1;
    let mut copy = published(&rig, old);
    let mut recovery = replica(&rig);
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("1 overdue", 6)]));
    // A new entry is looked at without waiting an hour.
    let failed = |reason: &str| {
        What::Failed(evidence::register::Failed {
            component: "1.2".parse().unwrap(),
            medium: evidence::register::Medium::File,
            reason: reason.into(),
            set: Hash([1; 32]),
        })
    };
    for (version, reason) in [(2, "the stick is broken"), (3, "the stick is gone")] {
        copy.add("bob", rig.now, failed(reason));
        publish(&rig, &copy);
        recovery.turn(&rig.at()).unwrap();
        let row = format!("{version} failed");
        assert_eq!(states(&rig), count(&[("1 overdue", 5), (&row, 1)]));
        assert!(
            alarms(&rig).iter().any(|alarm| alarm.ends_with(&format!("1.2 whole on file (dave): {reason}")))
        );
    }
    let next = What::Set(evidence::register::Set { replaces: Some(Hash([1; 32])), ..set(2, rig.now) });
    copy.add("alice", rig.now, next);
    publish(&rig, &copy);
    for _ in 0..2 {
        recovery.turn(&rig.at()).unwrap();
        assert_eq!(states(&rig), count(&[("2 closed", 5), ("4 closed", 1)]));
    }
    assert!(alarms(&rig).is_empty());
    rig.books.wait(rig.books.books().verify(&[])).unwrap();
}

#[test]
fn a_document_that_was_never_reviewed_is_failed_until_it_is() {
    let rig = Rig::new();
    let mut copy = Copy::new(rig.state());
    copy.add("alice", rig.now, What::Set(set(1, rig.now)));
    publish(&rig, &copy);
    let mut recovery = replica(&rig);
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("1 failed", 2)]));
    copy.add("alice", rig.now, reviewed(1));
    publish(&rig, &copy);
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("1 failed", 1), ("2 ok", 1)]));
    assert_eq!(alarms(&rig), ["recovery: REC-05 failed: continuity plan reviewed: never reviewed"]);
}

#[test]
fn without_entries_nothing_is_looked_at_for_an_hour() {
    let mut rig = Rig::new();
    let made_at = rig.now - HEALTH_INTERVAL_S;
    published(&rig, made_at);
    let mut recovery = replica(&rig);
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("1 due", 6)]));
    rig.now += LOOK_EVERY_S - 1;
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("1 due", 6)]), "not yet");
    rig.now += 1;
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("2 overdue", 6)]));
}

#[test]
fn alarms_on_both_sides_of_their_limit() {
    let rig = Rig::new();
    published(&rig, rig.now - HEALTH_INTERVAL_S - 1);
    let rows = rig.shelf().read(rig.state()).unwrap().rows(rig.now);
    let overdue = rows.iter().find(|row| row.requirement == "REC-09").unwrap();
    let told = |count: usize| super::alarms(&vec![overdue.clone(); count]);
    assert_eq!(told(ALARMS_LIMIT).len(), ALARMS_LIMIT);
    assert!(told(ALARMS_LIMIT).iter().all(|alarm| alarm.contains("1.1 whole")));
    let more = told(ALARMS_LIMIT + 2);
    assert_eq!(more.len(), ALARMS_LIMIT + 1);
    assert!(more[ALARMS_LIMIT].contains("2 rows more"), "{more:?}");
}

/// The keys of somebody new come with the log; until then nothing is judged by half of the register.
#[test]
fn a_log_that_is_behind_writes_nothing() {
    let mut rig = Rig::new();
    let mut copy = published(&rig, rig.now - HEALTH_INTERVAL_S - 1);
    let before = rig.state().clone();
    rig.world.adopt(Document::Person(fixtures::person("erin")));
    rig.sync();
    copy = Copy { register: copy.register, entries: copy.entries, ..Copy::new(rig.state()) };
    copy.add("erin", rig.now, reviewed(3));
    publish(&rig, &copy);
    let mut recovery = replica(&rig);
    let behind = At { state: &before, ..rig.at() };
    recovery.turn(&behind).unwrap();
    assert!(records(&rig).is_empty() && alarms(&rig).is_empty());
    // If nothing newer is to come, somebody has to know.
    rig.desk.core().level.extend(["s1", "s2", "s3"].map(fixtures::name));
    recovery.turn(&At { state: &before, ..rig.at() }).unwrap();
    assert!(client::status(&rig.desk).alarms.iter().any(|alarm| alarm.contains("bring the log up to date")));
    recovery.turn(&rig.at()).unwrap();
    assert_eq!(states(&rig), count(&[("1 overdue", 6)]));
}

#[test]
fn whoever_publishes_wakes_the_clerk() {
    let rig = Rig::with(fixtures::newest(), &[Grant::Authorise], &[Grant::Freeze]);
    let counter = Counter::new(Arc::clone(&rig.desk), rig.books.books().clone(), Arc::default(), rig.shelf());
    let mut copy = Copy::new(rig.state());
    copy.add("alice", rig.now, What::Set(set(1, rig.now)));
    rig.desk.core().clerk_woken = false;
    let taken = counter.publish(&copy.entries).unwrap();
    assert!(rig.desk.core().clerk_woken);
    assert_eq!(counter.recovery(), Ok(taken.clone()));
    assert_eq!((taken.entries, taken.head), (1, copy.register.head()));
    let expected: Vec<_> = copy.register.rows(&Intervals::default(), rig.now);
    assert_eq!(taken.rows.len(), expected.len());
    for (row, expected) in taken.rows.iter().zip(&expected) {
        assert_eq!(
            (row.id.as_str(), row.standing.clone()),
            (expected.id.as_str(), expected.standing.to_string())
        );
        assert_eq!(row.alarm.is_some(), row.standing == "failed");
    }
}
