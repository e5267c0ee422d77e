//! The server's own keys: a machine of the log that proposes transactions and allocates addresses, or,
//! with a directory of its own, one that may only freeze.
//!
//! They lie on the disk in plain text, readable only by the owner. They grant nothing that would be
//! worth a passphrase: every transaction that the server proposes is judged by replay (P20), and an
//! address is verified by whoever is to use it (P25). Whoever steals them can do what the server can do:
//! delay, hide, stop, and propose what nobody approved, which no co-signer lets into the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use certificate::{Certificate, CertificateError};
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

/// What the server's machine may do unless said otherwise. With rule set 2 it may `observe` too.
pub const SERVER_GRANTS: [Grant; 2] = [Grant::Authorise, Grant::Allocate];

/// The file in the data directory with the hosts at which clients of HTTPS reach the server, one a line.
pub const HOSTS_FILE: &str = "api-hosts";

/// The hosts that every certificate of a server has.
pub const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Longest key file that is read, in bytes; it has fewer than 400.
const FILE_LIMIT_BYTES: u64 = 4_096;

/// Longest list of hosts that is read, in bytes: 32 of 253 bytes (RFC 1035 §2.3.4) are fewer.
const HOSTS_LIMIT_BYTES: u64 = 16_384;

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
    tls_seed: Zeroizing<[u8; 32]>,
    grants: Vec<Grant>,
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
    /// Files of older versions have none: there were only servers.
    #[serde(default = "server_grants")]
    grants: Vec<Grant>,
}

fn server_grants() -> Vec<Grant> {
    SERVER_GRANTS.to_vec()
}

impl Drop for KeysFile {
    fn drop(&mut self) {
        self.sign.zeroize();
        self.tls.zeroize();
    }
}

impl Keys {
    /// Makes new keys and keeps them in `directory`, for a machine that is to be enrolled with `grants`.
    /// Refuses to overwrite some.
    ///
    /// # Errors
    /// [`KeysError::Io`], also when there are keys already.
    pub fn create(directory: &Path, id: &Name, grants: &[Grant]) -> Result<Self, KeysError> {
        let path = directory.join(KEYS_FILE);
        let wrong = |source| KeysError::Io { path: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(wrong)?;
        let (mut sign, mut tls) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        OsRng.fill_bytes(sign.as_mut());
        OsRng.fill_bytes(tls.as_mut());
        let (sign_hex, tls_hex) = (Zeroizing::new(hex::encode(*sign)), Zeroizing::new(hex::encode(*tls)));
        let mut grants = grants.to_vec();
        grants.sort();
        grants.dedup();
        let listed = serde_json::to_string(&grants).map_err(|error| wrong(error.into()))?;
        let text = Zeroizing::new(format!(
            "{{\"id\":\"{id}\",\"sign\":\"{}\",\"tls\":\"{}\",\"grants\":{listed}}}\n",
            *sign_hex, *tls_hex
        ));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(wrong)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
        Self::new(id.clone(), &sign, tls, grants)
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
        Self::new(file.id.clone(), &seed(&file.sign)?, seed(&file.tls)?, file.grants.clone())
    }

    fn new(
        id: Name,
        sign: &Zeroizing<[u8; 32]>,
        tls_seed: Zeroizing<[u8; 32]>,
        grants: Vec<Grant>,
    ) -> Result<Self, KeysError> {
        let tls = TlsKey::from_seed(tls_seed.clone())?;
        Ok(Self { id, sign: SigningKey::from_bytes(sign), tls, tls_seed, grants })
    }

    /// The document to enrol: the public keys, and what the machine may do.
    pub fn machine(&self) -> Machine {
        Machine {
            id: self.id.clone(),
            sign: Hash(self.sign.verifying_key().to_bytes()),
            tls: Hash(self.tls.public()),
            grants: self.grants.clone(),
        }
    }

    /// The server's side of TLS.
    pub fn tls(&self) -> &TlsKey {
        &self.tls
    }

    /// The certificate around the TLS key, for HTTPS at `hosts` (see [`hosts`]) and at [`LOCAL_HOSTS`]. The
    /// same hosts make the same certificate: the one that clients were given.
    ///
    /// # Errors
    /// A host that is none, or too many of them.
    pub fn certificate(&self, hosts: &[String]) -> Result<Certificate, CertificateError> {
        let mut all = LOCAL_HOSTS.to_vec();
        for host in hosts {
            if !all.contains(&host.as_str()) {
                all.push(host);
            }
        }
        certificate::self_signed(&self.tls_seed, self.id.as_str(), &all)
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
            // What reduces authority has no end (P16).
            not_after: (!body.is_reduction()).then(|| now_s.saturating_add(OWN_STATEMENT_S)),
            body,
        };
        statement.sign(&self.sign)
    }
}

