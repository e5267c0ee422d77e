//! Splitting all requests into cells in which both policies have the same rules, without visiting those
//! in which the rules of both are equal.
//!
//! One thing after another that scopes speak of is cut where a rule that is left begins or ends. Parts in which
//! the same rules are left go on together, so the work grows with what differs.
//!
//! Payments are looked at for one kind of destination at a time. That is all of them: a rule covers a payment to
//! several kinds if it covers one to one of them, every kind must be granted, and what a rule asks for does
//! not speak of kinds. So a payment is allowed if and only if it would be for each of its kinds alone, and where
//! two policies differ on it they differ on one of those in the same way.

use std::collections::{BTreeMap, BTreeSet};

use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Per, RequestKind, When};

use super::Why;
use super::catalog::{Catalog, Cell, Entry, Fact, scope_has_values};
use super::region::{Clients, Join, Names, Ranges, Region, Worths};

/// Most looks at a rule for a cell before the rest of a comparison is given up, which takes a few seconds.
pub const LOOKS_LIMIT: usize = 3_000_000;

/// What is cut, in this order, then values by currency, then time.
#[derive(Clone, Copy)]
enum Step {
    Asset,
    Tier,
    Wallet,
    Client,
    Destination,
    Amount,
}

const STEPS: [Step; 6] =
    [Step::Asset, Step::Tier, Step::Wallet, Step::Client, Step::Destination, Step::Amount];

/// The cells in which the policies have different rules.
pub(crate) struct Splitter<'a> {
    catalog: &'a Catalog<'a>,
    de_minimis: u64,
    currencies: Vec<Name>,
    left: usize,
    /// Cells that were split to the end.
    pub(crate) cells: Vec<Cell>,
    /// Parts that were given up.
    pub(crate) given_up: Vec<Cell>,
}

impl<'a> Splitter<'a> {
    pub(crate) fn new(catalog: &'a Catalog<'a>, de_minimis: Sats) -> Self {
        let currencies: BTreeSet<Name> =
            catalog.facts.iter().filter_map(|fact| fact.currency.cloned()).collect();
        Self {
            catalog,
            de_minimis: de_minimis.0,
            currencies: currencies.into_iter().collect(),
            left: LOOKS_LIMIT,
            cells: Vec::new(),
            given_up: Vec::new(),
        }
    }

