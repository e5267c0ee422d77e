//! Rule by rule, whatever became looser: beside what the policies allow as wholes, where one change can hide another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{PolicyRule, RequestKind, Velocity};
use serde::Serialize;

use super::catalog::{Catalog, Fact};
use super::limits::{Unit, units_of};
use super::people::{Implied, Need, People};
use crate::words;

/// What one rule asks for less strictly in the draft, or of other requests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Looser {
    /// The handle of the rule.
    pub rule: Name,
    /// What of it, by its name in a policy file; `rule` where one of the two has no rule of this handle.
    pub parameter: &'static str,
    /// What the rule in force says.
    pub before: String,
    /// What the draft says.
    pub after: String,
}

impl Looser {
    pub(super) fn text(&self) -> String {
        let Self { rule, parameter, before, after } = self;
        format!("looser: rule {rule}: {parameter}\n  in force    {before}\n  draft       {after}\n")
    }
}

/// All that is looser, for each rule in force. One that the draft has with the same words, under whatever handle,
/// is not gone.
pub(crate) fn looser(catalog: &Catalog<'_>, people: &People<'_>) -> Vec<Looser> {
    let [in_force, draft] = &catalog.handles;
    let by_handle: BTreeMap<&Name, usize> =
        draft.iter().flat_map(|(fact, handles)| handles.iter().map(|handle| (handle, *fact))).collect();
    let rules = in_force.iter().flat_map(|(fact, handles)| handles.iter().map(|handle| (*fact, handle)));
    let mut all = Vec::new();
    for (fact, rule) in rules {
        let named = by_handle.get(rule).copied();
        let mut pair = Pair { rule, found: Vec::new() };
        match (catalog.facts.get(fact), named.and_then(|named| catalog.facts.get(named))) {
            _ if named == Some(fact) => {}
            (Some(old), Some(new)) => pair.compare(old, new, people),
            _ if draft.contains_key(&fact) => {}
            _ => pair.say("rule", "in force", "none of this handle"),
        }
        all.append(&mut pair.found);
    }
    // A rule that is new grants, whatever the comparison of the whole came to.
    let old: BTreeSet<&Name> = in_force.values().flatten().collect();
    let new = draft.iter().filter(|(fact, _)| !in_force.contains_key(fact)).flat_map(|(_, handles)| handles);
    for rule in new.filter(|rule| !old.contains(rule)) {
        let mut pair = Pair { rule, found: Vec::new() };
        pair.say("rule", "none of this handle", "in the draft");
        all.append(&mut pair.found);
    }
    all
}

/// A rule in force and that of the same handle in the draft.
struct Pair<'a> {
    rule: &'a Name,
    found: Vec<Looser>,
}

fn or<T>(value: Option<T>, none: &str, words: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| none.to_owned(), words)
}

fn seconds(value: Option<u64>) -> String {
    or(value, "none", |s| format!("{s} s"))
}

