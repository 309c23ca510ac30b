//! From flags to settings: each value checked, alone and beside the others, before anything is opened.

mod deciders;
mod listeners;
mod oidc;
mod upstream;

use std::{env, path::PathBuf, time::Duration};

use auth::IdentityHeaders;
use command::{Findings, choice, pair, path, time, tls_settings};
use go_compat::quote;
use http::{HeaderName, HeaderValue};
use kube_api::ApiSettings;
use observe::Format;
use proxy::{Http2, Limits};
use request::OddPaths;
use settings::PathLists;

pub(crate) use command::TlsSettings;

pub(crate) use self::{
    deciders::{Deciders, Method, Mode},
    listeners::Listeners,
    oidc::Oidc,
    upstream::UpstreamSettings,
};
use crate::{VERSION, flags::Options};

/// What the program does, finished but for what files say.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listeners: Listeners,
    pub(crate) reload_interval: Duration,
    pub(crate) tls: TlsSettings,
    pub(crate) http2: Option<Http2>,
    pub(crate) limits: Limits,
    pub(crate) max_connections: usize,
    pub(crate) grace: Duration,
    pub(crate) upstream: UpstreamSettings,
    pub(crate) deciding: Deciding,
    /// The headers that say who asks: never taken from clients, set only when asked for.
    pub(crate) identity: IdentityHeaders,
    pub(crate) tells_identity: bool,
}

/// How requests are decided, finished but for what files say.
#[derive(Debug)]
pub(crate) struct Deciding {
    pub(crate) deciders: Deciders,
    pub(crate) oidc: Option<Oidc>,
    pub(crate) paths: PathLists,
    pub(crate) odd_paths: OddPaths,
    pub(crate) audiences: Vec<String>,
    pub(crate) compat_api_errors: bool,
    /// How long answers of the API server count.
    pub(crate) token_ttl: Duration,
    pub(crate) allow_ttl: Duration,
    pub(crate) deny_ttl: Duration,
}

/// What is to be opened, each file by itself: one that is of no use keeps no other fault from being found.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Certificate and key; without them a self-signed pair is made.
    pub(crate) pair: Option<(PathBuf, PathBuf)>,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) upstream_ca: Option<PathBuf>,
    /// Certificate and key to show the upstream.
    pub(crate) upstream_pair: Option<(PathBuf, PathBuf)>,
    pub(crate) config: Option<PathBuf>,
    /// Headers that only this program writes: no decision can be about a client's.
    pub(crate) managed: Vec<HeaderName>,
    /// In its place, the bare attributes of 2018.
    pub(crate) attributes: Option<PathBuf>,
    pub(crate) tokens: Option<PathBuf>,
    pub(crate) oidc_ca: Option<PathBuf>,
    pub(crate) manifests: Vec<PathBuf>,
    /// `None`: nobody needs to ask the API server.
    pub(crate) api: Option<ApiSettings>,
}

/// What came of a check: what is to be opened, settings if nothing is wrong, and what is.
pub(crate) type Checked<T> = (Sources, Option<T>, Findings);

/// Checks everything that can be checked without opening a file.
pub(crate) fn check(options: &Options) -> Checked<Settings> {
    checked(options, read)
}

/// [`check`] for what decides about requests, which need not arrive or go anywhere.
pub(crate) fn check_deciding(options: &Options) -> Checked<Deciding> {
    checked(options, |_, deciding, _| Some(deciding))
}

fn checked<T>(options: &Options, rest: impl FnOnce(&Options, Deciding, &mut Findings) -> Option<T>) -> Checked<T> {
    let mut findings = Findings::default();
    if env::var_os("KUBE_RBAC_PROXY_CONFIG").is_some_and(|text| !text.is_empty()) {
        findings.error("KUBE_RBAC_PROXY_CONFIG is a fork's and is not read: write what it says into a file, in upstream's form, and name it by --config-file");
    }
    let deciding = deciding(options, &mut findings);
    let sources = sources(options, &deciding.deciders, &mut findings);
    let settings = rest(options, deciding, &mut findings);
    (sources, settings.filter(|_| findings.errors.is_empty()), findings)
}

/// `--log-format`, with which everything else is said.
pub(crate) fn log_format(options: &Options) -> Result<Format, String> {
    choice("log-format", &options.log_format, [("text", Format::Text), ("json", Format::Json)])
}

fn read(options: &Options, deciding: Deciding, findings: &mut Findings) -> Option<Settings> {
    let listeners = listeners::read(options, findings);
    let reload_interval = time("tls-reload-interval", options.tls_reload_interval, findings);
    let tls = tls_settings(&options.tls_min_version, &options.tls_cipher_suites, &options.tls_curve_preferences, findings);
    let http2 = http2(options, findings);
    let limits = limits(options, findings);
    let max_connections = options.max_connections as usize;
    let grace = time("shutdown-grace", options.shutdown_grace, findings);
    let (upstream, identity) = (upstream::read(options, findings), identity(options, findings));
    let (upstream, identity, tells_identity) = (upstream?, identity?, options.auth_header_fields_enabled);
    Some(Settings { listeners, reload_interval, tls, http2, limits, max_connections, grace, upstream, deciding, identity, tells_identity })
}

