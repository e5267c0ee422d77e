//! Co-signers in one process under a hostile relay, driven by one seed.
//!
//! The co-signers run their production code. The relay stands for the server: it delays, loses,
//! repeats and reorders messages and cuts the network in two. Processes are killed between any two
//! effects and started again from what was on disk by then. One co-signer may lie: it runs as two
//! processes with the same keys, each of which sees only a part of the others. A process may find an older
//! copy of its disk.

mod record;
mod town;
mod weather;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use custody::statement::Envelope;
use custody::{Blob, Hash};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use signer::cosigner::{Asker, Cosigner, Disk, Effect, Event, File, Timer};
use wire::message::{FromCosigner, ReceiptState, ToCosigner};

use crate::deployment::{BEGIN_S, COSIGNERS, Deployment, name, secrets, vault};
pub use record::{Record, Release, Released};
pub use town::{ALL, PAIRS, Town};
pub use weather::Weather;

/// One running or stopped process of a co-signer.
#[derive(Debug)]
struct Place {
    who: &'static str,
    cosigner: Option<Cosigner>,
    disk: Disk,
    timers: BTreeMap<Timer, u64>,
    starts_at: u64,
    restored: bool,
    /// How far its clock is ahead, milliseconds.
    ahead_ms: i64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Delivery {
    at: u64,
    number: u64,
    place: usize,
    from: Option<usize>,
    message: Vec<u8>,
}

/// The co-signers and the relay between them.
#[derive(Debug)]
pub struct Cluster {
    /// Whose co-signers they are.
    pub deployment: Deployment,
    /// The seeded generator: everything that happens comes from it.
    pub rng: ChaCha20Rng,
    /// How hostile the relay is now.
    pub weather: Weather,
    /// Simulated time, milliseconds since 1970.
    pub now_ms: u64,
    /// How many more frames between signers the relay lets through; the rest it keeps. Nothing: all.
    pub frames: Option<usize>,
    /// How often a process was killed between two effects.
    pub kills: u64,
    /// Every message that a co-signer gave to the server, other than those to its peers.
    pub said: Vec<(usize, FromCosigner)>,
    /// Every message that a co-signer gave to the server for its peers, once a test asks for them.
    pub peers: Option<Vec<(usize, Vec<u8>)>>,
    /// What left the co-signers.
    pub record: Record,
    kept: Vec<(usize, FromCosigner)>,
    places: Vec<Place>,
    queue: BinaryHeap<Reverse<Delivery>>,
    number: u64,
    side: Vec<bool>,
    submitted: Vec<Envelope>,
}

impl Cluster {
    /// Four co-signers, started. With `twins` the last signer lies: it runs twice.
    pub fn new(seed: u64, deployment: Deployment, twins: bool) -> Self {
        let liars: &[usize] = if twins { &[2] } else { &[] };
        Self::on_disks(
            seed,
            deployment,
            liars,
            (BEGIN_S + 10) * 1000,
            &vec![Disk::default(); COSIGNERS.len()],
        )
    }

    /// Four co-signers, started at a time from these disks. Each of the liars runs twice.
    pub fn on_disks(seed: u64, deployment: Deployment, liars: &[usize], now_ms: u64, disks: &[Disk]) -> Self {
        let place = |who: usize| Place {
            who: COSIGNERS[who],
            cosigner: None,
            disk: disks[who].clone(),
            timers: BTreeMap::new(),
            starts_at: now_ms,
            restored: false,
            ahead_ms: 0,
        };
        let places: Vec<Place> = (0..COSIGNERS.len()).chain(liars.iter().copied()).map(place).collect();
        // Twins never share a side: each of them talks to another part of the others.
        let mut record = Record::default();
        for (place, at) in places.iter().enumerate() {
            record.restored(place, &at.disk);
        }
        let side = (0..places.len()).map(|p| !liars.is_empty() && (p == 1 || p >= COSIGNERS.len()));
        Self {
            deployment,
            rng: ChaCha20Rng::seed_from_u64(seed),
            weather: Weather::CALM,
            now_ms,
            frames: None,
            kept: Vec::new(),
            kills: 0,
            said: Vec::new(),
            peers: None,
            record,
            side: side.collect(),
            places,
            queue: BinaryHeap::new(),
            number: 0,
            submitted: Vec::new(),
        }
    }

    /// Starts a co-signer that genesis does not know on an empty disk, from heads that people entered there (P30).
    /// Returns its place.
    pub fn join(&mut self, who: &'static str, pins: &[String]) -> usize {
        let disk = Disk { pins: pins.to_vec(), ..Disk::default() };
        self.record.restored(self.places.len(), &disk);
        self.places.push(Place {
            who,
            cosigner: None,
            disk,
            timers: BTreeMap::new(),
            starts_at: self.now_ms,
            restored: false,
            ahead_ms: 0,
        });
        self.side.push(false);
        self.places.len() - 1
    }

