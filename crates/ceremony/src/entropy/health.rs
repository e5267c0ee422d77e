//! The health tests of NIST SP 800-90B §4.4, and a bound on what symbols are worth.
//!
//! They find a source that broke: stuck, worn, loaded. They cannot tell a good source from a program that
//! pretends to be one, and are not meant to; that is what mixing is for.

use super::{BITS_MIN, EntropyError, Source, length};

/// A good source fails a test once in 2 to this power: α = 2⁻³⁰, between the 2⁻²⁰ and 2⁻⁴⁰ that SP 800-90B
/// suggests, and rare enough to take a failure for a broken source.
pub const ALPHA_BITS: u32 = 30;

/// The normal quantile of the upper bound of a 99 % confidence interval (SP 800-90B §6.3.1).
const QUANTILE: f64 = 2.576;

/// The cut-off of the repetition count test: 1 + ⌈α / H⌉ (SP 800-90B §4.4.1), for `millibits` thousandths of a
/// bit a symbol and α of 2 to the minus `alpha_bits`. As many equal symbols in a row fail.
pub fn repetition_cutoff(millibits: u32, alpha_bits: u32) -> u32 {
    alpha_bits.saturating_mul(1_000).div_ceil(millibits.max(1)).saturating_add(1)
}

/// The cut-off of the adaptive proportion test: 1 + CRITBINOM(W, 2⁻ᴴ, 1 − α) (SP 800-90B §4.4.2). If the first
/// symbol of a window stands that often in it, the test fails.
pub fn proportion_cutoff(window: u32, millibits: u32, alpha_bits: u32) -> u32 {
    let likely = (-f64::from(millibits) / 1_000.0).exp2();
    let odds = (likely / (1.0 - likely)).ln();
    let alpha = (-f64::from(alpha_bits)).exp2();
    // From the top: the chance of more than `count` is `above`, and of `count` itself e to the `log`. The
    // smallest count that chance exceeds with at most alpha is the critical one.
    let mut count = window;
    let mut log = f64::from(window) * likely.ln();
    let mut above = 0.0;
    while count > 0 && above + log.exp() <= alpha {
        above += log.exp();
        let fewer = f64::from(window) - f64::from(count) + 1.0;
        log += (f64::from(count) / fewer).ln() - odds;
        count = count.saturating_sub(1);
    }
    count.saturating_add(1)
}

/// Both tests over all symbols. Windows of the second follow each other; the last one may be shorter and has
/// the cut-off of its length, so that a source of few symbols is tested too.
pub(super) fn test(source: Source, symbols: &[u8]) -> Result<(), EntropyError> {
    let runs = symbols.chunk_by(|one, next| one == next);
    let longest = runs.map(<[u8]>::len).max().unwrap_or_default();
    if length(longest) >= repetition_cutoff(source.millibits(), ALPHA_BITS) {
        return Err(EntropyError::Repetition(source, longest));
    }
    for window in symbols.chunks(source.window()) {
        let first = window.first();
        let count = window.iter().filter(|symbol| Some(*symbol) == first).count();
        if length(count) >= proportion_cutoff(length(window.len()), source.millibits(), ALPHA_BITS) {
            return Err(EntropyError::Proportion(source, count, window.len()));
        }
    }
    Ok(())
}

/// What the symbols are worth, in whole bits, at most [`BITS_MIN`]: each as much as is assumed of its source, or
/// as the most common value estimate of SP 800-90B §6.3.1 finds in them if that is less. So a loaded die is
/// worth less than a fair one long before it fails a test.
pub(super) fn credit(source: Source, symbols: &[u8]) -> u32 {
    let total = f64::from(length(symbols.len()));
    let assumed = f64::from(source.millibits()) / 1_000.0;
    let bits = total * assumed.min(most_common_value(symbols, total));
    // Rounded down, without a conversion that could round up.
    (0..=BITS_MIN).rev().find(|whole| f64::from(*whole) <= bits).unwrap_or_default()
}

/// Min-entropy of one symbol in bits, by the upper bound of how likely the most common value is.
fn most_common_value(symbols: &[u8], total: f64) -> f64 {
    let count = |value: u8| symbols.iter().filter(|symbol| **symbol == value).count();
    let most = (0..=u8::MAX).map(count).max().unwrap_or_default();
    if total < 2.0 {
        return 0.0;
    }
    let share = f64::from(length(most)) / total;
    let bound = share + QUANTILE * (share * (1.0 - share) / (total - 1.0)).sqrt();
    -bound.min(1.0).log2()
}
