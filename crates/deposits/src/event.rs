//! What goes in.

use bitcoin::hashes::Hash as _;
use bitcoin::{Script, Transaction, Txid};
use custody::Hash;
use custody::name::Name;

use crate::coin::Coin;
use crate::node::Report;
use crate::rules::Rules;
use crate::watched::{Watched, hash};

/// Why bytes are no block.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlockError {
    /// They do not parse.
    #[error("the node sent a block that does not parse ({0}); fetch it again")]
    Malformed(String),
    /// The transactions are not those that the header commits to.
    #[error("the node sent a block whose transactions do not match its header; fetch it again")]
    MerkleRoot,
    /// The header shows no work.
    #[error("the node sent a block header without the work that it claims; check what answers as the node")]
    Work,
}

/// A block whose transactions are those of its header, and whose header shows its work. So whoever answers as
/// the node can withhold blocks but not make deposits up, short of mining.
#[derive(Clone, Debug)]
pub struct Block {
    pub(crate) height: u32,
    pub(crate) hash: Hash,
    pub(crate) previous: Hash,
    pub(crate) transactions: Vec<(Hash, Transaction)>,
}

impl Block {
    /// Reads a block in consensus encoding, which the node has at `height`.
    ///
    /// # Errors
    /// As [`Block::new`], and bytes that do not parse or are left over.
    pub fn parse(height: u32, raw: &[u8]) -> Result<Self, BlockError> {
        let block = bitcoin::consensus::deserialize(raw);
        Self::new(height, block.map_err(|error| BlockError::Malformed(error.to_string()))?)
    }

    /// Checks a block that is parsed already.
    ///
    /// # Errors
    /// A Merkle root or proof of work that does not hold.
    pub fn new(height: u32, block: bitcoin::Block) -> Result<Self, BlockError> {
        let bitcoin::Block { header, txdata } = block;
        let work = header.validate_pow(header.target()).map_err(|_| BlockError::Work)?;
        let transactions: Vec<_> = txdata.into_iter().map(|tx| (hash(tx.compute_txid()), tx)).collect();
        let txids = transactions.iter().map(|(txid, _)| Txid::from_byte_array(txid.0).to_raw_hash());
        let root = bitcoin::merkle_tree::calculate_root(txids);
        if root != Some(header.merkle_root.to_raw_hash()) {
            return Err(BlockError::MerkleRoot);
        }
        Ok(Self { height, hash: hash(work), previous: hash(header.prev_blockhash), transactions })
    }

    /// Its hash, wire byte order.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The node answered.
    Node(Report),
    /// The node did not answer.
    Gone(String),
    /// The node does not have the data of its block at this height.
    Missing(u32),
    /// A block that [`crate::Follower::next`] asked for.
    Block(&'a Block),
    /// The mempool changed.
    Mempool {
        /// The transactions that are new in it.
        added: &'a [Transaction],
        /// Those that are no longer in it, also because a block has them.
        removed: &'a [Hash],
    },
}

impl<'a> Event<'a> {
    /// The scripts of all outputs that are new by it.
    pub fn scripts(&self) -> impl Iterator<Item = &'a Script> + use<'a> {
        let (block, added): (&[(Hash, Transaction)], &[Transaction]) = match self {
            Self::Block(block) => (&block.transactions, &[]),
            Self::Mempool { added, .. } => (&[], added),
            Self::Node(_) | Self::Gone(_) | Self::Missing(_) => (&[], &[]),
        };
        let transactions = block.iter().map(|(_, transaction)| transaction).chain(added);
        transactions
            .flat_map(|transaction| &transaction.output)
            .map(|output| output.script_pubkey.as_script())
    }
}

/// What a screening says of a deposit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Screening {
    /// Nothing against it.
    Pass,
    /// A person must look, for this reason.
    Hold(String),
    /// No answer: the deposit is held.
    Unavailable,
}

/// What the institution knows and the chain does not. Answers are immediate: whoever must ask elsewhere asks
/// when a deposit is first seen, and answers [`Screening::Unavailable`] until then.
pub trait House {
    /// Whether the wallet takes deposits.
    fn wallet_open(&self, wallet: &Name) -> bool;

    /// Whether the books have the client.
    fn client_known(&self, client: &Name) -> bool;

    /// What the screening says.
    fn screen(&self, coin: &Coin) -> Screening;

    /// Whether the log allowed the transaction with this id (wire byte order).
    fn authorised(&self, txid: &Hash) -> bool;

    /// The wallet that pays the transaction with this id (wire byte order), and the index of its change address
    /// if it has change, by the log. Nothing for a transaction that the log does not know.
    fn change(&self, txid: &Hash) -> Option<(Name, Option<u32>)>;
}

/// What a step is taken with.
#[derive(Clone, Copy)]
pub struct With<'a> {
    /// The own addresses.
    pub watched: &'a Watched,
    /// Depths and least amounts.
    pub rules: &'a Rules,
    /// What else is known.
    pub house: &'a dyn House,
}

impl std::fmt::Debug for With<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("With").field("rules", self.rules).finish_non_exhaustive()
    }
}
