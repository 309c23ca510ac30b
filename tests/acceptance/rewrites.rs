//! `authorization.rewrites`: one question for each value that the request has, and what was decided is what is sent.

use serde_json::{Value, json};
use testkit::{
    api::Verdict,
    client::{Client, Request, Version},
    process::Proxy,
    upstream::Reply,
};

use crate::scene::{ALICE, BOTH, MALLORY, Scene, assert_status};

/// By both, into two attributes.
const CONFIG: &str = "authorization:
  resourceAttributes:
    apiGroup: metrics.k8s.io
    resource: pods
    namespace: '{{ .Value }}'
    name: 'x{{- .Value -}} y'
  rewrites:
    byQueryParameter:
      name: namespace
    byHttpHeader:
      name: X-Tenant
";

impl Scene {
    /// A proxy with this configuration.
    async fn configured(&self, text: &str) -> Proxy {
        let config = self.write("config.yaml", text);
        self.proxy(&[format!("--config-file={config}"), "-v=2".to_owned()]).await
    }

    /// What was asked about, and forgets it.
    fn asked(&self, attribute: &str) -> Vec<Value> {
        let specs = self.api.access_specs();
        self.api.forget();
        specs.iter().map(|spec| spec["resourceAttributes"][attribute].clone()).collect()
    }
}

#[tokio::test]
async fn each_value_is_a_question_and_all_must_be_allowed() {
    let scene = Scene::new().await;
    scene.api.rule(|spec| match spec["resourceAttributes"]["namespace"].as_str() {
        Some("theirs") | None => Verdict::NoOpinion,
        Some(_) => Verdict::Allow,
    });
    let proxy = scene.configured(CONFIG).await;
    for (index, version) in BOTH.into_iter().enumerate() {
        let mut client = scene.connect(version, &proxy).await;
        let mut send = async |request: Request| client.send(&request.bearer(ALICE)).await;
        let (a, b, c) = (format!("a{index}"), format!("b{index}"), format!("c{index}"));

        // The values of the query, then those of the header; the rest arrives as it came.
        let target = format!("//x/../%2e?namespace={b}&query=up%7Bx%3D~%22.%2B%22%7D&n%61mespace={a}&other[]=%ff");
        assert_status(&send(Request::get(&target).header("X-Tenant", &c).header("x-tenant", &a)).await, 200);
        assert_eq!(scene.asked("namespace"), [b.clone(), a.clone(), c.clone()], "what is known is not asked again");
        let received = scene.upstream.last_request();
        let tenants: Vec<_> = received.head.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-tenant")).collect();
        assert_eq!((received.target(), tenants.len()), (target.as_str(), 2), "{tenants:?}");

        let plain = Request::new("POST", &format!("/?namespace={a}")).header("Content-Type", "text/plain");
        assert_status(&send(plain.body(b"namespace=theirs")).await, 200);
        let expected = json!({ "verb": "create", "group": "metrics.k8s.io", "resource": "pods", "namespace": a, "name": format!("x{a}y") });
        assert_eq!(scene.api.access_specs()[0]["resourceAttributes"], expected);
        assert_eq!(scene.upstream.last_request().body.content, b"namespace=theirs");
        scene.api.forget();

        // The first that is denied ends it.
        let sent = scene.upstream.count();
        let denied = send(Request::get(&format!("/?namespace={a}&namespace=theirs&namespace=never")).header("X-Tenant", "never")).await;
        assert_status(&denied, 403);
        assert_eq!(denied.text(), "Forbidden (user=alice, verb=get, resource=pods, subresource=)\n");
        assert!(!scene.asked("namespace").contains(&json!("never")));
        assert_status(&send(Request::get(&format!("/?namespace={a}")).header("X-Tenant", "theirs")).await, 403);
        // An empty value is one: of all namespaces.
        for target in ["/?namespace", "/?namespace="] {
            assert_status(&send(Request::new(["DELETE", "PATCH"][index], target)).await, 403);
        }
        assert_status(&send(Request::new("PUT", &format!("/?namespace={a}")).header("X-Tenant", "")).await, 403);
        assert!(scene.asked("namespace").contains(&Value::Null));

        // No value is no question, for those who are known.
        let none = send(Request::get("/?x=namespace&namespaces=a")).await;
        assert_status(&none, 400);
        assert_eq!(none.text(), "Bad Request. The request or configuration is malformed.\n");
        assert_eq!(client.send(&Request::get("/")).await.status, 401);
        assert_eq!((scene.asked("namespace").len(), scene.upstream.count()), (0, sent));
    }
    proxy.line_with(&["no_value", "400"]).await;
}

