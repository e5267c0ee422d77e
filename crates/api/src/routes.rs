//! The resources.

pub(crate) mod accounts;
pub(crate) mod addresses;
pub(crate) mod balances;
pub(crate) mod clients;
pub(crate) mod deposits;
pub(crate) mod destinations;
pub(crate) mod reconciliations;
pub(crate) mod recovery;
pub(crate) mod statement;
pub(crate) mod status;
pub(crate) mod transfers;
pub(crate) mod withdrawals;

use custody::name::Name;
use ledger::{Record, RecordFilter};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::page::{PAGE_LIMIT, SCAN_LIMIT};
use crate::problem::{Code, Problem};
use crate::view::Desk;

/// Whose a single thing must be.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfClient {
    /// Answers 404 unless it belongs to this client: for programs that act for one client.
    #[param(value_type = Option<String>)]
    client: Option<Name>,
}

impl OfClient {
    /// Whether it may be shown.
    pub(crate) fn admits(&self, client: Option<&Name>) -> bool {
        self.client.as_ref().is_none_or(|asked| Some(asked) == client)
    }
}

/// A handle out of a path.
pub(crate) fn handle(what: &str, text: &str) -> Result<Name, Problem> {
    let why = || Problem::new(Code::QueryInvalid, format!("{text:?} is no handle of a {what}"));
    Name::new(text).ok_or_else(why)
}

/// Finds nothing where the record cannot be read; says so.
pub(crate) fn unreadable(what: &str, id: &str) -> Problem {
    Problem::new(Code::Internal, format!("{what} {id} in the books cannot be read by this release"))
}

/// Records that the books select, opened up to a position, of those that pass; and where to go on: behind the
/// last one. `limit` only ends the page; what it costs is bounded by [`SCAN_LIMIT`], whatever the limit.
pub(crate) async fn scan(
    desk: &Desk,
    filter: &RecordFilter,
    mut after: Option<u64>,
    until: u64,
    limit: usize,
    pass: impl Fn(&Record) -> bool,
) -> Result<(Vec<Record>, Option<u64>), Problem> {
    let mut found = Vec::new();
    let mut looked = 0;
    loop {
        let page = desk.books().records(filter, after, PAGE_LIMIT).await?;
        looked += page.items.len();
        for record in page.items {
            if record.opened > until {
                return Ok((found, None));
            }
            after = Some(record.opened);
            found.extend(pass(&record).then_some(record));
            if found.len() == limit {
                return Ok((found, after));
            }
        }
        if page.next.is_none() {
            return Ok((found, None));
        }
        if looked >= SCAN_LIMIT {
            return Ok((found, after));
        }
    }
}
