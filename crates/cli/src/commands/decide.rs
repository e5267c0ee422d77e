//! `keyward approve`, `keyward reject`.

use approver::{Labels, View};
use custody::Hash;

use super::{confirm, policy, present, send};
use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::session::{Session, fresh, now};

/// Shows, asks, signs what was shown.
pub(crate) fn approve(global: &Global, id: &str, yes: bool) -> Result<()> {
    let mut session = Session::online(global)?;
    let view = view(&session, session.find(id)?)?;
    policy::present(session.replica.state(), &view);
    confirm("Approve exactly this?", yes)?;
    session.unlock()?;
    let draft = session.replica.approve(session.key()?, &view, fresh())?;
    let signed = draft.sign_if_accepted(&session.replica, session.key()?)?;
    send(&mut session, &signed, &[], &format!("approved: {}", view.id()))
}

/// Shows, asks, vetoes.
pub(crate) fn reject(global: &Global, id: &str, yes: bool) -> Result<()> {
    let mut session = Session::online(global)?;
    let view = view(&session, session.find(id)?)?;
    // Without what a policy allows: that may take long to work out, and a veto does not wait for it.
    present(&view);
    if matches!(view, View::Request(_)) {
        let next =
            "do not approve it: it ends by itself. To stop what is approved: keyward freeze, keyward cancel";
        return Err(Failure::usage("a request has no veto", next));
    }
    confirm("Veto this?", yes)?;
    session.unlock()?;
    let draft = session.replica.veto(session.key()?, view.id(), fresh())?;
    let signed = draft.sign_if_accepted(&session.replica, session.key()?)?;
    send(&mut session, &signed, &[], &format!("vetoed: {}", view.id()))
}

/// What is asked, as it stands under the final head.
pub(crate) fn view(session: &Session<'_>, id: Hash) -> Result<View> {
    let labels: &Labels = &session.labels;
    let view = View::of(&session.replica, &id, labels, now());
    view.ok_or_else(|| Failure::usage(format!("there is no {id}"), "keyward requests, keyward proposals"))
}
