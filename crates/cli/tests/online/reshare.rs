//! Shares dealt anew: proposed, followed, and what is left to do afterwards.

use fixtures::newest;

use super::*;

#[test]
fn a_resharing_is_proposed_followed_and_warned_of_until_the_old_shares_are_gone() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    let said = host.ok("reshare status");
    assert!(said.contains("account 0   main, shares of the ceremony: s1, s2, s3\n"), "{said}");
    assert!(said.contains("account 1   no wallet, shares of the ceremony: s1, s2, s3\n"), "{said}");
    assert!(!said.contains("resharing"), "{said}");
    // One of two accounts is left for wallets.
    assert!(host.ok("status").contains("! keys      1 dealt accounts are left for wallets"));

    // s3 is lost: the first two that stay deal.
    host.ok("reshare propose --wallet main --holders w1,s2,s1");
    let (id, dealing) = deployment.world(|world| {
        let found = world.state.proposals().iter().find_map(|(id, proposal)| match &proposal.document {
            Document::Resharing(resharing) => Some((*id, resharing.id(&world.state.genesis_hash()))),
            _ => None,
        });
        found.expect("a proposal")
    });
    // Approvers see who loses a share and who gets one.
    let shown = host.ok(&format!("show {id}"));
    let shown: Vec<_> = shown.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in ["dealt by s1, s2", "holders s1, s2, w1", "loses share s3", "gets share w1", "wallet main"] {
        assert!(shown.iter().any(|l| l.contains(line)), "{line:?} is not in {shown:?}");
    }
    deployment.world(|world| {
        for who in ["alice", "bob"] {
            world.approve(who, id).unwrap();
        }
    });
    let said = host.ok("reshare status");
    assert!(said.contains(&format!("resharing   {dealing}, to s1, s2, w1\n")), "{said}");
    assert!(
        said.contains("offered     nobody\ndealt       s1 0 of 2, s2 0 of 2\nleft        accounts 0, 1\n"),
        "{said}"
    );

    deployment.world(|world| world.complete(dealing, &[0, 1]));
    let said = host.ok("reshare status");
    let short = &dealing.to_string()[..8];
    assert!(said.contains(&format!("account 0   main, shares of {short}: s1, s2, w1\n")), "{said}");
    assert!(said.contains("erased      nobody\n") && !said.contains("offered"), "{said}");
    assert!(
        said.contains("! not erased s3: the shares of the ceremony were sealed to the key that s3 still has"),
        "{said}"
    );
    assert!(!said.contains("! not erased w1"), "it held none before: {said}");
    let status = host.ok("status");
    assert!(
        status.contains(&format!("! keys      s1 keeps shares from before resharing {short}: ")),
        "{status}"
    );
    let report = deployment.json("reshare status");
    assert_eq!(report[0]["resharing"]["left"], serde_json::json!([]));
    assert_eq!(report[0]["accounts"][0]["holders"], serde_json::json!(["s1", "s2", "w1"]));
}

#[test]
fn what_cannot_be_dealt_anew_is_said_before_anything_is_signed() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    for (line, code, words) in [
        ("reshare propose --wallet spare", 2, "there is no wallet spare"),
        ("reshare propose --holders s1,s2,x9", 2, "x9 is no co-signer"),
        ("reshare propose --holders s1,s2", 3, "too few are left to sign"),
        ("reshare propose --dealers s1,w1", 3, "a dealer holds no share of account 0"),
        ("reshare propose --dealers s1,s2,s3", 3, "as many dealers as sign"),
    ] {
        let said = host.fails(line, code);
        assert!(said.contains(words), "{line}: {said}");
    }
    let none = format!("reshare propose --ceremony {}", "0".repeat(64));
    assert!(host.fails(&none, 2).contains("there is no ceremony"));
    assert_eq!(
        deployment.world(|world| world
            .state
            .proposals()
            .iter()
            .filter(|(_, p)| matches!(p.document, Document::Resharing(_)))
            .count()),
        0
    );
}
