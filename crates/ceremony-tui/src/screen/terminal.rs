//! The terminal itself: taken, drawn on, wiped, given back.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::panic;
use std::sync::Once;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};
use zeroize::Zeroize as _;

use super::draw;

/// Bytes on their way to the terminal, wiped once they are there.
struct Out {
    file: File,
    waiting: Vec<u8>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.waiting).and_then(|()| self.file.flush());
        self.waiting.zeroize();
        written
    }
}

/// The terminal, while it is ours.
pub(super) struct Display(Terminal<CrosstermBackend<Out>>);

impl Display {
    pub(super) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |panicked| {
                give_back();
                before(panicked);
            }));
        });
        enable_raw_mode()?;
        let mut out =
            Out { file: File::from(io::stdout().as_fd().try_clone_to_owned()?), waiting: Vec::new() };
        execute!(out, EnterAlternateScreen)?;
        Ok(Self(Terminal::new(CrosstermBackend::new(out))?))
    }

    pub(super) fn draw(&mut self, what: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(what).map(drop)
    }

    /// Overwrites both buffers, what the terminal shows, and what scrolled out of it.
    pub(super) fn wipe(&mut self, rehearsal: bool) -> io::Result<()> {
        // There are two buffers, and an empty cell keeps the letter that was in it: each gets another one.
        for _ in 0..2 {
            self.draw(|frame| draw::pattern(frame, rehearsal))?;
        }
        // What was shown is overwritten by now. To clear it, too, would ask the terminal where its cursor is,
        // and the answer comes as keys.
        execute!(self.0.backend_mut(), Clear(ClearType::Purge))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        give_back();
    }
}

/// A terminal that does not take this is none any more.
fn give_back() {
    let _ =
        execute!(io::stdout(), Clear(ClearType::All), Clear(ClearType::Purge), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use std::{fs, mem};

    use ratatui::layout::Rect;
    use ratatui::{TerminalOptions, Viewport};

    use super::*;

    #[test]
    fn what_was_shown_is_overwritten_and_what_scrolled_away_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("terminal");
        let out = Out { file: File::create(&path).unwrap(), waiting: Vec::new() };
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 80, 24)) };
        let mut display = Display(Terminal::with_options(CrosstermBackend::new(out), options).unwrap());
        let words = ["academic"; 33].join(" ");
        display.draw(|frame| draw::words(frame, false, "1.1", &words)).unwrap();
        let shown = fs::read_to_string(&path).unwrap();
        assert_eq!(shown.matches("academic").count(), 33);
        display.wipe(false).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        let wiped = written.strip_prefix(&shown).unwrap();
        // All lines but the first, which says that the screen is cleared; and xterm's E3, of what scrolled away.
        assert!(wiped.matches('▒').count() >= 80 * 23 && wiped.ends_with("\x1b[3J"), "{wiped:?}");
        assert!(!wiped.contains("academic"));
        assert!(display.0.current_buffer_mut().content.iter().all(|cell| cell.symbol() != "a"));
        // It would give the terminal of the tests back, which was never taken.
        mem::forget(display);
    }
}
