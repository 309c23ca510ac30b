use go_compat::Fault;

/// Flags of forks and of the OAuth proxies that this program often replaces, and what is said here instead.
const FOREIGN: [(&str, &str); 18] = [
    ("stale-cache-interval", "use --authorization-webhook-cache-authorized-ttl, and --authentication-token-webhook-cache-ttl for tokens"),
    ("upstream-insecure-skip-verify", "use --upstream-ca-file with the upstream's own certificate"),
    ("ssl-insecure-skip-verify", "use --upstream-ca-file with the upstream's own certificate"),
    ("upstream-ca", "use --upstream-ca-file"),
    ("https-address", "use --secure-listen-address"),
    ("http-address", "use --insecure-listen-address"),
    ("tls-cert", "use --tls-cert-file"),
    ("tls-key", "use --tls-private-key-file"),
    ("tls-client-ca", "use --client-ca-file"),
    ("openshift-sar", "use authorization.resourceAttributes of --config-file"),
    ("openshift-delegate-urls", "use authorization.resourceAttributes of --config-file"),
    ("openshift-service-account", "the pod's ServiceAccount is used, and --kubeconfig otherwise"),
    ("skip-auth-regex", "use --ignore-paths, whose patterns are those of Go's path.Match"),
    ("skip-auth-route", "use --ignore-paths, whose patterns are those of Go's path.Match"),
    ("pass-access-token", "use --auth-header-fields-enabled to tell the upstream who asks"),
    ("pass-user-headers", "use --auth-header-fields-enabled"),
    ("provider", "nobody can log in here: clients bring a token or a certificate"),
    ("cookie-secret", "nobody can log in here: clients bring a token or a certificate"),
];

/// What is wrong with an argument, and what to do about it.
pub(super) fn explain(fault: &Fault) -> String {
    let instead = match fault {
        Fault::UnknownFlag(name) => {
            let name = name.replace('_', "-");
            FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, instead)| instead)
        }
        _ => None,
    };
    match instead {
        Some(instead) => format!("{fault}: {instead}"),
        None => fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::PROGRAM;

    #[test]
    fn no_foreign_flag_is_known_and_every_flag_named_instead_is() {
        for (foreign, instead) in FOREIGN {
            assert!(PROGRAM.flags().all(|flag| flag.name != foreign), "{foreign}");
            for word in instead.split([' ', ',']).filter_map(|word| word.strip_prefix("--")) {
                assert!(PROGRAM.flags().any(|flag| flag.name == word), "{foreign}: {word}");
            }
        }
    }
}
