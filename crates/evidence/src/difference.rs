//! Which entry of an export was changed, put in or taken out: its bundle against its own tile of hashes.

use std::fmt;
use std::fs;
use std::path::Path;

use custody::Hash;
use custody::tree::leaf_hash;

/// What was done to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// It is another one.
    Changed,
    /// It is one too many.
    Inserted,
    /// It is missing.
    Deleted,
}

/// The first entry that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What was done.
    pub deed: Deed,
    /// Its place in the log, from 0.
    pub entry: u64,
    /// The file in which it stands.
    pub path: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deed, entry, path } = self;
        match deed {
            Deed::Changed => write!(f, "changed: entry {entry} in {path} is not the one in the log"),
            Deed::Inserted => write!(f, "inserted: entry {entry} in {path} is not in the log"),
            Deed::Deleted => write!(f, "deleted: entry {entry} of the log is missing in {path}"),
        }
    }
}

/// Compares the entry bundle at `path` with the tile of their hashes; nothing when they agree, or when
/// one of them cannot be read.
pub(crate) fn difference(dir: &Path, path: &str) -> Option<Difference> {
    let place = path.strip_prefix("tile/entries/")?;
    let found = hashes_of_bundle(&fs::read(dir.join(path)).ok()?)?;
    let tile = fs::read(dir.join("tile/0").join(place)).ok()?;
    let tile: Vec<Hash> = tile.chunks_exact(32).filter_map(|c| c.try_into().ok()).map(Hash).collect();
    let at = found.iter().zip(&tile).position(|(a, b)| a != b);
    let at = at.unwrap_or(found.len().min(tile.len()));
    let (left, right) = (&found[at..], &tile[at..]);
    let deed = match (left.split_first(), right.split_first()) {
        (None, None) => return None,
        (Some((_, rest)), _) if rest == right => Deed::Inserted,
        (_, Some((_, rest))) if rest == left => Deed::Deleted,
        _ => Deed::Changed,
    };
    let number: String = place.split(".p/").next()?.replace(['x', '/'], "");
    let entry = number.parse::<u64>().ok()? * 256 + at as u64;
    Some(Difference { deed, entry, path: path.to_owned() })
}

/// The leaf hashes of a bundle, as far as it goes.
fn hashes_of_bundle(mut bundle: &[u8]) -> Option<Vec<Hash>> {
    let mut hashes = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        hashes.push(leaf_hash(entry));
        bundle = rest;
    }
    Some(hashes)
}
