//! The rules of `docs/spec/policy.md` §1 to §5 once more: written from that text alone, as plain and slow as it
//! goes. It shares only the types of documents with the crate, and goes over every rule and every requirement
//! whatever the others say: no index, every assignment of people to seats is tried, windows are lists that are
//! added up.

use std::collections::{BTreeMap, BTreeSet};

use custody::charge::{Charge, Subject};
use custody::decide::{Ask, Given};
use custody::document::DestinationKind;
use custody::name::Name;
use custody::policy::{Path, Per, Policy, PolicyRule, RequestKind, Velocity};
use custody::rates::{Rate, Rates};
use custody::rule::Rule;

/// All that one decision is made from.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The policy in force.
    pub(crate) policy: Policy,
    /// The members of each group, sorted.
    pub(crate) groups: BTreeMap<Name, Vec<Name>>,
    /// The documents of rates in force.
    pub(crate) rates: Vec<Rates>,
    /// What was charged, and when.
    pub(crate) history: Vec<(u64, Charge)>,
    /// What leaves under one approval (genesis).
    pub(crate) de_minimis: u64,
    /// The handles of addresses that were paid before they stood in the address book, by their destination.
    pub(crate) unlisted: BTreeMap<Name, Name>,
    /// The request.
    pub(crate) ask: Ask,
}

/// Who refuses (the rule of the policy, or nobody for what looks at the request as a whole), and by which rule.
pub(crate) type Refusals = BTreeSet<(Option<Name>, Rule)>;

/// What an amount is worth.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Worth {
    /// No rate holds.
    Unknown,
    /// More than 2¹²⁸ − 1.
    TooMuch,
    /// So many minor units.
    Minor(u128),
}

/// A charge that a limit looks at, with the rate that converts it.
struct Counted<'a> {
    charge: &'a Charge,
    rate: Option<Rate>,
    requests: u32,
}

/// The handles of the rules that cover the request.
pub(crate) fn covering(world: &World) -> BTreeSet<Name> {
    covering_rules(world).into_iter().map(|rule| rule.id.clone()).collect()
}

/// All that refuses the request. It is allowed if that is nothing.
pub(crate) fn refusals(world: &World) -> Refusals {
    let rules = covering_rules(world);
    let mut out = Refusals::new();
    for rule in &rules {
        let checks = [
            (Rule::PolicyLimit, amount_within(world, rule)),
            (Rule::PolicyValue, value_within(world, rule)),
            (Rule::PolicyFee, fee_within(world, rule)),
            (Rule::PolicyVelocity, rule.require.velocity.iter().all(|limit| velocity(world, rule, limit))),
            (Rule::PolicyFeeBudget, fees_within(world, rule)),
            (Rule::PolicyHours, open(world, rule)),
            (Rule::PolicyCoolDown, cooled(world, rule)),
            (Rule::PolicyApprovals, fills(world, rule, &valid(world, rule), 0, 0)),
            (Rule::PolicyIndependent, independent(world, rule)),
            (Rule::PolicyDelay, stood(world, rule)),
        ];
        let failed = checks.into_iter().filter(|(_, holds)| !holds);
        out.extend(failed.map(|(why, _)| (Some(rule.id.clone()), why)));
    }
    if !granted(world, &rules) {
        out.insert((None, Rule::PolicyScope));
    }
    if !two_people(world, &rules) {
        out.insert((None, Rule::TwoPeople));
    }
    out
}

fn covering_rules(world: &World) -> Vec<&PolicyRule> {
    let subject = &world.ask.charge.subject;
    let worth = worth(u128::from(subject.amount.0), rate_now(world, &subject.asset));
    world.policy.rules.iter().filter(|rule| covers(rule, subject, worth)).collect()
}

// §1: scopes.

