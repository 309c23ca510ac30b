use request::Attributes;

use crate::PolicyRule;

/// What shows at a glance that a rule does not allow what is asked for, without following a pointer: for each thing
/// that it is about, one bit of two words. A glance that shows nothing proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Glance {
    verbs: u64,
    objects: u64,
}

/// The bit of all paths; resources have the others.
const PATHS: u64 = 1 << 63;
const ANY_VERB: u64 = u64::MAX;
const ANY_RESOURCE: u64 = !PATHS;

impl Glance {
    pub(crate) fn at_rule(rule: &PolicyRule) -> Self {
        let verbs = rule.verbs.iter().map(|verb| if &**verb == "*" { ANY_VERB } else { bit(verb) });
        let resources = rule.resources.iter().map(|known| if &**known == "*" { ANY_RESOURCE } else { bit(tail(known)) });
        let paths = if rule.non_resource_urls.is_empty() { 0 } else { PATHS };
        Self { verbs: verbs.fold(0, |all, one| all | one), objects: resources.fold(paths, |all, one| all | one) }
    }

    pub(crate) fn at_request(attributes: &Attributes) -> Self {
        let objects = match attributes {
            Attributes::Resource(asked) if asked.subresource.is_empty() => bit(tail(&asked.resource)),
            Attributes::Resource(asked) => bit(tail(&asked.subresource)),
            Attributes::NonResource { .. } => PATHS,
        };
        Self { verbs: bit(attributes.verb()), objects }
    }

    /// At all of several rules.
    pub(crate) fn union(self, other: Self) -> Self {
        Self { verbs: self.verbs | other.verbs, objects: self.objects | other.objects }
    }

    /// Whether a closer look is needed.
    pub(crate) fn may_allow(self, asked: Self) -> bool {
        self.verbs & asked.verbs != 0 && self.objects & asked.objects != 0
    }
}

/// Where resource and subresource meet can be read in several ways, where they end in one.
fn tail(resource: &str) -> &str {
    resource.rsplit_once('/').map_or(resource, |(_, tail)| tail)
}

/// One of 63 bits (by the better half of FNV-1a).
fn bit(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    1 << ((hash >> 32) % 63)
}

#[cfg(test)]
mod tests {
    use request::ResourceAttributes;

    use super::*;
    use crate::Text;

    #[test]
    fn what_a_rule_allows_is_never_ruled_out() {
        let words = ["get", "*", "pods", "log", "pods/log", "*/log", "a/b/log", "a/b", "", "/", "log/", "*/b/log"];
        for known in words {
            let text = || vec![Text::from(known)];
            let rule = PolicyRule { verbs: text(), api_groups: text(), resources: text(), ..PolicyRule::default() };
            for (resource, subresource) in words.iter().flat_map(|resource| words.map(|subresource| (*resource, subresource))) {
                let [verb, group, resource, subresource] = [known, known, resource, subresource].map(str::to_owned);
                let asked = ResourceAttributes { verb, group, resource, subresource, ..ResourceAttributes::default() };
                let asked = Attributes::Resource(asked);
                assert!(!rule.allows(&asked) || Glance::at_rule(&rule).may_allow(Glance::at_request(&asked)), "{rule:?} {asked:?}");
            }
        }
    }

    #[test]
    fn most_of_what_a_rule_does_not_allow_is_ruled_out() {
        let rule = PolicyRule { verbs: vec!["get".into()], resources: vec!["pods".into()], ..PolicyRule::default() };
        let paths = PolicyRule { verbs: vec!["get".into()], non_resource_urls: vec!["/a".into()], ..PolicyRule::default() };
        let asked = |verb: &str, resource: &str| {
            let [verb, resource] = [verb, resource].map(str::to_owned);
            Glance::at_request(&Attributes::Resource(ResourceAttributes { verb, resource, ..ResourceAttributes::default() }))
        };
        let path = Glance::at_request(&Attributes::NonResource { verb: "get".to_owned(), path: "/b".to_owned() });
        assert!(Glance::at_rule(&rule).may_allow(asked("get", "pods")) && Glance::at_rule(&paths).may_allow(path));
        assert!(!Glance::at_rule(&rule).may_allow(asked("list", "pods")) && !Glance::at_rule(&rule).may_allow(asked("get", "nodes")));
        assert!(!Glance::at_rule(&rule).may_allow(path) && !Glance::at_rule(&paths).may_allow(asked("get", "pods")));
        let both = Glance::at_rule(&rule).union(Glance::at_rule(&paths));
        assert!(both.may_allow(path) && both.may_allow(asked("get", "pods")));
    }
}
