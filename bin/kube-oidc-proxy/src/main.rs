//! kube-oidc-proxy: authenticates users of an OpenID Connect issuer in front of a kube-apiserver, and tells it who they are by
//! impersonation.
//!
//! Flags become settings, settings open files, and then a gate, an upstream and listeners are put together. Nothing is
//! bound before everything is known to be right.

mod flags;
mod program;
mod settings;

use std::{env, process::ExitCode};

use command::{Version, complain, print};
use flags::PROGRAM;

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let line = PROGRAM.read(env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect());
    if line.errors.is_empty() {
        if line.options.help {
            return print(&PROGRAM.help());
        }
        if matches!(line.options.version, Version::Plain | Version::Raw) {
            let (system, machine) = (env::consts::OS, env::consts::ARCH);
            return print(&format!("kube-oidc-proxy version: version.Info{{GitVersion:\"{VERSION}\", Platform:\"{system}/{machine}\"}}\n"));
        }
    }
    match program::run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => {
            complain("Error", &errors);
            ExitCode::FAILURE
        }
    }
}
