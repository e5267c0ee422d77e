//! Derived keys, kept in files: a start reads a million in a fraction of a second, where deriving them takes
//! more than a minute.
//!
//! A file is a shortcut, and is never believed further than it can be checked. It names the chain of addresses
//! that it is of; each of its blocks carries a digest of that, of its own number and of its keys; and a few keys
//! of it, different ones each time, are derived anew whenever it is read. What does not hold is derived and
//! written again. A block is there whole or not at all, so nothing need be synchronised with the disk: what a
//! crash tore or lost is derived again. Whoever can write to the directory can still put in a wrong key with a
//! right digest: [`crate::Watched::prove`] finds that before anything is credited.

use std::collections::hash_map::RandomState;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::BuildHasher as _;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::thread;

use custody::Hash;
use custody::effects::{AccountKey, Branch, DecodeError, Decoder};

use crate::watched::{OutputKey, derive};

/// Keys of a block. So few that what waits for a whole block, once for each chain of addresses, is derived in
/// 10 ms at a start; so many that digests are a hundredth of a file.
pub const KEYS_PER_BLOCK: u32 = 128;

/// The same, as a length.
const BLOCK: usize = 128;

/// Keys that are derived anew each time that a file is read: a file of other keys is found out, at the price of
/// 3 ms. The first and the last one are always among them.
pub const KEYS_TRIED: usize = 32;

/// Keys that are derived before they are written, whole blocks: a start that is interrupted repeats half a second.
const KEYS_AT_ONCE: u32 = 64 * KEYS_PER_BLOCK;

/// Least keys that another thread is started for: that takes as long as deriving one or two.
const KEYS_PER_THREAD: usize = 64;

/// What a file begins with. Another version, or another way to derive, is another first line.
const FORMAT: &[u8] = b"keyward derived keys 1\n";

/// Bytes of a block: its keys, and a digest.
const BLOCK_BYTES: usize = (BLOCK + 1) * size_of::<OutputKey>();

/// Derived keys in files of a directory, one file for each chain of addresses.
#[derive(Debug)]
pub struct KeyFiles {
    directory: PathBuf,
    problem: Option<io::Error>,
}

impl KeyFiles {
    /// Nothing is read yet. The directory is made when there is something to write.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), problem: None }
    }

    /// The output keys of some indices of a chain of addresses: those that a file has are read, the others are
    /// derived by all processors and written.
    ///
    /// A file that cannot be read or written makes no difference to the result; see [`KeyFiles::problem`].
    ///
    /// # Errors
    /// A key that cannot be derived.
    pub fn keys(
        &mut self,
        decoder: &(dyn Decoder + Sync),
        account: &AccountKey,
        branch: Branch,
        indices: Range<u32>,
    ) -> Result<Vec<OutputKey>, DecodeError> {
        let chain = Chain { decoder, account, branch };
        match Kept::open(self.file(account, branch), chain.id()) {
            Ok(mut kept) => {
                let (keys, written) = kept.keys(&chain, indices)?;
                if let Err(error) = written {
                    self.problem = Some(error);
                }
                Ok(keys)
            }
            Err(error) => {
                self.problem = Some(error);
                chain.derive(indices)
            }
        }
    }

    /// Why keys could not be read or written, if there ever was a reason.
    pub fn problem(&self) -> Option<&io::Error> {
        self.problem.as_ref()
    }

    /// Removes all files: what they say was found to be wrong.
    ///
    /// # Errors
    /// The file system.
    pub fn forget(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The file of a chain of addresses.
    pub fn file(&self, account: &AccountKey, branch: Branch) -> PathBuf {
        self.directory.join(format!("{}.keys", chain_id(account, branch)))
    }
}

/// What names a chain of addresses.
fn chain_id(account: &AccountKey, branch: Branch) -> Hash {
    let parts = [&account.public.0[..], &account.chain_code.0, &branch.number().to_be_bytes()];
    Hash::of("keyward/derived-chain", &parts.concat())
}

/// The output keys of some indices of a chain of addresses, derived by all processors.
pub(crate) fn derive_all(
    decoder: &(dyn Decoder + Sync),
    account: &AccountKey,
    branch: Branch,
    indices: Range<u32>,
) -> Result<Vec<OutputKey>, DecodeError> {
    Chain { decoder, account, branch }.derive(indices)
}

/// A chain of addresses, to be derived.
struct Chain<'a> {
    decoder: &'a (dyn Decoder + Sync),
    account: &'a AccountKey,
    branch: Branch,
}

