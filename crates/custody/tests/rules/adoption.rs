//! What a policy of rule set 3 must be like before it is adopted.

use custody::adoption::{
    ADMINISTRATORS_LIMIT, CALENDAR_SPAN_LIMIT_S, CALENDARS_LIMIT, EXCLUSIVE_LIMIT, INTERVALS_LIMIT,
    PAYMENT_DELAY_LIMIT_S, RULES_LIMIT, SCOPE_LIMIT, VELOCITY_LIMIT,
};
use custody::document::Document;
use custody::effects::Sats;
use custody::genesis::Genesis;
use custody::policy::{
    Budget, Calendar, Per, Policy, PolicyRule, RequestKind, Velocity, WINDOW_LIMIT_S, When,
};
use custody::rates::Value;
use custody::rule::Rule;
use custody::rule_set::NEWEST;
use fixtures::{DAY, START, World, full_policy, group, name, newest, path, person, policy_of, rule};

use crate::refused;

type Change = Box<dyn Fn(&mut Policy)>;

/// The full policy with a change.
fn changed(change: &Change) -> Policy {
    let mut policy = full_policy(0);
    change(&mut policy);
    policy
}

fn adopt(policy: Policy) -> Result<(), custody::rule::Refusal> {
    Genesis { policy, ..newest() }.check()
}

fn full(change: impl Fn(&mut PolicyRule) + 'static) -> Change {
    Box::new(move |policy| change(&mut policy.rules[1]))
}

fn office(change: impl Fn(&mut Calendar) + 'static) -> Change {
    Box::new(move |policy| change(policy.calendars.get_mut(&name("office")).unwrap()))
}

fn day(n: u64) -> (u64, u64) {
    (START + n * DAY, 3_600)
}

#[test]
fn allow_floor_adoption_of_rule_set_3() {
    let names = |n: usize| Some((0..n).map(|i| name(&format!("w-{i}"))).collect::<Vec<_>>());
    let limit = |window_s| Velocity {
        per: Per::Asset,
        window_s,
        amount_max: None,
        value_max: None,
        count_max: Some(1),
    };
    let fine: Vec<Change> = vec![
        Box::new(|_| ()),
        full(move |r| r.when.wallets = names(SCOPE_LIMIT)),
        full(move |r| r.require.velocity = vec![limit(WINDOW_LIMIT_S); VELOCITY_LIMIT]),
        full(move |r| r.require.velocity = vec![limit(1)]),
        full(|r| r.require.fee_budget = Some(Budget { window_s: WINDOW_LIMIT_S, fee_max: Sats(1) })),
        full(|r| (r.require.delay_s, r.require.approval_valid_s) = (Some(PAYMENT_DELAY_LIMIT_S), None)),
        full(|r| r.require.cool_down_s = Some(PAYMENT_DELAY_LIMIT_S)),
        full(|r| (r.require.delay_s, r.require.approval_valid_s) = (Some(600), Some(601))),
        full(|r| r.require.independent = Some(2)),
        full(|r| r.require.velocity[0].amount_max = r.when.amount_min),
        full(|r| {
            r.when.kinds = Some(vec![RequestKind::Cancel]);
            (r.when.amount_min, r.when.destinations) = (None, None);
        }),
        office(|c| c.until = c.from + CALENDAR_SPAN_LIMIT_S),
        office(|c| {
            c.open = (0..INTERVALS_LIMIT as u64).map(|i| (START + 2 * i, 1)).collect();
        }),
        Box::new(|p| {
            for i in 1..CALENDARS_LIMIT {
                p.calendars.insert(name(&format!("c-{i}")), p.calendars[&name("office")].clone());
            }
        }),
        Box::new(|p| p.exclusive = vec![(name("admins"), name("auditors")); EXCLUSIVE_LIMIT]),
        Box::new(|p| p.administrators_max = Some(3)),
        Box::new(|p| p.administrators_max = Some(ADMINISTRATORS_LIMIT + 1)),
    ];
    for (i, change) in fine.iter().enumerate() {
        adopt(changed(change)).unwrap_or_else(|no| panic!("{i}: {no}"));
    }
}

