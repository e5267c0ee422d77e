//! Deposits: what arrived, and the release of what is held.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use custody::name::Name;
use custody::state::Owner as Who;
use deposits::{DepositRecord, DepositState, IllegalStep, Step};
use ledger::{
    Account, Amount, Code as For, Movement, NewTransfer, Owner, Posting, Record, RecordChange, RecordFilter,
    RecordKind,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::transfers::Nothing;
use super::{OfClient, unreadable};
use crate::input::{Parameters, Path, Write};
use crate::once::Effect;
use crate::page::{List, PageOf, Span};
use crate::problem::{Code, Problem};
use crate::time::rfc3339;
use crate::view::{Desk, actor};

/// A line of a history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryLine {
    /// When.
    at: String,
    /// What happened.
    what: String,
    /// Who did it: `network`, `server`, `person:alice`, `machine:erp`.
    by: String,
}

/// A deposit: an output that pays an own address.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Deposit)]
pub(crate) struct DepositView {
    /// The output, as block explorers write it: `txid:vout`.
    id: String,
    /// `seen`, `vanished`, `confirming`, `held`, `credited`, `taken-back`.
    status: String,
    /// Whose the address is; nobody's where the log allocated it to nobody.
    client: Option<String>,
    /// The wallet.
    wallet: String,
    /// The asset, CAIP-19.
    asset: String,
    /// The address that was paid.
    address: String,
    /// How much, in base units.
    amount: String,
    /// The confirmations that it has, while it is confirming.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmations: Option<u32>,
    /// Those that it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmations_needed: Option<u32>,
    /// Why it is held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_for: Vec<String>,
    /// Who asked for its release; somebody else releases.
    #[serde(skip_serializing_if = "Option::is_none")]
    release_asked_by: Option<String>,
    /// The height of its block.
    height: Option<u32>,
    /// The transfer that brought the amount where it is.
    transfer: Option<String>,
    /// What happened, the oldest first.
    timeline: Vec<HistoryLine>,
}

fn show(record: &DepositRecord, asset: &str) -> DepositView {
    let (confirmations, confirmations_needed) = match record.state {
        DepositState::Confirming { confirmations, needed } => (Some(confirmations), Some(needed)),
        _ => (None, None),
    };
    let (held_for, asked) = match &record.state {
        DepositState::Held { reasons, asked_by } => {
            (reasons.iter().map(ToString::to_string).collect(), asked_by.as_ref())
        }
        _ => (Vec::new(), None),
    };
    let line = |line: &deposits::Line| HistoryLine {
        at: rfc3339(line.at),
        what: line.what.clone(),
        by: line.by.clone(),
    };
    DepositView {
        id: record.key(),
        status: record.state.word().to_owned(),
        client: record.client.as_ref().map(Name::to_string),
        wallet: record.wallet.to_string(),
        asset: asset.to_owned(),
        address: record.address.clone(),
        amount: record.amount.0.to_string(),
        confirmations,
        confirmations_needed,
        held_for,
        release_asked_by: asked.map(|person| format!("person:{person}")),
        height: record.place.map(|place| place.height),
        transfer: record.credit.clone(),
        timeline: record.history.iter().map(line).collect(),
    }
}

fn read(record: &Record) -> Result<DepositRecord, Problem> {
    let body = serde_json::from_value(record.change.body.clone());
    body.map_err(|_| unreadable("deposit", &record.change.id))
}

/// Which deposits.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// `seen`, `vanished`, `confirming`, `held`, `credited` or `taken-back`.
    status: Option<String>,
    /// Of this client.
    #[param(value_type = Option<String>)]
    client: Option<Name>,
    /// To this wallet.
    #[param(value_type = Option<String>)]
    wallet: Option<Name>,
    /// To this address.
    address: Option<String>,
    /// First seen from the beginning of this second on (RFC 3339, UTC).
    from: Option<String>,
    /// First seen up to the end of this second.
    to: Option<String>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists deposits
///
/// In the order in which they were first seen.
#[utoipa::path(get, path = "/v1/deposits", operation_id = "listDeposits", tag = "deposits", params(Filter),
    responses((status = 200, description = "A page of deposits", body = PageOf<DepositView>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<DepositView>>, Problem> {
    let Filter { status, client, wallet, address, from, to, limit, cursor } = query;
    let list = List::new("deposits", &(&status, &client, &wallet, &address, &from, &to), limit)?;
    let asset = desk.view().await?.asset()?;
    let span = Span::of(desk.books(), from.as_deref(), to.as_deref()).await?;
    let after = span.start(list.after(cursor.as_deref())?);
    let filter = RecordFilter { kind: RecordKind::Deposit, client, state: status, external_id: None };
    let found = super::scan(&desk, &filter, after, span.until, list.limit, |record| {
        let is = |field: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| {
                record.change.body.get(field).and_then(serde_json::Value::as_str) == Some(wanted)
            })
        };
        is("wallet", wallet.as_ref().map(Name::as_str)) && is("address", address.as_deref())
    });
    let (records, next) = found.await?;
    let items = records.iter().map(|record| read(record).map(|found| show(&found, asset.as_str())));
    Ok(Json(list.page(items.collect::<Result<_, _>>()?, next)))
}

