//! A co-signer, without the world: inputs go in, effects come out, to be carried out strictly in order.
//!
//! **Invariant**: what leaves depends only on what stands before it in the list of effects and is on
//! disk by then (P10, P27). The shell may be killed between any two effects.

mod agreeing;
mod desk;
mod heads;
mod own;
mod peer;
mod pin;
mod releasing;
mod resharing;
mod seat;
mod signing;
mod store;
#[cfg(test)]
#[path = "../../tests/vectors/cosigner.rs"]
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chain::BitcoinDecoder;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::rule::{Refusal, Rule};
use custody::state::{Owner, State};
use custody::statement::Envelope;
use custody::{Blob, Hash, PublicKey};
use keys::cosigner::CosignerSecrets;
use keys::seal::SealKey;
use keys::share::HeldShare;
use keys::vault::{Vault, VaultContext, VaultKind};
use rand_core::CryptoRngCore;
use wire::message::{Answer, FromCosigner, ReceiptState, ToCosigner};

use crate::agreement::{self, Agreement, TimerId};
use desk::Desk;
pub use desk::{
    DELAY_TICK_S, HELD_LIMIT, HELD_PER_OWNER_LIMIT, PENDING_LIMIT, PENDING_LIMIT_BYTES, TIMELY_S,
};
use heads::Heads;
pub use heads::{EARLY_HEIGHTS, PIECE_BATCHES};
pub use own::to_support;
use peer::{Frame, PeerMessage};
use pin::Pins;
pub use signing::{EARLY_FRAMES_LIMIT, SESSIONS_LIMIT};
use signing::{Sessions, Work};
use store::GuardRecord;
pub use store::{Disk, File, GUARD_DEAD_LIMIT, OFFER_SUFFIX, SHARE_SUFFIX};

/// How old a final head may be when a share leaves under it, in seconds (P14).
pub const FRESH_S: u64 = 60;

/// Most sessions that are begun for one authorisation, or for one set that proves an account: more than all sets of holders need,
/// few enough that a server cannot fill the disk.
pub const ATTEMPTS_LIMIT: usize = 1_000;

/// Orders that wait for a fresh head at a time.
pub const WAITING_LIMIT: usize = 16;

/// Co-signatures of heads that are not final are sent again after this long, in milliseconds.
pub const HEADS_RETRY_MS: u64 = 500;

/// The file of a co-signer's keys in its data directory, sealed for [`keys_context`].
pub const KEYS_FILE: &str = "keys.vault";

/// What the file of a co-signer's keys is sealed for.
pub fn keys_context(name: &Name) -> VaultContext {
    VaultContext { kind: VaultKind::CosignerKeys, genesis: Hash::default(), cosigner: name.clone() }
}

/// Who is no co-signer any more gets a piece of the log after so long again, in seconds: a piece is up to a megabyte, and
/// the server drops the oldest of what waits for a link.
pub const OUTSIDER_PAUSE_S: u64 = 10;

/// How long a co-signer's own statement stays valid, in seconds.
pub const OWN_STATEMENT_S: u64 = 3_600;

/// Who speaks to the co-signer, as its TLS key shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asker {
    /// The server: the machine that relays.
    Server,
    /// A person, or a machine that may freeze.
    Direct(Owner),
}

/// What happens to a co-signer.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message came in.
    Message {
        /// From whom.
        from: Asker,
        /// What.
        message: ToCosigner,
    },
    /// A timer ran out.
    Timer(Timer),
    /// A connection to the server came up: whatever was not delivered is said again.
    Connected,
}

/// The timers of a co-signer. Setting one again replaces it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// Of the agreement.
    Agreement(TimerId),
    /// Heads that are not final yet.
    Heads,
    /// A Tick for the delay clock.
    DelayTick,
}

