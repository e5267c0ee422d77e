//! What the tests are made of: a node, the log of a world, and benches that follow both into books of their own.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::{Address, BlockHash, Network, ScriptBuf, Transaction, Txid};
use custody::Hash;
use custody::document::Document;
use custody::effects::{Branch, Decoder as _, OutPoint, PinnedHeader, Sats};
use custody::payment::Allocate;
use custody::statement::Body;
use deposits::{DepositRecord, Step, outpoint_text};
use fixtures::{Account as Keys, World, client, key, name};
use ledger::{
    Account, Amount, Asset, Books, Code, Movement, NewTransfer, Owner, Posting, Record, RecordChange,
    RecordFilter, RecordKind, Transfer,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::postgres::Cluster;
use super::regtest::Node;
use super::{ChainStatus, Deposits, Settings};
use crate::clerk::{At, Blocking, Clerk, ClerkError, Setting};
use crate::desk::Desk;
use crate::node::Client;

/// Confirmations that a deposit needs.
pub(super) const NEEDED: u32 = 3;

/// What the books take for now: records of two benches are to be the same.
const NOW: u64 = 1_800_000_000;

/// Fails before a posting of this thread, as a crash would.
pub(crate) mod fuse {
    use std::cell::Cell;

    use crate::clerk::ClerkError;

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
        static COUNT: Cell<u32> = const { Cell::new(0) };
    }

    /// Lets so many postings through.
    pub(crate) fn set(left: Option<u32>) {
        LEFT.set(left);
    }

    /// How many postings there were.
    pub(crate) fn count() -> u32 {
        COUNT.get()
    }

    pub(crate) fn burn() -> Result<(), ClerkError> {
        match LEFT.get() {
            Some(0) => return Err(ClerkError::Other("crashed".into())),
            left => LEFT.set(left.map(|left| left - 1)),
        }
        COUNT.set(COUNT.get() + 1);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// Books, and what follows the chain into them.
pub(super) struct Bench {
    pub(super) deposits: Deposits,
    pub(super) settings: Settings,
    pub(super) desk: Arc<Desk>,
    /// Its clock.
    pub(super) now: u64,
    pub(super) world: World,
    client: Client,
    asset: Asset,
    books: Blocking,
    address: String,
    runtime: Runtime,
    directory: TempDir,
}

impl Bench {
    fn open(world: World, node: &Client, address: Option<String>) -> Self {
        let directory = TempDir::with_prefix("keyward-deposits-").unwrap();
        let hex = |of: &str| hex::encode(key(of).to_bytes());
        let keys = json!({"id": "server", "sign": hex("server"), "tls": hex("server/tls")});
        std::fs::write(directory.path().join("server-keys.json"), keys.to_string()).unwrap();
        let keys = crate::machine::Keys::open(directory.path()).unwrap();
        let genesis = world.state.genesis().clone();
        let asset: Asset = genesis.asset().parse().unwrap();
        let (desk, _) = Desk::open(directory.path(), genesis, keys, Vec::new()).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sqlite = || format!("sqlite:{}", directory.path().join("books.db").display());
        let address = address.unwrap_or_else(sqlite);
        let books = runtime.block_on(Books::open_with_clock(&address, || NOW)).unwrap();
        let books = Blocking::new(books, runtime.handle().clone());
        let client = Client::new(node.address(), node.cookie_file());
        std::fs::write(directory.path().join("rules"), format!("main from 0 needs {NEEDED}\n")).unwrap();
        let settings = Settings { rules: Some(directory.path().join("rules")), ..Settings::default() };
        let deposits = Deposits::new(settings.clone()).unwrap();
        let bench = Self {
            deposits,
            settings,
            desk,
            now: NOW,
            world,
            client,
            asset,
            books,
            address,
            runtime,
            directory,
        };
        crate::clerk::declare_wallets(&bench.at()).unwrap();
        bench
    }

    pub(super) fn at(&self) -> At<'_> {
        let Self { world, client: node, books, desk, asset, now, .. } = self;
        At { state: &world.state, decoder: &world.decoder, node, books, desk, asset, now: *now }
    }

    /// One turn.
    pub(super) fn once(&mut self) -> Result<(), ClerkError> {
        let Self { deposits, world, client: node, books, desk, asset, now, .. } = self;
        deposits.turn(&At {
            state: &world.state,
            decoder: &world.decoder,
            node,
            books,
            desk,
            asset,
            now: *now,
        })
    }

    /// As many turns as it takes to look at all blocks.
    pub(super) fn turn(&mut self) -> Result<(), ClerkError> {
        loop {
            self.once()?;
            if !self.deposits.behind() {
                return Ok(());
            }
        }
    }

    /// Turns that may be lost to another replica.
    pub(super) fn turns(&mut self, count: u32) {
        for _ in 0..count {
            self.turn().unwrap();
        }
    }

    /// The process ends and another one starts.
    pub(super) fn restart(&mut self) {
        self.deposits = Deposits::new(self.settings.clone()).unwrap();
    }

    /// Takes the log of another one.
    pub(super) fn follow(&mut self, other: &Self) {
        self.world = other.world.clone();
    }

    /// A clerk on these books.
    pub(super) fn clerk(&self) -> Clerk {
        let setting = Setting {
            directory: self.directory.path().to_owned(),
            asset: self.asset.clone(),
            alarm: None,
            consolidator: None,
            deposits: self.settings.clone(),
        };
        let node = Client::new(self.client.address(), self.client.cookie_file());
        Clerk::new(Arc::clone(&self.desk), self.books.clone(), node, setting).unwrap()
    }

    pub(super) fn status(&self) -> ChainStatus {
        self.desk.core().published.followed.clone().unwrap()
    }

    /// How many deposits are not judged yet.
    pub(super) fn young(&self) -> usize {
        let coins = self.deposits.follower().unwrap().coins();
        coins.filter(|coin| coin.kind == deposits::CoinKind::Open).count()
    }

    pub(super) fn balance(&self, owner: Owner) -> i128 {
        let totals = self.books.account(&Account::new(owner, &name("main"), &self.asset)).unwrap();
        totals.balance().to_string().parse().unwrap()
    }

    pub(super) fn deposit(&self, of: &OutPoint) -> DepositRecord {
        let record = self.books.record(RecordKind::Deposit, &outpoint_text(of)).unwrap().unwrap();
        let deposit: DepositRecord = serde_json::from_value(record.change.body).unwrap();
        assert_eq!(
            (record.change.state.as_str(), &record.change.client),
            (deposit.state.word(), &deposit.client)
        );
        deposit
    }

    /// Whether the books know a deposit.
    pub(super) fn has(&self, of: &OutPoint) -> bool {
        self.books.record(RecordKind::Deposit, &outpoint_text(of)).unwrap().is_some()
    }

    /// Somebody else writes the next version of a deposit, the same as before.
    pub(super) fn touch(&self, of: &OutPoint) {
        let record = self.books.record(RecordKind::Deposit, &outpoint_text(of)).unwrap().unwrap();
        self.post(Vec::new(), vec![RecordChange { expect: record.version, ..record.change }]);
    }

    pub(super) fn state(&self, of: &OutPoint) -> String {
        self.deposit(of).state.to_string()
    }

    pub(super) fn records(&self, kind: RecordKind, state: &str) -> Vec<Record> {
        self.books.records(kind, state).unwrap()
    }

    fn all_records(&self, kind: RecordKind) -> Vec<Record> {
        let filter = RecordFilter { kind, client: None, state: None, external_id: None };
        let page = self.runtime.block_on(self.books.books().records(&filter, None, 1_000)).unwrap();
        assert_eq!(page.next, None);
        page.items
    }

    pub(super) fn transfers(&self) -> Vec<Transfer> {
        let page = self.runtime.block_on(self.books.books().transfers(None, 1_000)).unwrap();
        assert_eq!(page.next, None);
        page.items.into_iter().map(|(_, transfer)| transfer).collect()
    }

    /// Everything that the books say, but for where it stands in them.
    pub(super) fn entries(&self) -> (Vec<Transfer>, Vec<RecordChange>) {
        let kinds = [RecordKind::Coin, RecordKind::Deposit, RecordKind::Cursor];
        let changes = kinds.iter().flat_map(|kind| self.all_records(*kind)).map(|record| record.change);
        // How often a cursor was written is nobody's business.
        let mut changes: Vec<_> = changes.map(|change| RecordChange { expect: 0, ..change }).collect();
        changes.sort_by_key(RecordChange::key);
        let mut transfers = self.transfers();
        transfers.sort_by(|a, b| a.id.cmp(&b.id));
        (transfers, changes)
    }

    /// What the books say of each deposit and coin, and of the accounts, without the numbers of blocks.
    pub(super) fn summary(&self) -> Vec<String> {
        let state = |record: Record| {
            let whole = ["kind", "spent", "amount"].map(|part| record.change.body[part].clone());
            format!("{} {} {whole:?}", record.change.key(), record.change.state)
        };
        let coins = self.all_records(RecordKind::Coin).into_iter();
        let mut all: Vec<_> = coins.chain(self.all_records(RecordKind::Deposit)).map(state).collect();
        all.sort();
        let owners =
            [Owner::External, Owner::Suspense, Owner::Client(name("north")), Owner::Client(name("south"))];
        all.extend(owners.map(|owner| format!("{owner} {}", self.balance(owner.clone()))));
        all
    }

    pub(super) fn script(&self, branch: Branch, index: u32) -> ScriptBuf {
        script(&self.world, branch, index)
    }

    /// A receive address: 0 to 3 are north's, 4 to 7 south's.
    pub(super) fn own(&self, index: u32) -> ScriptBuf {
        self.script(Branch::Receive, index)
    }

    pub(super) fn address(&self, index: u32) -> String {
        Address::from_script(&self.own(index), Network::Regtest).unwrap().to_string()
    }

    pub(super) fn list(&self) -> PathBuf {
        self.directory.path().join("list")
    }

    /// From now on a list of deposits to hold is given.
    pub(super) fn screen(&mut self, text: &str) {
        std::fs::write(self.list(), text).unwrap();
        self.settings.screening = Some(self.list());
        self.restart();
    }

    fn post(&self, transfers: Vec<NewTransfer>, records: Vec<RecordChange>) {
        self.books.commit(Posting { transfers, records }).unwrap();
    }

    fn moved(&self, id: &str, code: Code, from: Owner, to: Owner, amount: u64) -> NewTransfer {
        let account = |owner| Account::new(owner, &name("main"), &self.asset);
        let amount = Amount::new(amount.into());
        let movement = Movement::Posted { debit: account(from), credit: account(to), amount };
        NewTransfer { id: id.parse().unwrap(), movement, code, cause: String::new() }
    }

    /// Takes an address out of use, as the interface does.
    pub(super) fn retire(&self, index: u32) {
        let id = self.address(index);
        let (kind, state, body) = (RecordKind::Address, "retired".to_owned(), json!({}));
        let change =
            RecordChange { kind, id, expect: 0, state, client: None, external_id: None, at: NOW, body };
        self.post(Vec::new(), vec![change]);
    }

    /// Two people release a held deposit, as the interface does.
    pub(super) fn release(&self, of: &OutPoint) {
        let record = self.books.record(RecordKind::Deposit, &outpoint_text(of)).unwrap().unwrap();
        let mut deposit: DepositRecord = serde_json::from_value(record.change.body.clone()).unwrap();
        deposit.take(&Step::AskRelease(name("alice")), NOW, "person:alice").unwrap();
        deposit.take(&Step::Release(name("bob")), NOW, "person:bob").unwrap();
        let to = Owner::Client(deposit.client.clone().unwrap());
        let id = deposit.credit.clone().unwrap();
        let transfer = self.moved(&id, Code::Release, Owner::Suspense, to, deposit.amount.0);
        let (expect, body) = (record.version, serde_json::to_value(&deposit).unwrap());
        let state = deposit.state.word().to_owned();
        self.post(vec![transfer], vec![RecordChange { expect, body, state, ..record.change }]);
    }

    pub(super) fn internal(&self, from: &str, to: &str, amount: u64) {
        let of = |who: &str| Owner::Client(name(who));
        self.post(vec![self.moved("internal/1", Code::Internal, of(from), of(to), amount)], Vec::new());
    }
}

/// A bench, its node, and coins to pay it with.
pub(super) struct Rig {
    pub(super) node: Node,
    pub(super) bench: Bench,
    /// The last transaction that pays, whose coins a double spend takes.
    last: Option<Transaction>,
    rewards: u32,
    miner: u32,
    allocated: u32,
    directory: TempDir,
}

impl Deref for Rig {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.bench
    }
}

