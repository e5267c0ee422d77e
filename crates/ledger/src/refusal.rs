//! Why a posting is not entered: what is wrong, and what to do next.

use custody::name::Name;

use crate::account::Account;
use crate::amount::{Amount, Balance};
use crate::transfer::TransferId;

/// Why a posting was not entered. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to do.
    #[error("the posting is empty: give it a transfer or a record")]
    Empty,
    /// A limit of the ledger.
    #[error("{what} is above the limit of {limit}: {next}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The limit with its unit.
        limit: String,
        /// What to do.
        next: &'static str,
    },
    /// A text that cannot stand in the books.
    #[error("{what} may only hold {allowed}")]
    Text {
        /// Which text.
        what: &'static str,
        /// What it may hold.
        allowed: &'static str,
    },
    /// A record's body without a canonical form.
    #[error("the body of {key} cannot be kept: {why}")]
    Body {
        /// The record.
        key: String,
        /// Why.
        why: String,
    },
    /// An amount of zero.
    #[error("the amount of {id} is zero: a transfer moves something (to release a reservation, void it)")]
    Zero {
        /// The transfer.
        id: TransferId,
    },
    /// Two accounts that no transfer can join.
    #[error("{id} joins accounts that differ in {what}: use two transfers by way of the external accounts")]
    Unlike {
        /// The transfer.
        id: TransferId,
        /// Asset or wallet.
        what: &'static str,
    },
    /// From an account to itself.
    #[error("{id} debits and credits the same account: name two")]
    SameAccount {
        /// The transfer.
        id: TransferId,
    },
    /// The wallet has no model yet.
    #[error("wallet {wallet} is not in the books: declare it with its custody model first")]
    UnknownWallet {
        /// The wallet.
        wallet: Name,
    },
    /// The record of a wallet that declares nothing, or differs from what was declared.
    #[error("the record of wallet {wallet} must declare its custody model, once: it never changes")]
    WalletRecord {
        /// The wallet.
        wallet: String,
    },
    /// The custody model does not know such a transfer.
    #[error(
        "custody model {model} of wallet {wallet} admits no {code} from {debit} to {credit}: see the table of postings"
    )]
    Model {
        /// The wallet.
        wallet: Name,
        /// Its model.
        model: &'static str,
        /// The code.
        code: &'static str,
        /// The owner debited.
        debit: String,
        /// The owner credited.
        credit: String,
    },
    /// More than there is.
    #[error(
        "{account} has {available} available and {asked} is asked: lower the amount, or wait until a deposit is credited or a reservation ends"
    )]
    Overdraft {
        /// The account.
        account: Account,
        /// Its balance less what is reserved.
        available: Balance,
        /// What was asked.
        asked: Amount,
    },
    /// The totals of an account would leave 2¹²⁸−1.
    #[error("the totals of {account} would not fit 128 bits: use a new account")]
    Overflow {
        /// The account.
        account: Account,
    },
    /// The id was used for something else.
    #[error("{id} is in the books with other content: a correction takes an id of its own")]
    Exists {
        /// The transfer.
        id: TransferId,
    },
    /// Some of the posting was entered before, some was not.
    #[error(
        "{known} is in the books already, but not the whole posting: repeat what was posted, or use new ids"
    )]
    Partly {
        /// A transfer or record that is there.
        known: String,
    },
    /// No such reservation.
    #[error("there is no transfer {id} to end: look its id up")]
    UnknownPending {
        /// The id that was named.
        id: TransferId,
    },
    /// Not a reservation.
    #[error("{id} reserves nothing, so it cannot be ended: name a pending transfer")]
    NotPending {
        /// The transfer.
        id: TransferId,
    },
    /// The reservation was ended before.
    #[error("{id} was ended by {by} already: a reservation ends once")]
    AlreadyEnded {
        /// The reservation.
        id: TransferId,
        /// What ended it.
        by: TransferId,
    },
    /// Not yet, or never.
    #[error("{id} has not expired: void it, or wait for the time it carries, if any")]
    NotExpired {
        /// The reservation.
        id: TransferId,
    },
    /// More than was reserved.
    #[error("{id} reserves {reserved} and {asked} is asked: post at most what is reserved")]
    AboveReserved {
        /// The reservation.
        id: TransferId,
        /// Its amount.
        reserved: Amount,
        /// What was asked.
        asked: Amount,
    },
    /// Somebody else changed the record first.
    #[error("{key} is at version {found} and {expected} was expected: read it again and decide anew")]
    Version {
        /// The record.
        key: String,
        /// What the caller saw.
        expected: u64,
        /// What there is.
        found: u64,
    },
}

impl Refusal {
    /// A word for programs, which stays the same from release to release.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "ledger.empty",
            Self::Limit { .. } => "ledger.limit",
            Self::Text { .. } => "ledger.text",
            Self::Body { .. } => "ledger.body",
            Self::Zero { .. } => "ledger.zero",
            Self::Unlike { .. } => "ledger.unlike",
            Self::SameAccount { .. } => "ledger.same-account",
            Self::UnknownWallet { .. } => "ledger.unknown-wallet",
            Self::WalletRecord { .. } => "ledger.wallet-record",
            Self::Model { .. } => "ledger.model",
            Self::Overdraft { .. } => "ledger.overdraft",
            Self::Overflow { .. } => "ledger.overflow",
            Self::Exists { .. } => "ledger.exists",
            Self::Partly { .. } => "ledger.partly",
            Self::UnknownPending { .. } => "ledger.unknown-pending",
            Self::NotPending { .. } => "ledger.not-pending",
            Self::AlreadyEnded { .. } => "ledger.already-ended",
            Self::NotExpired { .. } => "ledger.not-expired",
            Self::AboveReserved { .. } => "ledger.above-reserved",
            Self::Version { .. } => "ledger.version",
        }
    }
}
