//! Proofs of confirmation for whoever asks: the node's blocks above the pinned header are searched, and what
//! is found is put under one run of headers. Who asked checks it.

use std::collections::BTreeSet;

use bitcoin::block::Block;
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash as _;
use custody::effects::{Inclusion, OutPoint};
use custody::payment::ANCHOR_DEPTH;
use custody::{Blob, Hash};

use super::Client;

/// Most blocks that are searched above the pinned header: the headers of more fit no statement (65,535
/// bytes, 80 each, in base64).
pub const SEARCH_LIMIT: u32 = 600;

/// Bytes of a block header.
const HEADER_BYTES: usize = 80;

/// Transactions in blocks, and the headers under which they stand.
#[derive(Debug)]
pub struct Found {
    /// What was found, in the order of the chain.
    pub proofs: Vec<Inclusion>,
    /// 80-byte headers from the pinned one on.
    pub headers: Blob,
}

/// Finds `transactions`, and those that spend one of `spent`, in the blocks above the pinned height; each
/// with the headers up to the depth that rules ask for, or to the tip.
///
/// # Errors
/// What the node said, or which of `transactions` is in no such block.
pub fn find(node: &Client, pinned: u32, transactions: &[Hash], spent: &[OutPoint]) -> Result<Found, String> {
    let mut wanted: BTreeSet<Hash> = transactions.iter().copied().collect();
    let mut unspent: BTreeSet<OutPoint> = spent.iter().copied().collect();
    let tip = node.chain_info().map_err(|e| e.to_string())?.blocks;
    let last = tip.min(pinned.saturating_add(SEARCH_LIMIT));
    let mut headers: Vec<[u8; HEADER_BYTES]> = Vec::new();
    let mut proofs = Vec::new();
    let mut enough = None::<u32>;
    for (block, height) in (0..).zip(pinned.saturating_add(1)..=last) {
        let hash = node.block_hash(height).map_err(|e| e.to_string())?;
        if wanted.is_empty() && unspent.is_empty() {
            if enough.is_none_or(|enough| height > enough) {
                break;
            }
            let header = node.block_header(&hash).map_err(|e| e.to_string())?;
            headers.push(header.try_into().map_err(|_| "the node sent no header".to_owned())?);
            continue;
        }
        let raw = node.block(&hash).map_err(|e| e.to_string())?;
        headers.push(*raw.first_chunk().ok_or("the node sent no block")?);
        let parsed: Block = deserialize(&raw).map_err(|_| "the node sent no block")?;
        for tx in parsed.txdata {
            let txid = Hash(tx.compute_txid().to_byte_array());
            let mut hit = wanted.remove(&txid);
            for input in &tx.input {
                let from = &input.previous_output;
                hit |= unspent.remove(&OutPoint { txid: Hash(from.txid.to_byte_array()), vout: from.vout });
            }
            if hit {
                let proof = builder::proof::prove(&raw, txid, &headers, block).map_err(|e| e.to_string())?;
                let (transaction, position, branch) = (proof.transaction, proof.position, proof.branch);
                proofs.push(Inclusion { transaction, position, branch, block });
                enough = Some(height.saturating_add(ANCHOR_DEPTH).saturating_sub(1));
            }
        }
    }
    if let Some(missing) = wanted.first() {
        let txid = crate::watch::shown(missing);
        return Err(format!(
            "transaction {txid} is in no block from {} to {last} (the tip is {tip}): wait until it confirms; \
             what is below the pinned header, or too far above it for a statement, cannot be shown",
            pinned.saturating_add(1)
        ));
    }
    // What was found early needs no headers up to where the search ended.
    let needed = enough.map_or(0, |enough| enough.saturating_sub(pinned));
    headers.truncate(usize::try_from(needed).unwrap_or(usize::MAX));
    Ok(Found { proofs, headers: Blob(headers.concat()) })
}
