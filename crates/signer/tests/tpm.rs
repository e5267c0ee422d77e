//! The counter of a TPM 2.0, at `swtpm` and at peers that answer wrongly.

#[path = "rollback/swtpm.rs"]
mod swtpm;

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;

use signer::tpm::{Counter, DEFAULT_INDEX, OWNER_INDICES, RESPONSE_LIMIT_BYTES, RETRY_LIMIT, TpmError};
use swtpm::Tpm;
use tempfile::TempDir;

fn open(tpm: &Tpm) -> Counter {
    Counter::open(&tpm.socket(), DEFAULT_INDEX).unwrap()
}

#[test]
fn a_counter_only_rises_whoever_restarts_what() {
    let mut tpm = Tpm::new();
    let mut counter = open(&tpm);
    assert_eq!(counter.value(), None, "looking defines nothing");
    drop(counter);
    counter = open(&tpm);
    let first = counter.increment().unwrap();
    assert_eq!((first, counter.value()), (1, Some(1)));
    for further in 1..=5 {
        assert_eq!(counter.increment().unwrap(), first + further);
    }
    // One client after the other; another program reads the same.
    drop(counter);
    assert_eq!(tpm.count(), 6);
    for restart in 0..3 {
        tpm.stop();
        tpm.start();
        let mut counter = open(&tpm);
        assert_eq!(counter.value(), Some(6 + restart), "after a failure of power too");
        assert_eq!(counter.increment().unwrap(), 7 + restart);
    }
    // Undefined by the owner, it begins above what it ever was.
    assert_eq!(
        tpm.raw("80020000001f000001224000000101814b5700000009400000090000000000"),
        "80020000001300000000000000000000010000"
    );
    let mut counter = open(&tpm);
    assert_eq!(counter.value(), None);
    assert_eq!(counter.increment().unwrap(), 10);
}

#[test]
fn an_index_keeps_the_attributes_that_were_meant() {
    let tpm = Tpm::new();
    open(&tpm).increment().unwrap();
    let public = tpm.raw("80010000000e0000016901814b57");
    // Counter, AUTHWRITE, AUTHREAD, NO_DA, WRITTEN; SHA-256; no policy; eight bytes.
    assert_eq!(&public[20..52], "000e01814b57000b2204001400000008");
}

#[test]
fn an_index_that_is_something_else_is_refused() {
    let tpm = Tpm::new();
    let (read, write, counter, no_da) = (1 << 18, 1 << 2, 1 << 4, 1 << 25);
    let (owner_read, owner_write) = (1 << 17, 1 << 1);
    let others = [
        ("bytes", read | write | no_da, 8),
        ("a field of bits", read | write | no_da | 2 << 4, 8),
        ("a counter for the owner", counter | owner_read | owner_write, 8),
        ("a counter that only the owner reads", counter | owner_read | write | no_da, 8),
        ("a counter that only the owner writes", counter | read | owner_write | no_da, 8),
        ("a counter that others' wrong passwords lock", counter | read | write, 8),
    ];
    for ((what, attributes, bytes), index) in others.into_iter().zip(0x0180_0001..) {
        tpm.define(index, attributes, bytes);
        let refused = Counter::open(&tpm.socket(), index).unwrap_err();
        assert!(matches!(refused, TpmError::NoCounter(i) if i == index), "{what}: {refused}");
    }
    // One that the owner defined is as good; this one spares the memory.
    tpm.define(DEFAULT_INDEX, counter | read | write | no_da | 1 << 26, 8);
    let mut counter = open(&tpm);
    assert_eq!(counter.value(), None);
    let first = counter.increment().unwrap();
    assert_eq!(counter.increment().unwrap(), first + 1);
}

#[test]
fn indices_are_those_of_the_owner() {
    let tpm = Tpm::new();
    for index in [*OWNER_INDICES.start(), *OWNER_INDICES.end()] {
        assert_eq!(Counter::open(&tpm.socket(), index).unwrap().value(), None);
    }
    for index in [0, OWNER_INDICES.start() - 1, OWNER_INDICES.end() + 1, u32::MAX] {
        let refused = Counter::open(&tpm.socket(), index).unwrap_err();
        assert!(matches!(refused, TpmError::Index(i) if i == index), "{refused}");
    }
}

