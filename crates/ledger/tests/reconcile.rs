//! Books against network: a table of cases, and random histories of a wallet.

use std::collections::{BTreeMap, VecDeque};

use custody::Hash;
use custody::name::Name;
use ledger::reconcile::{Coin, Origin, Sides, compare};
use ledger::{Account, Amount, Asset, Owner, Reconciliation, Totals};
use proptest::prelude::*;

fn asset() -> Asset {
    "bip122:000000000019d6689c085ae165831e93/slip44:0".parse().unwrap()
}

fn wallet() -> Name {
    Name::new("main").unwrap()
}

/// A wallet on the network and in the books.
#[derive(Clone, Default, Debug)]
struct Wallet {
    network: BTreeMap<String, Amount>,
    coins: Vec<Coin>,
    authorised: BTreeMap<String, Amount>,
    debits: u128,
    credits: u128,
    overdrawn: Vec<(Account, Totals)>,
}

impl Wallet {
    fn compare(&self) -> Reconciliation {
        let external: Totals = format!("0 {} 0 {}", self.debits, self.credits).parse().unwrap();
        compare(&Sides {
            wallet: &wallet(),
            asset: &asset(),
            height: 7,
            block: Hash([7; 32]),
            network: &self.network,
            external: &external,
            coins: &self.coins,
            authorised: &self.authorised,
            overdrawn: &self.overdrawn,
        })
    }

    /// Somebody pays.
    fn pay_in(&mut self, outpoint: &str, amount: u128, origin: Origin) {
        self.network.insert(outpoint.into(), Amount::new(amount));
        self.coins.push(Coin {
            outpoint: outpoint.into(),
            amount: Amount::new(amount),
            origin,
            spent_by: None,
        });
    }

    /// The books take a deposit in.
    fn book(&mut self, outpoint: &str) {
        let coin = self.coins.iter_mut().find(|coin| coin.outpoint == outpoint).unwrap();
        coin.origin = Origin::Booked(format!("{outpoint}@block#1"));
        self.debits += coin.amount.units();
    }

    /// A transaction spends outputs in a block; `change` comes back. Returns what left.
    fn spend(&mut self, txid: &str, outpoints: &[&str], change: u128) -> u128 {
        let mut taken = 0;
        for coin in self.coins.iter_mut().filter(|coin| outpoints.contains(&coin.outpoint.as_str())) {
            coin.spent_by = Some(txid.into());
            self.network.remove(&coin.outpoint);
            taken += coin.amount.units();
        }
        if change > 0 {
            self.pay_in(&format!("{txid}:1"), change, Origin::Change);
        }
        taken - change
    }

    /// The books settle a part of a transaction that the log allowed.
    fn settle(&mut self, txid: &str, amount: u128) {
        let booked = self.authorised.get_mut(txid).unwrap();
        *booked = booked.checked_add(Amount::new(amount)).unwrap();
        self.credits += amount;
    }

    fn allow(&mut self, txid: &str) {
        self.authorised.insert(txid.into(), Amount::ZERO);
    }
}

/// A wallet with one booked deposit of 1,000.
fn funded() -> Wallet {
    let mut wallet = Wallet::default();
    wallet.pay_in("a:0", 1_000, Origin::Confirming);
    wallet.book("a:0");
    wallet
}

/// "what id amount" of each.
fn words(items: &[ledger::Item]) -> Vec<String> {
    items.iter().map(|item| format!("{} {} {}", item.what, item.id, item.amount)).collect()
}

