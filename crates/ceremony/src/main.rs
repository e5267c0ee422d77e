//! `keyward-ceremony`: holds a key ceremony on a machine without a network, and shows its record.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod arguments;

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use arguments::Arguments;
use ceremony::files::{self, RECORD_FILE, SHARES_FILE};
use ceremony::hold::{ACCOUNTS_DEFAULT, COIN_TYPE};
use ceremony::record::RecordError;
use ceremony::{CeremonyError, Plan, hold, record};
use custody::Hash;
use custody::document::CeremonyRecord;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::statement::key_id;
use keys::device::{self, DeviceKey};
use keys::locked::{LockedBytes, harden_process, mechanism};
use rand_core::OsRng;
use zeroize::Zeroizing;

const HELP: &str = "\
keyward-ceremony: makes the keys of a Keyward deployment, on a machine without a network

  keyward-ceremony generate --genesis FILE [--genesis-hash HEX] --out DIR [--accounts 16]
                            --participant KEYFILE --participant KEYFILE … [--passphrase-fd N]
      deals accounts to the co-signers of genesis and writes DIR/record.json and DIR/shares.json

  keyward-ceremony show RECORD --genesis FILE [--genesis-hash HEX]
      shows a record and verifies the signatures of the people who held the ceremony

Without --genesis-hash the hash is shown and asked about. The passphrases of the key files are read
from file descriptor N, one line for each participant in order, or asked for on the terminal.
Exit codes: 0 done, 1 the machine failed, 2 called wrongly, 3 refused, 5 a record does not verify.";

/// Where the randomness of this program comes from, for the record (DACS GEN-01).
const ENTROPY: &str = "256 bits from the generator of the operating system (getrandom(2), Linux)";

/// Longest passphrases that are read from a file descriptor, in bytes, all together.
const PASSPHRASES_LIMIT_BYTES: usize = 16_384;

/// Why the program ends early.
enum Failure {
    /// The machine failed.
    Machine(String),
    /// It was called wrongly.
    Usage(String),
    /// What it was given is refused.
    Refused(String),
    /// A record is not what it says.
    Unverified(String),
}

impl Failure {
    fn machine(error: impl Display) -> Self {
        Self::Machine(error.to_string())
    }

    fn refused(error: impl Display) -> Self {
        Self::Refused(error.to_string())
    }
}

fn main() -> ExitCode {
    let (code, why) = match run() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Machine(why)) => (1, why),
        Err(Failure::Usage(why)) => (2, why),
        Err(Failure::Refused(why)) => (3, why),
        Err(Failure::Unverified(why)) => (5, why),
    };
    eprintln!("keyward-ceremony: {why}");
    ExitCode::from(code)
}

fn run() -> Result<(), Failure> {
    harden_process().map_err(Failure::machine)?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() || words.iter().any(|word| word == "--help" || word == "help") {
        return say(HELP);
    }
    if words.iter().any(|word| word == "--version") {
        return say(&format!("keyward-ceremony {}", env!("CARGO_PKG_VERSION")));
    }
    let mut arguments = Arguments::parse(words.into_iter()).map_err(Failure::Usage)?;
    match arguments.word().as_deref() {
        Some("generate") => generate(arguments),
        Some("show") => show(arguments),
        other => Err(Failure::Usage(format!("{:?} is no command; see --help", other.unwrap_or_default()))),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::machine)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Machine(format!("{}: {error}", path.display())))
}

