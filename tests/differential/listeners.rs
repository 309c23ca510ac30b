use testkit::client::Version;

use crate::case::{
    Case, Group,
    Listener::{Endpoints, Insecure, Secure},
};

/// The listeners beside the usual one, and HTTP/2.
pub(crate) fn groups() -> Vec<Group> {
    let usual = |listener| {
        vec![
            Case::get_by("good token", "alice", "/l").on(listener),
            Case::get("no token", "/l").on(listener),
            Case::get_by("forbidden", "mallory", "/l").on(listener),
            Case::new("POST", "POST", "/l").bearer("alice").body("x").on(listener),
        ]
    };
    let mut insecure = usual(Insecure);
    insecure.extend([
        Case::get_by("identity of the client's", "alice", "/l")
            .header("X-Remote-User", "admin")
            .on(Insecure)
            .differs("identity-stripped", &["upstream x-remote-user"]),
        Case::get_by("an upgrade to h2c", "alice", "/l")
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
            .http1()
            .on(Insecure)
            .differs(
                "h2c-upgrade",
                &[
                    "status",
                    "body",
                    "answer connection",
                    "answer upgrade",
                    "answer content-type",
                    "upstream connection",
                    "upstream upgrade",
                ],
            ),
        Case::get_by("HTTP/2 without asking", "alice", "/l").times(3).on(Insecure),
        Case::answered("trailers by HTTP/2 without asking", "trailers").on(Insecure).differs_in(
            Version::H1,
            "response-trailers",
            &["trailer x-sum"],
        ),
    ]);
    let endpoints = ["/healthz", "/", "/healthz/", "/healthz/x", "/nothing"];
    const MORE: &[&str] = &["status", "body", "answer x-content-type-options"];
    let mut own: Vec<Case> =
        endpoints.map(|path| Case::get(Box::leak(format!("endpoint {path}").into_boxed_str()), path).on(Endpoints)).to_vec();
    own.extend([
        Case::get("endpoint /livez", "/livez").on(Endpoints).differs("endpoints-more", MORE),
        Case::get("endpoint /readyz", "/readyz").on(Endpoints).differs("endpoints-more", MORE),
        Case::get("endpoint /metrics", "/metrics").on(Endpoints).differs("endpoints-more", &["status", "body"]),
        Case::get("endpoint //healthz", "//healthz")
            .on(Endpoints)
            .differs("endpoints-strict", &["status", "body", "answer location", "answer content-type", "answer x-content-type-options"]),
        Case::new("POST /healthz", "POST", "/healthz").body("x").on(Endpoints).differs("endpoints-strict", MORE),
        Case::new("HEAD /healthz", "HEAD", "/healthz").on(Endpoints),
        Case::get_by("endpoint with a token", "alice", "/healthz").on(Endpoints),
    ]);
    vec![
        Group::new("secure and insecure", &[], [usual(Secure), insecure].concat()).listeners(&[Secure, Insecure]),
        Group::new("insecure alone", &["--tls-cert-file=-", "--tls-private-key-file=-"], usual(Insecure)).listeners(&[Insecure]),
        Group::new("HTTP/2 off", &["--http2-disable"], usual(Secure)),
        Group::new("HTTP/2 on by value", &["--http2-disable=false"], usual(Secure)),
        Group::new("HTTP/2 limits", &["--http2-max-concurrent-streams=3", "--http2-max-size=65536"], usual(Secure)),
        Group::new("endpoints", &["--auth-header-fields-enabled"], [usual(Secure), own].concat()).listeners(&[Secure, Endpoints]),
        Group::new("endpoints without HTTP/2", &["--http2-disable"], vec![Case::get("/healthz", "/healthz").on(Endpoints)])
            .listeners(&[Secure, Endpoints]),
        Group::new(
            "insecure without HTTP/2",
            &["--http2-disable"],
            vec![
                Case::raw("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                    .on(Insecure)
                    .differs("bad-request", &["status", "body", "answer connection"]),
                Case::get_by("HTTP/1.1", "alice", "/l").http1().on(Insecure),
            ],
        )
        .listeners(&[Insecure]),
        Group::new("self-signed", &["--tls-cert-file=-", "--tls-private-key-file=-"], usual(Secure)),
    ]
}
