//! What the authority diff says of known changes.

use std::collections::BTreeMap;

use custody::adoption::ADMINISTRATORS_LIMIT;
use custody::document::{DestinationKind, Kind};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Budget, Calendar, Per, Policy, PolicyRule, Velocity};
use custody::quorum::Groups;
use custody::rule_set::NEWEST;
use fixtures::{name, path, policy_of, rule};
use policy::difference::{APPROVERS_LIMIT, Aspect, Difference, Differences, Ground, Names, Why, difference};

const NOW: u64 = fixtures::START;

/// As many groups as one wants, of members `g-0`, `g-1`, ….
struct Table(BTreeMap<Name, Vec<Name>>);

impl Groups for Table {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.0.get(group).map(Vec::as_slice)
    }
}

fn table(groups: &[(&str, usize)]) -> Table {
    let members = |group: &str, count| (0..count).map(|i| name(&format!("{group}-{i}"))).collect();
    Table(groups.iter().map(|(group, count)| (name(group), members(group, *count))).collect())
}

fn compared(in_force: &Policy, draft: &Policy) -> Differences {
    among(&table(&[("approvers", 3), ("risk", 2), ("admins", 3)]), in_force, draft)
}

fn among(groups: &Table, in_force: &Policy, draft: &Policy) -> Differences {
    let assets = vec!["net:a/x:1".to_owned()];
    difference(in_force, draft, &Ground { groups, assets, de_minimis: Sats(0), now: NOW })
}

/// Everybody is on leave today.
struct Away(Table);

impl Groups for Away {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.0.members(group)
    }

    fn sits(&self, _: &Name, _: &Name) -> bool {
        false
    }
}

/// Who is away today is back when the draft is in force: a proposal in the holidays hides nothing.
#[test]
fn absences_hide_nothing() {
    let [before, mut wide] = [rule(), rule()];
    wide.require.approvals.push(path(&[(2, "risk")]));
    let [in_force, draft] = [before, wide].map(|rule| policy_of(NEWEST, &[rule], 0));
    let groups = Away(table(&[("approvers", 3), ("risk", 2), ("admins", 3)]));
    let assets = vec!["net:a/x:1".to_owned()];
    let ground = Ground { groups: &groups, assets, de_minimis: Sats(0), now: NOW };
    let found = difference(&in_force, &draft, &ground);
    // Payments, and cancels.
    assert_eq!(found.more.len(), 2, "{}", found.text());
    assert!(found.less.is_empty());
}

/// The ordinary policy, and it with a change.
fn changed(change: impl FnOnce(&mut PolicyRule)) -> Differences {
    let (in_force, mut draft) = (policy_of(NEWEST, &[rule()], 0), policy_of(NEWEST, &[rule()], 0));
    change(&mut draft.rules[0]);
    compared(&in_force, &draft)
}

fn aspects(found: &Differences) -> (Vec<Aspect>, Vec<Aspect>) {
    let of = |side: &[Difference]| {
        side.iter().map(|one| if one.undecided { Aspect::TooIntricate } else { one.aspect }).collect()
    };
    (of(&found.more), of(&found.less))
}

fn velocity(amount: Option<u64>, count_max: Option<u32>) -> Vec<Velocity> {
    let amount_max = amount.map(Sats);
    vec![Velocity { per: Per::Wallet, window_s: 3_600, amount_max, value_max: None, count_max }]
}

