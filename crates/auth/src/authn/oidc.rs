//! Tokens that an OpenID Connect issuer signs, verified here: by its keys, this program's rules and the clock, all of
//! them parameters.

mod algorithm;
mod authenticator;
mod claims;
mod elsewhere;
mod issuer;
mod jwk;
mod jws;
mod object;
#[cfg(test)]
mod tests;

use request::User;
use thiserror::Error;

pub(crate) use self::authenticator::Oidc;
pub use self::{
    algorithm::Algorithm,
    authenticator::OidcSettings,
    jwk::{KeySet, KeySetError},
};
use self::{elsewhere::Source, jws::Jws, object::Object};

/// Google's tokens may name their issuer without its scheme, as its first ones did.
const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_WITHOUT_SCHEME: &str = "accounts.google.com";

/// What a token must be, and how it names a user: as `k8s.io/apiserver/plugin/pkg/authenticator/token/oidc` has it.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// Whose tokens these are; equal to the token's `iss`, byte for byte.
    pub issuer: String,
    /// Whom they are for: one of the token's `aud`.
    pub client_id: String,
    /// How they may be signed.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the user. `email` counts only if `email_verified` is true or absent.
    pub username_claim: String,
    /// Stands before the user's name.
    pub username_prefix: String,
    /// The claim that lists his groups; empty: he has none.
    pub groups_claim: String,
    /// Stands before each group.
    pub groups_prefix: String,
    /// Claims that a token must have, each with this string as its value.
    pub required_claims: Vec<(String, String)>,
    /// Whether an issuer may name users and groups that begin with `system:`, which are Kubernetes' own.
    pub allow_reserved: bool,
}

/// A token that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Whose it is.
    pub user: User,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

/// What a token that holds says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// All that is asked.
    Whole(VerifiedToken),
    /// All but the user's groups.
    GroupsElsewhere(GroupsElsewhere),
}

/// What holds of a token whose groups are in another token, at an endpoint that it names (OpenID Connect Core 1.0,
/// section 5.6.2): nobody yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsElsewhere {
    user: User,
    expires: i64,
    source: Source,
}

/// Why a token does not hold. Nothing of the token is in it but names of claims that the rules name too, and the host
/// that it says has the groups.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is no compact JWS.
    #[error("the token is no JSON Web Token: {0}")]
    Malformed(&'static str),
    /// It is signed in a way that is not asked for, or not at all.
    #[error("the token's alg is not accepted here")]
    Algorithm,
    /// It has header fields that must be understood.
    #[error("the token's header has crit")]
    Critical,
    /// Somebody else's.
    #[error("the token's iss is another issuer")]
    OtherIssuer,
    /// The issuer does not say that it has this key.
    #[error("the issuer has no such key")]
    UnknownKey,
    /// No key of the issuer made the signature.
    #[error("the token's signature is not by a key of the issuer")]
    Signature,
    /// For somebody else.
    #[error("the token's aud does not contain the client ID")]
    Audience,
    /// Too late.
    #[error("the token has expired")]
    Expired,
    /// Too early.
    #[error("the token is not valid yet")]
    NotYet,
    /// A claim is missing or of another type.
    #[error("the token's claim {claim} {problem}")]
    Claim {
        /// Which.
        claim: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It names a user or a group that is Kubernetes' own.
    #[error("the token names a user or a group that begins with system:")]
    Reserved,
    /// Its groups are elsewhere, and not to be had.
    #[error("the token's groups are kept elsewhere and cannot be had: {0}")]
    Groups(String),
}

impl TokenRules {
    /// Whose the token is, by the issuer's keys and the time in seconds since 1970.
    ///
    /// No claim counts before the signature does, but for `iss`: somebody else's token is told from a bad one.
    ///
    /// # Errors
    ///
    /// Why it does not hold.
    pub fn verify(&self, token: &str, keys: &KeySet, now: i64) -> Result<Verified, TokenError> {
        let (claims, expires) = self.open(token, &self.issuer, keys, now)?;
        let mut user = claims::user(&claims, self)?;
        if let Some((claim, _)) = self.required_claims.iter().find(|(claim, value)| claims.text(claim) != Some(value.as_str())) {
            return Err(claims::problem(claim, "is not what is required here"));
        }
        match elsewhere::source(&claims, &self.groups_claim)? {
            Some(source) => Ok(Verified::GroupsElsewhere(GroupsElsewhere { user, expires, source })),
            None => {
                user.groups = claims::groups(&claims, self)?;
                Ok(Verified::Whole(VerifiedToken { user, expires }))
            }
        }
    }

    /// The user with the groups of the other token, whose issuer may be another one. That must be for this client too.
    fn complete(&self, part: GroupsElsewhere, token: &str, issuer: &str, keys: &KeySet, now: i64) -> Result<VerifiedToken, TokenError> {
        let (claims, expires) = self.open(token, issuer, keys, now)?;
        if claims.get(&self.groups_claim).is_none() {
            return Err(claims::problem(&self.groups_claim, "is missing"));
        }
        let user = User { groups: claims::groups(&claims, self)?, ..part.user };
        Ok(VerifiedToken { user, expires: part.expires.min(expires) })
    }

    /// The claims of a token of this issuer, and when it ends.
    fn open(&self, token: &str, issuer: &str, keys: &KeySet, now: i64) -> Result<(Object, i64), TokenError> {
        let jws = Jws::parse(token)?;
        if !is_from(issuer, &jws.claims) {
            return Err(TokenError::OtherIssuer);
        }
        let algorithm = jws.algorithm.filter(|algorithm| self.algorithms.contains(algorithm)).ok_or(TokenError::Algorithm)?;
        keys.verify(jws.key_id.as_deref(), algorithm, jws.signed, &jws.signature)?;
        let expires = claims::check(&jws.claims, &self.client_id, now)?;
        elsewhere::check(&jws.claims)?;
        Ok((jws.claims, expires))
    }
}

impl TokenError {
    /// Whether the issuer's keys of today might verify the token when those at hand do not.
    pub fn may_need_new_keys(&self) -> bool {
        matches!(self, Self::UnknownKey | Self::Signature)
    }
}

fn is_from(issuer: &str, claims: &Object) -> bool {
    let said = claims.text("iss").unwrap_or_default();
    said == issuer || (issuer == GOOGLE && said == GOOGLE_WITHOUT_SCHEME)
}
