//! Public keys as an issuer publishes them. A key is for one algorithm, which follows from what the key is and never from
//! what a token says: a token cannot choose how it is checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use crate::token::Algorithm;

/// Keys that are kept of one set. An issuer has two or three.
const MAX_KEYS: usize = 64;
/// Shortest and longest RSA modulus, in bytes: 2048 to 8192 bits, which are also the bounds of the verifier.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Bytes of a coordinate on P-256, and of an Ed25519 key.
const COORDINATE_BYTES: usize = 32;

/// Why a text is no set of keys.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is not JSON of the right form.
    #[error("it is not a JSON Web Key Set, `{{\"keys\": […]}}`")]
    Malformed(#[source] serde_json::Error),
    /// There is no key in it that could verify anything here.
    #[error("none of its keys is for RS256, ES256 or EdDSA")]
    NoUsableKey,
}

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct KeySet(Vec<Key>);

/// One public key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    pub(crate) algorithm: Algorithm,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point on P-256, or an Ed25519 key.
    Point(Vec<u8>),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Written>,
}

/// A key as it is written. Private parts are not read.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a key set. Keys for other purposes or algorithms are passed over: issuers publish them side by side.
    ///
    /// # Errors
    /// [`KeySetError`] if it is none, or holds no usable key.
    pub fn parse(json: &[u8]) -> Result<KeySet, KeySetError> {
        let document: Document = serde_json::from_slice(json).map_err(KeySetError::Malformed)?;
        let keys: Vec<Key> = document.keys.into_iter().filter_map(Written::usable).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(KeySet(keys)) }
    }

    /// The key that a token names, or the only one for its algorithm if it names none.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a set without a usable key is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Key {
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material, self.algorithm) {
            (Material::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Material::Point(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Material::Point(point), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

impl Written {
    fn usable(self) -> Option<Key> {
        let is_for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let may_verify = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures || !may_verify {
            return None;
        }
        let (algorithm, material) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Algorithm::Rs256, self.rsa()?),
            ("EC", Some("P-256")) => {
                let (x, y) = (coordinate(&self.x)?, coordinate(&self.y)?);
                (Algorithm::Es256, Material::Point([&[4][..], &x, &y].concat()))
            }
            ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, Material::Point(coordinate(&self.x)?)),
            _ => return None,
        };
        let is_stated = self.alg.as_deref().is_none_or(|stated| Algorithm::named(stated) == Some(algorithm));
        is_stated.then_some(Key { id: self.kid, algorithm, material })
    }

    fn rsa(&self) -> Option<Material> {
        let whole = |text: &Option<String>| -> Option<Vec<u8>> {
            let bytes = BASE64URL.decode(text.as_ref()?).ok()?;
            Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
        };
        let (modulus, exponent) = (whole(&self.n)?, whole(&self.e)?);
        RSA_BYTES.contains(&modulus.len()).then_some(Material::Rsa { modulus, exponent })
    }
}

fn coordinate(text: &Option<String>) -> Option<Vec<u8>> {
    let bytes = BASE64URL.decode(text.as_ref()?).ok()?;
    (bytes.len() == COORDINATE_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_key_or_one_for_encryption_is_passed_over() {
        let x = BASE64URL.encode([7; 32]);
        let set = format!(
            r#"{{"keys":[{{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}},{{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"enc"}},
              {{"kty":"OKP","crv":"Ed25519","x":"{x}","alg":"RS256"}},{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"a"}},
              {{"kty":"RSA","n":"AQAB","e":"AQAB"}}]}}"#
        );
        let keys = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        assert!(keys.find(Some("a"), Algorithm::EdDsa).is_some() && keys.find(None, Algorithm::EdDsa).is_some());
        assert!(keys.find(Some("b"), Algorithm::EdDsa).is_none() && keys.find(Some("a"), Algorithm::Rs256).is_none());
    }

    #[test]
    fn a_set_without_a_usable_key_is_refused() {
        let only_secret = br#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#;
        assert!(matches!(KeySet::parse(only_secret), Err(KeySetError::NoUsableKey)));
        assert!(matches!(KeySet::parse(b"<html>"), Err(KeySetError::Malformed(_))));
    }
}
