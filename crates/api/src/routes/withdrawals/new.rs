//! New withdrawals: signed, drafted, or tried.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custody::Hash;
use custody::document::Grant;
use custody::name::{Label, Name};
use custody::payment::Request;
use custody::state::Owner;
use ledger::{Movement, NewTransfer, Posting, RecordKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use withdrawals::{Asking, Withdrawal};

use super::check::{self, Need, NewOutput};
use super::draft::{self, Draft, SUBMITTED};
use super::{OutputView, WithdrawalView, cannot_begin, find, show, show_draft};
use crate::input::{Path, Write, external_id, text};
use crate::once::{Effect, reserve};
use crate::problem::{Code, Problem};
use crate::routes::accounts::AccountView;
use crate::sign::{LabelText, Said, Signed, SignedEnvelope};
use crate::view::{Desk, View, actor};

/// A new withdrawal. With `signed_request` all else may be absent, and what is there must be what was signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWithdrawal {
    /// The wallet.
    #[schema(value_type = Option<String>)]
    pub(crate) wallet: Option<Name>,
    /// Whose coins move.
    #[schema(value_type = Option<String>)]
    pub(crate) client: Option<Name>,
    /// The asset, CAIP-19; the deployment's if absent.
    asset: Option<String>,
    /// What is paid, 1 to 32.
    pub(crate) outputs: Option<Vec<NewOutput>>,
    /// The highest fee, in base units.
    #[schema(example = "5000")]
    pub(crate) fee_max: Option<String>,
    /// The highest fee in millionths of the amount; 1,000,000 if absent.
    pub(crate) fee_max_ppm: Option<u64>,
    /// Until when it may be authorised (RFC 3339, UTC); a day if absent.
    pub(crate) end: Option<String>,
    /// Words for whoever signs a draft.
    note: Option<String>,
    /// What the hash of the note in the signed request stands for.
    note_label: Option<LabelText>,
    /// The signed request (P19).
    signed_request: Option<SignedEnvelope>,
    /// Your name for it, once per client.
    external_id: Option<String>,
    /// Checks everything, the balance too, and writes nothing.
    dry_run: Option<bool>,
}

/// What a withdrawal would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct DryRun {
    /// Always true.
    dry_run: bool,
    /// Who pays, as it stands.
    payer: AccountView,
    /// What is paid.
    outputs: Vec<OutputView>,
    /// All that is paid, in base units.
    amount: String,
    /// What would be reserved: the amount and the highest fee.
    reserve: String,
    /// What would stay available.
    available_after: String,
    /// What would be needed then.
    needed: Vec<Need>,
}

/// Asks for a withdrawal
///
/// With `signed_request` the amount and the highest fee are reserved and the request goes to the log, where
/// people approve it. Without, it is a draft that a person or a machine signs. The caller is a person, or a
/// machine with the grant `request`. `dry_run` needs no idempotency key.
#[utoipa::path(post, path = "/v1/withdrawals", operation_id = "createWithdrawal", tag = "withdrawals",
    request_body = NewWithdrawal,
    responses(
        (status = 200, description = "What it would do (dry_run)", body = DryRun),
        (status = 202, description = "Kept; needed says what is missing", body = WithdrawalView),
    ))]
pub(crate) async fn create(State(desk): State<Desk>, write: Write) -> Result<Response, Problem> {
    let new: NewWithdrawal = write.read()?;
    let signed = new.signed_request.as_ref().map(SignedEnvelope::read).transpose()?;
    if new.dry_run == Some(true) {
        return try_it(&desk, &write, &new, signed.as_ref()).await;
    }
    let carried = match &signed {
        Some(signed) => Some(signed.carried(labels(&new, signed)?)),
        None => None,
    };
    match &signed {
        Some(signed) => desk.once(&write, carried, enter(&desk, &write, &new, signed)).await,
        None => desk.once(&write, None, write_draft(&desk, &write, &new)).await,
    }
}

fn labels(new: &NewWithdrawal, signed: &Signed) -> Result<Vec<Label>, Problem> {
    let note = signed.request()?.note;
    let label = new.note_label.as_ref().map(|label| label.label(note, "note_label")).transpose()?;
    Ok(label.into_iter().collect())
}

/// What is asked, and by whom, after all checks but that of the balance.
struct Checked {
    view: Arc<View>,
    request: Request,
    requester: Owner,
    id: Hash,
    external_id: Option<String>,
}

impl Checked {
    fn begin(&self, desk: &Desk, signed: Option<&Signed>) -> Result<(Withdrawal, NewTransfer), Problem> {
        let asking = Asking {
            id: self.id,
            request: &self.request,
            requester: &self.requester,
            envelope: signed.map(|signed| STANDARD.encode(signed.envelope.bytes())),
            not_after: signed.and_then(|signed| signed.statement.not_after),
        };
        let asset = self.view.asset()?;
        let begun =
            withdrawals::begin(&self.view.state, &self.view.decoder, &asking, &asset, desk.house.now());
        begun.map_err(|error| cannot_begin(&error))
    }
}

