//! Sealing between parties, the keys of a co-signer, and what custody says of their signatures.

mod common;

use common::{Random, dealt, name};
use custody::Hash;
use custody::document::{CeremonyRecord, Slot, share_context};
use keys::cosigner::{
    CosignerError, CosignerPublic, CosignerSecrets, EPOCH_BYTES, PLAINTEXT_VERSION, SEEDS_BYTES,
};
use keys::device::{DeviceKey, SignMessage, public_of};
use keys::locked::LockedBytes;
use keys::purpose::verify_frame;
use keys::seal::{SEAL_KEY_BYTES, SealDomain, SealError, SealKey, SealPublic, open, seal};
use keys::share::{SharePublic, ShareSecret};
use keys::vault::{Vault, VaultContext, VaultKind};

fn locked(bytes: &[u8]) -> LockedBytes {
    LockedBytes::take(&mut bytes.to_vec()).unwrap()
}

#[test]
fn only_the_recipient_opens_and_only_in_the_same_context() {
    let mut rng = Random::new(1);
    let (key, other) = (SealKey::generate(&mut rng).unwrap(), SealKey::generate(&mut rng).unwrap());
    let to = key.public();
    let sealed = seal(&to, SealDomain::Share, b"genesis, slot", b"a share", &mut rng).unwrap();
    assert_eq!(open(&key, SealDomain::Share, b"genesis, slot", &sealed).unwrap().as_slice(), b"a share");
    let refused = Err(SealError::Refused);
    let open = |key, domain, context: &[u8], sealed: &[u8]| open(key, domain, context, sealed).map(|_| ());
    assert_eq!(open(&other, SealDomain::Share, b"genesis, slot", &sealed), refused);
    assert_eq!(open(&key, SealDomain::Frame, b"genesis, slot", &sealed), refused);
    assert_eq!(open(&key, SealDomain::Share, b"genesis, slots", &sealed), refused);
    assert_eq!(open(&key, SealDomain::Share, b"", &sealed), refused);
    for length in 0..sealed.len() {
        assert_eq!(open(&key, SealDomain::Share, b"genesis, slot", &sealed[..length]), refused);
    }
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        // RFC 7748: the top bit of a public key is not part of it, yet HPKE binds the bytes as sent.
        assert_eq!(open(&key, SealDomain::Share, b"genesis, slot", &altered), refused, "bit {bit}");
    }
    let again = seal(&to, SealDomain::Share, b"genesis, slot", b"a share", &mut rng).unwrap();
    assert_ne!(again, sealed);
}

#[test]
fn keys_of_small_order_are_no_recipients() {
    let mut rng = Random::new(2);
    for point in [[0; 32], core::array::from_fn(|i| u8::from(i == 0))] {
        let sealed = seal(&SealPublic(point), SealDomain::Frame, b"", b"frame", &mut rng);
        assert_eq!(sealed, Err(SealError::Recipient));
    }
}

#[test]
fn private_sealing_keys_have_one_length() {
    for (length, allowed) in [(31, false), (SEAL_KEY_BYTES, true), (33, false)] {
        assert_eq!(SealKey::from_locked(locked(&vec![1; length])).is_ok(), allowed);
    }
}

#[test]
fn a_sealed_share_reaches_its_holder_and_nobody_else() {
    let mut rng = Random::new(3);
    let (dealt, _) = dealt(3);
    let (holder, share) = &dealt.shares[1];
    let cosigner = CosignerSecrets::generate(&mut rng).unwrap();
    let other = CosignerSecrets::generate(&mut rng).unwrap();
    let sealed =
        seal(&cosigner.public().seal, SealDomain::Share, b"context", share.expose(), &mut rng).unwrap();
    assert!(open(other.used().seal_key(), SealDomain::Share, b"context", &sealed).is_err());
    let opened = open(cosigner.used().seal_key(), SealDomain::Share, b"context", &sealed).unwrap();
    let held = ShareSecret::open(&opened, &dealt.public, holder).unwrap();
    assert_eq!((held.holder(), held.public()), (&name("bob"), &dealt.public));
    assert_eq!(held.expose(), share.expose());
}

