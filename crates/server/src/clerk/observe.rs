//! The observation log of the books (P7): the digest of every batch, in a file beside the server's others, and
//! the head of its tree anchored in the command log.
//!
//! The books are the only source: replicas on one database write the same entries. The file is kept so that
//! whoever has a copy can name the first batch that was written anew; what is missing of it is made from
//! the books, if those agree with the anchor. Books that do not agree with what was anchored are not kept any
//! further: all turns of the clerk end here.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custody::Hash;
use custody::document::Grant;
use custody::name::Name;
use custody::state::{Observation, Owner};
use custody::statement;
use custody::statement::Body;
use ledger::PAGE_LIMIT;
use ledger::observation::{BOOKS_LOG, Entry, Observed};

use super::{At, ClerkError};
use crate::alarm::{Alarm, Step};
use crate::disk::Lines;

/// The file in the server's directory.
pub(crate) const FILE: &str = "observations.jsonl";

/// Anchors are at least so far apart, in seconds: what an attacker can still write anew is a minute, and the
/// command log grows by at most 1,440 entries a day.
pub(crate) const ANCHOR_EVERY_S: u64 = 60;

/// Writes it.
#[derive(Debug, Default)]
pub(crate) struct Observe {
    /// Nothing keeps the tree in memory alone.
    directory: Option<PathBuf>,
    alarm: Arc<Alarm>,
    /// Nothing until the books and the file were read.
    log: Option<Log>,
    /// Why the books are not kept any further, and the freeze for it.
    fault: Option<String>,
    freeze: Option<(Hash, u64)>,
    /// When an anchor was tried last, by the own clock.
    tried: Option<u64>,
    /// Why nothing is anchored; said once.
    said: Option<String>,
}

/// The log as far as it was read.
#[derive(Debug, Default)]
struct Log {
    entries: Observed,
    /// The log up to the newest anchor that agreed with it.
    anchored: Observed,
    /// What the file had when it was opened, until the books were compared with it.
    kept: Vec<Hash>,
    file: Option<Lines>,
    /// An entry may stand in the file by half: it is opened again.
    torn: bool,
}

/// Why the log does not go on.
enum Stop {
    /// The books or the file are not what was anchored.
    Fault(String),
    /// The next turn may do better.
    Error(ClerkError),
}

impl<E: Into<ClerkError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Observe {
    /// Keeps the file in `directory`, which no other process may have open.
    pub(crate) fn new(directory: &Path, alarm: Arc<Alarm>) -> Self {
        Self { directory: Some(directory.to_owned()), alarm, ..Self::default() }
    }

    /// Compares the books with the newest anchor, and writes what is new. To be called before anything else
    /// touches the books.
    ///
    /// # Errors
    /// Books that are not what was anchored: in every turn, for ever. The books, the disk: the next turn goes
    /// on.
    pub(crate) fn turn(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        if self.fault.is_none() {
            match self.follow(at) {
                Ok(()) => return self.anchor(at),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Fault(why)) => self.fault = Some(why),
            }
        }
        let why = self.fault.clone().unwrap_or_default();
        at.desk.core().alarm(why.clone());
        if let Err(why) = self.stop_payouts(at) {
            at.desk.core().alarm(format!("{} is NOT frozen: {why}", at.asset));
        }
        Err(ClerkError::Other(why))
    }

    fn follow(&mut self, at: &At<'_>) -> Result<(), Stop> {
        let anchor = Name::new(BOOKS_LOG).and_then(|name| at.state.observations().get(&name));
        if self.log.as_ref().is_some_and(|log| log.torn) {
            self.log = None;
        }
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(Log::open(self.directory.as_deref())?),
        };
        log.grow(at, anchor.map_or(0, |anchor| anchor.size))?;
        anchor.map_or(Ok(()), |anchor| log.compare(at, anchor))
    }

    /// Anchors what is new, if the time has come and the server may.
    fn anchor(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        let (Some(log), Some(name)) = (&self.log, Name::new(BOOKS_LOG)) else { return Ok(()) };
        let size = log.entries.size();
        let known = at.state.observations().get(&name).map_or(0, |anchor| anchor.size);
        let early = self.tried.is_some_and(|tried| at.now < tried.saturating_add(ANCHOR_EVERY_S));
        if size <= known || early {
            return Ok(());
        }
        self.tried = Some(at.now);
        let body = Body::Observe(statement::Observe { log: name, size, root: log.entries.root() });
        if let Some(why) = may_not(at, &body) {
            if self.said.as_ref() != Some(&why) {
                eprintln!("keyward-server: {why}");
            }
            self.said = Some(why);
            return Ok(());
        }
        if at.desk.core().pending.any(|body| matches!(body, Body::Observe(_))) {
            return Ok(());
        }
        at.desk.submit_own(body).map(drop).map_err(ClerkError::Other)
    }

    /// Freezes the asset, without a record: these books are not to be written.
    fn stop_payouts(&mut self, at: &At<'_>) -> Result<(), String> {
        match self.alarm.step(at, self.freeze)? {
            Step::Stands | Step::Lifted => {}
            Step::Adopt(id) => self.freeze = Some((id, at.now)),
            Step::Send(freeze) => {
                self.freeze = Some((freeze.id(), at.now));
                Alarm::send(at, &freeze)?;
            }
        }
        Ok(())
    }
}

