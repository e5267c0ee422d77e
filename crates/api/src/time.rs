//! Times: seconds since 1970 inside, RFC 3339 in UTC outside.

/// Times are below this: the end of the year 9999, the last that RFC 3339 can write.
const END_S: u64 = 253_402_300_800;

/// Days from 1 March of the year 0 to 1 January 1970.
const EPOCH_DAY: u64 = 719_468;

/// Days of 400 years.
const ERA_DAYS: u64 = 146_097;

/// `2026-01-31T08:00:00Z`. Times after the year 9999 are written as its end.
pub fn rfc3339(seconds: u64) -> String {
    let seconds = seconds.min(END_S - 1);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have their leap day at the end (Hinnant, "chrono-compatible low-level date
    // algorithms").
    let shifted = days + EPOCH_DAY;
    let (era, day) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads what [`rfc3339`] writes, and nothing else: UTC, whole seconds, from 1970 on.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = |from: usize, to: usize| {
        let part = text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
        part.and_then(|part| part.parse::<u64>().ok())
    };
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year = year - u64::from(month <= 2);
    let (era, rest) = (year / 400, year % 400);
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = rest * 365 + rest / 4 - rest / 100 + of_year;
    let days = (era * ERA_DAYS + of_era).checked_sub(EPOCH_DAY)?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    // Whatever is no date, no time or another way to write one does not come back as it was.
    (rfc3339(seconds) == text).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (END_S - 1, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert_eq!(parse(text), Some(seconds));
        }
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01T00:00:00.5Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-32T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00Zé",
            "20é6-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0..END_S) {
            prop_assert_eq!(parse(&rfc3339(seconds)), Some(seconds));
        }

        #[test]
        fn times_sort_as_their_texts(a in 0..END_S, b in 0..END_S) {
            prop_assert_eq!(a.cmp(&b), rfc3339(a).cmp(&rfc3339(b)));
        }
    }
}
