//! Two rounds of threshold signing: FROST (RFC 9591) giving BIP-340 signatures, with the Taproot
//! tweak of BIP-86 for coins.
//!
//! Round 1: each signer of a set calls [`commit`] and sends its [`Commitment`]. Round 2: each calls
//! [`sign`] with the commitments of all and sends its [`SignatureShare`]. Anyone then calls
//! [`aggregate`]. [`Nonces`] live in memory only and are consumed by `sign`, whatever it answers
//! (`P27`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bitcoin::bip32::{ChainCode, ChildNumber, Fingerprint, Xpub};
use bitcoin::key::TapTweak as _;
use bitcoin::secp256k1::{self, Secp256k1, schnorr};
use custody::Hash;
use custody::document;
use custody::effects::{AccountKey, Branch};
use custody::name::Name;
use frost_core::CheaterDetection;
use frost_secp256k1_tr as frost;
use frost_secp256k1_tr::keys::{PublicKeyPackage, Tweak as _};
use frost_secp256k1_tr::round1::{NonceCommitment, SigningCommitments, SigningNonces};
use rand_core::CryptoRngCore;

use crate::share::{HeldShare, Key, ShareError, SharePublic};

/// What chain keys sign: nothing else, ever.
#[derive(Debug)]
pub enum Signable<'a> {
    /// One input of a decoded transaction, spent by the child key of an address (BIP-86).
    Spend {
        /// The signature hash of the input.
        digest: &'a chain::Digest,
        /// The chain of the address.
        branch: Branch,
        /// Its index.
        index: u32,
    },
    /// Proof, before the first address is given out, that a set of holders can sign for the account.
    Activation(&'a ActivationChallenge),
}

impl Signable<'_> {
    fn message(&self) -> &[u8; 32] {
        match self {
            Self::Spend { digest, .. } => digest.as_bytes(),
            Self::Activation(challenge) => challenge.as_bytes(),
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Spend { branch, index, .. } => Key::Child(*branch, *index),
            Self::Activation(_) => Key::Account,
        }
    }
}

/// The message that a set of holders signs with the account key itself, untweaked, to activate it.
/// It is a hash under a tag of its own ([`document::activation_message`]), so that it is never the
/// digest of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActivationChallenge([u8; 32]);

impl ActivationChallenge {
    /// The 32 bytes to verify a signature over.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The challenge that one set of holders signs to activate the account in a ceremony's slot.
pub fn activation_message(
    genesis: &Hash,
    ceremony: &Hash,
    slot: u32,
    holders: &[Name],
) -> ActivationChallenge {
    ActivationChallenge(document::activation_message(genesis, ceremony, slot, holders))
}

/// What nonces are for. Two signatures never share one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The signing session: the hash of the authorise id and the attempt, or of the activation.
    pub session: [u8; 32],
    /// The number of the input.
    pub input: u32,
    /// Who signs: exactly as many holders as the threshold says.
    pub signers: BTreeSet<Name>,
}

impl Binding {
    fn context(&self, share: &HeldShare) -> Result<Hash, ShareError> {
        let encoded =
            serde_json::to_vec(&(share.fingerprint(), Hash(self.session), self.input, &self.signers));
        Ok(Hash::of("keyward/round/v1", &encoded.map_err(|_| ShareError::Malformed)?))
    }
}

/// Secret nonces for one signature. They cannot be copied, stored or used twice:
///
/// ```
/// # use {custody::name::Name, keys::{round::*, share::HeldShare}, std::collections::BTreeMap};
/// fn once(nonces: Nonces, share: &HeldShare, what: &Signable<'_>, all: &BTreeMap<Name, Commitment>) {
///     let _ = sign(nonces, share, what, all);
/// }
/// ```
/// ```compile_fail,E0382
/// # use {custody::name::Name, keys::{round::*, share::HeldShare}, std::collections::BTreeMap};
/// fn twice(nonces: Nonces, share: &HeldShare, what: &Signable<'_>, all: &BTreeMap<Name, Commitment>) {
///     let _ = sign(nonces, share, what, all);
///     let _ = sign(nonces, share, what, all);
/// }
/// ```
pub struct Nonces {
    binding: Binding,
    context: Hash,
    holder: Name,
    // Boxed, so that moving the value leaves no copies behind; wiped when dropped.
    secret: Box<SigningNonces>,
}

impl Nonces {
    /// What they are for.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonces(<secret> for input {} of {})", self.binding.input, Hash(self.binding.session))
    }
}

/// Bytes that are not a commitment or a signature share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}; have it sent again")]
pub struct Malformed(&'static str);

/// A signer's public commitment to its nonces, and what they are for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commitment {
    context: Hash,
    points: SigningCommitments,
}

impl Commitment {
    /// Length of its encoding in bytes: 32 of context, two compressed points.
    pub const BYTES: usize = 98;

