//! The same shares in the reference implementation, both ways. It runs in a process of its own, and secrets
//! go through pipes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ceremony::slip39::{Mnemonic, Scheme, combine, combine_under, split};
use rand_core::OsRng;
use serde_json::{Value, json};

use crate::{any, secret, text};

/// The schemes that are tried: plain ones, and groups that need each other.
fn schemes() -> [Scheme; 4] {
    [
        any(2, 3),
        any(3, 5),
        Scheme { group_threshold: 2, groups: vec![(2, 3), (1, 1), (2, 2)] },
        Scheme { group_threshold: 1, groups: vec![(2, 2), (4, 5)] },
    ]
}

/// What the reference implementation answers to each request.
fn ask(requests: &[Value]) -> Vec<Value> {
    let python = std::env::var_os("KEYWARD_PYTHON")
        .expect("KEYWARD_PYTHON must name a Python that has shamir-mnemonic 0.3.0; ./check makes one");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slip39/peer.py");
    let mut peer = Command::new(python)
        .args(["-I", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the Python that KEYWARD_PYTHON names starts");
    let mut stdin = peer.stdin.take().unwrap();
    // A peer that ends early says why by its status.
    let _ = requests.iter().try_for_each(|request| writeln!(stdin, "{request}"));
    drop(stdin);
    let output = peer.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "the reference implementation failed: is shamir-mnemonic 0.3.0 installed?"
    );
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), requests.len());
    answers
}

#[test]
fn the_reference_rebuilds_what_we_split_from_every_smallest_set() {
    let mut requests = Vec::new();
    let mut expected = Vec::new();
    for scheme in schemes() {
        for (bytes, exponent) in [(16, 0), (32, 0), (32, 1), (64, 0)] {
            let secret = secret(bytes);
            let shares: Vec<String> =
                split(&secret, &scheme, exponent, &mut OsRng).unwrap().iter().map(text).collect();
            for set in scheme.combinations() {
                let chosen: Vec<&String> = set.iter().map(|at| &shares[*at]).collect();
                requests.push(json!({"shares": chosen, "passphrase": ""}));
                expected.push(Some(hex::encode(secret.expose())));
                requests.push(json!({"shares": chosen[1..], "passphrase": ""}));
                expected.push(None);
            }
        }
    }
    for (answer, secret) in ask(&requests).iter().zip(expected) {
        match secret {
            Some(secret) => assert_eq!(answer["secret"], secret, "{answer}"),
            None => assert!(answer["error"].is_string(), "{answer}"),
        }
    }
}

#[test]
fn we_rebuild_what_the_reference_splits_from_every_smallest_set() {
    let mut cases = Vec::new();
    for scheme in schemes() {
        for (bytes, extendable, exponent, passphrase) in
            [(16, true, 1, ""), (32, true, 0, ""), (32, false, 0, ""), (32, false, 1, "TREZOR")]
        {
            cases.push((scheme.clone(), secret(bytes), extendable, exponent, passphrase));
        }
    }
    let request = |(scheme, secret, extendable, exponent, passphrase): &(Scheme, _, bool, u8, &str)| {
        let secret: &keys::locked::LockedBytes = secret;
        json!({
            "group_threshold": scheme.group_threshold,
            "groups": scheme.groups,
            "secret": hex::encode(secret.expose()),
            "passphrase": passphrase,
            "extendable": extendable,
            "iteration_exponent": exponent,
        })
    };
    let requests: Vec<Value> = cases.iter().map(request).collect();
    for (answer, (scheme, secret, extendable, exponent, passphrase)) in ask(&requests).iter().zip(cases) {
        let shares: Vec<String> = serde_json::from_value(answer["shares"].clone()).unwrap();
        assert_eq!(shares.len(), scheme.shares());
        let shares: Vec<Mnemonic> = shares.iter().map(|share| Mnemonic::parse(share).unwrap()).collect();
        for share in &shares {
            let header = share.header();
            assert_eq!((header.extendable, header.iteration_exponent), (extendable, exponent));
        }
        for set in scheme.combinations() {
            let chosen = || set.iter().map(|at| &shares[*at]);
            let rebuilt = combine_under(passphrase.as_bytes(), chosen()).unwrap();
            assert_eq!(rebuilt.expose(), secret.expose());
            assert!(combine(chosen().skip(1)).is_err());
        }
        // Under another passphrase it is another secret, and no error: the standard wants it so.
        if !passphrase.is_empty() {
            let set = scheme.combinations().next().unwrap();
            let other = combine(set.iter().map(|at| &shares[*at])).unwrap();
            assert_ne!(other.expose(), secret.expose());
        }
    }
}
