use std::{collections::BTreeMap, fs, path::Path};

/// The rows of docs/compatibility.md by their anchors.
#[derive(Clone, Debug)]
pub(crate) struct Rows(BTreeMap<String, Row>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    section: String,
    text: String,
}

/// The section whose rows may let pass what the Go program refuses.
const WIDER: &str = "Wider";

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

impl Rows {
    pub(crate) fn read() -> Self {
        Self::parse(&read("docs/compatibility.md"))
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut section = "";
        let mut rows = BTreeMap::new();
        for line in text.lines() {
            section = line.strip_prefix("## ").unwrap_or(section);
            let Some(id) = line.split("<a id=\"").nth(1).and_then(|rest| rest.split('"').next()) else { continue };
            let former = rows.insert(id.to_owned(), Row { section: section.trim().to_owned(), text: line.to_owned() });
            assert_eq!(former, None, "docs/compatibility.md has the anchor {id} twice");
        }
        Self(rows)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub(crate) fn is_wider(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|row| row.section == WIDER)
    }

    /// The rows that nothing shows: neither one of these, which cases declare, nor a test that the row names in backquotes.
    pub(crate) fn unshown(&self, declared: &[&str]) -> Vec<&str> {
        let tests = tests();
        let names_a_test = |row: &Row| row.text.split('`').any(|word| tests.contains(&format!("fn {word}()")));
        let rows = self.0.iter().filter(|(id, row)| !declared.contains(&id.as_str()) && !names_a_test(row));
        rows.map(|(id, _)| id.as_str()).collect()
    }
}

/// The flags that docs/flags.md lists.
pub(crate) fn flags() -> Vec<String> {
    let text = read("docs/flags.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `-")?.split('`').next());
    rows.map(|name| name.trim_start_matches('-').to_owned()).collect()
}

/// The source of the tests that rows may name: those of the suites, and of the rooms themselves.
fn tests() -> String {
    let mut text = String::new();
    for folder in ["tests/acceptance", "tests/cluster", "crates"] {
        collect(&Path::new(ROOT).join(folder), &mut text);
    }
    text
}

fn collect(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_found_with_their_sections() {
        let rows = Rows::parse("## Refused\n| <a id=\"one\"></a> | text |\n## Wider\n### <a id=\"two\"></a>Two\n");
        assert!(rows.has("one") && rows.has("two") && !rows.has("three"));
        assert!(rows.is_wider("two") && !rows.is_wider("one"));
    }

    #[test]
    fn a_row_is_shown_by_a_case_or_by_a_test_that_exists() {
        let rows =
            Rows::parse("<a id=\"a\"></a>\n<a id=\"b\"></a> (`a_second_signal_ends_it_at_once`)\n<a id=\"c\"></a> (`no_such_test`)\n");
        assert_eq!(rows.unshown(&["a"]), ["c"]);
    }
}
