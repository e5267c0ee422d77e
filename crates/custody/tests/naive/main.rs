//! Every decision is made twice: by the crate, and by an evaluator written from the specification alone.

extern crate custody;
mod evaluator;
mod random;
mod scale;

use std::collections::{BTreeMap, BTreeSet};

use custody::charge::Charge;
use custody::decide::{Facts, Rulebook};
use custody::name::Name;
use custody::quorum::Groups;
use custody::rates::Rate;
use custody::rule::Rule;
use evaluator::{Refusals, World};

/// Seeds of the default run, each of one policy, state and request; `KEYWARD_SEEDS` asks for another number of
/// them, `KEYWARD_SEED` for one.
const SEEDS: u64 = 100_000;

/// Of the triples at least one in so many is allowed, so that the comparison is not empty.
const ALLOWED_ONE_IN: u64 = 20;

/// And one in so many is refused by each rule, alone or not.
const REFUSED_ONE_IN: u64 = 20;

/// And one in so many by each rule and no other, so that it is this rule that decides.
const REFUSED_ALONE_ONE_IN: u64 = 500;

/// The rules that decide on requests.
const RULES: &[Rule] = &[
    Rule::PolicyScope,
    Rule::PolicyApprovals,
    Rule::PolicyLimit,
    Rule::PolicyFee,
    Rule::PolicyValue,
    Rule::PolicyVelocity,
    Rule::PolicyFeeBudget,
    Rule::PolicyHours,
    Rule::PolicyCoolDown,
    Rule::PolicyIndependent,
    Rule::PolicyDelay,
    Rule::TwoPeople,
];

impl Groups for World {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.groups.get(group).map(Vec::as_slice)
    }
}

impl Facts for World {
    fn charges(&self, after: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        Box::new(self.history.iter().filter(move |(at, _)| *at >= after).map(|(_, charge)| charge))
    }

    fn rate(&self, currency: &Name, asset: &str, time: u64) -> Option<Rate> {
        let held = self.rates.iter().filter(|rates| rates.currency == *currency && time <= rates.until);
        held.filter_map(|rates| rates.rates.get(asset)).next().copied()
    }

    fn unlisted_handles(&self, destination: &Name) -> BTreeSet<Name> {
        self.unlisted.get(destination).into_iter().cloned().collect()
    }
}

/// What refuses the request of a world, or how the two differ about it.
fn compare(world: &World) -> Result<Refusals, String> {
    let naive = evaluator::refusals(world);
    let book = Rulebook::new(world.policy.clone());
    let explained = book.explain(&world.ask, world);
    let all: Refusals = explained.iter().map(|(id, refusal)| (id.clone(), refusal.rule)).collect();
    if all != naive {
        return Err(format!("explained as {explained:?}, where the specification refuses by {naive:?}"));
    }
    let covering = evaluator::covering(world);
    match book.decide(&world.ask, world) {
        Ok(by) if !naive.is_empty() => {
            Err(format!("allowed by {by:?}, where the specification refuses by {naive:?}"))
        }
        Ok(by) if by.iter().collect::<BTreeSet<_>>() != covering.iter().collect() => {
            Err(format!("allowed by {by:?}, where {covering:?} cover"))
        }
        Err(no) if naive.iter().all(|(_, rule)| *rule != no.rule) => {
            Err(format!("refused by {no}, where the specification refuses by {naive:?}"))
        }
        Ok(_) | Err(_) => Ok(naive),
    }
}

/// The same world with one thing less, in every way.
fn smaller(world: &World) -> Vec<World> {
    let mut out = Vec::new();
    let mut less = |change: &dyn Fn(&mut World)| {
        let mut one = world.clone();
        change(&mut one);
        random::settle(&one.history, one.de_minimis, &mut one.ask);
        out.push(one);
    };
    for i in 0..world.policy.rules.len() {
        less(&|w| take_out(&mut w.policy.rules, i));
        less(&|w| w.policy.rules[i].when = Default::default());
        macro_rules! without {
            ($($part:ident: $($field:ident)+,)+) => {
                $($(less(&|w| w.policy.rules[i].$part.$field = Default::default());)+)+
            };
        }
        without! {
            when: wallets destinations amount_min amount_max kinds networks assets tiers clients value_min value_max,
            require: value_max velocity fee_budget hours delay_s cool_down_s approval_valid_s independent,
        }
        for v in 0..world.policy.rules[i].require.velocity.len() {
            less(&|w| take_out(&mut w.policy.rules[i].require.velocity, v));
        }
        for p in 0..world.policy.rules[i].require.approvals.len() {
            less(&|w| take_out(&mut w.policy.rules[i].require.approvals, p));
        }
    }
    (0..world.history.len()).for_each(|i| less(&|w| take_out(&mut w.history, i)));
    (0..world.ask.beside.len()).for_each(|i| less(&|w| take_out(&mut w.ask.beside, i)));
    (0..world.rates.len()).for_each(|i| less(&|w| take_out(&mut w.rates, i)));
    world.unlisted.keys().for_each(|to| less(&|w| w.unlisted.retain(|one, _| one != to)));
    world.ask.approvals.keys().for_each(|who| less(&|w| w.ask.approvals.retain(|one, _| one != who)));
    world.groups.keys().for_each(|id| less(&|w| w.groups.retain(|one, _| one != id)));
    world.policy.calendars.keys().for_each(|id| less(&|w| w.policy.calendars.retain(|one, _| one != id)));
    out
}

fn take_out<T>(list: &mut Vec<T>, at: usize) {
    list.remove(at);
}

/// The smallest world found on the way down that still makes the two differ.
fn smallest(mut world: World) -> World {
    while let Some(one) =
        smaller(&world).into_iter().find(|one| size(one) < size(&world) && compare(one).is_err())
    {
        world = one;
    }
    world
}

fn size(world: &World) -> usize {
    format!("{world:?}").len()
}

#[test]
fn the_specification_and_the_code_decide_alike() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let only = number("KEYWARD_SEED");
    let all = 0..number("KEYWARD_SEEDS").unwrap_or(SEEDS);
    let seeds = only.map_or(all, |seed| seed..seed + 1);
    let count = seeds.end - seeds.start;
    let (mut allowed, mut refused, mut alone) = (0, BTreeMap::new(), BTreeMap::new());
    for seed in seeds {
        let world = random::world(seed);
        let naive = compare(&world).unwrap_or_else(|what| {
            let small = smallest(world);
            panic!(
                "{what}\nrepeat with: KEYWARD_SEED={seed} cargo test -p custody --test naive alike\n\
                 smaller: {:?}\n{small:#?}",
                compare(&small)
            )
        });
        let rules: BTreeSet<Rule> = naive.into_iter().map(|(_, rule)| rule).collect();
        allowed += u64::from(rules.is_empty());
        if let Some(rule) = rules.first().filter(|_| rules.len() == 1) {
            *alone.entry(*rule).or_insert(0) += 1;
        }
        rules.into_iter().for_each(|rule| *refused.entry(rule).or_insert(0) += 1);
    }
    println!("{count} triples, {allowed} allowed");
    for rule in RULES {
        let of = |counts: &BTreeMap<Rule, u64>| counts.get(rule).copied().unwrap_or(0);
        println!("{rule}: {} refused, {} by it alone", of(&refused), of(&alone));
        let enough = of(&refused) * REFUSED_ONE_IN >= count && of(&alone) * REFUSED_ALONE_ONE_IN >= count;
        assert!(only.is_some() || enough, "{rule} is hardly looked at");
    }
    assert!(only.is_some() || allowed * ALLOWED_ONE_IN >= count, "hardly anything is allowed");
}
