//! Log exports: the same tiles as Cloudflare's `tlog_tiles` makes, and every changed file is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use custody::Hash;
use custody::checkpoint::{Checkpoint, SignedNote, cosign};
use custody::tree::Frontier;
use ed25519_dalek::SigningKey;
use evidence::tiles::{ExportError, MAX_ENTRY_BYTES, MAX_GENESIS_BYTES, read_export, write_export};
use tempfile::TempDir;
use tlog_tiles::tlog;

const GENESIS: &[u8] = br#"{"genesis":"of a test"}"#;

fn entries(n: usize) -> Vec<Vec<u8>> {
    // Of all lengths from nothing on, so that lengths matter.
    (0..n).map(|i| format!("entry {i}").into_bytes()[..i % 8].to_vec()).collect()
}

fn note(entries: &[Vec<u8>]) -> String {
    let mut frontier = Frontier::new();
    entries.iter().for_each(|entry| frontier.push(entry));
    let state = Hash::sha256(b"state");
    let body = Checkpoint::head("log", frontier.size(), frontier.root(), &state).encode().unwrap();
    let line = cosign(&body, "cosigner", &SigningKey::from_bytes(&[1; 32]), 1);
    SignedNote { body, lines: vec![line] }.to_string()
}

fn export(entries: &[Vec<u8>]) -> TempDir {
    let dir = TempDir::new().unwrap();
    write_export(dir.path(), entries, &note(entries), GENESIS).unwrap();
    dir
}

/// All files below `dir`, by their relative paths.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![dir.to_path_buf()]);
    while let Some(next) = open.pop() {
        for item in fs::read_dir(next).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// The file that an error names.
fn named(error: &ExportError) -> &str {
    match error {
        ExportError::Io { path, .. } | ExportError::TooLong { path, .. } => path,
        ExportError::Malformed(path) | ExportError::Disagrees(path) => path,
        ExportError::Checkpoint(_) => "checkpoint",
        other => panic!("names no file: {other}"),
    }
}

/// All hashes of the entries, as the other implementation stores them.
#[derive(Default)]
struct Oracle {
    stored: Vec<tlog::Hash>,
}

impl tlog::HashReader for Oracle {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|&i| self.stored[usize::try_from(i).unwrap()]).collect())
    }
}

#[test]
fn exports_have_the_tiles_of_the_other_implementation_and_read_back() {
    for n in [0, 1, 2, 255, 256, 257, 511, 512, 70_000] {
        let entries = entries(n);
        let dir = export(&entries);
        let read = read_export(dir.path()).unwrap();
        assert_eq!((&read.entries, read.note, read.genesis), (&entries, note(&entries), GENESIS.into()));

        let mut oracle = Oracle::default();
        for (i, entry) in (0..).zip(&entries) {
            let hashes = tlog::stored_hashes(i, entry, &oracle).unwrap();
            oracle.stored.extend(hashes);
        }
        let mut found = files(dir.path());
        found.retain(|path, _| path.starts_with("tile/") && !path.starts_with("tile/entries/"));
        // Their paths have the height of tiles (8 levels of the tree), C2SP's have not.
        let tiles = tlog_tiles::Tile::new_tiles(8, 0, n.try_into().unwrap()).into_iter();
        let theirs: BTreeMap<_, _> = tiles
            .map(|tile| {
                let path = tile.path().replacen("tile/8/", "tile/", 1);
                (path, tile.read_data(&oracle).unwrap())
            })
            .collect();
        assert_eq!(found, theirs, "{n} entries");
    }
}

/// The example of the specification: "a tree of size 70,000 will be represented by 273 full level 0
/// tiles, one partial level 0 tile of width 112, one full level 1 tile, one partial level 1 tile of
/// width 17, and one partial level 2 tile of width 1".
#[test]
fn the_example_of_the_specification_has_its_files() {
    let files = files(export(&entries(70_000)).path());
    let count = |prefix: &str| files.keys().filter(|path| path.starts_with(prefix)).count();
    for level in ["tile/0/", "tile/entries/"] {
        assert_eq!(count(level), 274);
        assert!(files.contains_key(&format!("{level}272")));
        assert!(files.contains_key(&format!("{level}273.p/112")));
    }
    assert_eq!((count("tile/1/"), count("tile/2/"), count("tile/")), (2, 1, 274 * 2 + 3));
    for path in ["tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"] {
        assert!(files.contains_key(path), "{path}");
    }
}

#[test]
fn an_entry_bundle_has_lengths_of_two_bytes_before_its_entries() {
    let dir = export(&[b"ab".to_vec(), Vec::new(), b"c".to_vec()]);
    let bundle = fs::read(dir.path().join("tile/entries/000.p/3")).unwrap();
    assert_eq!(bundle, b"\x00\x02ab\x00\x00\x00\x01c");
}

#[test]
fn every_changed_file_is_named() {
    for n in [1, 256, 257, 600] {
        let entries = entries(n);
        for (path, bytes) in files(export(&entries).path()) {
            // Any genesis is well-formed here: its hash is in the origin, which the keys vouch for.
            if path == "genesis.json" {
                continue;
            }
            let (mut first, mut last) = (bytes.clone(), bytes.clone());
            first[0] ^= 1;
            *last.last_mut().unwrap() ^= 1;
            if path == "checkpoint" {
                // What else it says, only the keys can vouch for; the size and the root are here.
                let text = String::from_utf8(bytes.clone()).unwrap();
                first = text.replacen("\nkeyward", "A\nkeyward", 1).into_bytes();
                let root = text.lines().nth(2).unwrap();
                last = text.replacen(root, note(&[]).lines().nth(2).unwrap(), 1).into_bytes();
            }
            let (end, cut) = bytes.split_last().unwrap();
            let longer = [&bytes[..], &[*end]].concat();
            let zero = [&bytes[..], &[0, 0]].concat();
            for change in [first, last, cut.to_vec(), longer, zero, Vec::new()] {
                let dir = export(&entries);
                fs::write(dir.path().join(&path), &change).unwrap();
                let error = read_export(dir.path()).expect_err(&path);
                assert_eq!(named(&error), path, "{error}");
            }
            let dir = export(&entries);
            fs::remove_file(dir.path().join(&path)).unwrap();
            assert_eq!(named(&read_export(dir.path()).unwrap_err()), path);
            fs::create_dir(dir.path().join(&path)).unwrap();
            assert_eq!(named(&read_export(dir.path()).unwrap_err()), path);
        }
    }
}

