//! The register of recovery components, published and fetched: the commands against the real interface over real books.

use std::path::Path;

use evidence::register::{Document as Kept, Register, Review, Signer, What};
use ledger::{Posting, RecordChange, RecordKind};

use super::*;

/// A deployment with books, and a document that is reviewed.
fn house() -> (Deployment, Arc<Office>) {
    let deployment = Deployment::new();
    let office = Office::open(&deployment);
    fs::write(deployment.host.path("plan.pdf"), "what we do").unwrap();
    (deployment, office)
}

fn bytes(deployment: &Deployment, file: &str) -> Vec<u8> {
    fs::read(deployment.host.path(file)).unwrap()
}

const OWN: &str = "home/recovery.jsonl";

/// A register of alice with so many entries, in a file.
fn written(deployment: &Deployment, file: &Path, count: usize) -> Register {
    let alice = Signer { person: name("alice"), public: fixtures::public("alice"), revoked_at: None };
    let mut register = Register::new(deployment.world(|world| world.state.genesis_hash()));
    let mut lines = Vec::new();
    for _ in 0..count {
        let review = Review { document: Kept::ContinuityPlan, sha256: register.head() };
        let entry = register.next(now(), &alice, What::Reviewed(review)).unwrap();
        let signature = key("alice").sign(&entry.signed_bytes().unwrap()).to_bytes();
        let line = entry.line(signature).unwrap();
        register = register.extended([line.strip_suffix(b"\n").unwrap()], &|_| Some(alice.clone())).unwrap();
        lines.extend(line);
    }
    fs::write(file, lines).unwrap();
    register
}

#[test]
fn what_one_publishes_others_fetch() {
    let (deployment, _office) = house();
    let host = &deployment.host;
    host.ok("recovery review recovery-runbook plan.pdf");
    let published = host.ok("recovery publish");
    assert!(published.starts_with("published   1\nentries     1\nhead        "), "{published}");
    assert!(host.ok("recovery publish").starts_with("published   0\nentries     1\n"));

    // Somebody else has it to the byte, and goes on.
    let fetched = deployment.json("recovery fetch --register other.jsonl");
    assert_eq!((&fetched["moved"], &fetched["entries"]), (&1.into(), &1.into()));
    assert_eq!(bytes(&deployment, "other.jsonl"), bytes(&deployment, OWN));
    host.ok("recovery review continuity-plan plan.pdf --register other.jsonl");
    let published = deployment.json("recovery publish --register other.jsonl");
    assert_eq!((&published["moved"], &published["entries"]), (&1.into(), &2.into()));
    // The first one is behind now. Nothing of it takes anything back.
    let said = host.fails("recovery publish", 3);
    assert!(said.contains("the server has 2 entries, and this register 1 of them"), "{said}");
    assert_eq!(deployment.json("recovery fetch")["head"], published["head"]);
    assert_eq!(bytes(&deployment, OWN), bytes(&deployment, "other.jsonl"));
    assert!(host.ok("recovery fetch").starts_with("fetched     0\nentries     2\n"));
    // What is not published yet is not lost by fetching.
    host.ok("recovery review recovery-runbook plan.pdf");
    assert!(host.ok("recovery fetch").starts_with("fetched     0\nentries     3\n"));
    assert!(host.ok("recovery publish").starts_with("published   1\nentries     3\n"));
}

#[test]
fn who_published_first_goes_before_and_the_other_is_told_where_they_part() {
    let (deployment, _office) = house();
    let host = &deployment.host;
    host.ok("recovery review recovery-runbook plan.pdf");
    fs::copy(host.path(OWN), host.path("other.jsonl")).unwrap();
    host.ok("recovery review continuity-plan plan.pdf");
    fs::write(host.path("new.pdf"), "what we will do").unwrap();
    host.ok("recovery review continuity-plan new.pdf --register other.jsonl");
    host.ok("recovery review recovery-runbook new.pdf --register other.jsonl");
    let (own, other) = (bytes(&deployment, OWN), bytes(&deployment, "other.jsonl"));
    let published = deployment.json("recovery publish");
    for command in ["publish", "fetch"] {
        let said = host.fails(&format!("recovery {command} --register other.jsonl"), 3);
        assert!(said.contains("entry 2 is of erin at ") && said.contains(" here, and of erin at "), "{said}");
        assert!(said.contains("put this file aside"), "{said}");
        assert!(said.contains(published["head"].as_str().unwrap()), "{said}");
    }
    assert_eq!((bytes(&deployment, OWN), bytes(&deployment, "other.jsonl")), (own.clone(), other));
    // As it says: aside, fetch, enter anew.
    fs::rename(host.path("other.jsonl"), host.path("aside.jsonl")).unwrap();
    host.ok("recovery fetch --register other.jsonl");
    assert_eq!(bytes(&deployment, "other.jsonl"), own);
    host.ok("recovery review recovery-runbook new.pdf --register other.jsonl");
    assert!(host.ok("recovery publish --register other.jsonl").starts_with("published   1\nentries     3\n"));
}

#[test]
fn a_long_register_goes_in_parts_and_comes_in_pages() {
    let (deployment, _office) = house();
    let host = &deployment.host;
    let register = written(&deployment, &host.path("long.jsonl"), api::ENTRIES_LIMIT + 5);
    let published = deployment.json("recovery publish --register long.jsonl");
    assert_eq!(published["moved"], api::ENTRIES_LIMIT + 5);
    assert_eq!(published["head"], register.head().to_string());
    host.ok("recovery fetch");
    assert_eq!(bytes(&deployment, OWN), bytes(&deployment, "long.jsonl"));
}

#[test]
fn what_the_server_shows_is_verified() {
    let (deployment, office) = house();
    let host = &deployment.host;
    // Somebody with the database, and no key.
    written(&deployment, &host.path("forged.jsonl"), 1);
    let mut line: Value = serde_json::from_slice(&bytes(&deployment, "forged.jsonl")).unwrap();
    line["entry"]["what"]["reviewed"]["document"] = "recovery-runbook".into();
    let change = RecordChange {
        kind: RecordKind::RecoveryEntry,
        id: "1".into(),
        expect: 0,
        state: "entered".into(),
        client: None,
        external_id: None,
        at: now(),
        body: line,
    };
    office.commit(Posting { transfers: vec![], records: vec![change] });
    let said = host.fails("recovery fetch", 5);
    assert!(
        said.contains("the register of the server: entry 1: the signature of alice does not verify"),
        "{said}"
    );
    assert!(!host.path(OWN).exists());
    host.ok("recovery review recovery-runbook plan.pdf");
    let said = host.fails("recovery publish", 4);
    assert!(said.contains("(recovery.unreadable)"), "{said}");
}

#[test]
fn a_server_without_books_keeps_no_register() {
    let deployment = Deployment::new();
    for command in ["publish", "fetch"] {
        let said = deployment.host.fails(&format!("recovery {command}"), 3);
        assert!(said.contains("this server keeps no books"), "{said}");
        let said = deployment.host.fails(&format!("recovery {command} --offline"), 2);
        assert!(said.contains("leave out --offline"), "{said}");
    }
}
