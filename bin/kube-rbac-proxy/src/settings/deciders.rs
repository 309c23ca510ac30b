use go_compat::quote;

use super::Findings;
use crate::flags::Options;

/// Who says who is asking and whether he may, each list in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deciders {
    pub(crate) methods: Vec<Method>,
    pub(crate) modes: Vec<Mode>,
}

/// A way to tell who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    X509,
    TokenReview,
    TokenFile,
    Oidc,
}

const METHODS: [(&str, Method); 4] =
    [("x509", Method::X509), ("token-review", Method::TokenReview), ("token-file", Method::TokenFile), ("oidc", Method::Oidc)];

/// A way to tell what a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Rbac,
    Webhook,
}

impl Deciders {
    /// Whether one of them asks the API server.
    pub(crate) fn need_api(&self) -> bool {
        self.methods.contains(&Method::TokenReview) || self.modes.contains(&Mode::Webhook)
    }
}

/// The lists as they are named, or as the files that are given suggest.
pub(super) fn read(options: &Options, findings: &mut Findings) -> Deciders {
    let deciders = Deciders { methods: methods(options, findings), modes: modes(options, findings) };
    if !options.kubeconfig.is_empty() && !deciders.need_api() {
        findings.warn("--kubeconfig is without effect: nothing asks the API server");
    }
    deciders
}

fn methods(options: &Options, findings: &mut Findings) -> Vec<Method> {
    const FLAG: &str = "--authentication-methods";
    let has_ca = !options.client_ca_file.is_empty();
    let has_tokens = !options.token_auth_file.is_empty();
    let has_issuer = !options.oidc_issuer.is_empty();
    let methods = match options.authentication_methods.is_empty() {
        // As in Go, an issuer is alone.
        true if has_issuer => vec![Method::Oidc],
        true => {
            let by_token = if has_tokens { Method::TokenFile } else { Method::TokenReview };
            has_ca.then_some(Method::X509).into_iter().chain([by_token]).collect()
        }
        false => named(FLAG, &options.authentication_methods, &METHODS, findings),
    };
    for (name, method, is_given, file) in [
        ("x509", Method::X509, has_ca, "--client-ca-file"),
        ("token-file", Method::TokenFile, has_tokens, "--token-auth-file"),
        ("oidc", Method::Oidc, has_issuer, "--oidc-issuer"),
    ] {
        match methods.contains(&method) {
            true if !is_given => findings.error(format!("{FLAG}: {name} needs {file}")),
            false if is_given && methods == [Method::Oidc] => {
                findings.warn(format!("{file} is without effect beside --oidc-issuer: to have both, name them with {FLAG}"));
            }
            false if is_given => findings.warn(format!("{file} is without effect: {FLAG} does not name {name}")),
            _ => {}
        }
    }
    if !options.auth_token_audiences.is_empty() && methods == [Method::Oidc] {
        findings.warn("--auth-token-audiences is without effect: tokens of --oidc-issuer are for --oidc-clientID");
    } else if !options.auth_token_audiences.is_empty() && !methods.contains(&Method::TokenReview) {
        findings.error(
            "--auth-token-audiences: only token-review can tell whom a token is for, and it is not among the authentication methods",
        );
    }
    methods
}

fn modes(options: &Options, findings: &mut Findings) -> Vec<Mode> {
    const FLAG: &str = "--authorization-mode";
    let has_manifests = !options.rbac_manifests.is_empty();
    let modes = match options.authorization_mode.is_empty() {
        true if has_manifests => vec![Mode::Rbac],
        true => vec![Mode::Webhook],
        false => named(FLAG, &options.authorization_mode, &[("RBAC", Mode::Rbac), ("Webhook", Mode::Webhook)], findings),
    };
    match modes.contains(&Mode::Rbac) {
        true if !has_manifests => findings.error(format!("{FLAG}: RBAC needs --rbac-manifests")),
        false if has_manifests => findings.warn(format!("--rbac-manifests is without effect: {FLAG} does not name RBAC")),
        _ => {}
    }
    modes
}

