//! The keys of one co-signer, each for one purpose (`P4`).

use std::fmt;

use custody::Hash;
use ed25519_dalek::SigningKey;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::locked::{LockError, LockedBytes};
use crate::purpose::{self, Purpose, WrongPurpose};
use crate::seal::{SealKey, SealPublic};

const SEED_BYTES: usize = 32;

/// Length of the plaintext of the vault file: six Ed25519 seeds and one X25519 key.
pub const PLAINTEXT_BYTES: usize = 224;

/// Why a co-signer's keys are not made or read.
#[derive(Debug, thiserror::Error)]
pub enum CosignerError {
    /// Not the plaintext of a vault file of keys.
    #[error("a co-signer's keys are {PLAINTEXT_BYTES} bytes; this is something else")]
    Length,
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

/// The public keys of a co-signer, in the order of its card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CosignerPublic {
    /// Certifies the others; pinned by genesis.
    pub identity: Hash,
    /// Votes.
    pub vote: Hash,
    /// Co-signs checkpoints.
    pub cosign: Hash,
    /// Its side of TLS.
    pub tls: Hash,
    /// Its own statements.
    pub statement: Hash,
    /// Frames to other co-signers.
    pub frame: Hash,
    /// What is sealed to it (X25519).
    pub seal: SealPublic,
}

/// The private keys of a co-signer.
pub struct CosignerSecrets {
    identity: Box<SigningKey>,
    vote: Box<SigningKey>,
    cosign: Box<SigningKey>,
    tls: Box<SigningKey>,
    statement: Box<SigningKey>,
    frame: Box<SigningKey>,
    seal: SealKey,
}

impl CosignerSecrets {
    /// New keys.
    ///
    /// # Errors
    /// No locked memory.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Result<Self, CosignerError> {
        Self::from_plaintext(&LockedBytes::random(PLAINTEXT_BYTES, rng)?)
    }

    /// Reads the plaintext of a vault file.
    ///
    /// # Errors
    /// Another length, no locked memory.
    pub fn from_plaintext(plaintext: &LockedBytes) -> Result<Self, CosignerError> {
        let mut rest = plaintext.expose();
        if rest.len() != PLAINTEXT_BYTES {
            return Err(CosignerError::Length);
        }
        let mut next = || {
            let (seed, after) = rest.split_first_chunk::<SEED_BYTES>().ok_or(CosignerError::Length)?;
            rest = after;
            Ok::<_, CosignerError>(Box::new(SigningKey::from_bytes(seed)))
        };
        let (identity, vote, cosign) = (next()?, next()?, next()?);
        let (tls, statement, frame) = (next()?, next()?, next()?);
        let mut seal = LockedBytes::zeroed(rest.len())?;
        seal.expose_mut().copy_from_slice(rest);
        let seal = SealKey::from_locked(seal).map_err(|_| CosignerError::Length)?;
        Ok(Self { identity, vote, cosign, tls, statement, frame, seal })
    }

    /// The plaintext of a vault file: the seeds in the order of [`CosignerPublic`].
    ///
    /// # Errors
    /// No locked memory.
    pub fn to_plaintext(&self) -> Result<LockedBytes, CosignerError> {
        let mut plaintext = LockedBytes::zeroed(PLAINTEXT_BYTES)?;
        let keys = [&self.identity, &self.vote, &self.cosign, &self.tls, &self.statement, &self.frame];
        let (seeds, seal) = plaintext.expose_mut().split_at_mut(PLAINTEXT_BYTES.saturating_sub(SEED_BYTES));
        for (slot, key) in seeds.chunks_exact_mut(SEED_BYTES).zip(keys) {
            slot.copy_from_slice(key.as_bytes());
        }
        seal.copy_from_slice(self.seal.expose());
        Ok(plaintext)
    }

    /// The public keys.
    pub fn public(&self) -> CosignerPublic {
        let public = |key: &SigningKey| Hash(key.verifying_key().to_bytes());
        CosignerPublic {
            identity: public(&self.identity),
            vote: public(&self.vote),
            cosign: public(&self.cosign),
            tls: public(&self.tls),
            statement: public(&self.statement),
            frame: public(&self.frame),
            seal: self.seal.public(),
        }
    }

    /// Certifies a card by the identity key. `card` begins with its domain tag.
    ///
    /// # Errors
    /// Bytes that are not a card.
    pub fn certify(&self, card: &[u8]) -> Result<[u8; 64], WrongPurpose> {
        Purpose::Card.sign(&self.identity, card)
    }

    /// Signs a statement of the co-signer itself, a DSSE pre-authentication encoding.
    ///
    /// # Errors
    /// Bytes that are not such an encoding.
    pub fn sign_statement(&self, encoding: &[u8]) -> Result<[u8; 64], WrongPurpose> {
        Purpose::Statement.sign(&self.statement, encoding)
    }

    /// Signs a frame to another co-signer; [`crate::purpose::verify_frame`] verifies it.
    pub fn sign_frame(&self, frame: &[u8]) -> [u8; 64] {
        purpose::sign_frame(&self.frame, frame)
    }

    /// Signs an answer to a challenge (`P13`), which begins with its domain tag.
    ///
    /// # Errors
    /// Bytes that are not such an answer.
    pub fn sign_answer(&self, encoding: &[u8]) -> Result<[u8; 64], WrongPurpose> {
        Purpose::Answer.sign(&self.statement, encoding)
    }

    /// The key of votes, for the agreement, which encodes them itself.
    pub fn vote_signing_key(&self) -> &SigningKey {
        &self.vote
    }

    /// The key of co-signatures under checkpoints, for the agreement, which encodes them itself.
    pub fn cosign_signing_key(&self) -> &SigningKey {
        &self.cosign
    }

    /// The seed of the TLS key (RFC 8032), to be moved into the TLS library.
    pub fn tls_seed(&self) -> Zeroizing<[u8; SEED_BYTES]> {
        Zeroizing::new(self.tls.to_bytes())
    }

    /// The key that shares and frames are sealed to.
    pub fn seal_key(&self) -> &SealKey {
        &self.seal
    }
}

impl fmt::Debug for CosignerSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerSecrets(<secret> of {})", self.public().identity)
    }
}
