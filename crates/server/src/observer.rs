//! What the server knows of the chain: the tip, the coins of the wallets, its own transactions. All of it
//! is the node's word; signers take none of it without a proof.

mod coins;
mod scanning;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, Txid};
use builder::Utxo;
use chain::BitcoinDecoder;
use chain::address::KeyOrigin;
use custody::document::Document;
use custody::effects::{AccountKey, Branch, ConfirmationProof, Decoder as _, OutPoint};
use custody::name::Name;
use custody::payment::{ANCHOR_DEPTH, GAP_LIMIT};
use custody::state::State;
use custody::{Blob, Hash};
use serde::Deserialize;
use serde_json::json;

use crate::desk::{Desk, now_ms};
use crate::flow::{FEE_RATE_FLOOR, FEE_RATE_LIMIT, replaced};
use crate::node::{Client, NodeError, RANGE_LIMIT, Scan};
use crate::watch::{Place, Watch, shown};
use coins::{Coins, Reach, scope};
pub(crate) use coins::{Scanned, Unspent};
use scanning::{Question, Scanning};

/// How often the node is asked for a new block, in milliseconds.
const POLL_MS: u64 = 1_000;

/// A transaction that the node refused is offered again after this long, in milliseconds.
const OFFER_AGAIN_MS: u64 = 5_000;

/// Fee rates are estimated for a confirmation within so many blocks.
const FEE_TARGET_BLOCKS: u16 = 6;

/// Blocks after which a miner's reward may be spent.
const COINBASE_MATURITY: u32 = 100;

/// Most blocks that are searched in one turn, so that a long search delays nothing else.
const SEARCH_LIMIT: u32 = 200;

/// The best block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tip {
    height: u32,
    block: BlockHash,
}

/// What the mempool said of a transaction, as of the tip.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// It is there.
    pub(crate) taken: bool,
    /// Why it is not.
    pub(crate) problem: Option<String>,
    next_ms: u64,
}

/// What the server knows of the chain.
#[derive(Debug)]
pub(crate) struct Observer {
    node: Client,
    pub(crate) watch: Watch,
    tip: Option<Tip>,
    next_poll_ms: u64,
    problem: Option<String>,
    fee_rate: u64,
    coins: Option<Coins>,
    /// The block that the coins are as of is in the best chain.
    coins_stand: bool,
    /// A scan that the node has not answered yet.
    scanning: Option<Scanning>,
    /// No scan is begun before.
    next_scan_ms: u64,
    /// Why the last one failed.
    unscanned: Option<String>,
    /// The scripts of the coins, as they were derived here. Nothing of them is kept on disk, nor taken from what the
    /// follower of deposits keeps: the reconciliation compares the two.
    scripts: BTreeMap<(Name, Branch, u32), Vec<u8>>,
    /// Headers that proofs needed, by height; read while a view of the coins is out.
    headers: RefCell<BTreeMap<u32, [u8; 80]>>,
    offers: BTreeMap<Hash, Offer>,
}

impl Observer {
    pub(crate) fn new(node: Client, places: BTreeMap<Hash, Place>) -> Self {
        let mut watch = Watch::default();
        for (id, place) in places {
            watch.found(id, place);
        }
        Self {
            node,
            watch,
            tip: None,
            next_poll_ms: 0,
            problem: None,
            fee_rate: FEE_RATE_FLOOR,
            coins: None,
            coins_stand: false,
            scanning: None,
            next_scan_ms: 0,
            unscanned: None,
            scripts: BTreeMap::new(),
            headers: RefCell::default(),
            offers: BTreeMap::new(),
        }
    }

    /// The height of the best block, while the node answers.
    pub(crate) fn tip(&self) -> Option<u32> {
        self.tip.map(|tip| tip.height)
    }

    /// The coins by wallet, and the height that they are as of: that of the last scan, without those that own
    /// transactions spent since. Nothing while its block is not in the best chain.
    pub(crate) fn coins(&self) -> Option<(&BTreeMap<Name, Vec<Utxo>>, u32)> {
        let coins = self.coins.as_ref().filter(|_| self.coins_stand);
        coins.map(|coins| (coins.by_wallet(), coins.tip().height))
    }

    /// All unspent outputs of the wallets, as of the last scan.
    pub(crate) fn scanned(&self) -> Option<Arc<Scanned>> {
        self.coins.as_ref().map(Coins::scanned)
    }

    /// Confirmed satoshi by wallet.
    pub(crate) fn balances(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.coins.iter().flat_map(Coins::balances)
    }

    /// The height that the balances are as of.
    pub(crate) fn balances_at(&self) -> Option<u32> {
        self.coins.as_ref().map(|coins| coins.tip().height)
    }

