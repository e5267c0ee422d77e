//! The golden bytes of the wire: what every program of this version sends and understands.

mod common;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use common::{CLIENT, admitted, listener, raw_client, raw_key_of, send_raw};
use custody::Hash;
use custody::document::verify;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::message::{Answer, FromCosigner, FromServer, ReceiptState, ToCosigner, ToServer};
use wire::{TlsKey, WireError, decode, encode};
use zeroize::Zeroizing;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/wire").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn hash(value: &Value) -> Hash {
    Hash::from_hex(value.as_str().unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Reads every line, and back to the same bytes; then alters each and has it refused. Returns the
/// messages and the words that name them.
fn read_all<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str) -> (Vec<T>, BTreeSet<String>) {
    let mut words = BTreeSet::new();
    let mut messages = Vec::new();
    for line in read(name).lines() {
        let message: T = decode(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(String::from_utf8(encode(&message).unwrap()).unwrap(), line);
        for cut in 0..line.len() {
            assert!(decode::<T>(&line.as_bytes()[..cut]).is_err(), "{line} cut to {cut} bytes");
        }
        let value: Value = serde_json::from_str(line).unwrap();
        let word = value.as_str().map(str::to_owned);
        let word = word.unwrap_or_else(|| value.as_object().unwrap().keys().next().unwrap().clone());
        refused::<T>(&line.replacen(&word, "unheard-of", 1));
        refused::<T>(&format!("{line}{line}"));
        if let Some(body) = value.get(&word).and_then(Value::as_object) {
            refused::<T>(&line.replacen(":{", ":{\"more\":0,", 1));
            for field in body.keys() {
                let mut less = value.clone();
                less[&word].as_object_mut().unwrap().remove(field);
                // Only what may be nothing may also be left out.
                if !body[field].is_null() && decode::<T>(less.to_string().as_bytes()).is_ok() {
                    let may_lack = matches!(field.as_str(), "to" | "chain_tip" | "balances_at");
                    assert!(may_lack, "{line} without {field}");
                }
                let first = format!("\"{field}\":");
                let twice = line.replacen(&first, &format!("{first}null,{first}"), 1);
                refused::<T>(&twice);
            }
        }
        words.insert(word);
        messages.push(message);
    }
    (messages, words)
}

fn refused<T: DeserializeOwned + Debug>(line: &str) {
    let result = decode::<T>(line.as_bytes());
    assert!(matches!(result, Err(WireError::Decode(_))), "{line}: {result:?}");
}

fn words(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn golden_messages_to_a_cosigner() {
    let (messages, found) = read_all::<ToCosigner>("to-cosigner.jsonl");
    assert_eq!(found, words(&["challenge", "log", "peer", "prove", "share", "sign", "submit"]));
    let sign = messages.iter().find_map(|message| match message {
        ToCosigner::Sign { holders, attempt, .. } => Some((holders, *attempt)),
        _ => None,
    });
    let (holders, attempt) = sign.unwrap();
    assert_eq!(holders.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    assert_eq!(attempt, u32::MAX);
    refused::<ToCosigner>(r#"{"log":{"from":-1}}"#);
    refused::<ToCosigner>(r#"{"challenge":{"nonce":"00"}}"#);
    refused::<ToCosigner>(r#"{"submit":{"envelope":"not base64"}}"#);
    refused::<ToCosigner>(r#"{"log":{"from":7},"challenge":{"nonce":""}}"#);
}

#[test]
fn golden_messages_from_a_cosigner() {
    let (messages, found) = read_all::<FromCosigner>("from-cosigner.jsonl");
    let all = ["answer", "log", "peer", "receipt", "refused", "share-kept", "signed", "statement"];
    assert_eq!(found, words(&all));
    let receipts = messages.iter().filter_map(|message| match message {
        FromCosigner::Receipt { state, .. } => Some(state),
        _ => None,
    });
    let [pending, held, consumed, refused] = receipts.collect::<Vec<_>>()[..] else {
        panic!("four receipts")
    };
    assert_eq!(
        [pending, held, consumed],
        [&ReceiptState::Pending, &ReceiptState::Held, &ReceiptState::Consumed]
    );
    assert!(matches!(refused, ReceiptState::Refused { rule, .. } if rule == "P2.once"));
}

/// The signed bytes are those that the specification puts together: domain, genesis, canonical answer.
#[test]
fn the_golden_answer_is_signed_for_its_deployment_and_every_field() {
    let profile: Value = serde_json::from_str(&read("profile.json")).unwrap();
    let (genesis, key) = (hash(&profile["genesis"]), hash(&profile["statement_key"]));
    let (messages, _) = read_all::<FromCosigner>("from-cosigner.jsonl");
    let answer = messages.iter().find_map(|message| match message {
        FromCosigner::Answer(answer) => Some(answer.clone()),
        _ => None,
    });
    let answer = answer.unwrap();
    let holds =
        |answer: &Answer, genesis: &Hash| verify(&key, &answer.signed_bytes(genesis), &answer.signature.0);
    assert!(holds(&answer, &genesis));
    assert!(!holds(&answer, &Hash::default()));
    let others = [
        Answer { by: "s2".parse().unwrap(), ..answer.clone() },
        Answer { nonce: Hash::default(), ..answer.clone() },
        Answer { height: answer.height + 1, ..answer.clone() },
        Answer { time: answer.time + 1, ..answer.clone() },
        Answer { note: String::new(), ..answer.clone() },
        Answer { reductions: vec![], ..answer.clone() },
    ];
    for other in others {
        assert!(!holds(&other, &genesis), "{other:?}");
    }
}

#[test]
fn golden_messages_to_the_server() {
    let (messages, found) = read_all::<ToServer>("to-server.jsonl");
    let all = ["bump", "confirmations", "labels", "log", "shares", "status", "submit", "wait"];
    assert_eq!(found, words(&all));
    let submit = messages.iter().find_map(|message| match message {
        ToServer::Submit { labels, .. } => labels.first(),
        _ => None,
    });
    let asked = messages.iter().find_map(|message| match message {
        ToServer::Labels { commitments } => commitments.first(),
        _ => None,
    });
    assert_eq!(submit.unwrap().commitment(), *asked.unwrap());
    refused::<ToServer>(r#"{"status":null,"log":{"from":1}}"#);
}

#[test]
fn golden_messages_from_the_server() {
    let (messages, found) = read_all::<FromServer>("from-server.jsonl");
    let all = ["bumped", "confirmations", "error", "labels", "log", "receipts", "shares", "status"];
    assert_eq!(found, words(&all));
    let fee = messages.iter().find_map(|message| match message {
        FromServer::Bumped { fee, .. } => Some(fee.0),
        _ => None,
    });
    assert_eq!(fee, Some(2_500));
    // Amounts are decimal strings: a number could lose its last digits in some reader.
    let bumped = read("from-server.jsonl").lines().find(|line| line.contains("bumped")).unwrap().to_owned();
    refused::<FromServer>(&bumped.replace("\"2500\"", "2500"));
}

#[test]
fn the_golden_key_is_shown_as_rfc_8410_says() {
    let profile: Value = serde_json::from_str(&read("profile.json")).unwrap();
    let seed: [u8; 32] = bytes(&profile["key"]["secret"]).try_into().unwrap();
    let key = TlsKey::from_seed(Zeroizing::new(seed)).unwrap();
    assert_eq!(Hash(key.public()), hash(&profile["key"]["public"]));

    // A client that shows exactly these bytes, and signs with that key, is that peer.
    let shown = bytes(&profile["key"]["spki"]);
    let listener = listener();
    let ours = common::spki(CLIENT);
    assert_eq!((shown.len(), &shown[..12]), (44, &ours[..12]));
    let mut client = raw_client(listener.local_addr(), raw_key_of(shown.clone(), seed));
    let mut answer = [9];
    std::io::Read::read_exact(&mut client, &mut answer).unwrap();
    assert_eq!(answer, [0], "admitted");
    assert_eq!(Hash(listener.accept().unwrap().peer()), hash(&profile["key"]["public"]));

    // Any byte of it altered: not a key, or not the one that signs.
    for at in 0..shown.len() {
        let mut altered = shown.clone();
        altered[at] ^= 1;
        let mut client = raw_client(listener.local_addr(), raw_key_of(altered, seed));
        assert!(std::io::Read::read_exact(&mut client, &mut answer).is_err(), "byte {at}");
        assert!(listener.accept().is_err(), "byte {at}");
    }
}

#[test]
fn the_golden_frame_is_a_length_and_a_message() {
    let profile: Value = serde_json::from_str(&read("profile.json")).unwrap();
    let (frame, payload) = (bytes(&profile["frame"]["bytes"]), bytes(&profile["frame"]["payload"]));
    let listener = listener();
    let (mut peer, mut server) = admitted(&listener);
    send_raw(&mut peer, &frame);
    assert_eq!(server.recv().unwrap(), payload);
    assert_eq!(decode::<ToServer>(&payload).unwrap(), ToServer::Status);
    server.send(&payload).unwrap();
    let mut sent = vec![0; frame.len()];
    std::io::Read::read_exact(&mut peer, &mut sent).unwrap();
    assert_eq!(sent, frame);
    // One byte short: the end comes inside of a frame.
    send_raw(&mut peer, &frame[..frame.len() - 1]);
    drop(peer);
    assert!(matches!(server.recv(), Err(WireError::Truncated)));
}
