//! Memory for secrets: locked into RAM, left out of core dumps, wiped when dropped.
//!
//! The region comes from `memfd_secret(2)` where the kernel has it (its pages are removed from the
//! kernel's own map, so not even root reads them through `/proc/PID/mem`), else from an anonymous
//! mapping with `mlock(2)`. This is the only module of the trusted crates with `unsafe`.
#![allow(
    unsafe_code,
    reason = "secrets need mmap, mlock, memfd_secret and prctl; each block says why it is sound"
)]

use std::ptr::NonNull;
use std::{fmt, io, ptr, slice};

use rand_core::CryptoRngCore;
use zeroize::Zeroize as _;

/// Why memory for a secret could not be had, or a process not be closed to others.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {cause}; raise the limit of locked memory (`ulimit -l`) if it is used up")]
pub struct LockError {
    what: &'static str,
    cause: io::Error,
}

impl LockError {
    fn last(what: &'static str) -> Self {
        Self { what, cause: io::Error::last_os_error() }
    }

    fn invalid(what: &'static str) -> Self {
        Self { what, cause: io::ErrorKind::InvalidInput.into() }
    }
}

/// How a region was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    MemfdSecret,
    Mlock,
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Self::MemfdSecret => "memfd_secret",
            Self::Mlock => "mlock",
        }
    }
}

/// A secret of fixed length in locked memory. Not cloned, not shown, wiped when dropped.
pub struct LockedBytes {
    start: NonNull<u8>,
    len: usize,
    mapped: usize,
    mechanism: Mechanism,
}

// SAFETY: the region belongs to this value alone; the pointer is never handed out but as a borrow
// of the value, so that moving it to another thread moves the only access.
unsafe impl Send for LockedBytes {}
// SAFETY: through `&self` the region is only read.
unsafe impl Sync for LockedBytes {}

impl LockedBytes {
    /// A region of `len` zero bytes.
    ///
    /// # Errors
    /// No memory may be locked (`RLIMIT_MEMLOCK`), or `len` is 0 or absurd.
    pub fn zeroed(len: usize) -> Result<Self, LockError> {
        let mapped = whole_pages(len)?;
        let (start, mechanism) = match map_secret(mapped) {
            Ok(start) => (start, Mechanism::MemfdSecret),
            Err(_) => (map_locked(mapped)?, Mechanism::Mlock),
        };
        let region = Self { start, len, mapped, mechanism };
        for advice in [libc::MADV_DONTDUMP, libc::MADV_DONTFORK] {
            // SAFETY: start and mapped describe the mapping made above; the advice changes no contents.
            if unsafe { libc::madvise(region.start.as_ptr().cast(), mapped, advice) } != 0 {
                return Err(LockError::last("keep a secret out of core dumps and child processes"));
            }
        }
        Ok(region)
    }

    /// A copy of `source`, which is wiped.
    ///
    /// # Errors
    /// As [`LockedBytes::zeroed`]; the source is wiped then too.
    pub fn take(source: &mut [u8]) -> Result<Self, LockError> {
        let locked = Self::zeroed(source.len()).map(|mut locked| {
            locked.expose_mut().copy_from_slice(source);
            locked
        });
        source.zeroize();
        locked
    }

    /// `len` random bytes.
    ///
    /// # Errors
    /// As [`LockedBytes::zeroed`].
    pub fn random(len: usize, rng: &mut impl CryptoRngCore) -> Result<Self, LockError> {
        let mut locked = Self::zeroed(len)?;
        rng.fill_bytes(locked.expose_mut());
        Ok(locked)
    }

