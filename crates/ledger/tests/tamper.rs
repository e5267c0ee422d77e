//! What somebody does to the database behind the back of the books is found, and named.

mod common;

use common::*;
use ledger::{Books, CommitError, DatabaseError, Fault, Remembered, VerifyError};
use ledger::{Posting, RecordKind};

on_both_engines!(
    a_changed_deleted_or_inserted_row_is_named,
    yesterdays_database_is_found,
    books_written_anew_are_found,
    a_running_writer_refuses_another_database,
    no_batch_is_lost_from_a_running_writer,
);

/// Deposits, reservations and their ends, records with versions: 12 batches.
async fn filled(database: &Database) -> Books {
    let books = open(database).await;
    commit(&books, one(deposit("d1", "client:a", 1000))).await;
    commit(&books, one(deposit("d2", "client:b", 500))).await;
    for i in 0..3 {
        let mut posting = one(hold(&format!("h{i}"), "client:a", 100, Some(NOW)));
        posting.records.push(change(RecordKind::Withdrawal, &format!("w{i}"), 0, "held"));
        commit(&books, posting).await;
    }
    let mut posting = one(post("p0", "h0", Some(90)));
    posting.records.push(change(RecordKind::Withdrawal, "w0", 1, "settled"));
    commit(&books, posting).await;
    commit(&books, one(void("v1", "h1"))).await;
    for i in 0..4 {
        commit(&books, one(posted(&format!("i{i}"), "client:b", "client:c", 5, ledger::Code::Internal)))
            .await;
    }
    books
}

async fn fault(books: &Books, remembered: &[Remembered]) -> Fault {
    match books.verify(remembered).await {
        Err(VerifyError::Fault(fault)) => fault,
        other => panic!("not found: {other:?}"),
    }
}

