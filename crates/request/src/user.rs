use std::collections::BTreeMap;

/// Who is asking, as Kubernetes' `authentication.k8s.io/v1` `UserInfo` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// The name that authorization is asked about.
    pub name: String,
    /// Tells apart two users who had the same name at different times; empty when the authenticator has none.
    pub uid: String,
    /// In the authenticator's order, which identity headers keep.
    pub groups: Vec<String>,
    /// What the authenticator adds, such as the credential's id; part of each SubjectAccessReview.
    pub extra: BTreeMap<String, Vec<String>>,
}
