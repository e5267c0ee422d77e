//! `keyward policy explain`, `keyward policy replay`, `keyward policy diff`, and what of it is shown wherever a
//! policy is proposed or approved.

use approver::{View, harmless};
use custody::Hash;
use custody::batch::Batch;
use custody::document::Document;
use custody::policy::Policy;
use custody::state::{Stage, State};
use policy::difference::{Differences, Ground, difference};
use serde::Serialize;

use super::super::emit;
use crate::args::Global;
use crate::failure::{Class, Failure, Result};
use crate::session::{Session, now};

pub(super) fn explain(global: &Global, id: &str) -> Result<()> {
    let session = Session::online(global)?;
    let (id, state) = (session.find(id)?, session.replica.state());
    let explained = policy::explain::explain(state, &id, now(), session.replica.decoder());
    let next = "policies decide on requests; for a proposal: keyward show";
    let explained = explained.ok_or_else(|| Failure::usage(format!("{id} is no request"), next))?;
    emit(global, &format!("request {id}\n{}", explained.text()), &explained)
}

pub(super) fn replay(global: &Global, since_s: u64, draft: &Policy) -> Result<()> {
    let session = Session::online(global)?;
    let batches = session.batches().iter().map(|bytes| Batch::parse(bytes));
    let batches = batches.collect::<std::result::Result<Vec<_>, _>>()?;
    let (genesis, decoder) = (session.genesis().clone(), session.replica.decoder());
    let since = now().saturating_sub(since_s);
    let replayed = policy::replay::replay(genesis, batches, decoder, draft, since);
    let next = "the kept log is not what it was: remove it and fetch it again";
    let replayed = replayed.map_err(|e| Failure::new(Class::Unverified, e, next))?;
    emit(global, &replayed.text(), &replayed)
}

pub(super) fn diff(global: &Global, draft: &Policy) -> Result<()> {
    let session = Session::online(global)?;
    let found = against(session.replica.state(), draft);
    let next = "keyward status says what is in force";
    let found = found.ok_or_else(|| Failure::usage("no policy is in force", next))?;
    emit(global, &found.text(), &found)
}

/// What a document allows that the policy in force does not, if it is a policy.
pub(crate) fn allows(state: &State, document: &Document) -> Option<Differences> {
    match document {
        Document::Policy(draft) => against(state, draft),
        _ => None,
    }
}

fn against(state: &State, draft: &Policy) -> Option<Differences> {
    let (in_force, _) = state.policy()?;
    Some(difference(in_force, draft, &Ground::of(state, now())))
}

/// A view, and of a policy that may still come into force what it allows. The approver's program shows and signs
/// the document; this is worked out beside it, from the same state.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    view: &'a View,
    #[serde(skip_serializing_if = "Option::is_none")]
    allows: Option<Differences>,
}

/// A view with what is shown beneath it.
pub(crate) fn shown<'a>(state: &State, view: &'a View) -> Shown<'a> {
    let proposed = |id: &Hash| {
        let proposal = state.proposals().get(id)?;
        let live = matches!(proposal.stage, Stage::Open | Stage::Supporting | Stage::Waiting(_));
        live.then(|| allows(state, &proposal.document)).flatten()
    };
    Shown { view, allows: proposed(&view.id()) }
}

impl Shown<'_> {
    /// As plain text.
    pub(crate) fn text(&self) -> String {
        let beneath = self.allows.as_ref().map(text).unwrap_or_default();
        self.view.text() + &beneath
    }
}

/// Shows a view, and what is shown beneath it, before it is signed.
pub(crate) fn present(state: &State, view: &View) {
    eprintln!("{}", shown(state, view).text());
}

/// Differences for a terminal.
pub(crate) fn text(found: &Differences) -> String {
    found.text().lines().map(|line| format!("  {}\n", harmless(line))).collect()
}
