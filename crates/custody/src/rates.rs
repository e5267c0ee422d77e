//! Values in a reference currency, and the governed rates that amounts are converted by (P24).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::Name;

/// Longest time for which rates may be said to hold, in seconds (31 days): an older price is no price.
pub const RATES_VALIDITY_LIMIT_S: u64 = 31 * 24 * 3600;

/// Most rates in one document: one for each asset that is held.
pub const RATES_LIMIT: usize = 256;

/// An amount of a reference currency in its minor units (of CHF: Rappen), up to 2¹²⁸ − 1. Written as a
/// decimal string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Value(pub u128);

impl Value {
    /// The sum, or nothing when it is more than 2¹²⁸ − 1.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse::<u128>()
            .ok()
            .filter(|value| value.to_string() == text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("expected minor units as a decimal string"))
    }
}

/// What `per` base units of an asset are worth: `value` minor units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Minor units of the currency.
    pub value: Value,
    /// Base units of the asset, not zero.
    pub per: Value,
}

impl Rate {
    /// What an amount in base units is worth, rounded up; nothing when that is more than 2¹²⁸ − 1, which
    /// denies.
    pub fn convert(&self, amount: u128) -> Option<Value> {
        let product = amount.checked_mul(self.value.0)?;
        let whole = product.checked_div(self.per.0)?;
        let rest = product.checked_rem(self.per.0)? != 0;
        whole.checked_add(u128::from(rest)).map(Value)
    }
}

/// The rates of one reference currency: a governed document (since rule set 3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// The currency (ISO 4217, lower case).
    pub currency: Name,
    /// Log time until which they hold, at most [`RATES_VALIDITY_LIMIT_S`] ahead. Past it whatever needs a
    /// rate is denied.
    pub until: u64,
    /// Rates by asset (CAIP-19).
    pub rates: BTreeMap<String, Rate>,
}

/// A rate and the currency that it is in, as it was when something was charged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priced {
    /// The currency.
    pub currency: Name,
    /// The rate.
    pub rate: Rate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_rounds_up_and_never_wraps() {
        let rate = |value, per| Rate { value: Value(value), per: Value(per) };
        assert_eq!(rate(8_500_000, 100_000_000).convert(100_000_000), Some(Value(8_500_000)));
        assert_eq!(rate(8_500_000, 100_000_000).convert(1), Some(Value(1)), "a part of a unit is a unit");
        assert_eq!(rate(8_500_000, 100_000_000).convert(0), Some(Value(0)));
        assert_eq!(rate(1, 1).convert(u128::MAX), Some(Value(u128::MAX)));
        assert_eq!(rate(2, 1).convert(u128::MAX), None);
        assert_eq!(rate(2, 1).convert(u128::MAX / 2), Some(Value(u128::MAX - 1)));
        assert_eq!(rate(1, 0).convert(1), None);
        assert_eq!(Value(u128::MAX).plus(Value(1)), None);
        assert_eq!(Value(u128::MAX - 1).plus(Value(1)), Some(Value(u128::MAX)));
        let text = format!("\"{}\"", u128::MAX);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value(u128::MAX));
        for bad in ["\"340282366920938463463374607431768211456\"", "\"01\"", "\"-1\"", "1", "\"\"", "\"+1\""]
        {
            assert!(serde_json::from_str::<Value>(bad).is_err(), "{bad}");
        }
    }
}
