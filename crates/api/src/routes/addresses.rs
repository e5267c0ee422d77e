//! Addresses: which are whose, by the log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use custody::document::{Grant, Wallet};
use custody::effects::{Branch, Decoder as _};
use custody::name::Name;
use custody::payment::{ALLOCATE_LIMIT, Allocate};
use ledger::{Posting, RecordChange, RecordKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::transfers::Nothing;
use crate::input::{Parameters, Path, Write};
use crate::once::Effect;
use crate::own::{self, Place};
use crate::page::{List, PageOf};
use crate::problem::{Code, Problem};
use crate::time::rfc3339;
use crate::view::{Desk, View, actor};

/// An address that the log allocated.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Address {
    /// The address.
    #[schema(example = "bcrt1p…")]
    address: String,
    /// Whose it is.
    client: String,
    /// The wallet.
    wallet: String,
    /// `receive`: to be paid to; `change`: for the wallet's own change.
    branch: &'static str,
    /// The index on its branch.
    index: u32,
    /// BIP-86.
    #[schema(example = "m/86h/1h/0h/0/7")]
    derivation_path: String,
    /// Whether it should no longer be used: what it is paid from then on is held.
    retired: bool,
    /// When the log allocated it.
    allocated_at: String,
}

fn branch_word(branch: Branch) -> &'static str {
    match branch {
        Branch::Receive => "receive",
        Branch::Change => "change",
    }
}

fn branch(text: Option<&str>) -> Result<Option<Branch>, Problem> {
    match text {
        None => Ok(None),
        Some("receive") => Ok(Some(Branch::Receive)),
        Some("change") => Ok(Some(Branch::Change)),
        Some(other) => {
            Err(Problem::new(Code::QueryInvalid, format!("branch is {other:?}: receive or change")))
        }
    }
}

/// Which addresses.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Of this client.
    #[param(value_type = Option<String>)]
    client: Option<Name>,
    /// Of this wallet.
    #[param(value_type = Option<String>)]
    wallet: Option<Name>,
    /// `receive` or `change`.
    branch: Option<String>,
    /// At this index or above.
    min_index: Option<u32>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists addresses
///
/// By wallet, branch and index.
#[utoipa::path(get, path = "/v1/addresses", operation_id = "listAddresses", tag = "addresses", params(Filter),
    responses((status = 200, description = "A page of addresses", body = PageOf<Address>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<Address>>, Problem> {
    let Filter { client, wallet, branch: on, min_index, limit, cursor } = &query;
    let list = List::new("addresses", &(client, wallet, on, min_index), *limit)?;
    let on = branch(on.as_deref())?;
    let least = min_index.unwrap_or(0);
    let after: Option<(Name, Branch, u32)> = list.after(cursor.as_deref())?;
    let view = desk.view().await?;
    let mut places = Vec::new();
    for ((of, branch, first), run) in view.state.allocations().iter() {
        let selected = wallet.as_ref().is_none_or(|wallet| wallet == of)
            && on.is_none_or(|on| on == *branch)
            && client.as_ref().is_none_or(|client| *client == run.client);
        if !selected {
            continue;
        }
        let chain = (of, *branch);
        let from = match after.as_ref().map(|(wallet, branch, index)| ((wallet, *branch), *index)) {
            Some((passed, _)) if chain < passed => continue,
            Some((same, index)) if chain == same => index.saturating_add(1),
            _ => 0,
        };
        let run = from.max(least).max(*first)..first.saturating_add(run.count);
        // One more than the page has, to know whether there is another page.
        let room = (list.limit + 1).saturating_sub(places.len());
        places.extend(run.take(room).map(|index| (of.clone(), *branch, index)));
    }
    let more = places.len() > list.limit;
    places.truncate(list.limit);
    let next = places.last().cloned().filter(|_| more);
    let mut items = Vec::new();
    for (wallet, branch, index) in places {
        items.push(show(&desk, &view, &Place { wallet, branch, index }).await?);
    }
    Ok(Json(list.page(items, next)))
}

/// An allocated address as it is shown.
async fn show(desk: &Desk, view: &View, place: &Place) -> Result<Address, Problem> {
    let Place { wallet, branch, index } = place;
    let found = view.wallet(wallet)?;
    let address = view.address(found, *branch, *index)?;
    let run = view.state.allocations().up_to((wallet.clone(), *branch, *index));
    let why = || Problem::new(Code::Internal, format!("address {address} has no allocation"));
    let (_, run) = run.ok_or_else(why)?;
    let retired = desk.books().record(RecordKind::Address, &address).await?;
    Ok(Address {
        client: run.client.to_string(),
        wallet: wallet.to_string(),
        branch: branch_word(*branch),
        index: *index,
        derivation_path: path(view, found, *branch, *index),
        retired: retired.is_some_and(|record| record.change.state == "retired"),
        allocated_at: rfc3339(run.at),
        address,
    })
}

/// The path of BIP-86: accounts of a ceremony are numbered in its order; the coin is that of the asset's name.
fn path(view: &View, wallet: &Wallet, branch: Branch, index: u32) -> String {
    let asset = view.state.genesis().asset();
    let coin = asset.rsplit(':').next().unwrap_or_default();
    format!("m/86h/{coin}h/{}h/{}/{index}", wallet.slot, branch.number())
}

/// The place of an own address by its text.
async fn place_of(desk: &Desk, view: &Arc<View>, text: &str) -> Result<Place, Problem> {
    let unknown = || Problem::unknown("address", text);
    let script = view.decoder.address_script(text).map_err(|_| unknown())?;
    let (index, view) = (Arc::clone(&desk.own), Arc::clone(view));
    desk.blocking(move |_| own::find(&index, &view, &script)).await??.ok_or_else(unknown)
}

/// One address
#[utoipa::path(get, path = "/v1/addresses/{address}", operation_id = "getAddress", tag = "addresses",
    params(("address" = String, Path, description = "The address")),
    responses((status = 200, description = "The address", body = Address)))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    Path(address): Path<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Address>, Problem> {
    let view = desk.view().await?;
    let place = place_of(&desk, &view, &address).await?;
    show(&desk, &view, &place).await.map(Json)
}

/// Addresses for a client.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAddresses {
    /// The wallet.
    #[schema(value_type = String)]
    wallet: Name,
    /// Whose they will be.
    #[schema(value_type = String)]
    client: Name,
    /// `receive` if absent; `change` for the change of a client in a wallet of model 3.
    branch: Option<String>,
    /// How many, 1 to 1,000; 1 if absent.
    count: Option<u32>,
}

