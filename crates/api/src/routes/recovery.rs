//! The register of recovery components, as people published it.

use axum::Json;
use axum::extract::State;
use custody::canon;
use custody::state::Owner;
use ledger::{RecordFilter, RecordKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::transfers::Nothing;
use crate::house::{NotTaken, Recovery};
use crate::input::{Large, Parameters};
use crate::page::{List, PageOf};
use crate::problem::{Code, Problem};
use crate::view::Desk;

/// Most entries that are taken at once: they are one posting of the books, which has room for 256.
pub const ENTRIES_LIMIT: usize = 100;

/// Largest body with entries, in bytes: the longest entry has 65,536.
pub const ENTRIES_BODY_LIMIT_BYTES: usize = 128 * 1024;

/// A page of entries ends with the one that makes it longer than this, in bytes: with another entry of 65,536 it fits a
/// frame of `wire` (2 MiB) in base64.
pub const ENTRIES_PAGE_BYTES: usize = 1024 * 1024;

impl From<NotTaken> for Problem {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Other { number, here, sent } => {
                let why = format!("entry {number} is {here} here, and {sent} was sent");
                Self::new(Code::RecoveryFork, why)
            }
            NotTaken::Gap(size) => {
                let next = size.saturating_add(1);
                Self::new(Code::RecoveryGap, format!("{size} entries are here: send from number {next} on"))
            }
            NotTaken::Refused(why) => Self::new(Code::RecoveryRefused, why),
            NotTaken::Unreadable(why) => Self::new(Code::RecoveryUnreadable, why),
            NotTaken::Books(error) => error.into(),
        }
    }
}

/// The register of recovery components
///
/// How many entries people published, and how everything stands now that they ask for.
#[utoipa::path(get, path = "/v1/recovery", operation_id = "getRecovery", tag = "recovery",
    responses((status = 200, description = "The register", body = Recovery)))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Recovery>, Problem> {
    Ok(Json(desk.blocking(|house| house.recovery()).await??))
}

/// Which part of the register.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists the entries of the register
///
/// In order. The canonical JSON of an item (RFC 8785) is a line of `recovery.jsonl`; whoever has the keys of the log
/// verifies them all.
#[utoipa::path(get, path = "/v1/recovery/entries", operation_id = "listRecoveryEntries", tag = "recovery",
    params(Part), responses((status = 200, description = "A page of entries", body = PageOf<Object>)))]
pub(crate) async fn list(
    State(desk): State<Desk>,
    Parameters(Part { limit, cursor }): Parameters<Part>,
) -> Result<Json<PageOf<Value>>, Problem> {
    let list = List::new("recovery-entries", &(), limit)?;
    let filter =
        RecordFilter { kind: RecordKind::RecoveryEntry, client: None, state: None, external_id: None };
    let after = list.after(cursor.as_deref())?;
    let (records, mut next) = super::scan(&desk, &filter, after, u64::MAX, list.limit, |_| true).await?;
    let (count, mut bytes) = (records.len(), 0);
    let mut items = Vec::new();
    for record in records {
        bytes += canon::encode(&record.change.body).unwrap_or_default().len();
        items.push(record.change.body);
        if bytes > ENTRIES_PAGE_BYTES && items.len() < count {
            next = Some(record.opened);
            break;
        }
    }
    Ok(Json(list.page(items, next)))
}

/// The next entries.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entries {
    /// As they stand in the lines of `recovery.jsonl`, in order: 1 to 100.
    #[schema(value_type = Vec<Object>, min_items = 1, max_items = 100)]
    entries: Vec<Value>,
}

/// What is in the books now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Published {
    /// How many entries there are.
    entries: u64,
    /// The hash of the last one, 64 hex digits.
    head: String,
}

/// Publishes entries of the register
///
/// People only; entries may be of others, who signed them. Each must follow from what is there: nothing is ever changed or
/// left out. What is there already is passed over, so the same may be sent again, and takes no idempotency key. Bodies
/// have at most 131,072 bytes here.
#[utoipa::path(post, path = "/v1/recovery/entries", operation_id = "publishRecoveryEntries", tag = "recovery",
    request_body = Entries,
    responses((status = 200, description = "What is there now", body = Published)))]
pub(crate) async fn publish(
    State(desk): State<Desk>,
    Large(write): Large<ENTRIES_BODY_LIMIT_BYTES>,
) -> Result<Json<Published>, Problem> {
    if !matches!(write.caller.owner, Owner::Person(_)) {
        return Err(Problem::new(Code::CallerPerson, format!("{} is no person", write.caller.owner)));
    }
    let Entries { entries } = write.read()?;
    if !(1..=ENTRIES_LIMIT).contains(&entries.len()) {
        let why = format!("{} entries were sent: send 1 to {ENTRIES_LIMIT} at once", entries.len());
        return Err(Problem::new(Code::BodyInvalid, why));
    }
    let now = desk.blocking(move |house| house.publish(&entries)).await??;
    Ok(Json(Published { entries: now.entries, head: now.head.to_string() }))
}
