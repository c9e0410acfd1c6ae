//! `/people`: who may do what, and the teams, projects and organisations they belong to.

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{Html, Redirect, Response};
use tollgate_metastore::{Permission, Reach, Role, TeamName, User};

use crate::access::Reader;
use crate::budgets::{BudgetLine, State as Standing};
use crate::error::ConsoleError;
use crate::format::{self, UNKNOWN};
use crate::params::Params;
use crate::people::{self, Newcomer, People, PeopleQuery, Person, ReachAsked, UnitLine};
use crate::range::parameter;
use crate::refill::{self, Form, Refill};
use crate::shell::Shell;
use crate::state::ConsoleState;

/// People on one page.
const SHOWN: u32 = 100;

/// Answers `GET /people`.
///
/// # Errors
/// `metastore_unavailable` if the control plane does not answer; `parameter_invalid` for a parameter that means nothing.
pub async fn show(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    params: Params,
) -> Result<Html<String>, ConsoleError> {
    let query = query(&state, &reader, &params)?;
    render(&state, &reader, query, Refill::default()).await
}

async fn render(
    state: &ConsoleState,
    reader: &Reader,
    query: PeopleQuery,
    refill: Refill,
) -> Result<Html<String>, ConsoleError> {
    let query = PeopleQuery { count: SHOWN, ..query };
    let people = people::list(state, reader, &query).await?;
    let shell = reader.shell(state, "People", "/people");
    let choices = Choices::of(state, reader);
    Ok(Html(PeoplePage::new(shell, people, &query, choices, refill, state.now_us()).render()?))
}

/// The answer to one of the forms: where it leads, or the page with the form as it was filled in.
async fn answer(
    state: &ConsoleState,
    reader: &Reader,
    done: Result<Redirect, ConsoleError>,
    form: Form,
    values: Params,
) -> Result<Response, ConsoleError> {
    refill::answer(done, form, values, |refill| render(state, reader, PeopleQuery::default(), refill)).await
}

