//! The golden export of a log and its keys file: verified by the built program, and by nothing but what
//! stands in the two.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use custody::genesis::Genesis;
use evidence::tiles::{read_export, write_export};
use evidence::{LogKeys, verify_log};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/log-export")
}

/// The files below a directory, by their relative paths.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn write_all(directory: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn verify(export: &Path, keys: &Path) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_keyward"));
    program.args(["log", "verify"]).arg(export).arg("--keys").arg(keys).env_clear();
    program.output().unwrap()
}

#[test]
fn the_golden_export_verifies() {
    let (export, keys) = (golden().join("export"), golden().join("keys"));
    let output = verify(&export, &keys);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.ends_with("verified\n"), "{text}");
    let keys = LogKeys::parse(&fs::read_to_string(keys).unwrap()).unwrap();
    let log = verify_log(&export, &keys, None).unwrap();
    assert_eq!(log.state.authorisations().len(), 1);
}

#[test]
fn the_golden_files_are_written_so() {
    let (export, keys) = (golden().join("export"), golden().join("keys"));
    let read = read_export(&export).unwrap();
    let again = tempfile::tempdir().unwrap();
    write_export(again.path(), &read.entries, &read.note, &read.genesis).unwrap();
    assert_eq!(files(again.path()), files(&export));
    let genesis = Genesis::parse(&read.genesis).unwrap();
    let text = fs::read_to_string(keys).unwrap();
    assert_eq!(LogKeys::of_genesis(&genesis).unwrap().to_text(), text);
    assert_eq!(LogKeys::parse(&text).unwrap().to_text(), text);
}

#[test]
fn the_golden_export_does_not_verify_when_altered_or_cut() {
    let golden_files = files(&golden().join("export"));
    assert_eq!(golden_files.len(), 4);
    let (keys, place) = (golden().join("keys"), tempfile::tempdir().unwrap());
    let keys = LogKeys::parse(&fs::read_to_string(keys).unwrap()).unwrap();
    write_all(place.path(), &golden_files);
    verify_log(place.path(), &keys, None).unwrap();
    for (path, bytes) in &golden_files {
        let file = place.path().join(path);
        for at in (0..bytes.len()).step_by(bytes.len() / 20) {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            fs::write(&file, &altered).unwrap();
            assert!(verify_log(place.path(), &keys, None).is_err(), "{} byte {at}", path.display());
        }
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert!(verify_log(place.path(), &keys, None).is_err(), "{} cut", path.display());
        fs::remove_file(&file).unwrap();
        assert!(verify_log(place.path(), &keys, None).is_err(), "{} gone", path.display());
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn golden_keys_are_read_strictly() {
    let text = fs::read_to_string(golden().join("keys")).unwrap();
    let export = golden().join("export");
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    // Well-formed files that are not the keys of this log.
    let fewer = joined(&[&lines[..1], &lines[2..]].concat());
    let lower = text.replace("quorum 3", "quorum 2");
    let elsewhere = text.replacen("origin ", "origin x", 1);
    for other in [fewer, lower, elsewhere] {
        let keys = LogKeys::parse(&other).unwrap();
        assert!(verify_log(&export, &keys, None).is_err(), "{other}");
    }
    // Files of another form.
    let twice = joined(&[lines.as_slice(), &[lines[1]]].concat());
    let headless = joined(&lines[1..]);
    let endless = joined(&lines[..lines.len() - 1]);
    let many = text.replace("quorum 3", "quorum 5");
    let none = text.replace("quorum 3", "quorum 0");
    let letter = if lines[1].ends_with('A') { "B" } else { "A" };
    let changed = text.replacen(lines[1], &format!("{}{letter}", &lines[1][..lines[1].len() - 1]), 1);
    for other in [twice, headless, endless, many, none, changed] {
        assert!(LogKeys::parse(&other).is_err(), "{other}");
    }
}
