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
    const PODS: &str = "authorization:\n  resourceAttributes:\n    resource: pods\n";
    const UNCLEAN: &[&str] =
        &["status", "body", "forwarded", "answer content-type", "answer location", "TokenReview", "SubjectAccessReview"];
    const CLIMBING: &[&str] = &[
        "status",
        "body",
        "answer content-type",
        "answer x-content-type-options",
        "answer location",
        "TokenReview",
        "SubjectAccessReview",
    ];
    let unclean = vec![
        Case::get_by("two dots", "alice", "/r/../x").differs("unclean-path-unread", UNCLEAN),
        Case::get_by("two slashes", "alice", "/r//x").differs("unclean-path-unread", UNCLEAN),
        Case::get_by("an escaped slash", "alice", "/r%2Fx"),
        Case::get_by("escaped dots", "alice", "/r/%2e%2e/x"),
        Case::get_by("a semicolon and a backslash", "alice", "/r;a=b/%5Cx"),
    ];
    let climbing = vec![
        Case::get_by("two dots below a base path", "alice", "/../x").differs("base-path", CLIMBING),
        Case::get_by("escaped dots below a base path", "alice", "/%2e%2E/x").refused("base-path"),
        Case::get_by("an escaped climb below a base path", "alice", "/a%2f..%2F../x").refused("base-path"),
        Case::get_by("three dots below a base path", "alice", "/.../..x/x.."),
    ];
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
        Group::new("verbs of a resource", &[], methods()).config(PODS),
        Group::new("unclean paths by resource", &[], unclean).config(PODS),
        Group::new("climbing paths by resource", &["--upstream={upstream}/base"], climbing).config(PODS),
        configured("an empty authorization", "authorization: {}\n"),
        configured(
            "every resource attribute",
            concat!(
                "authorization:\n  resourceAttributes:\n    namespace: monitoring\n    apiGroup: apps\n    apiVersion: v1\n",
                "    resource: deployments\n    subresource: scale\n    name: web\n",
            ),
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
        Group::new("static rules", &[], rules()).config(STATIC),
        Group::new("static rules about a resource", &[], resource_rules()).config(concat!(
            "authorization:\n  resourceAttributes: {resource: pods, namespace: ns, apiGroup: apps, subresource: log, name: web}\n",
            "  static:\n  - {user: {name: mallory}, resourceRequest: true, verb: get, resource: pods, namespace: ns}\n",
            "  - {user: {name: mallory}, resourceRequest: true, verb: create, name: other}\n",
            "  - {user: {name: trent}, resourceRequest: true, apiGroup: apps, subresource: log, name: web}\n",
            "  - {user: {name: mallory}, path: /anybody}\n",
        )),
        Group::new("a verb", &[], verb).config("authorization:\n  resourceAttributes:\n    resource: pods\n    verb: list\n"),
    ]
}

const STATIC: &str = "authorization:
  static:
  - {user: {name: mallory}, verb: get, path: /metrics, resourceRequest: false}
  - {user: {name: mallory}, verb: '*', path: /star}
  - {user: {name: mallory}, path: /every-verb}
  - {user: {name: mallory}, path: '/glob/*'}
  - {user: {name: mallory}, path: /no-resource, resource: pods}
  - {user: {groups: [devs]}, verb: get, path: /devs}
  - {user: {groups: [ops]}, verb: get, path: /ops}
  - {path: /anybody}
";

fn rules() -> Vec<Case> {
    let by = |target, user| Case::get_by(leak(format!("{target} by {user}")), user, target);
    let mallory = |method: &str, target: &str| Case::new(leak(format!("{method} {target}")), method, target).bearer("mallory");
    let narrower =
        |case: Case| case.differs("static-groups", &["status", "body", "forwarded", "SubjectAccessReview"]).differs("static-groups", TYPES);
    vec![
        by("/metrics", "mallory"),
        by("/metrics?x=y", "mallory"),
        by("/m%65trics", "mallory"),
        by("/metrics/", "mallory"),
        by("/metrics", "bob"),
        by("/metrics", "trent"),
        by("/Metrics", "mallory"),
        mallory("POST", "/metrics"),
        mallory("HEAD", "/metrics"),
        mallory("HEAD", "/star"),
        mallory("GET", "/star"),
        mallory("DELETE", "/every-verb"),
        mallory("HEAD", "/every-verb"),
        by("/glob/x", "mallory"),
        by("/glob/*", "mallory"),
        by("/no-resource", "mallory"),
        by("/devs", "mallory"),
        narrower(by("/ops", "mallory")),
        by("/ops", "alice"),
        by("/anybody", "trent"),
        Case::get("/anybody by nobody", "/anybody"),
    ]
}

const TYPES: &[&str] = &["answer content-type", "answer x-content-type-options"];

fn resource_rules() -> Vec<Case> {
    let by = |target, user| Case::get_by(leak(format!("{target} by {user}")), user, target);
    vec![
        by("/r", "mallory"),
        by("/anybody", "mallory"),
        Case::new("POST by mallory", "POST", "/anybody").bearer("mallory").body("x"),
        by("/r", "trent"),
        Case::new("DELETE by trent", "DELETE", "/r").bearer("trent"),
        by("/r", "alice"),
    ]
}

/// The tables name their cases with constants; these names are made once per test process.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}
