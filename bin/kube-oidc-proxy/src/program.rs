use std::{process::ExitCode, sync::Arc};

use ::settings::{Contents, Reloadable, ServingPair, Trust, UpstreamRoots, Watched, followed, now, tls_client, watch};
use auth::{ImpersonationGate, ImpersonationSettings, OidcSettings};
use command::{CommandLine, Findings, block_on};
use go_compat::ListenAddress;
use http::{HeaderMap, HeaderName, header};
use kube_api::{Api, Authorities, Pem, Route, environment};
use observe::{LogSettings, Metrics};
use outbound::Fetcher;
use proxy::{
    Drain, DrainTrigger, ErrorForm, Limits, Listener, ManagedHeaders, PairsByName, Places, Probes, Road, Server, ServerTls, Serving,
    Signals, listen_on, server_config,
    upstream::{Address, Speech, Upstream, client_config},
};

use crate::{
    VERSION,
    flags::{Options, PROGRAM},
    settings::{self, API_CA, API_PAIR, INTERVAL, Settings, Sources, TOKEN_TTL},
};

/// Connections of clients at a time: each watch may have one.
const CONNECTIONS: usize = 10_000;

/// Runs until a signal ends it well, or says all that is wrong.
pub(crate) fn run(line: CommandLine<Options>) -> Result<ExitCode, Vec<String>> {
    let CommandLine { options, ignored, mut errors, .. } = line;
    let metrics = Metrics::new("kube_oidc_proxy", VERSION);
    let format = settings::log_format(&options).unwrap_or_else(|why| {
        errors.push(why);
        observe::Format::default()
    });
    let verbosity = u32::try_from(options.verbosity).unwrap_or_default();
    let _log = observe::init(LogSettings { verbosity, format, access: true }, Arc::clone(&metrics))
        .map_err(|why| vec![format!("the log cannot be started: {why}")])?;
    let (sources, settings, Findings { warnings, errors: found }) = settings::check(&options);
    errors.extend(found);
    tracing::info!(version = VERSION, "Starting kube-oidc-proxy");
    if verbosity > 0 {
        PROGRAM.lines(&options).for_each(|line| tracing::info!("{line}"));
    }
    if !ignored.is_empty() {
        let flags: Vec<String> = ignored.iter().map(|name| format!("--{name}")).collect();
        tracing::warn!(flags = flags.join(", "), "These flags are without effect");
    }
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    block_on(start(sources, settings, errors, metrics))?.map(|()| ExitCode::SUCCESS)
}

/// Opens everything, and serves if nothing is wrong with any of it.
async fn start(sources: Sources, settings: Option<Settings>, mut errors: Vec<String>, metrics: Arc<Metrics>) -> Result<(), Vec<String>> {
    let files = Files::open(sources, &mut errors).await;
    let (Some(settings), Some(files)) = (settings, files) else { return Err(errors) };
    if !errors.is_empty() {
        return Err(errors);
    }
    let (trigger, drain) = DrainTrigger::new();
    let (road, probes) = handlers(&settings, &files, &metrics, &drain).map_err(|why| vec![why])?;
    let signals = Signals::open();
    let serving = bind(&settings, &files, drain, &metrics).await?;
    tokio::select! {
        () = serving.run(road, probes) => Ok(()),
        never = watch(files.followed(), |flags, outcome| metrics.reload(flags, outcome)) => match never {},
        second = signals.obey(trigger, settings.grace) => Err(vec![second]),
    }
}

/// What was read from files.
struct Files {
    serving: Arc<Watched<ServingPair>>,
    named: Vec<(Vec<String>, Arc<Watched<ServingPair>>)>,
    oidc_roots: Option<Arc<Watched<UpstreamRoots>>>,
    route: Arc<Route>,
    /// Reviews tokens, and says whom clients may act as.
    reviewer: Option<Arc<Api>>,
    api_trust: Trust,
    api_pair: Option<Arc<Watched<ServingPair>>>,
}

