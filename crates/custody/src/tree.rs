//! The Merkle tree of a log, as RFC 6962 §2.1 defines it over SHA-256.
//!
//! [`Frontier`] appends and keeps only the hashes that later roots need. The two `verify_…`
//! functions are the algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2, step by step; the two `prove_…`
//! functions are RFC 6962 §2.1.1 and §2.1.2, for whoever holds all the leaf hashes.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bytes::Hash;

/// The hash of one log entry: SHA-256(0x00 || entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// The hash of an inner node: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of the tree without entries: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash::sha256(&[])
}

/// What an append-only tree needs to remember: its size, and the roots of the perfect subtrees that
/// the binary digits of the size stand for, largest first. At most 64 hashes, whatever the size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// A frontier as it was read, before its two parts are known to fit each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    size: u64,
    peaks: Vec<Hash>,
}

impl TryFrom<Stored> for Frontier {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        if u32::try_from(stored.peaks.len()) != Ok(stored.size.count_ones()) {
            return Err("a frontier has one hash for each binary one of its size");
        }
        Ok(Self { size: stored.size, peaks: stored.peaks })
    }
}

impl Frontier {
    /// The tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: &[u8]) {
        self.push_leaf(leaf_hash(entry));
    }

    /// Appends an entry of which only the leaf hash is at hand.
    pub fn push_leaf(&mut self, leaf: Hash) {
        let mut merged = leaf;
        // Each low binary one of the old size is a perfect subtree as large as what is being added.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                merged = node_hash(&left, &merged);
            }
        }
        self.peaks.push(merged);
        self.size = self.size.saturating_add(1);
    }

    /// The number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The Merkle tree hash of all entries.
    pub fn root(&self) -> Hash {
        let from_the_right = self.peaks.iter().rev().copied();
        from_the_right.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

/// True if `proof` shows that the entry with leaf hash `leaf` is number `index` (from 0) of the tree
/// with `size` entries and this `root`. RFC 9162 §2.1.3.2.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    // "1. Compare leaf_index from the inclusion_proof against tree_size. If leaf_index is greater
    //  than or equal to tree_size, then stop and fail the proof verification."
    if index >= size {
        return false;
    }
    // "2. Set two variables: fn to leaf_index and sn to tree_size - 1. 3. Set r to hash."
    let mut walk = Walk { first: index, second: size.saturating_sub(1) };
    let mut r = *leaf;
    // "4. For each value p in the inclusion_path array:"
    for p in proof {
        // "a. If sn is 0, then stop the iteration and fail the proof verification."
        if walk.second == 0 {
            return false;
        }
        // "b. If LSB(fn) is set, or if fn is equal to sn, then: set r to HASH(0x01 || p || r) …
        //  Otherwise: set r to HASH(0x01 || r || p)."
        r = if walk.sibling_is_left() { node_hash(p, &r) } else { node_hash(&r, p) };
        walk.up();
    }
    // "5. Compare sn to 0. Compare r against the root_hash. If sn is equal to 0 and r and the
    //  root_hash are equal, then the log has proven the inclusion of hash."
    walk.second == 0 && r == *root
}

/// True if `proof` shows that the tree with `new_size` entries and `new_root` is the tree with
/// `old_size` entries and `old_root` with entries appended. RFC 9162 §2.1.4.2; and as that leaves
/// them open: equal sizes need equal roots and no proof, the empty tree begins every tree.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    if old_size > new_size {
        return false;
    }
    // "2. If first is an exact power of 2, then prepend first_hash to the consistency_path array."
    let mut path = proof.iter();
    let seed = if old_size.is_power_of_two() { Some(old_root) } else { path.next() };
    // "1. If consistency_path is an empty array, stop and fail the proof verification." (A path that
    //  is empty but for the prepended hash fails at step 7, because sn is not 0 yet.)
    let Some(seed) = seed else { return false };
    // "3. Set two variables: fn to first - 1 and sn to second - 1."
    let mut walk = Walk { first: old_size.saturating_sub(1), second: new_size.saturating_sub(1) };
    // "4. If LSB(fn) is set, then right-shift both fn and sn equally until LSB(fn) is not set."
    let shared = walk.first.trailing_ones();
    walk = Walk { first: walk.first.wrapping_shr(shared), second: walk.second.wrapping_shr(shared) };
    // "5. Set both fr and sr to the first value in the consistency_path array."
    let (mut fr, mut sr) = (*seed, *seed);
    // "6. For each subsequent value c in the consistency_path array:"
    for c in path {
        // "a. If sn is 0, then stop the iteration and fail the proof verification."
        if walk.second == 0 {
            return false;
        }
        // "b. If LSB(fn) is set, or if fn is equal to sn, then: set fr to HASH(0x01 || c || fr), set
        //  sr to HASH(0x01 || c || sr) … Otherwise: set sr to HASH(0x01 || sr || c)."
        if walk.sibling_is_left() {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
        } else {
            sr = node_hash(&sr, c);
        }
        walk.up();
    }
    // "7. After completing iterating through the consistency_path array as described above, verify
    //  that the fr calculated is equal to the first_hash supplied, that the sr calculated is equal
    //  to the second_hash supplied, and that sn is 0."
    fr == *old_root && sr == *new_root && walk.second == 0
}

