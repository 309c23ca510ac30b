use testkit::{
    api::{Fault, Kind},
    client::{Request, Version},
    wire::Fields,
};

use crate::world::Identity;

/// Programs that are started once, with the same flags, for several cases.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) flags: Vec<&'static str>,
    /// Flags that the Go program does not have, for ours alone.
    pub(crate) own_flags: &'static [&'static str],
    /// Variables of the environment; their values are filled as flags are.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    pub(crate) listeners: &'static [Listener],
    /// The text of `--config-file`.
    pub(crate) config: Option<&'static str>,
    pub(crate) cases: Vec<Case>,
}

/// A request, and in what its outcome may differ. `{alice}` and the like in a field's value are tokens, new for each case
/// (see [`crate::world::users`]); `{base64url:alice}` is one in that coding.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) listener: Listener,
    pub(crate) versions: &'static [Version],
    pub(crate) message: Message,
    pub(crate) identity: Identity,
    pub(crate) fault: Option<(Kind, Fault)>,
    /// How often the request is sent, on one connection.
    pub(crate) times: usize,
    pub(crate) declared: Vec<Declared>,
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Shaped {
        method: String,
        target: String,
        host: &'static str,
        fields: Vec<(String, String)>,
        body: &'static str,
        trailers: Fields,
    },
    /// HTTP/1.1 byte for byte.
    Raw(String),
}

/// A difference that docs/compatibility.md explains.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    /// The anchor there.
    pub(crate) row: &'static str,
    /// What differs; see [`crate::seen::Seen::facets`].
    pub(crate) facet: &'static str,
    /// Whether it does so in one version only.
    pub(crate) version: Option<Version>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Secure,
    Insecure,
    Endpoints,
}

const BOTH: &[Version] = &[Version::H1, Version::H2];
const HTTP1: &[Version] = &[Version::H1];

impl Group {
    pub(crate) fn new(name: &'static str, flags: &[&'static str], cases: Vec<Case>) -> Self {
        Self { name, flags: flags.to_vec(), own_flags: &[], variables: &[], listeners: &[Listener::Secure], config: None, cases }
    }

    pub(crate) fn config(self, text: &'static str) -> Self {
        Self { config: Some(text), ..self }
    }

    pub(crate) fn own_flags(self, own_flags: &'static [&'static str]) -> Self {
        Self { own_flags, ..self }
    }

    pub(crate) fn variables(self, variables: &'static [(&'static str, &'static str)]) -> Self {
        Self { variables, ..self }
    }

    pub(crate) fn listeners(self, listeners: &'static [Listener]) -> Self {
        Self { listeners, ..self }
    }
}

impl Case {
    /// Any method, by nobody, in both versions, to the secure listener.
    pub(crate) fn new(name: &'static str, method: &str, target: &str) -> Self {
        let message = Message::Shaped {
            method: method.to_owned(),
            target: target.to_owned(),
            host: "proxy.test",
            // The Go program adds one of its own otherwise.
            fields: vec![("Accept-Encoding".to_owned(), "identity".to_owned())],
            body: "",
            trailers: Vec::new(),
        };
        let listener = Listener::Secure;
        Self { name, listener, versions: BOTH, message, identity: Identity::None, fault: None, times: 1, declared: Vec::new() }
    }

    /// A GET by nobody.
    pub(crate) fn get(name: &'static str, target: &str) -> Self {
        Self::new(name, "GET", target)
    }

    /// A GET with a token of a user.
    pub(crate) fn get_by(name: &'static str, user: &str, target: &str) -> Self {
        Self::get(name, target).bearer(user)
    }

    /// A GET by somebody who may do everything, that is answered as this reply says.
    pub(crate) fn answered(name: &'static str, reply: &str) -> Self {
        Self::get_by(name, "alice", "/answer").header("X-Reply", reply)
    }

