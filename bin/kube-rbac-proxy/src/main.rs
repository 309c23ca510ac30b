//! kube-rbac-proxy: authenticates and authorizes each request against the Kubernetes API, then forwards it.
//!
//! Flags become settings, settings open files, and then a gate, an upstream and listeners are put together. Nothing is
//! bound before everything is known to be right.

mod files;
mod flags;
mod program;
mod serve;
mod settings;
mod signals;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use flags::{CommandLine, Version};

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let line = CommandLine::read(env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect());
    if line.errors.is_empty() {
        if line.options.help {
            return print(&flags::help());
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
    match program::run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => {
            let mut stderr = io::stderr().lock();
            for error in errors {
                // There is nowhere to tell that standard error is gone.
                let _ = writeln!(stderr, "Error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
