use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::jwt::{SigningKey, encode, with_secret};

use super::*;

const NOW: i64 = 1_700_000_000;

static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::new("RS256"));
static EC: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::new("ES256"));

fn rules() -> TokenRules {
    TokenRules {
        issuer: "https://issuer.test".into(),
        client_id: "client".into(),
        algorithms: vec![Algorithm::Rs256],
        username_claim: "email".into(),
        username_prefix: String::new(),
        groups_claim: "groups".into(),
        groups_prefix: String::new(),
        required_claims: Vec::new(),
        allow_reserved: false,
    }
}

fn claims() -> Value {
    json!({"iss": "https://issuer.test", "aud": "client", "exp": NOW + 60, "email": "anna@example.com"})
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn keys(list: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": list}).to_string().as_bytes()).expect("a key set")
}

fn verify(rules: &TokenRules, claims: &Value) -> Result<User, TokenError> {
    match rules.verify(&RSA.token("k", claims), &keys(&[RSA.jwk("k")]), NOW)? {
        Verified::Whole(token) => Ok(token.user),
        Verified::GroupsElsewhere(part) => panic!("without groups: {part:?}"),
    }
}

fn refused(rules: &TokenRules, claims: &Value) -> String {
    verify(rules, claims).expect_err("refused").to_string()
}

#[test]
fn each_algorithm_verifies_its_own_tokens_and_no_other() {
    for algorithm in Algorithm::ALL.iter().copied() {
        let key = SigningKey::new(algorithm.name());
        let set = keys(&[key.jwk("k")]);
        assert_eq!(set.skipped, [""; 0]);
        let token = key.token("k", &claims());
        for accepted in Algorithm::ALL.iter().copied() {
            let rules = TokenRules { algorithms: vec![accepted], ..rules() };
            let verified = rules.verify(&token, &set, NOW);
            match accepted == algorithm {
                true => assert!(matches!(verified, Ok(Verified::Whole(token)) if token.expires == NOW + 60), "{algorithm:?}"),
                false => assert_eq!(verified, Err(TokenError::Algorithm), "{algorithm:?} where {accepted:?} is accepted"),
            }
            // Said to be another: the signature is not one of that algorithm.
            let header = json!({"alg": accepted.name(), "kid": "k"}).to_string();
            if accepted != algorithm {
                assert_eq!(rules.verify(&key.sign(&header, &claims().to_string()), &set, NOW), Err(TokenError::Signature));
            }
        }
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
    }
}

#[test]
fn forged_tokens_are_refused() {
    let set = keys(&[RSA.jwk("k"), EC.jwk("e")]);
    let rules = TokenRules { algorithms: Algorithm::ALL.to_vec(), ..rules() };
    let claims = claims().to_string();
    let good = RSA.sign(r#"{"alg":"RS256","kid":"k"}"#, &claims);
    let other = SigningKey::new("RS256");
    assert!(rules.verify(&good, &set, NOW).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = |header: &str, signature: &[u8]| format!("{}.{}.{}", encode(header), encode(&claims), encode(signature));
    let hs256 = |secret: &[u8]| with_secret(secret, r#"{"alg":"HS256","kid":"k"}"#, &claims);
    let jwk = other.jwk("k");
    let flipped = |part: usize| {
        let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let first = if &parts[part][8..9] == "A" { "B" } else { "A" };
        parts[part].replace_range(8..9, first);
        parts.join(".")
    };
    let json_form = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    let admin = encode(claims.replace("anna", "root"));
    for (what, token) in [
        ("none", unsigned(r#"{"alg":"none"}"#, b"")),
        ("none in capitals", unsigned(r#"{"alg":"NONE","kid":"k"}"#, b"")),
        ("no alg", unsigned(r#"{"kid":"k"}"#, b"x")),
        ("alg is no string", unsigned(r#"{"alg":["RS256"],"kid":"k"}"#, b"x")),
        ("alg in another case", RSA.sign(r#"{"alg":"rs256","kid":"k"}"#, &claims)),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("HS256 with the public key", hs256(&RSA.public_bytes())),
        ("HS256 with the public key as JSON", hs256(RSA.jwk("k").to_string().as_bytes())),
        ("HS256 with nothing", hs256(b"")),
        ("another key by that name", other.sign(r#"{"alg":"RS256","kid":"k"}"#, &claims)),
        ("another key without a name", other.sign(r#"{"alg":"RS256"}"#, &claims)),
        ("an unknown kid", RSA.sign(r#"{"alg":"RS256","kid":"x"}"#, &claims)),
        ("a kid that is a path", RSA.sign(r#"{"alg":"RS256","kid":"../../dev/null"}"#, &claims)),
        ("a kid that is no string", RSA.sign(r#"{"alg":"RS256","kid":["k"]}"#, &claims)),
        ("the other key's kid", RSA.sign(r#"{"alg":"RS256","kid":"e"}"#, &claims)),
        ("its own jwk", other.sign(&json!({"alg": "RS256", "jwk": jwk}).to_string(), &claims)),
        ("its own jwk by that name", other.sign(&json!({"alg": "RS256", "kid": "k", "jwk": jwk}).to_string(), &claims)),
        ("its own jku", other.sign(r#"{"alg":"RS256","jku":"https://evil.test/jwks"}"#, &claims)),
        ("its own x5u", other.sign(r#"{"alg":"RS256","x5u":"https://evil.test/x"}"#, &claims)),
        ("its own x5c", other.sign(r#"{"alg":"RS256","x5c":["AAAA"]}"#, &claims)),
        ("crit", RSA.sign(r#"{"alg":"RS256","kid":"k","crit":["b64"],"b64":false}"#, &claims)),
        ("b64 without crit", RSA.sign(r#"{"alg":"RS256","kid":"k","b64":false}"#, &claims)),
        ("an exp in other letters", RSA.sign(r#"{"alg":"RS256","kid":"k"}"#, &claims.replacen('{', r#"{"EXP":1,"#, 1))),
        ("a sub in letters that fold", RSA.sign(r#"{"alg":"RS256","kid":"k"}"#, &claims.replacen('{', r#"{"\u017fub":"root","#, 1))),
        ("a nonce in the header that is no string", RSA.sign(r#"{"alg":"RS256","kid":"k","nonce":5}"#, &claims)),
        ("a jwk in the header that is none", RSA.sign(r#"{"alg":"RS256","kid":"k","jwk":{"kty":"x"}}"#, &claims)),
        ("an x5c in the header that is none", RSA.sign(r#"{"alg":"RS256","kid":"k","x5c":["AAAA"]}"#, &claims)),
        ("an empty crit", RSA.sign(r#"{"alg":"RS256","kid":"k","crit":[]}"#, &claims)),
        ("alg twice", RSA.sign(r#"{"alg":"none","alg":"RS256","kid":"k"}"#, &claims)),
        ("a claim twice", RSA.sign(r#"{"alg":"RS256","kid":"k"}"#, &claims.replacen('{', r#"{"email":"root","#, 1))),
        ("claims that are no object", RSA.sign(r#"{"alg":"RS256","kid":"k"}"#, "[]")),
        ("other claims", format!("{}.{admin}.{}", parts[0], parts[2])),
        ("a changed header", flipped(0)),
        ("changed claims", flipped(1)),
        ("a changed signature", flipped(2)),
        ("JSON serialisation", json_form),
        ("padding", format!("{good}==")),
        ("a space before", format!(" {good}")),
        ("a line end", format!("{good}\n")),
        ("a fourth part", format!("{good}.")),
        ("five parts", format!("{good}.a.b")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("dots alone", "..".to_owned()),
        ("nothing", String::new()),
        ("many dots", ".".repeat(100_000)),
        ("deep nesting", unsigned(&"[".repeat(20_000), b"x")),
        ("ES256 with zeros", unsigned(r#"{"alg":"ES256","kid":"e"}"#, &[0; 64])),
        ("ES256 as DER", unsigned(r#"{"alg":"ES256","kid":"e"}"#, &[0x30, 6, 2, 1, 0, 2, 1, 0])),
        ("RS256 with zeros", unsigned(r#"{"alg":"RS256","kid":"k"}"#, &[0; 256])),
        ("RS256 for a curve", EC.sign(r#"{"alg":"RS256","kid":"e"}"#, &claims)),
    ] {
        assert!(rules.verify(&token, &set, NOW).is_err(), "{what}");
    }
    for token in [unsigned(r#"{"alg":"none"}"#, b""), hs256(&RSA.public_bytes())] {
        assert_eq!(rules.verify(&token, &set, NOW), Err(TokenError::Algorithm));
    }
}

#[test]
fn a_token_without_a_key_id_is_tried_with_each_key() {
    let other = SigningKey::new("RS256");
    let set = keys(&[EC.jwk("e"), other.jwk("o"), RSA.jwk("k")]);
    for kid in ["", "k"] {
        assert!(rules().verify(&RSA.token(kid, &claims()), &set, NOW).is_ok(), "{kid}");
    }
    let empty = RSA.sign(r#"{"alg":"RS256","kid":""}"#, &claims().to_string());
    assert!(rules().verify(&empty, &set, NOW).is_ok());
    assert_eq!(rules().verify(&RSA.token("", &claims()), &keys(&[]), NOW), Err(TokenError::UnknownKey));
    let error = rules().verify(&RSA.token("new", &claims()), &set, NOW).expect_err("unknown");
    assert!(error == TokenError::UnknownKey && error.may_need_new_keys());
    assert!(!TokenError::Expired.may_need_new_keys());
}

#[test]
fn times_count_as_in_go() {
    for (name, value, expected) in [
        ("exp", json!(NOW + 1), Ok(())),
        ("exp", json!(NOW as f64 + 1.5), Ok(())),
        ("exp", json!(NOW), Err("the token has expired")),
        ("exp", json!(NOW as f64 + 0.9), Err("the token has expired")),
        ("exp", json!(-1), Err("the token has expired")),
        ("exp", json!(1e300), Err("the token's claim exp is out of range")),
        ("exp", json!(i64::MAX - 62_135_596_800), Ok(())),
        ("exp", json!(i64::MAX - 62_135_596_799), Err("the token's claim exp is out of range")),
        ("exp", json!(i64::MAX), Err("the token's claim exp is out of range")),
        ("exp", json!((NOW + 60).to_string()), Err("the token's claim exp is no number")),
        ("exp", json!(null), Err("the token's claim exp is missing")),
        ("nbf", json!(NOW + 60), Ok(())),
        ("nbf", json!(NOW + 61), Err("the token is not valid yet")),
        ("nbf", json!(null), Ok(())),
        ("nbf", json!("soon"), Err("the token's claim nbf is no number")),
        ("iat", json!(NOW + 1_000_000), Ok(())),
        ("iat", json!("now"), Err("the token's claim iat is no number")),
        ("iat", json!(null), Err("the token's claim iat is no number")),
    ] {
        let result = verify(&rules(), &with(name, value.clone())).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(result, expected.map_err(str::to_owned), "{name} {value}");
    }
    let mut without = claims();
    without.as_object_mut().expect("an object").remove("exp");
    assert_eq!(refused(&rules(), &without), "the token's claim exp is missing");
}

#[test]
fn issuer_and_audience_are_exact() {
    for (name, value, good) in [
        ("aud", json!(["other", "client"]), true),
        ("aud", json!("client "), false),
        ("aud", json!(["other"]), false),
        ("aud", json!([]), false),
        ("aud", json!(null), false),
        ("aud", json!(["client", 1]), false),
        ("aud", json!({"client": 1}), false),
        ("iss", json!("https://issuer.test/"), false),
        ("iss", json!("HTTPS://issuer.test"), false),
        ("iss", json!(["https://issuer.test"]), false),
        ("iss", json!(null), false),
        ("sub", json!("anything"), true),
        ("sub", json!(1), false),
        ("nonce", json!("anything"), true),
        ("nonce", json!(1), false),
        ("at_hash", json!(["x"]), false),
    ] {
        assert_eq!(verify(&rules(), &with(name, value.clone())).is_ok(), good, "{name} {value}");
    }
    let google = TokenRules { issuer: "https://accounts.google.com".into(), ..rules() };
    assert!(verify(&google, &with("iss", "accounts.google.com")).is_ok());
    assert!(verify(&rules(), &with("iss", "issuer.test")).is_err());
}

#[test]
fn the_username_claim_names_the_user() {
    let by_sub = TokenRules { username_claim: "sub".into(), username_prefix: "oidc:".into(), ..rules() };
    let mut claims = with("sub", "42");
    claims["email_verified"] = false.into();
    claims["jti"] = "id-1".into();
    let user = verify(&by_sub, &claims).expect("a user");
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("oidc:42", ""));
    assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=id-1"]);

    for (value, good) in [(json!(true), true), (json!(false), false), (json!("true"), false), (json!(null), false), (json!(1), false)] {
        assert_eq!(verify(&rules(), &with("email_verified", value.clone())).is_ok(), good, "{value}");
    }
    for value in [json!(""), json!(null), json!(7), json!(["a"])] {
        assert_eq!(refused(&rules(), &with("email", value)), "the token's claim email is no string with a name");
    }
    assert!(verify(&rules(), &with("jti", 7)).expect("a user").extra.is_empty());
}

#[test]
fn the_groups_claim_is_a_string_or_a_list() {
    let prefixed = TokenRules { groups_prefix: "g:".into(), ..rules() };
    for (value, groups) in
        [(json!("one"), vec!["g:one"]), (json!(["b", "a", "b"]), vec!["g:b", "g:a", "g:b"]), (json!([]), vec![]), (json!(null), vec![])]
    {
        assert_eq!(verify(&prefixed, &with("groups", value)).expect("a user").groups, groups);
    }
    for value in [json!(1), json!(["a", 1]), json!({"a": 1}), json!(true)] {
        assert_eq!(refused(&prefixed, &with("groups", value)), "the token's claim groups is neither a string nor a list of strings");
    }
    let none = TokenRules { groups_claim: String::new(), ..rules() };
    assert_eq!(verify(&none, &with("groups", json!(["a"]))).expect("a user").groups, [""; 0]);
}

/// Where the claims say that the groups are, or what is wrong with that.
fn elsewhere(claims: &Value, rules: &TokenRules) -> Result<Option<String>, String> {
    match rules.verify(&RSA.token("k", claims), &keys(&[RSA.jwk("k")]), NOW) {
        Ok(Verified::Whole(_)) => Ok(None),
        Ok(Verified::GroupsElsewhere(part)) => Ok(Some(format!("{:?}", part.source))),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn groups_that_are_kept_elsewhere_are_not_left_out() {
    let there = json!({"s": {"endpoint": "https://there.test/x", "access_token": "secret"}});
    let found = Ok(Some(r#"Source { endpoint: HttpsUrl { text: "https://there.test/x""#.to_owned()));
    let bad = |claim: &str, problem: &str| Err(format!("the token's claim {claim} {problem}"));
    let no_place = "is kept at a place that is no https URL";
    for (names, sources, expected) in [
        (json!({"groups": "s"}), there.clone(), found.clone()),
        (json!({"groups": "s", "roles": "s"}), there.clone(), found),
        (json!({"roles": "s"}), there.clone(), Ok(None)),
        (json!({}), json!({}), Ok(None)),
        (json!({"groups": "t"}), there.clone(), bad("_claim_names", "names a source that is not there")),
        (json!({"groups": "s", "roles": "t"}), there.clone(), bad("_claim_names", "names a source that is not there")),
        (json!({"roles": ""}), json!({"": {}}), bad("_claim_names", "names a source that is not there")),
        (json!({"groups": 1}), there.clone(), bad("_claim_names", "names a source that is not there")),
        (json!("groups"), there, bad("_claim_names", "is no object")),
        (json!({"groups": "s"}), json!(["s"]), bad("_claim_sources", "is no object")),
        (json!({"groups": "s"}), json!({"s": "https://there.test"}), bad("_claim_sources", "has another form")),
        (json!({"groups": "s"}), json!({"s": {"endpoint": 1}}), bad("_claim_sources", "has another form")),
        (
            json!({"groups": "s"}),
            json!({"s": {"endpoint": "https://a.test", "access_token": 1}}),
            bad("_claim_sources", "has another form"),
        ),
        (json!({"groups": "s"}), json!({"s": {"endpoint": "http://there.test/x"}}), bad("groups", no_place)),
        (json!({"groups": "s"}), json!({"s": {"JWT": "e30.e30.e30"}}), bad("groups", no_place)),
    ] {
        let mut claims = with("_claim_names", names.clone());
        claims["_claim_sources"] = sources.clone();
        let result = elsewhere(&claims, &rules());
        match (&result, &expected) {
            (Ok(Some(source)), Ok(Some(start))) => assert!(source.starts_with(start) && !source.contains("secret"), "{source}"),
            _ => assert_eq!(result, expected, "{names} {sources}"),
        }
    }
    assert_eq!(elsewhere(&with("_claim_names", json!({})), &rules()), bad("_claim_sources", "is missing"));
    assert_eq!(elsewhere(&with("_claim_sources", json!([])), &rules()), bad("_claim_sources", "is no object"));

    let mut both = with("groups", json!(["a"]));
    (both["_claim_names"], both["_claim_sources"]) = (json!({"groups": "s"}), json!({"s": {"endpoint": "https://there.test"}}));
    assert_eq!(verify(&rules(), &both).expect("a user").groups, ["a"], "as in Go, groups in the token are the groups");
    both.as_object_mut().expect("an object").remove("groups");
    let none = TokenRules { groups_claim: String::new(), ..rules() };
    assert_eq!(verify(&none, &both).expect("a user").groups, [""; 0]);
}

#[test]
fn an_issuer_names_nobody_of_kubernetes() {
    for claims in [with("email", "system:admin"), with("groups", json!(["a", "system:masters"])), with("groups", "system:authenticated")] {
        assert_eq!(verify(&rules(), &claims), Err(TokenError::Reserved));
        assert!(verify(&TokenRules { allow_reserved: true, ..rules() }, &claims).is_ok());
        let prefixed = TokenRules { username_prefix: "oidc:".into(), groups_prefix: "oidc:".into(), ..rules() };
        assert!(verify(&prefixed, &claims).is_ok());
        // What counts is what Kubernetes would read.
        let split = TokenRules { username_prefix: "sys".into(), groups_prefix: "sys".into(), ..rules() };
        assert!(verify(&split, &claims).is_ok());
    }
    let split = TokenRules { username_prefix: "sys".into(), ..rules() };
    assert_eq!(verify(&split, &with("email", "tem:admin")), Err(TokenError::Reserved));
}

#[test]
fn keys_that_are_of_no_use_are_skipped() {
    let with = |name: &str, value: Value| {
        let mut jwk = RSA.jwk("k");
        jwk[name] = value;
        jwk
    };
    let ec = |name: &str, value: Value| {
        let mut jwk = EC.jwk("e");
        jwk[name] = value;
        jwk
    };
    for (jwk, why) in [
        (json!({"kty": "oct", "k": "AAAA"}), "its kty is neither RSA nor EC"),
        (json!("a key"), "its kty is neither RSA nor EC"),
        (with("use", json!("enc")), "it is not for signatures"),
        (with("key_ops", json!(["encrypt"])), "it is not for verifying"),
        (with("d", json!("AAAA")), "it is a private key, which is known to everybody now"),
        (with("alg", json!("RSA-OAEP")), "its alg is not for such a key"),
        (with("alg", json!("ES256")), "its alg is not for such a key"),
        (with("alg", json!("HS256")), "its alg is not for such a key"),
        (with("n", json!(encode([0xff; 128]))), "its n has fewer than 2048 bits or more than 8192"),
        (with("n", json!(encode([0x7f; 256]))), "its n has fewer than 2048 bits or more than 8192"),
        (with("n", json!(encode([0xff; 1025]))), "its n has fewer than 2048 bits or more than 8192"),
        (with("n", json!("*")), "its n is no number"),
        (with("e", json!("AQ")), "its e is not odd, or out of bounds"),
        (with("e", json!(encode([2]))), "its e is not odd, or out of bounds"),
        (with("e", json!(encode([1, 0, 0, 0, 1]))), "its e is not odd, or out of bounds"),
        (with("e", json!("AAAA")), "its e is no number"),
        (ec("crv", json!("secp256k1")), "its crv is none of P-256, P-384 and P-521"),
        (ec("crv", json!("P-384")), "a coordinate has not its curve's length"),
        (ec("x", json!(encode([1; 31]))), "a coordinate has not its curve's length"),
        (ec("x", json!(encode([1; 32]))), "it is no point of its curve"),
    ] {
        let set = keys(&[jwk.clone(), RSA.jwk("last")]);
        assert_eq!(set.skipped, [format!("key 0 is of no use: {why}")], "{jwk}");
        assert!(rules().verify(&RSA.token("last", &claims()), &set, NOW).is_ok());
    }
    for jwk in [
        with("use", json!(null)),
        with("use", json!("")),
        with("alg", json!(null)),
        with("use", json!("sig")),
        with("key_ops", json!(["verify"])),
        with("alg", json!("RS256")),
        with("e", json!("AAEAAQ==")),
    ] {
        assert_eq!(keys(&[jwk]).skipped, [""; 0]);
    }
    let only = keys(&[with("alg", json!("PS256"))]);
    assert_eq!(rules().verify(&RSA.token("k", &claims()), &only, NOW), Err(TokenError::Signature));
}

#[test]
fn a_document_of_another_form_has_no_keys() {
    for document in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert!(matches!(KeySet::parse(document.as_bytes()), Err(KeySetError::Form)), "{document}");
    }
    let many = json!({"keys": vec![EC.jwk("e"); 65]}).to_string();
    assert!(matches!(KeySet::parse(many.as_bytes()), Err(KeySetError::TooMany)));
    assert!(keys(&[]).is_empty() && !keys(&[EC.jwk("")]).is_empty());
}

proptest! {
    #[test]
    fn anything_is_survived(token in "\\PC{0,60}", header in "\\PC{0,40}", payload in "\\PC{0,40}", document in any::<Vec<u8>>()) {
        let set = keys(&[EC.jwk("e")]);
        prop_assert!(rules().verify(&token, &set, NOW).is_err());
        let encoded = format!("{}.{}.{}", encode(header), encode(payload), encode(b"x"));
        prop_assert!(rules().verify(&encoded, &set, NOW).is_err());
        prop_assert!(KeySet::parse(&document).is_err());
    }
}