    /// The secret, for as long as it is borrowed. Copy it nowhere.
    pub fn expose(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` are mapped, initialised (the kernel gives zero pages),
        // and not written while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The secret, to be written.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `expose`, and `&mut self` makes this the only access.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Shortens the secret to its first `len` bytes and wipes the rest. Longer changes nothing.
    pub fn truncate(&mut self, len: usize) {
        if let Some(rest) = self.expose_mut().get_mut(len..) {
            rest.zeroize();
            self.len = len;
        }
    }

    /// How the region was made: `memfd_secret` or `mlock`.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism.name()
    }
}

impl fmt::Debug for LockedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedBytes(<{} secret bytes>)", self.len)
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        self.expose_mut().zeroize();
        // SAFETY: the mapping was made by `zeroed` with this length and is not used after this.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}

/// How this machine keeps secrets (`memfd_secret` or `mlock`), found out by trying.
///
/// # Errors
/// Neither works.
pub fn mechanism() -> Result<&'static str, LockError> {
    LockedBytes::zeroed(1).map(|probe| probe.mechanism())
}

/// Closes the process to others: no core dumps, no tracing or reading by processes of the same
/// user. To be called before the first secret is read.
///
/// # Errors
/// The kernel refused.
pub fn harden_process() -> Result<(), LockError> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid rlimit for the length of the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) } != 0 {
        return Err(LockError::last("forbid core dumps"));
    }
    // SAFETY: PR_SET_DUMPABLE takes one integer and touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } != 0 {
        return Err(LockError::last("forbid tracing of this process"));
    }
    Ok(())
}

fn whole_pages(len: usize) -> Result<usize, LockError> {
    // SAFETY: sysconf reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).map_err(|_| LockError::last("learn the page size"))?;
    match len.checked_next_multiple_of(page) {
        Some(mapped) if mapped > 0 => Ok(mapped),
        _ => Err(LockError::invalid("lock a region of this length")),
    }
}

fn map_secret(len: usize) -> Result<NonNull<u8>, LockError> {
    const WHAT: &str = "make secret memory";
    let size = libc::off_t::try_from(len).map_err(|_| LockError::invalid(WHAT))?;
    // SAFETY: memfd_secret takes flags and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(|| LockError::last(WHAT))?;
    // SAFETY: `fd` was opened above and is ours.
    let mapped = match unsafe { libc::ftruncate(fd, size) } {
        0 => map(len, libc::MAP_SHARED, fd),
        _ => Err(LockError::last(WHAT)),
    };
    // SAFETY: `fd` is ours and not used afterwards; the mapping outlives it.
    unsafe { libc::close(fd) };
    mapped
}

fn map_locked(len: usize) -> Result<NonNull<u8>, LockError> {
    let start = map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    // SAFETY: the mapping was made above with this length.
    if unsafe { libc::mlock(start.as_ptr().cast(), len) } == 0 {
        return Ok(start);
    }
    let error = LockError::last("lock memory for a secret");
    // SAFETY: as above; nothing points into it yet.
    unsafe { libc::munmap(start.as_ptr().cast(), len) };
    Err(error)
}

fn map(len: usize, flags: libc::c_int, fd: libc::c_int) -> Result<NonNull<u8>, LockError> {
    // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(LockError::last("map memory for a secret"));
    }
    NonNull::new(start.cast()).ok_or_else(|| LockError::invalid("map memory for a secret"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Seek as _, SeekFrom};

    use super::*;

    /// The block of `/proc/self/smaps` of the mapping that holds `address`.
    fn mapping_of(address: u64) -> String {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut found = None;
        for line in smaps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16))
            {
                if found.is_some() {
                    break;
                }
                if (from..to).contains(&address) {
                    found = Some(String::new());
                }
            }
            if let Some(text) = &mut found {
                text.push_str(line);
                text.push('\n');
            }
        }
        found.unwrap()
    }

    fn flags(address: u64) -> Vec<String> {
        let text = mapping_of(address);
        let line = text.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn regions_are_locked_and_neither_dumped_nor_inherited() {
        let secret = LockedBytes::zeroed(32).unwrap();
        let flags = flags(secret.expose().as_ptr() as u64);
        for wanted in ["lo", "dd", "dc"] {
            assert!(flags.iter().any(|flag| flag == wanted), "{wanted} in {flags:?}");
        }
    }

    #[test]
    fn the_fallback_is_locked_too() {
        let start = map_locked(4096).unwrap();
        let region = LockedBytes { start, len: 32, mapped: 4096, mechanism: Mechanism::Mlock };
        assert!(flags(region.expose().as_ptr() as u64).iter().any(|flag| flag == "lo"));
        assert_eq!(region.mechanism(), "mlock");
    }

    #[test]
    fn secret_memory_cannot_be_read_through_proc() {
        let secret = LockedBytes::take(&mut [7; 32]).unwrap();
        if secret.mechanism() != "memfd_secret" {
            return; // an older kernel: the other tests hold what can be held there
        }
        assert!(mapping_of(secret.expose().as_ptr() as u64).contains("secretmem"));
        let mut memory = fs::File::open("/proc/self/mem").unwrap();
        memory.seek(SeekFrom::Start(secret.expose().as_ptr() as u64)).unwrap();
        assert!(memory.read_exact(&mut [0; 32]).is_err());
    }

    #[test]
    fn lengths() {
        assert!(LockedBytes::zeroed(0).is_err());
        assert!(LockedBytes::zeroed(usize::MAX).is_err());
        let page = whole_pages(1).unwrap();
        for len in [1, page - 1, page, page + 1] {
            let secret = LockedBytes::zeroed(len).unwrap();
            assert_eq!(secret.expose(), vec![0; len]);
            assert_eq!(secret.mapped, if len > page { 2 * page } else { page });
        }
    }

    #[test]
    fn taking_wipes_the_source_and_truncating_wipes_the_rest() {
        let mut source = *b"a secret";
        let mut secret = LockedBytes::take(&mut source).unwrap();
        assert_eq!(source, [0; 8]);
        assert_eq!(secret.expose(), b"a secret");
        secret.truncate(9);
        assert_eq!(secret.expose(), b"a secret");
        secret.truncate(1);
        assert_eq!(secret.expose(), b"a");
        secret.len = 8;
        assert_eq!(secret.expose(), b"a\0\0\0\0\0\0\0");
        assert_eq!(format!("{secret:?}"), "LockedBytes(<8 secret bytes>)");
    }

    #[test]
    fn a_hardened_process_leaves_no_core_and_is_not_dumpable() {
        // In a process of its own, because what it gives up it cannot take back.
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "locked::tests::hardened_child"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "the test above runs it in a child process"]
    fn hardened_child() {
        let core_limits = || {
            let limits = fs::read_to_string("/proc/self/limits").unwrap();
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
            core.split_whitespace().skip(4).take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        // SAFETY: PR_GET_DUMPABLE takes no pointer.
        let dumpable = || unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
        assert_eq!(dumpable(), 1);
        harden_process().unwrap();
        assert_eq!(core_limits(), ["0", "0"]);
        assert_eq!(dumpable(), 0);
    }
}
