use rustls::{
    CipherSuite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as ECDSA_AES_128, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 as ECDSA_AES_256,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 as ECDSA_CHACHA,
    },
    version::{TLS12, TLS13},
};

use super::{Probe, Start};

const OLD: Probe = Probe::Handshake { name: "1.2", versions: &[&TLS12], suites: &[] };
const NEW: Probe = Probe::Handshake { name: "1.3", versions: &[&TLS13], suites: &[] };
const AES_128: Probe = Probe::Handshake { name: "AES 128", versions: &[&TLS12], suites: &[ECDSA_AES_128] };
const AES_256: Probe = Probe::Handshake { name: "AES 256", versions: &[&TLS12], suites: &[ECDSA_AES_256] };
const CHACHA: Probe = Probe::Handshake { name: "ChaCha20", versions: &[&TLS12], suites: &[ECDSA_CHACHA] };
const EVERYWHERE: &[Probe] = &[Probe::Accepts("127.0.0.1"), Probe::Accepts("[::1]"), Probe::Accepts("127.0.0.2")];
const TLS: &[Probe] = &[OLD, NEW, AES_128, AES_256, CHACHA];

/// Section 3.8: every flag that is built, in each of its spellings, and what must not start.
pub(crate) fn starts() -> Vec<Start> {
    [flags(), addresses(), tls(), refused(), config()].concat()
}

fn flags() -> Vec<Start> {
    vec![
        Start::new("the end by SIGTERM", &[]).probes(&[OLD, Probe::End("TERM")]),
        Start::new("the end by SIGINT", &[]).probes(&[OLD, Probe::End("INT")]),
        Start::new(
            "legacy logging flags",
            &[
                "--logtostderr",
                "--logtostderr=true",
                "--add-dir-header",
                "--alsologtostderr=false",
                "--log-backtrace-at=a.go:1",
                "--log-dir=/tmp",
                "--log-file=/tmp/x",
                "--log-file-max-size=1800",
                "--one-output",
                "--skip-headers",
                "--skip-log-headers=true",
                "--stderrthreshold=2",
            ],
        ),
        Start::new("legacy flags with underscores", &["--log_dir", "/tmp", "--skip_headers", "--stderrthreshold=INFO"]),
        Start::new("verbosity in words", &["-v=4", "--v=3", "-v", "2", "--v", "1", "-v10"]),
        Start::new("verbosity by file and flushing", &["--vmodule=a=1,b*=2", "--log-flush-frequency=1s", "--log_flush_frequency", "5s"]),
        Start::new("values in words of their own", &["--auth-header-user-field-name", "x-user", "--tls-reload-interval", "1m30s"]),
        Start::new("underscores in every flag", &["--tls_reload_interval=30s", "--auth_header_groups_field_separator=,"]),
        Start::new("dashes and underscores mixed", &["--auth-header_user-field_name=x"]),
        Start::new("flags twice", &["--tls-reload-interval=1s", "--tls-reload-interval=2s"]),
        Start::new("booleans", &["--auth-header-fields-enabled=T", "--http2-disable=0"]),
        Start::new("numbers in other bases", &["--http2-max-concurrent-streams=0x10", "--http2-max-size=0b100000000000000"]),
        Start::new("a rate", &["--kube-api-qps=2.5", "--kube-api-burst=3"]),
        Start::new("a rate in powers of ten", &["--kube-api-qps=1e3", "--kube-api-burst=0"]).differs_at_all("kube-api-burst"),
        Start::new("a negative rate", &["--kube-api-qps=-1", "--kube-api-burst=-1"]),
        Start::new("a duration without a unit of zero", &["--tls-reload-interval=0"]).differs_at_all("reload-interval-zero"),
        Start::new("fractions of durations", &["--tls-reload-interval=1.5h20m3.5s"]),
        Start::new("an empty CA", &["--client-ca-file="]),
        Start::new("no upstream CA", &["--upstream-ca-file="]),
        Start::new("a default OIDC flag", &["--oidc-issuer="]),
        Start::new("no more flags", &["--"]),
        Start::new("HTTP/2 on", &[]).probes(&[
            Probe::Alpn(&["h2"]),
            Probe::Alpn(&["http/1.1", "h2"]),
            Probe::Alpn(&["http/1.1"]),
            Probe::Alpn(&["spdy"]),
        ]),
        Start::new("HTTP/2 off", &["--http2-disable"]).probes(&[
            Probe::Alpn(&["h2"]),
            Probe::Alpn(&["http/1.1", "h2"]),
            Probe::Alpn(&["http/1.1"]),
        ]),
        Start::bare("version", &["--version"]),
        Start::bare("version true", &["--version=true"]),
        Start::bare("version raw", &["--version=raw"]),
        Start::bare("version and more", &["--nope=1", "--version"]),
        Start::bare("help", &["--help"]),
        Start::bare("short help", &["-h"]),
        Start::new("version of one's own", &["--version=v1.2.3"]).differs_at_all("version-value"),
        Start::new("no version", &["--version=false"]),
    ]
}

