use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A process that dies with its owner, and with this process however that ends: the owner may be a `static`, which is
/// never dropped, and this process may be killed.
#[derive(Debug)]
pub(super) struct Leash {
    keeper: Child,
    pid: u32,
    log: PathBuf,
}

/// Runs its arguments and kills them when its own stdin ends, which the kernel does for a dead test process. An
/// interrupt from the terminal reaches the whole group; the keeper must outlive it to do its work.
const KEEPER: &str = r#"
trap '' INT TERM HUP
exec 3<&0
"$@" >>"$LEASH_LOG" 2>&1 3<&- &
echo $!
read -r _ <&3
kill -KILL $! 2>/dev/null
wait $! 2>/dev/null
[ -z "$LEASH_REMOVE" ] || rm -rf "$LEASH_REMOVE"
"#;

impl Leash {
    /// Starts `program`; what it prints goes to `log`. `remove` is a folder to be deleted once the process is dead.
    pub(super) fn start(program: &Path, arguments: &[String], log: &Path, remove: Option<&Path>) -> Self {
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "leash"])
            .arg(program)
            .args(arguments)
            .env("LEASH_LOG", log)
            .env("LEASH_REMOVE", remove.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { pid: line.trim().parse().unwrap(), keeper, log: log.to_owned() }
    }

    /// Whether it still runs; a stopped process does.
    pub(super) fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // "PID (NAME) STATE ...", where the name may hold anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// Sends a signal by its name without `SIG`.
    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("/bin/sh").args(["-c", r#"kill -"$1" "$2""#, "kill", name, &self.pid.to_string()]).status();
        assert!(status.unwrap().success(), "cannot send SIG{name} to {}", self.pid);
    }

    /// The end of what it printed.
    pub(super) fn last_words(&self) -> String {
        let text = File::open(&self.log).map(BufReader::new).map(|log| log.lines().map_while(Result::ok).collect::<Vec<_>>());
        let lines = text.unwrap_or_default();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_dies_with_its_leash_even_when_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let remove = dir.path().join("data");
        std::fs::create_dir(&remove).unwrap();
        let leash = Leash::start(Path::new("/bin/sleep"), &["600".to_owned()], &dir.path().join("log"), Some(&remove));
        let pid = leash.pid;
        assert!(leash.is_alive());
        leash.signal("STOP");
        assert!(leash.is_alive());
        drop(leash);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!remove.exists());
    }

    #[test]
    fn a_process_that_ends_by_itself_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let arguments = ["-c".to_owned(), "echo farewell".to_owned()];
        let leash = Leash::start(Path::new("/bin/sh"), &arguments, &dir.path().join("log"), None);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while leash.is_alive() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert_eq!(leash.last_words(), "farewell");
    }
}
