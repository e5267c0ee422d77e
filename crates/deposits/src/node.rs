//! The condition of the node, as far as credits depend on it.

use std::fmt;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use custody::Hash;
use serde::{Deserialize, Serialize};

/// How many headers a node may have above its best block and still be followed: it knows a header some
/// seconds before its block.
pub const LAG_LIMIT_BLOCKS: u32 = 1;

/// What tells the chain of a deployment from others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The hash of its first block, wire byte order.
    pub genesis: Hash,
    /// The height of the header that the log pins.
    pub pinned_height: u32,
    /// The hash of that header, wire byte order.
    pub pinned: Hash,
}

/// What a node says of itself (Bitcoin Core: `getblockchaininfo`, `getblockhash`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Its first block.
    pub genesis: Hash,
    /// Its block at [`Deployment::pinned_height`], if it has so many.
    pub pinned: Option<Hash>,
    /// The height of its best block.
    pub blocks: u32,
    /// The height of its best header.
    pub headers: u32,
    /// Its best block.
    pub best: Hash,
    /// The lowest block that it still has; 0 when it keeps all.
    pub lowest: u32,
    /// Whether it still loads the chain.
    pub loading: bool,
}

/// Whether the node can be followed. [`fmt::Display`] is a sentence for the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// Nothing was heard of it since the start.
    Unknown,
    /// All its blocks are known. The only state in which anything is credited.
    Following,
    /// It has blocks that were not looked at yet.
    CatchingUp {
        /// The last block that was looked at.
        at: u32,
        /// Its best block.
        best: u32,
    },
    /// It does not have all blocks that it should have.
    Lagging {
        /// Its best block.
        blocks: u32,
        /// What it should have.
        should: u32,
    },
    /// It does not answer.
    Gone {
        /// The last error.
        why: String,
    },
    /// It follows another chain.
    OtherChain {
        /// The height at which it differs.
        height: u32,
        /// What the deployment has there.
        expected: Hash,
        /// What the node has there.
        found: Option<Hash>,
    },
    /// It has thrown away a block that is needed.
    Pruned {
        /// The height of that block.
        needed: u32,
    },
    /// Its chain parts from what is remembered below the oldest remembered block.
    Lost {
        /// The height of that block.
        oldest: u32,
    },
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |hash: &Hash| BlockHash::from_byte_array(hash.0);
        match self {
            Self::Unknown => write!(f, "the node was not asked yet; nothing is credited until it answers"),
            Self::Following => write!(f, "the node is followed up to its best block"),
            Self::CatchingUp { at, best } => {
                write!(f, "block {at} of {best} was looked at; deposits are credited after the last one")
            }
            Self::Lagging { blocks, should } => write!(
                f,
                "the node is at block {blocks} of {should}; nothing is credited until it has caught up: wait, \
                 or look at its peers and disk"
            ),
            Self::Gone { why } => {
                write!(f, "the node does not answer ({why}); nothing is credited: start it, or name another")
            }
            Self::OtherChain { height, expected, found } => {
                let found =
                    found.as_ref().map_or_else(|| "nothing".to_owned(), |hash| shown(hash).to_string());
                let expected = shown(expected);
                write!(
                    f,
                    "the node follows another chain: block {height} is {found}, this deployment has {expected}; \
                     nothing is credited: name a node of the right network"
                )
            }
            Self::Pruned { needed } => write!(
                f,
                "the node has pruned block {needed}, which was not looked at; nothing is credited: name a node \
                 that has it, and let this one keep more"
            ),
            Self::Lost { oldest } => write!(
                f,
                "the chain was reorganised below block {oldest}, the oldest that is remembered; nothing is \
                 credited until an operator makes sure which chain is right and starts a rescan"
            ),
        }
    }
}
