//! What one policy allows in a cell that another one does not, with a request that shows it.

use std::collections::BTreeSet;

use custody::decide::Rulebook;
use custody::effects::Sats;
use custody::name::Name;
use custody::payment::OUTPUTS_LIMIT;
use custody::policy::RequestKind;

use super::budget::Budget;
use super::catalog::{Catalog, Cell, Entry, Fact};
use super::example::{Approver, Example};
use super::limits::{ceiling, cool_down};
use super::people::{Approvers, Implied, Need, People};
use super::{Aspect, Difference, Direction, Ground, Why};
use crate::words;

/// Looks at cells for what differs.
pub(crate) struct Judge<'a> {
    pub(crate) catalog: &'a Catalog<'a>,
    pub(crate) people: &'a People<'a>,
    pub(crate) ground: &'a Ground<'a>,
    pub(crate) budget: &'a Budget,
    /// In force, and the draft.
    pub(crate) books: [Rulebook; 2],
}

/// Of the two policies in a cell the one that denies, and the one that allows.
pub(super) struct Sides<'c> {
    direction: Direction,
    pub(super) pays: bool,
    pub(super) small: bool,
    pub(super) cell: &'c Cell,
    pub(super) denies: &'c [Entry],
    pub(super) allows: &'c [Entry],
}

impl Judge<'_> {
    /// All that differs in a cell; nothing once the budget is spent, for not all was looked at.
    pub(crate) fn look(&self, cell: &Cell) -> Option<Vec<Difference>> {
        if !self.budget.takes(cell.region.size()) {
            return None;
        }
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
        (!self.budget.is_spent()).then_some(found)
    }

    fn fact(&self, entry: &Entry) -> Option<&Fact<'_>> {
        self.catalog.facts.get(entry.rule)
    }

    pub(super) fn facts<'j>(&'j self, entries: &'j [Entry]) -> impl Iterator<Item = &'j Fact<'j>> + Clone {
        entries.iter().filter_map(|entry| self.fact(entry))
    }

    /// How much work the paths of all rules are.
    pub(super) fn seats(&self, sides: &Sides<'_>) -> usize {
        let facts = self.facts(sides.denies).chain(self.facts(sides.allows));
        facts.fold(1, |sum, fact| sum.saturating_add(fact.seats))
    }

    fn verdict(entries: &[Entry]) -> Result<(), Why> {
        if !entries.iter().any(|entry| entry.grants) {
            return Err(Why::Scope);
        }
        entries.iter().find_map(|entry| entry.denies).map_or(Ok(()), Err)
    }

    /// What approvals an entry asks for, ages aside.
    pub(super) fn needs_of(fact: &Fact<'_>, small: bool) -> Vec<Need> {
        let need = &fact.rule.require;
        let own = Need::new(&need.approvals, 0, need.independent.unwrap_or(0));
        let two = (!small).then(|| Need::new(&need.approvals, 2, 1));
        [own].into_iter().chain(two).collect()
    }

    pub(super) fn needs<'f>(facts: impl Iterator<Item = &'f Fact<'f>>, small: bool) -> Vec<Need> {
        let needs: BTreeSet<Need> = facts.flat_map(|fact| Self::needs_of(fact, small)).collect();
        needs.into_iter().collect()
    }

    fn gains(&self, sides: &Sides<'_>, found: &mut Vec<Difference>) {
        if Self::verdict(sides.allows).is_err() || !self.budget.takes(self.seats(sides)) {
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
    pub(super) fn amounts(&self, sides: &Sides<'_>, approvers: &Approvers) -> impl Iterator<Item = Example> {
        let ends: BTreeSet<u128> =
            sides.cell.region.amounts.ranges().iter().flat_map(|(first, last)| [*first, *last]).collect();
        let plain = self.plain(sides, approvers);
        ends.into_iter().flat_map(move |amount| {
            let amount = Sats(u64::try_from(amount).unwrap_or(u64::MAX));
            plain.clone().map(|plain| Example { amount, ..plain })
        })
    }

    pub(super) fn plain(&self, sides: &Sides<'_>, approvers: &Approvers) -> Option<Example> {
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
        let region = &sides.cell.region;
        self.budget.takes(region.size().saturating_add(self.seats(sides)));
        let shows = |example: &Example| {
            let people = example.approvers.len().saturating_add(1);
            self.budget.takes(self.seats(sides).saturating_mul(people))
                && example.shows(allows, denies, self.ground.groups)
        };
        let shown = whole.chain(parts).find(shows);
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
            region: Some(region.clone()),
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
}
