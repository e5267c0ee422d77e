//! Clients.

use std::sync::atomic::Ordering;

use api::Code;
use custody::document::Document;
use custody::statement::{Body, Propose};
use ledger::{Posting, RecordChange, RecordKind};
use serde_json::{Value, json};

use crate::house::Town;

fn proposal(town: &Town, who: &str, id: &str) -> Value {
    town.sign(who, Body::Propose(Propose { document: fixtures::client(id), replaces: None }))
}

#[tokio::test]
async fn a_draft_is_proposed_approved_and_in_force() {
    let town = Town::new().await;
    let body = json!({"id": "east", "name": "East & Sons", "external_id": "crm-7"});
    let draft = town.post("erp", "/v1/clients", "k1", &body).await.ok(202);
    assert_eq!((&draft["status"], &draft["name"]), (&json!("draft"), &json!("East & Sons")));
    town.post("erp", "/v1/clients", "k2", &json!({"id": "east", "name": "x"}))
        .await
        .problem(Code::ClientExists);

    let label = fixtures::label("east");
    let body = json!({
        "id": "east", "signed_proposal": proposal(&town, "bob", "east"),
        "label": {"salt": label.salt, "text": label.text},
    });
    let proposed = town.post("alice", "/v1/clients", "k3", &body).await.ok(202);
    assert_eq!((&proposed["status"], &proposed["external_id"]), (&json!("proposed"), &json!("crm-7")));
    let id = custody::Hash::from_hex(proposed["proposal"].as_str().unwrap()).unwrap();
    let read = town.get("erp", "/v1/clients/east").await.ok(200);
    assert_eq!((&read["status"], &read["name"]), (&json!("proposed"), &json!("east")));

    for who in ["alice", "bob"] {
        town.world(|world| world.approve(who, id)).unwrap();
    }
    let read = town.get("erp", "/v1/clients/east").await.ok(200);
    assert_eq!((&read["status"], &read["external_id"]), (&json!("in-force"), &json!("crm-7")));
    assert_eq!(read["since"], "2026-01-01T00:00:00Z");
    let found = town.get("erp", "/v1/clients?external_id=crm-7").await.ok(200);
    assert_eq!(found["items"], json!([read]));
    let again = json!({"signed_proposal": proposal(&town, "bob", "east")});
    town.post("alice", "/v1/clients", "k4", &again).await.problem(Code::StatementRefused);
}

#[tokio::test]
async fn a_proposal_must_be_one_of_a_client_and_say_what_the_body_says() {
    let town = Town::new().await;
    let ask = |body: Value| {
        let town = &town;
        async move { town.post("alice", "/v1/clients", "k", &body).await }
    };
    let signed = proposal(&town, "bob", "east");
    ask(json!({"id": "west", "signed_proposal": signed})).await.problem(Code::StatementMismatch);
    let label = json!({"salt": fixtures::label("east").salt, "text": "another"});
    ask(json!({"signed_proposal": signed, "label": label})).await.problem(Code::StatementMismatch);
    let group = Document::Group(fixtures::group("risk", &["alice", "dave"]));
    let group = town.sign("bob", Body::Propose(Propose { document: group, replaces: None }));
    ask(json!({"signed_proposal": group})).await.problem(Code::StatementKind);
    let request = town.signed("erp", town.request(Some("north"), 1_000));
    ask(json!({"signed_proposal": request})).await.problem(Code::StatementKind);
    let machine = proposal(&town, "erp", "east");
    let problem = ask(json!({"signed_proposal": machine})).await.problem(Code::StatementRefused);
    assert_eq!(problem["rule"], "P3.standing");
    for incomplete in [json!({}), json!({"id": "east"}), json!({"name": "East"})] {
        ask(incomplete).await.problem(Code::BodyInvalid);
    }
    ask(json!({"id": "east", "name": "a\nb"})).await.problem(Code::TextInvalid);
    ask(json!({"id": "north", "name": "North"})).await.problem(Code::ClientExists);
    town.get("alice", "/v1/clients/east").await.problem(Code::ResourceUnknown);
    town.get("alice", "/v1/clients/East").await.problem(Code::QueryInvalid);
}

#[tokio::test]
async fn pages_of_clients_go_from_the_log_into_the_books() {
    let town = Town::new().await;
    for id in ["zeta", "alpha", "mu"] {
        let body = json!({"id": id, "name": id});
        town.post("erp", "/v1/clients", id, &body).await.ok(202);
    }
    town.world(|world| world.propose("bob", fixtures::client("omega"))).unwrap();
    let expected = [
        ("north", "in-force"),
        ("omega", "proposed"),
        ("south", "in-force"),
        ("zeta", "draft"),
        ("alpha", "draft"),
        ("mu", "draft"),
    ];
    for limit in 1..=7 {
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page = town.get("erp", &format!("/v1/clients?limit={limit}{next}")).await.ok(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(|item| (item["id"].clone(), item["status"].clone())));
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, expected.map(|(id, status)| (json!(id), json!(status))), "limit {limit}");
    }
    let drafts = town.get("erp", "/v1/clients?status=draft").await.ok(200);
    assert_eq!(drafts["items"].as_array().unwrap().len(), 3);
    let proposed = town.get("erp", "/v1/clients?status=proposed").await.ok(200);
    assert_eq!(proposed["items"][0]["id"], "omega");
}

#[tokio::test]
async fn what_the_log_shows_is_not_looked_up_again_for_the_books() {
    let town = Town::new().await;
    for id in ["east", "west"] {
        town.post("erp", "/v1/clients", id, &json!({"id": id, "name": id, "external_id": id})).await.ok(202);
        town.world(|world| world.adopt(fixtures::client(id)));
    }
    let page = town.get("erp", "/v1/clients").await.ok(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 4);
    assert_eq!(town.home.labels_asked.load(Ordering::SeqCst), 4, "once for each");
    let one = town.get("erp", "/v1/clients?external_id=west").await.ok(200);
    assert_eq!((&one["items"][0]["status"], &one["next"]), (&json!("in-force"), &json!(null)));
    for (query, count) in [("status=in-force", 4), ("status=draft", 0), ("status=draft&external_id=west", 0)]
    {
        let page = town.get("erp", &format!("/v1/clients?{query}")).await.ok(200);
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
    }
}

/// One page looks at 2,000 rows of the books, and the next one goes on from there.
#[tokio::test]
async fn a_page_of_clients_looks_at_so_many_rows() {
    let town = Town::new().await;
    let change = |i: usize| {
        let draft = i >= 1_999;
        RecordChange {
            kind: RecordKind::Client,
            id: format!("c{i}"),
            expect: 0,
            state: if draft { "draft" } else { "proposed" }.into(),
            client: None,
            external_id: Some("x".into()),
            at: 1,
            body: json!({"name": null, "proposal": (!draft).then(custody::Hash::default), "by": "person:bob"}),
        }
    };
    for from in (0..2_001).step_by(250) {
        let records = (from..2_001.min(from + 250)).map(change).collect();
        town.home.books.commit(Posting { transfers: vec![], records }).await.unwrap();
    }
    let path = "/v1/clients?status=draft&external_id=x";
    let first = town.get("erp", path).await.ok(200);
    assert_eq!((first["items"].as_array().unwrap().len(), &first["items"][0]["id"]), (1, &json!("c1999")));
    let second = town.get("erp", &format!("{path}&cursor={}", first["next"].as_str().unwrap())).await.ok(200);
    assert_eq!((&second["items"][0]["id"], &second["next"]), (&json!("c2000"), &json!(null)));
}
