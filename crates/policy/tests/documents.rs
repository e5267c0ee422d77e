//! What is generated stands in `docs` as it is, and the schema is the one of the types.

use std::collections::BTreeSet;

use custody::document::{Document, TABLE};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{
    Budget, Calendar, Governance, Per, Policy, PolicyRule, Require, Seats, Velocity, When,
};
use custody::rates::Value as Worth;
use policy::text::parse;
use policy::{reference, schema};
use serde_json::Value;

/// `cargo run -p policy --example schema > docs/spec/policy.schema.json`, and the same for the reference.
#[test]
fn what_is_generated_did_not_drift() {
    assert!(include_str!("../../../docs/spec/policy.schema.json") == schema::text(), "the schema drifted");
    let page = reference::page().unwrap();
    assert!(include_str!("../../../docs/policy-reference.md") == page, "the reference drifted");
}

/// Why a value is not as the schema has it. Knows every keyword that the schema uses, and no other.
fn refused(schema: &Value, value: &Value) -> Option<String> {
    judge(&schema::schema(), schema, value, "$")
}

fn judge(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let count = |of: &Value| of.as_u64().unwrap();
    for (keyword, rule) in schema.as_object().unwrap() {
        let sound = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                if let Some(why) = judge(root, target, value, at) {
                    return Some(why);
                }
                true
            }
            "type" => {
                let own = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(n) if n.is_u64() || n.is_i64() => "integer",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                rule == own || rule.as_array().is_some_and(|types| types.iter().any(|t| t == own))
            }
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" => rule.as_array().unwrap().iter().any(|one| judge(root, one, value, at).is_none()),
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
            "maximum" => value.as_u64().is_none_or(|n| n <= count(rule)),
            "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= count(rule)),
            "maxItems" => value.as_array().is_none_or(|list| list.len() as u64 <= count(rule)),
            "maxProperties" => value.as_object().is_none_or(|all| all.len() as u64 <= count(rule)),
            "required" => {
                let names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                value.as_object().is_none_or(|all| names.clone().all(|name| all.contains_key(name)))
            }
            "items" | "prefixItems" => {
                let list = value.as_array().into_iter().flatten().enumerate();
                let each = |(i, one)| {
                    let schema = if keyword == "items" { Some(rule) } else { rule.get(i) };
                    schema.and_then(|schema| judge(root, schema, one, &format!("{at}[{i}]")))
                };
                if let Some(why) = list.filter_map(each).next() {
                    return Some(why);
                }
                true
            }
            "propertyNames" => {
                let mut names = value.as_object().into_iter().flat_map(|all| all.keys());
                names.all(|name| judge(root, rule, &Value::from(name.as_str()), at).is_none())
            }
            "properties" | "additionalProperties" => {
                let named = schema.get("properties");
                for (name, one) in value.as_object().into_iter().flatten() {
                    let named = named.and_then(|named| named.get(name));
                    let why = match (keyword.as_str(), named) {
                        ("properties", Some(schema)) => judge(root, schema, one, &format!("{at}.{name}")),
                        ("additionalProperties", None) if rule == false => {
                            Some(format!("{at}: no field {name}"))
                        }
                        ("additionalProperties", None) => judge(root, rule, one, &format!("{at}.{name}")),
                        _ => None,
                    };
                    if why.is_some() {
                        return why;
                    }
                }
                true
            }
            other => panic!("{at}: keyword {other}"),
        };
        if !sound {
            return Some(format!("{at}: {keyword} {rule}, found {value}"));
        }
    }
    None
}

fn document(policy: Policy) -> Value {
    serde_json::from_slice(&custody::canon::encode(&Document::Policy(policy)).unwrap()).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A policy with every field that there is: a field that comes to the types must come here.
fn full() -> Policy {
    let paths = vec![vec![Seats { count: 2, group: name("admins") }]];
    let velocity = Velocity {
        per: Per::Client,
        window_s: 60,
        amount_max: Some(Sats(1)),
        value_max: Some(Worth(u128::MAX)),
        count_max: Some(1),
    };
    let when = When {
        wallets: Some(vec![name("main")]),
        destinations: Some(custody::document::DestinationKind::ALL.to_vec()),
        amount_min: Some(Sats(0)),
        amount_max: Some(Sats::MAX),
        kinds: Some(vec![custody::policy::RequestKind::Payment, custody::policy::RequestKind::Cancel]),
        networks: Some(vec!["bip122:0".into()]),
        assets: Some(vec!["bip122:0/slip44:0".into()]),
        tiers: Some(custody::document::Tier::ALL.to_vec()),
        clients: Some(vec![name("acme")]),
        value_min: Some(Worth(0)),
        value_max: Some(Worth(1)),
    };
    let require = Require {
        approvals: paths.clone(),
        amount_max: Sats::MAX,
        fee_max: Sats(1),
        fee_max_ppm: 1,
        value_max: Some(Worth(1)),
        velocity: vec![velocity],
        fee_budget: Some(Budget { window_s: 60, fee_max: Sats(1) }),
        hours: Some(name("office")),
        delay_s: Some(1),
        cool_down_s: Some(1),
        approval_valid_s: Some(2),
        independent: Some(1),
    };
    let calendar = Calendar { zone: "Europe/Zurich".into(), from: 0, until: 9, open: vec![(1, 2)] };
    let governance = Governance { approvals: paths, delay_s: 86_400 };
    Policy {
        rules: vec![PolicyRule { id: name("all"), when, require }],
        governance: TABLE.iter().map(|row| (row.kind, governance.clone())).collect(),
        calendars: [(name("office"), calendar)].into(),
        currency: Some(name("chf")),
        exclusive: vec![(name("a"), name("b"))],
        administrators_max: Some(5),
    }
}

/// Every field, by its path; names of calendars aside.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(all) => {
            for (name, one) in all {
                let path =
                    if at.ends_with(".calendars") { format!("{at}.*") } else { format!("{at}.{name}") };
                found.insert(path.clone());
                fields(one, &path, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|one| fields(one, &format!("{at}[]"), found)),
        _ => {}
    }
}

