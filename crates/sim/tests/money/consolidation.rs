//! Coins are gathered at a wallet's house address: because somebody asks for it, or as the rules of a machine say.

use std::time::Instant;

use serde_json::Value;
use sim::sandbox::Story;
use tempfile::TempDir;

use super::{BEGINNING, acme, approve, deployed, follow, postgres, reconciled, text, verify};

/// Lets people approve destination `vault-house` at the house address of wallet `vault`.
fn house(story: &Story) {
    let shown = story.keyward("alice", &["address", "house", "--wallet", "vault"]).unwrap();
    let address = text(&shown, "address");
    let add = ["destination", "add", "--id", "vault-house", "--address", address, "--of", "own"];
    story.adopt(&[&add[..], &["--label", "the house address of the vault"]].concat()).unwrap();
}

fn withdrawals(story: &Story) -> Vec<Value> {
    story.keyward_soon("bob", &["withdrawals"]).unwrap().as_array().unwrap().clone()
}

/// Approved, mined, settled: acme has what it had, and the house owes the fee.
fn to_its_end(story: &Story, id: &str) {
    approve(story, "alice", id, &[]);
    approve(story, "bob", id, &[]);
    follow(story, id, "broadcast", &[]);
    story.mine_blocks(6).unwrap();
    follow(story, id, "settled", &[]);
    let done = story.keyward_soon("bob", &["withdrawal", "show", id]).unwrap();
    let fee: i64 = text(&done, "fee").parse().unwrap();
    assert_eq!(acme(story, &[]), (BEGINNING, BEGINNING));
    let accounts = story.keyward_soon("bob", &["balances"]).unwrap();
    let fees = accounts.as_array().unwrap().iter().find(|account| account["owner"] == "fees");
    assert_eq!(fees.map(|fees| text(fees, "balance").to_owned()), Some((-fee).to_string()), "{accounts}");
    reconciled(story);
    verify(story).unwrap();
}

#[test]
fn coins_are_gathered_at_the_cost_of_the_house() {
    let (_directory, mut story) = deployed();
    house(&story);
    let ask =
        ["pay", "--wallet", "vault", "--to", "vault-house=1.5btc", "--fee-max", "20000sat", "--end", "2h"];
    let said = story.keyward("carol", &[&ask[..], &["--yes"]].concat()).unwrap();
    let id = text(&said, "id").to_owned();
    follow(&story, &id, "awaiting-approval", &[]);
    assert_eq!(acme(&story, &[]), (BEGINNING, BEGINNING), "nothing of acme's is reserved");
    story.kill_server();
    story.start_server().unwrap();
    to_its_end(&story, &id);
}

#[test]
fn a_machine_asks_once_that_coins_are_gathered_whichever_server_lives() {
    let directory = TempDir::with_prefix("keyward-money-").unwrap();
    let books = postgres::Cluster::shared().database();
    let mut story = Story::deploy_on(directory.path(), Some(&books), 2, BEGINNING / 2).unwrap();
    house(&story);
    let keeper = story.enrol_machine("keeper", "request").unwrap();
    // Both deposits are small enough, and more than one.
    let below = (BEGINNING / 2 + 1).to_string();
    let rules = serde_json::json!([
        {"wallet": "vault", "destination": "vault-house", "more_than": 1, "below": below, "fee_rate": 10},
    ]);
    std::fs::write(keeper.join("consolidation.json"), rules.to_string()).unwrap();
    let keeper = keeper.display().to_string();
    let more = ["--consolidator-dir", keeper.as_str()];
    story.enrol_server("server2").unwrap();
    story.kill_server();
    let mut second = story.second_server_with("server2", &more).unwrap();
    story.start_server_with(&more).unwrap();
    let begun = Instant::now();
    while withdrawals(&story).is_empty() {
        assert!(begun.elapsed().as_secs() < 60, "not asked for: {}", story.server_log().unwrap());
    }
    let id = text(&withdrawals(&story)[0], "id").to_owned();
    follow(&story, &id, "awaiting-approval", &[]);
    story.kill_server();
    second.kill();
    story.start_server().unwrap();
    let asked = withdrawals(&story);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(text(&asked[0], "requester"), "machine keeper");
    to_its_end(&story, &id);
    assert_eq!(withdrawals(&story).len(), 1, "one coin is left");
}
