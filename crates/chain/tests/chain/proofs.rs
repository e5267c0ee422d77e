//! Proofs of confirmation.

use builder::proof::prove;
use chain::{MAX_BRANCH, MAX_HEADERS, MAX_PARENT_BYTES};
use custody::effects::{ConfirmationProof, Confirmed, DecodeError, Decoder, PinnedHeader};
use custody::{Blob, Hash};

use crate::{MAINNET, REGTEST, TESTNET3, encode, on, outpoint, p2tr, refused, sha256d, unhex, vectors};

/// The compact target of regtest, met by every second hash.
const EASY: u32 = 0x207f_ffff;

const PIN: PinnedHeader = PinnedHeader { hash: Hash([9; 32]), height: 100, bits: EASY };

type Header = [u8; 80];

fn header(parent: Hash, root: Hash, bits: u32, nonce: u32) -> Header {
    let parts =
        [&4_i32.to_le_bytes()[..], &parent.0, &root.0, &1_700_000_000_u32.to_le_bytes(), &bits.to_le_bytes()];
    [parts.concat(), nonce.to_le_bytes().to_vec()].concat().try_into().unwrap()
}

/// Whether the hash of a header of target [`EASY`] meets it: its highest bit is clear.
fn meets(header: &Header) -> bool {
    sha256d(header).0[31] < 0x80
}

fn mine(parent: Hash, root: Hash) -> Header {
    (0..).map(|nonce| header(parent, root, EASY, nonce)).find(meets).unwrap()
}

/// `count` headers above [`PIN`], of which the one numbered `block` has the Merkle root `root`.
fn chain_of(count: usize, block: usize, root: Hash) -> Vec<Header> {
    let mut parent = PIN.hash;
    (0..count)
        .map(|i| {
            let header = mine(parent, if i == block { root } else { Hash([i as u8; 32]) });
            parent = sha256d(&header);
            header
        })
        .collect()
}

/// Any parent: with a script, of any size, unlike what we sign.
fn parent_of(bytes: usize) -> Vec<u8> {
    let raw = encode(1, &[(outpoint(1), vec![0x51; 3], 0)], &[(5_000, p2tr(7)), (1, vec![])], 0);
    let missing = bytes - raw.len();
    let script = if missing > 0xffff { missing - 4 } else { missing };
    let grown =
        encode(1, &[(outpoint(1), vec![0x51; 3], 0)], &[(5_000, p2tr(7)), (1, vec![0x6a; script])], 0);
    assert_eq!(grown.len(), bytes);
    grown
}

fn parent() -> Vec<u8> {
    parent_of(150)
}

fn root_of(leaf: Hash, position: u32, branch: &[Hash]) -> Hash {
    branch.iter().enumerate().fold(leaf, |node, (level, sibling)| {
        let right = (position >> level) & 1 == 1;
        let (left, right) = if right { (sibling, &node) } else { (&node, sibling) };
        sha256d(&[left.0, right.0].concat())
    })
}

/// A proof of `raw` with three headers, its own the second.
fn proof_of(raw: Vec<u8>, position: u32, branch: Vec<Hash>) -> ConfirmationProof {
    let headers = chain_of(3, 1, root_of(sha256d(&raw), position, &branch));
    ConfirmationProof { transaction: Blob(raw), position, branch, headers: Blob(headers.concat()), block: 1 }
}

fn proof() -> ConfirmationProof {
    proof_of(parent(), 2, vec![Hash([1; 32]), Hash([2; 32])])
}

fn check(proof: &ConfirmationProof) -> Result<Confirmed, DecodeError> {
    on(REGTEST).confirmed(proof, &PIN)
}

#[test]
fn a_good_proof_tells_height_depth_and_effects() {
    let confirmed = check(&proof()).unwrap();
    assert_eq!((confirmed.height, confirmed.depth), (102, 2));
    assert_eq!(confirmed.effects.txid, sha256d(&parent()));
    assert_eq!(confirmed.effects.outputs[0].script, p2tr(7));
    assert_eq!(confirmed.effects.inputs[0].outpoint, outpoint(1));
}

#[test]
fn the_branch_leads_to_the_named_block() {
    for block in [0, 2] {
        refused(check(&ConfirmationProof { block, ..proof() }), "the branch does not lead to header");
    }
    for block in [3, u32::MAX] {
        refused(check(&ConfirmationProof { block, ..proof() }), "there is no header");
    }
    let other = parent_of(151);
    refused(check(&ConfirmationProof { transaction: Blob(other), ..proof() }), "does not lead to header 1");
    refused(check(&ConfirmationProof { position: 3, ..proof() }), "does not lead to header 1");
    refused(
        check(&ConfirmationProof { branch: vec![Hash([1; 32])], position: 0, ..proof() }),
        "does not lead",
    );
}

