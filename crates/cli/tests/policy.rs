//! `keyward policy`, without a server.

mod common;

use std::fs;

use common::Host;
use custody::genesis::Genesis;
use custody::rule_set::NEWEST;
use fixtures::{genesis, policy_of, rule};

const EXAMPLE: &str = include_str!("../../../examples/policies/small-treasury.toml");
const CALENDAR: &str = include_str!("../../../examples/policies/cold-storage.toml");

fn host(text: &str) -> Host {
    let host = Host::new();
    fs::write(host.path("policy.toml"), text).unwrap();
    host
}

#[test]
fn a_policy_is_checked_against_the_groups_in_its_file() {
    let host = host(EXAMPLE);
    let out = host.ok("policy check policy.toml");
    assert!(out.contains("3 rules") && out.contains("the groups in"), "{out}");
    let json: serde_json::Value =
        serde_json::from_str(&host.ok("policy check policy.toml --output json")).unwrap();
    assert_eq!(json["rules"], 3);
    assert_eq!(json["rule_set"], NEWEST);
    assert_eq!(json["warnings"], serde_json::json!([]));
    let idle = format!("exclusive = [[\"traders\", \"admins\"]]\n{EXAMPLE}");
    fs::write(host.path("policy.toml"), idle).unwrap();
    assert!(host.ok("policy check policy.toml").contains("there is no group traders"));
    // More than an envelope holds.
    let rule = EXAMPLE.split("[[rules]]").last().unwrap().split("[governance").next().unwrap();
    let many = |count: u32| {
        let more =
            (0..count).map(|i| format!("[[rules]]{}", rule.replace("cancels", &format!("cancels-{i}"))));
        EXAMPLE.replace("[governance", &(more.collect::<String>() + "[governance"))
    };
    fs::write(host.path("policy.toml"), many(450)).unwrap();
    host.ok("policy check policy.toml");
    fs::write(host.path("policy.toml"), many(900)).unwrap();
    assert!(host.fails("policy check policy.toml", 2).contains("an envelope holds"));
    // A rule refuses it: by that rule, with its code.
    fs::write(host.path("policy.toml"), EXAMPLE.replace("up_to = \"90000 sat\"", "up_to = \"1 btc\""))
        .unwrap();
    let err = host.fails("policy check policy.toml", 3);
    assert!(err.contains("floor.adoption") && err.contains("rule petty"), "{err}");
    // A mistake has its place.
    fs::write(host.path("policy.toml"), EXAMPLE.replace("fee_max_ppm = 50000", "fee_max_pmm = 50000"))
        .unwrap();
    let err = host.fails("policy check policy.toml", 2);
    assert!(err.contains("line 22, column 1: rules[1].fee_max_ppm: missing; you wrote fee_max_pmm"), "{err}");
    // Nothing is said to be sound that was not checked.
    let bare = EXAMPLE
        .replace("[groups]", "")
        .replace("approvers = [\"alice", "#")
        .replace("admins = [\"alice", "#");
    fs::write(host.path("policy.toml"), bare).unwrap();
    assert!(host.fails("policy check policy.toml", 2).contains("[groups]"));
}

#[test]
fn a_policy_is_checked_against_a_genesis() {
    let host = host(EXAMPLE);
    let genesis = Genesis {
        rules: NEWEST,
        policy: policy_of(NEWEST, &[rule()], 0),
        de_minimis: custody::effects::Sats(90_000),
        ..genesis()
    };
    genesis.check().unwrap();
    fs::write(host.path("genesis.json"), genesis.bytes()).unwrap();
    let out = host.ok("policy check policy.toml --genesis genesis.json");
    assert!(out.contains("the genesis in"), "{out}");
    // The de minimis of the genesis counts, not that of the file.
    let less = Genesis { de_minimis: custody::effects::Sats(89_999), ..genesis.clone() };
    fs::write(host.path("genesis.json"), less.bytes()).unwrap();
    assert!(host.fails("policy check policy.toml --genesis genesis.json", 3).contains("rule petty"));
    let old = Genesis { rules: 2, policy: policy_of(2, &[rule()], 0), ..genesis };
    fs::write(host.path("genesis.json"), old.bytes()).unwrap();
    assert!(host.fails("policy check policy.toml --genesis genesis.json", 2).contains("rule set 4"));
    host.fails("policy check policy.toml --against-log", 2);
}

/// File, document, file: each says the same.
#[test]
fn a_policy_is_shown_as_a_file_and_as_a_document() {
    let host = host(CALENDAR);
    let document = host.ok("policy show policy.toml --output json");
    fs::write(host.path("policy.json"), &document).unwrap();
    let printed = host.ok("policy show policy.json");
    assert!(printed.contains("open = [") && printed.contains("zone = \"Europe/Zurich\""), "{printed}");
    fs::write(host.path("again.toml"), printed).unwrap();
    assert_eq!(host.ok("policy show again.toml --output json"), document);
    fs::write(host.path("header.json"), "{\"type\":\"resume\",\"freezes\":[]}").unwrap();
    assert!(host.fails("policy show header.json", 2).contains("kind resume"));
    assert_eq!(host.run("policy show").status.code(), Some(2));
    let schema: serde_json::Value = serde_json::from_str(&host.ok("policy schema")).unwrap();
    assert_eq!(schema["title"], "Keyward policy");
}
