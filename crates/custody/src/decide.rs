//! The decision on a request: which rules of the policy cover it, and whether each is satisfied.
//!
//! Every requirement is one function, so that deciding, explaining and the register of rules speak of the
//! same thing. All limits in windows look at (T − w, T] and count what the rule itself covers.

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::Hash;
use crate::charge::{Charge, Subject};
use crate::document::DestinationKind;
use crate::effects::Sats;
use crate::name::Name;
use crate::policy::{Per, Policy, PolicyRule, RequestKind, Velocity, When, describe};
use crate::quorum::{Groups, people_of, seat, seated};
use crate::rates::{Rate, Value};
use crate::rule::{Refusal, Rule, ensure};

/// When and how somebody approved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    /// Log time.
    pub at: u64,
    /// The delay clock (P13).
    pub delay_at: u64,
    /// Whether the device shows by itself what it signs.
    pub independent: bool,
}

/// A request as the policy sees it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What would be charged for it.
    pub charge: Charge,
    /// What would be charged for the other requests of its transaction.
    pub beside: Vec<Charge>,
    /// The chains of renewals that the transaction pays, whose earlier charges are in `charge` and `beside`.
    pub paid: BTreeSet<Hash>,
    /// For how many seconds of the delay clock each destination has been in force.
    pub cooled_s: BTreeMap<Name, u64>,
    /// Who approved: distinct people, the requester not among them.
    pub approvals: BTreeMap<Name, Given>,
    /// The time for which it is decided, seconds since 1970.
    pub time: u64,
    /// The delay clock, seconds.
    pub delay: u64,
    /// What may still leave under *de minimis* in the window, beside the other requests of its transaction.
    pub de_minimis_left: Sats,
}

/// What a decision needs to know beside the request.
pub trait Facts: Groups {
    /// What was charged at that time or later.
    fn charges(&self, from: u64) -> Box<dyn Iterator<Item = &Charge> + '_>;

    /// The rate of an asset in a currency, if one holds at `time`.
    fn rate(&self, currency: &Name, asset: &str, time: u64) -> Option<Rate>;

    /// The handles under which the address of a destination was paid before it stood in the address book: none for
    /// who knows no addresses.
    fn unlisted_handles(&self, _destination: &Name) -> BTreeSet<Name> {
        BTreeSet::new()
    }
}

impl When {
    /// Whether it speaks of destinations of this kind.
    fn names(&self, kind: DestinationKind) -> bool {
        self.destinations.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }

    /// Whether it covers the request. A rule covers it already by one destination, so that another kind
    /// of destination beside it evades no rule, and also if the request does not say whose coins move, or
    /// nobody knows what they are `worth`; it grants only what it [`grants`](Self::grants).
    pub fn covers(&self, subject: &Subject, worth: Option<Value>) -> bool {
        fn among<T: PartialEq>(list: Option<&Vec<T>>, one: &T) -> bool {
            list.is_none_or(|list| list.contains(one))
        }
        let kinds = &subject.destinations;
        among(self.wallets.as_ref(), &subject.wallet)
            && (kinds.is_empty() || kinds.iter().any(|kind| self.names(*kind)))
            && self.amount_min.is_none_or(|min| subject.amount >= min)
            && self.amount_max.is_none_or(|max| subject.amount <= max)
            && among(self.kinds.as_ref(), &subject.kind)
            && self.networks.as_ref().is_none_or(|n| n.iter().any(|n| n == subject.network()))
            && among(self.assets.as_ref(), &subject.asset)
            && among(self.tiers.as_ref(), &subject.tier)
            && subject.client.as_ref().is_none_or(|client| among(self.clients.as_ref(), client))
            && worth.is_none_or(|worth| {
                self.value_min.is_none_or(|min| worth >= min) && self.value_max.is_none_or(|max| worth <= max)
            })
    }

    /// Whether a rule that covers a request also grants it, as far as destinations of this kind go. Addresses
    /// that are not in the book are paid only where a rule says so.
    pub fn grants(&self, subject: &Subject, kind: Option<DestinationKind>) -> bool {
        let says_so = kind != Some(DestinationKind::Unlisted) || self.destinations.is_some();
        let kind = says_so && kind.is_none_or(|kind| self.names(kind));
        kind && (self.clients.is_none() || subject.client.is_some())
    }

