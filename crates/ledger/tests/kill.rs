//! Killed at any moment: what was acknowledged is there, and nothing is there by half.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use common::postgres::Cluster;
use common::*;
use ledger::{Books, CommitError, DatabaseError, Model, Posting, RecordFilter, RecordKind};

/// Tells the child of a test what to do: the address of the database and the number of the round.
const CHILD: &str = "KEYWARD_LEDGER_TEST_CHILD";
const ROUNDS: u64 = 6;

on_both_engines!(a_killed_writer_loses_nothing_and_leaves_nothing_by_half);

/// Two transfers and a record, which belong together.
fn step(id: &str) -> Posting {
    let mut posting = many(vec![
        deposit(&format!("{id}.in"), "client:a", 3),
        posted(&format!("{id}.on"), "client:a", "client:b", 2, ledger::Code::Internal),
    ]);
    posting.records.push(change(RecordKind::Deposit, id, 0, "credited"));
    posting
}

/// Not a test of its own: the process that the others start and kill. It writes, and prints what was
/// acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let (address, round) = orders.split_once(' ').unwrap();
    let books = Books::open(address).await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..8 {
        let (books, round) = (books.clone(), round.to_owned());
        tasks.push(tokio::spawn(async move {
            for i in 0.. {
                let id = format!("{round}.{task}.{i}");
                books.commit(step(&id)).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "acknowledged {id}").and_then(|()| out.flush()).unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

fn start_child(address: &str, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{address} {round}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn a_killed_writer_loses_nothing_and_leaves_nothing_by_half(database: Database) {
    let books = open(&database).await;
    books.close().await;
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut child = start_child(&database.address, round);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // After some answers, and a little later, so that it dies anywhere between two.
        let wanted = acknowledged.len() + 20 + 13 * round as usize;
        while acknowledged.len() < wanted {
            let line = lines.next().expect("it writes until it is killed").unwrap();
            acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
        }
        std::thread::sleep(std::time::Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts as well; a last line may be cut.
        for line in lines.map_while(Result::ok) {
            let id = line.strip_prefix("acknowledged ").map(str::to_owned);
            acknowledged.extend(id.filter(|id| id.split('.').count() == 3));
        }
        judge(&database, &acknowledged).await;
    }
}

/// Everything acknowledged is there, all of it; everything that is there is there whole, once.
async fn judge(database: &Database, acknowledged: &[String]) {
    let books = Books::open(&database.address).await.unwrap();
    let verified = books.verify(&[]).await.unwrap();
    for id in acknowledged {
        assert!(record(&books, RecordKind::Deposit, id).await.is_some(), "{id} was acknowledged and is gone");
        assert!(books.commit(step(id)).await.unwrap().repeated);
    }
    let filter = RecordFilter { kind: RecordKind::Deposit, client: None, state: None, external_id: None };
    let (mut there, mut after) = (0u64, None);
    loop {
        let page = books.records(&filter, after, 500).await.unwrap();
        for record in &page.items {
            for part in ["in", "on"] {
                let id = format!("{}.{part}", record.change.id).parse().unwrap();
                assert!(books.transfer(&id).await.unwrap().is_some(), "{id} is missing: a posting by half");
            }
        }
        there += page.items.len() as u64;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((verified.transfers, verified.changes), (2 * there, there + 1));
    assert_eq!(balance(&books, "client:a").await, i128::from(there));
    assert_eq!(balance(&books, "client:b").await, 2 * i128::from(there));
    books.close().await;
}

/// The server, not the writer, dies: callers get an answer or an unknown result, and asking again after
/// the restart settles it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_postgresql_server_loses_nothing() {
    let cluster = Cluster::start();
    let address = cluster.database();
    let books = Books::open(&address).await.unwrap();
    commit(&books, wallet("main", Model::Two)).await;
    let mut entered = 0;
    for round in 0..2 {
        let mut tasks = Vec::new();
        for task in 0..6 {
            let books = books.clone();
            tasks.push(tokio::spawn(async move {
                let mut known = Vec::new();
                for i in 0.. {
                    let id = format!("{round}.{task}.{i}");
                    match books.commit(step(&id)).await {
                        Ok(_) => known.push(id),
                        Err(CommitError::Database(DatabaseError::Unreachable(_))) => return (known, id),
                        Err(other) => panic!("{other}"),
                    }
                }
                (known, String::new())
            }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| cluster.crash());
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        tokio::task::block_in_place(|| cluster.restart());
        for (known, unknown) in results {
            assert!(!known.is_empty());
            for id in &known {
                assert!(books.commit(step(id)).await.unwrap().repeated, "{id} was acknowledged and is gone");
            }
            commit(&books, step(&unknown)).await;
            entered += known.len() + 1;
        }
        assert_eq!(balance(&books, "client:a").await, entered as i128);
        books.verify(&[]).await.unwrap();
    }
}
