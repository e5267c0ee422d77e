//! Where the checks read: a tree of files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::PathBuf;

/// Most bytes of one file. The largest, `/proc/cpuinfo`, has 1.5 KB a processor.
pub const READ_LIMIT_BYTES: u64 = 4 << 20;

/// Most entries of one directory: a machine has some tens of devices of a class.
pub const LIST_LIMIT_ENTRIES: usize = 4_096;

/// Files under absolute paths. `None` is what does not exist; an error is what may exist and cannot be read.
pub trait Tree {
    /// The contents of a file.
    ///
    /// # Errors
    /// It cannot be read, or is longer than [`READ_LIMIT_BYTES`].
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// It cannot be listed, or has more than [`LIST_LIMIT_ENTRIES`].
    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>>;

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// It cannot be read, or is no link.
    fn link(&self, path: &str) -> io::Result<Option<String>>;
}

/// The tree below a directory of this machine; `/` is the machine itself.
#[derive(Clone, Debug)]
pub struct Root(pub PathBuf);

impl Root {
    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }
}

impl Tree for Root {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = existing(File::open(self.at(path)))? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        // One byte more than the limit tells a file at the limit from one beyond it.
        file.take(READ_LIMIT_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
        match u64::try_from(bytes.len()) {
            Ok(length) if length <= READ_LIMIT_BYTES => Ok(Some(bytes)),
            _ => Err(ErrorKind::FileTooLarge.into()),
        }
    }

    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        let Some(entries) = existing(fs::read_dir(self.at(path)))? else {
            return Ok(None);
        };
        let mut names = Vec::new();
        for entry in entries {
            if names.len() == LIST_LIMIT_ENTRIES {
                return Err(io::Error::other("too many entries"));
            }
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Some(names))
    }

    fn link(&self, path: &str) -> io::Result<Option<String>> {
        let target = existing(fs::read_link(self.at(path)))?;
        Ok(target.map(|target| target.to_string_lossy().into_owned()))
    }
}

fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reading text, for the checks.
pub(super) trait Reading {
    /// The file as text without space at its ends; other bytes than UTF-8 are replaced.
    fn text(&self, path: &str) -> io::Result<Option<String>>;

    /// As [`Reading::text`], of a file that must be there.
    fn must(&self, path: &str) -> io::Result<String>;
}

impl Reading for dyn Tree + '_ {
    fn text(&self, path: &str) -> io::Result<Option<String>> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    fn must(&self, path: &str) -> io::Result<String> {
        self.text(path)?.ok_or_else(|| ErrorKind::NotFound.into())
    }
}
