//! The program as a reader of what a hostile server, or a hostile co-signer, answers: too much, too deep,
//! doubled, endless, nothing. It ends with an error that says what to do, in bounded time and memory, and
//! serves its person as soon as the answers are honest.

mod common;

use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::Host;
use custody::batch::Batch;
use custody::checkpoint::{SignedNote, cosign};
use custody::document::Person;
use custody::genesis::Genesis;
use custody::name::Label;
use custody::statement::Envelope;
use custody::{Blob, Hash};
use fixtures::{World, genesis, group, key, name};
use serde_json::Value;
use wire::message::{FromCosigner, FromServer, Log, ReceiptState, ServerStatus, ToCosigner, ToServer};
use wire::{Listener, TlsKey};
use zeroize::Zeroizing;

/// What stands at the other end: bytes for each message, or none, and then silence.
type Answers = Arc<Mutex<Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>>>;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Listens with the TLS key of a name.
fn listen(who: &str) -> (String, Answers) {
    let tls = TlsKey::from_seed(Zeroizing::new(key(&format!("{who}/tls")).to_bytes())).unwrap();
    let listener =
        Listener::bind("127.0.0.1:0".parse().unwrap(), &tls, Arc::new(|_: &[u8; 32]| true)).unwrap();
    let address = listener.local_addr().to_string();
    let answers: Answers = Arc::new(Mutex::new(Box::new(|_| None)));
    let inside = Arc::clone(&answers);
    thread::spawn(move || {
        while let Ok(mut connection) = listener.accept() {
            let answers = Arc::clone(&inside);
            thread::spawn(move || {
                while let Ok(asked) = connection.recv() {
                    let answer = (answers.lock().unwrap())(&asked);
                    if answer.is_some_and(|answer| connection.send(&answer).is_err()) {
                        return;
                    }
                }
            });
        }
    });
    (address, answers)
}

/// A deployment whose server and co-signers answer whatever a test says.
struct Stage {
    host: Host,
    world: World,
    server: Answers,
    cosigners: Vec<(&'static str, Answers)>,
}

impl Stage {
    fn new() -> Self {
        let host = Host::new();
        host.ok("person new --id erin --name Erin --out erin.key");
        let public: Value =
            serde_json::from_slice(&fs::read(host.path("erin.key.pub.json")).unwrap()).unwrap();
        let erin: Person = serde_json::from_value(public["person"].clone()).unwrap();
        let mut genesis: Genesis = genesis();
        genesis.people.push(erin);
        genesis.groups = ["approvers", "admins"].map(|g| group(g, &["alice", "bob", "erin"])).to_vec();
        fs::write(host.path("genesis.json"), genesis.bytes()).unwrap();
        host.ok(&format!("genesis pin genesis.json --hash {}", genesis.hash()));
        let mut world = World::open(genesis);
        world.apply(now(), &[]);
        let (address, server) = listen("server");
        host.ok(&format!("profile --server {address} --device erin.key"));
        let mut cosigners = Vec::new();
        for who in ["s1", "s2", "s3"] {
            let (address, answers) = listen(who);
            host.ok(&format!("profile --cosigner {who}={address}"));
            cosigners.push((who, answers));
        }
        Self { host, world, server, cosigners }
    }

    fn say(&self, answers: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) {
        *self.server.lock().unwrap() = Box::new(answers);
    }

    fn cosigner_says(&self, who: &str, answers: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) {
        let (_, found) = self.cosigners.iter().find(|(name, _)| *name == who).unwrap();
        *found.lock().unwrap() = Box::new(answers);
    }

    /// The whole log from a height on, under its head.
    fn piece(&self, from: u64) -> Log {
        let skip = usize::try_from(from - 1).unwrap();
        let batches = self.world.log.iter().skip(skip).map(|(batch, _)| Blob(batch.bytes())).collect();
        Log { from, batches, height: self.world.state.clock().height, note: self.note() }
    }

    fn note(&self) -> String {
        let body = self.world.state.checkpoint().encode().unwrap();
        let line = |w: &str| cosign(&body, w, &key(&format!("{w}/cosign")), self.world.time);
        let lines = ["s1", "s2", "s3"].map(line).to_vec();
        SignedNote { body, lines }.to_string()
    }

