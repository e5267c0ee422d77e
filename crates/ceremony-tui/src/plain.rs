//! The front end of lines: each line that the program writes begins with what it is, and each question takes
//! one line. For consoles without a screen, and for programs that rehearse.
//!
//! ```text
//! step ID ROLE TEXT     a step begins
//! say TEXT              something to know
//! ask ID TEXT           answer with one line
//! hidden ID TEXT        the same, for what nobody may see
//! private ID WORDS      a component, for its holder alone, in a rehearsal alone; ask seen-ID follows
//! hint ID TEXT          what its words perhaps should be, in a rehearsal alone; ask seen-ID follows
//! code TEXT             what one of the codes says that carry sealed shares; ask codes follows
//! ```
//!
//! Instead of an answer, also of a hidden one: `!abort REASON` gives up, `!pause` interrupts. What the watch
//! finds is told after the next answer.

use std::io::{self, BufRead, IsTerminal as _, Write};

use ceremony::script::Step;
use keys::locked::LockedBytes;

use crate::front::{self, Front, Progress, Question, Reply, printable};
use crate::handover::{Frames, Package};

/// Longest line that is taken, in bytes: ten thousand throws of dice, or the words of a component.
pub const LINE_LIMIT_BYTES: usize = 16 << 10;

/// Lines in, lines out.
#[derive(Debug)]
pub struct Plain<I, O> {
    input: I,
    output: O,
    rehearsal: bool,
}

impl<I: BufRead, O: Write> Plain<I, O> {
    /// A front end over these.
    pub fn new(input: I, output: O) -> Self {
        Self { input, output, rehearsal: false }
    }

    fn line(&mut self, kind: &str, text: &str) -> io::Result<()> {
        // One line each: what a script or a finding says must not write lines of its own.
        writeln!(self.output, "{kind} {}", printable(text))?;
        self.output.flush()
    }

    fn seen(&mut self, holder: &str, component: &str) -> io::Result<Reply<()>> {
        let seen = format!("{holder}: type yes when you have it.");
        Ok(self.ask(&Question::new(format!("seen-{component}"), seen))?.map(|_| ()))
    }

    /// One line, into locked memory; the buffer that it came through is wiped.
    fn read(&mut self) -> io::Result<LockedBytes> {
        let mut line = LockedBytes::zeroed(LINE_LIMIT_BYTES).map_err(io::Error::other)?;
        let mut places = line.expose_mut().iter_mut();
        let mut length = 0usize;
        loop {
            let [byte] = {
                let mut byte = [0; 1];
                match self.input.read(&mut byte)? {
                    0 if length == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    0 => break,
                    _ => byte,
                }
            };
            if byte == b'\n' {
                break;
            }
            let full = || io::Error::other(format!("a line is over {LINE_LIMIT_BYTES} bytes"));
            *places.next().ok_or_else(full)? = byte;
            length = length.saturating_add(1);
        }
        line.truncate(length);
        Ok(line)
    }
}

impl<I: BufRead, O: Write> Front for Plain<I, O> {
    fn step(&mut self, step: &Step, progress: Progress) -> io::Result<()> {
        self.rehearsal = progress.rehearsal;
        let rehearsal = if progress.rehearsal { " REHEARSAL" } else { "" };
        let people: Vec<&str> = step.people.iter().map(|person| person.as_str()).collect();
        let head = format!("{} {}/{}{rehearsal} [{}]", step.id, progress.step, progress.of, people.join(" "));
        self.line("step", &format!("{head} {}", step.says))
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        text.lines().try_for_each(|line| self.line("say", line))
    }

    fn ask(&mut self, question: &Question) -> io::Result<Reply<String>> {
        self.line("ask", &format!("{} {}", question.id, question.text))?;
        let line = self.read()?;
        let text = String::from_utf8_lossy(line.expose()).trim().to_owned();
        Ok(front::command(&text).unwrap_or(Reply::Given(text)))
    }

