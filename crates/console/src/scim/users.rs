//! `/scim/v2/Users`.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_metastore::{MetastoreError, Profile, User, UserFilter};

use super::{Asked, answer, body, created, gone, make_organisation, meta, organisation, patch};
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::state::ConsoleState;

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// A user as a provider writes one. What is not kept here is not refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    user_name: String,
    external_id: Option<String>,
    display_name: Option<String>,
    #[serde(default)]
    name: Name,
    #[serde(default)]
    emails: Vec<Email>,
    active: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Name {
    formatted: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Email {
    value: String,
    #[serde(default)]
    primary: bool,
}

impl Written {
    fn profile(self) -> Result<Profile, ConsoleError> {
        let Name { formatted, given_name, family_name } = self.name;
        let joined: Vec<String> = given_name.into_iter().chain(family_name).collect();
        let mut emails = self.emails;
        emails.sort_by_key(|email| !email.primary);
        Ok(Profile {
            user_name: self.user_name,
            external_id: self.external_id.filter(|id| !id.is_empty()),
            display_name: self.display_name.or(formatted).unwrap_or_else(|| joined.join(" ")),
            emails: emails.into_iter().map(|email| email.value).collect(),
            active: self.active.as_ref().map_or(Ok(true), patch::truth)?,
        })
    }
}

/// The resource of a user.
fn resource(user: &User) -> Value {
    let emails: Vec<Value> =
        user.profile.emails.iter().enumerate().map(|(at, value)| json!({"value": value, "primary": at == 0})).collect();
    let groups: Vec<Value> = user.groups.iter().map(|group| json!({"display": group})).collect();
    let mut resource = json!({
        "schemas": [SCHEMA], "id": user.id, "userName": user.profile.user_name,
        "displayName": user.profile.display_name, "active": user.profile.active, "emails": emails, "groups": groups,
        "meta": meta("User", &user.id, user.created_at_us, user.changed_at_us),
    });
    if let Some(id) = &user.profile.external_id {
        resource["externalId"] = json!(id);
    }
    resource
}

/// Answers `GET /scim/v2/Users`.
///
/// # Errors
/// `parameter_invalid` for a filter that is not understood.
pub async fn list(State(state): State<ConsoleState>, params: Params) -> Result<Response, ConsoleError> {
    let asked = Asked::read(&params, &["userName", "externalId"])?;
    let mut filter = UserFilter::default();
    match &asked.filter {
        Some((name, value)) if name == "userName" => filter.user_name = Some(value.clone()),
        Some((_, value)) => filter.external_id = Some(value.clone()),
        None => {}
    }
    let part = state.metastore.list_users(organisation(&state), &filter, asked.offset, asked.count).await?;
    Ok(super::list(part, &asked, resource))
}

/// Answers `POST /scim/v2/Users`.
///
/// # Errors
/// `already_exists` if the name is taken; `parameter_invalid` or `change_refused` if it cannot be used.
pub async fn create(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let profile = body::<Written>(&bytes)?.profile()?;
    let organisation = make_organisation(&state, &reader.author).await?;
    Ok(created(resource(&state.metastore.create_user(&organisation, profile, &reader.author).await?)))
}

/// Answers `GET /scim/v2/Users/{id}`.
///
/// # Errors
/// `not_found` if there is none.
pub async fn show(State(state): State<ConsoleState>, Path(id): Path<String>) -> Result<Response, ConsoleError> {
    Ok(answer(resource(&find(&state, &id).await?)))
}

/// Answers `PUT /scim/v2/Users/{id}`.
///
/// # Errors
/// As [`create`] and [`show`].
pub async fn replace(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let profile = body::<Written>(&bytes)?.profile()?;
    Ok(answer(resource(&state.metastore.put_user(&id, profile, &reader.author).await?)))
}

/// Answers `PATCH /scim/v2/Users/{id}`.
///
/// # Errors
/// As [`replace`].
pub async fn modify(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let mut user = resource(&find(&state, &id).await?);
    patch::apply(&mut user, body(&bytes)?)?;
    let written: Written = serde_json::from_value(user).map_err(|error| ConsoleError::Invalid {
        message: format!("after this change the user cannot be used: {error}"),
        hint: "Look at the values of the operations.",
    })?;
    Ok(answer(resource(&state.metastore.put_user(&id, written.profile()?, &reader.author).await?)))
}

/// Answers `DELETE /scim/v2/Users/{id}`.
///
/// # Errors
/// `not_found` if there is none.
pub async fn delete(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Response, ConsoleError> {
    state.metastore.delete_user(&id, &reader.author).await?;
    Ok(gone())
}

async fn find(state: &ConsoleState, id: &str) -> Result<User, ConsoleError> {
    let unknown = || MetastoreError::Unknown { what: "user", name: id.to_owned() };
    Ok(state.metastore.user(id).await?.ok_or_else(unknown)?)
}
