//! From flags to settings: each value checked, alone and beside the others, before anything is opened.

use std::{env, net::IpAddr, path::PathBuf, time::Duration};

use auth::{Algorithm, OidcSettings, TokenRules};
use command::{Findings, TlsSettings, choice, pair, path, time, tls_settings, trusted};
use go_compat::{ListenAddress, quote};
use kube_api::{ApiSettings, Overrides};
use observe::Format;
use proxy::{Forwarding, Http2, Limits};

use crate::{VERSION, flags::Options};

/// What files are called in the log.
pub(crate) const API_CA: &str = "certificate-authority";
pub(crate) const API_PAIR: &str = "client-certificate, client-key";

/// How often files are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);
/// How long a verified token counts without another look, and no longer than it says itself.
pub(crate) const TOKEN_TTL: Duration = Duration::from_secs(120);

/// What a client may cost, as in the Go program where that has a bound.
const LIMITS: Limits = Limits {
    head_bytes: 1 << 20,
    handshake: Duration::from_secs(10),
    head: Duration::from_secs(32),
    idle: Duration::from_secs(90),
    // Whoever reads a log may take a pause; the Go program waits without end.
    write: Duration::from_secs(3600),
};

/// What the program does, finished but for what files say.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) secure: ListenAddress,
    pub(crate) probes: ListenAddress,
    pub(crate) tls: TlsSettings,
    pub(crate) http2: Option<Http2>,
    pub(crate) limits: Limits,
    pub(crate) grace: Duration,
    pub(crate) rules: TokenRules,
    pub(crate) review: bool,
    pub(crate) reserved_groups: Vec<String>,
    /// For which audiences the API server reviews tokens; `None`: it reviews none.
    pub(crate) passthrough: Option<Vec<String>>,
    /// Everybody acts as himself.
    pub(crate) as_themselves: bool,
    /// What is told of every user.
    pub(crate) extra: Vec<(String, String)>,
    /// Whether the client's address is told too.
    pub(crate) client_ip: bool,
    pub(crate) forwarding: Forwarding,
}

/// What is to be opened.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Certificate and key; without them a self-signed pair is made.
    pub(crate) pair: Option<(PathBuf, PathBuf)>,
    pub(crate) oidc_ca: Option<PathBuf>,
    pub(crate) named: Vec<NamedPair>,
    pub(crate) api: ApiSettings,
    /// Whether the API server is asked: about tokens, or whom clients may act as.
    pub(crate) asks: bool,
}

/// One of `--tls-sni-cert-key`: its names in small letters, without some those of the certificate; certificate and key.
pub(crate) type NamedPair = (Vec<String>, PathBuf, PathBuf);

/// Checks everything that can be checked without opening a file. There are settings if nothing is wrong.
pub(crate) fn check(options: &Options) -> (Sources, Option<Settings>, Findings) {
    let mut findings = Findings::default();
    let usual = pair(("--tls-cert-file", &options.tls_cert_file), ("--tls-private-key-file", &options.tls_private_key_file), &mut findings);
    let named = options.tls_sni_cert_key.iter().map(|text| named_pair(text));
    let named: Vec<_> = named.filter_map(|pair| pair.map_err(|why| findings.error(why)).ok()).collect();
    // As in Go the first of them is for all others, where no other is.
    let usual = usual.or_else(|| named.first().map(|(_, certificate, key)| (certificate.clone(), key.clone())));
    let asks = options.token_passthrough || review(options).unwrap_or_default();
    let sources = Sources { pair: usual, oidc_ca: path(&options.oidc_ca_file), named, api: api(options, &mut findings), asks };
    let settings = read(options, &mut findings);
    (sources, settings.filter(|_| findings.errors.is_empty()), findings)
}

/// `--log-format`, with which everything else is said.
pub(crate) fn log_format(options: &Options) -> Result<Format, String> {
    choice("log-format", &options.log_format, [("text", Format::Text), ("json", Format::Json)])
}