fn deciding(options: &Options, findings: &mut Findings) -> Deciding {
    let oidc = oidc::read(options, findings);
    let deciders = deciders::read(options, findings);
    if options.auth_token_audiences.iter().any(String::is_empty) {
        findings.error("--auth-token-audiences: an audience is empty: write each between commas");
    }
    let paths = PathLists::parse(&options.allow_paths, &options.ignore_paths).unwrap_or_else(|errors| {
        findings.errors.extend(errors);
        PathLists::default()
    });
    let token_ttl = time("authentication-token-webhook-cache-ttl", options.token_ttl, findings);
    let allow_ttl = time("authorization-webhook-cache-authorized-ttl", options.allow_ttl, findings);
    let deny_ttl = time("authorization-webhook-cache-unauthorized-ttl", options.deny_ttl, findings);
    let odd_paths = OddPaths { encoded_slashes: options.allow_encoded_slashes, parameters: options.allow_path_parameters };
    let (audiences, compat_api_errors) = (options.auth_token_audiences.clone(), options.compat_api_errors);
    Deciding { deciders, oidc, paths, odd_paths, audiences, compat_api_errors, token_ttl, allow_ttl, deny_ttl }
}

fn sources(options: &Options, deciders: &Deciders, findings: &mut Findings) -> Sources {
    if !options.config_file.is_empty() && !options.resource_attributes_file.is_empty() {
        findings.error("--config-file and --resource-attributes-file both say what requests are authorized against: give one");
    }
    Sources {
        pair: pair(("--tls-cert-file", &options.tls_cert_file), ("--tls-private-key-file", &options.tls_private_key_file), findings),
        client_ca: path(&options.client_ca_file),
        upstream_ca: path(&options.upstream_ca_file),
        upstream_pair: pair(
            ("--upstream-client-cert-file", &options.upstream_cert),
            ("--upstream-client-key-file", &options.upstream_key),
            findings,
        ),
        config: path(&options.config_file),
        managed: [&options.auth_header_user_field_name, &options.auth_header_groups_field_name]
            .into_iter()
            .filter_map(|name| HeaderName::try_from(name).ok())
            .collect(),
        attributes: path(&options.resource_attributes_file),
        tokens: path(&options.token_auth_file).filter(|_| deciders.methods.contains(&Method::TokenFile)),
        oidc_ca: path(&options.oidc_ca_file).filter(|_| deciders.methods.contains(&Method::Oidc)),
        manifests: options.rbac_manifests.iter().map(PathBuf::from).filter(|_| deciders.modes.contains(&Mode::Rbac)).collect(),
        api: deciders.need_api().then(|| api(options, findings)),
    }
}

fn api(options: &Options, findings: &mut Findings) -> ApiSettings {
    if !options.kube_api_qps.is_finite() {
        findings.error("--kube-api-qps: it must be a finite number");
    }
    // As in Go, what is not above zero is not set.
    let qps = (options.kube_api_qps > 0.0).then_some(options.kube_api_qps);
    let burst = u32::try_from(options.kube_api_burst).ok().filter(|burst| *burst > 0);
    if burst.is_some() && qps.is_none() {
        findings.warn("--kube-api-burst is without effect: it needs --kube-api-qps");
    }
    let user_agent = format!("kube-rbac-proxy/{VERSION} ({}/{})", env::consts::OS, env::consts::ARCH);
    ApiSettings { kubeconfig: path(&options.kubeconfig), overrides: None, user_agent, qps, burst, strict_audiences: false }
}

fn http2(options: &Options, findings: &mut Findings) -> Option<Http2> {
    /// Go's, where 0 is given.
    const STREAMS: u32 = 250;
    const SIZE: u32 = 1 << 20;
    /// HTTP/2's own bound for a window.
    const MAX_SIZE: u32 = i32::MAX.unsigned_abs();
    if options.http2_max_size > MAX_SIZE {
        findings.error(format!("--http2-max-size: {} is too much: it must be at most {MAX_SIZE}", options.http2_max_size));
    }
    let or = |given, default| if given == 0 { default } else { given };
    (!options.http2_disable).then(|| Http2 {
        max_concurrent_streams: or(options.http2_max_concurrent_streams, STREAMS),
        max_size: or(options.http2_max_size, SIZE),
    })
}

