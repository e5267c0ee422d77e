//! The chain as it is followed: connects blocks, disconnects them, and says what follows.

mod due;
mod kept;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bitcoin::Transaction;
use custody::Hash;
use custody::effects::{Branch, OutPoint, Sats};
use custody::name::Name;

use crate::coin::{Coin, CoinKind, Fact, Place, Sighting, Spend};
use crate::event::{Block, Event, House, With};
use crate::mempool::{self, Mempool};
use crate::node::{Deployment, LAG_LIMIT_BLOCKS, NodeState, Report};
use crate::watched::Address;

pub use kept::{Cursor, ResumeError};

/// How many of the last blocks are remembered: a day of them. The deepest reorganisation of the main network
/// had 53 blocks (August 2010), and no deposit waits longer ([`crate::CONFIRMATIONS_LIMIT`]).
pub const REMEMBERED_BLOCKS: usize = 144;

/// Most outputs of one waiting transaction that are told: a block tells the rest. Each is a record of the books
/// that whoever sent the transaction may replace for next to nothing, again and again.
pub const SIGHTINGS_LIMIT: usize = 32;

/// What to fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing: wait for a new report of the node.
    Wait,
    /// The node's block at this height.
    Height(u32),
    /// The block with this hash, wire byte order, which is the parent of one that was given or the node's best.
    Hash(Hash),
}

#[derive(Debug)]
enum Heard {
    Nothing,
    Report(Report),
    Gone(String),
}

/// A block that was connected, and what to undo with it.
#[derive(Debug)]
struct Connected {
    place: Place,
    found: Vec<OutPoint>,
    spent: Vec<OutPoint>,
}

/// Follows one chain.
#[derive(Debug)]
pub struct Follower {
    deployment: Deployment,
    /// Never empty but for the time inside of a step.
    blocks: VecDeque<Connected>,
    connected: u64,
    coins: HashMap<OutPoint, Coin>,
    /// Deposits that are not deep enough, and those that are and wait until the node is followed.
    young: BTreeSet<OutPoint>,
    ripe: BTreeSet<OutPoint>,
    mempool: Mempool,
    heard: Heard,
    /// The parent of a block that did not connect, and its height.
    parent: Option<(Hash, u32)>,
    missing: Option<u32>,
    lost: bool,
}

impl Follower {
    /// Follows from a block on that is known to be right, such as the pinned header. Nothing up to it is
    /// looked at.
    pub fn start(deployment: Deployment, height: u32, block: Hash) -> Self {
        let place = Place { height, block, connection: 0 };
        let first = Connected { place, found: Vec::new(), spent: Vec::new() };
        Self {
            deployment,
            blocks: VecDeque::from([first]),
            connected: 0,
            coins: HashMap::new(),
            young: BTreeSet::new(),
            ripe: BTreeSet::new(),
            mempool: Mempool::default(),
            heard: Heard::Nothing,
            parent: None,
            missing: None,
            lost: false,
        }
    }

    /// The own outputs that it keeps.
    pub fn coins(&self) -> impl Iterator<Item = &Coin> {
        self.coins.values()
    }

    /// An own output, while it is kept: unspent, or spent in a remembered block.
    pub fn coin(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.coins.get(outpoint)
    }

    /// What tells its chain from others.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The log pins another header from now on: a node that has another block there is not listened to.
    pub fn pin(&mut self, height: u32, block: Hash) {
        (self.deployment.pinned_height, self.deployment.pinned) = (height, block);
    }

    /// The last block that was looked at.
    pub fn tip(&self) -> Place {
        let none = Place { height: 0, block: Hash::default(), connection: 0 };
        self.blocks.back().map_or(none, |block| block.place)
    }

    /// The oldest remembered height.
    fn oldest(&self) -> u32 {
        self.blocks.front().map_or(0, |block| block.place.height)
    }

    /// The remembered block at a height.
    fn at(&self, height: u32) -> Option<Hash> {
        let index = usize::try_from(height.checked_sub(self.oldest())?).ok()?;
        self.blocks.get(index).map(|block| block.place.block)
    }