#[test]
fn a_position_is_within_its_branch() {
    for position in [4, 6, 1 << 31 | 2] {
        refused(check(&ConfirmationProof { position, ..proof() }), "is not within the branch");
    }
    assert!(check(&proof_of(parent(), 3, vec![Hash([1; 32]), Hash([2; 32])])).is_ok());
}

#[test]
fn a_branch_has_at_most_15_levels() {
    let branch = |levels: usize| (1..=levels).map(|i| Hash([i as u8; 32])).collect::<Vec<_>>();
    assert!(check(&proof_of(parent(), (1 << 15) - 1, branch(MAX_BRANCH))).is_ok());
    refused(check(&proof_of(parent(), 5, branch(MAX_BRANCH + 1))), "more than 15 hashes");
}

#[test]
fn a_transaction_is_not_its_own_left_sibling() {
    let txid = sha256d(&parent());
    assert!(check(&proof_of(parent(), 0, vec![txid])).is_ok(), "the last of an odd level");
    refused(check(&proof_of(parent(), 1, vec![txid])), "CVE-2012-2459");
}

#[test]
fn an_inner_node_is_not_taken_for_a_transaction() {
    let sized = |script| encode(2, &[(outpoint(1), vec![], 0)], &[(5_000, vec![0x6a; script])], 0);
    assert_eq!(sized(4).len(), 64);
    refused(check(&proof_of(sized(4), 0, vec![])), "has 64 bytes");
    assert!(check(&proof_of(sized(5), 0, vec![])).is_ok());
    // Any two hashes are 64 bytes.
    refused(check(&proof_of([[1; 32], [2; 32]].concat(), 0, vec![])), "has 64 bytes");
}

#[test]
fn a_parent_is_no_larger_than_a_block_and_has_no_witness() {
    assert!(check(&proof_of(parent_of(MAX_PARENT_BYTES), 0, vec![])).is_ok());
    refused(check(&proof_of(parent_of(MAX_PARENT_BYTES + 1), 0, vec![])), "at most 1000000 are allowed");
    let unsigned = encode(2, &[(outpoint(1), vec![], 0)], &[(5_000, p2tr(7))], 0);
    let signed = chain::finish::attach(&unsigned, &[[7; 64]]).unwrap();
    refused(check(&proof_of(signed, 0, vec![])), "carries a witness");
    let inflated = encode(2, &[(outpoint(1), vec![], 0)], &[(u64::MAX, p2tr(7))], 0);
    refused(check(&proof_of(inflated, 0, vec![])), "more bitcoin than can exist");
}

#[test]
fn headers_connect_from_the_pinned_one_up() {
    let good = proof();
    let swap = |a: usize, b: usize| {
        let mut headers: Vec<_> = good.headers.0.chunks(80).collect();
        headers.swap(a, b);
        ConfirmationProof { headers: Blob(headers.concat()), ..good.clone() }
    };
    refused(check(&swap(0, 1)), "header 0 does not follow");
    refused(check(&swap(1, 2)), "header 1 does not follow");
    let other_pin = PinnedHeader { hash: Hash([8; 32]), ..PIN };
    refused(on(REGTEST).confirmed(&good, &other_pin), "header 0 does not follow");
}

#[test]
fn headers_are_whole_and_bounded_in_number() {
    let good = proof();
    let cut =
        |end: usize| ConfirmationProof { headers: Blob(good.headers.0[..end].to_vec()), ..good.clone() };
    refused(check(&cut(239)), "headers are not whole");
    refused(check(&cut(80)), "there is no header 1");
    refused(check(&cut(0)), "there is no header 1");
    assert_eq!(check(&cut(160)).unwrap().depth, 1);

    let root = sha256d(&parent());
    let long = |count| ConfirmationProof {
        transaction: Blob(parent()),
        position: 0,
        branch: vec![],
        headers: Blob(chain_of(count, 0, root).concat()),
        block: 0,
    };
    assert_eq!(check(&long(MAX_HEADERS)).unwrap().depth, 2_100);
    refused(check(&long(MAX_HEADERS + 1)), "has 2101 headers");
}

#[test]
fn a_header_has_the_work_that_it_claims() {
    let root = sha256d(&parent());
    let with = |header: Header| {
        let headers = Blob(header.to_vec());
        check(&ConfirmationProof {
            transaction: Blob(parent()),
            position: 0,
            branch: vec![],
            headers,
            block: 0,
        })
    };
    assert!(with(mine(PIN.hash, root)).is_ok());
    let lazy = (0..).map(|nonce| header(PIN.hash, root, EASY, nonce)).find(|header| !meets(header)).unwrap();
    refused(with(lazy), "lacks the work that it claims");
    // Zero, negative and overflowing targets; a harder one that this hash does not meet.
    for bits in [0, 0x0100_0000, 0x2080_0000, 0xffff_ffff, 0x1d00_ffff] {
        refused(with(header(PIN.hash, root, bits, 0)), "lacks the work that it claims");
    }
    for bits in [0x2100_ffff, 0x217f_ffff] {
        refused(with(header(PIN.hash, root, bits, 0)), "claims less work");
    }
}

