//! Whom a payment pays: destinations of the address book, and addresses that are not in it.

use custody::document::{Destination, DestinationKind, Document};
use custody::effects::{Decoder as _, Sats};
use custody::name::Name;
use custody::payment::{Request, RequestOutput};
use custody::policy::{Per, PolicyRule, Require, Velocity};
use custody::rule::Rule;
use custody::rule_set::NEWEST;
use custody::statement::Body;
use fixtures::regtest::address;
use fixtures::{DAY, World, destination, name, newest, policy_of, rule, third};

use crate::{invalid, rejected};

fn cheap(kinds: Option<&[DestinationKind]>) -> PolicyRule {
    let mut cheap = rule();
    cheap.require.fee_max_ppm = 2_000_000;
    cheap.when.destinations = kinds.map(<[_]>::to_vec);
    cheap
}

fn under(rules: &[PolicyRule]) -> World {
    World::open(custody::genesis::Genesis { policy: policy_of(NEWEST, rules, 0), ..newest() })
}

fn says_so() -> PolicyRule {
    PolicyRule { id: name("unlisted"), ..cheap(Some(&[DestinationKind::Unlisted])) }
}

fn to(world: &World, address: &str, amount: u64) -> Request {
    let outputs = vec![RequestOutput::unlisted(address, Sats(amount))];
    Request { outputs, fee_max_ppm: 2_000_000, ..world.request(&[]) }
}

fn pay(world: &mut World, request: Request) -> Result<custody::Hash, fixtures::Denied> {
    let coin = world.coin(90_000_000);
    let request = world.asked(request);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft)
}

#[test]
fn an_address_that_is_not_in_the_book_is_paid_where_a_rule_says_so() {
    let mut world = under(&[cheap(None), says_so()]);
    let (one, other) = (address("stranger"), address("other"));
    let request = to(&world, &one, 20_000);
    let id = pay(&mut world, request).unwrap();
    let paid = &world.state.authorisations().get(&id).unwrap().transaction.raw.0;
    let script = world.decoder.address_script(&one).unwrap();
    let outputs = world.decoder.decode(paid).unwrap().outputs;
    assert!(outputs.iter().any(|output| output.script == script && output.amount == Sats(20_000)));
    // And two of them beside one of the book.
    let mut both = to(&world, &one, 20_000);
    both.outputs.push(RequestOutput::unlisted(other, Sats(30_000)));
    both.outputs.extend(world.request(&[("acme", 40_000)]).outputs);
    pay(&mut world, both).unwrap();
}

#[test]
fn deny_policy_scope_of_addresses_that_no_rule_names() {
    // A rule that names no kind of destination speaks of all that people approved, and another of another wallet.
    let mut elsewhere = says_so();
    elsewhere.when.wallets = Some(vec![name("elsewhere")]);
    let mut world = under(&[cheap(None), elsewhere.clone()]);
    let request = to(&world, &address("stranger"), 20_000);
    invalid(pay(&mut world, request.clone()), Rule::PolicyScope);
    let mut beside = world.request(&[("acme", 40_000)]);
    beside.outputs.extend(request.outputs);
    beside.fee_max_ppm = 2_000_000;
    invalid(pay(&mut world, beside), Rule::PolicyScope);
    let listed = [DestinationKind::Own, DestinationKind::Client, DestinationKind::Counterparty];
    let mut world = under(&[cheap(Some(&listed)), elsewhere]);
    let request = to(&world, &address("stranger"), 20_000);
    invalid(pay(&mut world, request), Rule::PolicyScope);
    // Where no rule speaks of any they are not even asked for.
    let mut world = under(&[cheap(None)]);
    let request = to(&world, &address("stranger"), 20_000);
    rejected(world.say("carol", Body::Request(request)), Rule::Request);
    // It binds them nevertheless: what says so lets no more pass than the others.
    let mut narrow = cheap(None);
    narrow.require.amount_max = Sats(20_000);
    let mut world = under(&[narrow, says_so()]);
    let request = to(&world, &address("stranger"), 20_001);
    invalid(pay(&mut world, request), Rule::PolicyLimit);
}

