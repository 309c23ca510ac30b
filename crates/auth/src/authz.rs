//! May the user do this: what is asked, and who is asked about it.

mod attributes;
mod manifests;
mod policy;
mod review;
mod static_rules;

use std::sync::Arc;

use request::{Attributes, User};
use settings::Watched;
use tokio::time::Instant;

pub use self::policy::Policy;
pub(crate) use self::{
    attributes::{attributes, attributes_of_values},
    review::{Opinion, Review},
    static_rules::StaticRules,
};

/// One who may be asked for permission.
pub(crate) enum Authorizer {
    /// The rules of the config file.
    Static(StaticRules),
    /// RBAC, evaluated here.
    Rbac(Arc<Watched<Policy>>),
    /// The API server.
    Review(Review),
}

impl Authorizer {
    pub(crate) async fn authorize(&self, user: &User, asked: &Attributes, deadline: Instant) -> Opinion {
        match self {
            Self::Static(rules) => rules.authorize(user, asked).0,
            Self::Rbac(policy) => policy.current().authorize(user, asked),
            Self::Review(review) => review.authorize(user, asked, deadline).await,
        }
    }

    /// [`Authorizer::authorize`], and the `status.reason` of a SubjectAccessReview.
    pub(crate) async fn judge(&self, user: &User, asked: &Attributes, deadline: Instant) -> (Opinion, String) {
        match self {
            Self::Rbac(policy) => policy.current().judge(user, asked),
            Self::Static(_) | Self::Review(_) => self.explain(user, asked, deadline).await,
        }
    }

    /// [`Authorizer::authorize`], and why in words for a person.
    pub(crate) async fn explain(&self, user: &User, asked: &Attributes, deadline: Instant) -> (Opinion, String) {
        match self {
            Self::Static(rules) => rules.authorize(user, asked),
            Self::Rbac(policy) => policy.current().explain(user, asked),
            Self::Review(review) => {
                let opinion = review.authorize(user, asked, deadline).await;
                let reason = match &opinion {
                    Opinion::Allow => "the API server allows it".to_owned(),
                    Opinion::Deny(why) | Opinion::None(why) if why.is_empty() => "the API server does not allow it".to_owned(),
                    Opinion::Deny(why) | Opinion::None(why) => why.clone(),
                    Opinion::Failed(failure) => failure.detail.clone(),
                };
                (opinion, reason)
            }
        }
    }

    /// The metric's label.
    pub(crate) fn mode(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Rbac(_) => "rbac",
            Self::Review(_) => "review",
        }
    }

    /// As `--authorization-mode` or the config file has it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Rbac(_) => "RBAC",
            Self::Review(_) => "Webhook",
        }
    }
}
