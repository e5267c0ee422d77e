//! Transfers: what a caller asks for, and what stands in the books for ever.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::account::Account;
use crate::amount::Amount;

/// Longest id in bytes of a transfer, a record, an external id: a prefix, an outpoint (66) and a reason.
pub const ID_LIMIT_BYTES: usize = 128;
/// Longest cause in bytes: room for an id and a few words.
pub const CAUSE_LIMIT_BYTES: usize = 256;
/// Most that one transfer may move, in base units. Far above any supply there is (10¹⁵ tokens of 18
/// decimals), and 340,000 such transfers fit the totals of one account.
pub const TRANSFER_LIMIT: Amount = Amount::new(10u128.pow(33));

/// The caller's name for a transfer: 1 to 128 bytes of printable ASCII without spaces. It makes the
/// transfer idempotent, so it must follow from what the transfer is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TransferId(String);

impl TransferId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is an id.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_LIMIT_BYTES && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a text is a cause: an id with spaces.
pub(crate) fn is_cause(text: &str) -> bool {
    text.len() <= CAUSE_LIMIT_BYTES && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: use 1 to {ID_LIMIT_BYTES} printable ASCII characters without spaces")]
pub struct IdError;

impl FromStr for TransferId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if is_id(text) { Ok(Self(text.to_owned())) } else { Err(IdError) }
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for TransferId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a transfer is for. Which owners it may join is a table: [`crate::model::Model::admits`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Coins came from outside.
    Deposit,
    /// A reorganisation took a deposit back. The only code that may bring an account below zero: the coins
    /// are gone, whatever the books say.
    DepositReversed,
    /// A held deposit is let go to whom it belongs.
    Release,
    /// Coins go out.
    Withdrawal,
    /// The network's fee for a transaction.
    NetworkFee,
    /// Between two owners of one wallet; nothing happens on the network.
    Internal,
    /// Coins move between wallets: out of one and into the other.
    Sweep,
    /// Makes another transfer good, which its cause names.
    Correction,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Deposit,
        Self::DepositReversed,
        Self::Release,
        Self::Withdrawal,
        Self::NetworkFee,
        Self::Internal,
        Self::Sweep,
        Self::Correction,
    ];

    /// The word in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::DepositReversed => "deposit-reversed",
            Self::Release => "release",
            Self::Withdrawal => "withdrawal",
            Self::NetworkFee => "network-fee",
            Self::Internal => "internal",
            Self::Sweep => "sweep",
            Self::Correction => "correction",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// What a new transfer does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Movement {
    /// Moves the amount at once.
    Posted {
        /// From whom.
        debit: Account,
        /// To whom.
        credit: Account,
        /// How much, above zero.
        amount: Amount,
    },
    /// Reserves the amount, until one of the following ends it, once.
    Pending {
        /// From whom.
        debit: Account,
        /// To whom.
        credit: Account,
        /// How much, above zero.
        amount: Amount,
        /// From when on, in seconds since 1970, [`Movement::Expire`] is admitted. It does not expire by
        /// itself, and may be posted even later: coins that left have left.
        expires_at: Option<u64>,
    },
    /// Moves what was reserved, or less: the rest is released.
    Post {
        /// The reservation.
        pending: TransferId,
        /// How much of it; all if absent.
        amount: Option<Amount>,
    },
    /// Releases what was reserved.
    Void {
        /// The reservation.
        pending: TransferId,
    },
    /// Releases what was reserved, because its time is over.
    Expire {
        /// The reservation.
        pending: TransferId,
    },
}

/// A transfer that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTransfer {
    /// The caller's id.
    pub id: TransferId,
    /// What it does.
    pub movement: Movement,
    /// What it is for.
    pub code: Code,
    /// What it is for, precisely: an outpoint, the id of a withdrawal, at most [`CAUSE_LIMIT_BYTES`].
    pub cause: String,
}

/// The kind of a transfer in the books.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// Moved at once.
    Posted,
    /// Reserved.
    Pending {
        /// See [`Movement::Pending`].
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
    },
    /// Moved what was reserved.
    Post {
        /// The reservation.
        pending: TransferId,
    },
    /// Released.
    Void {
        /// The reservation.
        pending: TransferId,
    },
    /// Released after its time.
    Expire {
        /// The reservation.
        pending: TransferId,
    },
}

impl Kind {
    /// The word in the database and in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Pending { .. } => "pending",
            Self::Post { .. } => "post",
            Self::Void { .. } => "void",
            Self::Expire { .. } => "expire",
        }
    }

    /// The reservation that it ends.
    pub fn ends(&self) -> Option<&TransferId> {
        match self {
            Self::Posted | Self::Pending { .. } => None,
            Self::Post { pending } | Self::Void { pending } | Self::Expire { pending } => Some(pending),
        }
    }
}

/// A transfer as it stands in the books. It never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Transfer {
    /// The caller's id.
    pub id: TransferId,
    /// From whom.
    pub debit: Account,
    /// To whom.
    pub credit: Account,
    /// Moved, reserved or released.
    pub amount: Amount,
    /// Which of these.
    #[serde(flatten)]
    pub kind: Kind,
    /// What it is for.
    pub code: Code,
    /// What it is for, precisely.
    pub cause: String,
}

/// Where an entry stands in the books, and since when.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Place {
    /// Its number: transfers and record changes are numbered from 1 without gaps in the order in which
    /// they took effect. Cursors are positions.
    pub position: u64,
    /// Its batch.
    pub seq: u64,
    /// When the batch was written, in seconds since 1970; never less than the batch before.
    pub time: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_on_both_sides_of_their_limits() {
        assert!("a".repeat(ID_LIMIT_BYTES).parse::<TransferId>().is_ok());
        for bad in [&"a".repeat(ID_LIMIT_BYTES + 1), "", "a b", "ä", "a\n", "a\0"] {
            assert!(bad.parse::<TransferId>().is_err(), "{bad:?}");
        }
        assert!(is_cause("") && is_cause("two words") && is_cause(&"a".repeat(CAUSE_LIMIT_BYTES)));
        assert!(!is_cause(&"a".repeat(CAUSE_LIMIT_BYTES + 1)) && !is_cause("a\0") && !is_cause("ä"));
    }

    #[test]
    fn codes_read_back() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
