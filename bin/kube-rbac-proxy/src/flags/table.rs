use command::{
    Field::{self, Bool, Duration, Float32, Int, Int32, Lines, List, NoBool, NoValue, Text, Uint32},
    Flag, klog, warned,
};
use go_compat::GoDuration;

use super::{ExplainOptions, Options};

/// What holds without a flag.
pub(super) fn defaults() -> Options {
    Options {
        tls_min_version: "VersionTLS12".to_owned(),
        tls_reload_interval: GoDuration::from_secs(60),
        http2_max_concurrent_streams: 100,
        http2_max_size: 256 * 1024,
        max_header_bytes: 64 * 1024,
        tls_handshake_timeout: GoDuration::from_secs(10),
        read_header_timeout: GoDuration::from_secs(10),
        read_body_timeout: GoDuration::from_secs(300),
        write_timeout: GoDuration::from_secs(60),
        max_connections: 2000,
        idle_timeout: GoDuration::from_secs(90),
        shutdown_grace: GoDuration::from_secs(30),
        token_ttl: GoDuration::from_secs(120),
        allow_ttl: GoDuration::from_secs(300),
        deny_ttl: GoDuration::from_secs(30),
        auth_header_user_field_name: "x-remote-user".to_owned(),
        auth_header_groups_field_name: "x-remote-groups".to_owned(),
        auth_header_groups_field_separator: "|".to_owned(),
        oidc_username_claim: "email".to_owned(),
        oidc_groups_claim: "groups".to_owned(),
        log_format: "text".to_owned(),
        explain: ExplainOptions { method: "GET".to_owned(), path: "/".to_owned(), output: "text".to_owned(), ..ExplainOptions::default() },
        ..Options::default()
    }
}

/// Those of a section, in the order of `--help`.
type Flags = &'static [Flag<Options>];

const fn obeyed(name: &'static str, field: Field<Options>, test: &'static str) -> Flag<Options> {
    Flag::obeyed(name, field, test)
}

pub(super) const SERVING: Flags = &[
    obeyed("secure-listen-address", Text(|o| &mut o.secure_listen_address), "listeners_take_every_form_of_address")
        .help("The address to serve HTTPS on: host:port, where no host means every IPv4 and IPv6 address of this machine."),
    obeyed("insecure-listen-address", Text(|o| &mut o.insecure_listen_address), "listeners_take_every_form_of_address")
        .help("The address to serve cleartext HTTP/1.1 on. Tokens sent to it can be read on the way."),
    obeyed("proxy-endpoints-port", Int(|o| &mut o.proxy_endpoints_port), "probes_answer_on_their_own_port")
        .help("The port for the proxy's own /healthz, /livez, /readyz and /metrics, over HTTPS on the host of --secure-listen-address; 0 for none."),
    obeyed("livez-path", Text(|o| &mut o.livez_path), "a_path_for_probes_is_answered_to_everybody")
        .help("The path that is answered OK to everybody's GET and HEAD, here and not by the upstream, as in the fork of Deckhouse. Better is --proxy-endpoints-port."),
    obeyed("tls-cert-file", Text(|o| &mut o.tls_cert_file), "serving_pairs_of_every_form_are_served")
        .help("The PEM file with the serving certificate, and after it the intermediate ones. Without it and --tls-private-key-file a self-signed one is made."),
    obeyed("tls-private-key-file", Text(|o| &mut o.tls_private_key_file), "serving_pairs_of_every_form_are_served")
        .help("The PEM file with the key of --tls-cert-file: PKCS#8, PKCS#1 or SEC1. It may be the same file."),
    obeyed("tls-min-version", Text(|o| &mut o.tls_min_version), "tls_versions_and_suites_are_as_asked")
        .help("The lowest TLS version, VersionTLS12 or VersionTLS13. VersionTLS10 and VersionTLS11 mean 1.2, with a warning."),
    obeyed("tls-cipher-suites", List(|o| &mut o.tls_cipher_suites), "tls_versions_and_suites_are_as_asked")
        .help("The TLS 1.2 cipher suites, by Go's names; without it all that are secure. Those of TLS 1.3 are always on."),
    obeyed("tls-curve-preferences", List(|o| &mut o.tls_curve_preferences), "key_exchanges_are_as_asked")
        .help("The key exchanges, by Go's numbers or names, as 4588 or X25519MLKEM768; without it those that are usual. Their order is of no account, as in Go."),
    obeyed("tls-reload-interval", Duration(|o| &mut o.tls_reload_interval), "a_new_serving_pair_is_served_and_a_broken_one_is_not")
        .help("How often the serving certificate is looked at for a change; 0 for never."),
    obeyed("http2-disable", Bool(|o| &mut o.http2_disable), "http2_can_be_disabled").help("Serve HTTP/1.1 alone."),
];

