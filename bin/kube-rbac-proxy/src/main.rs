//! kube-rbac-proxy: authenticates and authorizes each request against the Kubernetes API, then forwards it.
//!
//! Flags become settings, settings open files, and then a gate, an upstream and listeners are put together. Nothing is
//! bound before everything is known to be right.

mod check;
mod explain;
mod files;
mod flags;
mod gate;
mod program;
mod serve;
mod settings;
mod wider;

use std::{env, process::ExitCode};

use command::{Version, complain, print};
use flags::{CHECK, EXPLAIN, PROGRAM};

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let line = PROGRAM.read(env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect());
    if line.errors.is_empty() {
        if line.options.help {
            return print(&PROGRAM.help());
        }
        match line.options.version {
            Version::Plain => return print(&format!("kube-rbac-proxy {VERSION}\n")),
            Version::Raw => {
                let (system, machine) = (env::consts::OS, env::consts::ARCH);
                return print(&format!("kube-rbac-proxy version.Info{{GitVersion:\"{VERSION}\", Platform:\"{system}/{machine}\"}}\n"));
            }
            Version::Run | Version::Changed => {}
        }
    }
    let ended = match line.command {
        Some(EXPLAIN) => explain::run(line),
        Some(CHECK) => check::run(line),
        _ => program::run(line).map(|()| ExitCode::SUCCESS),
    };
    ended.unwrap_or_else(|errors| {
        complain("Error", &errors);
        ExitCode::FAILURE
    })
}
