mod deciding;

use std::{convert::Infallible, fs, sync::Arc, time::Duration};

use kube_api::{Api, Health};
use observe::Metrics;
use proxy::{Drain, Readiness, StatusLine};
use settings::{Reloadable, ServingPair, UpstreamRoots, Watched, followed, now, watch};

pub(crate) use self::deciding::DecidingFiles;
use self::deciding::{open, said};
use crate::settings::Sources;

/// How often everything but the serving pair is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// All that was read from files, and follows them.
pub(crate) struct Files {
    pub(crate) serving: Arc<Watched<ServingPair>>,
    pub(crate) upstream_roots: Option<Arc<Watched<UpstreamRoots>>>,
    /// What the upstream is shown.
    pub(crate) upstream_pair: Option<Arc<Watched<ServingPair>>>,
    pub(crate) deciding: DecidingFiles,
}

impl Files {
    /// Opens each file that a flag names; all that are of no use are named among `errors`.
    pub(crate) fn open(sources: Sources, errors: &mut Vec<String>) -> Option<Self> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let serving = ServingPair::open_or_make(sources.pair.clone(), &[host.trim().to_owned()]);
        let serving = serving.map_err(|why| errors.push(why.to_string()));
        let upstream_roots = open(sources.upstream_ca.clone(), |path| UpstreamRoots::open("--upstream-ca-file", path), errors);
        let upstream_pair = open(
            sources.upstream_pair.clone(),
            |(certificate, key)| ServingPair::open("--upstream-client-cert-file, --upstream-client-key-file", certificate, key),
            errors,
        );
        let deciding = DecidingFiles::open(sources, errors);
        Some(Self { serving: serving.ok()?, upstream_roots: upstream_roots?, upstream_pair: upstream_pair?, deciding: deciding? })
    }

    /// Says what is doubtful in today's files.
    pub(crate) fn warn(&self, metrics: &Metrics) {
        metrics.certificate_not_after("serving", self.serving.current().not_after);
        if let Some(pair) = &self.upstream_pair {
            metrics.certificate_not_after("upstream_client", pair.current().not_after);
        }
        for doubt in self.doubts() {
            tracing::warn!("{doubt}");
        }
    }

    /// What is doubtful in today's files, each with the flag that names them.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let pair = self.serving.current().warning(now()).map(|warning| format!("--tls-cert-file: {warning}"));
        let skipped = self.upstream_roots.iter().flat_map(|roots| said("--upstream-ca-file", &roots.current().skipped));
        let shown = self.upstream_pair.as_ref().and_then(|pair| pair.current().warning(now()));
        let shown = shown.map(|warning| format!("--upstream-client-cert-file: {warning}"));
        pair.into_iter().chain(skipped).chain(shown).chain(self.deciding.doubts()).collect()
    }

    /// Looks at the files for ever.
    pub(crate) async fn follow(&self, pair_interval: Duration, metrics: &Metrics) -> Infallible {
        let report = |flags, outcome| {
            metrics.reload(flags, outcome);
            if outcome == "replaced" {
                self.warn(metrics);
            }
        };
        watch(self.followed(pair_interval), report).await
    }

    /// What `/readyz` shows of the files and of the API server.
    pub(crate) fn readiness(&self, drain: Drain, api: Option<Arc<Api>>) -> Readiness {
        let serving = Arc::clone(&self.serving);
        let followed = self.followed(INTERVAL);
        Readiness::new(drain, move || {
            let pair = serving.current();
            let certificate = StatusLine {
                name: "serving-certificate",
                ok: pair.warning(now()).is_none(),
                detail: format!("notAfter={} ({} s from now)", pair.not_after, pair.not_after - now()),
            };
            let files = followed.iter().map(|(_, entry)| {
                let status = entry.status();
                let detail = status.last_error.clone().unwrap_or_else(|| format!("read {} s ago", status.age.as_secs()));
                StatusLine { name: entry.subject(), ok: status.last_error.is_none(), detail }
            });
            let api = api.iter().map(|api| api_line(&api.health()));
            [certificate].into_iter().chain(api).chain(files).collect()
        })
    }

    fn followed(&self, pair_interval: Duration) -> Vec<(Duration, Arc<dyn Reloadable>)> {
        let others = followed(&self.upstream_roots).chain(followed(&self.upstream_pair)).chain(self.deciding.followed());
        followed([&self.serving]).map(|pair| (pair_interval, pair)).chain(others.map(|entry| (INTERVAL, entry))).collect()
    }
}

fn api_line(health: &Health) -> StatusLine {
    let (ok, detail) = match health {
        Health::Untried => (true, "not asked yet".to_owned()),
        Health::Reachable { since } => (true, format!("answering for {} s", since.elapsed().as_secs())),
        Health::Failing { since, why } => (false, format!("failing for {} s: {why}", since.elapsed().as_secs())),
    };
    StatusLine { name: "kube-api", ok, detail }
}