pub(super) const UPSTREAM: Flags = &[
    obeyed("upstream", Text(|o| &mut o.upstream), "a_base_path_is_joined")
        .help("The URL, http or https, to which admitted requests are forwarded. Its path and query come before the request's."),
    obeyed("upstream-timeout", Duration(|o| &mut o.upstream_timeout), "a_late_response_is_not_waited_for")
        .help("How long the upstream may take until its response begins, before the client gets 504; 0 for as long as it takes. What streams after that is not cut, as it is in the fork of Open Data Hub."),
    obeyed("trusted-proxies", List(|o| &mut o.trusted_proxies), "forwarded_headers_are_those_of_trusted_proxies")
        .help("The networks, as 10.0.0.0/8, of proxies whose X-Forwarded-*, Forwarded and X-Real-IP pass. Everybody else's are replaced by what is seen here: X-Forwarded-For, -Host and -Proto. Without the flag everybody's pass."),
    obeyed("forward-authorization", Bool(|o| &mut o.forward_authorization), "a_token_is_forwarded_only_when_asked_for_and_only_of_a_user")
        .help("Send the bearer token of each authenticated request upstream. The upstream can use it wherever it is valid."),
    obeyed("upstream-ca-file", Text(|o| &mut o.upstream_ca_file), "an_upstream_over_tls_must_be_vouched_for")
        .help("The PEM file with the authorities that vouch for an https upstream; without it those of the system do. Followed while it changes."),
    obeyed("upstream-force-h2c", Bool(|o| &mut o.upstream_force_h2c), "an_upstream_that_speaks_http2_alone_is_served")
        .help("Speak HTTP/2 with the upstream without asking it: in cleartext, or over TLS when it is https. An https upstream that offers HTTP/2 gets it without this."),
    obeyed("upstream-client-cert-file", Text(|o| &mut o.upstream_cert), "an_upstream_is_shown_the_client_certificate_of_the_moment")
        .help("The PEM file with the certificate that an https upstream is shown when it asks for one. Followed while it changes."),
    obeyed("upstream-client-key-file", Text(|o| &mut o.upstream_key), "an_upstream_is_shown_the_client_certificate_of_the_moment")
        .help("The PEM file with the key of --upstream-client-cert-file."),
];

pub(super) const AUTHENTICATION: Flags = &[
    obeyed("client-ca-file", Text(|o| &mut o.client_ca_file), "a_client_certificate_says_who_asks")
        .help("The PEM file with the authorities of client certificates: the common name is the user, each organization a group. Followed while it changes."),
    obeyed("auth-token-audiences", List(|o| &mut o.auth_token_audiences), "a_token_must_be_for_one_of_the_audiences")
        .help("The audiences of which a token must be for one; without it the API server's own."),
    obeyed("authentication-methods", List(|o| &mut o.authentication_methods), "methods_are_tried_in_order")
        .help("How users are recognized, in order: x509 (--client-ca-file), token-review (the API server), token-file (--token-auth-file). By default x509 and then token-file if there is such a file, else token-review."),
    obeyed("token-auth-file", Text(|o| &mut o.token_auth_file), "a_file_says_whose_a_token_is")
        .help("The CSV file with tokens and their users, as of kube-apiserver: token,user,uid,\"group1,group2\". Followed while it changes."),
    obeyed("authentication-token-webhook-cache-ttl", Duration(|o| &mut o.token_ttl), "cached_answers_count_for_their_time")
        .help("How long a valid token is believed without asking again, and never past its own end."),
];

