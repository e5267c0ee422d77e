//! Gathers both sides of each wallet.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::name::Name;
use custody::payment::GAP_LIMIT;
use custody::state::{Authorisation, State};
use deposits::{Coin, CoinKind, Follower, NodeState, Place, outpoint_text};
use ledger::reconcile::{self, Origin, Sides};
use ledger::{Account, AccountFilter, Amount, Owner, Reconciliation, Totals};

use super::SUSPECTS_LIMIT;
use super::entries::{FEE, OUT};
use crate::clerk::deposits::standing;
use crate::clerk::{At, ClerkError};
use crate::observer::{Scanned, Unspent};
use crate::watch::shown;

/// All wallets, and the position in the books that this is as of; or why not now.
pub(super) type Compared = Result<(Vec<Reconciliation>, u64), String>;

/// Compares.
#[derive(Debug, Default)]
pub(super) struct Comparer {
    /// What the books have for lineages that are settled for good.
    settled: BTreeMap<Hash, Amount>,
}

/// What is the same for all wallets.
struct Common<'a> {
    at: &'a At<'a>,
    scanned: &'a Scanned,
    coins: &'a [&'a Coin],
    authorised: BTreeMap<Hash, &'a Authorisation>,
    overdrawn: Vec<(Account, Totals)>,
}

impl Comparer {
    /// Compares all wallets at one block.
    pub(super) fn all(&mut self, at: &At<'_>, tip: Place, coins: &[&Coin]) -> Result<Compared, ClerkError> {
        let Some(scanned) = at.desk.core().published.scanned.clone() else {
            return Ok(Err("the node's coins were not read yet".into()));
        };
        if (scanned.height, scanned.block) != (tip.height, tip.block) {
            let (network, follower) = (scanned.height, tip.height);
            return Ok(Err(format!("the node's coins are as of block {network}, deposits as of {follower}")));
        }
        let position = at.books.wait(at.books.books().newest())?.map_or(0, |batch| batch.last);
        let Some(version) = cursor_at(at, tip)? else {
            let why = "the books are not at that block: another server follows the chain as well";
            return Ok(Err(why.into()));
        };
        let authorised = at.state.authorisations().iter().map(|(_, a)| (a.txid, a)).collect();
        let common = Common { at, scanned: &scanned, coins, authorised, overdrawn: overdrawn(at)? };
        let mut all = Vec::new();
        for (wallet, unspent) in &scanned.by_wallet {
            match self.one(&common, wallet, unspent)? {
                Some(one) => all.push(one),
                None => return Ok(Err("the books are being written: again in a moment".into())),
            }
        }
        if cursor_at(at, tip)? != Some(version) {
            return Ok(Err("a block came meanwhile: again in a moment".into()));
        }
        Ok(Ok((all, position)))
    }

    /// One wallet; nothing if its external account moved meanwhile.
    fn one(
        &mut self,
        common: &Common<'_>,
        wallet: &Name,
        unspent: &[Unspent],
    ) -> Result<Option<Reconciliation>, ClerkError> {
        let Common { at, scanned, coins, authorised, overdrawn } = common;
        let account = Account::new(Owner::External, wallet, at.asset);
        let external = at.books.account(&account)?;
        let own: Vec<&Coin> = coins.iter().filter(|coin| coin.address.wallet == *wallet).copied().collect();
        let mut booked = BTreeMap::new();
        for txid in own.iter().filter_map(|coin| spent_by(coin)).collect::<BTreeSet<Hash>>() {
            if let Some(authorisation) = authorised.get(&txid) {
                booked.insert(shown(&txid).to_string(), self.booked(at, authorisation)?);
            }
        }
        if at.books.account(&account)? != external {
            return Ok(None);
        }
        // As far as addresses are watched: what lies beyond is nobody's yet.
        let watched =
            |of: &&Unspent| of.index < at.state.next_index(wallet, of.branch).saturating_add(GAP_LIMIT);
        let network = unspent.iter().filter(watched);
        let network: BTreeMap<String, Amount> =
            network.map(|of| (outpoint_text(&of.outpoint), Amount::new(of.amount.0.into()))).collect();
        let coins: Vec<reconcile::Coin> = own.into_iter().map(coin_of).collect();
        let mine: Vec<(Account, Totals)> =
            overdrawn.iter().filter(|(account, _)| account.wallet == *wallet).cloned().collect();
        Ok(Some(reconcile::compare(&Sides {
            wallet,
            asset: at.asset,
            height: scanned.height,
            block: scanned.block,
            network: &network,
            external: &external,
            coins: &coins,
            authorised: &booked,
            overdrawn: &mine,
        })))
    }

