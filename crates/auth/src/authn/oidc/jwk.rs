use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use thiserror::Error;

use super::{
    Algorithm, Object, TokenError,
    algorithm::{Curve, Scheme},
};

/// A token without `kid` is tried with each of them.
const MAX_KEYS: usize = 64;
/// Bytes of an RSA modulus: 2048 to 8192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// The keys of an issuer, as its JWKS document has them (RFC 7517): those that can verify a token.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    /// Which keys of the document are of no use, and why: for the log.
    pub skipped: Vec<String>,
    keys: Vec<Jwk>,
}

/// Why a document has no keys.
#[derive(Debug, Error)]
pub enum KeySetError {
    /// Of another form.
    #[error("it is no JSON object with a list of keys")]
    Form,
    /// A bound on the work of a token.
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
}

#[derive(Clone, Debug)]
pub(super) struct Jwk {
    id: Option<String>,
    /// The only way that it may be used, where the issuer says one.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { curve: Curve, key: ParsedPublicKey },
}

impl KeySet {
    /// Reads a JWKS document. A key that cannot verify tokens is skipped, as issuers publish keys for other uses too.
    ///
    /// # Errors
    ///
    /// It has another form, or too many keys.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let document: Object = serde_json::from_slice(document).map_err(|_| KeySetError::Form)?;
        let list = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::Form)?;
        if list.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut set = Self::default();
        for (index, key) in list.iter().enumerate() {
            match Jwk::parse(key) {
                Ok(key) => set.keys.push(key),
                Err(why) => set.skipped.push(format!("key {index} is of no use: {why}")),
            }
        }
        Ok(set)
    }

    /// Whether there is no key that could verify anything.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether one of the keys, or the one that is named, made the signature.
    pub(super) fn verify(&self, id: Option<&str>, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let mut fitting = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
        if fitting.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        match fitting.any(|key| key.verifies(algorithm, signed, signature)) {
            true => Ok(()),
            false => Err(TokenError::Signature),
        }
    }
}

impl Jwk {
    pub(super) fn is_one(value: &Value) -> bool {
        Self::parse(value).is_ok()
    }

    fn parse(value: &Value) -> Result<Self, &'static str> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        // As in Go, null and nothing say nothing.
        let said = |name: &str| value.get(name).filter(|value| !value.is_null() && *value != "");
        if value.get("d").is_some() {
            return Err("it is a private key, which is known to everybody now");
        }
        if said("use").is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures");
        }
        let operations = value.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return Err("it is not for verifying");
        }
        let material = match text("kty") {
            Some("RSA") => Material::rsa(text("n"), text("e"))?,
            Some("EC") => Material::ec(text("crv"), text("x"), text("y"))?,
            _ => return Err("its kty is neither RSA nor EC"),
        };
        let algorithm = match said("alg") {
            None => None,
            Some(name) => {
                let algorithm = name.as_str().and_then(|name| name.parse().ok());
                Some(algorithm.filter(|algorithm| material.fits(*algorithm)).ok_or("its alg is not for such a key")?)
            }
        };
        Ok(Self { id: text("kid").map(str::to_owned), algorithm, material })
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.is_some_and(|only| only != algorithm) {
            return false;
        }
        match (&self.material, algorithm.scheme()) {
            (Material::Rsa { n, e }, Scheme::Rsa(parameters)) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            (Material::Ec { curve, key }, Scheme::Ec(wanted)) if *curve == wanted => key.verify_sig(signed, signature).is_ok(),
            _ => false,
        }
    }
}

impl Material {
    fn rsa(n: Option<&str>, e: Option<&str>) -> Result<Self, &'static str> {
        let (n, e) = (number(n).ok_or("its n is no number")?, number(e).ok_or("its e is no number")?);
        // Half a byte of zeros would still be fewer bits.
        if !MODULUS.contains(&n.len()) || (n.len() == *MODULUS.start() && n.first().is_some_and(|byte| *byte < 0x80)) {
            return Err("its n has fewer than 2048 bits or more than 8192");
        }
        // With 1 everybody makes signatures.
        if e.len() > 4 || e.last().is_none_or(|byte| byte.is_multiple_of(2)) || e == [1] {
            return Err("its e is not odd, or out of bounds");
        }
        Ok(Self::Rsa { n, e })
    }

    fn ec(curve: Option<&str>, x: Option<&str>, y: Option<&str>) -> Result<Self, &'static str> {
        const UNCOMPRESSED: u8 = 4;
        let curve = curve.and_then(Curve::named).ok_or("its crv is none of P-256, P-384 and P-521")?;
        let mut point = vec![UNCOMPRESSED];
        for coordinate in [x, y] {
            let bytes = coordinate.and_then(bytes).filter(|bytes| bytes.len() == curve.coordinate());
            point.extend(bytes.ok_or("a coordinate has not its curve's length")?);
        }
        let key = ParsedPublicKey::new(curve.verifies(), &point).map_err(|_| "it is no point of its curve")?;
        Ok(Self::Ec { curve, key })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match (self, algorithm.scheme()) {
            (Self::Rsa { .. }, Scheme::Rsa(_)) => true,
            (Self::Ec { curve, .. }, Scheme::Ec(wanted)) => *curve == wanted,
            _ => false,
        }
    }
}

/// A big-endian number without its leading zeros.
fn number(text: Option<&str>) -> Option<Vec<u8>> {
    let bytes = bytes(text?)?;
    let number: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    (!number.is_empty()).then_some(number)
}

/// Some issuers pad, which Go passes over.
fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
