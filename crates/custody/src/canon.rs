//! Canonical JSON: RFC 8785 restricted to ASCII keys, no floating point, integers below 2⁵³ (P1).
//!
//! The signed bytes are the parsed bytes: [`decode`] accepts only what [`encode`] would write, so
//! there is one byte string for each value. Unknown fields, repeated keys, spaces, other escapes and
//! other number forms do not survive the comparison.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Integers from here on are not exact in every JSON reader (RFC 7493 §2.2), so amounts are strings.
pub const INTEGER_LIMIT: u64 = 1 << 53;

/// Why bytes are not canonical, or a value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonError {
    /// The bytes are not JSON of the expected shape.
    #[error("not the expected JSON: {0}")]
    Shape(String),
    /// The bytes mean something, but are not its one canonical form.
    #[error("not canonical JSON (RFC 8785): write keys sorted, without spaces, repetition or unknown fields")]
    NotCanonical,
    /// A value holds a float, a large integer or a key that is not ASCII.
    #[error("{0} has no canonical form: use decimal strings for amounts and ASCII for keys")]
    Unwritable(&'static str),
}

/// The canonical bytes of a value.
///
/// # Errors
/// A value with floats, integers of 2⁵³ or more, or keys that are not ASCII.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonError> {
    let value = serde_json::to_value(value).map_err(|e| CanonError::Shape(e.to_string()))?;
    let mut out = Vec::new();
    write(&value, &mut out)?;
    Ok(out)
}

/// Reads a value from exactly its canonical bytes.
///
/// # Errors
/// Bytes of another shape, or not in canonical form.
pub fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, CanonError> {
    let value: T = serde_json::from_slice(bytes).map_err(|e| CanonError::Shape(e.to_string()))?;
    if encode(&value)? == bytes { Ok(value) } else { Err(CanonError::NotCanonical) }
}

/// Sorts keys here, and does not rely on the order of the library's map, which a build option of
/// any other crate in the program could change.
fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonError> {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) => {
            let number = number.as_u64().ok_or(CanonError::Unwritable("a negative or fractional number"))?;
            if number >= INTEGER_LIMIT {
                return Err(CanonError::Unwritable("an integer of 2^53 or more"));
            }
            out.extend(number.to_string().bytes());
        }
        Value::String(text) => write_string(text, out)?,
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_bytes());
            out.push(b'{');
            for (i, (key, item)) in pairs.into_iter().enumerate() {
                if !key.is_ascii() {
                    return Err(CanonError::Unwritable("a key outside ASCII"));
                }
                if i > 0 {
                    out.push(b',');
                }
                write_string(key, out)?;
                out.push(b':');
                write(item, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// serde_json escapes strings exactly as RFC 8785 §3.2.2.2 asks: the short forms, and `\u00xx` in
/// lower case for other control characters.
fn write_string(text: &str, out: &mut Vec<u8>) -> Result<(), CanonError> {
    serde_json::to_writer(out, text).map_err(|e| CanonError::Shape(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Map = BTreeMap<String, Value>;

    #[test]
    fn canonical_bytes_are_accepted_and_all_others_refused() {
        let good = br#"{"a":[1,true,null,"x\n\u0001"],"b":{"c":"","d":9007199254740991}}"#;
        assert_eq!(encode(&decode::<Map>(good).unwrap()).unwrap(), good);
        for bad in [
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":1}"#,
            r#"{ "a":1}"#,
            r#"{"a":1} "#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":-1}"#,
            r#"{"a":"\u000a"}"#,
            r#"{"a":"\/"}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"ä":1}"#,
        ] {
            assert!(decode::<Map>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// The example of RFC 8785 §3.2.3 orders by code unit; with ASCII keys that is byte order.
    #[test]
    fn keys_sort_by_byte() {
        let bytes = encode(&serde_json::json!({"b":1,"A":2,"a":{"z":1,"1":2},"":3})).unwrap();
        assert_eq!(bytes, br#"{"":3,"A":2,"a":{"1":2,"z":1},"b":1}"#);
    }
}
