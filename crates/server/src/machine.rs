//! The server's own keys: a machine of genesis that proposes transactions and allocates addresses.
//!
//! They lie on the disk in plain text, readable only by the owner. They grant nothing that would be
//! worth a passphrase: every transaction that the server proposes is judged by replay (P20), and an
//! address is verified by whoever is to use it (P25). Whoever steals them can do what the server can do:
//! delay, hide, and propose what nobody approved, which no co-signer lets into the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use custody::Hash;
use custody::document::{Grant, Machine};
use custody::name::Name;
use custody::rule::Refusal;
use custody::statement::{Body, Envelope, STATEMENT_VERSION, Statement, key_id};
use ed25519_dalek::SigningKey;
use rand_core::{OsRng, RngCore as _};
use serde::Deserialize;
use wire::{TlsKey, WireError};
use zeroize::{Zeroize as _, Zeroizing};

/// The file in the data directory.
pub const KEYS_FILE: &str = "server-keys.json";

/// How long a statement of the server stays valid, in seconds. One that found no batch by then is made
/// anew from what the chain shows then.
pub const OWN_STATEMENT_S: u64 = 600;

/// Longest key file that is read, in bytes; it has fewer than 300.
const FILE_LIMIT_BYTES: u64 = 4_096;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no key file.
    #[error("{0} is no key file of a server: run init in an empty directory")]
    Malformed(PathBuf),
    /// The TLS library refused the key.
    #[error(transparent)]
    Tls(#[from] WireError),
}

/// The keys of the server.
pub struct Keys {
    id: Name,
    sign: SigningKey,
    tls: TlsKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.id)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    id: Name,
    sign: String,
    tls: String,
}

impl Drop for KeysFile {
    fn drop(&mut self) {
        self.sign.zeroize();
        self.tls.zeroize();
    }
}

impl Keys {
    /// Makes new keys and keeps them in `directory`. Refuses to overwrite some.
    ///
    /// # Errors
    /// [`KeysError::Io`], also when there are keys already.
    pub fn create(directory: &Path, id: &Name) -> Result<Self, KeysError> {
        let path = directory.join(KEYS_FILE);
        let wrong = |source| KeysError::Io { path: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(wrong)?;
        let (mut sign, mut tls) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        OsRng.fill_bytes(sign.as_mut());
        OsRng.fill_bytes(tls.as_mut());
        let (sign_hex, tls_hex) = (Zeroizing::new(hex::encode(*sign)), Zeroizing::new(hex::encode(*tls)));
        let text = Zeroizing::new(format!(
            "{{\"id\":\"{id}\",\"sign\":\"{}\",\"tls\":\"{}\"}}\n",
            *sign_hex, *tls_hex
        ));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(wrong)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
        Ok(Self { id: id.clone(), sign: SigningKey::from_bytes(&sign), tls: TlsKey::from_seed(tls)? })
    }

    /// Reads the keys of `directory`.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open(directory: &Path) -> Result<Self, KeysError> {
        let path = directory.join(KEYS_FILE);
        let wrong = |source| KeysError::Io { path: path.clone(), source };
        let malformed = || KeysError::Malformed(path.clone());
        let mut text = Zeroizing::new(String::new());
        let file = File::open(&path).map_err(wrong)?;
        file.take(FILE_LIMIT_BYTES).read_to_string(&mut text).map_err(wrong)?;
        let file: KeysFile = serde_json::from_str(&text).map_err(|_| malformed())?;
        let seed = |text: &str| {
            let mut seed = Zeroizing::new([0; 32]);
            hex::decode_to_slice(text, seed.as_mut()).map_err(|_| malformed())?;
            Ok::<_, KeysError>(seed)
        };
        let sign = SigningKey::from_bytes(&*seed(&file.sign)?);
        Ok(Self { id: file.id.clone(), sign, tls: TlsKey::from_seed(seed(&file.tls)?)? })
    }

    /// The document to put into genesis: the public keys, and the two things that the server may do.
    pub fn machine(&self) -> Machine {
        Machine {
            id: self.id.clone(),
            sign: Hash(self.sign.verifying_key().to_bytes()),
            tls: Hash(self.tls.public()),
            grants: vec![Grant::Authorise, Grant::Allocate],
        }
    }

    /// The server's side of TLS.
    pub fn tls(&self) -> &TlsKey {
        &self.tls
    }

    /// Signs a statement of the server, valid from `now_s` for [`OWN_STATEMENT_S`].
    ///
    /// # Errors
    /// A body without canonical form.
    pub fn state(&self, genesis: Hash, now_s: u64, body: Body) -> Result<Envelope, Refusal> {
        let mut nonce = [0; 32];
        OsRng.fill_bytes(&mut nonce);
        let statement = Statement {
            genesis,
            signer: key_id(&self.machine().sign),
            version: STATEMENT_VERSION,
            nonce: Hash(nonce),
            not_after: Some(now_s.saturating_add(OWN_STATEMENT_S)),
            body,
        };
        statement.sign(&self.sign)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_read_back_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let id = Name::new("server").unwrap();
        let made = Keys::create(dir.path(), &id).unwrap();
        let read = Keys::open(dir.path()).unwrap();
        assert_eq!(made.machine(), read.machine());
        assert_ne!(made.machine().sign, made.machine().tls);
        let mode = std::fs::metadata(dir.path().join(KEYS_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(Keys::create(dir.path(), &id), Err(KeysError::Io { .. })));
        assert_eq!(Keys::open(dir.path()).unwrap().machine(), made.machine());
    }

    #[test]
    fn what_is_no_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{}", r#"{"id":"server","sign":"00","tls":"00"}"#] {
            std::fs::write(dir.path().join(KEYS_FILE), text).unwrap();
            assert!(matches!(Keys::open(dir.path()), Err(KeysError::Malformed(_))), "{text}");
        }
    }
}
