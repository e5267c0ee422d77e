//! A log as a directory of files: C2SP `tlog-tiles`, with Keyward's `genesis.json` beside it.
//!
//! <https://c2sp.org/tlog-tiles>. The files are `checkpoint` (a signed note), `tile/<L>/<N>[.p/<W>]`
//! (hashes), `tile/entries/<N>[.p/<W>]` (entry bundles) and `genesis.json`. Reading checks that all of
//! them agree with the root in the checkpoint, but verifies no signature: that is for whoever has
//! the keys, see [`custody::checkpoint::FinalHead`].

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use custody::Hash;
use custody::checkpoint::{Checkpoint, MAX_NOTE_BYTES, NoteError, SignedNote};
use custody::tree::{Frontier, leaf_hash, root_of};
use thiserror::Error;

/// Bytes of one entry: entry bundles give its length in 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Bytes of `genesis.json`: a few dozen people and co-signers take some kilobytes.
pub const MAX_GENESIS_BYTES: usize = 1_048_576;

/// Hashes in a full tile and entries in a full bundle, fixed by `tlog-tiles`.
const TILE_WIDTH: usize = 256;

/// Bytes of a SHA-256 hash in a tile.
const HASH_BYTES: usize = 32;

/// Bytes of the length before each entry of a bundle.
const LENGTH_BYTES: usize = 2;

/// A log that was read from an export; its entries have the root that the note's checkpoint states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The entries, in order.
    pub entries: Vec<Vec<u8>>,
    /// The signed note, as it stands in the file `checkpoint`.
    pub note: String,
    /// The bytes of `genesis.json`.
    pub genesis: Vec<u8>,
}

/// Why an export was not written or is not to be believed. Paths are relative to its directory.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The file cannot be read or written, or is missing.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file has more bytes than its format allows.
    #[error("{path} is longer than the {limit} bytes that it may have")]
    TooLong {
        /// The file.
        path: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The file is not of its format, or of another width than the checkpoint's size asks for.
    #[error("{0} is malformed or was cut: get the export again")]
    Malformed(String),
    /// The file `checkpoint` is not a signed checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// The file is the first that does not agree with the others.
    #[error("{0} does not agree with the rest of the log: it was changed")]
    Disagrees(String),
    /// An entry that no bundle can hold.
    #[error("entry {index} has {found} bytes, the limit is {MAX_ENTRY_BYTES}")]
    EntryTooLong {
        /// The entry's number, from 0.
        index: usize,
        /// Its length in bytes.
        found: usize,
    },
    /// The note is not a checkpoint of these entries.
    #[error("the checkpoint is not one of these entries: export the entries up to its size")]
    NotTheseEntries,
}

/// Writes the log into the directory `dir`, which is created if need be. An older export of the same
/// log may be there: files are replaced, and the checkpoint last, so that a reader never finds one
/// whose tiles are not there yet.
///
/// # Errors
/// If `note` is not a checkpoint over exactly `entries`, an entry is too long, or a file cannot be
/// written.
pub fn write_export(dir: &Path, entries: &[Vec<u8>], note: &str, genesis: &[u8]) -> Result<(), ExportError> {
    let checkpoint = Checkpoint::parse(&SignedNote::parse(note)?.body)?;
    if let Some(index) = entries.iter().position(|entry| entry.len() > MAX_ENTRY_BYTES) {
        return Err(ExportError::EntryTooLong { index, found: entries[index].len() });
    }
    if genesis.len() > MAX_GENESIS_BYTES {
        return Err(too_long("genesis.json", MAX_GENESIS_BYTES));
    }
    let levels = levels(entries);
    if !is_over(&checkpoint, &levels) {
        return Err(ExportError::NotTheseEntries);
    }
    for (n, bundle) in entries.chunks(TILE_WIDTH).enumerate() {
        let lengths = bundle.iter().map(|entry| u16::try_from(entry.len()).unwrap_or(u16::MAX));
        let pieces = lengths
            .zip(bundle)
            .flat_map(|(length, entry)| length.to_be_bytes().into_iter().chain(entry.iter().copied()));
        write(dir, &bundle_path(n, bundle.len()), &pieces.collect::<Vec<_>>())?;
    }
    for (level, hashes) in levels.iter().enumerate() {
        for (n, tile) in hashes.chunks(TILE_WIDTH).enumerate() {
            let bytes: Vec<u8> = tile.iter().flat_map(|hash| hash.0).collect();
            write(dir, &tile_path(level, n, tile.len()), &bytes)?;
        }
    }
    write(dir, "genesis.json", genesis)?;
    write(dir, "checkpoint", note.as_bytes())
}

