//! The key ceremony: on a machine without a network, people make a seed, derive a stock of accounts,
//! deal each as threshold shares sealed to the co-signers of genesis, erase the seed, and sign a record
//! of what was made (DACS GEN-03, GEN-09).
//!
//! Nothing that leaves is secret: the record is public, and each sealed share opens for its holder
//! alone. Randomness, time and the hash of the program are arguments; the program `keyward-ceremony`
//! knows no other source than the operating system's generator.

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

pub mod component;
pub mod entropy;
pub mod files;
pub mod hold;
pub mod record;
pub mod report;
pub mod room;
pub mod run;
pub mod script;
pub mod secrets;
pub mod sheet;
pub mod slip39;
pub mod worker;

pub use hold::{Outcome, hold};
pub use secrets::{CeremonyError, Plan};