impl Chain<'_> {
    fn id(&self) -> Hash {
        chain_id(self.account, self.branch)
    }

    fn key(&self, index: u32) -> Result<OutputKey, DecodeError> {
        derive(self.decoder, self.account, self.branch, index)
    }

    /// Whether some of the keys of the indices from `first` on are those that are derived.
    fn has(&self, first: u32, keys: &[OutputKey]) -> Result<bool, DecodeError> {
        let Some(last) = keys.len().checked_sub(1) else { return Ok(true) };
        let random = RandomState::new();
        let any =
            (2..KEYS_TRIED).filter_map(|n| random.hash_one(n).checked_rem(u64::try_from(keys.len()).ok()?));
        let any = any.filter_map(|place| usize::try_from(place).ok());
        for place in [0, last].into_iter().chain(any) {
            let index = u32::try_from(place).ok().and_then(|place| first.checked_add(place));
            let Some((index, key)) = index.zip(keys.get(place)) else { return Ok(false) };
            if self.key(index)? != *key {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn derive(&self, indices: Range<u32>) -> Result<Vec<OutputKey>, DecodeError> {
        let all: Vec<u32> = indices.collect();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let share = all.len().div_ceil(processors).max(KEYS_PER_THREAD);
        let one =
            |indices: &[u32]| -> Result<Vec<_>, _> { indices.iter().map(|index| self.key(*index)).collect() };
        if all.len() <= share {
            return one(&all);
        }
        let parts = thread::scope(|scope| {
            let running: Vec<_> = all.chunks(share).map(|part| scope.spawn(move || one(part))).collect();
            let ended = || DecodeError { what: "keys", why: "the thread that derives them ended".to_owned() };
            running
                .into_iter()
                .map(|part| part.join().unwrap_or_else(|_| Err(ended())))
                .collect::<Result<Vec<_>, _>>()
        });
        parts.map(|parts| parts.concat())
    }
}

/// An open file of keys: a head, and blocks of [`KEYS_PER_BLOCK`] keys with a digest.
struct Kept {
    file: File,
    id: Hash,
}

impl Kept {
    /// Opens or makes a file. One of another format or chain begins anew.
    fn open(path: PathBuf, id: Hash) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut kept = Self { file, id };
        let mut found = Vec::new();
        (&kept.file).take(kept.place(0)).read_to_end(&mut found)?;
        if found != kept.head() {
            kept.begin()?;
        }
        Ok(kept)
    }

    /// Empties the file.
    fn begin(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&self.head())
    }

    fn head(&self) -> Vec<u8> {
        [FORMAT, &self.id.0].concat()
    }

    /// The keys of some indices, and whether what was derived could be written.
    fn keys(
        &mut self,
        chain: &Chain<'_>,
        indices: Range<u32>,
    ) -> Result<(Vec<OutputKey>, io::Result<()>), DecodeError> {
        let first = indices.start.checked_div(KEYS_PER_BLOCK).unwrap_or_default();
        let base = first.saturating_mul(KEYS_PER_BLOCK);
        let read = self.read(first..indices.end.div_ceil(KEYS_PER_BLOCK));
        let (mut keys, mut written) =
            read.map_or_else(|error| (Vec::new(), Err(error)), |keys| (keys, Ok(())));
        if !chain.has(base, &keys)? {
            (keys, written) = (Vec::new(), written.and_then(|()| self.begin()));
        }
        let after = |keys: &[OutputKey]| {
            u32::try_from(keys.len()).map_or(u32::MAX, |count| base.saturating_add(count))
        };
        while after(&keys) < indices.end {
            let (from, known) = (after(&keys), keys.len());
            keys.extend(chain.derive(from..from.saturating_add(KEYS_AT_ONCE).min(indices.end))?);
            let number = from.checked_div(KEYS_PER_BLOCK).unwrap_or(u32::MAX);
            written = written.and_then(|()| self.write(number, keys.get(known..).unwrap_or_default()));
        }
        let wanted = usize::try_from(indices.start.saturating_sub(base)).unwrap_or(usize::MAX);
        Ok((keys.into_iter().skip(wanted).take(indices.len()).collect(), written))
    }

    /// The keys of some blocks, as far as they are there and hold.
    fn read(&self, blocks: Range<u32>) -> io::Result<Vec<OutputKey>> {
        let mut file = BufReader::new(&self.file);
        file.seek(SeekFrom::Start(self.place(blocks.start)))?;
        let (mut keys, mut block) = (Vec::new(), vec![0; BLOCK_BYTES]);
        for number in blocks {
            match file.read_exact(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                read => read?,
            }
            let Some((body, digest)) = block.split_last_chunk() else { break };
            if self.digest(number, body).0 != *digest {
                break;
            }
            keys.extend_from_slice(body.as_chunks().0);
        }
        Ok(keys)
    }

    /// Writes the whole blocks of some keys from a block on, and cuts off what stands behind. Nothing where an earlier
    /// block is missing: the next start writes all.
    fn write(&mut self, first: u32, keys: &[OutputKey]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (number, block) in (first..).zip(keys.as_chunks::<BLOCK>().0) {
            let body = block.concat();
            let digest = self.digest(number, &body);
            bytes.extend([&body[..], &digest.0].concat());
        }
        let place = self.place(first);
        if bytes.is_empty() || self.file.metadata()?.len() < place {
            return Ok(());
        }
        self.file.set_len(place)?;
        self.file.seek(SeekFrom::Start(place))?;
        self.file.write_all(&bytes)
    }

    /// Where a block begins.
    fn place(&self, block: u32) -> u64 {
        let [head, bytes] = [self.head().len(), BLOCK_BYTES].map(|n| u64::try_from(n).unwrap_or(u64::MAX));
        head.saturating_add(u64::from(block).saturating_mul(bytes))
    }

    /// What makes a block one of this chain, at its place.
    fn digest(&self, number: u32, keys: &[u8]) -> Hash {
        Hash::of("keyward/derived-keys", &[&self.id.0[..], &number.to_be_bytes(), keys].concat())
    }
}
