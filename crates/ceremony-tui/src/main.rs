//! `keyward-ceremony`: holds key ceremonies on a machine without a network, and shows what they left.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ceremony::component::{Challenge, Component};
use ceremony::record;
use ceremony::record::RecordError;
use ceremony::report::{Against, verify};
use ceremony::run::Run;
use ceremony::script::Script;
use ceremony::secrets::COIN_TYPE;
use ceremony::sheet::{self, Paper};
use ceremony::slip39::Mnemonic;
use ceremony::worker::{STACK_BYTES, Worker};
use ceremony_tui::arguments::Arguments;
use ceremony_tui::child::WORKER;
use ceremony_tui::conduct::{Conductor, Ended, REPORT_PDF, RUN_FILE, Settings, bounded, now, write_new};
use ceremony_tui::front::{Front, Question, Reply, printable};
use ceremony_tui::handover::{Collector, Package, Receipt};
use ceremony_tui::image::{FILE_LIMIT_BYTES, Words};
use ceremony_tui::pdf;
use ceremony_tui::plain::Plain;
use ceremony_tui::print::Printer;
use ceremony_tui::screen::Screen;
use custody::document::{CeremonyRecord, CosignerCard};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::{Blob, Hash};
use keys::locked::{WipingAllocator, harden_process, lock_all, mechanism, on_locked_stack};
use rand_core::OsRng;
use serde::{Deserialize, Serialize};

/// Whatever a library leaves in memory that it frees is wiped.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

/// Most bytes that a scanner types: every part of a sequence, at most 311 letters each, thrice.
const LINES_LIMIT_BYTES: u64 = 2_000_000;

const HELP: &str = "\
keyward-ceremony: makes, recovers and checks the keys of a Keyward deployment, on a machine without a network

  keyward-ceremony run --script FILE --genesis FILE [--genesis-hash HEX] --out DIR --key KEYFILE --key KEYFILE …
                       [--card FILE …] [--printer DEVICE] [--paper a4|letter] [--front screen|plain]
                       [--earlier REPORT [--earlier-genesis FILE]]
      leads people through the ceremony of a script; DIR gets what it leaves

  keyward-ceremony resume --saved DIR/run.json --hash HEX …  (the rest as for run, without --script)
      goes on with a ceremony that was interrupted; what was secret begins anew

  keyward-ceremony runbook --script FILE --genesis FILE [--genesis-hash HEX] --out FILE.pdf [--paper a4|letter]
      prints the same steps, to rehearse and to sign by hand

  keyward-ceremony collect --by NAME --out DIR [IMAGE …]
      on a co-signer's side: takes photographs of the codes that a ceremony shows, or without any the lines that a
      scanner types; DIR gets the sealed shares, and a receipt for them

  keyward-ceremony answer CHALLENGE --out FILE
      a holder shows that a component is whole: types its words, and gets an answer that reveals nothing of it

  keyward-ceremony show RECORD --genesis FILE [--genesis-hash HEX]
      shows a record and verifies the signatures of the people who held the ceremony

Without --genesis-hash the hash is shown and asked about. Without a terminal only ceremonies of networks
for tests are held: rehearsals.
Exit codes: 0 done, 1 the machine failed, 2 called wrongly, 3 refused or given up, 4 interrupted,
5 a record does not verify.";

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
    /// People interrupted the ceremony.
    Paused(String),
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
        Err(Failure::Paused(why)) => (4, why),
        Err(Failure::Unverified(why)) => (5, why),
    };
    complain(&format!("keyward-ceremony: {why}"));
    ExitCode::from(code)
}

/// A line on standard error. What it quotes of files of others must not write to the terminal.
fn complain(why: &str) {
    eprintln!("{}", printable(why));
}

fn run() -> Result<(), Failure> {
    harden_process().map_err(Failure::machine)?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == WORKER) {
        return work();
    }
    if words.is_empty() || words.iter().any(|word| word == "--help" || word == "help") {
        return say(HELP);
    }
    if words.iter().any(|word| word == "--version") {
        return say(&format!("keyward-ceremony {}", env!("CARGO_PKG_VERSION")));
    }
    let mut arguments = Arguments::parse(words.into_iter()).map_err(Failure::Usage)?;
    match arguments.word().as_deref() {
        Some("run") => hold(arguments, false),
        Some("resume") => hold(arguments, true),
        Some("runbook") => runbook(arguments),
        Some("show") => show(arguments),
        Some("answer") => answer(arguments),
        Some("collect") => collect(arguments),
        other => Err(Failure::Usage(format!("{:?} is no command; see --help", other.unwrap_or_default()))),
    }
}