fn covers(rule: &PolicyRule, subject: &Subject, worth: Worth) -> bool {
    let when = &rule.when;
    let (network, _) = subject.asset.split_once('/').unwrap();
    let own_kind = if subject.destinations.is_empty() { RequestKind::Cancel } else { RequestKind::Payment };
    let bound = |limit: Option<u128>, holds: fn(u128, u128) -> bool| match (limit, worth) {
        (Some(limit), Worth::Minor(worth)) => holds(worth, limit),
        // Doubt denies: it covers, and `value_within` refuses.
        (None, _) | (_, Worth::Unknown | Worth::TooMuch) => true,
    };
    let destination = |kinds: &Vec<DestinationKind>| {
        subject.destinations.is_empty() || subject.destinations.iter().any(|kind| kinds.contains(kind))
    };
    let client = |clients: &Vec<Name>| subject.client.as_ref().is_none_or(|client| clients.contains(client));
    let each = [
        when.wallets.as_ref().is_none_or(|wallets| wallets.contains(&subject.wallet)),
        when.destinations.as_ref().is_none_or(destination),
        when.amount_min.is_none_or(|least| subject.amount.0 >= least.0),
        when.amount_max.is_none_or(|most| subject.amount.0 <= most.0),
        when.kinds.as_ref().is_none_or(|kinds| kinds.contains(&own_kind)),
        when.networks.as_ref().is_none_or(|networks| networks.iter().any(|one| one == network)),
        when.assets.as_ref().is_none_or(|assets| assets.contains(&subject.asset)),
        when.tiers.as_ref().is_none_or(|tiers| tiers.contains(&subject.tier)),
        when.clients.as_ref().is_none_or(client),
        bound(when.value_min.map(|v| v.0), |worth, least| worth >= least),
        bound(when.value_max.map(|v| v.0), |worth, most| worth <= most),
    ];
    each.into_iter().all(|holds| holds)
}

fn granted(world: &World, rules: &[&PolicyRule]) -> bool {
    let subject = &world.ask.charge.subject;
    let grants = |rule: &&&PolicyRule| rule.when.clients.is_none() || subject.client.is_some();
    let granting: Vec<_> = rules.iter().filter(grants).collect();
    let named = |kind: &DestinationKind| {
        granting.iter().any(|rule| match &rule.when.destinations {
            Some(kinds) => kinds.contains(kind),
            None => *kind != DestinationKind::Unlisted,
        })
    };
    !granting.is_empty() && subject.destinations.iter().all(named)
}

// §1: requirements.

fn pays(world: &World) -> bool {
    !world.ask.charge.subject.destinations.is_empty()
}

fn amount_within(world: &World, rule: &PolicyRule) -> bool {
    world.ask.charge.subject.amount.0 <= rule.require.amount_max.0
}

fn value_within(world: &World, rule: &PolicyRule) -> bool {
    let scoped = rule.when.value_min.is_some() || rule.when.value_max.is_some();
    if !pays(world) || (!scoped && rule.require.value_max.is_none()) {
        return true;
    }
    let subject = &world.ask.charge.subject;
    match worth(u128::from(subject.amount.0), rate_now(world, &subject.asset)) {
        Worth::Minor(worth) => rule.require.value_max.is_none_or(|most| worth <= most.0),
        Worth::Unknown | Worth::TooMuch => false,
    }
}

fn fee_within(world: &World, rule: &PolicyRule) -> bool {
    let (fee, amount) = (u128::from(world.ask.charge.fee.0), u128::from(world.ask.charge.subject.amount.0));
    let share = amount == 0 || fee * 1_000_000 <= amount * u128::from(rule.require.fee_max_ppm);
    fee <= u128::from(rule.require.fee_max.0) && share
}

fn open(world: &World, rule: &PolicyRule) -> bool {
    let Some(hours) = rule.require.hours.as_ref().filter(|_| pays(world)) else { return true };
    let Some(calendar) = world.policy.calendars.get(hours) else { return false };
    let time = u128::from(world.ask.time);
    let during = |(start, length): &(u64, u64)| {
        u128::from(*start) <= time && time < u128::from(*start) + u128::from(*length)
    };
    let speaks = u128::from(calendar.from) <= time && time < u128::from(calendar.until);
    speaks && calendar.open.iter().any(during)
}

fn cooled(world: &World, rule: &PolicyRule) -> bool {
    let Some(least) = rule.require.cool_down_s.filter(|_| pays(world)) else { return true };
    let ask = &world.ask;
    ask.charge.paid.keys().all(|to| ask.cooled_s.get(to).is_some_and(|seconds| *seconds >= least))
}

// §2: people and seats.

/// The approvals that count now.
fn valid<'a>(world: &'a World, rule: &PolicyRule) -> BTreeMap<&'a Name, Given> {
    let counts = |given: &Given| {
        let last = |valid: u64| i128::from(given.at) >= i128::from(world.ask.time) - i128::from(valid);
        rule.require.approval_valid_s.is_none_or(last)
    };
    world.ask.approvals.iter().filter(|(_, given)| counts(given)).map(|(who, given)| (who, *given)).collect()
}

