//! Why a request waits: which rules cover it, what of each is satisfied, what else refuses it, who can still
//! approve, and when it could be signed at the earliest.
//!
//! Fees are known only with a transaction, so all is said for the lowest one. People sit in groups, and are away, as
//! they are at the last batch of the log.

mod barred;

use std::collections::BTreeSet;

use custody::Hash;
use custody::apply::DELAY_STEP_LIMIT_S;
use custody::decide::{Ask, Given, Rulebook};
use custody::document::Document;
use custody::effects::{Decoder, Sats};
use custody::name::Name;
use custody::policy::{Calendar, DE_MINIMIS_WINDOW_S, Path, PolicyRule, WINDOW_LIMIT_S};
use custody::quorum::Groups as _;
use custody::rule::{Refusal, Rule};
use custody::state::{Owner, RequestRecord, State};
use custody::statement::{Scope, key_id};
use serde::Serialize;

use crate::words;

/// Most moments at which a decision is tried in search of the earliest that allows: those at which something
/// opens, ends a delay or leaves a window. Takes some seconds at most.
pub const MOMENTS_LIMIT: usize = 20_000;

/// One requirement of a rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Requirement {
    /// The rule of custody that stands for it, as `policy.velocity`.
    pub rule: &'static str,
    /// What it asks for.
    pub asks: String,
    /// What is missing; nothing when it is satisfied.
    pub missing: Option<String>,
}

/// A rule that covers the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Covering {
    /// Its handle.
    pub id: Name,
    /// What it asks for.
    pub requirements: Vec<Requirement>,
}

/// When the request could be signed, if everybody who can still approve did so now and what stops it were lifted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Earliest {
    /// At this time, seconds since 1970, if the log goes on without pause.
    At(u64),
    /// Not before it ends, or the lease or the attestation of a third party that it needs does, at this time.
    NotBeforeEnd(u64),
    /// Not found among the first moments at which it could be.
    Unknown,
    /// Never: what it waits for is no matter of time or approvals.
    Over,
}

/// A request explained.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// For which time, seconds since 1970.
    pub at: u64,
    /// What stands in the way that is no matter of the policy: renewed, ended; frozen, without a lease, from a wallet
    /// that is not active, in an asset that is not held, to a destination that changed, is denied or not attested.
    pub stopped: Vec<String>,
    /// The rules that cover it. Every one must be satisfied.
    pub rules: Vec<Covering>,
    /// What no single rule asks for: that some rule grants it, that two people approve, that who proposed a
    /// destination is not alone.
    pub missing: Vec<String>,
    /// Who could still approve something that is missing.
    pub may_approve: Vec<Name>,
    /// When it could be signed.
    pub earliest: Earliest,
}

/// A request, in the log or not yet, under a policy.
#[derive(Clone, Copy)]
struct Look<'a> {
    state: &'a State,
    decoder: &'a dyn Decoder,
    book: &'a Rulebook,
    /// Of one in the log.
    id: Option<&'a Hash>,
    record: &'a RequestRecord,
    now: u64,
}

/// Explains a request in the log at `now` (seconds since 1970, the own clock), under the policy in force.
/// Nothing when there is no such request or no policy.
pub fn explain(state: &State, id: &Hash, now: u64, decoder: &dyn Decoder) -> Option<Explanation> {
    let record = state.requests().get(id)?;
    explain_as(state, Some(id), record, now, decoder)
}

/// Explains a request that is not in the log yet, as if it were asked now.
pub fn explain_draft(
    state: &State,
    record: &RequestRecord,
    now: u64,
    decoder: &dyn Decoder,
) -> Option<Explanation> {
    explain_as(state, None, record, now, decoder)
}

