//! Files that only a co-signer's unlock secret opens: its identity keys and its shares at rest.
//!
//! The secret comes on a file descriptor at start and is never stored beside the files, so that a
//! copied data directory opens nothing. One derivation serves all files of a vault, which share a
//! salt; each file has its own random nonce and authenticates what it is, for whom and where.

use std::fmt;

use custody::Hash;
use custody::name::Name;
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};

pub use crate::lockbox::LockboxError;
use crate::lockbox::{BoxKey, Kdf, Sealed};
use crate::locked::LockedBytes;

/// Shortest unlock secret in bytes: 128 bits if it is random, as it should be.
pub const MIN_UNLOCK_BYTES: usize = 16;

const FORMAT: &str = "keyward-vault/v1";

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VaultKind {
    /// A co-signer's identity and operating keys ([`crate::cosigner::CosignerSecrets`]).
    CosignerKeys,
    /// One key share ([`crate::share::HeldShare`]); the public part beside it says of which account.
    Share,
    /// The key that a co-signer made for one resharing ([`crate::seal::SealKey`]).
    Offer,
}

/// What a file is, for whom, and in which deployment. It stands in the file and is authenticated:
/// a file in the place of another does not open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultContext {
    /// What it holds.
    pub kind: VaultKind,
    /// The deployment; all zero before genesis exists.
    pub genesis: Hash,
    /// The name of the co-signer.
    pub cosigner: Name,
}

/// Why a file is not written or does not open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The unlock secret is too short.
    #[error("the unlock secret has fewer than {MIN_UNLOCK_BYTES} bytes; use 32 random ones")]
    ShortSecret,
    /// Not a vault file of this version.
    #[error("not a {FORMAT} file: {0}")]
    Format(String),
    /// The file is another one than expected.
    #[error("the file is {found:?}, and not {expected:?}")]
    OtherFile {
        /// What was asked for.
        expected: Box<VaultContext>,
        /// What the file says that it is.
        found: Box<VaultContext>,
    },
    /// The file belongs to another vault.
    #[error("the file was written by another vault; unlock that one")]
    OtherVault,
    /// See [`LockboxError`].
    #[error(transparent)]
    Box(#[from] LockboxError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultFile {
    format: String,
    context: VaultContext,
    #[serde(rename = "box")]
    sealed: Sealed,
}

/// An unlocked vault.
pub struct Vault(BoxKey);

impl Vault {
    /// A new vault under `secret`.
    ///
    /// # Errors
    /// A secret that is too short, no locked memory.
    pub fn create(secret: &LockedBytes, rng: &mut impl CryptoRngCore) -> Result<Self, VaultError> {
        Self::derive(secret, Kdf::fresh(rng))
    }

    /// The vault that wrote `file`, any file of it. Whether the secret is right shows at the first
    /// [`Vault::open`].
    ///
    /// # Errors
    /// A secret that is too short, not a vault file, no locked memory.
    pub fn unlock(secret: &LockedBytes, file: &[u8]) -> Result<Self, VaultError> {
        Self::derive(secret, read(file)?.sealed.kdf)
    }

    pub(crate) fn derive(secret: &LockedBytes, kdf: Kdf) -> Result<Self, VaultError> {
        if secret.expose().len() < MIN_UNLOCK_BYTES {
            return Err(VaultError::ShortSecret);
        }
        Ok(Self(BoxKey::derive(secret.expose(), kdf)?))
    }

