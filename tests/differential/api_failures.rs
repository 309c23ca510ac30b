use testkit::{
    api::{Fault, Kind},
    upstream::Reply,
};

use crate::{
    case::{Case, Group},
    world::Identity,
};

/// What becomes of requests about which the API server says nothing useful.
pub(crate) fn groups() -> Vec<Group> {
    const UNAVAILABLE: &[&str] = &["status", "body", "answer retry-after"];
    let retried = || [("503", Fault::Status(503, None)), ("half an answer", Fault::Truncated), ("no HTTP", Fault::Garbage)];
    let faults = || {
        [
            ("400", Fault::Status(400, None)),
            ("401", Fault::Status(401, None)),
            ("403", Fault::Status(403, None)),
            ("404", Fault::Status(404, None)),
            ("a page of HTML", Fault::Html),
            ("another kind", Fault::OtherKind),
            ("an empty answer", Fault::Reply(Reply::new(201, &[("Content-Type", "application/json")], ""))),
            ("an empty object", Fault::Reply(Reply::new(201, &[("Content-Type", "application/json")], "{}"))),
        ]
    };
    let name = |kind, what| -> &'static str { Box::leak(format!("{kind:?}: {what}").into_boxed_str()) };
    let by = |kind, what, fault| {
        Case::get_by(name(kind, what), "alice", "/api").failing(kind, fault).http1().differs("api-failure-503", UNAVAILABLE)
    };
    let tried = |kind: Kind, what, fault| {
        by(kind, what, fault).differs("api-tries", if kind == Kind::TokenReview { &["TokenReview"] } else { &["SubjectAccessReview"] })
    };
    let cases = || -> Vec<Case> {
        [Kind::TokenReview, Kind::SubjectAccessReview]
            .into_iter()
            .flat_map(|kind| {
                let once = faults().map(|(what, fault)| by(kind, what, fault));
                once.into_iter().chain(retried().map(|(what, fault)| tried(kind, what, fault)))
            })
            .chain([
                Case::get("no credential while the API server fails", "/api").failing(Kind::TokenReview, Fault::Status(503, None)),
                Case::get("a certificate while the API server fails", "/api")
                    .presenting(Identity::Good)
                    .failing(Kind::SubjectAccessReview, Fault::Status(503, None))
                    .differs("api-failure-503", UNAVAILABLE)
                    .differs("api-tries", &["SubjectAccessReview"]),
            ])
            .collect()
    };
    let slow = vec![tried(Kind::TokenReview, "500", Fault::Status(500, None)), tried(Kind::SubjectAccessReview, "reset", Fault::Reset)];
    let dead = || {
        vec![
            Case::get_by("a token", "alice", "/api").differs("api-failure-503", UNAVAILABLE),
            Case::get("a certificate", "/api").presenting(Identity::Good).differs("api-failure-503", UNAVAILABLE),
            Case::get("nothing", "/api"),
        ]
    };
    const CA: &str = "--client-ca-file={folder}/clients-ca.crt";
    vec![
        Group::new("API server fails", &[CA], cases()),
        Group::new("API server fails for a while", &[CA], slow),
        Group::new("API server is not there", &[CA, "--kubeconfig={folder}/dead-kubeconfig"], dead()),
    ]
}
