//! What co-signers say to each other. The server relays the bytes; each kind proves itself.

use custody::name::Name;
use custody::{Blob, Hash, PublicKey, canon};
use keys::cosigner::EpochKeys;
use keys::purpose::verify_frame;
use keys::seal::{self, SealDomain, SealPublic};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use wire::message::Log;

/// Longest sealed payload of a frame, in bytes: commitments for the most inputs that a transaction may
/// have take half of it.
pub(super) const SEALED_LIMIT_BYTES: usize = 64 * 1024;

/// A message between co-signers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum PeerMessage {
    /// Of the agreement; signed inside.
    Agreement(Blob),
    /// A co-signature under the head of a height (P11).
    Cosignature {
        /// The height.
        height: u64,
        /// The line of the signed note.
        line: String,
    },
    /// Send final batches from this height on.
    Behind {
        /// The first height wanted.
        from: u64,
    },
    /// Final batches with the head of the last of them.
    Log(Log),
    /// A reduction that the sender holds (P9).
    Reduction(Blob),
    /// A frame of a signing session (P28).
    Frame(Frame),
}

/// A sealed and signed frame from one signer to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Frame {
    /// Who sent it.
    pub from: Name,
    /// Whom it is for.
    pub to: Name,
    /// Which session.
    pub session: Hash,
    /// Sealed to the recipient.
    pub sealed: Blob,
    /// Ed25519 by the sender's frame key over all of the above and the deployment.
    pub signature: Blob,
}

/// What a frame carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Payload {
    /// Round 1: a commitment for each input.
    Commitments(Vec<Blob>),
    /// Round 2: a signature share for each input.
    Shares(Vec<Blob>),
}

/// What binds a frame to its place: altered, replayed or swapped, it neither verifies nor opens.
fn context(genesis: &Hash, from: &Name, to: &Name, session: &Hash) -> Vec<u8> {
    canon::encode(&(genesis, from, to, session)).unwrap_or_default()
}

fn signed_bytes(genesis: &Hash, frame: &Frame) -> Vec<u8> {
    let mut out = context(genesis, &frame.from, &frame.to, &frame.session);
    out.extend(&frame.sealed.0);
    out
}

impl Frame {
    /// Seals a payload to a signer and signs the frame.
    pub(super) fn seal(
        genesis: &Hash,
        own: &EpochKeys,
        route: (&Name, &Name),
        session: &Hash,
        to_key: &PublicKey,
        payload: &Payload,
        rng: &mut impl CryptoRngCore,
    ) -> Option<Self> {
        let (from, to) = route;
        let context = context(genesis, from, to, session);
        let plain = canon::encode(payload).ok()?;
        let sealed = seal::seal(&SealPublic(to_key.0), SealDomain::Frame, &context, &plain, rng).ok()?;
        let mut frame = Self {
            from: from.clone(),
            to: to.clone(),
            session: *session,
            sealed: Blob(sealed),
            signature: Blob::default(),
        };
        frame.signature = Blob(own.sign_frame(&signed_bytes(genesis, &frame)).to_vec());
        Some(frame)
    }

    /// Whether the holder of `from_key` signed the frame.
    pub(super) fn is_signed(&self, genesis: &Hash, from_key: &PublicKey) -> bool {
        let signature = self.signature.0.as_slice().try_into();
        self.sealed.0.len() <= SEALED_LIMIT_BYTES
            && signature
                .is_ok_and(|signature| verify_frame(&from_key.0, &signed_bytes(genesis, self), &signature))
    }

    /// Opens a frame that was sealed to us.
    pub(super) fn open(&self, genesis: &Hash, own: &EpochKeys) -> Option<Payload> {
        let context = context(genesis, &self.from, &self.to, &self.session);
        let plain = seal::open(own.seal_key(), SealDomain::Frame, &context, &self.sealed.0).ok()?;
        canon::decode(&plain).ok()
    }
}
