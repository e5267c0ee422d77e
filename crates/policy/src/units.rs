//! Amounts, values and times as people type and read them, exactly: no floating point anywhere.

use custody::effects::Sats;
use custody::rates::Value;
use jiff::Timestamp;

use crate::currency;

/// Digits after the point of a bitcoin: a satoshi is 10⁻⁸.
const DECIMALS: usize = 8;

/// From this amount on (0.01 bitcoin) amounts are written in bitcoin: below it the zeros are hard to count.
const IN_BITCOIN: Sats = Sats(1_000_000);

/// The unit of values without a currency: a policy that names none has them, too.
const MINOR: &str = "minor";

/// A decimal number without its point, in units of its last digit of `decimals`; nothing for what is no number.
/// The error is the number of digits after the point, if those are too many.
fn scaled(number: &str, decimals: usize) -> Option<Result<String, usize>> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let pointed = number.contains('.');
    if whole.is_empty() || !digits(whole) || !digits(part) || pointed == part.is_empty() {
        return None;
    }
    Some(if part.len() > decimals { Err(part.len()) } else { Ok(format!("{whole}{part:0<decimals$}")) })
}

/// A whole number of the smallest unit with its point, without zeros at the end.
fn pointed(number: u128, decimals: usize) -> String {
    let digits = format!("{number:0>width$}", width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let part = part.trim_end_matches('0');
    if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
}

/// `1250000sat`, `0.0125btc`, each with or without a space; the unit must be there.
///
/// # Errors
/// What is wrong, with an example.
pub fn sats(text: &str) -> Result<Sats, String> {
    let bad = || format!("{text:?} is no amount: write 1250000sat or 0.0125btc");
    let lower = text.trim().to_ascii_lowercase();
    let (number, decimals) = if let Some(number) = lower.strip_suffix("sat") {
        (number, 0)
    } else if let Some(number) = lower.strip_suffix("btc") {
        (number, DECIMALS)
    } else {
        return Err(bad());
    };
    let all = scaled(number.trim_end(), decimals).ok_or_else(bad)?;
    let all = all.map_err(|_| format!("{text:?} is not a whole number of satoshi"))?;
    let amount = all.parse().map(Sats).ok().filter(|amount| *amount <= Sats::MAX);
    amount.ok_or_else(|| format!("{text:?} is more bitcoin than there can be"))
}

/// An amount as [`sats`] reads it.
pub fn write_sats(amount: Sats) -> String {
    if amount >= IN_BITCOIN {
        format!("{} btc", pointed(amount.0.into(), DECIMALS))
    } else {
        format!("{} sat", amount.0)
    }
}

/// `250000 chf`, `0.05 chf`: minor units of the policy's currency. `25 minor`: so many minor units.
///
/// # Errors
/// What is wrong, with an example.
pub fn value(text: &str, currency: Option<&str>) -> Result<Value, String> {
    let code = currency.unwrap_or("chf");
    let bad = || format!("{text:?} is no value: write its currency, as in 250000 {code}");
    let lower = text.trim().to_ascii_lowercase();
    let cut = lower.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
    let (number, unit) = lower.split_at(cut);
    let decimals = match (unit, currency) {
        (MINOR, _) => 0,
        (unit, None) => return Err(format!("the policy names no currency: write currency = {unit:?} above")),
        (unit, Some(currency)) if unit != currency => {
            return Err(format!("{text:?} is not in the currency of the policy, {currency}"));
        }
        (unit, _) => currency::digits(unit)
            .ok_or_else(|| format!("{unit:?} is no currency of ISO 4217: write values as 25 {MINOR}"))?,
    };
    let all = scaled(number.trim_end(), decimals).ok_or_else(bad)?;
    let all = all.map_err(|_| format!("{text:?} has more than {decimals} digits after the point"))?;
    all.parse().map(Value).map_err(|_| format!("{text:?} is more than 2¹²⁸ − 1 minor units"))
}

/// A value as [`value()`] reads it.
pub fn write_value(value: Value, currency: Option<&str>) -> String {
    match currency.and_then(|code| currency::digits(code).map(|digits| (code, digits))) {
        Some((code, digits)) => format!("{} {code}", pointed(value.0, digits)),
        None => format!("{value} {MINOR}"),
    }
}

/// Units of time, longest first, in seconds.
const TIMES: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

/// `90s`, `30m`, `2h`, `7d`: seconds.
///
/// # Errors
/// What is wrong, with an example.
pub fn seconds(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no time: write 90s, 30m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(bad)?;
    let (_, factor) = TIMES.iter().find(|(letter, _)| *letter == unit).ok_or_else(bad)?;
    let number = text.strip_suffix(unit).unwrap_or_default();
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: Option<u64> = plain.then(|| number.parse().ok()).flatten();
    number.and_then(|n| n.checked_mul(*factor)).ok_or_else(bad)
}

/// Seconds since 1970 of a moment with its time zone (RFC 3339); nothing for what is none, or before 1970.
pub fn moment(text: &str) -> Option<u64> {
    let moment: Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_second()).ok()
}

