use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use observe::Metrics;
use request::{CanonicalRequest, Gate, Reason, Refusal, admit};

use crate::{Body, Client, Handler, answer, endpoints::plain, upstream::Upstream};

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
    /// Counts the answers.
    pub metrics: Arc<Metrics>,
}

impl<G: Gate> Road<G> {
    async fn walk(&self, request: Request<Incoming>, client: &Client) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        if head.headers.len() > MAX_FIELDS {
            return Err(Refusal::because(Reason::HeadTooLarge, format_args!("{} header fields", head.headers.len())));
        }
        let gate = self.gate.today();
        let request = CanonicalRequest::new(head, gate.reads())?;
        if self.is_probe(&request) {
            return Ok(plain(StatusCode::OK, "OK".to_owned()));
        }
        let permit = admit(&gate, request, &client.peer).await?;
        let response = self.upstream.send(permit, client, body).await?;
        Ok(response.map(Body::upstream))
    }

    /// The target byte for byte, so that nobody reads another path in it.
    fn is_probe(&self, request: &CanonicalRequest) -> bool {
        self.livez.as_deref() == Some(request.target()) && [Method::GET, Method::HEAD].contains(request.method())
    }
}

impl<G: Gate + 'static> Handler for Road<G> {
    async fn handle(&self, request: Request<Incoming>, client: Client) -> Response<Body> {
        match self.walk(request, &client).await {
            Ok(response) => {
                self.metrics.request(response.status(), None);
                response
            }
            Err(refusal) => {
                let response = answer::refuse(&refusal, client.peer.address);
                self.metrics.request(response.status(), Some(refusal.reason()));
                response
            }
        }
    }
}