fn explain_as(
    state: &State,
    id: Option<&Hash>,
    record: &RequestRecord,
    now: u64,
    decoder: &dyn Decoder,
) -> Option<Explanation> {
    let book = state.rulebook()?;
    let look = Look { state, decoder, book, id, record, now: now.max(state.clock().time) };
    let ask = look.ask(look.now, false);
    let refusals = book.explain(&ask, state);
    let covering = book.covering(&ask, state);
    let rules = covering.iter().map(|rule| look.covering(rule, &refusals)).collect();
    let standing = state.check_proposers(&record.request, &ask, book).err();
    let none = refusals.iter().filter(|(rule, _)| rule.is_none()).map(|(_, refusal)| refusal);
    let missing: Vec<&Refusal> = none.chain(&standing).collect();
    let approvals = |rule: Rule| {
        matches!(rule, Rule::PolicyApprovals | Rule::PolicyIndependent | Rule::TwoPeople | Rule::Standing)
    };
    let wanting = |rule: &PolicyRule| {
        refusals.iter().any(|(id, no)| id.as_ref() == Some(&rule.id) && approvals(no.rule))
            || missing.iter().any(|no| approvals(no.rule))
    };
    let wanted = covering.iter().filter(|rule| wanting(rule)).flat_map(|rule| &rule.require.approvals);
    let may_approve = look.may_approve(&ask, wanted.chain(look.despite(&ask).into_iter().flatten()));
    let mut stopped = look.over();
    let earliest = if stopped.is_empty() { look.earliest() } else { Earliest::Over };
    stopped.extend(look.barred(&ask));
    let missing = missing.into_iter().map(ToString::to_string).collect();
    Some(Explanation { at: look.now, stopped, rules, missing, may_approve, earliest })
}

