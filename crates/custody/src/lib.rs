//! The nouns and the rules of custody.
//!
//! Everything in this crate is a pure value or a pure function: no clock, file, socket, thread or
//! randomness. Time, bytes and the decoder of transactions are arguments. Whoever replays the same
//! log with this crate reaches the same state, and so the same decision about every payment.

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

mod addresses;
pub mod adoption;
pub mod anchors;
pub mod apply;
pub mod batch;
pub mod bytes;
pub mod canon;
mod card;
mod ceremony;
pub mod charge;
pub mod checkpoint;
mod compose;
pub mod cosigner_set;
pub mod decide;
pub mod document;
pub mod effects;
pub mod genesis;
mod governance;
mod judge;
pub mod map;
pub mod name;
mod payee;
pub mod payment;
mod people;
mod permit;
pub mod policy;
pub mod quorum;
pub mod rates;
pub mod records;
pub mod resharing;
pub mod rule;
pub mod rule_set;
mod seats;
mod spending;
pub mod state;
pub mod statement;
pub mod table;
pub mod tree;

pub use bytes::{Blob, Hash, PublicKey};
pub use governance::{PERSON_KEYS_LIMIT, SLOTS_LIMIT};
