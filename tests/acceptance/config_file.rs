//! The file of `--config-file`: what is wrong in it is said by line and column, and it is followed while it changes.

use testkit::{client::Request, process::Proxy, wait::wait_for};

use crate::scene::{ALICE, BOTH, MALLORY, Scene, assert_status};

const BY_PARAMETER: &str = "  rewrites:\n    byQueryParameter:\n      name: ns\n";

/// What is below `resourceAttributes`, with rewrites.
fn rewritten(attributes: &str) -> String {
    format!("authorization:\n{BY_PARAMETER}  resourceAttributes:\n{attributes}")
}

/// What is below `rewrites`, with attributes.
fn rewriting(rewrites: &str) -> String {
    format!("authorization:\n  resourceAttributes:\n    namespace: \"{{{{ .Value }}}}\"\n  rewrites:{rewrites}")
}

/// What is below `static`.
fn ruled(rules: &str) -> String {
    format!("authorization:\n  static:\n{rules}")
}

/// Nine lists of ten, each of ten of the one before.
fn bomb() -> String {
    let level = |level: usize| format!("  b{level}: &b{level} [{}]\n", vec![format!("*b{}", level - 1); 10].join(", "));
    format!("authorization:\n  b0: &b0 [x, x, x, x, x, x, x, x, x, x]\n{}", (1..10).map(level).collect::<String>())
}

