//! The log of a world, real books on SQLite, a desk with its files; the chain is whatever a test says.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use custody::checkpoint::{SignedNote, cosign};
use custody::document::{Document, Grant, Machine, Resume};
use custody::effects::{Branch, OutPoint, Sats};
use custody::genesis::Genesis;
use custody::state::State;
use custody::statement::{Body, Envelope};
use custody::{Blob, Hash};
use deposits::{Address, Coin, CoinKind, Deployment, Place, Spend, outpoint_text};
use fixtures::{World, key, name};
use ledger::{
    Account, Amount, Asset, Books, Code, Movement, NewTransfer, Owner, Posting, Record, RecordChange,
    RecordKind,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use wire::message::{FromCosigner, Log};

use crate::clerk::deposits::Outflow;
use crate::clerk::reconcile::{Reconcile, View};
use crate::clerk::{At, Blocking, ClerkError, declare_wallets};
use crate::desk::Desk;
use crate::machine::Keys;
use crate::node::Client;
use crate::observer::{Scanned, Unspent};
use crate::shelf::Shelf;
use crate::watch::shown;

/// A server's half that keeps books.
pub(in crate::clerk) struct Rig {
    pub(in crate::clerk) directory: TempDir,
    runtime: Runtime,
    pub(in crate::clerk) desk: Arc<Desk>,
    pub(in crate::clerk) books: Blocking,
    pub(in crate::clerk) world: World,
    pub(in crate::clerk) asset: Asset,
    pub(in crate::clerk) now: u64,
    node: Client,
    pub(super) tip: Place,
    pub(super) coins: Vec<Coin>,
    pub(super) network: Vec<Unspent>,
    pub(super) outflows: Vec<Outflow>,
}

fn enrolled(keys: &Keys, grants: &[Grant]) -> Machine {
    Machine { grants: grants.to_vec(), ..keys.machine() }
}

impl Rig {
    /// Under the newest rule set; the alarm machine may freeze, the server observe.
    pub(in crate::clerk) fn new() -> Self {
        let server = [Grant::Authorise, Grant::Allocate, Grant::Observe];
        Self::with(fixtures::newest(), &server, &[Grant::Freeze])
    }

    pub(in crate::clerk) fn with(genesis: Genesis, server: &[Grant], alarm: &[Grant]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = Keys::create(directory.path(), &name("house"), &[Grant::Authorise]).unwrap();
        let alarm_keys =
            Keys::create(&directory.path().join("alarm"), &name("siren"), &[Grant::Freeze]).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut genesis = Genesis { created_at: now, ..genesis };
        genesis.machines.push(enrolled(&keys, server));
        genesis.machines.push(enrolled(&alarm_keys, alarm));
        genesis.machines.sort_by(|a, b| a.id.cmp(&b.id));
        let world = World::open(genesis.clone());
        let asset: Asset = genesis.asset().parse().unwrap();
        let names = genesis.cosigners.iter().map(|card| card.name.clone()).collect();
        let (desk, _) = Desk::open(directory.path(), genesis, keys, names).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let books = runtime.block_on(Books::open(&address(&directory))).unwrap();
        let books = Blocking::new(books, runtime.handle().clone());
        let node = Client::new("127.0.0.1:1".parse().unwrap(), "cookie");
        let tip = Place { height: 100, block: Hash([1; 32]), connection: 0 };
        let (coins, network, outflows) = (Vec::new(), Vec::new(), Vec::new());
        let rig =
            Self { directory, runtime, desk, books, world, asset, now, node, tip, coins, network, outflows };
        rig.sync();
        declare_wallets(&rig.at()).unwrap();
        rig
    }

    /// The register in the books, as another server reads it.
    pub(in crate::clerk) fn shelf(&self) -> Arc<Shelf> {
        let (books, runtime) = (self.books.books().clone(), self.runtime.handle().clone());
        Arc::new(Shelf::new(self.world.state.genesis_hash(), books, runtime))
    }

    /// The alarm machine, as a server opens it.
    pub(in crate::clerk) fn alarm_keys(&self) -> Option<Keys> {
        Some(Keys::open(&self.directory.path().join("alarm")).unwrap())
    }

    pub(in crate::clerk) fn at(&self) -> At<'_> {
        At {
            state: &self.world.state,
            decoder: &self.world.decoder,
            node: &self.node,
            books: &self.books,
            desk: &self.desk,
            asset: &self.asset,
            now: self.now,
        }
    }

    /// Shows the server the whole log of the world.
    pub(in crate::clerk) fn sync(&self) {
        let from = self.desk.core().replica.height() + 1;
        let skip = usize::try_from(from - 1).unwrap();
        let batches = self.world.log.iter().skip(skip).map(|(batch, _)| Blob(batch.bytes())).collect();
        let body = self.world.state.checkpoint().encode().unwrap();
        let line = |who: &str| cosign(&body, who, &key(&format!("{who}/cosign")), self.world.time);
        let note = SignedNote { lines: ["s2", "s3", "w1"].map(line).to_vec(), body: body.clone() };
        let height = self.world.state.clock().height;
        let piece = Log { from, batches, height, note: note.to_string() };
        self.desk.take(&name("s1"), FromCosigner::Log(piece));
        assert_eq!(self.desk.core().replica.height(), height);
    }

    /// Statements that wait for the log.
    pub(in crate::clerk) fn waiting(&self) -> Vec<Envelope> {
        self.desk.core().pending.envelopes().cloned().collect()
    }

    /// Puts them into the log.
    pub(in crate::clerk) fn deliver(&mut self) -> Vec<Body> {
        let mut bodies = Vec::new();
        for envelope in self.waiting() {
            bodies.push(envelope.unverified().unwrap().body);
            self.world.submit(envelope).unwrap();
        }
        self.sync();
        assert!(self.waiting().is_empty());
        bodies
    }

    /// A quorum lifts all freezes.
    pub(in crate::clerk) fn resume(&mut self) {
        let freezes: Vec<Hash> = self.world.state.freezes().iter().map(|(id, _)| *id).collect();
        self.world.adopt(Document::Resume(Resume { freezes }));
        assert!(self.world.state.freezes().is_empty());
        self.sync();
    }

    pub(in crate::clerk) fn state(&self) -> &State {
        &self.world.state
    }

    pub(in crate::clerk) fn alarms(&self) -> String {
        self.desk.core().alarms.list().join("\n")
    }

    /// Opens the database again, as after a restart, or after somebody did something to its file.
    pub(in crate::clerk) fn reopen(&mut self, between: impl FnOnce(&std::path::Path)) {
        // The last connection puts the write-ahead log away when it closes; of two that close at once it may
        // be none.
        self.runtime.block_on(self.books.books().close());
        while !gone(&self.directory.path().join("books.db-wal")) {
            let again = self.runtime.block_on(Books::open(&address(&self.directory))).unwrap();
            self.runtime.block_on(again.close());
        }
        between(&self.directory.path().join("books.db"));
        let books = self.runtime.block_on(Books::open(&address(&self.directory))).unwrap();
        self.books = Blocking::new(books, self.runtime.handle().clone());
    }

    pub(in crate::clerk) fn commit(&self, transfers: Vec<NewTransfer>) {
        self.books.commit(Posting { transfers, records: Vec::new() }).unwrap();
    }

    pub(in crate::clerk) fn transfer(&self, id: &str, from: Owner, to: Owner, amount: u64, code: Code) {
        let account = |owner| Account::new(owner, &name("main"), &self.asset);
        let (debit, credit, amount) = (account(from), account(to), Amount::new(amount.into()));
        let movement = Movement::Posted { debit, credit, amount };
        self.commit(vec![NewTransfer { id: id.parse().unwrap(), movement, code, cause: "test".into() }]);
    }

    /// The number of the newest batch.
    pub(in crate::clerk) fn batches(&self) -> u64 {
        self.books.wait(self.books.books().newest()).unwrap().map_or(0, |batch| batch.seq)
    }

    /// A new best block: node, follower and books stand at it.
    pub(super) fn block(&mut self) {
        let height = self.tip.height + 1;
        let block = Hash::of("block", &height.to_be_bytes());
        self.tip = Place { height, block, connection: self.tip.connection + 1 };
        self.cursor(self.tip);
        self.scan();
    }

    pub(super) fn cursor(&self, at: Place) {
        let deployment = Deployment { genesis: Hash([2; 32]), pinned_height: 0, pinned: Hash([2; 32]) };
        let body = serde_json::json!({
            "deployment": deployment, "tip": at, "oldest": at.height, "connected": at.connection, "log": 0,
        });
        self.put(RecordKind::Cursor, "deposits", "following", body);
    }

    pub(super) fn put(&self, kind: RecordKind, id: &str, state: &str, body: serde_json::Value) {
        let expect = self.books.record(kind, id).unwrap().map_or(0, |record| record.version);
        let (state, id) = (state.to_owned(), id.to_owned());
        let change =
            RecordChange { kind, id, expect, state, client: None, external_id: None, at: self.now, body };
        self.books.commit(Posting { transfers: Vec::new(), records: vec![change] }).unwrap();
    }

    /// What the worker's scan finds at the tip.
    pub(super) fn scan(&self) {
        let Place { height, block, .. } = self.tip;
        let by_wallet = [(name("main"), self.network.clone())].into();
        let scanned = Scanned { height, block, by_wallet };
        self.desk.core().published.scanned = Some(Arc::new(scanned));
    }

    /// An output of the wallet in the best block.
    pub(super) fn output(&mut self, outpoint: OutPoint, amount: u64, branch: Branch, kind: CoinKind) -> Coin {
        let (index, amount) = (0, Sats(amount));
        let address = Address { wallet: name("main"), branch, index, client: None, retired: false };
        let coin = Coin { outpoint, amount, address, place: self.tip, needed: 3, kind, spent: None };
        self.network.push(Unspent { outpoint, amount, branch, index });
        self.coins.push(coin.clone());
        coin
    }

    /// A deposit that waits.
    pub(super) fn deposit(&mut self, number: u8, amount: u64) -> Coin {
        let outpoint = OutPoint { txid: Hash([number; 32]), vout: 0 };
        self.output(outpoint, amount, Branch::Receive, CoinKind::Open)
    }

    /// One that is credited.
    pub(super) fn credited(&mut self, number: u8, amount: u64) -> Coin {
        let coin = self.deposit(number, amount);
        self.credit(&coin)
    }

    pub(super) fn credit(&mut self, coin: &Coin) -> Coin {
        let known = self.coins.iter_mut().find(|known| known.outpoint == coin.outpoint).unwrap();
        known.kind = CoinKind::Judged;
        let coin = known.clone();
        self.transfer(&coin.id().to_string(), Owner::External, acme(), coin.amount.0, Code::Deposit);
        coin
    }

    /// A transaction in the best block spends an output and gives change.
    pub(super) fn spend(&mut self, txid: Hash, outpoint: OutPoint, change: u64) {
        let place = Some(self.tip);
        let coin = self.coins.iter_mut().find(|coin| coin.outpoint == outpoint).unwrap();
        coin.spent = Some(Spend { txid, place });
        self.network.retain(|unspent| unspent.outpoint != outpoint);
        if change > 0 {
            self.output(OutPoint { txid, vout: 1 }, change, Branch::Change, CoinKind::Change);
        }
    }

    /// A look of the clerk.
    pub(super) fn look(&self, reconcile: &mut Reconcile) -> Result<(), ClerkError> {
        self.look_at(reconcile, Ok((self.tip, self.coins.iter().collect())))
    }

    pub(super) fn look_at(
        &self,
        reconcile: &mut Reconcile,
        chain: Result<(Place, Vec<&Coin>), String>,
    ) -> Result<(), ClerkError> {
        let spent = |outpoint: &OutPoint| {
            let coin = self.coins.iter().find(|coin| coin.outpoint == *outpoint).cloned();
            let kept = self.books.record(RecordKind::Coin, &outpoint_text(outpoint))?;
            let kept = kept.map(|record| serde_json::from_value(record.change.body).unwrap());
            Ok(coin.or(kept).and_then(|coin: Coin| coin.spent).map(|spend| spend.txid))
        };
        reconcile.look(&self.at(), &View { chain, outflows: &self.outflows, spender: &spent })
    }

    /// The records of comparisons: "id state difference".
    pub(super) fn comparisons(&self) -> Vec<String> {
        let line = |record: Record| {
            let block = shown(&self.tip.block).to_string();
            let here = format!("main:{}:{}", self.tip.height, &block[48..]);
            let id = record.change.id;
            let id = if id == here { "here".to_owned() } else { id.split(':').nth(1).unwrap().to_owned() };
            format!("{id} {} {}", record.change.state, record.change.body["difference"].as_str().unwrap())
        };
        let states = ["ok", "break", "closed"];
        let all = states.map(|state| self.books.records(RecordKind::Reconciliation, state).unwrap());
        let mut all: Vec<Record> = all.into_iter().flatten().collect();
        all.sort_by_key(|record| record.opened);
        all.into_iter().map(line).collect()
    }

    /// The suspects of the open break: "what id".
    pub(super) fn suspects(&self) -> Vec<String> {
        let records = self.books.records(RecordKind::Reconciliation, "break").unwrap();
        let body = &records.last().unwrap().change.body;
        let word = |item: &serde_json::Value, field: &str| item[field].as_str().unwrap().to_owned();
        let items = body["suspects"].as_array().unwrap();
        items.iter().map(|item| format!("{} {}", word(item, "what"), word(item, "id"))).collect()
    }
}

pub(super) fn acme() -> Owner {
    Owner::Client(name("acme"))
}

pub(super) fn text(outpoint: OutPoint) -> String {
    outpoint_text(&outpoint)
}

/// Waits a moment for a file to go.
fn gone(path: &std::path::Path) -> bool {
    let start = std::time::Instant::now();
    while path.exists() && start.elapsed().as_millis() < 500 {
        std::thread::yield_now();
    }
    !path.exists()
}

fn address(directory: &TempDir) -> String {
    format!("sqlite:{}", directory.path().join("books.db").display())
}
