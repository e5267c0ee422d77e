//! Policy: scope, approvals, limits, floors, *de minimis*.

use std::collections::{BTreeMap, BTreeSet};

use custody::adoption::{DELAY_LIMIT_S, Ground, PATHS_LIMIT, RULES_LIMIT_BEFORE};
use custody::charge::{Charge, Subject};
use custody::decide::{Ask, Facts, Given, Rulebook};
use custody::document::{Destination, DestinationKind, Document, Kind};
use custody::effects::Sats;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::policy::{DE_MINIMIS_CEILING, Policy, PolicyRule, RequestKind, Require, SEATS_LIMIT, When};
use custody::quorum::Groups;
use custody::rates::Rate;
use custody::rule::Rule;
use custody::rule_set::NEWEST;
use custody::state::Owner;
use custody::{Hash, statement::Body};
use fixtures::{DAY, World, destination, genesis, label, name, path, policy, rule};
use proptest::prelude::*;

use crate::{asked, invalid, refused, rejected};

/// Rule `id` of the ordinary form, with a change.
fn with(id: &str, change: impl FnOnce(&mut PolicyRule)) -> PolicyRule {
    let mut rule = PolicyRule { id: name(id), ..rule() };
    change(&mut rule);
    rule
}

/// A world under these rules, with a request of 400,000 sat by carol and its transaction.
fn under(rules: &[PolicyRule], approvers: &[&str]) -> (World, Hash, fixtures::Draft) {
    let mut world = World::open(Genesis { policy: policy(rules, 0), ..genesis() });
    let coin = world.coin(1_000_000);
    let request = world.asked_as("carol", world.request(&[("acme", 400_000)]), approvers);
    let draft = world.draft(&[request], &[coin], 1_000);
    (world, request, draft)
}

fn pays(rules: &[PolicyRule], approvers: &[&str]) -> Result<Hash, fixtures::Denied> {
    let (mut world, request, draft) = under(rules, approvers);
    world.pay(&[request], &draft)
}

const BOTH: &[&str] = &["alice", "bob"];

// ---- scope

#[test]
fn allow_policy_scope() {
    let covering: [fn(&mut When); 6] = [
        |_| (),
        |w| w.wallets = Some(vec![name("other"), name("main")]),
        |w| w.destinations = Some(vec![DestinationKind::Counterparty]),
        |w| w.amount_min = Some(Sats(400_000)),
        |w| w.amount_max = Some(Sats(400_000)),
        |w| (w.amount_min, w.amount_max) = (Some(Sats(1)), Some(Sats(1_000_000))),
    ];
    for change in covering {
        pays(&[with("only", |r| change(&mut r.when))], BOTH).unwrap();
    }
}

#[test]
fn deny_policy_scope() {
    let not_covering: [fn(&mut When); 4] = [
        |w| w.wallets = Some(vec![name("other")]),
        |w| w.destinations = Some(vec![DestinationKind::Own, DestinationKind::Client]),
        |w| w.amount_min = Some(Sats(400_001)),
        |w| w.amount_max = Some(Sats(399_999)),
    ];
    for change in not_covering {
        invalid(pays(&[with("only", |r| change(&mut r.when))], BOTH), Rule::PolicyScope);
    }
}

/// Every rule that covers a request must be satisfied, in whatever order they stand.
#[test]
fn no_rule_shadows_another() {
    let generous = with("generous", |_| ());
    let strict = with("strict", |r| r.require.amount_max = Sats(399_999));
    for rules in [[generous.clone(), strict.clone()], [strict, generous]] {
        invalid(pays(&rules, BOTH), Rule::PolicyLimit);
    }
}

