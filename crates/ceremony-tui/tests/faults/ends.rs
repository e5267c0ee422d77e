//! Ceremonies that end early, and go on or do not.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use ceremony::files::SealedShares;
use ceremony::record;
use ceremony::run::Outcome;
use ceremony::script::{Afterwards, Kind};
use ceremony_tui::rehearsal::{Asked, Left, Table};
use custody::canon;

use crate::common::Room;
use crate::{aborted, children, is_alive, noted, nothing, program, said};

/// Where people give up: a step, and a question of it; from the first one on there are secrets.
const PHASES: [(&str, &str, bool); 11] = [
    ("compare-script", "digits-script", false),
    ("inspect", "findings", false),
    ("entropy-dice", "entropy-dice", true),
    ("print-1.1", "alone", true),
    ("print-1.1", "seen-1.1", true),
    ("read-back-paper-1.2", "words-1.2", true),
    ("write-1.1", "path", true),
    ("seal-1.3", "seal", true),
    ("hand-over-s1", "courier", false),
    ("close-report", "report", false),
    ("sign-bob", "passphrase-bob", false),
];

#[test]
fn whenever_people_give_up_there_is_a_report_and_no_worker() {
    let room = Room::new();
    let table = room.table();
    for (number, (step, id, secret)) in (0..).zip(PHASES) {
        let script = table.script(Kind::Generation, None).unwrap();
        let why = format!("given up in {step} at {id}");
        let (mut given_up, mut workers) = (false, BTreeSet::new());
        let mut twist = |asked: &Asked<'_>| {
            if given_up {
                assert!(children(asked.process).is_empty(), "{why}: a worker at {}", asked.id);
                return None;
            }
            given_up = (asked.step, asked.id) == (step, id);
            workers.extend(children(asked.process));
            given_up.then(|| format!("!abort {why}"))
        };
        let left =
            table.play(program(), &format!("given-up-{number}"), script, &nothing(), &mut twist).unwrap();
        aborted(&room, &left, &why);
        assert_eq!(workers.is_empty(), !secret && !after_secrets(step), "{why}: {workers:?}");
        assert!(workers.into_iter().all(|worker| !is_alive(worker)), "{why}");
    }
}

fn after_secrets(step: &str) -> bool {
    step.starts_with("hand-over") || step.starts_with("sign") || step == "close-report"
}

#[test]
fn who_gives_up_without_a_reason_is_asked_for_one() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let mut twist = |asked: &Asked<'_>| match (asked.step, asked.id) {
        ("compare-script", "digits-script") => Some("!abort".into()),
        (_, "abort-reason") => Some("the wrong room".into()),
        _ => None,
    };
    let left = table.play(program(), "reason", script, &nothing(), &mut twist).unwrap();
    aborted(&room, &left, "the wrong room");
}

#[test]
fn a_worker_that_is_killed_ends_the_ceremony_with_a_report() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let mut killed = Vec::new();
    let mut twist = |asked: &Asked<'_>| {
        if (asked.step, asked.id) == ("read-back-paper-1.1", "how") {
            killed = children(asked.process);
            let all: Vec<String> = killed.iter().map(u32::to_string).collect();
            assert!(Command::new("kill").arg("-9").args(all).status().unwrap().success());
        }
        None
    };
    let left = table.play(program(), "killed", script, &nothing(), &mut twist).unwrap();
    assert_eq!(killed.len(), 1);
    aborted(&room, &left, "the secret half of the ceremony does not answer");
}

