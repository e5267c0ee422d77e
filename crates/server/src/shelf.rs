//! The register of recovery components (`docs/spec/register.md`) in the shared books: one record for each entry, in
//! order, its body the line of the register.
//!
//! The books keep an entry as they keep money: its number is taken once, nothing is changed, and the observation log fixes
//! it. Who signed what is judged here, by the keys of the replayed log, before an entry is written and each time that one
//! is read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{NotTaken, Recovery, RecoveryRow};
use custody::canon::{self, CanonError};
use custody::state::State;
use custody::{Blob, Hash};
use evidence::register::{Intervals, Register, RegisterError, Row, SignedEntry, Signer, Standing};
use ledger::{Books, CommitError, DatabaseError, Posting, RecordChange, RecordFilter, RecordKind, Refusal};
use serde_json::Value;
use tokio::runtime::Handle;

/// Entries that are read at once: each has up to 64 KiB.
const PAGE: usize = 100;

/// How often entries are judged: again when others were faster, which the next look shows, and to see the own ones.
/// More often nobody is faster with the same entries.
const TRIES: usize = 8;

/// The state of the record of an entry. It never changes.
const ENTERED: &str = "entered";

/// Why the register in the books is not read.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The books.
    #[error("the books: {0}")]
    Books(#[from] DatabaseError),
    /// An entry does not verify. While the log is behind it may be signed by a key that is not known yet.
    #[error("the register of recovery components in the books: {0}")]
    Register(#[from] RegisterError),
}

impl From<CanonError> for ShelfError {
    fn from(error: CanonError) -> Self {
        Self::Register(error.into())
    }
}

impl From<ShelfError> for NotTaken {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::Books(error) => Self::Books(error),
            ShelfError::Register(_) => Self::Unreadable(error.to_string()),
        }
    }
}

/// The register as far as it was read.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What the entries come to.
    pub register: Register,
    /// The hashes of the entries, in order.
    lines: Vec<Hash>,
    /// The position of the last entry in the books.
    after: Option<u64>,
}

impl Kept {
    /// The hash of the entry of a number, from 1.
    fn line(&self, number: u64) -> Option<Hash> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.lines.get(index).copied()
    }

    /// How everything stands.
    pub fn rows(&self, now: u64) -> Vec<Row> {
        self.register.rows(&Intervals::default(), now)
    }

    fn told(&self, now: u64) -> Recovery {
        Recovery {
            entries: self.register.size(),
            head: self.register.head(),
            rows: self.rows(now).into_iter().map(told).collect(),
        }
    }
}

/// A row as a sentence for operators, if something has to be done about it at once.
pub(crate) fn alarm(row: &Row) -> Option<String> {
    (row.standing >= Standing::Overdue).then(|| format!("recovery: {row}"))
}

fn told(row: Row) -> RecoveryRow {
    RecoveryRow {
        alarm: alarm(&row),
        id: row.id,
        requirement: row.requirement.to_owned(),
        set: row.set,
        component: row.component.map(|id| id.to_string()),
        holder: row.holder.map(|name| name.to_string()),
        site: row.site.map(|name| name.to_string()),
        what: row.what,
        standing: row.standing.to_string(),
        due_at: row.due_at,
        why: row.why,
    }
}

/// An entry that was sent.
struct Sent {
    number: u64,
    at: u64,
    line: Vec<u8>,
    body: Value,
}

impl Sent {
    fn read(body: &Value) -> Result<Self, NotTaken> {
        let read = || {
            let line = canon::encode(body)?;
            let SignedEntry { entry, signature: Blob(_) } = canon::decode(&line)?;
            Ok(Self { number: entry.number, at: entry.at, line, body: body.clone() })
        };
        read().map_err(|error: CanonError| NotTaken::Refused(RegisterError::Form(error).to_string()))
    }

    fn record(&self) -> RecordChange {
        RecordChange {
            kind: RecordKind::RecoveryEntry,
            id: self.number.to_string(),
            expect: 0,
            state: ENTERED.to_owned(),
            client: None,
            external_id: None,
            // What the entry says, so that the same entry is the same record, whoever sends it when.
            at: self.at,
            body: self.body.clone(),
        }
    }
}

