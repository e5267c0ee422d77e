//! Deposits: what the node shows, into the books.
//!
//! The follower (crate `deposits`) says what the chain means; here it is fed from the node, and what it says
//! is posted. Everything in memory is made anew from the books when a posting fails or another replica was
//! faster: the record of the cursor is in each posting that changes a coin, so of two replicas one loses.

mod enter;
mod house;
mod kept;
mod known;
mod screening;
mod tip;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::ChainStatus;
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, Transaction, Txid};
use custody::Hash;
use custody::effects::{OutPoint, Sats};
use deposits::{
    Block, Coin, Deployment, Event, Fact, Follower, KeyFiles, Next, NodeState, Own, Report, Rules, Sighting,
    WatchError, With, outpoint_text,
};
use ledger::RecordKind;

use super::{At, ClerkError};
use crate::node::{Client, NodeError};
use house::Institution;
use kept::Taken;
pub(crate) use kept::standing;
use screening::Screened;
pub(crate) use tip::Tip;

/// Most blocks that one turn looks at, so that withdrawals do not wait for a node that catches up: some
/// seconds with full blocks.
const BLOCKS_PER_TURN: u32 = 20;

/// Most waiting transactions that one turn fetches: a second or so.
const FETCHES_PER_TURN: usize = 500;

/// From so many waiting transactions on the mempool is looked at less often: their list alone is megabytes.
const LARGE_MEMPOOL: usize = 5_000;

/// How often a large mempool is looked at.
const LARGE_MEMPOOL_PAUSE: Duration = Duration::from_secs(10);

/// How deposits are set up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// A file of deposits to hold; see [`Screened`].
    pub(crate) screening: Option<PathBuf>,
    /// A file of confirmations and least amounts, as [`Rules`] reads them.
    pub(crate) rules: Option<PathBuf>,
    /// The directory in which derived keys are kept; without one each start derives them anew.
    pub(crate) keys: Option<PathBuf>,
    /// A block that an operator vouches for, by height: a chain that was reorganised below all that is
    /// remembered is looked at again from there.
    pub(crate) rescan: Option<(u32, Hash)>,
}

/// Coins that left without the log allowing it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outflow {
    /// The transaction, wire byte order.
    pub(crate) txid: Hash,
    /// The output that it spends.
    pub(crate) outpoint: OutPoint,
    /// The wallet that it is of, and the amount.
    pub(crate) wallet: custody::name::Name,
    pub(crate) amount: Sats,
}

/// Follows the chain.
#[derive(Debug, Default)]
pub(crate) struct Deposits {
    screened: Screened,
    rules: Rules,
    rescan: Option<(u32, Hash)>,
    own: Arc<Own>,
    /// The log height that was looked at.
    height: Option<u64>,
    /// Nothing until it was taken up from the books.
    taken: Option<Taken>,
    /// The waiting transactions that were looked at.
    mempool: BTreeSet<Txid>,
    /// When a large mempool was looked at last.
    large: Option<Instant>,
    /// Whether the last turn ended early.
    failed: bool,
    outflows: Vec<Outflow>,
}

