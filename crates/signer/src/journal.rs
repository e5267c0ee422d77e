//! The record of what must not be forgotten: written and on disk before anything that depends on it
//! leaves this process (`P10`).
//!
//! A file of records, each bound to all before it:
//!
//! ```text
//! file   = magic record*
//! record = length (u32) | !length (u32) | payload | chain (32 bytes)      integers big endian
//! chain  = SHA-256(previous chain | length | payload), the first one over SHA-256(magic)
//! ```
//!
//! So a record that was changed, removed, inserted or moved is noticed, and a length can be trusted
//! before it is used. What cannot be noticed here is a file that is whole but old (`P12`).
//!
//! The end of the file is different: power may have failed while the last records were written.
//! Nothing that depended on them has left, so an incomplete last record is cut off and the fact is
//! reported ([`Journal::torn_bytes`]).
//!
//! After a failed write or fsync nobody knows what is on disk: Linux marks the pages clean, and the
//! next fsync succeeds without them (PostgreSQL's "fsyncgate"; Rebello et al., *Can Applications
//! Recover from fsync Failures?*, USENIX ATC 2020). So one failure ends the [`Journal`], and
//! [`Journal::open`] never trusts the page cache: it writes all that it read to a new file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// First bytes of every journal; the digit is the version of the format.
const MAGIC: &[u8; 19] = b"keyward-journal-v1\n";

/// Longest record, in bytes (4 MiB): a frame of the wire with what is known about it fits twice. A
/// longer length is damage, not a reason to allocate.
pub const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// Only the owner may read: a journal tells what was asked and voted.
const FILE_MODE: u32 = 0o600;

/// Why a journal cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process has it open.
    #[error("{0} is in use by another process: stop that one first, two must never share a journal")]
    InUse(PathBuf),
    /// The file is not what was written.
    #[error(
        "{path} is damaged at byte {at}: {what}; do not start from it, keep a copy, and restore this co-signer"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Offset in bytes of the first record that is not right.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// The caller gave a longer record than is allowed. Nothing was written.
    #[error("a record of {0} bytes is too long, at most {limit} are allowed", limit = MAX_RECORD_BYTES)]
    TooLong(usize),
    /// An earlier write failed, so what is on disk is unknown.
    #[error("the journal failed before: end this process and start again")]
    Failed,
    /// The system refused to read, write or sync.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// An open journal, locked against other processes.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    chain: [u8; 32],
    torn_bytes: usize,
    failed: bool,
    /// Held as long as the journal is open. The lock is on a file of its own, because the journal's
    /// own file is replaced.
    _lock: File,
}

impl Journal {
    /// Opens the journal at `path`, made if there is none, and returns its records in their order.
    /// The directory must exist. Beside it `path.lock` is made and stays.
    pub fn open(path: &Path) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        let lock = lock(path)?;
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => MAGIC.to_vec(),
            read => read.map_err(failure("read", path))?,
        };
        let (records, torn_bytes) =
            parse(&bytes).map_err(|(at, what)| JournalError::Damaged { path: path.to_owned(), at, what })?;
        let (file, chain) = write_new(path, &records)?;
        let journal = Self { path: path.to_owned(), file, chain, torn_bytes, failed: false, _lock: lock };
        Ok((journal, records))
    }

    /// Bytes of an incomplete last record that [`Journal::open`] cut off; 0 after an orderly end.
    pub fn torn_bytes(&self) -> usize {
        self.torn_bytes
    }

    /// Adds one record. When this returns, it is on disk.
    pub fn append(&mut self, record: &[u8]) -> Result<(), JournalError> {
        self.append_all(&[record])
    }

    /// Adds records with one fsync for all of them. When this returns, all are on disk; when power
    /// fails before, the first few of them may be.
    pub fn append_all(&mut self, records: &[&[u8]]) -> Result<(), JournalError> {
        self.attempt(|journal| {
            let mut bytes = Vec::new();
            let chain = encode(journal.chain, records, &mut bytes)?;
            let written = journal.file.write_all(&bytes).and_then(|()| journal.file.sync_data());
            written.map_err(failure("append to", &journal.path))?;
            journal.chain = chain;
            Ok(())
        })
    }

    /// Replaces all records by these, at once: after a failure of power either the old or the new
    /// ones are there. When this returns, the new ones are on disk.
    pub fn rewrite(&mut self, records: &[&[u8]]) -> Result<(), JournalError> {
        self.attempt(|journal| {
            (journal.file, journal.chain) = write_new(&journal.path, records)?;
            Ok(())
        })
    }

    /// Runs one write. Whatever fails, but for a record that is refused before anything is written,
    /// fails the journal.
    fn attempt(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        if self.failed {
            return Err(JournalError::Failed);
        }
        let result = write(self);
        self.failed = matches!(&result, Err(error) if !matches!(error, JournalError::TooLong(_)));
        result
    }
}

