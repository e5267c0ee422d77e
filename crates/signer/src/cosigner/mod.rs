//! A co-signer, without the world: inputs go in, effects come out, to be carried out strictly in order.
//!
//! **Invariant**: what leaves depends only on what stands before it in the list of effects and is on
//! disk by then (P10, P27). The shell may be killed between any two effects.

mod desk;
mod heads;
mod peer;
mod signing;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chain::BitcoinDecoder;
use custody::checkpoint::cosign;
use custody::document::share_context;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::rule::{Refusal, Rule};
use custody::state::{Owner, State};
use custody::statement::{Activate, Body, Envelope, STATEMENT_VERSION, Statement, pae};
use custody::{Blob, Hash, PublicKey};
use ed25519_dalek::VerifyingKey;
use keys::cosigner::CosignerSecrets;
use keys::seal::{self, SealDomain};
use keys::share::{HeldShare, SharePublic, ShareSecret};
use keys::vault::{Vault, VaultContext, VaultKind};
use rand_core::CryptoRngCore;
use wire::message::{Answer, FromCosigner, ReceiptState, ToCosigner};

use crate::agreement::{self, Agreement, Committee, Decision, Output, Seat, TimerId};
use desk::Desk;
pub use desk::{DELAY_TICK_S, HELD_LIMIT, PENDING_LIMIT, TIMELY_S};
pub use heads::{EARLY_HEIGHTS, PIECE_BATCHES};
use heads::{Heads, check_head};
use peer::{Frame, Payload, PeerMessage};
pub use signing::{EARLY_FRAMES_LIMIT, SESSIONS_LIMIT};
use signing::{Finished, Session, Sessions, Work};
use store::GuardRecord;
pub use store::{Disk, File};

/// How old a final head may be when a share leaves under it, in seconds (P14).
pub const FRESH_S: u64 = 60;

/// Orders that wait for a fresh head at a time.
pub const WAITING_LIMIT: usize = 16;

