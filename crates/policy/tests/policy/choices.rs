//! Policies and requests made of a string of bytes: small enough that rules meet, and shrinking to plain ones.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::charge::{Charge, Subject};
use custody::decide::{Ask, Facts, Given};
use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{
    Budget, Calendar, Path, Per, Policy, PolicyRule, RequestKind, Require, Velocity, When,
};
use custody::quorum::Groups;
use custody::rates::{Priced, Rate, Value};
use custody::state::Owner;
use fixtures::{name, path};

/// The assets that are held.
pub(crate) const ASSETS: [&str; 3] = ["net:a/x:1", "net:a/x:2", "net:b/x:1"];

/// From when on is compared.
pub(crate) const NOW: u64 = 1_000;

/// What leaves under one approval.
pub(crate) const DE_MINIMIS: u64 = 6;

const PEOPLE: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];
const PER: [Per; 5] = [Per::Asset, Per::Wallet, Per::Client, Per::Initiator, Per::Destination];
const AMOUNTS: [u64; 6] = [1, 5, 6, 10, 20, 40];

/// Choices, one after another; when there are no more, the first of each.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(*first) % n
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }

    /// True once in so many.
    pub(crate) fn rarely(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    fn maybe<T>(&mut self, n: u64, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.rarely(n).then(|| some(self))
    }

    /// Some of a list, one at least.
    fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        let first = self.one(of);
        let others = self.below(1 << of.len());
        let kept = |i: usize| others >> i & 1 == 1;
        let rest: Vec<T> =
            of.iter().enumerate().filter(|(i, _)| kept(*i)).map(|(_, one)| one.clone()).collect();
        if rest.is_empty() { vec![first] } else { rest }
    }

    fn path(&mut self) -> Path {
        let seats = [(1, "ops"), (2, "ops"), (1, "risk"), (2, "risk"), (1, "all"), (3, "all")];
        let first = self.one(&seats);
        let second = self.maybe(3, |c| c.one(&seats));
        path(&[first].into_iter().chain(second).collect::<Vec<_>>())
    }

    fn velocity(&mut self, values: bool) -> Velocity {
        let limit = Velocity {
            per: self.one(&PER),
            window_s: 10 + 10 * self.below(3),
            amount_max: self.maybe(2, |c| Sats(5 * (1 + c.below(10)))),
            value_max: self.maybe(3, |c| Value(u128::from(5 * (1 + c.below(10))))).filter(|_| values),
            count_max: self.maybe(3, |c| u32::try_from(c.below(4)).unwrap()),
        };
        if limit.amount_max.is_none() && limit.value_max.is_none() && limit.count_max.is_none() {
            return Velocity { amount_max: Some(Sats(25)), ..limit };
        }
        limit
    }

    fn rule(&mut self, id: usize, values: bool) -> PolicyRule {
        let value = |c: &mut Self| Value(u128::from(4 * c.below(10)));
        let wallets = [name("w1"), name("w2")];
        let assets = ASSETS.map(str::to_owned);
        let mut paths = vec![self.path()];
        paths.extend(self.maybe(3, Self::path));
        let amounts = (self.maybe(3, |c| Sats(c.one(&AMOUNTS))), self.maybe(3, |c| Sats(c.one(&AMOUNTS))));
        let kinds = [RequestKind::Payment, RequestKind::Cancel];
        let when = When {
            wallets: self.maybe(3, |c| c.some(&wallets)),
            destinations: self.maybe(3, |c| c.some(DestinationKind::ALL)),
            amount_min: amounts.0,
            amount_max: amounts.1,
            kinds: self.maybe(5, |c| vec![c.one(&kinds)]),
            networks: self.maybe(8, |c| vec![c.one(&["net:a".to_owned(), "net:b".to_owned()])]),
            assets: self.maybe(8, |c| c.some(&assets)),
            tiers: self.maybe(6, |c| vec![c.one(Tier::ALL)]),
            clients: self.maybe(4, |c| c.some(&[name("c1"), name("c2")])),
            value_min: self.maybe(6, value).filter(|_| values),
            value_max: self.maybe(6, value).filter(|_| values),
        };
        let plain = Require::plain(
            paths,
            Sats(self.one(&[40, 10, 20, 5])),
            Sats(self.one(&[10, 3])),
            self.one(&[1_000_000, 300_000]),
        );
        let require = Require {
            value_max: self.maybe(5, value).filter(|_| values),
            velocity: self.maybe(3, |c| c.velocity(values)).into_iter().collect(),
            fee_budget: self
                .maybe(5, |c| Budget { window_s: 10 + c.below(20), fee_max: Sats(1 + c.below(9)) }),
            hours: self.maybe(3, |c| c.one(&[name("day"), name("night"), name("missing")])),
            delay_s: self.maybe(4, |c| 5 * c.below(4)),
            cool_down_s: self.maybe(5, |c| 5 * c.below(4)),
            approval_valid_s: self.maybe(4, |c| 16 + 5 * c.below(4)),
            independent: self.maybe(4, |c| u32::try_from(c.below(3)).unwrap()),
            ..plain
        };
        PolicyRule { id: name(&format!("r{id}")), when, require }
    }

    fn calendar(&mut self) -> Calendar {
        let from = NOW - 100 + 20 * self.below(8);
        let until = NOW + 150 + 20 * self.below(8);
        let mut open = Vec::new();
        let mut start = from;
        for _ in 0..1 + self.below(4) {
            let length = 10 + 10 * self.below(5);
            start += 10 * self.below(6);
            open.push((start, length));
            start += length + 1;
        }
        Calendar { zone: "Etc/UTC".into(), from, until, open }
    }

    pub(crate) fn policy(&mut self) -> Policy {
        let currency = self.one(&[Some("chf"), None, Some("eur"), Some("chf")]).map(name);
        let count = usize::try_from(1 + self.below(4)).unwrap();
        let rule = |id| {
            let values = !self.rarely(9);
            self.rule(id, values)
        };
        let rules = (0..count).map(rule).collect();
        let calendars = ["day", "night"].map(|id| (name(id), self.calendar()));
        Policy { rules, calendars: calendars.into(), currency, ..Policy::default() }
    }

    /// A policy that is close to another one.
    pub(crate) fn like(&mut self, policy: &Policy) -> Policy {
        let mut like = policy.clone();
        for _ in 0..1 + self.below(2) {
            let id = usize::try_from(self.below(like.rules.len() as u64)).unwrap();
            let fresh = self.rule(id, true);
            let rule = &mut like.rules[id];
            match self.below(9) {
                0 => rule.require.amount_max = fresh.require.amount_max,
                1 => rule.require.approvals = fresh.require.approvals,
                2 => rule.when = fresh.when,
                3 => rule.require.velocity = fresh.require.velocity,
                4 => {
                    rule.require.delay_s = fresh.require.delay_s;
                    rule.require.approval_valid_s = fresh.require.approval_valid_s;
                }
                5 => {
                    rule.require.fee_budget = fresh.require.fee_budget;
                    rule.require.fee_max = fresh.require.fee_max;
                    rule.require.fee_max_ppm = fresh.require.fee_max_ppm;
                }
                6 => {
                    rule.require.hours = fresh.require.hours;
                    rule.require.independent = fresh.require.independent;
                }
                7 => like.calendars = ["day", "night"].map(|id| (name(id), self.calendar())).into(),
                _ => rule.require.cool_down_s = fresh.require.cool_down_s,
            }
        }
        like
    }

    fn subject(&mut self) -> Subject {
        let cancels = self.rarely(6);
        let destinations = self.some(DestinationKind::ALL).into_iter().filter(|_| !cancels).collect();
        Subject {
            kind: if cancels { RequestKind::Cancel } else { RequestKind::Payment },
            asset: self.one(&ASSETS).to_owned(),
            wallet: self.one(&["w1", "w2", "w3"].map(name)),
            tier: self.one(Tier::ALL),
            client: self.one(&[None, Some("c1"), Some("c2"), Some("c3")]).map(name),
            destinations,
            amount: Sats(if cancels { 0 } else { 1 + self.below(45) }),
        }
    }

    fn charge(&mut self, subject: Subject, lineage: u8) -> Charge {
        let first = self.below(subject.amount.0 + 1);
        let both = [("x", first), ("y", subject.amount.0 - first)];
        let paid = both.into_iter().filter(|(_, paid)| *paid > 0).map(|(to, paid)| (name(to), Sats(paid)));
        let rate = |c: &mut Self| Priced { currency: c.one(&["chf", "eur"].map(name)), rate: c.rate() };
        Charge {
            initiator: Owner::Person(self.one(&["zoe", "max"].map(name))),
            lineage: Hash([lineage; 32]),
            paid: paid.collect(),
            fee: Sats(self.below(6)),
            // What is asked for counts once, what was added to a payment later not at all.
            count: u32::from(lineage % 8 < 2 || !self.rarely(4)),
            price: self.maybe(2, rate),
            subject,
        }
    }

    fn rate(&mut self) -> Rate {
        Rate { value: Value(u128::from(self.below(4))), per: Value(u128::from(1 + self.below(3))) }
    }

    /// A request, and what it is decided by.
    pub(crate) fn ask(&mut self) -> (Ask, Scene) {
        let subject = self.subject();
        let time = NOW + self.below(250);
        let delay = 500;
        let charge = self.charge(subject.clone(), 0);
        let past = (0..self.below(4)).map(|i| {
            let subject = if self.rarely(3) { self.subject() } else { subject.clone() };
            let charge = self.charge(subject, u8::try_from(i + 1).unwrap());
            (time - self.below(40), charge)
        });
        let charges: Vec<_> = past.collect();
        let beside = self.maybe(5, |c| {
            let subject = c.subject();
            c.charge(subject, 9)
        });
        let people = self.below(32);
        let mut approvals = BTreeMap::new();
        for (i, person) in PEOPLE.iter().enumerate().filter(|(i, _)| people >> i & 1 == 0) {
            let age = 5 * self.below(7);
            let younger = self.below(age + 1);
            let independent = !self.rarely(4) || i == 0;
            approvals.insert(name(person), Given { at: time - age, delay_at: delay - younger, independent });
        }
        let rates = ["chf", "eur"].map(|c| (name(c), self.maybe(2, Self::rate)));
        let rates = rates.into_iter().filter_map(|(c, rate)| Some((c, rate?))).collect();
        let ask = Ask {
            cooled_s: charge.paid.keys().map(|to| (to.clone(), 5 * self.below(6))).collect(),
            paid: BTreeSet::from([charge.lineage]),
            beside: beside.into_iter().collect(),
            approvals,
            time,
            delay,
            de_minimis_left: Sats(self.below(DE_MINIMIS + 1)),
            charge,
        };
        (ask, Scene { charges, rates })
    }
}

/// Everybody, by group.
pub(crate) struct Scene {
    pub(crate) charges: Vec<(u64, Charge)>,
    pub(crate) rates: BTreeMap<Name, Rate>,
}

impl Scene {
    pub(crate) fn empty() -> Self {
        Self { charges: Vec::new(), rates: BTreeMap::new() }
    }
}

impl Groups for Scene {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        static GROUPS: std::sync::LazyLock<BTreeMap<Name, Vec<Name>>> = std::sync::LazyLock::new(|| {
            let groups = [("ops", &PEOPLE[0..3]), ("risk", &PEOPLE[1..4]), ("all", &PEOPLE[..])];
            groups.map(|(group, people)| (name(group), people.iter().map(|p| name(p)).collect())).into()
        });
        GROUPS.get(group).map(Vec::as_slice)
    }
}

impl Facts for Scene {
    fn charges(&self, after: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        Box::new(self.charges.iter().filter(move |(at, _)| *at >= after).map(|(_, charge)| charge))
    }

    fn rate(&self, currency: &Name, _: &str, _: u64) -> Option<Rate> {
        self.rates.get(currency).copied()
    }
}
