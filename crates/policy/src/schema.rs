//! The JSON Schema (draft 2020-12) of the policy document, in its canonical form: what a policy file becomes, and what
//! people sign. What it refuses is never adopted; what it takes may still go under a floor.

use custody::adoption::{
    CALENDARS_LIMIT, DELAY_LIMIT_S, EXCLUSIVE_LIMIT, INTERVALS_LIMIT, PATHS_LIMIT, PAYMENT_DELAY_LIMIT_S,
    RULES_LIMIT, SCOPE_LIMIT, VELOCITY_LIMIT,
};
use custody::canon::INTEGER_LIMIT;
use custody::document::TABLE;
use custody::name::NAME_LIMIT_BYTES;
use custody::policy::{SEATS_LIMIT, WINDOW_LIMIT_S};
use serde_json::{Map, Value, json};

use crate::text::{DESTINATIONS, KINDS, PER, TIERS};

/// The name of the schema.
const ID: &str = "urn:keyward:schema:policy";

/// A type that is defined once.
fn of(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

/// The same, or nothing.
fn nullable(items: &Value) -> Value {
    json!({"type": ["array", "null"], "minItems": 1, "maxItems": SCOPE_LIMIT, "items": items})
}

fn listed(items: &Value) -> Value {
    json!({"type": "array", "minItems": 1, "maxItems": SCOPE_LIMIT, "items": items})
}

fn words<T>(words: &[(&str, T)]) -> Value {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({"enum": words})
}

/// An object with these fields and no others.
fn object(meaning: &str, required: &[&str], fields: Value) -> Value {
    json!({
        "description": meaning,
        "type": "object",
        "required": required,
        "properties": fields,
        "additionalProperties": false,
    })
}

fn seconds(least: u64, most: u64, meaning: &str) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most, "description": meaning})
}

fn when() -> Value {
    let written = ["wallets", "destinations", "amount_min", "amount_max"];
    object(
        "Which requests a rule covers. What is null or absent covers all.",
        &written,
        json!({
            "wallets": nullable(&of("name")),
            "destinations": nullable(&words(&DESTINATIONS)),
            "amount_min": {"anyOf": [of("sats"), {"type": "null"}]},
            "amount_max": {"anyOf": [of("sats"), {"type": "null"}]},
            "kinds": listed(&words(&KINDS)),
            "networks": listed(&json!({"type": "string"})),
            "assets": listed(&json!({"type": "string"})),
            "tiers": listed(&words(&TIERS)),
            "clients": listed(&of("name")),
            "value_min": of("value"),
            "value_max": of("value"),
        }),
    )
}

fn require() -> Value {
    object(
        "What a rule asks of the requests that it covers.",
        &["approvals", "amount_max", "fee_max", "fee_max_ppm"],
        json!({
            "approvals": of("paths"),
            "amount_max": of("sats"),
            "fee_max": of("sats"),
            "fee_max_ppm": seconds(0, INTEGER_LIMIT - 1, "Millionths of the amount."),
            "value_max": of("value"),
            "velocity": {"type": "array", "minItems": 1, "maxItems": VELOCITY_LIMIT, "items": of("velocity")},
            "fee_budget": object("A limit on fees.", &["window_s", "fee_max"], json!({
                "window_s": of("window"),
                "fee_max": of("sats"),
            })),
            "hours": of("name"),
            "delay_s": seconds(0, PAYMENT_DELAY_LIMIT_S, "Seconds of the delay clock."),
            "cool_down_s": seconds(0, PAYMENT_DELAY_LIMIT_S, "Seconds of the delay clock."),
            "approval_valid_s": seconds(1, INTEGER_LIMIT - 1, "Seconds of log time."),
            "independent": {"type": "integer", "minimum": 1, "maximum": SEATS_LIMIT},
        }),
    )
}

fn definitions() -> Value {
    let second = seconds(0, INTEGER_LIMIT - 1, "Seconds since 1970, UTC.");
    json!({
        "name": {"type": "string", "pattern": format!("^[a-z0-9-]{{1,{NAME_LIMIT_BYTES}}}$")},
        "sats": {
            "description": "Satoshi, as a decimal string.",
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,15})$",
        },
        "value": {
            "description": "Minor units of the currency, as a decimal string up to 2^128 - 1.",
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,38})$",
        },
        "window": seconds(1, WINDOW_LIMIT_S, "Seconds."),
        "seats": object("So many people of a group.", &["count", "group"], json!({
            "count": {"type": "integer", "minimum": 1, "maximum": SEATS_LIMIT},
            "group": of("name"),
        })),
        "paths": {
            "description": "One of these paths; of a path, all seats, each another person.",
            "type": "array",
            "minItems": 1,
            "maxItems": PATHS_LIMIT,
            "items": {"type": "array", "minItems": 1, "items": of("seats")},
        },
        "velocity": object("A limit on what leaves in a window.", &["per", "window_s"], json!({
            "per": words(&PER),
            "window_s": of("window"),
            "amount_max": of("sats"),
            "value_max": of("value"),
            "count_max": {"type": "integer", "minimum": 1, "maximum": u32::MAX},
        })),
        "rule": object("A rule for payments.", &["id", "when", "require"], json!({
            "id": of("name"),
            "when": when(),
            "require": require(),
        })),
        "governance": object("Who carries documents of a kind.", &["approvals", "delay_s"], json!({
            "approvals": of("paths"),
            "delay_s": seconds(0, DELAY_LIMIT_S, "Seconds of the delay clock."),
        })),
        "calendar": object("When payments may leave.", &["zone", "from", "until", "open"], json!({
            "zone": {"type": "string", "pattern": "^[ -~]{0,64}$"},
            "from": second,
            "until": second,
            "open": {
                "description": "First second and length in seconds, in order and apart from each other.",
                "type": "array",
                "minItems": 1,
                "maxItems": INTERVALS_LIMIT,
                "items": {"type": "array", "prefixItems": [second, second], "minItems": 2, "maxItems": 2},
            },
        })),
    })
}

/// The schema.
pub fn schema() -> Value {
    let kinds: Map<String, Value> =
        TABLE.iter().map(|row| (row.kind.word().to_owned(), of("governance"))).collect();
    let first: Vec<&str> = TABLE.iter().filter(|row| row.since == 1).map(|row| row.kind.word()).collect();
    let pair =
        json!({"type": "array", "prefixItems": [of("name"), of("name")], "minItems": 2, "maxItems": 2});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "Keyward policy",
        "description": "Who may move what under whose approval.",
        "type": "object",
        "required": ["type", "rules", "governance"],
        "properties": {
            "type": {"const": "policy"},
            "rules": {"type": "array", "minItems": 1, "maxItems": RULES_LIMIT, "items": of("rule")},
            "governance": object("By kind of document.", &first, Value::Object(kinds)),
            "calendars": {
                "type": "object",
                "maxProperties": CALENDARS_LIMIT,
                "propertyNames": of("name"),
                "additionalProperties": of("calendar"),
            },
            "currency": of("name"),
            "exclusive": {"type": "array", "maxItems": EXCLUSIVE_LIMIT, "items": pair},
            "administrators_max": {"type": "integer", "minimum": 0, "maximum": u32::MAX},
        },
        "additionalProperties": false,
        "$defs": definitions(),
    })
}

/// The schema as it stands in `docs/spec/policy.schema.json`.
pub fn text() -> String {
    format!("{:#}\n", schema())
}
