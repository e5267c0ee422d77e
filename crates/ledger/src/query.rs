//! Reading the books: balances now and then, statements, records, batches. Pages follow positions, which
//! only grow, so a page stays the same while others write behind it.

use custody::name::Name;
use serde::Serialize;

use crate::Books;
use crate::account::{Account, Owner, Totals};
use crate::amount::Balance;
use crate::digest::Batch;
use crate::record::{Record, RecordKind};
use crate::rows::{Head, StoredTransfer, read_account, read_batch, read_change, read_transfer};
use crate::sql;
use crate::store::{Cell, DatabaseError, Row};
use crate::transfer::{Place, Transfer, TransferId};

/// Most items of one page; a larger wish is cut to it.
pub const PAGE_LIMIT: usize = 1000;

/// A part of a list, and where the next part starts.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// The cursor to give for the next page; `None` if this one was not full.
    pub next: Option<u64>,
}

/// A moment of the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// After this batch.
    Seq(u64),
    /// At the end of this second. Until it is over, batches may still be added to it.
    Time(u64),
    /// After the entry in this position.
    Position(u64),
}

/// Which accounts; no condition means all. Only the first that is given of `overdrawn`, owner and wallet
/// (together or alone) counts.
#[derive(Clone, Default, Debug)]
pub struct AccountFilter {
    /// Accounts that may not be below zero and are, because deposits were taken back: breaks.
    pub overdrawn: bool,
    /// Accounts of this owner.
    pub owner: Option<Owner>,
    /// Accounts in this wallet.
    pub wallet: Option<Name>,
}

/// Which records; all conditions must hold.
#[derive(Clone, Debug)]
pub struct RecordFilter {
    /// The sort.
    pub kind: RecordKind,
    /// Whose.
    pub client: Option<Name>,
    /// In which state.
    pub state: Option<String>,
    /// What the client calls it.
    pub external_id: Option<String>,
}

/// Which side of a transfer an account is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// It gives.
    Debit,
    /// It receives.
    Credit,
}

/// A line of a statement: a transfer as one account sees it, with the totals after it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// Where it stands, and since when.
    pub place: Place,
    /// The account's side.
    pub side: Side,
    /// The transfer.
    pub transfer: Transfer,
    /// The totals of the account after it.
    pub totals: Totals,
}

impl Line {
    /// The running balance.
    pub fn balance(&self) -> Balance {
        self.totals.balance()
    }
}

/// At most [`PAGE_LIMIT`], at least one.
fn cut(limit: usize) -> usize {
    limit.clamp(1, PAGE_LIMIT)
}

fn cell(limit: usize) -> Cell {
    Cell::from(u64::try_from(limit).unwrap_or(u64::MAX))
}

impl<T> Page<T> {
    fn new(items: Vec<T>, limit: usize, position: impl Fn(&T) -> u64) -> Self {
        let next = if items.len() < limit { None } else { items.last().map(position) };
        Self { items, next }
    }
}

impl Books {
    /// The totals of an account; zeros if it was never used.
    ///
    /// # Errors
    /// The database.
    pub async fn account(&self, account: &Account) -> Result<Totals, DatabaseError> {
        Ok(self.numbered(account).await?.map(|(_, totals)| totals).unwrap_or_default())
    }

    async fn numbered(&self, account: &Account) -> Result<Option<(u64, Totals)>, DatabaseError> {
        let rows = self.pool.fetch(sql::ACCOUNT, vec![account.to_string().into()]).await?;
        Ok(rows.first().map(read_account).transpose()?.map(|(number, _, totals)| (number, totals)))
    }

