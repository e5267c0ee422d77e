//! Policy: who may move what under whose approval (design: rules, scopes, requirements, floors).
//!
//! A request must match at least one rule, and every rule that it matches must be satisfied. Order
//! means nothing. No match denies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::document::{DestinationKind, Kind, TABLE};
use crate::effects::Sats;
use crate::name::Name;
use crate::quorum::{people_of, seat};
use crate::rule::{Refusal, Rule, ensure};

/// Highest *de minimis* that a genesis may set for bitcoin: 100,000 sat in any rolling 24 hours over
/// the whole deployment. Above it two people approve, whatever a policy says (DACS OPS-06).
pub const DE_MINIMIS_CEILING: Sats = Sats(100_000);

/// The window of *de minimis*, in seconds.
pub const DE_MINIMIS_WINDOW_S: u64 = 24 * 3600;

/// Most rules in a policy: a person can still read them all.
pub const RULES_LIMIT: usize = 64;

/// Most alternative paths in one requirement.
pub const PATHS_LIMIT: usize = 16;

/// Most people in one path.
pub const SEATS_LIMIT: u32 = 16;

/// Longest delay of a document, in seconds (30 days): longer ones hide a mistake for too long.
pub const DELAY_LIMIT_S: u64 = 30 * 24 * 3600;

/// `count` people of `group`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seats {
    /// How many.
    pub count: u32,
    /// Of which group.
    pub group: Name,
}

/// All of these seats, each filled by another person.
pub type Path = Vec<Seats>;

/// Which requests a rule covers. A field that is absent covers all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Only these wallets.
    pub wallets: Option<Vec<Name>>,
    /// Only requests with a destination of one of these kinds (and those without any, which only cancel).
    pub destinations: Option<Vec<DestinationKind>>,
    /// Only requests of at least this amount in all.
    pub amount_min: Option<Sats>,
    /// Only requests of at most this amount in all.
    pub amount_max: Option<Sats>,
}

/// What a rule asks of the requests that it covers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// One of these paths must be filled.
    pub approvals: Vec<Path>,
    /// Most that one request may pay.
    pub amount_max: Sats,
    /// Highest fee.
    pub fee_max: Sats,
    /// Highest fee in millionths of the amount.
    pub fee_max_ppm: u64,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// The handle.
    pub id: Name,
    /// Its scope.
    pub when: When,
    /// Its requirements.
    pub require: Require,
}

/// The quorum and the delay of one kind of document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Governance {
    /// One of these paths must be filled.
    pub approvals: Vec<Path>,
    /// Seconds of the delay clock between the last approval and force; zero for kinds without delay.
    pub delay_s: u64,
}

/// The policy of a deployment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The rules for payments.
    pub rules: Vec<PolicyRule>,
    /// The rules for documents, one for each kind.
    pub governance: BTreeMap<Kind, Governance>,
}

/// A request as the policy sees it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The wallet that pays.
    pub wallet: Name,
    /// All that it pays to others.
    pub amount: Sats,
    /// The fee that falls on it.
    pub fee: Sats,
    /// The kinds of its destinations.
    pub destinations: BTreeSet<DestinationKind>,
    /// What may still leave under *de minimis* in the window, before this request.
    pub de_minimis_left: Sats,
}

/// The members of groups, as they are now.
pub trait Groups {
    /// The members, or nothing when there is no such group.
    fn members(&self, group: &Name) -> Option<&[Name]>;
}

impl When {
    /// Whether it speaks of destinations of this kind.
    fn names(&self, kind: DestinationKind) -> bool {
        self.destinations.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }

    /// Whether it covers the request. A rule covers it already by one destination, so that another kind
    /// of destination beside it evades no rule; [`Policy::decide`] asks that each kind is covered.
    pub fn covers(&self, ask: &Ask) -> bool {
        self.wallets.as_ref().is_none_or(|w| w.contains(&ask.wallet))
            && (ask.destinations.is_empty() || ask.destinations.iter().any(|kind| self.names(*kind)))
            && self.amount_min.is_none_or(|min| ask.amount >= min)
            && self.amount_max.is_none_or(|max| ask.amount <= max)
    }
}

/// Whether `fee` is at most `ppm` millionths of `amount`.
pub fn fee_within_share(fee: Sats, amount: Sats, ppm: u64) -> bool {
    u128::from(fee.0).saturating_mul(1_000_000) <= u128::from(amount.0).saturating_mul(u128::from(ppm))
}

