//! The screen, driven in a real terminal: tmux types and looks. Needs `tmux` (Debian package `tmux`).

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use ceremony::component::Challenge;
use ceremony::files::SealedShares;
use ceremony::record;
use ceremony::report::{Against, verify};
use ceremony::script::{Kind, Medium};
use ceremony_tui::handover::{Collector, Package, SIDE_MODULES};
use ceremony_tui::rehearsal::Table;
use common::{PROGRAM, Room};
use custody::{Hash, canon};
use rand_core::OsRng;

/// By when something is on the screen, at the latest: a loaded machine included.
const WAIT: Duration = Duration::from_secs(120);

/// A terminal of 100 by 30, and the program in it.
struct Terminal {
    socket: PathBuf,
    /// All that the program wrote to the terminal.
    raw: PathBuf,
    frames: usize,
}

impl Terminal {
    fn tmux(&self, arguments: &[&str]) -> Output {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(arguments).output();
        output.unwrap_or_else(|error| panic!("tmux: {error}; apt-get install tmux"))
    }

    fn start(room: &Room, arguments: &[OsString]) -> Self {
        let this = Self { socket: room.path("tmux"), raw: room.path("raw"), frames: 0 };
        let quoted = |word: &OsString| format!("'{}'", word.to_str().unwrap());
        let words: Vec<String> = arguments.iter().map(quoted).collect();
        // The line before shows whether the program gives the terminal back as it was.
        let line = format!("echo BEFORE; '{PROGRAM}' {}; echo ENDED $?; sleep 600", words.join(" "));
        let size = ["new-session", "-d", "-x", "100", "-y", "30", "-s", "room", &line];
        let output = this.tmux(&size);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let record = format!("cat >> '{}'", this.raw.display());
        assert!(this.tmux(&["pipe-pane", "-t", "room", &record]).status.success());
        this
    }

    /// What is on the screen; of the program, every frame says that it is a rehearsal.
    fn frame(&mut self) -> String {
        let frame = self.capture(&["capture-pane", "-p", "-t", "room"]);
        if ["keyward-ceremony ·", "component ", "sealed shares of"].iter().any(|head| frame.contains(head)) {
            assert!(frame.contains("REHEARSAL"), "{frame}");
            self.frames += 1;
        }
        frame
    }

    /// With all that scrolled out of it, and the other screen.
    fn everything(&self) -> String {
        let with =
            |more: &[&str]| self.capture(&[&["capture-pane", "-p", "-t", "room", "-S", "-"], more].concat());
        with(&[]) + &with(&["-a", "-q"])
    }

