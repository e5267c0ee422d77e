//! Amounts and times as people type them, exactly: no floating point anywhere.

use custody::effects::Sats;
use custody::name::Name;

/// Digits after the point of a bitcoin: a satoshi is 10⁻⁸.
const DECIMALS: usize = 8;

/// `1250000sat`, `0.0125btc`, each with or without a space; the unit must be there.
pub(crate) fn sats(text: &str) -> Result<Sats, String> {
    let bad = || format!("{text:?} is no amount: write 1250000sat or 0.0125btc");
    let lower = text.trim().to_ascii_lowercase();
    let (number, decimals) = if let Some(number) = lower.strip_suffix("sat") {
        (number, 0)
    } else if let Some(number) = lower.strip_suffix("btc") {
        (number, DECIMALS)
    } else {
        return Err(bad());
    };
    let number = number.trim_end();
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let pointed = number.contains('.');
    if whole.is_empty() || !digits(whole) || !digits(part) || pointed == part.is_empty() {
        return Err(bad());
    }
    if part.len() > decimals {
        return Err(format!("{text:?} is not a whole number of satoshi"));
    }
    let all = format!("{whole}{part:0<decimals$}");
    let amount = all.parse().map(Sats).ok().filter(|amount| *amount <= Sats::MAX);
    amount.ok_or_else(|| format!("{text:?} is more bitcoin than there can be"))
}

/// `DESTINATION=AMOUNT`.
pub(crate) fn output(text: &str) -> Result<(Name, Sats), String> {
    let (name, amount) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?}: write DESTINATION=AMOUNT, for example acme=0.5btc"))?;
    Ok((name.parse()?, sats(amount)?))
}

/// `90s`, `30m`, `2h`, `7d`: seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no time: write 90s, 30m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(bad)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(bad()),
    };
    let number = &text[..text.len() - 1];
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: Option<u64> = plain.then(|| number.parse().ok()).flatten();
    number.and_then(|n| n.checked_mul(factor)).ok_or_else(bad)
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
    }

    #[test]
    fn outputs_and_times() {
        let (name, amount) = output("acme=0.5btc").unwrap();
        assert_eq!((name.as_str(), amount), ("acme", Sats(50_000_000)));
        assert!(output("acme").is_err() && output("Acme=1sat").is_err() && output("acme=1").is_err());
        for (text, found) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(found));
        }
        for bad in
            ["", "s", "2", "2w", "-1s", "1.5h", "+1s", "99999999999999999999d", "9999999999999999999d", "2é"]
        {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
