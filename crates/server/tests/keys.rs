//! The commands around the server's own keys.

use std::path::Path;
use std::process::{Command, Output};

use custody::document::{Grant, Machine};
use server::machine::{Keys, LOCAL_HOSTS, hosts};

fn run(directory: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward-server"));
    let mut words = line.split_whitespace();
    command.args(words.next()).arg("--dir").arg(directory).args(words).env_clear();
    command.output().unwrap()
}

fn ok(directory: &Path, line: &str) -> String {
    let output = run(directory, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fails(directory: &Path, line: &str) -> String {
    let output = run(directory, line);
    assert!(!output.status.success(), "{line}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_machine_is_made_with_the_grants_that_are_named() {
    for (option, expected) in [
        ("", &[Grant::Authorise, Grant::Allocate][..]),
        ("--grants observe,allocate,authorise", &[Grant::Authorise, Grant::Allocate, Grant::Observe]),
        ("--grants freeze", &[Grant::Freeze]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let text = ok(directory.path(), &format!("init --id server {option}"));
        let machine: Machine = custody::canon::decode(text.trim_end().as_bytes()).unwrap();
        assert_eq!(machine.grants, expected);
        assert_eq!(Keys::open(directory.path()).unwrap().machine(), machine);
    }
    let directory = tempfile::tempdir().unwrap();
    for wrong in ["everything", "authorise,", "Freeze", "freeze,,allocate"] {
        let text = fails(directory.path(), &format!("init --id server --grants {wrong}"));
        assert!(text.contains("is none of authorise, allocate, request, freeze, observe"), "{text}");
        assert!(Keys::open(directory.path()).is_err());
    }
}

#[test]
fn the_certificate_that_is_printed_is_the_one_of_the_hosts_last_named() {
    let directory = tempfile::tempdir().unwrap();
    assert!(fails(directory.path(), "certificate").contains("server-keys.json"));
    ok(directory.path(), "init --id server");
    let keys = Keys::open(directory.path()).unwrap();
    assert_eq!(ok(directory.path(), "certificate"), keys.certificate(&[]).unwrap().pem);
    let named = ["custody.example".to_owned(), "10.0.0.7".to_owned()];
    let printed = ok(directory.path(), "certificate --host custody.example --host 10.0.0.7");
    assert_eq!(printed, keys.certificate(&named).unwrap().pem);
    assert_eq!(hosts(directory.path()).unwrap(), named);
    assert_eq!(ok(directory.path(), "certificate"), printed);
    // A wrong one changes nothing.
    let text = fails(directory.path(), "certificate --host https://custody.example");
    assert!(text.contains("neither a host name nor an IP address"), "{text}");
    assert_eq!(ok(directory.path(), "certificate"), printed);
    assert!(!printed.contains("PRIVATE"));
    assert_eq!(LOCAL_HOSTS, ["localhost", "127.0.0.1", "::1"]);
}
