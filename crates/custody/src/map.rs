//! The Merkle map whose root is the state hash (P6): 32-byte keys, 32-byte values, SHA-256.
//!
//! A binary trie over the bits of the key, most significant first, in which each pair sits at its
//! shortest prefix that no other key shares. The root depends on the content alone, never on the
//! order of changes. `docs/spec/state-map.md` is the specification, `vectors/state-map/` has vectors.
//!
//! Keys should be hashes: then the trie is about log₂ n deep, an update costs that many hashes, and
//! whoever wants a path of k bits has to try 2^k keys. No key can make it deeper than 256.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bytes::Hash;

/// The most siblings that a proof can have: a key has 256 bits, and no two keys share them all.
pub const MAX_DEPTH: usize = 256;

/// The hash of an empty map or branch: 32 zero bytes, of which nobody knows a preimage.
pub const EMPTY: Hash = Hash([0; 32]);

/// A persistent Merkle map: a clone costs one reference count and shares every node.
#[derive(Clone, Default)]
pub struct MerkleMap {
    top: Node,
    len: usize,
}

#[derive(Clone, Default)]
enum Node {
    #[default]
    Empty,
    Leaf(Arc<Leaf>),
    Branch(Arc<Branch>),
}

struct Leaf {
    hash: Hash,
    key: Hash,
    value: Hash,
}

struct Branch {
    hash: Hash,
    left: Node,
    right: Node,
}

impl MerkleMap {
    /// The map without pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The root hash.
    pub fn root(&self) -> Hash {
        self.top.hash()
    }

    /// The value of `key`.
    pub fn get(&self, key: &Hash) -> Option<Hash> {
        let leaf = self.descend(key, |_| ())?;
        (leaf.key == *key).then_some(leaf.value)
    }

    /// Sets the value of `key` and returns the one that it had.
    pub fn insert(&mut self, key: Hash, value: Hash) -> Option<Hash> {
        let before = self.get(&key);
        if before != Some(value) {
            let leaf = Leaf { hash: leaf_hash(&key, &value), key, value };
            self.top = self.top.with(0, Arc::new(leaf));
        }
        if before.is_none() {
            self.len = self.len.saturating_add(1);
        }
        before
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &Hash) -> Option<Hash> {
        let before = self.get(key)?;
        self.top = self.top.without(0, key);
        self.len = self.len.saturating_sub(1);
        Some(before)
    }

    /// A proof of what the map says about `key`: its value, or that it has none.
    pub fn prove(&self, key: &Hash) -> MapProof {
        let mut siblings = Vec::new();
        let end = self.descend(key, |sibling| siblings.push(sibling));
        let other = end.filter(|leaf| leaf.key != *key).map(|leaf| (leaf.key, leaf.value));
        MapProof { siblings, other }
    }

    /// Follows the bits of `key` to the end of its path, showing each sibling's hash to `pass`.
    fn descend(&self, key: &Hash, mut pass: impl FnMut(Hash)) -> Option<&Leaf> {
        let mut node = &self.top;
        let mut bits = bits(key);
        loop {
            node = match node {
                Node::Empty => return None,
                Node::Leaf(leaf) => return Some(leaf),
                Node::Branch(branch) => {
                    let (next, sibling) = match bits.next() {
                        Some(true) => (&branch.right, &branch.left),
                        _ => (&branch.left, &branch.right),
                    };
                    pass(sibling.hash());
                    next
                }
            };
        }
    }
}

impl PartialEq for MerkleMap {
    fn eq(&self, other: &Self) -> bool {
        self.root() == other.root()
    }
}

impl Eq for MerkleMap {}

impl fmt::Debug for MerkleMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MerkleMap({} pairs, root {})", self.len, self.root())
    }
}

impl Node {
    fn hash(&self) -> Hash {
        match self {
            Self::Empty => EMPTY,
            Self::Leaf(leaf) => leaf.hash,
            Self::Branch(branch) => branch.hash,
        }
    }

