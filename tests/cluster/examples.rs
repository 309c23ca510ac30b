//! The examples: each folder's manifests in the cluster, its proxy started as its Deployment says, and every curl of its
//! README run by a shell, with the status that the README promises.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use testkit::{
    certs::Authority,
    client::{Request, Version},
    cluster::{self, Cluster, TokenRequest},
    issuer::Issuer,
    jwt::SigningKey,
    process::{Proxy, free_port},
    upstream::{Reply, Upstream},
    wait::wait_for,
};

use crate::scene::{DELEGATOR, Scene};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// An example whose objects are in the cluster, within a namespace of its own.
struct Example<'a> {
    scene: Scene<'a>,
    name: &'static str,
    objects: Vec<Value>,
    /// Shell variables that its README has the reader set.
    variables: Vec<(String, String)>,
}

#[tokio::test]
async fn the_examples_do_what_their_readmes_say() {
    let Some(cluster) = cluster::guest().await else { return };
    for (name, promises) in [
        ("non-resource-url", 4),
        ("resource-attributes", 3),
        ("rewrites", 4),
        ("static-auth", 3),
        ("allow-paths", 4),
        ("ignore-paths", 4),
        ("rest-service", 5),
    ] {
        let example = Example::apply(&cluster, name, &[]).await;
        let proxy = example.run(&[]).await;
        example.keep_promises(&proxy, promises).await;
    }
}

#[tokio::test]
async fn the_example_of_client_certificates_does_what_its_readme_says() {
    let Some(cluster) = cluster::guest().await else { return };
    let authority = Authority::new("clients");
    let example = Example::apply(&cluster, "client-certificates", &[("the certificate authority of your clients", authority.pem())]).await;
    let client = authority.client("prometheus", &["scrapers"]);
    let (certificate, key) = client.write(example.scene.folder.path(), "client");
    fs::rename(certificate, example.scene.path("client.crt")).unwrap();
    fs::rename(key, example.scene.path("client.key")).unwrap();
    let proxy = example.run(&[]).await;
    example.keep_promises(&proxy, 2).await;
}

#[tokio::test]
async fn the_example_of_oidc_does_what_its_readme_says() {
    let Some(cluster) = cluster::guest().await else { return };
    let (authority, key) = (Authority::new("issuers"), SigningKey::new("RS256"));
    let issuer = Issuer::start(&authority.server()).await;
    issuer.keys(&[key.jwk("k")]);
    let mut example = Example::apply(&cluster, "oidc", &[("the certificate authority of your issuer", authority.pem())]).await;
    let token = |groups: Value| {
        let claims =
            json!({"iss": issuer.url(), "aud": "my-service", "exp": 4_000_000_000_u64, "email": "anna@example.com", "groups": groups});
        key.token("k", &claims)
    };
    example.variables.push(("id_token".to_owned(), token(json!(["sre"]))));
    let proxy = example.run(&[("https://issuer.example.com", &issuer.url())]).await;
    proxy.line_with(&["The issuer's keys are in use"]).await;
    example.keep_promises(&proxy, 1).await;
    example.variables[0].1 = token(json!(["others"]));
    assert_eq!(example.status(&proxy, "curl -k -H \"Authorization: Bearer $id_token\" https://localhost:8443/metrics").await, "403");
}

#[tokio::test]
async fn the_example_of_grpc_calls_what_its_role_allows() {
    let Some(cluster) = cluster::guest().await else { return };
    let example = Example::apply(&cluster, "grpc", &[]).await;
    let service = Upstream::start_http2(None, |_| Reply::new(200, &[("Content-Type", "application/grpc")], "an answer")).await;
    let proxy = example.run(&[("http://127.0.0.1:50051/", &format!("{}/", service.url()))]).await;
    let token = &example.variables[0].1;
    let mut client = example.scene.connect(Version::H2, &proxy).await;
    for (path, status) in [("/helloworld.Greeter/SayHello", 200), ("/helloworld.Other/SayHello", 403)] {
        let call = Request::post(path, "a call").header("content-type", "application/grpc").header("te", "trailers");
        assert_eq!(client.send(&call.bearer(token)).await.status, status, "{path}");
    }
    assert_eq!(service.only_request().target(), "/helloworld.Greeter/SayHello");
}

