//! What holds for the whole process.

use std::fmt;

use super::LockError;

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

/// How much of a process is kept in RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// Every page it has, and every one that it will get.
    Everything,
    /// Secrets and their stacks; the heap in use could be swapped out.
    Secrets {
        /// How much the process may lock, in bytes.
        limit_bytes: u64,
    },
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("every page of the process is locked"),
            Self::Secrets { limit_bytes } => write!(
                f,
                "secrets and their stacks are locked, the heap is not: this user may lock {limit_bytes} bytes"
            ),
        }
    }
}

/// Locks the whole process, from now on, if it may lock without limit, which it tries to obtain first. Under
/// a limit it does not, because memory would run out at some later allocation. To be called before the first
/// secret is read.
///
/// # Errors
/// The kernel refused what it allows.
pub fn lock_all() -> Result<Extent, LockError> {
    const WHAT: &str = "lock the process into memory";
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit, read by the first call and written by the second.
    unsafe {
        // Whoever may not raise it is told by what is read next.
        libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit);
        if libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) != 0 {
            return Err(LockError::last(WHAT));
        }
    }
    if limit.rlim_cur != libc::RLIM_INFINITY {
        return Ok(Extent::Secrets { limit_bytes: limit.rlim_cur });
    }
    // SAFETY: mlockall takes flags and touches no memory of ours.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
        return Err(LockError::last(WHAT));
    }
    Ok(Extent::Everything)
}
