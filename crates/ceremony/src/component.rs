//! A recovery component: one SLIP-39 share in the hands of one key custodian, and how they prove that it is
//! still there and whole without bringing it together with others (DACS REC-09).
//!
//! Each component yields an Ed25519 key, whose public half stands in the report of the ceremony. Whoever has
//! the words answers a challenge with it, offline; which medium they were read from is part of the challenge.
//! `docs/spec/slip39.md` gives the bytes.

use std::fmt;

use custody::canon::{self, CanonError};
use custody::document;
use custody::name::Name;
use custody::{Hash, PublicKey};
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::script::ComponentId;
use crate::script::steps::Medium;
use crate::slip39::Mnemonic;

/// The format of challenges.
pub const CHALLENGE_FORMAT: &str = "keyward/component-challenge/v1";

/// Domain tag of the signatures under challenges.
pub const CHALLENGE_TAG: &[u8] = b"keyward/component-challenge/v1\0";

/// What the health key of a component is derived for (the `info` of RFC 5869).
const HEALTH_INFO: &[u8] = b"keyward/component-health/v1";

/// One recovery component.
pub struct Component(Mnemonic);

/// A challenge is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Not the canonical bytes of a challenge.
    #[error("this is no challenge ({0}): ask for it anew")]
    Form(#[from] CanonError),
    /// One of another version.
    #[error(
        "a challenge of the format {0:?}: this program answers {CHALLENGE_FORMAT:?}; use the program that asked"
    )]
    Format(String),
    /// It asks for another component.
    #[error(
        "the challenge is for component {asked} of the set {asked_set}, and these are the words of component {this} of the set {this_set}: take the other sheet or the other challenge"
    )]
    Other {
        /// The component that it asks for.
        asked: ComponentId,
        /// The identifier of its set.
        asked_set: u16,
        /// The component that is here.
        this: ComponentId,
        /// The identifier of its set.
        this_set: u16,
    },
}

impl Component {
    /// The component that a share is.
    pub fn new(mnemonic: Mnemonic) -> Self {
        Self(mnemonic)
    }

    /// Its share.
    pub fn mnemonic(&self) -> &Mnemonic {
        &self.0
    }

    /// Which one of its set it is.
    pub fn id(&self) -> ComponentId {
        let header = self.0.header();
        ComponentId { group: header.group, member: header.member }
    }

    /// The identifier that all components of its set have, and those of most other sets have not.
    pub fn set(&self) -> u16 {
        self.0.header().identifier
    }

    /// The public half of its health key: the same from every medium that has these words.
    pub fn health_public(&self) -> PublicKey {
        Self::health_of(&self.0)
    }

    /// As [`Component::health_public`], of a share that was just read.
    pub fn health_of(mnemonic: &Mnemonic) -> PublicKey {
        Hash(health_key(mnemonic).verifying_key().to_bytes())
    }

    /// Proves possession of the words: a signature over the challenge.
    ///
    /// # Errors
    /// A challenge for another component, or one without canonical bytes.
    pub fn answer(&self, challenge: &Challenge) -> Result<[u8; 64], ChallengeError> {
        if (challenge.set, challenge.component) != (self.set(), self.id()) {
            return Err(ChallengeError::Other {
                asked: challenge.component,
                asked_set: challenge.set,
                this: self.id(),
                this_set: self.set(),
            });
        }
        Ok(health_key(&self.0).sign(&challenge.signed_bytes()?).to_bytes())
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Component(<secret> {} of {})", self.id(), self.set())
    }
}

/// HKDF-SHA256 of header and value, without a salt, to the 32 bytes of an Ed25519 seed.
fn health_key(mnemonic: &Mnemonic) -> SigningKey {
    let header = mnemonic.header().to_bytes();
    let share = Zeroizing::new([header.as_slice(), mnemonic.value()].concat());
    let (mut extracted, _) = Hkdf::<Sha256>::extract(None, &share);
    // 32 bytes are the first block of the expansion, HMAC(extracted, info ‖ 1). A key as long as a block of
    // the hash cannot have a wrong length, so that nothing here can fail.
    let mut key = Zeroizing::new([0; 64]);
    key.iter_mut().zip(&extracted).for_each(|(to, byte)| *to = *byte);
    extracted.as_mut_slice().zeroize();
    let expansion = <Hmac<Sha256> as hmac::digest::KeyInit>::new((&*key).into());
    let seed =
        Zeroizing::new(expansion.chain_update(HEALTH_INFO).chain_update([1]).finalize().into_bytes().into());
    SigningKey::from_bytes(&seed)
}

/// What a holder signs to prove that a component is there, whole, and on this medium.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// When it is asked, in seconds since 1970.
    pub at: u64,
    /// Who asks.
    pub by: Name,
    /// The nonce of the ceremony that made the component.
    pub ceremony: Hash,
    /// Which component of its set.
    pub component: ComponentId,
    /// [`CHALLENGE_FORMAT`].
    pub format: String,
    /// 32 random bytes: no answer can be made before the challenge.
    pub fresh: Hash,
    /// From which medium the words are to be read.
    pub medium: Medium,
    /// The SLIP-39 identifier of the set.
    pub set: u16,
}

impl Challenge {
    /// A challenge for one component on one medium.
    pub fn new(
        ceremony: Hash,
        (set, component): (u16, ComponentId),
        medium: Medium,
        (at, by): (u64, Name),
        rng: &mut impl CryptoRngCore,
    ) -> Self {
        let mut fresh = Hash([0; 32]);
        rng.fill_bytes(&mut fresh.0);
        Self { at, by, ceremony, component, format: CHALLENGE_FORMAT.to_owned(), fresh, medium, set }
    }

    /// Reads a challenge from its canonical bytes.
    ///
    /// # Errors
    /// Other bytes, or another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChallengeError> {
        let challenge: Self = canon::decode(bytes)?;
        match challenge.format == CHALLENGE_FORMAT {
            true => Ok(challenge),
            false => Err(ChallengeError::Format(challenge.format)),
        }
    }

    /// The canonical bytes, to be carried to the holder.
    ///
    /// # Errors
    /// A time that canonical JSON cannot have.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonError> {
        canon::encode(self)
    }

    fn signed_bytes(&self) -> Result<Vec<u8>, CanonError> {
        Ok([CHALLENGE_TAG, &self.to_bytes()?].concat())
    }
}

/// Whether an answer to a challenge is by the component with this public health key. Strictly: small-order
/// keys and malleable signatures are refused.
pub fn verify(health: &PublicKey, challenge: &Challenge, answer: &[u8]) -> bool {
    challenge.signed_bytes().is_ok_and(|message| document::verify(health, &message, answer))
}
