use std::{collections::HashMap, fmt, str::FromStr};

use go_compat::{
    GoDuration, HttpProxy, Known, ListenAddress, Network, PathPattern, ProxyEnvironment, Respelled, Template, parse_bool, parse_float32,
    parse_int, parse_uint64, quote, read_csv, respell, write_csv,
};
use outbound::HttpsUrl;

use super::split_once;

const UPSTREAM: Known = Known { name: "upstream", alone: None };
const VERBOSITY: Known = Known { name: "v", alone: None };
const HELP: Known = Known { name: "help", alone: Some("true") };

/// An argument on each line: what is understood is understood again when it is written in one way, and no fault repeats a
/// value, which may be a secret.
pub fn command_line(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let arguments: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let read = |arguments| {
        let long = |name: &str| [UPSTREAM, VERBOSITY, HELP].into_iter().find(|known| known.name == name);
        let short = |letter| [('v', VERBOSITY), ('h', HELP)].into_iter().find(|(known, _)| *known == letter).map(|(_, known)| known);
        respell(arguments, long, short)
    };
    let once = read(arguments.clone());
    if once.faults.is_empty() {
        let flags = once.flags.iter().map(|flag| format!("--{}={}", flag.0, flag.1));
        let again = read(flags.chain(["--".to_owned()]).chain(once.positional.clone()).collect());
        assert_eq!(again, once);
    }
    let hidden = |argument: &String| match argument.split_once('=') {
        Some((name, value)) => format!("{name}={}", "*".repeat(value.len())),
        None => argument.clone(),
    };
    let faults = |read: &Respelled| read.faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(faults(&read(arguments.iter().map(hidden).collect())), faults(&once));
    once.faults.is_empty()
}

/// A pattern, and paths on the lines behind it: nothing matches that Go's language does not have, and with one star at most
/// nothing else fails to.
pub fn pattern(data: &[u8]) -> bool {
    let (pattern, paths) = split_once(data, b"\n");
    let (Ok(text), Ok(paths)) = (std::str::from_utf8(pattern), std::str::from_utf8(paths)) else { return false };
    let Ok(pattern) = text.parse::<PathPattern>() else { return false };
    let letters: Vec<char> = text.chars().take(256).collect();
    let stars = text.split('*').filter(|part| !part.is_empty()).count();
    let mut is_matched = false;
    for path in paths.split('\n').chain([text]).filter(|path| path.len() <= 256 && text.len() <= 256) {
        let expected = matches(&letters, &path.chars().collect::<Vec<_>>(), &mut HashMap::new());
        let found = pattern.matches(path);
        is_matched |= found;
        assert!(expected || !found, "{text:?} must not match {path:?}");
        let is_simple = !text.contains('*') || (stars <= 2 && !text.contains(['[', '\\']) && text.matches('*').count() == 1);
        assert!(found || !expected || !is_simple, "{text:?} must match {path:?}");
    }
    is_matched
}

/// A text: a value stands where it should and is no template itself, and everything else is as it was written.
pub fn template(data: &[u8]) -> bool {
    const VALUE: &str = "\u{1}value\u{1}";
    let Ok(text) = std::str::from_utf8(data) else { return false };
    assert_eq!(Template::literal(text).fill(VALUE), text);
    let Ok(template) = Template::parse(text) else { return false };
    let filled = template.fill(VALUE);
    if text.contains('\u{1}') {
        return false;
    }
    assert_eq!(template.has_value(), filled.contains(VALUE));
    assert_eq!(template.fill("{{ .Value }}"), filled.replace(VALUE, "{{ .Value }}"));
    if !text.contains("{{") {
        assert_eq!(filled, text);
    }
    if !filled.contains('{') {
        let again = Template::parse(&template.fill("{{ .Value }}")).map(|again| again.fill(VALUE));
        assert_eq!(again, Ok(filled));
    }
    template.has_value()
}

/// The URL of an HTTP proxy, what is exempt from it, and a host: what is exempt stays so whatever else is, this machine always
/// is, and no password is shown.
pub fn http_proxy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut lines = text.split('\n');
    let (url, exempt, host) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let asks = |exempt: String| {
        let variable = |name| match name {
            "HTTP_PROXY" => Some("proxy".to_owned()),
            "NO_PROXY" => Some(exempt.clone()),
            _ => None,
        };
        let environment = ProxyEnvironment::read(variable);
        assert!(["localhost", "127.0.0.1", "::1", "::ffff:127.0.0.2"].iter().all(|here| environment.proxy_for(false, here, 80).is_none()));
        environment.proxy_for(false, host, 8080).is_some()
    };
    let is_asked = asks(exempt.to_owned());
    assert!(is_asked || (!asks(format!("{exempt},x")) && !asks(format!("10.0.0.0/8,{exempt}"))), "{host:?} is exempt by {exempt:?}");
    assert!(!asks(format!("{exempt},*")));
    let entries: Vec<String> = exempt.split(',').map(|entry| entry.trim().to_lowercase()).collect();
    assert!(
        !is_asked || host.is_empty() || host.contains([':', '*', '/']) || !entries.contains(&host.to_lowercase()) || host.starts_with('.')
    );
    let secret = url.rsplit_once('@').and_then(|(user, _)| user.rsplit_once(':')).map(|(_, password)| password);
    match url.parse::<HttpProxy>() {
        Ok(proxy) => {
            assert!(!proxy.host.is_empty() && !proxy.host.contains(['@', '/', ' ']), "{:?}", proxy.host);
            let shown = format!("{proxy:?}");
            assert!(secret.is_none_or(|secret| secret.len() < 8 || !shown.contains(secret)), "{shown}");
            true
        }
        Err(error) => {
            assert!(secret.is_none_or(|secret| secret.len() < 8 || !error.to_string().contains(secret)), "{error}");
            false
        }
    }
}

