use std::fmt;

use http::StatusCode;

use crate::{Attributes, ResourceAttributes};

/// What a refusal looks like, from each side.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What the client gets.
    pub status: StatusCode,
    /// What the client reads.
    pub text: Text,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// How loud the log line is.
    pub level: LogLevel,
    /// The metric label, and the anchor in docs/reasons.md.
    pub label: &'static str,
    /// One sentence for the operator.
    pub meaning: &'static str,
}

/// The client's text; none of it can carry what the client or the API server sent, but for the fields named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// No body.
    Empty,
    /// Always the same.
    Fixed(&'static str),
    /// Followed by ` (user=.., verb=.., resource=.., subresource=..)`, as the Go program has it.
    WithAttributes(&'static str),
    /// Who may not act as whom, as Tremolo's kube-oidc-proxy has it.
    Impersonation,
}

/// How loud a refusal is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Any client can cause it at will: shown with `-v=2`.
    Debug,
    /// Shown always: something that is not the client's doing is broken.
    Warn,
    /// Shown always: this program is broken.
    Error,
}

/// Makes the reasons of the one table: of each the status, the text, how loud it is, the label, and a sentence for the operator.
macro_rules! reasons {
    ($($name:ident: $status:literal, $text:expr, $level:ident, $label:literal, $meaning:literal;)*) => {
        /// Why a request goes no further. Each has one [`Row`]: nothing else makes an error response.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// All of them, in the order of the table in docs/reasons.md.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The reason's row.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row::new($status, $text, LogLevel::$level, $label, $meaning),)*
                }
            }
        }
    };
}

const BAD_REQUEST: Text = Text::Fixed("Bad Request");
const UNAUTHORIZED: Text = Text::Fixed("Unauthorized");
const UNAVAILABLE: Text = Text::Fixed("Service Unavailable");

