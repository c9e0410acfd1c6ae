//! `/keys`: virtual keys. A secret is shown once, in the answer to the request that created it.

use std::collections::BTreeMap;

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{Html, Redirect, Response};
use tollgate_metastore::{KeyListing, NewKey};
use tollgate_policy::key::KeyLimits;

use super::person::Shown;
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format;
use crate::params::Params;
use crate::refill::{self, Form, Refill};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// Answers `GET /keys`.
///
/// # Errors
/// `metastore_unavailable` if the control plane does not answer.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
) -> Result<Html<String>, ConsoleError> {
    render(&state, &reader, None, Refill::default()).await
}

/// Answers `POST /keys`: creates a key and shows it, this once.
///
/// # Errors
/// `change_refused` if a name cannot be used.
pub async fn create(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    form: Bytes,
) -> Result<Response, ConsoleError> {
    let form = Params::parse(&form);
    let done = match create_key(&state, &reader, &form).await {
        Ok(created) => Ok(after(&state, &reader, &form, created).await?),
        Err(error) => Err(error),
    };
    let person = form.owned("person");
    refill::answer(done, Form::Key, form, |refill| again(&state, &reader, person, refill)).await
}

/// The page that the form stands on, with what was filled in.
async fn again(
    state: &ConsoleState,
    reader: &Reader,
    person: Option<String>,
    refill: Refill,
) -> Result<Html<String>, ConsoleError> {
    match person {
        Some(person) => super::person::render(state, reader, &person, None, refill).await,
        None => render(state, reader, None, refill).await,
    }
}

/// Shows a new secret where the form stood: among the keys, or on the page of a person.
async fn after(
    state: &ConsoleState,
    reader: &Reader,
    form: &Params,
    created: CreatedKeyView,
) -> Result<Html<String>, ConsoleError> {
    match form.get("person") {
        Some(person) => {
            super::person::render(state, reader, person, Some(Shown::Key(created)), Refill::default()).await
        }
        None => render(state, reader, Some(created), Refill::default()).await,
    }
}

/// Answers `POST /keys/{id}/revoke`.
///
/// # Errors
/// `key_not_found` if there is no such key.
pub async fn revoke(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    form: Bytes,
) -> Result<Redirect, ConsoleError> {
    reader.must_know_key(&state, &id).await?;
    state.metastore.revoke_key_by(&id, &reader.author).await?;
    let person = Params::parse(&form).owned("person").filter(|id| !id.contains(['/', '\\', '\r', '\n']));
    Ok(Redirect::to(&person.map_or_else(|| "/keys".to_owned(), |person| format!("/people/{person}"))))
}

/// Answers `POST /keys/{id}/rotate`: gives the key another secret and shows it, this once.
///
/// # Errors
/// `key_not_found` if there is no such key; `parameter_invalid` for a grace that is none.
pub async fn rotate(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    form: Bytes,
) -> Result<Html<String>, ConsoleError> {
    let form = Params::parse(&form);
    let grace_us = grace_us(form.number("grace_hours")?)?;
    reader.must_know_key(&state, &id).await?;
    let rotated = state.metastore.rotate_key(&id, grace_us, &reader.author).await?;
    let name = state.metastore.list_keys().await?.into_iter().find(|key| key.id == rotated.id);
    let view = CreatedKeyView {
        id: rotated.id,
        name: name.map(|key| key.name).unwrap_or_default(),
        secret: rotated.secret,
        previous_until: Some(format::timestamp(rotated.previous_until_us)),
    };
    after(&state, &reader, &form, view).await
}

/// How long the secret before works: a day, unless something else is asked for.
///
/// # Errors
/// `parameter_invalid` for more than a year.
pub fn grace_us(hours: Option<usize>) -> Result<i64, ConsoleError> {
    const HOUR_US: i64 = 3_600_000_000;
    let hours = hours.unwrap_or(24);
    match i64::try_from(hours) {
        Ok(hours @ 0..=8_760) => Ok(hours * HOUR_US),
        _ => Err(ConsoleError::Invalid {
            message: format!("`{hours}` is not a usable `grace_hours`"),
            hint: "It is a number of hours from 0 to 8760.",
        }),
    }
}

/// When a key ends that works for so many days.
///
/// # Errors
/// `parameter_invalid` for none, or more than ten years.
pub fn expiry_us(days: Option<usize>, now_us: i64) -> Result<Option<i64>, ConsoleError> {
    const DAY_US: i64 = 86_400_000_000;
    let Some(days) = days else { return Ok(None) };
    match i64::try_from(days) {
        Ok(days @ 1..=3_650) => Ok(Some(now_us.saturating_add(days * DAY_US))),
        _ => Err(ConsoleError::Invalid {
            message: format!("`{days}` is not a usable `expires_days`"),
            hint: "It is a number of days from 1 to 3650.",
        }),
    }
}