    /// What the books have of a transaction: amounts and fees of those of its withdrawals that are settled.
    fn booked(&mut self, at: &At<'_>, authorisation: &Authorisation) -> Result<Amount, ClerkError> {
        let mut sum = Amount::ZERO;
        for lineage in lineages(at.state, authorisation) {
            let known = self.settled.get(&lineage).copied();
            let booked = match known {
                Some(booked) => booked,
                None => {
                    let out = amount_of(at, &format!("{OUT}{lineage}"))?;
                    let fee = amount_of(at, &format!("{FEE}{lineage}"))?;
                    let both = out.unwrap_or_default().checked_add(fee.unwrap_or_default());
                    let both = both.unwrap_or(Amount::MAX);
                    // They are posted together, and stay.
                    if fee.is_some() {
                        self.settled.insert(lineage, both);
                    }
                    both
                }
            };
            sum = sum.checked_add(booked).unwrap_or(Amount::MAX);
        }
        Ok(sum)
    }
}

/// The last block and the own outputs; or why they are not known now.
pub(in crate::clerk) fn followed(follower: Option<&Follower>) -> Result<(Place, Vec<&Coin>), String> {
    let follower = follower.ok_or("deposits are not followed yet")?;
    match follower.state() {
        NodeState::Following => Ok((follower.tip(), follower.coins().collect())),
        other => Err(other.to_string()),
    }
}

/// The transaction in a block that spent a coin.
fn spent_by(coin: &Coin) -> Option<Hash> {
    coin.spent.filter(|spend| spend.place.is_some()).map(|spend| spend.txid)
}

fn coin_of(coin: &Coin) -> reconcile::Coin {
    reconcile::Coin {
        outpoint: outpoint_text(&coin.outpoint),
        amount: Amount::new(coin.amount.0.into()),
        origin: match coin.kind {
            CoinKind::Open => Origin::Confirming,
            CoinKind::Judged => Origin::Booked(coin.id().to_string()),
            CoinKind::Change => Origin::Change,
        },
        spent_by: spent_by(coin).map(|txid| shown(&txid).to_string()),
    }
}

/// The withdrawals that a transaction pays.
pub(super) fn lineages(state: &State, authorisation: &Authorisation) -> BTreeSet<Hash> {
    let requests = authorisation.requests.iter().filter_map(|id| state.requests().get(id));
    requests.map(|record| record.lineage).collect()
}

fn amount_of(at: &At<'_>, id: &str) -> Result<Option<Amount>, ClerkError> {
    let Ok(id) = id.parse() else { return Ok(None) };
    let found = at.books.wait(at.books.books().transfer(&id))?;
    Ok(found.map(|(_, transfer)| transfer.amount))
}

/// The version of the cursor in the books, if it stands at this block.
fn cursor_at(at: &At<'_>, tip: Place) -> Result<Option<u64>, ClerkError> {
    Ok(standing(at)?.filter(|(_, place)| *place == tip).map(|(version, _)| version))
}

/// Accounts below zero that may not be.
fn overdrawn(at: &At<'_>) -> Result<Vec<(Account, Totals)>, ClerkError> {
    let filter = AccountFilter { overdrawn: true, ..AccountFilter::default() };
    Ok(at.books.wait(at.books.books().accounts(&filter, None, SUSPECTS_LIMIT))?.items)
}
