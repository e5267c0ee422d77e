//! Proofs of confirmation (simplified payment verification, Bitcoin paper §8; rule P21).

use bitcoin::block::Header;
use bitcoin::consensus::{Params, deserialize};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{BlockHash, CompactTarget, Target, Transaction, TxMerkleNode};
use custody::Hash;
use custody::effects::{ConfirmationProof, Confirmed, DecodeError, PinnedHeader};

use crate::raw::{MAX_PARENT_BYTES, effects, parse};

/// The most headers of a proof: one retarget window of 2,016 blocks and a little more, 168 kB. A proof
/// inside a statement meets the limit of the envelope first, at about 430 headers (three days of blocks).
pub const MAX_HEADERS: usize = 2_100;

/// The most sibling hashes of a Merkle branch: a block holds at most 16,666 transactions (4,000,000
/// weight units, each at least 240), which a tree of 15 levels covers.
pub const MAX_BRANCH: usize = 15;

/// Bytes of a block header.
pub const HEADER_BYTES: usize = 80;

/// An error about a proof.
fn bad(why: impl Into<String>) -> DecodeError {
    DecodeError { what: "proof of confirmation", why: why.into() }
}

/// Checks `proof` above `pinned`: see [`custody::effects::Decoder::confirmed`]. The transaction may be
/// of any kind (a parent need not be ours); its `signed_vsize` says nothing.
pub(crate) fn confirmed(
    params: &Params,
    proof: &ConfirmationProof,
    pinned: &PinnedHeader,
) -> Result<Confirmed, DecodeError> {
    let tx = parse(&proof.transaction.0, MAX_PARENT_BYTES)?;
    let txid = Hash(tx.compute_txid().to_byte_array());
    let root = merkle_root(txid, proof.position, &proof.branch)?;
    let (height, tip) = follow(params, &proof.headers.0, pinned, proof.block, root)?;
    let depth = tip.saturating_sub(height).saturating_add(1);
    Ok(Confirmed { effects: effects(&tx), height, depth })
}

/// Follows `headers` up from `pinned`; the heights of the header numbered `block`, whose Merkle root
/// must be `root`, and of the last one.
fn follow(
    params: &Params,
    headers: &[u8],
    pinned: &PinnedHeader,
    block: u32,
    root: Hash,
) -> Result<(u32, u32), DecodeError> {
    let chunks = headers.chunks_exact(HEADER_BYTES);
    if !chunks.remainder().is_empty() {
        return Err(bad(format!("headers are not whole: each has {HEADER_BYTES} bytes")));
    }
    if chunks.len() > MAX_HEADERS {
        let why = format!("has {} headers; at most {MAX_HEADERS}: pin a newer one", chunks.len());
        return Err(bad(why));
    }
    let mut tip = BlockHash::from_byte_array(pinned.hash.0);
    let mut height = pinned.height;
    let mut found = None;
    for (i, bytes) in (0_u32..).zip(chunks) {
        let header: Header =
            deserialize(bytes).map_err(|error| bad(format!("header {i} is malformed: {error}")))?;
        height = height.checked_add(1).ok_or_else(|| bad("the pinned height is impossible"))?;
        if header.prev_blockhash != tip {
            return Err(bad(format!("header {i} does not follow the one below it")));
        }
        if header.target() > easiest_target(params, pinned, height) {
            return Err(bad(format!("header {i} claims less work than this height allows")));
        }
        tip = header
            .validate_pow(header.target())
            .map_err(|_| bad(format!("header {i} lacks the work that it claims")))?;
        if i == block {
            if header.merkle_root != TxMerkleNode::from_byte_array(root.0) {
                return Err(bad(format!("the branch does not lead to header {i}")));
            }
            found = Some(height);
        }
    }
    found.map(|found| (found, height)).ok_or_else(|| bad(format!("there is no header {block}")))
}

