mod review;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use kube_api::{Api, Route};
use observe::Metrics;
use request::{CanonicalRequest, Decision, Form, Gate, Grant, Peer, Reads, Reason, Refusal, User};
use tokio::time::Instant;

use self::review::{InboundReview, tell_original};
use crate::{
    GateError,
    authn::{
        AUTHENTICATED, Bearer, Credential, Union, credential,
        oidc::{Oidc, OidcSettings},
        websocket,
    },
    clock::SystemClock,
    gate::API_DEADLINE,
    identity::{not_sendable, sendable},
    keys::Keys,
};

const IMPERSONATE: &str = "impersonate-";
const RESERVED: &str = "system:";
/// How long a reviewed token counts without another review, and no longer than it says itself.
const REVIEWED: Duration = Duration::from_secs(10);

/// How users are told to the API server.
pub struct ImpersonationSettings {
    /// Whose tokens are believed.
    pub oidc: OidcSettings,
    /// `--token-passthrough`: who reviews tokens that are not believed, and for which audiences. Their users act as themselves.
    pub reviewer: Option<(Arc<Api>, Vec<String>)>,
    /// `--inbound-impersonation=review`: who says whom clients may act as. `None`: nobody may act as another.
    pub review: Option<Arc<Api>>,
    /// As whom this program itself is known to the API server, which must let it impersonate. `None`, for
    /// `--disable-impersonation`: everybody acts as himself.
    pub own: Option<Arc<Route>>,
    /// `--allow-reserved-groups`.
    pub reserved_groups: Vec<String>,
    /// What is told of users beside what their tokens say.
    pub extras: Box<Extras>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Keys with a value each, for a request with these headers from this peer.
pub type Extras = dyn Fn(&HeaderMap, SocketAddr) -> Vec<(String, String)> + Send + Sync;

/// Admits whom an issuer knows, to do what the API server lets him do: this gate authenticates, and says who the user is in
/// the API server's own words. It reads no path.
#[derive(Clone)]
pub struct ImpersonationGate(Arc<Fixed>);

struct Fixed {
    reads: Reads,
    oidc: Oidc,
    reviewer: Option<Bearer>,
    own: Option<Arc<Route>>,
    review: Option<InboundReview>,
    reserved_groups: Vec<String>,
    extras: Box<Extras>,
    metrics: Arc<Metrics>,
}

impl ImpersonationGate {
    /// Needs a tokio runtime, in which the issuer is asked from now on.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes, or the issuer cannot be asked.
    pub fn new(settings: ImpersonationSettings) -> Result<Self, GateError> {
        let ImpersonationSettings { oidc, reviewer, review, own, reserved_groups, extras, metrics } = settings;
        let keys = Arc::new(Keys::new().map_err(|_| GateError::NoRandomness)?);
        let review = review.map(|api| InboundReview::new(api, Arc::clone(&keys), Arc::new(SystemClock), Arc::clone(&metrics)));
        let oidc = Oidc::new(oidc, Arc::clone(&keys), Arc::new(SystemClock), Arc::clone(&metrics)).map_err(GateError::Issuer)?;
        let reviewer =
            reviewer.map(|(api, audiences)| Bearer::new(api, audiences, REVIEWED, keys, Arc::new(SystemClock), Arc::clone(&metrics)));
        Ok(Self(Arc::new(Fixed { reads: Reads::default(), oidc, reviewer, review, own, reserved_groups, extras, metrics })))
    }

    /// Whether tokens can be judged.
    ///
    /// # Errors
    ///
    /// Why the keys of the issuer are not known yet.
    pub fn ready(&self) -> Result<(), String> {
        self.0.oidc.ready()
    }

