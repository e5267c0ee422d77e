//! `keyward ceremony verify`: the report of a ceremony, by the built program, alone with its files.

mod common;
#[path = "../../ceremony/tests/rehearsal/mod.rs"]
mod rehearsal;

use std::fs;

use ceremony::report::SignedReport;
use ceremony::room::FindingKind;
use ceremony::run::Outcome;
use ceremony::script::Kind;
use common::Host;
use custody::Hash;
use custody::canon;
use custody::document::{CeremonyRecord, Document, Participation, Recovery};
use custody::genesis::Genesis;
use serde_json::Value;

/// A host with the report of a generation, in which a deviation was signed, and its record.
fn host() -> (Host, SignedReport) {
    let mut run = rehearsal::begun(Kind::Generation);
    rehearsal::up_to(&mut run, "inspect");
    let found = || Outcome::Room(rehearsal::room(&[rehearsal::finding(FindingKind::Hypervisor)]));
    let mut at = rehearsal::START + 50;
    run.done(at, found()).unwrap();
    run.deviate(at, rehearsal::deviation(&run, 0, &["alice", "bob"])).unwrap();
    run.done(at, found()).unwrap();
    while run.current().is_some() {
        at += 1;
        run.done(at, rehearsal::right(&run)).unwrap();
    }
    let file = run.signed_report().unwrap();
    let host = Host::new();
    fs::write(host.path("report.json"), file.bytes()).unwrap();
    fs::write(host.path("genesis.json"), rehearsal::genesis().bytes()).unwrap();
    let record = Document::Ceremony(record(&file, &rehearsal::genesis()));
    fs::write(host.path("record.json"), canon::encode(&record).unwrap()).unwrap();
    (host, file)
}

fn record(file: &SignedReport, genesis: &Genesis) -> CeremonyRecord {
    let report = &file.report;
    let mut record = rehearsal::record(&report.script, report.began_at);
    record.recovery = Some(Recovery {
        report: report.hash(),
        restored: rehearsal::restored(&report.script, &report.nonce.unwrap()),
    });
    let message = record.signed_bytes(&genesis.hash());
    for who in ["alice", "bob"] {
        let signature = rehearsal::sign(who, &message);
        record.participants.push(Participation { key: fixtures::id(who), signature });
    }
    record
}

#[test]
fn a_report_is_verified_alone_and_with_what_belongs_to_it() {
    let (host, file) = host();
    let hash = file.report.hash();
    let text = host.ok("ceremony verify report.json");
    for words in [
        format!("report      {hash}\n"),
        "ceremony    generation, complete\n".into(),
        "rehearsal   coins of bip122:".into(),
        ", not compared: give it to be sure\n".into(),
        "held        2026-01-01T00:00:00Z to 2026-01-01T00:0".into(),
        "person      bob: bob Example, Example Custody, security-officer; signed\n".into(),
        "entropy     dice: 200 symbols, credited with 256 bits\n".into(),
        "verified    all 3 combinations of components rebuilt the secret\n".into(),
        "component   1.2: dave, at south, safe of south, seal S-".into(),
        "; paper and file read back; health key ".into(),
        "account     m/86'/1'/1'  0".into(),
        "finding     hypervisor at inspect: found in a test; deviation\n".into(),
        "deviation   hypervisor: alice, bob signed: a rehearsal in a virtual machine\n".into(),
    ] {
        assert!(text.contains(&words), "{words} in\n{text}");
    }
    let script = file.report.script.hash();
    let with =
        format!("ceremony verify report.json --record record.json --genesis genesis.json --script {script}");
    let text = host.ok(&with);
    assert!(text.contains("record      of the same ceremony\n") && !text.contains("not compared"), "{text}");
    let json: Value = serde_json::from_str(&host.ok(&format!("{with} --output json"))).unwrap();
    assert_eq!(json["hash"], hash.to_string());
    assert_eq!(json["signers"].as_array().unwrap().len(), 7);
    assert_eq!(json["report"]["script"]["kind"], "generation");
}

#[test]
fn a_report_that_was_given_up_after_its_closing_says_so() {
    let host = Host::new();
    let mut run = rehearsal::begun(Kind::Drill);
    rehearsal::up_to(&mut run, "sign-walter");
    let closed = run.report().unwrap().hash();
    run.abort(rehearsal::START + 999, "walter has left").unwrap();
    rehearsal::finish(&mut run);
    fs::write(host.path("report.json"), run.signed_report().unwrap().bytes()).unwrap();
    let text = host.ok("ceremony verify report.json");
    assert!(text.contains(&format!("contested   report {closed} of it was closed before")), "{text}");
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_shown() {
    let (host, file) = host();
    let says = |line: &str, words: &str| {
        let said = host.fails(line, 5);
        assert!(said.contains(words) && !said.contains("person "), "{words} in\n{said}");
    };
    let text = fs::read_to_string(host.path("report.json")).unwrap();
    let write = |text: &str| fs::write(host.path("other.json"), text).unwrap();
    write(&text.replace("Room 3", "Room 4"));
    says("ceremony verify other.json", "somebody changed it");
    write(&text.replacen('{', "{ ", 1));
    says("ceremony verify other.json", "not canonical");
    let mut unsigned = file.clone();
    unsigned.signatures.pop();
    fs::write(host.path("other.json"), unsigned.bytes()).unwrap();
    says("ceremony verify other.json", "the signature of walter is missing");
    says(&format!("ceremony verify report.json --script {}", "0".repeat(64)), "was held by the script");
    fs::write(host.path("g.json"), fixtures::genesis().bytes()).unwrap();
    says("ceremony verify report.json --genesis g.json", "it is of genesis");
    let mut other = record(&file, &rehearsal::genesis());
    other.nonce = Hash([1; 32]);
    fs::write(host.path("r.json"), canon::encode(&Document::Ceremony(other)).unwrap()).unwrap();
    says("ceremony verify report.json --record r.json", "the nonces differ");
    assert_eq!(host.run("ceremony verify report.json --script 12").status.code(), Some(2));
    host.fails("ceremony verify nothing.json", 1);
}