    /// The fee rate of the moment, in sat/vB.
    pub(crate) fn fee_rate(&self) -> u64 {
        self.fee_rate
    }

    /// Why the node could not be asked, if it could not.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// What the mempool said of a signed transaction.
    pub(crate) fn offered(&self, authorisation: &Hash) -> Option<&Offer> {
        self.offers.get(authorisation)
    }

    /// When to look again.
    pub(crate) fn wake_ms(&self) -> u64 {
        self.next_poll_ms
    }

    /// Asks the node for its tip when that is due, and follows up on what is new.
    pub(crate) fn look(&mut self, desk: &Arc<Desk>, state: &State, decoder: &BitcoinDecoder) {
        let failed = self.try_look(desk, state, decoder).err().map(|error| error.to_string());
        // Whatever cannot be asked now is unknown.
        self.coins_stand &= failed.is_none();
        let problem = failed.or_else(|| self.unscanned.clone());
        if let Some(text) = problem.as_ref().filter(|text| self.problem.as_ref() != Some(*text)) {
            eprintln!("keyward-server: {text}");
        }
        self.problem = problem;
    }

    fn try_look(
        &mut self,
        desk: &Arc<Desk>,
        state: &State,
        decoder: &BitcoinDecoder,
    ) -> Result<(), NodeError> {
        let now = now_ms();
        if now >= self.next_poll_ms {
            self.next_poll_ms = now.saturating_add(POLL_MS);
            let last = self.tip.take();
            let info = self.node.chain_info()?;
            let tip = Tip { height: info.blocks, block: info.best };
            if last != Some(tip) {
                self.take_tip(tip)?;
            }
            self.tip = Some(tip);
        }
        let Some(tip) = self.tip else { return Ok(()) };
        self.search_blocks(desk, state, decoder, tip)?;
        // Weak, so that a scan does not keep the desk alive.
        let desk = Arc::downgrade(desk);
        let wake = move || desk.upgrade().into_iter().for_each(|desk| desk.wake(&mut desk.core()));
        self.scan(state, decoder, tip, wake)
    }

    fn take_tip(&mut self, tip: Tip) -> Result<(), NodeError> {
        // Headers that were read before stay only as long as they are below a block that is still there.
        let headers = self.headers.get_mut();
        while let Some((height, header)) = headers.last_key_value() {
            let same = *height <= tip.height && hash_of(header) == Some(self.node.block_hash(*height)?);
            if same {
                break;
            }
            headers.pop_last();
        }
        for (id, place) in self.watch.young(tip.height) {
            if place.height > tip.height
                || self.node.block_hash(place.height)?.to_byte_array() != place.block.0
            {
                self.watch.lost(&id);
            }
        }
        let estimate = self.node.estimate_fee_per_kvb(FEE_TARGET_BLOCKS)?;
        let rate = estimate.map_or(FEE_RATE_FLOOR, |per_kvb| per_kvb.0.div_ceil(1_000));
        self.fee_rate = rate.clamp(FEE_RATE_FLOOR, FEE_RATE_LIMIT);
        for offer in self.offers.values_mut() {
            *offer = Offer { problem: offer.problem.take(), ..Offer::default() };
        }
        Ok(())
    }

    /// Looks for authorised transactions in the blocks that were not searched yet.
    fn search_blocks(
        &mut self,
        desk: &Desk,
        state: &State,
        decoder: &BitcoinDecoder,
        tip: Tip,
    ) -> Result<(), NodeError> {
        #[derive(Deserialize)]
        struct Block {
            tx: Vec<String>,
        }
        let lock_time = |id: &Hash| {
            let raw = state.authorisations().get(id).map(|a| a.transaction.raw.0.as_slice());
            raw.and_then(|raw| decoder.decode(raw).ok()).map_or(0, |effects| effects.lock_time)
        };
        let from = self.watch.begin(state, lock_time);
        let open = self.watch.open(state);
        if open.is_empty() {
            return Ok(());
        }
        let open: BTreeMap<String, Hash> =
            open.into_iter().map(|(txid, id)| (txid.to_string(), id)).collect();
        let last = tip.height.min(from.saturating_add(SEARCH_LIMIT));
        for height in from..=last {
            let block = self.node.block_hash(height)?;
            let found: Block = self.node.call("getblock", json!([block.to_string(), 1]))?;
            for id in found.tx.iter().filter_map(|txid| open.get(txid)) {
                let place = Place { height, block: Hash(block.to_byte_array()) };
                self.watch.found(*id, place.clone());
                desk.core().keep_place(*id, place);
            }
            self.watch.searched(height);
        }
        if last < tip.height {
            self.next_poll_ms = 0;
        }
        Ok(())
    }

