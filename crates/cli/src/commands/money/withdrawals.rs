//! `keyward withdraw`, `keyward withdrawals`, `keyward withdrawal`.

use std::collections::BTreeSet;

use approver::{Ask, Payee, time};
use custody::Hash;
use custody::effects::Sats;
use custody::name::{Label, Name};
use custody::payment::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Write, decode, escape, get, list, post};
use super::follow::{self, Event};
use super::table::{Column, Page, Table, amount};
use crate::args::{Global, Withdraw, Withdrawal as Command, Withdrawals};
use crate::commands::enrol::label;
use crate::commands::request::body;
use crate::commands::{confirm, emit, pay};
use crate::failure::{Class, Failure, Result};
use crate::session::{Session, now, pick};

/// A withdrawal as the interface shows it.
#[derive(Deserialize)]
struct Withdrawal {
    id: String,
    status: String,
    reason: Option<String>,
    withdrawal: Option<String>,
    client: Option<String>,
    wallet: String,
    outputs: Vec<Output>,
    amount: String,
    fee_max: String,
    fee: Option<String>,
    reserved: String,
    confirmations: Option<u32>,
    confirmations_needed: Option<u32>,
    end: String,
    requester: String,
    external_id: Option<String>,
    txid: Option<String>,
    requests: Vec<String>,
    needed: Vec<Need>,
    to_sign: Option<ToSign>,
    timeline: Vec<Event>,
}

#[derive(Deserialize)]
struct Output {
    destination: String,
    address: Option<String>,
    amount: String,
}

/// What is missing.
#[derive(Deserialize)]
struct Need {
    what: String,
    detail: String,
    so_far: Vec<String>,
}

/// What a draft asks to be signed.
#[derive(Deserialize)]
struct ToSign {
    body: Request,
}

/// What a withdrawal would do.
#[derive(Deserialize)]
struct DryRun {
    payer: Payer,
    amount: String,
    reserve: String,
    available_after: String,
    needed: Vec<Need>,
}

#[derive(Deserialize)]
struct Payer {
    owner: String,
    wallet: String,
    available: String,
}

const WITHDRAWALS: &[Column] = &[
    Column::Text("client"),
    Column::Text("wallet"),
    Column::Amount("amount"),
    Column::Text("to"),
    Column::Text("status"),
    Column::Text("external id"),
    Column::Id("withdrawal"),
];

impl Need {
    fn words(&self) -> String {
        let so_far = if self.so_far.is_empty() {
            String::new()
        } else {
            format!(" (so far {})", self.so_far.join(", "))
        };
        format!("{}: {}{so_far}", self.what, self.detail)
    }
}

impl Withdrawal {
    fn to(&self) -> String {
        let to: Vec<&str> = self.outputs.iter().map(|output| output.destination.as_str()).collect();
        if to.is_empty() { "cancel".to_owned() } else { to.join(", ") }
    }

    /// The state, with what it waits for.
    fn standing(&self) -> String {
        match (self.confirmations, self.confirmations_needed, &self.reason) {
            (Some(has), Some(needs), _) => format!("{} {has} of {needs}", self.status),
            (_, _, Some(reason)) => format!("{}: {reason}", self.status),
            _ => self.status.clone(),
        }
    }

    fn page(&self) -> String {
        let mut page = Page::default();
        page.row("withdrawal", &self.id);
        page.row("state", &self.standing());
        if let Some(withdrawal) = &self.withdrawal {
            page.row("became", withdrawal);
        }
        for need in &self.needed {
            page.row("still needed", &need.words());
        }
        page.row("client", self.client.as_deref().unwrap_or("the house's own"));
        page.row("wallet", &self.wallet);
        page.row("asked by", &self.requester);
        for output in &self.outputs {
            page.row("pays", &format!("{} to {}", amount(&output.amount), output.destination));
            if let Some(address) = &output.address {
                page.row("", address);
            }
        }
        if self.outputs.is_empty() {
            page.row("pays", "nobody: it is a cancel");
        }
        match &self.fee {
            Some(fee) => page.row("fee", &amount(fee)),
            None => page.row("fee", &format!("at most {}", amount(&self.fee_max))),
        }
        page.row("reserved", &amount(&self.reserved));
        page.row("end", &self.end);
        if let Some(id) = &self.external_id {
            page.row("external id", id);
        }
        if let Some(txid) = &self.txid {
            page.row("transaction", txid);
        }
        for request in self.requests.iter().filter(|request| **request != self.id) {
            page.row("renewed by", request);
        }
        for event in &self.timeline {
            page.row(event.time(), &event.words());
        }
        page.end()
    }
}

