//! Heads that people bring to a new host (P30). Keys that went out of use can sign another history from before;
//! here all keys sign both, so only the pinned head tells them apart.

use custody::checkpoint::{SignedNote, cosign};
use custody::genesis::Genesis;
use custody::statement::{Body, Freeze, Scope};
use custody::{Blob, Hash};
use fixtures::World;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};
use signer::agreement::{Certificate, Decision, Message, value_hash};
use signer::cosigner::{Asker, Cosigner, Disk, Effect, Event, File, StartError, Timer};
use signer::tendermint::Kind;
use sim::attacker::Hand;
use sim::deployment::{COSIGNERS, Deployment, name, secrets, vault};
use sim::relay::Cluster;
use wire::message::{FromCosigner, Log, ToCosigner};

/// A history: its batches, and the final head after each.
#[derive(Clone)]
struct History {
    world: World,
    batches: Vec<Blob>,
    notes: Vec<String>,
}

impl History {
    fn new() -> Self {
        let card = |who: &&str| {
            let keys = secrets(who);
            keys.card(&name(who), who.starts_with('s'), 1, keys.public()).unwrap()
        };
        let genesis = Genesis { cosigners: COSIGNERS.iter().map(card).collect(), ..fixtures::genesis() };
        Self { world: World::new(genesis), batches: Vec::new(), notes: Vec::new() }
    }

    /// Goes on by one batch with so many freezes by somebody.
    fn batch(&mut self, who: &str, entries: usize) {
        let freeze = Body::Freeze(Freeze { scope: Scope::Everything });
        let entries: Vec<_> = (0..entries).map(|_| self.world.sign(who, freeze.clone())).collect();
        let time = self.world.time + 10;
        self.world.apply(time, &entries);
        self.batches.push(Blob(self.world.log.last().unwrap().0.bytes()));
        self.notes.push(self.note(3));
    }

    /// The head after the last batch, under so many co-signatures.
    fn note(&self, signers: usize) -> String {
        let body = self.world.state.checkpoint().encode().unwrap();
        let line = |who: &&str| cosign(&body, who, secrets(who).cosign_signing_key(), self.world.time);
        let lines = COSIGNERS[..signers].iter().map(line).collect();
        SignedNote { body, lines }.to_string()
    }

    /// The final head after a height.
    fn head(&self, height: usize) -> String {
        self.notes[height - 1].clone()
    }

    /// The piece of the log from one height to another.
    fn piece(&self, from: usize, to: usize) -> Log {
        let batches = self.batches[from - 1..to].to_vec();
        Log { from: from as u64, batches, height: to as u64, note: self.head(to) }
    }
}

/// The true one; a forged one with the same sizes from height 4 on; and one that jumps over the size that the
/// true one has after height 4.
fn histories() -> (History, History, History) {
    let mut before = History::new();
    for who in ["alice", "bob", "carol"] {
        before.batch(who, 1);
    }
    let [mut truth, mut forged, mut jumps] = [before.clone(), before.clone(), before];
    for who in ["alice", "bob"] {
        truth.batch(who, 2);
        forged.batch("carol", 2);
        jumps.batch("carol", 3);
    }
    (truth, forged, jumps)
}

struct Host {
    cosigner: Cosigner,
    disk: Disk,
    now_ms: u64,
}

fn open(history: &History, disk: &Disk) -> Result<Cosigner, StartError> {
    Cosigner::open(history.world.state.genesis().clone(), name("s3"), secrets("s3"), vault(), disk)
}

impl Host {
    fn new(history: &History, pins: &[String]) -> Self {
        let disk = Disk { pins: pins.to_vec(), ..Disk::default() };
        let mut cosigner = open(history, &disk).unwrap();
        let now_ms = history.world.time * 1000;
        let effects = cosigner.start(now_ms, false, Hash([1; 32]));
        let mut host = Self { cosigner, disk, now_ms };
        host.keep(&effects);
        host
    }

    fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Append(File::Log, bytes) = effect {
                self.disk.log.push(bytes.clone());
            }
        }
    }

    /// Takes a piece of the log from another co-signer. Returns what left.
    fn take(&mut self, piece: &Log) -> Vec<Effect> {
        self.hear(&json!({ "log": piece }))
    }

    /// Takes a letter of another co-signer. Returns what left.
    fn hear(&mut self, letter: &Value) -> Vec<Effect> {
        let bytes = Blob(serde_json::to_vec(letter).unwrap());
        let message = ToCosigner::Peer { from: name("s1"), bytes };
        let event = Event::Message { from: Asker::Server, message };
        let effects = self.cosigner.step(self.now_ms, event, &mut ChaCha20Rng::seed_from_u64(1));
        self.keep(&effects);
        effects
    }

    fn height(&self) -> u64 {
        self.cosigner.final_head().0
    }
}

