//! The text of the sources: how much of it is trusted, and what it must not contain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{TRUSTED, files, none};

/// Lines of trusted code, neither blank nor comment, tests not included. Why these figures, and what is to
/// be cut, stands in `docs/adr/0002-trusted-line-budgets.md`; raising one takes an ADR.
const BUDGETS: &[(&[&str], usize)] = &[
    (&["custody", "chain", "keys", "signer"], 15_000),
    (&["wire"], 1_250),
    (&["approver"], 1_650),
    (&["ceremony"], 6_400),
];

/// Longest file of a trusted crate, tests in it included: what one sitting can review.
const FILE_LINES_MAX: usize = 600;

/// The one module with `unsafe` code: memory that is locked and wiped.
const UNSAFE: &str = "crates/keys/src/locked";

/// What the pure crates must not name: clocks, files, sockets, threads, the environment, randomness.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "OsRng",
    "getrandom",
    "thread_rng",
];

/// The sources of a crate, without its tests, benches and examples.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new("crates").join(name).join("src");
    let mut sources = files();
    sources.retain(|(path, _)| path.starts_with(&directory) && path.extension().is_some_and(|e| e == "rs"));
    assert!(!sources.is_empty(), "{name} has no sources");
    sources
}

/// The lines outside of what `#[cfg(test)]` stands on, and the test modules that lie in other files.
/// Relies on rustfmt: an item ends with a brace at the indentation where it began.
fn without_tests(path: &Path, text: &str) -> (Vec<String>, Vec<PathBuf>) {
    let mut kept = Vec::new();
    let mut elsewhere = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != "#[cfg(test)]" {
            kept.push(line.to_owned());
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let closing = format!("{indent}}}");
        // Further attributes may stand between.
        let first = lines.by_ref().find(|line| !line.trim_start().starts_with("#[")).unwrap();
        if let Some(module) = first.trim().strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let directory = path.parent().unwrap();
            let directory = match stem {
                "lib" | "main" | "mod" => directory.to_owned(),
                stem => directory.join(stem),
            };
            elsewhere.push(directory.join(format!("{module}.rs")));
        } else if !first.ends_with(';') && !first.ends_with('}') {
            lines.by_ref().find(|line| *line == closing).unwrap();
        }
    }
    (kept, elsewhere)
}

/// The files of a crate with the lines that are no test.
fn code(name: &str) -> BTreeMap<PathBuf, Vec<String>> {
    let mut code = BTreeMap::new();
    let mut tests = BTreeSet::new();
    for (path, text) in sources(name) {
        let (kept, elsewhere) = without_tests(&path, &text);
        tests.extend(elsewhere);
        code.insert(path, kept);
    }
    code.retain(|path, _| !tests.contains(path));
    code
}

/// Non-blank lines, and how many of them are no comment.
fn lines(name: &str) -> (usize, usize) {
    let code = code(name);
    let lines = code.values().flatten().map(|line| line.trim()).filter(|line| !line.is_empty());
    let comments = lines.clone().filter(|line| line.starts_with("//")).count();
    let all = lines.count();
    (all, all - comments)
}

