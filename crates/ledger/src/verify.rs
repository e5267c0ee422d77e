//! Verification: recomputes the books from their entries and names the first row that is not as written.
//!
//! The chain of digests finds a row that was changed, deleted or inserted by somebody who did not write
//! all later digests anew. Who did is found by a digest that was [remembered](Remembered) elsewhere.

use std::collections::HashMap;

use custody::Hash;
use serde::{Deserialize, Serialize};

use crate::Books;
use crate::account::{Account, Asset, Totals};
use crate::book::enter;
use crate::digest::{self, Batch};
use crate::rows::{Head, StoredChange, StoredTransfer, read_account, read_batch, read_change, read_transfer};
use crate::sql::{self, Sql};
use crate::store::{Connection, DatabaseError, Row};
use crate::transfer::{Kind, TransferId};

/// Rows that are held at a time.
const PAGE: u64 = 2000;

/// A batch's digest, kept where the writer of the database cannot change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Remembered {
    /// The batch.
    pub seq: u64,
    /// Its digest.
    pub digest: Hash,
}

/// Books that are as they were written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    /// Up to this batch.
    pub seq: u64,
    /// Its digest: remember it.
    pub digest: Hash,
    /// How many transfers there are.
    pub transfers: u64,
    /// How many versions of records there are.
    pub changes: u64,
    /// How many accounts there are.
    pub accounts: u64,
}

/// The first thing that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A row whose content is not what its digest says, or cannot be read.
    #[error("{row} was changed: {why}")]
    Changed {
        /// Which row.
        row: String,
        /// How that shows.
        why: String,
    },
    /// A number in the sequence that no row has.
    #[error("{row} is missing")]
    Missing {
        /// Which row.
        row: String,
    },
    /// A row that no batch covers.
    #[error("{row} was inserted: no batch covers it")]
    Inserted {
        /// Which row.
        row: String,
    },
    /// A batch whose digest is not that of its entries: one of them was changed together with its own
    /// digest.
    #[error("batch {seq} (positions {first} to {last}) was changed: its digest does not match its entries")]
    Batch {
        /// The batch.
        seq: u64,
        /// The position of its first entry.
        first: u64,
        /// The position of its last.
        last: u64,
    },
    /// Credits and debits of an asset differ.
    #[error("the accounts of {asset} do not sum to zero")]
    Sum {
        /// The asset.
        asset: Asset,
    },
    /// The database does not reach to what is remembered: an older copy was restored.
    #[error(
        "batch {seq} is remembered and the books end at {head}: an older copy of the database was restored"
    )]
    Older {
        /// What is remembered.
        seq: u64,
        /// Where the books end.
        head: u64,
    },
    /// The database tells another story than what is remembered.
    #[error("batch {seq} has digest {found} and {expected} is remembered: the books were written anew")]
    Rewritten {
        /// The batch.
        seq: u64,
        /// What is remembered.
        expected: Hash,
        /// What there is.
        found: Hash,
    },
}

/// Why the books were not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// They are not as they were written.
    #[error("{0}. Stop payouts, keep a copy of the database as evidence, and restore one that passes")]
    Fault(Fault),
    /// They could not be read.
    #[error("{0}")]
    Database(DatabaseError),
}

impl From<DatabaseError> for VerifyError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Damaged { row, why } => Self::Fault(Fault::Changed { row, why }),
            error => Self::Database(error),
        }
    }
}

impl From<Fault> for VerifyError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn changed(row: impl ToString, why: impl ToString) -> VerifyError {
    Fault::Changed { row: row.to_string(), why: why.to_string() }.into()
}

/// An entry as it stands in the database.
enum Stored {
    Transfer(Box<StoredTransfer>),
    Change(Box<StoredChange>),
}

impl Stored {
    fn position(&self) -> u64 {
        match self {
            Self::Transfer(stored) => stored.place.position,
            Self::Change(stored) => stored.place.position,
        }
    }

    fn seq(&self) -> u64 {
        match self {
            Self::Transfer(stored) => stored.place.seq,
            Self::Change(stored) => stored.place.seq,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Transfer(stored) => {
                format!("transfer {} at position {}", stored.transfer.id, stored.place.position)
            }
            Self::Change(stored) => {
                let StoredChange { record, version, place, .. } = &**stored;
                format!("version {version} of {record} at position {}", place.position)
            }
        }
    }
}

