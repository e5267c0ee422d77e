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
        // A word of its own: another one that begins so is an answer.
        Some(reason) if reason.is_empty() || reason.starts_with(char::is_whitespace) => {
            Some(Reply::Abort(reason.trim().to_owned()))
        }
        _ => (line == PAUSE).then_some(Reply::Pause),
    }
}

/// Text of scripts, files and machines on a terminal: it writes letters, and nothing else.
pub fn printable(text: &str) -> String {
    // Besides control characters, what turns the direction of the text around it (Unicode annex 9), ends a line,
    // or has no width: the same that a script may not have.
    let bad = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}'
            )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_word_of_its_own() {
        let reason = |line: &str| match command::<()>(line) {
            Some(Reply::Abort(reason)) => Some(reason),
            _ => None,
        };
        assert_eq!(reason(" !abort "), Some(String::new()));
        assert_eq!(reason("!abort the  room is wet"), Some("the  room is wet".into()));
        assert_eq!(reason("!abort\tlate"), Some("late".into()));
        for answer in ["!aborted", "!abort!", "abort", "", "!pause now", "!pauses"] {
            assert!(command::<()>(answer).is_none(), "{answer:?}");
        }
        assert!(matches!(command::<()>("!pause"), Some(Reply::Pause)));
    }

    #[test]
    fn nothing_but_letters_is_written_to_a_terminal() {
        assert_eq!(printable("Zürich, 東京: [2J"), "Zürich, 東京: [2J");
        let ranges = [('\u{200b}', '\u{200f}'), ('\u{2028}', '\u{202e}'), ('\u{2060}', '\u{206f}')];
        let hidden = ranges.into_iter().flat_map(|(first, last)| first..=last);
        let single = ['\u{1b}', '\u{9b}', '\n', '\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}'];
        for c in hidden.chain(single) {
            assert_eq!(printable(&format!("a{c}b")), "a b", "{c:?}");
        }
        for c in ['\u{200a}', '\u{2010}', '\u{2027}', '\u{202f}', '\u{205f}', '\u{2070}'] {
            assert_eq!(printable(&c.to_string()), c.to_string(), "{c:?}");
        }
    }
}
