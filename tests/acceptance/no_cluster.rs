//! Without a cluster: users and RBAC from files, and paths that exist or need nobody's permission.

use serde_json::json;
use testkit::{
    client::{Client, Request, Version},
    process::Proxy,
    wait::wait_for,
};

use crate::scene::{ALICE, BOTH, MALLORY, Scene, assert_status};

const TOKENS: &str = "anna-token,anna,1,\"readers,writers\"\nbert-token,bert,2\n";

fn rbac(group: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: reader}}
rules: [{{nonResourceURLs: [/metrics, '/api/*'], verbs: [get]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: readers}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: {group}}}]
"
    )
}

/// A proxy that has no API server.
async fn alone(scene: &Scene, more: &[&str]) -> Proxy {
    let tokens = format!("--token-auth-file={}", scene.write("tokens.csv", TOKENS));
    let manifests = format!("--rbac-manifests={}", scene.write("rbac.yaml", rbac("readers")));
    let flags = scene.flags_without(&["--kubeconfig"], &[&[tokens.as_str(), &manifests], more].concat());
    Proxy::start(&flags).await
}

async fn status(scene: &Scene, proxy: &Proxy, path: &str, token: &str) -> u16 {
    scene.get(proxy, path, token).await.status
}

#[tokio::test]
async fn a_file_says_whose_a_token_is() {
    let scene = Scene::new().await;
    let proxy = alone(&scene, &["--auth-header-fields-enabled"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for (token, expected) in [("anna-token", 200), ("bert-token", 403), ("anna-token ", 200), ("anna", 401), ("", 401)] {
            let response = client.send(&Request::get("/metrics").bearer(token)).await;
            assert_eq!(response.status, expected, "{token:?}");
        }
        assert_status(&client.send(&Request::get("/metrics")).await, 401);
    }
    let received = scene.upstream.last_request();
    assert_eq!(received.header("x-remote-user"), Some("anna"));
    assert_eq!(received.header("x-remote-groups"), Some("readers|writers|system:authenticated"));
    assert_eq!(scene.api.counts(), (0, 0));
}

#[tokio::test]
async fn new_tokens_count_and_broken_files_do_not() {
    let scene = Scene::new().await;
    let proxy = alone(&scene, &[]).await;
    assert_eq!(status(&scene, &proxy, "/metrics", "anna-token").await, 200);
    scene.write("tokens.csv", "anna-new,anna,1,readers\n");
    wait_for("the new token", async || match status(&scene, &proxy, "/metrics", "anna-new").await {
        200 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(status(&scene, &proxy, "/metrics", "anna-token").await, 401, "the old file's tokens are gone");
    scene.write("tokens.csv", "anna-third,anna,1,readers\nanna-fourth,anna\n");
    let line = proxy.line_with(&["tokens.csv:2:1", "three columns"]).await;
    assert!(!line.contains("anna-fourth"), "{line}");
    assert_eq!(status(&scene, &proxy, "/metrics", "anna-new").await, 200, "the last good file counts");
}

#[tokio::test]
async fn manifests_say_who_may() {
    let scene = Scene::new().await;
    let proxy = alone(&scene, &[]).await;
    for (path, token, expected) in [
        ("/metrics", "anna-token", 200),
        ("/api/x/y", "anna-token", 200),
        ("/api", "anna-token", 403),
        ("/", "anna-token", 403),
        ("/metrics", "bert-token", 403),
    ] {
        assert_eq!(status(&scene, &proxy, path, token).await, expected, "{path} {token}");
    }
    let mut client = scene.connect(Version::H1, &proxy).await;
    assert_status(&client.send(&Request::post("/metrics", "").bearer("anna-token")).await, 403);

    scene.write("rbac.yaml", rbac("nobody"));
    wait_for("the new manifests", async || match status(&scene, &proxy, "/metrics", "anna-token").await {
        403 => Ok(()),
        other => Err(other),
    })
    .await;
    scene.write("rbac.yaml", rbac("readers").replace("verbs", "verb"));
    proxy.line_with(&["--rbac-manifests", "rbac.yaml:4:", "rules[0].verb is unknown"]).await;
    assert_eq!(status(&scene, &proxy, "/metrics", "anna-token").await, 403, "the last good manifests count");
}

#[tokio::test]
async fn methods_are_tried_in_order() {
    let scene = Scene::new().await;
    let tokens = format!("--token-auth-file={}", scene.write("tokens.csv", format!("{TOKENS}{ALICE},anna,1\n")));
    let proxy = scene.proxy(&["--authentication-methods=token-file,token-review", &tokens, "--auth-header-fields-enabled"]).await;
    assert_eq!(status(&scene, &proxy, "/", ALICE).await, 200);
    assert_eq!((scene.upstream.last_request().header("x-remote-user"), scene.api.counts().0), (Some("anna"), 0));
    assert_eq!(status(&scene, &proxy, "/", crate::scene::BOB).await, 200);
    assert_eq!((scene.upstream.last_request().header("x-remote-user"), scene.api.counts().0), (Some("bob"), 1));

    let proxy = scene.proxy(&["--authentication-methods=token-review,token-file", &tokens, "--auth-header-fields-enabled"]).await;
    assert_eq!(status(&scene, &proxy, "/", ALICE).await, 200);
    assert_eq!(scene.upstream.last_request().header("x-remote-user"), Some("alice"));
    assert_eq!(status(&scene, &proxy, "/", "bert-token").await, 200);
    assert_eq!(scene.upstream.last_request().header("x-remote-user"), Some("bert"));
}

#[tokio::test]
async fn authorizers_are_asked_in_order() {
    let scene = Scene::new().await;
    let manifests = scene.write("rbac.yaml", rbac("ops"));
    let manifests = format!("--rbac-manifests={manifests}");
    let proxy = scene.proxy(&["--authorization-mode=RBAC,Webhook", &manifests]).await;
    assert_eq!(status(&scene, &proxy, "/metrics", ALICE).await, 200);
    assert_eq!(scene.api.access_specs(), Vec::<serde_json::Value>::new(), "a local yes is final");
    assert_eq!(status(&scene, &proxy, "/elsewhere", ALICE).await, 200);
    assert_eq!(scene.api.access_specs().len(), 1, "no opinion asks the API server");
    assert_eq!(status(&scene, &proxy, "/metrics", MALLORY).await, 403);

    let proxy = scene.proxy(&[&manifests]).await;
    assert_eq!(status(&scene, &proxy, "/elsewhere", ALICE).await, 403, "manifests alone are the mode RBAC");
}

#[tokio::test]
async fn a_client_certificate_needs_no_cluster() {
    let scene = Scene::new().await;
    let clients = testkit::certs::Authority::new("clients");
    let ca = format!("--client-ca-file={}", scene.write("ca.crt", clients.pem()));
    let proxy = alone(&scene, &[&ca]).await;
    for (organization, expected) in [("readers", 200), ("others", 403)] {
        let tls = testkit::tls::Tls::presenting(&clients.client("carl", &[organization]));
        let mut client = Client::connect(Version::H1, proxy.secure(), &tls).await;
        assert_eq!(client.send(&Request::get("/metrics")).await.status, expected, "{organization}");
    }
}

#[tokio::test]
async fn paths_off_the_list_do_not_exist() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--allow-paths=/metrics,/api/*", "--allow-paths=/x[0-9]"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for (path, expected) in [
            ("/metrics", 200),
            ("/metrics?x", 200),
            ("/api/a", 200),
            ("/x1", 200),
            ("/%6detrics", 200),
            ("/", 404),
            ("/api/a/b", 404),
            ("/xy", 404),
        ] {
            assert_eq!(client.send(&Request::get(path).bearer(ALICE)).await.status, expected, "{path}");
        }
        let response = client.send(&Request::get("/nowhere")).await;
        assert_eq!((response.status, response.text().as_str()), (404, "404 page not found\n"), "nobody is asked who he is");
        // It may lead to a path that exists, and to whom that is said is decided first.
        assert_status(&client.send(&Request::get("/api/../metrics")).await, 401);
        assert_status(&client.send(&Request::get("/api/../metrics").bearer(ALICE)).await, 307);
    }
}

/// In Go `/public/%2e%2e` is ignored too, and whoever asks says who he is.
#[tokio::test]
async fn ignored_paths_need_no_permission() {
    let scene = Scene::new().await;
    let proxy = scene.proxy(&["--ignore-paths=/healthz,/public/*", "--allow-paths=/metrics", "--auth-header-fields-enabled"]).await;
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        let forged =
            Request::get("/healthz").bearer("any-token").header("x-remote-user", "root").header("x_remote_groups", "system:masters");
        assert_status(&client.send(&forged).await, 200);
        let received = scene.upstream.last_request();
        assert_eq!((received.header("x-remote-user"), received.header("x_remote_groups")), (None, None));
        assert_eq!(received.header("authorization"), None);
        for (path, expected) in [
            ("/public/a", 200),
            ("/public/a/b", 404),
            ("/metrics", 401),
            ("/public/../metrics", 401),
            ("/public//metrics", 401),
            ("/public/%2e%2e", 400),
            ("/public/a%2fb", 400),
        ] {
            assert_eq!(client.send(&Request::get(path)).await.status, expected, "{path}");
        }
    }
    assert_eq!(scene.api.counts(), (0, 0));
}

#[tokio::test]
async fn files_of_no_use_are_refused_by_line() {
    let scene = Scene::new().await;
    std::fs::create_dir_all(scene.path("empty")).unwrap();
    std::fs::create_dir_all(scene.path("folder/x.yaml")).unwrap();
    for (flag, name, text, expected) in [
        ("token-auth-file", "two.csv", "a,b,c\nd,e\n", "two.csv:2:1: the line must have at least three columns"),
        ("token-auth-file", "twice.csv", "hush,b,c\nhush,e,f\n", "twice.csv:2:1: the token of this line is also an earlier line's"),
        (
            "rbac-manifests",
            "version.yaml",
            "kind: Role\napiVersion: rbac.authorization.k8s.io/v1beta1\n",
            "version.yaml:2:13: apiVersion must be",
        ),
        ("rbac-manifests", "field.yaml", &rbac("x").replace("verbs", "verb"), "field.yaml:4:49: rules[0].verb is unknown"),
        ("rbac-manifests", "empty", "", "empty: has no file that ends in .yaml, .yml or .json"),
        ("rbac-manifests", "folder", "", "x.yaml: is a directory, and must be a regular file"),
        ("rbac-manifests", "missing", "", "missing: cannot be read"),
        ("ignore-paths", "/[", "", "--ignore-paths: \"/[\": syntax error in pattern"),
    ] {
        let value = match text {
            "" if flag == "ignore-paths" => name.to_owned(),
            "" => scene.path(name).display().to_string(),
            text => scene.write(name, text),
        };
        let exit = scene.run(&[format!("--{flag}={value}")]).await;
        let errors: Vec<_> = exit.output.lines().filter(|line| line.starts_with("Error: ")).collect();
        assert_eq!((exit.code, errors.len()), (Some(1), 1), "{}", exit.output);
        assert!(errors[0].contains(&format!("--{flag}")) && errors[0].contains(expected) && !errors[0].contains("hush"), "{}", errors[0]);
    }
}

#[tokio::test]
async fn explain_says_why() {
    let scene = Scene::new().await;
    let manifests = format!("--rbac-manifests={}", scene.write("rbac.yaml", rbac("readers")));
    let explain = async |more: &[&str]| Proxy::run(&[&["explain", manifests.as_str()], more].concat()).await;

    let yes = explain(&["--as=anna", "--as-group=readers", "--method=GET", "--path=/api/x"]).await;
    assert_eq!(yes.code, Some(0), "{}", yes.output);
    for part in [
        "get on the path /api/x",
        "ClusterRoleBinding \"readers\" of ClusterRole \"reader\" to Group \"readers\"",
        "decision        allowed",
    ] {
        assert!(yes.output.contains(part), "{part}: {}", yes.output);
    }
    let no = explain(&["--as=anna", "--as-group=others", "--as-uid=1", "--path=/metrics"]).await;
    assert_eq!(no.code, Some(2), "{}", no.output);
    for part in ["nearest: ClusterRoleBinding readers", "it does not name the user", "refused: 403 not_allowed"] {
        assert!(no.output.contains(part), "{part}: {}", no.output);
    }
    let json = explain(&["--as=anna", "--method=POST", "--path=/metrics", "-o", "json"]).await;
    let said: serde_json::Value = serde_json::from_str(&json.output).unwrap();
    assert_eq!((json.code, &said["decision"]), (Some(2), &json!({ "allowed": false, "status": 403, "reason": "not_allowed" })));
    assert_eq!(said["steps"][2], json!({ "step": "attributes", "says": "create on the path /metrics" }));

    let config = scene.write("config.yaml", "authorization:\n  static:\n  - user: {name: bert}\n    path: /own\n");
    let config = format!("--config-file={config}");
    let by_rule = explain(&["--as=bert", "--path=/own", &config]).await;
    assert!(by_rule.code == Some(0) && by_rule.output.contains("yes: authorization.static[0] in line 3 allows it"), "{}", by_rule.output);
    let by_none = explain(&["--as=anna", "--path=/own", &config]).await;
    assert!(by_none.code == Some(2) && by_none.output.contains("no opinion: no static rule allows it"), "{}", by_none.output);

    let nobody = explain(&["--path=/metrics"]).await;
    assert!(nobody.code == Some(2) && nobody.output.contains("refused: 401 no_credentials"), "{}", nobody.output);
    let open = explain(&["--path=/metrics", "--ignore-paths=/m*"]).await;
    assert!(open.code == Some(0) && open.output.contains("--ignore-paths has the path"), "{}", open.output);
    let wrong = explain(&["--output=xml"]).await;
    assert!(wrong.code == Some(1) && wrong.output.contains("Error: --output: "), "{}", wrong.output);
}

#[tokio::test]
async fn explain_answers_reviews() {
    let scene = Scene::new().await;
    let manifests = format!("--rbac-manifests={}", scene.write("rbac.yaml", rbac("readers")));
    let review = |user: &str, groups: &[&str], path: &str| json!({ "kind": "SubjectAccessReview", "spec": { "user": user, "groups": groups, "nonResourceAttributes": { "verb": "get", "path": path } } });
    let reviews = [review("anna", &["readers"], "/metrics"), review("anna", &[], "/metrics"), review("root", &["system:masters"], "/x")];
    let lines: Vec<String> = reviews.iter().map(ToString::to_string).collect();
    for (name, text) in [("reviews.jsonl", lines.join("\n")), ("reviews.yaml", format!("---\n{}\n", lines.join("\n---\n")))] {
        let file = scene.write(name, text);
        let exit = Proxy::run(&["explain", &manifests, &format!("--reviews={file}")]).await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        let answers: Vec<serde_json::Value> = exit.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let allowed: Vec<_> = answers.iter().map(|answer| answer["status"]["allowed"].as_bool().unwrap()).collect();
        assert_eq!(allowed, [true, false, true], "{name}");
        assert_eq!(answers[1]["spec"], reviews[1]["spec"]);
        assert!(answers[0]["status"]["reason"].as_str().unwrap().starts_with("RBAC: allowed by ClusterRoleBinding"), "{}", answers[0]);
    }
    let file = scene.write("bad.jsonl", "{\"spec\":{\"user\":\"x\",\"nonResourceAttributes\":{}}}\n{\"spec\":{\"user\":\"x\"}}\n");
    let exit = Proxy::run(&["explain", &manifests, &format!("--reviews={file}")]).await;
    assert!(exit.code == Some(1) && exit.output.contains("bad.jsonl:2: its spec must have either"), "{}", exit.output);
}

#[tokio::test]
async fn check_finds_what_is_unwise() {
    let scene = Scene::new().await;
    let tokens = format!("--token-auth-file={}", scene.write("tokens.csv", "t,anna,1,system:masters\n"));
    let manifests = format!("--rbac-manifests={}", scene.write("rbac.yaml", rbac("system:authenticated")));
    let flags = ["check", "--secure-listen-address=127.0.0.1:0", "--upstream=http://127.0.0.1:1", &tokens, &manifests];
    let exit = Proxy::run(&flags).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    for part in
        ["Warning: --token-auth-file: anna is of the group system:masters", "to everybody: system:authenticated", "nothing is wrong"]
    {
        assert!(exit.output.contains(part), "{part}: {}", exit.output);
    }
    let exit = Proxy::run(&[&flags[..], &["--strict"]].concat()).await;
    assert!(exit.code == Some(1) && exit.output.contains("Error: 2 warnings, and --strict is given"), "{}", exit.output);
    let exit = Proxy::run(&["check", "--upstream=ftp://x", &tokens, &manifests]).await;
    assert!(
        exit.code == Some(1) && exit.output.contains("Error: --upstream: ") && exit.output.contains("Error: no listener"),
        "{}",
        exit.output
    );
}
