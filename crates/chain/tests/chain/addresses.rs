//! Own addresses, others' addresses, descriptors.

use bitcoin::ScriptBuf;
use bitcoin::bip32::Xpub;
use bitcoin::key::{TapTweak as _, XOnlyPublicKey};
use bitcoin::secp256k1::Message;
use chain::address::KeyOrigin;
use custody::effects::{AccountKey, Branch, Decoder, Sats};
use custody::{Blob, Hash};
use miniscript::{Descriptor, DescriptorPublicKey};

use crate::{MAINNET, Owner, REGTEST, SIGNET, TESTNET3, TESTNET4, on, p2tr, refused, unhex, vectors};

const BRANCHES: [Branch; 2] = [Branch::Receive, Branch::Change];

#[test]
fn addresses_are_those_of_bip_86() {
    let bip86 = vectors("bip86/vectors.json");
    let xpub: Xpub = bip86["accountXpub"].as_str().unwrap().parse().unwrap();
    let account = AccountKey {
        public: Blob(xpub.public_key.serialize().to_vec()),
        chain_code: Hash(xpub.chain_code.to_bytes()),
    };
    let decoder = on(MAINNET);
    for vector in bip86["addresses"].as_array().unwrap() {
        let branch = BRANCHES[vector["branch"].as_u64().unwrap() as usize];
        let index = vector["index"].as_u64().unwrap() as u32;
        let script = decoder.own_script(&account, branch, index).unwrap();
        assert_eq!(script, unhex(&vector["scriptPubKey"]));
        assert_eq!(decoder.address(&script).unwrap(), vector["address"]);
        assert_eq!(decoder.address_script(vector["address"].as_str().unwrap()).unwrap(), script);
    }
}

#[test]
fn own_scripts_are_those_of_the_private_key_and_of_miniscript() {
    let decoder = on(REGTEST);
    let mut parities = std::collections::BTreeMap::<(u8, u8), u32>::new();
    for seed in 0..128 {
        let owner = Owner::new(seed);
        for branch in BRANCHES {
            let descriptor = decoder.descriptor(&owner.key(), None, branch).unwrap();
            let descriptor: Descriptor<DescriptorPublicKey> = descriptor.parse().unwrap();
            for index in [0, 1, seed * 7_919, (1 << 31) - 1] {
                let script = decoder.own_script(&owner.key(), branch, index).unwrap();
                let pair = owner.child(branch, index);
                let (key, _) = pair.tap_tweak(&owner.secp, None).to_keypair().x_only_public_key();
                assert_eq!(script, [&[0x51, 0x20][..], &key.serialize()].concat());
                let theirs = descriptor.at_derivation_index(index).unwrap().script_pubkey();
                assert_eq!(script, theirs.into_bytes());
                let child = pair.public_key().serialize()[0];
                *parities.entry((owner.key().public.0[0], child)).or_default() += 1;
            }
        }
    }
    assert_eq!(parities.len(), 4, "account and child, each with even and odd y");
    assert!(parities.values().all(|count| *count >= 100), "{parities:?}");
}

#[test]
fn hardened_indices_have_no_public_address() {
    let key = Owner::new(1).key();
    assert!(on(REGTEST).own_script(&key, Branch::Receive, (1 << 31) - 1).is_ok());
    refused(on(REGTEST).own_script(&key, Branch::Receive, 1 << 31), "2147483648 is hardened");
}

#[test]
fn an_account_is_a_compressed_curve_point() {
    let good = Owner::new(1).key();
    let with = |public: &[u8]| AccountKey { public: Blob(public.to_vec()), ..good.clone() };
    let point = bitcoin::secp256k1::PublicKey::from_slice(&good.public.0).unwrap();
    let off_curve = [&[2][..], &[5; 32]].concat();
    for public in [&[][..], &[2; 32], &off_curve, &point.serialize_uncompressed()] {
        let account = with(public);
        refused(on(REGTEST).own_script(&account, Branch::Receive, 0), "no compressed curve point");
        refused(on(REGTEST).descriptor(&account, None, Branch::Receive), "no compressed curve point");
        assert!(!on(REGTEST).schnorr_ok(&account, &[1; 32], &[1; 64]));
    }
    assert!(on(REGTEST).own_script(&good, Branch::Receive, 0).is_ok());
}

fn is_payable(script: &[u8]) -> bool {
    let script = ScriptBuf::from_bytes(script.to_vec());
    !script.is_witness_program()
        || script.is_p2wpkh()
        || script.is_p2wsh()
        || script.is_p2tr() && XOnlyPublicKey::from_slice(&script.as_bytes()[2..]).is_ok()
}

