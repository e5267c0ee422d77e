//! Encryption at rest under a passphrase or unlock secret: Argon2id (RFC 9106) and
//! XChaCha20-Poly1305, as device files and vault files share it.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use custody::Blob;
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::locked::{LockError, LockedBytes};

/// Memory of Argon2id in KiB: 64 MiB, the second recommended option of RFC 9106 §4.
pub const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
/// Passes of Argon2id over the memory (RFC 9106 §4).
pub const ARGON2_PASSES: u32 = 3;
/// Lanes of Argon2id: one, because unlocking uses one thread.
pub const ARGON2_LANES: u32 = 1;

/// Most memory that a file may ask for, in KiB (1 GiB): a forged file must not exhaust the machine.
pub const ARGON2_MOST_MEMORY_KIB: u32 = 1024 * 1024;
/// Most passes that a file may ask for: a forged file must not keep the machine busy.
pub const ARGON2_MOST_PASSES: u32 = 10;

const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const ALGORITHM: &str = "argon2id";
const CIPHER: &str = "xchacha20poly1305";

/// Why a box was not locked or does not open.
#[derive(Debug, thiserror::Error)]
pub enum LockboxError {
    /// Parameters that this program does not use.
    #[error("the file asks for key derivation or encryption that this program does not know")]
    Parameters,
    /// The authentication tag is wrong.
    #[error("wrong secret, or the file was altered")]
    Refused,
    /// Encryption failed, which only absurd lengths cause.
    #[error("too long to be encrypted")]
    Length,
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

/// How the key of a box is derived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kdf {
    algorithm: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Blob,
}

impl Kdf {
    pub(crate) fn fresh(rng: &mut impl CryptoRngCore) -> Self {
        Self::with_cost(ARGON2_MEMORY_KIB, ARGON2_PASSES, rng)
    }

    pub(crate) fn with_cost(memory_kib: u32, passes: u32, rng: &mut impl CryptoRngCore) -> Self {
        let mut salt = vec![0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        Self { algorithm: ALGORITHM.to_owned(), memory_kib, passes, lanes: ARGON2_LANES, salt: Blob(salt) }
    }
}

/// The key of boxes, derived once; deriving it takes a noticeable moment by intention.
pub(crate) struct BoxKey {
    kdf: Kdf,
    key: LockedBytes,
}

/// The encrypted part of a file. What the file says in the clear is authenticated with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sealed {
    pub(crate) kdf: Kdf,
    cipher: String,
    nonce: Blob,
    sealed: Blob,
}

impl BoxKey {
    pub(crate) fn derive(secret: &[u8], kdf: Kdf) -> Result<Self, LockboxError> {
        let known = kdf.algorithm == ALGORITHM
            && kdf.memory_kib <= ARGON2_MOST_MEMORY_KIB
            && kdf.passes <= ARGON2_MOST_PASSES
            && kdf.lanes == ARGON2_LANES
            && kdf.salt.0.len() == SALT_BYTES;
        let params =
            Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(KEY_BYTES)).ok().filter(|_| known);
        let params = params.ok_or(LockboxError::Parameters)?;
        let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
        let mut key = LockedBytes::zeroed(KEY_BYTES)?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(secret, &kdf.salt.0, key.expose_mut(), memory.as_mut_slice())
            .map_err(|_| LockboxError::Parameters)?;
        Ok(Self { kdf, key })
    }

    pub(crate) fn kdf(&self) -> &Kdf {
        &self.kdf
    }

    /// Encrypts `plaintext`, authenticating `context` with it.
    pub(crate) fn seal(
        &self,
        context: &[u8],
        plaintext: &[u8],
        rng: &mut impl CryptoRngCore,
    ) -> Result<Sealed, LockboxError> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let mut sealed = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .cipher()?
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), context, &mut sealed)
            .map_err(|_| LockboxError::Length)?;
        let sealed = [sealed.as_slice(), tag.as_slice()].concat();
        Ok(Sealed {
            kdf: self.kdf.clone(),
            cipher: CIPHER.to_owned(),
            nonce: Blob(nonce.to_vec()),
            sealed: Blob(sealed),
        })
    }

    /// Decrypts a box of this key into locked memory.
    pub(crate) fn open(&self, context: &[u8], sealed: &Sealed) -> Result<LockedBytes, LockboxError> {
        let nonce = <[u8; NONCE_BYTES]>::try_from(sealed.nonce.0.as_slice());
        let (Ok(nonce), true) = (nonce, sealed.cipher == CIPHER) else {
            return Err(LockboxError::Parameters);
        };
        let (ciphertext, tag) =
            sealed.sealed.0.split_last_chunk::<TAG_BYTES>().ok_or(LockboxError::Refused)?;
        let mut plaintext = LockedBytes::zeroed(ciphertext.len())?;
        plaintext.expose_mut().copy_from_slice(ciphertext);
        self.cipher()?
            .decrypt_in_place_detached(
                XNonce::from_slice(&nonce),
                context,
                plaintext.expose_mut(),
                Tag::from_slice(tag),
            )
            .map_err(|_| LockboxError::Refused)?;
        Ok(plaintext)
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, LockboxError> {
        XChaCha20Poly1305::new_from_slice(self.key.expose()).map_err(|_| LockboxError::Parameters)
    }
}