impl DryRun {
    fn page(&self) -> String {
        let mut page = Page::default();
        page.row("dry run", "nothing was signed, reserved or sent to the log");
        page.row("payer", &format!("{} in {}", self.payer.owner, self.payer.wallet));
        page.row("available", &amount(&self.payer.available));
        page.row("pays", &amount(&self.amount));
        page.row("reserves", &amount(&self.reserve));
        page.row("available after", &amount(&self.available_after));
        for need in &self.needed {
            page.row("needs then", &need.words());
        }
        page.end()
    }
}

fn show(global: &Global, value: &Value) -> Result<()> {
    let found: Withdrawal = decode(value.clone())?;
    emit(global, &found.page(), value)
}

pub(crate) fn withdraw(global: &Global, command: Withdraw) -> Result<()> {
    let mut session = Session::online(global)?;
    let Withdraw { client, wallet, to, terms, external_id, note, again, dry_run } = command;
    let output = |(payee, amount): &(Payee, Sats)| {
        let amount = amount.0.to_string();
        match payee {
            Payee::Destination(destination) => json!({ "destination": destination, "amount": amount }),
            Payee::Address(address) => json!({ "address": address, "amount": amount }),
        }
    };
    let outputs: Vec<Value> = to.iter().map(output).collect();
    let end = now().saturating_add(terms.end);
    let ask = Ask {
        wallet: wallet.clone(),
        outputs: to,
        fee_max: terms.fee_max,
        fee_max_ppm: terms.fee_max_ppm,
        end,
        renews: None,
        despite: Vec::new(),
        note: None,
        client: client.clone(),
    };
    let mut asked = json!({
        "wallet": wallet,
        "client": client,
        "outputs": outputs,
        "fee_max": terms.fee_max.0.to_string(),
        "fee_max_ppm": terms.fee_max_ppm,
        "external_id": external_id,
    });
    if dry_run {
        pay::show(&mut session, ask, &[])?;
        // What is signed could be sent on by whoever has it: a question carries no signature.
        let fields = [("dry_run", json!(true)), ("end", json!(time(end)))];
        if let Some(body) = asked.as_object_mut() {
            body.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        }
        let tried = post(&mut session, "/v1/withdrawals", asked.to_string().as_bytes())?;
        return emit(global, &decode::<DryRun>(tried.clone())?.page(), &tried);
    }
    // By the length, not by the end, which is another one every second.
    let said = json!({ "asked": asked, "end": terms.end, "note": note });
    let make = |session: &mut Session<'_>| {
        let note = note.as_deref().map(label);
        let ask = Ask { note: note.as_ref().map(Label::commitment), ..ask };
        let mut body = body(session, ask, terms.yes, note)?;
        if let (Some(fields), Some(id)) = (body.as_object_mut(), external_id) {
            fields.insert("external_id".to_owned(), json!(id));
        }
        Ok(body)
    };
    let begun = Write::new(&again).send_signed(&mut session, ("POST", "/v1/withdrawals"), &said, make)?;
    show(global, &begun)
}

pub(crate) fn withdrawals(global: &Global, command: Withdrawals) -> Result<()> {
    let mut session = Session::open(global)?;
    let query = [
        ("client", command.client.as_ref().map(Name::to_string)),
        ("status", command.status),
        ("external_id", command.external_id),
    ];
    let found = list(&mut session, "/v1/withdrawals", &query)?;
    let mut table = Table::new(WITHDRAWALS, "no withdrawals");
    for withdrawal in &found {
        let one: Withdrawal = decode(withdrawal.clone())?;
        let (to, status) = (one.to(), one.standing());
        let (client, named) = (one.client.unwrap_or_default(), one.external_id.unwrap_or_default());
        table.push(vec![client, one.wallet, one.amount, to, status, named, one.id]);
    }
    table.emit(global, &found)
}

