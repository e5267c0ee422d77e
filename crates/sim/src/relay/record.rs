//! What left the co-signers, as the relay saw it, and what must hold of it at every step.

use std::collections::{BTreeMap, BTreeSet};

use custody::checkpoint::{Checkpoint, SignedNote};
use custody::{Blob, Hash};
use serde_json::Value;
use signer::cosigner::Disk;
use wire::message::Log;

/// What a release lets others make of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Released {
    /// The share of a holder that does not aggregate, by its session.
    Share(Hash),
    /// A whole transaction, by its authorisation.
    Transaction(Hash, Blob),
}

/// A share or a whole signature that left a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// Which process.
    pub place: usize,
    /// Its newest final height at that moment.
    pub height: u64,
    /// Its clock, seconds since 1970.
    pub at_s: u64,
    /// The reductions that it had said to hold by then.
    pub held: BTreeSet<Hash>,
    /// What left.
    pub what: Released,
}

/// What the relay saw.
#[derive(Debug, Default)]
pub struct Record {
    /// Final heads by height.
    pub heads: BTreeMap<u64, Checkpoint>,
    /// Final batches by height.
    pub batches: BTreeMap<u64, Blob>,
    /// Shares and signatures, in order.
    pub releases: Vec<Release>,
    /// Reductions that a process said it holds.
    pub held: BTreeMap<usize, BTreeSet<Hash>>,
    begun: BTreeMap<usize, BTreeSet<Hash>>,
    frames: BTreeMap<(usize, Hash), usize>,
}

/// The session that a record of the guard journal uses up, if it is such a record.
fn session_of(record: &[u8]) -> Option<Hash> {
    let record: Value = serde_json::from_slice(record).ok()?;
    Hash::from_hex(record["session"]["id"].as_str()?)
}

impl Record {
    /// Final batches with their head.
    ///
    /// # Panics
    /// On two final heads, or two final batches, at one height that differ.
    pub fn final_log(&mut self, piece: &Log) {
        for (height, batch) in (piece.from..).zip(&piece.batches) {
            let known = self.batches.entry(height).or_insert_with(|| batch.clone());
            assert_eq!(known, batch, "two final batches at height {height}");
        }
        if piece.note.is_empty() {
            return;
        }
        let note = SignedNote::parse(&piece.note).expect("a head that a co-signer calls final");
        let head = Checkpoint::parse(&note.body).expect("a checkpoint");
        let known = self.heads.entry(piece.height).or_insert_with(|| head.clone());
        assert_eq!(*known, head, "two final heads at height {}", piece.height);
    }

    /// A record was appended to the guard journal of a process.
    ///
    /// # Panics
    /// On a session whose number was used before (P27).
    pub fn guarded(&mut self, place: usize, record: &[u8]) {
        if let Some(session) = session_of(record) {
            let first = self.begun.entry(place).or_default().insert(session);
            assert!(first, "process {place} used the number of session {session} twice");
        }
    }

    /// A frame left a process. Says whose share it carries, if it is not the first of its session: the
    /// first one carries commitments.
    ///
    /// # Panics
    /// On what is no frame.
    pub fn framed(&mut self, place: usize, bytes: &[u8]) -> Option<Released> {
        let frame: Value = serde_json::from_slice(bytes).expect("a frame");
        let session = frame["frame"]["session"].as_str().and_then(Hash::from_hex).expect("a session");
        let count = self.frames.entry((place, session)).or_default();
        *count += 1;
        (*count > 1).then_some(Released::Share(session))
    }

    /// A process has another disk from here on: what was said under the lost one binds it no more.
    pub fn restored(&mut self, place: usize, disk: &Disk) {
        self.begun.insert(place, disk.guard.iter().filter_map(|r| session_of(r)).collect());
        self.frames.retain(|(of, _), _| *of != place);
        self.held.remove(&place);
    }

    /// How many sessions were begun.
    pub fn sessions(&self) -> usize {
        self.begun.values().map(BTreeSet::len).sum()
    }
}
