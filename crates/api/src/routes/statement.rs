//! Statements: what moved in one account, line by line.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ledger::{Account, Line, Side};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::csv;
use crate::input::{Parameters, Path};
use crate::page::{List, PageOf, Span};
use crate::problem::{Code, Problem};
use crate::time::rfc3339;
use crate::view::Desk;

/// The cursor of the next part of a statement in CSV.
const NEXT: HeaderName = HeaderName::from_static("x-next-cursor");

/// The first line of a statement in CSV: the names of its columns.
const COLUMNS: [&str; 10] = [
    "time",
    "position",
    "transfer",
    "kind",
    "code",
    "side",
    "amount",
    "balance",
    "available",
    "counterparty",
];

/// A transfer as one account sees it. Amounts are base units.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatementLine {
    /// Its place in the books.
    position: u64,
    /// When it was entered.
    #[schema(example = "2026-01-31T08:00:00Z")]
    time: String,
    /// The id of the transfer.
    transfer: String,
    /// `posted`, `pending`, `post`, `void`, `expire`.
    kind: String,
    /// What it is for: `deposit`, `withdrawal`, `network-fee`, …
    code: String,
    /// `credit` when the account receives, `debit` when it gives.
    side: &'static str,
    /// Moved, reserved or released.
    amount: String,
    /// The balance after it.
    balance: String,
    /// The balance less what is reserved, after it.
    available: String,
    /// The owner on the other side.
    counterparty: String,
}

impl StatementLine {
    fn new(line: &Line) -> Self {
        let (side, other) = match line.side {
            Side::Debit => ("debit", &line.transfer.credit),
            Side::Credit => ("credit", &line.transfer.debit),
        };
        Self {
            position: line.place.position,
            time: rfc3339(line.place.time),
            transfer: line.transfer.id.to_string(),
            kind: line.transfer.kind.as_str().to_owned(),
            code: line.transfer.code.as_str().to_owned(),
            side,
            amount: line.transfer.amount.to_string(),
            balance: line.balance().to_string(),
            available: line.totals.available().to_string(),
            counterparty: other.owner.to_string(),
        }
    }

    fn csv(&self) -> String {
        let Self { position, time, transfer, kind, code, side, amount, balance, available, counterparty } =
            self;
        let position = position.to_string();
        let fields: [&str; 10] =
            [time, &position, transfer, kind, code, side, amount, balance, available, counterparty];
        csv::line(fields)
    }
}

/// Which lines, and how.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// From the beginning of this second on (RFC 3339, UTC).
    from: Option<String>,
    /// Up to the end of this second.
    to: Option<String>,
    /// `json` or `csv`; the header `Accept: text/csv` does the same.
    #[param(example = "csv")]
    format: Option<String>,
    /// Most items, 1 to 200; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before, or in CSV its header X-Next-Cursor.
    cursor: Option<String>,
}

/// The statement of an account
///
/// Every transfer that names the account, the oldest first, each with the balance after it.
#[utoipa::path(get, path = "/v1/accounts/{owner}/{wallet}/{chain}/{token}/statement",
    operation_id = "getStatement", tag = "accounts",
    params(
        ("owner" = String, Path, description = "As in the account: `client:` and a handle, `own`, `fees`, `suspense`, `in-transit`, `external`"),
        ("wallet" = String, Path, description = "The wallet"),
        ("chain" = String, Path, description = "The part of the asset before its slash (CAIP-2)"),
        ("token" = String, Path, description = "The part of the asset behind its slash"),
        Filter,
    ),
    responses((status = 200, description = "A page of lines", content(
        (PageOf<StatementLine> = "application/json"),
        (String = "text/csv"),
    ))))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    Path((owner, wallet, chain, token)): Path<(String, String, String, String)>,
    Parameters(query): Parameters<Filter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let account: Account = format!("{owner}/{wallet}/{chain}/{token}").parse().map_err(
        |error: ledger::account::AccountError| Problem::new(Code::QueryInvalid, error.to_string()),
    )?;
    let Filter { from, to, format, limit, cursor } = &query;
    let csv = match format.as_deref() {
        Some("csv") => true,
        Some("json") => false,
        Some(other) => {
            return Err(Problem::new(Code::QueryInvalid, format!("format is {other:?}: json or csv")));
        }
        None => headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/csv")),
    };
    let list = List::new("statement", &(&account, from, to), *limit)?;
    let span = Span::of(desk.books(), from.as_deref(), to.as_deref()).await?;
    let after = span.start(list.after(cursor.as_deref())?);
    let page = desk.books().lines(&account, after, list.limit).await?;
    let within: Vec<_> = page.items.iter().filter(|line| line.place.position <= span.until).collect();
    let next = page.next.filter(|_| within.len() == page.items.len());
    let lines: Vec<_> = within.into_iter().map(StatementLine::new).collect();
    if !csv {
        return Ok(Json(list.page(lines, next)).into_response());
    }
    let first = csv::line(COLUMNS);
    let text = lines.iter().fold(first, |text, line| text + &line.csv());
    let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    let mut response = ([(header::CONTENT_TYPE, kind)], text).into_response();
    let next = next.and_then(|next| HeaderValue::from_str(&list.cursor(&next)).ok());
    response.headers_mut().extend(next.map(|next| (NEXT, next)));
    Ok(response)
}
