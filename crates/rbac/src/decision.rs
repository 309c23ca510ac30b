use std::fmt;

use crate::{Binding, PolicyRule, Subject};

/// What RBAC says. There is no deny: what nothing allows is another authorizer's to decide.
///
/// Its text is the `status.reason` of kube-apiserver's SubjectAccessReview; empty when it gives none.
#[derive(Clone, Debug)]
pub enum Decision<'w> {
    /// The user is of `system:masters` and may do everything, whatever roles and bindings say.
    Superuser,
    /// A rule allows it.
    Allowed(Allowed<'w>),
    /// Nothing allows it.
    NoOpinion {
        /// The user's bindings that count here and name a role that does not exist; it might have allowed it.
        dangling: Vec<&'w Binding>,
    },
}

/// What allows something.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'w> {
    /// Gives the rule to the subject.
    pub binding: &'w Binding,
    /// Means the user.
    pub subject: &'w Subject,
    /// Allows it.
    pub rule: &'w PolicyRule,
    /// The rule's place in its role.
    pub rule_index: usize,
}

impl Decision<'_> {
    /// Whether the user may.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Superuser | Self::Allowed(_))
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dangling = match self {
            Self::Superuser => return Ok(()),
            Self::Allowed(allowed) => return write!(f, "RBAC: allowed by {allowed}"),
            Self::NoOpinion { dangling } => dangling,
        };
        let mut errors: Vec<String> = Vec::new();
        for binding in dangling {
            let (kind, name) = (binding.role.kind().to_lowercase(), binding.role.name());
            let error = format!("{kind}.rbac.authorization.k8s.io {name:?} not found");
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        match errors.as_slice() {
            [] => Ok(()),
            [error] => write!(f, "rbac: RBAC: {error}"),
            errors => write!(f, "rbac: RBAC: [{}]", errors.join(", ")),
        }
    }
}

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding { name, namespace, role, .. } = self.binding;
        write!(f, "{} \"{name}", self.binding.kind())?;
        if let Some(namespace) = namespace {
            write!(f, "/{namespace}")?;
        }
        write!(f, "\" of {} {:?} to ", role.kind(), role.name())?;
        match self.subject {
            Subject::User(name) => write!(f, "User {name:?}"),
            Subject::Group(name) => write!(f, "Group {name:?}"),
            Subject::ServiceAccount { namespace: own, name } => {
                write!(f, "ServiceAccount \"{name}/{}\"", own.as_ref().or(namespace.as_ref()).map_or("", |namespace| namespace))
            }
        }
    }
}
