//! What goes wrong in a ceremony: each fault gives a clear message and a way on; nothing is lost but what must
//! be, and nothing stays behind. With the program as it is shipped.

#[path = "../common/mod.rs"]
mod common;

mod ends;
mod input;
mod network;
mod start;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ceremony::report::{Against, Verified, verify};
use ceremony::run::Status;
use ceremony_tui::rehearsal::Left;
use common::Room;
use custody::Hash;

/// Words by component: none yet.
fn nothing() -> BTreeMap<String, (String, String)> {
    BTreeMap::new()
}

/// Whether the program said something with these words.
fn said(left: &Left, words: &str) -> bool {
    left.said.iter().any(|line| line.contains(words))
}

/// The processes that a process started and that have not ended.
fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().map(|child| child.parse().unwrap()).filter(|child| is_alive(*child)).collect()
}

/// A process that has ended and was not waited for yet has no memory any more.
fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The report of a ceremony that was given up: it verifies, and leaves no record.
fn aborted(room: &Room, left: &Left, why: &str) -> Verified {
    assert_eq!(left.code, Some(3), "{}", left.error);
    let against = Against { genesis: Some(&room.genesis), script: Some(left.script.hash()), record: None };
    let bytes = fs::read(left.out.join("report.json")).unwrap();
    let verified = verify(&bytes, &against).unwrap_or_else(|error| panic!("{why}: {error}"));
    assert_eq!(left.report().unwrap().report.status, Status::Aborted, "{why}");
    assert!(String::from_utf8_lossy(&bytes).contains(why), "{why}");
    for name in ["record.json", "shares.json", "sealed.json", "report-unsigned.json"] {
        assert!(!left.out.join(name).exists(), "{why}: {name}");
    }
    assert!(fs::read(left.out.join("report.pdf")).unwrap().starts_with(b"%PDF-"));
    verified
}

/// The hash that the program tells people to write down.
fn noted(left: &Left) -> String {
    let line = left.said.iter().rev().find_map(|line| line.split_once("hash of the saved run: "));
    let hash = line.unwrap().1.to_owned();
    assert!(Hash::from_hex(&hash).is_some(), "{hash}");
    hash
}

fn program() -> &'static Path {
    common::program()
}
