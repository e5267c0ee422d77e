//! A listener that runs, and clients as anybody would write them.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::{Admit, Caller, HttpsListener, Limits};
use axum::routing::{get, post};
use axum::{Extension, Router};
use certificate::{Certificate, key_of, self_signed};
use custody::Hash;
use custody::name::Name;
use custody::state::Owner;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

pub(crate) const SERVER: u8 = 1;
pub(crate) const ALICE: u8 = 2;
pub(crate) const BOB: u8 = 3;
pub(crate) const CAROL: u8 = 4;
pub(crate) const STRANGER: u8 = 9;

/// Longer than anything here takes; a test that waits so long fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A deadline under test, and what is well within it.
pub(crate) const SHORT: Duration = Duration::from_millis(600);
pub(crate) const WITHIN: Duration = Duration::from_millis(100);

pub(crate) fn certificate(who: u8) -> Certificate {
    let hosts: &[&str] = if who == SERVER { &["localhost", "127.0.0.1"] } else { &[] };
    self_signed(&Zeroizing::new([who; 32]), "x", hosts).unwrap()
}

pub(crate) fn key(who: u8) -> [u8; 32] {
    key_of(&certificate(who).der).unwrap()
}

pub(crate) type Enrolled = Arc<Mutex<BTreeMap<[u8; 32], &'static str>>>;

/// A listener that runs, and what its handlers see.
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    pub(crate) enrolled: Enrolled,
    pub(crate) served: Arc<AtomicUsize>,
    pub(crate) most_at_once: Arc<AtomicUsize>,
    pub(crate) task: JoinHandle<()>,
    _runtime: Runtime,
}

pub(crate) fn open() -> Door {
    open_with(Limits::default())
}

pub(crate) fn open_with(limits: Limits) -> Door {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let enrolled: Enrolled =
        Arc::new(Mutex::new([(key(ALICE), "alice"), (key(BOB), "bob"), (key(CAROL), "carol")].into()));
    let (served, most_at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let asked = enrolled.clone();
    let admit: Admit = Arc::new(move |key: &[u8; 32]| {
        let name = Name::new(asked.lock().unwrap().get(key)?).unwrap();
        Some(Caller { owner: Owner::Machine(name), tls: Hash(*key) })
    });
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let router = router(&served, &most_at_once);
    let listener = HttpsListener::new(tcp, &certificate(SERVER), router, admit).unwrap().with_limits(limits);
    let addr = listener.local_addr();
    assert_eq!(format!("{listener:?}"), format!("HttpsListener({addr})"));
    let task = runtime.spawn(async move { drop(listener.serve().await) });
    Door { addr, enrolled, served, most_at_once, task, _runtime: runtime }
}

pub(crate) fn router(served: &Arc<AtomicUsize>, most_at_once: &Arc<AtomicUsize>) -> Router {
    let (served, most, now) = (served.clone(), most_at_once.clone(), Arc::new(AtomicUsize::new(0)));
    let who = move |Extension(caller): Extension<Caller>| {
        served.fetch_add(1, Ordering::SeqCst);
        async move {
            let Owner::Machine(name) = caller.owner else { panic!("a machine") };
            format!("{name} {}", caller.tls == Hash(key(ALICE)))
        }
    };
    let slow = move || {
        let (most, now) = (most.clone(), now.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(SHORT).await;
            now.fetch_sub(1, Ordering::SeqCst);
            "slow"
        }
    };
    let never = || async {
        std::future::pending::<()>().await;
        ""
    };
    let broken = || async {
        if true {
            panic!("a handler of this test is broken");
        }
        ""
    };
    Router::new()
        .route("/who", get(who))
        .route("/slow", get(slow))
        .route("/never", get(never))
        .route("/broken", get(broken))
        .route("/echo", post(|body: String| async { body }))
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn certified(der: &[u8], key: Arc<dyn SigningKey>) -> CertifiedKey {
    CertifiedKey::new(vec![CertificateDer::from(der.to_vec())], key)
}

pub(crate) fn signer(who: u8) -> Arc<dyn SigningKey> {
    any_eddsa_type(&PrivatePkcs8KeyDer::from(certificate(who).key_der.as_slice())).unwrap()
}

/// A client as anybody would write it: the server's certificate is its only root, checked by the
/// ordinary verifier.
pub(crate) fn config(shows: Option<CertifiedKey>) -> ClientConfig {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate(SERVER).der)).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(verifier);
    match shows {
        Some(certified) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))),
        None => builder.with_no_client_auth(),
    }
}

