use crate::case::{Case, Group};

const ELSEWHERE: &str = "--upstream=http://upstream.invalid:81/base?b=1";

/// HTTP_PROXY, HTTPS_PROXY and NO_PROXY: whether the upstream is reached through a proxy, and what the proxy is told.
pub(crate) fn groups() -> Vec<Group> {
    let by = |name| Case::get_by(name, "alice", "/forward?x=y");
    // In Go the proxy is told to go where the client says.
    let told = |name| by(name).differs("proxy-environment", &["target", "upstream host"]);
    let to = |name, upstream, case| Group::new(name, &[upstream], vec![case]);
    let secure = ["--upstream=https://upstream.invalid:444", "--upstream-ca-file={folder}/serving-ca.crt"];
    vec![
        Group::new(
            "a proxy",
            &[ELSEWHERE],
            vec![
                told("a request"),
                told("another host").host("elsewhere.test:8080"),
                Case::new("a body", "POST", "/forward")
                    .bearer("alice")
                    .body("x")
                    .differs("proxy-environment", &["target", "upstream host"]),
                told("a client's credentials for it").header("Proxy-Authorization", "Basic dTpw"),
                told("an upgrade").header("Connection", "Upgrade").header("Upgrade", "websocket").header("X-Reply", "tunnel").http1(),
            ],
        )
        .variables(&[("HTTP_PROXY", "{upstream}"), ("HTTPS_PROXY", "{dead}")]),
        to("a proxy with credentials, in lower case", ELSEWHERE, told("a request"))
            .variables(&[("http_proxy", "http://us%65r:pa%3Ass@{upstream-address}")]),
        to("a proxy without a scheme", ELSEWHERE, told("a request")).variables(&[("HTTP_PROXY", "{upstream-address}")]),
        to("upper case goes before lower case", ELSEWHERE, told("a request"))
            .variables(&[("HTTP_PROXY", "{upstream}"), ("http_proxy", "{dead}")]),
        to("a proxy for https alone", ELSEWHERE, by("a request")).variables(&[("HTTPS_PROXY", "{upstream}")]),
        to("this machine", "--upstream={upstream}", by("a request")).variables(&[("HTTP_PROXY", "{dead}")]),
        to("a domain that is exempt", ELSEWHERE, by("a request")).variables(&[("HTTP_PROXY", "{upstream}"), ("NO_PROXY", "a, .Invalid ")]),
        to("a name that is exempt", ELSEWHERE, by("a request"))
            .variables(&[("HTTP_PROXY", "{upstream}"), ("no_proxy", "upstream.invalid:81")]),
        to("everything is exempt", ELSEWHERE, by("a request")).variables(&[("HTTP_PROXY", "{upstream}"), ("NO_PROXY", "x,*")]),
        to("what is below the name is exempt", ELSEWHERE, told("a request")).variables(&[
            ("HTTP_PROXY", "{upstream}"),
            ("NO_PROXY", ".upstream.invalid,*.upstream.invalid,stream.invalid,upstream.invalid:80"),
        ]),
        to("other addresses are exempt", "--upstream=http://192.0.2.1:81", told("a request"))
            .variables(&[("HTTP_PROXY", "{upstream}"), ("NO_PROXY", "192.0.3.0/24,192.0.2.1:80,192.0.2.0/32,2.1,[::1]")]),
        Group::new("HTTP/2 without asking", &[ELSEWHERE, "--upstream-force-h2c"], vec![by("a request")])
            .variables(&[("HTTP_PROXY", "{upstream}")]),
        Group::new("a tunnel", &secure, vec![by("a request"), by("another host").host("elsewhere.test")])
            .variables(&[("HTTPS_PROXY", "{tunnels}"), ("HTTP_PROXY", "{dead}")]),
        Group::new("a proxy that opens no tunnel", &secure, vec![by("a request")]).variables(&[("HTTPS_PROXY", "{dead}")]),
    ]
}
