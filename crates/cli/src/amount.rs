//! Amounts and times as people type them, exactly: no floating point anywhere.

use approver::Payee;
use custody::effects::Sats;

pub(crate) use policy::units::{sats, seconds};

/// `DESTINATION=AMOUNT`, or `address:ADDRESS=AMOUNT`.
pub(crate) fn output(text: &str) -> Result<(Payee, Sats), String> {
    let (payee, amount) = text.split_once('=').ok_or_else(|| {
        format!("{text:?}: write DESTINATION=AMOUNT or address:ADDRESS=AMOUNT, for example acme=0.5btc")
    })?;
    let payee = match payee.strip_prefix("address:") {
        Some("") => return Err(format!("{text:?} names no address")),
        Some(address) => Payee::Address(address.to_owned()),
        None => Payee::Destination(payee.parse()?),
    };
    Ok((payee, sats(amount)?))
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
    fn outputs_name_a_destination_and_an_amount() {
        let acme = Payee::Destination("acme".parse().unwrap());
        assert_eq!(output("acme=0.5btc"), Ok((acme, Sats(50_000_000))));
        assert_eq!(output("address:BC1Q=7sat"), Ok((Payee::Address("BC1Q".into()), Sats(7))));
        for bad in ["acme", "Acme=1sat", "acme=1", "address:=1sat", "address:bc1q"] {
            assert!(output(bad).is_err(), "{bad}");
        }
    }
}
