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

/// `2026-01-31T12:00:00Z` or `2026-01-31T13:00:00+01:00` (RFC 3339, whole seconds): seconds since 1970.
pub(crate) fn instant(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no time: write 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00");
    let (local, zone) = text.split_at_checked(LOCAL_LENGTH).ok_or_else(bad)?;
    let seconds = local_seconds(local).ok_or_else(bad)?;
    if zone == "Z" {
        return Ok(seconds);
    }
    let ahead = zone.starts_with('+');
    let offset = zone.strip_prefix(['+', '-']).and_then(|z| z.split_once(':')).ok_or_else(bad)?;
    let (hours, minutes) = (two_digits(offset.0).ok_or_else(bad)?, two_digits(offset.1).ok_or_else(bad)?);
    if hours > 23 || minutes > 59 {
        return Err(bad());
    }
    let offset = hours * 3600 + minutes * 60;
    let moved = if ahead { seconds.checked_sub(offset) } else { seconds.checked_add(offset) };
    moved.ok_or_else(bad)
}

/// Characters of `2026-01-31T12:00:00`.
const LOCAL_LENGTH: usize = 19;

fn two_digits(text: &str) -> Option<u64> {
    (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// As if it was UTC.
fn local_seconds(text: &str) -> Option<u64> {
    let part = |from: usize| text.get(from..from + 2).and_then(two_digits);
    let (year, month, day) = (part(0)? * 100 + part(2)?, part(5)?, part(8)?);
    // Days before the year, counted from the year 0; the year begins in March, so that 29 February is last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    let days = (before + (153 * month + 2) / 5 + day).checked_sub(DAYS_TO_1970)?;
    let seconds = days * 86_400 + part(11)? * 3600 + part(14)? * 60 + part(17)?;
    // What is not written back as it was read is no date: the 30 February, the 60th minute, other signs.
    (approver::time(seconds) == format!("{text}Z")).then_some(seconds)
}

/// Days from 29 February of the year 0 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_469;

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples are `date -u -d TEXT +%s`.
    #[test]
    fn times_are_read_as_rfc_3339() {
        for (text, found) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1972-02-29T00:00:00Z", 68_169_600),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2025-12-31T23:59:59Z", 1_767_225_599),
            ("2026-01-01T01:00:00+01:00", 1_767_225_600),
            ("2025-12-31T18:30:00-05:30", 1_767_225_600),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(instant(text), Ok(found), "{text}");
        }
        for bad in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00z",
            "2026-02-29T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-13-10T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.5Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+00:60",
            "2026-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+01:00",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "2026-01-01T00:00:0éZ",
            "+026-01-01T00:00:00Z",
        ] {
            assert!(instant(bad).is_err(), "{bad}");
        }
    }

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
