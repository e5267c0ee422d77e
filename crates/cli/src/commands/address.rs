//! `keyward address`, `keyward descriptor`.

use custody::effects::Branch;
use custody::name::Name;
use custody::payment::Allocate;
use evidence::{LogKeys, verify_log};
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
