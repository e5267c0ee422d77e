//! The program as people use it, line by line: whole ceremonies of every kind.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use ceremony::component::{Challenge, Component, verify as verify_answer};
use ceremony::files::SealedShares;
use ceremony::record;
use ceremony::report::{Against, Verified, verify};
use ceremony::script::{Afterwards, Kind, Medium};
use ceremony::slip39::Mnemonic;
use ceremony_tui::rehearsal::{Left, Table};
use common::{Room, program};
use custody::document::CeremonyRecord;
use custody::{Blob, Hash, canon};
use rand_core::OsRng;

/// What every ceremony that deals shares leaves.
fn dealt(room: &Room, left: &Left) -> (CeremonyRecord, Verified) {
    let read = |name: &str| fs::read(left.out.join(name)).unwrap();
    let signed = record::parse(&read("record.json")).unwrap();
    let people = record::check(&signed, &room.genesis).unwrap();
    assert_eq!(people.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["alice", "bob", "carol"]);
    let against =
        Against { genesis: Some(&room.genesis), script: Some(left.script.hash()), record: Some(&signed) };
    let verified = verify(&read("report.json"), &against).unwrap();
    assert_eq!(verified.signers.len(), 6);
    assert_eq!(signed.recovery.as_ref().unwrap().report, verified.hash);
    let shares: SealedShares = canon::decode(&read("shares.json")).unwrap();
    assert_eq!((shares.shares.len(), shares.ceremony), (6, signed.id(&room.genesis.hash())));
    assert!(read("report.pdf").starts_with(b"%PDF-"));
    (signed, verified)
}

/// What a ceremony leaves that deals none: a report, and no record.
fn reported(room: &Room, left: &Left) {
    let against = Against { genesis: Some(&room.genesis), script: Some(left.script.hash()), record: None };
    let verified = verify(&fs::read(left.out.join("report.json")).unwrap(), &against).unwrap();
    assert_eq!(verified.signers.len(), 6);
    let mut files: Vec<_> = fs::read_dir(&left.out).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["report.json", "report.pdf", "run.json"]);
}

fn generation(table: &Table) -> Left {
    let script = table.script(Kind::Generation, None).unwrap();
    table.hold(program(), "generation", script, &BTreeMap::new()).unwrap()
}

#[test]
fn a_generation_from_the_script_to_the_record() {
    let room = Room::new();
    let left = generation(&room.table());
    assert_eq!(left.sheets.len(), 3);
    dealt(&room, &left);
}

/// The whole life of a secret: made, shown to be recoverable, given new components, recovered from these.
#[test]
fn a_drill_new_components_and_a_recovery_from_these() {
    let room = Room::new();
    let table = room.table();
    let made = generation(&table);
    let accounts =
        |record: &CeremonyRecord| record.slots.iter().map(|slot| slot.account.clone()).collect::<Vec<_>>();
    let (first, _) = dealt(&room, &made);

    // Put back under new seals: the later scripts still name the old ones, as nobody told them.
    let held = made.held(&["1.1", "1.3"], Afterwards::Returned).unwrap();
    let script = table.script(Kind::Drill, Some(held)).unwrap();
    // What the script says of the components is compared with the report of the ceremony that made them.
    let mut bare = table.arguments("bare", &script);
    let at = bare.iter().position(|word| word == "--earlier").expect("the report lies on the table");
    bare.drain(at..at + 4);
    fs::write(room.path("bare.json"), script.bytes()).unwrap();
    let mut command = Command::new(program());
    command.arg("run").arg("--script").arg(room.path("bare.json")).args(bare).args(["--front", "plain"]);
    let refused = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--earlier"));
    let drill = table.hold(program(), "drill", script, &made.sheets).unwrap();
    reported(&room, &drill);
    let restored = drill.report().unwrap().report;
    assert_eq!(
        restored.accounts.iter().map(|made| made.account.clone()).collect::<Vec<_>>(),
        accounts(&first)
    );
    assert_eq!(restored.components, []);

    let held = made.held(&["1.1", "1.2", "1.3"], Afterwards::Destroyed).unwrap();
    let script = table.script(Kind::Components, Some(held)).unwrap();
    let anew = table.hold(program(), "components", script, &made.sheets).unwrap();
    reported(&room, &anew);
    let components = anew.report().unwrap().report.components;
    assert_eq!(components.len(), 3);
    for id in ["1.1", "1.2", "1.3"] {
        assert_ne!(anew.sheets[id].1, made.sheets[id].1, "another splitting");
    }

    let held = anew.held(&["1.2", "1.3"], Afterwards::Returned).unwrap();
    let script = table.script(Kind::Recovery, Some(held)).unwrap();
    // From the file of one, and the words of the other.
    let file = |holder: &str| {
        let files = fs::read_dir(room.path("table").join(holder)).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "age")).collect();
        files.sort_by_key(|file| fs::metadata(file).unwrap().modified().unwrap());
        files.pop().unwrap().display().to_string()
    };
    let (newest, mut from_file) = (file("dora"), 0);
    let recovered = table
        .play(program(), "recovery", script, &anew.sheets, &mut |asked| match (asked.step, asked.id) {
            ("enter-1.2", "medium") => Some("file".into()),
            ("enter-1.2", "file") => {
                from_file += 1;
                Some(newest.clone())
            }
            _ => None,
        })
        .unwrap();
    assert_eq!((recovered.code, from_file), (Some(0), 1), "{}", recovered.error);
    let (second, _) = dealt(&room, &recovered);
    assert_eq!(accounts(&second), accounts(&first), "the same addresses");
    assert_ne!(second.slots, first.slots, "other shares");
}

