//! Requests that no decent client sends, the same for the same seed.

use testkit::{policy::Random, wire::chunk};

use crate::scene::ALICE;

/// What the decision reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The path.
    Path,
    /// The path, with the flags that let odd ones pass.
    OddPath,
    /// The query, and forms.
    Query,
}

/// A request with a number that is in its target.
#[derive(Clone, Debug)]
pub(crate) struct Odd {
    pub(crate) number: usize,
    pub(crate) read: Read,
    pub(crate) method: String,
    pub(crate) target: Vec<u8>,
    /// Of HTTP/1.1, as lines; of HTTP/2, as they are.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body's end may never come.
    pub(crate) may_hang: bool,
}

const SEGMENTS: [&str; 46] = [
    "a",
    "b",
    "secret",
    "...",
    "..",
    ".",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "..;",
    ".;x",
    "..;x=y",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    "//",
    "/./",
    "/../",
    "%252e%252e",
    "%252f",
    "%255c",
    "%00",
    "%0a",
    "\x7f",
    "\x01",
    ";v=1",
    ";",
    "%3b",
    "é",
    "%c3%a9",
    "%ff",
    " ",
    "%20",
    "%2520",
    "+",
    "%",
    "%4",
    "%zz",
    "%25",
    "#",
    "?",
    "%u002e",
    "%c0%ae%c0%ae",
    "*",
    "%3f",
];

const PARAMETERS: [&str; 26] = [
    "ns=mine",
    "ns=other",
    "ns=",
    "ns",
    "NS=x",
    "Ns=y",
    "n%73=z",
    "ns[]=i",
    "ns%5b%5d=j",
    "+ns=k",
    "ns%00=l",
    "ns+=m",
    "x=1",
    "x=%zz",
    "%",
    "x;ns=n",
    ";",
    "ns=%ff",
    "ns=a%26ns=b",
    "%26ns=o",
    "ns=a+b",
    "ns==c",
    "=ns",
    "x=%0a",
    "ns=a%00",
    "ns.=p",
];

