//! What comes in: callers, queries, paths, bodies, keys. Everything that is not understood is refused by name.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use custody::{Hash, canon};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::house::Caller;
use crate::problem::{Code, Problem};

/// Largest body in bytes: a signed request with 32 outputs takes a tenth of it.
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Deepest nesting of a body: what is documented nests four deep.
pub const DEPTH_LIMIT: usize = 16;

/// Longest idempotency key in bytes.
pub const KEY_LIMIT_BYTES: usize = 128;

/// Longest external id in bytes: with a client's handle it is part of a transfer's id.
pub(crate) const EXTERNAL_ID_LIMIT_BYTES: usize = 64;

/// Longest free text in bytes.
pub(crate) const TEXT_LIMIT_BYTES: usize = 500;

fn is_graphic(text: &str, limit: usize) -> bool {
    !text.is_empty() && text.len() <= limit && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The caller, as the connection knows it.
pub(crate) fn caller(parts: &Parts) -> Result<Caller, Problem> {
    let caller = parts.extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| Problem::new(Code::CallerUnknown, "the connection shows no enrolled key"))
}

/// The parameters of a query.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::try_from_uri(&parts.uri);
        read.map(|axum::extract::Query(query)| Self(query)).map_err(|error| {
            let why = error.body_text();
            let unknown = why.contains("unknown field");
            Problem::new(if unknown { Code::QueryUnknownField } else { Code::QueryInvalid }, why)
        })
    }
}

/// The parts of a path.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        let bad = |error: axum::extract::rejection::PathRejection| {
            Problem::new(Code::QueryInvalid, error.body_text())
        };
        read.map(|axum::extract::Path(path)| Self(path)).map_err(bad)
    }
}

/// A request that may change something: who asks for what, by which key.
pub(crate) struct Write {
    pub(crate) caller: Caller,
    path: String,
    key: Option<String>,
    body: Vec<u8>,
}

impl<S: Sync> FromRequest<S> for Write {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Self::within(request, BODY_LIMIT_BYTES).await
    }
}

/// A [`Write`] whose body may have `LIMIT` bytes.
pub(crate) struct Large<const LIMIT: usize>(pub(crate) Write);

impl<S: Sync, const LIMIT: usize> FromRequest<S> for Large<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Write::within(request, LIMIT).await.map(Self)
    }
}

async fn bytes(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let why = format!("the body is over {limit} bytes");
            Err(Problem::new(Code::BodyTooLarge, why))
        }
        Err(_) => Err(Problem::new(Code::BodyNotJson, "the body broke off")),
    }
}

impl Write {
    async fn within(request: Request, limit: usize) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let path = format!("{} {}", parts.method, parts.uri.path());
        if let Some(query) = parts.uri.query() {
            let why = format!("a write takes no parameters, but ?{query} was sent");
            return Err(Problem::new(Code::QueryUnknownField, why));
        }
        let key = match parts.headers.get("idempotency-key") {
            Some(key) => {
                let key = key.to_str().ok().filter(|key| is_graphic(key, KEY_LIMIT_BYTES));
                let why = "the header Idempotency-Key is not 1 to 128 printable ASCII characters";
                Some(key.ok_or_else(|| Problem::new(Code::IdempotencyInvalid, why))?.to_owned())
            }
            None => None,
        };
        Ok(Self { caller: caller(&parts)?, path, key, body: bytes(body, limit).await? })
    }

    /// The body. Nothing at all stands for an object without fields.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = if self.body.is_empty() { b"{}".as_slice() } else { &self.body };
        if depth(body) > DEPTH_LIMIT {
            let why = format!("the body is nested over {DEPTH_LIMIT} deep");
            return Err(Problem::new(Code::BodyTooDeep, why));
        }
        serde_json::from_slice(body).map_err(|error| {
            let why = error.to_string();
            let code = match error.classify() {
                serde_json::error::Category::Data if why.contains("unknown field") => Code::BodyUnknownField,
                serde_json::error::Category::Data => Code::BodyInvalid,
                _ => Code::BodyNotJson,
            };
            Problem::new(code, why)
        })
    }

    /// What names this write for ever: the caller, method and path, and the caller's key.
    pub(crate) fn id(&self) -> Result<Hash, Problem> {
        let missing =
            || Problem::new(Code::IdempotencyMissing, format!("{} came without Idempotency-Key", self.path));
        let key = self.key.as_ref().ok_or_else(missing)?;
        let bytes = canon::encode(&(&self.caller.owner, &self.path, key)).unwrap_or_default();
        Ok(Hash::of("keyward/api/idempotency/v1", &bytes))
    }

    /// The hash of the body as it was sent.
    pub(crate) fn body_hash(&self) -> Hash {
        Hash::of("keyward/api/body/v1", &self.body)
    }
}

/// The deepest nesting of JSON, without reading it: what the parser would recurse into.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut text, mut escaped) = (0usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'{' | b'[' if !text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// An external id.
pub(crate) fn external_id(text: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let why = format!("external_id is not 1 to {EXTERNAL_ID_LIMIT_BYTES} printable ASCII characters");
    let fits = is_graphic(text, EXTERNAL_ID_LIMIT_BYTES).then(|| text.to_owned());
    fits.map(Some).ok_or_else(|| Problem::new(Code::ExternalIdInvalid, why))
}

/// A text for people, of one line.
pub(crate) fn text(what: &str, text: &str) -> Result<(), Problem> {
    let fits =
        !text.trim().is_empty() && text.len() <= TEXT_LIMIT_BYTES && !text.chars().any(char::is_control);
    let why = || format!("{what} is empty, over {TEXT_LIMIT_BYTES} bytes, or has control characters");
    if fits { Ok(()) } else { Err(Problem::new(Code::TextInvalid, why())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_what_is_open() {
        for (json, expected) in [
            ("", 0),
            ("1", 0),
            ("{}", 1),
            (r#"{"a":[{}],"b":[]}"#, 3),
            (r#"{"a":"[[[[{{{{","b":"\"[[["}"#, 1),
            (r#"["\\",[1]]"#, 2),
            ("]]]][[", 2),
        ] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn external_ids_on_both_sides_of_the_limit() {
        assert_eq!(external_id(None), Ok(None));
        let longest = "x".repeat(EXTERNAL_ID_LIMIT_BYTES);
        assert_eq!(external_id(Some(&longest)), Ok(Some(longest.clone())));
        for bad in ["", "a b", "ä", "a\n", &format!("{longest}x")] {
            assert_eq!(external_id(Some(bad)).unwrap_err().code, Code::ExternalIdInvalid, "{bad}");
        }
    }

    #[test]
    fn texts_on_both_sides_of_the_limit() {
        assert!(text("name", &"x".repeat(TEXT_LIMIT_BYTES)).is_ok());
        for bad in ["", "  ", "a\u{7}", &"x".repeat(TEXT_LIMIT_BYTES + 1)] {
            assert_eq!(text("name", bad).unwrap_err().code, Code::TextInvalid, "{bad}");
        }
    }
}