#[test]
fn addresses_of_others_are_those_of_bitcoin_core() {
    let (mut paid, mut not_paid) = (0, 0);
    for vector in vectors("addresses/key_io_valid.json").as_array().unwrap() {
        let (address, script) = (vector[0].as_str().unwrap(), unhex(&vector[1]));
        let chain = match vector[2]["chain"].as_str().unwrap() {
            "main" => MAINNET,
            "testnet4" => TESTNET4,
            "signet" => SIGNET,
            "regtest" => REGTEST,
            other => panic!("{other}"),
        };
        if is_payable(&script) {
            paid += 1;
            assert_eq!(on(chain).address_script(address).unwrap(), script);
            assert_eq!(on(chain).address(&script).unwrap(), address.to_string());
        } else {
            not_paid += 1;
            refused(on(chain).address_script(address), "spend from");
        }
        let (other, name) = if chain == MAINNET { (REGTEST, "mainnet") } else { (MAINNET, "testnet4") };
        let name = if address.starts_with("bcrt") { "regtest" } else { name };
        refused(on(other).address_script(address), "this deployment pays on");
        refused(on(other).address_script(address), name);
    }
    assert!(paid >= 20 && not_paid >= 5, "{paid} {not_paid}");
    for invalid in vectors("addresses/key_io_invalid.json").as_array().unwrap() {
        for chain in [MAINNET, TESTNET3, TESTNET4, SIGNET, REGTEST] {
            refused(on(chain).address_script(invalid.as_str().unwrap()), "is malformed");
        }
    }
}

#[test]
fn addresses_of_test_networks_do_not_pay_on_regtest() {
    let testnet = on(TESTNET3).address(&p2tr(7)).unwrap();
    refused(on(REGTEST).address_script(&testnet), "testnet3, testnet4, signet");
    refused(on(REGTEST).address_script(&testnet), "pays on regtest");
}

#[test]
fn scripts_without_address_say_so() {
    refused(on(REGTEST).address(&[0x6a, 1, 2]), "has no address");
}

#[test]
fn descriptors_name_origin_network_and_branch() {
    let owner = Owner::new(3);
    let origin = KeyOrigin { fingerprint: [0xde, 0xad, 0, 0x0f], hardened_path: vec![86, 1, 0] };
    let receive = on(REGTEST).descriptor(&owner.key(), Some(&origin), Branch::Receive).unwrap();
    assert!(receive.starts_with("tr([dead000f/86h/1h/0h]tpub"), "{receive}");
    let change = on(MAINNET).descriptor(&owner.key(), None, Branch::Change).unwrap();
    assert!(change.starts_with("tr(xpub661MyMwAqRbc"), "depth 0, parent 0: {change}");
    assert!(change.contains("/1/*)#"), "{change}");
    // Miniscript refuses a wrong checksum, so reading the text checks ours.
    for text in [&receive, &change] {
        let (script, sum) = text.split_once('#').unwrap();
        let parsed: Descriptor<DescriptorPublicKey> = text.parse().unwrap();
        assert!(parsed.has_wildcard() && !parsed.is_multipath());
        assert!(
            format!("{}#{sum}", script.replace("/*)", "/*/1)"))
                .parse::<Descriptor<DescriptorPublicKey>>()
                .is_err()
        );
        let sum: String = sum.chars().rev().collect();
        assert!(format!("{script}#{sum}").parse::<Descriptor<DescriptorPublicKey>>().is_err());
    }
}

#[test]
fn dust_limits_are_those_of_bitcoin_core() {
    let script = |hex: &str| hex::decode(hex).unwrap();
    let p2pkh = script("76a914a31c06bd463e3923bc1aadbde48b16976c08071788ac");
    let p2sh = script("a914373b819a068f32b7a6b38b6b38729647cfde01c287");
    let p2wpkh = [&[0, 20][..], &[1; 20]].concat();
    let p2wsh = [&[0, 32][..], &[1; 32]].concat();
    // Bitcoin Core, policy.cpp and its documentation of the dust limits.
    let limits = [(p2pkh, 546), (p2sh, 540), (p2wpkh, 294), (p2wsh, 330), (p2tr(1), 330), (vec![0x6a], 0)];
    for (script, limit) in limits {
        assert_eq!(on(REGTEST).dust_limit(&script), Sats(limit), "{}", hex::encode(script));
    }
}

#[test]
fn schnorr_signatures_of_the_account_verify() {
    for seed in 0..16 {
        let owner = Owner::new(seed);
        let pair = owner.account.to_keypair(&owner.secp);
        let message = [7; 32];
        let signature =
            owner.secp.sign_schnorr_no_aux_rand(&Message::from_digest(message), &pair).serialize();
        let decoder = on(REGTEST);
        assert!(decoder.schnorr_ok(&owner.key(), &message, &signature));
        assert!(!decoder.schnorr_ok(&owner.key(), &[8; 32], &signature));
        assert!(!decoder.schnorr_ok(&Owner::new(seed + 1).key(), &message, &signature));
        assert!(!decoder.schnorr_ok(&owner.key(), &message, &signature[..63]));
        assert!(!decoder.schnorr_ok(&owner.key(), &message, &[&signature[..], &[0]].concat()));
        let mut flipped = signature;
        flipped[40] ^= 1;
        assert!(!decoder.schnorr_ok(&owner.key(), &message, &flipped));
    }
}
