//! The description, the status, and the tunnel.

use api::Code;
use serde_json::{Value, json};

use crate::house::{ASSET, Town, caller};

/// The committed document is the one that is served. `cargo run -p api --example openapi > docs/openapi.json`
/// writes it anew.
#[tokio::test]
async fn the_committed_description_is_the_one_that_is_served() {
    assert!(include_str!("../../../../docs/openapi.json") == api::openapi(), "docs/openapi.json drifted");
    let town = Town::new().await;
    assert!(town.get("erp", "/v1/openapi.json").await.text == api::openapi());
}

#[test]
fn the_description_is_whole() {
    let document: Value = serde_json::from_str(&api::openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert_eq!(
                operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"],
                "#/components/schemas/Problem",
                "{path}"
            );
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let key = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
            let keyless = ["reconcile", "publishRecoveryEntries"].contains(&id);
            assert_eq!(key, ["post", "put"].contains(&method.as_str()) && !keyless, "{path}");
            for part in path.split('/').filter(|part| part.starts_with('{')) {
                let name = part.trim_matches(['{', '}']);
                assert!(parameters.iter().any(|p| p["name"] == name && p["in"] == "path"), "{path}: {name}");
            }
        }
    }
    assert_eq!(ids.len(), 32);
    // Whatever is referred to is there.
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn the_status_names_what_callers_need() {
    let town = Town::new().await;
    let status = town.get("erp", "/v1/status").await.ok(200);
    assert_eq!((&status["asset"], &status["decimals"]), (&json!(ASSET), &json!(8)));
    assert_eq!(status["wallets"], json!([{"id": "main", "model": "1", "declared": true}]));
    assert_eq!((&status["node"]["following"], &status["caller"]), (&json!(true), &json!("machine:erp")));
    assert!(status["log"]["height"].as_u64().unwrap() > 0);
    assert_eq!(status["books"]["batch"], 1);
    assert_eq!(status["due"], json!([]));
    let due = ["calendar office of the policy ended at 2026-03-01T00:00:00Z: adopt a later one".to_owned()];
    *town.home.due.lock().unwrap() = due.to_vec();
    assert_eq!(town.get("erp", "/v1/status").await.ok(200)["due"], json!(due));
}

#[tokio::test]
async fn request_ids_are_taken_or_made() {
    let town = Town::new().await;
    let asked = town.ask("erp", "GET", "/v1/status", &[("x-request-id", "mine-1")], Vec::new()).await;
    assert_eq!(asked.headers["x-request-id"], "mine-1");
    let failed = town.ask("erp", "GET", "/v1/none", &[("x-request-id", "mine-2")], Vec::new()).await;
    assert_eq!(failed.problem(Code::PathUnknown)["request_id"], "mine-2");
    for unusable in ["", "a b", &"x".repeat(129)] {
        let made = town.ask("erp", "GET", "/v1/status", &[("x-request-id", unusable)], Vec::new()).await;
        assert_eq!(made.headers["x-request-id"].len(), 16);
    }
}

#[tokio::test]
async fn the_tunnel_answers_as_http_does() {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    let home: std::sync::Arc<dyn api::House> = town.home.clone();
    let router = api::router(home);
    let ask = |method: &str, path: &str, key: Option<&str>, body: Option<Value>| {
        let body = body.map(|body| body.to_string().into_bytes());
        let (method, path, key) = (method.to_owned(), path.to_owned(), key.map(ToOwned::to_owned));
        let router = router.clone();
        async move {
            let (status, body) = api::answer(router, caller("alice"), &method, &path, key, body).await;
            (status, serde_json::from_slice::<Value>(&body).unwrap())
        }
    };
    let (status, body) = ask("GET", "/v1/accounts?client=north", None, None).await;
    assert_eq!((status, &body["items"][0]["balance"]), (200, &json!("1000000")));
    let transfer = json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "1"});
    let (status, first) = ask("POST", "/v1/transfers", Some("k"), Some(transfer.clone())).await;
    assert_eq!(status, 201);
    assert_eq!(ask("POST", "/v1/transfers", Some("k"), Some(transfer.clone())).await, (201, first.clone()));
    // HTTP and the tunnel share keys: the caller is the same.
    assert_eq!(town.post("alice", "/v1/transfers", "k", &transfer).await.ok(201), first);
    for (method, path, key) in
        [("G T", "/v1/status", None), ("GET", "no path", None), ("GET", "/v1/status", Some("a\nb"))]
    {
        let (status, body) = ask(method, path, key, None).await;
        assert!((400..500).contains(&status) && body["code"].is_string(), "{status} {body}");
    }
}
