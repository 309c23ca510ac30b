use crate::case::{Case, Group};

/// Section 3.1: what a request is authorized as.
pub(crate) fn groups() -> Vec<Group> {
    let methods = || {
        let mut cases: Vec<Case> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY"]
            .into_iter()
            .map(|method| Case::new(leak(format!("method {method}")), method, &format!("/verb/{method}")).bearer("alice"))
            .collect();
        cases.extend(
            ["GET", "HEAD", "POST", "DELETE", "OPTIONS"]
                .map(|method| Case::new(leak(format!("method {method}, forbidden")), method, "/verb/forbidden").bearer("mallory")),
        );
        cases.extend([
            Case::new("method get", "get", "/verb/get").bearer("alice").refused_unasked("method-case"),
            Case::new("method CONNECT", "CONNECT", "proxy.test:443").bearer("alice").http1().differs("connect", &["status", "body"]),
            Case::new("OPTIONS *", "OPTIONS", "*")
                .bearer("alice")
                .http1()
                .differs("asterisk", &["status", "body", "answer content-type", "answer x-content-type-options"]),
            Case::new("GET *", "GET", "*")
                .bearer("alice")
                .http1()
                .differs("asterisk", &["body", "answer connection", "answer content-type", "answer x-content-type-options"]),
        ]);
        cases
    };
    let by = |user, target| Case::get_by("by resource", user, target);
    let resource =
        || vec![by("alice", "/r"), by("mallory", "/r"), by("bob", "/r"), by("trent", "/r?namespace=other"), by("alice", "/r").body("x")];
    let unclean = |row| {
        let facets = &["status", "body", "forwarded", "answer content-type", "answer location", "TokenReview", "SubjectAccessReview"];
        vec![Case::get_by("an unclean path", "alice", "/r/../x").differs(row, facets)]
    };
    const ASKED: &[&str] = &["SubjectAccessReview"];
    let verb = vec![
        Case::get_by("GET by a verb", "alice", "/verb").differs("verb-honoured", ASKED),
        Case::new("POST by a verb", "POST", "/verb").bearer("bob").body("x").differs("verb-honoured", ASKED),
        Case::get_by("GET by a verb, forbidden", "mallory", "/verb").differs("verb-honoured", ASKED).differs("verb-honoured", &["body"]),
        // The API server allows what is asked for here and not what is asked for in Go.
        Case::get_by("GET by a verb that is allowed", "lister", "/verb")
            .differs("verb-honoured", ASKED)
            .differs("verb-honoured", &["status", "body", "forwarded", "answer content-type", "answer x-content-type-options"]),
    ];
    let configured = |name, text| Group::new(name, &[], resource()).config(text);
    vec![
        Group::new("verbs", &[], methods()),
        Group::new("verbs of a resource", &[], methods()).config("authorization:\n  resourceAttributes:\n    resource: pods\n"),
        Group::new("unclean paths by resource", &[], unclean("unclean-path-unread"))
            .config("authorization:\n  resourceAttributes:\n    resource: pods\n"),
        configured("an empty authorization", "authorization: {}\n"),
        configured(
            "every resource attribute",
            "authorization:\n  resourceAttributes:\n    namespace: monitoring\n    apiGroup: apps\n    apiVersion: v1\n    resource: deployments\n    subresource: scale\n    name: web\n",
        ),
        configured(
            "attributes are literal",
            "authorization:\n  resourceAttributes:\n    resource: namespaces\n    name: \"{{ .Value }}\"\n",
        ),
        configured("keys in any case", "Authorization:\n  RESOURCEATTRIBUTES:\n    NameSpace: monitoring\n    RESOURCE: pods\n"),
        configured("a resource with a subresource alone", "authorization:\n  resourceAttributes:\n    subresource: metrics\n"),
        configured("unicode", "authorization:\n  resourceAttributes:\n    resource: \"pöds\"\n    name: \"a b\"\n"),
        configured("empty resource attributes", "authorization:\n  resourceAttributes: {}\n"),
        configured("null resource attributes", "authorization:\n  resourceAttributes:\n"),
        configured("JSON", "{\"authorization\": {\"resourceAttributes\": {\"resource\": \"pods\", \"namespace\": \"n\"}}}"),
        configured("numbers for strings are quoted", "authorization:\n  resourceAttributes:\n    resource: pods\n    name: \"1\"\n"),
        configured("anchors", "authorization:\n  resourceAttributes: &a\n    resource: pods\nother: *a\n"),
        configured("unknown keys at the top", "kind: Config\nauthorization:\n  resourceAttributes:\n    resource: pods\n"),
        Group::new("a verb", &[], verb).config("authorization:\n  resourceAttributes:\n    resource: pods\n    verb: list\n"),
    ]
}

/// The tables name their cases with constants; these names are made once per test process.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}
