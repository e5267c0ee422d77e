//! Entries of the external account that nothing on the network explains.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::state::Authorisation;
use deposits::{Coin, CoinKind};
use ledger::{Account, Code, Item, Line, Owner, PAGE_LIMIT, Reconciliation, RecordKind};

use super::compare::lineages;
use super::{SUSPECTS_LIMIT, View};
use crate::clerk::{At, ClerkError};

/// The prefixes of transfers by which withdrawals are settled and deposits taken back (`docs/ledger.md`).
pub(super) const OUT: &str = "out/";
pub(super) const FEE: &str = "fee/";
pub(super) const BACK: &str = "back/";

/// Those after a position that are not named yet.
pub(super) fn strange(
    at: &At<'_>,
    view: &View<'_>,
    one: &Reconciliation,
    right: u64,
) -> Result<Vec<Item>, ClerkError> {
    let account = Account::new(Owner::External, &one.wallet, at.asset);
    let coins = view.chain.as_ref().map(|(_, coins)| coins.as_slice()).unwrap_or_default();
    let judged = coins.iter().filter(|coin| coin.kind == CoinKind::Judged);
    let known: BTreeSet<String> = judged.map(|coin| coin.id().to_string()).collect();
    let mut strange = BTreeMap::new();
    let mut after = Some(right);
    while let Some(from) = after.filter(|_| strange.len() < SUSPECTS_LIMIT) {
        let page = at.books.wait(at.books.books().lines(&account, Some(from), PAGE_LIMIT))?;
        for Line { transfer, .. } in page.items {
            let id = transfer.id.as_str();
            let what = match transfer.code {
                Code::Deposit if known.contains(id) || long_spent(at, view, id)? => None,
                Code::Deposit => Some("deposit-without-coin"),
                Code::DepositReversed => {
                    let taken_back = id.strip_prefix(BACK).and_then(|deposit| strange.remove(deposit));
                    let there = id.strip_prefix(BACK).is_some_and(|deposit| still_there(coins, deposit));
                    (taken_back.is_none() && there).then_some("reversal-of-coin")
                }
                Code::Withdrawal | Code::NetworkFee if paid(at, view, id)? => None,
                Code::Withdrawal | Code::NetworkFee => Some("withdrawal-without-transaction"),
                _ => Some("correction"),
            };
            if let Some(what) = what {
                strange.insert(id.to_owned(), Item::new(what, id, transfer.amount));
            }
        }
        after = page.next;
    }
    let named = |item: &Item| one.suspects.iter().any(|suspect| suspect.id == item.id);
    Ok(strange.into_values().filter(|item| !named(item)).collect())
}

/// Whether the coin of a deposit was spent so long ago that the follower has forgotten it.
fn long_spent(at: &At<'_>, view: &View<'_>, id: &str) -> Result<bool, ClerkError> {
    let outpoint = id.split_once('@').map_or(id, |(outpoint, _)| outpoint);
    let record = at.books.record(RecordKind::Coin, outpoint)?;
    let coin: Option<Coin> = record.and_then(|record| serde_json::from_value(record.change.body).ok());
    let Some(coin) = coin.filter(|coin| coin.id().to_string() == id) else { return Ok(false) };
    Ok((view.spender)(&coin.outpoint)?.is_some())
}

/// Whether the coin of a deposit that was taken back is in a block as it was then.
fn still_there(coins: &[&Coin], id: &str) -> bool {
    coins.iter().any(|coin| coin.id().to_string() == id)
}

/// Whether a settled withdrawal was paid by a transaction in the best chain.
fn paid(at: &At<'_>, view: &View<'_>, id: &str) -> Result<bool, ClerkError> {
    let lineage = id.strip_prefix(OUT).or_else(|| id.strip_prefix(FEE)).and_then(Hash::from_hex);
    let Some(lineage) = lineage else { return Ok(false) };
    let its = |a: &&Authorisation| lineages(at.state, a).contains(&lineage);
    for authorisation in at.state.authorisations().iter().map(|(_, a)| a).filter(its) {
        for input in &authorisation.transaction.inputs {
            if (view.spender)(&input.outpoint)? == Some(authorisation.txid) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
