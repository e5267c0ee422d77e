//! Files of records, one JSON text a line, only ever appended to.
//!
//! The server may lose any of them: the log is fetched again from the co-signers, a transaction is
//! signed again, a statement is sent again by whoever made it. So there is no checksum here. A line that
//! was not written to its end, or that does not read any more, ends the file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The disk failed, or the directory is in use.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {source}")]
pub struct DiskError {
    /// What was tried.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// An open file of records, locked against other processes.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    /// Opens or makes a file and hands its records to `take` until that says no. What stands behind is
    /// cut off; the number of those bytes is returned.
    ///
    /// # Errors
    /// The file system, or another process that has the file open.
    pub fn open<T: DeserializeOwned>(
        path: &Path,
        mut take: impl FnMut(T) -> bool,
    ) -> Result<(Self, u64), DiskError> {
        let wrong = |what| move |source| DiskError { what, path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(path);
        let file = file.map_err(wrong("open"))?;
        file.try_lock().map_err(|error| wrong("lock")(error.into()))?;
        let mut reader = BufReader::new(&file);
        let (mut good, mut line) = (0u64, Vec::new());
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(wrong("read"))?;
            let whole = line.strip_suffix(b"\n").and_then(|text| serde_json::from_slice(text).ok());
            let Some(record) = whole else { break };
            if !take(record) {
                break;
            }
            good = good.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        }
        let length = file.metadata().map_err(wrong("read"))?.len();
        if length > good {
            file.set_len(good).map_err(wrong("cut"))?;
        }
        Ok((Self { path: path.to_owned(), file }, length.saturating_sub(good)))
    }

    fn wrong(&self, what: &'static str) -> impl FnOnce(io::Error) -> DiskError {
        let path = self.path.clone();
        move |source| DiskError { what, path, source }
    }

    /// Appends a record. It survives the end of this process; with `durable` also a power failure.
    ///
    /// # Errors
    /// The file system.
    pub fn append<T: Serialize>(&mut self, record: &T, durable: bool) -> Result<(), DiskError> {
        let mut line = serde_json::to_vec(record).map_err(|e| self.wrong("write")(e.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(self.wrong("write"))?;
        if durable { self.file.sync_data().map_err(self.wrong("sync")) } else { Ok(()) }
    }

    /// Replaces all records. A crash in between loses some of them.
    ///
    /// # Errors
    /// The file system.
    pub fn rewrite<T: Serialize>(&mut self, records: &[T]) -> Result<(), DiskError> {
        self.file.set_len(0).map_err(self.wrong("cut"))?;
        self.file.seek(SeekFrom::Start(0)).map_err(self.wrong("cut"))?;
        records.iter().try_for_each(|record| self.append(record, false))?;
        self.file.sync_data().map_err(self.wrong("sync"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> (Vec<u32>, u64) {
        let mut found = Vec::new();
        let (_, lost) = Lines::open(path, |n| {
            found.push(n);
            true
        })
        .unwrap();
        (found, lost)
    }

    #[test]
    fn a_torn_line_is_cut_off_and_appending_goes_on_behind_the_last_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records");
        let (mut lines, _) = Lines::open::<u32>(&path, |_| true).unwrap();
        lines.append(&1, true).unwrap();
        lines.append(&2, false).unwrap();
        drop(lines);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"3");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path), (vec![1, 2], 1));
        let (mut lines, _) = Lines::open::<u32>(&path, |_| true).unwrap();
        lines.append(&4, false).unwrap();
        drop(lines);
        assert_eq!(read(&path), (vec![1, 2, 4], 0));
    }

    #[test]
    fn what_the_reader_refuses_goes_with_all_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records");
        std::fs::write(&path, "1\n2\n3\n").unwrap();
        let (lines, lost) = Lines::open(&path, |n: u32| n < 2).unwrap();
        assert_eq!(lost, 4);
        drop(lines);
        assert_eq!(read(&path), (vec![1], 0));
    }

    #[test]
    fn two_processes_never_share_a_file_and_rewriting_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records");
        let (mut lines, _) = Lines::open::<u32>(&path, |_| true).unwrap();
        assert!(Lines::open::<u32>(&path, |_| true).is_err());
        lines.append(&1, false).unwrap();
        lines.rewrite(&[7, 8]).unwrap();
        lines.append(&9, false).unwrap();
        drop(lines);
        assert_eq!(read(&path), (vec![7, 8, 9], 0));
    }
}
