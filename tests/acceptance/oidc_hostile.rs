//! Tokens that somebody made who is not the issuer.

use std::{collections::HashSet, iter::repeat_with};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use testkit::{
    certs::Authority,
    client::Request,
    issuer::Issuer,
    jwt::{SigningKey, encode, with_secret},
};

use crate::{
    oidc::World,
    scene::{ALICE, BOTH},
};

/// What is wrong with it, the token, and the same token made honest, which shows that nothing else is wrong.
pub(crate) type Row = (&'static str, String, String);

/// Makes good tokens of an issuer that has one key, `k`, which signs in ES256.
pub(crate) trait Maker {
    fn key(&self) -> &SigningKey;

    fn claims(&self, changes: Value) -> Value;

    fn token(&self, changes: Value) -> String {
        self.key().token("k", &self.claims(changes))
    }
}

impl Maker for World {
    fn key(&self) -> &SigningKey {
        &self.key
    }

    fn claims(&self, changes: Value) -> Value {
        self.claims(changes)
    }
}

/// Each row, for an issuer whose tokens are believed in RS256 too, and gets keys for that. Nobody is to ask `evil`.
pub(crate) fn rows(world: &impl Maker, issuer: &Issuer, evil: &Issuer) -> Vec<Row> {
    let mallory = SigningKey::new("ES256");
    evil.keys(&[mallory.jwk("k")]);
    let (rsa, limited, sealing) = (SigningKey::new("RS256"), SigningKey::new("RS256"), SigningKey::new("ES256"));
    let with = |mut jwk: Value, name: &str, value: &str| {
        jwk[name] = value.into();
        jwk
    };
    let limited_jwk = with(limited.jwk("limited"), "alg", "PS256");
    issuer.keys(&[world.key().jwk("k"), rsa.jwk("r"), limited_jwk, with(sealing.jwk("sealing"), "use", "enc")]);
    let rows = [
        in_its_algorithm(world, &rsa, &limited),
        in_its_key(world, &mallory, &rsa, &sealing, &evil.url()),
        in_its_header(world),
        in_its_claims(world),
        in_its_form(world),
    ]
    .concat();
    let names: HashSet<&str> = rows.iter().map(|(what, ..)| *what).collect();
    assert!(names.len() == rows.len() && rows.len() >= 80, "{} rows", rows.len());
    rows
}

#[tokio::test]
async fn hostile_tokens_are_refused() {
    let world = World::new().await;
    let evil = Issuer::start(&world.authority.server()).await;
    let rows = rows(&world, &world.issuer, &evil);
    let proxy = world.ready(&["--oidc-sign-alg=RS256"]).await;
    for version in BOTH {
        let mut client = world.scene.connect(version, &proxy).await;
        for (what, hostile, honest) in &rows {
            let response = client.send(&Request::get("/").bearer(honest)).await;
            assert_eq!((response.status, world.told().0.as_str()), (200, "anna@example.com"), "{what}, made honest: {honest}");
            let passed = world.scene.upstream.count();
            let response = client.send(&Request::get("/").bearer(hostile)).await;
            assert_eq!((response.status, response.text().as_str()), (401, "Unauthorized\n"), "{what}: {hostile}");
            assert_eq!(world.scene.upstream.count(), passed, "{what}: nothing hostile goes upstream");
        }
    }
    assert_eq!(evil.server().connections(), 0, "nobody is asked whom a token names");
    assert!(world.issuer.fetches() <= 3, "{} askings for keys", world.issuer.fetches());
    assert_eq!(world.scene.api.counts().0, 0, "the API server reviews no token");
    let long = rows.iter().map(|(_, hostile, _)| hostile.as_str()).filter(|token| token.len() > 64);
    proxy.assert_silent_about(&long.collect::<Vec<_>>());
}

fn in_its_algorithm(world: &impl Maker, rsa: &SigningKey, limited: &SigningKey) -> Vec<Row> {
    let claims = world.claims(json!({})).to_string();
    let good = world.key().sign(r#"{"alg":"ES256","kid":"k"}"#, &claims);
    let signature = good.rsplit_once('.').unwrap().1;
    let said = |header: &str, signature: &str| format!("{}.{}.{signature}", encode(header), encode(&claims));
    let hs256 = |secret: &[u8]| with_secret(secret, r#"{"alg":"HS256","kid":"k"}"#, &claims);
    let jwks = json!({"keys": [world.key().jwk("k")]}).to_string();
    // In PSS, said to be in PKCS#1.
    let by_rsa = rsa.sign(r#"{"alg":"RS256","kid":"r"}"#, &claims);
    let ps256 = said(r#"{"alg":"PS256","kid":"r"}"#, by_rsa.rsplit_once('.').unwrap().1);
    let of_the_limited = limited.sign(r#"{"alg":"RS256","kid":"limited"}"#, &claims);
    let es384 = SigningKey::new("ES384").sign(r#"{"alg":"ES384","kid":"k"}"#, &claims);
    vec![
        ("alg none", said(r#"{"alg":"none"}"#, ""), good.clone()),
        ("alg none with a signature", said(r#"{"alg":"none","kid":"k"}"#, signature), good.clone()),
        ("alg nOnE", said(r#"{"alg":"nOnE","kid":"k"}"#, ""), good.clone()),
        ("no alg", said(r#"{"kid":"k"}"#, signature), good.clone()),
        ("alg null", world.key().sign(r#"{"alg":null,"kid":"k"}"#, &claims), good.clone()),
        ("alg is a list", world.key().sign(r#"{"alg":["ES256"],"kid":"k"}"#, &claims), good.clone()),
        ("alg in small letters", world.key().sign(r#"{"alg":"es256","kid":"k"}"#, &claims), good.clone()),
        ("HS256 with the public key", hs256(&world.key().public_bytes()), good.clone()),
        ("HS256 with the public RSA key", with_secret(&rsa.public_bytes(), r#"{"alg":"HS256","kid":"r"}"#, &claims), by_rsa.clone()),
        ("HS256 with the key as JSON", hs256(world.key().jwk("k").to_string().as_bytes()), good.clone()),
        ("HS256 with the document of keys", hs256(jwks.as_bytes()), good.clone()),
        ("HS256 with the client ID", hs256(b"client"), good.clone()),
        ("HS256 with nothing", hs256(b""), good.clone()),
        ("an algorithm that is not asked for", es384, good.clone()),
        ("said to be RS256", world.key().sign(r#"{"alg":"RS256","kid":"k"}"#, &claims), good),
        ("said to be PS256", ps256, by_rsa.clone()),
        ("in an algorithm that the key is not for", of_the_limited, by_rsa),
    ]
}

fn in_its_key(world: &impl Maker, mallory: &SigningKey, rsa: &SigningKey, sealing: &SigningKey, evil: &str) -> Vec<Row> {
    let claims = world.claims(json!({})).to_string();
    let good = |header: &Value| world.key().sign(&header.to_string(), &claims);
    let usual = good(&json!({"alg": "ES256", "kid": "k"}));
    // The header may say what it likes: the same with the issuer's signature is good.
    let brought = |what: &'static str, name: &str, value: Value| {
        let header = json!({"alg": "ES256", "kid": "k", name: value});
        (what, mallory.sign(&header.to_string(), &claims), good(&header))
    };
    let of = |what: &'static str, kid: Value| {
        let header = json!({"alg": "ES256", "kid": kid});
        (what, mallory.sign(&header.to_string(), &claims), usual.clone())
    };
    let own = mallory.jwk("");
    let certificate = STANDARD.encode(Authority::new("mallory").server().certificates().remove(0));
    vec![
        of("another key by that kid", "k".into()),
        of("an unknown kid", "mallory".into()),
        of("an empty kid", "".into()),
        of("a kid that is a path", "../../../../dev/null".into()),
        of("a kid that is a URL", format!("{evil}/keys").into()),
        of("a kid that is a query", "x' UNION SELECT 'secret".into()),
        of("a kid with a NUL", "k\0".into()),
        ("a kid that is a list", good(&json!({"alg": "ES256", "kid": ["k"]})), usual.clone()),
        ("a kid that is a number", good(&json!({"alg": "ES256", "kid": 0})), usual.clone()),
        ("a known key by another's kid", good(&json!({"alg": "ES256", "kid": "r"})), usual.clone()),
        ("an RSA key by another's kid", rsa.token("k", &world.claims(json!({}))), rsa.token("r", &world.claims(json!({})))),
        ("another key without a kid", mallory.token("", &world.claims(json!({}))), world.key().token("", &world.claims(json!({})))),
        (
            "HS256 with the secret of a kid that is a path",
            with_secret(b"", r#"{"alg":"HS256","kid":"../../../../dev/null"}"#, &claims),
            usual.clone(),
        ),
        ("a key that is not for signatures", sealing.sign(r#"{"alg":"ES256","kid":"sealing"}"#, &claims), usual),
        brought("its own jwk", "jwk", own.clone()),
        ("its own jwk and no kid", mallory.sign(&json!({"alg": "ES256", "jwk": own}).to_string(), &claims), good(&json!({"alg": "ES256"}))),
        brought("its own jku", "jku", format!("{evil}/keys").into()),
        brought("its own x5u", "x5u", format!("{evil}/chain.pem").into()),
        brought("its own x5c", "x5c", json!([certificate])),
        brought("its own iss in the header", "iss", evil.into()),
        ("its own issuer", mallory.token("k", &world.claims(json!({"iss": evil}))), good(&json!({"alg": "ES256", "kid": "k"}))),
    ]
}

fn in_its_header(world: &impl Maker) -> Vec<Row> {
    let claims = world.claims(json!({})).to_string();
    let signed = |header: &str| world.key().sign(header, &claims);
    let good = signed(r#"{"alg":"ES256","kid":"k"}"#);
    vec![
        (
            "crit with b64",
            signed(r#"{"alg":"ES256","kid":"k","crit":["b64"],"b64":true}"#),
            signed(r#"{"alg":"ES256","kid":"k","b64":true}"#),
        ),
        (
            "crit with a field of its own",
            signed(r#"{"alg":"ES256","kid":"k","crit":["x"],"x":1}"#),
            signed(r#"{"alg":"ES256","kid":"k","x":1}"#),
        ),
        ("crit with exp", signed(r#"{"alg":"ES256","kid":"k","crit":["exp"],"exp":1}"#), signed(r#"{"alg":"ES256","kid":"k","exp":1}"#)),
        ("a nonce that is no string", signed(r#"{"alg":"ES256","kid":"k","nonce":5}"#), signed(r#"{"alg":"ES256","kid":"k","nonce":"5"}"#)),
        ("a jwk that is none", signed(r#"{"alg":"ES256","kid":"k","jwk":{"kty":"x"}}"#), good.clone()),
        ("an x5c that is none", signed(r#"{"alg":"ES256","kid":"k","x5c":["AAAA"]}"#), good.clone()),
        ("b64 without crit", signed(r#"{"alg":"ES256","kid":"k","b64":false}"#), signed(r#"{"alg":"ES256","kid":"k","b64":true}"#)),
        ("an empty crit", signed(r#"{"alg":"ES256","kid":"k","crit":[]}"#), good.clone()),
        ("a crit of another type", signed(r#"{"alg":"ES256","kid":"k","crit":null}"#), good.clone()),
        ("alg twice, the good one last", signed(r#"{"alg":"none","alg":"ES256","kid":"k"}"#), good.clone()),
        ("alg twice, the good one first", signed(r#"{"alg":"ES256","alg":"none","kid":"k"}"#), good.clone()),
        ("alg twice, once escaped", signed(r#"{"alg":"ES256","\u0061lg":"none","kid":"k"}"#), signed(r#"{"\u0061lg":"ES256","kid":"k"}"#)),
        ("kid twice", signed(r#"{"alg":"ES256","kid":"x","kid":"k"}"#), good.clone()),
        ("a header that is no object", signed(r#"["ES256"]"#), good.clone()),
        ("a header with more behind it", signed(r#"{"alg":"ES256","kid":"k"}{}"#), signed("{\"alg\":\"ES256\",\"kid\":\"k\"}\n")),
    ]
}

fn in_its_claims(world: &impl Maker) -> Vec<Row> {
    let claims = world.claims(json!({})).to_string();
    let signed = |claims: &str| world.key().sign(r#"{"alg":"ES256","kid":"k"}"#, claims);
    let before = |first: &str| signed(&claims.replacen('{', &format!("{{{first},"), 1));
    let parts: Vec<String> = signed(&claims).split('.').map(str::to_owned).collect();
    let replaced = |payload: String| format!("{}.{payload}.{}", parts[0], parts[2]);
    let good = parts.join(".");
    vec![
        ("email twice", before(r#""email":"root""#), before(r#""mail":"root""#)),
        ("email twice, once escaped", before(r#""\u0065mail":"root""#), good.clone()),
        ("iss twice", before(r#""iss":"https://issuer.test""#), good.clone()),
        ("aud twice", before(r#""aud":"other""#), good.clone()),
        ("exp twice", before(r#""exp":1"#), good.clone()),
        ("exp in other letters too", before(r#""EXP":1"#), before(r#""expires":1"#)),
        ("groups twice", before(r#""groups":[],"groups":["system:masters"]"#), before(r#""groups":[]"#)),
        ("other claims", replaced(encode(claims.replace("anna", "root"))), replaced(encode(&claims))),
        ("no claims", replaced(String::new()), good.clone()),
        ("claims that are a list", signed(&format!("[{claims}]")), good.clone()),
        ("claims with more behind them", signed(&format!("{claims}{claims}")), good.clone()),
        ("claims behind a byte order mark", signed(&format!("\u{feff}{claims}")), good.clone()),
        ("claims in depth", before(&format!(r#""x":{}{}"#, "[".repeat(500), "]".repeat(500))), before(r#""x":[[]]"#)),
        ("a token in a token", signed(&format!("{good:?}")), good),
    ]
}

fn in_its_form(world: &impl Maker) -> Vec<Row> {
    let good = world.token(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let of = |what: &'static str, hostile: String| (what, hostile, good.clone());
    let general = json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]});
    let other_alphabet = repeat_with(|| world.token(json!({}))).find(|token| token.contains('-')).unwrap();
    let der = [&[0x30, 0x44, 0x02, 0x20], &[1; 32][..], &[0x02, 0x20], &[1; 32][..]].concat();
    vec![
        of("JSON serialisation", json!({"protected": header, "payload": payload, "signature": signature}).to_string()),
        of("general JSON serialisation", general.to_string()),
        of("an unprotected header", json!({"header": {"alg": "ES256"}, "payload": payload, "signature": signature}).to_string()),
        of("padding at the end", format!("{good}==")),
        of("padding in the header", format!("{header}=.{payload}.{signature}")),
        of("padding in the claims", format!("{header}.{payload}=.{signature}")),
        of("bits that are left over", left_over(&good)),
        of("no signature", format!("{header}.{payload}.")),
        of("a signature of zeros", format!("{header}.{payload}.{}", encode([0; 64]))),
        of("a signature in DER", format!("{header}.{payload}.{}", encode(der))),
        of("a signature and more", format!("{good}AAAA")),
        of("half a signature", format!("{header}.{payload}.{}", &signature[..43])),
        of("another token's signature", format!("{header}.{payload}.{}", world.token(json!({"x": 1})).rsplit_once('.').unwrap().1)),
        of("two parts", format!("{header}.{payload}")),
        of("four parts", format!("{good}.{signature}")),
        of("five parts", format!("{header}..{payload}.{signature}.x")),
        of("dots", "..".to_owned()),
        of("a NUL in between", format!("{header}.{payload}.%00{signature}")),
        ("standard base64", other_alphabet.replace('-', "+"), other_alphabet),
        of("a token of the API server", ALICE.to_owned()),
    ]
}

/// The same bytes in other letters: the last one of 64 bytes has four bits that count for nothing.
fn left_over(token: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = token.split_at(token.len() - 1);
    let index = LETTERS.find(last).unwrap();
    format!("{start}{}", &LETTERS[index + 1..=index + 1])
}