    async fn admit(&self, request: &CanonicalRequest, peer: &Peer) -> Result<Grant, Refusal> {
        let deadline = Instant::now() + API_DEADLINE;
        let (mut user, credential, is_reviewed) = self.authenticate(request.headers(), deadline).await?;
        let acts = request.headers().keys().any(|name| name.as_str().starts_with(IMPERSONATE));
        if !is_reviewed {
            self.check_reserved(&user)?;
        }
        // Whoever acts as another is told of by this program, by whomever he is known.
        let own = self.0.own.as_ref().filter(|_| acts || !is_reviewed);
        let mut target = None;
        if acts {
            let Some(review) = own.and(self.0.review.as_ref()) else {
                return Err(Refusal::because(Reason::ImpersonationDisabled, format_args!("asked by {:?}", user.name)));
            };
            tell_original(target.insert(review.target(&user, request.headers(), deadline).await?), &user);
        }
        let Some(own) = own else {
            return Ok(Grant { user, headers: vec![(header::AUTHORIZATION, as_himself(&credential)?)], as_himself: true });
        };
        let told = target.as_mut().unwrap_or(&mut user);
        let extras = (self.0.extras)(request.headers(), peer.address);
        // A client who may say these of another is not believed all the same.
        extras.iter().for_each(|(key, _)| drop(told.extra.remove(key)));
        for (key, value) in extras {
            told.extra.entry(key).or_default().push(value);
        }
        let mut headers = headers(told)?;
        headers.extend(own.authorization().map(|own| (header::AUTHORIZATION, own)));
        Ok(Grant { user, headers, as_himself: false })
    }

    /// Who asks, by which credential, and whether it was the API server that knew him.
    async fn authenticate<'a>(&self, headers: &'a HeaderMap, deadline: Instant) -> Result<(User, Credential<'a>, bool), Refusal> {
        let mut union = Union::default();
        for (credential, oidc, review) in
            [(credential(headers), "oidc", "token_review"), (websocket::credential(headers), "oidc_websocket", "token_review_websocket")]
        {
            let opinion = self.0.oidc.authenticate(&credential, deadline).await;
            self.0.metrics.authentication(oidc, opinion.label());
            if let Some(user) = union.take(opinion) {
                return Ok((user, credential, false));
            }
            let Some(reviewer) = &self.0.reviewer else { continue };
            let opinion = reviewer.authenticate(&credential, deadline).await;
            self.0.metrics.authentication(review, opinion.label());
            if let Some(user) = union.take(opinion) {
                return Ok((user, credential, true));
            }
        }
        Err(union.end().refusal())
    }

    /// Kubernetes' own names are not an issuer's to give, but for the group that every user is in.
    fn check_reserved(&self, user: &User) -> Result<(), Refusal> {
        let is_free = |group: &&String| !group.starts_with(RESERVED) || *group == AUTHENTICATED || self.0.reserved_groups.contains(group);
        let reserved = match user.name.starts_with(RESERVED) {
            true => Some(&user.name),
            false => user.groups.iter().find(|group| !is_free(group)),
        };
        match reserved {
            Some(reserved) => Err(Refusal::because(Reason::ReservedIdentity, format_args!("{reserved:?}"))),
            None => Ok(()),
        }
    }
}

impl Gate for ImpersonationGate {
    fn today(&self) -> Self {
        self.clone()
    }

    fn reads(&self) -> &Reads {
        &self.0.reads
    }

    async fn decide(&self, request: &CanonicalRequest, peer: &Peer, _: &mut impl Form) -> Decision {
        match self.admit(request, peer).await {
            Ok(grant) => Decision::Allow(grant),
            Err(refusal) => Decision::Refuse(refusal),
        }
    }
}

impl fmt::Debug for ImpersonationGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImpersonationGate").field("own", &self.0.own).finish_non_exhaustive()
    }
}