/// A payment of two kinds evades neither the strict rule of the one nor the want of a rule for the other.
#[test]
fn a_second_kind_of_destination_evades_no_rule() {
    let kinds = |kinds: &[DestinationKind]| Some(kinds.to_vec());
    let own = with("own", |r| r.when.destinations = kinds(&[DestinationKind::Own]));
    let strict = with("strict", |r| {
        r.when.destinations = kinds(&[DestinationKind::Counterparty]);
        r.require.approvals = vec![path(&[(3, "approvers")])];
    });
    let open = with("open", |_| ());
    let pays_both = |rules: &[PolicyRule]| {
        let mut world = World::open(Genesis { policy: policy(rules, 0), ..genesis() });
        let Document::Destination(vault) = destination("vault") else { unreachable!() };
        let vault = Document::Destination(Destination { kind: DestinationKind::Own, ..vault });
        world.adopt_as("dave", vault, &["alice", "bob"]);
        let coin = world.coin(1_000_000);
        let both = world.asked(world.request(&[("acme", 400_000), ("vault", 1_000)]));
        let draft = world.draft(&[both], &[coin], 1_000);
        world.pay(&[both], &draft)
    };
    invalid(pays_both(std::slice::from_ref(&own)), Rule::PolicyScope);
    invalid(pays_both(&[open.clone(), strict.clone()]), Rule::PolicyApprovals);
    invalid(pays_both(&[own.clone(), strict]), Rule::PolicyApprovals);
    pays_both(&[own, open]).unwrap();
}

// ---- approvals

#[test]
fn allow_policy_approvals() {
    pays(&[rule()], BOTH).unwrap();
    pays(
        &[with("or", |r| r.require.approvals = vec![path(&[(3, "approvers")]), path(&[(2, "admins")])])],
        BOTH,
    )
    .unwrap();
}

#[test]
fn deny_policy_approvals() {
    for approvers in [&[][..], &["alice"], &["alice", "alice"], &["alice", "dave"], &["dave"]] {
        invalid(pays(&[rule()], approvers), Rule::PolicyApprovals);
    }
    // Of all its rules, one wants three, and the third person asked.
    let three = with("three", |r| r.require.approvals = vec![path(&[(3, "approvers")])]);
    invalid(pays(&[rule(), three], BOTH), Rule::PolicyApprovals);
}

/// One person in two seats, and one person under two keys.
#[test]
fn a_person_fills_one_seat() {
    let seats = with("seats", |r| r.require.approvals = vec![path(&[(1, "approvers"), (1, "admins")])]);
    invalid(pays(std::slice::from_ref(&seats), &["alice"]), Rule::PolicyApprovals);
    pays(&[seats], BOTH).unwrap();
    let mut genesis = genesis();
    genesis.people[0].keys.push(fixtures::device("alice/2"));
    let mut world = World::open(genesis);
    let coin = world.coin(1_000_000);
    let request = world.asked_as("carol", world.request(&[("acme", 400_000)]), &["alice", "alice/2"]);
    let draft = world.draft(&[request], &[coin], 1_000);
    invalid(world.pay(&[request], &draft), Rule::PolicyApprovals);
    // Nor does she approve with one key what she asked for with the other.
    let own = world.say("alice", Body::Request(world.request(&[("acme", 1_000)]))).unwrap();
    rejected(world.approve("alice/2", own), Rule::Standing);
}

/// An approval for one request is none for another that is equal to it.
#[test]
fn an_approval_is_for_one_request() {
    let (mut world, coin, approved) = asked();
    let other = world.asked_as("carol", world.request(&[("acme", 400_000)]), &[]);
    let draft = world.draft(&[other], &[coin], 1_000);
    invalid(world.pay(&[other], &draft), Rule::PolicyApprovals);
    world.pay(&[approved], &draft).unwrap();
}

/// An approval ends with its statement.
#[test]
fn an_approval_ends() {
    let mut world = World::ready();
    let coin = world.coin(1_000_000);
    let ask = custody::payment::Request { end: world.time + 2 * DAY, ..world.request(&[("acme", 400_000)]) };
    let request = world.asked(ask);
    world.tick(DAY);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.clone().pay(&[request], &draft).unwrap();
    world.tick(1);
    invalid(world.pay(&[request], &draft), Rule::PolicyApprovals);
}

