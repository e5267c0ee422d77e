//! The attacker of the tests: it holds the server's keys and database, and where an attack needs it the
//! private keys of one co-signer, and speaks the real wire to real processes.
//!
//! [`Server`] is honest until a test says otherwise; [`Hand`] is what a stolen co-signer key can do;
//! [`Scene`] is a deployment with its people, coins and payments, so that each attack stands beside its
//! unaltered twin.

mod hand;
mod scene;
mod server;

pub use hand::{Hand, session};
pub use scene::{Denied, Payment, Scene, device, now_s};
pub use server::{Letter, Server, View};
