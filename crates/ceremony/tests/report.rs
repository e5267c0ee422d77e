//! The report: whoever has it alone can tell whether the ceremony was held as its script says.

mod rehearsal;

use std::collections::BTreeSet;

use ceremony::report::{
    Against, REPORT_FORMAT, REPORT_LIMIT_BYTES, Report, ReportError, SignedReport, verify,
};
use ceremony::room::FindingKind;
use ceremony::run::{Answer, Happening, Outcome, Run, RunError, Status};
use ceremony::script::{Kind, Medium};
use custody::document::{CeremonyRecord, Participation, Recovery, Slot};
use custody::genesis::Genesis;
use custody::{Blob, Hash, canon};
use fixtures::Account;
use rehearsal::{
    KINDS, NONCE, START, begun, deviation, finding, finish, genesis, held, name, room, sign, up_to,
};
use serde_json::Value;

/// A change that makes something wrong.
type Change<T> = fn(&mut T);

const ALONE: Against<'_> = Against { genesis: None, script: None, record: None };

fn signed(kind: Kind) -> SignedReport {
    held(kind).signed_report().unwrap()
}

/// Everybody's signatures anew: of somebody who has all keys and changed the report.
fn sign_again(report: &mut SignedReport) {
    let message = report.report.signed_bytes();
    for signature in &mut report.signatures {
        signature.signature = sign(signature.person.as_str(), &message);
    }
}

#[test]
fn a_report_says_who_what_when_and_with_what() {
    let run = held(Kind::Generation);
    let file = run.signed_report().unwrap();
    let verified = verify(&file.bytes(), &Against { genesis: Some(&genesis()), ..ALONE }).unwrap();
    let report = &verified.report;
    assert_eq!(verified.hash, Hash::sha256(&report.signed_bytes()));
    assert_eq!(verified.hash, Hash::of(REPORT_FORMAT, &canon::encode(report).unwrap()));
    assert_eq!(verified.signers.len(), 7);
    assert_eq!((report.status, report.rehearsal, report.combinations), (Status::Complete, true, 3));
    assert_eq!((report.began_at, report.nonce), (START, Some(NONCE)));
    assert_eq!(report.script_hash, run.script().hash());
    let made = &report.components[1];
    assert_eq!(
        (made.component.to_string(), made.holder.as_str(), made.site.as_str()),
        ("1.2".into(), "dave", "south")
    );
    assert_eq!(made.health, rehearsal::health("new", made.component));
    assert_eq!(made.file, rehearsal::health("file", made.component));
    assert!(made.seal.starts_with("S-") && made.verified == Medium::ALL);
    let paths: Vec<&str> = report.accounts.iter().map(|account| account.path.as_str()).collect();
    assert_eq!(paths, ["m/86'/1'/0'", "m/86'/1'/1'"]);
    assert_eq!(report.accounts[1].account, Account::new(1).key());
    assert_eq!(report.entropy().unwrap().sources.len(), 2);
    assert_eq!(report.rooms().count(), 2);
    assert_eq!(report.rooms().next().unwrap().1.facts.program, Hash([7; 32]));
}

#[test]
fn every_byte_of_the_file_counts() {
    let file = signed(Kind::Drill);
    let text = String::from_utf8(file.bytes()).unwrap();
    let other = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        verify(changed.as_bytes(), &ALONE).unwrap_err()
    };
    let form = |error: ReportError| assert!(matches!(error, ReportError::Form(_)), "{error}");
    form(other("{", "{ "));
    form(other("{\"report\":{\"accounts\"", "{\"report\":{\"a\":1,\"accounts\""));
    form(other("{\"report\"", "{\"a\":1,\"report\""));
    form(other("\"type\":\"present\"", "\"a\":1,\"type\":\"present\""));
    form(other("\"type\":\"compared\"", "\"type\":\"guessed\""));
    form(other("\"status\":\"complete\"", "\"status\":\"perfect\""));
    let newer = other("ceremony-report/v1", "ceremony-report/v2");
    assert!(matches!(newer, ReportError::Format(format) if format.ends_with("v2")));
    let script = other("ceremony-script/v1", "ceremony-script/v2");
    assert!(matches!(script, ReportError::Script(_)), "{script}");
    // Another script is not the one that people compared.
    let place = other("Room 3", "Room 4");
    assert!(
        matches!(&place, ReportError::Run(RunError::Wrong { step, .. }) if step == "compare-script"),
        "{place}"
    );
    let long = verify(&vec![b'{'; REPORT_LIMIT_BYTES + 1], &ALONE).unwrap_err();
    assert!(matches!(long, ReportError::Long(_)), "{long}");
    form(verify(&vec![b'{'; REPORT_LIMIT_BYTES], &ALONE).unwrap_err());
}

