//! What rules of rule set 3 ask beside approvals: windows, values, hours, delays, cool-downs.

use std::collections::BTreeMap;

use custody::Hash;
use custody::apply::DELAY_STEP_LIMIT_S;
use custody::document::{DestinationKind, Document, Grant, Tier};
use custody::effects::Sats;
use custody::genesis::Genesis;
use custody::payment::Request;
use custody::policy::{
    Budget, Calendar, DE_MINIMIS_CEILING, Per, Policy, PolicyRule, RequestKind, Velocity, WINDOW_LIMIT_S,
};
use custody::rates::{RATES_VALIDITY_LIMIT_S, Rate, Rates, Value};
use custody::rule::Rule;
use custody::rule_set::NEWEST;
use fixtures::{
    DAY, Denied, START, World, client, destination, machine, name, newest, path, policy_of, rule,
};

use crate::{invalid, rejected};

/// The ordinary rule, with no ceiling on the share of fees: payments here are small.
fn cheap() -> PolicyRule {
    let mut cheap = rule();
    cheap.require.fee_max_ppm = 2_000_000;
    cheap
}

/// The ordinary rule with a change, as the only one.
pub(crate) fn only(change: impl FnOnce(&mut PolicyRule)) -> Policy {
    let mut one = cheap();
    change(&mut one);
    policy_of(NEWEST, &[one], 0)
}

/// A world under a policy: clients north and south, destinations acme and beta, carol, dave and machine teller may ask.
fn under(policy: Policy) -> World {
    let mut genesis = Genesis { policy, ..newest() };
    genesis.machines.push(machine("teller", &[Grant::Request]));
    let mut world = World::open(genesis);
    world.adopt(client("north"));
    world.adopt(client("south"));
    world.adopt_as("dave", destination("beta"), &["alice", "bob"]);
    world
}

fn velocity(limit: Velocity) -> Policy {
    only(|rule| rule.require.velocity = vec![limit])
}

/// At most `amount_max` sat per `per` in an hour.
fn hourly(per: Per, amount_max: u64) -> Velocity {
    Velocity { per, window_s: 3_600, amount_max: Some(Sats(amount_max)), value_max: None, count_max: None }
}

/// Asks as `who` for a client, lets alice and bob approve, and pays with a fee of 1,000 sat out of a coin of its own.
fn pay_as(world: &mut World, who: &str, to: &[(&str, u64)], of: Option<&str>) -> Result<Hash, Denied> {
    let coin = world.coin(90_000_000);
    let request = Request { client: of.map(name), fee_max_ppm: 2_000_000, ..world.request(to) };
    let request = world.asked_as(who, request, &["alice", "bob"]);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft)
}

fn pay(world: &mut World, amount: u64) -> Result<Hash, Denied> {
    pay_as(world, "carol", &[("acme", amount)], Some("north"))
}

// ---- windows

/// What the limit is per, another payment that counts, and one that does not.
type Case =
    (Per, (&'static str, &'static str, &'static str), Option<(&'static str, &'static str, &'static str)>);

const CASES: [Case; 5] = [
    (Per::Asset, ("teller", "beta", "south"), None),
    (Per::Wallet, ("teller", "beta", "south"), None),
    (Per::Client, ("teller", "beta", "north"), Some(("carol", "acme", "south"))),
    (Per::Destination, ("teller", "acme", "south"), Some(("carol", "beta", "north"))),
    (Per::Initiator, ("carol", "beta", "south"), Some(("teller", "acme", "north"))),
];

