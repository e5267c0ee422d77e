//! Everything together: the routes, what surrounds each of them, and their description.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use custody::Hash;
use custody::state::{self, Owner};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use utoipa::OpenApi as _;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::SecurityScheme;
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, Required, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::house::{Caller, House};
use crate::input::KEY_LIMIT_BYTES;
use crate::problem::{Code, Problem, ProblemBody};
use crate::routes::{
    accounts, addresses, balances, clients, deposits, destinations, reconciliations, recovery, statement,
    status, transfers, withdrawals,
};
use crate::view::Desk;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The routes of `/v1`. Each request carries a [`Caller`] as an extension: whoever serves the connection sets
/// it.
pub fn router(house: Arc<dyn House>) -> Router {
    let desk = Desk::new(house);
    let (routes, _) = described().split_for_parts();
    let routes = routes
        .fallback(async || Problem::new(Code::PathUnknown, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodUnknown, "the path does not take this method")
        });
    let surround = Surround { desk: desk.clone(), count: Arc::default(), callers: Arc::default() };
    routes.layer(from_fn_with_state(surround, dress)).with_state(desk)
}

/// The OpenAPI 3.1 document, as it stands in `docs/openapi.json`.
pub fn openapi() -> String {
    let (_, mut document) = described().split_for_parts();
    complete(&mut document);
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Answers a request without HTTP, as its route does: status and body.
pub async fn answer(
    router: Router,
    caller: Caller,
    method: &str,
    path_and_query: &str,
    idempotency_key: Option<String>,
    body: Option<Vec<u8>>,
) -> (u16, Vec<u8>) {
    let refuse = |code: Code, why: &str| {
        let body = Problem::new(code, why).body("");
        (code.status(), serde_json::to_vec(&body).unwrap_or_default())
    };
    let Ok(method) = method.parse::<Method>() else {
        return refuse(Code::MethodUnknown, "that is no method");
    };
    let mut request = Request::builder().method(method).uri(path_and_query).extension(caller);
    if let Some(key) = idempotency_key {
        request = request.header("idempotency-key", key.as_bytes());
    }
    let Ok(request) = request.body(Body::from(body.unwrap_or_default())) else {
        return refuse(Code::QueryInvalid, "the path or the key holds characters that none may hold");
    };
    let Ok(response) = router.oneshot(request).await;
    let status = response.status().as_u16();
    match response.into_body().collect().await {
        Ok(body) => (status, body.to_bytes().to_vec()),
        Err(_) => refuse(Code::Internal, "the answer broke off"),
    }
}

fn described() -> OpenApiRouter<Desk> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(clients::list, clients::create))
        .routes(routes!(clients::get))
        .routes(routes!(accounts::list))
        .routes(routes!(statement::get))
        .routes(routes!(balances::list))
        .routes(routes!(addresses::list, addresses::create))
        .routes(routes!(addresses::get))
        .routes(routes!(addresses::retire))
        .routes(routes!(destinations::list, destinations::create))
        .routes(routes!(destinations::get))
        .routes(routes!(deposits::list))
        .routes(routes!(deposits::get))
        .routes(routes!(deposits::release))
        .routes(routes!(withdrawals::list, withdrawals::new::create))
        .routes(routes!(withdrawals::get))
        .routes(routes!(withdrawals::new::sign))
        .routes(routes!(withdrawals::cancel::create))
        .routes(routes!(withdrawals::renew::create))
        .routes(routes!(transfers::list, transfers::create))
        .routes(routes!(transfers::get))
        .routes(routes!(reconciliations::list, reconciliations::create))
        .routes(routes!(recovery::get))
        .routes(routes!(recovery::list, recovery::publish))
        .routes(routes!(status::get))
        .routes(routes!(served))
}

/// The description of this interface
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "getOpenapi", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn served() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], openapi()).into_response()
}

/// What the layer around all routes needs.
#[derive(Clone)]
struct Surround {
    desk: Desk,
    count: Arc<AtomicU64>,
    callers: Arc<Mutex<Callers>>,
}

/// Whose the keys are that were shown under one head of the log: finding out goes through all its documents.
#[derive(Default)]
struct Callers {
    height: u64,
    owners: BTreeMap<Hash, Owner>,
}

impl Callers {
    fn owner(&mut self, state: &state::State, tls: &Hash) -> Option<Owner> {
        let height = state.clock().height;
        if self.height != height {
            *self = Self { height, owners: BTreeMap::new() };
        }
        if let Some(known) = self.owners.get(tls) {
            return Some(known.clone());
        }
        let found = state.tls_owner(tls)?;
        self.owners.insert(*tls, found.clone());
        Some(found)
    }
}

