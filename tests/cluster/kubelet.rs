//! logs, exec, attach, cp and port-forward of the real kubectl, through kube-oidc-proxy and the real API server to what that
//! takes for a kubelet.

use std::{
    fs::{self, File},
    io::{PipeWriter, Write},
    process::Command,
};

use serde_json::{Value, json};
use testkit::{
    client::{Client, Request},
    cluster,
    parts::{Part, skip},
    process::{Process, free_port},
    upstream::{Reply, Upstream},
    wait::wait_for,
};

use crate::oidc_world::{Kubectl, World};

/// What each container runs: it waits for a terminal of a certain size, and then says what it is told.
const MAIN: &str = r#"until [ "$(stty size)" = "22 77" ]; do sleep 0.1; done; echo started
while read -r line; do echo "main: $line"; done"#;

/// Without these kubectl speaks SPDY.
const WEBSOCKETS: [&str; 2] = ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"];

/// Makes a node whose kubelet is not one, and pods on it. The kubelet ends with what is returned.
pub(crate) async fn node(world: &mut World<'_>, pods: &[&str]) -> Result<Process, testkit::parts::Absent> {
    let (program, port) = (Part::Kubelet.path()?, free_port());
    let (certificate, key) = world.scene.authority.server().write(world.scene.folder.path(), "kubelet");
    let folder = world.scene.path("containers");
    let mut command = Command::new(program);
    command.arg(port.to_string()).args([&certificate, &key, &folder]).args(["sh", "-c", MAIN]);
    let kubelet = Process::spawn(&mut command);
    kubelet.line_with(&["listening on"]).await;

    let (name, namespace) = (format!("node-of-{}", world.scene.namespace), world.scene.namespace.clone());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    world.scene.make(node.clone()).await;
    let endpoints = json!({"kubeletEndpoint": {"Port": port}});
    let addresses = json!([{"type": "InternalIP", "address": "127.0.0.1"}]);
    set_status(world, &format!("/api/v1/nodes/{name}"), node, json!({"addresses": addresses, "daemonEndpoints": endpoints})).await;
    for pod in pods {
        let container = json!({"name": "main", "image": "none", "stdin": true, "stdinOnce": true, "tty": true});
        let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": namespace}});
        let spec = json!({"nodeName": name, "serviceAccountName": "proxy", "containers": [container]});
        object["spec"] = spec;
        world.scene.admin().apply(&object).await;
        set_status(world, &format!("/api/v1/namespaces/{namespace}/pods/{pod}"), object, json!({"phase": "Running"})).await;
    }
    Ok(kubelet)
}

async fn set_status(world: &World<'_>, path: &str, mut object: Value, status: Value) {
    object["status"] = status;
    let path = format!("{path}/status?fieldManager=kubelet&force=true");
    world.scene.admin().call("PATCH", &path, Some(&object)).await.unwrap();
}

/// Types a line.
fn enter(keyboard: &mut PipeWriter, line: &str) {
    keyboard.write_all(line.as_bytes()).unwrap();
}

/// Makes a terminal that something was started at so large.
async fn resize(world: &World<'_>, name: &str, rows: u32, columns: u32) {
    let file = world.scene.path(&format!("{name}.tty"));
    let terminal = wait_for("terminal", async || fs::read_to_string(&file)).await;
    let size = ["rows".to_owned(), rows.to_string(), "cols".to_owned(), columns.to_string()];
    let status = Command::new("stty").arg("-F").arg(terminal.trim()).args(size).status().unwrap();
    assert!(status.success(), "stty: {status}");
}

#[tokio::test]
async fn kubectl_reaches_into_pods_over_websocket_and_spdy() {
    let program = match Part::Kubectl.path() {
        Ok(program) => program,
        Err(absent) => return skip(absent),
    };
    let Some(cluster) = cluster::guest().await else { return };
    let mut world = World::new(&cluster).await;
    let _kubelet = match node(&mut world, &["websocket", "spdy"]).await {
        Ok(kubelet) => kubelet,
        Err(absent) => return skip(absent),
    };
    world.let_impersonate().await;
    world.let_group_work("devs").await;
    let proxy = world.proxy(&[]).await;
    let server = format!("https://localhost:{}", proxy.secure().port());
    let ways: [(&str, &[&str]); 2] = [("websocket", &[]), ("spdy", &WEBSOCKETS)];
    for (pod, without) in ways {
        let token = world.token("anna", &["devs"]);
        let anna = Kubectl { program: program.clone(), world: &world, server: server.clone(), name: "anna", token, without };
        commands_end_as_they_end(&anna, pod).await;
        files_are_copied(&anna, pod).await;
        terminals_have_their_size(&anna, pod).await;
        logs_are_followed_and_main_processes_attached_to(&anna, pod).await;
        ports_are_forwarded(&anna, pod).await;
        let otto = Kubectl { name: "otto", token: world.token("otto", &[]), ..anna };
        let denied = otto.run(&["exec", pod, "--", "true"]).await;
        assert!(denied.output.contains("(Forbidden)") && denied.code == Some(1), "{denied:?}");
    }
}

