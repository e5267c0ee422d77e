//! Addresses.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::Code;
use ledger::RecordKind;
use serde_json::{Value, json};

use crate::house::Town;

#[tokio::test]
async fn addresses_are_asked_for_and_follow_by_the_log() {
    let town = Town::new().await;
    let body = json!({"wallet": "main", "client": "north", "count": 3});
    let answer = town.post("gate", "/v1/addresses", "k1", &body).await.ok(202);
    assert_eq!((&answer["min_index"], &answer["branch"]), (&json!(0), &json!("receive")));
    town.post("gate", "/v1/addresses", "k2", &json!({"wallet": "main", "client": "south"})).await.ok(202);
    let all = town.get("alice", "/v1/addresses").await.ok(200);
    let all = all["items"].as_array().unwrap();
    assert_eq!(all.len(), 4);
    let third = &all[2];
    assert_eq!((&third["client"], &third["index"]), (&json!("north"), &json!(2)));
    assert_eq!(third["derivation_path"], "m/86h/1h/0h/0/2");
    let expected = town.world(|world| {
        use custody::effects::Decoder as _;
        let key = fixtures::Account::new(0).key();
        let script = world.decoder.own_script(&key, custody::effects::Branch::Receive, 2).unwrap();
        world.decoder.address(&script).unwrap()
    });
    assert_eq!(third["address"], expected);
    let one = town.get("alice", &format!("/v1/addresses/{expected}")).await.ok(200);
    assert_eq!(one, *third);
    for (query, count) in
        [("client=north", 3), ("client=south&min_index=3", 1), ("min_index=2", 2), ("branch=change", 0)]
    {
        let found = town.get("alice", &format!("/v1/addresses?{query}")).await.ok(200);
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    town.get("alice", &format!("/v1/addresses/{}", fixtures::regtest::address("acme")))
        .await
        .problem(Code::ResourceUnknown);
    town.get("alice", "/v1/addresses/junk").await.problem(Code::ResourceUnknown);
    town.get("alice", "/v1/addresses?branch=other").await.problem(Code::QueryInvalid);
}

#[tokio::test]
async fn pages_of_addresses_join_without_a_gap() {
    let town = Town::new().await;
    for (i, (client, count)) in [("north", 3), ("south", 4), ("north", 2)].into_iter().enumerate() {
        let body = json!({"wallet": "main", "client": client, "count": count});
        town.post("gate", "/v1/addresses", &format!("k{i}"), &body).await.ok(202);
    }
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = town.get("alice", &format!("/v1/addresses?client=north&limit=2{next}")).await.ok(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["index"].as_u64().unwrap()));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, [0, 1, 2, 7, 8]);
}

#[tokio::test]
async fn a_repetition_asks_the_log_once() {
    let town = Town::new().await;
    let body = json!({"wallet": "main", "client": "north"});
    let first = town.post("gate", "/v1/addresses", "k1", &body).await;
    let again = town.post("gate", "/v1/addresses", "k1", &body).await;
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    let town = town.restart().await;
    assert_eq!(town.post("gate", "/v1/addresses", "k1", &body).await.text, first.text);
    assert_eq!(*town.home.allocations.lock().unwrap(), 0, "not by the next server");
    town.home.busy.store(true, Ordering::SeqCst);
    town.post("gate", "/v1/addresses", "k2", &body).await.problem(Code::LogBusy);
    town.home.busy.store(false, Ordering::SeqCst);
    town.post("gate", "/v1/addresses", "k2", &body).await.ok(202);
}

/// The house does not answer until the sender of what is returned is dropped.
fn hold(town: &Town) -> std::sync::mpsc::Sender<()> {
    let (free, wait) = std::sync::mpsc::channel();
    let (held, is_held) = std::sync::mpsc::channel();
    let home = Arc::clone(&town.home);
    std::thread::spawn(move || {
        let _lock = home.allocations.lock().unwrap();
        held.send(()).unwrap();
        let _ = wait.recv();
    });
    is_held.recv().unwrap();
    free
}

