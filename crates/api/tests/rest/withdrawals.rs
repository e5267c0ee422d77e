//! Withdrawals: signed, drafted, tried, read.

use api::Code;
use custody::document::Model;
use custody::payment::Request;
use serde_json::{Value, json};

use crate::house::{ASSET, FEE, Town};

#[tokio::test]
async fn a_signed_request_is_reserved_for_and_goes_to_the_log() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let signed = town.signed("erp", town.request(Some("north"), 400_000));
    let body = json!({"signed_request": signed, "external_id": "order-1"});
    let answer = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    let id = answer["id"].as_str().unwrap();
    assert_eq!(answer["status"], "requested");
    assert_eq!((&answer["client"], &answer["wallet"]), (&json!("north"), &json!("main")));
    assert_eq!(answer["asset"], ASSET);
    assert_eq!((&answer["amount"], &answer["reserved"]), (&json!("400000"), &json!("450000")));
    assert_eq!(answer["outputs"][0]["destination"], "acme");
    assert_eq!(answer["needed"][0]["what"], "approvals");
    assert_eq!(answer["needed"][0]["rule"], "policy.approvals");
    assert!(town.requests().contains(id));
    assert_eq!(town.available("north").await, "550000");
    let read = town.get("alice", &format!("/v1/withdrawals/{id}")).await.ok(200);
    assert_eq!((&read["id"], &read["external_id"]), (&json!(id), &json!("order-1")));
    assert_eq!(read["timeline"][0]["by"], "machine:erp");
    town.is_sound().await;
}

#[tokio::test]
async fn approvals_of_the_log_are_shown_until_none_is_needed() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    let id = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202)["id"].clone();
    let path = format!("/v1/withdrawals/{}", id.as_str().unwrap());
    let hash = custody::Hash::from_hex(id.as_str().unwrap()).unwrap();
    town.world(|world| world.approve("alice", hash)).unwrap();
    let needed = town.get("alice", &path).await.ok(200)["needed"].clone();
    assert_eq!((&needed[0]["what"], &needed[0]["so_far"]), (&json!("approvals"), &json!(["alice"])));
    town.world(|world| world.approve("bob", hash)).unwrap();
    assert_eq!(town.get("alice", &path).await.ok(200)["needed"], json!([]));
}

#[tokio::test]
async fn a_freeze_shows_as_what_is_needed() {
    use custody::statement::{Body, Freeze, Scope};
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    let id = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202)["id"].clone();
    town.world(|world| {
        world.say("alarm", Body::Freeze(Freeze { scope: Scope::Client("north".parse().unwrap()) }))
    })
    .unwrap();
    let read = town.get("alice", &format!("/v1/withdrawals/{}", id.as_str().unwrap())).await.ok(200);
    let words: Vec<_> = read["needed"].as_array().unwrap().iter().map(|need| &need["what"]).collect();
    assert_eq!(words, ["approvals", "resume"]);
}

#[tokio::test]
async fn a_draft_is_signed_later_and_becomes_a_withdrawal() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let body = json!({
        "wallet": "main", "client": "north", "asset": ASSET, "fee_max": "1000", "external_id": "order-2",
        "outputs": [{"destination": "acme", "amount": "250000"}], "note": "rent", "end": "2026-01-01T06:00:00Z",
    });
    let draft = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    let id = draft["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("draft-"), "{id}");
    assert_eq!((&draft["status"], &draft["reserved"]), (&json!("draft"), &json!("0")));
    assert_eq!(draft["needed"][0]["what"], "signature");
    assert_eq!(draft["timeline"][0]["note"], "rent");
    assert_eq!(draft["end"], "2026-01-01T06:00:00Z");
    assert_eq!(town.available("north").await, "1000000", "a draft reserves nothing");
    assert!(town.requests().is_empty());

    // What is to be signed is the body of a statement as it stands.
    let asked: Request = serde_json::from_value(draft["to_sign"]["body"].clone()).unwrap();
    let path = format!("/v1/withdrawals/{id}/request");
    let other = Request { fee_max: custody::effects::Sats(999), ..asked.clone() };
    let wrong = json!({"signed_request": town.signed("alice", other)});
    let problem = town.put("alice", &path, "p0", &wrong).await.problem(Code::StatementMismatch);
    assert!(problem["detail"].as_str().unwrap().starts_with("fee_max"), "{problem}");

    let signed = json!({"signed_request": town.signed("alice", asked.clone())});
    let answer = town.put("alice", &path, "p1", &signed).await.ok(202);
    assert_eq!((&answer["status"], &answer["external_id"]), (&json!("requested"), &json!("order-2")));
    assert_eq!(answer["reserved"], "251000");
    assert!(town.requests().contains(answer["id"].as_str().unwrap()));
    let draft = town.get("alice", &format!("/v1/withdrawals/{id}")).await.ok(200);
    assert_eq!((&draft["status"], &draft["withdrawal"]), (&json!("submitted"), &answer["id"]));

    // It is signed once.
    let again = json!({"signed_request": town.signed("alice", asked)});
    town.put("alice", &path, "p2", &again).await.problem(Code::WithdrawalNotDraft);
    let listed = town.get("alice", "/v1/withdrawals?external_id=order-2&client=north").await.ok(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    let drafts = town.get("alice", "/v1/withdrawals?status=submitted").await.ok(200);
    assert_eq!(drafts["items"][0]["id"], id);
}

#[tokio::test]
async fn a_destination_may_be_named_by_its_address() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let address = fixtures::regtest::address("acme");
    let outputs = json!([{"address": address, "amount": "400000"}]);
    let body = json!({"wallet": "main", "client": "north", "fee_max": "1000", "outputs": outputs});
    let draft = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    assert_eq!(draft["outputs"][0], json!({"destination": "acme", "address": address, "amount": "400000"}));
    let signed = town.signed("erp", town.request(Some("north"), 400_000));
    let both = json!({"outputs": outputs, "signed_request": signed});
    town.post("erp", "/v1/withdrawals", "k2", &both).await.ok(202);
}