fn addresses() -> Vec<Start> {
    [
        ("no host", "--secure-listen-address=:{port}"),
        ("every IPv4 address", "--secure-listen-address=0.0.0.0:{port}"),
        ("every IPv6 address", "--secure-listen-address=[::]:{port}"),
        ("one IPv6 address", "--secure-listen-address=[::1]:{port}"),
        ("an IPv4 address in brackets", "--secure-listen-address=[127.0.0.1]:{port}"),
        ("a name", "--secure-listen-address=localhost:{port}"),
        ("no host, insecure", "--insecure-listen-address=:{port}"),
        ("an IPv4 address in brackets, insecure", "--insecure-listen-address=[127.0.0.1]:{port}"),
    ]
    .map(|(name, flag)| Start::new(name, &[flag]).probes(EVERYWHERE))
    .into()
}

fn tls() -> Vec<Start> {
    [
        ("usual TLS", vec![]),
        ("TLS 1.2", vec!["--tls-min-version=VersionTLS12"]),
        ("TLS 1.3", vec!["--tls-min-version=VersionTLS13"]),
        ("TLS 1.0", vec!["--tls-min-version=VersionTLS10"]),
        ("TLS 1.1", vec!["--tls-min-version", "VersionTLS11"]),
        ("one suite", vec!["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
        (
            "suites in a list and repeated",
            vec![
                "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            ],
        ),
        (
            "an old name of a suite",
            vec!["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
        ),
        (
            "insecure suites beside a good one",
            vec!["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA,TLS_RSA_WITH_RC4_128_SHA"],
        ),
        ("suites of TLS 1.3", vec!["--tls-cipher-suites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
        ("no suite", vec!["--tls-cipher-suites="]),
        ("a suite without HTTP/2", vec!["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "--http2-disable"]),
        ("insecure suites alone", vec!["--tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA", "--http2-disable"]),
    ]
    .map(|(name, flags)| Start::new(name, &flags).probes(TLS))
    .into_iter()
    .chain([Start::new("a suite that HTTP/2 does not require", &["--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"])
        .differs_at_all("cipher-suites-http2")])
    .collect()
}

fn refused() -> Vec<Start> {
    let start = |name, flag: &'static str| Start::new(name, &[flag]);
    vec![
        start("an unknown flag", "--nope"),
        start("a long flag with one dash", "-upstream=http://127.0.0.1:1"),
        start("an unknown short flag", "-x"),
        start("an argument", "serve"),
        start("a boolean that is none", "--http2-disable=perhaps"),
        Start::new("a boolean in a word of its own", &["--http2-disable", "false"]),
        start("a number that is none", "--http2-max-size=many"),
        start("a negative number", "--http2-max-size=-1"),
        start("a number too large", "--http2-max-concurrent-streams=4294967296"),
        start("a rate that is none", "--kube-api-qps=fast"),
        start("a duration without a unit", "--tls-reload-interval=5"),
        start("a duration that is none", "--tls-reload-interval=soon"),
        start("a verbosity that is none", "-v=loud"),
        start("a version too new", "--tls-min-version=VersionTLS14"),
        start("a version in other words", "--tls-min-version=TLS12"),
        start("a version in a fork's words", "--tls-min-version=TLS1.3").differs_at_all("fork-words"),
        start("a suite by OpenSSL's name", "--tls-cipher-suites=ECDHE-ECDSA-AES128-GCM-SHA256"),
        start("a list that is broken", "--tls-cipher-suites=\"a"),
        start("a flag without its value", "--tls-reload-interval"),
        start("a certificate that is not there", "--tls-cert-file={folder}/nothing"),
        start("a certificate that is none", "--tls-cert-file={folder}/kubeconfig"),
        start("a key that is none", "--tls-private-key-file={folder}/serving.crt"),
        start("a certificate without its key", "--tls-private-key-file=-"),
        start("a key without its certificate", "--tls-cert-file=-"),
        start("a client CA that is not there", "--client-ca-file={folder}/nothing"),
        start("a client CA that is none", "--client-ca-file={folder}/kubeconfig"),
        start("an upstream CA that is not there", "--upstream-ca-file={folder}/nothing"),
        start("an upstream CA that is none", "--upstream-ca-file={folder}/kubeconfig"),
        start("a client CA that is no authority", "--client-ca-file={folder}/serving.crt"),
        Start::new(
            "endpoints beside an insecure listener alone",
            &["--insecure-listen-address=127.0.0.1:{port}", "--proxy-endpoints-port=1"],
        ),
        Start::bare("no listener", &["--upstream={upstream}", "--kubeconfig={folder}/kubeconfig"]),
        Start::bare("nothing", &[]),
        start("an empty secure address", "--secure-listen-address="),
        start("endpoints on a port too large", "--proxy-endpoints-port=70000"),
        start("endpoints on the port of the requests", "--proxy-endpoints-port={port}"),
        start("a user header that is none", "--auth-header-user-field-name=a b").differs_at_all("header-names-checked"),
        start("an empty user header", "--auth-header-user-field-name=").differs_at_all("header-names-checked"),
        start("a kubeconfig that is not there", "--kubeconfig={folder}/nothing"),
        start("a kubeconfig that is none", "--kubeconfig={folder}/serving.crt"),
        start("no kubeconfig and no pod", "--kubeconfig=-"),
        start("a config file that is not there", "--config-file={folder}/nothing"),
        start("an address without a port", "--secure-listen-address=127.0.0.1"),
        start("an address with too large a port", "--secure-listen-address=127.0.0.1:99999"),
        start("an address that is not here", "--secure-listen-address=192.0.2.1:{port}"),
        start("an insecure address without a port", "--insecure-listen-address=127.0.0.1"),
        start("an upstream that is no URL", "--upstream=http://[::1"),
        start("an upstream of another scheme", "--upstream=ftp://127.0.0.1:1").differs_at_all("upstream-checked"),
        start("an empty upstream", "--upstream=").differs_at_all("upstream-checked"),
        start("an upstream without a scheme", "--upstream=127.0.0.1:8080"),
        start("an upstream with a password", "--upstream=http://user:hush@127.0.0.1:1").differs_at_all("upstream-checked"),
        Start::new("allow and ignore paths", &["--allow-paths=/a", "--ignore-paths=/b"]).differs_at_all("both-path-lists"),
        start("a bad pattern", "--allow-paths=/[a"),
        start("a bad ignored pattern", "--ignore-paths=[]a]"),
        start("allow paths", "--allow-paths=/metrics"),
        start("ignore paths", "--ignore-paths=/healthz,/livez"),
        start("upstream by h2c", "--upstream-force-h2c"),
        start("a certificate for the upstream", "--upstream-client-cert-file={folder}/serving.crt").differs_at_all("upstream-pair"),
        start("a key for the upstream", "--upstream-client-key-file={folder}/serving.key").differs_at_all("upstream-pair"),
        Start::new("OIDC", &["--oidc-issuer=https://127.0.0.1:1", "--oidc-clientID=me"]),
        Start::new(
            "every OIDC flag",
            &[
                "--oidc-issuer=https://127.0.0.1:1",
                "--oidc-clientID=me",
                "--oidc-username-claim=sub",
                "--oidc-username-prefix=oidc:",
                "--oidc-groups-claim=roles",
                "--oidc-groups-prefix=oidc:",
                "--oidc-sign-alg=ES256",
                "--oidc-sign-alg=RS256",
                "--oidc-ca-file={folder}/serving-ca.crt",
            ],
        ),
        start("an OIDC claim", "--oidc-username-claim=sub"),
    ]
}

fn config() -> Vec<Start> {
    let config = |name, text| Start::new(name, &[]).config(text);
    vec![
        config("a good config file", "authorization:\n  resourceAttributes:\n    resource: pods\n"),
        config("an empty config file", "").differs("config-checked", &["start"]),
        config("a config file without authorization", "kind: Config\n").differs("config-checked", &["start"]),
        config("a config file that is no YAML", "authorization: [\n"),
        config("a config file that is a word", "words\n"),
        config("a value of another type", "authorization:\n  resourceAttributes:\n    name: [web]\n"),
        config("a number for a string", "authorization:\n  resourceAttributes:\n    name: 1\n").differs_at_all("config-checked"),
        config("a key twice", "authorization:\n  resourceAttributes:\n    name: a\n    name: b\n").differs_at_all("config-checked"),
        config("a mistyped key", "authorization:\n  resourceAttribute:\n    resource: pods\n").differs_at_all("config-checked"),
        config("a mistyped key below", "authorization:\n  resourceAttributes:\n    resourc: pods\n").differs_at_all("config-checked"),
        config("a key of a fork", "authorization: {}\nexcludePaths: [/healthz]\n").differs_at_all("fork-words"),
        config("two documents", "authorization: {}\n---\nauthorization: {}\n").differs_at_all("config-checked"),
        config(
            "rewrites",
            "authorization:\n  rewrites:\n    byQueryParameter:\n      name: ns\n  resourceAttributes:\n    namespace: \"{{ .Value }}\"\n",
        ),
        config("rewrites without attributes", "authorization:\n  rewrites:\n    byQueryParameter:\n      name: ns\n"),
        config("rewrites that name nothing", "authorization:\n  rewrites: {}\n  resourceAttributes:\n    resource: pods\n")
            .differs_at_all("config-checked"),
        config(
            "a mistyped rewrite",
            "authorization:\n  rewrites:\n    byHttpHeaders:\n      name: x\n  resourceAttributes:\n    resource: pods\n",
        )
        .differs_at_all("config-checked"),
        config(
            "a rewrite by a header that is none",
            "authorization:\n  rewrites:\n    byHttpHeader:\n      name: 'X Tenant'\n  resourceAttributes:\n    resource: pods\n",
        )
        .differs_at_all("rewrite-header"),
        config(
            "a rewrite by an identity header",
            "authorization:\n  rewrites:\n    byHttpHeader:\n      name: X-Remote-User\n  resourceAttributes:\n    resource: pods\n",
        )
        .differs_at_all("rewrite-header"),
        config("a template with a function", TEMPLATE).differs_at_all("templates"),
        config(
            "static rules",
            "authorization:\n  static:\n  - user:\n      name: a\n    resourceRequest: false\n    verb: get\n    path: /m\n",
        ),
        config("an unknown key in a static rule", "authorization:\n  static:\n  - verbs: get\n    path: /m\n")
            .differs_at_all("config-checked"),
        config("a static rule without a path", "authorization:\n  static:\n  - verb: get\n"),
        config("a bad static rule", "authorization:\n  static:\n  - resourceRequest: true\n    path: /m\n"),
    ]
}

const TEMPLATE: &str =
    "authorization:\n  rewrites:\n    byHttpHeader:\n      name: X-Tenant\n  resourceAttributes:\n    name: '{{ printf .Value }}'\n";