impl Look<'_> {
    /// The request as the policy would see it at `time`, if the log went on without pause from now on; with
    /// the approvals of all who can still approve, given now, or without.
    fn ask(&self, time: u64, all: bool) -> Ask {
        let clock = self.state.clock();
        // The log may have stood still since its last batch: the delay clock makes up for only so much.
        let now = clock.delay.saturating_add(self.now.saturating_sub(clock.time).min(DELAY_STEP_LIMIT_S));
        let delay = now.saturating_add(time.saturating_sub(self.now));
        let mut ask = self.state.ask_of(self.record, Sats(0), time);
        for cooled in ask.cooled_s.values_mut() {
            *cooled = cooled.saturating_add(delay.saturating_sub(clock.delay));
        }
        ask.delay = delay;
        if all {
            for person in self.free(&ask) {
                let given = Given { at: self.now, delay_at: now, independent: self.is_independent(&person) };
                ask.approvals.insert(person, given);
            }
        }
        ask
    }

    /// Everybody who could still approve, whatever the rules ask for.
    fn free(&self, ask: &Ask) -> Vec<Name> {
        let rules = self.book.covering(ask, self.state);
        self.may_approve(ask, rules.into_iter().flat_map(|rule| &rule.require.approvals))
    }

    /// Who may fill a seat of these paths now, of the members of their groups and of those who stand in for some,
    /// and has not approved: not who asked, nobody who is frozen or has no key in force.
    fn may_approve<'r>(&self, ask: &Ask, paths: impl Iterator<Item = &'r Path>) -> Vec<Name> {
        let groups: BTreeSet<&Name> = paths.flatten().map(|seats| &seats.group).collect();
        let members = groups.iter().filter_map(|group| self.state.members(group)).flatten();
        let stand_in = self.state.documents().filter_map(|found| match &found.document {
            Document::Delegation(delegation) => Some(&delegation.to),
            _ => None,
        });
        let people: BTreeSet<&Name> = members.chain(stand_in).collect();
        let may = |person: &&&Name| {
            let asked = self.record.requester == Owner::Person((**person).clone());
            let scope = Scope::Person((**person).clone());
            let stopped = self.state.freezes().iter().any(|(_, freeze)| freeze.scope == scope);
            let sits = groups.iter().any(|group| self.state.sits(person, group));
            let approved = ask.approvals.contains_key(**person);
            !asked && !stopped && sits && !approved && self.keys(person).next().is_some()
        };
        people.iter().filter(may).map(|person| (*person).clone()).collect()
    }

    /// Whether each of somebody's keys in force shows what it signs.
    fn keys(&self, person: &Name) -> impl Iterator<Item = bool> {
        let keys = self.state.person(person).map(|person| person.keys.as_slice()).unwrap_or_default();
        let in_force = |key: &Hash| self.state.key(key).is_some_and(|record| record.revoked_at.is_none());
        keys.iter().filter(move |key| in_force(&key_id(&key.sign))).map(|key| key.device.is_independent())
    }

    fn is_independent(&self, person: &Name) -> bool {
        self.keys(person).any(|independent| independent)
    }

    fn allows(&self, time: u64) -> bool {
        let ask = self.ask(time, true);
        self.book.decide(&ask, self.state).is_ok()
            && self.state.check_proposers(&self.record.request, &ask, self.book).is_ok()
    }

    /// The first moment that allows. A decision turns from no to yes only when a calendar opens, a delay or
    /// cool-down is over, something leaves a window or a rate ends, so no other moments are tried.
    fn earliest(&self) -> Earliest {
        let (now, end) = (self.now, self.last());
        let mut moments = BTreeSet::from([now]);
        let ask = self.ask(now, true);
        let after = |seconds: u64| now.saturating_add(seconds);
        let policy = self.book.policy();
        let mut windows = BTreeSet::from([DE_MINIMIS_WINDOW_S]);
        // Any rule may come to cover when a rate ends, so all are looked at.
        for rule in &policy.rules {
            let need = &rule.require;
            let delay = need.delay_s.unwrap_or(0);
            let stood = ask.approvals.values().map(|given| ask.delay.saturating_sub(given.delay_at));
            moments.extend(stood.map(|stood| after(delay.saturating_sub(stood))));
            let cool_down = need.cool_down_s.unwrap_or(0);
            moments.extend(ask.cooled_s.values().map(|cooled| after(cool_down.saturating_sub(*cooled))));
            windows.extend(need.velocity.iter().map(|limit| limit.window_s));
            windows.extend(need.fee_budget.map(|budget| budget.window_s));
        }
        let opens = |calendar: &Calendar| {
            calendar.open.iter().map(|(start, _)| (*start).max(calendar.from)).collect::<Vec<_>>()
        };
        moments.extend(policy.calendars.values().flat_map(opens));
        // What has a scope in values covers whatever is of no known worth.
        let rates = self.state.documents().filter_map(|found| match &found.document {
            Document::Rates(rates) => Some(rates.until.saturating_add(1)),
            _ => None,
        });
        moments.extend(rates);
        let kept = now.saturating_sub(WINDOW_LIMIT_S);
        let paid = self.state.authorisations().iter().map(|(_, paid)| paid.at).filter(|at| *at >= kept);
        let times: BTreeSet<u64> = paid.collect();
        let leaves = |at: &u64| windows.iter().map(|window| at.saturating_add(*window)).collect::<Vec<_>>();
        moments.extend(times.iter().flat_map(leaves));
        let within: Vec<u64> = moments.range(now..=end.max(now)).copied().filter(|at| *at <= end).collect();
        first(&within, end, |at| self.allows(at))
    }

    fn covering(&self, rule: &PolicyRule, refusals: &[(Option<Name>, Refusal)]) -> Covering {
        let need = &rule.require;
        let pays = !self.record.request.is_cancel();
        let currency = self.book.policy().currency.as_ref();
        let mut asks = vec![
            (Rule::PolicyLimit, format!("at most {}", words::sats(u128::from(need.amount_max.0)))),
            (
                Rule::PolicyFee,
                format!(
                    "fee at most {} and {} millionths",
                    words::sats(u128::from(need.fee_max.0)),
                    need.fee_max_ppm
                ),
            ),
            (Rule::PolicyApprovals, words::needs(rule)),
        ];
        if let Some(n) = need.independent {
            asks.push((Rule::PolicyIndependent, format!("{n} approvals on independent devices")));
        }
        if let Some(budget) = need.fee_budget {
            asks.push((Rule::PolicyFeeBudget, format!("fees of at most {}", words::budget(budget))));
        }
        if pays {
            if let Some(max) = need.value_max {
                asks.push((Rule::PolicyValue, format!("worth at most {}", words::value(max, currency))));
            } else if rule.when.value_min.is_some() || rule.when.value_max.is_some() {
                asks.push((Rule::PolicyValue, "of known worth".into()));
            }
            if !need.velocity.is_empty() {
                asks.push((
                    Rule::PolicyVelocity,
                    format!("at most {}", words::velocity(need, currency).join(", ")),
                ));
            }
            if let Some(hours) = &need.hours {
                asks.push((Rule::PolicyHours, format!("while calendar {hours} is open")));
            }
            if let Some(delay) = need.delay_s {
                asks.push((Rule::PolicyDelay, format!("{delay} s after the approvals")));
            }
            if let Some(cool_down) = need.cool_down_s {
                asks.push((Rule::PolicyCoolDown, format!("destinations in force for {cool_down} s")));
            }
        }
        let requirement = |(of, asks): (Rule, String)| {
            let no = refusals.iter().find(|(id, no)| id.as_ref() == Some(&rule.id) && no.rule == of);
            Requirement { rule: of.id(), asks, missing: no.map(|(_, no)| no.why.clone()) }
        };
        // A refusal by what has no line of its own, as a limit in values that lacks a rate.
        let known: BTreeSet<&str> = asks.iter().map(|(of, _)| of.id()).collect();
        let own =
            refusals.iter().filter(|(id, no)| id.as_ref() == Some(&rule.id) && !known.contains(no.rule.id()));
        let others: Vec<_> = own.map(|(_, no)| (no.rule, no.rule.meaning().to_owned())).collect();
        Covering {
            id: rule.id.clone(),
            requirements: asks.into_iter().chain(others).map(requirement).collect(),
        }
    }
}