    /// Has the coins of all wallets read when the tip or the range of indices is another, without waiting for it. Those
    /// that are there reach as far as the log does by now.
    fn scan(
        &mut self,
        state: &State,
        decoder: &BitcoinDecoder,
        tip: Tip,
        wake: impl FnOnce() + Send + 'static,
    ) -> Result<(), NodeError> {
        if let Some(answer) = self.scanning.as_ref().and_then(Scanning::answer) {
            let question = self.scanning.take().map(|scanning| scanning.question);
            let taken = question.map_or(Ok(()), |question| self.take_scan(decoder, question, answer));
            self.unscanned = taken.err().map(|error| error.to_string());
        }
        let mut wallets = Vec::new();
        let mut reach = Reach::new();
        for found in state.documents() {
            let Document::Wallet(wallet) = &found.document else { continue };
            let Some(slot) = state.slot_of(wallet) else { continue };
            for branch in [Branch::Receive, Branch::Change] {
                let end = state.next_index(&wallet.id, branch).saturating_add(GAP_LIMIT);
                reach.insert((wallet.id.clone(), branch), end);
            }
            wallets.push((wallet.id.clone(), slot.slot.account.clone()));
        }
        let at = (tip, scope(&reach));
        if let Some(coins) = &mut self.coins {
            let newest = coins.tip() == tip;
            coins.extend(reach.clone(), if newest { BTreeSet::new() } else { self.watch.spent(state) });
            // What a reorganisation took back is no coin, and whatever cannot be asked now is unknown.
            let of = coins.tip();
            self.coins_stand = newest || self.node.block_hash(of.height).is_ok_and(|block| block == of.block);
            if coins.at == at {
                return Ok(());
            }
        }
        let now = now_ms();
        if self.scanning.is_some() || now < self.next_scan_ms {
            return Ok(());
        }
        // Whatever the node answers, and however soon, it is not asked in a loop.
        self.next_scan_ms = now.saturating_add(POLL_MS);
        let mut ranges = Vec::new();
        for (number, (id, account)) in (0..).zip(&wallets) {
            for branch in [Branch::Receive, Branch::Change] {
                let last = at.1.get(&(id.clone(), branch)).copied().unwrap_or_default();
                // An account that is no point has no addresses, and so no coins.
                let Ok(descriptor) = decoder.descriptor(account, Some(&numbered(number)), branch) else {
                    continue;
                };
                ranges.extend(within_limit(last).map(|range| (descriptor.clone(), range)));
            }
        }
        let question = Question { scope: at.1, reach, wallets };
        self.scanning = Some(Scanning::begin(&self.node, question, ranges, wake)?);
        Ok(())
    }

    /// Takes in what a scan found. It is as of the block that the node had when it began.
    fn take_scan(
        &mut self,
        decoder: &BitcoinDecoder,
        question: Question,
        answer: Result<Scan, NodeError>,
    ) -> Result<(), NodeError> {
        let (scan, Question { scope, reach, wallets }) = (answer?, question);
        let tip = Tip { height: scan.height, block: scan.best };
        let (mut found, mut scripts) = (Vec::new(), BTreeMap::new());
        for unspent in scan.unspents {
            let (id, branch, index) = self.whose(decoder, &wallets, &unspent)?;
            scripts.insert((id.clone(), branch, index), unspent.script);
            let outpoint = OutPoint { txid: Hash(unspent.txid.to_byte_array()), vout: unspent.vout };
            let depth = tip.height.saturating_add(1).saturating_sub(unspent.height);
            let ripe = !unspent.coinbase || depth >= COINBASE_MATURITY;
            let height = Some(unspent.height);
            found.push((id.clone(), Utxo { outpoint, amount: unspent.amount, branch, index, height }, ripe));
        }
        self.scripts = scripts;
        self.coins = Some(Coins::new((tip, scope), reach, found));
        Ok(())
    }

    /// Of which wallet an unspent output is, and at which index: the node says so, and the script is derived here.
    fn whose(
        &self,
        decoder: &BitcoinDecoder,
        wallets: &[(Name, AccountKey)],
        unspent: &crate::node::Unspent,
    ) -> Result<(Name, Branch, u32), NodeError> {
        let foreign = || NodeError::Malformed { what: "an unspent output of none of the descriptors" };
        let (number, branch, index) = read_origin(&unspent.descriptor).ok_or_else(foreign)?;
        let (id, account) = wallets.get(number).ok_or_else(foreign)?;
        let place = (id.clone(), branch, index);
        let own = self.scripts.get(&place) == Some(&unspent.script)
            || decoder.own_script(account, branch, index).is_ok_and(|script| script == unspent.script);
        if own { Ok(place) } else { Err(foreign()) }
    }

