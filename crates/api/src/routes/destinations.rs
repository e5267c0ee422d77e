//! Destinations: addresses that may be paid, by the log. A new one is a signed proposal that people approve.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use custody::Hash;
use custody::document::{self, Document, Grant, Kind};
use custody::effects::Decoder as _;
use custody::name::{Label, Name};
use custody::state::Stage;
use custody::statement::{Body, Propose};
use ledger::Posting;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::handle;
use super::transfers::Nothing;
use super::withdrawals::check::bad_address;
use crate::input::{Parameters, Path, Write};
use crate::once::Effect;
use crate::page::{List, PageOf};
use crate::problem::{Code, Problem};
use crate::sign::{LabelText, Signed, SignedEnvelope, kind};
use crate::time::rfc3339;
use crate::view::{Desk, View};

/// An address that may be paid, or is proposed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Destination)]
pub(crate) struct DestinationView {
    /// The handle.
    #[schema(example = "acme")]
    id: String,
    /// `in-force`, or `proposed`: waits for approvals or its delay.
    status: &'static str,
    /// Whose it is: `own`, `client`, `counterparty`.
    of: &'static str,
    /// The address.
    address: String,
    /// What people call it, if the server has the words.
    name: Option<String>,
    /// The version in force: the hash of the document, as requests name it.
    version: Option<String>,
    /// When it entered into force.
    since: Option<String>,
    /// The proposal to approve: of a new destination, or of another version of this one.
    proposal: Option<String>,
}

/// Which destinations.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// `in-force` or `proposed`.
    status: Option<String>,
    /// `own`, `client` or `counterparty`.
    of: Option<String>,
    /// At this address.
    address: Option<String>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A destination of the log.
struct Found<'a> {
    document: &'a document::Destination,
    /// Its version, and since when that is in force; of one that is only proposed nothing.
    in_force: Option<(Hash, u64)>,
    proposal: Option<Hash>,
}

impl Found<'_> {
    fn status(&self) -> &'static str {
        if self.in_force.is_some() { "in-force" } else { "proposed" }
    }

    fn show(&self, name: Option<String>) -> DestinationView {
        DestinationView {
            id: self.document.id.to_string(),
            status: self.status(),
            of: self.document.kind.word(),
            address: self.document.address.clone(),
            name,
            version: self.in_force.map(|(version, _)| version.to_string()),
            since: self.in_force.map(|(_, since)| rfc3339(since)),
            proposal: self.proposal.map(|id| id.to_string()),
        }
    }
}

/// All destinations in the order of their handles. Of one that has another version proposed the one in force is
/// shown, with the proposal.
fn all(view: &View) -> BTreeMap<&Name, Found<'_>> {
    let mut all = BTreeMap::new();
    for (id, proposal) in view.state.proposals().iter() {
        let Document::Destination(document) = &proposal.document else { continue };
        if matches!(proposal.stage, Stage::Open | Stage::Supporting | Stage::Waiting(_)) {
            all.insert(&document.id, Found { document, in_force: None, proposal: Some(*id) });
        }
    }
    for found in view.state.documents() {
        let Document::Destination(document) = &found.document else { continue };
        let proposal = all.get(&document.id).and_then(|proposed| proposed.proposal);
        let in_force = Some((found.hash, found.since));
        all.insert(&document.id, Found { document, in_force, proposal });
    }
    all
}

/// The words behind commitments, in one call.
async fn words(desk: &Desk, labels: Vec<Hash>) -> Result<Vec<Option<String>>, Problem> {
    desk.blocking(move |house| labels.iter().map(|label| house.label(label)).collect()).await
}

