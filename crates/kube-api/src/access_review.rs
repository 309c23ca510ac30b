use std::collections::BTreeMap;

use k8s_openapi::{
    Resource,
    api::authorization::v1::{SelfSubjectAccessReview, SubjectAccessReview},
};
use request::{Attributes, User};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError,
    wire::{Kind, Others},
};

pub(crate) const ACCESS_REVIEW: Kind = Kind {
    kind: SubjectAccessReview::KIND,
    api_version: SubjectAccessReview::API_VERSION,
    path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    permission: "create subjectaccessreviews.authorization.k8s.io",
};

/// Every authenticated user may.
pub(crate) const SELF_REVIEW: Kind = Kind {
    kind: SelfSubjectAccessReview::KIND,
    api_version: SelfSubjectAccessReview::API_VERSION,
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    permission: "create selfsubjectaccessreviews.authorization.k8s.io",
};

/// How much of an API server's explanation is kept.
const MAX_REASON: usize = 512;

/// What the API server says of a user and what he asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessVerdict {
    /// He may.
    Allowed,
    /// He may not, whatever another authorizer says.
    Denied {
        /// For the log.
        reason: String,
    },
    /// Nothing allows it, nothing forbids it.
    NoOpinion {
        /// For the log.
        reason: String,
    },
}

/// The fields that are not empty.
type Said<'a> = BTreeMap<&'static str, &'a str>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessSpec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_attributes: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    non_resource_attributes: Option<Said<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
}

/// Go never omits `allowed`.
#[derive(Deserialize)]
pub(crate) struct AccessStatus {
    allowed: bool,
    #[serde(default)]
    denied: bool,
    #[serde(default)]
    reason: String,
    #[serde(flatten)]
    _others: Others,
}

impl<'a> AccessSpec<'a> {
    pub(crate) fn new(user: &'a User, attributes: &'a Attributes) -> Self {
        let (resource_attributes, non_resource_attributes) = match attributes {
            Attributes::Resource(attributes) => (Some(said(attributes.fields())), None),
            Attributes::NonResource { verb, path } => (None, Some(said([("path", path), ("verb", verb)]))),
        };
        let User { name, uid, groups, extra } = user;
        Self { resource_attributes, non_resource_attributes, user: name, groups, extra, uid }
    }
}

fn said<'a, const N: usize>(fields: [(&'static str, &'a String); N]) -> Said<'a> {
    fields.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.as_str())).collect()
}

impl AccessStatus {
    /// Judges an answer as `k8s.io/apiserver/plugin/pkg/authorizer/webhook` does.
    pub(crate) fn judge(self) -> Result<AccessVerdict, ApiError> {
        let reason = self.reason.chars().take(MAX_REASON).collect();
        match (self.allowed, self.denied) {
            (true, false) => Ok(AccessVerdict::Allowed),
            (false, true) => Ok(AccessVerdict::Denied { reason }),
            (false, false) => Ok(AccessVerdict::NoOpinion { reason }),
            (true, true) => Err(ApiError::Answer("the SubjectAccessReview is allowed and denied".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use request::ResourceAttributes;
    use serde_json::{Value, json};

    use super::*;

    fn spec(user: &User, attributes: Attributes) -> Value {
        let question = ACCESS_REVIEW.question(AccessSpec::new(user, &attributes)).expect("JSON");
        let question: Value = serde_json::from_slice(&question).expect("JSON");
        assert_eq!((&question["kind"], &question["apiVersion"]), (&json!("SubjectAccessReview"), &json!("authorization.k8s.io/v1")));
        question["spec"].clone()
    }

    #[test]
    fn the_whole_user_and_one_kind_of_attributes_are_asked_about() {
        let user = User {
            name: "u".into(),
            uid: "1".into(),
            groups: vec!["b".into(), "a".into()],
            extra: BTreeMap::from([("k".into(), vec!["v".into()])]),
        };
        let path = Attributes::NonResource { verb: "get".into(), path: "/metrics".into() };
        assert_eq!(
            spec(&user, path),
            json!({"user": "u", "uid": "1", "groups": ["b", "a"], "extra": {"k": ["v"]},
                   "nonResourceAttributes": {"path": "/metrics", "verb": "get"}})
        );
        let resource =
            ResourceAttributes { verb: "*".into(), resource: "services".into(), subresource: "proxy".into(), ..Default::default() };
        assert_eq!(
            spec(&User { name: "u".into(), ..User::default() }, Attributes::Resource(resource)),
            json!({"user": "u", "resourceAttributes": {"verb": "*", "resource": "services", "subresource": "proxy"}})
        );
    }

    fn judge(answer: &str) -> Result<AccessVerdict, ApiError> {
        ACCESS_REVIEW.answer::<AccessStatus>(answer.as_bytes())?.judge()
    }

    #[test]
    fn a_verdict_is_taken_only_from_a_whole_answer() {
        let answer = |status: &str| format!(r#"{{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{status}}}"#);
        assert_eq!(judge(&answer(r#"{"allowed":true}"#)).expect("a verdict"), AccessVerdict::Allowed);
        let reason = String::from("r");
        assert_eq!(
            judge(&answer(r#"{"allowed":false,"reason":"r"}"#)).expect("a verdict"),
            AccessVerdict::NoOpinion { reason: reason.clone() }
        );
        assert_eq!(judge(&answer(r#"{"allowed":false,"denied":true,"reason":"r"}"#)).expect("a verdict"), AccessVerdict::Denied { reason });
        let allowed = answer(r#"{"allowed":true}"#);
        for bad in [
            "",
            "<html>allowed</html>",
            "true",
            r#"{"allowed":true}"#,
            r#"{"status":{"allowed":true}}"#,
            r#"{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1"}"#,
            r#"{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}"#,
            r#"{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1beta1","status":{"allowed":true}}"#,
            &answer("{}"),
            &answer("null"),
            &answer(r#"{"allowed":"true"}"#),
            &answer(r#"{"allowed":null}"#),
            &answer(r#"{"allowed":true,"denied":true}"#),
            &answer(r#"{"allowed":false,"allowed":true}"#),
            &answer(r#"[true,false,""]"#),
            r#"["authorization.k8s.io/v1","SubjectAccessReview",{"allowed":true}]"#,
            &allowed[..allowed.len() - 1],
            &format!("{allowed}x"),
        ] {
            assert!(matches!(judge(bad), Err(ApiError::Answer(_))), "{bad}");
        }
    }
}