#[test]
fn everybody_signs() {
    for kind in KINDS {
        let file = signed(kind);
        verify(&file.bytes(), &ALONE).unwrap();
        for (number, gone) in file.signatures.iter().enumerate() {
            let mut missing = file.clone();
            missing.signatures.remove(number);
            let error = verify(&missing.bytes(), &ALONE).unwrap_err();
            assert!(matches!(&error, ReportError::Missing(who) if *who == gone.person), "{error}");
            let mut wrong = file.clone();
            wrong.signatures[number].signature.0[10] ^= 1;
            let error = verify(&wrong.bytes(), &ALONE).unwrap_err();
            assert!(matches!(&error, ReportError::Signature(who) if *who == gone.person), "{error}");
        }
        let mut swapped = file.clone();
        swapped.signatures.swap(0, 1);
        assert!(matches!(verify(&swapped.bytes(), &ALONE).unwrap_err(), ReportError::Missing(_)));
        let mut twice = file.clone();
        twice.signatures.push(file.signatures[6].clone());
        assert!(matches!(verify(&twice.bytes(), &ALONE).unwrap_err(), ReportError::Extra(_)));
        let mut strange = file.clone();
        let message = file.report.signed_bytes();
        strange
            .signatures
            .push(ceremony::run::PersonSignature { person: name("zoe"), signature: sign("zoe", &message) });
        assert!(matches!(verify(&strange.bytes(), &ALONE).unwrap_err(), ReportError::Extra(_)));
        // A signature of the same key for another purpose.
        let mut purpose = file.clone();
        purpose.signatures[0].signature = sign("alice", &message[message.len() / 2..]);
        assert!(matches!(verify(&purpose.bytes(), &ALONE).unwrap_err(), ReportError::Signature(_)));
    }
}

/// Even with everybody's keys nobody can make a report of a ceremony that left something out.
#[test]
fn no_event_can_be_left_out_put_in_or_moved() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "inspect");
    run.done(START + 50, Outcome::Room(room(&[finding(FindingKind::Hypervisor)]))).unwrap();
    run.deviate(START + 50, deviation(&run, 0, &["alice", "bob"])).unwrap();
    run.done(START + 50, Outcome::Room(room(&[finding(FindingKind::Hypervisor)]))).unwrap();
    finish_late(&mut run);
    let file = run.signed_report().unwrap();
    verify(&file.bytes(), &ALONE).unwrap();
    for number in 0..file.report.events.len() {
        let mut without = file.clone();
        without.report.events.remove(number);
        sign_again(&mut without);
        let error = verify(&without.bytes(), &ALONE).unwrap_err();
        assert!(matches!(error, ReportError::Run(_)), "{number}: {error}");
        let mut twice = file.clone();
        twice.report.events.insert(number, file.report.events[number].clone());
        sign_again(&mut twice);
        // Two looks at the machine instead of one are told apart by what the report says of its end.
        if !matches!(&twice.report.events[number].what, Happening::Done { step, .. } if step == "inspect") {
            let error = verify(&twice.bytes(), &ALONE).unwrap_err();
            assert!(matches!(error, ReportError::Run(_)), "{number}: {error}");
        }
    }
    for number in 1..file.report.events.len() {
        let mut swapped = file.clone();
        swapped.report.events.swap(number - 1, number);
        sign_again(&mut swapped);
        let error = verify(&swapped.bytes(), &ALONE).unwrap_err();
        assert!(matches!(error, ReportError::Run(_)), "{number}: {error}");
    }
}

fn finish_late(run: &mut Run) {
    while run.current().is_some() {
        let at = run.events().last().unwrap().at + 1;
        run.done(at, rehearsal::right(run)).unwrap();
    }
}

