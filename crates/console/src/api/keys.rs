//! `/api/v1/keys`: list, create, revoke.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tollgate_metastore::{CreatedKey, KeyListing, NewKey};

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::state::ConsoleState;

/// A list of keys.
#[derive(Debug, Serialize)]
pub struct Keys {
    keys: Vec<KeyListing>,
}

/// What was revoked.
#[derive(Debug, Serialize)]
pub struct Revoked {
    id: String,
    revoked: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateKey {
    name: String,
    team: String,
    tenant: Option<String>,
    project: Option<String>,
}

/// Every key, oldest first; never a secret.
///
/// # Errors
/// `metastore_unavailable` if the control plane does not answer.
pub async fn list(State(state): State<ConsoleState>) -> Result<Json<Keys>, ConsoleError> {
    Ok(Json(Keys { keys: state.metastore.list_keys().await? }))
}

/// Creates a key; its secret is in the answer, this once.
///
/// # Errors
/// `parameter_invalid` or `change_refused` if the body or a name cannot be used.
pub async fn create(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    body: Bytes,
) -> Result<Json<CreatedKey>, ConsoleError> {
    let asked: CreateKey = serde_json::from_slice(&body).map_err(|error| ConsoleError::Invalid {
        message: format!("the body does not describe a key: {error}"),
        hint: "Send `{\"name\": \"…\", \"team\": \"…\"}`, and `project` if there is one.",
    })?;
    let tenant = asked.tenant.unwrap_or_else(|| state.settings.tenant.clone());
    let key = NewKey { name: asked.name, tenant, project: asked.project, team: asked.team };
    Ok(Json(state.metastore.create_key_by(key, &reader.author).await?))
}

/// Revokes a key for good.
///
/// # Errors
/// `key_not_found` if there is no such key.
pub async fn revoke(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Json<Revoked>, ConsoleError> {
    state.metastore.revoke_key_by(&id, &reader.author).await?;
    Ok(Json(Revoked { id, revoked: true }))
}
