//! Who is let in.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::{Admit, HttpsError, HttpsListener};
use axum::Router;
use certificate::Certificate;
use rustls::crypto::aws_lc_rs::sign::{any_ecdsa_type, any_supported_type};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{Signer, SigningKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, NamedGroup, RootCertStore, SignatureAlgorithm, SignatureScheme,
};

use crate::door::{
    ALICE, BOB, SERVER, STRANGER, ask, certificate, certified, config, connect, connect_with, dial, hello,
    is_served, key, only_an_alert, open, refused_with, signer, until_closed,
};

#[test]
fn an_enrolled_key_is_served_and_known_to_the_handlers() {
    let door = open();
    let mut alice = connect(&door, ALICE);
    assert_eq!(ask(&mut alice, "/who"), Some((200, "alice true".into())));
    assert_eq!(ask(&mut connect(&door, BOB), "/who"), Some((200, "bob false".into())));
    // The connection goes on.
    assert_eq!(ask(&mut alice, "/who"), Some((200, "alice true".into())));
    assert_eq!(ask(&mut alice, "/elsewhere"), Some((404, String::new())));
}

/// A client with these groups, the one it likes best first.
fn with_groups(groups: &[&'static dyn SupportedKxGroup]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate(SERVER).der)).unwrap();
    let alice = certified(&certificate(ALICE).der, signer(ALICE));
    ClientConfig::builder_with_provider(Arc::new(CryptoProvider {
        kx_groups: groups.to_vec(),
        ..default_provider()
    }))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(alice)))
}

#[test]
fn the_key_exchange_is_hybrid_for_those_who_ask_for_it() {
    let door = open();
    let exchanged = |groups: &[&'static dyn SupportedKxGroup]| {
        let mut tls = connect_with(&door, with_groups(groups));
        assert!(is_served(&mut tls));
        tls.conn.negotiated_key_exchange_group().unwrap().name()
    };
    let (hybrid, x25519, p256) = (kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1);
    assert_eq!(exchanged(&[hybrid, x25519]), NamedGroup::X25519MLKEM768);
    assert_eq!(exchanged(&[x25519]), NamedGroup::X25519);
    assert_eq!(exchanged(&[p256]), NamedGroup::secp256r1);
    let other = connect_with(&door, with_groups(&[kx_group::SECP384R1]));
    refused_with(other, AlertDescription::HandshakeFailure);
}

#[test]
fn a_stranger_gets_an_alert() {
    let door = open();
    refused_with(connect(&door, STRANGER), AlertDescription::AccessDenied);
    assert_eq!(door.served.load(Ordering::SeqCst), 0);
    door.enrolled.lock().unwrap().insert(key(STRANGER), "dave");
    assert_eq!(ask(&mut connect(&door, STRANGER), "/who"), Some((200, "dave false".into())));
}

