use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{API_VERSION, NAMESPACES, Question, Random};

/// A policy that changes at random, always in the same way for the same seed.
///
/// What becomes of its aggregates depends on nothing but what is there now, never on what was there before or on a
/// controller's timing: aggregates with rules of their own, and those that select each other in a circle, have sources
/// that never change.
#[derive(Clone, Debug)]
pub struct Policy {
    random: Random,
    objects: BTreeMap<Key, Value>,
}

/// How a policy changes.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What goes, in this order, before anything comes: aggregates before what they select.
    pub deleted: Vec<Value>,
    /// What comes or becomes something else, in any order.
    pub applied: Vec<Value>,
}

/// Kind, namespace and name.
type Key = (String, String, String);

const VERBS: [&str; 5] = ["get", "list", "create", "delete", "impersonate"];
const GROUPS: [&str; 3] = ["", "apps", "metrics.k8s.io"];
const RESOURCES: [&str; 12] =
    ["pods", "pods", "nodes", "secrets", "deployments", "pods/log", "deployments/scale", "*/log", "*/scale", "pods/*", "*/*", "a/b/log"];
const RESOURCE_NAMES: [&str; 4] = ["web", "db", "*", ""];
const PATHS: [&str; 10] = ["/a", "/a/*", "/a*", "/a/**", "/a/*/b", "/metrics", "/metrics/*", "*", "**", "/"];
const SUBJECTS: [(&str, &str); 16] = [
    ("User", "alice"),
    ("User", "bob"),
    ("User", "*"),
    ("User", "dev"),
    ("User", "system:masters"),
    ("User", "system:serviceaccount:agree-x:robot"),
    ("Group", "dev"),
    ("Group", "ops"),
    ("Group", "alice"),
    ("Group", "*"),
    ("Group", "system:authenticated"),
    ("Group", "system:serviceaccounts"),
    ("Group", "system:serviceaccounts:agree-x"),
    ("ServiceAccount", "robot"),
    ("ServiceAccount", "robot"),
    ("ServiceAccount", "build"),
];
/// Roles and cluster roles have the same names, so that one could be taken for the other.
const ROLES: [&str; 6] = ["r0", "r1", "r2", "r3", "r4", "r5"];
/// Each selects those before it: names in and against the order that a controller takes them in.
const AGGREGATES: [&str; 5] = ["g3", "g0", "g4", "g1", "g2"];
const BINDABLE: [&str; 13] = ["r0", "r1", "r2", "r3", "r4", "r5", "g0", "g1", "g2", "kept", "replaced", "ring-a", "ring-b"];

impl Policy {
    /// The first policy of a seed.
    pub fn new(seed: u64) -> (Self, Change) {
        let mut policy = Self { random: Random::new(seed), objects: BTreeMap::new() };
        let mut change = Change { applied: policy.lasting(), ..Change::default() };
        change.applied.extend(AGGREGATES.iter().enumerate().map(|(level, name)| policy.aggregate(level, name)));
        for name in ROLES {
            change.applied.push(policy.cluster_role(name));
            change.applied.extend(NAMESPACES.map(|namespace| policy.role(namespace, name)));
        }
        for index in 0..10 {
            change.applied.push(policy.cluster_binding(index));
            for namespace in NAMESPACES {
                change.applied.push(policy.binding(namespace, index));
            }
        }
        policy.take(&change);
        // Some are missing from the start.
        policy.leave_out();
        change.applied.retain(|manifest| policy.objects.contains_key(&key(manifest)));
        (policy, change)
    }

