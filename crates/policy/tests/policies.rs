//! The policies of `examples/policies`: each is read, would be adopted, and decides as it says.

use std::collections::{BTreeMap, BTreeSet};

use custody::decide::Rulebook;
use custody::document::{DestinationKind, Document, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{PolicyRule, RequestKind};
use custody::quorum::people_of;
use custody::rates::{Rate, Value};
use custody::rule::Rule;
use custody::state::Owner;
use policy::text::{PolicyFile, parse};
use policy::trial::Trial;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// A satoshi a hundred million times.
const BTC: u64 = 100_000_000;
/// Wednesday, 2 December 2026, 10:00 UTC: 11:00 in Zurich, 05:00 in New York.
const MORNING: u64 = 1_796_205_600;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

struct Example {
    file: PolicyFile,
    wallet: &'static str,
    by: &'static str,
    kind: DestinationKind,
    at: u64,
}

impl Example {
    fn read(text: &str, wallet: &'static str, by: &'static str, kind: DestinationKind) -> Self {
        let file = parse(text).unwrap_or_else(|fault| panic!("{fault}"));
        Self { file, wallet, by, kind, at: MORNING }
    }

    /// An amount that these people approved an hour ago on devices of their own.
    fn pays(&self, amount: u64, people: &[&str]) -> Trial {
        let assumed = self.file.assumed.clone().unwrap();
        let to = (name("acme"), self.kind);
        let mut trial = Trial::payment(assumed, name(self.wallet), name(self.by), to, Sats(amount), self.at);
        trial.ask.charge.fee = Sats(1_000);
        for person in people {
            trial.approve(name(person), HOUR, true);
        }
        let currency = self.file.policy.currency.clone();
        // 80,000 of either currency for a bitcoin.
        trial.rate = currency.map(|c| (c, Rate { value: Value(8_000_000), per: Value(BTC.into()) }));
        trial
    }

    /// A cancel that these people approved.
    fn cancel(&self, people: &[&str]) -> Trial {
        let mut cancel = self.pays(0, people);
        let subject = &mut cancel.ask.charge.subject;
        (subject.kind, subject.destinations) = (RequestKind::Cancel, BTreeSet::new());
        (cancel.ask.charge.paid, cancel.ask.cooled_s) = (BTreeMap::new(), BTreeMap::new());
        cancel
    }

    /// These people take back whatever was paid, while a rate holds or not, on a holiday too; fewer do not.
    fn cancels(&self, people: &[&str]) {
        for (tier, client) in [(Tier::Hot, None), (Tier::Warm, Some(name("zoe")))] {
            let mut cancel = self.cancel(people);
            cancel.ask.charge.subject.tier = tier;
            cancel.ask.charge.subject.client = client;
            self.allows(&cancel, &["cancels"]);
            cancel.rate = None;
            cancel.ask.time += 23 * DAY;
            cancel.ask.approvals.values_mut().for_each(|given| given.at += 23 * DAY);
            self.allows(&cancel, &["cancels"]);
        }
        self.denies(&self.cancel(&people[1..]), Rule::PolicyApprovals);
        // No payment passes with fewer people.
        let fewest = |rule: &&PolicyRule| rule.require.approvals.iter().map(people_of).min();
        let rules = &self.file.policy.rules;
        let (cancels, payments): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.id == name("cancels"));
        let [cancels, payments] = [cancels, payments].map(|rules| rules.iter().filter_map(fewest).min());
        assert!(cancels.unwrap() <= payments.unwrap() && payments.unwrap() as usize >= people.len());
    }

    fn allows(&self, trial: &Trial, by: &[&str]) {
        let rules = trial.decide(&self.file.policy).unwrap_or_else(|no| panic!("{no}"));
        assert_eq!(rules, by.iter().map(|id| name(id)).collect::<Vec<_>>());
    }

    fn denies(&self, trial: &Trial, rule: Rule) {
        assert!(trial.decide(&self.file.policy).is_err(), "allowed, where {rule} denies");
        let reasons = Rulebook::new(self.file.policy.clone()).explain(&trial.ask, trial);
        assert!(reasons.iter().any(|(_, no)| no.rule == rule), "{rule} is none of {reasons:?}");
    }

    /// It would be adopted, and an envelope holds it.
    fn is_adopted(&self) {
        let assumed = self.file.assumed.clone().unwrap();
        assumed.check(&self.file.policy, MORNING - DAY).unwrap_or_else(|no| panic!("{no}"));
        let document = custody::canon::encode(&Document::Policy(self.file.policy.clone())).unwrap();
        assert_eq!(policy::ground::warnings(&self.file.policy, &assumed), Vec::<String>::new());
        assert!(document.len() < 45_000, "{} bytes, and base64 makes a third more of it", document.len());
    }
}

