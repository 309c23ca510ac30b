use std::collections::BTreeMap;

use request::User;
use serde_json::Value;

use super::{Object, TokenError, TokenRules};

const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
const RESERVED: &str = "system:";
/// Clocks differ: how much too early a token may be.
const NOT_BEFORE_LEEWAY: i64 = 60;
const YEAR_1_TO_1970: i64 = 62_135_596_800;

/// What Go reads whatever its letters' case, so that of two such claims the last counts.
const FOLDED: [&str; 10] = ["iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "_claim_names", "_claim_sources"];

/// Whom the token is for and when it counts; when it ends.
pub(super) fn check(claims: &Object, client_id: &str, now: i64) -> Result<i64, TokenError> {
    for name in claims.names() {
        let folded = name.to_uppercase().to_lowercase();
        if folded != name && FOLDED.contains(&folded.as_str()) {
            return Err(problem(name, "is a known claim in other letters"));
        }
    }
    // What counts for nothing here must have its type all the same, as in Go.
    for claim in ["sub", "nonce", "at_hash"] {
        if claims.get(claim).is_some_and(|text| !text.is_string() && !text.is_null()) {
            return Err(problem(claim, "is no string"));
        }
    }
    if claims.get("iat").is_some_and(|date| !date.is_number()) {
        return Err(problem("iat", "is no number"));
    }
    let audiences = texts(claims, "aud")?.unwrap_or_default();
    if !audiences.iter().any(|audience| audience == client_id) {
        return Err(TokenError::Audience);
    }
    let expires = date(claims, "exp")?.ok_or_else(|| problem("exp", "is missing"))?;
    if expires <= now {
        return Err(TokenError::Expired);
    }
    if date(claims, "nbf")?.is_some_and(|from| now.saturating_add(NOT_BEFORE_LEEWAY) < from) {
        return Err(TokenError::NotYet);
    }
    Ok(expires)
}

/// Whom the token names, without his groups.
pub(super) fn user(claims: &Object, rules: &TokenRules) -> Result<User, TokenError> {
    let claim = rules.username_claim.as_str();
    let name = claims.text(claim).filter(|name| !name.is_empty()).ok_or_else(|| problem(claim, "is no string with a name"))?;
    if claim == "email" && claims.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
        return Err(problem("email_verified", "is not true"));
    }
    let name = unreserved(format!("{}{name}", rules.username_prefix), rules)?;
    let token_id = claims.text("jti").filter(|id| !id.is_empty());
    let extra = token_id.map(|id| BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")])]));
    Ok(User { name, uid: String::new(), groups: Vec::new(), extra: extra.unwrap_or_default() })
}

/// The groups that are named here.
pub(super) fn groups(claims: &Object, rules: &TokenRules) -> Result<Vec<String>, TokenError> {
    let claim = rules.groups_claim.as_str();
    if claim.is_empty() {
        return Ok(Vec::new());
    }
    let groups = texts(claims, claim)?.unwrap_or_default();
    groups.into_iter().map(|group| unreserved(format!("{}{group}", rules.groups_prefix), rules)).collect()
}

fn unreserved(identity: String, rules: &TokenRules) -> Result<String, TokenError> {
    match !rules.allow_reserved && identity.starts_with(RESERVED) {
        true => Err(TokenError::Reserved),
        false => Ok(identity),
    }
}

/// A string or a list of them; `None` where there is none.
fn texts(claims: &Object, claim: &str) -> Result<Option<Vec<String>>, TokenError> {
    let wrong = || problem(claim, "is neither a string nor a list of strings");
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
        Some(Value::Array(list)) => {
            list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(wrong()),
    }
}

/// Seconds since 1970; part of one counts for nothing, as in Go.
fn date(claims: &Object, claim: &str) -> Result<Option<i64>, TokenError> {
    let number = match claims.get(claim) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_number().ok_or_else(|| problem(claim, "is no number"))?,
    };
    // Go counts from year 1, and begins again behind the last moment.
    if let Some(whole) = number.as_i64().filter(|seconds| seconds.checked_add(YEAR_1_TO_1970).is_some()) {
        return Ok(Some(whole));
    }
    #[expect(clippy::cast_possible_truncation, reason = "what is out of range is refused")]
    let seconds = number.as_f64().filter(|seconds| seconds.abs() < 1e15).map(|seconds| seconds.trunc() as i64);
    seconds.map(Some).ok_or_else(|| problem(claim, "is out of range"))
}

pub(super) fn problem(claim: &str, problem: &'static str) -> TokenError {
    TokenError::Claim { claim: claim.to_owned(), problem }
}