/// An address of nobody known is paid where a rule of the policy says so, and nowhere else.
#[tokio::test]
async fn an_address_that_is_not_in_the_book_needs_a_rule() {
    use custody::document::{DestinationKind, Document};
    use custody::policy::{PolicyRule, When};
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let address = fixtures::regtest::address("stranger");
    let outputs = json!([{"address": address, "amount": "400000"}]);
    let body = json!({"wallet": "main", "client": "north", "outputs": outputs, "fee_max": "1000"});
    let problem = town.post("erp", "/v1/withdrawals", "k1", &body).await.problem(Code::DestinationUnknown);
    assert!(problem["detail"].as_str().unwrap().contains("no rule of the policy"), "{problem}");
    let when = When { destinations: Some(vec![DestinationKind::Unlisted]), ..When::default() };
    let unlisted = PolicyRule { id: fixtures::name("unlisted"), when, ..fixtures::rule() };
    let policy = fixtures::policy_of(custody::rule_set::NEWEST, &[fixtures::rule(), unlisted], 0);
    town.world(|world| world.adopt(Document::Policy(policy)));
    let draft = town.post("erp", "/v1/withdrawals", "k2", &body).await.ok(202);
    let shown = &draft["outputs"][0];
    assert_eq!((&shown["address"], &shown["amount"]), (&json!(address), &json!("400000")));
    let asked: Request = serde_json::from_value(draft["to_sign"]["body"].clone()).unwrap();
    let path = format!("/v1/withdrawals/{}/request", draft["id"].as_str().unwrap());
    let other = custody::payment::RequestOutput::unlisted(
        fixtures::regtest::address("thief"),
        asked.outputs[0].amount,
    );
    let wrong =
        json!({"signed_request": town.signed("alice", Request { outputs: vec![other], ..asked.clone() })});
    town.put("alice", &path, "p1", &wrong).await.problem(Code::StatementMismatch);
    let signed = json!({"signed_request": town.signed("alice", asked)});
    let answer = town.put("alice", &path, "p2", &signed).await.ok(202);
    assert_eq!((&answer["status"], &answer["outputs"][0]), (&json!("requested"), shown));
    town.is_sound().await;
}

