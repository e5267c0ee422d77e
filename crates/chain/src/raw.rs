//! From bytes to a transaction and what it does.

use std::collections::BTreeSet;

use bitcoin::Transaction;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash as _;
use custody::Hash;
use custody::effects::{DecodeError, Effects, InputEffect, OutPoint, OutputEffect, Sats};

/// The fewest bytes of a transaction without witness. A transaction of 64 bytes can be passed off as
/// an inner node of a Merkle tree and the other way round (CVE-2017-12842); nodes relay none below 65.
pub const MIN_TRANSACTION_BYTES: usize = 65;

/// The most vbytes of a transaction once signed: nodes relay no larger ones (Bitcoin Core's
/// `MAX_STANDARD_TX_WEIGHT` of 400,000 weight units), so a larger one could never be paid.
pub const MAX_SIGNED_VSIZE: u64 = 100_000;

/// The most bytes of a confirmed transaction without witness: consensus allows a block no more.
pub const MAX_PARENT_BYTES: usize = 1_000_000;

/// Weight units (BIP-141) of a byte outside the witness.
const BASE_FACTOR: u64 = 4;

/// Weight units that make a transaction one with a witness: marker and flag (BIP-144).
const MARKER_WEIGHT: u64 = 2;

/// Weight units of the witness of a Taproot key spend with `SIGHASH_DEFAULT`: the number of items,
/// the length of the one item, 64 bytes of signature (BIP-341).
pub const KEY_SPEND_WEIGHT: u64 = 66;

/// An error about a transaction.
pub(crate) fn bad(why: impl Into<String>) -> DecodeError {
    DecodeError { what: "transaction", why: why.into() }
}

/// Parses any transaction without witness, up to `most` bytes, with sound amounts. What it returns
/// encodes to exactly `raw`.
pub(crate) fn parse(raw: &[u8], most: usize) -> Result<Transaction, DecodeError> {
    if raw.len() < MIN_TRANSACTION_BYTES {
        let why = format!("has {} bytes; at least {MIN_TRANSACTION_BYTES} are needed", raw.len());
        return Err(bad(why));
    }
    if raw.len() > most {
        return Err(bad(format!("has {} bytes; at most {most} are allowed", raw.len())));
    }
    let tx: Transaction = deserialize(raw).map_err(|error| bad(format!("does not parse: {error}")))?;
    if tx.input.iter().any(|input| !input.witness.is_empty()) {
        return Err(bad("carries a witness; give it without"));
    }
    // The library accepts one encoding only; that it does is not left to trust.
    if serialize(&tx) != raw {
        return Err(bad("is not encoded canonically"));
    }
    if tx.input.is_empty() || tx.output.is_empty() {
        return Err(bad("needs at least one input and one output"));
    }
    if Sats::sum(tx.output.iter().map(|output| Sats(output.value.to_sat()))).is_none() {
        return Err(bad("pays more bitcoin than can exist"));
    }
    Ok(tx)
}

/// Parses a transaction that is to be signed: beyond [`parse`], no input is signed, spent twice or
/// newly minted, and its signed size is one that nodes relay.
///
/// # Errors
/// What is wrong with the bytes.
pub fn unsigned(raw: &[u8]) -> Result<Transaction, DecodeError> {
    let tx = parse(raw, usize::try_from(MAX_SIGNED_VSIZE).unwrap_or(usize::MAX))?;
    let mut spent = BTreeSet::new();
    for (i, input) in tx.input.iter().enumerate() {
        if !input.script_sig.is_empty() {
            return Err(bad(format!("input {i} has a script; an unsigned input has none")));
        }
        if input.previous_output.is_null() {
            return Err(bad(format!("input {i} spends nothing, as only a coinbase may")));
        }
        if !spent.insert(input.previous_output) {
            return Err(bad(format!("input {i} spends what another input spends")));
        }
    }
    let vsize = signed_vsize(&tx);
    if vsize > MAX_SIGNED_VSIZE {
        let why = format!("will have {vsize} vB; at most {MAX_SIGNED_VSIZE} vB are relayed");
        return Err(bad(why));
    }
    Ok(tx)
}

/// The virtual size in vbytes of `tx` once each input carries one 64-byte Schnorr signature.
pub fn signed_vsize(tx: &Transaction) -> u64 {
    let inputs = u64::try_from(tx.input.len()).unwrap_or(u64::MAX);
    let base = u64::try_from(tx.base_size()).unwrap_or(u64::MAX).saturating_mul(BASE_FACTOR);
    let witness = inputs.saturating_mul(KEY_SPEND_WEIGHT).saturating_add(MARKER_WEIGHT);
    base.saturating_add(witness).div_ceil(BASE_FACTOR)
}

/// What a parsed transaction does.
pub fn effects(tx: &Transaction) -> Effects {
    Effects {
        txid: Hash(tx.compute_txid().to_byte_array()),
        version: tx.version.0,
        lock_time: tx.lock_time.to_consensus_u32(),
        inputs: tx
            .input
            .iter()
            .map(|input| InputEffect {
                outpoint: from_outpoint(&input.previous_output),
                sequence: input.sequence.to_consensus_u32(),
            })
            .collect(),
        outputs: tx
            .output
            .iter()
            .map(|output| OutputEffect {
                script: output.script_pubkey.to_bytes(),
                amount: Sats(output.value.to_sat()),
            })
            .collect(),
        signed_vsize: signed_vsize(tx),
    }
}

/// The library's outpoint as ours.
pub fn from_outpoint(outpoint: &bitcoin::OutPoint) -> OutPoint {
    OutPoint { txid: Hash(outpoint.txid.to_byte_array()), vout: outpoint.vout }
}

/// Our outpoint as the library's.
pub fn to_outpoint(outpoint: &OutPoint) -> bitcoin::OutPoint {
    bitcoin::OutPoint::new(bitcoin::Txid::from_byte_array(outpoint.txid.0), outpoint.vout)
}
