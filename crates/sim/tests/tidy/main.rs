//! What must stay true of the repository itself: who may depend on whom, how large the trusted code is,
//! what it may contain, and that the documents point at things that exist.

mod docs;
mod graph;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The trusted crates: those that decide or hold secrets.
const TRUSTED: &[&str] = &["custody", "chain", "keys", "wire", "signer", "approver", "ceremony"];

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// What a program prints, run at the root of the repository.
fn output(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The text files of the repository that are tracked or would be, relative to its root.
fn files() -> Vec<(PathBuf, String)> {
    let mut git = Command::new("git");
    let listed = output(git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]));
    let files: Vec<_> = listed
        .split_terminator('\0')
        .map(PathBuf::from)
        // A file that was removed and not yet committed so, or that is no text, has nothing to read.
        .filter_map(|path| fs::read_to_string(root().join(&path)).ok().map(|text| (path, text)))
        .collect();
    assert!(files.iter().any(|(path, _)| path == Path::new("Cargo.toml")), "{files:?}");
    files
}

/// Fails with all findings, one a line.
#[track_caller]
fn none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}\n", findings.join("\n  "));
}
