//! Strict JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::json::MAX_JSON_DEPTH;
use wire::{Fault, MAX_FRAME_BYTES, decode, encode};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    kind: String,
    amounts: BTreeMap<String, u64>,
    rest: Value,
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    let message = Message {
        kind: "é\u{0}\"".to_owned(),
        amounts: [("a".to_owned(), u64::MAX)].into(),
        rest: serde_json::json!([null, true, -1, 1.5, {"a": {"a": []}}, {"a": {}}]),
    };
    assert_eq!(decode::<Message>(&encode(&message).unwrap()).unwrap(), message);
}

#[test]
fn nesting_ends_at_the_limit() {
    let nested = |open: &str, close: &str, depth: usize| {
        [open.repeat(depth), "1".to_owned(), close.repeat(depth)].concat().into_bytes()
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        decode::<Value>(&nested(open, close, MAX_JSON_DEPTH)).unwrap();
        let error = decode::<Value>(&nested(open, close, MAX_JSON_DEPTH + 1)).unwrap_err();
        assert!(error.to_string().contains("deeper than 32"), "{error}");
        assert_eq!(error.fault(), Fault::Peer);
        assert!(decode::<Value>(&nested(open, close, 100_000)).is_err());
        // Also where the reader would skip the value.
        assert!(decode::<serde::de::IgnoredAny>(&nested(open, close, 33)).is_err());
    }
}

#[test]
fn a_key_twice_in_one_object_is_refused_at_every_level() {
    for twice in [
        r#"{"kind":"a","kind":"a","amounts":{},"rest":0}"#,
        r#"{"kind":"a","amounts":{"x":1,"x":2},"rest":0}"#,
        r#"{"kind":"a","amounts":{},"rest":{"x":1,"y":2,"x":1}}"#,
        r#"{"kind":"a","amounts":{},"rest":[[{"y":{"x":1,"x":1}}]]}"#,
        r#"{"kind":"a","amounts":{"x":1,"\u0078":2},"rest":0}"#,
    ] {
        let error = decode::<Message>(twice.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("same key twice"), "{twice}: {error}");
    }
    decode::<Message>(br#"{"kind":"a","amounts":{"x":1,"X":2},"rest":[{"x":1},{"x":1}]}"#).unwrap();
}

#[test]
fn nothing_may_follow_the_value() {
    for bytes in [&b"1 2"[..], b"{}{}", b"[1],", b"1\0", b"", b"\xef\xbb\xbf1", b"\"\xff\"", b"NaN"] {
        assert!(decode::<Value>(bytes).is_err(), "{bytes:?}");
    }
    decode::<Value>(b" 1 \n").unwrap();
    assert!(decode::<Message>(br#"{"kind":"a","amounts":{},"rest":0,"more":1}"#).is_err());
}

#[test]
fn a_message_may_be_as_long_as_a_frame() {
    let text = |length: usize| encode(&"a".repeat(length - 2)).unwrap();
    assert_eq!(text(MAX_FRAME_BYTES).len(), MAX_FRAME_BYTES);
    decode::<String>(&text(MAX_FRAME_BYTES)).unwrap();
    assert!(decode::<String>(&text(MAX_FRAME_BYTES + 1)).is_err());
}
