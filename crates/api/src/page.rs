//! Lists in parts: a limit, and a cursor that only the same list with the same filters takes back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use custody::{Hash, canon};
use ledger::{Books, Moment};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Code, Problem};

/// Items of a page when the caller names no limit.
pub const PAGE_DEFAULT: usize = 50;

/// Most items of a page: some hundred kilobytes of what is usual. 200 withdrawals of 32 outputs each are nearly two
/// megabytes, which is more than a frame of `wire` carries: ask for fewer of those there.
pub const PAGE_LIMIT: usize = 200;

/// Most items that are looked at for one page when a filter is not one of the books': a page that ends here
/// has fewer items than its limit, and a cursor.
pub(crate) const SCAN_LIMIT: usize = 2_000;

/// A part of a list, in a stable order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageOf<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The cursor of the next part; `null` at the end. A page may have fewer items than its limit and a
    /// cursor all the same.
    pub(crate) next: Option<String>,
}

/// A list with its filters: what a cursor is for.
pub(crate) struct List {
    tag: String,
    pub(crate) limit: usize,
}

impl List {
    /// `filters` is everything but limit and cursor.
    pub(crate) fn new(name: &str, filters: &impl Serialize, limit: Option<u64>) -> Result<Self, Problem> {
        let limit = limit.map_or(Ok(PAGE_DEFAULT), |limit| {
            let within = usize::try_from(limit).ok().filter(|limit| (1..=PAGE_LIMIT).contains(limit));
            let why = format!("limit is {limit}: ask for 1 to {PAGE_LIMIT}");
            within.ok_or_else(|| Problem::new(Code::QueryInvalid, why))
        })?;
        let hash = Hash::of("keyward/api/list/v1", &canon::encode(&(name, filters)).unwrap_or_default());
        let tag = hash.to_string().get(..16).unwrap_or_default().to_owned();
        Ok(Self { tag, limit })
    }

    /// Where a cursor stands.
    pub(crate) fn after<T: for<'a> Deserialize<'a>>(
        &self,
        cursor: Option<&str>,
    ) -> Result<Option<T>, Problem> {
        let Some(cursor) = cursor else { return Ok(None) };
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let (tag, value): (String, T) = serde_json::from_slice(&bytes).ok()?;
            (tag == self.tag).then_some(value)
        };
        let why = "the cursor is of another list, or of other filters";
        read().map(Some).ok_or_else(|| Problem::new(Code::CursorInvalid, why))
    }

    /// The cursor behind a place.
    pub(crate) fn cursor(&self, place: &impl Serialize) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(&self.tag, place)).unwrap_or_default())
    }

    pub(crate) fn page<T>(&self, items: Vec<T>, next: Option<impl Serialize>) -> PageOf<T> {
        PageOf { items, next: next.map(|place| self.cursor(&place)) }
    }
}

/// The position of the last entry that was in the books at the end of this second: positions are in the order
/// of time, so a span of time is a span of positions.
pub(crate) async fn position_at(books: &Books, time: u64) -> Result<u64, Problem> {
    let Some(newest) = books.newest().await? else { return Ok(0) };
    let (mut low, mut high, mut last) = (1, newest.seq, 0);
    while low <= high {
        let middle = low + (high - low) / 2;
        match books.batches(middle, 1).await?.first() {
            Some(batch) if batch.time <= time => (low, last) = (middle + 1, batch.last),
            _ => high = middle - 1,
        }
    }
    Ok(last)
}

/// A span of positions: after the first, up to the second.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) after: Option<u64>,
    pub(crate) until: u64,
}

impl Span {
    /// From the beginning of one second to the end of another.
    pub(crate) async fn of(books: &Books, from: Option<&str>, to: Option<&str>) -> Result<Self, Problem> {
        let after = match from.map(|text| instant("from", text)).transpose()? {
            Some(from) if from > 0 => Some(position_at(books, from - 1).await?),
            _ => None,
        };
        let until = match to.map(|text| instant("to", text)).transpose()? {
            Some(to) => position_at(books, to).await?,
            None => u64::MAX,
        };
        Ok(Self { after, until })
    }

    /// Where a page begins.
    pub(crate) fn start(&self, cursor: Option<u64>) -> Option<u64> {
        self.after.max(cursor)
    }
}

/// A time out of a query.
pub(crate) fn instant(what: &str, text: &str) -> Result<u64, Problem> {
    let why = format!("{what} is {text:?}, which is no time");
    crate::time::parse(text).ok_or_else(|| Problem::new(Code::TimeInvalid, why))
}

/// The moment that `as_of` names.
pub(crate) fn moment(as_of: Option<&str>) -> Result<Option<Moment>, Problem> {
    Ok(as_of.map(|text| instant("as_of", text)).transpose()?.map(Moment::Time))
}