/// The first of these moments that allows.
fn first(moments: &[u64], end: u64, allows: impl Fn(u64) -> bool) -> Earliest {
    match moments.iter().copied().take(MOMENTS_LIMIT).find(|at| allows(*at)) {
        Some(at) => Earliest::At(at),
        None if moments.len() > MOMENTS_LIMIT => Earliest::Unknown,
        None => Earliest::NotBeforeEnd(end),
    }
}

impl Explanation {
    /// As plain text.
    pub fn text(&self) -> String {
        let mut text = format!("at {}, with the lowest fee\n", words::time(self.at));
        for why in &self.stopped {
            text.push_str(&format!("  stopped       {why}\n"));
        }
        for rule in &self.rules {
            text.push_str(&format!("rule {}\n", rule.id));
            for requirement in &rule.requirements {
                let mark = if requirement.missing.is_none() { "satisfied" } else { "MISSING" };
                text.push_str(&format!("  {mark:<14}{}\n", requirement.asks));
                if let Some(missing) = &requirement.missing {
                    text.push_str(&format!("  {:<14}{missing}\n", ""));
                }
            }
        }
        for missing in &self.missing {
            text.push_str(&format!("  MISSING       {missing}\n"));
        }
        let may =
            if self.may_approve.is_empty() { "nobody need".into() } else { words::list(&self.may_approve) };
        text.push_str(&format!("may approve   {may}\n"));
        let earliest = match self.earliest {
            Earliest::At(at) if at <= self.at => "now, if those who may approve do".into(),
            Earliest::At(at) => format!("{}, if those who may approve do so now", words::time(at)),
            Earliest::NotBeforeEnd(end) => {
                format!("not by {}, when it ends or what it needs does", words::time(end))
            }
            Earliest::Unknown => "not found: too much opens and closes before its end".into(),
            Earliest::Over => "never: it is over".into(),
        };
        let aside = if self.stopped.is_empty() || self.earliest == Earliest::Over {
            ""
        } else {
            "; what stops it aside"
        };
        text.push_str(&format!("could be signed  {earliest}{aside}\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_tried_up_to_a_limit() {
        let moments: Vec<u64> = (0..).take(MOMENTS_LIMIT + 1).collect();
        let (last, end) = (moments[MOMENTS_LIMIT - 1], u64::MAX);
        assert_eq!(first(&moments, end, |at| at == last), Earliest::At(last));
        assert_eq!(first(&moments, end, |at| at == last + 1), Earliest::Unknown);
        assert_eq!(first(&moments[..MOMENTS_LIMIT], end, |at| at == last + 1), Earliest::NotBeforeEnd(end));
    }
}
