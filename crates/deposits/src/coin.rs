//! What is found on the chain, and what is told about it.

use std::fmt;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, Txid};
use custody::Hash;
use custody::effects::{OutPoint, Sats};
use custody::name::Name;
use serde::{Deserialize, Serialize};

use crate::state::Step;
use crate::watched::Address;

/// An output as people write it: `txid:vout`, the txid in the byte order of block explorers. The id of its records.
pub fn outpoint_text(of: &OutPoint) -> String {
    format!("{}:{}", Txid::from_byte_array(of.txid.0), of.vout)
}

/// A block that was connected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Its height.
    pub height: u32,
    /// Its hash, wire byte order.
    pub block: Hash,
    /// The how many-th block it was that was ever connected. A block that a reorganisation removes and another
    /// one brings back has a second number.
    pub connection: u64,
}

/// What names one credit: an output in one block, as it was connected once. Its text fits as the id of a
/// transfer: a deposit that moves to another block is another credit, and so is one that comes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepositId {
    /// The output.
    pub outpoint: OutPoint,
    /// The block.
    pub place: Place,
}

impl fmt::Display for DepositId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The start of a block's hash is zeros, so its end is shown; the connection alone is unique.
        let block = BlockHash::from_byte_array(self.place.block.0).to_string();
        let end = block.get(48..).unwrap_or_default();
        write!(f, "{}@{end}#{}", outpoint_text(&self.outpoint), self.place.connection)
    }
}

/// What an own output is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoinKind {
    /// Somebody paid it; it is not judged yet.
    Open,
    /// A deposit that was judged: credited or held.
    Judged,
    /// Change of an own transaction.
    Change,
}

/// A transaction that spends an own output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    /// The transaction, wire byte order.
    pub txid: Hash,
    /// Its block; nothing while it waits in the mempool.
    pub place: Option<Place>,
}

/// An own output in a block. The caller keeps one for each output, as the last [`Fact`] about it had it, and
/// gives them back to [`crate::Follower::resume`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coin {
    /// The output.
    pub outpoint: OutPoint,
    /// Its amount.
    pub amount: Sats,
    /// The address, as it was when the block was looked at.
    pub address: Address,
    /// Its block.
    pub place: Place,
    /// The confirmations that it needs (1 = in the best block).
    pub needed: u32,
    /// What it is.
    pub kind: CoinKind,
    /// What spent it, in a block.
    pub spent: Option<Spend>,
}

impl Coin {
    /// What names its credit.
    pub fn id(&self) -> DepositId {
        DepositId { outpoint: self.outpoint, place: self.place }
    }
}

/// An own output in the mempool. Nothing follows from it: it is shown to the client, no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The output.
    pub outpoint: OutPoint,
    /// Its amount.
    pub amount: Sats,
    /// The address.
    pub address: Address,
}

/// Why a deposit waits for a person.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// The wallet is not open for deposits.
    WalletClosed,
    /// The log has not allocated the address to anybody.
    NotAllocated,
    /// The books do not know the client.
    ClientUnknown(Name),
    /// The address should no longer be used.
    Retired,
    /// Somebody paid an address that is for own change.
    ChangeAddress,
    /// Less than the least amount of the wallet.
    Dust {
        /// That amount.
        least: Sats,
    },
    /// The screening wants a person to look.
    Screening(String),
    /// The screening gave no answer.
    ScreeningUnavailable,
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WalletClosed => write!(f, "the wallet is not open for deposits"),
            Self::NotAllocated => write!(f, "the address is not allocated to a client"),
            Self::ClientUnknown(client) => write!(f, "the books do not know client {client}"),
            Self::Retired => write!(f, "the address was retired"),
            Self::ChangeAddress => write!(f, "the address is for own change"),
            Self::Dust { least } => write!(f, "less than {least}"),
            Self::Screening(why) => write!(f, "screening: {why}"),
            Self::ScreeningUnavailable => write!(f, "the screening gave no answer"),
        }
    }
}

/// What is to be done with a deposit that is deep enough.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Credit it to this client.
    Credit(Name),
    /// Hold it, for all these reasons; there is at least one.
    Hold(Vec<HoldReason>),
}

/// What a step found out. Facts are in order: what is undone comes before what is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// A deposit waits in the mempool.
    Seen(Sighting),
    /// It left the mempool, and not into a block.
    Vanished {
        /// The deposit.
        sighting: Sighting,
        /// The transaction that spends the same, if that is why.
        by: Option<Hash>,
    },
    /// A deposit is in a block and not judged yet.
    Confirming {
        /// The deposit; it needs [`Coin::needed`].
        coin: Coin,
        /// The confirmations that it has.
        confirmations: u32,
    },
    /// A deposit is deep enough.
    Due {
        /// The deposit.
        coin: Coin,
        /// What to do with it.
        verdict: Verdict,
    },
    /// Change of an own transaction is in a block. No deposit.
    Change(Coin),
    /// The block of an own output is no longer in the best chain. [`Coin::kind`] says whether it had been
    /// judged, so that the caller undoes exactly what it did.
    TakenBack(Coin),
    /// An own output is being spent.
    Spent {
        /// The output.
        coin: Coin,
        /// By what; without a place while it waits in the mempool.
        by: Spend,
        /// Whether the log allowed that transaction. If not, coins leave that nobody approved: alarm.
        authorised: bool,
    },
    /// The block of a spend is no longer in the best chain.
    Unspent {
        /// The output, unspent.
        coin: Coin,
        /// What spent it.
        by: Spend,
    },
}

impl Fact {
    /// The output that it is about.
    pub fn outpoint(&self) -> OutPoint {
        match self {
            Self::Seen(sighting) | Self::Vanished { sighting, .. } => sighting.outpoint,
            Self::Confirming { coin, .. }
            | Self::Due { coin, .. }
            | Self::Change(coin)
            | Self::TakenBack(coin)
            | Self::Spent { coin, .. }
            | Self::Unspent { coin, .. } => coin.outpoint,
        }
    }

    /// The step that the deposit takes by it, if it is about one.
    pub fn step(&self) -> Option<Step> {
        match self {
            Self::Seen(_) => Some(Step::See),
            Self::Vanished { .. } => Some(Step::Vanish),
            Self::Confirming { coin, confirmations } => {
                Some(Step::Confirm { confirmations: *confirmations, needed: coin.needed })
            }
            Self::Due { verdict: Verdict::Credit(_), .. } => Some(Step::Credit),
            Self::Due { verdict: Verdict::Hold(reasons), .. } => Some(Step::Hold(reasons.clone())),
            Self::TakenBack(coin) => (coin.kind != CoinKind::Change).then_some(Step::TakeBack),
            Self::Change(_) | Self::Spent { .. } | Self::Unspent { .. } => None,
        }
    }
}