/// The first batch of a history as what three co-signers decided, with their signatures.
fn decided(history: &History) -> Value {
    let batch = history.batches[0].clone();
    let value = value_hash(&batch.0);
    let vote = |who: &&str| {
        let hand = Hand::new(who, secrets(who), history.world.state.genesis_hash());
        let letter: Value =
            serde_json::from_slice(&hand.vote("s3", 1, 0, Kind::Precommit, Some(value)).bytes).unwrap();
        let bytes: Blob = serde_json::from_value(letter["agreement"].clone()).unwrap();
        let Message::Votes(votes) = Message::decode(&bytes.0).unwrap() else { panic!("a vote") };
        (votes[0].by, votes[0].signature.clone())
    };
    let signatures = COSIGNERS[..3].iter().map(vote).collect();
    let certificate = Certificate { height: 1, round: 0, value, signatures };
    let decision = Message::Decision(Decision { value: batch, certificate });
    json!({ "agreement": Blob(decision.encode().unwrap()) })
}

/// The words of a refusal of a log.
fn refusal(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::ToServer(FromCosigner::Refused { what, why, .. }) if what == "log" => Some(why.as_str()),
        _ => None,
    })
}

/// Whether anything of the agreement or a co-signature left.
fn spoke(effects: &[Effect]) -> bool {
    let of =
        |bytes: &Blob| [&b"{\"agreement\""[..], b"{\"cosignature\""].iter().any(|p| bytes.0.starts_with(p));
    effects.iter().any(|e| matches!(e, Effect::ToServer(FromCosigner::Peer { bytes, .. }) if of(bytes)))
}

/// Both heads by their roots.
fn names_both(why: &str, one: &str, other: &str) -> bool {
    [one, other].iter().all(|note| {
        let body = SignedNote::parse(note).unwrap().body;
        let head = custody::checkpoint::Checkpoint::parse(&body).unwrap();
        why.contains(&head.root.to_string()) && why.contains(&head.state().unwrap().to_string())
    })
}

#[test]
fn a_log_that_all_keys_forged_is_refused_under_the_pinned_head_and_taken_without_it() {
    let (truth, forged, jumps) = histories();
    for (other, ends_at) in [(&forged, 4), (&jumps, 4)] {
        let mut host = Host::new(&truth, &[truth.head(4)]);
        let effects = host.take(&other.piece(1, 5));
        let why = refusal(&effects).expect("a refusal");
        assert!(names_both(why, &other.head(ends_at), &truth.head(4)), "{why}");
        assert_eq!((host.height(), host.disk.log.len()), (0, 0), "nothing of it is kept");
        // The true one is taken afterwards, and this host takes part from there.
        assert!(!spoke(&effects));
        let effects = host.take(&truth.piece(1, 5));
        assert!(refusal(&effects).is_none() && spoke(&effects));
        assert_eq!(host.height(), 5);

        // The twin: without the pinned head nothing tells the two apart.
        let mut host = Host::new(&truth, &[]);
        assert!(refusal(&host.take(&other.piece(1, 5))).is_none());
        assert_eq!(host.height(), 5);
        // On the own disk it is found at the next start.
        let mut disk = Disk { pins: vec![truth.head(4)], ..host.disk };
        for height in [5, 0] {
            let error = open(&truth, &disk).unwrap_err().to_string();
            assert!(names_both(&error, &other.head(ends_at), &truth.head(4)), "{error}");
            let without = Disk { pins: Vec::new(), ..disk.clone() };
            let found = open(&truth, &without).unwrap();
            assert_eq!((found.final_head().0, found.decided_height()), (height, 5));
            // Once more without its final head: the batches were decided and no more.
            disk.log.pop();
        }
    }
}

