//! A house around a world of the fixtures: what is submitted is judged by the rules and in the log at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use api::{Caller, ChainStatus, Code, House, NotTaken, Recovery};
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use chain::BitcoinDecoder;
use custody::Hash;
use custody::document::{Document, Grant, Model};
use custody::name::Label;
use custody::payment::{Allocate, Request as Asked};
use custody::state::{Owner as Who, State};
use custody::statement::{Body as Says, Envelope};
use deposits::Own;
use fixtures::{World, client, machine, name, newest, public};
use http_body_util::BodyExt as _;
use ledger::{
    Account, Amount, Books, Code as For, Movement, NewTransfer, Owner, Posting, Reconciliation, RecordChange,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// The asset of regtest.
pub(crate) const ASSET: &str = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328/slip44:1";

/// What the world's requests allow as fee.
pub(crate) const FEE: u64 = 50_000;

/// The house: what it is told to fail at, it fails at.
pub(crate) struct Home {
    pub(crate) books: Books,
    pub(crate) world: Mutex<World>,
    labels: Mutex<BTreeMap<Hash, String>>,
    /// How often it was asked for words.
    pub(crate) labels_asked: AtomicU64,
    /// Takes no statement.
    pub(crate) busy: AtomicBool,
    /// Takes statements, and the log does not.
    pub(crate) deaf: AtomicBool,
    /// Has no state.
    pub(crate) blind: AtomicBool,
    /// While the lock is held it does not compare.
    pub(crate) reconciliations: Mutex<Result<Vec<Reconciliation>, String>>,
    /// How often it was asked to compare.
    pub(crate) comparisons: AtomicU64,
    /// What the server would say is due.
    pub(crate) due: Mutex<Vec<String>>,
    /// The register of recovery components, as the server would tell it.
    pub(crate) recovery: Mutex<Result<Recovery, NotTaken>>,
    /// The entries that came.
    pub(crate) published: Mutex<Vec<Vec<Value>>>,
    /// How often it was asked for addresses; while the lock is held it does not answer.
    pub(crate) allocations: Mutex<u64>,
    /// The index of own scripts.
    pub(crate) own: Arc<Own>,
    clock: Arc<AtomicU64>,
}

impl House for Home {
    fn books(&self) -> &Books {
        &self.books
    }

    fn look(&self, look: &mut dyn FnMut(&State, &BitcoinDecoder)) {
        if !self.blind.load(Ordering::SeqCst) {
            let world = self.world.lock().unwrap();
            look(&world.state, &world.decoder);
        }
    }

    fn try_look(&self, look: &mut dyn FnMut(&State, &BitcoinDecoder)) -> bool {
        // Blind, or somebody has it: the other way.
        let world = self.world.try_lock().ok().filter(|_| !self.blind.load(Ordering::SeqCst));
        world.map(|world| look(&world.state, &world.decoder)).is_some()
    }

    fn own(&self) -> Arc<Own> {
        Arc::clone(&self.own)
    }

    fn label(&self, commitment: &Hash) -> Option<String> {
        self.labels_asked.fetch_add(1, Ordering::SeqCst);
        self.labels.lock().unwrap().get(commitment).cloned()
    }

    fn submit(&self, envelope: &Envelope, labels: Vec<Label>) -> Result<(), String> {
        if self.busy.load(Ordering::SeqCst) {
            return Err("too many statements wait".into());
        }
        let labels = labels.into_iter().map(|label| (label.commitment(), label.text));
        self.labels.lock().unwrap().extend(labels);
        let mut world = self.world.lock().unwrap();
        let end = envelope.unverified().map_err(|refusal| refusal.why)?.not_after;
        if end.is_some_and(|end| end < world.state.clock().time) {
            return Ok(());
        }
        if !self.deaf.load(Ordering::SeqCst) && !world.state.consumed(&envelope.id(), end) {
            world.submit(envelope.clone()).map_err(|denied| denied.why)?;
        }
        Ok(())
    }

    fn allocate(&self, allocate: Allocate) -> Result<Hash, String> {
        *self.allocations.lock().unwrap() += 1;
        if self.busy.load(Ordering::SeqCst) {
            return Err("too many statements wait".into());
        }
        self.world.lock().unwrap().say("server", Says::Allocate(allocate)).map_err(|denied| denied.why)
    }

    fn chain(&self) -> ChainStatus {
        ChainStatus { height: Some(7), node: "followed".into(), following: true }
    }

    fn due(&self) -> Vec<String> {
        self.due.lock().unwrap().clone()
    }

    fn reconcile(&self) -> Result<Vec<Reconciliation>, String> {
        self.comparisons.fetch_add(1, Ordering::SeqCst);
        self.reconciliations.lock().unwrap().clone()
    }

    fn recovery(&self) -> Result<Recovery, NotTaken> {
        self.recovery.lock().unwrap().clone()
    }

    fn publish(&self, entries: &[Value]) -> Result<Recovery, NotTaken> {
        self.published.lock().unwrap().push(entries.to_vec());
        self.recovery.lock().unwrap().clone()
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }
}

/// An answer, taken apart.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The answer of success.
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The answer of a failure, after all that every failure must have.
    pub(crate) fn problem(self, code: Code) -> Value {
        let body = self.json();
        assert_eq!(body["code"], code.as_str(), "{}", self.text);
        self.is_problem();
        body
    }

    pub(crate) fn is_problem(&self) -> Code {
        let body = self.json();
        let code = Code::ALL.iter().find(|code| body["code"] == code.as_str()).expect("a known code");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!((self.status, &body["status"]), (code.status(), &json!(code.status())));
        assert_eq!(body["type"], format!("urn:keyward:problem:{}", code.as_str()));
        assert_eq!(body["retryable"], code.retryable());
        assert_eq!(body["title"], code.title());
        assert_eq!(body["next_step"], code.next_step());
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        assert_eq!(body["request_id"].as_str(), Some(self.headers["x-request-id"].to_str().unwrap()));
        *code
    }
}

