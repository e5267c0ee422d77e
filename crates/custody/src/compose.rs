//! What a proposer asks of the state: whether it could take a statement in, and for a batch of those that it could
//! (P5, P8).

use crate::apply::Outcome;
use crate::batch::{BATCH_LIMIT_BYTES, BATCH_LIMIT_ENTRIES, Batch, Tick};
use crate::bytes::Hash;
use crate::effects::Decoder;
use crate::rule::Refusal;
use crate::state::State;
use crate::statement::Envelope;

impl State {
    /// Whether a statement could be the first entry of a batch of `time`, or of the log's if that is later: what a
    /// proposer asks before it takes one in. A log that stood still since is judged as it will be, for hours and
    /// windows go on. A reduction comes before what became due meanwhile, as in a batch (P5): no veto comes too late by
    /// it. What is invalid only makes batches invalid; what would be rejected is still an entry.
    ///
    /// # Errors
    /// Why it would make a batch invalid.
    pub fn admit(&self, envelope: &Envelope, time: u64, decoder: &dyn Decoder) -> Result<Outcome, Refusal> {
        let mut next = self.clone();
        if time > self.clock.time {
            let height = self.clock.height.saturating_add(1);
            next.advance(&Tick { height, state: self.hash(), time, handover: None });
            if !envelope.unverified()?.body.is_reduction() {
                next.enter_into_force(decoder);
            }
        }
        next.apply_entry(envelope, decoder)
    }

    /// Makes a valid batch at `time` of those entries that can be in one, reductions first. `head` is the final head of
    /// this state, which the batch shows if another set takes over (P30). Returns the ids of what was left out, with the
    /// reason.
    pub fn compose(
        &self,
        time: u64,
        head: &str,
        entries: &[Envelope],
        decoder: &dyn Decoder,
    ) -> (Batch, Vec<(Hash, Refusal)>) {
        let tick = Tick {
            height: self.clock.height.saturating_add(1),
            state: self.hash(),
            time: time.max(self.clock.time),
            handover: self.handover(head),
        };
        let is_reduction = |e: &&Envelope| e.unverified().is_ok_and(|s| s.body.is_reduction());
        let (first, rest): (Vec<&Envelope>, Vec<&Envelope>) = entries.iter().partition(is_reduction);
        let mut trial = self.clone();
        let mut batch = Batch { entries: Vec::new(), tick };
        if self.clone().apply_in_place(&batch, decoder).is_err() {
            return (batch, Vec::new());
        }
        // As in the batch: time first, then reductions, then what is due, then the rest, one by one.
        trial.advance(&batch.tick);
        let reductions = first.len();
        let mut left_out = Vec::new();
        let mut size = 0usize;
        for (i, envelope) in first.into_iter().chain(rest).enumerate() {
            if i == reductions {
                trial.enter_into_force(decoder);
            }
            // Only what is taken in counts: forged entries crowd nothing out.
            let grown = size.saturating_add(envelope.bytes().len());
            if batch.entries.len() >= BATCH_LIMIT_ENTRIES || grown > BATCH_LIMIT_BYTES / 2 {
                break;
            }
            let mut probe = trial.clone();
            match probe.apply_entry(envelope, decoder) {
                Ok(_) => {
                    (trial, size) = (probe, grown);
                    batch.entries.push(envelope.clone());
                }
                Err(refusal) => left_out.push((envelope.id(), refusal)),
            }
        }
        (batch, left_out)
    }
}
