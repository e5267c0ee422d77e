//! A node in memory: a tree of real regtest blocks, of which it follows the longest chain; and a caller
//! that does with facts what the books do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{Amount, CompactTarget, Network, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut};
use bitcoin::{Txid, Witness};
use custody::Hash;
use custody::effects::{Branch, OutPoint, Sats};
use custody::name::Name;
use deposits::{
    Address, Block, Coin, CoinKind, Cursor, Deployment, DepositId, DepositState, Event, Fact, Follower,
    House, Next, NodeState, Report, Row, Rules, Screening, Verdict, Watched, With, advance,
};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn genesis() -> Hash {
    Hash(genesis_block(Network::Regtest).block_hash().to_byte_array())
}

pub(crate) fn deployment() -> Deployment {
    Deployment { genesis: genesis(), pinned_height: 0, pinned: genesis() }
}

/// A Taproot script with a key made of a number.
pub(crate) fn script(number: u32) -> ScriptBuf {
    let key = Hash::of("deposits/test-key", &number.to_be_bytes()).0;
    ScriptBuf::from_bytes([&[0x51, 0x20], &key[..]].concat())
}

/// A transaction that spends `from` and pays scripts.
pub(crate) fn pays(from: &[OutPoint], to: &[(ScriptBuf, u64)]) -> Transaction {
    let input = |outpoint: &OutPoint| TxIn {
        previous_output: bitcoin::OutPoint::new(Txid::from_byte_array(outpoint.txid.0), outpoint.vout),
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    let output = |(script, amount): &(ScriptBuf, u64)| TxOut {
        value: Amount::from_sat(*amount),
        script_pubkey: script.clone(),
    };
    Transaction {
        version: TxVersion::TWO,
        lock_time: LockTime::ZERO,
        input: from.iter().map(input).collect(),
        output: to.iter().map(output).collect(),
    }
}

/// An output of somebody else.
pub(crate) fn foreign(number: u32) -> OutPoint {
    OutPoint { txid: Hash::of("deposits/test-foreign", &number.to_be_bytes()), vout: 0 }
}

pub(crate) fn txid(tx: &Transaction) -> Hash {
    Hash(tx.compute_txid().to_byte_array())
}

/// A block of the tree.
#[derive(Clone)]
pub(crate) struct Mined {
    pub(crate) height: u32,
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
    pub(crate) block: bitcoin::Block,
}

/// The node: all blocks, in the order in which they came.
#[derive(Clone)]
pub(crate) struct Tree {
    pub(crate) blocks: BTreeMap<Hash, Mined>,
    pub(crate) best: Hash,
    /// Blocks below have no data.
    pub(crate) lowest: u32,
    /// Headers without blocks.
    pub(crate) ahead: u32,
    pub(crate) loading: bool,
    mined: u32,
}

impl Default for Tree {
    fn default() -> Self {
        let block = genesis_block(Network::Regtest);
        let first = Mined { height: 0, hash: genesis(), parent: Hash::default(), block };
        let blocks = BTreeMap::from([(genesis(), first)]);
        Self { blocks, best: genesis(), lowest: 0, ahead: 0, loading: false, mined: 0 }
    }
}

impl Tree {
    /// Mines on top of `parent`; the longest chain is the best one, the first of equal ones.
    pub(crate) fn mine_on(&mut self, parent: Hash, transactions: Vec<Transaction>) -> Hash {
        self.mine_for(parent, ScriptBuf::new_op_return([]), transactions)
    }

    /// As [`Tree::mine_on`], with a reward for `to`.
    pub(crate) fn mine_for(&mut self, parent: Hash, to: ScriptBuf, transactions: Vec<Transaction>) -> Hash {
        self.mined += 1;
        let height = self.blocks[&parent].height + 1;
        let mut coinbase = pays(&[], &[(to, 5_000_000_000)]);
        coinbase.input.push(TxIn {
            previous_output: bitcoin::OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(self.mined.to_be_bytes().to_vec()),
            ..TxIn::default()
        });
        let txdata: Vec<_> = std::iter::once(coinbase).chain(transactions).collect();
        let block = seal(parent, height, txdata);
        let hash = Hash(block.block_hash().to_byte_array());
        self.blocks.insert(hash, Mined { height, hash, parent, block });
        if height > self.height() {
            self.best = hash;
        }
        hash
    }

    /// Mines on the best chain.
    pub(crate) fn mine(&mut self, transactions: Vec<Transaction>) -> Hash {
        self.mine_on(self.best, transactions)
    }

    pub(crate) fn mine_empty(&mut self, count: u32) {
        for _ in 0..count {
            self.mine(Vec::new());
        }
    }

    /// Replaces the last `depth` blocks by one more than that, without transactions.
    pub(crate) fn reorganise(&mut self, depth: u32) {
        let mut parent = self.ancestor(self.height() - depth);
        for _ in 0..=depth {
            parent = self.mine_on(parent, Vec::new());
        }
        assert_eq!(self.best, parent);
    }

    pub(crate) fn height(&self) -> u32 {
        self.blocks[&self.best].height
    }

    /// The block of the best chain at a height.
    pub(crate) fn ancestor(&self, height: u32) -> Hash {
        self.chain().into_iter().find(|block| block.height == height).unwrap().hash
    }

    /// The best chain, the last block first.
    pub(crate) fn chain(&self) -> Vec<&Mined> {
        let mut chain = vec![&self.blocks[&self.best]];
        while let Some(parent) = self.blocks.get(&chain[chain.len() - 1].parent) {
            chain.push(parent);
        }
        chain
    }

    pub(crate) fn report(&self) -> Report {
        let blocks = self.height();
        Report {
            genesis: genesis(),
            pinned: Some(genesis()),
            blocks,
            headers: blocks + self.ahead,
            best: self.best,
            lowest: self.lowest,
            loading: self.loading,
        }
    }
}

/// A block with work.
pub(crate) fn seal(parent: Hash, time: u32, txdata: Vec<Transaction>) -> bitcoin::Block {
    let txids = txdata.iter().map(|tx| tx.compute_txid().to_raw_hash());
    let root = bitcoin::merkle_tree::calculate_root(txids).unwrap();
    let header = |nonce| Header {
        version: Version::TWO,
        prev_blockhash: bitcoin::BlockHash::from_byte_array(parent.0),
        merkle_root: TxMerkleNode::from_raw_hash(root),
        time: 1_767_225_600 + time,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce,
    };
    let header = (0..).map(header).find(|header| header.validate_pow(header.target()).is_ok()).unwrap();
    bitcoin::Block { header, txdata }
}

/// The institution of the tests.
#[derive(Default)]
pub(crate) struct Institution {
    pub(crate) closed: BTreeSet<Name>,
    pub(crate) unknown: BTreeSet<Name>,
    pub(crate) authorised: BTreeSet<Hash>,
    /// The wallet and the change index of transactions, by the log.
    pub(crate) change: BTreeMap<Hash, (Name, Option<u32>)>,
    pub(crate) screening: RefCell<BTreeMap<Hash, Screening>>,
}

impl House for Institution {
    fn wallet_open(&self, wallet: &Name) -> bool {
        !self.closed.contains(wallet)
    }

    fn client_known(&self, client: &Name) -> bool {
        !self.unknown.contains(client)
    }

    fn screen(&self, coin: &Coin) -> Screening {
        self.screening.borrow().get(&coin.outpoint.txid).cloned().unwrap_or(Screening::Pass)
    }

    fn authorised(&self, txid: &Hash) -> bool {
        self.authorised.contains(txid)
    }

    fn change(&self, txid: &Hash) -> Option<(Name, Option<u32>)> {
        self.change.get(txid).cloned()
    }
}

/// What the caller keeps. Each step's facts and the cursor come in together.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Books {
    /// What was credited and not taken back.
    pub(crate) credits: BTreeMap<DepositId, (Name, Sats)>,
    /// Every credit that was ever made.
    pub(crate) posted: BTreeSet<DepositId>,
    pub(crate) states: BTreeMap<OutPoint, DepositState>,
    pub(crate) coins: BTreeMap<OutPoint, Coin>,
    pub(crate) cursor: Option<Cursor>,
    /// Spends in blocks that nobody allowed.
    pub(crate) alarms: BTreeSet<Hash>,
}

