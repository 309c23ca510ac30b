use std::{collections::BTreeMap, error::Error, fmt};

use crate::{
    AggregationRule, ClusterRole, LabelSelector, Operator, PolicyRule, Role, RoleBinding, RoleRef, Subject, Text,
    syntax::{is_dns_label, is_dns_subdomain, is_label_key, is_label_value, is_path_segment},
};

/// What kube-apiserver would refuse about an object, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From what was to be made down to what is wrong with it: as a manifest has its fields.
    pub place: Vec<Step>,
    /// What is wrong.
    pub problem: Problem,
}

/// One step down into a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the field of a mapping.
    Field(&'static str),
    /// To the item of a sequence.
    Index(usize),
}

/// What is wrong with a field, as kube-apiserver's validation has it (`pkg/apis/rbac/validation` of Kubernetes).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A name is empty.
    #[error("required")]
    Required,
    /// A rule has no verbs.
    #[error("must contain at least one verb")]
    NoVerbs,
    /// A rule for resources has no API groups.
    #[error("a rule for resources needs at least one API group (\"\" is the core group)")]
    NoApiGroups,
    /// A rule has neither resources nor paths.
    #[error("a rule needs resources or nonResourceURLs")]
    NoResources,
    /// A Role, which counts in one namespace, has a rule for paths, which are in none.
    #[error("paths belong to no namespace: only a ClusterRole can allow them")]
    PathsInNamespace,
    /// A rule has both kinds of rights.
    #[error("one rule cannot be for resources and for nonResourceURLs")]
    PathsAndResources,
    /// An aggregation selects by nothing; by everything would be `{}`.
    #[error("an aggregationRule needs at least one selector")]
    NoSelectors,
    /// `In` and `NotIn` are about values.
    #[error("In and NotIn need values")]
    NoValues,
    /// `Exists` and `DoesNotExist` are about the key alone.
    #[error("Exists and DoesNotExist take no values")]
    Values,
    /// A ServiceAccount is of a namespace, and a ClusterRoleBinding is in none.
    #[error("a ServiceAccount needs a namespace in a ClusterRoleBinding")]
    NoNamespace,
    /// One of few words was expected.
    #[error("{value:?} is not supported: use {supported}")]
    NotSupported {
        /// What is there.
        value: String,
        /// What may be.
        supported: &'static str,
    },
    /// A role's or binding's name.
    #[error("{0:?} is no name: it may not be . or .. nor contain / or %")]
    NotPathSegment(Text),
    /// A namespace's name.
    #[error("{0:?} is no name of a namespace: at most 63 lower case letters, digits and inner dashes")]
    NotDnsLabel(Text),
    /// A ServiceAccount's name.
    #[error("{0:?} is no name of a ServiceAccount: lower case letters, digits, inner dashes and dots")]
    NotDnsSubdomain(Text),
    /// A label's key.
    #[error("{0:?} is no label key")]
    NotLabelKey(Text),
    /// A label's value.
    #[error("{0:?} is no label value")]
    NotLabelValue(Text),
}

const API_GROUP: &str = "rbac.authorization.k8s.io";

impl Role {
    /// A role, unless kube-apiserver would refuse it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(namespace: Text, name: Text, rules: Vec<PolicyRule>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        faults.metadata(Some(&namespace), &name);
        faults.rules(&rules, true);
        faults.none_or(Self { namespace, name, rules })
    }
}

impl ClusterRole {
    /// A cluster role, unless kube-apiserver would refuse it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(
        name: Text,
        labels: BTreeMap<Text, Text>,
        rules: Vec<PolicyRule>,
        aggregation: Option<AggregationRule>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        faults.metadata(None, &name);
        faults.within(Step::Field("metadata"), |faults| faults.labels("labels", &labels));
        faults.rules(&rules, false);
        if let Some(aggregation) = &aggregation {
            faults.within(Step::Field("aggregationRule"), |faults| faults.selectors(&aggregation.selectors));
        }
        faults.none_or(Self { name, labels, rules, aggregation })
    }
}

impl RoleBinding {
    /// A binding, unless kube-apiserver would refuse it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(namespace: Option<Text>, name: Text, role: RoleRef, subjects: Vec<Subject>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        faults.metadata(namespace.as_ref(), &name);
        let is_everywhere = namespace.is_none();
        if is_everywhere && matches!(role, RoleRef::Role(_)) {
            faults.within(Step::Field("roleRef"), |faults| faults.unsupported("kind", "Role", "ClusterRole"));
        }
        for (index, subject) in subjects.iter().enumerate() {
            if is_everywhere && matches!(subject, Subject::ServiceAccount { namespace: None, .. }) {
                faults.item("subjects", index, |faults| faults.add("namespace", Problem::NoNamespace));
            }
        }
        faults.none_or(Self { namespace, name, role, subjects })
    }
}

impl RoleRef {
    /// The reference that a binding's `roleRef` is; an empty API group is the usual one.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(api_group: &str, kind: &str, name: Text) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        if !matches!(api_group, "" | API_GROUP) {
            faults.unsupported("apiGroup", api_group, API_GROUP);
        }
        faults.segment("name", &name);
        let role = match kind {
            "Role" => Self::Role(name),
            "ClusterRole" => Self::ClusterRole(name),
            _ => {
                faults.unsupported("kind", kind, "Role or ClusterRole");
                Self::ClusterRole(name)
            }
        };
        faults.none_or(role)
    }
}

