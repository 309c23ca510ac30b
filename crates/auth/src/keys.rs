use std::collections::BTreeMap;

use aws_lc_rs::{error::Unspecified, hmac, rand::SystemRandom};
use request::{Attributes, ResourceAttributes, User};

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
        let mut encoding = Encoding::default();
        encoding.text(token);
        encoding.list(audiences);
        self.key(&encoding)
    }

    pub(crate) fn of_access(&self, user: &User, attributes: &Attributes) -> Key {
        let mut encoding = Encoding::default();
        encoding.user(user);
        encoding.attributes(attributes);
        self.key(&encoding)
    }

    fn key(&self, encoding: &Encoding) -> Key {
        let tag = hmac::sign(&self.0, &encoding.0);
        let mut key = Key::default();
        for (to, from) in key.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        key
    }
}

/// Bytes that only one value has: every text follows its length, every list its count.
#[derive(Default)]
struct Encoding(Vec<u8>);

impl Encoding {
    fn user(&mut self, User { name, uid, groups, extra }: &User) {
        self.text(name);
        self.text(uid);
        self.list(groups);
        self.map(extra);
    }

    fn attributes(&mut self, attributes: &Attributes) {
        match attributes {
            Attributes::NonResource { verb, path } => {
                self.0.push(0);
                self.text(verb);
                self.text(path);
            }
            Attributes::Resource(ResourceAttributes { namespace, verb, group, version, resource, subresource, name }) => {
                self.0.push(1);
                for text in [namespace, verb, group, version, resource, subresource, name] {
                    self.text(text);
                }
            }
        }
    }

    fn map(&mut self, map: &BTreeMap<String, Vec<String>>) {
        self.count(map.len());
        for (name, values) in map {
            self.text(name);
            self.list(values);
        }
    }

    fn list(&mut self, texts: &[String]) {
        self.count(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

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

    fn encoding(user: &User, attributes: &Attributes) -> Vec<u8> {
        let mut encoding = Encoding::default();
        encoding.user(user);
        encoding.attributes(attributes);
        encoding.0
    }

    proptest! {
        #[test]
        fn different_questions_have_different_encodings(a in (user(), attributes()), b in (user(), attributes())) {
            prop_assert_eq!(encoding(&a.0, &a.1) == encoding(&b.0, &b.1), a == b);
            let c = shifted(&a.0);
            prop_assert_eq!(encoding(&a.0, &a.1) == encoding(&c, &a.1), a.0 == c);
        }

        #[test]
        fn different_tokens_have_different_encodings(a in (text(), texts()), b in (text(), texts())) {
            let encoding = |(token, audiences): &(String, Vec<String>)| {
                let mut encoding = Encoding::default();
                encoding.text(token);
                encoding.list(audiences);
                encoding.0
            };
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
