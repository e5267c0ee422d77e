//! Who gets through a listener, and whom a client believes.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    CLIENT, PATIENCE, SERVER, STRANGER, call, certified, key, listener, pair, raw_client, raw_key, raw_keys,
    spki,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ServerConfig, ServerConnection};
use wire::{Fault, HANDSHAKE_DEADLINE, Listener, MAX_HANDSHAKES, TlsKey, WireError, connect};

#[test]
fn two_pinned_keys_meet_and_each_knows_the_other() {
    let listener = listener();
    let (mut client, mut server) = pair(&listener);
    assert_eq!(client.peer(), key(SERVER).public());
    assert_eq!(server.peer(), key(CLIENT).public());
    client.send(b"ping").unwrap();
    assert_eq!(server.recv().unwrap(), b"ping");
    server.send(b"").unwrap();
    assert_eq!(client.recv().unwrap(), b"");
}

/// RFC 8032 §7.1, test 1.
#[test]
fn the_public_key_is_the_one_of_rfc_8032() {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let seed: [u8; 32] = hex::decode(seed).unwrap().try_into().unwrap();
    let key = TlsKey::from_seed(zeroize::Zeroizing::new(seed)).unwrap();
    assert_eq!(hex::encode(key.public()), public);
    assert_eq!(format!("{key:?}"), format!("TlsKey(public {public})"));
}

#[test]
fn a_server_with_another_key_is_refused_and_named() {
    let listener = listener();
    let pinned = key(42).public();
    let error = connect(listener.local_addr(), &key(CLIENT), pinned, PATIENCE).unwrap_err();
    assert_eq!(error.fault(), Fault::Peer);
    match &error {
        WireError::WrongPeer { expected, found, .. } => {
            assert_eq!(*expected, hex::encode(pinned));
            assert_eq!(*found, hex::encode(key(SERVER).public()));
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains(&hex::encode(pinned)));
    // The listener sees our alert, or a reset that overtook it.
    let seen = listener.accept().unwrap_err();
    assert!(matches!(seen, WireError::Handshake(_) | WireError::HandshakeCut(_)), "{seen}");
}

#[test]
fn a_client_whose_key_is_not_allowed_is_refused_on_both_sides() {
    let listener = listener();
    let error = call(&listener, STRANGER).unwrap_err();
    let stranger = hex::encode(key(STRANGER).public());
    assert!(matches!(&error, WireError::Refused { key, .. } if *key == stranger), "{error}");
    match listener.accept().unwrap_err() {
        WireError::NotAllowed(found) => assert_eq!(found, stranger),
        other => panic!("{other}"),
    }
}

/// The reason arrives even when the client has sent much that nobody will read.
#[test]
fn a_refusal_is_not_overtaken_by_a_reset() {
    let listener = listener();
    for _ in 0..20 {
        let shows = raw_key(spki(STRANGER), STRANGER);
        let mut client = raw_client(listener.local_addr(), shows);
        client.conn.writer().write_all(&[0; 50_000]).unwrap();
        client.conn.complete_io(&mut client.sock).unwrap();
        let mut more = [0; 50_000].as_slice();
        thread::sleep(Duration::from_millis(10));
        let _ = std::io::copy(&mut more, &mut client.sock);
        let error = client.read_exact(&mut [0]).unwrap_err();
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
        let expected = rustls::Error::AlertReceived(AlertDescription::CertificateUnknown);
        assert_eq!(alert, Some(&expected), "{error}");
    }
}

#[test]
fn permission_is_asked_anew_for_each_connection() {
    let open = Arc::new(AtomicBool::new(true));
    let asked = open.clone();
    let allow = Arc::new(move |_: &[u8; 32]| asked.load(Ordering::SeqCst));
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), &key(SERVER), allow).unwrap();
    pair(&listener);
    open.store(false, Ordering::SeqCst);
    assert!(matches!(call(&listener, CLIENT), Err(WireError::Refused { .. })));
}

/// Showing somebody's public key is not holding it.
#[test]
fn a_client_that_shows_a_key_it_does_not_hold_is_refused() {
    let listener = listener();
    let mut thief = raw_client(listener.local_addr(), raw_key(spki(CLIENT), STRANGER));
    assert!(thief.read_exact(&mut [0]).is_err());
    let error = listener.accept().unwrap_err();
    assert!(matches!(error, WireError::Handshake(_)), "{error}");
}

