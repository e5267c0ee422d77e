//! Pages: stable while others write, and cursors that fit one list.

use api::{Code, PAGE_DEFAULT, PAGE_LIMIT};
use serde_json::json;

use crate::house::Town;

#[tokio::test]
async fn pages_stay_as_they_are_while_others_write() {
    let town = Town::new().await;
    town.fund("north", 10_000_000).await;
    let mut made = Vec::new();
    let draft = |i: usize| {
        json!({
            "wallet": "main", "client": "north", "fee_max": "1000", "external_id": format!("o-{i}"),
            "outputs": [{"destination": "acme", "amount": "1000"}],
        })
    };
    for i in 0..7 {
        let answer = town.post("erp", "/v1/withdrawals", &format!("k{i}"), &draft(i)).await.ok(202);
        made.push(answer["id"].clone());
    }
    let (mut seen, mut next, mut more) = (Vec::new(), String::new(), 7);
    loop {
        let page = town.get("erp", &format!("/v1/withdrawals?client=north&limit=2{next}")).await.ok(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        if more < 10 {
            // Something new, and something old that changes.
            let answer = town.post("erp", "/v1/withdrawals", &format!("k{more}"), &draft(more)).await.ok(202);
            made.push(answer["id"].clone());
            let path = format!("/v1/withdrawals/{}/cancel", made[more - 7].as_str().unwrap());
            town.post("erp", &path, &format!("c{more}"), &json!({})).await.ok(200);
            more += 1;
        }
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, made, "each once, in the order in which they were begun");
    let cancelled = town.get("erp", "/v1/withdrawals?status=cancelled").await.ok(200);
    assert_eq!(cancelled["items"].as_array().unwrap().len(), 3);
    let one = town.get("erp", "/v1/withdrawals?external_id=o-4").await.ok(200);
    assert_eq!(one["items"][0]["id"], made[4]);
    let none = town.get("erp", "/v1/withdrawals?wallet=spare").await.ok(200);
    assert_eq!((&none["items"], &none["next"]), (&json!([]), &json!(null)));
}

#[tokio::test]
async fn a_cursor_is_of_one_list_and_its_filters() {
    let town = Town::new().await;
    town.fund("north", 10).await;
    town.fund("south", 10).await;
    let page = town.get("erp", "/v1/accounts?limit=1").await.ok(200);
    let cursor = page["next"].as_str().unwrap().to_owned();
    town.get("erp", &format!("/v1/accounts?limit=2&cursor={cursor}")).await.ok(200);
    for path in [
        format!("/v1/accounts?limit=1&wallet=main&cursor={cursor}"),
        format!("/v1/transfers?cursor={cursor}"),
        format!("/v1/accounts?cursor={cursor}x"),
        "/v1/accounts?cursor=".to_owned(),
        "/v1/accounts?cursor=%01".to_owned(),
        "/v1/accounts?cursor=bm9uZQ".to_owned(),
    ] {
        town.get("erp", &path).await.problem(Code::CursorInvalid);
    }
}

#[tokio::test]
async fn limits_of_pages_on_both_sides() {
    let town = Town::new().await;
    let count = u32::try_from(PAGE_LIMIT).unwrap() + 1;
    let body = json!({"wallet": "main", "client": "north", "count": count});
    town.post("gate", "/v1/addresses", "k", &body).await.ok(202);
    let items = |query: String| {
        let town = &town;
        async move {
            let page = town.get("erp", &format!("/v1/addresses{query}")).await.ok(200);
            page["items"].as_array().unwrap().len()
        }
    };
    assert_eq!(items(String::new()).await, PAGE_DEFAULT);
    assert_eq!(items(format!("?limit={PAGE_LIMIT}")).await, PAGE_LIMIT);
    assert_eq!(items("?limit=1".into()).await, 1);
    for bad in ["0", "201", "-1", "x", "18446744073709551616"] {
        town.get("erp", &format!("/v1/addresses?limit={bad}")).await.problem(Code::QueryInvalid);
    }
}

#[tokio::test]
async fn unknown_parameters_are_named() {
    let town = Town::new().await;
    for path in [
        "/v1/clients",
        "/v1/clients/north",
        "/v1/accounts",
        "/v1/balances",
        "/v1/addresses",
        "/v1/deposits",
        "/v1/withdrawals",
        "/v1/transfers",
        "/v1/reconciliations",
        "/v1/status",
    ] {
        let problem = town.get("erp", &format!("{path}?colour=red")).await.problem(Code::QueryUnknownField);
        assert!(problem["detail"].as_str().unwrap().contains("`colour`"), "{problem}");
    }
    let problem = town.get("erp", "/v1/accounts?limit=1&limit=2").await.problem(Code::QueryInvalid);
    assert!(problem["detail"].as_str().unwrap().contains("duplicate"), "{problem}");
    let body = json!({"wallet": "main", "client": "north"});
    town.post("gate", "/v1/addresses?dry_run=true", "k", &body).await.problem(Code::QueryUnknownField);
}

#[tokio::test]
async fn transfers_of_a_span_of_time() {
    let town = Town::new().await;
    for _ in 0..5 {
        town.forward(10);
        town.fund("north", 10).await;
    }
    let count = |query: &str| {
        let (town, path) = (&town, format!("/v1/transfers?{query}"));
        async move { town.get("erp", &path).await.ok(200)["items"].as_array().unwrap().len() }
    };
    assert_eq!(count("").await, 5);
    assert_eq!(count("from=2026-01-01T00:00:20Z").await, 4);
    assert_eq!(count("from=2026-01-01T00:00:20Z&to=2026-01-01T00:00:39Z").await, 2);
    assert_eq!(count("to=2026-01-01T00:00:40Z").await, 4);
    town.get("erp", "/v1/transfers?external_id=x").await.problem(Code::QueryInvalid);
}

/// A filter that is not one of the books' looks at so many rows for one page, and goes on from there.
#[tokio::test]
async fn a_page_that_finds_nothing_goes_on() {
    use ledger::{Posting, RecordChange, RecordKind};
    let town = Town::new().await;
    let id = crate::deposits::held(&town, Some("north"), 1).await;
    let record = town.home.books.record(RecordKind::Deposit, &id).await.unwrap().unwrap().change;
    let copy = |i: usize, wallet: &str| {
        let mut body = record.body.clone();
        body["wallet"] = json!(wallet);
        RecordChange { id: format!("copy:{i}"), body, ..record.clone() }
    };
    for part in 0..10 {
        let records = (0..210).map(|i| copy(part * 210 + i, "main")).collect();
        town.home.books.commit(Posting { transfers: vec![], records }).await.unwrap();
    }
    let last = copy(9_999, "spare");
    town.home.books.commit(Posting { transfers: vec![], records: vec![last] }).await.unwrap();
    let first = town.get("erp", "/v1/deposits?wallet=spare&limit=200").await.ok(200);
    assert_eq!(first["items"], json!([]));
    let cursor = first["next"].as_str().unwrap();
    // The limit of the page says nothing of how much is looked at.
    for limit in [1, 150] {
        let other = town.get("erp", &format!("/v1/deposits?wallet=spare&limit={limit}")).await.ok(200);
        assert_eq!((&other["items"], &other["next"]), (&json!([]), &json!(cursor)), "limit {limit}");
    }
    let second =
        town.get("erp", &format!("/v1/deposits?wallet=spare&limit=200&cursor={cursor}")).await.ok(200);
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (1, &json!(null)));
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused() {
    let town = Town::new().await;
    town.get("erp", "/v1/withdrawals/%ff").await.problem(Code::QueryInvalid);
    town.get("erp", "/v1/withdrawals/").await.problem(Code::PathUnknown);
}

/// SQLite takes zero bytes, PostgreSQL does not.
#[tokio::test]
async fn zero_bytes_are_refused() {
    let town = Town::new().await;
    for path in [
        "/v1/withdrawals/%00",
        "/v1/deposits/%00:1",
        "/v1/transfers/hold%2F%00",
        "/v1/withdrawals?status=%00",
        "/v1/reconciliations?status=ok%00",
        "/v1/clients?external_id=a%00b",
    ] {
        town.get("erp", path).await.problem(Code::QueryInvalid);
    }
    town.get("erp", "/v1/clients?external_id=%2500").await.ok(200);
    town.post("alice", "/v1/deposits/%00/release", "k", &json!({})).await.problem(Code::QueryInvalid);
    let (transfers, clients, withdrawals) = ("/v1/transfers", "/v1/clients", "/v1/withdrawals");
    let transfer = json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "1"});
    let draft = json!({
        "wallet": "main", "client": "north", "fee_max": "1000",
        "outputs": [{"destination": "acme", "amount": "1000"}],
    });
    let client = json!({"id": "east", "name": "East"});
    for (path, sound, field, code) in [
        (transfers, &transfer, "external_id", Code::ExternalIdInvalid),
        (transfers, &transfer, "asset", Code::AssetUnknown),
        (transfers, &transfer, "wallet", Code::BodyInvalid),
        (transfers, &transfer, "from", Code::BodyInvalid),
        (clients, &client, "external_id", Code::ExternalIdInvalid),
        (clients, &client, "name", Code::TextInvalid),
        (clients, &client, "id", Code::BodyInvalid),
        (withdrawals, &draft, "external_id", Code::ExternalIdInvalid),
        (withdrawals, &draft, "note", Code::TextInvalid),
        (withdrawals, &draft, "end", Code::TimeInvalid),
    ] {
        let mut body = sound.clone();
        body[field] = json!("x\u{0}");
        town.post("erp", path, "k", &body).await.problem(code);
    }
}
