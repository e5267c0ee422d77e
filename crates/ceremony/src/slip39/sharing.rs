//! Secret sharing over both levels, and which shares belong together.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, Mac as _};
use keys::locked::LockedBytes;
use rand_core::CryptoRngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::cipher::Key;
use super::field::interpolate;
use super::mnemonic::{Header, Mnemonic};
use super::{Fault, Scheme};

/// Where the polynomial has the secret.
const SECRET_AT: u8 = 255;

/// Where it has the digest of the secret and the random key of the digest.
const DIGEST_AT: u8 = 254;

/// Bytes of the digest.
const DIGEST_BYTES: usize = 4;

/// Why shares do not rebuild a secret. Shares are numbered from 1 in the order that they were given.
#[derive(Debug, thiserror::Error)]
pub enum CombineError {
    /// No share at all.
    #[error("there is no share: type in the first one")]
    Empty,
    /// Shares of more than one splitting.
    #[error(
        "not all shares are of one splitting: {} belong together, and {} not; those that belong together begin with the same two words: bring the right ones",
        list(.most),
        list(.others)
    )]
    Strangers {
        /// The most that belong together.
        most: Vec<usize>,
        /// The others.
        others: Vec<usize>,
    },
    /// The same share again.
    #[error("shares {0} and {1} are the same one: bring another in its place")]
    Twice(usize, usize),
    /// Two shares that claim the same place.
    #[error(
        "shares {0} and {1} claim the same place and differ: one of them is not of this secret; compare both with the report of the ceremony"
    )]
    Conflict(usize, usize),
    /// Two shares of one group that disagree about it.
    #[error(
        "shares {0} and {1} are of one group and disagree on its threshold: one of them is not of this secret"
    )]
    Thresholds(usize, usize),
    /// Not enough of them.
    #[error("{0}")]
    Few(Few),
    /// Each share is whole, and together they are nothing.
    #[error("the shares{} do not fit together, though each is whole: one is of another splitting or was forged; try others in its place", group(.0))]
    Misfit(Option<u8>),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How many shares are still to come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Few {
    /// How many groups are complete.
    pub complete: usize,
    /// How many must be.
    pub group_threshold: u8,
    /// How many groups there are.
    pub groups: u8,
    /// The groups that shares were given of, and not enough.
    pub lacking: Vec<Lacking>,
}

/// A group that is not complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lacking {
    /// Which, from 0.
    pub group: u8,
    /// How many of its shares are there.
    pub given: usize,
    /// How many must be.
    pub threshold: u8,
}

impl fmt::Display for Few {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too few shares")?;
        if self.groups > 1 {
            write!(f, ", {} of {} groups complete", self.complete, self.group_threshold)?;
        }
        for lacking in &self.lacking {
            let of = if self.groups > 1 { group(&Some(lacking.group)) } else { String::new() };
            let more = usize::from(lacking.threshold).saturating_sub(lacking.given);
            write!(f, "; {} of {} shares{of}: bring {more} more", lacking.given, lacking.threshold)?;
        }
        let begun = self.complete.saturating_add(self.lacking.len());
        let groups = usize::from(self.group_threshold).saturating_sub(begun);
        if groups > 0 {
            write!(f, "; bring the shares of {groups} more of the {} groups", self.groups)?;
        }
        Ok(())
    }
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn group(number: &Option<u8>) -> String {
    number.map(|group| format!(" of group {}", u16::from(group).saturating_add(1))).unwrap_or_default()
}

