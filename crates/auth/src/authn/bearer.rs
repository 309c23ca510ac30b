use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderMap, header};
use kube_api::{Api, ApiError, Lane, TokenVerdict};
use observe::Metrics;
use request::User;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    authn::{Opinion, jwt, rejected_token},
    cached::{Cached, Fresh, Keep},
    clock::Clock,
    failure::call_label,
    keys::{Key, Keys},
};

const CACHE: &str = "token_review";
/// Users remembered, in pieces of [`PIECE`] bytes.
pub(super) const USERS: u32 = 8192;
const PIECE: usize = 4096;
/// Rejected tokens remembered, and for how long: long enough to blunt a flood, short enough that a token which
/// becomes good is soon believed.
pub(super) const REJECTED: u32 = 1024;
const REJECTED_TTL: Duration = Duration::from_secs(10);
/// KiB of tokens that were never seen valid, in lookups under way: they go on when their callers leave. Each counts for
/// two at least, so that there are no more than 1024 of them.
const UNKNOWN_KIB: usize = 2048;

/// Authenticates by bearer token, as `k8s.io/apiserver/pkg/authentication/request/bearertoken`, with the API server's
/// TokenReview.
pub(crate) struct Bearer {
    api: Arc<Api>,
    audiences: Arc<[String]>,
    ttl: Duration,
    keys: Arc<Keys>,
    reviews: Arc<Cached<Key, TokenVerdict, Arc<ApiError>>>,
    unknown: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// What is where a bearer token may be; not to be shown.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Credential<'a> {
    None,
    Token(Cow<'a, str>),
    /// What nobody could be asked about, and why.
    Unusable(&'static str),
}

impl Credential<'_> {
    /// The token, or else what is to be said of it.
    pub(crate) fn token(&self) -> Result<&str, Opinion> {
        match self {
            Self::None => Err(Opinion::None),
            Self::Token(token) => Ok(token),
            Self::Unusable(why) => Err(rejected_token((*why).to_owned())),
        }
    }
}

impl Bearer {
    pub(crate) fn new(
        api: Arc<Api>,
        audiences: Vec<String>,
        ttl: Duration,
        keys: Arc<Keys>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reviews = Cached::new(USERS, REJECTED, clock);
        Self { api, audiences: audiences.into(), ttl, keys, reviews, unknown: Arc::new(Semaphore::new(UNKNOWN_KIB)), metrics }
    }

    pub(crate) async fn authenticate(&self, credential: &Credential<'_>, deadline: Instant) -> Opinion {
        match credential.token() {
            Ok(token) => self.review(token, deadline).await,
            Err(opinion) => opinion,
        }
    }

    async fn review(&self, token: &str, deadline: Instant) -> Opinion {
        let key = self.keys.of_token(token, &self.audiences);
        let (verdict, source) = self.reviews.get(&key, deadline, || self.lookup(token, &key, deadline)).await;
        self.metrics.cache(CACHE, source.label());
        self.metrics.cache_size(CACHE, self.reviews.entries());
        match verdict {
            Ok(TokenVerdict::Authenticated(user)) => Opinion::User(user),
            Ok(TokenVerdict::Rejected { why }) => rejected_token(why),
            Err(miss) => Opinion::Failed(miss.into()),
        }
    }

    fn lookup(
        &self,
        token: &str,
        key: &Key,
        deadline: Instant,
    ) -> impl Future<Output = Result<Fresh<TokenVerdict>, Arc<ApiError>>> + Send + use<> {
        let lane = if self.reviews.remembers(key) { Lane::Known } else { Lane::UnknownToken };
        let place = match lane {
            Lane::Known => Ok(None),
            Lane::UnknownToken => Arc::clone(&self.unknown).try_acquire_many_owned(kib(token)).map(Some).map_err(|_| ApiError::Busy),
        };
        let (api, audiences, metrics, ttl) = (Arc::clone(&self.api), Arc::clone(&self.audiences), Arc::clone(&self.metrics), self.ttl);
        let token = token.to_owned();
        async move {
            let _place = place?;
            let start = Instant::now();
            let result = api.review_token(&token, &audiences, lane, deadline).await;
            metrics.api_call("tokenreview", call_label(&result), start.elapsed());
            let verdict = result?;
            let keep = match &verdict {
                TokenVerdict::Authenticated(user) => Keep::Positive { ttl, not_after: jwt::expiry(&token), weight: weight(user) },
                TokenVerdict::Rejected { .. } => Keep::Negative { ttl: REJECTED_TTL },
            };
            Ok(Fresh { value: verdict, keep })
        }
    }
}

/// What the `Authorization` header holds: its first two words, apart by single spaces; what follows is not looked at.
pub(crate) fn credential(headers: &HeaderMap) -> Credential<'_> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Credential::None };
    let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
        return match value.as_bytes().trim_ascii_start().get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"bearer ") => Credential::Unusable("the token is no text"),
            _ => Credential::None,
        };
    };
    let mut words = value.trim().splitn(3, ' ');
    match (words.next(), words.next()) {
        (Some(scheme), Some(token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => Credential::Token(token.into()),
        _ => Credential::None,
    }
}

/// The token's share of [`UNKNOWN_KIB`].
fn kib(token: &str) -> u32 {
    u32::try_from(token.len().div_ceil(1024).max(2)).unwrap_or(u32::MAX)
}

/// The user's share of the shelf: most have one piece, those with thousands of groups many.
pub(super) fn weight(User { name, uid, groups, extra }: &User) -> u32 {
    const OVERHEAD: usize = 32;
    let values = extra.iter().flat_map(|(name, values)| values.iter().chain([name]));
    let bytes: usize = groups.iter().chain(values).chain([name, uid]).map(|text| text.len() + OVERHEAD).sum();
    u32::try_from(bytes / PIECE + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_header_is_read_as_go_reads_it() {
        for (value, expected) in [
            ("Bearer abc", Credential::Token("abc".into())),
            ("bEaReR abc", Credential::Token("abc".into())),
            (" \tBearer abc\t ", Credential::Token("abc".into())),
            ("Bearer abc def ghi", Credential::Token("abc".into())),
            ("Bearer a\tb", Credential::Token("a\tb".into())),
            ("Bearer é", Credential::Token("é".into())),
            ("Bearer  abc", Credential::None),
            ("Bearer\tabc", Credential::None),
            ("Bearer", Credential::None),
            ("Bearer ", Credential::None),
            ("Basic abc", Credential::None),
            ("Bearerabc", Credential::None),
            ("", Credential::None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))]);
            assert_eq!(credential(&headers), expected, "{value:?}");
        }
        assert_eq!(credential(&HeaderMap::new()), Credential::None);
        for (value, expected) in [
            (&b"bearer \xff"[..], Credential::Unusable("the token is no text")),
            (b"Basic \xff", Credential::None),
            (b"\xff", Credential::None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_bytes(value).expect("a value"))]);
            assert_eq!(credential(&headers), expected, "{value:?}");
        }
    }

    #[test]
    fn a_long_token_has_more_of_the_room_for_unknown_ones() {
        for (bytes, share) in [(0, 2), (2048, 2), (2049, 3), (64 * 1024, 64)] {
            assert_eq!(kib(&"x".repeat(bytes)), share);
        }
    }

    #[test]
    fn a_user_with_many_groups_weighs_more() {
        let user = |groups| User { name: "u".into(), groups: vec!["g".repeat(64); groups], ..User::default() };
        assert_eq!(weight(&user(3)), 1);
        assert_eq!(weight(&user(1000)), 24);
    }
}
