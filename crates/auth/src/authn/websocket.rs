use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header};

use crate::authn::Credential;

/// What a browser can send where it cannot send a header: a subprotocol that is a token.
const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// As Go's `RawURLEncoding`, which does not look at bits that are over.
const RAW_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// What is among the subprotocols of a WebSocket, as `k8s.io/apiserver/pkg/authentication/request/websocket` reads it.
pub(crate) fn credential(headers: &HeaderMap) -> Credential<'static> {
    match token(headers) {
        Ok(token) => token.map_or(Credential::None, |token| Credential::Token(token.into())),
        Err(why) => Credential::Unusable(why),
    }
}

fn token(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    if !is_websocket(headers) {
        return Ok(None);
    }
    let (mut token, mut has_others) = (None, false);
    // What is no text is no token, and counts as another protocol.
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    for line in lines {
        for protocol in line.split(',').map(str::trim) {
            match protocol.strip_prefix(PREFIX) {
                None => has_others = true,
                Some(_) if token.is_some() => return Err("two subprotocols are tokens"),
                Some(encoded) => {
                    let decoded = RAW_URL.decode(encoded).map_err(|_| "the token in the subprotocol is not base64url")?;
                    token = Some(String::from_utf8(decoded).map_err(|_| "the token in the subprotocol is no text")?);
                }
            }
        }
    }
    match token {
        Some(_) if !has_others => Err("beside the token there is no subprotocol to answer with"),
        token => Ok(token.filter(|token| !token.is_empty())),
    }
}

/// Go reads the first line of either header alone.
fn is_websocket(headers: &HeaderMap) -> bool {
    let first = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    first(header::UPGRADE).eq_ignore_ascii_case("websocket")
        && first(header::CONNECTION).split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(lines: &[(HeaderName, &str)]) -> Result<Option<String>, &'static str> {
        token(&lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value"))).collect())
    }

    fn of(protocols: &[&str]) -> Result<Option<String>, &'static str> {
        let mut lines = vec![(header::UPGRADE, "WebSocket"), (header::CONNECTION, "keep-alive, upgrade")];
        lines.extend(protocols.iter().map(|protocol| (header::SEC_WEBSOCKET_PROTOCOL, *protocol)));
        read(&lines)
    }

    #[test]
    fn the_token_is_found_where_go_finds_it() {
        let token = "base64url.bearer.authorization.k8s.io.YWJj";
        for protocols in [&[&format!("{token}, chat")[..]][..], &["chat", token], &[&format!(" chat ,{token} ")], &["", token]] {
            assert_eq!(of(protocols), Ok(Some("abc".to_owned())), "{protocols:?}");
        }
        for protocols in [&[][..], &["chat"], &["BASE64url.bearer.authorization.k8s.io.YWJj, chat"]] {
            assert_eq!(of(protocols), Ok(None), "{protocols:?}");
        }
        assert_eq!(of(&["base64url.bearer.authorization.k8s.io., chat"]), Ok(None));
    }

    #[test]
    fn a_token_that_is_not_as_it_must_be_is_an_error() {
        let with = |rest: &str| format!("base64url.bearer.authorization.k8s.io.{rest}");
        for protocols in [
            vec![with("YWJj")],
            vec![with("YWJj"), with("YWJj"), "chat".to_owned()],
            vec![with("YWJjZA=="), "chat".to_owned()],
            vec![with("YW+j"), "chat".to_owned()],
            vec![with("_w"), "chat".to_owned()],
        ] {
            assert!(of(&[&protocols.join(", ")]).is_err(), "{protocols:?}");
        }
    }

    #[test]
    fn without_an_upgrade_there_is_no_token() {
        let token = (header::SEC_WEBSOCKET_PROTOCOL, "base64url.bearer.authorization.k8s.io.YWJj, chat");
        assert_eq!(read(std::slice::from_ref(&token)), Ok(None));
        assert_eq!(read(&[token.clone(), (header::UPGRADE, "websocket")]), Ok(None));
        assert_eq!(read(&[token, (header::UPGRADE, "SPDY/3.1"), (header::CONNECTION, "upgrade")]), Ok(None));
    }
}
