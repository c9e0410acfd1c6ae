//! `/keys`: virtual keys. A secret is shown once, in the answer to the request that created it.

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{Html, Redirect};
use tollgate_metastore::{KeyListing, NewKey};

use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format;
use crate::params::Params;
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
    render(&state, &reader, None).await
}

/// Answers `POST /keys`: creates a key and shows it, this once.
///
/// # Errors
/// `change_refused` if a name cannot be used.
pub async fn create(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    form: Bytes,
) -> Result<Html<String>, ConsoleError> {
    let created = create_key(&state, &reader, &Params::parse(&form)).await?;
    render(&state, &reader, Some(created)).await
}

/// Answers `POST /keys/{id}/revoke`.
///
/// # Errors
/// `key_not_found` if there is no such key.
pub async fn revoke(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Redirect, ConsoleError> {
    state.metastore.revoke_key_by(&id, &reader.author).await?;
    Ok(Redirect::to("/keys"))
}

/// Creates the key that a form describes.
///
/// # Errors
/// `change_refused` if a name cannot be used.
pub async fn create_key(state: &ConsoleState, reader: &Reader, form: &Params) -> Result<CreatedKeyView, ConsoleError> {
    let name = form.text("name");
    let key = NewKey {
        name: name.clone(),
        tenant: form.owned("tenant").unwrap_or_else(|| state.settings.tenant.clone()),
        project: form.owned("project"),
        team: form.text("team"),
    };
    let created = state.metastore.create_key_by(key, &reader.author).await?;
    Ok(CreatedKeyView { id: created.id, name, secret: created.secret })
}

async fn render(
    state: &ConsoleState,
    reader: &Reader,
    created: Option<CreatedKeyView>,
) -> Result<Html<String>, ConsoleError> {
    let (keys, now_us) = (state.metastore.list_keys().await?, state.now_us());
    // Newest first: the one just created is what the reader looks for.
    let lines = keys.into_iter().rev().map(|key| KeyLine::new(key, now_us)).collect();
    Ok(Html(KeysPage::new(reader.shell(state, "Keys", "/keys"), created, lines).render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/keys.html")]
pub struct KeysPage {
    shell: Shell,
    created: Option<CreatedKeyView>,
    keys: Vec<KeyLine>,
}

impl KeysPage {
    /// The page; `created` is shown this once.
    #[must_use]
    pub fn new(shell: Shell, created: Option<CreatedKeyView>, keys: Vec<KeyLine>) -> Self {
        KeysPage { shell, created, keys }
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
    /// When it was created.
    pub created: String,
    /// `active`, `revoked` or `expired`.
    pub state: &'static str,
    /// Whether calls with it are let through.
    pub is_active: bool,
}

impl KeyLine {
    fn new(key: KeyListing, now_us: i64) -> Self {
        let is_expired = key.expires_at_us.is_some_and(|end_us| end_us <= now_us);
        let state = match (key.enabled, is_expired) {
            (false, _) => "revoked",
            (true, true) => "expired",
            (true, false) => "active",
        };
        KeyLine {
            id: key.id,
            name: key.name,
            display: key.display,
            team: key.team,
            project: key.project.unwrap_or_else(|| format::UNKNOWN.to_owned()),
            created: format::date(key.created_at_us),
            state,
            is_active: state == "active",
        }
    }
}
