use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use request::{Attributes, User};

use crate::{
    Allowed, Decision, Object, PolicyRule, RoleRef, Subject, Text,
    aggregate::{self, Candidate},
    glance::Glance,
};

/// All roles and bindings of one moment, ready to be asked.
///
/// Bindings are found by those whom they name: a decision costs what the user's own bindings cost, however many there
/// are for others. Nothing is changed in a world; another moment is another world.
#[derive(Debug, Default)]
pub struct World {
    users: HashMap<Text, Held>,
    groups: HashMap<Text, Held>,
    bindings: Vec<Arc<Binding>>,
}

/// Where the rules of a cluster role with an `aggregationRule` come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// From its `rules`, which a controller has written.
    AsStored,
    /// From the roles that it selects, as the controller would write them in the end. An aggregate whose sources yield
    /// no rules keeps its own. Of aggregates that select each other in a circle the rules of their own count for
    /// nothing: what a controller makes of them depends on its timing.
    Resolved,
}

/// A role binding or cluster role binding, with the role that it leads to.
#[derive(Debug)]
pub struct Binding {
    /// `None`: a cluster role binding.
    pub namespace: Option<Text>,
    /// Unique among the bindings of its kind and namespace.
    pub name: Text,
    /// What is given.
    pub role: RoleRef,
    /// To whom.
    pub subjects: Vec<Subject>,
    /// `None`: there is no such role.
    rules: Option<Arc<[Listed]>>,
}

/// A rule of a role, which is shared by the role's bindings; equal rules are kept once.
#[derive(Debug)]
struct Listed {
    glance: Glance,
    rule: Arc<PolicyRule>,
}

/// A role's rules while a world is made.
pub(crate) type Rules = Arc<[Arc<PolicyRule>]>;

/// What one user or group holds.
#[derive(Debug, Default)]
struct Held {
    everywhere: Vec<Hold>,
    within: HashMap<Text, Vec<Hold>>,
}

#[derive(Debug)]
struct Hold {
    /// At all of the role's rules.
    glance: Glance,
    binding: Arc<Binding>,
    /// The subject that makes it the holder's.
    subject: usize,
}

/// Members may do everything, whatever roles and bindings say: kube-apiserver allows them before it asks RBAC.
pub(crate) const SUPERUSERS: &str = "system:masters";

impl World {
    /// The world of the objects. Of two with the same kind, namespace and name the later counts, as if both were applied.
    pub fn new(objects: impl IntoIterator<Item = Object>, aggregation: Aggregation) -> Self {
        let mut builder = Builder::default();
        for object in objects {
            builder.add(object);
        }
        if aggregation == Aggregation::Resolved {
            aggregate::resolve(&mut builder.cluster_roles);
        }
        builder.build()
    }