/// The `Authorization` in which the API server reads the very token that was judged.
fn as_himself(credential: &Credential<'_>) -> Result<HeaderValue, Refusal> {
    let token = credential.token().unwrap_or_default();
    // It would read the first word alone.
    if token.is_empty() || token.contains(' ') {
        return Err(not_sendable("the token", "is no word"));
    }
    let mut value = sendable("the token", &format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Who the user is, as `k8s.io/client-go/transport` tells it (`NewImpersonatingRoundTripper`).
fn headers(user: &User) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
    const USER: HeaderName = HeaderName::from_static("impersonate-user");
    const UID: HeaderName = HeaderName::from_static("impersonate-uid");
    const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
    let mut headers = vec![(USER, sendable("the user's name", &user.name)?)];
    if !user.uid.is_empty() {
        headers.push((UID, sendable("the user's UID", &user.uid)?));
    }
    for group in &user.groups {
        headers.push((GROUP, sendable("a group", group)?));
    }
    for (key, values) in &user.extra {
        let name = HeaderName::try_from(format!("{IMPERSONATE}extra-{}", escaped(key)));
        let name = name.map_err(|_| not_sendable("the name of an extra", "is no header name"))?;
        for value in values {
            headers.push((name.clone(), sendable("an extra", value)?));
        }
    }
    Ok(headers)
}

/// A key of an extra as the end of a header's name: what cannot stand there, and `%`, as in a URL; capital letters too, which
/// would arrive as small ones.
fn escaped(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' => name.push(char::from(byte)),
            _ if b"!#$&'*+-.^_`|~".contains(&byte) => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(name: &str, groups: &[&str], extra: &[(&str, &str)]) -> Result<Vec<(String, Vec<u8>)>, Reason> {
        let extra: BTreeMap<_, _> = extra.iter().map(|&(key, value)| (key.to_owned(), vec![value.to_owned()])).collect();
        let user = User { name: name.into(), uid: String::new(), groups: groups.iter().map(|&group| group.to_owned()).collect(), extra };
        let headers = headers(&user).map_err(|refusal| refusal.reason())?;
        Ok(headers.into_iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect())
    }

    #[test]
    fn a_user_is_told_byte_for_byte_and_in_order() {
        let told = of("jürgen", &["b c", "ß", "a"], &[("example.com/a%b", "v, w"), ("key", "")]).expect("told");
        let expected = [
            ("impersonate-user", "jürgen"),
            ("impersonate-group", "b c"),
            ("impersonate-group", "ß"),
            ("impersonate-group", "a"),
            ("impersonate-extra-example.com%2fa%25b", "v, w"),
            ("impersonate-extra-key", ""),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
    }

    #[test]
    fn what_would_be_read_otherwise_is_refused() {
        for (name, groups) in
            [(" alice ", &[][..]), ("a\nb", &[]), ("a\tb", &[]), ("alice", &["devs "]), ("alice", &["a\r\nImpersonate-User: root"])]
        {
            assert_eq!(of(name, groups, &[]), Err(Reason::IdentityNotSendable), "{name:?} {groups:?}");
        }
        assert_eq!(of("alice", &[], &[("k", " v")]), Err(Reason::IdentityNotSendable));
    }

    #[test]
    fn only_a_token_that_is_read_as_it_was_judged_is_passed_on() {
        let of = |token: &str| as_himself(&Credential::Token(token.to_owned().into())).map_err(|refusal| refusal.reason());
        for token in ["abc", "a.b-c_d~+/=", "ü", "a\u{a0}b"] {
            let value = of(token).expect("sent");
            assert_eq!((value.as_bytes(), value.is_sensitive()), (format!("Bearer {token}").as_bytes(), true));
        }
        for token in ["", "a b", " a", "a ", "a\tb", "a\n", "a\u{a0}", "a\0"] {
            assert_eq!(of(token), Err(Reason::IdentityNotSendable), "{token:?}");
        }
        assert!(as_himself(&Credential::None).is_err());
    }

    #[test]
    fn a_key_arrives_as_it_is() {
        for (key, name) in
            [("a.b-c_d", "a.b-c_d"), ("a/b", "a%2Fb"), ("100%", "100%25"), ("ü x", "%C3%BC%20x"), ("a:(b)", "a%3A%28b%29"), ("aB", "a%42")]
        {
            assert_eq!(escaped(key), name);
        }
    }
}
