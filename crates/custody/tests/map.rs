//! The Merkle map against the vectors (made by the reference of `docs/spec/state-map.md`, in another
//! language) and against a naive implementation of the same definition on random contents.

use std::collections::BTreeMap;

use custody::Hash;
use custody::map::{EMPTY, MAX_DEPTH, MapProof, MerkleMap};
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

fn vectors<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = format!("{}/../../vectors/state-map/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Contents {
    name: String,
    pairs: Vec<(Hash, Hash)>,
    root: Hash,
}

#[derive(Deserialize)]
struct Step {
    op: String,
    key: Hash,
    value: Option<Hash>,
    root: Hash,
}

#[derive(Deserialize)]
struct ProofCase {
    name: String,
    root: Hash,
    key: Hash,
    value: Option<Hash>,
    proof: MapProof,
    valid: bool,
}

fn map(pairs: &[(Hash, Hash)]) -> MerkleMap {
    let mut map = MerkleMap::new();
    for (key, value) in pairs {
        map.insert(*key, *value);
    }
    map
}

#[test]
fn contents_have_the_roots_of_the_vectors() {
    for case in vectors::<Vec<Contents>>("contents.json") {
        let map = map(&case.pairs);
        assert_eq!(map.root(), case.root, "{}", case.name);
        assert_eq!(map.len(), case.pairs.len(), "{}", case.name);
    }
}

#[test]
fn steps_have_the_roots_of_the_vectors() {
    let mut map = MerkleMap::new();
    for (i, step) in vectors::<Vec<Step>>("steps.json").into_iter().enumerate() {
        match (step.op.as_str(), step.value) {
            ("insert", Some(value)) => map.insert(step.key, value),
            ("remove", None) => map.remove(&step.key),
            other => panic!("step {i}: {other:?}"),
        };
        assert_eq!(map.root(), step.root, "step {i}");
    }
}

#[test]
fn proofs_have_the_verdicts_of_the_vectors() {
    for case in vectors::<Vec<ProofCase>>("proofs.json") {
        let verdict = case.proof.verify(&case.root, &case.key, case.value.as_ref());
        assert_eq!(verdict, case.valid, "{}", case.name);
    }
}

/// `docs/spec/state-map.md` §1, as it stands there: from the pairs alone, without a tree in memory.
fn naive(pairs: &[(Hash, Hash)], depth: usize) -> Hash {
    let hash = |tag: u8, a: &Hash, b: &Hash| Hash(Sha256::digest([&[tag][..], &a.0, &b.0].concat()).into());
    match pairs {
        [] => Hash([0; 32]),
        [(key, value)] => hash(0, key, value),
        _ => {
            let bit = |key: &Hash| key.0[depth / 8] >> (7 - depth % 8) & 1 == 1;
            let (right, left): (Vec<_>, Vec<_>) = pairs.iter().partition(|(key, _)| bit(key));
            hash(1, &naive(&left, depth + 1), &naive(&right, depth + 1))
        }
    }
}

/// Keys that are random, and keys that share long prefixes with each other.
fn key() -> impl Strategy<Value = Hash> {
    let random = any::<[u8; 32]>().prop_map(Hash);
    let near = (0..256usize).prop_map(|i| {
        let mut key = [0; 32];
        key[i / 8] = 0x80 >> (i % 8);
        Hash(key)
    });
    let few = (0..8u8).prop_map(|i| Hash([i; 32]));
    prop_oneof![4 => random, 2 => near, 2 => few]
}

