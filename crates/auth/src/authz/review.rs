use std::{sync::Arc, time::Duration};

use kube_api::{AccessVerdict, Api, ApiError};
use observe::Metrics;
use request::{Attributes, User};
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
        Attributes::Resource(attributes) => attributes.fields().iter().map(|(_, text)| text.len()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use request::ResourceAttributes;
    use testkit::api::{Api as Server, Fault, Kind, Verdict};

    use super::*;
    use crate::{clock::manual::ManualClock, test_api};

    const ALLOW: i64 = 300;
    const DENY: i64 = 30;

    struct Fixture {
        server: Server,
        clock: Arc<ManualClock>,
        review: Review,
    }

    impl Fixture {
        async fn new() -> Self {
            let (server, api) = test_api::api().await;
            let clock = ManualClock::at(1000);
            let keys = Arc::new(Keys::new().expect("random bytes"));
            let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
            let metrics = Metrics::new("test", "0");
            let review = Review::new(api, seconds(ALLOW), seconds(DENY), keys, clock.clone(), metrics);
            Self { server, clock, review }
        }

        async fn ask(&self, user: &User, asked: &Attributes) -> &'static str {
            let deadline = Instant::now() + Duration::from_secs(10);
            self.review.authorize(user, asked, deadline).await.label()
        }

        async fn ask_about(&self, path: &str) -> &'static str {
            self.ask(&alice(), &Attributes::NonResource { verb: "get".into(), path: path.into() }).await
        }

        fn calls(&self) -> usize {
            self.server.counts().1
        }
    }

    fn alice() -> User {
        User { name: "alice".into(), ..User::default() }
    }

    #[tokio::test]
    async fn a_yes_and_a_no_are_remembered_for_times_of_their_own() {
        for (verdict, label, time) in
            [(Verdict::Allow, "allow", ALLOW), (Verdict::Deny, "deny", DENY), (Verdict::NoOpinion, "no_opinion", DENY)]
        {
            let fixture = Fixture::new().await;
            fixture.server.rule(move |_| verdict);
            assert_eq!(fixture.ask_about("/x").await, label);
            fixture.clock.pass(time - 1);
            assert_eq!((fixture.ask_about("/x").await, fixture.calls()), (label, 1));
            fixture.clock.pass(1);
            assert_eq!((fixture.ask_about("/x").await, fixture.calls()), (label, 2));
        }
    }

    #[tokio::test]
    async fn a_failure_is_neither_a_yes_nor_remembered() {
        let fixture = Fixture::new().await;
        fixture.server.allow_all();
        for fault in [Fault::Status(403, None), Fault::Html, Fault::OtherKind] {
            fixture.server.fail(Kind::SubjectAccessReview, fault);
            assert_eq!(fixture.ask_about("/x").await, "error");
        }
        fixture.server.heal();
        fixture.server.rule(|_| Verdict::Both);
        assert_eq!(fixture.ask_about("/x").await, "error", "yes and no at once is no answer");
        fixture.server.allow_all();
        assert_eq!(fixture.ask_about("/x").await, "allow");
    }

    #[tokio::test]
    async fn equal_questions_at_one_time_are_one_call() {
        let fixture = Fixture::new().await;
        fixture.server.allow_all();
        let (one, two, three) = tokio::join!(fixture.ask_about("/x"), fixture.ask_about("/x"), fixture.ask_about("/x"));
        assert_eq!((one, two, three, fixture.calls()), ("allow", "allow", "allow", 1));
    }

    #[tokio::test]
    async fn what_a_requester_makes_long_is_not_remembered() {
        let fixture = Fixture::new().await;
        fixture.server.allow_all();
        // The verb counts, too.
        for (length, calls) in [(MAX_CHOSEN_BYTES - 4, 1), (MAX_CHOSEN_BYTES - 3, 3)] {
            let path = "/".repeat(length);
            fixture.ask_about(&path).await;
            assert_eq!(fixture.ask_about(&path).await, "allow");
            assert_eq!(fixture.calls(), calls, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn every_part_of_a_question_makes_it_another() {
        let fixture = Fixture::new().await;
        let users = [
            alice(),
            User { name: "bob".into(), ..alice() },
            User { uid: "1".into(), ..alice() },
            User { groups: vec!["a".into(), "b".into()], ..alice() },
            User { groups: vec!["b".into(), "a".into()], ..alice() },
            User { extra: BTreeMap::from([("k".into(), vec!["v".into()])]), ..alice() },
        ];
        let path = Attributes::NonResource { verb: "get".into(), path: "/x".into() };
        for user in &users {
            fixture.ask(user, &path).await;
        }
        let resource = |change: fn(&mut ResourceAttributes)| {
            let mut resource = ResourceAttributes::default();
            change(&mut resource);
            Attributes::Resource(resource)
        };
        let questions = [
            Attributes::NonResource { verb: "x".into(), path: String::new() },
            Attributes::NonResource { verb: String::new(), path: "x".into() },
            resource(|_| {}),
            resource(|resource| resource.namespace = "x".into()),
            resource(|resource| resource.verb = "x".into()),
            resource(|resource| resource.group = "x".into()),
            resource(|resource| resource.version = "x".into()),
            resource(|resource| resource.resource = "x".into()),
            resource(|resource| resource.subresource = "x".into()),
            resource(|resource| resource.name = "x".into()),
        ];
        for question in &questions {
            fixture.ask(&alice(), question).await;
        }
        assert_eq!(fixture.calls(), users.len() + questions.len());
    }
}