/// The secret half: answers on its pipes, and takes randomness from the operating system alone.
fn work() -> Result<(), Failure> {
    lock_all().map_err(Failure::machine)?;
    // Not through the buffers of the standard library, which keep what passed through them.
    let raw = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from).map_err(Failure::machine);
    let (mut from, mut to) = (raw(io::stdin().as_fd())?, raw(io::stdout().as_fd())?);
    Worker::new(OsRng).serve(&mut from, &mut to).map_err(Failure::machine)
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::machine)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Machine(format!("{}: {error}", path.display())))
}

/// Holds a ceremony, from its beginning or from where it was interrupted.
fn hold(mut arguments: Arguments, resumed: bool) -> Result<(), Failure> {
    let usage = Failure::Usage;
    let source = PathBuf::from(arguments.need(if resumed { "saved" } else { "script" }).map_err(usage)?);
    let noted = if resumed { Some(arguments.need("hash").map_err(usage)?) } else { None };
    let genesis_file = PathBuf::from(arguments.need("genesis").map_err(usage)?);
    let expected = arguments.optional("genesis-hash").map_err(usage)?;
    let out = PathBuf::from(arguments.need("out").map_err(usage)?);
    let keys: Vec<PathBuf> = arguments.all("key").into_iter().map(PathBuf::from).collect();
    let cards = arguments.all("card").into_iter().map(|path| read_card(Path::new(&path)));
    let cards = cards.collect::<Result<Vec<_>, _>>()?;
    let printer = arguments.optional("printer").map_err(usage)?;
    let printer = printer.map_or(Printer::None, |path| Printer::Device(path.into()));
    let paper = paper(&mut arguments)?;
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let screen = match arguments.optional("front").map_err(usage)?.as_deref() {
        None => terminal,
        Some("plain") => false,
        Some("screen") if terminal => true,
        Some("screen") => return Err(usage("--front screen needs a terminal".into())),
        Some(other) => return Err(Failure::Usage(format!("--front takes screen or plain, not {other:?}"))),
    };
    let earlier = arguments.optional("earlier").map_err(usage)?;
    let earlier_genesis = arguments.optional("earlier-genesis").map_err(usage)?;
    arguments.finish().map_err(usage)?;

    let genesis = read_genesis(&genesis_file, expected.as_deref())?;
    let bytes = read(&source)?;
    let run = match noted {
        Some(noted) => {
            let noted: Hash =
                Hash::from_hex(&noted).ok_or_else(|| usage("--hash takes 64 hexadecimal digits".into()))?;
            Run::resume(&bytes, &noted, &genesis, now()).map_err(Failure::refused)?
        }
        None => {
            ceremony::files::check_free(&out).map_err(Failure::refused)?;
            let script = Script::parse(&bytes).map_err(Failure::refused)?;
            sheet::check_script(&script).map_err(Failure::refused)?;
            Run::begin(script, &genesis, now()).map_err(Failure::refused)?
        }
    };
    check_earlier(run.script(), earlier, earlier_genesis, &genesis)?;
    attended(run.script().is_rehearsal(), terminal)?;
    printer.check(run.script().is_rehearsal()).map_err(Failure::refused)?;
    if run.script().kind.makes_components() && matches!(printer, Printer::None) {
        return Err(usage("this ceremony prints sheets: name the printer with --printer DEVICE".into()));
    }
    let extent = lock_all().map_err(Failure::machine)?;
    let memory = format!(
        "the worker process has ended; secrets: {}; {extent}; stacks and freed memory were wiped",
        mechanism().map_err(Failure::machine)?
    );
    let settings = Settings {
        out,
        keys,
        cards,
        printer,
        paper,
        // The program as it runs, also if the file on disk was replaced since it started.
        program: Hash::sha256(&read(Path::new("/proc/self/exe"))?),
        memory,
    };
    let rehearsal = run.script().is_rehearsal();
    let directory = settings.out.clone();
    let mut front = front(screen, rehearsal)?;
    let ended = Conductor::new(run, genesis, settings, front.as_mut()).conduct();
    // The terminal as it was, before anything is written to it.
    drop(front);
    match ended.map_err(Failure::machine)? {
        Ended::Complete if screen => say(&format!("the ceremony is over; written {}", directory.display())),
        Ended::Complete => Ok(()),
        Ended::Aborted => Err(Failure::Refused(format!(
            "the ceremony was given up; its report says why: {}",
            directory.join(REPORT_PDF).display()
        ))),
        Ended::Paused(hash) => Err(Failure::Paused(format!(
            "interrupted; write down {hash} and go on with keyward-ceremony resume --saved {} --hash …",
            directory.join(RUN_FILE).display()
        ))),
    }
}

