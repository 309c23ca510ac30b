use std::{net::IpAddr, sync::OnceLock};

use http::HeaderMap;
use jiff::Timestamp;
use request::User;
use serde_json::json;

use crate::{
    Format, line,
    sink::{Message, Sink},
};

/// As the program's log is one for all, so is this; none of a program that tells of no request.
static LOG: OnceLock<(Sink, Format)> = OnceLock::new();

/// What is told of a request in a line on standard output: Tremolo's, or JSON. Neither query nor credentials are in it.
#[derive(Debug)]
pub struct Access {
    source: IpAddr,
    /// What `X-Forwarded-For` says beside that, which nobody vouches for.
    claimed: String,
    path: String,
}

pub(crate) fn open(sink: Sink, format: Format) {
    let _ = LOG.set((sink, format));
}

impl Access {
    /// Of a request from this address, if there are to be lines.
    pub fn of(source: IpAddr, path: &str, headers: &HeaderMap) -> Option<Self> {
        LOG.get()?;
        let source = source.to_canonical();
        let claimed = headers.get("x-forwarded-for").map(|value| String::from_utf8_lossy(value.as_bytes()));
        Some(Self { source, claimed: others(&claimed.unwrap_or_default(), source), path: path.to_owned() })
    }

    /// It goes upstream for this user; without one it is refused, or fails upstream.
    pub fn write(&self, user: Option<&User>) {
        let (Some((sink, format)), Self { source, claimed, path }, now) = (LOG.get(), self, Timestamp::now()) else { return };
        let outcome = if user.is_some() { "AuSuccess" } else { "AuFail" };
        sink.send(Message::Access(match format {
            Format::Text => {
                let now = now.strftime("%Y-%m-%dT%H:%M:%S+0000");
                let inbound = user.map(inbound).unwrap_or_default();
                format!("[{now}] {outcome} src:[{source} / {}] URI:{}{inbound}\n", word(claimed), word(path))
            }
            Format::Json => line::json_line(&json!({
                "ts": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(), "level": "info", "msg": outcome, "src": source, "forwardedFor": claimed, "uri": path,
                "user": user.map(|user| &user.name), "groups": user.map(|user| &user.groups), "extra": user.map(|user| &user.extra),
            })),
        }));
    }
}

fn inbound(user: &User) -> String {
    let extra: String = user.extra.iter().map(|(key, values)| format!("{}={} ", word(key), words(values))).collect();
    format!(" inbound:[{} / {} / {extra}]", word(&user.name), words(&user.groups))
}

/// All but the address that is known anyway.
fn others(claimed: &str, source: IpAddr) -> String {
    let source = source.to_string();
    claimed.split(',').map(str::trim).filter(|address| *address != source).collect::<Vec<_>>().join(", ")
}

fn words(texts: &[String]) -> String {
    texts.iter().map(|text| word(text)).collect::<Vec<_>>().join("|")
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