#[test]
fn allow_policy_velocity() {
    for (per, _, other) in CASES {
        // Fees count but for a destination, which gets none.
        let fees = if per == Per::Destination { 0 } else { 2_000 };
        let mut world = under(velocity(hourly(per, 500_000 + fees)));
        pay(&mut world, 400_000).unwrap();
        if let Some((who, to, of)) = other {
            pay_as(&mut world.clone(), who, &[(to, 499_000)], Some(of)).unwrap();
        }
        pay(&mut world.clone(), 100_000).unwrap();
        // What left at T counts in (T − w, T].
        world.tick(3_600);
        pay(&mut world, 499_000).unwrap();
    }
    let count = Velocity { amount_max: None, count_max: Some(2), ..hourly(Per::Wallet, 0) };
    let mut world = under(velocity(count));
    pay(&mut world, 1_000).unwrap();
    pay(&mut world, 1_000).unwrap();
    world.tick(3_600);
    pay(&mut world, 1_000).unwrap();
}

#[test]
fn deny_policy_velocity() {
    for (per, (who, to, of), _) in CASES {
        let fees = if per == Per::Destination { 0 } else { 2_000 };
        let mut world = under(velocity(hourly(per, 500_000 + fees)));
        invalid(pay(&mut world.clone(), 500_001 + fees), Rule::PolicyVelocity);
        pay(&mut world, 400_000).unwrap();
        invalid(pay_as(&mut world.clone(), who, &[(to, 100_001)], Some(of)), Rule::PolicyVelocity);
        world.tick(3_599);
        invalid(pay(&mut world.clone(), 100_001), Rule::PolicyVelocity);
    }
    let count = Velocity { amount_max: None, count_max: Some(2), ..hourly(Per::Wallet, 0) };
    let mut world = under(velocity(count));
    pay(&mut world, 1_000).unwrap();
    pay(&mut world, 1_000).unwrap();
    world.tick(3_599);
    invalid(pay(&mut world, 1_000), Rule::PolicyVelocity);
    // A limit per client is not evaded by naming none.
    let mut world = under(velocity(hourly(Per::Client, 500_000)));
    invalid(pay_as(&mut world, "carol", &[("acme", 1_000)], None), Rule::PolicyVelocity);
}

/// Splitting an amount over the requests of one transaction, or its outputs, evades nothing.
#[test]
fn deny_policy_velocity_of_what_is_split() {
    for per in [Per::Wallet, Per::Client, Per::Destination, Per::Initiator] {
        let mut world = under(velocity(hourly(per, 500_000)));
        let coin = world.coin(90_000_000);
        let ask = |world: &mut World| {
            let request = Request { client: Some(name("north")), ..world.request(&[("acme", 250_001)]) };
            world.asked(request)
        };
        let (one, two) = (ask(&mut world), ask(&mut world));
        let draft = world.draft(&[one.min(two), one.max(two)], &[coin], 1_000);
        invalid(world.pay(&[one, two], &draft), Rule::PolicyVelocity);
    }
    let mut world = under(velocity(hourly(Per::Destination, 500_000)));
    let parts = [("acme", 250_000), ("acme", 250_001)];
    invalid(pay_as(&mut world, "carol", &parts, Some("north")), Rule::PolicyVelocity);
}

/// A limit counts what its own rule covers: large payments under another rule use up no small ones, and a
/// change of the policy forgets nothing that left.
#[test]
fn a_limit_counts_what_its_rule_covers() {
    let small = |amount_max| PolicyRule {
        id: name("small"),
        when: custody::policy::When { amount_max: Some(Sats(100_000)), ..Default::default() },
        require: custody::policy::Require {
            velocity: vec![hourly(Per::Wallet, amount_max)],
            ..cheap().require
        },
    };
    let mut large = cheap();
    large.when.amount_min = Some(Sats(100_001));
    let mut world = under(policy_of(NEWEST, &[small(202_000), large.clone()], 0));
    pay(&mut world, 5_000_000).unwrap();
    pay(&mut world, 100_000).unwrap();
    pay(&mut world.clone(), 100_000).unwrap();
    invalid(
        pay(&mut world.clone(), 100_000).and_then(|_| pay(&mut world.clone(), 100_001)).and_then(|_| {
            pay(&mut world, 99_000).unwrap();
            pay(&mut world, 3_000)
        }),
        Rule::PolicyVelocity,
    );
    // Another version of the rule, under another name: what left still counts.
    let renamed = PolicyRule { id: name("renamed"), ..small(202_000) };
    world.adopt(Document::Policy(policy_of(NEWEST, &[renamed, large], 0)));
    invalid(pay(&mut world, 3_000), Rule::PolicyVelocity);
}