#[test]
fn a_server_that_shows_a_key_it_does_not_hold_is_refused() {
    let addr =
        raw_server(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(vec![spki(SERVER)], STRANGER))));
    let error = connect(addr, &key(CLIENT), key(SERVER).public(), PATIENCE).unwrap_err();
    assert!(matches!(error, WireError::Handshake(_)), "{error}");
}

/// The same public key in an X.509 certificate is not accepted: no certificate is, from anyone.
#[test]
fn certificates_are_refused_on_both_sides() {
    let listener = listener();
    let certificate = Arc::new(SingleCertAndKey::from(certified(vec![spki(CLIENT)], CLIENT)));
    let mut client = raw_client(listener.local_addr(), certificate);
    assert!(client.read_exact(&mut [0]).is_err());
    assert!(matches!(listener.accept(), Err(WireError::Handshake(_))));

    let addr = raw_server(Arc::new(SingleCertAndKey::from(certified(vec![spki(SERVER)], SERVER))));
    let error = connect(addr, &key(CLIENT), key(SERVER).public(), PATIENCE).unwrap_err();
    assert!(matches!(error, WireError::Handshake(_)), "{error}");
}

#[test]
fn a_client_without_a_key_is_refused() {
    let listener = listener();
    #[derive(Debug)]
    struct Nobody;
    impl rustls::client::ResolvesClientCert for Nobody {
        fn resolve(
            &self,
            _: &[&[u8]],
            _: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }
        fn only_raw_public_keys(&self) -> bool {
            true
        }
        fn has_certs(&self) -> bool {
            false
        }
    }
    let mut client = raw_client(listener.local_addr(), Arc::new(Nobody));
    assert!(client.read_exact(&mut [0]).is_err());
    assert!(matches!(listener.accept(), Err(WireError::Handshake(_))));
}

#[test]
fn anything_but_one_whole_key_is_refused() {
    let listener = listener();
    let more = vec![spki(CLIENT), spki(STRANGER)];
    for shown in [vec![[spki(CLIENT), vec![0]].concat()], vec![spki(CLIENT)[..43].to_vec()], more] {
        let mut client = raw_client(listener.local_addr(), raw_keys(shown, CLIENT));
        assert!(client.read_exact(&mut [0]).is_err());
        assert!(matches!(listener.accept(), Err(WireError::Handshake(_))));
    }
}

