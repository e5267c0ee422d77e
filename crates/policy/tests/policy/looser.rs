//! What became looser rule by rule, and drafts that are made to be too much to compare.

use std::collections::BTreeMap;

use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Calendar, Path, Per, Policy, PolicyRule, RequestKind, Velocity};
use custody::quorum::Groups;
use custody::rates::Value;
use custody::rule_set::NEWEST;
use fixtures::{name, path, policy_of, rule};
use policy::difference::{Aspect, Differences, Ground, PRINTED_LIMIT, difference};

/// Groups `g0`, `g1`, … of people of their own, and `approvers` and `admins`.
struct Table(BTreeMap<Name, Vec<Name>>);

impl Groups for Table {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.0.get(group).map(Vec::as_slice)
    }
}

fn compared(in_force: &Policy, draft: &Policy) -> Differences {
    let numbered = (0..12).map(|i| format!("g{i}"));
    let groups = numbered.chain(["approvers", "admins", "risk"].map(str::to_owned));
    let members = |group: &str| (0..6).map(|i| name(&format!("{group}-{i}"))).collect();
    let groups = Table(groups.map(|group| (name(&group), members(&group))).collect());
    let assets = vec!["net:a/x:1".to_owned()];
    difference(
        in_force,
        draft,
        &Ground { groups: &groups, assets, de_minimis: Sats(0), now: fixtures::START },
    )
}

fn hourly(count: u32) -> Velocity {
    let count_max = Some(count);
    Velocity { per: Per::Wallet, window_s: 3_600, amount_max: None, value_max: None, count_max }
}

fn told(found: &Differences) -> Vec<(&str, &str, &str)> {
    let each = found.looser.iter();
    each.map(|one| (one.parameter, one.before.as_str(), one.after.as_str())).collect()
}

/// More people may approve, and nothing is waited for or counted any more: all of it is told.
#[test]
fn a_wider_path_hides_nothing_else() {
    let mut strict = rule();
    strict.when.kinds = Some(vec![RequestKind::Payment]);
    strict.require.delay_s = Some(3_600);
    strict.require.approval_valid_s = Some(7_200);
    strict.require.velocity = vec![hourly(3)];
    let mut wide = strict.clone();
    wide.require.approvals.push(path(&[(2, "risk")]));
    (wide.require.delay_s, wide.require.approval_valid_s) = (None, None);
    wide.require.velocity.clear();
    let found = compared(&policy_of(NEWEST, &[strict], 0), &policy_of(NEWEST, &[wide], 0));
    let aspects: Vec<Aspect> = found.more.iter().filter(|one| !one.undecided).map(|one| one.aspect).collect();
    assert_eq!(aspects, [Aspect::Approvers, Aspect::Velocity, Aspect::Delay, Aspect::Validity]);
    let expected = [
        ("approvals", "2 of approvers", "2 of approvers, or 2 of risk"),
        ("delay", "3600 s", "none"),
        ("approvals_valid", "7200 s", "none"),
        ("velocity", "3 requests per wallet in 3600 s", "none"),
    ];
    assert_eq!(told(&found), expected);
    let lines = ["looser: rule payments: delay", "  in force    3600 s", "  draft       none"];
    assert!(found.text().contains(&lines.join("\n")), "{}", found.text());
}

/// Of two rules one becomes wider and loses its delay, and the other gains it: the whole waits as long as before, and
/// what was lost is told still.
#[test]
fn a_delay_that_moved_is_told() {
    let of = |wide: bool| {
        let mut first = rule();
        let mut second = PolicyRule { id: name("second"), ..rule() };
        let delayed = if wide { &mut second } else { &mut first };
        delayed.require.delay_s = Some(60);
        if wide {
            first.require.approvals.push(path(&[(2, "risk")]));
        }
        policy_of(NEWEST, &[first, second], 0)
    };
    let found = compared(&of(false), &of(true));
    assert!(told(&found).contains(&("delay", "60 s", "none")), "{:?}", found.looser);
}

