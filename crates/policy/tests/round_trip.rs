//! A policy that is printed reads back as the same policy.

use std::collections::BTreeMap;

use custody::document::{DestinationKind, Kind, TABLE, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{
    Budget, Calendar, Governance, Path, Per, Policy, PolicyRule, RequestKind, Require, Seats, Velocity, When,
};
use custody::rates::Value;
use policy::print::toml;
use policy::text::parse;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Integers of canonical JSON.
const INTEGERS: std::ops::Range<u64> = 0..1 << 53;

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9-]{1,32}".prop_map(|text| text.parse().unwrap())
}

fn sats() -> impl Strategy<Value = Sats> {
    prop_oneof![0..=Sats::MAX.0, 0..2_000_000u64, (0..=21_000_000u64).prop_map(|n| n * 100_000_000)]
        .prop_map(Sats)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![any::<u128>(), 0..1_000_000u128].prop_map(Value)
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![INTEGERS, (0..1_000u64).prop_map(|n| n * 60), (0..1_000u64).prop_map(|n| n * 86_400)]
}

fn paths() -> impl Strategy<Value = Vec<Path>> {
    let seats = (any::<u32>(), name()).prop_map(|(count, group)| Seats { count, group });
    vec(vec(seats, 0..4), 0..4)
}

fn when() -> impl Strategy<Value = When> {
    let destinations = of(subsequence(DestinationKind::ALL.to_vec(), 0..=4));
    let kinds = of(subsequence(vec![RequestKind::Payment, RequestKind::Cancel], 0..=2));
    let tiers = of(subsequence(Tier::ALL.to_vec(), 0..=2));
    let texts = || of(vec("\\PC{0,12}|[\\x00-\\x7f]{0,6}", 0..3));
    let names = || of(vec(name(), 0..3));
    let first = (names(), destinations, of(sats()), of(sats()), kinds);
    let rest = (texts(), texts(), tiers, names(), of(value()), of(value()));
    (first, rest).prop_map(|((wallets, destinations, amount_min, amount_max, kinds), rest)| {
        let (networks, assets, tiers, clients, value_min, value_max) = rest;
        When {
            wallets,
            destinations,
            amount_min,
            amount_max,
            kinds,
            networks,
            assets,
            tiers,
            clients,
            value_min,
            value_max,
        }
    })
}

fn velocity() -> impl Strategy<Value = Velocity> {
    let per = select(vec![Per::Asset, Per::Wallet, Per::Client, Per::Destination, Per::Initiator]);
    (per, time(), of(sats()), of(value()), of(any::<u32>())).prop_map(
        |(per, window_s, amount_max, value_max, count_max)| Velocity {
            per,
            window_s,
            amount_max,
            value_max,
            count_max,
        },
    )
}

fn require() -> impl Strategy<Value = Require> {
    let budget = (time(), sats()).prop_map(|(window_s, fee_max)| Budget { window_s, fee_max });
    let first = (paths(), sats(), sats(), INTEGERS, of(value()), vec(velocity(), 0..3));
    let rest = (of(budget), of(name()), of(time()), of(time()), of(time()), of(any::<u32>()));
    (first, rest).prop_map(|((approvals, amount_max, fee_max, fee_max_ppm, value_max, velocity), rest)| {
        let (fee_budget, hours, delay_s, cool_down_s, approval_valid_s, independent) = rest;
        Require {
            approvals,
            amount_max,
            fee_max,
            fee_max_ppm,
            value_max,
            velocity,
            fee_budget,
            hours,
            delay_s,
            cool_down_s,
            approval_valid_s,
            independent,
        }
    })
}

fn governance() -> impl Strategy<Value = BTreeMap<Kind, Governance>> {
    let kinds: Vec<Kind> = TABLE.iter().map(|row| row.kind).collect();
    let one = || (paths(), time()).prop_map(|(approvals, delay_s)| Governance { approvals, delay_s });
    let few = select(kinds.clone());
    let some = btree_map(few, one(), 0..5);
    // All of them, most alike, as policies have it.
    let all = (one(), btree_map(select(kinds.clone()), one(), 0..4)).prop_map(move |(default, others)| {
        let mut all: BTreeMap<_, _> = kinds.iter().map(|kind| (*kind, default.clone())).collect();
        for row in TABLE.iter().filter(|row| !row.delayed) {
            all.insert(row.kind, Governance { delay_s: 0, ..default.clone() });
        }
        all.extend(others);
        all
    });
    prop_oneof![some, all]
}

