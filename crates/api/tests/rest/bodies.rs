//! Bodies: sizes, depths, and whatever else comes in.

use api::{BODY_LIMIT_BYTES, Code, DEPTH_LIMIT};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::house::Town;

const WRITES: [(&str, &str); 9] = [
    ("POST", "/v1/clients"),
    ("POST", "/v1/addresses"),
    ("POST", "/v1/addresses/bcrt1pnone/retire"),
    ("POST", "/v1/deposits/none/release"),
    ("POST", "/v1/withdrawals"),
    ("PUT", "/v1/withdrawals/draft-0/request"),
    ("POST", "/v1/withdrawals/draft-0/cancel"),
    ("POST", "/v1/transfers"),
    ("POST", "/v1/reconciliations"),
];

#[tokio::test]
async fn sizes_on_both_sides_of_the_limit() {
    let town = Town::new().await;
    town.fund("north", 10).await;
    let body =
        json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "1"}).to_string();
    let padded = |size: usize| [body.as_bytes(), &b" ".repeat(size - body.len())].concat();
    let key = [("idempotency-key", "k")];
    town.ask("erp", "POST", "/v1/transfers", &key, padded(BODY_LIMIT_BYTES)).await.ok(201);
    for (method, path) in WRITES {
        let answer = town.ask("erp", method, path, &key, padded(BODY_LIMIT_BYTES + 1)).await;
        answer.problem(Code::BodyTooLarge);
    }
}

#[tokio::test]
async fn depths_on_both_sides_of_the_limit() {
    let town = Town::new().await;
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"wallet":{open}{close}}}"#).into_bytes()
    };
    let key = [("idempotency-key", "k")];
    for (method, path) in WRITES {
        let deepest = town.ask("erp", method, path, &key, nested(DEPTH_LIMIT)).await;
        assert!([Code::BodyInvalid, Code::BodyUnknownField].contains(&deepest.is_problem()), "{path}");
        town.ask("erp", method, path, &key, nested(DEPTH_LIMIT + 1)).await.problem(Code::BodyTooDeep);
    }
    let bomb = b"[".repeat(BODY_LIMIT_BYTES);
    town.ask("erp", "POST", "/v1/transfers", &key, bomb).await.problem(Code::BodyTooDeep);
}

#[tokio::test]
async fn unknown_fields_are_named_everywhere() {
    let town = Town::new().await;
    let signed = town.signed("erp", town.request(Some("north"), 1_000));
    for (method, path) in WRITES {
        let key = [("idempotency-key", "k")];
        let mut body = json!({"colour": "red"});
        if path.ends_with("/request") {
            body["signed_request"] = signed.clone();
        }
        let answer = town.ask("erp", method, path, &key, body.to_string().into_bytes()).await;
        let problem = answer.problem(Code::BodyUnknownField);
        assert!(problem["detail"].as_str().unwrap().contains("`colour`"), "{problem}");
    }
    let mut envelope = signed;
    envelope["signatures"][0]["colour"] = json!("red");
    town.post("erp", "/v1/withdrawals", "k", &json!({"signed_request": envelope}))
        .await
        .problem(Code::BodyUnknownField);
    let twice = br#"{"wallet":"main","wallet":"main"}"#.to_vec();
    let answer = town.ask("erp", "POST", "/v1/transfers", &[("idempotency-key", "k")], twice).await;
    answer.problem(Code::BodyInvalid);
}

