//! Kubernetes RBAC, evaluated here: from roles and bindings to a decision with the binding and rule that made it.
//!
//! Pure: no I/O, no clock, no async runtime. Objects are made by constructors that refuse what kube-apiserver refuses, a
//! [`World`] indexes them by subject, and [`World::decide`] answers as kube-apiserver's RBAC authorizer does
//! (`plugin/pkg/auth/authorizer/rbac` and `pkg/apis/rbac/v1/evaluation_helpers.go` of Kubernetes).
//!
//! ```
//! # fn main() -> Result<(), Vec<rbac::Fault>> {
//! use rbac::{Aggregation, ClusterRole, Object, PolicyRule, RoleBinding, RoleRef, Subject, World};
//! use request::{Attributes, User};
//!
//! let rule = PolicyRule { verbs: vec!["get".into()], non_resource_urls: vec!["/metrics".into()], ..PolicyRule::default() };
//! let role = ClusterRole::new("reader".into(), Default::default(), vec![rule], None)?;
//! let prometheus = Subject::new("", "ServiceAccount", "monitoring", "prometheus".into())?;
//! let binding = RoleBinding::new(None, "prometheus".into(), RoleRef::ClusterRole("reader".into()), vec![prometheus])?;
//! let world = World::new([Object::ClusterRole(role), Object::RoleBinding(binding)], Aggregation::Resolved);
//!
//! let user = User { name: "system:serviceaccount:monitoring:prometheus".into(), ..User::default() };
//! let scrape = Attributes::NonResource { verb: "get".into(), path: "/metrics".into() };
//! let decision = world.decide(&user, &scrape);
//! assert!(decision.is_allowed());
//! assert_eq!(
//!     decision.to_string(),
//!     r#"RBAC: allowed by ClusterRoleBinding "prometheus" of ClusterRole "reader" to ServiceAccount "prometheus/monitoring""#
//! );
//! # Ok(())
//! # }
//! ```

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
pub use model::{AggregationRule, ClusterRole, Object, PolicyRule, Role, RoleBinding, RoleRef, Subject, Text};
pub use near::{Near, Shortfall};
pub use syntax::{is_dns_label, is_dns_subdomain};
pub use world::{Aggregation, Binding, World};
