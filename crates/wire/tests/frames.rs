//! Frames: their limits, their deadline, and much of them at once.

mod common;

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use common::{CLIENT, SERVER, admitted, call, key, listener, pair, send_raw};
use wire::{
    Connection, FRAME_DEADLINE, Fault, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PEER, MAX_FRAME_BYTES, WireError,
};

#[test]
fn the_longest_frame_passes_and_one_byte_more_is_not_sent() {
    let listener = listener();
    let (mut client, mut server) = pair(&listener);
    let payload = pattern(7, MAX_FRAME_BYTES);
    let expected = payload.clone();
    let received = thread::spawn(move || (server.recv(), server));
    client.send(&payload).unwrap();
    let (frame, mut server) = received.join().unwrap();
    assert!(frame.unwrap() == expected);

    let error = client.send(&vec![0; MAX_FRAME_BYTES + 1]).unwrap_err();
    assert!(matches!(error, WireError::PayloadTooLong(n) if n == MAX_FRAME_BYTES + 1));
    assert_eq!(error.fault(), Fault::Local);
    client.send(b"still here").unwrap();
    assert_eq!(server.recv().unwrap(), b"still here");
}

#[test]
fn an_announced_frame_beyond_the_limit_ends_the_connection() {
    let listener = listener();
    let limit = u32::try_from(MAX_FRAME_BYTES).unwrap();
    for announced in [limit + 1, u32::MAX] {
        let (mut peer, mut server) = admitted(&listener);
        send_raw(&mut peer, &announced.to_be_bytes());
        let error = server.recv().unwrap_err();
        assert!(matches!(error, WireError::FrameTooLong(n) if n == announced as usize), "{error}");
        assert_eq!(error.fault(), Fault::Peer);
        assert!(matches!(server.recv(), Err(WireError::Closed)));
        assert!(server.send(b"anyone?").is_err());
    }
    // The limit itself is announced and sent by the same kind of peer.
    let (mut peer, mut server) = admitted(&listener);
    let sending = thread::spawn(move || {
        send_raw(&mut peer, &limit.to_be_bytes());
        send_raw(&mut peer, &vec![5; MAX_FRAME_BYTES]);
        peer
    });
    assert_eq!(server.recv().unwrap(), vec![5; MAX_FRAME_BYTES]);
    drop(sending.join().unwrap());
}

#[test]
fn records_and_frames_need_not_coincide() {
    let listener = listener();
    let (mut peer, mut server) = admitted(&listener);
    let stream = [&[0, 0, 0, 2, 1, 2][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 3]].concat();
    for byte in &stream {
        send_raw(&mut peer, &[*byte]);
    }
    send_raw(&mut peer, &stream.repeat(500));
    for _ in 0..501 {
        assert_eq!(server.recv().unwrap(), [1, 2]);
        assert_eq!(server.recv().unwrap(), b"");
        assert_eq!(server.recv().unwrap(), [3]);
    }
}

#[test]
fn the_end_of_a_connection_is_told_from_the_end_inside_a_frame() {
    let listener = listener();
    let (mut client, mut server) = pair(&listener);
    client.send(b"last words").unwrap();
    drop(client);
    assert_eq!(server.recv().unwrap(), b"last words");
    assert!(matches!(server.recv(), Err(WireError::Closed)));

    for half in [&[0, 0][..], &[0, 0, 0, 9, 1]] {
        let (mut peer, mut server) = admitted(&listener);
        send_raw(&mut peer, half);
        drop(peer);
        assert!(matches!(server.recv(), Err(WireError::Truncated)));
    }
}

/// A byte of the stream changed on its way never becomes a frame.
#[test]
fn altered_ciphertext_ends_the_connection() {
    let listener = listener();
    let (mut peer, mut server) = admitted(&listener);
    peer.conn.writer().write_all(&[0, 0, 0, 1, 42]).unwrap();
    let mut record = Vec::new();
    peer.conn.write_tls(&mut record).unwrap();
    *record.last_mut().unwrap() ^= 1;
    peer.sock.write_all(&record).unwrap();
    let error = server.recv().unwrap_err();
    assert!(matches!(error, WireError::Tls(rustls::Error::DecryptError)), "{error}");
}

#[test]
fn plain_bytes_after_the_handshake_end_the_connection() {
    let listener = listener();
    let (mut peer, mut server) = admitted(&listener);
    peer.sock.write_all(&[0xff; 64 * 1024]).unwrap();
    let error = server.recv().unwrap_err();
    assert_eq!(error.fault(), Fault::Peer, "{error}");
}

