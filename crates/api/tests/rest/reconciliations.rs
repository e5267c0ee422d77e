//! Books against network.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::Code;
use ledger::{Amount, Balance, Item, Posting, Reconciliation, RecordChange, RecordKind};
use serde_json::{Value, json};

use crate::house::{ASSET, Answer, Town};

/// A comparison with so many suspects, of one base unit each.
fn broken(count: usize) -> Reconciliation {
    Reconciliation {
        wallet: fixtures::name("main"),
        asset: ASSET.parse().unwrap(),
        height: 7,
        block: custody::Hash([7; 32]),
        network: Amount::new(5),
        books: Balance::of(Amount::new(6), Amount::ZERO),
        incoming: vec![],
        outgoing: vec![],
        difference: Balance::of(Amount::ZERO, Amount::new(1)),
        suspects: (0..count)
            .map(|i| Item::new("spend-unauthorised", i.to_string(), Amount::new(1)))
            .collect(),
    }
}

#[tokio::test]
async fn reconciliations_are_made_and_listed() {
    let town = Town::new().await;
    let one = broken(1);
    *town.home.reconciliations.lock().unwrap() = Ok(vec![one.clone()]);
    let made = town.ask("alice", "POST", "/v1/reconciliations", &[], Vec::new()).await.ok(200);
    assert_eq!((&made[0]["difference"], &made[0]["suspects"][0]["id"]), (&json!("-1"), &json!("0")));
    let change = |id: &str, state: &str| RecordChange {
        kind: RecordKind::Reconciliation,
        id: id.into(),
        expect: 0,
        state: state.into(),
        client: None,
        external_id: None,
        at: 1,
        body: serde_json::to_value(&one).unwrap(),
    };
    let records = vec![change("main:7:aa", "break"), change("main:8:bb", "ok"), change("spare:8:bb", "ok")];
    town.home.books.commit(Posting { transfers: vec![], records }).await.unwrap();
    for (query, expected) in
        [("", 3), ("?status=break", 1), ("?wallet=main", 2), ("?wallet=main&status=ok", 1)]
    {
        let found = town.get("erp", &format!("/v1/reconciliations{query}")).await.ok(200);
        assert_eq!(found["items"].as_array().unwrap().len(), expected, "{query}");
    }
    let found = town.get("erp", "/v1/reconciliations?status=break").await.ok(200);
    assert_eq!(
        (&found["items"][0]["id"], &found["items"][0]["difference"]),
        (&json!("main:7:aa"), &json!("-1"))
    );
}

async fn compare(town: &Town) -> Answer {
    town.ask("alice", "POST", "/v1/reconciliations", &[], Vec::new()).await
}

#[tokio::test]
async fn lists_of_a_comparison_on_both_sides_of_the_limit() {
    let town = Town::new().await;
    let suspects = |all: Vec<Reconciliation>| {
        *town.home.reconciliations.lock().unwrap() = Ok(all);
        let town = &town;
        async move {
            let made = compare(town).await.ok(200);
            let lists =
                made.as_array().unwrap().iter().map(|one| one["suspects"].as_array().unwrap().clone());
            lists.map(|list| (list.len(), list.last().unwrap().clone())).collect::<Vec<(usize, Value)>>()
        }
    };
    let last = |id: usize| json!({"what": "spend-unauthorised", "id": id.to_string(), "amount": "1"});
    let more =
        |count: usize| json!({"what": "more", "id": format!("{count} more"), "amount": count.to_string()});
    assert_eq!(suspects(vec![broken(1_000)]).await, [(1_000, last(999))]);
    assert_eq!(suspects(vec![broken(1_001)]).await, [(1_001, more(1))]);
    // Two wallets have a half each.
    assert_eq!(suspects(vec![broken(500), broken(700)]).await, [(500, last(499)), (501, more(200))]);

    let full: Vec<_> = broken(1_500).suspects;
    let all = Reconciliation { incoming: full.clone(), outgoing: full, ..broken(1_500) };
    *town.home.reconciliations.lock().unwrap() = Ok(vec![all]);
    let made = compare(&town).await.ok(200);
    for list in ["incoming", "outgoing", "suspects"] {
        assert_eq!(made[0][list][1_000], more(500), "{list}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_few_wait_for_a_comparison_and_no_more() {
    let town = Arc::new(Town::new().await);
    let (free, wait) = std::sync::mpsc::channel::<()>();
    let (held, is_held) = std::sync::mpsc::channel();
    let home = Arc::clone(&town.home);
    let lock = std::thread::spawn(move || {
        let mut lock = home.reconciliations.lock().unwrap();
        *lock = Ok(vec![]);
        held.send(()).unwrap();
        wait.recv().unwrap();
    });
    is_held.recv().unwrap();
    let ask = || {
        let town = Arc::clone(&town);
        tokio::spawn(async move { compare(&town).await })
    };
    let mut waiting: Vec<_> = (0..8).map(|_| ask()).collect();
    while town.home.comparisons.load(Ordering::SeqCst) < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A caller who goes away leaves a thread that waits.
    let gone = waiting.pop().unwrap();
    gone.abort();
    assert!(gone.await.is_err());
    let refused =
        tokio::time::timeout(Duration::from_secs(20), compare(&town)).await.expect("an answer at once");
    let problem = refused.problem(Code::ReconcileUnavailable);
    assert_eq!(problem["detail"], "others are asking already: ask again");
    assert_eq!(town.home.comparisons.load(Ordering::SeqCst), 8);

    free.send(()).unwrap();
    lock.join().unwrap();
    for one in waiting {
        one.await.unwrap().ok(200);
    }
    compare(&town).await.ok(200);
}
