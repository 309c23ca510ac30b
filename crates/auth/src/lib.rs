//! Who is asking, and may they: the [`RequestGate`] authenticates by client certificate and by bearer token, asks the
//! API server for permission, and says who the user is.
//!
//! The [`ImpersonationGate`] authenticates alone, and says who the user is in the API server's own words.
//!
//! What others found out is remembered in one kind of cache, bounded and single-flight; what cannot be found out is
//! refused.

mod authn;
mod authz;
mod cached;
mod clock;
mod explain;
mod failure;
mod gate;
mod identity;
mod impersonation;
mod keys;
#[cfg(test)]
mod test_api;

pub use authn::oidc::{Algorithm, GroupsElsewhere, KeySet, KeySetError, OidcSettings, TokenError, TokenRules, Verified, VerifiedToken};
pub use authz::Policy;
pub use explain::{Explanation, Judgement, Step};
pub use gate::{GateError, GateSettings, Method, Mode, RequestGate};
pub use identity::IdentityHeaders;
pub use impersonation::{Extras, ImpersonationGate, ImpersonationSettings};
