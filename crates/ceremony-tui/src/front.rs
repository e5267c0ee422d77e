//! What a front end does for the run: it shows, asks, and hides. Two of them are the same to everybody else:
//! lines on standard input and output ([`crate::plain`]), and the screen ([`crate::screen`]).

use std::io;

use ceremony::script::Step;
use keys::locked::LockedBytes;

use crate::handover::Package;
use crate::watch::Alarm;

/// Where the run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Which step, from 1.
    pub step: usize,
    /// Of how many, as far as is known.
    pub of: usize,
    /// Whether the network is one for tests.
    pub rehearsal: bool,
}

/// Something that people are asked. `id` is for programs, `text` for people.
#[derive(Clone, Debug)]
pub struct Question {
    /// Such as `seal` or `passphrase-alice`.
    pub id: String,
    /// A whole sentence.
    pub text: String,
}

impl Question {
    /// A question.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), text: text.into() }
    }
}

/// What people answer.
#[derive(Debug)]
pub enum Reply<T> {
    /// This.
    Given(T),
    /// They give up, for this reason; it may be empty.
    Abort(String),
    /// They interrupt the ceremony.
    Pause,
    /// Nobody answered: the watch found something, and the secrets are gone ([`Alarm`]).
    Alarm,
}

impl<T> Reply<T> {
    /// What was given, as something else.
    pub fn map<U>(self, into: impl FnOnce(T) -> U) -> Reply<U> {
        match self {
            Self::Given(given) => Reply::Given(into(given)),
            Self::Abort(reason) => Reply::Abort(reason),
            Self::Pause => Reply::Pause,
            Self::Alarm => Reply::Alarm,
        }
    }
}

/// What people type in the place of an answer to give up, a reason behind it.
pub const ABORT: &str = "!abort";

/// What people type in the place of an answer to interrupt.
pub const PAUSE: &str = "!pause";

/// One line that was typed, if it is no answer.
pub(crate) fn command<T>(line: &str) -> Option<Reply<T>> {
    let line = line.trim();
    match line.strip_prefix(ABORT) {
        Some(reason) => Some(Reply::Abort(reason.trim().to_owned())),
        None => (line == PAUSE).then_some(Reply::Pause),
    }
}

/// Text of scripts, files and machines on a terminal: it writes letters, and nothing else.
pub(crate) fn printable(text: &str) -> String {
    // Besides control characters, what turns the direction of the text around it (Unicode annex 9).
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if bad(c) { ' ' } else { c }).collect()
}

/// A front end.
pub trait Front {
    /// A front end that can leaves a question, and clears what is secret, when this is raised.
    fn heed(&mut self, alarm: Alarm) {
        drop(alarm);
    }

    /// A step begins.
    ///
    /// # Errors
    /// Nobody is there any more.
    fn step(&mut self, step: &Step, progress: Progress) -> io::Result<()>;

    /// Tells something.
    ///
    /// # Errors
    /// As above.
    fn say(&mut self, text: &str) -> io::Result<()>;

    /// Asks for something that everybody may see.
    ///
    /// # Errors
    /// As above.
    fn ask(&mut self, question: &Question) -> io::Result<Reply<String>>;

    /// Asks for something that nobody may see.
    ///
    /// # Errors
    /// As above.
    fn hidden(&mut self, question: &Question) -> io::Result<Reply<LockedBytes>>;

    /// Shows the words of a component to its holder alone, until the holder has seen enough; nothing of them
    /// stays on the screen or above it.
    ///
    /// # Errors
    /// As above.
    fn private(&mut self, holder: &str, component: &str, words: LockedBytes) -> io::Result<Reply<()>>;

    /// The same with what the words of a component perhaps should be, a line each.
    ///
    /// # Errors
    /// As above.
    fn hints(&mut self, holder: &str, component: &str, lines: LockedBytes) -> io::Result<Reply<()>>;

    /// Shows sealed shares as codes, one after the other, until somebody has seen enough. Nothing of them is secret.
    ///
    /// # Errors
    /// As above.
    fn codes(&mut self, package: &Package) -> io::Result<Reply<()>>;
}
