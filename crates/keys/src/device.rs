//! A person's key file: one Ed25519 key that signs statements and one for TLS, under a passphrase.
//!
//! The public keys can be read without the passphrase and are authenticated with it. The field
//! `kind` leaves room for keys that never are in a file (passkeys, PKCS#11 tokens).

use std::fmt;

use ed25519_dalek::SigningKey;
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use custody::Hash;

use crate::lockbox::{BoxKey, Kdf, LockboxError, Sealed};
use crate::locked::{LockError, LockedBytes};
use crate::purpose::{Purpose, WrongPurpose};

/// Shortest passphrase in characters (NIST SP 800-63B §5.1.1.1).
pub const MIN_PASSPHRASE_CHARS: usize = 8;

const FORMAT: &str = "keyward-device-key/v1";
const KIND: &str = "passphrase";
const SEED_BYTES: usize = 32;

/// Why a key file is not written or read.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The passphrase is too short.
    #[error("the passphrase has fewer than {MIN_PASSPHRASE_CHARS} characters; choose a longer one")]
    ShortPassphrase,
    /// Not a key file of this version.
    #[error("not a {FORMAT} file: {0}")]
    Format(String),
    /// A key that is not in a file.
    #[error("a device of kind {0:?} cannot be used here; this program knows {KIND:?}")]
    Kind(String),
    /// The passphrase is wrong, or somebody changed the file.
    #[error("wrong passphrase, or the file was altered")]
    Refused,
    /// Another reason why it does not open.
    #[error(transparent)]
    Box(LockboxError),
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

impl From<LockboxError> for DeviceError {
    fn from(error: LockboxError) -> Self {
        match error {
            LockboxError::Refused => Self::Refused,
            other => Self::Box(other),
        }
    }
}

/// The public keys of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicePublic {
    /// Signs statements (Ed25519).
    pub sign: Hash,
    /// Opens connections (Ed25519).
    pub tls: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFile {
    format: String,
    kind: String,
    public: DevicePublic,
    #[serde(rename = "box")]
    sealed: Sealed,
}

/// The part of every key file, of whatever kind, that says what it is.
#[derive(Deserialize)]
struct Header {
    format: String,
    kind: String,
}

