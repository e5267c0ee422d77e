//! `keyward reshare`: shares of a ceremony's accounts dealt anew by their holders (P30), and how far that is.

use std::collections::BTreeMap;

use custody::Hash;
use custody::document::{Document, Kind};
use custody::name::Name;
use custody::resharing::{Resharing, ResharingRecord};
use custody::state::State;
use serde::Serialize;

use super::{emit, propose_in};
use crate::args::{Global, Reshare as Command};
use crate::failure::{Class, Failure, Result};
use crate::session::Session;

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    let mut session = Session::online(global)?;
    match command {
        Command::Propose { ceremony, wallet, holders, dealers } => {
            let state = session.replica.state();
            let ceremony = match (ceremony, wallet) {
                (Some(ceremony), _) => ceremony,
                (None, Some(wallet)) => {
                    state.wallet(&wallet).map(|wallet| wallet.ceremony).ok_or_else(|| {
                        Failure::new(
                            Class::Usage,
                            format!("there is no wallet {wallet}"),
                            "keyward status lists them",
                        )
                    })?
                }
                (None, None) => only_ceremony(state)?,
            };
            let document = draft(state, ceremony, holders, dealers)?;
            eprintln!("resharing   {}", document.id(&state.genesis_hash()));
            propose_in(&mut session, Document::Resharing(document), &[])
        }
        Command::Status => {
            let state = session.replica.state();
            let dealings: Vec<Dealing> =
                ceremonies(state).into_iter().map(|c| Dealing::of(state, c)).collect();
            let text: String = dealings.iter().map(Dealing::text).collect();
            emit(global, if text.is_empty() { "no ceremony is in force\n" } else { &text }, &dealings)
        }
    }
}

/// Every ceremony in force.
fn ceremonies(state: &State) -> Vec<Hash> {
    let of = |document: &Document| match document {
        Document::Ceremony(record) => Some(record.id(&state.genesis_hash())),
        _ => None,
    };
    state.documents().filter_map(|found| of(&found.document)).collect()
}

fn only_ceremony(state: &State) -> Result<Hash> {
    match ceremonies(state).as_slice() {
        [ceremony] => Ok(*ceremony),
        all => {
            let what = format!("{} ceremonies are in force", all.len());
            Err(Failure::new(Class::Usage, what, "say which one: --wallet NAME or --ceremony HASH"))
        }
    }
}

/// The document for what is in force: the same holders unless others are named, and as dealers the first of those
/// that hold shares before and after.
fn draft(state: &State, ceremony: Hash, holders: Vec<Name>, dealers: Vec<Name>) -> Result<Resharing> {
    let (_, used) = state.dealt(&ceremony, 0).ok_or_else(|| {
        Failure::new(
            Class::Usage,
            format!("there is no ceremony {ceremony}"),
            "keyward reshare status lists them",
        )
    })?;
    let named = if holders.is_empty() { used.holders.clone() } else { holders };
    let order = state.cosigners().into_iter().map(|card| &card.name);
    let holders: Vec<Name> = order.filter(|name| named.contains(name)).cloned().collect();
    if let Some(unknown) = named.iter().find(|name| !holders.contains(name)) {
        let next = "name co-signers that vote: keyward cosigners status lists them";
        return Err(Failure::new(Class::Usage, format!("{unknown} is no co-signer"), next));
    }
    let mut dealers = if dealers.is_empty() {
        let stay = used.holders.iter().filter(|holder| holders.contains(holder));
        let leave = used.holders.iter().filter(|holder| !holders.contains(holder));
        stay.chain(leave).take(state.numbers().threshold).cloned().collect()
    } else {
        dealers
    };
    dealers.sort();
    Ok(Resharing { nonce: crate::secret::nonce(), ceremony, dealers, holders })
}

/// The shares of one ceremony's accounts.
#[derive(Serialize)]
struct Dealing {
    ceremony: Hash,
    accounts: Vec<Account>,
    resharing: Option<Progress>,
}

#[derive(Serialize)]
struct Account {
    slot: u32,
    dealing: Hash,
    holders: Vec<Name>,
    wallet: Option<Name>,
}

/// How far the last resharing is.
#[derive(Serialize)]
struct Progress {
    dealing: Hash,
    dealers: Vec<Name>,
    holders: Vec<Name>,
    /// Who has offered a key.
    offered: Vec<Name>,
    /// The accounts that are still signed for with other shares.
    left: Vec<u32>,
    /// Who has dealt how many of those.
    dealt: BTreeMap<Name, usize>,
    /// Who said that it erased the shares before.
    erased: Vec<Name>,
    /// Who has yet to say so, and what keeps it from that.
    not_erased: BTreeMap<Name, String>,
}