async fn commands_end_as_they_end(kubectl: &Kubectl<'_>, pod: &str) {
    let exit = kubectl.run(&["exec", pod, "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!(exit.code, Some(7), "{}", exit.output);
    for line in ["out", "err", "command terminated with exit code 7"] {
        assert!(exit.output.lines().any(|said| said == line), "{line:?}: {}", exit.output);
    }
    let output = kubectl.ok(&["exec", "-v=4", pod, "--", "echo", "well"]).await;
    assert!(output.lines().any(|line| line == "well"), "{output}");
    // kubectl says nothing when a WebSocket fails, and takes SPDY.
    assert_eq!(output.contains("Subprotocol negotiated"), kubectl.without.is_empty(), "{output}");
    let input = kubectl.world.scene.write("input", &"0123456789abcdef".repeat(1 << 16));
    let exit = kubectl.start_reading(File::open(input).unwrap(), &["exec", "-i", pod, "--", "wc", "-c"]).exit().await;
    assert_eq!((exit.code, exit.output.trim()), (Some(0), "1048576"));
}

async fn files_are_copied(kubectl: &Kubectl<'_>, pod: &str) {
    let scene = &kubectl.world.scene;
    let content: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    scene.write("there", &content);
    kubectl.ok(&["cp", "there", &format!("{pod}:copy")]).await;
    let arrived = scene.path("containers").join(&scene.namespace).join(pod).join("main/copy");
    assert!(fs::read_to_string(arrived).unwrap() == content, "the copy in the container differs");
    kubectl.ok(&["cp", &format!("{pod}:copy"), &format!("back-from-{pod}")]).await;
    assert!(fs::read_to_string(scene.path(&format!("back-from-{pod}"))).unwrap() == content, "the copy of the copy differs");
}

/// A command that waits for two sizes, one after the other, and for a line.
const SIZES: &str = r#"until [ "$(stty size)" = "11 33" ]; do sleep 0.1; done; echo small
until [ "$(stty size)" = "44 123" ]; do sleep 0.1; done; echo large; read -r line; echo "typed: $line"; exit 5"#;

async fn terminals_have_their_size(kubectl: &Kubectl<'_>, pod: &str) {
    let (input, mut keyboard) = std::io::pipe().unwrap();
    let name = format!("exec-{pod}");
    let script = kubectl.world.scene.write("sizes", SIZES);
    let exec = kubectl.start_at_terminal(input, &name, &["exec", "-it", pod, "--", "sh", &script]);
    resize(kubectl.world, &name, 11, 33).await;
    exec.line_with(&["small"]).await;
    resize(kubectl.world, &name, 44, 123).await;
    exec.line_with(&["large"]).await;
    enter(&mut keyboard, "quick\r");
    exec.line_with(&["typed: quick"]).await;
    assert_eq!(exec.exit().await.code, Some(5));
}

async fn logs_are_followed_and_main_processes_attached_to(kubectl: &Kubectl<'_>, pod: &str) {
    let (input, mut keyboard) = std::io::pipe().unwrap();
    let name = format!("attach-{pod}");
    let attached = kubectl.start_at_terminal(input, &name, &["attach", "-it", pod]);
    resize(kubectl.world, &name, 22, 77).await;
    attached.line_with(&["started"]).await;
    let logs = kubectl.start(&["logs", "-f", pod]);
    logs.line_with(&["started"]).await;
    enter(&mut keyboard, "hello\r");
    logs.line_with(&["main: hello"]).await;
    attached.line_with(&["main: hello"]).await;
    assert!(logs.is_running(), "logs are not followed: {}", logs.output());
    // The end of what is typed is the end of the main process, and with it of those who look at it.
    enter(&mut keyboard, "\u{4}");
    assert_eq!(attached.exit().await.code, Some(0));
    assert_eq!(logs.exit().await.code, Some(0));
}

async fn ports_are_forwarded(kubectl: &Kubectl<'_>, pod: &str) {
    let upstream = Upstream::start(|received| Reply::ok(format!("{} there", received.target()))).await;
    let forward = kubectl.start(&["port-forward", "-v=4", pod, &format!(":{}", upstream.address().port())]);
    let line = forward.line_with(&["Forwarding from 127.0.0.1:"]).await;
    let port = line.split_once("127.0.0.1:").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    assert_eq!(forward.output().contains("Negotiation complete"), kubectl.without.is_empty(), "{}", forward.output());
    for target in ["/first", "/second"] {
        let mut client = Client::connect_plain(([127, 0, 0, 1], port).into()).await;
        // More than one on a connection.
        for _ in 0..2 {
            assert_eq!(client.send(&Request::get(target)).await.text(), format!("{target} there"));
        }
    }
    assert!(forward.is_running(), "{}", forward.output());
}