/// Only a rehearsal is held without people at a terminal.
fn attended(rehearsal: bool, terminal: bool) -> Result<(), Failure> {
    if rehearsal || terminal {
        return Ok(());
    }
    Err(Failure::Refused(
        "nobody is at a terminal: keys of a main network are made before people's eyes".into(),
    ))
}

/// Proves possession of a component offline, without combining it (DACS REC-09).
fn answer(mut arguments: Arguments) -> Result<(), Failure> {
    let usage = || Failure::Usage("name the file of the challenge; see --help".into());
    let path = PathBuf::from(arguments.word().ok_or_else(usage)?);
    let out = PathBuf::from(arguments.need("out").map_err(Failure::Usage)?);
    arguments.finish().map_err(Failure::Usage)?;
    // Before anybody types thirty words.
    if out.exists() {
        return Err(Failure::Refused(format!("{} exists already: name a new file", out.display())));
    }
    let bytes = read(&path)?;
    let challenge = Challenge::parse(&bytes).map_err(Failure::refused)?;
    say(&format!(
        "component {} of set {}, from its {}",
        challenge.component, challenge.set, challenge.medium
    ))?;
    lock_all().map_err(Failure::machine)?;
    // A challenge does not say of which network it is: the component may be worth something.
    let mut front = front(io::stdin().is_terminal() && io::stdout().is_terminal(), false)?;
    let question = Question::new("words", "The words of the component:");
    let Reply::Given(typed) = front.hidden(&question).map_err(Failure::machine)? else {
        return Err(Failure::Refused("given up".into()));
    };
    let signed = on_locked_stack(STACK_BYTES, || {
        let text = str::from_utf8(typed.expose()).map_err(|_| "the words are no text".to_owned())?;
        let words = Words::typed(text).map_err(|error| error.to_string())?;
        let words = Mnemonic::parse(words.as_str()).map_err(|error| error.to_string())?;
        Component::new(words).answer(&challenge).map_err(|error| error.to_string())
    });
    let signature = signed.map_err(Failure::machine)?.map_err(Failure::Refused)?;
    let answer = Answered { challenge: Hash::sha256(&bytes), signature: Blob(signature.to_vec()) };
    let answer = custody::canon::encode(&answer).map_err(Failure::machine)?;
    write_new(&out, &answer).map_err(Failure::machine)?;
    say(&format!("written    {}", out.display()))
}

/// Collects the codes of sealed shares until they give the package, and writes it with a receipt.
fn collect(mut arguments: Arguments) -> Result<(), Failure> {
    let by = arguments.need("by").map_err(Failure::Usage)?;
    let out = PathBuf::from(arguments.need("out").map_err(Failure::Usage)?);
    let images: Vec<PathBuf> = std::iter::from_fn(|| arguments.word()).map(PathBuf::from).collect();
    arguments.finish().map_err(Failure::Usage)?;
    let mut collector = Collector::default();
    let mut found = None;
    let mut take = |taken: Result<Option<Package>, String>| {
        match taken {
            Ok(package) => found = package,
            // A blurred picture does no harm, nor one that cannot be read: another one has the same.
            Err(why) => complain(&why),
        }
        found.is_some()
    };
    if images.is_empty() {
        let lines = io::stdin().lock().take(LINES_LIMIT_BYTES).lines();
        for (number, line) in (1..).zip(lines) {
            let taken = match line {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error.to_string()),
                line => {
                    collector.text(line.map_err(Failure::machine)?.trim()).map_err(|error| error.to_string())
                }
            };
            if take(taken.map_err(|why| format!("line {number}: {why}"))) {
                break;
            }
        }
    }
    for image in images {
        let why = |error| format!("{}: {error}", image.display());
        if take(bounded(&image, FILE_LIMIT_BYTES).and_then(|bytes| collector.image(&bytes).map_err(why))) {
            break;
        }
    }
    let package = found.ok_or_else(|| {
        Failure::Refused(format!(
            "the shares are not whole, with {} parts so far: give all codes that you have, and more",
            collector.fragments()
        ))
    })?;
    let receipt = Receipt::new(&package, &by);
    receipt.check(&package).map_err(Failure::refused)?;
    let receipt = receipt.bytes().map_err(Failure::machine)?;
    let files =
        [(package.file_name(), package.bytes()), (format!("receipt-{}.json", package.holder()), &receipt)]
            .map(|(name, bytes)| (out.join(name), bytes));
    // Both or none.
    if let Some((taken, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(Failure::Machine(format!("{} exists already: name another directory", taken.display())));
    }
    for (path, bytes) in files {
        write_new(&path, bytes).map_err(Failure::machine)?;
    }
    say(&format!(
        "holder     {}\nceremony   {}\nSHA-256    {}\nwritten    {}",
        package.holder(),
        package.shares().ceremony,
        package.sha256(),
        out.display()
    ))
}