#[test]
fn deny_floor_adoption_of_rule_set_3() {
    let names = |n: usize| Some((0..n).map(|i| name(&format!("w-{i}"))).collect::<Vec<_>>());
    let other = "bip122:00000008819873e925422c1ff0f99f7c";
    let limit = |window_s, amount_max: Option<u64>| Velocity {
        per: Per::Asset,
        window_s,
        amount_max: amount_max.map(Sats),
        value_max: None,
        count_max: None,
    };
    let bad: Vec<Change> = vec![
        // Scopes that cover nothing.
        full(|r| r.when.kinds = Some(Vec::new())),
        full(|r| r.when.networks = Some(Vec::new())),
        full(|r| r.when.assets = Some(Vec::new())),
        full(|r| r.when.tiers = Some(Vec::new())),
        full(|r| r.when.clients = Some(Vec::new())),
        full(move |r| r.when.networks = Some(vec![other.into()])),
        full(move |r| r.when.assets = Some(vec![format!("{other}/slip44:1")])),
        full(|r| (r.when.value_min, r.when.value_max) = (Some(Value(2)), Some(Value(1)))),
        full(move |r| r.when.wallets = names(SCOPE_LIMIT + 1)),
        full(move |r| r.when.clients = names(SCOPE_LIMIT + 1)),
        // Values without a currency.
        Box::new(|p| p.currency = None),
        // Windows.
        full(move |r| r.require.velocity = vec![limit(DAY, Some(1_000)); VELOCITY_LIMIT + 1]),
        full(move |r| r.require.velocity = vec![limit(0, Some(1_000))]),
        full(move |r| r.require.velocity = vec![limit(WINDOW_LIMIT_S + 1, Some(1_000))]),
        full(move |r| r.require.velocity = vec![limit(DAY, None)]),
        full(move |r| r.require.velocity = vec![limit(DAY, Some(999))]),
        full(|r| r.require.velocity[0].count_max = Some(0)),
        full(|r| r.require.fee_budget = Some(Budget { window_s: 0, fee_max: Sats(1) })),
        full(|r| r.require.fee_budget = Some(Budget { window_s: WINDOW_LIMIT_S + 1, fee_max: Sats(1) })),
        full(|r| r.require.fee_budget = Some(Budget { window_s: 1, fee_max: Sats(0) })),
        // Times.
        full(|r| r.require.delay_s = Some(PAYMENT_DELAY_LIMIT_S + 1)),
        full(|r| r.require.cool_down_s = Some(PAYMENT_DELAY_LIMIT_S + 1)),
        full(|r| (r.require.delay_s, r.require.approval_valid_s) = (Some(600), Some(600))),
        full(|r| r.require.independent = Some(0)),
        full(|r| r.require.independent = Some(3)),
        full(|r| r.require.hours = Some(name("night"))),
        office(|c| c.until = c.from + CALENDAR_SPAN_LIMIT_S + 1),
        office(|c| c.until = c.from),
        office(|c| c.open.clear()),
        office(|c| c.open = (0..=INTERVALS_LIMIT as u64).map(|i| (START + 2 * i, 1)).collect()),
        office(|c| c.open = vec![day(2), day(1)]),
        office(|c| c.open = vec![(START, 10), (START + 10, 10)]),
        office(|c| c.open = vec![(START, 0)]),
        office(|c| c.open = vec![(START - 1, 10)]),
        office(|c| c.open = vec![(c.until - 1, 2)]),
        office(|c| (c.from, c.open) = (START - DAY, vec![(START - DAY, DAY)])),
        office(|c| c.zone = "Zürich".into()),
        Box::new(|p| {
            for i in 0..CALENDARS_LIMIT {
                p.calendars.insert(name(&format!("c-{i}")), p.calendars[&name("office")].clone());
            }
        }),
        // Roles.
        Box::new(|p| p.exclusive = vec![(name("admins"), name("approvers"))]),
        Box::new(|p| p.exclusive = vec![(name("auditors"), name("auditors"))]),
        Box::new(|p| p.exclusive = vec![(name("admins"), name("auditors")); EXCLUSIVE_LIMIT + 1]),
        Box::new(|p| p.administrators_max = Some(2)),
        // Rules that nothing passes.
        full(|r| r.require.amount_max = Sats(999)),
        full(|r| r.require.value_max = Some(Value(99))),
        full(|r| (r.when.value_min, r.require.value_max) = (None, Some(Value(0)))),
        full(|r| r.require.velocity[0].value_max = Some(Value(99))),
        full(|r| r.when.kinds = Some(vec![RequestKind::Cancel])),
        Box::new(|p| {
            let strict = PolicyRule { id: name("strict"), when: When::default(), ..rule() };
            p.rules.push(strict);
            p.rules[2].require.amount_max = Sats(999);
        }),
    ];
    for (i, change) in bad.iter().enumerate() {
        let result = adopt(changed(change));
        assert!(result.is_err(), "{i}");
        refused(result, Rule::Floor);
    }
}

