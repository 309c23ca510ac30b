//! Kubernetes RBAC, evaluated here: from roles and bindings to a decision with the binding and rule that made it.
//!
//! Pure: no I/O, no clock, no async runtime. Objects are made by constructors that refuse what kube-apiserver refuses, a
//! [`World`] indexes them by subject, and [`World::decide`] answers as kube-apiserver's RBAC authorizer does
//! (`plugin/pkg/auth/authorizer/rbac` and `pkg/apis/rbac/v1/evaluation_helpers.go` of Kubernetes).

mod aggregate;
mod check;
mod decision;
mod glance;
mod labels;
mod model;
mod near;
mod rule;
mod syntax;
mod world;

pub use check::{Fault, Problem, Step};
pub use decision::{Allowed, Decision};
pub use labels::{LabelSelector, Operator, Requirement};
pub use model::{AggregationRule, ClusterRole, ClusterRoleBinding, Object, PolicyRule, Role, RoleBinding, RoleRef, Subject, Text};
pub use near::{Near, Shortfall};
pub use world::{Aggregation, Binding, World};
