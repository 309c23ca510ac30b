use std::sync::Arc;

use request::{Attributes, User};
use settings::{ConfigFile, StaticRule};

use crate::authz::Opinion;

/// Allows what `authorization.static` of the config file allows, and asks nobody.
#[derive(Clone, Debug)]
pub(crate) struct StaticRules(pub(crate) Arc<ConfigFile>);

impl StaticRules {
    /// The first rule that matches says yes; none says no.
    pub(crate) fn authorize(&self, user: &User, asked: &Attributes) -> (Opinion, String) {
        match self.0.static_rules.iter().find(|rule| matches(rule, user, asked)) {
            Some(rule) => (Opinion::Allow, format!("{} allows it", rule.place)),
            None => (Opinion::None(NONE.to_owned()), NONE.to_owned()),
        }
    }
}

const NONE: &str = "no static rule allows it";

fn matches(rule: &StaticRule, user: &User, asked: &Attributes) -> bool {
    let is = |rule: &str, value: &str| rule.is_empty() || rule == value;
    let is_user = is(&rule.user, &user.name) && (rule.groups.is_empty() || rule.groups.iter().any(|group| user.groups.contains(group)));
    let of_resource = [&rule.namespace, &rule.api_group, &rule.resource, &rule.subresource, &rule.name];
    is_user
        && is(&rule.verb, asked.verb())
        && match asked {
            // Neither has what the other has, and a rule that has no path is about resources.
            Attributes::NonResource { path, .. } => rule.path == *path && of_resource.iter().all(|text| text.is_empty()),
            Attributes::Resource(asked) => {
                let asked = [&asked.namespace, &asked.group, &asked.resource, &asked.subresource, &asked.name];
                rule.path.is_empty() && of_resource.iter().zip(asked).all(|(rule, asked)| is(rule, asked))
            }
        }
}

#[cfg(test)]
mod tests {
    use request::ResourceAttributes;

    use super::*;

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn rules(static_rules: Vec<StaticRule>) -> StaticRules {
        StaticRules(Arc::new(ConfigFile { static_rules, ..ConfigFile::default() }))
    }

    fn allows(rule: &StaticRule, user: &User, asked: &Attributes) -> bool {
        matches!(rules(vec![rule.clone()]).authorize(user, asked).0, Opinion::Allow)
    }

    #[test]
    fn what_is_empty_stands_for_everything_and_the_rest_for_itself() {
        let anna = User { name: text("anna"), groups: vec![text("a"), text("b")], ..User::default() };
        let path = Attributes::NonResource { verb: text("get"), path: text("/metrics") };
        let resource = Attributes::Resource(ResourceAttributes {
            namespace: text("n"),
            verb: text("get"),
            group: text("g"),
            version: text("v"),
            resource: text("r"),
            subresource: text("s"),
            name: text("m"),
        });
        type Change = fn(&mut StaticRule);
        let alike: [Change; 4] =
            [|_| {}, |rule| rule.user = text("anna"), |rule| rule.verb = text("get"), |rule| rule.groups = vec![text("x"), text("b")]];
        let unlike: [Change; 6] = [
            |rule| rule.user = text("ann"),
            |rule| rule.user = text("*"),
            |rule| rule.verb = text("*"),
            |rule| rule.verb = text("GET"),
            |rule| rule.groups = vec![text("x")],
            |rule| (rule.user, rule.groups) = (text("anna"), vec![text("x")]),
        ];
        let about_path = StaticRule { path: text("/metrics"), ..StaticRule::default() };
        let about_resource = StaticRule::default();
        let changed = |rule: &StaticRule, change: Change| {
            let mut rule = rule.clone();
            change(&mut rule);
            rule
        };
        for (rule, asked, other) in [(&about_path, &path, &resource), (&about_resource, &resource, &path)] {
            for change in alike {
                let rule = changed(rule, change);
                assert!(allows(&rule, &anna, asked), "{rule:?}");
                assert!(!allows(&rule, &anna, other), "{rule:?}");
            }
            for change in unlike {
                let rule = changed(rule, change);
                assert!(!allows(&rule, &anna, asked), "{rule:?}");
            }
        }
        for path_unlike in ["/metrics/", "/metrics/*", "/", "/Metrics", "*"] {
            let rule = StaticRule { path: text(path_unlike), ..StaticRule::default() };
            assert!(!allows(&rule, &anna, &path), "{rule:?}");
        }
        let fields: [fn(&mut StaticRule, &str); 5] = [
            |rule, value| rule.namespace = text(value),
            |rule, value| rule.api_group = text(value),
            |rule, value| rule.resource = text(value),
            |rule, value| rule.subresource = text(value),
            |rule, value| rule.name = text(value),
        ];
        for (set, value) in fields.into_iter().zip(["n", "g", "r", "s", "m"]) {
            let mut rule = about_resource.clone();
            set(&mut rule, value);
            assert!(allows(&rule, &anna, &resource), "{rule:?}");
            set(&mut rule, "other");
            assert!(!allows(&rule, &anna, &resource), "{rule:?}");
            let mut rule = about_path.clone();
            set(&mut rule, value);
            assert!(!allows(&rule, &anna, &path), "a path has no {rule:?}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_is_named_and_none_is_no_denial() {
        let rule = |place: &str, path: &str| StaticRule { place: text(place), path: text(path), ..StaticRule::default() };
        let rules = rules(vec![rule("one", "/x"), rule("two", "/y"), rule("three", "/y")]);
        let asked = |path: &str| Attributes::NonResource { verb: text("get"), path: text(path) };
        assert_eq!(rules.authorize(&User::default(), &asked("/y")).1, "two allows it");
        let (opinion, why) = rules.authorize(&User::default(), &asked("/z"));
        assert!(matches!(opinion, Opinion::None(_)), "{opinion:?}");
        assert_eq!(why, NONE);
    }
}
