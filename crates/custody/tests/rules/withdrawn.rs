//! Who asked for a payment takes it back at once while nothing is authorised for it, and any person what a
//! machine asked (P23, since rule set 2).

use custody::Hash;
use custody::document::{Document, Grant, Revocation};
use custody::payment::Request;
use custody::rule::Rule;
use custody::statement::Body;
use fixtures::{Coin, DAY, World, id, machine, newest};

use crate::{invalid, refused, rejected};

/// A world under rule set 2 with a coin, and a request by carol that alice and bob approved.
fn asked() -> (World, Coin, Hash) {
    let mut world = World::open(newest());
    let coin = world.coin(1_000_000);
    let request = world.asked(world.request(&[("acme", 400_000)]));
    (world, coin, request)
}

/// The same by the machine `shop`.
fn asked_by_shop() -> (World, Coin, Hash) {
    let mut world = World::open(newest());
    world.adopt(Document::Machine(machine("shop", &[Grant::Request])));
    let coin = world.coin(1_000_000);
    let request = world.asked_as("shop", world.request(&[("acme", 400_000)]), &["alice", "bob"]);
    (world, coin, request)
}

fn cancel(world: &World, request: Hash) -> Body {
    Body::Request(Request { renews: Some(request), ..world.request(&[]) })
}

fn renewal(world: &World, request: Hash) -> Request {
    Request { renews: Some(request), ..world.request(&[("acme", 300_000)]) }
}

fn renewed_by(world: &World, request: Hash) -> Option<Hash> {
    world.state.requests().get(&request).unwrap().renewed_by
}

/// Whether a transaction for the request would be allowed.
#[track_caller]
fn payable(world: &World, request: Hash, coin: Coin) {
    let draft = world.draft(&[request], &[coin], 1_000);
    world.clone().pay(&[request], &draft).unwrap();
}

#[track_caller]
fn withdrawn(world: &World, request: Hash, coin: Coin) {
    let draft = world.draft(&[request], &[coin], 1_000);
    invalid(world.clone().pay(&[request], &draft), Rule::Renewal);
}

#[test]
fn allow_p23_renewal_that_withdraws() {
    let (mut world, coin, request) = asked();
    payable(&world, request, coin);
    let withdrawal = world.say("carol", cancel(&world, request)).unwrap();
    assert_eq!([request, withdrawal].map(|id| renewed_by(&world, id)), [Some(withdrawal); 2]);
    withdrawn(&world, request, coin);
    assert!(world.state.lineages().is_empty() && world.state.authorisations().is_empty());
    // Its coin, which was never its anchor, pays others.
    let other = world.asked(world.request(&[("acme", 400_000)]));
    payable(&world, other, coin);
}

/// A machine takes back what it asked for; approvals are none, before or after.
#[test]
fn allow_p23_renewal_that_withdraws_by_a_machine() {
    let (mut world, coin, request) = asked_by_shop();
    world.say("shop", cancel(&world, request)).unwrap();
    withdrawn(&world, request, coin);
}

/// Else who stole the key of a machine asks for everything, and nobody can take that back once it is revoked.
#[test]
fn allow_p23_renewal_that_withdraws_what_a_machine_asked() {
    let (mut world, coin, request) = asked_by_shop();
    payable(&world, request, coin);
    world.adopt(Document::Revocation(Revocation { key: id("shop") }));
    payable(&world, request, coin);
    world.say("carol", cancel(&world, request)).unwrap();
    withdrawn(&world, request, coin);
}

/// Neither approvals nor renewals bring it back, and the withdrawal itself pays nothing.
#[test]
fn deny_p23_renewal_of_what_was_withdrawn() {
    let (mut world, coin, request) = asked();
    let withdrawal = world.say("carol", cancel(&world, request)).unwrap();
    for target in [request, withdrawal] {
        for who in ["alice", "bob"] {
            world.approve(who, target).unwrap();
        }
        withdrawn(&world, target, coin);
        for who in ["carol", "bob"] {
            rejected(world.say(who, Body::Request(renewal(&world, target))), Rule::Renewal);
            rejected(world.say(who, cancel(&world, target)), Rule::Renewal);
        }
    }
}

#[test]
fn deny_p23_renewal_that_withdraws_what_another_asked() {
    let (mut world, coin, request) = asked();
    for who in ["alice", "dave"] {
        rejected(world.say(who, cancel(&world, request)), Rule::Renewal);
    }
    assert_eq!(renewed_by(&world, request), None);
    payable(&world, request, coin);
}

/// A machine is no person: it takes back neither what a person asked, nor what another machine did.
#[test]
fn deny_p23_renewal_that_withdraws_by_another_machine() {
    let (mut world, coin, shops) = asked_by_shop();
    world.adopt(Document::Machine(machine("teller", &[Grant::Request])));
    let carols = world.asked(world.request(&[("acme", 400_000)]));
    for request in [shops, carols] {
        rejected(world.say("teller", cancel(&world, request)), Rule::Renewal);
        payable(&world, request, coin);
    }
}

#[test]
fn deny_p23_renewal_that_withdraws_under_rule_set_1() {
    let (mut world, coin, request) = crate::asked();
    rejected(world.say("carol", cancel(&world, request)), Rule::Renewal);
    payable(&world, request, coin);
}

