use std::collections::{BTreeMap, HashMap};

use request::{Attributes, ResourceAttributes, User};
use serde_json::Value;

use super::Question;

/// What Kubernetes' documentation says about RBAC, in the simplest way: every binding is looked at for every question.
///
/// It reads manifests itself and shares nothing with the evaluator that it judges. With a [`Mutation`] it is wrong in one
/// way, for tests of whether that would be noticed.
#[derive(Clone, Debug)]
pub struct Reference {
    roles: HashMap<(String, String), Vec<Rule>>,
    cluster_roles: BTreeMap<String, ClusterRole>,
    bindings: Vec<Binding>,
    mutation: Option<Mutation>,
}

/// A way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it says")]
pub enum Mutation {
    StarIsNoVerb,
    StarIsNoApiGroup,
    StarIsNoResource,
    StarCoversNoSubresources,
    StarSlashIsLiteral,
    StarSlashMatchesEnds,
    ResourceCoversItsSubresources,
    SubresourceIsIgnored,
    SlashStarIsAnySubresource,
    ResourceNamesAreIgnored,
    StarIsAnyName,
    NoNameIsAnyName,
    PathStarIsLiteral,
    PathStarMatchesTheParent,
    OneStarIsTrimmed,
    InnerStarsMatch,
    ApiGroupsAreIgnored,
    OnlyTheFirstRule,
    OnlyTheFirstSubject,
    OnlyTheFirstGroup,
    RoleBindingsCountEverywhere,
    RoleBindingsCountWithoutANamespace,
    RoleBindingsGrantPaths,
    UsersAreGroups,
    GroupsAreUsers,
    StarIsEveryUser,
    StarIsEveryGroup,
    AccountsHaveTheRequestsNamespace,
    AccountsNeedANamespace,
    AccountsNamespaceIsIgnored,
    AccountsAreInGroupsByName,
    DanglingDenies,
    RolesAreClusterRolesToo,
    ClusterRolesAreRolesToo,
    RolesOfAnyNamespace,
    MastersAreNobody,
    TheUserMastersIsToo,
    AggregatesKeepTheirOwn,
    AggregatesLoseTheirOwn,
    AggregatesOfPlainRolesOnly,
    AllSelectorsMustSelect,
    ExpressionsAreIgnored,
    NotInNeedsTheLabel,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    paths: Vec<String>,
}

#[derive(Clone, Debug)]
struct ClusterRole {
    labels: BTreeMap<String, String>,
    selectors: Option<Vec<Value>>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Binding {
    namespace: Option<String>,
    role_kind: String,
    role: String,
    subjects: Vec<Subject>,
}

#[derive(Clone, Debug)]
struct Subject {
    kind: String,
    namespace: String,
    name: String,
}

impl Mutation {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::StarIsNoVerb,
        Self::StarIsNoApiGroup,
        Self::StarIsNoResource,
        Self::StarCoversNoSubresources,
        Self::StarSlashIsLiteral,
        Self::StarSlashMatchesEnds,
        Self::ResourceCoversItsSubresources,
        Self::SubresourceIsIgnored,
        Self::SlashStarIsAnySubresource,
        Self::ResourceNamesAreIgnored,
        Self::StarIsAnyName,
        Self::NoNameIsAnyName,
        Self::PathStarIsLiteral,
        Self::PathStarMatchesTheParent,
        Self::OneStarIsTrimmed,
        Self::InnerStarsMatch,
        Self::ApiGroupsAreIgnored,
        Self::OnlyTheFirstRule,
        Self::OnlyTheFirstSubject,
        Self::OnlyTheFirstGroup,
        Self::RoleBindingsCountEverywhere,
        Self::RoleBindingsCountWithoutANamespace,
        Self::RoleBindingsGrantPaths,
        Self::UsersAreGroups,
        Self::GroupsAreUsers,
        Self::StarIsEveryUser,
        Self::StarIsEveryGroup,
        Self::AccountsHaveTheRequestsNamespace,
        Self::AccountsNeedANamespace,
        Self::AccountsNamespaceIsIgnored,
        Self::AccountsAreInGroupsByName,
        Self::DanglingDenies,
        Self::RolesAreClusterRolesToo,
        Self::ClusterRolesAreRolesToo,
        Self::RolesOfAnyNamespace,
        Self::MastersAreNobody,
        Self::TheUserMastersIsToo,
        Self::AggregatesKeepTheirOwn,
        Self::AggregatesLoseTheirOwn,
        Self::AggregatesOfPlainRolesOnly,
        Self::AllSelectorsMustSelect,
        Self::ExpressionsAreIgnored,
        Self::NotInNeedsTheLabel,
    ];
}

