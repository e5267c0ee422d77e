//! The process around the core: one thread owns the co-signer, the disk and the clock; each connection
//! has one thread that reads and one that writes. Nothing here decides anything.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use custody::{Hash, PublicKey};
use rand_core::{OsRng, RngCore as _};
use wire::message::{FromCosigner, ToCosigner};
use wire::{Connection, Listener, TlsKey, WireError};

use crate::cosigner::{
    Asker, Cosigner, Disk, Effect, Event, File, KEYS_FILE, OFFER_SUFFIX, SHARE_SUFFIX, Timer,
};
use crate::journal::{Journal, JournalError, write_file_atomic};
use crate::mark::{AT_START, Finding, MarkError, Marks};
use crate::tpm::Counter;

/// Messages that wait to be written on one connection; a peer that reads no more is cut off.
pub const OUTBOX_LIMIT: usize = 4_096;

/// Bytes that wait to be written on one connection of the server: several pieces of the log.
pub const OUTBOX_LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// The same for people and alarm machines, who need one piece at a time.
pub const DIRECT_OUTBOX_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// Messages that wait to be taken by the core, up to a frame each; whoever sends more waits.
const INBOX_LIMIT: usize = 16;

/// How far the wall clock may run from the monotonic clock, in seconds (P15). Both are slewed together
/// (clock_gettime(2)), so more than the alarm's limit means that somebody set the clock, or that the machine
/// slept: the monotonic clock stands meanwhile.
pub const STEP_LIMIT_S: u64 = 10;

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The disk: crash and reopen is the only safe answer.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The counter: what was written may not be counted.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// The network.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// The clock jumped: nothing is voted for or signed under a time that nobody entered here (P15).
    #[error(
        "the clock of this machine stepped by {0} s: check its source (PTP, GNSS, NTS), then start again with `run`"
    )]
    ClockStepped(i128),
    /// The threads that feed the core are gone.
    #[error("the listener ended")]
    Ended,
}

/// The three journals of a data directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    journals: BTreeMap<File, Journal>,
    marks: Marks,
}

impl Store {
    /// Opens the journals, and reads what they and the share files hold.
    ///
    /// # Errors
    /// A damaged journal, a directory in use by another process, files that cannot be read.
    pub fn open(directory: &Path) -> Result<(Self, Disk), ProcessError> {
        let mut journals = BTreeMap::new();
        let mut records = BTreeMap::new();
        let mut marks = Marks::default();
        for file in File::ALL {
            let (journal, found) = Journal::open(&directory.join(file.name()))?;
            if journal.torn_bytes() > 0 {
                eprintln!("{}: {} bytes of a torn record cut off", file.name(), journal.torn_bytes());
            }
            journals.insert(file, journal);
            records.insert(file, marks.strip(file, found)?);
        }
        let shares = read_shares(&directory.join("shares"))?;
        let mut of = |file| records.remove(&file).unwrap_or_default();
        let (log, agreement, guard) = (of(File::Log), of(File::Agreement), of(File::Guard));
        let disk = Disk { log, agreement, guard, shares, ..Disk::default() };
        Ok((Self { directory: directory.to_owned(), journals, marks }, disk))
    }

    /// See [`Process::enter`].
    fn enter(&mut self, counter: Option<Counter>, restored: bool) -> Result<(), ProcessError> {
        let finding = self.marks.enter(counter, restored)?;
        if let Finding::Old(why) = finding {
            eprintln!("this disk may be an older copy: {why}; starting as with --restored");
        }
        if self.marks.counter.is_some() {
            for file in AT_START {
                self.append(file, &[])?;
            }
        }
        Ok(())
    }

    /// When this returns, the records are on disk and counted.
    fn append(&mut self, file: File, records: &[&[u8]]) -> Result<(), ProcessError> {
        self.write(file, records, Journal::append_all)
    }

    fn replace(&mut self, file: File, records: &[Vec<u8>]) -> Result<(), ProcessError> {
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        self.write(file, &records, Journal::rewrite)
    }

    fn write(
        &mut self,
        file: File,
        records: &[&[u8]],
        write: fn(&mut Journal, &[&[u8]]) -> Result<(), JournalError>,
    ) -> Result<(), ProcessError> {
        let mark = self.marks.next(file)?;
        let records: Vec<&[u8]> = records.iter().copied().chain(mark.as_deref()).collect();
        if let Some(journal) = self.journals.get_mut(&file) {
            write(journal, &records)?;
        }
        Ok(self.marks.count(file)?)
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), ProcessError> {
        Ok(write_file_atomic(&self.directory.join("shares").join(name), bytes)?)
    }

