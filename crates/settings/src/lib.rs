//! Everything that is read from files: configuration, certificates, keys, and how they change while the program runs.
//!
//! A file is read, bounded, into [`Contents`], parsed once into a finished value, and held by a [`Watched`] that
//! replaces the value when the bytes change and the new ones are valid. What is broken later never costs the value
//! that was good before. Every error names the flag, the file and, where it is known, the place in it.

mod anchor;
pub mod client_ca;
pub mod config;
mod error;
mod files;
mod path_lists;
pub mod pem;
pub mod serving;
#[cfg(test)]
mod test_certificates;
mod todays_roots;
pub mod token_auth_file;
pub mod upstream_roots;
mod watch;
mod watched;
pub mod yaml;

pub use anchor::Anchor;
pub use client_ca::ClientCa;
pub use config::{ConfigFile, ResourceAttributesConfig, StaticRule};
pub use error::{LoadError, Location, ParseError};
pub use files::{Contents, MAX_FILE_BYTES};
pub use path_lists::PathLists;
pub use serving::{ServingPair, now};
pub use todays_roots::{Trust, tls_client};
pub use token_auth_file::TokenAuthFile;
pub use upstream_roots::UpstreamRoots;
pub use watch::watch;
pub use watched::{Reload, Reloadable, Status, Watched, followed};
