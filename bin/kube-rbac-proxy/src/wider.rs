use crate::{files::Files, settings::Settings};

/// The rows of "Wider" in docs/compatibility.md that these settings bring about.
pub(crate) fn rows(settings: &Settings, files: &Files) -> Vec<&'static str> {
    let config = files.deciding.config.current();
    let resource = config.resource_attributes.as_ref();
    let upstream = &settings.upstream;
    let rows = [
        ("unclean-path-unread", resource.is_some() && upstream.address.base_path.trim_end_matches('/').is_empty()),
        ("endpoints-more", settings.listeners.endpoints.is_some()),
        ("livez-path", settings.listeners.livez.is_some()),
        ("verb-honoured", resource.is_some_and(|attributes| attributes.verb.is_some())),
        ("oidc-keys-new", settings.deciding.oidc.is_some()),
        ("h2c-upgrade-by-h2c", upstream.speech.http2_only),
    ];
    rows.into_iter().filter(|(_, holds)| *holds).map(|(row, _)| row).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_row_of_the_page_is_known_here() {
        let page = include_str!("../../../docs/compatibility.md");
        let (_, wider) = page.split_once("\n## Wider\n").expect("the section");
        let wider = wider.split("\n## ").next().unwrap_or_default();
        let rows: Vec<&str> = wider.split("<a id=\"").skip(1).filter_map(|row| row.split('"').next()).collect();
        assert!(rows.len() > 5, "{rows:?}");
        // Nobody brings this one about: it is so on every connection.
        let rows: Vec<&str> = rows.into_iter().filter(|row| *row != "empty-lines").collect();
        for row in &rows {
            assert!(include_str!("wider.rs").contains(&format!("(\"{row}\", ")), "{row}");
        }
        assert_eq!(include_str!("wider.rs").matches("        (\"").count(), rows.len());
    }
}