/// What the report says of itself follows from its events: nothing else can be signed.
#[test]
fn every_derived_part_is_compared() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "inspect");
    run.done(START + 50, Outcome::Room(room(&[finding(FindingKind::NetworkLink)]))).unwrap();
    run.done(START + 51, Outcome::Room(room(&[]))).unwrap();
    finish_late(&mut run);
    let file = run.signed_report().unwrap();
    verify(&file.bytes(), &ALONE).unwrap();
    let changes: [(&str, Change<Report>); 12] = [
        ("status", |report| report.status = Status::Aborted),
        ("list of components", |report| report.components[0].seal = "other".into()),
        ("list of components", |report| report.components[2].health = Hash([1; 32])),
        ("list of components", |report| {
            report.components.pop();
        }),
        ("list of accounts", |report| report.accounts[0].path = "m/86'/0'/0'".into()),
        ("number of combinations", |report| report.combinations = 10),
        ("list of findings", |report| report.findings.clear()),
        ("list of findings", |report| report.findings[0].answer = Answer::Deviated),
        ("end", |report| report.ended_at += 1),
        ("content", |report| report.rehearsal = false),
        ("content", |report| report.nonce = None),
        ("content", |report| report.ceremony = Some(Hash([1; 32]))),
    ];
    for (part, change) in changes {
        let mut changed = file.clone();
        change(&mut changed.report);
        sign_again(&mut changed);
        let error = verify(&changed.bytes(), &ALONE).unwrap_err();
        assert!(matches!(error, ReportError::Differs(other) if other == part), "{part}: {error}");
    }
    // A ceremony cut off before its end, and closed as if it were complete.
    let mut cut = file.clone();
    cut.report.events.truncate(30);
    sign_again(&mut cut);
    assert!(matches!(verify(&cut.bytes(), &ALONE).unwrap_err(), ReportError::Run(RunError::NoReport)));
}

#[test]
fn a_report_is_compared_with_script_and_genesis() {
    let file = signed(Kind::Recovery);
    let script = file.report.script.hash();
    let with = |script, genesis| verify(&file.bytes(), &Against { script, genesis, record: None });
    let (right, wrong) = (genesis(), fixtures::genesis());
    with(Some(script), Some(&right)).unwrap();
    let other = Hash([1; 32]);
    let error = with(Some(other), None).unwrap_err();
    assert!(
        matches!(error, ReportError::OtherScript { found, expected } if (found, expected) == (script, other))
    );
    assert!(matches!(with(None, Some(&wrong)).unwrap_err(), ReportError::Script(_)));
    // A script that breaks a rule is none, whoever signs.
    let mut broken = file.clone();
    broken.report.script.deviation_quorum = 1;
    broken.report.script_hash = broken.report.script.hash();
    sign_again(&mut broken);
    assert!(matches!(verify(&broken.bytes(), &ALONE).unwrap_err(), ReportError::Script(_)));
}

/// The record that belongs to a report, signed by alice and bob.
fn record(file: &SignedReport, genesis: &Genesis) -> CeremonyRecord {
    let report = &file.report;
    let recovery = Recovery {
        report: report.hash(),
        restored: rehearsal::restored(&report.script, &report.nonce.unwrap()),
    };
    let record = rehearsal::record(&report.script, report.began_at);
    let record = CeremonyRecord { recovery: Some(recovery), ..record };
    by(record, genesis, &["alice", "bob"])
}

fn by(record: CeremonyRecord, genesis: &Genesis, people: &[&str]) -> CeremonyRecord {
    let mut record = CeremonyRecord { participants: Vec::new(), ..record };
    let message = record.signed_bytes(&genesis.hash());
    for who in people {
        let participation = Participation { key: fixtures::id(who), signature: sign(who, &message) };
        record.participants.push(participation);
    }
    record
}

