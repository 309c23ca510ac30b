//! The file of `--config-file`, in the form of the Go kube-rbac-proxy.

mod bare;
mod forks;
mod resource;
mod static_rules;

use std::{path::PathBuf, sync::Arc};

use http::HeaderName;

pub use self::{resource::ResourceAttributesConfig, static_rules::StaticRule};
use crate::{
    Contents, LoadError, ParseError, Watched,
    yaml::{self, Field, Mapping, Value},
};

/// What requests are authorized against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// The resource that stands for all requests; `None`: each request's own path.
    pub resource_attributes: Option<ResourceAttributesConfig>,
    /// Who may do what without anybody being asked, in order.
    pub static_rules: Vec<StaticRule>,
    /// What is probably not meant, each with its place.
    pub warnings: Vec<String>,
}

impl ConfigFile {
    /// Opens the file and follows it. `managed` are headers of requests that do not reach the upstream, or not as they came.
    ///
    /// # Errors
    ///
    /// As [`ConfigFile::parse`], or the file cannot be read.
    pub fn open(subject: &'static str, path: PathBuf, managed: Vec<HeaderName>) -> Result<Arc<Watched<Self>>, LoadError> {
        Watched::open(subject, vec![path], move |contents| Self::parse(contents, &managed))
    }

    /// Reads YAML or JSON.
    ///
    /// Go ignores keys that it does not know. Here they are warnings, and errors where a slip of the pen would change who
    /// may do what: below `authorization`, and misspelt below `authorization.resourceAttributes` and `authorization.rewrites`.
    ///
    /// # Errors
    ///
    /// It is no YAML, has no `authorization`, has a value of another type, a key that is refused, or a
    /// template with more in it than `{{ .Value }}`.
    pub fn parse(contents: &[Contents], managed: &[HeaderName]) -> Result<Self, ParseError> {
        let contents = contents.first().ok_or_else(|| ParseError::new("a configuration file is needed"))?;
        let node = yaml::parse(contents)?;
        let file = Field::root(contents.path(), &node);
        if *file.value() == Value::Null {
            return Err(file.error(&format!("is empty: {MINIMUM}")));
        }
        let root = file.mapping(&["authorization"])?;
        forks::refuse(&root)?;
        let mut warnings = Vec::new();
        let Some(authorization) = root.get("authorization") else {
            refuse_misspelt(&root, &["authorization"])?;
            return Err(file.error(&format!("has no `authorization`, or it is null: {MINIMUM}")));
        };
        warnings.extend(ignored(&root));
        let known = ["resourceAttributes", "rewrites", "static"];
        let authorization = authorization.mapping(&known)?;
        forks::refuse(&authorization)?;
        if let Some((key, field)) = authorization.unknown().first() {
            return Err(field.key_error(&match known.iter().find(|name| is_near(name, &key.text)) {
                Some(name) => format!("is unknown: did you mean `{name}`?"),
                None => format!("is unknown, and would be without effect: `authorization` may have {}", known.join(", ")),
            }));
        }
        let resource_attributes = resource::read(&authorization, managed, &mut warnings)?;
        let static_rules = match authorization.get("static") {
            Some(field) => static_rules::read(field, resource_attributes.is_some(), &mut warnings)?,
            None => Vec::new(),
        };
        Ok(Self { resource_attributes, static_rules, warnings })
    }
}

const MINIMUM: &str = "it must have `authorization`, and `authorization: {}` authorizes by path";

/// The known keys of a mapping, whose others are warnings unless they are misspelt.
fn known<'a>(field: &Field<'a>, known: &[&'static str], warnings: &mut Vec<String>) -> Result<Mapping<'a>, ParseError> {
    let mapping = field.mapping(known)?;
    refuse_misspelt(&mapping, known)?;
    warnings.extend(ignored(&mapping));
    Ok(mapping)
}

fn ignored(mapping: &Mapping<'_>) -> Vec<String> {
    mapping.unknown().iter().map(|(_, field)| field.key_error("is unknown, and without effect").to_string()).collect()
}

/// Refuses an unknown key that is nearly a known one which is not given.
fn refuse_misspelt(mapping: &Mapping<'_>, known: &[&'static str]) -> Result<(), ParseError> {
    let slip = mapping.unknown().iter().find_map(|(key, field)| {
        let name = known.iter().find(|name| mapping.get(name).is_none() && is_near(name, &key.text))?;
        Some(field.key_error(&format!("is unknown: did you mean `{name}`?")))
    });
    slip.map_or(Ok(()), Err)
}