pub(super) const AUTHORIZATION: Flags = &[
    obeyed("config-file", Text(|o| &mut o.config_file), "a_configured_resource_stands_for_every_request")
        .help("The YAML file that says what requests are authorized against; without it their paths."),
    obeyed("resource-attributes-file", Text(|o| &mut o.resource_attributes_file), "the_flags_of_2018_are_obeyed")
        .help("The file with the attributes of the one resource that all requests are authorized against, as in 2018: what --config-file has below authorization.resourceAttributes."),
    obeyed("allow-paths", List(|o| &mut o.allow_paths), "paths_off_the_list_do_not_exist")
        .help("The paths that exist, as patterns of Go's path.Match: `*` and `?` do not match `/`. Others are answered 404, before anybody is asked who he is."),
    obeyed("ignore-paths", List(|o| &mut o.ignore_paths), "ignored_paths_need_no_permission")
        .help("The paths, as patterns like those of --allow-paths, that anybody may ask for without authentication and authorization."),
    obeyed("allow-encoded-slashes", Bool(|o| &mut o.allow_encoded_slashes), "an_odd_path_passes_when_each_reading_of_it_is_allowed")
        .help("Where the path is decided, let one with %2F pass, as it came. Both that servers make of it must be allowed: the path with a slash there, and the path with the text %2F in its segment. Without this it is 400."),
    obeyed("allow-path-parameters", Bool(|o| &mut o.allow_path_parameters), "an_odd_path_passes_when_each_reading_of_it_is_allowed")
        .help("Where the path is decided, let one with a ; pass, as it came. Both that servers make of it must be allowed: the path as it is, and the path whose segments end at their first ;. Without this it is 400."),
    obeyed("authorization-mode", List(|o| &mut o.authorization_mode), "authorizers_are_asked_in_order")
        .help("Who is asked for permission, in order: RBAC (--rbac-manifests, evaluated here), Webhook (the API server). By default RBAC if there are manifests, else Webhook."),
    obeyed("rbac-manifests", List(|o| &mut o.rbac_manifests), "manifests_say_who_may")
        .help("Files, or folders of files, with Roles, ClusterRoles, RoleBindings and ClusterRoleBindings in YAML or JSON. Followed while they change."),
    obeyed("authorization-webhook-cache-authorized-ttl", Duration(|o| &mut o.allow_ttl), "cached_answers_count_for_their_time")
        .help("How long an allowance counts without asking again."),
    obeyed("authorization-webhook-cache-unauthorized-ttl", Duration(|o| &mut o.deny_ttl), "cached_answers_count_for_their_time")
        .help("How long a denial counts without asking again."),
    obeyed("compat-api-errors", Bool(|o| &mut o.compat_api_errors), "api_failures_can_have_gos_status")
        .help("When the API server cannot be asked, answer 401 and 500 like the Go program instead of 503."),
];

pub(super) const IDENTITY: Flags = &[
    obeyed("auth-header-fields-enabled", Bool(|o| &mut o.auth_header_fields_enabled), "identity_headers_say_who_asks")
        .help("Tell the upstream who asks, in the headers below. Whatever clients send under these names is removed in any case."),
    obeyed("auth-header-user-field-name", Text(|o| &mut o.auth_header_user_field_name), "identity_headers_say_who_asks")
        .help("The header for the user's name."),
    obeyed("auth-header-groups-field-name", Text(|o| &mut o.auth_header_groups_field_name), "identity_headers_say_who_asks")
        .help("The header for the groups."),
    obeyed("auth-header-groups-field-separator", Text(|o| &mut o.auth_header_groups_field_separator), "identity_headers_say_who_asks")
        .help("What stands between two groups."),
];