#[tokio::test]
async fn broken_config_files_are_refused_by_line_and_column() {
    const EMPTY: &str = "the file is empty: it must have `authorization`, and `authorization: {}` authorizes by path";
    const MISSING: &str = "the file has no `authorization`, or it is null: it must have `authorization`";
    let utf8 = |text: &str| text.as_bytes().to_vec();
    let files: Vec<(Vec<u8>, &str, &str)> = vec![
        // No YAML, or not one document of a configuration's size.
        (utf8(""), "1:1", EMPTY),
        (utf8("# authorization: {}\n"), "2:1", EMPTY),
        (utf8("null\n"), "1:1", EMPTY),
        (utf8("authorization\n"), "1:1", "the file must be a mapping, not a string"),
        (utf8("- authorization: {}\n"), "1:1", "the file must be a mapping, not a list"),
        (b"authorization:\n  resourceAttributes:\n    name: caf\xe9\n".to_vec(), "3:14", "it must be UTF-8 text"),
        (utf8("authorization: {}\n---\nauthorization: {}\n"), "3:1", "it must be one document, and another begins here"),
        (utf8("authorization: {static: [\n"), "1:25", "unclosed bracket '['"),
        (utf8("authorization:\n  resourceAttributes:\n    name: \"web\n"), "3:11", "unclosed quote"),
        (utf8("authorization:\n\tstatic: []\n"), "2:2", "tabs disallowed"),
        (utf8("authorization:\n  static: []\n rewrites: {}\n"), "3:2", "did not find expected key"),
        (utf8("authorization:\n  static\n  rewrites: {}\n"), "3:11", "mapping values are not allowed"),
        (utf8("authorization: *all\n"), "1:16", "alias references unknown anchor"),
        (utf8("authorization: &a\n  static: *a\n"), "2:11", "an alias must not stand within what it stands for"),
        (utf8(&bomb()), "6:", "with its aliases written out it must not be that large or deep"),
        (utf8(&format!("authorization: {}\n", "[".repeat(1000))), "1:", "recursion limit exceeded"),
        // Another document, or a key that is not known or known twice.
        (utf8("kind: Config\n"), "1:1", MISSING),
        (utf8("authorization:\n"), "1:1", MISSING),
        (utf8("authorisation:\n  static: []\n"), "1:1", "authorisation is unknown: did you mean `authorization`?"),
        (utf8("authorization: {}\nauthorization: {}\n"), "2:1", "`authorization` is here for the second time, after line 1"),
        (utf8(&rewritten("    name: a\n    name: b\n")), "7:5", "`name` is here for the second time, after line 6"),
        (utf8(&rewritten("    name: a\n    NAME: b\n")), "7:5", "authorization.resourceAttributes.name is here for the second time"),
        (
            utf8("authorization:\n  resourceAttribute:\n    resource: pods\n"),
            "2:3",
            "authorization.resourceAttribute is unknown: did you mean `resourceAttributes`?",
        ),
        (
            utf8("authorization:\n  endpoints: []\n"),
            "2:3",
            "authorization.endpoints is a fork's and not known here: start one program for each resource, with --allow-paths and `resourceAttributes`",
        ),
        (utf8(&rewritten("    resourc: pods\n")), "6:5", "resourceAttributes.resourc is unknown: did you mean `resource`?"),
        // Another type.
        (utf8("authorization: [static]\n"), "1:16", "authorization must be a mapping, not a list"),
        (utf8("authorization: allow\n"), "1:16", "authorization must be a mapping, not a string"),
        (utf8(&rewritten("    name: [web]\n")), "6:11", "authorization.resourceAttributes.name must be a string, not a list"),
        (utf8(&rewritten("    name: 1\n")), "6:11", "resourceAttributes.name must be a string, not a number: put it in quotes"),
        (utf8(&rewritten("    verb: yes\n")), "6:11", "resourceAttributes.verb must be a string, not a boolean: put it in quotes"),
        (utf8("authorization:\n  resourceAttributes: pods\n"), "2:23", "resourceAttributes must be a mapping, not a string"),
        // Templates.
        (
            utf8(&rewritten("    name: {{ .Value }}\n")),
            "6:12",
            "a key must be a string, not a mapping: put what begins with a brace in quotes",
        ),
        (utf8(&rewritten("    name: '{{ .Values }}'\n")), "6:11", "name has {{ .Values }}, and only {{ .Value }} is supported"),
        (utf8(&rewritten("    name: '{{ printf .Value }}'\n")), "6:11", "name has {{ printf .Value }}, and only {{ .Value }} is supported"),
        (utf8(&rewritten("    name: '{{ .Value'\n")), "6:11", "name has `{{` without `}}`"),
        (utf8(&rewritten("    name: '{{/* a }}'\n")), "6:11", "name has a comment that does not end with `*/}}`"),
        // Rewrites.
        (utf8(&rewriting(" ns\n")), "4:13", "authorization.rewrites must be a mapping, not a string"),
        (
            utf8(&rewriting(" {}\n")),
            "4:3",
            "authorization.rewrites would refuse every request: it must have byQueryParameter or byHttpHeader",
        ),
        (utf8(&rewriting("\n    byQueryParam: {name: x}\n")), "5:5", "rewrites.byQueryParam is unknown: did you mean `byQueryParameter`?"),
        (utf8(&rewriting("\n    byQueryParameter: {}\n")), "5:5", "rewrites.byQueryParameter must have a name"),
        (
            utf8(&rewriting("\n    byHttpHeader:\n      name: 'X Tenant'\n")),
            "6:13",
            "rewrites.byHttpHeader.name must be the name of a header",
        ),
        (
            utf8(&rewriting("\n    byHttpHeader:\n      name: X-Remote-User\n")),
            "6:13",
            "must be a header that reaches the upstream as it came, and \"X-Remote-User\" does not",
        ),
        // Static rules.
        (utf8(&ruled("    user: {name: anna}\n")), "3:5", "authorization.static must be a list, not a mapping"),
        (utf8(&ruled("  - verbs: get\n    path: /\n")), "3:5", "static[0].verbs is unknown: did you mean `verb`?"),
        (utf8(&ruled("  - apiVersion: v1\n    path: /\n")), "3:5", "static[0].apiVersion is unknown, and what is missing in a static rule"),
        (utf8(&ruled("  - path: /\n  - verb: get\n")), "4:5", "static[1] must have `path`, or `resourceRequest: true`"),
        (
            utf8(&ruled("  - path: /\n    resourceRequest: true\n")),
            "3:5",
            "static[0] has `path` and `resourceRequest: true`: it must have one",
        ),
        (utf8(&ruled("  - path: /\n    resourceRequest: 'no'\n")), "4:22", "static[0].resourceRequest must be a boolean, not a string"),
        (utf8(&ruled("  - path: /\n    user: anna\n")), "4:11", "static[0].user must be a mapping, not a string"),
        (utf8(&ruled("  - path: /\n    user:\n      groups: devs\n")), "5:15", "static[0].user.groups must be a list, not a string"),
        (utf8(&ruled("  - path: /\n    user: {nmae: anna}\n")), "4:12", "static[0].user.nmae is unknown: did you mean `name`?"),
        (utf8(&ruled("  -\n")), "3:4", "static[0] must be a mapping, not null"),
    ];
    assert!(files.len() >= 40, "{}", files.len());
    let scene = Scene::new().await;
    for (text, place, words) in &files {
        let file = scene.write("config.yaml", text);
        let exit = scene.run(&[format!("--config-file={file}")]).await;
        let shown = String::from_utf8_lossy(text);
        let errors: Vec<&str> = exit.output.lines().filter(|line| line.starts_with("Error: ")).collect();
        let [error] = errors[..] else { panic!("{shown}\n{}", exit.output) };
        assert!(error.starts_with(&format!("Error: --config-file: {file}:{place}")) && error.contains(words), "{shown}\n{error}");
        assert_eq!((exit.code, exit.signal), (Some(1), None), "{shown}\n{}", exit.output);
        assert!(!exit.output.contains("Listening") && !exit.output.contains("panicked"), "{shown}\n{}", exit.output);
    }
    assert_eq!(scene.api.server().connections(), 0, "nothing is served, and nobody asked");
    let large = scene.write("large.yaml", vec![b'#'; (16 << 20) + 1]);
    let exit = scene.run(&[format!("--config-file={large}")]).await;
    assert!(exit.code == Some(1) && exit.output.contains(&format!("{large}: is larger than 16 MiB")), "{}", exit.output);
}

