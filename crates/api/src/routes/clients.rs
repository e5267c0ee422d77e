//! Clients: those in force and proposed, by the log, and drafts, in the books.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use custody::document::Document;
use custody::name::Name;
use custody::statement::Body;
use ledger::{Posting, Record, RecordChange, RecordFilter, RecordKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::transfers::Nothing;
use super::{handle, unreadable};
use crate::input::{Parameters, Path, Write, external_id, text};
use crate::once::{Effect, reserve};
use crate::page::{List, PageOf};
use crate::problem::{Code, Problem};
use crate::sign::{LabelText, Signed, SignedEnvelope, kind};
use crate::time::rfc3339;
use crate::view::{Desk, Standing, View, actor};

/// A client.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Client {
    /// The handle: a pseudonym, since it is public in the log.
    #[schema(example = "acme")]
    id: String,
    /// `in-force`; `proposed`: waits for approvals or its delay; `draft`: waits for a person to propose it.
    status: &'static str,
    /// What people call the client, if the server has the words.
    name: Option<String>,
    /// The version in force: the hash of the document.
    version: Option<String>,
    /// When it entered into force.
    since: Option<String>,
    /// The proposal to approve.
    proposal: Option<String>,
    /// Your name for it.
    external_id: Option<String>,
}

/// What the books keep of a client that was written here.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    name: Option<String>,
    /// The proposal, once one was sent.
    proposal: Option<custody::Hash>,
    by: String,
}

/// Which clients.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// `in-force`, `proposed` or `draft`.
    status: Option<String>,
    /// The one that you named so.
    external_id: Option<String>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Where a page of clients goes on: in the log by handle, then in the books by position.
#[derive(Serialize, Deserialize)]
enum Next {
    Log(Name),
    Books(u64),
}

/// Lists clients
///
/// Those of the log in the order of their handles, then drafts, the oldest first.
#[utoipa::path(get, path = "/v1/clients", operation_id = "listClients", tag = "clients", params(Filter),
    responses((status = 200, description = "A page of clients", body = PageOf<Client>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(query): Parameters<Filter>,
) -> Result<Json<PageOf<Client>>, Problem> {
    let Filter { status, external_id, limit, cursor } = query;
    let list = List::new("clients", &(&status, &external_id), limit)?;
    let known = desk.view().await?.clients();
    let wanted = |status_of: &str| status.as_deref().is_none_or(|status| status == status_of);
    let place = list.after::<Next>(cursor.as_deref())?;
    let mut items = Vec::new();
    if external_id.is_none() && !matches!(place, Some(Next::Books(_))) {
        let after = match &place {
            Some(Next::Log(after)) => Some(after.clone()),
            _ => None,
        };
        let standings = known.iter().filter(|(id, standing)| {
            wanted(word(standing)) && after.as_ref().is_none_or(|after| *id > after)
        });
        for (id, standing) in standings {
            if items.len() == list.limit {
                let last = items.last().and_then(|client: &Client| Name::new(&client.id)).map(Next::Log);
                return Ok(Json(list.page(items, last)));
            }
            items.push(of_log(&desk, id, standing, None).await?);
        }
    }
    let after = match place {
        Some(Next::Books(after)) => Some(after),
        _ => None,
    };
    let room = list.limit - items.len();
    if room == 0 {
        return Ok(Json(list.page(items, Some(Next::Books(0)))));
    }
    let by_external_id = external_id.is_some();
    let standing = |record: &Record| Name::new(&record.change.id).and_then(|id| known.get(&id));
    let pass = |record: &Record| match standing(record) {
        Some(standing) => by_external_id && wanted(word(standing)),
        None => wanted(&record.change.state),
    };
    // Without an external id what the log has is shown from there, and the rest has the status of its record.
    let state = status.clone().filter(|_| !by_external_id);
    let filter = RecordFilter { kind: RecordKind::Client, client: None, state, external_id };
    let (records, next) = super::scan(&desk, &filter, after, u64::MAX, room, pass).await?;
    for record in &records {
        items.push(of_record(&desk, standing(record), record).await?);
    }
    Ok(Json(list.page(items, next.map(Next::Books))))
}

fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::InForce { .. } => "in-force",
        Standing::Proposed { .. } => "proposed",
    }
}

