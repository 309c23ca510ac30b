use testkit::{
    api::{Fault, Kind},
    upstream::Reply,
};

use crate::{
    case::{Case, Group},
    world::Identity,
};

/// How ours answers when the API server says nothing useful.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Usual,
    /// `--compat-api-errors`.
    AsInGo,
}

/// What becomes of requests about which the API server says nothing useful.
pub(crate) fn groups() -> Vec<Group> {
    const CA: &str = "--client-ca-file={folder}/clients-ca.crt";
    const DEAD: &str = "--kubeconfig={folder}/dead-kubeconfig";
    const COMPATIBLE: &[&str] = &["--compat-api-errors"];
    vec![
        Group::new("API server fails", &[CA], failing(Answers::Usual)),
        Group::new("API server fails and ours answers as in Go", &[CA], failing(Answers::AsInGo)).own_flags(COMPATIBLE),
        Group::new("API server fails for a while", &[CA], failing_for_a_while()),
        Group::new("API server is not there", &[CA, DEAD], missing(Answers::Usual)),
        Group::new("API server is not there and ours answers as in Go", &[CA, DEAD], missing(Answers::AsInGo)).own_flags(COMPATIBLE),
    ]
}

fn failing(answers: Answers) -> Vec<Case> {
    let object = |text: &str| Fault::Reply(Reply::new(201, &[("Content-Type", "application/json")], text));
    let faults = |kind| {
        [
            asked_once(answers, kind, "400", Fault::Status(400, None)),
            asked_once(answers, kind, "401", Fault::Status(401, None)),
            asked_once(answers, kind, "403", Fault::Status(403, None)),
            asked_once(answers, kind, "404", Fault::Status(404, None)),
            asked_once(answers, kind, "a page of HTML", Fault::Html),
            asked_once(answers, kind, "an empty answer", object("")),
            asked_again(answers, kind, "503", Fault::Status(503, None)),
            asked_again(answers, kind, "half an answer", Fault::Truncated),
            asked_again(answers, kind, "no HTTP", Fault::Garbage),
            taken_for_a_denial(answers, kind, "another kind", Fault::OtherKind),
            taken_for_a_denial(answers, kind, "an empty object", object("{}")),
        ]
    };
    let by_certificate = Case::get("a certificate while the API server fails", "/api")
        .presenting(Identity::Good)
        .failing(Kind::SubjectAccessReview, Fault::Status(503, None))
        .differs("api-tries", &["SubjectAccessReview"]);
    let mut cases = [Kind::TokenReview, Kind::SubjectAccessReview].map(faults).concat();
    cases.extend([
        Case::get("no credential while the API server fails", "/api").failing(Kind::TokenReview, Fault::Status(503, None)),
        unavailable(answers, by_certificate),
    ]);
    cases
}

fn failing_for_a_while() -> Vec<Case> {
    vec![
        asked_again(Answers::Usual, Kind::TokenReview, "500", Fault::Status(500, None)),
        asked_again(Answers::Usual, Kind::SubjectAccessReview, "reset", Fault::Reset),
    ]
}

fn missing(answers: Answers) -> Vec<Case> {
    vec![
        unavailable(answers, Case::get_by("a token", "alice", "/api")),
        unavailable(answers, Case::get("a certificate", "/api").presenting(Identity::Good)),
        Case::get("nothing", "/api"),
    ]
}

fn asked_once(answers: Answers, kind: Kind, what: &str, fault: Fault) -> Case {
    let name: &'static str = Box::leak(format!("{kind:?}: {what}").into_boxed_str());
    unavailable(answers, Case::get_by(name, "alice", "/api").failing(kind, fault).http1())
}

fn asked_again(answers: Answers, kind: Kind, what: &str, fault: Fault) -> Case {
    let facet: &[&str] = match kind {
        Kind::TokenReview => &["TokenReview"],
        Kind::SubjectAccessReview => &["SubjectAccessReview"],
    };
    asked_once(answers, kind, what, fault).differs("api-tries", facet)
}

/// In Go, where the answer is about access.
fn taken_for_a_denial(answers: Answers, kind: Kind, what: &str, fault: Fault) -> Case {
    let case = asked_once(answers, kind, what, fault);
    match (answers, kind) {
        (Answers::AsInGo, Kind::SubjectAccessReview) => case.differs("api-failure-503", &["status", "body"]),
        _ => case,
    }
}

fn unavailable(answers: Answers, case: Case) -> Case {
    match answers {
        Answers::Usual => case.differs("api-failure-503", &["status", "body", "answer retry-after"]),
        Answers::AsInGo => case,
    }
}
