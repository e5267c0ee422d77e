//! Looks through the memory and the files of another process for known secrets.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Every form of a secret is found by its first eight bytes, so that a piece of it is found too: eight bytes
/// in a row do not occur by chance (2⁻⁶⁴ for each place).
const PIECE: usize = 8;

/// Bits of the filter in front of the table: most places in memory are dismissed by one look.
const FILTER_BITS: u32 = 20;

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// Longest form of a piece: pieces are found across the borders of chunks.
const OVERLAP: usize = 256;

/// What is looked for.
pub(crate) struct Needles {
    table: HashMap<u64, Vec<(Vec<u8>, String)>>,
    filter: Vec<bool>,
}

fn slot(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS)) as usize
}

impl Needles {
    pub(crate) fn new() -> Self {
        Self { table: HashMap::new(), filter: vec![false; 1 << FILTER_BITS] }
    }

    /// These bytes, as they are.
    pub(crate) fn form(&mut self, bytes: &[u8], label: &str) {
        assert!((PIECE..=OVERLAP).contains(&bytes.len()));
        let key = u64::from_be_bytes(bytes[..PIECE].try_into().unwrap());
        self.filter[slot(key)] = true;
        let forms = self.table.entry(key).or_default();
        if forms.iter().all(|(form, _)| form != bytes) {
            forms.push((bytes.to_vec(), label.to_owned()));
        }
    }

    /// A secret of random bytes: each eight of them as they are and reversed (the limbs of numbers on this
    /// machine), in hex, and each twelve in base64.
    pub(crate) fn secret(&mut self, label: &str, bytes: &[u8]) {
        assert!(bytes.len() >= 2 * PIECE, "{label} is too short to be told from chance");
        for piece in bytes.chunks_exact(PIECE) {
            let reversed: Vec<u8> = piece.iter().rev().copied().collect();
            let hex = hex::encode(piece);
            self.form(piece, label);
            self.form(&reversed, &format!("{label}, reversed"));
            self.form(hex.as_bytes(), &format!("{label}, hex"));
            self.form(hex.to_uppercase().as_bytes(), &format!("{label}, hex"));
        }
        for skip in 0..3 {
            for piece in bytes[skip..].chunks_exact(12) {
                for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    self.form(engine.encode(piece).as_bytes(), &format!("{label}, base64"));
                }
            }
        }
    }

    /// Where what stands in `bytes`.
    pub(crate) fn find(&self, bytes: &[u8]) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        let mut key = 0_u64;
        for (at, byte) in bytes.iter().enumerate() {
            key = key << 8 | u64::from(*byte);
            if self.filter[slot(key)]
                && let Some(start) = (at + 1).checked_sub(PIECE)
                && let Some(forms) = self.table.get(&key)
            {
                let here = forms.iter().filter(|(form, _)| bytes[start..].starts_with(form));
                found.extend(here.map(|(_, label)| (start, label.as_str())));
            }
        }
        found
    }

    /// The secrets in a directory, files in it and their names.
    pub(crate) fn in_files(&self, directory: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).map(|metadata| metadata.file_type());
            let contents = match kind {
                Ok(kind) if kind.is_dir() => {
                    found.extend(self.in_files(&path));
                    Vec::new()
                }
                // Somebody else's file may be gone by now.
                Ok(kind) if kind.is_file() => fs::read(&path).unwrap_or_default(),
                _ => Vec::new(),
            };
            let name = path.as_os_str().as_encoded_bytes();
            for (_, label) in self.find(&contents).into_iter().chain(self.find(name)) {
                found.insert(format!("{label} in {}", path.display()));
            }
        }
        found
    }
}

/// One mapping of a process.
struct Mapping {
    from: u64,
    to: u64,
    name: String,
    flags: BTreeSet<String>,
}

impl Mapping {
    /// All mappings of a process, from its `smaps`.
    fn all(pid: u32) -> Vec<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        let mut all: Vec<Self> = Vec::new();
        for line in text.lines() {
            let hex = |text| u64::from_str_radix(text, 16).ok();
            let mut words = line.split_whitespace();
            let range = words.next().and_then(|word| word.split_once('-'));
            if let Some((Some(from), Some(to))) = range.map(|(from, to)| (hex(from), hex(to))) {
                // After the range: access, offset, device, inode, and the name, which may be missing.
                let name = words.skip(4).collect::<Vec<_>>().join(" ");
                all.push(Self { from, to, name, flags: BTreeSet::new() });
            } else if let Some(flags) = line.strip_prefix("VmFlags:") {
                all.last_mut().unwrap().flags = flags.split_whitespace().map(str::to_owned).collect();
            }
        }
        assert!(all.len() > 10, "{text}");
        all
    }

    /// Whether it is memory for secrets: locked, not dumped, not inherited.
    fn is_arena(&self) -> bool {
        ["lo", "dd", "dc"].iter().all(|flag| self.flags.contains(*flag))
    }

    /// Whether it is memory that nobody outside reads.
    fn is_secret_memory(&self) -> bool {
        self.name.contains("secretmem")
    }
}

/// What a look through a process found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// What stands in readable memory for secrets.
    pub(crate) in_arena: BTreeSet<String>,
    /// What stands anywhere else: each a leak.
    pub(crate) outside: BTreeSet<String>,
    /// How much was read.
    pub(crate) read_bytes: u64,
    /// How much memory for secrets there is that could not be read.
    pub(crate) unreadable_bytes: u64,
}