/// Something that may stand as the value of a field.
fn value() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "main",
        "spare",
        "north",
        "south",
        "acme",
        "client:north",
        "client:south",
        "own",
        "external",
        "1",
        "0",
        "-1",
        "1.5",
        "01",
        "1e9",
        "600",
        "1000000",
        "340282366920938463463374607431768211456",
        "2100000000000001",
        "receive",
        "change",
        "2026-01-01T06:00:00Z",
        "never",
        "bcrt1pnone",
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        "\u{0}",
        "ä",
        "=1+1",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(texts.to_vec()).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let fields =
            select(vec!["destination", "address", "amount", "salt", "text", "payload", "signatures"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((fields, inner), 0..3)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

/// A body of the fields that there are, and of one that there is not.
fn body() -> impl Strategy<Value = Value> {
    let fields = [
        "wallet",
        "client",
        "asset",
        "outputs",
        "fee_max",
        "fee_max_ppm",
        "end",
        "note",
        "note_label",
        "signed_request",
        "external_id",
        "dry_run",
        "id",
        "name",
        "signed_proposal",
        "label",
        "branch",
        "count",
        "from",
        "to",
        "amount",
        "colour",
    ];
    let sound = [
        json!({"wallet": "main", "client": "north", "fee_max": "1000", "outputs": [{"destination": "acme", "amount": "600"}]}),
        json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "1"}),
        json!({"wallet": "main", "client": "north"}),
        json!({"id": "east", "name": "East"}),
        json!({}),
    ];
    let changes = prop::collection::vec((select(fields.to_vec()), value()), 0..3);
    (select(sound.to_vec()), changes).prop_map(|(mut body, changes)| {
        for (field, value) in changes {
            body[field] = value;
        }
        body
    })
}

/// Whatever comes in, the answer is one of success, or a problem that is the caller's.
fn is_an_answer(town: &Town, runtime: &Runtime, method: &str, path: &str, key: &str, body: Vec<u8>) {
    let shown = String::from_utf8_lossy(&body).into_owned();
    let answer = runtime.block_on(town.ask("alice", method, path, &[("idempotency-key", key)], body));
    if answer.status >= 400 {
        let code = answer.is_problem();
        let unavailable = code == Code::ReconcileUnavailable && path == "/v1/reconciliations";
        assert!(answer.status < 500 || unavailable, "{method} {path} {shown}: {}", answer.text);
    }
}

#[test]
fn no_body_is_too_much() {
    let runtime = Runtime::new().unwrap();
    let town = runtime.block_on(Town::new());
    runtime.block_on(town.fund("north", 1_000_000));
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 400, ..Default::default() });
    let mut key = 0u32;
    let input = (
        select(WRITES.to_vec()),
        prop_oneof![
            4 => body().prop_map(|body| body.to_string().into_bytes()),
            1 => prop::collection::vec(any::<u8>(), 0..60),
        ],
    );
    let key = std::cell::RefCell::new(&mut key);
    runner
        .run(&input, |((method, path), body)| {
            let number = {
                let mut key = key.borrow_mut();
                **key += 1;
                **key
            };
            is_an_answer(&town, &runtime, method, path, &format!("k{number}"), body);
            Ok(())
        })
        .unwrap();
    runtime.block_on(town.is_sound());
}

#[test]
fn no_query_is_too_much() {
    let runtime = Runtime::new().unwrap();
    let town = runtime.block_on(Town::new());
    let paths = [
        "/v1/clients",
        "/v1/accounts",
        "/v1/balances",
        "/v1/addresses",
        "/v1/deposits",
        "/v1/withdrawals",
        "/v1/transfers",
        "/v1/reconciliations",
        "/v1/accounts/own/main/bip122:0f9188f13cb7b2c71f2a335e3a4fc328/slip44:1/statement",
    ];
    let names = [
        "limit",
        "cursor",
        "client",
        "wallet",
        "status",
        "from",
        "to",
        "as_of",
        "external_id",
        "owner",
        "format",
        "branch",
        "min_index",
        "overdrawn",
        "address",
        "colour",
    ];
    let pair = (select(names.to_vec()), "[ -~]{0,12}|north|main|true|7|2026-01-01T00:00:00Z").prop_map(
        |(name, value)| {
            let value: String = value.bytes().map(|b| format!("%{b:02x}")).collect();
            format!("{name}={value}")
        },
    );
    let input = (select(paths.to_vec()), prop::collection::vec(pair, 0..3));
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..Default::default() });
    runner
        .run(&input, |(path, query)| {
            is_an_answer(&town, &runtime, "GET", &format!("{path}?{}", query.join("&")), "k", Vec::new());
            Ok(())
        })
        .unwrap();
}
