//! Whom to pay and whom not: addresses that are not in the address book, test transfers, deny lists from a file.

use custody::document::{DestinationKind, Document, Kind};
use custody::effects::Sats;
use custody::policy::{PolicyRule, When};
use custody::rule_set::NEWEST;
use fixtures::{newest, regtest};

use super::*;

/// A policy that also pays addresses that are not in the address book.
fn pays_unlisted() -> Document {
    let when = When { destinations: Some(vec![DestinationKind::Unlisted]), ..When::default() };
    let unlisted = PolicyRule { id: name("unlisted"), when, ..fixtures::rule() };
    Document::Policy(fixtures::policy_of(NEWEST, &[fixtures::rule(), unlisted], 0))
}

#[test]
fn an_address_that_is_not_in_the_book_is_asked_for_and_shown_as_such() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    let said = host.fails("pay --wallet main --to address:bc1q=0.01btc --fee-max 10000sat --yes", 3);
    assert!(said.contains("no rule of the policy pays addresses"), "{said}");
    deployment.world(|world| world.adopt(pays_unlisted()));
    host.ok("status");
    let address = regtest::address("stranger");
    let asked =
        host.run(&format!("pay --wallet main --to address:{address}=0.01btc --fee-max 10000sat --yes"));
    assert!(asked.status.success(), "{asked:?}");
    let shown = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(shown.contains("not in the address book: nobody knows whose"), "{shown}");
    assert!(shown.contains("no payment to this version of it was authorised yet"), "{shown}");
    let output =
        deployment.world(|world| world.state.requests().iter().next().unwrap().1.request.outputs[0].clone());
    assert_eq!((output.address, output.amount), (Some(address), Sats(1_000_000)));
    let said = host.fails("pay --wallet main --to address:bc1qnone=0.01btc --fee-max 10000sat --yes", 3);
    assert!(said.contains("bc1qnone"), "{said}");
    assert_eq!(host.run("pay --wallet main --to address:=1sat --fee-max 1sat --yes").status.code(), Some(2));
}

#[test]
fn a_destination_is_tried_with_a_small_payment() {
    let (deployment, _office) = money::house();
    let host = &deployment.host;
    host.ok("destination test acme --client cat --wallet main --fee-max 1000sat --yes");
    let asked = deployment.world(|world| world.state.requests().iter().next().unwrap().1.request.clone());
    assert_eq!((asked.outputs[0].destination.as_str(), asked.outputs[0].amount), ("acme", Sats(10_000)));
    assert_eq!(asked.client, Some(name("cat")));
    assert!(asked.note.is_some(), "it is said to be a test");
    // Where a rule lets so little go to fees that no transaction could be made, it says what would do.
    let mut frugal = fixtures::rule();
    frugal.require.fee_max_ppm = 1_000;
    deployment.world(|world| world.adopt(Document::Policy(fixtures::policy_of(NEWEST, &[frugal], 0))));
    host.ok("status");
    let said = host.fails("destination test acme --client cat --wallet main --fee-max 1000sat --yes", 2);
    assert!(said.contains("at most 1000 millionths") && said.contains("--amount of 154001 sat"), "{said}");
    host.ok("destination test acme --client cat --wallet main --amount 154001sat --fee-max 1000sat --yes");
    host.fails("destination test nobody --client cat --wallet main --fee-max 1000sat --yes", 2);
}

#[test]
fn a_deny_list_is_taken_from_a_file() {
    let deployment = Deployment::on(newest());
    let host = &deployment.host;
    let (one, two) = (regtest::address("one"), regtest::address("two"));
    fs::write(host.path("list.txt"), format!("# of today\n{one}, somebody\n{two}\n")).unwrap();
    let proposed = deployment.json("deny-list import sanctions list.txt");
    let id = Hash::from_hex(proposed["id"].as_str().unwrap()).unwrap();
    deployment.world(|world| ["alice", "bob"].map(|who| world.approve(who, id).unwrap()));
    let list =
        deployment.world(|world| world.state.document(Kind::DenyList, "sanctions").unwrap().document.clone());
    let Document::DenyList(list) = list else { panic!("{list:?}") };
    assert_eq!(list.source, Hash::sha256(&fs::read(host.path("list.txt")).unwrap()));
    let mut both = vec![one, two];
    both.sort();
    assert_eq!(list.addresses, both);
    // The same again proposes nothing; a line of another network is named, or left out.
    host.ok("status");
    assert_eq!(host.ok("deny-list import sanctions list.txt"), "");
    let foreign = "0x8589427373d6d84e98730d7795d8f6f8731fda16";
    fs::write(host.path("list.txt"), format!("{}\n{foreign}\n", both.join("\n"))).unwrap();
    let said = String::from_utf8_lossy(&host.run("deny-list import sanctions list.txt").stderr).into_owned();
    assert!(said.contains("line 3: ") && said.contains("--skip-others"), "{said}");
    assert_eq!(host.ok("deny-list import sanctions list.txt --skip-others"), "");
    // What the file lacks is paid again only where that is said; and not beside another version that waits.
    fs::write(host.path("list.txt"), format!("{}\n", both[0])).unwrap();
    let said = host.fails("deny-list import sanctions list.txt", 2);
    assert!(said.contains("1 addresses of sanctions are not in the file"), "{said}");
    let proposed = deployment.json("deny-list import sanctions list.txt --remove");
    let said = host.fails("deny-list import sanctions list.txt --remove", 2);
    assert!(said.contains(&format!("keyward reject {}", proposed["id"].as_str().unwrap())), "{said}");
}
