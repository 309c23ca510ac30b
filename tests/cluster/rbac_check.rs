//! What the API server refuses to store, the evaluator's constructors refuse to make, and nothing else.

use serde_json::{Value, json};
use testkit::{
    cluster,
    policy::{API_VERSION, object},
};

#[tokio::test]
async fn the_constructors_refuse_what_the_api_server_refuses() {
    let Some(cluster) = cluster::guest().await else { return };
    let cases = [roles(), cluster_roles(), aggregates(), references(), subjects()].concat();
    let (mut refused, mut differences) = (0, Vec::new());
    for manifest in &cases {
        let kind = manifest["kind"].as_str().unwrap().to_lowercase();
        let namespace = manifest["metadata"]["namespace"].as_str().map(|namespace| format!("namespaces/{namespace}/")).unwrap_or_default();
        let path = format!("/apis/{API_VERSION}/{namespace}{kind}s?dryRun=All");
        let answer = cluster.admin().call("POST", &path, Some(manifest)).await;
        let status = answer.as_ref().map_or_else(|fault| fault.status(), |_| Some(201));
        assert!(matches!(status, Some(201 | 422)), "{manifest}: {answer:?}");
        refused += usize::from(status == Some(422));
        let ours = object(manifest);
        if ours.is_ok() != (status == Some(201)) {
            differences.push(format!("{manifest}: {answer:?}, here {ours:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(refused > 20 && cases.len() - refused > 20, "{refused} of {} were refused", cases.len());
}

fn manifest(kind: &str, name: &str, rest: Value) -> Value {
    let mut manifest = json!({ "apiVersion": API_VERSION, "kind": kind, "metadata": { "name": name } });
    if matches!(kind, "Role" | "RoleBinding") {
        manifest["metadata"]["namespace"] = json!("default");
    }
    manifest.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    manifest
}

fn roles() -> Vec<Value> {
    let names = ["a", "A:b c", "...", "é", "", ".", "..", "a/b", "50%"];
    let named = names.map(|name| manifest("Role", name, json!({ "rules": [] })));
    named.into_iter().chain(rules().into_iter().map(|rule| manifest("Role", "a", json!({ "rules": [rule] })))).collect()
}

fn cluster_roles() -> Vec<Value> {
    let labels = [
        json!({}),
        json!({ "a.b/C_d": "" }),
        json!({ "a": "A-1_b.c" }),
        json!({ "a": "-" }),
        json!({ "a": "b/c" }),
        json!({ "": "a" }),
        json!({ "a/b/c": "a" }),
        json!({ "A/b": "a" }),
        json!({ "a..b/c": "a" }),
        json!({ "a": "x".repeat(63) }),
        json!({ "a": "x".repeat(64) }),
        json!({ "x".repeat(63): "a" }),
        json!({ "x".repeat(64): "a" }),
    ];
    let labelled = labels.map(|labels| {
        let mut role = manifest("ClusterRole", "a", json!({ "rules": [] }));
        role["metadata"]["labels"] = labels;
        role
    });
    labelled.into_iter().chain(rules().into_iter().map(|rule| manifest("ClusterRole", "a", json!({ "rules": [rule] })))).collect()
}

fn rules() -> Vec<Value> {
    vec![
        json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }),
        json!({ "verbs": [""], "apiGroups": ["*"], "resources": ["*", "*/*", ""], "resourceNames": [""] }),
        json!({ "verbs": ["get"], "nonResourceURLs": ["/a", "*", ""] }),
        json!({ "verbs": [], "nonResourceURLs": ["/a"] }),
        json!({ "verbs": [], "apiGroups": [""], "resources": ["pods"] }),
        json!({ "verbs": ["get"] }),
        json!({ "verbs": ["get"], "apiGroups": [""] }),
        json!({ "verbs": ["get"], "resources": ["pods"] }),
        json!({ "verbs": ["get"], "apiGroups": [""], "resourceNames": ["a"] }),
        json!({ "verbs": ["get"], "nonResourceURLs": ["/a"], "apiGroups": [""] }),
        json!({ "verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"] }),
        json!({ "verbs": ["get"], "nonResourceURLs": ["/a"], "resourceNames": ["a"] }),
        json!({ "verbs": ["get"], "nonResourceURLs": ["/a"], "apiGroups": [""], "resources": ["pods"] }),
    ]
}

fn aggregates() -> Vec<Value> {
    let expression = |key: &str, operator: &str, values: &[&str]| json!([{ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] }]);
    let selectors = [
        json!([]),
        json!([{}]),
        json!([{ "matchLabels": { "a": "b" } }, {}]),
        json!([{ "matchLabels": { "a": "-" } }]),
        json!([{ "matchLabels": { "a b": "c" } }]),
        expression("a", "In", &["", "b"]),
        expression("a", "In", &[]),
        expression("a", "NotIn", &["b"]),
        expression("a", "NotIn", &[]),
        expression("a", "NotIn", &["-"]),
        expression("a", "Exists", &[]),
        expression("a", "Exists", &["b"]),
        expression("a/", "Exists", &[]),
        expression("a", "DoesNotExist", &[]),
        expression("a", "DoesNotExist", &["b"]),
    ];
    selectors.map(|selectors| manifest("ClusterRole", "a", json!({ "aggregationRule": { "clusterRoleSelectors": selectors } }))).to_vec()
}

