//! How recovery components stand: what the published register asks for and when, looked at once an hour and with each
//! new entry. What became due, overdue or failed, or is in order again, is a record of the books, so that the observation
//! log fixes when it was known (DACS REC-09).
//!
//! Replicas write each change once: a record names the version that it follows, and what is recorded already is no change.

use std::collections::BTreeMap;
use std::sync::Arc;

use custody::Hash;
use evidence::register::{CLOCK_TOLERANCE_S, Change, Recorded, Row, changes};
use ledger::{Posting, RecordChange, RecordKind};
use serde_json::{Value, json};

use super::{At, ClerkError};
use crate::shelf::{Kept, Shelf, ShelfError, alarm};

/// How often rows are looked at while no entry comes, in seconds: dates are days.
const LOOK_EVERY_S: u64 = 3_600;

/// Most rows that are told as alarms; the others are counted. A register may have hundreds, and one date.
const ALARMS_LIMIT: usize = 16;

/// The state of the record of a row that nobody asks for any more.
const CLOSED: &str = "closed";

/// Looks.
#[derive(Debug)]
pub(crate) struct Recovery {
    shelf: Arc<Shelf>,
    /// The head that was looked at last, and when.
    looked: Option<(Hash, u64)>,
}

/// What the books say of rows.
#[derive(Default)]
struct Known {
    /// How each was recorded last.
    rows: BTreeMap<String, Recorded>,
    /// The version of each record.
    versions: BTreeMap<String, u64>,
    /// When the last of them was written.
    latest: u64,
}

impl Recovery {
    pub(crate) fn new(shelf: Arc<Shelf>) -> Self {
        Self { shelf, looked: None }
    }

    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// Looks, if an entry came or an hour went by.
    ///
    /// # Errors
    /// The books. The next turn goes on.
    pub(crate) fn turn(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        match self.look(at) {
            Ok(()) => Ok(()),
            Err(ClerkError::Register(why)) => {
                // A log that is behind may lack the key of who signed.
                if at.desk.core().is_level() {
                    at.desk.core().published.recovery = vec![why.to_string()];
                }
                self.looked = None;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn look(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        let head = self.shelf.read(at.state)?.register.head();
        let fresh = |(known, then): (Hash, u64)| {
            known == head && (then..then.saturating_add(LOOK_EVERY_S)).contains(&at.now)
        };
        if self.looked.is_some_and(fresh) {
            return Ok(());
        }
        // What others recorded is read before the entries: they did not know more of them than are read here.
        let known = known(at)?;
        let kept = self.shelf.read(at.state)?;
        // A clock that is a little behind another replica's takes nothing back.
        let now = at.now.max(known.latest.min(at.now.saturating_add(CLOCK_TOLERANCE_S)));
        let rows = kept.rows(now);
        let mut first = true;
        for change in changes(&known.rows, &rows) {
            first &= record(at, &kept, &known, now, &change)?;
        }
        // Where another replica was faster, the next turn reads what it wrote.
        self.looked = first.then_some((kept.register.head(), at.now));
        at.desk.core().published.recovery = alarms(&rows);
        Ok(())
    }
}

/// The rows that are overdue or failed, for operators.
fn alarms(rows: &[Row]) -> Vec<String> {
    let mut alarms: Vec<String> = rows.iter().filter_map(alarm).collect();
    let more = alarms.len().saturating_sub(ALARMS_LIMIT);
    if more > 0 {
        alarms.truncate(ALARMS_LIMIT);
        alarms.push(format!(
            "recovery: {more} rows more are overdue or failed: keyward recovery status lists them"
        ));
    }
    alarms
}

fn known(at: &At<'_>) -> Result<Known, ClerkError> {
    let mut known = Known::default();
    for record in at.books.all(RecordKind::RecoveryRow)? {
        let change = record.change;
        let why = change.body.get("why").and_then(Value::as_str).map(str::to_owned);
        // Another word is `closed`.
        let standing = serde_json::from_value(Value::String(change.state)).ok();
        known.latest = known.latest.max(change.at);
        known.versions.insert(change.id.clone(), record.version);
        known.rows.insert(change.id, Recorded { standing, why });
    }
    Ok(known)
}

/// Records a change; false if another replica was faster.
fn record(
    at: &At<'_>,
    kept: &Kept,
    known: &Known,
    now: u64,
    change: &Change<'_>,
) -> Result<bool, ClerkError> {
    let (id, state, row) = match change {
        Change::Stands(row) => (row.id.as_str(), row.standing.to_string(), serde_json::to_value(row)),
        Change::Gone(id) => (*id, CLOSED.to_owned(), Ok(json!({ "id": id }))),
    };
    let mut body = row.map_err(|error| ClerkError::Other(error.to_string()))?;
    // By which entries it was judged.
    body["entries"] = json!(kept.register.size());
    body["head"] = json!(kept.register.head());
    let entered = RecordChange {
        kind: RecordKind::RecoveryRow,
        id: id.to_owned(),
        expect: known.versions.get(id).copied().unwrap_or(0),
        state,
        client: None,
        external_id: None,
        at: now,
        body,
    };
    let first = at.books.commit_or_lose(Posting { transfers: Vec::new(), records: vec![entered] })?;
    if first {
        match change {
            // What people wrote stays on its line.
            Change::Stands(row) => eprintln!("keyward-server: recovery: {}", row.to_string().escape_debug()),
            Change::Gone(id) => eprintln!("keyward-server: recovery: {id} is not asked for any more"),
        }
    }
    Ok(first)
}

impl From<ShelfError> for ClerkError {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::Books(error) => error.into(),
            why @ ShelfError::Register(_) => Self::Register(why),
        }
    }
}

#[cfg(test)]
mod tests;
