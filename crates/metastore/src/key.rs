//! Virtual keys, as they are asked for and as they are shown.

use serde::{Deserialize, Serialize};

use crate::error::MetastoreError;

/// A key to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// What a person calls it.
    pub name: String,
    /// Organisation it belongs to.
    pub tenant: String,
    /// Project, if it has one.
    #[serde(default)]
    pub project: Option<String>,
    /// Team whose budget it draws on.
    pub team: String,
}

/// A key just made. Its `Debug` form leaves the secret out.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct CreatedKey {
    /// Identifies the key everywhere.
    pub id: String,
    /// The key itself, `tg-…`: shown this once, never stored.
    pub secret: String,
}

/// A key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyListing {
    /// Identifies the key everywhere.
    pub id: String,
    /// How the secret begins, for a person to recognise it by: `tg-AbCd…`.
    pub display: String,
    /// What a person calls it.
    pub name: String,
    /// Organisation.
    pub tenant: String,
    /// Project, if it has one.
    pub project: Option<String>,
    /// Team.
    pub team: String,
    /// False once revoked.
    pub enabled: bool,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// When it stops working; `None` for never. Microseconds since 1970, UTC.
    pub expires_at_us: Option<i64>,
    /// When it was revoked. Microseconds since 1970, UTC.
    pub revoked_at_us: Option<i64>,
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl NewKey {
    pub(crate) fn check(&self) -> Result<(), MetastoreError> {
        acceptable("name of a key", &self.name)?;
        acceptable("tenant of a key", &self.tenant)?;
        acceptable("team of a key", &self.team)?;
        self.project.as_deref().map_or(Ok(()), |project| acceptable("project of a key", project))
    }
}

/// Names end up in log rows, file paths and pages.
pub(crate) fn acceptable(what: &'static str, value: &str) -> Result<(), MetastoreError> {
    let printable = !value.chars().any(char::is_control) && value.trim() == value;
    if value.is_empty() || value.chars().count() > 100 || !printable {
        return Err(MetastoreError::Unacceptable { what, value: value.escape_debug().take(120).collect() });
    }
    Ok(())
}
