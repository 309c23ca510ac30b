use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use observe::{Access, Metrics};
use request::{Attributes, CanonicalRequest, Gate, Permit, Reason, Refusal, admit};

use crate::{
    Body, Client, ErrorForm, Handler, answer,
    endpoints::plain,
    upstream::{Progress, Upstream},
};

/// How many header fields a request may have.
pub(crate) const MAX_FIELDS: usize = 256;

/// The road of a request: one interpretation, the gate, the upstream. One direction, no way back.
#[derive(Debug)]
pub struct Road<G> {
    /// Decides.
    pub gate: G,
    /// Takes what was admitted.
    pub upstream: Upstream,
    /// A path that is answered here to everybody, without the gate.
    pub livez: Option<String>,
    /// What refusals look like.
    pub errors: ErrorForm,
    /// Counts the answers.
    pub metrics: Arc<Metrics>,
}

type Walked = Result<Response<Body>, Refusal>;

impl<G: Gate> Road<G> {
    /// `sending` is how far the body is, once there is one that somebody may read.
    async fn walk(
        &self,
        request: Request<Incoming>,
        client: &mut Client,
        sending: &mut Option<Progress>,
        access: Option<&Access>,
    ) -> Walked {
        let (head, body) = request.into_parts();
        if head.headers.len() > MAX_FIELDS {
            return Err(Refusal::because(Reason::HeadTooLarge, format_args!("{} header fields", head.headers.len())));
        }
        let gate = self.gate.today();
        let mut body = self.upstream.take(body, head.version);
        *sending = Some(body.progress());
        let request = CanonicalRequest::new(head, gate.reads())?;
        if self.is_probe(&request) {
            return Ok(plain(StatusCode::OK, "OK".to_owned()));
        }
        let permit = admit(&gate, request, &client.peer, &mut body).await?;
        client.undecided = None;
        if let Some(access) = access {
            access.write(Some(&permit));
        }
        let (user, sent) = sent(&permit);
        let response = self.upstream.send(permit, client, body).await.map_err(|refusal| refusal.about(&user, sent))?;
        Ok(response.map(Body::upstream))
    }

    /// The target byte for byte, so that nobody reads another path in it.
    fn is_probe(&self, request: &CanonicalRequest) -> bool {
        self.livez.as_deref() == Some(request.target()) && [Method::GET, Method::HEAD].contains(request.method())
    }
}

/// Whose request went upstream, and which, for the log: the method instead of a verb, and no query, which may hold secrets.
fn sent(permit: &Permit) -> (String, Attributes) {
    let user = permit.user().map(|user| user.name.clone()).unwrap_or_default();
    let path = permit.request().target().split('?').next().unwrap_or_default();
    (user, Attributes::NonResource { verb: permit.request().method().to_string(), path: path.to_owned() })
}

impl<G: Gate + 'static> Handler for Road<G> {
    async fn handle(&self, request: Request<Incoming>, mut client: Client) -> Response<Body> {
        let form = self.errors.of(request.headers());
        let (is_http1, has_body, mut sending) = (request.version() <= Version::HTTP_11, !request.body().is_end_stream(), None);
        // Who asks whether to send a body is not asked for it here.
        let is_held = request.headers().contains_key(header::EXPECT);
        let access = Access::of(client.peer.address.ip(), request.uri().path(), request.headers());
        let mut unanswered = Unanswered(Some((&self.metrics, client.peer.address)));
        let walked = AssertUnwindSafe(self.walk(request, &mut client, &mut sending, access.as_ref())).catch_unwind().await;
        unanswered.0 = None;
        match walked.unwrap_or_else(|_| Err(Refusal::because(Reason::Internal, "a panic, whose place the line before has"))) {
            Ok(response) => {
                self.metrics.request(response.status(), None);
                response
            }
            Err(refusal) => {
                if let Some(access) = access {
                    access.write(None);
                }
                let mut response = answer::refuse(&refusal, client.peer.address, form);
                let is_over = match sending {
                    Some(sending) if is_http1 && has_body && !is_held => sending.drain().await,
                    Some(sending) if has_body && !is_http1 => {
                        sending.cut_later();
                        false
                    }
                    _ => !has_body,
                };
                // A body that nobody reads to its end ends the connection, which the library does not say.
                if is_http1 && !is_over {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                self.metrics.request(response.status(), Some(refusal.reason()));
                response
            }
        }
    }
}

/// A request whose client may leave before it is answered: then it is dropped, and says so.
struct Unanswered<'a>(Option<(&'a Metrics, SocketAddr)>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some((metrics, peer)) = self.0 {
            observe::log_refusal(&Refusal::new(Reason::ClientLeft), peer, false);
            metrics.request(Reason::ClientLeft.row().status, Some(Reason::ClientLeft));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use request::{Decision, Peer, Reads};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::{
        DrainTrigger, Limits, Listener, ManagedHeaders, Server,
        listen::bind,
        upstream::{Address, Speech, Upstream},
    };

    struct Panics(Reads);

    impl Gate for Panics {
        fn today(&self) -> Self {
            Self(Reads::default())
        }

        fn reads(&self) -> &Reads {
            &self.0
        }

        async fn decide(&self, _: &CanonicalRequest, _: &Peer, _: &mut impl request::Form) -> Decision {
            panic!("hush")
        }
    }

    #[tokio::test]
    async fn a_panic_costs_one_request() {
        let nowhere =
            Address { host: "127.0.0.1".into(), port: 1, authority: "x".into(), base_path: String::new(), base_query: String::new() };
        let metrics = Metrics::new("test", "0");
        let upstream = Upstream::new(nowhere, Speech::default(), ManagedHeaders::default());
        let road = Arc::new(Road {
            gate: Panics(Reads::default()),
            upstream,
            livez: None,
            errors: ErrorForm::Text,
            metrics: Arc::clone(&metrics),
        });
        let socket = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let mut client = TcpStream::connect(socket.local_addr().expect("bound")).await.expect("connected");
        let (_trigger, drain) = DrainTrigger::new();
        let long = Duration::from_secs(60);
        let limits = Limits { head_bytes: 65_536, handshake: long, head: long, idle: long, write: long };
        let server = Server { limits, http2: None, metrics: Arc::clone(&metrics), drain, places: crate::Places::new(9) };
        tokio::spawn(server.serve(Listener { name: "insecure", socket, tls: None }, road));
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
            let mut answer = Vec::new();
            while !answer.ends_with(b"Internal Server Error\n") {
                assert_ne!(client.read_buf(&mut answer).await.expect("the connection goes on"), 0, "{answer:?}");
            }
            assert!(answer.starts_with(b"HTTP/1.1 500"));
        }
        assert!(metrics.encode().contains("test_requests_total{code=\"500\",reason=\"internal\"} 2"));
    }
}
