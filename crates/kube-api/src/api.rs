use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use bytes::Bytes;
use request::{Attributes, User};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    AccessVerdict, ApiError, ConnectError, Health, Lane, TokenVerdict,
    access_review::{ACCESS_REVIEW, AccessSpec, AccessStatus, SELF_REVIEW},
    connect::{ApiSettings, Way, environment},
    health::HealthRecord,
    limits::Limits,
    token_review::{TOKEN_REVIEW, TokenSpec, TokenStatus},
    transport::{Failure, Transport},
    wire::Kind,
};

/// The API server. Shared by all requests; a fault in one call costs no other.
#[derive(Debug)]
pub struct Api {
    transport: Transport,
    limits: Limits,
    health: HealthRecord,
    strict_audiences: bool,
}

impl Api {
    /// Reads credentials and prepares connections; sends nothing. Needs a tokio runtime, now and later.
    ///
    /// # Errors
    ///
    /// The kubeconfig, or the pod's ServiceAccount, is unreadable, incomplete or malformed.
    pub async fn connect(settings: ApiSettings) -> Result<Self, ConnectError> {
        let way = Way::find(&settings, &environment()).await?;
        let transport = Transport::open(way).await.map_err(|why| settings.unusable(why))?;
        let ApiSettings { qps, burst, strict_audiences, .. } = settings;
        Ok(Self { transport, limits: Limits::new(qps, burst), health: HealthRecord::default(), strict_audiences })
    }

    /// Asks whose a token is, and whether it is for one of the audiences; without audiences the API server's own count.
    /// A TokenReview of `authentication.k8s.io/v1`.
    ///
    /// Dropping the future ends the call.
    ///
    /// # Errors
    ///
    /// There is no verdict before the deadline.
    pub async fn review_token(&self, token: &str, audiences: &[String], lane: Lane, deadline: Instant) -> Result<TokenVerdict, ApiError> {
        let spec = TokenSpec { token, audiences };
        let verdict = self.review(&TOKEN_REVIEW, &spec, lane, deadline).await;
        self.recorded(verdict.and_then(|status: TokenStatus| spec.judge(status, self.strict_audiences)))
    }

    /// Asks whether a user may do something. A SubjectAccessReview of `authorization.k8s.io/v1`.
    ///
    /// Dropping the future ends the call.
    ///
    /// # Errors
    ///
    /// There is no verdict before the deadline.
    pub async fn review_access(&self, user: &User, attributes: &Attributes, deadline: Instant) -> Result<AccessVerdict, ApiError> {
        let verdict = self.review(&ACCESS_REVIEW, &AccessSpec::new(user, attributes), Lane::Known, deadline).await;
        self.recorded(verdict.and_then(AccessStatus::judge))
    }

    /// Asks whether this program itself may do something. A SelfSubjectAccessReview of `authorization.k8s.io/v1`.
    ///
    /// # Errors
    ///
    /// There is no verdict before the deadline.
    pub async fn review_self(&self, attributes: &Attributes, deadline: Instant) -> Result<AccessVerdict, ApiError> {
        let nobody = User::default();
        let spec = AccessSpec::new(&nobody, attributes);
        let verdict = self.review(&SELF_REVIEW, &spec, Lane::Known, deadline).await;
        self.recorded(verdict.and_then(AccessStatus::judge))
    }

    /// How the last calls went.
    pub fn health(&self) -> Health {
        self.health.current()
    }

    fn recorded<T>(&self, result: Result<T, ApiError>) -> Result<T, ApiError> {
        self.health.record(&result);
        result
    }

    async fn review<S: DeserializeOwned>(&self, kind: &Kind, spec: impl Serialize, lane: Lane, deadline: Instant) -> Result<S, ApiError> {
        let question = Bytes::from(kind.question(spec)?);
        let _slot = self.limits.enter(lane, deadline).await?;
        let answer = timeout_at(deadline, self.ask(kind, question, deadline)).await.unwrap_or(Err(ApiError::Timeout))?;
        kind.answer(&answer)
    }

    /// At most two tries: a question has no effect, so it may be put twice.
    async fn ask(&self, kind: &Kind, question: Bytes, deadline: Instant) -> Result<Bytes, ApiError> {
        self.limits.throttle(deadline).await?;
        let first = self.transport.post(kind.path, question.clone(), kind.permission).await;
        let failure = match first {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let Some(wish) = failure.retry else { return Err(failure.error) };
        let pause = pause().max(wish);
        // A pause that ends too late would only hide what is wrong.
        if Instant::now().checked_add(pause).is_none_or(|end| end >= deadline) {
            return Err(failure.error);
        }
        tracing::debug!(kind = kind.kind, error = %failure.error, "Asking the API server once more");
        sleep(pause).await;
        self.limits.throttle(deadline).await?;
        self.transport.post(kind.path, question, kind.permission).await.map_err(|Failure { error, .. }| error)
    }
}

/// 50 to 150 ms: callers who failed together do not come back together.
fn pause() -> Duration {
    Duration::from_millis(50 + RandomState::new().hash_one(()) % 100)
}
