//! Amounts of bitcoin in the JSON of Bitcoin Core: numbers with up to eight decimals, read from their
//! digits, because a floating-point number would round them.

use custody::effects::Sats;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Decimals of one bitcoin.
const DECIMALS: usize = 8;

/// For `#[serde(deserialize_with)]`: a JSON number of bitcoin.
pub(super) fn bitcoin<'de, D: Deserializer<'de>>(d: D) -> Result<Sats, D::Error> {
    let number = Box::<RawValue>::deserialize(d)?;
    parse(number.get())
        .ok_or_else(|| serde::de::Error::custom("expected an amount of bitcoin with up to 8 decimals"))
}

/// As [`bitcoin`], for a number that may be absent.
pub(super) fn some_bitcoin<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Sats>, D::Error> {
    bitcoin(d).map(Some)
}

/// Reads `12.34500000` as 1,234,500,000 satoshi; nothing for signs, exponents, more decimals, or more
/// than there can be.
fn parse(number: &str) -> Option<Sats> {
    let (whole, decimals) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (number, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > DECIMALS {
        return None;
    }
    // Widening the decimals to eight places makes the two parts one number of satoshi.
    let sat = format!("{whole}{decimals:0<DECIMALS$}").parse().ok().map(Sats)?;
    (sat <= Sats::MAX).then_some(sat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_from_their_digits() {
        for (text, sat) in [
            ("0.00000000", 0),
            ("0.00000001", 1),
            ("0.1", 10_000_000),
            ("50", 5_000_000_000),
            ("50.00000000", 5_000_000_000),
            // As a floating-point number times 10^8 this would be cut to one satoshi less.
            ("0.29", 29_000_000),
            ("20999999.97690000", 2_099_999_997_690_000),
            ("20999999.97690001", 2_099_999_997_690_001),
            ("21000000.00000000", 2_100_000_000_000_000),
        ] {
            assert_eq!(parse(text), Some(Sats(sat)), "{text}");
        }
        for text in [
            "-1",
            "+1",
            "1e2",
            "1E-8",
            ".5",
            "5.",
            "0.000000001",
            "21000000.00000001",
            "",
            "\"1\"",
            "null",
            "1.0.0",
            "99999999999999999999",
            "NaN",
            " 1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_read_inside_objects() {
        #[derive(Deserialize, PartialEq, Debug)]
        struct Answer {
            #[serde(deserialize_with = "bitcoin")]
            sum: Sats,
            #[serde(default, deserialize_with = "some_bitcoin")]
            rate: Option<Sats>,
        }
        let read = serde_json::from_str::<Answer>;
        assert_eq!(read(r#"{"sum": 0.29}"#).unwrap(), Answer { sum: Sats(29_000_000), rate: None });
        let both = Answer { sum: Sats(29_000_000), rate: Some(Sats(1)) };
        assert_eq!(read(r#"{"sum": 0.29000000, "rate": 0.00000001}"#).unwrap(), both);
        assert!(read(r#"{"sum": "0.29"}"#).is_err());
        assert!(read(r#"{"sum": 1e-8}"#).is_err());
    }
}