// ---- limits

#[test]
fn allow_policy_limit() {
    pays(&[with("limit", |r| r.require.amount_max = Sats(400_000))], BOTH).unwrap();
}

#[test]
fn deny_policy_limit() {
    invalid(pays(&[with("limit", |r| r.require.amount_max = Sats(399_999))], BOTH), Rule::PolicyLimit);
}

#[test]
fn allow_policy_fee() {
    pays(&[with("fee", |r| r.require.fee_max = Sats(1_000))], BOTH).unwrap();
    pays(&[with("fee", |r| r.require.fee_max_ppm = 2_500)], BOTH).unwrap();
}

#[test]
fn deny_policy_fee() {
    invalid(pays(&[with("fee", |r| r.require.fee_max = Sats(999))], BOTH), Rule::PolicyFee);
    invalid(pays(&[with("fee", |r| r.require.fee_max_ppm = 2_499)], BOTH), Rule::PolicyFee);
}

// ---- two people, de minimis

/// One approver up to 100,000 sat, two above, and a *de minimis* of 100,000 sat.
fn small() -> Genesis {
    let one = with("small", |r| {
        r.when.amount_max = Some(Sats(100_000));
        r.require.approvals = vec![path(&[(1, "approvers")])];
    });
    let two = with("large", |r| r.when.amount_min = Some(Sats(100_001)));
    Genesis { policy: policy(&[one, two], 0), de_minimis: DE_MINIMIS_CEILING, ..genesis() }
}

/// Lets `approvers` pay `amount` with a fee of 1,000 sat out of a coin of its own.
fn pay_small(world: &mut World, amount: u64, approvers: &[&str]) -> Result<Hash, fixtures::Denied> {
    let coin = world.coin(1_000_000);
    let request = world.asked_as("carol", world.request(&[("acme", amount)]), approvers);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft)
}

#[test]
fn allow_floor_two_people() {
    let mut world = World::open(small());
    pay_small(&mut world, 99_000, &["alice"]).unwrap();
    // In a rolling window of a day: what left then counts no more.
    world.tick(DAY);
    pay_small(&mut world, 50_000, &["alice"]).unwrap();
    pay_small(&mut world, 48_000, &["bob"]).unwrap();
    pay_small(&mut world, 400_000, BOTH).unwrap();
}

#[test]
fn deny_floor_two_people() {
    let mut world = World::open(small());
    invalid(pay_small(&mut world.clone(), 99_001, &["alice"]), Rule::TwoPeople);
    pay_small(&mut world, 50_000, &["alice"]).unwrap();
    // Over all people and destinations together.
    invalid(pay_small(&mut world.clone(), 48_001, &["bob"]), Rule::TwoPeople);
    // Somebody who is in no group makes no second person.
    invalid(pay_small(&mut world.clone(), 48_001, &["bob", "dave"]), Rule::TwoPeople);
    world.tick(DAY - 1);
    invalid(pay_small(&mut world.clone(), 48_001, &["bob"]), Rule::TwoPeople);
    world.tick(1);
    pay_small(&mut world, 48_001, &["bob"]).unwrap();
}

/// Small payments do not get past the floor together in one transaction.
#[test]
fn deny_floor_two_people_for_many_small_ones_together() {
    let mut world = World::open(small());
    let coin = world.coin(1_000_000);
    let ask =
        |world: &mut World, amount| world.asked_as("carol", world.request(&[("acme", amount)]), &["alice"]);
    let (one, two, three) = (ask(&mut world, 50_000), ask(&mut world, 49_001), ask(&mut world, 49_000));
    let draft = world.draft(&[one, two], &[coin], 1_000);
    invalid(world.pay(&[one, two], &draft), Rule::TwoPeople);
    let draft = world.draft(&[one, three], &[coin], 1_000);
    let id = world.pay(&[one, three], &draft).unwrap();
    world.state.release(&id, world.time, &world.decoder).unwrap();
    // A bump is charged its increment, and there is nothing left for one.
    let bump = world.draft(&[one, three], &[coin], 1_002);
    invalid(world.pay(&[one, three], &bump), Rule::TwoPeople);
}