/// Co-signatures of heads that are not final are sent again after this long, in milliseconds.
pub const HEADS_RETRY_MS: u64 = 500;

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
    agreement: Agreement,
    heads: Heads,
    final_state: State,
    sessions: Sessions,
    used: BTreeSet<Hash>,
    shares: BTreeMap<(Hash, u32), HeldShare>,
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
        let cards = state.cosigners();
        let me = cards.iter().position(|c| c.name == name);
        let me = me.ok_or_else(|| StartError::Wrong(format!("genesis has no co-signer {name}")))?;
        let mut seats = Vec::new();
        for card in &cards {
            let vote = VerifyingKey::from_bytes(&card.vote.0);
            let vote =
                vote.map_err(|_| StartError::Wrong(format!("the vote key of {} is no key", card.name)))?;
            seats.push(Seat { name: card.name.to_string(), vote });
        }
        let committee = Committee::new(seats, me).map_err(|e| StartError::Wrong(e.to_string()))?;
        let genesis = state.genesis_hash();
        let key = secrets.vote_signing_key().clone();
        let agreement =
            Agreement::new(committee, key, genesis, 1).map_err(|e| StartError::Wrong(e.to_string()))?;
        let mut cosigner = Self {
            name,
            genesis,
            secrets,
            vault,
            final_state: state.clone(),
            desk: Desk::new(state, decoder),
            agreement,
            heads: Heads::default(),
            sessions: Sessions::default(),
            used: BTreeSet::new(),
            shares: BTreeMap::new(),
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
        let outputs = self.agreement.start_guarded(&mut self.desk, now_ms, restored, nonce);
        self.carry_out(outputs, now_ms);
        self.advance_agreement(now_ms);
        self.to_peers(None, &PeerMessage::Behind { from: self.heads.last().0.saturating_add(1) });
        self.settle(now_ms);
        std::mem::take(&mut self.out)
    }

    /// Takes one event and says what to do.
    pub fn step(&mut self, now_ms: u64, event: Event, rng: &mut impl CryptoRngCore) -> Vec<Effect> {
        self.set_clock(now_ms);
        match event {
            Event::Message { from, message } => self.receive(from, message, now_ms, rng),
            Event::Timer(Timer::Agreement(id)) => self.drive(agreement::Input::Timer(id), now_ms),
            Event::Timer(Timer::Heads) => self.repeat_heads(),
            Event::Timer(Timer::DelayTick) => {}
            Event::Connected => self.connected(),
        }
        self.settle(now_ms);
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

    /// Whether it votes and releases shares (P12).
    pub fn may_release(&self) -> bool {
        self.agreement.may_release()
    }

    /// Proofs that other co-signers contradicted themselves.
    pub fn evidence(&self) -> &[agreement::Evidence] {
        self.agreement.evidence()
    }

    /// Whether a TLS key may speak to this co-signer, and as whom.
    pub fn asker(&self, tls: &PublicKey) -> Option<Asker> {
        match self.desk.state.tls_owner(tls)? {
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
        if !reduction && !server {
            return refuse(Refusal::new(Rule::Grant, "directly at a co-signer only reductions are taken"));
        }
        match self.desk.admit(&envelope) {
            Err(refusal) => refuse(refusal),
            // What the log would reject stops nothing here either.
            Ok(Some(refusal)) if reduction => refuse(refusal),
            Ok(_) if reduction => self.hold(envelope),
            Ok(_) if self.desk.pending.len() >= PENDING_LIMIT => {
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
        if self.desk.held.len() >= HELD_LIMIT {
            let why = "too many reductions wait: the log stands still, look at the server".to_owned();
            return ReceiptState::Refused { rule: Rule::FreezeLimit.id().into(), why };
        }
        let bytes = desk::blob(&envelope);
        self.append_guard(&GuardRecord::Held(bytes.clone()));
        self.desk.held.insert(id, envelope);
        self.to_peers(None, &PeerMessage::Reduction(bytes));
        ReceiptState::Held
    }

    fn answer(&mut self, nonce: Hash) {
        let (height, note) = self.heads.last();
        let seen = self.final_state.freezes().iter().map(|(id, _)| *id);
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
        if let Ok(signature) = self.secrets.sign_answer(&bytes) {
            answer.signature = Blob(signature.to_vec());
            self.out.push(Effect::Reply(FromCosigner::Answer(answer)));
        }
    }

    fn to_peers(&mut self, to: Option<Name>, message: &PeerMessage) {
        if let Ok(bytes) = custody::canon::encode(message) {
            self.out.push(Effect::ToServer(FromCosigner::Peer { to, bytes: Blob(bytes) }));
        }
    }

    fn receive_peer(&mut self, from: &Name, bytes: &[u8], now_ms: u64) {
        // The name is only the server's word: it says where answers go, and proves nothing.
        let Ok(message) = wire::json::decode::<PeerMessage>(bytes) else { return };
        match message {
            PeerMessage::Agreement(bytes) => self.drive(agreement::Input::Message(bytes.0), now_ms),
            PeerMessage::Cosignature { height, line } => {
                let (last, note) = self.heads.last();
                let (last, note) = (last, note.to_owned());
                if height <= last && !note.is_empty() {
                    let piece = self.heads.piece(height);
                    self.to_peers(Some(from.clone()), &PeerMessage::Log(piece));
                } else {
                    self.heads.add_from(height, from.clone(), line);
                }
            }
            PeerMessage::Behind { from: height } => {
                let piece = self.heads.piece(height);
                if !piece.batches.is_empty() {
                    self.to_peers(Some(from.clone()), &PeerMessage::Log(piece));
                }
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

    // ---- agreement and heads ---------------------------------------------------------------------

    fn drive(&mut self, input: agreement::Input, now_ms: u64) {
        let outputs = self.agreement.step(&mut self.desk, now_ms, input);
        self.carry_out(outputs, now_ms);
    }

    fn carry_out(&mut self, outputs: Vec<Output>, now_ms: u64) {
        for output in outputs {
            match output {
                Output::Write(bytes) => self.out.push(Effect::Append(File::Agreement, bytes)),
                Output::Truncate(bytes) => self.out.push(Effect::Replace(File::Agreement, vec![bytes])),
                Output::Send { to, bytes } => {
                    let to =
                        to.and_then(|member| self.agreement.committee().name(member)).and_then(Name::new);
                    self.to_peers(to, &PeerMessage::Agreement(Blob(bytes)));
                }
                Output::SetTimer { id, after_ms } => {
                    self.out.push(Effect::SetTimer { timer: Timer::Agreement(id), after_ms });
                }
                Output::Decide(decision) => self.decide(decision, now_ms),
                Output::Behind(_) => {
                    let from = self.heads.last().0.saturating_add(1);
                    self.to_peers(None, &PeerMessage::Behind { from });
                }
            }
        }
    }

    /// Applies a decided batch, and co-signs the head that it makes.
    fn decide(&mut self, decision: Decision, now_ms: u64) {
        if decision.certificate.height != self.heads.height().saturating_add(1) {
            return;
        }
        // The agreement decides nothing that its own judgement found invalid.
        let Ok(next) = self.desk.after(&decision.value.0) else { return };
        let Ok(body) = next.checkpoint().encode() else { return };
        let name = self.name.to_string();
        let line = cosign(&body, &name, self.secrets.cosign_signing_key(), self.desk.now_s);
        self.out.push(Effect::Append(File::Log, store::batch_record(&decision.value.0)));
        let height = decision.certificate.height;
        let text = line.to_string();
        self.heads.push_open(decision.value.0, next.clone(), body, (name, line));
        self.desk.advance(next);
        self.to_peers(None, &PeerMessage::Cosignature { height, line: text });
        self.out.push(Effect::SetTimer { timer: Timer::Heads, after_ms: HEADS_RETRY_MS });
        self.advance_agreement(now_ms);
    }

    fn advance_agreement(&mut self, now_ms: u64) {
        let next = self.heads.height().saturating_add(1);
        self.drive(agreement::Input::Advance(next), now_ms);
    }

    /// Follows up on whatever an event made possible: final heads, the next height, the delay clock.
    fn settle(&mut self, now_ms: u64) {
        let mut news = false;
        while let Some((height, note)) = self.heads.ready() {
            let Some(state) = self.heads.finish(height, note.clone()) else { break };
            self.out.push(Effect::Append(File::Log, store::note_record(height, &note)));
            self.became_final(height, state);
            news = true;
        }
        if news {
            self.drive(agreement::Input::Wake, now_ms);
        } else if !self.agreement.is_running() && agreement::App::has_pending(&self.desk) {
            self.drive(agreement::Input::Wake, now_ms);
        }
        if self.desk.state.waits_for_time() {
            let after_ms = DELAY_TICK_S.saturating_mul(1000);
            self.out.push(Effect::SetTimer { timer: Timer::DelayTick, after_ms });
        }
    }

    fn became_final(&mut self, height: u64, state: State) {
        let before = self.desk.final_height;
        self.desk.final_height = height;
        self.final_state = state;
        let news = self.heads.piece(before.saturating_add(1));
        self.out.push(Effect::ToServer(FromCosigner::Log(news)));
    }

    fn repeat_heads(&mut self) {
        for (height, line) in self.heads.unfinished(self.name.as_str()) {
            self.to_peers(None, &PeerMessage::Cosignature { height, line });
        }
        if self.heads.is_open() {
            self.out.push(Effect::SetTimer { timer: Timer::Heads, after_ms: HEADS_RETRY_MS });
        }
    }

    /// Takes final batches from another: every one is replayed, and the head at their end must be final
    /// and of exactly the replayed log (P11).
    fn catch_up(&mut self, piece: &wire::message::Log, now_ms: u64) {
        let own = self.heads.height();
        let last =
            piece.from.saturating_add(u64::try_from(piece.batches.len()).unwrap_or(0)).saturating_sub(1);
        if piece.from == 0
            || piece.from > own.saturating_add(1)
            || last != piece.height
            || last <= self.heads.last().0
        {
            return;
        }
        let skip = usize::try_from(own.saturating_add(1).saturating_sub(piece.from)).unwrap_or(usize::MAX);
        let mut state = self.desk.state.clone();
        let mut fresh = Vec::new();
        for batch in piece.batches.iter().skip(skip) {
            let Ok(parsed) = custody::batch::Batch::parse(&batch.0) else { return };
            if state.apply(&parsed, &self.desk.decoder).is_err() {
                return;
            }
            fresh.push(batch.0.clone());
        }
        // A piece that ends below the own height may still finish heads that are open here.
        if last < own {
            return;
        }
        if check_head(&state, &piece.note).is_err() {
            return;
        }
        for batch in fresh {
            self.out.push(Effect::Append(File::Log, store::batch_record(&batch)));
            self.heads.push_final(batch);
        }
        self.out.push(Effect::Append(File::Log, store::note_record(last, &piece.note)));
        self.heads.finish(last, piece.note.clone());
        self.desk.advance(state.clone());
        self.became_final(last, state);
        self.advance_agreement(now_ms);
    }

    fn connected(&mut self) {
        let piece = self.heads.piece(self.heads.last().0);
        self.out.push(Effect::Reply(FromCosigner::Log(piece)));
        self.to_peers(None, &PeerMessage::Behind { from: self.heads.last().0.saturating_add(1) });
        self.repeat_heads();
    }

    // ---- shares ----------------------------------------------------------------------------------

    fn take_share(&mut self, ceremony: Hash, slot: u32, sealed: &[u8], rng: &mut impl CryptoRngCore) {
        match self.check_share(ceremony, slot, sealed) {
            Ok(share) => {
                let context = self.share_file_context();
                let Ok(file) = self.vault.seal(&context, share.expose(), rng) else {
                    return;
                };
                self.out.push(Effect::Keep(store::share_file(&ceremony, slot), file));
                self.shares.insert((ceremony, slot), share);
                self.out.push(Effect::Reply(FromCosigner::ShareKept { ceremony, slot }));
            }
            Err(refusal) => self.refused("share", ceremony, &refusal, Vec::new(), true),
        }
    }

    /// A share is accepted only for an account of a ceremony whose record a quorum approved in the final
    /// log, and only if it fits the commitments there (GEN-03).
    fn check_share(&self, ceremony: Hash, slot: u32, sealed: &[u8]) -> Result<HeldShare, Refusal> {
        let public = self.share_public(ceremony, slot)?;
        let refuse = |why: String| Refusal::new(Rule::Ceremony, why);
        let threshold = u32::from(public.threshold);
        let context = share_context(&self.genesis, &ceremony, slot, &self.name, threshold);
        let plain = seal::open(self.secrets.seal_key(), SealDomain::Share, &context, sealed)
            .map_err(|e| refuse(format!("the sealed share does not open here: {e}")))?;
        ShareSecret::open(&plain, &public, &self.name).map_err(|e| refuse(e.to_string()))
    }

    fn share_public(&self, ceremony: Hash, slot: u32) -> Result<SharePublic, Refusal> {
        let record = self.final_state.slots().get(&(ceremony, slot));
        let record = record.ok_or_else(|| {
            Refusal::new(
                Rule::Ceremony,
                "no ceremony record in force deals this account: approve the record first",
            )
        })?;
        Ok(SharePublic {
            account: record.slot.account.clone(),
            threshold: u16::try_from(record.threshold).unwrap_or(u16::MAX),
            holders: record.holders.clone(),
            commitments: record.slot.commitments.clone(),
        })
    }

    fn share_file_context(&self) -> VaultContext {
        VaultContext { kind: VaultKind::Share, genesis: self.genesis, cosigner: self.name.clone() }
    }

    // ---- signing ---------------------------------------------------------------------------------

    /// Begins a session: everything is checked, the session's number is on disk, then commitments leave.
    fn begin(&mut self, work: Work, holders: Vec<Name>, attempt: u32, rng: &mut impl CryptoRngCore) {
        if let Err(refusal) = self.try_begin(&work, &holders, attempt, rng) {
            if refusal.rule == Rule::Fresh && self.waiting.len() < WAITING_LIMIT {
                self.desk.wants_tick = true;
                self.waiting.push((work, holders, attempt));
                return;
            }
            let (word, id) = (work.word(), work.id());
            self.refused(word, id, &refusal, Vec::new(), false);
        }
    }

    /// Orders that waited for a fresh head are tried again under each new one.
    fn retry_waiting(&mut self, now_ms: u64, rng: &mut impl CryptoRngCore) {
        if self.waiting.is_empty() || self.check_fresh().is_err() {
            return;
        }
        for (work, holders, attempt) in std::mem::take(&mut self.waiting) {
            self.begin(work, holders, attempt, rng);
        }
        self.settle(now_ms);
    }

    fn check_fresh(&self) -> Result<(), Refusal> {
        let (log, own) = (self.final_state.clock().time, self.desk.now_s);
        if self.heads.last().0 > 0 && log.abs_diff(own) <= FRESH_S {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::Fresh,
            format!("the final head is of {log}, the own clock says {own}: a fresh head is needed"),
        ))
    }

    /// What must hold when a session begins and again when the share leaves (P14, P16, P27).
    fn check_release(&self, work: &Work) -> Result<(), Refusal> {
        if !self.agreement.may_release() {
            let why =
                "the co-signer was just started, or its disk is older than its votes: wait for the others";
            return Err(Refusal::new(Rule::Fresh, why));
        }
        self.check_fresh()?;
        let Work::Spend { authorisation } = work else { return Ok(()) };
        self.desk.check_held()?;
        let time = self.final_state.clock().time.max(self.desk.now_s);
        self.final_state.release(authorisation, time, &self.desk.decoder)
    }

    fn try_begin(
        &mut self,
        work: &Work,
        holders: &[Name],
        attempt: u32,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), Refusal> {
        let form = |holds: bool, why: &str| if holds { Ok(()) } else { Err(Refusal::new(Rule::Form, why)) };
        form(holders.is_sorted_by(|a, b| a < b), "name the holders sorted, each once")?;
        form(holders.contains(&self.name), "this co-signer is not one of the holders")?;
        self.check_release(work)?;
        let id = work.session(&self.genesis, holders, attempt);
        if self.used.contains(&id) {
            return Err(Refusal::new(
                Rule::Once,
                "this session was begun before: use another attempt number",
            ));
        }
        let decoder = &self.desk.decoder;
        let mut session = match work {
            Work::Spend { authorisation } => {
                Session::spend(&self.final_state, *authorisation, holders.to_vec(), decoder)?
            }
            Work::Prove { ceremony, slot } => {
                Session::prove(&self.final_state, *ceremony, *slot, holders.to_vec())?
            }
        };
        let share = self.shares.get(&session.key);
        let share = share.ok_or_else(|| {
            Refusal::new(Rule::Ceremony, "this co-signer holds no share of the account: hand it over first")
        })?;
        let payload = session.commit(&id, share, rng)?;
        self.append_guard(&GuardRecord::Session(id));
        self.used.insert(id);
        self.sessions.insert(id, session);
        self.send_frames(id, holders, &payload, rng);
        let early = self.sessions.early_of(&id);
        self.inbox.extend(early);
        Ok(())
    }

    fn send_frames(&mut self, id: Hash, to: &[Name], payload: &Payload, rng: &mut impl CryptoRngCore) {
        for holder in to {
            if *holder == self.name {
                continue;
            }
            let Some(card) = self.desk.state.cosigner(holder) else { continue };
            let route = (&self.name, holder);
            let frame = Frame::seal(&self.genesis, &self.secrets, route, &id, &card.seal, payload, rng);
            if let Some(frame) = frame {
                self.to_peers(Some(holder.clone()), &PeerMessage::Frame(frame));
            }
        }
    }

    fn receive_frame(&mut self, frame: Frame, rng: &mut impl CryptoRngCore) {
        if frame.to != self.name {
            return;
        }
        let id = frame.session;
        if !self.sessions.has(&id) {
            // The order to begin may come a moment later, unless the session is over.
            if !self.used.contains(&id) {
                self.sessions.keep_early(frame);
            }
            return;
        }
        let key = self.desk.state.cosigner(&frame.from).map(|card| card.frame);
        let Some(payload) = key.and_then(|key| frame.open(&self.genesis, &self.secrets, &key)) else {
            let refusal =
                Refusal::new(Rule::Signature, "a frame neither verifies nor opens: altered on its way");
            self.refused("frame", id, &refusal, Vec::new(), false);
            return;
        };
        let Some(mut session) = self.sessions.remove(&id) else { return };
        let (work, culprit) = (session.work.clone(), frame.from.clone());
        match session.take(&frame.from, &payload) {
            Ok(()) => match self.go_on(id, &mut session, rng) {
                Ok(true) => {}
                Ok(false) => self.sessions.put_back(id, session),
                Err((refusal, culprits)) => self.refused(work.word(), work.id(), &refusal, culprits, false),
            },
            Err(refusal) => {
                self.sessions.put_back(id, session);
                self.refused(work.word(), work.id(), &refusal, vec![culprit], false);
            }
        }
    }

    /// Sends the own share when all commitments are there, and finishes when all shares are. Says
    /// whether the session is over.
    fn go_on(
        &mut self,
        id: Hash,
        session: &mut Session,
        rng: &mut impl CryptoRngCore,
    ) -> Result<bool, (Refusal, Vec<Name>)> {
        let blameless = |refusal: Refusal| (refusal, Vec::new());
        let lead = session.holders.first().cloned();
        if session.may_sign() {
            // The moment at which a share leaves: everything is judged again (P27).
            self.check_release(&session.work).map_err(blameless)?;
            let share = self.shares.get(&session.key);
            let share = share.ok_or_else(|| blameless(Refusal::new(Rule::Ceremony, "the share is gone")))?;
            let payload = session.sign(share).map_err(blameless)?;
            if lead.as_ref() != Some(&self.name) {
                let to: Vec<Name> = lead.into_iter().collect();
                self.send_frames(id, &to, &payload, rng);
                return Ok(true);
            }
        }
        if lead.as_ref() != Some(&self.name) {
            return Ok(false);
        }
        let Some(share) = self.shares.get(&session.key) else { return Ok(true) };
        match session.finish(share) {
            None => Ok(false),
            Some(Err(blamed)) => Err(blamed),
            Some(Ok(Finished::Transaction(transaction))) => {
                let authorisation = session.work.id();
                let transaction = Blob(transaction);
                self.out.push(Effect::ToServer(FromCosigner::Signed { authorisation, transaction }));
                Ok(true)
            }
            Some(Ok(Finished::Proof(signature))) => {
                self.state_proof(session, signature, rng);
                Ok(true)
            }
        }
    }

    /// Puts a proof of a set of holders into the log, as a statement of this co-signer.
    fn state_proof(&mut self, session: &Session, signature: [u8; 64], rng: &mut impl CryptoRngCore) {
        let Work::Prove { ceremony, slot } = session.work else { return };
        let body = Body::Activate(Activate {
            ceremony,
            slot,
            holders: session.holders.clone(),
            signature: Blob(signature.to_vec()),
        });
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let end = self.desk.now_s.max(self.desk.state.clock().time).saturating_add(OWN_STATEMENT_S);
        let statement = Statement {
            genesis: self.genesis,
            signer: custody::statement::key_id(&self.secrets.public().statement),
            version: STATEMENT_VERSION,
            nonce: Hash(nonce),
            not_after: Some(end),
            body,
        };
        let Ok(payload) = statement.payload() else { return };
        let Ok(signature) = self.secrets.sign_statement(&pae(&payload)) else { return };
        let envelope = statement.enveloped(payload, signature);
        let bytes = desk::blob(&envelope);
        self.submit_envelope(envelope, true);
        self.out.push(Effect::ToServer(FromCosigner::Statement { envelope: bytes }));
    }
}
