//! What Ed25519 keys sign: a closed list of purposes, each with its tag and its own key (`P4`).
//!
//! Whatever is signed begins with the tag of its purpose. No tag is the beginning of another, so a
//! signature for one purpose means nothing for any other, and bytes without the tag are refused.

use custody::document::{ANSWER_TAG, CARD_TAG, CEREMONY_DEVIATION_TAG, CEREMONY_REPORT_TAG, CEREMONY_TAG};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// How every DSSE pre-authentication encoding begins (DSSE protocol, version 1).
pub const DSSE_TAG: &[u8] = b"DSSEv1 ";

/// Domain tag of frames between co-signers (`P28`).
pub const FRAME_TAG: &[u8] = b"keyward/frame/v1\0";

/// What a signature is for, besides frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// A statement of a person, machine or co-signer.
    Statement,
    /// The record of a ceremony, by a person who took part.
    CeremonyRecord,
    /// The report of a ceremony, by a person who took part.
    CeremonyReport,
    /// The decision to go on with a ceremony in spite of a finding.
    CeremonyDeviation,
    /// A co-signer's identity certifies its other keys.
    Card,
    /// A co-signer's answer to a challenge.
    Answer,
}

impl Purpose {
    fn tag(self) -> &'static [u8] {
        match self {
            Self::Statement => DSSE_TAG,
            Self::CeremonyRecord => CEREMONY_TAG,
            Self::CeremonyReport => CEREMONY_REPORT_TAG,
            Self::CeremonyDeviation => CEREMONY_DEVIATION_TAG,
            Self::Card => CARD_TAG,
            Self::Answer => ANSWER_TAG,
        }
    }

    pub(crate) fn sign(self, key: &SigningKey, encoded: &[u8]) -> Result<[u8; 64], WrongPurpose> {
        if !encoded.starts_with(self.tag()) {
            return Err(WrongPurpose(self));
        }
        Ok(key.sign(encoded).to_bytes())
    }
}

/// Bytes that are not what the key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("refused: the bytes are not encoded as {0:?}, and this key signs nothing else")]
pub struct WrongPurpose(Purpose);

/// Whether `signature` over `frame` is one of a co-signer's frame key. Small-order keys and
/// malleable signatures are refused.
pub fn verify_frame(key: &[u8; 32], frame: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key)
        .and_then(|key| key.verify_strict(&frame_bytes(frame), &Signature::from_bytes(signature)))
        .is_ok()
}

pub(crate) fn sign_frame(key: &SigningKey, frame: &[u8]) -> [u8; 64] {
    key.sign(&frame_bytes(frame)).to_bytes()
}

fn frame_bytes(frame: &[u8]) -> Vec<u8> {
    [FRAME_TAG, frame].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Purpose; 6] = [
        Purpose::Statement,
        Purpose::CeremonyRecord,
        Purpose::CeremonyReport,
        Purpose::CeremonyDeviation,
        Purpose::Card,
        Purpose::Answer,
    ];

    #[test]
    fn each_purpose_signs_only_what_begins_with_its_tag() {
        let key = SigningKey::from_bytes(&[7; 32]);
        for purpose in ALL {
            for other in ALL {
                let bytes = [other.tag(), b"rest"].concat();
                assert_eq!(purpose.sign(&key, &bytes).is_ok(), purpose == other, "{purpose:?} {other:?}");
            }
            let (_, cut) = purpose.tag().split_last().unwrap();
            assert!(purpose.sign(&key, cut).is_err());
            assert!(purpose.sign(&key, b"").is_err());
        }
    }

    #[test]
    fn no_tag_begins_another() {
        let tags = ALL.map(Purpose::tag).into_iter().chain([FRAME_TAG]);
        for (i, a) in tags.clone().enumerate() {
            for (j, b) in tags.clone().enumerate() {
                assert_eq!(a.starts_with(b), i == j);
            }
        }
    }

    #[test]
    fn frames_verify_strictly() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let signature = sign_frame(&key, b"frame");
        assert!(verify_frame(&public, b"frame", &signature));
        assert!(!verify_frame(&public, b"frames", &signature));
        assert!(!verify_frame(
            &SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes(),
            b"frame",
            &signature
        ));
        // The neutral point as key, with R neutral and s = 0, satisfies the loose equation for any message.
        let neutral = core::array::from_fn(|i| u8::from(i == 0));
        let forged = core::array::from_fn(|i| u8::from(i == 0));
        assert!(!verify_frame(&neutral, b"frame", &forged));
    }
}
