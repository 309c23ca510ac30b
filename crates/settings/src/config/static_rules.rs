use super::is_near;
use crate::{
    ParseError,
    yaml::{Field, Mapping},
};

/// One of `authorization.static`: who may do what without anybody being asked. What is empty stands for everything; the
/// rest is compared letter by letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticRule {
    /// Its name in the file, and its line.
    pub place: String,
    /// The user's name.
    pub user: String,
    /// The user must be in one of them.
    pub groups: Vec<String>,
    /// Of the request's method, or of `resourceAttributes`.
    pub verb: String,
    /// Of the resource.
    pub namespace: String,
    /// Of the resource.
    pub api_group: String,
    /// Of the resource.
    pub resource: String,
    /// Of the resource.
    pub subresource: String,
    /// Of the resource.
    pub name: String,
    /// The decoded path. Empty: the rule is about a resource, and about no path.
    pub path: String,
}

const KNOWN: [&str; 9] = ["user", "verb", "namespace", "apiGroup", "resource", "subresource", "name", "resourceRequest", "path"];
const KNOWN_OF_USER: [&str; 2] = ["name", "groups"];

/// Reads the list. `by_resource`: requests are authorized as a resource, not by path.
pub(super) fn read(field: &Field<'_>, by_resource: bool, warnings: &mut Vec<String>) -> Result<Vec<StaticRule>, ParseError> {
    field.sequence()?.iter().map(|item| rule(item, by_resource, warnings)).collect()
}

fn rule(field: &Field<'_>, by_resource: bool, warnings: &mut Vec<String>) -> Result<StaticRule, ParseError> {
    let given = field.mapping(&KNOWN)?;
    refuse_unknown(&given, &KNOWN)?;
    let text = |name| Ok::<_, ParseError>(given.string(name)?.unwrap_or_default().to_owned());
    let (user, groups) = given.get("user").map(|user| subject(user, warnings)).transpose()?.unwrap_or_default();
    let rule = StaticRule {
        place: format!("{} in line {}", field.name(), field.location().line),
        user,
        groups,
        verb: text("verb")?,
        namespace: text("namespace")?,
        api_group: text("apiGroup")?,
        resource: text("resource")?,
        subresource: text("subresource")?,
        name: text("name")?,
        path: text("path")?,
    };
    let resource_request = given.get("resourceRequest").map(Field::boolean).transpose()?.unwrap_or_default();
    match (resource_request, rule.path.is_empty()) {
        (true, false) => return Err(field.error("has `path` and `resourceRequest: true`: it must have one of them")),
        (false, true) => return Err(field.error("must have `path`, or `resourceRequest: true` to be about a resource")),
        _ => {}
    }
    warnings.extend(doubts(&rule, by_resource).into_iter().map(|doubt| field.error(doubt).to_string()));
    Ok(rule)
}

fn subject(field: &Field<'_>, warnings: &mut Vec<String>) -> Result<(String, Vec<String>), ParseError> {
    let given = field.mapping(&KNOWN_OF_USER)?;
    refuse_unknown(&given, &KNOWN_OF_USER)?;
    let name = given.string("name")?.unwrap_or_default().to_owned();
    let Some(field) = given.get("groups") else { return Ok((name, Vec::new())) };
    let groups: Vec<_> = field.sequence()?.iter().map(|group| group.string().map(str::to_owned)).collect::<Result<_, _>>()?;
    if !groups.is_empty() {
        let narrower = "is enforced: the user must be in one of them; the Go kube-rbac-proxy ignores it, and allows more";
        warnings.push(field.key_error(narrower).to_string());
    }
    Ok((name, groups))
}

/// A key that is not known would leave its field empty, which stands for everything.
fn refuse_unknown(given: &Mapping<'_>, known: &[&'static str]) -> Result<(), ParseError> {
    let Some((key, field)) = given.unknown().first() else { return Ok(()) };
    Err(field.key_error(&match known.iter().find(|name| given.get(name).is_none() && is_near(name, &key.text)) {
        Some(name) => format!("is unknown: did you mean `{name}`?"),
        None => format!("is unknown, and what is missing in a static rule stands for everything: it may have {}", known.join(", ")),
    }))
}

