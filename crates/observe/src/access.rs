use std::{net::IpAddr, sync::OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use request::{Permit, User};
use serde_json::json;

use crate::{Format, line, sink::Sink};

/// As the program's log is one for all, so is this; none of a program that tells of no request.
pub(crate) static LOG: OnceLock<(Sink, Format)> = OnceLock::new();

/// What is told of a request in a line on standard output: Tremolo's, or JSON. Neither query nor credentials are in it.
#[derive(Debug)]
pub struct Access {
    source: IpAddr,
    /// What `X-Forwarded-For` says beside that, which nobody vouches for.
    claimed: String,
    path: String,
}

impl Access {
    /// Of a request from this address, if there are to be lines.
    pub fn of(source: IpAddr, path: &str, headers: &HeaderMap) -> Option<Self> {
        LOG.get()?;
        let source = source.to_canonical();
        let claimed = headers.get("x-forwarded-for").map(|value| cut(value.as_bytes())).unwrap_or_default();
        Some(Self { source, claimed: others(&claimed, source), path: cut(path.as_bytes()) })
    }

    /// It goes upstream by this permit; without one it is refused, or fails upstream.
    pub fn write(&self, permit: Option<&Permit>) {
        let (Some((sink, format)), Self { source, claimed, path }, now) = (LOG.get(), self, Timestamp::now()) else { return };
        let (user, outbound) = (permit.and_then(Permit::user), permit.and_then(|permit| outbound(permit.told())));
        let outcome = if permit.is_some() { "AuSuccess" } else { "AuFail" };
        sink.send(crate::sink::Message::Access(match format {
            Format::Text => {
                let mut text = now.strftime("[%Y-%m-%dT%H:%M:%S+0000] ").to_string();
                text += &format!("{outcome} src:[{source} / {}] URI:{}", word(claimed), word(path));
                text.extend(user.map(|user| format!(" inbound:[{} / {} / {}]", word(&user.name), words(&user.groups), extra(user))));
                text.extend(outbound.map(|user| {
                    format!(" outbound:[{} / {} / {} / {}]", word(&user.name), words(&user.groups), word(&user.uid), extra(&user))
                }));
                text + "\n"
            }
            Format::Json => {
                let of = |user: &User| json!({"user": user.name, "groups": user.groups, "uid": user.uid, "extra": user.extra});
                let ts = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
                line::json_line(&json!({
                    "ts": ts, "level": "info", "msg": outcome, "src": source, "forwardedFor": claimed, "uri": path,
                    "inbound": user.map(of), "outbound": outbound.as_ref().map(of),
                }))
            }
        }));
    }
}

/// As whom a user acts, if as another: then the upstream is told of both.
fn outbound(told: &[(HeaderName, HeaderValue)]) -> Option<User> {
    let mut user = User::default();
    for (name, value) in told {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match (name.as_str(), name.as_str().strip_prefix("impersonate-extra-")) {
            ("impersonate-user", _) => user.name = value,
            ("impersonate-uid", _) => user.uid = value,
            ("impersonate-group", _) => user.groups.push(value),
            (_, Some(key)) => user.extra.entry(key.to_owned()).or_default().push(value),
            _ => {}
        }
    }
    user.extra.contains_key("originaluser.jetstack.io-user").then_some(user)
}

fn extra(user: &User) -> String {
    let one = |text: &String| if text.contains(' ') { format!("{text:?}") } else { word(text) };
    let values = |values: &[String]| values.iter().map(one).collect::<Vec<_>>().join("|");
    user.extra.iter().map(|(key, of_key)| format!("{}={} ", one(key), values(of_key))).collect()
}

/// All but the address that is known anyway.
fn others(claimed: &str, source: IpAddr) -> String {
    let source = source.to_string();
    claimed.split(',').map(str::trim).filter(|address| *address != source).collect::<Vec<_>>().join(", ")
}

fn words(texts: &[String]) -> String {
    texts.iter().map(|text| word(text)).collect::<Vec<_>>().join("|")
}

/// Of what anybody may send a megabyte of, the beginning.
fn cut(text: &[u8]) -> String {
    const MOST: usize = 4096;
    let beginning = String::from_utf8_lossy(text.get(..MOST).unwrap_or(text));
    let rest = if text.len() > MOST { "…" } else { "" };
    format!("{beginning}{rest}")
}

/// As it is, or quoted where it could look like more than one value, or more than one line.
fn word(text: &str) -> String {
    let quoted = format!("{text:?}");
    match quoted.len() == text.len() + 2 && !text.contains(['[', ']', '|']) && !text.contains(" / ") {
        true => text.to_owned(),
        false => quoted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_known_is_not_told_twice() {
        for (claimed, told) in [
            ("", ""),
            ("1.2.3.4", ""),
            ("5.6.7.8", "5.6.7.8"),
            ("5.6.7.8, 1.2.3.4", "5.6.7.8"),
            ("1.2.3.4, 5.6.7.8", "5.6.7.8"),
            ("a,1.2.3.4,b", "a, b"),
        ] {
            assert_eq!(others(claimed, [1, 2, 3, 4].into()), told, "{claimed}");
        }
    }

    #[test]
    fn whoever_acts_as_another_is_told_with_him() {
        let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut told = vec![
            header("authorization", "Bearer hush"),
            header("impersonate-user", "jjackson"),
            header("impersonate-group", "a"),
            header("impersonate-group", "b"),
            header("impersonate-uid", "1"),
            header("impersonate-extra-k", "v"),
        ];
        assert_eq!(outbound(&told), None, "he is himself");
        told.push(header("impersonate-extra-originaluser.jetstack.io-user", "mm osley"));
        let user = outbound(&told).expect("another");
        assert_eq!((user.name.as_str(), user.uid.as_str(), words(&user.groups).as_str()), ("jjackson", "1", "a|b"));
        assert_eq!(extra(&user), "k=v originaluser.jetstack.io-user=\"mm osley\" ");
    }

    #[test]
    fn of_a_very_long_text_the_beginning_is_told() {
        for length in [0, 1, 4096] {
            assert_eq!(cut("x".repeat(length).as_bytes()), "x".repeat(length));
        }
        assert_eq!(cut("x".repeat(1 << 20).as_bytes()), "x".repeat(4096) + "…");
    }

    #[test]
    fn a_word_is_as_it_is_unless_it_could_be_more() {
        for plain in ["anna", "änna@example.com", "/devs", "a b, c", "JTI=1/2", "/api/v1/pods"] {
            assert_eq!(word(plain), plain);
        }
        for odd in ["a\nb", "a]", "[", "a|b", "a / b", "\"", "\\", "\u{1b}", "\u{202e}", "\u{85}", "\u{7f}"] {
            let word = word(odd);
            assert!(word.starts_with('"') && word.ends_with('"') && word.chars().all(|shown| !shown.is_control()), "{word}");
        }
    }
}
