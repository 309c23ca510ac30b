use testkit::client::Version;

use crate::case::{Case, Group};

/// What a text has of the row that explains it.
const ROW: &str = "ambiguous-value";
const FORMS: &str = "forms";
/// Neither lets it pass; ours knows before it asks anybody.
const SOONER: &[&str] = &["body", "TokenReview"];

const BY_QUERY: &str = "authorization:
  resourceAttributes: {apiGroup: metrics.k8s.io, apiVersion: v1beta1, resource: pods, namespace: '{{ .Value }}'}
  rewrites: {byQueryParameter: {name: namespace}}
";
const BY_HEADER: &str = "authorization:
  resourceAttributes: {resource: tenants, name: '{{ .Value }}'}
  rewrites: {byHttpHeader: {name: x-tenant}}
";
const BY_BOTH: &str = "authorization:
  resourceAttributes: {resource: pods, namespace: '{{ .Value }}'}
  rewrites: {byHttpHeader: {name: X-Tenant}, byQueryParameter: {name: ns}}
";

/// Section 3.1: one review for each value, and all must be allowed.
pub(crate) fn groups() -> Vec<Group> {
    let of = |name, text, cases| Group::new(name, &[], cases).config(text);
    vec![
        of("rewrites by query", BY_QUERY, by_query()),
        of("rewrites by header", BY_HEADER, by_header()),
        of("rewrites by both", BY_BOTH, by_both()),
        of(
            "rewrites of every attribute",
            "Authorization:\n  Rewrites: {ByQueryParameter: {Name: 'a b'}}\n  resourceAttributes: {namespace: '{{.Value}}', apiGroup: \
             'x {{- .Value -}} y', apiVersion: 'v{{ .Value -}} 1', resource: 'r {{ .Value }}', subresource: 'a{{/* b */}}c', name: '{{ \
             .Value }}{{ .Value }}'}\n",
            vec![
                Case::get_by("a value", "alice", "/?a+b=1"),
                Case::get_by("a value like a template", "alice", "/?a%20b=%7B%7B+.Value+%7D%7D"),
                Case::get_by("a value of white space", "alice", "/?a+b=++"),
                Case::get_by("a value for all", "alice", "/?a+b="),
            ],
        ),
        of(
            "rewrites into nothing",
            "authorization:\n  resourceAttributes: {resource: pods}\n  rewrites: {byQueryParameter: {name: ns}}\n",
            vec![
                Case::get_by("two values", "alice", "/?ns=a&ns=b"),
                Case::get_by("two values, forbidden", "mallory", "/?ns=a&ns=b"),
                Case::get_by("no value", "alice", "/"),
            ],
        ),
        of(
            "rewrites without attributes",
            "authorization:\n  rewrites: {byQueryParameter: {name: ns}}\n",
            vec![
                Case::get_by("no value", "alice", "/x"),
                Case::get_by("a value", "alice", "/x?ns=a"),
                Case::get_by("what nobody reads", "alice", "/x?ns=a;b=%zz"),
            ],
        ),
        of(
            "rewrites that are null",
            "authorization:\n  resourceAttributes: {resource: pods, name: '{{ .Value }}'}\n  rewrites:\n",
            vec![Case::get_by("a value", "alice", "/?ns=a"), Case::get_by("no value", "mallory", "/")],
        ),
        of(
            "rewrites and static rules",
            "authorization:\n  resourceAttributes: {resource: pods, namespace: '{{ .Value }}'}\n  rewrites: {byQueryParameter: {name: \
             ns}}\n  static:\n  - {user: {name: mallory}, resourceRequest: true, verb: get, namespace: a}\n  - {user: {name: trent}, \
             resourceRequest: true, resource: pods}\n",
            vec![
                Case::get_by("a value with a rule", "mallory", "/?ns=a"),
                Case::get_by("a value with none", "mallory", "/?ns=b"),
                Case::get_by("one with and one without", "mallory", "/?ns=a&ns=b"),
                Case::get_by("all namespaces", "mallory", "/?ns="),
                Case::new("another verb", "POST", "/?ns=a").bearer("mallory"),
                Case::get_by("a rule for all", "trent", "/?ns=a&ns=&ns=b"),
                Case::get_by("no value for a rule for all", "trent", "/"),
            ],
        ),
        Group::new(
            "rewrites and path lists",
            &["--allow-paths=/api/*,/metrics"],
            vec![
                Case::get_by("an allowed path", "alice", "/api/x?namespace=a"),
                Case::get_by("an allowed path without a value", "alice", "/metrics"),
                Case::get_by("another path", "alice", "/other?namespace=a"),
            ],
        )
        .config(BY_QUERY),
        Group::new(
            "rewrites and ignored paths",
            &["--ignore-paths=/open"],
            vec![
                Case::get("an ignored path", "/open"),
                Case::get("an ignored path with a value", "/open?namespace=a&namespace=b"),
                Case::get("an ignored path with a query of many meanings", "/open?namespace=a;b").refused(ROW),
                Case::get_by("another path", "alice", "/open/x?namespace=a"),
            ],
        )
        .config(BY_QUERY),
    ]
}

