use crate::case::{Case, Group};

/// Section 3.5: what is decided about, what is forwarded, and what is neither.
pub(crate) fn groups() -> Vec<Group> {
    let by = |name, target: &str| Case::get_by(name, "alice", target);
    const REDIRECT: &[&str] = &["body", "answer content-type", "answer x-content-type-options", "TokenReview"];
    // Ours answers, or the HTTP library does without a body.
    const MALFORMED: &[&str] = &["body", "answer connection", "answer x-content-type-options"];
    const BARE: &[&str] = &["body", "answer content-type"];
    // One parser refuses what the other accepts.
    const PARSED: &[&str] =
        &["status", "body", "forwarded", "answer content-type", "answer connection", "TokenReview", "SubjectAccessReview"];
    let paths = vec![
        by("the root", "/"),
        by("no path at all", "").http1().differs("bad-request", BARE),
        by("a path", "/a/b/c"),
        by("a slash at the end", "/a/"),
        by("a query", "/a?x=1&y=2"),
        by("an empty query", "/a?"),
        by("a query with a semicolon", "/a?x=1;y=2"),
        by("a query with bad escapes", "/a?x=%zz"),
        by("a query with a question mark", "/a?x?y"),
        by("a query with spaces", "/a?x=a+b%20c"),
        by("a query of brackets", "/a?x[]={1}"),
        by("an escaped letter", "/%61"),
        by("an escaped space", "/a%20b"),
        by("an escaped percent sign", "/a%2520b"),
        by("an escaped slash", "/a%2Fb").refused_unasked("ambiguous-path"),
        by("an escaped question mark", "/a%3Fb"),
        by("an escaped hash", "/a%23b"),
        by("escaped UTF-8", "/%C3%A9"),
        by("escapes in lower case", "/%c3%a9"),
        by("escaped bytes that are no UTF-8", "/%ff").refused_unasked("ambiguous-path"),
        by("UTF-8 as it is", "/é").http1().refused_unasked("ambiguous-path"),
        by("a semicolon", "/a;b=c/d").refused_unasked("ambiguous-path"),
        by("colons", "/a:b"),
        by("marks that need no escape", "/a!$&'()*+,=@~-._"),
        by("brackets", "/a[b]").http1(),
        by("a backslash", "/a\\b").http1().refused_unasked("ambiguous-path"),
        by("an escaped backslash", "/a%5Cb").refused_unasked("ambiguous-path"),
        by("two slashes", "/a//b").differs("unclean-path", REDIRECT),
        by("two slashes first", "//a").differs("unclean-path", REDIRECT),
        by("two slashes last", "/a//").differs("unclean-path", REDIRECT),
        by("a dot", "/a/./b").differs("unclean-path", REDIRECT),
        by("a dot last", "/a/.").differs("unclean-path", REDIRECT),
        by("two dots", "/a/../b").differs("unclean-path", REDIRECT),
        by("two dots last", "/a/..").differs("unclean-path", REDIRECT),
        by("two dots above the root", "/../a").differs("unclean-path", REDIRECT),
        by("unclean with a query", "/a//b?x=1//2").differs("unclean-path", REDIRECT),
        by("three dots", "/a/.../b"),
        by("escaped dots", "/a/%2e%2e/b").refused_unasked("ambiguous-path"),
        by("one escaped dot", "/a/%2e/b").refused_unasked("ambiguous-path"),
        by("a bad escape", "/a%zz").http1().differs("bad-request", MALFORMED),
        by("a cut escape", "/a%2").http1().differs("bad-request", MALFORMED),
        by("an escaped NUL", "/a%00b").refused_unasked("ambiguous-path"),
        by("an escaped line end", "/a%0d%0ab").refused_unasked("ambiguous-path"),
        by("an absolute target", "http://proxy.test/a?x=1").http1(),
        by("an absolute target of another host", "http://other.test/a").http1().refused_unasked("absolute-target"),
        by("a fragment", "/a#b").http1().differs("fragment", PARSED),
        by("a long path", &format!("/{}", "a".repeat(9_000))).times(2),
        by("a path too long to be remembered in Go", &format!("/{}", "a".repeat(12_000))).times(2),
        Case::get("two slashes by nobody", "/a//b")
            .differs("unclean-path", &["status", "body", "answer location", "answer content-type", "answer x-content-type-options"]),
        Case::get_by("two slashes by mallory", "mallory", "/a//b").differs("unclean-path", REDIRECT),
        Case::new("two slashes with POST", "POST", "/a//b").bearer("alice").body("x").differs("unclean-path", REDIRECT),
        Case::new("two slashes with HEAD", "HEAD", "/a//b")
            .bearer("alice")
            .differs("unclean-path", &["answer content-length", "answer content-type", "answer x-content-type-options", "TokenReview"]),
        Case::raw_by_alice("no leading slash", "GET a HTTP/1.1", "\r\n").differs("bad-request", MALFORMED),
        Case::raw_by_alice("a raw space", "GET /a b HTTP/1.1", "\r\n").differs("bad-request", BARE),
        Case::raw("no Host", "GET /a HTTP/1.1\r\nAuthorization: Bearer {alice}\r\n\r\n").differs("bad-request", MALFORMED),
        Case::raw("two Hosts", "GET /a HTTP/1.1\r\nHost: proxy.test\r\nHost: other\r\nAuthorization: Bearer {alice}\r\n\r\n")
            .differs("bad-request", MALFORMED),
        Case::raw_by_alice("HTTP/1.0", "GET /a HTTP/1.0", "\r\n"),
        Case::raw("HTTP/1.0 without Host", "GET /a HTTP/1.0\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n"),
        Case::raw_by_alice("HTTP/2.0 in words", "GET /a HTTP/2.0", "\r\n").differs("bad-request", BARE).differs("bad-request", &["status"]),
        Case::raw("a bare line feed", "GET /a HTTP/1.1\nHost: proxy.test\nAccept-Encoding: identity\nAuthorization: Bearer {alice}\n\n")
            .differs("bare-line-feed", PARSED),
        Case::raw(
            "a folded field",
            "GET /a HTTP/1.1\r\nHost: proxy.test\r\nAccept-Encoding: identity\r\nAuthorization: Bearer\r\n {alice}\r\n\r\n",
        )
        .differs("folded-field", PARSED),
        Case::raw(
            "a space before the colon",
            "GET /a HTTP/1.1\r\nHost: proxy.test\r\nAccept-Encoding: identity\r\nAuthorization : Bearer {alice}\r\n\r\n",
        )
        .differs("bad-request", BARE),
        Case::raw("an empty Host", "GET /a HTTP/1.1\r\nHost:\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n"),
        Case::raw(
            "a Host with a user",
            "GET /a HTTP/1.1\r\nHost: u@proxy.test\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n",
        )
        .differs("bad-request", MALFORMED),
        Case::raw(
            "a Host with a path",
            "GET /a HTTP/1.1\r\nHost: proxy.test/x\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n",
        )
        .differs("bad-request", MALFORMED),
        Case::raw(
            "a Host with a space",
            "GET /a HTTP/1.1\r\nHost: a b\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n",
        )
        .differs("bad-request", MALFORMED),
        Case::raw(
            "a Host with a comma",
            "GET /a HTTP/1.1\r\nHost: a,b\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n",
        ),
        Case::raw(
            "a Host of IPv6",
            "GET /a HTTP/1.1\r\nHost: [::1]:8443\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n",
        ),
        Case::raw(
            "a Host in upper case",
            "GET /a HTTP/1.1\r\nHost: PROXY.Test\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n",
        ),
        Case::raw_by_alice("a field with a NUL", "GET /a HTTP/1.1", "X-A: a\0b\r\n\r\n").differs("bad-request", BARE),
        Case::raw_by_alice("a field with a lone CR", "GET /a HTTP/1.1", "X-A: a\rb\r\n\r\n").differs("bad-request", BARE),
        Case::raw_by_alice("a field with a tab", "GET /a HTTP/1.1", "X-A: a\tb\r\n\r\n"),
        Case::raw_by_alice("a field without a name", "GET /a HTTP/1.1", ": a\r\n\r\n").differs("bad-request", BARE),
        Case::raw_by_alice("a field without a colon", "GET /a HTTP/1.1", "X-A\r\n\r\n").differs("bad-request", BARE),
        Case::raw_by_alice("a field name with a space", "GET /a HTTP/1.1", "X A: a\r\n\r\n").differs("bad-request", BARE),
        Case::raw_by_alice("a field name with odd marks", "GET /a HTTP/1.1", "X!#$%&'*+-.^_`|~9: a\r\n\r\n"),
        Case::raw_by_alice("a field name that is not ASCII", "GET /a HTTP/1.1", "Xé: a\r\n\r\n").differs("bad-request", BARE),
        Case::raw(
            "empty lines first",
            "\r\n\r\nGET /a HTTP/1.1\r\nHost: proxy.test\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n",
        )
        .differs("empty-lines", PARSED),
        Case::raw_by_alice("two spaces in the first line", "GET  /a HTTP/1.1", "\r\n").differs("bad-request", BARE),
        Case::raw_by_alice("a method with odd marks", "G!T /a HTTP/1.1", "\r\n"),
        Case::raw_by_alice("a method with a bracket", "G(T /a HTTP/1.1", "\r\n").differs("bad-request", BARE),
        Case::raw_by_alice("a length with a sign", "POST /a HTTP/1.1", "Content-Length: +1\r\n\r\nx").differs("bad-request", BARE),
        Case::raw_by_alice("a length that is none", "POST /a HTTP/1.1", "Content-Length: x\r\n\r\nx").differs("bad-request", BARE),
        Case::raw_by_alice("one length twice", "POST /a HTTP/1.1", "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        Case::raw_by_alice("a list of one length", "POST /a HTTP/1.1", "Content-Length: 1, 1\r\n\r\nx").differs("bad-request", BARE),
        Case::raw_by_alice("chunked in capitals", "POST /a HTTP/1.1", "Transfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        Case::raw_by_alice(
            "chunked twice",
            "POST /a HTTP/1.1",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        )
        .differs("bad-request", MALFORMED)
        .differs("bad-request", &["status"]),
        Case::raw_by_alice("chunked and identity", "POST /a HTTP/1.1", "Transfer-Encoding: identity\r\n\r\n")
            .differs("bad-request", BARE)
            .differs("bad-request", &["status"]),
        Case::raw(
            "an absolute target without a Host",
            "GET http://proxy.test/a HTTP/1.1\r\nAccept-Encoding: identity\r\nAuthorization: Bearer {alice}\r\n\r\n",
        )
        .differs("bad-request", MALFORMED),
        Case::raw_by_alice("an absolute target of another scheme", "GET ftp://proxy.test/a HTTP/1.1", "\r\n")
            .refused_unasked("absolute-target"),
        Case::raw_by_alice("chunks in HTTP/1.0", "POST /a HTTP/1.0", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
            .differs("ambiguous-framing", PARSED),
        Case::raw_by_alice("a connection that is kept in HTTP/1.0", "GET /a HTTP/1.0", "Connection: keep-alive\r\n\r\n"),
        Case::raw("no HTTP", "hello\r\n\r\n").differs("bad-request", BARE),
        Case::raw_by_alice("a length and chunks", "POST /a HTTP/1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            .differs("ambiguous-framing", &["answer connection"]),
        Case::raw_by_alice("two lengths", "POST /a HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx")
            .differs("bad-request", BARE),
        Case::raw_by_alice("an unknown coding", "POST /a HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
            .differs("bad-request", MALFORMED)
            .differs("bad-request", &["status"]),
    ];
    let base = || {
        vec![
            by("the root", "/"),
            by("a path", "/a"),
            by("a path with a slash at the end", "/a/"),
            by("a query", "/a?x=1"),
            by("an empty query", "/a?"),
            by("an escape", "/a%2Fb").refused_unasked("ambiguous-path"),
        ]
    };
    vec![
        Group::new("paths", &[], paths),
        Group::new("base path", &["--upstream={upstream}/base"], base()),
        Group::new("base path with a slash", &["--upstream={upstream}/base/"], base()),
        Group::new("base path and query", &["--upstream={upstream}/base?key=1"], base()),
        Group::new("base query", &["--upstream={upstream}?key=1"], base()),
        Group::new("base path with an escape", &["--upstream={upstream}/ba%2Fse/%61"], base()),
    ]
}
