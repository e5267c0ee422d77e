//! The Merkle tree of the log against another implementation (Cloudflare's `tlog_tiles`), and against
//! every way of spoiling a proof that we can think of.

use custody::Hash;
use custody::tree::{
    Frontier, empty_root, leaf_hash, prove_consistency, prove_inclusion, root_of, verify_consistency,
    verify_inclusion,
};
use tlog_tiles::tlog;

/// Big enough for every shape of a tree of up to six levels, and the step over a power of two.
const SIZES: u64 = 70;

fn entry(i: u64) -> Vec<u8> {
    format!("entry {i}").into_bytes()
}

fn leaves(n: u64) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(&entry(i))).collect()
}

/// All hashes of the first `n` entries, as the other implementation stores them.
#[derive(Default)]
struct Oracle {
    stored: Vec<tlog::Hash>,
}

impl tlog::HashReader for Oracle {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|&i| self.stored[usize::try_from(i).unwrap()]).collect())
    }
}

impl Oracle {
    fn of(n: u64) -> Self {
        let mut oracle = Self::default();
        for i in 0..n {
            let hashes = tlog::stored_hashes(i, &entry(i), &oracle).unwrap();
            oracle.stored.extend(hashes);
        }
        oracle
    }

    fn root(&self, n: u64) -> Hash {
        Hash(tlog::tree_hash(n, self).unwrap().0)
    }
}

fn ours(hashes: Vec<tlog::Hash>) -> Vec<Hash> {
    hashes.into_iter().map(|hash| Hash(hash.0)).collect()
}

/// Every proof that differs from `proof` a little: truncated, extended, one bit flipped, swapped.
fn spoilt(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = vec![[proof, &[Hash([7; 32])]].concat(), [&[Hash([7; 32])], proof].concat()];
    if let Some((last, _)) = proof.split_last() {
        all.push([proof, &[*last]].concat());
        all.push(proof[1..].to_vec());
        all.push(proof[..proof.len() - 1].to_vec());
    }
    for i in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[i].0[31] ^= 1;
        all.push(flipped);
        let mut swapped = proof.to_vec();
        swapped.swap(0, i);
        all.push(swapped);
    }
    all.retain(|other| other != proof);
    all
}

#[test]
fn roots_agree_with_the_other_implementation() {
    let oracle = Oracle::of(SIZES);
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), empty_root());
    assert_eq!(empty_root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for n in 1..=SIZES {
        frontier.push(&entry(n - 1));
        assert_eq!(frontier.size(), n);
        assert_eq!(frontier.root(), oracle.root(n), "size {n}");
        assert_eq!(root_of(&leaves(n)), oracle.root(n), "size {n}");
    }
}

#[test]
fn a_frontier_survives_serialisation_and_refuses_what_does_not_fit() {
    let mut frontier = Frontier::new();
    (0..11).for_each(|i| frontier.push(&entry(i)));
    let json = serde_json::to_string(&frontier).unwrap();
    let mut back: Frontier = serde_json::from_str(&json).unwrap();
    assert_eq!(back, frontier);
    back.push(&entry(11));
    assert_eq!(back.root(), root_of(&leaves(12)));
    for wrong in ["\"size\":12", "\"size\":10", "\"size\":0", "\"size\":15"] {
        let json = json.replace("\"size\":11", wrong);
        assert!(serde_json::from_str::<Frontier>(&json).is_err(), "{wrong}");
    }
}

#[test]
fn inclusion_proofs_agree_and_their_alterations_are_refused() {
    let oracle = Oracle::of(SIZES);
    for n in 1..=SIZES {
        let (leaves, root) = (leaves(n), oracle.root(n));
        for i in 0..n {
            let leaf = leaf_hash(&entry(i));
            let proof = prove_inclusion(&leaves, usize::try_from(i).unwrap()).unwrap();
            assert_eq!(proof, ours(tlog::prove_record(n, i, &oracle).unwrap()), "{i} of {n}");
            assert!(verify_inclusion(&leaf, i, n, &proof, &root), "{i} of {n}");

            for other in (0..=n + 1).filter(|&other| other != i) {
                assert!(!verify_inclusion(&leaf, other, n, &proof, &root), "{i} as {other} of {n}");
            }
            assert!(!verify_inclusion(&leaf_hash(b"other"), i, n, &proof, &root));
            assert!(!verify_inclusion(&leaf, i, n, &proof, &Hash([7; 32])));
            for proof in spoilt(&proof) {
                assert!(!verify_inclusion(&leaf, i, n, &proof, &root), "{i} of {n}");
            }
        }
        assert_eq!(prove_inclusion(&leaves, usize::try_from(n).unwrap()), None);
    }
    assert!(!verify_inclusion(&empty_root(), 0, 0, &[], &empty_root()));
}

