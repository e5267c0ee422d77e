//! Each code of the list is reached, by what the list says it is for.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use api::Code;
use custody::document::Model;
use custody::payment::Request;
use serde_json::{Value, json};

use crate::house::Town;

/// Another test of this directory reaches it: what it takes is more than one question.
const ELSEWHERE: [(Code, &str); 16] = [
    (Code::AddressRetired, "addresses.rs::a_retired_address_stays_retired"),
    (Code::ClientExists, "clients.rs::a_draft_is_proposed_approved_and_in_force"),
    (Code::Conflict, "cancels.rs::what_the_log_does_not_have_yet_cannot_be_cancelled_yet"),
    (Code::DepositNotHeld, "deposits.rs::a_release_takes_two_people"),
    (Code::DepositSecondPerson, "deposits.rs::a_release_takes_two_people"),
    (Code::ExternalIdTaken, "once.rs::an_external_id_names_one_thing_of_one_client"),
    (
        Code::IdempotencyInFlight,
        "addresses.rs::while_the_log_is_asked_the_same_key_waits_and_a_stop_is_made_good",
    ),
    (
        Code::IdempotencyMismatch,
        "once.rs::the_same_again_is_answered_as_the_first_time_also_by_the_next_server",
    ),
    (Code::LedgerModel, "transfers.rs::what_no_pool_allows_is_refused"),
    (Code::RecoveryFork, "recovery.rs::what_the_register_does_not_take_is_a_problem"),
    (Code::RecoveryGap, "recovery.rs::what_the_register_does_not_take_is_a_problem"),
    (Code::RecoveryRefused, "recovery.rs::what_the_register_does_not_take_is_a_problem"),
    (Code::RecoveryUnreadable, "recovery.rs::what_the_register_does_not_take_is_a_problem"),
    (Code::WithdrawalEnded, "cancels.rs::what_has_ended_stays_so"),
    (Code::WithdrawalExists, "once.rs::what_comes_in_another_order_is_refused_or_the_same"),
    (Code::WithdrawalNotDraft, "withdrawals.rs::a_draft_is_signed_later_and_becomes_a_withdrawal"),
];

/// The question of a draft with one field changed.
fn draft(field: &str, value: Value) -> Value {
    let mut body = json!({
        "wallet": "main", "client": "north", "fee_max": "1000",
        "outputs": [{"destination": "acme", "amount": "400000"}],
    });
    body[field] = value;
    body
}

fn pays(amount: &str) -> Value {
    draft("outputs", json!([{"destination": "acme", "amount": amount}]))
}

fn pays_to(address: &str) -> Value {
    draft("outputs", json!([{"address": address, "amount": "400000"}]))
}

