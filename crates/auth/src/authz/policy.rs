use std::{path::PathBuf, sync::Arc};

use rbac::{Aggregation, Decision, Near, PolicyRule, Shortfall, Subject, World};
use request::{Attributes, User};
use settings::{Contents, LoadError, ParseError, Watched};

use crate::authz::{Opinion, manifests::Manifests};

/// How many bindings that allow nothing are shown to somebody who asks why.
const NEAREST: usize = 3;
/// Who is everybody, or nearly.
const EVERYBODY: [&str; 2] = ["system:authenticated", "system:unauthenticated"];

/// RBAC from manifests: `--rbac-manifests`.
#[derive(Debug)]
pub struct Policy {
    /// What is without effect or unwise in the manifests.
    pub warnings: Vec<String>,
    world: World,
}

impl Policy {
    /// Opens files, or folders of files, and follows them.
    ///
    /// # Errors
    ///
    /// As [`Policy::parse`], or something cannot be read, or a folder has no manifest.
    pub fn open(subject: &'static str, paths: Vec<PathBuf>) -> Result<Arc<Watched<Self>>, LoadError> {
        Watched::open_folders(subject, paths, Self::parse)
    }

    /// Reads the roles and bindings of all files together. An aggregated role gets its rules here, as there is no
    /// controller to write them into it.
    ///
    /// # Errors
    ///
    /// A document is no Kubernetes object, or an RBAC object that the API server would refuse.
    pub fn parse(files: &[Contents]) -> Result<Self, ParseError> {
        let Manifests { objects, skipped, .. } = Manifests::read(files)?;
        let mut warnings = Vec::new();
        match skipped {
            0 => {}
            1 => warnings.push("one object is of another kind than those of RBAC, and without effect".to_owned()),
            many => warnings.push(format!("{many} objects are of other kinds than those of RBAC, and without effect")),
        }
        let world = World::new(objects, Aggregation::Resolved);
        for binding in world.bindings() {
            let role = format!("{} {}", binding.role.kind(), binding.role.name());
            if binding.is_dangling() {
                warnings.push(format!("the {} {} allows nothing: its {role} does not exist", binding.kind(), binding.name));
            }
            for subject in &binding.subjects {
                if let Subject::Group(group) = subject
                    && EVERYBODY.contains(&&**group)
                {
                    warnings.push(format!("the {} {} gives its {role} to everybody: {group}", binding.kind(), binding.name));
                }
            }
        }
        Ok(Self { warnings, world })
    }

    pub(crate) fn authorize(&self, user: &User, asked: &Attributes) -> Opinion {
        match self.world.decide(user, asked) {
            decision if decision.is_allowed() => Opinion::Allow,
            decision => Opinion::None(decision.to_string()),
        }
    }

    /// The decision, and the reason that kube-apiserver would give for it.
    pub(crate) fn judge(&self, user: &User, asked: &Attributes) -> (Opinion, String) {
        let decision = self.world.decide(user, asked);
        let reason = decision.to_string();
        (if decision.is_allowed() { Opinion::Allow } else { Opinion::None(reason.clone()) }, reason)
    }

    /// The decision, and in several lines what made it, or what nearly made another.
    pub(crate) fn explain(&self, user: &User, asked: &Attributes) -> (Opinion, String) {
        let decision = self.world.decide(user, asked);
        match &decision {
            Decision::Superuser => (Opinion::Allow, "the group system:masters may do everything".to_owned()),
            Decision::Allowed(allowed) => {
                (Opinion::Allow, format!("{allowed}\nby its rule {}: {}", allowed.rule_index + 1, describe(allowed.rule)))
            }
            Decision::NoOpinion { .. } => {
                let mut lines = vec!["no binding allows it".to_owned()];
                lines.extend(self.world.nearest(user, asked, NEAREST).iter().map(nearly));
                (Opinion::None(decision.to_string()), lines.join("\n"))
            }
        }
    }
}

fn nearly(near: &Near<'_>) -> String {
    let Near { binding, rule, short } = near;
    let short: Vec<&str> = short.iter().map(|short| lacks(*short)).collect();
    let mut text = format!("nearest: {} {}", binding.kind(), binding.name);
    if let Some(namespace) = &binding.namespace {
        text.push_str(&format!(" in {namespace}"));
    }
    text.push_str(&format!(" of {} {}: {}", binding.role.kind(), binding.role.name(), short.join(", ")));
    if let Some(rule) = rule {
        text.push_str(&format!("; its rule is {}", describe(rule)));
    }
    text
}

fn lacks(short: Shortfall) -> &'static str {
    match short {
        Shortfall::Subject => "it does not name the user or a group of his",
        Shortfall::Namespace => "it counts in its own namespace alone",
        Shortfall::NoRole => "the role does not exist",
        Shortfall::NoRules => "the role has no rules",
        Shortfall::Verb => "the verb is another",
        Shortfall::ApiGroup => "the API group is another",
        Shortfall::Resource => "the resource is another",
        Shortfall::ResourceName => "the name is another",
        Shortfall::Path => "the path is another",
    }
}

