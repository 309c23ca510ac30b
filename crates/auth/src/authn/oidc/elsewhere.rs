use std::{convert::Infallible, fmt, str, sync::Arc, time::Duration};

use outbound::{Fetcher, HttpsUrl};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};

use super::{GroupsElsewhere, KeySet, Object, TokenError, TokenRules, VerifiedToken, claims::problem, issuer, jws};
use crate::{
    cached::{Cached, Fresh, Keep},
    clock::Clock,
    failure::chain,
};

const NAMES: &str = "_claim_names";
const SOURCES: &str = "_claim_sources";
/// Other issuers whose keys are remembered, and as many that have none.
const ISSUERS: u32 = 64;
/// For the groups and the keys of their token: less than what a request has.
const WITHIN: Duration = Duration::from_secs(4);

/// Where a claim is.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Source {
    endpoint: HttpsUrl,
    access_token: Option<String>,
}

/// Gets groups from where tokens say that they are.
pub(super) struct Elsewhere {
    rules: Arc<TokenRules>,
    fetcher: Fetcher,
    /// The keys of issuers that tokens from elsewhere name, or why there are none. They count for so short a time that
    /// nothing else must ask again for new ones.
    keys: Arc<Cached<String, Result<Arc<KeySet>, String>, Infallible>>,
    ttl: Duration,
    clock: Arc<dyn Clock>,
}

/// Each claim that is said to be elsewhere must have its place, whoever reads it: as in Go.
pub(super) fn check(claims: &Object) -> Result<(), TokenError> {
    let (names, sources) = (object(claims, NAMES)?, object(claims, SOURCES)?);
    let is_text = |source: &Value, field| source.get(field).is_none_or(|value| value.is_string() || value.is_null());
    let is_source = |source: &Value| source.is_object() && is_text(source, "endpoint") && is_text(source, "access_token");
    if !sources.into_iter().flat_map(Map::values).all(is_source) {
        return Err(problem(SOURCES, "has another form"));
    }
    let has_source = |name: &Value| {
        let name = name.as_str().filter(|name| !name.is_empty());
        name.zip(sources).is_some_and(|(name, sources)| sources.contains_key(name))
    };
    match names.into_iter().flat_map(Map::values).all(has_source) {
        true => Ok(()),
        false => Err(problem(NAMES, "names a source that is not there")),
    }
}

/// Where the claim is, when it is not in the token: `claimResolver.expand` of
/// `k8s.io/apiserver/plugin/pkg/authenticator/token/oidc`.
pub(super) fn source(claims: &Object, claim: &str) -> Result<Option<Source>, TokenError> {
    let Some(names) = object(claims, NAMES)?.filter(|_| !claim.is_empty() && claims.get(claim).is_none()) else { return Ok(None) };
    let sources = object(claims, SOURCES)?.ok_or_else(|| problem(SOURCES, "is missing"))?;
    let Some(source) = names.get(claim).and_then(Value::as_str).and_then(|name| sources.get(name)) else { return Ok(None) };
    let text = |field| source.get(field).and_then(Value::as_str).filter(|text: &&str| !text.is_empty());
    // Whoever has fewer groups than the issuer says may be allowed what a group would deny.
    let endpoint = text("endpoint").and_then(|endpoint| endpoint.parse().ok());
    let endpoint = endpoint.ok_or_else(|| problem(claim, "is kept at a place that is no https URL"))?;
    Ok(Some(Source { endpoint, access_token: text("access_token").map(str::to_owned) }))
}

impl Elsewhere {
    /// Keys count for `ttl`.
    pub(super) fn new(rules: Arc<TokenRules>, fetcher: Fetcher, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { rules, fetcher, keys: Cached::new(ISSUERS, ISSUERS, Arc::clone(&clock)), ttl, clock }
    }

    /// The user with his groups.
    pub(super) async fn complete(&self, part: GroupsElsewhere) -> Result<VerifiedToken, TokenError> {
        let result = timeout(WITHIN, self.ask(part)).await;
        let result = result.unwrap_or_else(|_| Err(format!("they did not come in {} s", WITHIN.as_secs())));
        result.map_err(TokenError::Groups)
    }

    async fn ask(&self, part: GroupsElsewhere) -> Result<VerifiedToken, String> {
        let Source { endpoint, access_token } = &part.source;
        let document = self.fetcher.get(endpoint, access_token.as_deref()).await.map_err(|error| chain(&error))?;
        let token = str::from_utf8(&document).map_err(|_| "what is there is no text".to_owned())?.trim();
        let there = |error: TokenError| format!("of what is there, {error}");
        let issuer = jws::issuer(token).map_err(there)?;
        let keys = self.keys_of(&issuer).await.map_err(|why| format!("the keys of the issuer that is named there are not known: {why}"))?;
        // By the time that it is now, not when the asking began.
        self.rules.complete(part, token, &issuer, &keys, self.clock.unix()).map_err(there)
    }

    async fn keys_of(&self, name: &String) -> Result<Arc<KeySet>, String> {
        let (issuer, fetcher, ttl) = (name.clone(), self.fetcher.clone(), self.ttl);
        let lookup = || async move {
            Ok(match issuer::ask(&issuer, &fetcher).await {
                Ok((_, keys)) => Fresh { value: Ok(Arc::new(keys)), keep: Keep::Positive { ttl, not_after: None, weight: 1 } },
                Err(error) => Fresh { value: Err(chain(&error)), keep: Keep::Negative { ttl } },
            })
        };
        self.keys.get(name, Instant::now() + WITHIN, lookup).await.0.unwrap_or_else(|miss| Err(format!("{miss:?}")))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn object<'a>(claims: &'a Object, claim: &str) -> Result<Option<&'a Map<String, Value>>, TokenError> {
    claims.get(claim).map(|value| value.as_object().ok_or_else(|| problem(claim, "is no object"))).transpose()
}
