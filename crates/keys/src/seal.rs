//! Sealing to one recipient: HPKE in base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256 and ChaCha20-Poly1305. Who sealed is not shown by this: frames are signed as well.

use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem as _, X25519HkdfSha256};
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::locked::LockedBytes;

/// Length of a sealing key in bytes, private or public.
pub const SEAL_KEY_BYTES: usize = 32;

/// Length of the encapsulated key in front of the ciphertext.
const ENCAPSULATED_BYTES: usize = 32;

type Kem = X25519HkdfSha256;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;
type EncappedKey = <Kem as hpke::Kem>::EncappedKey;

/// What is sealed. One that was sealed as the other does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealDomain {
    /// A key share, by the ceremony to its holder.
    Share,
    /// A part of a share, by a dealer of a resharing to its holder (`P30`).
    Part,
    /// A frame between two co-signers (`P28`).
    Frame,
}

impl SealDomain {
    fn info(self) -> &'static [u8] {
        match self {
            Self::Share => b"keyward/seal/share/v1",
            Self::Part => b"keyward/seal/part/v1",
            Self::Frame => b"keyward/seal/frame/v1",
        }
    }
}

/// Why something cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The recipient's key is no key.
    #[error("the recipient's sealing key is not a valid X25519 key")]
    Recipient,
    /// One answer for every cause, because the difference would only help an attacker.
    #[error("it does not open: sealed to another key, in another context, or altered")]
    Refused,
    /// A private key of another length.
    #[error("a private sealing key has {SEAL_KEY_BYTES} bytes")]
    Length,
    /// No memory for the private key ([`crate::locked::LockError`]).
    #[error("no memory may be locked for a private sealing key; raise the limit (`ulimit -l`)")]
    Memory,
}

/// A recipient's public key (X25519).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SealPublic(pub [u8; SEAL_KEY_BYTES]);

/// A recipient's private key.
pub struct SealKey {
    secret: LockedBytes,
    public: SealPublic,
}

impl SealKey {
    /// A new key.
    ///
    /// # Errors
    /// No locked memory.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Result<Self, SealError> {
        Self::from_locked(LockedBytes::random(SEAL_KEY_BYTES, rng).map_err(|_| SealError::Memory)?)
    }

    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// Another length.
    pub fn from_locked(secret: LockedBytes) -> Result<Self, SealError> {
        let public = SealPublic(Kem::sk_to_pk(&private(&secret)?).to_bytes().into());
        Ok(Self { secret, public })
    }

    /// The public key to seal to.
    pub fn public(&self) -> SealPublic {
        self.public
    }

    /// The private key, to be sealed into a vault.
    pub fn expose(&self) -> &[u8] {
        self.secret.expose()
    }
}

fn private(secret: &LockedBytes) -> Result<PrivateKey, SealError> {
    PrivateKey::from_bytes(secret.expose()).map_err(|_| SealError::Length)
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(<secret>)")
    }
}

/// Seals `plaintext` to one key. `context` is authenticated but not sent: the opener must know it.
///
/// # Errors
/// A recipient's key that is none.
pub fn seal(
    to: &SealPublic,
    domain: SealDomain,
    context: &[u8],
    plaintext: &[u8],
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, SealError> {
    let to = <Kem as hpke::Kem>::PublicKey::from_bytes(&to.0).map_err(|_| SealError::Recipient)?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem, _>(
        &OpModeS::Base,
        &to,
        domain.info(),
        plaintext,
        context,
        rng,
    )
    .map_err(|_| SealError::Recipient)?;
    Ok([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
}

/// Opens what [`seal`] made with the same domain and context.
///
/// # Errors
/// [`SealError::Refused`] for whatever does not open.
pub fn open(
    key: &SealKey,
    domain: SealDomain,
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    open_info(key, domain.info(), context, sealed)
}

fn open_info(
    key: &SealKey,
    info: &[u8],
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_BYTES).ok_or(SealError::Refused)?;
    let encapsulated = EncappedKey::from_bytes(encapsulated).map_err(|_| SealError::Refused)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Base,
        &private(&key.secret)?,
        &encapsulated,
        info,
        ciphertext,
        context,
    )
    .map(Zeroizing::new)
    .map_err(|_| SealError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9180 appendix A.2.1, base mode, sequence number 0.
    #[test]
    fn opens_the_vector_of_the_rfc() {
        let bytes = |hex: &str| hex::decode(hex).unwrap();
        let mut private = bytes("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
        let key = SealKey::from_locked(LockedBytes::take(&mut private).unwrap()).unwrap();
        assert_eq!(
            hex::encode(key.public().0),
            "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
        );
        let sealed = bytes(concat!(
            "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        ));
        let opened = open_info(&key, b"Ode on a Grecian Urn", b"Count-0", &sealed).unwrap();
        assert_eq!(opened.as_slice(), b"Beauty is truth, truth beauty");
    }
}