/// A rule as a manifest has it, on one line.
fn describe(rule: &PolicyRule) -> String {
    let PolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule;
    let fields = [
        ("verbs", verbs),
        ("apiGroups", api_groups),
        ("resources", resources),
        ("resourceNames", resource_names),
        ("nonResourceURLs", non_resource_urls),
    ];
    let given = fields.iter().filter(|(_, values)| !values.is_empty());
    let texts: Vec<String> = given.map(|(name, values)| format!("{name} {}", quoted(values))).collect();
    texts.join(", ")
}

fn quoted(values: &[rbac::Text]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{:?}", &**value)).collect();
    format!("[{}]", values.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: x}}
  - apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRole
    metadata: {name: reader, annotations: {any: thing}}
    rules: [{nonResourceURLs: [/metrics, '/api/*'], verbs: [get]}]
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: readers},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader},
 subjects: [{kind: User, name: alice}]}
";

    fn policy(text: &str) -> Result<Policy, String> {
        Policy::parse(&[Contents::new("m.yaml", text)]).map_err(|error| error.to_string())
    }

    fn user(name: &str) -> User {
        User { name: name.to_owned(), ..User::default() }
    }

    fn get(path: &str) -> Attributes {
        Attributes::NonResource { verb: "get".to_owned(), path: path.to_owned() }
    }

    #[test]
    fn manifests_say_who_may() {
        let policy = policy(ALICE).expect("a policy");
        assert!(matches!(policy.authorize(&user("alice"), &get("/api/x")), Opinion::Allow));
        assert!(matches!(policy.authorize(&user("alice"), &get("/")), Opinion::None(_)));
        assert!(matches!(policy.authorize(&user("bob"), &get("/metrics")), Opinion::None(_)));
        assert_eq!(policy.warnings, ["one object is of another kind than those of RBAC, and without effect"]);
    }

    #[test]
    fn an_explanation_names_what_decided_and_what_nearly_did() {
        let policy = policy(ALICE).expect("a policy");
        let yes = "RBAC: allowed by ClusterRoleBinding \"readers\" of ClusterRole \"reader\" to User \"alice\"";
        assert_eq!(policy.judge(&user("alice"), &get("/metrics")).1, yes);
        let (_, yes) = policy.explain(&user("alice"), &get("/metrics"));
        assert!(yes.ends_with("\nby its rule 1: verbs [\"get\"], nonResourceURLs [\"/metrics\" \"/api/*\"]"), "{yes}");
        let (_, no) = policy.explain(&user("bob"), &get("/metrics"));
        assert!(no.contains("\nnearest: ClusterRoleBinding readers of ClusterRole reader: it does not name the user"), "{no}");
    }

    #[test]
    fn what_would_not_count_as_it_is_meant_is_refused_where_it_stands() {
        let object = |kind: &str, rest: &str| format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n{rest}");
        for (text, expected) in [
            ("kind: Role".to_owned(), "m.yaml:1:1: the file is no Kubernetes object: it has no apiVersion"),
            (
                "apiVersion: rbac.authorization.k8s.io/v1beta1\nkind: Role".to_owned(),
                "m.yaml:1:13: apiVersion must be rbac.authorization.k8s.io/v1 for a Role",
            ),
            (
                object(
                    "ClusterRole",
                    "metadata: {name: x}\nrules: [{verbs: [get], resources: [pods], apiGroups: [''], resourceName: [a]}]",
                ),
                "m.yaml:4:60: rules[0].resourceName is unknown: what may stand here is verbs, apiGroups, resources, resourceNames, nonResourceURLs",
            ),
            (
                object("Role", "metadata: {name: x, namespace: ns}\nrules:\n  - verbs: [get]\n    nonResourceURLs: [/x]"),
                "m.yaml:6:22: rules[0].nonResourceURLs is refused: paths belong to no namespace: only a ClusterRole can allow them",
            ),
            (object("Role", "metadata: {name: x}"), "m.yaml:3:11: metadata is refused: namespace: required"),
            (
                object("ClusterRoleBinding", "metadata: {name: x}\nroleRef: {kind: Rolle, name: z}"),
                "m.yaml:4:17: roleRef.kind is refused: \"Rolle\" is not supported: use Role or ClusterRole",
            ),
            (object("ClusterRoleBinding", "metadata: {name: x}"), "m.yaml:1:1: the file has no roleRef"),
            (
                format!("{0}---\n{0}", object("ClusterRole", "metadata: {name: x}\n")),
                "m.yaml:5:1: the file is the ClusterRole x for the second time: each name may be there once",
            ),
        ] {
            assert_eq!(policy(&text).expect_err("refused"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_without_effect_or_unwise_is_said() {
        let policy = policy(
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: all},
              roleRef: {kind: ClusterRole, name: none}, subjects: [{kind: Group, name: 'system:authenticated'}]}",
        );
        assert_eq!(
            policy.expect("a policy").warnings,
            [
                "the ClusterRoleBinding all allows nothing: its ClusterRole none does not exist",
                "the ClusterRoleBinding all gives its ClusterRole none to everybody: system:authenticated",
            ]
        );
    }
}