    /// Changes the policy.
    pub fn change(&mut self) -> Change {
        let mut change = Change { deleted: self.leave_out(), ..Change::default() };
        for (level, name) in AGGREGATES.iter().enumerate() {
            if self.random.chance(40) {
                change.applied.push(self.aggregate(level, name));
            }
        }
        for name in ROLES {
            if self.random.chance(50) {
                change.applied.push(self.cluster_role(name));
            }
            for namespace in NAMESPACES {
                if self.random.chance(30) {
                    change.applied.push(self.role(namespace, name));
                }
            }
        }
        for index in 0..10 {
            let mut bindings = vec![self.cluster_binding(index)];
            bindings.extend(NAMESPACES.map(|namespace| self.binding(namespace, index)));
            for mut binding in bindings {
                if !self.random.chance(35) {
                    continue;
                }
                if let Some(before) = self.objects.get(&key(&binding)) {
                    // What a binding refers to can be changed by making another of its name alone.
                    if self.random.chance(50) {
                        change.deleted.push(before.clone());
                    } else {
                        binding["roleRef"] = before["roleRef"].clone();
                    }
                }
                change.applied.push(binding);
            }
        }
        self.take(&change);
        change
    }

    /// All that is there now.
    pub fn objects(&self) -> impl Iterator<Item = &Value> {
        self.objects.values()
    }

    /// Questions about the policy as it is now.
    pub fn questions(&mut self, count: usize) -> Vec<Question> {
        let of_kind = |kinds: [&str; 2]| {
            let found = self.objects.iter().filter(|((kind, ..), _)| kinds.contains(&kind.as_str()));
            found.map(|(_, object)| object.clone()).collect::<Vec<_>>()
        };
        let bindings = of_kind(["RoleBinding", "ClusterRoleBinding"]);
        let dangling: Vec<Value> = bindings.iter().filter(|binding| !self.objects.contains_key(&referred(binding))).cloned().collect();
        let any_rule: Vec<Value> = of_kind(["Role", "ClusterRole"]).iter().flat_map(rules).collect();
        let mut questions = Vec::with_capacity(count);
        for _ in 0..count {
            if self.random.chance(30) {
                questions.push(Question::random(&mut self.random));
                continue;
            }
            let pool = if !dangling.is_empty() && self.random.chance(20) { &dangling } else { &bindings };
            let binding = self.random.pick(pool).clone();
            let role = self.objects.get(&referred(&binding)).map(rules).filter(|rules| !rules.is_empty());
            let role = role.or_else(|| self.mistaken_for(&binding));
            let rule = self.random.pick(role.as_ref().unwrap_or(&any_rule)).clone();
            questions.push(Question::aimed(&mut self.random, &binding, &rule));
        }
        questions
    }

    /// The rules of a role that has the right name only.
    fn mistaken_for(&mut self, binding: &Value) -> Option<Vec<Value>> {
        let (_, _, wanted) = referred(binding);
        let alike = self.objects.iter().filter(|((kind, _, name), _)| kind.ends_with("Role") && *name == wanted);
        let found: Vec<Vec<Value>> = alike.map(|(_, role)| rules(role)).filter(|rules| !rules.is_empty()).collect();
        (!found.is_empty()).then(|| self.random.pick(&found).clone())
    }

    /// Takes a change over.
    fn take(&mut self, change: &Change) {
        for manifest in &change.deleted {
            self.objects.remove(&key(manifest));
        }
        self.objects.extend(change.applied.iter().map(|manifest| (key(manifest), manifest.clone())));
    }

    /// Removes some of the objects that may go.
    fn leave_out(&mut self) -> Vec<Value> {
        let mut gone = Vec::new();
        // A controller that follows the deletion of a source must not write to an aggregate that is being deleted.
        let last_first = AGGREGATES.iter().rev().map(|name| ("ClusterRole".to_owned(), String::new(), (*name).to_owned()));
        let others = self.objects.keys().filter(|(kind, _, name)| kind.ends_with("Binding") || ROLES.contains(&name.as_str()));
        let candidates: Vec<Key> = last_first.chain(others.cloned()).collect();
        for key in candidates {
            let percent = if key.0.ends_with("Binding") { 8 } else { 16 };
            if key.2 != "everything" && self.random.chance(percent) {
                gone.extend(self.objects.remove(&key));
            }
        }
        gone
    }

