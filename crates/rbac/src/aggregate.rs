//! What kube-controller-manager's clusterrole-aggregation controller does
//! (`pkg/controller/clusterroleaggregation` of Kubernetes), brought to its end at once.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{AggregationRule, Text, world::Rules};

/// A cluster role that may be an aggregate, a source of others, or both.
pub(crate) struct Candidate {
    pub(crate) labels: BTreeMap<Text, Text>,
    pub(crate) aggregation: Option<AggregationRule>,
    pub(crate) rules: Rules,
}

/// Gives each aggregate the rules of its sources.
pub(crate) fn resolve(roles: &mut BTreeMap<Text, Candidate>) {
    let mut roles: Vec<&mut Candidate> = roles.values_mut().collect();
    let sources: Vec<Vec<usize>> = (0..roles.len()).map(|index| sources_of(index, &roles)).collect();
    let mut done = vec![false; roles.len()];
    for circle in circles(&sources) {
        // Sources in the same circle are not done yet and yield nothing.
        let outside = circle.iter().flat_map(|&member| targets(&sources, member)).filter(|&&source| done.get(source) == Some(&true));
        let gathered = union(outside.filter_map(|&source| roles.get(source)).map(|role| &role.rules));
        for &member in &circle {
            if let Some(role) = roles.get_mut(member)
                && (circle.len() > 1 || !gathered.is_empty())
            {
                role.rules = gathered.clone();
            }
            if let Some(done) = done.get_mut(member) {
                *done = true;
            }
        }
    }
}

/// In the controller's order: by selector, then by name.
fn sources_of(index: usize, roles: &[&mut Candidate]) -> Vec<usize> {
    let selectors = roles.get(index).and_then(|role| role.aggregation.as_ref()).map(|aggregation| aggregation.selectors.as_slice());
    let selected = selectors
        .unwrap_or_default()
        .iter()
        .flat_map(|selector| roles.iter().enumerate().filter(|(_, role)| selector.selects(&role.labels)).map(|(source, _)| source));
    selected.filter(|&source| source != index).collect()
}

fn union<'a>(sources: impl Iterator<Item = &'a Rules>) -> Rules {
    // Equal rules are the same rule.
    let mut seen = HashSet::new();
    sources.flat_map(|rules| rules.iter()).filter(|rule| seen.insert(Arc::as_ptr(rule))).cloned().collect()
}

/// The nodes in groups of those that lead to each other, after the groups that they lead to (Kosaraju's algorithm).
fn circles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut reversed = vec![Vec::new(); edges.len()];
    for (node, targets) in edges.iter().enumerate() {
        for &target in targets {
            if let Some(back) = reversed.get_mut(target) {
                back.push(node);
            }
        }
    }
    let (mut seen, mut left) = (HashSet::new(), Vec::new());
    for node in 0..edges.len() {
        visit(&reversed, node, &mut seen, &mut left);
    }
    seen.clear();
    let mut circles = Vec::new();
    for &node in left.iter().rev() {
        let mut circle = Vec::new();
        visit(edges, node, &mut seen, &mut circle);
        if !circle.is_empty() {
            circles.push(circle);
        }
    }
    circles
}

/// Adds the nodes that can be reached and were not seen before, in the order in which a depth-first walk leaves them.
fn visit(edges: &[Vec<usize>], start: usize, seen: &mut HashSet<usize>, left: &mut Vec<usize>) {
    if !seen.insert(start) {
        return;
    }
    let mut path = vec![(start, targets(edges, start))];
    while let Some((node, rest)) = path.last_mut() {
        match rest.find(|&&next| seen.insert(next)) {
            Some(&next) => path.push((next, targets(edges, next))),
            None => {
                left.push(*node);
                path.pop();
            }
        }
    }
}

