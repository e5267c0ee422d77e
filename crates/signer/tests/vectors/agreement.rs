//! The golden messages and writes of the agreement. A module of the crate, because records are private.

use std::path::Path;

use custody::{Blob, Hash};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde_json::Value;

use crate::agreement::record::{self, Record};
use crate::agreement::{Agreement, Committee, Evidence, Message, ReplayError, Seat, value_hash};
use crate::tendermint::{Judgement, Kind, Step};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/agreement").join(file);
    std::fs::read_to_string(path).unwrap()
}

fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

struct Golden {
    expected: Value,
    committee: Committee,
    genesis: Hash,
}

fn golden() -> Golden {
    let expected: Value = serde_json::from_str(&read("expected.json")).unwrap();
    let seats = expected["members"].as_array().unwrap().iter().map(|member| Seat {
        name: of(&member["name"]),
        vote: VerifyingKey::from_bytes(&of::<Hash>(&member["vote"]).0).unwrap(),
    });
    let committee = Committee::new(seats.collect(), 1).unwrap();
    Golden { committee, genesis: of(&expected["genesis"]), expected }
}

impl Golden {
    /// Whether the production code takes everything in a message for signed.
    fn verifies(&self, message: &Message) -> bool {
        let (committee, genesis) = (&self.committee, &self.genesis);
        match message {
            Message::Proposal { proposal, polka, value } => {
                proposal.value == value_hash(&value.0)
                    && proposal.verify(committee, genesis)
                    && polka.iter().all(|vote| vote.verify(committee, genesis))
            }
            Message::Votes(votes) => votes.iter().all(|vote| vote.verify(committee, genesis)),
            Message::Decision(decision) => decision.verify(committee, genesis),
            Message::Probe(probe) => probe.verify(committee, genesis),
            Message::Answer(answer) => answer.verify(committee, genesis),
        }
    }

    fn member(&self) -> Agreement {
        let key = SigningKey::from_bytes(&of::<Hash>(&self.expected["secret"]).0);
        Agreement::new(self.committee.clone(), key, self.genesis, 1).unwrap()
    }
}

/// Every way to make one leaf of a value another one of the same type.
fn altered(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(map) => {
            let each = map.iter().flat_map(|(key, inner)| {
                altered(inner).into_iter().map(move |inner| {
                    let mut map = map.clone();
                    map.insert(key.clone(), inner);
                    Value::Object(map)
                })
            });
            each.collect()
        }
        Value::Array(items) => {
            let each = items.iter().enumerate().flat_map(|(at, inner)| {
                altered(inner).into_iter().map(move |inner| {
                    let mut items = items.clone();
                    items[at] = inner;
                    Value::Array(items)
                })
            });
            each.collect()
        }
        Value::Number(number) => vec![(number.as_u64().unwrap() ^ 1).into()],
        Value::Null => vec![],
        Value::String(text) => match text.as_str() {
            "prevote" => vec!["precommit".into()],
            "precommit" => vec!["prevote".into()],
            text if text.len() == 64 && Hash::from_hex(text).is_some() => {
                let mut hash = Hash::from_hex(text).unwrap();
                hash.0[31] ^= 1;
                vec![hash.to_string().into()]
            }
            text => {
                let mut blob: Blob = serde_json::from_value(text.into()).unwrap();
                blob.0[0] ^= 1;
                vec![serde_json::to_value(blob).unwrap()]
            }
        },
        Value::Bool(_) => panic!("no message has a boolean"),
    }
}

#[test]
fn golden_messages_verify_and_no_altered_one_does() {
    let golden = golden();
    let mut kinds = Vec::new();
    for line in read("messages.jsonl").lines() {
        let message = Message::decode(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(message.encode().unwrap()).unwrap(), line);
        assert!(golden.verifies(&message), "{line}");
        let elsewhere = Golden { genesis: Hash::default(), ..self::golden() };
        assert!(!elsewhere.verifies(&message), "{line}");

        let value: Value = serde_json::from_str(line).unwrap();
        let all = altered(&value);
        assert!(all.len() >= 3, "{line}");
        for other in all {
            let read = Message::decode(other.to_string().as_bytes()).unwrap();
            assert!(!golden.verifies(&read), "{other}");
        }
        for cut in 0..line.len() {
            assert_eq!(Message::decode(&line.as_bytes()[..cut]), None);
        }
        for (from, to) in [("\"signature\":", "\"more\":0,\"signature\":"), ("{\"", "{\"an-")] {
            assert_eq!(
                Message::decode(line.replacen(from, to, 1).as_bytes()).filter(|_| line.contains(from)),
                None
            );
        }
        kinds.push(value.as_object().unwrap().keys().next().unwrap().clone());
    }
    assert_eq!(kinds, ["proposal", "votes", "decision", "probe", "probe", "answer"]);
}

