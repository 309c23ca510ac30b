/// Why a text is no number of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not a number.
    #[error("invalid syntax")]
    Syntax,
    /// A number that the kind cannot hold.
    #[error("value out of range")]
    Range,
    /// A hexadecimal float: Go reads it, this does not.
    #[error("hexadecimal floats are not supported")]
    HexadecimalFloat,
}

/// Mirrors `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, NumberError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(NumberError::Syntax),
    }
}

/// Mirrors `strconv.ParseInt(text, 0, 64)`: base prefixes, and `_` between digits.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    signed(text, parse_uint64)
}

/// Mirrors `strconv.ParseInt(text, 10, 32)`.
pub fn parse_decimal_int32(text: &str) -> Result<i32, NumberError> {
    let value = signed(text, |digits| magnitude(digits, 10))?;
    i32::try_from(value).map_err(|_| NumberError::Range)
}

/// Mirrors `strconv.ParseUint(text, 0, 32)`.
pub fn parse_uint32(text: &str) -> Result<u32, NumberError> {
    u32::try_from(parse_uint64(text)?).map_err(|_| NumberError::Range)
}

/// Mirrors `strconv.ParseUint(text, 0, 64)`.
pub fn parse_uint64(text: &str) -> Result<u64, NumberError> {
    let (base, digits) = match text.as_bytes() {
        [b'0', b'b' | b'B', _, ..] => (2, text.get(2..)),
        [b'0', b'o' | b'O', _, ..] => (8, text.get(2..)),
        [b'0', b'x' | b'X', _, ..] => (16, text.get(2..)),
        [b'0', _, ..] => (8, text.get(1..)),
        _ => (10, Some(text)),
    };
    let value = magnitude(&digits.unwrap_or_default().replace('_', ""), base)?;
    if text.contains('_') && !underscores_separate_digits(text) {
        return Err(NumberError::Syntax);
    }
    Ok(value)
}

/// Mirrors `strconv.ParseFloat(text, 32)`, but that hexadecimal floats are refused.
pub fn parse_float32(text: &str) -> Result<f32, NumberError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        return Err(NumberError::HexadecimalFloat);
    }
    if text.contains('_') && !underscores_separate_digits(text) {
        return Err(NumberError::Syntax);
    }
    let value: f32 = text.replace('_', "").parse().map_err(|_| NumberError::Syntax)?;
    if value.is_infinite() && unsigned.contains(|character: char| character.is_ascii_digit()) {
        return Err(NumberError::Range);
    }
    Ok(value)
}

/// Mirrors `strconv.FormatFloat(value, 'g', -1, 32)`.
pub fn format_float32(value: f32) -> String {
    let scientific = format!("{value:e}");
    match scientific.split_once('e').map(|(mantissa, exponent)| (mantissa, exponent.parse::<i32>())) {
        Some((mantissa, Ok(exponent))) if !(-4..6).contains(&exponent) => {
            format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
        }
        Some(_) => value.to_string(),
        None if value.is_nan() => "NaN".to_owned(),
        None => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
    }
}

fn signed(text: &str, magnitude: impl Fn(&str) -> Result<u64, NumberError>) -> Result<i64, NumberError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = magnitude(digits)?;
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }.ok_or(NumberError::Range)
}

/// Without a sign, which `from_str_radix` would take.
fn magnitude(digits: &str, base: u32) -> Result<u64, NumberError> {
    match !digits.is_empty() && digits.chars().all(|character| character.is_digit(base)) {
        true => u64::from_str_radix(digits, base).map_err(|_| NumberError::Range),
        false => Err(NumberError::Syntax),
    }
}

/// Whether each `_` is between two digits, or between a base prefix and a digit: Go's `underscoreOK`.
fn underscores_separate_digits(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (hexadecimal, prefixed, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', digits @ ..] => (true, true, digits),
        [b'0', b'b' | b'B' | b'o' | b'O', digits @ ..] => (false, true, digits),
        digits => (false, false, digits),
    };
    // Whether the last byte was a digit, and whether it was an underscore.
    let (mut after_digit, mut after_underscore) = (prefixed, false);
    for byte in digits {
        let digit = byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit();
        let underscore = *byte == b'_';
        if underscore && !after_digit || after_underscore && !digit {
            return false;
        }
        (after_digit, after_underscore) = (digit, underscore);
    }
    !after_underscore
}

#[cfg(test)]
mod tests {
    use NumberError::{HexadecimalFloat, Range, Syntax};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn booleans_have_twelve_spellings() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(parse_bool(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(parse_bool(text), Ok(false), "{text}");
        }
        for text in ["", "tRUE", "yes", "on", "2", " true"] {
            assert_eq!(parse_bool(text), Err(Syntax), "{text}");
        }
    }

