use std::{sync::Arc, time::Duration};

use kube_api::Api;
use observe::Metrics;
use outbound::UrlError;
use request::{Attributes, CanonicalRequest, Decision, Form, Gate, Grant, OddPaths, OpenDoor, Peer, Reads, Reason, Refusal, User};
use settings::{ClientCa, ConfigFile, PathLists, ResourceAttributesConfig, TokenAuthFile, Watched};
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    IdentityHeaders,
    authn::{
        Authenticator, Bearer, Union, X509,
        oidc::{Oidc, OidcSettings},
    },
    authz::{Authorizer, Opinion, Policy, Review, StaticRules, attributes, attributes_of_values},
    clock::{Clock, SystemClock},
    failure::Failure,
    keys::Keys,
};

/// For all calls to the API server that one request causes.
pub(crate) const API_DEADLINE: Duration = Duration::from_secs(5);

/// How requests are decided.
#[derive(Clone, Debug)]
pub struct GateSettings {
    /// Who says who is asking, in order.
    pub methods: Vec<Method>,
    /// Who says whether he may, in order.
    pub modes: Vec<Mode>,
    /// `--allow-paths` and `--ignore-paths`.
    pub paths: PathLists,
    /// `--allow-encoded-slashes` and `--allow-path-parameters`.
    pub odd_paths: OddPaths,
    /// What requests are about, and the rules that are asked before the modes, as in Go: what they allow costs no call.
    pub config: Arc<Watched<ConfigFile>>,
    /// `--auth-header-*`; `None`: the upstream is not told who asks.
    pub identity: Option<IdentityHeaders>,
    /// `--compat-api-errors`: when the API server cannot be asked, 401 and 500 instead of 503.
    pub compat_api_errors: bool,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// A way to tell who is asking.
#[derive(Clone, Debug)]
pub enum Method {
    /// By client certificate.
    X509(Arc<Watched<ClientCa>>),
    /// By bearer token, in its header or among the subprotocols of a WebSocket, which the API server reviews.
    TokenReview {
        /// Where.
        api: Arc<Api>,
        /// `--auth-token-audiences`; none: the API server's own.
        audiences: Vec<String>,
        /// How long a valid token counts, and no longer than it says itself.
        ttl: Duration,
    },
    /// By bearer token, of which a file knows the user.
    TokenFile(Arc<Watched<TokenAuthFile>>),
    /// By bearer token, verified by its issuer's keys.
    Oidc(Box<OidcSettings>),
}

/// A way to tell what a user may do.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The API server is asked.
    Webhook {
        /// Where.
        api: Arc<Api>,
        /// How long an allowance counts.
        allow_ttl: Duration,
        /// How long a denial counts.
        deny_ttl: Duration,
    },
    /// RBAC, evaluated here.
    Rbac(Arc<Watched<Policy>>),
}

/// Why a gate cannot be made.
#[derive(Debug, Error)]
pub enum GateError {
    /// The keys of the caches must be secret.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// It could never be asked.
    #[error("the OIDC issuer cannot be asked")]
    Issuer(#[source] UrlError),
}

/// Admits those whom Kubernetes knows and allows: authenticates, then authorizes, then names the user.
///
/// One value of it decides by one reading of the config file.
pub struct RequestGate {
    fixed: Arc<Fixed>,
    config: Arc<ConfigFile>,
    reads: Reads,
    /// Of `config`, if it has some.
    rules: Option<Authorizer>,
}

/// What stays as it is at start, or follows its files by itself.
#[derive(Clone)]
struct Fixed {
    deciders: Arc<Deciders>,
    config: Arc<Watched<ConfigFile>>,
    /// Whether requests are about their path whatever the config file says.
    by_path: bool,
    paths: PathLists,
    odd_paths: OddPaths,
    identity: Option<IdentityHeaders>,
}

/// Who is asked, with all that they remember; shared by gates.
struct Deciders {
    authenticators: Vec<Authenticator>,
    authorizers: Vec<Authorizer>,
    compat_api_errors: bool,
    metrics: Arc<Metrics>,
}

impl RequestGate {
    /// # Errors
    ///
    /// The system gives no random bytes, or an issuer cannot be asked.
    pub fn new(settings: GateSettings) -> Result<Self, GateError> {
        Self::with_clock(settings, Arc::new(SystemClock))
    }

    /// A gate that decides about paths and sends no identity headers, with the same authenticators, authorizer and
    /// caches: for the program's own endpoints.
    #[must_use]
    pub fn for_paths(&self) -> Self {
        let fixed = Fixed::clone(&self.fixed);
        Self::now(Arc::new(Fixed { by_path: true, paths: PathLists::default(), odd_paths: OddPaths::default(), identity: None, ..fixed }))
    }

    fn now(fixed: Arc<Fixed>) -> Self {
        let config = fixed.config.current();
        let resource = config.resource_attributes.as_ref().filter(|_| !fixed.by_path);
        let reads = Reads {
            path: resource.is_none() || !fixed.paths.is_empty(),
            odd_paths: fixed.odd_paths,
            values: resource.and_then(|resource| resource.rewrites.clone()).unwrap_or_default(),
        };
        let rules = (!config.static_rules.is_empty()).then(|| Authorizer::Static(StaticRules(Arc::clone(&config))));
        Self { fixed, config, reads, rules }
    }