impl Pair<'_> {
    fn say(&mut self, parameter: &'static str, before: impl Display, after: impl Display) {
        let (before, after) = (before.to_string(), after.to_string());
        self.found.push(Looser { rule: self.rule.clone(), parameter, before, after });
    }

    fn compare(&mut self, old: &Fact<'_>, new: &Fact<'_>, people: &People<'_>) {
        self.scope(old, new);
        let values =
            |fact: &Fact<'_>, value: Option<_>| or(value, "none", |v| words::value(v, fact.currency));
        let (was, is) = (&old.rule.require, &new.rule.require);
        let need = |rule: &PolicyRule| [Need::new(&rule.require.approvals, 0, 0)];
        if people.implies(&need(new.rule), &need(old.rule)) != Implied::Yes {
            let paths = |rule: &PolicyRule| custody::policy::describe(&rule.require.approvals);
            self.say("approvals", paths(old.rule), paths(new.rule));
        }
        if is.independent < was.independent {
            let count = |n: Option<u32>| or(n, "none", |n| n.to_string());
            self.say("independent", count(was.independent), count(is.independent));
        }
        for (parameter, was, is) in
            [("delay", was.delay_s, is.delay_s), ("cool_down", was.cool_down_s, is.cool_down_s)]
        {
            if is < was {
                self.say(parameter, seconds(was), seconds(is));
            }
        }
        let longer = |was: Option<u64>, is: Option<u64>| was.is_some_and(|was| is.is_none_or(|is| is > was));
        if longer(was.approval_valid_s, is.approval_valid_s) {
            self.say("approvals_valid", seconds(was.approval_valid_s), seconds(is.approval_valid_s));
        }
        if old.open.as_ref().is_some_and(|was| new.open.as_ref().is_none_or(|is| !is.is_within(was))) {
            let hours = |hours: &Option<Name>| or(hours.as_ref(), "none", |id| format!("calendar {id}"));
            let after = if is.hours == was.hours { ", open longer" } else { "" };
            self.say("hours", hours(&was.hours), hours(&is.hours) + after);
        }
        for (parameter, was, is) in
            [("amount_max", was.amount_max, is.amount_max), ("fee_max", was.fee_max, is.fee_max)]
        {
            if is > was {
                self.say(parameter, words::sats(was.0.into()), words::sats(is.0.into()));
            }
        }
        if is.fee_max_ppm > was.fee_max_ppm {
            self.say("fee_max_ppm", was.fee_max_ppm, is.fee_max_ppm);
        }
        let other = old.currency != new.currency;
        if was.value_max.is_some_and(|max| is.value_max.is_none_or(|now| now > max || other)) {
            self.say("value_max", values(old, was.value_max), values(new, is.value_max));
        }
        let kept = is.fee_budget;
        if let Some(budget) = was
            .fee_budget
            .filter(|was| !kept.is_some_and(|is| is.fee_max <= was.fee_max && is.window_s >= was.window_s))
        {
            self.say("fee_budget", words::budget(budget), or(kept, "none", words::budget));
        }
        self.velocity(old, new);
    }

    /// What a rule covers is what it binds, and what it grants: any change of it is told.
    fn scope(&mut self, old: &Fact<'_>, new: &Fact<'_>) {
        fn listed<T: Ord>(list: Option<&Vec<T>>) -> Option<BTreeSet<&T>> {
            list.map(|list| list.iter().collect())
        }
        let (was, is) = (&old.rule.when, &new.rule.when);
        macro_rules! lists {
            ($($name:literal $field:ident $word:expr;)+) => {$(
                let (before, after) = (listed(was.$field.as_ref()), listed(is.$field.as_ref()));
                if before != after {
                    let say = |set: Option<BTreeSet<_>>| or(set, "any", |set| words::cut(set.into_iter().map($word).collect(), ", "));
                    self.say($name, say(before), say(after));
                }
            )+};
        }
        lists! {
            "kinds" kinds |kind: &RequestKind| words::kind(*kind).to_owned();
            "wallets" wallets Name::to_string;
            "tiers" tiers |tier: &Tier| tier.word().to_owned();
            "clients" clients Name::to_string;
            "destinations" destinations |kind: &DestinationKind| words::destination(*kind).to_owned();
            "networks" networks words::quoted;
            "assets" assets words::quoted;
        }
        for (name, before, after) in
            [("from", was.amount_min, is.amount_min), ("up_to", was.amount_max, is.amount_max)]
        {
            if before != after {
                let say = |amount: Option<Sats>| or(amount, "any", |a| words::sats(a.0.into()));
                self.say(name, say(before), say(after));
            }
        }
        let other = old.currency != new.currency;
        for (name, before, after) in
            [("value_from", was.value_min, is.value_min), ("value_up_to", was.value_max, is.value_max)]
        {
            if before != after || (before.is_some() && other) {
                let [before, after] = [(old, before), (new, after)]
                    .map(|(fact, value)| or(value, "any", |value| words::value(value, fact.currency)));
                self.say(name, before, after);
            }
        }
    }

    fn velocity(&mut self, old: &Fact<'_>, new: &Fact<'_>) {
        let own: Vec<Unit<'_>> =
            new.rule.require.velocity.iter().flat_map(|limit| units_of(new, limit)).collect();
        let kept =
            |limit: &&Velocity| units_of(old, limit).all(|unit| own.iter().any(|own| own.is_tight_as(&unit)));
        let after = words::velocity(&new.rule.require, new.currency).join(", ");
        let after = if after.is_empty() { "none" } else { &after };
        for limit in old.rule.require.velocity.iter().filter(|limit| !kept(limit)) {
            self.say("velocity", words::limit(limit, old.currency), after);
        }
    }
}
