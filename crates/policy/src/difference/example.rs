//! A request that shows a difference, and what happened before it, complete enough to be decided.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::charge::{Charge, Subject};
use custody::decide::{Ask, Facts, Given, Rulebook};
use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::RequestKind;
use custody::quorum::Groups;
use custody::rates::{Priced, Rate, Value};
use custody::rule::Refusal;
use custody::state::Owner;
use serde::Serialize;

/// Somebody who approved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Approver {
    /// Who.
    pub person: Name,
    /// Whether on a device that shows by itself what it signs.
    pub independent: bool,
}

/// What left before, summed up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Earlier {
    /// How many seconds before.
    pub age_s: u64,
    /// Requests.
    pub count: u32,
    /// What they paid, to the same destination.
    pub paid: Sats,
    /// Their fees.
    pub fee: Sats,
}

/// A request that one policy allows and the other does not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Example {
    /// What it does.
    pub kind: RequestKind,
    /// In which asset (CAIP-19).
    pub asset: String,
    /// The wallet that pays.
    pub wallet: Name,
    /// Its tier.
    pub tier: Tier,
    /// Whose coins move.
    pub client: Option<Name>,
    /// What kind of destination is paid; none for a cancel.
    pub destination: Option<DestinationKind>,
    /// To how many destinations of that kind it is split.
    pub parts: u32,
    /// What it pays in all.
    pub amount: Sats,
    /// Its fee.
    pub fee: Sats,
    /// What it is worth by currency, where a rate holds.
    pub worth: BTreeMap<Name, Value>,
    /// When it would be paid, seconds since 1970.
    pub time: u64,
    /// Who approved.
    pub approvers: Vec<Approver>,
    /// For how many seconds the approvals have stood; nothing: for as long as it takes.
    pub approved_s: Option<u64>,
    /// For how many seconds the destinations have been in force; nothing: for as long as it takes.
    pub destination_s: Option<u64>,
    /// What left before.
    pub earlier: Option<Earlier>,
    /// What *de minimis* leaves.
    pub de_minimis_left: Sats,
}

/// What a decision on an example looks at.
struct Scene<'a> {
    groups: &'a dyn Groups,
    charges: Vec<(u64, Charge)>,
    rates: BTreeMap<Name, Rate>,
}

impl Groups for Scene<'_> {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.groups.members(group)
    }

    fn sits(&self, person: &Name, group: &Name) -> bool {
        self.groups.sits(person, group)
    }
}

impl Facts for Scene<'_> {
    fn charges(&self, after: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        Box::new(self.charges.iter().filter(move |(at, _)| *at >= after).map(|(_, charge)| charge))
    }

    fn rate(&self, currency: &Name, _: &str, _: u64) -> Option<Rate> {
        self.rates.get(currency).copied()
    }
}

/// A day more than the longest delay and cool-down, in seconds: approvals that are meant to be old enough.
const LONG_S: u64 = 31 * 24 * 3600;

impl Example {
    /// Decides it under a policy, with these groups.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn decide(&self, book: &Rulebook, groups: &dyn Groups) -> Result<Vec<Name>, Refusal> {
        let per = self.amount.0.max(1);
        let rate = |worth: &Value| Rate { value: *worth, per: Value(u128::from(per)) };
        let rates: BTreeMap<Name, Rate> =
            self.worth.iter().map(|(c, worth)| (c.clone(), rate(worth))).collect();
        let now = self.charge(book, &rates, self.amount, self.fee, 1, Hash::default());
        let before = self.earlier.map(|earlier| {
            let lineage = Hash::of("keyward/policy/example", b"earlier");
            let charge = self.charge(book, &rates, earlier.paid, earlier.fee, earlier.count, lineage);
            (self.time.saturating_sub(earlier.age_s), charge)
        });
        let scene = Scene { groups, charges: before.into_iter().collect(), rates };
        // Where nothing is said of ages every delay has passed, and no approval is over.
        let untimed = LONG_S;
        let delay = untimed.saturating_mul(2);
        let given = |approver: &Approver| Given {
            at: self.time.saturating_sub(self.approved_s.unwrap_or(0)),
            delay_at: delay.saturating_sub(self.approved_s.unwrap_or(untimed)),
            independent: approver.independent,
        };
        let cooled = self.destination_s.unwrap_or(untimed);
        let ask = Ask {
            cooled_s: now.paid.keys().map(|to| (to.clone(), cooled)).collect(),
            beside: Vec::new(),
            paid: BTreeSet::from([now.lineage]),
            approvals: self.approvers.iter().map(|a| (a.person.clone(), given(a))).collect(),
            time: self.time,
            delay,
            de_minimis_left: self.de_minimis_left,
            charge: now,
        };
        book.decide(&ask, &scene)
    }

    /// Whether one policy allows it and the other does not.
    pub(crate) fn shows(&self, allows: &Rulebook, denies: &Rulebook, groups: &dyn Groups) -> bool {
        self.decide(allows, groups).is_ok() && self.decide(denies, groups).is_err()
    }

    fn charge(
        &self,
        book: &Rulebook,
        rates: &BTreeMap<Name, Rate>,
        paid: Sats,
        fee: Sats,
        count: u32,
        lineage: Hash,
    ) -> Charge {
        let parts = if self.destination.is_some() { u64::from(self.parts) } else { 0 };
        let share = |i: u64| {
            let before = |n: u64| u128::from(paid.0) * u128::from(n) / u128::from(parts.max(1));
            Sats(u64::try_from(before(i + 1) - before(i)).unwrap_or(u64::MAX))
        };
        let to = |i: u64| Some((Name::new(&format!("somewhere-{i}"))?, share(i)));
        let currency = book.policy().currency.as_ref();
        let price = currency.and_then(|c| Some(Priced { currency: c.clone(), rate: *rates.get(c)? }));
        Charge {
            subject: Subject {
                kind: self.kind,
                asset: self.asset.clone(),
                wallet: self.wallet.clone(),
                tier: self.tier,
                client: self.client.clone(),
                destinations: self.destination.into_iter().collect(),
                amount: self.amount,
            },
            initiator: Owner::Machine(self.wallet.clone()),
            lineage,
            paid: (0..parts).filter_map(to).collect(),
            fee,
            count,
            price,
        }
    }
}
