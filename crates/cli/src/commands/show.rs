//! `keyward show`, `keyward requests`, `keyward proposals`.

use approver::{RequestState, View, sats, state_of};

use super::decide::view;
use super::{emit, policy};
use crate::args::Global;
use crate::failure::Result;
use crate::session::{Session, now};
use custody::state::Stage;

pub(crate) fn one(global: &Global, id: &str) -> Result<()> {
    let session = Session::online(global)?;
    let view = view(&session, session.find(id)?)?;
    let shown = policy::shown(session.replica.state(), &view);
    emit(global, &shown.text(), &shown)
}

pub(crate) fn requests(global: &Global, all: bool) -> Result<()> {
    let session = Session::online(global)?;
    let state = session.replica.state();
    let open =
        state.requests().iter().filter(|(_, r)| all || state_of(state, r, now()) == RequestState::Open);
    let views: Vec<View> = open.filter_map(|(id, _)| view(&session, *id).ok()).collect();
    let mut text = String::new();
    for view in &views {
        let View::Request(r) = view else { continue };
        let to: Vec<_> = r.outputs.iter().map(|o| o.destination.to_string()).collect();
        let to = if to.is_empty() { "cancel".to_owned() } else { to.join(", ") };
        let who: Vec<_> = r.approvals.iter().filter(|a| a.counts).map(|a| a.person.to_string()).collect();
        text.push_str(&format!(
            "{}\n  {} from {} to {to}, until {}\n",
            r.id,
            sats(r.amount),
            r.wallet,
            r.end
        ));
        text.push_str(&format!("  asked by {}; approved by {}\n", r.asked_by, list(&who)));
        text.push_str(&format!("  still needed: {}\n", r.missing.as_deref().unwrap_or("nothing")));
    }
    if views.is_empty() {
        text.push_str("no requests\n");
    }
    emit(global, &text, &views)
}

pub(crate) fn proposals(global: &Global, all: bool) -> Result<()> {
    let session = Session::online(global)?;
    let state = session.replica.state();
    let open = state.proposals().iter().filter(|(_, p)| {
        let live = matches!(p.stage, Stage::Supporting | Stage::Waiting(_));
        all || live || (p.stage == Stage::Open && p.not_after >= now())
    });
    let views: Vec<View> = open.filter_map(|(id, _)| view(&session, *id).ok()).collect();
    let mut text = String::new();
    for view in &views {
        let View::Proposal(p) = view else { continue };
        let who: Vec<_> = p.approvals.iter().filter(|a| a.counts).map(|a| a.person.to_string()).collect();
        text.push_str(&format!(
            "{}\n  {} {}: {}, until {}\n",
            p.id,
            p.kind.word(),
            p.subject,
            p.stage,
            p.end
        ));
        text.push_str(&format!(
            "  proposed by {}; approved by {}; needs {}\n",
            p.proposed_by,
            list(&who),
            p.needs
        ));
    }
    if views.is_empty() {
        text.push_str("no proposals\n");
    }
    emit(global, &text, &views)
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nobody".into() } else { names.join(", ") }
}
