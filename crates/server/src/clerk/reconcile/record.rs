//! What the books remember of comparisons, and of what the alarm was raised for.

use custody::Hash;
use ledger::record::RecordKey;
use ledger::{Amount, Item, Posting, Reconciliation, Record, RecordChange, RecordKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clerk::{At, ClerkError};
use crate::watch::shown;

/// Most items of each list that a record keeps; the rest is added up. Whoever asks gets up to a thousand.
pub(super) const LISTED_LIMIT: usize = 20;

/// The states of a record: right, open, over.
pub(super) const OK: &str = "ok";
pub(super) const BREAK: &str = "break";
pub(super) const CLOSED: &str = "closed";

/// The body of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Found {
    /// A sentence.
    pub(super) what: String,
    /// The freeze that it set off.
    pub(super) freeze: Option<Hash>,
    /// What was compared; nothing for what came out of no comparison.
    #[serde(flatten)]
    pub(super) comparison: Map<String, Value>,
}

impl Found {
    /// What was told, and came out of no comparison.
    pub(super) fn told(what: &str) -> Self {
        Self { what: what.to_owned(), freeze: None, comparison: Map::new() }
    }

    pub(super) fn compared(what: String, one: &Reconciliation) -> Result<Self, ClerkError> {
        Ok(Self { what, freeze: None, comparison: short(one)? })
    }

    /// The wallet and the difference.
    pub(super) fn difference(&self) -> Option<(&str, &str)> {
        let field = |name: &str| self.comparison.get(name)?.as_str();
        Some((field("wallet")?, field("difference")?))
    }
}

/// The record of what was told. It is no reconciliation; it only says how far the alarm got.
pub(super) fn told(id: &str) -> RecordKey {
    RecordKey { kind: RecordKind::Cursor, id: id.to_owned() }
}

/// The record of a comparison: `<wallet>:<height>:<end of the block's hash>`.
pub(super) fn compared(one: &Reconciliation) -> RecordKey {
    // The start of a block's hash is zeros, so its end is shown.
    let block = shown(&one.block).to_string();
    let id = format!("{}:{}:{}", one.wallet, one.height, block.get(48..).unwrap_or_default());
    RecordKey { kind: RecordKind::Reconciliation, id }
}

/// A comparison as a record keeps it.
fn short(one: &Reconciliation) -> Result<Map<String, Value>, ClerkError> {
    let mut one = one.clone();
    for list in [&mut one.incoming, &mut one.outgoing] {
        let rest: Vec<Item> = list.drain(LISTED_LIMIT.min(list.len())..).collect();
        if !rest.is_empty() {
            let sum = rest.iter().fold(Amount::ZERO, |sum, item| sum.checked_add(item.amount).unwrap_or(sum));
            list.push(Item::new("more", format!("{} more", rest.len()), sum));
        }
    }
    match serde_json::to_value(one) {
        Ok(Value::Object(fields)) => Ok(fields),
        other => Err(ClerkError::Other(format!("a comparison is no object: {other:?}"))),
    }
}

/// The open breaks.
pub(super) fn breaks(at: &At<'_>) -> Result<Vec<(Record, Found)>, ClerkError> {
    let mut records = at.books.records(RecordKind::Reconciliation, BREAK)?;
    records.extend(at.books.records(RecordKind::Cursor, BREAK)?);
    let read = |record: Record| {
        let found = serde_json::from_value(record.change.body.clone());
        let why = |error| format!("the record of reconciliation {}: {error}", record.change.id);
        found.map_err(|error| ClerkError::Other(why(error))).map(|found| (record, found))
    };
    records.into_iter().map(read).collect()
}

/// The version of a record; 0 if there is none.
pub(super) fn version(at: &At<'_>, key: &RecordKey) -> Result<u64, ClerkError> {
    Ok(at.books.record(key.kind, &key.id)?.map_or(0, |record| record.version))
}

/// Writes a version of a record, unless another replica was faster: then false.
pub(super) fn keep(
    at: &At<'_>,
    key: &RecordKey,
    expect: u64,
    state: &str,
    found: &Found,
) -> Result<bool, ClerkError> {
    let body = serde_json::to_value(found).map_err(|error| ClerkError::Other(error.to_string()))?;
    let change = RecordChange {
        kind: key.kind,
        id: key.id.clone(),
        expect,
        state: state.to_owned(),
        client: None,
        external_id: None,
        at: at.now,
        body,
    };
    Ok(at.books.commit_or_lose(Posting { transfers: Vec::new(), records: vec![change] })?)
}
