use go_compat::{PathPattern, quote};

/// `--allow-paths` and `--ignore-paths`: which paths there are, and which need nobody's permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathLists {
    /// Empty: all paths.
    allowed: Vec<PathPattern>,
    ignored: Vec<PathPattern>,
}

impl PathLists {
    /// Reads the patterns of both flags.
    ///
    /// # Errors
    ///
    /// One line for each that is no pattern.
    pub fn parse(allowed: &[String], ignored: &[String]) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut read = |flag: &str, patterns: &[String]| -> Vec<PathPattern> {
            let parse = |text: &String| text.parse().map_err(|why| errors.push(format!("{flag}: {}: {why}", quote(text)))).ok();
            patterns.iter().filter_map(parse).collect()
        };
        let lists = Self { allowed: read("--allow-paths", allowed), ignored: read("--ignore-paths", ignored) };
        if errors.is_empty() { Ok(lists) } else { Err(errors) }
    }

    /// Whether a decoded path exists here. An ignored one does.
    pub fn allows(&self, path: &str) -> bool {
        self.allowed.is_empty() || matches_any(&self.allowed, path) || self.ignores(path)
    }

    /// Whether a decoded path needs nobody's permission.
    pub fn ignores(&self, path: &str) -> bool {
        matches_any(&self.ignored, path)
    }

    /// Whether a request's path matters to them.
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.ignored.is_empty()
    }
}

fn matches_any(patterns: &[PathPattern], path: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(allowed: &[&str], ignored: &[&str]) -> Result<PathLists, Vec<String>> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        PathLists::parse(&owned(allowed), &owned(ignored))
    }

    #[test]
    fn an_ignored_path_needs_no_place_on_the_other_list() {
        let lists = lists(&["/metrics", "/api/*"], &["/healthz"]).expect("patterns");
        assert!(lists.allows("/metrics") && lists.allows("/api/x") && lists.allows("/healthz"));
        assert!(!lists.allows("/") && !lists.allows("/api/x/y") && !lists.ignores("/metrics"));
    }

    #[test]
    fn without_a_list_every_path_is_allowed_and_none_is_ignored() {
        let lists = PathLists::default();
        assert!(lists.is_empty() && lists.allows("/x") && !lists.ignores("/x"));
    }

    #[test]
    fn every_bad_pattern_is_named() {
        let errors = lists(&["/[", "/ok"], &["\\"]).expect_err("refused");
        assert!(
            errors.len() == 2 && errors[0].starts_with("--allow-paths: \"/[\": ") && errors[1].starts_with("--ignore-paths: "),
            "{errors:?}"
        );
    }
}