/// From the first authorisation on a cancel is a payment to oneself, which others approve, whoever asked.
#[test]
fn what_is_authorised_is_not_withdrawn() {
    let (mut world, coin, request) = asked();
    let draft = world.draft(&[request], &[coin], 1_000);
    let paid = world.pay(&[request], &draft).unwrap();
    let cancel = world.say("carol", cancel(&world, request)).unwrap();
    assert_eq!(renewed_by(&world, request), None);
    world.state.release(&paid, world.time, &world.decoder).unwrap();
    let draft = world.draft(&[cancel], &[coin], 2_000);
    invalid(world.pay(&[cancel], &draft), Rule::PolicyApprovals);
    for who in ["alice", "bob"] {
        world.approve(who, cancel).unwrap();
    }
    world.pay(&[cancel], &draft).unwrap();
    refused(world.state.release(&paid, world.time, &world.decoder), Rule::Renewal);
    let (mut world, coin, request) = asked_by_shop();
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    for who in ["shop", "carol"] {
        world.say(who, self::cancel(&world, request)).unwrap();
        assert_eq!(renewed_by(&world, request), None);
    }
}

/// Whichever comes first in a batch decides.
#[test]
fn a_withdrawal_and_an_authorisation_in_one_batch() {
    let (mut world, coin, request) = asked();
    let draft = world.draft(&[request], &[coin], 1_000);
    let cancel = cancel(&world, request);
    let cancel = world.sign("carol", cancel);
    let authorise = Body::Authorise(world.authorise(&[request], &draft));
    let authorise = world.sign("server", authorise);
    let (batch, left_out) =
        world.state.compose(world.time, "", &[cancel.clone(), authorise.clone()], &world.decoder);
    assert_eq!((batch.entries.len(), left_out[0].0), (1, authorise.id()));
    let (batch, left_out) = world.state.compose(world.time, "", &[authorise, cancel], &world.decoder);
    assert_eq!((batch.entries.len(), left_out.len()), (2, 0));
    world.try_batch(&batch).unwrap();
    assert_eq!(renewed_by(&world, request), None);
}

/// With a renewal goes what it renews, as far as the same one asked for it: else who renews somebody's request
/// would end that.
#[test]
fn a_withdrawal_reaches_back_but_not_to_what_others_asked() {
    let (mut world, coin, carols) = asked();
    let first = world.asked_as("dave", renewal(&world, carols), &["alice", "bob"]);
    let second = world.asked_as("dave", renewal(&world, first), &["alice", "bob"]);
    let cancel = world.say("dave", cancel(&world, second)).unwrap();
    assert_eq!([carols, first, second].map(|id| renewed_by(&world, id)), [None, Some(cancel), Some(cancel)]);
    withdrawn(&world, first, coin);
    withdrawn(&world, second, coin);
    // Not even once what they renew is authorised.
    let draft = world.draft(&[carols], &[coin], 500);
    world.pay(&[carols], &draft).unwrap();
    for request in [first, second, cancel] {
        withdrawn(&world, request, coin);
    }
}

/// A person who renews what a machine asked takes that back, too; a machine that renews what a person asked does not.
#[test]
fn a_withdrawal_reaches_back_to_what_machines_asked() {
    let (mut world, coin, shops) = asked_by_shop();
    let daves = world.asked_as("dave", renewal(&world, shops), &["alice", "bob"]);
    world.say("dave", cancel(&world, daves)).unwrap();
    for request in [shops, daves] {
        withdrawn(&world, request, coin);
    }
    let carols = world.asked(world.request(&[("acme", 400_000)]));
    for who in ["shop", "dave"] {
        let shops = world.asked_as("shop", renewal(&world, carols), &["alice", "bob"]);
        world.say(who, cancel(&world, shops)).unwrap();
        withdrawn(&world, shops, coin);
        payable(&world, carols, coin);
    }
}

/// What renews a withdrawn request goes on: it was asked for by itself, and approved by itself.
#[test]
fn what_renews_a_withdrawn_request_goes_on() {
    let (mut world, coin, first) = asked();
    let mine = world.asked(renewal(&world, first));
    let theirs = world.asked_as("dave", renewal(&world, first), &["alice", "bob"]);
    world.say("carol", cancel(&world, first)).unwrap();
    withdrawn(&world, first, coin);
    payable(&world, mine, coin);
    let draft = world.draft(&[theirs], &[coin], 500);
    world.pay(&[theirs], &draft).unwrap();
    // One of a lineage, as ever.
    withdrawn(&world, mine, coin);
}

/// Frozen, ended or lapsed: taking authority away waits for nothing.
#[test]
fn a_withdrawal_waits_for_nothing() {
    let (mut world, coin, request) = crate::asked();
    let rules = custody::rule_set::rule_set_hash(2).unwrap();
    world.upgrade(custody::document::Upgrade { version: 2, rules });
    world.tick(1);
    let open = world.asked(world.request(&[("acme", 100_000)]));
    let everything = custody::statement::Freeze { scope: custody::statement::Scope::Everything };
    world.say("alarm", Body::Freeze(everything)).unwrap();
    world.tick(DAY + 1);
    for id in [request, open] {
        world.say("carol", cancel(&world, id)).unwrap();
        assert!(renewed_by(&world, id).is_some());
    }
    assert!(world.state.anchors().get(&coin.outpoint).is_none());
}
