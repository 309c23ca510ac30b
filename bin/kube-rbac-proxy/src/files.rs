use std::{convert::Infallible, fs, sync::Arc, time::Duration};

use kube_api::{Api, Health};
use observe::Metrics;
use proxy::{Drain, Readiness, StatusLine};
use request::ResourceAttributes;
use settings::{ClientCa, ConfigFile, Reload, Reloadable, ServingPair, UpstreamRoots, Watched, watch};

use crate::{program::now, settings::Sources};

/// How often authorities are looked at.
const AUTHORITIES_INTERVAL: Duration = Duration::from_secs(2);

/// All that was read from files, and follows them.
pub(crate) struct Files {
    pub(crate) serving: Arc<Watched<ServingPair>>,
    pub(crate) client_ca: Option<Arc<Watched<ClientCa>>>,
    pub(crate) upstream_roots: Option<Arc<Watched<UpstreamRoots>>>,
    config: Option<Arc<Watched<ConfigFile>>>,
}

impl Files {
    /// Opens each file that a flag names; all that are of no use are named among `errors`.
    pub(crate) fn open(sources: Sources, errors: &mut Vec<String>) -> Option<Self> {
        let mut failed = |why: &dyn std::error::Error| errors.push(why.to_string());
        let serving = match sources.pair {
            Some((certificate, key)) => {
                ServingPair::open("--tls-cert-file, --tls-private-key-file", certificate, key).map_err(|why| failed(&why))
            }
            None => self_signed().map_err(|why| failed(&why)),
        };
        let client_ca = sources.client_ca.map(|path| ClientCa::open("--client-ca-file", path).map_err(|why| failed(&why)));
        let upstream_roots = sources.upstream_ca.map(|path| UpstreamRoots::open("--upstream-ca-file", path).map_err(|why| failed(&why)));
        let config = sources.config.map(|path| ConfigFile::open("--config-file", path).map_err(|why| failed(&why)));
        Some(Self {
            serving: serving.ok()?,
            client_ca: client_ca.transpose().ok()?,
            upstream_roots: upstream_roots.transpose().ok()?,
            config: config.transpose().ok()?,
        })
    }

    /// What every request is about, if the configuration says so.
    pub(crate) fn resource(&self) -> Option<ResourceAttributes> {
        let config = self.config.as_ref()?.current();
        let given = config.resource_attributes.as_ref()?;
        Some(ResourceAttributes { verb: given.verb.clone().unwrap_or_default(), ..given.attributes.clone() })
    }

    /// Says what is doubtful in today's files.
    pub(crate) fn warn(&self, metrics: &Metrics) {
        let pair = self.serving.current();
        metrics.certificate_not_after("serving", pair.not_after);
        if let Some(warning) = pair.warning(now()) {
            tracing::warn!(flag = "--tls-cert-file", "{warning}");
        }
        for warning in self.config.iter().flat_map(|config| config.current().warnings.clone()) {
            tracing::warn!(flag = "--config-file", "{warning}");
        }
        for skipped in self.client_ca.iter().flat_map(|ca| ca.current().skipped.clone()) {
            tracing::warn!(flag = "--client-ca-file", "{skipped}");
        }
        for skipped in self.upstream_roots.iter().flat_map(|roots| roots.current().skipped.clone()) {
            tracing::warn!(flag = "--upstream-ca-file", "{skipped}");
        }
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
    pub(crate) fn readiness(&self, drain: Drain, api: Arc<Api>) -> Readiness {
        let serving = Arc::clone(&self.serving);
        let followed = self.followed(AUTHORITIES_INTERVAL);
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
            [certificate, api_line(&api.health())].into_iter().chain(files).collect()
        })
    }

    fn followed(&self, pair_interval: Duration) -> Vec<(Duration, Arc<dyn Reloadable>)> {
        let mut entries: Vec<(Duration, Arc<dyn Reloadable>)> = Vec::new();
        if !self.serving.subject().is_empty() {
            entries.push((pair_interval, Arc::clone(&self.serving) as Arc<dyn Reloadable>));
        }
        entries.extend(self.client_ca.iter().map(|ca| (AUTHORITIES_INTERVAL, Arc::clone(ca) as Arc<dyn Reloadable>)));
        entries.extend(self.upstream_roots.iter().map(|roots| (AUTHORITIES_INTERVAL, Arc::clone(roots) as Arc<dyn Reloadable>)));
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
