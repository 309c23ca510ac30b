use std::{collections::BTreeMap, env, process::Command};

use serde_json::Value;

/// Which room may use which, outside tests. Those that are not here may use none; commands may use all of these.
pub(crate) const LAWFUL: &[(&str, &[&str])] = &[
    ("auth", &["kube-api", "observe", "outbound", "rbac", "request", "settings"]),
    ("command", &["go-compat"]),
    ("go-compat", &[]),
    ("kube-api", &["go-compat", "request"]),
    ("observe", &["request"]),
    ("outbound", &["go-compat", "settings"]),
    ("proxy", &["go-compat", "observe", "outbound", "request", "settings"]),
    ("rbac", &["request"]),
    ("request", &[]),
    ("settings", &["go-compat", "request"]),
];

/// For tests alone, so what it uses is of no matter to the commands.
const TESTKIT: &str = "testkit";
/// No part of a command either, and nobody's to use.
const BENCHES: &str = "benches";

/// Who uses whom in the workspace.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Room by name, with its folder and its arrows.
    rooms: BTreeMap<String, Room>,
}

#[derive(Debug, Default)]
struct Room {
    folder: String,
    arrows: Vec<Arrow>,
}

#[derive(Debug)]
struct Arrow {
    to: String,
    /// `normal`, `build` or `dev`.
    kind: String,
}

impl Graph {
    /// As cargo sees it.
    pub(crate) fn of_workspace() -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--no-deps"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo is there");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        Self::parse(&serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    fn parse(metadata: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let root = text(&metadata["workspace_root"]);
        let mut graph = Self::default();
        for package in list(&metadata["packages"]) {
            let folder = text(&package["manifest_path"]).replace("/Cargo.toml", "");
            let ours = list(&package["dependencies"]).into_iter().filter(|dependency| dependency["path"].is_string());
            let arrows = ours.map(|dependency| Arrow {
                to: text(&dependency["name"]),
                kind: dependency["kind"].as_str().unwrap_or("normal").to_owned(),
            });
            let folder = folder.trim_start_matches(&format!("{root}/")).to_owned();
            graph.rooms.insert(text(&package["name"]), Room { folder, arrows: arrows.collect() });
        }
        graph
    }

    /// The folders of the rooms.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &str> {
        self.rooms.values().map(|room| room.folder.as_str())
    }

    /// Each arrow that points where it may not.
    pub(crate) fn faults(&self, lawful: &[(&str, &[&str])]) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, room) in &self.rooms {
            let arrows = room.arrows.iter().filter(|arrow| arrow.kind != "dev");
            let wrong = arrows.filter(|arrow| !is_lawful(name, room, &arrow.to, lawful));
            faults.extend(wrong.map(|arrow| format!("{name} may not use {} ({})", arrow.to, arrow.kind)));
        }
        faults
    }
}

fn is_lawful(from: &str, room: &Room, to: &str, lawful: &[(&str, &[&str])]) -> bool {
    let is_below = |name: &str| lawful.iter().any(|(below, _)| *below == name);
    if from == TESTKIT || room.folder.starts_with("bin/") {
        return is_below(to);
    }
    (from == BENCHES && to == TESTKIT) || lawful.iter().any(|(name, allowed)| *name == from && allowed.contains(&to))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(from: &str, folder: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        let dependency = json!({"name": to, "kind": kind, "path": format!("/w/crates/{to}")});
        let elsewhere = json!({"name": "hyper", "kind": null});
        let package = json!({"name": from, "manifest_path": format!("/w/{folder}/Cargo.toml"), "dependencies": [dependency, elsewhere]});
        Graph::parse(&json!({"workspace_root": "/w", "packages": [package]})).faults(LAWFUL)
    }

    #[test]
    fn each_wrong_arrow_is_found() {
        for (from, folder, to, kind) in [
            ("proxy", "crates/proxy", "auth", None),
            ("auth", "crates/auth", "proxy", None),
            ("request", "crates/request", "settings", Some("build")),
            ("proxy", "crates/proxy", "testkit", None),
            ("kube-rbac-proxy", "bin/kube-rbac-proxy", "testkit", None),
            ("kube-api", "crates/kube-api", "kube-rbac-proxy", None),
            ("kube-rbac-proxy", "bin/kube-rbac-proxy", "benches", None),
            ("new", "crates/new", "request", None),
        ] {
            assert_eq!(faults(from, folder, to, kind).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn right_arrows_and_those_of_tests_are_none() {
        for (from, folder, to, kind) in [
            ("auth", "crates/auth", "kube-api", None),
            ("kube-rbac-proxy", "bin/kube-rbac-proxy", "proxy", None),
            ("proxy", "crates/proxy", "testkit", Some("dev")),
            ("testkit", "crates/testkit", "request", None),
            ("benches", "benches", "testkit", None),
        ] {
            assert_eq!(faults(from, folder, to, kind), [""; 0], "{from} -> {to}");
        }
    }
}
