//! The authorities whose server certificates are believed: `--upstream-ca-file`.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use crate::{
    Anchor, Contents, LoadError, ParseError, Watched,
    anchor::{Bundle, Purpose},
    serving::parse_certificate,
};

/// The authorities that vouch for the upstream.
#[derive(Clone, Debug)]
pub struct UpstreamRoots {
    /// Which certificates of the file vouch for nobody, and why: warnings.
    pub skipped: Vec<String>,
    anchors: Vec<Anchor>,
    certificates: HashSet<Vec<u8>>,
}

impl UpstreamRoots {
    /// Opens the file and follows it.
    ///
    /// # Errors
    ///
    /// As [`UpstreamRoots::parse`], or the file cannot be read.
    pub fn open(subject: &'static str, path: PathBuf) -> Result<Arc<Watched<Self>>, LoadError> {
        Watched::open(subject, vec![path], Self::parse)
    }

    /// Reads a PEM bundle.
    ///
    /// # Errors
    ///
    /// There is no certificate in it, or one of its blocks is broken.
    pub fn parse(contents: &[Contents]) -> Result<Self, ParseError> {
        let Bundle { anchors, certificates, skipped } = Bundle::parse(contents, Purpose::Servers)?;
        Ok(Self { skipped, anchors, certificates: certificates.iter().map(|certificate| certificate.to_vec()).collect() })
    }

    /// What rustls is to trust at this time, in Unix seconds: it would itself trust an expired root.
    ///
    /// A certificate that is no authority is among them, so that an upstream with a self-signed one is believed. Whoever
    /// holds its key could vouch for another name with it, but is the upstream already.
    pub fn root_store(&self, now: i64) -> RootCertStore {
        RootCertStore { roots: self.anchors.iter().filter(|anchor| anchor.is_valid_at(now)).map(|anchor| anchor.trust.clone()).collect() }
    }

    /// Whether the file holds this very certificate, and it is a server's and valid at this time, in Unix seconds.
    ///
    /// Go believes such an upstream when it also has the upstream's name. webpki refuses it when it says CA:TRUE, as
    /// `openssl req -x509` makes it.
    pub fn holds(&self, certificate: &CertificateDer<'_>, now: i64) -> bool {
        self.certificates.contains::<[u8]>(certificate) && parse_certificate(certificate).is_ok_and(|parsed| is_servers_at(&parsed, now))
    }
}

fn is_servers_at(certificate: &X509Certificate<'_>, now: i64) -> bool {
    let validity = certificate.validity();
    let is_valid = (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now);
    let is_understood = certificate.extensions().iter().all(|extension| !extension.critical || !extension.parsed_extension().unsupported());
    let is_servers = match certificate.extended_key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => usage.value.any || usage.value.server_auth,
        Err(_) => false,
    };
    is_valid && is_understood && is_servers
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use rcgen::ExtendedKeyUsagePurpose;
    use rustls::{client::WebPkiServerVerifier, client::danger::ServerCertVerifier, crypto::aws_lc_rs};
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;
    use crate::test_certificates::{Issued, from_now};

    fn now() -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
    }

    fn roots(text: &str) -> UpstreamRoots {
        UpstreamRoots::parse(&[Contents::new("ca.pem", text)]).expect("a bundle")
    }

    #[test]
    fn an_upstream_with_a_self_signed_certificate_is_believed() {
        let upstream = Issued::server("upstream");
        let store = Arc::new(roots(&upstream.certificate).root_store(now()));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(store, provider).build().expect("a verifier");
        let name = ServerName::try_from("upstream").expect("a name");
        verifier.verify_server_cert(&upstream.der, &[], &name, &[], UnixTime::now()).expect("believed");
    }

    #[test]
    fn an_expired_root_is_trusted_no_more() {
        let expired = Issued::new("expired", |params| params.not_after = from_now(-60).into());
        let roots = roots(&format!("{}{}", expired.certificate, Issued::ca("ca").certificate));
        assert_eq!((roots.root_store(now()).len(), roots.root_store(now() - 120).len()), (1, 2));
        assert!(!roots.holds(&expired.der, now()) && roots.holds(&expired.der, now() - 120));
    }

    #[test]
    fn an_authority_for_clients_alone_is_skipped() {
        let clients = Issued::new("x", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        let roots = roots(&clients.certificate);
        assert!(roots.root_store(now()).is_empty());
        let why = "it is not for servers (extendedKeyUsage has no serverAuth)";
        assert!(!roots.holds(&clients.der, now()));
        assert_eq!(roots.skipped, [format!("ca.pem:1:1: the certificate of \"CN=x\" vouches for nobody: {why}")]);
    }
}
