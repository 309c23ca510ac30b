mod deciding;

use std::{
    convert::Infallible,
    fs,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kube_api::{Api, Health};
use observe::Metrics;
use proxy::{Drain, Readiness, StatusLine};
use settings::{Reload, Reloadable, ServingPair, UpstreamRoots, Watched, watch};

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
        let serving = match &sources.pair {
            Some((certificate, key)) => ServingPair::open("--tls-cert-file, --tls-private-key-file", certificate.clone(), key.clone())
                .map_err(|why| why.to_string()),
            None => self_signed().map_err(|why| why.to_string()),
        };
        let serving = serving.map_err(|why| errors.push(why));
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
        watch(self.followed(pair_interval), |entry, outcome| match outcome {
            Reload::Unchanged => {}
            Reload::Replaced => {
                metrics.reload(entry.subject(), "replaced");
                tracing::info!(flags = entry.subject(), "Files have changed and are in use");
                self.warn(metrics);
            }
            Reload::Kept(why) => {
                metrics.reload(entry.subject(), "kept");
                tracing::error!(error = %why, "Files have changed and are of no use: what they held before stays in use");
            }
        })
        .await
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
        let mut entries: Vec<(Duration, Arc<dyn Reloadable>)> = Vec::new();
        if !self.serving.subject().is_empty() {
            entries.push((pair_interval, Arc::clone(&self.serving) as Arc<dyn Reloadable>));
        }
        let roots = self.upstream_roots.clone().map(|roots| roots as Arc<dyn Reloadable>);
        let pair = self.upstream_pair.clone().map(|pair| pair as Arc<dyn Reloadable>);
        entries.extend(roots.into_iter().chain(pair).chain(self.deciding.followed()).map(|entry| (INTERVAL, entry)));
        entries
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

fn self_signed() -> Result<Arc<Watched<ServingPair>>, settings::serving::SelfSignedError> {
    tracing::info!("No --tls-cert-file is given: a self-signed certificate is made, which clients cannot verify");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    ServingPair::self_signed(&[host.trim().to_owned()]).map(Watched::fixed)
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