    /// The condition of the node.
    pub fn state(&self) -> NodeState {
        let tip = self.tip();
        if self.lost {
            return NodeState::Lost { oldest: self.oldest() };
        }
        let report = match &self.heard {
            Heard::Nothing => return NodeState::Unknown,
            Heard::Gone(why) => return NodeState::Gone { why: why.clone() },
            Heard::Report(report) => report,
        };
        let Deployment { genesis, pinned_height, pinned } = self.deployment;
        let other = |height, expected, found| NodeState::OtherChain { height, expected, found };
        if report.genesis != genesis {
            return other(0, genesis, Some(report.genesis));
        }
        if report.blocks >= pinned_height && report.pinned != Some(pinned) {
            return other(pinned_height, pinned, report.pinned);
        }
        let behind = report.headers > report.blocks.saturating_add(LAG_LIMIT_BLOCKS);
        // It had more once: it indexes again, or somebody put an old copy of its data back.
        let fell_back = report.blocks < tip.height && self.at(report.blocks) == Some(report.best);
        let below = report.blocks < pinned_height.max(self.oldest());
        if report.loading || behind || below || fell_back {
            let had = if below || fell_back { tip.height } else { 0 };
            let should = report.headers.max(pinned_height).max(had);
            return NodeState::Lagging { blocks: report.blocks, should };
        }
        if let Some(needed) = self.missing {
            return NodeState::Pruned { needed };
        }
        if report.best == tip.block {
            return NodeState::Following;
        }
        let needed = tip.height.saturating_add(1);
        if report.lowest > needed {
            return NodeState::Pruned { needed };
        }
        NodeState::CatchingUp { at: tip.height, best: report.blocks }
    }

    /// What to fetch and to give to [`Follower::step`].
    pub fn next(&self) -> Next {
        let Heard::Report(report) = &self.heard else { return Next::Wait };
        if !self.takes_blocks() || report.best == self.tip().block {
            return Next::Wait;
        }
        let above = self.tip().height.saturating_add(1);
        match self.parent {
            Some((parent, _)) => Next::Hash(parent),
            None if report.blocks >= above => Next::Height(above),
            // A lower best block counts only of a node that is complete.
            None if matches!(self.state(), NodeState::CatchingUp { .. }) => Next::Hash(report.best),
            None => Next::Wait,
        }
    }

    /// The height of the block that [`Follower::next`] asks for by hash, for [`Block::parse`].
    pub fn next_height(&self) -> u32 {
        match (self.next(), self.parent, &self.heard) {
            (Next::Hash(_), Some((_, height)), _) => height,
            (Next::Hash(_), None, Heard::Report(report)) => report.blocks,
            _ => self.tip().height.saturating_add(1),
        }
    }

    /// A node that is on another chain or incomplete is not listened to.
    fn takes_blocks(&self) -> bool {
        use NodeState::{CatchingUp, Following, Lagging};
        matches!(self.state(), Following | CatchingUp { .. } | Lagging { .. })
    }

    /// Takes in what happened. The facts and the new [`Cursor`] belong into one commit: a follower that is
    /// resumed from before it makes the same facts again, under the same ids.
    pub fn step(&mut self, event: Event<'_>, with: &With<'_>) -> Vec<Fact> {
        let mut facts = Vec::new();
        match event {
            Event::Node(report) => {
                self.missing = self.missing.filter(|needed| report.lowest > *needed);
                // The parents of a block that is no longer the best lead nowhere.
                let same = matches!(&self.heard, Heard::Report(last) if last.best == report.best);
                self.parent = self.parent.filter(|_| same);
                self.heard = Heard::Report(report);
            }
            Event::Gone(why) => {
                self.heard = Heard::Gone(why);
                self.parent = None;
            }
            Event::Missing(height) => self.missing = Some(height),
            Event::Block(block) if self.takes_blocks() => self.block(block, with, &mut facts),
            Event::Mempool { added, removed } if self.takes_blocks() => {
                for tx in added {
                    self.waits(tx, with, &mut facts);
                }
                for txid in removed {
                    self.mempool.vanish(txid, None, &self.coins, &mut facts);
                }
            }
            Event::Block(_) | Event::Mempool { .. } => {}
        }
        if self.state() == NodeState::Following {
            self.judge(with, &mut facts);
        }
        facts
    }

