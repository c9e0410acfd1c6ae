//! A signed token (JWS, compact form, RFC 7515). Nothing of it is believed before its signature is verified, except which
//! issuer and key it names, so that these can be looked up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::claims::{Claims, Expected};
use crate::keys::KeySet;

/// Longest token that is looked at. In bytes.
const MAX_BYTES: usize = 16 * 1024;

/// How a token may be signed. `none` and algorithms with a shared secret are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The algorithm that is called so (RFC 7518, RFC 8037).
    #[must_use]
    pub fn named(name: &str) -> Option<Algorithm> {
        match name {
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

/// Why a token is not accepted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not three parts of base64url with JSON in them, or too long.
    #[error("the token cannot be read; send the JWT as its issuer gave it")]
    Malformed,
    /// Signed in a way that is not accepted, or not at all.
    #[error("the token is signed with `{algorithm}`; only RS256, ES256 and EdDSA are accepted")]
    Algorithm {
        /// What its header says.
        algorithm: String,
    },
    /// The header asks for something that is not understood, which RFC 7515 says must be refused.
    #[error("the token's header has critical extensions, which are not understood here")]
    Critical,
    /// No key of the issuer has the id that the token names.
    #[error("the token is signed with a key that its issuer does not publish; get a new token")]
    UnknownKey,
    /// The signature is not its issuer's.
    #[error("the token's signature is wrong; get a new token from its issuer")]
    Signature,
    /// From another issuer than expected.
    #[error("the token's issuer `{issuer}` is not known here")]
    Issuer {
        /// Who issued it, as it says.
        issuer: String,
    },
    /// For somebody else.
    #[error("the token is not meant for this gateway; ask its issuer for one with the audience `{expected}`")]
    Audience {
        /// The audience that would do.
        expected: String,
    },
    /// Too old.
    #[error("the token expired {ago_s} seconds ago; get a new one")]
    Expired {
        /// How long ago.
        ago_s: i64,
    },
    /// Not valid yet.
    #[error("the token becomes valid in {in_s} seconds; check the clocks")]
    NotYet {
        /// How long until then.
        in_s: i64,
    },
    /// Something that must be in it is not.
    #[error("the token has no usable claim `{claim}`; ask whoever runs its issuer to add it")]
    Claim {
        /// What is missing or of the wrong kind.
        claim: String,
    },
}

impl TokenError {
    /// Stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            TokenError::Malformed | TokenError::Critical => "token_malformed",
            TokenError::Algorithm { .. } => "token_algorithm_refused",
            TokenError::UnknownKey => "token_key_unknown",
            TokenError::Signature => "token_signature_invalid",
            TokenError::Issuer { .. } => "token_issuer_unknown",
            TokenError::Audience { .. } => "token_audience_wrong",
            TokenError::Expired { .. } => "token_expired",
            TokenError::NotYet { .. } => "token_not_yet_valid",
            TokenError::Claim { .. } => "token_claim_missing",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token that was taken apart and not verified. `Debug` shows nothing of it.
pub struct Signed<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    message: &'a [u8],
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

impl std::fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Whether a text looks like a signed token, so that it is worth being taken apart: three parts, the first of which begins
/// as a JSON object does in base64.
#[must_use]
pub fn looks_signed(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Signed<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`TokenError`] if it cannot be read or is signed in a way that is not accepted.
    pub fn parse(text: &'a str) -> Result<Signed<'a>, TokenError> {
        if text.len() > MAX_BYTES {
            return Err(TokenError::Malformed);
        }
        let malformed = || TokenError::Malformed;
        let (message, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = message.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| BASE64URL.decode(part).map_err(|_| TokenError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        let Some(algorithm) = Algorithm::named(&header.alg) else {
            return Err(TokenError::Algorithm { algorithm: header.alg.chars().take(32).collect() });
        };
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        Ok(Signed {
            algorithm,
            key_id: header.kid,
            message: message.as_bytes(),
            claims: serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Malformed)?,
            signature: decode(signature)?,
        })
    }

    /// Who issued it, as it says. To choose keys by, not to believe.
    #[must_use]
    pub fn stated_issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// Verifies the signature, then what the token says of itself.
    ///
    /// # Errors
    /// [`TokenError`] for the first thing that is wrong.
    pub fn verify(self, keys: &KeySet, expected: &Expected<'_>) -> Result<Claims, TokenError> {
        let key = keys.find(self.key_id.as_deref(), self.algorithm).ok_or(TokenError::UnknownKey)?;
        if !key.verifies(self.message, &self.signature) {
            return Err(TokenError::Signature);
        }
        Claims::check(self.claims, expected)
    }
}

#[cfg(test)]
mod tests;
