//! What a person or a program may do with the console and the API.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A role. Each is its own set of permissions; who may do what is decided where it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, changes included.
    Admin,
    /// Reads everything, the content of calls included; changes nothing.
    Auditor,
    /// Reads figures, not content.
    Viewer,
    /// Downloads keys, policy and signals; nothing else.
    Sidecar,
}

/// A text that is not a role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a role; it is one of `admin`, `auditor`, `viewer`, `sidecar`")]
pub struct ParseRoleError {
    /// What was given.
    pub text: String,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Admin, Role::Auditor, Role::Viewer, Role::Sidecar];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Auditor => "auditor",
            Role::Viewer => "viewer",
            Role::Sidecar => "sidecar",
        }
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
