//! Which requests a difference is about: a product of sets, one for each thing that a scope speaks of.

use std::collections::{BTreeMap, BTreeSet};

use custody::charge::Subject;
use custody::document::{DestinationKind, Tier};
use custody::name::Name;
use custody::policy::RequestKind;
use custody::rates::Value;
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};

/// A set that can be united with another of its sort.
pub(crate) trait Join: Clone + PartialEq {
    fn join(sets: Vec<Self>) -> Self;
}

/// Handles: these, or all but these.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// These alone.
    Only(BTreeSet<Name>),
    /// Any other than these.
    Except(BTreeSet<Name>),
}

impl Names {
    /// Every handle.
    pub(crate) fn all() -> Self {
        Self::Except(BTreeSet::new())
    }

    /// Whether a handle is one of them.
    pub fn has(&self, name: &Name) -> bool {
        match self {
            Self::Only(names) => names.contains(name),
            Self::Except(names) => !names.contains(name),
        }
    }

    /// One of them: one that nobody has, where there is a choice.
    pub(crate) fn example(&self) -> Option<Name> {
        match self {
            Self::Only(names) => names.first().cloned(),
            Self::Except(names) => {
                (0u32..).filter_map(|i| Name::new(&format!("any-{i}"))).find(|n| !names.contains(n))
            }
        }
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(mut a), Self::Only(b)) => {
                a.extend(b);
                Self::Only(a)
            }
            (Self::Except(a), Self::Except(b)) => Self::Except(a.intersection(&b).cloned().collect()),
            (Self::Except(a), Self::Only(b)) | (Self::Only(b), Self::Except(a)) => {
                Self::Except(a.difference(&b).cloned().collect())
            }
        }
    }
}

impl Join for Names {
    fn join(sets: Vec<Self>) -> Self {
        sets.into_iter().fold(Self::Only(BTreeSet::new()), Self::plus)
    }
}

/// Whose coins move.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Clients {
    /// Requests that name no client.
    pub unnamed: bool,
    /// Requests that name one of these.
    pub named: Names,
}

impl Clients {
    pub(crate) fn all() -> Self {
        Self { unnamed: true, named: Names::all() }
    }

    pub(crate) fn nobody() -> Self {
        Self { unnamed: true, named: Names::Only(BTreeSet::new()) }
    }

    pub(crate) fn of(named: Names) -> Self {
        Self { unnamed: false, named }
    }

    /// Whether requests for this client, or for none, are among them.
    pub fn has(&self, client: Option<&Name>) -> bool {
        client.map_or(self.unnamed, |client| self.named.has(client))
    }
}

impl Join for Clients {
    fn join(sets: Vec<Self>) -> Self {
        let unnamed = sets.iter().any(|set| set.unnamed);
        Self { unnamed, named: Names::join(sets.into_iter().map(|set| set.named).collect()) }
    }
}

/// Whole numbers, as ranges from the first to the last, in order and apart from each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    pub(crate) fn of(first: u128, last: u128) -> Self {
        Self(if first <= last { vec![(first, last)] } else { Vec::new() })
    }

    pub(crate) fn from(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let mut apart: Vec<(u128, u128)> = Vec::new();
        for (first, last) in ranges {
            match apart.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => apart.push((first, last)),
            }
        }
        Self(apart)
    }

    /// The ranges.
    pub fn ranges(&self) -> &[(u128, u128)] {
        &self.0
    }

    /// Whether a number is in one of them.
    pub fn has(&self, number: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|(_, last)| number <= *last)
    }

    /// Whether all of these are in one of those.
    pub(crate) fn is_within(&self, others: &Self) -> bool {
        let within = |(first, last): &(u128, u128)| {
            let after = others.0.partition_point(|(start, _)| start <= first);
            after.checked_sub(1).and_then(|i| others.0.get(i)).is_some_and(|(_, end)| last <= end)
        };
        self.0.iter().all(within)
    }

    pub(crate) fn first(&self) -> Option<u128> {
        self.0.first().map(|(first, _)| *first)
    }

    pub(crate) fn last(&self) -> Option<u128> {
        self.0.last().map(|(_, last)| *last)
    }

    /// Splits from `first` to `last` where these numbers begin something new.
    pub(crate) fn cut(first: u128, last: u128, cuts: impl IntoIterator<Item = u128>) -> Vec<(u128, u128)> {
        let starts: BTreeSet<u128> =
            cuts.into_iter().filter(|cut| (first..=last).contains(cut)).chain([first]).collect();
        let ends = starts.iter().skip(1).map(|start| start.saturating_sub(1)).chain([last]);
        starts.iter().copied().zip(ends).collect()
    }
}

impl Join for Ranges {
    fn join(sets: Vec<Self>) -> Self {
        Self::from(sets.into_iter().flat_map(|set| set.0).collect())
    }
}

