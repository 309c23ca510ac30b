use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::Value;
use x509_parser::parse_x509_certificate;

use super::{Algorithm, Object, TokenError, jwk::Jwk};

/// The most that is looked at; a head has room for less, unless the operator gave it more.
const MAX_BYTES: usize = 64 * 1024;

/// A token in its compact form, taken apart and not verified.
pub(super) struct Jws<'a> {
    /// `None`: one that is never accepted, `none` among them.
    pub(super) algorithm: Option<Algorithm>,
    /// As in Go, an empty `kid` is none.
    pub(super) key_id: Option<String>,
    /// What the signature is of.
    pub(super) signed: &'a [u8],
    pub(super) claims: Object,
    pub(super) signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Keys that the header brings along (`jwk`, `jku`, `x5c`, `x5u`) are believed by nobody.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Malformed("it is too long"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Malformed("it has not three parts"));
        };
        let signed = token.as_bytes().get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let header = object(header)?;
        if header.get("crit").is_some() {
            return Err(TokenError::Critical);
        }
        if header.get("b64").is_some_and(|encoded| *encoded != Value::Bool(true)) {
            return Err(TokenError::Malformed("its header has b64, and what is signed is encoded"));
        }
        if !makes_sense(&header) {
            return Err(TokenError::Malformed("its header has a nonce, a jwk or an x5c that is none"));
        }
        let algorithm = header.text("alg").ok_or(TokenError::Malformed("its header has no alg"))?.parse().ok();
        let key_id = match header.get("kid") {
            None => None,
            Some(key_id) => Some(key_id.as_str().ok_or(TokenError::Malformed("its kid is no string"))?.to_owned()),
        };
        let key_id = key_id.filter(|key_id| !key_id.is_empty());
        Ok(Self { algorithm, key_id, signed, claims: object(payload)?, signature: decode(signature)? })
    }
}

/// Whose a token says it is, before anything of it is verified.
pub(super) fn issuer(token: &str) -> Result<String, TokenError> {
    let jws = Jws::parse(token)?;
    jws.claims.text("iss").map(str::to_owned).ok_or(TokenError::OtherIssuer)
}

/// What counts for nothing here is read by Go all the same, which takes no token where it is of another form.
fn makes_sense(header: &Object) -> bool {
    let is_certificate = |text: &Value| {
        let der = text.as_str().and_then(|text| STANDARD.decode(text).ok());
        der.is_some_and(|der| parse_x509_certificate(&der).is_ok_and(|(rest, _)| rest.is_empty()))
    };
    header.get("nonce").is_none_or(Value::is_string)
        && header.get("jwk").is_none_or(Jwk::is_one)
        && header.get("x5c").is_none_or(|chain| chain.as_array().is_some_and(|chain| chain.iter().all(is_certificate)))
}

fn object(part: &str) -> Result<Object, TokenError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| TokenError::Malformed("a part is no JSON object, or a key stands twice in it"))
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed("a part is not in base64url without padding"))
}
