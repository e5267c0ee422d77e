//! A mapping of whole pages for secrets, and how the kernel is asked for it.

use std::ptr::NonNull;
use std::{ptr, slice};

use super::LockError;

/// Whole pages that stay in RAM, and out of core dumps and child processes. Wiped when dropped.
pub(super) struct Region {
    start: NonNull<u8>,
    len: usize,
    /// Bytes in front of `start` that belong to the mapping and that nobody may touch.
    guard: usize,
}

// SAFETY: the mapping belongs to this value alone; the pointer is never handed out but as a borrow
// of the value, so that moving it to another thread moves the only access.
unsafe impl Send for Region {}
// SAFETY: through `&self` the mapping is only read.
unsafe impl Sync for Region {}

impl Region {
    /// At least `len` zero bytes by `memfd_secret(2)`: pages that are gone from the kernel's own map.
    pub(super) fn secret(len: usize) -> Result<Self, LockError> {
        const WHAT: &str = "make secret memory";
        let len = whole_pages(len)?;
        let size = libc::off_t::try_from(len).map_err(|_| LockError::invalid(WHAT))?;
        // SAFETY: memfd_secret takes flags and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(|| LockError::last(WHAT))?;
        // SAFETY: `fd` was opened above and is ours.
        let region = match unsafe { libc::ftruncate(fd, size) } {
            0 => Self::map(len, 0, libc::MAP_SHARED, fd),
            _ => Err(LockError::last(WHAT)),
        };
        // SAFETY: `fd` is ours and not used afterwards; the mapping outlives it.
        unsafe { libc::close(fd) };
        region?.kept_to_ourselves()
    }

    /// At least `len` zero bytes by `mlock(2)`, behind a guard of at least `guard` bytes: touching that
    /// ends the process.
    pub(super) fn locked(len: usize, guard: usize) -> Result<Self, LockError> {
        let guard = if guard == 0 { 0 } else { whole_pages(guard)? };
        let region = Self::map(whole_pages(len)?, guard, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
        // SAFETY: the guard was mapped above, in front of `start`, and nothing points into it.
        if unsafe { libc::mprotect(region.base(), guard, libc::PROT_NONE) } != 0 {
            return Err(LockError::last("guard a stack"));
        }
        // SAFETY: `len` bytes from `start` were mapped above.
        if unsafe { libc::mlock(region.start.as_ptr().cast(), region.len) } != 0 {
            return Err(LockError::last("lock memory for a secret"));
        }
        region.kept_to_ourselves()
    }

    fn map(len: usize, guard: usize, flags: libc::c_int, fd: libc::c_int) -> Result<Self, LockError> {
        const WHAT: &str = "map memory for a secret";
        let whole = len.checked_add(guard).ok_or_else(|| LockError::invalid(WHAT))?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), whole, access, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(LockError::last(WHAT));
        }
        // SAFETY: `guard` is at most `whole`, the length of the mapping.
        let start = unsafe { base.cast::<u8>().add(guard) };
        let start = NonNull::new(start).ok_or_else(|| LockError::invalid(WHAT))?;
        Ok(Self { start, len, guard })
    }

    fn kept_to_ourselves(self) -> Result<Self, LockError> {
        for advice in [libc::MADV_DONTDUMP, libc::MADV_DONTFORK] {
            // SAFETY: start and len describe the mapping; the advice changes no contents.
            if unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, advice) } != 0 {
                return Err(LockError::last("keep a secret out of core dumps and child processes"));
            }
        }
        Ok(self)
    }

    /// Where the mapping begins, guard included.
    fn base(&self) -> *mut libc::c_void {
        // SAFETY: the guard lies in front of `start` in the same mapping.
        unsafe { self.start.as_ptr().sub(self.guard) }.cast()
    }

    /// All of its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` are mapped, initialised (the kernel gives zero pages),
        // and not written while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// All of its bytes, to be written.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes this the only access.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Zeroes all of it, in a way that no compiler leaves out.
    pub(super) fn wipe(&mut self) {
        // SAFETY: `len` bytes from `start` are mapped, and `&mut self` makes this the only access.
        unsafe { libc::explicit_bzero(self.start.as_ptr().cast(), self.len) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.wipe();
        // SAFETY: the mapping was made by `map` with this length and is not used after this.
        unsafe { libc::munmap(self.base(), self.guard.saturating_add(self.len)) };
    }
}

fn whole_pages(len: usize) -> Result<usize, LockError> {
    // SAFETY: sysconf reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).map_err(|_| LockError::last("learn the page size"))?;
    match len.checked_next_multiple_of(page) {
        Some(whole) if whole > 0 => Ok(whole),
        _ => Err(LockError::invalid("lock a region of this length")),
    }
}
