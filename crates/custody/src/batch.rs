//! Batches: what co-signers agree on, one at a time (P5).

use serde::{Deserialize, Serialize};

use crate::bytes::{Blob, Hash};
use crate::canon;
use crate::rule::{Refusal, Rule, ensure};
use crate::statement::{ENVELOPE_LIMIT_BYTES, Envelope, PROPOSAL_LIMIT_BYTES};

/// Longest entry of the log in bytes: a tlog-tiles bundle gives its length in 16 bits.
pub const LEAF_LIMIT_BYTES: usize = ENVELOPE_LIMIT_BYTES;

/// How canonical envelopes end, and nothing within one: braces stand neither in base64 nor in hex.
const ENVELOPE_END: &[u8] = b"}]}";

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
        std::iter::once(self.tick.leaf()).chain(self.entries.iter().flat_map(leaves_of))
    }

    /// Puts batches together again from the entries of a log.
    ///
    /// # Errors
    /// [`Rule::Form`] for entries that are neither Ticks nor envelopes, or do not begin with a Tick.
    pub fn from_leaves<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Self>, Refusal> {
        let mut batches: Vec<Self> = Vec::new();
        // The pieces so far of an envelope that takes more than one entry.
        let mut begun: Vec<u8> = Vec::new();
        for (i, leaf) in leaves.into_iter().enumerate() {
            let whole = begun.len().saturating_add(leaf.len());
            ensure(whole <= PROPOSAL_LIMIT_BYTES, Rule::Form, || {
                format!(
                    "entry {i}: an envelope of {whole} bytes or more, at most {PROPOSAL_LIMIT_BYTES} are read"
                )
            })?;
            if leaf.len() == LEAF_LIMIT_BYTES && !leaf.ends_with(ENVELOPE_END) {
                begun.extend(leaf);
            } else if begun.is_empty() && leaf.starts_with(b"{\"tick\":") {
                let entry: TickEntry = canon::decode(leaf)
                    .map_err(|e| Refusal::new(Rule::Form, format!("entry {i}: tick: {e}")))?;
                batches.push(Self { entries: Vec::new(), tick: entry.tick });
            } else {
                begun.extend(leaf);
                let envelope = Envelope::parse(&std::mem::take(&mut begun))
                    .map_err(|e| Refusal::new(Rule::Form, format!("entry {i}: {}", e.why)))?;
                let batch = batches.last_mut();
                let batch =
                    batch.ok_or_else(|| Refusal::new(Rule::Form, "the log does not begin with a tick"))?;
                batch.entries.push(envelope);
            }
        }
        ensure(begun.is_empty(), Rule::Form, || "the log ends within an envelope".into())?;
        Ok(batches)
    }
}

/// The entries of the log that an envelope makes: one, or the pieces of a longer one, of which each but the last has
/// [`LEAF_LIMIT_BYTES`].
pub fn leaves_of(envelope: &Envelope) -> Vec<Vec<u8>> {
    envelope.bytes().chunks(LEAF_LIMIT_BYTES).map(<[u8]>::to_vec).collect()
}
