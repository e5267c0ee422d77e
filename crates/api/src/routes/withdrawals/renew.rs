//! Renewals: another fee, a later end, or other outputs for the same withdrawal (P23).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use custody::document::Grant;
use custody::name::Label;
use custody::payment::Request;
use custody::statement::VALIDITY_LIMIT_S;
use ledger::{Posting, Record};
use serde::Deserialize;
use utoipa::ToSchema;
use withdrawals::Withdrawal;

use super::cancel::newest;
use super::draft::{self, END_DEFAULT_S};
use super::{ToSign, WithdrawalView, check, find, show};
use crate::input::{Path, Write};
use crate::once::Effect;
use crate::problem::{Code, Problem};
use crate::routes::unreadable;
use crate::sign::{LabelText, Said, Signed, SignedEnvelope};
use crate::view::{Desk, View};

/// A renewal. Without `signed_request` the answer says what to sign, and nothing is written; with it whatever
/// else is there must be what was signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Renewal {
    /// The highest fee, in base units; as before if absent.
    #[schema(example = "5000")]
    fee_max: Option<String>,
    /// The highest fee in millionths of the amount; as before if absent.
    fee_max_ppm: Option<u64>,
    /// Until when it may be authorised (RFC 3339, UTC); a day from now if absent.
    end: Option<String>,
    /// What the hash of the note in the signed request stands for.
    note_label: Option<LabelText>,
    /// A signed request that renews the newest one of the withdrawal.
    signed_request: Option<SignedEnvelope>,
}

/// Renews a withdrawal
///
/// The renewal goes to the log, where people approve it like a request of its own; at most one of all requests of
/// a withdrawal is paid. The books reserve what it may take beyond what is reserved, when the log has it. Without
/// `signed_request` the answer says what to sign; that needs no idempotency key.
#[utoipa::path(post, path = "/v1/withdrawals/{id}/renew", operation_id = "renewWithdrawal", tag = "withdrawals",
    params(("id" = String, Path, description = "The withdrawal")),
    request_body = Renewal,
    responses(
        (status = 200, description = "to_sign says what to sign", body = WithdrawalView),
        (status = 202, description = "The renewal is on its way to the log", body = WithdrawalView),
    ))]
pub(crate) async fn create(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    write: Write,
) -> Result<Response, Problem> {
    let body: Renewal = write.read()?;
    match &body.signed_request {
        Some(envelope) => {
            let signed = envelope.read()?;
            let note = signed.request()?.note;
            let label = body.note_label.as_ref().map(|label| label.label(note, "note_label")).transpose()?;
            let labels: Vec<Label> = label.into_iter().collect();
            let carried = signed.carried(labels);
            desk.once(&write, Some(carried), renew(&desk, &write, &id, &body, &signed)).await
        }
        None => what_to_sign(&desk, &write, &id, &body).await,
    }
}

/// A withdrawal that a renewal can still bring on: nothing of it moved for good.
fn renewable(record: &Record) -> Result<Withdrawal, Problem> {
    let id = &record.change.id;
    if draft::is_draft(id) {
        let why = format!("{id} is a draft: sign it with what it should say");
        return Err(Problem::new(Code::WithdrawalNotDraft, why));
    }
    let withdrawal = Withdrawal::of(record).map_err(|_| unreadable("withdrawal", id))?;
    if withdrawal.is_final() {
        let why = format!("withdrawal {id} is {}", withdrawal.state.word());
        return Err(Problem::new(Code::WithdrawalEnded, why));
    }
    Ok(withdrawal)
}

async fn what_to_sign(desk: &Desk, write: &Write, id: &str, body: &Renewal) -> Result<Response, Problem> {
    if body.note_label.is_some() {
        return Err(Problem::new(Code::BodyInvalid, "note_label goes with signed_request"));
    }
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    let record = find(desk, id).await?;
    let withdrawal = renewable(&record)?;
    let (renews, request) = newest(&view, &withdrawal)?;
    let now = view.state.clock().time;
    let end = draft::end(body.end.as_deref())?.unwrap_or(now.saturating_add(END_DEFAULT_S));
    if !(now..=now.saturating_add(VALIDITY_LIMIT_S)).contains(&end) {
        let why = "end is over already, or more than 90 days ahead";
        return Err(Problem::new(Code::TimeInvalid, why));
    }
    // After a cancel it is about what was paid before.
    let requests = withdrawal.requests.iter().rev().filter_map(|id| view.state.requests().get(id));
    let paying = requests.map(|found| &found.request).find(|request| !request.is_cancel()).unwrap_or(request);
    let renewal = Request {
        outputs: paying.outputs.clone(),
        fee_max: draft::fee(body.fee_max.as_deref())?.unwrap_or(request.fee_max),
        fee_max_ppm: body.fee_max_ppm.unwrap_or(request.fee_max_ppm),
        end,
        renews: Some(renews),
        despite: Vec::new(),
        note: None,
        ..request.clone()
    };
    let mut answer: WithdrawalView = show(&view, &withdrawal, record.change.external_id.clone());
    answer.to_sign = Some(ToSign::request(&view, &renewal));
    Ok(Effect::new(Posting::default(), StatusCode::OK, &answer)?.respond())
}

async fn renew(
    desk: &Desk,
    write: &Write,
    id: &str,
    body: &Renewal,
    signed: &Signed,
) -> Result<Effect, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    let record = find(desk, id).await?;
    let withdrawal = renewable(&record)?;
    let request = signed.request()?;
    if request.is_cancel() {
        let why = "sign a request with outputs; a cancel goes to /v1/withdrawals/{id}/cancel";
        return Err(Problem::new(Code::StatementKind, why));
    }
    if request.renews.is_none_or(|old| !withdrawal.requests.contains(&old)) {
        let why = format!("the signed request renews none of withdrawal {id}");
        return Err(Problem::new(Code::StatementMismatch, why));
    }
    let said = Said {
        wallet: None,
        client: None,
        outputs: None,
        fee_max: draft::fee(body.fee_max.as_deref())?,
        fee_max_ppm: body.fee_max_ppm,
        end: draft::end(body.end.as_deref())?,
    };
    said.must_match(request)?;
    newest(&view, &withdrawal)?;
    let requester = signed.admit(&view)?;
    check::pays_others(desk, &view, request).await?;
    check::can_be_allowed(&view, request, &requester)?;
    can_be_reserved(desk, &view, &withdrawal, request).await?;
    let answer = show(&view, &withdrawal, record.change.external_id.clone());
    Effect::new(Posting::default(), StatusCode::ACCEPTED, &answer)
}

/// Whether the books would reserve for a renewal as they stand: by the account that pays the withdrawal, and as far
/// as that has what is missing. The clerk reserves it when the log has it.
async fn can_be_reserved(
    desk: &Desk,
    view: &Arc<View>,
    withdrawal: &Withdrawal,
    request: &Request,
) -> Result<(), Problem> {
    let (owner, need) = withdrawals::reservation(&view.state, &view.decoder, request)
        .map_err(|error| super::cannot_begin(&error))?;
    if owner != withdrawal.owner {
        let why =
            format!("the withdrawal is paid by {}, and the signed request by {owner}", withdrawal.owner);
        return Err(Problem::new(Code::StatementMismatch, why));
    }
    let Some(missing) = need.checked_sub(withdrawal.reserved()) else { return Ok(()) };
    let account = withdrawal.payer();
    let available = desk.books().account(&account).await?.available();
    if !owner.is_bounded() || available.covers(missing) {
        return Ok(());
    }
    Err(ledger::Refusal::Overdraft { account, available, asked: missing }.into())
}
