//! Destinations.

use api::Code;
use custody::Hash;
use custody::document::{Destination, DestinationKind, Document, Kind};
use custody::statement::{Body, Propose};
use serde_json::{Value, json};

use crate::house::Town;

fn document(id: &str) -> Destination {
    let Document::Destination(found) = fixtures::destination(id) else { unreachable!() };
    found
}

fn proposal(town: &Town, who: &str, document: Destination, replaces: Option<Hash>) -> Value {
    town.sign(who, Body::Propose(Propose { document: Document::Destination(document), replaces }))
}

fn version(town: &Town, id: &str) -> Option<Hash> {
    town.world(|world| world.state.document(Kind::Destination, id).map(|found| found.hash))
}

#[tokio::test]
async fn a_destination_is_proposed_approved_and_in_force() {
    let town = Town::new().await;
    let label = fixtures::label("beta");
    let body = json!({
        "signed_proposal": proposal(&town, "dave", document("beta"), None),
        "label": {"salt": label.salt, "text": label.text},
    });
    // Who carries it need not be who signed it.
    let proposed = town.post("erp", "/v1/destinations", "k1", &body).await.ok(202);
    assert_eq!((&proposed["status"], &proposed["name"]), (&json!("proposed"), &json!("beta")));
    assert_eq!(town.post("erp", "/v1/destinations", "k1", &body).await.ok(202), proposed);
    let read = town.get("erp", "/v1/destinations/beta").await.ok(200);
    assert_eq!(read, proposed);
    let id = Hash::from_hex(proposed["proposal"].as_str().unwrap()).unwrap();
    for who in ["alice", "bob"] {
        town.world(|world| world.approve(who, id)).unwrap();
    }
    let read = town.get("erp", "/v1/destinations/beta").await.ok(200);
    assert_eq!((&read["status"], &read["proposal"]), (&json!("in-force"), &Value::Null));
    assert_eq!(read["version"], json!(version(&town, "beta").unwrap().to_string()));
    assert_eq!((&read["of"], &read["since"]), (&json!("counterparty"), &json!("2026-01-01T00:00:00Z")));

    // Another version of it: the one in force is shown, with the proposal.
    let other = Destination { kind: DestinationKind::Client, ..document("beta") };
    let body = json!({"signed_proposal": proposal(&town, "dave", other, version(&town, "beta"))});
    let again = town.post("alice", "/v1/destinations", "k2", &body).await.ok(202);
    assert_eq!((&again["status"], &again["of"]), (&json!("in-force"), &json!("client")));
    let read = town.get("erp", "/v1/destinations/beta").await.ok(200);
    assert_eq!((&read["of"], &read["proposal"]), (&json!("counterparty"), &again["proposal"]));
}

#[tokio::test]
async fn what_is_no_proposal_of_a_destination_is_refused() {
    let town = Town::new().await;
    let ask = |body: Value| {
        let town = &town;
        async move { town.post("alice", "/v1/destinations", "k", &body).await }
    };
    ask(json!({})).await.problem(Code::BodyInvalid);
    let client =
        town.sign("bob", Body::Propose(Propose { document: fixtures::client("east"), replaces: None }));
    ask(json!({"signed_proposal": client})).await.problem(Code::StatementKind);
    let request = town.signed("erp", town.request(Some("north"), 1_000));
    ask(json!({"signed_proposal": request})).await.problem(Code::StatementKind);
    let signed = proposal(&town, "dave", document("beta"), None);
    let label = json!({"salt": fixtures::label("beta").salt, "text": "another"});
    ask(json!({"signed_proposal": signed, "label": label})).await.problem(Code::StatementMismatch);
    let machine = proposal(&town, "erp", document("beta"), None);
    let problem = ask(json!({"signed_proposal": machine})).await.problem(Code::StatementRefused);
    assert_eq!(problem["rule"], "P3.standing");
    let known = proposal(&town, "dave", document("acme"), None);
    let problem = ask(json!({"signed_proposal": known})).await.problem(Code::StatementRefused);
    assert_eq!(problem["rule"], "P3.replaces");
    let elsewhere = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr".to_owned();
    let other = Destination { address: elsewhere, ..document("beta") };
    let signed = proposal(&town, "dave", other, None);
    ask(json!({"signed_proposal": signed})).await.problem(Code::DestinationOtherNetwork);
    let other = Destination { address: "bcrt1pnone".into(), ..document("beta") };
    let signed = proposal(&town, "dave", other, None);
    ask(json!({"signed_proposal": signed})).await.problem(Code::DestinationMalformed);
    assert!(version(&town, "beta").is_none());
    town.get("alice", "/v1/destinations/beta").await.problem(Code::ResourceUnknown);
    town.get("alice", "/v1/destinations/Beta").await.problem(Code::QueryInvalid);
}

#[tokio::test]
async fn pages_and_filters() {
    let town = Town::new().await;
    for id in ["zeta", "beta"] {
        town.world(|world| world.adopt_as("dave", fixtures::destination(id), &["alice", "bob"]));
    }
    let own = Destination { kind: DestinationKind::Own, ..document("mu") };
    town.world(|world| world.propose("dave", Document::Destination(own))).unwrap();
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    for limit in 1..=5 {
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page = town.get("erp", &format!("/v1/destinations?limit={limit}{next}")).await.ok(200);
            assert!(ids(&page).len() <= limit);
            seen.extend(ids(&page));
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, ["acme", "beta", "mu", "zeta"], "limit {limit}");
    }
    let address = document("beta").address;
    for (query, found) in [
        ("status=proposed", vec!["mu"]),
        ("of=own", vec!["mu"]),
        ("status=in-force&of=own", vec![]),
        (&format!("address={address}"), vec!["beta"]),
    ] {
        assert_eq!(
            ids(&town.get("erp", &format!("/v1/destinations?{query}")).await.ok(200)),
            found,
            "{query}"
        );
    }
}
