//! A co-signer: it agrees with the others on the log, and releases shares only for what a final head of
//! that log allows.
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

pub mod agreement;
pub mod cosigner;
pub mod journal;
pub mod mark;
pub mod process;
pub mod tendermint;
pub mod tpm;