pub(super) const KUBERNETES: Flags = &[
    obeyed("kubeconfig", Text(|o| &mut o.kubeconfig), "bad_input_is_refused_by_name")
        .help("The kubeconfig with which the API server is asked; without it the pod's ServiceAccount."),
    obeyed("kube-api-qps", Float32(|o| &mut o.kube_api_qps), "calls_to_the_api_can_be_limited")
        .help("The most calls a second to the API server; 0 for no limit of the rate."),
    obeyed("kube-api-burst", Int(|o| &mut o.kube_api_burst), "calls_to_the_api_can_be_limited")
        .help("The most calls at once, where --kube-api-qps is set; 0 means 10."),
];

pub(super) const LIMITS: Flags = &[
    obeyed("http2-max-concurrent-streams", Uint32(|o| &mut o.http2_max_concurrent_streams), "http2_settings_are_announced")
        .help("The most HTTP/2 streams that a connection may have open; 0 means 250."),
    obeyed("http2-max-size", Uint32(|o| &mut o.http2_max_size), "http2_settings_are_announced")
        .help("The most bytes of an HTTP/2 frame, and of what a stream may buffer; 0 means 1048576."),
    obeyed("max-header-bytes", Uint32(|o| &mut o.max_header_bytes), "a_head_over_the_limit_is_refused")
        .help("The most bytes of a request's head. A head may have 256 fields."),
    obeyed("max-connections", Uint32(|o| &mut o.max_connections), "whoever_asks_keeps_its_place_in_a_flood_of_connections")
        .help("The most connections of clients that are open at a time. For each more, one that has no request is closed, strangers first, of whom there may be a quarter. The proxy's own endpoints have 100 beside these."),
    obeyed("tls-handshake-timeout", Duration(|o| &mut o.tls_handshake_timeout), "a_slow_handshake_is_cut")
        .help("The longest that a TLS handshake may take."),
    obeyed("read-header-timeout", Duration(|o| &mut o.read_header_timeout), "a_slow_head_is_cut")
        .help("The longest that a request's head may take to arrive."),
    obeyed("read-body-timeout", Duration(|o| &mut o.read_body_timeout), "a_body_that_does_not_come_is_waited_for_until_the_answer")
        .help("The longest that a client may send nothing of a request's body before the upstream has answered; 0 is no limit. Calls of gRPC over HTTP/2 may be silent."),
    obeyed("write-timeout", Duration(|o| &mut o.write_timeout), "a_client_that_does_not_read_is_cut")
        .help("The longest that a client may take nothing of an answer while there is something to take. Then its stream of HTTP/2, or its connection, ends."),
    obeyed("idle-timeout", Duration(|o| &mut o.idle_timeout), "an_idle_connection_is_closed")
        .help("The longest that a connection is kept between two requests."),
    obeyed("shutdown-grace", Duration(|o| &mut o.shutdown_grace), "the_grace_time_ends_what_does_not_end")
        .help("How long requests may take to finish after SIGTERM. A second signal ends the process at once."),
];

pub(super) const OIDC: Flags = &[
    obeyed("oidc-issuer", Text(|o| &mut o.oidc_issuer), "tokens_of_an_issuer_are_verified_here")
        .help("The OIDC issuer whose tokens are verified here: an https URL, exactly as in their iss. Nothing else authenticates then, unless --authentication-methods names it."),
    obeyed("oidc-clientID", Text(|o| &mut o.oidc_client_id), "tokens_of_an_issuer_are_verified_here")
        .help("The client ID that a token's aud must contain."),
    obeyed("oidc-username-claim", Text(|o| &mut o.oidc_username_claim), "claims_name_the_user")
        .help("The claim that names the user. With email, email_verified must be true or absent."),
    obeyed("oidc-username-prefix", Text(|o| &mut o.oidc_username_prefix), "claims_name_the_user")
        .help("What stands before the user's name."),
    obeyed("oidc-groups-claim", Text(|o| &mut o.oidc_groups_claim), "claims_name_the_user")
        .help("The claim with the user's groups: a string or a list of them."),
    obeyed("oidc-groups-prefix", Text(|o| &mut o.oidc_groups_prefix), "claims_name_the_user").help("What stands before each group."),
    obeyed("oidc-sign-alg", Lines(|o| &mut o.oidc_sign_alg), "a_token_is_signed_in_a_way_that_is_asked_for")
        .help("A way in which tokens may be signed, to be given for each: RS256 (the only one without this flag), RS384, RS512, ES256 to ES512, PS256 to PS512."),
    obeyed("oidc-ca-file", Text(|o| &mut o.oidc_ca_file), "the_authorities_of_an_issuer_are_followed")
        .help("The PEM file with the authorities that vouch for the issuer's server; without it the system's."),
    obeyed("oidc-system-authenticated", Bool(|o| &mut o.oidc_system_authenticated), "claims_name_the_user")
        .help("Whether users of the issuer are in the group system:authenticated; in the Go program they are not."),
    obeyed("allow-reserved-identities", Bool(|o| &mut o.allow_reserved_identities), "reserved_identities_are_refused")
        .help("Whether an issuer may name users and groups that begin with system:, which are Kubernetes' own."),
];

