//! Randomness of the master secret: where it comes from, how it is tested, how it is mixed (DACS GEN-00,
//! GEN-01). `docs/entropy.md` is the same for auditors.
//!
//! Each source is taken symbol by symbol, tested by the two health tests of NIST SP 800-90B §4.4, and credited
//! with what it is worth at least. Every source that takes part must be worth [`BITS_MIN`] bits *by itself*:
//! only then is any one good source enough, whatever the others are. [`mix`] is a pure function; the operating
//! system's generator is an argument.

mod health;

use std::fmt;

use hkdf::HkdfExtract;
use keys::locked::{LockError, LockedBytes};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroize as _;

pub use self::health::{ALPHA_BITS, proportion_cutoff, repetition_cutoff};

/// What each source must be worth, and all that it is credited with, in bits of min-entropy: the strength of a
/// seed. A larger credit would be of no use, and its exact figure would tell something of the symbols.
pub const BITS_MIN: u32 = 256;

/// Length of the master secret in bytes: [`BITS_MIN`].
pub const SECRET_BYTES: usize = 32;

/// Bytes drawn from the operating system: as many symbols as SP 800-90B §4.3 asks start-up tests to see.
pub const SYSTEM_BYTES: usize = 1_024;

/// Most symbols of one source: far more than people type, and a bound for the memory that is locked.
pub const SYMBOLS_LIMIT: usize = 4_096;

/// Separates this use of HKDF from every other: the salt of its extraction.
const SALT: &[u8] = b"keyward/entropy-mix/v1";

/// What is expanded.
const INFO: &[u8] = b"keyward/master-secret/v1";

/// Where randomness comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The generator of the operating system, by getrandom(2). It takes part in every ceremony.
    OperatingSystem,
    /// Six-sided dice, thrown by people and typed.
    Dice,
    /// Coins, tossed by people and typed.
    Coins,
    /// The generator of a hardware security module.
    Hsm,
}

impl Source {
    /// Every source, in the order of mixing.
    pub const ALL: [Self; 4] = [Self::OperatingSystem, Self::Dice, Self::Coins, Self::Hsm];

    /// The name in scripts and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::OperatingSystem => "operating-system",
            Self::Dice => "dice",
            Self::Coins => "coins",
            Self::Hsm => "hsm",
        }
    }

    /// Min-entropy that one symbol is taken to have at least, in thousandths of a bit.
    pub fn millibits(self) -> u32 {
        match self {
            Self::OperatingSystem => 8_000,
            Self::Dice => 2_000,
            Self::Coins => 500,
            Self::Hsm => 4_000,
        }
    }

    /// What that figure assumes, in words for the report.
    pub fn assumption(self) -> &'static str {
        match self {
            Self::OperatingSystem => {
                "one byte is a symbol; the kernel gives none before it credits its generator with 256 bits, and its \
                 output has no bias; what it was seeded with is the kernel's claim"
            }
            Self::Dice => {
                "one throw is a symbol; no face comes up more often than once in 4 (a fair die: once in 6)"
            }
            Self::Coins => {
                "one toss is a symbol; no side comes up more often than 7 times in 10 (a fair coin: 5)"
            }
            Self::Hsm => "one byte is a symbol; half of what its maker claims",
        }
    }

    /// How many symbols to ask for: they suffice unless the source is much worse than it should be.
    pub fn advised(self) -> usize {
        match self {
            Self::OperatingSystem => SYSTEM_BYTES,
            Self::Dice => 200,
            Self::Coins => 600,
            Self::Hsm => 512,
        }
    }

    /// Symbols of the window of the adaptive proportion test (SP 800-90B §4.4.2): longer for a source of two
    /// symbols.
    pub fn window(self) -> usize {
        match self {
            Self::Coins => 1_024,
            Self::OperatingSystem | Self::Dice | Self::Hsm => 512,
        }
    }

    /// The value of a typed character, or `None` if the source has no such symbol.
    fn symbol(self, typed: u8) -> Option<u8> {
        match (self, typed) {
            (Self::Dice, b'1'..=b'6') => Some(typed),
            (Self::Coins, b'h' | b'H') => Some(b'h'),
            (Self::Coins, b't' | b'T') => Some(b't'),
            _ => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a source, or all of them, is not good enough. The ceremony stops.
#[derive(Debug, thiserror::Error)]
pub enum EntropyError {
    /// A character that is no symbol of the source.
    #[error("{0}: character {1} is none of {hint}: correct it", hint = if *.0 == Source::Dice { "1 to 6" } else { "h and t" })]
    Symbol(Source, usize),
    /// More symbols than are taken.
    #[error("{0}: more than {SYMBOLS_LIMIT} symbols: leave some out")]
    Many(Source),
    /// The repetition count test failed (SP 800-90B §4.4.1).
    #[error(
        "{0}: one value came {1} times in a row, which chance does less than once in 2^{ALPHA_BITS}: do not use this source, find out what is wrong with it"
    )]
    Repetition(Source, usize),
    /// The adaptive proportion test failed (SP 800-90B §4.4.2).
    #[error(
        "{0}: one value came {1} times among {2}, which chance does less than once in 2^{ALPHA_BITS}: do not use this source, find out what is wrong with it"
    )]
    Proportion(Source, usize, usize),
    /// Too little min-entropy.
    #[error("{0}: {1} symbols are worth {2} bits, and {BITS_MIN} are needed: give more, {advised} are advised, or leave this source out of the script", advised = .0.advised())]
    Few(Source, u32, u32),
    /// The operating system's generator takes part always.
    #[error("the operating system's generator did not take part: it must, whatever else does")]
    NoSystem,
    /// Nobody chooses what the operating system gives.
    #[error("symbols were given for the operating system, which gives its own: give none")]
    Beside,
    /// A source that stands twice could be counted twice.
    #[error("{0}: named twice; give all its symbols at once")]
    Twice(Source),
    /// A report that says something else than follows from the number of symbols.
    #[error(
        "{0}: what the report says of its tests does not follow from its symbols: the report was changed"
    )]
    Said(Source),
    /// HKDF did not give the secret.
    #[error("HKDF gives no secret of {SECRET_BYTES} bytes: this program is damaged, do not use it")]
    Expand,
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

