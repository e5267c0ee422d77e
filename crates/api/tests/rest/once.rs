//! Idempotency: one effect and one answer for one key, whatever is repeated, stopped or reordered.

use std::sync::atomic::Ordering;

use api::{Code, KEY_LIMIT_BYTES};
use custody::document::Model;
use serde_json::json;

use crate::house::Town;

fn replayed(answer: &crate::house::Answer) -> bool {
    answer.headers.contains_key("idempotency-replayed")
}

#[tokio::test]
async fn the_same_again_is_answered_as_the_first_time_also_by_the_next_server() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    let first = town.post("erp", "/v1/withdrawals", "k1", &body).await;
    let again = town.post("erp", "/v1/withdrawals", "k1", &body).await;
    assert_eq!((first.status, &first.text), (202, &again.text));
    assert_eq!((first.status, again.status), (202, 202));
    assert!(!replayed(&first) && replayed(&again));

    let town = town.restart().await;
    let later = town.post("erp", "/v1/withdrawals", "k1", &body).await;
    assert_eq!((later.status, &later.text), (202, &first.text));
    assert_eq!(town.available("north").await, "550000", "reserved once");
    assert_eq!(town.requests().len(), 1);

    let other = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    town.post("erp", "/v1/withdrawals", "k1", &other).await.problem(Code::IdempotencyMismatch);
    // The key is the caller's own, and the path's.
    town.post("alice", "/v1/withdrawals", "k1", &body).await.problem(Code::WithdrawalExists);
    let transfer = json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "1"});
    town.post("erp", "/v1/transfers", "k1", &transfer).await.ok(201);
}

#[tokio::test]
async fn a_stop_between_books_and_log_loses_nothing() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    town.home.busy.store(true, Ordering::SeqCst);
    town.post("erp", "/v1/withdrawals", "k1", &body).await.problem(Code::LogBusy);
    assert_eq!(town.available("north").await, "550000", "it is reserved");
    assert!(town.requests().is_empty());
    let town = town.restart().await;
    let answer = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    assert!(town.requests().contains(answer["id"].as_str().unwrap()));
    assert_eq!(town.available("north").await, "550000", "once");
}

#[tokio::test]
async fn an_answer_outlives_the_statement_it_carried() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    town.home.deaf.store(true, Ordering::SeqCst);
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    town.world(|world| world.tick(2 * fixtures::DAY));
    town.home.busy.store(true, Ordering::SeqCst);
    let again = town.post("erp", "/v1/withdrawals", "k1", &body).await;
    assert_eq!((again.status, replayed(&again)), (202, true), "the log would not take it any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_with_one_key_are_one() {
    let town = std::sync::Arc::new(Town::new().await);
    town.fund("north", 1_000_000).await;
    let body = json!({
        "signed_request": town.signed("erp", town.request(Some("north"), 400_000)), "external_id": "x",
    });
    let ask = || {
        let (town, body) = (std::sync::Arc::clone(&town), body.clone());
        tokio::spawn(async move { town.post("erp", "/v1/withdrawals", "k1", &body).await })
    };
    let tasks: Vec<_> = (0..10).map(|_| ask()).collect();
    let mut texts = std::collections::BTreeSet::new();
    for task in tasks {
        let answer = task.await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text);
        texts.insert(answer.text);
    }
    assert_eq!(texts.len(), 1);
    assert_eq!(town.available("north").await, "550000");
}

#[tokio::test]
async fn an_external_id_names_one_thing_of_one_client() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    town.fund("south", 1_000_000).await;
    let body = |client: &str| json!({"signed_request": town.signed("erp", town.request(Some(client), 1_000)), "external_id": "x"});
    town.post("erp", "/v1/withdrawals", "k1", &body("north")).await.ok(202);
    town.post("erp", "/v1/withdrawals", "k2", &body("north")).await.problem(Code::ExternalIdTaken);
    assert_eq!(town.available("north").await, "949000", "nothing more is reserved");
    town.post("erp", "/v1/withdrawals", "k3", &body("south")).await.ok(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_for_an_external_id_has_one_winner() {
    let town = std::sync::Arc::new(Town::new().await);
    town.fund("north", 10_000_000).await;
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let town = std::sync::Arc::clone(&town);
            let signed = town.signed("erp", town.request(Some("north"), 1_000));
            let body = json!({"signed_request": signed, "external_id": "x"});
            tokio::spawn(async move { town.post("erp", "/v1/withdrawals", &format!("k{i}"), &body).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status {
            202 => won += 1,
            _ => drop(answer.problem(Code::ExternalIdTaken)),
        }
    }
    assert_eq!((won, town.requests().len()), (1, 1));
    assert_eq!(town.available("north").await, "9949000");
}

#[tokio::test]
async fn keys_on_both_sides_of_the_limit() {
    let town = Town::new().await;
    town.fund("north", 100).await;
    let body = |id: &str| json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "1", "external_id": id});
    let longest = "k".repeat(KEY_LIMIT_BYTES);
    town.post("erp", "/v1/transfers", &longest, &body("a")).await.ok(201);
    for bad in [&format!("{longest}k"), "", "a b", "a\tb"] {
        town.post("erp", "/v1/transfers", bad, &body("b")).await.problem(Code::IdempotencyInvalid);
    }
    let none = town.ask("erp", "POST", "/v1/transfers", &[], body("b").to_string().into_bytes()).await;
    none.problem(Code::IdempotencyMissing);
}

