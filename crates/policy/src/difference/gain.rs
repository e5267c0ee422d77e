//! What one policy allows in a cell that another one does not, with a request that shows it.

use std::collections::BTreeSet;

use custody::decide::Rulebook;
use custody::effects::Sats;
use custody::name::Name;
use custody::payment::OUTPUTS_LIMIT;
use custody::policy::RequestKind;

use super::catalog::{Catalog, Cell, Entry, Fact};
use super::example::{Approver, Earlier, Example};
use super::limits::{Most, Unit, ceiling, cool_down, counts_more, units};
use super::people::{Approvers, Implied, Need, People};
use super::{Aspect, Difference, Direction, Ground, Why};
use crate::words;

/// Looks at cells for what differs.
pub(crate) struct Judge<'a> {
    pub(crate) catalog: &'a Catalog<'a>,
    pub(crate) people: &'a People<'a>,
    pub(crate) ground: &'a Ground<'a>,
    /// In force, and the draft.
    pub(crate) books: [Rulebook; 2],
}

/// Of the two policies in a cell the one that denies, and the one that allows.
struct Sides<'c> {
    direction: Direction,
    pays: bool,
    small: bool,
    cell: &'c Cell,
    denies: &'c [Entry],
    allows: &'c [Entry],
}

impl Judge<'_> {
    /// All that differs in a cell.
    pub(crate) fn look(&self, cell: &Cell) -> Vec<Difference> {
        let pays = cell.region.kind == RequestKind::Payment;
        let largest = cell.region.amounts.last().unwrap_or(0);
        let may_be_small =
            self.ground.de_minimis > Sats(0) && largest <= u128::from(self.ground.de_minimis.0);
        let mut found = Vec::new();
        for small in [true, false].into_iter().filter(|small| may_be_small || !small) {
            let mut part = cell.clone();
            if may_be_small {
                part.region.de_minimis = BTreeSet::from([small]);
            }
            for (direction, denies, allows) in [(Direction::More, 0, 1), (Direction::Less, 1, 0)] {
                let side = |i: usize| cell.rules.get(i).map(Vec::as_slice).unwrap_or_default();
                let (denies, allows) = (side(denies), side(allows));
                let sides = Sides { direction, pays, small, cell: &part, denies, allows };
                self.gains(&sides, &mut found);
            }
        }
        found
    }

    fn fact(&self, entry: &Entry) -> Option<&Fact<'_>> {
        self.catalog.facts.get(entry.rule)
    }

    fn facts<'j>(&'j self, entries: &'j [Entry]) -> impl Iterator<Item = &'j Fact<'j>> + Clone {
        entries.iter().filter_map(|entry| self.fact(entry))
    }

    fn verdict(entries: &[Entry]) -> Result<(), Why> {
        if !entries.iter().any(|entry| entry.grants) {
            return Err(Why::Scope);
        }
        entries.iter().find_map(|entry| entry.denies).map_or(Ok(()), Err)
    }

    /// What approvals an entry asks for, ages aside.
    fn needs_of(fact: &Fact<'_>, small: bool) -> Vec<Need> {
        let need = &fact.rule.require;
        let own = Need::new(&need.approvals, 0, need.independent.unwrap_or(0));
        let two = (!small).then(|| Need::new(&need.approvals, 2, 1));
        [own].into_iter().chain(two).collect()
    }

    fn needs<'f>(facts: impl Iterator<Item = &'f Fact<'f>>, small: bool) -> Vec<Need> {
        let needs: BTreeSet<Need> = facts.flat_map(|fact| Self::needs_of(fact, small)).collect();
        needs.into_iter().collect()
    }

    fn gains(&self, sides: &Sides<'_>, found: &mut Vec<Difference>) {
        if Self::verdict(sides.allows).is_err() {
            return;
        }
        let allowed = Self::needs(self.facts(sides.allows), sides.small);
        let approvers = match self.people.satisfying(&allowed) {
            // Nobody can approve it.
            Implied::Yes => return,
            Implied::No(some) => some,
            Implied::Unknown => self.everybody(sides),
        };
        if let Err(why) = Self::verdict(sides.denies) {
            let tries = self.amounts(sides, &approvers).collect();
            found.push(self.difference(sides, Aspect::Granted(why), tries));
            return;
        }
        let denied = Self::needs(self.facts(sides.denies), sides.small);
        match self.people.implies(&allowed, &denied) {
            Implied::Yes => {}
            Implied::No(some) => {
                let tries = self.amounts(sides, &some).collect();
                found.push(self.difference(sides, Aspect::Approvers, tries));
            }
            Implied::Unknown => {
                let tries = self.amounts(sides, &approvers).take(1).collect();
                found.push(self.difference(sides, Aspect::Approvers, tries));
            }
        }
        let both: Vec<Need> = allowed.into_iter().chain(denied).collect();
        let approvers = match self.people.satisfying(&both) {
            Implied::No(some) => some,
            Implied::Yes | Implied::Unknown => self.everybody(sides),
        };
        let checks =
            [Self::fee, Self::velocity, Self::fee_budget, Self::cool_down, Self::delay, Self::validity];
        for check in checks {
            if let Some((aspect, tries)) = check(self, sides, &approvers) {
                let plain = self.amounts(sides, &approvers).take(1);
                found.push(self.difference(sides, aspect, tries.into_iter().chain(plain).collect()));
            }
        }
    }

    /// Everybody whom the rules name.
    fn everybody(&self, sides: &Sides<'_>) -> Approvers {
        let facts = self.facts(sides.denies).chain(self.facts(sides.allows));
        let groups: BTreeSet<&Name> = facts
            .flat_map(|fact| fact.rule.require.approvals.iter().flatten())
            .map(|seats| &seats.group)
            .collect();
        let members = groups.into_iter().filter_map(|group| self.people.groups.members(group));
        members.flatten().map(|person| (person.clone(), true)).collect()
    }

    /// Plain requests of the cell: of its smallest amount and of its largest.
    fn amounts(&self, sides: &Sides<'_>, approvers: &Approvers) -> impl Iterator<Item = Example> {
        let ends: BTreeSet<u128> =
            sides.cell.region.amounts.ranges().iter().flat_map(|(first, last)| [*first, *last]).collect();
        let plain = self.plain(sides, approvers);
        ends.into_iter().flat_map(move |amount| {
            let amount = Sats(u64::try_from(amount).unwrap_or(u64::MAX));
            plain.clone().map(|plain| Example { amount, ..plain })
        })
    }

    fn plain(&self, sides: &Sides<'_>, approvers: &Approvers) -> Option<Example> {
        let region = &sides.cell.region;
        let client = if region.clients.unnamed { None } else { region.clients.named.example() };
        let worth = region.worths.iter().filter_map(|(currency, worths)| {
            Some((currency.clone(), custody::rates::Value(worths.known.first()?)))
        });
        let approver = |(person, own): (&Name, &bool)| Approver { person: person.clone(), independent: *own };
        Some(Example {
            kind: region.kind,
            asset: region.assets.first()?.clone(),
            wallet: region.wallets.example()?,
            tier: *region.tiers.first()?,
            client,
            destination: region.destinations.first().copied(),
            parts: 1,
            amount: Sats(0),
            // A cancel that pays a fee is not within de minimis when nothing is left.
            fee: if sides.pays || sides.small { Sats(0) } else { Sats(1) },
            worth: worth.collect(),
            time: u64::try_from(region.times.first()?).unwrap_or(u64::MAX),
            approvers: approvers.iter().map(approver).collect(),
            approved_s: None,
            destination_s: None,
            earlier: None,
            de_minimis_left: if sides.small { self.ground.de_minimis } else { Sats(0) },
        })
    }

    /// A difference with the first of these requests that shows it; without one it is undecided.
    fn difference(&self, sides: &Sides<'_>, aspect: Aspect, tries: Vec<Example>) -> Difference {
        let (allows, denies) = match sides.direction {
            Direction::More => (&self.books[1], &self.books[0]),
            Direction::Less => (&self.books[0], &self.books[1]),
        };
        let many = u32::try_from(OUTPUTS_LIMIT).unwrap_or(u32::MAX);
        // Limits by destination let more pass to several.
        let split = |example: &Example| {
            let parts = u32::try_from(example.amount.0).unwrap_or(many).min(many);
            Example { parts, ..example.clone() }
        };
        let whole = tries.iter().cloned();
        let parts = tries.iter().filter(|e| e.destination.is_some()).map(split);
        let shown = whole.chain(parts).find(|example| example.shows(allows, denies, self.ground.groups));
        let undecided = shown.is_none();
        let example = shown.or_else(|| tries.into_iter().next());
        let [in_force, draft] = &sides.cell.rules;
        let handles = |side: usize, entries: &[Entry]| -> Vec<Name> {
            let of = |entry: &Entry| self.catalog.handles.get(side)?.get(&entry.rule).cloned();
            entries.iter().filter_map(of).flatten().collect()
        };
        Difference {
            direction: sides.direction,
            aspect,
            undecided,
            region: Some(sides.cell.region.clone()),
            in_force: handles(0, in_force),
            draft: handles(1, draft),
            before: self.say(aspect, 0, in_force),
            after: self.say(aspect, 1, draft),
            example: example.as_ref().map(words::example).unwrap_or_default(),
            request: example,
        }
    }

    /// What the rules of one side say of an aspect.
    fn say(&self, aspect: Aspect, side: usize, entries: &[Entry]) -> String {
        let facts = self.facts(entries);
        let handle = |entry: &Entry| {
            let handles = self.catalog.handles.get(side).and_then(|handles| handles.get(&entry.rule));
            handles.map(words::list).unwrap_or_default()
        };
        match aspect {
            Aspect::Granted(_) | Aspect::Approvers => match Self::verdict(entries) {
                Err(Why::Scope) => "no rule grants it".into(),
                Err(why) => {
                    let rule = entries.iter().find(|entry| entry.denies == Some(why)).map(handle);
                    format!("denied by {} of rule {}", why.word(), rule.unwrap_or_default())
                }
                Ok(()) => {
                    let rules = entries.iter().filter_map(|entry| Some((handle(entry), self.fact(entry)?)));
                    let each = rules
                        .map(|(handle, fact)| format!("rule {handle} needs {}", words::needs(fact.rule)));
                    each.collect::<Vec<_>>().join("; ")
                }
            },
            Aspect::Fee => ceiling(facts).map_or_else(String::new, |(max, ppm)| {
                format!("at most {} and {ppm} millionths", words::sats(u128::from(max)))
            }),
            Aspect::Velocity => {
                let limits: Vec<String> =
                    facts.flat_map(|fact| words::velocity(&fact.rule.require, fact.currency)).collect();
                if limits.is_empty() { "no limit".into() } else { limits.join(", ") }
            }
            Aspect::FeeBudget => {
                let budgets = facts.filter_map(|fact| fact.rule.require.fee_budget);
                let each: Vec<String> = budgets.map(words::budget).collect();
                if each.is_empty() { "no budget".into() } else { each.join(", ") }
            }
            Aspect::CoolDown => format!("{} s", cool_down(facts)),
            Aspect::Delay => {
                format!("{} s", facts.filter_map(|fact| fact.rule.require.delay_s).max().unwrap_or(0))
            }
            Aspect::Validity => {
                let least = facts.filter_map(|fact| fact.rule.require.approval_valid_s).min();
                least.map_or_else(|| "until they end".into(), |s| format!("{s} s"))
            }
            _ => String::new(),
        }
    }

    fn fee(&self, sides: &Sides<'_>, approvers: &Approvers) -> Option<(Aspect, Vec<Example>)> {
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

    fn velocity(&self, sides: &Sides<'_>, approvers: &Approvers) -> Option<(Aspect, Vec<Example>)> {
        let (denies, allows) = (units(self.facts(sides.denies)), units(self.facts(sides.allows)));
        let lost: Vec<&Unit<'_>> =
            denies.iter().filter(|unit| !allows.iter().any(|other| other.implies(unit))).collect();
        if lost.is_empty() || !sides.pays {
            return None;
        }
        let plain: Vec<Example> = self.amounts(sides, approvers).collect();
        let mut tries = Vec::new();
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

    fn fee_budget(&self, sides: &Sides<'_>, approvers: &Approvers) -> Option<(Aspect, Vec<Example>)> {
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

    fn cool_down(&self, sides: &Sides<'_>, approvers: &Approvers) -> Option<(Aspect, Vec<Example>)> {
        let less = cool_down(self.facts(sides.allows));
        let shorter = sides.pays && less < cool_down(self.facts(sides.denies));
        let tries =
            self.amounts(sides, approvers).map(|plain| Example { destination_s: Some(less), ..plain });
        shorter.then(|| (Aspect::CoolDown, tries.collect()))
    }

    fn delay(&self, sides: &Sides<'_>, approvers: &Approvers) -> Option<(Aspect, Vec<Example>)> {
        self.ages(sides, approvers, Aspect::Delay)
    }

    fn validity(&self, sides: &Sides<'_>, approvers: &Approvers) -> Option<(Aspect, Vec<Example>)> {
        self.ages(sides, approvers, Aspect::Validity)
    }

    /// Whether approvals may be younger, or older. A rule asks for approvals between two ages; all rules of the
    /// other policy whose approvals are between those too must imply what it asks for. Where not even all of
    /// its rules do, the approvers differ, which is said already.
    fn ages(
        &self,
        sides: &Sides<'_>,
        approvers: &Approvers,
        aspect: Aspect,
    ) -> Option<(Aspect, Vec<Example>)> {
        let delay = |fact: &Fact<'_>| fact.rule.require.delay_s.filter(|_| sides.pays).unwrap_or(0);
        let valid = |fact: &Fact<'_>| fact.rule.require.approval_valid_s.unwrap_or(u64::MAX);
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
            timed
                && implied(fact, false, false)
                && match aspect {
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
        let aged =
            |age: u64| plain.iter().map(move |plain| Example { approved_s: Some(age), ..plain.clone() });
        Some((aspect, ages.into_iter().flat_map(aged).collect()))
    }
}
