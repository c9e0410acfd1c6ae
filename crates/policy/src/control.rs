//! The control plane as the proxy sees it: a document (what the metastore writes and a sidecar downloads) and the
//! snapshot compiled from it (what the request path reads). Secrets are not in it: a key is known by its SHA-256.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bundle::{self, Bundle, BundleError};
use crate::key::{KeyLimits, LimitError, Limits};

/// Everything a proxy needs to know about keys and policy, at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlDocument {
    /// Grows with every change.
    pub revision: u64,
    /// Every key that was not deleted, revoked ones included.
    pub keys: Vec<KeyRecord>,
    /// The active policy bundle, exactly as it was written.
    pub bundle_yaml: String,
    /// When this document was made. Microseconds since 1970, UTC.
    pub issued_at_us: i64,
}

/// One virtual key, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Identifies the key everywhere; never the key itself.
    pub id: String,
    /// SHA-256 of the secret, 64 lower-case hexadecimal digits.
    pub hash: String,
    /// What a person calls it.
    pub name: String,
    /// Organisation it belongs to.
    pub tenant: String,
    /// Project, if it has one.
    #[serde(default)]
    pub project: Option<String>,
    /// Team whose budget it draws on.
    pub team: String,
    /// False once revoked.
    pub enabled: bool,
    /// When it stops working. Microseconds since 1970, UTC; `None` for never.
    #[serde(default)]
    pub expires_at_us: Option<i64>,
    /// The one person whose calls these are, whatever a call says of its user.
    #[serde(default)]
    pub user: Option<String>,
    /// The role of that person, if the directory gives them one.
    #[serde(default)]
    pub role: Option<String>,
    /// Labels of every call made with it; they win over a caller's own of the same name.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What it is for.
    #[serde(default)]
    pub limits: KeyLimits,
    /// The secret it had before it was rotated, for as long as that works.
    #[serde(default)]
    pub previous: Option<PreviousSecret>,
}

/// A secret that was replaced and works for a while yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// SHA-256 of the secret, 64 lower-case hexadecimal digits.
    pub hash: String,
    /// When it stops working. Microseconds since 1970, UTC.
    pub until_us: i64,
}

/// Whom a call is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// Id of the virtual key.
    pub key_id: String,
    /// Organisation.
    pub tenant: String,
    /// Project, if the key has one.
    pub project: Option<String>,
    /// Team.
    pub team: String,
    /// The one person the key is for, if it is for one.
    pub user: Option<String>,
    /// When the key stops working; [`crate::decide()`] denies from that moment on. Microseconds since 1970, UTC.
    pub expires_at_us: Option<i64>,
    /// That person's role, as the directory gives it; `None` for a key that is nobody's, or somebody's without a role.
    pub role: Option<String>,
    /// What the key may be used for; empty for everything.
    pub scopes: Vec<String>,
    /// Labels of every call made with the key, sorted by name.
    pub tags: Vec<(String, String)>,
    /// What the key is for.
    pub limits: Limits,
    /// Whether the caller came with a secret that was replaced since.
    pub is_superseded: bool,
}

/// A control document ready for the request path.
#[derive(Debug)]
pub struct ControlSnapshot {
    /// Of the document it was compiled from.
    pub revision: u64,
    /// When that document was made. Microseconds since 1970, UTC.
    pub issued_at_us: i64,
    /// The active bundle.
    pub bundle: Arc<Bundle>,
    /// Enabled keys, by the SHA-256 of their secret.
    pub keys: HashMap<[u8; 32], Arc<Principal>>,
}

/// Why a control document could not be used. The caller keeps the snapshot it has.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The bundle in it does not load.
    #[error("the policy bundle of control revision {revision} does not load")]
    Bundle {
        /// Of the document.
        revision: u64,
        /// What is wrong, and where.
        #[source]
        source: BundleError,
    },
    /// A key is limited to something that means nothing.
    #[error("key `{key_id}` has a limit that cannot be kept; revoke the key and create another")]
    KeyLimits {
        /// The key.
        key_id: String,
        /// Which limit.
        #[source]
        source: LimitError,
    },
    /// A key's hash is not a SHA-256.
    #[error("the hash of key `{key_id}` is not 64 hexadecimal digits; revoke the key and create another")]
    KeyHash {
        /// The key.
        key_id: String,
    },
}

impl ControlSnapshot {
    /// Compiles a document.
    ///
    /// # Errors
    /// [`ControlError`] if its bundle does not load or a key's hash is malformed.
    pub fn compile(document: &ControlDocument) -> Result<ControlSnapshot, ControlError> {
        let bundle = bundle::load(&document.bundle_yaml)
            .map_err(|source| ControlError::Bundle { revision: document.revision, source })?;
        let issued_at_us = document.issued_at_us;
        let keys = document.principals()?;
        Ok(ControlSnapshot { revision: document.revision, issued_at_us, bundle: Arc::new(bundle), keys })
    }

    /// Whom the key with this hash belongs to; `None` if it is unknown or revoked.
    #[must_use]
    pub fn principal(&self, key_hash: &[u8; 32]) -> Option<&Arc<Principal>> {
        self.keys.get(key_hash)
    }
}

