//! Heads: the batches decided so far, the co-signatures under each, and which head is final (P11).

use std::collections::{BTreeMap, BTreeSet};

use custody::Blob;
use custody::checkpoint::{NoteLine, SignedNote, verify_cosignature};
use custody::name::Name;
use custody::state::State;
use ed25519_dalek::VerifyingKey;
use wire::message::{BATCHES_LIMIT_BYTES, Log};

/// Heights above the own one for which co-signatures are kept until the batch arrives.
pub const EARLY_HEIGHTS: u64 = 8;

/// Longest co-signature line that is kept before its batch, in bytes: a name, a signature and a time.
pub(super) const LINE_LIMIT_BYTES: usize = 256;

/// Most batches in one piece of the log. A piece ends where a final head is known.
pub const PIECE_BATCHES: usize = 128;

/// All heights so far.
#[derive(Debug, Default)]
pub(super) struct Heads {
    batches: Vec<Vec<u8>>,
    notes: BTreeMap<u64, String>,
    open: BTreeMap<u64, Open>,
    early: BTreeMap<u64, BTreeMap<Name, String>>,
}

/// A decided height whose head is not final yet.
#[derive(Debug)]
struct Open {
    body: String,
    state: State,
    lines: BTreeMap<String, NoteLine>,
}

impl Heads {
    /// How many batches there are.
    pub(super) fn height(&self) -> u64 {
        u64::try_from(self.batches.len()).unwrap_or(u64::MAX)
    }

    /// The highest final height and its note.
    pub(super) fn last(&self) -> (u64, &str) {
        self.notes.last_key_value().map_or((0, ""), |(height, note)| (*height, note.as_str()))
    }

    /// The batch of a height.
    pub(super) fn batch(&self, height: u64) -> Option<&[u8]> {
        let place = usize::try_from(height.checked_sub(1)?).ok()?;
        self.batches.get(place).map(Vec::as_slice)
    }

    /// Takes in a batch that is part of a final log already.
    pub(super) fn push_final(&mut self, batch: Vec<u8>) {
        self.batches.push(batch);
        let height = self.height();
        self.early = self.early.split_off(&height.saturating_add(1));
    }

    /// Takes in a decided batch with the own co-signature. Lines that came early are checked now.
    pub(super) fn push_open(&mut self, batch: Vec<u8>, state: State, body: String, own: (String, NoteLine)) {
        self.batches.push(batch);
        let height = self.height();
        let lines = [own].into_iter().collect();
        self.open.insert(height, Open { body, state, lines });
        let early = self.early.remove(&height).unwrap_or_default();
        for line in early.into_values() {
            self.add(height, &line);
        }
    }

    /// Adds a co-signature, if it verifies. Lines for heights to come are kept, one for each sender.
    pub(super) fn add_from(&mut self, height: u64, sender: Name, line: String) {
        let own = self.height();
        if line.len() > LINE_LIMIT_BYTES {
            return;
        }
        if height > own && height <= own.saturating_add(EARLY_HEIGHTS) {
            self.early.entry(height).or_default().insert(sender, line);
        } else {
            self.add(height, &line);
        }
    }

    fn add(&mut self, height: u64, line: &str) {
        let Some(open) = self.open.get_mut(&height) else { return };
        let Ok(line) = NoteLine::parse(line) else { return };
        // Those who voted on the batch, also if it brought another set (P30).
        for card in open.state.voters_at(height).0 {
            let Ok(key) = VerifyingKey::from_bytes(&card.cosign.0) else { continue };
            if verify_cosignature(&open.body, &line, card.name.as_str(), &key).is_some() {
                open.lines.insert(card.name.to_string(), line.clone());
            }
        }
    }

    /// The lowest open height with enough co-signatures, and its note.
    pub(super) fn ready(&self) -> Option<(u64, String)> {
        let (height, open) = self.open.iter().find(|(h, o)| o.lines.len() >= o.state.voters_at(**h).1)?;
        let note = SignedNote { body: open.body.clone(), lines: open.lines.values().cloned().collect() };
        Some((*height, note.to_string()))
    }

    /// Marks a height final; those before it are final with it.
    pub(super) fn finish(&mut self, height: u64, note: String) -> Option<State> {
        self.notes.insert(height, note);
        let later = self.open.split_off(&height.saturating_add(1));
        let done = std::mem::replace(&mut self.open, later);
        done.into_iter().find(|(h, _)| *h == height).map(|(_, open)| open.state)
    }

    /// Own co-signatures of heights that are not final yet, to be sent again.
    pub(super) fn unfinished(&self, own: &str) -> Vec<(u64, String)> {
        let line = |(height, open): (&u64, &Open)| open.lines.get(own).map(|l| (*height, l.to_string()));
        self.open.iter().filter_map(line).collect()
    }

    /// Whether any decided head is not final.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The final batches from a height on, up to a height whose head is known.
    pub(super) fn piece(&self, from: u64) -> Log {
        let (last, note) = self.last();
        let from = from.max(1);
        let most = from.saturating_add(u64::try_from(PIECE_BATCHES).unwrap_or(u64::MAX));
        let mut piece = Log { from, batches: Vec::new(), height: last, note: note.to_owned() };
        let ends: BTreeSet<u64> =
            self.notes.range(from..).map(|(h, _)| *h).take_while(|h| *h < most).collect();
        let mut size = 0usize;
        let mut taken: Vec<Blob> = Vec::new();
        for height in from..=ends.last().copied().unwrap_or(0) {
            let Some(batch) = self.batch(height) else { break };
            size = size.saturating_add(batch.len());
            if size > BATCHES_LIMIT_BYTES && !piece.batches.is_empty() {
                break;
            }
            taken.push(Blob(batch.to_vec()));
            if ends.contains(&height) {
                piece.batches.append(&mut taken);
                piece.height = height;
                piece.note = self.notes.get(&height).cloned().unwrap_or_default();
            }
        }
        piece
    }
}