    /// The file is gone when this returns. What it held was sealed: the medium may keep it, the unlock secret opens it.
    fn erase(&self, name: &str) -> Result<(), ProcessError> {
        let directory = self.directory.join("shares");
        let path = directory.join(name);
        let wrong = |error| ProcessError::File(path.clone(), error);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrong(error)),
            _ => {}
        }
        std::fs::File::open(&directory).and_then(|directory| directory.sync_all()).map_err(wrong)
    }
}

fn read_shares(directory: &Path) -> Result<Vec<(String, Vec<u8>)>, ProcessError> {
    let wrong = |error| ProcessError::File(directory.to_owned(), error);
    std::fs::create_dir_all(directory).map_err(wrong)?;
    let mut shares = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        // Left by a process that was killed while it wrote: it is written anew, or not to be kept.
        if name.ends_with(".tmp") {
            std::fs::remove_file(&path).map_err(wrong)?;
            continue;
        }
        if name.ends_with(SHARE_SUFFIX) || name.ends_with(OFFER_SUFFIX) {
            let bytes = std::fs::read(&path).map_err(|e| ProcessError::File(path.clone(), e))?;
            shares.push((name.to_owned(), bytes));
        }
    }
    Ok(shares)
}

/// Whom the listener lets in, kept up to date by the core.
type Guests = Arc<RwLock<BTreeMap<PublicKey, Asker>>>;

enum Feed {
    Opened { id: u64, guest: Guest },
    Message { id: u64, message: ToCosigner },
    Closed { id: u64 },
}

struct Guest {
    peer: PublicKey,
    asker: Asker,
    outbox: SyncSender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
}

/// A running co-signer.
#[derive(Debug)]
pub struct Process {
    cosigner: Cosigner,
    store: Store,
    listener: Arc<Listener>,
    guests: Guests,
    connections: BTreeMap<u64, Guest>,
    timers: BTreeMap<Timer, Instant>,
    began: (SystemTime, Instant),
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.asker)
    }
}