#[tokio::test]
async fn every_field_beside_a_signature_must_be_what_was_signed() {
    let town = Town::new().await;
    town.fund("north", 10_000_000).await;
    let signed = town.signed("erp", town.request(Some("north"), 400_000));
    let end = "2026-01-02T00:00:00Z";
    let same = json!({
        "wallet": "main", "client": "north", "fee_max": FEE.to_string(), "fee_max_ppm": 100_000,
        "outputs": [{"destination": "acme", "amount": "400000"}], "end": end, "asset": ASSET,
        "signed_request": signed, "dry_run": true,
    });
    town.post("erp", "/v1/withdrawals", "", &same).await.ok(400);
    let tried = |body: Value| {
        let town = &town;
        async move { town.ask("erp", "POST", "/v1/withdrawals", &[], body.to_string().into_bytes()).await }
    };
    tried(same.clone()).await.ok(200);
    for (field, other) in [
        ("client", json!("south")),
        ("fee_max", json!("50001")),
        ("fee_max_ppm", json!(99_999)),
        ("outputs", json!([{"destination": "acme", "amount": "400001"}])),
        ("end", json!("2026-01-01T23:59:59Z")),
        ("wallet", json!("spare")),
    ] {
        let mut body = same.clone();
        body[field] = other;
        let problem = tried(body).await.problem(Code::StatementMismatch);
        assert!(problem["detail"].as_str().unwrap().starts_with(field), "{problem}");
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let town = Town::new().await;
    town.fund("north", 450_000).await;
    let before = town.home.books.newest().await.unwrap();
    let signed = town.signed("erp", town.request(Some("north"), 400_000));
    let body = json!({"signed_request": signed, "dry_run": true});
    let answer = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(200);
    assert_eq!(answer["reserve"], "450000");
    assert_eq!((&answer["payer"]["available"], &answer["available_after"]), (&json!("450000"), &json!("0")));
    assert_eq!(answer["needed"][0]["what"], "approvals");
    let draft = json!({
        "wallet": "main", "client": "north", "fee_max": "50001", "dry_run": true,
        "outputs": [{"destination": "acme", "amount": "400000"}],
    });
    let problem = town.post("erp", "/v1/withdrawals", "k2", &draft).await.problem(Code::LedgerOverdraft);
    assert_eq!((&problem["available"], &problem["rule"]), (&json!("450000"), &json!("ledger.overdraft")));
    assert_eq!(town.home.books.newest().await.unwrap(), before, "nothing was written");
    assert!(town.requests().is_empty());
}

#[tokio::test]
async fn more_than_is_there_is_refused_by_one_unit() {
    let town = Town::new().await;
    town.fund("north", 449_999).await;
    let request = town.request(Some("north"), 400_000);
    let body = json!({"signed_request": town.signed("erp", request.clone())});
    let problem = town.post("erp", "/v1/withdrawals", "k1", &body).await.problem(Code::LedgerOverdraft);
    assert_eq!(problem["available"], "449999");
    assert!(town.requests().is_empty(), "nothing unfunded goes to the log");
    town.fund("north", 1).await;
    // What was refused changed nothing: the same question with the same key is judged anew.
    town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    assert_eq!(town.available("north").await, "0");
}

#[tokio::test]
async fn the_house_pays_where_it_may_own_something() {
    let town = Town::of(Model::OneP).await;
    town.move_in("own", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(None, 400_000)), "external_id": "x"});
    let answer = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    assert_eq!(answer["client"], Value::Null);
    let town = Town::of(Model::Three).await;
    let body = json!({"signed_request": town.signed("erp", town.request(None, 400_000))});
    let problem = town.post("erp", "/v1/withdrawals", "k1", &body).await.problem(Code::StatementRefused);
    assert_eq!(problem["rule"], "P25.client");
}

#[tokio::test]
async fn the_note_of_a_request_reaches_the_house() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let label = fixtures::label("for the rent");
    let request = Request { note: Some(label.commitment()), ..town.request(Some("north"), 400_000) };
    let signed = town.signed("erp", request);
    let wrong = json!({"signed_request": signed, "note_label": {"salt": label.salt, "text": "for fun"}});
    town.post("erp", "/v1/withdrawals", "k1", &wrong).await.problem(Code::StatementMismatch);
    let body = json!({"signed_request": signed, "note_label": {"salt": label.salt, "text": label.text}});
    town.post("erp", "/v1/withdrawals", "k2", &body).await.ok(202);
    use api::House as _;
    assert_eq!(town.home.label(&label.commitment()), Some("for the rent".into()));
}

#[tokio::test]
async fn things_of_another_client_are_not_there() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    let id = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202)["id"].clone();
    let path = format!("/v1/withdrawals/{}", id.as_str().unwrap());
    town.get("erp", &format!("{path}?client=north")).await.ok(200);
    town.get("erp", &format!("{path}?client=south")).await.problem(Code::ResourceUnknown);
    let of_south = town.get("erp", "/v1/withdrawals?client=south").await.ok(200);
    assert_eq!(of_south["items"], json!([]));
}