    /// Whether the user may do what is asked for. Allocates nothing, unless a binding of the user's leads nowhere and
    /// none allows it.
    pub fn decide<'w>(&'w self, user: &User, attributes: &Attributes) -> Decision<'w> {
        if user.groups.iter().any(|group| group == SUPERUSERS) {
            return Decision::Superuser;
        }
        match self.grants(user, attributes).next() {
            Some(allowed) => Decision::Allowed(allowed),
            None => {
                let holds = self.holds(user, namespace(attributes));
                Decision::NoOpinion { dangling: holds.map(|hold| &*hold.binding).filter(|binding| binding.is_dangling()).collect() }
            }
        }
    }

    /// All bindings that allow what is asked for, each with its first rule that does, and more than once when it names
    /// the user more than once.
    pub fn grants<'w, 'a>(&'w self, user: &'a User, attributes: &'a Attributes) -> impl Iterator<Item = Allowed<'w>> + use<'w, 'a> {
        let asked = Glance::at_request(attributes);
        self.holds(user, namespace(attributes)).filter(move |hold| hold.glance.may_allow(asked)).filter_map(move |hold| {
            let mut rules = hold.binding.rules.as_deref()?.iter().enumerate();
            let (rule_index, listed) = rules.find(|(_, listed)| listed.glance.may_allow(asked) && listed.rule.allows(attributes))?;
            let subject = hold.binding.subjects.get(hold.subject)?;
            Some(Allowed { binding: &hold.binding, subject, rule: &listed.rule, rule_index })
        })
    }

    /// All bindings: cluster role bindings first, then by namespace, by name.
    pub fn bindings(&self) -> impl ExactSizeIterator<Item = &Binding> {
        self.bindings.iter().map(|binding| &**binding)
    }

    fn holds<'w, 'a>(&'w self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'w Hold> + use<'w, 'a> {
        let by_name = self.users.get(user.name.as_str()).into_iter();
        let by_groups = user.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        by_name.chain(by_groups).flat_map(move |held| {
            // Without a namespace there is nothing within it: no name of a namespace is empty.
            let within = if namespace.is_empty() { None } else { held.within.get(namespace) };
            held.everywhere.iter().chain(within.into_iter().flatten())
        })
    }
}

impl Binding {
    /// Whether the role that it names does not exist.
    pub fn is_dangling(&self) -> bool {
        self.rules.is_none()
    }

    /// The kind that a manifest names.
    pub fn kind(&self) -> &'static str {
        if self.namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" }
    }

    /// The role's rules.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &PolicyRule> {
        self.rules.as_deref().unwrap_or_default().iter().map(|listed| &*listed.rule)
    }

    /// Whether the binding counts for what is asked for: in its namespace, or everywhere.
    pub(crate) fn counts_for(&self, attributes: &Attributes) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| !namespace.is_empty() && namespace == self::namespace(attributes))
    }

    /// Whether one of the subjects is the user.
    pub(crate) fn names(&self, user: &User) -> bool {
        self.subjects.iter().any(|subject| match Holder::of(subject, self.namespace.as_ref()) {
            Some(Holder::User(name)) => *name == *user.name,
            Some(Holder::Group(name)) => user.groups.iter().any(|group| *name == **group),
            None => false,
        })
    }
}

fn namespace(attributes: &Attributes) -> &str {
    match attributes {
        Attributes::Resource(asked) => &asked.namespace,
        Attributes::NonResource { .. } => "",
    }
}

/// Whom a subject means.
enum Holder {
    User(Text),
    Group(Text),
}

impl Holder {
    fn of(subject: &Subject, binding_namespace: Option<&Text>) -> Option<Self> {
        match subject {
            Subject::User(name) => Some(Self::User(name.clone())),
            Subject::Group(name) => Some(Self::Group(name.clone())),
            Subject::ServiceAccount { namespace, name } => {
                let namespace = namespace.as_ref().or(binding_namespace).filter(|namespace| !namespace.is_empty())?;
                Some(Self::User(format!("system:serviceaccount:{namespace}:{name}").into()))
            }
        }
    }
}

#[derive(Default)]
struct Builder {
    pool: Pool,
    roles: HashMap<(Text, Text), Rules>,
    cluster_roles: BTreeMap<Text, Candidate>,
    bindings: BTreeMap<(Option<Text>, Text), (RoleRef, Vec<Subject>)>,
}

impl Builder {
    fn add(&mut self, object: Object) {
        let pool = &mut self.pool;
        match object {
            Object::Role(role) => {
                let rules = role.rules.into_iter().map(|rule| pool.rule(rule)).collect();
                self.roles.insert((pool.text(role.namespace), pool.text(role.name)), rules);
            }
            Object::ClusterRole(role) => {
                let rules = role.rules.into_iter().map(|rule| pool.rule(rule)).collect();
                let candidate = Candidate { labels: role.labels, aggregation: role.aggregation, rules };
                self.cluster_roles.insert(pool.text(role.name), candidate);
            }
            Object::RoleBinding(binding) => {
                let key = (binding.namespace.map(|namespace| pool.text(namespace)), pool.text(binding.name));
                self.bindings.insert(key, (pool.role_ref(binding.role), pool.subjects(binding.subjects)));
            }
        }
    }

