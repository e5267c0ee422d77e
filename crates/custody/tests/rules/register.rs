//! `docs/rules.md` lists exactly the rules, where they are enforced, and the tests that show it; the
//! examples of the specifications are golden bytes.

use std::path::Path;

use custody::rule::Rule;

/// The rules that a co-signer enforces with its own clock.
const ELSEWHERE: [Rule; 2] = [Rule::Timely, Rule::Fresh];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The body of a function, from its name to the brace that ends it.
fn body<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let found = source
        .match_indices(&format!("fn {name}"))
        .find(|(i, found)| source[i + found.len()..].starts_with(['(', '<']));
    let rest = &source[found?.0..];
    let line = source[..found?.0].rfind('\n').map_or(0, |i| i + 1);
    let indent: String = source[line..].chars().take_while(|c| *c == ' ').collect();
    rest.split_once(&format!("\n{indent}}}\n")).map(|(body, _)| body)
}

fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_register_of_rules_is_true() {
    let register = read("../../docs/rules.md");
    let rows: Vec<Vec<&str>> = register
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let names: Vec<&str> = rows.iter().map(|row| code(row[0])[0]).collect();
    assert_eq!(names, Rule::ALL.iter().map(|rule| rule.id()).collect::<Vec<_>>());

    let tests: String = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for (row, rule) in rows.iter().zip(Rule::ALL) {
        let [_, meaning, places, allowing, denying] = row[..] else { panic!("{row:?}") };
        assert_eq!(meaning, rule.meaning());
        let variant = format!("Rule::{rule:?}");
        for place in code(places).into_iter().filter(|place| *place != "signer") {
            let (module, function) = place.split_once("::").unwrap();
            let source = read(&format!("src/{module}.rs"));
            assert!(body(&source, function).is_some(), "{rule}: there is no {place}");
            assert!(source.contains(&variant), "{rule}: {module}.rs does not name it");
        }
        if ELSEWHERE.contains(rule) {
            assert_eq!(code(places), ["signer"]);
            continue;
        }
        for (kind, cell) in [("allow_", allowing), ("deny_", denying)] {
            let cells = code(cell);
            assert!(!cells.is_empty(), "{rule} has no test");
            for test in cells {
                assert!(test.starts_with(kind), "{rule}: {test}");
                let body = body(&tests, test).unwrap_or_else(|| panic!("{rule}: there is no test {test}"));
                assert!(kind == "allow_" || body.contains(&variant), "{test} does not assert {variant}");
            }
        }
    }
}

/// Every JSON example of the specifications is an envelope, a payload or a document of the vectors.
#[test]
fn the_examples_of_the_specifications_are_golden() {
    use serde_json::Value;
    let mut golden: Vec<Value> = Vec::new();
    for (path, bytes) in
        fixtures::golden::files().into_iter().filter(|(path, _)| path.starts_with("statement/"))
    {
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        if let Ok(envelope) = custody::statement::Envelope::parse(&bytes) {
            golden.push(serde_json::from_slice(&envelope.unverified().unwrap().payload().unwrap()).unwrap());
        }
        golden.push(value);
    }
    let mut examples = 0;
    for name in ["statement", "documents", "policy", "batch", "payment", "state"] {
        let text = read(&format!("../../docs/spec/{name}.md"));
        for block in text.split("```json\n").skip(1) {
            let example: Value = serde_json::from_str(block.split("```").next().unwrap()).unwrap();
            assert!(golden.contains(&example), "{name}.md: {example}");
            examples += 1;
        }
    }
    assert!(examples >= 15, "{examples}");
}
