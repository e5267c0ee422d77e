//! Digests and signatures.

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::key::TapTweak as _;
use bitcoin::secp256k1::Message;
use chain::digest::{Spent, digests};
use chain::finish::{attach, verify_spend};
use custody::Hash;
use custody::effects::{Branch, Decoder, OutPoint, Sats};
use proptest::prelude::*;

use crate::{Input, Owner, REGTEST, encode, on, outpoint, p2tr, refused, unhex, vectors};

#[test]
fn digests_are_those_of_bip_341() {
    let bip341 = vectors("bip341/wallet-test-vectors.json");
    let mut checked = 0;
    for vector in bip341["keyPathSpending"].as_array().unwrap() {
        let raw = unhex(&vector["given"]["rawUnsignedTx"]);
        let spent: Vec<Spent> = vector["given"]["utxosSpent"]
            .as_array()
            .unwrap()
            .iter()
            .map(|spent| (unhex(&spent["scriptPubKey"]), Sats(spent["amountSats"].as_u64().unwrap())))
            .collect();
        let digests = digests(&raw, &spent).unwrap();
        for input in vector["inputSpending"].as_array().unwrap() {
            let digest = &digests[input["given"]["txinIndex"].as_u64().unwrap() as usize];
            let theirs = unhex(&input["intermediary"]["sigHash"]);
            let default = input["given"]["hashType"] == 0;
            assert_eq!(digest.as_bytes()[..] == theirs, default, "only SIGHASH_DEFAULT is ours");
            checked += u32::from(default);
        }
    }
    assert!(checked > 0);
}

/// BIP-341, "Common signature message", for a key path spend with `SIGHASH_DEFAULT`.
fn common_signature_message(
    (version, lock_time): (i32, u32),
    inputs: &[Input],
    outputs: &[(u64, Vec<u8>)],
    spent: &[Spent],
    index: u32,
) -> [u8; 32] {
    let sized = |script: &[u8]| [&[u8::try_from(script.len()).unwrap()][..], script].concat();
    let sha = |parts: Vec<Vec<u8>>| sha256::Hash::hash(&parts.concat()).to_byte_array();
    let tag = sha256::Hash::hash(b"TapSighash").to_byte_array();
    let outpoint = |o: &OutPoint| [&o.txid.0[..], &o.vout.to_le_bytes()].concat();
    let message = [
        &tag[..],
        &tag,
        &[0],
        &[0],
        &version.to_le_bytes(),
        &lock_time.to_le_bytes(),
        &sha(inputs.iter().map(|(o, ..)| outpoint(o)).collect()),
        &sha(spent.iter().map(|(_, amount)| amount.0.to_le_bytes().to_vec()).collect()),
        &sha(spent.iter().map(|(script, _)| sized(script)).collect()),
        &sha(inputs.iter().map(|(.., sequence)| sequence.to_le_bytes().to_vec()).collect()),
        &sha(outputs
            .iter()
            .map(|(amount, script)| [&amount.to_le_bytes()[..], &sized(script)].concat())
            .collect()),
        &[0],
        &index.to_le_bytes(),
    ];
    sha256::Hash::hash(&message.concat()).to_byte_array()
}

proptest! {
    #[test]
    fn digests_are_those_of_the_specification(
        version: i32,
        lock_time: u32,
        inputs in prop::collection::vec((any::<[u8; 32]>(), any::<u32>(), any::<u32>(), any::<u8>(), 0..1_u64 << 40), 1..8),
        outputs in prop::collection::vec((0..1_u64 << 40, prop::collection::vec(any::<u8>(), 5..80)), 1..5),
    ) {
        let spent: Vec<Spent> = inputs.iter().map(|(.., script, amount)| (p2tr(*script), Sats(*amount))).collect();
        let inputs: Vec<Input> = inputs.into_iter()
            .map(|(txid, vout, sequence, ..)| (OutPoint { txid: Hash(txid), vout }, vec![], sequence))
            .collect();
        let raw = encode(version, &inputs, &outputs, lock_time);
        for (i, digest) in (0..).zip(digests(&raw, &spent).unwrap()) {
            let ours = common_signature_message((version, lock_time), &inputs, &outputs, &spent, i);
            prop_assert_eq!(*digest.as_bytes(), ours);
        }
    }
}