/// The easiest target that a header at `height` may have. Consensus lets each retarget (every 2,016
/// blocks) ease the target of the pinned header at most fourfold, never beyond the network's limit;
/// nothing eases it within a window. Networks for tests of software let any block be of least work:
/// proofs there show no work worth naming, and coins there have no value. (Signet blocks are signed, which
/// headers do not show.)
fn easiest_target(params: &Params, pinned: &PinnedHeader, height: u32) -> Target {
    let limit = params.max_attainable_target;
    let pinned_target = Target::from_compact(CompactTarget::from_consensus(pinned.bits)).min(limit);
    if params.no_pow_retargeting {
        return pinned_target;
    }
    if params.allow_min_difficulty_blocks {
        return limit;
    }
    let interval = params.difficulty_adjustment_interval();
    let window = |height: u32| u64::from(height).checked_div(interval).unwrap_or(0);
    (window(pinned.height)..window(height))
        .fold(pinned_target, |target, _| target.max_transition_threshold(params))
}

/// The root of the Merkle tree in which `txid` stands at `position` beside `branch`.
fn merkle_root(txid: Hash, position: u32, branch: &[Hash]) -> Result<Hash, DecodeError> {
    if branch.len() > MAX_BRANCH {
        return Err(bad(format!("the branch has more than {MAX_BRANCH} hashes")));
    }
    let mut node = txid;
    let mut place = position;
    for sibling in branch {
        let on_the_right = place % 2 == 1;
        if on_the_right && *sibling == node {
            // Only the last node of a level is paired with itself, and then as the left one.
            return Err(bad("the branch repeats a hash (CVE-2012-2459)"));
        }
        let pair = if on_the_right { [sibling.0, node.0] } else { [node.0, sibling.0] }.concat();
        if deserialize::<Transaction>(&pair).is_ok() {
            // A 64-byte transaction could hold the hash of one that is in no block.
            return Err(bad("the branch passes through a transaction (CVE-2017-12842)"));
        }
        node = Hash(sha256d::Hash::hash(&pair).to_byte_array());
        place /= 2;
    }
    if place != 0 {
        return Err(bad(format!("position {position} is not within the branch")));
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::serialize;
    use bitcoin::{Network, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Witness};

    use super::*;

    fn compact(bits: u32) -> Target {
        Target::from_compact(CompactTarget::from_consensus(bits))
    }

    #[test]
    fn a_retarget_eases_at_most_fourfold_up_to_the_limit() {
        let pinned = |bits, height| PinnedHeader { hash: Hash([0; 32]), height, bits };
        let params = Params::new(Network::Bitcoin);
        let limit = |height| easiest_target(&params, &pinned(0x1b01_0000, 2_000), height);
        assert_eq!(limit(2_001), compact(0x1b01_0000));
        assert_eq!(limit(2_015), compact(0x1b01_0000));
        assert_eq!(limit(2_016), compact(0x1b04_0000));
        assert_eq!(limit(4_031), compact(0x1b04_0000));
        assert_eq!(limit(4_032), compact(0x1b10_0000));
        // Never beyond the network's limit, whatever was pinned.
        let floor = compact(0x1d00_ffff);
        assert_eq!(easiest_target(&params, &pinned(0x1d00_ffff, 2_000), 4_032), floor);
        assert_eq!(easiest_target(&params, &pinned(0x207f_ffff, 2_000), 2_001), floor);
    }

    #[test]
    fn networks_for_tests_have_rules_of_their_own() {
        let pinned = PinnedHeader { hash: Hash([0; 32]), height: 2_000, bits: 0x1b01_0000 };
        let limit = |network| easiest_target(&Params::new(network), &pinned, 4_032);
        assert_eq!(limit(Network::Regtest), compact(0x1b01_0000));
        assert_eq!(limit(Network::Signet), compact(0x1b10_0000));
        assert_eq!(limit(Network::Testnet4), compact(0x1d00_ffff));
    }

    #[test]
    fn a_branch_through_a_64_byte_transaction_is_refused() {
        let hidden = Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(bitcoin::Txid::from_byte_array([1; 32]), 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![TxOut {
                value: bitcoin::Amount::from_sat(1),
                script_pubkey: ScriptBuf::from_bytes(vec![0x51; 4]),
            }],
        };
        let bytes = serialize(&hidden);
        let (left, right) = bytes.split_at(32);
        let [left, right] = [left, right].map(|half| Hash(half.try_into().unwrap()));
        // As the right half it would be the id of a transaction that is in no block.
        for (txid, position, sibling) in [(right, 1, left), (left, 0, right)] {
            let error = merkle_root(txid, position, &[sibling]).unwrap_err();
            assert!(error.why.contains("CVE-2017-12842"), "{error}");
            assert!(merkle_root(txid, 1 - position, &[sibling]).is_ok());
        }
    }
}
