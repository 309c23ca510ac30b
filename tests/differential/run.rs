use std::{collections::BTreeSet, path::Path};

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
pub(crate) fn judge_facets(
    rows: &Rows,
    declared: &[&Declared],
    differences: std::collections::BTreeMap<String, (String, String)>,
) -> Vec<String> {
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
