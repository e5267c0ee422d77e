//! Heads that were entered on the host (P30). Keys that went out of use can sign another history from before;
//! a log must pass through each of these heads, and before it has, this co-signer neither votes nor releases.

use custody::checkpoint::Checkpoint;
use custody::rule::{Refusal, Rule};
use custody::state::State;

use super::StartError;
use super::heads::final_head;

/// The pinned heads, smallest first.
#[derive(Debug, Default)]
pub(super) struct Pins(Vec<Checkpoint>);

impl Pins {
    /// Reads pinned heads in the order in which they were entered: each final, each later than the one before.
    pub(super) fn read(notes: &[String], state: &State) -> Result<Self, StartError> {
        let mut pins: Vec<Checkpoint> = Vec::new();
        for note in notes {
            let head = final_head(state, note).map_err(|e| StartError::Wrong(format!("pinned head: {e}")))?;
            let head = head.checkpoint().clone();
            match pins.last() {
                Some(last) if *last == head => {}
                Some(last) if last.size >= head.size => {
                    let (last, head) = (text(last), text(&head));
                    let why = format!("pinned is {last}; {head} is not later: enter a later one");
                    return Err(StartError::Wrong(why));
                }
                Some(_) | None => pins.push(head),
            }
        }
        Ok(Self(pins))
    }

    /// Whether a log of so many entries has passed all of them.
    pub(super) fn passed(&self, size: u64) -> bool {
        self.0.last().is_none_or(|last| last.size <= size)
    }

    /// Whether a log that grew from `before` entries to `state` by one batch passed through each head on the way.
    pub(super) fn check(&self, before: u64, state: &State) -> Result<(), Refusal> {
        let mut crossed = self.0.iter().filter(|pin| before < pin.size && pin.size <= state.log_size());
        match crossed.find(|pin| **pin != state.checkpoint()) {
            None => Ok(()),
            Some(pin) => {
                let (log, pin) = (text(&state.checkpoint()), text(pin));
                let why =
                    format!("the log comes to {log}; pinned on this host is {pin}: find out which is forged");
                Err(Refusal::new(Rule::Batch, why))
            }
        }
    }
}

fn text(head: &Checkpoint) -> String {
    let state = head.state().unwrap_or_default();
    format!("a head of {} entries with root {} and state {state}", head.size, head.root)
}