/// What the API server's own proxy cannot do.
#[tokio::test]
async fn a_rest_service_has_its_own_urls_pods_and_traffic() {
    let Some(cluster) = cluster::guest().await else { return };
    let Some(audit) = cluster.audit() else { return };
    let example = Example::apply(&cluster, "rest-service", &[]).await;
    let pods = [Upstream::start(|_| Reply::ok("first")).await, Upstream::start(|_| Reply::ok("second")).await];
    let urls = pods.each_ref().map(|pod| format!("{}/", pod.url()));
    let proxies = [example.run(&[("http://127.0.0.1:8081/", &urls[0])]).await, example.run(&[("http://127.0.0.1:8081/", &urls[1])]).await];
    let reader = example.variables.iter().find(|(name, _)| name == "reader").unwrap().1.clone();
    for (proxy, pod) in proxies.iter().zip(["first", "second"]) {
        for _ in 0..50 {
            let response = example.scene.get(proxy, "/reports", &reader).await;
            assert_eq!((response.status, response.text()), (200, pod.to_owned()));
        }
    }
    for pod in &pods {
        let received = pod.last_request();
        assert_eq!((received.target(), received.header("host")), ("/reports", Some("proxy.test")));
    }
    // One question of each kind from each pod, and nothing else.
    let asked = wait_for("questions in the audit log", async || {
        let entries = audit.of(&example.scene.user("kube-rbac-proxy"));
        if entries.len() < 4 { Err(format!("{entries:?}")) } else { Ok(entries) }
    });
    let mut asked: Vec<String> = asked.await.into_iter().map(|entry| entry.resource).collect();
    asked.sort();
    assert_eq!(asked, ["subjectaccessreviews", "subjectaccessreviews", "tokenreviews", "tokenreviews"]);
}

impl<'a> Example<'a> {
    /// Applies the example, after these words of its ConfigMaps are replaced.
    async fn apply(cluster: &'a Cluster, name: &'static str, words: &[(&str, &str)]) -> Self {
        let scene = Scene::without_rights(cluster).await;
        let mut example = Self { scene, name, objects: Vec::new(), variables: Vec::new() };
        for file in ["deployment.yaml", "client.yaml"] {
            let text = example.read(file).replace("namespace: default", &format!("namespace: {}", example.scene.namespace));
            let text = text.replace("serviceaccount:default:", &format!("serviceaccount:{}:", example.scene.namespace));
            example.objects.extend(serde_saphyr::from_multiple::<Value>(&text).unwrap());
        }
        let own_roles: Vec<Value> = example.of("ClusterRole").map(|role| role["metadata"]["name"].clone()).collect();
        let prefix = format!("{}-", example.scene.namespace);
        let rename = |name: &mut Value| *name = json!(format!("{prefix}{}", name.as_str().unwrap()));
        for object in &mut example.objects {
            if object["kind"].as_str().unwrap().starts_with("ClusterRole") {
                rename(&mut object["metadata"]["name"]);
            }
            if object["roleRef"]["kind"] == "ClusterRole" && own_roles.contains(&object["roleRef"]["name"]) {
                rename(&mut object["roleRef"]["name"]);
            }
            for text in object.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(|data| data.values_mut()) {
                if let Some((_, word)) = words.iter().find(|(place, _)| text.as_str().unwrap().contains(place)) {
                    *text = json!(word);
                }
            }
        }
        for object in example.objects.clone() {
            example.scene.make(object).await;
        }
        example.settle().await;
        let readme = example.read("README.md");
        for (before, account) in readme.split("=$(kubectl create token ").zip(readme.split("=$(kubectl create token ").skip(1)) {
            let variable = before.rsplit([' ', '\n']).next().unwrap().to_owned();
            let token = example.scene.token(account.split(')').next().unwrap(), &TokenRequest::default()).await;
            example.variables.push((variable, token));
        }
        example
    }

