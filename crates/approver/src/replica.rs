//! The log, replayed by the one who looks at it.

use std::collections::BTreeMap;

use chain::BitcoinDecoder;
use custody::Hash;
use custody::batch::Batch;
use custody::checkpoint::{Checkpoint, FinalHead, HeadError, SignedNote};
use custody::effects::Branch;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::rule::Refusal;
use custody::state::State;
use custody::statement::Body;
use serde::{Deserialize, Serialize};

/// Why a log is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// The genesis is another one than was pinned.
    #[error(
        "the genesis has the hash {found}, pinned is {pinned}: this is another deployment, or the file was changed"
    )]
    Genesis {
        /// The hash that was entered on this host.
        pinned: Hash,
        /// The hash of the bytes.
        found: Hash,
    },
    /// The genesis, or the network that it names, is not sound.
    #[error("genesis: {0}")]
    Unsound(String),
    /// A batch that no co-signer could have voted for.
    #[error("batch {height} does not continue the log that was seen: {refusal}")]
    Batch {
        /// Its number.
        height: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The note is not a final head of this log.
    #[error("the head of the log is not final: {0}")]
    Head(#[from] HeadError),
    /// The head is of other entries or of another state than the batches make.
    #[error(
        "the co-signers' head at {head} entries does not fit the batches that came with it ({replayed} entries): do not sign anything, compare heads with others"
    )]
    Differs {
        /// Entries under the head.
        head: u64,
        /// Entries replayed.
        replayed: u64,
    },
    /// The log ends before a head that was seen earlier.
    #[error("the log was rolled back: it ends at {found} entries, this host has seen a final head at {seen}")]
    RolledBack {
        /// Entries that were seen.
        seen: u64,
        /// Entries now.
        found: u64,
    },
    /// The log has another history than one that was seen earlier.
    #[error(
        "the log was forked: at {size} entries it is not the one that this host saw under a final head; do not sign anything, keep both heads as evidence and tell the others"
    )]
    Forked {
        /// Entries at which they differ, at the latest.
        size: u64,
    },
}

/// The highest final head that a host has seen: it never goes back behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Entries of the log.
    pub size: u64,
    /// The root over them (RFC 6962).
    pub root: Hash,
    /// The state hash after the last one.
    pub state: Hash,
}

impl Head {
    fn of(state: &State) -> Self {
        let checkpoint = state.checkpoint();
        Self { size: checkpoint.size, root: checkpoint.root, state: state.hash() }
    }
}

/// A run of addresses, as an `Allocate` statement got it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Allocated {
    /// The wallet.
    pub wallet: Name,
    /// The chain.
    pub branch: Branch,
    /// The first index.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Batches that were replayed, of which nobody knows yet whether they are final. Nothing can be seen
/// or signed here.
#[derive(Clone, Debug)]
pub struct Replay {
    state: State,
    decoder: BitcoinDecoder,
    seen: Option<Head>,
    /// The ends of batches by size of the log, with their heights.
    heads: BTreeMap<u64, (u64, Head)>,
    allocated: BTreeMap<Hash, Allocated>,
}

impl Replay {
    /// The beginning of the log of the deployment whose genesis has the hash `pinned`. `seen` is the
    /// highest head that this host has seen before.
    ///
    /// # Errors
    /// [`ReplicaError::Genesis`], [`ReplicaError::Unsound`].
    pub fn begin(genesis: &[u8], pinned: &Hash, seen: Option<Head>) -> Result<Self, ReplicaError> {
        let genesis = Genesis::parse(genesis).map_err(|e| ReplicaError::Unsound(e.to_string()))?;
        let found = genesis.hash();
        if found != *pinned {
            return Err(ReplicaError::Genesis { pinned: *pinned, found });
        }
        let decoder =
            BitcoinDecoder::new(&genesis.network).map_err(|e| ReplicaError::Unsound(e.to_string()))?;
        let state = State::new(genesis).map_err(|e| ReplicaError::Unsound(e.to_string()))?;
        Ok(Self { state, decoder, seen, heads: BTreeMap::new(), allocated: BTreeMap::new() })
    }

    /// The number of the last batch.
    pub fn height(&self) -> u64 {
        self.state.clock().height
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.state.log_size()
    }

    /// Also does not end behind `seen`, and passes through it.
    #[must_use]
    pub fn not_behind(mut self, seen: Option<Head>) -> Self {
        let own = self.seen.map_or(0, |head| head.size);
        self.seen = seen.filter(|seen| seen.size > own).or(self.seen);
        self
    }

