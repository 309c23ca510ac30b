//! Certificates and keys from PEM text. What stands around the blocks is ignored, what stands in them is not.

use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{PemObject, SectionKind},
};

use crate::{Contents, Location, ParseError};

const CERTIFICATE: &str = "CERTIFICATE";

/// All certificates of a file, in its order, each with the place that it begins at. A key in the same file is passed over.
///
/// # Errors
///
/// There is none, or a block is broken; the error says what was found.
pub fn certificates(contents: &Contents) -> Result<Vec<(Location, CertificateDer<'static>)>, ParseError> {
    let blocks = blocks(contents)?;
    let certificates = blocks
        .iter()
        .filter(|block| block.label == CERTIFICATE)
        .map(|block| Ok((block.location, CertificateDer::from(block.decode(contents)?))));
    let certificates = certificates.collect::<Result<Vec<_>, ParseError>>()?;
    if certificates.is_empty() {
        return Err(nothing(contents, "CERTIFICATE block", &blocks));
    }
    Ok(certificates)
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1, whatever the block calls it. Certificates in the same file
/// are passed over.
///
/// # Errors
///
/// There is none, it is encrypted or of an unknown kind, or a block is broken; the error says what was found.
pub fn private_key(contents: &Contents) -> Result<PrivateKeyDer<'static>, ParseError> {
    let blocks = blocks(contents)?;
    let Some(block) = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")) else {
        return Err(nothing(contents, "private key", &blocks));
    };
    let wrong = |message: String| ParseError::new(message).in_file(contents.path()).at(block.location);
    match block.label {
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if !block.is_encrypted() => {}
        "ENCRYPTED PRIVATE KEY" | "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
            return Err(wrong("this is an encrypted key, and must be one without a passphrase (`openssl pkey` writes it)".to_owned()));
        }
        label => {
            return Err(wrong(format!(
                "found {}, which is no key for TLS: it must be PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY",
                shown(label)
            )));
        }
    }
    PrivateKeyDer::try_from(block.decode(contents)?).map_err(|_| wrong("the block holds no PKCS#8, PKCS#1 or SEC1 private key".to_owned()))
}

struct Block<'a> {
    label: &'a str,
    /// Where it begins.
    location: Location,
    /// From its first line to its last.
    text: &'a [u8],
}

impl Block<'_> {
    fn decode(&self, contents: &Contents) -> Result<Vec<u8>, ParseError> {
        let decoded = <(SectionKind, Vec<u8>)>::from_pem_slice(self.text).map(|(_, der)| der);
        decoded.map_err(|_| {
            let message = match self.has_headers() {
                true => format!("the {} block has header lines, and must be base64 alone", self.label),
                false => format!("the {} block is not valid base64", self.label),
            };
            // The reason behind it may name bytes of a key: it is left out.
            ParseError::new(message).in_file(contents.path()).at(self.location)
        })
    }

    fn has_headers(&self) -> bool {
        self.text.contains(&b':')
    }

    fn is_encrypted(&self) -> bool {
        self.text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"Proc-Type:") && line.trim_ascii_end().ends_with(b"ENCRYPTED"))
    }
}

/// Splits a file into its blocks.
///
/// The parser behind [`PemObject`] passes over blocks with labels it does not know and drops what follows an end on
/// the same line; an operator is told of both.
fn blocks(contents: &Contents) -> Result<Vec<Block<'_>>, ParseError> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Location, usize)> = None;
    let mut offset = 0;
    for (line, number) in contents.bytes().split_inclusive(|byte| *byte == b'\n').zip(1..) {
        let location = Location { line: number, column: 1 };
        let wrong = |message: String| ParseError::new(message).in_file(contents.path()).at(location);
        let text = line.trim_ascii_end();
        match open {
            None => {
                if let Some(label) = begins(text) {
                    open = Some((label, location, offset));
                }
            }
            Some((label, since, start)) => {
                if begins(text).is_some() {
                    return Err(wrong(format!("a block begins before the {} block of line {} has ended", shown(label), since.line)));
                }
                if let Some(rest) = text.strip_prefix(b"-----END ") {
                    match rest.strip_prefix(label.as_bytes()) {
                        Some(b"-----") => {}
                        Some(rest) if rest.starts_with(b"----------BEGIN ") => {
                            return Err(wrong("a line break is missing between -----END and -----BEGIN".to_owned()));
                        }
                        _ => return Err(wrong(format!("the {} block of line {} ends as something else", shown(label), since.line))),
                    }
                    let text = contents.bytes().get(start..offset + line.len()).unwrap_or_default();
                    blocks.push(Block { label, location: since, text });
                    open = None;
                }
            }
        }
        offset += line.len();
    }
    match open {
        Some((label, since, _)) => {
            let message = format!("the {} block has no -----END line: the file is cut off", shown(label));
            Err(ParseError::new(message).in_file(contents.path()).at(since))
        }
        None => Ok(blocks),
    }
}

