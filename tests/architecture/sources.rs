use std::{collections::BTreeSet, fs, path::Path};

use crate::root;

/// The names of all tests in the workspace, doctests that must not compile among them.
pub(crate) fn tests() -> BTreeSet<String> {
    tests_in(&["bin", "crates", "tests"])
}

/// The names of the tests in some folders.
pub(crate) fn tests_in(folders: &[&str]) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for folder in folders {
        collect(&root().join(folder), &mut tests);
    }
    tests
}

fn read_all(folder: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(&path).unwrap());
        }
    }
}

fn collect(folder: &Path, tests: &mut BTreeSet<String>) {
    let mut sources = Vec::new();
    read_all(folder, &mut sources);
    sources.iter().for_each(|source| tests.extend(names(source)));
}

/// The function that follows each test attribute, or each beginning of a doctest that must not compile.
fn names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_due = false;
    for line in source.lines().map(str::trim) {
        let code = line.trim_start_matches("/// ");
        let doctest = line.starts_with("/// ```compile_fail");
        is_due |= doctest || line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = code.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        if let Some(name) = function.filter(|_| is_due) {
            names.push(name.to_owned());
            is_due = false;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_other_functions() {
        let source = "fn no() {}\n#[test]\n#[should_panic]\nfn one() {}\nfn neither() {}\n#[tokio::test(start_paused = true)]\nasync fn two() {}\n\
                      /// ```compile_fail,E0451\n/// fn three(x: X) {}\n/// ```\nfn nor() {}\n";
        assert_eq!(names(source), ["one", "two", "three"]);
    }
}
