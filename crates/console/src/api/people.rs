//! `/api/v1/people`, `/api/v1/organisations`, `/api/v1/teams` and `/api/v1/projects`: what `/people` shows and does.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tollgate_metastore::{Reach, TeamName, User, UserChange};

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::pages::people::query;
use crate::params::Params;
use crate::people::{self, Newcomer, People, Person, ReachAsked};
use crate::state::ConsoleState;

/// A link that signs somebody in.
#[derive(Debug, Serialize)]
pub struct SignInLink {
    /// Path and token, to be put after the console's address; works once.
    path: String,
    /// How long it works, in seconds.
    expires_in_s: u64,
}

/// Something that was made.
#[derive(Debug, Serialize)]
pub struct Made {
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation: Option<String>,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddPerson {
    user_name: String,
    organisation: Option<String>,
    #[serde(default)]
    display_name: String,
    email: Option<String>,
    role: Option<String>,
    reach: Option<String>,
    #[serde(default)]
    teams: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ChangePerson {
    /// `null` for what their groups say.
    #[serde(deserialize_with = "given")]
    role: Option<Option<String>>,
    reach: Option<String>,
    teams: Option<Vec<String>>,
    active: Option<bool>,
    display_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddUnit {
    name: String,
    organisation: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddOrganisation {
    name: String,
}

/// Tells `null` from what is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn body<T: DeserializeOwned>(bytes: &Bytes, hint: &'static str) -> Result<T, ConsoleError> {
    let invalid = |error| ConsoleError::Invalid { message: format!("the body cannot be used: {error}"), hint };
    serde_json::from_slice(bytes).map_err(invalid)
}

/// Who there is, with teams, projects and organisations.
///
/// # Errors
/// `parameter_invalid` for a parameter that means nothing.
pub async fn list(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Json<People>, ConsoleError> {
    Ok(Json(people::list(&state, &reader, &query(&state, &reader, &params)?).await?))
}

/// One person with their keys.
///
/// # Errors
/// `not_found` if there is none.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Json<Person>, ConsoleError> {
    Ok(Json(people::find(&state, &reader, &id).await?))
}

/// Puts a person into the directory.
///
/// # Errors
/// As [`people::add`]; `parameter_invalid` if the body cannot be used.
pub async fn add(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    bytes: Bytes,
) -> Result<Json<User>, ConsoleError> {
    let asked: AddPerson =
        body(&bytes, "Send `{\"user_name\": \"ann@acme.example\", \"role\": \"viewer\"}` or the like.")?;
    let newcomer = Newcomer {
        user_name: asked.user_name,
        organisation: asked.organisation,
        display_name: asked.display_name,
        email: asked.email,
        role: people::role(asked.role.as_deref())?,
        reach: asked.reach.as_deref().map_or(Ok(ReachAsked::AsOwn), ReachAsked::parse)?,
        teams: asked.teams,
    };
    Ok(Json(people::add(&state, &reader, newcomer).await?))
}

/// Changes a person as the body says, all of it or nothing.
///
/// # Errors
/// As [`people::change`]; `parameter_invalid` if the body cannot be used.
pub async fn change(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<User>, ConsoleError> {
    let asked: ChangePerson = body(&bytes, "Send `{\"role\": \"viewer\"}`, `{\"active\": false}` or the like.")?;
    let Person { user, .. } = people::find(&state, &reader, &id).await?;
    let role = asked.role.map(|role| people::role(role.as_deref())).transpose()?;
    let reach = asked.reach.as_deref().map(ReachAsked::parse).transpose()?.map(|reach| match reach {
        ReachAsked::Organisation => Reach::Organisation(user.organisation.clone()),
        _ => Reach::Installation,
    });
    let named = |names: Vec<String>| people::teams(&reader, &user.organisation, names.iter().map(String::as_str));
    let teams = asked.teams.map(named).transpose()?;
    let change = UserChange { role, reach, teams, active: asked.active, display_name: asked.display_name };
    Ok(Json(people::change(&state, &reader, &id, &change).await?))
}

/// Makes a link that signs a person in; it is in the answer, this once.
///
/// # Errors
/// As [`people::invite`].
pub async fn invite(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Json<SignInLink>, ConsoleError> {
    let path = people::invite(&state, &reader, &id).await?;
    Ok(Json(SignInLink { path, expires_in_s: tollgate_metastore::INVITATION_S }))
}

/// Makes an organisation.
///
/// # Errors
/// `already_exists`; `change_refused` if the name cannot be used.
pub async fn add_organisation(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    bytes: Bytes,
) -> Result<Json<Made>, ConsoleError> {
    let AddOrganisation { name } = body(&bytes, "Send `{\"name\": \"acme\"}`.")?;
    state.metastore.create_organisation(&name, &reader.author).await?;
    Ok(Json(Made { organisation: None, name }))
}

/// Makes a team.
///
/// # Errors
/// As [`people::add_team`].
pub async fn add_team(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    bytes: Bytes,
) -> Result<Json<Made>, ConsoleError> {
    let AddUnit { name, organisation } =
        body(&bytes, "Send `{\"name\": \"kyc\"}`, and `organisation` if it is another.")?;
    let TeamName { organisation, team } = people::add_team(&state, &reader, organisation, name).await?;
    Ok(Json(Made { organisation: Some(organisation), name: team }))
}

/// Makes a project.
///
/// # Errors
/// As [`people::add_project`].
pub async fn add_project(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    bytes: Bytes,
) -> Result<Json<Made>, ConsoleError> {
    let AddUnit { name, organisation } =
        body(&bytes, "Send `{\"name\": \"onboarding\"}`, and `organisation` if it is another.")?;
    let organisation = people::add_project(&state, &reader, organisation, &name).await?;
    Ok(Json(Made { organisation: Some(organisation), name }))
}