#[test]
fn before_the_pinned_head_nothing_is_voted_on() {
    let (truth, forged, _) = histories();
    let mut host = Host::new(&truth, &[truth.head(4), truth.head(4)]);
    let effects = host.take(&truth.piece(1, 3));
    assert_eq!((host.height(), host.cosigner.has_passed_pins(), spoke(&effects)), (3, false, false));
    // It asks for more by itself.
    let asks = |e: &Effect| matches!(e, Effect::ToServer(FromCosigner::Peer { bytes, .. }) if bytes.0 == b"{\"behind\":{\"from\":4}}");
    assert!(effects.iter().any(asks));
    // What others say they decided is not believed either; without the pinned head it is, and co-signed.
    let heard = |pins: &[String]| {
        let mut host = Host::new(&truth, pins);
        let effects = host.hear(&decided(&forged));
        (spoke(&effects), host.cosigner.decided_height())
    };
    assert_eq!((heard(&[truth.head(4)]), heard(&[])), ((false, 0), (true, 1)));
    // Nor is a head co-signed that was decided here before the pinned one was entered.
    let mut disk = host.disk.clone();
    let last = disk.log.pop().unwrap();
    assert!(last.starts_with(b"{\"final\""));
    let mut speaks = |pins: &[String]| {
        disk.pins = pins.to_vec();
        let mut cosigner = open(&truth, &disk).unwrap();
        cosigner.start(host.now_ms, false, Hash([2; 32]));
        spoke(&cosigner.step(host.now_ms, Event::Timer(Timer::Heads), &mut ChaCha20Rng::seed_from_u64(1)))
    };
    assert_eq!((speaks(&[truth.head(4)]), speaks(&[])), (false, true));
    // Started again it knows as much.
    let mut again = open(&truth, &host.disk).unwrap();
    assert!(!spoke(&again.start(host.now_ms, false, Hash([2; 32]))) && !again.has_passed_pins());
    assert!(refusal(&host.take(&forged.piece(4, 5))).is_some());
    let effects = host.take(&truth.piece(4, 4));
    assert_eq!((host.height(), host.cosigner.has_passed_pins(), spoke(&effects)), (4, true, true));
    // Others are asked for its own last votes first, as on a disk that was lost (P12).
    let writes = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("{\"restored\":true}");
    let restored = |e: &Effect| matches!(e, Effect::Append(File::Agreement, bytes) if writes(bytes));
    assert!(effects.iter().any(restored) && !host.cosigner.may_release());
    // What was passed holds no more: the log goes on.
    host.take(&truth.piece(5, 5));
    assert_eq!(host.height(), 5);
}

#[test]
fn pinned_heads_are_final_and_each_is_later_than_the_one_before() {
    let (truth, forged, _) = histories();
    let start = |pins: &[String]| {
        open(&truth, &Disk { pins: pins.to_vec(), ..Disk::default() }).map(drop).map_err(|e| e.to_string())
    };
    let quorum = truth.note(3);
    assert_eq!(start(&[truth.head(3), truth.head(4), quorum.clone()]), Ok(()));
    for (pins, why) in [
        (vec![truth.note(2)], "not final"),
        (vec![format!("x{quorum}")], "another log"),
        (vec!["keyward".to_owned()], "malformed"),
        (vec![truth.head(4), truth.head(3)], "not later"),
        (vec![truth.head(4), forged.head(4)], "not later"),
    ] {
        let said = start(&pins).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    // A second one is checked on the way to the first as well.
    let mut host = Host::new(&truth, &[forged.head(4), truth.head(5)]);
    assert!(refusal(&host.take(&truth.piece(1, 5))).is_some());
}

/// An empty disk under the relay: with the pinned head it catches up, takes the others' word on its own votes,
/// and is needed for the next quorum.
#[test]
fn a_new_host_catches_up_and_takes_part() {
    let freeze = Body::Freeze(Freeze { scope: Scope::Everything });
    let mut cluster = Cluster::new(30, Deployment::default(), false);
    let mut wanted = 0;
    let mut say = |cluster: &mut Cluster, who: &str, places: &[usize]| {
        let now = cluster.now_s();
        let envelope = cluster.deployment.sign(who, now, freeze.clone());
        cluster.submit(envelope);
        wanted += 1;
        let has =
            |c: &Cluster, p: usize| c.cosigner(p).is_some_and(|c| c.final_state().freezes().len() >= wanted);
        assert!(cluster.run(30_000, |c| places.iter().all(|p| has(c, *p))), "freeze {wanted} of {who}");
    };
    for who in ["alice", "bob", "carol"] {
        say(&mut cluster, who, &[0, 1, 2, 3]);
    }
    let (height, note) = cluster.cosigner(0).unwrap().final_head();
    let (height, note) = (height, note.to_owned());
    cluster.restore(3, Disk { pins: vec![note], ..Disk::default() }, false);
    let back = |c: &Cluster| c.cosigner(3).is_some_and(|c| c.final_head().0 >= height && c.has_passed_pins());
    assert!(cluster.run(10_000, back));
    // Two heights of the others later it votes again (P12).
    for who in ["dave", "alice", "bob"] {
        say(&mut cluster, who, &[0, 1, 2]);
    }
    assert!(cluster.run(30_000, |c| c.cosigner(3).is_some_and(Cosigner::may_release)));
    cluster.kill(0, 1_000_000_000);
    say(&mut cluster, "carol", &[1, 2, 3]);
}