/// Each parameter, looser one way, tighter the other, with an example that shows it, and alone.
#[test]
fn every_parameter_is_compared_by_itself() {
    type Change = fn(&mut PolicyRule);
    let both = Aspect::Granted(Why::Limit);
    let changes: [(Aspect, Change, Change); 13] = [
        (both, |r| r.require.amount_max = Sats(500), |r| r.require.amount_max = Sats(501)),
        (Aspect::Fee, |r| r.require.fee_max = Sats(50), |r| r.require.fee_max = Sats(51)),
        (Aspect::Fee, |r| r.require.fee_max_ppm = 50, |r| r.require.fee_max_ppm = 51),
        (
            Aspect::Approvers,
            |r| r.require.approvals = vec![path(&[(3, "approvers")])],
            |r| r.require.approvals = vec![path(&[(2, "approvers")])],
        ),
        (Aspect::Approvers, |r| r.require.independent = Some(2), |r| r.require.independent = Some(1)),
        (
            Aspect::Velocity,
            |r| r.require.velocity = velocity(Some(200_000_000), None),
            |r| r.require.velocity = velocity(Some(200_000_001), None),
        ),
        (
            Aspect::Velocity,
            |r| r.require.velocity = velocity(None, Some(3)),
            |r| r.require.velocity = velocity(None, Some(4)),
        ),
        (
            Aspect::Velocity,
            |r| r.require.velocity = velocity(None, Some(3)),
            |r| {
                r.require.velocity = velocity(None, Some(3));
                r.require.velocity[0].window_s = 3_599;
            },
        ),
        (
            Aspect::FeeBudget,
            |r| r.require.fee_budget = Some(Budget { window_s: 60, fee_max: Sats(9) }),
            |r| r.require.fee_budget = Some(Budget { window_s: 60, fee_max: Sats(10) }),
        ),
        (Aspect::CoolDown, |r| r.require.cool_down_s = Some(61), |r| r.require.cool_down_s = Some(60)),
        (Aspect::Delay, |r| r.require.delay_s = Some(61), |r| r.require.delay_s = Some(60)),
        (Aspect::Delay, |r| r.require.delay_s = Some(1), |_| ()),
        (Aspect::Validity, |r| r.require.approval_valid_s = Some(60), |_| ()),
    ];
    for (aspect, tight, loose) in changes {
        let of = |change: Change| {
            let mut policy = policy_of(NEWEST, &[rule()], 0);
            policy.rules[0].when.kinds = Some(vec![custody::policy::RequestKind::Payment]);
            change(&mut policy.rules[0]);
            policy
        };
        let (tight, loose) = (of(tight), of(loose));
        let (wider, narrower) = (compared(&tight, &loose), compared(&loose, &tight));
        assert_eq!(aspects(&wider), (vec![aspect], vec![]), "{aspect:?}");
        assert_eq!(aspects(&narrower), (vec![], vec![aspect]), "{aspect:?}");
        // Rule by rule it is the same one thing.
        assert_eq!((wider.looser.len(), narrower.looser.len()), (1, 0), "{aspect:?}");
    }
}

