//! What rules limit by parameter, and when a limit of one rule implies that of another.

use custody::policy::{Per, Velocity, When};

use super::catalog::{Fact, scope_has_values};

/// One maximum of a velocity limit.
#[derive(Clone, Copy)]
pub(crate) struct Unit<'a> {
    pub(crate) fact: &'a Fact<'a>,
    pub(crate) per: Per,
    pub(crate) window_s: u64,
    pub(crate) most: Most,
}

/// What is at most so much.
#[derive(Clone, Copy)]
pub(crate) enum Most {
    Amount(u64),
    Value(u128),
    Count(u32),
}

impl Unit<'_> {
    /// Whether whatever is within this limit is within the other one.
    pub(crate) fn implies(&self, other: &Self) -> bool {
        self.is_tight_as(other) && counts_more(self.fact, other.fact)
    }

    /// The same where both count the same requests.
    pub(crate) fn is_tight_as(&self, other: &Self) -> bool {
        let less = match (self.most, other.most) {
            (Most::Amount(own), Most::Amount(others)) => own <= others,
            (Most::Value(own), Most::Value(others)) => {
                own <= others && self.fact.currency == other.fact.currency
            }
            (Most::Count(own), Most::Count(others)) => own <= others,
            _ => false,
        };
        less && self.per == other.per && self.window_s >= other.window_s
    }
}

/// Whether a rule covers all that another one covers, field by field.
pub(crate) fn counts_more(fact: &Fact<'_>, other: &Fact<'_>) -> bool {
    fn wider<T: PartialEq>(own: Option<&Vec<T>>, others: Option<&Vec<T>>) -> bool {
        own.is_none_or(|own| others.is_some_and(|others| others.iter().all(|one| own.contains(one))))
    }
    fn lower<T: PartialOrd>(own: Option<T>, others: Option<T>) -> bool {
        own.is_none_or(|own| others.is_some_and(|others| own <= others))
    }
    fn higher<T: PartialOrd>(own: Option<T>, others: Option<T>) -> bool {
        own.is_none_or(|own| others.is_some_and(|others| own >= others))
    }
    let (a, b): (&When, &When) = (&fact.rule.when, &other.rule.when);
    wider(a.wallets.as_ref(), b.wallets.as_ref())
        && wider(a.destinations.as_ref(), b.destinations.as_ref())
        && wider(a.kinds.as_ref(), b.kinds.as_ref())
        && wider(a.networks.as_ref(), b.networks.as_ref())
        && wider(a.assets.as_ref(), b.assets.as_ref())
        && wider(a.tiers.as_ref(), b.tiers.as_ref())
        && wider(a.clients.as_ref(), b.clients.as_ref())
        && lower(a.amount_min, b.amount_min)
        && higher(a.amount_max, b.amount_max)
        && lower(a.value_min, b.value_min)
        && higher(a.value_max, b.value_max)
        && (!scope_has_values(a) || fact.currency == other.currency)
}

/// Every maximum of every velocity limit of these rules.
pub(crate) fn units<'f>(facts: impl Iterator<Item = &'f Fact<'f>>) -> Vec<Unit<'f>> {
    facts.flat_map(|fact| fact.rule.require.velocity.iter().flat_map(|limit| units_of(fact, limit))).collect()
}

/// Every maximum of a velocity limit of a rule.
pub(crate) fn units_of<'f>(fact: &'f Fact<'f>, limit: &Velocity) -> impl Iterator<Item = Unit<'f>> + use<'f> {
    let (per, window_s) = (limit.per, limit.window_s);
    let most = [
        limit.amount_max.map(|max| Most::Amount(max.0)),
        limit.value_max.map(|max| Most::Value(max.0)),
        limit.count_max.map(Most::Count),
    ];
    most.into_iter().flatten().map(move |most| Unit { fact, per, window_s, most })
}

/// How many looks it takes to find limits of some rules that imply those of others.
pub(crate) fn pairs<'f>(
    ones: impl Iterator<Item = &'f Fact<'f>>,
    others: impl Iterator<Item = &'f Fact<'f>>,
) -> usize {
    let [ones, others] = [ones.map(|fact| fact.names).sum::<usize>(), others.map(|fact| fact.names).sum()];
    // Names are compared many times as fast as people are seated.
    ones.saturating_mul(others) / 16
}

/// The lowest ceilings of a fee: in base units, and in millionths of the amount.
pub(crate) fn ceiling<'f>(facts: impl Iterator<Item = &'f Fact<'f>>) -> Option<(u64, u64)> {
    let each = facts.map(|fact| (fact.rule.require.fee_max.0, fact.rule.require.fee_max_ppm));
    each.reduce(|(max, ppm), (other, others)| (max.min(other), ppm.min(others)))
}

/// For how long destinations must have been in force.
pub(crate) fn cool_down<'f>(facts: impl Iterator<Item = &'f Fact<'f>>) -> u64 {
    facts.filter_map(|fact| fact.rule.require.cool_down_s).max().unwrap_or(0)
}