impl Files {
    /// Opens each file that a flag or the kubeconfig names; all that are of no use are named among `errors`.
    async fn open(sources: Sources, errors: &mut Vec<String>) -> Option<Self> {
        let serving = ServingPair::open_or_make(sources.pair, &[]).map_err(|why| errors.push(why.to_string()));
        let mut named = Vec::new();
        for (names, certificate, key) in sources.named {
            let pair = ServingPair::open("--tls-sni-cert-key", certificate, key).map_err(|why| errors.push(why.to_string()));
            named.extend(pair.map(|pair| (names, pair)));
        }
        let oidc_roots = sources.oidc_ca.map(|path| UpstreamRoots::open("--oidc-ca-file", path)).transpose();
        let oidc_roots = oidc_roots.map_err(|why| errors.push(why.to_string()));
        let route = Route::find(&sources.api).await.map_err(|why| errors.push(why.to_string())).ok()?;
        let api_trust = trust(&route.authorities).map_err(|why| errors.push(why));
        let api_pair = route.identity.clone().map(identity).transpose().map_err(|why| errors.push(why));
        let (api_trust, api_pair) = (api_trust.ok()?, api_pair.ok()?);
        let reviewer = match sources.asks {
            true => Some(Api::connect(sources.api).await.map(Arc::new).map_err(|why| errors.push(why.to_string())).ok()?),
            false => None,
        };
        Some(Self { serving: serving.ok()?, named, oidc_roots: oidc_roots.ok()?, route: Arc::new(route), reviewer, api_trust, api_pair })
    }

    fn followed(&self) -> Vec<(std::time::Duration, Arc<dyn Reloadable>)> {
        let roots = followed(&self.oidc_roots).chain(followed(self.api_trust.roots()));
        let pairs = followed([&self.serving]).chain(followed(&self.api_pair)).chain(followed(self.named.iter().map(|(_, pair)| pair)));
        roots.chain(pairs).map(|entry| (INTERVAL, entry)).collect()
    }
}

fn trust(authorities: &Authorities) -> Result<Trust, String> {
    match authorities {
        Authorities::System => Ok(Trust::System),
        Authorities::These(Pem::File(path)) => UpstreamRoots::open(API_CA, path.clone()).map(Trust::Roots).map_err(|why| why.to_string()),
        Authorities::These(Pem::Inline(bytes)) => {
            let roots = UpstreamRoots::parse(&[Contents::new("certificate-authority-data", bytes.clone())]);
            roots.map(|roots| Trust::Roots(Watched::fixed(roots))).map_err(|why| why.to_string())
        }
        Authorities::Anyone => Ok(Trust::Anyone),
    }
}

fn identity(pair: (Pem, Pem)) -> Result<Arc<Watched<ServingPair>>, String> {
    match pair {
        (Pem::File(certificate), Pem::File(key)) => ServingPair::open(API_PAIR, certificate, key).map_err(|why| why.to_string()),
        (Pem::Inline(certificate), Pem::Inline(key)) => {
            let contents = [Contents::new("client-certificate-data", certificate), Contents::new("client-key-data", key)];
            ServingPair::parse(&contents).map(Watched::fixed).map_err(|why| why.to_string())
        }
        _ => Err(format!("{API_PAIR}: one is a file and the other is in the kubeconfig: both must be of one kind")),
    }
}

/// What is behind the listeners: the road of requests, and the probes.
type Handlers = (Arc<Road<ImpersonationGate>>, Arc<Probes>);