/// A house with its books on disk.
pub(crate) struct Town {
    pub(crate) home: Arc<Home>,
    router: axum::Router,
    directory: TempDir,
}

pub(crate) fn caller(who: &str) -> Caller {
    let owner = match who {
        "erp" | "watcher" | "server" | "gate" => Who::Machine(name(who)),
        "s1" => Who::Cosigner(name(who)),
        _ => Who::Person(name(who)),
    };
    Caller { owner, tls: public(&format!("{who}/tls")) }
}

async fn open(directory: &Path, clock: &Arc<AtomicU64>) -> Books {
    let address = format!("sqlite:{}", directory.join("books.db").display());
    let clock = Arc::clone(clock);
    Books::open_with_clock(&address, move || clock.load(Ordering::SeqCst)).await.unwrap()
}

impl Town {
    /// Wallet `main` of model 1 with clients `north` and `south`; machine `erp` requests and allocates, machine
    /// `gate` only allocates.
    pub(crate) async fn new() -> Self {
        Self::of(Model::One).await
    }

    pub(crate) async fn of(model: Model) -> Self {
        let town = Self::undeclared(World::with(newest(), model)).await;
        let declared = serde_json::to_value(model).unwrap();
        let declared = ledger::Model::parse(declared.as_str().unwrap()).unwrap();
        let wallet = RecordChange::wallet(&name("main"), declared, town.home.now());
        town.home.books.commit(Posting { transfers: vec![], records: vec![wallet] }).await.unwrap();
        town
    }

    /// The books do not know the wallet.
    pub(crate) async fn undeclared(mut world: World) -> Self {
        for who in ["north", "south"] {
            world.adopt(client(who));
        }
        world.adopt(Document::Machine(machine("erp", &[Grant::Allocate, Grant::Request])));
        world.adopt(Document::Machine(machine("gate", &[Grant::Allocate])));
        let directory = TempDir::with_prefix("keyward-api").unwrap();
        let clock = Arc::new(AtomicU64::new(world.time));
        let books = open(directory.path(), &clock).await;
        Self::around(Home::of(books, world, clock), directory)
    }

    fn around(home: Home, directory: TempDir) -> Self {
        let home = Arc::new(home);
        let house: Arc<dyn House> = home.clone();
        Self { home, router: api::router(house), directory }
    }