    /// Bytes that no decent client would send.
    pub(crate) fn raw(name: &'static str, bytes: &str) -> Self {
        Self { message: Message::Raw(bytes.to_owned()), versions: HTTP1, ..Self::new(name, "", "") }
    }

    /// [`Case::raw`] between whose start line and rest there are the usual fields.
    pub(crate) fn raw_by_alice(name: &'static str, start_line: &str, rest: &str) -> Self {
        const FIELDS: &str = "Host: proxy.test\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n";
        Self::raw(name, &format!("{start_line}\r\n{FIELDS}{rest}"))
    }

    pub(crate) fn bearer(self, user: &str) -> Self {
        self.header("Authorization", &format!("Bearer {{{user}}}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let Message::Shaped { fields, .. } = &mut self.message else { panic!("the bytes are given") };
        fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Many fields, each of its own name.
    pub(crate) fn fields(self, count: usize) -> Self {
        (0..count).fold(self, |case, number| case.header(&format!("X-Field-{number}"), "1"))
    }

    pub(crate) fn body(mut self, text: &'static str) -> Self {
        let Message::Shaped { body, .. } = &mut self.message else { panic!("the bytes are given") };
        *body = text;
        self
    }

    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        let Message::Shaped { trailers, .. } = &mut self.message else { panic!("the bytes are given") };
        trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the `Accept-Encoding` that cases have.
    pub(crate) fn without_codings(mut self) -> Self {
        let Message::Shaped { fields, .. } = &mut self.message else { panic!("the bytes are given") };
        fields.clear();
        self
    }

    pub(crate) fn host(mut self, name: &'static str) -> Self {
        let Message::Shaped { host, .. } = &mut self.message else { panic!("the bytes are given") };
        *host = name;
        self
    }

    pub(crate) fn presenting(self, identity: Identity) -> Self {
        Self { identity, ..self }
    }

    pub(crate) fn on(self, listener: Listener) -> Self {
        Self { listener, ..self }
    }

    /// In HTTP/1.1 alone.
    pub(crate) fn http1(self) -> Self {
        Self { versions: HTTP1, ..self }
    }

    /// In HTTP/2 alone.
    pub(crate) fn http2(self) -> Self {
        Self { versions: &[Version::H2], ..self }
    }

    /// Fails reviews of one kind meanwhile.
    pub(crate) fn failing(self, kind: Kind, fault: Fault) -> Self {
        Self { fault: Some((kind, fault)), ..self }
    }

    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Declares differences that a row of docs/compatibility.md explains.
    pub(crate) fn differs(self, row: &'static str, facets: &[&'static str]) -> Self {
        self.declare(row, facets, None)
    }

    /// [`Case::differs`] in one version only.
    pub(crate) fn differs_in(self, version: Version, row: &'static str, facets: &[&'static str]) -> Self {
        self.declare(row, facets, Some(version))
    }

    /// Declares that ours refuses, with a text of its own, what Go forwards.
    pub(crate) fn refused(self, row: &'static str) -> Self {
        self.differs(row, &["status", "body", "forwarded", "answer content-type", "answer x-content-type-options"])
    }

    /// [`Case::refused`] before anybody was asked.
    pub(crate) fn refused_unasked(self, row: &'static str) -> Self {
        self.refused(row).differs(row, &["TokenReview", "SubjectAccessReview"])
    }

    fn declare(mut self, row: &'static str, facets: &[&'static str], version: Option<Version>) -> Self {
        self.declared.extend(facets.iter().map(|&facet| Declared { row, facet, version }));
        self
    }
}

impl Message {
    /// The request with the tokens of one exchange.
    pub(crate) fn request(&self, fill: impl Fn(&str) -> String) -> Option<Request> {
        let Self::Shaped { method, target, host, fields, body, trailers } = self else { return None };
        let mut request = Request::new(method, target).host(host).body(body);
        for (name, value) in fields {
            request = request.header(name, &fill(value));
        }
        for (name, value) in trailers {
            request = request.trailer(name, value);
        }
        Some(request)
    }
}
