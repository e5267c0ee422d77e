//! The desk: the state that the log made so far, what waits for a batch, and the judgement of batches.

use std::collections::BTreeMap;

use chain::BitcoinDecoder;
use custody::batch::Batch;
use custody::rule::{Refusal, Rule};
use custody::state::State;
use custody::statement::Envelope;
use custody::{Blob, Hash};

use crate::agreement::App;
use crate::tendermint::Judgement;

/// Most statements that wait for a batch: two batches; the server keeps what is refused.
pub const PENDING_LIMIT: usize = 512;

/// Most bytes of them (32 MiB): as much as so many of the longest that are no proposals take.
pub const PENDING_LIMIT_BYTES: usize = PENDING_LIMIT * 64 * 1024;

/// Most reductions held at a time, far above what people can have in force.
pub const HELD_LIMIT: usize = 256;

/// Most reductions of one person or machine held at a time, so that nobody fills the place of others.
pub const HELD_PER_OWNER_LIMIT: usize = 16;

/// How far a new batch's time may lie from the own clock, in seconds (P9).
pub const TIMELY_S: u64 = 60;

/// While something waits for the delay clock, a Tick is proposed this often, in seconds (P13).
pub const DELAY_TICK_S: u64 = 300;

/// Judged values that are remembered, so that a batch is replayed once.
const JUDGED_LIMIT: usize = 8;

/// The application of the agreement.
pub(super) struct Desk {
    /// Reads transactions.
    pub decoder: BitcoinDecoder,
    /// The state after the last decided batch.
    pub state: State,
    /// The highest height whose head is final.
    pub final_height: u64,
    /// That head; empty before the first.
    pub final_note: String,
    /// Statements that could be in the next batch.
    pub pending: BTreeMap<Hash, Envelope>,
    /// Reductions that are on disk here and not yet in the log.
    pub held: BTreeMap<Hash, Envelope>,
    /// A share was asked for under a head that is too old: a Tick makes a fresh one.
    pub wants_tick: bool,
    /// The own clock, seconds since 1970, as of the last input.
    pub now_s: u64,
    judged: BTreeMap<Hash, State>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("height", &self.state.clock().height).finish_non_exhaustive()
    }
}

impl Desk {
    pub(super) fn new(state: State, decoder: BitcoinDecoder) -> Self {
        Self {
            decoder,
            state,
            final_height: 0,
            final_note: String::new(),
            pending: BTreeMap::new(),
            held: BTreeMap::new(),
            wants_tick: false,
            now_s: 0,
            judged: BTreeMap::new(),
        }
    }

    /// Whether one more statement may wait for a batch.
    pub(super) fn has_room_for(&self, envelope: &Envelope) -> bool {
        let sizes = self.pending.values().map(Envelope::size);
        let bytes = sizes.fold(envelope.size(), usize::saturating_add);
        self.pending.len() < PENDING_LIMIT && bytes <= PENDING_LIMIT_BYTES
    }

    /// Whether a statement could be the next entry.
    pub(super) fn admit(&self, envelope: &Envelope) -> Result<Option<Refusal>, Refusal> {
        self.state.admit(envelope, self.now_s, &self.decoder).map(|outcome| outcome.rejected)
    }

    /// The state after a batch, if it is valid on the state before.
    pub(super) fn after(&self, bytes: &[u8]) -> Result<State, Refusal> {
        if let Some(state) = self.judged.get(&Hash::sha256(bytes)) {
            return Ok(state.clone());
        }
        let batch = Batch::parse(bytes)?;
        let mut next = self.state.clone();
        next.apply(&batch, &self.decoder)?;
        Ok(next)
    }

    /// Moves on to the state after a decided batch.
    pub(super) fn advance(&mut self, next: State) {
        self.state = next;
        self.judged.clear();
        self.wants_tick = false;
        let (state, decoder, now_s) = (&self.state, &self.decoder, self.now_s);
        let admit = |envelope: &Envelope| state.admit(envelope, now_s, decoder);
        // What can be in no batch any more goes: consumed, ended, overtaken.
        self.pending.retain(|_, envelope| admit(envelope).is_ok());
        self.held.retain(|_, envelope| matches!(admit(envelope), Ok(o) if o.rejected.is_none()));
    }

