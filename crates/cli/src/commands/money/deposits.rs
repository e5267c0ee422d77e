//! `keyward client list`, `keyward deposits`, `keyward deposit`.

use custody::name::Name;
use custody::state::Owner;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Write, decode, escape, get, list};
use super::table::{Column, Page, Table, amount};
use crate::args::{Deposit as Command, Deposits, Global};
use crate::commands::{confirm, emit};
use crate::failure::{Class, Failure, Result};
use crate::session::Session;

#[derive(Deserialize)]
struct Client {
    id: String,
    status: String,
    name: Option<String>,
    since: Option<String>,
    external_id: Option<String>,
}

const CLIENTS: &[Column] = &[
    Column::Text("client"),
    Column::Text("status"),
    Column::Text("name"),
    Column::Text("since"),
    Column::Text("external id"),
];

pub(crate) fn clients(global: &Global) -> Result<()> {
    let mut session = Session::open(global)?;
    let found = list(&mut session, "/v1/clients", &[])?;
    let mut table = Table::new(CLIENTS, "no clients");
    for client in &found {
        let Client { id, status, name, since, external_id } = decode(client.clone())?;
        let optional = [name, since, external_id].map(Option::unwrap_or_default);
        table.push([vec![id, status], optional.to_vec()].concat());
    }
    table.emit(global, &found)
}

#[derive(Deserialize)]
struct Deposit {
    id: String,
    status: String,
    client: Option<String>,
    wallet: String,
    address: String,
    amount: String,
    confirmations: Option<u32>,
    confirmations_needed: Option<u32>,
    #[serde(default)]
    held_for: Vec<String>,
    release_asked_by: Option<String>,
    height: Option<u32>,
    #[serde(default)]
    timeline: Vec<Happened>,
}

#[derive(Deserialize)]
struct Happened {
    at: String,
    what: String,
    by: String,
}

const DEPOSITS: &[Column] = &[
    Column::Text("client"),
    Column::Text("wallet"),
    Column::Amount("amount"),
    Column::Text("status"),
    Column::Text("height"),
    Column::Id("deposit"),
];

impl Deposit {
    /// The state, with what it waits for.
    fn standing(&self) -> String {
        match (self.confirmations, self.confirmations_needed) {
            (Some(has), Some(needs)) => format!("{} {has} of {needs}", self.status),
            _ if self.held_for.is_empty() => self.status.clone(),
            _ => format!("{}: {}", self.status, self.held_for.join(", ")),
        }
    }

    fn page(&self) -> String {
        let mut page = Page::default();
        page.row("deposit", &self.id);
        page.row("client", self.client.as_deref().unwrap_or("nobody"));
        page.row("wallet", &self.wallet);
        page.row("address", &self.address);
        page.row("amount", &amount(&self.amount));
        page.row("state", &self.standing());
        if let Some(by) = &self.release_asked_by {
            page.row("release", &format!("asked for by {by}; somebody else releases"));
        }
        if let Some(height) = self.height {
            page.row("block", &height.to_string());
        }
        for line in &self.timeline {
            page.row(&line.at, &format!("{} by {}", line.what, line.by));
        }
        page.end()
    }
}

pub(crate) fn deposits(global: &Global, command: Deposits) -> Result<()> {
    let mut session = Session::open(global)?;
    let query = [("client", command.client.map(|c| c.to_string())), ("status", command.status)];
    let found = list(&mut session, "/v1/deposits", &query)?;
    let mut table = Table::new(DEPOSITS, "no deposits");
    for deposit in &found {
        let deposit: Deposit = decode(deposit.clone())?;
        let (status, height) = (deposit.standing(), deposit.height.map(|h| h.to_string()));
        let (client, height) = (deposit.client.unwrap_or_default(), height.unwrap_or_default());
        table.push(vec![client, deposit.wallet, deposit.amount, status, height, deposit.id]);
    }
    table.emit(global, &found)
}

pub(crate) fn deposit(global: &Global, command: Command) -> Result<()> {
    let mut session = Session::open(global)?;
    match command {
        Command::Show { id } => {
            let found = get(&mut session, &at(&id))?;
            show(global, &found)
        }
        Command::Release { id, again, yes } => {
            person(&mut session)?;
            let found: Deposit = decode(get(&mut session, &at(&id))?)?;
            eprint!("{}", found.page());
            confirm("Release this to its client?", yes)?;
            let path = format!("{}/release", at(&id));
            let released = Write::new(&again).send(&mut session, "POST", &path, &json!({}))?;
            show(global, &released)
        }
    }
}

fn show(global: &Global, value: &Value) -> Result<()> {
    let deposit: Deposit = decode(value.clone())?;
    emit(global, &deposit.page(), value)
}

fn at(id: &str) -> String {
    format!("/v1/deposits/{}", escape(id))
}

/// What people alone may do is not even asked for with a machine's key.
fn person(session: &mut Session<'_>) -> Result<()> {
    session.unlock()?;
    let key = custody::statement::key_id(&session.key()?.public().sign);
    let owner = session.replica.state().key(&key).map(|key| key.owner.clone());
    let machine: Option<Name> = match owner {
        Some(Owner::Machine(name)) => Some(name),
        // A replica that is behind may not know a person yet; the server judges.
        Some(Owner::Person(_) | Owner::Cosigner(_)) | None => None,
    };
    let next = "let a person do it, with the person's own key (--device)";
    machine.map_or(Ok(()), |machine| {
        Err(Failure::new(
            Class::Refused,
            format!("{machine} is a machine: only people release deposits"),
            next,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deposit_says_what_it_waits_for() {
        let deposit = |more: Value| {
            let mut value = json!({
                "id": "ab:0", "status": "confirming", "client": "cat", "wallet": "main", "address": "bcrt1",
                "amount": "1250000", "height": 7, "transfer": null,
            });
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            decode::<Deposit>(value).unwrap()
        };
        let confirming = deposit(json!({ "confirmations": 2, "confirmations_needed": 6 }));
        assert_eq!(confirming.standing(), "confirming 2 of 6");
        let held = deposit(json!({
            "status": "held", "held_for": ["dust", "address retired"], "release_asked_by": "person:alice",
            "timeline": [{ "at": "2026-01-01T00:00:00Z", "what": "held", "by": "server\u{1b}" }],
        }));
        assert_eq!(held.standing(), "held: dust, address retired");
        let page = held.page();
        assert!(page.contains("asked for by person:alice; somebody else releases"), "{page}");
        assert!(page.contains("2026-01-01T00:00:00Z  held by server\\u{1b}\n"), "{page}");
        assert!(page.contains("1,250,000 sat (0.01250000 BTC)"), "{page}");
        assert!(deposit(json!({ "client": null })).page().contains("client                nobody"));
    }
}