/// Blocks whose rewards can be spent when a test begins.
const REWARDS: u32 = 12;

impl Rig {
    /// Under the newest rule set.
    pub(super) fn start(engine: Engine) -> Self {
        Self::new(World::open(fixtures::newest()), engine, "")
    }

    pub(super) fn under(rules: u32) -> Self {
        let world = if rules == 1 { World::ready() } else { World::open(fixtures::newest()) };
        assert!(world.state.clock().rules >= rules);
        Self::new(world, Engine::Sqlite, "")
    }

    /// With lines for the configuration of the node.
    pub(super) fn with_node(lines: &str) -> Self {
        Self::new(World::open(fixtures::newest()), Engine::Sqlite, lines)
    }

    fn new(world: World, engine: Engine, lines: &str) -> Self {
        let directory = TempDir::with_prefix("keyward-node-").unwrap();
        std::fs::write(directory.path().join("bitcoin.conf"), lines).unwrap();
        let node = Node::start(directory.path()).unwrap();
        node.mine(100 + REWARDS, &miner(0)).unwrap();
        let bench = Bench::open(world, node.rpc(), address(engine));
        let mut rig = Self { node, bench, last: None, rewards: 0, miner: 0, allocated: 0, directory };
        if rig.world.state.clock().rules > 1 {
            rig.world.adopt(client("north"));
            rig.world.adopt(client("south"));
        }
        rig.allocate("north", 4);
        rig.allocate("south", 4);
        rig
    }