    fn hidden(&mut self, question: &Question) -> io::Result<Reply<LockedBytes>> {
        let typed = if io::stdin().is_terminal() {
            let typed = rpassword::prompt_password(format!("{} ", printable(&question.text)))?;
            let mut typed = zeroize::Zeroizing::new(typed.into_bytes());
            // Locked memory of no bytes does not exist.
            let length = typed.len();
            typed.push(b'\n');
            let mut locked = LockedBytes::take(&mut typed).map_err(io::Error::other)?;
            locked.truncate(length);
            locked
        } else {
            self.line("hidden", &format!("{} {}", question.id, question.text))?;
            self.read()?
        };
        let command = str::from_utf8(typed.expose()).ok().and_then(front::command);
        Ok(command.unwrap_or(Reply::Given(typed)))
    }

    fn private(&mut self, holder: &str, component: &str, words: LockedBytes) -> io::Result<Reply<()>> {
        // Lines cannot be cleared: of a component that is worth something the sheet must do.
        if !self.rehearsal {
            return Ok(Reply::Given(()));
        }
        let text = str::from_utf8(words.expose()).map_err(io::Error::other)?;
        writeln!(self.output, "private {component} {text}")?;
        self.output.flush()?;
        drop(words);
        self.seen(holder, component)
    }

    fn hints(&mut self, holder: &str, component: &str, lines: LockedBytes) -> io::Result<Reply<()>> {
        // Lines cannot be cleared: of a component that is worth something the numbers of wrong words must do.
        if !self.rehearsal {
            return Ok(Reply::Given(()));
        }
        for line in str::from_utf8(lines.expose()).map_err(io::Error::other)?.lines() {
            writeln!(self.output, "hint {component} {line}")?;
        }
        drop(lines);
        self.seen(holder, component)
    }

    fn codes(&mut self, package: &Package) -> io::Result<Reply<()>> {
        let mut frames = Frames::new(package).map_err(io::Error::other)?;
        let round = frames.fragments();
        loop {
            for code in frames.by_ref().take(round) {
                self.line("code", code.map_err(io::Error::other)?.text())?;
            }
            let asked = "Type yes when the other side has them, or more for others, of which it needs as many as it missed:";
            match self.ask(&Question::new("codes", asked))? {
                Reply::Given(answer) if answer == "more" => {}
                other => return Ok(other.map(|_| ())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ceremony::script::{Action, Role};

    use super::*;

    type Lines<'l> = Plain<&'l [u8], &'l mut Vec<u8>>;

    /// What is said when a holder is shown this.
    fn told(rehearsal: bool, show: impl FnOnce(&mut Lines<'_>) -> io::Result<Reply<()>>) -> String {
        let step = Step {
            id: "enter-1.1".into(),
            role: Role::KeyCustodian,
            people: Vec::new(),
            action: Action::Combine,
            says: "Enter it.".into(),
            records: Vec::new(),
            may_deviate: Vec::new(),
            secret: true,
            private: true,
        };
        let mut output = Vec::new();
        let mut plain = Plain::new(&b"yes\n"[..], &mut output);
        plain.step(&step, Progress { step: 1, of: 1, rehearsal }).unwrap();
        assert!(matches!(show(&mut plain).unwrap(), Reply::Given(())));
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn words_stay_off_a_console_that_cannot_be_cleared() {
        for rehearsal in [true, false] {
            let words = LockedBytes::take(&mut b"academic acid".to_vec()).unwrap();
            let said = told(rehearsal, |plain| plain.private("carol", "1.1", words));
            assert_eq!(said.contains("\nprivate 1.1 academic acid\n"), rehearsal, "{said}");
            assert_eq!(said.contains("acid") && said.contains("ask seen-1.1"), rehearsal, "{said}");
        }
    }

    #[test]
    fn hints_stay_off_a_console_that_cannot_be_cleared() {
        for rehearsal in [true, false] {
            let lines = LockedBytes::take(&mut b"word 7 is perhaps acid\n".to_vec()).unwrap();
            let said = told(rehearsal, |plain| plain.hints("carol", "1.1", lines));
            assert_eq!(said.contains("\nhint 1.1 word 7 is perhaps acid\n"), rehearsal, "{said}");
            assert_eq!(said.contains("acid") && said.contains("ask seen-1.1"), rehearsal, "{said}");
        }
    }
}
