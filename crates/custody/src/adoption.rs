//! What a policy must be like before it is adopted: the floors that none goes under, and no rule that
//! nothing can satisfy (DACS OPS-05, OPS-06). Refusals name the rule of the policy and an example.

use std::collections::BTreeSet;

use crate::charge::Subject;
use crate::decide::Rulebook;
use crate::document::{DestinationKind, TABLE, Tier};
use crate::effects::Sats;
use crate::name::Name;
use crate::policy::{Calendar, Path, Policy, PolicyRule, RequestKind, SEATS_LIMIT, Velocity, WINDOW_LIMIT_S};
use crate::quorum::{Groups, people_of, seat, seated};
use crate::rates::Value;
use crate::rule::{Refusal, Rule, ensure};

/// Most rules in a policy. An envelope of the largest size holds some hundred; decisions are made for this
/// many.
pub const RULES_LIMIT: usize = 10_000;

/// Most rules in a policy of rule sets 1 and 2.
pub const RULES_LIMIT_BEFORE: usize = 64;

/// Most alternative paths in one requirement.
pub const PATHS_LIMIT: usize = 16;

/// Most names in one list of a scope: what grows faster wants rules of its own.
pub const SCOPE_LIMIT: usize = 64;

/// Most velocity limits in one rule.
pub const VELOCITY_LIMIT: usize = 16;

/// Longest delay of a document, in seconds (30 days): longer ones hide a mistake for too long.
pub const DELAY_LIMIT_S: u64 = 30 * 24 * 3600;

/// Longest delay of a payment and longest cool-down, in seconds (30 days): requests end after 90.
pub const PAYMENT_DELAY_LIMIT_S: u64 = 30 * 24 * 3600;

/// Most calendars in a policy.
pub const CALENDARS_LIMIT: usize = 8;

/// Most open times of a calendar: five a week over two years, twice.
pub const INTERVALS_LIMIT: usize = 1_100;

/// Longest time that a calendar speaks of, in seconds (732 days, two years with a leap day and one to
/// spare): nobody knows holidays and time zones further ahead.
pub const CALENDAR_SPAN_LIMIT_S: u64 = 732 * 24 * 3600;

/// Most people who may fill a seat of governance, whatever a policy says (DACS OPS-05).
pub const ADMINISTRATORS_LIMIT: u32 = 64;

/// Most pairs of groups that exclude each other.
pub const EXCLUSIVE_LIMIT: usize = 64;

/// The group of those who write the software: its members are in no group that decides anything here.
pub const DEVELOPERS: &str = "developers";

/// Most looks at a rule, and open times compared, in search of requests that the rules of a policy let pass: what
/// needs more is too intricate for people too. A second of work at most, for everybody may propose.
pub const LOOKS_LIMIT: usize = 1_000_000;

/// What a policy is adopted for.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "groups are a lookup, there is nothing to print")]
pub struct Ground<'a> {
    /// The groups as they are, or would be.
    pub groups: &'a dyn Groups,
    /// What leaves under one approval (genesis).
    pub de_minimis: Sats,
    /// The shortest delay of a document, in seconds.
    pub delay_floor_s: u64,
    /// The rule set.
    pub rule_set: u32,
    /// The asset of the deployment (CAIP-19), which names its network.
    pub asset: &'a str,
    /// The time at which it is adopted.
    pub now: u64,
}

fn floor(holds: bool, why: impl FnOnce() -> String) -> Result<(), Refusal> {
    ensure(holds, Rule::Floor, why)
}