/// At most 50,000 sat in a day, and two requests, to each destination.
fn limited(rule: PolicyRule) -> PolicyRule {
    let (amount_max, count_max) = (Some(Sats(50_000)), Some(2));
    let limit = Velocity { per: Per::Destination, window_s: DAY, amount_max, value_max: None, count_max };
    PolicyRule { require: Require { velocity: vec![limit], ..rule.require.clone() }, ..rule }
}

#[test]
fn limits_by_destination_know_an_unlisted_address_again() {
    let mut world = under(&[cheap(None), limited(says_so())]);
    let (one, other) = (address("stranger"), address("other"));
    let request = to(&world, &one, 30_000);
    pay(&mut world, request).unwrap();
    let again = to(&world, &one, 20_001);
    invalid(pay(&mut world, again), Rule::PolicyVelocity);
    let elsewhere = to(&world, &other, 20_001);
    pay(&mut world, elsewhere).unwrap();
}

/// A stranger's address was paid so much, in so many requests, and then entered the book as `beta`, there in capitals.
fn listed_after(world: &mut World, payments: &[u64]) {
    let stranger = address("stranger");
    for amount in payments {
        let request = to(world, &stranger, *amount);
        pay(world, request).unwrap();
    }
    let Document::Destination(beta) = destination("beta") else { unreachable!() };
    let beta = Destination { address: stranger.to_ascii_uppercase(), ..beta };
    world.adopt_as("dave", Document::Destination(beta), &["alice", "bob"]);
}

fn pay_beta(world: &mut World, amount: u64) -> Result<custody::Hash, fixtures::Denied> {
    let request = Request { fee_max_ppm: 2_000_000, ..world.request(&[("beta", amount)]) };
    pay(world, request)
}

/// The address book is no way to have a limit once more.
#[test]
fn deny_policy_velocity_of_an_address_that_entered_the_book_since() {
    let rules = [limited(cheap(None)), says_so()];
    let mut world = under(&rules);
    listed_after(&mut world, &[30_000]);
    invalid(pay_beta(&mut world.clone(), 20_001), Rule::PolicyVelocity);
    pay_beta(&mut world, 20_000).unwrap();
    // Requests are counted too, and others are not in its place.
    let mut world = under(&rules);
    listed_after(&mut world, &[10_000, 10_000]);
    invalid(pay_beta(&mut world.clone(), 10_000), Rule::PolicyVelocity);
    let acme = Request { fee_max_ppm: 2_000_000, ..world.request(&[("acme", 50_000)]) };
    pay(&mut world, acme).unwrap();
    // Under rule set 3 it began anew, and a log of that time replays so.
    let genesis = custody::genesis::Genesis { policy: policy_of(3, &rules, 0), ..third() };
    let mut world = World::open(genesis);
    listed_after(&mut world, &[50_000]);
    pay_beta(&mut world, 50_000).unwrap();
}

/// It was in force at no time, so it never cools down.
#[test]
fn deny_policy_cool_down_of_unlisted_addresses() {
    // A rule for some amounts lets destinations cool down; above them nothing is in the way.
    let mut slow = cheap(None);
    (slow.id, slow.when.amount_max, slow.require.cool_down_s) = (name("slow"), Some(Sats(20_000)), Some(1));
    let mut world = under(&[cheap(None), slow, says_so()]);
    world.tick(DAY);
    let request = to(&world, &address("stranger"), 20_000);
    invalid(pay(&mut world, request), Rule::PolicyCoolDown);
}

/// Where every rule that covers them lets destinations cool down, one that grants them lets nothing pass.
#[test]
fn deny_floor_adoption_of_unlisted_addresses_that_cool_down() {
    let with = |slow: PolicyRule| {
        let policy = policy_of(NEWEST, &[slow, says_so()], 0);
        custody::genesis::Genesis { policy, ..newest() }.check()
    };
    with(cheap(None)).unwrap();
    let mut slow = cheap(None);
    slow.require.cool_down_s = Some(1);
    assert_eq!(with(slow).unwrap_err().rule, Rule::Floor);
}

