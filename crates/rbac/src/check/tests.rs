use super::*;
use crate::Requirement;

fn texts(items: &[&str]) -> Vec<Text> {
    items.iter().map(|&item| item.into()).collect()
}

fn resources() -> PolicyRule {
    PolicyRule { verbs: texts(&["get"]), api_groups: texts(&[""]), resources: texts(&["pods"]), ..PolicyRule::default() }
}

fn paths() -> PolicyRule {
    PolicyRule { verbs: texts(&["get"]), non_resource_urls: texts(&["/metrics"]), ..PolicyRule::default() }
}

#[track_caller]
fn refused<T: fmt::Debug>(made: Result<T, Vec<Fault>>, expected: &[&str]) {
    let faults: Vec<String> = made.unwrap_err().iter().map(Fault::to_string).collect();
    assert_eq!(faults, expected);
}

#[test]
fn a_role_allows_resources_alone() {
    assert!(Role::new("ns".into(), "a:b".into(), vec![resources()]).is_ok());
    assert!(Role::new("ns".into(), "empty".into(), vec![]).is_ok());
    refused(
        Role::new("ns".into(), "a".into(), vec![resources(), paths()]),
        &["rules[1].nonResourceURLs: paths belong to no namespace: only a ClusterRole can allow them"],
    );
}

#[test]
fn a_rule_is_for_some_verbs_and_for_either_resources_or_paths() {
    let role = |rule| ClusterRole::new("a".into(), BTreeMap::new(), vec![rule], None);
    assert!(role(resources()).is_ok() && role(paths()).is_ok());
    refused(role(PolicyRule { verbs: vec![], ..resources() }), &["rules[0].verbs: must contain at least one verb"]);
    refused(
        role(PolicyRule { verbs: texts(&["get"]), ..PolicyRule::default() }),
        &[
            "rules[0].apiGroups: a rule for resources needs at least one API group (\"\" is the core group)",
            "rules[0].resources: a rule needs resources or nonResourceURLs",
        ],
    );
    for mixed in [
        PolicyRule { non_resource_urls: texts(&["/"]), ..resources() },
        PolicyRule { api_groups: texts(&["*"]), ..paths() },
        PolicyRule { resource_names: texts(&["a"]), ..paths() },
    ] {
        refused(role(mixed), &["rules[0].nonResourceURLs: one rule cannot be for resources and for nonResourceURLs"]);
    }
}

#[test]
fn objects_have_names_that_stand_in_paths_and_namespaces_that_are_dns_labels() {
    refused(Role::new("".into(), "".into(), vec![]), &["metadata.name: required", "metadata.namespace: required"]);
    refused(
        RoleBinding::new(Some("a.b".into()), "..".into(), RoleRef::Role("a".into()), vec![]),
        &[
            "metadata.name: \"..\" is no name: it may not be . or .. nor contain / or %",
            "metadata.namespace: \"a.b\" is no name of a namespace: at most 63 lower case letters, digits and inner dashes",
        ],
    );
    refused(
        ClusterRole::new("a/b".into(), BTreeMap::new(), vec![], None),
        &["metadata.name: \"a/b\" is no name: it may not be . or .. nor contain / or %"],
    );
}

#[test]
fn labels_and_selectors_are_well_formed() {
    let requirement = |key: &str, operator, values: &[&str]| Requirement { key: key.into(), operator, values: texts(values) };
    let aggregation = |expressions| AggregationRule {
        selectors: vec![LabelSelector::default(), LabelSelector { expressions, ..LabelSelector::default() }],
    };
    let role = |aggregation| ClusterRole::new("a".into(), BTreeMap::new(), vec![], Some(aggregation));
    assert!(role(aggregation(vec![requirement("a.b/c", Operator::In, &["", "1"]), requirement("a", Operator::Exists, &[])])).is_ok());
    refused(role(AggregationRule::default()), &["aggregationRule.clusterRoleSelectors: an aggregationRule needs at least one selector"]);
    let place = "aggregationRule.clusterRoleSelectors[1].matchExpressions";
    refused(
        role(aggregation(vec![requirement("a", Operator::NotIn, &[]), requirement("a b", Operator::DoesNotExist, &["-"])])),
        &[
            &format!("{place}[0].values: In and NotIn need values"),
            &format!("{place}[1].values: Exists and DoesNotExist take no values"),
            &format!("{place}[1].key: \"a b\" is no label key"),
            &format!("{place}[1].values: \"-\" is no label value"),
        ],
    );
    let labels = BTreeMap::from([("/".into(), "-".into())]);
    refused(
        ClusterRole::new("a".into(), labels, vec![], None),
        &["metadata.labels: \"/\" is no label key", "metadata.labels: \"-\" is no label value"],
    );
}

#[test]
fn a_binding_refers_to_a_role_by_one_of_two_kinds() {
    for group in ["", API_GROUP] {
        assert_eq!(RoleRef::new(group, "Role", "a".into()), Ok(RoleRef::Role("a".into())));
        assert_eq!(RoleRef::new(group, "ClusterRole", "a".into()), Ok(RoleRef::ClusterRole("a".into())));
    }
    refused(
        RoleRef::new("v1", "role", "".into()),
        &[
            "apiGroup: \"v1\" is not supported: use rbac.authorization.k8s.io",
            "name: required",
            "kind: \"role\" is not supported: use Role or ClusterRole",
        ],
    );
    refused(
        RoleBinding::new(None, "a".into(), RoleRef::Role("a".into()), vec![]),
        &["roleRef.kind: \"Role\" is not supported: use ClusterRole"],
    );
}

#[test]
fn a_subject_is_one_of_three_kinds() {
    let account = |namespace: Option<&str>| Subject::ServiceAccount { namespace: namespace.map(Into::into), name: "a".into() };
    assert_eq!(Subject::new(API_GROUP, "User", "ignored", "*".into()), Ok(Subject::User("*".into())));
    assert_eq!(Subject::new("", "Group", "", "system:masters".into()), Ok(Subject::Group("system:masters".into())));
    assert_eq!(Subject::new("", "ServiceAccount", "Not:Validated", "a".into()), Ok(account(Some("Not:Validated"))));
    assert_eq!(Subject::new("", "ServiceAccount", "", "a".into()), Ok(account(None)));
    refused(Subject::new("", "User", "", "".into()), &["name: required"]);
    refused(
        Subject::new(API_GROUP, "ServiceAccount", "", "A".into()),
        &[
            "apiGroup: \"rbac.authorization.k8s.io\" is not supported: use \"\"",
            "name: \"A\" is no name of a ServiceAccount: lower case letters, digits, inner dashes and dots",
        ],
    );
    refused(
        Subject::new("v1", "user", "", "a".into()),
        &[
            "apiGroup: \"v1\" is not supported: use rbac.authorization.k8s.io",
            "kind: \"user\" is not supported: use User, Group or ServiceAccount",
        ],
    );
}

#[test]
fn an_account_without_a_namespace_has_its_bindings() {
    let account = || vec![Subject::User("a".into()), Subject::ServiceAccount { namespace: None, name: "a".into() }];
    let role = || RoleRef::ClusterRole("a".into());
    assert!(RoleBinding::new(Some("ns".into()), "a".into(), role(), account()).is_ok());
    refused(
        RoleBinding::new(None, "a".into(), role(), account()),
        &["subjects[1].namespace: a ServiceAccount needs a namespace in a ClusterRoleBinding"],
    );
}
