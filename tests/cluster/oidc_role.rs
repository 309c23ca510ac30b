//! The roles of docs/migration-kube-oidc-proxy.md: what kube-oidc-proxy must be let do, and nothing that it need not.

use std::{cell::Cell, fs};

use serde_json::{Value, json};
use testkit::{
    client::{Request, Version},
    cluster::{self, TokenRequest},
};

use crate::{oidc_world::World, scene::assert_status};

const RBAC: &str = "rbac.authorization.k8s.io";

/// The rules of a role in the docs.
fn documented(role: &str) -> Vec<Value> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/migration-kube-oidc-proxy.md")).unwrap();
    let is_it = |block: &&str| block.starts_with("yaml\n") && block.contains(&format!("  name: {role}\n"));
    let block = page.split("```").find(is_it).unwrap();
    let role: Value = serde_saphyr::from_str(block.strip_prefix("yaml").unwrap()).unwrap();
    role["rules"].as_array().unwrap().clone()
}

impl World<'_> {
    /// Gives the proxy a role of the docs.
    pub(crate) async fn give_role(&mut self, role: &str) {
        for (index, rule) in documented(role).into_iter().enumerate() {
            self.scene.give_proxy(&format!("{role}-{index}"), rule.clone()).await;
            for resource in rule["resources"].as_array().unwrap() {
                self.until_may(&rule, resource.as_str().unwrap(), true).await;
            }
        }
    }

    /// Takes each part of a role away for a while, and returns the parts.
    async fn take_each_part_away(&mut self, role: &str, meanwhile: impl AsyncFn(&Self, &str)) -> Vec<String> {
        let mut parts = Vec::new();
        for (index, rule) in documented(role).into_iter().enumerate() {
            let (name, resources) = (format!("{role}-{index}"), rule["resources"].as_array().unwrap().clone());
            for part in &resources {
                let rest: Vec<&Value> = resources.iter().filter(|resource| *resource != part).collect();
                let mut less = rule.clone();
                less["resources"] = if rest.is_empty() { json!(["nothing"]) } else { json!(rest) };
                let part = part.as_str().unwrap();
                self.scene.give_proxy(&name, less).await;
                self.until_may(&rule, part, false).await;
                meanwhile(self, part).await;
                self.scene.give_proxy(&name, rule.clone()).await;
                self.until_may(&rule, part, true).await;
                parts.push(part.to_owned());
            }
        }
        parts
    }

    /// Waits until the API server knows whether the proxy may do this part of a rule.
    async fn until_may(&self, rule: &Value, resource: &str, may: bool) {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let (verb, group) = (&rule["verbs"][0], &rule["apiGroups"][0]);
        let attributes =
            json!({"verb": verb, "group": group, "version": "v1", "resource": resource, "subresource": subresource, "name": "x"});
        self.scene.until_decided(&json!({"user": self.scene.user("proxy"), "resourceAttributes": attributes}), may).await;
    }
}

fn impersonate(group: &str, resources: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": ["impersonate"]})
}

#[tokio::test]
async fn each_part_of_the_role_is_needed() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    let (proxy, token) = (world.proxy(&[]).await, world.token("anna", &[]));
    assert_status(&world.scene.get(&proxy, "/version", &token).await, 200);
    let parts = world.take_each_part_away("kube-oidc-proxy", async |world, part| {
        let refused = world.scene.get(&proxy, "/version", &token).await;
        let why = format!("cannot impersonate resource \\\"{part}\\\"");
        assert!(refused.status == 403 && refused.text().contains(&why), "{part}: {} {}", refused.status, refused.text());
    });
    assert_eq!(parts.await, ["users", "groups", "userextras/authentication.kubernetes.io/credential-id"]);
    assert_status(&world.scene.get(&proxy, "/version", &token).await, 200);
}

