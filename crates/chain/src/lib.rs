//! The only parser of transactions.
//!
//! Everything that Keyward believes about a transaction, an address or a block of Bitcoin it has from
//! here: [`BitcoinDecoder`] reads them for the rules of `custody`, [`digest`] turns a decoded
//! transaction into what a key signs, [`finish`] attaches and verifies the signatures. The modules
//! [`build`] and [`spv`] are for the side that proposes: what they make is judged again by the reader,
//! so a mistake in them costs a refusal and never coins.
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

pub mod address;
pub mod build;
mod decoder;
pub mod digest;
pub mod finish;
mod proof;
mod raw;
pub mod spv;

pub use decoder::BitcoinDecoder;
pub use digest::Digest;
pub use proof::{MAX_BRANCH, MAX_HEADERS};
pub use raw::{MAX_PARENT_BYTES, MAX_SIGNED_VSIZE, MIN_TRANSACTION_BYTES};