#[test]
fn a_cosigners_keys_read_back_and_are_all_different() {
    let keys = CosignerSecrets::generate(&mut Random::new(4)).unwrap();
    let plaintext = keys.to_plaintext().unwrap();
    let again = CosignerSecrets::from_plaintext(&plaintext).unwrap();
    assert_eq!(again.public(), keys.public());
    assert_eq!(again.to_plaintext().unwrap().expose(), plaintext.expose());
    assert_eq!(again.used().seal_key().public(), keys.public().seal);
    let public = keys.public();
    let all = [
        public.identity,
        public.vote,
        public.cosign,
        public.tls,
        public.statement,
        public.frame,
        Hash(public.seal.0),
    ];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    assert_eq!(keys.vote_signing_key().verifying_key().to_bytes(), public.vote.0);
    assert_eq!(keys.cosign_signing_key().verifying_key().to_bytes(), public.cosign.0);
    let tls = ed25519_dalek::SigningKey::from_bytes(&keys.tls_seed());
    assert_eq!(tls.verifying_key().to_bytes(), public.tls.0);
}

#[test]
fn the_plaintext_of_keys_has_one_form_for_each_version() {
    let seeds: Vec<u8> = (0..SEEDS_BYTES + EPOCH_BYTES).map(|i| (i / 32 + 1) as u8).collect();
    let (first, both) = (&seeds[..SEEDS_BYTES], &seeds[..]);
    let read = |bytes: &[u8]| CosignerSecrets::from_plaintext(&locked(bytes));
    let versioned = |version: u8, seeds: &[u8]| [&[version], seeds].concat();
    // The first version: seeds alone, no second epoch. It is written anew as the second.
    let old = read(first).unwrap();
    assert_eq!(old.next_public(), None);
    assert_eq!(old.to_plaintext().unwrap().expose(), versioned(PLAINTEXT_VERSION, first));
    let new = read(&versioned(PLAINTEXT_VERSION, both)).unwrap();
    assert_eq!((new.public(), new.next_public().is_some()), (old.public(), true));
    assert_eq!(new.to_plaintext().unwrap().expose(), versioned(PLAINTEXT_VERSION, both));
    for wrong in [
        versioned(1, first),
        versioned(3, first),
        versioned(PLAINTEXT_VERSION, &first[1..]).split_off(1),
        versioned(PLAINTEXT_VERSION, &both[1..]),
        versioned(PLAINTEXT_VERSION, &[both, &[0]].concat()),
        versioned(PLAINTEXT_VERSION, &[both, &seeds[..EPOCH_BYTES]].concat()),
        both.to_vec(),
        vec![PLAINTEXT_VERSION],
    ] {
        let refused = CosignerSecrets::from_plaintext(&locked(&wrong));
        assert!(matches!(refused, Err(CosignerError::Length)), "{} bytes", wrong.len());
    }
}

/// P30: the next keys wait beside those in use until a card that names them is in force.
#[test]
fn the_next_keys_take_over_with_their_card() {
    let mut rng = Random::new(40);
    let mut keys = CosignerSecrets::generate(&mut rng).unwrap();
    let before = keys.public();
    let first = keys.renew(&mut rng).unwrap();
    let second = keys.renew(&mut rng).unwrap();
    assert_ne!(first, second, "made again, the next keys are others");
    assert_eq!(keys.next_public(), Some(second));
    assert_eq!(
        (second.identity, second.vote, second.cosign, second.tls),
        (before.identity, before.vote, before.cosign, before.tls)
    );
    assert!(
        second.statement != before.statement && second.frame != before.frame && second.seal != before.seal
    );

    // The disk brings both back; each card finds its own.
    let mut keys = CosignerSecrets::from_plaintext(&keys.to_plaintext().unwrap()).unwrap();
    let card = |public: &CosignerPublic| keys.card(&name("signer-1"), true, 2, *public).unwrap();
    assert!(card(&second).certified());
    let cards = [&before, &first, &second].map(card);
    let signed = |public: &CosignerPublic| {
        let signature = keys.of(&card(public))?.sign_frame(b"frame");
        Some(verify_frame(&public.frame.0, b"frame", &signature))
    };
    assert_eq!((signed(&before), signed(&second), signed(&first)), (Some(true), Some(true), None));
    let [old, other, new] = cards;
    let mut mixed = new.clone();
    mixed.seal = Hash(before.seal.0);
    assert!(keys.of(&mixed).is_none() && !keys.advance(&mixed), "a card names one whole set");

    assert!(!keys.advance(&old) && !keys.advance(&other));
    assert_eq!((keys.public(), keys.next_public()), (before, Some(second)));
    assert!(keys.advance(&new));
    assert_eq!((keys.public(), keys.next_public()), (second, None));
    assert!(keys.of(&old).is_none(), "the old keys are gone");
    let plaintext = keys.to_plaintext().unwrap();
    assert_eq!(plaintext.expose().len(), 1 + SEEDS_BYTES);
    assert_eq!(CosignerSecrets::from_plaintext(&plaintext).unwrap().public(), second);
}

