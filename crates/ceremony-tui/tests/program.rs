//! The program as people use it, line by line: whole ceremonies of every kind.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ceremony::component::{Challenge, Component, verify as verify_answer};
use ceremony::files::SealedShares;
use ceremony::record;
use ceremony::report::{Against, Verified, verify};
use ceremony::run::Outcome;
use ceremony::script::{Accounts, Afterwards, Kind, Medium, Script};
use ceremony::slip39::Mnemonic;
use ceremony_tui::handover::{Collector, Frames, Package, Receipt};
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

/// The other side, with a scanner and with a camera that misses codes and blurs one.
fn collected(room: &Room, own: &Package, codes: &[String]) {
    let collect = |out: &str, by: &str, images: &[PathBuf], lines: &[String]| {
        fs::create_dir_all(room.path(out)).unwrap();
        let mut command = Command::new(program());
        command.arg("collect").args(["--by", by, "--out"]).arg(room.path(out)).args(images);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may have all it needs before the last line.
        // A scanner of another setting sends what is no text, and loses nothing by it.
        let typed = [b"\xff\xfe\n", lines.join("\n").as_bytes()].concat();
        let _ = child.stdin.take().unwrap().write_all(&typed);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let arrived = |out: &str, by: &str| {
        let read = |name: &str| fs::read(room.path(out).join(name)).unwrap();
        assert_eq!(read("shares-s1.json"), own.bytes());
        let receipt = Receipt::parse(&read("receipt-s1.json")).unwrap();
        receipt.check(own).unwrap();
        assert_eq!(receipt.taken_by, by);
    };
    let (code, said) = collect("scanned", "Sam of s1", &[], codes);
    assert!(code == Some(0) && said.contains(&own.sha256().to_string()), "{code:?}: {said}");
    arrived("scanned", "Sam of s1");

    let mut known = Collector::default();
    let mut images = Vec::new();
    for frame in Frames::new(own).unwrap().skip(2) {
        let frame = frame.unwrap();
        let path = room.path(&format!("code-{}.png", images.len()));
        fs::write(&path, frame.png(3).unwrap()).unwrap();
        images.push(path);
        if known.text(frame.text()).unwrap().is_some() {
            break;
        }
    }
    let blurred = room.path("blurred.png");
    fs::write(&blurred, fs::read(&images[0]).unwrap().split_at(100).0).unwrap();
    // One that is not there, one that does not end, and a blurred one.
    images.splice(0..0, [room.path("no-such.png"), "/dev/zero".into(), blurred]);
    let (code, said) = collect("photographed", "Sam of s1", &images, &[]);
    for why in ["no-such.png: ", "/dev/zero: over the limit", "blurred.png: the image cannot be read"] {
        assert!(code == Some(0) && said.contains(why), "{code:?}: {said}");
    }
    arrived("photographed", "Sam of s1");

    // Too few codes, nobody who takes them, and what is there already: nothing is written.
    for (out, by, lines, wanted, why) in [
        ("few", "Sam", &codes[..1], 3, "not whole, with 1 parts so far"),
        ("nobody", " ", codes, 3, "who took it"),
        ("scanned", "Sam", codes, 1, "shares-s1.json"),
    ] {
        let (code, said) = collect(out, by, &[], lines);
        assert!(code == Some(wanted) && said.contains(why), "{out}: {code:?}: {said}");
        assert!(out == "scanned" || fs::read_dir(room.path(out)).unwrap().next().is_none(), "{out}");
    }
    arrived("scanned", "Sam of s1");
    // A receipt of before: the package is not written beside it.
    fs::create_dir(room.path("half")).unwrap();
    fs::write(room.path("half/receipt-s1.json"), b"of before").unwrap();
    let (code, said) = collect("half", "Sam", &[], codes);
    assert!(code == Some(1) && said.contains("receipt-s1.json exists already"), "{code:?}: {said}");
    assert_eq!(fs::read(room.path("half/receipt-s1.json")).unwrap(), b"of before");
    assert!(!room.path("half/shares-s1.json").exists());
}

/// No medium leaves the room for one co-signer: the codes carry what the file would.
#[test]
fn sealed_shares_are_handed_over_as_a_file_or_as_codes() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let (mut rounds, mut taken) = (0, 0);
    let left = table
        .play(program(), "codes", script, &BTreeMap::new(), &mut |asked| match (asked.step, asked.id) {
            ("hand-over-s1", "way") => Some("screen".into()),
            ("hand-over-s1", "codes") => {
                rounds += 1;
                (rounds == 1).then(|| "more".into())
            }
            // The other side had not all of it: the step comes again.
            ("hand-over-s1", "taken") => {
                taken += 1;
                (taken == 1).then(|| "no".into())
            }
            _ => None,
        })
        .unwrap();
    assert_eq!((left.code, rounds, taken), (Some(0), 3, 2), "{}", left.error);
    dealt(&room, &left);
    let all: SealedShares = canon::decode(&fs::read(left.out.join("shares.json")).unwrap()).unwrap();
    let package = |holder: &str| Package::of(&all, &fixtures::name(holder)).unwrap();
    // A round has each fragment once; what comes at "more" follows in the sequence, which then begins anew.
    let own = package("s1");
    let round = Frames::new(&own).unwrap().fragments();
    let texts = |count: usize| {
        Frames::new(&own)
            .unwrap()
            .take(count)
            .map(|frame| frame.unwrap().text().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(left.codes, [texts(2 * round), texts(round)].concat());
    collected(&room, &own, &left.codes[..round]);
    assert!(!left.out.join("shares-s1.json").exists());
    assert_eq!(fs::read(left.out.join("shares-s2.json")).unwrap(), package("s2").bytes());
    let report = left.report().unwrap().report;
    for holder in ["s1", "s2"] {
        let step = format!("hand-over-{holder}");
        let handed = report.operations().find(|(_, id, _)| **id == *step).unwrap().2;
        let expected = package(holder).sha256();
        assert!(matches!(handed, Outcome::HandedOver { sha256, .. } if *sha256 == expected), "{handed:?}");
    }
}

/// A script of components that exist begins only beside the report of the ceremony that made them.
fn bound_to_the_earlier_ceremony(room: &Room, table: &Table, script: &Script, made: &Left) {
    let refused = |script: &Script, change: &dyn Fn(&mut Vec<OsString>, usize)| {
        let mut arguments = table.arguments("refused", script);
        match arguments.iter().position(|word| word == "--earlier") {
            Some(at) => change(&mut arguments, at),
            None => change(&mut arguments, 0),
        }
        fs::write(room.path("refused.json"), script.bytes()).unwrap();
        let mut command = Command::new(program());
        command.arg("run").arg("--script").arg(room.path("refused.json")).args(arguments);
        let refused = command.args(["--front", "plain"]).stdin(Stdio::null()).output().unwrap();
        assert!(!room.path("table/refused").exists());
        (refused.status.code(), String::from_utf8(refused.stderr).unwrap())
    };
    let report = made.out.join("report.json");
    // No report; none is wanted of a generation.
    let (code, why) = refused(script, &|words, at| drop(words.drain(at..at + 4)));
    assert!(code == Some(2) && why.contains("--earlier FILE"), "{code:?}: {why}");
    let generation = &made.script;
    let (code, why) =
        refused(generation, &|words, _| words.extend(["--earlier".into(), report.clone().into_os_string()]));
    assert!(code == Some(2) && why.contains("components that exist"), "{code:?}: {why}");
    // Another component than the report lists.
    let mut other = script.clone();
    other.held.as_mut().unwrap().brought[0].health.0[0] ^= 1;
    let (code, why) = refused(&other, &|_, _| ());
    assert!(code == Some(3) && why.contains("health key of component 1.1"), "{code:?}: {why}");
    // A report that somebody changed, or of another deployment.
    let mut signed = made.report().unwrap();
    signed.report.components[0].health = other.held.as_ref().unwrap().brought[0].health;
    let changed = room.path("changed-report.json");
    fs::write(&changed, canon::encode(&signed).unwrap()).unwrap();
    let (code, why) = refused(&other, &|words, at| words[at + 1] = changed.clone().into());
    assert_eq!(code, Some(3), "{why}");
    let elsewhere = room.path("elsewhere.json");
    fs::write(&elsewhere, fixtures::genesis().bytes()).unwrap();
    let (code, why) = refused(script, &|words, at| words[at + 3] = elsewhere.clone().into());
    assert!(code == Some(3) && why.contains("genesis"), "{code:?}: {why}");
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
    bound_to_the_earlier_ceremony(&room, &table, &script, &made);
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

    // The stock of accounts ran low: the next ones of the same seed, from the same components.
    let held = anew.held(&["1.1", "1.2"], Afterwards::Returned).unwrap();
    let dealt_before = u32::try_from(first.slots.len()).unwrap();
    let script = Script {
        accounts: Accounts { first: dealt_before, count: 2 },
        ..table.script(Kind::Recovery, Some(held)).unwrap()
    };
    let restocked = table.hold(program(), "restock", script, &anew.sheets).unwrap();
    let (third, verified) = dealt(&room, &restocked);
    assert!(accounts(&third).iter().all(|account| !accounts(&first).contains(account)));
    let paths: Vec<_> = verified.report.accounts.iter().map(|made| made.path.clone()).collect();
    assert_eq!(paths, ["m/86'/1'/2'", "m/86'/1'/3'"]);
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
        // It may refuse before it asks for words.
        let _ = writeln!(child.stdin.take().unwrap(), "{words}");
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
    // What is there already stays.
    let again = answer(words, "challenge.json");
    let why = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(3) && why.contains("exists already"), "{why}");
    assert_eq!(fs::read(room.path("challenge.json")).unwrap(), bytes);
    // Another component, and no component: refused, and nothing is written.
    for wrong in [&made.sheets["1.1"].1, "academic"] {
        assert_eq!(answer(wrong, "wrong.json").status.code(), Some(3));
        assert!(!room.path("wrong.json").exists());
    }
}
