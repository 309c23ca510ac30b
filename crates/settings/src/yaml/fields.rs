use std::path::Path;

use super::{Key, Node, Value};
use crate::{Location, ParseError};

/// A value with its name, such as `authorization.resourceAttributes.name`, for errors that say where and what.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    file: &'a Path,
    name: String,
    location: Location,
    node: &'a Node,
}

/// The known keys of a mapping, found as Go's `encoding/json` finds them: without regard to case.
#[derive(Clone, Debug)]
pub struct Mapping<'a> {
    known: Vec<(&'static str, Field<'a>)>,
    unknown: Vec<(&'a Key, Field<'a>)>,
}

impl<'a> Field<'a> {
    /// The document of a file.
    pub fn root(file: &'a Path, node: &'a Node) -> Self {
        Self { file, name: String::new(), location: node.location, node }
    }

    /// Its name from the root on; empty for the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its key stands, or the value itself where it has none.
    pub fn location(&self) -> Location {
        self.location
    }

    /// The value.
    pub fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// An error about the value; `what` follows its name, such as "must be positive".
    pub fn error(&self, what: &str) -> ParseError {
        self.at(self.node.location, what)
    }

    /// An error about the key; `what` follows its name, such as "is unknown".
    pub fn key_error(&self, what: &str) -> ParseError {
        self.at(self.location, what)
    }

    /// The value's text.
    ///
    /// # Errors
    ///
    /// It is not a string.
    pub fn string(&self) -> Result<&'a str, ParseError> {
        match &self.node.value {
            Value::String(text) => Ok(text),
            Value::Number(_) | Value::Bool(_) => {
                Err(self.error(&format!("must be a string, not {}: put it in quotes", self.node.value.kind())))
            }
            _ => Err(self.must_be("a string")),
        }
    }

    /// The value's truth.
    ///
    /// # Errors
    ///
    /// It is not a boolean.
    pub fn boolean(&self) -> Result<bool, ParseError> {
        match &self.node.value {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.must_be("a boolean")),
        }
    }

    /// The value's items, named by their index.
    ///
    /// # Errors
    ///
    /// It is not a list.
    pub fn sequence(&self) -> Result<Vec<Self>, ParseError> {
        match &self.node.value {
            Value::Sequence(nodes) => Ok(nodes
                .iter()
                .enumerate()
                .map(|(index, node)| Self { file: self.file, name: format!("{}[{index}]", self.name), location: node.location, node })
                .collect()),
            _ => Err(self.must_be("a list")),
        }
    }

    /// The value's entries: those that `known` lists, and the rest.
    ///
    /// # Errors
    ///
    /// It is not a mapping, or a known key is there twice, in different case.
    pub fn mapping(&self, known: &[&'static str]) -> Result<Mapping<'a>, ParseError> {
        let Value::Mapping(entries) = &self.node.value else { return Err(self.must_be("a mapping")) };
        let mut mapping = Mapping { known: Vec::new(), unknown: Vec::new() };
        for (key, node) in entries {
            let field = |name: &str| Self { file: self.file, name: self.child(name), location: key.location, node };
            let Some(name) = known.iter().copied().find(|name| is_key(name, &key.text)) else {
                mapping.unknown.push((key, field(&key.text.escape_debug().to_string())));
                continue;
            };
            if let Some(first) = mapping.find(name) {
                let line = first.location.line;
                return Err(field(name).key_error(&format!("is here for the second time, after line {line}")));
            }
            mapping.known.push((name, field(name)));
        }
        Ok(mapping)
    }

    fn must_be(&self, wanted: &str) -> ParseError {
        self.error(&format!("must be {wanted}, not {}", self.node.value.kind()))
    }

    fn at(&self, location: Location, what: &str) -> ParseError {
        let name = if self.name.is_empty() { "the file" } else { &self.name };
        ParseError::new(format!("{name} {what}")).in_file(self.file).at(location)
    }

    fn child(&self, name: &str) -> String {
        if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) }
    }
}