async fn of_log(
    desk: &Desk,
    id: &Name,
    standing: &Standing,
    external_id: Option<String>,
) -> Result<Client, Problem> {
    let (version, since, proposal, name) = match *standing {
        Standing::InForce { version, since, name } => (Some(version), Some(since), None, name),
        Standing::Proposed { id, name } => (None, None, Some(id), name),
    };
    Ok(Client {
        id: id.to_string(),
        status: word(standing),
        name: desk.blocking(move |house| house.label(&name)).await?,
        version: version.map(|version| version.to_string()),
        since: since.map(rfc3339),
        proposal: proposal.map(|id| id.to_string()),
        external_id,
    })
}

/// A client of the books, as the log has it if it does.
async fn of_record(desk: &Desk, standing: Option<&Standing>, record: &Record) -> Result<Client, Problem> {
    let id = Name::new(&record.change.id).ok_or_else(|| unreadable("client", &record.change.id))?;
    let draft: Draft = serde_json::from_value(record.change.body.clone())
        .map_err(|_| unreadable("client", &record.change.id))?;
    let external_id = record.change.external_id.clone();
    if let Some(standing) = standing {
        return of_log(desk, &id, standing, external_id).await;
    }
    Ok(Client {
        id: id.to_string(),
        status: if draft.proposal.is_some() { "proposed" } else { "draft" },
        name: draft.name,
        version: None,
        since: None,
        proposal: draft.proposal.map(|id| id.to_string()),
        external_id,
    })
}

async fn find(desk: &Desk, view: &View, id: &Name) -> Result<Option<Client>, Problem> {
    let record = desk.books().record(RecordKind::Client, id.as_str()).await?;
    match (record, view.client(id)) {
        (Some(record), standing) => of_record(desk, standing.as_ref(), &record).await.map(Some),
        (None, Some(standing)) => of_log(desk, id, &standing, None).await.map(Some),
        (None, None) => Ok(None),
    }
}

/// One client
#[utoipa::path(get, path = "/v1/clients/{id}", operation_id = "getClient", tag = "clients",
    params(("id" = String, Path, description = "The handle")),
    responses((status = 200, description = "The client", body = Client)))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Client>, Problem> {
    let name = handle("client", &id)?;
    let found = find(&desk, &*desk.view().await?, &name).await?;
    found.map(Json).ok_or_else(|| Problem::unknown("client", &id))
}

/// A new client: a signed proposal, or a draft that a person proposes with `keyward`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewClient {
    /// The handle; of a draft it is needed.
    #[schema(value_type = Option<String>, example = "acme")]
    id: Option<Name>,
    /// What people call the client; of a draft. It is kept in the books, not in the log.
    name: Option<String>,
    /// A signed `propose` of a client document.
    signed_proposal: Option<SignedEnvelope>,
    /// What the hash in the signed document stands for.
    label: Option<LabelText>,
    /// Your name for it, once.
    external_id: Option<String>,
}

/// Proposes or drafts a client
///
/// With `signed_proposal` the statement goes to the log, where the people who govern approve it. Without, a
/// draft is kept that a person proposes. The caller is a person, or a machine with the grant `request`.
#[utoipa::path(post, path = "/v1/clients", operation_id = "createClient", tag = "clients",
    request_body = NewClient,
    responses((status = 202, description = "Kept; status says what is still needed", body = Client)))]
pub(crate) async fn create(State(desk): State<Desk>, write: Write) -> Result<Response, Problem> {
    let new: NewClient = write.read()?;
    let signed = new.signed_proposal.as_ref().map(SignedEnvelope::read).transpose()?;
    let carried = signed.as_ref().map(|signed| {
        let labels = proposed(signed).and_then(|client| labels(&new, client));
        labels.map(|labels| signed.carried(labels))
    });
    let carried = carried.transpose()?;
    desk.once(&write, carried, draft(&desk, &write, &new, signed.as_ref())).await
}

