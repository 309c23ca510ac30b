use std::fmt;

/// A request path that has exactly one meaning.
///
/// Servers disagree about encoded dot segments, encoded separators, `;` parameters and `\`. A decision made on one
/// reading and a request served by another is how proxies of this kind are bypassed, so where a decision reads the
/// path those forms are refused. Literal `//`, `/./` and `/../` have one agreed meaning: they are kept apart as
/// [`Path::cleaned`], for a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    decoded: String,
    cleaned: Option<String>,
}

/// Why a path has more than one meaning, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// It does not begin with `/`.
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// A control byte, raw or encoded.
    ControlByte,
    /// A byte above 0x7f that is not percent-encoded.
    RawNonAscii,
    /// Encoded bytes that are not UTF-8: no SubjectAccessReview could name them.
    NotUtf8,
    /// `\`, raw or encoded: a separator to some servers.
    Backslash,
    /// `;`, raw or encoded: the start of a path parameter to some servers.
    PathParameter,
    /// `%2f`: a separator to some servers.
    EncodedSlash,
    /// A `.` or `..` segment with an encoded dot.
    EncodedDotSegment,
    /// An escape that decodes to an escape of one of the above.
    DoubleEncoding,
}

impl Path {
    /// Reads the path of a request target, still percent-encoded and without the query.
    pub fn parse(raw: &str) -> Result<Self, PathFault> {
        if !raw.starts_with('/') {
            return Err(PathFault::NotAbsolute);
        }
        let mut decoded = Vec::with_capacity(raw.len());
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            let (byte, encoded) = match byte {
                b'%' => (escape(bytes.next(), bytes.next()).ok_or(PathFault::BadEscape)?, true),
                0x80.. => return Err(PathFault::RawNonAscii),
                _ => (byte, false),
            };
            match byte {
                0..=0x1f | 0x7f => return Err(PathFault::ControlByte),
                b'\\' => return Err(PathFault::Backslash),
                b';' => return Err(PathFault::PathParameter),
                b'/' if encoded => return Err(PathFault::EncodedSlash),
                _ => decoded.push(byte),
            }
        }
        if hides_an_escape(&decoded) {
            return Err(PathFault::DoubleEncoding);
        }
        let decoded = String::from_utf8(decoded).map_err(|_| PathFault::NotUtf8)?;
        // No separator can be encoded by now, so both readings have the same segments.
        for (raw, decoded) in raw.split('/').zip(decoded.split('/')) {
            if is_dot_segment(decoded) && raw != decoded {
                return Err(PathFault::EncodedDotSegment);
            }
        }
        let cleaned = clean(raw);
        Ok(Self { decoded, cleaned: (cleaned != raw).then_some(cleaned) })
    }

    /// The decoded path: what rules and reviews are about.
    pub fn decoded(&self) -> &str {
        &self.decoded
    }

    /// Where a path with `//`, `/./` or `/../` leads, still encoded; `None` when it is clean.
    pub fn cleaned(&self) -> Option<&str> {
        self.cleaned.as_deref()
    }
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with '/'",
            Self::BadEscape => "the path has a '%' without two hexadecimal digits",
            Self::ControlByte => "the path has a control byte",
            Self::RawNonAscii => "the path has a byte above 0x7f that is not percent-encoded",
            Self::NotUtf8 => "the path has escapes that are not UTF-8",
            Self::Backslash => "the path has a '\\'",
            Self::PathParameter => "the path has a ';'",
            Self::EncodedSlash => "the path has an encoded '/'",
            Self::EncodedDotSegment => "the path has an encoded dot segment",
            Self::DoubleEncoding => "the path is encoded twice",
        })
    }
}

pub(crate) fn escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Whether decoding once more would give a byte that separates, climbs, ends or escapes again.
fn hides_an_escape(decoded: &[u8]) -> bool {
    decoded.windows(3).any(|window| match *window {
        [b'%', high, low] => {
            escape(Some(high), Some(low)).is_some_and(|byte| matches!(byte, 0..=0x1f | 0x7f | b'/' | b'\\' | b';' | b'.' | b'%'))
        }
        _ => false,
    })
}

