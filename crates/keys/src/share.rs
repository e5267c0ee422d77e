//! Threshold shares of an account key: dealing them, checking them, holding one.
//!
//! The dealer of the ceremony splits the key with Feldman's verifiable secret sharing (RFC 9591
//! appendix C.2); each holder checks its share against the public commitments, whose first is the
//! account's public key itself. Holder *i* of the list has the identifier *i* + 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Add as _;

use custody::document::CeremonyRecord;
use custody::effects::{AccountKey, Branch};
use custody::name::Name;
use custody::{Blob, Hash};
use frost_core::keys::IdentifierList;
use frost_secp256k1_tr as frost;
use frost_secp256k1_tr::Identifier;
use frost_secp256k1_tr::keys::{
    KeyPackage, PublicKeyPackage, SecretShare, SigningShare, VerifiableSecretSharingCommitment,
    VerifyingShare,
};
use k256::elliptic_curve::PrimeField as _;
use k256::{FieldBytes, ProjectivePoint, Scalar};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::hd::{self, NoKey, Shift};
use crate::locked::{LockError, LockedBytes};
use crate::seed::AccountSecret;

/// Fewest shares that may sign: with one, a single holder would have the whole key.
pub const MIN_THRESHOLD: u16 = 2;

/// Most holders of one key: what a person can survey; the mathematics would allow 65,535.
pub const MAX_HOLDERS: usize = 16;

/// Why shares are not dealt, or a share or its public part is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The threshold is out of range.
    #[error("threshold {threshold} of {holders}: at least {MIN_THRESHOLD} and at most all holders must sign")]
    Threshold {
        /// The threshold given.
        threshold: u16,
        /// The number of holders given.
        holders: usize,
    },
    /// The list of holders is too long, or a name stands in it twice.
    #[error("the holders must be at most {MAX_HOLDERS} different names")]
    Holders,
    /// There must be as many commitments as the threshold, each a point that is not the identity.
    #[error("the commitments must be exactly {0} compressed points of the curve")]
    Commitments(u16),
    /// The commitments are to another key.
    #[error("the first commitment is not the account's public key; the shares are of another key")]
    OtherKey,
    /// The holder is not one of the list.
    #[error("{0} does not hold a share of this account")]
    Unknown(Name),
    /// The share is not a number below the group order, or 0.
    #[error("a share must be 32 bytes that hold a number from 1 up to the group order")]
    Malformed,
    /// The share does not fit the commitments.
    #[error("the share of {0} does not fit the public commitments; have it dealt again")]
    Wrong(Name),
    /// See [`NoKey`].
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

/// What everybody may know about the shares of one account; signers accept a share only against it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharePublic {
    /// The account whose key is shared.
    pub account: AccountKey,
    /// How many holders sign together.
    pub threshold: u16,
    /// Names of the holders, in the order of their identifiers.
    pub holders: Vec<Name>,
    /// Commitments to the coefficients of the dealer's polynomial, compressed points (SEC 1).
    pub commitments: Vec<Blob>,
}

impl SharePublic {
    /// The public part of one account of a ceremony, as its record has it. Nothing for a slot that
    /// the record does not have.
    pub fn of(record: &CeremonyRecord, slot: u32) -> Option<Self> {
        let slot = record.slots.get(usize::try_from(slot).ok()?)?;
        Some(Self {
            account: slot.account.clone(),
            threshold: u16::try_from(record.threshold).ok()?,
            holders: record.holders.clone(),
            commitments: slot.commitments.clone(),
        })
    }

