//! kube-oidc-proxy: authenticates users of an OpenID Connect issuer in front of a kube-apiserver, and tells it who they are by
//! impersonation.
//!
//! Flags become settings, settings open files, and then a gate, an upstream and listeners are put together. Nothing is
//! bound before everything is known to be right.

mod flags;
mod program;
mod settings;

use std::{env, process::ExitCode};

use command::Version;
use flags::{Options, PROGRAM};

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    PROGRAM.main(told, program::run)
}

/// What is only to be printed.
fn told(options: &Options) -> Option<String> {
    let (system, machine) = (env::consts::OS, env::consts::ARCH);
    match options.version {
        _ if options.help => Some(PROGRAM.help()),
        Version::Plain | Version::Raw => {
            Some(format!("kube-oidc-proxy version: version.Info{{GitVersion:\"{VERSION}\", Platform:\"{system}/{machine}\"}}\n"))
        }
        Version::Run | Version::Changed => None,
    }
}