impl Subject {
    /// The subject that an item of a binding's `subjects` is. An empty API group is the usual one of the kind, and the
    /// namespace of users and groups means nothing.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(api_group: &str, kind: &str, namespace: &str, name: Text) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        if name.is_empty() {
            faults.add("name", Problem::Required);
        }
        let usual_group = if kind == "ServiceAccount" { "" } else { API_GROUP };
        if !api_group.is_empty() && api_group != usual_group {
            faults.unsupported("apiGroup", api_group, if usual_group.is_empty() { "\"\"" } else { usual_group });
        }
        let subject = match kind {
            "User" => Self::User(name),
            "Group" => Self::Group(name),
            "ServiceAccount" => {
                if !name.is_empty() && !is_dns_subdomain(&name) {
                    faults.add("name", Problem::NotDnsSubdomain(name.clone()));
                }
                Self::ServiceAccount { namespace: (!namespace.is_empty()).then(|| namespace.into()), name }
            }
            _ => {
                faults.unsupported("kind", kind, "User, Group or ServiceAccount");
                Self::User(name)
            }
        };
        faults.none_or(subject)
    }
}

/// Gathers faults at a place that it follows down.
#[derive(Default)]
struct Faults {
    place: Vec<Step>,
    found: Vec<Fault>,
}

impl Faults {
    fn none_or<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
    }

    fn within(&mut self, step: Step, check: impl FnOnce(&mut Self)) {
        self.place.push(step);
        check(self);
        self.place.pop();
    }

    fn item(&mut self, field: &'static str, index: usize, check: impl FnOnce(&mut Self)) {
        self.within(Step::Field(field), |faults| faults.within(Step::Index(index), check));
    }

    fn add(&mut self, field: &'static str, problem: Problem) {
        let mut place = self.place.clone();
        place.push(Step::Field(field));
        self.found.push(Fault { place, problem });
    }

    fn unsupported(&mut self, field: &'static str, value: &str, supported: &'static str) {
        self.add(field, Problem::NotSupported { value: value.to_owned(), supported });
    }

    fn metadata(&mut self, namespace: Option<&Text>, name: &Text) {
        self.within(Step::Field("metadata"), |faults| {
            faults.segment("name", name);
            match namespace {
                Some(namespace) if namespace.is_empty() => faults.add("namespace", Problem::Required),
                Some(namespace) if !is_dns_label(namespace) => faults.add("namespace", Problem::NotDnsLabel(namespace.clone())),
                _ => {}
            }
        });
    }

    fn segment(&mut self, field: &'static str, name: &Text) {
        if name.is_empty() {
            self.add(field, Problem::Required);
        } else if !is_path_segment(name) {
            self.add(field, Problem::NotPathSegment(name.clone()));
        }
    }

    fn rules(&mut self, rules: &[PolicyRule], in_namespace: bool) {
        for (index, rule) in rules.iter().enumerate() {
            self.item("rules", index, |faults| faults.rule(rule, in_namespace));
        }
    }

    fn rule(&mut self, rule: &PolicyRule, in_namespace: bool) {
        let PolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule;
        if verbs.is_empty() {
            self.add("verbs", Problem::NoVerbs);
        }
        if non_resource_urls.is_empty() {
            if api_groups.is_empty() {
                self.add("apiGroups", Problem::NoApiGroups);
            }
            if resources.is_empty() {
                self.add("resources", Problem::NoResources);
            }
            return;
        }
        if in_namespace {
            self.add("nonResourceURLs", Problem::PathsInNamespace);
        }
        if !(api_groups.is_empty() && resources.is_empty() && resource_names.is_empty()) {
            self.add("nonResourceURLs", Problem::PathsAndResources);
        }
    }

    fn selectors(&mut self, selectors: &[LabelSelector]) {
        const SELECTORS: &str = "clusterRoleSelectors";
        if selectors.is_empty() {
            self.add(SELECTORS, Problem::NoSelectors);
        }
        for (index, selector) in selectors.iter().enumerate() {
            self.item(SELECTORS, index, |faults| faults.selector(selector));
        }
    }

    fn selector(&mut self, selector: &LabelSelector) {
        self.labels("matchLabels", &selector.labels);
        for (index, requirement) in selector.expressions.iter().enumerate() {
            self.item("matchExpressions", index, |faults| {
                let about_values = matches!(requirement.operator, Operator::In | Operator::NotIn);
                match (about_values, requirement.values.is_empty()) {
                    (true, true) => faults.add("values", Problem::NoValues),
                    (false, false) => faults.add("values", Problem::Values),
                    _ => {}
                }
                if !is_label_key(&requirement.key) {
                    faults.add("key", Problem::NotLabelKey(requirement.key.clone()));
                }
                faults.values("values", requirement.values.iter());
            });
        }
    }

    fn labels(&mut self, field: &'static str, labels: &BTreeMap<Text, Text>) {
        for key in labels.keys().filter(|key| !is_label_key(key)) {
            self.add(field, Problem::NotLabelKey(key.clone()));
        }
        self.values(field, labels.values());
    }

    fn values<'a>(&mut self, field: &'static str, values: impl Iterator<Item = &'a Text>) {
        for value in values.filter(|value| !is_label_value(value)) {
            self.add(field, Problem::NotLabelValue(value.clone()));
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.place.iter().enumerate() {
            match step {
                Step::Field(name) if depth == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        write!(f, ": {}", self.problem)
    }
}

impl Error for Fault {}

#[cfg(test)]
mod tests;
