//! Withdrawals: drafts, requests, and what became of them.

pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod draft;
pub(crate) mod new;
pub(crate) mod renew;

use axum::Json;
use axum::extract::State;
use custody::effects::Sats;
use custody::name::Name;
use custody::payment::Request;
use ledger::{Record, RecordFilter, RecordKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use withdrawals::Withdrawal;

use super::{OfClient, unreadable};
use crate::input::{Parameters, Path};
use crate::page::{List, PageOf, Span};
use crate::problem::{Code, Problem};
use crate::time::rfc3339;
use crate::view::{Desk, View};
use check::Need;
use draft::Draft;

/// What a withdrawal pays.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Output)]
pub(crate) struct OutputView {
    /// The destination, by handle.
    destination: String,
    /// Its address now.
    address: Option<String>,
    /// How much, in base units.
    amount: String,
}

/// A line of a timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineEvent {
    /// When.
    at: String,
    /// What happened: the word of the new status, or `approved`, `bumped`, `held`, `released`.
    what: String,
    /// Who did it: `person:alice`, `machine:erp`, `server`, `network`.
    by: String,
    /// The height of the log that shows it, if the log does.
    height: Option<u64>,
    /// The transaction concerned.
    txid: Option<String>,
    /// More words.
    note: Option<String>,
}

/// What a person or machine signs: put the id of the key, a nonce and `not_after` to it (docs/api.md).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToSign {
    /// The deployment.
    genesis: String,
    /// The kind of statement.
    kind: &'static str,
    /// Its body, in the words of docs/spec/payment.md.
    #[schema(value_type = Object)]
    body: Value,
}

impl ToSign {
    pub(crate) fn request(view: &View, request: &Request) -> Self {
        let body = serde_json::to_value(request).unwrap_or_default();
        Self { genesis: view.state.genesis_hash().to_string(), kind: "request", body }
    }
}

/// A withdrawal. All amounts are base units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub(crate) struct WithdrawalView {
    /// The id of the signed request (P19), or `draft-` and a number while nobody has signed.
    id: String,
    /// `draft`, `submitted` (a draft that became a withdrawal), `requested`, `awaiting-approval`, `delayed`,
    /// `frozen`, `authorised`, `signed`, `broadcast`, `confirming`, `settled`, `rejected`, `expired`,
    /// `cancelled`, `replaced`, `unfunded`.
    status: String,
    /// Why it is so, where there is more to say.
    reason: Option<String>,
    /// Of a submitted draft, the withdrawal.
    withdrawal: Option<String>,
    /// Whose coins move; nobody's where they are the house's own.
    client: Option<String>,
    /// The wallet.
    wallet: String,
    /// The asset, CAIP-19.
    asset: String,
    /// What it pays.
    outputs: Vec<OutputView>,
    /// All that it pays.
    amount: String,
    /// The highest fee.
    fee_max: String,
    /// What the network took, once settled.
    fee: Option<String>,
    /// What is reserved.
    reserved: String,
    /// The confirmations that it has, while it is confirming.
    confirmations: Option<u32>,
    /// Those that it needs.
    confirmations_needed: Option<u32>,
    /// Until when it may be authorised.
    end: String,
    /// Who asked, as the log names it.
    requester: String,
    /// Your name for it.
    external_id: Option<String>,
    /// The transaction that pays it, as block explorers write it.
    txid: Option<String>,
    /// Its requests by id, the first one first: what renews or cancels it is one more.
    requests: Vec<String>,
    /// What is still needed before it can be paid.
    needed: Vec<Need>,
    /// What to sign next, where a signature is needed.
    to_sign: Option<ToSign>,
    /// What happened, the oldest first.
    timeline: Vec<TimelineEvent>,
}

fn address(view: &View, destination: &Name, unlisted: Option<&String>) -> Option<String> {
    let listed = || view.state.destination(destination).map(|found| found.address.clone());
    unlisted.cloned().or_else(listed)
}

fn sum(outputs: impl Iterator<Item = u128>) -> String {
    outputs.fold(0, u128::saturating_add).to_string()
}

