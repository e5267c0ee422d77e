//! The life of a withdrawal, from request to settlement, and what each step posts to the books.
//!
//! Pure: no socket, database, thread or clock. [`Seen`] says what the log and the chain say about one
//! withdrawal at this moment; [`step`] compares that with what the books have and answers the next version
//! of the record together with the transfers that belong to it, to be written in one posting. A worker
//! may be killed at any point and another one may go on: whatever was not written is found again.
//!
//! INVARIANT: from the final, allowed `Authorise` on, the reservation stays until the anchors are spent at
//! depth (P23), or the chain or a quorum excluded what was authorised and the log excludes more; before, it
//! ends only when the log excludes that one ever comes. Why it may end is argued in [`is_over`] and the
//! functions that it rests on.

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

mod begin;
mod ends;
mod inside;
mod log;
mod record;
mod seen;
mod split;
mod step;

pub use begin::{Asking, begin, payer, reservation, unfunded};
pub use ends::{is_over, may_be_authorised, may_confirm, never_asked};
pub use inside::{house_script, is_consolidation, returns};
pub use log::{Log, Mark};
pub use record::{EVENTS_LIMIT, Event, Hold, NOTE_LIMIT, Output, State, Withdrawal, WithdrawalError};
pub use seen::{
    APPROVALS_LIMIT, Asked, Chain, Fate, Frozen, Gone, Paid, RENEWALS_LIMIT, SETTLED_CONFIRMATIONS, Seen,
    Spender,
};
pub use split::split_fee;
pub use step::{Step, step, step_without};
