//! `make quickstart-oidc`, as whoever reads the README sees it.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use testkit::{
    parts::{Part, skip},
    process::{Process, built, free_port, refused},
    wait::wait_for_within,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SCRIPT: &str = "examples/quickstart-oidc/run.sh";

/// A program with all that it started, which end with this.
struct Group(Process);

impl Group {
    fn spawn(command: &mut Command) -> Self {
        Self(Process::spawn(command.process_group(0)))
    }

    fn signal(&self, name: &str) {
        let _ = Command::new("kill").args([&format!("-{name}"), "--", &format!("-{}", self.0.id())]).status();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Those that end well still tidy up.
        if self.0.is_running() {
            self.signal("KILL");
        }
    }
}

#[tokio::test]
async fn the_quickstart_shows_an_allowed_and_a_forbidden_call_and_stays_up() {
    for part in [Part::Etcd, Part::KubeApiserver, Part::Kubectl] {
        if let Err(absent) = part.path() {
            return skip(absent);
        }
    }
    let making = Command::new("make").args(["--dry-run", "quickstart-oidc"]).current_dir(ROOT).output().unwrap();
    assert!(String::from_utf8_lossy(&making.stdout).contains(SCRIPT), "make does another thing: {making:?}");
    let bin =
        built(&["--package", "kube-oidc-proxy", "--package", "tests", "--bin", "kube-oidc-proxy", "--example", "quickstart-oidc-world"]);
    match Part::OidcProvider.path() {
        Ok(_) => shows(&bin, "").await,
        Err(absent) => skip(absent),
    }
    shows(&bin, "own").await;
}

async fn shows(bin: &Path, issuer: &str) {
    let port = (0..).map(|_| (free_port(), free_port())).find(|(first, second)| first + 1 == *second).unwrap().0;
    let mut command = Command::new("sh");
    command.arg(SCRIPT).arg(bin).current_dir(ROOT);
    let quickstart = Group::spawn(command.env("QUICKSTART_PORT", port.to_string()).env("QUICKSTART_ISSUER", issuer));
    wait_for_within("quickstart that is up", Duration::from_secs(90), async || {
        let output = quickstart.0.output();
        assert!(quickstart.0.is_running(), "it ended: {output}");
        if output.contains("runs until Ctrl-C") { Ok(()) } else { Err(output) }
    })
    .await;
    let output = quickstart.0.output();
    for promise in [
        "[oidc:prometheus-clients oidc:everybody system:authenticated]",
        "10.96.0.1",
        r#"User "oidc:prometheus" cannot list resource "secrets""#,
        r#"User "oidc:stranger" cannot list resource "services""#,
        "Impersonation requests are disabled when using kube-oidc-proxy",
    ] {
        assert!(output.contains(promise), "nothing says {promise:?}: {output}");
    }
    // What it tells the reader to do, done.
    let mut told = output.lines().map(str::trim).skip_while(|line| !line.starts_with("export KUBECONFIG="));
    let kubeconfig = PathBuf::from(told.next().unwrap().trim_start_matches("export KUBECONFIG="));
    let by_hand = Command::new("sh").args(["-c", told.next().unwrap()]).env("KUBECONFIG", &kubeconfig).output().unwrap();
    assert!(by_hand.status.success() && String::from_utf8_lossy(&by_hand.stdout).contains("10.96.0.1"), "{by_hand:?}");

    // As Ctrl-C does, and as a supervisor.
    if issuer.is_empty() {
        quickstart.0.signal("TERM")
    } else {
        quickstart.signal("INT")
    }
    assert_eq!(quickstart.0.exit().await.code, Some(0));
    let at = output.split_once("knows nothing of https://localhost:").unwrap().1.split_once('.').unwrap().0;
    for port in [port, at.parse().unwrap()] {
        refused(([127, 0, 0, 1], port).into()).await;
    }
    assert!(!kubeconfig.parent().unwrap().exists(), "its folder is left");
}
