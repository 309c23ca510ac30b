use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use observe::Metrics;
use request::{Reason, Refusal};

use crate::{
    Body, Client, Drain, Handler,
    answer::{self, Form},
};

/// `/ready` and `/live` as of `github.com/heptiolabs/healthcheck`, with one check: `secure serving`; and `/metrics`, for everybody.
pub struct Probes {
    metrics: Arc<Metrics>,
    drain: Drain,
    ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Probes {
    /// Ready while `ready` says so, until the drain begins.
    pub fn new(metrics: Arc<Metrics>, drain: Drain, ready: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { metrics, drain, ready: Box::new(ready) }
    }

    fn answer(&self, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let check = match request.uri().path() {
            "/live" | "/metrics" => None,
            "/ready" if self.drain.since().is_some() => Some(Err("shutting down".to_owned())),
            "/ready" => Some((self.ready)()),
            _ => return Err(Refusal::new(Reason::NotFound)),
        };
        if *request.method() != Method::GET {
            return Err(Refusal::new(Reason::MethodNotAllowed));
        }
        if request.uri().path() == "/metrics" {
            return Ok(answer::own(StatusCode::OK, Metrics::CONTENT_TYPE, self.metrics.encode()));
        }
        let is_full = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "full=1"));
        let status = if matches!(check, Some(Err(_))) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let text = match check.filter(|_| is_full) {
            Some(check) => format!("{{\n    \"secure serving\": {}\n}}\n", serde_json::Value::from(check.err().unwrap_or("OK".to_owned()))),
            None => "{}\n".to_owned(),
        };
        Ok(answer::own(status, "application/json; charset=utf-8", text))
    }
}

impl Handler for Probes {
    async fn handle(&self, request: Request<Incoming>, client: Client) -> Response<Body> {
        self.answer(&request).unwrap_or_else(|refusal| answer::refuse(&refusal, client.peer.address, Form::Text))
    }
}