/// P24: a bump is charged what it adds, at its own time, and nothing is given back.
#[test]
fn a_bump_is_charged_its_increment_at_its_own_time() {
    let mut world = under(velocity(hourly(Per::Wallet, 500_000)));
    let coin = world.coin(90_000_000);
    let request = world.asked(world.request(&[("acme", 400_000)]));
    world.pay(&[request], &world.draft(&[request], &[coin], 1_000)).unwrap();
    world.tick(3_599);
    world.pay(&[request], &world.draft(&[request], &[coin], 40_000)).unwrap();
    // The payment has left the window, the increment of 39,000 sat has not.
    world.tick(1);
    invalid(pay(&mut world.clone(), 460_001), Rule::PolicyVelocity);
    pay(&mut world.clone(), 460_000).unwrap();
    world.tick(3_600);
    pay(&mut world, 499_000).unwrap();
}

/// A renewal is another request: it is charged whole, whatever the one that it renews was charged, so an amount does
/// not hop from a small rule to a large one, and nothing is paid ahead for a later window.
#[test]
fn deny_policy_velocity_of_renewals() {
    let mut large = cheap();
    large.id = name("large");
    large.when.amount_min = Some(Sats(1_000_000));
    let day = Velocity { window_s: DAY, count_max: Some(1), ..hourly(Per::Wallet, 1_500_000) };
    large.require.velocity = vec![day];
    let mut world = under(policy_of(NEWEST, &[cheap(), large], 0));
    let hop = |world: &mut World| {
        let coin = world.coin(90_000_000);
        let ask = Request { fee_max_ppm: 2_000_000, ..world.request(&[("acme", 999_999)]) };
        let first = world.asked(ask);
        let draft = world.draft(&[first], &[coin], 1_000);
        world.pay(&[first], &draft).unwrap();
        let more = world.request(&[("acme", 1_000_000)]);
        let second = world.asked(Request { renews: Some(first), fee_max_ppm: 2_000_000, ..more });
        let draft = world.draft(&[second], &[coin], 1_001);
        world.pay(&[second], &draft)
    };
    hop(&mut world).unwrap();
    invalid(hop(&mut world), Rule::PolicyVelocity);
}

/// Under de minimis nothing is authorised ahead to be renewed later, all in one day.
#[test]
fn deny_floor_two_people_for_what_was_authorised_ahead() {
    let one = PolicyRule {
        id: name("small"),
        when: custody::policy::When { amount_max: Some(DE_MINIMIS_CEILING), ..Default::default() },
        require: custody::policy::Require { approvals: vec![path(&[(1, "approvers")])], ..cheap().require },
    };
    let mut world = World::open(Genesis {
        policy: policy_of(NEWEST, &[one], 0),
        de_minimis: DE_MINIMIS_CEILING,
        ..newest()
    });
    let ahead: Vec<_> = (0..2)
        .map(|_| {
            let coin = world.coin(1_000_000);
            let request = world.asked_as("carol", world.request(&[("acme", 90_000)]), &["alice"]);
            let draft = world.draft(&[request], &[coin], 1_000);
            world.pay(&[request], &draft).unwrap();
            world.tick(DAY + 1);
            (request, coin)
        })
        .collect();
    let mut renew = |(old, coin): (Hash, fixtures::Coin)| {
        let ask = Request { renews: Some(old), ..world.request(&[("acme", 90_000)]) };
        let request = world.asked_as("carol", ask, &["alice"]);
        let draft = world.draft(&[request], &[coin], 1_001);
        world.pay(&[request], &draft)
    };
    renew(ahead[0]).unwrap();
    invalid(renew(ahead[1]), Rule::TwoPeople);
}