/// The register in the books, and what was read of it.
#[derive(Debug)]
pub struct Shelf {
    books: Books,
    runtime: Handle,
    kept: Mutex<Arc<Kept>>,
}

impl Shelf {
    /// Of a deployment, by the hash of its genesis. Its calls block: none may be made on a thread of the runtime.
    pub fn new(genesis: Hash, books: Books, runtime: Handle) -> Self {
        let kept = Kept { register: Register::new(genesis), lines: Vec::new(), after: None };
        Self { books, runtime, kept: Mutex::new(Arc::new(kept)) }
    }

    /// The register with all that the books have now, verified by the keys in `state`.
    ///
    /// # Errors
    /// [`ShelfError`]. What was read before stays known.
    pub fn read(&self, state: &State) -> Result<Arc<Kept>, ShelfError> {
        let mut kept = self.kept();
        let filter =
            RecordFilter { kind: RecordKind::RecoveryEntry, client: None, state: None, external_id: None };
        loop {
            let page = self.runtime.block_on(self.books.records(&filter, kept.after, PAGE))?;
            let Some(last) = page.items.last() else { return Ok(Arc::clone(&kept)) };
            let after = Some(last.opened);
            let read = page.items.iter().map(|record| canon::encode(&record.change.body));
            let lines = read.collect::<Result<Vec<_>, _>>()?;
            let signer = |key: &Hash| Signer::of(state, key);
            let register = kept.register.extended(lines.iter().map(Vec::as_slice), &signer)?;
            let hashes = kept.lines.iter().copied().chain(lines.iter().map(|line| Hash::sha256(line)));
            *kept = Arc::new(Kept { register, lines: hashes.collect(), after });
        }
    }

    fn kept(&self) -> MutexGuard<'_, Arc<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The register as it is told at `now`.
    ///
    /// # Errors
    /// [`NotTaken::Unreadable`], [`NotTaken::Books`].
    pub fn look(&self, state: &State, now: u64) -> Result<Recovery, NotTaken> {
        Ok(self.read(state)?.told(now))
    }

    /// Takes the next entries, all or none; see [`api::House::publish`]. `now` is the own clock.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub fn publish(&self, state: &State, now: u64, entries: &[Value]) -> Result<Recovery, NotTaken> {
        let sent = entries.iter().map(Sent::read).collect::<Result<Vec<_>, _>>()?;
        for _ in 0..TRIES {
            let kept = self.read(state)?;
            let new = new(&kept, &sent)?;
            let Some(first) = new.first() else { return Ok(kept.told(now)) };
            let size = kept.register.size();
            if first.number > size.saturating_add(1) {
                return Err(NotTaken::Gap(size));
            }
            let refused = |error: RegisterError| NotTaken::Refused(error.to_string());
            let signer = |key: &Hash| Signer::of(state, key);
            let lines = new.iter().map(|entry| entry.line.as_slice());
            let register = kept.register.extended(lines, &signer).map_err(refused)?;
            register.not_ahead_of(now).map_err(refused)?;
            let records = new.iter().map(|entry| entry.record()).collect();
            let posting = Posting { transfers: Vec::new(), records };
            match self.runtime.block_on(self.books.commit(posting)) {
                // Read again: it is there now, or somebody was faster.
                Ok(_) | Err(CommitError::Refused(Refusal::Version { .. } | Refusal::Partly { .. })) => {}
                Err(CommitError::Refused(refusal)) => return Err(NotTaken::Refused(refusal.to_string())),
                Err(CommitError::Database(error)) => return Err(NotTaken::Books(error)),
            }
        }
        let why = "the books refuse the number of the next entry and show none of that number";
        Err(NotTaken::Unreadable(why.to_owned()))
    }
}

/// The entries that are not there yet.
fn new<'a>(kept: &Kept, sent: &'a [Sent]) -> Result<Vec<&'a Sent>, NotTaken> {
    let mut new = Vec::new();
    for entry in sent {
        let hash = Hash::sha256(&entry.line);
        match kept.line(entry.number) {
            Some(here) if here == hash => {}
            Some(here) => return Err(NotTaken::Other { number: entry.number, here, sent: hash }),
            None => new.push(entry),
        }
    }
    Ok(new)
}

#[cfg(test)]
pub(crate) mod tests;
