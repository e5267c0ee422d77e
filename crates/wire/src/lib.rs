//! How the programs of Keyward talk: TLS 1.3 between two keys that know each other.
//!
//! There is no certificate authority, no name and no password. Each side holds one Ed25519 key
//! ([`TlsKey`]) and shows it as a raw public key (RFC 7250); each side refuses every other key than
//! the ones that it was given (`P4`: the identity keys of genesis certify them). One cipher suite
//! family, one hybrid key exchange, no resumption, no tickets, no early data: nothing is negotiated
//! down.
//!
//! On top of TLS stand frames: a length of four bytes, big endian, and that many bytes. What the
//! bytes mean is the caller's business; [`json::decode`] reads strict JSON out of them.
//!
//! Everything blocks and nothing polls: an idle connection is a thread asleep in `read`.

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

mod connection;
mod deadline;
mod error;
pub mod json;
mod key;
mod listener;
pub mod message;
mod tls;

use std::time::Duration;

pub use connection::{Closer, Connection, Reader, Writer, connect};
pub use error::{Fault, WireError};
pub use json::{decode, encode};
pub use key::TlsKey;
pub use listener::{Allow, Listener};

/// Longest payload of a frame, in bytes (2 MiB). A batch with raw previous transactions and their
/// proofs fits with room to spare; a peer cannot make us hold more than this.
pub const MAX_FRAME_BYTES: usize = 2 * 1024 * 1024;

/// A handshake that is not over after this long is cut. It takes milliseconds between honest peers.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// A frame must be whole this long after its first byte, sent or received. Two MiB in ten seconds is
/// 1.7 Mbit/s, less than any network that a signer is run on.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(10);

/// Admitted connections that one listener holds at a time. Each costs two threads of its caller.
pub const MAX_CONNECTIONS: usize = 64;

/// Admitted connections that one listener holds at a time from one key: one in use, one that
/// replaces it, and slack for those that died unnoticed until keep-alive finds out.
pub const MAX_CONNECTIONS_PER_PEER: usize = 4;

/// Handshakes in progress at one listener. When a stranger fills them, the oldest gives way: an
/// honest peer needs its place for milliseconds, so it gets through at any rate that a flood reaches.
pub const MAX_HANDSHAKES: usize = 32;

/// A connection is probed by the kernel after this long without traffic …
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// … and again at this interval, four times, then it is dead: a peer that lost power frees its slot
/// after two minutes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