pub(super) const GLOBAL: Flags = &[
    obeyed("v", Int32(|o| &mut o.verbosity), "no_secret_is_in_any_output")
        .help("How much is logged: 0 starts and faults, 1 the flags too, 2 refusals too, 5 everything."),
    obeyed("log-format", Text(|o| &mut o.log_format), "logs_can_be_json").help("How log lines look: text (klog's) or json."),
    warned("vmodule", NoValue("string", ""), "Without effect: -v holds for all files."),
    warned("log-flush-frequency", NoValue("duration", "5s"), "Without effect: lines are written at once."),
    obeyed("version", Field::Version(|o| &mut o.version), "version_and_help_are_printed")
        .help("Print the version and exit; =raw prints all that is known of it. Another version, as v1.2.3, is without effect."),
    obeyed("help", Bool(|o| &mut o.help), "version_and_help_are_printed").help("Print this and exit."),
];

pub(super) const EXPLAIN: Flags = &[
    obeyed("as", Text(|o| &mut o.explain.user), "explain_says_why").help("The user; without one the request has no credentials."),
    obeyed("as-group", Lines(|o| &mut o.explain.groups), "explain_says_why")
        .help("A group of the user; to be given for each. system:authenticated is added, and to a ServiceAccount without groups those of its namespace."),
    obeyed("as-uid", Text(|o| &mut o.explain.uid), "explain_says_why").help("The user's UID."),
    obeyed("method", Text(|o| &mut o.explain.method), "explain_says_why").help("The request's method."),
    obeyed("path", Text(|o| &mut o.explain.path), "explain_says_why").help("The request's path, and query if it has one."),
    obeyed("header", Lines(|o| &mut o.explain.headers), "explain_knows_rewrites")
        .help("A header of the request, as \"X-Tenant: a\"; to be given for each."),
    obeyed("output", Text(|o| &mut o.explain.output), "explain_says_why").help("How the answer looks: text or json."),
    obeyed("reviews", Text(|o| &mut o.explain.reviews), "explain_answers_reviews")
        .help("A file of SubjectAccessReviews, or - for standard input: JSON lines or YAML documents, each with a spec. Each is printed with its status, as a line of JSON."),
];

pub(super) const CHECK: Flags =
    &[obeyed("strict", Bool(|o| &mut o.strict), "check_finds_what_is_unwise").help("Take warnings for errors.")];

pub(super) const IGNORED: Flags = &[
    klog("add-dir-header", NoBool("false")),
    klog("alsologtostderr", NoBool("false")),
    klog("log-backtrace-at", NoValue("string", ":0")),
    klog("log-dir", NoValue("string", "")),
    klog("log-file", NoValue("string", "")),
    klog("log-file-max-size", NoValue("uint", "0")),
    klog("logtostderr", NoBool("")),
    klog("one-output", NoBool("false")),
    klog("skip-headers", NoBool("false")),
    klog("skip-log-headers", NoBool("false")),
    klog("stderrthreshold", NoValue("severity", "0")),
];
