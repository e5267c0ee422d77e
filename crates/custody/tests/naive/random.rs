//! Small random worlds, in which limits are met to the unit and times to the second: few names, small amounts,
//! and cut points that lie at, one below or one above what they cut.

use std::collections::{BTreeMap, BTreeSet};

use custody::bytes::Hash;
use custody::charge::{Charge, Subject};
use custody::decide::{Ask, Given};
use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{
    Budget, Calendar, Path, Per, Policy, PolicyRule, RequestKind, Require, Seats, Velocity, When,
};
use custody::rates::{Priced, Rate, Rates, Value};
use custody::state::Owner;

use crate::evaluator::{World, all_of, charged_today};

/// Log time and delay clock of every decision: worlds differ in what lies around them.
const NOW: u64 = 1_767_312_000;
const DELAY: u64 = 5_000_000;

/// Windows, delays and validities in seconds; what is dated lies at their edges.
const SPANS: &[u64] = &[1, 10, 100, 86_400];

const ASSETS: &[&str] = &["bip122:a/slip44:0", "bip122:a/slip44:1", "bip122:b/slip44:0"];
const WALLETS: &[&str] = &["main", "spare"];
const CLIENTS: &[&str] = &["client-1", "client-2", "client-3"];
const DESTINATIONS: &[&str] = &["acme", "bank", "cafe", "dex", "east"];
const PEOPLE: &[&str] = &["alice", "bob", "carol", "dora", "emil", "frank"];
/// The last one has no document.
const GROUPS: &[&str] = &["admins", "desk", "board", "nobody"];
const CURRENCIES: &[&str] = &["chf", "eur"];
/// The last one has no calendar.
const CALENDARS: &[&str] = &["day", "night", "never"];
const LINEAGES: &[&str] = &["l0", "l1", "l2", "l3", "l4"];
const PERS: &[Per] = &[Per::Asset, Per::Wallet, Per::Client, Per::Destination, Per::Initiator];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    /// One time in so many.
    fn rarely(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn name(&mut self, from: &[&str]) -> Name {
        name(self.pick(from))
    }

    /// Mostly the one given, so that names meet.
    fn near(&mut self, one: &str, from: &[&str]) -> Name {
        if self.rarely(4) { self.name(from) } else { name(one) }
    }

    /// At a cut point, one below it or one above it.
    fn around(&mut self, cut: u64) -> u64 {
        (cut + self.below(3)).saturating_sub(1)
    }

    fn maybe<T>(&mut self, times: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.rarely(times).then(|| make(self))
    }

    fn some<T>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    /// A list with the one given in it, or mostly.
    fn list<T: Copy + PartialEq>(&mut self, one: T, all: &[T]) -> Vec<T> {
        let with = !self.rarely(4);
        all.iter().copied().filter(|other| if *other == one { with } else { self.rarely(2) }).collect()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn names(texts: Vec<&str>) -> Vec<Name> {
    texts.into_iter().map(name).collect()
}

/// The world of a seed.
pub(crate) fn world(seed: u64) -> World {
    let random = &mut Random(seed);
    let rates = random.some(2, rates);
    let currency = if random.rarely(16) { None } else { Some(random.near("chf", CURRENCIES)) };
    let calendars: BTreeMap<_, _> = CALENDARS[..2].iter().map(|id| (name(id), calendar(random))).collect();
    let groups = GROUPS[..3].iter().map(|id| (name(id), people(random, 2))).collect();
    let mut ask = ask(random, &rates, currency.as_ref());
    let history = random.some(6, |random| past(random, &ask.charge, currency.as_ref()));
    let all = others(&history, &ask) + all_of(&ask.charge);
    let de_minimis = if random.rarely(2) { random.around(whole(all)) } else { random.below(1_000) };
    settle(&history, de_minimis, &mut ask);
    // Half of the worlds are easy, so that enough is allowed.
    let easy = random.rarely(2);
    let rule = |i: u64, random: &mut Random| PolicyRule {
        id: name(&format!("rule-{i}")),
        when: when(random, &ask.charge.subject),
        require: require(random, &ask, easy),
    };
    let rules = (0..1 + random.below(3)).map(|i| rule(i, random)).collect();
    let policy = Policy { rules, calendars, currency, ..Policy::default() };
    // What one destination was called before it stood in the address book.
    let listed = name(random.pick(DESTINATIONS));
    let unlisted =
        if random.rarely(2) { BTreeMap::from([(listed, name("unlisted"))]) } else { BTreeMap::new() };
    World { policy, groups, rates, history, de_minimis, unlisted, ask }
}

/// Puts into a request what follows from the rest: the chains that its transaction pays, and what the others, of
/// before and of the same transaction, leave of *de minimis*.
pub(crate) fn settle(history: &[(u64, Charge)], de_minimis: u64, ask: &mut Ask) {
    ask.paid = [&ask.charge].into_iter().chain(&ask.beside).map(|charge| charge.lineage).collect();
    ask.de_minimis_left = Sats(de_minimis.saturating_sub(whole(others(history, ask))));
}

fn others(history: &[(u64, Charge)], ask: &Ask) -> u128 {
    charged_today(history, ask) + ask.beside.iter().map(all_of).sum::<u128>()
}

fn whole(amount: u128) -> u64 {
    u64::try_from(amount).unwrap()
}

fn people(random: &mut Random, times: u64) -> Vec<Name> {
    PEOPLE.iter().filter(|_| !random.rarely(times)).map(|id| name(id)).collect()
}

// Rates: small ones that round, and ones whose products pass what fits.

fn rate(random: &mut Random) -> Rate {
    let value = match random.below(16) {
        0 => u128::MAX - u128::from(random.below(2)),
        1 | 2 => u128::MAX / u128::from(2 + random.below(30)),
        3 => 0,
        _ => u128::from(1 + random.below(4)),
    };
    let per = if random.rarely(24) { u128::MAX } else { u128::from(1 + random.below(3)) };
    Rate { value: Value(value), per: Value(per) }
}

fn rates(random: &mut Random) -> Rates {
    let until = if random.rarely(3) { random.around(NOW) } else { NOW + 1_000 };
    let mut rates = BTreeMap::new();
    for asset in ASSETS {
        if !random.rarely(6) {
            rates.insert((*asset).to_owned(), rate(random));
        }
    }
    Rates { currency: random.near("chf", CURRENCIES), until, rates }
}

fn price_now(rates: &[Rates], currency: Option<&Name>, asset: &str) -> Option<Priced> {
    let held = rates.iter().filter(|rates| Some(&rates.currency) == currency && rates.until >= NOW);
    let rate = held.filter_map(|rates| rates.rates.get(asset)).next()?;
    Some(Priced { currency: currency?.clone(), rate: *rate })
}

fn value(random: &mut Random) -> Value {
    Value(match random.below(8) {
        0 | 1 => u128::MAX - u128::from(random.below(2)),
        2 => u128::MAX / u128::from(2 + random.below(4)),
        _ => u128::from(random.below(24)),
    })
}

// Charges.

/// A kind for each destination of the address book, with one kind twice.
fn kind_of(destination: &str) -> DestinationKind {
    let (unlisted, listed) = DestinationKind::ALL.split_last().unwrap();
    let at = DESTINATIONS.iter().position(|one| *one == destination);
    at.map_or(*unlisted, |at| listed[at % listed.len()])
}

fn initiator(random: &mut Random) -> Owner {
    let who = random.near("alice", &PEOPLE[..3]);
    if random.rarely(3) { Owner::Machine(who) } else { Owner::Person(who) }
}

fn charge(random: &mut Random, wallet: &str, asset: &str, lineage: &str) -> Charge {
    let mut paid = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    if !random.rarely(6) {
        for _ in 0..1 + random.below(3) {
            let to = if random.rarely(12) { "unlisted" } else { random.pick(DESTINATIONS) };
            paid.insert(name(to), Sats(1 + random.below(4)));
            kinds.insert(kind_of(to));
        }
    }
    let kind = if paid.is_empty() { RequestKind::Cancel } else { RequestKind::Payment };
    let subject = Subject {
        kind,
        asset: asset.to_owned(),
        wallet: name(wallet),
        tier: if wallet == WALLETS[0] { Tier::Hot } else { Tier::Warm },
        client: if random.rarely(4) { None } else { Some(random.near(CLIENTS[0], CLIENTS)) },
        destinations: kinds,
        amount: Sats(paid.values().map(|paid| paid.0).sum()),
    };
    Charge {
        subject,
        initiator: initiator(random),
        lineage: Hash::sha256(lineage.as_bytes()),
        paid,
        fee: Sats(1 + random.below(3)),
        count: 1,
        price: None,
    }
}

fn ask(random: &mut Random, rates: &[Rates], currency: Option<&Name>) -> Ask {
    let (wallet, asset) = (random.pick(WALLETS), ASSETS[0]);
    let count = if random.rarely(2) { 1 + random.below(3) } else { 1 };
    let request = |at: u64, random: &mut Random| Charge {
        price: price_now(rates, currency, asset),
        ..charge(random, wallet, asset, LINEAGES[usize::try_from(at).unwrap()])
    };
    let mut requests: Vec<_> = (0..count).map(|at| request(at, random)).collect();
    let charge = requests.remove(0);
    let cooled = |to: &Name, random: &mut Random| (to.clone(), around_spans(random));
    let cooled_s = charge.paid.keys().map(|to| cooled(to, random)).collect();
    let requester = match &charge.initiator {
        Owner::Person(who) => Some(who.clone()),
        Owner::Machine(_) | Owner::Cosigner(_) => None,
    };
    let few = 1 + random.below(5);
    let approvals = people(random, few).into_iter().filter(|who| Some(who) != requester.as_ref());
    let mut ask = Ask {
        charge,
        beside: requests,
        paid: BTreeSet::new(),
        cooled_s,
        approvals: approvals.collect::<Vec<_>>().into_iter().map(|who| (who, given(random))).collect(),
        time: NOW,
        delay: DELAY,
        de_minimis_left: Sats(0),
    };
    settle(&[], 0, &mut ask);
    ask
}

/// So many seconds, at an edge of the spans that rules speak of.
fn around_spans(random: &mut Random) -> u64 {
    let span = random.pick(SPANS);
    if random.rarely(3) { 1_000_000 } else { random.around(span) }
}

fn given(random: &mut Random) -> Given {
    Given {
        at: NOW - around_spans(random),
        delay_at: DELAY - around_spans(random),
        independent: !random.rarely(3),
    }
}

/// What left before, mostly of the same kind as what is asked.
fn past(random: &mut Random, ask: &Charge, currency: Option<&Name>) -> (u64, Charge) {
    let wallet = if random.rarely(4) { random.pick(WALLETS) } else { ask.subject.wallet.as_str() };
    let asset = if random.rarely(4) { random.pick(ASSETS) } else { &ask.subject.asset };
    let lineage = random.pick(LINEAGES);
    let mut charge = charge(random, wallet, asset, lineage);
    if random.rarely(4) {
        // What a renewal adds: the scope sees all of the request, limits see the increment.
        charge.paid = charge.paid.into_iter().filter(|_| random.rarely(2)).collect();
        charge.count = 0;
    }
    // A deployment has one asset, so the rate of now is that of the request's: others bring rates of their own.
    let own = charge.subject.asset == ask.subject.asset;
    let other = currency.filter(|_| !own).cloned();
    let unpriced = own && random.rarely(3);
    let currency = other.unwrap_or_else(|| random.near("chf", CURRENCIES));
    charge.price = (!unpriced).then(|| Priced { currency, rate: rate(random) });
    let span = random.pick(SPANS);
    let at = if random.rarely(4) { NOW - random.below(3) } else { random.around(NOW - span) };
    (at, charge)
}

// Rules.

fn calendar(random: &mut Random) -> Calendar {
    const OFFSETS: &[i64] = &[-100, -11, -1, 0, 1, 2, 10, 100];
    let at = |offset: i64| NOW.checked_add_signed(offset).unwrap();
    let ends: Vec<_> = OFFSETS.iter().filter(|_| random.rarely(2)).map(|offset| at(*offset)).collect();
    let open = ends.chunks_exact(2).map(|ends| (ends[0], ends[1] - ends[0])).collect();
    let edge =
        |random: &mut Random, far: i64| at(if random.rarely(6) { random.pick(&[-1, 0, 1]) } else { far });
    Calendar { zone: "Europe/Zurich".into(), from: edge(random, -1_000), until: edge(random, 1_000), open }
}

fn when(random: &mut Random, ask: &Subject) -> When {
    const RARELY: u64 = 8;
    let client = ask.client.as_ref().map_or(CLIENTS[1], Name::as_str);
    let kind = ask.destinations.first().copied().unwrap_or(DestinationKind::Own);
    let networks = [ask.network(), "bip122:b"];
    When {
        wallets: random.maybe(RARELY, |r| names(r.list(ask.wallet.as_str(), WALLETS))),
        destinations: random.maybe(RARELY / 2, |r| r.list(kind, DestinationKind::ALL)),
        amount_min: random.maybe(RARELY, |r| Sats(r.around(ask.amount.0))),
        amount_max: random.maybe(RARELY, |r| Sats(r.around(ask.amount.0))),
        kinds: random.maybe(RARELY, |r| r.list(ask.kind, &[RequestKind::Payment, RequestKind::Cancel])),
        networks: random
            .maybe(RARELY, |r| r.list(networks[0], &networks).into_iter().map(Into::into).collect()),
        assets: random.maybe(RARELY, |r| r.list(&*ask.asset, ASSETS).into_iter().map(Into::into).collect()),
        tiers: random.maybe(RARELY, |r| r.list(Tier::Hot, Tier::ALL)),
        clients: random.maybe(RARELY / 2, |r| names(r.list(client, CLIENTS))),
        value_min: random
            .maybe(RARELY, |r| if r.rarely(2) { Value(u128::from(r.below(4))) } else { value(r) }),
        value_max: random.maybe(RARELY, value),
    }
}

fn path(random: &mut Random, most: u64) -> Path {
    let group = |random: &mut Random| if random.rarely(24) { GROUPS[3] } else { random.pick(&GROUPS[..3]) };
    let seats =
        |random: &mut Random| Seats { count: 1 + u32::from(random.rarely(3)), group: name(group(random)) };
    (0..1 + random.below(most)).map(|_| seats(random)).collect()
}

fn require(random: &mut Random, ask: &Ask, easy: bool) -> Require {
    let (amount, fee) = (ask.charge.subject.amount.0, ask.charge.fee.0);
    let seldom = if easy { 12 } else { 4 };
    let hard =
        |random: &mut Random, cut: u64| if random.rarely(seldom) { random.around(cut) } else { cut + 10 };
    let share = (fee * 1_000_000).div_ceil(amount.max(1));
    Require {
        approvals: (0..1 + random.below(3)).map(|_| path(random, if easy { 2 } else { 3 })).collect(),
        amount_max: Sats(hard(random, amount)),
        fee_max: Sats(hard(random, fee)),
        fee_max_ppm: hard(random, share),
        value_max: random.maybe(seldom, value),
        velocity: if random.rarely(seldom / 2) { random.some(3, velocity) } else { Vec::new() },
        fee_budget: random.maybe(seldom, |r| Budget { window_s: r.pick(SPANS), fee_max: Sats(r.below(10)) }),
        hours: random
            .maybe(seldom, |r| if r.rarely(16) { name(CALENDARS[2]) } else { r.name(&CALENDARS[..2]) }),
        delay_s: random.maybe(seldom, |r| r.pick(SPANS)),
        cool_down_s: random.maybe(seldom, |r| r.pick(SPANS)),
        approval_valid_s: random.maybe(seldom, |r| r.pick(SPANS)),
        independent: random.maybe(seldom, |r| u32::try_from(1 + r.below(3)).unwrap()),
    }
}

fn velocity(random: &mut Random) -> Velocity {
    Velocity {
        per: random.pick(PERS),
        window_s: random.pick(SPANS),
        amount_max: random.maybe(2, |r| Sats(r.below(24))),
        value_max: random.maybe(2, |r| match r.below(4) {
            0 => value(r),
            1 => Value(u128::MAX),
            _ => Value(u128::from(r.below(60))),
        }),
        count_max: random.maybe(2, |r| u32::try_from(1 + r.below(4)).unwrap()),
    }
}