fn references() -> Vec<Value> {
    let references = [
        json!({ "kind": "ClusterRole", "name": "a" }),
        json!({ "kind": "Role", "name": "a" }),
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a:b" }),
        json!({ "apiGroup": "v1", "kind": "ClusterRole", "name": "a" }),
        json!({ "kind": "clusterrole", "name": "a" }),
        json!({ "kind": "", "name": "a" }),
        json!({ "kind": "ClusterRole", "name": "" }),
        json!({ "kind": "ClusterRole", "name": "a/b" }),
        json!({ "kind": "ClusterRole", "name": ".." }),
    ];
    let kinds = ["RoleBinding", "ClusterRoleBinding"];
    kinds.iter().flat_map(|kind| references.iter().map(|reference| manifest(kind, "a", json!({ "roleRef": reference })))).collect()
}

fn subjects() -> Vec<Value> {
    let group = "rbac.authorization.k8s.io";
    let subjects = [
        json!({ "kind": "User", "name": "any / name %" }),
        json!({ "kind": "User", "name": "a", "apiGroup": group, "namespace": "No Namespace" }),
        json!({ "kind": "User", "name": "" }),
        json!({ "kind": "User", "name": "a", "apiGroup": "v1" }),
        json!({ "kind": "Group", "name": "*" }),
        json!({ "kind": "Group", "name": "" }),
        json!({ "kind": "Group", "name": "a", "apiGroup": "apps" }),
        json!({ "kind": "ServiceAccount", "name": "a" }),
        json!({ "kind": "ServiceAccount", "name": "a.b", "namespace": "No:Namespace" }),
        json!({ "kind": "ServiceAccount", "name": "A", "namespace": "a" }),
        json!({ "kind": "ServiceAccount", "name": "a", "namespace": "a", "apiGroup": group }),
        json!({ "kind": "ServiceAccount", "name": "", "namespace": "a" }),
        json!({ "kind": "ServiceAccount", "name": "a-", "namespace": "a" }),
        json!({ "kind": "ServiceAccount", "name": "x".repeat(253), "namespace": "a" }),
        json!({ "kind": "ServiceAccount", "name": "x".repeat(254), "namespace": "a" }),
        json!({ "kind": "user", "name": "a" }),
        json!({ "kind": "", "name": "a" }),
    ];
    let kinds = ["RoleBinding", "ClusterRoleBinding"];
    let binding = |kind: &str, subject: &Value| {
        manifest(kind, "a", json!({ "roleRef": { "kind": "ClusterRole", "name": "a" }, "subjects": [subject] }))
    };
    kinds.iter().flat_map(|kind| subjects.iter().map(|subject| binding(kind, subject))).collect()
}