reasons! {
    BadRequest: 400, BAD_REQUEST, Debug, "bad_request",
        "The request is malformed or contradicts itself.";
    AmbiguousPath: 400, BAD_REQUEST, Debug, "ambiguous_path",
        "The decision reads the path, and the path has more than one meaning.";
    AmbiguousValue: 400, BAD_REQUEST, Debug, "ambiguous_value",
        "The decision reads a query parameter or a header, and what the request has there, or in a form, has more than one meaning.";
    AmbiguousCredentials: 400, BAD_REQUEST, Debug, "ambiguous_credentials",
        "The request has more than one Authorization header.";
    TooManyValues: 400, BAD_REQUEST, Debug, "too_many_values",
        "The decision reads a query parameter or a header, and the request has more than 100 values there, or more than 1,000 parameters.";
    NoValue: 400, Text::Fixed("Bad Request. The request or configuration is malformed."), Debug, "no_value",
        "The request has neither the query parameter nor the header that `rewrites` names.";
    NotFound: 404, Text::Fixed("404 page not found"), Debug, "not_found",
        "Nothing is served under this path.";
    MethodNotAllowed: 405, Text::Fixed("Method Not Allowed"), Debug, "method_not_allowed",
        "CONNECT: this is no forward proxy.";
    HeadTooLarge: 431, Text::Fixed("Request Header Fields Too Large"), Debug, "head_too_large",
        "The head is over --max-header-bytes or has more than 256 fields.";
    BodyTooSlow: 408, Text::Fixed("Request Timeout"), Debug, "body_too_slow",
        "Nothing of the request's body came for --read-body-timeout and the upstream had not answered yet, or a form that must be read took longer.";
    FormTooLarge: 413, Text::Fixed("Payload Too Large"), Debug, "form_too_large",
        "The decision reads a query parameter, and the request's form, which may have it too, is over 1 MiB.";
    FormsFull: 503, UNAVAILABLE, Warn, "forms_full",
        "The forms that requests are decided by have 16 MiB together, and others have it.";
    UpgradeNotSupported: 501, Text::Fixed("Not Implemented"), Debug, "upgrade_not_supported",
        "The request asks to switch protocols, and not to one of `websocket` or `SPDY/3.1` in HTTP/1.1 and without a body.";
    UncleanPath: 307, Text::Fixed("Temporary Redirect"), Debug, "unclean_path",
        "The path has `//`, `/./` or `/../`; the client is sent to the path it leads to.";
    NoCredentials: 401, UNAUTHORIZED, Debug, "no_credentials",
        "The request has no client certificate that is trusted here and no bearer token.";
    CertificateRejected: 401, UNAUTHORIZED, Debug, "certificate_rejected",
        "The client certificate does not verify against --client-ca-file now, and no other credential did better.";
    TokenRejected: 401, UNAUTHORIZED, Debug, "token_rejected",
        "The bearer token is not valid, or not for the audiences of --auth-token-audiences.";
    IssuerNotReady: 401, UNAUTHORIZED, Warn, "issuer_not_ready",
        "The keys of the OIDC issuer could not be fetched yet; the log says why.";
    NotAllowed: 403, Text::WithAttributes("Forbidden"), Debug, "not_allowed",
        "The user is known and no authorizer allows what he asks.";
    IdentityNotSendable: 403, Text::Fixed("Forbidden"), Debug, "identity_not_sendable",
        "The user's name or a group cannot be written into the identity headers exactly: control bytes, outer spaces, or the separator in a group.";
    ReservedIdentity: 403, Text::Fixed("identities with the reserved \"system:\" prefix are not accepted from an authentication token"), Warn,
        "reserved_identity", "The token names a user or a group that begins with `system:`, and --allow-reserved-groups does not have it.";
    ImpersonationDisabled: 403, Text::Fixed("Impersonation requests are disabled when using kube-oidc-proxy"), Debug, "impersonation_disabled",
        "The request has an Impersonate-* header, and --inbound-impersonation is `deny`.";
    BadImpersonation: 400, Text::Fixed("Impersonate-* headers must name one user and have at most 64 values, none of them empty"), Debug,
        "bad_impersonation",
        "The request's Impersonate-* headers name no user or two of them, two UIDs, something empty, or more than 64 values.";
    ImpersonationNotAllowed: 403, Text::Impersonation, Debug, "impersonation_not_allowed",
        "The API server does not let the user impersonate what an Impersonate-* header says, or nobody may say it.";
    ApiUnreachable: 503, UNAVAILABLE, Warn, "api_unreachable",
        "The API server cannot be connected to, or the connection broke.";
    ApiTimeout: 503, UNAVAILABLE, Warn, "api_timeout",
        "The API server did not answer within the request's deadline.";
    ApiError: 503, UNAVAILABLE, Warn, "api_error",
        "The API server answered with an error, or with something that is no answer.";
    ApiCredentialsRefused: 503, UNAVAILABLE, Warn, "api_credentials_refused",
        "The API server refuses this proxy's own credentials or permissions; the log names the missing permission.";
    ApiBusy: 503, UNAVAILABLE, Warn, "api_busy",
        "Too many calls to the API server are in flight, or --kube-api-qps is used up, for longer than the request's deadline.";
    ApiFailedAuthentication: 401, UNAUTHORIZED, Warn, "api_failed_authentication",
        "The API server could not be asked who the user is, and --compat-api-errors asks for Go's status.";
    ApiFailedAuthorization: 500, Text::WithAttributes("Authorization error"), Warn, "api_failed_authorization",
        "The API server could not be asked whether the user may, and --compat-api-errors asks for Go's status.";
    UpstreamUnreachable: 502, Text::Empty, Warn, "upstream_unreachable",
        "The upstream cannot be connected to.";
    UpstreamFailed: 502, Text::Empty, Warn, "upstream_failed",
        "The upstream's connection broke, or what it sent is no HTTP response.";
    UpstreamTimeout: 504, Text::Fixed("Gateway Timeout"), Warn, "upstream_timeout",
        "The upstream did not begin its response within --upstream-timeout; the request may have had its effect.";
    ClientLeft: 499, Text::Empty, Debug, "client_left",
        "The client went away, or was cut, before an answer began.";
    Internal: 500, Text::Fixed("Internal Server Error"), Error, "internal",
        "A fault of this program; the request was refused.";
}

