use std::{sync::Arc, time::Duration};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry, Unit},
};
use request::Reason;

/// Names and values.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// All metrics of the program. Every label set is closed: no value comes from a client.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    authentications: Family<Labels<2>, Counter>,
    authorizations: Family<Labels<2>, Counter>,
    api_calls: Family<Labels<2>, Histogram>,
    cache_lookups: Family<Labels<2>, Counter>,
    cache_entries: Family<Labels<1>, Gauge>,
    reloads: Family<Labels<2>, Counter>,
    issuer_askings: Family<Labels<1>, Counter>,
    certificates: Family<Labels<1>, Gauge>,
    connections: Family<Labels<1>, Gauge>,
    connections_cut: Family<Labels<1>, Counter>,
    log_lines_dropped: Counter,
    panics: Counter,
}

/// One open connection; counted until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: u16,
    reason: &'static str,
}

impl Metrics {
    /// The media type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Registers everything under `prefix`, the command's name.
    pub fn new(prefix: &str, version: &str) -> Arc<Self> {
        let mut registry = Registry::with_prefix(prefix);
        let all = &mut registry;
        all.register("build", "The running program", Info::new([("version", version.to_owned())]));
        Arc::new(Self {
            requests: counted(
                all,
                "requests",
                "Requests answered, by status and by the reason of a refusal (docs/reasons.md; empty: the upstream answered)",
            ),
            authentications: counted(all, "authentications", "Looks of an authenticator at a request"),
            authorizations: counted(all, "authorizations", "Questions to an authorizer"),
            api_calls: in_seconds(
                all,
                "api_call_duration",
                "Calls to the API server, retries and waiting included",
                Family::new_with_constructor(api_calls),
            ),
            cache_lookups: counted(all, "cache_lookups", "Looks into a cache; shared: another request's call was waited for"),
            cache_entries: counted(all, "cache_entries", "Entries in a cache"),
            reloads: counted(all, "reloads", "Changes of watched files; kept: the new content is broken, the last good one serves"),
            issuer_askings: counted(all, "issuer_askings", "Askings of the OIDC issuer for its keys"),
            certificates: in_seconds(all, "certificate_not_after", "When a certificate in use ends, since 1970", Family::default()),
            connections: counted(all, "connections", "Open client connections"),
            connections_cut: counted(all, "connections_cut", "Client connections ended by the limit of this flag"),
            log_lines_dropped: counted(all, "log_lines_dropped", "Log lines given up because nobody reads standard error"),
            panics: counted(all, "panics", "Tasks, of a connection or a request, that a defect of the program ended"),
            registry,
        })
    }

    /// The whole registry in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut encoded = String::new();
        // Writing into a String does not fail; what could be encoded is served all the same.
        if let Err(error) = text::encode(&mut encoded, &self.registry) {
            tracing::error!(%error, "Metrics could not be encoded");
        }
        encoded
    }

    /// A request was answered; `reason` is `None` when the answer is the upstream's.
    pub fn request(&self, code: StatusCode, reason: Option<Reason>) {
        let reason = reason.map_or("", |reason| reason.row().label);
        self.requests.get_or_create(&RequestLabels { code: code.as_u16(), reason }).inc();
    }

    /// An authenticator looked at a request.
    pub fn authentication(&self, method: &'static str, result: &'static str) {
        self.authentications.get_or_create(&[("method", method), ("result", result)]).inc();
    }

    /// An authorizer was asked about a request.
    pub fn authorization(&self, authorizer: &'static str, decision: &'static str) {
        self.authorizations.get_or_create(&[("authorizer", authorizer), ("decision", decision)]).inc();
    }

    /// The API server was called, retries included.
    pub fn api_call(&self, kind: &'static str, result: &'static str, duration: Duration) {
        self.api_calls.get_or_create(&[("kind", kind), ("result", result)]).observe(duration.as_secs_f64());
    }

    /// A cache was looked into.
    pub fn cache(&self, cache: &'static str, outcome: &'static str) {
        self.cache_lookups.get_or_create(&[("cache", cache), ("outcome", outcome)]).inc();
    }

    /// How many entries a cache holds.
    pub fn cache_size(&self, cache: &'static str, entries: u64) {
        self.cache_entries.get_or_create(&[("cache", cache)]).set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// A watched file changed.
    pub fn reload(&self, subject: &'static str, result: &'static str) {
        self.reloads.get_or_create(&[("subject", subject), ("result", result)]).inc();
    }

    /// An issuer was asked for its keys.
    pub fn issuer_asked(&self, result: &'static str) {
        self.issuer_askings.get_or_create(&[("result", result)]).inc();
    }

    /// When a certificate in use ends, in seconds since 1970.
    pub fn certificate_not_after(&self, subject: &'static str, not_after: i64) {
        self.certificates.get_or_create(&[("subject", subject)]).set(not_after);
    }

    /// A client connected.
    pub fn connection(&self, listener: &'static str) -> OpenConnection {
        let gauge = self.connections.get_or_create(&[("listener", listener)]).clone();
        gauge.inc();
        OpenConnection(gauge)
    }

    /// A client's connection, or its stream, was ended here by a limit: the flag's name.
    pub fn connection_cut(&self, limit: &'static str) {
        self.connections_cut.get_or_create(&[("limit", limit)]).inc();
    }

    /// A log line was given up.
    pub fn log_line_dropped(&self) {
        self.log_lines_dropped.inc();
    }

    /// A defect ended a task.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn counted<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn in_seconds<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn api_calls() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_openmetrics_text() {
        let metrics = Metrics::new("kube_rbac_proxy", "1.2.3");
        metrics.request(StatusCode::FORBIDDEN, Some(Reason::NotAllowed));
        metrics.request(StatusCode::OK, None);
        let open = metrics.connection("secure");
        metrics.log_line_dropped();
        let text = metrics.encode();
        for line in [
            "kube_rbac_proxy_build_info{version=\"1.2.3\"} 1",
            "kube_rbac_proxy_requests_total{code=\"403\",reason=\"not_allowed\"} 1",
            "kube_rbac_proxy_requests_total{code=\"200\",reason=\"\"} 1",
            "kube_rbac_proxy_connections{listener=\"secure\"} 1",
            "kube_rbac_proxy_log_lines_dropped_total 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        drop(open);
        assert!(metrics.encode().contains("kube_rbac_proxy_connections{listener=\"secure\"} 0"));
    }
}