pub(crate) fn withdrawal(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Show { id } => {
            let mut session = Session::open(global)?;
            let id = whole(&mut session, &id)?;
            let found = get(&mut session, &path_of(&id))?;
            show(global, &found)
        }
        Command::Follow { id, until } => {
            let mut session = Session::open(global)?;
            let id = whole(&mut session, &id)?;
            follow::run(global, &mut session, &id, &until)
        }
        Command::Cancel { id, fee_max, end, again, yes } => {
            let mut session = Session::online(global)?;
            let id = whole(&mut session, &id)?;
            let path = format!("{}/cancel", path_of(&id));
            let write = Write::new(&again);
            if id.starts_with(DRAFT) {
                confirm("Drop this draft?", yes)?;
                return show(global, &write.send(&mut session, "POST", &path, &json!({}))?);
            }
            let said = json!({ "cancels": id, "fee_max": fee_max.map(|fee| fee.0), "end": end });
            let make = |session: &mut Session<'_>| {
                let old = newest(session, &id)?;
                let ask = pay::cancelling(session, old, end)?;
                let fee_max = fee_max.unwrap_or(ask.fee_max);
                body(session, Ask { fee_max, ..ask }, yes, None)
            };
            let sent = write.send_signed(&mut session, ("POST", &path), &said, make)?;
            show(global, &sent)
        }
        Command::Sign { draft, again, yes } => sign(global, &draft, &Write::new(&again), yes),
    }
}

/// The newest request of a withdrawal that stands under the final head.
fn newest(session: &mut Session<'_>, id: &str) -> Result<Hash> {
    let found: Withdrawal = decode(get(session, &path_of(id))?)?;
    let requests = session.replica.state().requests();
    let known = found.requests.iter().rev().filter_map(|id| Hash::from_hex(id));
    let newest = known.into_iter().find(|id| requests.get(id).is_some());
    let next = "wait some seconds and try again";
    newest.ok_or_else(|| Failure::new(Class::Unreachable, "its request is not final in the log yet", next))
}

/// Signs what somebody drafted, as it is shown here: what the server says of it decides nothing else.
fn sign(global: &Global, draft: &str, write: &Write, yes: bool) -> Result<()> {
    let mut session = Session::online(global)?;
    let path = path_of(draft);
    let make = |session: &mut Session<'_>| {
        let found: Withdrawal = decode(get(session, &path)?)?;
        let next = "keyward withdrawals --status draft lists those that wait for a signature";
        let nothing =
            || Failure::usage(format!("{} asks for no signature: it is {}", found.id, found.status), next);
        let request = found.to_sign.as_ref().ok_or_else(nothing)?.body.clone();
        let note = found.timeline.first().and_then(Event::note).map(label);
        let ask = Ask {
            wallet: request.wallet,
            outputs: request.outputs.iter().map(|o| (Payee::of(o), o.amount)).collect(),
            fee_max: request.fee_max,
            fee_max_ppm: request.fee_max_ppm,
            end: request.end,
            renews: None,
            despite: Vec::new(),
            note: note.as_ref().map(Label::commitment),
            client: request.client,
        };
        body(session, ask, yes, note)
    };
    let at = format!("{path}/request");
    let signed = write.send_signed(&mut session, ("PUT", &at), &json!({ "draft": draft }), make)?;
    show(global, &signed)
}

/// How the id of a draft begins.
const DRAFT: &str = "draft-";

pub(crate) fn path_of(id: &str) -> String {
    format!("/v1/withdrawals/{}", escape(id))
}

/// The whole id. Its beginning suffices for a withdrawal that is in the log.
fn whole(session: &mut Session<'_>, id: &str) -> Result<String> {
    if Hash::from_hex(id).is_some() || id.starts_with(DRAFT) {
        return Ok(id.to_owned());
    }
    session.sync()?;
    let state = session.replica.state();
    let lineages: BTreeSet<Hash> = state.requests().iter().map(|(_, record)| record.lineage).collect();
    Ok(pick(lineages.into_iter(), id, "withdrawal")?.to_string())
}