/// What one source gave: symbols in locked memory that passed the health tests.
#[derive(Debug)]
pub struct Gathered {
    source: Source,
    symbols: LockedBytes,
    bits: u32,
}

impl Gathered {
    /// What a source gives: of the operating system bytes of `rng`, its generator; of the others what people or
    /// a device gave, as the functions below take it.
    ///
    /// # Errors
    /// As the functions below; bytes beside the operating system, which gives its own.
    pub fn take(source: Source, given: &[u8], rng: &mut impl CryptoRngCore) -> Result<Self, EntropyError> {
        match source {
            Source::OperatingSystem if given.is_empty() => Self::operating_system(rng),
            Source::OperatingSystem => Err(EntropyError::Beside),
            Source::Dice => Self::dice(given),
            Source::Coins => Self::coins(given),
            Source::Hsm => Self::hsm(given),
        }
    }

    /// [`SYSTEM_BYTES`] of the operating system's generator.
    ///
    /// # Errors
    /// A health test failed; no locked memory.
    pub fn operating_system(rng: &mut impl CryptoRngCore) -> Result<Self, EntropyError> {
        Self::test(Source::OperatingSystem, LockedBytes::random(SYSTEM_BYTES, rng)?)
    }

    /// Throws of dice as they were typed: digits 1 to 6; spaces, commas and ends of lines between them.
    ///
    /// # Errors
    /// Another character, too many, a health test failed, no locked memory.
    pub fn dice(text: impl AsRef<[u8]>) -> Result<Self, EntropyError> {
        Self::typed(Source::Dice, text.as_ref())
    }

    /// Tosses of coins as they were typed: `h` for heads and `t` for tails; otherwise as [`Gathered::dice`].
    ///
    /// # Errors
    /// As [`Gathered::dice`].
    pub fn coins(text: impl AsRef<[u8]>) -> Result<Self, EntropyError> {
        Self::typed(Source::Coins, text.as_ref())
    }

    /// Bytes of a hardware security module's generator.
    ///
    /// # Errors
    /// None, too many, a health test failed, no locked memory.
    pub fn hsm(bytes: impl AsRef<[u8]>) -> Result<Self, EntropyError> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(EntropyError::Few(Source::Hsm, 0, 0));
        }
        if bytes.len() > SYMBOLS_LIMIT {
            return Err(EntropyError::Many(Source::Hsm));
        }
        let mut symbols = LockedBytes::zeroed(bytes.len())?;
        symbols.expose_mut().copy_from_slice(bytes);
        Self::test(Source::Hsm, symbols)
    }

    fn typed(source: Source, text: &[u8]) -> Result<Self, EntropyError> {
        let mut symbols = LockedBytes::zeroed(SYMBOLS_LIMIT)?;
        let mut places = symbols.expose_mut().iter_mut();
        for (position, typed) in (1usize..).zip(text) {
            if typed.is_ascii_whitespace() || *typed == b',' {
                continue;
            }
            let symbol = source.symbol(*typed).ok_or(EntropyError::Symbol(source, position))?;
            *places.next().ok_or(EntropyError::Many(source))? = symbol;
        }
        let left = places.len();
        let given = SYMBOLS_LIMIT.saturating_sub(left);
        if given == 0 {
            return Err(EntropyError::Few(source, 0, 0));
        }
        symbols.truncate(given);
        Self::test(source, symbols)
    }

    fn test(source: Source, symbols: LockedBytes) -> Result<Self, EntropyError> {
        health::test(source, symbols.expose())?;
        let bits = health::credit(source, symbols.expose());
        Ok(Self { source, symbols, bits })
    }

    /// The source.
    pub fn source(&self) -> Source {
        self.source
    }

    /// How many symbols there are.
    pub fn symbols(&self) -> u32 {
        length(self.symbols.expose().len())
    }

    /// Min-entropy credited, in bits: at most [`BITS_MIN`].
    pub fn min_entropy_bits(&self) -> u32 {
        self.bits
    }

    /// Whether this source is enough by itself. [`mix`] asks too; asking before lets people go on throwing.
    ///
    /// # Errors
    /// It is worth less than [`BITS_MIN`].
    pub fn enough(&self) -> Result<(), EntropyError> {
        if self.bits < BITS_MIN {
            return Err(EntropyError::Few(self.source, self.symbols(), self.bits));
        }
        Ok(())
    }
}