fn generate(mut arguments: Arguments) -> Result<(), Failure> {
    let genesis_file = PathBuf::from(arguments.need("genesis").map_err(Failure::Usage)?);
    let expected = arguments.optional("genesis-hash").map_err(Failure::Usage)?;
    let out = PathBuf::from(arguments.need("out").map_err(Failure::Usage)?);
    let accounts = arguments.optional("accounts").map_err(Failure::Usage)?;
    let accounts = accounts.map_or(Ok(ACCOUNTS_DEFAULT), |n| n.parse());
    let accounts = accounts.map_err(|_| Failure::Usage("--accounts takes a number".into()))?;
    let key_files: Vec<PathBuf> = arguments.all("participant").into_iter().map(PathBuf::from).collect();
    let descriptor = arguments.optional("passphrase-fd").map_err(Failure::Usage)?;
    arguments.finish().map_err(Failure::Usage)?;

    files::check_free(&out).map_err(Failure::refused)?;
    let genesis = read_genesis(&genesis_file, expected.as_deref())?;
    let key_files =
        key_files.into_iter().map(|path| Ok((read(&path)?, path))).collect::<Result<Vec<_>, _>>()?;
    let people = people_of(&genesis, &key_files)?;
    let keys = unlock(&people, &key_files, descriptor.as_deref())?;

    let held_at = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::machine)?.as_secs();
    // The program as it runs, also if the file on disk was replaced since it started.
    let program = Hash::sha256(&read(Path::new("/proc/self/exe"))?);
    let plan = Plan { genesis: &genesis, accounts, held_at, entropy: ENTROPY, program };
    let outcome = hold(&plan, &keys, &mut OsRng).map_err(|error| match error {
        CeremonyError::Locked(_) => Failure::machine(error),
        _ => Failure::refused(error),
    })?;
    files::write(&out, &outcome).map_err(Failure::machine)?;

    say(&summary(&outcome.record, &genesis, &people))?;
    let sets = format!("{} sets of {} holders signed", outcome.subsets, genesis.threshold);
    say(&format!("verified   {sets}, one for each way to choose them for each account"))?;
    say(&format!("memory     {}", mechanism().map_err(Failure::machine)?))?;
    let [record, shares] = [RECORD_FILE, SHARES_FILE].map(|file| out.join(file).display().to_string());
    say(&format!("written    {record}, {shares}"))
}

fn show(mut arguments: Arguments) -> Result<(), Failure> {
    let usage = || Failure::Usage("name the record to show; see --help".into());
    let path = PathBuf::from(arguments.word().ok_or_else(usage)?);
    let genesis_file = PathBuf::from(arguments.need("genesis").map_err(Failure::Usage)?);
    let expected = arguments.optional("genesis-hash").map_err(Failure::Usage)?;
    arguments.finish().map_err(Failure::Usage)?;
    let genesis = read_genesis(&genesis_file, expected.as_deref())?;
    let unverified = |error: RecordError| Failure::Unverified(error.to_string());
    let record = record::parse(&read(&path)?).map_err(unverified)?;
    let people = record::check(&record, &genesis).map_err(unverified)?;
    say(&summary(&record, &genesis, &people))?;
    for (number, slot) in (0u32..).zip(&record.slots) {
        say(&format!("account    m/86'/{COIN_TYPE}'/{number}'  {}", hex(&slot.account.public.0)))?;
    }
    Ok(())
}