/// The client that a statement proposes.
fn proposed(signed: &Signed) -> Result<&custody::document::Client, Problem> {
    match &signed.statement.body {
        Body::Propose(propose) => match &propose.document {
            Document::Client(client) => Ok(client),
            other => {
                let why = format!("sign a propose of a client, not of a {}", other.kind().word());
                Err(Problem::new(Code::StatementKind, why))
            }
        },
        other => Err(kind("propose", other)),
    }
}

fn labels(new: &NewClient, signed: &custody::document::Client) -> Result<Vec<custody::name::Label>, Problem> {
    let label = new.label.as_ref().map(|label| label.label(Some(signed.name), "label")).transpose()?;
    Ok(label.into_iter().collect())
}

async fn draft(
    desk: &Desk,
    write: &Write,
    new: &NewClient,
    signed: Option<&Signed>,
) -> Result<Effect, Problem> {
    let view = desk.view().await?;
    view.may(&write.caller, custody::document::Grant::Request)?;
    let now = desk.house.now();
    let missing = |field: &str| Problem::new(Code::BodyInvalid, format!("missing field `{field}`"));
    let (id, name, proposal) = match signed {
        Some(signed) => {
            let client = proposed(signed)?;
            if new.id.as_ref().is_some_and(|id| *id != client.id) {
                let why = format!("id is not {}, which was signed", client.id);
                return Err(Problem::new(Code::StatementMismatch, why));
            }
            if new.name.is_some() {
                let why = "name is for drafts; give the label that was signed";
                return Err(Problem::new(Code::BodyInvalid, why));
            }
            signed.admit(&view)?;
            let name = new.label.as_ref().map(LabelText::words);
            (client.id.clone(), name, Some(signed.envelope.id()))
        }
        None => {
            if new.label.is_some() {
                return Err(Problem::new(Code::BodyInvalid, "label goes with signed_proposal"));
            }
            let name = new.name.clone().ok_or_else(|| missing("name"))?;
            text("name", &name)?;
            (new.id.clone().ok_or_else(|| missing("id"))?, Some(name), None)
        }
    };
    let before = desk.books().record(RecordKind::Client, id.as_str()).await?;
    let drafted = before.as_ref().is_some_and(|record| record.change.state == "draft");
    let exists = if signed.is_some() {
        // A proposal may follow a draft, or another proposal that came to nothing.
        view.state.client(&id).is_some()
    } else {
        drafted || view.client(&id).is_some()
    };
    if exists {
        return Err(Problem::new(Code::ClientExists, format!("client {id} is there already")));
    }
    let named = external_id(new.external_id.as_deref())?;
    let kept = before.as_ref().and_then(|record| record.change.external_id.clone());
    let mut records = Vec::new();
    if let Some(named) = named.as_ref().filter(|named| kept.as_ref() != Some(named)) {
        records.push(reserve(Some(&id), named, &format!("client/{id}"), now));
    }
    let external_id = named.or(kept);
    let status = if proposal.is_some() { "proposed" } else { "draft" };
    let body = Draft { name: name.clone(), proposal, by: actor(&write.caller.owner) };
    records.push(RecordChange {
        kind: RecordKind::Client,
        id: id.to_string(),
        expect: before.map_or(0, |record| record.version),
        state: status.to_owned(),
        client: Some(id.clone()),
        external_id: external_id.clone(),
        at: now,
        body: serde_json::to_value(body).unwrap_or_default(),
    });
    let answer = Client {
        id: id.to_string(),
        status,
        name,
        version: None,
        since: None,
        proposal: proposal.map(|id| id.to_string()),
        external_id,
    };
    Effect::new(Posting { transfers: Vec::new(), records }, StatusCode::ACCEPTED, &answer)
}