#[test]
fn the_table_of_cases() {
    type Case = (
        &'static str,
        fn(&mut Wallet),
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );
    // What happens; the difference, what is on its way in and out, the suspects.
    let cases: [Case; 13] = [
        ("nothing", |_| (), "0", &[], &[], &[]),
        (
            "a deposit confirms",
            |w| w.pay_in("b:0", 5, Origin::Confirming),
            "0",
            &["deposit-confirming b:0 5"],
            &[],
            &[],
        ),
        (
            "an authorised payment confirms",
            |w| {
                w.allow("t");
                w.spend("t", &["a:0"], 600);
            },
            "0",
            &[],
            &["withdrawal-confirming t 400"],
            &[],
        ),
        (
            "one of two withdrawals of a batch is settled",
            |w| {
                w.allow("t");
                w.spend("t", &["a:0"], 600);
                w.settle("t", 150);
            },
            "0",
            &[],
            &["withdrawal-confirming t 250"],
            &[],
        ),
        (
            "all of it is settled",
            |w| {
                w.allow("t");
                w.spend("t", &["a:0"], 600);
                w.settle("t", 400);
            },
            "0",
            &[],
            &[],
            &[],
        ),
        (
            "more is settled than left",
            |w| {
                w.allow("t");
                w.spend("t", &["a:0"], 600);
                w.settle("t", 401);
            },
            "1",
            &[],
            &[],
            &["withdrawal-overbooked t 1"],
        ),
        (
            "a payment that nobody authorised",
            |w| {
                w.spend("t", &["a:0"], 600);
            },
            "-400",
            &[],
            &[],
            &["spend-unauthorised t 400"],
        ),
        (
            "a deposit that is not judged is spent by an authorised payment",
            |w| {
                w.pay_in("b:0", 50, Origin::Confirming);
                w.allow("t");
                w.spend("t", &["a:0", "b:0"], 0);
            },
            "0",
            &["deposit-confirming b:0 50"],
            &["withdrawal-confirming t 1050"],
            &[],
        ),
        (
            "a credited coin is not on the network",
            |w| {
                w.network.remove("a:0");
            },
            "-1000",
            &[],
            &[],
            &["deposit-without-coin a:0@block#1 1000"],
        ),
        (
            "the node shows another amount",
            |w| {
                w.network.insert("a:0".into(), Amount::new(999));
            },
            "-1",
            &[],
            &[],
            &["deposit-without-coin a:0@block#1 1000", "coin-unknown a:0 999"],
        ),
        (
            "the network has a coin that nobody saw",
            |w| {
                w.network.insert("c:3".into(), Amount::new(9));
            },
            "9",
            &[],
            &[],
            &["coin-unknown c:3 9"],
        ),
        ("a deposit was written into the books alone", |w| w.debits += 70, "-70", &[], &[], &[]),
        (
            "an account below zero is named, and is no difference",
            |w| {
                let account = Account::new(Owner::Client(wallet()), &wallet(), &asset());
                w.overdrawn.push((account, "0 30 0 10".parse().unwrap()));
            },
            "0",
            &[],
            &[],
            &["account-overdrawn client:main/main/bip122:000000000019d6689c085ae165831e93/slip44:0 20"],
        ),
    ];
    for (what, happens, difference, incoming, outgoing, suspects) in cases {
        let mut wallet = funded();
        happens(&mut wallet);
        let found = wallet.compare();
        assert_eq!(found.difference.to_string(), difference, "{what}");
        assert_eq!(found.is_break(), difference != "0", "{what}");
        assert_eq!(words(&found.incoming), incoming, "{what}");
        assert_eq!(words(&found.outgoing), outgoing, "{what}");
        assert_eq!(words(&found.suspects), suspects, "{what}");
        assert_eq!((found.height, found.block), (7, Hash([7; 32])));
    }
}

#[test]
fn sums_that_do_not_fit_are_a_break() {
    let mut wallet = funded();
    wallet.network.insert("x:0".into(), Amount::MAX);
    wallet.network.insert("y:0".into(), Amount::MAX);
    assert!(wallet.compare().is_break());
}