const FIELDS: [(&str, &str); 22] = [
    ("X-Remote-User", "admin"),
    ("x_remote_user", "admin"),
    ("Impersonate-User", "admin"),
    ("Connection", "close, x-remote-user"),
    ("Connection", "authorization"),
    ("X-Original-URL", "/secret"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("Authorization", "Bearer token-of-bob"),
    ("Host", "other"),
    ("Host", "user@h"),
    ("Upgrade", "h2c"),
    ("TE", "gzip, trailers"),
    ("Trailer", "x-remote-user"),
    ("Expect", "200-ok"),
    ("X-Space ", "y"),
    ("X-Fold", "a\r\n b"),
    ("X-Line", "a\nX-Remote-User: admin"),
    ("X-Nul", "a\0b"),
    ("Transfer_Encoding", "chunked"),
    ("Content_Length", "0"),
    ("Keep-Alive", "timeout=5"),
    ("", "x"),
];

impl Odd {
    /// The one with a number, for a proxy whose decision reads this.
    pub(crate) fn new(random: &mut Random, number: usize, read: Read, is_http2: bool) -> Self {
        let methods = ["GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "PROPFIND", "get", "G!T", "CONNECT", "G T"];
        let mut method = (*random.pick(&methods)).to_owned();
        let mut fields = Vec::new();
        for _ in 0..random.below(3) {
            if random.chance(25) {
                let (name, value) = random.pick(&FIELDS);
                fields.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let target = target(random, number, read);
        let (mut body, mut may_hang) = (Vec::new(), false);
        if read == Read::Query && random.chance(40) {
            method = "POST".to_owned();
            body = parameters(random, number).into_bytes();
            let kinds = [
                "application/x-www-form-urlencoded",
                "Application/X-Www-Form-Urlencoded;charset=utf-8",
                "text/plain",
                "multipart/form-data",
            ];
            fields.push(("Content-Type".to_owned(), (*random.pick(&kinds)).to_owned()));
            fields.push(("Content-Length".to_owned(), body.len().to_string()));
        } else if random.chance(40) {
            method = "POST".to_owned();
            if read == Read::Query {
                fields.push(("Content-Type".to_owned(), "application/json".to_owned()));
            }
            (body, may_hang) = if is_http2 { framing_http2(random, number, &mut fields) } else { framing(random, number, &mut fields) };
        }
        Self { number, read, method, target, fields, body, may_hang }
    }

    /// Its bytes in HTTP/1.1.
    pub(crate) fn http1(&self) -> Vec<u8> {
        let mut bytes = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\nHost: h\r\n"].concat();
        bytes.extend(format!("Authorization: Bearer {ALICE}\r\n").into_bytes());
        for (name, value) in &self.fields {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        [bytes, b"\r\n".to_vec(), self.body.clone()].concat()
    }
}

/// Is in each target.
pub(crate) fn mark(number: usize) -> String {
    format!("n{number}_")
}

fn target(random: &mut Random, number: usize, read: Read) -> Vec<u8> {
    let mut text = String::new();
    if random.chance(6) {
        text.push_str(one(random, &["http://h", "http://other", "ftp://h", "h:1"]));
    }
    if !random.chance(2) {
        text.push('/');
    }
    if random.chance(10) {
        text.push_str(one(random, &["/", "./", "../", "%2e%2e/", "..;/", "%2f", "\\", "a/../"]));
    }
    text.push_str(&mark(number));
    // Some have nothing odd, or one thing: more would be refused for one and never show another.
    let odd = random.below(4);
    for _ in 0..odd {
        if read == Read::OddPath && random.chance(40) {
            text.push_str(one(random, &["%2fa", "%2Fsecret", ";v=1", ";", "%2fa;v", "a%2fb/c"]));
            continue;
        }
        if random.chance(60) {
            text.push('/');
        }
        let plain = random.chance(if read == Read::Query { 70 } else { 40 });
        text.push_str(one(random, if plain { &SEGMENTS[..3] } else { &SEGMENTS[..] }));
    }
    if read == Read::Query || random.chance(20) {
        text.push('?');
        text.push_str(&parameters(random, number));
    }
    text.into_bytes()
}

/// Each value has the number in it, so that no answer is remembered from another.
fn parameters(random: &mut Random, number: usize) -> String {
    let count = 1 + random.below(4);
    let mut parts = Vec::new();
    for _ in 0..count {
        let plain = random.chance(60);
        let part = *random.pick(if plain { &PARAMETERS[..2] } else { &PARAMETERS[..] });
        parts.push(if part.contains('=') { format!("{part}-{number}") } else { part.to_owned() });
    }
    parts.join("&")
}

fn one<'a>(random: &mut Random, texts: &[&'a str]) -> &'a str {
    texts[random.below(texts.len())]
}

fn smuggled(number: usize) -> Vec<u8> {
    format!("GET /smuggled{number} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ALICE}\r\n\r\n").into_bytes()
}

/// Bodies in which there is a request that is none.
fn framing(random: &mut Random, number: usize, fields: &mut Vec<(String, String)>) -> (Vec<u8>, bool) {
    let hidden = smuggled(number);
    let chunked = [chunk(&hidden), b"0\r\n\r\n".to_vec()].concat();
    let ended = [b"0\r\n\r\n".to_vec(), hidden.clone()].concat();
    let mut say = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    let length = hidden.len().to_string();
    match random.below(16) {
        0 | 1 => say("Content-Length", &length),
        2 | 3 => {
            say("Transfer-Encoding", "chunked");
            return (chunked, false);
        }
        4 => {
            say("Content-Length", "4");
            say("Transfer-Encoding", "chunked");
            return (ended, true);
        }
        5 => {
            say("Transfer-Encoding", "chunked");
            say("Content-Length", "4");
            return (ended, true);
        }
        6 | 7 => {
            let codings = [
                "xchunked",
                "chunked, identity",
                "identity, chunked",
                "\x0bchunked",
                "chunked;q=1",
                "CHUNKED",
                "\tchunked",
                "chunked,",
                "gzip",
            ];
            say("Transfer-Encoding", one(random, &codings));
            return (chunked, true);
        }
        8 => {
            say("Transfer-Encoding ", "chunked");
            say("Content-Length", &chunked.len().to_string());
            return (chunked, true);
        }
        9 => {
            say("Content-Length", "0");
            say("Content-Length", &length);
        }
        10 => {
            let lengths = [
                format!("+{length}"),
                "0x10".to_owned(),
                format!("{length}, {length}"),
                format!("{length}a"),
                "-1".to_owned(),
                String::new(),
            ];
            say("Content-Length", one(random, &lengths.each_ref().map(String::as_str)));
        }
        11 | 12 => {
            say("Transfer-Encoding", "chunked");
            let heads = ["0x5", "5 ", "5;a=\"\r\n\"", "+5", "FFFFFFFFFFFFFFFF5", "5\n", "-5", "05", "5;a\r"];
            let tails =
                ["\r\n0\r\n\r\n", "\n0\r\n\r\n", "0\r\n\r\n", "\r\n0\n\n", "\r\n0\r\nX-Remote-User: admin\r\n\r\n", "\r\n00\r\n\r\n"];
            return (format!("{}\r\nabcde{}", random.pick(&heads), random.pick(&tails)).into_bytes(), true);
        }
        13 => {
            say("Transfer-Encoding", "\r\n chunked");
            return (chunked, true);
        }
        14 => {
            say("Content-Length", &(hidden.len() + 10).to_string());
            return (hidden, true);
        }
        _ => {
            say("Transfer-Encoding", "chunked");
            say("Transfer-Encoding", "chunked");
            return (chunked, true);
        }
    }
    (hidden, true)
}

fn framing_http2(random: &mut Random, number: usize, fields: &mut Vec<(String, String)>) -> (Vec<u8>, bool) {
    let hidden = smuggled(number);
    let lengths = [hidden.len().to_string(), "4".to_owned(), "0".to_owned(), format!("+{}", hidden.len()), "9999".to_owned()];
    if random.chance(50) {
        fields.push(("content-length".to_owned(), random.pick(&lengths).clone()));
    }
    if random.chance(20) {
        fields.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
    }
    (hidden, true)
}
