//! The watch: a thread that looks at the machine while secrets are in it, and ends the worker, which alone has
//! them, as soon as something came up (DACS GEN-06).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ceremony::room::{Finding, FindingKind, Room, Watch};

use crate::child::Stop;

/// Between two looks: a link takes longer than that to come up and be used.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// Tells front ends that the watch found something.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<AtomicBool>);

impl Alarm {
    /// Whether it did, and nobody has been told yet.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, raised: bool) {
        self.0.store(raised, Ordering::Release);
    }
}

/// What came up, and how the machine was then.
#[derive(Clone, Debug)]
pub struct CameUp {
    /// What was not there before.
    pub changes: Vec<Finding>,
    /// The machine.
    pub room: Room,
}

/// A running watch.
#[derive(Debug)]
pub struct Watcher {
    found: Arc<Mutex<Option<CameUp>>>,
    noticed: Arc<Mutex<Option<Room>>>,
    over: Arc<AtomicBool>,
    alarm: Alarm,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins with the machine as it was accepted. What comes up later and lets secrets out ends the worker, and
    /// then this watch; what the script admits a deviation for is kept for people to decide.
    pub fn start(
        stop: Stop,
        alarm: Alarm,
        accepted: Room,
        admitted: Vec<FindingKind>,
        look: impl Fn() -> Room + Send + 'static,
    ) -> Self {
        let (found, noticed) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let over = Arc::new(AtomicBool::new(false));
        let (tell, seen) = (Arc::clone(&found), Arc::clone(&noticed));
        let (ended, raise) = (Arc::clone(&over), alarm.clone());
        let thread = thread::spawn(move || {
            let mut watch = Watch::baseline(accepted);
            while !ended.load(Ordering::Acquire) {
                let room = look();
                let changes = watch.changes(&room);
                if changes.iter().any(|change| lets_out(change.kind, &admitted)) {
                    // Why comes before the end, so that whoever sees the end knows.
                    *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(CameUp { changes, room });
                    stop.now();
                    raise.set(true);
                    return;
                }
                if !changes.is_empty() {
                    watch = Watch::baseline(room.clone());
                    *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(room);
                }
                thread::park_timeout(INTERVAL);
            }
        });
        Self { found, noticed, over, alarm, thread: Some(thread) }
    }

    /// The machine with something new that people may sign for, once.
    pub fn noticed(&self) -> Option<Room> {
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What came up, if something did; the worker is ended then, or about to be.
    pub fn found(&self) -> Option<CameUp> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the watch. What it found in its last look counts.
    pub fn end(mut self) -> Option<CameUp> {
        self.stop();
        self.found()
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A watch that panicked has nothing more to say.
            let _ = thread.join();
        }
        self.alarm.set(false);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether what comes up ends the ceremony at once, as [`ceremony::run::Run::finding`] has it.
fn lets_out(kind: FindingKind, admitted: &[FindingKind]) -> bool {
    match kind {
        FindingKind::Clock | FindingKind::Hardware | FindingKind::Seal => false,
        FindingKind::NetworkLink | FindingKind::Route | FindingKind::Radio | FindingKind::Bluetooth => true,
        other => !admitted.contains(&other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_end_a_ceremony_and_what_the_script_admits_waits() {
        let admitted = [FindingKind::Media, FindingKind::NetworkLink];
        assert!(lets_out(FindingKind::NetworkLink, &admitted));
        assert!(lets_out(FindingKind::Mount, &admitted));
        assert!(!lets_out(FindingKind::Media, &admitted));
        assert!(!lets_out(FindingKind::Clock, &admitted));
    }
}