fn by_query() -> Vec<Case> {
    let by = Case::get_by;
    let verb = |name, method, user| Case::new(name, method, "/?namespace=mine").bearer(user).body("namespace=other");
    let form = |name, text| {
        let case = Case::new(name, "POST", "/?namespace=mine").bearer("tenant");
        case.header("Content-Type", "application/x-www-form-urlencoded").body(text)
    };
    let sooner = |name, target| by(name, "alice", target).differs(ROW, SOONER);
    vec![
        by("a value", "alice", "/?namespace=mine"),
        by("a value, forbidden", "mallory", "/?namespace=mine"),
        by("a value, denied", "trent", "/?namespace=mine"),
        by("a value of the tenant's", "tenant", "/?namespace=mine"),
        by("a value of others", "tenant", "/?namespace=other"),
        by("several values in their order", "tenant", "/?namespace=mine-b&x=y&namespace=mine-a&namespace=mine-c"),
        by("one denied among several", "tenant", "/?namespace=mine&namespace=other&namespace=mine-b"),
        by("the first denied", "tenant", "/?namespace=other&namespace=mine"),
        by("the last denied", "tenant", "/?namespace=mine&namespace=mine-b&namespace=other"),
        by("the same value twice", "tenant", "/?namespace=mine&namespace=mine"),
        by("an empty value", "alice", "/?namespace="),
        by("an empty value of one with a namespace", "tenant", "/?namespace="),
        by("an empty value beside another", "tenant", "/?namespace=mine&namespace="),
        by("a name without a value", "tenant", "/?namespace"),
        by("a name without a value, allowed", "alice", "/?x&namespace&y"),
        by("no query", "alice", "/"),
        by("an empty query", "alice", "/?"),
        by("another name", "alice", "/?namespaces=mine&x[namespace]=mine"),
        sooner("nearly the same name", "/?Namespace=mine&namespace[]=mine&+namespace=mine"),
        by("nearly the same name beside the value", "alice", "/?namespace=mine&Namespace=other").refused_unasked(ROW),
        by("an index beside the value", "alice", "/?namespace=mine&namespace[]=other").refused_unasked(ROW),
        by("no value, forbidden", "mallory", "/?x=y"),
        Case::get("no value, by nobody", "/"),
        Case::get("a value, by nobody", "/?namespace=mine"),
        by("escapes", "alice", "/?n%61mespace=m%69ne&query=up%7Bx%3D%22y%22%7D"),
        by("a plus and an escaped one", "alice", "/?namespace=a+b%2Bc"),
        by("unicode", "alice", "/?namespace=caf%C3%A9"),
        by("an escaped separator", "alice", "/?namespace=a%26namespace%3Db%3Bc"),
        by("a second equals sign", "alice", "/?namespace=a=b"),
        by("empty parameters", "alice", "/?&&namespace=mine&&=x&"),
        by("dots and slashes", "alice", "/?namespace=../%2e%2e%2fx"),
        by("an unclean path", "alice", "/x/%2e%2e/y;z?namespace=mine"),
        by("bytes elsewhere", "alice", "/?namespace=mine&x=%ff%00"),
        form("a form with another value", "namespace=other").refused(FORMS).differs(FORMS, &["SubjectAccessReview"]),
        form("a form of others", "x=y&Namespace[]=other").refused(FORMS),
        form("a form that is none", "x=%zz;").refused(FORMS),
        form("a form with the same value", "namespace=mine"),
        form("a form without a value", "query=up%7Bx%3D%22y%22%7D&start=1"),
        form("a form in a coding", "x=y").header("Content-Encoding", "gzip").refused_unasked(FORMS),
        form("a form and another type", "x=y").header("Content-Type", "text/plain").refused_unasked(FORMS),
        verb("a form in parts", "POST", "tenant").header("Content-Type", "multipart/form-data; boundary=x").refused_unasked(FORMS),
        verb("a body that is no form", "POST", "tenant").header("Content-Type", "application/json"),
        verb("a body of no type", "POST", "tenant").refused(FORMS).differs(FORMS, &["SubjectAccessReview"]),
        Case::new("POST with the value in the form alone", "POST", "/")
            .bearer("alice")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("namespace=mine"),
        verb("PUT", "PUT", "tenant").header("Content-Type", "text/plain"),
        verb("PATCH", "PATCH", "tenant").header("Content-Type", "text/plain"),
        verb("DELETE", "DELETE", "mallory"),
        Case::new("HEAD", "HEAD", "/?namespace=mine").bearer("tenant"),
        Case::new("OPTIONS", "OPTIONS", "/?namespace=mine").bearer("tenant"),
        by("a semicolon beside the value", "alice", "/?namespace=mine&x;namespace=other").refused_unasked(ROW),
        by("a broken escape beside the value", "alice", "/?namespace=mine&namespace=other%zz").refused_unasked(ROW),
        by("a broken escape elsewhere", "alice", "/?namespace=mine&x=%").refused_unasked(ROW),
        by("bytes that are not UTF-8", "alice", "/?namespace=%ff").refused_unasked(ROW),
        by("a line end in the value", "alice", "/?namespace=a%0d%0ab").refused_unasked(ROW),
        sooner("a semicolon in the value", "/?namespace=mine;namespace=other"),
        sooner("a broken escape in the value", "/?namespace=%zz"),
        by("a hundred values", "tenant", leak(values(100))),
        by("more than a hundred values", "tenant", leak(values(101))).refused_unasked("many-values"),
        by("more than a thousand parameters", "alice", leak(format!("/?namespace=mine{}", "&x=y".repeat(1000))))
            .refused_unasked("many-values"),
    ]
}

