//! What any bytes are given to: for each thing that reads the network or a file a function that panics where a promise is
//! broken. Each says what is promised beyond going on.
//!
//! `cargo fuzz` makes bytes of its own; the suite `corpora` of tests/ gives them those of corpus/, and some that are near.

/// Whose token it is, and whose keys are believed.
pub mod credentials;
/// What an operator writes.
pub mod files;
/// Paths as other servers read them.
pub mod readings;
/// The head of a request.
pub mod requests;
/// What the API server answers.
pub mod reviews;
/// Small languages of Go's.
pub mod text;
/// The whole proxy.
pub mod wire;

/// Takes any bytes, and says whether they were good for something.
pub type Target = fn(&[u8]) -> bool;

/// All of them, by the names of their binaries and corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("command_line", text::command_line),
    ("config", files::config),
    ("credentials", credentials::credentials),
    ("discovery", credentials::discovery),
    ("head", requests::head),
    ("http1", wire::http1),
    ("http2", wire::http2),
    ("http_proxy", text::http_proxy),
    ("key_set", credentials::key_set),
    ("manifests", files::manifests),
    ("path", requests::path),
    ("pattern", text::pattern),
    ("pem", files::pem),
    ("query", requests::query),
    ("reviews", reviews::reviews),
    ("scalars", text::scalars),
    ("template", text::template),
    ("token", credentials::token),
    ("token_file", files::token_file),
    ("yaml", files::yaml),
];

/// Runs a future to its end, with the servers of this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local!(static RUNTIME: tokio::runtime::Runtime = {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event queue")
    });
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// What stands before the first of these bytes, and what behind; all of it and nothing without them.
pub(crate) fn split_once<'a>(data: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(at.len()).position(|window| window == at) {
        Some(place) => (&data[..place], &data[place + at.len()..]),
        None => (data, &[]),
    }
}

/// The lines of a head, `name: value`, of which those count that can be headers.
pub(crate) fn headers(lines: &[u8]) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let (name, value) = split_once(line, b": ");
        if let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(name), http::HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}
