//! `keyward pay`, `keyward cancel`, `keyward bump`.

use approver::{Ask, Draft, Signed, plain, sats};
use custody::Hash;
use custody::effects::Sats;
use custody::name::Label;
use serde::Serialize;

use super::enrol::label;
use super::{confirm, emit, present};
use crate::args::{Cancel, Global, Pay, Terms};
use crate::failure::{Failure, Result};
use crate::session::{Session, fresh, now, pick};

pub(crate) fn pay(global: &Global, command: Pay) -> Result<()> {
    let mut session = Session::online(global)?;
    let renews = command.renews.map(|id| request(&session, &id)).transpose()?;
    let note = command.note.as_deref().map(label);
    let ask = Ask {
        wallet: command.wallet,
        outputs: command.to,
        fee_max: command.terms.fee_max,
        fee_max_ppm: command.terms.fee_max_ppm,
        end: now().saturating_add(command.terms.end),
        renews,
        despite: Vec::new(),
        note: note.as_ref().map(Label::commitment),
        client: command.client,
    };
    ask_for(&mut session, ask, &command.terms, &note.into_iter().collect::<Vec<_>>())
}

pub(crate) fn cancel(global: &Global, command: Cancel) -> Result<()> {
    let mut session = Session::online(global)?;
    let old = request(&session, &command.request)?;
    let freezes = || session.replica.state().freezes().iter().map(|(id, _)| *id);
    let despite = command.despite.iter().map(|f| pick(freezes(), f, "freeze")).collect::<Result<_>>()?;
    let Terms { fee_max, fee_max_ppm, end, .. } = command.terms;
    let ask = Ask { despite, fee_max, fee_max_ppm, ..cancelling(&session, old, end)? };
    ask_for(&mut session, ask, &command.terms, &[])
}

/// Asks for nothing but to end a request, at its own ceilings of the fee.
pub(crate) fn cancelling(session: &Session<'_>, old: Hash, validity_s: u64) -> Result<Ask> {
    let found = session.replica.state().requests().get(&old);
    let next = "keyward requests lists them; a new one may not be final yet";
    let request = &found.ok_or_else(|| Failure::usage(format!("there is no request {old}"), next))?.request;
    Ok(Ask {
        wallet: request.wallet.clone(),
        outputs: Vec::new(),
        fee_max: request.fee_max,
        fee_max_ppm: request.fee_max_ppm,
        end: now().saturating_add(validity_s),
        renews: Some(old),
        despite: Vec::new(),
        note: None,
        client: request.client.clone(),
    })
}

#[derive(Serialize)]
struct Bumped {
    authorisation: Hash,
    txid: String,
    fee: Sats,
}

/// Asks the server for a transaction that pays more. It needs nobody's approval: every signer holds it
/// to the ceilings and the anchors of the request (P21).
pub(crate) fn bump(global: &Global, id: &str, rate: u64) -> Result<()> {
    let mut session = Session::online(global)?;
    let id = request(&session, id)?;
    let (authorisation, txid, fee) = session.bump(id, rate)?;
    let txid = plain(&txid);
    let text = format!("proposed    {txid}, fee {}\n  id       {authorisation}\n", sats(fee));
    emit(global, &text, &Bumped { authorisation, txid, fee })
}

fn request(session: &Session<'_>, prefix: &str) -> Result<Hash> {
    pick(session.replica.state().requests().iter().map(|(id, _)| *id), prefix, "request")
}

/// Shows the request as its approvers will see it, asks, signs, sends.
fn ask_for(session: &mut Session<'_>, ask: Ask, terms: &Terms, labels: &[Label]) -> Result<()> {
    let signed = sign(session, ask, terms.yes, labels)?;
    let sent = session.send(&signed, labels)?;
    // A cancel ends the request at once, unless a transaction for it was quicker.
    let record = session.replica.state().requests().get(&signed.id);
    let what = match record.and_then(|record| record.renewed_by) {
        Some(by) if by == signed.id => "withdrawn: nothing was authorised, so it needs no approvals",
        _ => "asked: others approve it by its id",
    };
    let text = format!("{what}\n  id       {}\n  final    at height {}\n", sent.id, sent.height);
    emit(session.global, &text, &sent)
}

/// Shows the request as its approvers will see it, asks, signs.
pub(crate) fn sign(session: &mut Session<'_>, ask: Ask, yes: bool, labels: &[Label]) -> Result<Signed> {
    let draft = show(session, ask, labels)?;
    confirm("Ask for this?", yes)?;
    Ok(draft.sign_if_accepted(&session.replica, session.key()?)?)
}

/// Shows the request as its approvers will see it.
pub(crate) fn show(session: &mut Session<'_>, ask: Ask, labels: &[Label]) -> Result<Draft> {
    session.unlock()?;
    session.labels.add(labels);
    let draft = session.replica.request(session.key()?, ask, fresh())?;
    if let Some(view) = draft.view(&session.replica, &session.labels, now()) {
        present(&view);
    }
    Ok(draft)
}