fn is_dot_segment(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Go's `path.Clean`, but that a trailing `/` stays, as `net/http`'s `ServeMux` has it.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut cleaned = String::with_capacity(path.len());
    for segment in &segments {
        cleaned.push('/');
        cleaned.push_str(segment);
    }
    // `ServeMux` looks at the last byte alone: `/a/.` loses its slash, `/a/./` keeps it.
    if segments.is_empty() || path.ends_with('/') {
        cleaned.push('/');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clean_path_is_decoded_once() {
        for (raw, decoded) in [
            ("/", "/"),
            ("/metrics", "/metrics"),
            ("/a%20b/c%3Fd", "/a b/c?d"),
            ("/caf%C3%A9", "/café"),
            ("/file%2etxt", "/file.txt"),
            ("/...", "/..."),
            ("/100%25", "/100%"),
        ] {
            let path = Path::parse(raw).expect(raw);
            assert_eq!((path.decoded(), path.cleaned()), (decoded, None), "{raw}");
        }
    }

    #[test]
    fn a_path_with_two_meanings_is_refused() {
        for (raw, fault) in [
            ("", PathFault::NotAbsolute),
            ("metrics", PathFault::NotAbsolute),
            ("/%", PathFault::BadEscape),
            ("/%4", PathFault::BadEscape),
            ("/%zz", PathFault::BadEscape),
            ("/ok%00", PathFault::ControlByte),
            ("/a\u{7f}", PathFault::ControlByte),
            ("/é", PathFault::RawNonAscii),
            ("/%ff", PathFault::NotUtf8),
            ("/ok\\..\\secret", PathFault::Backslash),
            ("/ok%5C..", PathFault::Backslash),
            ("/ok/..;/secret", PathFault::PathParameter),
            ("/ok%3b", PathFault::PathParameter),
            ("/ok%2f..%2fsecret", PathFault::EncodedSlash),
            ("/ok/%2e%2E/secret", PathFault::EncodedDotSegment),
            ("/ok/.%2e/secret", PathFault::EncodedDotSegment),
            ("/ok/%2e", PathFault::EncodedDotSegment),
            ("/ok/%252e%252e/secret", PathFault::DoubleEncoding),
            ("/ok%252fsecret", PathFault::DoubleEncoding),
            ("/ok%25252fsecret", PathFault::DoubleEncoding),
        ] {
            assert_eq!(Path::parse(raw), Err(fault), "{raw}");
        }
    }

    #[test]
    fn a_literal_detour_leads_to_one_place() {
        for (raw, cleaned) in [
            ("//a", "/a"),
            ("/a//b/", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("/a/..", "/"),
            ("/a/.", "/a"),
            ("/a/./", "/a/"),
            ("//", "/"),
            ("/a%20b//c", "/a%20b/c"),
        ] {
            assert_eq!(Path::parse(raw).expect(raw).cleaned(), Some(cleaned), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_path_has_the_same_segments_under_every_decoder(raw in "/([a-c./;\\\\%25ef]|%2[ef5]|%5c|%3b){0,12}") {
            if let Ok(path) = Path::parse(&raw) {
                let segments = |text: &str| text.split('/').map(String::from).collect::<Vec<_>>();
                prop_assert_eq!(segments(&raw).len(), segments(path.decoded()).len());
                prop_assert!(!path.decoded().contains([';', '\\']));
                if path.cleaned().is_none() {
                    prop_assert!(!path.decoded().split('/').any(is_dot_segment));
                    // Decoding a second time changes no segment into a dot segment and adds no separator.
                    if let Ok(again) = Path::parse(path.decoded()) {
                        prop_assert_eq!(again.cleaned(), None);
                    }
                }
            }
        }

        #[test]
        fn cleaning_is_idempotent(raw in "(/[a-b.]{0,3}){1,8}") {
            let once = clean(&raw);
            prop_assert_eq!(clean(&once), once);
        }
    }
}
