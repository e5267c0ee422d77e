//! The authority diff against decisions on any requests.

use custody::decide::{Ask, Facts as _, Rulebook};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Per, Policy};
use custody::rates::Value;
use custody::rule::Rule;
use policy::difference::{Aspect, Difference, Differences, Direction, Ground, Why, difference};
use proptest::prelude::*;

use crate::choices::{ASSETS, Choices, DE_MINIMIS, NOW, Scene};

pub(crate) fn ground(groups: &Scene) -> Ground<'_> {
    let assets = ASSETS.map(str::to_owned).to_vec();
    Ground { groups, assets, de_minimis: Sats(DE_MINIMIS), now: NOW }
}

/// Whether a difference is about a request.
fn about(found: &Difference, ask: &Ask, scene: &Scene) -> bool {
    let amount = ask.charge.subject.amount;
    let small = amount.0 + ask.charge.fee.0 <= ask.de_minimis_left.0;
    let worth = |currency: &Name| -> Option<Value> {
        scene.rate(currency, &ask.charge.subject.asset, ask.time)?.convert(u128::from(amount.0))
    };
    found.region.as_ref().is_some_and(|region| region.covers(&ask.charge.subject, worth, ask.time, small))
}

/// Whether a difference in this speaks of a denial by that rule.
fn speaks(aspect: Aspect, rule: Rule) -> bool {
    match aspect {
        Aspect::Granted(why) => match why {
            Why::Scope => rule == Rule::PolicyScope,
            Why::Limit => rule == Rule::PolicyLimit,
            Why::Value => matches!(rule, Rule::PolicyValue | Rule::PolicyVelocity),
            Why::Velocity => matches!(rule, Rule::PolicyVelocity | Rule::PolicyValue),
            Why::Hours => rule == Rule::PolicyHours,
        },
        Aspect::Approvers | Aspect::Delay | Aspect::Validity => {
            let approvals =
                [Rule::PolicyApprovals, Rule::PolicyIndependent, Rule::PolicyDelay, Rule::TwoPeople];
            approvals.contains(&rule)
        }
        Aspect::Fee => rule == Rule::PolicyFee,
        Aspect::Velocity => matches!(rule, Rule::PolicyVelocity | Rule::PolicyValue),
        Aspect::FeeBudget => rule == Rule::PolicyFeeBudget,
        Aspect::CoolDown => rule == Rule::PolicyCoolDown,
        _ => false,
    }
}

fn check(in_force: &Policy, draft: &Policy, asks: &[(Ask, Scene)]) -> (Differences, u32) {
    let groups = Scene::empty();
    let found = difference(in_force, draft, &ground(&groups));
    let books = [in_force, draft].map(|policy| Rulebook::new(policy.clone()));
    let mut differ = 0;
    for (ask, scene) in asks {
        let [before, after] = [0, 1].map(|i: usize| books[i].decide(ask, scene));
        let (side, denying) = match (before.is_ok(), after.is_ok()) {
            (false, true) => (&found.more, &books[0]),
            (true, false) => (&found.less, &books[1]),
            _ => {
                // What a policy denies to all is denied.
                let denied = |found: &[Difference]| {
                    found.iter().any(|d| matches!(d.aspect, Aspect::Granted(_)) && about(d, ask, scene))
                };
                assert!(!(before.is_ok() && denied(&found.more)), "{ask:?} {}", found.text());
                assert!(!(after.is_ok() && denied(&found.less)), "{ask:?} {}", found.text());
                continue;
            }
        };
        differ += 1;
        let why: Vec<Rule> = denying.explain(ask, scene).into_iter().map(|(_, no)| no.rule).collect();
        let told = |d: &Difference| about(d, ask, scene) && why.iter().any(|rule| speaks(d.aspect, *rule));
        assert!(
            side.iter().any(told),
            "nothing tells of {ask:?}\n{:?} {:?}\n{:?}\nin force {in_force:?}\ndraft {draft:?}\n{}",
            scene.charges,
            scene.rates,
            denying.explain(ask, scene),
            found.text(),
        );
    }
    // Every example shows what it stands for.
    for one in found.more.iter().chain(&found.less) {
        let request = one.request.as_ref().unwrap();
        let [before, after] = [0, 1].map(|i: usize| request.decide(&books[i], &groups).is_ok());
        let shown = if one.direction == Direction::More { !before && after } else { before && !after };
        assert!(shown != one.undecided, "{one:#?}");
    }
    (found, differ)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_two_policies(bytes in proptest::collection::vec(any::<u8>(), 1_500)) {
        let mut choices = Choices(&bytes);
        let in_force = choices.policy();
        let draft = if choices.rarely(3) { choices.policy() } else { choices.like(&in_force) };
        let asks: Vec<_> = (0..20).map(|_| choices.ask()).collect();
        check(&in_force, &draft, &asks);
    }
}

/// The same with bytes that do not change from run to run, and counting: the comparison must have had something
/// to tell, and what is allowed at all is always shown by a request.
#[test]
fn many_pairs_of_policies() {
    let (mut told, mut differ, mut undecided) = (0usize, 0u32, 0usize);
    for seed in 0..600u32 {
        let bytes: Vec<u8> = (0..60u32)
            .flat_map(|i| {
                custody::Hash::of("keyward/policy/test", &[seed.to_be_bytes(), i.to_be_bytes()].concat()).0
            })
            .collect();
        let mut choices = Choices(&bytes);
        let in_force = choices.policy();
        let draft = if choices.rarely(3) { choices.policy() } else { choices.like(&in_force) };
        let asks: Vec<_> = (0..30).map(|_| choices.ask()).collect();
        let (found, by) = check(&in_force, &draft, &asks);
        differ += by;
        let all = || found.more.iter().chain(&found.less);
        told += all().count();
        undecided += all().filter(|one| one.undecided).count();
        // What limits by destination leave of a payment that is split finely enough is not looked at.
        let rules = || in_force.rules.iter().chain(&draft.rules);
        let split =
            rules().flat_map(|rule| &rule.require.velocity).any(|limit| limit.per == Per::Destination);
        let exact = |d: &&Difference| matches!(d.aspect, Aspect::Granted(_) | Aspect::Approvers) && !split;
        let open = all().filter(exact).find(|d| d.undecided);
        assert_eq!(open, None, "seed {seed}, in force {in_force:?}, draft {draft:?}");
        // A policy is never different from itself, in whatever order its rules stand.
        let mut turned = in_force.clone();
        turned.rules.reverse();
        assert!(difference(&in_force, &turned, &ground(&Scene::empty())).is_empty());
    }
    assert!(differ > 100, "{differ} requests were decided otherwise");
    assert!(undecided * 3 < told, "{undecided} of {told} are undecided");
}