#[test]
fn an_owner_with_a_password_defines_the_counter_himself() {
    let tpm = Tpm::new();
    // TPM2_HierarchyChangeAuth of the owner.
    let change = "8002000000210000012940000001000000094000000900000000000004 70617373".replace(' ', "");
    assert!(tpm.raw(&change).starts_with("8002000000130000000"), "{}", tpm.raw(&change));
    let refused = open(&tpm).increment().unwrap_err().to_string();
    assert!(
        refused.starts_with("TPM2_NV_DefineSpace of index 0x01814b57: the TPM says 0x9a2; "),
        "{refused}"
    );
    assert!(refused.contains("tpm2_nvdefine"), "{refused}");
}

/// A peer that answers as it is told, one answer for each command, and then hangs up.
fn peer(answers: Vec<Vec<u8>>) -> (TempDir, Result<Counter, TpmError>) {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("tpm.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            if stream.read(&mut [0; 4096]).unwrap() == 0 || stream.write_all(&answer).is_err() {
                break;
            }
        }
    });
    let counter = Counter::open(&socket, DEFAULT_INDEX);
    (directory, counter)
}

fn response(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(10 + body.len()).unwrap();
    [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

/// An answer to a command with a session.
fn done(parameters: &[u8]) -> Vec<u8> {
    let size = u32::try_from(parameters.len()).unwrap();
    response(0x8002, 0, &[&size.to_be_bytes()[..], parameters, &[0, 0, 0, 0, 0]].concat())
}

fn count(at: u64) -> Vec<u8> {
    done(&[&[0, 8][..], &at.to_be_bytes()].concat())
}

/// The public area of the counter, written, and its name.
fn public() -> Vec<u8> {
    let mut public = vec![0, 14, 0x01, 0x81, 0x4b, 0x57, 0, 0x0b, 0x22, 0x04, 0, 0x14, 0, 0, 0, 8, 0, 34];
    public.extend([7; 34]);
    public
}

fn looked(body: &[u8]) -> Vec<u8> {
    response(0x8001, 0, body)
}

#[test]
fn a_counter_that_others_move_or_that_stands_still_is_noticed() {
    for (then, fits) in [(42, true), (43, false), (41, false), (0, false)] {
        let (_directory, counter) = peer(vec![looked(&public()), count(41), done(&[]), count(then)]);
        let mut counter = counter.unwrap();
        assert_eq!(counter.value(), Some(41));
        match counter.increment() {
            Ok(value) => assert!(fits && value == 42),
            Err(TpmError::Elsewhere { expected: 42, is, .. }) => assert!(!fits && is == then),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn answers_that_are_none_are_refused() {
    let whole = looked(&public());
    let sizes = |size: u32| [&whole[..2], &size.to_be_bytes(), &whole[6..]].concat();
    let long = |bytes: usize| looked(&[public(), vec![0; bytes - 10 - public().len()]].concat());
    let mut other = public();
    other[5] ^= 1;
    let first = [
        ("a shorter size than was sent", sizes(9)),
        ("no size", sizes(0)),
        ("a size above all limits", long(RESPONSE_LIMIT_BYTES + 1)),
        ("another tag", response(0x8002, 0, &public())),
        ("another index", looked(&other)),
        ("too little of a public area", looked(&public()[..11])),
        ("nothing", looked(&[])),
    ];
    for (what, answer) in first {
        let refused = peer(vec![answer, count(1)]).1.unwrap_err();
        assert!(matches!(refused, TpmError::Malformed("TPM2_NV_ReadPublic")), "{what}: {refused}");
    }
    let second = [
        ("another tag", response(0x8001, 0, &count(1)[10..])),
        ("seven bytes", done(&[0, 7, 0, 0, 0, 0, 0, 0, 1])),
        ("nine bytes", done(&[0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        ("more parameters than bytes", response(0x8002, 0, &[0, 0, 0, 11, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1])),
        ("nothing", response(0x8002, 0, &[])),
    ];
    for (what, answer) in second {
        let refused = peer(vec![whole.clone(), answer]).1.unwrap_err();
        assert!(matches!(refused, TpmError::Malformed("TPM2_NV_Read")), "{what}: {refused}");
    }
    // The other side of the limit, and a peer that goes away in the middle.
    assert_eq!(peer(vec![long(RESPONSE_LIMIT_BYTES), count(1)]).1.unwrap().value(), Some(1));
    for bytes in [0, 5, whole.len() - 1] {
        let refused = peer(vec![whole[..bytes].to_vec()]).1.unwrap_err();
        assert!(matches!(refused, TpmError::Io { command: "TPM2_NV_ReadPublic", .. }), "{bytes}: {refused}");
    }
}

#[test]
fn what_the_tpm_puts_off_is_tried_again_some_times() {
    let most = usize::try_from(RETRY_LIMIT).unwrap();
    let rate = || response(0x8001, 0x920, &[]);
    for (times, fits) in [(most, true), (most + 1, false)] {
        let put_off = std::iter::repeat_with(rate).take(times);
        let answers = [looked(&public()), count(1)].into_iter().chain(put_off).chain([done(&[]), count(2)]);
        let (_directory, counter) = peer(answers.collect());
        let counted = counter.unwrap().increment();
        match &counted {
            Ok(value) => assert!(fits && *value == 2),
            Err(error) => assert!(!fits && error.to_string().contains("0x920; it puts this off"), "{error}"),
        }
    }
    // Yielded, testing itself, busy, its memory out of reach: as well. Anything else: never.
    for code in [0x908, 0x90a, 0x922, 0x923] {
        let answers = vec![response(0x8001, code, &[]), looked(&public()), count(1)];
        assert_eq!(peer(answers).1.unwrap().value(), Some(1));
    }
    let failed = peer(vec![response(0x8001, 0x101, &[]), looked(&public()), count(1)]).1.unwrap_err();
    assert!(matches!(failed, TpmError::Refused { code: 0x101, .. }), "{failed}");
}

#[test]
fn what_to_do_depends_on_what_was_tried_and_what_was_said() {
    let (owner, index) = ("the owner has a password", "the index has a password");
    let of_both =
        [(0x149, owner, index), (0x12f, owner, index), (0x98e, owner, index), (0x9a2, owner, index)];
    let more = [
        (0x921, owner, index),
        (0x14b, "its memory is full", "its memory is full"),
        (0x18b, "the index was deleted", "the index was deleted"),
        (0x100, "it was not started", "it was not started"),
        (0x101, "tpm2_rc_decode", "tpm2_rc_decode"),
    ];
    for (code, at_define, at_increment) in of_both.into_iter().chain(more) {
        let no = || response(0x8001, code, &[]);
        let define = peer(vec![response(0x8001, 0x18b, &[]), no()]).1;
        let increment = peer(vec![looked(&public()), count(1), no()]).1;
        for (counter, command, advice) in
            [(define, "TPM2_NV_DefineSpace", at_define), (increment, "TPM2_NV_Increment", at_increment)]
        {
            let said = counter.unwrap().increment().unwrap_err().to_string();
            let begin = format!("{command} of index 0x01814b57: the TPM says {code:#05x}; {advice}");
            assert!(said.starts_with(&begin), "{said}");
        }
    }
    let busy = io::Error::from_raw_os_error(16);
    let said = TpmError::Io { command: "open", path: "/dev/tpm0".into(), source: busy }.to_string();
    assert!(said.contains("give /dev/tpmrm0"), "{said}");
}

#[test]
fn what_is_no_tpm_is_not_written_to() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"precious").unwrap();
    assert!(matches!(Counter::open(&file, DEFAULT_INDEX).unwrap_err(), TpmError::NoDevice(_)));
    assert!(matches!(Counter::open(directory.path(), DEFAULT_INDEX).unwrap_err(), TpmError::NoDevice(_)));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    let gone = Counter::open(&directory.path().join("gone"), DEFAULT_INDEX).unwrap_err();
    assert!(gone.to_string().contains("is it there"), "{gone}");
}
