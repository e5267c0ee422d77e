//! The front end of a terminal: one step fills the screen, with who acts, what to do, what was said so far, and
//! one line to answer in. What nobody may see shows as a count; words are shown to their holder alone, behind
//! a cover, and nothing of them is left: the buffers of the screen are overwritten, the screen is an
//! alternate one, and what scrolled out of it is cleared (DACS GEN-07).

mod draw;
mod keys;
mod terminal;

use std::io;

use ::keys::locked::LockedBytes;
use ceremony::script::Step;

use crate::front::{self, Front, Progress, Question, Reply, printable};
use crate::handover::{Frames, Package};
use crate::plain::LINE_LIMIT_BYTES;
use crate::watch::Alarm;
use draw::{Entry, Page};
use keys::{Key, Keys};
use terminal::Display;

/// Lines that are kept to be looked at again; a ceremony says some hundreds.
const LOG_LIMIT: usize = 2_000;

/// How far a page key goes, in lines.
const PAGE_LINES: usize = 8;

/// The screen.
pub struct Screen {
    display: Display,
    keys: Keys,
    alarm: Alarm,
    page: Page,
}

impl Screen {
    /// Takes the terminal, until this is dropped. A panic gives it back, too.
    ///
    /// # Errors
    /// There is no terminal.
    pub fn open(rehearsal: bool) -> io::Result<Self> {
        let display = Display::open()?;
        let page = Page { rehearsal, ..Page::default() };
        let mut screen = Self { display, keys: Keys::start()?, alarm: Alarm::default(), page };
        screen.show()?;
        Ok(screen)
    }

    fn show(&mut self) -> io::Result<()> {
        let page = &self.page;
        self.display.draw(|frame| draw::page(frame, page))
    }

    fn log(&mut self, line: String) {
        self.page.log.push(line);
        let over = self.page.log.len().saturating_sub(LOG_LIMIT);
        self.page.log.drain(..over);
        self.page.scrolled = 0;
    }

    /// The next key, with the screen kept as large as the window; none if the watch found something.
    fn key(&mut self) -> io::Result<Option<Key>> {
        loop {
            if let Some(key) = self.keys.next()? {
                return Ok(Some(key));
            }
            if self.alarm.is_raised() {
                return Ok(None);
            }
            self.show()?;
        }
    }

    /// One line, typed below a question.
    fn line(&mut self, text: &str, entry: Entry) -> io::Result<Reply<LockedBytes>> {
        let mut typed = Typed::new()?;
        self.keys.forget();
        self.page.question = printable(text);
        self.page.entry = entry;
        let reply = loop {
            self.page.input = match entry {
                Entry::Open => typed.text(),
                Entry::Hidden => typed.count(),
                Entry::None => String::new(),
            };
            self.show()?;
            match self.key()? {
                None => break Reply::Alarm,
                Some(Key::Enter) => break Reply::Given(typed.finish()),
                Some(Key::Interrupt) => break Reply::Abort(String::new()),
                Some(Key::Byte(byte)) => typed.push(byte),
                Some(Key::Backspace) => typed.pop(),
                Some(Key::Clear) => typed.clear(),
                Some(Key::PageUp) => self.page.scrolled = self.page.scrolled.saturating_add(PAGE_LINES),
                Some(Key::PageDown) => self.page.scrolled = self.page.scrolled.saturating_sub(PAGE_LINES),
            }
        };
        self.page.question.clear();
        self.page.input.clear();
        self.page.entry = Entry::None;
        self.page.scrolled = 0;
        Ok(reply)
    }

    /// As [`Screen::line`], with what is no answer told from answers. Ctrl-C asks before it gives up.
    fn answer(&mut self, question: &Question, entry: Entry) -> io::Result<Reply<LockedBytes>> {
        loop {
            match self.line(&question.text, entry)? {
                Reply::Abort(_) => {
                    let why = "Give the ceremony up? Type the reason, or nothing to go on:";
                    match self.line(why, Entry::Open)?.map(|typed| text(&typed)) {
                        Reply::Given(reason) if !reason.is_empty() => return Ok(Reply::Abort(reason)),
                        Reply::Alarm => return Ok(Reply::Alarm),
                        _ => {}
                    }
                }
                Reply::Given(typed) => {
                    let command = str::from_utf8(typed.expose()).ok().and_then(front::command);
                    return Ok(command.unwrap_or(Reply::Given(typed)));
                }
                other => return Ok(other),
            }
        }
    }

    /// Waits for Enter.
    fn enter(&mut self) -> io::Result<Reply<()>> {
        loop {
            match self.key()? {
                None => return Ok(Reply::Alarm),
                Some(Key::Enter) => return Ok(Reply::Given(())),
                Some(Key::Interrupt) => return Ok(Reply::Abort(String::new())),
                Some(_) => {}
            }
        }
    }

    /// Shows something to a holder alone, and nothing of it stays.
    fn alone(
        &mut self,
        holder: &str,
        component: &str,
        shown: LockedBytes,
        how: draw::Private,
    ) -> io::Result<Reply<()>> {
        let seen = self.uncover(holder, component, &shown, how);
        drop(shown);
        self.page.cover = None;
        // Whatever happened.
        self.display.wipe(self.page.rehearsal)?;
        self.show()?;
        seen
    }

