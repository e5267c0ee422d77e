//! Amounts: whole base units of an asset, and the difference of two of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most decimals an asset may have, so that one whole unit still fits an [`Amount`] (10³⁸ < 2¹²⁸).
pub const DECIMALS_LIMIT: u8 = 38;

/// An amount in base units (satoshi, wei), 0 to 2¹²⁸−1. In JSON and SQL it is a decimal string, because
/// numbers of that size are not exact in every reader (RFC 7493 §2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// A minus sign.
    #[error("the amount is negative: name the accounts the other way round instead")]
    Negative,
    /// A fraction where base units are asked.
    #[error("the amount has a fraction: write it in whole base units (1 BTC is \"100000000\")")]
    Fraction,
    /// More decimals than the asset has.
    #[error("the amount is too precise: this asset has {decimals} decimals")]
    TooPrecise {
        /// How many the asset has.
        decimals: u8,
    },
    /// Signs, spaces, exponents, leading zeros, nothing at all.
    #[error("the amount is not a plain decimal number: use digits only, without leading zeros (\"1500\")")]
    NotDigits,
    /// 2¹²⁸ or more.
    #[error("the amount does not fit: the largest is 2^128-1 base units")]
    TooLarge,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// 2¹²⁸−1.
    pub const MAX: Self = Self(u128::MAX);

    /// Wraps a number of base units.
    pub const fn new(units: u128) -> Self {
        Self(units)
    }

    /// The number of base units.
    pub const fn units(self) -> u128 {
        self.0
    }

    /// The sum, unless it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, unless it is below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Reads an amount in whole units with at most `decimals` places: `"0.5"` with 8 is 50,000,000.
    ///
    /// # Errors
    /// See [`AmountError`]; more than [`DECIMALS_LIMIT`] decimals are [`AmountError::TooLarge`].
    pub fn from_decimal(text: &str, decimals: u8) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let whole: Self = whole.parse()?;
        if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AmountError::NotDigits);
        }
        let fraction = fraction.trim_end_matches('0');
        let places = u8::try_from(fraction.len()).unwrap_or(u8::MAX);
        let missing = decimals.checked_sub(places).ok_or(AmountError::TooPrecise { decimals })?;
        let power = |exponent: u8| 10u128.checked_pow(u32::from(exponent)).ok_or(AmountError::TooLarge);
        let fraction =
            if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| AmountError::TooLarge)? };
        let units = whole.0.checked_mul(power(decimals)?);
        let rest = power(missing)?.checked_mul(fraction);
        units.zip(rest).and_then(|(a, b)| a.checked_add(b)).map(Self).ok_or(AmountError::TooLarge)
    }

    /// Writes the amount in whole units, without needless zeros: the inverse of [`Amount::from_decimal`].
    pub fn to_decimal(self, decimals: u8) -> String {
        let places = usize::from(decimals);
        let digits = format!("{:0>width$}", self.0, width = places.saturating_add(1));
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(places));
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Amount({})", self.0)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text.starts_with('-') {
            return Err(AmountError::Negative);
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            if text.len() > 1 && text.starts_with('0') {
                return Err(AmountError::NotDigits);
            }
            return text.parse().map(Self).map_err(|_| AmountError::TooLarge);
        }
        match text.split_once('.') {
            Some((_, fraction)) if fraction.bytes().all(|b| b.is_ascii_digit()) => Err(AmountError::Fraction),
            _ => Err(AmountError::NotDigits),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The difference of two amounts: a balance. Written as a decimal string, `"-5"` when below zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Balance {
    below_zero: bool,
    size: Amount,
}

impl Balance {
    /// Credits less debits.
    pub fn of(credits: Amount, debits: Amount) -> Self {
        match credits.checked_sub(debits) {
            Some(size) => Self { below_zero: false, size },
            None => Self { below_zero: true, size: Amount(debits.0.saturating_sub(credits.0)) },
        }
    }

    /// Whether debits exceed credits.
    pub fn is_below_zero(self) -> bool {
        self.below_zero
    }

    /// The distance from zero.
    pub fn size(self) -> Amount {
        self.size
    }

    /// Whether `asked` may be taken from it without going below zero.
    pub fn covers(self, asked: Amount) -> bool {
        !self.below_zero && self.size >= asked
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below_zero { "-" } else { "" }, self.size)
    }
}

impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Balance({self})")
    }
}

impl Serialize for Balance {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_an_amount_only_in_its_one_plain_form() {
        let max = u128::MAX.to_string();
        for good in ["0", "1", "1500", &max] {
            assert_eq!(good.parse::<Amount>().unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("-1", AmountError::Negative),
            ("-", AmountError::Negative),
            ("1.5", AmountError::Fraction),
            ("1.0", AmountError::Fraction),
            ("", AmountError::NotDigits),
            ("+1", AmountError::NotDigits),
            (" 1", AmountError::NotDigits),
            ("1e3", AmountError::NotDigits),
            ("0x10", AmountError::NotDigits),
            ("007", AmountError::NotDigits),
            ("1_000", AmountError::NotDigits),
            ("１", AmountError::NotDigits),
            ("340282366920938463463374607431768211456", AmountError::TooLarge),
            (&"9".repeat(10_000), AmountError::TooLarge),
        ] {
            assert_eq!(bad.parse::<Amount>(), Err(why), "{bad}");
        }
        assert!(serde_json::from_str::<Amount>("5").is_err(), "JSON numbers are refused");
        assert_eq!(serde_json::from_str::<Amount>("\"5\"").unwrap(), Amount::new(5));
    }

    #[test]
    fn decimals_on_both_sides_of_the_precision_of_the_asset() {
        for (text, decimals, units) in
            [("0.00000001", 8, 1), ("1", 8, 100_000_000), ("1.50", 8, 150_000_000), ("7", 0, 7), ("0", 8, 0)]
        {
            assert_eq!(Amount::from_decimal(text, decimals), Ok(Amount::new(units)), "{text}");
        }
        for (text, decimals, why) in [
            ("0.000000001", 8, AmountError::TooPrecise { decimals: 8 }),
            ("1.5", 0, AmountError::TooPrecise { decimals: 0 }),
            ("1.", 8, AmountError::NotDigits),
            (".5", 8, AmountError::NotDigits),
            ("1.5.5", 8, AmountError::NotDigits),
            ("1.-5", 8, AmountError::NotDigits),
            ("-0.1", 8, AmountError::Negative),
            ("4", 38, AmountError::TooLarge),
            ("1", DECIMALS_LIMIT + 1, AmountError::TooLarge),
        ] {
            assert_eq!(Amount::from_decimal(text, decimals), Err(why), "{text}");
        }
        assert!(Amount::from_decimal("1", DECIMALS_LIMIT).is_ok());
        for (units, decimals, text) in
            [(150_000_000, 8, "1.5"), (1, 8, "0.00000001"), (0, 8, "0"), (7, 0, "7")]
        {
            assert_eq!(Amount::new(units).to_decimal(decimals), text);
            assert_eq!(Amount::from_decimal(text, decimals), Ok(Amount::new(units)));
        }
    }

    #[test]
    fn a_balance_knows_its_side_of_zero() {
        let (five, six) = (Amount::new(5), Amount::new(6));
        assert_eq!(Balance::of(five, six).to_string(), "-1");
        assert_eq!(Balance::of(six, five).to_string(), "1");
        assert!(!Balance::of(five, five).is_below_zero());
        assert!(
            Balance::of(six, five).covers(Amount::new(1)) && !Balance::of(six, five).covers(Amount::new(2))
        );
        assert!(!Balance::of(five, six).covers(Amount::ZERO));
        assert_eq!(Balance::of(Amount::ZERO, Amount::MAX).size(), Amount::MAX);
    }
}
