//! What rules ask for by parameter: fees, windows, ages. Each check gives the aspect in which one policy does not
//! provably ask for as much as the other, with requests that may show it.

use std::collections::BTreeSet;

use custody::effects::Sats;

use super::Aspect;
use super::catalog::Fact;
use super::example::{Earlier, Example};
use super::gain::{Judge, Sides};
use super::limits::{Most, Unit, ceiling, cool_down, counts_more, pairs, units};
use super::people::{Approvers, Implied};

/// What differs, and requests that may show it.
pub(super) type Found = Option<(Aspect, Vec<Example>)>;

impl Judge<'_> {
    pub(super) fn fee(&self, sides: &Sides<'_>, approvers: &Approvers) -> Found {
        let (denies, allows) = (ceiling(self.facts(sides.denies))?, ceiling(self.facts(sides.allows))?);
        let plain = self.plain(sides, approvers)?;
        if !sides.pays {
            let more = Example { fee: Sats(allows.0), ..plain };
            return (allows.0 > denies.0).then(|| (Aspect::Fee, vec![more]));
        }
        let share = |ppm: u64, amount: u128| amount.saturating_mul(u128::from(ppm)) / 1_000_000;
        let most = |(max, ppm): (u64, u64), amount: u128| u128::from(max).min(share(ppm, amount));
        let mut tries = Vec::new();
        let mut within = true;
        for (first, last) in sides.cell.region.amounts.ranges() {
            // Of two ceilings the constant one passes a constant most easily at the largest amount, and a share
            // at the smallest.
            let constant = most(allows, *last) <= u128::from(denies.0);
            let shared = allows.1 <= denies.1 || u128::from(allows.0) <= share(denies.1, *first);
            within &= constant && shared;
            let crossing = u128::from(allows.0).saturating_mul(1_000_000).checked_div(u128::from(denies.1));
            let crossing = crossing.unwrap_or(*last).saturating_sub(1).clamp(*first, *last);
            tries.extend([*last, crossing, *first].map(|amount| {
                let sats = |number: u128| Sats(u64::try_from(number).unwrap_or(u64::MAX));
                Example { amount: sats(amount), fee: sats(most(allows, amount)), ..plain.clone() }
            }));
        }
        (!within).then_some((Aspect::Fee, tries))
    }

    pub(super) fn velocity(&self, sides: &Sides<'_>, approvers: &Approvers) -> Found {
        if !self.budget.takes(pairs(self.facts(sides.denies), self.facts(sides.allows))) {
            return None;
        }
        let (denies, allows) = (units(self.facts(sides.denies)), units(self.facts(sides.allows)));
        let lost: Vec<&Unit<'_>> =
            denies.iter().filter(|unit| !allows.iter().any(|other| other.implies(unit))).collect();
        if lost.is_empty() || !sides.pays {
            return None;
        }
        let plain: Vec<Example> = self.amounts(sides, approvers).collect();
        let mut tries = Vec::new();
        // Four of each.
        if !self.budget.takes(lost.len().saturating_mul(plain.len()).saturating_mul(4)) {
            return None;
        }
        for unit in lost {
            for plain in plain.iter().rev() {
                let amount = u128::from(plain.amount.0);
                let worth = unit.fact.currency.and_then(|currency| plain.worth.get(currency)).map(|v| v.0);
                let (paid, count) = match unit.most {
                    Most::Amount(max) => (u128::from(max).saturating_add(1).saturating_sub(amount), 1),
                    Most::Count(max) => (0, max),
                    Most::Value(max) => {
                        let worth = worth.filter(|worth| *worth > 0);
                        let rest = worth.map(|worth| max.saturating_add(1).saturating_sub(worth));
                        let paid = rest.zip(worth).map(|(rest, worth)| rest.saturating_mul(amount) / worth);
                        (paid.unwrap_or(u128::MAX), 1)
                    }
                };
                let Some(paid) = u64::try_from(paid).ok().map(Sats).filter(|paid| *paid <= Sats::MAX) else {
                    continue;
                };
                for age_s in [1, unit.window_s.saturating_sub(1)] {
                    for count in [count, 0] {
                        let earlier = Some(Earlier { age_s, count, paid, fee: Sats(0) });
                        tries.push(Example { earlier, ..plain.clone() });
                    }
                }
            }
        }
        Some((Aspect::Velocity, tries))
    }

    pub(super) fn fee_budget(&self, sides: &Sides<'_>, approvers: &Approvers) -> Found {
        if !self.budget.takes(pairs(self.facts(sides.denies), self.facts(sides.allows))) {
            return None;
        }
        let within = |fact: &&Fact<'_>| {
            let Some(budget) = fact.rule.require.fee_budget else { return true };
            self.facts(sides.allows).any(|other| {
                other.rule.require.fee_budget.is_some_and(|own| {
                    own.fee_max <= budget.fee_max
                        && own.window_s >= budget.window_s
                        && counts_more(other, fact)
                })
            })
        };
        let lost: Vec<_> = self.facts(sides.denies).filter(|fact| !within(fact)).collect();
        let budgets = lost.iter().filter_map(|fact| fact.rule.require.fee_budget);
        let mut tries = Vec::new();
        for (budget, plain) in budgets.zip(self.plain(sides, approvers).into_iter().cycle()) {
            let amount = sides.cell.region.amounts.first().and_then(|first| u64::try_from(first).ok());
            let amount = Sats(amount.unwrap_or(0));
            for age_s in [1, budget.window_s.saturating_sub(1)] {
                let fee = Sats(budget.fee_max.0.saturating_add(1));
                let earlier = Some(Earlier { age_s, count: 1, paid: Sats(0), fee });
                tries.push(Example { amount, earlier, ..plain.clone() });
            }
        }
        (!lost.is_empty()).then_some((Aspect::FeeBudget, tries))
    }

    pub(super) fn cool_down(&self, sides: &Sides<'_>, approvers: &Approvers) -> Found {
        let less = cool_down(self.facts(sides.allows));
        let shorter = sides.pays && less < cool_down(self.facts(sides.denies));
        let tries =
            self.amounts(sides, approvers).map(|plain| Example { destination_s: Some(less), ..plain });
        shorter.then(|| (Aspect::CoolDown, tries.collect()))
    }

    pub(super) fn delay(&self, sides: &Sides<'_>, approvers: &Approvers) -> Found {
        self.ages(sides, approvers, Aspect::Delay)
    }

    pub(super) fn validity(&self, sides: &Sides<'_>, approvers: &Approvers) -> Found {
        self.ages(sides, approvers, Aspect::Validity)
    }

    /// Whether approvals may be younger, or older. A rule asks for approvals between two ages; all rules of the
    /// other policy whose approvals are between those too must imply what it asks for. Where not even all of
    /// its rules do, the approvers differ, and the strictest ages alone are compared.
    fn ages(&self, sides: &Sides<'_>, approvers: &Approvers, aspect: Aspect) -> Found {
        let delay = |fact: &Fact<'_>| fact.rule.require.delay_s.filter(|_| sides.pays).unwrap_or(0);
        let valid = |fact: &Fact<'_>| fact.rule.require.approval_valid_s.unwrap_or(u64::MAX);
        let longest = self.facts(sides.allows).map(delay).max().unwrap_or(0);
        let shortest = self.facts(sides.allows).map(valid).min().unwrap_or(u64::MAX);
        let implied = |fact: &Fact<'_>, later: bool, sooner: bool| {
            let (from, until) = (delay(fact), valid(fact));
            let within = self
                .facts(sides.allows)
                .filter(|own| (!later || delay(own) >= from) && (!sooner || valid(own) <= until));
            let needs = Self::needs(within, sides.small);
            self.people.implies(&needs, &Self::needs_of(fact, sides.small)) == Implied::Yes
        };
        let lost = |fact: &&Fact<'_>| {
            let timed = delay(fact) > 0 || valid(fact) < u64::MAX;
            if !timed || !self.budget.takes(self.seats(sides)) {
                return false;
            }
            if !implied(fact, false, false) {
                return match aspect {
                    Aspect::Delay => longest < delay(fact),
                    _ => shortest > valid(fact),
                };
            }
            match aspect {
                Aspect::Delay => !implied(fact, true, false),
                // What neither bound shows alone stands here.
                _ => implied(fact, true, false) && !implied(fact, true, true),
            }
        };
        self.facts(sides.denies).find(lost)?;
        let all = self.facts(sides.denies).chain(self.facts(sides.allows));
        let ages = all.flat_map(|fact| {
            let (from, until) = (delay(fact), valid(fact));
            [from, from.saturating_sub(1), until, until.saturating_add(1)]
        });
        let ages: BTreeSet<u64> = ages.filter(|age| *age < u64::MAX).chain([0]).collect();
        let plain = self.amounts(sides, approvers).collect::<Vec<_>>();
        if !self.budget.takes(ages.len().saturating_mul(plain.len())) {
            return None;
        }
        let aged =
            |age: u64| plain.iter().map(move |plain| Example { approved_s: Some(age), ..plain.clone() });
        Some((aspect, ages.into_iter().flat_map(aged).collect()))
    }
}