    fn block(&mut self, block: &Block, with: &With<'_>, facts: &mut Vec<Fact>) {
        if self.at(block.height) == Some(block.hash) {
            return;
        }
        let Some(below) = block.height.checked_sub(1) else {
            self.lost = true;
            return;
        };
        if below > self.tip().height {
            // Blocks in between are fetched first, unless this is one that the node no longer has as its best.
            return;
        }
        if self.at(below) == Some(block.previous) {
            self.parent = None;
            while self.tip().height > below {
                self.disconnect(facts);
            }
            // What went back from a block to the mempool is seen there.
            let back: Vec<_> = facts.iter().filter_map(|fact| self.back(fact)).collect();
            facts.extend(back.into_iter().map(Fact::Seen));
            self.connect(block, with, facts);
            self.ripen(Some(facts));
        } else if below <= self.oldest() {
            self.lost = true;
        } else {
            self.parent = Some((block.previous, below));
        }
    }

    /// A deposit that was taken back and waits again.
    fn back(&self, fact: &Fact) -> Option<Sighting> {
        let Fact::TakenBack(coin) = fact else { return None };
        self.mempool.sighting(&coin.outpoint).cloned()
    }

    /// Undoes the last block.
    fn disconnect(&mut self, facts: &mut Vec<Fact>) {
        let Some(block) = self.blocks.pop_back() else { return };
        for outpoint in block.spent.iter().rev() {
            let coin = self.coins.get_mut(outpoint);
            if let Some((by, coin)) = coin.and_then(|coin| coin.spent.take().map(|by| (by, coin))) {
                facts.push(Fact::Unspent { coin: coin.clone(), by });
            }
        }
        for outpoint in block.found.iter().rev() {
            self.young.remove(outpoint);
            self.ripe.remove(outpoint);
            facts.extend(self.coins.remove(outpoint).map(Fact::TakenBack));
        }
        // What was deep enough may not be any more.
        self.young.append(&mut self.ripe);
    }

    fn connect(&mut self, block: &Block, with: &With<'_>, facts: &mut Vec<Fact>) {
        self.connected = self.connected.saturating_add(1);
        let place = Place { height: block.height, block: block.hash, connection: self.connected };
        let mut connected = Connected { place, found: Vec::new(), spent: Vec::new() };
        let mut paid: BTreeMap<(Name, Option<Name>), Sats> = BTreeMap::new();
        let mut rewards = BTreeSet::new();
        for (txid, tx) in &block.transactions {
            self.mempool.take(txid);
            self.mempool.conflicts(*txid, tx, &self.coins, facts);
            let own = self.spend(*txid, tx, place, &mut connected, with, facts);
            for sighting in mempool::sightings(*txid, tx, with.watched) {
                let outpoint = sighting.outpoint;
                // A block can repeat a transaction without changing its hash (CVE-2012-2459).
                if self.coins.contains_key(&outpoint) {
                    continue;
                }
                let change = own && is_change(&sighting, with.house);
                let kind = if change { CoinKind::Change } else { CoinKind::Open };
                if tx.is_coinbase() {
                    rewards.insert(outpoint);
                }
                if !change {
                    let whose = (sighting.address.wallet.clone(), sighting.address.client.clone());
                    let sum = paid.entry(whose).or_default();
                    sum.0 = sum.0.saturating_add(sighting.amount.0);
                }
                let coin = Coin {
                    outpoint,
                    amount: sighting.amount,
                    address: sighting.address,
                    place,
                    needed: 1,
                    kind,
                    spent: None,
                };
                self.coins.insert(outpoint, coin);
                connected.found.push(outpoint);
            }
        }
        for outpoint in &connected.found {
            let Some(coin) = self.coins.get_mut(outpoint) else { continue };
            if coin.kind == CoinKind::Change {
                facts.push(Fact::Change(coin.clone()));
                continue;
            }
            let whose = (coin.address.wallet.clone(), coin.address.client.clone());
            let sum = paid.get(&whose).copied().unwrap_or(coin.amount);
            coin.needed = with.rules.confirmations(&whose.0, sum, rewards.contains(outpoint));
            self.young.insert(*outpoint);
        }
        self.blocks.push_back(connected);
        while self.blocks.len() > REMEMBERED_BLOCKS {
            let forgotten = self.blocks.pop_front();
            for outpoint in forgotten.map(|block| block.spent).unwrap_or_default() {
                if self.coins.get(&outpoint).is_some_and(|coin| coin.kind != CoinKind::Open) {
                    self.coins.remove(&outpoint);
                }
            }
        }
    }