    /// The encoding: context ‖ hiding point ‖ binding point.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(&self.context.0);
        // Points decoded or committed to here are never the identity, the only one without encoding.
        out.extend(self.points.hiding().serialize().unwrap_or_default());
        out.extend(self.points.binding().serialize().unwrap_or_default());
        out
    }

    /// Reads an encoding.
    ///
    /// # Errors
    /// Another length, points off the curve.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        const BAD: Malformed = Malformed("commitment");
        let (context, rest) = bytes.split_first_chunk::<32>().ok_or(BAD)?;
        let (hiding, binding) = rest.split_first_chunk::<33>().ok_or(BAD)?;
        let point = |bytes: &[u8]| {
            crate::hd::decompress(bytes).and_then(|_| NonceCommitment::deserialize(bytes).ok()).ok_or(BAD)
        };
        let points = SigningCommitments::new(point(hiding)?, point(binding)?);
        Ok(Self { context: Hash(*context), points })
    }
}

/// A signer's part of one signature. Worthless without the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureShare(frost::round2::SignatureShare);

impl SignatureShare {
    /// The encoding: a 32-byte big-endian scalar.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize()
    }

    /// Reads an encoding.
    ///
    /// # Errors
    /// Another length, a number above the group order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        frost::round2::SignatureShare::deserialize(bytes).map(Self).map_err(|_| Malformed("signature share"))
    }
}

/// Why a signer does not take part in a round.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The set has another size than the threshold, or holds somebody who has no share.
    #[error("the signers must be exactly {0} holders of the account, this one among them")]
    Set(u16),
    /// The commitments are not those of the agreed set.
    #[error("the commitments are not from exactly the signers that the nonces are for; start a new session")]
    OtherSet,
    /// The signer's own commitment is missing or replaced.
    #[error("the commitments do not hold the one that this signer made; start a new session")]
    NotMine,
    /// A commitment was made for something else.
    #[error("the commitment of {0} was made for another session, input, set or key")]
    OtherSession(Name),
    /// The nonces were made with another share.
    #[error("the nonces were made for another share; start a new session")]
    OtherShare,
    /// The library refused; the nonces are gone.
    #[error("signing failed; start a new session")]
    Failed,
    /// See [`ShareError`].
    #[error(transparent)]
    Share(#[from] ShareError),
}

/// Round 1: fresh nonces for one signature, and the commitment to send.
///
/// # Errors
/// A set of signers that cannot sign with this share.
pub fn commit(
    share: &HeldShare,
    binding: Binding,
    rng: &mut impl CryptoRngCore,
) -> Result<(Nonces, Commitment), SignError> {
    if !is_signing_set(share.public(), binding.signers.iter()) || !binding.signers.contains(share.holder()) {
        return Err(SignError::Set(share.public().threshold));
    }
    let context = binding.context(share)?;
    let (secret, points) = frost::round1::commit(&share.signing_share()?, rng);
    let nonces = Nonces { binding, context, holder: share.holder().clone(), secret: Box::new(secret) };
    Ok((nonces, Commitment { context, points }))
}

/// Round 2: this signer's part of the signature. The nonces are used up, also when it refuses.
///
/// # Errors
/// Anything about the commitments that is not as agreed in round 1.
pub fn sign(
    nonces: Nonces,
    share: &HeldShare,
    signable: &Signable<'_>,
    commitments: &BTreeMap<Name, Commitment>,
) -> Result<SignatureShare, SignError> {
    if nonces.holder != *share.holder() || nonces.binding.context(share)? != nonces.context {
        return Err(SignError::OtherShare);
    }
    if !commitments.keys().eq(nonces.binding.signers.iter()) {
        return Err(SignError::OtherSet);
    }
    if let Some((name, _)) = commitments.iter().find(|(_, commitment)| commitment.context != nonces.context) {
        return Err(SignError::OtherSession(name.clone()));
    }
    let own = SigningCommitments::from(&*nonces.secret);
    if commitments.get(share.holder()).map(|commitment| commitment.points) != Some(own) {
        return Err(SignError::NotMine);
    }
    let package = signing_package(share.public(), signable, commitments)?;
    let mut key = share.key_package(signable.key())?;
    if let Signable::Spend { .. } = signable {
        key = key.tweak::<&[u8]>(None);
    }
    frost::round2::sign(&package, &nonces.secret, &key).map(SignatureShare).map_err(|_| SignError::Failed)
}

/// Why shares do not make a signature.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// Shares and commitments are not from the same right number of holders.
    #[error("there must be one commitment and one share of each of exactly {0} holders")]
    Set(u16),
    /// Commitments of different sessions.
    #[error("the commitments were made for different sessions")]
    Sessions,
    /// The signature does not verify because of the shares of these holders (`P27`). They are to
    /// blame only if their shares and commitments were authenticated.
    #[error("wrong signature share from {}", .0.iter().map(Name::as_str).collect::<Vec<_>>().join(", "))]
    Culprits(Vec<Name>),
    /// The shares add up, and yet the result does not verify.
    #[error("the signature does not verify; nothing may be released")]
    Invalid,
    /// See [`ShareError`].
    #[error(transparent)]
    Share(#[from] ShareError),
}