    /// Accounts with their totals, in the order of their first transfers.
    ///
    /// # Errors
    /// The database.
    pub async fn accounts(
        &self,
        filter: &AccountFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<(Account, Totals)>, DatabaseError> {
        let limit = cut(limit);
        let mut cells = vec![after.unwrap_or(0).into(), cell(limit)];
        let owner = filter.owner.as_ref().map(|owner| Cell::from(owner.to_string()));
        let wallet = filter.wallet.as_ref().map(|wallet| Cell::from(wallet.as_str()));
        let sql = match (filter.overdrawn, &owner, &wallet) {
            (true, ..) => sql::ACCOUNTS_OVERDRAWN,
            (false, None, None) => sql::ACCOUNTS,
            (false, Some(_), None) => sql::ACCOUNTS_OF_OWNER,
            (false, None, Some(_)) => sql::ACCOUNTS_OF_WALLET,
            (false, Some(_), Some(_)) => sql::ACCOUNTS_OF_OWNER_IN_WALLET,
        };
        if !filter.overdrawn {
            cells.extend(owner.into_iter().chain(wallet));
        }
        let rows = self.pool.fetch(sql, cells).await?;
        let found = rows.iter().map(read_account).collect::<Result<Vec<_>, _>>()?;
        let Page { items, next } = Page::new(found, limit, |(number, ..)| *number);
        Ok(Page { items: items.into_iter().map(|(_, account, totals)| (account, totals)).collect(), next })
    }

    /// The totals of an account at a moment; zeros before its first transfer.
    ///
    /// # Errors
    /// The database.
    pub async fn as_of(&self, account: &Account, moment: Moment) -> Result<Totals, DatabaseError> {
        let last = match moment {
            Moment::Position(position) => position,
            Moment::Seq(seq) => self.last(sql::LAST_AT_SEQ, seq).await?,
            Moment::Time(time) => self.last(sql::LAST_AT_TIME, time).await?,
        };
        let Some((number, _)) = self.numbered(account).await? else { return Ok(Totals::default()) };
        let rows = self.pool.fetch(sql::TOTALS_AT, vec![number.into(), last.into()]).await?;
        let Some(row) = rows.first() else { return Ok(Totals::default()) };
        row.text(1)?.parse().map_err(|why| DatabaseError::Damaged {
            row: format!("the totals of {account} after position {last}"),
            why,
        })
    }

    async fn last(&self, sql: sql::Sql, bound: u64) -> Result<u64, DatabaseError> {
        self.pool.fetch(sql, vec![bound.into()]).await?.first().map_or(Ok(0), |row| row.int(0))
    }

    /// The statement of an account: every transfer that names it, oldest first, after a cursor.
    ///
    /// # Errors
    /// The database.
    pub async fn lines(
        &self,
        account: &Account,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Line>, DatabaseError> {
        let limit = cut(limit);
        let Some((number, _)) = self.numbered(account).await? else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let cells = vec![number.into(), after.unwrap_or(0).into(), cell(limit)];
        let rows = self.pool.fetch(sql::LINES, cells).await?;
        let line = |row: &Row| {
            let StoredTransfer { place, transfer, debit, credit, debit_number, .. } = read_transfer(row)?;
            let (side, totals) =
                if debit_number == number { (Side::Debit, debit) } else { (Side::Credit, credit) };
            Ok(Line { place, side, transfer, totals })
        };
        let lines = rows.iter().map(line).collect::<Result<Vec<_>, DatabaseError>>()?;
        Ok(Page::new(lines, limit, |line| line.place.position))
    }

    /// A transfer.
    ///
    /// # Errors
    /// The database.
    pub async fn transfer(&self, id: &TransferId) -> Result<Option<(Place, Transfer)>, DatabaseError> {
        self.one_transfer(sql::TRANSFER, id).await
    }

    /// What ended a reservation.
    ///
    /// # Errors
    /// The database.
    pub async fn ended_by(&self, pending: &TransferId) -> Result<Option<(Place, Transfer)>, DatabaseError> {
        self.one_transfer(sql::ENDED_BY, pending).await
    }

    async fn one_transfer(
        &self,
        sql: sql::Sql,
        id: &TransferId,
    ) -> Result<Option<(Place, Transfer)>, DatabaseError> {
        let rows = self.pool.fetch(sql, vec![id.as_str().into()]).await?;
        Ok(rows.first().map(read_transfer).transpose()?.map(|stored| (stored.place, stored.transfer)))
    }

    /// All transfers, oldest first, after a cursor.
    ///
    /// # Errors
    /// The database.
    pub async fn transfers(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<(Place, Transfer)>, DatabaseError> {
        let limit = cut(limit);
        let rows = self.pool.fetch(sql::TRANSFERS, vec![after.unwrap_or(0).into(), cell(limit)]).await?;
        let read = |row: &Row| read_transfer(row).map(|stored| (stored.place, stored.transfer));
        let transfers = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::new(transfers, limit, |(place, _)| place.position))
    }

    /// A record as it is.
    ///
    /// # Errors
    /// The database.
    pub async fn record(&self, kind: RecordKind, id: &str) -> Result<Option<Record>, DatabaseError> {
        let rows = self.pool.fetch(sql::RECORD, vec![name(kind, id).into()]).await?;
        rows.first().map(read_record).transpose()
    }

    /// Records, in the order in which they were opened, after a cursor.
    ///
    /// # Errors
    /// The database.
    pub async fn records(
        &self,
        filter: &RecordFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Record>, DatabaseError> {
        let limit = cut(limit);
        let RecordFilter { kind, client, state, external_id } = filter;
        let sql = match (client, state, external_id) {
            (None, None, None) => sql::RECORDS,
            (Some(_), None, None) => sql::RECORDS_C,
            (None, Some(_), None) => sql::RECORDS_S,
            (None, None, Some(_)) => sql::RECORDS_E,
            (Some(_), Some(_), None) => sql::RECORDS_CS,
            (Some(_), None, Some(_)) => sql::RECORDS_CE,
            (None, Some(_), Some(_)) => sql::RECORDS_SE,
            (Some(_), Some(_), Some(_)) => sql::RECORDS_CSE,
        };
        let mut cells = vec![kind.as_str().into(), after.unwrap_or(0).into(), cell(limit)];
        let conditions = [client.as_ref().map(Name::as_str), state.as_deref(), external_id.as_deref()];
        cells.extend(conditions.into_iter().flatten().map(Cell::from));
        let rows = self.pool.fetch(sql, cells).await?;
        let records = rows.iter().map(read_record).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::new(records, limit, |record| record.opened))
    }

    /// The versions of a record, oldest first, after a version.
    ///
    /// # Errors
    /// The database.
    pub async fn history(
        &self,
        kind: RecordKind,
        id: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Record>, DatabaseError> {
        let limit = cut(limit);
        let cells = vec![name(kind, id).into(), after.unwrap_or(0).into(), cell(limit)];
        let rows = self.pool.fetch(sql::HISTORY, cells).await?;
        // A version that was not the first does not know where the first stands.
        let first = self.record(kind, id).await?.map_or(0, |record| record.opened);
        let read = |row: &Row| {
            let stored = read_change(row)?;
            Ok(Record { opened: first, version: stored.version, place: stored.place, change: stored.change })
        };
        let versions = rows.iter().map(read).collect::<Result<Vec<_>, DatabaseError>>()?;
        Ok(Page::new(versions, limit, |record| record.version))
    }

    /// Batches with their digests, from a number on.
    ///
    /// # Errors
    /// The database.
    pub async fn batches(&self, from: u64, limit: usize) -> Result<Vec<Batch>, DatabaseError> {
        let rows = self.pool.fetch(sql::BATCHES, vec![from.into(), cell(cut(limit))]).await?;
        rows.iter().map(read_batch).collect()
    }

    /// The newest batch.
    ///
    /// # Errors
    /// The database.
    pub async fn newest(&self) -> Result<Option<Batch>, DatabaseError> {
        let head = Head::read(&self.pool.fetch(sql::HEAD, Vec::new()).await?)?;
        self.pool.fetch(sql::BATCH, vec![head.seq.into()]).await?.first().map(read_batch).transpose()
    }
}

fn name(kind: RecordKind, id: &str) -> String {
    crate::record::RecordKey { kind, id: id.to_owned() }.to_string()
}

fn read_record(row: &Row) -> Result<Record, DatabaseError> {
    let stored = read_change(row)?;
    Ok(Record { opened: row.int(13)?, version: row.int(14)?, place: stored.place, change: stored.change })
}
