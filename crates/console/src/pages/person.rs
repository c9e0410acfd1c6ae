//! `/people/{id}`: one person, what they may do, and their keys.

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, Redirect, Response};
use tollgate_metastore::{Permission, Reach, UserChange};

use super::keys::{CreatedKeyView, KeyLine};
use super::people::{Choices, ago, listed, role_words, team_names};
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::format;
use crate::params::Params;
use crate::people::{self, Person, ReachAsked};
use crate::refill::{self, Form, Refill};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// What is shown this once.
#[derive(Clone, Debug)]
pub enum Shown {
    /// A new key, or a new secret of one.
    Key(CreatedKeyView),
    /// A link that signs the person in.
    Link(String),
}

/// Answers `GET /people/{id}`.
///
/// # Errors
/// `not_found` if there is none.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
) -> Result<Html<String>, ConsoleError> {
    render(&state, &reader, &id, None, Refill::default()).await
}

/// Answers `POST /people/{id}`: changes what the form has fields for.
///
/// # Errors
/// As [`people::change`].
pub async fn change(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    form: Bytes,
) -> Result<Response, ConsoleError> {
    let form = Params::parse(&form);
    // Of nobody there is no page to show the form on.
    people::find(&state, &reader, &id).await?;
    let done = change_as_filled_in(&state, &reader, &id, &form).await;
    refill::answer(done, Form::Change, form, |refill| render(&state, &reader, &id, None, refill)).await
}

async fn change_as_filled_in(
    state: &ConsoleState,
    reader: &Reader,
    id: &str,
    form: &Params,
) -> Result<Redirect, ConsoleError> {
    let Person { user, .. } = people::find(state, reader, id).await?;
    let reach = form.get("reach").map(ReachAsked::parse).transpose()?.map(|reach| match reach {
        ReachAsked::Organisation => Reach::Organisation(user.organisation.clone()),
        _ => Reach::Installation,
    });
    let named = |text: &str| {
        let names = listed(text);
        people::teams(reader, &user.organisation, names.iter().map(String::as_str))
    };
    let asked = UserChange {
        role: form.raw("role").map(|_| people::role(form.get("role"))).transpose()?,
        reach,
        teams: form.raw("teams").map(named).transpose()?,
        active: form.get("active").map(|text| text == "true"),
        display_name: form.raw("display_name").map(|name| name.trim().to_owned()),
    };
    people::change(state, reader, id, &asked).await?;
    Ok(Redirect::to(&format!("/people/{}", user.id)))
}

/// Answers `POST /people/{id}/sign-in-link`: makes a link and shows it, this once.
///
/// # Errors
/// As [`people::invite`].
pub async fn invite(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Html<String>, ConsoleError> {
    let path = people::invite(&state, &reader, &id).await?;
    // As the reader's own browser reaches this console.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let scheme = if state.settings.secure_cookies { "https" } else { "http" };
    let link = host.map_or_else(|| path.clone(), |host| format!("{scheme}://{host}{path}"));
    render(&state, &reader, &id, Some(Shown::Link(link)), Refill::default()).await
}

/// The page of a person; `shown` is on it this once, and `refill` is a form of it that was refused.
///
/// # Errors
/// `not_found` if there is none.
pub async fn render(
    state: &ConsoleState,
    reader: &Reader,
    id: &str,
    shown: Option<Shown>,
    refill: Refill,
) -> Result<Html<String>, ConsoleError> {
    let person = people::find(state, reader, id).await?;
    let mut choices = Choices::of(state, reader);
    choices.may_change = people::may_change(reader, &person.user);
    let may_issue = reader.may(Permission::ChangeKeys);
    let shell = reader.shell(state, &person.user.profile.user_name, "/people");
    Ok(Html(PersonPage::new(shell, person, shown, refill, choices, may_issue, state.now_us()).render()?))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/person.html")]
pub struct PersonPage {
    shell: Shell,
    refill: Refill,
    choices: Choices,
    may_issue: bool,
    created: Option<CreatedKeyView>,
    link: Option<String>,
    id: String,
    name: String,
    display_name: String,
    emails: String,
    organisation: String,
    role: String,
    /// The role of their own, or nothing.
    own_role: &'static str,
    reach: String,
    is_bound: bool,
    teams: String,
    first_team: String,
    groups: String,
    signed_in: String,
    made: String,
    is_active: bool,
    keys: Vec<KeyLine>,
}

impl PersonPage {
    /// Whether the form says that the role ends at the person's organisation.
    fn is_bound_in_form(&self) -> bool {
        let now = if self.is_bound { "organisation" } else { "installation" };
        self.refill.value_or(Form::Change, "reach", now) == "organisation"
    }

    /// Words what the directory says of `person`.
    #[must_use]
    pub fn new(
        shell: Shell,
        person: Person,
        shown: Option<Shown>,
        refill: Refill,
        choices: Choices,
        may_issue: bool,
        now_us: i64,
    ) -> Self {
        let Person { user, keys } = person;
        let (created, link) = match shown {
            Some(Shown::Key(key)) => (Some(key), None),
            Some(Shown::Link(link)) => (None, Some(link)),
            None => (None, None),
        };
        let is_bound = user.reach != Reach::Installation;
        PersonPage {
            shell,
            refill,
            choices,
            may_issue,
            created,
            link,
            emails: user.profile.emails.join(", "),
            role: role_words(user.role),
            own_role: user.role.map_or("", |role| role.as_str()),
            reach: if is_bound { "their organisation".to_owned() } else { "the whole installation".to_owned() },
            is_bound,
            teams: team_names(&user),
            first_team: user.teams.first().map(|name| name.team.clone()).unwrap_or_default(),
            groups: user.groups.join(", "),
            signed_in: match user.signed_in_at_us {
                Some(at_us) => format!("{} UTC, {}", format::minute(at_us), ago(at_us, now_us)),
                None => "never".to_owned(),
            },
            made: format::date(user.created_at_us),
            is_active: user.profile.active,
            keys: keys.into_iter().rev().map(|key| KeyLine::new(key, now_us)).collect(),
            name: user.profile.user_name,
            display_name: user.profile.display_name,
            organisation: user.organisation,
            id: user.id,
        }
    }
}
