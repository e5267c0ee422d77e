//! Batches: what co-signers agree on, one at a time (P5).

use serde::{Deserialize, Serialize};

use crate::bytes::{Blob, Hash};
use crate::canon;
use crate::rule::{Refusal, Rule, ensure};
use crate::statement::Envelope;

/// Most entries in a batch.
pub const BATCH_LIMIT_ENTRIES: usize = 256;

/// Largest batch in bytes: it must fit, with its signature, in one message of the agreement.
pub const BATCH_LIMIT_BYTES: usize = 768 * 1024;

/// The head of a batch and the first entry that it adds to the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tick {
    /// The number of the batch, from 1.
    pub height: u64,
    /// The state hash before it.
    pub state: Hash,
    /// Log time in seconds since 1970, never less than the Tick before.
    pub time: u64,
    /// In the first batch of another co-signer set, and there alone, the final head of the set before: a signed note
    /// (since rule set 4; not written otherwise).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Blob>,
}

/// A batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Statements, reductions first.
    pub entries: Vec<Envelope>,
    /// Its head.
    pub tick: Tick,
}

impl Tick {
    /// The entry of the log.
    pub fn leaf(&self) -> Vec<u8> {
        canon::encode(&TickEntry { tick: self.clone() }).unwrap_or_default()
    }
}

/// The form of a Tick in the log: a key of its own tells it from an envelope.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TickEntry {
    tick: Tick,
}

impl Batch {
    /// Reads a batch from its canonical bytes.
    ///
    /// # Errors
    /// [`Rule::Form`], with what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        ensure(bytes.len() <= BATCH_LIMIT_BYTES, Rule::Form, || {
            format!("a batch of {} bytes is over the limit of {BATCH_LIMIT_BYTES}", bytes.len())
        })?;
        let batch: Self =
            canon::decode(bytes).map_err(|e| Refusal::new(Rule::Form, format!("batch: {e}")))?;
        ensure(batch.entries.len() <= BATCH_LIMIT_ENTRIES, Rule::Form, || {
            format!("a batch of {} entries is over the limit of {BATCH_LIMIT_ENTRIES}", batch.entries.len())
        })?;
        // Each entry must be an envelope that stands alone in the log, with its own limits.
        for entry in &batch.entries {
            let alone = Envelope::parse(&entry.bytes())?;
            ensure(alone == *entry, Rule::Form, || {
                "an entry is no envelope with exactly one signature".into()
            })?;
        }
        Ok(batch)
    }

    /// Its canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        canon::encode(self).unwrap_or_default()
    }

    /// The entries that it adds to the log.
    pub fn leaves(&self) -> impl Iterator<Item = Vec<u8>> {
        std::iter::once(self.tick.leaf()).chain(self.entries.iter().map(Envelope::bytes))
    }

    /// Puts batches together again from the entries of a log.
    ///
    /// # Errors
    /// [`Rule::Form`] for entries that are neither Ticks nor envelopes, or do not begin with a Tick.
    pub fn from_leaves<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Self>, Refusal> {
        let mut batches: Vec<Self> = Vec::new();
        for (i, leaf) in leaves.into_iter().enumerate() {
            if leaf.starts_with(b"{\"tick\":") {
                let entry: TickEntry = canon::decode(leaf)
                    .map_err(|e| Refusal::new(Rule::Form, format!("entry {i}: tick: {e}")))?;
                batches.push(Self { entries: Vec::new(), tick: entry.tick });
            } else {
                let envelope = Envelope::parse(leaf)
                    .map_err(|e| Refusal::new(Rule::Form, format!("entry {i}: {}", e.why)))?;
                let batch = batches.last_mut();
                let batch =
                    batch.ok_or_else(|| Refusal::new(Rule::Form, "the log does not begin with a tick"))?;
                batch.entries.push(envelope);
            }
        }
        Ok(batches)
    }
}