#[test]
fn tls_1_2_plain_text_and_garbage_are_refused() {
    let listener = listener();
    // ClientHello of TLS 1.2 (RFC 5246 §7.4.1.2): ECDHE-ECDSA-AES128-GCM on P-256.
    let body = [
        "0303".to_owned() + &"11".repeat(32) + "00" + "0002c02b" + "0100",
        "0014".to_owned() + "000a00040002001700" + "0b00020100" + "000d0004000204" + "03",
    ]
    .concat();
    let body = hex::decode(fix_extensions(&body)).unwrap();
    let length = u8::try_from(body.len()).unwrap();
    let head = [0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    let tls12 = [head.as_slice(), &body].concat();
    let http = b"GET / HTTP/1.1\r\nHost: keyward\r\n\r\n".to_vec();
    let alert = |description: u8| vec![0x15, 3, 3, 0, 2, 2, description];
    // RFC 8446 §6.2: 70 is protocol_version, 50 is decode_error.
    for (bytes, expected) in [(tls12, alert(70)), (http, alert(50)), (vec![0xff; 100], alert(50))] {
        let mut stream = TcpStream::connect(listener.local_addr()).unwrap();
        stream.write_all(&bytes).unwrap();
        let error = listener.accept().unwrap_err();
        assert!(matches!(error, WireError::Handshake(_)), "{error}");
        assert_eq!(error.fault(), Fault::Peer);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
}

#[test]
fn a_listener_that_is_silent_is_left_at_the_callers_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let timeout = Duration::from_millis(300);
    let addr = silent.local_addr().unwrap();
    let error = connect(addr, &key(CLIENT), key(SERVER).public(), timeout).unwrap_err();
    assert!(matches!(error, WireError::HandshakeTimeout), "{error}");
    assert!((timeout..timeout * 4).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

/// Slow loris: strangers fill every place for handshakes and trickle. Each is cut at the deadline or
/// earlier, and an honest client gets through meanwhile.
#[test]
fn slow_handshakes_are_cut_and_delay_nobody() {
    let listener = listener();
    let begun = Instant::now();
    let trickle = |addr: SocketAddr| {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        thread::spawn(move || {
            let record = [&[0x16, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3][..], &[0x11; 32]].concat();
            for byte in record {
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
                match stream.read(&mut [0; 64]) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            begun.elapsed()
        })
    };
    let addr = listener.local_addr();
    let strangers: Vec<_> = (0..MAX_HANDSHAKES + 4).map(|_| trickle(addr)).collect();
    let called = Instant::now();
    let mut honest = call(&listener, CLIENT).unwrap();
    assert!(called.elapsed() < Duration::from_secs(2), "{:?}", called.elapsed());
    honest.send(b"here").unwrap();

    let cut: Vec<_> = strangers.into_iter().map(|one| one.join().unwrap()).collect();
    let early = cut.iter().filter(|at| **at < HANDSHAKE_DEADLINE).count();
    assert!((4..=6).contains(&early), "{early} gave way: {cut:?}");
    let latest = cut.iter().max().unwrap();
    assert!(*latest < HANDSHAKE_DEADLINE + Duration::from_secs(2), "{latest:?}");

    let (mut served, mut timed_out) = (0, 0);
    for _ in 0..MAX_HANDSHAKES + 5 {
        match listener.accept() {
            Ok(mut connection) => {
                assert_eq!(connection.recv().unwrap(), b"here");
                served += 1;
            }
            Err(WireError::HandshakeTimeout) => timed_out += 1,
            Err(WireError::HandshakeCut(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(served, 1);
    assert!(timed_out >= MAX_HANDSHAKES - 2, "{timed_out}");
}

#[test]
fn only_private_addresses_are_listened_on() {
    let bind = |addr: &str| Listener::bind(addr.parse().unwrap(), &key(SERVER), Arc::new(|_| true)).map(drop);
    for public in [
        "0.0.0.0:0",
        "[::]:0",
        "8.8.8.8:0",
        "172.32.0.1:0",
        "169.254.1.1:0",
        "[2001:db8::1]:0",
        "[fe80::1]:0",
        "[::ffff:8.8.8.8]:0",
    ] {
        let error = bind(public).unwrap_err();
        assert!(matches!(error, WireError::PublicAddress(_)), "{public}: {error}");
    }
    // This machine may not have these addresses; then the system refuses, not the rule.
    for private in ["127.0.0.1:0", "10.255.255.1:0", "172.31.255.1:0", "192.168.255.1:0", "[fd00::1]:0"] {
        let refused = bind(private).err();
        assert!(matches!(refused, None | Some(WireError::Bind(..))), "{private}: {refused:?}");
    }
}

#[test]
fn a_closed_listener_says_so_and_frees_its_port() {
    let listener = listener();
    let addr = listener.local_addr();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| listener.accept());
        thread::sleep(Duration::from_millis(50));
        listener.close();
        assert!(matches!(waiting.join().unwrap(), Err(WireError::ListenerClosed)));
    });
    let error = connect(addr, &key(CLIENT), key(SERVER).public(), PATIENCE).unwrap_err();
    assert!(matches!(error, WireError::Unreachable(..)), "{error}");
    assert_eq!(error.fault(), Fault::Network);
    Listener::bind(addr, &key(SERVER), Arc::new(|_| true)).unwrap();
}

/// Sets the length of the extensions block, the last thing of a ClientHello, by what follows it.
fn fix_extensions(body: &str) -> String {
    let (head, extensions) = body.split_at(2 * (2 + 32 + 1 + 4 + 2));
    let extensions = &extensions[4..];
    format!("{head}{:04x}{extensions}", extensions.len() / 2)
}

/// A server made of rustls alone, for one connection.
fn raw_server(shows: Arc<dyn rustls::server::ResolvesServerCert>) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(WebPkiClientVerifier::no_client_auth())
        .with_cert_resolver(shows);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        let _ = rustls::Stream::new(&mut tls, &mut socket).write_all(&[0]);
    });
    addr
}