pub(crate) fn dial(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn connect_with(door: &Door, config: ClientConfig) -> Tls {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), dial(door.addr))
}

pub(crate) fn connect(door: &Door, who: u8) -> Tls {
    connect_with(door, config(Some(certified(&certificate(who).der, signer(who)))))
}

/// Reads one answer: its status and body. Nothing when the connection ends first.
pub(crate) fn answer(tls: &mut Tls) -> Option<(u16, String)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match tls.read(&mut byte) {
            Ok(1..) => head.extend(byte),
            Ok(0) => {
                assert!(head.is_empty());
                return None;
            }
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "no answer");
                assert!(head.is_empty());
                return None;
            }
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    tls.read_exact(&mut body).unwrap();
    Some((status, String::from_utf8(body).unwrap()))
}

pub(crate) fn ask(tls: &mut Tls, path: &str) -> Option<(u16, String)> {
    let written = write!(tls, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").and_then(|()| tls.flush());
    written.ok()?;
    answer(tls)
}

pub(crate) fn is_served(tls: &mut Tls) -> bool {
    ask(tls, "/who").is_some_and(|(status, _)| status == 200)
}

/// A refusal arrives as this alert, and no byte of HTTP does.
pub(crate) fn refused_with(mut tls: Tls, expected: AlertDescription) {
    let _ = write!(tls, "GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").and_then(|()| tls.flush());
    let error = tls.read(&mut [0]).unwrap_err();
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert_eq!(alert, Some(&rustls::Error::AlertReceived(expected)), "{error}");
}

/// What comes until the other side closes, and when that was.
pub(crate) fn until_closed(stream: &mut TcpStream) -> (Vec<u8>, Duration) {
    let (begin, mut bytes) = (Instant::now(), Vec::new());
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    (bytes, begin.elapsed())
}

pub(crate) fn only_an_alert(bytes: &[u8]) {
    assert!(bytes.is_empty() || (bytes[0] == 21 && bytes.len() == 7), "{bytes:?}");
}

/// A `ClientHello` (RFC 8446 §4.1.2) written by hand, for our TLS library has no version but 1.3.
pub(crate) fn hello(offers_tls13: bool) -> Vec<u8> {
    fn block(length_bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - length_bytes..], content].concat()
    }
    let extension = |kind: u16, content: &[u8]| [kind.to_be_bytes().to_vec(), block(2, content)].concat();
    let mut extensions = vec![
        extension(10, &block(2, &[0, 29])),      // supported_groups: x25519
        extension(13, &block(2, &[8, 7, 4, 3])), // signature_algorithms: ed25519, ecdsa_secp256r1_sha256
    ];
    if offers_tls13 {
        extensions.push(extension(43, &block(1, &[3, 4])));
        let share = [&[0, 29][..], &block(2, &[9; 32])].concat();
        extensions.push(extension(51, &block(2, &share)));
    }
    let body = [
        &[3, 3][..],
        &[7; 32],
        &block(1, &[]),
        // Suites of TLS 1.3 and of TLS 1.2.
        &block(2, &[0x13, 2, 0xc0, 0x2b, 0xc0, 0x2f]),
        &block(1, &[0]),
        &block(2, &extensions.concat()),
    ]
    .concat();
    let message = [&[1][..], &block(3, &body)].concat();
    [&[22, 3, 1][..], &block(2, &message)].concat()
}
