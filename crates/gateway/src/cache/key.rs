//! What makes two calls the same: SHA-256 over everything that the answer depends on, each part with its length, so that no
//! two sets of parts read alike.

use sha2::{Digest, Sha256};

/// Another number makes every key another one.
const VERSION: &[u8] = b"tollgate answer 1";

/// Names an answer, or a set of answers to questions in the same surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key([u8; Key::BYTES]);

impl Key {
    pub(super) const BYTES: usize = 32;

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it stands in the store; `None` if that is no key.
    pub(super) fn read(bytes: &[u8]) -> Option<Key> {
        bytes.try_into().ok().map(Key)
    }
}

/// Puts a key together.
#[derive(Clone)]
pub(super) struct Parts(Sha256);

impl Parts {
    /// Of one tenant.
    pub(super) fn of_tenant(tenant: &str) -> Parts {
        Parts(Sha256::new()).with(VERSION).with(tenant)
    }

    #[must_use]
    pub(super) fn with(mut self, part: impl AsRef<[u8]>) -> Parts {
        self.add(part);
        self
    }

    pub(super) fn add(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    pub(super) fn key(self) -> Key {
        Key(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart_wherever_they_are_cut() {
        let key = |parts: &[&str]| parts.iter().fold(Parts::of_tenant("acme"), Parts::with).key();
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["ab"]), key(&["ab", ""]));
        assert_ne!(key(&["x"]), Parts::of_tenant("other").with("x").key());
        assert_eq!(Key::read(key(&[]).bytes()), Some(key(&[])));
        assert_eq!(Key::read(b"short"), None);
    }
}
