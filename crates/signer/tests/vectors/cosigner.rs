//! The golden records and messages of a co-signer. A module of the crate, because they are private.

use std::path::Path;
use std::sync::Arc;

use custody::genesis::Genesis;
use custody::name::Name;
use custody::{Blob, Hash, canon};
use keys::cosigner::CosignerSecrets;
use keys::locked::LockedBytes;
use keys::vault::Vault;
use rand_core::OsRng;
use serde_json::Value;
use wire::message::{FromCosigner, ToCosigner};

use super::peer::{Frame, Payload, PeerMessage};
use super::signing::Work;
use super::store::{self, GuardRecord};
use super::{Asker, Cosigner, Disk, Effect, Event, File};

fn read(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors").join(file)).unwrap()
}

fn lines(file: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8(read(file)).unwrap();
    text.lines().map(|line| line.as_bytes().to_vec()).collect()
}

fn json(file: &str) -> Value {
    serde_json::from_slice(&read(file)).unwrap()
}

fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let text = hex.as_str().unwrap();
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn locked(bytes: &[u8]) -> LockedBytes {
    LockedBytes::take(&mut bytes.to_vec()).unwrap()
}

/// The keys of `s1`.
fn secrets() -> CosignerSecrets {
    let keys = json("keys/expected.json");
    CosignerSecrets::from_plaintext(&locked(&bytes(&keys["cosigner"]["plaintext"]))).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The golden directory of `s1`, with its share.
fn disk() -> Disk {
    let share = of(&json("signer/expected.json")["share_file"]);
    Disk {
        log: lines("signer/log.jsonl"),
        guard: lines("signer/guard.jsonl"),
        shares: vec![(share, read("keys/share.vault"))],
        ..Disk::default()
    }
}

fn open(disk: &Disk) -> Result<Cosigner, super::StartError> {
    let unlock = bytes(&json("keys/expected.json")["unlock_secret"]);
    let vault = Vault::unlock(&locked(&unlock), &read("keys/share.vault")).unwrap();
    let genesis = Genesis::parse(&read("signer/genesis.json")).unwrap();
    Cosigner::open(genesis, name("s1"), secrets(), Arc::new(vault), disk)
}

#[test]
fn a_cosigner_starts_from_the_golden_records() {
    let expected = json("signer/expected.json");
    let mut cosigner = open(&disk()).unwrap();
    assert_eq!(cosigner.final_head().0, of::<u64>(&expected["final"]));
    assert_eq!(cosigner.decided_height(), of::<u64>(&expected["decided"]));

    // The reduction is held, and the number of the session is used.
    let now_ms = of::<u64>(&expected["time"]) * 1000;
    cosigner.start(now_ms, false, Hash([7; 32]));
    let nonce = Hash([8; 32]);
    let challenge = Event::Message { from: Asker::Server, message: ToCosigner::Challenge { nonce } };
    let answered = cosigner.step(now_ms, challenge, &mut OsRng);
    let reductions = answered.iter().find_map(|effect| match effect {
        Effect::Reply(FromCosigner::Answer(answer)) => Some(answer.reductions.clone()),
        _ => None,
    });
    assert_eq!(reductions, Some(vec![of(&expected["held"])]));
    let session: Hash = of(&expected["frame"]["session"]);
    assert!(cosigner.used.values().any(|sessions| sessions.contains(&session)));
    assert_eq!(cosigner.shares.len(), 1);
}

/// The log passes the golden pinned head, and takes no part as long as it has not.
#[test]
fn the_golden_pinned_head_is_passed() {
    let pins: Vec<String> = canon::decode(&read("signer/pinned-heads.json")).unwrap();
    let pinned = || Disk { pins: pins.clone(), ..disk() };
    assert!(open(&pinned()).unwrap().has_passed_pins());
    let early = Disk { log: Vec::new(), shares: Vec::new(), guard: Vec::new(), ..pinned() };
    assert!(!open(&early).unwrap().has_passed_pins());
    let forged = Disk { pins: vec![pins[0].replace("keyward-state/v1 ", "keyward-state/v1 0")], ..disk() };
    assert!(open(&forged).is_err());
    let altered =
        Disk { pins: vec![pins[0].replacen("\n2", "\n3", 1).replacen("\n— s1", "\n— s3", 1)], ..disk() };
    assert!(open(&altered).is_err());
}

#[test]
fn a_cosigner_does_not_start_from_altered_records() {
    let altered = |change: &dyn Fn(&mut Disk)| {
        let mut disk = disk();
        change(&mut disk);
        assert!(open(&disk).is_err());
    };
    let end = disk().log.len();
    // A batch left out, moved or repeated; a head that is not of these batches; another form.
    altered(&|disk| drop(disk.log.remove(0)));
    altered(&|disk| disk.log.swap(0, 1));
    altered(&|disk| disk.log.insert(0, disk.log[0].clone()));
    altered(&|disk| drop(disk.log.remove(end - 3)));
    for (from, to) in [("{\"batch\":", "{\"entry\":"), ("{\"batch\":", "{ \"batch\":")] {
        let changed = String::from_utf8(disk().log[0].clone()).unwrap().replacen(from, to, 1);
        altered(&|disk| disk.log[0] = changed.clone().into_bytes());
    }
    let note = String::from_utf8(disk().log[end - 2].clone()).unwrap();
    assert!(note.starts_with("{\"final\":"));
    altered(&|disk| disk.log[end - 2] = note.replace("\\n\\n— s1", "\\n\\n— s2").into_bytes());
    altered(&|disk| disk.guard[1] = disk.guard[1][..40].to_vec());
    let more = String::from_utf8(disk().guard[1].clone()).unwrap().replace("\"work\"", "\"more\":0,\"work\"");
    altered(&|disk| disk.guard[1] = more.clone().into_bytes());
    // A share under the name of another account, and a name that is none.
    let renamed = disk().shares[0].0.replace("-0.share", "-1.share");
    altered(&|disk| disk.shares[0].0 = renamed.clone());
    altered(&|disk| disk.shares[0].0 = "a.share".to_owned());
    altered(&|disk| *disk.shares[0].1.last_mut().unwrap() ^= 1);
}

#[test]
fn the_records_of_the_log_are_written_so() {
    for line in lines("signer/log.jsonl") {
        let value: Value = serde_json::from_slice(&line).unwrap();
        let written = match value.get("batch") {
            Some(batch) => store::batch_record(&of::<Blob>(batch).0),
            None => {
                store::note_record(of(&value["final"]["height"]), value["final"]["note"].as_str().unwrap())
            }
        };
        assert_eq!(written, line);
    }
    for line in lines("signer/guard.jsonl") {
        let record: GuardRecord = canon::decode(&line).unwrap();
        assert_eq!(canon::encode(&record).unwrap(), line);
    }
    let expected = json("signer/expected.json");
    let (ceremony, slot) = expected["share_file"].as_str().unwrap().split_once('-').unwrap();
    assert_eq!(store::share_file(&Hash::from_hex(ceremony).unwrap(), 0), format!("{ceremony}-{slot}"));
}

#[test]
fn golden_messages_between_cosigners() {
    let mut kinds = Vec::new();
    for line in lines("signer/peer.jsonl") {
        let message: PeerMessage = wire::json::decode(&line).unwrap();
        assert_eq!(canon::encode(&message).unwrap(), line);
        for cut in 0..line.len() {
            assert!(wire::json::decode::<PeerMessage>(&line[..cut]).is_err());
        }
        let text = String::from_utf8(line).unwrap();
        if text.contains(":{\"") {
            let more = text.replacen(":{\"", ":{\"more\":0,\"", 1);
            assert!(wire::json::decode::<PeerMessage>(more.as_bytes()).is_err(), "{more}");
        }
        kinds.push(match message {
            PeerMessage::Agreement(_) => "agreement",
            PeerMessage::Cosignature { .. } => "cosignature",
            PeerMessage::Behind { .. } => "behind",
            PeerMessage::Log(_) => "log",
            PeerMessage::Reduction(_) => "reduction",
            PeerMessage::Frame(_) => "frame",
        });
    }
    assert_eq!(kinds, ["agreement", "cosignature", "behind", "log", "reduction", "frame"]);
}

#[test]
fn the_golden_frame_opens_in_its_place_alone() {
    let expected = &json("signer/expected.json");
    let genesis: Hash = of(&expected["genesis"]);
    let expected = &expected["frame"];
    let frame = lines("signer/peer.jsonl").into_iter().find_map(|line| {
        match wire::json::decode::<PeerMessage>(&line).unwrap() {
            PeerMessage::Frame(frame) => Some(frame),
            _ => None,
        }
    });
    let frame: Frame = frame.unwrap();
    let (key, secrets): (Hash, _) = (of(&expected["frame_key"]), secrets());
    let own = secrets.used();
    assert!(frame.is_signed(&genesis, &key));
    let payload = frame.open(&genesis, own).unwrap();
    assert_eq!(canon::encode(&payload).unwrap(), bytes(&expected["payload"]));
    let Payload::Commitments(commitments) = payload else { panic!("commitments") };
    assert_eq!(commitments.len(), 1);

    assert!(!frame.is_signed(&Hash::default(), &key));
    assert!(frame.open(&Hash::default(), own).is_none());
    assert!(!frame.is_signed(&genesis, &secrets.public().frame));
    let mut sealed = frame.sealed.clone();
    sealed.0[40] ^= 1;
    let others = [
        Frame { from: name("s3"), ..frame.clone() },
        Frame { to: name("s3"), ..frame.clone() },
        Frame { session: Hash::default(), ..frame.clone() },
        Frame { sealed, ..frame.clone() },
    ];
    for other in others {
        assert!(!other.is_signed(&genesis, &key), "{other:?}");
        assert!(other.open(&genesis, own).is_none(), "{other:?}");
    }
    let other = Frame { signature: Blob(vec![0; 64]), ..frame.clone() };
    assert!(!other.is_signed(&genesis, &key));

    // The session is the one of its work, holders and attempt.
    let of_sample = |what: &str| Hash::of("keyward/fixture/vector", what.as_bytes());
    let holders = [name("s1"), name("s2")];
    let spend = Work::Spend { authorisation: of_sample("authorisation") };
    assert_eq!(spend.session(&genesis, &holders, 4), frame.session);
    assert_ne!(spend.session(&genesis, &holders, 5), frame.session);
    let prove = Work::Prove { ceremony: of_sample("ceremony"), slot: 3 };
    assert_eq!(prove.session(&genesis, &holders, 0), of(&expected["prove_session"]));
}

/// What a co-signer writes when it is told to hold the golden freeze is the golden record.
#[test]
fn the_golden_reduction_is_held_by_the_golden_record() {
    let expected = json("signer/expected.json");
    let mut cosigner = open(&Disk { guard: Vec::new(), ..disk() }).unwrap();
    let now_ms = of::<u64>(&expected["time"]) * 1000;
    cosigner.start(now_ms, false, Hash([7; 32]));
    let record = lines("signer/guard.jsonl").remove(0);
    let value: Value = serde_json::from_slice(&record).unwrap();
    let message = ToCosigner::Submit { envelope: of(&value["held"]) };
    let effects = cosigner.step(now_ms, Event::Message { from: Asker::Server, message }, &mut OsRng);
    assert!(effects.contains(&Effect::Append(File::Guard, record)));
}
