//! The bank test and its kin: many tasks, several writers, one truth.

mod common;

use std::collections::HashMap;

use common::*;
use ledger::{Books, Code, CommitError, DatabaseError, Model, Movement, Posting, RecordKind, Refusal};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

on_both_engines!(
    a_race_for_a_balance_fails_for_exactly_the_right_number,
    the_bank_test,
    two_writers_stay_correct,
    two_openers_at_once_make_the_tables_once,
    one_damaged_row_fails_only_those_who_name_it,
    a_caller_that_gives_up_takes_nothing_back,
    postings_that_are_sent_behind_each_other_are_judged_in_that_order,
    closed_books_say_so,
);

/// Runs postings at once, and counts those that were entered. The others must have been overdrafts.
async fn race(books: &[Books], postings: Vec<Posting>) -> usize {
    let mut tasks = Vec::new();
    for (i, posting) in postings.into_iter().enumerate() {
        let books = books[i % books.len()].clone();
        tasks.push(tokio::spawn(async move { books.commit(posting).await }));
    }
    let mut entered = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => entered += 1,
            Err(CommitError::Refused(Refusal::Overdraft { .. })) => {}
            Err(other) => panic!("{other}"),
        }
    }
    entered
}

/// An amount above the balance by one unit while ten others race for it; and any number of callers for
/// any balance: as many get theirs as there is money for.
async fn a_race_for_a_balance_fails_for_exactly_the_right_number(database: Database) {
    let books = open(&database).await;
    let case = std::sync::atomic::AtomicU32::new(0);
    let strategy = (1u128..200, 2usize..24, 1u128..40, any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let handle = tokio::runtime::Handle::current();
    let run = |(balance, callers, each, holds): (u128, usize, u128, bool)| {
        let n = case.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let client = format!("client:race-{n}");
        let ask = |id: String, amount| {
            if holds {
                one(hold(&id, &client, amount, None))
            } else {
                one(posted(&id, &client, "client:till", amount, Code::Internal))
            }
        };
        handle.block_on(async {
            commit(&books, one(deposit(&format!("d{n}"), &client, balance))).await;
            // Together they ask for what there is; one of them for one unit more than there is.
            let mut postings: Vec<Posting> = (0..callers).map(|i| ask(format!("r{n}.{i}"), each)).collect();
            postings.push(ask(format!("r{n}.over"), balance + 1));
            let entered = race(std::slice::from_ref(&books), postings).await;
            let affordable = usize::try_from(balance / each).unwrap().min(callers);
            let left = books.account(&account(&client)).await.unwrap().available();
            prop_assert_eq!(entered, affordable);
            prop_assert_eq!(left.size().units(), balance - each * affordable as u128);
            prop_assert!(!left.is_below_zero());
            let over = books.transfer(&format!("r{n}.over").parse().unwrap()).await.unwrap();
            prop_assert!(over.is_none());
            Ok(())
        })
    };
    tokio::task::block_in_place(|| runner.run(&strategy, run)).unwrap();
    books.verify(&[]).await.unwrap();
}

/// Random transfers between eight clients: the sum stays, nobody is below zero, everybody's statement
/// adds up to the balance.
async fn the_bank_test(database: Database) {
    let books = open(&database).await;
    for client in 0..8 {
        commit(&books, one(deposit(&format!("d{client}"), &format!("client:c{client}"), 100))).await;
    }
    let mut tasks = Vec::new();
    for task in 0..16u64 {
        let books = books.clone();
        tasks.push(tokio::spawn(async move {
            let mut seed = task + 1;
            let mut next = move |below: u64| {
                // xorshift: the same on every run.
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed % below
            };
            for i in 0..40 {
                let (from, by) = (next(8), 1 + next(7));
                let (debit, credit) = (format!("client:c{from}"), format!("client:c{}", (from + by) % 8));
                let moved = posted(
                    &format!("t{task}.{i}"),
                    &debit,
                    &credit,
                    u128::from(1 + next(60)),
                    Code::Internal,
                );
                match books.commit(one(moved)).await {
                    Ok(_) | Err(CommitError::Refused(Refusal::Overdraft { .. })) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }));
    }
    // Whoever reads all accounts while they move, from one snapshot each, sees each at or above zero.
    while tasks.iter().any(|task| !task.is_finished()) {
        for client in 0..8 {
            assert!(balance(&books, &format!("client:c{client}")).await >= 0);
        }
        books.verify(&[]).await.unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut sum = 0;
    for client in 0..8 {
        let owner = format!("client:c{client}");
        let now = balance(&books, &owner).await;
        assert!(now >= 0);
        sum += now;
        let lines = books.lines(&account(&owner), None, 1000).await.unwrap().items;
        assert_eq!(lines.last().unwrap().balance().to_string(), now.to_string());
    }
    assert_eq!((sum, balance(&books, "external").await), (800, -800));
    let batches = books.batches(1, 1000).await.unwrap().len();
    let transfers = books.verify(&[]).await.unwrap().transfers;
    assert!(u64::try_from(batches).unwrap() < transfers, "postings that wait together share a batch");
}

/// Two processes on one database, here two `Books` that share nothing: races, idempotency and versions
/// hold across them, and the chain stays one.
async fn two_writers_stay_correct(database: Database) {
    let first = open(&database).await;
    let second = Books::open(&database.address).await.unwrap();
    let both = [first.clone(), second.clone()];
    for round in 0..6 {
        let client = format!("client:r{round}");
        commit(&first, one(deposit(&format!("d{round}"), &client, 10))).await;
        let asks = (0..16).map(|i| one(hold(&format!("h{round}.{i}"), &client, 1, None))).collect();
        assert_eq!(race(&both, asks).await, 10);
        // The same deposit by both at once.
        let again = one(deposit(&format!("e{round}"), &client, 7));
        let (a, b) = tokio::join!(first.commit(again.clone()), second.commit(again));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.seq, a.position), (b.seq, b.position));
        assert_ne!(a.repeated, b.repeated);
        // Both move the same record on, to different states.
        let step = |expect: u64, state: &str| Posting {
            transfers: vec![],
            records: vec![change(RecordKind::Withdrawal, &format!("w{round}"), expect, state)],
        };
        commit(&second, step(0, "held")).await;
        let (a, b) = tokio::join!(first.commit(step(1, "sent")), second.commit(step(1, "cancelled")));
        assert_ne!(a.is_ok(), b.is_ok());
    }
    assert_eq!(first.newest().await.unwrap(), second.newest().await.unwrap());
    first.verify(&[]).await.unwrap();
}

async fn two_openers_at_once_make_the_tables_once(database: Database) {
    let mut tasks = Vec::new();
    for i in 0..4 {
        let address = database.address.clone();
        tasks.push(tokio::spawn(async move {
            let books = Books::open(&address).await.unwrap();
            books.commit(wallet("main", Model::Two)).await.unwrap();
            books.commit(one(deposit(&format!("d{i}"), "client:a", 1))).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let books = Books::open(&database.address).await.unwrap();
    assert_eq!(balance(&books, "client:a").await, 4);
    books.verify(&[]).await.unwrap();
}

async fn one_damaged_row_fails_only_those_who_name_it(database: Database) {
    let books = open(&database).await;
    commit(&books, one(deposit("d1", "client:a", 100))).await;
    books.close().await;
    let name = account("client:a");
    database.tamper(&format!("UPDATE account SET totals = 'x' WHERE name = '{name}'")).await;
    let books = Books::open(&database.address).await.unwrap();
    let mut tasks = HashMap::new();
    for i in 0..40 {
        let client = if i % 4 == 0 { "client:a" } else { "client:b" };
        let posting = one(deposit(&format!("t{i}"), client, 1));
        let books = books.clone();
        tasks.insert(i, tokio::spawn(async move { books.commit(posting).await }));
    }
    for (i, task) in tasks {
        match task.await.unwrap() {
            Ok(_) => assert_ne!(i % 4, 0),
            Err(CommitError::Database(DatabaseError::Damaged { row, .. })) => {
                assert_eq!(i % 4, 0);
                assert!(row.contains(&name.to_string()), "{row}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(balance(&books, "client:b").await, 30);
}

async fn a_caller_that_gives_up_takes_nothing_back(database: Database) {
    let books = open(&database).await;
    for i in 0..50 {
        let posting = one(deposit(&format!("d{i}"), "client:a", 1));
        let wait = tokio::time::Duration::from_micros(i * 40);
        // Whether the answer came in time or not, the posting is entered once, and a repetition says so.
        let _ = tokio::time::timeout(wait, books.commit(posting.clone())).await;
        commit(&books, posting).await;
    }
    assert_eq!(balance(&books, "client:a").await, 50);
}

async fn closed_books_say_so(database: Database) {
    let books = open(&database).await;
    let waiting = tokio::spawn({
        let books = books.clone();
        async move { books.commit(one(deposit("d1", "client:a", 1))).await }
    });
    tokio::task::yield_now().await;
    books.close().await;
    books.close().await;
    let late = books.commit(one(deposit("d2", "client:a", 1))).await;
    assert_eq!(late, Err(CommitError::Database(DatabaseError::Closed)));
    // What came before the end was finished; what came after was not begun.
    let entered = match waiting.await.unwrap() {
        Ok(_) => 1,
        Err(error) => {
            assert_eq!(error, CommitError::Database(DatabaseError::Closed));
            0
        }
    };
    let again = Books::open(&database.address).await.unwrap();
    assert_eq!(balance(&again, "client:a").await, entered);
}

/// A reservation and a payment of the same money: in whatever order they come, one of them is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reserved_cannot_be_moved() {
    let database = Database::sqlite();
    let books = open(&database).await;
    for i in 0..30 {
        let client = format!("client:x{i}");
        commit(&books, one(deposit(&format!("d{i}"), &client, 5))).await;
        let movement = Movement::Pending {
            debit: account(&client),
            credit: account("in-transit"),
            amount: "5".parse().unwrap(),
            expires_at: None,
        };
        let held = one(transfer(&format!("h{i}"), movement, Code::Withdrawal));
        let paid = one(posted(&format!("p{i}"), &client, "client:other", 1, Code::Internal));
        assert_eq!(race(std::slice::from_ref(&books), vec![held, paid]).await, 1);
    }
}

/// Each follows the version that the one before it writes: they are entered up to the first that is refused, and none
/// behind it is, though nobody waited in between.
async fn postings_that_are_sent_behind_each_other_are_judged_in_that_order(database: Database) {
    let books = open(&database).await;
    let step = |version: u64, amount: u128| Posting {
        transfers: vec![posted(&format!("p{version}"), "client:poor", "client:till", amount, Code::Internal)],
        records: vec![change(RecordKind::Cursor, "chain", version, "on")],
    };
    commit(&books, one(deposit("d", "client:poor", 10))).await;
    let mut sent = Vec::new();
    for (version, amount) in [(0, 4), (1, 4), (2, 4), (3, 1), (4, 1)] {
        sent.push(books.send(step(version, amount)).await.unwrap());
    }
    let mut outcomes = Vec::new();
    for sent in sent {
        outcomes.push(sent.outcome().await);
    }
    let [Ok(first), Ok(second), Err(poor), Err(fourth), Err(fifth)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(first.position < second.position);
    assert!(matches!(poor, CommitError::Refused(Refusal::Overdraft { .. })), "{poor}");
    for late in [fourth, fifth] {
        assert!(matches!(late, CommitError::Refused(Refusal::Version { .. })), "{late}");
    }
    assert_eq!(balance(&books, "client:poor").await, 2);
    assert_eq!(record(&books, RecordKind::Cursor, "chain").await.unwrap().version, 2);
    // One that nobody waits for is entered all the same.
    drop(books.send(step(2, 2)).await.unwrap());
    commit(&books, one(deposit("e", "client:poor", 5))).await;
    assert_eq!(balance(&books, "client:poor").await, 5);
}