    /// Roles that stay as they are: aggregates of every sort whose fate would depend on time, and their sources.
    fn lasting(&mut self) -> Vec<Value> {
        let ring = |name: &str, selected: &[&str]| {
            let selectors: Vec<Value> = selected.iter().map(|name| json!({ "matchLabels": { "ring": name } })).collect();
            let metadata = json!({ "name": name, "labels": { "ring": name } });
            cluster_role(metadata, json!({ "aggregationRule": { "clusterRoleSelectors": selectors } }))
        };
        let mut lasting =
            vec![ring("ring-a", &["ring-c", "ring-a"]), ring("ring-b", &["ring-a"]), ring("ring-c", &["ring-b", "into-ring"])];
        for name in ["into-ring-1", "into-ring-2"] {
            let rules = [self.rule(true)];
            lasting.push(cluster_role(json!({ "name": name, "labels": { "ring": "into-ring" } }), json!({ "rules": rules })));
        }
        let rules = [self.rule(true)];
        lasting.push(cluster_role(json!({ "name": "lasting", "labels": { "lasting": "yes" } }), json!({ "rules": rules })));
        for (name, label) in [("replaced", "lasting"), ("kept", "nothing-has-this")] {
            let selectors = json!([{ "matchExpressions": [{ "key": label, "operator": "Exists" }] }]);
            let rest = json!({ "rules": [self.rule(true)], "aggregationRule": { "clusterRoleSelectors": selectors } });
            lasting.push(cluster_role(json!({ "name": name, "labels": { "level": name } }), rest));
        }
        let everything = json!({ "aggregationRule": { "clusterRoleSelectors": [{}] } });
        lasting.push(cluster_role(json!({ "name": "everything" }), everything));
        let subject = json!([{ "kind": "User", "name": "everything" }]);
        lasting.push(json!({
            "apiVersion": API_VERSION, "kind": "ClusterRoleBinding", "metadata": { "name": "everything" },
            "roleRef": { "kind": "ClusterRole", "name": "everything" }, "subjects": subject,
        }));
        lasting
    }

    /// An aggregate that selects roles by their labels, and aggregates of lower levels.
    fn aggregate(&mut self, level: usize, name: &str) -> Value {
        let mut selectors = Vec::new();
        for _ in 0..=self.random.below(2) {
            let mut selector = Map::new();
            if self.random.chance(60) {
                selector.insert("matchLabels".to_owned(), json!({ "tier": self.random.pick(&["a", "b"]) }));
            }
            // Of the plain roles alone: all of them have the label, and nothing else has.
            let mut expressions = vec![json!({ "key": "plain", "operator": "Exists" })];
            match self.random.below(5) {
                0 => expressions.push(json!({ "key": "stage", "operator": "In", "values": self.random.some(&["1", "2", ""], 1, 2) })),
                1 => expressions.push(json!({ "key": "stage", "operator": "NotIn", "values": self.random.some(&["1", "2", ""], 1, 2) })),
                2 => expressions.push(json!({ "key": "stage", "operator": "Exists" })),
                3 => expressions.push(json!({ "key": "stage", "operator": "DoesNotExist" })),
                _ => {}
            }
            selector.insert("matchExpressions".to_owned(), json!(expressions));
            selectors.push(Value::Object(selector));
        }
        if level > 0 && self.random.chance(70) {
            selectors.push(json!({ "matchLabels": { "level": format!("level-{}", self.random.below(level)) } }));
        }
        if self.random.chance(20) {
            selectors.push(json!({ "matchLabels": { "level": self.random.pick(&["kept", "replaced"]) } }));
        }
        let mut rest = json!({ "aggregationRule": { "clusterRoleSelectors": selectors } });
        if self.random.chance(30) {
            rest["rules"] = json!([]);
        }
        cluster_role(json!({ "name": name, "labels": { "level": format!("level-{level}") } }), rest)
    }

    fn cluster_role(&mut self, name: &str) -> Value {
        let mut labels = json!({ "plain": "yes" });
        if self.random.chance(70) {
            labels["tier"] = json!(self.random.pick(&["a", "b", "c"]));
        }
        if self.random.chance(60) {
            labels["stage"] = json!(self.random.pick(&["1", "2", ""]));
        }
        let rules = self.rules(true);
        cluster_role(json!({ "name": name, "labels": labels }), json!({ "rules": rules }))
    }

    fn role(&mut self, namespace: &str, name: &str) -> Value {
        let rules = self.rules(false);
        json!({ "apiVersion": API_VERSION, "kind": "Role", "metadata": { "name": name, "namespace": namespace }, "rules": rules })
    }