/// A withdrawal as the books have it, with what the log says is needed.
pub(crate) fn show(view: &View, withdrawal: &Withdrawal, external_id: Option<String>) -> WithdrawalView {
    use withdrawals::State;
    let (reason, confirmations) = match &withdrawal.state {
        State::Delayed { why } | State::Rejected { why } | State::Unfunded { why } => {
            (Some(why.clone()), None)
        }
        State::Frozen { by, .. } => (Some(format!("freeze {by}")), None),
        State::Confirming { confirmations, needed } => (None, Some((*confirmations, *needed))),
        _ => (None, None),
    };
    let output = |output: &withdrawals::Output| OutputView {
        destination: output.destination.to_string(),
        address: address(view, &output.destination, output.address.as_ref()),
        amount: output.amount.to_string(),
    };
    let event = |event: &withdrawals::Event| TimelineEvent {
        at: rfc3339(event.at),
        what: event.what.clone(),
        by: event.by.clone(),
        height: event.height,
        txid: event.txid.clone(),
        note: event.note.clone(),
    };
    let client = match &withdrawal.owner {
        ledger::Owner::Client(client) => Some(client.to_string()),
        _ => None,
    };
    WithdrawalView {
        id: withdrawal.id.to_string(),
        status: withdrawal.state.word().to_owned(),
        reason,
        withdrawal: None,
        client,
        wallet: withdrawal.wallet.to_string(),
        asset: withdrawal.asset.to_string(),
        outputs: withdrawal.outputs.iter().map(output).collect(),
        amount: sum(withdrawal.outputs.iter().map(|output| output.amount.units())),
        fee_max: withdrawal.fee_max.to_string(),
        fee: withdrawal.fee.map(|fee| fee.to_string()),
        reserved: withdrawal.reserved().to_string(),
        confirmations: confirmations.map(|(has, _)| has),
        confirmations_needed: confirmations.map(|(_, needed)| needed),
        end: rfc3339(withdrawal.end),
        requester: withdrawal.requester.clone(),
        external_id,
        txid: withdrawal.txid.clone(),
        requests: withdrawal.requests.iter().map(ToString::to_string).collect(),
        needed: check::needs(view, withdrawal),
        to_sign: None,
        timeline: withdrawal.events.iter().map(event).collect(),
    }
}

/// A draft as it is shown.
pub(crate) fn show_draft(
    view: &View,
    id: &str,
    status: &str,
    draft: &Draft,
    external_id: Option<String>,
) -> Result<WithdrawalView, Problem> {
    let Draft { request, by, at, note, withdrawal } = draft;
    let output = |output: &custody::payment::RequestOutput| OutputView {
        destination: output.destination.to_string(),
        address: address(view, &output.destination, output.address.as_ref()),
        amount: output.amount.0.to_string(),
    };
    let event = |what: &str, note: Option<String>| TimelineEvent {
        at: rfc3339(*at),
        what: what.to_owned(),
        by: by.clone(),
        height: None,
        txid: None,
        note,
    };
    let open = status == "draft";
    let needed = if open { check::needs_of_draft(view, request) } else { Vec::new() };
    Ok(WithdrawalView {
        id: id.to_owned(),
        status: status.to_owned(),
        reason: None,
        withdrawal: withdrawal.map(|id| id.to_string()),
        client: request.client.as_ref().map(Name::to_string),
        wallet: request.wallet.to_string(),
        asset: view.asset()?.to_string(),
        outputs: request.outputs.iter().map(output).collect(),
        amount: sum(request.outputs.iter().map(|output| u128::from(output.amount.0))),
        fee_max: request.fee_max.0.to_string(),
        fee: None,
        reserved: Sats::default().0.to_string(),
        confirmations: None,
        confirmations_needed: None,
        end: rfc3339(request.end),
        requester: by.clone(),
        external_id,
        txid: None,
        requests: Vec::new(),
        needed,
        to_sign: open.then(|| ToSign::request(view, request)),
        timeline: vec![event("draft", note.clone())],
    })
}