fn value() -> impl Strategy<Value = Hash> {
    (0..4u8).prop_map(|i| Hash([i; 32]))
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Hash, Hash),
    Remove(Hash),
    /// Removes the n-th of the keys that are present.
    RemovePresent(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (key(), value()).prop_map(|(key, value)| Op::Insert(key, value)),
        1 => key().prop_map(Op::Remove),
        2 => any::<usize>().prop_map(Op::RemovePresent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Any history of changes agrees with a plain map in what it returns, and with the naive root.
    #[test]
    fn histories_agree_with_the_naive_reference(ops in prop::collection::vec(op(), 0..60)) {
        let (mut map, mut model) = (MerkleMap::new(), BTreeMap::new());
        for op in ops {
            match op {
                Op::Insert(key, value) => {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                }
                Op::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                Op::RemovePresent(n) => {
                    if let Some(&key) = model.keys().nth(n % model.len().max(1)) {
                        prop_assert_eq!(map.remove(&key), model.remove(&key));
                    }
                }
            }
            prop_assert_eq!(map.len(), model.len());
            prop_assert_eq!(map.is_empty(), model.is_empty());
        }
        let pairs: Vec<_> = model.iter().map(|(key, value)| (*key, *value)).collect();
        prop_assert_eq!(map.root(), naive(&pairs, 0));
    }
}

proptest! {
    #[test]
    fn order_does_not_matter(
        pairs in prop::collection::btree_map(key(), value(), 0..40)
            .prop_map(|pairs| pairs.into_iter().collect::<Vec<_>>()),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let mut other = pairs.clone();
        other.reverse();
        if !other.is_empty() {
            let middle = shuffled.index(other.len());
            other.rotate_left(middle);
        }
        prop_assert_eq!(map(&pairs), map(&other));
    }

    /// Removing what was inserted gives the old root back, also when it made the trie deeper; and a
    /// clone taken before does not notice.
    #[test]
    fn insert_and_remove_restore_the_root(
        pairs in prop::collection::vec((key(), value()), 0..20), key in key(), value in value(),
    ) {
        let mut before = map(&pairs);
        before.remove(&key);
        let (root, mut after) = (before.root(), before.clone());
        after.insert(key, value);
        prop_assert_ne!(after.root(), root);
        prop_assert_eq!(after.get(&key), Some(value));
        prop_assert_eq!((before.root(), before.get(&key)), (root, None));
        after.remove(&key);
        prop_assert_eq!(after.root(), root);
    }

    /// Proofs show what is so, and nothing else: not another value, key, root, nor with any part
    /// altered, dropped, added or exchanged.
    #[test]
    fn proofs_show_only_what_is_so(
        pairs in prop::collection::vec((key(), value()), 0..20), absent in key(), flip in any::<u8>(),
    ) {
        let map = map(&pairs);
        for key in pairs.iter().map(|(key, _)| *key).chain([absent]) {
            let (root, value, proof) = (map.root(), map.get(&key), map.prove(&key));
            let text = serde_json::to_string(&proof).unwrap();
            prop_assert_eq!(&serde_json::from_str::<MapProof>(&text).unwrap(), &proof);
            prop_assert!(proof.siblings.len() <= MAX_DEPTH);
            prop_assert!(proof.verify(&root, &key, value.as_ref()));

            let claims = [None, Some(Hash([9; 32])), Some(Hash([0; 32])), Some(Hash([1; 32]))];
            for claim in claims.into_iter().filter(|claim| *claim != value) {
                prop_assert!(!proof.verify(&root, &key, claim.as_ref()));
            }
            let verify = |proof: MapProof| proof.verify(&root, &key, value.as_ref());
            let flipped = |hash: Hash| {
                let mut hash = hash;
                hash.0[usize::from(flip) / 8] ^= 1 << (flip % 8);
                hash
            };
            prop_assert!(!proof.verify(&flipped(root), &key, value.as_ref()));
            for i in 0..proof.siblings.len() {
                let mut altered = proof.clone();
                altered.siblings[i] = flipped(altered.siblings[i]);
                prop_assert!(!verify(altered));
            }
            let mut shorter = proof.clone();
            if shorter.siblings.pop().is_some() {
                prop_assert!(!verify(shorter));
            }
            let mut longer = proof.clone();
            longer.siblings.push(EMPTY);
            // (Below an empty end, more emptiness would be a branch: another hash.)
            prop_assert!(!verify(longer));
            let with = |other| verify(MapProof { other, ..proof.clone() });
            for other in [None, Some((absent, Hash([9; 32]))), Some((key, Hash([9; 32])))] {
                prop_assert!(other == proof.other || !with(other));
            }
            if let Some((key, value)) = proof.other {
                prop_assert!(!with(Some((flipped(key), value))));
                prop_assert!(!with(Some((key, flipped(value)))));
            }
        }
    }
}

/// A branch is not a leaf: the hashes of the two kinds never mix, though both are over 64 bytes.
#[test]
fn a_branch_cannot_be_shown_as_a_pair() {
    let map = map(&[(Hash([0; 32]), Hash([1; 32])), (Hash([0xff; 32]), Hash([2; 32]))]);
    let left = map.prove(&Hash([0xff; 32])).siblings[0];
    let right = map.prove(&Hash([0; 32])).siblings[0];
    let forged = MapProof { siblings: Vec::new(), other: None };
    assert!(!forged.verify(&map.root(), &left, Some(&right)));
}

#[test]
fn hashed_keys_make_a_trie_of_logarithmic_depth() {
    let mut map = MerkleMap::new();
    for i in 0..4_096u32 {
        map.insert(Hash::sha256(&i.to_be_bytes()), Hash([1; 32]));
    }
    let deepest = (0..4_096u32).map(|i| map.prove(&Hash::sha256(&i.to_be_bytes())).siblings.len());
    assert!(deepest.max().unwrap() < 40);
}
