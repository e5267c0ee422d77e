//! Reconciliations: books against network.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use custody::name::Name;
use ledger::{Amount, RecordFilter, RecordKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::unreadable;
use crate::input::{Parameters, Write};
use crate::page::{List, PageOf};
use crate::problem::{Code, Problem};
use crate::view::Desk;

/// Most items of each list in an answer that compares, over all wallets: at some 200 bytes the three lists take a
/// third of the longest frame of `wire`, by which people's programs ask (2 MiB, in base64).
const ITEMS_LIMIT: usize = 1_000;

/// Something that explains a difference, or may.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Item {
    /// `deposit-confirming`, `withdrawal-confirming`, `spend-unauthorised`, …; `more` for those left out.
    what: String,
    /// The outpoint, withdrawal or transaction; of `more`, how many.
    id: String,
    /// How much, in base units.
    amount: String,
}

/// A wallet compared at one block. All amounts are base units.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Comparison {
    /// The wallet.
    wallet: String,
    /// The asset, CAIP-19.
    asset: String,
    /// The height of the block.
    height: u32,
    /// The block, in the byte order of the wire.
    block: String,
    /// What the wallet holds on the network in that block.
    network: String,
    /// What it should hold by the books.
    books: String,
    /// What came and is not in the books yet.
    incoming: Vec<Item>,
    /// What left and is not in the books yet.
    outgoing: Vec<Item>,
    /// Network less what the books explain: zero, or a break.
    difference: String,
    /// What may explain a break.
    suspects: Vec<Item>,
}

/// A comparison that was kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reconciliation {
    /// Its id.
    id: String,
    /// `ok`, `break`, or `closed` for a break that was explained.
    status: String,
    #[serde(flatten)]
    comparison: Comparison,
}

/// Which reconciliations.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// `ok`, `break` or `closed`.
    status: Option<String>,
    /// Of this wallet.
    #[param(value_type = Option<String>)]
    wallet: Option<Name>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists comparisons of books and network
///
/// The oldest first.
#[utoipa::path(get, path = "/v1/reconciliations", operation_id = "listReconciliations",
    tag = "reconciliations", params(Filter),
    responses((status = 200, description = "A page of reconciliations", body = PageOf<Reconciliation>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<Reconciliation>>, Problem> {
    let Filter { status, wallet, limit, cursor } = query;
    let list = List::new("reconciliations", &(&status, &wallet), limit)?;
    let filter =
        RecordFilter { kind: RecordKind::Reconciliation, client: None, state: status, external_id: None };
    let found = super::scan(&desk, &filter, list.after(cursor.as_deref())?, u64::MAX, list.limit, |record| {
        let of = record.change.id.split(':').next();
        wallet.as_ref().is_none_or(|wallet| of == Some(wallet.as_str()))
    });
    let (records, next) = found.await?;
    let read = |record: ledger::Record| {
        let comparison = serde_json::from_value(record.change.body);
        let comparison = comparison.map_err(|_| unreadable("reconciliation", &record.change.id))?;
        Ok(Reconciliation { id: record.change.id, status: record.change.state, comparison })
    };
    let items = records.into_iter().map(read).collect::<Result<_, Problem>>()?;
    Ok(Json(list.page(items, next)))
}

/// Compares books and network now
///
/// For each wallet. It changes no money; it may be repeated freely, so it takes no idempotency key. Of each list
/// 1,000 items are answered, an equal part of them for each wallet; `more` says how many are left out, and how much
/// they are together. While eight wait for an answer, others are told to ask again.
#[utoipa::path(post, path = "/v1/reconciliations", operation_id = "reconcile", tag = "reconciliations",
    responses((status = 200, description = "One comparison for each wallet", body = [Comparison])))]
pub(crate) async fn create(State(desk): State<Desk>, write: Write) -> Result<Json<Vec<Comparison>>, Problem> {
    let super::transfers::Nothing {} = write.read()?;
    let unavailable = |why: String| Problem::new(Code::ReconcileUnavailable, why);
    let permit = Arc::clone(&desk.comparing).try_acquire_owned();
    let permit = permit.map_err(|_| unavailable("others are asking already: ask again".to_owned()))?;
    let compared = desk.blocking(move |house| {
        // Held until the thread is free again, also when the caller goes away.
        let _permit = permit;
        house.reconcile()
    });
    let compared = compared.await?.map_err(unavailable)?;
    let limit = ITEMS_LIMIT.checked_div(compared.len()).unwrap_or_default();
    let read = |mut one: ledger::Reconciliation| {
        for list in [&mut one.incoming, &mut one.outgoing, &mut one.suspects] {
            cut(list, limit);
        }
        let value = serde_json::to_value(one).and_then(serde_json::from_value);
        value.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    };
    Ok(Json(compared.into_iter().map(read).collect::<Result<_, Problem>>()?))
}

/// Leaves the first items of a list; one more stands for the rest.
fn cut(list: &mut Vec<ledger::Item>, limit: usize) {
    let rest = list.split_off(limit.min(list.len()));
    if !rest.is_empty() {
        let sum = rest.iter().try_fold(Amount::ZERO, |sum, item| sum.checked_add(item.amount));
        list.push(ledger::Item::new("more", format!("{} more", rest.len()), sum.unwrap_or(Amount::MAX)));
    }
}
