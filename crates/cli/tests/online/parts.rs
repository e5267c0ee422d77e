//! What rule set 2 brought: freezes of a part, and requests that who asked takes back.

use fixtures::newest;

use super::*;

fn coin_and_payment(world: &mut World, client: Option<&str>) -> Hash {
    let coin = world.coin(10_000_000);
    let client = client.map(name);
    let ask = custody::payment::Request { client, ..world.request(&[("acme", 1_250_000)]) };
    let request = world.asked_as("carol", ask, &["alice", "bob"]);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap()
}

#[test]
fn a_part_is_frozen_and_what_it_does_not_cover_goes_on() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    let [of_north, of_south, of_nobody] = deployment.world(|world| {
        world.adopt(fixtures::client("north"));
        world.adopt(fixtures::client("south"));
        [Some("north"), Some("south"), None].map(|client| coin_and_payment(world, client).to_string())
    });
    host.ok("status");
    // Through the server.
    let said = host.ok("freeze --client north --yes --timeout 0");
    assert!(said.starts_with("frozen      ") && said.contains("covers      client north\n"), "{said}");
    assert!(said.contains(&of_north) && !said.contains(&of_south), "{said}");
    assert!(said.contains(&of_nobody), "it might be north's: {said}");
    assert!(host.ok("status").contains("! FROZEN    client north by erin at "));
    // Directly at the co-signers, and true only when enough of them hold it.
    let said = host.fails("freeze --wallet main --yes --offline --timeout 0", 6);
    assert!(said.contains("sent        ") && said.contains("covers      wallet main\n"), "{said}");
    deployment.know(&["s1", "s2", "s3"]);
    let said = host.ok("freeze --wallet main --yes --offline --timeout 0");
    assert!(said.starts_with("frozen      ") && said.contains("held by     s1, s2, s3\n"), "{said}");
    assert!(said.contains(&of_north) && said.contains(&of_nobody), "{said}");
    let asset = deployment.world(|world| world.state.genesis().asset());
    let report = deployment.json(&format!("freeze --asset {asset} --yes --timeout 0"));
    assert_eq!(report["scope"], serde_json::json!({ "asset": asset }));
    let said = host.ok("freeze --yes --timeout 0");
    assert!(said.contains("covers      everything\n"), "{said}");
    assert_eq!(deployment.world(|world| world.state.freezes().len()), 4);
}

/// A freeze that would stop nothing is not signed.
#[test]
fn only_what_is_there_is_frozen() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    host.ok("status");
    for part in ["--client north", "--wallet spare", "--asset bip122:000/slip44:0"] {
        let said = host.fails(&format!("freeze {part} --yes --timeout 0"), 2);
        assert!(said.contains("is not in the log"), "{said}");
    }
    let both = host.run("freeze --wallet main --client north --yes --timeout 0");
    assert_eq!(both.status.code(), Some(2));
    let first = Deployment::new();
    first.host.ok("status");
    let said = first.host.fails("freeze --wallet main --yes --timeout 0", 2);
    assert!(said.contains("rule set 1"), "{said}");
    for deployment in [deployment, first] {
        assert_eq!(deployment.world(|world| world.state.freezes().len()), 0);
    }
}

/// P23: who asked ends it at once while nothing is authorised; others do not, and later it takes approvals.
#[test]
fn a_cancel_before_anything_is_authorised_ends_the_request() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    let ask = "pay --wallet main --to acme=0.001btc --fee-max 10000sat --yes";
    let [first, second] = [(); 2].map(|()| deployment.json(ask)["id"].as_str().unwrap().to_owned());
    let said = host.ok(&format!("cancel {first} --fee-max 1sat --yes"));
    assert!(said.starts_with("withdrawn: nothing was authorised"), "{said}");
    assert!(host.ok(&format!("show {first}")).contains("  state         withdrawn\n"));
    let open = host.ok("requests");
    assert!(open.contains(&second) && !open.contains(&first) && !open.contains("cancel"), "{open}");
    // Somebody else's.
    let theirs = deployment.world(|world| {
        let ask = world.request(&[("acme", 1_000_000)]);
        world.asked_as("carol", ask, &["alice", "bob"])
    });
    assert!(host.fails(&format!("cancel {theirs} --fee-max 1sat --yes"), 3).contains("P23.renewal"));
    // Once it is authorised.
    deployment.world(|world| {
        let id = Hash::from_hex(&second).unwrap();
        for who in ["alice", "bob"] {
            world.approve(who, id).unwrap();
        }
        let coin = world.coin(10_000_000);
        let draft = world.draft(&[id], &[coin], 1_000);
        world.pay(&[id], &draft).unwrap();
    });
    let said = host.ok(&format!("cancel {second} --fee-max 10000sat --yes"));
    assert!(said.starts_with("asked: others approve it"), "{said}");
}
