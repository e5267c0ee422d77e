//! SLIP-0039: a secret as groups of shares in words, of which enough rebuild it and fewer say nothing.
//!
//! Written anew, because no crate passes all published vectors. What is used of the standard, and what is not,
//! stands in `docs/spec/slip39.md`.
//!
//! Nothing here chooses a branch or a place in a table by a bit of a secret: the field is computed with
//! masks, and a word is found by looking at the whole list. Three things do show in time: how long the words of
//! a share are, because it is text; words that are typed by their first letters; and everything about words that are
//! *wrong*, because hints are searched.

mod checksum;
mod cipher;
mod field;
mod hints;
mod mnemonic;
mod scheme;
mod sharing;
mod words;

use hmac::digest::InvalidLength;
use keys::locked::{LockError, LockedBytes};
use rand_core::CryptoRngCore;

pub use hints::Hint;
pub use mnemonic::{Header, Mnemonic, WordsError};
pub use scheme::{COMBINATIONS_LIMIT, GROUPS_LIMIT, MEMBERS_LIMIT, Scheme, SchemeError};
pub use sharing::{CombineError, Few, Lacking};
pub use words::complete;

/// The iteration exponent of Keyward's own shares: 10,000 × 2⁰ iterations, the least. Iterations slow down who
/// guesses a passphrase, and there is none.
pub const ITERATION_EXPONENT: u8 = 0;

/// What goes wrong with no fault of the shares.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A hash function did not take its key.
    #[error("a key of the share's hash has the wrong length ({0}): this is a defect of the program")]
    Key(InvalidLength),
}

/// Splits a secret into the shares of a scheme, in the order of its groups and of their members. They have a
/// fresh identifier, the extendable flag, and no passphrase.
///
/// # Errors
/// A scheme that is not sound, a length or an exponent that the standard does not have, no locked memory.
pub fn split(
    secret: &LockedBytes,
    scheme: &Scheme,
    iteration_exponent: u8,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<Mnemonic>, SchemeError> {
    scheme.check()?;
    let length = secret.expose().len();
    mnemonic::words_for(length).ok_or(SchemeError::Length(length))?;
    if iteration_exponent > mnemonic::EXPONENT_MAX {
        return Err(SchemeError::Exponent(iteration_exponent));
    }
    let mut identifier = [0; 2];
    rng.fill_bytes(&mut identifier);
    let identifier = u16::from_be_bytes(identifier) & mnemonic::IDENTIFIER_MAX;
    let key = cipher::Key { passphrase: b"", identifier, extendable: true, iteration_exponent };
    let encrypted = key.encrypt(secret)?;
    Ok(sharing::deal(&encrypted, &key, scheme, rng)?)
}

/// Rebuilds the secret that was split without a passphrase.
///
/// Shares beyond the threshold are welcome: each must lie on the same polynomial. Shares of groups that stay
/// incomplete are not looked at further.
///
/// # Errors
/// See [`CombineError`].
pub fn combine<'a>(shares: impl IntoIterator<Item = &'a Mnemonic>) -> Result<LockedBytes, CombineError> {
    combine_under(b"", shares)
}

/// As [`combine`], for shares of other programs that were made under a passphrase. Another passphrase gives
/// another secret, and nothing tells which one is right: the standard wants it so.
///
/// # Errors
/// See [`CombineError`].
pub fn combine_under<'a>(
    passphrase: &[u8],
    shares: impl IntoIterator<Item = &'a Mnemonic>,
) -> Result<LockedBytes, CombineError> {
    let shares: Vec<&Mnemonic> = shares.into_iter().collect();
    let (header, encrypted) = sharing::gather(&shares)?;
    let Header { identifier, extendable, iteration_exponent, .. } = header;
    let key = cipher::Key { passphrase, identifier, extendable, iteration_exponent };
    Ok(key.decrypt(&encrypted)?)
}