/// Refused before anybody is asked who it is.
/// Go drops what it cannot read of a query, checks the rest and forwards all of it.
#[tokio::test]
async fn a_value_with_more_than_one_meaning_is_refused() {
    let scene = Scene::new().await;
    let proxy = scene.configured(CONFIG).await;
    let with = |name: &str, value: &str| Request::get("/?namespace=mine").header(name, value);
    for version in BOTH {
        let mut client = scene.connect(version, &proxy).await;
        for target in [
            "/?namespace=mine&namespace=other%zz",
            "/?namespace=mine&x;namespace=other",
            "/?namespace=mine;namespace=other",
            "/?namespace=mine&x=%",
            "/?namespace=%ff",
            "/?namespace=mine%00",
            "/?namespace=mine%0d%0aother",
            "/?namespace=mine&NAMESPACE=other",
            "/?namespace=mine&namespace[]=other",
            &format!("/?namespace=mine{}", "&x=y".repeat(1000)),
            &format!("/?namespace=mine{}", "&namespace=mine".repeat(100)),
        ] {
            assert_status(&client.send(&Request::get(target).bearer(ALICE)).await, 400);
        }
        for request in [with("X_Tenant", "other"), with("X-Tenant", "a\tb")] {
            assert_status(&client.send(&request.bearer(ALICE)).await, 400);
        }
    }
    // What Connection names does not arrive, so nothing can be decided by it.
    for connection in ["X-Tenant", "close, x-tenant"] {
        assert_status(&scene.send(&proxy, &with("Connection", connection).header("X-Tenant", "mine").bearer(ALICE)).await, 400);
    }
    assert_eq!((scene.api.counts(), scene.upstream.count()), ((0, 0), 0));
    proxy.line_with(&["ambiguous_value", "400", "';'"]).await;
    proxy.line_with(&["too_many_values", "400", "101 values"]).await;

    // What no decision reads may be so.
    let by_header = CONFIG.replace("    byQueryParameter:\n      name: namespace\n", "");
    let proxy = scene.configured(&by_header).await;
    for target in ["/?namespace=other%zz", "/?x;namespace=other", &format!("/?{}", "&x=y".repeat(1001))] {
        assert_status(&scene.send(&proxy, &Request::get(target).header("X-Tenant", "mine").bearer(ALICE)).await, 200);
        assert_eq!(scene.upstream.last_request().target(), target);
    }
}

#[tokio::test]
async fn rewrites_that_do_nothing_are_named() {
    let scene = Scene::new().await;
    let only = "authorization:\n  rewrites:\n    byQueryParameter:\n      name: ns\n";
    let proxy = scene.configured(only).await;
    proxy.line_with(&["W", "--config-file", "config.yaml:2:3", "rewrites is without effect: it needs `resourceAttributes`"]).await;
    assert_status(&scene.get(&proxy, "/x?ns=a", ALICE).await, 200);
    assert_eq!(scene.api.access_specs()[0]["nonResourceAttributes"], json!({ "verb": "get", "path": "/x" }));
    let proxy = scene.configured(&format!("{only}  resourceAttributes:\n    resource: pods\n")).await;
    proxy.line_with(&["W", "--config-file", "config.yaml:2:3", "rewrites asks for a value that no attribute"]).await;
}

