//! Transfers: everything that moved, and moves inside a pool.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use custody::document::Grant;
use custody::name::Name;
use ledger::{
    Account, Amount, Code as For, Movement, NewTransfer, Owner, Place, Posting, Transfer, TransferId,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::input::{Parameters, Path, Write, external_id};
use crate::once::{Effect, HOUSE};
use crate::page::{List, PageOf, Span};
use crate::problem::{Code, Problem};
use crate::time::rfc3339;
use crate::view::{Desk, View, actor};

/// A transfer as it stands in the books. It never changes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Transfer)]
pub(crate) struct TransferView {
    /// Its id. Percent-encode it in paths.
    #[schema(example = "hold/74138f3de7142da95f88cb93f34d53e544087b291347b1a9bc99def4e48e704a")]
    id: String,
    /// Its place in the books.
    position: u64,
    /// When it was entered.
    time: String,
    /// The owner that gives.
    debit: String,
    /// The owner that receives.
    credit: String,
    /// The wallet.
    wallet: String,
    /// The asset, CAIP-19.
    asset: String,
    /// Moved, reserved or released, in base units.
    amount: String,
    /// `posted`, `pending`, `post`, `void`, `expire`.
    kind: String,
    /// The reservation that it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
    /// What ended it, for a reservation, where one transfer is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
    /// What it is for: `deposit`, `withdrawal`, `network-fee`, `internal`, …
    code: String,
    /// What it is for, precisely.
    cause: String,
}

impl TransferView {
    fn new(place: &Place, transfer: &Transfer) -> Self {
        let Transfer { id, debit, credit, amount, kind, code, cause } = transfer;
        Self {
            id: id.to_string(),
            position: place.position,
            time: rfc3339(place.time),
            debit: debit.owner.to_string(),
            credit: credit.owner.to_string(),
            wallet: debit.wallet.to_string(),
            asset: debit.asset.to_string(),
            amount: amount.to_string(),
            kind: kind.as_str().to_owned(),
            ends: kind.ends().map(ToString::to_string),
            ended_by: None,
            code: code.as_str().to_owned(),
            cause: cause.clone(),
        }
    }
}

/// Which transfers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// With `client`: the one that this client's payer named so.
    external_id: Option<String>,
    /// With `external_id`: the client that gave.
    #[param(value_type = Option<String>)]
    client: Option<Name>,
    /// From the beginning of this second on (RFC 3339, UTC).
    from: Option<String>,
    /// Up to the end of this second.
    to: Option<String>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists transfers
///
/// The oldest first. What moved in one account is its statement.
#[utoipa::path(get, path = "/v1/transfers", operation_id = "listTransfers", tag = "transfers", params(Filter),
    responses((status = 200, description = "A page of transfers", body = PageOf<TransferView>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<TransferView>>, Problem> {
    let Filter { external_id: named, client, from, to, limit, cursor } = &query;
    let list = List::new("transfers", &(named, client, from, to), *limit)?;
    if named.is_some() || client.is_some() {
        let (Some(named), Some(client)) = (external_id(named.as_deref())?, client) else {
            let why = "external_id goes with the client that gave; for all of one client read its statement";
            return Err(Problem::new(Code::QueryInvalid, why));
        };
        let found = find(&desk, &id_of(Some(client), &named)?).await?;
        return Ok(Json(list.page(found.into_iter().collect(), None::<u64>)));
    }
    let span = Span::of(desk.books(), from.as_deref(), to.as_deref()).await?;
    let after = span.start(list.after(cursor.as_deref())?);
    let page = desk.books().transfers(after, list.limit).await?;
    let within: Vec<_> = page.items.iter().filter(|(place, _)| place.position <= span.until).collect();
    let next = page.next.filter(|_| within.len() == page.items.len());
    let items = within.into_iter().map(|(place, transfer)| TransferView::new(place, transfer)).collect();
    Ok(Json(list.page(items, next)))
}

async fn find(desk: &Desk, id: &TransferId) -> Result<Option<TransferView>, Problem> {
    let Some((place, transfer)) = desk.books().transfer(id).await? else { return Ok(None) };
    let ended = desk.books().ended_by(id).await?;
    let mut found = TransferView::new(&place, &transfer);
    found.ended_by = ended.map(|(_, by)| by.id.to_string());
    Ok(Some(found))
}

/// One transfer
#[utoipa::path(get, path = "/v1/transfers/{id}", operation_id = "getTransfer", tag = "transfers",
    params(("id" = String, Path, description = "The id, percent-encoded: it may hold slashes")),
    responses((status = 200, description = "The transfer", body = TransferView)))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<TransferView>, Problem> {
    let unknown = || Problem::unknown("transfer", &id);
    let named = id.parse().map_err(|_| unknown())?;
    find(&desk, &named).await?.map(Json).ok_or_else(unknown)
}

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A move inside a pool: nothing happens on the network.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewInternal {
    /// The wallet; of a model that pools the coins of its clients.
    #[schema(value_type = String)]
    wallet: Name,
    /// Who gives: `client:` and a handle, or `own`.
    #[schema(example = "client:acme")]
    from: String,
    /// Who receives.
    #[schema(example = "client:beta")]
    to: String,
    /// How much, in base units.
    #[schema(example = "1500")]
    amount: String,
    /// The asset, CAIP-19; the deployment's if absent.
    asset: Option<String>,
    /// Your name for it, once per giver.
    external_id: Option<String>,
}

/// The id of an internal transfer that has an external id. So the books themselves keep it unique.
fn id_of(client: Option<&Name>, external_id: &str) -> Result<TransferId, Problem> {
    let owner = client.map_or(HOUSE, Name::as_str);
    let id = format!("internal/{owner}/{external_id}").parse();
    id.map_err(|_| Problem::new(Code::Internal, "an external id that is no part of an id"))
}

/// Moves between clients in a pool
///
/// In the books only. The caller is a person, or a machine with the grant `request`.
#[utoipa::path(post, path = "/v1/transfers", operation_id = "createTransfer", tag = "transfers",
    request_body = NewInternal,
    responses((status = 201, description = "Moved", body = TransferReceipt)))]