#[test]
fn a_report_is_compared_with_the_record() {
    let genesis = genesis();
    for kind in [Kind::Generation, Kind::Recovery] {
        let file = signed(kind);
        let right = record(&file, &genesis);
        let with = |record: &CeremonyRecord| {
            verify(&file.bytes(), &Against { genesis: Some(&genesis), record: Some(record), ..ALONE })
        };
        with(&right).unwrap();
        let changes: [(&str, Change<CeremonyRecord>); 12] = [
            ("hashes of the report", |r| r.recovery.as_mut().unwrap().report = Hash([1; 32])),
            ("hashes of the report", |r| r.recovery = None),
            ("nonces", |r| r.nonce = Hash([1; 32])),
            ("co-signers", |r| r.threshold = 3),
            ("co-signers", |r| r.holders.swap(0, 1)),
            ("accounts", |r| r.slots.swap(0, 1)),
            ("programs", |r| r.program = Hash([1; 32])),
            ("ids of the ceremony", |r| r.entropy.push('!')),
            ("ids of the ceremony", |r| r.held_at += 1),
            ("ids of the ceremony", |r| r.slots[0].commitments.swap(0, 1)),
            ("signatures of rebuilt keys", |r| r.recovery.as_mut().unwrap().restored[1] = Blob(vec![0; 64])),
            ("people", |r| r.participants[1].key = fixtures::id("server")),
        ];
        for (what, change) in changes {
            let mut changed = right.clone();
            change(&mut changed);
            let error = with(&changed).unwrap_err();
            assert!(matches!(error, ReportError::Record(part) if part == what), "{what}: {error}");
            // Whoever signed it.
            if what != "people" {
                let error = with(&by(changed, &genesis, &["alice", "bob"])).unwrap_err();
                assert!(matches!(error, ReportError::Record(part) if part == what), "{what}: {error}");
            }
        }
        let mut more = right.clone();
        more.slots.push(Slot { ..right.slots[0].clone() });
        assert!(matches!(with(&more).unwrap_err(), ReportError::Record("accounts")));
    }
    for kind in [Kind::Generation, Kind::Recovery] {
        let file = signed(kind);
        let with =
            |record: &CeremonyRecord| verify(&file.bytes(), &Against { record: Some(record), ..ALONE });
        let alone = by(record(&file, &genesis), &genesis, &["alice"]);
        assert!(matches!(with(&alone).unwrap_err(), ReportError::Record("people")));
        let twice = by(record(&file, &genesis), &genesis, &["alice", "alice"]);
        assert!(matches!(with(&twice).unwrap_err(), ReportError::Record("people")));
        let mut altered = record(&file, &genesis);
        altered.participants[0].signature.0[0] ^= 1;
        let error = with(&altered).unwrap_err();
        assert!(matches!(&error, ReportError::RecordSignature(who) if who.as_str() == "alice"), "{error}");
    }
    // What only genesis tells: the commitments of the first account are not of it.
    for kind in [Kind::Generation, Kind::Recovery] {
        let mut run = begun(kind);
        up_to(&mut run, "seal-shares");
        let mut unsound = rehearsal::record(run.script(), START);
        unsound.slots[0].commitments.swap(0, 1);
        let ceremony = unsound.id(&genesis.hash());
        run.done(START + 90, Outcome::SharesSealed { sets: 6, ceremony }).unwrap();
        finish(&mut run);
        let file = run.signed_report().unwrap();
        let recovery = record(&file, &genesis).recovery;
        let unsound = by(CeremonyRecord { recovery, ..unsound }, &genesis, &["alice", "bob"]);
        verify(&file.bytes(), &Against { record: Some(&unsound), ..ALONE }).unwrap();
        let error =
            verify(&file.bytes(), &Against { genesis: Some(&genesis), record: Some(&unsound), ..ALONE });
        assert!(matches!(error.unwrap_err(), ReportError::Unsound(_)));
    }
    let file = signed(Kind::Generation);
    // A drill makes no record; an aborted ceremony's is worth nothing.
    let right = record(&file, &genesis);
    let drill = verify(&signed(Kind::Drill).bytes(), &Against { record: Some(&right), ..ALONE });
    assert!(matches!(drill.unwrap_err(), ReportError::NoRecord(_)));
    let mut aborted = begun(Kind::Generation);
    up_to(&mut aborted, "hand-over-s2");
    aborted.abort(START + 100, "a seal was broken").unwrap();
    finish(&mut aborted);
    let aborted = aborted.signed_report().unwrap();
    let error = verify(&aborted.bytes(), &Against { record: Some(&right), ..ALONE }).unwrap_err();
    assert!(matches!(error, ReportError::NoRecord("aborted")), "{error}");
}

/// Somebody who kept a run from before the last signature could end it in two ways: each report says so.
#[test]
fn a_report_that_was_given_up_after_another_was_closed_names_that_one() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "sign-walter");
    let mut other = run.clone();
    finish(&mut run);
    let complete = verify(&run.signed_report().unwrap().bytes(), &ALONE).unwrap();
    assert_eq!(complete.report.supersedes(), None);
    other.abort(START + 999, "walter has left").unwrap();
    finish(&mut other);
    let aborted = verify(&other.signed_report().unwrap().bytes(), &ALONE).unwrap();
    assert_eq!((aborted.report.status, aborted.report.supersedes()), (Status::Aborted, Some(complete.hash)));
}