fn read(options: &Options, findings: &mut Findings) -> Option<Settings> {
    let rules = rules(options, findings);
    let secure = match options.bind_address.parse::<IpAddr>() {
        Ok(ip) => Some((ip, options.secure_port)),
        Err(_) => {
            findings.error(format!("--bind-address: {} is no IP address", quote(&options.bind_address)));
            None
        }
    };
    let secure = secure.and_then(|(ip, port)| listen_address("secure-port", ip, port, findings));
    let probes = listen_address("readiness-probe-port", [0, 0, 0, 0].into(), options.readiness_probe_port, findings);
    if options.secure_port == options.readiness_probe_port {
        findings.error("unable to securely serve on port 8080 (used by readiness probe)");
    }
    let tls = tls_settings(&options.tls_min_version, &options.tls_cipher_suites, &[], findings);
    let review = review(options).unwrap_or_else(|why| {
        findings.error(why);
        false
    });
    let grace = time("shutdown-grace", options.shutdown_grace, findings);
    let http2 = http2(options, findings);
    let audiences = &options.token_passthrough_audiences;
    if !audiences.is_empty() && !options.token_passthrough {
        findings.warn("--token-passthrough-audiences is without effect: it needs --token-passthrough");
    }
    let (extra, client_ip) = (extra(&options.extra_user_headers, findings), options.extra_user_header_client_ip);
    if options.disable_impersonation && review {
        findings.warn("--inbound-impersonation=review is without effect: it needs the impersonation that --disable-impersonation disables");
    }
    for group in options.allow_reserved_groups.iter().filter(|group| !group.starts_with("system:")) {
        findings.warn(format!("--allow-reserved-groups: {} is not reserved, and allowed anyway", quote(group)));
    }
    if options.disable_impersonation && (client_ip || !options.extra_user_headers.is_empty()) {
        findings.error("cannot add extra user headers when impersonation disabled");
    }
    Some(Settings {
        secure: secure?,
        probes: probes?,
        tls,
        http2,
        limits: LIMITS,
        grace,
        rules,
        review,
        reserved_groups: options.allow_reserved_groups.clone(),
        passthrough: options.token_passthrough.then(|| audiences.clone()),
        as_themselves: options.disable_impersonation,
        extra,
        client_ip,
        forwarding: Forwarding::new(trusted(&options.trusted_proxies, findings), false),
    })
}

/// `--inbound-impersonation`: whether it is `review`.
fn review(options: &Options) -> Result<bool, String> {
    choice("inbound-impersonation", &options.inbound_impersonation, [("deny", false), ("review", true)])
}

/// A key may be there again, and is in small letters, as it arrives in Go.
fn extra(pairs: &[String], findings: &mut Findings) -> Vec<(String, String)> {
    let is_exact = |value: &str| value.trim() == value && !value.contains(|c: char| c == '=' || c.is_control());
    let mut extra = Vec::new();
    for pair in pairs {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() && is_exact(value) => extra.push((key.to_ascii_lowercase(), value.to_owned())),
            _ => findings.error(format!("--extra-user-headers: {pair} must be formatted as key=value")),
        }
    }
    extra
}

fn listen_address(flag: &str, ip: IpAddr, port: i64, findings: &mut Findings) -> Option<ListenAddress> {
    if !(1..=65535).contains(&port) {
        findings.error(format!("--{flag} {port} must be between 1 and 65535, inclusive. It cannot be turned off with 0"));
        return None;
    }
    let text = if ip.is_ipv6() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    text.parse().map_err(|why| findings.error(format!("--{flag}: {text}: {why}"))).ok()
}

fn named_pair(text: &str) -> Result<NamedPair, String> {
    let (files, names) = text.split_once(':').map_or((text, None), |(files, names)| (files, Some(names.to_ascii_lowercase())));
    let split = |text: &str| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
    let (files, names) = (split(files), names.map(|names| split(&names)).unwrap_or_default());
    match &files[..] {
        [certificate, key] if !files.iter().chain(&names).any(String::is_empty) => Ok((names, certificate.into(), key.into())),
        _ => Err(format!("--tls-sni-cert-key: {} must be formatted as cert,key or cert,key:name,name", quote(text))),
    }
}

/// As in Go, 0 leaves it to the server, which takes 100.
fn http2(options: &Options, findings: &mut Findings) -> Option<Http2> {
    let streams = match u32::try_from(options.http2_max_streams_per_connection) {
        Ok(0) => 100,
        Ok(streams) => streams,
        Err(_) => {
            findings.error("--http2-max-streams-per-connection: it must be from 0 to 4294967295");
            return None;
        }
    };
    (!options.disable_http2_serving).then_some(Http2 { max_concurrent_streams: streams, max_size: 256 * 1024 })
}