/// What the shell must do, strictly in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append to a file and return only when that is on disk.
    Append(File, Vec<u8>),
    /// Replace a file's records by these in one step, on disk before anything after.
    Replace(File, Vec<Vec<u8>>),
    /// Keep a sealed file under a name, on disk before anything after.
    Keep(String, Vec<u8>),
    /// Erase a file that was kept, gone from disk before anything after.
    Erase(String),
    /// Replace the sealed file of the own keys, [`KEYS_FILE`], on disk before anything after.
    Keys(Vec<u8>),
    /// Say something to the server, on every connection that it has open.
    ToServer(FromCosigner),
    /// Answer whoever sent the message that was just taken.
    Reply(FromCosigner),
    /// Set a timer.
    SetTimer {
        /// Which.
        timer: Timer,
        /// In how many milliseconds.
        after_ms: u64,
    },
}

/// Why a co-signer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Genesis, or the log on disk, is refused by a rule.
    #[error("the log on disk does not replay: {0}")]
    Refused(#[from] Refusal),
    /// Something is not as it must be.
    #[error("{0}")]
    Wrong(String),
}

/// A co-signer.
#[derive(Debug)]
pub struct Cosigner {
    name: Name,
    genesis: Hash,
    secrets: CosignerSecrets,
    vault: Arc<Vault>,
    desk: Desk,
    /// Its place among those who vote, if it has one.
    agreement: Option<Agreement>,
    /// Since which batch the set is there in which that is.
    seated_since: u64,
    heads: Heads,
    final_state: State,
    /// The final state is new to this co-signer itself.
    news: bool,
    /// Keys went out of use and the file of the keys was not written yet.
    unwritten_keys: bool,
    /// What it asks of this co-signer in resharings was not looked at yet.
    unreshared: bool,
    pins: Pins,
    /// Nothing was ever voted on from this disk, and heads were pinned: it stands in for a lost one.
    new_host: bool,
    /// How to start the agreement, once the log has passed the pinned heads.
    unstarted: Option<(bool, Hash)>,
    /// What makes its questions to the others new: fresh at each start.
    nonce: Hash,
    /// How often it asked the others for its votes since the start or the last change of the set (P12).
    unheard: u32,
    /// What it said of itself about proposals and resharings, with the end of that statement.
    said: BTreeMap<Hash, u64>,
    sessions: Sessions,
    used: BTreeMap<Hash, BTreeSet<Hash>>,
    guard_records: usize,
    shares: BTreeMap<(Hash, u32), HeldShare>,
    /// The keys that were made for resharings under way.
    offers: BTreeMap<Hash, SealKey>,
    /// When those who left were last given a piece of the log.
    told: BTreeMap<Name, u64>,
    waiting: Vec<(Work, Vec<Name>, u32)>,
    inbox: Vec<Frame>,
    out: Vec<Effect>,
}

impl Cosigner {
    /// Opens a co-signer on what its disk holds, before [`Self::start`].
    ///
    /// # Errors
    /// A disk that does not fit genesis, the keys, or itself.
    pub fn open(
        genesis: Genesis,
        name: Name,
        secrets: CosignerSecrets,
        vault: Arc<Vault>,
        disk: &Disk,
    ) -> Result<Self, StartError> {
        let decoder = BitcoinDecoder::new(&genesis.network).map_err(|e| StartError::Wrong(e.to_string()))?;
        let state = State::new(genesis)?;
        if state.cosigner(&name).is_none() && disk.pins.is_empty() {
            let why = format!(
                "genesis has no co-signer {name}: one that joins later starts from a head that people enter, with --pinned-head"
            );
            return Err(StartError::Wrong(why));
        }
        let genesis = state.genesis_hash();
        let pins = Pins::read(&disk.pins, &state)?;
        // Whoever was here before may have voted in the same name (P12).
        let new_host = !disk.pins.is_empty() && disk.agreement.is_empty() && !disk.first_start;
        let mut cosigner = Self {
            name,
            pins,
            genesis,
            secrets,
            vault,
            final_state: state.clone(),
            desk: Desk::new(state, decoder),
            agreement: None,
            seated_since: 0,
            heads: Heads::default(),
            news: true,
            unreshared: true,
            unwritten_keys: false,
            new_host,
            unstarted: None,
            nonce: Hash::default(),
            unheard: 0,
            said: BTreeMap::new(),
            sessions: Sessions::default(),
            used: BTreeMap::new(),
            guard_records: 0,
            shares: BTreeMap::new(),
            offers: BTreeMap::new(),
            told: BTreeMap::new(),
            waiting: Vec::new(),
            inbox: Vec::new(),
            out: Vec::new(),
        };
        cosigner.load(disk)?;
        Ok(cosigner)
    }

