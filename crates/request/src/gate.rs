use std::{future::Future, net::SocketAddr, sync::Arc};

use http::{HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;

use crate::{CanonicalRequest, Form, Reads, Refusal, User};

/// Decides whether a request may pass. The one meeting point of those who decide and those who carry bytes.
pub trait Gate: Send + Sync + Sized {
    /// The gate as it is configured now. Whoever reads and decides a request does both by one such value.
    #[must_use]
    fn today(&self) -> Self;

    /// What [`Gate::decide`] reads of a request: that much must be unambiguous.
    fn reads(&self) -> &Reads;

    /// Decides about one request; about its form too where it [has one](CanonicalRequest::has_form). Dropping the future is
    /// safe: nothing is half decided.
    fn decide(&self, request: &CanonicalRequest, peer: &Peer, form: &mut impl Form) -> impl Future<Output = Decision> + Send;
}

/// The far end of the connection that a request arrived on. Nothing in it names a user.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The certificates the client presented, leaf first, with proof of possession of the leaf's key and nothing
    /// else verified. Empty without TLS or when none was presented.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// Whether the connection is over TLS.
    pub secure: bool,
}

/// What a gate says of a request.
#[derive(Debug)]
pub enum Decision {
    /// The user may do this.
    Allow(Grant),
    /// The request passes although nobody was asked: a door that the configuration holds open.
    Open(OpenDoor),
    /// The request goes no further.
    Refuse(Refusal),
}

/// What a user was granted: to send this request, with these headers about him.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who may.
    pub user: User,
    /// Headers for the upstream, set after everything a client sent under these names is gone.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether they are his own credentials: then this program's certificate must not go along, or he would act as this program.
    pub as_himself: bool,
}

/// Why a request passes without anybody being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenDoor {
    /// `--ignore-paths` names its path.
    IgnoredPath,
}

/// The right to send one request upstream, together with that request.
///
/// Only [`admit`] makes one, so a request that was not decided cannot be sent, nor another than the one decided:
///
/// ```compile_fail,E0451
/// fn forge(request: request::CanonicalRequest) -> request::Permit {
///     request::Permit { request, grant: None }
/// }
/// ```
///
/// ```compile_fail,E0616
/// fn swap(permit: &mut request::Permit, other: request::CanonicalRequest) {
///     permit.request = other;
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn twice(permit: &request::Permit) -> request::Permit {
///     permit.clone()
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    request: CanonicalRequest,
    grant: Option<Grant>,
}

impl Permit {
    /// Who was admitted; `None` behind an open door.
    pub fn user(&self) -> Option<&User> {
        self.grant.as_ref().map(|grant| &grant.user)
    }

    /// Whether the user acts by credentials of his own.
    pub fn is_as_himself(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.as_himself)
    }

    /// What the upstream is told of him.
    pub fn told(&self) -> &[(HeaderName, HeaderValue)] {
        self.grant.as_ref().map_or(&[], |grant| &grant.headers)
    }

    /// The request that was admitted.
    pub fn request(&self) -> &CanonicalRequest {
        &self.request
    }

    /// Spends the permit.
    pub fn into_parts(self) -> (CanonicalRequest, Option<Grant>) {
        (self.request, self.grant)
    }
}

/// Asks the gate about a request: the only maker of a [`Permit`].
///
/// # Errors
///
/// The gate's refusal. Dropping the future is safe: no permit is made.
pub async fn admit(gate: &impl Gate, request: CanonicalRequest, peer: &Peer, form: &mut impl Form) -> Result<Permit, Refusal> {
    match gate.decide(&request, peer, form).await {
        Decision::Allow(grant) => Ok(Permit { request, grant: Some(grant) }),
        Decision::Open(OpenDoor::IgnoredPath) => Ok(Permit { request, grant: None }),
        Decision::Refuse(refusal) => Err(refusal),
    }
}
