//! Comma-separated values (RFC 4180).

/// One line, with its line end. A spreadsheet takes a field that begins with `=`, `+`, `-` or `@` for a
/// formula, so a text that does gets an apostrophe in front; numbers stay as they are.
pub(crate) fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = fields.into_iter().map(field).collect::<Vec<_>>().join(",");
    out.push_str("\r\n");
    out
}

fn field(text: &str) -> String {
    let number = text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
    let formula = !number && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_disarmed() {
        assert_eq!(line(["a", "b,c", "d\"e", "-5", "", "7"]), "a,\"b,c\",\"d\"\"e\",-5,,7\r\n");
        for formula in ["=1+1", "+1", "@x", "-1+2", "\tx"] {
            assert_eq!(line([formula]), format!("'{formula}\r\n"));
        }
        assert_eq!(line(["=a,b"]), "\"'=a,b\"\r\n");
    }
}