/// Replaces the file at `path` by one with these bytes: after a failure of power either the old or
/// the new content is there, and when this returns it is the new. The file is readable by its owner only.
pub fn write_file_atomic(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    replace(path, bytes).map(drop)
}

/// Takes the lock, or says who has it.
fn lock(path: &Path) -> Result<File, JournalError> {
    let lock_path = with_suffix(path, ".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(FILE_MODE);
    let file = options.open(&lock_path).map_err(failure("open", &lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failure("lock", &lock_path)(error)),
    }
}

/// Makes the file of a journal with these records and returns it, ready to append.
fn write_new<R: AsRef<[u8]>>(path: &Path, records: &[R]) -> Result<(File, [u8; 32]), JournalError> {
    let mut bytes = MAGIC.to_vec();
    let chain = encode(Sha256::digest(MAGIC).into(), records, &mut bytes)?;
    Ok((replace(path, &bytes)?, chain))
}

/// Temporary file, fsync, rename, fsync of the directory. The file returned is the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<File, JournalError> {
    let temporary = with_suffix(path, ".tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    let mut file = options.open(&temporary).map_err(failure("create", &temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failure("write", &temporary))?;
    std::fs::rename(&temporary, path).map_err(failure("replace", path))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failure("sync the directory of", path))?;
    Ok(file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn failure(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { what, path, source }
}

/// Appends records to `bytes` and returns the chain value after them.
fn encode<R: AsRef<[u8]>>(
    mut chain: [u8; 32],
    records: &[R],
    bytes: &mut Vec<u8>,
) -> Result<[u8; 32], JournalError> {
    for record in records {
        let record = record.as_ref();
        let length = u32::try_from(record.len()).ok().filter(|_| record.len() <= MAX_RECORD_BYTES);
        let length = length.ok_or(JournalError::TooLong(record.len()))?;
        chain = link(chain, length, record);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&(!length).to_be_bytes());
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(&chain);
    }
    Ok(chain)
}

fn link(chain: [u8; 32], length: u32, payload: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(chain);
    hasher.update(length.to_be_bytes());
    hasher.update(payload);
    hasher.finalize().into()
}

/// Offset of what is wrong, and what it is.
type Damage = (usize, &'static str);

/// The records in a file, and how many bytes of an incomplete one follow them.
fn parse(file: &[u8]) -> Result<(Vec<Vec<u8>>, usize), Damage> {
    // The file came into being by a rename, so not even its first bytes can be torn.
    let mut rest = file.strip_prefix(MAGIC).ok_or((0, "it is not a journal of version 1"))?;
    let mut chain = Sha256::digest(MAGIC).into();
    let mut records = Vec::new();
    loop {
        let at = file.len().saturating_sub(rest.len());
        // Some file systems lengthen a file before its bytes arrive: then zeros stand at its end.
        if rest.iter().all(|byte| *byte == 0) {
            return Ok((records, rest.len()));
        }
        let Some((length, body)) = take_length(rest).map_err(|what| (at, what))? else {
            return Ok((records, rest.len()));
        };
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((payload, after)) = body.split_at_checked(size) else {
            return Ok((records, rest.len()));
        };
        let Some((stored, after)) = after.split_first_chunk::<32>() else {
            return Ok((records, rest.len()));
        };
        chain = link(chain, length, payload);
        if *stored != chain {
            return Err((at, "the record or one before it was changed"));
        }
        records.push(payload.to_vec());
        rest = after;
    }
}

/// The length of a record and what follows it; nothing if even the length is incomplete.
fn take_length(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, &'static str> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let Some((complement, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    if length != !u32::from_be_bytes(*complement) {
        return Err("the length of the record was changed");
    }
    match usize::try_from(length) {
        Ok(size) if size <= MAX_RECORD_BYTES => Ok(Some((length, rest))),
        _ => Err("the record is longer than any that was written"),
    }
}
