use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, NameConstraints, ParsedExtension, X509Extension},
    x509::X509Version,
};

use crate::{Contents, ParseError, pem, serving::parse_certificate};

/// A certificate authority, with what Go checks of one and webpki does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// For webpki.
    pub trust: TrustAnchor<'static>,
    /// When it becomes valid, in Unix seconds.
    pub not_before: i64,
    /// When it stops being valid, in Unix seconds.
    pub not_after: i64,
    /// How many certificates may stand between it and a leaf; `None`: any number.
    pub max_path_length: Option<u32>,
}

impl Anchor {
    /// Whether Go takes it as an issuer at this time, in Unix seconds.
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// Whom the certificates of a bundle vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Clients,
    Servers,
}

/// What a PEM bundle of authorities holds.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) anchors: Vec<Anchor>,
    /// All of them, those skipped too.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) skipped: Vec<String>,
}

impl Bundle {
    /// Reads the first file.
    ///
    /// # Errors
    ///
    /// There is no certificate in it, or one that cannot be read: Go refuses the whole file then.
    pub(crate) fn parse(contents: &[Contents], purpose: Purpose) -> Result<Self, ParseError> {
        let file = contents.first().ok_or_else(|| ParseError::new("a file of certificates is needed"))?;
        let mut bundle = Self { anchors: Vec::new(), certificates: Vec::new(), skipped: Vec::new() };
        for (location, certificate) in pem::certificates(file)? {
            let broken = || ParseError::new("the CERTIFICATE block holds no X.509 certificate").in_file(file.path()).at(location);
            let parsed = parse_certificate(&certificate).map_err(|error| broken().because(error))?;
            let read = Constraints::read(&parsed, purpose).ok_or_else(broken)?;
            let anchor = match read.unfit_for(purpose) {
                Some(why) => Err(why.to_owned()),
                None => webpki::anchor_from_trusted_cert(&certificate).map_err(|error| format!("it cannot be read ({error})")),
            };
            match anchor {
                Ok(trust) => bundle.anchors.push(Anchor {
                    trust: trust.to_owned(),
                    not_before: parsed.validity().not_before.timestamp(),
                    not_after: parsed.validity().not_after.timestamp(),
                    max_path_length: read.max_path_length,
                }),
                Err(why) => bundle.skipped.push(format!(
                    "{}:{location}: the certificate of \"{}\" vouches for nobody: {why}",
                    file.path().display(),
                    parsed.subject().to_string().escape_debug(),
                )),
            }
            bundle.certificates.push(certificate);
        }
        Ok(bundle)
    }
}

/// What Go's `crypto/x509` looks at before it takes a certificate as an issuer: `CheckSignatureFrom`, `isValid` and
/// `checkChainForKeyUsage`.
struct Constraints {
    /// As `basicConstraints` says, without which it was so before version 3.
    is_ca: bool,
    max_path_length: Option<u32>,
    may_sign_certificates: bool,
    may_vouch: bool,
    has_unknown_critical: bool,
}

impl Constraints {
    /// `None` where an extension that it has to know cannot be read.
    fn read(certificate: &X509Certificate<'_>, purpose: Purpose) -> Option<Self> {
        let is_ca = certificate.version() != X509Version::V3;
        let mut read = Self { is_ca, max_path_length: None, may_sign_certificates: true, may_vouch: true, has_unknown_critical: false };
        // An extension that is there twice makes the map, and Go's parser, fail.
        certificate.extensions_map().ok()?;
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    read.is_ca = constraints.ca;
                    read.max_path_length = constraints.path_len_constraint;
                }
                // Go takes a usage of no bits for none given.
                ParsedExtension::KeyUsage(usage) => read.may_sign_certificates = usage.flags == 0 || usage.key_cert_sign(),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    let is_named = if purpose == Purpose::Clients { usage.client_auth } else { usage.server_auth };
                    read.may_vouch = usage.any || is_named;
                }
                ParsedExtension::ParseError { .. } => return None,
                _ => {}
            }
            read.has_unknown_critical |= extension.critical && !go_handles(extension);
        }
        Some(read)
    }

    fn unfit_for(&self, purpose: Purpose) -> Option<&'static str> {
        match purpose {
            _ if self.has_unknown_critical => Some("it has a critical extension that is not understood"),
            Purpose::Clients if !self.is_ca => Some("it is no authority (basicConstraints has no CA:TRUE)"),
            Purpose::Clients if !self.may_sign_certificates => Some("it must not sign certificates (keyUsage has no keyCertSign)"),
            Purpose::Clients if !self.may_vouch => Some("it is not for clients (extendedKeyUsage has no clientAuth)"),
            Purpose::Servers if !self.may_vouch => Some("it is not for servers (extendedKeyUsage has no serverAuth)"),
            // A server's own certificate is no authority, and the usual content of --upstream-ca-file.
            Purpose::Clients | Purpose::Servers => None,
        }
    }
}

/// Whether Go's parser takes note of an extension, as it must of a critical one.
fn go_handles(extension: &X509Extension<'_>) -> bool {
    let is_known =
        |name: &_| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_) | GeneralName::RFC822Name(_) | GeneralName::URI(_));
    match extension.parsed_extension() {
        ParsedExtension::NameConstraints(NameConstraints { permitted_subtrees, excluded_subtrees }) => {
            permitted_subtrees.iter().chain(excluded_subtrees).flatten().all(|subtree| is_known(&subtree.base))
        }
        ParsedExtension::SubjectAlternativeName(names) => names.general_names.iter().any(is_known),
        ParsedExtension::AuthorityKeyIdentifier(_)
        | ParsedExtension::BasicConstraints(_)
        | ParsedExtension::CertificatePolicies(_)
        | ParsedExtension::CRLDistributionPoints(_)
        | ParsedExtension::ExtendedKeyUsage(_)
        | ParsedExtension::InhibitAnyPolicy(_)
        | ParsedExtension::KeyUsage(_)
        | ParsedExtension::PolicyConstraints(_)
        | ParsedExtension::PolicyMappings(_) => true,
        _ => false,
    }
}