/// Both sides send much at once while both read: nobody waits for a lock that the other holds.
#[test]
fn both_directions_at_once_from_two_threads_each() {
    let listener = listener();
    let (client, server) = pair(&listener);
    let begun = Instant::now();
    let run = |connection: Connection, ours: u8, theirs: u8| {
        let (mut reader, mut writer) = connection.split();
        let sending = thread::spawn(move || {
            for index in 0..3000 {
                writer.send(&frame(ours, index)).unwrap();
            }
            writer
        });
        let receiving = thread::spawn(move || {
            for index in 0..3000 {
                assert!(reader.recv().unwrap() == frame(theirs, index), "frame {index}");
            }
            reader
        });
        (sending, receiving)
    };
    let (client_sends, client_reads) = run(client, 1, 2);
    let (server_sends, server_reads) = run(server, 2, 1);
    let _halves = (client_reads.join().unwrap(), server_reads.join().unwrap());
    let _others = (client_sends.join().unwrap(), server_sends.join().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_closer_ends_a_connection_from_another_thread() {
    let listener = listener();
    let (mut client, mut server) = pair(&listener);
    let closer = server.closer();
    let waiting = thread::spawn(move || (server.recv(), server.send(b"too late")));
    thread::sleep(Duration::from_millis(50));
    closer.close();
    let (received, sent) = waiting.join().unwrap();
    assert!(matches!(received, Err(WireError::Closed)));
    assert!(sent.is_err());
    assert!(matches!(client.recv(), Err(WireError::Closed)));
}

/// Three ways to be slow, each cut at the deadline, while another connection is served.
#[test]
fn slow_frames_are_cut_at_the_deadline() {
    let listener = listener();
    // One byte of a frame at a time, each in a record of its own.
    let (mut by_frame, mut reads_frame) = admitted(&listener);
    thread::spawn(move || {
        by_frame.write_all(&[0, 0, 0, 200]).unwrap();
        while by_frame.write_all(&[1]).and_then(|()| by_frame.flush()).is_ok() {
            thread::sleep(Duration::from_millis(300));
        }
    });
    // One byte of a record at a time.
    let (mut by_record, mut reads_record) = admitted(&listener);
    thread::spawn(move || {
        let mut record = Vec::new();
        by_record.conn.writer().write_all(&[7; 400]).unwrap();
        by_record.conn.write_tls(&mut record).unwrap();
        for byte in record {
            if by_record.sock.write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(300));
        }
    });
    // Never reading.
    let (deaf, mut writes) = admitted(&listener);

    let slow = |mut recv: Connection| {
        thread::spawn(move || {
            let begun = Instant::now();
            (recv.recv().unwrap_err(), begun.elapsed())
        })
    };
    let (honest, mut honest_server) = pair_as(&listener, 3);
    let (mut idle, mut idle_server) = pair_as(&listener, 4);
    idle.send(b"and then nothing for long").unwrap();
    idle_server.recv().unwrap();
    let idle_server = thread::spawn(move || (idle_server.recv(), idle_server));
    let (mut reader, mut writer) = honest.split();
    reads_frame.send(b"hello").unwrap();
    reads_record.send(b"hello").unwrap();
    let slow = [slow(reads_frame), slow(reads_record)];
    let stuck = thread::spawn(move || {
        let payload = vec![0; MAX_FRAME_BYTES];
        loop {
            let begun = Instant::now();
            if let Err(error) = writes.send(&payload) {
                break (error, begun.elapsed());
            }
        }
    });
    let mut served = 0;
    while slow.iter().any(|thread| !thread.is_finished()) {
        let begun = Instant::now();
        writer.send(b"ping").unwrap();
        assert_eq!(honest_server.recv().unwrap(), b"ping");
        honest_server.send(b"pong").unwrap();
        assert_eq!(reader.recv().unwrap(), b"pong");
        assert!(begun.elapsed() < Duration::from_secs(1));
        served += 1;
        thread::sleep(Duration::from_millis(100));
    }
    assert!(served > 10);
    for thread in slow.into_iter().chain([stuck]) {
        let (error, took) = thread.join().unwrap();
        assert!(matches!(error, WireError::SlowFrame), "{error}");
        let allowed = FRAME_DEADLINE - Duration::from_millis(500)..FRAME_DEADLINE * 2;
        assert!(allowed.contains(&took), "{took:?}");
    }
    drop(deaf);
    // Idle is not slow: the deadline is a frame's, not the connection's.
    idle.send(b"still here").unwrap();
    assert_eq!(idle_server.join().unwrap().0.unwrap(), b"still here");
}

#[test]
fn one_key_may_hold_so_many_connections_and_no_more() {
    let listener = listener();
    let mut held: Vec<_> = (0..MAX_CONNECTIONS_PER_PEER).map(|_| pair(&listener)).collect();
    assert!(matches!(call(&listener, CLIENT), Err(WireError::PeerFull)));
    assert!(matches!(listener.accept(), Err(WireError::PeerFull)));
    // Another key is not affected, and a closed connection makes room once both halves are gone.
    pair_as(&listener, 3);
    let (client, server) = held.pop().unwrap();
    drop(client);
    let (reader, writer) = server.split();
    drop(reader);
    assert!(matches!(call(&listener, CLIENT), Err(WireError::PeerFull)));
    assert!(matches!(listener.accept(), Err(WireError::PeerFull)));
    drop(writer);
    pair(&listener);
}

#[test]
fn one_listener_may_hold_so_many_connections_and_no_more() {
    let listener = listener();
    let mut held = Vec::new();
    for index in 0..MAX_CONNECTIONS {
        let seed = u8::try_from(100 + index / MAX_CONNECTIONS_PER_PEER).unwrap();
        held.push(pair_as(&listener, seed));
    }
    assert!(matches!(call(&listener, 3), Err(WireError::ListenerFull)));
    assert!(matches!(listener.accept(), Err(WireError::ListenerFull)));
    held.pop();
    pair_as(&listener, 3);
}

fn pair_as(listener: &wire::Listener, seed: u8) -> (Connection, Connection) {
    let client = call(listener, seed).unwrap();
    let server = listener.accept().unwrap();
    assert_eq!((client.peer(), server.peer()), (key(SERVER).public(), key(seed).public()));
    (client, server)
}

/// Frames of all sizes, now and then a long one.
fn frame(side: u8, index: usize) -> Vec<u8> {
    let length = if index % 500 == 499 { 1_500_000 } else { index * 37 % 20_000 };
    pattern(side.wrapping_add(index as u8), length)
}

fn pattern(start: u8, length: usize) -> Vec<u8> {
    let mut byte = start;
    std::iter::repeat_with(|| {
        byte = byte.wrapping_mul(5).wrapping_add(113);
        byte
    })
    .take(length)
    .collect()
}
