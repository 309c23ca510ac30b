use std::collections::BTreeMap;

use k8s_openapi::{Resource, api::authentication::v1::TokenReview};
use request::User;
use serde::{Deserialize, Serialize};

use crate::{
    ApiError,
    wire::{Kind, Others},
};

pub(crate) const TOKEN_REVIEW: Kind = Kind {
    kind: TokenReview::KIND,
    api_version: TokenReview::API_VERSION,
    path: "/apis/authentication.k8s.io/v1/tokenreviews",
    permission: "create tokenreviews.authentication.k8s.io",
};

/// How much of an API server's explanation is kept.
const MAX_WHY: usize = 256;

/// What the API server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// Whose it is.
    Authenticated(User),
    /// It is not valid, or not for us.
    Rejected {
        /// For the log; never holds the token.
        why: String,
    },
}

#[derive(Serialize)]
pub(crate) struct TokenSpec<'a> {
    pub(crate) token: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) audiences: &'a [String],
}

/// Go omits what is false or empty.
#[derive(Deserialize)]
pub(crate) struct TokenStatus {
    #[serde(default)]
    authenticated: bool,
    user: Option<UserInfo>,
    audiences: Option<Vec<String>>,
    error: Option<String>,
    #[serde(flatten)]
    _others: Others,
}

#[derive(Default, Deserialize)]
struct UserInfo {
    username: Option<String>,
    uid: Option<String>,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
    #[serde(flatten)]
    _others: Others,
}

impl TokenSpec<'_> {
    /// Judges an answer as `k8s.io/apiserver/plugin/pkg/authenticator/token/webhook` does: audiences first. An answer
    /// without audiences is for those asked for, unless they are `strict`: then it is for the API server's own.
    pub(crate) fn judge(&self, status: TokenStatus, strict: bool) -> Result<TokenVerdict, ApiError> {
        let granted = status.audiences.unwrap_or_default();
        let is_for_all = self.audiences.is_empty() || (granted.is_empty() && !strict);
        let is_for_us = is_for_all || self.audiences.iter().any(|asked| granted.contains(asked));
        if !is_for_us {
            return Ok(TokenVerdict::Rejected { why: "the token is for other audiences".to_owned() });
        }
        if !status.authenticated {
            return Ok(TokenVerdict::Rejected { why: self.explain(status.error.unwrap_or_default()) });
        }
        let user = status.user.unwrap_or_default();
        match user.username {
            Some(name) if !name.is_empty() => Ok(TokenVerdict::Authenticated(User {
                name,
                uid: user.uid.unwrap_or_default(),
                groups: user.groups.unwrap_or_default(),
                extra: user.extra.unwrap_or_default(),
            })),
            _ => Err(ApiError::Answer("the TokenReview is authenticated and names no user".to_owned())),
        }
    }

    /// Behind an API server there are webhooks, and one might quote the token.
    fn explain(&self, error: String) -> String {
        let quotes_the_token = self.token.split('.').any(|part| part.len() >= 8 && error.contains(part)) || error.contains(self.token);
        match error {
            error if error.is_empty() => "the API server does not know the token".to_owned(),
            _ if quotes_the_token => "the API server rejects the token, in words that quote it".to_owned(),
            error => error.chars().take(MAX_WHY).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(audiences: &[&str], status: &str) -> Result<TokenVerdict, ApiError> {
        judge_as(false, audiences, status)
    }

    fn judge_as(strict: bool, audiences: &[&str], status: &str) -> Result<TokenVerdict, ApiError> {
        let audiences: Vec<_> = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        let spec = TokenSpec { token: "header00.payload0.signature", audiences: &audiences };
        let body = format!(r#"{{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{status}}}"#);
        spec.judge(TOKEN_REVIEW.answer(body.as_bytes())?, strict)
    }

    fn is_for_us(audiences: &[&str], granted: &str) -> bool {
        let status = format!(r#"{{"authenticated":true,"user":{{"username":"u"}}{granted}}}"#);
        matches!(judge(audiences, &status).expect("a verdict"), TokenVerdict::Authenticated(_))
    }

    #[test]
    fn audiences_are_compared_as_go_does() {
        assert!(is_for_us(&[], ""));
        assert!(is_for_us(&[], r#","audiences":["x"]"#));
        assert!(is_for_us(&["a"], ""));
        assert!(is_for_us(&["a"], r#","audiences":[]"#));
        assert!(is_for_us(&["a", "b"], r#","audiences":["x","b"]"#));
        assert!(!is_for_us(&["a"], r#","audiences":["A","aa"]"#));
        for (audiences, granted, is_for_us) in
            [(&["a"][..], "", false), (&["a"], r#","audiences":[]"#, false), (&["a"], r#","audiences":["a"]"#, true), (&[], "", true)]
        {
            let status = format!(r#"{{"authenticated":true,"user":{{"username":"u"}}{granted}}}"#);
            let verdict = judge_as(true, audiences, &status).expect("a verdict");
            assert_eq!(matches!(verdict, TokenVerdict::Authenticated(_)), is_for_us, "{audiences:?} {granted}");
        }
    }

    #[test]
    fn a_user_is_taken_over_unchanged() {
        let verdict = judge(
            &[],
            r#"{"authenticated":true,"error":"ignored","user":{"username":" ü ","uid":"1","groups":["b","a","b"],"extra":{"k/x":["2","1"]}}}"#,
        );
        let user = User {
            name: " ü ".into(),
            uid: "1".into(),
            groups: vec!["b".into(), "a".into(), "b".into()],
            extra: BTreeMap::from([("k/x".into(), vec!["2".into(), "1".into()])]),
        };
        assert_eq!(verdict.expect("a verdict"), TokenVerdict::Authenticated(user));
    }

    #[test]
    fn what_is_not_said_is_not_authenticated() {
        for status in ["{}", r#"{"user":{"username":"u"}}"#, r#"{"authenticated":false,"user":{"username":"u"}}"#] {
            assert!(matches!(judge(&[], status), Ok(TokenVerdict::Rejected { .. })), "{status}");
        }
        for status in [
            r#"{"authenticated":"true","user":{"username":"u"}}"#,
            r#"{"authenticated":1,"user":{"username":"u"}}"#,
            r#"{"authenticated":true}"#,
            r#"{"authenticated":true,"user":{"username":""}}"#,
            r#"{"authenticated":true,"user":{"username":"u","groups":"g"}}"#,
            r#"{"authenticated":false,"authenticated":true,"user":{"username":"u"}}"#,
            r#"[true,{"username":"u"},null,null]"#,
            r#"{"authenticated":true,"user":["u","",null,null]}"#,
            "null",
            "[]",
        ] {
            assert!(matches!(judge(&[], status), Err(ApiError::Answer(_))), "{status}");
        }
    }

    #[test]
    fn an_explanation_that_quotes_the_token_is_withheld() {
        for (error, kept) in [("[invalid bearer token]", true), ("bad header00.payload0.signature", false), ("bad payload0", false)] {
            let Ok(TokenVerdict::Rejected { why }) = judge(&[], &format!(r#"{{"error":"{error}"}}"#)) else { panic!("{error}") };
            assert_eq!(why == error, kept, "{why}");
        }
    }
}