/// The bytes of a handle: SHA-256 of the domain, a zero byte and the address, of which 22 digits.
#[test]
fn the_handle_of_an_address_is_fixed() {
    let output = RequestOutput::unlisted("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", Sats(1));
    assert_eq!(
        output.version.to_string(),
        "eb0706e47e754c89c0fadcd4b2c4e083ad7e4f4310e53f2ff73c88ac95a28367"
    );
    assert_eq!(output.destination.as_str(), "unlisted-eb0706e47e754c89c0fadc");
}

#[test]
fn deny_p19_request_of_an_address_under_another_name() {
    let mut world = under(&[cheap(None), says_so()]);
    world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    let stranger = address("stranger");
    let mut refused = |output: RequestOutput| {
        let request = Request { outputs: vec![output], ..world.request(&[]) };
        rejected(world.say("carol", Body::Request(request)), Rule::Request);
    };
    let sound = RequestOutput::unlisted(stranger.as_str(), Sats(20_000));
    let other = RequestOutput::unlisted("another", Sats(20_000));
    refused(RequestOutput { destination: other.destination, ..sound.clone() });
    refused(RequestOutput { version: other.version, ..sound.clone() });
    refused(RequestOutput { address: Some("another".into()), ..sound.clone() });
    // BIP-173 takes capitals: a second handle for one address.
    refused(RequestOutput::unlisted(stranger.to_ascii_uppercase(), Sats(20_000)));
    refused(RequestOutput::unlisted("bcrt1qqq", Sats(20_000)));
    refused(RequestOutput::unlisted(stranger.as_str(), Sats(1)));
    // What is in the book has rules of its own there.
    let Document::Destination(beta) = destination("beta") else { unreachable!() };
    refused(RequestOutput::unlisted(beta.address, Sats(20_000)));
    let request = Request { outputs: vec![sound], ..world.request(&[]) };
    world.say("carol", Body::Request(request)).unwrap();
}

/// Later the book may have it: then it is paid by its handle there, under the rules for it.
#[test]
fn an_address_that_enters_the_book_later() {
    let mut world = under(&[cheap(None), says_so()]);
    let stranger = address("stranger");
    let request = to(&world, &stranger, 20_000);
    let (coin, asked) = (world.coin(90_000_000), world.asked(request.clone()));
    let Document::Destination(beta) = destination("beta") else { unreachable!() };
    let beta = Destination { address: stranger, ..beta };
    world.adopt_as("dave", Document::Destination(beta), &["alice", "bob"]);
    let draft = world.draft(&[asked], &[coin], 1_000);
    invalid(world.pay(&[asked], &draft), Rule::Outputs);
    rejected(world.say("carol", Body::Request(Request { note: Some(asked), ..request })), Rule::Request);
}

#[test]
fn deny_policy_deny_list_of_unlisted_addresses() {
    let mut world = under(&[cheap(None), says_so()]);
    let stranger = address("stranger");
    let list = custody::records::DenyList {
        id: name("sanctions"),
        source: custody::Hash::sha256(b"a file"),
        addresses: vec![stranger.clone()],
    };
    world.adopt(Document::DenyList(list));
    let request = to(&world, &stranger, 20_000);
    invalid(pay(&mut world, request), Rule::Denied);
}

#[test]
fn deny_p3_document_of_two_handles_for_one_address() {
    let mut world = under(&[cheap(None)]);
    let acme = world.state.destination(&name("acme")).unwrap().clone();
    let twin = |id: &str| Document::Destination(Destination { id: name(id), ..acme.clone() });
    rejected(world.propose("dave", twin("twin")), Rule::Document);
    // Another version of the same one may keep it.
    let label = custody::Hash::sha256(b"another label");
    world.propose("dave", Document::Destination(Destination { label, ..acme.clone() })).unwrap();
    let unlisted = |id: Name, kind| {
        Document::Destination(Destination { id, kind, address: address("stranger"), ..acme.clone() })
    };
    let handle = RequestOutput::unlisted(address("stranger"), Sats(1)).destination;
    let (named, kind) =
        (unlisted(handle, DestinationKind::Own), unlisted(name("x"), DestinationKind::Unlisted));
    rejected(world.propose("dave", named), Rule::Document);
    rejected(world.propose("dave", kind), Rule::Document);
}
