use command::{
    Field::{self, Bool, Duration, Int, Int32, Lines, List, NoBool, NoValue, Secret, Text},
    Flag, Version, klog, refused, warned,
};
use go_compat::GoDuration;

/// What the command line says, each value of its flag's type and none checked against another.
///
/// Not to be shown: a token is among it.
#[derive(Clone, Default, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Options {
    pub(crate) inbound_impersonation: String,
    pub(crate) oidc_issuer_url: String,
    pub(crate) oidc_client_id: String,
    pub(crate) oidc_ca_file: String,
    pub(crate) oidc_username_claim: String,
    pub(crate) oidc_username_prefix: String,
    pub(crate) oidc_groups_claim: String,
    pub(crate) oidc_groups_prefix: String,
    pub(crate) bind_address: String,
    pub(crate) tls_cert_file: String,
    pub(crate) tls_private_key_file: String,
    pub(crate) tls_min_version: String,
    pub(crate) kubeconfig: String,
    pub(crate) server: String,
    pub(crate) tls_server_name: String,
    pub(crate) certificate_authority: String,
    pub(crate) insecure_skip_tls_verify: bool,
    pub(crate) client_certificate: String,
    pub(crate) client_key: String,
    pub(crate) cluster: String,
    pub(crate) user: String,
    pub(crate) context: String,
    pub(crate) token: String,
    pub(crate) namespace: String,
    pub(crate) request_timeout: String,
    pub(crate) log_format: String,
    pub(crate) allow_reserved_groups: Vec<String>,
    pub(crate) token_passthrough_audiences: Vec<String>,
    pub(crate) extra_user_headers: Vec<String>,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) oidc_signing_algs: Vec<String>,
    pub(crate) oidc_required_claim: Vec<String>,
    pub(crate) tls_cipher_suites: Vec<String>,
    pub(crate) tls_sni_cert_key: Vec<String>,
    pub(crate) readiness_probe_port: i64,
    pub(crate) secure_port: i64,
    pub(crate) http2_max_streams_per_connection: i64,
    pub(crate) shutdown_grace: GoDuration,
    pub(crate) token_passthrough: bool,
    pub(crate) disable_impersonation: bool,
    pub(crate) extra_user_header_client_ip: bool,
    pub(crate) disable_http2_serving: bool,
    pub(crate) verbosity: i32,
    pub(crate) help: bool,
    pub(crate) version: Version,
}

/// What holds without a flag.
pub(super) fn defaults() -> Options {
    Options {
        inbound_impersonation: "deny".to_owned(),
        oidc_username_claim: "sub".to_owned(),
        bind_address: "0.0.0.0".to_owned(),
        tls_min_version: "VersionTLS12".to_owned(),
        log_format: "text".to_owned(),
        readiness_probe_port: 8080,
        secure_port: 6443,
        shutdown_grace: GoDuration::from_secs(60),
        ..Options::default()
    }
}

/// Those of a section, in the order of `--help`.
type Flags = &'static [Flag<Options>];

const fn obeyed(name: &'static str, field: Field<Options>, test: &'static str) -> Flag<Options> {
    Flag::obeyed(name, field, test)
}

