//! The golden key files: they open for ever, and by what the specification says alone.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use common::name;
use custody::Hash;
use custody::document::{CosignerCard, Document, share_context};
use custody::name::Name;
use hpke::{Deserializable as _, OpModeR};
use keys::cosigner::{CosignerError, CosignerSecrets};
use keys::device::{DeviceError, DeviceKey, public_of};
use keys::lockbox::LockboxError;
use keys::locked::LockedBytes;
use keys::round::{AggregateError, Commitment, Signable, SignatureShare, activation_message, aggregate};
use keys::seal::{SealDomain, SealError, SealKey, open};
use keys::share::{ShareError, SharePublic, ShareSecret};
use keys::vault::{Vault, VaultContext, VaultError, VaultKind};
use serde_json::Value;

fn read(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/keys").join(file)).unwrap()
}

fn expected() -> Value {
    serde_json::from_slice(&read("expected.json")).unwrap()
}

fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn hash(value: &Value) -> Hash {
    of(value)
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn locked(bytes: &[u8]) -> LockedBytes {
    LockedBytes::take(&mut bytes.to_vec()).unwrap()
}

/// Opens the box of a file with the primitives themselves: `associated` is what the specification says,
/// up to the parameters, which follow as they stand in the file.
fn open_by_hand(file: &[u8], secret: &[u8], associated: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(file).unwrap();
    let file: Value = serde_json::from_str(text).unwrap();
    let base64 = |value: &Value| of::<custody::Blob>(value).0;
    let parameters = &file["box"]["kdf"];
    let number = |field: &str| u32::try_from(parameters[field].as_u64().unwrap()).unwrap();
    assert_eq!((number("memory_kib"), number("passes"), number("lanes")), (65_536, 3, 1));
    let params = Params::new(number("memory_kib"), number("passes"), number("lanes"), Some(32)).unwrap();
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, &base64(&parameters["salt"]), &mut key)
        .unwrap();
    let written = format!(
        r#"{{"algorithm":"argon2id","memory_kib":65536,"passes":3,"lanes":1,"salt":{}}}"#,
        parameters["salt"]
    );
    let aad = format!("{associated},{written}]");
    let (nonce, msg) = (base64(&file["box"]["nonce"]), base64(&file["box"]["sealed"]));
    let payload = Payload { msg: &msg, aad: aad.as_bytes() };
    XChaCha20Poly1305::new_from_slice(&key).unwrap().decrypt(XNonce::from_slice(&nonce), payload).ok()
}