#[test]
fn an_aborted_report_takes_a_quorum_with_a_security_officer() {
    let mut run = begun(Kind::Components);
    up_to(&mut run, "write-1.2");
    run.finding(START + 100, finding(FindingKind::NetworkLink)).unwrap();
    finish(&mut run);
    let file = run.signed_report().unwrap();
    let verified = verify(&file.bytes(), &ALONE).unwrap();
    assert_eq!(verified.report.status, Status::Aborted);
    assert_eq!(verified.report.findings[0].answer, Answer::Aborted);
    assert!(verified.report.components.is_empty() && verified.report.accounts.is_empty());
    let only = |people: &[&str]| {
        let mut some = file.clone();
        some.signatures.retain(|signed| people.contains(&signed.person.as_str()));
        verify(&some.bytes(), &ALONE)
    };
    assert_eq!(only(&["alice", "bob"]).unwrap().signers.len(), 2);
    assert!(matches!(only(&["bob"]).unwrap_err(), ReportError::Quorum(2)));
    assert!(matches!(only(&["alice", "carol", "walter"]).unwrap_err(), ReportError::Quorum(2)));
}

/// Whether a value is as a schema says, for the words of JSON Schema that the schema here uses.
fn fits(schema: &Value, root: &Value, value: &Value) -> Result<(), String> {
    for (word, rule) in schema.as_object().unwrap() {
        let good = match word.as_str() {
            "$schema" | "title" | "description" | "$defs" | "properties" => true,
            "$ref" => {
                let target = rule.as_str().unwrap().strip_prefix("#").unwrap();
                return fits(root.pointer(target).expect(target), root, value);
            }
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
            }
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_u64().is_none_or(|n| n >= rule.as_u64().unwrap()),
            "maximum" => value.as_u64().is_none_or(|n| n <= rule.as_u64().unwrap()),
            "pattern" => pattern(rule.as_str().unwrap(), value.as_str().unwrap_or_default()),
            "required" => {
                rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some())
            }
            "additionalProperties" => {
                assert_eq!(*rule, Value::Bool(false));
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|object| object.keys().all(|key| known.contains_key(key)))
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(rule, root, item)?;
                }
                true
            }
            "oneOf" => {
                let fit = rule.as_array().unwrap().iter().filter(|one| fits(one, root, value).is_ok());
                fit.count() == 1
            }
            other => panic!("the schema uses {other:?}, which this test does not know"),
        };
        if !good {
            return Err(format!("{word} {rule}: {value}"));
        }
    }
    if let (Some(properties), Some(object)) = (schema.get("properties"), value.as_object()) {
        for (key, item) in object {
            fits(&properties[key], root, item).map_err(|why| format!("{key}: {why}"))?;
        }
    }
    Ok(())
}

/// The patterns of the schema, each as what it means.
fn pattern(pattern: &str, text: &str) -> bool {
    use std::str::FromStr as _;
    match pattern {
        "^[0-9a-f]{64}$" => Hash::from_hex(text).is_some(),
        "^[a-z0-9-]{1,32}$" => custody::name::Name::new(text).is_some(),
        "^[1-9][0-9]{0,2}\\.[1-9][0-9]{0,2}$" => ceremony::script::ComponentId::from_str(text).is_ok(),
        "^m/86'/[01]'/[0-9]+'$" => text.starts_with("m/86'/") && text.ends_with('\''),
        base64 if base64.starts_with("^([A-Za-z0-9+/]{4})*") => {
            serde_json::from_value::<Blob>(Value::String(text.into())).is_ok()
        }
        other => panic!("pattern {other}"),
    }
}

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/ceremony-report.schema.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Reports of every kind, one with everything that can happen in it, and an aborted one.
fn reports() -> Vec<Value> {
    let mut files: Vec<SignedReport> = KINDS.map(signed).to_vec();
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "inspect");
    run.done(START + 50, Outcome::Room(room(&[finding(FindingKind::Hypervisor)]))).unwrap();
    run.deviate(START + 50, deviation(&run, 0, &["alice", "bob"])).unwrap();
    run.done(START + 50, Outcome::Room(room(&[finding(FindingKind::Hypervisor)]))).unwrap();
    up_to(&mut run, "seal-1.1");
    run.inspect(START + 60, room(&[finding(FindingKind::Hypervisor)])).unwrap();
    run.pause(START + 61).unwrap();
    let (saved, hash) = run.save();
    let mut run = Run::resume(&saved, &hash, &genesis(), START + 70).unwrap();
    let mut aborted = run.clone();
    finish_late(&mut run);
    files.push(run.signed_report().unwrap());
    aborted.finding(START + 71, finding(FindingKind::Clock)).unwrap();
    aborted.abort(START + 72, "no electricity").unwrap();
    finish(&mut aborted);
    files.push(aborted.signed_report().unwrap());
    files.iter().map(|file| serde_json::from_slice(&file.bytes()).unwrap()).collect()
}