    /// Expectations printed by Go 1.26.
    #[test]
    fn integers_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("+7", Ok(7)),
            ("-7", Ok(-7)),
            ("010", Ok(8)),
            ("0o17", Ok(15)),
            ("0b11", Ok(3)),
            ("0xFf", Ok(255)),
            ("-0x10", Ok(-16)),
            ("1_000", Ok(1000)),
            ("0_7", Ok(7)),
            ("0x_f", Ok(15)),
            ("00", Ok(0)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(Range)),
            ("-9223372036854775809", Err(Range)),
            ("99999999999999999999999", Err(Range)),
            ("", Err(Syntax)),
            ("+", Err(Syntax)),
            ("08", Err(Syntax)),
            ("0x", Err(Syntax)),
            ("0b2", Err(Syntax)),
            ("1__0", Err(Syntax)),
            ("_1", Err(Syntax)),
            ("1_", Err(Syntax)),
            ("0_", Err(Syntax)),
            ("1.0", Err(Syntax)),
            ("1e3", Err(Syntax)),
            (" 1", Err(Syntax)),
            ("++1", Err(Syntax)),
            ("99999999999999999999999z", Err(Syntax)),
        ] {
            assert_eq!(parse_int(text), expected, "{text}");
        }
    }

    #[test]
    fn each_kind_has_its_range() {
        assert_eq!(parse_uint32("4294967295"), Ok(u32::MAX));
        assert_eq!(parse_uint32("4294967296"), Err(Range));
        assert_eq!(parse_uint32("0x40000"), Ok(262_144));
        assert_eq!(parse_uint32("-1"), Err(Syntax));
        assert_eq!(parse_uint32("+1"), Err(Syntax));
        assert_eq!(parse_uint64("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_decimal_int32("10"), Ok(10));
        assert_eq!(parse_decimal_int32("010"), Ok(10));
        assert_eq!(parse_decimal_int32("-2147483648"), Ok(i32::MIN));
        assert_eq!(parse_decimal_int32("2147483648"), Err(Range));
        assert_eq!(parse_decimal_int32("0x1"), Err(Syntax));
        assert_eq!(parse_decimal_int32("1_0"), Err(Syntax));
    }

    #[test]
    fn floats_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", Ok(0.0)),
            ("50", Ok(50.0)),
            ("-1.5", Ok(-1.5)),
            (".5", Ok(0.5)),
            ("5.", Ok(5.0)),
            ("1e3", Ok(1000.0)),
            ("1_000", Ok(1000.0)),
            ("inf", Ok(f32::INFINITY)),
            ("-Infinity", Ok(f32::NEG_INFINITY)),
            ("1e39", Err(Range)),
            ("", Err(Syntax)),
            (".", Err(Syntax)),
            ("1e_3", Err(Syntax)),
            ("_1", Err(Syntax)),
            ("5qps", Err(Syntax)),
            ("0x1p4", Err(HexadecimalFloat)),
        ] {
            assert_eq!(parse_float32(text), expected, "{text}");
        }
        assert!(parse_float32("NaN").is_ok_and(f32::is_nan));
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (50.0, "50"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (123_456.0, "123456"),
            (1e6, "1e+06"),
            (16_777_216.0, "1.6777216e+07"),
            (1e20, "1e+20"),
            (0.0001, "0.0001"),
            (1e-5, "1e-05"),
            (f32::INFINITY, "+Inf"),
            (f32::NEG_INFINITY, "-Inf"),
            (f32::NAN, "NaN"),
        ] {
            assert_eq!(format_float32(value), text);
        }
    }

    proptest! {
        #[test]
        fn every_integer_is_read_back(value: i64) {
            prop_assert_eq!(parse_int(&value.to_string()), Ok(value));
            let sign = if value < 0 { "-" } else { "" };
            prop_assert_eq!(parse_int(&format!("{sign}{:#x}", value.unsigned_abs())), Ok(value));
        }

        #[test]
        fn every_float_is_read_back(value in prop::num::f32::NORMAL | prop::num::f32::ZERO) {
            prop_assert_eq!(parse_float32(&format_float32(value)), Ok(value));
        }

        #[test]
        fn no_text_is_too_odd(text in "[-+_.0-9xbopeE]{0,8}|.{0,6}") {
            let _ = (parse_int(&text), parse_uint32(&text), parse_float32(&text), parse_decimal_int32(&text));
        }
    }
}
