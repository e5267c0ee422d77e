//! A monotonic counter in a TPM 2.0: defined, incremented, read, and nothing else of what a TPM can do.
//!
//! Commands and structures are those of the TCG's *TPM 2.0 Library*, revision 1.59: Part 1 §18 (commands, sessions),
//! Part 2 §6.6 (response codes), §13.4 and §13.5 (`TPMA_NV`, `TPMS_NV_PUBLIC`), Part 3 §31 (the NV commands). A counter
//! never goes back: not by any command, and one that is deleted and defined again begins above the highest count that
//! any counter of this TPM ever had (Part 3 §31.2).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Indices that the owner of a machine gives out (TCG *Registry of Reserved TPM 2.0 Handles and Localities*).
pub const OWNER_INDICES: std::ops::RangeInclusive<u32> = 0x0180_0000..=0x01bf_ffff;

/// The index that is used when none is named: "KW" in the owner's range.
pub const DEFAULT_INDEX: u32 = 0x0181_4b57;

/// Longest response, in bytes: what Linux buffers of one (`TPM_BUFSIZE`); ours have 80 at most.
pub const RESPONSE_LIMIT_BYTES: usize = 4096;

/// How often a command is sent again that the TPM puts off: with the wait, five seconds.
pub const RETRY_LIMIT: u32 = 50;

const RETRY_WAIT: Duration = Duration::from_millis(100);

/// How long an emulator may take for one answer. For a device the kernel has limits of its own.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Tag, size, and code of a command or response, in bytes.
const HEADER_BYTES: usize = 10;

const TAG_PLAIN: u16 = 0x8001;
const TAG_SESSIONS: u16 = 0x8002;
const OWNER: u32 = 0x4000_0001;

/// One session, of 9 bytes: an empty password (`TPM_RS_PW`, no nonce, no attributes, no bytes).
const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];

const SHA256: u16 = 0x000b;

/// A counter that whoever can open the TPM may increment and read, without the owner's password. Nobody can set it
/// back, and whoever increments it makes this co-signer rejoin, no more. No lockout (`NO_DA`): others' wrong passwords
/// do not stop it. Not `ORDERLY`: that spares the memory, and after a failure of power counts further by itself, which
/// looks like an old disk; co-signers that lose power together would all wait for the others.
const ATTRIBUTES: u32 = TYPE_COUNTER | OPEN;
/// What an index must have that somebody else defined.
const OPEN: u32 = AUTH_WRITE | AUTH_READ | NO_DA;
const AUTH_WRITE: u32 = 1 << 2;
const TYPE_COUNTER: u32 = 1 << 4;
const TYPE_MASK: u32 = 0xf << 4;
const AUTH_READ: u32 = 1 << 18;
const NO_DA: u32 = 1 << 25;
const WRITTEN: u32 = 1 << 29;
const COUNTER_BYTES: u16 = 8;

/// `TPM_RC_HANDLE` for the first handle: there is no such index.
const NO_SUCH_INDEX: u32 = 0x18b;

/// The TPM has not done it: too many writes of late, yielded, testing itself, busy, its memory out of reach (Part 2
/// §6.6.3, warnings).
const LATER: [u32; 5] = [0x920, 0x908, 0x90a, 0x922, 0x923];

type Command = (&'static str, u32);
const DEFINE: Command = ("TPM2_NV_DefineSpace", 0x12a);
const INCREMENT: Command = ("TPM2_NV_Increment", 0x134);
const READ: Command = ("TPM2_NV_Read", 0x14e);
const READ_PUBLIC: Command = ("TPM2_NV_ReadPublic", 0x169);

/// Why a counter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// Not in [`OWNER_INDICES`].
    #[error("index {0:#010x} is not the owner's to give out: take one from 0x01800000 to 0x01bfffff")]
    Index(u32),
    /// Neither a device nor an emulator.
    #[error("{0} is neither a TPM device nor a socket: give /dev/tpmrm0")]
    NoDevice(PathBuf),
    /// The path cannot be opened, or the TPM is gone.
    #[error("{command} at the TPM {path}: {source}; {}", look_at(source))]
    Io {
        /// What was tried.
        command: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The TPM said no.
    #[error("{command} of index {index:#010x}: the TPM says {code:#05x}; {}", advice(command, *code))]
    Refused {
        /// What was tried.
        command: &'static str,
        /// The index.
        index: u32,
        /// The response code (Part 2 §6.6).
        code: u32,
    },
    /// Bytes that are no response to the command.
    #[error("{0}: the answer is none of a TPM 2.0: see what is behind the path")]
    Malformed(&'static str),
    /// Something else lives at the index.
    #[error(
        "index {0:#010x} is used for something else than a counter that everybody may read and increment (authread, \
         authwrite, no_da): take another"
    )]
    NoCounter(u32),
    /// The counter went on by more than what was counted here.
    #[error(
        "the counter {index:#010x} stands at {is}, and not at {expected}: something else counts with it; \
         find out what, or take another index"
    )]
    Elsewhere {
        /// The index.
        index: u32,
        /// What was expected.
        expected: u64,
        /// What it says.
        is: u64,
    },
}

