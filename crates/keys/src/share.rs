//! Threshold shares of an account key: dealing them, checking them, holding one.
//!
//! The dealer of the ceremony splits the key with Feldman's verifiable secret sharing (RFC 9591
//! appendix C.2); each holder checks its share against the public commitments, whose first is the
//! account's public key itself. Holder *i* of the list has the identifier *i* + 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Add as _, Sub as _};

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

use crate::hd::{self, NoKey, PublicNode};
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
    /// The holder cannot deal its share anew.
    #[error("the dealers must be {0} different holders of the account, this one among them")]
    Dealers(u16),
    /// What a dealer dealt anew does not fit its commitments.
    #[error("the part of {0} does not fit its commitments; have it dealt anew without {0}")]
    WrongPart(Name),
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

    /// The public key of a child, or of the account itself: enough to add shares up.
    pub(crate) fn key_alone(&self, key: Key) -> Result<PublicKeyPackage, ShareError> {
        let group = verifying_key(&self.node(key)?)?;
        Ok(PublicKeyPackage::new(BTreeMap::new(), group, Some(self.threshold)))
    }

    /// The same and the verifying shares of all holders, which only blame needs: they cost about as
    /// much as a signature share.
    ///
    /// With it come the holders whose share of this key is 0, which only who dealt last can bring about for itself:
    /// nothing can be checked against that.
    pub(crate) fn key_with_holders(&self, key: Key) -> Result<(PublicKeyPackage, Vec<Name>), ShareError> {
        let group = self.group()?;
        let identifiers =
            self.holders.iter().map(|name| self.identifier(name)).collect::<Result<BTreeSet<_>, _>>()?;
        let wrong = || ShareError::Commitments(self.threshold);
        let account = PublicKeyPackage::from_commitment(&identifiers, &group).map_err(|_| wrong())?;
        let (root, node) = (self.node(Key::Account)?, self.node(key)?);
        let (mut verifying, mut without) = (BTreeMap::new(), Vec::new());
        for (id, share) in account.verifying_shares() {
            match point(share).and_then(|share| shifted(&share, &root, &node)) {
                Ok(share) => drop(verifying.insert(*id, share)),
                Err(NoKey) => without.extend(self.holder(id).cloned()),
            }
        }
        Ok((PublicKeyPackage::new(verifying, verifying_key(&node)?, Some(self.threshold)), without))
    }

    fn node(&self, key: Key) -> Result<PublicNode, ShareError> {
        let AccountKey { public, chain_code } = &self.account;
        let account = PublicNode::account(&public.0, chain_code.0).ok_or(ShareError::OtherKey)?;
        Ok(match key {
            Key::Account => account,
            Key::Child(branch, index) => account.child(branch.number())?.child(index)?,
        })
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
/// consumed and wiped; working values of the library stay behind in freed memory, so the process that deals
/// has a [`crate::locked::WipingAllocator`], does nothing else, and ends.
///
/// # Errors
/// A threshold or holders out of range, no locked memory.
pub fn deal(
    secret: AccountSecret,
    threshold: u16,
    names: &[Name],
    rng: &mut impl CryptoRngCore,
) -> Result<Dealt, ShareError> {
    split(secret.secret().expose(), &secret.public(), threshold, names, rng)
}

/// Splits a scalar, the private key of `account`, as [`deal`] says.
pub(crate) fn split(
    scalar: &[u8],
    account: &AccountKey,
    threshold: u16,
    names: &[Name],
    rng: &mut impl CryptoRngCore,
) -> Result<Dealt, ShareError> {
    check_holders(threshold, names)?;
    let range = || ShareError::Threshold { threshold, holders: names.len() };
    let count = u16::try_from(names.len()).map_err(|_| range())?;
    let key = frost::SigningKey::deserialize(scalar).map_err(|_| ShareError::Malformed)?;
    let dealt = frost::keys::split(&key, count, threshold, IdentifierList::Default, rng);
    let (dealt, _) = dealt.map_err(|_| range())?;
    let commitment =
        dealt.values().next().and_then(|share| share.commitment().serialize().ok()).ok_or_else(range)?;
    let public = SharePublic {
        account: account.clone(),
        threshold,
        holders: names.to_vec(),
        commitments: commitment.into_iter().map(Blob).collect(),
    };
    let mut shares = Vec::with_capacity(names.len());
    for name in names {
        let share = dealt.get(&public.identifier(name)?).ok_or_else(range)?;
        let mut bytes = Zeroizing::new(share.signing_share().serialize());
        let share = ShareSecret(LockedBytes::take(&mut bytes)?);
        // The dealer checks as a holder will: nothing leaves it that would be refused.
        shares.push((name.clone(), ShareSecret::open(share.expose(), &public, name)?.into_secret()));
    }
    Ok(Dealt { public, shares })
}

/// One share, not yet checked: 32 bytes, a big-endian scalar.
pub struct ShareSecret(LockedBytes);

impl ShareSecret {
    /// The plaintext to be sealed to its holder ([`crate::seal::seal`], in the
    /// context [`custody::document::share_context`]) or into its vault.
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
        let (verifying, _) = share.verify().map_err(|_| ShareError::Wrong(holder.clone()))?;
        let account = public.node(Key::Account)?;
        let derived = Derived {
            identifier,
            verifying: point(&verifying)?,
            fingerprint: fingerprint(public)?,
            receive: account.child(Branch::Receive.number())?,
            change: account.child(Branch::Change.number())?,
            account,
        };
        let mut secret = LockedBytes::zeroed(plaintext.len())?;
        secret.expose_mut().copy_from_slice(plaintext);
        Ok(HeldShare { secret, public: public.clone(), holder: holder.clone(), derived })
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
    derived: Derived,
}

/// What every signature needs of the public part and the holder, computed once. Nothing of it is
/// secret.
struct Derived {
    identifier: Identifier,
    verifying: ProjectivePoint,
    fingerprint: Hash,
    account: PublicNode,
    receive: PublicNode,
    change: PublicNode,
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

    /// The hash of the public part, which ties nonces to this key and these shares.
    pub(crate) fn fingerprint(&self) -> &Hash {
        &self.derived.fingerprint
    }

    fn into_secret(self) -> ShareSecret {
        ShareSecret(self.secret)
    }

    /// The holder's share of a key, for one signature. It is wiped when dropped.
    pub(crate) fn key_package(&self, key: Key) -> Result<KeyPackage, ShareError> {
        let Derived { identifier, verifying, account, receive, change, .. } = &self.derived;
        let node = match key {
            Key::Account => account.clone(),
            Key::Child(Branch::Receive, index) => receive.child(index)?,
            Key::Child(Branch::Change, index) => change.child(index)?,
        };
        let verifying = shifted(verifying, account, &node)?;
        let mut repr = scalar(self.expose())?.add(&node.shift).to_bytes();
        let signing = signing_share(&repr);
        repr.as_mut_slice().zeroize();
        Ok(KeyPackage::new(*identifier, signing?, verifying, verifying_key(&node)?, self.public.threshold))
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

fn fingerprint(public: &SharePublic) -> Result<Hash, ShareError> {
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

pub(crate) fn scalar(bytes: &[u8]) -> Result<Scalar, ShareError> {
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

fn verifying_key(node: &PublicNode) -> Result<frost::VerifyingKey, NoKey> {
    frost::VerifyingKey::deserialize(&node.key).map_err(|_| NoKey)
}

fn point(share: &VerifyingShare) -> Result<ProjectivePoint, NoKey> {
    share.serialize().ok().and_then(|bytes| hd::decompress(&bytes)).ok_or(NoKey)
}

/// The verifying share of `node` whose verifying share of the account is `share`.
fn shifted(
    share: &ProjectivePoint,
    account: &PublicNode,
    node: &PublicNode,
) -> Result<VerifyingShare, NoKey> {
    let moved = share.add(&node.point).sub(&account.point);
    let bytes = hd::compress(&moved).ok_or(NoKey)?;
    VerifyingShare::deserialize(&bytes).map_err(|_| NoKey)
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;
    use crate::seed::Seed;

    /// What a holder derives for itself is what everybody derives for it from the commitments.
    #[test]
    fn both_sides_derive_the_same_key() {
        let names = ["ada", "bob", "cleo"].map(|text| Name::new(text).unwrap());
        let account = Seed::generate(&mut OsRng).unwrap().account(1, 0).unwrap();
        let dealt = deal(account, 2, &names, &mut OsRng).unwrap();
        let children = [Key::Child(Branch::Receive, 5), Key::Child(Branch::Change, 5)];
        for key in [Key::Account, children[0], children[1]] {
            let (public, without) = dealt.public.key_with_holders(key).unwrap();
            assert_eq!(without, []);
            assert_eq!(dealt.public.key_alone(key).unwrap().verifying_key(), public.verifying_key());
            for (name, share) in &dealt.shares {
                let held = ShareSecret::open(share.expose(), &dealt.public, name).unwrap();
                let own = held.key_package(key).unwrap();
                assert_eq!(own.verifying_key(), public.verifying_key());
                assert_eq!(Some(own.verifying_share()), public.verifying_shares().get(own.identifier()));
                assert_eq!(*own.verifying_share(), VerifyingShare::from(*own.signing_share()));
            }
        }
    }
}
