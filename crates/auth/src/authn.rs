//! Who is asking: authenticators in order, each with a user, no opinion, or an error that does not stop the next.

mod bearer;
mod jwt;
pub(crate) mod oidc;
mod subject;
pub(crate) mod websocket;
mod x509;

use std::sync::Arc;

use request::{CanonicalRequest, Peer, Reason, User};
use settings::{TokenAuthFile, Watched};
use tokio::time::Instant;

pub(crate) use self::{
    bearer::{Bearer, Credential, credential},
    oidc::Oidc,
    x509::X509,
};
use crate::failure::Failure;

pub(crate) const AUTHENTICATED: &str = "system:authenticated";
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
pub(crate) const ANONYMOUS: &str = "system:anonymous";

/// One way to tell who is asking.
pub(crate) enum Authenticator {
    /// By client certificate.
    X509(X509),
    /// By bearer token, reviewed by the API server.
    Bearer(Arc<Bearer>),
    /// By token among the subprotocols of a WebSocket, reviewed by the API server.
    WebSocket(Arc<Bearer>),
    /// By bearer token, from a file.
    TokenFile(Arc<Watched<TokenAuthFile>>),
    /// By bearer token, verified by its issuer's keys.
    Oidc(Oidc),
}

/// What an authenticator says.
pub(crate) enum Opinion {
    /// It knows the user.
    User(User),
    /// It knows the user, who is in no group but those that it says.
    Exactly(User),
    /// It found nothing that it looks at.
    None,
    /// It found something, and that is not good.
    Rejected { reason: Reason, why: String },
    /// It could not find out.
    Failed(Failure),
}

impl Authenticator {
    pub(crate) async fn look(&self, request: &CanonicalRequest, peer: &Peer, deadline: Instant) -> Opinion {
        match self {
            Self::X509(x509) => match x509.authenticate(&peer.chain) {
                Ok(Some(user)) => Opinion::User(user),
                Ok(None) => Opinion::None,
                Err(why) => Opinion::Rejected { reason: Reason::CertificateRejected, why },
            },
            Self::Bearer(bearer) => bearer.authenticate(&credential(request.headers()), deadline).await,
            Self::WebSocket(bearer) => bearer.authenticate(&websocket::credential(request.headers()), deadline).await,
            Self::Oidc(oidc) => oidc.authenticate(&credential(request.headers()), deadline).await,
            Self::TokenFile(file) => match credential(request.headers()).token() {
                Err(opinion) => opinion,
                Ok(token) => match file.current().user(token) {
                    Some(user) => Opinion::User(user.clone()),
                    None => rejected_token("the token is not in the file of tokens".to_owned()),
                },
            },
        }
    }

    /// The metric's label.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::X509(_) => "x509",
            Self::Bearer(_) => "token_review",
            Self::WebSocket(_) => "token_review_websocket",
            Self::TokenFile(_) => "token_file",
            Self::Oidc(_) => "oidc",
        }
    }
}

impl Opinion {
    /// The metric's label.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::User(_) | Self::Exactly(_) => "success",
            Self::None => "none",
            Self::Rejected { .. } => "rejected",
            Self::Failed(_) => "error",
        }
    }
}

fn rejected_token(why: String) -> Opinion {
    Opinion::Rejected { reason: Reason::TokenRejected, why }
}

/// What Kubernetes' union of authenticators does (`k8s.io/apiserver/pkg/authentication/request/union`): the first user
/// counts, and an error is said only when there is none.
#[derive(Default)]
pub(crate) struct Union {
    failed: Option<Reason>,
    rejected: Option<Reason>,
    why: Vec<String>,
}

impl Union {
    /// Takes an opinion in; the user it may have ends the round.
    pub(crate) fn take(&mut self, opinion: Opinion) -> Option<User> {
        match opinion {
            Opinion::User(user) => return Some(as_authenticated(user)),
            Opinion::Exactly(user) => return Some(user),
            Opinion::None => {}
            Opinion::Rejected { reason, why } => {
                self.rejected.get_or_insert(reason);
                self.why.push(why);
            }
            Opinion::Failed(failure) => {
                self.failed.get_or_insert(failure.reason);
                self.why.push(failure.detail);
            }
        }
        None
    }

    /// Why nobody knows who is asking: a failure first, which a later try may not meet.
    pub(crate) fn end(self) -> Failure {
        let reason = self.failed.or(self.rejected).unwrap_or(Reason::NoCredentials);
        Failure { reason, detail: self.why.join("; ") }
    }
}

/// `AuthenticatedGroupAdder` of `k8s.io/apiserver/pkg/authentication/group`.
pub(crate) fn as_authenticated(mut user: User) -> User {
    let has_one = user.groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED);
    if user.name != ANONYMOUS && !has_one {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(name: &str, groups: &[&str]) -> Vec<String> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        as_authenticated(User { name: name.into(), groups, ..User::default() }).groups
    }

    #[test]
    fn system_authenticated_comes_last_and_once() {
        assert_eq!(groups("alice", &["b", "a"]), ["b", "a", AUTHENTICATED]);
        assert_eq!(groups("alice", &[AUTHENTICATED, "a"]), [AUTHENTICATED, "a"]);
        assert_eq!(groups("alice", &[UNAUTHENTICATED]), [UNAUTHENTICATED]);
        assert_eq!(groups(ANONYMOUS, &[]), [""; 0]);
    }

    #[test]
    fn an_error_counts_only_when_there_is_no_user() {
        let rejected = |reason| Opinion::Rejected { reason, why: "no".into() };
        let mut union = Union::default();
        assert!(union.take(rejected(Reason::CertificateRejected)).is_none());
        assert!(union.take(Opinion::User(User::default())).is_some());

        let end = |opinions: Vec<Opinion>| {
            let mut union = Union::default();
            for opinion in opinions {
                assert!(union.take(opinion).is_none());
            }
            union.end().reason
        };
        let failed = || Opinion::Failed(Failure { reason: Reason::ApiTimeout, detail: "slow".into() });
        assert_eq!(end(vec![Opinion::None, Opinion::None]), Reason::NoCredentials);
        assert_eq!(end(vec![rejected(Reason::CertificateRejected), Opinion::None]), Reason::CertificateRejected);
        assert_eq!(end(vec![Opinion::None, rejected(Reason::TokenRejected)]), Reason::TokenRejected);
        assert_eq!(end(vec![rejected(Reason::CertificateRejected), failed()]), Reason::ApiTimeout);
    }
}