fn begins(line: &[u8]) -> Option<&str> {
    let label = line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
    std::str::from_utf8(label).ok()
}

/// Says what a file has instead of what was looked for.
fn nothing(contents: &Contents, wanted: &str, blocks: &[Block<'_>]) -> ParseError {
    let bytes = contents.bytes();
    let found = if bytes.trim_ascii().is_empty() {
        "the file is empty".to_owned()
    } else if !blocks.is_empty() {
        let mut labels: Vec<_> = blocks.iter().map(|block| shown(block.label)).collect();
        labels.dedup();
        format!("found {}", labels.join(", "))
    } else if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        "found -----BEGIN, but not as a whole line of its own from the line's first column".to_owned()
    } else if matches!(bytes, [0x30, 0x80..=0xff, ..]) {
        "the file is DER, and must be PEM".to_owned()
    } else {
        "the file is no PEM".to_owned()
    };
    ParseError::new(format!("no {wanted}: {found}")).in_file(contents.path())
}

/// A label, unless it is something that only stands where a label should.
fn shown(label: &str) -> &str {
    let is_label = label.len() <= 40 && label.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' '));
    if is_label { label } else { "(unknown)" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_certificates::Issued;

    const EC_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIOwt+90aJRNPEf7G4SNxOIiw2Zp0RGJ1aWXp8RQdCXufoAoGCCqGSM49\n\
        AwEHoUQDQgAEfFO+WvMxqtXB3qMn8cD3eSfsUmjDcn2h6EqpZ3xFBuoYgrMIiSxx\n\
        sc0u0GZLtmBqfM9sEYH3aKzZy5rg3Q7d9A==\n-----END EC PRIVATE KEY-----\n";

    fn file(text: impl Into<Vec<u8>>) -> Contents {
        Contents::new("f.pem", text.into())
    }

    #[test]
    fn a_chain_keeps_its_order_and_a_key_may_stand_anywhere() {
        let (a, b) = (Issued::server("a"), Issued::server("b"));
        let orders = [
            format!("{}{}{}", a.certificate, b.certificate, a.key),
            format!("{}{}{}", a.key, a.certificate, b.certificate),
            format!("Bag Attributes\r\n  x: y\n{}\nsubject=CN=b\n{}{}trailer", a.certificate.replace('\n', "\r\n"), a.key, b.certificate),
        ];
        for text in orders {
            let file = file(text);
            let chain = certificates(&file).expect("a chain").into_iter().map(|(_, certificate)| certificate);
            assert_eq!(chain.collect::<Vec<_>>(), [a.der.clone(), b.der.clone()]);
            assert!(matches!(private_key(&file).expect("a key"), PrivateKeyDer::Pkcs8(_)));
        }
    }

    #[test]
    fn a_key_is_what_its_content_is() {
        assert!(matches!(private_key(&file(EC_KEY)), Ok(PrivateKeyDer::Sec1(_))));
        // `openssl ecparam` puts the curve's name ahead.
        let with_parameters = format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{EC_KEY}");
        assert!(matches!(private_key(&file(with_parameters)), Ok(PrivateKeyDer::Sec1(_))));
        assert!(matches!(private_key(&file(EC_KEY.replace("EC PRIVATE", "PRIVATE"))), Ok(PrivateKeyDer::Sec1(_))));
    }

    #[test]
    fn an_error_says_what_was_found() {
        let pair = Issued::server("a");
        let cut = pair.certificate.trim_end().trim_end_matches("-----END CERTIFICATE-----");
        for (text, certificate, key) in [
            ("", "f.pem: no CERTIFICATE block: the file is empty", "f.pem: no private key: the file is empty"),
            (" \n", "f.pem: no CERTIFICATE block: the file is empty", "f.pem: no private key: the file is empty"),
            ("x", "f.pem: no CERTIFICATE block: the file is no PEM", "f.pem: no private key: the file is no PEM"),
            ("0x", "f.pem: no CERTIFICATE block: the file is no PEM", "f.pem: no private key: the file is no PEM"),
            (&pair.key, "f.pem: no CERTIFICATE block: found PRIVATE KEY", ""),
            (&pair.certificate, "", "f.pem: no private key: found CERTIFICATE"),
            (
                &pair.certificate.replace("-----BEGIN", "  -----BEGIN"),
                "f.pem: no CERTIFICATE block: found -----BEGIN, but not as a whole line of its own from the line's first column",
                "f.pem: no private key: found -----BEGIN, but not as a whole line of its own from the line's first column",
            ),
            (
                cut,
                "f.pem:1:1: the CERTIFICATE block has no -----END line: the file is cut off",
                "f.pem:1:1: the CERTIFICATE block has no -----END line: the file is cut off",
            ),
            (
                &format!("{}{}", pair.certificate.trim_end(), pair.certificate),
                "f.pem:9:1: a line break is missing between -----END and -----BEGIN",
                "f.pem:9:1: a line break is missing between -----END and -----BEGIN",
            ),
            (
                &format!("\n{cut}{}", pair.key),
                "f.pem:10:1: a block begins before the CERTIFICATE block of line 2 has ended",
                "f.pem:10:1: a block begins before the CERTIFICATE block of line 2 has ended",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----",
                "f.pem:1:1: the CERTIFICATE block is not valid base64",
                "f.pem: no private key: found CERTIFICATE",
            ),
            (
                &EC_KEY.replace("-----\nMH", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMH"),
                "f.pem: no CERTIFICATE block: found EC PRIVATE KEY",
                "f.pem:1:1: this is an encrypted key, and must be one without a passphrase (`openssl pkey` writes it)",
            ),
            (
                &pair.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
                "f.pem: no CERTIFICATE block: found ENCRYPTED PRIVATE KEY",
                "f.pem:1:1: this is an encrypted key, and must be one without a passphrase (`openssl pkey` writes it)",
            ),
            (
                &pair.key.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"),
                "f.pem: no CERTIFICATE block: found OPENSSH PRIVATE KEY",
                "f.pem:1:1: found OPENSSH PRIVATE KEY, which is no key for TLS: it must be PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "f.pem: no CERTIFICATE block: found PRIVATE KEY",
                "f.pem:1:1: the block holds no PKCS#8, PKCS#1 or SEC1 private key",
            ),
            (
                "-----BEGIN c2VjcmV0-----\nAAAA\n-----END c2VjcmV0-----\n",
                "f.pem: no CERTIFICATE block: found (unknown)",
                "f.pem: no private key: found (unknown)",
            ),
        ] {
            let file = file(text);
            assert_eq!(certificates(&file).err().map(|error| error.to_string()).unwrap_or_default(), certificate, "{text}");
            assert_eq!(private_key(&file).err().map(|error| error.to_string()).unwrap_or_default(), key, "{text}");
        }
    }

    #[test]
    fn der_is_named() {
        let error = certificates(&file(Issued::server("a").der.to_vec())).expect_err("refused").to_string();
        assert_eq!(error, "f.pem: no CERTIFICATE block: the file is DER, and must be PEM");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(parts in proptest::collection::vec(prop_oneof![
            Just(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
            Just(b"-----END CERTIFICATE-----\n".to_vec()),
            Just(b"-----BEGIN EC PRIVATE KEY-----\n".to_vec()),
            Just(b"-----END EC PRIVATE KEY-----".to_vec()),
            Just(b"MAMCAQE=\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..12)) {
            let file = file(parts.concat());
            if let Ok(certificates) = certificates(&file) {
                prop_assert!(!certificates.is_empty());
            }
            drop(private_key(&file));
        }
    }
}