    fn rules(&mut self, with_paths: bool) -> Vec<Value> {
        (0..self.random.below(4)).map(|_| self.rule(with_paths)).collect()
    }

    fn rule(&mut self, with_paths: bool) -> Value {
        let verbs = if self.random.chance(15) { vec!["*"] } else { self.random.some(&VERBS, 1, 2) };
        if with_paths && self.random.chance(35) {
            // Patterns that match everything would leave no question open.
            let most = if self.random.chance(15) { PATHS.len() } else { 7 };
            return json!({ "verbs": verbs, "nonResourceURLs": self.random.some(&PATHS[..most], 1, 2) });
        }
        let groups = if self.random.chance(15) { vec!["*"] } else { self.random.some(&GROUPS, 1, 2) };
        let resources = if self.random.chance(10) { vec!["*"] } else { self.random.some(&RESOURCES, 1, 2) };
        let mut rule = json!({ "verbs": verbs, "apiGroups": groups, "resources": resources });
        if self.random.chance(30) {
            rule["resourceNames"] = json!(self.random.some(&RESOURCE_NAMES, 1, 2));
        }
        rule
    }

    fn cluster_binding(&mut self, index: usize) -> Value {
        let role = if self.random.chance(8) { "view" } else { *self.random.pick(&BINDABLE) };
        self.binding_of(json!({ "name": format!("b{index}") }), "ClusterRoleBinding", "ClusterRole", role)
    }

    fn binding(&mut self, namespace: &str, index: usize) -> Value {
        let role = *self.random.pick(&BINDABLE);
        let kind = if role.starts_with('r') && role.len() == 2 && self.random.chance(50) { "Role" } else { "ClusterRole" };
        self.binding_of(json!({ "name": format!("b{index}"), "namespace": namespace }), "RoleBinding", kind, role)
    }

    fn binding_of(&mut self, metadata: Value, kind: &str, role_kind: &str, role: &str) -> Value {
        let everywhere = metadata["namespace"].is_null();
        let subjects: Vec<Value> = self.random.some(&SUBJECTS, 0, 2).into_iter().map(|subject| self.subject(subject, everywhere)).collect();
        let mut role_ref = json!({ "kind": role_kind, "name": role });
        if self.random.chance(50) {
            role_ref["apiGroup"] = json!("rbac.authorization.k8s.io");
        }
        json!({ "apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "roleRef": role_ref, "subjects": subjects })
    }

    fn subject(&mut self, (kind, name): (&str, &str), everywhere: bool) -> Value {
        let mut subject = json!({ "kind": kind, "name": name });
        if kind == "ServiceAccount" {
            if everywhere || self.random.chance(60) {
                subject["namespace"] = json!(self.random.pick(&["agree-x", "agree-y", "agree-nowhere", "Not:A:Namespace"]));
            }
        } else {
            if self.random.chance(50) {
                subject["apiGroup"] = json!("rbac.authorization.k8s.io");
            }
            // Of no meaning.
            if self.random.chance(10) {
                subject["namespace"] = json!("agree-x");
            }
        }
        subject
    }
}

fn cluster_role(metadata: Value, rest: Value) -> Value {
    let mut role = json!({ "apiVersion": API_VERSION, "kind": "ClusterRole", "metadata": metadata });
    let fields = rest.as_object().expect("an object").clone();
    role.as_object_mut().expect("an object").extend(fields);
    role
}

fn rules(role: &Value) -> Vec<Value> {
    role["rules"].as_array().cloned().unwrap_or_default()
}

fn key(manifest: &Value) -> Key {
    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (field(&manifest["kind"]), field(&manifest["metadata"]["namespace"]), field(&manifest["metadata"]["name"]))
}

/// The key of the role that a binding refers to.
fn referred(binding: &Value) -> Key {
    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = field(&binding["roleRef"]["kind"]);
    let namespace = if kind == "Role" { field(&binding["metadata"]["namespace"]) } else { String::new() };
    (kind, namespace, field(&binding["roleRef"]["name"]))
}
