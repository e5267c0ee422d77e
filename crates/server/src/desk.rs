//! What all threads of the server share: one lock, two bells, and a queue for each co-signer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{SystemTime, UNIX_EPOCH};

use api::Caller;
use custody::effects::OutPoint;
use custody::genesis::Genesis;
use custody::name::{Label, Name};
use custody::state::Owner;
use custody::statement::{Body, ENVELOPE_LIMIT_BYTES, Envelope, Statement};
use custody::{Blob, Hash, PublicKey};
use ledger::Reconciliation;
use serde::{Deserialize, Serialize};
use wire::message::{FromCosigner, FromServer, Log, PaymentStatus, ToCosigner};

use crate::clerk::withdrawals::CLIENTS_SINCE;
use crate::disk::{DiskError, Lines};
use crate::machine::Keys;
use crate::observer::Scanned;
use crate::office::{Alarms, Bytes, Outbox, Pending, Shares, addressees};
use crate::replica::{Adopted, Replica};
use crate::run::RunError;
use crate::watch::Place;

/// Most labels that are kept, each under a kilobyte: people, clients and destinations of a large house.
const LABELS_LIMIT: usize = 100_000;

/// Longest text of a label, in bytes.
const LABEL_LIMIT_BYTES: usize = 512;

/// A record of the file of facts: all that the server remembers beside the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Fact {
    /// A statement that waits.
    Pending(Blob),
    /// What a commitment stands for.
    Label(Label),
    /// A finished transaction.
    Signed { authorisation: Hash, transaction: Blob },
    /// A transaction in a block.
    Confirmed { authorisation: Hash, place: Place },
    /// A share that its holder took.
    Kept { ceremony: Hash, slot: u32, holder: Name },
}

/// Something for the worker.
pub(crate) enum News {
    Signed { from: Name, authorisation: Hash, transaction: Blob },
    Refused { by: Name, id: Hash, why: String, culprits: Vec<Name> },
    Bump { request: Hash, rate: u64, reply: SyncSender<FromServer> },
}

/// What the worker found out, for status.
#[derive(Default)]
pub(crate) struct Published {
    pub(crate) chain_tip: Option<u32>,
    pub(crate) payments: Vec<PaymentStatus>,
    pub(crate) balances: Vec<(Name, String)>,
    pub(crate) balances_at: Option<u32>,
    /// Why the books are behind, if they are.
    pub(crate) books_problem: Option<String>,
    /// What is overdue or failed in the register of recovery components.
    pub(crate) recovery: Vec<String>,
    /// How the clerk follows the node.
    pub(crate) followed: Option<api::ChainStatus>,
    /// What the network says that the wallets hold.
    pub(crate) scanned: Option<Arc<Scanned>>,
    /// The fee rate of the moment, in sat/vB, while the node answers.
    pub(crate) fee_rate: Option<u64>,
    /// The clerk's last comparison of books and network.
    pub(crate) compared: Compared,
}

/// Questions for a comparison of books and network, and the last answer.
#[derive(Default)]
pub(crate) struct Compared {
    /// How many were asked.
    pub(crate) asked: u64,
    /// How many of them are answered by `result`.
    pub(crate) answered: u64,
    /// For each wallet; or why it could not be done.
    pub(crate) result: Option<Result<Vec<Reconciliation>, String>>,
}

/// What is behind the lock.
pub(crate) struct Core {
    pub(crate) replica: Replica,
    pub(crate) pending: Pending,
    pub(crate) labels: BTreeMap<Hash, Label>,
    pub(crate) shares: Shares,
    /// Shared with the worker, which looks at them in every turn.
    pub(crate) kept: Arc<BTreeSet<(Hash, u32, Name)>>,
    pub(crate) signed: Arc<BTreeMap<Hash, Blob>>,
    pub(crate) connected: BTreeSet<Name>,
    /// Those of them that had nothing newer when they were asked last.
    pub(crate) level: BTreeSet<Name>,
    pub(crate) published: Published,
    pub(crate) alarms: Alarms,
    pub(crate) inbox: Vec<News>,
    /// The worker has something to do.
    pub(crate) woken: bool,
    /// So has the clerk.
    pub(crate) clerk_woken: bool,
    /// The requests that the books have reserved for; none is known where there are no books.
    pub(crate) funded: Option<Arc<BTreeSet<Hash>>>,
    /// Coins that no consolidation takes, for the books are not sure of them.
    pub(crate) spared: Arc<BTreeSet<OutPoint>>,
    /// The height that a co-signer was asked for last, when, and how often in that second, so that nobody
    /// makes us ask in a loop.
    asked: BTreeMap<Name, (u64, u64, u32)>,
    log: Lines,
    facts: Lines,
}

