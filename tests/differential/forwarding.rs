use testkit::client::Version;

use crate::case::{Case, Group};

/// Section 3.6: what the upstream gets.
pub(crate) fn groups() -> Vec<Group> {
    let by = |name| Case::get_by(name, "alice", "/forward");
    let over_the_limit = |case: Case| {
        let facets = &["status", "body", "forwarded", "answer content-type", "TokenReview", "SubjectAccessReview"];
        case.differs("head-limits", facets).differs_in(Version::H1, "head-limits", &["answer connection"])
    };
    let post = |name| Case::new(name, "POST", "/forward").bearer("alice");
    let large: &'static str = Box::leak("0123456789abcdef".repeat(64 * 1024).into_boxed_str());
    let cases = vec![
        by("another host").host("app.example.com:8443"),
        by("a user agent").header("User-Agent", "curl/8"),
        by("no accepted codings").without_codings().bearer("alice").differs("accept-encoding", &["upstream accept-encoding"]),
        by("accepted codings").without_codings().bearer("alice").header("Accept-Encoding", "br"),
        by("accepted gzip").without_codings().bearer("alice").header("Accept-Encoding", "gzip"),
        by("a range").header("Range", "bytes=0-1"),
        by("several values").header("X-Many", "1").header("X-Many", "2").header("X-Many", "1"),
        by("an empty value").header("X-Empty", ""),
        by("a value that is UTF-8").header("X-Text", "é").http1(),
        by("a name with underscores").header("X_Odd", "1"),
        by("cookies").header("Cookie", "a=1").header("Cookie", "b=2").differs_in(Version::H1, "cookies-joined", &["upstream cookie"]),
        by("a forwarded-for").header("X-Forwarded-For", "1.2.3.4"),
        by("two forwarded-fors").header("X-Forwarded-For", "1.2.3.4").header("X-Forwarded-For", "5.6.7.8, 9.9.9.9"),
        by("an empty forwarded-for").header("X-Forwarded-For", ""),
        by("other forwarded headers")
            .header("X-Forwarded-Host", "h")
            .header("X-Forwarded-Proto", "http")
            .header("X-Forwarded-Port", "1")
            .header("Forwarded", "for=1.2.3.4")
            .header("X-Real-IP", "1.2.3.4")
            .header("Via", "1.1 here"),
        by("connection: close").header("Connection", "close").http1(),
        by("connection: keep-alive").header("Connection", "keep-alive").header("Keep-Alive", "timeout=5").http1(),
        by("connection names a header").header("Connection", "X-Hop").header("X-Hop", "1").header("X-Stay", "1").http1(),
        by("two connections name headers")
            .header("Connection", "X-Hop")
            .header("Connection", "keep-alive, X-Hop-2")
            .header("X-Hop", "1")
            .header("X-Hop-2", "1")
            .http1(),
        by("connection names authorization").header("Connection", "Authorization").http1(),
        by("connection names host").header("Connection", "Host").http1(),
        by("connection names forwarded-for").header("Connection", "X-Forwarded-For").header("X-Forwarded-For", "1.2.3.4").http1(),
        by("a proxy's connection").header("Proxy-Connection", "keep-alive").http1(),
        by("a proxy's credentials").header("Proxy-Authorization", "Basic dTpw").header("Proxy-Authenticate", "Basic"),
        by("TE: trailers").header("TE", "trailers"),
        by("TE: gzip").header("TE", "gzip").http1(),
        by("TE: gzip, trailers").header("TE", "gzip, trailers").http1(),
        by("TE: trailers and a connection").header("Connection", "TE").header("TE", "trailers").http1(),
        by("an announced trailer and no body").header("Trailer", "X-Sum"),
        by("an upgrade").header("Connection", "Upgrade").header("Upgrade", "websocket").http1(),
        by("an upgrade to SPDY").header("Connection", "keep-alive, upgrade").header("Upgrade", "SPDY/3.1").http1(),
        by("an upgrade that is refused")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("X-Reply", "status 403")
            .http1(),
        by("an upgrade that is agreed to")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("X-Reply", "tunnel")
            .http1(),
        by("an upgrade that becomes another")
            .header("Connection", "Upgrade")
            .header("Upgrade", "SPDY/3.1")
            .header("X-Reply", "tunnel")
            .http1(),
        by("an upgrade to another protocol")
            .header("Connection", "Upgrade")
            .header("Upgrade", "TLS/1.0")
            .http1()
            .refused("upgrade-refused"),
        by("an upgrade to a choice").header("Connection", "Upgrade").header("Upgrade", "websocket, x").http1().refused("upgrade-refused"),
        by("an upgrade to h2c")
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
            .http1()
            .differs("h2c-upgrade", &["upstream connection", "upstream upgrade"]),
        by("an upgrade that is not named").header("Upgrade", "websocket").http1(),
        by("max-forwards").header("Max-Forwards", "0"),
        by("if-none-match").header("If-None-Match", "\"x\"").header("X-Reply", "status 304"),
        post("a body").body("field=1&more=2").header("Content-Type", "application/x-www-form-urlencoded"),
        post("no body"),
        Case::new("a body with DELETE", "DELETE", "/forward").bearer("alice").body("x"),
        Case::raw_by_alice("chunks", "POST /forward HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        Case::raw_by_alice("no chunks", "POST /forward HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Case::raw_by_alice("a GET with chunks", "GET /forward HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        post("a body with trailers").body("x").trailer("X-Sum", "42").differs("request-trailers", &["upstream trailer"]),
        post("identity headers in trailers").body("x").trailer("X-Remote-User", "admin").differs("request-trailers", &["upstream trailer"]),
        post("Expect: 100-continue").header("Expect", "100-continue").body("x").http1(),
        post("another expectation")
            .header("Expect", "200-ok")
            .body("x")
            .http1()
            .differs("bad-request", &["status", "body", "answer content-type", "answer x-content-type-options"]),
        post("a large body").body(large),
        Case::new("PUT", "PUT", "/forward").bearer("alice").body("x"),
        Case::new("OPTIONS with a body", "OPTIONS", "/forward").bearer("alice").body("x"),
        Case::new("HEAD with a body", "HEAD", "/forward").bearer("alice").body("x"),
        Case::new("an unknown method with a body", "PROPFIND", "/forward").bearer("alice").body("<x/>"),
        by("many fields").fields(200),
        over_the_limit(by("too many fields").fields(300)).differs_in(Version::H2, "head-limits", &["answer x-content-type-options"]),
        by("a large field").header("X-Large", &"x".repeat(40_000)),
        over_the_limit(by("a field too large").header("X-Large", &"x".repeat(80_000))),
        post("a content coding").header("Content-Encoding", "gzip").body("not really"),
        Case::raw_by_alice(
            "chunks with extensions",
            "POST /forward HTTP/1.1",
            "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
        ),
        Case::raw_by_alice("a GET with a length", "GET /forward HTTP/1.1", "Content-Length: 0\r\n\r\n"),
        Case::raw_by_alice("a GET with a body", "GET /forward HTTP/1.1", "Content-Length: 3\r\n\r\nabc"),
    ];
    vec![
        Group::new("forwarding by h2c", &["--upstream={h2c-upstream}", "--upstream-force-h2c"], by_http2(&cases)),
        Group::new("forwarding", &[], cases),
    ]
}

/// The cases for an upstream of HTTP/2, in which some end otherwise.
fn by_http2(cases: &[Case]) -> Vec<Case> {
    let by = |name| Case::get_by(name, "alice", "/forward");
    const OTHERWISE: &[&str] = &[
        // The Go program waits for ever.
        "an announced trailer and no body",
        "cookies",
        "an upgrade to another protocol",
        "an upgrade to a choice",
        "an upgrade to h2c",
    ];
    let mut cases: Vec<Case> = cases.iter().filter(|case| !OTHERWISE.contains(&case.name)).cloned().collect();
    cases.extend([
        by("cookies").header("Cookie", "a=1").header("Cookie", "b=2"),
        by("an upgrade to h2c")
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
            .http1()
            .differs("h2c-upgrade-by-h2c", &["status", "body", "forwarded", "answer content-type"]),
    ]);
    cases
}
