//! Names that stand in the log: pseudonymous handles, and salted hashes for what people call things.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes::Hash;

/// Longest name in bytes: enough for a handle, too short for a sentence.
pub const NAME_LIMIT_BYTES: usize = 32;

/// How handles of addresses begin that are not in the address book.
const UNLISTED: &str = "unlisted-";

/// A handle of a person, group, wallet, destination, client, machine or co-signer: 1 to 32 of
/// `a-z`, `0-9` and `-`. It is public in the log, so it is a pseudonym: what it stands for is a
/// [`Label`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks and wraps a handle.
    pub fn new(text: &str) -> Option<Self> {
        let ok = !text.is_empty()
            && text.len() <= NAME_LIMIT_BYTES
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ok.then(|| Self(text.to_owned()))
    }

    /// The handle of an address that is not in the address book, from the hash of that: the first 88 bits, for
    /// two addresses with one handle only share their limits.
    pub(crate) fn unlisted(hash: &Hash) -> Self {
        Self(UNLISTED.chars().chain(hash.to_string().chars().take(22)).collect())
    }

    /// Whether it is like the handles of addresses that are not in the address book.
    pub fn is_unlisted(&self) -> bool {
        self.0.starts_with(UNLISTED)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text)
            .ok_or_else(|| format!("{text:?} is not a name: use 1 to {NAME_LIMIT_BYTES} of a-z, 0-9 and '-'"))
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a handle stands for, for people to read. Only [`Label::commitment`] is in the log (P7); the
/// label itself travels beside it and is believed only when it matches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Random, so that nobody can guess the text from its hash.
    pub salt: Hash,
    /// The words.
    pub text: String,
}

impl Label {
    /// The salted hash that stands in the log.
    pub fn commitment(&self) -> Hash {
        let mut data = self.salt.0.to_vec();
        data.extend(self.text.as_bytes());
        Hash::of("keyward/label/v1", &data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_both_sides_of_their_limits() {
        assert!(Name::new(&"a".repeat(NAME_LIMIT_BYTES)).is_some());
        for bad in [&"a".repeat(NAME_LIMIT_BYTES + 1), "", "A", "a b", "ä", "a/b"] {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }
}
