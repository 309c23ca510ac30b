use std::hash::{Hash, Hasher};

use aws_lc_rs::{error::Unspecified, hmac, rand::SystemRandom};
use request::{Attributes, User};

/// Stands for what a cache entry is about: no token is kept, and nobody outside can aim at one entry.
pub(crate) type Key = [u8; 32];

/// Makes keys with a secret of this process.
pub(crate) struct Keys(hmac::Key);

impl Keys {
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub(crate) fn new() -> Result<Self, Unspecified> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map(Self)
    }

    pub(crate) fn of_token(&self, token: &str, audiences: &[String]) -> Key {
        self.key(&(token, audiences))
    }

    pub(crate) fn of_access(&self, user: &User, attributes: &Attributes) -> Key {
        self.key(&(user, attributes))
    }

    fn key(&self, about: &impl Hash) -> Key {
        hmac::sign(&self.0, &encoding(about)).as_ref().try_into().unwrap_or_default()
    }
}

/// Bytes that only one value has: hashing ends every text with a byte that is in none, and counts every list.
fn encoding(value: &impl Hash) -> Vec<u8> {
    let mut bytes = Bytes(Vec::new());
    value.hash(&mut bytes);
    bytes.0
}

/// Takes what is hashed down as it is.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Nobody asks.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};
    use request::ResourceAttributes;

    use super::*;

    /// Few letters and short texts, so that two values are often almost the same.
    fn text() -> impl Strategy<Value = String> {
        "[ab\u{0}\u{1}]{0,3}"
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        collection::vec(text(), 0..3)
    }

    fn user() -> impl Strategy<Value = User> {
        (text(), text(), texts(), collection::btree_map(text(), texts(), 0..3)).prop_map(|(name, uid, groups, extra)| User {
            name,
            uid,
            groups,
            extra,
        })
    }

    fn attributes() -> impl Strategy<Value = Attributes> {
        prop_oneof![
            (text(), text()).prop_map(|(verb, path)| Attributes::NonResource { verb, path }),
            collection::vec(text(), 7).prop_map(|mut texts| {
                let mut next = || texts.pop().unwrap_or_default();
                Attributes::Resource(ResourceAttributes {
                    namespace: next(),
                    verb: next(),
                    group: next(),
                    version: next(),
                    resource: next(),
                    subresource: next(),
                    name: next(),
                })
            }),
        ]
    }

    /// Moves a piece from one text to its neighbour, which a careless encoding does not notice.
    fn shifted(user: &User) -> User {
        let mut shifted = user.clone();
        if let Some(letter) = shifted.name.pop() {
            shifted.uid.insert(0, letter);
        }
        shifted
    }

    proptest! {
        #[test]
        fn different_questions_have_different_encodings(a in (user(), attributes()), b in (user(), attributes())) {
            prop_assert_eq!(encoding(&(&a.0, &a.1)) == encoding(&(&b.0, &b.1)), a == b);
            let c = shifted(&a.0);
            prop_assert_eq!(encoding(&(&a.0, &a.1)) == encoding(&(&c, &a.1)), a.0 == c);
        }

        #[test]
        fn different_tokens_have_different_encodings(a in (text(), texts()), b in (text(), texts())) {
            let encoding = |(token, audiences): &(String, Vec<String>)| encoding(&(token.as_str(), audiences.as_slice()));
            prop_assert_eq!(encoding(&a) == encoding(&b), a == b);
        }
    }

    #[test]
    fn a_key_is_of_this_process_alone() {
        let (one, other) = (Keys::new().expect("random bytes"), Keys::new().expect("random bytes"));
        assert_eq!(one.of_token("t", &[]), one.of_token("t", &[]));
        assert_ne!(one.of_token("t", &[]), one.of_token("t", &["a".into()]));
        assert_ne!(one.of_token("t", &[]), other.of_token("t", &[]));
    }
}
