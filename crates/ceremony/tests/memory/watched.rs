//! The child process, from the side that looks.

use std::collections::BTreeSet;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use ceremony::worker::{Answer, frame};
use tempfile::TempDir;

use crate::child::{Orders, READY};
use crate::draws::STOPPED;
use crate::play::Step;
use crate::scan::{self, Needles, Scan};

/// How long a child may take to stand still: a loaded machine is slow, a hanging child hangs for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// Held by the one child that there is at a time: shared memory is everybody's, and what one planted there is
/// not the leak of another.
static ALONE: Mutex<()> = Mutex::new(());

/// Counts what is read.
struct Counted<R>(R, u64);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into)?;
        self.1 += read as u64;
        Ok(read)
    }
}

/// A child process that holds a ceremony, and the directories that it writes in if it writes.
pub(crate) struct Watched<'a> {
    child: Child,
    asks: Option<ChildStdin>,
    answers: Counted<ChildStdout>,
    table: TempDir,
    needles: &'a Needles,
    // Given back last.
    _alone: MutexGuard<'static, ()>,
}

impl<'a> Watched<'a> {
    /// Starts one; it stands still and waits for the first ask.
    pub(crate) fn start(orders: &Orders, needles: &'a Needles) -> Self {
        // A test that failed in between has ended its child all the same.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let table = TempDir::new().unwrap();
        let [work, temporary] = ["work", "temporary"].map(|name| table.path().join(name));
        for directory in [&work, &temporary] {
            fs::create_dir(directory).unwrap();
        }
        // Few descriptors, so that a child can use them up.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "child_process"])
            .current_dir(work)
            .env("TMPDIR", temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let asks = child.stdin.take();
        let answers = Counted(child.stdout.take().unwrap(), 0);
        let mut watched = Self { child, asks, answers, table, needles, _alone: alone };
        watched.asks.as_mut().unwrap().write_all(orders.line().as_bytes()).unwrap();
        watched.reads_up_to(READY.as_bytes());
        watched
    }

    fn reads_up_to(&mut self, end: &[u8]) {
        let mut read = Vec::new();
        while !read.ends_with(end) {
            let mut byte = [0];
            let more = self.answers.read(&mut byte).unwrap();
            assert_eq!(more, 1, "the child said {:?} and ended", String::from_utf8_lossy(&read));
            read.extend(byte);
        }
    }

    fn asks(&mut self, step: &Step) {
        frame::send(self.asks.as_mut().unwrap(), &step.ask, &step.secret).unwrap();
    }

    /// Puts an ask and takes the answer, which is the one that was given before: so the child has the secrets
    /// that are looked for.
    pub(crate) fn answers_alike(&mut self, step: &Step) {
        self.asks(step);
        let (answer, words) = frame::receive::<Answer>(&mut self.answers).unwrap().unwrap();
        assert_eq!((answer, words.expose()), (step.answer.clone(), step.words.as_slice()));
    }

    /// Puts an ask that the child stops in.
    pub(crate) fn stops_at(&mut self, step: &Step) {
        self.asks(step);
        self.reads_up_to(STOPPED);
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until every thread waits for something.
    fn stands_still(&self) {
        let began = Instant::now();
        let waits = |task: fs::DirEntry| {
            // A thread may end while it is looked at.
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
        };
        let still = || fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten().all(waits);
        while !still() {
            assert!(began.elapsed() < PATIENCE, "the child does not stand still");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Looks through its memory.
    pub(crate) fn look(&self) -> Scan {
        self.stands_still();
        Scan::of(self.pid(), self.needles)
    }

    /// The secrets in files that it wrote, could have written, or has open.
    pub(crate) fn in_files(&self) -> BTreeSet<String> {
        let mut found = self.needles.in_files(self.table.path());
        found.append(&mut self.needles.in_files(Path::new("/dev/shm")));
        for (name, mut file) in scan::open_files(self.pid()) {
            let mut contents = Vec::new();
            file.read_to_end(&mut contents).unwrap();
            found.extend(self.needles.find(&contents).iter().map(|(_, label)| format!("{label} in {name}")));
        }
        found
    }

    /// It wrote its answers and nothing else, to no file, pipe or terminal; and nothing of it was swapped out.
    #[track_caller]
    pub(crate) fn assert_silent(&self) {
        assert_eq!(scan::written_bytes(self.pid()), self.answers.1);
        assert!(scan::open_files(self.pid()).is_empty());
        assert_eq!(scan::status_kib(self.pid(), "VmSwap"), 0);
        assert_eq!(self.in_files(), BTreeSet::new());
    }

    /// Ends it, as the program does: by closing the pipe.
    pub(crate) fn ends(mut self) {
        self.asks = None;
        let mut rest = Vec::new();
        self.answers.read_to_end(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&rest));
        let left = self.needles.in_files(self.table.path());
        assert_eq!(left, BTreeSet::new());
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        // One that stands still for ever, or whose test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut errors) = self.child.stderr.take().filter(|_| thread::panicking()) {
            let mut said = String::new();
            let _ = errors.read_to_string(&mut said);
            println!("the child said: {said}");
        }
        let _ = fs::remove_file(format!("/dev/shm/planted-{}", self.pid()));
    }
}