/// The longest window still sees its first second; what is older is no longer kept.
#[test]
fn charges_are_kept_for_the_longest_window() {
    let limit = Velocity { window_s: WINDOW_LIMIT_S, ..hourly(Per::Wallet, 500_000) };
    let mut world = under(velocity(limit));
    pay(&mut world, 400_000).unwrap();
    world.tick(WINDOW_LIMIT_S - 1);
    invalid(pay(&mut world.clone(), 100_000), Rule::PolicyVelocity);
    world.tick(1);
    pay(&mut world, 400_000).unwrap();
}

#[test]
fn allow_policy_fee_budget() {
    let budget = Budget { window_s: 3_600, fee_max: Sats(2_000) };
    let mut world = under(only(|rule| rule.require.fee_budget = Some(budget)));
    pay(&mut world, 50_000).unwrap();
    pay(&mut world, 50_000).unwrap();
    world.tick(3_600);
    pay(&mut world, 50_000).unwrap();
}

#[test]
fn deny_policy_fee_budget() {
    let budget = Budget { window_s: 3_600, fee_max: Sats(2_999) };
    let mut world = under(only(|rule| rule.require.fee_budget = Some(budget)));
    pay(&mut world, 50_000).unwrap();
    pay(&mut world, 50_000).unwrap();
    world.tick(3_599);
    invalid(pay(&mut world, 50_000), Rule::PolicyFeeBudget);
}

// ---- values

/// 85,000 francs for a coin, for a day.
fn rates(world: &World, value: u128) -> Document {
    let rate = Rate { value: Value(value), per: Value(100_000_000) };
    let rates = BTreeMap::from([(world.state.genesis().asset(), rate)]);
    Document::Rates(Rates { currency: name("chf"), until: world.time + DAY, rates })
}

fn valued(change: impl FnOnce(&mut PolicyRule)) -> World {
    let mut world = under(Policy { currency: Some(name("chf")), ..only(change) });
    world.adopt(rates(&world, 8_500_000));
    world
}

#[test]
fn allow_policy_value() {
    // 400,000 sat are 340 francs, and at most 340 may leave; so much also in the window.
    let mut world = valued(|rule| rule.require.value_max = Some(Value(34_000)));
    pay(&mut world.clone(), 400_000).unwrap();
    world.tick(DAY);
    pay(&mut world, 400_000).unwrap();
    let limit = Velocity { amount_max: None, value_max: Some(Value(34_000)), ..hourly(Per::Wallet, 0) };
    let mut world = valued(|rule| rule.require.velocity = vec![limit]);
    pay(&mut world, 399_000).unwrap();
}

#[test]
fn deny_policy_value() {
    let mut world = valued(|rule| rule.require.value_max = Some(Value(34_000)));
    // A part of a Rappen is a Rappen.
    invalid(pay(&mut world.clone(), 400_001), Rule::PolicyValue);
    // Past their end rates deny whatever needs one.
    world.tick(DAY + 1);
    invalid(pay(&mut world.clone(), 1_000), Rule::PolicyValue);
    // And so does a rate that overflows.
    let mut world = valued(|rule| rule.require.value_max = Some(Value(u128::MAX)));
    pay(&mut world.clone(), 1_000).unwrap();
    world.adopt(rates(&world, u128::MAX));
    invalid(pay(&mut world, 1_000), Rule::PolicyValue);
    // A scope in values covers, and denies, while nobody knows what a payment is worth.
    let mut world =
        under(Policy { currency: Some(name("chf")), ..only(|r| r.when.value_max = Some(Value(1_000_000))) });
    invalid(pay(&mut world.clone(), 1_000), Rule::PolicyValue);
    world.adopt(rates(&world, 8_500_000));
    pay(&mut world.clone(), 1_000).unwrap();
    invalid(pay(&mut world, 90_000_000 - 1_000_000), Rule::PolicyScope);
}

