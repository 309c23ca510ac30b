use go_compat::{CURVES, TlsVersion, cipher_suite, curve, quote};
use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        SupportedKxGroup,
        aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS, DEFAULT_CIPHER_SUITES, DEFAULT_KX_GROUPS},
    },
    version::{TLS12, TLS13},
};

use crate::Findings;

/// What is spoken below HTTP.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is what rustls calls by this name")]
pub struct TlsSettings {
    pub suites: Vec<SupportedCipherSuite>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub groups: Vec<&'static dyn SupportedKxGroup>,
}

/// `--tls-min-version`, `--tls-cipher-suites` and `--tls-curve-preferences`, as far as rustls goes along.
pub fn tls_settings(least_named: &str, suites: &[String], curves: &[String], findings: &mut Findings) -> TlsSettings {
    let least = least_named.parse::<TlsVersion>().unwrap_or_else(|why| {
        findings.error(format!("--tls-min-version: {why}"));
        TlsVersion::Tls13
    });
    if least < TlsVersion::Tls12 {
        findings.warn(format!("--tls-min-version: {least_named} is not supported: the least is TLS 1.2"));
    }
    let of_tls12 = match suites.is_empty() {
        true => DEFAULT_CIPHER_SUITES.iter().copied().filter(is_tls12).collect(),
        false => listed(suites, findings),
    };
    let mut versions = vec![&TLS13];
    if least < TlsVersion::Tls13 && !of_tls12.is_empty() {
        versions.push(&TLS12);
    }
    if least < TlsVersion::Tls13 && of_tls12.is_empty() && findings.errors.is_empty() {
        findings.warn("--tls-cipher-suites: TLS 1.2 is off: none of its suites is left");
    }
    let of_tls13 = DEFAULT_CIPHER_SUITES.iter().copied().filter(|suite| !is_tls12(suite));
    let groups = groups(curves, findings);
    TlsSettings { suites: of_tls13.chain(of_tls12).collect(), versions, groups }
}

/// As in Go they are a set: which of them is taken is not for the list to say.
fn groups(names: &[String], findings: &mut Findings) -> Vec<&'static dyn SupportedKxGroup> {
    const FLAG: &str = "--tls-curve-preferences";
    if names.is_empty() {
        return DEFAULT_KX_GROUPS.to_vec();
    }
    let (mut ids, mut lacking) = (Vec::new(), Vec::new());
    for name in names {
        match curve(name) {
            None => {
                let known: Vec<String> = CURVES.iter().map(|curve| format!("{} ({})", curve.id, curve.name)).collect();
                findings.error(format!("{FLAG}: {} is not known: it must be of {}", quote(name), known.join(", ")));
            }
            Some(curve) if ids.contains(&curve.id) => findings.error(format!("{FLAG}: {} is named twice", curve.name)),
            Some(curve) => {
                ids.push(curve.id);
                if !ALL_KX_GROUPS.iter().any(|group| u16::from(group.name()) == curve.id) {
                    lacking.push(curve.name);
                }
            }
        }
    }
    let groups: Vec<_> = ALL_KX_GROUPS.iter().copied().filter(|group| ids.contains(&u16::from(group.name()))).collect();
    match (lacking.is_empty(), groups.is_empty()) {
        (false, true) => findings.error(format!("{FLAG}: none of these is supported: {}", lacking.join(", "))),
        (false, false) => findings.warn(format!("{FLAG}: not supported: {}", lacking.join(", "))),
        (true, _) => {}
    }
    groups
}