/// Addresses on their way.
#[derive(Serialize, ToSchema)]
pub(crate) struct Allocating {
    /// The statement of the server that asks the log for them.
    statement: String,
    /// The wallet.
    wallet: String,
    /// Whose they will be.
    client: String,
    /// The branch.
    branch: &'static str,
    /// How many.
    count: u32,
    /// They will have this index or higher ones.
    min_index: u32,
    /// What is still needed.
    needed: &'static str,
}

/// Asks for addresses
///
/// The log allocates them (P25): poll `GET /v1/addresses` with `client`, `wallet`, `branch` and `min_index`. The
/// caller is a person, or a machine with the grant `allocate`.
#[utoipa::path(post, path = "/v1/addresses", operation_id = "createAddresses", tag = "addresses",
    request_body = NewAddresses,
    responses((status = 202, description = "Asked for", body = Allocating)))]
pub(crate) async fn create(State(desk): State<Desk>, write: Write) -> Result<Response, Problem> {
    let new: NewAddresses = write.read()?;
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Allocate)?;
    view.wallet(&new.wallet)?;
    view.client_known(&new.client)?;
    let (on, count) = (branch(new.branch.as_deref())?.unwrap_or(Branch::Receive), new.count.unwrap_or(1));
    if !(1..=ALLOCATE_LIMIT).contains(&count) {
        let why = format!("count is {count}: ask for 1 to {ALLOCATE_LIMIT}");
        return Err(Problem::new(Code::BodyInvalid, why));
    }
    desk.once_outside(&write, allocate(desk.clone(), view, new, on, count)).await
}

async fn allocate(
    desk: Desk,
    view: Arc<View>,
    new: NewAddresses,
    branch: Branch,
    count: u32,
) -> Result<Effect, Problem> {
    let min_index = view.state.next_index(&new.wallet, branch);
    let ask = Allocate { wallet: new.wallet.clone(), client: new.client.clone(), branch, count };
    let statement = desk.blocking(move |house| house.allocate(ask)).await?;
    let statement = statement.map_err(|why| Problem::new(Code::LogBusy, why))?;
    let answer = Allocating {
        statement: statement.to_string(),
        wallet: new.wallet.to_string(),
        client: new.client.to_string(),
        branch: branch_word(branch),
        count,
        min_index,
        needed: "the log allocates them, in seconds",
    };
    Effect::new(Posting::default(), StatusCode::ACCEPTED, &answer)
}

/// Retires an address
///
/// What it is paid from now on is held. It is not given to anybody else. The caller is a person, or a machine
/// with the grant `allocate`.
#[utoipa::path(post, path = "/v1/addresses/{address}/retire", operation_id = "retireAddress", tag = "addresses",
    params(("address" = String, Path, description = "The address")),
    responses((status = 200, description = "Retired", body = Address)))]
pub(crate) async fn retire(
    State(desk): State<Desk>,
    Path(address): Path<String>,
    write: Write,
) -> Result<Response, Problem> {
    let Nothing {} = write.read()?;
    desk.once(&write, None, retired(&desk, &write, &address)).await
}

async fn retired(desk: &Desk, write: &Write, address: &str) -> Result<Effect, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Allocate)?;
    let place = place_of(desk, &view, address).await?;
    let mut shown = show(desk, &view, &place).await?;
    if shown.retired {
        return Err(Problem::new(Code::AddressRetired, format!("{} is retired", shown.address)));
    }
    shown.retired = true;
    let body = serde_json::json!({
        "wallet": place.wallet,
        "branch": place.branch,
        "index": place.index,
        "by": actor(&write.caller.owner),
    });
    let record = RecordChange {
        kind: RecordKind::Address,
        id: shown.address.clone(),
        expect: 0,
        state: "retired".to_owned(),
        client: Name::new(&shown.client),
        external_id: None,
        at: desk.house.now(),
        body,
    };
    Effect::new(Posting { transfers: Vec::new(), records: vec![record] }, StatusCode::OK, &shown)
}
