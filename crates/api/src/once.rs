//! Writes that happen once: the answer stands in the books, in the posting of what it answers.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use custody::Hash;
use custody::name::{Label, Name};
use custody::statement::Envelope;
use ledger::{CommitError, Posting, RecordChange, RecordKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::Write;
use crate::problem::{Code, Problem};
use crate::view::Desk;

/// How long a write whose effect is not in the books is left alone before it is done again, in seconds:
/// many times what it takes.
pub(crate) const IN_FLIGHT_S: u64 = 30;

/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What a write does, and how it is answered.
pub(crate) struct Effect {
    pub(crate) posting: Posting,
    pub(crate) status: StatusCode,
    pub(crate) answer: Value,
}

impl Effect {
    pub(crate) fn new(
        posting: Posting,
        status: StatusCode,
        answer: &impl Serialize,
    ) -> Result<Self, Problem> {
        let answer = serde_json::to_value(answer);
        let answer = answer.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        Ok(Self { posting, status, answer })
    }

    pub(crate) fn respond(self) -> Response {
        (self.status, Json(self.answer)).into_response()
    }
}

/// A statement that goes to the log once the posting is in the books.
#[derive(Clone)]
pub(crate) struct Carried {
    pub(crate) envelope: Envelope,
    pub(crate) labels: Vec<Label>,
}

/// What the books keep of an answered write.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// The hash of the body.
    body: Hash,
    status: u16,
    /// The answer, as it was sent.
    answer: String,
}

enum Found {
    /// The answer that was given.
    Answered(Response),
    /// Begun at this time, not answered; the version of its record.
    Begun(u64, u64),
}

