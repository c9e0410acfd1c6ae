//! `/scim/v2/Groups`.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_metastore::{Group, GroupFacts, MetastoreError};

use super::{Asked, answer, body, created, gone, make_organisation, meta, organisation, patch};
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::state::ConsoleState;

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A group as a provider writes one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    display_name: String,
    external_id: Option<String>,
    #[serde(default)]
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    value: String,
}

impl From<Written> for GroupFacts {
    fn from(written: Written) -> Self {
        GroupFacts {
            display_name: written.display_name,
            external_id: written.external_id.filter(|id| !id.is_empty()),
            members: written.members.into_iter().map(|member| member.value).collect(),
        }
    }
}

fn resource(group: &Group) -> Value {
    let members: Vec<Value> = group.members.iter().map(|id| json!({"value": id})).collect();
    let mut resource = json!({
        "schemas": [SCHEMA], "id": group.id, "displayName": group.display_name, "members": members,
        "meta": meta("Group", &group.id, group.created_at_us, group.changed_at_us),
    });
    if let Some(id) = &group.external_id {
        resource["externalId"] = json!(id);
    }
    resource
}

/// Answers `GET /scim/v2/Groups`.
///
/// # Errors
/// `parameter_invalid` for a filter that is not understood.
pub async fn list(State(state): State<ConsoleState>, params: Params) -> Result<Response, ConsoleError> {
    let asked = Asked::read(&params, &["displayName"])?;
    let name = asked.filter.as_ref().map(|(_, value)| value.as_str());
    let part = state.metastore.list_groups(organisation(&state), name, asked.offset, asked.count).await?;
    Ok(super::list(part, &asked, resource))
}

/// Answers `POST /scim/v2/Groups`.
///
/// # Errors
/// `already_exists` if the name is taken; `not_found` for a member that there is not.
pub async fn create(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let facts = body::<Written>(&bytes)?.into();
    let organisation = make_organisation(&state, &reader.author).await?;
    Ok(created(resource(&state.metastore.create_group(&organisation, facts, &reader.author).await?)))
}

/// Answers `GET /scim/v2/Groups/{id}`.
///
/// # Errors
/// `not_found` if there is none.
pub async fn show(State(state): State<ConsoleState>, Path(id): Path<String>) -> Result<Response, ConsoleError> {
    Ok(answer(resource(&find(&state, &id).await?)))
}

/// Answers `PUT /scim/v2/Groups/{id}`.
///
/// # Errors
/// As [`create`] and [`show`].
pub async fn replace(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let facts = body::<Written>(&bytes)?.into();
    Ok(answer(resource(&state.metastore.put_group(&id, facts, &reader.author).await?)))
}

/// Answers `PATCH /scim/v2/Groups/{id}`.
///
/// # Errors
/// As [`replace`].
pub async fn modify(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let mut group = resource(&find(&state, &id).await?);
    patch::apply(&mut group, body(&bytes)?)?;
    let written: Written = serde_json::from_value(group).map_err(|error| ConsoleError::Invalid {
        message: format!("after this change the group cannot be used: {error}"),
        hint: "Look at the values of the operations.",
    })?;
    Ok(answer(resource(&state.metastore.put_group(&id, written.into(), &reader.author).await?)))
}

/// Answers `DELETE /scim/v2/Groups/{id}`.
///
/// # Errors
/// `not_found` if there is none.
pub async fn delete(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Response, ConsoleError> {
    state.metastore.delete_group(&id, &reader.author).await?;
    Ok(gone())
}

async fn find(state: &ConsoleState, id: &str) -> Result<Group, ConsoleError> {
    let unknown = || MetastoreError::Unknown { what: "group", name: id.to_owned() };
    Ok(state.metastore.group(id).await?.ok_or_else(unknown)?)
}
