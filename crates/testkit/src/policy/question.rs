use request::{Attributes, ResourceAttributes, User};
use serde_json::{Value, json};

use super::{NAMESPACES, Random};

/// Whether a user may do something.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who.
    pub user: User,
    /// What.
    pub attributes: Attributes,
}

const VERBS: [&str; 8] = ["get", "list", "create", "delete", "impersonate", "*", "", "GET"];
const GROUPS: [&str; 4] = ["", "apps", "metrics.k8s.io", "*"];
const RESOURCES: [&str; 8] = ["pods", "nodes", "secrets", "deployments", "pods/log", "*", "", "a"];
const SUBRESOURCES: [&str; 7] = ["", "log", "scale", "status", "*", "xlog", "b/log"];
const NAMES: [&str; 4] = ["", "web", "db", "*"];
const PATHS: [&str; 14] = ["", "/", "/a", "/a/", "/a/b", "/a/*/b", "/a/x/b", "/ab", "/b", "/metrics", "/metrics/", "a", "*", "/healthz"];
const USERS: [&str; 9] = [
    "alice",
    "bob",
    "everything",
    "*",
    "system:masters",
    "dev",
    "system:serviceaccount:agree-x:robot",
    "system:serviceaccount:agree-y:robot",
    "system:serviceaccount:agree-x:build",
];
const MEMBERSHIPS: [&str; 8] =
    ["dev", "ops", "alice", "*", "system:authenticated", "system:serviceaccounts", "system:serviceaccounts:agree-x", "nobody"];

impl Question {
    /// Any question.
    pub(super) fn random(random: &mut Random) -> Self {
        let pick = |random: &mut Random, items: &[&str]| (*random.pick(items)).to_owned();
        let name = if random.chance(5) { String::new() } else { pick(random, &USERS) };
        let mut groups: Vec<String> = random.some(&MEMBERSHIPS, 0, 3).into_iter().map(str::to_owned).collect();
        if random.chance(2) {
            groups.push("system:masters".to_owned());
        }
        if name.is_empty() && groups.is_empty() {
            groups.push("dev".to_owned());
        }
        let verb = pick(random, &VERBS);
        let attributes = if random.chance(35) {
            Attributes::NonResource { verb, path: pick(random, &PATHS) }
        } else {
            let subresource = if random.chance(50) { String::new() } else { pick(random, &SUBRESOURCES) };
            Attributes::Resource(ResourceAttributes {
                namespace: namespace(random),
                verb,
                group: pick(random, &GROUPS),
                version: if random.chance(50) { String::new() } else { "v1".to_owned() },
                resource: pick(random, &RESOURCES),
                subresource,
                name: pick(random, &NAMES),
            })
        };
        Self { user: User { name, groups, ..User::default() }, attributes }
    }

    /// A question that the binding and the rule of its role answer with yes, or would but for one thing.
    pub(super) fn aimed(random: &mut Random, binding: &Value, rule: &Value) -> Self {
        let mut question = Self::random(random);
        question.aim_at_subject(random, binding);
        question.aim_at_rule(random, binding, rule);
        if random.chance(60) {
            question.change_one_thing(random);
        }
        question
    }

    /// The `spec` of a SubjectAccessReview.
    pub fn spec(&self) -> Value {
        let mut spec = json!({ "user": self.user.name, "groups": self.user.groups });
        match &self.attributes {
            Attributes::Resource(asked) => {
                spec["resourceAttributes"] = json!({
                    "namespace": asked.namespace, "verb": asked.verb, "group": asked.group, "version": asked.version,
                    "resource": asked.resource, "subresource": asked.subresource, "name": asked.name,
                });
            }
            Attributes::NonResource { verb, path } => spec["nonResourceAttributes"] = json!({ "verb": verb, "path": path }),
        }
        spec
    }

