use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::{
    client::Version,
    jwt::{SigningKey, encode},
};

use crate::case::{Case, Group};

const FLAGS: &[&str] =
    &["--oidc-issuer={issuer}", "--oidc-clientID=client", "--oidc-ca-file={folder}/serving-ca.crt", "--auth-header-fields-enabled"];

/// Section 3.4: whose a token of an issuer is.
pub(crate) fn groups() -> Vec<Group> {
    let by = |name: &'static str| Case::get(name, "/o").header("Authorization", &format!("Bearer {{oidc:{name}}}"));
    let plain = vec![
        by("good"),
        by("good, without kid"),
        by("good, in groups"),
        by("good, in one group"),
        by("good, for several clients"),
        by("good, with a token ID"),
        by("good, of a verified address"),
        by("good, with another subject"),
        by("no groups"),
        by("for another client"),
        by("of another issuer"),
        by("of the issuer with a slash"),
        by("expired"),
        by("without an end"),
        by("too early"),
        by("a little too early"),
        by("of an unverified address"),
        by("of an address that is verified in words"),
        by("without a name"),
        by("with groups of another type"),
        by("with a numeric subject"),
        by("of another key"),
        by("of an unknown key"),
        by("in another algorithm"),
        by("of no algorithm"),
        by("without a signature"),
        by("with a critical field"),
        by("reserved").refused("oidc-reserved").differs_in(Version::H1, "oidc-reserved", &["SubjectAccessReview"]),
        by("in a reserved group").refused("oidc-reserved").differs_in(Version::H1, "oidc-reserved", &["SubjectAccessReview"]),
        by("with groups here and elsewhere"),
        by("with groups elsewhere, where nobody is"),
        by("with groups elsewhere, nowhere"),
        by("with another claim elsewhere, nowhere"),
        by("with names of claims and no places"),
        by("with places of claims and no names"),
        by("with places of claims that are no object"),
        by("made at no time"),
        by("with a numeric nonce"),
        Case::get("no token", "/o"),
        Case::get("no token of the issuer", "/o").bearer("alice"),
    ];
    let prefixed = vec![by("good, in groups"), by("reserved"), by("in a reserved group"), by("of an unverified address")];
    let with = |more: &[&'static str]| [FLAGS, more].concat();
    vec![
        Group::new("OIDC", FLAGS, plain),
        Group::new(
            "OIDC with prefixes and claims",
            &with(&["--oidc-username-claim=sub", "--oidc-username-prefix=o:", "--oidc-groups-claim=roles", "--oidc-groups-prefix=g:"]),
            prefixed,
        ),
        Group::new("OIDC beside client certificates", &with(&["--client-ca-file={folder}/clients-ca.crt", "--auth-token-audiences=a"]), {
            vec![Case::get("a client certificate", "/o").presenting(crate::world::Identity::Good), by("good")]
        }),
    ]
}

/// The tokens by their names.
pub(crate) fn tokens(issuer: &str, key: &SigningKey) -> Vec<(&'static str, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = |changes: Value| {
        let mut claims = json!({"iss": issuer, "aud": "client", "exp": now + 3600, "email": "anna@example.com", "sub": "anna"});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let token = |changes: Value| key.token("k", &claims(changes));
    let (good, text) = (token(json!({})), claims(json!({})).to_string());
    let unsigned = good.rsplit_once('.').unwrap().0.to_owned();
    let mut endless = claims(json!({}));
    endless.as_object_mut().unwrap().remove("exp");
    let other = SigningKey::new("RS256");
    vec![
        ("good", good),
        ("good, without kid", key.token("", &claims(json!({})))),
        ("good, in groups", token(json!({"groups": ["b", "a"], "roles": ["c", "d"]}))),
        ("good, in one group", token(json!({"groups": "b"}))),
        ("good, for several clients", token(json!({"aud": ["other", "client"]}))),
        ("good, with a token ID", token(json!({"jti": "id-1"}))),
        ("good, of a verified address", token(json!({"email_verified": true}))),
        ("good, with another subject", token(json!({"sub": "x", "azp": "y", "iat": now + 3000}))),
        ("no groups", token(json!({"groups": []}))),
        ("for another client", token(json!({"aud": "other"}))),
        ("of another issuer", token(json!({"iss": "https://issuer.test"}))),
        ("of the issuer with a slash", token(json!({"iss": format!("{issuer}/")}))),
        ("expired", token(json!({"exp": now - 5}))),
        ("without an end", key.token("k", &endless)),
        ("too early", token(json!({"nbf": now + 3000}))),
        ("a little too early", token(json!({"nbf": now + 40}))),
        ("of an unverified address", token(json!({"email_verified": false}))),
        ("of an address that is verified in words", token(json!({"email_verified": "true"}))),
        ("without a name", token(json!({"email": 7}))),
        ("with groups of another type", token(json!({"groups": {"a": 1}}))),
        ("with a numeric subject", token(json!({"sub": 7}))),
        ("of another key", other.token("k", &claims(json!({})))),
        ("of an unknown key", other.token("x", &claims(json!({})))),
        ("in another algorithm", SigningKey::new("ES256").token("k", &claims(json!({})))),
        ("of no algorithm", format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&text))),
        ("without a signature", format!("{unsigned}.")),
        ("with a critical field", key.sign(r#"{"alg":"RS256","kid":"k","crit":["x"],"x":1}"#, &text)),
        (
            "with groups here and elsewhere",
            token(json!({"groups": ["b"], "_claim_names": {"groups": "s"}, "_claim_sources": {"s": {"endpoint": "https://127.0.0.1:1/"}}})),
        ),
        (
            "with groups elsewhere, where nobody is",
            token(json!({"_claim_names": {"groups": "s"}, "_claim_sources": {"s": {"endpoint": "https://127.0.0.1:1/"}}})),
        ),
        ("with groups elsewhere, nowhere", token(json!({"_claim_names": {"groups": "s"}}))),
        ("with another claim elsewhere, nowhere", token(json!({"_claim_names": {"other": "s"}, "_claim_sources": {}}))),
        ("with names of claims and no places", token(json!({"_claim_names": {}}))),
        ("with places of claims and no names", token(json!({"_claim_sources": {}}))),
        ("with places of claims that are no object", token(json!({"_claim_sources": 7}))),
        ("made at no time", token(json!({"iat": null}))),
        ("with a numeric nonce", token(json!({"nonce": 7}))),
        ("reserved", token(json!({"email": "system:admin", "sub": "system:admin"}))),
        ("in a reserved group", token(json!({"groups": ["system:masters"], "roles": ["system:masters"]}))),
    ]
}