#[tokio::test]
async fn limits_of_drafts_on_both_sides() {
    let town = Town::new().await;
    let sound = json!({
        "wallet": "main", "client": "north", "fee_max": "1000", "dry_run": true,
        "outputs": [{"destination": "acme", "amount": "1000"}],
    });
    let ask = |field: &str, value: Value| {
        let mut body = sound.clone();
        body[field] = value;
        let town = &town;
        async move { town.ask("erp", "POST", "/v1/withdrawals", &[], body.to_string().into_bytes()).await }
    };
    town.fund("north", 1_000_000).await;
    let outputs = |count: usize| json!(vec![json!({"destination": "acme", "amount": "1000"}); count]);
    for (count, good) in [(0, false), (1, true), (32, true), (33, false)] {
        let answer = ask("outputs", outputs(count)).await;
        if good {
            answer.ok(200)
        } else {
            answer.problem(Code::BodyInvalid)
        };
    }
    ask("fee_max_ppm", json!(1_000_000)).await.ok(200);
    ask("fee_max_ppm", json!(1_000_001)).await.problem(Code::BodyInvalid);
    // The log is at the first second of 2026; 90 days later it is 1 April.
    ask("end", json!("2026-01-01T00:00:00Z")).await.ok(200);
    ask("end", json!("2025-12-31T23:59:59Z")).await.problem(Code::TimeInvalid);
    ask("end", json!("2026-04-01T00:00:00Z")).await.ok(200);
    ask("end", json!("2026-04-01T00:00:01Z")).await.problem(Code::TimeInvalid);
    ask("fee_max", json!("0")).await.problem(Code::AmountZero);
    let many = json!([
        {"destination": "acme", "amount": "2100000000000000"}, {"destination": "acme", "amount": "1000"},
    ]);
    ask("outputs", many).await.problem(Code::AmountOverflow);
    let label = json!({"salt": "0".repeat(64), "text": "x"});
    ask("note_label", label).await.problem(Code::BodyInvalid);
}

#[tokio::test]
async fn a_dry_run_tells_that_an_external_id_is_taken() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let mut body = json!({
        "wallet": "main", "client": "north", "fee_max": "1000", "external_id": "x",
        "outputs": [{"destination": "acme", "amount": "1000"}],
    });
    let id = town.post("erp", "/v1/withdrawals", "k", &body).await.ok(202)["id"].clone();
    body["dry_run"] = json!(true);
    let answer = town.ask("erp", "POST", "/v1/withdrawals", &[], body.to_string().into_bytes()).await;
    let problem = answer.problem(Code::ExternalIdTaken);
    assert!(problem["detail"].as_str().unwrap().contains(id.as_str().unwrap()), "{problem}");
}

#[tokio::test]
async fn a_destination_at_an_own_address_is_not_paid_whoever_signed() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    town.post("gate", "/v1/addresses", "a", &json!({"wallet": "main", "client": "south"})).await.ok(202);
    let address = town.get("erp", "/v1/addresses").await.ok(200)["items"][0]["address"].clone();
    let request = town.world(|world| {
        let destination = custody::document::Destination::new(
            fixtures::name("ours"),
            custody::document::DestinationKind::Own,
            address.as_str().unwrap().to_owned(),
            fixtures::label("ours").commitment(),
        );
        let document = custody::document::Document::Destination(destination);
        world.adopt_as("dave", document, &["alice", "bob"]);
        Request { client: Some(fixtures::name("north")), ..world.request(&[("ours", 400_000)]) }
    });
    let body = json!({"signed_request": town.signed("erp", request)});
    town.post("erp", "/v1/withdrawals", "k", &body).await.problem(Code::DestinationOwn);
    assert!(town.requests().is_empty());
}

#[tokio::test]
async fn a_draft_is_judged_by_the_policy_of_the_day_of_its_signature() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let body = json!({
        "wallet": "main", "client": "north", "fee_max": "1000",
        "outputs": [{"destination": "acme", "amount": "2000"}],
    });
    let draft = town.post("erp", "/v1/withdrawals", "k", &body).await.ok(202);
    let asked: Request = serde_json::from_value(draft["to_sign"]["body"].clone()).unwrap();
    let require =
        custody::policy::Require { amount_max: custody::effects::Sats(1_000), ..fixtures::rule().require };
    let rule = custody::policy::PolicyRule { require, ..fixtures::rule() };
    let policy = fixtures::policy_of(custody::rule_set::NEWEST, &[rule], 0);
    town.world(|world| world.adopt(custody::document::Document::Policy(policy)));
    let path = format!("/v1/withdrawals/{}/request", draft["id"].as_str().unwrap());
    let signed = json!({"signed_request": town.signed("erp", asked)});
    let problem = town.put("erp", &path, "p", &signed).await.problem(Code::PolicyRefused);
    assert_eq!(problem["rule"], "policy.limit");
    assert_eq!(town.available("north").await, "1000000");
}

