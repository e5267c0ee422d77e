//! The ceremony from outside: whom its shares serve, and what its record shows.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bitcoin::bip32::{DerivationPath, Xpriv};
use bitcoin::key::TapTweak as _;
use bitcoin::secp256k1::Secp256k1;
use ceremony::files::{SealedShare, SealedShares};
use ceremony::record::{self, PARTICIPANTS_MIN, PeopleError, RecordError};
use ceremony::secrets::ACCOUNTS_DEFAULT;
use ceremony::{CeremonyError, hold, slip39};
use chain::BitcoinDecoder;
use common::{Place, Random, device, devices, held, open, opened, place, plan, shows};
use custody::document::{CeremonyRecord, Document, Recovery, activation_message, share_context};
use custody::effects::{Branch, Decoder as _};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::statement::{Activate, Body};
use custody::{Blob, Hash, SLOTS_LIMIT, canon};
use fixtures::{World, name};
use keys::locked::LockedBytes;
use keys::round::{self, Binding, Signable};
use keys::seal::{self, SealDomain, SealKey};
use keys::share::HeldShare;
use rand_core::RngCore as _;

#[test]
fn a_share_opens_only_where_it_belongs() {
    let genesis = fixtures::genesis();
    let [outcome, other] = [1, 2].map(|seed| held(&genesis, 2, seed).unwrap());
    assert_eq!(outcome.sealed.shares.len(), 6);
    for share in &outcome.sealed.shares {
        let here = || place(&outcome.sealed, share, 2);
        let tries = |as_who: &str, place: &Place| open(&share.sealed.0, as_who, place).is_some();
        assert!(tries(share.holder.as_str(), &here()));
        for who in ["s1", "s2", "s3", "w1"].into_iter().filter(|who| *who != share.holder.as_str()) {
            // Neither as it is nor when its place is said to be that of the thief.
            assert!(!tries(who, &here()));
            assert!(!tries(who, &Place { holder: name(who), ..here() }));
            assert!(!tries(share.holder.as_str(), &Place { holder: name(who), ..here() }));
        }
        let elsewhere = [
            Place { slot: 1 - share.slot, ..here() },
            Place { ceremony: other.sealed.ceremony, ..here() },
            Place { genesis: Hash([1; 32]), ..here() },
            Place { threshold: 1, ..here() },
            Place { threshold: 3, ..here() },
        ];
        for place in &elsewhere {
            assert!(!tries(share.holder.as_str(), place));
        }
    }
}

#[test]
fn the_accounts_are_those_of_any_wallet_with_the_seed() {
    let genesis = fixtures::genesis();
    let secp = Secp256k1::new();
    let decoder = BitcoinDecoder::new(&genesis.network).unwrap();
    for seed in 0..4 {
        let outcome = held(&genesis, ACCOUNTS_DEFAULT, seed).unwrap();
        let record = outcome.record;
        assert_eq!(record.slots.len(), 16);
        // What any two of the three components give.
        let rebuilt = slip39::combine(&outcome.components[1..]).unwrap();
        let master = Xpriv::new_master(bitcoin::NetworkKind::Test, rebuilt.expose()).unwrap();
        for (number, slot) in record.slots.iter().enumerate() {
            let path: DerivationPath = format!("m/86'/1'/{number}'").parse().unwrap();
            let account = bitcoin::bip32::Xpub::from_priv(&secp, &master.derive_priv(&secp, &path).unwrap());
            assert_eq!(slot.account.public.0, account.public_key.serialize());
            assert_eq!(slot.account.chain_code.0, account.chain_code.to_bytes());
            let child = account.derive_pub(&secp, &"m/0/5".parse::<DerivationPath>().unwrap()).unwrap();
            let output = child.to_x_only_pub().tap_tweak(&secp, None).0;
            let script = bitcoin::ScriptBuf::new_p2tr_tweaked(output);
            assert_eq!(decoder.own_script(&slot.account, Branch::Receive, 5).unwrap(), script.to_bytes());
        }
    }
}