impl Reference {
    /// The reference for manifests, whose aggregates it fills in.
    pub fn new<'a>(manifests: impl IntoIterator<Item = &'a Value>, mutation: Option<Mutation>) -> Self {
        let mut reference = Self { roles: HashMap::new(), cluster_roles: BTreeMap::new(), bindings: Vec::new(), mutation };
        for manifest in manifests {
            reference.read(manifest);
        }
        reference.aggregate();
        reference
    }

    /// Whether the user may.
    pub fn allows(&self, question: &Question) -> bool {
        let Question { user, attributes } = question;
        if !self.is(Mutation::MastersAreNobody) && user.groups.iter().any(|group| group == "system:masters") {
            return true;
        }
        if self.is(Mutation::TheUserMastersIsToo) && user.name == "system:masters" {
            return true;
        }
        let namespace = match attributes {
            Attributes::Resource(asked) => asked.namespace.as_str(),
            Attributes::NonResource { .. } => "",
        };
        for binding in &self.bindings {
            if !self.counts(binding, namespace, attributes) || !self.names(binding, user, namespace) {
                continue;
            }
            match self.rules_of(binding) {
                Some(rules) => {
                    let considered = if self.is(Mutation::OnlyTheFirstRule) { rules.len().min(1) } else { rules.len() };
                    if rules[..considered].iter().any(|rule| self.rule_allows(rule, attributes)) {
                        return true;
                    }
                }
                None if self.is(Mutation::DanglingDenies) => return false,
                None => {}
            }
        }
        false
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn counts(&self, binding: &Binding, namespace: &str, attributes: &Attributes) -> bool {
        let Some(own) = &binding.namespace else { return true };
        let resource = matches!(attributes, Attributes::Resource(_));
        own == namespace
            || resource && !namespace.is_empty() && self.is(Mutation::RoleBindingsCountEverywhere)
            || resource && namespace.is_empty() && self.is(Mutation::RoleBindingsCountWithoutANamespace)
            || !resource && self.is(Mutation::RoleBindingsGrantPaths)
    }

    fn names(&self, binding: &Binding, user: &User, namespace: &str) -> bool {
        let considered = if self.is(Mutation::OnlyTheFirstSubject) { binding.subjects.len().min(1) } else { binding.subjects.len() };
        binding.subjects[..considered].iter().any(|subject| self.means(subject, binding, user, namespace))
    }

    fn means(&self, subject: &Subject, binding: &Binding, user: &User, namespace: &str) -> bool {
        let Subject { kind, namespace: own, name } = subject;
        let considered = if self.is(Mutation::OnlyTheFirstGroup) { user.groups.len().min(1) } else { user.groups.len() };
        let in_group = |name: &str| {
            user.groups[..considered].iter().any(|group| group == name)
                || self.is(Mutation::AccountsAreInGroupsByName)
                    && user.name.starts_with("system:serviceaccount:")
                    && (name == "system:serviceaccounts" || name == "system:authenticated")
        };
        match kind.as_str() {
            "User" => {
                user.name == *name
                    || self.is(Mutation::UsersAreGroups) && in_group(name)
                    || self.is(Mutation::StarIsEveryUser) && name == "*"
            }
            "Group" => {
                in_group(name)
                    || self.is(Mutation::GroupsAreUsers) && user.name == *name
                    || self.is(Mutation::StarIsEveryGroup) && name == "*"
            }
            _ => {
                let namespace = match &binding.namespace {
                    _ if !own.is_empty() && self.is(Mutation::AccountsHaveTheRequestsNamespace) => namespace,
                    _ if !own.is_empty() => own.as_str(),
                    Some(_) if self.is(Mutation::AccountsNeedANamespace) => "",
                    Some(namespace) => namespace.as_str(),
                    None => "",
                };
                if self.is(Mutation::AccountsNamespaceIsIgnored) {
                    return user.name.starts_with("system:serviceaccount:") && user.name.ends_with(&format!(":{name}"));
                }
                !namespace.is_empty() && user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
        }
    }

    fn rules_of(&self, binding: &Binding) -> Option<&Vec<Rule>> {
        let of_cluster = || self.cluster_roles.get(&binding.role).map(|role| &role.rules);
        let namespace = binding.namespace.clone().unwrap_or_default();
        let of_namespace = || self.roles.get(&(namespace, binding.role.clone()));
        let of_any_namespace = || self.roles.iter().find(|((_, name), _)| *name == binding.role).map(|(_, rules)| rules);
        match binding.role_kind.as_str() {
            "ClusterRole" if self.is(Mutation::RolesAreClusterRolesToo) => of_cluster().or_else(of_namespace),
            "ClusterRole" => of_cluster(),
            _ if self.is(Mutation::ClusterRolesAreRolesToo) => of_namespace().or_else(of_cluster),
            _ if self.is(Mutation::RolesOfAnyNamespace) => of_namespace().or_else(of_any_namespace),
            _ => of_namespace(),
        }
    }

    fn rule_allows(&self, rule: &Rule, attributes: &Attributes) -> bool {
        match attributes {
            Attributes::Resource(asked) => {
                self.is_among(&rule.verbs, &asked.verb, Mutation::StarIsNoVerb)
                    && (self.is(Mutation::ApiGroupsAreIgnored) || self.is_among(&rule.groups, &asked.group, Mutation::StarIsNoApiGroup))
                    && rule.resources.iter().any(|known| self.resource_matches(known, asked))
                    && self.name_matches(&rule.names, &asked.name)
            }
            Attributes::NonResource { verb, path } => {
                self.is_among(&rule.verbs, verb, Mutation::StarIsNoVerb) && rule.paths.iter().any(|known| self.path_matches(known, path))
            }
        }
    }

    fn is_among(&self, known: &[String], wanted: &str, without_star: Mutation) -> bool {
        known.iter().any(|known| known == wanted || known == "*" && !self.is(without_star))
    }

    fn resource_matches(&self, known: &str, asked: &ResourceAttributes) -> bool {
        let (resource, subresource) = (&asked.resource, &asked.subresource);
        let combined = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
        let star_counts = !self.is(Mutation::StarIsNoResource) && (subresource.is_empty() || !self.is(Mutation::StarCoversNoSubresources));
        known == "*" && star_counts
            || *known == combined
            || !subresource.is_empty() && known == format!("*/{subresource}") && !self.is(Mutation::StarSlashIsLiteral)
            || self.is(Mutation::StarSlashMatchesEnds) && known.strip_prefix("*/").is_some_and(|end| combined.ends_with(end))
            || self.is(Mutation::ResourceCoversItsSubresources) && known == resource
            || self.is(Mutation::SubresourceIsIgnored) && known.split('/').next() == Some(resource)
            || self.is(Mutation::SlashStarIsAnySubresource)
                && !subresource.is_empty()
                && known.strip_suffix("/*").is_some_and(|parent| parent == resource || parent == "*")
    }

    fn name_matches(&self, known: &[String], name: &str) -> bool {
        known.is_empty()
            || known.iter().any(|known| known == name || known == "*" && self.is(Mutation::StarIsAnyName))
            || self.is(Mutation::ResourceNamesAreIgnored)
            || self.is(Mutation::NoNameIsAnyName) && name.is_empty()
    }

    fn path_matches(&self, known: &str, path: &str) -> bool {
        if known == path {
            return true;
        }
        if self.is(Mutation::InnerStarsMatch)
            && let Some((start, end)) = known.split_once('*')
            && path.len() >= start.len() + end.len()
            && path.starts_with(start)
            && path.ends_with(end)
        {
            return true;
        }
        if !known.ends_with('*') || self.is(Mutation::PathStarIsLiteral) {
            return false;
        }
        if self.is(Mutation::OneStarIsTrimmed) {
            return path.starts_with(&known[..known.len() - 1]);
        }
        let prefix = known.trim_end_matches('*');
        path.starts_with(prefix) || self.is(Mutation::PathStarMatchesTheParent) && prefix.strip_suffix('/') == Some(path)
    }

    fn read(&mut self, manifest: &Value) {
        let (namespace, name) = (string(&manifest["metadata"]["namespace"]), string(&manifest["metadata"]["name"]));
        let rules = || list(&manifest["rules"]).iter().map(rule).collect();
        match manifest["kind"].as_str() {
            Some("Role") => {
                self.roles.insert((namespace, name), rules());
            }
            Some("ClusterRole") => {
                let selectors = manifest.get("aggregationRule").map(|rule| list(&rule["clusterRoleSelectors"]).to_vec());
                let labels = pairs(&manifest["metadata"]["labels"]);
                self.cluster_roles.insert(name, ClusterRole { labels, selectors, rules: rules() });
            }
            _ => {
                let reference = &manifest["roleRef"];
                let subject = |subject: &Value| Subject {
                    kind: string(&subject["kind"]),
                    namespace: string(&subject["namespace"]),
                    name: string(&subject["name"]),
                };
                self.bindings.push(Binding {
                    namespace: (!namespace.is_empty()).then_some(namespace),
                    role_kind: string(&reference["kind"]),
                    role: string(&reference["name"]),
                    subjects: list(&manifest["subjects"]).iter().map(subject).collect(),
                });
            }
        }
    }

    /// Does what the controller does, aggregate by aggregate, until there is nothing left to do.
    fn aggregate(&mut self) {
        let own = self.cluster_roles.clone();
        // With a mutation it may turn in circles for ever.
        for _ in 0..=own.len() {
            let mut settled = true;
            for name in own.keys() {
                let Some(selectors) = &own[name].selectors else { continue };
                let mut gathered: Vec<Rule> = Vec::new();
                for (source, role) in &self.cluster_roles {
                    let plain_only = self.is(Mutation::AggregatesOfPlainRolesOnly);
                    if source != name && self.selected(selectors, &role.labels) && !(plain_only && role.selectors.is_some()) {
                        let new: Vec<Rule> = role.rules.iter().filter(|rule| !gathered.contains(rule)).cloned().collect();
                        gathered.extend(new);
                    }
                }
                if self.is(Mutation::AggregatesKeepTheirOwn) {
                    gathered.extend(own[name].rules.iter().cloned());
                }
                if gathered.is_empty() && !self.is(Mutation::AggregatesLoseTheirOwn) {
                    gathered.clone_from(&own[name].rules);
                }
                let role = self.cluster_roles.get_mut(name).expect("it was there");
                settled &= role.rules == gathered;
                role.rules = gathered;
            }
            if settled {
                return;
            }
        }
    }

    fn selected(&self, selectors: &[Value], labels: &BTreeMap<String, String>) -> bool {
        let selects = |selector: &Value| {
            pairs(&selector["matchLabels"]).iter().all(|(key, value)| labels.get(key) == Some(value))
                && (self.is(Mutation::ExpressionsAreIgnored)
                    || list(&selector["matchExpressions"]).iter().all(|expression| self.holds(expression, labels)))
        };
        if self.is(Mutation::AllSelectorsMustSelect) { selectors.iter().all(selects) } else { selectors.iter().any(selects) }
    }

    fn holds(&self, expression: &Value, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&string(&expression["key"]));
        let among = value.is_some_and(|value| list(&expression["values"]).iter().any(|known| known == value));
        match expression["operator"].as_str() {
            Some("In") => among,
            Some("NotIn") => !among && (value.is_some() || !self.is(Mutation::NotInNeedsTheLabel)),
            Some("Exists") => value.is_some(),
            _ => value.is_none(),
        }
    }
}

fn rule(rule: &Value) -> Rule {
    let strings = |name: &str| list(&rule[name]).iter().map(string).collect();
    Rule {
        verbs: strings("verbs"),
        groups: strings("apiGroups"),
        resources: strings("resources"),
        names: strings("resourceNames"),
        paths: strings("nonResourceURLs"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn pairs(value: &Value) -> BTreeMap<String, String> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), string(value))).collect()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
