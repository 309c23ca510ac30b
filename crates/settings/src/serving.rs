//! A certificate chain with its key: what a listener serves, or what the proxy shows its upstream.

use std::{
    error::Error,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::{crypto::aws_lc_rs::sign, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use webpki::EndEntityCert;
use x509_parser::{certificate::X509Certificate, error::X509Error, prelude::FromDer};

use crate::{Contents, LoadError, ParseError, Watched, pem};

/// A chain and the key of its first certificate.
#[derive(Clone, Debug)]
pub struct ServingPair {
    /// For rustls.
    pub certified: Arc<CertifiedKey>,
    /// When the first certificate becomes valid, in Unix seconds.
    pub not_before: i64,
    /// When the first certificate stops being valid, in Unix seconds.
    pub not_after: i64,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a self-signed certificate cannot be made: {0}")]
pub struct SelfSignedError(#[source] Box<dyn Error + Send + Sync>);

impl ServingPair {
    /// Opens the files of `--tls-cert-file` and `--tls-private-key-file`, or makes a pair for these names where there are none.
    ///
    /// # Errors
    ///
    /// As [`ServingPair::open`] and [`ServingPair::self_signed`].
    pub fn open_or_make(files: Option<(PathBuf, PathBuf)>, names: &[String]) -> Result<Arc<Watched<Self>>, Box<dyn Error>> {
        if let Some((certificate, key)) = files {
            return Ok(Self::open("--tls-cert-file, --tls-private-key-file", certificate, key)?);
        }
        tracing::info!("No --tls-cert-file is given: a self-signed certificate is made, which clients cannot verify");
        Ok(Watched::fixed(Self::self_signed(names)?))
    }

    /// Opens the two files, which may be one and the same, and follows them.
    ///
    /// # Errors
    ///
    /// As [`ServingPair::parse`], or a file cannot be read.
    pub fn open(subject: &'static str, certificate: PathBuf, key: PathBuf) -> Result<Arc<Watched<Self>>, LoadError> {
        Watched::open(subject, vec![certificate, key], Self::parse)
    }

    /// Reads a certificate file and a key file, in this order.
    ///
    /// A certificate that is expired or not yet valid is no error, as in Go: see [`ServingPair::warning`].
    ///
    /// # Errors
    ///
    /// One of them is not valid or the key is another certificate's.
    pub fn parse(contents: &[Contents]) -> Result<Self, ParseError> {
        let [certificate_file, key_file] = contents else {
            return Err(ParseError::new("a certificate file and a key file are needed"));
        };
        let chain = pem::certificates(certificate_file)?;
        let key = pem::private_key(key_file)?;
        let key = sign::any_supported_type(&key).map_err(|error| {
            let message = "the private key is none that is supported: RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, Ed25519";
            ParseError::new(message).in_file(key_file.path()).because(error)
        })?;
        let (location, first) = chain.first().ok_or_else(|| ParseError::new("no certificate").in_file(certificate_file.path()))?;
        let leaf = parse_certificate(first).map_err(|error| {
            let message = "the CERTIFICATE block holds no X.509 certificate";
            ParseError::new(message).in_file(certificate_file.path()).at(*location).because(error)
        })?;
        // Not `CertifiedKey::keys_match`: it cannot read version 1 certificates, which Go serves.
        let owns_key = |certificate: &X509Certificate<'_>| match key.public_key() {
            Some(info) => certificate.public_key().raw == info.as_ref(),
            None => true,
        };
        if !owns_key(&leaf) {
            let owner = chain.iter().position(|(_, certificate)| parse_certificate(certificate).is_ok_and(|parsed| owns_key(&parsed)));
            return Err(ParseError::new(match owner {
                Some(index) => {
                    format!("the private key belongs to certificate {} of the file, and must belong to the first", index + 1)
                }
                None => "the private key is not the certificate's, and must be".to_owned(),
            }));
        }
        let (not_before, not_after) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        let chain = chain.iter().map(|(_, certificate)| certificate.clone()).collect();
        Ok(Self { certified: Arc::new(CertifiedKey::new(chain, key)), not_before, not_after })
    }

    /// Makes a certificate for these host names and addresses that is valid for a year: P-256, so it costs no time.
    ///
    /// Names that a certificate cannot have are left out; `localhost` stands in for all of them.
    ///
    /// # Errors
    ///
    /// The cryptographic library fails.
    pub fn self_signed(names: &[String]) -> Result<Self, SelfSignedError> {
        generate(names).map_err(SelfSignedError)
    }

    /// Whether its certificate has this DNS name, or wildcard, letter by letter.
    pub fn has_name(&self, name: &str) -> bool {
        let leaf = self.certified.cert.first().and_then(|leaf| EndEntityCert::try_from(leaf).ok());
        leaf.is_some_and(|leaf| leaf.valid_dns_names().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// Why clients will not accept it at this time, in Unix seconds; `None` while they will.
    pub fn warning(&self, now: i64) -> Option<&'static str> {
        match now {
            _ if now < self.not_before => Some("the certificate is not valid yet"),
            _ if now > self.not_after => Some("the certificate has expired"),
            _ => None,
        }
    }
}

/// Reads a certificate that has no bytes after it.
pub(crate) fn parse_certificate<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, X509Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(X509Error::InvalidCertificate),
        Err(error) => Err(error.into()),
    }
}

fn generate(names: &[String]) -> Result<ServingPair, Box<dyn Error + Send + Sync>> {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let mut alternatives: Vec<_> = names.iter().filter_map(|name| alternative(name)).collect();
    if alternatives.is_empty() {
        alternatives.extend(alternative("localhost"));
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = alternatives;
    params.distinguished_name = DistinguishedName::new();
    let name = names.first().map_or("localhost", String::as_str);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // An hour early, as in Go: clients' clocks differ.
    let start = SystemTime::now() - HOUR;
    params.not_before = start.into();
    params.not_after = (start + HOUR * 24 * 365).into();
    let certificate = params.self_signed(&key)?.der().clone();
    let signing = sign::any_supported_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    let parsed = parse_certificate(&certificate)?;
    let (not_before, not_after) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
    Ok(ServingPair { certified: Arc::new(CertifiedKey::new(vec![certificate.clone()], signing)), not_before, not_after })
}

/// Today, in Unix seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn alternative(name: &str) -> Option<SanType> {
    match name.parse::<IpAddr>() {
        Ok(address) => Some(SanType::IpAddress(address)),
        Err(_) if name.is_empty() => None,
        Err(_) => name.try_into().ok().map(SanType::DnsName),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;
    use crate::{
        Reload, Reloadable,
        test_certificates::{Issued, from_now},
    };

    const SUBJECT: &str = "--tls-cert-file, --tls-private-key-file";

    fn parse(certificate: &str, key: &str) -> Result<ServingPair, String> {
        let files = [Contents::new("tls.crt", certificate), Contents::new("tls.key", key)];
        ServingPair::parse(&files).map_err(|error| error.to_string())
    }

    fn write(directory: &Path, pair: (&str, &str)) -> (PathBuf, PathBuf) {
        let paths = (directory.join("tls.crt"), directory.join("tls.key"));
        fs::write(&paths.0, pair.0).expect("written");
        fs::write(&paths.1, pair.1).expect("written");
        paths
    }

    /// As kubelet lays out a Secret: files are links through `..data`, which is swapped at once.
    fn publish(volume: &Path, revision: &str, pair: &Issued) {
        let directory = volume.join(revision);
        fs::create_dir(&directory).expect("a directory");
        write(&directory, (&pair.certificate, &pair.key));
        std::os::unix::fs::symlink(revision, volume.join("..data_tmp")).expect("a link");
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("swapped");
    }

    fn leaf(watched: &Watched<ServingPair>) -> CertificateDer<'static> {
        watched.current().certified.cert[0].clone()
    }

    #[test]
    fn a_pair_keeps_its_chain_and_knows_its_validity() {
        let (ca, server) = (
            Issued::ca("ca"),
            Issued::new("s", |params| {
                params.not_before = rcgen::date_time_ymd(2001, 9, 9);
                params.not_after = rcgen::date_time_ymd(2033, 5, 18);
            }),
        );
        let pair = parse(&format!("{}{}", server.certificate, ca.certificate), &server.key).expect("a pair");
        assert_eq!(pair.certified.cert, [server.der, ca.der]);
        assert_eq!((pair.not_before, pair.not_after), (999_993_600, 1_999_987_200));
        assert_eq!(pair.warning(999_993_599), Some("the certificate is not valid yet"));
        assert_eq!(pair.warning(999_993_600), None);
        assert_eq!(pair.warning(1_999_987_201), Some("the certificate has expired"));
    }

    #[test]
    fn an_expired_certificate_is_served() {
        let expired = Issued::new("s", |params| params.not_after = from_now(-60).into());
        parse(&expired.certificate, &expired.key).expect("a pair");
    }

    #[test]
    fn one_file_may_hold_both() {
        let pair = Issued::server("s");
        for text in [format!("{}{}", pair.certificate, pair.key), format!("{}{}", pair.key, pair.certificate)] {
            parse(&text, &text).expect("a pair");
        }
    }

    #[test]
    fn every_kind_of_key_is_read_in_every_wrapping() {
        let keys = [
            (KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048), Some("RSA PRIVATE KEY")),
            (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256), Some("EC PRIVATE KEY")),
            (KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384), Some("EC PRIVATE KEY")),
            (KeyPair::generate_for(&PKCS_ED25519), None),
        ];
        for (key, inner) in keys {
            let key = key.expect("a key");
            let certificate = CertificateParams::default().self_signed(&key).expect("a certificate").pem();
            parse(&certificate, &key.serialize_pem()).expect("PKCS#8");
            let Some(label) = inner else { continue };
            // PKCS#8 wraps what PKCS#1 and SEC1 are alone.
            let der = key.serialize_der();
            let (_, wrapping) = x509_parser::der_parser::parse_der(&der).expect("DER");
            let inner = wrapping.as_sequence().expect("a sequence")[2].as_slice().expect("a string");
            let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(inner));
            parse(&certificate, &text).expect(label);
            // Go looks at the content alone.
            parse(&certificate, &text.replace(label, "PRIVATE KEY")).expect("mislabelled");
        }
    }

    #[test]
    fn what_is_no_pair_is_named() {
        let (a, b) = (Issued::server("a"), Issued::server("b"));
        assert_eq!(parse(&a.certificate, &b.key).expect_err("refused"), "the private key is not the certificate's, and must be",);
        assert_eq!(
            parse(&format!("{}{}", a.certificate, b.certificate), &b.key).expect_err("refused"),
            "the private key belongs to certificate 2 of the file, and must belong to the first",
        );
        let no_key = "-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n-----END PRIVATE KEY-----\n";
        let error = parse(&a.certificate, no_key).expect_err("refused");
        assert!(error.starts_with("tls.key"), "{error}");
        let error = parse("-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n", &a.key).expect_err("refused");
        assert_eq!(error, "tls.crt:1:1: the CERTIFICATE block holds no X.509 certificate");
    }

    #[test]
    fn a_mismatch_names_both_files_and_both_flags() {
        let directory = tempfile::tempdir().expect("a directory");
        let (a, b) = (Issued::server("a"), Issued::server("b"));
        let (certificate, key) = write(directory.path(), (&a.certificate, &b.key));
        let error = ServingPair::open(SUBJECT, certificate.clone(), key.clone()).expect_err("refused").to_string();
        let files = format!("{}, {}", certificate.display(), key.display());
        assert_eq!(error, format!("{SUBJECT}: {files}: the private key is not the certificate's, and must be"));
    }

    #[test]
    fn a_swapped_volume_is_followed() {
        let volume = tempfile::tempdir().expect("a directory");
        let (old, new) = (Issued::server("old"), Issued::server("new"));
        publish(volume.path(), "..1", &old);
        for name in ["tls.crt", "tls.key"] {
            std::os::unix::fs::symlink(format!("..data/{name}"), volume.path().join(name)).expect("a link");
        }
        let watched = ServingPair::open(SUBJECT, volume.path().join("tls.crt"), volume.path().join("tls.key")).expect("opened");
        assert!(matches!(watched.reload(), Reload::Unchanged));
        publish(volume.path(), "..2", &new);
        fs::remove_dir_all(volume.path().join("..1")).expect("removed");
        assert!(matches!(watched.reload(), Reload::Replaced));
        assert_eq!(leaf(&watched), new.der);
    }

    #[test]
    fn a_pair_that_is_broken_later_stays_as_it_was_and_is_reported_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let (old, new) = (Issued::server("old"), Issued::server("new"));
        let (certificate, key) = write(directory.path(), (&old.certificate, &old.key));
        let watched = ServingPair::open(SUBJECT, certificate.clone(), key.clone()).expect("opened");
        let half = new.certificate.get(..new.certificate.len() / 2).expect("half");
        let breaks: [(&str, &dyn Fn()); 4] = [
            ("the private key is not the certificate's", &|| fs::write(&certificate, &new.certificate).expect("written")),
            ("has no -----END line", &|| fs::write(&certificate, half).expect("written")),
            ("the file is empty", &|| fs::write(&certificate, "").expect("written")),
            ("cannot be read: No such file", &|| fs::remove_file(&certificate).expect("removed")),
        ];
        for (text, damage) in breaks {
            damage();
            let Reload::Kept(error) = watched.reload() else { panic!("not reported: {text}") };
            assert!(error.to_string().contains(text), "{error}");
            assert!(matches!(watched.reload(), Reload::Unchanged), "reported twice: {text}");
            assert_eq!(watched.status().last_error, Some(error.to_string()));
            assert_eq!((leaf(&watched), watched.generation()), (old.der.clone(), 0));
        }
        write(directory.path(), (&new.certificate, &new.key));
        assert!(matches!(watched.reload(), Reload::Replaced));
        assert_eq!((leaf(&watched), watched.generation(), watched.status().last_error), (new.der, 1, None));
    }

    #[test]
    fn a_self_signed_certificate_is_for_its_names_and_a_year() {
        let names = ["web-0".to_owned(), "10.0.0.1".to_owned(), "nämë".to_owned()];
        let pair = ServingPair::self_signed(&names).expect("made");
        let leaf = pair.certified.end_entity_cert().expect("a certificate");
        let leaf = rustls::server::ParsedCertificate::try_from(leaf).expect("parsed");
        for (name, fits) in [("web-0", true), ("10.0.0.1", true), ("web-1", false)] {
            let name = ServerName::try_from(name).expect("a name");
            assert_eq!(rustls::client::verify_server_name(&leaf, &name).is_ok(), fits, "{name:?}");
        }
        let now = UnixTime::now().as_secs() as i64;
        assert_eq!(pair.not_after - pair.not_before, 365 * 24 * 60 * 60);
        assert_eq!(pair.warning(now - 3700), Some("the certificate is not valid yet"));
        assert_eq!((pair.warning(now), pair.warning(now + 365 * 24 * 60 * 60)), (None, Some("the certificate has expired")));
    }

    #[test]
    fn without_a_usable_name_it_is_localhosts() {
        for names in [vec![], vec![String::new()], vec!["nämë".to_owned()]] {
            let pair = ServingPair::self_signed(&names).expect("made");
            let leaf =
                rustls::server::ParsedCertificate::try_from(pair.certified.end_entity_cert().expect("a certificate")).expect("parsed");
            let name = ServerName::try_from("localhost").expect("a name");
            rustls::client::verify_server_name(&leaf, &name).expect("localhost");
        }
    }
}
