//! A co-signer's card: its keys, certified by its identity (P4).

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::bytes::{Blob, PublicKey};
use crate::canon;
use crate::name::Name;

/// A co-signer's keys, one for each purpose, certified by its identity key (P4).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosignerCard {
    /// The handle.
    pub name: Name,
    /// Whether it holds shares; a witness does not.
    pub holds_shares: bool,
    /// Rises with each card.
    pub epoch: u64,
    /// Ed25519: certifies the others. Pinned by genesis.
    pub identity: PublicKey,
    /// Ed25519: votes.
    pub vote: PublicKey,
    /// Ed25519: co-signs checkpoints.
    pub cosign: PublicKey,
    /// Ed25519: its side of TLS.
    pub tls: PublicKey,
    /// Ed25519: its own statements.
    pub statement: PublicKey,
    /// Ed25519: frames to other signers.
    pub frame: PublicKey,
    /// X25519: what is sealed to it, this epoch.
    pub seal: PublicKey,
    /// The identity's signature over [`CosignerCard::certified_bytes`].
    pub certificate: Blob,
}

/// Domain tag of a co-signer's signature, by its statement key, under the answer to a challenge (P13).
pub const ANSWER_TAG: &[u8] = b"keyward/answer/v1\0";

/// Domain tag of the identity's signature under a card.
pub const CARD_TAG: &[u8] = b"keyward/cosigner-card/v1\0";

impl CosignerCard {
    /// What the identity signs: the card without its certificate, after its domain tag.
    pub fn certified_bytes(&self) -> Vec<u8> {
        let bare = Self { certificate: Blob::default(), ..self.clone() };
        let mut out = CARD_TAG.to_vec();
        out.extend(canon::encode(&bare).unwrap_or_default());
        out
    }

    /// Whether the certificate verifies.
    pub fn certified(&self) -> bool {
        verify(&self.identity, &self.certified_bytes(), &self.certificate.0)
    }

    /// Whether each Ed25519 key is one, and of large order: under another nothing can be verified, and whoever votes with it
    /// stops the others.
    pub fn has_sound_keys(&self) -> bool {
        let [signing @ .., _seal] = self.keys();
        signing.iter().all(|key| VerifyingKey::from_bytes(&key.0).is_ok_and(|key| !key.is_weak()))
    }

    /// Every public key of the card.
    pub fn keys(&self) -> [PublicKey; 7] {
        [self.identity, self.vote, self.cosign, self.tls, self.statement, self.frame, self.seal]
    }
}

/// Strict Ed25519 verification (RFC 8032, without small-order keys).
pub fn verify(public: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    VerifyingKey::from_bytes(&public.0)
        .ok()
        .zip(Signature::from_slice(signature).ok())
        .is_some_and(|(key, sig)| key.verify_strict(message, &sig).is_ok())
}
