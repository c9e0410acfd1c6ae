//! What a person or a program is to the console and the API. What each may do is [`crate::permission::PERMISSIONS`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything; the only one who makes owners.
    Owner,
    /// Everything but making owners.
    Admin,
    /// Reads everything, the content of calls included; changes nothing.
    Auditor,
    /// Reads costs and has calls priced again; reads no content.
    Finance,
    /// Reads what its own teams did, content included; nothing of others.
    Developer,
    /// Reads figures, not content.
    Viewer,
    /// Downloads keys, policy and signals; nothing else.
    Sidecar,
}

/// A text that is not a role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{text}` is not a role; it is one of `owner`, `admin`, `auditor`, `finance`, `developer`, `viewer`, `sidecar`"
)]
pub struct ParseRoleError {
    /// What was given.
    pub text: String,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 7] =
        [Role::Owner, Role::Admin, Role::Auditor, Role::Finance, Role::Developer, Role::Viewer, Role::Sidecar];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Auditor => "auditor",
            Role::Finance => "finance",
            Role::Developer => "developer",
            Role::Viewer => "viewer",
            Role::Sidecar => "sidecar",
        }
    }

    /// Whether a person can have it; a sidecar is a program.
    #[must_use]
    pub const fn is_for_people(self) -> bool {
        !matches!(self, Role::Sidecar)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ParseRoleError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Role::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| ParseRoleError { text: text.to_owned() })
    }
}
