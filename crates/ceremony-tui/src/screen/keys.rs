//! Keys, read byte by byte from the terminal, so that nothing of what is typed stays in a buffer of a library.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long one look at the keyboard takes: the watch is asked between two.
const WAIT: Duration = Duration::from_millis(200);

/// How long the rest of an escape sequence may take to come.
const SEQUENCE_WAIT: Duration = Duration::from_millis(50);

/// A key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// One byte of a character (UTF-8).
    Byte(u8),
    Enter,
    Backspace,
    /// Ctrl-U: the line anew.
    Clear,
    /// Ctrl-C.
    Interrupt,
    PageUp,
    PageDown,
}

/// The keyboard.
pub(super) struct Keys {
    bytes: Receiver<u8>,
    /// Whether the last byte was a carriage return: a line feed behind it is the same key.
    returned: bool,
}

impl Keys {
    /// Reads from now on.
    pub(super) fn start() -> io::Result<Self> {
        let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let (tell, bytes) = channel();
        thread::spawn(move || {
            let mut byte = [0; 1];
            loop {
                match input.read(&mut byte) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(1) => {
                        let [read] = std::mem::take(&mut byte);
                        if tell.send(read).is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        });
        Ok(Self { bytes, returned: false })
    }

    /// Forgets what was typed before it was asked for: nobody confirms what they have not seen.
    pub(super) fn forget(&mut self) {
        while self.bytes.try_recv().is_ok() {}
        self.returned = false;
    }

    fn byte(&self, wait: Duration) -> io::Result<Option<u8>> {
        match self.bytes.recv_timeout(wait) {
            Ok(byte) => Ok(Some(byte)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The next key; none if none came for a moment.
    pub(super) fn next(&mut self) -> io::Result<Option<Key>> {
        loop {
            let Some(byte) = self.byte(WAIT)? else { return Ok(None) };
            let returned = std::mem::replace(&mut self.returned, byte == b'\r');
            let key = match byte {
                b'\n' if returned => continue,
                b'\r' | b'\n' => Key::Enter,
                0x08 | 0x7f => Key::Backspace,
                0x03 => Key::Interrupt,
                0x15 => Key::Clear,
                b'\t' => Key::Byte(b' '),
                0x1b => match self.sequence()? {
                    Some(key) => key,
                    None => continue,
                },
                0x00..=0x1f => continue,
                byte => Key::Byte(byte),
            };
            return Ok(Some(key));
        }
    }

    /// What a key sends after an escape (ECMA-48 §5.4): parameters, and a last byte.
    fn sequence(&mut self) -> io::Result<Option<Key>> {
        if !matches!(self.byte(SEQUENCE_WAIT)?, Some(b'[' | b'O')) {
            return Ok(None);
        }
        let mut first = None;
        while let Some(byte) = self.byte(SEQUENCE_WAIT)? {
            if (0x40..=0x7e).contains(&byte) {
                return Ok(match (first, byte) {
                    (Some(b'5'), b'~') => Some(Key::PageUp),
                    (Some(b'6'), b'~') => Some(Key::PageDown),
                    _ => None,
                });
            }
            first = first.or(Some(byte));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_keys() {
        let (tell, bytes) = channel();
        let mut keys = Keys { bytes, returned: false };
        b"a\x1b[5~\x1b[6~\x1b[A\x1bOP\x7f\x15\x03\r\n\n\t\x01"
            .iter()
            .for_each(|byte| tell.send(*byte).unwrap());
        let mut seen = Vec::new();
        while let Some(key) = keys.next().unwrap() {
            seen.push(key);
        }
        use Key::{Backspace, Byte, Clear, Enter, Interrupt, PageDown, PageUp};
        assert_eq!(
            seen,
            [Byte(b'a'), PageUp, PageDown, Backspace, Clear, Interrupt, Enter, Enter, Byte(b' ')]
        );
        tell.send(b'x').unwrap();
        keys.forget();
        assert_eq!(keys.next().unwrap(), None);
        drop(tell);
        assert!(keys.next().is_err(), "nobody is there any more");
    }
}
