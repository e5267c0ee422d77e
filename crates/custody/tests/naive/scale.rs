//! Policies of the largest size: what a decision looks up does not grow with the rules that cover other
//! requests, and none of those that cover it is missed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use custody::adoption::{Ground, RULES_LIMIT};
use custody::charge::Charge;
use custody::decide::{Facts, Given, Rulebook};
use custody::document::TABLE;
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Governance, Path, Per, Policy, PolicyRule, Require, Seats, Velocity, When};
use custody::quorum::Groups;
use custody::rates::Rate;
use custody::rule::{Refusal, Rule};

use crate::evaluator::{World, covering, refusals};
use crate::random;

const DAY: u64 = 24 * 3600;

/// Members of the group that approves.
const PEOPLE: usize = 1_000;

fn name(text: impl AsRef<str>) -> Name {
    Name::new(text.as_ref()).unwrap()
}

fn two_of(group: &str) -> Vec<Path> {
    vec![vec![Seats { count: 2, group: name(group) }]]
}

/// Rules that each name a wallet of their own or, every other one, a client.
fn policy(rules: usize) -> Policy {
    let rule = |i: usize| {
        let (wallets, clients) = match i % 2 {
            0 => (Some(vec![name(format!("wallet-{i}"))]), None),
            _ => (None, Some(vec![name(format!("client-{i}"))])),
        };
        let day = Velocity {
            per: Per::Wallet,
            window_s: DAY,
            amount_max: Some(Sats(1_000)),
            value_max: None,
            count_max: None,
        };
        let plain = Require::plain(two_of("desk"), Sats(1_000), Sats(1_000), 1_000_000);
        PolicyRule {
            id: name(format!("rule-{i}")),
            when: When { wallets, clients, ..When::default() },
            require: Require { velocity: vec![day], ..plain },
        }
    };
    let governance = |delay_s| Governance { approvals: two_of("desk"), delay_s };
    let governance = TABLE.iter().map(|row| (row.kind, governance(if row.delayed { DAY } else { 0 })));
    Policy { rules: (0..rules).map(rule).collect(), governance: governance.collect(), ..Policy::default() }
}

/// A payment that the last two rules cover, approved by the first and the last of the group.
fn world(rules: usize) -> World {
    let payment = |world: &World| !world.ask.charge.paid.is_empty() && world.ask.beside.is_empty();
    let mut world = (0..).map(random::world).find(payment).unwrap();
    world.policy = policy(rules);
    world.groups = BTreeMap::from([(name("desk"), people(PEOPLE))]);
    let subject = &mut world.ask.charge.subject;
    subject.wallet = name(format!("wallet-{}", rules - 2));
    subject.client = Some(name(format!("client-{}", rules - 1)));
    let given = Given { at: world.ask.time, delay_at: world.ask.delay, independent: true };
    let approvers = [0, PEOPLE - 1].map(|i| (name(format!("person-{i:04}")), given));
    world.ask.approvals = approvers.into();
    world
}

fn people(count: usize) -> Vec<Name> {
    (0..count).map(|i| name(format!("person-{i:04}"))).collect()
}

/// Counts what is looked up.
struct Counting<'a> {
    world: &'a World,
    lookups: Cell<usize>,
}

impl Counting<'_> {
    fn count(&self) {
        self.lookups.set(self.lookups.get() + 1);
    }
}

impl Groups for Counting<'_> {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.count();
        self.world.members(group)
    }
}

impl Facts for Counting<'_> {
    fn charges(&self, from: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        self.count();
        self.world.charges(from)
    }

    fn rate(&self, currency: &Name, asset: &str, time: u64) -> Option<Rate> {
        self.count();
        self.world.rate(currency, asset, time)
    }

    fn unlisted_handles(&self, destination: &Name) -> BTreeSet<Name> {
        self.count();
        self.world.unlisted_handles(destination)
    }
}

#[test]
fn a_decision_looks_up_as_much_under_many_rules_as_under_few() {
    let looked_up = |rules: usize| {
        let world = world(rules);
        let facts = Counting { world: &world, lookups: Cell::new(0) };
        let allowed = Rulebook::new(world.policy.clone()).decide(&world.ask, &facts).unwrap();
        assert_eq!(refusals(&world), BTreeSet::new());
        assert_eq!(allowed.into_iter().collect::<BTreeSet<_>>(), covering(&world));
        assert_eq!(covering(&world).len(), 2);
        facts.lookups.get()
    };
    let few = looked_up(10);
    assert!(few > 0);
    assert_eq!(looked_up(1_000), few);
    assert_eq!(looked_up(RULES_LIMIT), few);
}

#[test]
fn a_policy_has_as_many_rules_as_its_limit_and_not_one_more() {
    let world = World { groups: BTreeMap::from([(name("desk"), people(4))]), ..world(10) };
    let ground = Ground {
        groups: &world,
        de_minimis: Sats(0),
        delay_floor_s: DAY,
        rule_set: 3,
        asset: &world.ask.charge.subject.asset,
        now: world.ask.time,
    };
    policy(RULES_LIMIT).check(&ground).unwrap();
    let Err(Refusal { rule, why }) = policy(RULES_LIMIT + 1).check(&ground) else { panic!("one more") };
    assert_eq!(rule, Rule::Floor);
    assert!(why.contains(&RULES_LIMIT.to_string()), "{why}");
}
