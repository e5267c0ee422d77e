//! What a ceremony leaves on disk: a directory that appears at the very end and in one step.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use custody::document::Document;
use custody::name::Name;
use custody::{Blob, Hash, canon};
use serde::{Deserialize, Serialize};

use crate::hold::Outcome;

/// The file of the record: the canonical document that is proposed to the log.
pub const RECORD_FILE: &str = "record.json";

/// The file of the sealed shares: [`SealedShares`], canonical.
pub const SHARES_FILE: &str = "shares.json";

/// Only who held the ceremony reads or changes the directory.
const DIRECTORY_MODE: u32 = 0o700;

/// As for the directory.
const FILE_MODE: u32 = 0o600;

/// The sealed shares of a ceremony. Anybody may carry them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedShares {
    /// The deployment.
    pub genesis: Hash,
    /// The ceremony.
    pub ceremony: Hash,
    /// The shares, by account and then by holder.
    pub shares: Vec<SealedShare>,
}

/// One share, sealed to its holder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedShare {
    /// Whom it opens for.
    pub holder: Name,
    /// The position of its account in the record.
    pub slot: u32,
    /// The seal.
    pub sealed: Blob,
}

/// Why the files of a ceremony were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The place is taken.
    #[error("{} exists already: name a new directory, nothing is ever overwritten", .0.display())]
    Taken(PathBuf),
    /// Not the name of a directory.
    #[error("{} cannot be made: name a new directory", .0.display())]
    Name(PathBuf),
    /// The disk refused.
    #[error("{}: {cause}; choose another place", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A value without canonical form.
    #[error(transparent)]
    Form(#[from] canon::CanonError),
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |cause| WriteError::Disk { path, cause }
}

/// Whether a ceremony can be written here: the place is free, or an empty directory.
///
/// # Errors
/// [`WriteError::Taken`], [`WriteError::Disk`].
pub fn check_free(directory: &Path) -> Result<(), WriteError> {
    let mut entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(WriteError::Taken(directory.to_owned()));
        }
        other => other.map_err(disk(directory))?,
    };
    if entries.next().is_some() { Err(WriteError::Taken(directory.to_owned())) } else { Ok(()) }
}

/// Writes [`RECORD_FILE`] and [`SHARES_FILE`] into a new directory, which appears whole or not at all.
///
/// # Errors
/// [`WriteError`]; nothing is left then.
pub fn write(directory: &Path, outcome: &Outcome) -> Result<(), WriteError> {
    check_free(directory)?;
    let record = canon::encode(&Document::Ceremony(outcome.record.clone()))?;
    let shares = canon::encode(&outcome.sealed)?;
    let name = directory.file_name().ok_or_else(|| WriteError::Name(directory.to_owned()))?;
    let parent = directory.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = parent.join(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
    DirBuilder::new().mode(DIRECTORY_MODE).create(&partial).map_err(disk(&partial))?;
    let written = write_new(&partial.join(RECORD_FILE), &record)
        .and_then(|()| write_new(&partial.join(SHARES_FILE), &shares))
        .and_then(|()| sync(&partial))
        .and_then(|()| fs::rename(&partial, directory).map_err(disk(directory)))
        .and_then(|()| sync(parent));
    if written.is_err() {
        // What lies there is public; if even this fails, the error that is reported says where.
        let _ = fs::remove_dir_all(&partial);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let open = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    open.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).map_err(disk(path))
}

fn sync(directory: &Path) -> Result<(), WriteError> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(disk(directory))
}
