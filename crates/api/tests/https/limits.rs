//! How much of the listener one caller can have, and for how long.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use api::{Limits, MAX_HEAD_BYTES};

use crate::door::{
    ALICE, BOB, CAROL, Door, PATIENCE, SHORT, Tls, WITHIN, answer, ask, connect, dial, hello, is_served,
    open, open_with, until_closed,
};

#[test]
fn a_handshake_has_a_deadline() {
    let door = open_with(Limits { handshake: SHORT, ..Limits::default() });
    // A peer that says nothing, and one that sends its greeting byte by byte.
    let mut silent = dial(door.addr);
    let (bytes, after) = until_closed(&mut silent);
    assert!(bytes.is_empty() && after >= SHORT, "{after:?}");
    let mut drip = dial(door.addr);
    let begin = Instant::now();
    for byte in hello(true) {
        if drip.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let cut = begin.elapsed() >= SHORT && until_closed(&mut drip).0.is_empty();
    assert!(cut);
    // The deadline is one of the handshake: a connection lasts.
    let mut alice = connect(&door, ALICE);
    assert!(is_served(&mut alice));
    std::thread::sleep(SHORT + WITHIN);
    assert!(is_served(&mut alice));
}

#[test]
fn the_oldest_handshake_gives_way() {
    let door = open_with(Limits { handshakes: 2, ..Limits::default() });
    let mut silent: Vec<_> = (0..2).map(|_| dial(door.addr)).collect();
    std::thread::sleep(WITHIN);
    for stream in &mut silent {
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // Within the limit nobody was sent away; one more gets through in spite of them.
    assert!(is_served(&mut connect(&door, ALICE)));
    silent[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(until_closed(&mut silent[0]).0.is_empty());
    assert_eq!(silent[1].read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Tries until the listener noticed that a connection is gone.
fn is_served_soon(door: &Door, who: u8) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if is_served(&mut connect(door, who)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn one_key_has_so_many_connections() {
    let door = open_with(Limits { connections_per_key: 2, ..Limits::default() });
    let (mut first, mut second) = (connect(&door, ALICE), connect(&door, ALICE));
    assert!(is_served(&mut first) && is_served(&mut second));
    assert_eq!(ask(&mut connect(&door, ALICE), "/who"), None);
    assert!(is_served(&mut connect(&door, BOB)));
    assert!(is_served(&mut first) && is_served(&mut second));
    drop(first);
    assert!(is_served_soon(&door, ALICE));
}

#[test]
fn there_are_so_many_connections_in_all() {
    let door = open_with(Limits { connections: 2, ..Limits::default() });
    let (mut alice, mut bob) = (connect(&door, ALICE), connect(&door, BOB));
    assert!(is_served(&mut alice) && is_served(&mut bob));
    assert_eq!(ask(&mut connect(&door, CAROL), "/who"), None);
    assert!(is_served(&mut alice) && is_served(&mut bob));
    drop(bob);
    assert!(is_served_soon(&door, CAROL));
}

/// The slow loris: a head that never ends.
#[test]
fn a_head_has_a_deadline() {
    let door = open_with(Limits { head: SHORT, ..Limits::default() });
    let mut slow = connect(&door, ALICE);
    let begin = Instant::now();
    write!(slow, "GET /who HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    while write!(slow, "X-More: 1\r\n").and_then(|()| slow.flush()).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "not cut");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begin.elapsed() >= SHORT);
    assert_eq!(answer(&mut slow), None);
    assert_eq!(door.served.load(Ordering::SeqCst), 0);
    // One that is in time is served, in pieces too, and then again.
    let mut alice = connect(&door, ALICE);
    for _ in 0..3 {
        write!(alice, "GET /who HTTP/1.1\r\n").and_then(|()| alice.flush()).unwrap();
        std::thread::sleep(WITHIN);
        write!(alice, "Host: localhost\r\n\r\n").and_then(|()| alice.flush()).unwrap();
        assert_eq!(answer(&mut alice), Some((200, "alice true".into())));
    }
    // Idle for longer, the connection ends.
    let begin = Instant::now();
    assert_eq!(answer(&mut alice), None);
    assert!(begin.elapsed() >= SHORT - WITHIN);
}

#[test]
fn a_body_has_a_deadline() {
    let door = open_with(Limits { body: SHORT, ..Limits::default() });
    let post = |tls: &mut Tls| {
        write!(tls, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n").unwrap();
        tls.flush().unwrap();
    };
    let mut slow = connect(&door, ALICE);
    post(&mut slow);
    let begin = Instant::now();
    for _ in 0..60 {
        if slow.write_all(b"a").and_then(|()| slow.flush()).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // The handler answers that there was no body, and the connection is over.
    let status = answer(&mut slow).map(|(status, _)| status);
    assert!(begin.elapsed() >= SHORT && matches!(status, None | Some(400)), "{status:?}");
    assert_eq!(ask(&mut slow, "/who"), None);
    let mut alice = connect(&door, ALICE);
    post(&mut alice);
    alice.write_all(&[b'a'; 500]).and_then(|()| alice.flush()).unwrap();
    std::thread::sleep(WITHIN);
    alice.write_all(&[b'b'; 500]).and_then(|()| alice.flush()).unwrap();
    assert_eq!(answer(&mut alice), Some((200, "a".repeat(500) + &"b".repeat(500))));
}

#[test]
fn a_head_has_a_greatest_size() {
    let door = open();
    let head = |bytes: usize| {
        let (begin, end) = ("GET /who HTTP/1.1\r\nHost: localhost\r\nX-Long: ", "\r\n\r\n");
        let mut tls = connect(&door, ALICE);
        write!(tls, "{begin}{}{end}", "a".repeat(bytes - begin.len() - end.len())).unwrap();
        tls.flush().unwrap();
        answer(&mut tls).map(|(status, _)| status)
    };
    assert_eq!(head(MAX_HEAD_BYTES), Some(200));
    assert_eq!(head(MAX_HEAD_BYTES + 1), Some(431));
}

#[test]
fn a_connection_has_a_lifetime() {
    let door = open_with(Limits { lifetime: SHORT, ..Limits::default() });
    let mut busy = connect(&door, ALICE);
    let begin = Instant::now();
    while is_served(&mut busy) {
        assert!(begin.elapsed() < PATIENCE, "not cut");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begin.elapsed() >= SHORT);
    // What is under way is answered: this takes as long as the lifetime, and begins a little later.
    let mut slow = connect(&door, ALICE);
    assert!(is_served(&mut slow));
    std::thread::sleep(WITHIN);
    assert_eq!(ask(&mut slow, "/slow"), Some((200, "slow".into())));
    assert_eq!(ask(&mut slow, "/who"), None);
}

/// Also a caller that never takes its answer gives its place back thereby.
#[test]
fn the_last_answer_has_a_deadline() {
    let door = open_with(Limits { lifetime: WITHIN, last_answer: SHORT, ..Limits::default() });
    let mut tls = connect(&door, ALICE);
    let begin = Instant::now();
    assert_eq!(ask(&mut tls, "/never"), None);
    assert!(begin.elapsed() >= SHORT);
}

#[test]
fn one_connection_carries_one_request_at_a_time() {
    let door = open();
    let mut tls = connect(&door, ALICE);
    let two = "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    write!(tls, "{two}GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").and_then(|()| tls.flush()).unwrap();
    let answers: Vec<_> = (0..3).map(|_| answer(&mut tls).unwrap().1).collect();
    assert_eq!(answers, ["slow", "slow", "alice true"]);
    assert_eq!(door.most_at_once.load(Ordering::SeqCst), 1);
}

#[test]
fn callers_that_go_away_and_handlers_that_break_concern_nobody_else() {
    let door = open_with(Limits { connections: 1, ..Limits::default() });
    // In the middle of a head, of a body, of an answer; without the word that ends TLS.
    for text in [
        "GET /who HT",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc",
        "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\0\0\0\0 not HTTP at all",
    ] {
        let mut tls = connect(&door, ALICE);
        tls.write_all(text.as_bytes()).and_then(|()| tls.flush()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        drop(tls);
        assert!(is_served_soon(&door, BOB), "{text}");
    }
    let mut tls = connect(&door, ALICE);
    while !is_served(&mut tls) {
        tls = connect(&door, ALICE);
    }
    assert_eq!(ask(&mut tls, "/broken"), None);
    assert!(is_served_soon(&door, BOB));
}

#[test]
fn dropping_the_listener_ends_all_of_it() {
    let door = open();
    let mut alice = connect(&door, ALICE);
    assert!(is_served(&mut alice));
    door.task.abort();
    assert_eq!(answer(&mut alice), None);
    let begin = Instant::now();
    while TcpStream::connect(door.addr).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "still listening");
    }
}
