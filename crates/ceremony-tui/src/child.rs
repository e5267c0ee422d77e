//! The worker as a child process: this program again, with nothing of this process but two pipes.

use std::io;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use ceremony::worker::frame::{self, FrameError};
use ceremony::worker::{Answer, Ask};
use keys::locked::LockedBytes;

/// The word by which the program becomes the worker.
pub const WORKER: &str = "worker";

/// A running worker. When it is dropped the process is ended, and with it every secret.
#[derive(Debug)]
pub struct Child {
    process: Arc<Mutex<Process>>,
    to: ChildStdin,
    from: ChildStdout,
}

/// Ends a worker from another thread.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Mutex<Process>>);

impl Child {
    /// Starts the worker: the program that runs now, also if the file on disk was replaced since.
    ///
    /// # Errors
    /// No process can be made.
    pub fn start() -> io::Result<Self> {
        // Never by its path: what lies there now may be another program.
        let mut command = Command::new("/proc/self/exe");
        command.arg(WORKER).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (to, from) = pipes.ok_or_else(|| io::Error::other("the worker has no pipes"))?;
        Ok(Self { process: Arc::new(Mutex::new(process)), to, from })
    }

    /// Asks, and waits for the answer; what is secret goes and comes beside it.
    ///
    /// # Errors
    /// The worker is gone, and with it every secret.
    pub fn ask(&mut self, ask: &Ask, secret: &[u8]) -> Result<(Answer, LockedBytes), FrameError> {
        frame::send(&mut self.to, ask, secret)?;
        let gone = || FrameError::Pipe(io::ErrorKind::UnexpectedEof.into());
        frame::receive(&mut self.from)?.ok_or_else(gone)
    }

    /// What ends it from another thread.
    pub fn stop(&self) -> Stop {
        Stop(Arc::clone(&self.process))
    }

    /// Closes the pipes, so that the worker forgets everything and ends, and waits for its end.
    ///
    /// # Errors
    /// It did not end well; it is ended all the same.
    pub fn end(self) -> io::Result<()> {
        let process = Arc::clone(&self.process);
        drop(self);
        let status = process.lock().unwrap_or_else(PoisonError::into_inner).wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("the worker ended with {status}")))
        }
    }
}

impl Stop {
    /// What ends any process.
    #[cfg(test)]
    pub(crate) fn of(process: &Arc<Mutex<Process>>) -> Self {
        Self(Arc::clone(process))
    }

    /// Ends the worker at once: the kernel takes its memory.
    pub fn now(&self) {
        let mut process = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself, which is as good.
        let _ = process.kill();
        let _ = process.wait();
    }
}