    /// The bytes of a file that holds `plaintext`.
    ///
    /// # Errors
    /// None but for absurd lengths.
    pub fn seal(
        &self,
        context: &VaultContext,
        plaintext: &[u8],
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, VaultError> {
        let sealed = self.0.seal(&associated(context, self.0.kdf())?, plaintext, rng)?;
        let file = VaultFile { format: FORMAT.to_owned(), context: context.clone(), sealed };
        serde_json::to_vec(&file).map_err(|error| VaultError::Format(error.to_string()))
    }

    /// What a file holds, if it is the one that `expected` describes.
    ///
    /// # Errors
    /// Another file, another vault, a wrong secret, an altered byte.
    pub fn open(&self, expected: &VaultContext, file: &[u8]) -> Result<LockedBytes, VaultError> {
        let file = read(file)?;
        if file.context != *expected {
            let (expected, found) = (Box::new(expected.clone()), Box::new(file.context));
            return Err(VaultError::OtherFile { expected, found });
        }
        if file.sealed.kdf != *self.0.kdf() {
            return Err(VaultError::OtherVault);
        }
        Ok(self.0.open(&associated(expected, self.0.kdf())?, &file.sealed)?)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(<secret>)")
    }
}

fn read(file: &[u8]) -> Result<VaultFile, VaultError> {
    let file: VaultFile =
        serde_json::from_slice(file).map_err(|error| VaultError::Format(error.to_string()))?;
    if file.format != FORMAT {
        return Err(VaultError::Format(format!("it says {:?}", file.format)));
    }
    Ok(file)
}

fn associated(context: &VaultContext, kdf: &Kdf) -> Result<Vec<u8>, VaultError> {
    serde_json::to_vec(&(FORMAT, context, kdf)).map_err(|error| VaultError::Format(error.to_string()))
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;

    fn secret(bytes: &[u8]) -> LockedBytes {
        LockedBytes::take(&mut bytes.to_vec()).unwrap()
    }

    /// A vault derived at a cost that tests can pay a thousand times.
    fn cheap() -> Vault {
        Vault::derive(&secret(&[7; 32]), Kdf::with_cost(8, 1, &mut OsRng)).unwrap()
    }

    fn context() -> VaultContext {
        let cosigner = Name::new("signer-1").unwrap();
        VaultContext { kind: VaultKind::Share, genesis: Hash([1; 32]), cosigner }
    }

    #[test]
    fn files_open_with_the_secret_alone() {
        let vault = cheap();
        let files = [b"one", b"two"].map(|plaintext| vault.seal(&context(), plaintext, &mut OsRng).unwrap());
        let again = Vault::unlock(&secret(&[7; 32]), &files[1]).unwrap();
        assert_eq!(again.open(&context(), &files[0]).unwrap().expose(), b"one");
        assert_eq!(again.open(&context(), &files[1]).unwrap().expose(), b"two");
        let wrong = Vault::unlock(&secret(&[8; 32]), &files[0]).unwrap();
        let refused = wrong.open(&context(), &files[0]);
        assert!(matches!(refused, Err(VaultError::Box(LockboxError::Refused))));
    }

    #[test]
    fn a_file_does_not_open_as_another() {
        let vault = cheap();
        let file = vault.seal(&context(), b"plaintext", &mut OsRng).unwrap();
        let others = [
            VaultContext { kind: VaultKind::CosignerKeys, ..context() },
            VaultContext { genesis: Hash([2; 32]), ..context() },
            VaultContext { cosigner: Name::new("signer-2").unwrap(), ..context() },
        ];
        for other in others {
            assert!(matches!(vault.open(&other, &file), Err(VaultError::OtherFile { .. })));
            // Nor when the file itself is made to say so.
            let mut forged: VaultFile = serde_json::from_slice(&file).unwrap();
            forged.context = other.clone();
            let refused = vault.open(&other, &serde_json::to_vec(&forged).unwrap());
            assert!(matches!(refused, Err(VaultError::Box(LockboxError::Refused))));
        }
        assert!(matches!(cheap().open(&context(), &file), Err(VaultError::OtherVault)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let vault = cheap();
        let file = vault.seal(&context(), b"plaintext", &mut OsRng).unwrap();
        for bit in 0..file.len() * 8 {
            let mut altered = file.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(vault.open(&context(), &altered).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn unlock_secrets_have_a_least_length() {
        for (length, allowed) in [(MIN_UNLOCK_BYTES - 1, false), (MIN_UNLOCK_BYTES, true)] {
            let vault = Vault::derive(&secret(&vec![7; length]), Kdf::with_cost(8, 1, &mut OsRng));
            assert_eq!(vault.is_ok(), allowed, "{length}");
        }
    }

    #[test]
    fn a_new_vault_derives_its_key_at_the_full_cost() {
        let vault = Vault::create(&secret(&[7; 32]), &mut OsRng).unwrap();
        let file = vault.seal(&context(), b"plaintext", &mut OsRng).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
        assert_eq!(value["box"]["kdf"]["memory_kib"], crate::lockbox::ARGON2_MEMORY_KIB);
        assert_eq!(value["box"]["kdf"]["passes"], crate::lockbox::ARGON2_PASSES);
        let again = Vault::unlock(&secret(&[7; 32]), &file).unwrap();
        assert_eq!(again.open(&context(), &file).unwrap().expose(), b"plaintext");
    }
}