/// Reads an export and checks that entries, tiles and checkpoint agree. Files that the checkpoint's
/// size does not ask for are not looked at.
///
/// # Errors
/// Names the first file that is missing, malformed, or does not agree with the others.
pub fn read_export(dir: &Path) -> Result<Export, ExportError> {
    let note = String::from_utf8(read(dir, "checkpoint", MAX_NOTE_BYTES)?)
        .map_err(|_| ExportError::Malformed("checkpoint".into()))?;
    let checkpoint = Checkpoint::parse(&SignedNote::parse(&note)?.body)?;
    let genesis = read(dir, "genesis.json", MAX_GENESIS_BYTES)?;

    let mut entries = Vec::new();
    // Nothing is set aside for the size that is claimed: the first missing file ends the reading.
    for (n, width) in widths(checkpoint.size) {
        let path = bundle_path(n, width);
        let bundle = read(dir, &path, TILE_WIDTH * (LENGTH_BYTES + MAX_ENTRY_BYTES))?;
        let bundle = unbundle(&bundle).filter(|bundle| bundle.len() == width);
        entries.extend(bundle.ok_or(ExportError::Malformed(path))?);
    }
    let levels = levels(&entries);
    // With the root that was signed the entries are right, so a tile that differs is itself wrong;
    // otherwise the first file that differs from what is above it is.
    let entries_are_right = is_over(&checkpoint, &levels);
    for (level, hashes) in levels.iter().enumerate() {
        for (n, expected) in hashes.chunks(TILE_WIDTH).enumerate() {
            let tile = tile_path(level, n, expected.len());
            let Some(i) = first_difference(dir, &tile, expected)? else {
                continue;
            };
            let wrong = match level.checked_sub(1) {
                _ if entries_are_right => tile,
                None => bundle_path(n, expected.len()),
                Some(below) => tile_path(below, n * TILE_WIDTH + i, TILE_WIDTH),
            };
            return Err(ExportError::Disagrees(wrong));
        }
    }
    if !entries_are_right {
        return Err(ExportError::Disagrees("checkpoint".into()));
    }
    Ok(Export { entries, note, genesis })
}

/// Where the tile in a file first differs from the hashes that the entries give it.
fn first_difference(dir: &Path, path: &str, expected: &[Hash]) -> Result<Option<usize>, ExportError> {
    let tile = read(dir, path, TILE_WIDTH * HASH_BYTES)?;
    if tile.len() != expected.len() * HASH_BYTES {
        return Err(ExportError::Malformed(path.into()));
    }
    let mut pairs = expected.iter().zip(tile.chunks(HASH_BYTES));
    Ok(pairs.position(|(expected, found)| expected.0 != found))
}

/// All hashes that tiles hold, level by level: those of the entries, then those of each full tile.
fn levels(entries: &[Vec<u8>]) -> Vec<Vec<Hash>> {
    let mut levels = Vec::new();
    let mut level: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    while !level.is_empty() {
        let above = level.chunks_exact(TILE_WIDTH).map(root_of).collect();
        levels.push(std::mem::replace(&mut level, above));
    }
    levels
}

/// True if the checkpoint is one of the tree with these leaves.
fn is_over(checkpoint: &Checkpoint, levels: &[Vec<Hash>]) -> bool {
    let mut frontier = Frontier::new();
    levels.first().into_iter().flatten().for_each(|leaf| frontier.push_leaf(*leaf));
    (checkpoint.size, checkpoint.root) == (frontier.size(), frontier.root())
}

/// Number and width of each bundle of a log of `size` entries.
fn widths(size: u64) -> impl Iterator<Item = (usize, usize)> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let (full, rest) = (size / TILE_WIDTH, size % TILE_WIDTH);
    let last = (rest > 0).then_some((full, rest));
    (0..full).map(|n| (n, TILE_WIDTH)).chain(last)
}

/// The entries of a bundle, or `None` if it ends within one.
fn unbundle(mut bundle: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry.to_vec());
        bundle = rest;
    }
    Some(entries)
}

fn bundle_path(n: usize, width: usize) -> String {
    path("entries", n, width)
}

fn tile_path(level: usize, n: usize, width: usize) -> String {
    path(&level.to_string(), n, width)
}

/// `tile/<level>/<N>[.p/<W>]`, N in groups of three digits of which all but the last begin with x.
fn path(level: &str, n: usize, width: usize) -> String {
    let mut number = format!("{:03}", n % 1_000);
    let mut rest = n / 1_000;
    while rest > 0 {
        number = format!("x{:03}/{number}", rest % 1_000);
        rest /= 1_000;
    }
    let partial = if width == TILE_WIDTH { String::new() } else { format!(".p/{width}") };
    format!("tile/{level}/{number}{partial}")
}

/// Writes beside the file and renames, so that a reader finds the old file or the new one.
fn write(dir: &Path, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
    let (file, new) = (dir.join(path), dir.join(format!("{path}.new")));
    let parent = file.parent().unwrap_or(dir);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&new, bytes))
        .and_then(|()| fs::rename(&new, &file))
        .map_err(|source| ExportError::Io { path: path.into(), source })
}

/// The bytes of a regular file, of which no more than `limit` are ever read.
fn read(dir: &Path, path: &str, limit: usize) -> Result<Vec<u8>, ExportError> {
    let bytes = read_at_most(&dir.join(path), limit)
        .map_err(|source| ExportError::Io { path: path.into(), source })?;
    if bytes.len() > limit { Err(too_long(path, limit)) } else { Ok(bytes) }
}

/// At most one byte more than `limit`.
fn read_at_most(file: &Path, limit: usize) -> io::Result<Vec<u8>> {
    // A pipe would make the reader wait for ever.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn too_long(path: &str, limit: usize) -> ExportError {
    ExportError::TooLong { path: path.into(), limit }
}
