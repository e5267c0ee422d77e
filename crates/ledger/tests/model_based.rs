//! Random histories against a second opinion: a ledger of forty lines that keeps a list of transfers and
//! adds them up. The judgement alone runs many cases; both databases run fewer of the same.

mod common;

use std::collections::HashMap;

use common::*;
use ledger::book::{Outcome, View, apply};
use ledger::{Amount, Books, Code, CommitError, Model, Movement, NewTransfer, Posting, TransferId};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const OWNERS: [&str; 6] = ["client:a", "client:b", "own", "suspense", "in-transit", "external"];

on_both_engines!(random_histories_agree_with_the_second_opinion);

/// A transfer of the second opinion: signed effects, and whether it still reserves.
#[derive(Clone)]
struct Plain {
    debit: usize,
    credit: usize,
    posted: i128,
    reserved: i128,
    new: NewTransfer,
    pending: bool,
}

/// Adds up a list, and nothing else.
#[derive(Clone, Default)]
struct Naive {
    entered: Vec<Plain>,
}

impl Naive {
    fn find(&self, id: &TransferId) -> Option<usize> {
        self.entered.iter().position(|plain| plain.new.id == *id)
    }

    fn balance(&self, who: usize) -> i128 {
        let sum = |plain: &Plain| (plain.credit == who) as i128 - (plain.debit == who) as i128;
        self.entered.iter().map(|plain| plain.posted * sum(plain)).sum()
    }

    fn reserved(&self, who: usize) -> i128 {
        self.entered.iter().filter(|plain| plain.debit == who).map(|plain| plain.reserved).sum()
    }

    /// To post all of a reservation, and to post as much as it reserved, are the same.
    fn same(&self, a: &NewTransfer, b: &NewTransfer) -> bool {
        let whole = |new: &NewTransfer| match &new.movement {
            Movement::Post { pending, amount: None } => {
                let asked = self.find(pending).map(|held| match &self.entered[held].new.movement {
                    Movement::Pending { amount, .. } => *amount,
                    _ => Amount::ZERO,
                });
                NewTransfer {
                    movement: Movement::Post { pending: pending.clone(), amount: asked },
                    ..new.clone()
                }
            }
            _ => new.clone(),
        };
        whole(a) == whole(b)
    }

    /// Whether the transfer is entered; `None` says that it was before.
    fn enter(&mut self, new: &NewTransfer) -> Option<bool> {
        if let Some(known) = self.find(&new.id) {
            return if self.same(&self.entered[known].new, new) { None } else { Some(false) };
        }
        let owner = |account: &ledger::Account| {
            OWNERS.iter().position(|owner| *owner == account.owner.to_string()).unwrap()
        };
        let units = |amount: Amount| i128::try_from(amount.units()).unwrap();
        let (plain, ends) = match &new.movement {
            Movement::Posted { debit, credit, amount } => (
                Plain {
                    debit: owner(debit),
                    credit: owner(credit),
                    posted: units(*amount),
                    reserved: 0,
                    new: new.clone(),
                    pending: false,
                },
                None,
            ),
            Movement::Pending { debit, credit, amount, .. } => (
                Plain {
                    debit: owner(debit),
                    credit: owner(credit),
                    posted: 0,
                    reserved: units(*amount),
                    new: new.clone(),
                    pending: true,
                },
                None,
            ),
            Movement::Post { pending, amount } => {
                let Some(held) = self.find(pending) else { return Some(false) };
                let Plain { debit, credit, reserved, .. } = self.entered[held];
                let posted = amount.map_or(reserved, units);
                if posted > reserved {
                    return Some(false);
                }
                (Plain { debit, credit, posted, reserved: 0, new: new.clone(), pending: false }, Some(held))
            }
            Movement::Void { pending } | Movement::Expire { pending } => {
                let Some(held) = self.find(pending) else { return Some(false) };
                let Plain { debit, credit, .. } = self.entered[held];
                (
                    Plain { debit, credit, posted: 0, reserved: 0, new: new.clone(), pending: false },
                    Some(held),
                )
            }
        };
        if plain.debit == plain.credit {
            return Some(false);
        }
        match ends {
            Some(held) => {
                // No reservation here has a time, so none expires.
                let expires = matches!(new.movement, Movement::Expire { .. });
                if !self.entered[held].pending
                    || self.entered[held].reserved == 0
                    || plain.posted < 0
                    || expires
                {
                    return Some(false);
                }
                let wants_nothing =
                    matches!(&new.movement, Movement::Post { amount: Some(a), .. } if *a == Amount::ZERO);
                if wants_nothing {
                    return Some(false);
                }
                self.entered[held].reserved = 0;
            }
            None => {
                let asked = plain.posted + plain.reserved;
                let bounded = OWNERS[plain.debit] != "external";
                if asked == 0 || (bounded && self.balance(plain.debit) - self.reserved(plain.debit) < asked) {
                    return Some(false);
                }
            }
        }
        self.entered.push(plain);
        Some(true)
    }

    /// All or nothing: entered, refused, or there before.
    fn post(&mut self, posting: &Posting) -> &'static str {
        let mut next = self.clone();
        let (mut new, mut old) = (0, 0);
        for transfer in &posting.transfers {
            match next.enter(transfer) {
                // Twice in one posting is no repetition.
                None if self.find(&transfer.id).is_none() => return "refused",
                None => old += 1,
                Some(true) => new += 1,
                Some(false) => return "refused",
            }
        }
        match (new, old) {
            (_, 0) => {
                *self = next;
                "entered"
            }
            (0, _) => "repeated",
            _ => "refused",
        }
    }
}

