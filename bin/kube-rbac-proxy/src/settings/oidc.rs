use auth::{Algorithm, OidcSettings, TokenRules};
use go_compat::quote;

use super::Findings;
use crate::flags::Options;

/// The issuer whose tokens are believed.
#[derive(Clone, Debug)]
pub(crate) struct Oidc {
    pub(crate) rules: TokenRules,
    pub(crate) system_authenticated: bool,
}

/// `None`: there is no issuer.
pub(super) fn read(options: &Options, findings: &mut Findings) -> Option<Oidc> {
    if options.oidc_issuer.is_empty() {
        for (flag, is_given) in [
            ("--oidc-clientID", !options.oidc_client_id.is_empty()),
            ("--oidc-ca-file", !options.oidc_ca_file.is_empty()),
            ("--oidc-system-authenticated", options.oidc_system_authenticated),
        ] {
            if is_given {
                findings.warn(format!("{flag} is without effect: it needs --oidc-issuer"));
            }
        }
        return None;
    }
    let issuer = options.oidc_issuer.as_str();
    match OidcSettings::discovery(issuer) {
        Err(why) => findings.error(format!("--oidc-issuer: {}: {why}", quote(issuer))),
        Ok(_) if issuer.contains('?') => findings.error(format!("--oidc-issuer: {}: it must not have a query", quote(issuer))),
        Ok(_) => {}
    }
    if options.oidc_client_id.is_empty() {
        findings.error("--oidc-issuer needs --oidc-clientID: without it every token of the issuer would count, whomever it is for");
    }
    if options.oidc_username_claim.is_empty() {
        findings.error("--oidc-username-claim is empty: a user needs a name");
    }
    let rules = TokenRules {
        issuer: issuer.to_owned(),
        client_id: options.oidc_client_id.clone(),
        algorithms: algorithms(&options.oidc_sign_alg, findings),
        username_claim: options.oidc_username_claim.clone(),
        username_prefix: options.oidc_username_prefix.clone(),
        groups_claim: options.oidc_groups_claim.clone(),
        groups_prefix: options.oidc_groups_prefix.clone(),
        required_claims: Vec::new(),
        allow_reserved: options.allow_reserved_identities,
    };
    Some(Oidc { rules, system_authenticated: options.oidc_system_authenticated })
}

/// As in Go RS256, unless others are given.
fn algorithms(names: &[String], findings: &mut Findings) -> Vec<Algorithm> {
    if names.is_empty() {
        return vec![Algorithm::Rs256];
    }
    let known: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    let unknown = |name: &String| format!("--oidc-sign-alg: {} is not known: it must be of {}", quote(name), known.join(", "));
    names.iter().filter_map(|name| name.parse().map_err(|()| findings.error(unknown(name))).ok()).collect()
}