    /// Gives signed transactions to the node until they are in a block.
    pub(crate) fn offer(&mut self, state: &State, signed: &BTreeMap<Hash, Blob>) {
        if self.tip.is_none() {
            return;
        }
        let open: BTreeSet<Hash> = self.watch.open(state).into_values().collect();
        self.offers.retain(|id, _| open.contains(id));
        let now = now_ms();
        for (id, transaction) in signed.iter().filter(|(id, _)| open.contains(*id)) {
            let Some(authorisation) = state.authorisations().get(id) else { continue };
            let offer = self.offers.entry(*id).or_default();
            if offer.taken || now < offer.next_ms || replaced(state, id, authorisation) {
                continue;
            }
            match give(&self.node, &shown(&authorisation.txid), &transaction.0) {
                Ok(()) => *offer = Offer { taken: true, ..Offer::default() },
                Err(problem) => {
                    let next_ms = now.saturating_add(OFFER_AGAIN_MS);
                    *offer = Offer { taken: false, problem: Some(problem), next_ms };
                }
            }
        }
    }

    /// Proves that the transaction of an outpoint is confirmed in the block of a height, with the headers
    /// from the pinned one to the depth that an anchor needs; not further, for the statement must stay
    /// small.
    pub(crate) fn prove(
        &self,
        pinned: u32,
        outpoint: &OutPoint,
        height: u32,
    ) -> Result<ConfirmationProof, String> {
        let first = pinned.saturating_add(1);
        let last = height.saturating_add(ANCHOR_DEPTH).saturating_sub(1);
        let said = |error: NodeError| error.to_string();
        let (mut run, mut headers) = (Vec::new(), self.headers.borrow_mut());
        for at in first..=last {
            let header = match headers.get(&at) {
                Some(header) => *header,
                None => {
                    let block = self.node.block_hash(at).map_err(said)?;
                    let bytes = self.node.block_header(&block).map_err(said)?;
                    let header = bytes.try_into().map_err(|_| "the node sent no header".to_owned())?;
                    headers.insert(at, header);
                    header
                }
            };
            run.push(header);
        }
        let block = self.node.block_hash(height).and_then(|hash| self.node.block(&hash)).map_err(said)?;
        builder::proof::prove(&block, outpoint.txid, &run, height.saturating_sub(first))
            .map_err(|e| e.to_string())
    }
}

/// A key origin that is the number of a wallet in a scan: the node says it of each output, with the index.
fn numbered(wallet: u32) -> KeyOrigin {
    KeyOrigin { fingerprint: wallet.to_be_bytes(), hardened_path: Vec::new() }
}

/// The number, branch and index in the descriptor of an output that was found: `tr([NUMBER/BRANCH/INDEX]KEY)#SUM`.
fn read_origin(descriptor: &str) -> Option<(usize, Branch, u32)> {
    let (origin, _) = descriptor.strip_prefix("tr([")?.split_once(']')?;
    let (number, path) = origin.split_once('/')?;
    let (branch, index) = path.split_once('/')?;
    let branch = [Branch::Receive, Branch::Change].into_iter().find(|b| b.number().to_string() == branch)?;
    Some((usize::try_from(u32::from_str_radix(number, 16).ok()?).ok()?, branch, index.parse().ok()?))
}

/// All indices up to one, in as few ranges as the node takes.
fn within_limit(last: u32) -> impl Iterator<Item = RangeInclusive<u32>> {
    let firsts = std::iter::successors(Some(0_u32), |first| first.checked_add(RANGE_LIMIT));
    let firsts = firsts.take_while(move |first| *first <= last);
    firsts.map(move |first| first..=last.min(first.saturating_add(RANGE_LIMIT - 1)))
}

/// The hash of a header.
fn hash_of(header: &[u8; 80]) -> Option<BlockHash> {
    bitcoin::consensus::deserialize::<bitcoin::block::Header>(header).ok().map(|header| header.block_hash())
}

/// Gives a transaction to the node, unless it has it. The node's reason when it does not take it.
fn give(node: &Client, txid: &Txid, transaction: &[u8]) -> Result<(), String> {
    if node.mempool_entry(txid).is_ok() {
        return Ok(());
    }
    let verdict = node.test_mempool_accept(transaction).map_err(|e| e.to_string())?;
    if !verdict.allowed {
        return Err(verdict.reason.unwrap_or_else(|| "the node does not take it".into()));
    }
    node.send_raw_transaction(transaction).map(drop).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