fn rules(options: &Options, findings: &mut Findings) -> TokenRules {
    let issuer = options.oidc_issuer_url.as_str();
    match (issuer.is_empty(), options.oidc_client_id.is_empty()) {
        (true, true) => findings.error("--oidc-issuer-url and --oidc-client-id must be given: they say whose users may log in"),
        (false, false) => {}
        _ => findings.error("oidc-issuer-url and oidc-client-id should be specified together"),
    }
    if issuer.contains('?') {
        findings.error(format!("--oidc-issuer-url: {}: URL must not contain a query", quote(issuer)));
    }
    if let (false, Err(why)) = (issuer.is_empty(), OidcSettings::discovery(issuer)) {
        findings.error(format!("--oidc-issuer-url: {}: {why}", quote(issuer)));
    }
    if options.oidc_username_claim.is_empty() {
        findings.error("--oidc-username-claim is empty: a user needs a name");
    }
    for (flag, prefix) in [("username", &options.oidc_username_prefix), ("groups", &options.oidc_groups_prefix)] {
        if prefix.starts_with("system:") {
            findings.warn(format!("--oidc-{flag}-prefix: {} makes all reserved: such users are refused", quote(prefix)));
        }
    }
    let prefix = Some(&options.oidc_username_prefix).filter(|prefix| *prefix != "-");
    let mut required_claims = Vec::new();
    for text in &options.oidc_required_claim {
        match text.split_once('=') {
            Some((claim, _)) if required_claims.iter().any(|(required, _)| required == claim.trim()) => {
                findings.error(format!("--oidc-required-claim: {} is given twice, and no token has two values", quote(claim.trim())));
            }
            Some((claim, value)) if !claim.trim().is_empty() => required_claims.push((claim.trim().to_owned(), value.trim().to_owned())),
            _ => findings.error(format!("--oidc-required-claim: {} must be formatted as key=value", quote(text))),
        }
    }
    TokenRules {
        issuer: issuer.to_owned(),
        client_id: options.oidc_client_id.clone(),
        algorithms: algorithms(&options.oidc_signing_algs, findings),
        username_claim: options.oidc_username_claim.clone(),
        username_prefix: prefix.cloned().unwrap_or_default(),
        groups_claim: options.oidc_groups_claim.clone(),
        groups_prefix: options.oidc_groups_prefix.clone(),
        required_claims,
        // The gate refuses them in words of its own.
        allow_reserved: true,
    }
}

/// As in Go RS256, unless others are given.
fn algorithms(names: &[String], findings: &mut Findings) -> Vec<Algorithm> {
    if names.is_empty() {
        return vec![Algorithm::Rs256];
    }
    let unknown = |name: &String| format!("--oidc-signing-algs: {} is not known: RS, PS and ES with 256, 384 and 512 are", quote(name));
    names.iter().filter_map(|name| name.parse().map_err(|()| findings.error(unknown(name))).ok()).collect()
}

