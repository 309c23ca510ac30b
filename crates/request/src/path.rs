use thiserror::Error;

/// A request path that has exactly one meaning, or of which each meaning is known.
///
/// Servers disagree about encoded dot segments, encoded separators, `;` parameters and `\`. A decision made on one
/// reading and a request served by another is how proxies of this kind are bypassed, so where a decision reads the
/// path those forms are refused, or, where [`OddPaths`] lets them pass, all that servers make of them is decided. Literal `//`, `/./` and `/../` have one agreed meaning: they are kept apart as
/// [`Path::cleaned`], for a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    decoded: String,
    others: Vec<String>,
    cleaned: Option<String>,
}

/// What a path may have although servers read it in different ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OddPaths {
    /// `%2f`: a separator, or a part of its segment.
    pub encoded_slashes: bool,
    /// `;`: the start of a parameter that ends with its segment, or a part of it.
    pub parameters: bool,
}

/// Stands for an encoded slash: no path that is accepted has it.
const SLASH: char = '\0';

/// Why a path has more than one meaning, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathFault {
    /// It does not begin with `/`.
    #[error("the path does not begin with '/'")]
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    #[error("the path has a '%' without two hexadecimal digits")]
    BadEscape,
    /// A control byte, raw or encoded.
    #[error("the path has a control byte")]
    ControlByte,
    /// A byte above 0x7f that is not percent-encoded.
    #[error("the path has a byte above 0x7f that is not percent-encoded")]
    RawNonAscii,
    /// Encoded bytes that are not UTF-8: no SubjectAccessReview could name them.
    #[error("the path has escapes that are not UTF-8")]
    NotUtf8,
    /// `\`, raw or encoded: a separator to some servers.
    #[error("the path has a '\\'")]
    Backslash,
    /// `;`, raw or encoded: the start of a path parameter to some servers.
    #[error("the path has a ';'")]
    PathParameter,
    /// `%2f`: a separator to some servers.
    #[error("the path has an encoded '/'")]
    EncodedSlash,
    /// A `.` or `..` segment with an encoded dot.
    #[error("the path has an encoded dot segment")]
    EncodedDotSegment,
    /// An escape that decodes to an escape of one of the above.
    #[error("the path is encoded twice")]
    DoubleEncoding,
    /// An encoded slash or a parameter that a server could take for an empty segment or a dot segment, or an encoded slash in
    /// a parameter.
    #[error("the path has an encoded '/' or a ';' beside nothing, beside dots, or one in the other")]
    Beside,
}

impl Path {
    /// Reads the path of a request target, still percent-encoded and without the query.
    pub fn parse(raw: &str, odd: OddPaths) -> Result<Self, PathFault> {
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
                b';' if encoded || !odd.parameters => return Err(PathFault::PathParameter),
                b'/' if encoded && !odd.encoded_slashes => return Err(PathFault::EncodedSlash),
                b'/' if encoded => decoded.push(SLASH as u8),
                _ => decoded.push(byte),
            }
        }
        if hides_an_escape(&decoded) {
            return Err(PathFault::DoubleEncoding);
        }
        let decoded = String::from_utf8(decoded).map_err(|_| PathFault::NotUtf8)?;
        // No separator is a byte that was encoded, so both have the same segments.
        for (raw, decoded) in raw.split('/').zip(decoded.split('/')) {
            if is_dot_segment(decoded) && raw != decoded {
                return Err(PathFault::EncodedDotSegment);
            }
            let (segment, parameters) = decoded.split_once(';').unwrap_or((decoded, ""));
            let mut parts = segment.split(SLASH);
            if decoded.contains([SLASH, ';']) && (parameters.contains(SLASH) || parts.any(|part| part.is_empty() || is_dot_segment(part))) {
                return Err(PathFault::Beside);
            }
        }
        let cleaned = clean(raw);
        let cleaned = (cleaned != raw).then_some(cleaned);
        let bare: Vec<&str> = decoded.split('/').filter_map(|segment| segment.split(';').next()).collect();
        let bare = bare.join("/");
        let mut readings: Vec<String> = Vec::new();
        for text in [&decoded, &bare] {
            readings.extend(["/", "%2F"].map(|slash| text.replace(SLASH, slash)));
        }
        let decoded = readings.remove(0);
        readings.retain(|reading| *reading != decoded);
        readings.dedup();
        Ok(Self { decoded, others: readings, cleaned })
    }

    /// The decoded path: what rules and reviews are about.
    pub fn decoded(&self) -> &str {
        &self.decoded
    }

    /// Each path that some server makes of it, the decoded one first: an encoded slash is one, or stays encoded; a parameter is a
    /// part of its segment, or none.
    pub fn readings(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.decoded).chain(&self.others).map(String::as_str)
    }

    /// Where a path with `//`, `/./` or `/../` leads, still encoded; `None` when it is clean.
    pub fn cleaned(&self) -> Option<&str> {
        self.cleaned.as_deref()
    }
}