    /// The server as it should be; with labels that nobody asked for, if so told.
    fn honest(&self, stray: Vec<Label>) {
        let first = self.piece(1);
        self.say(move |asked| {
            Some(match wire::decode(asked).unwrap() {
                ToServer::Log { from } | ToServer::Wait { from, .. } => {
                    let skip = usize::try_from(from - 1).unwrap();
                    let batches = first.batches.iter().skip(skip).cloned().collect();
                    encoded(&FromServer::Log(Log { from, batches, ..first.clone() }))
                }
                ToServer::Labels { .. } => encoded(&FromServer::Labels { labels: stray.clone() }),
                _ => encoded(&FromServer::Status(status())),
            })
        });
    }
}

fn encoded<T: serde::Serialize>(message: &T) -> Vec<u8> {
    wire::encode(message).unwrap()
}

fn status() -> ServerStatus {
    ServerStatus {
        height: 1,
        cosigners: Vec::new(),
        pending: 0,
        chain_tip: None,
        payments: Vec::new(),
        balances: Vec::new(),
        balances_at: None,
        alarms: Vec::new(),
    }
}

fn deep(levels: usize) -> String {
    ["[".repeat(levels), "]".repeat(levels)].concat()
}

#[test]
fn answers_that_are_no_messages_end_the_command() {
    let stage = Stage::new();
    let sound = String::from_utf8(encoded(&FromServer::Log(stage.piece(1)))).unwrap();
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("not JSON", b"hello".to_vec()),
        ("not UTF-8", vec![0xff; 64]),
        ("far too deep", deep(500_000).into_bytes()),
        (
            "deep inside",
            sound.replacen("\"height\"", &format!("\"more\":{},\"height\"", deep(100)), 1).into(),
        ),
        ("as long as a frame may be", vec![b'['; wire::MAX_FRAME_BYTES]),
        ("a string as long as a frame may be", vec![b'"'; wire::MAX_FRAME_BYTES]),
        ("a key twice", sound.replacen("\"height\"", "\"from\":1,\"height\"", 1).into()),
        ("a key twice, escaped", sound.replacen("\"height\"", "\"fr\\u006fm\":1,\"height\"", 1).into()),
        ("a field more", sound.replacen("\"height\"", "\"more\":1,\"height\"", 1).into()),
        ("two answers in one", format!("{sound}{sound}").into()),
        ("a float", sound.replacen("\"from\":1", "\"from\":1.5", 1).into()),
        ("another kind of answer", encoded(&FromServer::Status(status()))),
        ("a piece from elsewhere", encoded(&FromServer::Log(Log { from: 2, ..stage.piece(1) }))),
        ("no batches", encoded(&FromServer::Log(Log { batches: Vec::new(), ..stage.piece(1) }))),
        (
            "a batch as long as a frame may be",
            encoded(&FromServer::Log(Log { batches: vec![Blob(vec![b'{'; 1_500_000])], ..stage.piece(1) })),
        ),
    ];
    for (what, bytes) in bad {
        stage.say(move |_| Some(bytes.clone()));
        let said = stage.host.fails("status", 5);
        assert!(said.len() < 4_096, "{what}: {} bytes of error", said.len());
        assert!(!stage.host.path("home/log").exists(), "{what}: something of it was kept");
    }
    stage.honest(Vec::new());
    stage.host.ok("status");
}

/// Batches that replay and never end, under a head that is final for fewer: every tick is valid, and nobody
/// signed it.
#[test]
fn a_log_without_end_is_read_no_further_than_its_head() {
    let stage = Stage::new();
    let (mut world, note) = (stage.world.clone(), stage.note());
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let first = stage.piece(1);
    stage.say(move |message| {
        *count.lock().unwrap() += 1;
        let ToServer::Log { from } = wire::decode(message).unwrap() else { return None };
        let mut batches = if from == 1 { first.batches.clone() } else { Vec::new() };
        for _ in 0..50 {
            world.tick(1);
            let (batch, _): &(Batch, _) = world.log.last().unwrap();
            batches.push(Blob(batch.bytes()));
        }
        // An end, for a reader that would go on for ever.
        let height =
            if *count.lock().unwrap() < 40 { u64::from(u32::MAX) } else { world.state.clock().height };
        Some(encoded(&FromServer::Log(Log { from, batches, height, note: note.clone() })))
    });
    let said = stage.host.fails("status", 5);
    assert!(said.contains("does not fit"), "{said}");
    assert_eq!(*asked.lock().unwrap(), 1, "it asked on beyond the head");
    assert!(!stage.host.path("home/log").exists());
    stage.honest(Vec::new());
    stage.host.ok("status");
}