    /// Shows it behind a cover; whoever calls this wipes the screen.
    fn uncover(
        &mut self,
        holder: &str,
        component: &str,
        shown: &LockedBytes,
        how: draw::Private,
    ) -> io::Result<Reply<()>> {
        self.page.cover = Some(format!(
            "{} alone looks. Everybody else turns away; no camera sees this screen.",
            printable(holder)
        ));
        // Before it is seen: who answers at once is heard.
        self.keys.forget();
        self.show()?;
        match self.enter()? {
            Reply::Given(()) => {}
            // Nothing is shown then; the question that follows is the place to give up.
            Reply::Abort(_) => return Ok(Reply::Given(())),
            other => return Ok(other),
        }
        self.page.cover = None;
        self.keys.forget();
        loop {
            let rehearsal = self.page.rehearsal;
            let text = str::from_utf8(shown.expose()).map_err(io::Error::other)?;
            self.display.draw(|frame| how(frame, rehearsal, component, text))?;
            match self.keys.next()? {
                Some(Key::Enter | Key::Interrupt) => return Ok(Reply::Given(())),
                None if self.alarm.is_raised() => return Ok(Reply::Alarm),
                _ => {}
            }
        }
    }
}

impl Front for Screen {
    fn heed(&mut self, alarm: Alarm) {
        self.alarm = alarm;
    }

    fn step(&mut self, step: &Step, progress: Progress) -> io::Result<()> {
        if self.page.id != step.id {
            self.log(format!("── {}", step.id));
        }
        self.page.begin(step, progress);
        self.show()
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            self.log(printable(line));
        }
        self.show()
    }

    fn ask(&mut self, question: &Question) -> io::Result<Reply<String>> {
        let reply = self.answer(question, Entry::Open)?.map(|typed| text(&typed));
        if let Reply::Given(answer) = &reply {
            self.log(format!("{} {}", printable(&question.text), printable(answer)));
        }
        self.show()?;
        Ok(reply)
    }

    fn hidden(&mut self, question: &Question) -> io::Result<Reply<LockedBytes>> {
        let reply = self.answer(question, Entry::Hidden)?;
        self.show()?;
        Ok(reply)
    }

    fn private(&mut self, holder: &str, component: &str, words: LockedBytes) -> io::Result<Reply<()>> {
        self.alone(holder, component, words, draw::words)
    }

    fn hints(&mut self, holder: &str, component: &str, lines: LockedBytes) -> io::Result<Reply<()>> {
        self.alone(holder, component, lines, draw::hints)
    }

    fn codes(&mut self, package: &Package) -> io::Result<Reply<()>> {
        self.keys.forget();
        loop {
            // The keyboard is waited for as long as a camera needs for a code.
            for code in Frames::new(package).map_err(io::Error::other)? {
                let (rehearsal, code) = (self.page.rehearsal, code.map_err(io::Error::other)?);
                self.display.draw(|frame| draw::code(frame, rehearsal, package.holder(), &code))?;
                if self.keys.next()?.is_some() {
                    self.show()?;
                    return Ok(Reply::Given(()));
                }
            }
        }
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Screen")
    }
}

fn text(typed: &LockedBytes) -> String {
    String::from_utf8_lossy(typed.expose()).trim().to_owned()
}

/// A line under way, in locked memory.
struct Typed {
    bytes: LockedBytes,
    length: usize,
}

impl Typed {
    fn new() -> io::Result<Self> {
        let bytes = LockedBytes::zeroed(LINE_LIMIT_BYTES).map_err(io::Error::other)?;
        Ok(Self { bytes, length: 0 })
    }

    fn so_far(&self) -> &[u8] {
        self.bytes.expose().get(..self.length).unwrap_or_default()
    }

    fn text(&self) -> String {
        printable(&String::from_utf8_lossy(self.so_far()))
    }

    /// What is shown of what nobody may see.
    fn count(&self) -> String {
        let characters = String::from_utf8_lossy(self.so_far()).chars().count();
        let words = self.so_far().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
        match (characters, words) {
            (0, _) => "(hidden)".into(),
            (_, 0 | 1) => format!("(hidden: {characters} characters)"),
            _ => format!("(hidden: {characters} characters, {words} words)"),
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.expose_mut().get_mut(self.length) {
            *place = byte;
            self.length = self.length.saturating_add(1);
        }
    }

    /// Takes one character away, which may be several bytes.
    fn pop(&mut self) {
        while self.length > 0 {
            self.length = self.length.saturating_sub(1);
            let Some(place) = self.bytes.expose_mut().get_mut(self.length) else { return };
            let continues = *place & 0xc0 == 0x80;
            *place = 0;
            if !continues {
                return;
            }
        }
    }

    fn clear(&mut self) {
        while self.length > 0 {
            self.pop();
        }
    }

    fn finish(mut self) -> LockedBytes {
        self.bytes.truncate(self.length);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_typed_corrected_and_counted() {
        let mut typed = Typed::new().unwrap();
        assert_eq!(typed.count(), "(hidden)");
        "académ x".bytes().for_each(|byte| typed.push(byte));
        assert_eq!(
            (typed.text().as_str(), typed.count().as_str()),
            ("académ x", "(hidden: 8 characters, 2 words)")
        );
        (0..4).for_each(|_| typed.pop());
        assert_eq!(typed.text(), "acad");
        assert_eq!(typed.count(), "(hidden: 4 characters)");
        typed.clear();
        typed.pop();
        assert_eq!(typed.so_far(), b"");
        (0..=LINE_LIMIT_BYTES).for_each(|_| typed.push(b'1'));
        assert_eq!(typed.finish().expose().len(), LINE_LIMIT_BYTES);
    }
}