/// A component that was to be destroyed, of which nothing is left when people give up, cannot go back under a seal.
#[test]
fn what_was_destroyed_before_people_gave_up_is_not_put_back_and_the_new_set_stays() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let made = table.hold(program(), "generation", script, &nothing()).unwrap();
    let held = || made.held(&["1.1", "1.2", "1.3"], Afterwards::Destroyed).unwrap();
    let script = || table.script(Kind::Components, Some(held())).unwrap();

    let mut fates = Vec::new();
    let mut twist = |asked: &Asked<'_>| match (asked.step, asked.id) {
        ("retire-1.1", "destroyed") => Some("!abort the shredder burns".into()),
        (step, "fate") => {
            fates.push(step.to_owned());
            // The others are whole, and go back under seals.
            (step == "return-1.1").then(|| "destroyed".into())
        }
        _ => None,
    };
    let left = table.play(program(), "burning", script(), &made.sheets, &mut twist).unwrap();
    assert_eq!(fates, ["return-1.1", "return-1.2", "return-1.3"]);
    aborted(&room, &left, "the shredder burns");
    let report = left.report().unwrap().report;
    let outcome =
        |id: &str| report.operations().find(|(_, step, _)| *step == id).map(|(.., outcome)| outcome);
    assert_eq!(outcome("return-1.1"), Some(&Outcome::Destroyed));
    for id in ["return-1.2", "return-1.3"] {
        assert!(matches!(outcome(id), Some(Outcome::Sealed { .. })), "{id}");
    }
    assert_eq!(report.components.len(), 3, "the new set is all there is");
    assert_eq!(report.script.components, script().components);

    // While the old set is whole its components go back, and nothing else.
    let mut twist = |asked: &Asked<'_>| {
        assert_ne!(asked.id, "fate");
        ((asked.step, asked.id) == ("seal-1.3", "seal")).then(|| "!abort too late today".into())
    };
    let left = table.play(program(), "early", script(), &made.sheets, &mut twist).unwrap();
    aborted(&room, &left, "too late today");
    assert!(left.report().unwrap().report.components.is_empty());
}

/// Interrupts where `at` says.
fn interrupted(table: &Table, name: &str, at: (&str, &str)) -> Left {
    let script = table.script(Kind::Generation, None).unwrap();
    let mut twist = |asked: &Asked<'_>| ((asked.step, asked.id) == at).then(|| "!pause".to_owned());
    let left = table.play(program(), name, script, &nothing(), &mut twist).unwrap();
    assert_eq!(left.code, Some(4), "{}", left.error);
    assert!(left.error.contains(&noted(&left)), "{}", left.error);
    left
}

/// What a whole ceremony leaves is there, and sound.
fn complete(room: &Room, left: &Left) {
    assert_eq!(left.code, Some(0), "{}", left.error);
    let signed = record::parse(&fs::read(left.out.join("record.json")).unwrap()).unwrap();
    assert_eq!(record::check(&signed, &room.genesis).unwrap().len(), 3);
    let shares: SealedShares = canon::decode(&fs::read(left.out.join("shares.json")).unwrap()).unwrap();
    assert_eq!(shares.ceremony, signed.id(&room.genesis.hash()));
    assert!(!left.out.join("sealed.json").exists());
}

#[test]
fn an_interrupted_ceremony_begins_its_secrets_anew_and_only_with_the_hash_on_paper() {
    let room = Room::new();
    let table = room.table();
    let left = interrupted(&table, "paused", ("print-1.2", "alone"));
    let (hash, run) = (noted(&left), left.out.join("run.json"));
    let (first, ident) = (left.sheets.clone(), left.out.clone());

    let saved = fs::read(&run).unwrap();
    let text = String::from_utf8(saved.clone()).unwrap();
    // Some words of a share are also words of the script: two neighbours of it in a row are of the share alone.
    let words: Vec<&str> = left.sheets["1.1"].1.split(' ').collect();
    assert!(words.len() >= 20, "{} words", words.len());
    for pair in words.windows(2) {
        assert!(!text.contains(&pair.join(" ")), "words of a share are in the file of the run");
    }
    let resume =
        |hash: &str, left: Left| table.resume(program(), "paused", hash, left, &mut |_| None).unwrap();
    let again =
        || Left { out: ident.clone(), script: left.script.clone(), sheets: first.clone(), ..blank(&left) };
    let left_wrong = resume(&"0".repeat(64), again());
    assert!(left_wrong.code == Some(3) && left_wrong.error.contains("as was noted"), "{}", left_wrong.error);
    fs::write(&run, [saved.as_slice(), b" "].concat()).unwrap();
    let changed = resume(&hash, again());
    assert!(changed.code == Some(3) && changed.error.contains("somebody changed it"), "{}", changed.error);
    fs::write(&run, saved).unwrap();

    let whole = resume(&hash, again());
    complete(&room, &whole);
    let report = whole.report().unwrap().report;
    let done: Vec<String> = report.operations().map(|(_, step, _)| step.to_owned()).collect();
    assert!(done.contains(&"void-1.1".to_owned()), "{done:?}");
    assert_ne!(whole.sheets["1.1"].1, first["1.1"].1, "another secret");
}