/// Every code that one question to a running server reaches: who asks, how, what, with which key.
async fn questions(
    town: &Town,
) -> Vec<(Code, &'static str, &'static str, String, Option<&'static str>, Vec<u8>)> {
    let own = town.post("gate", "/v1/addresses", "own", &json!({"wallet": "main", "client": "north"})).await;
    own.ok(202);
    let own = town.get("erp", "/v1/addresses").await.ok(200)["items"][0]["address"].clone();
    let signed = |who: &str, request: Request| json!({"signed_request": town.signed(who, request)});
    let approve =
        custody::statement::Body::Veto(custody::statement::Veto { target: custody::Hash::default() });
    let veto = json!({"signed_request": town.sign("alice", approve)});
    let mut forged = signed("erp", town.request(Some("north"), 1_000));
    forged["signed_request"]["payloadType"] = json!("text/plain");
    let mut mismatch = signed("erp", town.request(Some("north"), 1_000));
    mismatch["client"] = json!("south");
    let withdrawals = [
        (Code::TimeInvalid, draft("end", json!("2025-01-01T00:00:00Z"))),
        (Code::AmountNegative, pays("-1")),
        (Code::AmountZero, pays("0")),
        (Code::AmountTooPrecise, pays("1.5")),
        (Code::AmountMalformed, pays("0x10")),
        (Code::AmountOverflow, pays("2100000000000001")),
        (Code::AmountDust, pays("329")),
        (Code::AssetUnknown, draft("asset", json!("bip122:000000000019d6689c085ae165831e93/slip44:0"))),
        (Code::WalletUnknown, draft("wallet", json!("spare"))),
        (Code::ClientUnknown, draft("client", json!("nobody"))),
        (Code::ClientRequired, draft("client", Value::Null)),
        (Code::TextInvalid, draft("note", json!("two\nlines"))),
        (Code::ExternalIdInvalid, draft("external_id", json!("a b"))),
        (Code::DestinationUnknown, pays_to(&fixtures::regtest::address("nobody"))),
        (Code::DestinationForm, draft("outputs", json!([{"amount": "400000"}]))),
        (Code::DestinationMalformed, pays_to("bcrt1pnone")),
        (
            Code::DestinationOtherNetwork,
            pays_to("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"),
        ),
        (Code::DestinationOwn, pays_to(own.as_str().unwrap())),
        (Code::StatementMalformed, forged),
        (Code::StatementKind, veto),
        (Code::StatementRefused, signed("gate", town.request(Some("north"), 1_000))),
        (Code::StatementMismatch, mismatch),
        (Code::PolicyRefused, pays("100000001")),
        (Code::LedgerOverdraft, signed("erp", town.request(Some("north"), 100_000_000))),
        (Code::BodyUnknownField, draft("colour", json!("red"))),
        (Code::BodyInvalid, draft("wallet", json!(5))),
    ];
    let path = || "/v1/withdrawals".to_owned();
    let mut all: Vec<_> = withdrawals
        .into_iter()
        .map(|(code, body)| (code, "erp", "POST", path(), Some("k"), body.to_string().into_bytes()))
        .collect();
    let bytes = |body: Value| body.to_string().into_bytes();
    let same = json!({"wallet": "main", "from": "client:north", "to": "client:north", "amount": "1"});
    all.extend([
        (Code::PathUnknown, "erp", "GET", "/v1/nothing".to_owned(), None, vec![]),
        (Code::MethodUnknown, "erp", "DELETE", path(), None, vec![]),
        (Code::ResourceUnknown, "erp", "GET", "/v1/withdrawals/none".to_owned(), None, vec![]),
        (Code::CallerUnknown, "", "GET", path(), None, vec![]),
        (Code::CallerRole, "s1", "GET", path(), None, vec![]),
        (Code::CallerGrant, "gate", "POST", path(), Some("k"), bytes(pays("1000"))),
        (Code::CallerPerson, "erp", "POST", "/v1/deposits/x/release".to_owned(), Some("k"), vec![]),
        (Code::BodyTooLarge, "erp", "POST", path(), Some("k"), vec![b' '; api::BODY_LIMIT_BYTES + 1]),
        (Code::BodyTooDeep, "erp", "POST", path(), Some("k"), b"[".repeat(api::DEPTH_LIMIT + 1)),
        (Code::BodyNotJson, "erp", "POST", path(), Some("k"), b"{".to_vec()),
        (Code::QueryUnknownField, "erp", "GET", format!("{}?colour=red", path()), None, vec![]),
        (Code::QueryInvalid, "erp", "GET", format!("{}?limit=0", path()), None, vec![]),
        (Code::CursorInvalid, "erp", "GET", format!("{}?cursor=x", path()), None, vec![]),
        (Code::IdempotencyMissing, "erp", "POST", path(), None, bytes(pays("1000"))),
        (Code::IdempotencyInvalid, "erp", "POST", path(), Some("a b"), bytes(pays("1000"))),
        (Code::LedgerSameAccount, "erp", "POST", "/v1/transfers".to_owned(), Some("k"), bytes(same)),
        (Code::ReconcileUnavailable, "erp", "POST", "/v1/reconciliations".to_owned(), None, vec![]),
    ]);
    all
}