/// The hosts that [`keep_hosts`] kept in `directory`; none when it was not called.
///
/// # Errors
/// [`KeysError::Io`].
pub fn hosts(directory: &Path) -> Result<Vec<String>, KeysError> {
    let path = directory.join(HOSTS_FILE);
    let mut text = String::new();
    match File::open(&path).and_then(|file| file.take(HOSTS_LIMIT_BYTES).read_to_string(&mut text)) {
        Ok(_) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(KeysError::Io { path, source }),
    }
}

/// Keeps the hosts at which clients of HTTPS reach the server, in place of those that were kept before.
/// Give it what [`Keys::certificate`] took.
///
/// # Errors
/// [`KeysError::Io`].
pub fn keep_hosts(directory: &Path, hosts: &[String]) -> Result<(), KeysError> {
    let path = directory.join(HOSTS_FILE);
    let text: String = hosts.iter().map(|host| format!("{host}\n")).collect();
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, &path))
        .map_err(|source| KeysError::Io { path, source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_read_back_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let id = Name::new("server").unwrap();
        let made = Keys::create(dir.path(), &id, &SERVER_GRANTS).unwrap();
        let read = Keys::open(dir.path()).unwrap();
        assert_eq!(made.machine(), read.machine());
        assert_ne!(made.machine().sign, made.machine().tls);
        let mode = std::fs::metadata(dir.path().join(KEYS_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(Keys::create(dir.path(), &id, &SERVER_GRANTS), Err(KeysError::Io { .. })));
        assert_eq!(Keys::open(dir.path()).unwrap().machine(), made.machine());
    }

    #[test]
    fn what_is_no_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let seed = "00".repeat(32);
        let granted = format!(r#"{{"id":"server","sign":"{seed}","tls":"{seed}","grants":["everything"]}}"#);
        for text in ["", "{}", r#"{"id":"server","sign":"00","tls":"00"}"#, &granted] {
            std::fs::write(dir.path().join(KEYS_FILE), text).unwrap();
            assert!(matches!(Keys::open(dir.path()), Err(KeysError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn the_grants_are_kept_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let id = Name::new("alarm").unwrap();
        let grants = [Grant::Observe, Grant::Freeze, Grant::Observe];
        let made = Keys::create(dir.path(), &id, &grants).unwrap();
        assert_eq!(made.machine().grants, [Grant::Freeze, Grant::Observe]);
        assert_eq!(Keys::open(dir.path()).unwrap().machine(), made.machine());
    }

    /// Written by the first release.
    #[test]
    fn a_file_without_grants_is_one_of_a_server() {
        let dir = tempfile::tempdir().unwrap();
        let (sign, tls) = ("01".repeat(32), "02".repeat(32));
        let text = format!("{{\"id\":\"server\",\"sign\":\"{sign}\",\"tls\":\"{tls}\"}}\n");
        std::fs::write(dir.path().join(KEYS_FILE), text).unwrap();
        let machine = Keys::open(dir.path()).unwrap().machine();
        assert_eq!(machine.grants, [Grant::Authorise, Grant::Allocate]);
        assert_eq!(machine.tls.0, TlsKey::from_seed(Zeroizing::new([2; 32])).unwrap().public());
    }

    #[test]
    fn the_certificate_is_one_of_the_tls_key_and_its_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), &Name::new("server").unwrap(), &SERVER_GRANTS).unwrap();
        assert!(hosts(dir.path()).unwrap().is_empty());
        let named = ["custody.example".to_owned(), "10.0.0.7".to_owned(), "localhost".to_owned()];
        let made = keys.certificate(&named).unwrap();
        assert_eq!(certificate::key_of(&made.der), Some(keys.machine().tls.0));
        for bytes in [&b"custody.example"[..], &[10, 0, 0, 7], b"localhost", &[127, 0, 0, 1]] {
            assert_eq!(made.der.windows(bytes.len()).filter(|window| window == &bytes).count(), 1);
        }
        // Another run makes the same one.
        keep_hosts(dir.path(), &named).unwrap();
        let kept = hosts(dir.path()).unwrap();
        assert_eq!(kept, named);
        assert_eq!(Keys::open(dir.path()).unwrap().certificate(&kept).unwrap().pem, made.pem);
        keep_hosts(dir.path(), &[]).unwrap();
        assert!(hosts(dir.path()).unwrap().is_empty());
        assert_ne!(keys.certificate(&[]).unwrap().pem, made.pem);
        let refused = keys.certificate(&["a b".to_owned()]).unwrap_err();
        assert!(matches!(refused, CertificateError::Host(_)));
    }

    #[test]
    fn what_is_printed_for_debugging_has_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), &Name::new("server").unwrap(), &SERVER_GRANTS).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(server)");
    }
}
