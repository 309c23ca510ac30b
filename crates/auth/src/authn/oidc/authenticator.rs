use std::{convert::Infallible, sync::Arc, time::Duration};

use observe::Metrics;
use outbound::{Fetcher, HttpsUrl, UrlError};
use request::{Reason, User};
use tokio::{task::JoinSet, time::Instant};

use super::{
    TokenError, TokenRules, Verified,
    elsewhere::Elsewhere,
    issuer::{Issuer, Known, Pace},
};
use crate::{
    authn::{
        Opinion,
        bearer::{Credential, REJECTED, USERS, weight},
        rejected_token,
    },
    cached::{Cached, Fresh, Keep, Miss},
    clock::Clock,
    failure::Failure,
    keys::{Key, Keys},
};

const CACHE: &str = "oidc";
/// Where an issuer says what it has (OpenID Connect Discovery 1.0).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Whose tokens are believed, and what of them.
#[derive(Clone, Debug)]
pub struct OidcSettings {
    /// What a token must be.
    pub rules: TokenRules,
    /// Fetches the issuer's documents.
    pub fetcher: Fetcher,
    /// How long a verified token counts without another look, and no longer than it says itself.
    pub ttl: Duration,
    /// Whether a user is in `system:authenticated`; in the Go program he is not.
    pub system_authenticated: bool,
}

/// Authenticates by bearer token, verified here by the keys of its issuer.
pub(crate) struct Oidc {
    rules: Arc<TokenRules>,
    issuer: Arc<Issuer>,
    elsewhere: Arc<Elsewhere>,
    ttl: Duration,
    /// How long a token counts for bad whose groups could not be had.
    pause: Duration,
    system_authenticated: bool,
    keys: Arc<Keys>,
    verified: Arc<Cached<Key, Result<User, TokenError>, Infallible>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Asks the issuer for as long as somebody uses its keys.
    _following: JoinSet<()>,
}

impl OidcSettings {
    /// Where the issuer of this name is asked first.
    ///
    /// # Errors
    ///
    /// The name is no URL that can be asked.
    pub fn discovery(issuer: &str) -> Result<HttpsUrl, UrlError> {
        format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer)).parse()
    }
}