impl Policy {
    /// Checks a policy before it is adopted: it governs every kind that the rule set has, no rule goes
    /// under a floor, and each can be satisfied.
    ///
    /// # Errors
    /// The floor that it goes under, naming the rule of the policy.
    pub fn check(&self, ground: &Ground<'_>) -> Result<(), Refusal> {
        let count = self.rules.len();
        let most = if ground.rule_set < 3 { RULES_LIMIT_BEFORE } else { RULES_LIMIT };
        floor((1..=most).contains(&count), || format!("a policy has 1 to {most} rules, not {count}"))?;
        let ids: BTreeSet<_> = self.rules.iter().map(|r| &r.id).collect();
        floor(ids.len() == count, || "two rules have the same id: rename one".into())?;
        for rule in &self.rules {
            self.check_scope(rule, ground)?;
            self.check_requirements(rule)?;
        }
        for (id, calendar) in &self.calendars {
            check_calendar(id, calendar, ground.now)?;
        }
        floor(self.calendars.len() <= CALENDARS_LIMIT, || {
            format!("a policy has at most {CALENDARS_LIMIT} calendars")
        })?;
        for row in TABLE.iter().filter(|row| row.since <= ground.rule_set) {
            let what = format!("governance of {}", row.kind.word());
            let governance = self.governance.get(&row.kind);
            let governance =
                governance.ok_or_else(|| Refusal::new(Rule::Floor, format!("{what} is missing")))?;
            let least = if row.delayed { ground.delay_floor_s } else { 0 };
            let most = if row.delayed { DELAY_LIMIT_S } else { 0 };
            floor((least..=most).contains(&governance.delay_s), || {
                format!("{what}: a delay of {} s is not between {least} and {most}", governance.delay_s)
            })?;
        }
        self.check_groups(ground)?;
        if ground.rule_set < 3 { Ok(()) } else { self.check_reachable(ground) }
    }

    /// Checks what of a policy depends on who is in which group: every path can be filled, roles exclude each
    /// other, few govern. That is all that another version of a group can change.
    ///
    /// # Errors
    /// The floor that it goes under.
    pub fn check_groups(&self, ground: &Ground<'_>) -> Result<(), Refusal> {
        for rule in &self.rules {
            let least = if rule.when.amount_max.is_some_and(|max| max <= ground.de_minimis) { 1 } else { 2 };
            check_paths(&format!("rule {}", rule.id), &rule.require.approvals, ground.groups, least, false)?;
            check_independent(rule, ground.groups)?;
        }
        for (kind, governance) in &self.governance {
            let what = format!("governance of {}", kind.word());
            check_paths(&what, &governance.approvals, ground.groups, 2, true)?;
        }
        if ground.rule_set < 3 { Ok(()) } else { self.check_roles(ground) }
    }

    fn check_scope(&self, rule: &PolicyRule, ground: &Ground<'_>) -> Result<(), Refusal> {
        let (id, when) = (&rule.id, &rule.when);
        let apart = |min: Option<u128>, max: Option<u128>| min.zip(max).is_some_and(|(min, max)| min > max);
        let sats = |amount: Option<Sats>| amount.map(|amount| u128::from(amount.0));
        floor(!apart(sats(when.amount_min), sats(when.amount_max)), || {
            format!("rule {id} covers no amount: amount_min is over amount_max")
        })?;
        floor(!apart(when.value_min.map(|v| v.0), when.value_max.map(|v| v.0)), || {
            format!("rule {id} covers no value: value_min is over value_max")
        })?;
        let lists = [
            ("wallet", when.wallets.as_ref().map(Vec::len)),
            ("destination", when.destinations.as_ref().map(Vec::len)),
            ("kind of request", when.kinds.as_ref().map(Vec::len)),
            ("network", when.networks.as_ref().map(Vec::len)),
            ("asset", when.assets.as_ref().map(Vec::len)),
            ("tier", when.tiers.as_ref().map(Vec::len)),
            ("client", when.clients.as_ref().map(Vec::len)),
        ];
        for (what, length) in lists {
            floor(length != Some(0), || {
                format!("rule {id} covers no {what}: name one, or leave the list out")
            })?;
            let few = length.is_none_or(|n| n <= SCOPE_LIMIT || ground.rule_set < 3);
            floor(few, || format!("rule {id} names over {SCOPE_LIMIT} of one {what}: make more rules"))?;
        }
        let asset = ground.asset;
        let network = asset.split('/').next().unwrap_or_default();
        floor(when.networks.as_ref().is_none_or(|list| list.iter().any(|n| n == network)), || {
            format!("rule {id} covers nothing: the network of this deployment is {network}")
        })?;
        floor(when.assets.as_ref().is_none_or(|list| list.iter().any(|a| a == asset)), || {
            format!("rule {id} covers nothing: the asset of this deployment is {asset}")
        })
    }