impl<'a> Mapping<'a> {
    /// A known key's value; `None` where it is missing or null, which Go takes for the same.
    pub fn get(&self, name: &str) -> Option<&Field<'a>> {
        self.find(name).filter(|field| field.node.value != Value::Null)
    }

    /// A known key's text, `None` where it is missing or null.
    ///
    /// # Errors
    ///
    /// It is not a string.
    pub fn string(&self, name: &str) -> Result<Option<&'a str>, ParseError> {
        self.get(name).map(Field::string).transpose()
    }

    /// The keys that are not known, each with its value.
    pub fn unknown(&self) -> &[(&'a Key, Field<'a>)] {
        &self.unknown
    }

    fn find(&self, name: &str) -> Option<&Field<'a>> {
        self.known.iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }
}

/// As `encoding/json` matches a key with a name of ASCII letters: two letters outside ASCII fold into it.
fn is_key(name: &str, key: &str) -> bool {
    let fold = |character| match character {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contents, yaml};

    fn with<T>(text: &str, read: impl FnOnce(Field<'_>) -> Result<T, ParseError>) -> Result<T, String> {
        let node = yaml::parse(&Contents::new("f.yaml", text)).expect("YAML");
        read(Field::root(Path::new("f.yaml"), &node)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_found_without_regard_to_case() {
        for key in ["apiGroup", "apigroup", "APIGROUP"] {
            let found = with(&format!("{key}: x\n"), |root| Ok(root.mapping(&["apiGroup"])?.string("apiGroup")?.map(str::to_owned)));
            assert_eq!(found, Ok(Some("x".to_owned())), "{key}");
        }
        assert!(is_key("resource", "reſource") && is_key("kind", "\u{212a}ind") && !is_key("name", "names"));
    }

    #[test]
    fn a_key_in_two_cases_is_refused() {
        let error = with("name: x\nNAME: y\n", |root| root.mapping(&["name"]).map(drop));
        assert_eq!(error, Err("f.yaml:2:1: name is here for the second time, after line 1".to_owned()));
    }

    #[test]
    fn null_is_as_good_as_missing() {
        let found = with("a: null\nb:\n", |root| {
            let mapping = root.mapping(&["a", "b", "c"])?;
            Ok((mapping.get("a").is_some(), mapping.string("b")?.is_some(), mapping.get("c").is_some()))
        });
        assert_eq!(found, Ok((false, false, false)));
    }

    #[test]
    fn unknown_keys_are_listed_with_their_place() {
        let found = with("a: {b: 1,\n  x: 2}\n", |root| {
            let root = root.mapping(&["a"])?;
            let inner = root.get("a").expect("a").mapping(&["b"])?;
            Ok(inner.unknown().iter().map(|(_, field)| field.key_error("is unknown").to_string()).collect::<Vec<_>>())
        });
        assert_eq!(found, Ok(vec!["f.yaml:2:3: a.x is unknown".to_owned()]));
    }

    #[test]
    fn another_type_is_refused_by_name_and_place() {
        for (text, expected) in [
            ("a:\n  - [x]\n", "f.yaml:2:5: a[0] must be a string, not a list"),
            ("a: [5]\n", "f.yaml:1:5: a[0] must be a string, not a number: put it in quotes"),
            ("a: [on]\n", "f.yaml:1:5: a[0] must be a string, not a boolean: put it in quotes"),
            ("a: [~]\n", "f.yaml:1:5: a[0] must be a string, not null"),
            ("a: {}\n", "f.yaml:1:4: a must be a list, not a mapping"),
            ("[]\n", "f.yaml:1:1: the file must be a mapping, not a list"),
        ] {
            let read = with(text, |root| {
                let mapping = root.mapping(&["a"])?;
                mapping.get("a").expect("a").sequence()?.iter().try_for_each(|item| item.string().map(drop))
            });
            assert_eq!(read, Err(expected.to_owned()));
        }
        assert_eq!(with("yes\n", |root| root.boolean()), Ok(true));
        assert_eq!(with("x\n", |root| root.boolean()), Err("f.yaml:1:1: the file must be a boolean, not a string".to_owned()));
    }
}