/// Seconds as [`seconds`] reads them, in the longest unit that is exact.
pub fn write_seconds(time: u64) -> String {
    let fits = |(_, factor): &&(char, u64)| time > 0 && time.is_multiple_of(*factor);
    let (unit, factor) = TIMES.iter().find(fits).copied().unwrap_or(('s', 1));
    format!("{}{unit}", time / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, amount) in [
            ("1sat", 1),
            ("1250000 sat", 1_250_000),
            ("0.0125btc", 1_250_000),
            ("1 BTC", 100_000_000),
            ("0.1btc", 10_000_000),
            ("0.00000001btc", 1),
            ("21000000btc", Sats::MAX.0),
            ("0sat", 0),
            // 0.29 is not exact in binary.
            ("0.29btc", 29_000_000),
        ] {
            assert_eq!(sats(text), Ok(Sats(amount)), "{text}");
            assert_eq!(sats(&write_sats(Sats(amount))), Ok(Sats(amount)), "{text}");
        }
        for bad in [
            "",
            "1",
            "btc",
            "1.5sat",
            "0.000000001btc",
            "-1sat",
            "+1sat",
            "1e3sat",
            ".5btc",
            "1.btc",
            "1,000sat",
            "21000000.00000001btc",
            "99999999999999999999sat",
            "１sat",
            "0x1sat",
            "1.2.3btc",
        ] {
            assert!(sats(bad).is_err(), "{bad}");
        }
        assert_eq!(write_sats(Sats(1_000_000)), "0.01 btc");
        assert_eq!(write_sats(Sats(999_999)), "999999 sat");
        assert_eq!(write_sats(Sats(150_000_000_000)), "1500 btc");
    }

    #[test]
    fn values_are_in_minor_units() {
        let most = u128::MAX;
        for (text, currency, found) in [
            ("250000 chf", "chf", 25_000_000),
            ("0.05CHF", "chf", 5),
            ("1.5 eur", "eur", 150),
            ("100000 jpy", "jpy", 100_000),
            ("0.001 kwd", "kwd", 1),
            ("7 minor", "jpy", 7),
            ("3402823669209384634633746074317682114.55 chf", "chf", most),
        ] {
            assert_eq!(value(text, Some(currency)), Ok(Value(found)), "{text}");
            assert_eq!(
                value(&write_value(Value(found), Some(currency)), Some(currency)),
                Ok(Value(found)),
                "{text}"
            );
        }
        assert_eq!(value("7 minor", None), Ok(Value(7)));
        assert_eq!(write_value(Value(25_000_000), Some("chf")), "250000 chf");
        assert_eq!(write_value(Value(7), None), "7 minor");
        assert_eq!(write_value(Value(7), Some("gold")), "7 minor");
        for bad in [
            "250000",
            "chf",
            "1 eur",
            "0.005 chf",
            "-1 chf",
            "1. chf",
            "1e3 chf",
            "3402823669209384634633746074317682114.56 chf",
            "",
        ] {
            assert!(value(bad, Some("chf")).is_err(), "{bad}");
        }
        assert!(value("0.5 jpy", Some("jpy")).is_err());
        assert!(value("1 chf", None).is_err());
        assert!(value("1 gold", Some("gold")).is_err());
    }

    #[test]
    fn times() {
        for (text, found) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(seconds(text), Ok(found));
            assert_eq!(seconds(&write_seconds(found)), Ok(found));
        }
        assert_eq!(write_seconds(90), "90s");
        assert_eq!(write_seconds(5400), "90m");
        assert_eq!(write_seconds(86_400), "1d");
        for bad in
            ["", "s", "2", "2w", "-1s", "1.5h", "+1s", "99999999999999999999d", "9999999999999999999d", "2é"]
        {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
