//! What RBAC evaluated here costs: 100,000 SubjectAccessReviews against 10,000 bindings of 1,000 roles.
//!
//! `cargo bench -p benches --bench policy` prints how long `explain --reviews` takes for all of them, reading the world
//! included, and how much memory the world takes in a proxy that serves it.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program for people at a terminal")]

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use testkit::process::{Proxy, binary};

const ROLES: usize = 1_000;
const BINDINGS: usize = 10_000;
const REVIEWS: usize = 100_000;
const ROUNDS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let manifests = format!("--rbac-manifests={}", write("world.yaml", world()));
    let reviews = format!("--reviews={}", write("reviews.jsonl", reviews()));
    let tokens = format!("--token-auth-file={}", write("tokens.csv", "token,user,1\n".to_owned()));

    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let output = Command::new(binary()).args(["explain", &manifests, &reviews]).stdout(Stdio::piped()).output().expect("it runs");
            let seconds = start.elapsed().as_secs_f64();
            let answers = String::from_utf8(output.stdout).expect("text");
            let allowed = answers.lines().filter(|line| line.contains("\"allowed\":true")).count();
            assert!(answers.lines().count() == REVIEWS && allowed == REVIEWS / 2, "{allowed} of {REVIEWS} are allowed");
            seconds
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    println!("{REVIEWS} reviews against {BINDINGS} bindings of {ROLES} roles: {:.2} s", seconds.get(ROUNDS / 2).expect("rounds"));

    let flags = |more: &[&str]| {
        let usual = ["--insecure-listen-address=127.0.0.1:0", "--upstream=http://127.0.0.1:1", tokens.as_str()];
        [&usual, more].concat().iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>()
    };
    let small = write("small.yaml", world().split("\n---").next().expect("a document").to_owned());
    let without = Proxy::start(&flags(&[&format!("--rbac-manifests={small}")])).await;
    let with = Proxy::start(&flags(&[&manifests])).await;
    let mib = |kib: u64| kib as f64 / 1024.0;
    let ((all, anonymous), (small_all, small_anonymous)) = (with.resident_kib(), without.resident_kib());
    println!("RSS of a proxy with that world: {:.1} MiB, {:.1} MiB of it anonymous", mib(all), mib(anonymous));
    println!("RSS of a proxy with one role:   {:.1} MiB, {:.1} MiB of it anonymous", mib(small_all), mib(small_anonymous));
}

fn world() -> String {
    const HEAD: &str = "apiVersion: rbac.authorization.k8s.io/v1\n";
    let mut text = String::new();
    let mut add = |object: String| writeln!(text, "{HEAD}{object}---").expect("a String takes everything");
    for role in 0..ROLES {
        add(format!(
            "kind: ClusterRole\nmetadata: {{name: role-{role}}}\nrules:\n- apiGroups: ['', apps]\n  resources: [pods, deployments, r{role}]\n  \
             verbs: [get, list, watch]\n- nonResourceURLs: [/metrics/{role}, '/api/{role}/*']\n  verbs: [get]\n"
        ));
    }
    for binding in 0..BINDINGS {
        let role = format!("roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: role-{}}}\n", binding % ROLES);
        add(match binding % 2 {
            0 => format!(
                "kind: RoleBinding\nmetadata: {{name: binding-{binding}, namespace: ns-{0}}}\n{role}subjects:\n- {{kind: ServiceAccount, name: \
                 sa-{binding}, namespace: ns-{0}}}\n",
                binding % 200
            ),
            _ => format!(
                "kind: ClusterRoleBinding\nmetadata: {{name: binding-{binding}}}\n{role}subjects:\n- {{kind: User, name: user-{binding}}}\n- \
                 {{kind: Group, name: group-{}}}\n",
                binding % 500
            ),
        });
    }
    text
}

/// Half of them allowed: every other one is about a namespace, or a path, that is another's.
fn reviews() -> String {
    let mut text = String::new();
    for review in 0..REVIEWS {
        let (binding, wrong) = (review * 7919 % BINDINGS, review / 2 % 2);
        let spec = match binding % 2 {
            0 => format!(
                r#"{{"user":"system:serviceaccount:ns-{0}:sa-{binding}","groups":["system:serviceaccounts","system:authenticated"],"resourceAttributes":{{"namespace":"ns-{1}","verb":"get","resource":"pods"}}}}"#,
                binding % 200,
                binding % 200 + wrong * 1000
            ),
            _ => format!(
                r#"{{"user":"user-{binding}","groups":["system:authenticated"],"nonResourceAttributes":{{"path":"/api/{}/x","verb":"get"}}}}"#,
                binding % ROLES + wrong * ROLES
            ),
        };
        writeln!(text, r#"{{"spec":{spec}}}"#).expect("a String takes everything");
    }
    text
}
