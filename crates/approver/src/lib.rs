//! What a person's program does before this person signs (S4, same eyes).
//!
//! It replays the log by itself ([`Replay`]), believes it only under a final head ([`Replica`]), decodes
//! and shows what is asked ([`View`]), and signs exactly what it showed ([`Draft`]). It has no network,
//! no clock and no randomness: bytes, time and nonces are arguments. Whoever carries the log to it can
//! delay it, and nothing else.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod act;
mod alike;
mod compare;
mod document;
mod policy;
mod replica;
mod request;
mod text;
mod view;

pub use act::{
    APPROVAL_VALIDITY_S, ActError, Ask, Draft, Fresh, Payee, STATEMENT_VALIDITY_S, Signed, address, freeze,
    revoke,
};
pub use alike::{ALIKE_CHARACTERS, ALIKE_END_CHARACTERS, alike, looks_like};
pub use replica::{Allocated, Head, Replay, Replica, ReplicaError};
pub use request::{
    OutputView, RECENT_S, RequestState, RequestView, RuleView, SimilarView, narrowed, state_of,
};
pub use text::{chunks, harmless, plain, sats, time};
pub use view::{ApprovalView, Labels, ProposalView, View};