/// Every set of two signs its challenge for one account, as the signers do it.
fn activate(world: &mut World, ceremony: Hash, slot: u32, shares: &[&HeldShare]) {
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        let set = [shares[first], shares[second]];
        let holders: Vec<Name> = set.iter().map(|share| share.holder().clone()).collect();
        let genesis = world.state.genesis_hash();
        let challenge = round::activation_message(&genesis, &ceremony, slot, &holders);
        let what = Signable::Activation(&challenge);
        let signers: BTreeSet<Name> = holders.iter().cloned().collect();
        let mut rng = Random::new(9);
        let mut commitments = BTreeMap::new();
        let mut nonces = Vec::new();
        for share in set {
            let binding = Binding { session: [1; 32], input: 0, signers: signers.clone() };
            let (secret, commitment) = round::commit(share, binding, &mut rng).unwrap();
            commitments.insert(share.holder().clone(), commitment);
            nonces.push((share, secret));
        }
        let parts = nonces.into_iter().map(|(share, secret)| {
            (share.holder().clone(), round::sign(secret, share, &what, &commitments).unwrap())
        });
        let signature = round::aggregate(shares[0].public(), &what, &commitments, &parts.collect()).unwrap();
        let signature = Blob(signature.to_vec());
        world.say("s1", Body::Activate(Activate { ceremony, slot, holders, signature })).unwrap();
    }
}

#[test]
fn the_log_takes_the_record_and_a_wallet_opens_when_every_pair_proved() {
    let genesis = fixtures::genesis();
    let mut world = World::new(genesis.clone());
    let outcome = held(&genesis, 2, 1).unwrap();
    let ceremony = outcome.record.id(&genesis.hash());
    assert_eq!(outcome.sealed.ceremony, ceremony);
    world.adopt(Document::Ceremony(outcome.record.clone()));
    let wallet = world.wallet("main", ceremony, 1);
    assert!(world.propose("alice", wallet.clone()).is_err());
    let opened = opened(&outcome.record, &outcome.sealed);
    let shares: Vec<&HeldShare> = opened.iter().filter(|(_, slot)| *slot == 1).map(|(s, _)| s).collect();
    activate(&mut world, ceremony, 1, &shares);
    world.adopt(wallet);
    assert!(world.state.wallet(&name("main")).is_some());
}

#[test]
fn every_set_of_holders_signs_before_the_end() {
    assert_eq!(held(&fixtures::genesis(), 3, 1).unwrap().subsets, 3 * 3);
    // Seven co-signers, five of them with shares, of whom three sign.
    let mut genesis = fixtures::genesis();
    genesis.cosigners = ["s1", "s2", "s3", "s4", "s5", "w1", "w2"]
        .map(|who| fixtures::card(who, who.starts_with('s'), 1))
        .to_vec();
    (genesis.threshold, genesis.faulty) = (3, 2);
    let outcome = held(&genesis, 2, 1).unwrap();
    assert_eq!(outcome.subsets, 2 * 10);
    assert_eq!(outcome.sealed.shares.len(), 2 * 5);
    assert_eq!(opened(&outcome.record, &outcome.sealed).len(), 10);
}

#[test]
fn nothing_that_leaves_holds_a_share() {
    let outcome = held(&fixtures::genesis(), 2, 1).unwrap();
    let leaves = [
        canon::encode(&outcome.sealed).unwrap(),
        canon::encode(&Document::Ceremony(outcome.record.clone())).unwrap(),
        format!("{outcome:?}").into_bytes(),
    ]
    .concat();
    let mut seed = [0; 32];
    Random::new(1).fill_bytes(&mut seed);
    assert!(!shows(&leaves, &seed));
    let sealed_bytes: Vec<u8> =
        outcome.sealed.shares.iter().flat_map(|share| share.sealed.0.clone()).collect();
    for (share, _) in opened(&outcome.record, &outcome.sealed) {
        assert!(!shows(&leaves, share.expose()) && !shows(&sealed_bytes, share.expose()));
        // The search finds what it looks for, in each form.
        for text in [share.expose().to_vec(), hex::encode(share.expose()).into_bytes()] {
            assert!(shows(&text, share.expose()));
        }
        for offset in 0..3 {
            let blob = Blob([&[0; 3][offset..], share.expose()].concat());
            assert!(shows(&canon::encode(&blob).unwrap(), share.expose()));
        }
    }
}

#[test]
fn two_ceremonies_have_nothing_in_common() {
    let genesis = fixtures::genesis();
    let [one, two] = [1, 2].map(|seed| held(&genesis, 1, seed).unwrap());
    assert_ne!(one.sealed.ceremony, two.sealed.ceremony);
    assert_ne!(one.record.nonce, two.record.nonce);
    assert_ne!(one.record.slots[0].account, two.record.slots[0].account);
}

fn sound() -> (Genesis, CeremonyRecord) {
    let genesis = fixtures::newest();
    let record = held(&genesis, 2, 1).unwrap().record;
    (genesis, record)
}

