//! Who is calling: a virtual key becomes a principal by its hash, and an end user's name becomes a keyed hash. Neither the
//! key nor the name is kept.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tollgate_policy::control::{ControlSnapshot, Principal, hash_key};

use crate::error::CallError;

/// Finds whom `key` belongs to.
///
/// # Errors
/// [`CallError::KeyMissing`] or [`CallError::KeyUnknown`].
pub(crate) fn principal(control: &ControlSnapshot, key: Option<&str>) -> Result<Arc<Principal>, CallError> {
    let key = key.ok_or(CallError::KeyMissing)?;
    control.principal(&hash_key(key)).cloned().ok_or(CallError::KeyUnknown)
}

/// Hides end users' names behind HMAC-SHA-256 (RFC 2104) with a key of this installation: the same user gets the same
/// reference, and without the key no list of names can be tried against it.
#[derive(Clone)]
pub(crate) struct UserHasher {
    inner: Sha256,
    outer: Sha256,
}

impl UserHasher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let padded = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        UserHasher { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// The reference that stands in the log for `name` within `tenant`: half of the hash, 32 hexadecimal digits.
    pub(crate) fn reference(&self, tenant: &str, name: &str) -> String {
        let inner = self.inner.clone().chain_update(tenant).chain_update([0]).chain_update(name).finalize();
        let hash: [u8; 32] = self.outer.clone().chain_update(inner).finalize().into();
        let mut text = tollgate_policy::control::hash_text(&hash);
        text.truncate(32);
        text
    }
}

impl std::fmt::Debug for UserHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserHasher(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_the_same_within_a_tenant_and_another_elsewhere() {
        let hasher = UserHasher::new(&[7; 32]);
        assert_eq!(hasher.reference("acme", "ann"), hasher.reference("acme", "ann"));
        assert_ne!(hasher.reference("acme", "ann"), hasher.reference("other", "ann"));
        assert_ne!(hasher.reference("acme", "ann"), UserHasher::new(&[8; 32]).reference("acme", "ann"));
    }

    /// RFC 4231, test case 1 with its key filled up to 32 bytes by zeros, which HMAC does anyway.
    #[test]
    fn the_hash_is_hmac_sha_256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hasher = UserHasher::new(&key);
        let inner = hasher.inner.clone().chain_update("Hi There").finalize();
        let hash: [u8; 32] = hasher.outer.clone().chain_update(inner).finalize().into();
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(tollgate_policy::control::hash_text(&hash), expected);
    }
}