    /// Another bench on the same chain and log.
    pub(super) fn beside(&self, engine: Engine) -> Bench {
        Bench::open(self.world.clone(), self.node.rpc(), address(engine))
    }

    /// Another process on the same books.
    pub(super) fn replica(&self) -> Bench {
        Bench::open(self.world.clone(), self.node.rpc(), Some(self.address.clone()))
    }

    /// Allocates receive addresses; the first index of them.
    pub(super) fn allocate(&mut self, whose: &str, count: u32) -> u32 {
        let first = self.allocated;
        let allocate = Allocate { wallet: name("main"), client: name(whose), branch: Branch::Receive, count };
        self.world.say("server", Body::Allocate(allocate)).unwrap();
        self.allocated += count;
        first
    }

    /// The log pins another header.
    pub(super) fn pin(&mut self, height: u32, hash: Hash) {
        let bits = self.world.state.header().bits;
        self.world.adopt(Document::Header(PinnedHeader { hash, height, bits }));
    }

    pub(super) fn tip(&self) -> u32 {
        self.node.rpc().block_count().unwrap()
    }

    pub(super) fn mine(&self, blocks: u32) {
        self.node.mine(blocks, &miner(self.miner)).unwrap();
    }

    pub(super) fn mine_only(&self, transactions: &[String]) {
        self.node.mine_only(&miner(self.miner), transactions).unwrap();
    }