    fn check_requirements(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let (id, need) = (&rule.id, &rule.require);
        let least = rule.when.amount_min.unwrap_or_default();
        let values =
            need.value_max.is_some() || rule.when.value_min.is_some() || rule.when.value_max.is_some();
        let values = values || need.velocity.iter().any(|limit| limit.value_max.is_some());
        let worth = rule.when.value_min.unwrap_or_default();
        let some = |max: Option<Value>| max.is_none_or(|max| max >= worth && max > Value(0));
        let passes = some(need.value_max) && need.velocity.iter().all(|limit| some(limit.value_max));
        floor(passes, || format!("rule {id}: a limit in values lets no request worth {worth} pass"))?;
        floor(!values || self.currency.is_some(), || {
            format!("rule {id} has values, and the policy names no currency: name one, for example \"chf\"")
        })?;
        floor(need.velocity.len() <= VELOCITY_LIMIT, || {
            format!("rule {id} has over {VELOCITY_LIMIT} velocity limits")
        })?;
        for limit in &need.velocity {
            check_velocity(id, limit, least)?;
        }
        let window = need.fee_budget.is_none_or(|budget| (1..=WINDOW_LIMIT_S).contains(&budget.window_s));
        floor(window, || format!("rule {id}: the window of a fee budget is 1 to {WINDOW_LIMIT_S} s"))?;
        floor(need.fee_budget.is_none_or(|budget| budget.fee_max > Sats(0)), || {
            format!("rule {id}: a fee budget of zero lets nothing pass")
        })?;
        let hours = need.hours.as_ref();
        floor(hours.is_none_or(|hours| self.calendars.contains_key(hours)), || {
            format!("rule {id} names a calendar that the policy does not have: add [calendars.…]")
        })?;
        let delay = need.delay_s.unwrap_or(0);
        floor(
            delay <= PAYMENT_DELAY_LIMIT_S && need.cool_down_s.unwrap_or(0) <= PAYMENT_DELAY_LIMIT_S,
            || format!("rule {id}: a delay or cool-down is at most {PAYMENT_DELAY_LIMIT_S} s"),
        )?;
        floor(need.approval_valid_s.is_none_or(|valid| valid > delay), || {
            format!("rule {id}: approvals end before they have stood for the delay of {delay} s")
        })?;
        let most = need.approvals.iter().map(people_of).max().unwrap_or(0);
        floor(need.independent.is_none_or(|n| (1..=most).contains(&n)), || {
            format!(
                "rule {id} asks for other than 1 to {most} independent approvals, the people of its paths"
            )
        })
    }

    /// People in roles that exclude each other, and too many who govern.
    fn check_roles(&self, ground: &Ground<'_>) -> Result<(), Refusal> {
        let members = |group: &Name| -> BTreeSet<&Name> {
            ground.groups.members(group).unwrap_or_default().iter().collect()
        };
        // Who takes somebody's place for a time is in the role meanwhile.
        let in_role = |group: &Name| -> BTreeSet<Name> {
            members(group).into_iter().cloned().chain(ground.groups.stand_ins(group)).collect()
        };
        floor(self.exclusive.len() <= EXCLUSIVE_LIMIT, || {
            format!("a policy has at most {EXCLUSIVE_LIMIT} pairs of groups that exclude each other")
        })?;
        let paths = |paths: &Vec<Path>| paths.iter().flatten().map(|s| s.group.clone()).collect::<Vec<_>>();
        let govern: BTreeSet<Name> = self.governance.values().flat_map(|g| paths(&g.approvals)).collect();
        let approve = self.rules.iter().flat_map(|rule| paths(&rule.require.approvals));
        let production: BTreeSet<Name> = govern.iter().cloned().chain(approve).collect();
        let developers = Name::new(DEVELOPERS).into_iter();
        let never =
            developers.flat_map(|dev| production.iter().map(move |group| (dev.clone(), group.clone())));
        for (one, other) in self.exclusive.iter().cloned().chain(never) {
            floor(one != other || one.as_str() == DEVELOPERS, || {
                format!("group {one} cannot exclude itself")
            })?;
            let both = in_role(&one).intersection(&in_role(&other)).next().map(|person| person.to_string());
            floor(both.is_none(), || {
                let person = both.as_deref().unwrap_or_default();
                format!(
                    "{person} is in {one} and in {other}, which exclude each other: take {person} out of one"
                )
            })?;
        }
        let administrators: BTreeSet<_> = govern.iter().flat_map(members).collect();
        let most = self.administrators_max.unwrap_or(ADMINISTRATORS_LIMIT).min(ADMINISTRATORS_LIMIT);
        let count = administrators.len();
        floor(u32::try_from(count).is_ok_and(|count| count <= most), || {
            format!("{count} people could govern, the limit is {most}: make the groups of governance smaller")
        })
    }

