//! The rules of two policies side by side, equal ones once.

use std::collections::{BTreeMap, BTreeSet};

use custody::canon;
use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Calendar, Policy, PolicyRule, RequestKind, When};

use super::region::{Clients, Names, Ranges, Region, Worths};
use super::{Ground, Why};

/// A rule as it is in one or both policies.
pub(crate) struct Fact<'a> {
    pub(crate) rule: &'a PolicyRule,
    /// Its open times from now on.
    pub(crate) open: Option<Ranges>,
    /// The currency of its values.
    pub(crate) currency: Option<&'a Name>,
    /// How much work its paths are: seats, and one for each.
    pub(crate) seats: usize,
    /// How much work its limits are: the names of its scope for each of them.
    pub(crate) names: usize,
}

impl<'a> Fact<'a> {
    fn new(rule: &'a PolicyRule, open: Option<Ranges>, currency: Option<&'a Name>) -> Self {
        let (when, need) = (&rule.when, &rule.require);
        let lists = [&when.wallets, &when.clients].map(|list| list.as_ref().map_or(0, Vec::len));
        let texts = [&when.networks, &when.assets].map(|list| list.as_ref().map_or(0, Vec::len));
        let listed = lists.into_iter().chain(texts).fold(1, usize::saturating_add);
        let paths = need.approvals.iter().map(|path| path.len().saturating_add(1));
        Self {
            rule,
            open,
            currency,
            seats: paths.fold(1, usize::saturating_add),
            names: listed.saturating_mul(need.velocity.len().saturating_add(1)),
        }
    }
}

/// A rule that covers a cell, as far as it was split.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    pub(crate) rule: usize,
    /// Whether it grants what it covers.
    pub(crate) grants: bool,
    /// Whether it denies all that it covers, whoever approves.
    pub(crate) denies: Option<Why>,
}

/// The rules of both policies, equal ones once, with their handles in each.
pub(crate) struct Catalog<'a> {
    pub(crate) facts: Vec<Fact<'a>>,
    pub(crate) handles: [BTreeMap<usize, Vec<Name>>; 2],
}

/// A part of all requests, and the rules that may cover it in the policy in force and in the draft.
#[derive(Clone)]
pub(crate) struct Cell {
    pub(crate) region: Region,
    pub(crate) rules: [Vec<Entry>; 2],
}

fn has_values(rule: &PolicyRule) -> bool {
    let (when, need) = (&rule.when, &rule.require);
    let limits = need.velocity.iter().any(|limit| limit.value_max.is_some());
    scope_has_values(when) || need.value_max.is_some() || limits
}

pub(crate) fn scope_has_values(when: &When) -> bool {
    when.value_min.is_some() || when.value_max.is_some()
}

/// The open times from `now` on.
pub(crate) fn open_times(calendar: Option<&Calendar>, now: u64) -> Ranges {
    let Some(calendar) = calendar else { return Ranges::default() };
    let starts = calendar.open.iter().skip(1).map(|(start, _)| *start).chain([u64::MAX]);
    let span = |((start, length), next): (&(u64, u64), u64)| {
        let first = (*start).max(calendar.from).max(now);
        let end = start.saturating_add(*length).min(calendar.until).min(next);
        (first < end).then(|| (u128::from(first), u128::from(end.saturating_sub(1))))
    };
    Ranges::from(calendar.open.iter().zip(starts).filter_map(span).collect())
}

/// What makes rules equal: their words but for the calendar, when that is open, and the currency.
type Content<'a> = (Vec<u8>, Option<Vec<(u128, u128)>>, Option<&'a Name>);

impl<'a> Catalog<'a> {
    pub(crate) fn new(policies: [&'a Policy; 2], now: u64) -> Self {
        let mut catalog = Self { facts: Vec::new(), handles: Default::default() };
        let mut known: BTreeMap<Content<'_>, usize> = BTreeMap::new();
        for (policy, handles) in policies.into_iter().zip(&mut catalog.handles) {
            for rule in &policy.rules {
                let hours = rule.require.hours.as_ref();
                let open = hours.map(|hours| open_times(policy.calendars.get(hours), now));
                let currency = policy.currency.as_ref().filter(|_| has_values(rule));
                let mut require = rule.require.clone();
                require.hours = None;
                // What cannot be written canonically is equal to nothing.
                let text =
                    canon::encode(&(&rule.when, &require)).unwrap_or_else(|_| rule.id.to_string().into());
                let key = (text, open.as_ref().map(|open| open.ranges().to_vec()), currency);
                let next = catalog.facts.len();
                let index = *known.entry(key).or_insert(next);
                if index == next {
                    catalog.facts.push(Fact::new(rule, open, currency));
                }
                handles.entry(index).or_default().push(rule.id.clone());
            }
        }
        catalog
    }

    /// The whole of all requests of a kind.
    pub(crate) fn whole(&self, kind: RequestKind, ground: &Ground<'_>) -> Cell {
        let pays = kind == RequestKind::Payment;
        let rules = self.handles.each_ref().map(|handles| {
            let entry = |rule: &usize| {
                let fact = self.facts.get(*rule)?;
                let covers = fact.rule.when.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
                // Values in no currency are never known.
                let worthless = pays && has_values(fact.rule) && fact.currency.is_none();
                let counts_none = fact.rule.require.velocity.iter().any(|limit| limit.count_max == Some(0));
                let denies =
                    worthless.then_some(Why::Value).or((pays && counts_none).then_some(Why::Velocity));
                covers.then_some(Entry { rule: *rule, grants: true, denies })
            };
            handles.keys().filter_map(entry).collect()
        });
        let destinations = DestinationKind::ALL.iter().copied().filter(|_| pays).collect();
        let currencies: BTreeSet<&Name> = self.facts.iter().filter_map(|fact| fact.currency).collect();
        let region = Region {
            kind,
            assets: ground.assets.iter().cloned().collect(),
            wallets: Names::all(),
            tiers: Tier::ALL.iter().copied().collect(),
            clients: Clients::all(),
            destinations,
            amounts: if pays { Ranges::of(1, u128::from(Sats::MAX.0)) } else { Ranges::of(0, 0) },
            worths: currencies.into_iter().map(|currency| (currency.clone(), Worths::all())).collect(),
            times: Ranges::of(u128::from(ground.now), u128::from(u64::MAX)),
            de_minimis: BTreeSet::from([true, false]),
        };
        Cell { region, rules }
    }
}