#[tokio::test]
async fn the_config_file_is_followed_and_a_broken_one_changes_nothing() {
    let scene = Scene::new().await;
    let by_namespace = rewritten("    resource: pods\n    namespace: '{{ .Value }}'\n");
    let file = scene.write("config.yaml", &by_namespace);
    let proxy = scene.proxy_with_endpoints(&[&format!("--config-file={file}")]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        assert_status(&client.send(&Request::get("/x?ns=a").bearer(ALICE)).await, 200);
        assert_status(&client.send(&Request::get("/x").bearer(ALICE)).await, 400);
    }

    // A broken file is said, by its place, and the one before it stays.
    scene.write("config.yaml", by_namespace.replace(".Value", ".Values"));
    proxy.line_with(&["E", &format!("{file}:7:16"), ".Values", "what they held before stays in use"]).await;
    assert_status(&scene.get(&proxy, "/x?ns=b", ALICE).await, 200);
    assert_status(&scene.get(&proxy, "/x", ALICE).await, 400);
    assert_eq!(scene.api.access_specs().last().unwrap()["resourceAttributes"]["namespace"], "b");

    // Everything in it may change: what requests are about, where their values are, and the rules.
    scene.write("config.yaml", rewriting("\n    byHttpHeader:\n      name: X-Tenant\n"));
    until(&scene, &proxy, &Request::get("/x").header("X-Tenant", "c").bearer(ALICE), 200).await;
    assert_eq!(scene.api.access_specs().last().unwrap()["resourceAttributes"]["namespace"], "c");
    assert_status(&scene.get(&proxy, "/x?ns=a;", ALICE).await, 400);

    // Now the path is read, and so it must have one meaning.
    scene.write("config.yaml", ruled("  - user: {name: mallory}\n    path: /open\n  - path: /anybody\n"));
    until(&scene, &proxy, &Request::get("/open").bearer(MALLORY), 200).await;
    proxy.line_with(&["W", "--config-file", "static[1] names no user"]).await;
    let asked = scene.api.counts().1;
    assert_status(&scene.get(&proxy, "/open?ns=a;", MALLORY).await, 200);
    assert_status(&scene.get(&proxy, "/x/%2e%2e/open", MALLORY).await, 400);
    assert_eq!(scene.api.counts().1, asked);
    assert_status(&scene.get(&proxy, "/x", ALICE).await, 200);
    let spec = scene.api.access_specs().pop().unwrap();
    assert_eq!(spec["nonResourceAttributes"], serde_json::json!({ "verb": "get", "path": "/x" }));

    scene.write("config.yaml", "authorization: {}\n");
    until(&scene, &proxy, &Request::get("/open").bearer(MALLORY), 403).await;
}

/// Waits until a request is answered with a status.
async fn until(scene: &Scene, proxy: &Proxy, request: &Request, status: u16) {
    wait_for("the new configuration", async || match scene.send(proxy, request).await.status {
        found if found == status => Ok(()),
        other => Err(other),
    })
    .await;
}