impl Deposits {
    /// Nothing is read but the files of the settings.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub(crate) fn new(settings: Settings) -> Result<Self, ClerkError> {
        let rules = match &settings.rules {
            Some(path) => {
                let bad = |why: String| ClerkError::Other(format!("deposit rules {}: {why}", path.display()));
                let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
                text.parse().map_err(|error: deposits::RulesError| bad(error.to_string()))?
            }
            None => Rules::default(),
        };
        Ok(Self {
            screened: Screened::new(settings.screening)?,
            rules,
            rescan: settings.rescan,
            own: Arc::new(Own::new(settings.keys.map(KeyFiles::new))),
            ..Self::default()
        })
    }

    /// The index of own scripts, for who else is asked about them.
    pub(crate) fn own(&self) -> Arc<Own> {
        Arc::clone(&self.own)
    }

    /// Looks at the node once, and posts what follows.
    ///
    /// # Errors
    /// The node or the books. The next turn goes on.
    pub(crate) fn turn(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        let done = self.follow(at);
        let status = match (&done, self.follower()) {
            (_, Some(follower)) => ChainStatus {
                height: Some(follower.tip().height),
                node: follower.state().to_string(),
                following: follower.state() == NodeState::Following,
            },
            (Err(error), None) => ChainStatus { height: None, node: error.to_string(), following: false },
            (Ok(()), None) => {
                let node = "another server was faster; where it stands is read from the books".to_owned();
                ChainStatus { height: None, node, following: false }
            }
        };
        at.desk.core().published.followed = Some(status);
        self.failed = done.is_err();
        done
    }

    /// The chain as it is followed; nothing before the books were read.
    pub(crate) fn follower(&self) -> Option<&Follower> {
        self.taken.as_ref().map(|taken| &taken.follower)
    }

    /// Whether the node has blocks that can be looked at: the next turn should not wait.
    pub(crate) fn behind(&self) -> bool {
        !self.failed && self.follower().is_some_and(|follower| follower.next() != Next::Wait)
    }

    /// Spends of own outputs that the log does not allow, since the start of the process and among all that
    /// the books still keep as spent.
    pub(crate) fn outflows(&self) -> &[Outflow] {
        &self.outflows
    }

    /// What spent an own output in the best chain: the transaction (wire byte order) and its confirmations.
    ///
    /// # Errors
    /// The books, which are asked about spends that are no longer in memory.
    pub(crate) fn spender(
        &self,
        at: &At<'_>,
        outpoint: &OutPoint,
    ) -> Result<Option<(Hash, u32)>, ClerkError> {
        let Some(follower) = self.follower() else { return Ok(None) };
        let spent = match follower.coin(outpoint) {
            Some(coin) => coin.spent,
            None => match at.books.record(RecordKind::Coin, &outpoint_text(outpoint))? {
                Some(record) if record.change.state != enter::TAKEN_BACK => kept::coin(&record)?.spent,
                _ => None,
            },
        };
        let above = follower.tip().height.saturating_add(1);
        Ok(spent.and_then(|by| Some((by.txid, above.saturating_sub(by.place?.height)))))
    }

    fn follow(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        if let Some(wrong) = self.own.take_wrong() {
            return Err(self.distrust(at, wrong));
        }
        self.watch(at)?;
        let height = at.state.clock().height;
        if self.height != Some(height) {
            self.height = Some(height);
            self.outflows.retain(|flow| !house::authorised(at.state, &flow.txid));
        }
        self.screened.reload();
        if self.taken.is_none() {
            self.take_up(at, None)?;
        }
        let Some(taken) = &mut self.taken else { return Ok(()) };
        let pinned = at.state.header();
        taken.follower.pin(pinned.height, pinned.hash);
        match report(at.node, taken.follower.deployment()) {
            Ok(report) => self.step(at, Event::Node(report))?,
            Err(error) => {
                self.step(at, Event::Gone(error.to_string()))?;
                return Err(error.into());
            }
        }
        if self.behind() {
            self.retire(at)?;
            self.blocks(at)?;
        }
        self.settle(at)?;
        match self.follower().map(Follower::state) {
            Some(NodeState::Following) => self.look_at_mempool(at),
            Some(NodeState::Lost { .. }) => self.start_rescan(at),
            _ => Ok(()),
        }
    }

    /// Watches what the log allocated since.
    fn watch(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        let watched = self.own.follow(at.state, at.decoder);
        if let Some(problem) = self.own.give_up_files() {
            eprintln!(
                "keyward-server: derived keys cannot be kept, so that the next start takes longer: {problem}"
            );
        }
        watched.map_err(|error| ClerkError::Other(error.to_string()))
    }

    /// What was read as the key of an address is not its key: nothing that was read counts any more.
    fn distrust(&mut self, at: &At<'_>, wrong: WatchError) -> ClerkError {
        let why = format!(
            "{wrong}: nothing was credited by it, and all keys are derived anew; find out who wrote to the server's \
             directory, and reconcile"
        );
        at.desk.core().alarm(why.clone());
        self.own.forget();
        self.mempool.clear();
        ClerkError::Other(why)
    }

    /// Looks at what the node has above.
    fn blocks(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        for _ in 0..BLOCKS_PER_TURN {
            let Some(follower) = self.follower() else { return Ok(()) };
            let height = follower.next_height();
            let block = match follower.next() {
                Next::Wait => return Ok(()),
                Next::Height(height) => match at.node.block_hash(height) {
                    // It has other blocks by now: the next report says which.
                    Err(NodeError::Refused { .. }) => return Ok(()),
                    found => found?,
                },
                Next::Hash(hash) => BlockHash::from_byte_array(hash.0),
            };
            let raw = match at.node.block(&block) {
                Err(NodeError::Refused { code: CODE_NO_DATA, .. }) => {
                    return self.step(at, Event::Missing(height));
                }
                raw => raw?,
            };
            let parsed = Block::parse(height, &raw);
            let parsed = parsed.map_err(|error| ClerkError::Other(error.to_string()))?;
            if parsed.hash() != Hash(block.to_byte_array()) {
                let why = format!("the node sent another block than {block}; check what answers as the node");
                return Err(ClerkError::Other(why));
            }
            self.step(at, Event::Block(&parsed))?;
        }
        Ok(())
    }

    /// Takes addresses out of use as the books say.
    fn retire(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        use custody::effects::Decoder as _;
        for record in at.books.records(RecordKind::Address, RETIRED)? {
            let script = at.decoder.address_script(&record.change.id);
            let script = script.map_err(|error| ClerkError::Other(error.to_string()))?;
            self.own.retire(bitcoin::Script::from_bytes(&script));
        }
        Ok(())
    }

    /// Shows what waits.
    fn look_at_mempool(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        if self.large.is_some_and(|looked| looked.elapsed() < LARGE_MEMPOOL_PAUSE) {
            return Ok(());
        }
        let listed: BTreeSet<Txid> = at.node.raw_mempool()?.into_iter().collect();
        self.large = (listed.len() > LARGE_MEMPOOL).then(Instant::now);
        let unknown: Vec<Txid> = listed.difference(&self.mempool).copied().collect();
        let (mut added, mut looked) = (Vec::new(), Vec::new());
        for txid in unknown.iter().take(FETCHES_PER_TURN) {
            match at.node.raw_transaction(txid, None) {
                Ok(raw) => {
                    added.extend(bitcoin::consensus::deserialize::<Transaction>(&raw).ok());
                    looked.push(*txid);
                }
                // It left since.
                Err(NodeError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let removed: Vec<Hash> =
            self.mempool.difference(&listed).map(|txid| Hash(txid.to_byte_array())).collect();
        self.mempool.retain(|txid| listed.contains(txid));
        self.mempool.extend(looked);
        self.step(at, Event::Mempool { added: &added, removed: &removed })?;
        if unknown.len() > FETCHES_PER_TURN {
            return Ok(());
        }
        // What was seen before the start and is neither waiting nor in a block is gone.
        let Some(taken) = &mut self.taken else { return Ok(()) };
        let doubtful: Vec<Sighting> = std::mem::take(&mut taken.doubtful);
        let waits = |of: &Sighting| listed.contains(&Txid::from_byte_array(of.outpoint.txid.0));
        let gone =
            doubtful.into_iter().filter(|of| !waits(of) && taken.follower.coin(&of.outpoint).is_none());
        let facts: Vec<Fact> = gone.map(|sighting| Fact::Vanished { sighting, by: None }).collect();
        self.enter(at, &facts, false)
    }

    /// Looks at the chain again from the block that the operator vouches for, if the node has it.
    fn start_rescan(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        let Some((height, block)) = self.rescan else { return Ok(()) };
        if at.node.block_hash(height)?.to_byte_array() == block.0 {
            self.take_up(at, Some((height, block)))?;
        }
        Ok(())
    }

    /// Tells the follower what happened, and posts what it says.
    fn step(&mut self, at: &At<'_>, event: Event<'_>) -> Result<(), ClerkError> {
        let own = Arc::clone(&self.own);
        let watched = own.read();
        if let Err(wrong) = event.scripts().try_for_each(|script| watched.prove(at.decoder, script)) {
            drop(watched);
            return Err(self.distrust(at, wrong));
        }
        let Some(taken) = &mut self.taken else { return Ok(()) };
        let house = Institution::new(at, &self.screened);
        let with = With { watched: &watched, rules: &self.rules, house: &house };
        let facts = taken.follower.step(event, &with);
        drop(watched);
        for fact in &facts {
            if let Fact::Spent { coin, by, authorised: false } = fact {
                self.alarm(at, coin, by.txid);
            }
        }
        self.enter(at, &facts, false)
    }

    /// Notes that coins leave that nobody approved.
    fn alarm(&mut self, at: &At<'_>, coin: &Coin, txid: Hash) {
        let Coin { outpoint, amount, address, .. } = coin;
        let flow = Outflow { txid, outpoint: *outpoint, wallet: address.wallet.clone(), amount: *amount };
        if self.outflows.contains(&flow) {
            return;
        }
        let shown = Txid::from_byte_array(txid.0);
        at.desk.core().alarm(format!(
            "UNAPPROVED OUTFLOW: transaction {shown} spends {amount} of wallet {} ({}), and the log as known here \
             does not allow it: freeze the wallet, then find out who signed",
            address.wallet,
            outpoint_text(outpoint)
        ));
        self.outflows.push(flow);
    }
}

/// The state of the record of an address that should no longer be used.
const RETIRED: &str = "retired";

/// Bitcoin Core's code when it has a header and not its block (`RPC_MISC_ERROR` of `getblock`).
const CODE_NO_DATA: i64 = -1;

/// What the node says of itself.
fn report(node: &Client, deployment: &Deployment) -> Result<Report, NodeError> {
    let info = node.chain_info()?;
    let hash = |block: BlockHash| Hash(block.to_byte_array());
    let genesis = hash(node.block_hash(0)?);
    let has = info.blocks >= deployment.pinned_height;
    let pinned = has.then(|| node.block_hash(deployment.pinned_height).map(hash)).transpose()?;
    Ok(Report {
        genesis,
        pinned,
        blocks: info.blocks,
        headers: info.headers,
        best: hash(info.best),
        lowest: info.lowest,
        loading: info.loading,
    })
}

#[cfg(test)]
pub(crate) mod tests;
