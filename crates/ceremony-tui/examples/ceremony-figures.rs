//! Figures of a ceremony of 3 of 5 components without people: how long it takes, how much memory program and
//! worker need, how large the program is and what it links. They are printed and never asserted.
//!
//! ```text
//! cargo build --release -p ceremony-tui
//! cargo run --release -p ceremony-tui --example ceremony-figures -- target/release/keyward-ceremony
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use ceremony::script::{Kind, Role};
use ceremony_tui::rehearsal::{Asked, Participant, Table};
use keys::device::DeviceKey;
use rand_core::OsRng;

/// Accounts that are dealt: what a ceremony deals unless told otherwise.
const ACCOUNTS: u32 = 16;

/// Who takes part; the first three stand in the genesis of `fixtures`.
const PEOPLE: [(&str, Role); 8] = [
    ("alice", Role::Operator),
    ("bob", Role::SecurityOfficer),
    ("carol", Role::KeyCustodian),
    ("dora", Role::KeyCustodian),
    ("emil", Role::KeyCustodian),
    ("frank", Role::KeyCustodian),
    ("grace", Role::KeyCustodian),
    ("walter", Role::Witness),
];

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let program =
        PathBuf::from(env::args().nth(1).ok_or("name the program: target/release/keyward-ceremony")?);
    let directory = tempfile::tempdir()?;
    let mut genesis = fixtures::newest();
    let mut people = Vec::new();
    for (id, role) in PEOPLE {
        let (key, passphrase) = (DeviceKey::generate(&mut OsRng), format!("the passphrase of {id}"));
        let device = directory.path().join(format!("{id}.key"));
        fs::write(&device, key.to_file(&passphrase, &mut OsRng)?)?;
        if let Some(known) = genesis.people.iter_mut().find(|person| person.id.as_str() == id) {
            (known.keys[0].sign, known.keys[0].tls) = (key.public().sign, key.public().tls);
        }
        people.push(Participant { id: id.into(), role, key: key.public().sign, device, passphrase });
    }
    let file = directory.path().join("genesis.json");
    fs::write(&file, genesis.bytes())?;
    let table = Table::new(&directory.path().join("table"), people, &file, ACCOUNTS)?;
    let mut script = table.script(Kind::Generation, None)?;
    if let Some(set) = &mut script.components {
        set.groups.iter_mut().for_each(|group| group.threshold = 3);
    }

    let (mut own, mut worker) = (0, 0);
    // Opening a key file is the work of Argon2id, on purpose: it is no part of what the program needs itself.
    let (mut opening, mut asked) = (Duration::ZERO, None::<Instant>);
    let begun = Instant::now();
    let mut twist = |question: &Asked<'_>| {
        own = own.max(high_water(question.process));
        let children = format!("/proc/{0}/task/{0}/children", question.process);
        for child in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            worker = worker.max(child.parse().map_or(0, high_water));
        }
        opening += asked.take().map_or(Duration::ZERO, |since| since.elapsed());
        asked = question.id.starts_with("passphrase").then(Instant::now);
        None
    };
    let left = table.play(&program, "figures", script, &BTreeMap::new(), &mut twist)?;
    let took = begun.elapsed();
    if left.code != Some(0) {
        return Err(left.error.into());
    }
    println!("steps of a 3-of-5 ceremony of {ACCOUNTS} accounts, {} people: {}", PEOPLE.len(), left.steps);
    println!("its time without people: {:.1} s", took.as_secs_f64());
    println!("of that, opening key files (Argon2id): {:.1} s", opening.as_secs_f64());
    println!("peak memory (VmHWM): program {:.0} MB, worker {:.0} MB", megabytes(own), megabytes(worker));
    let stripped = directory.path().join("stripped");
    run("strip", &["-o".as_ref(), &stripped, &program])?;
    println!("{}: {:.1} MB, stripped {:.1} MB", program.display(), size(&program)?, size(&stripped)?);
    let dynamic = run("readelf", &["-d".as_ref(), &program])?;
    dynamic.lines().filter(|line| line.contains("NEEDED")).for_each(|line| println!("{}", line.trim()));
    Ok(())
}

/// The most memory that a process had, in kibibytes.
fn high_water(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn megabytes(kibibytes: u64) -> f64 {
    f64::from(u32::try_from(kibibytes).unwrap_or(u32::MAX)) * 1024.0 / 1e6
}

fn size(path: &Path) -> std::io::Result<f64> {
    let bytes = fs::metadata(path)?.len();
    Ok(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6)
}

fn run(program: &str, arguments: &[&Path]) -> Result<String, Box<dyn Error + Send + Sync>> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}; apt-get install binutils"))?;
    Ok(String::from_utf8(output.stdout)?)
}
