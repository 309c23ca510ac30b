use std::{sync::Arc, time::Duration};

use kube_api::Api;
use observe::Metrics;
use request::{Attributes, CanonicalRequest, Decision, Gate, Grant, Peer, Reads, Reason, Refusal, ResourceAttributes, User};
use settings::{ClientCa, Watched};
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    IdentityHeaders,
    authn::{Authenticator, Bearer, Union, X509},
    authz::{Opinion, Review, attributes},
    clock::{Clock, SystemClock},
    failure::Failure,
    keys::Keys,
};

/// For all calls to the API server that one request causes.
const API_DEADLINE: Duration = Duration::from_secs(5);

/// How requests are decided.
#[derive(Clone, Debug)]
pub struct GateSettings {
    /// `--client-ca-file`; without it client certificates are not looked at.
    pub client_ca: Option<Arc<Watched<ClientCa>>>,
    /// `--auth-token-audiences`; none: the API server's own.
    pub audiences: Vec<String>,
    /// Where tokens and permissions are reviewed.
    pub api: Arc<Api>,
    /// `resourceAttributes` of the config file; an empty verb: the method's. `None`: requests are about their path.
    pub resource: Option<ResourceAttributes>,
    /// `--auth-header-*`; `None`: the upstream is not told who asks.
    pub identity: Option<IdentityHeaders>,
    /// `--compat-api-errors`: when the API server cannot be asked, 401 and 500 instead of 503.
    pub compat_api_errors: bool,
    /// How long a valid token counts, and no longer than it says itself.
    pub token_ttl: Duration,
    /// How long an allowance counts.
    pub allow_ttl: Duration,
    /// How long a denial counts.
    pub deny_ttl: Duration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Why a gate cannot be made.
#[derive(Debug, Error)]
pub enum GateError {
    /// The keys of the caches must be secret.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// Admits those whom Kubernetes knows and allows: authenticates, then authorizes, then names the user.
pub struct RequestGate {
    deciders: Arc<Deciders>,
    reads: Reads,
    resource: Option<ResourceAttributes>,
    identity: Option<IdentityHeaders>,
}

/// Who is asked, with all that they remember; shared by gates.
struct Deciders {
    authenticators: Vec<Authenticator>,
    review: Review,
    compat_api_errors: bool,
    metrics: Arc<Metrics>,
}

impl RequestGate {
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub fn new(settings: GateSettings) -> Result<Self, GateError> {
        Self::with_clock(settings, Arc::new(SystemClock))
    }

    /// A gate that decides about paths and sends no identity headers, with the same authenticators, authorizer and
    /// caches: for the program's own endpoints.
    #[must_use]
    pub fn for_paths(&self) -> Self {
        Self { deciders: Arc::clone(&self.deciders), reads: reads(None), resource: None, identity: None }
    }

    fn with_clock(settings: GateSettings, clock: Arc<dyn Clock>) -> Result<Self, GateError> {
        let GateSettings { client_ca, audiences, api, resource, identity, compat_api_errors, token_ttl, allow_ttl, deny_ttl, metrics } =
            settings;
        let keys = Arc::new(Keys::new().map_err(|_| GateError::NoRandomness)?);
        let x509 = client_ca.map(|authorities| Authenticator::X509(X509::new(authorities, Arc::clone(&clock))));
        let bearer = Bearer::new(Arc::clone(&api), audiences, token_ttl, Arc::clone(&keys), Arc::clone(&clock), Arc::clone(&metrics));
        let authenticators = x509.into_iter().chain([Authenticator::Bearer(bearer)]).collect();
        let review = Review::new(api, allow_ttl, deny_ttl, keys, clock, Arc::clone(&metrics));
        let deciders = Deciders { authenticators, review, compat_api_errors, metrics };
        Ok(Self { deciders: Arc::new(deciders), reads: reads(resource.as_ref()), resource, identity })
    }

    async fn admit(&self, request: &CanonicalRequest, peer: &Peer) -> Result<Grant, Refusal> {
        let deadline = Instant::now() + API_DEADLINE;
        let user = self.deciders.authenticate(request, peer, deadline).await?;
        if let Some(cleaned) = request.path().and_then(request::Path::cleaned) {
            return Err(Refusal::new(Reason::UncleanPath).see(with_query(cleaned, request.query())));
        }
        let asked = attributes(request, self.resource.as_ref())?;
        self.deciders.authorize(&user, asked, deadline).await?;
        let headers = match &self.identity {
            Some(identity) => identity.of(&user)?,
            None => Vec::new(),
        };
        Ok(Grant { user, headers })
    }
}

impl Gate for RequestGate {
    fn reads(&self) -> &Reads {
        &self.reads
    }

    async fn decide(&self, request: &CanonicalRequest, peer: &Peer) -> Decision {
        match self.admit(request, peer).await {
            Ok(grant) => Decision::Allow(grant),
            Err(refusal) => Decision::Refuse(refusal),
        }
    }
}

impl Deciders {
    async fn authenticate(&self, request: &CanonicalRequest, peer: &Peer, deadline: Instant) -> Result<User, Refusal> {
        let mut union = Union::default();
        for authenticator in &self.authenticators {
            let opinion = authenticator.look(request, peer, deadline).await;
            self.metrics.authentication(authenticator.method(), opinion.label());
            if let Some(user) = union.take(opinion) {
                return Ok(user);
            }
        }
        Err(self.compatible(union.end(), Reason::ApiFailedAuthentication))
    }

    async fn authorize(&self, user: &User, asked: Attributes, deadline: Instant) -> Result<(), Refusal> {
        let opinion = self.review.authorize(user, &asked, deadline).await;
        self.metrics.authorization("review", opinion.label());
        let refusal = match opinion {
            Opinion::Allow => return Ok(()),
            Opinion::Deny(why) | Opinion::None(why) => Refusal::because(Reason::NotAllowed, why),
            Opinion::Failed(failure) => self.compatible(failure, Reason::ApiFailedAuthorization),
        };
        Err(refusal.about(&user.name, asked))
    }

    /// With `--compat-api-errors` a failure has Go's status.
    fn compatible(&self, failure: Failure, goes: Reason) -> Refusal {
        let is_the_apis = matches!(
            failure.reason,
            Reason::ApiUnreachable | Reason::ApiTimeout | Reason::ApiError | Reason::ApiCredentialsRefused | Reason::ApiBusy
        );
        match self.compat_api_errors && is_the_apis {
            true => Refusal::because(goes, failure.detail),
            false => failure.refusal(),
        }
    }
}

impl std::fmt::Debug for RequestGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestGate").field("resource", &self.resource).field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn reads(resource: Option<&ResourceAttributes>) -> Reads {
    Reads { path: resource.is_none() }
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}
