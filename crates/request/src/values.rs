use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{Reason, Refusal};

/// Where requests carry the values that they are checked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueNames {
    /// A parameter of the query.
    pub parameter: Option<String>,
    /// A header.
    pub header: Option<HeaderName>,
}

/// Parameters of a query that is read: one in it may be any of them.
const MAX_PARAMETERS: usize = 1000;
/// Values of one request. Each may be a call to the API server, and all calls of a request have 5 s: 50 ms for each.
const MAX_VALUES: usize = 100;

impl ValueNames {
    /// The values of the query, then those of the header, in their order; an empty one counts.
    ///
    /// # Errors
    ///
    /// Another reader might find other values, or there are too many.
    pub(crate) fn read(&self, query: Option<&str>, headers: &HeaderMap) -> Result<Vec<String>, Refusal> {
        let mut values = Vec::new();
        if let (Some(name), Some(query)) = (&self.parameter, query) {
            of_query(name, query.as_bytes(), &mut values)?;
        }
        if let Some(name) = &self.header {
            of_header(name, headers, &mut values)?;
        }
        check_count(values.len())?;
        Ok(values)
    }

    /// The values of a form, in their order, of a request that has so many already.
    ///
    /// # Errors
    ///
    /// Another reader might find other values, or there are too many.
    pub fn in_form(&self, form: &[u8], already: usize) -> Result<Vec<String>, Refusal> {
        let mut values = Vec::new();
        if let Some(name) = &self.parameter {
            of_query(name, form, &mut values)?;
        }
        check_count(already + values.len())?;
        Ok(values)
    }
}

fn check_count(values: usize) -> Result<(), Refusal> {
    match values {
        0..=MAX_VALUES => Ok(()),
        count => Err(Refusal::because(Reason::TooManyValues, format_args!("{count} values"))),
    }
}

/// As Go's `url.ParseQuery`, but for what that drops in silence and others do not.
fn of_query(name: &str, query: &[u8], values: &mut Vec<String>) -> Result<(), Refusal> {
    let parameters = || query.split(|byte| *byte == b'&');
    let count = parameters().count();
    if count > MAX_PARAMETERS {
        return Err(Refusal::because(Reason::TooManyValues, format_args!("{count} parameters")));
    }
    if query.contains(&b';') {
        return Err(ambiguous("there is a ';', which separates parameters for some"));
    }
    for parameter in parameters() {
        let mut halves = parameter.splitn(2, |byte| *byte == b'=').map(unescape);
        let (Some(key), Some(value)) = (halves.next().flatten(), halves.next().unwrap_or(Some(Cow::Borrowed(&[])))) else {
            return Err(ambiguous("there is a '%' without two hexadecimal digits"));
        };
        match *key == *name.as_bytes() {
            true => values.push(text(&value)?),
            false if fold(&key) == fold(name.as_bytes()) => {
                return Err(ambiguous("a parameter has a name that is the same one for readers who fold case, or cut a name at a '['"));
            }
            false => {}
        }
    }
    Ok(())
}

/// What some make of a parameter's name: PHP cuts it at a NUL or a `[`, skips spaces before it and takes others for `_`, and many
/// know no case.
fn fold(name: &[u8]) -> Vec<u8> {
    let end = name.iter().position(|byte| matches!(byte, 0 | b'[')).filter(|end| *end > 0).unwrap_or(name.len());
    let name = name.get(..end).unwrap_or_default().trim_ascii();
    name.iter().map(|byte| if matches!(byte, b' ' | b'.') { b'_' } else { byte.to_ascii_lowercase() }).collect()
}

fn of_header(name: &HeaderName, headers: &HeaderMap, values: &mut Vec<String>) -> Result<(), Refusal> {
    check_arrival(name, headers)?;
    for value in headers.get_all(name).iter().map(HeaderValue::as_bytes) {
        if value.trim_ascii() != value {
            return Err(ambiguous("the value of the header begins or ends with a space, which would not arrive"));
        }
        values.push(text(value)?);
    }
    Ok(())
}

/// Whether the header that is read is the one that the upstream reads.
pub(crate) fn check_arrival(name: &HeaderName, headers: &HeaderMap) -> Result<(), Refusal> {
    let fold = |name: &HeaderName| name.as_str().replace('_', "-");
    if headers.keys().any(|other| other != name && fold(other) == fold(name)) {
        return Err(ambiguous("a header with `_` for `-` is the same one for some"));
    }
    let mut options = headers.get_all(header::CONNECTION).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    match options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes())) {
        true => Err(ambiguous("Connection names the header, which would be decided by and not arrive")),
        false => Ok(()),
    }
}

/// What a review can say exactly.
fn text(value: &[u8]) -> Result<String, Refusal> {
    match std::str::from_utf8(value) {
        Ok(text) if !text.bytes().any(|byte| byte.is_ascii_control()) => Ok(text.to_owned()),
        Ok(_) => Err(ambiguous("the value has a control byte")),
        Err(_) => Err(ambiguous("the value is not UTF-8")),
    }
}

/// Go's `url.QueryUnescape`.
fn unescape(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.iter().copied();
    let mut unescaped = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        unescaped.push(match byte {
            b'%' => crate::path::escape(bytes.next(), bytes.next())?,
            b'+' => b' ',
            byte => byte,
        });
    }
    Some(Cow::Owned(unescaped))
}

