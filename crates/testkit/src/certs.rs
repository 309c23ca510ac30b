use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// What a certificate may be used for.
pub use rcgen::ExtendedKeyUsagePurpose as Usage;

/// The subject attribute that Kubernetes reads a user's UID from.
pub const UID_ATTRIBUTE: &[u64] = &[1, 3, 6, 1, 4, 1, 57683, 2];

/// Serving pairs made by openssl, for what this factory does not make: `localhost` and `127.0.0.1`, good until 2126.
pub mod fixtures {
    /// An RSA certificate and its key in PKCS#1 and PKCS#8.
    pub const RSA_CERT: &str = include_str!("../fixtures/rsa.crt");
    /// `BEGIN RSA PRIVATE KEY`.
    pub const RSA_PKCS1: &str = include_str!("../fixtures/rsa-pkcs1.key");
    /// `BEGIN PRIVATE KEY`.
    pub const RSA_PKCS8: &str = include_str!("../fixtures/rsa-pkcs8.key");
    /// A P-256 certificate and its key in SEC1 and PKCS#8.
    pub const EC_CERT: &str = include_str!("../fixtures/ec.crt");
    /// `BEGIN EC PRIVATE KEY`, behind the `BEGIN EC PARAMETERS` that openssl writes.
    pub const EC_SEC1: &str = include_str!("../fixtures/ec-sec1.key");
    /// `BEGIN PRIVATE KEY`.
    pub const EC_PKCS8: &str = include_str!("../fixtures/ec-pkcs8.key");
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate first, then those between it and the root, which is left out.
    chain: Vec<String>,
    pem: String,
}

/// A chain and the key of its first certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// PEM, leaf first.
    pub chain: String,
    /// PEM, PKCS#8.
    pub key: String,
}

/// What a certificate says of its owner. The default is valid from a minute ago for a day.
#[derive(Clone, Debug)]
pub struct Subject {
    common_name: Option<String>,
    organizations: Vec<String>,
    uids: Vec<String>,
    names: Vec<String>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    validity: Validity,
}

#[derive(Clone, Copy, Debug)]
enum Validity {
    Now(Duration),
    Past,
    Future,
}

impl Authority {
    /// A root.
    pub fn new(name: &str) -> Self {
        let (params, key) = (authority_params(name), new_key());
        let certificate = params.self_signed(&key).expect("the parameters are good");
        Self { issuer: Issuer::new(params, key), chain: Vec::new(), pem: certificate.pem() }
    }

    /// An authority that this one vouches for. Its leaves carry it in their chains.
    pub fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (authority_params(name), new_key());
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are good");
        let chain = [vec![certificate.pem()], self.chain.clone()].concat();
        Self { issuer: Issuer::new(params, key), chain, pem: certificate.pem() }
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A serving pair for `localhost`, `127.0.0.1` and `::1`.
    pub fn server(&self) -> Pair {
        self.issue(&Subject::server(&["localhost", "127.0.0.1", "::1"]))
    }

    /// A client's pair.
    pub fn client(&self, common_name: &str, organizations: &[&str]) -> Pair {
        self.issue(&Subject::client(common_name, organizations))
    }

    /// A pair for any subject.
    pub fn issue(&self, subject: &Subject) -> Pair {
        let key = new_key();
        let certificate = subject.params().signed_by(&key, &self.issuer).expect("the parameters are good");
        Pair { chain: [certificate.pem(), self.chain.concat()].concat(), key: key.serialize_pem() }
    }
}

impl Subject {
    /// For `clientAuth`. Two organizations at most: rcgen keeps one attribute of a type, and a type can be spelled
    /// in two ways.
    pub fn client(common_name: &str, organizations: &[&str]) -> Self {
        assert!(organizations.len() <= 2, "rcgen cannot write more");
        Self {
            common_name: Some(common_name.to_owned()),
            organizations: organizations.iter().map(|&name| name.to_owned()).collect(),
            uids: Vec::new(),
            names: Vec::new(),
            usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
            validity: Validity::Now(Duration::from_hours(24)),
        }
    }

    /// For `serverAuth`, with DNS names and IP addresses.
    pub fn server(names: &[&str]) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Self { names, usages: vec![ExtendedKeyUsagePurpose::ServerAuth], ..Self::client("server", &[]) }
    }

    /// Leaves the common name out.
    #[must_use]
    pub fn nameless(self) -> Self {
        Self { common_name: None, ..self }
    }

    /// Adds the UID attribute.
    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        self.uids.push(uid.to_owned());
        self
    }

    /// Replaces the extended key usages; none leaves the extension out.
    #[must_use]
    pub fn usages(self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        Self { usages: usages.to_vec(), ..self }
    }

    /// Was valid once.
    #[must_use]
    pub fn expired(self) -> Self {
        Self { validity: Validity::Past, ..self }
    }

    /// Will be valid once.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        Self { validity: Validity::Future, ..self }
    }

    /// Valid now and for this long, in whole seconds.
    #[must_use]
    pub fn valid_for(self, left: Duration) -> Self {
        Self { validity: Validity::Now(left), ..self }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).expect("the names are good");
        let mut name = DistinguishedName::new();
        for (kind, organization) in [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])].into_iter().zip(&self.organizations)
        {
            name.push(kind, organization.as_str());
        }
        if let Some(common_name) = &self.common_name {
            name.push(DnType::CommonName, common_name.as_str());
        }
        for uid in &self.uids {
            name.push(DnType::CustomDnType(UID_ATTRIBUTE.to_vec()), uid.as_str());
        }
        params.distinguished_name = name;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.usages.clone();
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = match self.validity {
            Validity::Now(left) => {
                let epoch = date_time_ymd(1970, 1, 1);
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
                (epoch + (now - Duration::from_mins(1)), epoch + (now + left))
            }
            Validity::Past => (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1)),
            Validity::Future => (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1)),
        };
        params
    }
}

impl Pair {
    /// A pair that vouches for itself, in whatever PEM forms.
    pub fn from_pem(chain: &str, key: &str) -> Self {
        Self { chain: chain.to_owned(), key: key.to_owned() }
    }

    /// This chain with another's key: what somebody has who saw a certificate and stole no key.
    #[must_use]
    pub fn with_key_of(&self, other: &Self) -> Self {
        Self { chain: self.chain.clone(), key: other.key.clone() }
    }

    /// The certificates, leaf first.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<_, _>>().expect("the chain is PEM")
    }

    /// The key.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("the key is PEM")
    }

    /// Writes `NAME.crt` and `NAME.key` into a folder and returns both paths.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let paths = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        fs::write(&paths.0, &self.chain).expect("the folder is writable");
        fs::write(&paths.1, &self.key).expect("the folder is writable");
        paths
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.custom_extensions = Vec::<CustomExtension>::new();
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("P-256 keys can be made")
}
