//! How things are written for people: one form for each, and nothing that a terminal would obey.

use custody::effects::Sats;

/// Longest label that is shown, in characters; the rest is cut, visibly.
const LABEL_LIMIT_CHARS: usize = 80;

/// The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// A line of text of others, made harmless: control characters (a terminal obeys them), characters
/// without width or that turn the direction of writing (what is read is not what is written), and other
/// unusual white space are written as `\u{…}`.
pub fn harmless(text: &str) -> String {
    let written = |c: char| if deceptive(c) { code(c) } else { c.to_string() };
    text.chars().map(written).collect()
}

/// A label: harmless, at most 80 characters with `…` where it was cut, and so that nobody can write by
/// hand what stands there for another character (a backslash is written out too).
pub fn plain(text: &str) -> String {
    let cut = if text.chars().nth(LABEL_LIMIT_CHARS).is_some() { "…" } else { "" };
    let escape = |c: char| if c == '\\' { code(c) } else { harmless(c.encode_utf8(&mut [0; 4])) };
    let shown: String = text.chars().take(LABEL_LIMIT_CHARS).map(escape).collect();
    shown + cut
}

fn code(c: char) -> String {
    format!("\\u{{{:x}}}", u32::from(c))
}

/// Characters that a terminal obeys, or that people do not see as what they are: Unicode's categories
/// Cc, Cf, Zl, Zp, Zs but for the space, and the fillers and variation selectors.
fn deceptive(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e000}'..='\u{f8ff}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

/// In groups of four characters, so that people can compare it.
pub fn chunks(text: &str) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i > 0 && i % 4 == 0 {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// An amount in satoshi and in bitcoin: `1,250,000 sat (0.01250000 BTC)`.
pub fn sats(amount: Sats) -> String {
    let (whole, rest) = (amount.0 / 100_000_000, amount.0 % 100_000_000);
    format!("{} sat ({whole}.{rest:08} BTC)", thousands(amount.0))
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(i);
        if i > 0 && left % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A time in seconds since 1970 as RFC 3339 in UTC.
pub fn time(seconds: u64) -> String {
    if seconds > LAST_SECOND {
        return "after the year 9999".into();
    }
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970_u64;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while let Some(rest) = days.checked_sub(if leap(year) { 366 } else { 365 }) {
        days = rest;
        year = year.saturating_add(1);
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        let Some(rest) = days.checked_sub(length) else {
            break;
        };
        days = rest;
        month = u64::saturating_add(month, 1);
    }
    let (day, hour) = (days.saturating_add(1), of_day / 3600);
    let (minute, second) = (of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_or_a_reader_would_mistake_is_written_out() {
        assert_eq!(plain("Müller & Söhne 株式会社"), "Müller & Söhne 株式会社");
        for (bad, shown) in [
            ("\u{1b}[2Jok", "\\u{1b}[2Jok"),
            ("a\rb\nc\td", "a\\u{d}b\\u{a}c\\u{9}d"),
            ("x\u{202e}y\u{2066}z", "x\\u{202e}y\\u{2066}z"),
            ("a\u{200b}b\u{feff}\u{ad}", "a\\u{200b}b\\u{feff}\\u{ad}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{a0}b", "a\\u{a0}b"),
            ("\\u{1b}", "\\u{5c}u{1b}"),
        ] {
            assert_eq!(plain(bad), shown);
        }
        assert_eq!(harmless("a\\b\u{1b}c"), "a\\b\\u{1b}c");
        assert_eq!(plain(&"a".repeat(LABEL_LIMIT_CHARS)), "a".repeat(LABEL_LIMIT_CHARS));
        let cut = plain(&"a".repeat(LABEL_LIMIT_CHARS + 1));
        assert_eq!(cut, format!("{}…", "a".repeat(LABEL_LIMIT_CHARS)));
    }

    /// The examples are `date -u -d @N +%FT%TZ`.
    #[test]
    fn times_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST_SECOND, "9999-12-31T23:59:59Z"),
            (LAST_SECOND + 1, "after the year 9999"),
            (u64::MAX, "after the year 9999"),
        ] {
            assert_eq!(time(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn amounts_and_groups() {
        assert_eq!(sats(Sats(0)), "0 sat (0.00000000 BTC)");
        assert_eq!(sats(Sats(1_250_000)), "1,250,000 sat (0.01250000 BTC)");
        assert_eq!(sats(Sats(100_000_001)), "100,000,001 sat (1.00000001 BTC)");
        assert_eq!(sats(Sats(999)), "999 sat (0.00000999 BTC)");
        assert_eq!(chunks("bcrt1qabcde"), "bcrt 1qab cde");
        assert_eq!(chunks("abcd"), "abcd");
        assert_eq!(chunks(""), "");
    }
}