#[tokio::test]
async fn each_part_of_the_role_for_tokens_and_extras_is_needed() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    world.give_role("kube-oidc-proxy-more").await;
    world.scene.account("robot").await;
    let flags = ["--token-passthrough", "--extra-user-header-client-ip", "--extra-user-headers=team=a"];
    let (proxy, token) = (world.proxy(&flags).await, world.token("anna", &[]));
    let ask = async |world: &World<'_>, part: &str| {
        // One that nobody has seen.
        let robot = world.scene.token("robot", &TokenRequest::default()).await;
        world.scene.get(&proxy, "/version", if part == "tokenreviews" { &robot } else { &token }).await
    };
    let parts = world.take_each_part_away("kube-oidc-proxy-more", async |world, part| {
        let refused = ask(world, part).await;
        let (status, why) = if part == "tokenreviews" { (503, "") } else { (403, "cannot impersonate") };
        assert!(refused.status == status && refused.text().contains(why), "{part}: {} {}", refused.status, refused.text());
    });
    let parts = parts.await;
    assert_eq!(parts, ["tokenreviews", "userextras/remote-client-ip", "userextras/team"]);
    for part in parts {
        assert_status(&ask(&world, &part).await, 200);
    }
}

#[tokio::test]
async fn each_part_of_the_role_for_review_is_needed() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    world.give_role("kube-oidc-proxy-review").await;
    let rules = [impersonate("", &["users", "serviceaccounts"]), impersonate("authentication.k8s.io", &["uids"])];
    let (role, anna) = (format!("{}-anna", world.scene.namespace), format!("{}:anna", world.scene.namespace));
    let metadata = json!({"name": role});
    world.scene.make(json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules})).await;
    world.scene.bind("anna", &role, json!({"kind": "User", "apiGroup": RBAC, "name": anna})).await;
    for (group, resource) in [("", "users"), ("", "serviceaccounts"), ("authentication.k8s.io", "uids")] {
        let attributes = json!({"verb": "impersonate", "group": group, "version": "v1", "resource": resource, "name": "x"});
        world.scene.until_allowed(&json!({"user": anna, "resourceAttributes": attributes})).await;
    }
    let (proxy, token) = (world.proxy(&["--inbound-impersonation=review"]).await, world.token("anna", &["devs"]));
    let count = Cell::new(0);
    let act = async |world: &World<'_>, part: &str| {
        // As somebody about whom nothing is remembered.
        count.set(count.get() + 1);
        let name = if part == "serviceaccounts" { "system:serviceaccount:x:a-" } else { "a-" };
        let request = Request::get("/version").bearer(&token).header("Impersonate-User", &format!("{name}{}", count.get()));
        let request = if part == "uids" { request.header("Impersonate-Uid", "1") } else { request };
        world.scene.connect(Version::H1, &proxy).await.send(&request).await
    };
    let parts = world.take_each_part_away("kube-oidc-proxy-review", async |world, part| {
        let refused = act(world, part).await;
        let (status, why) = if part == "subjectaccessreviews" { (503, "") } else { (403, "cannot impersonate") };
        assert!(refused.status == status && refused.text().contains(why), "{part}: {} {}", refused.status, refused.text());
    });
    let parts = parts.await;
    assert_eq!(parts.len(), 6, "{parts:?}");
    for part in parts {
        assert_status(&act(&world, &part).await, 200);
    }
}

#[tokio::test]
async fn a_role_may_name_the_groups() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    world.let_impersonate().await;
    let (proxy, devs) = (world.proxy(&[]).await, format!("{}:devs", world.scene.namespace));
    let mut groups = impersonate("", &["groups"]);
    groups["resourceNames"] = json!(["system:authenticated", devs]);
    world.scene.give_proxy("named", groups).await;
    world.scene.give_proxy("kube-oidc-proxy-0", impersonate("", &["users"])).await;
    world.until_may(&impersonate("", &["groups"]), "groups", false).await;
    for (groups, status) in [(&[][..], 200), (&["devs"], 200), (&["devs", "ops"], 403), (&["ops"], 403)] {
        assert_status(&world.scene.get(&proxy, "/version", &world.token("anna", groups)).await, status);
    }
}