#[test]
fn the_golden_device_key_opens() {
    let (file, expected) = (read("device-key.json"), expected());
    let device = &expected["device"];
    let passphrase = device["passphrase"].as_str().unwrap();
    let key = DeviceKey::from_file(&file, passphrase).unwrap();
    assert_eq!(key.public(), of(&device["public"]));
    assert_eq!(public_of(&file).unwrap(), key.public());
    assert_eq!(Hash(*key.tls_seed()), hash(&device["tls_seed"]));

    let (sign, tls) = (&device["public"]["sign"], &device["public"]["tls"]);
    let associated = format!(r#"["keyward-device-key/v1","passphrase",{{"sign":{sign},"tls":{tls}}}"#);
    let seeds = open_by_hand(&file, passphrase.as_bytes(), &associated).unwrap();
    assert_eq!((seeds.len(), &seeds[32..]), (64, &hash(&device["tls_seed"]).0[..]));

    let refused = DeviceKey::from_file(&file, "correct horse batterY");
    assert!(matches!(refused, Err(DeviceError::Refused)));
    let text = String::from_utf8(file).unwrap();
    let other = text.replace(tls.as_str().unwrap(), sign.as_str().unwrap());
    assert!(matches!(DeviceKey::from_file(other.as_bytes(), passphrase), Err(DeviceError::Refused)));
    for (from, to) in [("key/v1", "key/v2"), ("\"kind\"", "\"sort\""), ("{\n", "{\"more\": 1,\n")] {
        let other = text.replacen(from, to, 1);
        assert!(DeviceKey::from_file(other.as_bytes(), passphrase).is_err(), "{to}");
    }
    assert!(DeviceKey::from_file(&text.as_bytes()[..text.len() - 2], passphrase).is_err());
}

fn unlocked(file: &[u8]) -> Vault {
    Vault::unlock(&locked(&bytes(&expected()["unlock_secret"])), file).unwrap()
}

#[test]
fn the_golden_keys_of_a_cosigner_open() {
    let (file, expected) = (read("keys.vault"), expected());
    let context =
        VaultContext { kind: VaultKind::CosignerKeys, genesis: Hash::default(), cosigner: name("s1") };
    let vault = unlocked(&file);
    let plain = vault.open(&context, &file).unwrap();
    assert_eq!(plain.expose(), bytes(&expected["cosigner"]["plaintext"]));

    let secret = bytes(&expected["unlock_secret"]);
    let zero = Hash::default();
    let associated =
        format!(r#"["keyward-vault/v1",{{"kind":"cosigner-keys","genesis":"{zero}","cosigner":"s1"}}"#);
    assert_eq!(open_by_hand(&file, &secret, &associated).unwrap(), plain.expose());

    // Any file of a vault names the parameters of all.
    let share = read("share.vault");
    let context_of_share =
        VaultContext { kind: VaultKind::Share, genesis: hash(&expected["genesis"]), cosigner: name("s1") };
    assert_eq!(
        vault.open(&context_of_share, &share).unwrap().expose(),
        hash(&expected["share"]["plaintext"]).0
    );

    assert!(matches!(vault.open(&context, &share), Err(VaultError::OtherFile { .. })));
    let other = VaultContext { cosigner: name("s2"), ..context.clone() };
    assert!(matches!(vault.open(&other, &file), Err(VaultError::OtherFile { .. })));
    let wrong = Vault::unlock(&locked(&[7; 32]), &file).unwrap().open(&context, &file);
    assert!(matches!(wrong, Err(VaultError::Box(LockboxError::Refused))));
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1;
        assert!(vault.open(&context, &altered).is_err(), "byte {at}");
        assert!(vault.open(&context, &file[..at]).is_err(), "cut to {at} bytes");
    }
}

#[test]
fn golden_plaintexts_of_the_keys_of_a_cosigner() {
    let expected = expected();
    let cosigner = &expected["cosigner"];
    let public = |field: &str| hash(&cosigner["public"][field]);
    let read = |field: &str| CosignerSecrets::from_plaintext(&locked(&bytes(&cosigner[field]))).unwrap();
    let check = |keys: &CosignerSecrets| {
        let found = keys.public();
        assert_eq!(
            (found.identity, found.vote, found.cosign),
            (public("identity"), public("vote"), public("cosign"))
        );
        assert_eq!((found.tls, found.statement), (public("tls"), public("statement")));
        assert_eq!((found.frame, Hash(found.seal.0)), (public("frame"), public("seal")));
    };
    let one = read("plaintext");
    check(&one);
    assert_eq!(one.to_plaintext().unwrap().expose(), bytes(&cosigner["plaintext"]));
    assert_eq!(one.next_public(), None);

    // The first version had no byte that says so; it is written back as the second.
    let first = read("plaintext_v1");
    check(&first);
    assert_eq!(first.to_plaintext().unwrap().expose(), bytes(&cosigner["plaintext"]));

    // With the keys of the next epoch, which a card brings into use.
    let mut two = read("plaintext_with_next");
    check(&two);
    assert_eq!(two.to_plaintext().unwrap().expose(), bytes(&cosigner["plaintext_with_next"]));
    let next = two.next_public().unwrap();
    let expected_next = |field: &str| hash(&cosigner["public_next"][field]);
    assert_eq!((next.identity, next.statement), (public("identity"), expected_next("statement")));
    assert_eq!((next.frame, Hash(next.seal.0)), (expected_next("frame"), expected_next("seal")));
    let card = CosignerCard {
        name: name("s1"),
        holds_shares: true,
        epoch: 2,
        identity: next.identity,
        vote: next.vote,
        cosign: next.cosign,
        tls: next.tls,
        statement: next.statement,
        frame: next.frame,
        seal: Hash(next.seal.0),
        certificate: custody::Blob::default(),
    };
    assert!(two.advance(&card));
    assert_eq!((two.public(), two.next_public()), (next, None));

    let whole = bytes(&cosigner["plaintext_with_next"]);
    let allowed = [bytes(&cosigner["plaintext"]).len(), bytes(&cosigner["plaintext_v1"]).len(), whole.len()];
    for cut in (1..whole.len()).filter(|cut| !allowed.contains(cut)) {
        let refused = CosignerSecrets::from_plaintext(&locked(&whole[..cut]));
        assert!(matches!(refused, Err(CosignerError::Length)), "{cut}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(CosignerSecrets::from_plaintext(&locked(&longer)).is_err());
    for version in [0, 1, 3] {
        let other = [&[version], &whole[1..]].concat();
        assert!(CosignerSecrets::from_plaintext(&locked(&other)).is_err(), "version {version}");
    }
}

#[test]
fn the_golden_share_opens_for_its_holder_alone() {
    let expected = expected();
    let share = &expected["share"];
    let Document::Ceremony(record) = of::<Document>(&share["record"]) else { panic!("a record") };
    let (genesis, ceremony) = (hash(&expected["genesis"]), hash(&share["ceremony"]));
    assert_eq!(record.id(&genesis), ceremony);
    let context = bytes(&share["context"]);
    assert_eq!(context, share_context(&genesis, &ceremony, 0, &name("s1"), 2));
    assert_eq!(
        String::from_utf8(context.clone()).unwrap(),
        format!(r#"["{genesis}","{ceremony}",0,"s1",2]"#)
    );

    let plaintext = bytes(&expected["cosigner"]["plaintext"]);
    let private = &plaintext[plaintext.len() - 32..];
    let key = SealKey::from_locked(locked(private)).unwrap();
    let sealed = of::<custody::Blob>(&share["sealed"]).0;
    let opened = open(&key, SealDomain::Share, &context, &sealed).unwrap();
    assert_eq!(*opened, hash(&share["plaintext"]).0);

    // The same by HPKE alone.
    type Kem = hpke::kem::X25519HkdfSha256;
    let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(private).unwrap();
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(&sealed[..32]).unwrap();
    let by_hand = hpke::single_shot_open::<hpke::aead::ChaCha20Poly1305, hpke::kdf::HkdfSha256, Kem>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        b"keyward/seal/share/v1",
        &sealed[32..],
        &context,
    );
    assert_eq!(by_hand.unwrap(), *opened);

    // It is the share of this holder, by the commitments of the record, and of nobody else.
    let public = SharePublic::of(&record, 0).unwrap();
    let held = ShareSecret::open(&opened, &public, &name("s1")).unwrap();
    assert_eq!((held.holder(), held.expose()), (&name("s1"), opened.as_slice()));
    assert!(matches!(ShareSecret::open(&opened, &public, &name("s2")), Err(ShareError::Wrong(_))));
    assert!(ShareSecret::open(&opened, &SharePublic::of(&record, 1).unwrap(), &name("s1")).is_err());

    let refused = |key: &SealKey, domain, context: &[u8], sealed: &[u8]| {
        assert_eq!(open(key, domain, context, sealed).map(|_| ()), Err(SealError::Refused));
    };
    refused(&SealKey::from_locked(locked(&[7; 32])).unwrap(), SealDomain::Share, &context, &sealed);
    refused(&key, SealDomain::Frame, &context, &sealed);
    refused(&key, SealDomain::Share, &share_context(&genesis, &ceremony, 1, &name("s1"), 2), &sealed);
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        refused(&key, SealDomain::Share, &context, &altered);
        refused(&key, SealDomain::Share, &context, &sealed[..at]);
    }
}

/// Two rounds of signing: what travels reads back, adds up to the golden signature, and shows who altered it.
#[test]
fn the_golden_round_makes_the_golden_signature() {
    let expected = expected();
    let Document::Ceremony(record) = of::<Document>(&expected["share"]["record"]) else { panic!("a record") };
    let (genesis, golden) = (hash(&expected["genesis"]), &expected["round"]);
    let public = SharePublic::of(&record, 0).unwrap();
    let holders = [name("s1"), name("s2")];
    let challenge = activation_message(&genesis, &record.id(&genesis), 0, &holders);
    assert_eq!(Hash(*challenge.as_bytes()), hash(&golden["message"]));
    let what = Signable::Activation(&challenge);
    let read = |field: &str, holder: &Name| bytes(&golden[field][holder.as_str()]);
    let commitment = |holder: &Name| Commitment::from_bytes(&read("commitments", holder)).unwrap();
    let share = |holder: &Name| SignatureShare::from_bytes(&read("shares", holder)).unwrap();
    for holder in &holders {
        assert_eq!(commitment(holder).to_bytes(), read("commitments", holder));
        assert_eq!(
            (commitment(holder).to_bytes().len(), share(holder).to_bytes().len()),
            (Commitment::BYTES, 32)
        );
        assert_eq!(share(holder).to_bytes(), read("shares", holder));
        assert!(Commitment::from_bytes(&read("commitments", holder)[1..]).is_err());
        assert!(SignatureShare::from_bytes(&read("shares", holder)[1..]).is_err());
    }
    assert!(SignatureShare::from_bytes(&[0xff; 32]).is_err(), "above the order");
    // Each commitment begins with what binds it to the account, the session, the input and the set.
    let (account, list) = (&public.account, serde_json::to_string(&public.commitments).unwrap());
    let part = format!(
        r#"{{"account":{{"public":{},"chain_code":"{}"}},"threshold":2,"holders":["s1","s2","s3"],"commitments":{list}}}"#,
        serde_json::to_string(&account.public).unwrap(),
        account.chain_code
    );
    let fingerprint = Hash::of("keyward/shares/v1", part.as_bytes());
    let context = format!(r#"["{fingerprint}","{}",0,["s1","s2"]]"#, hash(&golden["session"]));
    let context = Hash::of("keyward/round/v1", context.as_bytes());
    for holder in &holders {
        assert_eq!(read("commitments", holder)[..32], context.0);
    }
    let commitments: BTreeMap<_, _> = holders.iter().map(|h| (h.clone(), commitment(h))).collect();
    let shares: BTreeMap<_, _> = holders.iter().map(|h| (h.clone(), share(h))).collect();
    let signature = aggregate(&public, &what, &commitments, &shares).unwrap();
    assert_eq!(signature.to_vec(), bytes(&golden["signature"]));

    // BIP-340 by libsecp256k1, under the x coordinate of the account key.
    use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, schnorr::Signature};
    let key = PublicKey::from_slice(&public.account.public.0).unwrap().x_only_public_key().0;
    let verify = |message: [u8; 32]| {
        let signature = Signature::from_slice(&signature).unwrap();
        Secp256k1::new().verify_schnorr(&signature, &Message::from_digest(message), &key).is_ok()
    };
    assert!(verify(*challenge.as_bytes()));
    assert!(!verify([0; 32]));

    let mut bytes = read("shares", &holders[1]);
    bytes[31] ^= 1;
    let mut wrong = shares.clone();
    wrong.insert(holders[1].clone(), SignatureShare::from_bytes(&bytes).unwrap());
    let refused = aggregate(&public, &what, &commitments, &wrong);
    assert!(matches!(refused, Err(AggregateError::Culprits(who)) if who == holders[1..]));
    let mut bytes = read("commitments", &holders[0]);
    bytes[0] ^= 1;
    let mut wrong = commitments;
    wrong.insert(holders[0].clone(), Commitment::from_bytes(&bytes).unwrap());
    assert!(matches!(aggregate(&public, &what, &wrong, &shares), Err(AggregateError::Sessions)));
}