#[derive(Clone, Debug)]
enum Event {
    Pay {
        amount: u128,
    },
    Judge {
        which: usize,
    },
    Withdraw {
        coins: usize,
        change: u128,
        allowed: bool,
    },
    Settle {
        which: usize,
        part: u128,
    },
    /// A deposit that is in the books alone.
    Forge {
        amount: u128,
    },
    /// Spends that are settled are forgotten.
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u128..1_000_000).prop_map(|amount| Event::Pay { amount }),
        4 => (0usize..8).prop_map(|which| Event::Judge { which }),
        3 => (1usize..4, 0u128..1_000_000).prop_map(|(coins, change)| Event::Withdraw { coins, change, allowed: true }),
        1 => (1usize..4, 0u128..1_000_000).prop_map(|(coins, change)| Event::Withdraw { coins, change, allowed: false }),
        3 => (0usize..4, 1u128..101).prop_map(|(which, part)| Event::Settle { which, part }),
        1 => (1u128..1_000).prop_map(|amount| Event::Forge { amount }),
        2 => Just(Event::Forget),
    ]
}

proptest! {
    /// Whatever happened in whatever order: what was stolen or forged is the difference, to the unit, and
    /// everything else explains itself.
    #[test]
    fn a_break_is_exactly_what_was_stolen_or_forged(events in prop::collection::vec(event(), 0..60)) {
        let mut wallet = Wallet::default();
        // What left by transactions that the log allowed, and is not settled.
        let mut open: BTreeMap<String, u128> = BTreeMap::new();
        let mut order: VecDeque<String> = VecDeque::new();
        let (mut stolen, mut forged, mut thefts) = (0u128, 0u128, 0usize);
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Event::Pay { amount } => wallet.pay_in(&format!("d{number}:0"), amount, Origin::Confirming),
                Event::Judge { which } => {
                    let waits = wallet.coins.iter().filter(|coin| coin.origin == Origin::Confirming);
                    let found = waits.map(|coin| coin.outpoint.clone()).nth(which);
                    if let Some(outpoint) = found {
                        wallet.book(&outpoint);
                    }
                }
                Event::Withdraw { coins, change, allowed } => {
                    let unspent: Vec<Coin> =
                        wallet.coins.iter().filter(|coin| coin.spent_by.is_none()).take(coins).cloned().collect();
                    let outpoints: Vec<&str> = unspent.iter().map(|coin| coin.outpoint.as_str()).collect();
                    let taken: u128 = unspent.iter().map(|coin| coin.amount.units()).sum();
                    if taken < 2 {
                        continue;
                    }
                    // Something always leaves: the fee.
                    let txid = format!("t{number}");
                    let left = wallet.spend(&txid, &outpoints, change % (taken - 1));
                    order.push_back(txid.clone());
                    if allowed {
                        wallet.allow(&txid);
                        open.insert(txid, left);
                    } else {
                        stolen += left;
                        thefts += 1;
                    }
                }
                Event::Settle { which, part } => {
                    let found = open.iter_mut().filter(|(_, rest)| **rest > 0).nth(which);
                    let Some((txid, rest)) = found else { continue };
                    let amount = (*rest * part).div_ceil(100);
                    *rest -= amount;
                    let txid = txid.clone();
                    wallet.settle(&txid, amount);
                }
                Event::Forge { amount } => {
                    wallet.debits += amount;
                    forged += amount;
                }
                Event::Forget => {
                    // The oldest first, as blocks are forgotten.
                    while let Some(txid) = order.front().filter(|txid| open.get(*txid) == Some(&0)) {
                        let its = |coin: &Coin| coin.spent_by.as_ref() == Some(txid);
                        if wallet.coins.iter().any(|coin| its(coin) && coin.origin == Origin::Confirming) {
                            break;
                        }
                        wallet.coins.retain(|coin| !its(coin));
                        order.pop_front();
                    }
                }
            }
        }
        let found = wallet.compare();
        let lost = stolen + forged;
        let expected = if lost == 0 { "0".to_owned() } else { format!("-{lost}") };
        prop_assert_eq!(found.difference.to_string(), expected);
        prop_assert_eq!(found.is_break(), lost > 0);
        let out: u128 = found.outgoing.iter().map(|item| item.amount.units()).sum();
        prop_assert_eq!(out, open.values().sum::<u128>());
        let named: u128 = found.suspects.iter().map(|item| item.amount.units()).sum();
        prop_assert_eq!((found.suspects.len(), named), (thefts, stolen));
    }
}