#[test]
fn a_record_names_who_signed_it_and_survives_its_file() {
    let (genesis, record) = sound();
    assert_eq!(record::check(&record, &genesis).unwrap(), [name("alice"), name("bob")]);
    let bytes = canon::encode(&Document::Ceremony(record.clone())).unwrap();
    assert_eq!(record::parse(&bytes).unwrap(), record);
    assert!(record::parse(&[&bytes[..], b"\n"].concat()).is_err());
    let other = canon::encode(&fixtures::destination("acme")).unwrap();
    assert!(record::parse(&other).unwrap_err().to_string().contains("destination"));
}

/// Whoever changes anything in a record breaks the signatures, and a rule of its own before that where
/// there is one.
#[test]
fn an_altered_record_is_refused() {
    let (genesis, sound) = sound();
    let refused = |change: &dyn Fn(&mut CeremonyRecord)| {
        let mut record = sound.clone();
        change(&mut record);
        let here = record::check(&record, &genesis).expect_err("altered, and not refused");
        let mut world = World::new(genesis.clone());
        assert!(world.propose("alice", Document::Ceremony(record)).is_err(), "the log would take it: {here}");
        here
    };
    use RecordError as E;
    let signature = |error: RecordError| assert!(matches!(error, E::Signature(_)), "{error}");
    assert!(matches!(refused(&|r| r.nonce = Hash([1; 32])), E::Restored(0)));
    signature(refused(&|r| r.held_at += 1));
    signature(refused(&|r| r.entropy.push('!')));
    signature(refused(&|r| r.program = Hash([1; 32])));
    assert!(matches!(refused(&|r| r.slots.swap(0, 1)), E::Restored(0)));
    assert!(matches!(refused(&|r| r.slots.truncate(1)), E::Form(_)));
    signature(refused(&|r| r.slots[0].account.chain_code = Hash([1; 32])));
    signature(refused(&|r| r.slots[0].commitments[1] = r.slots[1].commitments[1].clone()));
    let change =
        |r: &mut CeremonyRecord, change: &dyn Fn(&mut Recovery)| change(r.recovery.as_mut().unwrap());
    signature(refused(&|r| change(r, &|it| it.report = Hash([1; 32]))));
    assert!(matches!(refused(&|r| r.recovery = None), E::Restored(0)));
    assert!(matches!(refused(&|r| change(r, &|it| it.restored.swap(0, 1))), E::Restored(0)));
    assert!(matches!(refused(&|r| change(r, &|it| it.restored.truncate(1))), E::Restored(1)));
    let more = refused(&|r| change(r, &|it| it.restored.push(it.restored[0].clone())));
    assert!(matches!(more, E::Form(_)));
    signature(refused(&|r| r.participants[0].signature = r.participants[1].signature.clone()));
    assert!(matches!(refused(&|r| r.threshold = 3), E::Threshold(3, 2)));
    assert!(matches!(refused(&|r| r.holders.swap(0, 1)), E::Holders));
    assert!(matches!(refused(&|r| r.holders.push(name("w1"))), E::Holders));
    assert!(matches!(refused(&|r| r.slots.clear()), E::Accounts(0)));
    assert!(matches!(refused(&|r| r.slots[1] = r.slots[0].clone()), E::SameAccount));
    assert!(matches!(refused(&|r| r.slots[1].commitments = r.slots[0].commitments.clone()), E::Slot(1, _)));
    assert!(matches!(refused(&|r| r.slots[0].commitments.truncate(1)), E::Slot(0, _)));
    let few = refused(&|r| r.participants.truncate(PARTICIPANTS_MIN - 1));
    assert!(matches!(few, E::People(PeopleError::Few(1))));
    let twice = refused(&|r| r.participants[1] = r.participants[0].clone());
    assert!(matches!(twice, E::People(PeopleError::Twice(_))));
    let stranger = refused(&|r| r.participants[0].key = fixtures::id("server"));
    assert!(matches!(stranger, E::People(PeopleError::Stranger(_))));
    // The record of another deployment, whose people are the same.
    let other = Genesis { nonce: Hash([1; 32]), ..genesis.clone() };
    assert!(matches!(record::check(&sound, &other), Err(E::Restored(0))));
}

#[test]
fn accounts_on_both_sides_of_the_limit() {
    let genesis = fixtures::genesis();
    let limit = u32::try_from(SLOTS_LIMIT).unwrap();
    for (accounts, dealt) in [(0, false), (1, true), (limit, true), (limit + 1, false), (u32::MAX, false)] {
        let outcome = held(&genesis, accounts, 1);
        assert_eq!(outcome.is_ok(), dealt, "{accounts}");
        assert!(dealt || matches!(outcome, Err(CeremonyError::Accounts(n)) if n == accounts));
    }
}