#[test]
fn each_key_signs_its_purpose_and_nothing_else() {
    use custody::document::verify;
    let keys = CosignerSecrets::generate(&mut Random::new(5)).unwrap();
    let public = keys.public();
    let statement = custody::statement::pae(b"{}");
    let signature = keys.used().sign_statement(&statement).unwrap();
    assert!(verify(&public.statement, &statement, &signature));
    assert!(keys.used().sign_statement(b"{}").is_err());
    let card = [custody::document::CARD_TAG, b"card"].concat();
    assert!(verify(&public.identity, &card, &keys.certify(&card).unwrap()));
    assert!(keys.certify(&statement).is_err());
    let signature = keys.used().sign_frame(&statement);
    assert!(verify_frame(&public.frame.0, &statement, &signature));
    assert!(!verify(&public.frame, &statement, &signature), "a frame is no statement");
}

#[test]
fn a_person_signs_the_record_of_a_ceremony_as_custody_verifies_it() {
    use custody::document::verify;
    let (dealt, _) = dealt(6);
    let slot = Slot { account: dealt.public.account.clone(), commitments: dealt.public.commitments.clone() };
    let record = CeremonyRecord {
        nonce: Hash([1; 32]),
        held_at: 1_800_000_000,
        threshold: 2,
        holders: dealt.public.holders.clone(),
        slots: vec![slot],
        entropy: "test".to_owned(),
        program: Hash([2; 32]),
        participants: vec![],
        recovery: None,
    };
    assert_eq!(SharePublic::of(&record, 0).unwrap(), dealt.public);
    assert_eq!(SharePublic::of(&record, 1), None);
    let device = DeviceKey::generate(&mut Random::new(6));
    let bytes = record.signed_bytes(&Hash([3; 32]));
    let signature = device.sign(SignMessage::CeremonyRecord(&bytes)).unwrap();
    assert!(verify(&device.public().sign, &bytes, &signature));
    assert!(device.sign(SignMessage::Statement(&bytes)).is_err());
    let statement = custody::statement::pae(b"{}");
    let signature = device.sign(SignMessage::Statement(&statement)).unwrap();
    assert!(verify(&device.public().sign, &statement, &signature));
    assert!(device.sign(SignMessage::CeremonyRecord(&statement)).is_err());
}

/// Files that this program wrote and that libsodium (PyNaCl 1.6.2) opened (Argon2id, XChaCha20-Poly1305 with
/// the associated data of the format): they must open for ever.
const DEVICE_FILE: &[u8] = include_bytes!("vectors/device-key-v1.json");
const VAULT_FILE: &[u8] = include_bytes!("vectors/vault-v1.json");

#[test]
fn files_of_version_1_still_open() {
    let device = DeviceKey::from_file(DEVICE_FILE, "correct horse").unwrap();
    assert_eq!(device.public(), public_of(DEVICE_FILE).unwrap());
    let sign = "ab786693fe379e8147bb144a41bce5ae3e704108c5b8545aaf7ab67dab7883a1";
    assert_eq!(device.public().sign.to_string(), sign);
    let vault = Vault::unlock(&locked(b"unlock secret of the vector"), VAULT_FILE).unwrap();
    let context = VaultContext { kind: VaultKind::Share, genesis: Hash([1; 32]), cosigner: name("signer-1") };
    assert_eq!(vault.open(&context, VAULT_FILE).unwrap().expose(), b"plaintext");
}

#[test]
fn contexts_of_sealed_shares_differ_in_every_part() {
    let of = |genesis, ceremony, slot, threshold, holder: &str| {
        share_context(&Hash([genesis; 32]), &Hash([ceremony; 32]), slot, &name(holder), threshold)
    };
    let all = [
        of(1, 2, 3, 2, "ada"),
        of(9, 2, 3, 2, "ada"),
        of(1, 9, 3, 2, "ada"),
        of(1, 2, 9, 2, "ada"),
        of(1, 2, 3, 3, "ada"),
        of(1, 2, 3, 2, "bob"),
    ];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
}