/// Those of them that have stood for the delay of the rule, which binds payments alone.
fn aged<'a>(world: &'a World, rule: &PolicyRule) -> BTreeMap<&'a Name, Given> {
    let mut people = valid(world, rule);
    if let Some(delay) = rule.require.delay_s.filter(|_| pays(world)) {
        let age = |given: &Given| i128::from(world.ask.delay) - i128::from(given.delay_at);
        people.retain(|_, given| age(given) >= i128::from(delay));
    }
    people
}

fn independent(world: &World, rule: &PolicyRule) -> bool {
    let Some(least) = rule.require.independent else { return true };
    fills(world, rule, &aged(world, rule), 0, least)
}

fn stood(world: &World, rule: &PolicyRule) -> bool {
    let waits = rule.require.delay_s.is_some() && pays(world);
    !waits || fills(world, rule, &aged(world, rule), 0, 0)
}

/// Whether these people can take all the seats of some path of `least` people or more, `independent` of the
/// seats by people who approved on an independent device.
fn fills(
    world: &World,
    rule: &PolicyRule,
    people: &BTreeMap<&Name, Given>,
    least: u32,
    independent: u32,
) -> bool {
    let wide = |path: &&Path| path.iter().map(|seats| seats.count).sum::<u32>() >= least;
    rule.require.approvals.iter().filter(wide).any(|path| {
        let seats: Vec<_> = path.iter().flat_map(|seats| (0..seats.count).map(|_| &seats.group)).collect();
        let own = |taken: &Vec<&Name>| taken.iter().filter(|who| people[*who].independent).count();
        let enough = |taken: &Vec<&Name>| own(taken) >= usize::try_from(independent).unwrap();
        assignments(world, &seats, people, &[]).iter().any(enough)
    })
}

/// Every way in which different people take all the seats.
fn assignments<'a>(
    world: &World,
    seats: &[&Name],
    people: &BTreeMap<&'a Name, Given>,
    taken: &[&'a Name],
) -> Vec<Vec<&'a Name>> {
    let Some((group, rest)) = seats.split_first() else { return vec![taken.to_vec()] };
    let members = world.groups.get(*group).map(Vec::as_slice).unwrap_or_default();
    let may = |who: &&&Name| members.contains(*who) && !taken.contains(*who);
    let next = people.keys().filter(may);
    next.flat_map(|who| assignments(world, rest, people, &[taken, &[*who]].concat())).collect()
}

// §3: charges, windows and values.

fn rate_now(world: &World, asset: &str) -> Option<Rate> {
    let currency = world.policy.currency.as_ref()?;
    let holds = |rates: &&Rates| rates.currency == *currency && world.ask.time <= rates.until;
    world.rates.iter().filter(holds).find_map(|rates| rates.rates.get(asset).copied())
}

/// The rate of a charge's own time, in the currency of the policy.
fn rate_then(world: &World, charge: &Charge) -> Option<Rate> {
    let price = charge.price.as_ref()?;
    (Some(&price.currency) == world.policy.currency.as_ref()).then_some(price.rate)
}

/// ⌈amount × `value` / `per`⌉. Already a product that passes 2¹²⁸ − 1 is too much.
fn worth(amount: u128, rate: Option<Rate>) -> Worth {
    let Some(Rate { value, per }) = rate else { return Worth::Unknown };
    let product = amount.checked_mul(value.0);
    product.map_or(Worth::TooMuch, |product| Worth::Minor(product.div_ceil(per.0)))
}

/// What a limit of the rule in the window (T − `window_s`, T] adds up, the request itself included.
fn counted<'a>(world: &'a World, rule: &PolicyRule, window_s: u64) -> Vec<Counted<'a>> {
    let mut out = Vec::new();
    let (now, window) = (i128::from(world.ask.time), i128::from(window_s));
    for (at, charge) in &world.history {
        let at = i128::from(*at);
        let then = rate_then(world, charge);
        let inside = now - window < at && at <= now;
        let own = world.ask.paid.contains(&charge.lineage);
        let covered = covers(rule, &charge.subject, worth(u128::from(charge.subject.amount.0), then));
        if inside && !own && covered {
            let rate = then.or(rate_now(world, &charge.subject.asset));
            out.push(Counted { charge, rate, requests: charge.count });
        }
    }
    for charge in [&world.ask.charge].into_iter().chain(&world.ask.beside) {
        let rate = rate_now(world, &charge.subject.asset);
        if covers(rule, &charge.subject, worth(u128::from(charge.subject.amount.0), rate)) {
            out.push(Counted { charge, rate, requests: 1 });
        }
    }
    out
}