/// Milliseconds since 1970.
fn since_1970(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// By how many seconds the wall clock stepped, if it did: it went on by another time than passed on the
/// monotonic clock since both were `began`.
fn clock_step(began: (SystemTime, Instant), now: (SystemTime, Instant)) -> Option<i128> {
    let ms = |time: Duration| i128::try_from(time.as_millis()).unwrap_or(i128::MAX);
    let went = now.0.duration_since(began.0).map_or_else(|e| ms(e.duration()).saturating_neg(), ms);
    let step = went.saturating_sub(ms(now.1.saturating_duration_since(began.1)));
    (step.unsigned_abs() > u128::from(STEP_LIMIT_S).saturating_mul(1000))
        .then(|| step.checked_div(1000).unwrap_or_default())
}

impl Process {
    /// Binds the listener; nothing is served yet.
    ///
    /// # Errors
    /// A public address, or one in use.
    pub fn new(
        cosigner: Cosigner,
        store: Store,
        address: SocketAddr,
        tls: &TlsKey,
    ) -> Result<Self, ProcessError> {
        let guests = Guests::default();
        let known = Arc::clone(&guests);
        let allow = move |key: &[u8; 32]| known.read().is_ok_and(|g| g.contains_key(&Hash(*key)));
        let listener = Arc::new(Listener::bind(address, tls, Arc::new(allow))?);
        let mut process = Self {
            cosigner,
            store,
            listener,
            guests,
            connections: BTreeMap::new(),
            timers: BTreeMap::new(),
            began: (SystemTime::now(), Instant::now()),
        };
        process.update_guests();
        Ok(process)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Compares the disk with a counter, by which its writes are counted from here on: only now, as a process that
    /// starts again and again because it cannot listen would wear the counter. Without one it goes on as it is,
    /// unless its writes were counted before. `restored`: the data directory may be an old copy, and the counter
    /// another one (P12). If the comparison shows that it may be, [`Self::run`] knows.
    ///
    /// # Errors
    /// A counter that is not the one of this disk; a counter that is needed and not given.
    pub fn enter(&mut self, counter: Option<Counter>, restored: bool) -> Result<(), ProcessError> {
        self.store.enter(counter, restored)
    }

    /// Serves until the disk fails or the clock steps. `restored`: the data directory may be an old copy (P12).
    ///
    /// # Errors
    /// See [`ProcessError`]; the process must end then. Also a disk that was not entered and must be.
    pub fn run(mut self, restored: bool) -> Result<(), ProcessError> {
        self.store.marks.check_entered()?;
        let (feed, inbox) = sync_channel(INBOX_LIMIT);
        let (listener, guests) = (Arc::clone(&self.listener), Arc::clone(&self.guests));
        thread::spawn(move || accept(&listener, &guests, &feed));
        let mut nonce = [0; 32];
        OsRng.fill_bytes(&mut nonce);
        let restored = restored || self.store.marks.restored();
        let effects = self.cosigner.start(self.now_ms()?, restored, Hash(nonce));
        self.carry_out(effects, None)?;
        loop {
            self.turn(&inbox)?;
        }
    }

    /// The wall clock, as long as it goes on like the monotonic clock. Counted from the start of the process,
    /// so that many small steps are noticed like a large one. Starting again enters the new time (P15).
    fn now_ms(&self) -> Result<u64, ProcessError> {
        let now = (SystemTime::now(), Instant::now());
        match clock_step(self.began, now) {
            None => Ok(since_1970(now.0)),
            Some(step) => Err(ProcessError::ClockStepped(step)),
        }
    }

    /// Waits for one message or timer and carries out what follows. Idle means asleep here.
    fn turn(&mut self, inbox: &Receiver<Feed>) -> Result<(), ProcessError> {
        let now = Instant::now();
        let due = self.timers.iter().min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at));
        let got = match due {
            Some((timer, at)) if at <= now => {
                self.timers.remove(&timer);
                return self.step(Event::Timer(timer), None);
            }
            Some((_, at)) => inbox.recv_timeout(at.saturating_duration_since(now)),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match got {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(ProcessError::Ended),
            Ok(Feed::Opened { id, guest }) => {
                let server = guest.asker == Asker::Server;
                self.connections.insert(id, guest);
                if server { self.step(Event::Connected, Some(id)) } else { Ok(()) }
            }
            Ok(Feed::Closed { id }) => {
                self.connections.remove(&id);
                Ok(())
            }
            Ok(Feed::Message { id, message }) => {
                let Some(guest) = self.connections.get(&id) else { return Ok(()) };
                let from = guest.asker.clone();
                self.step(Event::Message { from, message }, Some(id))
            }
        }
    }

    fn step(&mut self, event: Event, asker: Option<u64>) -> Result<(), ProcessError> {
        let height = self.cosigner.final_head().0;
        let effects = self.cosigner.step(self.now_ms()?, event, &mut OsRng);
        self.carry_out(effects, asker)?;
        if self.cosigner.final_head().0 != height {
            self.update_guests();
        }
        Ok(())
    }

    /// Carries effects out strictly in order; appends to one file that follow each other share one fsync.
    fn carry_out(&mut self, effects: Vec<Effect>, asker: Option<u64>) -> Result<(), ProcessError> {
        if self.cosigner.may_release() {
            self.store.marks.caught_up();
        }
        let mut effects = effects.into_iter().peekable();
        while let Some(effect) = effects.next() {
            match effect {
                Effect::Append(file, bytes) => {
                    let mut records = vec![bytes];
                    while let Some(Effect::Append(_, more)) =
                        effects.next_if(|e| matches!(e, Effect::Append(f, _) if *f == file))
                    {
                        records.push(more);
                    }
                    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
                    self.store.append(file, &records)?;
                }
                Effect::Replace(file, records) => self.store.replace(file, &records)?,
                Effect::Keep(name, bytes) => self.store.keep(&name, &bytes)?,
                Effect::Erase(name) => self.store.erase(&name)?,
                Effect::Keys(bytes) => write_file_atomic(&self.store.directory.join(KEYS_FILE), &bytes)?,
                Effect::ToServer(message) => {
                    let servers: Vec<u64> = self
                        .connections
                        .iter()
                        .filter(|(_, g)| g.asker == Asker::Server)
                        .map(|(id, _)| *id)
                        .collect();
                    for id in servers {
                        self.send(id, &message);
                    }
                }
                Effect::Reply(message) => {
                    if let Some(id) = asker {
                        self.send(id, &message);
                    }
                }
                Effect::SetTimer { timer, after_ms } => {
                    let at = Instant::now().checked_add(Duration::from_millis(after_ms));
                    if let Some(at) = at {
                        self.timers.insert(timer, at);
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, id: u64, message: &FromCosigner) {
        let Ok(bytes) = wire::encode(message) else { return };
        let Some(guest) = self.connections.get(&id) else { return };
        let limit = match guest.asker {
            Asker::Server => OUTBOX_LIMIT_BYTES,
            Asker::Direct(_) => DIRECT_OUTBOX_LIMIT_BYTES,
        };
        let queued = guest.queued.fetch_add(bytes.len(), Ordering::SeqCst).saturating_add(bytes.len());
        // Whoever asks and does not read is cut off: dropping the sender ends the writer, and with it the
        // connection.
        if queued > limit || guest.outbox.try_send(bytes).is_err() {
            self.connections.remove(&id);
        }
    }

    /// Lets in the server, people and alarm machines that the log knows now.
    fn update_guests(&mut self) {
        let state = self.cosigner.final_state();
        let keys = state.documents().flat_map(|found| match &found.document {
            custody::document::Document::Person(p) => p.keys.iter().map(|k| k.tls).collect(),
            custody::document::Document::Machine(m) => vec![m.tls],
            _ => Vec::new(),
        });
        let guests: BTreeMap<_, _> = keys.filter_map(|key| Some((key, self.cosigner.asker(&key)?))).collect();
        // Connections of keys that went out of use end with them.
        self.connections.retain(|_, guest| guests.get(&guest.peer) == Some(&guest.asker));
        if let Ok(mut known) = self.guests.write() {
            *known = guests;
        }
    }
}

fn accept(listener: &Listener, guests: &Guests, feed: &SyncSender<Feed>) {
    for id in 0u64.. {
        match listener.accept() {
            Ok(connection) => {
                let asker = guests.read().ok().and_then(|g| g.get(&Hash(connection.peer())).cloned());
                if let Some(asker) = asker {
                    serve(id, connection, asker, feed);
                }
            }
            Err(WireError::ListenerClosed) => return,
            Err(error) => eprintln!("connection refused: {error}"),
        }
    }
}

fn serve(id: u64, connection: Connection, asker: Asker, feed: &SyncSender<Feed>) {
    let (outbox, waiting) = sync_channel::<Vec<u8>>(OUTBOX_LIMIT);
    let closer = connection.closer();
    let peer = Hash(connection.peer());
    let (mut reader, mut writer) = connection.split();
    let queued = Arc::new(AtomicUsize::new(0));
    let guest = Guest { peer, asker, outbox, queued: Arc::clone(&queued) };
    if feed.send(Feed::Opened { id, guest }).is_err() {
        return;
    }
    let write = move || {
        while let Ok(bytes) = waiting.recv() {
            if writer.send(&bytes).is_err() {
                break;
            }
            queued.fetch_sub(bytes.len(), Ordering::SeqCst);
        }
        closer.close();
    };
    // A machine without threads left loses this connection, and not the listener.
    if let Err(error) = thread::Builder::new().spawn(write) {
        eprintln!("connection {id} refused: {error}");
        let _ = feed.send(Feed::Closed { id });
        return;
    }
    let inbox = feed.clone();
    let read = move || {
        loop {
            let message = reader.recv().and_then(|bytes| wire::decode::<ToCosigner>(&bytes));
            let fed = match message {
                Ok(message) => inbox.send(Feed::Message { id, message }),
                Err(error) => {
                    if !matches!(error, WireError::Closed) {
                        eprintln!("connection {id} ended: {error}");
                    }
                    break;
                }
            };
            if fed.is_err() {
                break;
            }
        }
        let _ = inbox.send(Feed::Closed { id });
    };
    if let Err(error) = thread::Builder::new().spawn(read) {
        eprintln!("connection {id} refused: {error}");
        let _ = feed.send(Feed::Closed { id });
    }
}

#[cfg(test)]
#[path = "../tests/rollback/store.rs"]
mod rollback;

#[cfg(test)]
mod tests {
    use super::*;

    /// The wall clock went on by `wall_ms` while `passed_ms` passed.
    fn step(wall_ms: i64, passed_ms: u64) -> Option<i128> {
        let began = (SystemTime::now(), Instant::now());
        let by = Duration::from_millis(wall_ms.unsigned_abs());
        let wall = if wall_ms < 0 { began.0 - by } else { began.0 + by };
        clock_step(began, (wall, began.1 + Duration::from_millis(passed_ms)))
    }

    #[test]
    fn a_step_of_the_clock_is_more_than_ten_seconds_in_either_direction() {
        let limit = i64::try_from(STEP_LIMIT_S).unwrap() * 1000;
        let day = 86_400_000;
        for passed in [0, 500, day] {
            let went = i64::try_from(passed).unwrap();
            for fits in [0, 1, -1, limit, -limit] {
                assert_eq!(step(went + fits, passed), None, "{fits} ms");
            }
            assert_eq!(step(went + limit + 1, passed), Some(10));
            assert_eq!(step(went - limit - 1, passed), Some(-10));
            assert_eq!(step(went + 3_600_000, passed), Some(3600), "set, or slept an hour");
            assert_eq!(step(went - 3_600_000, passed), Some(-3600));
        }
    }
}