/// What both commands tell of a sound record.
fn summary(record: &CeremonyRecord, genesis: &Genesis, people: &[Name]) -> String {
    let list = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let hash = genesis.hash();
    let lines = [
        format!("genesis    {hash}"),
        format!("ceremony   {}", record.id(&hash)),
        format!("held at    {} (seconds since 1970, by the clock of that machine)", record.held_at),
        format!("accounts   {}", record.slots.len()),
        format!("holders    {}, of whom any {} sign", list(&record.holders), record.threshold),
        format!("people     {}: their signatures verify", list(people)),
        // The one text in a record that is free: it must not write to the terminal.
        format!("entropy    {}", record.entropy.escape_debug()),
        format!("program    {}", record.program),
    ];
    lines.join("\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads genesis and makes sure, by program or by person, that it is the right one.
fn read_genesis(path: &Path, expected: Option<&str>) -> Result<Genesis, Failure> {
    let genesis = Genesis::parse(&read(path)?).map_err(Failure::refused)?;
    let hash = genesis.hash().to_string();
    // As people read it out, in groups: spaces do not matter.
    match expected.map(|text| text.split_whitespace().collect::<String>()) {
        Some(expected) if expected == hash => Ok(genesis),
        Some(expected) => Err(Failure::Refused(format!(
            "the genesis file has hash {hash}, and not {expected}: use the file that everybody else has"
        ))),
        None if !io::stdin().is_terminal() => Err(Failure::Usage(
            "nobody is there to compare the hash of genesis: give the right one with --genesis-hash".into(),
        )),
        None => {
            say(&format!("genesis    {hash}"))?;
            write!(io::stdout(), "Is this the hash that everybody has on paper? Type yes: ")
                .and_then(|()| io::stdout().flush())
                .map_err(Failure::machine)?;
            let mut answer = String::new();
            io::stdin().lock().read_line(&mut answer).map_err(Failure::machine)?;
            let refused = || Failure::Refused("stopped: bring the genesis file with the right hash".into());
            (answer.trim() == "yes").then_some(genesis).ok_or_else(refused)
        }
    }
}

/// Who the key files are of, before anybody types a passphrase.
fn people_of(genesis: &Genesis, key_files: &[(Vec<u8>, PathBuf)]) -> Result<Vec<Name>, Failure> {
    let mut ids = Vec::new();
    for (bytes, path) in key_files {
        let public = device::public_of(bytes);
        let public = public.map_err(|e| Failure::Refused(format!("{}: {e}", path.display())))?;
        ids.push(key_id(&public.sign));
    }
    record::participants(genesis, &ids).map_err(Failure::refused)
}

/// Unlocks the key files.
fn unlock(
    people: &[Name],
    key_files: &[(Vec<u8>, PathBuf)],
    descriptor: Option<&str>,
) -> Result<Vec<DeviceKey>, Failure> {
    let given = descriptor.map(read_passphrases).transpose()?;
    let lines: Option<Vec<&[u8]>> =
        given.as_ref().map(|given| given.expose().split(|b| *b == b'\n').collect());
    // A last line may end or not.
    let lines = lines.map(|mut lines| {
        lines.pop_if(|last| last.is_empty());
        lines
    });
    if lines.as_ref().is_some_and(|lines| lines.len() != key_files.len()) {
        return Err(Failure::Usage("give one passphrase on one line for each participant".into()));
    }
    let mut lines = lines.map(Vec::into_iter);
    let mut keys = Vec::new();
    for (person, (bytes, path)) in people.iter().zip(key_files) {
        let refused = |why: &dyn Display| Failure::Refused(format!("{} ({person}): {why}", path.display()));
        let key = match lines.as_mut() {
            Some(lines) => {
                let passphrase = str::from_utf8(lines.next().unwrap_or_default());
                DeviceKey::from_file(bytes, passphrase.map_err(|_| refused(&"the passphrase is not UTF-8"))?)
            }
            None => {
                let typed = rpassword::prompt_password(format!("Passphrase of {person}: "));
                DeviceKey::from_file(bytes, &Zeroizing::new(typed.map_err(Failure::machine)?))
            }
        };
        keys.push(key.map_err(|error| refused(&error))?);
    }
    Ok(keys)
}

/// Reads a file descriptor to its end, into locked memory.
fn read_passphrases(descriptor: &str) -> Result<LockedBytes, Failure> {
    let number: u32 = descriptor
        .parse()
        .map_err(|_| Failure::Usage("--passphrase-fd takes the number of a descriptor".into()))?;
    let closed = |error| {
        Failure::Machine(format!(
            "file descriptor {number} cannot be read ({error}): open it for this program"
        ))
    };
    let mut file = std::fs::File::open(format!("/dev/fd/{number}")).map_err(closed)?;
    let mut bytes = LockedBytes::zeroed(PASSPHRASES_LIMIT_BYTES).map_err(Failure::machine)?;
    let mut length = 0usize;
    loop {
        let room = bytes.expose_mut().get_mut(length..).unwrap_or_default();
        if room.is_empty() {
            return Err(Failure::Usage(format!("the passphrases are over {PASSPHRASES_LIMIT_BYTES} bytes")));
        }
        match file.read(room).map_err(closed)? {
            0 => break,
            more => length = length.saturating_add(more),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}
