//! Who is calling: a virtual key becomes a principal by its hash, a token by its issuer's keys, and an end user's name
//! becomes a keyed hash. Neither key nor token nor name is kept. What a key is for is enforced here; what everybody may do is
//! the bundle's.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use tollgate_identity::token::looks_signed;
use tollgate_interaction::{Decision, Reason};
use tollgate_policy::control::{ControlSnapshot, Principal, hash_key};
use tollgate_policy::key::KeyRefusal;

use crate::call::Call;
use crate::error::CallError;
use crate::{Gateway, clock, source};

/// Finds whom `key` belongs to: a virtual key, or a token of an issuer that the operator has named.
///
/// # Errors
/// [`CallError::KeyMissing`] or [`CallError::KeyUnknown`]; [`CallError::Token`] or [`CallError::TokenKeys`] for a token.
pub(crate) async fn principal(
    gateway: &Gateway,
    control: &ControlSnapshot,
    key: Option<&str>,
) -> Result<Arc<Principal>, CallError> {
    let key = key.ok_or(CallError::KeyMissing)?;
    if let Some(principal) = control.principal(&hash_key(key)) {
        return Ok(Arc::clone(principal));
    }
    if gateway.issuers.is_empty() || !looks_signed(key) {
        return Err(CallError::KeyUnknown);
    }
    // Boxed: calls with a key, which are most, need no room for it.
    Box::pin(gateway.issuers.principal(key, clock::now_us(), &gateway.tasks)).await
}

/// Holds a call against what its key is for, as far as that is known before the body, and puts the key's labels on it.
///
/// # Errors
/// [`CallError::Denied`] with one of [`KeyRefusal`]'s codes, which then stands in the record as the decision.
pub(crate) fn admit(call: &mut Call, principal: &Principal, headers: &HeaderMap) -> Result<(), CallError> {
    add_tags(&mut call.record.tags, &principal.tags);
    let trusted = &call.gateway.settings.trusted_proxies;
    let source = call.peer.and_then(|peer| source::source(peer, headers, trusted));
    let (operation, dialect) = (call.record.operation, call.record.dialect);
    principal.limits.admit(source, operation, dialect).map_err(|refusal| {
        let what = match refusal {
            KeyRefusal::Source => match source {
                Some(source) => format!("may not be used from the address `{source}`"),
                None => "may not be used from an address that is not known".to_owned(),
            },
            KeyRefusal::Surface => format!("is not for calls in the format `{dialect}`"),
            KeyRefusal::Operation | KeyRefusal::Model => format!("is not for the operation `{operation}`"),
        };
        refuse(call, principal, refusal, &what)
    })
}

/// Holds what is no call against the addresses its key is for.
///
/// # Errors
/// [`CallError::Denied`] if it comes from elsewhere.
pub(crate) fn admit_source(
    gateway: &Gateway,
    principal: &Principal,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<(), CallError> {
    let source = source::source(peer, headers, &gateway.settings.trusted_proxies);
    principal.limits.admit_source(source).map_err(|refusal| {
        let message = format!("the key `{}` may not be used from this address; use another key", principal.key_id);
        CallError::Denied { code: refusal.code(), message, retry_after: None }
    })
}

/// Holds a call against the models its key is for.
///
/// # Errors
/// As [`admit`].
pub(crate) fn admit_model(call: &mut Call, principal: &Principal, model: &str) -> Result<(), CallError> {
    principal.limits.admit_model(model).map_err(|refusal| {
        let what = match model {
            "" => "is for some models only, and this call leaves the model to the provider".to_owned(),
            _ => format!("is not for the model `{}`", call.record.model_requested),
        };
        refuse(call, principal, refusal, &what)
    })
}

fn refuse(call: &mut Call, principal: &Principal, refusal: KeyRefusal, what: &str) -> CallError {
    let detail = format!("the key `{}` {what}", principal.key_id);
    let reason = Reason { rule: refusal.rule().to_owned(), effect: "deny".to_owned(), detail: detail.clone() };
    call.record.decision = Decision::Deny;
    call.record.decision_reasons = vec![reason];
    CallError::Denied {
        code: refusal.code(),
        message: format!("{detail}; use another key, or ask for one"),
        retry_after: None,
    }
}

/// Both are sorted by name; the key's win.
fn add_tags(tags: &mut Vec<(String, String)>, of_key: &[(String, String)]) {
    for (name, value) in of_key {
        match tags.binary_search_by(|(known, _)| known.cmp(name)) {
            Ok(at) => tags[at].1.clone_from(value),
            Err(at) => tags.insert(at, (name.clone(), value.clone())),
        }
    }
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
    fn the_labels_of_a_key_win_over_the_caller_s_and_all_stay_sorted() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut tags = pairs(&[("b", "caller"), ("d", "caller")]);
        add_tags(&mut tags, &pairs(&[("a", "key"), ("b", "key"), ("c", "key")]));
        assert_eq!(tags, pairs(&[("a", "key"), ("b", "key"), ("c", "key"), ("d", "caller")]));
    }

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
