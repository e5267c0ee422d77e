//! The log, checked from outside.

use std::path::Path;
use std::time::Instant;

use super::{Story, strings};
use crate::sandbox::programs::{ask, program};
use crate::sandbox::{Failure, tell, text};

impl Story {
    /// Anybody with the public keys checks everything that ever happened.
    pub(super) fn verify_log(&mut self) -> Result<(), Failure> {
        let (export, keys) = (self.directory.join("export"), self.directory.join("log-keys.txt"));
        let (export_text, keys_text) = (text(&export), text(&keys));
        self.person("alice").run(&["log", "export", &export_text, "--keys", &keys_text])?;
        let keyward = program("keyward")?;
        let verify = ["log", "verify", &export_text, "--keys", &keys_text];
        let begun = Instant::now();
        let said = ask(&keyward, &verify, None)?;
        let took = begun.elapsed().as_millis();
        let entries = said.lines().find_map(|line| line.strip_prefix("entries")).unwrap_or_default().trim();
        tell("log", format!("verified offline in {took} ms, every payment with its reasons: {entries}"));
        let bundle = export.join("tile/entries");
        flip_a_byte(&bundle)?;
        let found = ask(&keyward, &verify, None).err().ok_or("a changed log was not noticed")?.to_string();
        let found = found.lines().find(|l| l.contains("error")).unwrap_or(&found).trim().to_owned();
        tell("log", format!("one byte changed: {}", found.split("failed: ").last().unwrap_or(&found)));
        std::fs::remove_dir_all(&export)?;
        self.person("alice").run(&["log", "export", &export_text, "--keys", &keys_text])?;
        self.facts.log_export = export_text.clone();
        self.facts.log_keys = keys_text.clone();
        self.facts.log_verify = [vec![text(&keyward)], strings(&verify)].concat();
        Ok(())
    }
}

fn flip_a_byte(directory: &Path) -> Result<(), Failure> {
    let mut file = directory.to_owned();
    while file.is_dir() {
        let entry = file.read_dir()?.next().ok_or("an export without entries")??;
        file = entry.path();
    }
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    Ok(std::fs::write(file, bytes)?)
}