    /// Checks that the parts fit each other. Everything below does this itself.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self) -> Result<(), ShareError> {
        self.group().map(|_| ())
    }

    /// The FROST identifier of a holder.
    pub(crate) fn identifier(&self, holder: &Name) -> Result<Identifier, ShareError> {
        let unknown = || ShareError::Unknown(holder.clone());
        let position = self.holders.iter().position(|name| name == holder).ok_or_else(unknown)?;
        identifier(position).ok_or_else(unknown)
    }

    /// The name of the holder with a FROST identifier.
    pub(crate) fn holder(&self, identifier: &Identifier) -> Option<&Name> {
        self.holders.iter().find(|name| self.identifier(name).as_ref().ok() == Some(identifier))
    }

    /// The commitments, decoded, once everything fits.
    fn group(&self) -> Result<VerifiableSecretSharingCommitment, ShareError> {
        check_holders(self.threshold, &self.holders)?;
        let points = self.commitments.iter().map(|blob| hd::decompress(&blob.0)).collect::<Option<Vec<_>>>();
        let wrong = || ShareError::Commitments(self.threshold);
        if points.ok_or_else(wrong)?.len() != usize::from(self.threshold) {
            return Err(wrong());
        }
        if self.commitments.first() != Some(&self.account.public) {
            return Err(ShareError::OtherKey);
        }
        VerifiableSecretSharingCommitment::deserialize(self.commitments.iter().map(|blob| &blob.0))
            .map_err(|_| wrong())
    }

    /// The public side of a child key, or of the account key itself.
    pub(crate) fn public_package(&self, key: Key) -> Result<PublicKeyPackage, ShareError> {
        let group = self.group()?;
        let identifiers =
            self.holders.iter().map(|name| self.identifier(name)).collect::<Result<BTreeSet<_>, _>>()?;
        let wrong = || ShareError::Commitments(self.threshold);
        let account = PublicKeyPackage::from_commitment(&identifiers, &group).map_err(|_| wrong())?;
        let Some(shift) = self.shift(key)? else {
            return Ok(account);
        };
        let verifying = account
            .verifying_shares()
            .iter()
            .map(|(id, share)| {
                Some((*id, VerifyingShare::deserialize(&shifted(&share.serialize().ok()?, &shift)?).ok()?))
            })
            .collect::<Option<BTreeMap<_, _>>>();
        let group = account.verifying_key().serialize().ok().and_then(|key| shifted(&key, &shift));
        let group = group.and_then(|key| frost::VerifyingKey::deserialize(&key).ok());
        Ok(PublicKeyPackage::new(verifying.ok_or(NoKey)?, group.ok_or(NoKey)?, Some(self.threshold)))
    }

    fn shift(&self, key: Key) -> Result<Option<Shift>, ShareError> {
        let Key::Child(branch, index) = key else {
            return Ok(None);
        };
        let public = hd::decompress(&self.account.public.0).ok_or(ShareError::OtherKey)?;
        Ok(Some(hd::shift(&public, &self.account.chain_code.0, &[branch.number(), index])?))
    }
}

/// Which key of an account signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// The account key itself, which never holds coins.
    Account,
    /// A child by two plain steps (BIP-44: chain, index).
    Child(Branch, u32),
}

/// Shares fresh from the dealer.
#[derive(Debug)]
pub struct Dealt {
    /// For everybody.
    pub public: SharePublic,
    /// For each holder its own, to be sealed to it alone.
    pub shares: Vec<(Name, ShareSecret)>,
}

/// Splits an account key between named holders, any `threshold` of whom can sign. The key is
/// consumed and wiped; working values of the library may stay behind in freed memory, so the process
/// that deals does nothing else and ends.
///
/// # Errors
/// A threshold or holders out of range, no locked memory.
pub fn deal(
    secret: AccountSecret,
    threshold: u16,
    names: &[Name],
    rng: &mut impl CryptoRngCore,
) -> Result<Dealt, ShareError> {
    check_holders(threshold, names)?;
    let range = || ShareError::Threshold { threshold, holders: names.len() };
    let count = u16::try_from(names.len()).map_err(|_| range())?;
    let key = frost::SigningKey::deserialize(secret.secret().expose()).map_err(|_| ShareError::Malformed)?;
    let dealt = frost::keys::split(&key, count, threshold, IdentifierList::Default, rng);
    let (dealt, _) = dealt.map_err(|_| range())?;
    let commitment =
        dealt.values().next().and_then(|share| share.commitment().serialize().ok()).ok_or_else(range)?;
    let public = SharePublic {
        account: secret.public(),
        threshold,
        holders: names.to_vec(),
        commitments: commitment.into_iter().map(Blob).collect(),
    };
    let mut shares = Vec::with_capacity(names.len());
    for name in names {
        let share = dealt.get(&public.identifier(name)?).ok_or_else(range)?;
        let mut bytes = Zeroizing::new(share.signing_share().serialize());
        let share = ShareSecret(LockedBytes::take(&mut bytes)?);
        // The dealer checks as a holder will: nothing leaves the ceremony that would be refused.
        shares.push((name.clone(), ShareSecret::open(share.expose(), &public, name)?.into_secret()));
    }
    Ok(Dealt { public, shares })
}

/// The context that a share is sealed in ([`crate::seal::SealDomain::Share`]): for which deployment,
/// from which ceremony, of which of its accounts, to whom, and how many must sign.
///
/// # Errors
/// None.
pub fn seal_context(
    genesis: &Hash,
    ceremony: &Hash,
    slot: u32,
    threshold: u16,
    holder: &Name,
) -> Result<Vec<u8>, ShareError> {
    let context = ("keyward/share-context/v1", genesis, ceremony, slot, threshold, holder);
    serde_json::to_vec(&context).map_err(|_| ShareError::Malformed)
}

