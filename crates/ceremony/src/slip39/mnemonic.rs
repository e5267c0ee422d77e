//! One share: its header and value, and the words that they are written in.

use std::fmt;

use keys::locked::{LockError, LockedBytes};
use zeroize::Zeroizing;

use super::checksum::{self, CHECKSUM_WORDS};
use super::hints::{self, Hint};
use super::words;

/// Fewest words of a share: those of a secret of 128 bits.
pub(super) const WORDS_MIN: usize = 20;

/// Most words of a share: those of a secret of 512 bits, the longest seed of BIP-32.
const WORDS_MAX: usize = 59;

/// Bits of one word.
const WORD_BITS: usize = 10;

/// Words of the header.
const HEADER_WORDS: usize = 4;

/// Largest identifier.
pub(super) const IDENTIFIER_MAX: u16 = 0x7fff;

/// Largest iteration exponent.
pub(super) const EXPONENT_MAX: u8 = 15;

/// What a share says of itself. Nothing of it is secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Fifteen random bits, the same in all shares of one splitting.
    pub identifier: u16,
    /// Whether the secret can be split again under another identifier: the encryption does not depend on it.
    pub extendable: bool,
    /// The encryption takes 10,000 × 2^this iterations.
    pub iteration_exponent: u8,
    /// Its group, from 0.
    pub group: u8,
    /// How many groups rebuild the secret.
    pub group_threshold: u8,
    /// How many groups there are.
    pub groups: u8,
    /// Its place in the group, from 0.
    pub member: u8,
    /// How many members of the group rebuild its part.
    pub member_threshold: u8,
}

impl Header {
    /// The fields as written, each with its width in bits.
    fn fields(&self) -> [(u16, usize); 8] {
        let four = |value: u8| (u16::from(value), 4);
        [
            (self.identifier, 15),
            (u16::from(self.extendable), 1),
            four(self.iteration_exponent),
            four(self.group),
            four(self.group_threshold.saturating_sub(1)),
            four(self.groups.saturating_sub(1)),
            four(self.member),
            four(self.member_threshold.saturating_sub(1)),
        ]
    }

    fn bits(&self) -> impl Iterator<Item = u16> {
        self.fields().into_iter().flat_map(|(value, width)| bits_of(value, width))
    }

    /// The header as five bytes.
    pub(crate) fn to_bytes(self) -> [u8; 5] {
        let mut bits = self.bits();
        [(); 5].map(|()| byte(&mut bits))
    }

    /// What is the same in all shares of one splitting.
    pub(super) fn splitting(&self) -> (u16, bool, u8, u8, u8) {
        (self.identifier, self.extendable, self.iteration_exponent, self.group_threshold, self.groups)
    }
}

