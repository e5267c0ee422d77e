//! Everything online. Trusted with no decision: it prepares, stores and relays.
//!
//! The post office of the log (`office`, `link`, `client`), a copy of the log that is checked like
//! everybody's (`replica`), and the flow of payments (`flow`, `orders`, `watch`, carried out by
//! `worker`). The first and the third are pure; threads, sockets and the node are around them. See
//! `docs/server.md`.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

mod alarm;
// Tests include the node of `sim` as a file, which names this crate as others do.
#[cfg(test)]
extern crate self as server;

mod bookkeeping;
mod clerk;
mod client;
mod counter;
mod desk;
pub mod disk;
mod due;
pub mod flow;
mod link;
pub mod machine;
pub mod node;
mod observer;
pub mod office;
pub mod orders;
pub mod replica;
pub mod run;
pub mod shelf;
pub mod watch;
mod worker;
