use std::{process::ExitCode, sync::Arc};

use ::settings::tls_client;
use auth::RequestGate;
use command::{CommandLine, Findings, Version, block_on};
use kube_api::Api;
use observe::{LogSettings, Metrics};
use proxy::{
    Drain, DrainTrigger, Endpoints, ErrorForm, ManagedHeaders, Road, Signals,
    upstream::{Speech, Upstream, client_config},
};

use crate::{
    VERSION,
    files::Files,
    flags::{Options, PROGRAM},
    gate, serve,
    settings::{self, Settings, Sources},
    wider,
};

/// What no client may say to the upstream beside the identity headers, which are configured: that it is somebody else, and
/// that its request is another than the one that was decided.
const MANAGED: [&str; 3] = ["impersonate-", "x-http-method", "x-method-override"];

/// Runs until a signal ends it well, or says all that is wrong.
pub(crate) fn run(line: CommandLine<Options>) -> Result<ExitCode, Vec<String>> {
    let CommandLine { options, ignored, mut errors, .. } = line;
    let metrics = Metrics::new("kube_rbac_proxy", VERSION);
    let format = settings::log_format(&options).unwrap_or_else(|why| {
        errors.push(why);
        observe::Format::default()
    });
    let verbosity = u32::try_from(options.verbosity).unwrap_or_default();
    let _log = observe::init(LogSettings { verbosity, format, access: false }, Arc::clone(&metrics))
        .map_err(|why| vec![format!("the log cannot be started: {why}")])?;
    let (sources, settings, Findings { warnings, errors: found }) = settings::check(&options);
    errors.extend(found);
    say(&options, &ignored, &warnings, verbosity);
    block_on(start(sources, settings, errors, metrics))?.map(|()| ExitCode::SUCCESS)
}

fn say(options: &Options, ignored: &[&str], warnings: &[String], verbosity: u32) {
    tracing::info!(version = VERSION, "Starting kube-rbac-proxy");
    if verbosity > 0 {
        PROGRAM.lines(options).for_each(|line| tracing::info!("{line}"));
    }
    if !ignored.is_empty() {
        let flags: Vec<String> = ignored.iter().map(|name| format!("--{name}")).collect();
        tracing::warn!(flags = flags.join(", "), "These flags are without effect");
    }
    if options.version == Version::Changed {
        tracing::warn!("--version is without effect: the version cannot be changed");
    }
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
}

/// Opens everything, and serves if nothing is wrong with any of it.
async fn start(sources: Sources, settings: Option<Settings>, mut errors: Vec<String>, metrics: Arc<Metrics>) -> Result<(), Vec<String>> {
    let api = gate::connect(&sources, &mut errors).await;
    let files = Files::open(sources, &mut errors);
    let (Some(settings), Some(files), Some(api)) = (settings, files, api) else { return Err(errors) };
    if !errors.is_empty() {
        return Err(errors);
    }
    if let Some(proxy) = &settings.upstream.speech.via {
        tracing::info!(%proxy, "The upstream is reached through the proxy that the environment names");
    }
    let wider = wider::rows(&settings, &files);
    if !wider.is_empty() {
        tracing::warn!(rows = wider.join(", "), "More passes than in the Go program: see \"Wider\" in docs/compatibility.md");
    }
    files.warn(&metrics);

    let (trigger, drain) = DrainTrigger::new();
    let (road, endpoints) = handlers(&settings, &files, api, &metrics, &drain).map_err(|why| vec![why])?;
    let signals = Signals::open();
    let serving = serve::bind(&settings, &files, drain, &metrics).await?;
    tokio::select! {
        () = serving.run(road, endpoints) => Ok(()),
        never = files.follow(settings.reload_interval, &metrics) => match never {},
        second = signals.obey(trigger, settings.grace) => Err(vec![second]),
    }
}

/// What is behind the listeners: the road of requests, and the program's own endpoints.
type Handlers = (Arc<Road<RequestGate>>, Arc<Endpoints<RequestGate>>);

fn handlers(settings: &Settings, files: &Files, api: Option<Arc<Api>>, metrics: &Arc<Metrics>, drain: &Drain) -> Result<Handlers, String> {
    let identity = &settings.identity;
    let headers = settings.tells_identity.then(|| identity.clone());
    let gate = gate::open(&settings.deciding, &files.deciding, api.as_ref(), headers, metrics)?;
    let tls = settings.upstream.secure.then(|| tls_client(files.upstream_roots.clone())).transpose();
    let tls = tls.map_err(|why| format!("--upstream: TLS cannot be prepared: {why}"))?;
    let tls = tls.map(|config| client_config(config, files.upstream_pair.clone()));
    let managed = ManagedHeaders::new([&identity.user, &identity.groups], &MANAGED);
    let upstream = Upstream::new(settings.upstream.address.clone(), Speech { tls, ..settings.upstream.speech.clone() }, managed);
    let endpoints = Endpoints { gate: gate.for_paths(), metrics: Arc::clone(metrics), readiness: files.readiness(drain.clone(), api) };
    let road = Road { gate, upstream, livez: settings.listeners.livez.clone(), errors: ErrorForm::Text, metrics: Arc::clone(metrics) };
    Ok((Arc::new(road), Arc::new(endpoints)))
}
