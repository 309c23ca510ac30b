use std::{fmt::Write, sync::Arc};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use observe::Metrics;
use request::{CanonicalRequest, Gate, NoForm, Peer, Reason, Refusal, admit};

use crate::{
    Body, Client, Drain, Handler,
    answer::{self, Form},
};

/// The proxy's own endpoints: `/healthz`, `/livez`, `/readyz`, and `/metrics` behind a gate.
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
        let (status, verdict) = match self.drain.since().is_some() {
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
                Ok(answer::own(StatusCode::OK, Metrics::CONTENT_TYPE, self.metrics.encode()))
            }
            _ => Err(Refusal::new(Reason::NotFound)),
        }
    }
}

impl<G: Gate + 'static> Handler for Endpoints<G> {
    async fn handle(&self, request: Request<Incoming>, client: Client) -> Response<Body> {
        let answer = self.answer(request, &client.peer).await;
        answer.unwrap_or_else(|refusal| answer::refuse(&refusal, client.peer.address, Form::Text))
    }
}

pub(crate) fn plain(status: StatusCode, text: String) -> Response<Body> {
    answer::own(status, "text/plain; charset=utf-8", text)
}
