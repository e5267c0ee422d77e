//! The commands.

mod init;
mod rekey;
mod run;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use custody::canon;
use custody::genesis::Genesis;
use custody::name::Name;
use keys::cosigner::CosignerSecrets;
use keys::locked::LockedBytes;
use keys::vault::{Vault, VaultError};
use signer::cosigner::{KEYS_FILE, keys_context};

pub(crate) use init::init;
pub(crate) use rekey::rekey;
pub(crate) use run::run;

/// Longest unlock secret that is read, in bytes.
const SECRET_LIMIT_BYTES: usize = 4_096;

/// The pinned genesis in the data directory.
const GENESIS_FILE: &str = "genesis.json";

/// The pinned heads in the data directory: a canonical list of notes.
const PINS_FILE: &str = "pinned-heads.json";

pub(crate) type Failure = Box<dyn std::error::Error>;

/// The options of a command: each `--name` with its value, flags with an empty one.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = BTreeMap::new();
        let mut arguments = arguments.peekable();
        while let Some(name) = arguments.next() {
            let name =
                name.strip_prefix("--").ok_or_else(|| format!("unexpected {name:?}; see --help"))?.to_owned();
            let flag = matches!(name.as_str(), "witness" | "restored" | "first-start");
            let value = if flag { Some(String::new()) } else { arguments.next() };
            let value = value.ok_or_else(|| format!("--{name} needs a value"))?;
            if options.insert(name.clone(), value).is_some() {
                return Err(format!("--{name} is given twice").into());
            }
        }
        Ok(Self(options))
    }

    fn flag(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn need(&mut self, name: &str) -> Result<String, Failure> {
        Ok(self.optional(name).ok_or_else(|| format!("--{name} is missing; see --help"))?)
    }

    /// Refuses whatever was given and not asked for.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("--{name} is not an option here; see --help").into()),
        }
    }
}

/// Reads the unlock secret from a file descriptor into locked memory.
fn read_secret(options: &mut Options) -> Result<LockedBytes, Failure> {
    let fd: u32 = options.need("secret-fd")?.parse().map_err(|_| "--secret-fd takes a number")?;
    let mut file = std::fs::File::open(format!("/dev/fd/{fd}"))
        .map_err(|e| format!("file descriptor {fd} cannot be read ({e}): open it for this process"))?;
    let mut secret = LockedBytes::zeroed(SECRET_LIMIT_BYTES)?;
    let mut length = 0usize;
    loop {
        let rest = secret.expose_mut().get_mut(length..).unwrap_or_default();
        let more = file.read(rest)?;
        if more == 0 {
            break;
        }
        length = length.saturating_add(more);
    }
    secret.truncate(length);
    Ok(secret)
}

/// The pinned heads of a data directory; none was entered before there is such a file.
fn read_pins(directory: &Path) -> Result<Vec<String>, Failure> {
    let file = directory.join(PINS_FILE);
    match std::fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("{}: {error}", file.display()).into()),
        Ok(bytes) => Ok(canon::decode(&bytes)?),
    }
}

/// Opens the keys of whichever co-signer of genesis this directory is of, or of the one `named`, which joined later.
fn open_keys(
    genesis: &Genesis,
    named: Option<Name>,
    directory: &Path,
    secret: &LockedBytes,
) -> Result<(Name, Vault, CosignerSecrets), Failure> {
    let file = directory.join(KEYS_FILE);
    let file = std::fs::read(&file).map_err(|e| format!("{}: {e}; run init first", file.display()))?;
    let vault = Vault::unlock(secret, &file)?;
    let names = genesis.cosigners.iter().map(|card| card.name.clone()).chain(named);
    for name in names {
        match vault.open(&keys_context(&name), &file) {
            Ok(plain) => {
                let secrets = CosignerSecrets::from_plaintext(&plain)?;
                let card = genesis.cosigners.iter().find(|card| card.name == name);
                if card.is_some_and(|card| secrets.public().identity != card.identity) {
                    return Err(format!("the keys here are not those of {name} in genesis").into());
                }
                return Ok((name, vault, secrets));
            }
            Err(VaultError::OtherFile { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err("genesis has no co-signer of the name that these keys were made for: run one that joins later with --name"
        .into())
}