/// Scopes, values and hours, which the differences of the whole show as what is granted.
#[test]
fn scopes_values_and_hours_are_told_with_both_values() {
    type Change = fn(&mut Policy);
    let base = || {
        let mut policy = policy_of(NEWEST, &[rule()], 0);
        policy.currency = Some(name("chf"));
        let (from, until) = (fixtures::START, fixtures::START + 10_000);
        let open = vec![(from + 100, 100)];
        policy.calendars.insert(name("day"), Calendar { zone: "Etc/UTC".into(), from, until, open });
        let rule = &mut policy.rules[0];
        rule.require.hours = Some(name("day"));
        rule.require.value_max = Some(Value(1_000_000));
        rule.when.value_max = Some(Value(5_000_000));
        rule.when.wallets = Some(vec![name("main"), name("cold")]);
        policy
    };
    let changes: [(Change, (&str, &str, &str)); 12] = [
        (
            |p| p.rules[0].require.value_max = Some(Value(1_000_001)),
            ("value_max", "10,000.00 CHF", "10,000.01 CHF"),
        ),
        (|p| p.rules[0].require.value_max = None, ("value_max", "10,000.00 CHF", "none")),
        (|p| p.rules[0].when.value_max = Some(Value(1)), ("value_up_to", "50,000.00 CHF", "0.01 CHF")),
        (|p| p.rules[0].when.amount_min = Some(Sats(7)), ("from", "any", "7 sat")),
        (|p| p.rules[0].when.wallets = Some(vec![name("main")]), ("wallets", "cold, main", "main")),
        (|p| p.rules[0].when.kinds = Some(vec![RequestKind::Payment]), ("kinds", "any", "payment")),
        (|p| p.rules[0].when.tiers = Some(vec![Tier::Hot]), ("tiers", "any", "hot")),
        (|p| p.rules[0].when.destinations = Some(vec![DestinationKind::Own]), ("destinations", "any", "own")),
        (|p| p.rules[0].when.assets = Some(vec!["a\nb".into()]), ("assets", "any", "\"a\\U0000000Ab\"")),
        (|p| p.rules[0].require.hours = None, ("hours", "calendar day", "none")),
        (
            |p| p.calendars.get_mut(&name("day")).unwrap().open[0].1 = 101,
            ("hours", "calendar day", "calendar day, open longer"),
        ),
        (|p| p.rules[0].id = name("other"), ("rule", "in force", "none of this handle")),
    ];
    for (i, (change, expected)) in changes.into_iter().enumerate() {
        let mut draft = base();
        change(&mut draft);
        // What is the same under another handle is the same.
        let expected = if i == 11 {
            assert_eq!(told(&compared(&base(), &draft)), []);
            draft.rules[0].require.fee_max_ppm -= 1;
            vec![expected, ("rule", "none of this handle", "in the draft")]
        } else {
            vec![expected]
        };
        assert_eq!(told(&compared(&base(), &draft)), expected);
    }
    // The same words in a currency that is worth less.
    let mut cheap = base();
    cheap.currency = Some(name("jpy"));
    let lost = compared(&base(), &cheap);
    assert_eq!(told(&lost)[0], ("value_up_to", "50,000.00 CHF", "5,000,000 JPY"));
    // A shorter calendar, and a lower maximum, are no looser.
    let mut tight = base();
    tight.rules[0].require.value_max = Some(Value(999_999));
    tight.calendars.get_mut(&name("day")).unwrap().open[0].1 = 99;
    assert_eq!(told(&compared(&base(), &tight)), []);
}

/// As many different paths as fit, of groups that nobody knows all of.
fn paths(seed: u32) -> Vec<Path> {
    let group = |i: u32| format!("g{}", (i * 7 + seed) % 12);
    (0..16).map(|i| path(&[(2, &group(i)), (1, &group(i + seed + 1)), (1, &group(i * 2 + 5))])).collect()
}

