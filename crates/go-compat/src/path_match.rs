use std::str::FromStr;

/// A pattern of Go's [`path.Match`](https://pkg.go.dev/path#Match), read once.
///
/// `*` is any text without `/`, `?` any character but `/`, `[a-z]` and `[^a-z]` one character, which may be `/`; `\`
/// takes a character's meaning away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    chunks: Vec<Chunk>,
}

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern: a `[` without its `]`, an empty range, or a `\\` at the end")]
pub struct BadPattern;

/// What stands between two stars.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chunk {
    /// Whether a star is before it.
    star: bool,
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Byte(u8),
    /// `?`
    Any,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl PathPattern {
    /// Whether the whole path is as the pattern says.
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = path.as_bytes();
        for (index, Chunk { star, items }) in self.chunks.iter().enumerate() {
            let is_last = index + 1 == self.chunks.len();
            if *star && items.is_empty() {
                return !rest.contains(&b'/');
            }
            let fits = |start: &'_ [u8]| strip(items, start).map(<[u8]>::len).filter(|left| *left == 0 || !is_last);
            // A star takes as little as it can, and never a slash; it is not gone back to once its chunk has fitted.
            let reach = if *star { rest.iter().take_while(|byte| **byte != b'/').count() } else { 0 };
            let left = (0..=reach).find_map(|skip| fits(rest.get(skip..).unwrap_or_default()));
            let Some(left) = left else { return false };
            rest = rest.get(rest.len() - left..).unwrap_or_default();
        }
        rest.is_empty()
    }
}

impl FromStr for PathPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let mut rest = text.chars().peekable();
        let mut chunks = Vec::new();
        while rest.peek().is_some() {
            let mut chunk = Chunk { star: false, items: Vec::new() };
            while rest.next_if_eq(&'*').is_some() {
                chunk.star = true;
            }
            while let Some(character) = rest.next_if(|character| *character != '*') {
                match character {
                    '[' => chunk.items.push(class(&mut rest)?),
                    '?' => chunk.items.push(Item::Any),
                    '\\' => chunk.items.extend(bytes(rest.next().ok_or(BadPattern)?)),
                    literal => chunk.items.extend(bytes(literal)),
                }
            }
            chunks.push(chunk);
        }
        Ok(Self { chunks })
    }
}

/// What is behind `[`, up to its `]`.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Item, BadPattern> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
        let low = bound(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { bound(rest)? } else { low };
        ranges.push((low, high));
    }
    Ok(Item::Class { negated, ranges })
}

fn bound(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    let bound = match rest.next() {
        None | Some('-' | ']') => return Err(BadPattern),
        Some('\\') => rest.next().ok_or(BadPattern)?,
        Some(character) => character,
    };
    // A class cannot end here.
    rest.peek().map(|_| bound).ok_or(BadPattern)
}

fn bytes(character: char) -> impl Iterator<Item = Item> {
    character.to_string().into_bytes().into_iter().map(Item::Byte)
}

/// What is left of a text whose beginning is as the items say.
fn strip<'a>(items: &[Item], mut text: &'a [u8]) -> Option<&'a [u8]> {
    for item in items {
        let (first, _) = text.split_first()?;
        let taken = match item {
            Item::Byte(byte) => (byte == first).then_some(1)?,
            Item::Any => (*first != b'/').then(|| decode(text).1)?,
            Item::Class { negated, ranges } => {
                let (character, length) = decode(text);
                let is_in = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                (is_in != *negated).then_some(length)?
            }
        };
        text = text.get(taken..)?;
    }
    Some(text)
}

/// The first character and its length. A star that ended inside a character leaves bytes that are none: as in Go each
/// counts as U+FFFD.
fn decode(text: &[u8]) -> (char, usize) {
    let first = text.get(..4).unwrap_or(text).utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    first.map_or((char::REPLACEMENT_CHARACTER, 1), |character| (character, character.len_utf8()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> Option<bool> {
        pattern.parse::<PathPattern>().ok().map(|pattern| pattern.matches(path))
    }

    /// The cases of Go's own `path/match_test.go`.
    #[test]
    fn it_matches_what_go_matches() {
        for (pattern, path, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "abc", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Some(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^b-d]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "a☺b", Some(true)),
            ("a[^a]b", "a☺b", Some(true)),
            ("a???b", "a☺b", Some(false)),
            ("a[^a][^a][^a]b", "a☺b", Some(false)),
            ("[a-ζ]*", "α", Some(true)),
            ("*[a-ζ]", "A", Some(false)),
            ("a?b", "a/b", Some(false)),
            ("a*b", "a/b", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-]", "-", Some(true)),
            ("[x\\-]", "x", Some(true)),
            ("[x\\-]", "-", Some(true)),
            ("[x\\-]", "z", Some(false)),
            ("[\\-x]", "x", Some(true)),
            ("[\\-x]", "-", Some(true)),
            ("[\\-x]", "a", Some(false)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[x-]", "-", None),
            ("[x-]", "z", None),
            ("[-x]", "x", None),
            ("[-x]", "-", None),
            ("[-x]", "a", None),
            ("\\", "a", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a[", "a", None),
            ("a[", "ab", None),
            ("a[", "x", None),
            ("a/b[", "x", None),
            ("*x", "xxx", Some(true)),
            // Ours.
            ("", "", Some(true)),
            ("", "a", Some(false)),
            ("**", "ab", Some(true)),
            ("[^a]", "/", Some(true)),
            ("*??", "€", Some(true)),
            ("*a*", "ba", Some(true)),
            ("/api/*/x", "/api//x", Some(true)),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_signs_matches_itself_alone(text in "[a-c/é]{0,8}", other in "[a-c/é]{0,8}") {
            prop_assert_eq!(matches(&text, &other), Some(text == other));
        }

        #[test]
        fn nothing_is_too_much_for_it(pattern in "[a\\[\\]*?^é/\\\\-]{0,12}", path in "[aé/€-]{0,12}") {
            matches(&pattern, &path);
        }
    }
}