    fn capture(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.tmux(arguments).stdout).into_owned()
    }

    /// Waits for a frame with this.
    fn until(&mut self, holds: impl Fn(&str) -> bool, what: &str) -> String {
        let since = Instant::now();
        loop {
            let frame = self.frame();
            if holds(&frame) {
                return frame;
            }
            assert!(since.elapsed() < WAIT, "no {what}: {frame}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the screen was overwritten, and what scrolled out of it cleared, so many times.
    fn wiped(&mut self, times: usize) {
        let raw = self.raw.clone();
        let wipes =
            || fs::read(&raw).map_or(0, |raw| String::from_utf8_lossy(&raw).matches("\x1b[3J").count());
        self.until(|_| wipes() >= times, "wiping");
        assert_eq!(wipes(), times);
        assert!(String::from_utf8_lossy(&fs::read(&raw).unwrap()).matches('▒').count() >= times * 1_000);
    }

    fn shows(&mut self, text: &str) -> String {
        self.until(|frame| frame.contains(text), text)
    }

    fn key(&self, key: &str) {
        assert!(self.tmux(&["send-keys", "-t", "room", key]).status.success());
    }

    fn resize(&self, width: &str, height: &str) {
        assert!(self.tmux(&["resize-window", "-t", "room", "-x", width, "-y", height]).status.success());
    }

    /// Types what shows as a count.
    fn hidden(&mut self, answer: &str) {
        assert!(self.tmux(&["send-keys", "-l", "-t", "room", "--", answer]).status.success());
        let count = format!("(hidden: {} characters", answer.chars().count());
        self.shows(&count);
        self.key("Enter");
        self.until(|frame| !frame.contains(&count), "an answer taken");
    }

    /// Types an answer below the question that begins so.
    fn answer(&mut self, question: &str, answer: &str) {
        // The question stands over an empty line to type in.
        self.until(|frame| frame.contains(question) && frame.lines().any(is_empty_entry), question);
        if answer.is_empty() {
            self.key("Enter");
            self.until(|frame| !frame.contains(question), "another question");
            return;
        }
        assert!(self.tmux(&["send-keys", "-l", "-t", "room", "--", answer]).status.success());
        // What is typed before it is asked for is dropped: each answer is seen before the next one.
        let (open, hidden) =
            (format!("> {answer}▏"), format!("> (hidden: {} characters", answer.chars().count()));
        let typed =
            |frame: &str| frame.lines().any(|line| line.starts_with(&open) || line.starts_with(&hidden));
        self.until(typed, answer);
        self.key("Enter");
        self.until(|frame| !typed(frame), "an answer taken");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn is_empty_entry(line: &str) -> bool {
    let line = line.trim_end();
    line == "> ▏" || line == "> (hidden)▏"
}

/// The words of the grid, in the order of their numbers.
fn grid(frame: &str) -> Vec<String> {
    let mut words = BTreeMap::new();
    for line in frame.lines() {
        let mut parts = line.split_whitespace().peekable();
        while let Some(part) = parts.next() {
            let number = part.strip_suffix('.').and_then(|number| number.parse::<u32>().ok());
            if let (Some(number), Some(word)) = (number, parts.peek()) {
                words.insert(number, (*word).to_owned());
            }
        }
    }
    assert!(words.keys().copied().eq(1..=33), "{frame}");
    words.into_values().collect()
}

/// A generation on the screen, from its beginning to the first component.
fn to_the_first_component(room: &Room, table: &Table) -> Terminal {
    let script = table.script(Kind::Generation, None).unwrap();
    let file = room.path("script.json");
    fs::write(&file, script.bytes()).unwrap();
    let printer = table.printer("screen");
    assert!(Command::new("mkfifo").arg(&printer).status().unwrap().success());
    let mut arguments: Vec<OsString> = vec!["run".into(), "--script".into(), file.into()];
    arguments.extend(table.arguments("screen", &script));
    let mut terminal = Terminal::start(room, &arguments);

    for _ in &room.people {
        terminal.answer("identified by the others?", "yes");
    }
    let (hash, genesis) = (script.hash().to_string(), script.genesis.to_string());
    terminal.answer("Read the hash of the script", &hash[..8]);
    terminal.answer("Read the hash of the genesis", &genesis[..8]);
    terminal.answer("its serial number", "0");
    terminal.answer("unbroken seal that it came under", "none");
    terminal.answer("seal for the recording", "R-0");
    // A machine of every day has findings; what was said can be looked back to.
    let found = terminal.until(
        |frame| frame.contains("type inspect or deviate") || frame.contains("entropy-dice"),
        "findings",
    );
    if found.contains("type inspect or deviate") {
        terminal.key("PageUp");
        terminal.answer("type inspect or deviate", "deviate");
        terminal.answer("Why are they acceptable?", "a machine of every day");
        terminal.answer("Who signs?", "bob alice");
        terminal.answer("Passphrase of bob", "wrong");
        terminal.shows("type the passphrase again");
        terminal.answer("Passphrase of bob", "the passphrase of bob");
        terminal.answer("Passphrase of alice", "the passphrase of alice");
    }
    assert!(!terminal.everything().contains("the passphrase of bob"));
    let throws = "16253443526115263".repeat(12);
    terminal.until(|frame| frame.contains("What dice gave"), "dice");
    assert!(terminal.tmux(&["send-keys", "-l", "-t", "room", "--", &throws]).status.success());
    let count = format!("(hidden: {} characters)", throws.len());
    let hidden = terminal.shows(&count);
    assert!(!hidden.contains("16253"), "{hidden}");
    terminal.key("Enter");
    terminal.until(|frame| !frame.contains(&count), "an answer taken");
    terminal
}

/// The words that a text has of these.
fn seen(text: &str, words: &[String]) -> BTreeSet<String> {
    let said: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_lowercase()).collect();
    words.iter().filter(|word| said.contains(word.as_str())).cloned().collect()
}

/// The screen to a holder's component and beyond it, and then given up: what was seen is gone.
#[test]
fn words_are_seen_by_their_holder_alone_and_leave_nothing() {
    let room = Room::new();
    let table: Table = room.table();
    let mut terminal = to_the_first_component(&room, &table);

    let printer = table.printer("screen");
    let reader = thread::spawn(move || fs::read(printer).unwrap());
    terminal.answer("carol alone sees the screen and the printer now?", "yes");
    let cover = terminal.shows("carol alone looks");
    assert!(cover.contains("press Enter"), "{cover}");
    // People make the window larger, and smaller again while words are on it.
    terminal.resize("120", "40");
    terminal.shows("carol alone looks");
    let sheet = String::from_utf8_lossy(&reader.join().unwrap()).into_owned();
    terminal.key("Enter");
    let shown = terminal.shows("33. ");
    let words = grid(&shown);
    assert!(words.iter().all(|word| sheet.contains(word.as_str())), "the words of the sheet");
    terminal.resize("30", "10");
    terminal.shows("Make the window larger");
    terminal.resize("100", "30");
    terminal.shows("33. ");
    terminal.key("Enter");
    terminal.shows("is the whole sheet there and legible?");
    terminal.wiped(1);

    // Some words of the list are words of every day, which the screen has anyway.
    let usual = seen(&cover, &words);
    let few = |text: &str| seen(text, &words).difference(&usual).count() <= 3;
    assert!(!few(&shown), "the test finds words where they are");
    let after = terminal.everything();
    assert!(few(&after), "{after}");

    // The words, by their first four letters, show as a count; then somebody gives up.
    terminal.answer("is the whole sheet there and legible?", "yes");
    terminal.answer("type words, scanner or image", "words");
    terminal.until(|frame| frame.contains("first four letters"), "words");
    let short: Vec<&str> = words.iter().map(|word| &word[..4]).collect();
    assert!(terminal.tmux(&["send-keys", "-l", "-t", "room", "--", &short.join(" ")]).status.success());
    let typed = terminal.shows("33 words)");
    assert!(few(&typed), "{typed}");
    terminal.key("Enter");
    terminal.until(|frame| frame.contains("Where does carol want the file?"), "next step");
    terminal.key("C-c");
    terminal.answer("Give the ceremony up?", "");
    terminal.until(|frame| frame.contains("Where does carol want the file?"), "the question again");
    terminal.key("C-c");
    terminal.answer("Give the ceremony up?", "enough for today");
    terminal.answer("Destroy both media of component 1.1", "yes");
    terminal.answer("Has everybody read the report", "yes");
    for person in &room.people {
        terminal.answer(&format!("Is {} still here to sign?", person.id), "yes");
        terminal.answer(&format!("Passphrase of {}", person.id), &person.passphrase);
    }
    let end = terminal.shows("ENDED 3");
    assert!(end.contains("BEFORE") && end.contains("its report says why"), "{end}");
    let all = terminal.everything();
    assert!(few(&all) && !all.contains("the passphrase of"), "{all}");
    assert!(terminal.frames > 20, "{}", terminal.frames);
    let report = fs::read(room.path("table/screen/report.json")).unwrap();
    verify(&report, &Against { genesis: Some(&room.genesis), ..Against::default() }).unwrap();
    assert!(String::from_utf8_lossy(&report).contains("enough for today"));
}

/// From the table to the record, with wrong words and codes on the way.
#[test]
fn a_generation_on_the_screen_to_its_end() {
    let room = Room::new();
    let table: Table = room.table();
    let mut terminal = to_the_first_component(&room, &table);
    for (component, holder) in [("1.1", "carol"), ("1.2", "dora"), ("1.3", "emil")] {
        let printer = table.printer("screen");
        let reader = thread::spawn(move || fs::read(printer).unwrap());
        terminal.answer(&format!("{holder} alone sees the screen and the printer now?"), "yes");
        terminal.shows(&format!("{holder} alone looks"));
        reader.join().unwrap();
        terminal.key("Enter");
        let words = grid(&terminal.shows("33. "));
        terminal.key("Enter");
        terminal.answer("is the whole sheet there and legible?", "yes");
        terminal.answer("type words, scanner or image", "words");
        terminal.until(|frame| frame.contains("first four letters"), "words");
        if component == "1.2" {
            wrong_words(&mut terminal, component, holder, &words);
        } else {
            terminal.hidden(&words.join(" "));
        }
        let own = room.path("table").join(holder);
        terminal.answer(&format!("Where does {holder} want the file?"), own.to_str().unwrap());
        terminal.until(|frame| frame.contains("The file of component"), "the file");
        let files = fs::read_dir(&own).unwrap().map(|file| file.unwrap().path());
        let file = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "age")).unwrap();
        terminal.answer("The file of component", file.to_str().unwrap());
        terminal.answer("age identity file", own.join("age-identity.txt").to_str().unwrap());
        terminal.answer(&format!("seal around component {component}"), &format!("S-{component}"));
    }

    // One co-signer takes the codes, for which the window is too small at first; the others take files.
    terminal.answer("The sealed shares of s1", "screen");
    let small = terminal.shows("Make the window larger");
    assert!(small.contains("65 columns by 35 rows are needed, it has 100 by 30"), "{small}");
    terminal.resize("100", "40");
    let shown = collected(&mut terminal);
    terminal.key("Space");
    terminal.answer("Has the other side the whole package?", "yes");
    for holder in ["s1", "s2", "s3"] {
        if holder != "s1" {
            terminal.answer(&format!("The sealed shares of {holder}"), "file");
        }
        terminal.answer(&format!("Who takes the shares of {holder}"), "a courier");
    }
    terminal.answer("Has everybody read the report", "yes");
    for person in &room.people {
        terminal.answer(&format!("Passphrase of {}", person.id), &person.passphrase);
    }
    let end = terminal.shows("ENDED 0");
    assert!(end.contains("the ceremony is over"), "{end}");

    let read = |name: &str| fs::read(room.path("table/screen").join(name)).unwrap();
    let signed = record::parse(&read("record.json")).unwrap();
    assert_eq!(record::check(&signed, &room.genesis).unwrap().len(), 3);
    let against = Against { genesis: Some(&room.genesis), record: Some(&signed), ..Against::default() };
    assert_eq!(verify(&read("report.json"), &against).unwrap().signers.len(), 6);
    let all: SealedShares = canon::decode(&read("shares.json")).unwrap();
    let package = |holder: &str| Package::of(&all, &fixtures::name(holder)).unwrap();
    assert_eq!(shown, package("s1"));
    assert_eq!(read("shares-s2.json"), package("s2").bytes());
}

/// A word is wrong: its holder alone is shown which one it perhaps is, and nothing of that stays.
fn wrong_words(terminal: &mut Terminal, component: &str, holder: &str, words: &[String]) {
    let right = &words[6];
    let wrong = if right == "zero" { "academic" } else { "zero" };
    let typed: Vec<&str> = (1..).zip(words).map(|(n, word)| if n == 7 { wrong } else { word }).collect();
    terminal.hidden(&typed.join(" "));
    let cover = terminal.shows(&format!("{holder} alone looks"));
    let hint = format!("word 7 is perhaps {right}");
    assert!(!terminal.everything().contains(&hint), "{cover}");
    terminal.key("Enter");
    terminal.shows(&hint);
    terminal.resize("40", "10");
    terminal.shows("Make the window larger");
    terminal.resize("100", "30");
    terminal.shows(&hint);
    terminal.key("Enter");
    let after = terminal.until(|frame| frame.contains(&format!("Component {component}: correct")), "words");
    assert!(after.contains("perhaps because word 7 is wrong"), "{after}");
    // After the words of two components.
    terminal.wiped(3);
    let all = terminal.everything();
    assert!(!all.contains("is perhaps"), "{all}");
    terminal.hidden(&format!("7 {right}"));
}

/// What a camera before the screen collects.
fn collected(terminal: &mut Terminal) -> Package {
    let mut collector = Collector::default();
    let since = Instant::now();
    loop {
        let frame = terminal.frame();
        let is_drawn = |line: &str| line.contains('█') && line.chars().all(|c| " █▀▄".contains(c));
        let drawn: Vec<&str> = frame.lines().map(str::trim_end).filter(|line| is_drawn(line)).collect();
        let left = |line: &str| line.chars().take_while(|c| *c == ' ').count();
        let margin = drawn.iter().map(|line| left(line)).min().unwrap_or_default();
        let code: Vec<String> = drawn.iter().map(|line| line.chars().skip(margin).collect()).collect();
        let side = usize::from(SIDE_MODULES);
        // A picture that was taken while the next one was drawn is none.
        let whole = code.len() == side.div_ceil(2) && code.iter().all(|line| line.chars().count() == side);
        if whole && let Ok(Some(package)) = collector.image(&common::drawn(&code)) {
            return package;
        }
        assert!(since.elapsed() < WAIT, "{collector:?}: {frame}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The component that a holder reads from may be worth something: nothing says that it is a rehearsal.
#[test]
fn who_answers_a_challenge_is_not_told_that_it_is_a_rehearsal() {
    let room = Room::new();
    let place = (7, "1.1".parse().unwrap());
    let asked = (1_800_000_000, fixtures::name("carol"));
    let challenge = Challenge::new(Hash([3; 32]), place, Medium::Paper, asked, &mut OsRng);
    fs::write(room.path("challenge.json"), challenge.to_bytes().unwrap()).unwrap();
    let words =
        ["answer".into(), room.path("challenge.json").into(), "--out".into(), room.path("answer").into()];
    let terminal = Terminal::start(&room, &words);
    let since = Instant::now();
    let frame = loop {
        let frame = terminal.capture(&["capture-pane", "-p", "-t", "room"]);
        if frame.contains("The words of the component:") {
            break frame;
        }
        assert!(since.elapsed() < WAIT, "{frame}");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(!frame.contains("REHEARSAL"), "{frame}");
}
