//! What is a transaction to sign, and what is not.

use chain::{BitcoinDecoder, MAX_SIGNED_VSIZE, MIN_TRANSACTION_BYTES, finish};
use custody::Hash;
use custody::effects::{Decoder, OutPoint, Sats};
use proptest::prelude::*;

use crate::{Input, REGTEST, encode, encode_effects, on, outpoint, p2tr, refused, sha256d};

fn input(byte: u8) -> Input {
    (outpoint(byte), vec![], 0xffff_fffd)
}

fn plain() -> Vec<u8> {
    encode(2, &[input(1), input(2)], &[(5_000, p2tr(7)), (6_000, vec![0x6a])], 101)
}

#[test]
fn a_plain_transaction_is_read_whole() {
    let effects = on(REGTEST).decode(&plain()).unwrap();
    assert_eq!(effects.txid, sha256d(&plain()));
    assert_eq!((effects.version, effects.lock_time), (2, 101));
    assert_eq!(effects.inputs[1].outpoint, outpoint(2));
    assert_eq!(effects.inputs[1].sequence, 0xffff_fffd);
    assert_eq!((&effects.outputs[0].script, effects.outputs[0].amount), (&p2tr(7), Sats(5_000)));
    assert_eq!(effects.outputs.len(), 2);
    assert_eq!(encode_effects(&effects), plain());
}

#[test]
fn the_signed_size_is_that_of_the_signed_transaction() {
    for inputs in [1, 2, 3, 4, 252, 253, 300_u16] {
        let inputs: Vec<Input> =
            (0..inputs).map(|i| (OutPoint { txid: Hash([1; 32]), vout: i.into() }, vec![], 0)).collect();
        let raw = encode(2, &inputs, &[(5_000, p2tr(7))], 0);
        let signed = finish::attach(&raw, &vec![[7; 64]; inputs.len()]).unwrap();
        let signed: bitcoin::Transaction = bitcoin::consensus::deserialize(&signed).unwrap();
        assert_eq!(on(REGTEST).decode(&raw).unwrap().signed_vsize, signed.vsize() as u64);
    }
}

#[test]
fn bytes_that_are_more_or_less_than_one_transaction_are_refused() {
    let decoder = on(REGTEST);
    let whole = plain();
    assert!(decoder.decode(&whole).is_ok());
    refused(decoder.decode(&[&whole[..], &[0]].concat()), "does not parse");
    for end in MIN_TRANSACTION_BYTES..whole.len() {
        refused(decoder.decode(&whole[..end]), "does not parse");
    }
    refused(decoder.decode(&[]), "has 0 bytes");
}

#[test]
fn signed_transactions_are_refused() {
    let decoder = on(REGTEST);
    let with_witness = finish::attach(&plain(), &[[7; 64]; 2]).unwrap();
    refused(decoder.decode(&with_witness), "carries a witness");
    let with_script = (outpoint(2), vec![0x51], 0);
    refused(
        decoder.decode(&encode(2, &[input(1), with_script], &[(5_000, p2tr(7))], 0)),
        "input 1 has a script",
    );
}

#[test]
fn a_number_written_longer_than_needed_is_refused() {
    let mut raw = plain();
    assert_eq!(raw[4], 2, "the number of inputs");
    raw.splice(4..5, [0xfd, 2, 0]);
    refused(on(REGTEST).decode(&raw), "does not parse");
}

#[test]
fn inputs_and_outputs_are_needed() {
    let decoder = on(REGTEST);
    let wide = (5_000, vec![0x6a; 60]);
    // Without inputs, the count reads as the mark of a witness: marker 0, flag 1.
    let no_inputs =
        [&2_i32.to_le_bytes()[..], &[0, 1, 0], &encode(2, &[], std::slice::from_ref(&wide), 0)[5..]].concat();
    refused(decoder.decode(&no_inputs), "at least one input and one output");
    refused(decoder.decode(&encode(2, &[input(1), input(2)], &[], 0)), "at least one input and one output");
    assert!(decoder.decode(&encode(2, &[input(1)], &[wide], 0)).is_ok());
}

