//! Policies explained, replayed and compared.

use std::fs;

use custody::document::Document;
use custody::effects::Sats;
use custody::policy::{Policy, PolicyRule};
use custody::rule_set::NEWEST;
use fixtures::{newest, path, policy_of, rule};

use crate::Deployment;

/// The policy in force with a change, proposed by alice.
fn draft(change: fn(&mut PolicyRule)) -> Policy {
    let mut rule = rule();
    change(&mut rule);
    policy_of(NEWEST, &[rule], 0)
}

fn write(deployment: &Deployment, draft: &Policy) {
    let document = serde_json::to_vec(&Document::Policy(draft.clone())).unwrap();
    fs::write(deployment.host.path("draft.json"), document).unwrap();
}

#[test]
fn what_a_policy_allows_is_shown_before_it_is_approved() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    let draft = draft(|rule| rule.require.amount_max = Sats(200_000_000));
    write(&deployment, &draft);
    let line = "allows more: payments of 100,000,001 sat to 200,000,000 sat: granted\n";
    let compared = host.ok("policy diff draft.json");
    assert!(
        compared.starts_with(line) && compared.contains("  for example 100,000,001 sat from any-0"),
        "{compared}"
    );
    let id = deployment.world(|world| world.propose("alice", Document::Policy(draft.clone())).unwrap());
    let shown = host.ok(&format!("show {id}"));
    // Beneath all that the approver's program shows.
    let (at, log) = (shown.find(line).unwrap(), shown.find("  log           final at").unwrap());
    assert!(at > log, "{shown}");
    let json = deployment.json(&format!("show {id}"));
    assert_eq!(
        (json["kind"].as_str(), json["allows"]["more"][0]["undecided"].as_bool()),
        (Some("policy"), Some(false))
    );
    assert_eq!(json["allows"]["less"].as_array().unwrap().len(), 0);
    // Before the question, which nobody answers.
    let asked = host.fails(&format!("approve {id}"), 2);
    assert!(asked.find(line).unwrap() < asked.find("Approve exactly this?").unwrap(), "{asked}");
    // Whoever proposes sees it too.
    let proposed = host.run("propose draft.json");
    assert!(String::from_utf8(proposed.stderr).unwrap().contains(line));
    // In force it differs from nothing, and what was proposed is no draft any more.
    deployment.world(|world| {
        for who in ["alice", "bob"] {
            world.approve(who, id).unwrap();
        }
        world.tick(1);
    });
    assert_eq!(host.ok("policy diff draft.json"), "allows more: nothing\nallows less: nothing\n");
    assert!(!host.ok(&format!("show {id}")).contains("allows more"));
    assert!(deployment.json(&format!("show {id}"))["allows"].is_null());
}

#[test]
fn requests_are_explained_and_decided_again() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    let id = deployment.world(|world| {
        let ask = world.request(&[("acme", 1_250_000)]);
        world.asked_as("carol", ask, &["alice"])
    });
    let explained = host.ok(&format!("policy explain {id}"));
    for line in ["  MISSING       2 of approvers\n", "may approve   bob, erin\n", "could be signed  now, if"]
    {
        assert!(explained.contains(line), "{line} in\n{explained}");
    }
    let json = deployment.json(&format!("policy explain {id}"));
    assert_eq!(json["may_approve"], serde_json::json!(["bob", "erin"]));
    deployment.world(|world| world.approve("bob", id).unwrap());
    write(&deployment, &draft(|rule| rule.require.approvals = vec![path(&[(3, "approvers")])]));
    let replayed = host.ok("policy replay draft.json --since 1d");
    assert!(
        replayed.starts_with("1 requests from ") && replayed.contains(" 1 decided otherwise\n"),
        "{replayed}"
    );
    assert!(replayed.contains("  draft   denied by payments: policy.approvals"), "{replayed}");
    let json = deployment.json("policy replay draft.json --since 1d");
    assert_eq!(json["otherwise"][0]["request"], id.to_string());
    // Neither a proposal nor another document is taken for it.
    let proposal = deployment.world(|world| world.propose("alice", fixtures::client("cat")).unwrap());
    assert!(host.fails(&format!("policy explain {proposal}"), 2).contains("is no request"));
    fs::write(host.path("draft.json"), serde_json::to_vec(&fixtures::client("cat")).unwrap()).unwrap();
    assert!(host.fails("policy diff draft.json", 2).contains("kind client"));
}
