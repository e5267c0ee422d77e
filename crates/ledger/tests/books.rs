//! What the books promise about accounts, transfers, records and their reading, on both engines.

mod common;

use common::*;
use ledger::book::{POSTING_LIMIT, TIME_LIMIT_S};
use ledger::record::BODY_LIMIT_BYTES;
use ledger::transfer::{CAUSE_LIMIT_BYTES, ID_LIMIT_BYTES, TRANSFER_LIMIT};
use ledger::{
    Account, AccountFilter, Amount, Books, Code, CommitError, DatabaseError, Model, Moment, Movement,
    OpenError, PAGE_LIMIT, Posting, RecordChange, RecordFilter, RecordKind, Refusal, Side,
};

on_both_engines!(
    deposit_hold_and_settlement,
    post_of_less_releases_the_rest,
    a_reservation_ends_exactly_once,
    a_reservation_expires_only_when_its_time_has_come,
    repeating_is_idempotent_and_other_content_is_refused,
    a_posting_is_all_or_nothing,
    a_lost_update_is_refused,
    bad_amounts_are_refused,
    limits_on_both_sides,
    accounts_that_no_transfer_joins,
    a_wallet_needs_a_model_which_never_changes,
    models_decide_which_transfers_exist,
    a_reversed_deposit_may_overdraw_and_then_nothing_can_be_reserved,
    balances_as_of_then,
    time_never_goes_back,
    statements_page_stably_while_others_write,
    records_page_and_filter,
    accounts_page_and_filter,
    batches_chain,
    books_that_are_opened_to_read_change_nothing,
);

async fn books_that_are_opened_to_read_change_nothing(database: Database) {
    for _ in 0..2 {
        // Not even tables are made: the second time finds nothing either.
        let refused = Books::open_to_read(&database.address).await.map(drop);
        let missing = match refused {
            Err(OpenError::Database(DatabaseError::Unreachable(_))) => database.is_sqlite(),
            Err(OpenError::Schema(_)) => !database.is_sqlite(),
            other => panic!("{other:?}"),
        };
        assert!(missing);
    }
    let books = open(&database).await;
    commit(&books, one(deposit("d1", "client:a", 1000))).await;
    let reader = Books::open_to_read(&database.address).await.unwrap();
    assert_eq!(totals(&reader, "client:a").await, "0 0 0 1000");
    reader.verify(&[]).await.unwrap();
    let next = one(deposit("d2", "client:a", 1));
    let refused = reader.commit(next.clone()).await;
    assert!(matches!(refused, Err(CommitError::Database(DatabaseError::ReadOnly(_)))), "{refused:?}");
    assert!(!commit(&books, next).await.repeated);
    assert_eq!(totals(&reader, "client:a").await, "0 0 0 1001");
    books.close().await;
    reader.close().await;
    database.tamper("UPDATE _sqlx_migrations SET version = version + 1").await;
    assert!(matches!(Books::open_to_read(&database.address).await, Err(OpenError::Schema(_))));
}