/// Adds the shares up to a BIP-340 signature, and verifies it before it is given out: by the
/// threshold library, and by libsecp256k1 under the output key that standard wallets derive.
///
/// # Errors
/// Missing, foreign or wrong shares; the holders of wrong ones are named.
pub fn aggregate(
    public: &SharePublic,
    signable: &Signable<'_>,
    commitments: &BTreeMap<Name, Commitment>,
    shares: &BTreeMap<Name, SignatureShare>,
) -> Result<[u8; 64], AggregateError> {
    public.check()?;
    if !is_signing_set(public, commitments.keys()) || !commitments.keys().eq(shares.keys()) {
        return Err(AggregateError::Set(public.threshold));
    }
    let contexts: BTreeSet<_> = commitments.values().map(|commitment| commitment.context).collect();
    if contexts.len() != 1 {
        return Err(AggregateError::Sessions);
    }
    let package = signing_package(public, signable, commitments)?;
    let mut by_identifier = BTreeMap::new();
    for (name, share) in shares {
        by_identifier.insert(public.identifier(name)?, share.0);
    }
    let add = |keys: PublicKeyPackage, detection| {
        let keys = match signable {
            Signable::Spend { .. } => keys.tweak::<&[u8]>(None),
            Signable::Activation(_) => keys,
        };
        frost_core::aggregate_custom(&package, &by_identifier, &keys, detection)
    };
    let blamed = |error| match error {
        frost::Error::InvalidSignatureShare { culprits } => {
            AggregateError::Culprits(culprits.iter().filter_map(|id| public.holder(id).cloned()).collect())
        }
        _ => AggregateError::Invalid,
    };
    let signature = match add(public.key_alone(signable.key())?, CheaterDetection::Disabled) {
        Ok(signature) => signature,
        // Once more, to find out whose shares are wrong.
        Err(_) => {
            let (keys, mut without) = public.key_with_holders(signable.key())?;
            without.retain(|holder| commitments.contains_key(holder));
            if !without.is_empty() {
                return Err(AggregateError::Culprits(without));
            }
            add(keys, CheaterDetection::AllCheaters).map_err(blamed)?
        }
    };
    let bytes = signature.serialize().ok().and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
    bytes.filter(|bytes| verified(&public.account, signable, bytes).is_some()).ok_or(AggregateError::Invalid)
}

/// The second opinion: derivation, tweak and verification by `bitcoin` and libsecp256k1, which
/// share no code with what signed.
fn verified(account: &AccountKey, signable: &Signable<'_>, signature: &[u8; 64]) -> Option<()> {
    let secp = Secp256k1::verification_only();
    let public_key = secp256k1::PublicKey::from_slice(&account.public.0).ok()?;
    let key = match signable.key() {
        Key::Account => public_key.x_only_public_key().0,
        Key::Child(branch, index) => {
            let account = Xpub {
                network: bitcoin::NetworkKind::Main,
                depth: 0,
                parent_fingerprint: Fingerprint::default(),
                child_number: ChildNumber::from_normal_idx(0).ok()?,
                public_key,
                chain_code: ChainCode::from(account.chain_code.0),
            };
            let path = [branch.number(), index].map(ChildNumber::from_normal_idx);
            let path = path.into_iter().collect::<Result<Vec<_>, _>>().ok()?;
            let child = account.derive_pub(&secp, &path).ok()?.to_x_only_pub();
            child.tap_tweak(&secp, None).0.to_x_only_public_key()
        }
    };
    let signature = schnorr::Signature::from_slice(signature).ok()?;
    secp.verify_schnorr(&signature, &secp256k1::Message::from_digest(*signable.message()), &key).ok()
}

/// Whether `names` are exactly as many holders of the account as must sign.
fn is_signing_set<'a>(public: &SharePublic, mut names: impl ExactSizeIterator<Item = &'a Name>) -> bool {
    names.len() == usize::from(public.threshold) && names.all(|name| public.holders.contains(name))
}

fn signing_package(
    public: &SharePublic,
    signable: &Signable<'_>,
    commitments: &BTreeMap<Name, Commitment>,
) -> Result<frost::SigningPackage, ShareError> {
    let mut points = BTreeMap::new();
    for (name, commitment) in commitments {
        points.insert(public.identifier(name)?, commitment.points);
    }
    Ok(frost::SigningPackage::new(points, signable.message()))
}

#[cfg(test)]
mod tests {
    use custody::Blob;

    use super::*;

    /// BIP-340 test vector 0: the second opinion takes it, and nothing near it.
    #[test]
    fn the_second_opinion_verifies_as_bip_340_says() {
        let public = "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9";
        let signature = concat!(
            "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215",
            "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
        );
        let public = Blob(hex::decode(public).unwrap());
        let account = AccountKey { public, chain_code: Hash::default() };
        let signature: [u8; 64] = hex::decode(signature).unwrap().try_into().unwrap();
        let challenge = ActivationChallenge([0; 32]);
        let accepts =
            |signature: &[u8; 64]| verified(&account, &Signable::Activation(&challenge), signature).is_some();
        assert!(accepts(&signature));
        for bit in 0..512 {
            let mut altered = signature;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepts(&altered), "bit {bit}");
        }
    }
}
