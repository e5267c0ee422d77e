//! Transfers.

use api::Code;
use custody::document::Model;
use serde_json::json;

use crate::house::{ASSET, Town};

#[tokio::test]
async fn clients_of_a_pool_pay_each_other_in_the_books() {
    let town = Town::new().await;
    town.fund("north", 1_000).await;
    let body = json!({
        "wallet": "main", "from": "client:north", "to": "client:south", "amount": "400", "asset": ASSET,
        "external_id": "gift/1",
    });
    let answer = town.post("alice", "/v1/transfers", "k1", &body).await.ok(201);
    assert_eq!(answer["id"], "internal/north/gift/1");
    let read = town.get("erp", "/v1/transfers/internal%2Fnorth%2Fgift%2F1").await.ok(200);
    assert_eq!((&read["debit"], &read["credit"]), (&json!("client:north"), &json!("client:south")));
    assert_eq!(
        (&read["code"], &read["kind"], &read["amount"]),
        (&json!("internal"), &json!("posted"), &json!("400"))
    );
    assert_eq!(read["cause"], "asked by person:alice");
    let found = town.get("erp", "/v1/transfers?client=north&external_id=gift/1").await.ok(200);
    assert_eq!(found["items"], json!([read]));
    let none = town.get("erp", "/v1/transfers?client=south&external_id=gift/1").await.ok(200);
    assert_eq!(none["items"], json!([]));
    assert_eq!((town.available("north").await, town.available("south").await), ("600".into(), "400".into()));
    town.post("alice", "/v1/transfers", "k2", &body).await.problem(Code::ExternalIdTaken);
    town.is_sound().await;
}

#[tokio::test]
async fn what_no_pool_allows_is_refused() {
    let town = Town::new().await;
    town.fund("north", 1_000).await;
    let body = |from: &str, to: &str| json!({"wallet": "main", "from": from, "to": to, "amount": "1001"});
    let ask = |body| {
        let town = &town;
        async move { town.post("erp", "/v1/transfers", "k", &body).await }
    };
    ask(body("client:north", "client:south")).await.problem(Code::LedgerOverdraft);
    ask(body("client:north", "client:north")).await.problem(Code::LedgerSameAccount);
    ask(body("client:north", "own")).await.problem(Code::LedgerModel);
    ask(body("client:north", "client:nobody")).await.problem(Code::ClientUnknown);
    for other in ["external", "suspense", "in-transit", "fees", "north"] {
        ask(body(other, "client:north")).await.problem(Code::BodyInvalid);
        ask(body("client:north", other)).await.problem(Code::BodyInvalid);
    }
    let mut other = body("client:north", "client:south");
    other["asset"] = json!("eip155:1/slip44:60");
    ask(other).await.problem(Code::AssetUnknown);
    let segregated = Town::of(Model::Three).await;
    segregated.fund("north", 1_000).await;
    let body = json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "1"});
    segregated.post("erp", "/v1/transfers", "k", &body).await.problem(Code::LedgerModel);
}

#[tokio::test]
async fn a_reservation_says_what_ended_it() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    let id =
        town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202)["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/transfers/hold%2F{id}");
    let read = town.get("erp", &path).await.ok(200);
    assert_eq!((&read["kind"], read.get("ended_by")), (&json!("pending"), None));
    let void = ledger::NewTransfer {
        id: format!("void/{id}").parse().unwrap(),
        movement: ledger::Movement::Void { pending: format!("hold/{id}").parse().unwrap() },
        code: ledger::Code::Withdrawal,
        cause: id.clone(),
    };
    town.home.books.commit(ledger::Posting { transfers: vec![void], records: vec![] }).await.unwrap();
    assert_eq!(town.get("erp", &path).await.ok(200)["ended_by"], format!("void/{id}"));
    let void = town.get("erp", &format!("/v1/transfers/void%2F{id}")).await.ok(200);
    assert_eq!(void["ends"], format!("hold/{id}"));
}
