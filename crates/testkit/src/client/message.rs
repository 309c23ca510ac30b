use crate::wire::{self, Fields, Head};

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: String,
    pub(super) target: String,
    host: String,
    fields: Fields,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Fields,
    pub(super) streaming: bool,
}

/// A response, read whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// In order; HTTP/2 gives lower case.
    pub fields: Fields,
    /// The content.
    pub body: Vec<u8>,
    /// Behind the body.
    pub trailers: Fields,
    /// Informational answers that came first; HTTP/1 only.
    pub interim: Vec<Head>,
}

impl Request {
    /// Any method.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: "proxy.test".to_owned(),
            fields: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            streaming: false,
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST with a body.
    pub fn post(target: &str, body: impl AsRef<[u8]>) -> Self {
        Self { body: body.as_ref().to_vec(), ..Self::new("POST", target) }
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        Self { body: body.as_ref().to_vec(), ..self }
    }

    /// Replaces the host, `proxy.test`.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// Adds a field, written as given in HTTP/1.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Adds a trailer, announced in `Trailer`.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self.header("Trailer", name)
    }

    /// Says that a body follows, by [`Exchange::send`].
    #[must_use]
    pub fn streaming(self) -> Self {
        Self { streaming: true, ..self }
    }

    /// The request in HTTP/1.1.
    pub fn http1(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_body = !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        if self.streaming || !self.trailers.is_empty() {
            text.push_str("Transfer-Encoding: chunked\r\n\r\n");
        } else if has_body {
            text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        } else {
            text.push_str("\r\n");
        }
        let mut bytes = text.into_bytes();
        if self.trailers.is_empty() {
            bytes.extend_from_slice(&self.body);
        } else {
            bytes.extend_from_slice(&wire::chunk(&self.body));
            let trailers: String = self.trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        }
        bytes
    }

    pub(super) fn http2<B>(&self, body: B) -> Result<http::Request<B>, String> {
        let uri = format!("https://{}{}", self.host, self.target);
        let mut request = http::Request::builder().method(self.method.as_str()).uri(uri).version(http::Version::HTTP_2);
        for (name, value) in &self.fields {
            request = request.header(name.as_str(), value.as_str());
        }
        request.body(body).map_err(|error| error.to_string())
    }
}

impl Response {
    /// The only value of a field; `None` without one.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() < 2, "{name} has several values: {values:?}");
        values.first().copied()
    }

    /// All values of a field.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        wire::values(&self.fields, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
