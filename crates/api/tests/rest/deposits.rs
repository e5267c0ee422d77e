//! Deposits.

use api::Code;
use custody::Hash;
use custody::effects::{Branch, OutPoint, Sats};
use deposits::{Address, Coin, CoinKind, DepositRecord, HoldReason, Place, Sighting, Step};
use fixtures::name;
use ledger::{Posting, RecordChange, RecordKind};
use serde_json::json;

use crate::house::Town;

/// Puts a held deposit of 700 sat into the books, as the one who follows the chain does. Returns its id.
pub(crate) async fn held(town: &Town, client: Option<&str>, number: u8) -> String {
    held_at(town, client, number, 0).await
}

async fn held_at(town: &Town, client: Option<&str>, number: u8, index: u32) -> String {
    let address = Address {
        wallet: name("main"),
        branch: Branch::Receive,
        index,
        client: client.map(name),
        retired: true,
    };
    let outpoint = OutPoint { txid: Hash([number; 32]), vout: 1 };
    let sighting = Sighting { outpoint, amount: Sats(700), address: address.clone() };
    let place = Place { height: 7, block: Hash([9; 32]), connection: number.into() };
    let coin =
        Coin { outpoint, amount: Sats(700), address, place, needed: 1, kind: CoinKind::Judged, spent: None };
    let mut record = DepositRecord::new(&sighting, "bcrt1pheld".into());
    record.found(&coin);
    record.take(&Step::Confirm { confirmations: 1, needed: 1 }, 1, "network").unwrap();
    record.take(&Step::Hold(vec![HoldReason::Retired]), 2, "server").unwrap();
    let change = RecordChange {
        kind: RecordKind::Deposit,
        id: record.key(),
        expect: 0,
        state: "held".into(),
        client: record.client.clone(),
        external_id: None,
        at: 2,
        body: serde_json::to_value(&record).unwrap(),
    };
    let id = change.id.clone();
    town.move_in("suspense", 700).await;
    town.home.books.commit(Posting { transfers: vec![], records: vec![change] }).await.unwrap();
    id
}

#[tokio::test]
async fn a_release_takes_two_people() {
    let town = Town::new().await;
    let id = held(&town, Some("north"), 1).await;
    let path = format!("/v1/deposits/{id}/release");
    for machine in ["erp", "gate"] {
        town.post(machine, &path, "m", &json!({})).await.problem(Code::CallerPerson);
    }
    let asked = town.post("alice", &path, "k1", &json!({})).await.ok(202);
    assert_eq!((&asked["status"], &asked["release_asked_by"]), (&json!("held"), &json!("person:alice")));
    assert_eq!(asked["held_for"], json!(["the address was retired"]));
    town.post("alice", &path, "k2", &json!({})).await.problem(Code::DepositSecondPerson);
    assert_eq!(town.available("north").await, "0");

    let released = town.post("bob", &path, "k1", &json!({})).await.ok(200);
    assert_eq!(released["status"], "credited");
    assert!(released["transfer"].as_str().unwrap().starts_with(&format!("release/{id}@")), "{released}");
    assert_eq!(town.available("north").await, "700");
    let by: Vec<_> = released["timeline"].as_array().unwrap().iter().map(|line| &line["by"]).collect();
    assert_eq!(by, ["network", "server", "person:alice", "person:bob"]);
    town.post("bob", &path, "k1", &json!({})).await.ok(200);
    town.post("carol", &path, "k3", &json!({})).await.problem(Code::DepositNotHeld);
    assert_eq!(town.available("north").await, "700", "once");
    town.is_sound().await;
}

#[tokio::test]
async fn what_belongs_to_nobody_is_released_to_nobody() {
    let town = Town::new().await;
    let id = held_at(&town, None, 1, 9_999).await;
    town.post("alice", &format!("/v1/deposits/{id}/release"), "k", &json!({}))
        .await
        .problem(Code::DepositNotHeld);
    town.post("alice", "/v1/deposits/none/release", "k", &json!({})).await.problem(Code::ResourceUnknown);
}

#[tokio::test]
async fn what_was_paid_before_its_address_was_allocated_is_released_to_whom_it_was_allocated() {
    let town = Town::new().await;
    let id = held(&town, None, 1).await;
    let path = format!("/v1/deposits/{id}/release");
    let asked = json!({ "wallet": "main", "client": "north" });
    town.post("gate", "/v1/addresses", "a", &asked).await.ok(202);
    town.post("alice", &path, "k1", &json!({})).await.ok(202);
    let released = town.post("bob", &path, "k1", &json!({})).await.ok(200);
    assert_eq!((&released["status"], &released["client"]), (&json!("credited"), &json!("north")));
    assert_eq!(town.available("north").await, "700");
    town.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_people_who_release_at_once_release_once() {
    let town = std::sync::Arc::new(Town::new().await);
    let id = held(&town, Some("north"), 1).await;
    let path = format!("/v1/deposits/{id}/release");
    town.post("alice", &path, "k", &json!({})).await.ok(202);
    let tasks: Vec<_> = ["bob", "carol", "dave"]
        .into_iter()
        .map(|who| {
            let (town, path) = (std::sync::Arc::clone(&town), path.clone());
            tokio::spawn(async move { town.post(who, &path, "k", &json!({})).await })
        })
        .collect();
    let mut released = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status {
            200 => released += 1,
            _ => assert!([Code::Conflict, Code::DepositNotHeld].contains(&answer.is_problem())),
        }
    }
    assert_eq!((released, town.available("north").await), (1, "700".into()));
}

#[tokio::test]
async fn deposits_are_found_by_what_they_are() {
    let town = Town::new().await;
    let first = held(&town, Some("north"), 1).await;
    let second = held(&town, Some("south"), 2).await;
    for (query, expected) in [
        ("", vec![&first, &second]),
        ("?client=south", vec![&second]),
        ("?status=held&client=north", vec![&first]),
        ("?status=credited", vec![]),
        ("?wallet=main", vec![&first, &second]),
        ("?wallet=spare", vec![]),
        ("?address=bcrt1pheld&limit=1", vec![&first]),
        ("?address=other", vec![]),
        ("?to=2025-12-31T23:59:59Z", vec![]),
        ("?from=2026-01-01T00:00:00Z", vec![&first, &second]),
    ] {
        let found = town.get("erp", &format!("/v1/deposits{query}")).await.ok(200);
        let ids: Vec<_> =
            found["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    town.get("erp", &format!("/v1/deposits/{first}?client=north")).await.ok(200);
    town.get("erp", &format!("/v1/deposits/{first}?client=south")).await.problem(Code::ResourceUnknown);
}