    fn has_values(&self) -> bool {
        self.value_min.is_some() || self.value_max.is_some()
    }
}

/// Whether `fee` is at most `ppm` millionths of `amount`.
pub fn fee_within_share(fee: Sats, amount: Sats, ppm: u64) -> bool {
    u128::from(fee.0).saturating_mul(1_000_000) <= u128::from(amount.0).saturating_mul(u128::from(ppm))
}

/// A policy in force: with where to find the rules that may cover a request, so that the cost of a decision
/// grows with those.
#[derive(Clone, Debug)]
pub struct Rulebook {
    policy: Policy,
    /// Positions of rules by each wallet and client that they name, nothing where they name none.
    named: BTreeMap<(Option<Name>, Option<Name>), Vec<usize>>,
    /// The same by wallet alone, for requests that name no client.
    wallets: BTreeMap<Option<Name>, Vec<usize>>,
}

/// A look at one request.
#[derive(Clone, Copy)]
struct Look<'a> {
    policy: &'a Policy,
    ask: &'a Ask,
    facts: &'a dyn Facts,
    rate: Option<Rate>,
}

/// One requirement of a rule.
type Requirement = fn(&Look<'_>, &PolicyRule) -> Result<(), Refusal>;

const REQUIREMENTS: &[Requirement] = &[
    |look, rule| look.limit(rule),
    |look, rule| look.value(rule),
    |look, rule| look.fee(rule),
    |look, rule| look.velocity(rule),
    |look, rule| look.fee_budget(rule),
    |look, rule| look.hours(rule),
    |look, rule| look.cool_down(rule),
    |look, rule| look.approvals(rule),
    |look, rule| look.delay(rule),
    |look, rule| look.independent(rule),
];

impl Rulebook {
    /// Opens a policy.
    pub fn new(policy: Policy) -> Self {
        let mut named: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        let mut wallets: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (i, rule) in policy.rules.iter().enumerate() {
            for wallet in each(rule.when.wallets.as_ref()) {
                wallets.entry(wallet.clone()).or_default().push(i);
                for client in each(rule.when.clients.as_ref()) {
                    named.entry((wallet.clone(), client)).or_default().push(i);
                }
            }
        }
        Self { policy, named, wallets }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The rules that may cover a request, in the order of the policy.
    pub(crate) fn candidates(&self, subject: &Subject) -> Vec<&PolicyRule> {
        let mut found: BTreeSet<&usize> = BTreeSet::new();
        for wallet in [None, Some(subject.wallet.clone())] {
            match &subject.client {
                None => found.extend(self.wallets.get(&wallet).into_iter().flatten()),
                Some(client) => {
                    for client in [None, Some(client.clone())] {
                        found.extend(self.named.get(&(wallet.clone(), client)).into_iter().flatten());
                    }
                }
            }
        }
        found.into_iter().filter_map(|i| self.policy.rules.get(*i)).collect()
    }

    fn look<'a>(&'a self, ask: &'a Ask, facts: &'a dyn Facts) -> Look<'a> {
        let asset = &ask.charge.subject.asset;
        let rate = self.policy.currency.as_ref().and_then(|c| facts.rate(c, asset, ask.time));
        Look { policy: &self.policy, ask, facts, rate }
    }

    /// The rules that cover a request.
    pub fn covering(&self, ask: &Ask, facts: &dyn Facts) -> Vec<&PolicyRule> {
        let look = self.look(ask, facts);
        let subject = &ask.charge.subject;
        let worth = look.worth(u128::from(subject.amount.0));
        let mut rules = self.candidates(subject);
        rules.retain(|rule| rule.when.covers(subject, worth));
        rules
    }

    /// Decides a request. Returns the rules that allow it.
    ///
    /// # Errors
    /// The first rule of the policy that is not satisfied, or that none covers the request.
    pub fn decide(&self, ask: &Ask, facts: &dyn Facts) -> Result<Vec<Name>, Refusal> {
        let rules = self.covering(ask, facts);
        let first = self.refusals(&rules, ask, facts).next();
        first.map_or_else(|| Ok(rules.iter().map(|rule| rule.id.clone()).collect()), |(_, no)| Err(no))
    }

    /// All that stands in the way of a request, with the rule of the policy that says so.
    pub fn explain(&self, ask: &Ask, facts: &dyn Facts) -> Vec<(Option<Name>, Refusal)> {
        let rules = self.covering(ask, facts);
        self.refusals(&rules, ask, facts).collect()
    }

    fn refusals<'a>(
        &'a self,
        rules: &'a [&'a PolicyRule],
        ask: &'a Ask,
        facts: &'a dyn Facts,
    ) -> impl Iterator<Item = (Option<Name>, Refusal)> + 'a {
        let look = self.look(ask, facts);
        let scope = std::iter::once_with(move || look.scope(rules).err());
        let two = std::iter::once_with(move || look.two_people(rules).err());
        let each = rules.iter().flat_map(move |rule| {
            let checked = REQUIREMENTS.iter().map(move |check| check(&look, rule).err());
            checked.flatten().map(|no| (Some(rule.id.clone()), no))
        });
        let floor = |no| (None, no);
        scope.flatten().map(floor).chain(each).chain(two.flatten().map(floor))
    }

    /// For how many seconds of the delay clock at most a request waits from an approval on that is given now
    /// (P13).
    pub fn waits_s(&self, ask: &Ask, facts: &dyn Facts) -> u64 {
        let wait = |rule: &PolicyRule| {
            let cool = rule.require.cool_down_s.unwrap_or(0);
            let young = ask.cooled_s.values().min().map_or(0, |cooled| cool.saturating_sub(*cooled));
            rule.require.delay_s.unwrap_or(0).max(young)
        };
        let pays = ask.charge.subject.kind == RequestKind::Payment;
        self.covering(ask, facts).into_iter().filter(|_| pays).map(wait).max().unwrap_or(0)
    }
}