#[test]
fn a_header_claims_no_less_work_than_the_pinned_one_allows() {
    let good = proof();
    let harder = PinnedHeader { bits: 0x207f_fffe, ..PIN };
    refused(on(REGTEST).confirmed(&good, &harder), "header 0 claims less work");
    refused(on(MAINNET).confirmed(&good, &PIN), "header 0 claims less work");
    refused(on(TESTNET3).confirmed(&good, &PIN), "header 0 claims less work");
}

#[test]
fn a_pinned_height_leaves_room_above() {
    let at = |height| on(REGTEST).confirmed(&proof(), &PinnedHeader { height, ..PIN });
    assert_eq!(at(u32::MAX - 3).unwrap().height, u32::MAX - 1);
    refused(at(u32::MAX - 2), "the pinned height is impossible");
}

#[test]
fn transactions_of_real_blocks_are_proved() {
    let mut proved = 0;
    for vector in vectors("blocks/blocks.json").as_array().unwrap() {
        let block = unhex(&vector["block"]);
        let head: Header = block[..80].try_into().unwrap();
        let pinned = PinnedHeader {
            hash: Hash(block[4..36].try_into().unwrap()),
            height: vector["height"].as_u64().unwrap_or(5_000) as u32 - 1,
            bits: u32::from_le_bytes(block[72..76].try_into().unwrap()),
        };
        let decoder = on(vector["chain"].as_str().unwrap());
        let parsed: bitcoin::Block = bitcoin::consensus::deserialize(&block).unwrap();
        for tx in &parsed.txdata {
            let txid: [u8; 32] = *tx.compute_txid().as_ref();
            let proof = prove(&block, Hash(txid), &[head], 0).unwrap();
            let confirmed = decoder.confirmed(&proof, &pinned).unwrap();
            assert_eq!(confirmed.effects.txid.0, txid);
            assert_eq!((confirmed.height, confirmed.depth), (pinned.height + 1, 1));
            proved += 1;
            for (i, sibling) in proof.branch.iter().enumerate() {
                let mut wrong = proof.clone();
                wrong.branch[i].0[0] = !sibling.0[0];
                refused(decoder.confirmed(&wrong, &pinned), "");
            }
        }
    }
    assert!(proved > 10);
}

#[test]
fn the_first_block_of_the_main_network_is_proved() {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
    let pinned = PinnedHeader {
        hash: Hash(*genesis.block_hash().as_ref()),
        height: 0,
        bits: genesis.header.bits.to_consensus(),
    };
    let head = "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bb\
        be680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299";
    let coinbase = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff0704ff\
        ff001d0104ffffffff0100f2052a0100000043410496b538e853519c726a2c91e61ec11600ae1390813a627c66fb8be7947be\
        63c52da7589379515d4e0a604f8141781e62294721166bf621e73a82cbf2342c858eeac00000000";
    let proof = ConfirmationProof {
        transaction: Blob(hex::decode(coinbase).unwrap()),
        position: 0,
        branch: vec![],
        headers: Blob(hex::decode(head).unwrap()),
        block: 0,
    };
    assert_eq!(on(MAINNET).confirmed(&proof, &pinned).unwrap().height, 1);
    // The same header is too easy where more work was pinned.
    let later = PinnedHeader { bits: 0x1c00_ffff, ..pinned };
    refused(on(MAINNET).confirmed(&proof, &later), "header 0 claims less work");
}

#[test]
fn a_proof_is_made_only_from_the_named_block() {
    let vector = &vectors("blocks/blocks.json")[0];
    let block = unhex(&vector["block"]);
    let head: Header = block[..80].try_into().unwrap();
    let parsed: bitcoin::Block = bitcoin::consensus::deserialize(&block).unwrap();
    let txid = Hash(*parsed.txdata[1].compute_txid().as_ref());
    assert_eq!(prove(&block, txid, &[[0; 80], head], 1).unwrap().position, 1);
    refused(prove(&block, txid, &[[0; 80], head], 0), "is not the one of header 0");
    refused(prove(&block, txid, &[head], 1), "is not the one of header 1");
    refused(prove(&block, Hash([3; 32]), &[head], 0), "does not hold the transaction");
    refused(prove(&block[..100], txid, &[head], 0), "is malformed");
}
