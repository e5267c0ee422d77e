//! Every secret of Keyward: seeds, key shares, threshold signing, sealing, and the key files of
//! people and co-signers. The server never links this crate.
//!
//! There is no function here that signs bytes or a hash from outside. A chain key signs a
//! [`chain::Digest`], which only a decoded transaction gives, or an activation challenge that this
//! crate encodes itself; every other key signs one purpose under one domain tag (`P4`).
//!
//! Secrets rest in [`locked::LockedBytes`]. While a key is being used, parts of it also pass
//! through registers and the stack. A ceremony works on [`locked::on_locked_stack`], which is wiped as a
//! whole, under [`locked::WipingAllocator`]; a co-signer has that allocator too.

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

pub mod cosigner;
pub mod device;
mod hd;
pub mod hedged;
pub mod lockbox;
pub mod locked;
pub mod purpose;
pub mod reshare;
pub mod round;
pub mod seal;
pub mod seed;
pub mod share;
pub mod vault;