fn record(id: &Hash, state: &str, expect: u64, at: u64, kept: &Remembered) -> RecordChange {
    RecordChange {
        kind: RecordKind::IdempotencyKey,
        id: id.to_string(),
        expect,
        state: state.to_owned(),
        client: None,
        external_id: None,
        at,
        body: serde_json::to_value(kept).unwrap_or_default(),
    }
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

impl Desk {
    async fn remembered(&self, id: &Hash, body: Hash) -> Result<Option<Found>, Problem> {
        let found = self.books().record(RecordKind::IdempotencyKey, &id.to_string()).await?;
        let Some(found) = found else { return Ok(None) };
        let kept: Remembered = serde_json::from_value(found.change.body)
            .map_err(|_| Problem::new(Code::Internal, "the answer that was kept cannot be read"))?;
        if kept.body != body {
            let why = "this key came with another body before";
            return Err(Problem::new(Code::IdempotencyMismatch, why));
        }
        if found.change.state == "begun" {
            return Ok(Some(Found::Begun(found.change.at, found.version)));
        }
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        let mut response = json(status, kept.answer);
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(Some(Found::Answered(response)))
    }

    /// Passes a statement on to the log, unless it is too old to come. One that is there is passed on only for
    /// its labels, however late: the house may have stopped before it kept them.
    async fn pass_on(&self, carried: Option<Carried>) -> Result<(), Problem> {
        let Some(Carried { envelope, labels }) = carried else { return Ok(()) };
        let view = self.view().await?;
        let state = &view.state;
        let Ok(statement) = envelope.unverified() else { return Ok(()) };
        let over = statement.not_after.is_some_and(|end| end < state.clock().time);
        // What is over the log forgets to have seen, but not what it asked for or proposed.
        let id = envelope.id();
        let there = state.requests().get(&id).is_some() || state.proposals().get(&id).is_some();
        let known = there || state.consumed(&id, statement.not_after);
        if (over && !known) || (known && labels.is_empty()) {
            return Ok(());
        }
        let passed = self.blocking(move |house| house.submit(&envelope, labels)).await?;
        passed.map_err(|why| Problem::new(Code::LogBusy, why))
    }

    /// Does something once for a key: the effect and the answer are one posting. What was refused changed
    /// nothing, and may be asked again with the same key. `carried` is sent to the log afterwards, and again
    /// with every repetition until the log has it, so that a stop in between loses nothing.
    pub(crate) async fn once(
        &self,
        write: &Write,
        carried: Option<Carried>,
        effect: impl Future<Output = Result<Effect, Problem>> + Send,
    ) -> Result<Response, Problem> {
        let (id, body) = (write.id()?, write.body_hash());
        // Nearly all keys are new: whether one came before is read when the books refuse it, or something else does.
        let response = match self.enter(&id, body, effect).await {
            Ok(Some(response)) => response,
            entered => match (self.remembered(&id, body).await?, entered) {
                (Some(Found::Answered(response)), _) => response,
                (_, Err(problem)) => return Err(problem),
                (_, Ok(_)) => return Err(Problem::new(Code::Internal, "the answer that was kept is gone")),
            },
        };
        self.pass_on(carried).await?;
        Ok(response)
    }

    /// Nothing where the very same entry is in the books already.
    async fn enter(
        &self,
        id: &Hash,
        body: Hash,
        effect: impl Future<Output = Result<Effect, Problem>> + Send,
    ) -> Result<Option<Response>, Problem> {
        let Effect { mut posting, status, answer } = effect.await?;
        let kept = Remembered { body, status: status.as_u16(), answer: answer.to_string() };
        posting.records.push(record(id, "answered", 0, self.house.now(), &kept));
        match self.books().commit(posting).await {
            Ok(committed) if committed.repeated => Ok(None),
            Ok(_) => Ok(Some(json(status, kept.answer))),
            Err(CommitError::Refused(refusal)) => Err(taken(&refusal).unwrap_or_else(|| refusal.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Desk::once`], for what happens outside of the books: the key is written down before and the answer
    /// after, also when the caller goes away meanwhile. When the server stops in between, it is done again, not
    /// left out.
    pub(crate) async fn once_outside(
        &self,
        write: &Write,
        effect: impl Future<Output = Result<Effect, Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let (id, body, now) = (write.id()?, write.body_hash(), self.house.now());
        let version = match self.remembered(&id, body).await? {
            Some(Found::Answered(response)) => return Ok(response),
            Some(Found::Begun(at, _)) if now <= at.saturating_add(IN_FLIGHT_S) => {
                return Err(Problem::new(Code::IdempotencyInFlight, "this key is being worked on"));
            }
            Some(Found::Begun(_, version)) => version,
            None => 0,
        };
        let begun = Remembered { body, status: 0, answer: String::new() };
        let begin = record(&id, "begun", version, now, &begun);
        match self.books().commit(Posting { transfers: Vec::new(), records: vec![begin] }).await {
            // The very same entry of another connection is no leave to do it twice.
            Ok(committed) if !committed.repeated => {}
            Ok(_) | Err(CommitError::Refused(_)) => {
                return Err(Problem::new(Code::IdempotencyInFlight, "this key is being worked on"));
            }
            Err(error) => return Err(error.into()),
        }
        let desk = self.clone();
        let rest = tokio::spawn(async move {
            let (kept, state, at, result) = match effect.await {
                Ok(Effect { posting: _, status, answer }) => {
                    let kept = Remembered { body, status: status.as_u16(), answer: answer.to_string() };
                    let response = json(status, kept.answer.clone());
                    (kept, "answered", desk.house.now(), Ok(response))
                }
                // Nothing happened: the key is free at once.
                Err(problem) => (begun, "begun", 0, Err(problem)),
            };
            let end = record(&id, state, version + 1, at, &kept);
            desk.books().commit(Posting { transfers: Vec::new(), records: vec![end] }).await?;
            result
        });
        rest.await.map_err(|_| Problem::new(Code::Internal, "a task of the server ended early"))?
    }
}

/// The house among the clients where ids are made of handles. No handle has a colon: a client may be called `own`.
pub(crate) const HOUSE: &str = "own:";

/// Keeps an external id for one thing of one client. Its record is written in the posting of that thing, so
/// of two that race for it one is refused.
pub(crate) fn reserve(client: Option<&Name>, external_id: &str, of: &str, at: u64) -> RecordChange {
    let owner = client.map_or(HOUSE, Name::as_str);
    let id = Hash::of("keyward/api/external-id/v1", format!("{owner} {external_id}").as_bytes());
    RecordChange {
        kind: RecordKind::IdempotencyKey,
        id: format!("{EXTERNAL}{id}"),
        expect: 0,
        state: "taken".to_owned(),
        client: client.cloned(),
        external_id: Some(external_id.to_owned()),
        at,
        body: serde_json::json!({ "of": of }),
    }
}

/// Begins the ids of records of external ids.
const EXTERNAL: &str = "external-id/";

/// The problem of an external id that is taken, if that is why a posting was refused.
fn taken(refusal: &ledger::Refusal) -> Option<Problem> {
    let key = match refusal {
        ledger::Refusal::Version { key, .. } => key,
        ledger::Refusal::Partly { known } => known,
        _ => return None,
    };
    let of_external_id = key.split_once(':').is_some_and(|(_, id)| id.starts_with(EXTERNAL));
    let why = "the client has another thing by this external id";
    of_external_id.then(|| Problem::new(Code::ExternalIdTaken, why))
}