async fn a_changed_deleted_or_inserted_row_is_named(database: Database) {
    let books = filled(&database).await;
    let head = books.newest().await.unwrap().unwrap();
    assert_eq!(books.verify(&[]).await.unwrap().seq, 12);
    books.close().await;
    let pristine = database.copy();
    let a = account("client:a");
    // What is done, and what the finding must say.
    for (damage, words) in [
        ("UPDATE transfer SET amount = '999' WHERE id = 'd1'", "transfer d1 at position 2 was changed"),
        ("UPDATE transfer SET cause = 'another' WHERE id = 'i2'", "transfer i2 at position"),
        ("UPDATE transfer SET code = 'sweep' WHERE id = 'h1'", "transfer h1 at position"),
        ("UPDATE transfer SET expires_at = expires_at + 1 WHERE id = 'h1'", "transfer h1 at position"),
        ("UPDATE transfer SET expires_at = -1 WHERE id = 'h1'", "was changed"),
        ("UPDATE transfer SET debit = credit, credit = debit WHERE id = 'i1'", "transfer i1 at position"),
        ("UPDATE transfer SET ends = 'h2' WHERE id = 'v1'", "transfer v1 at position"),
        ("UPDATE transfer SET kind = 'expire' WHERE id = 'v1'", "transfer v1 at position"),
        ("UPDATE transfer SET kind = 'posted', ends = NULL WHERE id = 'v1'", "transfer v1 at position"),
        ("UPDATE transfer SET id = 'other' WHERE id = 'i3'", "transfer other at position"),
        ("UPDATE transfer SET id = 'not an id' WHERE id = 'i3'", "transfer not an id at position"),
        ("UPDATE transfer SET amount = '-5' WHERE id = 'i3'", "transfer i3 at position"),
        ("UPDATE transfer SET seq = 1 WHERE id = 'i3'", "transfer i3 at position"),
        ("UPDATE transfer SET credit_totals = '0 0 0 7' WHERE id = 'i3'", "transfer i3 at position"),
        ("UPDATE transfer SET digest = previous FROM batch WHERE transfer.id = 'i3' AND batch.seq = 3", "transfer i3 at position"),
        ("DELETE FROM transfer WHERE id = 'h1'", "the entry at position 6 (batch 5) is missing"),
        ("DELETE FROM transfer WHERE id = 'i3'", "the entry at position 16 (batch 12) is missing"),
        (
            "INSERT INTO transfer SELECT 17, 12, 'forged', debit, credit, amount, kind, ends, expires_at, code, cause, \
             debit_totals, credit_totals, digest FROM transfer WHERE id = 'i3'",
            "transfer forged at position 17 was inserted",
        ),
        (
            "INSERT INTO transfer SELECT 99, 40, 'forged', debit, credit, amount, kind, ends, expires_at, code, cause, \
             debit_totals, credit_totals, digest FROM transfer WHERE id = 'i3'",
            "transfer forged at position 99 was inserted",
        ),
        (
            "INSERT INTO transfer SELECT 1, 1, 'forged', debit, credit, amount, kind, ends, expires_at, code, cause, \
             debit_totals, credit_totals, digest FROM transfer WHERE id = 'i3'",
            "transfer forged at position 1",
        ),
        ("UPDATE change SET body = '{}' WHERE id = 'w1'", "version 1 of withdrawal:w1 at position"),
        ("UPDATE change SET body = '{' WHERE id = 'w1'", "version 1 of withdrawal:w1 at position"),
        ("UPDATE change SET state = 'sent' WHERE id = 'w1'", "version 1 of withdrawal:w1 at position"),
        ("UPDATE change SET client = 'acme' WHERE id = 'w1'", "version 1 of withdrawal:w1 at position"),
        ("UPDATE change SET record = 'withdrawal:x' WHERE id = 'w1'", "version 1 of withdrawal:x at position"),
        ("UPDATE change SET version = 5 WHERE id = 'w1'", "version 5 of withdrawal:w1 at position"),
        ("DELETE FROM change WHERE id = 'w1'", "the entry at position 7 (batch 5) is missing"),
        ("UPDATE record SET state = 'held' WHERE record = 'withdrawal:w0'", "record withdrawal:w0 was changed"),
        ("UPDATE record SET version = 1 WHERE record = 'withdrawal:w0'", "record withdrawal:w0 was changed"),
        ("UPDATE record SET client = 'acme' WHERE record = 'withdrawal:w0'", "record withdrawal:w0 was changed"),
        ("UPDATE record SET latest = opened WHERE record = 'withdrawal:w0'", "record withdrawal:w0 was changed"),
        ("DELETE FROM record WHERE record = 'withdrawal:w2'", "record withdrawal:w2 is missing"),
        (
            "INSERT INTO record SELECT 'withdrawal:forged', kind, version, state, client, external_id, opened, latest \
             FROM record WHERE record = 'withdrawal:w2'",
            "record withdrawal:forged was inserted",
        ),
        ("UPDATE batch SET time = time + 1 WHERE seq = 5", "batch 5"),
        ("UPDATE batch SET last = last + 1 WHERE seq = 12", "the entry at position 17 (batch 12) is missing"),
        ("UPDATE batch SET accounts = accounts - 1 WHERE seq = 12", "was inserted"),
        ("UPDATE batch SET previous = digest WHERE seq = 5", "batch 5 was changed"),
        ("UPDATE batch SET digest = previous WHERE seq = 5", "batch 5"),
        ("DELETE FROM batch WHERE seq = 5", "batch 5 is missing"),
        ("DELETE FROM batch WHERE seq = 12", "was inserted"),
        ("DELETE FROM batch WHERE seq = 1", "batch 1 is missing"),
        ("DELETE FROM account WHERE number = 2", "account 2 is missing"),
        ("INSERT INTO account SELECT 77, 'own/main/eip155:1/slip44:60', owner, wallet, asset, totals, overdrawn FROM account WHERE number = 1", "account 77 (own/main/eip155:1/slip44:60) was inserted"),
        ("UPDATE account SET overdrawn = 1 WHERE number = 2", "its mark of being overdrawn is wrong"),
    ]
    .into_iter()
    .map(|(damage, words)| (damage.to_owned(), words.to_owned()))
    .chain([
        (
            format!("UPDATE account SET totals = '100 90 0 9999' WHERE name = '{a}'"),
            format!("account {a} was changed: its totals are 100 90 0 9999, its transfers make 100 90 0 1000"),
        ),
        (format!("UPDATE account SET name = '{a}' || 'x' WHERE name = '{a}'"), "was changed".to_owned()),
    ]) {
        database.tamper(&damage).await;
        let books = Books::open(&database.address).await.unwrap();
        let found = fault(&books, &[]).await.to_string();
        assert!(found.contains(&words), "{damage}: {found}");
        books.close().await;
        database.restore(&pristine);
    }
    let books = Books::open(&database.address).await.unwrap();
    let remembered = Remembered { seq: head.seq, digest: head.digest };
    assert_eq!(books.verify(&[remembered]).await.unwrap().digest, head.digest);
}

