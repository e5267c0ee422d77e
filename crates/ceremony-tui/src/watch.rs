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
    noticed: Arc<Mutex<Option<CameUp>>>,
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
        let (found, noticed) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None::<CameUp>)));
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
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    // The machine as it is now, and all that came up since somebody asked, also what is gone again.
                    let mut all = seen.take().map(|before| before.changes).unwrap_or_default();
                    for change in changes {
                        if !all.contains(&change) {
                            all.push(change);
                        }
                    }
                    *seen = Some(CameUp { changes: all, room });
                }
                thread::park_timeout(INTERVAL);
            }
        });
        Self { found, noticed, over, alarm, thread: Some(thread) }
    }

    /// What came up that people may sign for, once.
    pub fn noticed(&self) -> Option<CameUp> {
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
    use std::process::{Child as Process, Command, Stdio};
    use std::time::Instant;

    use ceremony::room::{Root, inspect};
    use custody::Hash;

    use super::*;

    /// By when the watch has looked, at the latest: a loaded machine included.
    const LOOKED: Duration = Duration::from_secs(60);

    /// A machine with these findings.
    fn room(findings: &[FindingKind]) -> Room {
        let findings = findings.iter().map(|kind| Finding::new(*kind, "of a test")).collect();
        Room { findings, ..inspect(&Root("/nonexistent".into()), 0, Hash([0; 32])) }
    }

    fn wait(what: &str, mut holds: impl FnMut() -> bool) {
        let since = Instant::now();
        while !holds() {
            assert!(since.elapsed() < LOOKED, "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A process in the place of the worker, which ends with the test, however that ends.
    struct Worker(Arc<Mutex<Process>>);

    impl Worker {
        fn start() -> Self {
            let mut command = Command::new("sleep");
            command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Self(Arc::new(Mutex::new(command.spawn().unwrap())))
        }

        fn is_running(&self) -> bool {
            self.0.lock().unwrap().try_wait().unwrap().is_none()
        }
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            Stop::of(&self.0).now();
        }
    }

    /// A watch over a process, and the machine as it looks.
    fn watched(accepted: &[FindingKind], now: &[FindingKind]) -> (Watcher, Worker, Alarm, Seen) {
        let (worker, alarm) = (Worker::start(), Alarm::default());
        let seen: Seen = Arc::new(Mutex::new((room(now), 0)));
        let look = Arc::clone(&seen);
        let watcher = Watcher::start(
            Stop::of(&worker.0),
            alarm.clone(),
            room(accepted),
            vec![FindingKind::Media, FindingKind::Mount],
            move || {
                let mut seen = look.lock().unwrap();
                seen.1 += 1;
                seen.0.clone()
            },
        );
        (watcher, worker, alarm, seen)
    }

    /// The machine, and how often it was looked at.
    type Seen = Arc<Mutex<(Room, usize)>>;

    #[test]
    fn what_came_up_since_people_accepted_the_machine_ends_the_worker_at_the_first_look() {
        // What was there when they did is no change.
        let (link, media) = (FindingKind::NetworkLink, FindingKind::Media);
        let (watcher, worker, alarm, seen) = watched(&[link], &[link]);
        wait("no look", || seen.lock().unwrap().1 >= 2);
        assert!(worker.is_running() && !alarm.is_raised() && watcher.noticed().is_none());
        assert!(watcher.end().is_none());
        drop(worker);

        let (watcher, worker, alarm, _) = watched(&[media], &[media, link]);
        wait("the link is not found", || alarm.is_raised());
        assert!(!worker.is_running());
        let found = watcher.found().unwrap();
        assert_eq!(found.changes, room(&[link]).findings);
        assert_eq!(found.room, room(&[media, link]));
        assert!(watcher.end().is_some());
        assert!(!alarm.is_raised(), "it is told once");
    }

    #[test]
    fn what_may_be_signed_for_is_told_once_and_what_comes_after_it_again() {
        let (link, media, mount) = (FindingKind::NetworkLink, FindingKind::Media, FindingKind::Mount);
        let (watcher, worker, alarm, seen) = watched(&[], &[media]);
        let mut told = None;
        wait("the medium is not told", || {
            told = watcher.noticed();
            told.is_some()
        });
        let told = told.unwrap();
        assert_eq!((told.room, told.changes), (room(&[media]), room(&[media]).findings));
        let looks = seen.lock().unwrap().1;
        wait("no further look", || seen.lock().unwrap().1 >= looks + 2);
        assert!(watcher.noticed().is_none(), "nothing new");
        seen.lock().unwrap().0 = room(&[media, mount]);
        wait("the mount is not told", || watcher.noticed().is_some());
        assert!(worker.is_running() && watcher.found().is_none());
        seen.lock().unwrap().0 = room(&[media, mount, link]);
        wait("the link is not found", || alarm.is_raised());
        assert_eq!(watcher.found().unwrap().changes, room(&[link]).findings);
        assert!(!worker.is_running());
    }

    #[test]
    fn what_came_and_went_before_anybody_asked_is_told() {
        let (media, mount) = (FindingKind::Media, FindingKind::Mount);
        let (watcher, _worker, _, seen) = watched(&[], &[media]);
        let looked = |more: usize| {
            let looks = seen.lock().unwrap().1;
            wait("no look", || seen.lock().unwrap().1 >= looks + more);
        };
        // The second look after a change has taken in what the first one saw.
        looked(2);
        seen.lock().unwrap().0 = room(&[mount]);
        looked(2);
        let told = watcher.noticed().unwrap();
        assert_eq!(told.room, room(&[mount]));
        assert_eq!(told.changes, room(&[media, mount]).findings);
        assert!(watcher.noticed().is_none());
    }

    #[test]
    fn links_end_a_ceremony_and_what_the_script_admits_waits() {
        let admitted = [FindingKind::Media, FindingKind::NetworkLink];
        assert!(lets_out(FindingKind::NetworkLink, &admitted));
        assert!(lets_out(FindingKind::Mount, &admitted));
        assert!(!lets_out(FindingKind::Media, &admitted));
        assert!(!lets_out(FindingKind::Clock, &admitted));
    }
}