fn targets(edges: &[Vec<usize>], node: usize) -> std::slice::Iter<'_, usize> {
    edges.get(node).map(Vec::as_slice).unwrap_or_default().iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LabelSelector, PolicyRule};

    /// A role's name, which is also its label, the verbs of its own rules, and the names that it selects.
    type Given<'a> = (&'a str, &'a [&'a str], Option<&'a [&'a str]>);

    fn resolved(roles: &[Given]) -> Vec<String> {
        let rule = |verb: &&str| Arc::new(PolicyRule { verbs: vec![(*verb).into()], ..PolicyRule::default() });
        let mut pool: BTreeMap<String, Arc<PolicyRule>> = BTreeMap::new();
        let selector = |name: &&str| LabelSelector { labels: BTreeMap::from([((*name).into(), "".into())]), ..LabelSelector::default() };
        let mut candidate = |&(name, verbs, selected): &Given| {
            let labels = BTreeMap::from([(name.into(), "".into())]);
            let aggregation = selected.map(|names| AggregationRule { selectors: names.iter().map(selector).collect() });
            let rules = verbs.iter().map(|verb| pool.entry((*verb).to_owned()).or_insert_with(|| rule(verb)).clone()).collect();
            (name.into(), Candidate { labels, aggregation, rules })
        };
        let mut roles = roles.iter().map(&mut candidate).collect();
        resolve(&mut roles);
        let verbs = |role: &Candidate| role.rules.iter().flat_map(|rule| rule.verbs.iter().map(|verb| &**verb)).collect::<String>();
        roles.iter().map(|(name, role)| format!("{name}={}", verbs(role))).collect()
    }

    #[test]
    fn sources_replace_an_aggregates_own_rules_in_the_controllers_order() {
        let roles: &[Given] =
            &[("agg", &["own"], Some(&["b", "a", "b"])), ("a", &["1", "2"], None), ("b", &["2", "3"], None), ("c", &["4"], None)];
        assert_eq!(resolved(roles), ["a=12", "agg=231", "b=23", "c=4"]);
    }

    #[test]
    fn an_aggregate_keeps_its_own_rules_while_its_sources_yield_none() {
        let roles: &[Given] =
            &[("a", &["1"], Some(&["none"])), ("b", &["2"], Some(&["empty"])), ("empty", &[], None), ("c", &["3"], Some(&["a"]))];
        assert_eq!(resolved(roles), ["a=1", "b=2", "c=1", "empty="]);
    }

    #[test]
    fn an_aggregate_is_not_its_own_source() {
        assert_eq!(resolved(&[("a", &["1"], Some(&["a", "b"])), ("b", &["2"], None)]), ["a=2", "b=2"]);
        assert_eq!(resolved(&[("a", &["1"], Some(&["a"]))]), ["a=1"]);
    }

    #[test]
    fn aggregates_of_aggregates_settle_whatever_their_names() {
        let chain: &[Given] = &[("a", &[], Some(&["b"])), ("b", &[], Some(&["c"])), ("c", &["old"], Some(&["d"])), ("d", &["1"], None)];
        assert_eq!(resolved(chain), ["a=1", "b=1", "c=1", "d=1"]);
        let chain: &[Given] = &[("d", &[], Some(&["c"])), ("c", &[], Some(&["b"])), ("b", &["old"], Some(&["a"])), ("a", &["1"], None)];
        assert_eq!(resolved(chain), ["a=1", "b=1", "c=1", "d=1"]);
    }

    #[test]
    fn a_circle_has_what_comes_from_outside() {
        let roles: &[Given] = &[
            ("a", &["old"], Some(&["b"])),
            ("b", &[], Some(&["c", "x"])),
            ("c", &[], Some(&["a", "y"])),
            ("x", &["1"], None),
            ("y", &["2"], None),
            ("z", &["own"], Some(&["a"])),
        ];
        let resolved = resolved(roles);
        for name in ["a", "b", "c", "z"] {
            assert!(["12", "21"].iter().any(|rules| resolved.contains(&format!("{name}={rules}"))), "{resolved:?}");
        }
        assert_eq!(self::resolved(&[("a", &["1"], Some(&["b"])), ("b", &[], Some(&["a"]))]), ["a=", "b="]);
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let edges: Vec<Vec<usize>> = (0..200_000).map(|node| vec![node + 1]).chain([vec![]]).collect();
        let circles = circles(&edges);
        assert_eq!(circles.len(), edges.len());
        assert_eq!(circles[0], [200_000]);
    }
}