    /// Starts the container of the proxy on this machine, with these words of its flags replaced.
    async fn run(&self, words: &[(&str, &str)]) -> Proxy {
        let pod = &self.of("Deployment").next().unwrap()["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().unwrap();
        self.scene.write("proxy.token", &self.scene.token(account, &TokenRequest::default()).await);
        let container = pod["containers"].as_array().unwrap().iter().find(|container| container["name"] == "kube-rbac-proxy").unwrap();
        let mut flags = self.scene.flags(&["--upstream=-"]);
        flags.retain(|flag| !["--upstream", "--secure-listen", "--proxy-endpoints"].iter().any(|start| flag.starts_with(start)));
        for argument in container["args"].as_array().unwrap() {
            let mut flag = argument.as_str().unwrap().replace("0.0.0.0:8443", "127.0.0.1:0");
            for (place, word) in words {
                flag = flag.replace(place, word);
            }
            flag = flag.replace("http://127.0.0.1:8081/", &format!("{}/", self.scene.upstream.url()));
            for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                let (path, folder) = (mount["mountPath"].as_str().unwrap(), self.mount(pod, &mount["name"]));
                flag = flag.replace(path, &folder);
            }
            flags.push(flag);
        }
        flags.push(format!("--proxy-endpoints-port={}", free_port()));
        Proxy::start(&flags).await
    }

    /// Writes a volume's files and says where.
    fn mount(&self, pod: &Value, volume: &Value) -> String {
        let volume = pod["volumes"].as_array().unwrap().iter().find(|known| known["name"] == *volume).unwrap();
        let map = self.of("ConfigMap").find(|map| map["metadata"]["name"] == volume["configMap"]["name"]).unwrap();
        for (file, text) in map["data"].as_object().unwrap() {
            self.scene.write(file, text.as_str().unwrap());
        }
        self.scene.folder.path().display().to_string()
    }

    /// Runs what the README says to run, of which there is so much, and compares.
    async fn keep_promises(&self, proxy: &Proxy, promises: usize) {
        let readme = self.read("README.md");
        let lines: Vec<(&str, &str)> =
            readme.lines().filter(|line| line.starts_with("curl ")).filter_map(|line| line.split_once('#')).collect();
        assert_eq!(lines.len(), promises, "{}", self.name);
        for (command, promise) in lines {
            let promise = promise.trim();
            let status = if promise.starts_with("the application's own") { "200" } else { &promise[..3] };
            assert_eq!(self.status(proxy, command).await, status, "{}: {command}", self.name);
        }
    }

    /// The status that a curl of the README gets.
    async fn status(&self, proxy: &Proxy, command: &str) -> String {
        let command = command.replace("localhost:8443", &proxy.secure().to_string());
        let command = command.replace("namespace=default", &format!("namespace={}", self.scene.namespace));
        let mut shell = Command::new("sh");
        shell.current_dir(self.scene.folder.path()).envs(self.variables.iter().cloned()).arg("-c");
        shell.arg(format!("{command} --silent --show-error --max-time 20 --output answer --write-out '%{{http_code}}'"));
        // The upstream serves on this thread.
        let output = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the API server knows the example's bindings.
    async fn settle(&self) {
        for binding in self.objects.iter().filter(|object| object["roleRef"].is_object()) {
            let asks = if binding["roleRef"]["name"] == DELEGATOR {
                vec![json!({"verb": "create", "group": "authorization.k8s.io", "version": "v1", "resource": "subjectaccessreviews"})]
            } else {
                let role =
                    |role: &&Value| role["kind"] == binding["roleRef"]["kind"] && role["metadata"]["name"] == binding["roleRef"]["name"];
                let role = self.objects.iter().find(role).unwrap();
                role["rules"].as_array().unwrap().iter().map(|rule| question(rule, &binding["metadata"]["namespace"])).collect()
            };
            let subject = &binding["subjects"][0];
            for ask in asks {
                let kind = if ask.get("path").is_some() { "nonResourceAttributes" } else { "resourceAttributes" };
                let mut spec = json!({ kind: ask });
                match subject["kind"].as_str().unwrap() {
                    "Group" => spec["groups"] = json!([subject["name"]]),
                    _ => spec["user"] = json!(self.scene.user(subject["name"].as_str().unwrap())),
                }
                self.scene.until_allowed(&spec).await;
            }
        }
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(Path::new(FOLDER).join(self.name).join(file)).unwrap()
    }
}

/// Something that a rule allows.
fn question(rule: &Value, namespace: &Value) -> Value {
    match rule["nonResourceURLs"][0].as_str() {
        Some(path) => json!({"verb": rule["verbs"][0], "path": path.replace('*', "x")}),
        None => {
            let resource = rule["resources"][0].as_str().unwrap();
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            json!({"verb": rule["verbs"][0], "namespace": namespace, "group": rule["apiGroups"][0], "version": "v1",
                "resource": resource, "subresource": subresource, "name": rule["resourceNames"][0]})
        }
    }
}
