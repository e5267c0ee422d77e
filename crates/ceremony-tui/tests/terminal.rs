//! The screen, driven in a real terminal: tmux types and looks. Needs `tmux` (Debian package `tmux`).

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use ceremony::report::{Against, verify};
use ceremony::script::Kind;
use ceremony_tui::rehearsal::Table;
use common::{PROGRAM, Room, program};

/// By when something is on the screen, at the latest: a loaded machine included.
const WAIT: Duration = Duration::from_secs(120);

/// A terminal of 100 by 30, and the program in it.
struct Terminal {
    socket: PathBuf,
    frames: usize,
}

impl Terminal {
    fn tmux(&self, arguments: &[&str]) -> Output {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(arguments).output();
        output.unwrap_or_else(|error| panic!("tmux: {error}; apt-get install tmux"))
    }

    fn start(room: &Room, arguments: &[OsString]) -> Self {
        let this = Self { socket: room.path("tmux"), frames: 0 };
        let quoted = |word: &OsString| format!("'{}'", word.to_str().unwrap());
        let words: Vec<String> = arguments.iter().map(quoted).collect();
        // The line before shows whether the program gives the terminal back as it was.
        let line = format!("echo BEFORE; '{PROGRAM}' {}; echo ENDED $?; sleep 600", words.join(" "));
        let size = ["new-session", "-d", "-x", "100", "-y", "30", "-s", "room", &line];
        let output = this.tmux(&size);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        this
    }

    /// What is on the screen; of the program, every frame says that it is a rehearsal.
    fn frame(&mut self) -> String {
        let frame = self.capture(&["capture-pane", "-p", "-t", "room"]);
        if frame.contains("keyward-ceremony ·") || frame.contains("component ") {
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

    fn shows(&mut self, text: &str) -> String {
        self.until(|frame| frame.contains(text), text)
    }

    fn key(&self, key: &str) {
        assert!(self.tmux(&["send-keys", "-t", "room", key]).status.success());
    }

    fn resize(&self, width: &str, height: &str) {
        assert!(self.tmux(&["resize-window", "-t", "room", "-x", width, "-y", height]).status.success());
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

/// The screen to a holder's component and beyond it, and then given up: what was seen is gone.
#[test]
fn words_are_seen_by_their_holder_alone_and_leave_nothing() {
    let room = Room::new();
    let table: Table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let file = room.path("script.json");
    fs::write(&file, script.bytes()).unwrap();
    let printer = table.printer("screen");
    assert!(Command::new("mkfifo").arg(&printer).status().unwrap().success());
    let mut arguments: Vec<OsString> = vec!["run".into(), "--script".into(), file.into()];
    arguments.extend(table.arguments("screen", &script));
    let mut terminal = Terminal::start(&room, &arguments);

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

    let reader = thread::spawn({
        let printer = printer.clone();
        move || fs::read(printer).unwrap()
    });
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

    let secret: BTreeSet<&str> = words.iter().map(String::as_str).collect();
    let seen = |text: &str| {
        let said: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_lowercase()).collect();
        said.intersection(&secret).copied().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    // Some words of the list are words of every day, which the screen has anyway.
    let usual = seen(&cover);
    let few = |text: &str| seen(text).difference(&usual).count() <= 3;
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
    assert!(program().exists());
}
