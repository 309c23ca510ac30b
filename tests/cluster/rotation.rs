//! The proxy's own credentials: replaced while it runs, and a pod's.

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use testkit::{
    client::{Client, Request, Version},
    cluster::{self, Cluster},
    parts::skip,
    process::{Proxy, binary, free_port},
    wait::wait_for,
};

use crate::scene::{Scene, assert_status};

#[tokio::test]
async fn a_replaced_token_file_is_used_before_the_old_token_hurts() {
    let Some(cluster) = cluster::guest().await else { return };
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/0", "/1", "/*"]).await;
    let (old, secret) = scene.mortal_token("proxy", "old").await;
    scene.write("proxy.token", &old);
    let proxy = scene.proxy(&[]).await;
    assert_status(&scene.get(&proxy, "/0", &alice.token).await, 200);

    let new = scene.token("proxy", &Default::default()).await;
    scene.write("proxy.token", &new);
    scene.admin().delete(&secret).await;
    until_refused(&cluster, &old).await;
    // Each path is a question of its own to the API server.
    for turn in 1..5 {
        assert_status(&scene.get(&proxy, &format!("/{turn}"), &alice.token).await, 200);
    }
}

#[tokio::test]
async fn a_pod_needs_no_kubeconfig() {
    let Some(cluster) = cluster::guest().await else { return };
    let (Some(port), Some(authority)) = (cluster.port(), cluster.authority()) else { return };
    if let Err(why) = may_mount() {
        return skip(why);
    }
    let mut scene = Scene::new(&cluster).await;
    let alice = scene.account("alice").await;
    scene.allow("alice", &["/0", "/1"]).await;
    let (old, secret) = scene.mortal_token("proxy", "old").await;
    let pod = Pod::new(&scene, authority.pem(), &old);

    let secure = format!("127.0.0.1:{}", free_port());
    let mut flags = scene.flags(&[]);
    flags
        .retain(|flag| !flag.starts_with("--kubeconfig") && !flag.starts_with("--secure-listen") && !flag.starts_with("--proxy-endpoints"));
    flags.push(format!("--secure-listen-address={secure}"));
    let proxy = pod.start(port, &flags, &secure).await;
    let mut client = Client::connect(Version::H1, proxy.secure(), &scene.authority.tls()).await;
    assert_status(&client.send(&Request::get("/0").bearer(&alice.token)).await, 200);

    pod.rotate(&scene.token("proxy", &Default::default()).await);
    scene.admin().delete(&secret).await;
    until_refused(&cluster, &old).await;
    assert_status(&client.send(&Request::get("/1").bearer(&alice.token)).await, 200);
}

/// What a pod needs of its ServiceAccount, laid out and replaced as a kubelet does.
struct Pod<'a> {
    scene: &'a Scene<'a>,
    ca: &'a str,
}

/// Mounts over /run for its command alone, and gives it a pod's environment.
const IN_POD: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -p /var/run/secrets/kubernetes.io || exit 1
ln -s "$1" /var/run/secrets/kubernetes.io/serviceaccount || exit 1
export KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT="$2"
unset KUBECONFIG
shift 2
exec "$@"
"#;

impl<'a> Pod<'a> {
    fn new(scene: &'a Scene<'a>, ca: &'a str, token: &str) -> Self {
        let pod = Self { scene, ca };
        let folder = pod.scene.path("pod");
        std::fs::create_dir(&folder).unwrap();
        pod.rotate(token);
        for name in ["ca.crt", "token"] {
            symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
        }
        pod
    }

    /// Swaps `..data` to a folder with the new token and removes the former one.
    fn rotate(&self, token: &str) {
        let folder = self.scene.path("pod");
        let new = tempfile::Builder::new().prefix("..").tempdir_in(&folder).unwrap().keep();
        std::fs::write(new.join("ca.crt"), self.ca).unwrap();
        std::fs::write(new.join("token"), token).unwrap();
        let former = std::fs::read_link(folder.join("..data")).ok();
        symlink(new.file_name().unwrap(), folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        if let Some(former) = former {
            std::fs::remove_dir_all(folder.join(former)).unwrap();
        }
    }

    async fn start(&self, apiserver: u16, flags: &[String], secure: &str) -> Proxy {
        let mut command: Vec<String> = ["-m", "sh", "-c", IN_POD, "pod"].map(str::to_owned).to_vec();
        command.push(self.scene.path("pod").display().to_string());
        command.push(apiserver.to_string());
        command.push(binary().display().to_string());
        command.extend_from_slice(flags);
        Proxy::start_other(Path::new("unshare"), &command, Some(secure.parse().unwrap()), None, None).await
    }
}

/// Why a pod's files cannot be where a pod has them.
fn may_mount() -> Result<(), String> {
    let mut probe = Command::new("unshare");
    let probe = probe.args(["-m", "sh", "-c", "mount -t tmpfs tmpfs /run"]).stderr(Stdio::piped()).output();
    match probe {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("no root to mount with: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("unshare: {error}")),
    }
}

/// Waits until the API server refuses a token whose Secret is gone, which it takes up to 10 s to notice.
async fn until_refused(cluster: &Cluster, token: &str) {
    let review = serde_json::json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token } });
    wait_for("the API server's refusal of the withdrawn token", async || {
        let answer = cluster.admin().call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", Some(&review)).await;
        let status = answer.map_err(|fault| fault.to_string())?["status"].take();
        if status["authenticated"] == true { Err(status.to_string()) } else { Ok(()) }
    })
    .await;
}
