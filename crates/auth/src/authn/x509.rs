use std::sync::Arc;

use aws_lc_rs::digest;
use quick_cache::sync::Cache;
use request::User;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use settings::{Anchor, ClientCa, Watched};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{authn::subject, clock::Clock};

/// Chains whose verification is remembered, and as many that do not verify.
const MEMO: usize = 1024;
/// In seconds: how long a chain counts for bad in which a certificate cannot be read.
const UNREADABLE: i64 = 10;
/// A chain that is longer is refused: each certificate in it may cost signature checks.
const MAX_CERTIFICATES: usize = 10;
const MAX_CHAIN_BYTES: usize = 64 * 1024;

/// `anyExtendedKeyUsage`
const ANY_USAGE: &[usize] = &[2, 5, 29, 37, 0];

/// Authenticates by the client certificate of the connection, as `k8s.io/apiserver/pkg/authentication/request/x509`.
///
/// Each request is judged by the authorities and the clock of its own time; what is remembered of a chain holds for as
/// long as it would be found again.
pub(crate) struct X509 {
    authorities: Arc<Watched<ClientCa>>,
    clock: Arc<dyn Clock>,
    memo: Memo,
    /// Apart, so that chains that anybody can make displace none that verifies.
    refused: Memo,
}

type Memo = Cache<[u8; 32], Arc<Judged>>;

/// What was found of a chain.
struct Judged {
    found: Result<Option<User>, String>,
    /// When it would be found again.
    while_at: Validity,
}

/// When a certificate counts, in seconds since 1970, both ends included, as in Go.
#[derive(Clone, Copy)]
struct Validity {
    from: i64,
    until: i64,
}

impl X509 {
    pub(crate) fn new(authorities: Arc<Watched<ClientCa>>, clock: Arc<dyn Clock>) -> Self {
        Self { authorities, clock, memo: Cache::new(MEMO), refused: Cache::new(MEMO) }
    }

    /// Whose a presented chain is; `None` when there is none or it names nobody.
    ///
    /// # Errors
    ///
    /// Why the chain proves nothing, for the log.
    pub(crate) fn authenticate(&self, chain: &[CertificateDer<'static>]) -> Result<Option<User>, String> {
        let Some((leaf, intermediates)) = chain.split_first() else { return Ok(None) };
        if chain.len() > MAX_CERTIFICATES || chain.iter().map(|certificate| certificate.len()).sum::<usize>() > MAX_CHAIN_BYTES {
            return Err("the client certificate's chain is too long".to_owned());
        }
        // The generation first: what is derived from an older value is never remembered as a newer one's.
        let generation = self.authorities.generation();
        let now = self.clock.unix();
        let key = fingerprint(chain, generation);
        let memos = [&self.memo, &self.refused];
        if let Some(known) = memos.into_iter().find_map(|memo| memo.get(&key).filter(|known| known.while_at.holds(now))) {
            return known.found.clone();
        }
        let ca = self.authorities.current();
        let (memo, judged) = match verify(leaf, intermediates, &ca, now) {
            Ok((user, while_at)) => (&self.memo, Judged { found: Ok(user), while_at }),
            Err(why) => {
                let why = format!("the client certificate X509SHA256={} does not verify: {why}", subject::sha256(leaf));
                (&self.refused, Judged { found: Err(why), while_at: unchanged(chain, &ca, now) })
            }
        };
        let found = judged.found.clone();
        // Certificates that are valid at no common time verify all the same when they are of no use to the path.
        if judged.while_at.holds(now) {
            memo.insert(key, Arc::new(judged));
        }
        found
    }
}

impl Validity {
    const ALWAYS: Self = Self { from: i64::MIN, until: i64::MAX };

    fn holds(self, now: i64) -> bool {
        (self.from..=self.until).contains(&now)
    }

    fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// The time around this one in which what is valid stays so, and what is not too.
    fn around(self, now: i64) -> Self {
        if now < self.from {
            Self { from: i64::MIN, until: self.from - 1 }
        } else if now > self.until {
            Self { from: self.until + 1, until: i64::MAX }
        } else {
            self
        }
    }

    fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() }
    }
}

/// How long a chain that does not verify now never will: until a certificate, or an authority, begins or ends.
fn unchanged(chain: &[CertificateDer<'_>], ca: &ClientCa, now: i64) -> Validity {
    let presented = chain.iter().map(|certificate| match X509Certificate::from_der(certificate) {
        Ok((_, certificate)) => Validity::of(&certificate).around(now),
        Err(_) => Validity { from: now, until: now + UNREADABLE },
    });
    let anchors = ca.anchors.iter().map(|anchor| Validity { from: anchor.not_before, until: anchor.not_after }.around(now));
    presented.chain(anchors).fold(Validity::ALWAYS, Validity::and)
}

/// Whose the chain is, if it names somebody, and when every certificate presented and the authority are valid.
fn verify(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    ca: &ClientCa,
    now: i64,
) -> Result<(Option<User>, Validity), String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| "it is no X.509 certificate".to_owned())?;
    let anchor = match ca.contains(leaf) {
        true => believe(&parsed, now).map(|()| Validity::ALWAYS)?,
        false => build_path(leaf, intermediates, ca, now)?,
    };
    let mut valid = anchor.and(Validity::of(&parsed));
    for certificate in intermediates {
        if let Ok((_, certificate)) = X509Certificate::from_der(certificate) {
            valid = valid.and(Validity::of(&certificate));
        }
    }
    Ok((subject::user(leaf, parsed.subject())?, valid))
}

/// Go believes a certificate that is itself in the bundle, if it is valid and for clients.
fn believe(leaf: &X509Certificate<'_>, now: i64) -> Result<(), String> {
    if !Validity::of(leaf).holds(now) {
        return Err("it is not valid now".to_owned());
    }
    if leaf.extensions().iter().any(|extension| extension.critical && extension.parsed_extension().unsupported()) {
        return Err("it has a critical extension that is not understood".to_owned());
    }
    match leaf.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.any || usage.value.client_auth => Ok(()),
        _ => Err("it is not for client authentication".to_owned()),
    }
}

/// When the authority at the path's end is valid.
fn build_path(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], ca: &ClientCa, now: i64) -> Result<Validity, String> {
    let anchors: Vec<&Anchor> = ca.anchors_at(now).collect();
    let trusted: Vec<TrustAnchor<'_>> = anchors.iter().map(|anchor| anchor.trust.clone()).collect();
    let anchor_of = |path: &VerifiedPath<'_>| {
        let index = trusted.iter().position(|trust| std::ptr::eq(trust, path.anchor()))?;
        anchors.get(index).copied()
    };
    let fits = |path: &VerifiedPath<'_>| {
        let length = path.intermediate_certificates().count();
        match anchor_of(path) {
            Some(anchor) if anchor.max_path_length.is_none_or(|max| length <= max as usize) => Ok(()),
            Some(_) => Err(webpki::Error::PathLenConstraintViolated),
            None => Err(webpki::Error::UnknownIssuer),
        }
    };
    let leaf = EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now).unwrap_or_default()));
    let path = leaf
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &trusted, intermediates, time, ForClients, None, Some(&fits))
        .map_err(|error| error.to_string())?;
    let anchor = anchor_of(&path).ok_or("its authority is not known")?;
    Ok(Validity { from: anchor.not_before, until: anchor.not_after })
}

/// `clientAuth`, `anyExtendedKeyUsage`, or no restriction.
struct ForClients;

impl ExtendedKeyUsageValidator for ForClients {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for usage in usages {
            let usage = usage?.to_decoded_oid();
            if usage == KeyUsage::CLIENT_AUTH_REPR || usage == ANY_USAGE {
                return Ok(());
            }
            present.push(usage);
        }
        match present.is_empty() {
            true => Ok(()),
            false => {
                Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required: KeyUsage::client_auth(), present }))
            }
        }
    }
}

fn fingerprint(chain: &[CertificateDer<'_>], generation: u64) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&generation.to_le_bytes());
    for certificate in chain {
        context.update(&(certificate.len() as u64).to_le_bytes());
        context.update(certificate);
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests;