/// Who proposed a destination does not alone approve a payment to it: somebody in no group is no company.
#[test]
fn deny_p3_standing_of_the_proposer_of_a_destination() {
    let mut world = World::open(small());
    world.adopt_as("alice", destination("beta"), &["bob", "carol"]);
    let coin = world.coin(1_000_000);
    for (approvers, allowed) in
        [(&["alice"][..], false), (&["alice", "dave"], false), (&["bob"], true), (BOTH, true)]
    {
        let mut world = world.clone();
        let request = world.asked_as("carol", world.request(&[("beta", 50_000)]), approvers);
        let draft = world.draft(&[request], &[coin], 1_000);
        let result = world.pay(&[request], &draft);
        if allowed {
            result.unwrap();
        } else {
            invalid(result, Rule::Standing);
        }
    }
    // Above de minimis she is one of two.
    let request = world.asked(world.request(&[("beta", 400_000)]));
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
}

// ---- floors of adoption

#[test]
fn allow_floor_adoption() {
    let mut world = World::open(small());
    let rules: Vec<_> = (0..RULES_LIMIT_BEFORE).map(|i| with(&format!("rule-{i}"), |_| ())).collect();
    let paths = vec![path(&[(2, "approvers")]); PATHS_LIMIT];
    let alone = with("alone", |r| {
        r.when.amount_max = Some(DE_MINIMIS_CEILING);
        r.require.approvals = vec![path(&[(1, "approvers")])];
    });
    let good = [
        policy(&rules, 0),
        policy(&[rule()], DELAY_LIMIT_S),
        policy(&[with("paths", |r| r.require.approvals = paths)], 0),
        policy(&[alone], 0),
        policy(
            &[with("range", |r| (r.when.amount_min, r.when.amount_max) = (Some(Sats(5)), Some(Sats(5))))],
            0,
        ),
    ];
    for policy in good {
        world.propose("alice", Document::Policy(policy)).unwrap();
    }
}

#[test]
fn deny_floor_adoption() {
    let mut world = World::open(small());
    let rules: Vec<_> = (0..=RULES_LIMIT_BEFORE).map(|i| with(&format!("rule-{i}"), |_| ())).collect();
    let approvals =
        |paths: &[custody::policy::Path]| policy(&[with("r", |r| r.require.approvals = paths.to_vec())], 0);
    let when = |change: fn(&mut When)| policy(&[with("r", |r| change(&mut r.when))], 0);
    let governed = |kind: Kind, change: &dyn Fn(&mut custody::policy::Governance)| {
        let mut policy = policy(&[rule()], 0);
        change(policy.governance.get_mut(&kind).unwrap());
        policy
    };
    let one = path(&[(1, "approvers")]);
    let bad = [
        policy(&[], 0),
        policy(&rules, 0),
        policy(&[rule(), rule()], 0),
        approvals(&[]),
        approvals(&vec![path(&[(2, "approvers")]); PATHS_LIMIT + 1]),
        approvals(&[path(&[])]),
        approvals(std::slice::from_ref(&one)),
        approvals(&[path(&[(2, "approvers")]), one.clone()]),
        approvals(&[path(&[(2, "approvers"), (0, "admins")])]),
        approvals(&[path(&[(2, "nobody")])]),
        approvals(&[path(&[(4, "approvers")])]),
        approvals(&[path(&[(2, "approvers"), (2, "admins")])]),
        approvals(&[path(&[(SEATS_LIMIT + 1, "approvers")])]),
        approvals(&[path(&[(u32::MAX, "approvers"), (2, "approvers")])]),
        policy(
            &[with("r", |r| {
                r.when.amount_max = Some(Sats(DE_MINIMIS_CEILING.0 + 1));
                r.require.approvals = vec![one.clone()];
            })],
            0,
        ),
        when(|w| (w.amount_min, w.amount_max) = (Some(Sats(6)), Some(Sats(5)))),
        when(|w| w.wallets = Some(Vec::new())),
        when(|w| w.destinations = Some(Vec::new())),
        policy(&[rule()], DELAY_LIMIT_S + 1),
        governed(Kind::Resume, &|g| g.delay_s = 1),
        governed(Kind::Revocation, &|g| g.delay_s = 1),
        governed(Kind::Policy, &|g| g.approvals = vec![path(&[(1, "admins")])]),
        governed(Kind::Resume, &|g| g.approvals = vec![path(&[(1, "admins")])]),
        governed(Kind::Destination, &|g| g.approvals = Vec::new()),
    ];
    for policy in bad {
        rejected(world.propose("alice", Document::Policy(policy)), Rule::Floor);
    }
    for row in custody::document::TABLE.iter().filter(|row| row.since == 1) {
        let mut policy = policy(&[rule()], 0);
        policy.governance.remove(&row.kind);
        rejected(world.propose("alice", Document::Policy(policy)), Rule::Floor);
    }
    // Each rule set asks for all of its kinds.
    let mut world = World::open(fixtures::second());
    rejected(world.propose("alice", Document::Policy(policy(&[rule()], 0))), Rule::Floor);
    world.propose("alice", Document::Policy(fixtures::policy_of(2, &[rule()], 0))).unwrap();
    let mut world = World::open(fixtures::newest());
    rejected(world.propose("alice", Document::Policy(fixtures::policy_of(2, &[rule()], 0))), Rule::Floor);
    world.propose("alice", Document::Policy(fixtures::policy_of(NEWEST, &[rule()], 0))).unwrap();
}

