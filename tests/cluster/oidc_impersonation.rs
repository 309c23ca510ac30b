//! Clients of kube-oidc-proxy that act as others, beside clients who ask the real API server for the same.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use testkit::{
    certs::Pair,
    client::{Client, Request, Version},
    cluster::{self, Cluster},
    parts::{Part, skip},
    process::Proxy,
    tls::Tls,
};

use crate::{
    oidc_world::{Kubectl, World},
    scene::assert_status,
};

const RBAC: &str = "rbac.authorization.k8s.io";
const REVIEW: &str = "--inbound-impersonation=review";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Whom anna may act as.
const USERS: [&str; 12] = [
    "b",
    "jürgen",
    "b, c",
    "b c",
    "*",
    "system:admin",
    "system:node:n",
    "system:anonymous",
    "system:serviceaccount:ns",
    "system:serviceaccount:ns:a:b",
    "system:serviceaccount:NS:a",
    "system:serviceaccount:ns:a_b",
];

impl World<'_> {
    /// Gives a subject a cluster role with these rules, and returns once each of these may be done by its user.
    async fn give(&mut self, name: &str, subject: Value, rules: Value, who: &Value, then: &[Value]) {
        let role = format!("{}-{name}", self.scene.namespace);
        let metadata = json!({"name": role});
        self.scene.make(json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules})).await;
        self.scene.bind(name, &role, subject).await;
        for attributes in then {
            let mut spec = who.clone();
            spec["resourceAttributes"] = attributes.clone();
            self.scene.until_allowed(&spec).await;
        }
    }

    /// All that the proxy must be let do for `review`.
    async fn let_proxy_review(&mut self) {
        let rules = json!([
            {"apiGroups": [""], "resources": ["users", "groups", "serviceaccounts"], "verbs": ["impersonate"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["*"], "verbs": ["impersonate"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ]);
        let (subject, who) = (self.scene.subject("proxy"), json!({"user": self.scene.user("proxy")}));
        let review = json!({"verb": "create", "group": "authorization.k8s.io", "version": "v1", "resource": "subjectaccessreviews"});
        self.give("reviews", subject, rules, &who, &[review, acts("", "users", "x")]).await;
    }

    /// What the cases need: anna may act as some, and whoever is nobody may ask who he is.
    async fn let_anna_act(&mut self) {
        let extra = |resources: &[&str], names: &[&str]| json!({"apiGroups": ["authentication.k8s.io"], "resources": resources, "resourceNames": names, "verbs": ["impersonate"]});
        let any = [
            "userextras/scopes",
            "userextras/example.com/foo",
            "userextras/example.com/Foo",
            "userextras/a%zz",
            "userextras/50%",
            "userextras/ü",
            "userextras/a b",
        ];
        let rules = json!([
            {"apiGroups": [""], "resources": ["users"], "resourceNames": USERS, "verbs": ["impersonate"]},
            {"apiGroups": [""], "resources": ["groups"], "resourceNames": ["g", "h, i", "ünits", "system:authenticated", "system:unauthenticated"], "verbs": ["impersonate"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": any, "verbs": ["impersonate"]},
            extra(&["uids"], &["1", "a b"]),
            extra(&["userextras/one"], &["1"]),
        ]);
        let (subject, who) = (self.user("anna"), json!({"user": self.name("anna")}));
        self.give("acts", subject, rules, &who, &[acts("", "users", "b")]).await;
        // And by her group.
        let group = self.name("devs");
        let subject = json!({"kind": "Group", "apiGroup": RBAC, "name": group});
        let rules = json!([{"apiGroups": [""], "resources": ["users"], "resourceNames": ["by-group"], "verbs": ["impersonate"]}]);
        self.give("act", subject, rules, &json!({"user": "x", "groups": [group]}), &[acts("", "users", "by-group")]).await;
        let namespace = self.scene.namespace.clone();
        self.scene.role("accounts", json!({"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]})).await;
        self.scene.bind_here("accounts", "Role", "accounts", self.user("anna")).await;
        let mut account = acts("", "serviceaccounts", "a");
        account["namespace"] = json!(namespace);
        self.scene.until_allowed(&json!({"user": self.name("anna"), "resourceAttributes": account})).await;
        let subject = json!({"kind": "Group", "apiGroup": RBAC, "name": "system:unauthenticated"});
        let rules = json!([{"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]}]);
        let ask = json!({"verb": "create", "group": "authentication.k8s.io", "version": "v1", "resource": "selfsubjectreviews"});
        self.give("nobody", subject, rules, &json!({"user": "x", "groups": ["system:unauthenticated"]}), &[ask]).await;
    }

    /// As the API server calls a user or group of the issuer.
    fn name(&self, name: &str) -> String {
        format!("{}:{name}", self.scene.namespace)
    }

    fn user(&self, name: &str) -> Value {
        json!({"kind": "User", "apiGroup": RBAC, "name": self.name(name)})
    }
}

fn acts(group: &str, resource: &str, name: &str) -> Value {
    json!({"verb": "impersonate", "group": group, "version": "v1", "resource": resource, "name": name})
}

/// Asks who one is, and returns the status and the answer.
async fn who(client: &mut Client, request: Request) -> (u16, Value) {
    let response = client.send(&request.header("Content-Type", "application/json").header("Accept", "application/json")).await;
    let answer: Value = serde_json::from_str(&response.text()).unwrap();
    let info = &answer["status"]["userInfo"];
    (response.status, if info.is_null() { answer["message"].clone() } else { info.clone() })
}

/// Both ways to the API server, with the same user behind them.
struct Ways<'a> {
    world: &'a World<'a>,
    proxy: &'a Proxy,
    port: u16,
    pair: Pair,
    token: String,
}

impl Ways<'_> {
    async fn through(&self, version: Version, request: &Request) -> (u16, Value) {
        let mut client = self.world.scene.connect(version, self.proxy).await;
        who(&mut client, request.clone().bearer(&self.token)).await
    }

    async fn directly(&self, version: Version, request: &Request) -> (u16, Value) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        who(&mut Client::connect(version, address, &Tls::presenting(&self.pair)).await, request.clone()).await
    }
}

fn question(fields: &[(String, String)]) -> Request {
    let request = Request::post(WHO, r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#);
    fields.iter().fold(request, |request, (name, value)| request.header(&format!("impersonate-{name}"), value))
}

/// One case on a line: `NAME VALUE`, apart by `;`. `NS` is the scene's namespace.
const CASES: &str = "
user b
user c
user by-group
user jürgen
user b, c
user b c
user B
user *
user system:admin
user system:node:n
user system:node:m
user system:masters
user system:serviceaccount:NS:a
user system:serviceaccount:NS:a.b
user system:serviceaccount:other:a
user system:serviceaccount:ns
user system:serviceaccount:ns:a:b
user system:serviceaccount:NS:a:b
user system:serviceaccount:NS:
user system:serviceaccount::a
user system:serviceaccount:ns:a_b
user system:serviceaccount:NS:a_b
user system:serviceaccount:NS:a;group g
user system:serviceaccount:NS:a;group system:authenticated
user system:serviceaccount:NS:a;group system:masters
user system:serviceaccount:NS:a;uid 1
user system:serviceaccount:NS:a;extra-scopes x
user system:anonymous
user system:anonymous;group g
user system:anonymous;group system:authenticated
user system:anonymous;group system:unauthenticated
user system:anonymous;uid 1;extra-scopes x
user b;group g
user b;group g;group g
user b;group h, i;group g
user b;group ünits
user b;group h
user b;group g;group h
user b;group system:masters
user b;group system:authenticated
user b;group system:authenticated;group g
user b;group system:unauthenticated
user b;group system:unauthenticated;group system:authenticated
user c;group g
group g
uid 1
extra-scopes x
group g;uid 1;extra-scopes x
user b;uid 1
user b;uid a b
user b;uid 2
user c;uid 1
user b;uid 1;group g;extra-scopes x;extra-scopes y
user b;extra-scopes x
user b;extra-scopes x, y;extra-scopes x
user b;extra-scopes ü
user b;extra-other x
user b;extra-one 1
user b;extra-one 2
user b;extra-one 1;extra-one 2
user b;extra-example.com%2ffoo x
user b;extra-example.com%2Ffoo x
user b;extra-example.com%2f%66oo x
user b;extra-example.com%2f%46oo x
user b;extra-example.com%2fbar x
user b;extra-example.com%252ffoo x
user b;extra-a%zz x
user b;extra-a%z x
user b;extra-50% x
user b;extra-50%25 x
user b;extra-%c3%bc x
user b;extra-a%20b x
user b;extra-a+b x
user b;extra-scopes x;extra-example.com%2ffoo y;extra-one 1
user c;extra-scopes x";

async fn scene(cluster: &Cluster) -> World<'_> {
    let mut world = World::new(cluster).await;
    world.let_proxy_review().await;
    world.let_anna_act().await;
    world
}

#[tokio::test]
async fn whoever_acts_as_another_is_who_he_would_be_without_the_proxy() {
    let Some(cluster) = cluster::guest().await else { return };
    let (Some(port), Some(authority)) = (cluster.port(), cluster.authority()) else { return };
    let world = scene(&cluster).await;
    let proxy = world.proxy(&[REVIEW]).await;
    let pair = authority.client(&world.name("anna"), &[&world.name("devs")]);
    let ways = Ways { world: &world, proxy: &proxy, port, pair, token: world.token("anna", &["devs"]) };
    let (mut statuses, mut count) = (std::collections::BTreeMap::new(), 0);
    for (line, version) in CASES.trim().lines().flat_map(|line| [(line, Version::H1), (line, Version::H2)]) {
        let fields = line.split(';').map(|field| field.split_once(' ').unwrap());
        let fields: Vec<_> = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.replace("NS", &world.scene.namespace))).collect();
        let request = question(&fields);
        let (direct, (status, mut said)) = (ways.directly(version, &request).await, ways.through(version, &request).await);
        if status == 201 {
            let extra = said["extra"].as_object_mut().unwrap();
            assert_eq!(extra.remove("originaluser.jetstack.io-user"), Some(json!([world.name("anna")])), "{line}");
            assert_eq!(extra.remove("originaluser.jetstack.io-groups"), Some(json!([world.name("devs")])), "{line}");
            let id = json!([r#"{"authentication.kubernetes.io/credential-id":["JTI=of-anna"]}"#]);
            assert_eq!(extra.remove("originaluser.jetstack.io-extra"), Some(id), "{line}");
            let is_empty = extra.is_empty();
            if is_empty {
                said.as_object_mut().unwrap().remove("extra");
            }
            assert_eq!(said, direct.1, "{line}");
        }
        assert_eq!(status, direct.0, "{line}: {said} {}", direct.1);
        *statuses.entry(status).or_insert(0) += 1;
        count += 1;
    }
    assert!(count >= 120 && statuses[&201] > 60 && statuses[&403] > 40 && statuses[&400] == 8, "{count} {statuses:?}");

    // Where they differ, less is allowed here.
    for (line, there, here) in [
        ("user b;user b", 201, 400),
        ("user b;uid ", 201, 400),
        ("user ", 201, 400),
        ("user b;not-real x", 201, 403),
        ("user b;extra-scopes ", 201, 400),
        ("user b;extra-originaluser.jetstack.io-user x", 403, 403),
    ] {
        let fields: Vec<_> = line.split(';').map(|field| field.split_once(' ').unwrap()).collect();
        let request = question(&fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>());
        let statuses = (ways.directly(Version::H1, &request).await.0, ways.through(Version::H1, &request).await.0);
        assert_eq!(statuses, (there, here), "{line}");
    }
}

/// KEP-5284: rights that hold for one kind of request need its path, which is not read here.
#[tokio::test]
async fn rights_to_impersonate_for_some_requests_alone_do_not_count_here() {
    let Some(cluster) = cluster::guest().await else { return };
    let (Some(port), Some(authority)) = (cluster.port(), cluster.authority()) else { return };
    let mut world = World::new(&cluster).await;
    world.let_proxy_review().await;
    let rules = json!([
        {"apiGroups": ["authentication.k8s.io"], "resources": ["users"], "resourceNames": ["b"], "verbs": ["impersonate:user-info"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["impersonate-on:user-info:create"]},
    ]);
    let mut right = acts("authentication.k8s.io", "users", "b");
    right["verb"] = json!("impersonate:user-info");
    let (subject, who) = (world.user("otto"), json!({"user": world.name("otto")}));
    world.give("some", subject, rules, &who, &[right]).await;
    let proxy = world.proxy(&[REVIEW]).await;
    let pair = authority.client(&world.name("otto"), &[]);
    let ways = Ways { world: &world, proxy: &proxy, port, pair, token: world.token("otto", &[]) };
    let request = question(&[("user".to_owned(), "b".to_owned())]);
    assert_eq!(ways.directly(Version::H1, &request).await.0, 201);
    let text = format!("{} is not allowed to impersonate user 'b'", world.name("otto"));
    assert_eq!(ways.through(Version::H1, &request).await, (403, json!(text)));
}

#[tokio::test]
async fn kubectl_acts_as_others_through_the_proxy() {
    let program = match Part::Kubectl.path() {
        Ok(program) => program,
        Err(absent) => return skip(absent),
    };
    let Some(cluster) = cluster::guest().await else { return };
    let world = scene(&cluster).await;
    let proxy = world.proxy(&[REVIEW]).await;
    let server = format!("https://localhost:{}", proxy.secure().port());
    let anna = Kubectl { program, world: &world, server, name: "anna", token: world.token("anna", &["devs"]), without: &[] };
    let who = ["auth", "whoami", "-o", "json", "--as=b", "--as-group=g", "--as-uid=1", "--as-user-extra=example.com/foo=x"];
    let said: Value = serde_json::from_str(&anna.ok(&who).await).unwrap();
    let info = &said["status"]["userInfo"];
    assert_eq!((&info["username"], &info["uid"], &info["groups"]), (&json!("b"), &json!("1"), &json!(["g", "system:authenticated"])));
    assert_eq!(info["extra"]["example.com/foo"], json!(["x"]));
    // What there is, it asks first, and remembers: of a refusal of that it shows no word.
    let denied = anna.run(&["get", "pods", "--as=b"]).await;
    assert!(denied.output.contains("pods is forbidden: User \"b\" cannot list"), "{}", denied.output);
    let denied = anna.run(&["get", "pods", "--as=root"]).await;
    let text = format!("Error from server (Forbidden): {} is not allowed to impersonate user 'root'", world.name("anna"));
    assert_eq!((denied.code, denied.output.trim()), (Some(1), text.as_str()));
    let unclear =
        world.scene.connect(Version::H1, &proxy).await.send(&Request::get("/").bearer(&anna.token).header("Impersonate-Group", "g")).await;
    assert_status(&unclear, 400);
}
