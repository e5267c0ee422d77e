//! Policy files against a deployment.

use std::fs;

use custody::Hash;
use custody::document::Document;
use fixtures::newest;

use crate::Deployment;

const POLICY: &str = r#"
[[rules]]
id = "payments"
approvals = ["2 of approvers"]
amount_max = "1 btc"
fee_max = "50000 sat"
fee_max_ppm = 100000
velocity = [{ per = "wallet", window = "24h", amount_max = "2 btc" }]

[governance.default]
approvals = ["2 of admins"]
delay = "0s"
"#;

/// From the file to what is in force, and back to the file.
#[test]
fn a_policy_file_is_checked_proposed_and_shown() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    fs::write(host.path("policy.toml"), POLICY).unwrap();
    // The file has no groups: nothing is kept to check it against, then the log is.
    host.fails("policy check policy.toml", 2);
    host.ok("status");
    let checked = host.ok("policy check policy.toml --against-log");
    assert!(checked.contains("what is in force at height"), "{checked}");
    // Groups in the file are compared with those of the log.
    assert!(!checked.contains("differs"), "{checked}");
    let groups = "network = \"regtest\"\nde_minimis = \"0 sat\"\n[groups]\napprovers = [\"alice\", \"bob\", \"dave\"]\n";
    fs::write(host.path("groups.toml"), format!("{groups}{POLICY}")).unwrap();
    let checked = host.ok("policy check groups.toml --against-log");
    let line = "differs     group approvers: dave in the file alone; carol, erin in force alone";
    assert!(checked.lines().any(|one| one == line), "{checked}");
    fs::write(host.path("five.toml"), POLICY.replace("2 of approvers", "5 of approvers")).unwrap();
    assert!(host.fails("policy check five.toml --against-log", 3).contains("too few people"));
    assert!(host.fails("policy propose five.toml", 3).contains("floor.adoption"));

    let before = host.ok("policy show --in-force");
    assert!(!before.contains("velocity"), "{before}");
    let proposed = deployment.json("policy propose policy.toml");
    let proposal = Hash::from_hex(proposed["id"].as_str().unwrap()).unwrap();
    deployment.world(|world| ["alice", "bob"].map(|who| world.approve(who, proposal).unwrap()));
    assert_eq!(host.ok("policy show --in-force"), host.ok("policy show policy.toml"));
    let document = deployment.json("policy show --in-force");
    let Document::Policy(policy) = serde_json::from_value(document).unwrap() else { panic!("no policy") };
    assert_eq!(policy.rules[0].require.velocity.len(), 1);
    assert_eq!(
        Some(policy),
        deployment.world(|world| world.state.policy().map(|(policy, _)| policy.clone()))
    );
}