async fn find(desk: &Desk, id: &str) -> Result<Option<(Record, DepositRecord)>, Problem> {
    let Some(record) = desk.books().record(RecordKind::Deposit, id).await? else { return Ok(None) };
    let found = read(&record)?;
    Ok(Some((record, found)))
}

/// One deposit
#[utoipa::path(get, path = "/v1/deposits/{id}", operation_id = "getDeposit", tag = "deposits",
    params(("id" = String, Path, description = "The output, `txid:vout`"), OfClient),
    responses((status = 200, description = "The deposit", body = DepositView)))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Parameters(of): Parameters<OfClient>,
) -> Result<Json<DepositView>, Problem> {
    let asset = desk.view().await?.asset()?;
    let found = find(&desk, &id).await?.filter(|(_, found)| of.admits(found.client.as_ref()));
    let (_, found) = found.ok_or_else(|| Problem::unknown("deposit", &id))?;
    Ok(Json(show(&found, asset.as_str())))
}

/// Releases a held deposit
///
/// One person asks, a second person releases it to the client; machines do neither.
#[utoipa::path(post, path = "/v1/deposits/{id}/release", operation_id = "releaseDeposit", tag = "deposits",
    params(("id" = String, Path, description = "The output, `txid:vout`")),
    responses(
        (status = 200, description = "Released", body = DepositView),
        (status = 202, description = "Asked for; a second person is needed", body = DepositView),
    ))]
pub(crate) async fn release(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    write: Write,
) -> Result<Response, Problem> {
    let Nothing {} = write.read()?;
    desk.once(&write, None, released(&desk, &write, &id)).await
}

async fn released(desk: &Desk, write: &Write, id: &str) -> Result<Effect, Problem> {
    let Who::Person(person) = &write.caller.owner else {
        return Err(Problem::new(Code::CallerPerson, "only people release deposits"));
    };
    let view = desk.view().await?;
    let asset = view.asset()?;
    let (record, mut deposit) = find(desk, id).await?.ok_or_else(|| Problem::unknown("deposit", id))?;
    // The address may have been allocated after it was paid.
    if deposit.client.is_none() {
        deposit.client = view.state.client_of(&deposit.wallet, deposit.branch, deposit.index).cloned();
    }
    let asked = match &deposit.state {
        DepositState::Held { asked_by, .. } => asked_by.is_some(),
        other => {
            let why = format!("the deposit is {other}, not held");
            return Err(Problem::new(Code::DepositNotHeld, why));
        }
    };
    let Some(client) = deposit.client.clone() else {
        let why = "the address belongs to no client, so nobody can receive it: allocate it first";
        return Err(Problem::new(Code::DepositNotHeld, why));
    };
    view.client_known(&client)?;
    let step = if asked { Step::Release(person.clone()) } else { Step::AskRelease(person.clone()) };
    let now = desk.house.now();
    let taken = deposit.take(&step, now, &actor(&write.caller.owner));
    taken.map_err(|error| {
        let code = match error {
            IllegalStep::SamePerson(_) => Code::DepositSecondPerson,
            _ => Code::DepositNotHeld,
        };
        Problem::new(code, error.to_string())
    })?;
    let mut transfers = Vec::new();
    if asked {
        let release = deposit.release_id().and_then(|id| id.parse().ok());
        let release = release.ok_or_else(|| unreadable("deposit", id))?;
        let account = |owner| Account::new(owner, &deposit.wallet, &asset);
        transfers.push(NewTransfer {
            id: release,
            movement: Movement::Posted {
                debit: account(Owner::Suspense),
                credit: account(Owner::Client(client)),
                amount: Amount::new(u128::from(deposit.amount.0)),
            },
            code: For::Release,
            cause: deposit.key(),
        });
    }
    let change = RecordChange {
        expect: record.version,
        state: deposit.state.word().to_owned(),
        client: deposit.client.clone(),
        at: now,
        body: serde_json::to_value(&deposit).unwrap_or_default(),
        ..record.change
    };
    let status = if asked { StatusCode::OK } else { StatusCode::ACCEPTED };
    Effect::new(Posting { transfers, records: vec![change] }, status, &show(&deposit, asset.as_str()))
}