    /// Replays the next batch, given as its canonical bytes.
    ///
    /// # Errors
    /// [`ReplicaError::Batch`], or [`ReplicaError::Forked`] where a head that was seen does not fit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ReplicaError> {
        let height = self.height().saturating_add(1);
        let wrong = |refusal| ReplicaError::Batch { height, refusal };
        let batch = Batch::parse(bytes).map_err(wrong)?;
        let mut next = self.state.clone();
        let outcomes = next.apply(&batch, &self.decoder).map_err(wrong)?;
        self.note_allocations(&batch, |i| outcomes.get(i).is_some_and(|o| o.rejected.is_none()));
        // A final head stands at the end of a batch, so the log passes exactly through it.
        if let Some(seen) = self.seen {
            let (before, after) = (self.state.log_size(), next.log_size());
            let passes = before < seen.size && seen.size <= after;
            if passes && Head::of(&next) != seen {
                return Err(ReplicaError::Forked { size: seen.size });
            }
        }
        let head = Head::of(&next);
        self.heads.insert(head.size, (height, head));
        self.state = next;
        Ok(())
    }

    fn note_allocations(&mut self, batch: &Batch, applied: impl Fn(usize) -> bool) {
        let mut next = BTreeMap::new();
        for (i, envelope) in batch.entries.iter().enumerate() {
            let Ok(statement) = envelope.unverified() else {
                continue;
            };
            let Body::Allocate(ask) = statement.body else {
                continue;
            };
            if !applied(i) {
                continue;
            }
            let first = next
                .entry((ask.wallet.clone(), ask.branch))
                .or_insert_with(|| self.state.next_index(&ask.wallet, ask.branch));
            let run = Allocated { wallet: ask.wallet, branch: ask.branch, first: *first, count: ask.count };
            *first = first.saturating_add(ask.count);
            self.allocated.insert(envelope.id(), run);
        }
    }

    /// Believes what was replayed, if `note` is a final head of exactly that. An empty note is the head
    /// of a log without batches: genesis alone, which was pinned.
    ///
    /// # Errors
    /// A head that is not final, or of something else; a log that ends before a head seen earlier.
    pub fn finish(self, note: &str) -> Result<Replica, ReplicaError> {
        let found = self.state.log_size();
        if let Some(seen) = self.seen.filter(|seen| found < seen.size) {
            return Err(ReplicaError::RolledBack { seen: seen.size, found });
        }
        let head = match (note, found) {
            ("", 0) => None,
            _ => Some(self.check(note)?),
        };
        Ok(Replica { head, note: note.to_owned(), replay: self })
    }

    fn check(&self, note: &str) -> Result<FinalHead, ReplicaError> {
        let head = self.state.final_head_at(self.height(), note)?;
        if *head.checkpoint() != self.state.checkpoint() {
            return Err(ReplicaError::Differs {
                head: head.checkpoint().size,
                replayed: self.state.log_size(),
            });
        }
        Ok(head)
    }
}

/// The state under a final head: all that is ever shown or signed.
#[derive(Clone, Debug)]
pub struct Replica {
    replay: Replay,
    head: Option<FinalHead>,
    note: String,
}

impl Replica {
    /// The state.
    pub fn state(&self) -> &State {
        &self.replay.state
    }

    /// The reader of the deployment's network.
    pub fn decoder(&self) -> &BitcoinDecoder {
        &self.replay.decoder
    }

    /// The head that it stands under; nothing before the first batch.
    pub fn head(&self) -> Option<&FinalHead> {
        self.head.as_ref()
    }

    /// The signed note of the head, empty before the first batch.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What this host is to remember, so that it never goes back behind it.
    pub fn seen(&self) -> Head {
        Head::of(self.state())
    }

    /// The addresses that an `Allocate` statement got.
    pub fn allocated(&self, id: &Hash) -> Option<&Allocated> {
        self.replay.allocated.get(id)
    }

    /// Goes on from here: further batches are believed only under a head of their own.
    pub fn extend(&self) -> Replay {
        Replay { seen: Some(self.seen()), ..self.replay.clone() }
    }

    /// Judges a final head that somebody else shows: whether it is the own one, an earlier or a later
    /// one, or of another history.
    ///
    /// # Errors
    /// A note that is not a final head of this log, or [`ReplicaError::Forked`].
    pub fn compare(&self, note: &str) -> Result<std::cmp::Ordering, ReplicaError> {
        let own = self.seen();
        if note.is_empty() {
            return Ok(0.cmp(&own.size));
        }
        // Of another co-signer set than that of the own head if the other stands before a change (P30), or after one
        // that is not known here.
        let size = SignedNote::parse(note)
            .and_then(|note| Checkpoint::parse(&note.body))
            .map_err(HeadError::from)?
            .size;
        let next = self.replay.height().saturating_add(1);
        let height = self.replay.heads.range(size..).next().map_or(next, |(_, (height, _))| *height);
        let other = self.state().final_head_at(height, note)?;
        let at = other.checkpoint();
        let order = at.size.cmp(&own.size);
        // An older final head must be one that the replay passed through: heads stand at ends of batches.
        let theirs = Head { size: at.size, root: at.root, state: other.state() };
        if order.is_le() && self.replay.heads.get(&at.size).map(|(_, head)| head) != Some(&theirs) {
            return Err(ReplicaError::Forked { size: at.size });
        }
        Ok(order)
    }
}
