//! The word list of SLIP-0039: 1,024 words of four to eight letters, no two with the same first four.

use std::sync::LazyLock;

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// The list as published, in the order of the alphabet.
const LIST: &str = include_str!("wordlist.txt");

/// Longest word in letters.
pub(super) const LETTERS_MAX: usize = 8;

/// Shortest word in letters, and as many as tell a word from all others.
pub(super) const LETTERS_MIN: usize = 4;

/// A word as one number: its letters in small type from the highest byte on, then zeros.
pub(super) type Packed = u64;

/// The list once more, each word packed.
static WORDS: LazyLock<Vec<Packed>> = LazyLock::new(|| all().filter_map(pack).collect());

/// The word that its first four letters name, in small type: no two words of the list have the same ones. Any other
/// number of letters names none.
pub fn complete(letters: &str) -> Option<&'static str> {
    all().find(|word| letters.len() == LETTERS_MIN && word.starts_with(letters))
}

/// The words of the list.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    LIST.lines()
}

/// A word as one number; none if it is too long for the list.
pub(super) fn pack(word: &str) -> Option<Packed> {
    let mut letters = [0; LETTERS_MAX];
    letters.get_mut(..word.len())?.copy_from_slice(word.as_bytes());
    letters.make_ascii_lowercase();
    Some(Packed::from_be_bytes(letters))
}

/// The place of a word in the list, from 0. It looks at every word, so that neither time nor the memory that
/// is touched depend on which one it is.
pub(super) fn find(word: Packed) -> Option<u16> {
    let (mut place, mut found) = (0u16, Choice::from(0));
    for (at, listed) in (0u16..).zip(WORDS.iter()) {
        let same = listed.ct_eq(&word);
        place.conditional_assign(&at, same);
        found |= same;
    }
    bool::from(found).then_some(place)
}

/// The word at a place of the list. It looks at every word, as [`find`] does.
pub(super) fn at(place: u16) -> Packed {
    let mut word = 0;
    for (at, listed) in (0u16..).zip(WORDS.iter()) {
        word.conditional_assign(listed, at.ct_eq(&place));
    }
    word
}

/// The letters of a packed word.
pub(super) fn letters(word: Packed) -> impl Iterator<Item = u8> {
    word.to_be_bytes().into_iter().filter(|letter| *letter != 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sha2::{Digest as _, Sha256};

    use super::*;

    /// SHA-256 of the list in the reference package `shamir-mnemonic` 0.3.0.
    const LIST_HASH: &str = "bcc4555340332d169718aed8bf31dd9d5248cb7da6e5d355140ef4f1e601eec3";

    #[test]
    fn the_list_is_the_published_one() {
        assert_eq!(hex::encode(Sha256::digest(LIST)), LIST_HASH);
        let words: Vec<&str> = all().collect();
        assert_eq!(words.len(), 1024);
        assert!(words.is_sorted());
        assert!(words.iter().all(|word| (4..=LETTERS_MAX).contains(&word.len())));
        assert!(words.iter().all(|word| word.bytes().all(|letter| letter.is_ascii_lowercase())));
        assert_eq!(words.iter().map(|word| &word[..4]).collect::<BTreeSet<_>>().len(), 1024);
    }

    #[test]
    fn every_word_is_found_at_its_place_and_no_other_word_is() {
        for (place, word) in (0u16..).zip(all()) {
            let packed = pack(word).unwrap();
            assert_eq!((find(packed), at(place)), (Some(place), packed), "{word}");
            assert_eq!(letters(packed).collect::<Vec<_>>(), word.as_bytes());
            assert_eq!(find(pack(&word.to_ascii_uppercase()).unwrap()), Some(place));
            assert_eq!(find(pack(&word[..word.len() - 1]).unwrap()), find_plain(&word[..word.len() - 1]));
        }
        for other in ["", "acade", "academia", "zzzz", "ac\u{e4}demi"] {
            assert_eq!(pack(other).and_then(find), None, "{other}");
        }
        assert_eq!(pack("academics"), None);
    }

    #[test]
    fn four_letters_name_a_word_and_no_other_number_does() {
        for word in all() {
            assert_eq!(complete(&word[..4]), Some(word));
            assert_eq!(complete(&word[..3]), None);
            assert_eq!(complete(word), (word.len() == 4).then_some(word));
        }
        for other in ["", "zzzz", "ACAD", "aca\u{e4}"] {
            assert_eq!(complete(other), None, "{other}");
        }
    }

    /// The place of a word by an ordinary search.
    fn find_plain(word: &str) -> Option<u16> {
        all().position(|listed| listed == word).map(|place| u16::try_from(place).unwrap())
    }
}
