//! The program as people use it.

mod common;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ceremony::files::SealedShares;
use common::{Random, device, opened, shows};
use custody::document::Document;
use custody::genesis::Genesis;
use custody::{Hash, canon};
use keys::device::DeviceKey;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_keyward-ceremony");

/// A table with genesis and key files on it.
struct Table {
    directory: TempDir,
    genesis: Genesis,
}

impl Table {
    fn new() -> Self {
        let table = Self { directory: TempDir::new().unwrap(), genesis: fixtures::genesis() };
        fs::write(table.path("genesis.json"), table.genesis.bytes()).unwrap();
        for who in ["alice", "bob"] {
            table.key_file(who, &device(who));
        }
        table
    }

    fn key_file(&self, who: &str, key: &DeviceKey) {
        let file = key.to_file(&passphrase(who), &mut Random::new(1)).unwrap();
        fs::write(self.path(who), file).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.directory.path()).args(words.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program with these words and this on its standard input.
    fn run(&self, words: &str, input: &str) -> Output {
        let mut child = self.command(words).spawn().unwrap();
        // A program that refuses before it reads has closed the pipe, which is no failure here.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn hash(&self) -> String {
        self.genesis.hash().to_string()
    }

    fn generate(&self, rest: &str, input: &str) -> Output {
        let words = format!("generate --genesis genesis.json --genesis-hash {} {rest}", self.hash());
        self.run(&words, input)
    }

    fn good(&self) -> Output {
        let rest = "--out out --accounts 2 --participant alice --participant bob --passphrase-fd 0";
        self.generate(rest, &both())
    }

    /// What lies on the table.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn passphrase(who: &str) -> String {
    format!("the words of {who}")
}

fn both() -> String {
    format!("{}\n{}\n", passphrase("alice"), passphrase("bob"))
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// The run ended with this exit code, said `why` on standard error, and nothing on standard output.
#[track_caller]
fn refused(output: &Output, code: i32, why: &str) {
    let said = text(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(why), "{said}");
    assert!(output.stdout.is_empty(), "{said}");
}

fn files(directory: &Path) -> (Vec<u8>, Vec<u8>) {
    (fs::read(directory.join("record.json")).unwrap(), fs::read(directory.join("shares.json")).unwrap())
}

#[test]
fn a_ceremony_from_its_first_word_to_its_files() {
    let table = Table::new();
    let output = table.good();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let out = table.path("out");
    let (record_bytes, shares_bytes) = files(&out);
    let record = ceremony::record::parse(&record_bytes).unwrap();
    let sealed: SealedShares = canon::decode(&shares_bytes).unwrap();
    let id = record.id(&table.genesis.hash()).to_string();
    let program = Hash::sha256(&fs::read(PROGRAM).unwrap());
    assert_eq!(record.program, program);
    assert_eq!(sealed.ceremony.to_string(), id);
    let memory = format!("memory     {}", keys::locked::mechanism().unwrap());
    for line in [
        format!("genesis    {}", table.hash()),
        format!("ceremony   {id}"),
        "accounts   2".into(),
        "holders    s1, s2, s3, of whom any 2 sign".into(),
        "people     alice, bob: their signatures verify".into(),
        format!("program    {program}"),
        "verified   6 sets of 2 holders signed".into(),
        memory,
        "written    out/record.json, out/shares.json".into(),
    ] {
        assert!(said.contains(&line), "{line:?} is missing in:\n{said}");
    }
    // Each share opens for its holder, and none stands in a file or in what was said.
    let shares = opened(&record, &sealed);
    assert_eq!(shares.len(), 6);
    for (share, _) in &shares {
        for place in [said.as_bytes(), &record_bytes, &shares_bytes] {
            assert!(!shows(place, share.expose()));
        }
    }
    for who in ["alice", "bob"] {
        assert!(!said.contains(&passphrase(who)));
    }
    assert_eq!(table.names(), ["alice", "bob", "genesis.json", "out"]);
    // Two ceremonies by the same people are two ceremonies.
    fs::rename(&out, table.path("first")).unwrap();
    assert!(table.good().status.success());
    let (second, _) = files(&out);
    assert_ne!(ceremony::record::parse(&second).unwrap().slots[0], record.slots[0]);
}

#[test]
fn show_verifies_what_it_shows() {
    let table = Table::new();
    assert!(table.good().status.success());
    let (bytes, _) = files(&table.path("out"));
    let mut record = ceremony::record::parse(&bytes).unwrap();
    let shown = table.run("show out/record.json --genesis genesis.json --genesis-hash", "");
    refused(&shown, 2, "--genesis-hash needs a value");
    let show = |file: &str| {
        table.run(&format!("show {file} --genesis genesis.json --genesis-hash {}", table.hash()), "")
    };
    let shown = show("out/record.json");
    let said = text(&shown);
    assert!(shown.status.success(), "{said}");
    for line in [
        format!("ceremony   {}", record.id(&table.genesis.hash())),
        "people     alice, bob: their signatures verify".into(),
        format!("account    m/86'/1'/1'  {}", hex::encode(&record.slots[1].account.public.0)),
    ] {
        assert!(said.contains(&line), "{line:?} is missing in:\n{said}");
    }
    record.entropy = "\u{1b}[2Jdice".into();
    fs::write(table.path("altered.json"), canon::encode(&Document::Ceremony(record)).unwrap()).unwrap();
    refused(&show("altered.json"), 5, "the signature of alice does not verify");
    refused(&show("genesis.json"), 5, "not a ceremony record");
    refused(&show("nowhere.json"), 1, "nowhere.json");
}

#[test]
fn the_wrong_genesis_stops_it() {
    let table = Table::new();
    let rest = "--out out --participant alice --participant bob --passphrase-fd 0";
    let wrong = table.hash().replace(|c: char| c.is_ascii_digit(), "0");
    let output =
        table.run(&format!("generate --genesis genesis.json --genesis-hash {wrong} {rest}"), &both());
    refused(&output, 3, &format!("has hash {}, and not {wrong}", table.hash()));
    // Without the hash somebody must be there to compare it.
    let output = table.run(&format!("generate --genesis genesis.json {rest}"), &both());
    refused(&output, 2, "--genesis-hash");
    // A genesis that is not sound.
    let mut value: serde_json::Value = serde_json::from_slice(&table.genesis.bytes()).unwrap();
    value["network"] = "bip122:000000000019d6689c085ae165831e93".into();
    fs::write(table.path("genesis.json"), canon::encode(&value).unwrap()).unwrap();
    refused(&table.generate(rest, &both()), 3, "only regtest");
    assert_eq!(table.names(), ["alice", "bob", "genesis.json"]);
}

#[test]
fn nothing_is_overwritten() {
    let table = Table::new();
    fs::create_dir(table.path("out")).unwrap();
    assert!(table.good().status.success(), "an empty directory is free");
    let before = files(&table.path("out"));
    refused(&table.good(), 3, "out exists already: name a new directory");
    assert_eq!(files(&table.path("out")), before);
    fs::remove_dir_all(table.path("out")).unwrap();
    fs::write(table.path("out"), "mine").unwrap();
    refused(&table.good(), 3, "out exists already");
    assert_eq!(fs::read(table.path("out")).unwrap(), b"mine");
    assert_eq!(table.names(), ["alice", "bob", "genesis.json", "out"]);
}

#[test]
fn people_and_their_passphrases() {
    let table = Table::new();
    table.key_file("eve", &DeviceKey::generate(&mut Random::new(5)));
    let tries = |people: &[&str], input: &str| {
        let people: String = people.iter().map(|who| format!(" --participant {who}")).collect();
        table.generate(&format!("--out out --accounts 1{people} --passphrase-fd 0"), input)
    };
    let [alice, bob] = ["alice", "bob"].map(passphrase);
    refused(&tries(&[], ""), 3, "at least 2 people");
    refused(&tries(&["alice"], &alice), 3, "at least 2 people");
    refused(&tries(&["alice", "alice"], &format!("{alice}\n{alice}")), 3, "alice is named twice");
    refused(&tries(&["alice", "eve"], &format!("{alice}\nwhatever")), 3, "is of nobody in genesis");
    refused(&tries(&["alice", "genesis.json"], ""), 3, "genesis.json: not a");
    refused(&tries(&["alice", "nobody"], ""), 1, "nobody");
    refused(&tries(&["alice", "bob"], &format!("{bob}\n{alice}\n")), 3, "alice (alice): wrong passphrase");
    for lines in [alice.clone(), format!("{alice}\n{bob}\n\n"), String::new()] {
        refused(&tries(&["alice", "bob"], &lines), 2, "one passphrase on one line");
    }
    assert_eq!(table.names(), ["alice", "bob", "eve", "genesis.json"]);
    assert!(tries(&["alice", "bob"], &format!("{alice}\n{bob}")).status.success());
}

#[test]
fn calls_that_make_no_sense() {
    let table = Table::new();
    let rest = "--participant alice --participant bob --passphrase-fd 0";
    refused(&table.generate(&format!("--out out {rest} --accounts many"), &both()), 2, "takes a number");
    refused(&table.generate(&format!("--out out {rest} --accounts 0"), &both()), 3, "1 to 64");
    refused(&table.generate(&format!("--out out {rest} --accounts 65"), &both()), 3, "1 to 64");
    refused(&table.generate(rest, &both()), 2, "--out is missing");
    refused(&table.generate(&format!("--out out {rest} --seed 00"), &both()), 2, "\"--seed\" has no place");
    refused(&table.generate(&format!("--out out {rest} --out two"), &both()), 2, "--out is given twice");
    refused(&table.run("destroy", ""), 2, "no command");
    refused(&table.run("show --genesis genesis.json", ""), 2, "name the record");
    assert_eq!(table.names(), ["alice", "bob", "genesis.json"]);
    for words in ["", "--help", "generate --help"] {
        let output = table.run(words, "");
        assert!(output.status.success() && text(&output).contains("keyward-ceremony generate"));
    }
    assert!(text(&table.run("--version", "")).starts_with("keyward-ceremony 0."));
}

/// Whenever it is killed, the output is whole or absent, and whatever else it left holds nothing in the
/// clear: both files only ever hold what is sealed or public.
#[test]
fn a_killed_ceremony_leaves_all_or_nothing() {
    let table = Table::new();
    for wait_ms in [5, 300, 600, 900, 1_200] {
        let words = format!(
            "generate --genesis genesis.json --genesis-hash {} --out out --accounts 64 \
             --participant alice --participant bob --passphrase-fd 0",
            table.hash()
        );
        let mut child = table.command(&words).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(both().as_bytes());
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let out = table.path("out");
        if out.exists() {
            let (record, shares) = files(&out);
            let record = ceremony::record::parse(&record).unwrap();
            ceremony::record::check(&record, &table.genesis).unwrap();
            assert_eq!(canon::decode::<SealedShares>(&shares).unwrap().shares.len(), 64 * 3);
            fs::remove_dir_all(out).unwrap();
        }
    }
    let left = table.names().into_iter().filter(|name| !name.starts_with(".out.partial-"));
    assert_eq!(left.collect::<Vec<_>>(), ["alice", "bob", "genesis.json"]);
}
