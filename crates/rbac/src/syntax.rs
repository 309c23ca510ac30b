//! What Kubernetes lets names and labels look like (`k8s.io/apimachinery/pkg/util/validation`).

/// The name of a role or binding: what can stand between two slashes of a path.
pub(crate) fn is_path_segment(name: &str) -> bool {
    !matches!(name, "." | "..") && !name.contains(['/', '%'])
}

/// The name of a namespace.
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns_part(name)
}

/// The name of a ServiceAccount.
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_part)
}

/// The key of a label, which may have a domain in front.
pub(crate) fn is_label_key(key: &str) -> bool {
    let (name, domain_is_fine) = match key.split_once('/') {
        Some((domain, name)) => (name, is_dns_subdomain(domain)),
        None => (key, true),
    };
    domain_is_fine && !name.is_empty() && is_label_value(name)
}

/// The value of a label.
pub(crate) fn is_label_value(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    value.is_empty() || value.len() <= 63 && value.bytes().all(inner) && outer(value, |byte| byte.is_ascii_alphanumeric())
}

fn is_dns_part(part: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    part.bytes().all(|byte| lower(byte) || byte == b'-') && outer(part, lower)
}

/// Whether the text has a first and a last byte, and both are fine.
fn outer(text: &str, fine: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().zip(bytes.last()).is_some_and(|(&first, &last)| fine(first) && fine(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_in_a_path() {
        for name in ["a", "system:controller:x", "A b*", "...", "é"] {
            assert!(is_path_segment(name), "{name}");
        }
        for name in [".", "..", "a/b", "50%"] {
            assert!(!is_path_segment(name), "{name}");
        }
    }

    #[test]
    fn namespaces_are_dns_labels_and_accounts_are_subdomains() {
        let (longest, longer) = ("a".repeat(63), "a".repeat(64));
        for name in ["a", "0", "a-b", &longest] {
            assert!(is_dns_label(name) && is_dns_subdomain(name), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a_b", "é"] {
            assert!(!is_dns_label(name) && !is_dns_subdomain(name), "{name}");
        }
        assert!(!is_dns_label(&longer) && is_dns_subdomain(&longer));
        assert!(!is_dns_label("a.b") && is_dns_subdomain("a.b"));
        assert!(!is_dns_subdomain("a..b") && !is_dns_subdomain(".") && !is_dns_subdomain(&"a.".repeat(127)));
    }

    #[test]
    fn labels_have_keys_and_values() {
        for key in ["a", "A.b_c-d", "example.com/a", "rbac.authorization.k8s.io/aggregate-to-view"] {
            assert!(is_label_key(key), "{key}");
        }
        for key in ["", "/a", "a/", "a/b/c", "-a", "EXAMPLE.com/a", "a b"] {
            assert!(!is_label_key(key), "{key}");
        }
        for value in ["", "a", "A.b_c-d", "1"] {
            assert!(is_label_value(value), "{value}");
        }
        for value in ["-", "a-", "_a", "a/b", &"a".repeat(64)] {
            assert!(!is_label_value(value), "{value}");
        }
    }
}
