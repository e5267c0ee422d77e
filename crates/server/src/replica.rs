//! The server's copy of the log: what it shows to clients and works from.
//!
//! Every batch is replayed, and adopted only under a head that the quorum co-signed and that is exactly
//! the replayed one (P11). So a hostile co-signer can withhold the log from the server, not forge it.

use std::collections::BTreeMap;

use chain::BitcoinDecoder;
use custody::Blob;
use custody::batch::Batch;
use custody::checkpoint::HeadError;
use custody::genesis::Genesis;
use custody::rule::{Refusal, Rule};
use custody::state::State;
use wire::message::{BATCHES_LIMIT, BATCHES_LIMIT_BYTES, Log};

/// Why a piece of the log was not adopted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PieceError {
    /// A batch does not replay.
    #[error("batch {height} is invalid: {refusal}")]
    Batch {
        /// Its height.
        height: u64,
        /// What is wrong.
        refusal: Refusal,
    },
    /// The head is not final, or not of these batches.
    #[error("the head at height {height} is no final head of the log: {why}")]
    Head {
        /// The height.
        height: u64,
        /// What is wrong.
        why: String,
    },
    /// Another history than the one that is final here.
    #[error(
        "FORK: another batch at height {height} than the final one here; keep both logs, tell everyone, sign nothing"
    )]
    Fork {
        /// The lowest height at which they differ.
        height: u64,
    },
}

/// What a piece of the log brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adopted {
    /// Nothing that was not known.
    Nothing,
    /// It begins or ends above what is known: ask for what is missing.
    Gap,
    /// New batches. `more`: there may be others behind them.
    Grew {
        /// Ask again.
        more: bool,
    },
}