/// The reason arrives also when the client has sent much that nobody will read.
#[test]
fn a_refusal_is_not_overtaken_by_a_reset() {
    let door = open();
    for _ in 0..10 {
        let mut tls = connect(&door, STRANGER);
        tls.conn.writer().write_all(&[0; 50_000]).unwrap();
        tls.conn.complete_io(&mut tls.sock).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        let error = tls.read(&mut [0]).unwrap_err();
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
        assert_eq!(alert, Some(&rustls::Error::AlertReceived(AlertDescription::AccessDenied)), "{error}");
        // Behind it comes the end of the connection, and no reset.
        assert_eq!(tls.sock.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_key_that_is_revoked_is_served_no_more() {
    let door = open();
    let mut alice = connect(&door, ALICE);
    assert!(is_served(&mut alice));
    door.enrolled.lock().unwrap().remove(&key(ALICE));
    assert_eq!(ask(&mut alice, "/who"), None);
    assert_eq!(door.served.load(Ordering::SeqCst), 1);
    refused_with(connect(&door, ALICE), AlertDescription::AccessDenied);
    // Nobody else is concerned.
    assert!(is_served(&mut connect(&door, BOB)));
}

/// Whose a key is may change while a connection lasts.
#[test]
fn each_request_is_judged_by_what_the_log_says_then() {
    let door = open();
    let mut bob = connect(&door, BOB);
    assert_eq!(ask(&mut bob, "/who"), Some((200, "bob false".into())));
    door.enrolled.lock().unwrap().insert(key(BOB), "robert");
    assert_eq!(ask(&mut bob, "/who"), Some((200, "robert false".into())));
}

#[test]
fn without_a_certificate_nobody_is_served() {
    refused_with(connect_with(&open(), config(None)), AlertDescription::CertificateRequired);
}

/// A certificate is public; the key in it is not.
#[test]
fn a_certificate_of_somebody_else_is_no_use() {
    let door = open();
    let stolen = config(Some(certified(&certificate(ALICE).der, signer(STRANGER))));
    refused_with(connect_with(&door, stolen), AlertDescription::DecryptError);
    // Nor with another enrolled key.
    let stolen = config(Some(certified(&certificate(ALICE).der, signer(BOB))));
    refused_with(connect_with(&door, stolen), AlertDescription::DecryptError);
}

/// Signs with its scheme although the server did not offer it.
#[derive(Debug)]
struct Insistent(Arc<dyn SigningKey>, SignatureScheme);

impl SigningKey for Insistent {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(&[self.1])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[test]
fn other_algorithms_are_refused() {
    let door = open();
    for (algorithm, scheme) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256),
        (&rcgen::PKCS_RSA_SHA256, SignatureScheme::RSA_PSS_SHA256),
    ] {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let made = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap();
        let key = any_supported_type(&PrivateKeyDer::try_from(pair.serialize_der()).unwrap()).unwrap();
        // One that keeps to what is offered has nothing to show; one that does not is refused.
        let polite = config(Some(certified(made.der(), key.clone())));
        refused_with(connect_with(&door, polite), AlertDescription::CertificateRequired);
        let insistent = config(Some(certified(made.der(), Arc::new(Insistent(key, scheme)))));
        refused_with(connect_with(&door, insistent), AlertDescription::BadCertificate);
    }
    // An enrolled certificate with a signature of another algorithm.
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = any_ecdsa_type(&PrivateKeyDer::try_from(pair.serialize_der()).unwrap()).unwrap();
    let insistent = Arc::new(Insistent(key, SignatureScheme::ECDSA_NISTP256_SHA256));
    let mut tls = connect_with(&door, config(Some(certified(&certificate(ALICE).der, insistent))));
    assert_eq!(ask(&mut tls, "/who"), None);
    assert_eq!(door.served.load(Ordering::SeqCst), 0);
}

#[test]
fn one_certificate_is_shown_and_no_chain() {
    let door = open();
    let mut both = certified(&certificate(ALICE).der, signer(ALICE));
    both.cert.push(CertificateDer::from(certificate(BOB).der));
    refused_with(connect_with(&door, config(Some(both))), AlertDescription::BadCertificate);
}

/// Whoever made it and whatever it says: the key in it is what the log knows.
#[test]
fn a_certificate_around_the_key_by_another_program_will_do() {
    let door = open();
    let pair =
        rcgen::KeyPair::try_from(&PrivatePkcs8KeyDer::from(certificate(ALICE).key_der.as_slice())).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let made = params.self_signed(&pair).unwrap();
    let mut tls = connect_with(&door, config(Some(certified(made.der(), signer(ALICE)))));
    assert_eq!(ask(&mut tls, "/who"), Some((200, "alice true".into())));
}

#[test]
fn tls_1_2_is_refused() {
    let door = open();
    let mut stream = dial(door.addr);
    stream.write_all(&hello(false)).unwrap();
    let (bytes, _) = until_closed(&mut stream);
    // A fatal alert: protocol_version (70).
    assert_eq!((bytes[0], &bytes[bytes.len() - 2..]), (21, &[2, 70][..]));
    // The same greeting with TLS 1.3 in it is answered by a ServerHello.
    let mut stream = dial(door.addr);
    stream.write_all(&hello(true)).unwrap();
    let mut bytes = [0; 6];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!((bytes[0], bytes[5]), (22, 2));
}

#[test]
fn plain_http_gets_nothing() {
    let door = open();
    let mut stream = dial(door.addr);
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    only_an_alert(&until_closed(&mut stream).0);
    assert_eq!(door.served.load(Ordering::SeqCst), 0);
}

#[test]
fn a_certificate_is_served_with_its_own_key_only() {
    let admit: Admit = Arc::new(|_| None);
    let mixed = Certificate { key_der: certificate(BOB).key_der.clone(), ..certificate(SERVER) };
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = HttpsListener::new(tcp, &mixed, Router::new(), admit).unwrap_err();
    assert!(matches!(refused, HttpsError::Certificate(_)), "{refused}");
}
