use request::{Attributes, ResourceAttributes};

use crate::{PolicyRule, Shortfall, Text};

/// Any verb, API group or resource; not any name.
const ANY: &str = "*";

impl PolicyRule {
    /// Whether the rule allows what is asked for, given to the user where it is asked for.
    pub fn allows(&self, attributes: &Attributes) -> bool {
        match attributes {
            Attributes::Resource(asked) => {
                self.has_verb(&asked.verb) && self.has_api_group(&asked.group) && self.has_resource(asked) && self.has_name(&asked.name)
            }
            Attributes::NonResource { verb, path } => self.has_verb(verb) && self.has_path(path),
        }
    }

    /// What the rule lacks to allow it; `None` when the rule is about paths and a resource is asked for, or the other way
    /// round.
    pub(crate) fn shortfalls(&self, attributes: &Attributes) -> Option<Vec<Shortfall>> {
        let (about_this, conditions) = match attributes {
            Attributes::Resource(asked) => (
                self.non_resource_urls.is_empty(),
                vec![
                    (self.has_verb(&asked.verb), Shortfall::Verb),
                    (self.has_api_group(&asked.group), Shortfall::ApiGroup),
                    (self.has_resource(asked), Shortfall::Resource),
                    (self.has_name(&asked.name), Shortfall::ResourceName),
                ],
            ),
            Attributes::NonResource { verb, path } => {
                (!self.non_resource_urls.is_empty(), vec![(self.has_verb(verb), Shortfall::Verb), (self.has_path(path), Shortfall::Path)])
            }
        };
        about_this.then(|| conditions.into_iter().filter(|(holds, _)| !holds).map(|(_, shortfall)| shortfall).collect())
    }

    fn has_verb(&self, verb: &str) -> bool {
        has_or_any(&self.verbs, verb)
    }

    fn has_api_group(&self, group: &str) -> bool {
        has_or_any(&self.api_groups, group)
    }

    fn has_resource(&self, asked: &ResourceAttributes) -> bool {
        let (resource, subresource) = (asked.resource.as_str(), asked.subresource.as_str());
        self.resources.iter().any(|known| match &**known {
            ANY => true,
            known if subresource.is_empty() => known == resource,
            // Not split at a slash: the names that are asked for may have slashes of their own.
            known => {
                let parent = known.strip_suffix(subresource).and_then(|rest| rest.strip_suffix('/'));
                parent.is_some_and(|parent| parent == resource || parent == ANY)
            }
        })
    }

    fn has_name(&self, name: &str) -> bool {
        self.resource_names.is_empty() || has(&self.resource_names, name)
    }

    fn has_path(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|known| {
            let prefix = known.trim_end_matches('*');
            if prefix.len() < known.len() { path.starts_with(prefix) } else { path == prefix }
        })
    }
}

fn has(list: &[Text], wanted: &str) -> bool {
    list.iter().any(|item| **item == *wanted)
}

