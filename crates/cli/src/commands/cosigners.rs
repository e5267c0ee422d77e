//! `keyward cosigners`: another set of co-signers (P30), and the one that is there.

use std::path::PathBuf;

use custody::Hash;
use custody::cosigner_set::CosignerSet;
use custody::document::{CosignerCard, Document};
use custody::name::Name;
use custody::state::State;
use serde::Serialize;

use super::{emit, propose_in};
use crate::args::{Cosigners as Command, Global};
use crate::failure::{Class, Failure, Result};
use crate::home::read_json;
use crate::session::Session;

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    let mut session = Session::online(global)?;
    match command {
        Command::Propose { join, leave, order } => {
            let document = draft(session.replica.state(), &join, &leave, order)?;
            propose_in(&mut session, Document::CosignerSet(document), &[])
        }
        Command::Status => {
            let status = Status::of(session.replica.state());
            emit(global, &status.text(), &status)
        }
    }
}

/// The set that is to be: those who stay in the order of now, then those who join, unless an order is given.
fn draft(state: &State, join: &[PathBuf], leave: &[Name], order: Vec<Name>) -> Result<CosignerSet> {
    let joining = join.iter().map(|file| read_json(file)).collect::<Result<Vec<CosignerCard>>>()?;
    let now: Vec<&Name> = state.cosigners().into_iter().map(|card| &card.name).collect();
    if let Some(unknown) = leave.iter().find(|name| !now.contains(name)) {
        let next = "keyward cosigners status lists them";
        return Err(Failure::new(Class::Usage, format!("{unknown} is no co-signer"), next));
    }
    let members = if order.is_empty() {
        let stay = now.into_iter().filter(|name| !leave.contains(name));
        stay.chain(joining.iter().map(|card| &card.name)).cloned().collect()
    } else {
        order
    };
    Ok(CosignerSet { members, joining })
}

/// The set that votes.
#[derive(Serialize)]
struct Status {
    /// The height of the batch that brought it; 0 for that of genesis.
    since: u64,
    /// How many votes decide.
    quorum: usize,
    /// How many may be lost or hostile.
    faulty: usize,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    name: Name,
    /// Whether it is to hold shares of ceremonies to come.
    signer: bool,
    /// Whether it holds shares in use.
    holds: bool,
    identity: Hash,
}

impl Status {
    fn of(state: &State) -> Self {
        let holders: Vec<&Name> = state.holder_sets(state.clock().time).into_iter().flatten().collect();
        let member = |card: &CosignerCard| Member {
            name: card.name.clone(),
            signer: card.holds_shares,
            holds: holders.contains(&&card.name),
            identity: card.identity,
        };
        let numbers = state.numbers();
        Self {
            since: state.set_since(),
            quorum: numbers.quorum,
            faulty: numbers.faulty,
            members: state.cosigners().into_iter().map(member).collect(),
        }
    }

    fn text(&self) -> String {
        let since = match self.since {
            0 => "genesis".to_owned(),
            height => format!("batch {height}"),
        };
        let all = self.members.len();
        let mut text = format!(
            "since       {since}\nvotes       {} of {all} decide, {} may be lost or hostile\n",
            self.quorum, self.faulty
        );
        for Member { name, signer, holds, identity } in &self.members {
            let role = if *signer { "signer" } else { "witness" };
            let holds = if *holds { ", holds shares" } else { "" };
            text.push_str(&format!("co-signer   {name} ({role}{holds}), identity {identity}\n"));
        }
        text
    }
}