/// A record of either sort.
fn show_record(view: &View, record: &Record) -> Result<WithdrawalView, Problem> {
    let external_id = record.change.external_id.clone();
    if draft::is_draft(&record.change.id) {
        let draft = Draft::of(record)?;
        return show_draft(view, &record.change.id, &record.change.state, &draft, external_id);
    }
    let withdrawal = Withdrawal::of(record).map_err(|_| unreadable("withdrawal", &record.change.id))?;
    Ok(show(view, &withdrawal, external_id))
}

/// Which withdrawals.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// With this status. Submitted drafts are listed only by theirs.
    status: Option<String>,
    /// Of this client.
    #[param(value_type = Option<String>)]
    client: Option<Name>,
    /// From this wallet.
    #[param(value_type = Option<String>)]
    wallet: Option<Name>,
    /// That the client calls so.
    external_id: Option<String>,
    /// Begun from the beginning of this second on (RFC 3339, UTC).
    from: Option<String>,
    /// Begun up to the end of this second.
    to: Option<String>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists withdrawals
///
/// In the order in which they were begun, drafts among them.
#[utoipa::path(get, path = "/v1/withdrawals", operation_id = "listWithdrawals", tag = "withdrawals",
    params(Filter),
    responses((status = 200, description = "A page of withdrawals", body = PageOf<WithdrawalView>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<WithdrawalView>>, Problem> {
    let Filter { status, client, wallet, external_id, from, to, limit, cursor } = query;
    let list = List::new("withdrawals", &(&status, &client, &wallet, &external_id, &from, &to), limit)?;
    let view = desk.view().await?;
    let span = Span::of(desk.books(), from.as_deref(), to.as_deref()).await?;
    let after = span.start(list.after(cursor.as_deref())?);
    let submitted = status.as_deref() == Some(draft::SUBMITTED);
    let filter = RecordFilter { kind: RecordKind::Withdrawal, client, state: status, external_id };
    let found = super::scan(&desk, &filter, after, span.until, list.limit, |record| {
        let body = &record.change.body;
        let of = body.get("wallet").or_else(|| body.get("request")?.get("wallet")).and_then(Value::as_str);
        let shown = submitted || record.change.state != draft::SUBMITTED;
        shown && wallet.as_ref().is_none_or(|wallet| of == Some(wallet.as_str()))
    });
    let (records, next) = found.await?;
    let items = records.iter().map(|record| show_record(&view, record)).collect::<Result<_, _>>()?;
    Ok(Json(list.page(items, next)))
}

/// A record by its id.
pub(crate) async fn find(desk: &Desk, id: &str) -> Result<Record, Problem> {
    let found = desk.books().record(RecordKind::Withdrawal, id).await?;
    found.ok_or_else(|| Problem::unknown("withdrawal", id))
}

/// One withdrawal
#[utoipa::path(get, path = "/v1/withdrawals/{id}", operation_id = "getWithdrawal", tag = "withdrawals",
    params(("id" = String, Path, description = "The id of the signed request, or of the draft"), OfClient),
    responses((status = 200, description = "The withdrawal", body = WithdrawalView)))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Parameters(of): Parameters<OfClient>,
) -> Result<Json<WithdrawalView>, Problem> {
    let record = find(&desk, &id).await?;
    if !of.admits(record.change.client.as_ref()) {
        return Err(Problem::unknown("withdrawal", &id));
    }
    Ok(Json(show_record(&*desk.view().await?, &record)?))
}

/// The problem of a withdrawal that cannot begin.
pub(crate) fn cannot_begin(error: &withdrawals::WithdrawalError) -> Problem {
    use withdrawals::WithdrawalError;
    let code = match error {
        WithdrawalError::NoClient(_) => Code::ClientRequired,
        WithdrawalError::Amount => Code::AmountOverflow,
        WithdrawalError::Renews(_) => Code::StatementKind,
        WithdrawalError::Record { .. } | WithdrawalError::Unknown(_) => Code::Internal,
    };
    Problem::new(code, error.to_string())
}