pub(crate) async fn create(State(desk): State<Desk>, write: Write) -> Result<Response, Problem> {
    desk.once(&write, None, internal(&desk, &write)).await
}

/// What an internal transfer became.
#[derive(Serialize, ToSchema)]
pub(crate) struct TransferReceipt {
    /// Its id; look it up in GET /v1/transfers/{id}.
    id: String,
}

async fn internal(desk: &Desk, write: &Write) -> Result<Effect, Problem> {
    let new: NewInternal = write.read()?;
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    view.wallet(&new.wallet)?;
    let asset = view.asset_named(new.asset.as_deref())?;
    let amount = amount(&new.amount)?;
    let (from, to) = (party(&view, "from", &new.from)?, party(&view, "to", &new.to)?);
    let giver = match &from {
        Owner::Client(client) => Some(client.clone()),
        _ => None,
    };
    let named = external_id(new.external_id.as_deref())?;
    let id = match &named {
        Some(named) => {
            let id = id_of(giver.as_ref(), named)?;
            if desk.books().transfer(&id).await?.is_some() {
                let why = format!("{} has another transfer by this external id", new.from);
                return Err(Problem::new(Code::ExternalIdTaken, why));
            }
            id
        }
        None => {
            let id = format!("internal/{}", write.id()?).parse();
            id.map_err(|_| Problem::new(Code::Internal, "an id of a transfer that is none"))?
        }
    };
    let account = |owner| Account::new(owner, &new.wallet, &asset);
    let transfer = NewTransfer {
        id: id.clone(),
        movement: Movement::Posted { debit: account(from), credit: account(to), amount },
        code: For::Internal,
        cause: format!("asked by {}", actor(&write.caller.owner)),
    };
    let posting = Posting { transfers: vec![transfer], records: Vec::new() };
    Effect::new(posting, StatusCode::CREATED, &TransferReceipt { id: id.to_string() })
}

/// An amount above zero, in base units.
pub(crate) fn amount(text: &str) -> Result<Amount, Problem> {
    let amount: Amount = text.parse()?;
    if amount == Amount::ZERO {
        return Err(Problem::new(Code::AmountZero, "the amount is zero"));
    }
    if amount.units() > u128::from(custody::effects::Sats::MAX.0) {
        let why =
            format!("the amount is over {} base units, all that there can be", custody::effects::Sats::MAX.0);
        return Err(Problem::new(Code::AmountOverflow, why));
    }
    Ok(amount)
}

fn party(view: &View, field: &str, text: &str) -> Result<Owner, Problem> {
    let owner: Owner = text.parse().map_err(|error: ledger::account::AccountError| {
        Problem::new(Code::BodyInvalid, format!("{field}: {error}"))
    })?;
    match &owner {
        Owner::Client(client) => view.client_known(client)?,
        Owner::Own => {}
        _ => {
            let why = format!("{field} is {text}: clients and own take part in internal transfers");
            return Err(Problem::new(Code::BodyInvalid, why));
        }
    }
    Ok(owner)
}
