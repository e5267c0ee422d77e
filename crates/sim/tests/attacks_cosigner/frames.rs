//! Frames that no program of ours would send, at the listener of a real signer: the peer is made of a TLS
//! library alone.

#[path = "../../../wire/tests/common/mod.rs"]
mod peer;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use custody::Hash;
use peer::{RawStream, raw_client, raw_key_of};
use sim::attacker::Scene;
use wire::message::{FromCosigner, ToCosigner};

/// An admitted connection with the TLS key of a person, on which anything can be sent.
fn raw(address: SocketAddr, as_whom: &str) -> RawStream {
    let key = fixtures::key(&format!("{as_whom}/tls"));
    // The head of the DER form of RFC 8410.
    let head = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    let spki = [&head[..], key.verifying_key().as_bytes()].concat();
    let mut stream = raw_client(address, raw_key_of(spki, key.to_bytes()));
    let mut admitted = [9];
    stream.read_exact(&mut admitted).unwrap();
    assert_eq!(admitted, [0]);
    stream
}

fn send(stream: &mut RawStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// Whether the other side ends the connection without another word.
fn is_cut(stream: &mut RawStream) -> bool {
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