fn doubts(rule: &StaticRule, by_resource: bool) -> Vec<&'static str> {
    let of_resource = [&rule.namespace, &rule.api_group, &rule.resource, &rule.subresource, &rule.name];
    let is_about_path = !rule.path.is_empty();
    [
        (rule.user.is_empty() && rule.groups.is_empty(), "names no user: it counts for everybody who is authenticated"),
        (rule.verb == "*", "has the verb `*`, which is that of HEAD, OPTIONS and the like alone: leave `verb` out for every method"),
        (rule.path.contains('*'), "has a `*` in its path, which stands for itself alone"),
        (is_about_path && of_resource.iter().any(|text| !text.is_empty()), "is about a path and about a resource, and so allows nothing"),
        (
            is_about_path && by_resource,
            "is about a path, and allows no request to the upstream: each is authorized as `resourceAttributes`",
        ),
        (
            !is_about_path && !by_resource,
            "is about a resource, and allows nothing: without `resourceAttributes` each request is about its path",
        ),
    ]
    .into_iter()
    .filter_map(|(holds, doubt)| holds.then_some(doubt))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfigFile, Contents};

    fn read(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(&[Contents::new("c.yaml", text)], &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        let config = read(
            "authorization:\n  static:\n  - {user: {name: anna}, verb: get, path: /metrics}\n  - USER: {Groups: [a, b]}\n    \
             ResourceRequest: true\n    namespace: ns\n    apigroup: g\n    resource: r\n    subresource: s\n    name: m\n  \
             resourceAttributes: {resource: r}\n",
        )
        .expect("read");
        let text = str::to_owned;
        let place = |index: usize, line: usize| format!("authorization.static[{index}] in line {line}");
        assert_eq!(
            config.static_rules,
            [
                StaticRule { place: place(0, 3), user: text("anna"), verb: text("get"), path: text("/metrics"), ..Default::default() },
                StaticRule {
                    place: place(1, 4),
                    groups: vec![text("a"), text("b")],
                    namespace: text("ns"),
                    api_group: text("g"),
                    resource: text("r"),
                    subresource: text("s"),
                    name: text("m"),
                    ..Default::default()
                },
            ]
        );
        assert_eq!(
            config.warnings,
            [
                "c.yaml:3:5: authorization.static[0] is about a path, and allows no request to the upstream: each is authorized as \
                 `resourceAttributes`",
                "c.yaml:4:12: authorization.static[1].user.groups is enforced: the user must be in one of them; the Go kube-rbac-proxy \
                 ignores it, and allows more",
            ]
        );
    }

    #[test]
    fn what_a_rule_does_not_do_is_a_warning() {
        for (rule, warnings) in [
            ("{user: {name: a}, path: /m}", &[][..]),
            ("{path: /m}", &["names no user"]),
            ("{user: , path: /m}", &["names no user"]),
            ("{user: {name: '', groups: []}, path: /m}", &["names no user"]),
            ("{user: {name: a}, path: /m, verb: '*'}", &["has the verb `*`"]),
            ("{user: {name: a}, path: '/m/*'}", &["has a `*` in its path"]),
            ("{user: {name: a}, path: /m, namespace: x}", &["is about a path and about a resource"]),
            ("{user: {name: a}, resourceRequest: true}", &["is about a resource, and allows nothing"]),
        ] {
            let config = read(&format!("authorization: {{static: [{rule}]}}")).unwrap_or_else(|error| panic!("{rule}: {error}"));
            assert_eq!(config.warnings.len(), warnings.len(), "{rule}: {:?}", config.warnings);
            for (warning, part) in config.warnings.iter().zip(warnings) {
                assert!(warning.starts_with("c.yaml:1:26: authorization.static[0] ") && warning.contains(part), "{warning}");
            }
        }
    }

    #[test]
    fn a_rule_that_would_allow_more_than_it_says_is_refused() {
        for (rule, expected) in [
            ("{}", "c.yaml:1:26: authorization.static[0] must have `path`, or `resourceRequest: true` to be about a resource"),
            ("{resourceRequest: false}", "1:26: authorization.static[0] must have `path`"),
            ("{path: /m, resourceRequest: true}", "1:26: authorization.static[0] has `path` and `resourceRequest: true`"),
            ("{path: /m, verbs: get}", "1:37: authorization.static[0].verbs is unknown: did you mean `verb`?"),
            ("{path: /m, usr: {name: a}}", "1:37: authorization.static[0].usr is unknown: did you mean `user`?"),
            ("{path: /m, apiVersion: v1}", "1:37: authorization.static[0].apiVersion is unknown, and what is missing"),
            ("{path: /m, user: {nmae: a}}", "1:44: authorization.static[0].user.nmae is unknown: did you mean `name`?"),
            ("{path: /m, user: {uid: a}}", "1:44: authorization.static[0].user.uid is unknown, and what is missing"),
            ("{path: /m, user: {groups: a}}", "1:52: authorization.static[0].user.groups must be a list, not a string"),
            ("{path: /m, user: {groups: [1]}}", "1:53: authorization.static[0].user.groups[0] must be a string, not a number"),
            ("{path: /m, user: anna}", "1:43: authorization.static[0].user must be a mapping, not a string"),
            ("{path: 1}", "1:33: authorization.static[0].path must be a string, not a number"),
            ("{path: /m, resourceRequest: 'false'}", "1:54: authorization.static[0].resourceRequest must be a boolean, not a string"),
            ("{path: /m, Path: /}", "authorization.static[0].path is here for the second time"),
            ("words", "1:26: authorization.static[0] must be a mapping, not a string"),
            ("null", "1:26: authorization.static[0] must be a mapping, not null"),
        ] {
            let error = read(&format!("authorization: {{static: [{rule}]}}")).expect_err(rule);
            assert!(error.contains(expected), "{rule}: {error}");
        }
    }
}