/// What a person's key signs: nothing else.
#[derive(Clone, Copy, Debug)]
pub enum SignMessage<'a> {
    /// The DSSE pre-authentication encoding of a statement.
    Statement(&'a [u8]),
    /// The signed bytes of a ceremony record, which begin with their domain tag.
    CeremonyRecord(&'a [u8]),
    /// The signed bytes of the report of a ceremony, as above.
    CeremonyReport(&'a [u8]),
    /// What is signed to go on with a ceremony in spite of a finding, as above.
    CeremonyDeviation(&'a [u8]),
}

/// A person's keys, unlocked.
pub struct DeviceKey {
    sign: Box<SigningKey>,
    tls: Box<SigningKey>,
}

impl DeviceKey {
    /// New keys.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut fresh = || {
            let mut seed = Zeroizing::new([0; SEED_BYTES]);
            rng.fill_bytes(seed.as_mut_slice());
            Box::new(SigningKey::from_bytes(&seed))
        };
        Self { sign: fresh(), tls: fresh() }
    }

    /// The public keys.
    pub fn public(&self) -> DevicePublic {
        let public = |key: &SigningKey| Hash(key.verifying_key().to_bytes());
        DevicePublic { sign: public(&self.sign), tls: public(&self.tls) }
    }

    /// Signs as this person.
    ///
    /// # Errors
    /// Bytes that are not encoded as what they are said to be.
    pub fn sign(&self, message: SignMessage<'_>) -> Result<[u8; 64], WrongPurpose> {
        match message {
            SignMessage::Statement(bytes) => Purpose::Statement.sign(&self.sign, bytes),
            SignMessage::CeremonyRecord(bytes) => Purpose::CeremonyRecord.sign(&self.sign, bytes),
            SignMessage::CeremonyReport(bytes) => Purpose::CeremonyReport.sign(&self.sign, bytes),
            SignMessage::CeremonyDeviation(bytes) => Purpose::CeremonyDeviation.sign(&self.sign, bytes),
        }
    }

    /// The seed of the TLS key (RFC 8032), to be moved into the TLS library.
    pub fn tls_seed(&self) -> Zeroizing<[u8; SEED_BYTES]> {
        Zeroizing::new(self.tls.to_bytes())
    }

    /// The bytes of a key file under `passphrase`.
    ///
    /// # Errors
    /// A passphrase that is too short.
    pub fn to_file(&self, passphrase: &str, rng: &mut impl CryptoRngCore) -> Result<Vec<u8>, DeviceError> {
        let kdf = Kdf::fresh(rng);
        self.to_file_with(passphrase, kdf, rng)
    }

    pub(crate) fn to_file_with(
        &self,
        passphrase: &str,
        kdf: Kdf,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, DeviceError> {
        if passphrase.chars().count() < MIN_PASSPHRASE_CHARS {
            return Err(DeviceError::ShortPassphrase);
        }
        let public = self.public();
        let context = associated(KIND, &public, &kdf)?;
        let seeds = Zeroizing::new([self.sign.to_bytes(), self.tls.to_bytes()].concat());
        let sealed = BoxKey::derive(passphrase.as_bytes(), kdf)?.seal(&context, &seeds, rng)?;
        let file = DeviceFile { format: FORMAT.to_owned(), kind: KIND.to_owned(), public, sealed };
        serde_json::to_vec_pretty(&file).map_err(format_error)
    }

    /// Opens a key file.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] for a wrong passphrase or an altered file, and what [`public_of`] refuses.
    pub fn from_file(bytes: &[u8], passphrase: &str) -> Result<Self, DeviceError> {
        let file = read(bytes)?;
        let context = associated(&file.kind, &file.public, &file.sealed.kdf)?;
        let key = BoxKey::derive(passphrase.as_bytes(), file.sealed.kdf.clone())?;
        let seeds: LockedBytes = key.open(&context, &file.sealed)?;
        let (sign, tls) = seeds.expose().split_first_chunk::<SEED_BYTES>().ok_or(DeviceError::Refused)?;
        let tls = tls.try_into().map_err(|_| DeviceError::Refused)?;
        Ok(Self { sign: Box::new(SigningKey::from_bytes(sign)), tls: Box::new(SigningKey::from_bytes(tls)) })
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey(<secret> of {:?})", self.public())
    }
}

/// The public keys of a key file, without its passphrase; only [`DeviceKey::from_file`] shows
/// whether somebody changed them.
///
/// # Errors
/// Not a key file, one of another version, or of a kind that this program does not know.
pub fn public_of(bytes: &[u8]) -> Result<DevicePublic, DeviceError> {
    read(bytes).map(|file| file.public)
}

fn read(bytes: &[u8]) -> Result<DeviceFile, DeviceError> {
    let header: Header = serde_json::from_slice(bytes).map_err(format_error)?;
    if header.format != FORMAT {
        return Err(DeviceError::Format(format!("it says {:?}", header.format)));
    }
    if header.kind != KIND {
        return Err(DeviceError::Kind(header.kind));
    }
    serde_json::from_slice(bytes).map_err(format_error)
}

fn associated(kind: &str, public: &DevicePublic, kdf: &Kdf) -> Result<Vec<u8>, DeviceError> {
    serde_json::to_vec(&(FORMAT, kind, public, kdf)).map_err(format_error)
}

fn format_error(error: serde_json::Error) -> DeviceError {
    DeviceError::Format(error.to_string())
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;
    use crate::lockbox::{ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES};

    const PASSPHRASE: &str = "correct horse";

    /// A key and its file, derived at a cost that tests can pay a thousand times.
    fn cheap() -> (DeviceKey, Vec<u8>) {
        let key = DeviceKey::generate(&mut OsRng);
        let file = key.to_file_with(PASSPHRASE, Kdf::with_cost(32, 1, &mut OsRng), &mut OsRng).unwrap();
        (key, file)
    }

    fn change(file: &[u8], change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
        let mut value = serde_json::from_slice(file).unwrap();
        change(&mut value);
        serde_json::to_vec(&value).unwrap()
    }

    #[test]
    fn a_file_opens_with_its_passphrase_only() {
        let (key, file) = cheap();
        let opened = DeviceKey::from_file(&file, PASSPHRASE).unwrap();
        assert_eq!((opened.public(), public_of(&file).unwrap()), (key.public(), key.public()));
        assert_eq!((&opened.sign, &opened.tls), (&key.sign, &key.tls));
        for wrong in ["", "correct horsf", "correct horse "] {
            assert!(matches!(DeviceKey::from_file(&file, wrong), Err(DeviceError::Refused)));
        }
    }

    #[test]
    fn files_are_written_at_the_full_cost() {
        let key = DeviceKey::generate(&mut OsRng);
        let file = key.to_file(PASSPHRASE, &mut OsRng).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
        let kdf = &value["box"]["kdf"];
        assert_eq!(kdf["memory_kib"], ARGON2_MEMORY_KIB);
        assert_eq!(kdf["passes"], ARGON2_PASSES);
        assert_eq!(kdf["lanes"], ARGON2_LANES);
        assert_eq!(DeviceKey::from_file(&file, PASSPHRASE).unwrap().public(), key.public());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (_, file) = cheap();
        for bit in 0..file.len() * 8 {
            let mut altered = file.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(DeviceKey::from_file(&altered, PASSPHRASE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_changed_public_key_is_noticed() {
        let (_, file) = cheap();
        for key in ["sign", "tls"] {
            let altered = change(&file, |value| value["public"][key] = "00".repeat(32).into());
            assert!(public_of(&altered).is_ok());
            assert!(matches!(DeviceKey::from_file(&altered, PASSPHRASE), Err(DeviceError::Refused)));
        }
    }

    #[test]
    fn passphrases_have_a_least_length() {
        let key = DeviceKey::generate(&mut OsRng);
        let file = |passphrase| key.to_file_with(passphrase, Kdf::with_cost(32, 1, &mut OsRng), &mut OsRng);
        assert!(matches!(file("1234567"), Err(DeviceError::ShortPassphrase)));
        assert!(file("12345678").is_ok());
        assert!(matches!(file("ääääääa"), Err(DeviceError::ShortPassphrase)));
    }

    #[test]
    fn other_kinds_and_versions_are_named() {
        let (_, file) = cheap();
        let passkey = change(&file, |value| value["kind"] = "passkey".into());
        assert_eq!(
            public_of(&passkey).unwrap_err().to_string(),
            "a device of kind \"passkey\" cannot be used here; this program knows \"passphrase\""
        );
        let minimal = br#"{"format":"keyward-device-key/v1","kind":"pkcs11","module":"x.so"}"#;
        assert!(matches!(public_of(minimal), Err(DeviceError::Kind(kind)) if kind == "pkcs11"));
        let newer = change(&file, |value| value["format"] = "keyward-device-key/v2".into());
        assert!(matches!(public_of(&newer), Err(DeviceError::Format(why)) if why.contains("/v2")));
        let more = change(&file, |value| value["note"] = 1.into());
        assert!(matches!(public_of(&more), Err(DeviceError::Format(_))));
        assert!(matches!(public_of(b"{}"), Err(DeviceError::Format(_))));
    }

    #[test]
    fn costs_and_algorithms_have_bounds() {
        use crate::lockbox::{ARGON2_MOST_MEMORY_KIB, ARGON2_MOST_PASSES};
        let (_, file) = cheap();
        let outcome = |field: &str, value: serde_json::Value| {
            let altered = change(&file, |file| file["box"]["kdf"][field] = value);
            DeviceKey::from_file(&altered, PASSPHRASE).unwrap_err()
        };
        // Within the bounds another cost only gives another key.
        assert!(matches!(outcome("memory_kib", 33.into()), DeviceError::Refused));
        assert!(matches!(outcome("passes", ARGON2_MOST_PASSES.into()), DeviceError::Refused));
        for (field, value) in [
            ("memory_kib", (ARGON2_MOST_MEMORY_KIB + 1).into()),
            ("memory_kib", 7.into()),
            ("passes", (ARGON2_MOST_PASSES + 1).into()),
            ("passes", 0.into()),
            ("lanes", 2.into()),
            ("algorithm", "argon2i".into()),
            ("salt", "AAAAAAAAAAAAAAAAAAAA".into()),
            ("salt", "AAAAAAAAAAAAAAAAAAAAAAA=".into()),
        ] {
            assert!(matches!(outcome(field, value), DeviceError::Box(LockboxError::Parameters)), "{field}");
        }
        for (field, value) in [("cipher", "aes"), ("nonce", "AAAA")] {
            let altered = change(&file, |file| file["box"][field] = value.into());
            let refused = DeviceKey::from_file(&altered, PASSPHRASE).unwrap_err();
            assert!(matches!(refused, DeviceError::Box(LockboxError::Parameters)), "{field}");
        }
        let empty = change(&file, |file| file["box"]["sealed"] = "".into());
        assert!(matches!(DeviceKey::from_file(&empty, PASSPHRASE), Err(DeviceError::Refused)));
    }
}
