use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};

use crate::lock;

/// How many informational responses of one exchange are passed on.
const MOST: u32 = 16;

/// The way of informational responses (`103 Early Hints` and its kind) to an HTTP/1.1 client.
///
/// The HTTP library sends none, so they are written between two of its messages: after the last byte of the response
/// before, ahead of the first byte of the response to come. One that finds no such place is dropped; it is a hint.
#[derive(Clone, Default)]
pub(crate) struct Interim(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    connection: AtomicWaker,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The library was given bytes to write that have not all left.
    mid_message: bool,
    passed: u32,
}

impl Interim {
    /// A request has begun.
    pub(crate) fn open(&self) {
        lock(&self.0.state).passed = 0;
    }

    /// Hands over an informational response. `100 Continue` is not for here: the library says it when the body is read.
    pub(crate) fn push(&self, status: StatusCode, headers: &HeaderMap) {
        let mut state = lock(&self.0.state);
        if state.passed == MOST || status == StatusCode::CONTINUE {
            return;
        }
        state.passed += 1;
        write_head(&mut state.waiting, status, headers);
        drop(state);
        self.0.connection.wake();
    }

    /// The final response is there: what could not be written by now has lost its place.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.0.state);
        if state.mid_message {
            state.waiting.clear();
        }
    }

    /// What may be written now, ahead of the library's bytes.
    pub(crate) fn due(&self) -> Option<Vec<u8>> {
        let mut state = lock(&self.0.state);
        let due = !state.mid_message && !state.waiting.is_empty();
        due.then(|| std::mem::take(&mut state.waiting))
    }

    /// The library is writing, or has written everything.
    pub(crate) fn set_mid_message(&self, mid_message: bool) {
        lock(&self.0.state).mid_message = mid_message;
    }

    pub(crate) fn wake(&self, connection: &std::task::Waker) {
        self.0.connection.register(connection);
    }
}

fn write_head(bytes: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    let mut headers = headers.clone();
    crate::headers::strip_hop_by_hop(&mut headers);
    // Writing into a Vec does not fail.
    let _ = write!(bytes, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default());
    for (name, value) in &headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn hints() -> HeaderMap {
        HeaderMap::from_iter([(http::header::LINK, HeaderValue::from_static("</a>"))])
    }

    #[test]
    fn a_hint_is_written_between_two_messages() {
        let interim = Interim::default();
        interim.push(StatusCode::EARLY_HINTS, &hints());
        assert_eq!(interim.due().as_deref(), Some(&b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"[..]));
        assert_eq!(interim.due(), None);
    }

    #[test]
    fn a_hint_waits_for_the_message_before_and_never_outlives_its_own() {
        let interim = Interim::default();
        interim.set_mid_message(true);
        interim.push(StatusCode::EARLY_HINTS, &hints());
        assert_eq!(interim.due(), None);
        interim.close();
        interim.set_mid_message(false);
        assert_eq!(interim.due(), None);
    }

    #[test]
    fn an_upstream_cannot_hint_without_end() {
        let interim = Interim::default();
        for _ in 0..100 {
            interim.push(StatusCode::EARLY_HINTS, &hints());
        }
        let written = String::from_utf8(interim.due().expect("hints")).expect("text");
        assert_eq!(written.matches("HTTP/1.1 103").count(), 16);
    }
}