/// What to look at after an error of the system.
fn look_at(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ResourceBusy => "another program has it to itself: give /dev/tpmrm0, which is shared",
        _ => "is it there, and may this user read and write it?",
    }
}

/// What to do about a response code.
fn advice(command: &str, code: u32) -> &'static str {
    match code {
        code if LATER.contains(&code) => "it puts this off for too long: start again later",
        0x14b => "its memory is full: undefine an index that nobody needs (tpm2_nvundefine)",
        NO_SUCH_INDEX => {
            "the index was deleted: find out by whom, then start with --restored, which defines it anew"
        }
        0x149 | 0x12f | 0x98e | 0x9a2 | 0x921 if command == DEFINE.0 => {
            "the owner has a password: define the counter with tpm2_nvdefine, as the runbook says"
        }
        0x149 | 0x12f | 0x98e | 0x9a2 | 0x921 => {
            "the index has a password, or is locked: take another, or define one as the runbook says"
        }
        0x100 => "it was not started: an emulator needs --flags startup-clear",
        _ => "tpm2_rc_decode says what that means",
    }
}

/// A counter in a TPM, with the count that it has.
#[derive(Debug)]
pub struct Counter {
    path: PathBuf,
    file: File,
    index: u32,
    defined: bool,
    value: Option<u64>,
}

impl Counter {
    /// Looks at the counter `index` of the TPM at `path`: a device, or the Unix socket of an emulator. Changes nothing.
    ///
    /// # Errors
    /// See [`TpmError`].
    pub fn open(path: &Path, index: u32) -> Result<Self, TpmError> {
        if !OWNER_INDICES.contains(&index) {
            return Err(TpmError::Index(index));
        }
        let wrong = |source| TpmError::Io { command: "open", path: path.to_owned(), source };
        let kind = std::fs::metadata(path).map_err(wrong)?.file_type();
        let file = if kind.is_socket() {
            let stream = UnixStream::connect(path).map_err(wrong)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(wrong)?;
            File::from(OwnedFd::from(stream))
        } else if kind.is_char_device() {
            OpenOptions::new().read(true).write(true).open(path).map_err(wrong)?
        } else {
            return Err(TpmError::NoDevice(path.to_owned()));
        };
        let mut counter = Self { path: path.to_owned(), file, index, defined: false, value: None };
        counter.look()?;
        Ok(counter)
    }

    /// What it stands at; nothing as long as nobody has ever counted with it.
    pub fn value(&self) -> Option<u64> {
        self.value
    }

    /// Counts one further, and reads what it stands at then. One that is not there is defined, and begins anywhere.
    ///
    /// # Errors
    /// See [`TpmError`]. Whether it was counted is unknown then.
    pub fn increment(&mut self) -> Result<u64, TpmError> {
        let index = self.index.to_be_bytes();
        if !self.defined {
            let mut public = Vec::from(index);
            public.extend(SHA256.to_be_bytes());
            public.extend(ATTRIBUTES.to_be_bytes());
            // No policy; eight bytes.
            public.extend([[0; 2], COUNTER_BYTES.to_be_bytes()].concat());
            let size = u16::try_from(public.len()).unwrap_or_default().to_be_bytes();
            // No password of its own.
            self.call(DEFINE, &OWNER.to_be_bytes(), &[&[0; 2], &size[..], &public].concat())?;
            self.defined = true;
        }
        self.call(INCREMENT, &[index, index].concat(), &[])?;
        let is = self.read()?;
        let expected = self.value.map_or(is, |value| value.saturating_add(1));
        if is != expected {
            return Err(TpmError::Elsewhere { index: self.index, expected, is });
        }
        self.value = Some(is);
        Ok(is)
    }