impl Row {
    const fn new(status: u16, text: Text, level: LogLevel, label: &'static str, meaning: &'static str) -> Self {
        let retry_after = if status == 503 { Some(1) } else { None };
        let status = match StatusCode::from_u16(status) {
            Ok(status) => status,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, text, retry_after, level, label, meaning }
    }
}

/// A request's end: the reason, what the client may read of it, and what only the log says.
#[derive(Clone, Debug)]
pub struct Refusal(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    reason: Reason,
    detail: String,
    asked: Option<(String, Attributes)>,
    location: Option<String>,
}

impl Refusal {
    /// A refusal that needs no further words.
    pub fn new(reason: Reason) -> Self {
        Self(Box::new(Inner { reason, detail: String::new(), asked: None, location: None }))
    }

    /// A refusal with a detail for the log. The client never sees it; it must not contain a credential.
    pub fn because(reason: Reason, detail: impl fmt::Display) -> Self {
        let mut refusal = Self::new(reason);
        refusal.0.detail = detail.to_string();
        refusal
    }

    /// Adds who asked for what.
    #[must_use]
    pub fn about(mut self, user: &str, attributes: Attributes) -> Self {
        self.0.asked = Some((user.to_owned(), attributes));
        self
    }

    /// Adds where the client finds what it asked for.
    #[must_use]
    pub fn see(mut self, location: String) -> Self {
        self.0.location = Some(location);
        self
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// For the log alone.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The user and what he asked for, once known.
    pub fn asked(&self) -> Option<(&str, &Attributes)> {
        self.0.asked.as_ref().map(|(user, attributes)| (user.as_str(), attributes))
    }

    /// Where the client is sent.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// What the client reads, without a line end.
    pub fn text(&self) -> Option<String> {
        match self.reason().row().text {
            Text::Empty => None,
            Text::Fixed(text) => Some(text.to_owned()),
            Text::Impersonation => Some(self.asked().map_or_else(|| "Forbidden".to_owned(), not_impersonated)),
            Text::WithAttributes(text) => {
                let (user, verb, (resource, subresource)) = match self.asked() {
                    Some((user, attributes)) => (user, attributes.verb(), attributes.resource()),
                    None => ("", "", ("", "")),
                };
                Some(format!("{text} (user={user}, verb={verb}, resource={resource}, subresource={subresource})"))
            }
        }
    }
}

/// Whom a user may not impersonate.
fn not_impersonated((user, attributes): (&str, &Attributes)) -> String {
    let Attributes::Resource(ResourceAttributes { namespace, resource, subresource, name, .. }) = attributes else { return String::new() };
    let whom = match resource.as_str() {
        "serviceaccounts" => format!("user 'system:serviceaccount:{namespace}:{name}'"),
        "groups" => format!("group '{name}'"),
        "uids" => format!("uid '{name}'"),
        "userextras" => format!("extra info '{subresource}'='{name}'"),
        _ => format!("user '{name}'"),
    };
    format!("{user} is not allowed to impersonate {whom}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_label_of_its_own_and_an_error_status() {
        let labels: HashSet<_> = Reason::ALL.iter().map(|reason| reason.row().label).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.row().status.as_u16() >= 300, "{reason:?}");
        }
    }

    #[test]
    fn every_reason_is_explained_in_the_docs() {
        let docs = include_str!("../../../docs/reasons.md");
        for reason in Reason::ALL {
            let row = reason.row();
            let line = format!("| <a id=\"{0}\"></a>`{0}` | {1} | {2} |", row.label, row.status.as_u16(), row.meaning);
            assert!(docs.contains(&line), "docs/reasons.md lacks the line\n{line}");
        }
    }

    #[test]
    fn a_denial_reads_as_the_go_programs() {
        let attributes = Attributes::NonResource { verb: "get".into(), path: "/metrics".into() };
        let refusal = Refusal::new(Reason::NotAllowed).about("alice", attributes);
        assert_eq!(refusal.text().as_deref(), Some("Forbidden (user=alice, verb=get, resource=, subresource=)"));
    }
}
