//! The only parser of transactions that a decision rests on.
//!
//! Everything that Keyward believes about a transaction, an address or a block of Bitcoin it has from
//! here: [`BitcoinDecoder`] reads them for the rules of `custody`, [`digest`] turns a decoded
//! transaction into what a key signs, [`finish`] attaches and verifies the signatures. Nothing
//! here builds or proposes anything.
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
mod decoder;
pub mod digest;
pub mod finish;
mod proof;
pub mod raw;
mod shares;

pub use decoder::BitcoinDecoder;
pub use digest::Digest;
pub use proof::{HEADER_BYTES, MAX_BRANCH, MAX_HEADERS};
pub use raw::{MAX_PARENT_BYTES, MAX_SIGNED_VSIZE, MIN_TRANSACTION_BYTES};
