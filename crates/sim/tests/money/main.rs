//! Clients' money with real processes: kills, two servers on one database, yesterday's database, and a
//! payment that the books were not asked for.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sim::sandbox::Story;
use tempfile::TempDir;

#[path = "../../../ledger/tests/common/postgres.rs"]
#[allow(dead_code, reason = "the tests of the books crash it as well")]
mod postgres;

mod consolidation;
mod https;

/// Satoshi that `acme` begins with.
const BEGINNING: u64 = 200_000_000;

/// What each withdrawal pays.
const AMOUNT: u64 = 10_000_000;

/// A deployment in which client `acme` has two deposits.
fn deployed() -> (TempDir, Story) {
    let directory = TempDir::with_prefix("keyward-money-").unwrap();
    let story = Story::deploy(directory.path(), 2, BEGINNING / 2).unwrap();
    (directory, story)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// What `acme` has: balance, available.
fn acme(story: &Story, more: &[&str]) -> (u64, u64) {
    let words = [&["balances", "--client", "acme"], more].concat();
    let accounts = story.keyward_soon("bob", &words).unwrap();
    let sum =
        |name: &str| accounts.as_array().unwrap().iter().map(|a| text(a, name).parse::<u64>().unwrap()).sum();
    (sum("balance"), sum("available"))
}

const WITHDRAW: &[&str] = &[
    "withdraw",
    "--client",
    "acme",
    "--wallet",
    "vault",
    "--to",
    "supplier=0.1btc",
    "--fee-max",
    "20000sat",
    "--end",
    "2h",
    "--yes",
];

/// Asks as machine `erp`; the id.
fn ask(story: &Story, more: &[&str]) -> String {
    let said = story.keyward_soon("erp", &[WITHDRAW, more].concat()).unwrap();
    text(&said, "id").to_owned()
}

fn follow(story: &Story, id: &str, until: &str, more: &[&str]) {
    let words = [&["--timeout", "90", "withdrawal", "follow", id, "--until", until], more].concat();
    story.keyward("alice", &words).unwrap();
}

fn approve(story: &Story, who: &str, id: &str, more: &[&str]) {
    story.keyward_soon(who, &[&["approve", id, "--yes"], more].concat()).unwrap();
}

fn reconciled(story: &Story) {
    let compared = story.keyward_soon("bob", &["reconcile"]).unwrap();
    let all = compared.as_array().unwrap();
    assert!(!all.is_empty() && all.iter().all(|one| one["difference"] == "0"), "{compared}");
}

/// What Bob finds in the database, against the log that he fetched last.
fn verify(story: &Story) -> Result<Value, String> {
    let words = ["--offline", "ledger", "verify", "--books", story.books()];
    story.keyward("bob", &words).map_err(|error| error.to_string())
}

#[test]
fn a_withdrawal_survives_a_kill_in_every_state() {
    let (_directory, mut story) = deployed();
    let restart = |story: &mut Story| {
        story.kill_server();
        story.start_server().unwrap();
    };
    let id = ask(&story, &["--external-id", "INV-1", "--idempotency-key", "invoice-1"]);
    restart(&mut story);
    // Who did not hear the answer asks again, and gets the same one; nothing is reserved twice.
    assert_eq!(acme(&story, &[]), (BEGINNING, BEGINNING - AMOUNT - 20_000));
    follow(&story, &id, "awaiting-approval", &[]);
    restart(&mut story);
    approve(&story, "alice", &id, &[]);
    restart(&mut story);
    approve(&story, "bob", &id, &[]);
    restart(&mut story);
    follow(&story, &id, "authorised", &[]);
    restart(&mut story);
    follow(&story, &id, "broadcast", &[]);
    restart(&mut story);
    story.mine_blocks(1).unwrap();
    follow(&story, &id, "confirming", &[]);
    restart(&mut story);
    story.mine_blocks(5).unwrap();
    follow(&story, &id, "settled", &[]);
    restart(&mut story);
    let done = story.keyward_soon("bob", &["withdrawal", "show", &id]).unwrap();
    let fee: u64 = text(&done, "fee").parse().unwrap();
    assert_eq!(acme(&story, &[]), (BEGINNING - AMOUNT - fee, BEGINNING - AMOUNT - fee));
    let settled = done["timeline"].as_array().unwrap().iter().filter(|event| event["what"] == "settled");
    assert_eq!(settled.count(), 1, "{done}");
    reconciled(&story);
    verify(&story).unwrap();
}

#[test]
fn two_servers_on_one_database_do_everything_once() {
    let (_directory, story) = deployed();
    two_servers(story);
}

#[test]
fn two_servers_on_one_postgresql_database_do_everything_once() {
    let directory = TempDir::with_prefix("keyward-money-").unwrap();
    let books = postgres::Cluster::shared().database();
    two_servers(Story::deploy_on(directory.path(), Some(&books), 2, BEGINNING / 2).unwrap());
}

fn two_servers(mut story: Story) {
    story.enrol_server("server2").unwrap();
    let mut second = story.second_server("server2").unwrap();
    // The machine's program learns of the second server from the first one.
    story.keyward("erp", &["status"]).unwrap();
    let at = second.address();
    let other = ["--server", at.as_str()];
    // A deposit that both see is credited once.
    let given = story.keyward("alice", &["address", "new", "--wallet", "vault", "--client", "acme"]).unwrap();
    let given = given.as_array().and_then(|all| all.first()).cloned().unwrap_or(given);
    story.customer_pays(text(&given, "address"), 30_000_000).unwrap();
    story.mine_blocks(3).unwrap();
    let credited = ["deposits", "--client", "acme", "--status", "credited"];
    let begun = std::time::Instant::now();
    while story.keyward_soon("bob", &credited).unwrap().as_array().unwrap().len() < 3 {
        assert!(begun.elapsed().as_secs() < 60, "not credited");
    }
    let all = BEGINNING + 30_000_000;
    assert_eq!(acme(&story, &[]), (all, all));
    assert_eq!(acme(&story, &other), (all, all));
    // Asked through one, approved through both, settled while both live.
    let first = ask(&story, &other);
    approve(&story, "alice", &first, &[]);
    approve(&story, "bob", &first, &other);
    follow(&story, &first, "broadcast", &[]);
    story.mine_blocks(6).unwrap();
    follow(&story, &first, "settled", &other);
    // The one that was asked dies, the other one takes it to its end.
    let next = ask(&story, &[]);
    story.kill_server();
    approve(&story, "alice", &next, &other);
    approve(&story, "bob", &next, &other);
    follow(&story, &next, "broadcast", &other);
    story.mine_blocks(6).unwrap();
    follow(&story, &next, "settled", &other);
    let fee = |id: &str| {
        let shown = story.keyward("bob", &[&["withdrawal", "show", id], &other[..]].concat()).unwrap();
        text(&shown, "fee").parse::<u64>().unwrap()
    };
    let left = all - 2 * AMOUNT - fee(&first) - fee(&next);
    assert_eq!(acme(&story, &other), (left, left));
    second.kill();
    story.start_server().unwrap();
    assert_eq!(acme(&story, &[]), (left, left));
    reconciled(&story);
    verify(&story).unwrap();
}

fn frozen(story: &Story) -> bool {
    let status = story.keyward_soon("bob", &["status"]).unwrap();
    status["freezes"].as_array().is_some_and(|all| !all.is_empty())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("books.db") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn yesterdays_database_under_todays_log_is_refused() {
    let (directory, mut story) = deployed();
    let (live, old) = (story.server_directory(), directory.path().join("yesterday"));
    story.kill_server();
    copy(&live, &old);
    story.start_server().unwrap();
    let id = ask(&story, &[]);
    approve(&story, "alice", &id, &[]);
    approve(&story, "bob", &id, &[]);
    follow(&story, &id, "broadcast", &[]);
    story.mine_blocks(6).unwrap();
    follow(&story, &id, "settled", &[]);
    // A server that starts anchors what is new.
    story.kill_server();
    story.start_server().unwrap();
    let begun = std::time::Instant::now();
    while verify(&story).unwrap()["not_anchored"].as_u64() != Some(0) {
        story.keyward_soon("bob", &["status"]).unwrap();
        assert!(begun.elapsed().as_secs() < 60, "not anchored: {:?}", verify(&story));
    }
    story.kill_server();
    copy(&old, &live);
    let why = verify(&story).unwrap_err();
    assert!(why.contains("behind"), "{why}");
    story.start_server().unwrap();
    let begun = std::time::Instant::now();
    while !frozen(&story) {
        assert!(begun.elapsed().as_secs() < 60, "{}", story.server_log().unwrap());
    }
    let log = story.server_log().unwrap();
    assert!(log.contains("an older copy of the database was restored"), "{log}");
}

#[test]
fn what_the_log_allows_and_the_books_do_not_freezes_the_asset() {
    let (_directory, story) = deployed();
    // Nothing is left for it in the books: the other withdrawal has reserved all.
    let to = format!("supplier={}sat", BEGINNING - 1_000_000);
    let all = [
        "withdraw",
        "--client",
        "acme",
        "--wallet",
        "vault",
        "--to",
        &to,
        "--fee-max",
        "1000000sat",
        "--end",
        "2h",
    ];
    story.keyward("erp", &[&all[..], &["--yes"]].concat()).unwrap();
    assert_eq!(acme(&story, &[]).1, 0);
    let pay =
        ["pay", "--client", "acme", "--wallet", "vault", "--to", "supplier=0.1btc", "--fee-max", "20000sat"];
    let said = story.keyward("carol", &[&pay[..], &["--end", "2h", "--yes"]].concat()).unwrap();
    let id = text(&said, "id").to_owned();
    approve(&story, "alice", &id, &[]);
    approve(&story, "bob", &id, &[]);
    follow(&story, &id, "unfunded", &[]);
    // The server does not propose it. Whoever has its keys does.
    assert!(story.propose_behind_the_books(&id).unwrap(), "people approved it, so the log takes it");
    let begun = std::time::Instant::now();
    while !frozen(&story) {
        assert!(begun.elapsed().as_secs() < 60, "{}", story.server_log().unwrap());
    }
    assert!(story.server_log().unwrap().contains("without a reservation"));
}

#[test]
fn a_segregated_wallet_pays_each_client_from_its_own_coins() {
    let (_directory, mut story) = deployed();
    story.open_another("apart", "1", "3").unwrap();
    for client in ["acme", "birch"] {
        let new = ["address", "new", "--wallet", "apart", "--client", client];
        let given = story.keyward("alice", &new).unwrap();
        let given = given.as_array().and_then(|all| all.first()).cloned().unwrap_or(given);
        story.customer_pays(text(&given, "address"), 50_000_000).unwrap();
    }
    story.mine_blocks(6).unwrap();
    let credited = ["deposits", "--client", "birch", "--status", "credited"];
    let begun = std::time::Instant::now();
    while story.keyward_soon("bob", &credited).unwrap().as_array().unwrap().is_empty() {
        assert!(begun.elapsed().as_secs() < 60, "not credited");
    }
    let withdraw = |amount: &str| {
        let to = format!("supplier={amount}");
        let words =
            ["withdraw", "--client", "birch", "--wallet", "apart", "--to", &to, "--fee-max", "20000sat"];
        story.keyward("erp", &[&words[..], &["--end", "2h", "--yes"]].concat())
    };
    // There is enough in the wallet, and not enough of birch's.
    let refused = withdraw("0.6btc").unwrap_err().to_string();
    assert!(refused.contains("ledger.overdraft"), "{refused}");
    let asked = withdraw("0.2btc").unwrap();
    let id = text(&asked, "id");
    approve(&story, "alice", id, &[]);
    approve(&story, "bob", id, &[]);
    follow(&story, id, "broadcast", &[]);
    story.mine_blocks(6).unwrap();
    follow(&story, id, "settled", &[]);
    let done = story.keyward_soon("bob", &["withdrawal", "show", id]).unwrap();
    let fee: u64 = text(&done, "fee").parse().unwrap();
    let has = |client: &str| {
        let words = ["balances", "--client", client, "--wallet", "apart"];
        let accounts = story.keyward_soon("bob", &words).unwrap();
        text(&accounts[0], "balance").parse::<u64>().unwrap()
    };
    assert_eq!((has("acme"), has("birch")), (50_000_000, 30_000_000 - fee));
    reconciled(&story);
}