fn has_or_any(list: &[Text], wanted: &str) -> bool {
    list.iter().any(|item| **item == *wanted || **item == *ANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(items: &[&str]) -> Vec<Text> {
        items.iter().map(|&item| item.into()).collect()
    }

    /// A rule for pods of the core group, whose fields are then changed.
    fn rule(change: impl FnOnce(&mut PolicyRule)) -> PolicyRule {
        let (verbs, api_groups, resources) = (texts(&["get"]), texts(&[""]), texts(&["pods"]));
        let mut rule = PolicyRule { verbs, api_groups, resources, ..PolicyRule::default() };
        change(&mut rule);
        rule
    }

    fn asked(verb: &str, group: &str, resource: &str, subresource: &str, name: &str) -> Attributes {
        let [verb, group, resource, subresource, name] = [verb, group, resource, subresource, name].map(str::to_owned);
        Attributes::Resource(ResourceAttributes { verb, group, resource, subresource, name, ..ResourceAttributes::default() })
    }

    fn get(resource: &str, subresource: &str) -> Attributes {
        asked("get", "", resource, subresource, "")
    }

    #[track_caller]
    fn check(rule: &PolicyRule, cases: &[(Attributes, bool)]) {
        for (attributes, expected) in cases {
            assert_eq!(rule.allows(attributes), *expected, "{rule:?} {attributes:?}");
            assert_eq!(rule.shortfalls(attributes).is_some_and(|lacking| lacking.is_empty()), *expected, "{rule:?} {attributes:?}");
        }
    }

    #[test]
    fn verbs_and_groups_are_exact_or_a_star() {
        check(
            &rule(|_| ()),
            &[
                (get("pods", ""), true),
                (asked("list", "", "pods", "", ""), false),
                (asked("GET", "", "pods", "", ""), false),
                (asked("*", "", "pods", "", ""), false),
                (asked("get", "apps", "pods", "", ""), false),
                (asked("get", "*", "pods", "", ""), false),
            ],
        );
        check(&rule(|rule| rule.verbs = texts(&["list", "*"])), &[(get("pods", ""), true), (asked("", "", "pods", "", ""), true)]);
        check(&rule(|rule| rule.api_groups = texts(&["*"])), &[(asked("get", "apps", "pods", "", ""), true), (get("pods", ""), true)]);
        check(&rule(|rule| rule.verbs = texts(&["ge*"])), &[(get("pods", ""), false)]);
        check(&rule(|rule| rule.verbs.clear()), &[(get("pods", ""), false)]);
        check(&rule(|rule| rule.api_groups.clear()), &[(get("pods", ""), false)]);
        check(&rule(|rule| rule.resources.clear()), &[(get("pods", ""), false)]);
    }

    #[test]
    fn a_star_is_every_resource_and_a_star_with_a_slash_every_resources_subresource() {
        check(&rule(|rule| rule.resources = texts(&["*"])), &[(get("pods", ""), true), (get("pods", "log"), true), (get("", ""), true)]);
        check(
            &rule(|rule| rule.resources = texts(&["*/log"])),
            &[
                (get("pods", "log"), true),
                (get("", "log"), true),
                (get("pods", ""), false),
                (get("pods", "logs"), false),
                (get("pods", "xlog"), false),
                (get("pods", "a/log"), false),
                (get("*", "log"), true),
                (get("pods/log", ""), false),
            ],
        );
    }

    #[test]
    fn a_subresource_is_named_with_its_resource() {
        check(
            &rule(|rule| rule.resources = texts(&["pods/log"])),
            &[
                (get("pods", "log"), true),
                (get("pods/log", ""), true),
                (get("pods", ""), false),
                (get("pod", "s/log"), false),
                (get("pods", "log/"), false),
                (get("pods/log", "x"), false),
            ],
        );
        check(&rule(|_| ()), &[(get("pods", "log"), false)]);
        let slashes = rule(|rule| rule.resources = texts(&["a/b/c"]));
        check(&slashes, &[(get("a", "b/c"), true), (get("a/b", "c"), true), (get("a/b/c", ""), true)]);
    }

    #[test]
    fn other_stars_are_literal() {
        for literal in ["pods/*", "*/*", "po*"] {
            check(&rule(|rule| rule.resources = texts(&[literal])), &[(get("pods", ""), false), (get("pods", "log"), false)]);
        }
        check(&rule(|rule| rule.resources = texts(&["*/*"])), &[(get("pods", "*"), true)]);
    }

    #[test]
    fn names_are_exact_and_none_are_all() {
        let named = |name: &str| asked("get", "", "pods", "", name);
        check(&rule(|_| ()), &[(named(""), true), (named("web"), true)]);
        check(&rule(|rule| rule.resource_names = texts(&["web", "*"])), &[(named("web"), true), (named("db"), false), (named(""), false)]);
        check(&rule(|rule| rule.resource_names = texts(&[""])), &[(named(""), true), (named("web"), false)]);
    }

    #[test]
    fn paths_are_exact_or_begin_as_before_the_last_stars() {
        let path = |path: &str| Attributes::NonResource { verb: "get".to_owned(), path: path.to_owned() };
        let paths = |pattern: &str| {
            rule(|rule| *rule = PolicyRule { non_resource_urls: texts(&[pattern]), verbs: texts(&["get"]), ..PolicyRule::default() })
        };
        check(&paths("/a"), &[(path("/a"), true), (path("/a/"), false), (path("/a/b"), false), (path("/A"), false)]);
        check(&paths("/a/*"), &[(path("/a/"), true), (path("/a/b/c"), true), (path("/a"), false)]);
        check(&paths("/a*"), &[(path("/a"), true), (path("/ab"), true)]);
        check(&paths("/a**"), &[(path("/a"), true), (path("/a*"), true), (path("/b"), false)]);
        for all in ["*", "**"] {
            check(&paths(all), &[(path(""), true), (path("/"), true), (path("x"), true)]);
        }
        check(&paths("/a/*/b"), &[(path("/a/*/b"), true), (path("/a/x/b"), false)]);
        check(&paths("/a"), &[(Attributes::NonResource { verb: "post".to_owned(), path: "/a".to_owned() }, false)]);
    }

    #[test]
    fn a_rule_for_paths_allows_no_resource_and_the_other_way_round() {
        let everything = || (texts(&["*"]), texts(&["*"]));
        let (verbs, non_resource_urls) = everything();
        check(&PolicyRule { verbs, non_resource_urls, ..PolicyRule::default() }, &[(get("pods", ""), false)]);
        let (verbs, resources) = everything();
        let resources = PolicyRule { verbs, resources, api_groups: texts(&["*"]), ..PolicyRule::default() };
        check(&resources, &[(Attributes::NonResource { verb: "get".to_owned(), path: "/".to_owned() }, false)]);
    }
}
