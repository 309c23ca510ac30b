use request::ResourceAttributes;

use super::*;
use crate::{ClusterRole, Role, RoleBinding};

fn texts(items: &[&str]) -> Vec<Text> {
    items.iter().map(|&item| item.into()).collect()
}

/// Any verb on pods, and GET of /metrics.
fn rules() -> Vec<PolicyRule> {
    let pods = PolicyRule { verbs: texts(&["*"]), api_groups: texts(&[""]), resources: texts(&["pods"]), ..PolicyRule::default() };
    vec![pods, PolicyRule { verbs: texts(&["get"]), non_resource_urls: texts(&["/metrics"]), ..PolicyRule::default() }]
}

fn cluster_role(name: &str) -> Object {
    Object::ClusterRole(ClusterRole { name: name.into(), labels: BTreeMap::new(), rules: rules(), aggregation: None })
}

fn role(namespace: &str, name: &str) -> Object {
    Object::Role(Role { namespace: namespace.into(), name: name.into(), rules: rules().drain(..1).collect() })
}

fn everywhere(name: &str, role: &str, subjects: Vec<Subject>) -> Object {
    Object::RoleBinding(RoleBinding { namespace: None, name: name.into(), role: RoleRef::ClusterRole(role.into()), subjects })
}

fn within(namespace: &str, name: &str, role: RoleRef, subjects: Vec<Subject>) -> Object {
    Object::RoleBinding(RoleBinding { namespace: Some(namespace.into()), name: name.into(), role, subjects })
}

fn account(namespace: Option<&str>, name: &str) -> Subject {
    Subject::ServiceAccount { namespace: namespace.map(Into::into), name: name.into() }
}

fn user(name: &str, groups: &[&str]) -> User {
    User { name: name.into(), groups: groups.iter().map(|&group| group.into()).collect(), ..User::default() }
}

fn pods(namespace: &str) -> Attributes {
    let (verb, resource) = ("list".to_owned(), "pods".to_owned());
    Attributes::Resource(ResourceAttributes { namespace: namespace.to_owned(), verb, resource, ..ResourceAttributes::default() })
}

fn metrics() -> Attributes {
    Attributes::NonResource { verb: "get".to_owned(), path: "/metrics".to_owned() }
}

fn world(objects: impl IntoIterator<Item = Object>) -> World {
    World::new(objects, Aggregation::AsStored)
}

#[track_caller]
fn says(world: &World, user: &User, attributes: &Attributes, reason: &str) {
    let decision = world.decide(user, attributes);
    assert_eq!(decision.to_string(), reason, "{user:?} {attributes:?}");
    assert_eq!(decision.is_allowed(), reason.starts_with("RBAC: allowed by"));
    assert_eq!(world.grants(user, attributes).next().is_some(), decision.is_allowed());
}

#[test]
fn a_cluster_role_binding_counts_everywhere() {
    let world = world([cluster_role("r"), everywhere("b", "r", vec![Subject::User("alice".into())])]);
    let allowed = "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to User \"alice\"";
    for attributes in [pods("x"), pods(""), metrics()] {
        says(&world, &user("alice", &[]), &attributes, allowed);
        says(&world, &user("bob", &["alice"]), &attributes, "");
    }
}

#[test]
fn a_role_binding_counts_in_its_namespace_and_for_resources() {
    let subjects = || vec![Subject::Group("dev".into())];
    let objects = [
        cluster_role("r"),
        role("x", "r"),
        role("y", "only-in-y"),
        within("x", "c", RoleRef::ClusterRole("r".into()), subjects()),
        within("y", "d", RoleRef::Role("only-in-y".into()), subjects()),
        within("z", "e", RoleRef::Role("only-in-y".into()), subjects()),
    ];
    let (world, alice) = (world(objects), user("alice", &["ops", "dev"]));
    says(&world, &alice, &pods("x"), "RBAC: allowed by RoleBinding \"c/x\" of ClusterRole \"r\" to Group \"dev\"");
    says(&world, &alice, &pods("y"), "RBAC: allowed by RoleBinding \"d/y\" of Role \"only-in-y\" to Group \"dev\"");
    says(&world, &alice, &pods("z"), "rbac: RBAC: role.rbac.authorization.k8s.io \"only-in-y\" not found");
    for attributes in [pods("w"), pods(""), metrics()] {
        says(&world, &alice, &attributes, "");
    }
    says(&world, &user("dev", &[]), &pods("x"), "");
}

#[test]
fn stars_name_nobody_else() {
    let world = world([cluster_role("r"), everywhere("b", "r", vec![Subject::User("*".into()), Subject::Group("*".into())])]);
    says(&world, &user("alice", &["dev"]), &metrics(), "");
    says(&world, &user("*", &[]), &metrics(), "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to User \"*\"");
    says(&world, &user("alice", &["*"]), &metrics(), "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to Group \"*\"");
}