/// The byte that two hexadecimal digits say.
pub fn escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
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
            let path = Path::parse(raw, OddPaths::default()).expect(raw);
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
            assert_eq!(Path::parse(raw, OddPaths::default()), Err(fault), "{raw}");
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
            assert_eq!(Path::parse(raw, OddPaths::default()).expect(raw).cleaned(), Some(cleaned), "{raw}");
        }
    }

    fn both() -> OddPaths {
        OddPaths { encoded_slashes: true, parameters: true }
    }

    #[test]
    fn an_odd_path_has_each_reading_once() {
        for (raw, readings) in [
            ("/a/b", &["/a/b"][..]),
            ("/a%2fb", &["/a/b", "/a%2Fb"]),
            ("/g/a%2Fb%2fc/x", &["/g/a/b/c/x", "/g/a%2Fb%2Fc/x"]),
            ("/a;v=1/b", &["/a;v=1/b", "/a/b"]),
            ("/a;v;w=%20/", &["/a;v;w= /", "/a/"]),
            ("/a%2fb;v", &["/a/b;v", "/a%2Fb;v", "/a/b", "/a%2Fb"]),
        ] {
            let path = Path::parse(raw, both()).expect(raw);
            assert_eq!((path.readings().collect::<Vec<_>>(), path.decoded()), (readings.to_vec(), readings[0]), "{raw}");
        }
        let slashes = OddPaths { encoded_slashes: true, parameters: false };
        assert_eq!(Path::parse("/a%2fb;v", slashes), Err(PathFault::PathParameter));
        let parameters = OddPaths { encoded_slashes: false, parameters: true };
        assert_eq!(Path::parse("/a%2fb;v", parameters), Err(PathFault::EncodedSlash));
    }

    #[test]
    fn an_odd_path_hides_no_segment() {
        for (raw, fault) in [
            ("/a%2f..%2fb", PathFault::Beside),
            ("/..%2fb", PathFault::Beside),
            ("/a%2f%2e", PathFault::Beside),
            ("/%2fa", PathFault::Beside),
            ("/a%2f", PathFault::Beside),
            ("/a%2f%2fb", PathFault::Beside),
            ("/a/..;/b", PathFault::Beside),
            ("/a/.;x/b", PathFault::Beside),
            ("/a/;x/b", PathFault::Beside),
            ("/a/%2e%2e;x", PathFault::Beside),
            ("/a/..%2f..;x", PathFault::Beside),
            ("/a;x=%2f", PathFault::Beside),
            ("/a%3bx", PathFault::PathParameter),
            ("/a%5cb", PathFault::Backslash),
            ("/a%252fb", PathFault::DoubleEncoding),
            ("/a%253bb", PathFault::DoubleEncoding),
            ("/a/%2e%2e", PathFault::EncodedDotSegment),
        ] {
            assert_eq!(Path::parse(raw, both()), Err(fault), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn every_reading_of_an_odd_path_is_among_them(raw in "/([a-c./;\\\\%25ef]|%2[ef5F]|%5c|%3b|a%2fb|a;b){0,12}") {
            let Ok(path) = Path::parse(&raw, both()) else { return Ok(()) };
            let readings: Vec<&str> = path.readings().collect();
            let without = |path: &str| path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("/");
            // Slashes first or parameters first, decoded or not.
            let kept = raw.replace("%2f", "%2F").replace("%2F", "%252F");
            let decode = |raw: &str| Path::parse(&raw.replace("%252F", "|"), both()).map(|path| path.decoded().replace('|', "%2F"));
            for found in [decode(&raw), decode(&kept), decode(&without(&raw)), decode(&without(&kept)), decode(&raw).map(|path| without(&path))] {
                prop_assert!(found.as_deref().is_ok_and(|found| readings.contains(&found)), "{} {:?} {:?}", raw, found, readings);
            }
            for reading in &readings {
                let had = path.cleaned().is_some();
                prop_assert!(had || !reading.split('/').any(is_dot_segment), "{:?}", readings);
            }
        }
        #[test]
        fn an_accepted_path_has_the_same_segments_under_every_decoder(raw in "/([a-c./;\\\\%25ef]|%2[ef5]|%5c|%3b){0,12}") {
            if let Ok(path) = Path::parse(&raw, OddPaths::default()) {
                let segments = |text: &str| text.split('/').map(String::from).collect::<Vec<_>>();
                prop_assert_eq!(segments(&raw).len(), segments(path.decoded()).len());
                prop_assert!(!path.decoded().contains([';', '\\']));
                if path.cleaned().is_none() {
                    prop_assert!(!path.decoded().split('/').any(is_dot_segment));
                    // Decoding a second time changes no segment into a dot segment and adds no separator.
                    if let Ok(again) = Path::parse(path.decoded(), OddPaths::default()) {
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
