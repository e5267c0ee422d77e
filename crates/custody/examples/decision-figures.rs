//! Figures of decisions: how long one takes under policies of different size, beside a look-up in a map of that
//! size, and how long the check of such a policy takes when it is adopted. They are printed and never asserted.
//!
//! ```text
//! cargo run --release -p custody --example decision-figures
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use custody::Hash;
use custody::adoption::{Ground, RULES_LIMIT};
use custody::charge::{Charge, Subject};
use custody::decide::{Ask, Facts, Given, Rulebook};
use custody::document::{DestinationKind, TABLE, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Governance, Per, Policy, PolicyRule, RequestKind, Require, Seats, Velocity, When};
use custody::quorum::Groups;
use custody::rates::Rate;
use custody::state::Owner;

const ASSET: &str = "bip122:000000000019d6689c085ae165831e93/slip44:0";
const DAY: u64 = 24 * 3600;
const NOW: u64 = 1_767_312_000;

/// People of each group.
const PEOPLE: usize = 1_000;

/// People who govern: the most that a policy may have.
const ADMINISTRATORS: usize = 64;

/// Decisions that are timed for a figure.
const DECISIONS: usize = 10_000;

/// Charges within the window.
const CHARGES: usize = 100;

struct Books {
    groups: BTreeMap<Name, Vec<Name>>,
    charges: Vec<Charge>,
}

impl Groups for Books {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.groups.get(group).map(Vec::as_slice)
    }
}

impl Facts for Books {
    fn charges(&self, _: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        Box::new(self.charges.iter())
    }

    fn rate(&self, _: &Name, _: &str, _: u64) -> Option<Rate> {
        None
    }
}

fn name(text: &str) -> Result<Name, String> {
    text.parse()
}

fn two_of(group: &str) -> Result<Vec<Vec<Seats>>, String> {
    Ok(vec![vec![Seats { count: 2, group: name(group)? }]])
}

/// Rules that each name a wallet or, every other one, a client.
fn policy(rules: usize) -> Result<Policy, String> {
    let rule = |i: usize| {
        let mut when = When::default();
        match i % 2 {
            0 => when.wallets = Some(vec![name(&format!("wallet-{i}"))?]),
            _ => when.clients = Some(vec![name(&format!("client-{i}"))?]),
        }
        let day = Velocity {
            per: Per::Wallet,
            window_s: DAY,
            amount_max: Some(Sats(1_000_000_000)),
            value_max: None,
            count_max: None,
        };
        let plain = Require::plain(two_of("desk")?, Sats(100_000_000), Sats(100_000), 100_000);
        Ok(PolicyRule {
            id: name(&format!("rule-{i}"))?,
            when,
            require: Require { velocity: vec![day], ..plain },
        })
    };
    let governance = |delay_s| Ok::<_, String>(Governance { approvals: two_of("admins")?, delay_s });
    let governance = TABLE.iter().map(|row| Ok((row.kind, governance(if row.delayed { DAY } else { 0 })?)));
    Ok(Policy {
        rules: (0..rules).map(rule).collect::<Result<_, String>>()?,
        governance: governance.collect::<Result<_, String>>()?,
        ..Policy::default()
    })
}

fn charge(i: usize) -> Result<Charge, String> {
    Ok(Charge {
        subject: Subject {
            kind: RequestKind::Payment,
            asset: ASSET.into(),
            wallet: name(&format!("wallet-{}", i / 2 * 2))?,
            tier: Tier::Hot,
            client: Some(name(&format!("client-{}", i / 2 * 2 + 1))?),
            destinations: BTreeSet::from([DestinationKind::Counterparty]),
            amount: Sats(100_000),
        },
        initiator: Owner::Person(name("carol")?),
        lineage: Hash::sha256(&i.to_be_bytes()),
        paid: BTreeMap::from([(name("acme")?, Sats(100_000))]),
        fee: Sats(1_000),
        count: 1,
        price: None,
    })
}

fn ask(charge: Charge, approvers: &[Name]) -> Ask {
    let given = Given { at: NOW - 60, delay_at: 60, independent: true };
    Ask {
        beside: Vec::new(),
        paid: BTreeSet::from([charge.lineage]),
        cooled_s: charge.paid.keys().map(|to| (to.clone(), DAY)).collect(),
        approvals: approvers.iter().map(|who| (who.clone(), given)).collect(),
        time: NOW,
        delay: 120,
        de_minimis_left: Sats(0),
        charge,
    }
}

/// The middle and the last hundredth of times of one call each.
fn quantiles(mut times: Vec<Duration>) -> Option<(Duration, Duration)> {
    times.sort();
    Some((*times.get(times.len() / 2)?, *times.get(times.len() * 99 / 100)?))
}

fn time<T>(mut call: impl FnMut(usize) -> T) -> Vec<Duration> {
    let one = |i| {
        let start = Instant::now();
        black_box(call(black_box(i)));
        start.elapsed()
    };
    (0..DECISIONS).map(one).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let people =
        |count: usize| (0..count).map(|i| name(&format!("person-{i:04}"))).collect::<Result<Vec<_>, _>>();
    let groups =
        BTreeMap::from([(name("desk")?, people(PEOPLE)?), (name("admins")?, people(ADMINISTRATORS)?)]);
    let approvers = people(2)?;
    println!(
        "| rules | covering | decide p50 | p99 | look-up p50 | p99 | `Policy::check` |\n|---|---|---|---|---|---|---|"
    );
    for count in [10, 1_000, RULES_LIMIT] {
        let policy = policy(count)?;
        let charges = (0..CHARGES).map(|i| charge(count - 1 - i % 10)).collect::<Result<_, String>>()?;
        let books = Books { groups: groups.clone(), charges };
        let asks: Vec<_> =
            (0..count).map(|i| Ok(ask(charge(i)?, &approvers))).collect::<Result<_, String>>()?;
        let pick = |i: usize| i.wrapping_mul(7_919) % count;
        let book = Rulebook::new(policy.clone());
        let last = asks.last().ok_or("no requests")?;
        let covering = book.decide(last, &books).map_err(|refusal| refusal.to_string())?.len();
        let decided = time(|i| asks.get(pick(i)).map(|ask| book.decide(ask, &books)));
        let map: BTreeMap<_, _> = policy.rules.iter().map(|rule| (&rule.id, rule)).collect();
        let looked = time(|i| policy.rules.get(pick(i)).and_then(|rule| map.get(&rule.id)));
        let ground = Ground {
            groups: &books,
            de_minimis: Sats(0),
            delay_floor_s: DAY,
            rule_set: 3,
            asset: ASSET,
            now: NOW,
        };
        let start = Instant::now();
        policy.check(&ground).map_err(|refusal| refusal.to_string())?;
        let checked = start.elapsed();
        let (p50, p99) = quantiles(decided).ok_or("no decisions")?;
        let (floor50, floor99) = quantiles(looked).ok_or("no look-ups")?;
        println!(
            "| {count} | {covering} | {p50:.1?} | {p99:.1?} | {floor50:.0?} | {floor99:.0?} | {checked:.1?} |"
        );
    }
    Ok(())
}
