use crate::read;

/// ARCHITECTURE.md.
#[derive(Debug)]
pub(crate) struct Document(String);

/// A numbered line of the section `Invariants`, with what follows it to the next one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invariant {
    pub(crate) text: String,
    /// The names in backquotes behind `Enforced by`.
    pub(crate) tests: Vec<String>,
}

impl Document {
    pub(crate) fn read() -> Self {
        Self(read("ARCHITECTURE.md"))
    }

    /// What stands under a heading of the second level.
    pub(crate) fn section(&self, heading: &str) -> String {
        let lines = self.0.lines().skip_while(|line| line.strip_prefix("## ") != Some(heading)).skip(1);
        let section: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
        assert!(!section.is_empty(), "ARCHITECTURE.md has no section {heading:?}");
        section.join("\n")
    }

    pub(crate) fn invariants(&self) -> Vec<Invariant> {
        let mut items: Vec<String> = Vec::new();
        for line in self.section("Invariants").lines() {
            let is_numbered = line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
            match items.last_mut() {
                _ if is_numbered => items.push(line.to_owned()),
                Some(item) => item.extend([" ", line.trim()]),
                None => {}
            }
        }
        items.into_iter().map(Invariant::parse).collect()
    }
}

impl Invariant {
    fn parse(text: String) -> Self {
        let enforced = text.split_once("Enforced by").map(|(_, behind)| behind).unwrap_or_default();
        let tests = enforced.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Self { text, tests }
    }
}

/// The dependencies of the workspace that are not its own rooms.
pub(crate) fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let section = section.take_while(|line| !line.starts_with('['));
    let entries = section.filter_map(|line| line.split_once(" = ")).filter(|(_, what)| !what.contains("path = "));
    entries.map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariants_are_read_with_their_tests() {
        let text = "## Invariants\nWords.\n1. **`A` holds.** Enforced by `one`,\n   `two`.\n2. **B holds.**\n## Next\n3. `x`\n";
        let invariants = Document(text.to_owned()).invariants();
        let tests: Vec<&[String]> = invariants.iter().map(|invariant| invariant.tests.as_slice()).collect();
        assert_eq!(tests, [&["one".to_owned(), "two".to_owned()][..], &[]]);
    }

    #[test]
    fn dependencies_are_those_of_others() {
        let manifest = "[x]\na = \"1\"\n[workspace.dependencies]\n# c\nauth = { path = \"crates/auth\" }\nhttp = \"1\"\n\n[y]\nb = \"1\"\n";
        assert_eq!(dependencies(manifest), ["http"]);
    }
}
