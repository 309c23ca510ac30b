//! What kube-oidc-proxy stands between in the quickstart: a real API server, and an issuer, which is npm's oidc-provider where
//! Node is. Both end with whoever started this.
//!
//! usage: quickstart-oidc-world FOLDER [own]
//!        own: an issuer of this project's, and not npm's
//!
//! Writes into the folder, and then says `ready`: admin.kubeconfig, proxy.kubeconfig (its token is to be put into
//! proxy.token), ca.crt, which vouches for the issuer and the proxy, proxy.crt and proxy.key, issuer.url, kubectl, and `token`,
//! which prints a new token of the user that it is given.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people at a terminal, who see why it stops")]

use std::{
    env, fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::parent_id,
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use testkit::{
    certs::{Authority, Pair},
    cluster::{self, Cluster},
    issuer::Issuer,
    jwt::SigningKey,
    parts::Part,
    process::{Process, free_port},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

const USERS: [&str; 2] = ["prometheus", "stranger"];

/// As kubectl has it of a plugin.
const CREDENTIAL: &str =
    r#"printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$token""#;

/// An issuer of either kind, running.
struct Running {
    url: String,
    /// A shell's line that sets `token` to one of the user `$1`.
    token: String,
    _of: (Option<Process>, Option<Issuer>),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (parent, folder) = (parent_id(), PathBuf::from(env::args_os().nth(1).unwrap()));
    let Some(cluster) = cluster::guest().await else { return ExitCode::FAILURE };
    let authority = Authority::new("quickstart");
    let program = if env::args().nth(2).is_some_and(|word| word == "own") { None } else { Part::OidcProvider.path().ok() };
    let issuer = match program {
        Some(program) => of_npm(&program, &folder, &authority).await,
        None => of_our_own(&folder, &authority).await,
    };
    write(&cluster, &authority, &issuer, &folder);
    println!("ready");
    let orphaned = async {
        while parent_id() == parent {
            sleep(Duration::from_millis(200)).await;
        }
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate()).unwrap(), signal(SignalKind::interrupt()).unwrap());
    tokio::select! {
        () = orphaned => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    ExitCode::SUCCESS
}

async fn of_npm(program: &Path, folder: &Path, authority: &Authority) -> Running {
    let (port, (certificate, key)) = (free_port(), authority.server().write(folder, "issuer"));
    let process = Process::spawn(Command::new(program).arg(port.to_string()).args([certificate, key]));
    process.line_with(&["listening as"]).await;
    let url = format!("https://localhost:{port}");
    let ask = format!(
        "curl --silent --fail --cacert '{}/ca.crt' --user \"$1:secret-of-$1\" --data grant_type=client_credentials \
         --data-urlencode resource=https://cluster.test/ {url}/token",
        folder.display()
    );
    let token = format!(r#"token=$({ask} | sed 's/.*"access_token":"\([^"]*\)".*/\1/')"#);
    Running { url, token, _of: (Some(process), None) }
}

async fn of_our_own(folder: &Path, authority: &Authority) -> Running {
    let (issuer, key) = (Issuer::start(&authority.server()).await, SigningKey::new("RS256"));
    issuer.keys(&[key.jwk("")]);
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 24 * 3600;
    for user in USERS {
        let groups = [format!("{user}-clients"), "everybody".to_owned()];
        let claims = json!({"iss": issuer.url(), "aud": "https://cluster.test", "exp": end, "sub": user, "groups": groups});
        fs::write(folder.join(format!("{user}.token")), key.token("", &claims)).unwrap();
    }
    let token = format!("token=$(cat \"{}/$1.token\")", folder.display());
    Running { url: issuer.url(), token, _of: (None, Some(issuer)) }
}

fn write(cluster: &Cluster, authority: &Authority, issuer: &Running, folder: &Path) {
    let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let admin: Pair = cluster.authority().unwrap().client("admin", &["system:masters"]);
    let (certificate, key) = admin.write(folder, "admin");
    put("admin.kubeconfig", &cluster.kubeconfig(&json!({"client-certificate": certificate, "client-key": key})));
    put("proxy.kubeconfig", &cluster.kubeconfig(&json!({"tokenFile": folder.join("proxy.token")})));
    put("ca.crt", authority.pem());
    authority.server().write(folder, "proxy");
    put("issuer.url", &issuer.url);
    put("token", &format!("#!/bin/sh\nset -eu\n{}\n{CREDENTIAL}\n", issuer.token));
    fs::set_permissions(folder.join("token"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink(Part::Kubectl.path().unwrap(), folder.join("kubectl")).unwrap();
}
