//! `keyward ledger verify` by the built program, on real books and the kept log of a fixture.

mod common;

use std::fs;
use std::time::Instant;

use common::Host;
use custody::checkpoint::{SignedNote, cosign};
use custody::statement::{Body, Observe};
use fixtures::{World, key, name, newest};
use ledger::observation::{BOOKS_LOG, Entry, Observed};
use ledger::{Account, Amount, Books, Code, Model, Movement, NewTransfer, Owner, Posting, RecordChange};
use serde_json::Value;
use tokio::runtime::Runtime;

/// The start of a cause, which is in one row of the database each.
const CAUSE: &str = "invoice-number-";

struct Stage {
    host: Host,
    world: World,
    runtime: Runtime,
}

impl Stage {
    /// A home with a pinned genesis.
    fn new() -> Self {
        let (host, world) = (Host::new(), World::open(newest()));
        let genesis = world.state.genesis();
        fs::write(host.path("genesis.json"), genesis.bytes()).unwrap();
        host.ok(&format!("genesis pin genesis.json --hash {}", genesis.hash()));
        let runtime = Runtime::new().unwrap();
        let stage = Self { host, world, runtime };
        stage.keep();
        stage
    }

    /// The home has seen the whole log.
    fn keep(&self) {
        let log: Vec<u8> =
            self.world.log.iter().flat_map(|(batch, _)| [batch.bytes(), vec![b'\n']].concat()).collect();
        let body = self.world.state.checkpoint().encode().unwrap();
        let line = |who: &str| cosign(&body, who, &key(&format!("{who}/cosign")), self.world.time);
        let note = SignedNote { lines: ["s1", "s2", "w1"].map(line).to_vec(), body: body.clone() };
        fs::write(self.host.path("home/log"), log).unwrap();
        fs::write(self.host.path("home/checkpoint"), note.to_string()).unwrap();
    }

    /// Books of deposits with these amounts, each in a batch of its own after that of the wallet. More
    /// amounts go on with the books that are there.
    fn book(&self, file: &str, from: u64, amounts: &[u64]) {
        let address = format!("sqlite:{}", self.host.path(file).display());
        self.runtime.block_on(async {
            let books = Books::open_with_clock(&address, || 1_800_000_000).await.unwrap();
            if from == 1 {
                let wallet = RecordChange::wallet(&name("main"), Model::One, 1_800_000_000);
                books.commit(Posting { transfers: vec![], records: vec![wallet] }).await.unwrap();
            }
            for (number, amount) in (from..).zip(amounts) {
                let asset = self.world.state.genesis().asset().parse().unwrap();
                let account = |owner| Account::new(owner, &name("main"), &asset);
                let (debit, credit) = (account(Owner::External), account(Owner::Suspense));
                let movement = Movement::Posted { debit, credit, amount: Amount::new((*amount).into()) };
                let (id, cause) = (format!("d{number}").parse().unwrap(), format!("{CAUSE}{number}"));
                let transfer = NewTransfer { id, movement, code: Code::Deposit, cause };
                books.commit(Posting { transfers: vec![transfer], records: vec![] }).await.unwrap();
            }
            books.close().await;
        });
        self.settle(file);
    }

    /// The last connection puts the write-ahead log of SQLite away when it closes; of two that close at once it
    /// may be none.
    fn settle(&self, file: &str) {
        let log = self.host.path(&format!("{file}-wal"));
        let address = format!("sqlite:{}", self.host.path(file).display());
        let mut start = Instant::now();
        while log.exists() {
            if start.elapsed().as_millis() > 500 {
                let again = async { Books::open(&address).await.unwrap().close().await };
                self.runtime.block_on(again);
                start = Instant::now();
            }
            std::thread::yield_now();
        }
    }

    fn entries(&self, file: &str) -> Vec<Entry> {
        let address = format!("sqlite:{}", self.host.path(file).display());
        let entries = self.runtime.block_on(async {
            let books = Books::open(&address).await.unwrap();
            let entries = books.batches(1, 1_000).await.unwrap().iter().map(Entry::from).collect();
            books.close().await;
            entries
        });
        self.settle(file);
        entries
    }

    /// The first entries as the server's file has them.
    fn observations(&self, to: &str, entries: &[Entry]) {
        let lines: Vec<u8> = entries.iter().flat_map(|entry| [entry.bytes(), vec![b'\n']].concat()).collect();
        fs::write(self.host.path(to), lines).unwrap();
    }

    /// The log anchors these books as they are.
    fn anchor(&mut self, file: &str) {
        let mut log = Observed::default();
        self.entries(file).into_iter().for_each(|entry| log.push(entry).unwrap());
        let (size, root) = (log.size(), log.root());
        let body = Body::Observe(Observe { log: name(BOOKS_LOG), size, root });
        self.world.say("watcher", body).unwrap();
        self.keep();
    }
}

const VERIFY: &str = "--offline ledger verify --books sqlite:books.db";