/// Durations, numbers, lists, addresses and URLs: what is read, written and read again is the same.
pub fn scalars(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let is_something = reads_back::<GoDuration>(text) | reads_back::<ListenAddress>(text) | reads_back::<Network>(text);
    if let Ok(number) = parse_int(text) {
        assert_eq!(parse_int(&number.to_string()), Ok(number));
        assert!(number < 0 || text.starts_with('+') || text.starts_with('-') || parse_uint64(text) == Ok(number.unsigned_abs()));
    }
    if let Ok(number) = parse_float32(text).map(go_compat::format_float32) {
        assert_eq!(parse_float32(&number).map(go_compat::format_float32), Ok(number));
    }
    if let Ok(truth) = parse_bool(text) {
        assert_eq!(text.to_ascii_lowercase().starts_with(['1', 't']), truth);
    }
    if let Ok(record) = read_csv(text) {
        let written = write_csv(&record.fields);
        // One empty field and no field are written alike, and both line ends are read as one.
        if record.fields != [""] && !record.fields.iter().any(|field| field.contains("\r\n")) {
            assert_eq!(read_csv(&written).map(|again| (again.fields, again.rest)), Ok((record.fields, "")));
        }
        assert!(text.ends_with(record.rest));
    }
    if let Ok(url) = text.parse::<HttpsUrl>() {
        assert_eq!(url.as_str(), text);
        assert!(
            !text.contains(['@', '#', ' ', '\\'])
                || text.split(['/', '?']).nth(2).is_some_and(|host| !host.contains(['@', '#', ' ', '\\']))
        );
    }
    let quoted = quote(text);
    assert!(quoted.starts_with('"') && quoted.ends_with('"') && quoted.len() >= 2 && !quoted.contains(char::is_control), "{quoted}");
    is_something
}

fn reads_back<T: FromStr + fmt::Display + PartialEq + fmt::Debug>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else { return false };
    assert_eq!(value.to_string().parse::<T>().ok(), Some(value));
    true
}

/// Go's `path.Match` by trying everything.
fn matches(pattern: &[char], path: &[char], known: &mut HashMap<(usize, usize), bool>) -> bool {
    if let Some(found) = known.get(&(pattern.len(), path.len())) {
        return *found;
    }
    let found = match pattern {
        [] => path.is_empty(),
        ['*', rest @ ..] => {
            let reach = path.iter().take_while(|letter| **letter != '/').count();
            (0..=reach).any(|taken| matches(rest, &path[taken..], known))
        }
        ['?', rest @ ..] => path.first().is_some_and(|letter| *letter != '/') && matches(rest, &path[1..], known),
        ['[', class @ ..] => path.first().is_some_and(|letter| match in_class(class, *letter) {
            Some((true, rest)) => matches(rest, &path[1..], known),
            _ => false,
        }),
        ['\\', letter, rest @ ..] | [letter, rest @ ..] => path.first() == Some(letter) && matches(rest, &path[1..], known),
    };
    known.insert((pattern.len(), path.len()), found);
    found
}

/// Whether a letter is in the class that begins here, and what follows it.
fn in_class(class: &[char], letter: char) -> Option<(bool, &[char])> {
    let (is_negated, mut rest) = match class {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut is_in, mut ranges) = (false, 0);
    loop {
        if ranges > 0 && rest.first() == Some(&']') {
            return Some((is_in != is_negated, &rest[1..]));
        }
        let low = bound(&mut rest)?;
        let high = match rest {
            ['-', after @ ..] => {
                rest = after;
                bound(&mut rest)?
            }
            _ => low,
        };
        is_in |= (low..=high).contains(&letter);
        ranges += 1;
    }
}

/// Takes a letter, perhaps behind a `\\`.
fn bound(rest: &mut &[char]) -> Option<char> {
    let all = *rest;
    let (bound, after) = match all {
        ['\\', bound, after @ ..] | [bound, after @ ..] => (bound, after),
        [] => return None,
    };
    *rest = after;
    Some(*bound)
}