/// A transaction of two inputs, what it spends, and its signatures.
fn signed() -> (Vec<u8>, Vec<Spent>, Vec<[u8; 64]>) {
    let owner = Owner::new(5);
    let places = [(Branch::Receive, 3), (Branch::Change, 9)];
    let spent: Vec<Spent> = places
        .iter()
        .map(|(branch, index)| (on(REGTEST).own_script(&owner.key(), *branch, *index).unwrap(), Sats(9_000)))
        .collect();
    let inputs = [(outpoint(1), vec![], 0xffff_fffd), (outpoint(2), vec![], 0xffff_fffd)];
    let raw = encode(2, &inputs, &[(15_000, p2tr(7))], 0);
    let signatures = digests(&raw, &spent)
        .unwrap()
        .iter()
        .zip(places)
        .map(|(digest, (branch, index))| {
            let pair = owner.child(branch, index).tap_tweak(&owner.secp, None).to_keypair();
            owner.secp.sign_schnorr_no_aux_rand(&Message::from_digest(*digest.as_bytes()), &pair).serialize()
        })
        .collect();
    (raw, spent, signatures)
}

#[test]
fn good_signatures_spend() {
    let (raw, spent, signatures) = signed();
    verify_spend(&raw, &spent, &signatures).unwrap();
}

#[test]
fn a_signature_is_for_its_input_its_amounts_and_its_transaction() {
    let (raw, spent, signatures) = signed();
    let swapped = [signatures[1], signatures[0]];
    refused(verify_spend(&raw, &spent, &swapped), "input 0 does not verify");
    refused(verify_spend(&raw, &spent, &[signatures[0], [0; 64]]), "input 1 does not verify");

    let mut other_amount = spent.clone();
    other_amount[1].1 = Sats(9_001);
    refused(verify_spend(&raw, &other_amount, &signatures), "input 0 does not verify");
    let mut other_script = spent.clone();
    other_script[1].0 = spent[0].0.clone();
    refused(verify_spend(&raw, &other_script, &signatures), "does not verify");
    let mut other_transaction = raw.clone();
    *other_transaction.last_mut().unwrap() = 1;
    refused(verify_spend(&other_transaction, &spent, &signatures), "input 0 does not verify");
}

#[test]
fn there_is_one_signature_and_one_spent_output_per_input() {
    let (raw, spent, signatures) = signed();
    refused(verify_spend(&raw, &spent, &signatures[..1]), "2 inputs but 1 signatures");
    refused(attach(&raw, &signatures[..1]), "2 inputs but 1 signatures");
    refused(attach(&raw, &[signatures[0]; 3]), "2 inputs but 3 signatures");
    refused(digests(&raw, &spent[..1]), "2 inputs but 1 spent outputs");
    refused(digests(&raw, &[spent[0].clone(), spent[1].clone(), spent[1].clone()]), "3 spent outputs");
}

#[test]
fn only_taproot_outputs_with_a_curve_point_are_spent() {
    let raw = encode(2, &[(outpoint(2), vec![], 0)], &[(5_000, p2tr(7))], 0);
    let p2wsh = [&[0, 32][..], &[7; 32]].concat();
    let off_curve = p2tr(5);
    for script in [vec![0x51], p2wsh, off_curve] {
        let spent = [(script, Sats(9_000))];
        let refusal = verify_spend(&raw, &spent, &[[7; 64]]);
        refused(refusal, "input 0 does not spend a Taproot output");
    }
}

#[test]
fn nothing_but_an_unsigned_transaction_is_signed() {
    let (raw, spent, signatures) = signed();
    let done = attach(&raw, &signatures).unwrap();
    refused(digests(&done, &spent), "carries a witness");
    refused(attach(&done, &signatures), "carries a witness");
    refused(digests(&[&raw[..], &[0]].concat(), &spent), "does not parse");
}

#[test]
fn the_witness_is_one_signature_per_input() {
    let (raw, spent, signatures) = signed();
    let done: bitcoin::Transaction =
        bitcoin::consensus::deserialize(&attach(&raw, &signatures).unwrap()).unwrap();
    for (input, signature) in done.input.iter().zip(&signatures) {
        assert_eq!(input.witness.to_vec(), vec![signature.to_vec()]);
    }
    assert_eq!(done.compute_txid().to_byte_array(), on(REGTEST).decode(&raw).unwrap().txid.0);
    assert_eq!(spent.len(), done.input.len());
}
