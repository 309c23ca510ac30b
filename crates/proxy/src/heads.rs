/// Looks at the bytes of HTTP/1 requests for what the HTTP library takes and should not: a line of a head that ends without CR,
/// and a `#` in the target, which it drops. Such a byte becomes one that it refuses.
///
/// It follows requests from head to head over bodies that say their length. Behind a chunked body, or behind a question for
/// another protocol, it looks no more: there the library's own reading counts, which is what is decided and what is sent.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// The line that is being read.
    line: Vec<u8>,
    /// A request line was read, and the end of its head was not.
    in_fields: bool,
    /// Of the body of this head, or left of the one before it.
    body: u64,
    /// A head says that what comes behind it cannot be followed.
    is_last: bool,
    is_over: bool,
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
            if self.body > 0 && !self.in_fields {
                let skipped = usize::try_from(self.body).unwrap_or(usize::MAX).min(rest.len());
                self.body -= skipped as u64;
                rest.by_ref().take(skipped).for_each(drop);
            }
            let Some(byte) = rest.next() else { return true };
            let is_spoilt = match *byte {
                b'\n' => self.line.last() != Some(&b'\r'),
                b'#' => !self.in_fields,
                _ => false,
            };
            if is_spoilt {
                (*byte, self.is_over) = (NUL, true);
                return false;
            }
            match *byte {
                b'\n' => self.end_line(),
                byte => {
                    self.line.truncate(LINE);
                    self.line.push(byte);
                }
            }
        }
        true
    }

    fn end_line(&mut self) {
        let mut kept = std::mem::take(&mut self.line);
        self.read_line(kept.trim_ascii_end());
        kept.clear();
        self.line = kept;
    }

    fn read_line(&mut self, line: &[u8]) {
        if line.is_empty() {
            // Empty lines before a request are none of it.
            (self.is_over, self.in_fields) = (self.is_last, false);
            return;
        }
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is = |known: &str| self.in_fields && name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-length") {
            let value = line
                .get(name.len() + 1..)
                .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok())
                .filter(|_| line.len() < LINE);
            // What is no number is refused; of a very long one the end is unknown.
            self.is_last |= value.is_none();
            self.body = value.unwrap_or_default();
        }
        self.is_last |= is("transfer-encoding") || is("upgrade");
        self.in_fields = true;
    }
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
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n#\n\r\n0\r\n\r\nGET /#x HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n#\n\n#",
        ] {
            assert_eq!(seen(text), text);
        }
        let zeros = format!("PUT / HTTP/1.1\r\nContent-Length: {}1\r\n\r\n#GET /#", "0".repeat(100));
        assert_eq!(seen(&zeros), zeros, "it cannot be followed");
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
            ("\r\n\nGET / HTTP/1.1\r\n\r\n", "\r\n\0GET / HTTP/1.1\r\n\r\n"),
            (
                "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\n#GET /#x HTTP/1.1\r\n\r\n",
                "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\n#GET /\0x HTTP/1.1\r\n\r\n",
            ),
        ] {
            assert_eq!(seen(text), expected);
        }
    }
}