    /// Starts: asks the others for its own last votes (P12). `restored` says that the disk may be old;
    /// `nonce` is fresh.
    pub fn start(&mut self, now_ms: u64, restored: bool, nonce: Hash) -> Vec<Effect> {
        self.set_clock(now_ms);
        self.nonce = nonce;
        self.unstarted = Some((restored || self.new_host, nonce));
        self.start_agreement(now_ms);
        self.tell_peers(None, &PeerMessage::Behind { from: self.heads.last().0.saturating_add(1) });
        self.settle(now_ms);
        std::mem::take(&mut self.out)
    }

    /// Takes one event and says what to do.
    pub fn step(&mut self, now_ms: u64, event: Event, rng: &mut impl CryptoRngCore) -> Vec<Effect> {
        self.set_clock(now_ms);
        match event {
            Event::Message { from, message } => self.receive(from, message, now_ms, rng),
            Event::Timer(Timer::Agreement(id)) => {
                self.drive(agreement::Input::Timer(id), now_ms);
                self.ask_for_heads(id);
            }
            Event::Timer(Timer::Heads) => self.repeat_heads(),
            Event::Timer(Timer::DelayTick) => {}
            Event::Connected => self.connected(),
        }
        self.settle(now_ms);
        self.follow(rng);
        self.retry_waiting(now_ms, rng);
        for frame in std::mem::take(&mut self.inbox) {
            self.receive_frame(frame, rng);
        }
        std::mem::take(&mut self.out)
    }

    /// The state under the newest final head.
    pub fn final_state(&self) -> &State {
        &self.final_state
    }

    /// The newest final height and its head.
    pub fn final_head(&self) -> (u64, &str) {
        self.heads.last()
    }

    /// The height of the newest decided batch, final or not.
    pub fn decided_height(&self) -> u64 {
        self.heads.height()
    }

    /// Whether the log here has passed the pinned heads (P30).
    pub fn has_passed_pins(&self) -> bool {
        self.pins.passed(self.desk.state.log_size())
    }

    /// Whether it votes and releases shares (P12).
    pub fn may_release(&self) -> bool {
        self.agreement.as_ref().is_some_and(Agreement::may_release)
    }

    /// Whether it is one of the co-signers that vote after the newest final head (P30).
    pub fn is_member(&self) -> bool {
        self.agreement.is_some()
    }

    /// Proofs that other co-signers of the set contradicted themselves.
    pub fn evidence(&self) -> &[agreement::Evidence] {
        self.agreement.as_ref().map_or(&[], Agreement::evidence)
    }

    /// Whether a TLS key may speak to this co-signer, and as whom.
    pub fn asker(&self, tls: &PublicKey) -> Option<Asker> {
        let state = &self.desk.state;
        match state.tls_owner(tls).or_else(|| state.tls_may_freeze(tls))? {
            owner @ Owner::Machine(_) => {
                let relays = self.desk.state.granted(&owner, custody::document::Grant::Authorise);
                Some(if relays { Asker::Server } else { Asker::Direct(owner) })
            }
            owner @ Owner::Person(_) => Some(Asker::Direct(owner)),
            // Co-signers never dial each other.
            Owner::Cosigner(_) => None,
        }
    }

    fn set_clock(&mut self, now_ms: u64) {
        self.desk.now_s = now_ms.checked_div(1000).unwrap_or(0);
    }