fn listed(names: &[String], findings: &mut Findings) -> Vec<SupportedCipherSuite> {
    let (mut suites, mut lacking, mut ineffective) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let Some(named) = cipher_suite(name) else {
            findings.error(format!("--tls-cipher-suites: {} is no name of a cipher suite: they are as in Go's crypto/tls", quote(name)));
            continue;
        };
        match ALL_CIPHER_SUITES.iter().find(|suite| u16::from(suite.suite()) == named.id) {
            _ if named.is_tls13() => ineffective.push(name.as_str()),
            Some(suite) if suites.contains(suite) => {}
            Some(suite) => suites.push(*suite),
            None => lacking.push(name.as_str()),
        }
    }
    if !lacking.is_empty() {
        findings.warn(format!("--tls-cipher-suites: not supported, for it is not secure: {}", lacking.join(", ")));
    }
    if !ineffective.is_empty() {
        findings.warn(format!("--tls-cipher-suites: without effect, for the suites of TLS 1.3 are always on: {}", ineffective.join(", ")));
    }
    suites
}

fn is_tls12(suite: &SupportedCipherSuite) -> bool {
    matches!(suite, SupportedCipherSuite::Tls12(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(suites: &[&str], least: &str) -> (TlsSettings, Findings) {
        let suites: Vec<String> = suites.iter().map(|name| (*name).to_owned()).collect();
        let mut findings = Findings::default();
        (tls_settings(least, &suites, &[], &mut findings), findings)
    }

    #[test]
    fn what_rustls_lacks_is_named() {
        let (tls, findings) = with(
            &[
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
                "TLS_RSA_WITH_AES_128_CBC_SHA",
                "TLS_AES_128_GCM_SHA256",
            ],
            "VersionTLS10",
        );
        assert_eq!((tls.suites.len(), tls.versions.len()), (5, 2));
        assert_eq!(
            findings.warnings,
            [
                "--tls-min-version: VersionTLS10 is not supported: the least is TLS 1.2",
                "--tls-cipher-suites: not supported, for it is not secure: TLS_RSA_WITH_AES_128_CBC_SHA",
                "--tls-cipher-suites: without effect, for the suites of TLS 1.3 are always on: TLS_AES_128_GCM_SHA256",
            ]
        );
    }

    #[test]
    fn without_a_suite_tls_1_2_is_off() {
        let (tls, findings) = with(&["TLS_RSA_WITH_AES_128_CBC_SHA"], "");
        assert_eq!((tls.suites.len(), tls.versions.len()), (3, 1));
        assert_eq!(findings.warnings.last().map(String::as_str), Some("--tls-cipher-suites: TLS 1.2 is off: none of its suites is left"));
        let (tls, findings) = with(&[], "VersionTLS13");
        assert_eq!((tls.versions.len(), findings.warnings.len(), findings.errors.len()), (1, 0, 0));
    }

    #[test]
    fn curves_are_a_set() {
        let with = |curves: &[&str]| {
            let curves: Vec<String> = curves.iter().map(|name| (*name).to_owned()).collect();
            let mut findings = Findings::default();
            let tls = tls_settings("VersionTLS12", &[], &curves, &mut findings);
            let ids: Vec<u16> = tls.groups.iter().map(|group| u16::from(group.name())).collect();
            (ids, findings.warnings, findings.errors)
        };
        assert_eq!(with(&["23", "X25519MLKEM768"]), with(&["4588", "CurveP256"]));
        assert_eq!(with(&["29"]), (vec![29], vec![], vec![]));
        assert_eq!(with(&["29", "25"]), (vec![29], vec!["--tls-curve-preferences: not supported: CurveP521".to_owned()], vec![]));
        for (bad, word) in [(&["29", "X25519"][..], "twice"), (&["4589"], "SecP384r1MLKEM1024"), (&["P-256"], "23 (CurveP256)")] {
            let (_, _, errors) = with(bad);
            assert!(errors.len() == 1 && errors[0].contains(word), "{errors:?}");
        }
    }

    #[test]
    fn unknown_names_are_errors() {
        let (_, findings) = with(&["AES128-SHA"], "TLS12");
        assert_eq!(findings.errors.len(), 2);
        assert!(findings.errors.iter().all(|error| error.starts_with("--tls-")), "{:?}", findings.errors);
    }
}
