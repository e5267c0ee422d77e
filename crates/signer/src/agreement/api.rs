//! What the caller gives and gets, and the numbers of time and storage.

use super::message::Decision;
use crate::tendermint::{Judgement, Member, Round, Step};

/// Time for the proposal of round 0 to arrive, in ms: a batch, its replay and one relayed hop.
pub const TIMEOUT_PROPOSE_MS: u64 = 500;

/// Time for the missing votes of round 0, in ms, once a quorum of votes is there.
pub const TIMEOUT_VOTE_MS: u64 = 250;

/// What each further round adds to its timeouts, in ms, so that some round is long enough.
pub const TIMEOUT_STEP_MS: u64 = 250;

/// While a height runs, what the others may have missed is sent again after this time, in ms.
pub const RETRANSMIT_MS: u64 = 1000;

/// Heights that may be decided before the first of them is final. Those that are not final yet are
/// kept to help whoever missed them: nobody can catch up by heads that are not co-signed.
pub const UNFINAL_HEIGHTS: u64 = 8;

/// Heights before this one whose votes are kept for members that lost their disk (rule `P12`).
pub const SEEN_HEIGHTS: u64 = 2;

/// Final heights above the highest that was shown, after which a restored member votes again (`P12`).
pub const HEIGHTS_TO_RECOVER: u64 = 2;

/// For one member that rejoins, each other begins at most [`HEIGHTS_TO_RECOVER`] heights in this time, in
/// ms: a disk is hardly restored twice in ten minutes, and whoever claims to rejoin for ever makes the log
/// grow by no more than that.
pub const REJOIN_MS: u64 = 600_000;

/// Pieces of evidence that are kept against one member: one convicts, the second shows it was no slip.
pub const EVIDENCE_PER_MEMBER: usize = 2;

/// Bytes of log after which [`Output::Truncate`] replaces it by what still matters.
pub const LOG_BYTES: usize = 4 << 20;

/// The application whose values are agreed on.
pub trait App {
    /// A value for this height, at most [`VALUE_MAX_BYTES`]. A height that has begun ends with a value
    /// only: with nothing to say, propose the empty batch. None: not ready, ask again at the next wake.
    fn propose(&mut self, height: u64, now_ms: u64) -> Option<Vec<u8>>;

    /// Judges a value by replay on the height before. Only if it is proposed for the `first_time` are
    /// its time and what it should hold judged too, and [`Judgement::Untimely`] may be the answer (`P9`).
    fn judge(&mut self, height: u64, value: &[u8], first_time: bool, now_ms: u64) -> Judgement;

    /// The highest height whose head has a quorum of co-signatures (rule `P11`), 0 if none.
    fn final_height(&self) -> u64;

    /// Whether there is anything to agree on.
    fn has_pending(&self) -> bool;
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message came in; nothing is believed of who brought it.
    Message(Vec<u8>),
    /// A timer has run out.
    Timer(TimerId),
    /// Something is pending, or heads became final.
    Wake,
    /// Every height below this one is applied, by [`Output::Decide`] or by co-signed heads.
    Advance(u64),
}

/// A timer. Setting it again replaces it; one that is out of date is ignored when it runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerId {
    /// The timeout of a step.
    Step {
        /// The height.
        height: u64,
        /// The round.
        round: Round,
        /// The step that it ends.
        step: Step,
    },
    /// Time to send again.
    Retransmit,
}

/// What the caller must do, strictly in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append to the log, and return only when it is on disk. The bytes reach the disk whole or not at all.
    Write(Vec<u8>),
    /// Replace the whole log by these bytes, in one step, and return only when that is on disk.
    Truncate(Vec<u8>),
    /// Send to one member, or to all others.
    Send {
        /// The addressee; none is all others.
        to: Option<Member>,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Set a timer.
    SetTimer {
        /// Which.
        id: TimerId,
        /// When it runs out, in ms from now.
        after_ms: u64,
    },
    /// A value is decided: apply it, then [`Input::Advance`]. Comes again after a restart in between.
    Decide(Decision),
    /// Others are at this height: catch up by co-signed heads.
    Behind(u64),
}

/// Why a log cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Not something that this program wrote.
    #[error("write {0} of the agreement log is damaged; start with --restored on a fresh log")]
    Damaged(usize),
    /// The member was started before.
    #[error("the agreement log must be replayed before the start")]
    Started,
}
