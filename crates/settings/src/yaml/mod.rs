//! A YAML or JSON document as a tree that knows where in the file each of its parts stands.

mod fields;

use std::{collections::HashMap, fmt};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter, Options, Spanned, options::DuplicateKeyPolicy};

pub use self::fields::{Field, Mapping};
use crate::{Contents, Location, ParseError};

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins; where it is used, for an alias.
    pub location: Location,
    /// What it is.
    pub value: Value,
}

/// What a part of a document is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, and `yes` and `on` as in the YAML of Go's users.
    Bool(bool),
    /// In one spelling for each number: the file's own is not kept.
    Number(String),
    /// Text.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// In the file's order, no key twice.
    Mapping(Vec<(Key, Node)>),
}

/// A key, and where it stands. A number is a key by its text, as in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub location: Location,
    /// Its text.
    pub text: String,
}

impl Value {
    /// What it is called in an error, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}

/// Reads a file of one document; an empty one is [`Value::Null`].
///
/// # Errors
///
/// It is no YAML, has several documents, a key twice in one mapping, or is deeper or, with its aliases written out,
/// larger than a configuration can be.
pub fn parse(contents: &Contents) -> Result<Node, ParseError> {
    let root = match serde_saphyr::from_str_with_options::<Node>(text(contents)?, options(100_000)) {
        Ok(root) => root,
        Err(Error::Eof { .. }) => Node { location: Location { line: 1, column: 1 }, value: Value::Null },
        Err(error) => return Err(describe(contents, &error)),
    };
    unambiguous(contents, root)
}

/// Reads a file of any number of documents, one at a time and those that are empty left out.
///
/// # Errors
///
/// As [`parse`], for each document, or what `take` says.
pub fn each_document(contents: &Contents, mut take: impl FnMut(Node) -> Result<(), ParseError>) -> Result<(), ParseError> {
    // A list of 10,000 objects fits into one document.
    const MAX_NODES: usize = 1_000_000;
    let mut bytes = text(contents)?.as_bytes();
    for document in serde_saphyr::read_with_options::<_, Node>(&mut bytes, options(MAX_NODES)) {
        let document = document.map_err(|error| describe(contents, &error))?;
        take(unambiguous(contents, document)?)?;
    }
    Ok(())
}

fn text(contents: &Contents) -> Result<&str, ParseError> {
    std::str::from_utf8(contents.bytes()).map_err(|error| {
        let before = contents.bytes().get(..error.valid_up_to()).map(String::from_utf8_lossy).unwrap_or_default();
        let (line, column) = before.split('\n').enumerate().last().map_or((0, 0), |(line, text)| (line, text.chars().count()));
        let location = Location { line: line as u64 + 1, column: column as u64 + 1 };
        ParseError::new("it must be UTF-8 text").in_file(contents.path()).at(location).because(error)
    })
}

fn describe(contents: &Contents, error: &Error) -> ParseError {
    let cause = match error.without_snippet() {
        Error::AliasError { error, .. } => error,
        error => error,
    };
    let message = match cause {
        Error::MultipleDocuments { .. } => "it must be one document, and another begins here".to_owned(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an alias must not stand within what it stands for".to_owned(),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasReplayStackDepthExceeded { .. } => {
            "with its aliases written out it must not be that large or deep".to_owned()
        }
        error => DefaultMessageFormatter.format_message(error).split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let wrong = ParseError::new(message).in_file(contents.path());
    match error.location() {
        Some(location) => wrong.at(location.into()),
        None => wrong,
    }
}

fn unambiguous(contents: &Contents, root: Node) -> Result<Node, ParseError> {
    match duplicate(&root) {
        Some((first, second)) => {
            let message = format!("`{}` is here for the second time, after line {}", second.text, first.location.line);
            Err(ParseError::new(message).in_file(contents.path()).at(second.location))
        }
        None => Ok(root),
    }
}

fn options(max_nodes: usize) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // Reading and dropping the tree recurses, on whatever stack the caller has.
            max_depth: 32,
            flow_nesting_limit: 32,
            max_events: max_nodes * 2,
            max_nodes: max_nodes,
            max_documents: max_nodes,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        // Found afterwards, with both places at hand.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    }
}

fn duplicate(node: &Node) -> Option<(&Key, &Key)> {
    match &node.value {
        Value::Sequence(nodes) => nodes.iter().find_map(duplicate),
        Value::Mapping(entries) => {
            let mut seen = HashMap::new();
            entries.iter().find_map(|(key, node)| match seen.insert(key.text.as_str(), key) {
                Some(first) => Some((first, key)),
                None => duplicate(node),
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

impl From<serde_saphyr::Location> for Location {
    fn from(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { location: spanned.referenced.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let text = match spanned.value {
            Value::String(text) | Value::Number(text) => text,
            Value::Bool(value) => value.to_string(),
            other => {
                return Err(de::Error::custom(format_args!(
                    "a key must be a string, not {}: put what begins with a brace in quotes",
                    other.kind()
                )));
            }
        };
        Ok(Self { location: spanned.referenced.into(), text })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(access)).map(Value::Sequence)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: impl Into<Vec<u8>>) -> Result<Node, String> {
        parse(&Contents::new("f.yaml", text)).map_err(|error| error.to_string())
    }

    /// The tree without its places.
    fn shape(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(text) => text.clone(),
            Value::String(text) => format!("{text:?}"),
            Value::Sequence(nodes) => format!("[{}]", nodes.iter().map(shape).collect::<Vec<_>>().join(" ")),
            Value::Mapping(entries) => {
                let entries = entries.iter().map(|(key, node)| format!("{}:{}", key.text, shape(node)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn a_document_is_read_as_what_it_means() {
        for (text, expected) in [
            ("", "null"),
            ("# nothing\n", "null"),
            ("---\n", "null"),
            ("a: b\n", r#"{a:"b"}"#),
            ("---\na: b\n...\n", r#"{a:"b"}"#),
            ("\u{feff}a: b\n", r#"{a:"b"}"#),
            ("a:\nb: ~\nc: null\nd: ''\n", r#"{a:null b:null c:null d:""}"#),
            ("- yes\n- True\n- off\n- 'yes'\n", r#"[true true false "yes"]"#),
            ("- 1\n- -2\n- 0x10\n- 1.50\n- '1'\n- !!str 1\n- 1a\n", r#"[1 -2 16 1.5 "1" "1" "1a"]"#),
            ("1: a\ntrue: b\n", r#"{1:"a" true:"b"}"#),
            (r#"{"a": {"b": ["c", 1, null, true]}}"#, r#"{a:{b:["c" 1 null true]}}"#),
            ("a: &x {b: c}\nd: *x\ne:\n  <<: *x\n  f: g\n", r#"{a:{b:"c"} d:{b:"c"} e:{f:"g" b:"c"}}"#),
            ("a: |\n  two\n  lines\nb: '{{ .Value }}'\n", r#"{a:"two\nlines\n" b:"{{ .Value }}"}"#),
        ] {
            let node = read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(shape(&node), expected, "{text:?}");
        }
    }

    #[test]
    fn every_part_knows_its_place() {
        let root = read("# c\na:\n  bé: [x,  1]\n").expect("read");
        let Value::Mapping(entries) = root.value else { panic!("no mapping") };
        let Value::Mapping(inner) = &entries[0].1.value else { panic!("no mapping") };
        let Value::Sequence(list) = &inner[0].1.value else { panic!("no list") };
        let places = [entries[0].0.location, inner[0].0.location, inner[0].1.location, list[0].location, list[1].location];
        let expected = [(2, 1), (3, 3), (3, 7), (3, 8), (3, 12)].map(|(line, column)| Location { line, column });
        assert_eq!(places, expected);
    }

    #[test]
    fn what_is_no_document_is_refused_where_it_is() {
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: `a` is here for the second time, after line 1"),
            ("- {x: {b: 1, b: 2}}\n", "f.yaml:1:14: `b` is here for the second time, after line 1"),
            ("a: 1\n---\nb: 2\n", "f.yaml:3:1: it must be one document, and another begins here"),
        ] {
            assert_eq!(read(text).expect_err("refused"), expected);
        }
        for (text, place) in
            [("a: [1\n", "f.yaml:1:4: "), ("a: b\n c: d\n", "f.yaml:2:3: "), ("a: *x\n", "f.yaml:1:4: "), ("? [a]\n: b\n", "f.yaml:1:3: ")]
        {
            let error = read(text).expect_err("refused");
            assert!(error.starts_with(place) && !error.contains('\n'), "{text:?}: {error}");
        }
        assert_eq!(read([b'a', b'\n', 0xc3, 0xa9, 0xff]).expect_err("refused"), "f.yaml:2:2: it must be UTF-8 text");
    }

    #[test]
    fn many_documents_know_their_places() {
        let read = |text: &str| {
            let mut documents = Vec::new();
            let ended = each_document(&Contents::new("f.yaml", text), |document| {
                documents.push(document);
                Ok(())
            });
            ended.map(|()| documents).map_err(|error| error.to_string())
        };
        let documents = read("# first\n---\na: 1\n---\n---\n# none\n---\nb:\n  c: 2\n").expect("documents");
        let places: Vec<_> = documents.iter().map(|document| (shape(document), document.location.line)).collect();
        assert_eq!(places, [("{a:1}".to_owned(), 3), ("{b:{c:2}}".to_owned(), 8)]);
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("a: 1\n---\nb: 1\nb: 2\n").expect_err("refused"), "f.yaml:4:1: `b` is here for the second time, after line 3");
        assert_eq!(read(&"---\na: 1\n".repeat(20_000)).map(|documents| documents.len()), Ok(20_000));
    }

    #[test]
    fn what_grows_out_of_bounds_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        for text in [bomb, "[".repeat(100_000), "- ".repeat(10_000), "{a: ".repeat(40) + &"}".repeat(40), "- x\n".repeat(120_000)] {
            read(text).expect_err("refused");
        }
        read("[".repeat(30) + &"]".repeat(30)).expect("deep, but no deeper than allowed");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read(bytes));
        }

        #[test]
        fn nothing_that_looks_like_yaml_is_too_much_for_it(text in "([a-c*&!|>%@`'\"#~?<{}\\[\\],:\t -]|\n|<<: |- |: |---\n|!!str |\u{feff}|é){0,60}") {
            if let Err(error) = read(text) {
                prop_assert!(error.starts_with("f.yaml:") && !error.contains('\n'), "{}", error);
            }
        }
    }
}