/// What one source contributed, for the report. Nothing of it depends on the symbols but that they passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// The source.
    pub source: Source,
    /// How many symbols it gave.
    pub symbols: u32,
    /// Min-entropy that one symbol is taken to have at least, in thousandths of a bit: [`Source::millibits`].
    pub millibits: u32,
    /// The run of equal symbols at which the repetition count test fails.
    pub repetition_cutoff: u32,
    /// Symbols of the window of the adaptive proportion test; all of them, where there are fewer.
    pub proportion_window: u32,
    /// The count of the window's first symbol at which the adaptive proportion test fails.
    pub proportion_cutoff: u32,
    /// Min-entropy credited, in bits.
    pub bits: u32,
}

impl Contribution {
    fn of(source: Source, symbols: u32, bits: u32) -> Self {
        let window = length(source.window()).min(symbols);
        let millibits = source.millibits();
        Self {
            source,
            symbols,
            millibits,
            repetition_cutoff: repetition_cutoff(millibits, ALPHA_BITS),
            proportion_window: window,
            proportion_cutoff: proportion_cutoff(window, millibits, ALPHA_BITS),
            bits,
        }
    }
}

/// What the report says of the randomness (DACS GEN-01, GEN-09).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Each source, in the order of [`Source::ALL`].
    pub sources: Vec<Contribution>,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, said) in self.sources.iter().enumerate() {
            let between = if position > 0 { ", " } else { "" };
            write!(f, "{between}{}: {} symbols, at least {} bits", said.source, said.symbols, said.bits)?;
        }
        f.write_str("; mixed by HKDF-SHA256")
    }
}

impl Statement {
    /// Whether a report may say this: the operating system took part, each source once and with [`BITS_MIN`],
    /// and the tests had the cut-offs that follow from what is assumed.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn check(&self) -> Result<(), EntropyError> {
        let sources: Vec<Source> = self.sources.iter().map(|c| c.source).collect();
        one_of_each(&sources)?;
        for said in &self.sources {
            if said.bits < BITS_MIN {
                return Err(EntropyError::Few(said.source, said.symbols, said.bits));
            }
            let worth = said.symbols.saturating_mul(said.millibits) / 1_000;
            let other = said.source == Source::OperatingSystem && said.symbols != length(SYSTEM_BYTES);
            if said.symbols > length(SYMBOLS_LIMIT)
                || worth < BITS_MIN
                || other
                || *said != Contribution::of(said.source, said.symbols, BITS_MIN)
            {
                return Err(EntropyError::Said(said.source));
            }
        }
        Ok(())
    }
}

/// Lengths as reports write them; none comes near the largest.
fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The operating system is there, and nobody twice.
fn one_of_each(sources: &[Source]) -> Result<(), EntropyError> {
    if !sources.contains(&Source::OperatingSystem) {
        return Err(EntropyError::NoSystem);
    }
    for source in Source::ALL {
        if sources.iter().filter(|other| **other == source).count() > 1 {
            return Err(EntropyError::Twice(source));
        }
    }
    Ok(())
}

/// The master secret of everything that was gathered: HKDF-SHA256 (RFC 5869) over the sources in the order of
/// [`Source::ALL`], each as its name, a zero byte, the number of its symbols as four bytes big-endian, and its
/// symbols. Whoever lacks one source of [`BITS_MIN`] bits cannot tell the result from random bytes, though he
/// chose all others, as long as he chose them without knowing that one.
///
/// # Errors
/// The operating system did not take part, a source stands twice or is worth less than [`BITS_MIN`], no locked
/// memory.
pub fn mix(gathered: &[Gathered]) -> Result<(LockedBytes, Statement), EntropyError> {
    let sources: Vec<Source> = gathered.iter().map(Gathered::source).collect();
    one_of_each(&sources)?;
    let mut ordered: Vec<&Gathered> = gathered.iter().collect();
    ordered.sort_by_key(|one| one.source);
    let mut extract = HkdfExtract::<Sha256>::new(Some(SALT));
    let mut statement = Statement { sources: Vec::new() };
    for one in ordered {
        one.enough()?;
        extract.input_ikm(one.source.name().as_bytes());
        extract.input_ikm(&[0]);
        extract.input_ikm(&one.symbols().to_be_bytes());
        extract.input_ikm(one.symbols.expose());
        statement.sources.push(Contribution::of(one.source, one.symbols(), one.bits));
    }
    let mut secret = LockedBytes::zeroed(SECRET_BYTES)?;
    let (mut key, expand) = extract.finalize();
    key.as_mut_slice().zeroize();
    expand.expand(INFO, secret.expose_mut()).map_err(|_| EntropyError::Expand)?;
    Ok((secret, statement))
}
