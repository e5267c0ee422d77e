//! Records that were read, from one posting to the next.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{RecordChange, RecordKind};

use crate::clerk::{At, ClerkError};

/// Records as the books have them: the version, and the content if there is one. A credit does not wait until
/// thousands of records were read one by one. Whoever else writes one of them makes the next posting fail, for it
/// names the version that it follows; then all of this is read again.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<Key, Found>);

/// What names a record.
type Key = (RecordKind, String);

/// The version that the books have, 0 for none, and its content.
pub(super) type Found = (u64, Option<RecordChange>);

impl Known {
    /// A record of the books.
    pub(super) fn read(&mut self, at: &At<'_>, key: Key) -> Result<Found, ClerkError> {
        if let Some(known) = self.0.get(&key) {
            return Ok(known.clone());
        }
        let found = at.books.record(key.0, &key.1)?;
        let found = found.map_or((0, None), |record| (record.version, Some(record.change)));
        self.0.insert(key, found.clone());
        Ok(found)
    }

    /// What is posted now; if it is refused, nothing of this is used again.
    pub(super) fn learn(&mut self, posted: &BTreeMap<Key, RecordChange>) {
        let after = |change: &RecordChange| (change.expect.saturating_add(1), Some(change.clone()));
        self.0.extend(posted.iter().map(|(key, change)| (key.clone(), after(change))));
    }

    /// Keeps what the next blocks change: deposits that are confirming, and their coins.
    pub(super) fn forget_the_old(&mut self) {
        let young = |((kind, id), (_, change)): (&Key, &Found)| {
            let young =
                *kind == RecordKind::Deposit && change.as_ref().is_some_and(|c| c.state == "confirming");
            young.then(|| id.clone())
        };
        let young: BTreeSet<String> = self.0.iter().filter_map(young).collect();
        self.0.retain(|(_, id), _| young.contains(id));
    }
}
