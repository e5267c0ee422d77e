//! Memory for secrets: locked into RAM, left out of core dumps, wiped when done with.
//!
//! - [`LockedBytes`]: where a secret rests. Its pages come from `memfd_secret(2)` where the kernel has it
//!   (they are removed from the kernel's own map, so not even root reads them through `/proc/PID/mem`), else
//!   from an anonymous mapping with `mlock(2)`.
//! - [`on_locked_stack`]: where it is computed with. Wiped as a whole after each computation.
//! - [`WipingAllocator`]: the heap of a program that does so. Wipes every block before it is freed.
//! - [`harden_process`], [`lock_all`]: no dumps, no tracing, no swap.
//!
//! This is the only module of the trusted crates with `unsafe` (DACS GEN-08; `docs/spec/memory.md` says
//! what it achieves, and what not).
#![allow(
    unsafe_code,
    reason = "secrets need mmap, mlock, memfd_secret, prctl, a stack and a heap; each block says why it is sound"
)]

mod allocator;
mod process;
mod region;
mod stack;
#[cfg(test)]
mod tests;

use std::{fmt, io};

use rand_core::CryptoRngCore;
use zeroize::Zeroize as _;

pub use allocator::WipingAllocator;
pub use process::{Extent, harden_process, lock_all};
use region::Region;
pub use stack::on_locked_stack;

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

/// A secret of fixed length in locked memory. Not cloned, not shown, wiped when dropped.
pub struct LockedBytes {
    region: Region,
    len: usize,
    mechanism: &'static str,
}

impl LockedBytes {
    /// A region of `len` zero bytes.
    ///
    /// # Errors
    /// No memory may be locked (`RLIMIT_MEMLOCK`), or `len` is 0 or absurd.
    pub fn zeroed(len: usize) -> Result<Self, LockError> {
        let (region, mechanism) = match Region::secret(len) {
            Ok(region) => (region, "memfd_secret"),
            Err(_) => (Region::locked(len, 0)?, "mlock"),
        };
        Ok(Self { region, len, mechanism })
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
        self.region.bytes().get(..self.len).unwrap_or_default()
    }

    /// The secret, to be written.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        self.region.bytes_mut().get_mut(..self.len).unwrap_or_default()
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
        self.mechanism
    }
}

impl fmt::Debug for LockedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedBytes(<{} secret bytes>)", self.len)
    }
}

/// How this machine keeps secrets (`memfd_secret` or `mlock`), found out by trying.
///
/// # Errors
/// Neither works.
pub fn mechanism() -> Result<&'static str, LockError> {
    LockedBytes::zeroed(1).map(|probe| probe.mechanism())
}
