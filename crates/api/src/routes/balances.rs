//! Balances: what each client has, over all wallets.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use custody::name::Name;
use ledger::{Account, AccountFilter, Amount, Asset, Owner, PAGE_LIMIT, Totals};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::accounts::AccountView;
use crate::input::Parameters;
use crate::page::{List, PageOf};
use crate::problem::{Code, Problem};
use crate::view::Desk;

/// What a client has of one asset. All amounts are base units.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssetBalance {
    /// The asset, CAIP-19.
    asset: String,
    /// Over all wallets.
    balance: String,
    /// Over all wallets, less what is reserved.
    available: String,
    /// Over all wallets.
    reserved: String,
    /// Wallet by wallet.
    accounts: Vec<AccountView>,
}

/// What a client has.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Balance)]
pub(crate) struct ClientBalance {
    /// The client.
    client: String,
    /// Asset by asset; nothing where the client never had anything.
    assets: Vec<AssetBalance>,
}

/// Whose.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Of this client alone.
    #[param(value_type = Option<String>)]
    client: Option<Name>,
    /// Most clients, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists what clients have
///
/// Clients in force, in the order of their handles.
#[utoipa::path(get, path = "/v1/balances", operation_id = "listBalances", tag = "accounts", params(Filter),
    responses((status = 200, description = "A page of clients", body = PageOf<ClientBalance>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<ClientBalance>>, Problem> {
    let list = List::new("balances", &query.client, query.limit)?;
    let after: Option<Name> = list.after(query.cursor.as_deref())?;
    let view = desk.view().await?;
    let clients: Vec<Name> = match query.client {
        Some(client) => {
            view.client_known(&client)?;
            vec![client]
        }
        None => {
            let in_force = view.clients().into_keys().filter(|client| view.state.client(client).is_some());
            in_force.filter(|client| after.as_ref().is_none_or(|after| client > after)).collect()
        }
    };
    let next = clients.len() > list.limit;
    let mut items = Vec::new();
    for client in clients.iter().take(list.limit) {
        items.push(of(&desk, client).await?);
    }
    let last = clients.get(list.limit - 1).filter(|_| next);
    Ok(Json(list.page(items, last)))
}

async fn of(desk: &Desk, client: &Name) -> Result<ClientBalance, Problem> {
    let owner = Some(Owner::Client(client.clone()));
    let filter = AccountFilter { overdrawn: false, owner, wallet: None };
    let mut assets: BTreeMap<Asset, Vec<(Account, Totals)>> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = desk.books().accounts(&filter, after, PAGE_LIMIT).await?;
        for (account, totals) in page.items {
            assets.entry(account.asset.clone()).or_default().push((account, totals));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let assets = assets.into_iter().map(|(asset, accounts)| {
        let sum = accounts.iter().try_fold(Totals::default(), |sum, (_, totals)| add(sum, totals));
        let why = || Problem::new(Code::Internal, format!("the sums of {client} do not fit"));
        let sum = sum.ok_or_else(why)?;
        Ok(AssetBalance {
            asset: asset.to_string(),
            balance: sum.balance().to_string(),
            available: sum.available().to_string(),
            reserved: sum.debits_pending.to_string(),
            accounts: accounts.iter().map(|(account, totals)| AccountView::new(account, totals)).collect(),
        })
    });
    Ok(ClientBalance { client: client.to_string(), assets: assets.collect::<Result<_, Problem>>()? })
}

/// Both together, unless that does not fit.
fn add(a: Totals, b: &Totals) -> Option<Totals> {
    let plus = |a: Amount, b: Amount| a.checked_add(b);
    Some(Totals {
        debits_pending: plus(a.debits_pending, b.debits_pending)?,
        debits_posted: plus(a.debits_posted, b.debits_posted)?,
        credits_pending: plus(a.credits_pending, b.credits_pending)?,
        credits_posted: plus(a.credits_posted, b.credits_posted)?,
    })
}