/// The same of the schema.
fn described(root: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return described(root, root.pointer(&target[1..]).unwrap(), at, found);
    }
    for (name, one) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{at}.{name}");
        found.insert(path.clone());
        described(root, one, &path, found);
    }
    if let Some(rest) = schema.get("additionalProperties").filter(|rest| rest.is_object()) {
        let path = format!("{at}.*");
        found.insert(path.clone());
        described(root, rest, &path, found);
    }
    if let Some(items) = schema.get("items") {
        described(root, items, &format!("{at}[]"), found);
    }
}

#[test]
fn every_field_of_the_types_is_in_the_schema_and_no_other() {
    let schema = schema::schema();
    let (mut of_types, mut of_schema) = (BTreeSet::new(), BTreeSet::new());
    fields(&document(full()), "$", &mut of_types);
    described(&schema, &schema, "$", &mut of_schema);
    assert_eq!(of_types, of_schema);
    assert_eq!(refused(&schema, &document(full())), None);
}

#[test]
fn the_schema_takes_what_is_adopted() {
    let schema = schema::schema();
    for text in [
        include_str!("../../../examples/policies/small-treasury.toml"),
        include_str!("../../../examples/policies/retail-custodian.toml"),
        include_str!("../../../examples/policies/institutional-bank.toml"),
        include_str!("../../../examples/policies/exchange-hot-wallet.toml"),
        include_str!("../../../examples/policies/cold-storage.toml"),
        include_str!("../../../examples/policies/proprietary-desk.toml"),
    ] {
        assert_eq!(refused(&schema, &document(parse(text).unwrap().policy)), None);
    }
    // The example of the specification.
    let specification = include_str!("../../../docs/spec/policy.md");
    let example = specification.split("```json").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(refused(&schema, &serde_json::from_str(example).unwrap()), None);
}

#[test]
fn the_schema_refuses_what_is_not_a_policy() {
    let schema = schema::schema();
    let good = document(full());
    for (pointer, bad) in [
        ("/type", Value::from("group")),
        ("/rules", Value::Array(Vec::new())),
        ("/rules/0/id", "Payments".into()),
        ("/rules/0/id", "a".repeat(33).into()),
        ("/rules/0/when/wallets", Value::Array(Vec::new())),
        ("/rules/0/when/amount_max", "1 btc".into()),
        ("/rules/0/when/amount_max", "01".into()),
        ("/rules/0/when/kinds/0", "deposit".into()),
        ("/rules/0/when/tiers/0", "cold".into()),
        ("/rules/0/when/value_min", 5.into()),
        ("/rules/0/require/approvals/0/0/count", 0.into()),
        ("/rules/0/require/approvals/0/0/count", 17.into()),
        ("/rules/0/require/delay_s", (30 * 24 * 3600 + 1).into()),
        ("/rules/0/require/delay_s", (-1).into()),
        ("/rules/0/require/velocity/0/window_s", (31 * 24 * 3600 + 1).into()),
        ("/rules/0/require/velocity/0/per", "group".into()),
        ("/rules/0/require/independent", 0.into()),
        ("/governance/policy/delay_s", (30 * 24 * 3600 + 1).into()),
        ("/calendars/office/open/0", serde_json::json!([1])),
        ("/calendars/office/open/0", serde_json::json!([1, 2, 3])),
        ("/exclusive/0/1", "B".into()),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = bad;
        assert!(refused(&schema, &changed).is_some(), "{pointer}");
    }
    for pointer in ["", "/rules/0", "/rules/0/when", "/rules/0/require", "/governance", "/calendars/office"] {
        let mut more = good.clone();
        more.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("more".into(), 1.into());
        assert!(refused(&schema, &more).is_some(), "{pointer}");
    }
    let mut less = good;
    less.pointer_mut("/rules/0/when").unwrap().as_object_mut().unwrap().remove("amount_min");
    assert!(refused(&schema, &less).is_some());
}