fn limits(options: &Options, findings: &mut Findings) -> Limits {
    /// Less would refuse what every browser sends; more is no limit.
    const HEAD_BYTES: std::ops::RangeInclusive<u32> = 1024..=16 << 20;
    if !HEAD_BYTES.contains(&options.max_header_bytes) {
        let (least, most) = HEAD_BYTES.into_inner();
        findings.error(format!("--max-header-bytes: {}: it must be from {least} to {most}", options.max_header_bytes));
    }
    if options.max_connections == 0 {
        findings.error("--max-connections: 0 would serve nobody");
    }
    let mut bound = |flag: &str, value| {
        let time = time(flag, value, findings);
        if time.is_zero() {
            findings.error(format!("--{flag}: 0 would be no limit: give a time, such as 10s"));
        }
        time
    };
    Limits {
        handshake: bound("tls-handshake-timeout", options.tls_handshake_timeout),
        head: bound("read-header-timeout", options.read_header_timeout),
        idle: bound("idle-timeout", options.idle_timeout),
        write: bound("write-timeout", options.write_timeout),
        head_bytes: options.max_header_bytes as usize,
    }
}

fn identity(options: &Options, findings: &mut Findings) -> Option<IdentityHeaders> {
    /// Written by HTTP itself, or removed on the way.
    const TAKEN: [&str; 8] = ["host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "x-forwarded-for"];
    let mut name = |flag: &str, text: &str| {
        let why = match HeaderName::try_from(text) {
            Ok(name) if !TAKEN.contains(&name.as_str()) => return Some(name),
            Ok(_) => "has a meaning of its own: give another name",
            Err(_) => "is no name of a header: letters, digits and dashes",
        };
        findings.error(format!("--{flag}: {} {why}", quote(text)));
        None
    };
    let user = name("auth-header-user-field-name", &options.auth_header_user_field_name);
    let groups = name("auth-header-groups-field-name", &options.auth_header_groups_field_name);
    let separator = options.auth_header_groups_field_separator.clone();
    if HeaderValue::from_str(&separator).is_err() || separator.contains('\t') {
        findings.error("--auth-header-groups-field-separator has a character that no header can have");
    }
    if separator.is_empty() && options.auth_header_fields_enabled {
        findings.warn("--auth-header-groups-field-separator is empty: the upstream cannot tell one group from two");
    }
    let headers = IdentityHeaders { user: user?, groups: groups?, separator };
    if headers.user == headers.groups {
        findings.error("--auth-header-user-field-name and --auth-header-groups-field-name are the same name: give two");
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use go_compat::GoDuration;

    use super::*;

    fn minimal() -> Options {
        Options { secure_listen_address: ":8443".into(), upstream: "http://127.0.0.1:8081/".into(), ..(crate::flags::PROGRAM.defaults)() }
    }

    #[test]
    fn the_least_is_enough() {
        let (_, settings, Findings { warnings, errors }) = check(&minimal());
        assert_eq!((settings.is_some(), warnings, errors), (true, vec![], vec![]));
    }

    #[test]
    fn all_errors_are_found_at_once() {
        let options = Options {
            upstream: "ftp://x".into(),
            proxy_endpoints_port: 70_000,
            tls_cert_file: "c".into(),
            tls_reload_interval: GoDuration::from_secs(-1),
            idle_timeout: GoDuration::from_secs(0),
            max_header_bytes: 1,
            auth_header_user_field_name: "a b".into(),
            auth_header_groups_field_name: "Host".into(),
            ..(crate::flags::PROGRAM.defaults)()
        };
        let (_, settings, Findings { errors, .. }) = check(&options);
        assert!(settings.is_none());
        assert_eq!(
            errors,
            [
                "--tls-cert-file needs --tls-private-key-file",
                "no listener: give --secure-listen-address, such as :8443",
                "--proxy-endpoints-port: 70000 is no port: it must be from 1 to 65535",
                "--tls-reload-interval: -1s is below zero",
                "--max-header-bytes: 1: it must be from 1024 to 16777216",
                "--idle-timeout: 0 would be no limit: give a time, such as 10s",
                "--upstream: \"ftp://x\" must be an http or https URL, such as http://127.0.0.1:8080/",
                "--auth-header-user-field-name: \"a b\" is no name of a header: letters, digits and dashes",
                "--auth-header-groups-field-name: \"Host\" has a meaning of its own: give another name",
            ]
        );
    }

    #[test]
    fn what_is_without_effect_is_said() {
        let options = Options {
            secure_listen_address: String::new(),
            insecure_listen_address: ":8080".into(),
            proxy_endpoints_port: 8443,
            kube_api_burst: 5,
            ..minimal()
        };
        let (.., Findings { warnings, errors }) = check(&options);
        assert_eq!(errors, [""; 0]);
        assert_eq!(
            warnings,
            [
                "--kube-api-burst is without effect: it needs --kube-api-qps",
                "--proxy-endpoints-port is without effect: it needs --secure-listen-address",
            ]
        );
    }
}
