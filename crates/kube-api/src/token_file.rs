use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::Instant;

/// client-go's: a kubelet replaces a token long before it expires.
const REREAD_AFTER: Duration = Duration::from_secs(60);

/// This program's own token, in a file that is replaced from time to time.
///
/// kube reads such files too, but sends a line's end along, which is no header value, and prefers a token that stands
/// beside the file; client-go does neither (`transport/token_source.go`).
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    header: HeaderValue,
    read: Instant,
}

impl TokenFile {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let header = read(&path)?;
        Ok(Self { path, state: Mutex::new(State { header, read: Instant::now() }) })
    }

    /// The `Authorization` of a call. A file that cannot be read any more leaves the last token in use.
    pub(crate) fn authorization(&self) -> HeaderValue {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.read.elapsed() >= REREAD_AFTER {
            self.reread(&mut state);
        }
        state.header.clone()
    }

    /// Whether the file has another token than the one that was just refused.
    pub(crate) fn replaced(&self, refused: &HeaderValue) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.header == *refused {
            self.reread(&mut state);
        }
        state.header != *refused
    }

    fn reread(&self, state: &mut State) {
        state.read = Instant::now();
        match read(&self.path) {
            Ok(header) => state.header = header,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "The token for the API server cannot be read; the last one stays in use");
            }
        }
    }
}

fn read(path: &Path) -> io::Result<HeaderValue> {
    let text = fs::read_to_string(path)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no token"));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what it holds cannot be sent as a token"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        file
    }

    #[tokio::test(start_paused = true)]
    async fn a_replaced_token_is_read_within_a_minute_and_trimmed() {
        let file = file(" one\n");
        let token = TokenFile::open(file.path().into()).expect("a token");
        assert_eq!(token.authorization(), "Bearer one");
        fs::write(file.path(), "two\r\n").expect("written");
        assert_eq!(token.authorization(), "Bearer one");
        tokio::time::advance(REREAD_AFTER).await;
        assert_eq!(token.authorization(), "Bearer two");
        assert!(token.authorization().is_sensitive());
        fs::remove_file(file.path()).expect("removed");
        tokio::time::advance(REREAD_AFTER).await;
        assert_eq!(token.authorization(), "Bearer two");
    }

    #[tokio::test]
    async fn a_refused_token_is_read_again_at_once() {
        let file = file("one");
        let token = TokenFile::open(file.path().into()).expect("a token");
        let refused = token.authorization();
        assert!(!token.replaced(&refused));
        fs::write(file.path(), "two").expect("written");
        assert!(token.replaced(&refused));
        assert_eq!(token.authorization(), "Bearer two");
    }

    #[test]
    fn a_file_without_a_token_is_an_error_that_does_not_quote_it() {
        for text in ["", " \n", "se\u{1}cret"] {
            let error = TokenFile::open(file(text).path().into()).map(|_| ()).expect_err(text).to_string();
            assert!(!error.contains("cret"), "{error}");
        }
    }
}
