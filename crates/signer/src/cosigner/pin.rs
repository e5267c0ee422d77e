//! Heads that were entered on the host (P30). Keys that went out of use can sign another history from before;
//! a log must pass through each of these heads, and before it has, this co-signer neither votes nor releases.

use custody::checkpoint::{Checkpoint, HeadError, SignedNote};
use custody::genesis::quorum_of;
use custody::rule::{Refusal, Rule};
use custody::state::State;

use super::StartError;
use crate::agreement::MEMBERS_MIN;

/// The pinned heads, smallest first, each with its note.
#[derive(Debug, Default)]
pub(super) struct Pins(Vec<(Checkpoint, String)>);

/// The checkpoint of a note. Under the keys of genesis it is final, or the set that made it so is a later one: then it has
/// as many signatures as the smallest set needs, and those by keys of genesis verify.
fn read(note: &str, state: &State) -> Result<Checkpoint, HeadError> {
    let parsed = SignedNote::parse(note)?;
    let least = quorum_of(MEMBERS_MIN);
    match state.final_head_at(0, note) {
        Ok(head) => Ok(head.checkpoint().clone()),
        Err(HeadError::NoQuorum { .. }) if parsed.lines.len() >= least => {
            Ok(Checkpoint::parse(&parsed.body)?)
        }
        Err(error) => Err(error),
    }
}

impl Pins {
    /// Reads pinned heads in the order in which they were entered: each of this log, each later than the one before.
    /// Whether it is final under a later set than that of genesis, the log says when it gets there.
    pub(super) fn read(notes: &[String], state: &State) -> Result<Self, StartError> {
        let mut pins: Vec<(Checkpoint, String)> = Vec::new();
        for note in notes {
            let head = read(note, state).map_err(|e| StartError::Wrong(format!("pinned head: {e}")))?;
            match pins.last() {
                Some((last, _)) if *last == head => {}
                Some((last, _)) if last.size >= head.size => {
                    let (last, head) = (text(last), text(&head));
                    let why = format!("pinned is {last}; {head} is not later: enter a later one");
                    return Err(StartError::Wrong(why));
                }
                Some(_) | None => pins.push((head, note.clone())),
            }
        }
        Ok(Self(pins))
    }

    /// Whether a log of so many entries has passed all of them.
    pub(super) fn passed(&self, size: u64) -> bool {
        self.0.last().is_none_or(|(last, _)| last.size <= size)
    }

    /// Whether a log that grew from `before` entries to `state` by one batch passed through each head on the way.
    pub(super) fn check(&self, before: u64, state: &State) -> Result<(), Refusal> {
        let crossed = self.0.iter().filter(|(pin, _)| before < pin.size && pin.size <= state.log_size());
        for (pin, note) in crossed {
            if *pin != state.checkpoint() {
                let (log, pin) = (text(&state.checkpoint()), text(pin));
                let why =
                    format!("the log comes to {log}; pinned on this host is {pin}: find out which is forged");
                return Err(Refusal::new(Rule::Batch, why));
            }
            state.final_head(note).map_err(|e| Refusal::new(Rule::Batch, format!("pinned head: {e}")))?;
        }
        Ok(())
    }
}

fn text(head: &Checkpoint) -> String {
    let state = head.state().unwrap_or_default();
    format!("a head of {} entries with root {} and state {state}", head.size, head.root)
}
