use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use tokio::net::TcpStream;

use crate::wait::wait_for;

/// A program that was started, with all it says. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    id: u32,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Mutex<Vec<thread::JoinHandle<()>>>,
    command: String,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Everything it said, standard output and error.
    pub output: String,
}

/// A running kube-rbac-proxy, ours or another.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    secure: Option<SocketAddr>,
    insecure: Option<SocketAddr>,
    endpoints: Option<SocketAddr>,
}

impl Process {
    /// Starts a program without input.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_reading(Stdio::null(), command)
    }

    /// Starts a program with this as its standard input.
    pub fn spawn_reading(input: impl Into<Stdio>, command: &mut Command) -> Self {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let text = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{text}: {error}"));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let stdout = read_lines(child.stdout.take().expect("a pipe"), Arc::clone(&lines));
        let stderr = read_lines(child.stderr.take().expect("a pipe"), Arc::clone(&lines));
        let id = child.id();
        Self { child: Mutex::new(child), id, lines, readers: Mutex::new(vec![stdout, stderr]), command: text }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it said so far, line by line; the two streams are mixed.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// What it said so far.
    pub fn output(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits for a line that contains all of these, and returns it.
    pub async fn line_with(&self, parts: &[&str]) -> String {
        wait_for(&format!("line with {parts:?} from {}", self.command), async || {
            let lines = self.lines();
            let found = lines.iter().find(|line| parts.iter().all(|part| line.contains(part)));
            found.cloned().ok_or_else(|| format!("{} lines:\n{}", lines.len(), lines.join("\n")))
        })
        .await
    }

    /// Fails when one of these strings is anywhere in the output.
    pub fn assert_silent_about(&self, secrets: &[&str]) {
        assert_absent(&self.output(), secrets);
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        lock(&self.child).try_wait().expect("a child of ours").is_none()
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`, ...
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id.to_string()]).status().expect("kill is there");
        assert!(status.success(), "kill -{name} failed");
    }

    /// Waits until it ends.
    pub async fn exit(&self) -> Exit {
        let status = wait_for(&format!("end of {}", self.command), async || {
            let status: Option<ExitStatus> = lock(&self.child).try_wait().expect("a child of ours");
            status.ok_or_else(|| format!("it runs and said:\n{}", self.output()))
        })
        .await;
        for reader in lock(&self.readers).drain(..) {
            reader.join().expect("a reader does not panic");
        }
        Exit { code: status.code(), signal: status.signal(), output: self.output() }
    }

    /// Resident memory in KiB: all of it, and the anonymous part.
    pub fn resident_kib(&self) -> (u64, u64) {
        (self.status_kib("VmRSS:"), self.status_kib("RssAnon:"))
    }

    /// The most resident memory that it ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the field is there");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// How many file descriptors it has open.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id)).expect("it runs").count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
        if thread::panicking() {
            eprintln!("---- {} said:\n{}\n----", self.command, lock(&self.lines).join("\n"));
        }
    }
}

impl Proxy {
    /// Starts ours and waits until every listener that the flags ask for serves.
    pub async fn start<S: AsRef<str>>(flags: &[S]) -> Self {
        Self::start_with(flags, &[]).await
    }

    /// [`Proxy::start`] with variables in the environment.
    pub async fn start_with<S: AsRef<str>>(flags: &[S], variables: &[(&str, String)]) -> Self {
        let flags: Vec<&str> = flags.iter().map(AsRef::as_ref).collect();
        let process = Process::spawn(Command::new(binary()).args(&flags).envs(variables.iter().cloned()));
        let mut proxy = Self { process, secure: None, insecure: None, endpoints: None };
        let asked = |flag: &str| flags.iter().any(|given| given.trim_start_matches('-').replace('_', "-").starts_with(flag));
        if asked("secure-listen-address") {
            proxy.secure = Some(proxy.listening("secure").await);
            if asked("proxy-endpoints-port") {
                proxy.endpoints = Some(proxy.listening("endpoints").await);
            }
        }
        if asked("insecure-listen-address") {
            proxy.insecure = Some(proxy.listening("insecure").await);
        }
        proxy
    }

    /// Starts ours in the expectation that it ends by itself.
    pub async fn run<S: AsRef<str>>(flags: &[S]) -> Exit {
        let process = Process::spawn(Command::new(binary()).args(flags.iter().map(AsRef::as_ref)));
        process.exit().await
    }

    /// Starts our kube-oidc-proxy and waits until it serves.
    pub async fn start_oidc<S: AsRef<str>>(flags: &[S]) -> Self {
        let process = Process::spawn(Command::new(oidc_binary()).args(flags.iter().map(AsRef::as_ref)));
        let mut proxy = Self { process, secure: None, insecure: None, endpoints: None };
        proxy.secure = Some(proxy.listening("secure").await);
        proxy.endpoints = Some(proxy.listening("endpoints").await);
        proxy
    }

    /// Starts our kube-oidc-proxy in the expectation that it ends by itself.
    pub async fn run_oidc<S: AsRef<str>>(flags: &[S]) -> Exit {
        Process::spawn(Command::new(oidc_binary()).args(flags.iter().map(AsRef::as_ref))).exit().await
    }

    /// Starts another program with the same flags, which name these addresses, and waits until they accept.
    pub async fn start_other<S: AsRef<str>>(
        program: &Path,
        flags: &[S],
        secure: Option<SocketAddr>,
        insecure: Option<SocketAddr>,
        endpoints: Option<SocketAddr>,
    ) -> Self {
        let process = Process::spawn(Command::new(program).args(flags.iter().map(AsRef::as_ref)));
        let proxy = Self { process, secure, insecure, endpoints };
        for address in [secure, insecure, endpoints].into_iter().flatten() {
            wait_for(&format!("listener on {address}"), async || {
                assert!(proxy.is_running(), "it ended: {}", proxy.output());
                TcpStream::connect(address).await.map(drop)
            })
            .await;
        }
        proxy
    }

    /// Where `--secure-listen-address` is served.
    pub fn secure(&self) -> SocketAddr {
        self.secure.expect("a secure listener was asked for")
    }

    /// Where `--insecure-listen-address` is served.
    pub fn insecure(&self) -> SocketAddr {
        self.insecure.expect("an insecure listener was asked for")
    }

    /// Where `--proxy-endpoints-port` is served.
    pub fn endpoints(&self) -> SocketAddr {
        self.endpoints.expect("proxy endpoints were asked for")
    }

    async fn listening(&self, listener: &str) -> SocketAddr {
        let address = wait_for(&format!("{listener} listener"), async || {
            let lines = self.lines();
            let found = lines.iter().filter(|line| line.contains("Listening")).find_map(|line| {
                let here = field(line, "listener").is_some_and(|name| name == listener);
                here.then(|| field(line, "address")).flatten()
            });
            assert!(found.is_some() || self.is_running(), "it ended: {}", self.output());
            found.ok_or_else(|| lines.join("\n"))
        })
        .await;
        let mut address: SocketAddr = address.parse().unwrap_or_else(|_| panic!("{address:?} is no address"));
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        address
    }
}

impl std::ops::Deref for Proxy {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

/// The program under test, built once by this process in the profile that this process was built in.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built(&["--package", "kube-rbac-proxy"]).join("kube-rbac-proxy"))
}

/// The same for kube-oidc-proxy.
pub fn oidc_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built(&["--package", "kube-oidc-proxy"]).join("kube-oidc-proxy"))
}

/// Builds what these arguments of cargo name, in the profile that this process was built in, and returns the folder of it.
pub fn built(what: &[&str]) -> PathBuf {
    let own = env::current_exe().expect("this program has a path");
    // target/PROFILE/deps/NAME-HASH
    let folder = own.parent().and_then(Path::parent).expect("a test is built into target/PROFILE/deps");
    let profile = match folder.file_name().and_then(|name| name.to_str()).expect("the folder has a name") {
        "debug" => "dev",
        other => other,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--profile", profile]).args(what).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(build.status().expect("cargo is there").success(), "the program under test does not build");
    folder.to_owned()
}

/// A port that nobody has now, outside the range that the kernel hands out for port 0.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % 1000 * 12;
    loop {
        let offset = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + (start + offset) % 12_000).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("::", port)).is_ok() {
            return port;
        }
    }
}

/// Fails when one of these strings is anywhere in the text.
pub fn assert_absent(text: &str, secrets: &[&str]) {
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "the secret {secret:?} is in {line:?}");
    }
}

/// Waits until nobody listens there.
pub async fn refused(address: SocketAddr) {
    wait_for(&format!("refusal on {address}"), async || match TcpStream::connect(address).await {
        Ok(_) => Err("it accepts"),
        Err(_) => Ok(()),
    })
    .await;
}

fn read_lines(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            lock(&lines).push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

/// A field of a log line in either format: `name="value"` or `"name":"value"`.
fn field(line: &str, name: &str) -> Option<String> {
    let behind = [format!("{name}=\""), format!("\"{name}\":\""), format!("\"{name}\": \"")]
        .into_iter()
        .find_map(|key| Some(line.split_once(&key)?.1));
    Some(behind?.split('"').next()?.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_exit_and_signals_are_seen() {
        let process = Process::spawn(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
        let exit = process.exit().await;
        assert_eq!((exit.code, exit.signal), (Some(3), None));
        assert!(exit.output.contains("out") && exit.output.contains("err"), "{exit:?}");

        let process = Process::spawn(Command::new("sh").args(["-c", "echo up; exec sleep 100"]));
        process.line_with(&["up"]).await;
        assert!(process.is_running() && process.resident_kib().0 > 0);
        process.signal("TERM");
        assert_eq!(process.exit().await.signal, Some(15));
    }

    #[test]
    #[should_panic(expected = "the secret \"hush\"")]
    fn a_secret_in_the_output_is_found() {
        assert_absent("a line\nBearer hush\n", &["hush"]);
    }

    #[test]
    fn fields_are_read_in_both_formats() {
        let text = r#"I1125 20:07:57.123456       1 a.rs:12] "Listening" listener="secure" address="127.0.0.1:1""#;
        let json = r#"{"msg":"Listening","listener":"secure","address":"127.0.0.1:1"}"#;
        for line in [text, json] {
            assert_eq!(field(line, "listener").as_deref(), Some("secure"));
            assert_eq!(field(line, "address").as_deref(), Some("127.0.0.1:1"));
        }
    }

    #[test]
    fn free_ports_differ() {
        assert_ne!(free_port(), free_port());
    }
}