    fn build(mut self) -> World {
        let mut world = World::default();
        let roles: HashMap<(Text, Text), Arc<[Listed]>> = self.roles.into_iter().map(|(key, rules)| (key, listed(&rules))).collect();
        let cluster_roles: HashMap<Text, Arc<[Listed]>> =
            self.cluster_roles.into_iter().map(|(name, role)| (name, listed(&role.rules))).collect();
        for ((namespace, name), (role, subjects)) in self.bindings {
            let rules = match (&role, &namespace) {
                (RoleRef::ClusterRole(name), _) => cluster_roles.get(name).cloned(),
                (RoleRef::Role(name), Some(namespace)) => roles.get(&(namespace.clone(), name.clone())).cloned(),
                (RoleRef::Role(_), None) => None,
            };
            let binding = Arc::new(Binding { namespace, name, role, subjects, rules });
            world.index(&binding, &mut self.pool);
            world.bindings.push(binding);
        }
        world.settle();
        world
    }
}

fn listed(rules: &Rules) -> Arc<[Listed]> {
    rules.iter().map(|rule| Listed { glance: Glance::at_rule(rule), rule: rule.clone() }).collect()
}

impl World {
    fn index(&mut self, binding: &Arc<Binding>, pool: &mut Pool) {
        let glances = binding.rules.iter().flat_map(|rules| rules.iter()).map(|listed| listed.glance);
        let glance = glances.fold(Glance::default(), Glance::union);
        for (subject, named) in binding.subjects.iter().enumerate() {
            let held = match Holder::of(named, binding.namespace.as_ref()) {
                Some(Holder::User(name)) => self.users.entry(pool.text(name)).or_default(),
                Some(Holder::Group(name)) => self.groups.entry(pool.text(name)).or_default(),
                None => continue,
            };
            let holds = match &binding.namespace {
                Some(namespace) => held.within.entry(namespace.clone()).or_default(),
                None => &mut held.everywhere,
            };
            holds.push(Hold { glance, binding: binding.clone(), subject });
        }
    }

    /// Gives back what growing left over: a world is kept and does not grow.
    fn settle(&mut self) {
        self.bindings.shrink_to_fit();
        for held in self.users.values_mut().chain(self.groups.values_mut()) {
            held.everywhere.shrink_to_fit();
            held.within.shrink_to_fit();
            held.within.values_mut().for_each(Vec::shrink_to_fit);
        }
    }
}

/// Keeps equal things once.
#[derive(Default)]
struct Pool {
    texts: HashSet<Text>,
    rules: HashSet<Arc<PolicyRule>>,
}

impl Pool {
    fn text(&mut self, text: Text) -> Text {
        match self.texts.get(&text) {
            Some(known) => known.clone(),
            None => {
                self.texts.insert(text.clone());
                text
            }
        }
    }

    fn rule(&mut self, rule: PolicyRule) -> Arc<PolicyRule> {
        if let Some(known) = self.rules.get(&rule) {
            return known.clone();
        }
        let PolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule;
        let [verbs, api_groups, resources, resource_names, non_resource_urls] =
            [verbs, api_groups, resources, resource_names, non_resource_urls].map(|list| self.all(list, Self::text));
        let rule = Arc::new(PolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls });
        self.rules.insert(rule.clone());
        rule
    }

    fn role_ref(&mut self, role: RoleRef) -> RoleRef {
        match role {
            RoleRef::Role(name) => RoleRef::Role(self.text(name)),
            RoleRef::ClusterRole(name) => RoleRef::ClusterRole(self.text(name)),
        }
    }

    fn subjects(&mut self, subjects: Vec<Subject>) -> Vec<Subject> {
        self.all(subjects, |pool, subject| match subject {
            Subject::User(name) => Subject::User(pool.text(name)),
            Subject::Group(name) => Subject::Group(pool.text(name)),
            Subject::ServiceAccount { namespace, name } => {
                Subject::ServiceAccount { namespace: namespace.map(|namespace| pool.text(namespace)), name: pool.text(name) }
            }
        })
    }

    fn all<T>(&mut self, items: Vec<T>, mut keep: impl FnMut(&mut Self, T) -> T) -> Vec<T> {
        let mut items: Vec<T> = items.into_iter().map(|item| keep(self, item)).collect();
        items.shrink_to_fit();
        items
    }
}

#[cfg(test)]
mod tests;
