//! Policy as a document: who may move what under whose approval (design: rules, scopes, requirements).
//!
//! A request must match at least one rule, and every rule that it matches must be satisfied. Order
//! means nothing. No match denies. What a request is judged by is in [`crate::decide`], what a policy must
//! be like before it is adopted in `adoption`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{DestinationKind, Kind, Tier};
use crate::effects::Sats;
use crate::name::Name;
use crate::rates::Value;

/// Highest *de minimis* that a genesis may set for bitcoin: 100,000 sat in any rolling 24 hours over
/// the whole deployment. Above it two people approve, whatever a policy says (DACS OPS-06).
pub const DE_MINIMIS_CEILING: Sats = Sats(100_000);

/// The window of *de minimis*, in seconds.
pub const DE_MINIMIS_WINDOW_S: u64 = 24 * 3600;

/// Longest window of a velocity limit or fee budget, in seconds (31 days): for so long charges are kept.
pub const WINDOW_LIMIT_S: u64 = 31 * 24 * 3600;

/// Most seats in one path.
pub const SEATS_LIMIT: u32 = 16;

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

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// Pays destinations.
    Payment,
    /// Takes another request back: it pays the own wallet alone.
    Cancel,
}

/// Which requests a rule covers. A field that is absent covers all. Fields from `kinds` on came with rule
/// set 3 and are not written when absent, so that older bytes stay canonical.
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
    /// Only requests that do this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<RequestKind>>,
    /// Only on these networks (CAIP-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Only these assets (CAIP-19).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assets: Option<Vec<String>>,
    /// Only wallets of these tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Vec<Tier>>,
    /// Only requests of these clients. One that names no client might be anybody's: the rule binds it, and
    /// grants it nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<Name>>,
    /// Only requests worth at least this in the reference currency. While there is no rate that is fresh the
    /// rule covers, and denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_min: Option<Value>,
    /// Only requests worth at most this in the reference currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_max: Option<Value>,
}

/// What the charges have in common that a velocity limit adds up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// The asset, over the whole deployment.
    Asset,
    /// The wallet that pays.
    Wallet,
    /// The client whose coins move; a request that names none is denied.
    Client,
    /// Each destination, what it is paid alone: fees go to nobody.
    Destination,
    /// Who asked.
    Initiator,
}

/// A limit on what leaves in any window (T − `window_s`, T], over the charges that the rule covers (P24).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Velocity {
    /// Which charges are added up.
    pub per: Per,
    /// Seconds, at most [`WINDOW_LIMIT_S`].
    pub window_s: u64,
    /// Most, fees included, in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_max: Option<Sats>,
    /// Most, fees included, in the reference currency, each charge at the rate of its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_max: Option<Value>,
    /// Most requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_max: Option<u32>,
}

/// A limit on the fees of what the rule covers, in any window (T − `window_s`, T].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Seconds, at most [`WINDOW_LIMIT_S`].
    pub window_s: u64,
    /// Most fees.
    pub fee_max: Sats,
}

/// What a rule asks of the requests that it covers. Fields from `value_max` on came with rule set 3.
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
    /// Most that one request may be worth in the reference currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_max: Option<Value>,
    /// Limits in rolling windows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub velocity: Vec<Velocity>,
    /// A limit on fees in a rolling window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_budget: Option<Budget>,
    /// The calendar in whose open times a payment leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Name>,
    /// Seconds of the delay clock for which the approvals that fill a path have stood (P13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_s: Option<u64>,
    /// Seconds of the delay clock for which every destination has been in force (P13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down_s: Option<u64>,
    /// Seconds of log time for which an approval counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_valid_s: Option<u64>,
    /// How many of the approvers must have used a device that shows what it signs by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub independent: Option<u32>,
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

/// When payments may leave: hours, weekdays and holidays of a time zone, expanded into UTC by who wrote the
/// policy, for signers hold no time-zone data. Outside `from..until` it is closed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// The time zone that it was expanded from (IANA), for people.
    pub zone: String,
    /// The first second that it speaks of, since 1970.
    pub from: u64,
    /// The second with which it ends.
    pub until: u64,
    /// Open times: first second and length in seconds, in order, apart from each other.
    pub open: Vec<(u64, u64)>,
}

impl Calendar {
    /// Whether `time` is in an open time.
    pub fn is_open(&self, time: u64) -> bool {
        let after = self.open.partition_point(|(start, _)| *start <= time);
        let last = after.checked_sub(1).and_then(|i| self.open.get(i));
        let open = last.is_some_and(|(start, length)| time < start.saturating_add(*length));
        open && (self.from..self.until).contains(&time)
    }

    /// The first open second from `time` on.
    pub fn next_open(&self, time: u64) -> Option<u64> {
        if self.is_open(time) {
            return Some(time);
        }
        let next = self.open.partition_point(|(start, _)| *start <= time);
        self.open.get(next).map(|(start, _)| *start).filter(|start| *start < self.until)
    }
}

/// The policy of a deployment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The rules for payments.
    pub rules: Vec<PolicyRule>,
    /// The rules for documents, one for each kind.
    pub governance: BTreeMap<Kind, Governance>,
    /// Times at which payments may leave, by handle (since rule set 3, as all that follows).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calendars: BTreeMap<Name, Calendar>,
    /// The reference currency of every value in it: the subject of the document of rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Name>,
    /// Groups two by two that nobody may be in at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusive: Vec<(Name, Name)>,
    /// Most people who may fill a seat of a path of governance (DACS OPS-05).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrators_max: Option<u32>,
}

impl Policy {
    /// The rule set that brought the last of the kinds that it governs and of what stands in it.
    pub fn since(&self) -> u32 {
        let kinds = self.governance.keys().map(|kind| kind.row().since).max().unwrap_or(1);
        let plain = |rule: &PolicyRule| rule.when.is_plain() && rule.require.is_plain();
        let plain = self.calendars.is_empty()
            && self.currency.is_none()
            && self.exclusive.is_empty()
            && self.administrators_max.is_none()
            && self.rules.iter().all(plain);
        kinds.max(if plain { 1 } else { 3 })
    }
}

impl When {
    /// Whether rule set 1 knew all of it.
    fn is_plain(&self) -> bool {
        let Self { wallets, destinations, amount_min, amount_max, .. } = self.clone();
        let kinds = destinations.iter().flatten().all(|kind| kind.since() < 3);
        let tiers = self.tiers.is_none();
        kinds && tiers && *self == Self { wallets, destinations, amount_min, amount_max, ..Self::default() }
    }
}

impl Require {
    /// Whether rule set 1 knew all of it.
    fn is_plain(&self) -> bool {
        *self == Self::plain(self.approvals.clone(), self.amount_max, self.fee_max, self.fee_max_ppm)
    }

    /// Approvals and ceilings, and nothing else.
    pub fn plain(approvals: Vec<Path>, amount_max: Sats, fee_max: Sats, fee_max_ppm: u64) -> Self {
        Self {
            approvals,
            amount_max,
            fee_max,
            fee_max_ppm,
            value_max: None,
            velocity: Vec::new(),
            fee_budget: None,
            hours: None,
            delay_s: None,
            cool_down_s: None,
            approval_valid_s: None,
            independent: None,
        }
    }
}

/// The paths in words.
pub fn describe(paths: &[Path]) -> String {
    let path = |path: &Path| {
        let seats: Vec<_> = path.iter().map(|s| format!("{} of {}", s.count, s.group)).collect();
        seats.join(" and ")
    };
    paths.iter().map(path).collect::<Vec<_>>().join(", or ")
}