impl Policy {
    /// Decides a request that `approvers` (distinct people, the requester not among them) approved.
    ///
    /// # Errors
    /// The first rule of the policy that is not satisfied, or that none covers the request.
    pub fn decide(
        &self,
        ask: &Ask,
        approvers: &BTreeSet<Name>,
        groups: &dyn Groups,
    ) -> Result<Vec<Name>, Refusal> {
        let covering: Vec<&PolicyRule> = self.rules.iter().filter(|r| r.when.covers(ask)).collect();
        let every = |kind: &DestinationKind| covering.iter().any(|r| r.when.names(*kind));
        ensure(!covering.is_empty() && ask.destinations.iter().all(every), Rule::PolicyScope, || {
            format!("no rule of the policy covers all of {} from wallet {}", ask.amount, ask.wallet)
        })?;
        for rule in &covering {
            let id = &rule.id;
            let need = &rule.require;
            ensure(ask.amount <= need.amount_max, Rule::PolicyLimit, || {
                format!("{} is over the limit of {} of rule {id}", ask.amount, need.amount_max)
            })?;
            let share_ok = ask.amount == Sats(0) || fee_within_share(ask.fee, ask.amount, need.fee_max_ppm);
            ensure(ask.fee <= need.fee_max && share_ok, Rule::PolicyFee, || {
                let (fee, max, ppm) = (ask.fee, need.fee_max, need.fee_max_ppm);
                format!(
                    "a fee of {fee} is over the ceilings of rule {id}: {max} and {ppm} millionths of the amount"
                )
            })?;
            let filled = need.approvals.iter().any(|path| seat(path, approvers, groups));
            ensure(filled, Rule::PolicyApprovals, || {
                format!("rule {id} needs {}; so far: {}", describe(&need.approvals), list(approvers))
            })?;
        }
        // The floor stands under every policy: a path with one person carries only de minimis.
        let two = approvers.len() >= 2
            && covering.iter().all(|rule| {
                let paths = &rule.require.approvals;
                paths.iter().any(|path| people_of(path) >= 2 && seat(path, approvers, groups))
            });
        let small =
            !approvers.is_empty() && ask.amount.plus(ask.fee).is_some_and(|all| all <= ask.de_minimis_left);
        ensure(two || small, Rule::TwoPeople, || {
            format!("two people must approve above de minimis ({} left today)", ask.de_minimis_left)
        })?;
        Ok(covering.into_iter().map(|rule| rule.id.clone()).collect())
    }

    /// The rule set that brought the last of the kinds that it governs.
    pub fn since(&self) -> u32 {
        self.governance.keys().map(|kind| kind.row().since).max().unwrap_or(1)
    }

    /// Checks a policy before it is adopted under a rule set: it governs every kind that the set has.
    ///
    /// # Errors
    /// The floor that it goes under, naming the rule of the policy.
    pub fn check(
        &self,
        groups: &dyn Groups,
        de_minimis: Sats,
        delay_floor_s: u64,
        rule_set: u32,
    ) -> Result<(), Refusal> {
        let floor = |holds: bool, why: String| ensure(holds, Rule::Floor, || why);
        let count = self.rules.len();
        floor(
            (1..=RULES_LIMIT).contains(&count),
            format!("a policy has 1 to {RULES_LIMIT} rules, not {count}"),
        )?;
        let ids: BTreeSet<_> = self.rules.iter().map(|r| &r.id).collect();
        floor(ids.len() == count, "two rules have the same id: rename one".into())?;
        for rule in &self.rules {
            let what = format!("rule {}", rule.id);
            let alone = rule.when.amount_max.is_some_and(|max| max <= de_minimis);
            check_paths(&what, &rule.require.approvals, groups, if alone { 1 } else { 2 })?;
            let empty = rule.when.amount_min.zip(rule.when.amount_max).is_some_and(|(min, max)| min > max);
            floor(!empty, format!("{what} covers no amount: amount_min is over amount_max"))?;
            floor(
                rule.when.wallets.as_ref().is_none_or(|w| !w.is_empty()),
                format!("{what} covers no wallet"),
            )?;
            let kinds = rule.when.destinations.as_ref();
            floor(kinds.is_none_or(|d| !d.is_empty()), format!("{what} covers no destination"))?;
        }
        for row in TABLE.iter().filter(|row| row.since <= rule_set) {
            let what = format!("governance of {}", row.kind.word());
            let governance = self.governance.get(&row.kind);
            let governance =
                governance.ok_or_else(|| Refusal::new(Rule::Floor, format!("{what} is missing")))?;
            check_paths(&what, &governance.approvals, groups, 2)?;
            let least = if row.delayed { delay_floor_s } else { 0 };
            let most = if row.delayed { DELAY_LIMIT_S } else { 0 };
            floor(
                (least..=most).contains(&governance.delay_s),
                format!("{what}: a delay of {} s is not between {least} and {most}", governance.delay_s),
            )?;
        }
        Ok(())
    }
}

fn check_paths(what: &str, paths: &[Path], groups: &dyn Groups, least: u32) -> Result<(), Refusal> {
    let floor = |holds: bool, why: String| ensure(holds, Rule::Floor, || why);
    floor(
        (1..=PATHS_LIMIT).contains(&paths.len()),
        format!("{what}: name 1 to {PATHS_LIMIT} approval paths"),
    )?;
    for path in paths {
        let people = people_of(path);
        floor(
            (least..=SEATS_LIMIT).contains(&people),
            format!("{what}: a path of {people} people is not between {least} and {SEATS_LIMIT}"),
        )?;
        let mut everybody = BTreeSet::new();
        for seats in path {
            floor(seats.count > 0, format!("{what}: a seat for nobody of {}", seats.group))?;
            let members = groups.members(&seats.group);
            let members = members.ok_or_else(|| {
                Refusal::new(Rule::Floor, format!("{what}: there is no group {}", seats.group))
            })?;
            everybody.extend(members.iter().cloned());
        }
        floor(seat(path, &everybody, groups), format!("{what}: its groups have too few people for a path"))?;
    }
    Ok(())
}

/// The paths in words.
pub fn describe(paths: &[Path]) -> String {
    let path = |path: &Path| {
        let seats: Vec<_> = path.iter().map(|s| format!("{} of {}", s.count, s.group)).collect();
        seats.join(" and ")
    };
    paths.iter().map(path).collect::<Vec<_>>().join(", or ")
}

fn list(people: &BTreeSet<Name>) -> String {
    if people.is_empty() {
        return "nobody".into();
    }
    people.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}
