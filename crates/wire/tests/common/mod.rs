//! What the tests share: honest keys and listeners, and a client that keeps to no rule of ours but
//! speaks TLS by rustls itself.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group, sign::any_eddsa_type};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use wire::{Connection, Listener, TlsKey, connect};
use zeroize::Zeroizing;

pub const SERVER: u8 = 1;
pub const CLIENT: u8 = 2;
pub const STRANGER: u8 = 99;
pub const PATIENCE: Duration = Duration::from_secs(5);

pub fn key(seed: u8) -> TlsKey {
    TlsKey::from_seed(Zeroizing::new([seed; 32])).unwrap()
}

/// A listener of [`SERVER`] that allows every key but the stranger's.
pub fn listener() -> Listener {
    let stranger = key(STRANGER).public();
    let allow = Arc::new(move |peer: &[u8; 32]| *peer != stranger);
    Listener::bind("127.0.0.1:0".parse().unwrap(), &key(SERVER), allow).unwrap()
}

pub fn call(listener: &Listener, seed: u8) -> Result<Connection, wire::WireError> {
    connect(listener.local_addr(), &key(seed), key(SERVER).public(), PATIENCE)
}

/// An honest connection: the client's side and the listener's.
pub fn pair(listener: &Listener) -> (Connection, Connection) {
    let client = call(listener, CLIENT).unwrap();
    (client, listener.accept().unwrap())
}

/// What is shown as public key, and the key that signs: the same in an honest client.
pub fn certified(shown: Vec<Vec<u8>>, signer: u8) -> Arc<CertifiedKey> {
    certified_by(shown, [signer; 32])
}

fn certified_by(shown: Vec<Vec<u8>>, seed: [u8; 32]) -> Arc<CertifiedKey> {
    let head = hex::decode("302e020100300506032b657004220420").unwrap();
    let pkcs8 = [head, seed.to_vec()].concat();
    let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice())).unwrap();
    Arc::new(CertifiedKey::new(shown.into_iter().map(CertificateDer::from).collect(), signing))
}

pub fn spki(seed: u8) -> Vec<u8> {
    [hex::decode("302a300506032b6570032100").unwrap(), key(seed).public().to_vec()].concat()
}

pub fn raw_key(shown: Vec<u8>, signer: u8) -> Arc<dyn ResolvesClientCert> {
    raw_keys(vec![shown], signer)
}

/// The same with a seed of its own.
pub fn raw_key_of(shown: Vec<u8>, seed: [u8; 32]) -> Arc<dyn ResolvesClientCert> {
    Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified_by(vec![shown], seed)))
}

pub fn raw_keys(shown: Vec<Vec<u8>>, signer: u8) -> Arc<dyn ResolvesClientCert> {
    Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(shown, signer)))
}

pub type RawStream = rustls::StreamOwned<ClientConnection, TcpStream>;

/// A client made of rustls alone that trusts any server.
pub fn raw_client(addr: SocketAddr, shows: Arc<dyn ResolvesClientCert>) -> RawStream {
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnything))
        .with_client_cert_resolver(shows);
    let tls = ClientConnection::new(Arc::new(config), ServerName::from(addr.ip())).unwrap();
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    rustls::StreamOwned::new(tls, socket)
}

/// A client that is admitted as [`CLIENT`] and may now send what it likes, with the listener's side.
pub fn admitted(listener: &Listener) -> (RawStream, Connection) {
    let mut stream = raw_client(listener.local_addr(), raw_key(spki(CLIENT), CLIENT));
    let mut answer = [9];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    assert_eq!(answer, [0]);
    (stream, listener.accept().unwrap())
}

pub fn send_raw(stream: &mut RawStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    stream.flush().unwrap();
}

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
