//! What a certificate's subject says of a user.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use request::User;
use x509_parser::{
    asn1_rs::{Oid, Tag, oid},
    x509::{AttributeTypeAndValue, X509Name},
};

const COMMON_NAME: Oid<'static> = oid!(2.5.4.3);
const ORGANIZATION: Oid<'static> = oid!(2.5.4.10);
/// Kubernetes' own.
const UID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The user, as `CommonNameUserConversion` of `k8s.io/apiserver` has him; `None` without a common name.
///
/// # Errors
///
/// A value is no text, or the UID is empty or given more than once.
pub(crate) fn user(leaf: &[u8], subject: &X509Name<'_>) -> Result<Option<User>, String> {
    let (mut name, mut groups, mut uids) = (String::new(), Vec::new(), Vec::new());
    for attribute in subject.iter_attributes() {
        // Go reads every value before it looks for those it needs.
        let value = text(attribute).ok_or("its subject has a value that is no text")?;
        let kind = attribute.attr_type();
        if *kind == COMMON_NAME {
            // Go's `pkix.Name` keeps the last.
            name = value;
        } else if *kind == ORGANIZATION {
            groups.push(value);
        } else if *kind == UID {
            uids.push(value);
        }
    }
    if name.is_empty() {
        return Ok(None);
    }
    let uid = match uids.len() {
        0 => String::new(),
        1 => uids.pop().filter(|uid| !uid.is_empty()).ok_or("its subject has an empty UID")?,
        _ => return Err("its subject has more than one UID".to_owned()),
    };
    let extra = BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={}", sha256(leaf))])]);
    Ok(Some(User { name, uid, groups, extra }))
}

/// In lower-case hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value as `crypto/x509` reads it.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let bytes = value.data;
    let utf8 = || String::from_utf8(bytes.to_vec()).ok();
    match value.tag() {
        Tag::Utf8String => utf8(),
        Tag::PrintableString if bytes.iter().all(|byte| is_printable(*byte)) => utf8(),
        Tag::NumericString if bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b' ') => utf8(),
        Tag::Ia5String if bytes.is_ascii() => utf8(),
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString if bytes.len().is_multiple_of(2) => {
            let mut units: Vec<u16> =
                bytes.chunks_exact(2).map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte))).collect();
            if units.last() == Some(&0) {
                units.pop();
            }
            units.iter().all(|unit| is_of_the_plane(*unit)).then(|| String::from_utf16(&units).ok()).flatten()
        }
        _ => None,
    }
}

/// Neither a surrogate nor a code point that is never a character.
fn is_of_the_plane(unit: u16) -> bool {
    !matches!(unit, 0xd800..=0xdfff | 0xfdd0..=0xfdef | 0xfffe | 0xffff)
}

/// `*` and `&` are not in the standard, but in certificates.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&byte)
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::*;

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];
    /// 1.3.6.1.4.1.57683.2
    const KUBERNETES_UID: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xc2, 0x53, 2];

    const UTF8: u8 = 12;
    const NUMERIC: u8 = 18;
    const PRINTABLE: u8 = 19;
    const T61: u8 = 20;
    const IA5: u8 = 22;
    const UNIVERSAL: u8 = 28;
    const BMP: u8 = 30;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).expect("short")][..], content].concat()
    }

    fn read(attributes: &[(&[u8], u8, &[u8])]) -> Result<Option<User>, String> {
        let sets = attributes.iter().map(|(kind, tag, value)| tlv(0x31, &tlv(0x30, &[tlv(6, kind), tlv(*tag, value)].concat())));
        let name = tlv(0x30, &sets.collect::<Vec<_>>().concat());
        let (rest, name) = X509Name::from_der(&name).expect("a name");
        assert!(rest.is_empty());
        user(b"leaf", &name)
    }

    fn name(tag: u8, value: &[u8]) -> Option<String> {
        read(&[(CN, tag, value)]).ok().flatten().map(|user| user.name)
    }

    #[test]
    fn texts_are_read_as_go_reads_them() {
        for (tag, value, expected) in [
            (UTF8, "jürgen".as_bytes(), Some("jürgen")),
            (UTF8, b"\xff", None),
            (PRINTABLE, b"a b*&'()+,-./:=?", Some("a b*&'()+,-./:=?")),
            (PRINTABLE, b"a@b", None),
            (PRINTABLE, b"a\0b", None),
            (NUMERIC, b"12 3", Some("12 3")),
            (NUMERIC, b"1a", None),
            (IA5, b"a@b", Some("a@b")),
            (IA5, b"\x80", None),
            (T61, b"j\xfcrgen", Some("jürgen")),
            (BMP, b"\0a\0\xfc", Some("aü")),
            (BMP, b"\0a\0\0", Some("a")),
            (BMP, b"\0a\0", None),
            (BMP, b"\xd8\0", None),
            (BMP, b"\xd8\x3d\xde\0", None),
            (BMP, b"\0a\xff\xff", None),
            (BMP, b"\xfd\xd0", None),
            (UNIVERSAL, b"\0\0\0a", None),
        ] {
            assert_eq!(name(tag, value).as_deref(), expected, "{tag} {value:?}");
        }
    }

    #[test]
    fn the_last_common_name_counts_and_every_organization() {
        let subject = [(O, UTF8, &b"b"[..]), (CN, UTF8, b"first"), (O, UTF8, b"a"), (CN, UTF8, b"last"), (O, UTF8, b"b")];
        let user = read(&subject).expect("read").expect("a user");
        assert_eq!((user.name.as_str(), user.groups), ("last", vec!["b".to_owned(), "a".to_owned(), "b".to_owned()]));
        assert_eq!(user.uid, "");
    }

    #[test]
    fn an_unreadable_value_spoils_the_whole_subject() {
        let country: &[u8] = &[0x55, 4, 6];
        assert!(read(&[(CN, UTF8, b"alice"), (country, PRINTABLE, b"@")]).is_err());
    }

    #[test]
    fn a_uid_is_one_and_not_empty() {
        let uid = |value: &'static [u8]| (KUBERNETES_UID, UTF8, value);
        let user = read(&[(CN, UTF8, b"alice"), uid(b"1")]).expect("read").expect("a user");
        assert_eq!(user.uid, "1");
        assert!(read(&[(CN, UTF8, b"alice"), uid(b"")]).is_err());
        assert!(read(&[(CN, UTF8, b"alice"), uid(b"1"), uid(b"1")]).is_err());
        assert_eq!(read(&[uid(b"1"), uid(b"2")]), Ok(None), "who has no name is nobody, whatever else he has");
    }
}