    /// The canonical node over two children: a lone leaf moves up, so that it sits at its shortest
    /// unique prefix after a removal as it did before the insertion.
    fn over(left: Self, right: Self) -> Self {
        match (&left, &right) {
            (_, Self::Empty) if !matches!(left, Self::Branch(_)) => left,
            (Self::Empty, Self::Leaf(_)) => right,
            _ => {
                let hash = branch_hash(&left.hash(), &right.hash());
                Self::Branch(Arc::new(Branch { hash, left, right }))
            }
        }
    }

    /// This subtree, `depth` bits below the top, with `leaf` in it.
    fn with(&self, depth: u8, leaf: Arc<Leaf>) -> Self {
        let deeper = depth.saturating_add(1);
        let (left, right) = match self {
            Self::Empty => return Self::Leaf(leaf),
            Self::Leaf(old) if old.key == leaf.key => return Self::Leaf(leaf),
            Self::Leaf(old) if bit(&old.key, depth) => (Self::Empty, self.clone()),
            Self::Leaf(_) => (self.clone(), Self::Empty),
            Self::Branch(branch) => (branch.left.clone(), branch.right.clone()),
        };
        if bit(&leaf.key, depth) {
            Self::over(left, right.with(deeper, leaf))
        } else {
            Self::over(left.with(deeper, leaf), right)
        }
    }

    /// This subtree, `depth` bits below the top, without `key`.
    fn without(&self, depth: u8, key: &Hash) -> Self {
        let deeper = depth.saturating_add(1);
        match self {
            Self::Leaf(leaf) if leaf.key == *key => Self::Empty,
            Self::Branch(branch) if bit(key, depth) => {
                Self::over(branch.left.clone(), branch.right.without(deeper, key))
            }
            Self::Branch(branch) => Self::over(branch.left.without(deeper, key), branch.right.clone()),
            other => other.clone(),
        }
    }
}

/// What a Merkle map with a known root says about one key: P6's "one fact without replay".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapProof {
    /// The hashes beside the key's path, from the root down.
    pub siblings: Vec<Hash>,
    /// For an absent key: the key and the value of the one pair that sits at the end of its path, if
    /// that is not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<(Hash, Hash)>,
}

impl MapProof {
    /// True if the map with this root has `value` for `key` or, with `None`, does not have `key`.
    pub fn verify(&self, root: &Hash, key: &Hash, value: Option<&Hash>) -> bool {
        let depth = self.siblings.len();
        if depth > MAX_DEPTH {
            return false;
        }
        let end = match (value, &self.other) {
            (Some(value), None) => leaf_hash(key, value),
            (None, None) => EMPTY,
            // Another pair at the end of the path leaves no room for the key, but only if it is on
            // the key's path.
            (None, Some((other, value)))
                if other != key && bits(other).take(depth).eq(bits(key).take(depth)) =>
            {
                leaf_hash(other, value)
            }
            _ => return false,
        };
        let path: Vec<_> = self.siblings.iter().zip(bits(key)).collect();
        let top = path.into_iter().rev().fold(end, |node, (sibling, right)| {
            if right { branch_hash(sibling, &node) } else { branch_hash(&node, sibling) }
        });
        top == *root
    }
}

/// SHA-256(0x00 || key || value).
fn leaf_hash(key: &Hash, value: &Hash) -> Hash {
    tagged(0, key, value)
}

/// SHA-256(0x01 || left || right).
fn branch_hash(left: &Hash, right: &Hash) -> Hash {
    tagged(1, left, right)
}

fn tagged(tag: u8, a: &Hash, b: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([tag]).chain_update(a.0).chain_update(b.0).finalize().into())
}

/// Bit number `depth` of a key, the most significant bit of its first byte being number 0.
fn bit(key: &Hash, depth: u8) -> bool {
    let byte = key.0.get(usize::from(depth >> 3)).copied().unwrap_or_default();
    byte.wrapping_shl(u32::from(depth & 7)) & 0x80 != 0
}

/// All bits of a key in that order.
fn bits(key: &Hash) -> impl Iterator<Item = bool> {
    (0..=u8::MAX).map(|depth| bit(key, depth))
}