/// The state under the newest final head that is known, and the log that made it.
#[derive(Debug)]
pub struct Replica {
    state: State,
    decoder: BitcoinDecoder,
    batches: Vec<Blob>,
    notes: BTreeMap<u64, String>,
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Replica {
    /// The replica of an empty log.
    ///
    /// # Errors
    /// A genesis that does not pass its checks, or is for a network that is not known.
    pub fn new(genesis: Genesis) -> Result<Self, Refusal> {
        let decoder = BitcoinDecoder::new(&genesis.network)
            .map_err(|e| Refusal::new(Rule::Form, format!("genesis: {e}")))?;
        Ok(Self { state: State::new(genesis)?, decoder, batches: Vec::new(), notes: BTreeMap::new() })
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The reader of the deployment's chain.
    pub fn decoder(&self) -> &BitcoinDecoder {
        &self.decoder
    }

    /// The newest final height.
    pub fn height(&self) -> u64 {
        count(self.batches.len())
    }

    fn batch(&self, height: u64) -> Option<&Blob> {
        self.batches.get(usize::try_from(height.checked_sub(1)?).ok()?)
    }

    /// Replays a piece and adopts it if its head is final for exactly what was replayed.
    ///
    /// # Errors
    /// Why not. The replica stays what it was.
    pub fn adopt(&mut self, piece: &Log) -> Result<Adopted, PieceError> {
        let own = self.height();
        let known = piece.batches.iter().zip(piece.from..);
        for (batch, height) in known.take_while(|(_, height)| *height <= own) {
            if self.batch(height).is_some_and(|kept| kept != batch) {
                return Err(PieceError::Fork { height });
            }
        }
        let last = piece.from.saturating_add(count(piece.batches.len())).saturating_sub(1);
        if piece.from == 0 || piece.height <= own {
            return Ok(Adopted::Nothing);
        }
        if piece.from > own.saturating_add(1) || last != piece.height {
            return Ok(Adopted::Gap);
        }
        let skip = usize::try_from(own.saturating_add(1).saturating_sub(piece.from)).unwrap_or(usize::MAX);
        let fresh: Vec<&Blob> = piece.batches.iter().skip(skip).collect();
        let mut state = self.state.clone();
        for (batch, height) in fresh.iter().zip(own.saturating_add(1)..) {
            let applied = Batch::parse(&batch.0).and_then(|b| state.apply(&b, &self.decoder));
            applied.map_err(|refusal| PieceError::Batch { height, refusal })?;
        }
        let wrong = |error: HeadError| PieceError::Head { height: last, why: error.to_string() };
        state.final_head(&piece.note).map_err(wrong)?;
        let bytes = fresh.iter().fold(0usize, |sum, batch| sum.saturating_add(batch.0.len()));
        let more = fresh.len() > 1 || bytes > BATCHES_LIMIT_BYTES / 4;
        self.batches.extend(fresh.into_iter().cloned());
        self.notes.insert(last, piece.note.clone());
        self.state = state;
        Ok(Adopted::Grew { more })
    }

    /// The final batches from a height on, up to one whose head is known.
    pub fn piece(&self, from: u64) -> Log {
        let from = from.max(1);
        let last = self.notes.last_key_value();
        let mut piece = Log {
            from,
            batches: Vec::new(),
            height: last.map_or(0, |(height, _)| *height),
            note: last.map(|(_, note)| note.clone()).unwrap_or_default(),
        };
        let mut bytes = 0usize;
        for (end, note) in self.notes.range(from..) {
            let next = from.saturating_add(count(piece.batches.len()));
            let run: Vec<Blob> = (next..=*end).filter_map(|height| self.batch(height).cloned()).collect();
            bytes = run.iter().fold(bytes, |sum, batch| sum.saturating_add(batch.0.len()));
            let full =
                piece.batches.len().saturating_add(run.len()) > BATCHES_LIMIT || bytes > BATCHES_LIMIT_BYTES;
            // A run that came under one head is never cut, or nobody could check its beginning.
            if full && !piece.batches.is_empty() {
                break;
            }
            piece.batches.extend(run);
            (piece.height, piece.note) = (*end, note.clone());
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use custody::checkpoint::{SignedNote, cosign};
    use fixtures::{World, key};

    use super::*;

    /// The log of a world as pieces of one batch each, co-signed by `by`.
    fn pieces(world: &World, by: &[&str]) -> Vec<Log> {
        let mut state = State::new(world.state.genesis().clone()).unwrap();
        let piece = |(batch, _): &(Batch, _)| {
            state.apply(batch, &world.decoder).unwrap();
            let body = state.checkpoint().encode().unwrap();
            let line = |who: &&str| cosign(&body, who, &key(&format!("{who}/cosign")), batch.tick.time);
            let note = SignedNote { lines: by.iter().map(line).collect(), body: body.clone() };
            let (height, note) = (batch.tick.height, note.to_string());
            Log { from: height, batches: vec![Blob(batch.bytes())], height, note }
        };
        world.log.iter().map(piece).collect()
    }

    fn replica(world: &World) -> Replica {
        Replica::new(world.state.genesis().clone()).unwrap()
    }

    const QUORUM: &[&str] = &["s1", "s2", "w1"];

    #[test]
    fn pieces_under_final_heads_make_the_same_state_and_are_given_on() {
        let world = World::ready();
        let (mut one, mut two) = (replica(&world), replica(&world));
        for piece in pieces(&world, QUORUM) {
            assert_eq!(one.adopt(&piece).unwrap(), Adopted::Grew { more: false });
            assert_eq!(one.adopt(&piece).unwrap(), Adopted::Nothing);
        }
        assert_eq!(one.state().hash(), world.state.hash());
        let mut asked = 0;
        while two.height() < one.height() {
            let piece = one.piece(two.height() + 1);
            assert!(piece.batches.len() <= BATCHES_LIMIT);
            assert!(matches!(two.adopt(&piece).unwrap(), Adopted::Grew { .. }));
            asked += 1;
        }
        assert_eq!(two.state().hash(), one.state().hash());
        assert!(asked <= 1 + one.height() / 10, "{asked} pieces");
        let end = one.piece(one.height() + 1);
        assert_eq!((end.batches.len(), end.height), (0, one.height()));
    }

    #[test]
    fn too_few_cosignatures_are_not_adopted() {
        let world = World::ready();
        let mut replica = replica(&world);
        let piece = pieces(&world, &["s1", "s2"]).remove(0);
        assert!(matches!(replica.adopt(&piece), Err(PieceError::Head { height: 1, .. })));
        assert_eq!((replica.height(), replica.state().clock().height), (0, 0));
    }

    #[test]
    fn a_head_of_other_batches_is_not_adopted() {
        let world = World::ready();
        let mut replica = replica(&world);
        let all = pieces(&world, QUORUM);
        let mut altered = all[0].clone();
        altered.note = all[1].note.clone();
        assert!(matches!(replica.adopt(&altered), Err(PieceError::Head { .. })));
        let mut broken = all[0].clone();
        broken.batches[0].0.pop();
        assert!(matches!(replica.adopt(&broken), Err(PieceError::Batch { height: 1, .. })));
        assert_eq!(replica.adopt(&all[1]).unwrap(), Adopted::Gap);
        assert_eq!(replica.height(), 0);
    }

    #[test]
    fn another_final_history_is_a_fork_and_changes_nothing() {
        let world = World::ready();
        let mut other = World::new(fixtures::genesis());
        for _ in 0..3 {
            other.tick(60);
        }
        let mut replica = replica(&world);
        for piece in pieces(&world, QUORUM) {
            replica.adopt(&piece).unwrap();
        }
        for piece in pieces(&other, QUORUM) {
            let height = piece.from;
            assert_eq!(replica.adopt(&piece), Err(PieceError::Fork { height }));
        }
        assert_eq!(replica.state().hash(), world.state.hash());
    }
}