    /// Each rule must let something pass: a request that it covers and that every rule which covers it too
    /// can be satisfied for. Who approves, and what left before, is not looked at.
    fn check_reachable(&self, ground: &Ground<'_>) -> Result<(), Refusal> {
        let book = Rulebook::new(self.clone());
        let marks = Landmarks::of(self);
        let mut looks = 0usize;
        for rule in &self.rules {
            let mut example = None;
            let mut passes = false;
            for subject in marks.subjects(rule, ground.asset) {
                let obstacle = book.obstacle(rule, &subject, ground.now, &mut looks);
                floor(looks <= LOOKS_LIMIT, || {
                    format!(
                        "rule {}: the scopes are too intricate to say whether it lets anything pass",
                        rule.id
                    )
                })?;
                match obstacle {
                    None => {
                        passes = true;
                        break;
                    }
                    Some(why) => example = example.or(Some((subject, why))),
                }
            }
            floor(passes, || {
                let example = example.map_or_else(String::new, |(subject, why)| {
                    format!("; for example {} from wallet {}: {why}", subject.amount, subject.wallet)
                });
                format!("rule {} lets nothing pass{example}", rule.id)
            })?;
        }
        Ok(())
    }
}

/// The kinds of destination that a rule grants which names none.
const LISTED: &[DestinationKind] = &[
    DestinationKind::Own,
    DestinationKind::Client,
    DestinationKind::Counterparty,
    DestinationKind::Contract,
];

/// What the rules of a policy tell requests apart by.
struct Landmarks {
    /// A wallet that no rule names, as most requests of a sound policy have one, then those that are named.
    wallets: Vec<Name>,
    /// The same of clients.
    clients: Vec<Name>,
    /// The amounts from which on some rule covers or denies, in order.
    amounts: Vec<u64>,
}

impl Landmarks {
    fn of(policy: &Policy) -> Self {
        let all = |list: fn(&PolicyRule) -> Option<&Vec<Name>>| {
            let named: BTreeSet<Name> = policy.rules.iter().filter_map(list).flatten().cloned().collect();
            let free = (0u32..).filter_map(|i| Name::new(&format!("any-{i}"))).find(|n| !named.contains(n));
            free.into_iter().chain(named.iter().cloned()).collect()
        };
        let amounts = policy.rules.iter().flat_map(|rule| {
            let above = [rule.when.amount_max, Some(rule.require.amount_max)];
            let above = above.into_iter().flatten().map(|max| max.0.saturating_add(1));
            above.chain(rule.when.amount_min.map(|min| min.0))
        });
        Self {
            wallets: all(|rule| rule.when.wallets.as_ref()),
            clients: all(|rule| rule.when.clients.as_ref()),
            amounts: amounts.collect::<BTreeSet<_>>().into_iter().collect(),
        }
    }

    /// Requests that stand for all that a rule covers, as far as other rules tell them apart.
    fn subjects<'a>(&'a self, rule: &'a PolicyRule, asset: &'a str) -> impl Iterator<Item = Subject> + 'a {
        let when = &rule.when;
        let wallets = when.wallets.as_ref().unwrap_or(&self.wallets);
        let clients = when.clients.as_ref().unwrap_or(&self.clients);
        let kinds = when.kinds.as_deref().unwrap_or(&[RequestKind::Payment]);
        let tiers = when.tiers.as_deref().unwrap_or(Tier::ALL);
        let destinations = when.destinations.as_deref().unwrap_or(LISTED);
        let least = when.amount_min.unwrap_or_default().0.max(1);
        let most = when.amount_max.unwrap_or(Sats::MAX).0;
        let from = self.amounts.partition_point(|amount| *amount <= least);
        let to = self.amounts.partition_point(|amount| *amount <= most);
        let above = self.amounts.get(from..to).unwrap_or_default();
        let own = [kinds.len(), tiers.len(), destinations.len(), clients.len(), wallets.len()];
        let amounts = above.len().saturating_add(1);
        let all = own.iter().fold(amounts, |all, length| all.saturating_mul(*length));
        (0..all).map_while(move |mut n| {
            let kind = *pick(&mut n, kinds)?;
            let pays = kind == RequestKind::Payment;
            let (tier, to) = (*pick(&mut n, tiers)?, *pick(&mut n, destinations)?);
            let (client, wallet) = (pick(&mut n, clients)?.clone(), pick(&mut n, wallets)?.clone());
            let amount = n.checked_sub(1).map_or(Some(least), |n| above.get(n).copied())?;
            Some(Subject {
                kind,
                asset: asset.to_owned(),
                tier,
                destinations: pays.then_some(to).into_iter().collect(),
                client: Some(client),
                wallet,
                amount: Sats(if pays { amount } else { 0 }),
            })
        })
    }
}

