//! A stack of our own, so that what a computation leaves on it can be wiped.
//!
//! Wiping a value wipes one place. Compilers copy values to other places of the stack as they see fit, and
//! libraries keep working values there; nobody can name them all. So the computation runs on a stack that
//! is wiped as a whole when it is done, with the thread's own storage, which lies at its upper end.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{io, process, ptr, thread};

use super::LockError;
use super::region::Region;

/// Bytes below a stack that end the process when touched. Code in Rust touches each page in turn; a frame of
/// C could step over a page, and none of the C linked here has frames near this size.
const GUARD_BYTES: usize = 64 * 1024;

/// What the thread is given, and what it gives back. Lies with whoever waits.
struct Job<F, T> {
    work: Option<F>,
    done: Option<thread::Result<T>>,
}

/// Runs `work` on a locked stack of at least `bytes`, on a thread of its own, waits for it, and wipes the
/// stack. A panic goes on in the caller, after the wipe.
///
/// What `work` captures and returns passes over the caller's stack, which nobody wipes: only public values,
/// references, and [`super::LockedBytes`].
///
/// # Errors
/// No memory may be locked (`RLIMIT_MEMLOCK`); the system makes no thread; `bytes` is absurd or too small
/// for one.
pub fn on_locked_stack<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> Result<T, LockError> {
    run_on(&mut Region::locked(bytes, GUARD_BYTES)?, work)
}

pub(super) fn run_on<T: Send, F: FnOnce() -> T + Send>(stack: &mut Region, work: F) -> Result<T, LockError> {
    let mut job = Job { work: Some(work), done: None };
    // SAFETY: `on_thread` is given a `Job` of its own types, and has ended when `start` returns.
    let started = unsafe { start(stack, on_thread::<T, F>, ptr::from_mut(&mut job).cast()) };
    stack.wipe();
    started?;
    match job.done {
        Some(Ok(value)) => Ok(value),
        Some(Err(panic)) => resume_unwind(panic),
        None => Err(LockError::invalid("run on a locked stack")),
    }
}

extern "C" fn on_thread<T, F: FnOnce() -> T>(job: *mut c_void) -> *mut c_void {
    // SAFETY: `run_on` passes its own job and does not touch it until this thread has ended.
    let job = unsafe { &mut *job.cast::<Job<F, T>>() };
    // Whatever `work` leaves half done, `run_on` panics on with it, as if it had been called in place.
    job.done = job.work.take().map(|work| catch_unwind(AssertUnwindSafe(work)));
    ptr::null_mut()
}

/// Starts a thread on a stack and waits for its end.
///
/// # Safety
/// `main` may be called once with `argument`, on another thread.
unsafe fn start(
    stack: &mut Region,
    main: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> Result<(), LockError> {
    let checked = |code| match code {
        0 => Ok(()),
        _ => {
            let cause = io::Error::from_raw_os_error(code);
            Err(LockError { what: "start a thread on a locked stack", cause })
        }
    };
    let stack = stack.bytes_mut();
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes are initialised before they are used and destroyed once; the stack is ours for
    // the whole call, and used for nothing else (`&mut`); `main` and `argument` are as the caller promises;
    // the thread is created before it is joined.
    let joined = unsafe {
        checked(libc::pthread_attr_init(attributes))?;
        let created =
            checked(libc::pthread_attr_setstack(attributes, stack.as_mut_ptr().cast(), stack.len()))
                .and_then(|()| {
                    checked(libc::pthread_create(thread.as_mut_ptr(), attributes, main, argument))
                });
        libc::pthread_attr_destroy(attributes);
        created?;
        libc::pthread_join(thread.assume_init(), ptr::null_mut())
    };
    if joined != 0 {
        // It may still run, on memory that is about to go.
        process::abort();
    }
    Ok(())
}
