//! The journal against torn writes, damage, kills, a full disk and a second process.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use signer::journal::{Journal, JournalError, MAX_RECORD_BYTES, write_file_atomic};
use tempfile::TempDir;

const MAGIC: &[u8] = b"keyward-journal-v1\n";

/// Tells a child process of a test which journal it works on.
const CHILD_PATH: &str = "JOURNAL_TEST_PATH";

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("votes");
    (directory, path)
}

fn records(path: &Path) -> Vec<Vec<u8>> {
    Journal::open(path).unwrap().1
}

/// A journal of three records; its bytes, and where each record ends.
fn sample() -> (Vec<Vec<u8>>, Vec<u8>, Vec<usize>) {
    let (_directory, path) = place();
    let (mut journal, found) = Journal::open(&path).unwrap();
    assert!(found.is_empty());
    let records = vec![b"one".to_vec(), vec![], vec![0; 40]];
    let mut ends = vec![MAGIC.len()];
    for record in &records {
        journal.append(record).unwrap();
        ends.push(fs::read(&path).unwrap().len());
    }
    (records, fs::read(&path).unwrap(), ends)
}

/// The format, built here by hand from its description.
#[test]
fn the_bytes_are_those_of_the_format() {
    let mut expected = MAGIC.to_vec();
    let mut chain = Sha256::digest(MAGIC).to_vec();
    let (records, bytes, _) = sample();
    for record in records {
        let length = (record.len() as u32).to_be_bytes();
        chain = Sha256::digest([&chain[..], &length, &record].concat()).to_vec();
        let inverted = length.map(|byte| !byte);
        expected.extend([&length[..], &inverted, &record, &chain].concat());
    }
    assert_eq!(bytes, expected);
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let (_directory, path) = place();
    let (mut journal, _) = Journal::open(&path).unwrap();
    journal.append(b"a").unwrap();
    journal.append_all(&[b"b", b"", b"c"]).unwrap();
    journal.append_all(&[]).unwrap();
    drop(journal);
    let (mut journal, found) = Journal::open(&path).unwrap();
    assert_eq!(found, [&b"a"[..], b"b", b"", b"c"]);
    assert_eq!(journal.torn_bytes(), 0);
    journal.append(b"d").unwrap();
    journal.rewrite(&[b"x", b"y"]).unwrap();
    journal.append(b"z").unwrap();
    drop(journal);
    assert_eq!(records(&path), [b"x", b"y", b"z"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Wherever a crash cut the file: exactly the records that were whole, and the rest is reported.
#[test]
fn every_prefix_opens_with_the_whole_records_in_it() {
    let (all, bytes, ends) = sample();
    for cut in MAGIC.len()..=bytes.len() {
        let (_directory, path) = place();
        fs::write(&path, &bytes[..cut]).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        let (mut journal, found) = Journal::open(&path).unwrap();
        assert_eq!(found, all[..whole], "cut at {cut}");
        assert_eq!(journal.torn_bytes(), cut - ends[whole], "cut at {cut}");
        // It goes on from there, and the torn bytes are gone.
        journal.append(b"next").unwrap();
        drop(journal);
        let (journal, found) = Journal::open(&path).unwrap();
        assert_eq!((found.len(), journal.torn_bytes()), (whole + 1, 0));
    }
    // The file is made by a rename, so a cut in its first bytes is not the work of a crash.
    for cut in 0..MAGIC.len() {
        assert!(matches!(open_bytes(&bytes[..cut]), Err(JournalError::Damaged { at: 0, .. })));
    }
}

#[test]
fn zeros_that_a_crash_left_at_the_end_are_cut_off() {
    let (all, bytes, ends) = sample();
    for (whole, end) in ends.iter().enumerate() {
        for zeros in [1, 8, 100, 5000] {
            let found = open_bytes(&[&bytes[..*end], &vec![0; zeros]].concat()).unwrap();
            assert_eq!(found, all[..whole]);
        }
    }
}

/// One bit anywhere: an error that names the first record concerned, never other records.
#[test]
fn every_changed_byte_is_noticed() {
    let (_, bytes, ends) = sample();
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            let record = ends.iter().rfind(|end| **end <= at).copied().unwrap_or(0);
            match open_bytes(&changed) {
                Err(JournalError::Damaged { at: found, .. }) => assert_eq!(found, record),
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn removed_moved_repeated_and_foreign_records_are_noticed() {
    let (_, bytes, ends) = sample();
    let piece = |index: usize| &bytes[ends[index]..ends[index + 1]];
    for order in [&[1, 2][..], &[0, 2], &[1, 0, 2], &[0, 2, 1], &[0, 0, 1, 2], &[0, 1, 2, 2]] {
        let pieces: Vec<_> = order.iter().map(|index| piece(*index)).collect();
        let altered = [MAGIC, &pieces.concat()].concat();
        assert!(matches!(open_bytes(&altered), Err(JournalError::Damaged { .. })), "{order:?}");
    }
    for foreign in [&b"keyward-journal-v2\n"[..], b"", b"{}"] {
        assert!(matches!(open_bytes(foreign), Err(JournalError::Damaged { at: 0, .. })));
    }
}

#[test]
fn a_damaged_journal_is_left_as_it_is() {
    let (_, mut bytes, ends) = sample();
    bytes[ends[1] - 1] ^= 1;
    let (_directory, path) = place();
    fs::write(&path, &bytes).unwrap();
    let error = Journal::open(&path).unwrap_err();
    assert!(error.to_string().contains(&format!("damaged at byte {}", ends[0])), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_record_may_be_as_long_as_the_limit() {
    let (_directory, path) = place();
    let (mut journal, _) = Journal::open(&path).unwrap();
    let longest = vec![7; MAX_RECORD_BYTES];
    let longer = vec![7; MAX_RECORD_BYTES + 1];
    let before = fs::read(&path).unwrap();
    for result in
        [journal.append(&longer), journal.append_all(&[b"a", &longer]), journal.rewrite(&[b"a", &longer])]
    {
        assert!(matches!(result, Err(JournalError::TooLong(n)) if n == MAX_RECORD_BYTES + 1));
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    // Refused before anything was written, so the journal goes on.
    journal.append(&longest).unwrap();
    drop(journal);
    assert!(records(&path) == [longest]);

    let length = (MAX_RECORD_BYTES as u32 + 1).to_be_bytes();
    let announced = [MAGIC, &length, &length.map(|byte| !byte)].concat();
    assert!(matches!(open_bytes(&announced), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_second_process_is_refused_until_the_first_ends() {
    let (_directory, path) = place();
    let mut child = child("child_appends", &path).spawn().unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    while number(&line).is_none() {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0);
    }
    assert!(matches!(Journal::open(&path), Err(JournalError::InUse(_))));
    child.kill().unwrap();
    child.wait().unwrap();
    let (journal, _) = Journal::open(&path).unwrap();
    // And within one process.
    assert!(matches!(Journal::open(&path), Err(JournalError::InUse(_))));
    drop(journal);
    Journal::open(&path).unwrap();
}

/// Killed at any moment, all that was acknowledged is there, in order, and at most one more.
#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let (_directory, path) = place();
    let mut expected = 0;
    for round in 0..8 {
        let acknowledged = run_and_kill("child_appends", &path, 20 + 17 * round);
        expected = acknowledged.map_or(expected, |last| last + 1).max(expected);
        let found = numbers(&path);
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
        let count = found.len() as u64;
        assert!((expected..=expected + 1).contains(&count), "{count} instead of {expected}");
        expected = count;
    }
    assert!(expected > 8, "the child did next to nothing");
}

/// Killed at any moment of a rewrite, the records are all of one generation: the acknowledged one or
/// the next.
#[test]
fn a_killed_rewrite_leaves_the_old_or_the_new_records() {
    let (_directory, path) = place();
    let mut last = 0;
    for round in 0..8 {
        let acknowledged = run_and_kill("child_rewrites", &path, 20 + 17 * round);
        last = acknowledged.unwrap_or(last).max(last);
        let found = numbers(&path);
        let generation = found.first().copied().unwrap_or(0);
        assert_eq!(found, vec![generation; size(generation)]);
        assert!((last..=last + 1).contains(&generation), "{generation}, {last}");
    }
    assert!(last > 8, "the child did next to nothing");
}

/// Each state that a rewrite passes through, made by hand: the temporary file is never mistaken.
#[test]
fn a_temporary_file_left_behind_is_not_read() {
    let (all, bytes, _) = sample();
    for cut in [0, 1, MAGIC.len(), bytes.len() - 1, bytes.len()] {
        let (_directory, path) = place();
        fs::write(&path, &bytes).unwrap();
        fs::write(path.with_extension("tmp"), &bytes[..cut]).unwrap();
        assert_eq!(records(&path), all);
        assert!(!path.with_extension("tmp").exists());
    }
}

/// A full disk, as the system reports it (here: a limit on the size of files): the failed append and
/// everything after it are refused, and what was acknowledged before is there.
#[test]
fn a_full_disk_ends_the_journal_and_loses_nothing() {
    let (_directory, path) = place();
    let test = std::env::current_exe().unwrap();
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"])
        .arg(test)
        .args(["--exact", "child_fills", "--ignored", "--nocapture"])
        .env(CHILD_PATH, &path)
        .output()
        .unwrap();
    let said = String::from_utf8(limited.stdout).unwrap();
    assert!(limited.status.success(), "{said}");
    let acknowledged = said.lines().filter_map(number).count();
    assert!((2..100).contains(&acknowledged), "{said}");
    let torn = fs::read(&path).unwrap().len();
    let (journal, found) = Journal::open(&path).unwrap();
    assert_eq!(found.len(), acknowledged);
    assert!(found.iter().all(|record| *record == [9; 1000]));
    assert_eq!(journal.torn_bytes(), torn - (MAGIC.len() + acknowledged * 1040));
    assert!(journal.torn_bytes() > 0, "the system wrote a part of the record that did not fit");
}

/// Nothing is acknowledged before the system said that it is on disk, as `strace` sees it.
#[test]
fn each_acknowledgement_follows_its_fsync() {
    let (directory, path) = place();
    let trace = directory.path().join("trace");
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=write,fdatasync,fsync,rename,renameat,renameat2", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_writes_each_way", "--ignored", "--nocapture"])
        .env(CHILD_PATH, &path)
        .output();
    if !traced.is_ok_and(|output| output.status.success()) {
        println!("not checked: strace is missing or may not be used here");
        return;
    }
    let mut steps = vec![vec![]];
    for line in fs::read_to_string(trace).unwrap().lines() {
        let call = line.split_once(' ').unwrap().1.trim_start();
        let name = call.split('(').next().unwrap();
        if call.starts_with("write(1,") {
            // The child says a number after each step; libtest says words.
            if call.split('"').nth(1).unwrap().starts_with(|first: char| first.is_ascii_digit()) {
                steps.push(vec![]);
            }
        } else if ["write", "fdatasync", "fsync", "rename"].contains(&name) {
            assert!(!line.contains("= -1"), "{line}");
            steps.last_mut().unwrap().push(name.to_owned());
        }
    }
    let whole_file = vec!["write", "fsync", "rename", "fsync"];
    let appended = vec!["write", "fdatasync"];
    let expected = [&whole_file, &appended, &appended, &whole_file, &whole_file];
    assert_eq!(steps[..5], expected.map(|step| step.clone()), "{steps:?}");
}

#[test]
fn files_are_replaced_whole() {
    let (directory, path) = place();
    write_file_atomic(&path, b"old").unwrap();
    write_file_atomic(&path, b"new and longer").unwrap();
    write_file_atomic(&path, b"short").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"short");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    let nowhere = directory.path().join("missing").join("file");
    assert!(matches!(write_file_atomic(&nowhere, b""), Err(JournalError::Io { .. })));
}

/// Not a test by itself: appends numbers and says each one once it is acknowledged, until killed.
#[test]
#[ignore = "run by the tests that kill it"]
fn child_appends() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let (mut journal, found) = Journal::open(Path::new(&path)).unwrap();
    for next in found.len() as u64.. {
        journal.append(&next.to_be_bytes()).unwrap();
        say(next);
    }
}

/// Not a test by itself: rewrites all records to the next generation, until killed.
#[test]
#[ignore = "run by the test that kills it"]
fn child_rewrites() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let (mut journal, found) = Journal::open(Path::new(&path)).unwrap();
    let last = found.first().map_or(0, |record| u64::from_be_bytes(record[..].try_into().unwrap()));
    for generation in last + 1.. {
        let records = vec![generation.to_be_bytes(); size(generation)];
        let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        journal.rewrite(&records).unwrap();
        say(generation);
    }
}

/// Not a test by itself: writes once in each way, and says a number after each.
#[test]
#[ignore = "run by the test that traces it"]
fn child_writes_each_way() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let (mut journal, _) = Journal::open(Path::new(&path)).unwrap();
    say(0);
    journal.append(b"a").unwrap();
    say(1);
    journal.append_all(&[b"b", b"c"]).unwrap();
    say(2);
    journal.rewrite(&[b"d"]).unwrap();
    say(3);
    write_file_atomic(&Path::new(&path).with_extension("other"), b"e").unwrap();
    say(4);
}

/// Not a test by itself: appends until the disk is full.
#[test]
#[ignore = "run by the test that limits it"]
fn child_fills() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let (mut journal, _) = Journal::open(Path::new(&path)).unwrap();
    let error = (0..100)
        .find_map(|number| {
            let result = journal.append(&[9; 1000]);
            if result.is_ok() {
                say(number);
            }
            result.err()
        })
        .expect("the limit on the size of files is in force");
    assert!(matches!(error, JournalError::Io { what: "append to", .. }), "{error}");
    // Short enough to fit, and a rewrite would fit too, but nothing is trusted any more.
    assert!(matches!(journal.append(b""), Err(JournalError::Failed)));
    assert!(matches!(journal.append_all(&[b"a"]), Err(JournalError::Failed)));
    assert!(matches!(journal.rewrite(&[b"a"]), Err(JournalError::Failed)));
}

fn open_bytes(bytes: &[u8]) -> Result<Vec<Vec<u8>>, JournalError> {
    let (_directory, path) = place();
    fs::write(&path, bytes).unwrap();
    Journal::open(&path).map(|(_, records)| records)
}

fn numbers(path: &Path) -> Vec<u64> {
    let number = |record: Vec<u8>| u64::from_be_bytes(record.try_into().unwrap());
    records(path).into_iter().map(number).collect()
}

/// How many records a generation has; the one before the first has none.
fn size(generation: u64) -> usize {
    generation.min(1 + generation % 50) as usize
}

fn say(number: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{number}").unwrap();
    out.flush().unwrap();
}

fn number(line: &str) -> Option<u64> {
    line.trim().parse().ok()
}

fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(CHILD_PATH, path).stdout(Stdio::piped());
    command
}

/// Runs a child, kills it after so many milliseconds of work, and returns the last number it said.
fn run_and_kill(test: &str, path: &Path, milliseconds: u64) -> Option<u64> {
    let mut child = child(test, path).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let said =
        thread::spawn(move || out.lines().map_while(Result::ok).filter_map(|line| number(&line)).last());
    thread::sleep(Duration::from_millis(milliseconds));
    child.kill().unwrap();
    child.wait().unwrap();
    said.join().unwrap()
}
