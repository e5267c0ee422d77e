//! People at their own machines: each with a home directory, a device key and a passphrase made now.

use std::path::{Path, PathBuf};

use rand_core::{OsRng, RngCore as _};
use serde_json::Value;

use super::{Failure, programs, text};

/// One person.
#[derive(Debug)]
pub(super) struct Person {
    /// The handle.
    pub id: String,
    home: PathBuf,
    device: PathBuf,
    passphrase: String,
    keyward: PathBuf,
}

/// A secret for this run, as text.
pub(super) fn secret() -> String {
    let mut bytes = [0; 16];
    OsRng.fill_bytes(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Person {
    /// Makes a person's device key.
    ///
    /// # Errors
    /// What `keyward person new` says.
    pub(super) fn new(id: &str, name: &str, directory: &Path) -> Result<Self, Failure> {
        let person = Self::prepare(id, directory)?;
        person.run(&["person", "new", "--id", id, "--name", name, "--out", &text(&person.device)])?;
        Ok(person)
    }

    /// Makes the key of a machine that may do one thing.
    ///
    /// # Errors
    /// What `keyward machine new` says.
    pub(super) fn machine(id: &str, grant: &str, directory: &Path) -> Result<Self, Failure> {
        let machine = Self::prepare(id, directory)?;
        machine.run(&["machine", "new", "--id", id, "--grant", grant, "--out", &text(&machine.device)])?;
        Ok(machine)
    }

    fn prepare(id: &str, directory: &Path) -> Result<Self, Failure> {
        let home = directory.join("people").join(id);
        std::fs::create_dir_all(&home)?;
        let device = home.join("device.json");
        let person = Self {
            id: id.to_owned(),
            device,
            passphrase: secret(),
            keyward: programs::program("keyward")?,
            home,
        };
        // For whoever goes on playing when the story is over.
        std::fs::write(person.home.join("passphrase"), format!("{}\n", person.passphrase))?;
        Ok(person)
    }

    /// The public part of the device key.
    pub(super) fn public_file(&self) -> PathBuf {
        self.device.with_extension("json.pub.json")
    }

    /// The device key file.
    pub(super) fn device(&self) -> &Path {
        &self.device
    }

    /// The passphrase.
    pub(super) fn passphrase(&self) -> &str {
        &self.passphrase
    }

    /// The command line that this person would type.
    pub(super) fn shown(&self, command: &str) -> String {
        let (home, device) = (text(&self.home), text(&self.device));
        format!("keyward --home {home} --device {device} --passphrase-fd 3 {command} 3<{home}/passphrase")
    }

    /// Runs `keyward` as this person; the answer is JSON.
    ///
    /// # Errors
    /// What it says when it refuses.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let said = programs::ask(
            &self.keyward,
            &self.all(arguments).iter().map(String::as_str).collect::<Vec<_>>(),
            Some(&self.passphrase),
        )?;
        Ok(serde_json::from_str(&said).unwrap_or(Value::String(said)))
    }

    /// Runs `keyward` and expects it to refuse; gives what it said.
    ///
    /// # Errors
    /// When it did not refuse.
    pub(super) fn refused(&self, arguments: &[&str]) -> Result<String, Failure> {
        match self.run(arguments) {
            Ok(said) => Err(format!("{} was not refused: {said}", arguments.join(" ")).into()),
            Err(error) => Ok(error.to_string()),
        }
    }

    fn all(&self, arguments: &[&str]) -> Vec<String> {
        let global = [
            "--home",
            &text(&self.home),
            "--device",
            &text(&self.device),
            "--passphrase-fd",
            "0",
            "--output",
            "json",
        ];
        global.iter().chain(arguments).map(|a| (*a).to_owned()).collect()
    }
}
