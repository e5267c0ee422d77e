//! Shares dealt anew by their holders, without the key being whole anywhere ([`custody::resharing`]).
//!
//! A dealer splits its share *s* times its Lagrange coefficient λ among the new holders; the sum over all dealers of
//! what one of them gets is its new share, because Σ λ·s is the key. Fewer than `threshold` parts of each dealer
//! say nothing about its share, and old shares do not go together with new ones (Desmedt and Jajodia 1997;
//! Wong, Wang and Wing 2002).

use std::fmt;
use std::ops::{Add as _, Mul as _, Sub as _};

use custody::effects::AccountKey;
use custody::name::Name;
use custody::{Blob, canon};
use k256::elliptic_curve::sec1::ToEncodedPoint as _;
use k256::{ProjectivePoint, Scalar};
use rand_core::CryptoRngCore;
use zeroize::{Zeroize as _, Zeroizing};

use crate::hedged::Hedged;
use crate::locked::LockedBytes;
use crate::share::{self, Dealt, HeldShare, ShareError, SharePublic, ShareSecret};

/// What the randomness of a dealer is for ([`Hedged`]).
const GENERATOR: &[u8] = b"keyward/resharing-generator/v1";

/// Deals the share of a holder anew. What comes out is dealt like a key: commitments, whose first is to λ·s, and
/// a part for each of `holders`, to be sealed to it alone.
///
/// The generator is hedged by the share, so that a bad one and one part together do not give the share away; and by
/// the dealers and holders, so that one that repeats itself draws another polynomial in another resharing. Parts on
/// the same one, of other dealers or in other places, could be subtracted from each other.
///
/// # Errors
/// Dealers that are not as many holders as sign, this one among them; new holders out of range; no locked
/// memory.
pub fn redeal(
    held: &HeldShare,
    dealers: &[Name],
    holders: &[Name],
    rng: &mut impl CryptoRngCore,
) -> Result<Dealt, ShareError> {
    let public = held.public();
    let threshold = public.threshold;
    let refuse = || ShareError::Dealers(threshold);
    let mut coefficient = coefficient(public, dealers, held.holder()).ok_or_else(refuse)?;
    let mut secret = share::scalar(held.expose())?;
    let mut weighted = secret.mul(&coefficient);
    let commitment = ProjectivePoint::GENERATOR.mul(&weighted).to_encoded_point(true).as_bytes().to_vec();
    let mut bytes = Zeroizing::new(weighted.to_bytes().to_vec());
    [&mut secret, &mut weighted, &mut coefficient].into_iter().for_each(Scalar::zeroize);
    let bytes = LockedBytes::take(&mut bytes)?;
    let account = AccountKey { public: Blob(commitment), chain_code: public.account.chain_code };
    let who = canon::encode(&(dealers, holders)).unwrap_or_default();
    let mut rng = Hedged::new(held.expose(), &[GENERATOR, &who].concat(), rng)?;
    share::split(bytes.expose(), &account, threshold, holders, &mut rng)
}

/// The Lagrange coefficient at 0 of a dealer: ∏ j/(j − i) over the other dealers j.
fn coefficient(public: &SharePublic, dealers: &[Name], dealer: &Name) -> Option<Scalar> {
    let number = |name: &Name| {
        let position = public.holders.iter().position(|holder| holder == name)?;
        Some(Scalar::from(u64::try_from(position).ok()?.checked_add(1)?))
    };
    let distinct = dealers.is_sorted_by(|a, b| a < b) && dealers.len() == usize::from(public.threshold);
    if !distinct || !dealers.contains(dealer) {
        return None;
    }
    let own = number(dealer)?;
    dealers.iter().filter(|other| *other != dealer).try_fold(Scalar::ONE, |product, other| {
        let other = number(other)?;
        let inverse = Option::<Scalar>::from(other.sub(&own).invert())?;
        Some(product.mul(&other).mul(&inverse))
    })
}

/// What one dealer dealt to one holder.
pub struct Part<'p> {
    /// Who dealt.
    pub dealer: &'p Name,
    /// Its commitments.
    pub commitments: &'p [Blob],
    /// The plaintext of the sealed part.
    pub secret: &'p [u8],
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part(<secret> of {})", self.dealer)
    }
}

/// Adds up what all dealers dealt to `holder`: its share under `public`, whose commitments are the sums of theirs.
///
/// # Errors
/// A part that does not fit its commitments, its dealer named; a sum that does not fit `public`.
pub fn add_up(public: &SharePublic, holder: &Name, parts: &[Part<'_>]) -> Result<HeldShare, ShareError> {
    let mut sum = Scalar::ZERO;
    for part in parts {
        let wrong = || ShareError::WrongPart(part.dealer.clone());
        let first = part.commitments.first().cloned().ok_or_else(wrong)?;
        let of_part = SharePublic {
            account: AccountKey { public: first, chain_code: public.account.chain_code },
            commitments: part.commitments.to_vec(),
            ..public.clone()
        };
        ShareSecret::open(part.secret, &of_part, holder).map_err(|error| match error {
            // What is wrong here and not with the part.
            ShareError::Locked(_) | ShareError::Unknown(_) => error,
            _ => wrong(),
        })?;
        let mut secret = share::scalar(part.secret)?;
        sum = sum.add(&secret);
        secret.zeroize();
    }
    let mut bytes = Zeroizing::new(sum.to_bytes().to_vec());
    sum.zeroize();
    let bytes = LockedBytes::take(&mut bytes)?;
    ShareSecret::open(bytes.expose(), public, holder)
}
