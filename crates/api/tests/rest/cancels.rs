//! Cancels.

use std::sync::atomic::Ordering;

use api::Code;
use custody::payment::Request;
use ledger::{Posting, RecordChange, RecordKind};
use serde_json::{Value, json};

use crate::house::Town;

async fn begun(town: &Town) -> String {
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_answer_says_what_to_sign_and_the_signature_goes_to_the_log() {
    let town = Town::new().await;
    let id = begun(&town).await;
    let path = format!("/v1/withdrawals/{id}/cancel");
    let before = town.home.books.newest().await.unwrap();
    let answer = town.ask("erp", "POST", &path, &[], Vec::new()).await.ok(200);
    assert_eq!(town.home.books.newest().await.unwrap(), before, "asking writes nothing");
    let cancel: Request = serde_json::from_value(answer["to_sign"]["body"].clone()).unwrap();
    assert!(cancel.is_cancel());
    assert_eq!(cancel.renews.map(|id| id.to_string()), Some(id.clone()));
    assert_eq!(cancel.client, Some("north".parse().unwrap()));

    let body = json!({"signed_request": town.signed("erp", cancel)});
    town.ask("erp", "POST", &path, &[], body.to_string().into_bytes())
        .await
        .problem(Code::IdempotencyMissing);
    town.post("erp", &path, "c1", &body).await.ok(202);
    assert_eq!(town.requests().len(), 2);
    assert_eq!(town.post("erp", &path, "c1", &body).await.ok(202)["id"], id);
    assert_eq!(town.requests().len(), 2, "a repetition sends nothing twice");
}

#[tokio::test]
async fn a_cancel_must_be_one_and_of_this_withdrawal() {
    let town = Town::new().await;
    let id = begun(&town).await;
    let path = format!("/v1/withdrawals/{id}/cancel");
    let pays = json!({"signed_request": town.signed("erp", town.request(Some("north"), 1_000))});
    town.post("erp", &path, "c1", &pays).await.problem(Code::StatementKind);
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 300_000))});
    let other = town.post("erp", "/v1/withdrawals", "k2", &body).await.ok(202)["id"].clone();
    let renews = custody::Hash::from_hex(other.as_str().unwrap());
    let cancel = Request { outputs: vec![], renews, ..town.request(Some("north"), 0) };
    let body = json!({"signed_request": town.signed("erp", cancel)});
    town.post("erp", &path, "c2", &body).await.problem(Code::StatementMismatch);
    town.post("erp", &format!("/v1/withdrawals/{}/cancel", "0".repeat(64)), "c3", &body)
        .await
        .problem(Code::ResourceUnknown);
}

#[tokio::test]
async fn what_the_log_does_not_have_yet_cannot_be_cancelled_yet() {
    let town = Town::new().await;
    town.home.deaf.store(true, Ordering::SeqCst);
    let id = begun(&town).await;
    town.ask("erp", "POST", &format!("/v1/withdrawals/{id}/cancel"), &[], Vec::new())
        .await
        .problem(Code::Conflict);
}

#[tokio::test]
async fn what_has_ended_stays_so() {
    let town = Town::new().await;
    let id = begun(&town).await;
    let record = town.home.books.record(RecordKind::Withdrawal, &id).await.unwrap().unwrap();
    let mut body: Value = record.change.body.clone();
    body["state"] = json!({"state": "expired"});
    let change = RecordChange { expect: 1, state: "expired".into(), body, ..record.change };
    town.home.books.commit(Posting { transfers: vec![], records: vec![change] }).await.unwrap();
    town.ask("erp", "POST", &format!("/v1/withdrawals/{id}/cancel"), &[], Vec::new())
        .await
        .problem(Code::WithdrawalEnded);
}

#[tokio::test]
async fn a_draft_ends_at_once() {
    let town = Town::new().await;
    let body = json!({
        "wallet": "main", "client": "north", "fee_max": "1000",
        "outputs": [{"destination": "acme", "amount": "250000"}],
    });
    let draft = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202)["id"].clone();
    let path = format!("/v1/withdrawals/{}/cancel", draft.as_str().unwrap());
    let signed = json!({"signed_request": town.signed("erp", town.request(Some("north"), 0))});
    town.post("erp", &path, "c0", &signed).await.problem(Code::WithdrawalNotDraft);
    let answer = town.post("erp", &path, "c1", &json!({})).await.ok(200);
    assert_eq!((&answer["status"], &answer["to_sign"]), (&json!("cancelled"), &Value::Null));
    town.post("erp", &path, "c2", &json!({})).await.problem(Code::WithdrawalNotDraft);
    let asked = json!({"signed_request": town.signed("erp", town.request(Some("north"), 250_000))});
    let sign = format!("/v1/withdrawals/{}/request", draft.as_str().unwrap());
    town.put("erp", &sign, "c3", &asked).await.problem(Code::WithdrawalNotDraft);
}
