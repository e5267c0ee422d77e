//! Books against network: whether a wallet holds what its accounts say.
//!
//! Pure. The network's side is what a node says of the set of unspent outputs in one block; the books' side
//! is the external account, negated. What lies between the two is known from whoever follows the chain: deposits
//! that are not judged yet, and transactions that the log allowed and the books have not settled. What is
//! then left is a break, and what is known of the coins names where it may come from.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::name::Name;
use serde::{Deserialize, Serialize};

use crate::account::{Account, Asset, Totals};
use crate::amount::{Amount, Balance};

/// Something that the network has and the books do not yet, or the other way round, and that explains a
/// difference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// `deposit-confirming`, `withdrawal-confirming`, `spend-unauthorised`, … (`docs/reconciliation.md`
    /// lists them).
    pub what: String,
    /// The outpoint, transfer, transaction or account.
    pub id: String,
    /// How much.
    pub amount: Amount,
}

impl Item {
    /// Puts the three together.
    pub fn new(what: &str, id: impl Into<String>, amount: Amount) -> Self {
        Self { what: what.to_owned(), id: id.into(), amount }
    }
}

/// A wallet compared at one block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reconciliation {
    /// The wallet.
    pub wallet: Name,
    /// The asset.
    pub asset: Asset,
    /// The height of the block.
    pub height: u32,
    /// The block, wire byte order.
    pub block: Hash,
    /// What the wallet holds on the network in that block.
    pub network: Amount,
    /// What it should hold by the books: the external account, negated.
    pub books: Balance,
    /// What came and is not in the books yet.
    pub incoming: Vec<Item>,
    /// What left and is not in the books yet.
    pub outgoing: Vec<Item>,
    /// Network − (books + incoming − outgoing): zero, or a break.
    pub difference: Balance,
    /// What may explain a break: transfers, coins, transactions, accounts below zero.
    pub suspects: Vec<Item>,
}

impl Reconciliation {
    /// Whether books and network differ by more than what is on its way.
    pub fn is_break(&self) -> bool {
        self.difference.size() != Amount::ZERO
    }
}

/// What an own output in a block is to the books.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A deposit that is not judged yet: the books do not have it.
    Confirming,
    /// A deposit that the books have: credited or held by this transfer.
    Booked(String),
    /// Change of an own transaction.
    Change,
}

/// An own output in a block, as whoever follows the chain knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coin {
    /// The output, `txid:vout`.
    pub outpoint: String,
    /// How much.
    pub amount: Amount,
    /// What it is.
    pub origin: Origin,
    /// The transaction in a block that spent it.
    pub spent_by: Option<String>,
}

/// Everything that is compared, all of it at one block.
#[derive(Clone, Debug)]
pub struct Sides<'a> {
    /// The wallet.
    pub wallet: &'a Name,
    /// The asset.
    pub asset: &'a Asset,
    /// The height of the block.
    pub height: u32,
    /// The block, wire byte order.
    pub block: Hash,
    /// The network's side: the unspent outputs of the wallet, `txid:vout`.
    pub network: &'a BTreeMap<String, Amount>,
    /// The books' side: the external account of the wallet.
    pub external: &'a Totals,
    /// The own outputs of the wallet in blocks.
    pub coins: &'a [Coin],
    /// The transactions that the log allowed, by id, with what the books already have of each: the amounts
    /// and fees of its settled withdrawals.
    pub authorised: &'a BTreeMap<String, Amount>,
    /// Accounts of the wallet that are below zero and may not be.
    pub overdrawn: &'a [(Account, Totals)],
}

/// Sums that do not fit are no money; they make a difference, which is what matters.
fn plus(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or(Amount::MAX)
}

fn sum<'a>(items: impl IntoIterator<Item = &'a Amount>) -> Amount {
    items.into_iter().fold(Amount::ZERO, |sum, amount| plus(sum, *amount))
}