/// On networks where coins have a value a delay has a floor of a day.
#[test]
fn deny_floor_adoption_under_the_delay_of_a_main_network() {
    let world = World::ready();
    let mainnet = custody::genesis::delay_floor_s("bip122:000000000019d6689c085ae165831e93");
    assert_eq!(mainnet, DAY);
    let ground = Ground {
        groups: &world.state,
        de_minimis: Sats(0),
        delay_floor_s: mainnet,
        rule_set: 1,
        asset: &world.state.genesis().asset(),
        now: world.time,
    };
    policy(&[rule()], DAY).check(&ground).unwrap();
    refused(policy(&[rule()], DAY - 1).check(&ground), Rule::Floor);
}

/// A label is believed only when it matches the commitment that is in the log.
#[test]
fn a_label_is_believed_only_when_it_matches() {
    let world = World::ready();
    let acme = world.state.destination(&name("acme")).unwrap();
    assert_eq!(acme.label, label("acme").commitment());
    let mut other = label("acme");
    other.text.push('!');
    assert_ne!(acme.label, other.commitment());
}

// ---- properties

struct Table(BTreeMap<Name, Vec<Name>>);

impl Groups for Table {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.0.get(group).map(Vec::as_slice)
    }
}

impl Facts for Table {
    fn charges(&self, _: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        Box::new(std::iter::empty())
    }

    fn rate(&self, _: &Name, _: &str, _: u64) -> Option<Rate> {
        None
    }
}

/// A request of wallet `main` that pays nobody in particular.
fn any_ask(amount: u64, fee: u64, left: u64) -> Ask {
    let subject = Subject {
        kind: RequestKind::Payment,
        asset: "bip122:0f9188f13cb7b2c71f2a335e3a4fc328/slip44:1".into(),
        wallet: name("main"),
        tier: custody::document::Tier::Hot,
        client: None,
        destinations: BTreeSet::new(),
        amount: Sats(amount),
    };
    let charge = Charge {
        subject,
        initiator: Owner::Person(name("zoe")),
        lineage: Hash::default(),
        paid: BTreeMap::new(),
        fee: Sats(fee),
        count: 1,
        price: None,
    };
    Ask {
        charge,
        beside: Vec::new(),
        paid: BTreeSet::new(),
        cooled_s: BTreeMap::new(),
        approvals: BTreeMap::new(),
        time: 0,
        delay: 0,
        de_minimis_left: Sats(left),
    }
}