impl Dealing {
    fn of(state: &State, ceremony: Hash) -> Self {
        let accounts = (0..).map_while(|slot| {
            let (dealing, used) = state.dealt(&ceremony, slot)?;
            let wallet = state.slots().get(&(ceremony, slot)).and_then(|first| first.wallet.clone());
            Some(Account { slot, dealing, holders: used.holders.clone(), wallet })
        });
        let resharing = state.resharing_of(&ceremony);
        Self {
            ceremony,
            accounts: accounts.collect(),
            resharing: resharing.map(|(dealing, record)| Progress::of(state, dealing, record)),
        }
    }

    fn text(&self) -> String {
        let mut out = format!("ceremony    {}\n", self.ceremony);
        for account in &self.accounts {
            let wallet = account.wallet.as_ref().map_or_else(|| "no wallet".to_owned(), ToString::to_string);
            let by = if account.dealing == self.ceremony {
                "the ceremony".to_owned()
            } else {
                short(&account.dealing)
            };
            out.push_str(&format!(
                "account {:<4}{wallet}, shares of {by}: {}\n",
                account.slot,
                list(&account.holders)
            ));
        }
        if let Some(progress) = &self.resharing {
            out.push_str(&progress.text());
        }
        out
    }
}

impl Progress {
    fn of(state: &State, dealing: Hash, record: &ResharingRecord) -> Self {
        let left = state.to_reshare(&dealing);
        let mut dealt = BTreeMap::new();
        for slot in &left {
            for dealer in state.deals().get(&(dealing, *slot)).into_iter().flat_map(BTreeMap::keys) {
                *dealt.entry(dealer.clone()).or_default() += 1;
            }
        }
        let held_before =
            |card: &&&Name| state.held_before(&dealing, card) && !record.erased.contains(**card);
        let names: Vec<&Name> = state.cosigners().into_iter().map(|card| &card.name).collect();
        let not_erased = names.iter().filter(held_before).map(|who| {
            let why = state.check_erased(&dealing, who).err();
            ((*who).clone(), why.map_or_else(|| "it has not said so yet".to_owned(), |refusal| refusal.why))
        });
        Self {
            dealing,
            dealers: record.resharing.dealers.clone(),
            holders: record.resharing.holders.clone(),
            offered: record.offers.keys().cloned().collect(),
            dealt,
            erased: record.erased.iter().cloned().collect(),
            not_erased: not_erased.collect(),
            left,
        }
    }

    fn text(&self) -> String {
        let mut out = format!("resharing   {}, to {}\n", self.dealing, list(&self.holders));
        if !self.left.is_empty() {
            out.push_str(&format!("offered     {}\n", list(&self.offered)));
            let dealt = self.dealers.iter().map(|dealer| {
                format!(
                    "{dealer} {} of {}",
                    self.dealt.get(dealer).copied().unwrap_or_default(),
                    self.left.len()
                )
            });
            out.push_str(&format!("dealt       {}\n", dealt.collect::<Vec<_>>().join(", ")));
            let left = self.left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            out.push_str(&format!("left        accounts {left}\n"));
        }
        out.push_str(&format!("erased      {}\n", list(&self.erased)));
        for (who, why) in &self.not_erased {
            out.push_str(&format!("! not erased {who}: {why}\n"));
        }
        out
    }
}

fn list(names: &[Name]) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

fn short(hash: &Hash) -> String {
    hash.to_string().chars().take(8).collect()
}

/// What `keyward status` warns of: shares that should be gone.
pub(crate) fn not_erased(state: &State) -> Vec<String> {
    let open = |found: &custody::state::InForce| match &found.document {
        Document::Resharing(resharing) => state.resharing_of(&resharing.ceremony),
        _ => None,
    };
    let resharings = state.documents().filter(|found| found.document.kind() == Kind::Resharing);
    let progress = resharings.filter_map(open).map(|(dealing, record)| Progress::of(state, dealing, record));
    progress
        .flat_map(|progress| {
            let dealing = short(&progress.dealing);
            let line = move |(who, why): (Name, String)| {
                format!("{who} keeps shares from before resharing {dealing}: {why}")
            };
            progress.not_erased.into_iter().map(line)
        })
        .collect()
}
