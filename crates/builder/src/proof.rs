//! Making a proof of confirmation from what a node has. The proof is judged by
//! [`custody::effects::Decoder::confirmed`], so this side is not trusted.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{Block, Transaction, Witness};
use custody::effects::{ConfirmationProof, DecodeError};
use custody::{Blob, Hash};

use chain::HEADER_BYTES;

/// Proves that the transaction `txid` (wire byte order) is in the raw block `block`, which is the one
/// numbered `block_index` of `headers`; the parent of the first of these is the pinned header.
///
/// # Errors
/// A block that does not parse, lacks the transaction, or is not the one that `block_index` names.
pub fn prove(
    block: &[u8],
    txid: Hash,
    headers: &[[u8; HEADER_BYTES]],
    block_index: u32,
) -> Result<ConfirmationProof, DecodeError> {
    let bad = |why: String| DecodeError { what: "block", why };
    let block: Block = deserialize(block).map_err(|error| bad(format!("is malformed: {error}")))?;
    let named = usize::try_from(block_index).ok().and_then(|i| headers.get(i));
    if named.is_none_or(|named| serialize(&block.header) != named) {
        return Err(bad(format!("is not the one of header {block_index}")));
    }
    let txids: Vec<Hash> = block.txdata.iter().map(|tx| Hash(tx.compute_txid().to_byte_array())).collect();
    let (position, tx) = (0_u32..)
        .zip(&block.txdata)
        .zip(&txids)
        .find_map(|(placed, id)| (*id == txid).then_some(placed))
        .ok_or_else(|| bad(format!("does not hold the transaction {txid}")))?;
    Ok(ConfirmationProof {
        transaction: Blob(without_witness(tx)),
        position,
        branch: branch(txids, position),
        headers: Blob(headers.concat()),
        block: block_index,
    })
}

/// The bytes of a transaction that its id covers.
fn without_witness(tx: &Transaction) -> Vec<u8> {
    let mut base = tx.clone();
    for input in &mut base.input {
        input.witness = Witness::new();
    }
    serialize(&base)
}

/// The siblings of the leaf at `position`, from the leaves up.
fn branch(leaves: Vec<Hash>, position: u32) -> Vec<Hash> {
    let mut level = leaves;
    let mut place = usize::try_from(position).unwrap_or(usize::MAX);
    let mut branch = Vec::new();
    while level.len() > 1 {
        // The last node of an odd level is its own sibling.
        branch.extend(level.get(place ^ 1).or(level.last()));
        level = level
            .chunks(2)
            .filter_map(|pair| Some([pair.first()?.0, pair.last()?.0].concat()))
            .map(|pair| Hash(sha256d::Hash::hash(&pair).to_byte_array()))
            .collect();
        place /= 2;
    }
    branch
}