pub(crate) fn all_of(charge: &Charge) -> u128 {
    u128::from(charge.fee.0) + charge.paid.values().map(|paid| u128::from(paid.0)).sum::<u128>()
}

fn velocity(world: &World, rule: &PolicyRule, limit: &Velocity) -> bool {
    if !pays(world) {
        return true;
    }
    let ask = &world.ask.charge;
    let charges = counted(world, rule, limit.window_s);
    let same = |one: &Charge| match limit.per {
        Per::Asset => one.subject.asset == ask.subject.asset,
        Per::Wallet => one.subject.wallet == ask.subject.wallet,
        Per::Client => one.subject.client.is_some() && one.subject.client == ask.subject.client,
        Per::Initiator => one.initiator == ask.initiator,
        Per::Destination => false,
    };
    let alike =
        || charges.iter().filter(|one| same(one.charge)).map(|one| (one, all_of(one.charge))).collect();
    let paid = |to: &Name| {
        let amount = |one: &Counted<'_>| {
            let other = world.unlisted.get(to).and_then(|other| one.charge.paid.get(other));
            match (one.charge.paid.get(to), other) {
                (None, None) => None,
                (listed, other) => {
                    Some(listed.map_or(0, |p| u128::from(p.0)) + other.map_or(0, |p| u128::from(p.0)))
                }
            }
        };
        charges.iter().filter_map(|one| Some((one, amount(one)?))).collect()
    };
    match limit.per {
        Per::Client if ask.subject.client.is_none() => false,
        Per::Destination => ask.paid.keys().all(|to| within(world, limit, paid(to))),
        Per::Asset | Per::Wallet | Per::Client | Per::Initiator => within(world, limit, alike()),
    }
}

/// Whether these charges, of which so much counts, are within the limit.
fn within(world: &World, limit: &Velocity, charges: Vec<(&Counted<'_>, u128)>) -> bool {
    let amount: u128 = charges.iter().map(|(_, amount)| amount).sum();
    let requests: u128 = charges.iter().map(|(one, _)| u128::from(one.requests)).sum();
    let minor = |(one, amount): &(&Counted<'_>, u128)| match worth(*amount, one.rate) {
        Worth::Minor(worth) => Some(worth),
        Worth::Unknown | Worth::TooMuch => None,
    };
    let worths: Option<Vec<u128>> = charges.iter().map(minor).collect();
    let sum = |worths: Vec<u128>| worths.into_iter().try_fold(0, u128::checked_add);
    let priced = rate_now(world, &world.ask.charge.subject.asset).is_some();
    let value = worths.and_then(sum).filter(|_| priced);
    limit.amount_max.is_none_or(|most| amount <= u128::from(most.0))
        && limit.count_max.is_none_or(|most| requests <= u128::from(most))
        && limit.value_max.is_none_or(|most| value.is_some_and(|value| value <= most.0))
}

fn fees_within(world: &World, rule: &PolicyRule) -> bool {
    let Some(budget) = rule.require.fee_budget.filter(|_| pays(world)) else { return true };
    let charges = counted(world, rule, budget.window_s);
    charges.iter().map(|one| u128::from(one.charge.fee.0)).sum::<u128>() <= u128::from(budget.fee_max.0)
}

// §5: the floor.

/// What was charged in (T − 24 h, T] to lineages that the transaction does not pay.
pub(crate) fn charged_today(history: &[(u64, Charge)], ask: &Ask) -> u128 {
    let today = |at: u64| i128::from(ask.time) - 24 * 3600 < i128::from(at) && at <= ask.time;
    let others = history.iter().filter(|(at, charge)| today(*at) && !ask.paid.contains(&charge.lineage));
    others.map(|(_, charge)| all_of(charge)).sum()
}

fn two_people(world: &World, rules: &[&PolicyRule]) -> bool {
    let ask = &world.ask;
    let requests: u128 = [&ask.charge].into_iter().chain(&ask.beside).map(all_of).sum();
    let small = charged_today(&world.history, ask) + requests <= u128::from(world.de_minimis);
    // What no rule covers, nobody approves by any path.
    let two = !rules.is_empty() && rules.iter().all(|rule| fills(world, rule, &aged(world, rule), 2, 1));
    two || (small && !ask.approvals.is_empty())
}