pub(super) const PROXY: Flags = &[
    obeyed("inbound-impersonation", Text(|o| &mut o.inbound_impersonation), "clients_act_as_others_only_as_far_as_the_api_server_says")
        .help(
            "What becomes of requests that have an Impersonate-* header: deny (403), or review: the API server says whether the user may.",
        ),
    obeyed("allow-reserved-groups", List(|o| &mut o.allow_reserved_groups), "reserved_identities_are_refused_unless_named")
        .help("Groups that begin with system: and that the issuer may put its users into all the same, such as system:masters."),
    obeyed("readiness-probe-port", Int(|o| &mut o.readiness_probe_port), "probes_tell_of_the_issuer_and_of_the_end")
        .help("The port for /ready, /live and /metrics, over HTTP on every address."),
    obeyed("shutdown-grace", Duration(|o| &mut o.shutdown_grace), "probes_tell_of_the_issuer_and_of_the_end")
        .help("How long requests, watches and tunnels may go on after SIGTERM."),
    obeyed("token-passthrough", Bool(|o| &mut o.token_passthrough), "tokens_of_the_api_server_pass_as_they_are")
        .help("Let the API server review tokens that the issuer does not vouch for, and pass on those that it knows as they are."),
    obeyed("token-passthrough-audiences", List(|o| &mut o.token_passthrough_audiences), "tokens_for_other_audiences_do_not_pass")
        .help("Whom such tokens must be for: one of these. Without them, the API server's own audiences."),
    obeyed("disable-impersonation", Bool(|o| &mut o.disable_impersonation), "without_impersonation_users_keep_their_tokens")
        .help("Authenticate alone: requests pass on with their users' own tokens, which the API server must know."),
    obeyed("extra-user-headers", List(|o| &mut o.extra_user_headers), "extras_are_told_of_every_user")
        .help("What is told of every impersonated user among his extras, as k1=a,k2=b,k1=c."),
    obeyed("extra-user-header-client-ip", Bool(|o| &mut o.extra_user_header_client_ip), "extras_are_told_of_every_user")
        .help("Tell the client's address and port as the extra remote-client-ip."),
    obeyed("trusted-proxies", List(|o| &mut o.trusted_proxies), "the_client_of_a_trusted_proxy_is_told").help(
        "Addresses, or networks such as 10.0.0.0/8, whose word on the client counts: their X-Forwarded-For says who it is. With this \
         flag X-Forwarded-* of others do not reach the API server.",
    ),
    warned("flush-interval", NoValue("duration", "50ms"), "Without effect: what the API server sends is passed on at once."),
];

pub(super) const OIDC: Flags = &[
    obeyed("oidc-issuer-url", Text(|o| &mut o.oidc_issuer_url), "users_are_told_to_the_api_server")
        .help("The issuer whose tokens are believed: the iss of each, and the https URL where its configuration is."),
    obeyed("oidc-client-id", Text(|o| &mut o.oidc_client_id), "users_are_told_to_the_api_server")
        .help("Whom tokens must be for: one of their aud."),
    obeyed("oidc-ca-file", Text(|o| &mut o.oidc_ca_file), "users_are_told_to_the_api_server")
        .help("PEM certificates of the authorities that vouch for the issuer; followed. Without it the system's do."),
    obeyed("oidc-username-claim", Text(|o| &mut o.oidc_username_claim), "users_are_told_to_the_api_server")
        .help("The claim that names the user. email counts only if email_verified is true or absent."),
    obeyed("oidc-username-prefix", Text(|o| &mut o.oidc_username_prefix), "prefixes_and_required_claims_are_obeyed")
        .help("Stands before each user's name. Empty, and -: nothing does."),
    obeyed("oidc-groups-claim", Text(|o| &mut o.oidc_groups_claim), "users_are_told_to_the_api_server")
        .help("The claim that lists the user's groups: a string or a list of them."),
    obeyed("oidc-groups-prefix", Text(|o| &mut o.oidc_groups_prefix), "prefixes_and_required_claims_are_obeyed")
        .help("Stands before each group."),
    obeyed("oidc-signing-algs", List(|o| &mut o.oidc_signing_algs), "users_are_told_to_the_api_server")
        .help("How tokens may be signed: RS, PS and ES with 256, 384 and 512. RS256 unless others are given."),
    obeyed("oidc-required-claim", Lines(|o| &mut o.oidc_required_claim), "prefixes_and_required_claims_are_obeyed")
        .help("A claim that tokens must have with this value, as key=value; to be given for each."),
];

