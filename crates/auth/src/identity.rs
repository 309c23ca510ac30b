use http::{HeaderName, HeaderValue};
use request::{Reason, Refusal, User};

/// How the upstream is told who is asking: `--auth-header-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// Takes the user's name.
    pub user: HeaderName,
    /// Takes all groups, in order.
    pub groups: HeaderName,
    /// Between two groups. Empty: groups are joined as they are, and cannot be told apart again.
    pub separator: String,
}

impl IdentityHeaders {
    /// The headers that say exactly who the user is.
    ///
    /// # Errors
    ///
    /// A name would be read as something else than it is.
    pub(crate) fn of(&self, user: &User) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        let name = sendable("the user's name", &user.name)?;
        for group in &user.groups {
            sendable("a group", group)?;
            if !self.separator.is_empty() && group.contains(&self.separator) {
                return Err(not_sendable("a group", "has the separator in it"));
            }
        }
        let groups = sendable("the list of groups", &user.groups.join(&self.separator))?;
        Ok(vec![(self.user.clone(), name), (self.groups.clone(), groups)])
    }
}

/// A value that arrives as it is: spaces around a header's value are no part of it, and some readers take Unicode's for such;
/// control bytes end it or are replaced on the way.
pub(crate) fn sendable(what: &str, text: &str) -> Result<HeaderValue, Refusal> {
    if text.chars().any(char::is_control) {
        return Err(not_sendable(what, "has a control byte in it"));
    }
    if text.trim().len() != text.len() {
        return Err(not_sendable(what, "begins or ends with a space"));
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| not_sendable(what, "is no header value"))
}

pub(crate) fn not_sendable(what: &str, why: &str) -> Refusal {
    Refusal::because(Reason::IdentityNotSendable, format_args!("{what} {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    fn of(name: &str, groups: &[&str]) -> Result<(Vec<u8>, Vec<u8>), Reason> {
        let headers = IdentityHeaders {
            user: HeaderName::from_static("x-remote-user"),
            groups: HeaderName::from_static("x-remote-groups"),
            separator: "|".into(),
        };
        let user = User { name: name.into(), groups: groups.iter().map(|group| (*group).to_owned()).collect(), ..User::default() };
        let headers = headers.of(&user).map_err(|refusal| refusal.reason())?;
        let value = |name: &str| headers.iter().find(|header| header.0 == name).expect("a header").1.as_bytes().to_vec();
        Ok((value("x-remote-user"), value("x-remote-groups")))
    }

    #[test]
    fn names_arrive_byte_for_byte() {
        assert_eq!(of("jürgen, x", &["b c", "a", "ß"]), Ok(("jürgen, x".into(), "b c|a|ß".into())));
        assert_eq!(of("u", &[]), Ok(("u".into(), "".into())));
    }

    #[test]
    fn what_would_be_read_otherwise_is_refused() {
        for (name, groups) in [
            (" u", &[][..]),
            ("u ", &[]),
            ("u\r\nX-Remote-User: root", &[]),
            ("u\0", &[]),
            ("u\t", &[]),
            ("u\u{85}", &[]),
            ("\u{a0}u", &[]),
            ("u", &["a\u{3000}"]),
            ("u", &["a|b"]),
            ("u", &["a", " b"]),
            ("u", &["a ", "b"]),
            ("u", &["a\nb"]),
        ] {
            assert_eq!(of(name, groups), Err(Reason::IdentityNotSendable), "{name:?} {groups:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_can_be_read_back(name in "[a|é \t\u{0}]{1,4}", groups in collection::vec("[a|é \n]{1,3}", 1..4)) {
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            if let Ok((user, list)) = of(&name, &groups) {
                let list = String::from_utf8(list).expect("UTF-8");
                prop_assert_eq!(user, name.as_bytes());
                prop_assert_eq!(list.trim().split('|').collect::<Vec<_>>(), groups);
            }
        }
    }
}