async fn checked(
    desk: &Desk,
    write: &Write,
    new: &NewWithdrawal,
    signed: Option<&Signed>,
) -> Result<Checked, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    view.asset_named(new.asset.as_deref())?;
    let named = external_id(new.external_id.as_deref())?;
    let (request, requester, id) = match signed {
        Some(signed) => {
            let said = said(desk, &view, new, &signed.request()?.wallet).await?;
            let requester = signer(desk, &view, signed, &said).await?;
            (signed.request()?.clone(), requester, signed.envelope.id())
        }
        None => {
            if new.note_label.is_some() {
                return Err(Problem::new(Code::BodyInvalid, "note_label goes with signed_request"));
            }
            new.note.as_deref().map(|note| text("note", note)).transpose()?;
            (draft::request(desk, &view, new).await?, write.caller.owner.clone(), Hash::default())
        }
    };
    check::can_be_allowed(&view, &request, &requester)?;
    if let Some(named) = &named {
        not_taken(desk, request.client.as_ref(), named).await?;
    }
    Ok(Checked { view, request, requester, id, external_id: named })
}

/// What the body says beside the signed request.
async fn said<'a>(
    desk: &Desk,
    view: &Arc<View>,
    new: &'a NewWithdrawal,
    wallet: &Name,
) -> Result<Said<'a>, Problem> {
    if new.note.is_some() {
        return Err(Problem::new(
            Code::BodyInvalid,
            "note is for drafts; give the note_label that was signed",
        ));
    }
    let outputs = match &new.outputs {
        Some(outputs) => Some(check::resolve(desk, view, wallet, outputs).await?),
        None => None,
    };
    Ok(Said {
        wallet: new.wallet.as_ref(),
        client: new.client.as_ref().map(Some),
        outputs: outputs.map(|outputs| outputs.into_iter().map(|o| (o.destination, o.amount)).collect()),
        fee_max: draft::fee(new.fee_max.as_deref())?,
        fee_max_ppm: new.fee_max_ppm,
        end: draft::end(new.end.as_deref())?,
    })
}

/// Whose signed request it is, if it may begin a withdrawal.
async fn signer(desk: &Desk, view: &Arc<View>, signed: &Signed, said: &Said<'_>) -> Result<Owner, Problem> {
    let request = signed.request()?;
    if request.is_cancel() || request.renews.is_some() {
        let why = "sign a request that pays and renews nothing; a cancel goes to /v1/withdrawals/{id}/cancel";
        return Err(Problem::new(Code::StatementKind, why));
    }
    said.must_match(request)?;
    let id = signed.envelope.id();
    let begun = desk.books().record(RecordKind::Withdrawal, &id.to_string()).await?.is_some();
    if begun || view.state.requests().get(&id).is_some() {
        return Err(Problem::new(Code::WithdrawalExists, format!("withdrawal {id} has begun")));
    }
    let signer = signed.admit(view)?;
    check::pays_others(desk, view, request).await?;
    Ok(signer)
}

async fn not_taken(desk: &Desk, client: Option<&Name>, named: &str) -> Result<(), Problem> {
    let record = reserve(client, named, "", 0);
    let found = desk.books().record(record.kind, &record.id).await?;
    let why = || {
        let of = found.as_ref().and_then(|found| found.change.body.get("of")?.as_str()).unwrap_or_default();
        format!("external_id {named} is that of {of}")
    };
    if found.is_some() { Err(Problem::new(Code::ExternalIdTaken, why())) } else { Ok(()) }
}

async fn try_it(
    desk: &Desk,
    write: &Write,
    new: &NewWithdrawal,
    signed: Option<&Signed>,
) -> Result<Response, Problem> {
    if let Some(signed) = signed {
        labels(new, signed)?;
    }
    let checked = checked(desk, write, new, signed).await?;
    let (withdrawal, hold) = checked.begin(desk, signed)?;
    let Movement::Pending { debit, amount, .. } = &hold.movement else {
        return Err(Problem::new(Code::Internal, "a reservation that reserves nothing"));
    };
    let totals = desk.books().account(debit).await?;
    let available = totals.available();
    if debit.owner.is_bounded() && !available.covers(*amount) {
        let refusal = ledger::Refusal::Overdraft { account: debit.clone(), available, asked: *amount };
        return Err(refusal.into());
    }
    let reserved = totals.debits_pending.checked_add(*amount);
    let reserved = reserved.ok_or_else(|| Problem::new(Code::AmountOverflow, "more than there can be"))?;
    let after = ledger::Totals { debits_pending: reserved, ..totals }.available();
    let view = &checked.view;
    let needed = match signed {
        Some(_) => check::needs_of_request(view, &checked.request),
        None => check::needs_of_draft(view, &checked.request),
    };
    let shown = show(view, &withdrawal, None);
    let answer = DryRun {
        dry_run: true,
        payer: AccountView::new(debit, &totals),
        amount: shown.amount,
        outputs: shown.outputs,
        reserve: amount.to_string(),
        available_after: after.to_string(),
        needed,
    };
    Ok(Effect::new(Posting::default(), StatusCode::OK, &answer)?.respond())
}