#[test]
fn every_example_is_tested_here() {
    let here = include_str!("policies.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(here.contains(&format!("examples/policies/{file}\")")), "{file}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn small_treasury() {
    let text = include_str!("../../../examples/policies/small-treasury.toml");
    let it = Example::read(text, "main", "carol", DestinationKind::Counterparty);
    it.is_adopted();
    let two = ["alice", "bob"];
    it.allows(&it.pays(BTC / 2, &two), &["payments"]);
    it.allows(&it.pays(90_000, &["alice"]), &["petty"]);
    it.denies(&it.pays(90_001, &["alice"]), Rule::PolicyApprovals);
    it.denies(&it.pays(BTC / 2 + 1, &two), Rule::PolicyLimit);
    let mut young = it.pays(BTC / 2, &two);
    young.ask.cooled_s.insert(name("acme"), DAY - 1);
    it.denies(&young, Rule::PolicyCoolDown);
    let mut third = it.pays(BTC / 2 - 1_000, &two);
    third.paid_before(6 * DAY);
    it.allows(&third, &["payments"]);
    third.paid_before(DAY);
    it.denies(&third, Rule::PolicyVelocity);
    let mut petty = it.pays(10_000, &["alice"]);
    (0..3).for_each(|i| petty.paid_before(i * HOUR));
    it.denies(&petty, Rule::PolicyVelocity);
    let mut drained = it.pays(10_000, &["alice"]);
    drained.ask.de_minimis_left = Sats(10_999);
    it.denies(&drained, Rule::TwoPeople);
    // With de minimis used up two people still pay a small bill.
    let mut both = it.pays(10_000, &two);
    both.ask.de_minimis_left = Sats(0);
    it.allows(&both, &["petty"]);
    it.cancels(&["alice"]);
    // With de minimis used up that takes two as well.
    let mut late = it.cancel(&["alice"]);
    late.ask.de_minimis_left = Sats(0);
    it.denies(&late, Rule::TwoPeople);
    late.approve(name("bob"), HOUR, true);
    it.allows(&late, &["cancels"]);
}

#[test]
fn retail_custodian() {
    let text = include_str!("../../../examples/policies/retail-custodian.toml");
    let mut it = Example::read(text, "pool", "dave", DestinationKind::Client);
    it.is_adopted();
    it.cancels(&["alice", "bob"]);
    it.cancels(&["alice", "erin"]);
    let client = |mut trial: Trial| {
        trial.ask.charge.subject.client = Some(name("zoe"));
        trial
    };
    let small = BTC / 2; // 40,000 chf
    it.allows(&client(it.pays(small, &["alice", "bob"])), &["withdrawals"]);
    it.allows(&client(it.pays(small, &["alice", "erin"])), &["withdrawals"]);
    it.denies(&it.pays(small, &["alice", "bob"]), Rule::PolicyVelocity);
    let mut console = client(it.pays(small, &[]));
    console.approve(name("alice"), HOUR, false);
    console.approve(name("bob"), HOUR, false);
    it.denies(&console, Rule::TwoPeople);
    let mut unpriced = client(it.pays(small, &["alice", "bob"]));
    unpriced.rate = None;
    it.denies(&unpriced, Rule::PolicyValue);
    let mut often = client(it.pays(small, &["alice", "bob"]));
    (1..=4).for_each(|i| often.paid_before(i * HOUR));
    it.denies(&often, Rule::PolicyVelocity);
    // The same from another client's coins is nobody else's limit.
    often.past.iter_mut().for_each(|(_, charge)| charge.subject.client = Some(name("yann")));
    it.allows(&often, &["withdrawals"]);
    let mut stale = client(it.pays(small, &["alice"]));
    stale.approve(name("bob"), DAY + 1, true);
    it.denies(&stale, Rule::PolicyApprovals);

    let large = BTC; // 80,000 chf
    let three = ["alice", "bob", "erin"];
    it.denies(&client(it.pays(large, &three)), Rule::PolicyDelay);
    let waited = |it: &Example, ago| {
        let mut trial = client(it.pays(large, &[]));
        three.iter().for_each(|person| trial.approve(name(person), ago, true));
        trial
    };
    it.allows(&waited(&it, 4 * HOUR), &["withdrawals", "large"]);
    it.denies(&waited(&it, 4 * HOUR - 1), Rule::PolicyDelay);
    // 07:59 and 18:00 in Zurich.
    for at in [MORNING - 3 * HOUR - 60, MORNING + 7 * HOUR] {
        it.at = at;
        it.denies(&waited(&it, 5 * HOUR), Rule::PolicyHours);
        it.allows(&client(it.pays(small, &["alice", "bob"])), &["withdrawals"]);
    }
    it.at = MORNING;
    it.kind = DestinationKind::Contract;
    it.denies(&it.pays(small, &three), Rule::PolicyScope);
    it.kind = DestinationKind::Own;
    it.allows(&it.pays(40 * BTC, &three), &["house"]);
}

