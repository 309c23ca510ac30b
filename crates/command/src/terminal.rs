use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Says on standard error what is wrong, a line each.
pub fn complain(what: &str, texts: &[String]) {
    let mut stderr = io::stderr().lock();
    for text in texts {
        // There is nowhere to tell that standard error is gone.
        let _ = writeln!(stderr, "{what}: {text}");
    }
}

/// Says on standard output what was asked for.
pub fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