    /// Stops the server and starts it again: the books and the log are what stays.
    pub(crate) async fn restart(self) -> Self {
        let Self { home, directory, .. } = self;
        home.books.close().await;
        let books = open(directory.path(), &home.clock).await;
        let world = home.world.lock().unwrap().clone();
        Self::around(Home::of(books, world, Arc::clone(&home.clock)), directory)
    }

    pub(crate) fn forward(&self, seconds: u64) {
        self.home.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn world<T>(&self, with: impl FnOnce(&mut World) -> T) -> T {
        with(&mut self.home.world.lock().unwrap())
    }

    /// Credits a client.
    pub(crate) async fn fund(&self, client: &str, amount: u64) {
        self.move_in(&format!("client:{client}"), amount).await;
    }

    pub(crate) async fn move_in(&self, owner: &str, amount: u64) {
        let account =
            |owner: &str| Account::new(owner.parse().unwrap(), &name("main"), &ASSET.parse().unwrap());
        let count = self.home.books.newest().await.unwrap().map_or(0, |batch| batch.last);
        let transfer = NewTransfer {
            id: format!("deposit-{count}").parse().unwrap(),
            movement: Movement::Posted {
                debit: account("external"),
                credit: account(owner),
                amount: Amount::new(amount.into()),
            },
            code: For::Deposit,
            cause: "a deposit".into(),
        };
        self.home.books.commit(Posting { transfers: vec![transfer], records: vec![] }).await.unwrap();
    }

    pub(crate) async fn available(&self, client: &str) -> String {
        let owner = Owner::Client(name(client));
        let account = Account::new(owner, &name("main"), &ASSET.parse().unwrap());
        self.home.books.account(&account).await.unwrap().available().to_string()
    }

    /// All accounts together: balances sum to zero, and what is reserved to leave is reserved to come.
    pub(crate) async fn is_sound(&self) {
        let sum = self.get("alice", "/v1/accounts?limit=200").await.ok(200);
        let of = |field: &str| -> i128 {
            let items = sum["items"].as_array().unwrap().iter();
            items.map(|item| item[field].as_str().unwrap().parse::<i128>().unwrap()).sum()
        };
        assert_eq!((of("balance"), of("reserved") - of("incoming")), (0, 0));
    }

    pub(crate) async fn ask(
        &self,
        who: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !who.is_empty() {
            request = request.extension(caller(who));
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) async fn get(&self, who: &str, path: &str) -> Answer {
        self.ask(who, "GET", path, &[], Vec::new()).await
    }

    pub(crate) async fn post(&self, who: &str, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [("idempotency-key", key)];
        self.ask(who, "POST", path, &headers, serde_json::to_vec(body).unwrap()).await
    }

    pub(crate) async fn put(&self, who: &str, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [("idempotency-key", key)];
        self.ask(who, "PUT", path, &headers, serde_json::to_vec(body).unwrap()).await
    }

    /// A request of a client to `acme`.
    pub(crate) fn request(&self, client: Option<&str>, amount: u64) -> Asked {
        let request = self.world(|world| world.request(&[("acme", amount)]));
        Asked { client: client.map(name), ..request }
    }

    /// A signed request, as it stands in a body.
    pub(crate) fn signed(&self, who: &str, request: Asked) -> Value {
        self.sign(who, Says::Request(request))
    }

    pub(crate) fn sign(&self, who: &str, body: Says) -> Value {
        let envelope = self.world(|world| world.sign(who, body));
        serde_json::from_slice(&envelope.bytes()).unwrap()
    }

    /// The ids of the requests in the log.
    pub(crate) fn requests(&self) -> BTreeSet<String> {
        self.world(|world| world.state.requests().iter().map(|(id, _)| id.to_string()).collect())
    }
}

impl Home {
    fn of(books: Books, world: World, clock: Arc<AtomicU64>) -> Self {
        Self {
            books,
            world: Mutex::new(world),
            labels: Mutex::default(),
            labels_asked: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            blind: AtomicBool::new(false),
            reconciliations: Mutex::new(Err("the node is not followed".into())),
            comparisons: AtomicU64::new(0),
            due: Mutex::default(),
            recovery: Mutex::new(Ok(Recovery { entries: 0, head: Hash([0; 32]), rows: vec![] })),
            published: Mutex::default(),
            allocations: Mutex::new(0),
            own: Arc::default(),
            clock,
        }
    }
}