/// How often a co-signer is asked for one height in a second: more than once, for the batch may have become
/// final just after it answered; few, for a hostile one shows gaps without end.
const ASKS_PER_SECOND: u32 = 4;

/// A link's queue, for the thread that writes.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<(Outbox, bool)>,
    bell: Condvar,
}

impl Queue {
    /// Adds a message, if the link is up.
    fn push(&self, message: Bytes) {
        let mut state = lock(&self.state);
        if state.1 {
            state.0.push(message);
            self.bell.notify_one();
        }
    }

    /// The link is up, or down; what waited is dropped.
    pub(crate) fn set_open(&self, open: bool) {
        let mut state = lock(&self.state);
        state.0.clear();
        state.1 = open;
        self.bell.notify_all();
    }

    /// Waits for the next message; nothing when the link is down.
    pub(crate) fn next(&self) -> Option<Bytes> {
        let state = lock(&self.state);
        let waits = |state: &mut (Outbox, bool)| state.1 && state.0.is_empty();
        let mut state = self.bell.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        if state.1 { state.0.pop() } else { None }
    }
}

/// Locks what stays usable even if a thread died with it: everything here can be made anew.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The own clock, milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The own clock, seconds since 1970.
pub(crate) fn now_s() -> u64 {
    now_ms() / 1000
}

/// What all threads share.
pub(crate) struct Desk {
    core: Mutex<Core>,
    /// Rings for clients.
    pub(crate) news: Condvar,
    /// Rings for the worker.
    pub(crate) work: Condvar,
    /// Rings for the clerk.
    pub(crate) clerk: Condvar,
    queues: BTreeMap<Name, Queue>,
    names: Vec<Name>,
    pub(crate) keys: Keys,
    genesis: Hash,
}

/// What [`load_facts`] reads.
#[derive(Default)]
pub(crate) struct Remembered {
    pending: Vec<Blob>,
    labels: BTreeMap<Hash, Label>,
    signed: BTreeMap<Hash, Blob>,
    pub(crate) places: BTreeMap<Hash, Place>,
    kept: BTreeSet<(Hash, u32, Name)>,
}

fn load_facts(path: &Path) -> Result<(Lines, Remembered), DiskError> {
    let mut found = Remembered::default();
    let (lines, lost) = Lines::open(path, |fact: Fact| {
        match fact {
            Fact::Pending(envelope) => found.pending.push(envelope),
            Fact::Label(label) => drop(found.labels.insert(label.commitment(), label)),
            Fact::Signed { authorisation, transaction } => {
                found.signed.insert(authorisation, transaction);
            }
            Fact::Confirmed { authorisation, place } => drop(found.places.insert(authorisation, place)),
            Fact::Kept { ceremony, slot, holder } => drop(found.kept.insert((ceremony, slot, holder))),
        }
        true
    })?;
    if lost > 0 {
        eprintln!("{}: {lost} bytes of unreadable records cut off", path.display());
    }
    Ok((lines, found))
}

impl Desk {
    /// Who holds a TLS key, if they are clients: people and machines. Co-signers never dial out, so whoever
    /// shows such a key here stole it.
    pub(crate) fn caller(&self, key: &PublicKey) -> Option<Caller> {
        let owner = self.core().replica.state().tls_owner(key)?;
        match owner {
            Owner::Person(_) | Owner::Machine(_) => Some(Caller { owner, tls: *key }),
            Owner::Cosigner(_) => None,
        }
    }