/// In the pod's cluster, unless one of client-go's twelve flags says where the API server is.
fn api(options: &Options, findings: &mut Findings) -> ApiSettings {
    let Options { server, tls_server_name, certificate_authority, insecure_skip_tls_verify, .. } = options.clone();
    let Options { client_certificate, client_key, token, cluster, user, context, .. } = options.clone();
    let switching = [
        &server,
        &certificate_authority,
        &client_certificate,
        &client_key,
        &token,
        &cluster,
        &user,
        &context,
        &options.kubeconfig,
        &options.namespace,
        &options.request_timeout,
    ];
    let is_given = insecure_skip_tls_verify || switching.iter().any(|text| !text.is_empty());
    if !is_given && !tls_server_name.is_empty() {
        findings.warn("--tls-server-name is without effect in the pod's cluster");
    }
    let overrides = Overrides {
        server,
        tls_server_name,
        certificate_authority,
        insecure_skip_tls_verify,
        client_certificate,
        client_key,
        token,
        cluster,
        user,
        context,
    };
    let user_agent = format!("kube-oidc-proxy/{VERSION} ({}/{})", env::consts::OS, env::consts::ARCH);
    let kubeconfig = path(&options.kubeconfig);
    ApiSettings { kubeconfig, overrides: is_given.then_some(overrides), user_agent, qps: None, burst: None, strict_audiences: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> Options {
        Options { oidc_issuer_url: "https://issuer.test".into(), oidc_client_id: "client".into(), ..(crate::flags::PROGRAM.defaults)() }
    }

    #[test]
    fn the_least_is_enough() {
        let (sources, settings, Findings { warnings, errors }) = check(&minimal());
        assert_eq!((settings.is_some(), warnings, errors), (true, vec![], vec![]));
        assert!(sources.api.overrides.is_none() && sources.api.kubeconfig.is_none(), "in the pod's cluster");
    }

    #[test]
    fn one_of_the_flags_of_a_client_leads_out_of_the_pods_cluster() {
        for change in [
            (|o| o.kubeconfig = "x".into()) as fn(&mut Options),
            |o| o.server = "x".into(),
            |o| o.certificate_authority = "x".into(),
            |o| o.insecure_skip_tls_verify = true,
            |o| o.client_certificate = "x".into(),
            |o| o.client_key = "x".into(),
            |o| o.token = "x".into(),
            |o| o.cluster = "x".into(),
            |o| o.user = "x".into(),
            |o| o.context = "x".into(),
            |o| o.namespace = "x".into(),
            |o| o.request_timeout = "0".into(),
        ] {
            let mut options = minimal();
            change(&mut options);
            assert!(check(&options).0.api.overrides.is_some(), "{options:?}");
        }
    }

    #[test]
    fn extras_are_read_as_in_the_go_program() {
        let read = |pairs: &[&str]| {
            let options = Options { extra_user_headers: pairs.iter().map(|&pair| pair.to_owned()).collect(), ..minimal() };
            let (_, settings, Findings { errors, .. }) = check(&options);
            settings
                .map(|settings| settings.extra.into_iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>())
                .ok_or(errors)
        };
        assert_eq!(read(&["k1=foo", "k2=foo", "K1=bar", "k3="]), Ok(["k1:foo", "k2:foo", "k1:bar", "k3:"].map(str::to_owned).to_vec()));
        for pair in ["k", "", "=v", "k=v=w", "k= v", "k=v\n"] {
            let why = format!("--extra-user-headers: {pair} must be formatted as key=value");
            assert_eq!(read(&["a=b", pair]), Err(vec![why]));
        }
    }

    #[test]
    fn what_is_told_of_users_needs_that_something_is_told() {
        let check = |change: fn(&mut Options)| {
            let mut options = minimal();
            change(&mut options);
            let (sources, settings, Findings { warnings, errors }) = check(&options);
            (settings.map(|settings| (settings.as_themselves, settings.passthrough, sources.asks)), warnings, errors)
        };
        let options: [fn(&mut Options); 2] = [|o| o.extra_user_header_client_ip = true, |o| o.extra_user_headers = vec!["a=b".into()]];
        for change in options {
            let mut options = Options { disable_impersonation: true, ..minimal() };
            change(&mut options);
            assert_eq!(super::check(&options).2.errors, ["cannot add extra user headers when impersonation disabled"]);
        }
        assert_eq!(check(|o| o.disable_impersonation = true), (Some((true, None, false)), vec![], vec![]));
        assert_eq!(check(|o| o.token_passthrough = true), (Some((false, Some(vec![]), true)), vec![], vec![]));
        let warning = "--token-passthrough-audiences is without effect: it needs --token-passthrough".to_owned();
        assert_eq!(check(|o| o.token_passthrough_audiences = vec!["a".into()]), (Some((false, None, false)), vec![warning], vec![]));
        let warning = "--inbound-impersonation=review is without effect: it needs the impersonation that --disable-impersonation disables";
        let both = check(|o| (o.disable_impersonation, o.inbound_impersonation) = (true, "review".into()));
        assert_eq!(both, (Some((true, None, true)), vec![warning.to_owned()], vec![]));
        let warning = "--allow-reserved-groups: \"devs\" is not reserved, and allowed anyway".to_owned();
        let groups = check(|o| o.allow_reserved_groups = vec!["devs".into(), "system:a".into()]);
        assert_eq!(groups, (Some((false, None, false)), vec![warning], vec![]));
        let warning = "--oidc-groups-prefix: \"system:x:\" makes all reserved: such users are refused".to_owned();
        assert_eq!(check(|o| o.oidc_groups_prefix = "system:x:".into()).1, [warning]);
        let why = check(|o| o.trusted_proxies = vec!["here".into()]).2;
        assert!(matches!(&why[..], [why] if why.starts_with("--trusted-proxies: \"here\": ")), "{why:?}");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_and_in_the_words_of_the_go_program() {
        let options = Options {
            oidc_client_id: String::new(),
            oidc_signing_algs: vec!["HS256".into()],
            oidc_issuer_url: "https://issuer.test?a=b".into(),
            oidc_required_claim: ["a", "b=c", "b=d", "=e"].map(str::to_owned).to_vec(),
            bind_address: "localhost".into(),
            secure_port: 0,
            readiness_probe_port: 0,
            inbound_impersonation: "allow".into(),
            tls_cert_file: "c".into(),
            ..minimal()
        };
        let (_, settings, Findings { errors, .. }) = check(&options);
        assert!(settings.is_none());
        assert_eq!(
            errors,
            [
                "--tls-cert-file needs --tls-private-key-file",
                "oidc-issuer-url and oidc-client-id should be specified together",
                "--oidc-issuer-url: \"https://issuer.test?a=b\": URL must not contain a query",
                "--oidc-required-claim: \"a\" must be formatted as key=value",
                "--oidc-required-claim: \"b\" is given twice, and no token has two values",
                "--oidc-required-claim: \"=e\" must be formatted as key=value",
                "--oidc-signing-algs: \"HS256\" is not known: RS, PS and ES with 256, 384 and 512 are",
                "--bind-address: \"localhost\" is no IP address",
                "--readiness-probe-port 0 must be between 1 and 65535, inclusive. It cannot be turned off with 0",
                "unable to securely serve on port 8080 (used by readiness probe)",
                "--inbound-impersonation: invalid value \"allow\": it must be deny or review",
            ]
        );
    }
}
