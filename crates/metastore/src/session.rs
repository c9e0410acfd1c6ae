//! Logins and API tokens, as they are shown.

use serde::{Deserialize, Serialize};

use crate::directory::TeamName;
use crate::reach::{Grant, Reach};
use crate::role::Role;
use crate::secret;

/// How long a login link works.
pub(crate) const LOGIN_LINK_US: i64 = 15 * 60 * 1_000_000;
/// How long the link of somebody who was invited works, in seconds: they may not be at their desk.
pub const INVITATION_S: u64 = 72 * 60 * 60;
/// The same in microseconds.
pub(crate) const INVITATION_US: i64 = INVITATION_S as i64 * 1_000_000;
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
    /// Teams they belong to.
    pub teams: Vec<TeamName>,
    /// How far the role reaches.
    pub reach: Reach,
    /// Id of the user it is of; `None` for someone who came in by a link or with a token.
    pub user_id: Option<String>,
    /// When it ends. Microseconds since 1970, UTC.
    pub expires_at_us: i64,
}

impl Session {
    /// Names the user, or else the session, where a change or a reading is recorded; tells nothing of its secret.
    #[must_use]
    pub fn author(&self) -> String {
        match &self.user_id {
            Some(user_id) => format!("console:{}:{user_id}", self.role),
            None => format!("console:{}:session-{}", self.role, &secret::hash(&self.id)[..12]),
        }
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
    /// Teams whose rows it may see, where its role is bound to teams.
    pub teams: Vec<TeamName>,
    /// How far its role reaches.
    pub reach: Reach,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// When it was revoked. Microseconds since 1970, UTC.
    pub revoked_at_us: Option<i64>,
}

/// Whoever holds an API token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// Id of the token.
    pub id: String,
    /// What they may do.
    pub grant: Grant,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("role", &self.role).finish_non_exhaustive()
    }
}