    fn receive(&mut self, from: Asker, message: ToCosigner, now_ms: u64, rng: &mut impl CryptoRngCore) {
        let server = from == Asker::Server;
        match message {
            ToCosigner::Submit { envelope } => self.submit(&envelope.0, server),
            ToCosigner::Challenge { nonce } => self.answer(nonce),
            ToCosigner::Log { from } => {
                let piece = self.heads.piece(from);
                self.out.push(Effect::Reply(FromCosigner::Log(piece)));
            }
            ToCosigner::Peer { from, bytes } if server => self.receive_peer(&from, &bytes.0, now_ms),
            ToCosigner::Share { ceremony, slot, sealed } if server => {
                self.take_share(ceremony, slot, &sealed.0, rng);
            }
            ToCosigner::Sign { authorisation, holders, attempt } if server => {
                self.begin(Work::Spend { authorisation }, holders, attempt, rng);
            }
            ToCosigner::Prove { ceremony, slot, holders, attempt } if server => {
                self.begin(Work::Prove { ceremony, slot }, holders, attempt, rng);
            }
            ToCosigner::Peer { .. }
            | ToCosigner::Share { .. }
            | ToCosigner::Sign { .. }
            | ToCosigner::Prove { .. } => {
                let refusal = Refusal::new(Rule::Grant, "only the server says this");
                self.refused("message", Hash::default(), &refusal, Vec::new(), true);
            }
        }
    }

    fn refused(&mut self, what: &str, id: Hash, refusal: &Refusal, culprits: Vec<Name>, reply: bool) {
        let message = FromCosigner::Refused {
            what: what.to_owned(),
            id,
            rule: refusal.rule.id().to_owned(),
            why: refusal.why.clone(),
            culprits,
        };
        self.out.push(if reply { Effect::Reply(message) } else { Effect::ToServer(message) });
    }

    /// Takes a statement. A reduction is on disk, and obeyed, before the receipt leaves (P16).
    fn submit(&mut self, bytes: &[u8], server: bool) {
        let (id, state) = match Envelope::parse(bytes) {
            Ok(envelope) => (envelope.id(), self.submit_envelope(envelope, server)),
            Err(refusal) => {
                let state = ReceiptState::Refused { rule: refusal.rule.id().into(), why: refusal.why };
                (Hash::sha256(bytes), state)
            }
        };
        self.out.push(Effect::Reply(FromCosigner::Receipt { id, state }));
    }

    fn submit_envelope(&mut self, envelope: Envelope, server: bool) -> ReceiptState {
        let id = envelope.id();
        let refuse = |r: Refusal| ReceiptState::Refused { rule: r.rule.id().into(), why: r.why };
        let statement = match envelope.unverified() {
            Ok(statement) => statement,
            Err(refusal) => return refuse(refusal),
        };
        if self.desk.state.consumed(&id, statement.not_after) {
            return ReceiptState::Consumed;
        }
        let reduction = statement.body.is_reduction();
        if reduction && self.desk.state.cosigner(&self.name).is_none() {
            let why = "this co-signer is none of those that vote: its word stops nothing, ask the others";
            return refuse(Refusal::new(Rule::Grant, why));
        }
        if !reduction && !server {
            return refuse(Refusal::new(Rule::Grant, "directly at a co-signer only reductions are taken"));
        }
        match self.desk.admit(&envelope) {
            Err(refusal) => refuse(refusal),
            // What the log would reject stops nothing here either.
            Ok(Some(refusal)) if reduction => refuse(refusal),
            Ok(_) if reduction => self.hold(envelope),
            Ok(_) if !self.desk.has_room_for(&envelope) => {
                refuse(Refusal::new(Rule::Form, "too many statements wait: send it again later"))
            }
            Ok(_) => {
                self.desk.pending.insert(id, envelope);
                ReceiptState::Pending
            }
        }
    }