#[test]
fn a_service_account_is_its_user_name() {
    let objects = [
        cluster_role("r"),
        everywhere("b", "r", vec![account(None, "nobody"), account(Some("x"), "a")]),
        within(
            "x",
            "c",
            RoleRef::ClusterRole("r".into()),
            vec![account(None, "here"), account(Some("y"), "there"), account(Some("o:d"), "d")],
        ),
    ];
    let world = world(objects);
    let asks = |name: &str, attributes: &Attributes, reason: &str| {
        says(&world, &user(&format!("system:serviceaccount:{name}"), &["system:serviceaccounts"]), attributes, reason);
    };
    asks("x:a", &metrics(), "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to ServiceAccount \"a/x\"");
    asks("x:here", &pods("x"), "RBAC: allowed by RoleBinding \"c/x\" of ClusterRole \"r\" to ServiceAccount \"here/x\"");
    asks("y:there", &pods("x"), "RBAC: allowed by RoleBinding \"c/x\" of ClusterRole \"r\" to ServiceAccount \"there/y\"");
    asks("o:d:d", &pods("x"), "RBAC: allowed by RoleBinding \"c/x\" of ClusterRole \"r\" to ServiceAccount \"d/o:d\"");
    for (name, attributes) in
        [("y:a", metrics()), (":nobody", metrics()), ("x:nobody", metrics()), ("y:here", pods("y")), ("x:there", pods("x"))]
    {
        asks(name, &attributes, "");
    }
}

#[test]
fn masters_are_beyond_rbac_and_only_the_group_is() {
    let world = World::default();
    assert!(matches!(world.decide(&user("a", &["x", "system:masters"]), &metrics()), Decision::Superuser));
    says(&world, &user("system:masters", &["system:authenticated"]), &metrics(), "");
}

#[test]
fn a_dangling_reference_is_named_and_stops_nothing() {
    let alice = || vec![Subject::User("alice".into())];
    let missing = |name: &str| everywhere(name, name, alice());
    let denied = world([missing("gone"), everywhere("again", "gone", vec![Subject::Group("dev".into())]), missing("lost")]);
    let alice_of_dev = user("alice", &["dev"]);
    let both =
        "rbac: RBAC: [clusterrole.rbac.authorization.k8s.io \"gone\" not found, clusterrole.rbac.authorization.k8s.io \"lost\" not found]";
    says(&denied, &alice_of_dev, &metrics(), both);
    says(&denied, &user("bob", &[]), &metrics(), "");
    let allowed = world([missing("gone"), cluster_role("there"), everywhere("z", "there", alice())]);
    says(&allowed, &alice_of_dev, &metrics(), "RBAC: allowed by ClusterRoleBinding \"z\" of ClusterRole \"there\" to User \"alice\"");
    assert_eq!(allowed.bindings().filter(|binding| binding.is_dangling()).map(|binding| &*binding.name).collect::<Vec<_>>(), ["gone"]);
}

#[test]
fn roles_are_found_by_kind_and_namespace() {
    // A Role does not stand in for a ClusterRole of its name, nor one of another namespace for a Role.
    let subjects = || vec![Subject::User("alice".into())];
    let objects = [role("x", "r"), everywhere("b", "r", subjects()), within("y", "c", RoleRef::Role("r".into()), subjects())];
    let world = world(objects);
    assert!(world.bindings().all(Binding::is_dangling));
    says(
        &world,
        &user("alice", &[]),
        &pods("y"),
        "rbac: RBAC: [clusterrole.rbac.authorization.k8s.io \"r\" not found, role.rbac.authorization.k8s.io \"r\" not found]",
    );
}

#[test]
fn the_later_of_two_objects_with_one_name_counts() {
    let binding = |user: &str| everywhere("b", "r", vec![Subject::User(user.into())]);
    let empty = Object::ClusterRole(ClusterRole { name: "r".into(), labels: BTreeMap::new(), rules: vec![], aggregation: None });
    let world = world([empty, binding("alice"), cluster_role("r"), binding("bob")]);
    assert_eq!(world.bindings().len(), 1);
    assert!(!world.decide(&user("alice", &[]), &metrics()).is_allowed());
    assert!(world.decide(&user("bob", &[]), &metrics()).is_allowed());
}

#[test]
fn an_aggregate_is_resolved_when_asked_for() {
    let label: (Text, Text) = ("part".into(), "yes".into());
    let source = ClusterRole { name: "z".into(), labels: BTreeMap::from([label.clone()]), rules: rules(), aggregation: None };
    let selector = crate::LabelSelector { labels: BTreeMap::from([label]), expressions: vec![] };
    let aggregation = Some(crate::AggregationRule { selectors: vec![selector] });
    let aggregate = ClusterRole { name: "a".into(), labels: BTreeMap::new(), rules: vec![], aggregation };
    let objects = || {
        [
            Object::ClusterRole(source.clone()),
            Object::ClusterRole(aggregate.clone()),
            everywhere("b", "a", vec![Subject::User("alice".into())]),
        ]
    };
    assert!(!World::new(objects(), Aggregation::AsStored).decide(&user("alice", &[]), &metrics()).is_allowed());
    assert!(World::new(objects(), Aggregation::Resolved).decide(&user("alice", &[]), &metrics()).is_allowed());
}

#[test]
fn equal_strings_and_rules_are_kept_once() {
    let subjects = || vec![Subject::User("alice".into())];
    let world = world([cluster_role("a"), cluster_role("b"), everywhere("1", "a", subjects()), everywhere("2", "b", subjects())]);
    let [first, second] = [&world.bindings[0], &world.bindings[1]];
    assert!(std::ptr::eq(first.rules().next().unwrap(), second.rules().next().unwrap()));
    let (Subject::User(one), Subject::User(other)) = (&first.subjects[0], &second.subjects[0]) else { panic!("two users") };
    assert!(Arc::ptr_eq(one, other));
}