/// The words are those of the specification, byte by byte, and the messages carry their signatures.
#[test]
fn golden_words_are_what_is_signed() {
    let golden = golden();
    let messages = read("messages.jsonl");
    for signed in golden.expected["signed"].as_array().unwrap() {
        let bytes = hex::decode_word(signed["bytes"].as_str().unwrap());
        let key = golden.committee.key(of(&signed["by"])).unwrap();
        let signature: Blob = of(&signed["signature"]);
        let parsed = Signature::from_slice(&signature.0).unwrap();
        key.verify_strict(&bytes, &parsed).unwrap();
        assert!(messages.contains(signed["signature"].as_str().unwrap()), "{signed}");
    }
}

mod hex {
    pub(super) fn decode_word(text: &str) -> Vec<u8> {
        let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }
}

fn writes() -> Vec<String> {
    read("writes.jsonl").lines().map(str::to_owned).collect()
}

#[test]
fn golden_writes_are_read_and_written_again() {
    let mut all = Vec::new();
    for line in writes() {
        let records = record::decode(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(String::from_utf8(record::encode(&records).unwrap()).unwrap(), line);
        for cut in 0..line.len() {
            assert_eq!(record::decode(&line.as_bytes()[..cut]), None);
        }
        let more = line.replacen("\"signature\":", "\"more\":0,\"signature\":", 1);
        assert_eq!(record::decode(more.as_bytes()).filter(|_| more != line), None);
        all.extend(records);
    }
    let has = |wanted: fn(&Record) -> bool| assert_eq!(all.iter().filter(|record| wanted(record)).count(), 1);
    has(|record| matches!(record, Record::Height(7)));
    has(|record| matches!(record, Record::Height(9)));
    has(|record| matches!(record, Record::Seen(votes) if votes.iter().all(|v| v.kind == Kind::Precommit)));
    has(|record| matches!(record, Record::Votes(votes) if votes.len() == 2));
    has(|record| matches!(record, Record::Proposal(p, _, Judgement::Valid) if p.pol_round == Some(0)));
    has(|record| matches!(record, Record::Timeout(Step::Propose, 0)));
    has(|record| matches!(record, Record::Timeout(Step::Prevote, 0)));
    has(|record| matches!(record, Record::Timeout(Step::Precommit, 0)));
    has(|record| matches!(record, Record::Value(0, _)));
    has(|record| matches!(record, Record::Decided(decision) if decision.certificate.height == 7));
    has(|record| matches!(record, Record::Evidence(Evidence::Votes(_, _))));
    has(|record| matches!(record, Record::Restored(true)));
    has(|record| matches!(record, Record::Restored(false)));
    assert_eq!(all.iter().filter(|record| **record == Record::Begin).count(), 2);
}

/// A member that starts from the golden log is where it was when it wrote it.
#[test]
fn golden_writes_bring_a_member_back() {
    let golden = golden();
    let writes = writes();
    let replayed = |upto: usize| {
        let mut member = golden.member();
        member.replay(writes[..upto].iter().map(String::as_bytes)).unwrap();
        member
    };
    let member = replayed(6);
    assert_eq!((member.height(), member.round(), member.is_running()), (7, 1, true));
    let [evidence] = member.evidence() else { panic!("one piece") };
    assert!(evidence.verify(&golden.committee, &golden.genesis));
    assert_eq!(evidence.culprit(&golden.committee), 2);
    let member = replayed(7);
    assert!(!member.is_running(), "decided");
    let decision = member.decision(7).unwrap();
    assert!(decision.verify(&golden.committee, &golden.genesis));
    assert_eq!(decision.certificate.value, of(&golden.expected["value"]));
    let member = replayed(writes.len());
    assert_eq!((member.height(), member.round(), member.is_running()), (9, 0, true));

    let damaged = [writes[0].as_bytes(), b"[\"began\"]"];
    assert_eq!(golden.member().replay(damaged), Err(ReplayError::Damaged(1)));
}