#[test]
fn institutional_bank() {
    let text = include_str!("../../../examples/policies/institutional-bank.toml");
    let mut it = Example::read(text, "mandate-7", "tom", DestinationKind::Own);
    it.is_adopted();
    it.cancels(&["anna", "adam"]);
    let two = ["anna", "adam"];
    it.allows(&it.pays(10 * BTC, &two), &["house-limits"]);
    it.denies(&it.pays(10 * BTC, &["anna", "rita"]), Rule::PolicyApprovals);
    // 25 bitcoin are 2,000,000 chf.
    it.denies(&it.pays(25 * BTC, &two), Rule::PolicyApprovals);
    it.allows(&it.pays(25 * BTC, &["anna", "adam", "rita"]), &["house-limits", "large"]);
    it.denies(&it.pays(150 * BTC, &["anna", "adam", "rita"]), Rule::PolicyApprovals);
    let mut largest = it.pays(150 * BTC, &[]);
    ["anna", "adam", "rita", "bea"].iter().for_each(|p| largest.approve(name(p), 6 * HOUR, true));
    it.allows(&largest, &["house-limits", "large", "largest"]);
    largest.approve(name("bea"), 6 * HOUR, false);
    it.denies(&largest, Rule::PolicyIndependent);
    let mut console = it.pays(10 * BTC, &["anna"]);
    console.approve(name("adam"), HOUR, false);
    it.denies(&console, Rule::PolicyIndependent);
    let mut busy = it.pays(BTC, &two);
    (1..=24).for_each(|i| busy.paid_before(i * 60));
    it.allows(&busy, &["house-limits"]);
    busy.paid_before(DAY - 1);
    it.denies(&busy, Rule::PolicyVelocity);
    busy.ask.charge.initiator = Owner::Person(name("tina"));
    it.allows(&busy, &["house-limits"]);
    let mut fees = it.pays(100 * BTC, &[]);
    fees.ask.charge.fee = Sats(100_001);
    it.denies(&fees, Rule::PolicyFee);
    // Saturday, and Christmas.
    for at in [MORNING + 3 * DAY, MORNING + 23 * DAY] {
        it.at = at;
        it.denies(&it.pays(10 * BTC, &two), Rule::PolicyHours);
    }
    it.at = MORNING;
    it.kind = DestinationKind::Counterparty;
    let three = ["anna", "adam", "rita"];
    it.denies(&it.pays(BTC, &two), Rule::PolicyApprovals);
    it.allows(&it.pays(20 * BTC, &three), &["house-limits", "counterparties"]);
    let mut exposure = it.pays(20 * BTC, &three);
    (1..=3).for_each(|i| exposure.paid_before(i * HOUR));
    it.denies(&exposure, Rule::PolicyVelocity);
}

