use std::str::FromStr;

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, RsaParameters};

/// How a token is signed, of RFC 7518: those that need no shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

/// What verifies it.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    Rsa(&'static RsaParameters),
    Ec(Curve),
}

/// The curves of ES256, ES384 and ES512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Algorithm {
    /// All of them, in the order in which they are listed to the operator.
    pub const ALL: &[Self] =
        &[Self::Rs256, Self::Rs384, Self::Rs512, Self::Es256, Self::Es384, Self::Es512, Self::Ps256, Self::Ps384, Self::Ps512];

    /// Its name in a token.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    pub(super) fn scheme(self) -> Scheme {
        self.row().1
    }

    fn row(self) -> (&'static str, Scheme) {
        match self {
            Self::Rs256 => ("RS256", Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256)),
            Self::Rs384 => ("RS384", Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384)),
            Self::Rs512 => ("RS512", Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512)),
            Self::Ps256 => ("PS256", Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA256)),
            Self::Ps384 => ("PS384", Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA384)),
            Self::Ps512 => ("PS512", Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA512)),
            Self::Es256 => ("ES256", Scheme::Ec(Curve::P256)),
            Self::Es384 => ("ES384", Scheme::Ec(Curve::P384)),
            Self::Es512 => ("ES512", Scheme::Ec(Curve::P521)),
        }
    }
}

impl Curve {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| curve.row().0 == name)
    }

    /// The bytes of a coordinate.
    pub(super) fn coordinate(self) -> usize {
        self.row().1
    }

    pub(super) fn verifies(self) -> &'static EcdsaVerificationAlgorithm {
        self.row().2
    }

    fn row(self) -> (&'static str, usize, &'static EcdsaVerificationAlgorithm) {
        match self {
            Self::P256 => ("P-256", 32, &signature::ECDSA_P256_SHA256_FIXED),
            Self::P384 => ("P-384", 48, &signature::ECDSA_P384_SHA384_FIXED),
            Self::P521 => ("P-521", 66, &signature::ECDSA_P521_SHA512_FIXED),
        }
    }
}

impl FromStr for Algorithm {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name).ok_or(())
    }
}