const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
const GROUPS: [&str; 3] = ["a", "b", "c"];

fn subset(of: &'static [&'static str]) -> impl Strategy<Value = Vec<Name>> {
    proptest::sample::subsequence(of, 0..=of.len()).prop_map(|s| s.into_iter().map(name).collect())
}

/// Its paths, its limit, and the amount from which it covers.
type AnyRule = (Vec<Vec<(u32, &'static str)>>, u64, Option<u64>);

fn any_rule() -> impl Strategy<Value = AnyRule> {
    let seats = (1u32..3, proptest::sample::select(&GROUPS[..]));
    let paths = proptest::collection::vec(proptest::collection::vec(seats, 1..3), 1..3);
    (paths, 50u64..200, proptest::option::of(0u64..150))
}

proptest! {
    /// Removing an approval never turns a denial into an allowance.
    #[test]
    fn fewer_approvals_never_allow_more(
        rules in proptest::collection::vec(any_rule(), 1..4),
        members in proptest::collection::vec(subset(&PEOPLE), 3),
        approvers in subset(&PEOPLE),
        without in 0usize..5,
        amount in 0u64..200,
        left in 0u64..200,
    ) {
        let groups = Table(GROUPS.iter().map(|g| name(g)).zip(members).collect());
        let rules = rules.into_iter().enumerate().map(|(i, (paths, limit, min))| PolicyRule {
            id: name(&format!("r{i}")),
            when: When { amount_min: min.map(Sats), ..When::default() },
            require: Require::plain(paths.iter().map(|p| path(p)).collect(), Sats(limit), Sats(10), 1_000_000),
        });
        let policy = Policy { rules: rules.collect(), ..Policy::default() };
        let ask = any_ask(amount, 1.min(amount), left);
        let all: BTreeSet<Name> = approvers.iter().cloned().collect();
        let mut fewer = all.clone();
        if let Some(gone) = approvers.get(without % approvers.len().max(1)) {
            fewer.remove(gone);
        }
        let given = Given { at: 0, delay_at: 0, independent: true };
        let decide = |policy: &Policy, people: &BTreeSet<Name>| {
            let approvals = people.iter().map(|person| (person.clone(), given)).collect();
            Rulebook::new(policy.clone()).decide(&Ask { approvals, ..ask.clone() }, &groups).is_ok()
        };
        let allowed = |people: &BTreeSet<Name>| decide(&policy, people);
        prop_assert!(allowed(&all) || !allowed(&fewer));
        // And the order of the rules means nothing.
        let mut turned = policy.clone();
        turned.rules.reverse();
        prop_assert_eq!(decide(&turned, &all), allowed(&all));
    }
}

/// The same on whole states: every set of approvers of a small payment against every larger one.
#[test]
fn fewer_approvals_never_allow_more_on_a_whole_state() {
    let mut world = World::open(small());
    world.adopt_as("alice", destination("beta"), &["bob", "carol"]);
    let coin = world.coin(1_000_000);
    for amount in [50_000, 400_000] {
        let people = ["alice", "bob", "dave"];
        let allowed: Vec<bool> = (0..8)
            .map(|set: usize| {
                let mut world = world.clone();
                let approvers: Vec<&str> = (0..3).filter(|i| set >> i & 1 == 1).map(|i| people[i]).collect();
                let request = world.asked_as("carol", world.request(&[("beta", amount)]), &approvers);
                let draft = world.draft(&[request], &[coin], 1_000);
                world.pay(&[request], &draft).is_ok()
            })
            .collect();
        assert!(allowed[3] && !allowed[0]);
        for (small, large) in (0..8).flat_map(|a: usize| (0..8).map(move |b: usize| (a, b))) {
            if small & large == small {
                assert!(allowed[large] || !allowed[small], "{small} {large}");
            }
        }
    }
}
