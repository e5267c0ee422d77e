//! The log of inputs from which a restart derives its votes again.

use custody::Blob;
use serde::{Deserialize, Serialize};

use super::message::{Decision, Evidence, Proposal, Vote};
use crate::tendermint::{Judgement, Round, Step};

/// One entry. The order of the entries is the order in which the rules saw them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    /// A height is entered; what came before it is over.
    Height(u64),
    /// Round 0 of the height begins.
    Begin,
    /// The own value of a round.
    Value(Round, Blob),
    /// A proposal of another member, as judged when it came.
    Proposal(Proposal, Blob, Judgement),
    /// Votes of others that came together.
    Votes(Vec<Vote>),
    /// A timeout elapsed.
    Timeout(Step, Round),
    /// The height is decided: value and proof in one.
    Decided(Decision),
    /// Votes of the heights before this one, kept to answer probes.
    Seen(Vec<Vote>),
    /// A member contradicted itself.
    Evidence(Evidence),
    /// The disk was found to be restored (true), or caught up since (false).
    Restored(bool),
}

/// One write: records that reach the disk together or not at all.
pub(super) fn encode(records: &[Record]) -> Option<Vec<u8>> {
    serde_json::to_vec(records).ok()
}

pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Record>> {
    serde_json::from_slice(bytes).ok()
}
