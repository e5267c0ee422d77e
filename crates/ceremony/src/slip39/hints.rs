//! What wrong words perhaps should be. A hint is shown to the holder, who looks at the medium again; nothing
//! is ever put right in silence, because the nearest right words may be those of nobody's share.

use std::fmt;

use zeroize::Zeroizing;

use super::mnemonic::fits;
use super::words::{self, LETTERS_MIN};

/// Most words that one hint has.
const WORDS_LIMIT: usize = 2;

/// Most letters that may be wrong in a word, for another one to be a hint.
const LETTERS_LIMIT: usize = 2;

/// Longest typed text that is compared with the list, in bytes; the distance of longer text is too great.
const TYPED_LIMIT: usize = words::LETTERS_MAX + LETTERS_LIMIT;

/// Which words to look at, and what they might be. Its text has words of the share, for its holder alone;
/// its debug form has none.
#[derive(Clone, PartialEq, Eq)]
pub enum Hint {
    /// The word of this number, from 1, is wrong: likely ones, if there are any, the likeliest first.
    Replace(usize, Vec<&'static str>),
    /// The words of these numbers changed places.
    Swap(usize, usize),
}

impl Hint {
    /// The numbers of the words, from 1.
    pub fn numbers(&self) -> Vec<usize> {
        match self {
            Self::Replace(number, _) => vec![*number],
            Self::Swap(first, second) => vec![*first, *second],
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replace(number, words) if words.is_empty() => {
                write!(f, "word {number} resembles none of the list")
            }
            Self::Replace(number, words) => write!(f, "word {number} is perhaps {}", words.join(" or ")),
            Self::Swap(first, second) => write!(f, "words {first} and {second} perhaps changed places"),
        }
    }
}

impl fmt::Debug for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hint(<secret> of words {:?})", self.numbers())
    }
}

/// Hints for the words that are not in the list. If it is one word only, the checksum tells which one it must
/// be, as long as all others are right.
pub(super) fn of_unknown<'a>(symbols: &mut [u16], typed: impl Iterator<Item = &'a str>) -> Vec<Hint> {
    let numbered = (1..).zip(typed);
    let unknown: Vec<(usize, &str)> =
        numbered.filter(|(_, word)| words::pack(word).and_then(words::find).is_none()).collect();
    let alone = unknown.len() == 1;
    let hint = |(number, word): (usize, &str)| {
        let mut likely = if alone { fitting(symbols, number) } else { Vec::new() };
        for near in nearest(word) {
            if !likely.contains(&near) {
                likely.push(near);
            }
        }
        likely.truncate(WORDS_LIMIT);
        Hint::Replace(number, likely)
    };
    unknown.into_iter().map(hint).collect()
}

/// Hints for words of the list that do not fit together: each single word that would make them fit, and each
/// two words that would if they changed places.
pub(super) fn of_unfitting(symbols: &mut [u16]) -> Vec<Hint> {
    let mut hints = Vec::new();
    for number in 1..=symbols.len() {
        let likely = fitting(symbols, number);
        if !likely.is_empty() {
            hints.push(Hint::Replace(number, likely));
        }
    }
    for second in 0..symbols.len() {
        for first in 0..second {
            symbols.swap(first, second);
            if fits(symbols) {
                hints.push(Hint::Swap(first.saturating_add(1), second.saturating_add(1)));
            }
            symbols.swap(first, second);
        }
    }
    hints
}

/// The words that make a share fit at the place of this number, from 1. The share stays as it was.
fn fitting(symbols: &mut [u16], number: usize) -> Vec<&'static str> {
    let at = number.saturating_sub(1);
    let typed = symbols.get(at).copied().unwrap_or_default();
    let mut likely = Vec::new();
    for (place, word) in (0..).zip(words::all()) {
        symbols.iter_mut().skip(at).take(1).for_each(|symbol| *symbol = place);
        if fits(symbols) {
            likely.push(word);
        }
    }
    symbols.iter_mut().skip(at).take(1).for_each(|symbol| *symbol = typed);
    likely
}

/// The words of the list that are written most like this one. The first four letters name a word: who typed
/// no more of it, or something else after them, meant this one.
fn nearest(typed: &str) -> Vec<&'static str> {
    if typed.len() > TYPED_LIMIT {
        return Vec::new();
    }
    let typed = Zeroizing::new(typed.to_ascii_lowercase());
    let (typed, beginning) = (typed.as_bytes(), typed.as_bytes().get(..LETTERS_MIN));
    let rank = |word: &str| match beginning.is_some_and(|beginning| word.as_bytes().starts_with(beginning)) {
        true => 0,
        false => distance(typed, word.as_bytes()),
    };
    let ranked = words::all().map(|word| (rank(word), word));
    let mut near: Vec<(usize, &str)> = ranked.filter(|(rank, _)| *rank <= LETTERS_LIMIT).collect();
    near.sort_unstable();
    near.into_iter().map(|(_, word)| word).take(WORDS_LIMIT).collect()
}

/// How many letters must be put in, left out or changed to make one word of the other (Levenshtein).
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in (0usize..).zip(from) {
        let (mut corner, mut left) = (above, above.saturating_add(1));
        let mut cells = row.iter_mut();
        cells.by_ref().take(1).for_each(|cell| *cell = left);
        for (cell, other) in cells.zip(to) {
            let change = corner.saturating_add(usize::from(letter != other));
            corner = *cell;
            left = change.min(left.saturating_add(1)).min(corner.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "acid", 4),
            ("acid", "", 4),
            ("acid", "acid", 0),
            ("acid", "avid", 1),
            ("acd", "acid", 1),
            ("aciid", "acid", 1),
            ("kitten", "sitting", 3),
            ("academic", "acid", 5),
        ] {
            assert_eq!(distance(from.as_bytes(), to.as_bytes()), expected, "{from} {to}");
        }
    }

    #[test]
    fn the_nearest_words_are_few_and_near() {
        assert_eq!(nearest("academc"), ["academic"]);
        assert_eq!(nearest("ACADEMC"), ["academic"]);
        assert_eq!(nearest("acad"), ["academic", "acid"]);
        assert_eq!(nearest("acadxxxxxx"), ["academic"]);
        assert!(nearest("xxxxxxx").is_empty());
        assert!(nearest(&"a".repeat(TYPED_LIMIT + 1)).is_empty());
        for word in words::all() {
            let typed = format!("{}{}", &word[..1], &word[2..]);
            assert!((1..=WORDS_LIMIT).contains(&nearest(&typed).len()), "{word}");
        }
    }

    #[test]
    fn a_hint_is_debugged_without_its_words() {
        let hint = Hint::Replace(3, vec!["acid", "acne"]);
        assert_eq!(format!("{hint:?}"), "Hint(<secret> of words [3])");
        assert_eq!(hint.to_string(), "word 3 is perhaps acid or acne");
        assert_eq!(Hint::Replace(4, Vec::new()).to_string(), "word 4 resembles none of the list");
        assert_eq!(Hint::Swap(1, 2).to_string(), "words 1 and 2 perhaps changed places");
    }
}
