//! What can be done with a resource of SCIM, whatever kind it is of: listing, creating, reading, replacing, changing and
//! removing it. A kind says how its resources are written and where they are kept.

use std::fmt::Debug;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tollgate_metastore::{MetastoreError, Part};

use super::{Asked, answer, body, created, gone, make_organisation, organisation, patch};
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::params::Params;
use crate::state::ConsoleState;

type Stored<T> = Result<T, MetastoreError>;

/// Users, or groups.
pub trait Kind: 'static {
    /// What people call one: `user`.
    const NOUN: &'static str;
    /// Attributes that a list can be narrowed by.
    const FILTERS: &'static [&'static str];
    /// As a provider writes one.
    type Written: DeserializeOwned + Debug;
    /// What is kept of that.
    type Facts: Send + Sync;
    /// As it is kept.
    type Kept: Send + Sync;

    /// What is to be kept.
    ///
    /// # Errors
    /// `parameter_invalid` if a value means nothing.
    fn facts(written: Self::Written) -> Result<Self::Facts, ConsoleError>;
    /// As a provider reads one.
    fn resource(kept: &Self::Kept) -> Value;
    /// Where it belongs.
    fn organisation(kept: &Self::Kept) -> &str;
    /// Refuses to make what is there (if anything is) into what is asked for, if that is not the reader's to decide.
    fn must_be_the_readers(
        state: &ConsoleState,
        reader: &Reader,
        kept: Option<&Self::Kept>,
        facts: Option<&Self::Facts>,
    ) -> impl Future<Output = Result<(), ConsoleError>> + Send;
    /// Some of those of an organisation.
    fn list(
        state: &ConsoleState,
        organisation: &str,
        asked: &Asked,
    ) -> impl Future<Output = Stored<Part<Self::Kept>>> + Send;
    /// The one with this id.
    fn find(state: &ConsoleState, id: &str) -> impl Future<Output = Stored<Option<Self::Kept>>> + Send;
    /// Makes one.
    fn create(
        state: &ConsoleState,
        reader: &Reader,
        organisation: &str,
        facts: Self::Facts,
    ) -> impl Future<Output = Stored<Self::Kept>> + Send;
    /// Replaces one.
    fn put(
        state: &ConsoleState,
        reader: &Reader,
        id: &str,
        facts: Self::Facts,
    ) -> impl Future<Output = Stored<Self::Kept>> + Send;
    /// Removes one.
    fn delete(state: &ConsoleState, reader: &Reader, id: &str) -> impl Future<Output = Stored<()>> + Send;
}

/// Answers `GET` of all.
///
/// # Errors
/// `parameter_invalid` for a filter that is not understood.
pub async fn list<K: Kind>(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Response, ConsoleError> {
    let asked = Asked::read(&params, K::FILTERS)?;
    let part = K::list(&state, &organisation(&state, &reader), &asked).await?;
    Ok(super::list(part, &asked, K::resource))
}

/// Answers `POST`.
///
/// # Errors
/// `already_exists` if the name is taken; `not_found` for a member that there is not; `parameter_invalid` or
/// `change_refused` if a value cannot be used.
pub async fn create<K: Kind>(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let facts = K::facts(body(&bytes)?)?;
    let organisation = make_organisation(&state, &reader).await?;
    K::must_be_the_readers(&state, &reader, None, Some(&facts)).await?;
    Ok(created(K::resource(&K::create(&state, &reader, &organisation, facts).await?)))
}

/// Answers `GET` of one.
///
/// # Errors
/// `not_found` if there is none.
pub async fn show<K: Kind>(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Response, ConsoleError> {
    Ok(answer(K::resource(&find::<K>(&state, &reader, &id).await?)))
}

/// Answers `PUT`.
///
/// # Errors
/// As [`create`] and [`show`].
pub async fn replace<K: Kind>(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let facts = K::facts(body(&bytes)?)?;
    let kept = find::<K>(&state, &reader, &id).await?;
    put::<K>(&state, &reader, &id, &kept, facts).await
}

/// Answers `PATCH`.
///
/// # Errors
/// As [`replace`].
pub async fn modify<K: Kind>(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, ConsoleError> {
    let kept = find::<K>(&state, &reader, &id).await?;
    let mut changed = K::resource(&kept);
    patch::apply(&mut changed, body(&bytes)?)?;
    let written: K::Written = serde_json::from_value(changed).map_err(|error| ConsoleError::Invalid {
        message: format!("after this change the {} cannot be used: {error}", K::NOUN),
        hint: "Look at the values of the operations.",
    })?;
    put::<K>(&state, &reader, &id, &kept, K::facts(written)?).await
}

/// Answers `DELETE`.
///
/// # Errors
/// `not_found` if there is none.
pub async fn delete<K: Kind>(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Response, ConsoleError> {
    let kept = find::<K>(&state, &reader, &id).await?;
    K::must_be_the_readers(&state, &reader, Some(&kept), None).await?;
    K::delete(&state, &reader, &id).await?;
    Ok(gone())
}

async fn put<K: Kind>(
    state: &ConsoleState,
    reader: &Reader,
    id: &str,
    kept: &K::Kept,
    facts: K::Facts,
) -> Result<Response, ConsoleError> {
    K::must_be_the_readers(state, reader, Some(kept), Some(&facts)).await?;
    Ok(answer(K::resource(&K::put(state, reader, id, facts).await?)))
}

async fn find<K: Kind>(state: &ConsoleState, reader: &Reader, id: &str) -> Result<K::Kept, ConsoleError> {
    let found = K::find(state, id).await?.filter(|kept| reader.reach.covers(K::organisation(kept)));
    Ok(found.ok_or_else(|| MetastoreError::Unknown { what: K::NOUN, name: id.to_owned() })?)
}