/// Why words are no share. Its text names words by their number only; [`WordsError::hints`] has what they
/// perhaps should be, for the eyes of the holder.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// Words are missing, or there are more than one share has.
    #[error(
        "{0} words: a share of a secret of 256 bits has 33 (20 at 128 bits); look for one that was left out or typed twice"
    )]
    Count(usize),
    /// Words that are not in the list.
    #[error("{} not in the list: look at the spelling", numbers(.0))]
    Unknown(Vec<Hint>),
    /// All words are in the list, and they do not belong together.
    #[error("{}", unfitting(.0))]
    Checksum(Vec<Hint>),
    /// The checksum is right, and the rest is nothing that any program writes.
    #[error(
        "these words fit together but are no share of SLIP-0039 ({0}): they were not made by a program that keeps to it"
    )]
    Parameters(&'static str),
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

impl WordsError {
    /// Which words to look at, and what they might be. This has words of the share: show it to its holder alone.
    pub fn hints(&self) -> &[Hint] {
        match self {
            Self::Unknown(hints) | Self::Checksum(hints) => hints,
            _ => &[],
        }
    }

    /// The hints as text in locked memory, a line each, if there are any: show it to the holder alone.
    pub fn likely(&self) -> Option<LockedBytes> {
        let lines: Vec<Zeroizing<String>> =
            self.hints().iter().map(|hint| Zeroizing::new(hint.to_string())).collect();
        let length = lines.iter().map(|line| line.len().saturating_add(1)).sum();
        let mut all = LockedBytes::zeroed(length).ok()?;
        let bytes = lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
        all.expose_mut().iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        Some(all)
    }
}

fn numbers(hints: &[Hint]) -> String {
    let numbers: Vec<String> =
        hints.iter().flat_map(Hint::numbers).map(|number| number.to_string()).collect();
    let (noun, verb) = if numbers.len() == 1 { ("word", "is") } else { ("words", "are") };
    format!("{noun} {} {verb}", numbers.join(", "))
}

fn unfitting(hints: &[Hint]) -> String {
    if hints.is_empty() {
        return "the words do not fit together, and more than one is wrong: compare each with the medium"
            .to_owned();
    }
    format!("the words do not fit together, perhaps because {} wrong: look there first", numbers(hints))
}

/// One share of a secret. Its value rests in locked memory, is not cloned, not shown, and wiped when dropped.
pub struct Mnemonic {
    header: Header,
    value: LockedBytes,
}

impl Mnemonic {
    pub(super) fn new(header: Header, value: LockedBytes) -> Self {
        Self { header, value }
    }

    /// Reads a share as people type it: words of any case, with any space between them. Nothing is corrected.
    ///
    /// # Errors
    /// See [`WordsError`].
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        let typed = || text.split_ascii_whitespace();
        let count = typed().count();
        let (bytes, padding) = layout(count).ok_or(WordsError::Count(count))?;
        let mut symbols = Zeroizing::new(Vec::with_capacity(count));
        symbols.extend(
            typed().map(|word| words::pack(word).and_then(words::find)).map(Option::unwrap_or_default),
        );
        let unknown = |word: &str| words::pack(word).and_then(words::find).is_none();
        if typed().any(unknown) {
            return Err(WordsError::Unknown(hints::of_unknown(&mut symbols, typed())));
        }
        if !fits(&symbols) {
            return Err(WordsError::Checksum(hints::of_unfitting(&mut symbols)));
        }
        let mut bits = symbols.iter().flat_map(|symbol| bits_of(*symbol, WORD_BITS));
        let header = Header {
            identifier: number(&mut bits, 15),
            extendable: number(&mut bits, 1) == 1,
            iteration_exponent: nibble(&mut bits),
            group: nibble(&mut bits),
            group_threshold: nibble(&mut bits).saturating_add(1),
            groups: nibble(&mut bits).saturating_add(1),
            member: nibble(&mut bits),
            member_threshold: nibble(&mut bits).saturating_add(1),
        };
        if header.group_threshold > header.groups {
            return Err(WordsError::Parameters("more groups are needed than there are"));
        }
        if header.group >= header.groups {
            return Err(WordsError::Parameters("it is of a group that does not exist"));
        }
        if number(&mut bits, padding) != 0 {
            return Err(WordsError::Parameters("its padding is not zero"));
        }
        let mut value = LockedBytes::zeroed(bytes)?;
        value.expose_mut().iter_mut().for_each(|to| *to = byte(&mut bits));
        Ok(Self { header, value })
    }

    /// What the share says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its group and its place in there, both from 0.
    pub fn position(&self) -> (u8, u8) {
        (self.header.group, self.header.member)
    }

    /// The value, at the share's place on the polynomial.
    pub(crate) fn value(&self) -> &[u8] {
        self.value.expose()
    }

    /// The words, in small type and with one space between them.
    ///
    /// # Errors
    /// No locked memory.
    pub fn words(&self) -> Result<LockedBytes, LockError> {
        let symbols = self.symbols();
        let most = symbols.len().saturating_mul(words::LETTERS_MAX.saturating_add(1));
        let mut text = LockedBytes::zeroed(most)?;
        let mut free = text.expose_mut().iter_mut();
        let mut space = None;
        for symbol in symbols.iter() {
            let letters = space.into_iter().chain(words::letters(words::at(*symbol)));
            letters.zip(&mut free).for_each(|(letter, to)| *to = letter);
            space = Some(b' ');
        }
        let length = most.saturating_sub(free.len());
        text.truncate(length);
        Ok(text)
    }

    /// The numbers, from 1, of the words in which another share differs.
    pub fn differing_words(&self, other: &Self) -> Vec<usize> {
        let (own, other) = (self.symbols(), other.symbols());
        let both = own.len().max(other.len());
        let numbered = (0..both).zip(1..);
        numbered.filter(|(at, _)| own.get(*at) != other.get(*at)).map(|(_, number)| number).collect()
    }

    /// Header, value and checksum as places in the word list.
    fn symbols(&self) -> Zeroizing<Vec<u16>> {
        let value = self.value.expose();
        let count = words_for(value.len()).unwrap_or_default();
        let (_, padding) = layout(count).unwrap_or_default();
        let zeros = std::iter::repeat_n(0, padding);
        let value = value.iter().flat_map(|byte| bits_of(u16::from(*byte), 8));
        let mut bits = self.header.bits().chain(zeros).chain(value);
        let mut symbols = Zeroizing::new(Vec::with_capacity(count));
        symbols.extend((CHECKSUM_WORDS..count).map(|_| number(&mut bits, WORD_BITS)));
        let sum = checksum::of(self.header.extendable, &symbols);
        symbols.extend(sum.iter());
        symbols
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mnemonic(<secret> of {:?})", self.header)
    }
}

/// How many bytes the value of a share of so many words has, and how many zero bits stand before it; none if
/// no share has so many words.
fn layout(words: usize) -> Option<(usize, usize)> {
    if !(WORDS_MIN..=WORDS_MAX).contains(&words) {
        return None;
    }
    let bits = words.saturating_sub(HEADER_WORDS.saturating_add(CHECKSUM_WORDS)).saturating_mul(WORD_BITS);
    // A value has an even number of bytes, and less than a word of padding.
    let padding = bits % 16;
    (padding <= 8).then(|| (bits.saturating_sub(padding) / 8, padding))
}

/// How many words a share of so many bytes takes; none if there is no such share.
pub(super) fn words_for(bytes: usize) -> Option<usize> {
    (WORDS_MIN..=WORDS_MAX).find(|words| layout(*words).is_some_and(|(has, _)| has == bytes))
}

/// Whether the checksum is right, for the domain that the flag in the second word says.
pub(super) fn fits(symbols: &[u16]) -> bool {
    let extendable = symbols.get(1).is_some_and(|second| (second >> 4) & 1 == 1);
    checksum::holds(extendable, symbols)
}

/// The lowest bits of a number, the highest of them first.
fn bits_of(value: u16, width: usize) -> impl Iterator<Item = u16> {
    (0..width).rev().map(move |bit| (value >> bit) & 1)
}

/// The number that the next bits are.
fn number(bits: &mut impl Iterator<Item = u16>, width: usize) -> u16 {
    bits.take(width).fold(0, |number, bit| (number << 1) | bit)
}

fn byte(bits: &mut impl Iterator<Item = u16>) -> u8 {
    let [_, low] = number(bits, 8).to_be_bytes();
    low
}

fn nibble(bits: &mut impl Iterator<Item = u16>) -> u8 {
    let [_, low] = number(bits, 4).to_be_bytes();
    low
}

#[cfg(test)]
impl Mnemonic {
    /// The value, to be forged.
    pub(super) fn value_mut(&mut self) -> &mut [u8] {
        self.value.expose_mut()
    }
}