/// The verifiers accept exactly what the other implementation accepts, right and wrong sizes alike.
#[test]
fn inclusion_verdicts_agree_for_every_claimed_index_and_size() {
    let oracle = Oracle::of(20);
    for n in 1..=20 {
        let (leaves, root) = (leaves(n), oracle.root(n));
        for i in 0..n {
            let leaf = leaf_hash(&entry(i));
            let proof = prove_inclusion(&leaves, usize::try_from(i).unwrap()).unwrap();
            let theirs: Vec<_> = proof.iter().map(|hash| tlog::Hash(hash.0)).collect();
            for (size, index) in (1..=40).flat_map(|size| (0..size).map(move |i| (size, i))) {
                let (root, leaf) = (tlog::Hash(root.0), tlog::Hash(leaf.0));
                let expected = tlog::check_record(&theirs, size, root, index, leaf).is_ok();
                let found = verify_inclusion(&Hash(leaf.0), index, size, &proof, &Hash(root.0));
                assert_eq!(found, expected, "{i} of {n} as {index} of {size}");
            }
        }
    }
}

#[test]
fn consistency_proofs_agree_and_their_alterations_are_refused() {
    let oracle = Oracle::of(SIZES);
    for n in 1..=SIZES {
        let (leaves, root) = (leaves(n), oracle.root(n));
        for m in 1..=n {
            let old = oracle.root(m);
            let proof = prove_consistency(&leaves, usize::try_from(m).unwrap()).unwrap();
            assert_eq!(proof, ours(tlog::prove_tree(n, m, &oracle).unwrap()), "{m} to {n}");
            assert!(verify_consistency(m, &old, n, &root, &proof), "{m} to {n}");

            let wrong = Hash([7; 32]);
            assert!(!verify_consistency(m, &wrong, n, &root, &proof), "{m} to {n}");
            assert!(!verify_consistency(m, &old, n, &wrong, &proof), "{m} to {n}");
            for other in (0..=n + 1).filter(|&other| other != m) {
                assert!(!verify_consistency(other, &old, n, &root, &proof), "{m} to {n}");
            }
            for proof in spoilt(&proof) {
                assert!(!verify_consistency(m, &old, n, &root, &proof), "{m} to {n}");
            }
        }
        assert_eq!(prove_consistency(&leaves, usize::try_from(n + 1).unwrap()), None);
    }
}

#[test]
fn the_empty_tree_begins_every_tree_and_needs_no_proof() {
    let root = root_of(&leaves(5));
    assert_eq!(prove_consistency(&leaves(5), 0), Some(Vec::new()));
    assert!(verify_consistency(0, &empty_root(), 5, &root, &[]));
    assert!(verify_consistency(0, &empty_root(), 0, &empty_root(), &[]));
    assert!(!verify_consistency(0, &root, 5, &root, &[]));
    assert!(!verify_consistency(0, &empty_root(), 5, &root, &[root]));
    assert!(!verify_consistency(5, &root, 0, &empty_root(), &[]));
    assert!(!verify_consistency(5, &root, 4, &root, &[]));
}

/// A log that changed, dropped or inserted an entry has no consistency proof: whoever holds the old
/// root refuses what the changed log would present.
#[test]
fn changed_logs_are_not_consistent() {
    let honest = leaves(40);
    let old = root_of(&honest[..25]);
    let mut changed = honest.clone();
    changed[3] = leaf_hash(b"changed");
    let mut dropped = honest.clone();
    dropped.remove(3);
    let mut inserted = honest.clone();
    inserted.insert(3, leaf_hash(b"inserted"));
    for log in [changed, dropped, inserted] {
        let proof = prove_consistency(&log, 25).unwrap();
        let size = u64::try_from(log.len()).unwrap();
        assert!(!verify_consistency(25, &old, size, &root_of(&log), &proof));
    }
}

#[test]
fn the_largest_sizes_neither_overflow_nor_hang() {
    let leaf = leaf_hash(b"x");
    let path = vec![leaf; 70];
    assert!(!verify_inclusion(&leaf, u64::MAX - 1, u64::MAX, &path, &leaf));
    assert!(!verify_inclusion(&leaf, u64::MAX, u64::MAX, &path, &leaf));
    assert!(!verify_consistency(u64::MAX - 1, &leaf, u64::MAX, &leaf, &path));
    assert!(!verify_consistency(1 << 63, &leaf, u64::MAX, &leaf, &path));
}
