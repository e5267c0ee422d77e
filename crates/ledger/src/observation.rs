//! The observation log of the books: one entry for each batch, under an RFC 6962 tree whose head the server
//! anchors in the command log (rule P7). Whoever writes the database anew, or puts an old copy back, cannot
//! make it agree with an anchor. The format is `docs/spec/observation.md`.

use custody::Hash;
use custody::tree::Frontier;
use serde::{Deserialize, Serialize};

use crate::digest::Batch;
use crate::verify::Remembered;

/// The name of the log in its anchors.
pub const BOOKS_LOG: &str = "books";

/// Longest line of the file, in bytes, without the end of the line: two keys, 64 digits of a digest, 16 of a
/// number below 2⁵³.
pub const LINE_LIMIT_BYTES: usize = 109;

/// An entry: what a batch of the books was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The batch's digest.
    pub digest: Hash,
    /// The batch's number; entry *n* of the log, counted from 1, is batch *n*.
    #[serde(rename = "ledger-batch")]
    pub seq: u64,
}

impl Entry {
    /// The canonical bytes: the leaf of the tree, and a line of the file.
    pub fn bytes(&self) -> Vec<u8> {
        format!(r#"{{"digest":"{}","ledger-batch":{}}}"#, self.digest, self.seq).into_bytes()
    }

    /// Reads a line of the file, without its end. Only the one encoding is read.
    pub fn read(line: &[u8]) -> Option<Self> {
        let entry: Self = serde_json::from_slice(line).ok()?;
        (line.len() <= LINE_LIMIT_BYTES && entry.bytes() == line).then_some(entry)
    }
}

impl From<&Batch> for Entry {
    fn from(batch: &Batch) -> Self {
        Self { digest: batch.digest, seq: batch.seq }
    }
}

impl From<Entry> for Remembered {
    fn from(entry: Entry) -> Self {
        Self { seq: entry.seq, digest: entry.digest }
    }
}

/// The tree of the log as far as it was read.
#[derive(Clone, Default, Debug)]
pub struct Observed {
    tree: Frontier,
    newest: Hash,
}

/// An entry that does not follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("batch {found} stands where batch {expected} should")]
pub struct OutOfOrder {
    /// The number that comes next.
    pub expected: u64,
    /// The number that came.
    pub found: u64,
}

impl Observed {
    /// How many entries.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root of their tree.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The digest of the last batch; zeros before the first.
    pub fn newest(&self) -> Hash {
        self.newest
    }

    /// Appends.
    ///
    /// # Errors
    /// [`OutOfOrder`], and nothing is appended.
    pub fn push(&mut self, entry: Entry) -> Result<(), OutOfOrder> {
        let expected = self.size().saturating_add(1);
        if entry.seq != expected {
            return Err(OutOfOrder { expected, found: entry.seq });
        }
        self.tree.push(&entry.bytes());
        self.newest = entry.digest;
        Ok(())
    }
}