async fn yesterdays_database_is_found(database: Database) {
    let books = filled(&database).await;
    let yesterday = books.newest().await.unwrap().unwrap();
    books.close().await;
    let copy = database.copy();
    let books = Books::open(&database.address).await.unwrap();
    commit(&books, one(deposit("d3", "client:a", 1))).await;
    let today = books.newest().await.unwrap().unwrap();
    let remembered = [
        Remembered { seq: yesterday.seq, digest: yesterday.digest },
        Remembered { seq: today.seq, digest: today.digest },
    ];
    books.verify(&remembered).await.unwrap();
    books.close().await;

    database.restore(&copy);
    let books = Books::open(&database.address).await.unwrap();
    // Nothing is wrong with it but its age.
    books.verify(&remembered[..1]).await.unwrap();
    assert_eq!(fault(&books, &remembered).await, Fault::Older { seq: 13, head: 12 });
    // And when it has gone on from there, it is another history.
    commit(&books, one(deposit("other", "client:a", 1))).await;
    assert!(matches!(fault(&books, &remembered).await, Fault::Rewritten { seq: 13, .. }));
}

/// The strongest forger: writes a consistent history of his own, with all digests anew.
async fn books_written_anew_are_found(database: Database) {
    let books = filled(&database).await;
    let head = books.newest().await.unwrap().unwrap();
    books.close().await;
    for table in ["batch", "account", "transfer", "change", "record"] {
        database.tamper(&format!("DELETE FROM {table}")).await;
    }
    let forged = filled(&database).await;
    commit(&forged, one(deposit("mine", "client:a", 7))).await;
    forged.verify(&[]).await.unwrap();
    let first = forged.batches(1, 1).await.unwrap()[0];
    let remembered = [Remembered { seq: head.seq, digest: first.digest }];
    assert!(matches!(fault(&forged, &remembered).await, Fault::Rewritten { seq: 12, .. }));
    let empty = Books::open(&database.address).await.unwrap();
    let beyond = [Remembered { seq: 14, digest: head.digest }];
    assert_eq!(fault(&empty, &beyond).await, Fault::Older { seq: 14, head: 13 });
}

/// A row that is changed together with its own digest is found by the digest of its batch; a batch that is
/// changed together with its digest, by the batch after it.
async fn no_batch_is_lost_from_a_running_writer(database: Database) {
    let books = filled(&database).await;
    let digest = |text: &str| custody::Hash::of("keyward/ledger-transfer/v1", text.as_bytes());
    let (external, a) = (account("external"), account("client:a"));
    let forged = digest(&format!(
        r#"{{"position":2,"transfer":{{"amount":"1000","cause":"forged","code":"deposit","credit":"{a}","debit":"{external}","id":"d1","kind":"posted"}}}}"#
    ));
    database
        .tamper(&format!("UPDATE transfer SET cause = 'forged', digest = '{forged}' WHERE id = 'd1'"))
        .await;
    let found = fault(&books, &[]).await;
    assert_eq!(found, Fault::Batch { seq: 2, first: 2, last: 2 });
    // The newest batch deleted under a running writer: it does not write a second one of the same number.
    database.tamper("DELETE FROM batch WHERE seq = 12").await;
    let refused = books.commit(one(deposit("x", "client:a", 1))).await;
    assert_eq!(refused, Err(CommitError::Database(DatabaseError::Replaced { seq: 12 })));
}

async fn a_running_writer_refuses_another_database(database: Database) {
    let books = filled(&database).await;
    let before = books.newest().await.unwrap().unwrap();
    // Another process goes on from here: no reason for doubt.
    let other = Books::open(&database.address).await.unwrap();
    commit(&other, one(deposit("o1", "client:a", 1))).await;
    commit(&books, one(deposit("o2", "client:a", 1))).await;
    // The batch that this writer wrote is now another one, and later ones follow.
    let last = books.newest().await.unwrap().unwrap();
    commit(&other, Posting { transfers: vec![deposit("o3", "client:a", 1)], records: vec![] }).await;
    let zero = before.digest;
    database.tamper(&format!("UPDATE batch SET digest = '{zero}' WHERE seq = {}", last.seq)).await;
    let refused = books.commit(one(deposit("x", "client:a", 1))).await;
    assert_eq!(refused, Err(CommitError::Database(DatabaseError::Replaced { seq: last.seq })));
}
