//! How servers read a target, and whether what they read was asked about.

/// Names, and the segments of a raw path and of an asked one as a decoder has them.
type Decoder = (&'static str, fn(&[u8]) -> Vec<Vec<u8>>, fn(&[u8]) -> Vec<Vec<u8>>);

const DECODERS: [Decoder; 5] = [
    ("as is", |raw| split(raw).iter().map(|segment| slashless(&decode(segment))).collect(), split),
    ("decoded once", |raw| split(&decode(raw)), split),
    ("decoded twice", |raw| split(&decode(&decode(raw))), |asked| split(&decode(asked))),
    ("without parameters", |raw| split(&decode(raw)).iter().map(|segment| until(segment, b';')).collect(), split),
    ("with backslashes as slashes", |raw| split(&replace(&decode(raw), b'\\', b"/")), split),
];

/// The decoder under which no asked path has the segments that this one leads to.
pub(crate) fn disagreement(path: &[u8], asked: &[String]) -> Option<&'static str> {
    let agrees = |(_, of_raw, of_asked): &Decoder| asked.iter().any(|asked| of_asked(asked.as_bytes()) == resolved(of_raw(path)));
    DECODERS.iter().find(|decoder| !agrees(decoder)).map(|(name, ..)| *name)
}

/// All values of a parameter that some server finds.
pub(crate) fn values(query: &[u8], name: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    // As Go, as others that take `;` for `&`.
    for separators in [&b"&"[..], b"&;"] {
        for part in query.split(|byte| separators.contains(byte)) {
            let mut halves = part.splitn(2, |byte| *byte == b'=');
            let (key, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            let plus = |text: &[u8]| decode(&replace(text, b'+', b" "));
            let key = plus(key);
            // As PHP, and as those that know no case.
            let folded = until(&until(&key, b'['), 0).trim_ascii().to_ascii_lowercase();
            if folded == name || key == name {
                found.push(plus(value));
            }
        }
    }
    found
}

/// Leniently: a broken escape stands for itself.
fn decode(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| text[at] == b'%') {
            Some(byte) => (out.push(byte), at += 3),
            None => (out.push(text[at]), at += 1),
        };
    }
    out
}

fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
}

fn slashless(segment: &[u8]) -> Vec<u8> {
    replace(segment, b'/', b"%2F")
}

fn replace(text: &[u8], from: u8, to: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| if *byte == from { to.to_vec() } else { vec![*byte] }).collect()
}

fn until(text: &[u8], end: u8) -> Vec<u8> {
    text.split(|byte| *byte == end).next().unwrap_or_default().to_vec()
}

/// Without empty segments and dot segments, where they lead; an end that is empty stays.
fn resolved(segments: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut found = vec![Vec::new()];
    let last = segments.len() - 1;
    for (index, segment) in segments.into_iter().enumerate().skip(1) {
        match segment.as_slice() {
            b".." => drop((found.len() > 1).then(|| found.pop())),
            b"." => {}
            b"" if index != last => {}
            _ => found.push(segment),
        }
    }
    found
}

#[test]
fn what_servers_read_in_other_ways_is_a_disagreement() {
    let asked = |path: &str| vec![path.to_owned()];
    for (raw, path, expected) in [
        ("/a%20b/c/", "/a b/c/", None),
        ("/", "/", None),
        ("/a/%2e%2e/b", "/a/../b", Some("as is")),
        ("/a%2fb", "/a/b", Some("as is")),
        ("/a%2fb", "/a%2Fb", Some("decoded once")),
        ("/a/%252e%252e/b", "/a/%2e%2e/b", Some("decoded twice")),
        ("/a;x/b", "/a;x/b", Some("without parameters")),
        ("/a\\b", "/a\\b", Some("with backslashes as slashes")),
        ("/a//b", "/a//b", Some("as is")),
    ] {
        assert_eq!(disagreement(raw.as_bytes(), &asked(path)), expected, "{raw}");
    }
    assert_eq!(disagreement(b"/a%2fb", &["/a/b".to_owned(), "/a%2Fb".to_owned()]), None);
    assert_eq!(values(b"ns=a&x;ns=b&NS=c&ns[]=d&n%73=%65+", b"ns"), [&b"a"[..], b"c", b"d", b"e ", b"a", b"b", b"c", b"d", b"e "]);
}