/// Reserves for a signed request.
async fn enter(desk: &Desk, write: &Write, new: &NewWithdrawal, signed: &Signed) -> Result<Effect, Problem> {
    let checked = checked(desk, write, new, Some(signed)).await?;
    let (withdrawal, hold) = checked.begin(desk, Some(signed))?;
    let (now, named) = (desk.house.now(), checked.external_id);
    let mut records = vec![withdrawal.record_change(0, named.clone(), now)];
    let of = format!("withdrawal/{}", withdrawal.id);
    records.extend(named.as_ref().map(|named| reserve(checked.request.client.as_ref(), named, &of, now)));
    let answer = answer(&checked.view, &checked.request, &withdrawal, named);
    Effect::new(Posting { transfers: vec![hold], records }, StatusCode::ACCEPTED, &answer)
}

/// A withdrawal that has just begun; the log does not have it yet.
fn answer(
    view: &View,
    request: &Request,
    withdrawal: &Withdrawal,
    external_id: Option<String>,
) -> WithdrawalView {
    let mut answer = show(view, withdrawal, external_id);
    answer.needed = check::needs_of_request(view, request);
    answer
}

async fn write_draft(desk: &Desk, write: &Write, new: &NewWithdrawal) -> Result<Effect, Problem> {
    let checked = checked(desk, write, new, None).await?;
    // Asks only whether somebody would pay.
    checked.begin(desk, None)?;
    let now = desk.house.now();
    let Checked { view, request, external_id: named, .. } = checked;
    let by = actor(&write.caller.owner);
    let draft = Draft { request, by, at: now, note: new.note.clone(), withdrawal: None };
    let id = draft::id(&write.id()?);
    let mut records = vec![draft.change(&id, 0, "draft", named.clone(), now)];
    let of = format!("withdrawal/{id}");
    records.extend(named.as_ref().map(|named| reserve(draft.request.client.as_ref(), named, &of, now)));
    let answer = show_draft(&view, &id, "draft", &draft, named)?;
    Effect::new(Posting { transfers: Vec::new(), records }, StatusCode::ACCEPTED, &answer)
}

/// The signature under a draft.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedDraft {
    /// The signed request (P19): what `to_sign` of the draft says.
    signed_request: SignedEnvelope,
    /// What the hash of the note in the signed request stands for.
    note_label: Option<LabelText>,
}

/// Signs a draft
///
/// The draft becomes a withdrawal with an id of its own: the amount and the highest fee are reserved, and the
/// request goes to the log.
#[utoipa::path(put, path = "/v1/withdrawals/{id}/request", operation_id = "signWithdrawal", tag = "withdrawals",
    params(("id" = String, Path, description = "The id of the draft")),
    request_body = SignedDraft,
    responses((status = 202, description = "Reserved; needed says what is missing", body = WithdrawalView)))]
pub(crate) async fn sign(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    write: Write,
) -> Result<Response, Problem> {
    let body: SignedDraft = write.read()?;
    let signed = body.signed_request.read()?;
    let note = signed.request()?.note;
    let label = body.note_label.as_ref().map(|label| label.label(note, "note_label")).transpose()?;
    let carried = signed.carried(label.into_iter().collect());
    desk.once(&write, Some(carried), signed_draft(&desk, &write, &id, &signed)).await
}

async fn signed_draft(desk: &Desk, write: &Write, id: &str, signed: &Signed) -> Result<Effect, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    let record = find(desk, id).await?;
    if record.change.state != "draft" {
        return Err(Problem::new(Code::WithdrawalNotDraft, format!("{id} is {}", record.change.state)));
    }
    let draft = Draft::of(&record)?;
    let asked = &draft.request;
    let said = Said {
        wallet: Some(&asked.wallet),
        client: Some(asked.client.as_ref()),
        outputs: Some(asked.outputs.iter().map(|o| (o.destination.clone(), o.amount)).collect()),
        fee_max: Some(asked.fee_max),
        fee_max_ppm: Some(asked.fee_max_ppm),
        end: Some(asked.end),
    };
    let requester = signer(desk, &view, signed, &said).await?;
    let request = signed.request()?.clone();
    check::can_be_allowed(&view, &request, &requester)?;
    let named = record.change.external_id.clone();
    let checked = Checked { view, request, requester, id: signed.envelope.id(), external_id: named };
    let (withdrawal, hold) = checked.begin(desk, Some(signed))?;
    let now = desk.house.now();
    let done = Draft { withdrawal: Some(withdrawal.id), ..draft };
    let named = checked.external_id;
    let records = vec![
        withdrawal.record_change(0, named.clone(), now),
        done.change(id, record.version, SUBMITTED, None, now),
    ];
    let answer = answer(&checked.view, &checked.request, &withdrawal, named);
    Effect::new(Posting { transfers: vec![hold], records }, StatusCode::ACCEPTED, &answer)
}