/// The words of a difference, with where it is and what shows it.
#[test]
fn a_difference_is_said_in_words() {
    let found = changed(|rule| {
        rule.when.wallets = Some(vec![name("main")]);
        rule.when.kinds = Some(vec![custody::policy::RequestKind::Payment]);
        rule.require.amount_max = Sats(200_000_000);
    });
    let text = found.text();
    let lines = [
        "allows more: payments of 100,000,001 sat to 200,000,000 sat from wallet main: granted",
        "  in force    denied by the amount of rule payments (rules payments)",
        "  draft       rule payments needs 2 of approvers (rules payments)",
        "  for example 100,000,001 sat from main (hot) to own, for no client, Thu 2026-01-01T00:00:00Z, \
         approved by approvers-0 and approvers-1",
        "allows less: payments of at most 100,000,000 sat from wallet any other than main: granted",
        "  draft       no rule grants it",
        "allows less: cancels: granted",
    ];
    for line in lines {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    assert_eq!((found.more.len(), found.less.len()), (1, 2));
}

/// A rule on ground that no rule covered grants, and neighbours that differ in the same way are one.
#[test]
fn new_ground_is_granted_and_neighbours_are_one() {
    let mut own = rule();
    own.when.wallets = Some(vec![name("main")]);
    let in_force = policy_of(NEWEST, &[own.clone()], 0);
    let third = PolicyRule { id: name("third"), ..rule() };
    let second = PolicyRule {
        id: name("second"),
        when: custody::policy::When {
            wallets: Some(vec![name("cold"), name("lab")]),
            destinations: Some(vec![DestinationKind::Own, DestinationKind::Contract]),
            ..Default::default()
        },
        ..rule()
    };
    let draft = policy_of(NEWEST, &[own.clone(), second], 0);
    let found = compared(&in_force, &draft);
    assert_eq!(aspects(&found), (vec![Aspect::Granted(Why::Scope); 2], vec![]));
    let region = found.more.iter().filter_map(|one| one.region.as_ref()).find(|r| !r.destinations.is_empty());
    let region = region.unwrap();
    assert_eq!(region.wallets, Names::Only(["cold", "lab"].map(name).into()));
    assert_eq!(region.destinations, [DestinationKind::Own, DestinationKind::Contract].into());
    // What is covered already by the same words is no news, under whatever handle.
    let (one, two) = (policy_of(NEWEST, &[rule()], 0), policy_of(NEWEST, &[third], 0));
    assert!(compared(&one, &two).is_empty());
}

/// Calendars are compared by when they are open, to the second, whatever they are called.
#[test]
fn hours_are_compared_as_times() {
    let calendar = |open: &[(u64, u64)]| Calendar {
        zone: "Europe/Zurich".into(),
        from: NOW,
        until: NOW + 1_000_000,
        open: open.iter().map(|(start, length)| (NOW + start, *length)).collect(),
    };
    let of = |id: &str, open: &[(u64, u64)]| {
        let mut policy = policy_of(NEWEST, &[rule()], 0);
        policy.rules[0].require.hours = Some(name(id));
        policy.calendars.insert(name(id), calendar(open));
        policy
    };
    let (day, same) = (of("day", &[(100, 50), (200, 50)]), of("office", &[(100, 50), (200, 50)]));
    assert!(compared(&day, &same).is_empty());
    let longer = of("day", &[(100, 50), (200, 51)]);
    let found = compared(&day, &longer);
    assert_eq!(aspects(&found), (vec![Aspect::Granted(Why::Hours)], vec![]));
    let second = u128::from(NOW + 250);
    assert_eq!(found.more[0].region.as_ref().unwrap().times.ranges(), [(second, second)]);
    let found = compared(&day, &policy_of(NEWEST, &[rule()], 0));
    assert_eq!(aspects(&found), (vec![Aspect::Granted(Why::Hours)], vec![]));
    assert_eq!(found.more[0].region.as_ref().unwrap().times.ranges().len(), 3, "before, between and after");
}

/// People who are in two groups count once, and a path that nobody can fill allows nothing.
#[test]
fn paths_are_compared_by_who_can_fill_them() {
    let mut groups = table(&[("approvers", 3), ("admins", 3)]);
    let members = groups.0[&name("approvers")].clone();
    groups.0.insert(name("risk"), members);
    let of = |paths: Vec<custody::policy::Path>| {
        let mut policy = policy_of(NEWEST, &[rule()], 0);
        policy.rules[0].require.approvals = paths;
        policy
    };
    let two = of(vec![path(&[(2, "approvers")])]);
    // The same people under two names.
    assert!(among(&groups, &two, &of(vec![path(&[(1, "approvers"), (1, "risk")])])).is_empty());
    assert!(among(&groups, &two, &of(vec![path(&[(2, "approvers")]), path(&[(3, "risk")])])).is_empty());
    let found = among(&groups, &two, &of(vec![path(&[(2, "approvers")]), path(&[(2, "admins")])]));
    assert_eq!(aspects(&found), (vec![Aspect::Approvers; 2], vec![]));
    let example = found.more[0].request.as_ref().unwrap();
    assert_eq!(
        example.approvers.iter().map(|a| a.person.as_str()).collect::<Vec<_>>(),
        ["admins-0", "admins-1"]
    );
    let none = of(vec![path(&[(4, "approvers")])]);
    assert!(found.less.is_empty() && among(&groups, &none, &none).is_empty());
    let found = among(&groups, &none, &two);
    assert!(
        found.less.is_empty()
            && found.more.iter().all(|one| one.aspect == Aspect::Approvers && !one.undecided)
    );
}

/// Seats, delays and limits of governance.
#[test]
fn governance_is_compared() {
    let old = policy_of(NEWEST, &[rule()], 100);
    let mut new = old.clone();
    let governance = new.governance.get_mut(&Kind::Destination).unwrap();
    governance.approvals = vec![path(&[(2, "admins")]), path(&[(2, "approvers")])];
    governance.delay_s = 99;
    new.exclusive = vec![(name("admins"), name("risk"))];
    new.administrators_max = Some(ADMINISTRATORS_LIMIT - 1);
    let found = compared(&old, &new);
    let more = vec![Aspect::Governance(Kind::Destination), Aspect::GovernanceDelay(Kind::Destination)];
    assert_eq!(aspects(&found), (more.clone(), vec![Aspect::Administrators, Aspect::Exclusive]));
    assert_eq!(found.more[0].example, "a destination document approved by approvers-0, approvers-1");
    // The other way round it is the reverse.
    let back = compared(&new, &old);
    assert_eq!(aspects(&back), (vec![Aspect::Administrators, Aspect::Exclusive], more));
    let mut gone = old.clone();
    gone.governance.remove(&Kind::Rates);
    assert_eq!(aspects(&compared(&gone, &old)), (vec![Aspect::Governance(Kind::Rates)], vec![]));
}

/// So many people of so many sorts that not all sets of them are tried: the same paths are the same still, and all
/// else is undecided, which counts as looser.
#[test]
fn too_many_sorts_of_people_are_undecided() {
    // A sort of `most` people or more, for a path of as many seats, has (most + 1)(most + 2) / 2 sets.
    let sets = |sorts: u32, most: usize| ((most + 1) * (most + 2) / 2).pow(sorts);
    assert!(sets(5, 2) <= APPROVERS_LIMIT && sets(6, 2) > APPROVERS_LIMIT);
    for (sorts, decided) in [(5, true), (6, false)] {
        let names: Vec<String> = (0..sorts).map(|i| format!("g{i}")).collect();
        let groups: Vec<(&str, usize)> = names.iter().map(|group| (group.as_str(), 9)).collect();
        let mut groups = table(&groups);
        groups.0.extend(table(&[("admins", 3)]).0);
        let of = |paths: &[&[(u32, &str)]]| {
            let mut policy = policy_of(NEWEST, &[rule()], 0);
            policy.rules[0].require.approvals = paths.iter().map(|p| path(p)).collect();
            policy.rules[0].when.kinds = Some(vec![custody::policy::RequestKind::Payment]);
            policy
        };
        let pairs: Vec<Vec<(u32, &str)>> = names.iter().map(|group| vec![(2, group.as_str())]).collect();
        let pairs: Vec<&[(u32, &str)]> = pairs.iter().map(Vec::as_slice).collect();
        let (all, fewer) = (of(&pairs), of(&pairs[1..]));
        assert!(among(&groups, &all, &fewer).more.is_empty(), "fewer paths imply all");
        let found = among(&groups, &fewer, &all);
        assert_eq!(found.more.iter().map(|one| one.undecided).collect::<Vec<_>>(), [!decided]);
    }
}

/// Hundreds of rules, each for a client of its own, are compared in moments where few of them differ, and given
/// up honestly where everything does.
#[test]
fn many_rules_do_not_explode() {
    let client = |i: usize, wallets: usize| {
        let mut rule = rule();
        rule.id = name(&format!("rule-{i}"));
        rule.when.clients = Some(vec![name(&format!("client-{i}"))]);
        rule.when.wallets =
            Some((0..wallets).map(|w| name(&format!("wallet-{}", (w * 7 + i) % 400))).collect());
        rule.when.amount_max = Some(Sats(1_000 + i as u64));
        rule
    };
    let rules: Vec<PolicyRule> = (0..400).map(|i| client(i, 3)).collect();
    let in_force = policy_of(NEWEST, &rules, 0);
    let mut draft = in_force.clone();
    draft.rules[17].require.amount_max = Sats(500);
    let found = compared(&in_force, &draft);
    assert_eq!(aspects(&found), (vec![], vec![Aspect::Granted(Why::Limit)]));
    // Every rule changed, and every one of them may meet every other.
    for rule in &mut draft.rules {
        rule.require.fee_max = Sats(1);
        rule.when.wallets = Some((0..64).map(|w| name(&format!("wallet-{w}"))).collect());
    }
    assert_given_up(&compared(&in_force, &draft));
}

/// Once for payments, where it was not for those alone once for cancels, and nothing else of it.
fn assert_given_up(found: &Differences) {
    for side in [&found.more, &found.less] {
        let given_up: Vec<&Difference> =
            side.iter().filter(|one| one.aspect == Aspect::TooIntricate).collect();
        assert!((1..=2).contains(&given_up.len()) && given_up.iter().all(|one| one.undecided));
    }
    let line = "allows more: payments also to addresses that are not in the address book: too intricate to compare: treat it as wider";
    assert!(found.text().lines().any(|one| one == line), "{}", found.text());
}
