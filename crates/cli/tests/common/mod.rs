//! A directory of one person, in which the built program runs.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The passphrase of every key file.
pub(crate) const PASSPHRASE: &str = "correct horse battery";

/// A directory of one person.
pub(crate) struct Host(TempDir);

impl Host {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `keyward`; `_` in a word stands for a space. The passphrase comes in by descriptor 0, unless
    /// the line ends in `--no-descriptor`.
    pub(crate) fn run(&self, line: &str) -> Output {
        let (line, by) = match line.strip_suffix("--no-descriptor") {
            Some(line) => (line, &[][..]),
            None => (line, &["--passphrase-fd", "0"][..]),
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyward"))
            .args(["--home", "home"])
            .args(by)
            .args(line.split_whitespace().map(|w| w.replace('_', " ")))
            .current_dir(self.0.path())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A program that asks for nothing may be gone before it is written.
        let _ = stdin.write_all(format!("{PASSPHRASE}\n").as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// What it prints, for it must succeed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{line}\n{out}{err}");
        out
    }

    /// It must fail with this code, and say what to do next. Returns what it says.
    pub(crate) fn fails(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{line}\n{out}{err}");
        assert!(err.contains("error: ") && err.contains("\n  next: "), "{line}\n{err}");
        format!("{out}{err}")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