/// As in CMO's prometheus-adapter: who may see pods in all namespaces by a static rule, and others by RBAC in theirs. The
/// program's own endpoints have no values.
#[tokio::test]
async fn static_rules_and_endpoints_go_with_rewrites() {
    let scene = Scene::new().await;
    let rule = "  static:\n  - user: {name: mallory}\n    resourceRequest: true\n    verb: get\n    resource: pods\n    namespace: mine\n";
    let config = scene.write("config.yaml", format!("{CONFIG}{rule}"));
    let proxy = scene.proxy_with_endpoints(&[&format!("--config-file={config}")]).await;
    assert_status(&scene.get(&proxy, "/?namespace=mine", MALLORY).await, 200);
    assert_eq!(scene.api.counts().1, 0);
    assert_status(&scene.get(&proxy, "/?namespace=mine&namespace=other", MALLORY).await, 403);
    let mut client = Client::connect(Version::H1, proxy.endpoints(), &scene.authority.tls()).await;
    assert_status(&client.send(&Request::get("/metrics?x;y").bearer(ALICE)).await, 200);
    assert_eq!(scene.api.access_specs().pop().unwrap()["nonResourceAttributes"], json!({ "verb": "get", "path": "/metrics" }));
}

#[tokio::test]
async fn explain_knows_rewrites() {
    let scene = Scene::answering(|_| Reply::ok("never")).await;
    let binding = |namespace: &str| {
        format!(
            "---\nkind: RoleBinding\napiVersion: rbac.authorization.k8s.io/v1\nmetadata: {{name: r, namespace: {namespace}}}\nroleRef: \
             {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: r}}\nsubjects: [{{kind: User, name: anna, apiGroup: \
             rbac.authorization.k8s.io}}]\n"
        )
    };
    let role = "kind: ClusterRole\napiVersion: rbac.authorization.k8s.io/v1\nmetadata: {name: r}\nrules: [{apiGroups: [metrics.k8s.io], \
                resources: [pods], verbs: [get]}]\n";
    let manifests = format!("--rbac-manifests={}", scene.write("rbac.yaml", format!("{role}{}{}", binding("a"), binding("b"))));
    let config = format!("--config-file={}", scene.write("config.yaml", CONFIG));
    let explain = async |more: &[&str]| Proxy::run(&[&["explain", &manifests, &config, "--as=anna"], more].concat()).await;

    let yes = explain(&["--path=/?namespace=a", "--header=X-Tenant: b"]).await;
    assert_eq!(yes.code, Some(0), "{}", yes.output);
    for part in ["named xay in the namespace a", "named xby in the namespace b", "allowed: the request is forwarded"] {
        assert!(yes.output.contains(part), "{part}: {}", yes.output);
    }
    let no = explain(&["--path=/?namespace=c&namespace=a"]).await;
    assert!(no.code == Some(2) && no.output.contains("in the namespace c") && no.output.contains("403 not_allowed"), "{}", no.output);
    assert!(!no.output.contains("in the namespace a"), "the first that is denied ends it: {}", no.output);
    let none = explain(&["--path=/"]).await;
    assert!(none.code == Some(2) && none.output.contains("400 no_value"), "{}", none.output);
    let ambiguous = explain(&["--path=/?namespace=a;b"]).await;
    assert!(ambiguous.code == Some(2) && ambiguous.output.contains("400 ambiguous_value"), "{}", ambiguous.output);
    let wrong = explain(&["--header=X-Tenant"]).await;
    assert!(wrong.code == Some(1) && wrong.output.contains("Error: --header: \"X-Tenant\": it must be as"), "{}", wrong.output);
    // And `check` knows the file.
    let check = Proxy::run(&["check", &manifests, &config, "--secure-listen-address=127.0.0.1:0", "--upstream=http://127.0.0.1:1"]).await;
    assert!(!check.output.contains("rewrites"), "{}", check.output);
    let broken = format!("--config-file={}", scene.write("broken.yaml", CONFIG.replace("{{ .Value", "{{ .Values")));
    let check = Proxy::run(&["check", &manifests, &broken]).await;
    assert!(check.code == Some(1) && check.output.contains("broken.yaml:5:16: "), "{}", check.output);
}