/// Compares both sides of a wallet. Spends that the log did not allow explain nothing.
pub fn compare(sides: &Sides<'_>) -> Reconciliation {
    let confirming = sides.coins.iter().filter(|coin| coin.origin == Origin::Confirming);
    let incoming: Vec<Item> =
        confirming.map(|coin| Item::new("deposit-confirming", coin.outpoint.clone(), coin.amount)).collect();
    let (mut outgoing, mut suspects) = (Vec::new(), Vec::new());
    for (txid, left) in spends(sides.coins) {
        match sides.authorised.get(txid) {
            None => suspects.push(Item::new("spend-unauthorised", txid, left)),
            Some(booked) => match left.checked_sub(*booked) {
                Some(Amount::ZERO) => {}
                Some(rest) => outgoing.push(Item::new("withdrawal-confirming", txid, rest)),
                None => {
                    let more = booked.checked_sub(left).unwrap_or_default();
                    suspects.push(Item::new("withdrawal-overbooked", txid, more));
                }
            },
        }
    }
    suspects.extend(missing(sides));
    suspects.extend(sides.overdrawn.iter().map(|(account, totals)| {
        Item::new("account-overdrawn", account.to_string(), totals.balance().size())
    }));
    let network = sum(sides.network.values());
    let Totals { debits_posted, credits_posted, .. } = *sides.external;
    let have = plus(plus(network, credits_posted), sum(outgoing.iter().map(|item| &item.amount)));
    let should = plus(debits_posted, sum(incoming.iter().map(|item| &item.amount)));
    Reconciliation {
        wallet: sides.wallet.clone(),
        asset: sides.asset.clone(),
        height: sides.height,
        block: sides.block,
        network,
        books: Balance::of(debits_posted, credits_posted),
        incoming,
        outgoing,
        difference: Balance::of(have, should),
        suspects,
    }
}

/// What each transaction in a block took out of the wallet: the own outputs that it spends less its change.
fn spends(coins: &[Coin]) -> BTreeMap<&str, Amount> {
    let mut left: BTreeMap<&str, (Amount, Amount)> = BTreeMap::new();
    for coin in coins {
        if let Some(by) = &coin.spent_by {
            let (taken, _) = left.entry(by).or_default();
            *taken = plus(*taken, coin.amount);
        }
    }
    for coin in coins.iter().filter(|coin| coin.origin == Origin::Change) {
        // Change of what was spent so long ago that nobody remembers is an output like any other.
        let maker = coin.outpoint.split_once(':').and_then(|(txid, _)| left.get_mut(txid));
        if let Some((_, change)) = maker {
            *change = plus(*change, coin.amount);
        }
    }
    left.into_iter()
        .map(|(txid, (taken, change))| (txid, taken.checked_sub(change).unwrap_or_default()))
        .collect()
}

/// Where the network's unspent outputs and those of the follower differ.
fn missing(sides: &Sides<'_>) -> Vec<Item> {
    let unspent: Vec<&Coin> = sides.coins.iter().filter(|coin| coin.spent_by.is_none()).collect();
    let mut found = Vec::new();
    for coin in &unspent {
        if sides.network.get(&coin.outpoint) == Some(&coin.amount) {
            continue;
        }
        found.push(match &coin.origin {
            Origin::Booked(transfer) => Item::new("deposit-without-coin", transfer.clone(), coin.amount),
            Origin::Confirming | Origin::Change => {
                Item::new("coin-missing", coin.outpoint.clone(), coin.amount)
            }
        });
    }
    let known: BTreeSet<(&str, Amount)> =
        unspent.iter().map(|coin| (coin.outpoint.as_str(), coin.amount)).collect();
    let strange = sides.network.iter().filter(|(outpoint, amount)| !known.contains(&(outpoint, **amount)));
    found.extend(strange.map(|(outpoint, amount)| Item::new("coin-unknown", outpoint.clone(), *amount)));
    found
}
