//! Every flag of kube-rbac-proxy, defined once: the table.

mod foreign;
mod table;

use command::{Program, Section, Version};
use go_compat::GoDuration;

/// What the arguments say, and what there is to say.
pub(crate) static PROGRAM: Program<Options> = Program {
    name: "kube-rbac-proxy",
    about: "kube-rbac-proxy is a small HTTP proxy for a single upstream that authenticates requests and authorizes them against\n\
            the Kubernetes API.\n\nUsage:\n  kube-rbac-proxy [flags]            serve\n  \
            kube-rbac-proxy check [flags]      say what is wrong with these flags and their files, and what is unwise\n  \
            kube-rbac-proxy explain [flags]    say what would become of a request, and why\n",
    sections: &[
        Section::new("Serving", table::SERVING),
        Section::new("Upstream", table::UPSTREAM),
        Section::new("Authentication", table::AUTHENTICATION),
        Section::new("Authorization", table::AUTHORIZATION),
        Section::new("Identity header", table::IDENTITY),
        Section::new("Kubernetes API", table::KUBERNETES),
        Section::new("Limit", table::LIMITS),
        Section::new("OIDC", table::OIDC),
        Section::new("Global", table::GLOBAL),
        Section::new("Explain", table::EXPLAIN).of(EXPLAIN),
        Section::new("Check", table::CHECK).of(CHECK),
        Section::new("Ignored logging", table::IGNORED),
    ],
    defaults: table::defaults,
    letters: &[('h', "help"), ('o', "output"), ('v', "v")],
    explain: foreign::explain,
};

/// Says what would become of a request.
pub(crate) const EXPLAIN: &str = "explain";
/// Says what is wrong and what is unwise.
pub(crate) const CHECK: &str = "check";

/// What the command line says, each value of its flag's type and none checked against another.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) secure_listen_address: String,
    pub(crate) insecure_listen_address: String,
    pub(crate) proxy_endpoints_port: i64,
    pub(crate) livez_path: String,
    pub(crate) tls_cert_file: String,
    pub(crate) tls_private_key_file: String,
    pub(crate) tls_min_version: String,
    pub(crate) tls_cipher_suites: Vec<String>,
    pub(crate) tls_curve_preferences: Vec<String>,
    pub(crate) tls_reload_interval: GoDuration,
    pub(crate) http2_disable: bool,
    pub(crate) http2_max_concurrent_streams: u32,
    pub(crate) http2_max_size: u32,
    pub(crate) max_header_bytes: u32,
    pub(crate) tls_handshake_timeout: GoDuration,
    pub(crate) read_header_timeout: GoDuration,
    pub(crate) read_body_timeout: GoDuration,
    pub(crate) write_timeout: GoDuration,
    pub(crate) max_connections: u32,
    pub(crate) idle_timeout: GoDuration,
    pub(crate) shutdown_grace: GoDuration,
    pub(crate) upstream: String,
    pub(crate) upstream_timeout: GoDuration,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) forward_authorization: bool,
    pub(crate) upstream_ca_file: String,
    pub(crate) upstream_force_h2c: bool,
    pub(crate) upstream_cert: String,
    pub(crate) upstream_key: String,
    pub(crate) client_ca_file: String,
    pub(crate) auth_token_audiences: Vec<String>,
    pub(crate) authentication_methods: Vec<String>,
    pub(crate) token_auth_file: String,
    pub(crate) token_ttl: GoDuration,
    pub(crate) config_file: String,
    pub(crate) resource_attributes_file: String,
    pub(crate) allow_paths: Vec<String>,
    pub(crate) ignore_paths: Vec<String>,
    pub(crate) allow_encoded_slashes: bool,
    pub(crate) allow_path_parameters: bool,
    pub(crate) authorization_mode: Vec<String>,
    pub(crate) rbac_manifests: Vec<String>,
    pub(crate) allow_ttl: GoDuration,
    pub(crate) deny_ttl: GoDuration,
    pub(crate) compat_api_errors: bool,
    pub(crate) kubeconfig: String,
    pub(crate) kube_api_qps: f32,
    pub(crate) kube_api_burst: i64,
    pub(crate) auth_header_fields_enabled: bool,
    pub(crate) auth_header_user_field_name: String,
    pub(crate) auth_header_groups_field_name: String,
    pub(crate) auth_header_groups_field_separator: String,
    pub(crate) oidc_issuer: String,
    pub(crate) oidc_client_id: String,
    pub(crate) oidc_username_claim: String,
    pub(crate) oidc_username_prefix: String,
    pub(crate) oidc_groups_claim: String,
    pub(crate) oidc_groups_prefix: String,
    pub(crate) oidc_sign_alg: Vec<String>,
    pub(crate) oidc_ca_file: String,
    pub(crate) oidc_system_authenticated: bool,
    pub(crate) allow_reserved_identities: bool,
    pub(crate) verbosity: i32,
    pub(crate) log_format: String,
    pub(crate) help: bool,
    pub(crate) version: Version,
    pub(crate) explain: ExplainOptions,
    pub(crate) strict: bool,
}