/// One of a list by the last digit of a number in the base of its length, which is taken off.
fn pick<'a, T>(n: &mut usize, list: &'a [T]) -> Option<&'a T> {
    let digit = n.checked_rem(list.len())?;
    *n = n.checked_div(list.len())?;
    list.get(digit)
}

impl Rulebook {
    /// What of the policy alone keeps such a request of a rule from ever passing.
    fn obstacle(&self, own: &PolicyRule, subject: &Subject, now: u64, looks: &mut usize) -> Option<String> {
        if !own.when.covers(subject, None) {
            return Some("its scope covers no such request".into());
        }
        let rules = self.candidates(subject);
        *looks = looks.saturating_add(rules.len());
        // What depends on a rate may cover or not.
        let covers = |r: &&&PolicyRule| {
            let fixed = r.when.value_min.is_none() && r.when.value_max.is_none();
            (fixed || r.id == own.id) && r.when.covers(subject, None)
        };
        let mut hours: BTreeSet<&Name> = BTreeSet::new();
        for rule in rules.iter().filter(covers) {
            let velocity = rule.require.velocity.iter().filter_map(|limit| limit.amount_max);
            let most = velocity.chain([rule.require.amount_max]).min().unwrap_or_default();
            if subject.amount > most {
                return Some(format!("rule {} lets at most {most} pass", rule.id));
            }
            let unlisted = subject.destinations.contains(&DestinationKind::Unlisted);
            if unlisted && rule.require.cool_down_s.is_some_and(|s| s > 0) {
                return Some(format!(
                    "rule {} lets destinations cool down, and an unlisted one never does",
                    rule.id
                ));
            }
            hours.extend(rule.require.hours.as_ref().filter(|_| subject.kind == RequestKind::Payment));
        }
        let mut calendars = hours.iter().filter_map(|id| self.policy().calendars.get(*id));
        let mut open = open_from(calendars.next()?, now);
        *looks = looks.saturating_add(open.len());
        for calendar in calendars {
            *looks = looks.saturating_add(open.len()).saturating_add(calendar.open.len());
            open = meet(&open, &open_from(calendar, now));
        }
        open.is_empty().then(|| {
            let hours: Vec<_> = hours.iter().map(|id| id.as_str()).collect();
            format!("calendar {} is never open, or never beside the others", hours.join(" and "))
        })
    }
}

/// The open times that are not over, as first second and the one after the last.
fn open_from(calendar: &Calendar, now: u64) -> Vec<(u64, u64)> {
    let span = |(start, length): &(u64, u64)| (*start, start.saturating_add(*length));
    calendar.open.iter().map(span).filter(|(_, end)| *end > now).collect()
}

/// What two ordered lists of times have in common.
fn meet(one: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut both = Vec::new();
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    while let (Some((a, b)), Some((c, d))) = (one.peek().copied(), other.peek().copied()) {
        let (start, end) = ((*a).max(*c), (*b).min(*d));
        if start < end {
            both.push((start, end));
        }
        if b <= d {
            one.next()
        } else {
            other.next()
        };
    }
    both
}