    /// People say at each start of a process whether it is its first (P12).
    pub fn says_first_start(&mut self, place: usize, first_start: bool) {
        self.places[place].disk.first_start = first_start;
    }

    /// Puts a process on the side of the cut where the first one is, or on the other one.
    pub fn seat_on_side(&mut self, place: usize, other: bool) {
        self.side[place] = other;
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n.max(1)
    }

    fn chance(&mut self, per: u64, n: u32) -> bool {
        self.below(per) < u64::from(n)
    }

    /// Simulated time in seconds.
    pub fn now_s(&self) -> u64 {
        self.now_ms / 1000
    }

    /// A statement for all co-signers, repeated by the relay until it is in the log.
    pub fn submit(&mut self, envelope: Envelope) {
        self.submitted.push(envelope.clone());
        for place in 0..self.places.len() {
            self.send(place, None, &ToCosigner::Submit { envelope: Blob(envelope.bytes()) });
        }
    }

    /// Delivers the frames that were kept back, and all from here on.
    pub fn let_frames_go(&mut self) {
        self.frames = None;
        for (place, message) in std::mem::take(&mut self.kept) {
            self.say(place, message);
        }
    }

    /// Says something to one process.
    pub fn tell(&mut self, place: usize, message: &ToCosigner) {
        self.send(place, None, message);
    }

    /// Sends something of the server to every process of a co-signer.
    pub fn order(&mut self, who: &str, message: &ToCosigner) {
        for place in 0..self.places.len() {
            if self.places[place].who == who {
                self.send(place, None, message);
            }
        }
    }

    fn send(&mut self, place: usize, from: Option<usize>, message: &ToCosigner) {
        let cut = self.weather.cut && from.is_some_and(|f| self.side[f] != self.side[place]);
        if cut || self.chance(1000, self.weather.loss) {
            return;
        }
        let copies = if self.chance(1000, self.weather.repeat) { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.now_ms + 1 + self.below(self.weather.delay_ms);
            self.number += 1;
            let message = wire::encode(message).expect("a message");
            self.queue.push(Reverse(Delivery { at, number: self.number, place, from, message }));
        }
    }

    /// Kills a process between two effects.
    pub fn kill(&mut self, place: usize, down_ms: u64) {
        self.places[place].cosigner = None;
        self.places[place].timers.clear();
        self.places[place].starts_at = self.now_ms + down_ms;
    }

    /// The disk of a process as it is now.
    pub fn disk(&self, place: usize) -> Disk {
        self.places[place].disk.clone()
    }

    /// Puts an older copy of its disk under a process. With `told` it is started with `--restored`.
    pub fn restore(&mut self, place: usize, older: Disk, told: bool) {
        self.kill(place, 10);
        self.record.restored(place, &older);
        self.places[place].disk = older;
        self.places[place].restored = told;
    }

    /// The co-signer in a place, if it runs.
    pub fn cosigner(&self, place: usize) -> Option<&Cosigner> {
        self.places[place].cosigner.as_ref()
    }

    /// How many processes there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Runs until `until` says so; false when the time is over first.
    pub fn run(&mut self, for_ms: u64, mut until: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now_ms + for_ms;
        loop {
            if until(self) {
                return true;
            }
            let Some(at) = self.next_at().filter(|at| *at <= end) else {
                self.now_ms = end;
                return until(self);
            };
            self.now_ms = self.now_ms.max(at);
            self.turn();
        }
    }

    fn next_at(&self) -> Option<u64> {
        let delivery = self.queue.peek().map(|Reverse(d)| d.at);
        let timers = self.places.iter().flat_map(|p| p.timers.values().copied());
        let starts = self.places.iter().filter(|p| p.cosigner.is_none()).map(|p| p.starts_at);
        delivery.into_iter().chain(timers).chain(starts).min()
    }

    fn turn(&mut self) {
        let now = self.now_ms;
        if let Some(place) =
            (0..self.len()).find(|p| self.places[*p].cosigner.is_none() && self.places[*p].starts_at <= now)
        {
            self.start(place);
            return;
        }
        for place in 0..self.len() {
            let due = self.places[place].timers.iter().find(|(_, at)| **at <= now).map(|(t, _)| *t);
            if let Some(timer) = due {
                self.places[place].timers.remove(&timer);
                self.step(place, Event::Timer(timer));
                return;
            }
        }
        if let Some(Reverse(delivery)) = self.queue.pop() {
            let message = wire::decode(&delivery.message).expect("what was encoded");
            self.step(delivery.place, Event::Message { from: Asker::Server, message });
        }
    }