fn step() -> impl Strategy<Value = NewTransfer> {
    // Few ids, so that they collide, and fewer reservations, so that they are ended, and ended again;
    // small amounts, so that balances run out.
    let id = (0..60u8).prop_map(|i| format!("t{i}"));
    let pending = (0..12u8).prop_map(|i| format!("p{i}"));
    (id, pending, 0..OWNERS.len(), 0..OWNERS.len(), 0..30u128, 0..9u8, any::<bool>()).prop_map(
        |(id, pending, debit, credit, amount, what, whole)| {
            let (debit, credit) = (account(OWNERS[debit]), account(OWNERS[credit]));
            let id = if matches!(what, 4 | 5) { &pending } else { &id };
            let (pending, units) = (pending.parse().unwrap(), Amount::new(amount));
            let movement = match what {
                0 | 1 => Movement::Posted { debit: account("external"), credit, amount: units },
                2 | 3 => Movement::Posted { debit, credit, amount: units },
                4 | 5 => Movement::Pending { debit, credit, amount: units, expires_at: None },
                6 | 7 => Movement::Post { pending, amount: (!whole).then_some(units) },
                _ if whole => Movement::Expire { pending },
                _ => Movement::Void { pending },
            };
            // The one code that joins all owners, so that money is all there is to judge.
            NewTransfer { cause: String::new(), ..transfer(id, movement, Code::Correction) }
        },
    )
}

fn history(length: usize) -> impl Strategy<Value = Vec<Posting>> {
    let posting = proptest::collection::vec(step(), 1..4).prop_map(many);
    proptest::collection::vec(posting, 1..length)
}

/// The invariants that hold after every posting.
fn judge_totals(naive: &Naive, totals: &HashMap<String, ledger::Totals>) -> Result<(), TestCaseError> {
    let (mut posted, mut pending) = (0i128, 0i128);
    for (who, owner) in OWNERS.iter().enumerate() {
        let totals = totals.get(*owner).copied().unwrap_or_default();
        let units = |amount: Amount| i128::try_from(amount.units()).unwrap();
        let balance = units(totals.credits_posted) - units(totals.debits_posted);
        prop_assert_eq!(balance, naive.balance(who), "{}", owner);
        prop_assert_eq!(units(totals.debits_pending), naive.reserved(who), "{}", owner);
        if *owner != "external" {
            prop_assert!(balance - units(totals.debits_pending) >= 0, "{} is overdrawn", owner);
        }
        posted += balance;
        pending += units(totals.credits_pending) - units(totals.debits_pending);
    }
    prop_assert_eq!((posted, pending), (0, 0), "the sums are not zero");
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn the_judgement_agrees_with_the_second_opinion() {
    let run = |history: Vec<Posting>| {
        let (mut naive, mut view) = (Naive::default(), View::new(NOW));
        apply(&mut view, &wallet("main", Model::TwoP)).unwrap();
        for posting in history {
            let before = view.entries().len();
            let result = apply(&mut view, &posting);
            let word = match &result {
                Ok(Outcome::Entered) => "entered",
                Ok(Outcome::Repeated(_)) => "repeated",
                Err(_) => "refused",
            };
            prop_assert_eq!(word, naive.post(&posting), "{:?}: {:?}", posting, result);
            let added = if word == "entered" { posting.transfers.len() } else { 0 };
            prop_assert_eq!(view.entries().len() - before, added);
            let totals =
                view.accounts().map(|(account, totals)| (account.owner.to_string(), *totals)).collect();
            judge_totals(&naive, &totals)?;
        }
        Ok(())
    };
    runner(400).run(&history(60), run).unwrap();
}

async fn random_histories_agree_with_the_second_opinion(database: Database) {
    let handle = tokio::runtime::Handle::current();
    let case = std::sync::atomic::AtomicU32::new(0);
    let books = Books::open(&database.address).await.unwrap();
    // Each case has a wallet of its own.
    let run = |history: Vec<Posting>| {
        let n = case.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let wallet_name = name(&format!("w{n}"));
        handle.block_on(async {
            commit(&books, wallet(wallet_name.as_str(), Model::TwoP)).await;
            let mut naive = Naive::default();
            for posting in history {
                let expected = naive.post(&posting);
                let word = match books.commit(renamed(posting.clone(), n)).await {
                    Ok(done) if done.repeated => "repeated",
                    Ok(_) => "entered",
                    Err(CommitError::Refused(_)) => "refused",
                    Err(other) => panic!("{other}"),
                };
                prop_assert_eq!(word, expected, "{:?}", posting);
            }
            let mut totals = HashMap::new();
            for owner in OWNERS {
                let account = ledger::Account { wallet: wallet_name.clone(), ..account(owner) };
                totals.insert(owner.to_owned(), books.account(&account).await.unwrap());
            }
            judge_totals(&naive, &totals)
        })
    };
    tokio::task::block_in_place(|| runner(12).run(&history(30), run)).unwrap();
    books.verify(&[]).await.unwrap();
}

/// The same posting with ids and a wallet of one case.
fn renamed(mut posting: Posting, n: u32) -> Posting {
    let id = |id: &TransferId| format!("{n}.{id}").parse().unwrap();
    for transfer in &mut posting.transfers {
        transfer.id = id(&transfer.id);
        match &mut transfer.movement {
            Movement::Posted { debit, credit, .. } | Movement::Pending { debit, credit, .. } => {
                debit.wallet = name(&format!("w{n}"));
                credit.wallet = name(&format!("w{n}"));
            }
            Movement::Post { pending, .. } | Movement::Void { pending } | Movement::Expire { pending } => {
                *pending = id(pending);
            }
        }
    }
    posting
}
