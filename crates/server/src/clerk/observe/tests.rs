//! Real books; the log of a world, into which anchors are put as co-signers would.

use custody::document::Grant;
use ledger::Code;
use ledger::Owner as Account;

use super::*;
use crate::clerk::reconcile::tests::rig::Rig;

/// Writes so many batches.
fn book(rig: &Rig, count: u64) {
    for _ in 0..count {
        let id = format!("d{}", rig.batches());
        rig.transfer(&id, Account::External, Account::Suspense, 5, Code::Deposit);
    }
}

fn observe(rig: &Rig) -> Observe {
    let alarm = Arc::new(Alarm::new(rig.alarm_keys()));
    Observe::new(rig.directory.path(), alarm)
}

fn file(rig: &Rig) -> PathBuf {
    rig.directory.path().join(FILE)
}

fn lines(rig: &Rig) -> Vec<String> {
    std::fs::read_to_string(file(rig)).unwrap().lines().map(str::to_owned).collect()
}

/// The books' own digests.
fn expected(rig: &Rig) -> (Vec<String>, Observed) {
    let (mut lines, mut log) = (Vec::new(), Observed::default());
    for batch in rig.books.wait(rig.books.books().batches(1, 1_000)).unwrap() {
        lines.push(format!(r#"{{"digest":"{}","ledger-batch":{}}}"#, batch.digest, batch.seq));
        log.push(Entry::from(&batch)).unwrap();
    }
    (lines, log)
}

/// What waits to be anchored: size and root.
fn waiting(rig: &Rig) -> Vec<(u64, Hash)> {
    let bodies = rig.waiting().into_iter().map(|envelope| envelope.unverified().unwrap().body);
    bodies
        .filter_map(|body| match body {
            Body::Observe(observe) => {
                assert_eq!(observe.log.as_str(), BOOKS_LOG);
                Some((observe.size, observe.root))
            }
            _ => None,
        })
        .collect()
}

/// A turn that must find the books wrong: what is said. Twice, and the asset is frozen once.
fn fault(rig: &Rig, observe: &mut Observe) -> String {
    let mut say = || observe.turn(&rig.at()).unwrap_err().to_string();
    let (first, second) = (say(), say());
    assert_eq!(first, second);
    assert!(rig.alarms().contains(&first), "{}", rig.alarms());
    let bodies = rig.waiting().into_iter().map(|envelope| envelope.unverified().unwrap().body);
    assert_eq!(bodies.filter(|body| matches!(body, Body::Freeze(_))).count(), 1);
    first
}

#[test]
fn each_batch_is_an_entry_and_heads_are_anchored_once_a_minute() {
    let mut rig = Rig::new();
    book(&rig, 3);
    let mut observe = observe(&rig);
    observe.turn(&rig.at()).unwrap();
    let (entries, log) = expected(&rig);
    assert_eq!((lines(&rig), waiting(&rig)), (entries, vec![(log.size(), log.root())]));
    rig.deliver();

    book(&rig, 2);
    rig.now += ANCHOR_EVERY_S - 1;
    observe.turn(&rig.at()).unwrap();
    let (entries, log) = expected(&rig);
    assert_eq!((lines(&rig), waiting(&rig)), (entries, vec![]), "written at once, anchored later");
    rig.now += 1;
    observe.turn(&rig.at()).unwrap();
    assert_eq!(waiting(&rig), [(log.size(), log.root())]);
    rig.deliver();
    rig.now += ANCHOR_EVERY_S;
    observe.turn(&rig.at()).unwrap();
    assert!(waiting(&rig).is_empty(), "nothing is new");
    assert_eq!(rig.alarms(), "");
}

#[test]
fn what_the_server_may_not_anchor_it_does_not_and_says_so() {
    let old = Rig::with(fixtures::genesis(), &[Grant::Authorise], &[Grant::Freeze]);
    let not_granted = Rig::with(fixtures::newest(), &[Grant::Authorise], &[Grant::Freeze]);
    for (mut rig, words) in
        [(old, "that takes rule set 2"), (not_granted, "machine house lacks the grant observe")]
    {
        let mut observe = observe(&rig);
        for _ in 0..3 {
            observe.turn(&rig.at()).unwrap();
            assert!(observe.said.as_ref().unwrap().contains(words));
            rig.now += ANCHOR_EVERY_S;
        }
        assert!(rig.waiting().is_empty());
        assert_eq!(lines(&rig), expected(&rig).0, "the file is kept all the same");
    }
}

#[test]
fn two_replicas_derive_one_log_and_either_anchors_it() {
    let mut rig = Rig::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut one = observe(&rig);
    let mut two = Observe::new(elsewhere.path(), Arc::default());
    for round in 1..5u64 {
        book(&rig, round);
        // The one anchors at the size that it sees; the other has gone on since, or is behind.
        one.turn(&rig.at()).unwrap();
        assert_eq!(waiting(&rig).len(), 1);
        book(&rig, round % 2);
        two.turn(&rig.at()).unwrap();
        rig.deliver();
        two.turn(&rig.at()).unwrap();
        one.turn(&rig.at()).unwrap();
        rig.now += ANCHOR_EVERY_S;
        std::mem::swap(&mut one, &mut two);
        assert_eq!(rig.waiting().len(), 0);
    }
    let other = std::fs::read_to_string(elsewhere.path().join(FILE)).unwrap();
    assert_eq!(other, std::fs::read_to_string(file(&rig)).unwrap());
    assert_eq!(lines(&rig), expected(&rig).0);
    assert_eq!(rig.alarms(), "");
}

/// Books with six batches of which five are anchored, a copy of them, and then four more, all anchored.
fn with_yesterday() -> (Rig, Vec<u8>) {
    let mut rig = Rig::new();
    book(&rig, 5);
    let mut observe = observe(&rig);
    observe.turn(&rig.at()).unwrap();
    rig.deliver();
    let mut copy = Vec::new();
    rig.reopen(|path| copy = std::fs::read(path).unwrap());
    book(&rig, 4);
    rig.now += ANCHOR_EVERY_S;
    observe.turn(&rig.at()).unwrap();
    rig.deliver();
    observe.turn(&rig.at()).unwrap();
    (rig, copy)
}

#[test]
fn yesterdays_database_under_todays_log_is_found_and_nothing_is_booked() {
    let (mut rig, copy) = with_yesterday();
    let end = rig.batches();
    rig.reopen(|path| std::fs::write(path, &copy).unwrap());
    let old = rig.batches();
    assert!(old < end);
    let mut found = observe(&rig);
    let said = fault(&rig, &mut found);
    assert!(said.contains(&format!("they end at batch {old} and batch {end} was observed")), "{said}");
    // It does not go away by booking more, nor with the file.
    drop(found);
    rig.transfer("other", Account::External, Account::Suspense, 7, Code::Deposit);
    book(&rig, end - old + 3);
    let mut again = observe(&rig);
    let said = again.turn(&rig.at()).unwrap_err().to_string();
    assert!(said.contains(&format!("batch {} is not what was observed", old + 1)), "{said}");
    drop(again);
    std::fs::remove_file(file(&rig)).unwrap();
    let said = observe(&rig).turn(&rig.at()).unwrap_err().to_string();
    assert!(said.contains(&format!("their first {end} batches are others than")), "{said}");
    // What a quorum resumes stays so while the process runs; a restart stops payouts again.
    let mut third = observe(&rig);
    third.turn(&rig.at()).unwrap_err();
    rig.deliver();
    third.turn(&rig.at()).unwrap_err();
    rig.resume();
    third.turn(&rig.at()).unwrap_err();
    assert!(rig.waiting().is_empty());
    drop(third);
    observe(&rig).turn(&rig.at()).unwrap_err();
    assert_eq!(rig.waiting().len(), 1);
}

#[test]
fn yesterdays_database_without_the_file_is_found_by_the_anchor() {
    let (mut rig, copy) = with_yesterday();
    let end = rig.batches();
    rig.reopen(|path| std::fs::write(path, &copy).unwrap());
    std::fs::remove_file(file(&rig)).unwrap();
    let said = fault(&rig, &mut observe(&rig));
    assert!(said.contains(&format!("batch {end} was observed")), "{said}");
}

#[test]
fn a_database_that_goes_back_or_changes_while_the_server_runs_is_found() {
    let (mut rig, copy) = with_yesterday();
    let mut running = observe(&rig);
    running.turn(&rig.at()).unwrap();
    let end = rig.batches();
    rig.reopen(|path| std::fs::write(path, &copy).unwrap());
    let said = fault(&rig, &mut running);
    assert!(said.contains("THE BOOKS LOST ENTRIES"), "{said}");
    for more in [0, 1] {
        let (mut rig, copy) = with_yesterday();
        let mut running = observe(&rig);
        running.turn(&rig.at()).unwrap();
        rig.reopen(|path| std::fs::write(path, &copy).unwrap());
        rig.transfer("other", Account::External, Account::Suspense, 7, Code::Deposit);
        book(&rig, end - rig.batches() + more);
        let said = fault(&rig, &mut running);
        assert!(said.contains(&format!("batch {} is not what was observed", end + more)), "{said}");
    }
}

#[test]
fn an_anchor_of_another_history_is_found_when_the_log_shows_it() {
    let mut rig = Rig::new();
    book(&rig, 5);
    let mut observe = observe(&rig);
    observe.turn(&rig.at()).unwrap();
    rig.desk.core().pending = crate::office::Pending::default();
    // Another server, on another database.
    let log = Name::new(BOOKS_LOG).unwrap();
    let other = |size| Body::Observe(statement::Observe { log: log.clone(), size, root: Hash([8; 32]) });
    rig.world.say("watcher", other(2)).unwrap();
    rig.sync();
    let said = fault(&rig, &mut observe);
    assert!(said.contains("their first 2 batches are others than machine watcher anchored"), "{said}");
}

#[test]
fn an_older_state_of_the_log_is_no_fault() {
    let (rig, _) = with_yesterday();
    let mut observe = observe(&rig);
    observe.turn(&rig.at()).unwrap();
    let newest = rig.world.state.clone();
    let mut early = fixtures::World::new(newest.genesis().clone());
    for (batch, _) in &rig.world.log[..rig.world.log.len() - 1] {
        early.try_batch(batch).unwrap();
    }
    let at = At { state: &early.state, ..rig.at() };
    observe.turn(&at).unwrap();
    assert_eq!(rig.alarms(), "");
}

#[test]
fn the_file_is_made_anew_mended_or_refused() {
    let (rig, _) = with_yesterday();
    let whole = std::fs::read(file(&rig)).unwrap();
    let entries = lines(&rig);
    // Lost, shorter, torn: what is missing is made from the books.
    for kept in [&whole[..0], &whole[..whole.len() - 30], &whole[..(entries[0].len() + 1) * 2]] {
        std::fs::write(file(&rig), kept).unwrap();
        observe(&rig).turn(&rig.at()).unwrap();
        assert_eq!(std::fs::read(file(&rig)).unwrap(), whole);
    }
    // Changed, longer: it is evidence, and stays as it is.
    let text = String::from_utf8(whole.clone()).unwrap();
    let digit = if entries[3].contains('0') { '0' } else { '1' };
    let altered = text.replacen(&entries[3], &entries[3].replacen(digit, "7", 1), 1);
    let more =
        format!("{text}{{\"digest\":\"{}\",\"ledger-batch\":{}}}\n", Hash::default(), entries.len() + 1);
    for (kept, words) in [
        (text.replacen(&entries[3], "", 1), "line 4 of"),
        (text.replacen(&entries[3], &entries[4], 1), "line 4 of"),
        (altered, "batch 4 is not what was observed"),
        (more, "was observed: an older copy"),
    ] {
        std::fs::write(file(&rig), &kept).unwrap();
        let said = observe(&rig).turn(&rig.at()).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
        assert_eq!(std::fs::read_to_string(file(&rig)).unwrap(), kept);
    }
}

#[test]
fn one_process_keeps_the_file() {
    let rig = Rig::new();
    let mut first = observe(&rig);
    first.turn(&rig.at()).unwrap();
    let said = observe(&rig).turn(&rig.at()).unwrap_err().to_string();
    assert!(said.contains("cannot lock"), "{said}");
    assert!(rig.alarms().is_empty(), "nothing is wrong with the books");
}