/// What the parameters ask for.
///
/// # Errors
/// `parameter_invalid` for a number or a team that is none.
pub fn query(state: &ConsoleState, reader: &Reader, params: &Params) -> Result<PeopleQuery, ConsoleError> {
    let own = reader.reach.organisation().unwrap_or(&state.settings.tenant);
    let team = params.get("team").map(|text| TeamName::within(own, text)).transpose();
    let team = team.map_err(|error| ConsoleError::Invalid { message: error.to_string(), hint: "" })?;
    let number = |name| -> Result<Option<u32>, ConsoleError> {
        Ok(params.number(name)?.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    };
    Ok(PeopleQuery {
        organisation: params.owned("organisation"),
        holds: params.owned("q"),
        team,
        offset: number("offset")?.unwrap_or(0),
        count: number("limit")?.unwrap_or(people::MAX_PEOPLE),
    })
}

/// Answers `POST /people`: puts someone into the directory and shows them.
///
/// # Errors
/// As [`people::add`].
pub async fn add(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    form: Bytes,
) -> Result<Response, ConsoleError> {
    let form = Params::parse(&form);
    let done = add_person(&state, &reader, &form).await;
    answer(&state, &reader, done, Form::Person, form).await
}

async fn add_person(state: &ConsoleState, reader: &Reader, form: &Params) -> Result<Redirect, ConsoleError> {
    let newcomer = Newcomer {
        user_name: form.text("user_name"),
        organisation: form.owned("organisation"),
        display_name: form.text("display_name"),
        email: form.owned("email"),
        role: people::role(form.get("role"))?,
        reach: form.get("reach").map_or(Ok(ReachAsked::AsOwn), ReachAsked::parse)?,
        teams: listed(&form.text("teams")),
    };
    let user = people::add(state, reader, newcomer).await?;
    Ok(Redirect::to(&format!("/people/{}", user.id)))
}

/// Names between commas: a name may hold a space.
pub(super) fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Answers `POST /people/organisations`.
///
/// # Errors
/// `already_exists`; `change_refused` if the name cannot be used.
pub async fn add_organisation(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    form: Bytes,
) -> Result<Response, ConsoleError> {
    let form = Params::parse(&form);
    let made = state.metastore.create_organisation(&form.text("name"), &reader.author).await;
    let done = made.map(|()| Redirect::to("/people#organisations")).map_err(ConsoleError::from);
    answer(&state, &reader, done, Form::Organisation, form).await
}

/// Answers `POST /people/teams`.
///
/// # Errors
/// As [`people::add_team`].
pub async fn add_team(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    form: Bytes,
) -> Result<Response, ConsoleError> {
    let form = Params::parse(&form);
    let made = people::add_team(&state, &reader, form.owned("organisation"), form.text("name")).await;
    answer(&state, &reader, made.map(|_| Redirect::to("/people#teams")), Form::Team, form).await
}

/// Answers `POST /people/projects`.
///
/// # Errors
/// As [`people::add_project`].
pub async fn add_project(
    State(state): State<ConsoleState>,
    Extension(reader): Extension<Reader>,
    form: Bytes,
) -> Result<Response, ConsoleError> {
    let form = Params::parse(&form);
    let made = people::add_project(&state, &reader, form.owned("organisation"), &form.text("name")).await;
    answer(&state, &reader, made.map(|_| Redirect::to("/people#projects")), Form::Project, form).await
}

/// What the reader may choose in forms.
#[derive(Clone, Debug)]
pub struct Choices {
    /// Whether there are forms at all.
    pub may_change: bool,
    /// Whether they may decide about the whole installation.
    pub may_reach_all: bool,
    /// Roles they may give.
    pub roles: Vec<Role>,
    /// The organisation that stands for none being named.
    pub organisation: String,
}

impl Choices {
    /// Of a reader.
    #[must_use]
    pub fn of(state: &ConsoleState, reader: &Reader) -> Choices {
        Choices {
            may_change: reader.may(Permission::ChangePeople),
            may_reach_all: reader.reach == Reach::Installation,
            roles: reader.assignable(),
            organisation: reader.reach.organisation().unwrap_or(&state.settings.tenant).to_owned(),
        }
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/people.html")]
pub struct PeoplePage {
    shell: Shell,
    choices: Choices,
    refill: Refill,
    is_narrowed: bool,
    holds: String,
    organisation: String,
    team: String,
    counted: String,
    people: Vec<PersonRow>,
    earlier_href: Option<String>,
    later_href: Option<String>,
    /// Whether names have to say of which organisation they are.
    has_several: bool,
    teams: Vec<UnitRow>,
    projects: Vec<UnitRow>,
    organisations: Vec<OrganisationRow>,
}

/// A person in the list.
#[derive(Debug)]
struct PersonRow {
    href: String,
    name: String,
    beside: String,
    organisation: String,
    role: String,
    reach: String,
    teams: String,
    signed_in: String,
    keys: String,
    is_active: bool,
}

#[derive(Debug)]
struct UnitRow {
    name: String,
    /// With its organisation before it.
    full: String,
    organisation: String,
    href: Option<String>,
    members: String,
    keys: String,
    budgets: Vec<BudgetMark>,
    made: String,
}

/// How far a budget is used up, in a few words.
#[derive(Debug)]
struct BudgetMark {
    words: String,
    tone: &'static str,
}

#[derive(Debug)]
struct OrganisationRow {
    name: String,
    href: String,
    made: String,
}

impl PeoplePage {
    /// Words what the directory says.
    #[must_use]
    pub fn new(
        shell: Shell,
        people: People,
        query: &PeopleQuery,
        choices: Choices,
        refill: Refill,
        now_us: i64,
    ) -> Self {
        let has_several = people.organisations.len() > 1;
        let shown = people.people.len() as u64;
        let at = |offset: u32| {
            let mut href = format!("/people?offset={offset}");
            for (name, value) in [("q", &query.holds), ("organisation", &query.organisation)] {
                href.extend(value.as_ref().map(|value| parameter(name, value)));
            }
            href.extend(query.team.as_ref().map(|team| parameter("team", &team.to_string())));
            href
        };
        let is_more = u64::from(query.offset) + shown < people.total;
        let organisation_row = |named: tollgate_metastore::Named| OrganisationRow {
            href: format!("/people?{}", &parameter("organisation", &named.name)[1..]),
            made: format::date(named.created_at_us),
            name: named.name,
        };
        PeoplePage {
            shell,
            choices,
            refill,
            is_narrowed: query.holds.is_some() || query.organisation.is_some() || query.team.is_some(),
            holds: query.holds.clone().unwrap_or_default(),
            organisation: query.organisation.clone().unwrap_or_default(),
            team: query.team.as_ref().map(ToString::to_string).unwrap_or_default(),
            counted: match people.total {
                1 => "1 person".to_owned(),
                total => format!("{} people", format::count(total)),
            },
            earlier_href: (query.offset > 0).then(|| at(query.offset.saturating_sub(SHOWN))),
            later_href: is_more.then(|| at(query.offset.saturating_add(SHOWN))),
            people: people.people.into_iter().map(|person| person_row(person, now_us)).collect(),
            has_several,
            teams: people.teams.into_iter().map(|line| unit_row(line, true)).collect(),
            projects: people.projects.into_iter().map(|line| unit_row(line, false)).collect(),
            organisations: people.organisations.into_iter().map(organisation_row).collect(),
        }
    }
}

fn person_row(person: Person, now_us: i64) -> PersonRow {
    let Person { user, keys } = person;
    let working = keys.iter().filter(|key| people::works(key, now_us)).count() as u64;
    PersonRow {
        href: format!("/people/{}", user.id),
        beside: beside(&user),
        role: role_words(user.role),
        reach: if user.reach == Reach::Installation { String::new() } else { "own organisation".to_owned() },
        teams: team_names(&user),
        signed_in: user.signed_in_at_us.map_or_else(|| "never".to_owned(), |at_us| ago(at_us, now_us)),
        keys: format::count(working),
        is_active: user.profile.active,
        name: user.profile.user_name,
        organisation: user.organisation,
    }
}

/// What stands under a name: how they are called, and where they are reached.
fn beside(user: &User) -> String {
    let parts = [Some(&user.profile.display_name), user.profile.emails.first()];
    let told = parts.into_iter().flatten().filter(|part| !part.is_empty() && **part != user.profile.user_name);
    told.map(String::as_str).collect::<Vec<_>>().join(" · ")
}

pub(super) fn role_words(role: Option<Role>) -> String {
    role.map_or_else(|| "by groups".to_owned(), |role| role.to_string())
}

/// The teams of a person, without the organisation where it is their own.
pub(super) fn team_names(user: &User) -> String {
    let name = |name: &TeamName| match name.organisation == user.organisation {
        true => name.team.clone(),
        false => name.to_string(),
    };
    user.teams.iter().map(name).collect::<Vec<_>>().join(", ")
}

pub(super) fn ago(at_us: i64, now_us: i64) -> String {
    format::age((now_us - at_us).max(0))
}

fn unit_row(line: UnitLine, is_team: bool) -> UnitRow {
    let UnitLine { unit, members, keys, budgets } = line;
    let full = format!("{}/{}", unit.organisation, unit.name);
    UnitRow {
        href: is_team.then(|| format!("/people?{}", &parameter("team", &full)[1..])),
        members: format::count(members),
        keys: format::count(keys),
        budgets: budgets.iter().map(budget_mark).collect(),
        made: format::date(unit.created_at_us),
        full,
        name: unit.name,
        organisation: unit.organisation,
    }
}

fn budget_mark(line: &BudgetLine) -> BudgetMark {
    let share = line.used_basis_points.map_or_else(|| UNKNOWN.to_owned(), |points| format!("{} %", points / 100));
    let tone = match line.state {
        Standing::Open => "good",
        Standing::Reached | Standing::Unknown => "warn",
        Standing::Shut => "bad",
    };
    BudgetMark { words: format!("{share} of {}", line.id), tone }
}
