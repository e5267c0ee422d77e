//! Accounts: who has what, now and then.

use axum::Json;
use axum::extract::State;
use custody::name::Name;
use ledger::{Account, AccountFilter, Owner, Totals};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::input::Parameters;
use crate::page::{List, PageOf, moment};
use crate::problem::{Code, Problem};
use crate::view::Desk;

/// An account: what one owner has of one asset in one wallet. All amounts are base units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct AccountView {
    /// Whose: `client:` and a handle, `own`, `fees`, `suspense`, `in-transit`, `external`.
    #[schema(example = "client:acme")]
    owner: String,
    /// The wallet.
    wallet: String,
    /// The asset, CAIP-19.
    #[schema(example = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328/slip44:1")]
    asset: String,
    /// Credits less debits; below zero with a minus sign.
    #[schema(example = "1500")]
    balance: String,
    /// The balance less what is reserved.
    available: String,
    /// Reserved to leave.
    reserved: String,
    /// Reserved to come.
    incoming: String,
}

impl AccountView {
    pub(crate) fn new(account: &Account, totals: &Totals) -> Self {
        Self {
            owner: account.owner.to_string(),
            wallet: account.wallet.to_string(),
            asset: account.asset.to_string(),
            balance: totals.balance().to_string(),
            available: totals.available().to_string(),
            reserved: totals.debits_pending.to_string(),
            incoming: totals.credits_pending.to_string(),
        }
    }
}

/// Which accounts.
#[derive(Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Of this client; the same as `owner=client:…`.
    #[param(value_type = Option<String>)]
    client: Option<Name>,
    /// Of this owner.
    #[param(value_type = Option<String>, example = "client:acme")]
    owner: Option<Owner>,
    /// In this wallet.
    #[param(value_type = Option<String>)]
    wallet: Option<Name>,
    /// Only accounts that are below zero though they may not be: deposits were taken back. Alone, without
    /// owner and wallet.
    overdrawn: Option<bool>,
    /// At the end of this second (RFC 3339, UTC); now if absent.
    #[param(example = "2026-01-31T23:59:59Z")]
    as_of: Option<String>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists accounts with their balances
///
/// In the order of their first transfers.
#[utoipa::path(get, path = "/v1/accounts", operation_id = "listAccounts", tag = "accounts", params(Filter),
    responses((status = 200, description = "A page of accounts", body = PageOf<AccountView>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<AccountView>>, Problem> {
    let Filter { client, owner, wallet, overdrawn, as_of, limit, cursor } = &query;
    let owner = match (client, owner) {
        (Some(client), None) => Some(Owner::Client(client.clone())),
        (Some(_), Some(_)) => return Err(invalid("name client or owner, not both")),
        (None, owner) => owner.clone(),
    };
    let overdrawn = overdrawn.unwrap_or(false);
    if overdrawn && (owner.is_some() || wallet.is_some()) {
        return Err(invalid("overdrawn goes with no owner, client or wallet"));
    }
    let list = List::new("accounts", &(&owner, wallet, overdrawn, as_of), *limit)?;
    let filter = AccountFilter { overdrawn, owner, wallet: wallet.clone() };
    let page = desk.books().accounts(&filter, list.after(cursor.as_deref())?, list.limit).await?;
    let moment = moment(as_of.as_deref())?;
    let mut items = Vec::with_capacity(page.items.len());
    for (account, totals) in page.items {
        let totals = match moment {
            Some(moment) => desk.books().as_of(&account, moment).await?,
            None => totals,
        };
        items.push(AccountView::new(&account, &totals));
    }
    Ok(Json(list.page(items, page.next)))
}

fn invalid(why: &str) -> Problem {
    Problem::new(Code::QueryInvalid, why)
}
