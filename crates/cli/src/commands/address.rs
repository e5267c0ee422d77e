//! `keyward address`, `keyward descriptor`.

use custody::document::Model;
use custody::effects::{Branch, Decoder as _};
use custody::name::Name;
use custody::payment::Allocate;
use evidence::{LogKeys, verify_log};
use ledger::HOUSE_INDEX;
use serde::Serialize;

use super::emit;
use super::log::unverified;
use crate::args::{Address as Command, Global};
use crate::failure::{Class, Failure, Result};
use crate::home::read;
use crate::session::{Session, fresh};

#[derive(Serialize)]
struct Given {
    wallet: Name,
    client: Name,
    branch: Branch,
    index: u32,
    address: String,
}

#[derive(Serialize)]
struct Descriptors {
    wallet: Name,
    receive: String,
    change: String,
}

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::New { wallet, client, branch, count } => {
            new(global, Allocate { wallet, client, branch, count })
        }
        Command::House { wallet } => house(global, wallet),
        Command::Verify { address, wallet, client, index, branch, export, keys } => {
            let (derived, owner) = match (export, keys) {
                (Some(export), Some(keys)) => {
                    let keys = LogKeys::parse(&String::from_utf8_lossy(&read(&keys)?)).map_err(unverified)?;
                    let log = verify_log(&export, &keys, None).map_err(unverified)?;
                    approver::address(&log.state, &log.decoder, &wallet, branch, index)
                }
                _ => {
                    let replica = Session::open(global)?.replica;
                    approver::address(replica.state(), replica.decoder(), &wallet, branch, index)
                }
            }
            .map_err(|e| {
                Failure::new(
                    Class::Unverified,
                    e,
                    "compare wallet, branch and index; a newer log may know it",
                )
            })?;
            let wrong = |what: String| {
                Failure::new(Class::Unverified, what, "do not pay there, and tell the operator")
            };
            if derived != address {
                return Err(wrong(format!(
                    "the address of {wallet}, index {index}, is {derived}, not {address}"
                )));
            }
            if owner != client {
                return Err(wrong(format!("the address belongs to {owner}, not to {client}")));
            }
            let text = format!("verified    {address} is {client}'s: {wallet}, index {index}\n");
            emit(global, &text, &Given { wallet, client, branch, index, address })
        }
    }
}

fn new(global: &Global, ask: Allocate) -> Result<()> {
    let mut session = Session::online(global)?;
    session.unlock()?;
    let draft = session.replica.allocate(session.key()?, ask.clone(), fresh())?;
    let signed = draft.sign_if_accepted(&session.replica, session.key()?)?;
    session.send(&signed, &[])?;
    let lost =
        || Failure::new(Class::Unverified, "the allocation is not in the log", "look at keyward status");
    let replica = &session.replica;
    let run = replica.allocated(&signed.id).ok_or_else(lost)?;
    let mut given = Vec::new();
    let mut text = String::new();
    for index in run.first..run.first.saturating_add(run.count) {
        let (address, client) =
            approver::address(replica.state(), replica.decoder(), &run.wallet, run.branch, index)?;
        text.push_str(&format!("{address}  {client}, index {index}\n"));
        given.push(Given { wallet: run.wallet.clone(), client, branch: run.branch, index, address });
    }
    emit(global, &text, &given)
}

#[derive(Serialize)]
struct House {
    wallet: Name,
    branch: Branch,
    index: u32,
    address: String,
}

/// The house address of a wallet, derived from the log that was replayed here.
fn house(global: &Global, wallet: Name) -> Result<()> {
    let session = Session::online(global)?;
    let state = session.replica.state();
    let next = "keyward status lists the wallets";
    let none = || Failure::usage(format!("there is no wallet {wallet}"), next);
    let found = state.wallet(&wallet).ok_or_else(none)?;
    if found.model == Model::Three {
        let why = format!("each address of wallet {wallet} belongs to one client: it has none of the house");
        return Err(Failure::usage(why, "gather a client's coins at an address of that client"));
    }
    let (branch, index) = (Branch::Change, HOUSE_INDEX);
    let decoder = session.replica.decoder();
    let script = decoder.own_script(&state.slot_of(found).ok_or_else(none)?.slot.account, branch, index);
    let address = script.and_then(|script| decoder.address(&script));
    let address =
        address.map_err(|e| Failure::new(Class::Unverified, e, "the account of the wallet is not usable"))?;
    let text = format!("{address}  the house's, {wallet}, change index {index}\n");
    emit(global, &text, &House { wallet, branch, index, address })
}

pub(crate) fn descriptor(global: &Global, wallet: &Name) -> Result<()> {
    let session = Session::online(global)?;
    let state = session.replica.state();
    let slot = state.wallet(wallet).and_then(|w| state.slot_of(w));
    let next = "keyward status lists the wallets";
    let slot = slot.ok_or_else(|| Failure::usage(format!("there is no wallet {wallet}"), next))?;
    let of = |branch| {
        let descriptor = session.replica.decoder().descriptor(&slot.slot.account, None, branch);
        descriptor.map_err(|e| Failure::new(Class::Unverified, e, "the account of the wallet is not usable"))
    };
    let (receive, change) = (of(Branch::Receive)?, of(Branch::Change)?);
    emit(global, &format!("{receive}\n{change}\n"), &Descriptors { wallet: wallet.clone(), receive, change })
}
