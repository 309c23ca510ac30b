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
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// `*` and `&` are not in the standard, but in certificates.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&byte)
}
