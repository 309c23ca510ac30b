//! The authorities whose client certificates are believed: `--client-ca-file`.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use rustls_pki_types::CertificateDer;

use crate::{
    Anchor, Contents, LoadError, ParseError, Watched,
    anchor::{Bundle, Purpose},
};

/// The authorities that vouch for clients.
///
/// webpki looks at neither validity nor constraints of what it is told to trust, and Go does. What Go never takes as
/// an issuer is therefore not among the anchors, and the rest says when it may be used.
#[derive(Clone, Debug)]
pub struct ClientCa {
    /// To be used while they are valid: see [`ClientCa::anchors_at`].
    pub anchors: Vec<Anchor>,
    /// Which certificates of the file vouch for nobody, and why: warnings.
    pub skipped: Vec<String>,
    certificates: HashSet<Vec<u8>>,
}

impl ClientCa {
    /// Opens the file and follows it.
    ///
    /// # Errors
    ///
    /// As [`ClientCa::parse`], or the file cannot be read.
    pub fn open(subject: &'static str, path: PathBuf) -> Result<Arc<Watched<Self>>, LoadError> {
        Watched::open(subject, vec![path], Self::parse)
    }

    /// Reads a PEM bundle.
    ///
    /// # Errors
    ///
    /// There is no certificate in it, or one of its blocks is broken.
    pub fn parse(contents: &[Contents]) -> Result<Self, ParseError> {
        let Bundle { anchors, certificates, skipped } = Bundle::parse(contents, Purpose::Clients)?;
        Ok(Self { anchors, skipped, certificates: certificates.iter().map(|certificate| certificate.to_vec()).collect() })
    }

    /// The anchors that are valid at this time, in Unix seconds.
    pub fn anchors_at(&self, now: i64) -> impl Iterator<Item = &Anchor> {
        self.anchors.iter().filter(move |anchor| anchor.is_valid_at(now))
    }

    /// Whether the file holds this very certificate.
    ///
    /// Go believes a client's certificate that is itself in the file, authority or not, when it is valid now and may be
    /// used for client authentication. Those two are left to the caller.
    pub fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.contains::<[u8]>(certificate)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
        NameConstraints,
    };

    use super::*;
    use crate::test_certificates::{Issued, from_now};

    const SKIPPED: &str = "ca.pem:1:1: the certificate of \"CN=x\" vouches for nobody: ";

    fn file(text: impl Into<Vec<u8>>) -> [Contents; 1] {
        [Contents::new("ca.pem", text.into())]
    }

    fn ca(change: impl FnOnce(&mut CertificateParams)) -> ClientCa {
        let issued = Issued::new("x", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            change(params);
        });
        ClientCa::parse(&file(issued.certificate)).expect("a bundle")
    }

    fn critical(oid: &[u64], content: &[u8]) -> CustomExtension {
        let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
        extension.set_criticality(true);
        extension
    }

    #[test]
    fn an_authority_is_an_anchor_while_it_is_valid() {
        let ca = ca(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
            params.not_before = rcgen::date_time_ymd(2001, 9, 9);
            params.not_after = rcgen::date_time_ymd(2033, 5, 18);
        });
        assert_eq!(ca.skipped, [""; 0]);
        assert_eq!(ca.anchors[0].max_path_length, Some(1));
        let at = |now| ca.anchors_at(now).count();
        assert_eq!((at(999_993_599), at(999_993_600), at(1_999_987_200), at(1_999_987_201)), (0, 1, 1, 0));
    }

    #[test]
    fn what_go_takes_as_an_issuer_is_an_anchor() {
        let fits: [fn(&mut CertificateParams); 6] = [
            |_| {},
            |params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
            |params| {
                let permitted_subtrees = vec![GeneralSubtree::DnsName("example.com".to_owned())];
                params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
            },
            // Not critical, so it may be passed over.
            |params| params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0])),
        ];
        for fit in fits {
            let ca = ca(fit);
            assert_eq!((ca.anchors.len(), ca.skipped), (1, vec![]));
        }
    }

    #[test]
    fn what_go_never_takes_as_an_issuer_is_skipped_by_name() {
        type Change = fn(&mut CertificateParams);
        let unfit: [(Change, &str); 7] = [
            (|params| params.is_ca = IsCa::NoCa, "it is no authority (basicConstraints has no CA:TRUE)"),
            (|params| params.is_ca = IsCa::ExplicitNoCa, "it is no authority (basicConstraints has no CA:TRUE)"),
            (
                |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
                "it must not sign certificates (keyUsage has no keyCertSign)",
            ),
            (
                |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
                "it is not for clients (extendedKeyUsage has no clientAuth)",
            ),
            (
                |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![1, 2, 3, 4])],
                "it is not for clients (extendedKeyUsage has no clientAuth)",
            ),
            (
                |params| params.custom_extensions.push(critical(&[1, 2, 3, 4], &[5, 0])),
                "it has a critical extension that is not understood",
            ),
            (
                // Go does not enforce constraints on directory names, and so refuses them.
                |params| {
                    let excluded_subtrees = vec![GeneralSubtree::DirectoryName(rcgen::DistinguishedName::new())];
                    params.name_constraints = Some(NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees });
                },
                "it has a critical extension that is not understood",
            ),
        ];
        for (change, why) in unfit {
            let ca = ca(change);
            assert_eq!(ca.anchors, []);
            assert_eq!(ca.skipped, [format!("{SKIPPED}{why}")]);
        }
    }

    #[test]
    fn the_certificates_of_the_file_are_known_even_when_skipped() {
        let (leaf, ca, other) = (Issued::server("leaf"), Issued::ca("ca"), Issued::ca("other"));
        let bundle = ClientCa::parse(&file(format!("{}{}", leaf.certificate, ca.certificate))).expect("a bundle");
        assert_eq!((bundle.anchors.len(), bundle.skipped.len()), (1, 1));
        assert!(bundle.contains(&leaf.der) && bundle.contains(&ca.der) && !bundle.contains(&other.der));
    }

    #[test]
    fn an_expired_authority_is_no_fault_of_the_file() {
        let ca = ca(|params| params.not_after = from_now(-60).into());
        assert_eq!((ca.anchors.len(), ca.anchors_at(i64::MAX).count()), (1, 0));
    }

    #[test]
    fn a_file_without_a_certificate_or_with_a_broken_one_is_refused_whole() {
        let ca = Issued::ca("ca");
        let refusal = |text: &str| ClientCa::parse(&file(text)).expect_err("refused").to_string();
        assert_eq!(refusal(""), "ca.pem: no CERTIFICATE block: the file is empty");
        assert_eq!(refusal(&ca.key), "ca.pem: no CERTIFICATE block: found PRIVATE KEY");
        let broken = format!("{}-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n", ca.certificate);
        let line = ca.certificate.lines().count() + 1;
        assert_eq!(refusal(&broken), format!("ca.pem:{line}:1: the CERTIFICATE block holds no X.509 certificate"));
    }
}