impl Oidc {
    /// Needs a tokio runtime, in which the issuer is asked from now on.
    ///
    /// # Errors
    ///
    /// The issuer's name is no URL that can be asked.
    pub(crate) fn new(settings: OidcSettings, keys: Arc<Keys>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Result<Self, UrlError> {
        Self::at_pace(Pace::USUAL, settings, keys, clock, metrics)
    }

    pub(super) fn at_pace(
        pace: Pace,
        settings: OidcSettings,
        keys: Arc<Keys>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, UrlError> {
        let OidcSettings { rules, fetcher, ttl, system_authenticated } = settings;
        OidcSettings::discovery(&rules.issuer)?;
        let (rules, pause) = (Arc::new(rules), pace.least);
        let issuer = Issuer::new(rules.issuer.clone(), fetcher.clone(), pace, Arc::clone(&metrics));
        let elsewhere = Arc::new(Elsewhere::new(Arc::clone(&rules), fetcher, pause, Arc::clone(&clock)));
        let mut following = JoinSet::new();
        following.spawn(Arc::clone(&issuer).follow());
        let verified = Cached::new(USERS, REJECTED, Arc::clone(&clock));
        Ok(Self { rules, issuer, elsewhere, ttl, pause, system_authenticated, keys, verified, clock, metrics, _following: following })
    }

    pub(crate) async fn authenticate(&self, credential: &Credential<'_>, deadline: Instant) -> Opinion {
        match credential.token() {
            Ok(token) => self.judge(token, deadline).await,
            Err(opinion) => opinion,
        }
    }

    /// Whether the issuer's keys are known; if not, why.
    pub(crate) fn ready(&self) -> Result<(), String> {
        let Known { keys, why, .. } = self.issuer.known();
        keys.map(drop).ok_or(why)
    }

    async fn judge(&self, token: &str, deadline: Instant) -> Opinion {
        let known = self.issuer.known();
        let first = self.verify(token, &known, deadline).await;
        let needs_new = matches!(&first, Some(Ok(Err(error))) if error.may_need_new_keys());
        let result = match needs_new && self.issuer.ask_again(&known, deadline).await {
            true => self.verify(token, &self.issuer.known(), deadline).await,
            false => first,
        };
        match result {
            Some(Ok(Ok(user))) if self.system_authenticated => Opinion::User(user),
            Some(Ok(Ok(user))) => Opinion::Exactly(user),
            Some(Ok(Err(error))) => rejected_token(error.to_string()),
            Some(Err(failure)) => Opinion::Failed(failure),
            None => {
                let why = self.issuer.known().why;
                Opinion::Rejected { reason: Reason::IssuerNotReady, why: format!("the issuer's keys are not known yet: {why}") }
            }
        }
    }

    /// `None`: there are no keys yet.
    async fn verify(&self, token: &str, known: &Known, deadline: Instant) -> Option<Result<Result<User, TokenError>, Failure>> {
        let keys = Arc::clone(known.keys.as_ref()?);
        // What other keys verified is not known under this key: a withdrawn one stops at once.
        let key = self.keys.of_token(token, &[known.generation.to_string()]);
        let (rules, elsewhere, token) = (Arc::clone(&self.rules), Arc::clone(&self.elsewhere), token.to_owned());
        let (ttl, pause, now) = (self.ttl, self.pause, self.clock.unix());
        let lookup = || async move {
            let verified = match rules.verify(&token, &keys, now) {
                Ok(Verified::Whole(token)) => Ok(token),
                Ok(Verified::GroupsElsewhere(part)) => elsewhere.complete(part).await,
                Err(error) => Err(error),
            };
            Ok(match verified {
                Ok(verified) => {
                    let keep = Keep::Positive { ttl, not_after: Some(verified.expires), weight: weight(&verified.user) };
                    Fresh { value: Ok(verified.user), keep }
                }
                // Nobody can make a flood of askings of it.
                Err(error @ TokenError::Groups(_)) => Fresh { value: Err(error), keep: Keep::Negative { ttl: pause } },
                Err(error) => Fresh { value: Err(error), keep: Keep::No },
            })
        };
        let (result, source) = self.verified.get(&key, deadline, lookup).await;
        self.metrics.cache(CACHE, source.label());
        self.metrics.cache_size(CACHE, self.verified.entries());
        Some(match result {
            Ok(result) => Ok(result),
            Err(Miss::Failed(never)) => match never {},
            Err(Miss::Late) => Ok(Err(TokenError::Groups("they did not come in time".to_owned()))),
            Err(Miss::Crowded | Miss::Lost) => {
                Err(Failure { reason: Reason::Internal, detail: "the token was not verified: too many are".to_owned() })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};
    use settings::UpstreamRoots;
    use testkit::{
        certs::Authority,
        issuer::Issuer as Fake,
        jwt::SigningKey,
        upstream::Reply,
        wait::{in_time, wait_for, wait_until},
    };

    use super::*;
    use crate::{Algorithm, clock::manual::ManualClock};

    const NOW: i64 = 1_700_000_000;
    const QUICK: Pace = Pace { first: Duration::from_millis(20), least: Duration::from_millis(20), refresh: Duration::from_millis(50) };
    /// Nothing is asked again in the time of a test.
    const ONCE: Pace = Pace { first: Duration::from_millis(20), least: Duration::from_secs(3600), refresh: Duration::from_secs(3600) };

    struct World {
        issuer: Fake,
        clock: Arc<ManualClock>,
        fetcher: Fetcher,
        _folder: tempfile::TempDir,
    }

    impl World {
        async fn new() -> Self {
            let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new("issuers"));
            let path = folder.path().join("ca.pem");
            fs::write(&path, authority.pem()).expect("written");
            let roots = UpstreamRoots::open("--oidc-ca-file", path).expect("roots");
            let fetcher = Fetcher::new(Some(roots)).expect("a fetcher");
            Self { issuer: Fake::start(&authority.server()).await, clock: ManualClock::at(NOW), fetcher, _folder: folder }
        }

        fn oidc(&self, pace: Pace, system_authenticated: bool) -> Oidc {
            let rules = TokenRules {
                issuer: self.issuer.url(),
                client_id: "client".into(),
                algorithms: vec![Algorithm::Es256],
                username_claim: "sub".into(),
                username_prefix: String::new(),
                groups_claim: "groups".into(),
                groups_prefix: String::new(),
                required_claims: Vec::new(),
                allow_reserved: false,
            };
            let settings = OidcSettings { rules, fetcher: self.fetcher.clone(), ttl: Duration::from_secs(120), system_authenticated };
            let keys = Arc::new(Keys::new().expect("random bytes"));
            Oidc::at_pace(pace, settings, keys, self.clock.clone(), Metrics::new("test", "0")).expect("an authenticator")
        }

        fn claims(&self) -> Value {
            json!({"iss": self.issuer.url(), "aud": "client", "exp": NOW + 60, "sub": "anna", "groups": ["devs"]})
        }
    }

    async fn judge(oidc: &Oidc, token: &str) -> Opinion {
        in_time("the opinion", oidc.judge(token, Instant::now() + Duration::from_secs(5))).await
    }

    /// The user's name and groups, or why there is none.
    async fn verdict(oidc: &Oidc, token: &str) -> Result<String, String> {
        match judge(oidc, token).await {
            Opinion::User(user) => Ok(format!("{} and others in {}", user.name, user.groups.join(","))),
            Opinion::Exactly(user) => Ok(format!("{} in {}", user.name, user.groups.join(","))),
            Opinion::Rejected { why, .. } => Err(why),
            Opinion::Failed(failure) => Err(failure.detail),
            Opinion::None => Err("nothing".to_owned()),
        }
    }

    async fn ready(oidc: &Oidc) {
        wait_until("the issuer's keys", || oidc.issuer.known().keys.is_some()).await;
    }

    #[tokio::test]
    async fn an_issuer_that_is_down_at_the_start_is_asked_until_it_answers() {
        let (world, key) = (World::new().await, SigningKey::new("ES256"));
        let token = key.token("k", &world.claims());
        world.issuer.keys(&[key.jwk("k")]);
        world.issuer.fault(Some(Reply::new(503, &[], "")));
        let oidc = world.oidc(QUICK, false);
        wait_until("an asking that failed", || oidc.issuer.known().why.contains("status 503")).await;
        assert!(matches!(judge(&oidc, &token).await, Opinion::Rejected { reason: Reason::IssuerNotReady, .. }));
        for (fault, why) in [(Reply::ok("x".repeat((1 << 20) + 1)), "more than 1048576 bytes"), (Reply::ok("[]"), "another form")] {
            world.issuer.fault(Some(fault));
            wait_until(why, || oidc.issuer.known().why.contains(why)).await;
        }
        world.issuer.fault(None);
        world.issuer.call(&format!("{}/", world.issuer.url()));
        wait_until("another's name", || oidc.issuer.known().why.contains("another issuer's")).await;
        assert!(matches!(judge(&oidc, &token).await, Opinion::Rejected { reason: Reason::IssuerNotReady, .. }));
        world.issuer.call(&world.issuer.url());
        ready(&oidc).await;
        assert_eq!(verdict(&oidc, &token).await, Ok("anna in devs".into()));
        world.issuer.fault(Some(Reply::default().then_reset()));
        wait_until("an asking that failed", || !oidc.issuer.known().why.is_empty()).await;
        assert_eq!(verdict(&oidc, &token).await, Ok("anna in devs".into()), "the keys that it had still count");
    }

    #[tokio::test]
    async fn new_keys_count_at_once_and_withdrawn_ones_stop() {
        let (world, old, new) = (World::new().await, SigningKey::new("ES256"), SigningKey::new("ES256"));
        world.issuer.keys(&[old.jwk("old")]);
        let oidc = world.oidc(QUICK, true);
        ready(&oidc).await;
        let (of_old, of_new) = (old.token("old", &world.claims()), new.token("new", &world.claims()));
        let anna = Ok("anna and others in devs".to_owned());
        assert_eq!(verdict(&oidc, &of_old).await, anna);
        assert_eq!(verdict(&oidc, &of_new).await, Err("the issuer has no such key".into()));
        world.issuer.keys(&[new.jwk("new")]);
        wait_for("the new key", async || verdict(&oidc, &of_new).await).await;
        assert_eq!(verdict(&oidc, &of_old).await, Err("the issuer has no such key".into()), "what was verified before is forgotten");
    }

    #[tokio::test]
    async fn unknown_keys_cause_no_flood_of_fetches() {
        let (world, key) = (World::new().await, SigningKey::new("ES256"));
        world.issuer.keys(&[key.jwk("k")]);
        let oidc = world.oidc(ONCE, false);
        ready(&oidc).await;
        for forged in 0..1000 {
            let token = key.sign(&json!({"alg": "ES256", "kid": forged.to_string()}).to_string(), &world.claims().to_string());
            assert_eq!(verdict(&oidc, &token).await, Err("the issuer has no such key".into()));
        }
        assert_eq!(world.issuer.fetches(), 1);
        assert_eq!(verdict(&oidc, &key.token("k", &world.claims())).await, Ok("anna in devs".into()));
    }

    #[tokio::test]
    async fn a_verified_token_is_remembered_until_it_ends() {
        let (world, key) = (World::new().await, SigningKey::new("ES256"));
        world.issuer.keys(&[key.jwk("k")]);
        let oidc = world.oidc(ONCE, false);
        ready(&oidc).await;
        let token = key.token("k", &world.claims());
        for _ in 0..3 {
            assert_eq!(verdict(&oidc, &token).await, Ok("anna in devs".into()));
        }
        assert_eq!(oidc.verified.entries(), 1);
        world.clock.pass(60);
        assert_eq!(verdict(&oidc, &token).await, Err("the token has expired".into()));
    }

    #[test]
    fn an_issuer_is_asked_where_its_name_says() {
        for name in ["https://issuer.test/a", "https://issuer.test/a/"] {
            let url = OidcSettings::discovery(name).expect("a URL");
            assert_eq!(url.as_str(), "https://issuer.test/a/.well-known/openid-configuration");
        }
        assert_eq!(OidcSettings::discovery("http://issuer.test"), Err(UrlError::Scheme));
    }
}
