//! Comma-separated values for programs that calculate (RFC 4180).
//!
//! A spreadsheet takes a field that begins like a formula for one, and a formula may send what stands beside
//! it to somebody. Words of others stand in these fields, so such a field gets an apostrophe in front: it is
//! shown as text.

use approver::harmless;

/// What begins a formula in one spreadsheet or another, also in full width.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// One line, with its end.
pub(crate) fn line<S: AsRef<str>>(fields: impl IntoIterator<Item = S>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|f| field(f.as_ref())).collect();
    fields.join(",") + "\r\n"
}

fn field(text: &str) -> String {
    // Line breaks and tabs are written out too: one record is one line for every reader.
    let mut text = harmless(text);
    if text.trim_start().starts_with(FORMULA) && !is_number(&text) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A number below zero is no formula.
fn is_number(text: &str) -> bool {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    match text.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_as_rfc_4180_says() {
        assert_eq!(line(["a", "b c", ""]), "a,b c,\r\n");
        assert_eq!(line(["a,b", "say \"no\"", "1"]), "\"a,b\",\"say \"\"no\"\"\",1\r\n");
        assert_eq!(line(["a\r\nb", "a\tb"]), "a\\u{d}\\u{a}b,a\\u{9}b\r\n");
    }

    #[test]
    fn a_spreadsheet_finds_no_formula() {
        for bad in ["=1+1", "+1", "@SUM(A1)", "-A1", "-1-1", " =1", "=HYPERLINK(\"x\")", "－1", "-", "-1."] {
            let written = line([bad]);
            assert!(written.trim_start_matches('"').starts_with('\''), "{bad}: {written}");
        }
        for good in ["-5", "-0.00000001", "12", "a=b", "a-b", "1.5", "2026-01-01T00:00:00Z"] {
            assert_eq!(line([good]), format!("{good}\r\n"));
        }
    }
}
