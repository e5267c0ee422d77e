//! Text for the printer: what its fonts have, escaped, and dates.

use std::fmt;

use super::{SheetError, TEXT_LIMIT_CHARS};

/// Refuses what [`Text`] could not write, or would have to write too small.
pub(super) fn check(field: &'static str, text: &str) -> Result<(), SheetError> {
    if let Some(other) = text.chars().find(|c| !matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}')) {
        return Err(SheetError::Character(field, other));
    }
    match text.chars().count() {
        0..=TEXT_LIMIT_CHARS => Ok(()),
        many => Err(SheetError::Long(field, many)),
    }
}

/// A PostScript string literal in ISO 8859-1. Whatever is no letter, digit or harmless mark becomes an
/// octal escape, so that nothing in it ends the string; what the fonts lack becomes a question mark.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for c in self.0.chars() {
            match u8::try_from(u32::from(c)) {
                Ok(b) if b.is_ascii_alphanumeric() || b" .,:;-'/".contains(&b) => write!(f, "{c}")?,
                Ok(b @ (b' '..=b'~' | 0xa0..)) => write!(f, "\\{b:03o}")?,
                _ => f.write_str("?")?,
            }
        }
        f.write_str(")")
    }
}

/// The day, in UTC, of a time in seconds since 1970, as ISO 8601 writes it.
pub fn date(seconds: u64) -> String {
    // Civil date from days, in years that begin in March (H. Hinnant, "chrono-compatible low-level date
    // algorithms"), for days from 1970 on.
    let days = (seconds / 86_400).saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let leaps = (day / 1_460).saturating_add(day / 146_096).saturating_sub(day / 36_524);
    let year = day.saturating_sub(leaps) / 365;
    let before = year.saturating_mul(365).saturating_add(year / 4).saturating_sub(year / 100);
    let day = day.saturating_sub(before);
    let month = day.saturating_mul(5).saturating_add(2) / 153;
    let first = month.saturating_mul(153).saturating_add(2) / 5;
    let day = day.saturating_sub(first).saturating_add(1);
    let (month, next) = if month < 10 { (month.saturating_add(3), 0) } else { (month.saturating_sub(9), 1) };
    let year = era.saturating_mul(400).saturating_add(year).saturating_add(next);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_603_200, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (1_795_305_600, "2026-11-22"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), day, "{seconds}");
        }
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(Text("a) showpage (\\").to_string(), "(a\\051 showpage \\050\\134)");
        assert_eq!(Text("Zürich\n\u{7f}\u{85}→").to_string(), "(Z\\374rich????)");
        assert_eq!(Text("<~%{[x]}~>").to_string(), "(\\074\\176\\045\\173\\133x\\135\\175\\176\\076)");
    }

    #[test]
    fn texts_that_fit() {
        let long = "é".repeat(TEXT_LIMIT_CHARS);
        check("x", &long).unwrap();
        assert!(matches!(check("x", &format!("{long}e")), Err(SheetError::Long("x", 91))));
        for c in ['\n', '\u{7f}', '\u{9f}', 'ł'] {
            assert!(
                matches!(check("x", &c.to_string()), Err(SheetError::Character("x", found)) if found == c)
            );
        }
    }
}
