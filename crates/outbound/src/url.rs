use std::str::FromStr;

use http::Uri;
use thiserror::Error;

/// Where a document is: `https`, a host, and nothing that a server does not see or that names a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl {
    text: String,
    uri: Uri,
    host: String,
}

/// Why a text is no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not of a URL's form.
    #[error("it is no URL")]
    Form,
    /// Whoever is on the way could write the document.
    #[error("its scheme must be https")]
    Scheme,
    /// A credential has no place there.
    #[error("it must not name a user")]
    User,
    /// Servers never see one.
    #[error("it must not have a fragment")]
    Fragment,
}

impl HttpsUrl {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(443)
    }

    /// For the `Host` field.
    pub(crate) fn authority(&self) -> &str {
        self.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default()
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        self.uri.path_and_query().map(http::uri::PathAndQuery::as_str).filter(|target| !target.is_empty()).unwrap_or("/")
    }
}

impl FromStr for HttpsUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // The parser of URIs drops it without a word.
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Form)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some(_) => return Err(UrlError::Scheme),
            None => return Err(UrlError::Form),
        }
        let authority = uri.authority().ok_or(UrlError::Form)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let has_bad_port = authority.port().is_none() && authority.as_str().len() > authority.host().len();
        if host.is_empty() || has_bad_port {
            return Err(UrlError::Form);
        }
        Ok(Self { text: text.to_owned(), uri, host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_https_and_names_nobody() {
        for (text, host, port, target) in [
            ("https://issuer.test", "issuer.test", 443, "/"),
            ("https://issuer.test/", "issuer.test", 443, "/"),
            ("https://issuer.test:8443/a/b?c", "issuer.test", 8443, "/a/b?c"),
            ("https://[::1]:1/x", "::1", 1, "/x"),
        ] {
            let url: HttpsUrl = text.parse().expect(text);
            assert_eq!((url.host(), url.port(), url.target(), url.as_str()), (host, port, target, text));
        }
        for (text, why) in [
            ("http://issuer.test", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Form),
            ("https://user@issuer.test", UrlError::User),
            ("https://user:password@issuer.test", UrlError::User),
            ("https://issuer.test/#x", UrlError::Fragment),
            ("https:///x", UrlError::Form),
            ("https://issuer.test:99999/", UrlError::Form),
            ("https://issuer.test:/", UrlError::Form),
            ("issuer.test", UrlError::Form),
            ("/x", UrlError::Form),
            ("", UrlError::Form),
            ("https://a b/", UrlError::Form),
        ] {
            assert_eq!(text.parse::<HttpsUrl>(), Err(why), "{text}");
        }
    }
}
