//! What everybody can check of shares that are dealt anew: arithmetic on commitments (Feldman 1987; RFC 9591
//! appendix C.2), for [`custody::resharing`].

use bitcoin::secp256k1::{PublicKey, Scalar, Secp256k1, Verification};
use custody::Blob;

/// Whether the first of `dealt` is the share of `dealer`, as committed to by `shared`, times its Lagrange
/// coefficient ∏ j/(j − i) over the other `dealers` j. Compared is a multiple of both sides, so that nothing has to
/// be inverted. Nothing for what is no point, no share identifier, or too large.
pub(crate) fn redeals<C: Verification>(
    secp: &Secp256k1<C>,
    shared: &[Blob],
    dealers: &[u32],
    dealer: u32,
    dealt: &[Blob],
) -> Option<bool> {
    let dealt = dealt.iter().map(point).collect::<Option<Vec<_>>>()?;
    let (mut above, mut below, mut negative) = (1u128, 1u128, false);
    for other in dealers.iter().filter(|other| **other != dealer) {
        above = above.checked_mul(u128::from(*other))?;
        below = below.checked_mul(u128::from(other.abs_diff(dealer)))?;
        negative ^= *other < dealer;
    }
    if !dealers.contains(&dealer) {
        return None;
    }
    // The share of i is the polynomial at i. All terms are added at once: whoever dealt last may have made some of
    // them take each other away.
    let at = scalar(u128::from(dealer))?;
    let mut terms = Vec::with_capacity(shared.len());
    for (power, coefficient) in shared.iter().enumerate() {
        let term = (0..power).try_fold(point(coefficient)?, |term, _| term.mul_tweak(secp, &at).ok());
        terms.push(term?);
    }
    let committed = PublicKey::combine_keys(&terms.iter().collect::<Vec<_>>()).ok()?;
    let own = committed.mul_tweak(secp, &scalar(above)?).ok()?;
    let own = if negative { own.negate(secp) } else { own };
    Some(dealt.first()?.mul_tweak(secp, &scalar(below)?).ok()? == own)
}

/// The sums of commitments, coefficient by coefficient. All are added at once: two that take each other away on the way
/// to the sum are no reason to refuse the third.
pub(crate) fn add(lists: &[&[Blob]]) -> Option<Vec<Blob>> {
    let first = lists.first()?;
    let add = |place: usize| {
        let points = lists.iter().map(|list| list.get(place).and_then(point)).collect::<Option<Vec<_>>>()?;
        let sum = PublicKey::combine_keys(&points.iter().collect::<Vec<_>>()).ok()?;
        Some(Blob(sum.serialize().to_vec()))
    };
    if lists.iter().any(|list| list.len() != first.len()) {
        return None;
    }
    (0..first.len()).map(add).collect()
}

/// A compressed point; no other encoding is one.
fn point(blob: &Blob) -> Option<PublicKey> {
    PublicKey::from_slice(&blob.0).ok().filter(|_| blob.0.len() == 33)
}

fn scalar(number: u128) -> Option<Scalar> {
    let mut bytes = [0; 32];
    bytes.get_mut(16..)?.copy_from_slice(&number.to_be_bytes());
    Scalar::from_be_bytes(bytes).ok()
}
