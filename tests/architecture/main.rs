//! What ARCHITECTURE.md says, held against the code: the arrows between the rooms, the tests behind the invariants, the
//! reasons for dependencies, and the size.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop and say so"
)]

mod arrows;
mod document;
mod sabotage;
mod sources;
mod threats;

use std::{fs, path::PathBuf, process::Command};

use arrows::{Graph, LAWFUL};
use document::Document;

/// For both commands: house rule, and the reason to look twice at what could be smaller.
const MOST_LINES: usize = 20_000;

#[test]
fn arrows_point_only_downwards() {
    let faults = Graph::of_workspace().faults(LAWFUL);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_room_is_on_the_map() {
    let map = Document::read().section("Code map");
    for room in Graph::of_workspace().rooms() {
        assert!(map.contains(&format!("`{room}/`")), "ARCHITECTURE.md's code map has no line for `{room}/`");
    }
}

#[test]
fn every_invariant_is_enforced_by_a_test_that_exists() {
    let invariants = Document::read().invariants();
    assert!(invariants.len() >= 10, "only {} invariants were found", invariants.len());
    let tests = sources::tests();
    for invariant in invariants {
        assert!(!invariant.tests.is_empty(), "no test is named for invariant {}", invariant.text);
        for test in invariant.tests {
            assert!(tests.contains(&test), "there is no test {test}, which is named for invariant {}", invariant.text);
        }
    }
}

#[test]
fn every_difference_of_kube_oidc_proxy_is_shown_by_a_test() {
    let (page, tests) = (read("docs/compatibility-kube-oidc-proxy.md"), sources::tests());
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| <a id=")).collect();
    assert!(rows.len() >= 20, "only {} rows were found", rows.len());
    for row in rows {
        assert!(row.split('`').any(|word| tests.contains(word)), "no test shows {row}");
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let reasons = Document::read().section("Dependencies");
    let given = |name: &str| reasons.lines().any(|line| line.starts_with("- ") && line.contains(&format!("`{name}`")));
    let dependencies = document::dependencies(&read("Cargo.toml"));
    assert!(dependencies.len() >= 20, "only {} dependencies were found", dependencies.len());
    for name in dependencies {
        assert!(given(&name), "ARCHITECTURE.md gives no reason for the dependency `{name}`");
    }
}

#[test]
fn the_house_stays_small() {
    let output = Command::new("sh").arg(root().join("tests/architecture/size")).output().expect("sh is there");
    let text = String::from_utf8(output.stdout).expect("text");
    let all = text.lines().find_map(|line| line.strip_suffix(" all")).unwrap_or_else(|| panic!("no sum in {text:?}"));
    let lines: usize = all.trim().parse().expect("a number");
    assert!((5_000..MOST_LINES).contains(&lines), "{lines} lines of Rust without tests:\n{text}");
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