/// The shares of an encrypted secret: first for the groups, then the part of each group for its members.
pub(super) fn deal(
    encrypted: &LockedBytes,
    key: &Key<'_>,
    scheme: &Scheme,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<Mnemonic>, Fault> {
    let groups = u8::try_from(scheme.groups.len()).unwrap_or(u8::MAX);
    let parts = share(scheme.group_threshold, groups, encrypted, rng)?;
    let mut mnemonics = Vec::with_capacity(scheme.shares());
    for ((group, part), (threshold, members)) in (0..).zip(&parts).zip(&scheme.groups) {
        for (member, value) in (0..).zip(share(*threshold, *members, part, rng)?) {
            let header = Header {
                identifier: key.identifier,
                extendable: key.extendable,
                iteration_exponent: key.iteration_exponent,
                group,
                group_threshold: scheme.group_threshold,
                groups,
                member,
                member_threshold: *threshold,
            };
            mnemonics.push(Mnemonic::new(header, value));
        }
    }
    Ok(mnemonics)
}

/// Shares a secret: a random polynomial of degree threshold − 1 that has the secret at 255 and, from two
/// shares on, its digest at 254.
fn share(
    threshold: u8,
    count: u8,
    secret: &LockedBytes,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<LockedBytes>, Fault> {
    let length = secret.expose().len();
    let mut shares = Vec::with_capacity(usize::from(count));
    let free = threshold.saturating_sub(2);
    for _ in 0..free {
        shares.push(LockedBytes::random(length, rng)?);
    }
    let mut digest = LockedBytes::random(length, rng)?;
    write_digest(secret.expose(), digest.expose_mut())?;
    let mut points: Vec<(u8, &[u8])> = (0..).zip(shares.iter().map(LockedBytes::expose)).collect();
    points.push((SECRET_AT, secret.expose()));
    if threshold > 1 {
        points.push((DIGEST_AT, digest.expose()));
    }
    let mut rest = Vec::with_capacity(usize::from(count));
    for x in free..count {
        let mut value = LockedBytes::zeroed(length)?;
        interpolate(&points, x, value.expose_mut());
        rest.push(value);
    }
    shares.append(&mut rest);
    Ok(shares)
}

/// The secret of shares, each with its place; none if they do not lie on one polynomial, or not with the
/// digest of its secret.
fn unite(threshold: u8, points: &[(u8, &[u8])]) -> Result<Option<LockedBytes>, Fault> {
    let Some((base, spare)) = points.split_at_checked(usize::from(threshold)) else { return Ok(None) };
    let length = base.first().map_or(0, |(_, value)| value.len());
    let mut scratch = LockedBytes::zeroed(length)?;
    for (x, value) in spare {
        interpolate(base, *x, scratch.expose_mut());
        if !bool::from(scratch.expose().ct_eq(value)) {
            return Ok(None);
        }
    }
    let mut secret = LockedBytes::zeroed(length)?;
    interpolate(base, SECRET_AT, secret.expose_mut());
    if threshold > 1 {
        let mut digest = LockedBytes::zeroed(length)?;
        interpolate(base, DIGEST_AT, digest.expose_mut());
        scratch.expose_mut().copy_from_slice(digest.expose());
        write_digest(secret.expose(), scratch.expose_mut())?;
        if !bool::from(scratch.expose().ct_eq(digest.expose())) {
            return Ok(None);
        }
    }
    Ok(Some(secret))
}

/// Writes the digest of a secret to the first bytes of `share`, whose other bytes are its key.
fn write_digest(secret: &[u8], share: &mut [u8]) -> Result<(), Fault> {
    let (digest, key) = share.split_at_mut_checked(DIGEST_BYTES).unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(Fault::Key)?;
    mac.update(secret);
    digest.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, byte)| *to = byte);
    Ok(())
}

/// The encrypted secret of shares that belong together, and the header of one of them.
pub(super) fn gather(shares: &[&Mnemonic]) -> Result<(Header, LockedBytes), CombineError> {
    let header = *shares.first().ok_or(CombineError::Empty)?.header();
    belong_together(shares)?;
    let mut groups: BTreeMap<u8, Vec<(u8, &[u8])>> = BTreeMap::new();
    let mut thresholds = BTreeMap::new();
    for share in shares {
        let Header { group, member, member_threshold, .. } = *share.header();
        groups.entry(group).or_default().push((member, share.value()));
        thresholds.insert(group, member_threshold);
    }
    let threshold = |group: &u8| thresholds.get(group).copied().unwrap_or(u8::MAX);
    let is_complete = |group: &u8, given: usize| given >= usize::from(threshold(group));
    let complete = groups.iter().filter(|(group, given)| is_complete(group, given.len())).count();
    if complete < usize::from(header.group_threshold) {
        let lacking = groups.iter().filter(|(group, given)| !is_complete(group, given.len()));
        let lacking = lacking.map(|(group, given)| Lacking {
            group: *group,
            given: given.len(),
            threshold: threshold(group),
        });
        return Err(CombineError::Few(Few {
            complete,
            group_threshold: header.group_threshold,
            groups: header.groups,
            lacking: lacking.collect(),
        }));
    }
    let mut parts = Vec::with_capacity(complete);
    for (group, given) in groups.iter().filter(|(group, given)| is_complete(group, given.len())) {
        let part = unite(threshold(group), given)?.ok_or(CombineError::Misfit(Some(*group)))?;
        parts.push((*group, part));
    }
    let points: Vec<(u8, &[u8])> = parts.iter().map(|(group, part)| (*group, part.expose())).collect();
    let encrypted = unite(header.group_threshold, &points)?.ok_or(CombineError::Misfit(None))?;
    Ok((header, encrypted))
}

/// Whether shares are of one splitting, and each another one.
fn belong_together(shares: &[&Mnemonic]) -> Result<(), CombineError> {
    let mut splittings: Vec<(_, Vec<usize>)> = Vec::new();
    for (number, share) in (1..).zip(shares) {
        let splitting = (share.header().splitting(), share.value().len());
        match splittings.iter_mut().find(|(known, _)| *known == splitting) {
            Some((_, members)) => members.push(number),
            None => splittings.push((splitting, vec![number])),
        }
    }
    splittings.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    let mut splittings = splittings.into_iter().map(|(_, members)| members);
    let most = splittings.next().unwrap_or_default();
    let others: Vec<usize> = splittings.flatten().collect();
    if !others.is_empty() {
        return Err(CombineError::Strangers { most, others });
    }
    for (second, share) in (1..).zip(shares) {
        for (first, earlier) in (1..second).zip(shares) {
            let (one, two) = (earlier.header(), share.header());
            if one.group == two.group && one.member_threshold != two.member_threshold {
                return Err(CombineError::Thresholds(first, second));
            }
            if (one.group, one.member) == (two.group, two.member) {
                return Err(match bool::from(earlier.value().ct_eq(share.value())) {
                    true => CombineError::Twice(first, second),
                    false => CombineError::Conflict(first, second),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