/// Each charge counts at the rate of its own time.
#[test]
fn deny_policy_velocity_in_values() {
    let limit = Velocity { amount_max: None, value_max: Some(Value(34_000)), ..hourly(Per::Wallet, 0) };
    let mut world = valued(|rule| rule.require.velocity = vec![limit]);
    pay(&mut world, 299_000).unwrap();
    // 300,000 sat at 85,000 are 255 francs; at half the rate another 200,000 sat are 85.
    world.adopt(rates(&world, 4_250_000));
    pay(&mut world.clone(), 199_000).unwrap();
    invalid(pay(&mut world.clone(), 199_001), Rule::PolicyVelocity);
    world.tick(DAY + 1);
    invalid(pay(&mut world, 1_000), Rule::PolicyVelocity);
}

#[test]
fn deny_p3_document_of_rates() {
    let mut world = under(only(|_| ()));
    let zero = Value(0);
    let bad = |change: fn(&mut Rates), world: &World| {
        let Document::Rates(mut rates) = rates(world, 1) else { unreachable!() };
        change(&mut rates);
        Document::Rates(rates)
    };
    for change in [
        |r: &mut Rates| r.until = START,
        |r: &mut Rates| r.until = START + 40 * DAY,
        |r: &mut Rates| r.rates.clear(),
        |r: &mut Rates| r.rates.values_mut().for_each(|rate| rate.per = Value(0)),
        |r: &mut Rates| r.rates.values_mut().for_each(|rate| rate.value = Value(0)),
    ] {
        let document = bad(change, &world);
        rejected(world.propose("bob", document), Rule::Document);
    }
    assert_eq!(zero, Value::default());
    let until = world.time + RATES_VALIDITY_LIMIT_S;
    for (until, fine) in [(until, true), (until + 1, false)] {
        let Document::Rates(rates) = rates(&world, 1) else { unreachable!() };
        let proposed = world.propose("bob", Document::Rates(Rates { until, ..rates }));
        assert_eq!(proposed.is_ok(), fine);
    }
}

// ---- hours

/// Open from the second hour of the second day for an hour.
fn hours() -> Policy {
    let office = Calendar {
        zone: "Europe/Zurich".into(),
        from: START,
        until: START + 3 * DAY,
        open: vec![(START + DAY + 3_600, 3_600), (START + 2 * DAY + DAY / 2, DAY / 2)],
    };
    let with = only(|rule| rule.require.hours = Some(name("office")));
    Policy { calendars: BTreeMap::from([(name("office"), office)]), ..with }
}

/// What is asked now and paid at some second after the start.
fn paid_at(world: &World, after: u64) -> Result<Hash, Denied> {
    let mut world = world.clone();
    world.tick(START + after - world.time);
    pay(&mut world, 10_000)
}

#[test]
fn allow_policy_hours() {
    let world = under(hours());
    for after in [DAY + 3_600, DAY + 7_199, 2 * DAY + DAY / 2, 3 * DAY - 1] {
        paid_at(&world, after).unwrap();
    }
}

#[test]
fn deny_policy_hours() {
    let world = under(hours());
    for after in [60, DAY, DAY + 3_599, DAY + 7_200, 2 * DAY + DAY / 2 - 1, 3 * DAY, 4 * DAY] {
        invalid(paid_at(&world, after), Rule::PolicyHours);
    }
}

/// A share does not leave after hours, and what takes a payment back waits for no hour.
#[test]
fn deny_policy_hours_of_a_release() {
    let mut world = under(hours());
    world.tick(START + DAY + 7_199 - world.time);
    let coin = world.coin(1_000_000);
    let request = world.asked(world.request(&[("acme", 10_000)]));
    let paid = world.pay(&[request], &world.draft(&[request], &[coin], 1_000)).unwrap();
    world.state.release(&paid, world.time, &world.decoder).unwrap();
    let late = world.state.release(&paid, world.time + 1, &world.decoder).unwrap_err();
    assert_eq!(late.rule, Rule::PolicyHours);
    world.tick(60);
    let cancel = Request { renews: Some(request), ..world.request(&[]) };
    let cancel = world.asked(cancel);
    world.pay(&[cancel], &world.draft(&[cancel], &[coin], 2_000)).unwrap();
}

