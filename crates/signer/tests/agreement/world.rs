//! Four co-signers of production code in one process, and the hostile world around them: the relay, the
//! disks, the clock, and one member that lies. Everything follows from the seed.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use custody::{Blob, Hash};
use ed25519_dalek::{Signer as _, SigningKey};

use super::signer::agreement::{
    Agreement, Answer, App, Committee, Decision, Input, Message, Output, Probe, Proposal, Seat, TimerId,
    Vote, value_hash,
};
use super::signer::tendermint::{Judgement, Kind};

pub(crate) const MEMBERS: usize = 4;
pub(crate) const QUORUM: usize = 3;
/// The hostile time ends at the latest after this long, or at this height.
const HOSTILE_MS: u64 = 40_000;
const HOSTILE_HEIGHTS: u64 = 10;
/// With an honest relay this many more heights must be decided by all in this time.
const CALM_MS: u64 = 60_000;
const CALM_HEIGHTS: u64 = 2;
const TICK_MS: u64 = 200;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.below(from.len().max(1) as u64) as usize;
        from.get(index)
    }
}

/// An honest application: a value is right if it begins with a 1 and the height.
#[derive(Clone, Debug)]
pub(crate) struct Honest {
    rng: Rng,
    pub(crate) pending: bool,
    pub(crate) final_height: u64,
    /// Values of heights 1, 2, …; they survive a kill.
    pub(crate) applied: Vec<Vec<u8>>,
    pub(crate) untimely: u64,
    value_bytes: usize,
}

pub(crate) fn random_value(rng: &mut Rng, right: bool, height: u64) -> Vec<u8> {
    let mut value = vec![u8::from(right)];
    value.extend(height.to_be_bytes());
    value.extend(rng.next().to_be_bytes());
    value
}

fn is_right(value: &[u8], height: u64) -> bool {
    value.first() == Some(&1) && value.get(1..9) == Some(&height.to_be_bytes()[..])
}

impl App for Honest {
    fn propose(&mut self, height: u64, _now_ms: u64) -> Option<Vec<u8>> {
        assert_eq!(height, self.applied.len() as u64 + 1, "asked to propose on another state");
        let mut value = random_value(&mut self.rng, true, height);
        value.resize(value.len().max(self.value_bytes), 0);
        (!self.rng.percent(self.untimely)).then_some(value)
    }

    fn judge(&mut self, height: u64, value: &[u8], first_time: bool, _now_ms: u64) -> Judgement {
        assert_eq!(height, self.applied.len() as u64 + 1, "asked to judge on another state");
        if !is_right(value, height) {
            Judgement::Invalid
        } else if first_time && self.rng.percent(self.untimely) {
            Judgement::Untimely
        } else {
            Judgement::Valid
        }
    }

    fn final_height(&self) -> u64 {
        self.final_height
    }

    fn has_pending(&self) -> bool {
        self.pending
    }
}

/// A member of production code with its disk.
pub(crate) struct Node {
    pub(crate) agreement: Option<Agreement>,
    pub(crate) disk: Vec<Vec<u8>>,
    pub(crate) app: Honest,
    pub(crate) restored: bool,
    /// Timers of an earlier life do not ring.
    life: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Deliver { to: usize, bytes: Vec<u8> },
    Timer { node: usize, life: u64, id: TimerId },
    Start { node: usize },
    Tick { node: usize },
    Weather,
}

/// What a run may break on purpose, for the tests that show what each rule is for.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) committee: fn(Vec<Seat>, usize) -> Committee,
    pub(crate) liar: bool,
    pub(crate) hostile_relay: bool,
    /// Records of this kind are not there after a restart, and answers to probes show no votes.
    pub(crate) forget: Option<&'static str>,
    /// The relay lets each member send its own votes only.
    pub(crate) no_certificates: bool,
    /// Chance in percent that a value comes at the wrong time.
    pub(crate) untimely: u64,
    /// Least bytes of a value.
    pub(crate) value_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            committee: |seats, me| Committee::new(seats, me).expect("committee"),
            liar: true,
            hostile_relay: true,
            forget: None,
            no_certificates: false,
            untimely: 10,
            value_bytes: 0,
        }
    }
}

