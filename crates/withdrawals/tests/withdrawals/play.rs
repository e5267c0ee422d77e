//! A log, a network and books to play with, and a worker between them that may die anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use custody::Hash;
use custody::document::Model;
use custody::effects::OutPoint;
use custody::payment::Request;
use fixtures::{START, World, client, destination, name, newest};
use ledger::book::{Entry, Outcome, View, apply};
use ledger::{
    Account, Amount, Asset, Code, CommitError, Kind, Movement, NewTransfer, Owner, Posting, RecordChange,
    RecordKind, Refusal, Totals, Transfer,
};
use withdrawals::{
    Asking, Chain, Log, RENEWALS_LIMIT, Seen, Spender, Withdrawal, begin, step, step_without, unfunded,
};

/// A deployment under the newest rule set: wallet `main` of model 1P, clients `north` and `south`,
/// destinations `acme` and `beta`.
pub(crate) fn world() -> World {
    static READY: OnceLock<World> = OnceLock::new();
    let ready = || {
        let mut world = World::with(newest(), Model::OneP);
        world.adopt(client("north"));
        world.adopt(client("south"));
        world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
        world
    };
    READY.get_or_init(ready).clone()
}

/// A request of a client, or of the house.
pub(crate) fn request(world: &World, who: Option<&str>, outputs: &[(&str, u64)]) -> Request {
    Request { client: who.map(name), ..world.request(outputs) }
}

pub(crate) fn asset(world: &World) -> Asset {
    world.state.genesis().asset().parse().unwrap()
}

pub(crate) fn sats(amount: u64) -> Amount {
    Amount::new(amount.into())
}

/// Who spent what, block by block.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) blocks: Vec<Vec<(Hash, Vec<OutPoint>)>>,
    pub(crate) signed: BTreeSet<Hash>,
    pub(crate) mempool: BTreeSet<Hash>,
    pub(crate) following: bool,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), signed: BTreeSet::new(), mempool: BTreeSet::new(), following: true }
    }

    /// Mines the transaction of an authorisation, unless something in the chain excludes it.
    pub(crate) fn mine(&mut self, world: &World, authorisation: &Hash) -> bool {
        let paid = world.state.authorisations().get(authorisation).unwrap();
        let inputs = paid.transaction.inputs.iter().map(|i| i.outpoint).collect();
        self.mine_other(paid.txid, inputs)
    }

    /// Mines another transaction.
    pub(crate) fn mine_other(&mut self, txid: Hash, inputs: Vec<OutPoint>) -> bool {
        let free = inputs.iter().all(|input| self.spender(input).is_none());
        if free {
            self.blocks.push(vec![(txid, inputs)]);
        }
        free
    }

    pub(crate) fn bury(&mut self, blocks: usize) {
        self.blocks.extend(std::iter::repeat_n(Vec::new(), blocks));
    }

    pub(crate) fn reorganise(&mut self, blocks: usize) {
        self.blocks.truncate(self.blocks.len().saturating_sub(blocks));
    }

    /// Which of the transactions is how deep.
    pub(crate) fn depth(&self, txid: &Hash) -> u32 {
        let at = self.blocks.iter().position(|block| block.iter().any(|(id, _)| id == txid));
        at.map_or(0, |at| u32::try_from(self.blocks.len() - at).unwrap())
    }
}

impl Chain for Net {
    fn spender(&self, outpoint: &OutPoint) -> Option<Spender> {
        let (txid, _) = self.blocks.iter().flatten().find(|(_, inputs)| inputs.contains(outpoint))?;
        Some(Spender { txid: *txid, confirmations: self.depth(txid) })
    }

    fn signed(&self, authorisation: &Hash) -> bool {
        self.signed.contains(authorisation)
    }

    fn broadcast(&self, authorisation: &Hash) -> bool {
        self.mempool.contains(authorisation)
    }

    fn following(&self) -> bool {
        self.following
    }
}

/// Where postings go.
pub(crate) trait Store {
    fn commit(&mut self, posting: &Posting) -> Result<bool, Box<Refusal>>;
    fn records(&self) -> BTreeMap<Hash, (u64, Withdrawal)>;
}

/// The books' own judgement, without a database.
#[derive(Debug)]
pub(crate) struct Pure {
    pub(crate) view: View,
    records: BTreeMap<Hash, (u64, Withdrawal)>,
}

impl Store for Pure {
    /// Returns whether it was there before.
    fn commit(&mut self, posting: &Posting) -> Result<bool, Box<Refusal>> {
        let outcome = apply(&mut self.view, posting)?;
        for change in posting.records.iter().filter(|c| c.kind == RecordKind::Withdrawal) {
            let read: Withdrawal = serde_json::from_value(change.body.clone()).unwrap();
            self.records.insert(read.id, (change.expect + 1, read));
        }
        Ok(outcome != Outcome::Entered)
    }