/// The two numbers `fn` and `sn` of RFC 9162 on their way from the leaves to the root.
struct Walk {
    first: u64,
    second: u64,
}

impl Walk {
    /// "If LSB(fn) is set, or if fn is equal to sn".
    fn sibling_is_left(&self) -> bool {
        self.first & 1 == 1 || self.first == self.second
    }

    /// The rest of step b and step c: "If LSB(fn) is not set, then right-shift both fn and sn equally
    /// until either LSB(fn) is set or fn is 0. … c. Finally, right-shift both fn and sn one time."
    fn up(&mut self) {
        if self.first == self.second {
            while self.first & 1 == 0 && self.first != 0 {
                self.shift();
            }
        }
        self.shift();
    }

    fn shift(&mut self) {
        self.first >>= 1;
        self.second >>= 1;
    }
}

/// The root of the tree with these leaf hashes: MTH of RFC 6962 §2.1.
pub fn root_of(leaves: &[Hash]) -> Hash {
    match (leaves, halves(leaves)) {
        (_, Some((left, right))) => node_hash(&root_of(left), &root_of(right)),
        ([leaf], None) => *leaf,
        _ => empty_root(),
    }
}

/// The inclusion proof for leaf number `index`: PATH of RFC 6962 §2.1.1. `None` if there is no such
/// leaf.
pub fn prove_inclusion(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let Some((left, right)) = halves(leaves) else {
        return Some(Vec::new());
    };
    // "PATH(m, D[n]) = PATH(m, D[0:k]) : MTH(D[k:n]) for m < k; and
    //  PATH(m, D[n]) = PATH(m - k, D[k:n]) : MTH(D[0:k]) for m >= k".
    let (mut path, sibling) = match index.checked_sub(left.len()) {
        None => (prove_inclusion(left, index)?, right),
        Some(within) => (prove_inclusion(right, within)?, left),
    };
    path.push(root_of(sibling));
    Some(path)
}

/// The consistency proof from the tree of the first `old_size` leaves to the tree of all of them:
/// PROOF of RFC 6962 §2.1.2. `None` if there are fewer leaves; empty if nothing needs to be shown
/// (no old leaves, or no new ones).
pub fn prove_consistency(leaves: &[Hash], old_size: usize) -> Option<Vec<Hash>> {
    match old_size {
        _ if old_size > leaves.len() => None,
        0 => Some(Vec::new()),
        // "PROOF(m, D[n]) = SUBPROOF(m, D[n], true)".
        _ => subproof(leaves, old_size, true),
    }
}

/// SUBPROOF of RFC 6962 §2.1.2; `whole` is its `b`: the old tree is a subtree whose root is known.
fn subproof(leaves: &[Hash], old_size: usize, whole: bool) -> Option<Vec<Hash>> {
    // "SUBPROOF(m, D[m], true) = {}; SUBPROOF(m, D[m], false) = {MTH(D[m])}".
    if old_size == leaves.len() {
        return Some(if whole { Vec::new() } else { vec![root_of(leaves)] });
    }
    let (left, right) = halves(leaves)?;
    // "m <= k: SUBPROOF(m, D[n], b) = SUBPROOF(m, D[0:k], b) : MTH(D[k:n]);
    //  m > k: SUBPROOF(m, D[n], b) = SUBPROOF(m - k, D[k:n], false) : MTH(D[0:k])".
    let (mut path, sibling) = match old_size.checked_sub(left.len()) {
        None | Some(0) => (subproof(left, old_size, whole)?, right),
        Some(within) => (subproof(right, within, false)?, left),
    };
    path.push(root_of(sibling));
    Some(path)
}

/// Splits at k, the largest power of two smaller than the number of leaves. `None` below two leaves.
fn halves(leaves: &[Hash]) -> Option<(&[Hash], &[Hash])> {
    let last = leaves.len().checked_sub(1)?;
    let k = 1usize.checked_shl(last.checked_ilog2()?)?;
    leaves.split_at_checked(k)
}