/// A line without its comment. (A `//` inside a string cuts too much, never too little of the comment.)
fn uncommented(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

#[test]
fn tests_are_told_from_code() {
    let text = "a\n#[cfg(test)]\nmod tests {\n    b\n    }\n}\nc\n    #[cfg(test)]\n    #[derive(X)]\n    \
                struct D {\n        e\n    }\n#[cfg(test)]\nmod vectors;\n#[cfg(test)]\nuse f;\ng";
    let (kept, elsewhere) = without_tests(Path::new("src/x.rs"), text);
    assert_eq!(kept, ["a", "c", "g"]);
    assert_eq!(elsewhere, [Path::new("src/x/vectors.rs")]);
    let (_, elsewhere) = without_tests(Path::new("src/lib.rs"), "#[cfg(test)]\nmod tests;\n");
    assert_eq!(elsewhere, [Path::new("src/tests.rs")]);
}

#[test]
fn trusted_code_keeps_to_its_budget() {
    let mut findings = Vec::new();
    for (names, budget) in BUDGETS {
        let each: Vec<_> = names.iter().map(|name| (name, lines(name))).collect();
        let code: usize = each.iter().map(|(_, (_, code))| code).sum();
        let all: usize = each.iter().map(|(_, (all, _))| all).sum();
        let each: Vec<_> = each.iter().map(|(name, (_, code))| format!("{name} {code}")).collect();
        let each = each.join(" + ");
        let line = format!("{each} = {code} of {budget} trusted lines ({all} with comments)");
        println!("{line}");
        if code > *budget {
            findings.push(line);
        }
    }
    let named: BTreeSet<_> = BUDGETS.iter().flat_map(|(names, _)| names.iter()).collect();
    assert_eq!(named, TRUSTED.iter().collect(), "each trusted crate has one budget");
    none("over the budget", &findings);
}

#[test]
fn trusted_files_are_short() {
    let all = TRUSTED.iter().flat_map(|name| sources(name));
    let long = all.filter(|(_, text)| text.lines().count() > FILE_LINES_MAX);
    let findings: Vec<_> =
        long.map(|(path, text)| format!("{}: {}", path.display(), text.lines().count())).collect();
    none("more than 600 lines", &findings);
}

#[test]
fn unsafe_code_has_one_place() {
    let word = concat!("un", "safe");
    let mut findings = Vec::new();
    for (path, text) in files() {
        if path.extension().is_none_or(|e| e != "rs") || path.with_extension("").starts_with(UNSAFE) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let line = uncommented(line);
            let allowed = line.contains("allow(") && line.contains(concat!("un", "safe_code"));
            if allowed || has_word(line, word) {
                findings.push(format!("{}:{}: {}", path.display(), at + 1, line.trim()));
            }
        }
    }
    none("code that the compiler cannot vouch for, outside of the module of locked memory", &findings);
}

fn naming(names: &[&str], words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, lines) in names.iter().flat_map(|name| code(name)) {
        for line in &lines {
            let line = uncommented(line);
            if words.iter().any(|word| has_word(line, word)) {
                findings.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    findings
}

#[test]
fn the_rules_are_pure() {
    none("clock, file, socket, thread or randomness", &naming(&["custody", "chain"], IMPURE));
}

/// What a trusted program does stands in its arguments and files: no variable of the environment can
/// weaken it.
#[test]
fn trusted_code_reads_no_environment() {
    none("environment read", &naming(TRUSTED, &["env::var", "env::var_os", "env::vars", "option_env!"]));
}

#[test]
fn no_leftovers_and_no_paths_of_one_machine() {
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    let mut findings = Vec::new();
    for (path, text) in files() {
        // A lock file and the text of a licence are not ours to word.
        if path == Path::new("Cargo.lock") || path.to_string_lossy().starts_with("LICENSE") {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                findings.push(format!("{}:{}: {word}", path.display(), at + 1));
            }
        }
    }
    none("leftovers or machine paths", &findings);
}

/// What stands as `path.rs::function` in the code spans of a document.
fn functions_named(text: &str) -> Vec<(&str, &str)> {
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.filter_map(|span| span.split_once(".rs::")).collect()
}

/// DACS OPS-00: a document that says which test shows something names one that exists. Paths begin at the
/// root or at `crates/`.
#[test]
fn functions_that_documents_name_exist() {
    assert_eq!(functions_named("a `b/c.rs::d` `e.rs` and `f.rs::g`"), [("b/c", "d"), ("f", "g")]);
    let files = files();
    let source = |path: &str| {
        let here = |(found, _): &&(PathBuf, String)| {
            let found = found.strip_prefix("crates").unwrap_or(found);
            found == Path::new(path.strip_prefix("crates/").unwrap_or(path))
        };
        files.iter().find(here).map(|(_, text)| text)
    };
    let mut findings = Vec::new();
    let mut named = 0;
    for (document, text) in files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "md")) {
        for (path, name) in functions_named(text) {
            named += 1;
            let found = source(&format!("{path}.rs"));
            if !found.is_some_and(|text| has_word(text, &format!("fn {name}"))) {
                findings.push(format!("{}: {path}.rs::{name}", document.display()));
            }
        }
    }
    assert!(named > 0, "the documents name no test");
    none("functions that do not exist", &findings);
}