    fn with_clock(settings: GateSettings, clock: Arc<dyn Clock>) -> Result<Self, GateError> {
        let GateSettings { methods, modes, paths, odd_paths, config, identity, compat_api_errors, metrics } = settings;
        let keys = Arc::new(Keys::new().map_err(|_| GateError::NoRandomness)?);
        let authenticators = methods.into_iter().map(|method| {
            Ok(match method {
                Method::X509(authorities) => vec![Authenticator::X509(X509::new(authorities, Arc::clone(&clock)))],
                Method::Oidc(settings) => {
                    let oidc = Oidc::new(*settings, Arc::clone(&keys), Arc::clone(&clock), Arc::clone(&metrics));
                    vec![Authenticator::Oidc(oidc.map_err(GateError::Issuer)?)]
                }
                Method::TokenReview { api, audiences, ttl } => {
                    let bearer = Bearer::new(api, audiences, ttl, Arc::clone(&keys), Arc::clone(&clock), Arc::clone(&metrics));
                    let bearer = Arc::new(bearer);
                    vec![Authenticator::Bearer(Arc::clone(&bearer)), Authenticator::WebSocket(bearer)]
                }
                Method::TokenFile(file) => vec![Authenticator::TokenFile(file)],
            })
        });
        let authorizers = modes.into_iter().map(|mode| match mode {
            Mode::Webhook { api, allow_ttl, deny_ttl } => {
                Authorizer::Review(Review::new(api, allow_ttl, deny_ttl, Arc::clone(&keys), Arc::clone(&clock), Arc::clone(&metrics)))
            }
            Mode::Rbac(policy) => Authorizer::Rbac(policy),
        });
        let authenticators = authenticators.collect::<Result<Vec<_>, GateError>>()?.into_iter().flatten().collect();
        let authorizers = authorizers.collect();
        let deciders = Arc::new(Deciders { authenticators, authorizers, compat_api_errors, metrics });
        Ok(Self::now(Arc::new(Fixed { deciders, config, by_path: false, paths, odd_paths, identity })))
    }

    /// Whether the path's door is open; an unclean path leads to no door.
    pub(crate) fn door(&self, request: &CanonicalRequest) -> Result<Option<OpenDoor>, Refusal> {
        let Some(path) = request.path().filter(|path| path.cleaned().is_none()) else { return Ok(None) };
        let lists = &self.fixed.paths;
        match () {
            () if path.readings().all(|path| lists.ignores(path)) => Ok(Some(OpenDoor::IgnoredPath)),
            () if path.readings().all(|path| lists.allows(path)) => Ok(None),
            () => Err(Refusal::because(Reason::NotFound, "--allow-paths does not have the path")),
        }
    }

    /// Sends the client of an unclean path to the clean one.
    pub(crate) fn unclean(&self, request: &CanonicalRequest) -> Option<Refusal> {
        let cleaned = request.path()?.cleaned()?;
        let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
        Some(Refusal::new(Reason::UncleanPath).see(format!("{cleaned}{query}")))
    }

    /// Who is asked, in order.
    pub(crate) fn authorizers(&self) -> impl Iterator<Item = &Authorizer> {
        self.rules.iter().chain(&self.fixed.deciders.authorizers)
    }

    /// What requests are about; `None`: their path.
    pub(crate) fn resource(&self) -> Option<&ResourceAttributesConfig> {
        self.config.resource_attributes.as_ref().filter(|_| !self.fixed.by_path)
    }

    async fn admit(&self, request: &CanonicalRequest, peer: &Peer, form: &mut impl Form) -> Result<Grant, Refusal> {
        let deadline = Instant::now() + API_DEADLINE;
        let user = self.fixed.deciders.authenticate(request, peer, deadline).await?;
        if let Some(refusal) = self.unclean(request) {
            return Err(refusal);
        }
        for asked in attributes(request, self.resource())? {
            self.authorize(&user, asked, deadline).await?;
        }
        if request.has_form() {
            let begun = Instant::now();
            let form = form.read().await?;
            // Who waits for the client does not wait for the API server.
            let deadline = deadline + begun.elapsed();
            let values = self.reads.values.in_form(&form, request.values().len())?;
            for asked in self.resource().map(|resource| attributes_of_values(request, resource, &values)).into_iter().flatten() {
                self.authorize(&user, asked, deadline).await?;
            }
        }
        let headers = match &self.fixed.identity {
            Some(identity) => identity.of(&user)?,
            None => Vec::new(),
        };
        Ok(Grant { user, headers, as_himself: false })
    }

    /// As Kubernetes' union of authorizers: the first yes or no counts; who cannot say asks the next.
    async fn authorize(&self, user: &User, asked: Attributes, deadline: Instant) -> Result<(), Refusal> {
        let (mut failed, mut reasons) = (None, Vec::new());
        for authorizer in self.authorizers() {
            let opinion = authorizer.authorize(user, &asked, deadline).await;
            self.fixed.deciders.metrics.authorization(authorizer.mode(), opinion.label());
            match opinion {
                Opinion::Allow => return Ok(()),
                Opinion::Deny(why) => return Err(Refusal::because(Reason::NotAllowed, why).about(&user.name, asked)),
                Opinion::None(why) => reasons.push(why),
                Opinion::Failed(failure) => failed = failed.or(Some(failure)),
            }
        }
        let refusal = match failed {
            Some(failure) => self.fixed.deciders.compatible(failure, Reason::ApiFailedAuthorization),
            None => Refusal::because(Reason::NotAllowed, reasons.join("; ")),
        };
        Err(refusal.about(&user.name, asked))
    }
}

impl Gate for RequestGate {
    fn today(&self) -> Self {
        Self::now(Arc::clone(&self.fixed))
    }

    fn reads(&self) -> &Reads {
        &self.reads
    }

    async fn decide(&self, request: &CanonicalRequest, peer: &Peer, form: &mut impl Form) -> Decision {
        match self.door(request) {
            Ok(Some(door)) => return Decision::Open(door),
            Ok(None) => {}
            Err(refusal) => return Decision::Refuse(refusal),
        }
        match self.admit(request, peer, form).await {
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

#[cfg(test)]
mod tests;