    fn records(&self) -> BTreeMap<Hash, (u64, Withdrawal)> {
        self.records.clone()
    }
}

/// Books in a SQLite file, opened anew for every call.
pub(crate) struct Sqlite {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { directory: tempfile::tempdir().unwrap(), runtime }
    }

    pub(crate) fn with<T>(&self, work: impl AsyncFnOnce(&ledger::Books) -> T) -> T {
        let address = format!("sqlite:{}/books.db", self.directory.path().display());
        self.runtime.block_on(async {
            let books = ledger::Books::open(&address).await.unwrap();
            let answer = work(&books).await;
            books.close().await;
            answer
        })
    }
}

impl Store for Sqlite {
    fn commit(&mut self, posting: &Posting) -> Result<bool, Box<Refusal>> {
        match self.with(async |books| books.commit(posting.clone()).await) {
            Ok(committed) => Ok(committed.repeated),
            Err(CommitError::Refused(refusal)) => Err(Box::new(refusal)),
            Err(error) => panic!("{error}"),
        }
    }

    fn records(&self) -> BTreeMap<Hash, (u64, Withdrawal)> {
        let filter = ledger::RecordFilter {
            kind: RecordKind::Withdrawal,
            client: None,
            state: None,
            external_id: None,
        };
        let page = self.with(async |books| books.records(&filter, None, 100).await.unwrap());
        let read = |record: &ledger::Record| {
            let withdrawal = Withdrawal::of(record).unwrap();
            (withdrawal.id, (record.version, withdrawal))
        };
        page.items.iter().map(read).collect()
    }
}

/// What happens to the worker at a posting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Luck {
    /// It is entered.
    Good,
    /// The worker dies before.
    DiesBefore,
    /// The worker dies before it knows that it was entered.
    DiesAfter,
    /// Another replica sends the same.
    Twice,
}

/// A worker, and its books.
pub(crate) struct Worker<S> {
    pub(crate) store: S,
}

impl Worker<Pure> {
    pub(crate) fn pure(world: &World, deposits: &[(Owner, u64)]) -> Self {
        let store = Pure { view: View::new(START), records: BTreeMap::new() };
        let mut worker = Self { store };
        worker.open(world, deposits);
        worker
    }

    pub(crate) fn totals(&self) -> BTreeMap<Account, Totals> {
        self.store.view.accounts().map(|(account, totals)| (account.clone(), *totals)).collect()
    }

    pub(crate) fn transfers(&self) -> Vec<&Transfer> {
        let mut transfers = Vec::new();
        for entry in self.store.view.entries() {
            if let Entry::Transfer { transfer, .. } = entry {
                transfers.push(&**transfer);
            }
        }
        transfers
    }

    /// What is pending for a withdrawal by the transfers in the books.
    pub(crate) fn pending(&self, id: &Hash) -> Amount {
        let all = self.transfers();
        let ended: BTreeSet<_> = all.iter().filter_map(|t| t.kind.ends()).collect();
        let open = |t: &&&Transfer| {
            t.cause == id.to_string() && matches!(t.kind, Kind::Pending { .. }) && !ended.contains(&t.id)
        };
        Amount::new(all.iter().filter(open).map(|t| t.amount.units()).sum())
    }

    /// A transfer in the books.
    pub(crate) fn transfer(&self, id: &str) -> Option<Amount> {
        self.transfers().iter().find(|t| t.id.as_str() == id).map(|t| t.amount)
    }
}

impl<S: Store> Worker<S> {
    /// Declares the wallet, and credits what was deposited.
    pub(crate) fn open(&mut self, world: &World, deposits: &[(Owner, u64)]) {
        let (wallet, asset) = (name("main"), asset(world));
        let model = world.state.wallet(&wallet).unwrap().model;
        let records = vec![RecordChange::wallet(&wallet, model.into(), START)];
        self.store.commit(&Posting { transfers: Vec::new(), records }).unwrap();
        for (place, (owner, amount)) in deposits.iter().enumerate() {
            let movement = Movement::Posted {
                debit: Account::new(Owner::External, &wallet, &asset),
                credit: Account::new(owner.clone(), &wallet, &asset),
                amount: sats(*amount),
            };
            let id = format!("deposit-{owner}-{place}").parse().unwrap();
            let transfer = NewTransfer { id, movement, code: Code::Deposit, cause: String::new() };
            self.store.commit(&Posting { transfers: vec![transfer], records: Vec::new() }).unwrap();
        }
    }

