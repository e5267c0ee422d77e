//! Limits of the policy against a hostile server and one hostile co-signer: a velocity, a daily count, hours, a
//! delay and a cool-down, under the newest rule set, at four co-signers of production code in one process under
//! a simulated clock. What leaves is what left any of them, whatever the log says.

#[path = "attacks_limits/clocks.rs"]
mod clocks;
#[path = "attacks_limits/subsets.rs"]
mod subsets;

use std::collections::BTreeMap;

use custody::decide::Facts as _;
use custody::effects::Sats;
use custody::genesis::Genesis;
use custody::policy::{Calendar, Per, Policy, Require, Velocity};
use custody::rule_set::NEWEST;
use custody::{Blob, Hash};
use fixtures::{DAY, newest, policy_of, rule};
use sim::deployment::{BEGIN_S, name};
use sim::relay::Town;

/// Most that may leave the wallet in a day, fees included, in sat.
const LIMIT: u64 = 500_000;

/// What one payment pays, in sat: it fits in a day, and two do not.
const PAYMENT: u64 = 300_000;

/// The fee of each payment, in sat.
const FEE: u64 = 1_000;

/// Most payments in a day.
const COUNT: u32 = 3;

/// How long approvals stand before a payment leaves, in seconds.
const DELAY_S: u64 = 1_800;

/// How long a destination cools down, in seconds.
const COOL_DOWN_S: u64 = 3_600;

/// How long it is open on each day from the first second of the log on, in seconds.
const OPEN_S: u64 = 12 * 3_600;

/// How far the time of a batch may lie from the clocks of those who vote, and that of the head under which a
/// share leaves from the clock of its holder, in seconds (P9, P14): so far, and no further, can an edge be moved.
const SLACK_S: u64 = 60;

/// A deployment with one rule, which has every one of these limits.
fn limited() -> Genesis {
    let amount = Velocity {
        per: Per::Wallet,
        window_s: DAY,
        amount_max: Some(Sats(LIMIT)),
        value_max: None,
        count_max: None,
    };
    let count = Velocity { amount_max: None, count_max: Some(COUNT), ..amount.clone() };
    let mut only = rule();
    only.require = Require {
        velocity: vec![amount, count],
        hours: Some(name("office")),
        delay_s: Some(DELAY_S),
        cool_down_s: Some(COOL_DOWN_S),
        ..only.require
    };
    let office = Calendar {
        zone: "UTC".into(),
        from: BEGIN_S,
        until: BEGIN_S + 60 * DAY,
        open: (0..60).map(|day| (BEGIN_S + day * DAY, OPEN_S)).collect(),
    };
    let policy =
        Policy { calendars: BTreeMap::from([(name("office"), office)]), ..policy_of(NEWEST, &[only], 0) };
    Genesis { policy, ..newest() }
}

/// Requests of these amounts to `acme`, approved, with delay and cool-down over. With `twins` the last signer
/// lies.
fn ready<const N: usize>(twins: bool, amounts: [u64; N]) -> (Town, [Hash; N]) {
    let mut town = Town::new(limited(), twins);
    town.open();
    let requests = amounts.map(|amount| town.asked("acme", amount, 20 * DAY));
    pass(&mut town, COOL_DOWN_S + 1);
    (town, requests)
}

/// Lets time go by.
fn pass(town: &mut Town, seconds: u64) {
    town.cluster.run(seconds * 1_000, |_| false);
    town.refresh();
}

/// Lets time go by until that second begins.
fn pass_until(town: &mut Town, time: u64) {
    let left = (time * 1_000).checked_sub(town.cluster.now_ms).expect("a time to come");
    town.cluster.run(left, |_| false);
    town.refresh();
}

/// Lets the server propose the payment of a request from a coin of its own.
fn pay(town: &mut Town, request: Hash) -> Result<Hash, String> {
    let coin = town.coin(LIMIT * 2);
    town.pay_from(request, coin, FEE)
}

/// How many payments are charged, and how much.
fn charged(town: &Town) -> (u32, u128) {
    let charges = town.state().charges(0);
    charges.fold((0, 0), |(count, sum), charge| (count + charge.count, sum + charge.total()))
}

/// The rule by which something was refused.
fn refused(rule: &str) -> Result<Hash, String> {
    Err(rule.to_owned())
}

/// What two holders say of whom each refuses.
fn both(rule: &str) -> Result<Blob, Vec<String>> {
    Err(vec![rule.to_owned(); 2])
}

/// Nothing was signed and nobody refused: the order waits for a head that the holders may act on.
fn waits() -> Result<Blob, Vec<String>> {
    Err(Vec::new())
}
