//! `/api/v1/keys`: list, create, rotate, revoke.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tollgate_metastore::{CreatedKey, KeyListing, NewKey, RotatedKey};
use tollgate_policy::key::KeyLimits;

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::pages::keys::grace_us;
use crate::params::parse_time_us;
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
    user: Option<String>,
    /// When it stops working, as a day or a time.
    expires_at: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RotateKey {
    grace_hours: Option<usize>,
}

/// Every key, oldest first; never a secret.
///
/// # Errors
/// `metastore_unavailable` if the control plane does not answer.
pub async fn list(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Json<Keys>, ConsoleError> {
    Ok(Json(Keys { keys: reader.keys(&state).await? }))
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
    let tenant = reader.organisation(&state, asked.tenant, "a key")?;
    let expires_at_us = asked.expires_at.map(|text| {
        parse_time_us(&text).ok_or_else(|| ConsoleError::Invalid {
            message: format!("`{text}` is not a usable `expires_at`"),
            hint: "Write a day such as `2027-01-31`, or a time such as `2027-01-31T15:00:00Z`.",
        })
    });
    let key = NewKey {
        name: asked.name,
        tenant,
        project: asked.project,
        team: asked.team,
        user: asked.user,
        expires_at_us: expires_at_us.transpose()?,
        limits: KeyLimits { scopes: asked.scopes, models: asked.models, sources: asked.sources },
        tags: asked.tags,
    };
    Ok(Json(state.metastore.create_key_by(key, &reader.author).await?))
}

/// Gives a key another secret, which is in the answer, this once; the one before works for `grace_hours` more.
///
/// # Errors
/// `key_not_found` if there is no such key; `parameter_invalid` if the body means nothing.
pub async fn rotate(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<RotatedKey>, ConsoleError> {
    let asked: RotateKey = match body.is_empty() {
        true => RotateKey::default(),
        false => serde_json::from_slice(&body).map_err(|error| ConsoleError::Invalid {
            message: format!("the body does not say how to rotate a key: {error}"),
            hint: "Send `{\"grace_hours\": 24}`, or nothing for a day.",
        })?,
    };
    let grace_us = grace_us(asked.grace_hours)?;
    reader.must_know_key(&state, &id).await?;
    Ok(Json(state.metastore.rotate_key(&id, grace_us, &reader.author).await?))
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
    reader.must_know_key(&state, &id).await?;
    state.metastore.revoke_key_by(&id, &reader.author).await?;
    Ok(Json(Revoked { id, revoked: true }))
}
