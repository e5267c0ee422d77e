//! Questions to the REST interface over the session's own connection, and what its problems mean here.

use approver::{harmless, plain};
use custody::Hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::Again;
use crate::failure::{Class, Failure, Result};
use crate::home::{read_json, write_json};
use crate::secret::nonce;
use crate::session::Session;

/// Most items of a list that are fetched: what one sheet of a spreadsheet holds.
const ITEMS_LIMIT: usize = 1_000_000;

/// Most pages of a list: with filters that the books do not have a page may be empty, and not the last.
const PAGES_LIMIT: usize = 50_000;

/// How many items are asked for at once: as many withdrawals, each with the longest timeline, fit a frame.
const PAGE: &str = "50";

/// Digits of a key that this program makes: 128 bits, which nobody uses twice.
const KEY_DIGITS: usize = 32;

/// A problem as the interface describes it (RFC 9457).
#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    next_step: String,
    retryable: bool,
    rule: Option<String>,
    available: Option<String>,
    request_id: String,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    next: Option<String>,
}

/// A path with its query.
pub(crate) fn path(path: &str, query: &[(&str, Option<String>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let query: Vec<String> = given.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Percent-encoded, so that it is one part of a path or a query (RFC 3986 §2.3).
pub(crate) fn escape(text: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Asks for one thing.
pub(crate) fn get(session: &mut Session<'_>, path: &str) -> Result<Value> {
    let (status, body) = session.api("GET", path, None, None)?;
    answer(status, &body)
}

/// Asks for something that changes nothing, with a body.
pub(crate) fn post(session: &mut Session<'_>, path: &str, body: &[u8]) -> Result<Value> {
    let (status, body) = session.api("POST", path, Some(body), None)?;
    answer(status, &body)
}

/// Asks for all pages of a list.
pub(crate) fn list(
    session: &mut Session<'_>,
    at: &str,
    query: &[(&str, Option<String>)],
) -> Result<Vec<Value>> {
    let fetch = |cursor: Option<&str>| {
        let mut query = query.to_vec();
        query.extend([("limit", Some(PAGE.to_owned())), ("cursor", cursor.map(str::to_owned))]);
        decode(get(session, &path(at, &query))?)
    };
    gather(fetch, ITEMS_LIMIT, PAGES_LIMIT)
}

fn gather(
    mut fetch: impl FnMut(Option<&str>) -> Result<Page>,
    items_limit: usize,
    pages_limit: usize,
) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..pages_limit {
        let page = fetch(cursor.as_deref())?;
        all.extend(page.items);
        if all.len() > items_limit {
            break;
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
    let what = format!("the list goes on after {items_limit} items or {pages_limit} pages");
    Err(Failure::usage(what, "ask for fewer: name a client or a span of time"))
}

/// What the answer says, in the form that is needed.
pub(crate) fn decode<T: DeserializeOwned>(value: Value) -> Result<T> {
    let next = "is the server of the same version?";
    serde_json::from_value(value)
        .map_err(|e| Failure::new(Class::Unverified, format!("the answer: {e}"), next))
}

fn answer(status: u16, body: &[u8]) -> Result<Value> {
    if (200..300).contains(&status) {
        return wire::decode(body).map_err(|e| {
            Failure::new(Class::Unverified, format!("the answer: {e}"), "is the server of the same version?")
        });
    }
    let problem: Problem = wire::decode(body).unwrap_or_default();
    Err(problem.failure(status))
}

impl Problem {
    fn failure(&self, status: u16) -> Failure {
        let class = match status {
            _ if self.retryable => Class::Unreachable,
            400 | 404 | 405 | 413 => Class::Usage,
            401..500 => Class::Refused,
            _ => Class::Unreachable,
        };
        let mut what = if self.code.is_empty() {
            format!("the server answers with the status {status}")
        } else {
            format!("{} ({})", self.detail, self.code)
        };
        if let Some(rule) = &self.rule {
            what.push_str(&format!("\nrule {rule}"));
        }
        if let Some(available) = &self.available {
            what.push_str(&format!("\navailable {}", super::table::amount(available)));
        }
        if class == Class::Unreachable && !self.request_id.is_empty() {
            what.push_str(&format!("\nrequest {}", plain(&self.request_id)));
        }
        let next = if self.next_step.is_empty() { "look at the server" } else { &self.next_step };
        Failure::new(class, what, harmless(next))
    }
}

/// A write that is done once, however often it is sent.
pub(crate) struct Write {
    key: String,
}

/// What was sent and has not been answered yet: a signed request cannot be made again as it was.
#[derive(Serialize, Deserialize)]
struct Unanswered {
    /// What the command asked for.
    asked: Value,
    /// The body that was sent.
    body: String,
}

impl Write {
    pub(crate) fn new(again: &Again) -> Self {
        let random = || nonce().to_string().chars().take(KEY_DIGITS).collect();
        Self { key: again.idempotency_key.clone().unwrap_or_else(random) }
    }

    /// Sends something whose bytes are always the same.
    pub(crate) fn send(
        &self,
        session: &mut Session<'_>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value> {
        self.deliver(session, method, path, body.to_string().as_bytes())
    }

    /// Sends what `make` signs, once. When nobody answers, it is kept, and the command with the same key sends
    /// the same again: signed anew it would be another request.
    pub(crate) fn send_signed(
        &self,
        session: &mut Session<'_>,
        (method, path): (&str, &str),
        asked: &Value,
        make: impl FnOnce(&mut Session<'_>) -> Result<Value>,
    ) -> Result<Value> {
        let kept = session.home.path("unanswered").join(Hash::sha256(self.key.as_bytes()).to_string());
        let body = if kept.exists() {
            let before: Unanswered = read_json(&kept)?;
            if before.asked != *asked {
                let next = "repeat the command exactly, or leave --idempotency-key out";
                return Err(Failure::usage("something else was sent under this key", next));
            }
            eprintln!("sends again what was signed before");
            before.body
        } else {
            let body = make(session)?.to_string();
            write_json(&kept, &Unanswered { asked: asked.clone(), body: body.clone() })?;
            body
        };
        let answer = self.deliver(session, method, path, body.as_bytes());
        if answer.as_ref().err().is_none_or(|failure| !is_open(failure)) {
            std::fs::remove_file(&kept).map_err(|e| Failure::file(&kept, e))?;
        }
        answer
    }

    fn deliver(&self, session: &mut Session<'_>, method: &str, path: &str, body: &[u8]) -> Result<Value> {
        let sent = session.api(method, path, Some(body), Some(&self.key));
        let answer = sent.and_then(|(status, body)| answer(status, &body));
        answer.map_err(|failure| match is_open(&failure) {
            true => failure.and(format!(
                "it may have been done: repeat the command with --idempotency-key {}, then it is done once",
                plain(&self.key)
            )),
            false => failure,
        })
    }
}

/// Whether a write may have been done all the same.
fn is_open(failure: &Failure) -> bool {
    matches!(failure.class, Class::Unreachable | Class::TimedOut | Class::Unverified | Class::System)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, body: &str) -> Failure {
        answer(status, body.as_bytes()).unwrap_err()
    }

    #[test]
    fn problems_become_classes_with_their_words() {
        let overdraft = r#"{"code":"ledger.overdraft","detail":"cat has less","retryable":false,
            "next_step":"ask for less","available":"1500","status":422,"type":"urn:x","new":{}}"#;
        let failure = problem(422, overdraft);
        assert_eq!(failure.class, Class::Refused);
        let said = failure.to_string();
        assert!(said.contains("cat has less (ledger.overdraft)"), "{said}");
        assert!(said.contains("available 1,500 sat (0.00001500 BTC)"), "{said}");
        assert!(said.ends_with("next: ask for less"), "{said}");
        let busy = r#"{"code":"books.unavailable","detail":"x","retryable":true,"request_id":"r-1"}"#;
        let failure = problem(503, busy);
        assert!(failure.class == Class::Unreachable && failure.to_string().contains("request r-1"));
        assert_eq!(problem(404, r#"{"code":"resource.unknown"}"#).class, Class::Usage);
        assert_eq!(problem(403, r#"{"code":"caller.person"}"#).class, Class::Refused);
        // What is no problem document is none.
        for (status, class) in [(404, Class::Usage), (409, Class::Refused), (502, Class::Unreachable)] {
            let failure = problem(status, "<html>");
            assert!(failure.class == class && failure.to_string().contains(&status.to_string()));
        }
        let evil = problem(409, r#"{"code":"a","detail":"\u001b[2J","next_step":"\u001b]0;"}"#).to_string();
        assert!(!evil.contains('\u{1b}'), "{evil}");
    }

    #[test]
    fn answers_that_two_readers_could_understand_differently_are_refused() {
        assert_eq!(answer(200, br#"{"a":"1"}"#).unwrap()["a"], "1");
        for bad in [r#"{"a":"1","a":"2"}"#, "", "{", "{} {}"] {
            assert_eq!(answer(200, bad.as_bytes()).unwrap_err().class, Class::Unverified, "{bad}");
        }
    }

    /// A server may lie: no list goes on for ever.
    #[test]
    fn a_list_ends_at_its_limits() {
        // Pages of two items, the last one without a cursor.
        let gathered = |pages: usize, items_limit, pages_limit| {
            let mut fetched = 0;
            let fetch = |cursor: Option<&str>| {
                assert_eq!(cursor, (fetched > 0).then(|| fetched.to_string()).as_deref());
                fetched += 1;
                let next = (fetched < pages).then(|| fetched.to_string());
                Ok(Page { items: vec![Value::Null; 2], next })
            };
            gather(fetch, items_limit, pages_limit).map(|all| all.len()).map_err(|failure| failure.class)
        };
        assert_eq!(gathered(3, 6, 3), Ok(6));
        assert_eq!(gathered(3, 5, 3), Err(Class::Usage));
        assert_eq!(gathered(3, 6, 2), Err(Class::Usage));
        let endless = |_: Option<&str>| Ok(Page { items: Vec::new(), next: Some("x".into()) });
        assert_eq!(gather(endless, 1, 10).unwrap_err().class, Class::Usage);
    }

    #[test]
    fn what_stands_in_a_query_stays_in_its_place() {
        let query =
            [("client", Some("a&b=c/d é".to_owned())), ("wallet", None), ("limit", Some("1".to_owned()))];
        assert_eq!(path("/v1/x", &query), "/v1/x?client=a%26b%3Dc%2Fd%20%C3%A9&limit=1");
        assert_eq!(path("/v1/x", &[("wallet", None)]), "/v1/x");
    }
}