impl Serialize for Ranges {
    /// As decimal strings, for amounts and values pass what readers of JSON keep exactly.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut all = s.serialize_seq(Some(self.0.len()))?;
        for (first, last) in &self.0 {
            all.serialize_element(&[first.to_string(), last.to_string()])?;
        }
        all.end()
    }
}

/// What a request is worth in a reference currency.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Worths {
    /// While no rate holds.
    pub unknown: bool,
    /// Minor units.
    pub known: Ranges,
}

impl Worths {
    pub(crate) fn all() -> Self {
        Self { unknown: true, known: Ranges::of(0, u128::MAX) }
    }

    pub(crate) fn of(worth: Option<(u128, u128)>) -> Self {
        let known = worth.map_or_else(Ranges::default, |(first, last)| Ranges::of(first, last));
        Self { unknown: worth.is_none(), known }
    }

    /// Whether a worth, or that there is none, is among them.
    pub fn has(&self, worth: Option<Value>) -> bool {
        worth.map_or(self.unknown, |worth| self.known.has(worth.0))
    }
}

impl Join for Worths {
    fn join(sets: Vec<Self>) -> Self {
        let unknown = sets.iter().any(|set| set.unknown);
        Self { unknown, known: Ranges::join(sets.into_iter().map(|set| set.known).collect()) }
    }
}

impl<T: Ord + Clone> Join for BTreeSet<T> {
    fn join(sets: Vec<Self>) -> Self {
        sets.into_iter().flatten().collect()
    }
}

/// Requests that two policies tell from others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Region {
    /// What they do.
    pub kind: RequestKind,
    /// The assets (CAIP-19).
    pub assets: BTreeSet<String>,
    /// The wallets that pay.
    pub wallets: Names,
    /// The tiers of those.
    pub tiers: BTreeSet<Tier>,
    /// Whose coins move.
    pub clients: Clients,
    /// The kinds of destinations, of which a payment has one at least. None for cancels.
    pub destinations: BTreeSet<DestinationKind>,
    /// What they pay in all, in base units.
    pub amounts: Ranges,
    /// What that is worth, by currency.
    pub worths: BTreeMap<Name, Worths>,
    /// When they would be paid, seconds since 1970.
    pub times: Ranges,
    /// Whether they are within what *de minimis* leaves (true) or above it (false).
    pub de_minimis: BTreeSet<bool>,
}

impl Region {
    /// Whether a request is among them at `time`, by any kind of its destinations. `worth` tells what it is
    /// worth in a currency, `small` whether *de minimis* leaves it.
    pub fn covers(
        &self,
        subject: &Subject,
        worth: impl Fn(&Name) -> Option<Value>,
        time: u64,
        small: bool,
    ) -> bool {
        let kinds = &subject.destinations;
        self.kind == subject.kind
            && self.assets.contains(&subject.asset)
            && self.wallets.has(&subject.wallet)
            && self.tiers.contains(&subject.tier)
            && self.clients.has(subject.client.as_ref())
            && (kinds.is_empty() || !kinds.is_disjoint(&self.destinations))
            && self.amounts.has(u128::from(subject.amount.0))
            && self.worths.iter().all(|(currency, worths)| worths.has(worth(currency)))
            && self.times.has(u128::from(time))
            && self.de_minimis.contains(&small)
    }

    /// How many names and ranges it has, which is the work of looking at it.
    pub(crate) fn size(&self) -> usize {
        let names = |names: &Names| match names {
            Names::Only(names) | Names::Except(names) => names.len(),
        };
        let ranges = self.worths.values().map(|worths| worths.known.0.len());
        let sizes =
            [names(&self.wallets), names(&self.clients.named), self.amounts.0.len(), self.times.0.len()];
        sizes.into_iter().chain(ranges).fold(1, usize::saturating_add)
    }

    /// Both together, if they differ in one set alone, so that the union is a product again.
    pub(crate) fn joined(&self, other: &Self) -> Option<Self> {
        macro_rules! sets {
            ($($field:ident)+) => {
                (
                    [$(self.$field != other.$field),+].into_iter().filter(|differs| *differs).count(),
                    |all: &mut Self| {$(
                        if self.$field != other.$field {
                            all.$field = Join::join(vec![self.$field.clone(), other.$field.clone()]);
                        }
                    )+},
                )
            };
        }
        let (sets, join) = sets!(assets wallets tiers clients destinations amounts times de_minimis);
        let worths = self.worths.iter().filter(|(currency, own)| other.worths.get(*currency) != Some(*own));
        let same = self.kind == other.kind && self.worths.keys().eq(other.worths.keys());
        if !same || sets.saturating_add(worths.count()) > 1 {
            return None;
        }
        let mut all = self.clone();
        join(&mut all);
        for (own, others) in all.worths.values_mut().zip(other.worths.values()) {
            if own != others {
                *own = Worths::join(vec![own.clone(), others.clone()]);
            }
        }
        Some(all)
    }
}