/// Member, height, round, and the kind of vote or none for a proposal.
type Place = (usize, u64, u32, Option<Kind>);

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now_ms: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) options: Options,
    pub(crate) keys: Vec<SigningKey>,
    pub(crate) genesis: Hash,
    pub(crate) liar: Option<usize>,
    hostile: bool,
    /// Nobody has anything to say.
    pub(crate) idle: bool,
    loss: u64,
    delay_ms: u64,
    kill_per_mille: u64,
    /// Members in different halves do not hear each other.
    pub(crate) half: [bool; MEMBERS],
    queue: BinaryHeap<std::cmp::Reverse<(u64, u64, Event)>>,
    sequence: u64,
    old: Vec<Vec<u8>>,
    pub(crate) truncated: u64,
    /// What honest members said, to catch them contradicting themselves.
    said: BTreeMap<Place, (Option<Hash>, Option<u32>)>,
    pub(crate) decided: BTreeMap<u64, Vec<u8>>,
    values: BTreeMap<u64, BTreeSet<Vec<u8>>>,
    pub(crate) broken: Option<String>,
    pub(crate) sent: u64,
    pub(crate) kills: u64,
}

impl World {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng(seed ^ 0x006b_6579_7761_7264);
        let keys: Vec<_> = (1..=MEMBERS as u8).map(|member| SigningKey::from_bytes(&[member; 32])).collect();
        let liar = options.liar.then(|| rng.below(MEMBERS as u64) as usize);
        let nodes = (0..MEMBERS)
            .map(|_| Node {
                agreement: None,
                disk: Vec::new(),
                app: Honest {
                    rng: Rng(rng.next()),
                    pending: false,
                    final_height: 0,
                    applied: Vec::new(),
                    untimely: options.untimely,
                    value_bytes: options.value_bytes,
                },
                restored: false,
                life: 0,
            })
            .collect();
        let mut world = Self {
            now_ms: 0,
            nodes,
            keys,
            genesis: Hash::sha256(b"genesis"),
            liar,
            hostile: options.hostile_relay,
            idle: false,
            loss: 0,
            delay_ms: 5,
            kill_per_mille: 0,
            half: [false; MEMBERS],
            queue: BinaryHeap::new(),
            sequence: 0,
            old: Vec::new(),
            truncated: 0,
            said: BTreeMap::new(),
            decided: BTreeMap::new(),
            values: BTreeMap::new(),
            broken: None,
            sent: 0,
            kills: 0,
            rng,
            options,
        };
        for node in 0..MEMBERS {
            let at = world.rng.below(50);
            world.at(at, Event::Start { node });
            world.at(at + TICK_MS, Event::Tick { node });
        }
        world.at(0, Event::Weather);
        world
    }

    pub(crate) fn honest(&self) -> impl Iterator<Item = usize> + use<> {
        let liar = self.liar;
        (0..MEMBERS).filter(move |node| Some(*node) != liar)
    }

    fn at(&mut self, after_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(std::cmp::Reverse((self.now_ms + after_ms, self.sequence, event)));
    }

    pub(crate) fn fresh(&self, node: usize) -> Agreement {
        let seats = self
            .keys
            .iter()
            .enumerate()
            .map(|(member, key)| Seat { name: format!("signer-{member}"), vote: key.verifying_key() });
        let committee = (self.options.committee)(seats.collect(), node);
        Agreement::new(committee, self.keys[node].clone(), self.genesis, 1).expect("own key")
    }

    /// Hostile time, then calm: `Err` says what went wrong.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while self.now_ms < HOSTILE_MS && self.lowest_final() < HOSTILE_HEIGHTS {
            self.one_event()?;
        }
        let goal = self.highest() + CALM_HEIGHTS;
        self.calm();
        let end = self.now_ms + CALM_MS;
        while self.lowest() < goal {
            if self.now_ms > end {
                return Err(format!("no progress to {goal}: {}", self.describe()));
            }
            self.one_event()?;
        }
        Ok(())
    }

    /// From now on the relay is honest and nobody is killed.
    pub(crate) fn calm(&mut self) {
        self.hostile = false;
        (self.loss, self.delay_ms, self.kill_per_mille) = (0, 10, 0);
        self.half = [false; MEMBERS];
    }

    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<(), String> {
        let end = self.now_ms + CALM_MS;
        while !done(self) {
            if self.now_ms > end {
                return Err(format!("not reached: {}", self.describe()));
            }
            self.one_event()?;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let one = |node: usize| match &self.nodes[node].agreement {
            None => format!("{node} down"),
            Some(it) => format!(
                "{node} at {}/{} runs {} trusts {} final {}",
                it.height(),
                it.round(),
                it.is_running(),
                it.may_release(),
                self.nodes[node].app.final_height
            ),
        };
        self.honest().map(one).collect::<Vec<_>>().join(", ")
    }

    fn heights(&self) -> Vec<(usize, u64)> {
        let at = |node: usize| (node, self.nodes[node].app.applied.len() as u64);
        self.honest().map(at).collect()
    }

    pub(crate) fn highest(&self) -> u64 {
        self.heights().into_iter().map(|(_, height)| height).max().unwrap_or_default()
    }

    pub(crate) fn lowest(&self) -> u64 {
        self.heights().into_iter().map(|(_, height)| height).min().unwrap_or_default()
    }

    /// A liar need not co-sign heads: then a head is final once every honest member has it.
    pub(crate) fn lowest_final(&self) -> u64 {
        let mut heights: Vec<u64> = self.heights().into_iter().map(|(_, height)| height).collect();
        heights.sort_unstable_by(|a, b| b.cmp(a));
        heights[QUORUM - 1]
    }

    pub(crate) fn one_event(&mut self) -> Result<(), String> {
        let Some(std::cmp::Reverse((at, _, event))) = self.queue.pop() else {
            return Err("the world stands still".into());
        };
        self.now_ms = at;
        match event {
            Event::Deliver { to, bytes } => {
                if Some(to) == self.liar {
                    self.lie(&bytes);
                } else {
                    self.input(to, Input::Message(bytes));
                }
            }
            Event::Timer { node, life, id } => {
                if self.nodes[node].life == life {
                    self.input(node, Input::Timer(id));
                }
            }
            Event::Start { node } => self.start(node),
            Event::Tick { node } => self.tick(node),
            Event::Weather => self.weather(),
        }
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// The relay changes its mind about whom it hinders.
    fn weather(&mut self) {
        if !self.hostile {
            return;
        }
        self.loss = *self.rng.pick(&[0, 0, 5, 20, 40]).expect("some");
        self.delay_ms = *self.rng.pick(&[10, 50, 200, 600]).expect("some");
        self.kill_per_mille = *self.rng.pick(&[0, 5, 20, 50]).expect("some");
        let split = self.rng.percent(50);
        for node in 0..MEMBERS {
            self.half[node] = split && self.rng.percent(50);
        }
        let longest = *self.rng.pick(&[1000, 3000, 9000]).expect("some");
        let next = 200 + self.rng.below(longest);
        self.at(next, Event::Weather);
    }

    fn tick(&mut self, node: usize) {
        self.at(TICK_MS, Event::Tick { node });
        if Some(node) == self.liar || self.nodes[node].agreement.is_none() {
            return;
        }
        let heads = self.lowest_final();
        let pending = !self.idle && (!self.hostile || self.rng.percent(40));
        let app = &mut self.nodes[node].app;
        app.pending = pending;
        app.final_height = app.final_height.max(heads);
        let behind = (app.applied.len() as u64) < heads;
        if behind && self.rng.percent(20) {
            self.catch_up(node, heads);
        }
        self.input(node, Input::Wake);
    }

    /// By co-signed heads and the log of the server.
    fn catch_up(&mut self, node: usize, heads: u64) {
        for height in self.nodes[node].app.applied.len() as u64 + 1..=heads {
            let value = self.decided[&height].clone();
            self.nodes[node].app.applied.push(value);
        }
        self.input(node, Input::Advance(heads + 1));
    }

    fn start(&mut self, node: usize) {
        if Some(node) == self.liar {
            return;
        }
        let mut agreement = self.fresh(node);
        let disk: Vec<Vec<u8>> = self.nodes[node].disk.iter().map(|w| self.recall(w)).collect();
        agreement.replay(disk.iter().map(Vec::as_slice)).expect("own log");
        let nonce = Hash::sha256(&self.rng.next().to_be_bytes());
        self.nodes[node].life += 1;
        let now_ms = self.now_ms;
        let it = &mut self.nodes[node];
        let next = it.app.applied.len() as u64 + 1;
        let mut outputs = agreement.step(&mut it.app, now_ms, Input::Advance(next));
        outputs.extend(agreement.start_guarded(&mut it.app, now_ms, it.restored, nonce));
        it.agreement = Some(agreement);
        self.execute(node, outputs);
    }

    /// What a restart finds on disk: all of it, unless the run is to show why it must.
    fn recall(&self, write: &[u8]) -> Vec<u8> {
        let Some(kind) = self.options.forget else {
            return write.to_vec();
        };
        let mut records: Vec<serde_json::Value> = serde_json::from_slice(write).expect("JSON");
        let structure = |r: &serde_json::Value| r.get("height").is_some() || r.get("decided").is_some();
        records.retain(|r| if kind == "everything" { structure(r) } else { r.get(kind).is_none() });
        serde_json::to_vec(&records).expect("JSON")
    }

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        let now_ms = self.now_ms;
        let it = &mut self.nodes[node];
        if let Some(agreement) = &mut it.agreement {
            let outputs = agreement.step(&mut it.app, now_ms, input);
            self.execute(node, outputs);
        }
    }

    /// Whether the member has sent a vote of this height.
    pub(crate) fn has_voted(&self, node: usize, height: u64) -> bool {
        let said = |(by, at, _, kind): &Place| *by == node && *at == height && kind.is_some();
        self.said.keys().any(said)
    }

    /// Whether any timer of a living member is set.
    pub(crate) fn has_timers(&self) -> bool {
        self.queue.iter().any(|entry| match &entry.0.2 {
            Event::Timer { node, life, .. } => self.nodes[*node].life == *life,
            Event::Deliver { .. } | Event::Start { .. } | Event::Tick { .. } | Event::Weather => false,
        })
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.kills += 1;
        self.nodes[node].agreement = None;
        self.nodes[node].life += 1;
    }

    pub(crate) fn start_later(&mut self, node: usize, after_ms: u64) {
        self.at(after_ms, Event::Start { node });
    }

    /// The shell: outputs strictly in order, and a kill between any two of them.
    fn execute(&mut self, node: usize, outputs: Vec<Output>) {
        let mut next = None;
        for output in outputs {
            if self.rng.below(1000) < self.kill_per_mille {
                self.kill(node);
                let after_ms = 20 + self.rng.below(3000);
                return self.start_later(node, after_ms);
            }
            let life = self.nodes[node].life;
            match output {
                Output::Write(bytes) => self.nodes[node].disk.push(bytes),
                Output::Truncate(bytes) => {
                    self.nodes[node].disk = vec![bytes];
                    self.truncated += 1;
                }
                Output::Send { to, bytes } => self.send(node, to, bytes),
                Output::SetTimer { id, after_ms } => {
                    self.at(after_ms, Event::Timer { node, life, id });
                }
                Output::Decide(decision) => next = self.decide(node, decision).or(next),
                Output::Behind(_) => {}
            }
        }
        if let Some(height) = next {
            self.input(node, Input::Advance(height));
        }
    }

    fn decide(&mut self, node: usize, decision: Decision) -> Option<u64> {
        let height = decision.certificate.height;
        let value = decision.value.0.clone();
        let committee = self.nodes[node].agreement.as_ref()?.committee().clone();
        if !decision.verify(&committee, &self.genesis) {
            self.fail(format!("decision of {height} without proof"));
        }
        if !is_right(&value, height) {
            self.fail(format!("decided a wrong value at {height}"));
        }
        if *self.decided.entry(height).or_insert_with(|| value.clone()) != value {
            self.fail(format!("fork: two decisions at {height}"));
        }
        let applied = &mut self.nodes[node].app.applied;
        if applied.len() as u64 + 1 == height {
            applied.push(value);
        }
        Some(height + 1)
    }

    fn fail(&mut self, what: String) {
        self.broken.get_or_insert(format!("at {} ms: {what}", self.now_ms));
    }

    // ---- The relay

    fn send(&mut self, from: usize, to: Option<usize>, bytes: Vec<u8>) {
        self.sent += 1;
        self.listen(from, &bytes);
        let bytes = self.censor(from, bytes);
        if self.hostile && self.old.len() < 2000 {
            self.old.push(bytes.clone());
        }
        for other in (0..MEMBERS).filter(|other| *other != from) {
            if to.is_none_or(|to| to == other) {
                self.carry(from, other, &bytes);
            }
        }
    }

    fn carry(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if self.half[from] != self.half[to] || self.rng.percent(self.loss) {
            return;
        }
        let copies = if self.hostile && self.rng.percent(10) { 2 } else { 1 };
        for _ in 0..copies {
            let after_ms = 1 + self.rng.below(self.delay_ms);
            self.at(after_ms, Event::Deliver { to, bytes: bytes.to_vec() });
        }
        if self.hostile && self.rng.percent(5) {
            let bytes = self.rng.pick(&self.old).cloned().unwrap_or_default();
            self.at(1, Event::Deliver { to, bytes });
        }
    }

    fn censor(&mut self, from: usize, bytes: Vec<u8>) -> Vec<u8> {
        let Some(mut message) = Message::decode(&bytes) else {
            return bytes;
        };
        match &mut message {
            Message::Votes(votes) if self.options.no_certificates => {
                votes.retain(|vote| vote.by == from);
            }
            Message::Proposal { polka, .. } if self.options.no_certificates => polka.clear(),
            Message::Answer(answer) if self.options.forget.is_some() => {
                *answer = self.answer(from, answer.to, answer.nonce, answer.decided);
            }
            _ => return bytes,
        }
        message.encode().unwrap_or_default()
    }

    /// An honest member says one thing per height, round and kind, whatever happened to it.
    fn listen(&mut self, from: usize, bytes: &[u8]) {
        let message = Message::decode(bytes).expect("own message decodes");
        let mut words = Vec::new();
        match message {
            Message::Votes(votes) => {
                for v in votes.into_iter().filter(|vote| vote.by == from) {
                    words.push(((from, v.height, v.round, Some(v.kind)), (v.value, None)));
                }
            }
            Message::Proposal { proposal: p, value, .. } => {
                self.values.entry(p.height).or_default().insert(value.0);
                let proposer = (p.height as usize + p.round as usize) % MEMBERS;
                if proposer == from {
                    words.push(((from, p.height, p.round, None), (Some(p.value), p.pol_round)));
                }
            }
            Message::Decision(_) | Message::Probe(_) | Message::Answer(_) => {}
        }
        for (key, word) in words {
            if *self.said.entry(key).or_insert(word) != word {
                self.fail(format!("member {from} contradicted itself: {key:?}"));
            }
        }
    }

    // ---- The liar, who signs by the written specification

    pub(crate) fn sign(&self, by: usize, domain: &str, fields: &[&[u8]]) -> Blob {
        let head = [domain.as_bytes(), &[0], &self.genesis.0].concat();
        let bytes = [head, fields.concat()].concat();
        Blob(self.keys[by].sign(&bytes).to_bytes().to_vec())
    }

    pub(crate) fn vote(&self, by: usize, height: u64, round: u32, kind: Kind, value: Option<Hash>) -> Vote {
        let kind_byte = [if kind == Kind::Prevote { 1 } else { 2 }];
        let value_bytes = value.map_or(vec![0], |hash| [&[1][..], &hash.0].concat());
        let fields: [&[u8]; 4] = [&height.to_be_bytes(), &round.to_be_bytes(), &kind_byte, &value_bytes];
        let signature = self.sign(by, "keyward/vote/v1", &fields);
        Vote { by, height, round, kind, value, signature }
    }

    pub(crate) fn proposal(&self, height: u64, round: u32, pol: Option<u32>, value: &[u8]) -> Message {
        let by = ((height % 4 + u64::from(round) % 4) % 4) as usize;
        let hash = value_hash(value);
        let pol_bytes = pol.map_or(vec![0], |pol| [&[1][..], &pol.to_be_bytes()].concat());
        let fields: [&[u8]; 4] = [&height.to_be_bytes(), &round.to_be_bytes(), &pol_bytes, &hash.0];
        let signature = self.sign(by, "keyward/proposal/v1", &fields);
        let proposal = Proposal { height, round, pol_round: pol, value: hash, signature };
        Message::Proposal { proposal, value: Blob(value.to_vec()), polka: Vec::new() }
    }

    pub(crate) fn probe(&self, by: usize, height: u64, nonce: Hash, awaits: Option<u64>) -> Probe {
        let awaits_bytes = awaits.map_or(vec![0], |height| [&[1][..], &height.to_be_bytes()].concat());
        let fields: [&[u8]; 4] = [&(by as u32).to_be_bytes(), &height.to_be_bytes(), &nonce.0, &awaits_bytes];
        let signature = self.sign(by, "keyward/probe/v1", &fields);
        Probe { by, height, nonce, awaits, signature }
    }

    pub(crate) fn answer(&self, by: usize, to: usize, nonce: Hash, decided: u64) -> Answer {
        let fields: [&[u8]; 5] = [
            &(by as u32).to_be_bytes(),
            &(to as u32).to_be_bytes(),
            &nonce.0,
            &decided.to_be_bytes(),
            &0_u32.to_be_bytes(),
        ];
        let signature = self.sign(by, "keyward/answer/v1", &fields);
        Answer { by, to, nonce, decided, votes: Vec::new(), signature }
    }

    /// Whatever it hears, it answers each member with something else.
    fn lie(&mut self, heard: &[u8]) {
        let Some(me) = self.liar else { return };
        let (height, round) = match Message::decode(heard) {
            Some(Message::Votes(votes)) => match votes.first() {
                Some(vote) if self.rng.percent(50) => {
                    // It agrees with whoever speaks, whatever it told the others.
                    let Vote { by, height, round, kind, value, .. } = *vote;
                    let same = self.vote(me, height, round, kind, value);
                    return self.whisper(me, by, Message::Votes(vec![same]));
                }
                Some(vote) => (vote.height, vote.round),
                None => return,
            },
            Some(Message::Proposal { proposal, .. }) => (proposal.height, proposal.round),
            Some(Message::Probe(probe)) => {
                let decided = if self.rng.percent(50) { 0 } else { self.rng.next() };
                let answer = self.answer(me, probe.by, probe.nonce, decided);
                return self.whisper(me, probe.by, Message::Answer(answer));
            }
            Some(Message::Decision(_) | Message::Answer(_)) | None => return,
        };
        if !self.rng.percent(50) {
            return;
        }
        for _ in 0..2 {
            let right = self.rng.percent(70);
            let value = random_value(&mut self.rng, right, height);
            let known = self.values.entry(height).or_default();
            if known.len() < 3 {
                known.insert(value);
            }
        }
        let values: Vec<Vec<u8>> = self.values[&height].iter().cloned().collect();
        for other in self.honest() {
            let at = round + u32::from(self.rng.percent(10)) * self.rng.below(9) as u32;
            let value = self.rng.pick(&values).cloned().unwrap_or_default();
            let hash = (!self.rng.percent(20)).then(|| value_hash(&value));
            let kind = if self.rng.percent(50) { Kind::Prevote } else { Kind::Precommit };
            let message = match self.rng.below(10) {
                0 => {
                    let garbage = (0..self.rng.below(64)).map(|_| self.rng.next() as u8).collect();
                    self.carry(me, other, &Vec::<u8>::clone(&garbage));
                    continue;
                }
                1..=6 => Message::Votes(vec![self.vote(me, height, at, kind, hash)]),
                _ => {
                    // Its own next turn, if it is near.
                    let turn =
                        (round..round + 2).find(|round| (height as usize + *round as usize) % MEMBERS == me);
                    let Some(turn) = turn else { continue };
                    let pol = match self.rng.below(4) {
                        0 => Some(turn),
                        1 => turn.checked_sub(1),
                        _ => None,
                    };
                    self.proposal(height, turn, pol, &value)
                }
            };
            self.whisper(me, other, message);
        }
    }

    fn whisper(&mut self, from: usize, to: usize, message: Message) {
        if let Some(bytes) = message.encode() {
            self.carry(from, to, &bytes);
        }
    }
}
