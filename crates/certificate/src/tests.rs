use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;

use super::*;

/// RFC 8032 §7.1, test 1.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

const HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "::1", "custody.example"];

/// Whoever was given a certificate has these bytes: another version of the program must make them too.
const GOLDEN: &str = include_str!("golden.pem");

fn seed(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

fn bytes(hex: &str) -> [u8; 32] {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap().try_into().unwrap()).collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect();
    bytes.try_into().unwrap()
}

fn at(year: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952 + 86_400))
}

fn roots(certificate: &Certificate) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.der.clone())).unwrap();
    Arc::new(roots)
}

/// What a client says that trusts `root` and meets somebody who shows `shown` at `host`.
fn verdict(root: &Certificate, shown: &Certificate, host: &str, now: UnixTime) -> Result<(), rustls::Error> {
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(root), provider).build().unwrap();
    let shown = CertificateDer::from(shown.der.as_slice());
    let name = ServerName::try_from(host).unwrap();
    verifier.verify_server_cert(&shown, &[], &name, &[], now).map(drop)
}

#[test]
fn the_bytes_are_those_that_people_have() {
    let made = self_signed(&Zeroizing::new(bytes(SEED)), "server", &HOSTS).unwrap();
    assert_eq!(made.pem, GOLDEN);
    assert_eq!(CertificateDer::from_pem_slice(GOLDEN.as_bytes()).unwrap().as_ref(), made.der);
    assert_eq!(key_of(&made.der), Some(bytes(PUBLIC)));
}

/// The example of RFC 8410 §10.3.
#[test]
fn the_private_key_is_written_as_in_rfc_8410() {
    let seed = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    let made = self_signed(&Zeroizing::new(bytes(seed)), "x", &[]).unwrap();
    let expected = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    assert_eq!(*made.key_pem, expected);
    let read = rustls::pki_types::PrivatePkcs8KeyDer::from_pem_slice(made.key_pem.as_bytes()).unwrap();
    assert_eq!(read.secret_pkcs8_der(), made.key_der.as_slice());
    let debug = format!("{made:?}");
    assert_eq!(debug, format!("Certificate({} bytes, <secret key>)", made.der.len()));
}

#[test]
fn a_client_whose_only_root_it_is_accepts_it_at_its_hosts() {
    let made = self_signed(&seed(1), "server", &HOSTS).unwrap();
    for host in HOSTS {
        for year in [2021, 2026, 2100, 9998] {
            verdict(&made, &made, host, at(year)).unwrap();
        }
    }
    for host in ["127.0.0.2", "example", "www.custody.example", "::2"] {
        assert!(verdict(&made, &made, host, at(2026)).is_err(), "{host}");
    }
    assert!(verdict(&made, &made, "localhost", at(2019)).is_err());
}

#[test]
fn a_client_accepts_nobody_else() {
    let made = self_signed(&seed(1), "server", &HOSTS).unwrap();
    let other = self_signed(&seed(2), "server", &HOSTS).unwrap();
    assert!(verdict(&made, &other, "localhost", at(2026)).is_err());
}

#[test]
fn it_serves_as_certificate_of_a_caller_too() {
    let made = self_signed(&seed(1), "payments", &[]).unwrap();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&made), provider).build().unwrap();
    let shown = CertificateDer::from(made.der.as_slice());
    verifier.verify_client_cert(&shown, &[], at(2026)).unwrap();
}

#[test]
fn each_name_and_host_makes_another_certificate() {
    let made = |name: &str, hosts: &[&str]| self_signed(&seed(1), name, hosts).unwrap().der;
    assert_eq!(made("a", &["x"]), made("a", &["x"]));
    let all = [made("a", &[]), made("b", &[]), made("a", &["b"]), made("a", &["b", "c"]), made("a", &["bc"])];
    for (place, one) in all.iter().enumerate() {
        assert!(!all[..place].contains(one));
    }
    let number = |hosts: &[String]| serial(&[1; 32], "a", hosts).to_bytes();
    assert_ne!(number(&["b".into(), "c".into()]), number(&["bc".into()]));
    assert_eq!(number(&[]).len(), SERIAL_BYTES);
    assert!(number(&[])[0] < 0x80);
}

#[test]
fn what_cannot_stand_in_a_certificate_is_refused() {
    let named = |name: &str| self_signed(&seed(1), name, &[]);
    assert!(matches!(named(""), Err(CertificateError::Name)));
    assert!(named(&"ä".repeat(MAX_NAME_CHARS)).is_ok());
    assert!(matches!(named(&"a".repeat(MAX_NAME_CHARS + 1)), Err(CertificateError::Name)));
    for host in ["", "https://a", "a:443", "a b", "ä.example", "*.example", "a\nb", "1.2.3.4.5"] {
        let refused = self_signed(&seed(1), "a", &[host]).unwrap_err();
        assert!(matches!(refused, CertificateError::Host(named) if named == host), "{host}");
    }
    let many: Vec<String> = (0..=MAX_HOSTS).map(|n| format!("h{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(self_signed(&seed(1), "a", &many[1..]).is_ok());
    assert!(matches!(self_signed(&seed(1), "a", &many), Err(CertificateError::Hosts)));
}

#[test]
fn a_key_is_read_out_of_one_whole_certificate_only() {
    let made = self_signed(&seed(1), "a", &["localhost"]).unwrap();
    let key = key_of(&made.der).unwrap();
    assert_eq!(key, SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes());
    for length in 0..made.der.len() {
        assert_eq!(key_of(&made.der[..length]), None, "{length}");
    }
    let more = [made.der.as_slice(), &[0]].concat();
    assert_eq!(key_of(&more), None);
    let twice = [made.der.as_slice(), made.der.as_slice()].concat();
    assert_eq!(key_of(&twice), None);
    // The bare key, as programs of ours show it to each other.
    assert_eq!(key_of(&[SPKI_PREFIX.as_slice(), &key].concat()), None);
}

/// Whatever bit is wrong: no panic, and a key only where a key stands.
#[test]
fn altered_certificates_are_read_without_surprise() {
    let made = self_signed(&seed(1), "a", &["localhost"]).unwrap();
    let key = key_of(&made.der).unwrap();
    let place = made.der.windows(32).position(|window| window == key).unwrap();
    for bit in 0..made.der.len() * 8 {
        let mut altered = made.der.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        if let Some(found) = key_of(&altered) {
            assert_eq!(found, altered[place..place + 32], "bit {bit}");
        }
    }
}

#[test]
fn other_algorithms_have_no_key_for_us() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256]
    {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let made = CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap();
        assert!(ParsedCertificate::try_from(made.der()).is_ok());
        assert_eq!(key_of(made.der()), None, "{algorithm:?}");
    }
    // Of the same algorithm, but made by another program.
    let pair = rcgen::KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let made = CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap();
    assert_eq!(key_of(made.der()).unwrap(), pair.public_key_raw());
}
