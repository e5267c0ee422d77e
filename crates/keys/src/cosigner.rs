//! The keys of one co-signer, each for one purpose (`P4`), in at most two epochs: the set in use, and the one
//! that takes its place once a card in force names it (`P30`).

use std::fmt;

use custody::document::CosignerCard;
use custody::name::Name;
use custody::{Blob, Hash};
use ed25519_dalek::SigningKey;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::locked::{LockError, LockedBytes};
use crate::purpose::{self, Purpose, WrongPurpose};
use crate::seal::{SealKey, SealPublic};

const SEED_BYTES: usize = 32;

/// The version with which the plaintext of the vault file begins. The first one had no such byte.
pub const PLAINTEXT_VERSION: u8 = 2;

/// Length of the seeds of one epoch: identity, vote, co-signature, TLS; statement, frame, sealing.
pub const SEEDS_BYTES: usize = 224;

/// Length of the seeds of a second epoch, which follow.
pub const EPOCH_BYTES: usize = 96;

/// Why a co-signer's keys are not made or read.
#[derive(Debug, thiserror::Error)]
pub enum CosignerError {
    /// Not the plaintext of a vault file of keys.
    #[error("not the keys of a co-signer as this program writes them: take a newer program or another copy")]
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

/// The keys that a card replaces.
pub struct EpochKeys {
    statement: Box<SigningKey>,
    frame: Box<SigningKey>,
    seal: SealKey,
}

impl EpochKeys {
    fn read(rest: &mut &[u8]) -> Result<Self, CosignerError> {
        let (statement, frame) = (next(rest)?, next(rest)?);
        let (seed, after) = rest.split_at_checked(SEED_BYTES).ok_or(CosignerError::Length)?;
        *rest = after;
        let mut seal = LockedBytes::zeroed(SEED_BYTES)?;
        seal.expose_mut().copy_from_slice(seed);
        let seal = SealKey::from_locked(seal).map_err(|_| CosignerError::Length)?;
        Ok(Self { statement, frame, seal })
    }

    fn seeds(&self) -> [&[u8]; 3] {
        [self.statement.as_bytes(), self.frame.as_bytes(), self.seal.expose()]
    }

    /// Whether these are the keys of a card.
    fn are_of(&self, card: &CosignerCard) -> bool {
        let Self { statement, frame, seal } = self;
        let own = (public(statement), public(frame), Hash(seal.public().0));
        own == (card.statement, card.frame, card.seal)
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

    /// The key that opens what is sealed to this co-signer.
    pub fn seal_key(&self) -> &SealKey {
        &self.seal
    }
}

impl fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKeys(<secret>)")
    }
}

fn public(key: &SigningKey) -> Hash {
    Hash(key.verifying_key().to_bytes())
}

fn next(rest: &mut &[u8]) -> Result<Box<SigningKey>, CosignerError> {
    let (seed, after) = rest.split_first_chunk::<SEED_BYTES>().ok_or(CosignerError::Length)?;
    *rest = after;
    Ok(Box::new(SigningKey::from_bytes(seed)))
}

/// The private keys of a co-signer.
pub struct CosignerSecrets {
    identity: Box<SigningKey>,
    vote: Box<SigningKey>,
    cosign: Box<SigningKey>,
    tls: Box<SigningKey>,
    used: EpochKeys,
    next: Option<EpochKeys>,
}

