use std::fmt::Write;

/// The text between double quotes, with whatever cannot be seen written as an escape: Go's `strconv.Quote`.
///
/// A text from outside that is quoted so cannot break a log line in two.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        // Writing to a String cannot fail.
        let _ = match character {
            '"' | '\\' => write!(quoted, "\\{character}"),
            '\x07' => quoted.write_str("\\a"),
            '\x08' => quoted.write_str("\\b"),
            '\x0c' => quoted.write_str("\\f"),
            '\n' => quoted.write_str("\\n"),
            '\r' => quoted.write_str("\\r"),
            '\t' => quoted.write_str("\\t"),
            '\x0b' => quoted.write_str("\\v"),
            '\0'..='\x1f' | '\x7f' => write!(quoted, "\\x{:02x}", u32::from(character)),
            _ if is_visible(character) => quoted.write_char(character),
            ..='\u{ffff}' => write!(quoted, "\\u{:04x}", u32::from(character)),
            _ => write!(quoted, "\\U{:08x}", u32::from(character)),
        };
    }
    quoted.push('"');
    quoted
}

/// Whether Rust's `Debug` shows the character itself, which is nearly Go's `unicode.IsPrint`.
fn is_visible(character: char) -> bool {
    character == '\'' || character.escape_debug().eq([character])
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        for (text, quoted) in [
            ("", r#""""#),
            ("plain 'text'", r#""plain 'text'""#),
            ("x\"é\\", r#""x\"é\\""#),
            ("a\nb\tc\r\x07\x08\x0c\x0b", r#""a\nb\tc\r\a\b\f\v""#),
            ("\x01\x7f\u{200b}\u{85}", r#""\x01\x7f\u200b\u0085""#),
            ("\u{e0001}", r#""\U000e0001""#),
            ("☺", r#""☺""#),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }
}
