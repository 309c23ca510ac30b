use std::{collections::BTreeMap, sync::Arc};

use crate::LabelSelector;

/// A string of a policy; a [`World`](crate::World) keeps equal ones once.
pub type Text = Arc<str>;

/// An object of `rbac.authorization.k8s.io/v1`, as far as decisions depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Role.
    Role(Role),
    /// A ClusterRole.
    ClusterRole(ClusterRole),
    /// A RoleBinding or ClusterRoleBinding.
    RoleBinding(RoleBinding),
}

/// Rules for one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Bindings elsewhere cannot refer to it.
    pub namespace: Text,
    /// Unique among the namespace's roles.
    pub name: Text,
    /// Each allows something by itself.
    pub rules: Vec<PolicyRule>,
}

/// Rules that any binding may refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRole {
    /// Unique among cluster roles.
    pub name: Text,
    /// What aggregations select it by.
    pub labels: BTreeMap<Text, Text>,
    /// Each allows something by itself.
    pub rules: Vec<PolicyRule>,
    /// Whose rules replace the role's own.
    pub aggregation: Option<AggregationRule>,
}

/// The cluster roles that an aggregate has its rules from: those that any of the selectors selects, without itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AggregationRule {
    /// `clusterRoleSelectors`.
    pub selectors: Vec<LabelSelector>,
}

/// Gives a role to subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleBinding {
    /// Where the role counts; `None`, in a ClusterRoleBinding: everywhere and for what is in no namespace.
    pub namespace: Option<Text>,
    /// Unique among the namespace's bindings, or among cluster role bindings.
    pub name: Text,
    /// What is given.
    pub role: RoleRef,
    /// To whom.
    pub subjects: Vec<Subject>,
}

/// The role that a binding names; it need not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RoleRef {
    /// A role of the binding's namespace.
    Role(Text),
    /// A cluster role.
    ClusterRole(Text),
}

/// Whom a binding names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The user of exactly this name.
    User(Text),
    /// The users with exactly this group.
    Group(Text),
    /// The user `system:serviceaccount:NAMESPACE:NAME`.
    ServiceAccount {
        /// `None`: the binding's. A cluster role binding has none to lend: there the subject is nobody.
        namespace: Option<Text>,
        /// The account's name within its namespace.
        name: Text,
    },
}

/// What a role allows: any of the verbs on any of the resources, or on any of the paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicyRule {
    /// `*` is any verb.
    pub verbs: Vec<Text>,
    /// `*` is any group, the empty string the core group.
    pub api_groups: Vec<Text>,
    /// `*` is anything, `pods` the resource, `pods/log` its subresource, `*/log` that subresource of anything.
    pub resources: Vec<Text>,
    /// None: all names, and requests without a name.
    pub resource_names: Vec<Text>,
    /// A path, or with stars at its end the beginning of paths.
    pub non_resource_urls: Vec<Text>,
}

impl RoleRef {
    /// The kind that a manifest names.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Role(_) => "Role",
            Self::ClusterRole(_) => "ClusterRole",
        }
    }

    /// The role's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Role(name) | Self::ClusterRole(name) => name,
        }
    }
}