    /// Opens a data directory: replays the log that is there, and takes up what waited.
    pub(crate) fn open(
        directory: &Path,
        genesis: Genesis,
        keys: Keys,
        names: Vec<Name>,
    ) -> Result<(Arc<Self>, BTreeMap<Hash, Place>), RunError> {
        let hash = genesis.hash();
        let mut replica = Replica::new(genesis)?;
        let (log, lost) = Lines::open(&directory.join("log.jsonl"), |piece: Log| {
            matches!(replica.adopt(&piece), Ok(Adopted::Grew { .. }))
        })?;
        if lost > 0 {
            eprintln!("log.jsonl: {lost} bytes did not replay and are fetched again");
        }
        let (mut facts, found) = load_facts(&directory.join("facts.jsonl"))?;
        let mut pending = Pending::default();
        for bytes in &found.pending {
            let parsed = Envelope::parse(&bytes.0).and_then(|e| Ok((e.unverified()?, e)));
            if let Ok((statement, envelope)) = parsed {
                // What is over the limit was refused when it came.
                let _ = pending.add(envelope, statement, now_s());
            }
        }
        pending.settle(replica.state(), now_s(), &[], |_| true);
        // The file begins anew with what still matters.
        let waiting = pending.envelopes().map(|e| Fact::Pending(Blob(e.bytes())));
        let labels = found.labels.values().cloned().map(Fact::Label);
        let signed = found.signed.iter();
        let signed = signed.map(|(id, t)| Fact::Signed { authorisation: *id, transaction: t.clone() });
        let places = found.places.iter();
        let places = places.map(|(id, place)| Fact::Confirmed { authorisation: *id, place: place.clone() });
        let kept = found.kept.iter().cloned();
        let kept = kept.map(|(ceremony, slot, holder)| Fact::Kept { ceremony, slot, holder });
        let all: Vec<Fact> = waiting.chain(labels).chain(signed).chain(places).chain(kept).collect();
        facts.rewrite(&all)?;
        let core = Core {
            replica,
            pending,
            labels: found.labels,
            shares: Shares::default(),
            kept: Arc::new(found.kept),
            signed: Arc::new(found.signed),
            connected: BTreeSet::new(),
            level: BTreeSet::new(),
            published: Published::default(),
            alarms: Alarms::default(),
            inbox: Vec::new(),
            woken: true,
            clerk_woken: true,
            funded: None,
            spared: Arc::default(),
            asked: BTreeMap::new(),
            log,
            facts,
        };
        let desk = Self {
            core: Mutex::new(core),
            news: Condvar::new(),
            work: Condvar::new(),
            clerk: Condvar::new(),
            queues: names.iter().map(|name| (name.clone(), Queue::default())).collect(),
            names,
            keys,
            genesis: hash,
        };
        Ok((Arc::new(desk), found.places))
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// The lock, if nobody has it.
    pub(crate) fn try_core(&self) -> Option<MutexGuard<'_, Core>> {
        match self.core.try_lock() {
            Ok(core) => Some(core),
            Err(TryLockError::Poisoned(core)) => Some(core.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn genesis(&self) -> Hash {
        self.genesis
    }

    pub(crate) fn names(&self) -> &[Name] {
        &self.names
    }

    pub(crate) fn queue(&self, name: &Name) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// Wakes the worker.
    pub(crate) fn wake(&self, core: &mut Core) {
        core.woken = true;
        self.work.notify_one();
    }

    /// Wakes the clerk.
    pub(crate) fn wake_clerk(&self, core: &mut Core) {
        core.clerk_woken = true;
        self.clerk.notify_one();
    }

    /// Puts a message into the queues of some co-signers.
    pub(crate) fn send<'a>(&self, to: impl IntoIterator<Item = &'a Name>, message: &ToCosigner) {
        let Ok(bytes) = wire::encode(message) else { return };
        let bytes: Bytes = bytes.into();
        for queue in to.into_iter().filter_map(|name| self.queues.get(name)) {
            queue.push(bytes.clone());
        }
    }

    fn send_statement(&self, envelope: &Envelope) {
        self.send(&self.names, &ToCosigner::Submit { envelope: Blob(envelope.bytes()) });
    }

    /// A link is up: asks for what the log has beyond the own copy, and says again what waits.
    pub(crate) fn connected(&self, name: &Name) {
        let mut core = self.core();
        core.connected.insert(name.clone());
        core.asked.remove(name);
        for envelope in core.pending.envelopes() {
            self.send([name], &ToCosigner::Submit { envelope: Blob(envelope.bytes()) });
        }
        self.send([name], &ToCosigner::Log { from: core.replica.height().saturating_add(1) });
        self.news.notify_all();
        self.wake(&mut core);
    }

    /// A link is down.
    pub(crate) fn disconnected(&self, name: &Name) {
        let mut core = self.core();
        core.connected.remove(name);
        core.level.remove(name);
        core.shares.disconnected(name);
        self.news.notify_all();
    }

    /// Takes in a statement to be put into the log, and passes it on. Says whether it is kept; one that
    /// the log has already is only passed on, for its receipts.
    pub(crate) fn submit(
        &self,
        core: &mut Core,
        envelope: &Envelope,
        statement: Statement,
    ) -> Result<(), crate::office::PendingError> {
        let known = core.replica.state().consumed(&envelope.id(), statement.not_after);
        if !known && core.pending.add(envelope.clone(), statement, now_s())? {
            core.keep(&Fact::Pending(Blob(envelope.bytes())), false);
        }
        self.send_statement(envelope);
        // Whether it gets into a batch is looked at again after a while.
        self.wake(core);
        Ok(())
    }

    /// Signs and submits a statement of the server itself.
    pub(crate) fn submit_own(&self, body: Body) -> Result<Hash, String> {
        let mut core = self.core();
        let now = now_s().max(core.replica.state().clock().time);
        let envelope = self.keys.state(self.genesis, now, body).map_err(|e| e.to_string())?;
        let length = envelope.bytes().len();
        if length > ENVELOPE_LIMIT_BYTES {
            return Err(format!(
                "the transaction with its proof takes {length} bytes, at most {ENVELOPE_LIMIT_BYTES} fit: pin a newer header"
            ));
        }
        let statement = envelope.unverified().map_err(|e| e.to_string())?;
        self.submit(&mut core, &envelope, statement).map_err(|e| e.to_string())?;
        Ok(envelope.id())
    }

    /// As [`Desk::submit_own`], unless the log would reject it: what it rejects once it rejects again and
    /// again, and each time it grows by that.
    pub(crate) fn submit_if_admitted(&self, body: Body) -> Result<Hash, String> {
        let (state, decoder) = {
            let core = self.core();
            (core.replica.state().clone(), core.replica.decoder().clone())
        };
        let now = now_s().max(state.clock().time);
        let tried = self.keys.state(self.genesis, now, body.clone()).map_err(|e| e.to_string())?;
        let outcome = state.admit(&tried, now, &decoder).map_err(|refusal| refusal.to_string())?;
        match outcome.rejected {
            Some(refusal) => Err(refusal.to_string()),
            None => self.submit_own(body),
        }
    }

    /// Drops what waits no more, and sends again what may be taken now.
    pub(crate) fn tend_pending(&self, core: &mut Core) {
        let Core { replica, pending, .. } = core;
        let admits = |e: &Envelope| replica.state().admit(e, now_s(), replica.decoder()).is_ok();
        let members: Vec<Name> =
            replica.state().cosigners().into_iter().map(|card| card.name.clone()).collect();
        pending.settle(replica.state(), now_s(), &members, admits);
        for envelope in pending.again(now_s(), admits) {
            self.send_statement(&envelope);
        }
    }

    /// Takes in what a co-signer said.
    pub(crate) fn take(&self, from: &Name, message: FromCosigner) {
        // Relaying takes no lock but that of a queue: votes do not wait for a replay.
        let message = match message {
            FromCosigner::Peer { to, bytes } => {
                let to = addressees(from, to.as_ref(), &self.names);
                return self.send(to, &ToCosigner::Peer { from: from.clone(), bytes });
            }
            other => other,
        };
        let mut core = self.core();
        core.shares.answer(from, &message);
        match message {
            FromCosigner::Peer { .. } | FromCosigner::Answer(_) => {}
            FromCosigner::Receipt { id, state } => core.pending.receipt(from, &id, state),
            FromCosigner::Statement { envelope } => {
                let parsed = Envelope::parse(&envelope.0).and_then(|e| Ok((e.unverified()?, e)));
                let taken = match parsed {
                    Ok((statement, envelope)) => {
                        self.submit(&mut core, &envelope, statement).map_err(|e| e.to_string())
                    }
                    Err(refusal) => Err(refusal.to_string()),
                };
                if let Err(why) = taken {
                    core.alarm(format!("a statement of {from} was not taken: {why}"));
                }
            }
            FromCosigner::Log(piece) => self.take_piece(&mut core, from, &piece),
            FromCosigner::Signed { authorisation, transaction } => {
                core.inbox.push(News::Signed { from: from.clone(), authorisation, transaction });
                self.wake(&mut core);
            }
            FromCosigner::Refused { what, id, rule, why, culprits } => {
                for culprit in &culprits {
                    let did = if what == "reshare" { "dealt" } else { "signed" };
                    core.alarm(format!("{from} says that {culprit} {did} wrongly"));
                }
                let why = format!("{rule}: {why}");
                match what.as_str() {
                    "sign" | "prove" => {
                        core.inbox.push(News::Refused { by: from.clone(), id, why, culprits });
                        self.wake(&mut core);
                    }
                    "share" => {}
                    _ => core.alarm(format!("{from} refused a {what}: {why}")),
                }
            }
            FromCosigner::ShareKept { ceremony, slot } => {
                if Arc::make_mut(&mut core.kept).insert((ceremony, slot, from.clone())) {
                    core.keep(&Fact::Kept { ceremony, slot, holder: from.clone() }, false);
                }
                self.wake(&mut core);
            }
        }
        self.news.notify_all();
    }

    fn take_piece(&self, core: &mut Core, from: &Name, piece: &Log) {
        let adopted = core.replica.adopt(piece);
        if let Ok(Adopted::Grew { .. }) = adopted {
            let written = core.log.append(piece, false);
            core.check_disk(written);
            self.tend_pending(core);
            self.wake(core);
            self.wake_clerk(core);
        }
        let next = core.replica.height().saturating_add(1);
        match adopted {
            Ok(Adopted::Nothing | Adopted::Grew { more: false }) => {
                if core.connected.contains(from) && core.level.insert(from.clone()) {
                    self.wake_clerk(core);
                }
            }
            Ok(Adopted::Gap | Adopted::Grew { more: true }) => {
                let now = now_s();
                let same = core.asked.get(from).filter(|(height, at, _)| (*height, *at) == (next, now));
                let times = same.map_or(0, |(_, _, times)| *times);
                if times < ASKS_PER_SECOND {
                    core.asked.insert(from.clone(), (next, now, times.saturating_add(1)));
                    self.send([from], &ToCosigner::Log { from: next });
                }
            }
            Err(error) => core.alarm(format!("the log that {from} shows was not adopted: {error}")),
        }
    }
}

impl Core {
    /// Whether the own copy of the log is the newest, as far as that can be known: N − q + f + 1 co-signers had nothing
    /// newer. At most f of them are hostile and at most N − q did not co-sign the newest head, so one of them
    /// would have shown it. What is judged by the absence of something in the log waits for this.
    pub(crate) fn is_level(&self) -> bool {
        let state = self.replica.state();
        let numbers = state.numbers();
        let level = self.level.iter().filter(|name| state.cosigner(name).is_some()).count();
        level > numbers.all.saturating_sub(numbers.quorum).saturating_add(numbers.faulty)
    }

    /// The requests that alone may be proposed; nothing where all may. Under rule set 1 no request can name its
    /// client, so the books can reserve for none.
    pub(crate) fn gate(&self) -> Option<Arc<BTreeSet<Hash>>> {
        self.funded.clone().filter(|_| self.replica.state().clock().rules >= CLIENTS_SINCE)
    }

    fn keep(&mut self, fact: &Fact, durable: bool) {
        let written = self.facts.append(fact, durable);
        self.check_disk(written);
    }

    /// A disk that fails costs memory of what can be made anew; it is said and the work goes on.
    fn check_disk(&mut self, written: Result<(), DiskError>) {
        if let Err(error) = written {
            self.alarm(error.to_string());
        }
    }

    /// Notes what went wrong, and prints it once.
    pub(crate) fn alarm(&mut self, what: String) {
        if self.alarms.raise(what.clone()) {
            eprintln!("keyward-server: {what}");
        }
    }

    /// Keeps the labels that a statement commits to. Only here do they exist, so they are on disk before
    /// anything goes on.
    pub(crate) fn keep_labels(&mut self, statement: &Statement, labels: Vec<Label>) {
        let payload = statement.payload().unwrap_or_default();
        let payload = String::from_utf8_lossy(&payload);
        for label in labels {
            let commitment = label.commitment();
            let sound = label.text.len() <= LABEL_LIMIT_BYTES && self.labels.len() < LABELS_LIMIT;
            let meant = payload.contains(&commitment.to_string());
            if sound && meant && !self.labels.contains_key(&commitment) {
                self.keep(&Fact::Label(label.clone()), true);
                self.labels.insert(commitment, label);
            }
        }
    }

    /// Keeps a finished transaction.
    pub(crate) fn keep_signed(&mut self, authorisation: Hash, transaction: Blob) {
        self.keep(&Fact::Signed { authorisation, transaction: transaction.clone() }, true);
        Arc::make_mut(&mut self.signed).insert(authorisation, transaction);
    }

    /// Keeps where a transaction is.
    pub(crate) fn keep_place(&mut self, authorisation: Hash, place: Place) {
        self.keep(&Fact::Confirmed { authorisation, place }, false);
    }
}