/// What `explain` is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExplainOptions {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    pub(crate) uid: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
    pub(crate) output: String,
    pub(crate) reviews: String,
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use command::{CommandLine, Standing};

    use super::*;

    fn read(arguments: &[&str]) -> CommandLine<Options> {
        PROGRAM.read(arguments.iter().map(|argument| (*argument).to_owned()).collect())
    }

    #[test]
    fn values_are_read_in_every_spelling() {
        let line = read(&[
            "--secure_listen_address=:8443",
            "--upstream",
            "http://127.0.0.1:8081/",
            "--http2-disable",
            "--auth-header-fields-enabled=false",
            "--tls-cipher-suites=a,b",
            "--tls-cipher-suites=c",
            "--kube-api-qps=1.5",
            "--tls-reload-interval=90s",
            "-v=4",
        ]);
        assert_eq!(line.errors, [""; 0]);
        let expected = Options {
            secure_listen_address: ":8443".into(),
            upstream: "http://127.0.0.1:8081/".into(),
            http2_disable: true,
            tls_cipher_suites: vec!["a".into(), "b".into(), "c".into()],
            kube_api_qps: 1.5,
            tls_reload_interval: GoDuration::from_secs(90),
            verbosity: 4,
            ..(PROGRAM.defaults)()
        };
        assert_eq!(line.options, expected);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let line = read(&["--nope", "--http2-max-size=-1", "here", "--tls-reload-interval=5"]);
        assert_eq!(
            line.errors,
            [
                "unknown flag: --nope",
                "unexpected argument \"here\": everything is said by flags, and a boolean's value follows `=`",
                "--http2-max-size: invalid value \"-1\": it must be a whole number from 0 to 4294967295",
                "--tls-reload-interval: missing unit in duration \"5\": write 30s, 1m30s or the like",
            ]
        );
    }

    #[test]
    fn commands_have_flags_of_their_own() {
        let line = read(&["explain", "--as=alice", "--as-group=a", "--as-group=b", "-o", "json", "--rbac-manifests=x"]);
        assert_eq!((line.command, &line.errors), (Some(EXPLAIN), &vec![]));
        let explain = &line.options.explain;
        let said = (explain.user.as_str(), explain.groups.as_slice(), explain.output.as_str(), explain.method.as_str());
        assert_eq!(said, ("alice", &["a".to_owned(), "b".to_owned()][..], "json", "GET"));
        assert_eq!(read(&["--as=alice"]).errors, ["--as is a flag of `kube-rbac-proxy explain`"]);
        assert_eq!(read(&["explain", "--strict"]).errors, ["--strict is a flag of `kube-rbac-proxy check`"]);
        assert_eq!(read(&["check", "--strict"]).errors, [""; 0]);
    }

    #[test]
    fn flags_of_old_logging_are_accepted() {
        let line = read(&["--logtostderr=true", "--skip_headers", "--log-file-max-size=1800", "--vmodule=x=1", "--logtostderr"]);
        assert_eq!((line.errors, line.ignored), (vec![], vec!["logtostderr", "skip-headers", "log-file-max-size", "vmodule"]));
        assert_eq!(read(&["--logtostderr=maybe"]).errors, ["--logtostderr: invalid value \"maybe\": it must be true or false"]);
    }

    #[test]
    fn no_flag_is_defined_twice() {
        for (index, flag) in PROGRAM.flags().enumerate() {
            assert!(PROGRAM.flags().skip(index + 1).all(|other| other.name != flag.name), "{}", flag.name);
        }
    }

    #[test]
    fn the_page_of_flags_is_the_table() {
        let head = "# Flags\n\nEvery flag of kube-rbac-proxy. *Obeyed*: it does what it says, shown by the test named. *Warned*: it is \
             accepted without\neffect and a warning names it.\n\nSpelling is pflag's: `--flag=value` or `--flag value`, booleans `--flag` or `--flag=false`, `_` for `-`; \
             lists are comma-separated\nand each use adds to the list. Durations are Go's: `300ms`, `1m30s`.\n";
        let page = format!("{head}{}", PROGRAM.page());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags.md");
        if env::var_os("WRITE_DOCS").is_some() {
            fs::write(&path, &page).expect("docs/flags.md can be written");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == page, "docs/flags.md is not what the table says: run `make docs`");
    }

    #[test]
    fn the_test_that_shows_a_flag_exists() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
        let mut code = String::new();
        for folder in ["acceptance", "cluster", "differential"] {
            for file in fs::read_dir(tests.join(folder)).expect("a folder of tests").map_while(Result::ok) {
                code.push_str(&fs::read_to_string(file.path()).unwrap_or_default());
            }
        }
        let missing: Vec<_> = PROGRAM
            .flags()
            .filter_map(|flag| match flag.standing {
                Standing::Obeyed(test) if !code.contains(&format!("fn {test}(")) => Some(format!("{}: {test}", flag.name)),
                _ => None,
            })
            .collect();
        assert!(missing.is_empty(), "no such tests: {missing:#?}");
    }

    #[test]
    fn help_fits_a_terminal_and_names_every_flag() {
        let help = PROGRAM.help();
        assert!(help.lines().all(|line| line.len() <= 120), "{help}");
        for flag in PROGRAM.flags() {
            assert!(help.contains(&format!("--{}", flag.name)), "{}", flag.name);
        }
    }
}