    fn start(&mut self, place: usize) {
        let who = self.places[place].who;
        let genesis = self.deployment.genesis.clone();
        let disk = self.places[place].disk.clone();
        let opened = Cosigner::open(genesis, name(who), secrets(who), vault(), &disk);
        let mut cosigner = opened.unwrap_or_else(|e| panic!("{who} does not start from its own disk: {e}"));
        let mut nonce = [0; 32];
        self.rng.fill_bytes(&mut nonce);
        let effects = cosigner.start(self.clock_ms(place), self.places[place].restored, Hash(nonce));
        self.places[place].cosigner = Some(cosigner);
        if self.carry_out(place, effects) {
            self.places[place].restored = false;
            self.step(place, Event::Connected);
            for envelope in self.submitted.clone() {
                self.send(place, None, &ToCosigner::Submit { envelope: Blob(envelope.bytes()) });
            }
        }
    }

    fn step(&mut self, place: usize, event: Event) {
        let now = self.clock_ms(place);
        let Some(mut cosigner) = self.places[place].cosigner.take() else { return };
        let effects = cosigner.step(now, event, &mut self.rng);
        self.places[place].cosigner = Some(cosigner);
        self.carry_out(place, effects);
    }

    /// Carries effects out in order; says false when the process was killed on the way.
    fn carry_out(&mut self, place: usize, effects: Vec<Effect>) -> bool {
        for effect in effects {
            if self.chance(10_000, self.weather.kill) {
                let down_ms = self.below(3_000);
                self.kills += 1;
                self.kill(place, down_ms);
                return false;
            }
            match effect {
                Effect::Append(file, bytes) => {
                    if file == File::Guard {
                        self.record.guarded(place, &bytes);
                    }
                    self.records(place, file).push(bytes);
                }
                Effect::Replace(file, records) => *self.records(place, file) = records,
                Effect::Keep(file, bytes) => {
                    let shares = &mut self.places[place].disk.shares;
                    shares.retain(|(name, _)| *name != file);
                    shares.push((file, bytes));
                }
                Effect::Erase(file) => self.places[place].disk.shares.retain(|(name, _)| *name != file),
                Effect::Keys(_) => panic!("keys from a name are never followed by others"),
                Effect::ToServer(message) | Effect::Reply(message) => self.say(place, message),
                Effect::SetTimer { timer, after_ms } => {
                    let at = self.now_ms + after_ms;
                    self.places[place].timers.insert(timer, at);
                }
            }
        }
        true
    }

    fn records(&mut self, place: usize, file: File) -> &mut Vec<Vec<u8>> {
        let disk = &mut self.places[place].disk;
        match file {
            File::Log => &mut disk.log,
            File::Agreement => &mut disk.agreement,
            File::Guard => &mut disk.guard,
        }
    }

    fn say(&mut self, place: usize, message: FromCosigner) {
        match message {
            FromCosigner::Peer { bytes, .. } if self.weather.withhold_heads && is_cosignature(&bytes) => {}
            FromCosigner::Peer { ref bytes, .. } if is_frame(bytes) && self.frames == Some(0) => {
                self.kept.push((place, message));
            }
            FromCosigner::Peer { to, bytes } => {
                if is_frame(&bytes) {
                    self.frames = self.frames.map(|left| left - 1);
                    if let Some(share) = self.record.framed(place, &bytes.0) {
                        self.released(place, share);
                    }
                }
                if let Some(peers) = &mut self.peers {
                    peers.push((place, bytes.0.clone()));
                }
                let from = name(self.places[place].who);
                for other in 0..self.len() {
                    let who = self.places[other].who;
                    let addressed = to.as_ref().is_none_or(|to| to.as_str() == who);
                    if addressed && who != self.places[place].who {
                        self.send(
                            other,
                            Some(place),
                            &ToCosigner::Peer { from: from.clone(), bytes: bytes.clone() },
                        );
                    }
                }
            }
            FromCosigner::Statement { envelope } => {
                self.submit(Envelope::parse(&envelope.0).expect("a co-signer's own statement"));
            }
            other => {
                match &other {
                    FromCosigner::Log(piece) => self.record.final_log(piece),
                    FromCosigner::Receipt { id, state: ReceiptState::Held } => {
                        self.record.held.entry(place).or_default().insert(*id);
                    }
                    FromCosigner::Signed { authorisation, transaction } => {
                        let what = Released::Transaction(*authorisation, transaction.clone());
                        self.released(place, what);
                    }
                    _ => {}
                }
                self.said.push((place, other));
            }
        }
    }

    fn released(&mut self, place: usize, what: Released) {
        let height = self.places[place].cosigner.as_ref().map_or(0, |c| c.final_head().0);
        let held = self.record.held.get(&place).cloned().unwrap_or_default();
        self.record.releases.push(Release { place, height, at_s: self.now_s(), held, what });
    }
}

fn is_frame(bytes: &Blob) -> bool {
    bytes.0.starts_with(b"{\"frame\"")
}

fn is_cosignature(bytes: &Blob) -> bool {
    bytes.0.starts_with(b"{\"cosignature\"") || bytes.0.starts_with(b"{\"log\"")
}
