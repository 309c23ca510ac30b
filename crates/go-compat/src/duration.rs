use std::{fmt, str::FromStr, time::Duration};

use crate::quote;

/// A signed span of time in nanoseconds, read and written as Go's [`time.Duration`](https://pkg.go.dev/time#Duration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(i64);

/// Why a text is no duration. The wordings are Go's, without `time: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number where one belongs, or a number that is too large.
    #[error("invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit that Go does not know, and the whole text.
    #[error("unknown unit {} in duration {}", quote(.0), quote(.1))]
    UnknownUnit(String, String),
}

impl GoDuration {
    /// So many whole seconds; what no `i64` of nanoseconds can hold becomes the longest duration.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND as i64))
    }

    /// The same span without a sign; `None` for one below zero.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    /// Mirrors `time.ParseDuration`, to the bit.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (mut value, after_whole) = leading_int(rest).ok_or_else(invalid)?;
            let mut has_digits = after_whole.len() != rest.len();
            rest = after_whole;
            let (mut fraction, mut scale) = (0, 1.0);
            if let Some(after_point) = rest.strip_prefix('.') {
                (fraction, scale, rest) = leading_fraction(after_point);
                has_digits |= after_point.len() != rest.len();
            }
            if !has_digits {
                return Err(invalid());
            }
            let (unit_name, after_unit) = split_where(rest, |byte| byte == b'.' || byte.is_ascii_digit());
            if unit_name.is_empty() {
                return Err(DurationError::MissingUnit(text.to_owned()));
            }
            let unit = unit(unit_name).ok_or_else(|| DurationError::UnknownUnit(unit_name.to_owned(), text.to_owned()))?;
            rest = after_unit;
            if value > LIMIT / unit {
                return Err(invalid());
            }
            value *= unit;
            if fraction > 0 {
                value += (fraction as f64 * (unit as f64 / scale)) as u64;
                if value > LIMIT {
                    return Err(invalid());
                }
            }
            // Twice the limit wraps to nothing in Go too.
            total = total.wrapping_add(value);
            if total > LIMIT {
                return Err(invalid());
            }
        }
        if negative {
            return Ok(Self((total as i64).wrapping_neg()));
        }
        i64::try_from(total).map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for GoDuration {
    /// Mirrors `Duration.String`: `1m0s`, `1.5s`, `300ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match span {
            0 => f.write_str("0s"),
            1..MICROSECOND => write!(f, "{span}ns"),
            MICROSECOND..MILLISECOND => write!(f, "{}µs", decimal(span, 3)),
            MILLISECOND..SECOND => write!(f, "{}ms", decimal(span, 6)),
            _ => {
                let minutes = span / MINUTE;
                match (minutes / 60, minutes % 60) {
                    (0, 0) => {}
                    (0, minutes) => write!(f, "{minutes}m")?,
                    (hours, minutes) => write!(f, "{hours}h{minutes}m")?,
                }
                write!(f, "{}s", decimal(span % MINUTE, 9))
            }
        }
    }
}

/// One above the largest count of nanoseconds; the smallest one's absolute value.
const LIMIT: u64 = 1 << 63;
const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// The digits that a text begins with as a number, and the rest; `None` when the number is over the limit.
fn leading_int(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = split_where(text, |byte| !byte.is_ascii_digit());
    let value = if digits.is_empty() { 0 } else { digits.parse().ok().filter(|value| *value <= LIMIT)? };
    Some((value, rest))
}

/// The digits after a point as a number and its scale, and the rest. Digits that no longer fit are dropped.
fn leading_fraction(text: &str) -> (u64, f64, &str) {
    let (digits, rest) = split_where(text, |byte| !byte.is_ascii_digit());
    let (mut value, mut scale): (u64, f64) = (0, 1.0);
    for digit in digits.bytes() {
        if value > (LIMIT - 1) / 10 {
            break;
        }
        let longer = value * 10 + u64::from(digit - b'0');
        if longer > LIMIT {
            break;
        }
        value = longer;
        scale *= 10.0;
    }
    (value, scale, rest)
}