impl Books {
    pub(crate) fn take(&mut self, facts: &[Fact], cursor: Cursor) {
        for fact in facts {
            if let Some(step) = fact.step() {
                let state = self.states.get(&fact.outpoint());
                let next = advance(state, &step).unwrap_or_else(|error| panic!("{fact:?}: {error}"));
                self.states.insert(fact.outpoint(), next);
            }
            match fact {
                Fact::Seen(_) | Fact::Vanished { .. } => {}
                Fact::Confirming { coin, .. } | Fact::Change(coin) => self.keep(coin),
                Fact::Due { coin, verdict } => {
                    self.keep(coin);
                    if let Verdict::Credit(client) = verdict {
                        assert!(self.posted.insert(coin.id()), "credited twice: {}", coin.id());
                        self.credits.insert(coin.id(), (client.clone(), coin.amount));
                    }
                }
                Fact::TakenBack(coin) => {
                    self.coins.remove(&coin.outpoint).expect("a coin that is known");
                    let credited = self.credits.remove(&coin.id()).is_some();
                    assert!(!credited || coin.kind == CoinKind::Judged);
                }
                Fact::Spent { coin, by, authorised } => {
                    if by.place.is_some() {
                        self.keep(coin);
                        if !authorised {
                            self.alarms.insert(by.txid);
                        }
                    }
                }
                Fact::Unspent { coin, .. } => self.keep(coin),
            }
        }
        self.cursor = Some(cursor);
    }