fn calendar() -> impl Strategy<Value = Calendar> {
    let open = vec((INTEGERS, INTEGERS), 0..9);
    ("\\PC{0,12}|[\\x00-\\x7f]{0,6}", INTEGERS, INTEGERS, open)
        .prop_map(|(zone, from, until, open)| Calendar { zone, from, until, open })
}

prop_compose! {
    fn policy()(
        rules in vec((name(), when(), require()), 0..3),
        governance in governance(),
        calendars in btree_map(name(), calendar(), 0..2),
        currency in of(select(vec!["chf", "jpy", "kwd", "gold"])),
        exclusive in vec((name(), name()), 0..3),
        administrators_max in of(any::<u32>()),
    ) -> Policy {
        let rules = rules.into_iter().map(|(id, when, require)| PolicyRule { id, when, require });
        let currency = currency.map(|code| code.parse().unwrap());
        Policy { rules: rules.collect(), governance, calendars, currency, exclusive, administrators_max }
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(policy in policy()) {
        let text = toml(&policy);
        let file = parse(&text);
        let file = file.map_err(|fault| TestCaseError::fail(format!("{fault}\n{text}")))?;
        prop_assert!(file.policy == policy, "{}", text);
        prop_assert_eq!(file.assumed, None);
    }
}

#[test]
fn the_examples_read_back_with_their_calendars() {
    for text in [
        include_str!("../../../examples/policies/small-treasury.toml"),
        include_str!("../../../examples/policies/retail-custodian.toml"),
        include_str!("../../../examples/policies/institutional-bank.toml"),
        include_str!("../../../examples/policies/exchange-hot-wallet.toml"),
        include_str!("../../../examples/policies/cold-storage.toml"),
        include_str!("../../../examples/policies/proprietary-desk.toml"),
    ] {
        let policy = parse(text).unwrap().policy;
        let printed = toml(&policy);
        assert_eq!(parse(&printed).unwrap_or_else(|fault| panic!("{fault}\n{printed}")).policy, policy);
        // What all kinds have stands there once.
        assert!(printed.matches("[governance.").count() <= 3, "{printed}");
    }
}

/// Text of a proposal pretends to be no other line of it, and is not turned round.
#[test]
fn what_anybody_wrote_stays_on_its_line() {
    let mut policy = fixtures::full_policy(0);
    let other = "x\r\n[[rules]]\nid = \"harmless\"\u{202e}";
    policy.rules[1].when.networks = Some(vec![other.into()]);
    policy.calendars.values_mut().for_each(|calendar| calendar.zone = other.into());
    let text = toml(&policy);
    assert_eq!(text.lines().filter(|line| line.starts_with("[[rules]]")).count(), 2, "{text}");
    let plain = |c: char| c == '\n' || (' '..='~').contains(&c) || "–".contains(c);
    assert!(text.chars().all(plain), "{text}");
    assert_eq!(parse(&text).unwrap().policy, policy);
}

/// The zone is a label, so what is open is said beside it, by weekday.
#[test]
fn a_calendar_says_when_it_is_open() {
    let policy = parse(include_str!("../../../examples/policies/retail-custodian.toml")).unwrap().policy;
    let day = "06:00–16:00, 07:00–17:00";
    let week = ["Mon", "Tue", "Wed", "Thu", "Fri"].map(|weekday| format!("{weekday} {day}")).join("; ");
    let line = format!("[calendars.office]\n# open in UTC: {week}\nzone = \"Europe/Zurich\"\n");
    assert!(toml(&policy).contains(&line), "{}", toml(&policy));
}

/// What a person reads is what a person would have written.
#[test]
fn it_prints_as_people_write() {
    let text = "currency = \"chf\"\n\n[[rules]]\nid = \"payments\"\nfrom = \"50001 sat\"\nvalue_up_to = \"250000 chf\"\n\
                approvals = [\"2 of approvers\", \"1 of risk and 1 of ops\"]\ndelay = \"90m\"\namount_max = \"0.5 btc\"\n\
                fee_max = \"50000 sat\"\nfee_max_ppm = 20000\nvelocity = [\n    \
                { per = \"wallet\", window = \"1d\", amount_max = \"2 btc\", count_max = 10 },\n]\n\n\
                [governance.default]\napprovals = [\"2 of admins\"]\ndelay = \"1d\"\n\n\
                [governance.policy]\napprovals = [\"3 of admins\"]\ndelay = \"2d\"\n";
    assert_eq!(toml(&parse(text).unwrap().policy), text);
}

#[test]
fn governance_inherits_what_is_not_written() {
    let head = "[[rules]]\nid = \"p\"\napprovals = [[\"2 of a\"]]\namount_max = \"1 btc\"\nfee_max = \"1 sat\"\n\
                fee_max_ppm = 1\n";
    let text = format!(
        "{head}[governance.default]\napprovals = [\"2 of a\"]\ndelay = \"24h\"\n[governance.policy]\n\
         approvals = [\"3 of a\"]\n[governance.group]\ndelay = \"48h\"\n[governance.resume]\napprovals = [\"4 of a\"]\n"
    );
    let governance = parse(&text).unwrap().policy.governance;
    let of = |kind: Kind| (governance[&kind].approvals[0][0].count, governance[&kind].delay_s);
    assert_eq!(governance.len(), TABLE.len());
    assert_eq!(of(Kind::Person), (2, 86_400));
    assert_eq!(of(Kind::Policy), (3, 86_400));
    assert_eq!(of(Kind::Group), (2, 172_800));
    assert_eq!(of(Kind::Revocation), (2, 0), "what takes a key out of use does not wait");
    assert_eq!(of(Kind::Resume), (4, 0));
    let alone = format!("{head}[governance.resume]\napprovals = [\"2 of a\"]\n");
    assert_eq!(parse(&alone).unwrap().policy.governance.len(), 1, "adoption says what is missing");
}

/// Other ways to write the same.
#[test]
fn what_means_the_same_reads_the_same() {
    let text = |approvals: &str, ppm: &str, destinations: &str| {
        format!(
            "governance = {{ default = {{ approvals = [\"2 of a\"], delay = \"1d\" }} }}\n[[rules]]\nid = \"p\"\n\
             approvals = {approvals}\namount_max = \"1 btc\"\nfee_max = \"1 sat\"\nfee_max_ppm = {ppm}\n\
             destinations = {destinations}\n"
        )
    };
    let one = parse(&text("[\"2 of a\", \"1 of b and 3 of c\"]", "20000", "[\"own\"]")).unwrap();
    let other = parse(&text("[[\"2 of a\"], [\"1 of b\", \"3 of c\"]]", "20_000", "['own']")).unwrap();
    assert_eq!(one, other);
    let seats: Vec<Vec<u32>> = one.policy.rules[0]
        .require
        .approvals
        .iter()
        .map(|path| path.iter().map(|s| s.count).collect())
        .collect();
    assert_eq!(seats, [vec![2], vec![1, 3]]);
}

/// A word that comes to the types must come to the files: these matches do not compile without it.
#[test]
fn every_word_can_be_written() {
    let per = |per: Per| match per {
        Per::Asset | Per::Wallet | Per::Client | Per::Destination | Per::Initiator => per.word(),
    };
    assert!(policy::text::PER.iter().all(|(word, value)| per(*value) == *word));
    assert_eq!(policy::text::PER.len(), 5);
    let kind = |kind: RequestKind| match kind {
        RequestKind::Payment => "payment",
        RequestKind::Cancel => "cancel",
    };
    assert!(policy::text::KINDS.iter().all(|(word, value)| kind(*value) == *word));
    let tiers: Vec<_> = policy::text::TIERS.iter().map(|(word, tier)| (*word, *tier)).collect();
    assert_eq!(tiers, Tier::ALL.iter().map(|tier| (tier.word(), *tier)).collect::<Vec<_>>());
    assert_eq!(policy::text::DESTINATIONS.map(|(_, kind)| kind).as_slice(), DestinationKind::ALL);
    for (word, kind) in policy::text::DESTINATIONS {
        assert_eq!(serde_json::to_value(kind).unwrap(), word);
    }
}