#[test]
fn reports_are_as_the_schema_says() {
    let schema = schema();
    let reports = reports();
    for report in &reports {
        fits(&schema, &schema, report).unwrap();
    }
    // Every object of a report, with a field more or one less, fits no longer: one of each shape.
    let mut shapes = BTreeSet::new();
    for report in &reports {
        let mut places = Vec::new();
        objects(report, String::new(), &mut places);
        for place in places {
            let shape: String = place.chars().filter(|c| !c.is_ascii_digit()).collect();
            let object = report.pointer(&place).unwrap().as_object().unwrap();
            let keys: Vec<String> = object.keys().cloned().collect();
            if !shapes.insert((shape, keys, object.get("type").cloned().map(|word| word.to_string()))) {
                continue;
            }
            let mut more = report.clone();
            more.pointer_mut(&place).unwrap()["surplus"] = true.into();
            assert!(fits(&schema, &schema, &more).is_err(), "{place}");
            let keys: Vec<String> =
                report.pointer(&place).unwrap().as_object().unwrap().keys().cloned().collect();
            for key in keys {
                let optional = matches!(
                    key.as_str(),
                    "age" | "components" | "held" | "cosigners" | "recording" | "nonce" | "ceremony"
                );
                let mut less = report.clone();
                less.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(&key);
                assert!(optional || fits(&schema, &schema, &less).is_err(), "{place}/{key}");
            }
        }
    }
}

/// Every field that the schema names stands in some report, so that none of it is out of date.
#[test]
fn the_schema_has_no_field_that_reports_lack() {
    let mut named = BTreeSet::new();
    let schema = schema();
    let mut places = Vec::new();
    objects(&schema, String::new(), &mut places);
    for place in places.iter().filter(|place| place.ends_with("/properties")) {
        named.extend(schema.pointer(place).unwrap().as_object().unwrap().keys().cloned());
    }
    let mut found = BTreeSet::new();
    for report in reports() {
        let mut places = Vec::new();
        objects(&report, String::new(), &mut places);
        found.extend(
            places.iter().flat_map(|p| report.pointer(p).unwrap().as_object().unwrap().keys().cloned()),
        );
    }
    assert_eq!(named, found);
}

fn objects(value: &Value, place: String, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                objects(field, format!("{place}/{key}"), out);
            }
            out.push(place);
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                objects(item, format!("{place}/{number}"), out);
            }
        }
        _ => {}
    }
}

/// No enumeration of the schema has a word more or less than the program.
#[test]
fn the_schema_has_the_words_of_the_program() {
    let schema = schema();
    let words = |name: &str| {
        let list = schema["$defs"][name]["enum"].as_array().unwrap();
        list.iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words("finding-kind"), FindingKind::ALL.map(|kind| kind.name().to_owned()));
    assert_eq!(words("source"), ceremony::entropy::Source::ALL.map(|source| source.name().to_owned()));
    assert_eq!(words("medium"), Medium::ALL.map(|medium| medium.to_string()));
    let variants = schema["$defs"]["outcome"]["oneOf"].as_array().unwrap();
    let mut named: Vec<&str> =
        variants.iter().map(|variant| variant["properties"]["type"]["const"].as_str().unwrap()).collect();
    let mut seen: Vec<String> = rehearsal::outcomes()
        .values()
        .map(|outcome| serde_json::to_value(outcome).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    seen.sort();
    seen.dedup();
    named.sort_unstable();
    // The kinds that only an interrupted or aborted ceremony has are in `reports`.
    assert_eq!(named, seen);
}
