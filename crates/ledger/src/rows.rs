//! From rows to nouns. A row that makes no sense is named as damaged.

use std::str::FromStr as _;

use custody::Hash;
use custody::name::Name;

use crate::account::{Account, Totals};
use crate::amount::Amount;
use crate::digest::Batch;
use crate::record::{RecordChange, RecordKind};
use crate::store::{DatabaseError, Row};
use crate::transfer::{Code, Kind, Place, Transfer, TransferId};

/// The newest batch, or where the first will start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) last: u64,
    pub(crate) accounts: u64,
    pub(crate) digest: Hash,
}

impl Head {
    /// From the rows of [`sql::HEAD`].
    pub(crate) fn read(rows: &[Row]) -> Result<Self, DatabaseError> {
        let Some(row) = rows.first() else { return Ok(Self::default()) };
        Ok(Self {
            seq: row.int(0)?,
            time: row.int(1)?,
            last: row.int(2)?,
            accounts: row.int(3)?,
            digest: row.read(4, "the newest batch", Hash::from_hex)?,
        })
    }
}

/// From a row of [`sql::BATCHES`].
pub(crate) fn read_batch(row: &Row) -> Result<Batch, DatabaseError> {
    let seq = row.int(0)?;
    let name = format!("batch {seq}");
    Ok(Batch {
        seq,
        time: row.int(1)?,
        last: row.int(2)?,
        accounts: row.int(3)?,
        previous: row.read(4, &name, Hash::from_hex)?,
        digest: row.read(5, &name, Hash::from_hex)?,
    })
}

/// A transfer with all that the database keeps about it.
#[derive(Clone, Debug)]
pub(crate) struct StoredTransfer {
    pub(crate) place: Place,
    pub(crate) transfer: Transfer,
    pub(crate) debit: Totals,
    pub(crate) credit: Totals,
    pub(crate) digest: Hash,
    /// The number of the account that is debited.
    pub(crate) debit_number: u64,
}

/// From a row of [`sql::TRANSFER`].
pub(crate) fn read_transfer(row: &Row) -> Result<StoredTransfer, DatabaseError> {
    let place = Place { position: row.int(0)?, seq: row.int(1)?, time: row.int(2)? };
    let id = row.text(3)?;
    let name = format!("transfer {id} at position {}", place.position);
    let kind = row.text(7)?;
    let pending = row.text_or_none(8)?.and_then(|id| TransferId::from_str(&id).ok());
    let expires_at = row.int_or_none(9)?;
    let kind = match (kind.as_str(), pending, expires_at) {
        ("posted", None, None) => Some(Kind::Posted),
        ("pending", None, expires_at) => Some(Kind::Pending { expires_at }),
        ("post", Some(pending), None) => Some(Kind::Post { pending }),
        ("void", Some(pending), None) => Some(Kind::Void { pending }),
        ("expire", Some(pending), None) => Some(Kind::Expire { pending }),
        _ => None,
    };
    let kind = kind
        .ok_or_else(|| DatabaseError::Damaged { row: name.clone(), why: "its kind makes no sense".into() })?;
    let transfer = Transfer {
        id: row.read(3, &name, |text| text.parse().ok())?,
        debit: row.read(4, &name, |text| text.parse().ok())?,
        credit: row.read(5, &name, |text| text.parse().ok())?,
        amount: row.read(6, &name, |text| text.parse::<Amount>().ok())?,
        kind,
        code: row.read(10, &name, Code::parse)?,
        cause: row.text(11)?,
    };
    Ok(StoredTransfer {
        place,
        transfer,
        debit: row.read(12, &name, |text| text.parse().ok())?,
        credit: row.read(13, &name, |text| text.parse().ok())?,
        digest: row.read(14, &name, Hash::from_hex)?,
        debit_number: row.int(15)?,
    })
}

/// A record's version with all that the database keeps about it.
#[derive(Clone, Debug)]
pub(crate) struct StoredChange {
    pub(crate) place: Place,
    pub(crate) change: RecordChange,
    /// The key that the row itself names.
    pub(crate) record: String,
    pub(crate) version: u64,
    pub(crate) digest: Hash,
}

/// From a row of [`sql::CHANGE`].
pub(crate) fn read_change(row: &Row) -> Result<StoredChange, DatabaseError> {
    let place = Place { position: row.int(0)?, seq: row.int(1)?, time: row.int(2)? };
    let (record, version) = (row.text(3)?, row.int(4)?);
    let name = format!("version {version} of {record} at position {}", place.position);
    let client = match row.text_or_none(8)? {
        None => None,
        Some(_) => Some(row.read(8, &name, Name::new)?),
    };
    let damaged = |why: &str| DatabaseError::Damaged { row: name.clone(), why: why.into() };
    let change = RecordChange {
        kind: row.read(5, &name, RecordKind::parse)?,
        id: row.text(6)?,
        expect: version.checked_sub(1).ok_or_else(|| damaged("there is no version 0"))?,
        state: row.text(7)?,
        client,
        external_id: row.text_or_none(9)?,
        at: row.int(10)?,
        body: row.read(11, &name, |text| serde_json::from_str(text).ok())?,
    };
    Ok(StoredChange { place, change, record, version, digest: row.read(12, &name, Hash::from_hex)? })
}

/// An account with its number, from a row of [`sql::ACCOUNT`].
pub(crate) fn read_account(row: &Row) -> Result<(u64, Account, Totals), DatabaseError> {
    let number = row.int(0)?;
    let name = format!("account {number} ({})", row.text(1)?);
    let account = row.read(1, &name, |text| text.parse().ok())?;
    Ok((number, account, row.read(2, &name, |text| text.parse().ok())?))
}