    /// Sees anew what there is at the index.
    pub(crate) fn look(&mut self) -> Result<(), TpmError> {
        (self.defined, self.value) = (false, None);
        let index = self.index.to_be_bytes();
        let public = match self.call(READ_PUBLIC, &index, &[]) {
            Err(TpmError::Refused { code: NO_SUCH_INDEX, .. }) => return Ok(()),
            public => public?,
        };
        // After the size of it all: index, algorithm of its name, attributes.
        let word = |at: std::ops::Range<usize>| public.get(at).and_then(|word| word.try_into().ok());
        let (Some(is), Some(attributes)) = (word(2..6), word(8..12).map(u32::from_be_bytes)) else {
            return Err(TpmError::Malformed(READ_PUBLIC.0));
        };
        if index != is {
            return Err(TpmError::Malformed(READ_PUBLIC.0));
        }
        if attributes & TYPE_MASK != TYPE_COUNTER || attributes & OPEN != OPEN {
            return Err(TpmError::NoCounter(self.index));
        }
        self.defined = true;
        self.value = if attributes & WRITTEN == 0 { None } else { Some(self.read()?) };
        Ok(())
    }

    fn read(&mut self) -> Result<u64, TpmError> {
        let index = self.index.to_be_bytes();
        let all = [COUNTER_BYTES.to_be_bytes(), [0; 2]].concat();
        let data = self.call(READ, &[index, index].concat(), &all)?;
        let count = data.strip_prefix(&COUNTER_BYTES.to_be_bytes()).and_then(|count| count.try_into().ok());
        count.map(u64::from_be_bytes).ok_or(TpmError::Malformed(READ.0))
    }

    /// Sends one command, again while the TPM puts it off, and returns the parameters of its response.
    fn call(&mut self, command: Command, handles: &[u8], parameters: &[u8]) -> Result<Vec<u8>, TpmError> {
        let (name, code) = command;
        let (tag, session) = match command {
            READ_PUBLIC => (TAG_PLAIN, &[][..]),
            _ => (TAG_SESSIONS, &EMPTY_PASSWORD[..]),
        };
        let body = [handles, session, parameters].concat();
        let size = u32::try_from(body.len().saturating_add(HEADER_BYTES)).unwrap_or(u32::MAX);
        let bytes = [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), &body].concat();
        let mut retries = RETRY_LIMIT;
        loop {
            let response = self.exchange(&bytes).map_err(|source| TpmError::Io {
                command: name,
                path: self.path.clone(),
                source,
            })?;
            let (is, code, body) = response_of(&response).ok_or(TpmError::Malformed(name))?;
            if LATER.contains(&code) && retries > 0 {
                retries = retries.saturating_sub(1);
                thread::sleep(RETRY_WAIT);
                continue;
            }
            if code != 0 {
                return Err(TpmError::Refused { command: name, index: self.index, code });
            }
            let body = if tag == TAG_PLAIN { Some(body) } else { sized(body) };
            return body.filter(|_| is == tag).map(Vec::from).ok_or(TpmError::Malformed(name));
        }
    }

    /// One write and, from a device, one read: the kernel keeps no rest of a response for older programs.
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.file.write_all(command)?;
        let mut buffer = [0; RESPONSE_LIMIT_BYTES];
        let mut response = Vec::new();
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => response.extend(buffer.iter().take(read)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let size = response.get(2..6).and_then(|size| size.try_into().ok()).map(u32::from_be_bytes);
            let size = size.and_then(|size| usize::try_from(size).ok());
            if size.is_some_and(|size| response.len() >= size) || response.len() >= RESPONSE_LIMIT_BYTES {
                return Ok(response);
            }
        }
    }
}

/// Takes the next bytes off.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

/// Tag, code and body of a response whose size is what it says.
fn response_of(bytes: &[u8]) -> Option<(u16, u32, &[u8])> {
    let mut rest = bytes;
    let tag = u16::from_be_bytes(take(&mut rest)?);
    let size = u32::from_be_bytes(take(&mut rest)?);
    let code = u32::from_be_bytes(take(&mut rest)?);
    (usize::try_from(size) == Ok(bytes.len())).then_some((tag, code, rest))
}

/// The parameters of a response with a session: they follow their size, and the session follows them.
fn sized(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body;
    let size = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
    rest.get(..size)
}