/// Splits before the first byte that is an end. Ends are ASCII, so the split is between characters.
fn split_where(text: &str, is_end: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(is_end).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `value` / 10^`places`, without trailing zeros.
fn decimal(value: u64, places: u32) -> String {
    let scale = 10_u64.pow(places);
    let fraction = format!("{:0width$}", value % scale, width = places as usize);
    match fraction.trim_end_matches('0') {
        "" => (value / scale).to_string(),
        fraction => format!("{}.{fraction}", value / scale),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<i64, DurationError> {
        text.parse().map(|GoDuration(nanos)| nanos)
    }

    /// Expectations printed by Go 1.26.
    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.0040s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("12μs", 12_000),
            ("13ms", 13_000_000),
            ("15m", 900_000_000_000),
            ("16h", 57_600_000_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("-2m3.4s", -123_400_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("39h9m14.425s", 140_954_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("9223372036s854ms775us807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-9223372036854775.808us", i64::MIN),
            ("0.100000000000000000000h", 360_000_000_000),
            ("0.830103483285477580700h", 2_988_372_539_827),
            ("9223372036854775808ns9223372036854775808ns", 0),
        ] {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (text, message) in [
            ("", r#"invalid duration """#),
            ("3", r#"missing unit in duration "3""#),
            ("-", r#"invalid duration "-""#),
            ("s", r#"invalid duration "s""#),
            (".", r#"invalid duration ".""#),
            ("-.", r#"invalid duration "-.""#),
            (".s", r#"invalid duration ".s""#),
            ("+.s", r#"invalid duration "+.s""#),
            ("1d", r#"unknown unit "d" in duration "1d""#),
            ("5 s", r#"unknown unit " s" in duration "5 s""#),
            (" 5s", r#"invalid duration " 5s""#),
            ("5S", r#"unknown unit "S" in duration "5S""#),
            ("--5s", r#"invalid duration "--5s""#),
            ("1m30", r#"missing unit in duration "1m30""#),
            ("9223372036854775810ns", r#"invalid duration "9223372036854775810ns""#),
            ("9223372036854775808ns", r#"invalid duration "9223372036854775808ns""#),
            ("-9223372036854775809ns", r#"invalid duration "-9223372036854775809ns""#),
            ("9223372036854776us", r#"invalid duration "9223372036854776us""#),
            ("3000000h", r#"invalid duration "3000000h""#),
            ("9223372036854775.808us", r#"invalid duration "9223372036854775.808us""#),
            ("9223372036854ms775us808ns", r#"invalid duration "9223372036854ms775us808ns""#),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), message, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (60_000_000_000, "1m0s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(GoDuration(nanos).to_string(), text);
        }
    }

    #[test]
    fn only_what_is_not_below_zero_has_a_length() {
        assert_eq!(GoDuration::from_secs(90).to_std(), Some(Duration::from_secs(90)));
        assert_eq!(GoDuration::from_secs(0).to_std(), Some(Duration::ZERO));
        assert_eq!(GoDuration::from_secs(-1).to_std(), None);
        assert_eq!(GoDuration::from_secs(i64::MAX), GoDuration(i64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos: i64) {
            prop_assert_eq!(parse(&GoDuration(nanos).to_string()), Ok(nanos));
        }

        #[test]
        fn parts_add_up(parts in prop::collection::vec((0_u64..1_000_000, prop::sample::select(vec!["ns", "us", "ms", "s", "m"])), 1..6)) {
            let text: String = parts.iter().map(|(count, unit)| format!("{count}{unit}")).collect();
            let sum: u64 = parts.iter().map(|(count, name)| count * unit(name).expect("a unit")).sum();
            prop_assert_eq!(parse(&text), Ok(i64::try_from(sum).expect("far below the limit")));
            prop_assert_eq!(parse(&format!("-{text}")), Ok(-i64::try_from(sum).expect("far below the limit")));
        }

        #[test]
        fn no_text_is_too_odd(text in "[-+]?([0-9]{0,22}[.]?[0-9]{0,22}(ns|us|µs|ms|s|m|h|é)?){0,4}|.{0,12}") {
            if let Ok(nanos) = parse(&text) {
                prop_assert_eq!(parse(&GoDuration(nanos).to_string()), Ok(nanos));
            }
        }
    }
}
