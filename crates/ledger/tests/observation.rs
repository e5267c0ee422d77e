//! The observation log of the books: its bytes and its tree.

use custody::Hash;
use ledger::observation::{Entry, LINE_LIMIT_BYTES, Observed, OutOfOrder};
use serde::Deserialize;

/// Lines, and the head of every size: made in Python with `hashlib`.
const LINES: &str = include_str!("../../../vectors/observation/observations.jsonl");
const HEADS: &str = include_str!("../../../vectors/observation/heads.json");

#[derive(Deserialize)]
struct Head {
    root: Hash,
    size: u64,
}

#[test]
fn the_golden_lines_have_the_golden_roots() {
    let heads: Vec<Head> = serde_json::from_str(HEADS).unwrap();
    let mut log = Observed::default();
    let mut lines = LINES.lines();
    for head in heads {
        assert_eq!((log.size(), log.root()), (head.size, head.root));
        let Some(line) = lines.next() else { continue };
        let entry = Entry::read(line.as_bytes()).unwrap();
        assert_eq!(entry.bytes(), line.as_bytes());
        assert_eq!(serde_json::to_string(&entry).unwrap(), line, "an appended record is the line");
        assert_eq!(custody::canon::encode(&entry).unwrap(), line.as_bytes());
        log.push(entry).unwrap();
        assert_eq!(log.newest(), entry.digest);
    }
    assert_eq!((lines.next(), log.size()), (None, 7));
}

#[test]
fn only_the_one_encoding_of_a_line_is_read() {
    let good = LINES.lines().next().unwrap();
    for bad in [
        String::new(),
        good.replace(':', ": "),
        good.replace("ledger-batch", "ledger_batch"),
        good.replace(":1}", ":01}"),
        good.replace(":1}", ":\"1\"}"),
        good.replace(":1}", ":1,\"more\":0}"),
        good.replace("e8dd", "E8DD"),
        format!("{good} "),
        format!(r#"{{"ledger-batch":1,"digest":"{}"}}"#, Hash::default()),
    ] {
        assert_eq!(Entry::read(bad.as_bytes()), None, "{bad}");
    }
    let longest = |seq| Entry { digest: Hash::default(), seq }.bytes();
    let (fits, beyond) = (longest(9_999_999_999_999_999), longest(10_000_000_000_000_000));
    assert_eq!((fits.len(), beyond.len()), (LINE_LIMIT_BYTES, LINE_LIMIT_BYTES + 1));
    assert!(Entry::read(&fits).is_some() && Entry::read(&beyond).is_none());
}

#[test]
fn entries_stand_in_the_order_of_batches() {
    let mut log = Observed::default();
    let entry = |seq| Entry { digest: Hash([7; 32]), seq };
    assert_eq!(log.push(entry(2)), Err(OutOfOrder { expected: 1, found: 2 }));
    assert_eq!(log.size(), 0);
    log.push(entry(1)).unwrap();
    let root = log.root();
    assert_eq!(log.push(entry(1)), Err(OutOfOrder { expected: 2, found: 1 }));
    assert_eq!(log.root(), root);
}
