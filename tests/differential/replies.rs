use testkit::upstream::{Received, Reply};

/// Answers as the request's `X-Reply` asks.
pub(crate) fn reply(received: &Received) -> Reply {
    const TEXT: (&str, &str) = ("Content-Type", "text/plain");
    let asked = received.head.get("x-reply").unwrap_or_default();
    if let Some(status) = asked.strip_prefix("status ") {
        return match status.parse().unwrap() {
            status @ (204 | 304) => Reply::head(status, &[("X-Made-By", "upstream")]),
            status => Reply::new(status, &[TEXT], format!("status {status}")),
        };
    }
    match asked {
        "" => Reply::new(200, &[TEXT], "hello"),
        "headers" => Reply::new(200, &[TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Server", "upstream/1"), ("X-Empty", "")], "x"),
        "no type" => Reply::new(200, &[], "<html><body>hello</body></html>"),
        "no body" => Reply::new(200, &[TEXT], ""),
        "chunked" => Reply::chunked(&[TEXT], &["one", "two"], &[]),
        "events" => Reply::chunked(&[("Content-Type", "text/event-stream")], &["data: 1\n\n", "data: 2\n\n"], &[]),
        "gzip" => Reply::new(200, &[TEXT, ("Content-Encoding", "gzip")], "not really"),
        "to the end" => Reply::head(200, &[TEXT]).send("until I close").then_close(),
        "announced trailers" => Reply::chunked(&[TEXT, ("Trailer", "X-Sum")], &["body"], &[("X-Sum", "42")]),
        "trailers" => Reply::chunked(&[TEXT], &["body"], &[("X-Sum", "42")]),
        "hop by hop" => Reply::new(
            200,
            &[
                TEXT,
                ("Connection", "X-Hop"),
                ("X-Hop", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authenticate", "Basic"),
                ("Upgrade", "h2c"),
            ],
            "x",
        ),
        "continue" => Reply::head(100, &[]).then(Reply::new(200, &[TEXT], "x")),
        "early hints" => Reply::head(103, &[("Link", "</a.css>")]).then(Reply::new(200, &[TEXT], "x")),
        "redirect" => Reply::new(302, &[TEXT, ("Location", "http://elsewhere/")], "there"),
        "redirect here" => Reply::new(302, &[("Location", "/other")], ""),
        "challenge" => Reply::new(401, &[TEXT, ("WWW-Authenticate", "Basic realm=\"upstream\"")], "who"),
        "many fields" => {
            let names: Vec<String> = (0..150).map(|number| format!("X-Field-{number}")).collect();
            let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
            Reply::new(200, &[&[TEXT], fields.as_slice()].concat(), "x")
        }
        "large field" => Reply::new(200, &[TEXT, ("X-Large", &"x".repeat(60_000))], "x"),
        "date" => Reply::new(200, &[TEXT, ("Date", "Fri, 31 Dec 1999 23:59:59 GMT")], "x"),
        "text" => Reply::new(200, &[TEXT, ("X-Text", "é\tü")], "x"),
        "closed" => Reply::new(200, &[TEXT, ("Connection", "close")], "x").then_close(),
        "old" => Reply::raw("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx").then_close(),
        "old to the end" => Reply::raw("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nxyz").then_close(),
        "no content with a length" => Reply::head(204, &[("Content-Length", "0")]),
        "unmodified with a length" => Reply::head(304, &[("Content-Length", "10"), ("ETag", "\"x\"")]),
        "own status" => Reply::new(599, &[TEXT], "x"),
        "reset early" => Reply::head(200, &[TEXT, ("Content-Length", "9")]).then_reset(),
        "length and chunks" => Reply::raw(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        ),
        "two lengths" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy"),
        "field without a colon" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Type\r\nContent-Length: 1\r\n\r\nx").then_close(),
        "bare lines" => Reply::raw("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 1\n\nx"),
        "set cookies" => Reply::new(200, &[TEXT, ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("Set-Cookie", "a=1; Path=/")], "x"),
        "vary" => Reply::new(200, &[TEXT, ("Vary", "A"), ("Vary", "B"), ("Cache-Control", "no-store"), ("Via", "1.1 up")], "x"),
        "reset" => Reply::default().then_reset(),
        "garbage" => Reply::raw("this is no HTTP\r\n\r\n").then_close(),
        "cut" => Reply::head(200, &[TEXT, ("Content-Length", "100")]).send("short").then_close(),
        "head" => Reply::head(200, &[TEXT, ("Content-Length", "5")]),
        "head without a length" => Reply::head(200, &[TEXT]),
        "switch" => Reply::head(101, &[("Connection", "Upgrade"), ("Upgrade", "websocket")]).then_close(),
        "tunnel" => Reply::head(101, &[("Connection", "Upgrade"), ("Upgrade", "websocket")]).send("in the tunnel").then_close(),
        other => panic!("no reply is called {other:?}"),
    }
}