    fn aim_at_subject(&mut self, random: &mut Random, binding: &Value) {
        let Some(subject) = one_of(random, &binding["subjects"]) else { return };
        let name = subject["name"].as_str().expect("a name").to_owned();
        match subject["kind"].as_str() {
            Some("User") => self.user.name = name,
            Some("Group") if !self.user.groups.contains(&name) => self.user.groups.push(name),
            Some("Group") => {}
            _ => {
                let namespace = subject["namespace"].as_str().or(binding["metadata"]["namespace"].as_str()).unwrap_or_default();
                self.user.name = format!("system:serviceaccount:{namespace}:{name}");
            }
        }
    }

    fn aim_at_rule(&mut self, random: &mut Random, binding: &Value, rule: &Value) {
        let verb = literal(random, &rule["verbs"], &VERBS);
        if !rule["nonResourceURLs"].is_null() {
            let pattern = literal(random, &rule["nonResourceURLs"], &PATHS);
            let end = if pattern.ends_with('*') && random.chance(80) { *random.pick(&["", "b", "*", "x/b"]) } else { "" };
            let path = if end.is_empty() { pattern } else { format!("{}{end}", pattern.trim_end_matches('*')) };
            self.attributes = Attributes::NonResource { verb, path };
            return;
        }
        let resource = literal(random, &rule["resources"], &RESOURCES);
        let (resource, subresource) = match resource.split_once('/') {
            Some((parent, child)) if random.chance(90) => {
                let parent = if parent == "*" && random.chance(80) { "pods" } else { parent };
                (parent.to_owned(), child.to_owned())
            }
            _ => (resource, String::new()),
        };
        let namespace = match binding["metadata"]["namespace"].as_str() {
            Some(namespace) => namespace.to_owned(),
            None => namespace(random),
        };
        let group = literal(random, &rule["apiGroups"], &GROUPS);
        let name =
            if rule["resourceNames"].is_null() { (*random.pick(&NAMES)).to_owned() } else { literal(random, &rule["resourceNames"], &[]) };
        let version = String::new();
        self.attributes = Attributes::Resource(ResourceAttributes { namespace, verb, group, version, resource, subresource, name });
    }

    fn change_one_thing(&mut self, random: &mut Random) {
        let other = Self::random(random);
        match (&mut self.attributes, other.attributes) {
            (attributes, other) if random.chance(10) => *attributes = other,
            _ if random.chance(10) => self.user.name = other.user.name,
            _ if random.chance(10) => self.user.groups = vec![(*random.pick(&MEMBERSHIPS)).to_owned()],
            (Attributes::Resource(asked), Attributes::Resource(other)) => match random.below(6) {
                0 => asked.verb = other.verb,
                1 => asked.group = other.group,
                2 => asked.resource = other.resource,
                3 => asked.subresource = other.subresource,
                4 => asked.name = other.name,
                _ => asked.namespace = other.namespace,
            },
            (Attributes::NonResource { verb, path }, Attributes::NonResource { verb: other_verb, path: other_path }) => {
                if random.chance(30) {
                    *verb = other_verb;
                } else {
                    *path = other_path;
                }
            }
            _ => {}
        }
        if self.user.name.is_empty() && self.user.groups.is_empty() {
            self.user.name = "alice".to_owned();
        }
    }
}

fn namespace(random: &mut Random) -> String {
    let known = (*random.pick(&NAMESPACES)).to_owned();
    match random.below(10) {
        0 | 1 => String::new(),
        2 => "agree-nowhere".to_owned(),
        3 => "*".to_owned(),
        _ => known,
    }
}

/// One of the values, or when it is a star often something that the star stands for.
fn literal(random: &mut Random, values: &Value, others: &[&str]) -> String {
    let value = one_of(random, values).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    if value == "*" && !others.is_empty() && random.chance(80) { (*random.pick(others)).to_owned() } else { value }
}

fn one_of(random: &mut Random, values: &Value) -> Option<Value> {
    let values = values.as_array().filter(|values| !values.is_empty())?;
    Some(random.pick(values).clone())
}