pub(super) const SERVING: Flags = &[
    obeyed("bind-address", Text(|o| &mut o.bind_address), "bind_address_and_versions_are_obeyed")
        .help("The IP address to serve HTTPS on; 0.0.0.0 and :: mean all."),
    obeyed("secure-port", Int(|o| &mut o.secure_port), "users_are_told_to_the_api_server").help("The port to serve HTTPS on."),
    obeyed("tls-cert-file", Text(|o| &mut o.tls_cert_file), "users_are_told_to_the_api_server")
        .help("The certificate to serve, with what vouches for it, in PEM; followed. Without it a self-signed one is made."),
    obeyed("tls-private-key-file", Text(|o| &mut o.tls_private_key_file), "users_are_told_to_the_api_server")
        .help("The certificate's key."),
    obeyed("tls-cipher-suites", List(|o| &mut o.tls_cipher_suites), "bind_address_and_versions_are_obeyed")
        .help("The cipher suites of TLS 1.2, by Go's names; those of TLS 1.3 are always on."),
    obeyed("tls-min-version", Text(|o| &mut o.tls_min_version), "bind_address_and_versions_are_obeyed")
        .help("The least version of TLS: VersionTLS12 or VersionTLS13; VersionTLS10 and VersionTLS11 mean VersionTLS12."),
    obeyed("http2-max-streams-per-connection", Int(|o| &mut o.http2_max_streams_per_connection), "bind_address_and_versions_are_obeyed")
        .help("How many requests a client may have open on a connection of HTTP/2; 0 means 100."),
    obeyed("disable-http2-serving", Bool(|o| &mut o.disable_http2_serving), "bind_address_and_versions_are_obeyed")
        .help("Serve HTTP/1.1 alone."),
    obeyed("tls-sni-cert-key", Lines(|o| &mut o.tls_sni_cert_key), "pairs_are_served_by_the_name_that_a_client_asks_for").help(
        "A pair for clients that ask for certain names: cert,key or cert,key:name,*.domain; followed. Without names its certificate's.",
    ),
    warned("cert-dir", NoValue("string", "/var/run/kubernetes"), "Without effect, as in the Go program: give --tls-cert-file."),
    warned("permit-port-sharing", NoBool("false"), "Without effect: the port is this program's alone."),
    warned("permit-address-sharing", NoBool("false"), "Without effect: SO_REUSEADDR is always set."),
];

pub(super) const AUDIT: Flags = &[
    refused("audit-policy-file", NoValue("string", "")),
    refused("audit-log-path", NoValue("string", "")),
    refused("audit-log-maxage", NoValue("int", "0")),
    refused("audit-log-maxbackup", NoValue("int", "0")),
    refused("audit-log-maxsize", NoValue("int", "0")),
    refused("audit-log-format", NoValue("string", "json")),
    refused("audit-log-version", NoValue("string", "audit.k8s.io/v1")),
    refused("audit-log-mode", NoValue("string", "blocking")),
    refused("audit-log-batch-buffer-size", NoValue("int", "10000")),
    refused("audit-log-batch-max-size", NoValue("int", "1")),
    refused("audit-log-batch-max-wait", NoValue("duration", "0s")),
    refused("audit-log-batch-throttle-qps", NoValue("float32", "0")),
    refused("audit-log-batch-throttle-burst", NoValue("int", "0")),
    refused("audit-log-truncate-max-batch-size", NoValue("int", "10485760")),
    refused("audit-log-truncate-max-event-size", NoValue("int", "102400")),
    refused("audit-webhook-config-file", NoValue("string", "")),
    refused("audit-webhook-initial-backoff", NoValue("duration", "10s")),
    refused("audit-webhook-batch-initial-backoff", NoValue("duration", "10s")),
    refused("audit-webhook-version", NoValue("string", "audit.k8s.io/v1")),
    refused("audit-webhook-mode", NoValue("string", "batch")),
    refused("audit-webhook-batch-buffer-size", NoValue("int", "10000")),
    refused("audit-webhook-batch-max-size", NoValue("int", "400")),
    refused("audit-webhook-batch-max-wait", NoValue("duration", "30s")),
    refused("audit-webhook-batch-throttle-qps", NoValue("float32", "10")),
    refused("audit-webhook-batch-throttle-burst", NoValue("int", "15")),
    refused("audit-webhook-truncate-max-batch-size", NoValue("int", "10485760")),
    refused("audit-webhook-truncate-max-event-size", NoValue("int", "102400")),
    refused("audit-log-compress", NoBool("false")),
    refused("audit-log-batch-throttle-enable", NoBool("false")),
    refused("audit-log-truncate-enabled", NoBool("false")),
    refused("audit-webhook-batch-throttle-enable", NoBool("true")),
    refused("audit-webhook-truncate-enabled", NoBool("false")),
    refused("audit-dynamic-configuration", NoBool("false")),
];