/// Whoever changes an entry and all tiles with it is left with a checkpoint of another tree.
#[test]
fn a_log_rewritten_with_all_its_tiles_is_not_that_of_the_checkpoint() {
    let honest = entries(600);
    let mut changed = honest.clone();
    changed[300] = b"changed".to_vec();
    let dir = export(&changed);
    fs::write(dir.path().join("checkpoint"), note(&honest)).unwrap();
    let error = read_export(dir.path()).unwrap_err();
    assert!(matches!(&error, ExportError::Disagrees(path) if path == "checkpoint"), "{error}");

    // Tiles rewritten only up to some level: what is below the first disagreement is named.
    for (rewritten, expected) in [
        (&["tile/entries/001"][..], "tile/entries/001"),
        (&["tile/entries/001", "tile/0/001"][..], "tile/0/001"),
    ] {
        let dir = export(&honest);
        let forged = files(export(&changed).path());
        for path in rewritten {
            fs::write(dir.path().join(path), &forged[*path]).unwrap();
        }
        assert_eq!(named(&read_export(dir.path()).unwrap_err()), expected);
    }
}

#[test]
fn a_checkpoint_of_more_or_fewer_entries_is_refused() {
    let dir = export(&entries(600));
    for n in [0, 1, 512, 599, 601, 800, 70_000] {
        let state = Hash::sha256(b"state");
        let real = note(&entries(600));
        let root = Checkpoint::parse(&SignedNote::parse(&real).unwrap().body).unwrap().root;
        let body = Checkpoint::head("log", n, root, &state).encode().unwrap();
        let lines = SignedNote::parse(&real).unwrap().lines;
        fs::write(dir.path().join("checkpoint"), SignedNote { body, lines }.to_string()).unwrap();
        assert!(read_export(dir.path()).is_err(), "{n}");
    }
    // The largest size that can be claimed costs no more than the first file that is not there.
    let body = Checkpoint::head("log", u64::MAX, Hash::default(), &Hash::default());
    let line = cosign("", "cosigner", &SigningKey::from_bytes(&[1; 32]), 1);
    let note = SignedNote { body: body.encode().unwrap(), lines: vec![line] };
    fs::write(dir.path().join("checkpoint"), note.to_string()).unwrap();
    assert_eq!(named(&read_export(dir.path()).unwrap_err()), "tile/entries/002");
}

#[test]
fn a_grown_log_is_exported_over_its_older_export() {
    let dir = TempDir::new().unwrap();
    for n in [3, 256, 300, 600] {
        let entries = entries(n);
        write_export(dir.path(), &entries, &note(&entries), GENESIS).unwrap();
        assert_eq!(read_export(dir.path()).unwrap().entries, entries);
    }
    assert!(files(dir.path()).keys().all(|path| !path.ends_with(".new")));
}

#[test]
fn only_checkpoints_of_these_entries_are_written() {
    let dir = TempDir::new().unwrap();
    for other in [entries(2), entries(4), vec![b"x".to_vec(); 3]] {
        let error = write_export(dir.path(), &entries(3), &note(&other), GENESIS).unwrap_err();
        assert!(matches!(error, ExportError::NotTheseEntries), "{error}");
    }
    let error = write_export(dir.path(), &entries(3), "no note", GENESIS).unwrap_err();
    assert!(matches!(error, ExportError::Checkpoint(_)), "{error}");
    assert!(files(dir.path()).is_empty(), "nothing is left of what was refused");
}

#[test]
fn limits_hold_on_both_sides() {
    let dir = TempDir::new().unwrap();
    let write = |entries: &[Vec<u8>], genesis: usize| {
        write_export(dir.path(), entries, &note(entries), &vec![b' '; genesis])
    };
    let longest = vec![vec![1; MAX_ENTRY_BYTES]; 256];
    write(&longest, MAX_GENESIS_BYTES).unwrap();
    assert_eq!(read_export(dir.path()).unwrap().entries, longest);

    let error = write(&[Vec::new(), vec![1; MAX_ENTRY_BYTES + 1]], 0).unwrap_err();
    assert!(matches!(error, ExportError::EntryTooLong { index: 1, found: 65_536 }), "{error}");
    let error = write(&longest, MAX_GENESIS_BYTES + 1).unwrap_err();
    assert_eq!(named(&error), "genesis.json");

    for (path, limit) in [
        ("genesis.json", MAX_GENESIS_BYTES),
        ("checkpoint", 131_072),
        ("tile/0/000", 8_192),
        ("tile/entries/000", 256 * 65_537),
    ] {
        let dir = export(&entries(256));
        fs::write(dir.path().join(path), vec![0; limit + 1]).unwrap();
        let error = read_export(dir.path()).unwrap_err();
        assert!(matches!(&error, ExportError::TooLong { path: p, limit: l } if p == path && *l == limit));
    }
}