pub(crate) fn ambiguous(why: &str) -> Refusal {
    Refusal::because(Reason::AmbiguousValue, why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The values of headers are bytes, each a character.
    fn read(query: &str, headers: &[(&'static str, &str)]) -> Result<Vec<String>, Reason> {
        let names = ValueNames { parameter: Some("ns".to_owned()), header: Some(HeaderName::from_static("x-ns")) };
        let bytes = |value: &str| value.chars().map(|byte| u8::try_from(byte).expect("a byte")).collect::<Vec<_>>();
        let value = |text| HeaderValue::from_bytes(&bytes(text)).expect("a value");
        let headers = headers.iter().map(|&(name, text)| (HeaderName::from_static(name), value(text)));
        names.read(Some(query), &headers.collect()).map_err(|refusal| refusal.reason())
    }

    #[test]
    fn values_are_read_as_in_go_and_in_their_order() {
        for (query, headers, expected) in [
            ("", &[][..], &[][..]),
            ("ns=a", &[], &["a"]),
            ("x=y&ns=a&&ns=b&", &[], &["a", "b"]),
            ("ns", &[], &[""]),
            ("ns=&n%73=%41+b%2Bc=d", &[], &["", "A b+c=d"]),
            ("=d&nss=e&ns-=f&[ns]=g", &[], &[]),
            ("ns=caf%C3%A9&x=%ff", &[], &["café"]),
            ("ns=b", &[("x-ns", "a"), ("x-ns", ""), ("x-other", "\u{ff}"), ("connection", "close, x-other")], &["b", "a", ""]),
            ("ns=%20a", &[("x-ns", "a, b c")], &[" a", "a, b c"]),
            ("", &[("x-ns", "\u{c3}\u{bc}")], &["ü"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|&value| value.to_owned()).collect();
            assert_eq!(read(query, headers), Ok(expected), "{query} {headers:?}");
        }
        assert_eq!(ValueNames::default().read(Some("ns=a;%"), &HeaderMap::new()).expect("nothing is read"), [""; 0]);
    }

    #[test]
    fn what_others_might_read_otherwise_is_refused() {
        for (query, headers) in [
            ("ns=a;ns=b", &[][..]),
            ("x;ns=b", &[]),
            ("ns=a&x=%zz", &[]),
            ("ns=a&ns=b%", &[]),
            ("%4=x", &[]),
            ("ns=%ff", &[]),
            ("ns=a%00", &[]),
            ("ns=a%0d%0ab", &[]),
            ("ns=%7f", &[]),
            ("ns=a&NS=b", &[]),
            ("ns[]=b", &[]),
            ("ns%5b0]=b", &[]),
            ("ns%20=b", &[]),
            ("+ns=b", &[]),
            ("ns%00x=b", &[]),
            ("", &[("x-ns", "\u{ff}")]),
            ("", &[("x-ns", "a\tb")]),
            ("", &[("x-ns", " a")]),
            ("", &[("x-ns", "a\t")]),
            ("", &[("x_ns", "a")]),
            ("", &[("x-ns", "a"), ("x_ns", "b")]),
            ("", &[("x-ns", "a"), ("connection", "close,\tX-Ns ")]),
            ("", &[("x-ns", "a"), ("connection", "\u{ff}"), ("connection", "\u{ff}, x-ns")]),
        ] {
            assert_eq!(read(query, headers), Err(Reason::AmbiguousValue), "{query} {headers:?}");
        }
    }

    #[test]
    fn parameters_and_values_are_bounded() {
        let many = |parameter: &str, count: usize| vec![parameter; count].join("&");
        assert_eq!(read(&many("ns=a", MAX_VALUES), &[]).map(|values| values.len()), Ok(MAX_VALUES));
        assert_eq!(read(&many("x=a", MAX_PARAMETERS), &[]), Ok(vec![]));
        for (query, headers) in
            [(many("ns=a", MAX_VALUES + 1), &[][..]), (many("ns=a", MAX_VALUES), &[("x-ns", "a")]), (many("x=a", MAX_PARAMETERS + 1), &[])]
        {
            assert_eq!(read(&query, headers), Err(Reason::TooManyValues));
        }
    }

    /// What other servers read: the first `;` or `&` ends a parameter, a broken escape stands for itself, a name ends at a `[` or a
    /// NUL and has no case and no outer spaces, and the last value or any may count. Whatever they find was among the values.
    fn others(query: &str) -> Vec<Vec<u8>> {
        let lenient = |text: &str| {
            let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
            while let Some(&byte) = bytes.get(at) {
                let digits = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
                match (byte, digits.and_then(|two| u8::from_str_radix(two, 16).ok())) {
                    (b'%', Some(value)) => (out.push(value), at += 3).1,
                    (b'+', _) => (out.push(b' '), at += 1).1,
                    _ => (out.push(byte), at += 1).1,
                }
            }
            out
        };
        let pairs = query.split(['&', ';']).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let is_ours = |key: &str| {
            let key = String::from_utf8_lossy(&lenient(key)).trim().to_lowercase();
            key.split(['[', '\0']).next() == Some("ns")
        };
        pairs.filter(|(key, _)| is_ours(key)).map(|(_, value)| lenient(value)).collect()
    }

    proptest! {
        #[test]
        fn no_reader_finds_a_value_that_is_not_checked(query in "(ns|n%73|=|&|;|%|%3b|%26|%41|\\+|a|ns=a|&ns=|&NS=|\\[\\]|%00){0,12}") {
            if let Ok(values) = read(&query, &[]) {
                let values: Vec<Vec<u8>> = values.into_iter().map(String::into_bytes).collect();
                prop_assert_eq!(values, others(&query));
            }
        }
    }
}