/// Somebody objects after two people have signed: what they signed puts no key into use.
#[test]
fn a_ceremony_that_was_given_up_at_its_end_leaves_no_signed_record() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let mut seen = Vec::new();
    let out = room.path("table").join("given-up");
    let left = table
        .play(program(), "given-up", script, &BTreeMap::new(), &mut |asked| {
            // Once given up, carol signs the report about that.
            (seen.is_empty() && asked.id == "passphrase-carol").then(|| {
                seen.extend(fs::read(out.join("sealed.json")).unwrap());
                "!abort carol objects".into()
            })
        })
        .unwrap();
    assert_eq!(left.code, Some(3), "{}", left.error);
    let kept = String::from_utf8(seen).unwrap();
    assert!(kept.contains("\"participants\":[]"), "{kept}");
    assert_eq!(kept.matches("\"signature\"").count(), 0, "alice and bob signed the report, not the record");
    assert!(!left.out.join("record.json").exists() && !left.out.join("sealed.json").exists());
    assert_eq!(left.report().unwrap().report.status, ceremony::run::Status::Aborted);
}

/// A holder shows that a component is whole, and keeps it to themselves (DACS REC-09).
#[test]
fn a_holder_answers_a_challenge_with_the_words_alone() {
    let room = Room::new();
    let made = generation(&room.table());
    let (holder, words) = &made.sheets["1.2"];
    let component = Component::new(Mnemonic::parse(words).unwrap());
    let place = (component.set(), component.id());
    let challenge = Challenge::new(
        Hash([3; 32]),
        place,
        Medium::Paper,
        (1_800_000_000, fixtures::name(holder)),
        &mut OsRng,
    );
    let bytes = challenge.to_bytes().unwrap();
    fs::write(room.path("challenge.json"), &bytes).unwrap();
    let answer = |words: &str, out: &str| {
        let mut command = Command::new(program());
        command.arg("answer").arg(room.path("challenge.json")).arg("--out").arg(room.path(out));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{words}").unwrap();
        child.wait_with_output().unwrap()
    };
    let done = answer(words, "answer.json");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = [fs::read(room.path("answer.json")).unwrap(), done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!words.split(' ').any(|word| said.contains(&format!(" {word} "))), "{said}");
    let read: serde_json::Value =
        serde_json::from_slice(&fs::read(room.path("answer.json")).unwrap()).unwrap();
    let signature: Blob = serde_json::from_value(read["signature"].clone()).unwrap();
    assert!(verify_answer(&component.health_public(), &challenge, &signature.0));
    assert_eq!(read["challenge"], Hash::sha256(&bytes).to_string());
    // Another component, and no component: refused, and nothing is written.
    for wrong in [&made.sheets["1.1"].1, "academic"] {
        assert_eq!(answer(wrong, "wrong.json").status.code(), Some(3));
        assert!(!room.path("wrong.json").exists());
    }
}