/// Rules that all cover the same and differ in everything that costs work: an answer comes, and says that it is none.
#[test]
fn a_draft_that_is_made_to_be_too_much_is_given_up() {
    let hostile = |seed: u32| {
        let one = |i: u32| {
            let mut one = rule();
            one.id = name(&format!("rule-{i}"));
            one.when.amount_min = Some(Sats(1_000 + u64::from(i * 2 + seed) * 10));
            one.when.kinds = Some(vec![RequestKind::Payment]);
            one.require.approvals = paths(i + seed);
            one.require.delay_s = Some(u64::from(i + seed));
            one.require.approval_valid_s = Some(u64::from(i + seed) + 100_000);
            one.require.velocity = (0..16).map(|n| hourly(n + i + seed + 1)).collect();
            one
        };
        let mut policy = policy_of(NEWEST, &(0..100).map(one).collect::<Vec<_>>(), 0);
        for (i, governance) in policy.governance.values_mut().enumerate() {
            governance.approvals = paths(seed + u32::try_from(i).unwrap());
        }
        policy
    };
    let found = compared(&hostile(0), &hostile(1));
    let given_up = |side: &[policy::difference::Difference]| {
        side.iter().filter(|one| one.aspect == Aspect::TooIntricate && one.undecided).count()
    };
    assert_eq!((given_up(&found.more), given_up(&found.less)), (1, 1));
    let line = "allows more: payments also to addresses that are not in the address book: too intricate to compare: treat it as wider";
    assert!(found.text().lines().any(|one| one == line));
}

/// A draft that changes much hides nothing behind what a person reads no more: what is wider stands first, and what is
/// left out is counted.
#[test]
fn differences_on_both_sides_of_what_is_printed() {
    // Each rule is for a wallet of its own; the first `loose` of the draft lose their delay, the others gain one.
    let of = |loose: usize, tight: usize, draft: bool| {
        let one = |i: usize| {
            let mut one = PolicyRule { id: name(&format!("rule-{i}")), ..rule() };
            one.when.wallets = Some(vec![name(&format!("wallet-{i}"))]);
            one.when.kinds = Some(vec![RequestKind::Payment]);
            one.require.delay_s = ((i < loose) != draft).then(|| 60 + i as u64);
            one
        };
        policy_of(3, &(0..loose + tight).map(one).collect::<Vec<_>>(), 0)
    };
    let look = |loose, tight| compared(&of(loose, tight, false), &of(loose, tight, true));
    let heads = |text: &str, head: &str| text.lines().filter(|line| line.starts_with(head)).count();
    let counts = |text: &str| ["allows more: ", "looser: ", "allows less: "].map(|head| heads(text, head));
    let whole = |found: &Differences| found.more.len() + found.looser.len() + found.less.len();
    // One loosened rule is two differences, and a stricter one is one.
    let found = look(20, PRINTED_LIMIT - 40);
    assert_eq!((whole(&found), found.more.len(), found.looser.len()), (PRINTED_LIMIT, 20, 20));
    let text = found.text();
    assert_eq!(counts(&text), [20, 20, PRINTED_LIMIT - 40]);
    assert!(!text.contains("more: 1 allow"), "{text}");
    // One more.
    let text = look(20, PRINTED_LIMIT - 39).text();
    assert_eq!(counts(&text), [20, 20, PRINTED_LIMIT - 40]);
    assert!(
        text.ends_with("and 1 more: 1 allow less; --output json has all; reject what is too much to read\n"),
        "{text}"
    );
    // What is wider comes first.
    let text = look(40, 5).text();
    assert_eq!(counts(&text), [40, PRINTED_LIMIT - 40, 0]);
    assert!(text.contains("and 21 more: 16 make a rule looser, 5 allow less; "), "{text}");
}
