use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// When a token says that it ends, in seconds since 1970; `None` when it says nothing that is understood.
///
/// Nothing is verified: this only makes the time shorter for which somebody else's yes is remembered.
pub(crate) fn expiry(token: &str) -> Option<i64> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return None };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    // Saturates, and is never later than what is written.
    #[expect(clippy::cast_possible_truncation, reason = "saturating is what is wanted")]
    Some(claims.get("exp")?.as_f64()?.floor() as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn exp_is_read_where_there_is_one() {
        for (payload, expected) in [
            (r#"{"exp":1700000000}"#, Some(1_700_000_000)),
            (r#"{"iss":"x","exp":1700000000.9,"aud":["a"]}"#, Some(1_700_000_000)),
            (r#"{"exp":-5}"#, Some(-5)),
            (r#"{"exp":1e300}"#, Some(i64::MAX)),
            (r#"{"exp":"1700000000"}"#, None),
            ("{}", None),
            ("[1]", None),
            ("exp", None),
        ] {
            assert_eq!(expiry(&token(payload)), expected, "{payload}");
        }
        for opaque in ["", "opaque", "a.b", "a.b.c.d", "a.!.c", &format!("{}.x", token(r#"{"exp":1}"#))] {
            assert_eq!(expiry(opaque), None, "{opaque}");
        }
    }

    proptest! {
        #[test]
        fn any_token_is_survived(token in "\\PC{0,40}", payload in "\\PC{0,40}", exp in any::<i32>()) {
            expiry(&token);
            expiry(&self::token(&payload));
            prop_assert_eq!(expiry(&self::token(&format!("{{\"exp\":{exp}}}"))), Some(i64::from(exp)));
        }
    }
}