    pub(super) fn send(&self, tx: &Transaction) {
        self.node.rpc().send_raw_transaction(&bitcoin::consensus::serialize(tx)).unwrap();
    }

    /// Undoes the last blocks, and puts nothing in their place. What is mined afterwards pays another miner: the same
    /// block would be as invalid as before.
    pub(super) fn invalidate(&mut self, depth: u32) {
        self.miner += 1;
        let block = self.node.rpc().block_hash(self.tip() + 1 - depth).unwrap();
        self.node.rpc().call::<Value>("invalidateblock", json!([block.to_string()])).unwrap();
    }

    /// Replaces the last blocks by one more than that, without transactions.
    pub(super) fn reorganise(&mut self, depth: u32) {
        self.invalidate(depth);
        for _ in 0..=depth {
            self.mine_only(&[]);
        }
    }

    /// A transaction that spends the next reward.
    pub(super) fn pay(&mut self, to: &[(ScriptBuf, u64)]) -> Transaction {
        self.rewards += 1;
        assert!(self.rewards <= REWARDS);
        let rpc = self.node.rpc();
        let hash: BlockHash = rpc.block_hash(self.rewards).unwrap();
        let block: bitcoin::Block = bitcoin::consensus::deserialize(&rpc.block(&hash).unwrap()).unwrap();
        let reward = &block.txdata[0];
        let paid: u64 = to.iter().map(|(_, amount)| amount).sum();
        let rest = reward.output[0].value.to_sat() - paid - 20_000;
        let outputs: Vec<_> = to.iter().cloned().chain([(anyones().0, rest)]).collect();
        let from = bitcoin::OutPoint::new(reward.compute_txid(), 0);
        let tx = spend(from, &outputs);
        self.last = Some(tx.clone());
        tx
    }

    /// So many transactions that wait.
    pub(super) fn fill_mempool(&mut self, count: usize) {
        let outputs: Vec<_> = (0..count).map(|_| (anyones().0, 10_000)).collect();
        let tx = self.pay(&outputs);
        self.mine_only(&[raw(&tx)]);
        for vout in 0..u32::try_from(count).unwrap() {
            let from = bitcoin::OutPoint::new(tx.compute_txid(), vout);
            self.send(&spend(from, &[(anyones().0, 9_000)]));
        }
    }

