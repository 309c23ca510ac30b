use std::{collections::BTreeMap, sync::Arc};

use rbac::{
    AggregationRule, ClusterRole, Fault, LabelSelector, Object, PolicyRule, Requirement, Role, RoleBinding, RoleRef, Subject, Text,
};
use serde_json::Value;

/// The object that a manifest describes; the manifest has the fields' usual types.
///
/// # Errors
/// What kube-apiserver would refuse about it.
pub fn object(manifest: &Value) -> Result<Object, Vec<Fault>> {
    let metadata = &manifest["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    let rules = || items(&manifest["rules"]).iter().map(rule).collect();
    match kind(manifest) {
        "Role" => Role::new(namespace, name, rules()).map(Object::Role),
        "ClusterRole" => {
            let aggregation = manifest.get("aggregationRule").map(aggregation);
            ClusterRole::new(name, labels(&metadata["labels"]), rules(), aggregation).map(Object::ClusterRole)
        }
        "RoleBinding" => RoleBinding::new(Some(namespace), name, role_ref(manifest)?, subjects(manifest)?).map(Object::RoleBinding),
        "ClusterRoleBinding" => RoleBinding::new(None, name, role_ref(manifest)?, subjects(manifest)?).map(Object::RoleBinding),
        other => panic!("{other} is no kind of RBAC"),
    }
}

/// Where manifests of a kind come when all are written: roles before what refers to them.
pub fn apply_order(manifest: &Value) -> usize {
    let kinds = ["ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"];
    kinds.iter().position(|known| *known == kind(manifest)).expect("one of the four kinds")
}

fn kind(manifest: &Value) -> &str {
    manifest["kind"].as_str().expect("a kind")
}

fn rule(rule: &Value) -> PolicyRule {
    PolicyRule {
        verbs: texts(&rule["verbs"]),
        api_groups: texts(&rule["apiGroups"]),
        resources: texts(&rule["resources"]),
        resource_names: texts(&rule["resourceNames"]),
        non_resource_urls: texts(&rule["nonResourceURLs"]),
    }
}

fn aggregation(aggregation: &Value) -> AggregationRule {
    let requirement = |expression: &Value| Requirement {
        key: text(&expression["key"]),
        operator: expression["operator"].as_str().expect("an operator").parse().expect("a known operator"),
        values: texts(&expression["values"]),
    };
    let selector = |selector: &Value| LabelSelector {
        labels: labels(&selector["matchLabels"]),
        expressions: items(&selector["matchExpressions"]).iter().map(requirement).collect(),
    };
    AggregationRule { selectors: items(&aggregation["clusterRoleSelectors"]).iter().map(selector).collect() }
}

fn role_ref(binding: &Value) -> Result<RoleRef, Vec<Fault>> {
    let field = |name: &str| binding["roleRef"][name].as_str().unwrap_or_default();
    RoleRef::new(field("apiGroup"), field("kind"), field("name").into())
}

fn subjects(binding: &Value) -> Result<Vec<Subject>, Vec<Fault>> {
    let subject = |subject: &Value| {
        let field = |name: &str| subject[name].as_str().unwrap_or_default();
        Subject::new(field("apiGroup"), field("kind"), field("namespace"), field("name").into())
    };
    items(&binding["subjects"]).iter().map(subject).collect()
}

fn labels(value: &Value) -> BTreeMap<Text, Text> {
    value.as_object().into_iter().flatten().map(|(key, value)| (Arc::from(key.as_str()), text(value))).collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<Text> {
    items(value).iter().map(text).collect()
}

fn text(value: &Value) -> Text {
    value.as_str().unwrap_or_default().into()
}