/// Each name of a list, or nothing once for no list.
fn each(list: Option<&Vec<Name>>) -> Vec<Option<Name>> {
    list.map_or_else(|| vec![None], |list| list.iter().cloned().map(Some).collect())
}

impl Look<'_> {
    fn worth(&self, amount: u128) -> Option<Value> {
        self.rate.and_then(|rate| rate.convert(amount))
    }

    /// Whether it pays somebody: what takes a payment back waits for nothing.
    fn pays(&self) -> bool {
        self.ask.charge.subject.kind == RequestKind::Payment
    }

    /// Whose approvals count for a rule, of those that have stood for `aged_s`.
    fn people(&self, rule: &PolicyRule, aged_s: u64) -> BTreeSet<Name> {
        let counts = |given: &Given| {
            let valid = rule.require.approval_valid_s;
            let fresh = valid.is_none_or(|valid| self.ask.time <= given.at.saturating_add(valid));
            fresh && given.delay_at.saturating_add(aged_s) <= self.ask.delay
        };
        let counted = self.ask.approvals.iter().filter(|(_, given)| counts(given));
        counted.map(|(person, _)| person.clone()).collect()
    }

    fn aged_s(&self, rule: &PolicyRule) -> u64 {
        rule.require.delay_s.filter(|_| self.pays()).unwrap_or(0)
    }

    fn scope(&self, rules: &[&PolicyRule]) -> Result<(), Refusal> {
        let subject = &self.ask.charge.subject;
        let granted = |kind| rules.iter().any(|rule| rule.when.grants(subject, kind));
        let all = granted(None) && subject.destinations.iter().all(|kind| granted(Some(*kind)));
        ensure(all, Rule::PolicyScope, || {
            let (amount, wallet) = (subject.amount, &subject.wallet);
            let client = subject.client.as_ref().map_or(String::new(), |client| format!(" for {client}"));
            format!("no rule of the policy covers all of {amount} from wallet {wallet}{client}")
        })
    }

    fn limit(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let (amount, max) = (self.ask.charge.subject.amount, rule.require.amount_max);
        ensure(amount <= max, Rule::PolicyLimit, || {
            format!("{amount} is over the limit of {max} of rule {}", rule.id)
        })
    }

    fn value(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let max = rule.require.value_max;
        if !self.pays() || (max.is_none() && !rule.when.has_values()) {
            return Ok(());
        }
        let worth = self.worth(u128::from(self.ask.charge.subject.amount.0));
        let worth = worth.ok_or_else(|| self.no_rate(Rule::PolicyValue, rule))?;
        ensure(max.is_none_or(|max| worth <= max), Rule::PolicyValue, || {
            let (currency, max) = (self.currency(), max.unwrap_or_default());
            format!("{worth} minor units of {currency} are over the limit of {max} of rule {}", rule.id)
        })
    }

    fn currency(&self) -> &str {
        self.policy.currency.as_ref().map_or("no currency", Name::as_str)
    }

    fn no_rate(&self, refuses: Rule, rule: &PolicyRule) -> Refusal {
        let (currency, asset) = (self.currency(), &self.ask.charge.subject.asset);
        let why =
            format!("rule {} needs a rate of {asset} in {currency} that still holds: adopt one", rule.id);
        Refusal::new(refuses, why)
    }

    fn fee(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let (amount, fee) = (self.ask.charge.subject.amount, self.ask.charge.fee);
        let (max, ppm) = (rule.require.fee_max, rule.require.fee_max_ppm);
        let share_ok = amount == Sats(0) || fee_within_share(fee, amount, ppm);
        ensure(fee <= max && share_ok, Rule::PolicyFee, || {
            let id = &rule.id;
            format!(
                "a fee of {fee} is over the ceilings of rule {id}: {max} and {ppm} millionths of the amount"
            )
        })
    }

    /// All that counts in a window which ends now: what was charged to others, and what the transaction
    /// would be charged.
    fn window(&self, rule: &PolicyRule, window_s: u64) -> impl Iterator<Item = (&Charge, bool)> {
        let currency = self.policy.currency.as_ref();
        let covers = |charge: &Charge, worth: Option<Value>| rule.when.covers(&charge.subject, worth);
        let past = self
            .ask
            .time
            .checked_sub(window_s)
            .map_or_else(|| self.facts.charges(0), |after| self.facts.charges(after.saturating_add(1)));
        let past = past.filter(move |charge| {
            let amount = u128::from(charge.subject.amount.0);
            !self.ask.paid.contains(&charge.lineage) && covers(charge, charge.worth(amount, currency))
        });
        let now = std::iter::once(&self.ask.charge).chain(&self.ask.beside);
        let now = now.filter(move |c| covers(c, self.worth(u128::from(c.subject.amount.0))));
        past.map(|charge| (charge, false)).chain(now.map(|charge| (charge, true)))
    }

    fn velocity(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        if !self.pays() {
            return Ok(());
        }
        rule.require.velocity.iter().try_for_each(|limit| match limit.per {
            Per::Destination => {
                let each = self.ask.charge.paid.keys();
                each.into_iter().try_for_each(|destination| self.velocity_of(rule, limit, Some(destination)))
            }
            _ => self.velocity_of(rule, limit, None),
        })
    }

    fn velocity_of(&self, rule: &PolicyRule, limit: &Velocity, to: Option<&Name>) -> Result<(), Refusal> {
        let (id, window) = (&rule.id, limit.window_s);
        let whose = limit.per != Per::Client || self.ask.charge.subject.client.is_some();
        ensure(whose, Rule::PolicyVelocity, || format!("rule {id} counts by client: name the client"))?;
        let mut handles = to.map(|to| self.facts.unlisted_handles(to)).unwrap_or_default();
        handles.extend(to.cloned());
        let currency = self.policy.currency.as_ref();
        let (mut amount, mut value, mut count) = (0u128, Some(Value(0)), 0u32);
        for (charge, now) in self.window(rule, window) {
            let Some(counted) = charge.counted(limit.per, &self.ask.charge, &handles) else { continue };
            amount = amount.saturating_add(counted);
            count = count.saturating_add(charge.count);
            if limit.value_max.is_some() {
                // What was charged while no rate held counts at the rate of today.
                let then = charge.rate(currency).filter(|_| !now).or(self.rate);
                let worth = then.and_then(|rate| rate.convert(counted));
                value = value.zip(worth).and_then(|(sum, v)| sum.plus(v));
            }
        }
        let what = || to.map_or_else(|| format!("per {}", limit.per.word()), |to| format!("to {to}"));
        let over = |sum: String, max: String| {
            let why = format!("{sum} in {window} s {} are over the limit of {max} of rule {id}", what());
            Err(Refusal::new(Rule::PolicyVelocity, why))
        };
        match (limit.amount_max, limit.count_max) {
            (Some(max), _) if amount > u128::from(max.0) => {
                return over(format!("{amount} sat"), max.to_string());
            }
            (_, Some(max)) if count > max => return over(format!("{count} requests"), max.to_string()),
            _ => {}
        }
        let Some(max) = limit.value_max else { return Ok(()) };
        match value {
            Some(value) if value <= max => Ok(()),
            Some(value) => over(format!("{value} minor units of {}", self.currency()), max.to_string()),
            None => Err(self.no_rate(Rule::PolicyVelocity, rule)),
        }
    }

    fn fee_budget(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let Some(budget) = rule.require.fee_budget.filter(|_| self.pays()) else { return Ok(()) };
        let fees = self.window(rule, budget.window_s);
        let fees = fees.fold(0u64, |sum, (charge, _)| sum.saturating_add(charge.fee.0));
        ensure(fees <= budget.fee_max.0, Rule::PolicyFeeBudget, || {
            let (id, window, max) = (&rule.id, budget.window_s, budget.fee_max);
            format!("fees of {fees} sat in {window} s are over the budget of {max} of rule {id}")
        })
    }

    fn hours(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let Some(hours) = rule.require.hours.as_ref().filter(|_| self.pays()) else { return Ok(()) };
        let calendar = self.policy.calendars.get(hours);
        let time = self.ask.time;
        ensure(calendar.is_some_and(|calendar| calendar.is_open(time)), Rule::PolicyHours, || {
            let next = calendar.and_then(|calendar| calendar.next_open(time));
            let next = next.map_or_else(
                || "it opens no more: adopt a policy with a later calendar".to_owned(),
                |next| format!("it opens at {next}"),
            );
            format!("rule {}: calendar {hours} is closed at {time}; {next}", rule.id)
        })
    }

    fn cool_down(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let Some(need) = rule.require.cool_down_s.filter(|_| self.pays()) else { return Ok(()) };
        // A destination of which nothing is known has not cooled at all.
        let cooled = |to: &Name| self.ask.cooled_s.get(to).copied().unwrap_or(0);
        let young = self.ask.charge.paid.keys().map(|to| (to, cooled(to))).find(|(_, s)| *s < need);
        ensure(young.is_none(), Rule::PolicyCoolDown, || {
            let (id, (to, cooled)) = (&rule.id, young.map_or(("", 0), |(to, s)| (to.as_str(), s)));
            let left = need.saturating_sub(cooled);
            format!("rule {id}: destination {to} cools down for {left} s more")
        })
    }

    fn approvals(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let people = self.people(rule, 0);
        ensure(self.fill(rule, &people, 0, 0), Rule::PolicyApprovals, || {
            let (id, paths) = (&rule.id, describe(&rule.require.approvals));
            format!("rule {id} needs {paths}; so far: {}", list(&people))
        })
    }

    /// Of these people, those who approved on a device that shows by itself what it signs.
    fn independents(&self, people: &BTreeSet<Name>) -> BTreeSet<Name> {
        let given = |person: &&Name| self.ask.approvals.get(*person).is_some_and(|given| given.independent);
        people.iter().filter(given).cloned().collect()
    }

    /// Whether these people fill a path of at least `least` seats, `need` of them on independent devices.
    /// Who fills a seat alone can keep one when the others are filled, so two matchings tell.
    fn fill(&self, rule: &PolicyRule, people: &BTreeSet<Name>, least: u32, need: u32) -> bool {
        let independents = self.independents(people);
        rule.require.approvals.iter().any(|path| {
            people_of(path) >= least
                && seat(path, people, self.facts)
                && seated(path, &independents, self.facts) >= need
        })
    }

    fn independent(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let need = rule.require.independent.unwrap_or(0);
        let people = self.people(rule, self.aged_s(rule));
        ensure(need == 0 || self.fill(rule, &people, 0, need), Rule::PolicyIndependent, || {
            let independents = list(&self.independents(&people));
            format!("rule {} needs {need} approvals on independent devices; so far: {independents}", rule.id)
        })
    }

    fn delay(&self, rule: &PolicyRule) -> Result<(), Refusal> {
        let aged_s = self.aged_s(rule);
        let filled = aged_s == 0 || self.fill(rule, &self.people(rule, aged_s), 0, 0);
        ensure(filled, Rule::PolicyDelay, || {
            format!("rule {} lets approvals stand for {aged_s} s before a payment leaves", rule.id)
        })
    }

    /// The floor stands under every policy: a path with one person carries only *de minimis*, and so do
    /// devices that do not show what they sign (DACS OPS-06, OPS-13).
    fn two_people(&self, rules: &[&PolicyRule]) -> Result<(), Refusal> {
        let two = rules.iter().all(|rule| self.fill(rule, &self.people(rule, self.aged_s(rule)), 2, 1));
        let left = self.ask.de_minimis_left;
        let all = self.ask.charge.subject.amount.plus(self.ask.charge.fee);
        let small = !self.ask.approvals.is_empty() && all.is_some_and(|all| all <= left);
        ensure((two && !rules.is_empty()) || small, Rule::TwoPeople, || {
            format!(
                "two people must approve above de minimis ({left} left today), one of them on an independent device"
            )
        })
    }
}

