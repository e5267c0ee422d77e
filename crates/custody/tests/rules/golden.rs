//! The golden log replays to the same hashes for ever, and every signed format has its golden bytes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chain::BitcoinDecoder;
use custody::canon;
use custody::document::{CeremonyRecord, CosignerCard, Document, TABLE, activation_message, verify};
use custody::effects::Decoder as _;
use custody::genesis::Genesis;
use custody::rule::Rule;
use custody::rule_set::{NEWEST, rule_set_hash};
use custody::state::State;
use custody::statement::{Activate, Body, Envelope, key_id};
use custody::{Blob, Hash};
use fixtures::golden::{self, Line};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(vectors().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn golden_log(version: u32) -> Vec<Line> {
    let log = read(&format!("golden-log-v{version}/log.jsonl"));
    let lines = log.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n');
    lines.map(|line| canon::decode(line).unwrap()).collect()
}

/// The log of the first release, and how the second one goes on with it.
#[test]
fn the_golden_log_replays() {
    let genesis = Genesis::parse(&read("golden-log-v1/genesis.json")).unwrap();
    let decoder = BitcoinDecoder::new(&genesis.network).unwrap();
    let mut state = State::new(genesis).unwrap();
    for version in [1, 2, 3, 4] {
        for (i, line) in golden_log(version).iter().enumerate() {
            let outcomes = state.apply(&line.batch, &decoder);
            let outcomes = outcomes.unwrap_or_else(|e| panic!("batch {i} of {version}: {e}"));
            assert_eq!(&Line::new(&line.batch, &outcomes, &state), line, "batch {i} of {version}");
        }
        assert_eq!(state.clock().rules, version);
    }
}

/// Each thing that rule set 2 brought stands in its golden log, and nothing of it in the first one.
#[test]
fn the_second_golden_log_has_what_is_new() {
    let bodies = |version: u32| {
        let entries = golden_log(version).into_iter().flat_map(|line| line.batch.entries);
        entries.map(|e| e.unverified().unwrap().body).collect::<Vec<_>>()
    };
    assert!(bodies(1).iter().all(|body| body.since() == 1));
    let mut seen = BTreeSet::new();
    for body in bodies(2).iter().filter(|body| body.since() == 2) {
        seen.insert(match body {
            Body::Propose(propose) => match &propose.document {
                Document::Wallet(wallet) => format!("{:?}", wallet.model),
                document => document.kind().word().to_owned(),
            },
            Body::Freeze(freeze) => {
                let scope = serde_json::to_value(&freeze.scope).unwrap();
                scope.as_object().unwrap().keys().cloned().collect()
            }
            body => body.kind().to_owned(),
        });
    }
    let all = [
        "OneP",
        "TwoP",
        "asset",
        "ceremony",
        "client",
        "deal",
        "erased",
        "machine",
        "observe",
        "offer",
        "policy",
        "request",
        "resharing",
        "wallet",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
    let rejected: Vec<String> = golden_log(2).into_iter().flat_map(|line| line.outcomes).collect();
    assert!(rejected.contains(&Rule::Standing.id().to_owned()), "a lapsed proposal takes no approval");
    assert!(rejected.contains(&Rule::Renewal.id().to_owned()), "not everybody withdraws");
    assert!(rejected.contains(&Rule::Document.id().to_owned()), "a wallet keeps its model");
    let is_cancel = |body: &Body| matches!(body, Body::Request(request) if request.is_cancel());
    assert_eq!(bodies(2).iter().filter(|body| is_cancel(body)).count(), 3, "two of them withdraw");
}

/// Each kind of document that rule set 3 brought stands in its golden log, and what its rules refused there.
#[test]
fn the_third_golden_log_has_what_is_new() {
    let bodies = golden_log(3).into_iter().flat_map(|line| line.batch.entries);
    let bodies: Vec<Body> = bodies.map(|e| e.unverified().unwrap().body).collect();
    let kinds = bodies.iter().filter_map(|body| match body {
        Body::Propose(propose) => Some(propose.document.kind()),
        _ => None,
    });
    let kinds: BTreeSet<_> = kinds.collect();
    let new = TABLE.iter().filter(|row| row.since == 3).map(|row| row.kind);
    assert!(new.into_iter().all(|kind| kinds.contains(&kind)));
    assert!(bodies.iter().any(|body| matches!(body, Body::Authorise(_))));
    let unlisted =
        |body: &Body| matches!(body, Body::Request(r) if r.outputs.iter().any(|o| o.address.is_some()));
    assert!(bodies.iter().any(unlisted));
    let rejected: Vec<String> = golden_log(3).into_iter().flat_map(|line| line.outcomes).collect();
    for rule in [Rule::Reviewed, Rule::Denied] {
        assert!(rejected.contains(&rule.id().to_owned()), "{rule}");
    }
}

/// The document that rule set 4 brought stands in its golden log, what its rules refused there, and one handover.
#[test]
fn the_fourth_golden_log_has_what_is_new() {
    let lines = golden_log(4);
    let bodies = lines.iter().flat_map(|line| &line.batch.entries).map(|e| e.unverified().unwrap().body);
    let kinds: BTreeSet<_> = bodies
        .filter_map(|body| match body {
            Body::Propose(propose) => Some(propose.document.kind()),
            _ => None,
        })
        .collect();
    let new = TABLE.iter().filter(|row| row.since == 4).map(|row| row.kind);
    assert!(new.into_iter().all(|kind| kinds.contains(&kind)));
    let rejected: Vec<&String> = lines.iter().flat_map(|line| &line.outcomes).collect();
    for rule in [Rule::Committee, Rule::Leaving] {
        assert!(rejected.contains(&&rule.id().to_owned()), "{rule}");
    }
    assert_eq!(lines.iter().filter(|line| line.batch.tick.handover.is_some()).count(), 1);
}

#[test]
fn the_golden_log_has_everything() {
    let lines = golden_log(1);
    let statements = lines.iter().flat_map(|line| &line.batch.entries).map(|e| e.unverified().unwrap());
    let mut kinds = BTreeSet::new();
    let mut documents = BTreeSet::new();
    for statement in statements {
        kinds.insert(statement.body.kind());
        if let Body::Propose(propose) = statement.body {
            documents.insert(propose.document.kind());
        }
    }
    let all = [
        "activate",
        "allocate",
        "approve",
        "authorise",
        "freeze",
        "propose",
        "request",
        "revoke",
        "supports",
        "veto",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
    assert_eq!(documents.len(), TABLE.iter().filter(|row| row.since == 1).count());
    assert!(lines.iter().flat_map(|l| &l.outcomes).any(|o| o != "applied"), "and something was rejected");
}

/// What is stored is what the program that writes it makes, so nobody edits it by hand.
#[test]
fn the_stored_vectors_are_those_of_the_story() {
    for (path, bytes) in golden::files() {
        let stored = read(&path);
        assert!(
            stored == bytes,
            "{path} differs: run `cargo run -p fixtures --example write-vectors` and look"
        );
    }
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

fn of<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn golden_envelopes() {
    let genesis = Genesis::parse(&read("statement/genesis.json")).unwrap();
    let expected = json("statement/expected.json");
    assert_eq!(genesis.hash(), of(&expected["genesis"]["hash"]));
    assert_eq!(genesis.log_origin(), of::<String>(&expected["genesis"]["origin"]));
    let [newer, third, newest] = ["2", "3", "4"].map(|set| json(&format!("statement/expected-{set}.json")));
    let sets = [&expected, &newer, &third, &newest].map(|e| e["envelopes"].as_object().unwrap());
    assert_eq!(sets.map(|envelopes| envelopes.len()), [10, 7, 3, 1]);
    for (kind, facts) in sets.into_iter().flatten() {
        let bytes = read(&format!("statement/{kind}.json"));
        let envelope = Envelope::parse(&bytes).unwrap();
        assert_eq!(envelope.bytes(), bytes);
        assert_eq!(envelope.id(), of(&facts["id"]));
        let public: Hash = of(&facts["public"]);
        let key_of = |id: &Hash| (*id == key_id(&public)).then_some(public);
        let verified = envelope.clone().verify(&genesis.hash(), key_of).unwrap();
        assert_eq!(verified.statement().body.kind(), kind.trim_end_matches(['-', '2', '3', '4']));
        // The same words lead to the same bytes.
        let statement = envelope.unverified().unwrap();
        let again = statement.enveloped(statement.payload().unwrap(), signature_of(&bytes));
        assert_eq!(again.bytes(), bytes);
        // Every bit of the signature matters.
        let mut signature = signature_of(&bytes);
        signature[0] ^= 1;
        let forged = statement.enveloped(statement.payload().unwrap(), signature);
        assert_eq!(forged.verify(&genesis.hash(), key_of).unwrap_err().rule, Rule::Signature);
    }
}

fn signature_of(envelope: &[u8]) -> [u8; 64] {
    let json: Value = serde_json::from_slice(envelope).unwrap();
    of::<Blob>(&json["signatures"][0]["sig"]).0.try_into().unwrap()
}

#[test]
fn golden_documents() {
    let [expected, newer, third, newest] =
        ["", "-2", "-3", "-4"].map(|set| json(&format!("statement/expected{set}.json")));
    let sets = [&expected, &newer, &third, &newest].map(|e| e["documents"].as_object().unwrap());
    let counts = sets.map(|documents| documents.len());
    assert_eq!(counts, [TABLE.iter().filter(|row| row.since == 1).count(), 6, 15, 2]);
    for (kind, facts) in sets.into_iter().flatten() {
        let bytes = read(&format!("statement/document-{kind}.json"));
        let document: Document = canon::decode(&bytes).unwrap();
        let word = kind.trim_end_matches(['-', '2', '3', '4']);
        assert_eq!((document.kind().word(), document.hash()), (word, of(&facts["hash"])));
        assert_eq!(document.subject(), of::<String>(&facts["subject"]));
        assert_eq!(canon::encode(&document).unwrap(), bytes);
    }
    for (version, expected) in [(1, &expected), (2, &newer), (3, &third), (NEWEST, &newest)] {
        let rules = &expected["rule_set"];
        assert_eq!((rule_set_hash(version), version), (Some(of(&rules["hash"])), of(&rules["version"])));
    }
    assert_eq!(rule_set_hash(NEWEST + 1), None);
}

#[test]
fn golden_cards_records_and_activations() {
    let genesis = Genesis::parse(&read("statement/genesis.json")).unwrap();
    let expected = json("statement/expected.json");
    let bytes = read("statement/card.json");
    let card: CosignerCard = canon::decode(&bytes).unwrap();
    assert_eq!(canon::encode(&card).unwrap(), bytes);
    assert_eq!(Hash::sha256(&card.certified_bytes()), of(&expected["card"]["signed"]));
    assert!(card.certified());
    assert!(!CosignerCard { epoch: card.epoch + 1, ..card.clone() }.certified());
    assert_eq!(genesis.cosigners[0], card);

    let bytes = read("statement/ceremony-record.json");
    let record: CeremonyRecord = canon::decode(&bytes).unwrap();
    assert_eq!(canon::encode(&record).unwrap(), bytes);
    let hash = genesis.hash();
    assert_eq!(record.id(&hash), of(&expected["ceremony"]["id"]));
    let signed = record.signed_bytes(&hash);
    assert_eq!(Hash::sha256(&signed), of(&expected["ceremony"]["signed"]));
    for participant in &record.participants {
        let keys = genesis.people.iter().flat_map(|p| &p.keys).map(|k| k.sign);
        let public = keys.into_iter().find(|k| key_id(k) == participant.key).unwrap();
        assert!(verify(&public, &signed, &participant.signature.0));
        assert!(!verify(&public, &record.signed_bytes(&Hash([0; 32])), &participant.signature.0));
    }

    let activation = &expected["activation"];
    let activate: Activate = Activate {
        ceremony: of(&activation["ceremony"]),
        slot: of(&activation["slot"]),
        holders: of(&activation["holders"]),
        signature: of(&activation["signature"]),
    };
    let message = activation_message(&hash, &activate.ceremony, activate.slot, &activate.holders);
    assert_eq!(Hash(message), of(&activation["message"]));
    let decoder = BitcoinDecoder::new(&genesis.network).unwrap();
    let account = of(&activation["account"]);
    assert!(decoder.schnorr_ok(&account, &message, &activate.signature.0));
    let other = activation_message(&hash, &activate.ceremony, activate.slot + 1, &activate.holders);
    assert!(!decoder.schnorr_ok(&account, &other, &activate.signature.0));
}