fn check_velocity(id: &Name, limit: &Velocity, least: Sats) -> Result<(), Refusal> {
    let per = limit.per.word();
    floor((1..=WINDOW_LIMIT_S).contains(&limit.window_s), || {
        format!("rule {id}: the window of a velocity limit is 1 to {WINDOW_LIMIT_S} s")
    })?;
    let some = limit.amount_max.is_some() || limit.value_max.is_some() || limit.count_max.is_some();
    floor(some, || format!("rule {id}: the velocity limit per {per} limits nothing: name a maximum"))?;
    floor(
        limit.amount_max.is_none_or(|max| max >= least && max > Sats(0)) && limit.count_max != Some(0),
        || format!("rule {id}: the velocity limit per {per} lets no request of {least} pass"),
    )
}

fn check_calendar(id: &Name, calendar: &Calendar, now: u64) -> Result<(), Refusal> {
    let holds = |holds: bool, why: &str| floor(holds, || format!("calendar {id}: {why}"));
    let span = calendar.until.saturating_sub(calendar.from);
    holds(
        calendar.zone.is_ascii() && calendar.zone.len() <= 64,
        "name the time zone in ASCII, at most 64 bytes",
    )?;
    holds((1..=CALENDAR_SPAN_LIMIT_S).contains(&span), "it speaks of more than 0 and at most 732 days")?;
    holds((1..=INTERVALS_LIMIT).contains(&calendar.open.len()), "it has 1 to 1,100 open times")?;
    let mut end = calendar.from;
    for (i, (start, length)) in calendar.open.iter().enumerate() {
        let apart = if i == 0 { *start >= end } else { *start > end };
        holds(apart && *length > 0, "open times are in order and apart from each other")?;
        end = start.saturating_add(*length);
    }
    holds(end <= calendar.until, "an open time is after its end")?;
    holds(end > now, "it is over: expand a later one")
}

/// Checks that paths can be filled; of governance by people with independent devices, for no others approve
/// documents (DACS OPS-13).
fn check_paths(
    what: &str,
    paths: &[Path],
    groups: &dyn Groups,
    least: u32,
    governs: bool,
) -> Result<(), Refusal> {
    floor((1..=PATHS_LIMIT).contains(&paths.len()), || {
        format!("{what}: name 1 to {PATHS_LIMIT} approval paths")
    })?;
    for path in paths {
        let people = people_of(path);
        floor((least..=SEATS_LIMIT).contains(&people), || {
            let alone = "what one person approves stays in a rule whose amount_max is at most de minimis";
            let hint = if people == 1 { format!("; {alone}") } else { String::new() };
            format!("{what}: a path of {people} people is not between {least} and {SEATS_LIMIT}{hint}")
        })?;
        for seats in path {
            floor(seats.count > 0, || format!("{what}: a seat for nobody of {}", seats.group))?;
            floor(groups.members(&seats.group).is_some(), || {
                format!("{what}: there is no group {}", seats.group)
            })?;
        }
        let enough = seat(path, &enough_people(path, groups, governs), &Standing(groups));
        let who = if governs { "people with independent devices" } else { "people" };
        floor(enough, || format!("{what}: its groups have too few {who} for a path"))?;
    }
    Ok(())
}

/// People who fill as many seats of a path as all members of its groups would: a path has no more seats than these
/// are of each group (Hall 1935).
fn enough_people(path: &Path, groups: &dyn Groups, independent: bool) -> BTreeSet<Name> {
    let some = |group: &Name| {
        let members = groups.members(group).unwrap_or_default().iter();
        members.filter(|person| !independent || groups.has_own_display(person)).zip(0..SEATS_LIMIT)
    };
    path.iter().flat_map(|seats| some(&seats.group)).map(|(person, _)| person.clone()).collect()
}

/// Checks that the independent approvals that a rule asks for can be given: one above *de minimis* in any case.
fn check_independent(rule: &PolicyRule, groups: &dyn Groups) -> Result<(), Refusal> {
    let can = |path: &Path| {
        let need = rule.require.independent.unwrap_or(0).max(u32::from(people_of(path) >= 2));
        seated(path, &enough_people(path, groups, true), &Standing(groups)) >= need
    };
    floor(rule.require.approvals.iter().any(can), || {
        format!("rule {}: its groups have too few people with independent devices", rule.id)
    })
}

/// Groups as their documents name them, whoever is away today.
#[expect(missing_debug_implementations, reason = "groups are a lookup, there is nothing to print")]
pub struct Standing<'a>(pub &'a dyn Groups);

impl Groups for Standing<'_> {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.0.members(group)
    }
}
