//! What the conductor says and asks when something fails, at the first step of a ceremony.

use std::fs;

use ceremony::room::{Finding, FindingKind, Root, inspect};
use ceremony::script::{Kind, Role};

use super::*;
use crate::plain::Plain;
use crate::rehearsal::{Participant, Table};
use crate::watch::CameUp;

/// A ceremony whose people answer these lines; gives what was said.
fn held(answers: &str, then: impl FnOnce(&mut Conductor<'_>)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let genesis = fixtures::newest();
    let file = directory.path().join("genesis.json");
    fs::write(&file, genesis.bytes()).unwrap();
    let custodian = Role::KeyCustodian;
    let people = [
        ("alice", Role::Operator),
        ("bob", Role::SecurityOfficer),
        ("carol", custodian),
        ("dora", custodian),
        ("emil", custodian),
        ("walter", Role::Witness),
    ];
    let people = people.map(|(id, role)| Participant {
        id: id.into(),
        role,
        key: fixtures::public(id),
        device: PathBuf::new(),
        passphrase: String::new(),
    });
    let table = Table::new(directory.path(), people.to_vec(), &file, 2).unwrap();
    let run = Run::begin(table.script(Kind::Generation, None).unwrap(), &genesis, now()).unwrap();
    let settings = Settings {
        out: directory.path().join("out"),
        keys: Vec::new(),
        cards: Vec::new(),
        printer: Printer::None,
        paper: Paper::A4,
        program: Hash([1; 32]),
        memory: String::new(),
    };
    let mut output = Vec::new();
    let mut front = Plain::new(answers.as_bytes(), &mut output);
    then(&mut Conductor::new(run, genesis, settings, &mut front));
    String::from_utf8(output).unwrap()
}

#[test]
fn results_that_were_not_written_are_no_end() {
    let said = held("again\nwithout\n", |conductor| {
        // There is nothing to be written yet, which fails as a full disk does.
        let error = conductor.finish(None).unwrap_err().to_string();
        assert!(error.contains("the results are not written") && error.contains("resume"), "{error}");
    });
    assert_eq!(said.matches("ask disk").count(), 2, "{said}");
    assert!(!said.contains("say written"), "{said}");
}

#[test]
fn a_ceremony_goes_on_without_being_saved_if_people_say_so() {
    // There is no directory for the results.
    held("without\n", |conductor| conductor.keep().unwrap());
    held("", |conductor| {
        conductor.make_directory().unwrap();
        conductor.keep().unwrap();
    });
}

#[test]
fn who_gives_up_with_a_reason_that_cannot_be_printed_gives_up() {
    for reason in ["a\ttab", "nothing\u{200b} seen"] {
        let said = held("", |conductor| {
            conductor.give_up(reason).unwrap();
            assert_eq!(conductor.run.status(), Status::Aborting);
            let last = conductor.run.events().last().map(|event| event.what.clone());
            assert_eq!(last, Some(Happening::Aborted { reason: UNPRINTABLE.into() }));
        });
        assert!(said.contains("give the reason, in at most"), "{said}");
        assert!(said.contains("The ceremony is given up."), "{said}");
    }
    held("", |conductor| {
        conductor.give_up("the room is wet").unwrap();
        let last = conductor.run.events().last().map(|event| event.what.clone());
        assert_eq!(last, Some(Happening::Aborted { reason: "the room is wet".into() }));
    });
}

#[test]
fn what_the_watch_noticed_is_found_whatever_becomes_of_the_inspection() {
    let (gone, there) =
        (Finding::new(FindingKind::Media, "a stick"), Finding::new(FindingKind::Mount, "a disk"));
    let mut room = inspect(&Root("/nonexistent".into()), 0, Hash([0; 32]));
    room.findings = vec![there.clone()];
    let changes = vec![gone.clone(), there.clone()];
    let found = |conductor: &Conductor<'_>| {
        conductor.run.findings().iter().map(|found| found.finding.clone()).collect::<Vec<_>>()
    };
    held("", |conductor| {
        conductor.take_in(CameUp { changes: changes.clone(), room: room.clone() }).unwrap();
        assert_eq!(found(conductor), [there.clone(), gone.clone()]);
    });
    room.facts.tpm = vec!["\u{1b}[2J".into()];
    let said = held("", |conductor| {
        conductor.take_in(CameUp { changes: changes.clone(), room: room.clone() }).unwrap();
        assert_eq!(found(conductor), changes);
        assert!(!conductor.run.events().iter().any(|event| matches!(event.what, Happening::Inspected(_))));
    });
    assert!(said.starts_with("say "), "{said}");
}