/// Lists destinations
///
/// In the order of their handles.
#[utoipa::path(get, path = "/v1/destinations", operation_id = "listDestinations", tag = "destinations",
    params(Filter),
    responses((status = 200, description = "A page of destinations", body = PageOf<DestinationView>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<DestinationView>>, Problem> {
    let Filter { status, of, address, limit, cursor } = query;
    let list = List::new("destinations", &(&status, &of, &address), limit)?;
    let view = desk.view().await?;
    let after: Option<Name> = list.after(cursor.as_deref())?;
    let all = all(&view);
    let wanted = |found: &&Found<'_>| {
        status.as_deref().is_none_or(|status| status == found.status())
            && of.as_deref().is_none_or(|of| of == found.document.kind.word())
            && address.as_deref().is_none_or(|address| address == found.document.address)
    };
    let rest = all.iter().filter(|(id, _)| after.as_ref().is_none_or(|after| **id > after));
    let mut found: Vec<&Found<'_>> = rest.map(|(_, found)| found).filter(wanted).collect();
    let more = found.len() > list.limit;
    found.truncate(list.limit);
    let names = words(&desk, found.iter().map(|found| found.document.label).collect()).await?;
    let items = found.iter().zip(names).map(|(found, name)| found.show(name)).collect();
    let next = found.last().filter(|_| more).map(|last| &last.document.id);
    Ok(Json(list.page(items, next)))
}

/// One destination
#[utoipa::path(get, path = "/v1/destinations/{id}", operation_id = "getDestination", tag = "destinations",
    params(("id" = String, Path, description = "The handle")),
    responses((status = 200, description = "The destination", body = DestinationView)))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<DestinationView>, Problem> {
    let name = handle("destination", &id)?;
    let view = desk.view().await?;
    let all = all(&view);
    let found = all.get(&name).ok_or_else(|| Problem::unknown("destination", &id))?;
    let words = words(&desk, vec![found.document.label]).await?.pop();
    Ok(Json(found.show(words.flatten())))
}

/// A new destination, or another version of one: a signed proposal.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDestination {
    /// A signed `propose` of a destination document. Only people propose some.
    signed_proposal: SignedEnvelope,
    /// What the hash in the signed document stands for.
    label: Option<LabelText>,
}

/// Proposes a destination
///
/// The statement goes to the log, where the people who govern approve it. The caller, who need not be who
/// signed, is a person, or a machine with the grant `request`.
#[utoipa::path(post, path = "/v1/destinations", operation_id = "createDestination", tag = "destinations",
    request_body = NewDestination,
    responses((status = 202, description = "On its way to the log", body = DestinationView)))]
pub(crate) async fn create(State(desk): State<Desk>, write: Write) -> Result<Response, Problem> {
    let new: NewDestination = write.read()?;
    let signed = new.signed_proposal.read()?;
    let (propose, document) = proposed(&signed)?;
    let label = new.label.as_ref().map(|label| label.label(Some(document.label), "label")).transpose()?;
    let labels: Vec<Label> = label.into_iter().collect();
    let name = new.label.as_ref().map(LabelText::words);
    let carried = signed.carried(labels);
    desk.once(&write, Some(carried), enter(&desk, &write, &signed, propose, document, name)).await
}

/// The destination that a statement proposes.
fn proposed(signed: &Signed) -> Result<(&Propose, &document::Destination), Problem> {
    match &signed.statement.body {
        Body::Propose(propose) => match &propose.document {
            Document::Destination(destination) => Ok((propose, destination)),
            other => {
                let why = format!("sign a propose of a destination, not of a {}", other.kind().word());
                Err(Problem::new(Code::StatementKind, why))
            }
        },
        other => Err(kind("propose", other)),
    }
}

async fn enter(
    desk: &Desk,
    write: &Write,
    signed: &Signed,
    propose: &Propose,
    document: &document::Destination,
    name: Option<String>,
) -> Result<Effect, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, Grant::Request)?;
    view.decoder.address_script(&document.address).map_err(|error| bad_address(&error))?;
    signed.admit(&view)?;
    let before = propose.replaces.and_then(|_| view.state.document(Kind::Destination, document.id.as_str()));
    let in_force = before.map(|before| (before.hash, before.since));
    let found = Found { document, in_force, proposal: Some(signed.envelope.id()) };
    Effect::new(Posting::default(), StatusCode::ACCEPTED, &found.show(name))
}