#[test]
fn two_different_people_of_genesis_hold_a_ceremony() {
    // Alice has two devices, and is one person.
    let mut genesis = fixtures::genesis();
    genesis.people[0].keys.push(fixtures::device("alice-2"));
    let refused = |people: &[&str]| {
        let outcome = hold(&plan(&genesis, 1), None, &devices(people), &mut Random::new(1));
        match outcome.map(|_| ()) {
            Err(CeremonyError::People(error)) => Some(error),
            other => other.map(|()| None).unwrap(),
        }
    };
    assert_eq!(refused(&["alice", "bob"]), None);
    assert_eq!(refused(&["alice-2", "dave", "carol"]), None);
    assert_eq!(refused(&[]), Some(PeopleError::Few(0)));
    assert_eq!(refused(&["alice"]), Some(PeopleError::Few(1)));
    for same in [["alice", "alice"], ["alice", "alice-2"]] {
        assert_eq!(refused(&same), Some(PeopleError::Twice(name("alice"))));
    }
    for stranger in ["eve", "server", "s1"] {
        assert_eq!(refused(&["alice", stranger]), Some(PeopleError::Stranger(fixtures::id(stranger))));
    }
    assert_eq!(device("alice").public().sign, fixtures::public("alice"));
}

#[test]
fn a_co_signer_whose_card_is_not_certified_gets_no_share() {
    let mut genesis = fixtures::genesis();
    genesis.cosigners[1].seal = fixtures::card("eve", true, 1).seal;
    assert!(matches!(held(&genesis, 1, 1), Err(CeremonyError::Genesis(_))));
    // Certified, but no key: X25519 with a point of small order would seal to everybody.
    genesis.cosigners[1].seal = Hash([0; 32]);
    genesis.cosigners[1] = fixtures::certify(genesis.cosigners[1].clone());
    assert!(matches!(held(&genesis, 1, 1), Err(CeremonyError::Seal(holder, _)) if holder == name("s2")));
}

#[test]
fn the_sealed_shares_stand_by_account_and_holder() {
    let outcome = held(&fixtures::genesis(), 2, 1).unwrap();
    let places: Vec<_> = outcome
        .sealed
        .shares
        .iter()
        .map(|SealedShare { holder, slot, .. }| (*slot, holder.as_str()))
        .collect();
    assert_eq!(places, [(0, "s1"), (0, "s2"), (0, "s3"), (1, "s1"), (1, "s2"), (1, "s3")]);
}

/// A ceremony of fixtures on disk, and what Python reads out of it by the words of the specification
/// (`docs/spec/ceremony.md`), with HPKE, Feldman's check and Ed25519 of its own: old records and shares
/// stay readable.
#[test]
fn a_ceremony_on_disk_reads_as_it_is_specified() {
    let file = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).unwrap()
    };
    let genesis = Genesis::parse(&file("genesis.json")).unwrap();
    let record = record::parse(&file("record.json")).unwrap();
    let sealed: SealedShares = canon::decode(&file("shares.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&file("expected.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let number = |value: &serde_json::Value| u32::try_from(value.as_u64().unwrap()).unwrap();

    assert_eq!(record::check(&record, &genesis).unwrap(), [name("alice"), name("bob")]);
    let (hash, ceremony) = (genesis.hash(), record.id(&genesis.hash()));
    assert_eq!(hash.to_string(), text(&expected["genesis"]));
    assert_eq!(ceremony.to_string(), text(&expected["ceremony"]));
    assert_eq!(Hash::sha256(&record.signed_bytes(&hash)).to_string(), text(&expected["signed_sha256"]));
    for activation in expected["activations"].as_array().unwrap() {
        let holders = activation["holders"].as_array().unwrap();
        let holders: Vec<Name> = holders.iter().map(|holder| name(holder.as_str().unwrap())).collect();
        let message = activation_message(&hash, &ceremony, number(&activation["slot"]), &holders);
        assert_eq!(hex::encode(message), text(&activation["message"]));
    }
    let shares = expected["shares"].as_array().unwrap();
    assert_eq!(shares.len(), sealed.shares.len());
    for (share, expected_share) in sealed.shares.iter().zip(shares) {
        let context = share_context(&hash, &ceremony, share.slot, &share.holder, record.threshold);
        assert_eq!(context, text(&expected_share["context"]).as_bytes());
        let key = text(&expected["seal_keys"][share.holder.as_str()]);
        let mut key = hex::decode(key).unwrap();
        let key = SealKey::from_locked(LockedBytes::take(&mut key).unwrap()).unwrap();
        let plain = seal::open(&key, SealDomain::Share, &context, &share.sealed.0).unwrap();
        assert_eq!(hex::encode(&*plain), text(&expected_share["share"]));
    }
}