/// Reads a table in pages, in the order of its first column.
struct Rows<T> {
    sql: Sql,
    read: fn(&Row) -> Result<T, DatabaseError>,
    position: fn(&T) -> u64,
    after: u64,
    page: std::vec::IntoIter<T>,
}

impl<T> Rows<T> {
    fn new(sql: Sql, read: fn(&Row) -> Result<T, DatabaseError>, position: fn(&T) -> u64) -> Self {
        Self { sql, read, position, after: 0, page: Vec::new().into_iter() }
    }

    async fn fill(&mut self, connection: &mut Connection) -> Result<(), DatabaseError> {
        if self.page.as_slice().is_empty() {
            let rows = connection.fetch(self.sql, vec![self.after.into(), PAGE.into()]).await?;
            let items = rows.iter().map(self.read).collect::<Result<Vec<_>, _>>()?;
            self.after = items.last().map_or(self.after, self.position);
            self.page = items.into_iter();
        }
        Ok(())
    }

    async fn peek(&mut self, connection: &mut Connection) -> Result<Option<&T>, DatabaseError> {
        self.fill(connection).await?;
        Ok(self.page.as_slice().first())
    }

    async fn next(&mut self, connection: &mut Connection) -> Result<Option<T>, DatabaseError> {
        self.fill(connection).await?;
        Ok(self.page.next())
    }
}

/// What a record must be, by its versions.
struct Newest {
    version: u64,
    opened: u64,
    latest: u64,
    state: String,
    client: Option<String>,
    external_id: Option<String>,
    kind: &'static str,
}

/// The books recomputed so far.
#[derive(Default)]
struct Replay {
    totals: HashMap<Account, Totals>,
    /// Reservations that nothing ended yet.
    open: HashMap<TransferId, StoredTransfer>,
    records: HashMap<String, Newest>,
    transfers: u64,
    changes: u64,
}

impl Books {
    /// Reads all of the books as they are at one moment and recomputes every digest, every total, every
    /// balance, every record; compares with what is remembered.
    ///
    /// # Errors
    /// [`VerifyError::Fault`] names the first row that is not as written.
    pub async fn verify(&self, remembered: &[Remembered]) -> Result<Verified, VerifyError> {
        let mut connection = self.pool.acquire().await?;
        let result = match connection.begin_reading().await {
            Ok(()) => verify(&mut connection, remembered).await,
            Err(error) => Err(error.into()),
        };
        // Given back only if it is in no transaction any more.
        if connection.rollback().await.is_err() {
            connection.discard();
        }
        result
    }
}

async fn verify(connection: &mut Connection, remembered: &[Remembered]) -> Result<Verified, VerifyError> {
    let head = Head::read(&connection.fetch(sql::HEAD, Vec::new()).await?)?;
    if let Some(beyond) = remembered.iter().find(|r| r.seq > head.seq) {
        return Err(Fault::Older { seq: beyond.seq, head: head.seq }.into());
    }
    let accounts = accounts(connection, &head).await?;
    let mut replay = Replay::default();
    let mut batches = Rows::new(sql::BATCHES, read_batch, |batch| batch.seq.saturating_add(1));
    let mut transfers = Rows::new(sql::TRANSFERS, read_transfer, |stored| stored.place.position);
    let mut changes = Rows::new(sql::CHANGES, read_change, |stored| stored.place.position);
    let mut before =
        Batch { seq: 0, time: 0, last: 0, accounts: 0, previous: Hash::default(), digest: Hash::default() };
    while let Some(batch) = batches.next(connection).await? {
        judge_batch(&before, &batch)?;
        let mut digests = Vec::new();
        for position in before.last.saturating_add(1)..=batch.last {
            let stored = next_entry(connection, &mut transfers, &mut changes).await?;
            let missing =
                || Fault::Missing { row: format!("the entry at position {position} (batch {})", batch.seq) };
            let stored = stored.ok_or_else(missing)?;
            if stored.position() > position {
                return Err(missing().into());
            }
            if stored.position() < position {
                return Err(Fault::Inserted { row: stored.name() }.into());
            }
            if stored.seq() != batch.seq {
                return Err(changed(
                    stored.name(),
                    format!("it is in batch {}, not {}", batch.seq, stored.seq()),
                ));
            }
            digests.push(replay.enter(stored)?);
        }
        let sealed = batch.seal(&digests).map_err(|e| changed(format!("batch {}", batch.seq), e))?;
        if sealed.digest != batch.digest {
            let first = before.last.saturating_add(1);
            return Err(Fault::Batch { seq: batch.seq, first, last: batch.last }.into());
        }
        if let Some(r) = remembered.iter().find(|r| r.seq == batch.seq && r.digest != batch.digest) {
            let Remembered { seq, digest: expected } = *r;
            return Err(Fault::Rewritten { seq, expected, found: batch.digest }.into());
        }
        before = batch;
    }
    if let Some(extra) = next_entry(connection, &mut transfers, &mut changes).await? {
        return Err(Fault::Inserted { row: extra.name() }.into());
    }
    replay.judge_accounts(&accounts)?;
    replay.judge_records(connection).await?;
    Ok(Verified {
        seq: before.seq,
        digest: before.digest,
        transfers: replay.transfers,
        changes: replay.changes,
        accounts: before.accounts,
    })
}

