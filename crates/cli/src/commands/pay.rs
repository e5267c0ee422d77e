//! `keyward pay`, `keyward cancel`, `keyward bump`.

use approver::{Ask, plain, sats};
use custody::Hash;
use custody::effects::Sats;
use custody::name::Label;
use serde::Serialize;

use super::enrol::label;
use super::{confirm, emit, present, send};
use crate::args::{Cancel, Global, Pay, Terms};
use crate::failure::Result;
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
    let found = session.replica.state().requests().get(&old);
    let found = found.map(|r| (r.request.wallet.clone(), r.request.client.clone()));
    let Some((wallet, client)) = found else { return request(&session, &command.request).map(|_| ()) };
    let ask = Ask {
        wallet,
        outputs: Vec::new(),
        fee_max: command.terms.fee_max,
        fee_max_ppm: command.terms.fee_max_ppm,
        end: now().saturating_add(command.terms.end),
        renews: Some(old),
        despite,
        note: None,
        client,
    };
    ask_for(&mut session, ask, &command.terms, &[])
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
    session.unlock()?;
    session.labels.add(labels);
    let draft = session.replica.request(session.key()?, ask, fresh())?;
    if let Some(view) = draft.view(&session.replica, &session.labels, now()) {
        present(&view);
    }
    confirm("Ask for this?", terms.yes)?;
    let signed = draft.sign_if_accepted(&session.replica, session.key()?)?;
    send(session, &signed, labels, "asked: others approve it by its id")
}
