use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use crate::{read, root, sources};

/// One guard and the test that must notice its end; tests/sabotage says how they are written.
#[derive(Debug)]
struct Entry {
    what: String,
    file: String,
    guard: String,
    instead: String,
    test: String,
}

/// The copy of the checkout in which guards are removed.
struct Copy {
    checkout: PathBuf,
    target: PathBuf,
}

impl Entry {
    fn all() -> Vec<Self> {
        let text = read("tests/sabotage");
        let mut entries = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(what) = line.strip_prefix("! ") else { continue };
            let mut next = |mark: char| {
                let line = lines.next().unwrap_or_default();
                let rest = line.strip_prefix(mark).unwrap_or_else(|| panic!("tests/sabotage: {what:?} has no line with {mark}"));
                rest.trim().to_owned()
            };
            let (file, guard, instead, test) = (next('@'), next('-'), next('+'), next('='));
            entries.push(Self { what: what.to_owned(), file, guard, instead, test });
        }
        entries
    }

    /// The file without the guard; `None` unless it stands there once.
    fn applied_to(&self, source: &str) -> Option<String> {
        let is_guard = |line: &str| line.trim() == self.guard;
        let replaced = |line: &str| if is_guard(line) { self.instead.clone() } else { line.to_owned() };
        let once = source.lines().filter(|line| is_guard(line)).count() == 1;
        once.then(|| source.lines().map(|line| replaced(line) + "\n").collect())
    }
}

impl Copy {
    /// Brings it up to date. What did not change is left as it is, and need not be built again.
    fn new() -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("sabotage");
        let copy = Self { checkout: target.join("checkout"), target };
        let git = Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root()).output();
        let files = String::from_utf8(git.expect("git is there").stdout).expect("names are text");
        for file in files.split_terminator('\0') {
            let Ok(content) = fs::read(root().join(file)) else { continue };
            copy.write(file, &content);
        }
        copy
    }

    /// The checkout may go on changing.
    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.checkout.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn write(&self, file: &str, content: &[u8]) {
        let path = self.checkout.join(file);
        if fs::read(&path).is_ok_and(|former| former == content) {
            return;
        }
        fs::create_dir_all(path.parent().expect("a folder")).expect("the copy can be written");
        fs::write(path, content).expect("the copy can be written");
    }

    fn cargo(&self, arguments: &[&str]) -> Output {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).current_dir(&self.checkout).env("CARGO_TARGET_DIR", &self.target).env_remove("RUST_BACKTRACE");
        cargo.output().expect("cargo is there")
    }

    /// Whether the test passes. What is not built is no verdict.
    fn passes(&self, test: &str) -> Result<bool, String> {
        for build in
            [&["build", "--quiet", "-p", "kube-rbac-proxy"][..], &["test", "--quiet", "-p", "tests", "--test", "acceptance", "--no-run"]]
        {
            let built = self.cargo(build);
            if !built.status.success() {
                return Err(format!("it does not build:\n{}", String::from_utf8_lossy(&built.stderr)));
            }
        }
        let run = self.cargo(&["test", "--quiet", "-p", "tests", "--test", "acceptance", "--", "--exact", test]);
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        match (said.contains("1 passed; 0 failed"), said.contains("0 passed; 1 failed")) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            _ => Err(format!("{test} was not run:\n{said}{}", String::from_utf8_lossy(&run.stderr))),
        }
    }
}

#[test]
fn every_guard_of_the_sabotage_stands_where_it_is_said_to() {
    let entries = Entry::all();
    assert!(entries.len() >= 25, "{} entries", entries.len());
    let tests = sources::tests_in(&["tests/acceptance"]);
    for entry in &entries {
        let Entry { what, file, test, guard, .. } = entry;
        let name = test.rsplit("::").next().unwrap_or_default();
        assert!(tests.contains(name), "{what}: there is no test {test} in tests/acceptance");
        assert!(entry.applied_to(&read(file)).is_some(), "{what}: the line does not stand once in {file}:\n{guard}");
    }
}

#[test]
fn a_guard_is_replaced_only_where_it_stands_once() {
    let entry = Entry { what: String::new(), file: String::new(), guard: "b();".into(), instead: String::new(), test: String::new() };
    assert_eq!(entry.applied_to("a();\n    b();\nc();\n").as_deref(), Some("a();\n\nc();\n"));
    assert_eq!(entry.applied_to("b();\nb();\n"), None);
    assert_eq!(entry.applied_to("a();\n"), None);
}

#[test]
#[ignore = "takes half an hour: make sabotage"]
fn every_sabotage_is_noticed() {
    let (entries, copy) = (Entry::all(), Copy::new());
    let mut faults = Vec::new();
    for test in entries.iter().map(|entry| &entry.test).collect::<BTreeSet<_>>() {
        if copy.passes(test) != Ok(true) {
            faults.push(format!("{test} does not pass with all guards in place"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for entry in &entries {
        let Entry { what, file, test, .. } = entry;
        let source = copy.read(file);
        let sabotaged = entry.applied_to(&source).expect("the guard stands there once");
        copy.write(file, sabotaged.as_bytes());
        let verdict = copy.passes(test);
        copy.write(file, source.as_bytes());
        report(&format!("{}: {what}", if verdict == Ok(false) { "noticed" } else { "NOT NOTICED" }));
        match verdict {
            Ok(false) => {}
            Ok(true) => faults.push(format!("{what}: {test} passes all the same")),
            Err(why) => faults.push(format!("{what}: {why}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    report(&format!("{} of {} are noticed", entries.len(), entries.len()));
}

#[expect(clippy::print_stderr, reason = "who waits for half an hour wants to know how far it is")]
fn report(line: &str) {
    eprintln!("{line}");
}