fn judge_batch(before: &Batch, batch: &Batch) -> Result<(), VerifyError> {
    let next = before.seq.saturating_add(1);
    if batch.seq != next {
        return Err(Fault::Missing { row: format!("batch {next}") }.into());
    }
    let name = format!("batch {next}");
    if batch.previous != before.digest {
        return Err(changed(name, "it does not follow the batch before"));
    }
    if batch.time < before.time || batch.last <= before.last || batch.accounts < before.accounts {
        return Err(changed(name, "its time, last position or number of accounts goes back"));
    }
    Ok(())
}

/// The next of both tables by position.
async fn next_entry(
    connection: &mut Connection,
    transfers: &mut Rows<StoredTransfer>,
    changes: &mut Rows<StoredChange>,
) -> Result<Option<Stored>, DatabaseError> {
    let transfer = transfers.peek(connection).await?.map(|stored| stored.place.position);
    let change = changes.peek(connection).await?.map(|stored| stored.place.position);
    let transfer_first = match (transfer, change) {
        (Some(transfer), Some(change)) => transfer <= change,
        (transfer, _) => transfer.is_some(),
    };
    Ok(if transfer_first {
        transfers.next(connection).await?.map(|stored| Stored::Transfer(stored.into()))
    } else {
        changes.next(connection).await?.map(|stored| Stored::Change(stored.into()))
    })
}

/// The accounts as they stand: numbered without gaps, as many as the newest batch says.
async fn accounts(
    connection: &mut Connection,
    head: &Head,
) -> Result<HashMap<Account, (Totals, bool)>, VerifyError> {
    let read = |row: &Row| {
        let (number, account, totals) = read_account(row)?;
        Ok((number, account, totals, row.int(3)? == 1))
    };
    let mut rows = Rows::new(sql::ACCOUNTS, read, |(number, ..)| *number);
    let mut accounts = HashMap::new();
    let mut before = 0u64;
    while let Some((number, account, totals, overdrawn)) = rows.next(connection).await? {
        before = before.saturating_add(1);
        if before > head.accounts {
            return Err(Fault::Inserted { row: format!("account {number} ({account})") }.into());
        }
        if number != before {
            return Err(Fault::Missing { row: format!("account {before}") }.into());
        }
        accounts.insert(account, (totals, overdrawn));
    }
    if before < head.accounts {
        return Err(Fault::Missing { row: format!("account {}", before.saturating_add(1)) }.into());
    }
    Ok(accounts)
}

impl Replay {
    fn enter(&mut self, stored: Stored) -> Result<Hash, VerifyError> {
        let name = stored.name();
        match stored {
            Stored::Transfer(stored) => {
                self.transfers = self.transfers.saturating_add(1);
                self.transfer(&name, *stored)
            }
            Stored::Change(stored) => {
                self.changes = self.changes.saturating_add(1);
                self.change(&name, &stored)
            }
        }
    }

    fn transfer(&mut self, name: &str, stored: StoredTransfer) -> Result<Hash, VerifyError> {
        let StoredTransfer { place, transfer, .. } = &stored;
        let digest = digest::transfer(*place, transfer).map_err(|e| changed(name, e))?;
        if digest != stored.digest {
            return Err(changed(name, "its content is not what its digest says"));
        }
        let reserved = match transfer.kind.ends() {
            None => None,
            Some(pending) => {
                let held = self.open.remove(pending);
                Some(held.ok_or_else(|| changed(name, format!("{pending} was not open to be ended")))?)
            }
        };
        let reserved = reserved.map(|held| held.transfer.amount).unwrap_or_default();
        let mut debit = self.totals.get(&transfer.debit).copied().unwrap_or_default();
        let mut credit = self.totals.get(&transfer.credit).copied().unwrap_or_default();
        enter(transfer, reserved, &mut debit, &mut credit).map_err(|e| changed(name, e))?;
        if (debit, credit) != (stored.debit, stored.credit) {
            return Err(changed(name, "its running totals are not the sum of the transfers up to it"));
        }
        self.totals.insert(transfer.debit.clone(), debit);
        self.totals.insert(transfer.credit.clone(), credit);
        if matches!(transfer.kind, Kind::Pending { .. }) {
            self.open.insert(transfer.id.clone(), stored);
        }
        Ok(digest)
    }

