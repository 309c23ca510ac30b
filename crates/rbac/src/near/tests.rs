use request::ResourceAttributes;

use super::*;
use crate::{Aggregation, ClusterRole, Object, RoleBinding, RoleRef, Subject, Text};

fn texts(items: &[&str]) -> Vec<Text> {
    items.iter().map(|&item| item.into()).collect()
}

fn role(name: &str, rules: Vec<PolicyRule>) -> Object {
    Object::ClusterRole(ClusterRole { name: name.into(), labels: Default::default(), rules, aggregation: None })
}

fn resources(verb: &str, group: &str, resource: &str, names: &[&str]) -> PolicyRule {
    let resource_names = texts(names);
    PolicyRule {
        verbs: texts(&[verb]),
        api_groups: texts(&[group]),
        resources: texts(&[resource]),
        resource_names,
        ..PolicyRule::default()
    }
}

fn path(verb: &str, path: &str) -> PolicyRule {
    PolicyRule { verbs: texts(&[verb]), non_resource_urls: texts(&[path]), ..PolicyRule::default() }
}

fn bound(name: &str, role: &str, user: &str) -> Object {
    let subjects = vec![Subject::User(user.into())];
    Object::RoleBinding(RoleBinding { namespace: None, name: name.into(), role: RoleRef::ClusterRole(role.into()), subjects })
}

fn bound_within(namespace: &str, name: &str, role: &str, user: &str) -> Object {
    let subjects = vec![Subject::User(user.into())];
    Object::RoleBinding(RoleBinding {
        namespace: Some(namespace.into()),
        name: name.into(),
        role: RoleRef::ClusterRole(role.into()),
        subjects,
    })
}

/// What is nearest for alice, as `BINDING: SHORTFALLS`.
fn nearest(objects: Vec<Object>, attributes: &Attributes, limit: usize) -> Vec<String> {
    let world = World::new(objects, Aggregation::AsStored);
    let alice = User { name: "alice".into(), ..User::default() };
    world.nearest(&alice, attributes, limit).iter().map(|near| format!("{}: {:?}", near.binding.name, near.short)).collect()
}

fn get_pods(namespace: &str) -> Attributes {
    let [verb, resource, name] = ["get", "pods", "web"].map(str::to_owned);
    Attributes::Resource(ResourceAttributes { namespace: namespace.to_owned(), verb, resource, name, ..ResourceAttributes::default() })
}

#[test]
fn each_condition_that_fails_is_named() {
    let rules = [
        ("verb", resources("list", "", "pods", &[])),
        ("group", resources("get", "apps", "pods", &[])),
        ("resource", resources("get", "", "nodes", &[])),
        ("names", resources("get", "", "pods", &["db"])),
    ];
    let objects = rules.into_iter().flat_map(|(name, rule)| [role(name, vec![rule]), bound(name, name, "alice")]);
    let expected = ["group: [ApiGroup]", "names: [ResourceName]", "resource: [Resource]", "verb: [Verb]"];
    assert_eq!(nearest(objects.collect(), &get_pods("x"), 9), expected);
}

#[test]
fn the_nearest_rule_of_a_binding_speaks_for_it_and_the_nearest_binding_comes_first() {
    let objects = vec![
        role("r", vec![resources("list", "apps", "nodes", &[]), resources("list", "", "pods", &["db"])]),
        role("s", vec![path("get", "/"), resources("list", "", "pods", &[])]),
        bound("far", "r", "alice"),
        bound("near", "s", "alice"),
    ];
    assert_eq!(nearest(objects.clone(), &get_pods("x"), 9), ["near: [Verb]", "far: [Verb, ResourceName]"]);
    assert_eq!(nearest(objects, &get_pods("x"), 1), ["near: [Verb]"]);
}

#[test]
fn rights_elsewhere_and_of_others_are_named_when_they_are_the_only_obstacle() {
    let objects = vec![
        role("r", vec![resources("get", "", "pods", &[])]),
        role("other", vec![resources("list", "", "pods", &[])]),
        bound("a", "r", "bob"),
        bound("b", "other", "bob"),
        bound_within("x", "c", "r", "bob"),
        bound_within("y", "d", "r", "alice"),
        bound_within("y", "e", "r", "bob"),
        bound_within("y", "f", "other", "alice"),
    ];
    let expected = ["d: [Namespace]", "a: [Subject]", "c: [Subject]", "f: [Namespace, Verb]"];
    assert_eq!(nearest(objects, &get_pods("x"), 9), expected);
}

#[test]
fn a_role_that_is_not_there_or_empty_is_named() {
    let objects = vec![role("empty", vec![]), bound("a", "empty", "alice"), bound("b", "gone", "alice"), bound("c", "gone", "bob")];
    assert_eq!(nearest(objects, &get_pods("x"), 9), ["a: [NoRules]", "b: [NoRole]"]);
}

#[test]
fn paths_are_compared_with_rules_for_paths() {
    let objects = vec![
        role("resources", vec![resources("*", "*", "*", &[])]),
        role("paths", vec![path("post", "/metrics")]),
        role("others", vec![path("get", "/healthz")]),
        bound("a", "resources", "alice"),
        bound("b", "paths", "alice"),
        bound("c", "others", "alice"),
        bound_within("x", "d", "paths", "alice"),
    ];
    let attributes = Attributes::NonResource { verb: "get".to_owned(), path: "/metrics".to_owned() };
    assert_eq!(nearest(objects, &attributes, 9), ["b: [Verb]", "c: [Path]", "d: [Namespace, Verb]"]);
}

#[test]
fn what_allows_it_is_not_near() {
    let objects = vec![role("r", vec![resources("get", "", "pods", &[])]), bound("a", "r", "alice")];
    assert_eq!(nearest(objects, &get_pods("x"), 9), Vec::<String>::new());
}
