//! What a transaction does, as types. `chain` decodes; this crate only judges what was decoded.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes::{Blob, Hash};

/// An amount of bitcoin in satoshi. Written as a decimal string, so that no reader rounds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Sats(pub u64);

impl Sats {
    /// All the bitcoin there can ever be; a larger amount is an error, not money.
    pub const MAX: Self = Self(21_000_000 * 100_000_000);

    /// The sum, or nothing when it is more than [`Sats::MAX`].
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self).filter(|sum| *sum <= Self::MAX)
    }

    /// The difference, or nothing when it would be negative.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum of many amounts, or nothing when it is more than [`Sats::MAX`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self(0), Self::plus)
    }
}

impl fmt::Display for Sats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sat", self.0)
    }
}

impl Serialize for Sats {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Sats {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse()
            .ok()
            .map(Self)
            .filter(|amount| *amount <= Self::MAX && amount.0.to_string() == text)
            .ok_or_else(|| serde::de::Error::custom("expected an amount in satoshi as a decimal string"))
    }
}

/// One output of one transaction. `txid` is in the byte order of the wire (the order that hashing
/// gives); programs that show txids to people reverse it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutPoint {
    /// The transaction, wire byte order.
    pub txid: Hash,
    /// The position of the output in it.
    pub vout: u32,
}

/// The two chains of addresses of an account (BIP-44): what others pay to, and our own change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// External addresses, chain 0.
    Receive,
    /// Internal addresses, chain 1.
    Change,
}

impl Branch {
    /// The number of the chain in a derivation path.
    pub fn number(self) -> u32 {
        match self {
            Self::Receive => 0,
            Self::Change => 1,
        }
    }
}

/// The public side of one account: what addresses are derived from (BIP-32 extended public key
/// without its place in the tree).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountKey {
    /// Compressed secp256k1 public key (33 bytes, SEC 1).
    pub public: Blob,
    /// BIP-32 chain code.
    pub chain_code: Hash,
}

/// An input as the proposer of a transaction describes it. The amount need not be believed: a
/// Taproot signature commits to the amounts of all inputs (BIP-341), so a lie makes it worthless.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypedInput {
    /// What is spent.
    pub outpoint: OutPoint,
    /// Its amount.
    pub amount: Sats,
    /// The chain of the wallet's account that its script belongs to.
    pub branch: Branch,
    /// The index on that chain.
    pub index: u32,
}

/// One output, decoded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OutputEffect {
    /// The script that it pays.
    pub script: Vec<u8>,
    /// The amount.
    pub amount: Sats,
}

/// One input, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputEffect {
    /// What is spent.
    pub outpoint: OutPoint,
    /// The relative lock time and replaceability flag (BIP-68, BIP-125).
    pub sequence: u32,
}

/// All that a raw unsigned transaction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effects {
    /// Its id, wire byte order. For Taproot key spends signing does not change it.
    pub txid: Hash,
    /// The version field.
    pub version: i32,
    /// The lock time field.
    pub lock_time: u32,
    /// The inputs in order.
    pub inputs: Vec<InputEffect>,
    /// The outputs in order.
    pub outputs: Vec<OutputEffect>,
    /// The virtual size in vbytes that it will have once each input carries one 64-byte Schnorr
    /// signature.
    pub signed_vsize: u64,
}

/// Proof that a transaction output is confirmed: its raw transaction, the branch to a block, and
/// the headers from the pinned one on (simplified payment verification, Bitcoin paper §8).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmationProof {
    /// The raw transaction without witness.
    pub transaction: Blob,
    /// Its position in the block.
    pub position: u32,
    /// Sibling hashes from the transaction up to the Merkle root, wire byte order.
    pub branch: Vec<Hash>,
    /// 80-byte headers, end to end; the first one's parent is the pinned header.
    pub headers: Blob,
    /// Which of the headers (0 = first) is the block of the transaction.
    pub block: u32,
}

/// Where a transaction stands under headers that are given beside it, so that several proofs share them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// The raw transaction without witness.
    pub transaction: Blob,
    /// Its position in the block.
    pub position: u32,
    /// Sibling hashes from the transaction up to the Merkle root, wire byte order.
    pub branch: Vec<Hash>,
    /// Which of the headers (0 = first) is the block of the transaction.
    pub block: u32,
}

impl Inclusion {
    /// The proof that it makes with its headers.
    pub fn under(&self, headers: &Blob) -> ConfirmationProof {
        let Self { transaction, position, branch, block } = self.clone();
        ConfirmationProof { transaction, position, branch, headers: headers.clone(), block }
    }
}

/// A block header that genesis or a quorum vouches for; proofs start from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedHeader {
    /// The hash of the header, wire byte order.
    pub hash: Hash,
    /// Its height.
    pub height: u32,
    /// The compact target (`nBits`) of the header: the least work a header above it may show is a
    /// named fraction of this.
    pub bits: u32,
}

/// A transaction that a proof showed to be confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Confirmed {
    /// What the transaction does.
    pub effects: Effects,
    /// The block that holds it.
    pub height: u32,
    /// Headers on top of it, its own block counted (1 = in the last header shown).
    pub depth: u32,
}

/// Why bytes could not be understood as a transaction, an address or a proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct DecodeError {
    /// What was read, for example "transaction".
    pub what: &'static str,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

/// The one thing that the rules need and do not do themselves: reading a chain's bytes. The crate
/// `chain` implements it; tests of the rules use that implementation too.
pub trait Decoder {
    /// Decodes a raw unsigned transaction: no witness, empty input scripts, nothing left over.
    ///
    /// # Errors
    /// What is not exactly one such transaction.
    fn decode(&self, raw: &[u8]) -> Result<Effects, DecodeError>;

    /// The output script of an address of `account` (BIP-86 key path spend).
    ///
    /// # Errors
    /// An account that is not a curve point, a hardened index.
    fn own_script(&self, account: &AccountKey, branch: Branch, index: u32) -> Result<Vec<u8>, DecodeError>;

    /// The script that an address of the deployment's network pays to.
    ///
    /// # Errors
    /// An address that is malformed or of another network, named as such.
    fn address_script(&self, address: &str) -> Result<Vec<u8>, DecodeError>;

    /// The smallest amount that a node relays to `script` (Bitcoin Core's dust limit at its default
    /// relay fee).
    fn dust_limit(&self, script: &[u8]) -> Sats;

    /// Checks a proof of confirmation above `pinned`.
    ///
    /// # Errors
    /// Headers that do not connect, lack work, or a branch that does not lead to the named block.
    fn confirmed(&self, proof: &ConfirmationProof, pinned: &PinnedHeader) -> Result<Confirmed, DecodeError>;

    /// Verifies a BIP-340 signature of the account key itself (its x coordinate) over `message`.
    fn schnorr_ok(&self, account: &AccountKey, message: &[u8; 32], signature: &[u8]) -> bool;

    /// Whether `dealt` are commitments by which a holder shares its own share anew: points of the curve, the
    /// first of them the share of holder `dealer`, as the commitments `shared` have it, times its Lagrange coefficient at
    /// 0 among the share identifiers `dealers`.
    fn redeals(&self, shared: &[Blob], dealers: &[u32], dealer: u32, dealt: &[Blob]) -> bool;

    /// Adds commitments up, coefficient by coefficient. Nothing where one is no point, where two lists differ in
    /// length, or where a sum is the point at infinity.
    fn add_commitments(&self, lists: &[&[Blob]]) -> Option<Vec<Blob>>;
}