    fn keep(&mut self, coin: &Coin) {
        self.coins.insert(coin.outpoint, coin.clone());
    }
}

/// The wallet `main`: receive addresses 0 to 7 of clients a and b in turn, 8 and 9 of nobody, change 0 and 1.
pub(crate) fn watched() -> Watched {
    let mut watched = Watched::default();
    for index in 0..10 {
        let client = (index < 8).then(|| name(if index % 2 == 0 { "a" } else { "b" }));
        watch(&mut watched, index, Branch::Receive, index, client);
    }
    for index in 0..2 {
        watch(&mut watched, CHANGE + index, Branch::Change, index, Some(name("a")));
    }
    watched
}

/// The number of the first script for change.
pub(crate) const CHANGE: u32 = 100;

fn watch(watched: &mut Watched, number: u32, branch: Branch, index: u32, client: Option<Name>) {
    let key = deposits::output_key(&script(number)).unwrap();
    let address = Address { wallet: name("main"), branch, index, client, retired: false };
    watched.insert(key, &address).unwrap();
}

/// One confirmation, three from 1,000,000 sat, five from 10,000,000 sat; at least 1,000 sat.
pub(crate) fn rules() -> Rules {
    let row = |from, confirmations| Row { wallet: name("main"), from: Sats(from), confirmations };
    let rows = [row(0, 1), row(1_000_000, 3), row(10_000_000, 5)];
    Rules::new(rows, [(name("main"), Sats(1_000))]).unwrap()
}

/// A follower, what it works with, and the books that it fills.
pub(crate) struct Bench {
    pub(crate) tree: Tree,
    pub(crate) watched: Watched,
    pub(crate) rules: Rules,
    pub(crate) house: Institution,
    pub(crate) follower: Follower,
    pub(crate) books: Books,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            tree: Tree::default(),
            watched: watched(),
            rules: rules(),
            house: Institution::default(),
            follower: Follower::start(deployment(), 0, genesis()),
            books: Books::default(),
        }
    }
}

impl Bench {
    /// One step; its facts are in the books when it returns.
    pub(crate) fn step(&mut self, event: Event<'_>) -> Vec<Fact> {
        let with = With { watched: &self.watched, rules: &self.rules, house: &self.house };
        let facts = self.follower.step(event, &with);
        let due = facts.iter().any(|fact| matches!(fact, Fact::Due { .. }));
        assert!(!due || self.follower.state() == NodeState::Following, "due while not following");
        self.books.take(&facts, self.follower.cursor());
        facts
    }

    /// Fetches one thing that the follower wants; nothing when it wants nothing.
    pub(crate) fn fetch(&mut self) -> Option<Vec<Fact>> {
        let hash = match self.follower.next() {
            Next::Wait => return None,
            Next::Height(height) => self.tree.ancestor(height),
            Next::Hash(hash) => hash,
        };
        let mined = self.tree.blocks[&hash].clone();
        assert_eq!(mined.height, self.follower.next_height());
        if mined.height < self.tree.lowest {
            return Some(self.step(Event::Missing(mined.height)));
        }
        let block = Block::new(mined.height, mined.block).unwrap();
        Some(self.step(Event::Block(&block)))
    }

    /// Tells the follower where the node is and gives it all that it wants.
    pub(crate) fn sync(&mut self) -> Vec<Fact> {
        let mut facts = self.step(Event::Node(self.tree.report()));
        while let Some(more) = self.fetch() {
            facts.extend(more);
        }
        facts
    }

    /// Mines and follows.
    pub(crate) fn mine(&mut self, transactions: Vec<Transaction>) -> Vec<Fact> {
        self.tree.mine(transactions);
        self.sync()
    }

    pub(crate) fn mempool(&mut self, added: &[Transaction], removed: &[Hash]) -> Vec<Fact> {
        self.step(Event::Mempool { added, removed })
    }

    /// The process ends and starts again from what the books have, through the text in which they keep it.
    pub(crate) fn restart(&mut self) {
        let cursor = serde_json::to_string(&self.follower.cursor()).unwrap();
        let coins = self.books.coins.values().map(|coin| serde_json::to_string(coin).unwrap());
        let coins = coins.map(|coin| serde_json::from_str::<Coin>(&coin).unwrap());
        self.follower = Follower::resume(serde_json::from_str(&cursor).unwrap(), coins).unwrap();
    }

    /// The state of a deposit, as people read it.
    pub(crate) fn state(&self, tx: &Transaction, vout: u32) -> String {
        let state = self.books.states.get(&OutPoint { txid: txid(tx), vout });
        state.map_or_else(|| "unknown".to_owned(), ToString::to_string)
    }

    /// What a client has.
    pub(crate) fn balance(&self, client: &str) -> u64 {
        let of = self.books.credits.values().filter(|(whose, _)| *whose == name(client));
        of.map(|(_, amount)| amount.0).sum()
    }
}