fn named<T: Copy + PartialEq>(flag: &str, names: &[String], known: &[(&str, T)], findings: &mut Findings) -> Vec<T> {
    let mut list = Vec::new();
    for name in names {
        match known.iter().find(|(known, _)| known == name) {
            Some((_, value)) if list.contains(value) => findings.error(format!("{flag}: {name} is named twice")),
            Some((_, value)) => list.push(*value),
            None => {
                let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                findings.error(format!("{flag}: {} is not known: it must be of {}", quote(name), known.join(", ")));
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn with(change: impl FnOnce(&mut Options)) -> (Deciders, Findings) {
        let mut options = (crate::flags::PROGRAM.defaults)();
        change(&mut options);
        let mut findings = Findings::default();
        (read(&options, &mut findings), findings)
    }

    #[test]
    fn the_files_that_are_given_suggest_the_lists() {
        use Method::{TokenFile, TokenReview, X509};
        for (ca, tokens, manifests, methods, modes, api) in [
            ("", "", &[][..], vec![TokenReview], vec![Mode::Webhook], true),
            ("ca", "", &[], vec![X509, TokenReview], vec![Mode::Webhook], true),
            ("ca", "t", &[], vec![X509, TokenFile], vec![Mode::Webhook], true),
            ("", "", &["m"], vec![TokenReview], vec![Mode::Rbac], true),
            ("", "t", &["m"], vec![TokenFile], vec![Mode::Rbac], false),
        ] {
            let (deciders, findings) = with(|options| {
                options.client_ca_file = ca.into();
                options.token_auth_file = tokens.into();
                options.rbac_manifests = texts(manifests);
            });
            assert_eq!((&deciders.methods, &deciders.modes, deciders.need_api()), (&methods, &modes, api));
            assert!(findings.errors.is_empty() && findings.warnings.is_empty(), "{findings:?}");
        }
    }

    #[test]
    fn named_lists_count_as_they_are() {
        let (deciders, findings) = with(|options| {
            options.authentication_methods = texts(&["token-file", "token-review"]);
            options.token_auth_file = "t".into();
            options.authorization_mode = texts(&["RBAC", "Webhook"]);
            options.rbac_manifests = texts(&["m"]);
        });
        assert_eq!(deciders.methods, [Method::TokenFile, Method::TokenReview]);
        assert_eq!(deciders.modes, [Mode::Rbac, Mode::Webhook]);
        assert_eq!((findings.errors.len(), findings.warnings.len()), (0, 0));
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        let (_, findings) = with(|options| {
            options.authentication_methods = texts(&["x509", "x509", "token-file", "oidc", "ldap"]);
            options.auth_token_audiences = texts(&["a"]);
            options.authorization_mode = texts(&["RBAC", "AlwaysAllow"]);
        });
        assert_eq!(
            findings.errors,
            [
                "--authentication-methods: x509 is named twice",
                "--authentication-methods: \"ldap\" is not known: it must be of x509, token-review, token-file, oidc",
                "--authentication-methods: x509 needs --client-ca-file",
                "--authentication-methods: token-file needs --token-auth-file",
                "--authentication-methods: oidc needs --oidc-issuer",
                "--auth-token-audiences: only token-review can tell whom a token is for, and it is not among the authentication methods",
                "--authorization-mode: \"AlwaysAllow\" is not known: it must be of RBAC, Webhook",
                "--authorization-mode: RBAC needs --rbac-manifests",
            ]
        );
        let (_, findings) = with(|options| {
            options.authentication_methods = texts(&["token-file"]);
            options.token_auth_file = "t".into();
            options.client_ca_file = "ca".into();
            options.authorization_mode = texts(&["Webhook"]);
            options.rbac_manifests = texts(&["m"]);
        });
        assert_eq!(
            findings.warnings,
            [
                "--client-ca-file is without effect: --authentication-methods does not name x509",
                "--rbac-manifests is without effect: --authorization-mode does not name RBAC",
            ]
        );
    }
}
