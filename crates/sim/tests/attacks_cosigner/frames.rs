//! Frames that no program of ours would send, at the listener of a real signer: the peer is made of a TLS
//! library alone.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use custody::Hash;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group, sign::any_eddsa_type};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use sim::attacker::Scene;
use wire::message::{FromCosigner, ToCosigner};

type Raw = StreamOwned<ClientConnection, TcpStream>;

#[derive(Debug)]
struct TrustAnything;

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// An admitted connection with the TLS key of a person, on which anything can be sent.
fn raw(address: SocketAddr, as_whom: &str) -> Raw {
    let key = fixtures::key(&format!("{as_whom}/tls"));
    // The heads of the DER forms of RFC 8410.
    let (secret, public) = (
        b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
        b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
    );
    let pkcs8 = [&secret[..], &key.to_bytes()].concat();
    let spki = [&public[..], key.verifying_key().as_bytes()].concat();
    let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8)).unwrap();
    let shown = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing));
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnything))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown)));
    let tls = ClientConnection::new(Arc::new(config), ServerName::from(address.ip())).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut stream = StreamOwned::new(tls, socket);
    let mut admitted = [9];
    stream.read_exact(&mut admitted).unwrap();
    assert_eq!(admitted, [0]);
    stream
}

fn send(stream: &mut Raw, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// Whether the other side ends the connection without another word.
fn is_cut(stream: &mut Raw) -> bool {
    let mut rest = Vec::new();
    !matches!(stream.read_to_end(&mut rest), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
        && rest.is_empty()
}

fn served(scene: &Scene) {
    let mut connection = scene.connect("alice", "s1").unwrap();
    let nonce = Hash([8; 32]);
    connection.send(&wire::encode(&ToCosigner::Challenge { nonce }).unwrap()).unwrap();
    let FromCosigner::Answer(answer) = wire::decode(&connection.recv().unwrap()).unwrap() else { panic!() };
    assert_eq!(answer.nonce, nonce);
}

#[test]
fn frames_too_long_or_too_slow_end_their_connection_and_no_other() {
    let scene = Scene::bare();
    let address = scene.signers.address("s1");
    let limit = u32::try_from(wire::MAX_FRAME_BYTES).unwrap();
    let before = scene.signers.memory_kib("s1");
    for announced in [limit + 1, u32::MAX] {
        let mut stream = raw(address, "bob");
        send(&mut stream, &announced.to_be_bytes()).unwrap();
        // It may be cut while we send on: nothing of it is kept.
        for _ in 0..64 {
            if send(&mut stream, &[b'['; 64 * 1024]).is_err() {
                break;
            }
        }
        assert!(is_cut(&mut stream), "{announced}");
        served(&scene);
    }
    // Half a frame, and silence; and a byte a second.
    let (mut half, mut drops) = (raw(address, "bob"), raw(address, "carol"));
    let began = Instant::now();
    send(&mut half, &limit.to_be_bytes()).unwrap();
    send(&mut half, &[b'['; 1_000_000]).unwrap();
    let cut_after = loop {
        if send(&mut drops, &[0]).is_err() || began.elapsed() > wire::FRAME_DEADLINE * 2 {
            break began.elapsed();
        }
        served(&scene);
        std::thread::sleep(Duration::from_secs(1));
    };
    assert!(cut_after < wire::FRAME_DEADLINE + Duration::from_secs(5), "{cut_after:?}");
    assert!(is_cut(&mut half));
    let grown = scene.signers.memory_kib("s1").saturating_sub(before);
    assert!(grown < 20 * 1024, "s1 grew by {grown} KiB");

    // The twin: a whole frame from the same kind of peer is answered.
    let mut stream = raw(address, "bob");
    let message = wire::encode(&ToCosigner::Challenge { nonce: Hash([1; 32]) }).unwrap();
    send(&mut stream, &[&u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat())
        .unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    assert!(matches!(wire::decode(&answer).unwrap(), FromCosigner::Answer(_)));
    served(&scene);
}