fn by_header() -> Vec<Case> {
    let by =
        |name, user, values: &[&str]| values.iter().fold(Case::get_by(name, user, "/?x;%zz"), |case, value| case.header("X-Tenant", value));
    vec![
        by("a value", "alice", &["mine"]),
        by("a value, forbidden", "mallory", &["mine"]),
        by("several lines in their order", "tenant", &["mine-b", "mine-a"]),
        by("one denied among several lines", "tenant", &["mine", "other", "mine"]),
        by("a list in one line", "tenant", &["mine, other"]),
        by("a list with another separator", "tenant", &["mine|other"]),
        by("an empty value", "tenant", &[""]),
        by("an empty value, allowed", "alice", &[""]),
        by("an empty value beside another", "tenant", &["mine", ""]),
        by("no value", "alice", &[]),
        by("no value, forbidden", "mallory", &[]),
        Case::get("a value by nobody", "/").header("X-Tenant", "mine"),
        Case::get_by("another case", "alice", "/").header("x-tEnAnT", "Mine"),
        by("unicode", "alice", &["café"]),
        Case::new("POST", "POST", "/").bearer("tenant").header("X-Tenant", "mine").body("x"),
        by("a tab in the value", "alice", &["a\tb"]).refused_unasked(ROW),
        Case::get_by("the name with an underscore", "alice", "/").header("X_Tenant", "mine").differs(ROW, SOONER),
        by("the name with an underscore beside it", "alice", &["mine"]).header("X_Tenant", "other").refused_unasked(ROW),
        by("a value that Connection takes away", "alice", &["mine"]).header("Connection", "x-tenant").http1().refused_unasked(ROW),
        by("a value that Connection takes away beside others", "alice", &["mine"])
            .header("Connection", "keep-alive, X-Tenant")
            .http1()
            .refused_unasked(ROW),
        by("a Connection of other names", "alice", &["mine"]).header("Connection", "keep-alive, X-Other").http1(),
        by("outer spaces", "alice", &[" mine "])
            .differs_in(Version::H2, ROW, &["status", "body", "forwarded", "answer content-type", "answer x-content-type-options"])
            .differs_in(Version::H2, ROW, &["TokenReview", "SubjectAccessReview"]),
    ]
}

fn by_both() -> Vec<Case> {
    let by = |name, target| Case::get_by(name, "tenant", target);
    vec![
        by("values of both, the query's first", "/?ns=mine-z&ns=mine-y").header("X-Tenant", "mine-b").header("X-Tenant", "mine-a"),
        by("the header's denied", "/?ns=mine").header("X-Tenant", "other"),
        by("the query's denied", "/?ns=other").header("X-Tenant", "mine"),
        by("the header's alone", "/?x=y").header("X-Tenant", "mine"),
        by("the query's alone", "/?ns=mine"),
        by("neither", "/?x=y"),
        by("an empty one of the header", "/?ns=mine").header("X-Tenant", ""),
        by("an empty one of the query", "/?ns=").header("X-Tenant", "mine"),
    ]
}

fn values(count: usize) -> String {
    let values: Vec<String> = (0..count).map(|number| format!("namespace=mine-{number}")).collect();
    format!("/?{}", values.join("&"))
}

/// The tables name their cases with constants; these texts are made once per test process.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}