#[tokio::test]
async fn a_draft_without_a_client_is_signed_without_one() {
    let town = Town::of(Model::OneP).await;
    town.fund("north", 1_000_000).await;
    town.move_in("own", 1_000_000).await;
    let body =
        json!({"wallet": "main", "fee_max": "1000", "outputs": [{"destination": "acme", "amount": "1000"}]});
    let draft = town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    let path = format!("/v1/withdrawals/{}/request", draft["id"].as_str().unwrap());
    let asked: Request = serde_json::from_value(draft["to_sign"]["body"].clone()).unwrap();
    let other = Request { client: Some(fixtures::name("north")), ..asked.clone() };
    let wrong = json!({"signed_request": town.signed("alice", other)});
    let problem = town.put("alice", &path, "p1", &wrong).await.problem(Code::StatementMismatch);
    assert!(problem["detail"].as_str().unwrap().starts_with("client"), "{problem}");
    assert_eq!(town.available("north").await, "1000000");
    let signed = json!({"signed_request": town.signed("alice", asked)});
    let answer = town.put("alice", &path, "p2", &signed).await.ok(202);
    assert_eq!((&answer["status"], &answer["client"]), (&json!("requested"), &Value::Null));
}

/// Of own addresses only the house address of the wallet itself is paid, where people approved it as own; without a
/// client that costs the house the fee, and nothing else.
#[tokio::test]
async fn coins_are_gathered_at_the_house_address_at_the_cost_of_the_house() {
    use custody::document::{Destination, DestinationKind, Document};
    use custody::effects::{Branch, Decoder as _};
    let town = Town::new().await;
    let address = |index: u32, kind: DestinationKind, id: &str| {
        town.world(|world| {
            let account = fixtures::Account::new(0).key();
            let script = world.decoder.own_script(&account, Branch::Change, index).unwrap();
            let address = world.decoder.address(&script).unwrap();
            let label = fixtures::label(id).commitment();
            let destination = Destination::new(fixtures::name(id), kind, address.clone(), label);
            world.adopt_as("dave", Document::Destination(destination), &["alice", "bob"]);
            address
        })
    };
    let house = address(ledger::HOUSE_INDEX, DestinationKind::Own, "house");
    address(ledger::HOUSE_INDEX + 1, DestinationKind::Own, "next");
    // Allocated addresses are known to be own.
    let allocate = custody::payment::Allocate {
        wallet: fixtures::name("main"),
        client: fixtures::name("north"),
        branch: Branch::Change,
        count: 2,
    };
    town.world(|world| world.say("server", custody::statement::Body::Allocate(allocate))).unwrap();
    let ask = |outputs: Value, more: Value| {
        let mut body = json!({"wallet": "main", "fee_max": "1000", "outputs": outputs});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (town, key) = (&town, body.to_string().len().to_string());
        async move { town.post("erp", "/v1/withdrawals", &key, &body).await }
    };
    let pays = |id: &str| json!([{"destination": id, "amount": "500000"}]);
    let tried = ask(pays("house"), json!({"dry_run": true})).await.ok(200);
    assert_eq!((&tried["reserve"], &tried["available_after"]), (&json!("1000"), &json!("-1000")));
    assert!(tried["payer"].to_string().contains("fees"), "{tried}");
    ask(pays("next"), json!({})).await.problem(Code::DestinationOwn);
    let both =
        json!([{"destination": "house", "amount": "500000"}, {"destination": "acme", "amount": "1000"}]);
    ask(both, json!({})).await.problem(Code::ClientRequired);
    let draft = ask(json!([{"address": house, "amount": "500000"}]), json!({})).await.ok(202);
    let asked: Request = serde_json::from_value(draft["to_sign"]["body"].clone()).unwrap();
    let path = format!("/v1/withdrawals/{}/request", draft["id"].as_str().unwrap());
    let signed = json!({"signed_request": town.signed("erp", asked)});
    let answer = town.put("erp", &path, "p", &signed).await.ok(202);
    assert_eq!((&answer["amount"], &answer["reserved"]), (&json!("500000"), &json!("1000")));
    // A client that is named bears it, and needs no more than the fee.
    town.fund("north", 1_000).await;
    ask(pays("house"), json!({"client": "north", "dry_run": true})).await.ok(200);
    let dear = json!({"client": "north", "dry_run": true, "fee_max": "1001"});
    ask(pays("house"), dear).await.problem(Code::LedgerOverdraft);
}