#[test]
fn an_output_is_spent_once_and_exists() {
    let decoder = on(REGTEST);
    let pay = [(5_000, p2tr(7))];
    let same_but_other_sequence = (outpoint(1), vec![], 5);
    refused(
        decoder.decode(&encode(2, &[input(1), same_but_other_sequence], &pay, 0)),
        "what another input spends",
    );
    let sibling = (OutPoint { vout: 2, ..outpoint(1) }, vec![], 0);
    assert!(decoder.decode(&encode(2, &[input(1), sibling], &pay, 0)).is_ok());

    let null = OutPoint { txid: Hash([0; 32]), vout: u32::MAX };
    refused(decoder.decode(&encode(2, &[(null, vec![], 0)], &pay, 0)), "spends nothing");
    let nearly = OutPoint { vout: u32::MAX - 1, ..null };
    assert!(decoder.decode(&encode(2, &[(nearly, vec![], 0)], &pay, 0)).is_ok());
}

#[test]
fn amounts_are_bitcoin_that_can_exist() {
    let pays = |amounts: &[u64]| {
        let outputs: Vec<_> = amounts.iter().map(|amount| (*amount, p2tr(7))).collect();
        on(REGTEST).decode(&encode(2, &[input(1)], &outputs, 0))
    };
    assert!(pays(&[Sats::MAX.0]).is_ok());
    refused(pays(&[Sats::MAX.0 + 1]), "more bitcoin than can exist");
    assert!(pays(&[Sats::MAX.0 - 1, 1]).is_ok());
    refused(pays(&[Sats::MAX.0, 1]), "more bitcoin than can exist");
    refused(pays(&[u64::MAX, 2]), "more bitcoin than can exist");
}

#[test]
fn a_transaction_of_64_bytes_is_refused() {
    let sized = |script| encode(2, &[input(1)], &[(5_000, vec![0x6a; script])], 0);
    assert_eq!(sized(4).len(), 64);
    refused(on(REGTEST).decode(&sized(4)), "has 64 bytes");
    assert_eq!(sized(5).len(), MIN_TRANSACTION_BYTES);
    assert!(on(REGTEST).decode(&sized(5)).is_ok());
}

#[test]
fn the_signed_size_is_bounded() {
    // 4 × (62 + 4 + script) + 2 + 66 weight units: 100,000 vB with a script of 99,917 bytes.
    let sized = |script| on(REGTEST).decode(&encode(2, &[input(1)], &[(5_000, vec![0x6a; script])], 0));
    let largest = (0..100_000).rev().find(|script| sized(*script).is_ok()).unwrap();
    assert_eq!(sized(largest).unwrap().signed_vsize, MAX_SIGNED_VSIZE);
    refused(sized(largest + 1), "will have 100001 vB");
    refused(sized(200_000), "at most 100000 are allowed");
}

#[test]
fn an_unknown_chain_is_named() {
    refused(
        BitcoinDecoder::new("bip122:00000000000000000000000000000000"),
        "`bip122:00000000000000000000000000000000`",
    );
    refused(BitcoinDecoder::new("eip155:1"), "`eip155:1` is not one of");
    refused(BitcoinDecoder::new(""), "regtest");
}

prop_compose! {
    fn inputs()(
        inputs in prop::collection::btree_map((any::<[u8; 32]>(), any::<u32>()), any::<u32>(), 1..300)
    ) -> Vec<Input> {
        inputs.into_iter().map(|((txid, vout), sequence)| {
            (OutPoint { txid: Hash(txid), vout }, vec![], sequence)
        }).collect()
    }
}

prop_compose! {
    fn outputs()(
        outputs in prop::collection::vec((0..Sats::MAX.0 / 300, prop::collection::vec(any::<u8>(), 5..300)), 1..300)
    ) -> Vec<(u64, Vec<u8>)> { outputs }
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(
        version: i32, lock_time: u32, inputs in inputs(), outputs in outputs()
    ) {
        let raw = encode(version, &inputs, &outputs, lock_time);
        let effects = on(REGTEST).decode(&raw).unwrap();
        prop_assert_eq!(effects.version, version);
        prop_assert_eq!(effects.inputs.len(), inputs.len());
        prop_assert_eq!(effects.outputs.len(), outputs.len());
        prop_assert_eq!(encode_effects(&effects), raw);
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
    ) {
        let mut raw = plain();
        for (place, byte) in changes {
            *place.get_mut(&mut raw[..]) = byte;
        }
        if let Ok(effects) = on(REGTEST).decode(&raw) {
            prop_assert_eq!(encode_effects(&effects), raw);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = on(REGTEST).decode(&raw);
    }
}