impl ControlDocument {
    /// Whom each enabled key belongs to, by the SHA-256 of its secret, whether or not the bundle loads.
    ///
    /// # Errors
    /// [`ControlError`] names the key that is malformed.
    pub fn principals(&self) -> Result<HashMap<[u8; 32], Arc<Principal>>, ControlError> {
        let mut keys = HashMap::with_capacity(self.keys.len());
        for record in self.keys.iter().filter(|record| record.enabled) {
            let malformed = || ControlError::KeyHash { key_id: record.id.clone() };
            let principal = record.principal()?;
            if let Some(previous) = &record.previous {
                let hash = parse_hash(&previous.hash).ok_or_else(malformed)?;
                keys.insert(hash, Arc::new(principal.superseded(previous.until_us)));
            }
            keys.insert(parse_hash(&record.hash).ok_or_else(malformed)?, Arc::new(principal));
        }
        Ok(keys)
    }
}

impl KeyRecord {
    fn principal(&self) -> Result<Principal, ControlError> {
        let limits = Limits::compile(&self.limits)
            .map_err(|source| ControlError::KeyLimits { key_id: self.id.clone(), source })?;
        Ok(Principal {
            key_id: self.id.clone(),
            tenant: self.tenant.clone(),
            project: self.project.clone(),
            team: self.team.clone(),
            user: self.user.clone(),
            role: self.role.clone(),
            expires_at_us: self.expires_at_us,
            tags: self.tags.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            scopes: self.limits.scopes.clone(),
            limits,
            ..Principal::default()
        })
    }
}

impl Principal {
    /// The same for a caller with the secret before the last, which works until `until_us` at most.
    fn superseded(&self, until_us: i64) -> Principal {
        let end_us = self.expires_at_us.map_or(until_us, |end_us| end_us.min(until_us));
        Principal { expires_at_us: Some(end_us), is_superseded: true, ..self.clone() }
    }
}

/// SHA-256 of a key as the caller sent it. Keys are long and random, so a plain hash cannot be searched through.
#[must_use]
pub fn hash_key(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// A hash as lower-case hexadecimal digits.
#[must_use]
pub fn hash_text(hash: &[u8; 32]) -> String {
    hash.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Reads what [`hash_text`] wrote; `None` if `text` is anything else.
#[must_use]
pub fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() != 64 {
        return None;
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, enabled: bool) -> KeyRecord {
        KeyRecord {
            id: id.into(),
            hash: hash_text(&hash_key(id)),
            name: id.into(),
            tenant: "acme".into(),
            team: "kyc".into(),
            enabled,
            ..KeyRecord::default()
        }
    }

    fn document(keys: Vec<KeyRecord>) -> ControlDocument {
        ControlDocument { revision: 7, keys, bundle_yaml: bundle::DEFAULT_YAML.into(), issued_at_us: 1 }
    }

    #[test]
    fn a_key_is_found_by_the_hash_of_its_secret() {
        let snapshot = ControlSnapshot::compile(&document(vec![key("one", true)])).unwrap();
        assert_eq!(snapshot.principal(&hash_key("one")).unwrap().team, "kyc");
        assert!(snapshot.principal(&hash_key("other")).is_none());
    }

    #[test]
    fn a_revoked_key_is_unknown_to_the_proxy() {
        let snapshot = ControlSnapshot::compile(&document(vec![key("one", false)])).unwrap();
        assert!(snapshot.principal(&hash_key("one")).is_none());
    }

    #[test]
    fn a_replaced_secret_works_to_the_end_of_its_grace_and_not_beyond_the_key_s() {
        let previous = Some(PreviousSecret { hash: hash_text(&hash_key("old")), until_us: 50 });
        let ends_of = |expires_at_us| {
            let rotated = KeyRecord { previous: previous.clone(), expires_at_us, ..key("new", true) };
            let snapshot = ControlSnapshot::compile(&document(vec![rotated])).unwrap();
            let (old, new) =
                (snapshot.principal(&hash_key("old")).unwrap(), snapshot.principal(&hash_key("new")).unwrap());
            assert!(old.is_superseded && !new.is_superseded && old.key_id == new.key_id);
            (old.expires_at_us, new.expires_at_us)
        };
        assert_eq!(ends_of(None), (Some(50), None));
        assert_eq!(ends_of(Some(20)), (Some(20), Some(20)));
    }

    #[test]
    fn a_limit_that_means_nothing_names_its_key_and_a_document_without_limits_reads() {
        let limits = KeyLimits { sources: vec!["everywhere".into()], ..KeyLimits::default() };
        let broken = KeyRecord { limits, ..key("one", true) };
        let error = ControlSnapshot::compile(&document(vec![broken])).unwrap_err();
        assert!(error.to_string().contains("`one`"), "{error}");
        let old = r#"{"id":"k","hash":"","name":"k","tenant":"t","team":"kyc","enabled":true}"#;
        assert_eq!(serde_saphyr::from_str::<KeyRecord>(old).unwrap().limits, KeyLimits::default());
    }

    #[test]
    fn a_malformed_hash_names_its_key() {
        let broken = KeyRecord { hash: "abc".into(), ..key("one", true) };
        let error = ControlSnapshot::compile(&document(vec![broken])).unwrap_err();
        assert!(error.to_string().contains("`one`"), "{error}");
    }

    #[test]
    fn a_hash_reads_back_as_it_was_written() {
        let hash = hash_key("tg-secret");
        assert_eq!(parse_hash(&hash_text(&hash)), Some(hash));
        assert_eq!(hash_text(&hash_key("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