impl Per {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Asset => "asset",
            Self::Wallet => "wallet",
            Self::Client => "client",
            Self::Destination => "destination",
            Self::Initiator => "initiator",
        }
    }
}

fn list(people: &BTreeSet<Name>) -> String {
    if people.is_empty() {
        return "nobody".into();
    }
    people.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Tier;
    use crate::policy::Require;

    /// Of ten thousand rules those are looked at that name the wallet and client, or none.
    #[test]
    fn only_rules_that_may_cover_are_looked_at() {
        let name = |text: String| Name::new(&text).unwrap();
        let rule = |i: usize| PolicyRule {
            id: name(format!("r-{i}")),
            when: match i % 3 {
                0 => When { wallets: Some(vec![name(format!("w-{i}"))]), ..When::default() },
                1 => When { clients: Some(vec![name(format!("c-{i}"))]), ..When::default() },
                _ => When {
                    wallets: Some(vec![name("w-0".into())]),
                    clients: Some(vec![name(format!("c-{i}"))]),
                    ..When::default()
                },
            },
            require: Require::plain(Vec::new(), Sats(1), Sats(1), 1),
        };
        let mut rules: Vec<_> = (0..10_000).map(rule).collect();
        rules.push(PolicyRule { id: name("all".into()), when: When::default(), ..rules[0].clone() });
        let book = Rulebook::new(Policy { rules, ..Policy::default() });
        let subject = Subject {
            kind: RequestKind::Payment,
            asset: String::new(),
            wallet: name("w-0".into()),
            tier: Tier::Hot,
            client: Some(name("c-4".into())),
            destinations: BTreeSet::new(),
            amount: Sats(1),
        };
        let ids = |subject: &Subject| {
            book.candidates(subject).into_iter().map(|rule| rule.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&subject), ["r-0", "r-4", "all"]);
        // Who names no client is bound by the rules of every client.
        let unnamed = Subject { client: None, wallet: name("w-3".into()), ..subject };
        assert_eq!(ids(&unnamed).len(), 2 + (0..10_000).filter(|i| i % 3 == 1).count());
    }
}