    fn change(&mut self, name: &str, stored: &StoredChange) -> Result<Hash, VerifyError> {
        let StoredChange { place, change, record, version, digest } = stored;
        let computed = digest::change(*place, change).map_err(|e| changed(name, e))?;
        if computed != *digest || *record != change.key().to_string() {
            return Err(changed(name, "its content is not what its digest says"));
        }
        let before = self.records.get(record);
        if before.map_or(0, |newest| newest.version) != change.expect {
            return Err(changed(name, "it does not follow the version before"));
        }
        let newest = Newest {
            version: *version,
            opened: before.map_or(place.position, |newest| newest.opened),
            latest: place.position,
            state: change.state.clone(),
            client: change.client.as_ref().map(ToString::to_string),
            external_id: change.external_id.clone(),
            kind: change.kind.as_str(),
        };
        self.records.insert(record.clone(), newest);
        Ok(computed)
    }

    /// Compares the totals, and their sum per asset.
    fn judge_accounts(&self, accounts: &HashMap<Account, (Totals, bool)>) -> Result<(), VerifyError> {
        // Sums wrap around at 2¹²⁸: that does not make different sums equal by less than a whole turn,
        // and each account is compared on its own as well.
        let mut sums: HashMap<&Asset, (u128, u128)> = HashMap::new();
        for (account, (totals, overdrawn)) in accounts {
            let name = || format!("account {account}");
            let expected = self.totals.get(account).ok_or_else(|| Fault::Inserted { row: name() })?;
            if totals != expected {
                let why = format!("its totals are {totals}, its transfers make {expected}");
                return Err(changed(name(), why));
            }
            if *overdrawn != (account.owner.is_bounded() && totals.balance().is_below_zero()) {
                return Err(changed(name(), "its mark of being overdrawn is wrong"));
            }
            let (posted, pending) = sums.entry(&account.asset).or_default();
            let net = |credits: u128, debits: u128| credits.wrapping_sub(debits);
            *posted = posted.wrapping_add(net(totals.credits_posted.units(), totals.debits_posted.units()));
            *pending =
                pending.wrapping_add(net(totals.credits_pending.units(), totals.debits_pending.units()));
        }
        if let Some(account) = self.totals.keys().find(|account| !accounts.contains_key(account)) {
            return Err(Fault::Missing { row: format!("account {account}") }.into());
        }
        match sums.into_iter().find(|(_, sum)| *sum != (0, 0)) {
            Some((asset, _)) => Err(Fault::Sum { asset: asset.clone() }.into()),
            None => Ok(()),
        }
    }

    /// Compares the index of records with their versions.
    async fn judge_records(&mut self, connection: &mut Connection) -> Result<(), VerifyError> {
        let mut after = String::new();
        loop {
            let rows = connection.fetch(sql::RECORD_ROWS, vec![after.as_str().into(), PAGE.into()]).await?;
            let Some(row) = rows.last() else { break };
            after = row.text(0)?;
            for row in &rows {
                let record = row.text(0)?;
                let newest = self.records.remove(&record);
                let newest = newest.ok_or_else(|| Fault::Inserted { row: format!("record {record}") })?;
                let same = row.text(1)? == newest.kind
                    && row.int(2)? == newest.version
                    && row.text(3)? == newest.state
                    && row.text_or_none(4)? == newest.client
                    && row.text_or_none(5)? == newest.external_id
                    && row.int(6)? == newest.opened
                    && row.int(7)? == newest.latest;
                if !same {
                    return Err(changed(format!("record {record}"), "it is not its newest version"));
                }
            }
        }
        match self.records.keys().next() {
            Some(record) => Err(Fault::Missing { row: format!("record {record}") }.into()),
            None => Ok(()),
        }
    }
}