fn handlers(settings: &Settings, files: &Files, metrics: &Arc<Metrics>, drain: &Drain) -> Result<Handlers, String> {
    let fetcher = Fetcher::new(files.oidc_roots.clone()).map_err(|why| format!("--oidc-issuer-url: TLS cannot be prepared: {why}"))?;
    let fetcher = fetcher.through(environment());
    let oidc = OidcSettings { rules: settings.rules.clone(), fetcher, ttl: TOKEN_TTL, system_authenticated: true };
    let (extra, client_ip, forwarding) = (settings.extra.clone(), settings.client_ip, settings.forwarding.clone());
    let extras = move |headers: &HeaderMap, peer| {
        let client = client_ip.then(|| ("remote-client-ip".to_owned(), forwarding.client(headers, peer).to_string()));
        client.into_iter().chain(extra.clone()).collect()
    };
    let gate = ImpersonationGate::new(ImpersonationSettings {
        oidc,
        reviewer: files.reviewer.clone().zip(settings.passthrough.clone()),
        own: (!settings.as_themselves).then(|| Arc::clone(&files.route)),
        review: files.reviewer.clone().filter(|_| settings.review),
        reserved_groups: settings.reserved_groups.clone(),
        extras: Box::new(extras),
        metrics: Arc::clone(metrics),
    });
    let gate = gate.map_err(|why| why.to_string())?;
    let tls = files
        .route
        .is_https()
        .then(|| tls_client(files.api_trust.clone()))
        .transpose()
        .map_err(|why| format!("TLS cannot be prepared: {why}"))?;
    let tls = tls.map(|config| client_config(config, files.api_pair.clone()));
    let server_name = files.route.server_name.clone().map(TryInto::try_into).transpose();
    let server_name = server_name.map_err(|why| format!("tls-server-name: {why}"))?;
    // Whatever of these a client sends stays here: `x-remote-` is how a front proxy tells the API server of a user.
    const MANAGED: [HeaderName; 1] = [header::AUTHORIZATION];
    let managed = ManagedHeaders::new(&MANAGED, &["impersonate-", "x-remote-"]);
    let speech = Speech { tls, via: files.route.proxy.clone(), server_name, forwarding: settings.forwarding.clone(), ..Speech::default() };
    let upstream = Upstream::new(address(&files.route), speech, managed);
    let ready = gate.clone();
    let road = Road { gate, upstream, livez: None, errors: ErrorForm::Status, metrics: Arc::clone(metrics) };
    Ok((Arc::new(road), Arc::new(Probes::new(Arc::clone(metrics), drain.clone(), move || ready.ready()))))
}

fn address(route: &Route) -> Address {
    let url = &route.url;
    let port = if route.is_https() { 443 } else { 80 };
    Address {
        host: url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: url.port_u16().unwrap_or(port),
        authority: url.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default(),
        base_path: url.path().to_owned(),
        base_query: String::new(),
    }
}

/// Binds every listener, or none.
async fn bind(settings: &Settings, files: &Files, drain: Drain, metrics: &Arc<Metrics>) -> Result<Serving, Vec<String>> {
    let tls = &settings.tls;
    let config = server_config(Arc::clone(&files.serving), tls.suites.clone(), &tls.versions, tls.groups.clone(), settings.http2.is_some());
    let mut config = config.map_err(|why| vec![format!("--tls-cipher-suites, --tls-min-version: they do not fit together: {why}")])?;
    Arc::make_mut(&mut config).cert_resolver = Arc::new(PairsByName { usual: Arc::clone(&files.serving), named: files.named.clone() });
    metrics.certificate_not_after("serving", files.serving.current().not_after);
    if matches!(files.api_trust, Trust::Anyone) {
        tracing::warn!("insecure-skip-tls-verify: whoever stands between here and the API server can act as everybody");
    }
    if !files.route.is_https() {
        tracing::warn!(
            "The API server is spoken to in cleartext, and told of no token of this program: whoever stands between reads the answers, and \
             what is said of certificates is without effect"
        );
    }
    if let Some(warning) = files.serving.current().warning(now()) {
        tracing::warn!("--tls-cert-file: {warning}");
    }
    let secure = listener("--secure-port", "secure", &settings.secure, Some(config)).await;
    let probes = listener("--readiness-probe-port", "endpoints", &settings.probes, None).await;
    let (secure, probes) = match (secure, probes) {
        (Ok(secure), Ok(probes)) => (secure, probes),
        (secure, probes) => return Err([secure.err(), probes.err()].into_iter().flatten().collect()),
    };
    let limits: Limits = settings.limits;
    let server = Server { limits, http2: settings.http2, metrics: Arc::clone(metrics), drain, places: Places::new(CONNECTIONS) };
    Ok(Serving { server, road: vec![secure], endpoints: vec![probes] })
}

async fn listener(flag: &str, name: &'static str, address: &ListenAddress, tls: Option<ServerTls>) -> Result<Listener, String> {
    let socket = listen_on(address).await.map_err(|why| format!("{flag}: {address} cannot be listened on: {why}"))?;
    Ok(Listener { name, socket, tls })
}
