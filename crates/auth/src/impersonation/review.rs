use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue};
use kube_api::Api;
use observe::Metrics;
use rbac::{is_dns_label, is_dns_subdomain};
use request::{Attributes, Reason, Refusal, ResourceAttributes, User, escape};
use tokio::time::Instant;

use super::IMPERSONATE;
use crate::{
    authn::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, as_authenticated},
    authz::{Opinion, Review},
    clock::Clock,
    identity::{not_sendable, sendable},
    keys::Keys,
};

/// How long a verdict counts.
const TTL: Duration = Duration::from_secs(10);
/// Values that one request may have: each is a question to the API server.
const MAX_VALUES: usize = 64;
/// What the extras begin with by which the API server learns who acts as another.
const ORIGINAL: &str = "originaluser.jetstack.io-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Lets clients act as others if the API server lets them: a SubjectAccessReview for each value, as in
/// `k8s.io/apiserver/pkg/endpoints/filters/impersonation`, without what that reads the path for (KEP-5284).
pub(super) struct InboundReview(Review);

impl InboundReview {
    pub(super) fn new(api: Arc<Api>, keys: Arc<Keys>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self(Review::new(api, TTL, TTL, keys, clock, metrics))
    }

    /// Whom the user acts as, by the `Impersonate-*` headers of his request.
    ///
    /// # Errors
    ///
    /// They do not say it clearly, or not all of it is allowed for sure before the deadline.
    pub(super) async fn target(&self, user: &User, headers: &HeaderMap, deadline: Instant) -> Result<User, Refusal> {
        let wanted = wanted(headers)?;
        let questions = questions(&wanted);
        let opinions = join_all(questions.iter().map(|asked| self.0.authorize(user, asked, deadline))).await;
        for (asked, opinion) in questions.into_iter().zip(opinions) {
            let refusal = match opinion {
                Opinion::Allow => continue,
                Opinion::Deny(why) | Opinion::None(why) => Refusal::because(Reason::ImpersonationNotAllowed, why),
                Opinion::Failed(failure) => failure.refusal(),
            };
            return Err(refusal.about(&user.name, asked));
        }
        Ok(completed(wanted))
    }
}

/// Tells of the user who acts as `target` in its extras, as Tremolo's program does.
pub(super) fn tell_original(target: &mut User, user: &User) {
    let groups = user.groups.iter().filter(|group| *group != AUTHENTICATED).cloned().collect();
    // Texts and lists of texts are always JSON.
    let extra = Some(&user.extra).filter(|extra| !extra.is_empty()).and_then(|extra| serde_json::to_string(extra).ok());
    let uid = Some(&user.uid).filter(|uid| !uid.is_empty()).cloned();
    for (end, values) in
        [("user", vec![user.name.clone()]), ("groups", groups), ("uid", Vec::from_iter(uid)), ("extra", Vec::from_iter(extra))]
    {
        target.extra.insert(format!("{ORIGINAL}{end}"), values);
    }
}

/// What the headers say, each value once and exactly (`processImpersonationHeaders`).
fn wanted(headers: &HeaderMap) -> Result<User, Refusal> {
    let bad = |why: &str| Refusal::because(Reason::BadImpersonation, why);
    let (mut wanted, mut values) = (User::default(), 0);
    for (name, value) in headers {
        let Some(kind) = name.as_str().strip_prefix(IMPERSONATE) else { continue };
        let value = text(value)?;
        values += 1;
        match (kind, kind.strip_prefix("extra-")) {
            _ if value.is_empty() => return Err(bad("a value is empty")),
            ("user", _) if wanted.name.is_empty() => wanted.name = value,
            ("uid", _) if wanted.uid.is_empty() => wanted.uid = value,
            ("user" | "uid", _) => return Err(bad("there are two users, or two UIDs")),
            ("group", _) => wanted.groups.push(value),
            (_, Some(key)) => wanted.extra.entry(unescaped(key)?).or_default().push(value),
            _ => return Err(Refusal::because(Reason::ImpersonationNotAllowed, format_args!("nobody knows {name}"))),
        }
    }
    match () {
        () if values > MAX_VALUES => Err(bad("there are too many values")),
        () if wanted.name.is_empty() => Err(bad("there is no user")),
        () => Ok(wanted),
    }
}

fn text(value: &HeaderValue) -> Result<String, Refusal> {
    let text = str::from_utf8(value.as_bytes()).map_err(|_| not_sendable("a value of Impersonate-*", "is no text"))?;
    sendable("a value of Impersonate-*", text).map(|_| text.to_owned())
}

/// The key of an extra, which stands in lower case in the header's name: as `url.PathUnescape` has it in Go, or as it is.
fn unescaped(name: &str) -> Result<String, Refusal> {
    let mut bytes = name.bytes();
    let key = std::iter::from_fn(|| match bytes.next()? {
        b'%' => Some(escape(bytes.next(), bytes.next())),
        byte => Some(Some(byte)),
    });
    let key = key.collect::<Option<_>>().unwrap_or_else(|| name.as_bytes().to_vec());
    let key = String::from_utf8(key).ok().filter(|key| !key.is_empty() && !key.contains(char::is_control));
    let key = key.ok_or_else(|| not_sendable("the name of an extra", "is empty or has a control byte in it, or is no text"))?;
    match key.to_ascii_lowercase().starts_with(ORIGINAL) {
        true => Err(Refusal::because(Reason::ImpersonationNotAllowed, "the original user is told by this program alone")),
        false => Ok(key),
    }
}

/// What the user must be allowed (`impersonationModeState`).
fn questions(wanted: &User) -> Vec<Attributes> {
    let ask = |group: &str, resource: &str, name: &str| ResourceAttributes {
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..ResourceAttributes::default()
    };
    let user = match service_account(&wanted.name) {
        Some((namespace, name)) => ResourceAttributes { namespace: namespace.to_owned(), ..ask("", "serviceaccounts", name) },
        None => ask("", "users", &wanted.name),
    };
    let uid = Some(&wanted.uid).filter(|uid| !uid.is_empty()).map(|uid| ask(AUTHENTICATION, "uids", uid));
    let groups = wanted.groups.iter().map(|group| ask("", "groups", group));
    let extra = wanted.extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
    let extra = extra.map(|(key, value)| ResourceAttributes { subresource: key.clone(), ..ask(AUTHENTICATION, "userextras", value) });
    [user].into_iter().chain(uid).chain(groups).chain(extra).map(Attributes::Resource).collect()
}

/// With the groups that are his by his name.
fn completed(mut wanted: User) -> User {
    if let (true, Some((namespace, _))) = (wanted.groups.is_empty(), service_account(&wanted.name)) {
        wanted.groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    if wanted.name == ANONYMOUS && !wanted.groups.iter().any(|group| group == UNAUTHENTICATED) {
        wanted.groups.push(UNAUTHENTICATED.to_owned());
    }
    as_authenticated(wanted)
}

/// Namespace and name, as `k8s.io/apiserver/pkg/authentication/serviceaccount` splits them.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (is_dns_label(namespace) && is_dns_subdomain(name)).then_some((namespace, name))
}

#[cfg(test)]
mod tests;
