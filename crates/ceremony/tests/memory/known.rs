//! The secrets of a ceremony, made again from what its holders have, by other code where there is any.

use bitcoin::NetworkKind;
use bitcoin::bip32::{ChildNumber, Xpriv};
use bitcoin::secp256k1::{Scalar, Secp256k1, SecretKey};
use ceremony::files::SealedShares;
use ceremony::slip39::{self, Mnemonic};
use ceremony::worker::{Answer, Ask};
use custody::document::{CeremonyRecord, share_context};
use keys::locked::LockedBytes;
use keys::seal::{self, SealDomain, SealKey};

use crate::play::Play;
use crate::scan::Needles;

/// The word list, in its order.
const WORDS: &str = include_str!("../../src/slip39/wordlist.txt");

/// Words in front that all components of a secret have in common: identifier, flags, group.
const HEADER_WORDS: usize = 4;

/// Words at the end: the checksum.
const CHECKSUM_WORDS: usize = 3;

/// Everything secret in a ceremony, to be looked for.
pub(crate) fn needles(play: &Play) -> Needles {
    let mut needles = Needles::new();
    let mut components = Vec::new();
    for step in &play.steps {
        match (&step.ask, &step.answer) {
            (Ask::Show { component }, _) => {
                words(&mut needles, &format!("component {component}"), &step.words);
                components.push(Mnemonic::parse(str::from_utf8(&step.words).unwrap()).unwrap());
            }
            (Ask::Gather { .. }, _) if !step.secret.is_empty() => {
                step.secret.chunks_exact(24).for_each(|piece| needles.form(piece, "dice"));
            }
            (_, Answer::Sealed { record, shares, .. }) => shares_of(&mut needles, record, shares),
            _ => {}
        }
    }
    let seed = slip39::combine(&components).unwrap();
    accounts(&mut needles, seed.expose(), play);
    // All randomness, but the one draw that is published.
    let nonces = play.steps.iter().filter_map(|step| match step.answer {
        Answer::Generated { nonce, .. } => Some(nonce.0),
        _ => None,
    });
    let nonces: Vec<_> = nonces.collect();
    for (number, bytes) in play.draws().iter().enumerate() {
        // Short ones are in the words of the components.
        if bytes.len() >= 16 && nonces.iter().all(|nonce| nonce != bytes.as_slice()) {
            needles.secret(&format!("draw {number}"), bytes);
        }
    }
    needles
}

/// The words of a component: any three in a row as text, and the numbers and letters of any few in a row as a
/// program holds them; and the share that they encode.
fn words(needles: &mut Needles, label: &str, text: &[u8]) {
    let words: Vec<&str> = str::from_utf8(text).unwrap().split(' ').collect();
    let number = |word: &&str| WORDS.lines().position(|listed| listed == *word).unwrap();
    let numbers: Vec<usize> = words.iter().map(number).collect();
    let own = HEADER_WORDS..words.len();
    for three in words[own.clone()].windows(3) {
        needles.form(three.join(" ").as_bytes(), label);
    }
    let as_numbers = format!("{label}, as numbers");
    for four in numbers[own.clone()].windows(4) {
        let little: Vec<u8> = four.iter().flat_map(|number| (*number as u16).to_le_bytes()).collect();
        let big: Vec<u8> = four.iter().flat_map(|number| (*number as u16).to_be_bytes()).collect();
        let wide: Vec<u8> = four.iter().flat_map(|number| (*number as u32).to_le_bytes()).collect();
        [little, big, wide].iter().for_each(|form| needles.form(form, &as_numbers));
    }
    for two in words[own].windows(2) {
        let packed = two.iter().flat_map(|word| {
            let mut letters = [0; 8];
            letters[..word.len()].copy_from_slice(word.as_bytes());
            letters.reverse();
            letters
        });
        needles.form(&packed.collect::<Vec<_>>(), &format!("{label}, packed"));
    }
    // Ten bits each, padded with zeros in front to whole bytes.
    let value = &numbers[HEADER_WORDS..numbers.len() - CHECKSUM_WORDS];
    let bits: Vec<bool> =
        value.iter().flat_map(|number| (0..10).rev().map(move |bit| number >> bit & 1 == 1)).collect();
    let padding = bits.len() % 8;
    assert!(bits[..padding].iter().all(|bit| !bit));
    let bytes = bits[padding..].chunks_exact(8);
    let bytes: Vec<u8> =
        bytes.map(|byte| byte.iter().fold(0, |all, bit| all << 1 | u8::from(*bit))).collect();
    assert_eq!(bytes.len(), 32);
    needles.secret(&format!("{label}, its share"), &bytes);
}

/// The seed and every private key on the way to the accounts (BIP-32), by the library that is not ours.
fn accounts(needles: &mut Needles, seed: &[u8], play: &Play) {
    let count = play.steps.iter().find_map(|step| match &step.answer {
        Answer::Restored { accounts, .. } => Some(accounts.clone()),
        _ => None,
    });
    let accounts = count.unwrap();
    assert!(!accounts.is_empty());
    let secp = Secp256k1::new();
    needles.secret("seed", seed);
    let mut node = Xpriv::new_master(NetworkKind::Test, seed).unwrap();
    for step in [None, Some(86), Some(1)] {
        if let Some(index) = step {
            let path = [ChildNumber::from_hardened_idx(index).unwrap()];
            node = node.derive_priv(&secp, &path).unwrap();
        }
        needles.secret("a key above the accounts", &node.private_key.secret_bytes());
        needles.secret("a chain code above the accounts", node.chain_code.as_bytes());
    }
    for (number, public) in (0..).zip(accounts) {
        let path = [ChildNumber::from_hardened_idx(number).unwrap()];
        let key = node.derive_priv(&secp, &path).unwrap().private_key;
        // The ceremony had this seed, and no other.
        assert_eq!(key.public_key(&secp).serialize(), public.public.0.as_slice());
        needles.secret(&format!("account {number}"), &key.secret_bytes());
    }
}

/// The co-signers' shares, as they open them, and the slope of each line that two of them lie on.
fn shares_of(needles: &mut Needles, record: &CeremonyRecord, sealed: &SealedShares) {
    assert_eq!(record.threshold, 2);
    let mut shares = Vec::new();
    for share in &sealed.shares {
        let mut key = fixtures::key(&format!("{}/seal", share.holder)).to_scalar_bytes();
        let key = SealKey::from_locked(LockedBytes::take(&mut key).unwrap()).unwrap();
        let (genesis, ceremony) = (&sealed.genesis, &sealed.ceremony);
        let context = share_context(genesis, ceremony, share.slot, &share.holder, record.threshold);
        let plain = seal::open(&key, SealDomain::Share, &context, &share.sealed.0).unwrap();
        needles.secret(&format!("the share of {} in account {}", share.holder, share.slot), &plain);
        shares.push((share.slot, SecretKey::from_slice(&plain).unwrap()));
    }
    for pair in shares.windows(2) {
        if let [(slot, first), (same, second)] = pair
            && slot == same
        {
            let slope = second.add_tweak(&Scalar::from(first.negate())).unwrap();
            needles.secret(&format!("the slope of account {slot}"), &slope.secret_bytes());
        }
    }
    assert_eq!(shares.len(), record.slots.len() * record.holders.len());
}
