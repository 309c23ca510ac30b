use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use go_compat::Fault;
use tokio::runtime::Builder;

use crate::{CommandLine, Program};

impl<O: Clone> Program<O> {
    /// Reads this process's arguments. Prints what the options ask to be `told`, as by `--version`, or else does `run`.
    pub fn main(
        &self,
        told: impl FnOnce(&O) -> Option<String>,
        run: impl FnOnce(CommandLine<O>) -> Result<ExitCode, Vec<String>>,
    ) -> ExitCode {
        let mut no_text = Vec::new();
        let text = |argument: OsString| {
            argument.into_string().unwrap_or_else(|argument| {
                let near = argument.to_string_lossy().into_owned();
                no_text.push((self.explain)(&Fault::NotUtf8(near.clone())));
                near
            })
        };
        let mut line = self.read(env::args_os().skip(1).map(text).collect());
        line.errors.extend(no_text);
        if let Some(text) = told(&line.options).filter(|_| line.errors.is_empty()) {
            // There is nowhere to tell that standard output is gone.
            return io::stdout().write_all(text.as_bytes()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        run(line).unwrap_or_else(|errors| {
            complain("Error", &errors);
            ExitCode::FAILURE
        })
    }
}

/// Does all that waits, on this one thread.
///
/// # Errors
///
/// The system gives no event queue.
pub fn block_on<F: Future>(work: F) -> Result<F::Output, Vec<String>> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| vec![format!("the system gives no event queue: {why}")])?;
    let ended = runtime.block_on(work);
    // A name that is being resolved has a thread of its own, and need not be waited for.
    runtime.shutdown_background();
    Ok(ended)
}

/// Says on standard error what is wrong, a line each.
pub fn complain(what: &str, texts: &[String]) {
    let mut stderr = io::stderr().lock();
    for text in texts {
        // There is nowhere to tell that standard error is gone.
        let _ = writeln!(stderr, "{what}: {text}");
    }
}
