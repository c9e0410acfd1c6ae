//! Virtual keys, as they are asked for and as they are shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_policy::key::{KeyLimits, Limits};

use crate::error::MetastoreError;

/// Labels a key can give to every call.
const MAX_TAGS: usize = 32;

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
    /// The one person whose calls its calls are, by the name they sign in by.
    #[serde(default)]
    pub user: Option<String>,
    /// When it stops working; `None` for never. Microseconds since 1970, UTC.
    #[serde(default)]
    pub expires_at_us: Option<i64>,
    /// What it is for.
    #[serde(default)]
    pub limits: KeyLimits,
    /// Labels of every call made with it.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A key just made. Its `Debug` form leaves the secret out.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct CreatedKey {
    /// Identifies the key everywhere.
    pub id: String,
    /// The key itself, `tg-…`: shown this once, never stored.
    pub secret: String,
}

/// A key that got a new secret. Its `Debug` form leaves the secret out.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct RotatedKey {
    /// Identifies the key everywhere.
    pub id: String,
    /// The new secret, `tg-…`: shown this once, never stored.
    pub secret: String,
    /// Until when the secret before it works. Microseconds since 1970, UTC.
    pub previous_until_us: i64,
}

/// A key as it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The one person whose calls its calls are.
    pub user: Option<String>,
    /// False once revoked.
    pub enabled: bool,
    /// Whether the person it is for is no longer active: it does not work until they are.
    pub user_inactive: bool,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// When it stops working; `None` for never. Microseconds since 1970, UTC.
    pub expires_at_us: Option<i64>,
    /// When it was revoked. Microseconds since 1970, UTC.
    pub revoked_at_us: Option<i64>,
    /// Until when the secret it had before works; `None` if it was never rotated. Microseconds since 1970, UTC.
    pub previous_until_us: Option<i64>,
    /// What it is for.
    pub limits: KeyLimits,
    /// Labels of every call made with it.
    pub tags: BTreeMap<String, String>,
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RotatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RotatedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl NewKey {
    pub(crate) fn check(&self) -> Result<(), MetastoreError> {
        acceptable("name of a key", &self.name)?;
        acceptable("tenant of a key", &self.tenant)?;
        acceptable("team of a key", &self.team)?;
        for (what, name) in [("project of a key", &self.project), ("user of a key", &self.user)] {
            name.as_deref().map_or(Ok(()), |name| acceptable(what, name))?;
        }
        for (name, value) in &self.tags {
            acceptable("tag of a key", name)?;
            acceptable("value of a key's tag", value)?;
        }
        // The gateway writes these itself.
        let own = self.tags.keys().find(|name| name.starts_with("tollgate."));
        if let Some(name) = own.or(self.tags.keys().nth(MAX_TAGS)) {
            return Err(MetastoreError::Unacceptable { what: "tag of a key", value: name.clone() });
        }
        Limits::compile(&self.limits).map(|_| ()).map_err(|source| MetastoreError::KeyLimits { source })
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
