//! Cancels: of drafts at once, of withdrawals by a signed request that returns everything (P23).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use custody::document::Grant;
use custody::payment::Request;
use ledger::{Posting, Record};
use serde::Deserialize;
use utoipa::ToSchema;
use withdrawals::Withdrawal;

use super::draft::{self, Draft, END_DEFAULT_S};
use super::{ToSign, WithdrawalView, find, show, show_draft};
use crate::input::{Path, Write};
use crate::once::Effect;
use crate::problem::{Code, Problem};
use crate::routes::unreadable;
use crate::sign::{Signed, SignedEnvelope};
use crate::view::{Desk, View};

/// A cancel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// A signed request without outputs that renews the newest request of the withdrawal. Without it the answer
    /// says what to sign, and nothing is written.
    signed_request: Option<SignedEnvelope>,
}

/// Cancels a withdrawal
///
/// A draft ends at once. A withdrawal ends when the log has the cancel of its own requester before a transaction
/// is authorised; from then on the cancel needs approvals, and a transaction of its own (P23). Without
/// `signed_request` the answer says what to sign; that needs no idempotency key.
#[utoipa::path(post, path = "/v1/withdrawals/{id}/cancel", operation_id = "cancelWithdrawal",
    tag = "withdrawals",
    params(("id" = String, Path, description = "The withdrawal or draft")),
    request_body = Cancel,
    responses(
        (status = 200, description = "A draft: it is cancelled. Else to_sign says what to sign", body = WithdrawalView),
        (status = 202, description = "The cancel is on its way to the log", body = WithdrawalView),
    ))]
pub(crate) async fn create(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    write: Write,
) -> Result<Response, Problem> {
    let body: Cancel = write.read()?;
    let signed = body.signed_request.as_ref().map(SignedEnvelope::read).transpose()?;
    match &signed {
        Some(signed) => {
            let carried = signed.carried(Vec::new());
            desk.once(&write, Some(carried), cancel(&desk, &write, &id, signed)).await
        }
        None if draft::is_draft(&id) => desk.once(&write, None, cancel_draft(&desk, &write, &id)).await,
        None => what_to_sign(&desk, &write, &id).await,
    }
}

fn open(record: &Record) -> Result<Withdrawal, Problem> {
    let id = &record.change.id;
    if draft::is_draft(id) {
        let why = format!("{id} is a draft: cancel it without a signature");
        return Err(Problem::new(Code::WithdrawalNotDraft, why));
    }
    let withdrawal = Withdrawal::of(record).map_err(|_| unreadable("withdrawal", id))?;
    if !withdrawal.state.is_open() {
        let why = format!("withdrawal {id} is {}", withdrawal.state.word());
        return Err(Problem::new(Code::WithdrawalEnded, why));
    }
    Ok(withdrawal)
}

async fn cancel_draft(desk: &Desk, write: &Write, id: &str) -> Result<Effect, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    let record = find(desk, id).await?;
    if record.change.state != "draft" {
        return Err(Problem::new(Code::WithdrawalNotDraft, format!("{id} is {}", record.change.state)));
    }
    let draft = Draft::of(&record)?;
    let named = record.change.external_id.clone();
    let change = draft.change(id, record.version, "cancelled", named.clone(), desk.house.now());
    let answer = show_draft(&view, id, "cancelled", &draft, named)?;
    Effect::new(Posting { transfers: Vec::new(), records: vec![change] }, StatusCode::OK, &answer)
}

/// The newest request of a withdrawal that the log has.
pub(super) fn newest<'a>(
    view: &'a View,
    withdrawal: &Withdrawal,
) -> Result<(custody::Hash, &'a Request), Problem> {
    let of = |id: &custody::Hash| view.state.requests().get(id).map(|found| (*id, &found.request));
    let why = "the log does not have the request yet: wait some seconds";
    let found = withdrawal.requests.iter().rev().find_map(of);
    found.ok_or_else(|| Problem::new(Code::Conflict, why))
}

async fn what_to_sign(desk: &Desk, write: &Write, id: &str) -> Result<Response, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    let record = find(desk, id).await?;
    let withdrawal = open(&record)?;
    let (renews, request) = newest(&view, &withdrawal)?;
    let cancel = Request {
        outputs: Vec::new(),
        end: view.state.clock().time.saturating_add(END_DEFAULT_S),
        renews: Some(renews),
        despite: Vec::new(),
        note: None,
        ..request.clone()
    };
    let mut answer: WithdrawalView = show(&view, &withdrawal, record.change.external_id.clone());
    answer.to_sign = Some(ToSign::request(&view, &cancel));
    Ok(Effect::new(Posting::default(), StatusCode::OK, &answer)?.respond())
}

async fn cancel(desk: &Desk, write: &Write, id: &str, signed: &Signed) -> Result<Effect, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    let record = find(desk, id).await?;
    let withdrawal = open(&record)?;
    let request = signed.request()?;
    if !request.is_cancel() {
        return Err(Problem::new(Code::StatementKind, "sign a request without outputs: a cancel"));
    }
    if request.renews.is_none_or(|old| !withdrawal.requests.contains(&old)) {
        let why = format!("the signed request renews none of withdrawal {id}");
        return Err(Problem::new(Code::StatementMismatch, why));
    }
    newest(&view, &withdrawal)?;
    signed.admit(&view)?;
    let answer = show(&view, &withdrawal, record.change.external_id.clone());
    Effect::new(Posting::default(), StatusCode::ACCEPTED, &answer)
}