#[test]
fn exchange_hot_wallet() {
    let text = include_str!("../../../examples/policies/exchange-hot-wallet.toml");
    let mut it = Example::read(text, "hot-1", "sid", DestinationKind::Client);
    it.is_adopted();
    it.cancels(&["sam", "sue"]);
    it.cancels(&["sam", "tara"]);
    let asked = |it: &Example, amount, people: &[&str]| {
        let mut trial = it.pays(amount, &[]);
        trial.ask.charge.initiator = Owner::Machine(name("gateway"));
        trial.ask.charge.subject.client = Some(name("zoe"));
        people.iter().for_each(|person| trial.approve(name(person), 10 * 60, true));
        trial
    };
    let two = ["sam", "sue"];
    it.allows(&asked(&it, BTC, &two), &["withdrawals"]);
    it.denies(&asked(&it, BTC, &["sam", "tara"]), Rule::PolicyApprovals);
    it.denies(&asked(&it, 2 * BTC + 1, &two), Rule::PolicyLimit);
    it.denies(&asked(&it, 2 * BTC, &two), Rule::PolicyValue);
    let mut late = asked(&it, BTC, &two);
    late.approve(name("sue"), 30 * 60 + 1, true);
    it.denies(&late, Rule::PolicyApprovals);
    let mut run = asked(&it, BTC, &two);
    (1..=5).for_each(|i| run.paid_before(i * 60));
    run.past.iter_mut().for_each(|(_, charge)| {
        charge.subject.client = Some(name("yann"));
        charge.paid = BTreeMap::from([(name("other"), Sats(BTC))]);
    });
    it.denies(&run, Rule::PolicyVelocity);
    // An hour later the window of an hour has passed, that of a day has not.
    run.past.iter_mut().for_each(|(at, _)| *at -= HOUR);
    it.allows(&run, &["withdrawals"]);
    let mut warm = asked(&it, BTC, &two);
    warm.ask.charge.subject.tier = Tier::Warm;
    it.denies(&warm, Rule::PolicyScope);
    let mut dear = asked(&it, BTC, &two);
    dear.ask.charge.fee = Sats(30_000);
    dear.paid_before(2 * HOUR);
    dear.past.iter_mut().for_each(|(_, charge)| {
        (charge.fee, charge.subject.client, charge.paid) =
            (Sats(9_970_001), Some(name("yann")), BTreeMap::new());
    });
    it.denies(&dear, Rule::PolicyFeeBudget);
    it.kind = DestinationKind::Unlisted;
    it.allows(&asked(&it, BTC / 10, &two), &["unlisted"]);
    it.denies(&asked(&it, BTC / 10, &["sam"]), Rule::PolicyApprovals);
    it.denies(&asked(&it, BTC / 10 + 1, &two), Rule::PolicyLimit);
    let mut again = asked(&it, BTC / 100, &two);
    again.paid_before(HOUR);
    it.denies(&again, Rule::PolicyVelocity);
    it.kind = DestinationKind::Own;
    it.allows(&it.pays(100 * BTC, &["sam", "tara"]), &["rebalancing"]);
    it.denies(&it.pays(100 * BTC, &["sam", "sue"]), Rule::PolicyApprovals);
}

