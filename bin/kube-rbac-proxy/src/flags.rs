//! Every flag, defined once: the parser, `--help`, the start-up log and docs/flags.md read this table.

mod field;
mod foreign;
mod help;
mod table;

use go_compat::{GoDuration, Known, Respelled, respell};

pub(crate) use self::help::help;
use self::{field::Field, table::FLAGS};

/// One flag.
pub(crate) struct Flag {
    /// Without its dashes.
    name: &'static str,
    section: Section,
    help: &'static str,
    field: Field,
    standing: Standing,
}

/// Where `--help` shows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Serving,
    Limits,
    Upstream,
    Authentication,
    Authorization,
    Kubernetes,
    Identity,
    Oidc,
    Global,
    Explain,
    Check,
    Ignored,
}

/// What comes of a flag that is used.
enum Standing {
    /// It does what it says, as the test of this name shows.
    Obeyed(#[cfg_attr(not(test), expect(dead_code, reason = "for docs/flags.md, which a test writes"))] &'static str),
    /// It is accepted without effect, and a warning names it.
    Warned,
}

/// What the command line says, each value of its flag's type and none checked against another.
#[derive(Clone, Debug, PartialEq)]
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
    pub(crate) idle_timeout: GoDuration,
    pub(crate) shutdown_grace: GoDuration,
    pub(crate) upstream: String,
    pub(crate) upstream_timeout: GoDuration,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) forward_authorization: bool,
    pub(crate) upstream_ca_file: String,
    pub(crate) upstream_force_h2c: bool,
    pub(crate) upstream_client_cert_file: String,
    pub(crate) upstream_client_key_file: String,
    pub(crate) client_ca_file: String,
    pub(crate) auth_token_audiences: Vec<String>,
    pub(crate) authentication_methods: Vec<String>,
    pub(crate) token_auth_file: String,
    pub(crate) authentication_token_webhook_cache_ttl: GoDuration,
    pub(crate) config_file: String,
    pub(crate) resource_attributes_file: String,
    pub(crate) allow_paths: Vec<String>,
    pub(crate) ignore_paths: Vec<String>,
    pub(crate) authorization_mode: Vec<String>,
    pub(crate) rbac_manifests: Vec<String>,
    pub(crate) authorization_webhook_cache_authorized_ttl: GoDuration,
    pub(crate) authorization_webhook_cache_unauthorized_ttl: GoDuration,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Serve, which has no name.
    Serve,
    /// `explain`: say what would become of a request.
    Explain,
    /// `check`: say what is wrong and what is unwise.
    Check,
}

/// `--version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Not asked for.
    Run,
    Plain,
    Raw,
    /// What another version is to be called, which has no effect.
    Changed,
}

/// A command line that was read, with all that is wrong about it.
#[derive(Debug)]
pub(crate) struct CommandLine {
    pub(crate) command: Command,
    pub(crate) options: Options,
    /// Flags without effect that were used.
    pub(crate) ignored: Vec<&'static str>,
    pub(crate) errors: Vec<String>,
}

impl CommandLine {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn read(mut arguments: Vec<String>) -> Self {
        let command = match arguments.first().map(String::as_str) {
            Some("explain") => Command::Explain,
            Some("check") => Command::Check,
            _ => Command::Serve,
        };
        if command != Command::Serve {
            arguments.remove(0);
        }
        let Respelled { flags, positional, faults } = respell(arguments, long, short);
        let mut errors: Vec<String> = faults.iter().map(foreign::explain).collect();
        errors.extend(positional.iter().map(|argument| {
            format!("unexpected argument {}: everything is said by flags, and a boolean's value follows `=`", go_compat::quote(argument))
        }));
        let mut line = Self { command, options: Options::default(), ignored: Vec::new(), errors };
        for given in flags {
            if let Some(flag) = FLAGS.iter().find(|flag| flag.name == given.name) {
                line.take(flag, &given.value);
            }
        }
        line
    }

    fn take(&mut self, flag: &'static Flag, value: &str) {
        let name = flag.spelled();
        let (section, owner) = (flag.section, self.command);
        if (section == Section::Explain && owner != Command::Explain) || (section == Section::Check && owner != Command::Check) {
            return self.errors.push(format!("{name} is a flag of `kube-rbac-proxy {}`", section.title().to_lowercase()));
        }
        if let Err(why) = flag.field.set(&mut self.options, value) {
            return self.errors.push(format!("{name}: {why}"));
        }
        let is_used = || flag.field.inert().is_none_or(|default| value != default);
        match flag.standing {
            Standing::Warned if is_used() && !self.ignored.contains(&flag.name) => self.ignored.push(flag.name),
            _ => {}
        }
    }
}

impl Flag {
    fn spelled(&self) -> String {
        match self.name.len() {
            1 => format!("-{}", self.name),
            _ => format!("--{}", self.name),
        }
    }

    fn known(&self) -> Known {
        Known { name: self.name, alone: self.field.alone() }
    }
}

impl Options {
    /// Each flag with its value, in klog's words for the start of a Kubernetes program.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let is_shown = |flag: &&Flag| {
            let of_serving = !matches!(flag.section, Section::Explain | Section::Check) && flag.name != "help";
            of_serving && matches!(flag.standing, Standing::Obeyed(_))
        };
        let shown = FLAGS.iter().filter(is_shown);
        shown.map(|flag| format!("FLAG: --{}={}", flag.name, go_compat::quote(&flag.field.show(self))))
    }
}

fn long(name: &str) -> Option<Known> {
    FLAGS.iter().find(|flag| flag.name == name).map(Flag::known)
}

fn short(letter: char) -> Option<Known> {
    match letter {
        'h' => long("help"),
        'o' => long("output"),
        'v' => long("v"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> CommandLine {
        CommandLine::read(arguments.iter().map(|argument| (*argument).to_owned()).collect())
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
            ..Options::default()
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
        assert_eq!((line.command, &line.errors), (Command::Explain, &vec![]));
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
        for (index, flag) in FLAGS.iter().enumerate() {
            assert!(FLAGS.iter().skip(index + 1).all(|other| other.name != flag.name), "{}", flag.name);
        }
    }
}
