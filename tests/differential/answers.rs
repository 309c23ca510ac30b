use testkit::client::Version;

use crate::case::{Case, Group};

/// All that an upstream gets twice.
const REPLAYED: &[&str] = &[
    "forwarded",
    "method",
    "target",
    "upstream body",
    "upstream accept-encoding",
    "upstream host",
    "upstream x-forwarded-for",
    "upstream x-reply",
];

/// Section 3.6: what the client gets of the upstream's answer, or for it.
pub(crate) fn groups() -> Vec<Group> {
    let statuses = ["200", "201", "202", "204", "206", "301", "304", "400", "401", "403", "404", "418", "429", "500", "502", "503"];
    let mut cases: Vec<Case> =
        statuses.map(|status| Case::answered(Box::leak(format!("status {status}").into_boxed_str()), &format!("status {status}"))).to_vec();
    cases.extend(
        [
            "headers",
            "no body",
            "chunked",
            "events",
            "to the end",
            "hop by hop",
            "early hints",
            "redirect",
            "redirect here",
            "challenge",
            "many fields",
            "large field",
            "date",
            "text",
            "closed",
            "old",
            "old to the end",
            "no content with a length",
            "unmodified with a length",
            "own status",
            "reset early",
            "length and chunks",
            "two lengths",
            "field without a colon",
            "bare lines",
            "set cookies",
            "vary",
            "garbage",
            "cut",
            "switch",
        ]
        .map(|reply| Case::answered(reply, reply)),
    );
    const TRAILER: &[&str] = &["trailer x-sum"];
    cases.extend([
        Case::answered("no type", "no type").differs("content-type-unguessed", &["answer content-type"]),
        Case::answered("gzip", "gzip"),
        Case::answered("gzip that was not asked for", "gzip")
            .without_codings()
            .bearer("alice")
            .header("X-Reply", "gzip")
            .differs("accept-encoding", &["status", "body", "answer content-encoding", "answer content-type", "upstream accept-encoding"]),
        Case::answered("continue", "continue").differs_in(Version::H1, "upstream-continue", &["interim"]),
        Case::answered("reset", "reset").http1().differs("upstream-replay", REPLAYED),
        Case::answered("announced trailers", "announced trailers").differs_in(Version::H1, "response-trailers", TRAILER),
        Case::answered("trailers", "trailers").differs_in(Version::H1, "response-trailers", TRAILER),
        Case::answered("announced trailers that are wanted", "announced trailers").header("TE", "trailers"),
        Case::answered("trailers that are wanted", "trailers").header("TE", "trailers").differs_in(
            Version::H1,
            "response-trailers",
            TRAILER,
        ),
        Case::new("HEAD with a length", "HEAD", "/answer").bearer("alice").header("X-Reply", "head"),
        Case::new("HEAD without a length", "HEAD", "/answer").bearer("alice").header("X-Reply", "head without a length"),
    ]);
    let over_tls = || vec![Case::answered("over TLS", "headers"), Case::get_by("over TLS, forbidden", "mallory", "/answer")];
    vec![
        Group::new("answers by h2c", &["--upstream={h2c-upstream}", "--upstream-force-h2c"], by_http2(&cases)),
        Group::new(
            "an upstream that offers HTTP/2",
            &["--upstream={h2-upstream}", "--upstream-ca-file={folder}/serving-ca.crt"],
            ["status 204", "headers", "chunked", "events", "to the end", "hop by hop", "many fields", "set cookies", "text"]
                .map(|reply| Case::answered(reply, reply))
                .into_iter()
                .chain([
                    Case::new("a body", "POST", "/answer").bearer("alice").body("x"),
                    Case::answered("trailers", "trailers").http2(),
                    Case::answered("early hints", "early hints").differs_in(Version::H1, "interim-http2", &["interim", "interim link"]),
                    Case::get_by("an upgrade", "alice", "/answer")
                        .header("Connection", "Upgrade")
                        .header("Upgrade", "websocket")
                        .header("X-Reply", "tunnel")
                        .http1(),
                ])
                .collect(),
        ),
        Group::new("answers", &[], cases),
        Group::new(
            "upstream is dead",
            &["--upstream={dead}"],
            vec![Case::answered("no answer", ""), Case::answered("no answer", "").body("x")],
        ),
        Group::new("upstream over TLS", &["--upstream={tls-upstream}", "--upstream-ca-file={folder}/serving-ca.crt"], over_tls()),
        Group::new(
            "upstream of the wrong authority",
            &["--upstream={tls-upstream}", "--upstream-ca-file={folder}/strangers-ca.crt"],
            over_tls(),
        ),
        Group::new("upstream nobody vouches for", &["--upstream={tls-upstream}"], over_tls()),
        Group::new("upstream by plain HTTP that speaks TLS", &["--upstream={plain-tls-upstream}"], over_tls()),
        Group::new("a CA for an upstream without TLS", &["--upstream-ca-file={folder}/serving-ca.crt"], over_tls()),
    ]
}

/// The cases for an upstream of HTTP/2, in which some end otherwise.
fn by_http2(cases: &[Case]) -> Vec<Case> {
    const OTHERWISE: &[&str] = &["unmodified with a length", "continue", "reset"];
    let mut cases: Vec<Case> = cases.iter().filter(|case| !OTHERWISE.contains(&case.name)).cloned().collect();
    cases.extend([
        Case::answered("unmodified with a length", "unmodified with a length")
            .differs("unmodified-http2", &["status", "body", "answer etag"]),
        Case::answered("continue", "continue"),
        Case::answered("reset", "reset"),
    ]);
    cases
}