/// Names the request, lets in who may come in, and writes problems down.
async fn dress(State(around): State<Surround>, request: Request, next: Next) -> Response {
    let theirs = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable =
        |id: &&str| !id.is_empty() && id.len() <= KEY_LIMIT_BYTES && id.bytes().all(|b| b.is_ascii_graphic());
    let id = theirs.filter(usable).map_or_else(|| around.new_id(), ToOwned::to_owned);
    let admitted = around.admit(request.extensions().get().cloned()).await;
    let mut response = match admitted.and_then(|()| without_zero_bytes(request.uri())) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let json = HeaderValue::from_static("application/problem+json");
        let headers = std::mem::take(response.headers_mut());
        let status = response.status();
        response = (status, Json(problem.body(&id))).into_response();
        response.headers_mut().extend(headers);
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// PostgreSQL keeps no zero byte in a text, and would take the question for its own failure.
fn without_zero_bytes(uri: &Uri) -> Result<(), Problem> {
    let why = "a zero byte is part of no id and no filter";
    let found = uri.path_and_query().is_some_and(|asked| asked.as_str().contains("%00"));
    if found { Err(Problem::new(Code::QueryInvalid, why)) } else { Ok(()) }
}

impl Surround {
    fn new_id(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let now = self.desk.house.now();
        // A start later in time has another time; within one process the count differs.
        let bytes = [now.to_be_bytes(), count.to_be_bytes()].concat();
        Hash::of("keyward/api/request-id/v1", &bytes).to_string().get(..16).unwrap_or_default().to_owned()
    }

    async fn admit(&self, caller: Option<Caller>) -> Result<(), Problem> {
        let unknown = |why: &str| Err(Problem::new(Code::CallerUnknown, why));
        let Some(Caller { owner, tls }) = caller else {
            return unknown("the connection shows no enrolled key");
        };
        if let Owner::Cosigner(name) = &owner {
            return Err(Problem::new(Code::CallerRole, format!("{name} is a co-signer")));
        }
        // A connection may outlive its key.
        let view = self.desk.view().await?;
        let found = self.callers.lock().unwrap_or_else(PoisonError::into_inner).owner(&view.state, &tls);
        match found {
            Some(found) if found == owner => Ok(()),
            _ => unknown("the key of the connection is not in force"),
        }
    }
}

/// What the document says beside the routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Keyward",
        description = "Clients, accounts, addresses, destinations, deposits, withdrawals and transfers of a \
            Keyward deployment, and its register of recovery components. Whoever calls is authenticated by a client certificate. Amounts are decimal strings of base \
            units; assets are CAIP-19, networks CAIP-2; times are RFC 3339 in UTC; errors are RFC 9457. Every write \
            but the publication of that register takes an idempotency key. What moves coins is a statement that a person or a machine signs: see \
            docs/api.md.",
    ),
    components(schemas(ProblemBody)),
    modifiers(&Certificate),
    security(("certificate" = [])),
    tags(
        (name = "clients", description = "Whose coins are held"),
        (name = "accounts", description = "Who has what"),
        (name = "addresses", description = "Which addresses are whose"),
        (name = "destinations", description = "Who may be paid"),
        (name = "deposits", description = "What arrived"),
        (name = "withdrawals", description = "What leaves"),
        (name = "transfers", description = "What moved in the books"),
        (name = "reconciliations", description = "Books against network"),
        (name = "recovery", description = "What there is to recover keys with"),
        (name = "server", description = "The server itself"),
    ),
)]
struct Document;

struct Certificate;

impl utoipa::Modify for Certificate {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = SecurityScheme::MutualTls {
            description: Some("A self-signed certificate of the enrolled Ed25519 key".to_owned()),
            deprecated: None,
            extensions: None,
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("certificate", scheme);
    }
}

/// Adds to each operation what all of them have: how it fails, and the idempotency key of a write.
fn complete(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.put, &mut item.post].into_iter().flatten() {
            let problem = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(problem)).build();
            let response = ResponseBuilder::new()
                .description("What went wrong; the codes are listed in docs/api.md")
                .content("application/problem+json", content);
            operation.responses.responses.insert("default".to_owned(), response.build().into());
        }
        for operation in [&mut item.put, &mut item.post].into_iter().flatten() {
            let id = operation.operation_id.as_deref().unwrap_or_default();
            // The one writes nothing, the other what names itself.
            if ["reconcile", "publishRecoveryEntries"].contains(&id) {
                continue;
            }
            // Trying a withdrawal, and asking what a cancel or a renewal must say, write nothing.
            let may_only_ask = ["createWithdrawal", "cancelWithdrawal", "renewWithdrawal"].contains(&id);
            let text = ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::String))
                .min_length(Some(1))
                .max_length(Some(KEY_LIMIT_BYTES));
            let key = ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(ParameterIn::Header)
                .required(if may_only_ask { Required::False } else { Required::True })
                .description(Some("Yours, new for each thing that is to be done; 1 to 128 printable ASCII"))
                .schema(Some(text));
            operation.parameters.get_or_insert_default().push(key.build().into());
        }
    }
}