async fn deposit_hold_and_settlement(database: Database) {
    let books = open(&database).await;
    commit(&books, one(deposit("d1", "client:a", 1000))).await;
    commit(&books, one(hold("w1", "client:a", 410, None))).await;
    assert_eq!(totals(&books, "client:a").await, "410 0 0 1000");
    let held = books.account(&account("client:a")).await.unwrap();
    assert_eq!((held.balance().to_string(), held.available().to_string()), ("1000".into(), "590".into()));
    let settle = vec![
        post("w1.post", "w1", Some(405)),
        posted("w1.out", "in-transit", "external", 400, Code::Withdrawal),
        posted("w1.fee", "in-transit", "external", 5, Code::NetworkFee),
    ];
    commit(&books, many(settle)).await;
    assert_eq!(totals(&books, "client:a").await, "0 405 0 1000");
    assert_eq!(totals(&books, "in-transit").await, "0 405 0 405");
    assert_eq!(balance(&books, "external").await, -595);
    let (place, ended) = books.ended_by(&"w1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((ended.id.as_str(), ended.amount), ("w1.post", Amount::new(405)));
    assert_eq!(books.transfer(&ended.id).await.unwrap(), Some((place, ended)));
    assert_eq!(books.transfer(&"none".parse().unwrap()).await.unwrap(), None);
    assert_eq!(totals(&books, "client:nobody").await, "0 0 0 0");
    books.verify(&[]).await.unwrap();
}

async fn post_of_less_releases_the_rest(database: Database) {
    let books = open(&database).await;
    commit(&books, one(deposit("d1", "client:a", 100))).await;
    commit(&books, one(hold("w1", "client:a", 100, None))).await;
    let refused = refusal(&books, one(post("p", "w1", Some(101)))).await;
    assert!(matches!(refused, Refusal::AboveReserved { .. }), "{refused}");
    let refused = refusal(&books, one(post("p", "w1", Some(0)))).await;
    assert!(matches!(refused, Refusal::Zero { .. }), "{refused}");
    commit(&books, one(post("p", "w1", Some(30)))).await;
    assert_eq!(totals(&books, "client:a").await, "0 30 0 100");
    assert_eq!(totals(&books, "in-transit").await, "0 0 0 30");
    commit(&books, one(hold("w2", "client:a", 70, None))).await;
    commit(&books, one(post("p2", "w2", None))).await;
    assert_eq!(totals(&books, "client:a").await, "0 100 0 100");
}

async fn a_reservation_ends_exactly_once(database: Database) {
    let books = open(&database).await;
    commit(&books, one(deposit("d1", "client:a", 1000))).await;
    // Twenty reservations, each ended by six at once: exactly one of them gets it.
    for i in 0..20 {
        commit(&books, one(hold(&format!("w{i}"), "client:a", 10, Some(1)))).await;
    }
    let mut tasks = Vec::new();
    for i in 0..20 {
        let pending = format!("w{i}");
        for j in 0..6 {
            let id = format!("w{i}.{j}");
            let end = match j % 3 {
                0 => post(&id, &pending, Some(7)),
                1 => void(&id, &pending),
                _ => expire(&id, &pending),
            };
            let books = books.clone();
            tasks.push(tokio::spawn(async move { (i, books.commit(one(end)).await) }));
        }
    }
    let mut won = [0; 20];
    for task in tasks {
        let (i, result) = task.await.unwrap();
        match result {
            Ok(_) => won[i] += 1,
            Err(CommitError::Refused(Refusal::AlreadyEnded { .. })) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, [1; 20]);
    let end = books.account(&account("client:a")).await.unwrap();
    assert_eq!(end.debits_pending, Amount::ZERO);
    assert_eq!(end.debits_posted.units() % 7, 0);
    let refused = refusal(&books, one(void("x", "no-such"))).await;
    assert!(matches!(refused, Refusal::UnknownPending { .. }), "{refused}");
    let refused = refusal(&books, one(void("x", "d1"))).await;
    assert!(matches!(refused, Refusal::NotPending { .. }), "{refused}");
    books.verify(&[]).await.unwrap();
}

async fn a_reservation_expires_only_when_its_time_has_come(database: Database) {
    let clock = Clock::new();
    let books = clock.open(&database).await;
    commit(&books, wallet("main", Model::Two)).await;
    commit(&books, one(deposit("d1", "client:a", 100))).await;
    commit(&books, one(hold("w1", "client:a", 40, Some(NOW + 10)))).await;
    commit(&books, one(hold("w2", "client:a", 40, Some(NOW + 10)))).await;
    commit(&books, one(hold("w3", "client:a", 20, None))).await;
    clock.set(NOW + 9);
    let refused = refusal(&books, one(expire("x1", "w1"))).await;
    assert!(matches!(refused, Refusal::NotExpired { .. }), "{refused}");
    clock.set(NOW + 10);
    commit(&books, one(expire("x1", "w1"))).await;
    // Coins that left have left: a late settlement is still entered.
    commit(&books, one(post("p2", "w2", None))).await;
    let refused = refusal(&books, one(expire("x3", "w3"))).await;
    assert!(matches!(refused, Refusal::NotExpired { .. }), "{refused}");
    assert_eq!(totals(&books, "client:a").await, "20 40 0 100");
}

async fn repeating_is_idempotent_and_other_content_is_refused(database: Database) {
    let books = open(&database).await;
    let mut first = many(vec![deposit("d1", "client:a", 100), hold("w1", "client:a", 60, None)]);
    first.records.push(change(RecordKind::Withdrawal, "w1", 0, "held"));
    let once = commit(&books, first.clone()).await;
    assert!(!once.repeated);
    commit(&books, one(post("p1", "w1", None))).await;
    let mut next = Posting::default();
    next.records.push(change(RecordKind::Withdrawal, "w1", 1, "settled"));
    commit(&books, next).await;
    // The reservation has ended and the record has moved on; the answer is still the first one.
    let again = commit(&books, first.clone()).await;
    assert_eq!(again, ledger::Committed { repeated: true, ..once });
    // To post all of it, and to post as much as there is, are the same.
    assert!(commit(&books, one(post("p1", "w1", Some(60)))).await.repeated);
    assert_eq!(totals(&books, "client:a").await, "0 60 0 100");
    assert_eq!(books.newest().await.unwrap().unwrap().seq, 4);

    for other in [
        deposit("d1", "client:a", 101),
        deposit("d1", "client:b", 100),
        deposit("w1", "client:a", 60),
        hold("w1", "client:a", 60, Some(5)),
        posted("d1", "external", "client:a", 100, Code::Correction),
        ledger::NewTransfer { cause: "other".into(), ..deposit("d1", "client:a", 100) },
        post("p1", "w1", Some(59)),
        void("p1", "w1"),
    ] {
        let refused = refusal(&books, one(other.clone())).await;
        assert!(matches!(refused, Refusal::Exists { .. }), "{other:?}: {refused}");
    }
    let refused =
        refusal(&books, many(vec![deposit("d1", "client:a", 100), deposit("d2", "client:a", 1)])).await;
    assert!(matches!(refused, Refusal::Partly { .. }), "{refused}");
    let refused =
        refusal(&books, many(vec![deposit("d3", "client:a", 1), deposit("d3", "client:a", 1)])).await;
    assert!(matches!(refused, Refusal::Exists { .. }), "{refused}");

    // A hundred at once with the same id: entered once, all get the same answer.
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let books = books.clone();
        tasks.push(tokio::spawn(
            async move { books.commit(one(deposit("d9", "client:z", 5))).await.unwrap() },
        ));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
    assert!(answers.iter().all(|answer| answer.seq == answers[0].seq));
    assert_eq!(balance(&books, "client:z").await, 5);
}

async fn a_posting_is_all_or_nothing(database: Database) {
    let books = open(&database).await;
    commit(&books, one(deposit("d1", "client:a", 100))).await;
    let before = books.newest().await.unwrap();
    let mut posting = many(vec![
        posted("t1", "client:a", "client:b", 60, Code::Internal),
        posted("t2", "client:a", "client:c", 41, Code::Internal),
    ]);
    posting.records.push(change(RecordKind::Withdrawal, "w", 0, "held"));
    let refused = refusal(&books, posting.clone()).await;
    let Refusal::Overdraft { account: who, available, asked } = &refused else { panic!("{refused}") };
    assert_eq!((who.to_string(), available.to_string()), (account("client:a").to_string(), "40".into()));
    assert_eq!(*asked, Amount::new(41));
    // The other way round: the money is fine and the record is not.
    posting.transfers.pop();
    posting.records[0].expect = 1;
    assert!(matches!(refusal(&books, posting).await, Refusal::Version { found: 0, .. }));
    assert_eq!(totals(&books, "client:a").await, "0 0 0 100");
    assert_eq!(totals(&books, "client:b").await, "0 0 0 0");
    assert_eq!(books.transfer(&"t1".parse().unwrap()).await.unwrap(), None);
    assert_eq!(record(&books, RecordKind::Withdrawal, "w").await, None);
    assert_eq!(books.newest().await.unwrap(), before);
    assert_eq!(refusal(&books, Posting::default()).await, Refusal::Empty);
}

async fn a_lost_update_is_refused(database: Database) {
    let books = open(&database).await;
    let put = |change: RecordChange| Posting { transfers: vec![], records: vec![change] };
    commit(&books, put(change(RecordKind::Deposit, "x", 0, "seen"))).await;
    // Thirty who saw the same version and want different things: one gets it.
    let mut tasks = Vec::new();
    for i in 0..30 {
        let posting = put(change(RecordKind::Deposit, "x", 1, &format!("state-{i}")));
        let books = books.clone();
        tasks.push(tokio::spawn(async move { books.commit(posting).await.is_ok() }));
    }
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!(won, 1);
    let found = record(&books, RecordKind::Deposit, "x").await.unwrap();
    assert_eq!(found.version, 2);
    let refused = refusal(&books, put(change(RecordKind::Deposit, "x", 1, "late"))).await;
    assert!(matches!(refused, Refusal::Version { expected: 1, found: 2, .. }), "{refused}");
    let refused = refusal(&books, put(change(RecordKind::Deposit, "x", 0, "anew"))).await;
    assert!(matches!(refused, Refusal::Version { expected: 0, found: 2, .. }), "{refused}");
    let refused = refusal(&books, put(change(RecordKind::Deposit, "x", 3, "early"))).await;
    assert!(matches!(refused, Refusal::Version { expected: 3, found: 2, .. }), "{refused}");
    let versions = books.history(RecordKind::Deposit, "x", None, 10).await.unwrap();
    assert_eq!(versions.items.iter().map(|r| r.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(versions.items[0].change, change(RecordKind::Deposit, "x", 0, "seen"));
    assert_eq!(versions.items[1], found);
}

async fn bad_amounts_are_refused(database: Database) {
    let books = open(&database).await;
    assert!(matches!(refusal(&books, one(deposit("z", "client:a", 0))).await, Refusal::Zero { .. }));
    let limit = TRANSFER_LIMIT.units();
    assert!(matches!(refusal(&books, one(deposit("z", "client:a", limit + 1))).await, Refusal::Limit { .. }));
    assert!(matches!(refusal(&books, one(deposit("z", "client:a", u128::MAX))).await, Refusal::Limit { .. }));
    commit(&books, one(deposit("z", "client:a", limit))).await;
    // A third of a million of the largest deposits fit the totals of an account. Forge the totals of one
    // that has seen almost all of them.
    let almost = u128::MAX - limit;
    books.close().await;
    let name = account("external");
    database.tamper(&format!("UPDATE account SET totals = '0 {almost} 0 0' WHERE name = '{name}'")).await;
    let books = Books::open(&database.address).await.unwrap();
    commit(&books, one(deposit("fits", "client:b", limit))).await;
    let refused = refusal(&books, one(deposit("over", "client:b", 1))).await;
    assert!(matches!(refused, Refusal::Overflow { .. }), "{refused}");
    let pending = Movement::Pending {
        debit: account("external"),
        credit: account("client:b"),
        amount: Amount::new(1),
        expires_at: None,
    };
    let refused = refusal(&books, one(transfer("over", pending, Code::Deposit))).await;
    assert!(matches!(refused, Refusal::Overflow { .. }), "{refused}");
}

async fn limits_on_both_sides(database: Database) {
    let books = open(&database).await;
    let put = |change: RecordChange| Posting { transfers: vec![], records: vec![change] };
    let some = |id: &str| change(RecordKind::Client, id, 0, "open");

    let cause = |id: &str, length: usize| ledger::NewTransfer {
        cause: "c".repeat(length),
        ..deposit(id, "client:a", 1)
    };
    commit(&books, one(cause("c1", CAUSE_LIMIT_BYTES))).await;
    assert!(matches!(refusal(&books, one(cause("c2", CAUSE_LIMIT_BYTES + 1))).await, Refusal::Limit { .. }));
    let umlaut = ledger::NewTransfer { cause: "ä".into(), ..deposit("c3", "client:a", 1) };
    assert!(matches!(refusal(&books, one(umlaut)).await, Refusal::Text { .. }));

    commit(&books, put(some(&"i".repeat(ID_LIMIT_BYTES)))).await;
    for (bad, is_limit) in [
        ("i".repeat(ID_LIMIT_BYTES + 1), true),
        (String::new(), false),
        ("a b".into(), false),
        ("a\0".into(), false),
    ] {
        let refused = refusal(&books, put(some(&bad))).await;
        assert_eq!(matches!(refused, Refusal::Limit { .. }), is_limit, "{refused}");
        let refused = refusal(&books, put(RecordChange { state: bad.clone(), ..some("s") })).await;
        assert_eq!(matches!(refused, Refusal::Limit { .. }), is_limit, "{refused}");
        let refused = refusal(&books, put(RecordChange { external_id: Some(bad), ..some("s") })).await;
        assert_eq!(matches!(refused, Refusal::Limit { .. }), is_limit, "{refused}");
    }

    // Two quotes around the text.
    let body = |id: &str, bytes: usize| RecordChange { body: "b".repeat(bytes - 2).into(), ..some(id) };
    commit(&books, put(body("b1", BODY_LIMIT_BYTES))).await;
    assert!(matches!(refusal(&books, put(body("b2", BODY_LIMIT_BYTES + 1))).await, Refusal::Limit { .. }));
    for bad in [
        serde_json::json!(1.5),
        serde_json::json!(-1),
        serde_json::json!(1u64 << 53),
        serde_json::json!({"ä": 1}),
    ] {
        let refused = refusal(&books, put(RecordChange { body: bad, ..some("b3") })).await;
        assert!(matches!(refused, Refusal::Body { .. }), "{refused}");
    }
    // Every text that JSON can hold comes back as it was.
    let odd = RecordChange { body: serde_json::json!({"odd": "\0\u{1}\u{7f}ä€😀\\\"'"}), ..some("odd") };
    commit(&books, put(odd.clone())).await;
    assert_eq!(record(&books, RecordKind::Client, "odd").await.unwrap().change, odd);

    commit(&books, put(RecordChange { at: TIME_LIMIT_S - 1, ..some("t1") })).await;
    assert!(matches!(
        refusal(&books, put(RecordChange { at: TIME_LIMIT_S, ..some("t2") })).await,
        Refusal::Limit { .. }
    ));
    commit(&books, one(deposit("d", "client:a", 10))).await;
    commit(&books, one(hold("h1", "client:a", 1, Some(TIME_LIMIT_S - 1)))).await;
    assert!(matches!(
        refusal(&books, one(hold("h2", "client:a", 1, Some(TIME_LIMIT_S)))).await,
        Refusal::Limit { .. }
    ));

    let entries = |prefix: &str, count: usize| {
        many((0..count).map(|i| deposit(&format!("{prefix}{i}"), "client:a", 1)).collect())
    };
    commit(&books, entries("e", POSTING_LIMIT)).await;
    assert!(matches!(refusal(&books, entries("f", POSTING_LIMIT + 1)).await, Refusal::Limit { .. }));
    books.verify(&[]).await.unwrap();
}

async fn accounts_that_no_transfer_joins(database: Database) {
    let books = open(&database).await;
    commit(&books, wallet("cold", Model::TwoP)).await;
    commit(&books, one(deposit("d", "client:a", 10))).await;
    let to = |credit: Account| {
        let movement = Movement::Posted { debit: account("client:a"), credit, amount: Amount::new(1) };
        one(transfer("x", movement, Code::Internal))
    };
    let same = account("client:a");
    let other_wallet = Account { wallet: name("cold"), ..account("client:b") };
    let other_asset = Account { asset: "eip155:1/slip44:60".parse().unwrap(), ..account("client:b") };
    assert!(matches!(refusal(&books, to(same)).await, Refusal::SameAccount { .. }));
    assert!(matches!(refusal(&books, to(other_wallet)).await, Refusal::Unlike { what: "wallet", .. }));
    assert!(matches!(refusal(&books, to(other_asset)).await, Refusal::Unlike { what: "asset", .. }));
}

async fn a_wallet_needs_a_model_which_never_changes(database: Database) {
    let books = Books::open(&database.address).await.unwrap();
    let refused = refusal(&books, one(deposit("d", "client:a", 1))).await;
    assert!(matches!(refused, Refusal::UnknownWallet { .. }), "{refused}");
    let put = |change: RecordChange| Posting { transfers: vec![], records: vec![change] };
    let none = RecordChange {
        body: serde_json::json!({"model": "4"}),
        ..RecordChange::wallet(&name("main"), Model::One, NOW)
    };
    assert!(matches!(refusal(&books, put(none)).await, Refusal::WalletRecord { .. }));
    commit(&books, wallet("main", Model::One)).await;
    assert!(commit(&books, wallet("main", Model::One)).await.repeated);
    let other = RecordChange { expect: 1, ..RecordChange::wallet(&name("main"), Model::OneP, NOW) };
    assert!(matches!(refusal(&books, put(other)).await, Refusal::WalletRecord { .. }));
    assert!(matches!(refusal(&books, wallet("main", Model::OneP)).await, Refusal::Version { .. }));
    commit(&books, one(deposit("d", "client:a", 1))).await;
    // Other books of the same database know it, too.
    let again = Books::open(&database.address).await.unwrap();
    commit(&again, one(deposit("d2", "client:a", 1))).await;
    let refused = refusal(&again, one(deposit("d3", "own", 1))).await;
    assert!(matches!(refused, Refusal::Model { model: "1", .. }), "{refused}");
}

async fn models_decide_which_transfers_exist(database: Database) {
    let books = Books::open(&database.address).await.unwrap();
    let asset = bitcoin();
    for model in Model::ALL {
        let wallet_name = name(&format!("m{}", model.as_str().to_lowercase()));
        commit(
            &books,
            Posting { transfers: vec![], records: vec![RecordChange::wallet(&wallet_name, model, NOW)] },
        )
        .await;
        let moved = |id: &str, debit: &str, credit: &str, code| {
            let debit = Account::new(debit.parse().unwrap(), &wallet_name, &asset);
            let credit = Account::new(credit.parse().unwrap(), &wallet_name, &asset);
            let id = format!("{}.{id}", model.as_str());
            one(transfer(&id, Movement::Posted { debit, credit, amount: Amount::new(10) }, code))
        };
        commit(&books, moved("d", "external", "client:a", Code::Deposit)).await;
        let own = books.commit(moved("o", "external", "own", Code::Deposit)).await;
        assert_eq!(own.is_ok(), model.holds_own());
        let fees = books.commit(moved("f", "fees", "external", Code::NetworkFee)).await;
        assert_eq!(fees.is_ok(), matches!(model, Model::One | Model::Two));
        let between = books.commit(moved("i", "client:a", "client:b", Code::Internal)).await;
        assert_eq!(between.is_ok(), model != Model::Three);
        let odd = books.commit(moved("x", "client:a", "external", Code::Deposit)).await;
        assert!(matches!(odd, Err(CommitError::Refused(Refusal::Model { .. }))));
    }
    books.verify(&[]).await.unwrap();
}

async fn a_reversed_deposit_may_overdraw_and_then_nothing_can_be_reserved(database: Database) {
    let books = open(&database).await;
    commit(&books, one(deposit("d1", "client:a", 100))).await;
    commit(&books, one(posted("t", "client:a", "client:b", 80, Code::Internal))).await;
    let none = AccountFilter { overdrawn: true, ..AccountFilter::default() };
    assert_eq!(books.accounts(&none, None, 10).await.unwrap().items, []);
    // Only by this code, only at once.
    let refused = refusal(&books, one(posted("c", "client:a", "external", 100, Code::Correction))).await;
    assert!(matches!(refused, Refusal::Overdraft { .. }), "{refused}");
    let (debit, credit) = (account("client:a"), account("external"));
    let pending = Movement::Pending { debit, credit, amount: Amount::new(100), expires_at: None };
    let refused = refusal(&books, one(transfer("r0", pending, Code::DepositReversed))).await;
    assert!(matches!(refused, Refusal::Overdraft { .. }), "{refused}");
    commit(&books, one(posted("r1", "client:a", "external", 100, Code::DepositReversed))).await;
    assert_eq!(balance(&books, "client:a").await, -80);
    let refused = refusal(&books, one(hold("w", "client:a", 1, None))).await;
    assert!(refused.to_string().contains("has -80 available and 1 is asked"), "{refused}");
    let breaks = books.accounts(&none, None, 10).await.unwrap().items;
    assert_eq!(
        breaks.iter().map(|(a, _)| a.to_string()).collect::<Vec<_>>(),
        [account("client:a").to_string()]
    );
    books.verify(&[]).await.unwrap();
    // Exactly back at zero it is no break any more, and still has nothing to give.
    commit(&books, one(deposit("d2", "client:a", 80))).await;
    assert_eq!(books.accounts(&none, None, 10).await.unwrap().items, []);
    assert!(matches!(refusal(&books, one(hold("w", "client:a", 1, None))).await, Refusal::Overdraft { .. }));
    books.verify(&[]).await.unwrap();
}

async fn balances_as_of_then(database: Database) {
    let clock = Clock::new();
    let books = clock.open(&database).await;
    commit(&books, wallet("main", Model::TwoP)).await;
    let mut history = Vec::new();
    for i in 0..12u64 {
        clock.set(NOW + 100 + i / 2 * 10);
        let id = format!("t{i}");
        let done = if i % 3 == 2 {
            commit(&books, one(posted(&id, "client:a", "client:b", 5, Code::Internal))).await
        } else {
            commit(&books, one(deposit(&id, "client:a", 10))).await
        };
        history.push((done, totals(&books, "client:a").await, totals(&books, "client:b").await));
    }
    let as_of = async |owner: &str, moment| books.as_of(&account(owner), moment).await.unwrap().to_string();
    for (done, a, b) in &history {
        assert_eq!(as_of("client:a", Moment::Seq(done.seq)).await, *a);
        assert_eq!(as_of("client:b", Moment::Seq(done.seq)).await, *b);
        assert_eq!(as_of("client:a", Moment::Position(done.position)).await, *a);
        let last = history.iter().rfind(|(other, ..)| other.time == done.time).unwrap();
        assert_eq!(as_of("client:a", Moment::Time(done.time)).await, last.1);
        assert_eq!(as_of("client:a", Moment::Time(done.time + 9)).await, last.1);
    }
    let zero = "0 0 0 0";
    assert_eq!(as_of("client:a", Moment::Seq(0)).await, zero);
    assert_eq!(as_of("client:a", Moment::Seq(1)).await, zero);
    assert_eq!(as_of("client:a", Moment::Time(NOW + 99)).await, zero);
    assert_eq!(as_of("client:a", Moment::Seq(u64::MAX)).await, history[11].1);
    assert_eq!(as_of("client:nobody", Moment::Seq(5)).await, zero);
}

async fn time_never_goes_back(database: Database) {
    let clock = Clock::new();
    let books = clock.open(&database).await;
    commit(&books, wallet("main", Model::Two)).await;
    clock.set(NOW + 86_400);
    let ahead = commit(&books, one(deposit("d1", "client:a", 1))).await;
    clock.set(NOW - 86_400);
    let behind = commit(&books, one(deposit("d2", "client:a", 1))).await;
    assert_eq!((ahead.time, behind.time), (NOW + 86_400, NOW + 86_400));
    assert_eq!(behind.seq, ahead.seq + 1);
    assert_eq!(commit(&books, one(deposit("d1", "client:a", 1))).await.time, ahead.time);
    books.verify(&[]).await.unwrap();
}

async fn statements_page_stably_while_others_write(database: Database) {
    let books = open(&database).await;
    for i in 0..25 {
        commit(&books, one(deposit(&format!("d{i}"), "client:a", 10 + i))).await;
    }
    let writer = {
        let books = books.clone();
        tokio::spawn(async move {
            for i in 0..100 {
                let transfers = vec![
                    posted(&format!("o{i}"), "client:a", "client:b", 1, Code::Internal),
                    deposit(&format!("n{i}"), "client:a", 3),
                ];
                commit(&books, many(transfers)).await;
            }
        })
    };
    // Pages of seven, read while the writer runs, until it is done and all was read.
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let finished = writer.is_finished();
        let page = books.lines(&account("client:a"), after, 7).await.unwrap();
        after = page.items.last().map_or(after, |line| Some(line.place.position));
        let full = page.next.is_some();
        assert_eq!(full, page.items.len() == 7);
        lines.extend(page.items);
        if finished && !full {
            break;
        }
    }
    writer.await.unwrap();
    assert_eq!(lines.len(), 225, "no line is lost between two pages, none comes twice");
    let mut running = 0i128;
    for line in &lines {
        let amount = i128::try_from(line.transfer.amount.units()).unwrap();
        running += if line.side == Side::Credit { amount } else { -amount };
        assert_eq!(line.balance().to_string(), running.to_string());
    }
    assert_eq!(balance(&books, "client:a").await, running);
    assert_eq!(books.lines(&account("client:b"), None, 1000).await.unwrap().items.len(), 100);
    assert_eq!(books.lines(&account("client:nobody"), None, 5).await.unwrap().items, []);
    // Any page again is the same page.
    let again = books.lines(&account("client:a"), Some(lines[9].place.position), 7).await.unwrap();
    assert_eq!(again.items, lines[10..17]);
    // Both sides of the limit of a page.
    assert_eq!(books.transfers(None, usize::MAX).await.unwrap().items.len(), 225);
    assert_eq!(books.transfers(None, 0).await.unwrap().items.len(), 1);
    const { assert!(PAGE_LIMIT == 1000) };
}

async fn records_page_and_filter(database: Database) {
    let books = open(&database).await;
    for i in 0..40 {
        let record = RecordChange {
            client: Some(name(if i % 2 == 0 { "acme" } else { "best" })),
            external_id: Some(format!("x{}", i % 5)),
            ..change(RecordKind::Withdrawal, &format!("w{i}"), 0, if i % 4 == 0 { "held" } else { "sent" })
        };
        commit(&books, Posting { transfers: vec![], records: vec![record] }).await;
    }
    commit(
        &books,
        Posting { transfers: vec![], records: vec![change(RecordKind::Deposit, "w1", 0, "held")] },
    )
    .await;
    for client in [None, Some("acme"), Some("best"), Some("none")] {
        for state in [None, Some("held"), Some("sent")] {
            for external in [None, Some("x3")] {
                let filter = RecordFilter {
                    kind: RecordKind::Withdrawal,
                    client: client.map(name),
                    state: state.map(str::to_owned),
                    external_id: external.map(str::to_owned),
                };
                let wanted: Vec<String> = (0..40)
                    .filter(|i| client.is_none_or(|c| c == if i % 2 == 0 { "acme" } else { "best" }))
                    .filter(|i| state.is_none_or(|s| s == if i % 4 == 0 { "held" } else { "sent" }))
                    .filter(|i| external.is_none_or(|e| e == format!("x{}", i % 5)))
                    .map(|i| format!("w{i}"))
                    .collect();
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let page = books.records(&filter, after, 3).await.unwrap();
                    found.extend(page.items.into_iter().map(|record| record.change.id));
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(found, wanted, "{filter:?}");
            }
        }
    }
    // A record that moves on keeps its place, and leaves its state.
    let moved =
        RecordChange { client: Some(name("acme")), ..change(RecordKind::Withdrawal, "w0", 1, "sent") };
    commit(&books, Posting { transfers: vec![], records: vec![moved] }).await;
    let filter = |state: Option<&str>| RecordFilter {
        kind: RecordKind::Withdrawal,
        client: None,
        state: state.map(str::to_owned),
        external_id: None,
    };
    let first = books.records(&filter(None), None, 1).await.unwrap();
    assert_eq!((first.items[0].change.id.as_str(), first.items[0].version), ("w0", 2));
    let held = books.records(&filter(Some("held")), None, 1).await.unwrap();
    assert_eq!(held.items[0].change.id, "w4");
}

async fn accounts_page_and_filter(database: Database) {
    let books = open(&database).await;
    commit(&books, wallet("cold", Model::TwoP)).await;
    for i in 0..6 {
        commit(&books, one(deposit(&format!("d{i}"), &format!("client:c{i}"), 10))).await;
    }
    let cold = |owner: &str| Account { wallet: name("cold"), ..account(owner) };
    let movement =
        Movement::Posted { debit: cold("external"), credit: cold("client:c1"), amount: Amount::new(1) };
    commit(&books, one(transfer("cold", movement, Code::Deposit))).await;
    let found = async |owner: Option<&str>, wallet: Option<&str>| {
        let filter = AccountFilter {
            overdrawn: false,
            owner: owner.map(|owner| owner.parse().unwrap()),
            wallet: wallet.map(name),
        };
        let (mut found, mut after) = (0, None);
        loop {
            let page = books.accounts(&filter, after, 2).await.unwrap();
            found += page.items.len();
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    assert_eq!(found(None, None).await, 9);
    assert_eq!(found(None, Some("main")).await, 7);
    assert_eq!(found(Some("client:c1"), None).await, 2);
    assert_eq!(found(Some("client:c1"), Some("cold")).await, 1);
    assert_eq!(found(Some("client:c2"), Some("cold")).await, 0);
}

async fn batches_chain(database: Database) {
    let books = open(&database).await;
    for i in 0..5 {
        commit(&books, one(deposit(&format!("d{i}"), "client:a", 1))).await;
    }
    let batches = books.batches(1, 100).await.unwrap();
    assert_eq!(batches.iter().map(|b| b.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(batches[0].previous, custody::Hash::default());
    assert!(batches.windows(2).all(|pair| pair[1].previous == pair[0].digest));
    assert_eq!(books.batches(3, 2).await.unwrap(), batches[2..4]);
    assert_eq!(books.newest().await.unwrap(), Some(batches[5]));
    let verified = books.verify(&[]).await.unwrap();
    assert_eq!((verified.seq, verified.digest), (6, batches[5].digest));
    assert_eq!((verified.transfers, verified.changes, verified.accounts), (5, 1, 2));
}
