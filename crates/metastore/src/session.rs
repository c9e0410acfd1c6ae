//! Logins and API tokens, as they are shown.

use serde::{Deserialize, Serialize};

use crate::role::Role;
use crate::secret;

/// How long a login link works.
pub(crate) const LOGIN_LINK_US: i64 = 15 * 60 * 1_000_000;
/// How long a session lasts.
pub(crate) const SESSION_US: i64 = 12 * 60 * 60 * 1_000_000;

/// Someone who is logged in. Its `Debug` form leaves the secrets out.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// For the cookie: a secret, of which only the hash is stored.
    pub id: String,
    /// To be sent along with every change.
    pub csrf: String,
    /// What they may do.
    pub role: Role,
    /// When it ends. Microseconds since 1970, UTC.
    pub expires_at_us: i64,
}

impl Session {
    /// Names the session where a change or a reading is recorded; tells nothing of its secret.
    #[must_use]
    pub fn author(&self) -> String {
        format!("console:{}:session-{}", self.role, &secret::hash(&self.id)[..12])
    }
}

/// An API token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTokenListing {
    /// Identifies it; never the token itself.
    pub id: String,
    /// How it begins: `tgt-AbCd…`.
    pub display: String,
    /// What a person calls it; may be empty.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// When it was revoked. Microseconds since 1970, UTC.
    pub revoked_at_us: Option<i64>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("role", &self.role).finish_non_exhaustive()
    }
}
