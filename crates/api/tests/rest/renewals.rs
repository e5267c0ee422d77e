//! Renewals.

use std::sync::atomic::Ordering;

use api::Code;
use custody::effects::Sats;
use custody::payment::Request;
use serde_json::{Value, json};

use crate::house::{FEE, Town};

const PAID: u64 = 400_000;

async fn begun(town: &Town) -> (String, String) {
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), PAID))});
    let id =
        town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202)["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/withdrawals/{id}/renew");
    (id, path)
}

/// What the answer says to sign.
async fn to_sign(town: &Town, path: &str, body: &Value) -> Request {
    let answer = town.ask("erp", "POST", path, &[], body.to_string().into_bytes()).await.ok(200);
    serde_json::from_value(answer["to_sign"]["body"].clone()).unwrap()
}

#[tokio::test]
async fn the_answer_says_what_to_sign_and_the_signature_goes_to_the_log() {
    let town = Town::new().await;
    let (id, path) = begun(&town).await;
    let before = town.home.books.newest().await.unwrap();
    let body = json!({"fee_max": "60000", "end": "2026-01-03T00:00:00Z"});
    let renewal = to_sign(&town, &path, &body).await;
    assert_eq!(town.home.books.newest().await.unwrap(), before, "asking writes nothing");
    let old = town.request(Some("north"), PAID);
    let expected = Request {
        fee_max: Sats(60_000),
        end: old.end + 86_400,
        renews: custody::Hash::from_hex(&id),
        ..old.clone()
    };
    assert_eq!(renewal, expected);
    assert_eq!(to_sign(&town, &path, &json!({})).await.fee_max, old.fee_max, "as before");

    let signed = json!({"signed_request": town.signed("erp", renewal), "fee_max": "60000"});
    let bytes = signed.to_string().into_bytes();
    town.ask("erp", "POST", &path, &[], bytes).await.problem(Code::IdempotencyMissing);
    assert_eq!(town.post("erp", &path, "r1", &signed).await.ok(202)["id"], id);
    assert_eq!(town.requests().len(), 2);
    assert_eq!(town.post("erp", &path, "r1", &signed).await.ok(202)["id"], id);
    assert_eq!(town.requests().len(), 2, "a repetition sends nothing twice");
    // The next one renews the renewal, as far as the books know of it.
    assert_eq!(town.available("north").await, (1_000_000 - PAID - FEE).to_string(), "the clerk reserves");
}

#[tokio::test]
async fn a_renewal_must_be_one_and_of_this_withdrawal() {
    let town = Town::new().await;
    let (id, path) = begun(&town).await;
    let renewal = to_sign(&town, &path, &json!({})).await;
    let refused = |request: Request, more: Value| {
        let mut body = json!({"signed_request": town.signed("erp", request)});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (town, path) = (&town, &path);
        async move { town.post("erp", path, "r", &body).await }
    };
    let none = || json!({});
    refused(Request { outputs: vec![], ..renewal.clone() }, none()).await.problem(Code::StatementKind);
    refused(Request { renews: None, ..renewal.clone() }, none()).await.problem(Code::StatementMismatch);
    refused(renewal.clone(), json!({"fee_max": "1"})).await.problem(Code::StatementMismatch);
    refused(renewal.clone(), json!({"end": "2026-01-05T00:00:00Z"})).await.problem(Code::StatementMismatch);
    let south = Request { client: Some(fixtures::name("south")), ..renewal.clone() };
    refused(south, none()).await.problem(Code::StatementRefused);
    // One base unit decides.
    let most = 1_000_000 - PAID;
    let dear = |fee_max: u64| Request { fee_max: Sats(fee_max), ..renewal.clone() };
    let problem = refused(dear(most + 1), none()).await.problem(Code::LedgerOverdraft);
    assert_eq!(problem["available"], json!((most - FEE).to_string()));
    assert_eq!(town.requests().len(), 1);
    refused(dear(most), none()).await.ok(202);
    let nobody = format!("/v1/withdrawals/{}/renew", "0".repeat(64));
    town.post("erp", &nobody, "n", &json!({})).await.problem(Code::ResourceUnknown);
    assert!(town.requests().contains(&id));
}

#[tokio::test]
async fn what_cannot_be_renewed() {
    let town = Town::new().await;
    let draft = json!({
        "wallet": "main", "client": "north", "fee_max": "1000",
        "outputs": [{"destination": "acme", "amount": "250000"}],
    });
    let draft = town.post("erp", "/v1/withdrawals", "d", &draft).await.ok(202)["id"].clone();
    let path = format!("/v1/withdrawals/{}/renew", draft.as_str().unwrap());
    town.post("erp", &path, "r", &json!({})).await.problem(Code::WithdrawalNotDraft);
    town.home.deaf.store(true, Ordering::SeqCst);
    let (_, path) = begun(&town).await;
    town.post("erp", &path, "r", &json!({})).await.problem(Code::Conflict);
    town.home.deaf.store(false, Ordering::SeqCst);
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 1_000))});
    let id = town.post("erp", "/v1/withdrawals", "k2", &body).await.ok(202)["id"].clone();
    let path = format!("/v1/withdrawals/{}/renew", id.as_str().unwrap());
    for (field, value, code) in [
        ("end", json!("2025-12-31T23:59:59Z"), Code::TimeInvalid),
        ("end", json!("2026-04-01T00:00:01Z"), Code::TimeInvalid),
        ("fee_max", json!("0"), Code::AmountZero),
        ("note_label", json!({"salt": "0".repeat(64), "text": "x"}), Code::BodyInvalid),
    ] {
        town.post("erp", &path, "x", &json!({field: value})).await.problem(code);
    }
    let record = town.home.books.record(ledger::RecordKind::Withdrawal, id.as_str().unwrap()).await;
    let record = record.unwrap().unwrap();
    let mut body: Value = record.change.body.clone();
    (body["state"], body["fee"]) = (json!({"state": "settled"}), json!("5"));
    let change = ledger::RecordChange { expect: 1, state: "settled".into(), body, ..record.change };
    town.home.books.commit(ledger::Posting { transfers: vec![], records: vec![change] }).await.unwrap();
    town.post("erp", &path, "y", &json!({})).await.problem(Code::WithdrawalEnded);
}
