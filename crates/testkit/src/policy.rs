//! Random RBAC policies that change, and questions about them: as manifests for a real API server, as objects for the
//! evaluator, and with a reference that says what is right in the simplest way.

mod generate;
mod manifest;
mod question;
mod random;
mod reference;

pub use generate::{Change, Policy};
pub use manifest::{apply_order, object};
pub use question::Question;
pub use random::Random;
pub use reference::{Mutation, Reference};

/// The namespaces that generated policies live in.
pub const NAMESPACES: [&str; 3] = ["agree-x", "agree-y", "agree-z"];

/// The API group and version of the four kinds.
pub const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
