use std::{fmt::Write, sync::Arc};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use observe::Metrics;
use request::{CanonicalRequest, Gate, NoForm, Peer, Reason, Refusal, admit};

use crate::{Body, Client, Drain, Handler, answer};

/// The proxy's own endpoints: `/healthz`, `/livez`, `/readyz`, and `/metrics` behind a gate.
#[derive(Debug)]
pub struct Endpoints<G> {
    /// Decides who may read `/metrics`.
    pub gate: G,
    /// What is served there.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` says.
    pub readiness: Readiness,
}

/// Whether requests should come here. Only the program's own state counts: what is wrong outside is shown and changes
/// nothing, so that a fault of the API server does not take a whole service away.
pub struct Readiness {
    drain: Drain,
    lines: Box<dyn Fn() -> Vec<StatusLine> + Send + Sync>,
}

/// One line of `/readyz?verbose`.
#[derive(Clone, Debug)]
pub struct StatusLine {
    /// What it is about.
    pub name: &'static str,
    /// Whether that is well.
    pub ok: bool,
    /// More, for a person.
    pub detail: String,
}

impl Readiness {
    /// Ready until the drain begins; `lines` are shown with `?verbose`.
    pub fn new(drain: Drain, lines: impl Fn() -> Vec<StatusLine> + Send + Sync + 'static) -> Self {
        Self { drain, lines: Box::new(lines) }
    }

    fn answer(&self, verbose: bool) -> Response<Body> {
        let draining = self.drain.since().is_some();
        let (status, verdict) = match draining {
            true => (StatusCode::SERVICE_UNAVAILABLE, "shutting down"),
            false => (StatusCode::OK, "ok"),
        };
        let mut text = String::new();
        if verbose {
            for StatusLine { name, ok, detail } in (self.lines)() {
                let mark = if ok { '+' } else { '-' };
                // Writing into a String does not fail.
                let _ = writeln!(text, "[{mark}]{name} {detail}");
            }
        }
        text.push_str(verdict);
        plain(status, text)
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness").field("draining", &self.drain.since().is_some()).finish_non_exhaustive()
    }
}

impl<G: Gate> Endpoints<G> {
    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Result<Response<Body>, Refusal> {
        let (head, _) = request.into_parts();
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Refusal::new(Reason::MethodNotAllowed));
        }
        match head.uri.path() {
            "/healthz" | "/livez" => Ok(plain(StatusCode::OK, "ok".to_owned())),
            "/readyz" => {
                let verbose = head.uri.query().is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
                Ok(self.readiness.answer(verbose))
            }
            "/metrics" => {
                let gate = self.gate.today();
                let request = CanonicalRequest::new(head, gate.reads())?;
                admit(&gate, request, peer, &mut NoForm).await?;
                let mut response = Response::new(Body::whole(self.metrics.encode()));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Metrics::CONTENT_TYPE));
                Ok(response)
            }
            _ => Err(Refusal::new(Reason::NotFound)),
        }
    }
}

impl<G: Gate + 'static> Handler for Endpoints<G> {
    async fn handle(&self, request: Request<Incoming>, client: Client) -> Response<Body> {
        match self.answer(request, &client.peer).await {
            Ok(response) => response,
            Err(refusal) => answer::refuse(&refusal, client.peer.address, answer::Form::Text),
        }
    }
}

pub(crate) fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
