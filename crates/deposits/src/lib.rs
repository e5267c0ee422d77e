//! Watches a chain for clients' deposits, without a socket, a database or a clock. Files and threads are
//! [`KeyFiles`]' alone, which keeps what was derived.
//!
//! Blocks, the mempool and the condition of the node go in as [`Event`]s; out come [`Fact`]s: what was
//! seen, how deep it is, what is due for credit or must be held, what a reorganisation took back, and
//! what left. The caller writes them to the books, together with the [`Cursor`], in one commit, and
//! asks [`Follower::next`] what to fetch.
//!
//! INVARIANT: nothing becomes due while the node is not [`NodeState::Following`]: reachable, complete, on
//! the chain of the deployment, and followed up to its best block.
//!
//! Nothing here is trusted with a decision about a payment. It does move clients' money in the books, so
//! it keeps the discipline of the trusted crates.
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

mod coin;
mod derived;
mod event;
mod follower;
mod mempool;
mod node;
mod own;
mod record;
mod rules;
mod state;
mod watched;

pub use coin::{Coin, CoinKind, DepositId, Fact, HoldReason, Place, Sighting, Spend, Verdict, outpoint_text};
pub use derived::{KEYS_PER_BLOCK, KEYS_TRIED, KeyFiles};
pub use event::{Block, BlockError, Event, House, Screening, With};
pub use follower::{Cursor, Follower, Next, REMEMBERED_BLOCKS, ResumeError, SIGHTINGS_LIMIT};
pub use node::{Deployment, LAG_LIMIT_BLOCKS, NodeState, Report};
pub use own::{Own, Reading};
pub use record::{DepositRecord, HISTORY_LIMIT, Line};
pub use rules::{
    COINBASE_CONFIRMATIONS, CONFIRMATIONS_LIMIT, DEFAULT_CONFIRMATIONS, DEFAULT_LEAST, Row, Rules, RulesError,
};
pub use state::{DepositState, IllegalStep, Step, advance};
pub use watched::{Address, BYTES_PER_SLOT, OutputKey, WALLETS_LIMIT, WatchError, Watched, output_key};
