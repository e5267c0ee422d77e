//! What the program refuses before anything begins.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, Output};

use ceremony::script::{Kind, Script};
use ceremony_tui::rehearsal::Table;

use crate::common::{PROGRAM, Room};

fn refused(
    table: &Table,
    room: &Room,
    script: &Script,
    change: impl FnOnce(&mut Vec<OsString>),
) -> (i32, String) {
    let file = room.path("refused.json");
    fs::write(&file, script.bytes()).unwrap();
    let mut arguments: Vec<OsString> = vec!["run".into(), "--script".into(), file.into()];
    arguments.extend(table.arguments("refused", script));
    change(&mut arguments);
    let Output { status, stderr, .. } = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(!room.path("table/refused").exists());
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

fn set(arguments: &mut [OsString], option: &str, value: impl Into<OsString>) {
    let at = arguments.iter().position(|word| word == option).unwrap();
    arguments[at + 1] = value.into();
}

#[test]
fn a_printer_that_is_a_file_is_refused_and_so_is_none() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let file = room.path("printed.ps");
    fs::write(&file, b"").unwrap();
    let (code, why) = refused(&table, &room, &script, |arguments| set(arguments, "--printer", &file));
    assert!(code == 3 && why.contains("would be a component on the disk"), "{code}: {why}");
    let (code, why) = refused(&table, &room, &script, |arguments| {
        let at = arguments.iter().position(|word| word == "--printer").unwrap();
        arguments.drain(at..at + 2);
    });
    assert!(code == 2 && why.contains("--printer DEVICE"), "{code}: {why}");
}

#[test]
fn a_script_of_another_deployment_is_refused() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let genesis = script.genesis.to_string();
    let mut other = script.clone();
    other.genesis.0[0] ^= 1;
    let (code, why) = refused(&table, &room, &other, |words| set(words, "--genesis-hash", &genesis));
    assert!(code == 3 && why.contains("genesis"), "{code}: {why}");
    let other = Script { network: "bip122:000000000933ea01ad0ee984209779ba".into(), ..script.clone() };
    let (code, why) = refused(&table, &room, &other, |_| ());
    assert!(code == 3 && why.contains("network"), "{code}: {why}");
    let (code, why) = refused(&table, &room, &script, |words| set(words, "--genesis-hash", "00"));
    assert!(code == 3 && why.contains("genesis file has hash"), "{code}: {why}");
}

#[test]
fn a_script_of_a_later_format_or_with_a_space_is_refused() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let later = Script { format: "keyward/ceremony-script/v2".into(), ..script.clone() };
    let (code, why) = refused(&table, &room, &later, |_| ());
    assert!(code == 3 && why.contains("v2"), "{code}: {why}");
    let file = room.path("spaced.json");
    fs::write(&file, [script.bytes(), b" ".to_vec()].concat()).unwrap();
    let (code, why) = refused(&table, &room, &script, |words| set(words, "--script", &file));
    assert_eq!(code, 3, "{why}");
}

/// What a hostile file says is quoted, and does not write to the terminal.
#[test]
fn an_error_writes_letters_and_nothing_else() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let file = room.path("hostile.json");
    fs::write(&file, br#"{"\u001b[2Jhostile\u202e":1}"#).unwrap();
    let (code, why) = refused(&table, &room, &script, |words| set(words, "--script", &file));
    assert!(code == 3 && why.contains("[2Jhostile"), "{code}: {why:?}");
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!why.contains(bad), "{why:?}");
}

#[test]
fn results_go_to_an_empty_place_alone() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let taken = room.path("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("other"), b"").unwrap();
    let (code, why) = refused(&table, &room, &script, |words| set(words, "--out", &taken));
    assert!(code == 3 && why.contains("taken"), "{code}: {why}");
    assert_eq!(fs::read_dir(&taken).unwrap().count(), 1);
}

#[test]
fn a_screen_needs_a_terminal() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let (code, why) =
        refused(&table, &room, &script, |words| words.extend(["--front".into(), "screen".into()]));
    assert!(code == 2 && why.contains("needs a terminal"), "{code}: {why}");
}