/// What `keyward recovery answer` takes.
#[derive(Serialize, Deserialize)]
struct Answered {
    challenge: Hash,
    signature: Blob,
}

fn paper(arguments: &mut Arguments) -> Result<Paper, Failure> {
    match arguments.optional("paper").map_err(Failure::Usage)?.as_deref() {
        None | Some("a4") => Ok(Paper::A4),
        Some("letter") => Ok(Paper::Letter),
        Some(other) => Err(Failure::Usage(format!("--paper takes a4 or letter, not {other:?}"))),
    }
}

/// Lines, or the screen.
fn front(screen: bool, rehearsal: bool) -> Result<Box<dyn Front>, Failure> {
    Ok(match screen {
        true => Box::new(Screen::open(rehearsal).map_err(Failure::machine)?),
        false => Box::new(Plain::new(io::stdin().lock(), io::stdout())),
    })
}

/// What a script says of components that exist is compared with the report of the ceremony that made them.
fn check_earlier(
    script: &Script,
    report: Option<String>,
    old: Option<String>,
    genesis: &Genesis,
) -> Result<(), Failure> {
    let path = match (&script.held, report) {
        (None, None) => return Ok(()),
        (None, Some(_)) => {
            return Err(Failure::Usage("--earlier is for ceremonies with components that exist".into()));
        }
        (Some(_), None) => {
            let why = "name the report of the ceremony that made the components: --earlier FILE";
            return Err(Failure::Usage(why.into()));
        }
        (Some(_), Some(path)) => path,
    };
    // After the loss of a deployment the components are of its genesis, and the ceremony is of another one.
    let old =
        old.map(|path| Genesis::parse(&read(Path::new(&path))?).map_err(Failure::refused)).transpose()?;
    let against = Against { genesis: Some(old.as_ref().unwrap_or(genesis)), ..Against::default() };
    let made = verify(&read(Path::new(&path))?, &against).map_err(Failure::refused)?;
    script.check_held_by(&made).map_err(Failure::refused)
}

fn read_card(path: &Path) -> Result<CosignerCard, Failure> {
    let bytes = read(path)?;
    custody::canon::decode(&bytes).map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))
}

fn runbook(mut arguments: Arguments) -> Result<(), Failure> {
    let usage = Failure::Usage;
    let script = PathBuf::from(arguments.need("script").map_err(usage)?);
    let genesis_file = PathBuf::from(arguments.need("genesis").map_err(usage)?);
    let expected = arguments.optional("genesis-hash").map_err(usage)?;
    let out = PathBuf::from(arguments.need("out").map_err(usage)?);
    let paper = paper(&mut arguments)?;
    arguments.finish().map_err(usage)?;
    let genesis = read_genesis(&genesis_file, expected.as_deref())?;
    let script = Script::parse(&read(&script)?).map_err(Failure::refused)?;
    script.check(&genesis).map_err(Failure::refused)?;
    let pages = pdf::runbook(&script, paper).map_err(Failure::machine)?;
    std::fs::write(&out, pages).map_err(|error| Failure::Machine(format!("{}: {error}", out.display())))?;
    say(&format!("script     {}\nwritten    {}", script.hash(), out.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rehearsal_is_held_without_a_terminal() {
        assert!(attended(true, false).is_ok());
        assert!(attended(false, true).is_ok());
        assert!(matches!(attended(false, false), Err(Failure::Refused(why)) if why.contains("terminal")));
    }
}