/// A rule that another one which covers the same always denies is named, with a request that shows it.
#[test]
fn deny_floor_adoption_of_a_rule_that_nothing_passes() {
    let part = |id: &str, min: u64, max: u64, most: u64| {
        let mut part = PolicyRule { id: name(id), ..rule() };
        part.when.amount_min = Some(Sats(min));
        part.when.amount_max = Some(Sats(max));
        part.require.amount_max = Sats(most);
        part
    };
    let of = |rules: &[PolicyRule]| adopt(policy_of(NEWEST, rules, 0));
    // Together they let 1,000 to 2,000 pass, and then 3,001 to 5,000.
    of(&[part("a", 1_000, 5_000, 5_000), part("b", 2_000, 3_000, 2_000)]).unwrap();
    let no = of(&[part("a", 2_000, 3_000, 3_000), part("b", 1_000, 5_000, 1_999)]).unwrap_err();
    assert!(
        no.why.contains("rule a lets nothing pass; for example 2000 sat from wallet any-0"),
        "{}",
        no.why
    );
    assert!(no.why.contains("rule b lets at most 1999 sat pass"), "{}", no.why);
    // For one wallet of two only the strict rule stands in the way.
    let mut strict = part("strict", 1, 10_000, 1);
    strict.when.wallets = Some(vec![name("main")]);
    let mut open = part("open", 500, 600, 600);
    open.when.wallets = Some(vec![name("main"), name("side")]);
    of(&[strict.clone(), open.clone()]).unwrap();
    open.when.wallets = Some(vec![name("main")]);
    refused(of(&[strict, open]), Rule::Floor);
    // Calendars that are never open at the same time.
    let at = |hour: u64| Calendar {
        zone: "UTC".into(),
        from: START,
        until: START + DAY,
        open: vec![(START + hour * 3_600, 3_600)],
    };
    for (hour, fine) in [(8, true), (9, false)] {
        let mut policy = policy_of(NEWEST, &[rule(), PolicyRule { id: name("other"), ..rule() }], 0);
        policy.calendars = [(name("one"), at(8)), (name("two"), at(hour))].into();
        policy.rules[0].require.hours = Some(name("one"));
        policy.rules[1].require.hours = Some(name("two"));
        assert_eq!(adopt(policy).is_ok(), fine);
    }
}

#[test]
fn the_number_of_rules_has_a_limit() {
    let rules = |n: usize| -> Vec<_> {
        let named = |i: usize| {
            let mut one = PolicyRule { id: name(&format!("r-{i}")), ..rule() };
            one.when.wallets = Some(vec![name(&format!("w-{i}"))]);
            one
        };
        (0..n).map(named).collect()
    };
    adopt(policy_of(NEWEST, &rules(RULES_LIMIT), 0)).unwrap();
    refused(adopt(policy_of(NEWEST, &rules(RULES_LIMIT + 1), 0)), Rule::Floor);
}

/// Nobody who writes the software decides anything here (DACS DEV), also not by a later change of a group.
#[test]
fn deny_floor_adoption_of_developers_in_production() {
    let mut genesis = newest();
    genesis.people.push(person("erin"));
    genesis.groups.push(group("developers", &["erin"]));
    genesis.check().unwrap();
    let mut world = World::open(genesis.clone());
    let also = |members: &[&str]| Document::Group(group("developers", members));
    crate::rejected(world.propose("bob", also(&["carol", "erin"])), Rule::Floor);
    crate::rejected(
        world.propose("bob", Document::Group(group("approvers", &["alice", "bob", "erin"]))),
        Rule::Floor,
    );
    world.adopt(also(&["dave", "erin"]));
    genesis.groups.pop();
    genesis.groups.push(group("developers", &["bob"]));
    refused(genesis.check(), Rule::Floor);
}

/// The paths of one person stay under de minimis, and the message says where they belong.
#[test]
fn a_refusal_says_what_to_do() {
    let mut policy = policy_of(NEWEST, &[rule()], 0);
    policy.rules[0].require.approvals = vec![path(&[(1, "approvers")])];
    let no = adopt(policy).unwrap_err();
    assert!(no.why.contains("rule payments") && no.why.contains("de minimis"), "{}", no.why);
}

/// That its calendars are over is no reason to keep somebody in a group.
#[test]
fn a_group_changes_under_a_calendar_that_is_over() {
    let mut world = World::open(Genesis { policy: full_policy(0), ..newest() });
    world.tick(61 * DAY);
    refused(adopt_at(&world, full_policy(0)), Rule::Floor);
    world.propose("bob", Document::Group(group("approvers", &["alice", "bob"]))).unwrap();
}

fn adopt_at(world: &World, policy: Policy) -> Result<(), custody::rule::Refusal> {
    policy.check(&custody::adoption::Ground {
        groups: &world.state,
        de_minimis: Sats(0),
        delay_floor_s: 0,
        rule_set: 3,
        asset: &newest().asset(),
        now: world.time,
    })
}

/// One person's proposal costs everybody little: what is too intricate is refused after so many looks.
#[test]
fn deny_floor_adoption_of_what_is_too_intricate() {
    let names = |what: &str| Some((0..SCOPE_LIMIT).map(|i| name(&format!("{what}-{i}"))).collect::<Vec<_>>());
    let mut rules: Vec<_> = (0..120u64)
        .map(|i| {
            let mut one = PolicyRule { id: name(&format!("r-{i}")), ..rule() };
            one.require.amount_max = Sats(1_000 + i);
            one
        })
        .collect();
    let mut last = PolicyRule { id: name("last"), ..rule() };
    (last.when.wallets, last.when.clients) = (names("w"), names("c"));
    last.require.amount_max = Sats(0);
    rules.push(last);
    let no = adopt(policy_of(NEWEST, &rules, 0)).unwrap_err();
    assert!(no.why.contains("too intricate"), "{}", no.why);
    refused::<()>(Err(no), Rule::Floor);
}