#[tokio::test]
async fn every_code_is_reached() {
    let town = Town::new().await;
    town.fund("north", 10_000).await;
    let mut reached = BTreeSet::new();
    let before = town.home.books.newest().await.unwrap().unwrap();
    for (code, who, method, path, key, body) in questions(&town).await {
        let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        town.ask(who, method, &path, &headers, body).await.problem(code);
        assert!(reached.insert(code), "{code:?} twice");
    }
    // One address was asked for, and nothing that was refused left anything.
    assert_eq!(town.home.books.newest().await.unwrap().unwrap().seq, before.seq + 2);
    assert!(town.requests().is_empty());

    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 1_000))});
    town.fund("north", 100_000).await;
    town.home.busy.store(true, Ordering::SeqCst);
    town.post("erp", "/v1/withdrawals", "k", &body).await.problem(Code::LogBusy);
    town.home.blind.store(true, Ordering::SeqCst);
    town.get("erp", "/v1/status").await.problem(Code::Internal);
    town.home.blind.store(false, Ordering::SeqCst);
    town.home.books.close().await;
    town.post("erp", "/v1/withdrawals", "k", &body).await.problem(Code::BooksUnavailable);

    let undeclared = Town::undeclared(fixtures::World::with(fixtures::newest(), Model::One)).await;
    let body = json!({"signed_request": undeclared.signed("erp", undeclared.request(Some("north"), 1_000))});
    undeclared.post("erp", "/v1/withdrawals", "k", &body).await.problem(Code::WalletUndeclared);

    reached.extend([Code::LogBusy, Code::Internal, Code::BooksUnavailable, Code::WalletUndeclared]);
    let elsewhere = ELSEWHERE.map(|(code, _)| code);
    assert!(elsewhere.iter().all(|code| reached.insert(*code)), "listed twice");
    let all: BTreeSet<_> = Code::ALL.iter().copied().collect();
    assert_eq!(reached, all);
    for (code, test) in ELSEWHERE {
        let (file, name) = test.split_once("::").unwrap();
        let text =
            std::fs::read_to_string(format!("{}/tests/rest/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let body = text.split(&format!("async fn {name}(")).nth(1).unwrap();
        let body = body.split("\nasync fn ").next().unwrap();
        assert!(body.contains(&format!("Code::{code:?}")), "{test} does not ask for {code:?}");
    }
}

#[tokio::test]
async fn a_key_that_goes_out_of_use_is_not_served_any_more() {
    let town = Town::new().await;
    town.get("dave", "/v1/status").await.ok(200);
    let key = fixtures::id("dave");
    town.world(|world| {
        world.say("dave", custody::statement::Body::Revoke(custody::statement::Revoke { key }))
    })
    .unwrap();
    town.get("dave", "/v1/status").await.problem(Code::CallerUnknown);
}

#[tokio::test]
async fn a_machine_without_the_grant_writes_nothing() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    town.post("erp", "/v1/addresses", "a", &json!({"wallet": "main", "client": "north"})).await.ok(202);
    let address = town.get("erp", "/v1/addresses").await.ok(200)["items"][0]["address"].clone();
    let drafted = town.post("erp", "/v1/withdrawals", "d", &pays("1000")).await.ok(202);
    let draft = format!("/v1/withdrawals/{}", drafted["id"].as_str().unwrap());
    let asked: Request = serde_json::from_value(drafted["to_sign"]["body"].clone()).unwrap();
    let signed = json!({"signed_request": town.signed("erp", asked)});
    let begun = json!({"signed_request": town.signed("erp", town.request(Some("north"), 1_000))});
    let begun = town.post("erp", "/v1/withdrawals", "w", &begun).await.ok(202)["id"].clone();
    let begun = format!("/v1/withdrawals/{}/cancel", begun.as_str().unwrap());
    let cancel = town.post("erp", &begun, "c", &json!({})).await.ok(200)["to_sign"]["body"].clone();
    let cancel = json!({"signed_request": town.signed("erp", serde_json::from_value(cancel).unwrap())});
    let before = town.home.books.newest().await.unwrap();
    let transfer = json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "1"});
    let renew = begun.replace("/cancel", "/renew");
    let renewal = town.post("erp", &renew, "r", &json!({})).await.ok(200)["to_sign"]["body"].clone();
    let renewal = json!({"signed_request": town.signed("erp", serde_json::from_value(renewal).unwrap())});
    let destination = custody::statement::Propose { document: fixtures::destination("beta"), replaces: None };
    let destination = town.sign("bob", custody::statement::Body::Propose(destination));
    for (method, path, body) in [
        ("POST", "/v1/clients".to_owned(), json!({"id": "east", "name": "East"})),
        ("POST", "/v1/addresses".to_owned(), json!({"wallet": "main", "client": "north"})),
        ("POST", format!("/v1/addresses/{}/retire", address.as_str().unwrap()), json!({})),
        ("POST", "/v1/withdrawals".to_owned(), pays("1000")),
        ("POST", "/v1/withdrawals".to_owned(), draft_tried()),
        ("PUT", format!("{draft}/request"), signed),
        ("POST", format!("{draft}/cancel"), json!({})),
        ("POST", begun.clone(), json!({})),
        ("POST", begun, cancel),
        ("POST", renew.clone(), json!({})),
        ("POST", renew, renewal),
        ("POST", "/v1/destinations".to_owned(), json!({"signed_proposal": destination})),
        ("POST", "/v1/transfers".to_owned(), transfer),
    ] {
        let headers = [("idempotency-key", "k")];
        let answer = town.ask("watcher", method, &path, &headers, body.to_string().into_bytes()).await;
        let problem = answer.problem(Code::CallerGrant);
        assert!(problem["detail"].as_str().unwrap().starts_with("machine watcher has no grant"), "{problem}");
    }
    assert_eq!(town.home.books.newest().await.unwrap(), before);
    assert_eq!(town.requests().len(), 1);
}

fn draft_tried() -> Value {
    draft("dry_run", json!(true))
}
