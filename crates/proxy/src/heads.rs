use std::mem;

/// Looks at the bytes of HTTP/1 requests for what the HTTP library takes and should not: a line of a head that ends without CR,
/// and a `#` in the target, which it drops. Such a byte becomes one that it refuses.
///
/// It follows requests from head to head over their bodies. Where that cannot be done, for a length that nobody writes so, it
/// spoils the request too.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    part: Part,
    /// The line that is being read.
    line: Vec<u8>,
    body: Length,
    is_over: bool,
}

/// What the next byte is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    RequestLine,
    Fields,
    /// So much is left.
    Body(u64),
    ChunkSize,
    /// So much is left.
    Chunk(u64),
    ChunkEnd,
    Trailers,
}

/// How a body ends.
#[derive(Clone, Copy, Debug)]
enum Length {
    Known(u64),
    /// In chunks, whatever else is said.
    Chunked,
}

/// No request has it.
const NUL: u8 = 0;

/// What is kept of a line: more than a length needs.
const LINE: usize = 64;

impl Heads {
    /// Looks at nothing: it is another protocol.
    pub(crate) fn none() -> Self {
        Self { is_over: true, ..Self::default() }
    }

    /// Looks at the bytes that came next. False: the request is spoilt, and what follows is no matter.
    #[must_use]
    pub(crate) fn look(&mut self, bytes: &mut [u8]) -> bool {
        let mut rest = bytes.iter_mut();
        while !self.is_over {
            if let Part::Body(left) | Part::Chunk(left) = &mut self.part {
                let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= skipped as u64;
                rest.by_ref().take(skipped).for_each(drop);
                match self.part {
                    Part::Body(0) => self.part = Part::RequestLine,
                    Part::Chunk(0) => self.part = Part::ChunkEnd,
                    _ => {}
                }
            }
            let Some(byte) = rest.next() else { return true };
            let is_good = match *byte {
                b'\n' => self.line.last() == Some(&b'\r') && self.end_line(),
                b'#' if self.part == Part::RequestLine => false,
                byte => {
                    self.line.truncate(LINE);
                    self.line.push(byte);
                    true
                }
            };
            if !is_good {
                (*byte, self.is_over) = (NUL, true);
                return false;
            }
        }
        true
    }

    fn end_line(&mut self) -> bool {
        let mut kept = mem::take(&mut self.line);
        let next = self.next(kept.trim_ascii_end());
        kept.clear();
        self.line = kept;
        self.part = next.unwrap_or_default();
        next.is_some()
    }

    /// What comes behind this line; `None`: it should not be taken.
    fn next(&mut self, line: &[u8]) -> Option<Part> {
        Some(match self.part {
            // Empty lines before a request are none of it.
            Part::RequestLine if line.is_empty() => Part::RequestLine,
            Part::RequestLine => {
                self.body = Length::default();
                Part::Fields
            }
            Part::Fields if line.is_empty() => match self.body {
                Length::Known(length) => Part::Body(length),
                Length::Chunked => Part::ChunkSize,
            },
            Part::Fields => {
                self.body = self.body.after(line)?;
                Part::Fields
            }
            Part::ChunkSize => match chunk_size(line)? {
                0 => Part::Trailers,
                size => Part::Chunk(size),
            },
            Part::ChunkEnd if line.is_empty() => Part::ChunkSize,
            Part::Trailers if line.is_empty() => Part::RequestLine,
            Part::Trailers => Part::Trailers,
            // None of them is made of lines, or has one.
            Part::ChunkEnd | Part::Body(_) | Part::Chunk(_) => return None,
        })
    }
}

impl Length {
    /// With what this field says; `None`: nobody knows how long the body is.
    fn after(self, line: &[u8]) -> Option<Self> {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        Some(match self {
            _ if is("transfer-encoding") => Self::Chunked,
            Self::Known(_) if is("content-length") => {
                let value = std::str::from_utf8(line.get(name.len() + 1..)?).ok().filter(|_| line.len() < LINE)?;
                Self::Known(value.trim().parse().ok()?)
            }
            unchanged => unchanged,
        })
    }
}

impl Default for Length {
    fn default() -> Self {
        Self::Known(0)
    }
}

/// What a chunk's first line says, in front of its extensions.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next()?;
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|digits| digits.len() < LINE && !digits.starts_with('+'))?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library gets, however the bytes are cut.
    fn seen(text: &str) -> String {
        let whole = |size: usize| {
            let (mut heads, mut bytes) = (Heads::default(), text.as_bytes().to_vec());
            let _ = bytes.chunks_mut(size).all(|piece| heads.look(piece));
            String::from_utf8(bytes).expect("text")
        };
        let found = whole(text.len());
        for size in [1, 2, 7] {
            assert_eq!(whole(size), found, "in pieces of {size}");
        }
        found
    }

    #[test]
    fn usual_requests_are_left_as_they_are() {
        for text in [
            "GET /a HTTP/1.1\r\nHost: a#b\r\n\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-LENGTH: 9 \r\n\r\n#\nGET /#\nGET / HTTP/1.1\r\nX: y\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n#\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\nA;a=\"#\"\r\n#\n#\n#\n#\n#\n\r\n0 \r\na: #\r\n\r\nGET /x",
        ] {
            assert_eq!(seen(text), text);
        }
        let long = format!("GET /{0} HTTP/1.1\r\nX: {0}\r\nContent-Length: 2\r\n\r\n#\nGET / HTTP/1.1\r\n\r\n", "x".repeat(10_000));
        assert_eq!(seen(&long), long);
    }

    #[test]
    fn what_the_library_should_not_take_is_made_something_that_it_does_not() {
        for (text, expected) in [
            ("GET /a#b HTTP/1.1\r\n\r\n", "GET /a\0b HTTP/1.1\r\n\r\n"),
            ("GET /a HTTP/1.1\n\n", "GET /a HTTP/1.1\0\n"),
            ("GET /a HTTP/1.1\r\n\n", "GET /a HTTP/1.1\r\n\0"),
            ("GET /a HTTP/1.1\r\nX: y\nZ: z\r\n\r\n", "GET /a HTTP/1.1\r\nX: y\0Z: z\r\n\r\n"),
            ("GET / HTTP/1.1\r\n\r\nGET /#x HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\nGET /\0x HTTP/1.1\r\n\r\n"),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n#\r\n0\r\n\r\nGET /#x HTTP/1.1\r\n\r\n",
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n#\r\n0\r\n\r\nGET /\0x HTTP/1.1\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\n\r\n",
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\0\r\n",
            ),
            (
                "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nGET /#x HTTP/1.1\r\n\r\n",
                "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nGET /\0x HTTP/1.1\r\n\r\n",
            ),
            ("\r\n\nGET / HTTP/1.1\r\n\r\n", "\r\n\0GET / HTTP/1.1\r\n\r\n"),
            (
                "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\n#GET /#x HTTP/1.1\r\n\r\n",
                "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\n#GET /\0x HTTP/1.1\r\n\r\n",
            ),
        ] {
            assert_eq!(seen(text), expected);
        }
    }

    #[test]
    fn a_length_that_cannot_be_followed_is_spoilt() {
        let zeros = "0".repeat(100);
        for head in [
            format!("PUT / HTTP/1.1\r\nContent-Length: {zeros}1\r\n"),
            "PUT / HTTP/1.1\r\nContent-Length: x\r\n".to_owned(),
            format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{zeros}1\r\n"),
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n".to_owned(),
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n".to_owned(),
        ] {
            assert_eq!(seen(&head), format!("{}\0", head.trim_end_matches('\n')));
        }
    }
}
