//! What the tests of both engines share.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod postgres;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use custody::name::Name;
use ledger::{
    Account, Amount, Asset, Books, Code, CommitError, Committed, Model, Movement, NewTransfer, Owner,
    Posting, Record, RecordChange, RecordKind, Refusal,
};
use postgres::Cluster;
use tempfile::TempDir;

/// A date in 2027, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

/// A fresh database of either engine, gone with this value.
pub(crate) struct Database {
    pub(crate) address: String,
    directory: Option<TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let directory = TempDir::with_prefix("keyward-ledger").unwrap();
        let address = format!("sqlite:{}", directory.path().join("books.db").display());
        Self { address, directory: Some(directory) }
    }

    pub(crate) fn postgres() -> Self {
        Self { address: Cluster::shared().database(), directory: None }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.directory.is_some()
    }

    /// Runs SQL behind the back of the books.
    pub(crate) async fn tamper(&self, text: &str) {
        if self.is_sqlite() {
            use sqlx::Connection as _;
            let mut connection = sqlx::SqliteConnection::connect(&self.address).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            Cluster::shared().sql(&self.address, text);
        }
    }

    /// What it takes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.directory {
            Some(directory) => {
                let files = std::fs::read_dir(directory.path()).unwrap();
                files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
            }
            None => {
                let size =
                    Cluster::shared().sql(&self.address, "SELECT pg_database_size(current_database())");
                size.trim().parse().unwrap()
            }
        }
    }

    /// Copies the database; nobody may have it open.
    pub(crate) fn copy(&self) -> Copy {
        match &self.directory {
            Some(from) => {
                let to = TempDir::with_prefix("keyward-ledger").unwrap();
                copy_files(from, &to);
                Copy { directory: Some(to), name: String::new() }
            }
            None => {
                let name = format!("{}_copy", self.address.rsplit('/').next().unwrap());
                Cluster::shared().copy(&self.address, &name);
                Copy { directory: None, name }
            }
        }
    }

    /// Puts a copy back in the place of the database.
    pub(crate) fn restore(&self, copy: &Copy) {
        match (&self.directory, &copy.directory) {
            (Some(to), Some(from)) => {
                settle(to);
                for file in std::fs::read_dir(to.path()).unwrap() {
                    std::fs::remove_file(file.unwrap().path()).unwrap();
                }
                copy_files(from, to);
            }
            _ => Cluster::shared().copy(&copy.name, &self.address),
        }
    }
}

/// A copy of a database.
pub(crate) struct Copy {
    directory: Option<TempDir>,
    name: String,
}

/// Waits until SQLite has put away its write-ahead log, as the last connection does when it closes.
fn settle(directory: &TempDir) {
    let start = std::time::Instant::now();
    while std::fs::read_dir(directory.path())
        .unwrap()
        .flatten()
        .any(|file| file.path().ends_with("books.db-wal"))
    {
        assert!(start.elapsed().as_secs() < 10, "somebody has the database open");
        std::thread::yield_now();
    }
}

fn copy_files(from: &TempDir, to: &TempDir) {
    settle(from);
    for file in std::fs::read_dir(from.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
}

/// Runs every named async function `fn(Database)` on both engines.
#[macro_export]
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::common::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::common::Database::postgres()).await;
            })*
        }
    };
}

/// A clock that tests set.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW)))
    }

    pub(crate) fn set(&self, time: u64) {
        self.0.store(time, Ordering::SeqCst);
    }

    pub(crate) async fn open(&self, database: &Database) -> Books {
        let clock = self.0.clone();
        Books::open_with_clock(&database.address, move || clock.load(Ordering::SeqCst)).await.unwrap()
    }
}

/// Opens the books, with the wallet `main` of model 2P.
pub(crate) async fn open(database: &Database) -> Books {
    let books = Books::open(&database.address).await.unwrap();
    books.commit(wallet("main", Model::TwoP)).await.unwrap();
    books
}

pub(crate) fn wallet(text: &str, model: Model) -> Posting {
    Posting { transfers: vec![], records: vec![RecordChange::wallet(&name(text), model, NOW)] }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn bitcoin() -> Asset {
    "bip122:000000000019d6689c085ae165831e93/slip44:0".parse().unwrap()
}

/// `client:a`, `own`, `external` … in wallet `main`, of bitcoin.
pub(crate) fn account(owner: &str) -> Account {
    Account::new(owner.parse::<Owner>().unwrap(), &name("main"), &bitcoin())
}

pub(crate) fn transfer(id: &str, movement: Movement, code: Code) -> NewTransfer {
    NewTransfer { id: id.parse().unwrap(), movement, code, cause: format!("test of {id}") }
}

pub(crate) fn posted(id: &str, debit: &str, credit: &str, amount: u128, code: Code) -> NewTransfer {
    let movement =
        Movement::Posted { debit: account(debit), credit: account(credit), amount: Amount::new(amount) };
    transfer(id, movement, code)
}

pub(crate) fn deposit(id: &str, client: &str, amount: u128) -> NewTransfer {
    posted(id, "external", client, amount, Code::Deposit)
}

pub(crate) fn hold(id: &str, client: &str, amount: u128, expires_at: Option<u64>) -> NewTransfer {
    let (debit, credit) = (account(client), account("in-transit"));
    let movement = Movement::Pending { debit, credit, amount: Amount::new(amount), expires_at };
    transfer(id, movement, Code::Withdrawal)
}

pub(crate) fn post(id: &str, pending: &str, amount: Option<u128>) -> NewTransfer {
    let movement = Movement::Post { pending: pending.parse().unwrap(), amount: amount.map(Amount::new) };
    transfer(id, movement, Code::Withdrawal)
}

pub(crate) fn void(id: &str, pending: &str) -> NewTransfer {
    transfer(id, Movement::Void { pending: pending.parse().unwrap() }, Code::Withdrawal)
}

pub(crate) fn expire(id: &str, pending: &str) -> NewTransfer {
    transfer(id, Movement::Expire { pending: pending.parse().unwrap() }, Code::Withdrawal)
}

pub(crate) fn one(transfer: NewTransfer) -> Posting {
    Posting { transfers: vec![transfer], records: vec![] }
}

pub(crate) fn many(transfers: Vec<NewTransfer>) -> Posting {
    Posting { transfers, records: vec![] }
}

pub(crate) fn change(kind: RecordKind, id: &str, expect: u64, state: &str) -> RecordChange {
    RecordChange {
        kind,
        id: id.into(),
        expect,
        state: state.into(),
        client: None,
        external_id: None,
        at: NOW,
        body: serde_json::json!({ "note": state }),
    }
}

/// What the posting was refused for.
pub(crate) async fn refusal(books: &Books, posting: Posting) -> Refusal {
    match books.commit(posting).await {
        Err(CommitError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) async fn commit(books: &Books, posting: Posting) -> Committed {
    books.commit(posting).await.unwrap()
}

/// "debits-pending debits-posted credits-pending credits-posted".
pub(crate) async fn totals(books: &Books, owner: &str) -> String {
    books.account(&account(owner)).await.unwrap().to_string()
}

pub(crate) async fn balance(books: &Books, owner: &str) -> i128 {
    books.account(&account(owner)).await.unwrap().balance().to_string().parse().unwrap()
}

pub(crate) async fn record(books: &Books, kind: RecordKind, id: &str) -> Option<Record> {
    books.record(kind, id).await.unwrap()
}