/// One share, not yet checked: 32 bytes, a big-endian scalar.
pub struct ShareSecret(LockedBytes);

impl ShareSecret {
    /// The plaintext to be sealed to its holder ([`crate::seal::seal`]) or into its vault.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// Accepts the plaintext of a sealed share, if it fits the public commitments and `holder`.
    ///
    /// # Errors
    /// Anything that does not fit, named.
    pub fn open(plaintext: &[u8], public: &SharePublic, holder: &Name) -> Result<HeldShare, ShareError> {
        let commitment = public.group()?;
        let identifier = public.identifier(holder)?;
        let signing = signing_share(plaintext)?;
        let share = SecretShare::new(identifier, signing, commitment);
        share.verify().map_err(|_| ShareError::Wrong(holder.clone()))?;
        let mut secret = LockedBytes::zeroed(plaintext.len())?;
        secret.expose_mut().copy_from_slice(plaintext);
        Ok(HeldShare { secret, public: public.clone(), holder: holder.clone() })
    }
}

impl fmt::Debug for ShareSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareSecret(<secret>)")
    }
}

/// A checked share in the hands of its holder.
pub struct HeldShare {
    secret: LockedBytes,
    public: SharePublic,
    holder: Name,
}

impl HeldShare {
    /// What everybody may know about the shares of this account.
    pub fn public(&self) -> &SharePublic {
        &self.public
    }

    /// Who holds it.
    pub fn holder(&self) -> &Name {
        &self.holder
    }

    /// The plaintext, to be sealed into the holder's vault.
    pub fn expose(&self) -> &[u8] {
        self.secret.expose()
    }

    fn into_secret(self) -> ShareSecret {
        ShareSecret(self.secret)
    }

    /// The holder's share of a key, for one signature. It is wiped when dropped.
    pub(crate) fn key_package(&self, key: Key) -> Result<KeyPackage, ShareError> {
        let package = self.public.public_package(key)?;
        let identifier = self.public.identifier(&self.holder)?;
        let verifying = package.verifying_shares().get(&identifier).ok_or(ShareError::Malformed)?;
        let signing = match self.public.shift(key)? {
            None => signing_share(self.expose())?,
            Some(shift) => {
                let mut repr = scalar(self.expose())?.add(&shift.scalar).to_bytes();
                let signing = signing_share(&repr);
                repr.as_mut_slice().zeroize();
                signing?
            }
        };
        Ok(KeyPackage::new(identifier, signing, *verifying, *package.verifying_key(), self.public.threshold))
    }

    /// The share itself, to hedge nonces with.
    pub(crate) fn signing_share(&self) -> Result<SigningShare, ShareError> {
        signing_share(self.expose())
    }
}

impl fmt::Debug for HeldShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldShare(<secret> of {})", self.holder)
    }
}

/// The hash of the public part of a dealing, which ties nonces to this key and these shares.
pub(crate) fn fingerprint(public: &SharePublic) -> Result<Hash, ShareError> {
    let encoded = serde_json::to_vec(public).map_err(|_| ShareError::Malformed)?;
    Ok(Hash::of("keyward/shares/v1", &encoded))
}

fn check_holders(threshold: u16, holders: &[Name]) -> Result<(), ShareError> {
    let distinct: BTreeSet<_> = holders.iter().collect();
    if holders.len() > MAX_HOLDERS || distinct.len() != holders.len() {
        return Err(ShareError::Holders);
    }
    if threshold < MIN_THRESHOLD || usize::from(threshold) > holders.len() {
        return Err(ShareError::Threshold { threshold, holders: holders.len() });
    }
    Ok(())
}

fn identifier(position: usize) -> Option<Identifier> {
    Identifier::try_from(u16::try_from(position).ok()?.checked_add(1)?).ok()
}

fn scalar(bytes: &[u8]) -> Result<Scalar, ShareError> {
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| ShareError::Malformed)?;
    let mut repr = FieldBytes::from(*bytes);
    let scalar = Option::<Scalar>::from(Scalar::from_repr(repr));
    repr.as_mut_slice().zeroize();
    scalar.filter(|scalar| !bool::from(scalar.is_zero())).ok_or(ShareError::Malformed)
}

fn signing_share(bytes: &[u8]) -> Result<SigningShare, ShareError> {
    scalar(bytes)?.zeroize();
    SigningShare::deserialize(bytes).map_err(|_| ShareError::Malformed)
}

fn shifted(point: &[u8], shift: &Shift) -> Option<[u8; 33]> {
    let point: ProjectivePoint = hd::decompress(point)?;
    hd::compress(&point.add(&shift.point))
}
