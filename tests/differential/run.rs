use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use testkit::{
    client::Version,
    parts::{Part, skip},
};

use crate::{
    case::{Case, Declared, Group},
    rows::Rows,
    seen::{Seen, differences},
    world::World,
};

/// Gives both programs every case of a table and fails with all that is wrong.
pub(crate) async fn run(groups: &[Group]) {
    let go = match Part::KubeRbacProxyGo.path() {
        Ok(path) => path,
        Err(absent) => return skip(absent),
    };
    let (world, rows) = (World::new().await, Rows::read());
    let mut faults = Vec::new();
    for group in groups {
        faults.extend(run_group(&world, &rows, &go, group).await);
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

async fn run_group(world: &World, rows: &Rows, go: &Path, group: &Group) -> Vec<String> {
    let pairing = world.start(go, group).await;
    let mut faults = Vec::new();
    for case in &group.cases {
        for &version in case.versions {
            let (go, ours) = world.exchange(&pairing, case, version).await;
            let found = judge(rows, case, version, &go, &ours);
            faults.extend(found.into_iter().map(|fault| format!("{}: {} ({version:?}): {fault}", group.name, case.name)));
        }
    }
    if !faults.is_empty() {
        faults.push(pairing.output());
    }
    faults
}

fn judge(rows: &Rows, case: &Case, version: Version, go: &Seen, ours: &Seen) -> Vec<String> {
    let declared: Vec<&Declared> = case.declared.iter().filter(|declared| declared.version.is_none_or(|only| only == version)).collect();
    let mut faults = judge_facets(rows, &declared, differences(go, ours));
    if go.is_refused() && ours.is_passed() && !declared.iter().any(|declared| rows.is_wider(declared.row)) {
        faults.push(format!("Go refuses this and ours lets it pass: {:?}, {:?}", go.answers, ours.answers));
    }
    faults
}

/// Every difference must be declared by a row that exists, and every declared one must be there.
pub(crate) fn judge_facets(rows: &Rows, declared: &[&Declared], differences: BTreeMap<String, (String, String)>) -> Vec<String> {
    let mut faults = Vec::new();
    for (facet, (go, ours)) in &differences {
        if !declared.iter().any(|declared| declared.facet == facet) {
            faults.push(format!("undeclared difference in {facet}: Go {go}, ours {ours}"));
        }
    }
    for Declared { row, facet, .. } in declared {
        if !differences.contains_key(*facet) {
            faults.push(format!("{row} declares a difference in {facet}, and there is none"));
        }
    }
    let ids: BTreeSet<&str> = declared.iter().map(|declared| declared.row).collect();
    faults.extend(ids.into_iter().filter(|id| !rows.has(id)).map(|id| format!("docs/compatibility.md has no row {id}")));
    faults
}

#[cfg(test)]
mod tests {
    use testkit::{client::Response, upstream::Received, wire};

    use super::*;

    fn seen(status: u16, is_forwarded: bool) -> Seen {
        let head = wire::Head::parse(b"GET / HTTP/1.1\r\n\r\n");
        let received = Received { connection: 1, head, body: wire::Body::default(), certificate: None };
        Seen {
            answers: vec![Ok(Response { status, ..Response::default() })],
            forwarded: if is_forwarded { vec![received] } else { Vec::new() },
            token_reviews: Vec::new(),
            access_reviews: Vec::new(),
        }
    }

    fn judged(case: &Case, go: &Seen, ours: &Seen) -> Vec<String> {
        let rows = Rows::parse("## Others\n<a id=\"row\"></a>\n## Wider\n<a id=\"wider\"></a>\n");
        judge(&rows, case, Version::H1, go, ours)
    }

    #[test]
    fn a_difference_needs_a_row_and_a_row_a_difference() {
        let case = || Case::get("", "/");
        let (forbidden, unauthorized) = (seen(403, false), seen(401, false));
        assert_eq!(judged(&case(), &forbidden, &forbidden), [""; 0]);
        assert_eq!(judged(&case().differs("row", &["status"]), &forbidden, &unauthorized), [""; 0]);
        for (case, ours, words) in [
            (case(), &unauthorized, "undeclared difference in status"),
            (case().differs("row", &["body"]), &forbidden, "row declares a difference in body, and there is none"),
            (case().differs("other", &["status"]), &unauthorized, "no row other"),
            (case().differs_in(Version::H2, "row", &["status"]), &unauthorized, "undeclared"),
        ] {
            let faults = judged(&case, &forbidden, ours);
            assert!(faults.len() == 1 && faults[0].contains(words), "{faults:?} lack {words:?}");
        }
    }

    #[test]
    fn what_go_refuses_passes_in_no_way_that_is_not_wider() {
        let refused = seen(403, false);
        for passed in [seen(200, true), seen(200, false), seen(404, true)] {
            let facets = &["status", "forwarded"];
            let differing: Vec<_> = differences(&refused, &passed).into_keys().collect();
            let facets: Vec<&'static str> = facets.iter().copied().filter(|facet| differing.iter().any(|found| found == facet)).collect();
            let faults = judged(&Case::get("", "/").differs("row", &facets), &refused, &passed);
            assert!(faults.len() == 1 && faults[0].contains("lets it pass"), "{faults:?}");
            assert_eq!(judged(&Case::get("", "/").differs("wider", &facets), &refused, &passed), [""; 0]);
        }
    }
}
