//! The golden journal. The golden records in it, and what else a co-signer keeps and says, are tested in
//! `vectors/`, as modules of the crate.

use std::fs;
use std::path::{Path, PathBuf};

use signer::journal::{Journal, JournalError};

fn read(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/signer").join(file)).unwrap()
}

fn records() -> Vec<Vec<u8>> {
    let text = String::from_utf8(read("guard.jsonl")).unwrap();
    text.lines().map(|line| line.as_bytes().to_vec()).collect()
}

fn with<T>(bytes: &[u8], then: impl FnOnce(PathBuf) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.journal");
    fs::write(&path, bytes).unwrap();
    then(path)
}

#[test]
fn the_golden_journal_opens_and_is_written_so() {
    let golden = read("guard.journal");
    with(&golden, |path| {
        let (journal, found) = Journal::open(&path).unwrap();
        assert_eq!((found, journal.torn_bytes()), (records(), 0));
        assert_eq!(fs::read(&path).unwrap(), golden);
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.journal");
    let (mut journal, _) = Journal::open(&path).unwrap();
    records().iter().for_each(|record| journal.append(record).unwrap());
    assert_eq!(fs::read(&path).unwrap(), golden);
}

#[test]
fn the_golden_journal_is_refused_when_altered_and_cut_where_torn() {
    let golden = read("guard.journal");
    let first = 19 + 8 + records()[0].len() + 32;
    for at in (0..golden.len()).step_by(7).chain(golden.len() - 40..golden.len()) {
        let mut altered = golden.clone();
        altered[at] ^= 1;
        let result = with(&altered, |path| Journal::open(&path).map(|(_, records)| records));
        assert!(matches!(result, Err(JournalError::Damaged { .. })), "byte {at}: {result:?}");
    }
    for cut in [first, first + 3, first + 8, golden.len() - 32, golden.len() - 1] {
        let (torn, found) = with(&golden[..cut], |path| {
            let (journal, records) = Journal::open(&path).unwrap();
            (journal.torn_bytes(), records)
        });
        assert_eq!((torn, found), (cut - first, records()[..1].to_vec()), "cut to {cut} bytes");
    }
    let newer = [b"keyward-journal-v2\n", &golden[19..]].concat();
    assert!(with(&newer, |path| Journal::open(&path).is_err()));
}
