use std::str::FromStr;

use crate::{parse_uint32, quote};

/// A cipher suite, or a key exchange, which Go calls a curve, that Go's `crypto/tls` has a name for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Go's name; of a suite the IANA name, or one of the two names that Kubernetes keeps for old configurations.
    pub name: &'static str,
    /// The IANA number, which is Go's `CurveID`.
    pub id: u16,
}

impl Named {
    /// Whether a suite belongs to TLS 1.3, where a server's list has no effect in Go: all three are always on.
    pub fn is_tls13(self) -> bool {
        self.id >> 8 == 0x13
    }
}

/// A TLS version, by Go's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `VersionTLS10`.
    Tls10,
    /// `VersionTLS11`.
    Tls11,
    /// `VersionTLS12`.
    Tls12,
    /// `VersionTLS13`.
    Tls13,
}

/// A name that is none of the four.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown tls version {}: write VersionTLS12 or VersionTLS13 (or VersionTLS10, VersionTLS11)", quote(.0))]
pub struct UnknownTlsVersion(pub String);

impl FromStr for TlsVersion {
    type Err = UnknownTlsVersion;

    /// Mirrors component-base's `TLSVersion`: no name is the default, 1.2. `TLS1.2` and `TLS1.3` are a fork's names for two of them.
    fn from_str(name: &str) -> Result<Self, UnknownTlsVersion> {
        match name {
            "VersionTLS10" => Ok(Self::Tls10),
            "VersionTLS11" => Ok(Self::Tls11),
            "" | "VersionTLS12" | "TLS1.2" => Ok(Self::Tls12),
            "VersionTLS13" | "TLS1.3" => Ok(Self::Tls13),
            _ => Err(UnknownTlsVersion(name.to_owned())),
        }
    }
}

/// The suite of that name, exactly as written: Go knows no other spelling.
pub fn cipher_suite(name: &str) -> Option<&'static Named> {
    CIPHER_SUITES.iter().find(|suite| suite.name == name)
}

/// The key exchange of that number, as component-base's `TLSCurvePreferences` takes it, or of that name.
pub fn curve(text: &str) -> Option<&'static Named> {
    let id = parse_uint32(text).ok();
    CURVES.iter().find(|curve| curve.name == text || id == Some(u32::from(curve.id)))
}

/// Those of Go 1.26.
pub static CURVES: &[Named] = &[
    named("CurveP256", 23),
    named("CurveP384", 24),
    named("CurveP521", 25),
    named("X25519", 29),
    named("X25519MLKEM768", 4588),
    named("SecP256r1MLKEM768", 4587),
    named("SecP384r1MLKEM1024", 4589),
];

/// What component-base's `TLSCipherSuites` takes, built with Go 1.26: `tls.CipherSuites`, `tls.InsecureCipherSuites` and
/// two old names.
pub static CIPHER_SUITES: &[Named] = &[
    named("TLS_AES_128_GCM_SHA256", 0x1301),
    named("TLS_AES_256_GCM_SHA384", 0x1302),
    named("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    named("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
    named("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c),
    named("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
    named("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030),
    named("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8),
    named("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9),
    named("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", 0xcca8),
    named("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", 0xcca9),
    named("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xc009),
    named("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", 0xc00a),
    named("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xc013),
    named("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", 0xc014),
    named("TLS_RSA_WITH_RC4_128_SHA", 0x0005),
    named("TLS_RSA_WITH_3DES_EDE_CBC_SHA", 0x000a),
    named("TLS_RSA_WITH_AES_128_CBC_SHA", 0x002f),
    named("TLS_RSA_WITH_AES_256_CBC_SHA", 0x0035),
    named("TLS_RSA_WITH_AES_128_CBC_SHA256", 0x003c),
    named("TLS_RSA_WITH_AES_128_GCM_SHA256", 0x009c),
    named("TLS_RSA_WITH_AES_256_GCM_SHA384", 0x009d),
    named("TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", 0xc007),
    named("TLS_ECDHE_RSA_WITH_RC4_128_SHA", 0xc011),
    named("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", 0xc012),
    named("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", 0xc023),
    named("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", 0xc027),
];

const fn named(name: &'static str, id: u16) -> Named {
    Named { name, id }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_of_go() {
        assert_eq!(cipher_suite("TLS_RSA_WITH_AES_128_CBC_SHA").map(|suite| suite.id), Some(0x2f));
        assert_eq!(cipher_suite("TLS_AES_256_GCM_SHA384").map(|suite| (suite.id, suite.is_tls13())), Some((0x1302, true)));
        for name in ["", "tls_aes_256_gcm_sha384", " TLS_AES_256_GCM_SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "TLS_FALLBACK_SCSV"] {
            assert_eq!(cipher_suite(name), None, "{name}");
        }
    }

    #[test]
    fn the_old_names_are_the_same_suites() {
        for name in ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"] {
            let id = |name: &str| cipher_suite(name).map(|suite| suite.id);
            assert_eq!(id(name), id(&format!("{name}_SHA256")));
            assert!(id(name).is_some());
        }
    }

    #[test]
    fn each_name_is_there_once() {
        let names: BTreeSet<&str> = CIPHER_SUITES.iter().map(|suite| suite.name).collect();
        let ids: BTreeSet<u16> = CIPHER_SUITES.iter().map(|suite| suite.id).collect();
        // 13 and 12 of Go, and two names for suites that are already there.
        assert_eq!((names.len(), ids.len(), CIPHER_SUITES.len()), (27, 25, 27));
    }

    #[test]
    fn curves_have_numbers_and_names() {
        for text in ["4588", "0x11ec", "X25519MLKEM768"] {
            assert_eq!(curve(text).map(|curve| curve.id), Some(4588), "{text}");
        }
        for text in ["", "0", "x25519", "-23", "4294967319", "CurveID(23)", "P-256"] {
            assert_eq!(curve(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_those_of_go() {
        assert_eq!("".parse(), Ok(TlsVersion::Tls12));
        assert_eq!("VersionTLS10".parse(), Ok(TlsVersion::Tls10));
        assert_eq!("VersionTLS11".parse(), Ok(TlsVersion::Tls11));
        assert_eq!("VersionTLS12".parse(), Ok(TlsVersion::Tls12));
        assert_eq!("VersionTLS13".parse(), Ok(TlsVersion::Tls13));
        assert_eq!(("TLS1.2".parse(), "TLS1.3".parse()), (Ok(TlsVersion::Tls12), Ok(TlsVersion::Tls13)));
        for name in ["TLS1.1", "TLS12", "VersionTLS14", "versiontls12", "1.2"] {
            assert_eq!(name.parse::<TlsVersion>(), Err(UnknownTlsVersion(name.to_owned())));
        }
    }
}