#[test]
fn cold_storage() {
    let text = include_str!("../../../examples/policies/cold-storage.toml");
    let mut it = Example::read(text, "reserve", "klara", DestinationKind::Own);
    it.is_adopted();
    it.cancels(&["kai", "kim"]);
    let moves = |it: &Example, amount, ago| {
        let mut trial = it.pays(amount, &[]);
        trial.ask.charge.subject.tier = Tier::Warm;
        ["kai", "kim", "kurt", "rita"].iter().for_each(|person| trial.approve(name(person), ago, true));
        trial
    };
    it.allows(&moves(&it, 1_000 * BTC, DAY), &["reserves"]);
    it.denies(&moves(&it, 1_000 * BTC, DAY - 1), Rule::PolicyDelay);
    it.denies(&moves(&it, 1_000 * BTC + 1, DAY), Rule::PolicyLimit);
    it.denies(&moves(&it, BTC, 7 * DAY + 1), Rule::PolicyApprovals);
    let mut hot = moves(&it, BTC, DAY);
    hot.ask.charge.subject.tier = Tier::Hot;
    it.denies(&hot, Rule::PolicyScope);
    let mut again = moves(&it, BTC, DAY);
    again.paid_before(DAY - 1);
    it.denies(&again, Rule::PolicyVelocity);
    let mut young = moves(&it, BTC, DAY);
    young.ask.cooled_s.insert(name("acme"), 7 * DAY - 1);
    it.denies(&young, Rule::PolicyCoolDown);
    let mut console = moves(&it, BTC, DAY);
    console.approve(name("kim"), DAY, false);
    it.denies(&console, Rule::PolicyIndependent);
    // Lunch, 12:00 to 13:30 in Zurich.
    it.at = MORNING + HOUR;
    it.denies(&moves(&it, BTC, DAY), Rule::PolicyHours);
    // The day before Ascension Day 2027 at ten in summer, that day, and those of 2028 and of the Confederation.
    for (days, open) in [(154, true), (155, false), (540, false), (608, false), (609, true)] {
        it.at = MORNING + days * DAY - 2 * HOUR;
        let trial = moves(&it, BTC, DAY);
        if open { it.allows(&trial, &["reserves"]) } else { it.denies(&trial, Rule::PolicyHours) }
    }
    it.at = MORNING;
    it.kind = DestinationKind::Counterparty;
    it.denies(&moves(&it, BTC, DAY), Rule::PolicyScope);
}

#[test]
fn proprietary_desk() {
    let text = include_str!("../../../examples/policies/proprietary-desk.toml");
    let mut it = Example::read(text, "desk", "tom", DestinationKind::Counterparty);
    it.is_adopted();
    it.cancels(&["anna", "adam"]);
    it.cancels(&["anna", "rita"]);
    let two = ["anna", "adam"];
    it.denies(&it.pays(5 * BTC, &two), Rule::PolicyHours);
    // 03:59 in New York is still the evening before; so is Monday 01:00, and Saturday 21:00 is not.
    for (at, open) in
        [(MORNING - HOUR - 60, true), (MORNING - HOUR, false), (MORNING + 4 * DAY + 20 * HOUR, true)]
    {
        it.at = at;
        let trial = it.pays(5 * BTC, &two);
        if open { it.allows(&trial, &["venues"]) } else { it.denies(&trial, Rule::PolicyHours) }
    }
    it.at = MORNING + 3 * DAY + 16 * HOUR;
    it.denies(&it.pays(5 * BTC, &two), Rule::PolicyHours);
    it.at = MORNING + 5 * HOUR;
    // 6.25 bitcoin are 500,000 usd.
    it.denies(&it.pays(6_250_000 * 100, &two), Rule::PolicyApprovals);
    it.allows(&it.pays(6_250_000 * 100, &["anna", "rita"]), &["venues", "large"]);
    it.denies(&it.pays(38 * BTC, &["anna", "rita"]), Rule::PolicyValue);
    let mut exposure = it.pays(30 * BTC, &["anna", "rita"]);
    exposure.paid_before(HOUR);
    exposure.paid_before(2 * HOUR);
    it.denies(&exposure, Rule::PolicyVelocity);
    it.denies(&it.pays(5 * BTC, &["anna", "tina"]), Rule::PolicyApprovals);
    it.kind = DestinationKind::Own;
    it.allows(&it.pays(500 * BTC, &two), &["home"]);
    // What does nothing is said.
    let mut idle = it.file.policy.clone();
    idle.exclusive.push((name("traderz"), name("risk")));
    idle.rules.iter_mut().for_each(|rule| rule.require.hours = None);
    let warnings = policy::ground::warnings(&idle, it.file.assumed.as_ref().unwrap());
    assert!(warnings[0].contains("no group traderz") && warnings[1].contains("no rule names trading"));
    assert_eq!(warnings.len(), 2);
    // Who writes the software governs nothing.
    let mut assumed = it.file.assumed.clone().unwrap();
    assumed.groups.insert(name("admins"), vec![name("anna"), name("dora"), name("rita")]);
    assert_eq!(assumed.check(&it.file.policy, MORNING).unwrap_err().rule, Rule::Floor);
}
