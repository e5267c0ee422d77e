//! Accounts, statements, balances.

use api::Code;
use serde_json::json;

use crate::house::{ASSET, Town};

async fn busy() -> Town {
    let town = Town::new().await;
    town.fund("north", 1_000_000).await;
    town.forward(60);
    let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), 400_000))});
    town.post("erp", "/v1/withdrawals", "k1", &body).await.ok(202);
    town.forward(60);
    let body = json!({"wallet": "main", "from": "client:north", "to": "client:south", "amount": "5"});
    town.post("erp", "/v1/transfers", "k2", &body).await.ok(201);
    town
}

#[tokio::test]
async fn balances_now_and_then() {
    let town = busy().await;
    let north = town.get("alice", "/v1/accounts?client=north").await.ok(200)["items"][0].clone();
    let expected = json!({
        "owner": "client:north", "wallet": "main", "asset": ASSET, "balance": "999995",
        "available": "549995", "reserved": "450000", "incoming": "0",
    });
    assert_eq!(north, expected);
    let then = "/v1/accounts?owner=client:north&wallet=main&as_of=2026-01-01T00:00:59Z";
    let then = town.get("alice", then).await.ok(200)["items"][0].clone();
    assert_eq!((&then["balance"], &then["reserved"]), (&json!("1000000"), &json!("0")));
    let before = town.get("alice", "/v1/accounts?client=north&as_of=2025-12-31T23:59:59Z").await.ok(200);
    assert_eq!(before["items"][0]["balance"], "0");
    assert_eq!(town.get("alice", "/v1/accounts?overdrawn=true").await.ok(200)["items"], json!([]));
    for bad in ["client=north&owner=own", "overdrawn=true&client=north", "owner=nobody", "overdrawn=perhaps"]
    {
        town.get("alice", &format!("/v1/accounts?{bad}")).await.problem(Code::QueryInvalid);
    }
}

#[tokio::test]
async fn the_balances_of_clients_are_theirs_over_all_wallets() {
    let town = busy().await;
    let all = town.get("alice", "/v1/balances").await.ok(200);
    let clients: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| &item["client"]).collect();
    assert_eq!(clients, ["north", "south"]);
    let south = town.get("alice", "/v1/balances?client=south").await.ok(200)["items"][0].clone();
    assert_eq!((&south["assets"][0]["balance"], &south["assets"][0]["asset"]), (&json!("5"), &json!(ASSET)));
    assert_eq!(south["assets"][0]["accounts"][0]["wallet"], "main");
    let first = town.get("alice", "/v1/balances?limit=1").await.ok(200);
    let cursor = first["next"].as_str().unwrap();
    let second = town.get("alice", &format!("/v1/balances?limit=1&cursor={cursor}")).await.ok(200);
    assert_eq!((&second["items"][0]["client"], &second["next"]), (&json!("south"), &json!(null)));
    town.get("alice", "/v1/balances?client=nobody").await.problem(Code::ClientUnknown);
}

#[tokio::test]
async fn a_statement_in_json_and_csv() {
    let town = busy().await;
    let path = format!("/v1/accounts/client:north/main/{ASSET}/statement");
    let lines = town.get("alice", &path).await.ok(200);
    let lines = lines["items"].as_array().unwrap();
    let row = |i: usize, field: &str| lines[i][field].as_str().unwrap().to_owned();
    assert_eq!(lines.len(), 3);
    assert_eq!((row(0, "side"), row(0, "counterparty")), ("credit".into(), "external".into()));
    assert_eq!(
        (row(1, "kind"), row(1, "balance"), row(1, "available")),
        ("pending".into(), "1000000".into(), "550000".into())
    );
    assert_eq!((row(2, "amount"), row(2, "balance")), ("5".into(), "999995".into()));

    let csv = town.get("alice", &format!("{path}?format=csv")).await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8; header=present");
    let texts: Vec<_> = csv.text.split("\r\n").collect();
    assert_eq!(texts[0], "time,position,transfer,kind,code,side,amount,balance,available,counterparty");
    let hold = row(1, "transfer");
    let position = lines[1]["position"].to_string();
    assert_eq!(
        texts[2],
        format!(
            "2026-01-01T00:01:00Z,{position},{hold},pending,withdrawal,debit,450000,1000000,550000,in-transit"
        )
    );
    assert_eq!((texts.len(), texts[4]), (5, ""));
    let accepted = town.ask("alice", "GET", &path, &[("accept", "text/csv")], Vec::new()).await;
    assert_eq!(accepted.text, csv.text);

    let first = town.get("alice", &format!("{path}?format=csv&limit=2")).await;
    let cursor = first.headers["x-next-cursor"].to_str().unwrap();
    let rest = town.get("alice", &format!("{path}?format=csv&limit=2&cursor={cursor}")).await;
    assert_eq!(rest.text, format!("{}\r\n{}\r\n", texts[0], texts[3]));
    assert!(!rest.headers.contains_key("x-next-cursor"));
    town.get("alice", &format!("{path}?format=xml")).await.problem(Code::QueryInvalid);
    town.get("alice", "/v1/accounts/client:north/main/btc/slip44:1/statement")
        .await
        .problem(Code::QueryInvalid);
}

#[tokio::test]
async fn a_statement_of_a_span_of_time() {
    let town = busy().await;
    let path = format!("/v1/accounts/client:north/main/{ASSET}/statement");
    let times = |query: &str| {
        let (town, path) = (&town, format!("{path}?{query}"));
        async move {
            let lines = town.get("alice", &path).await.ok(200);
            lines["items"].as_array().unwrap().iter().map(|line| line["time"].clone()).collect::<Vec<_>>()
        }
    };
    let (a, b, c) = ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z");
    assert_eq!(times("").await, [a, b, c]);
    assert_eq!(times(&format!("from={b}")).await, [b, c]);
    assert_eq!(times(&format!("to={b}")).await, [a, b]);
    assert_eq!(times(&format!("from={b}&to={b}")).await, [b]);
    assert_eq!(times("from=2026-01-01T00:00:01Z&to=2026-01-01T00:00:59Z").await, [""; 0]);
    assert_eq!(times("from=2026-01-01T00:02:01Z").await, [""; 0]);
    town.get("alice", &format!("{path}?from=yesterday")).await.problem(Code::TimeInvalid);
}