/// Somebody asks, is told nothing as the house does not answer, and goes away.
async fn ask_and_go(town: &Arc<Town>, body: &Value) {
    let first = tokio::spawn({
        let (town, body) = (Arc::clone(town), body.clone());
        async move { town.post("gate", "/v1/addresses", "k1", &body).await }
    });
    let filter = ledger::RecordFilter {
        kind: RecordKind::IdempotencyKey,
        client: None,
        state: None,
        external_id: None,
    };
    while town.home.books.records(&filter, None, 1).await.unwrap().items.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // From the record to the task that goes on is one step of the first.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = town.post("gate", "/v1/addresses", "k1", body).await;
    assert_eq!(second.headers["retry-after"], "5");
    second.problem(Code::IdempotencyInFlight);
    first.abort();
    assert!(first.await.is_err(), "the first caller went away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_begun_is_ended_also_when_the_caller_goes_away() {
    let town = Arc::new(Town::new().await);
    let body = json!({"wallet": "main", "client": "north"});
    let held = hold(&town);
    ask_and_go(&town, &body).await;
    drop(held);
    let answer = async {
        loop {
            let answer = town.post("gate", "/v1/addresses", "k1", &body).await;
            if answer.status == 202 {
                break answer;
            }
            answer.problem(Code::IdempotencyInFlight);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer =
        tokio::time::timeout(Duration::from_secs(20), answer).await.expect("the answer of the first");
    assert!(answer.headers.contains_key("idempotency-replayed"));
    assert_eq!(*town.home.allocations.lock().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_log_is_asked_the_same_key_waits_and_a_stop_is_made_good() {
    let town = Arc::new(Town::new().await);
    let body = json!({"wallet": "main", "client": "north"});
    let held = hold(&town);
    ask_and_go(&town, &body).await;
    // The server stops before the answer is kept.
    let town = Arc::into_inner(town).expect("nobody asks any more").restart().await;
    drop(held);
    town.post("gate", "/v1/addresses", "k1", &body).await.problem(Code::IdempotencyInFlight);
    town.forward(30);
    town.post("gate", "/v1/addresses", "k1", &body).await.problem(Code::IdempotencyInFlight);
    town.forward(1);
    town.post("gate", "/v1/addresses", "k1", &body).await.ok(202);
}

#[tokio::test]
async fn counts_on_both_sides_of_the_limit() {
    let town = Town::new().await;
    let body = |count: u32| json!({"wallet": "main", "client": "north", "count": count});
    for (i, count) in [0, 1_001].into_iter().enumerate() {
        town.post("gate", "/v1/addresses", &format!("b{i}"), &body(count)).await.problem(Code::BodyInvalid);
    }
    for (i, count) in [1, 1_000].into_iter().enumerate() {
        town.post("gate", "/v1/addresses", &format!("g{i}"), &body(count)).await.ok(202);
    }
}

#[tokio::test]
async fn a_retired_address_stays_retired() {
    let town = Town::new().await;
    town.post("gate", "/v1/addresses", "k1", &json!({"wallet": "main", "client": "north"})).await.ok(202);
    let address = town.get("alice", "/v1/addresses").await.ok(200)["items"][0]["address"].clone();
    let path = format!("/v1/addresses/{}", address.as_str().unwrap());
    let retired = town.post("alice", &format!("{path}/retire"), "r1", &json!({})).await.ok(200);
    assert_eq!(retired["retired"], true);
    assert_eq!(town.get("alice", &path).await.ok(200)["retired"], true);
    let record = town.home.books.record(RecordKind::Address, address.as_str().unwrap()).await.unwrap();
    let record = record.unwrap().change;
    assert_eq!((record.state.as_str(), &record.body["by"]), ("retired", &json!("person:alice")));
    town.post("alice", &format!("{path}/retire"), "r2", &json!({})).await.problem(Code::AddressRetired);
}

/// The interface asks the index of the house, which takes in what was allocated since the last question.
#[tokio::test]
async fn an_address_is_own_from_its_allocation_on() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let script = |index| {
        town.world(|world| {
            use custody::effects::Decoder as _;
            let key = fixtures::Account::new(0).key();
            let script = world.decoder.own_script(&key, custody::effects::Branch::Receive, index).unwrap();
            world.decoder.address(&script).unwrap()
        })
    };
    let pay = async |key: &str, address: &str| {
        let outputs = json!([{"address": address, "amount": "400000"}]);
        let body = json!({"wallet": "main", "client": "north", "fee_max": "1000", "outputs": outputs});
        town.post("erp", "/v1/withdrawals", key, &body).await
    };
    assert!(town.home.own.read().is_empty());
    for index in 0..3 {
        let address = script(index);
        pay(&format!("{index}-before"), &address).await.problem(Code::DestinationUnknown);
        town.get("alice", &format!("/v1/addresses/{address}")).await.problem(Code::ResourceUnknown);
        let body = json!({"wallet": "main", "client": "south"});
        town.post("gate", "/v1/addresses", &format!("{index}"), &body).await.ok(202);
        pay(&format!("{index}-after"), &address).await.problem(Code::DestinationOwn);
        town.get("alice", &format!("/v1/addresses/{address}")).await.ok(200);
    }
    assert!(!town.home.own.read().is_empty(), "no other index");
}