fn blank(of: &Left) -> Left {
    Left {
        out: of.out.clone(),
        script: of.script.clone(),
        sheets: nothing(),
        steps: 0,
        deviations: 0,
        said: Vec::new(),
        hints: Vec::new(),
        codes: Vec::new(),
        code: None,
        error: String::new(),
    }
}

#[test]
fn an_interruption_after_the_secrets_loses_nothing() {
    let room = Room::new();
    let table = room.table();
    for (name, at) in
        [("handing", ("hand-over-s2", "courier")), ("signing", ("sign-carol", "passphrase-carol"))]
    {
        let left = interrupted(&table, name, at);
        assert!(left.out.join("sealed.json").exists());
        let hash = noted(&left);
        // The medium is not read at first: what is on it stays.
        let (kept, aside) = (left.out.join("sealed.json"), room.path("aside"));
        fs::rename(&kept, &aside).unwrap();
        let mut twist = |asked: &Asked<'_>| {
            (asked.id == "kept").then(|| {
                fs::rename(&aside, &kept).unwrap();
                "again".to_owned()
            })
        };
        let whole = table.resume(program(), name, &hash, left, &mut twist).unwrap();
        assert!(!aside.exists(), "nobody was asked");
        complete(&room, &whole);
    }
}

#[test]
fn sealed_shares_that_were_changed_meanwhile_are_not_used() {
    let room = Room::new();
    let table = room.table();
    let left = interrupted(&table, "changed", ("hand-over-s2", "courier"));
    let (hash, kept) = (noted(&left), left.out.join("sealed.json"));
    let text = fs::read_to_string(&kept).unwrap();
    // Another commitment: the accounts stay the same, and the shares would not fit.
    let at = text.find("\"commitments\":[\"").unwrap() + 100;
    let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    fs::write(&kept, [&text[..at], other, &text[at + 1..]].concat()).unwrap();
    let mut asked_for_kept = 0;
    let mut twist = |asked: &Asked<'_>| {
        (asked.id == "kept").then(|| {
            assert!(kept.exists(), "nobody said that it is lost");
            asked_for_kept += 1;
            if asked_for_kept == 1 { "again".to_owned() } else { "lost".to_owned() }
        })
    };
    let left = table.resume(program(), "changed", &hash, left, &mut twist).unwrap();
    assert_eq!(asked_for_kept, 2);
    assert!(said(&left, "it is not of the saved run"), "{:?}", left.said);
    aborted(&room, &left, "were lost or changed");
}

#[test]
fn a_disk_that_fails_is_mended_and_written_again() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let (out, aside) = (room.path("table/disk"), room.path("aside"));
    let mut asked_for_disk = 0;
    let mut twist = |asked: &Asked<'_>| {
        match (asked.step, asked.id) {
            // The medium of the results is pulled out, once amid the secrets and once at the end.
            ("seal-1.1", "seal") | ("sign-walter", "passphrase-walter") => fs::rename(&out, &aside).unwrap(),
            (_, "disk") => {
                asked_for_disk += 1;
                fs::rename(&aside, &out).unwrap();
                return Some("again".into());
            }
            _ => {}
        }
        None
    };
    let left = table.play(program(), "disk", script, &nothing(), &mut twist).unwrap();
    assert_eq!(asked_for_disk, 2);
    assert!(said(&left, "choose another place, or make room"));
    complete(&room, &left);
}