    /// What spends the same as the last transaction and pays nobody here, as hexadecimal text.
    pub(super) fn double_spend(&self) -> String {
        let from = self.last.as_ref().unwrap().input[0].previous_output;
        raw(&spend(from, &[(anyones().0, 1_000_000)]))
    }

    /// A transaction that spends a coin of the wallet with its key, to somebody else.
    pub(super) fn steal(&self, coin: &OutPoint, amount: u64, index: u32) -> Transaction {
        let from = bitcoin::OutPoint::new(Txid::from_byte_array(coin.txid.0), coin.vout);
        let mut tx = spend(from, &[(anyones().0, amount - 1_000)]);
        tx.input[0].witness = bitcoin::Witness::new();
        let unsigned = bitcoin::consensus::serialize(&tx);
        let spent = [(self.own(index).into_bytes(), Sats(amount))];
        let digests = chain::digest::digests(&unsigned, &spent).unwrap();
        let signature = Keys::new(0).sign_child(Branch::Receive, index, digests[0].as_bytes());
        let signed = chain::finish::attach(&unsigned, &[signature]).unwrap();
        bitcoin::consensus::deserialize(&signed).unwrap()
    }

    /// Stops the node and starts one of signet on its port, with its cookie where the other one had it.
    pub(super) fn swap_for_signet(&mut self) -> Signet {
        self.node.stop();
        let directory = self.directory.path().join("other");
        std::fs::create_dir_all(&directory).unwrap();
        Signet::start(&directory, self.node.rpc())
    }
}

/// A node of another network. Ends when dropped.
pub(super) struct Signet(Child);

impl Signet {
    fn start(directory: &Path, like: &Client) -> Self {
        let mut command = Command::new(super::regtest::program().unwrap());
        command.arg(format!("-datadir={}", directory.display()));
        command.arg(format!("-rpcport={}", like.address().port()));
        command.arg(format!("-rpccookiefile={}", like.cookie_file().display()));
        command.args(["-signet", "-server=1", "-listen=0", "-connect=0", "-dnsseed=0", "-fixedseeds=0"]);
        let this = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let started = std::time::Instant::now();
        while like.block_count().is_err() {
            assert!(started.elapsed().as_secs() < 90, "signet does not answer");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        this
    }
}

impl Drop for Signet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An own script of wallet `main`.
pub(super) fn script(world: &World, branch: Branch, index: u32) -> ScriptBuf {
    ScriptBuf::from_bytes(world.decoder.own_script(&Keys::new(0).key(), branch, index).unwrap())
}

fn address(engine: Engine) -> Option<String> {
    (engine == Engine::Postgres).then(|| Cluster::shared().database())
}

/// A script that is satisfied by nothing but itself: P2WSH of OP_TRUE.
fn anyones() -> (ScriptBuf, ScriptBuf) {
    let witness = ScriptBuf::from_bytes(vec![0x51]);
    (witness.to_p2wsh(), witness)
}

/// Miners: the rewards of the first one can be spent.
fn miner(number: u32) -> String {
    let other = || ScriptBuf::from_bytes(number.to_be_bytes().to_vec()).to_p2wsh();
    let script = if number == 0 { anyones().0 } else { other() };
    Address::from_script(&script, Network::Regtest).unwrap().to_string()
}

/// Spends an output of [`anyones`].
fn spend(from: bitcoin::OutPoint, to: &[(ScriptBuf, u64)]) -> Transaction {
    let output = |(script, amount): &(ScriptBuf, u64)| bitcoin::TxOut {
        value: bitcoin::Amount::from_sat(*amount),
        script_pubkey: script.clone(),
    };
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            previous_output: from,
            sequence: bitcoin::Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: bitcoin::Witness::from_slice(&[anyones().1.as_bytes()]),
            ..Default::default()
        }],
        output: to.iter().map(output).collect(),
    }
}

pub(super) fn txid(tx: &Transaction) -> Hash {
    Hash(tx.compute_txid().to_byte_array())
}

pub(super) fn outpoint(tx: &Transaction, vout: u32) -> OutPoint {
    OutPoint { txid: txid(tx), vout }
}

/// As hexadecimal text.
pub(super) fn raw(tx: &Transaction) -> String {
    hex::encode(bitcoin::consensus::serialize(tx))
}