/// Whether a key is a name but for one slip, or a long beginning or an end, as `group` is of `apiGroup`.
fn is_near(name: &str, key: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (name, key) = (letters(name), letters(key));
    if (key.len() > 7 && name.starts_with(&key)) || (key.len() > 3 && name.ends_with(&key)) {
        return true;
    }
    let start = name.iter().zip(&key).take_while(|(a, b)| a == b).count();
    let (name_rest, key_rest) = (name.get(start..).unwrap_or_default(), key.get(start..).unwrap_or_default());
    let end = name_rest.iter().rev().zip(key_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let slip = (name_rest.len() - end, key_rest.len() - end);
    // Two letters that changed places are one slip; in a long word any two neighbours are.
    let swapped = slip == (2, 2) && name_rest.first() == key_rest.get(1) && name_rest.get(1) == key_rest.first();
    let length = if name.len() >= 8 { 2 } else { 1 };
    swapped || (slip.0 <= length && slip.1 <= length)
}

#[cfg(test)]
mod tests {
    use request::ResourceAttributes;

    use super::*;

    fn read(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(&[Contents::new("c.yaml", text)], &[]).map_err(|error| error.to_string())
    }

    fn attributes(text: &str) -> ResourceAttributesConfig {
        read(text).unwrap_or_else(|error| panic!("{text}: {error}")).resource_attributes.expect("attributes")
    }

    #[test]
    fn resource_attributes_are_read_as_they_are_written() {
        let expected = ResourceAttributes {
            namespace: "default".to_owned(),
            verb: "get".to_owned(),
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            resource: "deployments".to_owned(),
            subresource: "proxy".to_owned(),
            name: "web".to_owned(),
        };
        let yaml = "authorization:\n  resourceAttributes:\n    namespace: default\n    apiGroup: apps\n    apiVersion: v1\n    \
                    resource: deployments\n    subresource: proxy\n    name: web\n";
        let json = r#"{"Authorization": {"RESOURCEATTRIBUTES": {"namespace": "default", "apigroup": "apps", "apiversion": "v1",
            "resource": "deployments", "subResource": "proxy", "name": "web"}}}"#;
        for text in [yaml, json] {
            assert_eq!(attributes(text).attributes("get", "x"), expected);
            assert_eq!(read(text).expect("read").warnings, [""; 0]);
        }
    }

    #[test]
    fn what_is_not_given_is_empty() {
        let nothing = ResourceAttributesConfig::default();
        for text in ["{}", "{namespace: }", "{namespace: null, verb: ''}", "{name: ''}"] {
            assert_eq!(attributes(&format!("authorization: {{resourceAttributes: {text}}}")), nothing, "{text}");
        }
    }

    #[test]
    fn without_resource_attributes_the_path_is_authorized() {
        for text in [
            "authorization: {}",
            "authorization: {resourceAttributes: null}",
            "authorization: {rewrites: , static: }",
            "authorization: {rewrites: null, static: []}",
        ] {
            assert_eq!(read(text), Ok(ConfigFile::default()), "{text}");
        }
    }

    #[test]
    fn a_verb_is_obeyed_with_a_warning() {
        let config = read("authorization: {resourceAttributes: {resource: pods,\n  verb: get}}").expect("read");
        assert_eq!(config.resource_attributes.expect("attributes").verb.as_deref(), Some("get"));
        let warning = "c.yaml:2:3: authorization.resourceAttributes.verb stands for the verb of every request's method, \
                       which the Go kube-rbac-proxy ignores";
        assert_eq!(config.warnings, [warning]);
    }

    #[test]
    fn what_is_without_effect_is_a_warning() {
        let config = read("x: 1\nauthorization: {resourceAttributes: {name: '{{ .Value }}', names: y, labels: z}}").expect("read");
        assert_eq!(
            config.warnings,
            [
                "c.yaml:1:1: x is unknown, and without effect",
                "c.yaml:2:60: authorization.resourceAttributes.names is unknown, and without effect",
                "c.yaml:2:70: authorization.resourceAttributes.labels is unknown, and without effect",
                "c.yaml:2:44: authorization.resourceAttributes.name is sent as it is: without `rewrites` no template is filled in",
            ]
        );
    }

    #[test]
    fn what_would_change_who_may_do_what_is_refused() {
        let empty = "c.yaml:1:1: the file is empty: it must have `authorization`, and `authorization: {}` authorizes by path";
        let missing = "c.yaml:1:1: the file has no `authorization`, or it is null: it must have `authorization`, and `authorization: {}` authorizes by path";
        for (text, expected) in [
            ("", empty),
            ("~", empty),
            ("x: 1", missing),
            ("{}", missing),
            ("authorization:\n", missing),
            ("authorisation: {}", "c.yaml:1:1: authorisation is unknown: did you mean `authorization`?"),
            ("[]", "c.yaml:1:1: the file must be a mapping, not a list"),
            ("authorization: []", "c.yaml:1:16: authorization must be a mapping, not a list"),
            (
                "authorization: {resourceAttribute: {}}",
                "c.yaml:1:17: authorization.resourceAttribute is unknown: did you mean `resourceAttributes`?",
            ),
            (
                "authorization: {endpoint: []}",
                "c.yaml:1:17: authorization.endpoint is unknown, and would be without effect: \
                 `authorization` may have resourceAttributes, rewrites, static",
            ),
            (
                "authorization: {Endpoints: []}",
                "c.yaml:1:17: authorization.Endpoints is a fork's and not known here: \
                 start one program for each resource, with --allow-paths and `resourceAttributes`",
            ),
            ("excludePaths: []\nauthorization: {}", "c.yaml:1:1: excludePaths is a fork's and not known here: use --ignore-paths"),
            ("authorization: {static: {}}", "c.yaml:1:25: authorization.static must be a list, not a mapping"),
            (
                "authorization: {resourceAttributes: {namespce: x}}",
                "c.yaml:1:38: authorization.resourceAttributes.namespce is unknown: did you mean `namespace`?",
            ),
            (
                "authorization: {resourceAttributes: {group: x}}",
                "c.yaml:1:38: authorization.resourceAttributes.group is unknown: did you mean `apiGroup`?",
            ),
            (
                "authorization: {resourceAttributes: {namespace: [x]}}",
                "c.yaml:1:49: authorization.resourceAttributes.namespace must be a string, not a list",
            ),
            (
                "authorization: {resourceAttributes: {name: 5}}",
                "c.yaml:1:44: authorization.resourceAttributes.name must be a string, not a number: put it in quotes",
            ),
            (
                "authorization: {resourceAttributes: {verb: true}}",
                "c.yaml:1:44: authorization.resourceAttributes.verb must be a string, not a boolean: put it in quotes",
            ),
        ] {
            assert_eq!(read(text).expect_err(text), expected);
        }
    }

    #[test]
    fn the_example_of_the_docs_is_one() {
        let page = include_str!("../../../docs/config-file.md");
        let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
        let config = read(example).expect("read");
        assert_eq!((config.static_rules.len(), config.warnings), (1, vec![]));
        assert!(config.resource_attributes.expect("attributes").rewrites.is_some());
    }

    #[test]
    fn a_slip_is_told_from_another_word() {
        for (name, key) in [
            ("name", "nmae"),
            ("name", "names"),
            ("name", "nam"),
            ("verb", "verbs"),
            ("apiGroup", "api_group"),
            ("apiGroup", "apigruop"),
            ("apiVersion", "version"),
            ("byQueryParameter", "byQueryParam"),
            ("subresource", "sub-resource"),
            ("resourceAttributes", "resourceAttribute"),
        ] {
            assert!(is_near(name, key), "{name} {key}");
        }
        for (name, key) in
            [("name", "labels"), ("name", "kind"), ("verb", "user"), ("static", "rewrites"), ("resource", "endpoints"), ("name", "")]
        {
            assert!(!is_near(name, key), "{name} {key}");
        }
    }

    #[test]
    fn an_error_at_start_names_the_flag() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, "authorization: 5").expect("written");
        let error = ConfigFile::open("--config-file", path.clone(), Vec::new()).expect_err("refused").to_string();
        assert_eq!(error, format!("--config-file: {}:1:16: authorization must be a mapping, not a number", path.display()));
    }
}
