//! The words that everyone on the road shares: what was asked, by whom, and what was decided.
//!
//! Pure: no I/O, no clock, no async runtime. A request is read once, into a [`CanonicalRequest`]; a [`Gate`] decides
//! about that value; [`admit`] alone turns it into a [`Permit`]; the upstream takes a permit and nothing else.

mod attributes;
mod canonical;
mod form;
mod gate;
mod path;
mod reason;
mod user;
mod values;

pub use attributes::{Attributes, ResourceAttributes};
pub use canonical::{CanonicalRequest, Reads};
pub use form::{Form, NoForm};
pub use gate::{Decision, Gate, Grant, OpenDoor, Peer, Permit, admit};
pub use path::{OddPaths, Path, PathFault, escape};
pub use reason::{LogLevel, Reason, Refusal, Row, Text};
pub use user::User;
pub use values::ValueNames;