pub(super) const CLIENT: Flags = &[
    obeyed("kubeconfig", Text(|o| &mut o.kubeconfig), "users_are_told_to_the_api_server")
        .help("How to reach the API server, and as whom. Without it and the flags below: as the pod's ServiceAccount."),
    obeyed("server", Text(|o| &mut o.server), "flags_of_a_client_say_where_the_api_server_is").help("The URL of the API server."),
    obeyed("certificate-authority", Text(|o| &mut o.certificate_authority), "flags_of_a_client_say_where_the_api_server_is")
        .help("PEM certificates of the authorities that vouch for the API server; followed."),
    obeyed("client-certificate", Text(|o| &mut o.client_certificate), "flags_of_a_client_say_where_the_api_server_is")
        .help("This program's own certificate for the API server; followed."),
    obeyed("client-key", Text(|o| &mut o.client_key), "flags_of_a_client_say_where_the_api_server_is").help("Its key."),
    obeyed("cluster", Text(|o| &mut o.cluster), "flags_of_a_client_say_where_the_api_server_is")
        .help("The cluster of the kubeconfig, rather than its context's."),
    obeyed("user", Text(|o| &mut o.user), "flags_of_a_client_say_where_the_api_server_is")
        .help("The user of the kubeconfig, rather than its context's."),
    obeyed("context", Text(|o| &mut o.context), "flags_of_a_client_say_where_the_api_server_is")
        .help("The context of the kubeconfig, rather than its current one."),
    obeyed("token", Secret(|o| &mut o.token), "flags_of_a_client_say_where_the_api_server_is")
        .help("This program's own token for the API server. Whoever lists processes can read it: a kubeconfig with tokenFile is better."),
    warned("namespace", Text(|o| &mut o.namespace), "Without effect, but that the pod's ServiceAccount is not used."),
    warned("request-timeout", Text(|o| &mut o.request_timeout), "Without effect, but that the pod's ServiceAccount is not used."),
    obeyed(
        "insecure-skip-tls-verify",
        Bool(|o| &mut o.insecure_skip_tls_verify),
        "an_api_server_that_nobody_vouches_for_is_believed_if_it_is_said",
    )
    .help("Nobody needs to vouch for the API server: whoever stands between can act as everybody."),
    obeyed("tls-server-name", Text(|o| &mut o.tls_server_name), "the_api_server_may_have_another_name_than_its_url")
        .help("The name in the API server's certificate, rather than its URL's host."),
    warned("as-uid", NoValue("string", ""), "Without effect, as without client-go's --as."),
    warned("as-user-extra", NoValue("strings", ""), "Without effect, as without client-go's --as."),
    warned("disable-compression", NoBool("false"), "Without effect: bodies are passed on as they are."),
    warned("kube-client-qps", NoValue("float32", "0"), "Without effect: no rate is limited."),
    warned("kube-client-burst", NoValue("int", "0"), "Without effect: no rate is limited."),
];

pub(super) const MISC: Flags = &[
    obeyed("v", Int32(|o| &mut o.verbosity), "what_the_program_says_of_itself")
        .help("How much is logged: 0 starts, faults and tokens that are no good, 1 the flags too, 2 refusals too, 5 everything."),
    obeyed("log-format", Text(|o| &mut o.log_format), "what_the_program_says_of_itself")
        .help("How log lines look: text (klog's, and Tremolo's for each request) or json."),
    obeyed("version", Field::Version(|o| &mut o.version), "what_the_program_says_of_itself").help("Print the version and exit."),
    obeyed("help", Bool(|o| &mut o.help), "what_the_program_says_of_itself").help("Print this and exit."),
    warned("vmodule", NoValue("moduleSpec", ""), "Without effect: -v holds for all files."),
    warned("log-flush-frequency", NoValue("duration", "5s"), "Without effect: lines are written at once."),
    klog("add-dir-header", NoBool("false")),
    klog("alsologtostderr", NoBool("false")),
    klog("log-backtrace-at", NoValue("string", ":0")),
    klog("log-dir", NoValue("string", "")),
    klog("log-file", NoValue("string", "")),
    klog("log-file-max-size", NoValue("uint", "1800")),
    klog("logtostderr", NoBool("true")),
    klog("skip-headers", NoBool("false")),
    klog("skip-log-headers", NoBool("false")),
    klog("stderrthreshold", NoValue("severity", "2")),
];