    /// Splits a cell from a step on.
    pub(crate) fn split(&mut self, cell: Cell, step: usize) {
        if cell.rules[0] == cell.rules[1] {
            return;
        }
        let pays = cell.region.kind == RequestKind::Payment;
        match STEPS.get(step) {
            Some(Step::Asset) => {
                let classes =
                    cell.region.assets.iter().map(|a| (a.clone(), BTreeSet::from([a.clone()]))).collect();
                let see = |asset: &String, fact: &Fact<'_>, entry| {
                    let when = &fact.rule.when;
                    let network = asset.split('/').next().unwrap_or_default();
                    let on = when.networks.as_ref().is_none_or(|list| list.iter().any(|n| n == network));
                    let of = when.assets.as_ref().is_none_or(|list| list.contains(asset));
                    (on && of).then_some(entry)
                };
                self.part(cell, step, classes, see, |_| false, |region, assets| region.assets = assets);
            }
            Some(Step::Tier) => {
                let classes = Tier::ALL.iter().map(|tier| (*tier, BTreeSet::from([*tier]))).collect();
                let see = |tier: &Tier, fact: &Fact<'_>, entry| {
                    fact.rule.when.tiers.as_ref().is_none_or(|list| list.contains(tier)).then_some(entry)
                };
                self.part(cell, step, classes, see, |_| false, |region, tiers| region.tiers = tiers);
            }
            Some(Step::Wallet) => {
                let (classes, rest) = self.named(&cell, |when| when.wallets.as_ref());
                let classes = classes.into_iter().chain([(None, rest)]).collect();
                let see = |wallet: &Option<Name>, fact: &Fact<'_>, entry| {
                    let list = fact.rule.when.wallets.as_ref();
                    let among =
                        |list: &Vec<Name>| wallet.as_ref().is_some_and(|wallet| list.contains(wallet));
                    list.is_none_or(among).then_some(entry)
                };
                self.part(cell, step, classes, see, |_| false, |region, wallets| region.wallets = wallets);
            }
            Some(Step::Client) => {
                let (classes, rest) = self.named(&cell, |when| when.clients.as_ref());
                let classes = classes.into_iter().chain([(None, rest)]);
                let classes = classes.map(|(name, names)| (Some(name), Clients::of(names)));
                let classes = classes.chain([(None, Clients::nobody())]).collect();
                let see = |client: &Option<Option<Name>>, fact: &Fact<'_>, entry: Entry| {
                    let list = fact.rule.when.clients.as_ref();
                    let Some(client) = client else {
                        let counts = fact.rule.require.velocity.iter().any(|limit| limit.per == Per::Client);
                        let denies = entry.denies.or((pays && counts).then_some(Why::Velocity));
                        return Some(Entry { grants: entry.grants && list.is_none(), denies, ..entry });
                    };
                    let among =
                        |list: &Vec<Name>| client.as_ref().is_some_and(|client| list.contains(client));
                    list.is_none_or(among).then_some(entry)
                };
                self.part(cell, step, classes, see, |_| false, |region, clients| region.clients = clients);
            }
            Some(Step::Destination) if pays => {
                let classes =
                    DestinationKind::ALL.iter().map(|kind| (*kind, BTreeSet::from([*kind]))).collect();
                let see = |kind: &DestinationKind, fact: &Fact<'_>, entry: Entry| {
                    let list = fact.rule.when.destinations.as_ref();
                    // Who names no kind speaks of unlisted addresses too, and grants them nothing.
                    let says_so = list.is_some() || *kind != DestinationKind::Unlisted;
                    let entry = Entry { grants: entry.grants && says_so, ..entry };
                    list.is_none_or(|list| list.contains(kind)).then_some(entry)
                };
                let set = |region: &mut Region, kinds| region.destinations = kinds;
                self.part(cell, step, classes, see, |_| false, set);
            }
            Some(Step::Destination) => self.split(cell, step.saturating_add(1)),
            Some(Step::Amount) => self.by_amount(cell, step),
            None => match self.currencies.get(step.saturating_sub(STEPS.len())).cloned() {
                Some(currency) => self.by_worth(cell, step, currency),
                None => self.by_time(cell),
            },
        }
    }

    /// Each name of a list of the rules that are left, and all others.
    fn named(
        &self,
        cell: &Cell,
        list: fn(&When) -> Option<&Vec<Name>>,
    ) -> (Vec<(Option<Name>, Names)>, Names) {
        let facts = self.facts(cell);
        let names: BTreeSet<Name> =
            facts.filter_map(|fact| list(&fact.rule.when)).flatten().cloned().collect();
        let one = |name: &Name| (Some(name.clone()), Names::Only(BTreeSet::from([name.clone()])));
        (names.iter().map(one).collect(), Names::Except(names))
    }

    fn facts(&self, cell: &Cell) -> impl Iterator<Item = &'a Fact<'a>> {
        let rules: BTreeSet<usize> = cell.rules.iter().flatten().map(|entry| entry.rule).collect();
        let catalog = self.catalog;
        rules.into_iter().filter_map(move |rule| catalog.facts.get(rule))
    }

    fn by_amount(&mut self, cell: Cell, step: usize) {
        let pays = cell.region.kind == RequestKind::Payment;
        let above = |max: u64| u128::from(max).saturating_add(1);
        let mut cuts = vec![above(self.de_minimis)];
        for fact in self.facts(&cell) {
            let (when, need) = (&fact.rule.when, &fact.rule.require);
            cuts.extend(when.amount_min.map(|min| u128::from(min.0)));
            cuts.extend(when.amount_max.map(|max| above(max.0)));
            cuts.push(above(need.amount_max.0));
            cuts.extend(bounds(fact).map(above));
        }
        let (first, last) = if pays { (1, u128::from(Sats::MAX.0)) } else { (0, 0) };
        let class = |(first, last): (u128, u128)| (first, Ranges::of(first, last));
        let classes = Ranges::cut(first, last, cuts).into_iter().map(class).collect();
        let see = |amount: &u128, fact: &Fact<'_>, entry: Entry| {
            let (when, need) = (&fact.rule.when, &fact.rule.require);
            let covers = when.amount_min.is_none_or(|min| *amount >= u128::from(min.0))
                && when.amount_max.is_none_or(|max| *amount <= u128::from(max.0));
            let limit = (*amount > u128::from(need.amount_max.0)).then_some(Why::Limit);
            let over = pays && bounds(fact).any(|max| *amount > u128::from(max));
            let denies = entry.denies.or(limit).or(over.then_some(Why::Velocity));
            covers.then_some(Entry { denies, ..entry })
        };
        let small = u128::from(self.de_minimis);
        self.part(cell, step, classes, see, |amount| *amount <= small, |region, set| region.amounts = set);
    }

    fn by_worth(&mut self, cell: Cell, step: usize, currency: Name) {
        let pays = cell.region.kind == RequestKind::Payment;
        let mut cuts = Vec::new();
        for fact in self.facts(&cell).filter(|fact| fact.currency == Some(&currency)) {
            let (when, need) = (&fact.rule.when, &fact.rule.require);
            let limits = need.velocity.iter().filter_map(|limit| limit.value_max);
            let above = limits.chain(when.value_max).chain(need.value_max);
            cuts.extend(above.map(|max| max.0.saturating_add(1)));
            cuts.extend(when.value_min.map(|min| min.0));
        }
        // Nothing is worth nothing, at whatever rate.
        let last = if pays { u128::MAX } else { 0 };
        let known = Ranges::cut(0, last, cuts).into_iter();
        let known = known.map(|(first, last)| (Some(first), Worths::of(Some((first, last)))));
        let classes = known.chain([(None, Worths::of(None))]).collect();
        let own = currency.clone();
        let see = |worth: &Option<u128>, fact: &Fact<'_>, entry: Entry| {
            if fact.currency != Some(&own) {
                return Some(entry);
            }
            let (when, need) = (&fact.rule.when, &fact.rule.require);
            let limits = need.velocity.iter().filter_map(|limit| limit.value_max);
            let Some(worth) = worth else {
                let value = (scope_has_values(when) || need.value_max.is_some()).then_some(Why::Value);
                let why = value.or((limits.count() > 0).then_some(Why::Velocity)).filter(|_| pays);
                return Some(Entry { denies: entry.denies.or(why), ..entry });
            };
            let covers = when.value_min.is_none_or(|min| *worth >= min.0)
                && when.value_max.is_none_or(|max| *worth <= max.0);
            let value = need.value_max.is_some_and(|max| *worth > max.0).then_some(Why::Value);
            let per = need.velocity.iter().filter(|limit| limit.per != Per::Destination);
            let over = per.filter_map(|limit| limit.value_max).any(|max| *worth > max.0);
            let why = value.or(over.then_some(Why::Velocity)).filter(|_| pays);
            covers.then_some(Entry { denies: entry.denies.or(why), ..entry })
        };
        let set = |region: &mut Region, worths| drop(region.worths.insert(currency.clone(), worths));
        self.part(cell, step, classes, see, |_| false, set);
    }

    fn by_time(&mut self, cell: Cell) {
        let last = u128::from(u64::MAX);
        let first = cell.region.times.first().unwrap_or(0);
        if cell.region.kind != RequestKind::Payment {
            self.cells.push(cell);
            return;
        }
        let open: Vec<&Ranges> = self.facts(&cell).filter_map(|fact| fact.open.as_ref()).collect();
        let cuts = open.iter().flat_map(|open| open.ranges());
        let cuts = cuts.flat_map(|(first, last)| [*first, last.saturating_add(1)]);
        let class = |(first, last): (u128, u128)| (first, Ranges::of(first, last));
        let classes = Ranges::cut(first, last, cuts).into_iter().map(class).collect();
        let see = |time: &u128, fact: &Fact<'_>, entry: Entry| {
            let closed = fact.open.as_ref().is_some_and(|open| !open.has(*time));
            Some(Entry { denies: entry.denies.or(closed.then_some(Why::Hours)), ..entry })
        };
        for cell in self.grouped(cell, classes, see, |_| false, |region, times| region.times = times) {
            if cell.rules[0] != cell.rules[1] {
                self.cells.push(cell);
            }
        }
    }

    /// Parts a cell and goes on with each of the parts.
    fn part<C, T: Join>(
        &mut self,
        cell: Cell,
        step: usize,
        classes: Vec<(C, T)>,
        see: impl Fn(&C, &Fact<'_>, Entry) -> Option<Entry>,
        mark: impl Fn(&C) -> bool,
        set: impl Fn(&mut Region, T),
    ) {
        for cell in self.grouped(cell, classes, see, mark, set) {
            self.split(cell, step.saturating_add(1));
        }
    }

    /// The parts of a cell, those with the same rules and the same mark as one.
    fn grouped<C, T: Join>(
        &mut self,
        cell: Cell,
        classes: Vec<(C, T)>,
        see: impl Fn(&C, &Fact<'_>, Entry) -> Option<Entry>,
        mark: impl Fn(&C) -> bool,
        set: impl Fn(&mut Region, T),
    ) -> Vec<Cell> {
        let rules = cell.rules[0].len().saturating_add(cell.rules[1].len());
        match self.left.checked_sub(classes.len().saturating_mul(rules)) {
            Some(left) => self.left = left,
            None => {
                self.given_up.push(cell);
                return Vec::new();
            }
        }
        let mut groups: BTreeMap<([Vec<Entry>; 2], bool), Vec<T>> = BTreeMap::new();
        for (class, value) in classes {
            let left = cell.rules.each_ref().map(|entries| {
                let seen = |entry: &Entry| see(&class, self.catalog.facts.get(entry.rule)?, *entry);
                entries.iter().filter_map(seen).collect::<Vec<_>>()
            });
            groups.entry((left, mark(&class))).or_default().push(value);
        }
        let part = |((rules, _), values): (([Vec<Entry>; 2], bool), Vec<T>)| {
            let mut region = cell.region.clone();
            set(&mut region, T::join(values));
            Cell { region, rules }
        };
        groups.into_iter().map(part).collect()
    }
}

/// The amounts above which no payment alone is within the velocity limits of a rule, whatever left before.
/// What goes to each destination can be less.
fn bounds(fact: &Fact<'_>) -> impl Iterator<Item = u64> {
    let limits = fact.rule.require.velocity.iter().filter(|limit| limit.per != Per::Destination);
    limits.filter_map(|limit| limit.amount_max).map(|max| max.0)
}