impl Scan {
    /// Reads all memory of a process that stands still.
    pub(crate) fn of(pid: u32, needles: &Needles) -> Self {
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut scan = Self::default();
        for mapping in Mapping::all(pid) {
            // Pages of the kernel, without data of the process.
            if ["[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(&mapping.name.as_str()) {
                continue;
            }
            match scan.mapping(&memory, &mapping, needles) {
                Ok(()) => assert!(!mapping.is_secret_memory(), "memory of memfd_secret was read"),
                Err(_) if mapping.is_secret_memory() => {
                    assert!(mapping.is_arena(), "{:?}", mapping.flags);
                    scan.unreadable_bytes += mapping.to - mapping.from;
                }
                Err(error) => panic!("{:x} {}: {error}", mapping.from, mapping.name),
            }
        }
        // The program itself is some megabytes: less was not a look through the process.
        assert!(scan.read_bytes > 4 << 20, "{scan:?}");
        scan
    }

    fn mapping(&mut self, memory: &File, mapping: &Mapping, needles: &Needles) -> io::Result<()> {
        let zeros = vec![0; CHUNK + OVERLAP];
        let mut chunk = zeros.clone();
        let mut at = mapping.from;
        while at < mapping.to {
            let rest = usize::try_from(mapping.to - at).unwrap();
            let part = &mut chunk[..rest.min(CHUNK + OVERLAP)];
            memory.read_exact_at(part, at)?;
            let place = if mapping.is_arena() { &mut self.in_arena } else { &mut self.outside };
            // Most of a process is memory that was never used.
            let found = if *part == zeros[..part.len()] { Vec::new() } else { needles.find(part) };
            for (offset, label) in found {
                let address = at + offset as u64;
                let name = if mapping.is_arena() { "" } else { &format!(" at {address:x} {}", mapping.name) };
                place.insert(format!("{label}{name}"));
            }
            self.read_bytes += rest.min(CHUNK) as u64;
            at += CHUNK as u64;
        }
        Ok(())
    }

    /// Nothing but in memory for secrets.
    #[track_caller]
    pub(crate) fn assert_kept(&self) {
        assert!(self.outside.is_empty(), "found outside of locked memory: {:#?}", self.outside);
    }

    /// Nothing anywhere.
    #[track_caller]
    pub(crate) fn assert_nothing(&self) {
        self.assert_kept();
        assert!(self.in_arena.is_empty(), "still in locked memory: {:#?}", self.in_arena);
    }

    /// In words.
    pub(crate) fn summary(&self) -> String {
        format!(
            "read {} KiB; {} findings in locked memory, {} outside; {} KiB cannot be read",
            self.read_bytes >> 10,
            self.in_arena.len(),
            self.outside.len(),
            self.unreadable_bytes >> 10
        )
    }

    /// Whether a leak of this secret was found, in whatever form.
    pub(crate) fn leaks(&self, label: &str) -> bool {
        self.outside.iter().any(|found| found.starts_with(label))
    }
}

/// Bytes that a process wrote by system calls so far, to files, pipes and terminals alike.
pub(crate) fn written_bytes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// What a process has open of a disk or of shared memory, whether it still has a name or not.
pub(crate) fn open_files(pid: u32) -> Vec<(String, File)> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let files = descriptors.filter_map(|entry| {
        let path = entry.unwrap().path();
        let is_file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
        let name = fs::read_link(&path).ok()?.to_string_lossy().into_owned();
        is_file.then(|| (name, File::open(&path).unwrap()))
    });
    files.collect()
}

/// A figure of `/proc/PID/status`, in KiB.
pub(crate) fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The scanner itself, tried on bytes.
mod tests {
    use super::*;

    const SECRET: [u8; 32] = *b"0123456789abcdefGHIJKLMNOPQRSTUV";

    fn needles() -> Needles {
        let mut needles = Needles::new();
        needles.secret("secret", &SECRET);
        needles
    }

    #[test]
    fn every_form_and_every_piece_is_found() {
        let needles = needles();
        let mut reversed = SECRET;
        reversed.reverse();
        let mut limbs = SECRET;
        limbs.chunks_exact_mut(8).for_each(<[u8]>::reverse);
        let forms = [
            SECRET.to_vec(),
            reversed.to_vec(),
            limbs.to_vec(),
            SECRET[16..24].to_vec(),
            hex::encode(SECRET).into_bytes(),
            hex::encode_upper(SECRET).into_bytes(),
            STANDARD_NO_PAD.encode(SECRET).into_bytes(),
            STANDARD_NO_PAD.encode([b"x", &SECRET[..]].concat()).into_bytes(),
            URL_SAFE_NO_PAD.encode([b"xy", &SECRET[..]].concat()).into_bytes(),
        ];
        for form in &forms {
            for skip in [0, 1, 7] {
                let memory = [&vec![0; skip], &form[..], &[0; 9]].concat();
                assert!(!needles.find(&memory).is_empty(), "{form:?} after {skip}");
            }
        }
        // Seven bytes are too few to tell from chance.
        assert!(needles.find(&SECRET[..7]).is_empty());
        assert!(needles.find(&[SECRET[0]; 4096]).is_empty());
    }

    #[test]
    fn files_and_their_names_are_looked_through() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below");
        fs::create_dir(&below).unwrap();
        assert!(needles().in_files(directory.path()).is_empty());
        fs::write(below.join("file"), [&[1; 5000][..], &SECRET].concat()).unwrap();
        assert!(!needles().in_files(directory.path()).is_empty());
        fs::remove_file(below.join("file")).unwrap();
        fs::write(below.join(hex::encode(SECRET)), b"").unwrap();
        assert!(!needles().in_files(directory.path()).is_empty());
    }
}