impl CosignerSecrets {
    /// New keys.
    ///
    /// # Errors
    /// No locked memory.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Result<Self, CosignerError> {
        Self::from_plaintext(&LockedBytes::random(SEEDS_BYTES, rng)?)
    }

    /// Reads the plaintext of a vault file, of this version or the first.
    ///
    /// # Errors
    /// Something else, no locked memory.
    pub fn from_plaintext(plaintext: &LockedBytes) -> Result<Self, CosignerError> {
        let mut seeds = match plaintext.expose() {
            seeds if seeds.len() == SEEDS_BYTES => seeds,
            [PLAINTEXT_VERSION, seeds @ ..] => seeds,
            _ => return Err(CosignerError::Length),
        };
        let rest = &mut seeds;
        let (identity, vote, cosign, tls) = (next(rest)?, next(rest)?, next(rest)?, next(rest)?);
        let used = EpochKeys::read(rest)?;
        let next = if rest.is_empty() { None } else { Some(EpochKeys::read(rest)?) };
        if !rest.is_empty() {
            return Err(CosignerError::Length);
        }
        Ok(Self { identity, vote, cosign, tls, used, next })
    }

    /// The plaintext of a vault file: the version, and the seeds in the order of [`CosignerPublic`], followed
    /// by those of the next epoch if there is one.
    ///
    /// # Errors
    /// No locked memory.
    pub fn to_plaintext(&self) -> Result<LockedBytes, CosignerError> {
        let fixed =
            [&self.identity, &self.vote, &self.cosign, &self.tls].map(|key| key.as_bytes().as_slice());
        let epochs = [Some(&self.used), self.next.as_ref()].into_iter().flatten().flat_map(EpochKeys::seeds);
        let seeds: Vec<&[u8]> = fixed.into_iter().chain(epochs).collect();
        let length = seeds.len().saturating_mul(SEED_BYTES).saturating_add(1);
        let mut plaintext = LockedBytes::zeroed(length)?;
        if let [version, rest @ ..] = plaintext.expose_mut() {
            *version = PLAINTEXT_VERSION;
            rest.chunks_exact_mut(SEED_BYTES).zip(seeds).for_each(|(slot, seed)| slot.copy_from_slice(seed));
        }
        Ok(plaintext)
    }

    /// The public keys, those in use.
    pub fn public(&self) -> CosignerPublic {
        self.public_with(&self.used)
    }

    fn public_with(&self, epoch: &EpochKeys) -> CosignerPublic {
        CosignerPublic {
            identity: public(&self.identity),
            vote: public(&self.vote),
            cosign: public(&self.cosign),
            tls: public(&self.tls),
            statement: public(&epoch.statement),
            frame: public(&epoch.frame),
            seal: epoch.seal.public(),
        }
    }

    /// The keys in use.
    pub fn used(&self) -> &EpochKeys {
        &self.used
    }

    /// The keys that a card names, if they are here.
    pub fn of(&self, card: &CosignerCard) -> Option<&EpochKeys> {
        [Some(&self.used), self.next.as_ref()].into_iter().flatten().find(|keys| keys.are_of(card))
    }

    /// The public keys of the next epoch, if it was made.
    pub fn next_public(&self) -> Option<CosignerPublic> {
        self.next.as_ref().map(|next| self.public_with(next))
    }

    /// Makes the keys of the next epoch, in place of those made before. The caller sees to it that no card in
    /// force or on its way names those.
    ///
    /// # Errors
    /// No locked memory.
    pub fn renew(&mut self, rng: &mut impl CryptoRngCore) -> Result<CosignerPublic, CosignerError> {
        let seeds = LockedBytes::random(EPOCH_BYTES, rng)?;
        let next = EpochKeys::read(&mut seeds.expose())?;
        let public = self.public_with(&next);
        self.next = Some(next);
        Ok(public)
    }

    /// `card` is in force: when it names the next keys, they take the place of those in use, which are wiped.
    /// Says whether they did.
    pub fn advance(&mut self, card: &CosignerCard) -> bool {
        match self.next.take_if(|next| next.are_of(card)) {
            Some(next) => {
                self.used = next;
                true
            }
            None => false,
        }
    }

    /// A certified card with these public keys.
    ///
    /// # Errors
    /// Never: a card is encoded as one.
    pub fn card(
        &self,
        name: &Name,
        holds_shares: bool,
        epoch: u64,
        public: CosignerPublic,
    ) -> Result<CosignerCard, WrongPurpose> {
        let CosignerPublic { identity, vote, cosign, tls, statement, frame, seal } = public;
        let (name, seal, certificate) = (name.clone(), Hash(seal.0), Blob::default());
        let mut card = CosignerCard {
            name,
            holds_shares,
            epoch,
            identity,
            vote,
            cosign,
            tls,
            statement,
            frame,
            seal,
            certificate,
        };
        card.certificate = Blob(self.certify(&card.certified_bytes())?.to_vec());
        Ok(card)
    }

    /// Certifies a card by the identity key. `card` begins with its domain tag.
    ///
    /// # Errors
    /// Bytes that are not a card.
    pub fn certify(&self, card: &[u8]) -> Result<[u8; 64], WrongPurpose> {
        Purpose::Card.sign(&self.identity, card)
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
}

impl fmt::Debug for CosignerSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerSecrets(<secret> of {})", self.public().identity)
    }
}