// ---- the delay clock

/// Ticks for so many seconds, in steps that the delay clock counts.
fn wait(world: &mut World, seconds: u64) {
    for _ in 0..seconds / DELAY_STEP_LIMIT_S {
        world.tick(DELAY_STEP_LIMIT_S);
    }
    world.tick(seconds % DELAY_STEP_LIMIT_S);
}

fn approved(world: &mut World) -> (Hash, fixtures::Draft) {
    let coin = world.coin(1_000_000);
    let request = world.asked(world.request(&[("acme", 10_000)]));
    let draft = world.draft(&[request], &[coin], 1_000);
    (request, draft)
}

#[test]
fn allow_policy_delay() {
    let mut world = under(only(|rule| rule.require.delay_s = Some(3_600)));
    assert!(!world.state.waits_for_time());
    let (request, draft) = approved(&mut world);
    assert_eq!((world.state.waits_for_time(), world.state.next_due_in_s()), (true, Some(3_600)));
    wait(&mut world, 3_600);
    assert!(!world.state.waits_for_time(), "Ticks stop when nothing waits any more");
    world.pay(&[request], &draft).unwrap();
}

#[test]
fn deny_policy_delay() {
    let mut world = under(only(|rule| rule.require.delay_s = Some(3_600)));
    let (request, draft) = approved(&mut world);
    wait(&mut world, 3_599);
    invalid(world.clone().pay(&[request], &draft), Rule::PolicyDelay);
    // A server that stops the log for a day lets ten minutes pass.
    let mut world = under(only(|rule| rule.require.delay_s = Some(3_600)));
    let (request, draft) = approved(&mut world);
    world.tick(DAY / 2);
    invalid(world.pay(&[request], &draft), Rule::PolicyDelay);
    // The second approval counts from its own time: an early first one brings nothing forward.
    let mut world = under(only(|rule| rule.require.delay_s = Some(3_600)));
    let coin = world.coin(1_000_000);
    let request = world.asked_as("carol", world.request(&[("acme", 10_000)]), &["alice"]);
    wait(&mut world, 3_600);
    world.approve("bob", request).unwrap();
    let draft = world.draft(&[request], &[coin], 1_000);
    invalid(world.clone().pay(&[request], &draft), Rule::PolicyDelay);
    wait(&mut world, 3_600);
    world.pay(&[request], &draft).unwrap();
}

#[test]
fn allow_policy_cool_down() {
    let mut world = under(only(|rule| rule.require.cool_down_s = Some(3_600)));
    let (request, draft) = approved(&mut world);
    assert_eq!(world.state.next_due_in_s(), Some(3_600));
    wait(&mut world, 3_600);
    world.pay(&[request], &draft).unwrap();
}

#[test]
fn deny_policy_cool_down() {
    let mut world = under(only(|rule| rule.require.cool_down_s = Some(3_600)));
    let (request, draft) = approved(&mut world);
    wait(&mut world, 3_599);
    invalid(world.clone().pay(&[request], &draft), Rule::PolicyCoolDown);
    // Another version of a destination is a new one; an older one beside it does not help.
    wait(&mut world, 1);
    let Document::Destination(acme) = destination("acme") else { unreachable!() };
    let moved = fixtures::regtest::address("elsewhere");
    world.adopt_as(
        "dave",
        Document::Destination(custody::document::Destination { address: moved, ..acme }),
        &["alice", "bob"],
    );
    invalid(pay_as(&mut world, "carol", &[("beta", 1_000), ("acme", 1_000)], None), Rule::PolicyCoolDown);
    pay_as(&mut world, "carol", &[("beta", 1_000)], None).unwrap();
}

