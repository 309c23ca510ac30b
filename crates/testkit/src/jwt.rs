//! JSON Web Tokens, good and bad ones.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{self, EcdsaKeyPair, KeyPair as _, RsaEncoding},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key that signs tokens in one way.
#[derive(Debug)]
pub struct SigningKey {
    /// As in a token's header.
    pub algorithm: &'static str,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa(rsa::KeyPair),
    Ec(&'static str, EcdsaKeyPair),
}

impl SigningKey {
    /// A new key for `RS256` and the like.
    pub fn new(algorithm: &'static str) -> Self {
        let ec = |curve, parameters| Material::Ec(curve, EcdsaKeyPair::generate(parameters).expect("a key"));
        let material = match algorithm {
            "ES256" => ec("P-256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec("P-384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec("P-521", &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            _ => Material::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key")),
        };
        Self { algorithm, material }
    }

    /// The public half; with an empty `kid`, without one.
    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match &self.material {
            Material::Rsa(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
            Material::Ec(curve, pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
        };
        if !kid.is_empty() {
            jwk["kid"] = kid.into();
        }
        jwk
    }

    /// The public half as an attacker has it who takes it for a secret.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.material {
            Material::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Material::Ec(_, pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with this key's algorithm; with an empty `kid`, without one.
    pub fn token(&self, kid: &str, claims: &Value) -> String {
        let mut header = json!({"alg": self.algorithm, "typ": "JWT"});
        if !kid.is_empty() {
            header["kid"] = kid.into();
        }
        self.sign(&header.to_string(), &claims.to_string())
    }

    /// A token of these texts, whatever they say.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.signature(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let pair = match &self.material {
            Material::Rsa(pair) => pair,
            Material::Ec(_, pair) => return pair.sign(&random, message).expect("signed").as_ref().to_vec(),
        };
        let encoding: &'static dyn RsaEncoding = match self.algorithm {
            "RS256" => &signature::RSA_PKCS1_SHA256,
            "RS384" => &signature::RSA_PKCS1_SHA384,
            "RS512" => &signature::RSA_PKCS1_SHA512,
            "PS256" => &signature::RSA_PSS_SHA256,
            "PS384" => &signature::RSA_PSS_SHA384,
            "PS512" => &signature::RSA_PSS_SHA512,
            other => panic!("{other} is no algorithm"),
        };
        let mut bytes = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &random, message, &mut bytes).expect("signed");
        bytes
    }
}

/// A token of these texts that is signed with a secret, in HS256.
pub fn with_secret(secret: &[u8], header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag))
}

/// In base64url without padding, as a token's parts are.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent of an `RSAPublicKey` in DER, without leading zeros.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (sequence, _) = value(der);
    let (n, rest) = value(sequence);
    let (e, _) = value(rest);
    (&n[usize::from(n[0] == 0)..], e)
}

/// The value that comes first in DER, and what follows it.
fn value(der: &[u8]) -> (&[u8], &[u8]) {
    let long = der[1] & 0x80 != 0;
    let digits = if long { usize::from(der[1] & 0x7f) } else { 0 };
    let length =
        if long { der[2..2 + digits].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)) } else { usize::from(der[1]) };
    der[2 + digits..].split_at(length)
}
