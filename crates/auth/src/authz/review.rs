use std::{sync::Arc, time::Duration};

use kube_api::{AccessVerdict, Api, ApiError};
use observe::Metrics;
use request::{Attributes, ResourceAttributes, User};
use tokio::time::Instant;

use crate::{
    cached::{Cached, Fresh, Keep},
    clock::Clock,
    failure::{Failure, call_label},
    keys::{Key, Keys},
};

const CACHE: &str = "subject_access_review";
/// Verdicts remembered of each kind; as many as in Go.
const VERDICTS: u32 = 8192;
/// Go's `maxControlledAttrCacheSize`: what a requester chooses is not remembered when it is this long.
const MAX_CHOSEN_BYTES: usize = 10_000;

/// Authorizes by the API server's SubjectAccessReview, as `k8s.io/apiserver/plugin/pkg/authorizer/webhook`.
pub(crate) struct Review {
    api: Arc<Api>,
    allow_ttl: Duration,
    deny_ttl: Duration,
    keys: Arc<Keys>,
    verdicts: Arc<Cached<Key, AccessVerdict, Arc<ApiError>>>,
    metrics: Arc<Metrics>,
}

/// What an authorizer says.
#[derive(Debug)]
pub(crate) enum Opinion {
    Allow,
    /// No, for the reason given.
    Deny(String),
    /// Not yes, which is a no when nobody else says yes.
    None(String),
    /// It could not find out.
    Failed(Failure),
}

impl Opinion {
    /// The metric's label.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny(_) => "deny",
            Self::None(_) => "no_opinion",
            Self::Failed(_) => "error",
        }
    }
}

impl Review {
    pub(crate) fn new(
        api: Arc<Api>,
        allow_ttl: Duration,
        deny_ttl: Duration,
        keys: Arc<Keys>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { api, allow_ttl, deny_ttl, keys, verdicts: Cached::new(VERDICTS, VERDICTS, clock), metrics }
    }

    pub(crate) async fn authorize(&self, user: &User, attributes: &Attributes, deadline: Instant) -> Opinion {
        let key = self.keys.of_access(user, attributes);
        let (verdict, source) = self.verdicts.get(&key, deadline, || self.lookup(user, attributes, deadline)).await;
        self.metrics.cache(CACHE, source.label());
        self.metrics.cache_size(CACHE, self.verdicts.entries());
        match verdict {
            Ok(AccessVerdict::Allowed) => Opinion::Allow,
            Ok(AccessVerdict::Denied { reason }) => Opinion::Deny(reason),
            Ok(AccessVerdict::NoOpinion { reason }) => Opinion::None(reason),
            Err(miss) => Opinion::Failed(miss.into()),
        }
    }

    fn lookup(
        &self,
        user: &User,
        attributes: &Attributes,
        deadline: Instant,
    ) -> impl Future<Output = Result<Fresh<AccessVerdict>, Arc<ApiError>>> + Send + use<> {
        let (api, metrics) = (Arc::clone(&self.api), Arc::clone(&self.metrics));
        let (allow_ttl, deny_ttl) = (self.allow_ttl, self.deny_ttl);
        let (user, attributes) = (user.clone(), attributes.clone());
        async move {
            let start = Instant::now();
            let result = api.review_access(&user, &attributes, deadline).await;
            metrics.api_call("subjectaccessreview", call_label(&result), start.elapsed());
            let verdict = result?;
            let keep = match &verdict {
                _ if chosen_bytes(&attributes) >= MAX_CHOSEN_BYTES => Keep::No,
                AccessVerdict::Allowed => Keep::Positive { ttl: allow_ttl, not_after: None, weight: 1 },
                AccessVerdict::Denied { .. } | AccessVerdict::NoOpinion { .. } => Keep::Negative { ttl: deny_ttl },
            };
            Ok(Fresh { value: verdict, keep })
        }
    }
}

/// Go's `shouldCache`: everything but the user.
fn chosen_bytes(attributes: &Attributes) -> usize {
    match attributes {
        Attributes::NonResource { verb, path } => verb.len() + path.len(),
        Attributes::Resource(ResourceAttributes { namespace, verb, group, version, resource, subresource, name }) => {
            [namespace, verb, group, version, resource, subresource, name].into_iter().map(String::len).sum()
        }
    }
}