    fn hold(&mut self, envelope: Envelope) -> ReceiptState {
        let id = envelope.id();
        if self.desk.held.contains_key(&id) {
            return ReceiptState::Held;
        }
        if self.desk.held.len() >= HELD_LIMIT || self.desk.held_of(&envelope) >= HELD_PER_OWNER_LIMIT {
            let why = "too many reductions wait: the log stands still, look at the server".to_owned();
            return ReceiptState::Refused { rule: Rule::FreezeLimit.id().into(), why };
        }
        let bytes = desk::blob(&envelope);
        self.append_guard(&GuardRecord::Held(bytes.clone()));
        self.desk.held.insert(id, envelope);
        self.tell_peers(None, &PeerMessage::Reduction(bytes));
        ReceiptState::Held
    }

    fn answer(&mut self, nonce: Hash) {
        let (height, note) = self.heads.last();
        let seen = self.desk.state.freezes().iter().map(|(id, _)| *id);
        let mut answer = Answer {
            by: self.name.clone(),
            nonce,
            height,
            time: self.desk.now_s,
            note: note.to_owned(),
            reductions: self.desk.held.keys().copied().chain(seen).collect(),
            signature: Blob::default(),
        };
        let bytes = answer.signed_bytes(&self.genesis);
        if let Some(Ok(signature)) = self.keys().ok().map(|keys| keys.sign_answer(&bytes)) {
            answer.signature = Blob(signature.to_vec());
            self.out.push(Effect::Reply(FromCosigner::Answer(answer)));
        }
    }

    fn tell_peers(&mut self, to: Option<Name>, message: &PeerMessage) {
        if let Ok(bytes) = custody::canon::encode(message) {
            self.out.push(Effect::ToServer(FromCosigner::Peer { to, bytes: Blob(bytes) }));
        }
    }

    /// Gives the log from a height on. Who left gets it too, and not so often that others are kept from theirs.
    fn tell_log(&mut self, to: &Name, height: u64) {
        let piece = self.heads.piece(height);
        if piece.batches.is_empty() {
            return;
        }
        if self.desk.state.cosigner(to).is_none() {
            let now = self.desk.now_s;
            if self.told.get(to).is_some_and(|at| now < at.saturating_add(OUTSIDER_PAUSE_S)) {
                return;
            }
            self.told.insert(to.clone(), now);
        }
        self.tell_peers(Some(to.clone()), &PeerMessage::Log(piece));
    }

    fn receive_peer(&mut self, from: &Name, bytes: &[u8], now_ms: u64) {
        // The name is only the server's word: it says where answers go, and proves nothing. Who leaves with the last
        // batch still co-signs its head, and who left still learns of it. Whom this log does not know yet may have
        // joined since: a log shows by itself whether it is to be taken.
        let Ok(message) = wire::json::decode::<PeerMessage>(bytes) else { return };
        if !matches!(message, PeerMessage::Log(_)) && !self.desk.state.was_cosigner(from) {
            return;
        }
        match message {
            PeerMessage::Agreement(bytes) => self.drive(agreement::Input::Message(bytes.0), now_ms),
            PeerMessage::Cosignature { height, line } => {
                let last = self.heads.last().0;
                if height <= last {
                    self.tell_log(from, height);
                } else {
                    self.heads.add_from(height, from.clone(), line);
                    // Whoever may not vote yet does not decide itself, and asks for what others decided.
                    if height > self.heads.height() && !self.may_release() {
                        let from_height = last.saturating_add(1);
                        self.tell_peers(Some(from.clone()), &PeerMessage::Behind { from: from_height });
                    }
                }
            }
            PeerMessage::Behind { from: height } => {
                let next = self.heads.last().0.saturating_add(1);
                // Who asks for what is not here is ahead, in a set perhaps of which this one does not know yet.
                if height > next {
                    self.tell_peers(Some(from.clone()), &PeerMessage::Behind { from: next });
                }
                self.tell_log(from, height);
            }
            PeerMessage::Log(piece) => self.catch_up(&piece, now_ms),
            PeerMessage::Reduction(bytes) => {
                if let Ok(envelope) = Envelope::parse(&bytes.0) {
                    // Held like one that came directly; whether it is worth holding it shows itself.
                    self.submit_envelope(envelope, false);
                }
            }
            PeerMessage::Frame(frame) => self.inbox.push(frame),
        }
    }
}
