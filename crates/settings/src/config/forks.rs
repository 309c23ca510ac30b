use crate::{ParseError, yaml::Mapping};

/// Keys that forks of the Go program have, and what is said here instead.
const FORKS: [(&str, &str); 3] = [
    ("excludePaths", "use --ignore-paths"),
    ("upstreams", "one program has one upstream: start one for each, with --upstream"),
    ("endpoints", "start one program for each resource, with --allow-paths and `resourceAttributes`"),
];

/// Refuses what would be without effect here, and is not without effect where it was written for.
pub(super) fn refuse(mapping: &Mapping<'_>) -> Result<(), ParseError> {
    for (key, field) in mapping.unknown() {
        if let Some((_, instead)) = FORKS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key.text)) {
            return Err(field.key_error(&format!("is a fork's and not known here: {instead}")));
        }
    }
    Ok(())
}
