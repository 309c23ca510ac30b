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

use command::Version;
use flags::{CHECK, EXPLAIN, Options, PROGRAM};

/// Gives back to the system what a flood has needed, which the C library's keeps. Its settings are in `.cargo/config.toml`.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    PROGRAM.main(told, |line| match line.command {
        Some(EXPLAIN) => explain::run(line),
        Some(CHECK) => check::run(line),
        _ => program::run(line),
    })
}

/// What is only to be printed.
fn told(options: &Options) -> Option<String> {
    let (system, machine) = (env::consts::OS, env::consts::ARCH);
    match options.version {
        _ if options.help => Some(PROGRAM.help()),
        Version::Plain => Some(format!("kube-rbac-proxy {VERSION}\n")),
        Version::Raw => Some(format!("kube-rbac-proxy version.Info{{GitVersion:\"{VERSION}\", Platform:\"{system}/{machine}\"}}\n")),
        Version::Run | Version::Changed => None,
    }
}
