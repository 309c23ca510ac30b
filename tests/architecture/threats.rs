use std::collections::BTreeMap;

use crate::{read, sources};

/// How many threats of each kind there are, counted from 1.
const THREATS: [(&str, usize); 7] = [("go", 17), ("id", 7), ("path", 6), ("frame", 8), ("limit", 10), ("cred", 14), ("fault", 27)];

/// The suites that drive the real program.
const SUITES: [&str; 3] = ["tests/acceptance", "tests/cluster", "tests/differential"];

/// The kinds of threats that are shown on kube-oidc-proxy too.
const OF_BOTH: [&str; 3] = ["id-", "frame-", "cred-"];
/// Those of them that are none there.
const NOT_OF_OIDC: [(&str, &str); 1] = [("id-3", "it serves nobody whom it does not know")];

/// What a row says of the tests.
struct Row<'a> {
    proof: &'a str,
    named: Vec<&'a str>,
}

impl<'a> Row<'a> {
    /// The rows of docs/threats.md by their ids.
    fn all(text: &'a str) -> BTreeMap<&'a str, Self> {
        let mut rows = BTreeMap::new();
        for line in text.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, id, _, proof, _] = cells[..] else { continue };
            let is_id = THREATS.iter().any(|(kind, _)| id.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-') && rest.len() > 1));
            if is_id && !id.contains("---") {
                let row = Self { proof, named: proof.split('`').skip(1).step_by(2).collect() };
                assert!(rows.insert(id, row).is_none(), "docs/threats.md has {id} twice");
            }
        }
        rows
    }

    fn does_not_apply(&self) -> bool {
        self.proof.strip_prefix("does not apply: ").is_some_and(|reason| reason.len() > 20)
    }
}

#[test]
fn every_threat_has_a_test() {
    let (text, all, driving) = (read("docs/threats.md"), sources::tests(), sources::tests_in(&SUITES));
    let (beside_go, on_oidc) = (sources::tests_in(&["tests/differential"]), sources::tests_in(&["tests/acceptance/oidc_proxy"]));
    let rows = Row::all(&text);
    let ids: Vec<String> = THREATS.iter().flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}-{number}"))).collect();
    let mut faults: Vec<String> =
        rows.keys().filter(|id| !ids.iter().any(|known| known == *id)).map(|id| format!("{id} is no threat")).collect();
    for id in &ids {
        let Some(row) = rows.get(id.as_str()) else {
            faults.push(format!("{id} has no row"));
            continue;
        };
        faults.extend(row.named.iter().filter(|name| !all.contains(**name)).map(|name| format!("{id}: there is no test {name}")));
        let is_driven = row.named.iter().any(|name| driving.contains(*name));
        if !is_driven && !row.does_not_apply() {
            faults.push(format!("{id} names no test that drives the program, nor says why it does not apply"));
        }
        let of_oidc = row.named.iter().any(|name| on_oidc.contains(*name));
        let is_none = row.does_not_apply() || NOT_OF_OIDC.iter().any(|(known, _)| known == id);
        if OF_BOTH.iter().any(|kind| id.starts_with(kind)) && of_oidc == is_none {
            faults.push(format!("{id} names a test of kube-oidc-proxy, or NOT_OF_OIDC says why there is none: {of_oidc}, {is_none}"));
        }
        // What was seen in the Go program is given to it too: the test fails when it does otherwise than is said of it.
        if id.starts_with("go-") && !row.named.iter().any(|name| beside_go.contains(*name)) {
            faults.push(format!("{id} names no test of the differential suite"));
        }
    }
    assert!(faults.is_empty(), "docs/threats.md: {faults:#?}");
}

#[test]
fn no_banned_crate_is_built() {
    // What the lock file has for targets that are not built for counts for nothing.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = ["tree", "--workspace", "--edges", "normal,build", "--target", "all", "--prefix", "none", "--format", "{p}", "--offline"];
    let output = std::process::Command::new(cargo).args(tree).current_dir(crate::root()).output().expect("cargo is there");
    let text = String::from_utf8(output.stdout).expect("text");
    let built: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(built.contains(&"rustls"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for banned in ["ring", "openssl", "openssl-sys", "native-tls", "rsa"] {
        assert!(!built.contains(&banned), "{banned} is built");
    }
}

#[test]
fn rows_are_read_with_their_tests() {
    let text = "| id | threat | tests |\n|---|---|---|\n| go-1 | `x` | `one`, `two` |\n| gone-1 | a | b |\n| id-2 | a | does not apply: because of what it is |\n";
    let rows = Row::all(text);
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), ["go-1", "id-2"]);
    assert_eq!(rows["go-1"].named, ["one", "two"]);
    assert!(rows["id-2"].does_not_apply() && !rows["go-1"].does_not_apply());
}