    /// Notes which own outputs a transaction in a block spends. Whether it spends any.
    fn spend(
        &mut self,
        txid: Hash,
        tx: &Transaction,
        place: Place,
        connected: &mut Connected,
        with: &With<'_>,
        facts: &mut Vec<Fact>,
    ) -> bool {
        let mut own = false;
        for outpoint in mempool::spends(tx) {
            let Some(coin) = self.coins.get_mut(&outpoint) else { continue };
            own = true;
            if coin.spent.is_some() {
                continue;
            }
            let by = Spend { txid, place: Some(place) };
            coin.spent = Some(by);
            connected.spent.push(outpoint);
            let authorised = with.house.authorised(&txid);
            facts.push(Fact::Spent { coin: coin.clone(), by, authorised });
        }
        own
    }

    /// A transaction is in the mempool.
    fn waits(&mut self, tx: &Transaction, with: &With<'_>, facts: &mut Vec<Fact>) {
        let txid = crate::watched::hash(tx.compute_txid());
        if self.mempool.has(&txid) {
            return;
        }
        self.mempool.conflicts(txid, tx, &self.coins, facts);
        let spent: Vec<Coin> =
            mempool::spends(tx).filter_map(|outpoint| self.coins.get(&outpoint).cloned()).collect();
        let mut found = mempool::sightings(txid, tx, with.watched);
        // Change waits there most of the time. What else pays such an address its block will tell, and what is
        // held anyway for being too small.
        found.retain(|Sighting { address, amount, .. }| {
            address.branch == Branch::Receive && *amount >= with.rules.least(&address.wallet)
        });
        found.truncate(SIGHTINGS_LIMIT);
        if found.is_empty() && spent.is_empty() {
            return;
        }
        for coin in spent.into_iter().filter(|coin| coin.spent.is_none()) {
            let authorised = with.house.authorised(&txid);
            facts.push(Fact::Spent { coin, by: Spend { txid, place: None }, authorised });
        }
        // Blocks and the mempool are read at different moments: a block may have it already.
        let new = found.iter().filter(|sighting| !self.coins.contains_key(&sighting.outpoint));
        facts.extend(new.cloned().map(Fact::Seen));
        self.mempool.add(txid, tx, found);
    }
}

/// Whether an output of a transaction that spends own coins is its change. A client may be paid to an address
/// that was change before, so of a transaction that the log knows only what it says is change.
fn is_change(of: &Sighting, house: &dyn House) -> bool {
    let Address { wallet, branch, index, .. } = &of.address;
    let said = || house.change(&of.outpoint.txid);
    *branch == Branch::Change && said().is_none_or(|(of, at)| of == *wallet && at == Some(*index))
}

#[cfg(test)]
mod tests {
    /// A deposit that is judged as soon as it may be is judged while its block is remembered.
    #[test]
    fn whatever_confirms_is_remembered() {
        assert!(crate::CONFIRMATIONS_LIMIT as usize <= super::REMEMBERED_BLOCKS);
    }
}