/// An approval counts for so long, to the second.
#[test]
fn an_approval_ends_with_its_rule() {
    let mut world = under(only(|rule| rule.require.approval_valid_s = Some(600)));
    let (request, draft) = approved(&mut world);
    world.tick(600);
    world.clone().pay(&[request], &draft).unwrap();
    world.tick(1);
    invalid(world.clone().pay(&[request], &draft), Rule::PolicyApprovals);
    for who in ["alice", "bob"] {
        world.approve(who, request).unwrap();
    }
    world.pay(&[request], &draft).unwrap();
}

// ---- scopes

/// Every scope of rule set 3, and a request just outside of it.
#[test]
fn deny_policy_scope_of_rule_set_3() {
    let none = |world: &mut World| pay_as(world, "carol", &[("acme", 10_000)], None);
    let world = |change: fn(&mut PolicyRule)| under(only(change));
    pay(&mut world(|r| r.when.clients = Some(vec![name("north")])), 10_000).unwrap();
    invalid(pay(&mut world(|r| r.when.clients = Some(vec![name("south")])), 10_000), Rule::PolicyScope);
    // Who names no client is granted nothing by a rule for clients.
    invalid(none(&mut world(|r| r.when.clients = Some(vec![name("north")]))), Rule::PolicyScope);
    pay(&mut world(|r| r.when.tiers = Some(vec![Tier::Hot])), 10_000).unwrap();
    invalid(pay(&mut world(|r| r.when.tiers = Some(vec![Tier::Warm])), 10_000), Rule::PolicyScope);
    pay(&mut world(|r| r.when.kinds = Some(vec![RequestKind::Payment])), 10_000).unwrap();
    invalid(pay(&mut world(|r| r.when.kinds = Some(vec![RequestKind::Cancel])), 10_000), Rule::PolicyScope);
    let contract = |r: &mut PolicyRule| r.when.destinations = Some(vec![DestinationKind::Contract]);
    invalid(pay(&mut world(contract), 10_000), Rule::PolicyScope);
    let here = |r: &mut PolicyRule| {
        let asset = newest().asset();
        r.when.networks = Some(vec![newest().network]);
        r.when.assets = Some(vec![asset]);
    };
    pay(&mut world(here), 10_000).unwrap();
}

/// A rule for a client binds also who does not say whose coins move.
#[test]
fn a_request_that_names_no_client_evades_no_rule_for_clients() {
    let mut strict = cheap();
    strict.id = name("north");
    strict.when.clients = Some(vec![name("north")]);
    strict.require.approvals = vec![path(&[(3, "approvers")])];
    let mut world = under(policy_of(NEWEST, &[cheap(), strict], 0));
    invalid(pay(&mut world.clone(), 10_000), Rule::PolicyApprovals);
    invalid(pay_as(&mut world.clone(), "dave", &[("acme", 10_000)], None), Rule::PolicyApprovals);
    pay_as(&mut world, "dave", &[("acme", 10_000)], Some("south")).unwrap();
}

/// One approver up to de minimis, and machines that ask: many small requests do not add up to more.
#[test]
fn deny_floor_two_people_for_a_machine_and_one_person() {
    let one = PolicyRule {
        id: name("small"),
        when: custody::policy::When { amount_max: Some(DE_MINIMIS_CEILING), ..Default::default() },
        require: custody::policy::Require { approvals: vec![path(&[(1, "approvers")])], ..cheap().require },
    };
    let mut genesis =
        Genesis { policy: policy_of(NEWEST, &[one], 0), de_minimis: DE_MINIMIS_CEILING, ..newest() };
    genesis.machines.push(machine("teller", &[Grant::Request]));
    let mut world = World::open(genesis);
    let mut small = |amount: u64| {
        let coin = world.coin(1_000_000);
        let ask = Request { fee_max_ppm: 2_000_000, ..world.request(&[("acme", amount)]) };
        let request = world.asked_as("teller", ask, &["alice"]);
        let draft = world.draft(&[request], &[coin], 1_000);
        world.pay(&[request], &draft)
    };
    small(49_000).unwrap();
    small(48_000).unwrap();
    invalid(small(1_000), Rule::TwoPeople);
}