#[test]
fn books_that_are_what_was_anchored_pass() {
    let mut stage = Stage::new();
    stage.book("books.db", 1, &[10, 20, 30]);
    let said = stage.host.fails(VERIFY, 7);
    assert!(said.contains("the log anchors no observation of these books"), "{said}");
    assert!(said.contains("verified    4 batches: 3 transfers, 1 versions of records, 2 accounts"), "{said}");

    stage.anchor("books.db");
    let said = stage.host.ok(VERIFY);
    assert!(said.contains("anchored    batch 4, by machine watcher at "), "{said}");
    assert!(!said.contains("not anchored"), "{said}");

    stage.book("books.db", 4, &[40, 50]);
    let entries = stage.entries("books.db");
    stage.observations("observed", &entries[..5]);
    let said = stage.host.ok(&format!("{VERIFY} --observations observed"));
    assert!(said.contains("! since     2 batches are not anchored yet"), "{said}");
    assert!(said.contains("observed    5 entries of the file agree"), "{said}");
    let json: Value = serde_json::from_str(&stage.host.ok(&format!("{VERIFY} --output json"))).unwrap();
    assert_eq!(
        (&json["seq"], &json["not_anchored"], &json["anchor"]["size"]),
        (&6.into(), &2.into(), &4.into())
    );
    assert_eq!(json["digest"], entries[5].digest.to_string());
}

#[test]
fn a_changed_row_is_named() {
    let mut stage = Stage::new();
    stage.book("books.db", 1, &[10, 20, 30]);
    stage.anchor("books.db");
    let bytes = fs::read(stage.host.path("books.db")).unwrap();
    let row = format!("{CAUSE}2").into_bytes();
    let at: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&row)).collect();
    assert_eq!(at.len(), 1);
    let mut changed = bytes.clone();
    changed[at[0]] = b'I';
    fs::write(stage.host.path("books.db"), changed).unwrap();
    let said = stage.host.fails(VERIFY, 5);
    assert!(said.contains("transfer d2 at position 3 was changed"), "{said}");
}

#[test]
fn a_restored_backup_is_named_by_how_far_it_is_behind() {
    let mut stage = Stage::new();
    stage.book("books.db", 1, &[10, 20]);
    fs::copy(stage.host.path("books.db"), stage.host.path("yesterday.db")).unwrap();
    stage.book("books.db", 3, &[30, 40]);
    stage.anchor("books.db");
    stage.observations("observed", &stage.entries("books.db"));
    fs::rename(stage.host.path("yesterday.db"), stage.host.path("books.db")).unwrap();
    let said = stage.host.fails(VERIFY, 5);
    assert!(said.contains("2 batches behind the anchor: it ends at batch 3 and 5 were anchored"), "{said}");

    // It is one even where only the file knows.
    let mut stage = Stage::new();
    stage.book("books.db", 1, &[10, 20]);
    stage.anchor("books.db");
    fs::copy(stage.host.path("books.db"), stage.host.path("yesterday.db")).unwrap();
    stage.book("books.db", 3, &[30]);
    stage.observations("observed", &stage.entries("books.db"));
    fs::rename(stage.host.path("yesterday.db"), stage.host.path("books.db")).unwrap();
    stage.host.ok(VERIFY);
    let said = stage.host.fails(&format!("{VERIFY} --observations observed"), 5);
    assert!(
        said.contains("1 batches behind the file: it ends at batch 3 and batch 4 was observed"),
        "{said}"
    );
}

#[test]
fn books_written_anew_are_found_and_the_file_names_the_first_batch() {
    let mut stage = Stage::new();
    stage.book("books.db", 1, &[10, 20, 30, 40]);
    stage.anchor("books.db");
    let entries = stage.entries("books.db");
    fs::remove_file(stage.host.path("books.db")).unwrap();
    stage.book("books.db", 1, &[10, 20, 31, 40, 50]);
    let said = stage.host.fails(VERIFY, 5);
    assert!(said.contains("the first 5 batches are others than those that were anchored at "), "{said}");

    stage.observations("observed", &entries);
    let observed = format!("{VERIFY} --observations observed");
    let said = stage.host.fails(&observed, 5);
    assert!(said.contains("batch 4 (positions 4 to 4) was written anew"), "{said}");

    // A file that was made to fit is not the one that was anchored.
    stage.observations("observed", &stage.entries("books.db"));
    let said = stage.host.fails(&observed, 5);
    assert!(said.contains("the file is not the log that was anchored"), "{said}");
    for bad in ["nonsense\n", "{}\n", &format!("{}\n", String::from_utf8(entries[1].bytes()).unwrap())] {
        fs::write(stage.host.path("observed"), bad).unwrap();
        let said = stage.host.fails(&observed, 5);
        assert!(said.contains("observed: line 1 is no entry of an observation log"), "{said}");
    }
}

#[test]
fn a_database_that_is_not_there_is_not_made() {
    let stage = Stage::new();
    let said = stage.host.fails(VERIFY, 1);
    assert!(said.contains("there is no such database"), "{said}");
    assert!(!stage.host.path("books.db").exists());
    stage.host.fails("--offline ledger verify --books mysql:books", 1);
}