    /// What is in the way of a share leaving now, whatever it is for: a reduction that the log does not
    /// have yet (P16, P27).
    pub(super) fn check_held(&self) -> Result<(), Refusal> {
        match self.held.keys().next() {
            None => Ok(()),
            Some(id) => Err(Refusal::new(
                Rule::Frozen,
                format!("reduction {id} is held here; wait until the log has it"),
            )),
        }
    }

    /// In how many seconds of the own clock the next Tick for the delay clock is due, if any.
    pub(super) fn delay_tick_in(&self) -> Option<u64> {
        let wait = self.state.next_due_in_s()?.min(DELAY_TICK_S);
        Some(self.state.clock().time.saturating_add(wait).saturating_sub(self.now_s))
    }

    fn timely(&self, batch: &Batch) -> bool {
        let time = batch.tick.time;
        let near = time.abs_diff(self.now_s) <= TIMELY_S;
        // A log whose last Tick lies ahead of the own clock goes on at that time. The time of one that lies behind
        // is over: what is charged to it would be out of a window too early, and what had ended would count.
        let ahead = time == self.state.clock().time && time > self.now_s;
        (near || ahead) && self.omits_nothing(batch)
    }

    /// Whether every reduction that is held stands in the batch, or would not be applied after it: then its
    /// hold ends (P9). Were rejected ones asked for too, two people could hold every vote for ever by more
    /// reductions than can be in force.
    fn omits_nothing(&self, batch: &Batch) -> bool {
        let included = |id: &Hash| batch.entries.iter().any(|e| e.id() == *id);
        let mut left_out = self.held.iter().filter(|(id, _)| !included(id)).peekable();
        if left_out.peek().is_none() {
            return true;
        }
        let Ok(after) = self.state.after_reductions(batch, &self.decoder) else { return false };
        let applies =
            |envelope| matches!(after.admit(envelope, 0, &self.decoder), Ok(o) if o.rejected.is_none());
        left_out.all(|(_, envelope)| !applies(envelope))
    }

    /// How many reductions of the same owner are held.
    pub(super) fn held_of(&self, envelope: &Envelope) -> usize {
        let owner = |e: &Envelope| Some(self.state.key(&e.unverified().ok()?.signer)?.owner.clone());
        let of = owner(envelope);
        self.held.values().filter(|e| owner(e) == of).count()
    }
}

impl App for Desk {
    fn propose(&mut self, _height: u64, now_ms: u64) -> Option<Vec<u8>> {
        let time = now_ms.checked_div(1000).unwrap_or(0);
        // Reductions that are held come first, whatever else waits.
        let entries: Vec<Envelope> = self.held.values().chain(self.pending.values()).cloned().collect();
        let (batch, left_out) = self.state.compose(time, &self.final_note, &entries, &self.decoder);
        for (id, _) in left_out {
            self.pending.remove(&id);
        }
        Some(batch.bytes())
    }

    fn judge(&mut self, _height: u64, value: &[u8], first_time: bool, now_ms: u64) -> Judgement {
        self.now_s = now_ms.checked_div(1000).unwrap_or(0);
        let Ok(batch) = Batch::parse(value) else { return Judgement::Invalid };
        let Ok(next) = self.after(value) else { return Judgement::Invalid };
        if self.judged.len() >= JUDGED_LIMIT {
            self.judged.clear();
        }
        self.judged.insert(Hash::sha256(value), next);
        if first_time && !self.timely(&batch) { Judgement::Untimely } else { Judgement::Valid }
    }

    fn final_height(&self) -> u64 {
        self.final_height
    }

    fn has_pending(&self) -> bool {
        !self.pending.is_empty()
            || !self.held.is_empty()
            || self.wants_tick
            || self.delay_tick_in() == Some(0)
    }
}

/// The bytes of an envelope as they travel.
pub(super) fn blob(envelope: &Envelope) -> Blob {
    Blob(envelope.bytes())
}