/// Why the log would not take an anchor.
fn may_not(at: &At<'_>, body: &Body) -> Option<String> {
    if at.state.clock().rules < body.since() {
        let since = body.since();
        return Some(format!("the books are not anchored in the log: that takes rule set {since}"));
    }
    let id = at.desk.keys.machine().id;
    let granted = at.state.granted(&Owner::Machine(id.clone()), Grant::Observe);
    (!granted).then(|| format!("the books are not anchored in the log: machine {id} lacks the grant observe"))
}

impl Log {
    /// Reads the file. The books are read by [`Log::grow`].
    fn open(directory: Option<&Path>) -> Result<Self, Stop> {
        let Some(path) = directory.map(|directory| directory.join(FILE)) else { return Ok(Self::default()) };
        let kept = read(&path)?;
        let (file, _) = Lines::open(&path, |_: Entry| true).map_err(disk)?;
        Ok(Self { kept, file: Some(file), ..Self::default() })
    }

    /// Reads what the books have beyond; notes the log as it was with `anchor` entries.
    fn grow(&mut self, at: &At<'_>, anchor: u64) -> Result<(), Stop> {
        let newest = at.books.wait(at.books.books().newest())?;
        let (end, digest) = newest.map_or_else(Default::default, |batch| (batch.seq, batch.digest));
        let known = self.entries.size().max(u64::try_from(self.kept.len()).unwrap_or(u64::MAX));
        if end < known {
            return Err(older(end, known));
        }
        if end == self.entries.size() && digest != self.entries.newest() {
            return Err(rewritten(end));
        }
        while self.entries.size() < end {
            let from = self.entries.size().saturating_add(1);
            let page = at.books.wait(at.books.books().batches(from, PAGE_LIMIT))?;
            if page.first().is_none_or(|batch| batch.seq != from || batch.previous != self.entries.newest()) {
                return Err(rewritten(from));
            }
            for batch in &page {
                self.take(Entry::from(batch))?;
                if self.entries.size() == anchor {
                    self.anchored = self.entries.clone();
                }
            }
        }
        self.kept = Vec::new();
        Ok(())
    }

    /// One entry more: as it stands in the file, or behind its end.
    fn take(&mut self, entry: Entry) -> Result<(), Stop> {
        let index = usize::try_from(self.entries.size()).unwrap_or(usize::MAX);
        match (self.kept.get(index), &mut self.file) {
            (Some(kept), _) if *kept != entry.digest => return Err(rewritten(entry.seq)),
            (Some(_), _) | (None, None) => {}
            (None, Some(file)) => {
                let written = file.append(&entry, false);
                self.torn = written.is_err();
                written.map_err(disk)?;
            }
        }
        self.entries.push(entry).map_err(|error| Stop::Fault(format!("the books: {error}")))
    }

    /// Compares with an anchor that is not below the last one that agreed.
    fn compare(&mut self, at: &At<'_>, anchor: &Observation) -> Result<(), Stop> {
        if anchor.size > self.entries.size() {
            return Err(older(self.entries.size(), anchor.size));
        }
        while self.anchored.size() < anchor.size {
            let from = self.anchored.size().saturating_add(1);
            let page = at.books.wait(at.books.books().batches(from, PAGE_LIMIT))?;
            let wanted = page.iter().take_while(|batch| batch.seq <= anchor.size);
            for batch in wanted {
                let pushed = self.anchored.push(Entry::from(batch));
                pushed.map_err(|error| Stop::Fault(format!("the books: {error}")))?;
            }
            if self.anchored.size() < from {
                return Err(rewritten(from));
            }
        }
        // An older anchor than one that agreed is one that the log as known here has not replaced yet.
        if self.anchored.size() == anchor.size && self.anchored.root() != anchor.root {
            let Observation { size, by, .. } = anchor;
            return Err(Stop::Fault(format!(
                "THE BOOKS ARE NOT WHAT WAS ANCHORED: their first {size} batches are others than {by} anchored in the \
                 command log. The database was written anew, or is another one. {NEXT}"
            )));
        }
        Ok(())
    }
}

/// What to do with books that are not what they were.
const NEXT: &str = "Nothing is booked any more. Keep a copy as evidence; keyward ledger verify names what differs; \
    restore a database that passes, and start the server again";

fn older(end: u64, known: u64) -> Stop {
    Stop::Fault(format!(
        "THE BOOKS LOST ENTRIES: they end at batch {end} and batch {known} was observed: an older copy of the database \
         was restored. {NEXT}"
    ))
}

fn rewritten(seq: u64) -> Stop {
    Stop::Fault(format!(
        "THE BOOKS WERE WRITTEN ANEW: batch {seq} is not what was observed, or does not follow what was. {NEXT}"
    ))
}

fn disk(error: impl std::fmt::Display) -> ClerkError {
    ClerkError::Other(error.to_string())
}

/// The digests in a file, in order. Only its last line may be written by half.
fn read(path: &Path) -> Result<Vec<Hash>, Stop> {
    let wrong = |error: std::io::Error| disk(format!("cannot read {}: {error}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(wrong)?,
    };
    let (mut reader, mut digests, mut line) = (BufReader::new(file), Vec::new(), Vec::new());
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(wrong)?;
        let Some(text) = line.strip_suffix(b"\n") else { return Ok(digests) };
        let number = u64::try_from(digests.len()).unwrap_or(u64::MAX).saturating_add(1);
        match Entry::read(text) {
            Some(entry) if entry.seq == number => digests.push(entry.digest),
            _ => {
                return Err(Stop::Fault(format!(
                    "line {number} of {} is not what was written: move the file away as evidence, then start the server \
                     again, which makes it anew from the books and compares them with the anchor",
                    path.display()
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests;
