//! The real REST interface over real books and the log of the fixture. What is submitted is in the log at
//! once; nobody works on withdrawals.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use api::{Caller, ChainStatus, House, NotTaken, Recovery};
use chain::BitcoinDecoder;
use custody::name::Label;
use custody::payment::Allocate;
use custody::state::State;
use custody::statement::Envelope;
use custody::{Blob, Hash};
use fixtures::name;
use ledger::{
    Account, Amount, Asset, Books, Code, Movement, NewTransfer, Owner, Posting, Reconciliation, RecordChange,
    RecordKind,
};
use serde_json::{Value, json};
use server::shelf::Shelf;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wire::message::FromServer;

use super::{Deployment, Shared, now};

/// What the house is of.
struct Rooms {
    shared: Arc<Mutex<Shared>>,
    books: Books,
    compared: Mutex<Vec<Reconciliation>>,
    shelf: Shelf,
}

/// The interface, as the server reaches it for people's programs.
pub(crate) struct Office {
    runtime: Runtime,
    rooms: Arc<Rooms>,
    router: Box<dyn Fn(Asked) -> (u16, Vec<u8>) + Send + Sync>,
    /// Does what it is asked, and does not say so.
    pub(crate) mute: AtomicBool,
    /// Answers no question.
    pub(crate) away: AtomicBool,
    _dir: TempDir,
}

type Asked = (Caller, String, String, Option<String>, Option<Vec<u8>>);

impl House for Rooms {
    fn books(&self) -> &Books {
        &self.books
    }

    fn look(&self, look: &mut dyn FnMut(&State, &BitcoinDecoder)) {
        let shared = self.shared.lock().unwrap();
        look(&shared.world.state, &shared.world.decoder);
    }

    fn label(&self, commitment: &Hash) -> Option<String> {
        let shared = self.shared.lock().unwrap();
        shared.labels.iter().find(|label| label.commitment() == *commitment).map(|label| label.text.clone())
    }

    fn submit(&self, envelope: &Envelope, labels: Vec<Label>) -> Result<(), String> {
        let mut shared = self.shared.lock().unwrap();
        shared.labels.extend(labels);
        shared.world.submit(envelope.clone()).map(|_| ()).map_err(|denied| denied.why)
    }

    fn allocate(&self, _: Allocate) -> Result<Hash, String> {
        Err("not here".into())
    }

    fn chain(&self) -> ChainStatus {
        ChainStatus { height: Some(7), node: "followed".into(), following: true }
    }

    fn due(&self) -> Vec<String> {
        Vec::new()
    }

    fn reconcile(&self) -> Result<Vec<Reconciliation>, String> {
        Ok(self.compared.lock().unwrap().clone())
    }

    fn recovery(&self) -> Result<Recovery, NotTaken> {
        self.shelf.look(&self.state(), now())
    }

    fn publish(&self, entries: &[Value]) -> Result<Recovery, NotTaken> {
        self.shelf.publish(&self.state(), now(), entries)
    }

    fn now(&self) -> u64 {
        now()
    }
}

impl Rooms {
    fn state(&self) -> State {
        self.shared.lock().unwrap().world.state.clone()
    }
}

impl Office {
    /// Opens books that know wallet `main`, for this deployment.
    pub(crate) fn open(deployment: &Deployment) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let address = format!("sqlite:{}", dir.path().join("books.db").display());
        let books = runtime.block_on(Books::open(&address)).unwrap();
        let shared = Arc::clone(&deployment.shared);
        let genesis = shared.lock().unwrap().world.state.genesis_hash();
        let shelf = Shelf::new(genesis, books.clone(), runtime.handle().clone());
        let rooms = Arc::new(Rooms { shared, books, compared: Mutex::default(), shelf });
        let (router, handle) = (api::router(Arc::clone(&rooms) as _), runtime.handle().clone());
        let router = Box::new(move |(caller, method, path, key, body): Asked| {
            handle.block_on(api::answer(router.clone(), caller, &method, &path, key, body))
        });
        let office = Arc::new(Self {
            runtime,
            rooms,
            router,
            mute: AtomicBool::new(false),
            away: AtomicBool::new(false),
            _dir: dir,
        });
        office.commit(Posting {
            transfers: Vec::new(),
            records: vec![RecordChange::wallet(&name("main"), ledger::Model::One, now())],
        });
        deployment.shared.lock().unwrap().office = Some(Arc::clone(&office));
        office
    }

    /// Answers the holder of a TLS key.
    pub(crate) fn answer(
        &self,
        peer: Hash,
        method: &str,
        path: &str,
        key: Option<String>,
        body: Option<Blob>,
    ) -> FromServer {
        let late = || FromServer::Error { code: "late".into(), why: "nothing came".into() };
        if self.away.load(Ordering::SeqCst) {
            return late();
        }
        let owner = self.rooms.shared.lock().unwrap().world.state.tls_owner(&peer);
        let Some(owner) = owner else {
            return FromServer::Error { code: "unknown".into(), why: "nobody has that key".into() };
        };
        let caller = Caller { owner, tls: peer };
        let (status, body) =
            (self.router)((caller, method.to_owned(), path.to_owned(), key, body.map(|blob| blob.0)));
        if self.mute.load(Ordering::SeqCst) && method != "GET" {
            return late();
        }
        FromServer::Api { status, body: Blob(body) }
    }

    pub(crate) fn commit(&self, posting: Posting) {
        self.runtime.block_on(self.rooms.books.commit(posting)).unwrap();
    }

    /// What a worker would write: the next state of a withdrawal, by the network.
    pub(crate) fn advance(&self, id: &str, state: &str) {
        let found =
            self.runtime.block_on(self.rooms.books.record(RecordKind::Withdrawal, id)).unwrap().unwrap();
        let mut change =
            RecordChange { expect: found.version, state: state.into(), at: now(), ..found.change };
        change.body["state"] = json!({ "state": state });
        let event =
            json!({ "at": now(), "what": state, "by": "network", "height": 12, "txid": null, "note": null });
        change.body["events"].as_array_mut().unwrap().push(event);
        self.commit(Posting { transfers: Vec::new(), records: vec![change] });
    }

    /// Coins come in for an owner.
    pub(crate) fn deposit(&self, id: &str, owner: Owner, amount: u64) {
        self.commit(Posting { transfers: vec![self.coming(id, owner, amount)], records: Vec::new() });
    }

    pub(crate) fn coming(&self, id: &str, owner: Owner, amount: u64) -> NewTransfer {
        let movement = Movement::Posted {
            debit: self.account(Owner::External),
            credit: self.account(owner),
            amount: Amount::new(amount.into()),
        };
        NewTransfer { id: id.parse().unwrap(), movement, code: Code::Deposit, cause: String::new() }
    }

    /// What an owner has and may use, in base units.
    pub(crate) fn has(&self, owner: Owner) -> (String, String) {
        let account = self.account(owner);
        let totals = self.runtime.block_on(self.rooms.books.account(&account)).unwrap();
        (totals.balance().to_string(), totals.available().to_string())
    }

    pub(crate) fn asset(&self) -> Asset {
        self.rooms.shared.lock().unwrap().world.state.genesis().asset().parse().unwrap()
    }

    fn account(&self, owner: Owner) -> Account {
        Account::new(owner, &name("main"), &self.asset())
    }

    /// What the next comparison of books and network says.
    pub(crate) fn compared(&self, with: Reconciliation) {
        *self.rooms.compared.lock().unwrap() = vec![with];
    }
}
