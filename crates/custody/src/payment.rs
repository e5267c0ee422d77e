//! Payments: requests, the transactions that pay them, and their limits (P19–P25). What is allowed is
//! judged in `judge`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bytes::{Blob, Hash};
use crate::charge::Charge;
use crate::effects::{Branch, ConfirmationProof, Effects, OutPoint, Sats, TypedInput};
use crate::name::Name;

/// Most outputs of a request: it must stay readable on one screen.
pub const OUTPUTS_LIMIT: usize = 32;

/// Most requests in one transaction.
pub const REQUESTS_LIMIT: usize = 16;

/// Most inputs of a transaction: with 64-byte signatures well under the size that nodes relay.
pub const INPUTS_LIMIT: usize = 200;

/// Most anchors that one authorisation may fix.
pub const ANCHORS_LIMIT: usize = 4;

/// Confirmations that an output needs before it may be an anchor: deep enough that an ordinary
/// reorganisation does not unmake it.
pub const ANCHOR_DEPTH: u32 = 6;

/// How far past the last allocated index change may lie, and inputs be (BIP-44's gap limit).
pub const GAP_LIMIT: u32 = 20;

/// How far a lock time may lie above the highest block that a proof has shown (two weeks of blocks):
/// later ones would keep a payment from confirming.
pub const LOCK_TIME_SLACK: u32 = 2_016;

/// The sequence of every input: replaceable, no relative lock time (BIP-125, BIP-68).
pub const SEQUENCE: u32 = 0xffff_fffd;

/// The version of every transaction.
pub const TRANSACTION_VERSION: i32 = 2;

/// Most addresses in one allocation.
pub const ALLOCATE_LIMIT: u32 = 1_000;

/// Most addresses of one wallet in a day of log time: more would outrun any gap in a recovery.
pub const ALLOCATE_DAILY_LIMIT: u32 = 10_000;

/// Asks for addresses: always the next indices (P25).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocate {
    /// The wallet.
    pub wallet: Name,
    /// Whose they will be.
    pub client: Name,
    /// Which chain.
    pub branch: Branch,
    /// How many.
    pub count: u32,
}

/// One output that a request asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestOutput {
    /// The destination, by handle.
    pub destination: Name,
    /// The version of the destination that the requester saw: its hash.
    pub version: Hash,
    /// How much.
    pub amount: Sats,
    /// The address itself where the address book does not have it (since rule set 3; not written when absent).
    /// Handle and version are then of its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Asks for a payment (P19).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The wallet that pays.
    pub wallet: Name,
    /// What it pays. Nothing only for a cancel.
    pub outputs: Vec<RequestOutput>,
    /// Highest fee.
    pub fee_max: Sats,
    /// Highest fee in millionths of the amount; not applied to a cancel, which has no amount.
    pub fee_max_ppm: u64,
    /// Log time after which no share may leave for it.
    pub end: u64,
    /// The request that this one renews or cancels (P23).
    pub renews: Option<Hash>,
    /// Freezes that this cancel leaves despite; then the quorum of Resume approves it.
    pub despite: Vec<Hash>,
    /// Commitment to a note for people.
    pub note: Option<Hash>,
    /// Whose coins move (since rule set 2; not written when absent, so that older bytes stay canonical). In
    /// a wallet of model 3 it must be named, elsewhere it informs the books and freezes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Name>,
}

/// A raw unsigned transaction with its inputs described.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypedTransaction {
    /// The raw transaction, no witness.
    pub raw: Blob,
    /// Its inputs, in order.
    pub inputs: Vec<TypedInput>,
    /// The change index of the one own output, if there is one.
    pub change: Option<u32>,
}

/// Fixes an anchor for a request (P21).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAnchor {
    /// The request.
    pub request: Hash,
    /// The output that every transaction of it will spend.
    pub outpoint: OutPoint,
    /// Proof that it is confirmed; nothing when an anchor before this one in the list is the same.
    pub proof: Option<ConfirmationProof>,
}

/// Proposes a transaction for requests (P20). It gives no power: every signer judges it by replay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorise {
    /// The requests that it pays, sorted.
    pub requests: Vec<Hash>,
    /// Anchors for those that have none yet.
    pub anchors: Vec<NewAnchor>,
    /// The transaction.
    pub transaction: TypedTransaction,
}

impl Request {
    /// All that it pays, or nothing when that is more than there is.
    pub fn amount(&self) -> Option<Sats> {
        Sats::sum(self.outputs.iter().map(|o| o.amount))
    }

    /// A request without outputs returns what it renews to the own wallet.
    pub fn is_cancel(&self) -> bool {
        self.outputs.is_empty()
    }
}

/// What an allowed transaction does to the state. Only [`crate::state::State::judge`] makes one.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub(crate) effects: Effects,
    pub(crate) wallet: Name,
    pub(crate) fee: Sats,
    pub(crate) end: u64,
    pub(crate) rules: Vec<Vec<Name>>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) new_anchors: BTreeMap<Hash, Vec<OutPoint>>,
    pub(crate) tip: u32,
}