/// A server gives a long log in pieces, each under a head of its own: all of them are read.
#[test]
fn a_log_in_pieces_is_read_to_its_end() {
    let mut stage = Stage::new();
    let mut pieces = vec![stage.piece(1)];
    for _ in 0..2 {
        let from = stage.world.state.clock().height + 1;
        (0..3).for_each(|_| stage.world.tick(1));
        pieces.push(stage.piece(from));
    }
    let height = stage.world.state.clock().height;
    stage.say(move |asked| {
        Some(match wire::decode(asked).unwrap() {
            ToServer::Log { from } => {
                let last = pieces.last().unwrap();
                let end = Log { from, batches: Vec::new(), ..last.clone() };
                encoded(&FromServer::Log(pieces.iter().find(|p| p.from == from).cloned().unwrap_or(end)))
            }
            ToServer::Labels { .. } => encoded(&FromServer::Labels { labels: Vec::new() }),
            _ => encoded(&FromServer::Status(status())),
        })
    });
    let said: Value = serde_json::from_str(&stage.host.ok("status --output json")).unwrap();
    assert_eq!(said["height"], height, "{said}");
}

/// Labels that nobody asked for are not kept: a server cannot fill the disk of a person.
#[test]
fn only_labels_that_were_asked_for_are_kept() {
    let stage = Stage::new();
    let stray = |i: u32| Label { salt: Hash::sha256(&i.to_be_bytes()), text: "x".repeat(400) };
    let mut labels: Vec<Label> = (0..3_000).map(stray).collect();
    labels.push(fixtures::label("acme"));
    stage.honest(labels);
    stage.host.ok("status");
    let kept: Vec<Label> =
        serde_json::from_slice(&fs::read(stage.host.path("home/labels.json")).unwrap()).unwrap();
    assert!(kept.contains(&fixtures::label("acme")), "the one that is meant");
    assert!(kept.iter().all(|label| label.text.len() < 400), "{} labels are kept", kept.len());
}

/// A server that takes the question and says nothing, and one that is slow: both within the limit.
#[test]
fn a_silent_server_is_given_up() {
    let stage = Stage::new();
    stage.say(|_| None);
    let began = Instant::now();
    let said = stage.host.fails("status", 4);
    assert!(said.contains("no answer within 15 s"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    stage.honest(Vec::new());
    stage.host.ok("status");
}

/// Co-signers that answer a freeze with rubbish, with receipts of something else, or lie about others: only
/// receipts of this freeze count, and each for whoever gave it.
#[test]
fn rubbish_from_co_signers_is_no_acknowledgement() {
    let stage = Stage::new();
    let receipt = |state: ReceiptState| {
        move |asked: &[u8]| {
            let ToCosigner::Submit { envelope } = wire::decode(asked).unwrap() else { return None };
            let id = Envelope::parse(&envelope.0).unwrap().id();
            Some(encoded(&FromCosigner::Receipt { id, state: state.clone() }))
        }
    };
    stage.cosigner_says("s1", receipt(ReceiptState::Held));
    stage.cosigner_says("s2", receipt(ReceiptState::Held));
    let other = FromCosigner::Receipt { id: Hash([9; 32]), state: ReceiptState::Held };
    let refused = FromCosigner::Refused {
        what: "submit".into(),
        id: Hash([9; 32]),
        rule: "P1.form".into(),
        why: "\u{1b}[2J".repeat(10_000),
        culprits: vec![name("s1"); 10_000],
    };
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("of something else", encoded(&other)),
        ("far too deep", deep(500_000).into_bytes()),
        ("too much", vec![b' '; wire::MAX_FRAME_BYTES]),
        ("a long refusal", encoded(&refused)),
        ("a log", encoded(&FromCosigner::Log(stage.piece(1)))),
    ];
    for (what, bytes) in bad {
        stage.cosigner_says("s3", move |_| Some(bytes.clone()));
        let said = stage.host.fails("freeze --yes --offline --timeout 0", 6);
        assert!(said.contains("sent        ") && said.contains("held by     s1, s2\n"), "{what}: {said}");
        assert!(said.contains("problem     s3: ") && !said.contains('\u{1b}'), "{what}");
    }
    stage.cosigner_says("s3", receipt(ReceiptState::Pending));
    stage.host.fails("freeze --yes --offline --timeout 0", 6);
    stage.cosigner_says("s3", receipt(ReceiptState::Held));
    assert!(stage.host.ok("freeze --yes --offline --timeout 0").starts_with("frozen      "));
}