#[tokio::test]
async fn what_comes_in_another_order_is_refused_or_the_same() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let signed = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    // A signature before its draft, a cancel before its withdrawal.
    let draft = format!("draft-{}", "0".repeat(32));
    town.put("erp", &format!("/v1/withdrawals/{draft}/request"), "a", &signed)
        .await
        .problem(Code::ResourceUnknown);
    town.post("erp", &format!("/v1/withdrawals/{draft}/cancel"), "b", &json!({}))
        .await
        .problem(Code::ResourceUnknown);
    // The request comes by another way first: it is one withdrawal, and known.
    let envelope = signed["signed_request"].clone();
    let bytes = custody::canon::encode(&envelope).unwrap();
    let envelope = custody::statement::Envelope::parse(&bytes).unwrap();
    town.world(|world| world.submit(envelope)).unwrap();
    town.post("erp", "/v1/withdrawals", "c", &signed).await.problem(Code::WithdrawalExists);
    assert_eq!(town.available("north").await, "1000000");
}

#[tokio::test]
async fn the_external_ids_of_the_house_are_not_those_of_a_client_by_its_name() {
    let town = Town::of(Model::OneP).await;
    town.world(|world| world.adopt(fixtures::client("own")));
    town.fund("own", 1_000_000).await;
    town.move_in("own", 1_000_000).await;
    for (i, client) in [None, Some("own")].into_iter().enumerate() {
        let signed = town.signed("erp", town.request(client, 1_000));
        let body = json!({"signed_request": signed, "external_id": "x"});
        town.post("erp", "/v1/withdrawals", &format!("w{i}"), &body).await.ok(202);
    }
    let transfer = |from: &str| json!({"wallet": "main", "from": from, "to": "client:north", "amount": "1", "external_id": "x"});
    for (from, id) in [("own", "internal/own:/x"), ("client:own", "internal/own/x")] {
        let answer = town.post("erp", "/v1/transfers", from, &transfer(from)).await.ok(201);
        assert_eq!(answer["id"], id);
    }
    town.post("erp", "/v1/transfers", "k", &transfer("own")).await.problem(Code::ExternalIdTaken);
}

#[tokio::test]
async fn words_are_kept_also_when_the_log_was_faster_than_they() {
    use api::House as _;
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let label = fixtures::label("for the rent");
    let request =
        custody::payment::Request { note: Some(label.commitment()), ..town.request(Some("north"), 400_000) };
    let envelope = town.world(|world| world.sign("erp", custody::statement::Body::Request(request)));
    let signed: serde_json::Value = serde_json::from_slice(&envelope.bytes()).unwrap();
    let body = json!({"signed_request": signed, "note_label": {"salt": label.salt, "text": label.text}});
    town.home.busy.store(true, Ordering::SeqCst);
    town.post("erp", "/v1/withdrawals", "k1", &body).await.problem(Code::LogBusy);
    // It stops here; what stands in the books is carried to the log without the words.
    town.world(|world| world.submit(envelope)).unwrap();
    let town = town.restart().await;
    assert!(replayed(&town.post("erp", "/v1/withdrawals", "k1", &body).await));
    assert_eq!(town.home.label(&label.commitment()), Some("for the rent".into()));
    // Also when the statement's time is over by then, and the log has forgotten that it saw it.
    let town = town.restart().await;
    town.world(|world| world.tick(fixtures::DAY + 1));
    assert_eq!(town.home.label(&label.commitment()), None, "this server has no words yet");
    assert!(replayed(&town.post("erp", "/v1/withdrawals", "k1", &body).await));
    assert_eq!(town.home.label(&label.commitment()), Some("for the rent".into()));
    // Without words nothing is left to do.
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 1_000))});
    town.post("erp", "/v1/withdrawals", "k2", &body).await.ok(202);
    town.home.busy.store(true, Ordering::SeqCst);
    assert!(replayed(&town.post("erp", "/v1/withdrawals", "k2", &body).await));
}
