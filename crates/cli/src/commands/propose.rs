//! `keyward propose`: any document, written by hand in TOML or JSON.
//!
//! In TOML `{ words = "…" }` stands for the commitment to words that travel beside the document, `{ file = "…" }` for the
//! SHA-256 of a file, and a date with its time zone for seconds since 1970.

use std::path::Path;

use custody::Hash;
use custody::document::Document;
use custody::name::Label;
use serde_json::Value;

use super::enrol::label;
use super::propose;
use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::home::{read, read_json};

pub(crate) fn run(global: &Global, file: &Path, labels: Option<&Path>) -> Result<()> {
    let mut labels: Vec<Label> = labels.map_or_else(|| Ok(Vec::new()), read_json)?;
    let document = written(file, &mut labels)?;
    propose(global, document, &labels)
}

/// The document in a file; labels that it makes are added to those that are known.
fn written(file: &Path, labels: &mut Vec<Label>) -> Result<Document> {
    if file.extension().is_none_or(|extension| extension != "toml") {
        return read_json(file);
    }
    let bytes = read(file)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| Failure::content(file, e))?;
    let table: toml::Table = toml::from_str(text).map_err(|e| Failure::content(file, e))?;
    let value = plain("", toml::Value::Table(table), labels).map_err(|e| Failure::content(file, e))?;
    serde_json::from_value(value).map_err(|e| Failure::content(file, e))
}

/// A value as the document has it; `place` names the field for people.
fn plain(place: &str, value: toml::Value, labels: &mut Vec<Label>) -> std::result::Result<Value, String> {
    match value {
        toml::Value::String(text) => Ok(text.into()),
        toml::Value::Boolean(yes) => Ok(yes.into()),
        toml::Value::Integer(number) => Ok(number.into()),
        toml::Value::Float(_) => {
            Err(format!("{place}: documents hold no fractions: write base or minor units"))
        }
        toml::Value::Datetime(when) => {
            let seconds = policy::units::moment(&when.to_string());
            let example = "write it with its time zone, for example 2026-12-01T08:00:00+01:00";
            seconds.map(Value::from).ok_or_else(|| format!("{place}: {when} is no moment: {example}"))
        }
        toml::Value::Array(items) => {
            let item = |(i, item)| plain(&format!("{place}[{i}]"), item, labels);
            items.into_iter().enumerate().map(item).collect()
        }
        toml::Value::Table(table) => match one(&table) {
            Some(("words", words)) => {
                let made = label(words);
                let commitment = made.commitment();
                labels.push(made);
                Ok(commitment.to_string().into())
            }
            Some(("file", path)) => {
                let bytes = std::fs::read(path).map_err(|e| format!("{place}: {path}: {e}"))?;
                Ok(Hash::sha256(&bytes).to_string().into())
            }
            _ => {
                let field = |(key, value): (String, toml::Value)| {
                    let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                    Ok((key, plain(&place, value, labels)?))
                };
                table.into_iter().map(field).collect()
            }
        },
    }
}

/// The one text of a table that has nothing else.
fn one(table: &toml::Table) -> Option<(&str, &str)> {
    let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
    Some((key, value.as_str()?))
}

#[cfg(test)]
mod tests {
    use custody::document::Kind;

    use super::*;

    const REVIEW: &str = r#"
        type = "review"
        model = "1"
        network = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
        reviewed_at = 2026-12-01T08:00:00+01:00
        business = { words = "custody for funds" }
        clients = { words = "professional" }
        speed_and_safety = { words = "hot for small amounts" }
        segregation = { words = "books per client" }
        offered = true
        signatories = ["alice", "bob"]
    "#;

    fn read(text: &str, labels: &mut Vec<Label>) -> Result<Document> {
        let path = std::env::temp_dir().join(format!("{}.toml", label("").salt));
        std::fs::write(&path, text).unwrap();
        let document = written(&path, labels);
        std::fs::remove_file(&path).unwrap();
        document
    }

    #[test]
    fn words_dates_and_files_become_what_the_document_has() {
        let mut labels = Vec::new();
        let document = read(REVIEW, &mut labels).unwrap();
        let Document::Review(review) = &document else { panic!("{document:?}") };
        assert_eq!((document.kind(), review.reviewed_at), (Kind::Review, 1_796_108_400));
        let words: Vec<_> = labels.iter().map(|label| (label.text.as_str(), label.commitment())).collect();
        assert_eq!(words.len(), 4);
        assert!(words.contains(&("books per client", review.segregation)));
        let listed = std::env::temp_dir().join(format!("{}.txt", label("").salt));
        std::fs::write(&listed, "a list").unwrap();
        let denied = format!(
            "type = \"deny-list\"\nid = \"sanctions\"\nsource = {{ file = {:?} }}\naddresses = [\"x\"]",
            listed.display().to_string()
        );
        let Document::DenyList(list) = read(&denied, &mut labels).unwrap() else { panic!() };
        assert_eq!(list.source, Hash::sha256(b"a list"));
        std::fs::remove_file(listed).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("2026-12-01T08:00:00+01:00", "2026-12-01", "reviewed_at: 2026-12-01 is no moment"),
            ("offered = true", "offered = 1.5", "offered: documents hold no fractions"),
            ("{ words = \"professional\" }", "{ file = \"/nowhere\" }", "clients: /nowhere"),
            ("offered = true", "offred = true", "offred"),
        ];
        for (from, to, said) in wrong {
            let error = read(&REVIEW.replace(from, to), &mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
