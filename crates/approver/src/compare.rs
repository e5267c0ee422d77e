//! What is different between two versions of a document, line by line.

use std::collections::{BTreeMap, BTreeSet};

use custody::document::Document;
use serde_json::Value;

use crate::text::plain;

/// One line for each field that was added (`+`), taken away (`-`) or changed (`~`), by its path. Items of
/// lists go by their `id`, or by their own value where a list holds plain values, so that one new member
/// of a group is one line. Never empty: says so when nothing differs, or only the order of such lists.
pub(crate) fn changes(old: &Document, new: &Document) -> Vec<String> {
    if old == new {
        return vec!["nothing differs".to_owned()];
    }
    let (old, new) = (fields(old), fields(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let line = |path: &String| match (old.get(path), new.get(path)) {
        (Some(before), Some(after)) if before == after => None,
        (Some(before), Some(after)) => Some(format!("~ {path}: {before} -> {after}")),
        (Some(before), None) => Some(format!("- {path}: {before}")),
        (None, Some(after)) => Some(format!("+ {path}: {after}")),
        (None, None) => None,
    };
    let lines: Vec<String> = paths.into_iter().filter_map(line).collect();
    if lines.is_empty() {
        return vec!["only the order of a list differs".to_owned()];
    }
    lines
}

fn fields(document: &Document) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    if let Ok(value) = serde_json::to_value(document) {
        flatten("", &value, &mut out);
    }
    out
}

fn flatten(path: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    let under = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
    };
    match value {
        Value::Object(map) => {
            for (name, item) in map {
                flatten(&under(name), item, out);
            }
        }
        Value::Array(items) => {
            let named: Option<Vec<&str>> = items.iter().map(name_of).collect();
            let named = named.filter(|names| {
                let distinct: BTreeSet<_> = names.iter().collect();
                distinct.len() == names.len()
            });
            for (i, item) in items.iter().enumerate() {
                let name = named.as_ref().and_then(|n| n.get(i)).map(|n| plain(n));
                flatten(&under(&name.unwrap_or_else(|| i.to_string())), item, out);
            }
        }
        Value::String(text) => {
            out.insert(path.to_owned(), plain(text));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            out.insert(path.to_owned(), value.to_string());
        }
    }
}

/// What an item of a list goes by: its own text, or its `id`.
fn name_of(item: &Value) -> Option<&str> {
    item.as_str().or_else(|| item.get("id")?.as_str())
}

#[cfg(test)]
mod tests {
    use custody::document::Group;
    use custody::name::Name;

    use super::*;

    fn group(members: &[&str]) -> Document {
        let members = members.iter().map(|m| Name::new(m).unwrap()).collect();
        let id = Name::new("ops").unwrap();
        Document::Group(Group { id, members })
    }

    #[test]
    fn one_line_for_each_difference_and_none_without() {
        let (old, new) = (group(&["ann", "bob"]), group(&["ann", "cat"]));
        let lines = ["- members/bob: bob", "+ members/cat: cat"];
        assert_eq!(changes(&old, &new), lines);
        assert_eq!(changes(&old, &old), ["nothing differs"]);
        assert_eq!(changes(&old, &group(&["bob", "ann"])), ["only the order of a list differs"]);
        // A list with the same value twice goes by position, so nothing is hidden.
        assert_eq!(changes(&group(&["ann"]), &group(&["ann", "ann"])).len(), 3);
    }
}