/// Words between commas or spaces.
fn words(text: &str) -> Vec<String> {
    text.split([',', ' ', '\n', '\r', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Creates the key that a form describes.
///
/// # Errors
/// `change_refused` if a name or a limit cannot be used.
pub async fn create_key(state: &ConsoleState, reader: &Reader, form: &Params) -> Result<CreatedKeyView, ConsoleError> {
    let name = form.text("name");
    let key = NewKey {
        name: name.clone(),
        tenant: reader.organisation(state, form.owned("tenant"), "a key")?,
        project: form.owned("project"),
        team: form.text("team"),
        user: form.owned("user"),
        expires_at_us: expiry_us(form.number("expires_days")?, state.now_us())?,
        limits: KeyLimits {
            scopes: words(&form.text("scopes")),
            models: words(&form.text("models")),
            sources: words(&form.text("sources")),
        },
        tags: BTreeMap::new(),
    };
    let created = state.metastore.create_key_by(key, &reader.author).await?;
    Ok(CreatedKeyView { id: created.id, name, secret: created.secret, previous_until: None })
}

async fn render(
    state: &ConsoleState,
    reader: &Reader,
    created: Option<CreatedKeyView>,
    refill: Refill,
) -> Result<Html<String>, ConsoleError> {
    let (keys, now_us) = (reader.keys(state).await?, state.now_us());
    // Newest first: the one just created is what the reader looks for.
    let lines = keys.into_iter().rev().map(|key| KeyLine::new(key, now_us)).collect();
    Ok(Html(KeysPage::new(reader.shell(state, "Keys", "/keys"), created, refill, lines).render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/keys.html")]
pub struct KeysPage {
    shell: Shell,
    created: Option<CreatedKeyView>,
    refill: Refill,
    keys: Vec<KeyLine>,
}

impl KeysPage {
    /// The page; `created` is shown this once, and `refill` is the form that was refused.
    #[must_use]
    pub fn new(shell: Shell, created: Option<CreatedKeyView>, refill: Refill, keys: Vec<KeyLine>) -> Self {
        KeysPage { shell, created, refill, keys }
    }
}

/// A key that was just created.
#[derive(Clone, Debug)]
pub struct CreatedKeyView {
    /// Its id.
    pub id: String,
    /// What a person calls it.
    pub name: String,
    /// The key itself.
    pub secret: String,
    /// Until when the secret before works, if there was one.
    pub previous_until: Option<String>,
}

/// One key in the list.
#[derive(Clone, Debug)]
pub struct KeyLine {
    /// Its id.
    pub id: String,
    /// What a person calls it.
    pub name: String,
    /// How its secret begins.
    pub display: String,
    /// Team it draws on.
    pub team: String,
    /// Project, or a dash.
    pub project: String,
    /// The person whose calls its calls are, or nothing.
    pub user: String,
    /// What it is limited to, in words; empty for nothing.
    pub limits: String,
    /// When it ends, or a dash.
    pub ends: String,
    /// When it was created.
    pub created: String,
    /// `active`, `revoked`, `expired` or `user inactive`.
    pub state: &'static str,
    /// Whether calls with it are let through.
    pub is_active: bool,
}

impl KeyLine {
    pub(super) fn new(key: KeyListing, now_us: i64) -> Self {
        let is_expired = key.expires_at_us.is_some_and(|end_us| end_us <= now_us);
        let state = match (key.enabled, is_expired) {
            (false, _) => "revoked",
            (true, true) => "expired",
            (true, false) if key.user_inactive => "user inactive",
            (true, false) => "active",
        };
        let ends = key.expires_at_us.map_or_else(|| format::UNKNOWN.to_owned(), format::date);
        let limits = limits(&key);
        KeyLine {
            id: key.id,
            name: key.name,
            display: key.display,
            team: key.team,
            project: key.project.unwrap_or_else(|| format::UNKNOWN.to_owned()),
            user: key.user.unwrap_or_default(),
            limits,
            ends,
            created: format::date(key.created_at_us),
            state,
            is_active: state == "active",
        }
    }
}

fn limits(key: &KeyListing) -> String {
    let KeyLimits { scopes, models, sources } = &key.limits;
    let part = |what: &str, names: &[String]| {
        if names.is_empty() { None } else { Some(format!("{what} {}", names.join(", "))) }
    };
    let parts = [part("for", scopes), part("models", models), part("from", sources)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