    /// What an interface does with a signed request that the log does not have yet.
    pub(crate) fn ask(&mut self, world: &World, id: Hash, request: &Request, not_after: u64) {
        let requester = custody::state::Owner::Person(name("carol"));
        let asking = Asking {
            id,
            request,
            requester: &requester,
            envelope: Some("e30=".into()),
            not_after: Some(not_after),
        };
        let (withdrawal, hold) =
            begin(&world.state, &world.decoder, &asking, &asset(world), world.time).unwrap();
        let records = vec![withdrawal.record_change(0, None, world.time)];
        self.store.commit(&Posting { transfers: vec![hold], records }).unwrap();
    }

    pub(crate) fn record(&self, id: &Hash) -> Withdrawal {
        self.store.records()[id].1.clone()
    }

    /// The requests that the server may propose.
    pub(crate) fn funded(&self, world: &World, net: &Net) -> BTreeSet<Hash> {
        let log = Log::of(&world.state, &world.decoder);
        let of = |(_, w): &(u64, Withdrawal)| w.funded(&log.seen(net, w, world.time));
        self.store.records().values().flat_map(of).collect()
    }

    /// Works until nothing changes. Returns false when it died.
    pub(crate) fn turn(&mut self, world: &World, net: &Net, luck: &mut dyn FnMut() -> Luck) -> bool {
        // One renewal may be refused at each look.
        for _ in 0..8 + RENEWALS_LIMIT {
            match self.round(world, net, luck) {
                None => return false,
                Some(false) => return true,
                Some(true) => {}
            }
        }
        panic!("it does not come to rest");
    }

    /// One look at everything. Nothing when it died, else whether something changed.
    fn round(&mut self, world: &World, net: &Net, luck: &mut dyn FnMut() -> Luck) -> Option<bool> {
        let log = Log::of(&world.state, &world.decoder);
        let (known, mut changed) = (self.store.records(), false);
        for (lineage, _) in log.lineages().filter(|(lineage, _)| !known.contains_key(lineage)) {
            let record = world.state.requests().get(&lineage).unwrap();
            let asking = Asking::logged(lineage, record);
            let (withdrawal, hold) =
                begin(&world.state, &world.decoder, &asking, &asset(world), world.time).unwrap();
            let without = |why: &str| (unfunded(withdrawal.clone(), why, world.time), Vec::new());
            self.write(world, 0, (withdrawal.clone(), vec![hold]), without, luck)?;
            changed = true;
        }
        for (version, old) in known.values() {
            let seen = log.seen(net, old, world.time);
            let Some(next) = step(old, &seen) else { continue };
            assert_eq!(step(&next.withdrawal, &seen), None, "taken twice it is nothing the second time");
            let tried = next.transfers.clone();
            let without = |why: &str| {
                let next = step_without(old, &seen, why).unwrap();
                let again = step(&next.withdrawal, &seen);
                assert!(
                    again.is_none_or(|again| again.transfers != tried),
                    "what was refused is not tried again"
                );
                (next.withdrawal, next.transfers)
            };
            self.write(world, *version, (next.withdrawal, next.transfers), without, luck)?;
            changed = true;
        }
        Some(changed)
    }

    fn write(
        &mut self,
        world: &World,
        expect: u64,
        (withdrawal, transfers): (Withdrawal, Vec<NewTransfer>),
        without: impl FnOnce(&str) -> (Withdrawal, Vec<NewTransfer>),
        luck: &mut dyn FnMut() -> Luck,
    ) -> Option<()> {
        let posting = |(withdrawal, transfers): (Withdrawal, Vec<NewTransfer>)| {
            let records = vec![withdrawal.record_change(expect, None, world.time)];
            Posting { transfers, records }
        };
        let luck = luck();
        if luck == Luck::DiesBefore {
            return None;
        }
        let mut posting_made = posting((withdrawal, transfers));
        match self.store.commit(&posting_made) {
            Ok(repeated) => assert!(!repeated),
            Err(refusal) if matches!(*refusal, Refusal::Overdraft { .. }) => {
                posting_made = posting(without(&refusal.to_string()));
                assert!(!self.store.commit(&posting_made).unwrap());
            }
            Err(refusal) => panic!("{refusal}"),
        }
        if luck == Luck::Twice {
            assert!(self.store.commit(&posting_made).unwrap(), "it is found");
        }
        (luck != Luck::DiesAfter).then_some(())
    }
}

/// What is seen of a withdrawal.
pub(crate) fn seen(world: &World, net: &Net, withdrawal: &Withdrawal) -> Seen {
    Seen::of(&world.state, &world.decoder, net, withdrawal, world.time)
}
