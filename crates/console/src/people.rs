//! People, teams, projects and organisations, as far as they exist for a reader, and what the reader may change of them. The
//! pages and the API do the same things through this module.
//!
//! Nobody gives what they do not have: an administrator makes no owner, and whoever ends at an organisation decides about
//! nobody who reaches beyond it.

use serde::Serialize;
use tollgate_metastore::{
    KeyListing, MetastoreError, Named, NewUser, Part, Permission, Reach, Role, TeamName, Unit, User, UserChange,
    UserFilter,
};
use tollgate_policy::scope::{Dimension, value_in};

use crate::access::Reader;
use crate::budgets::{BudgetLine, lines};
use crate::error::ConsoleError;
use crate::state::ConsoleState;

/// People in one answer at most.
pub const MAX_PEOPLE: u32 = 500;

/// Which people are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeopleQuery {
    /// Of this organisation.
    pub organisation: Option<String>,
    /// With this in their name.
    pub holds: Option<String>,
    /// Members of this team.
    pub team: Option<TeamName>,
    /// People to pass over.
    pub offset: u32,
    /// People wanted; at most [`MAX_PEOPLE`] are given.
    pub count: u32,
}

/// Who there is, and what they belong to.
#[derive(Debug, Serialize)]
pub struct People {
    /// People asked for.
    pub people: Vec<Person>,
    /// How many of them there are in all.
    pub total: u64,
    /// Every team, by organisation and name.
    pub teams: Vec<UnitLine>,
    /// Every project, by organisation and name.
    pub projects: Vec<UnitLine>,
    /// Every organisation.
    pub organisations: Vec<Named>,
}

/// A person and their keys.
#[derive(Debug, Serialize)]
pub struct Person {
    /// What the directory says.
    #[serde(flatten)]
    pub user: User,
    /// Keys that are theirs, revoked ones included.
    pub keys: Vec<KeyListing>,
}

/// A team or a project.
#[derive(Debug, Serialize)]
pub struct UnitLine {
    /// Its name, and when it came to be.
    #[serde(flatten)]
    pub unit: Unit,
    /// People in it: members of a team, people with a working key of a project.
    pub members: u64,
    /// Working keys.
    pub keys: u64,
    /// Budgets and limits that only its calls draw on.
    pub budgets: Vec<BudgetLine>,
}

/// Someone to be put into the directory, as written by a person.
#[derive(Clone, Debug, Default)]
pub struct Newcomer {
    /// The name they sign in by.
    pub user_name: String,
    /// Where they belong; `None` for the reader's own organisation.
    pub organisation: Option<String>,
    /// For people to read.
    pub display_name: String,
    /// Address.
    pub email: Option<String>,
    /// What they may do.
    pub role: Option<Role>,
    /// How far that reaches.
    pub reach: ReachAsked,
    /// `TEAM`, or `ORGANISATION/TEAM`.
    pub teams: Vec<String>,
}

/// How far a role is to reach, as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReachAsked {
    /// As far as the reader's own.
    #[default]
    AsOwn,
    /// The whole installation.
    Installation,
    /// The person's organisation.
    Organisation,
}

impl ReachAsked {
    /// Reads `installation` or `organisation`.
    ///
    /// # Errors
    /// `parameter_invalid` for anything else.
    pub fn parse(text: &str) -> Result<ReachAsked, ConsoleError> {
        match text {
            "installation" => Ok(ReachAsked::Installation),
            "organisation" => Ok(ReachAsked::Organisation),
            other => Err(ConsoleError::Invalid {
                message: format!("`{other}` is not a usable `reach`"),
                hint: "It is `installation` or `organisation`.",
            }),
        }
    }

    fn of(self, organisation: &str, reader: &Reader) -> Reach {
        match self {
            ReachAsked::AsOwn => reader.reach.clone(),
            ReachAsked::Installation => Reach::Installation,
            ReachAsked::Organisation => Reach::Organisation(organisation.to_owned()),
        }
    }
}

/// A role as it is written; nothing for what their groups say.
///
/// # Errors
/// `parameter_invalid` if it is none that people can have.
pub fn role(text: Option<&str>) -> Result<Option<Role>, ConsoleError> {
    let Some(text) = text else { return Ok(None) };
    let role = text.parse::<Role>().ok().filter(|role| role.is_for_people());
    role.map(Some).ok_or_else(|| ConsoleError::Invalid {
        message: format!("`{text}` is not a role of people"),
        hint: "It is one of `owner`, `admin`, `auditor`, `finance`, `developer`, `viewer`.",
    })
}

/// Names of teams as they are written.
///
/// # Errors
/// `parameter_invalid` for one that names no team; `reach_insufficient` for a team of another organisation than the reader's.
pub fn teams<'a>(
    reader: &Reader,
    organisation: &str,
    written: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<TeamName>, ConsoleError> {
    let mut names = Vec::new();
    for text in written {
        let name = TeamName::within(organisation, text).map_err(|error| ConsoleError::Invalid {
            message: error.to_string(),
            hint: "Teams stand between commas.",
        })?;
        reader.must_reach(&name)?;
        names.push(name);
    }
    Ok(names)
}

impl Reader {
    fn must_reach(&self, team: &TeamName) -> Result<(), ConsoleError> {
        if self.reach.covers(&team.organisation) {
            return Ok(());
        }
        let why = format!("the team `{team}` lies beyond it");
        Err(ConsoleError::OutOfReach { reach: self.reach.clone(), why })
    }

    /// Roles that the reader may give and take away.
    #[must_use]
    pub fn assignable(&self) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| role.is_for_people() && self.role.may_assign(*role)).collect()
    }

    /// Refuses to give what the reader does not have: the role of an owner, or one that reaches further than theirs.
    ///
    /// # Errors
    /// `role_insufficient` or `reach_insufficient`.
    pub fn must_be_able_to_give(&self, role: Option<Role>, reach: &Reach) -> Result<(), ConsoleError> {
        if !self.reach.includes(reach) {
            let why = format!("a role that reaches {reach} would go beyond it");
            return Err(ConsoleError::OutOfReach { reach: self.reach.clone(), why });
        }
        if role.is_some_and(|role| !self.role.may_assign(role)) {
            return Err(ConsoleError::Forbidden { role: self.role, what: Permission::ChangeOwners.words() });
        }
        Ok(())
    }

    /// Refuses to decide about somebody who may do what the reader may not: an owner, or somebody who reaches further.
    ///
    /// # Errors
    /// `role_insufficient` or `reach_insufficient`.
    pub fn must_be_able_to_change(&self, user: &User) -> Result<(), ConsoleError> {
        self.must_reach_as_far_as(user)?;
        if user.role.is_some_and(|role| !self.role.may_assign(role)) {
            return Err(ConsoleError::Forbidden { role: self.role, what: "change anything about an owner" });
        }
        Ok(())
    }

    /// Refuses to decide about somebody who reaches further than the reader.
    ///
    /// # Errors
    /// `reach_insufficient`.
    pub fn must_reach_as_far_as(&self, user: &User) -> Result<(), ConsoleError> {
        if self.reach.includes(&user.reach) {
            return Ok(());
        }
        let why = format!("what `{}` may do reaches {}", user.profile.user_name, user.reach);
        Err(ConsoleError::OutOfReach { reach: self.reach.clone(), why })
    }
}

/// The people that a reader asks for, with everything they may belong to.
///
/// # Errors
/// `metastore_unavailable` if the control plane does not answer.
pub async fn list(state: &ConsoleState, reader: &Reader, asked: &PeopleQuery) -> Result<People, ConsoleError> {
    let own = reader.reach.organisation();
    let organisation = own.or(asked.organisation.as_deref());
    let filter = UserFilter { holds: asked.holds.clone(), team: asked.team.clone(), ..UserFilter::default() };
    let count = asked.count.min(MAX_PEOPLE);
    let Part { total, items } = state.metastore.list_users(organisation, &filter, asked.offset, count).await?;
    let keys = reader.keys(state).await?;
    let people = items.into_iter().map(|user| with_keys(user, &keys)).collect();

    let now_us = state.now_us();
    let working: Vec<&KeyListing> = keys.iter().filter(|key| works(key, now_us)).collect();
    let allowances = reader.budgets(state).map(|books| {
        let (lines, _) = lines(&books, now_us);
        (books, lines)
    });
    let allowances = allowances.as_ref().map(|(books, lines)| Allowances { books, lines });
    let sizes = state.metastore.team_sizes().await?;
    let covered = |unit: &Unit| reader.reach.covers(&unit.organisation);
    let team = |unit: Unit| {
        let size = sizes.iter().find(|(name, _)| name.organisation == unit.organisation && name.team == unit.name);
        let is_its = |key: &&&KeyListing| key.tenant == unit.organisation && key.team == unit.name;
        let keys = working.iter().filter(is_its).count() as u64;
        let budgets = allowances.as_ref().map(|all| all.of(&Dimension::Team, &unit)).unwrap_or_default();
        UnitLine { members: size.map_or(0, |(_, members)| *members), keys, budgets, unit }
    };
    let project = |unit: Unit| {
        let is_its = |key: &&&KeyListing| key.tenant == unit.organisation && key.project.as_ref() == Some(&unit.name);
        let own: Vec<&&KeyListing> = working.iter().filter(is_its).collect();
        let mut users: Vec<&str> = own.iter().filter_map(|key| key.user.as_deref()).collect();
        users.sort_unstable();
        users.dedup();
        let budgets = allowances.as_ref().map(|all| all.of(&Dimension::Project, &unit)).unwrap_or_default();
        UnitLine { members: users.len() as u64, keys: own.len() as u64, budgets, unit }
    };
    let mut organisations = state.metastore.list_organisations().await?;
    organisations.retain(|named| reader.reach.covers(&named.name));
    let teams = state.metastore.list_teams().await?.into_iter().filter(covered).map(team).collect();
    let projects = state.metastore.list_projects().await?.into_iter().filter(covered).map(project).collect();
    Ok(People { people, total, teams, projects, organisations })
}

/// The lines of budgets, and what their scopes are made of.
struct Allowances<'a> {
    books: &'a crate::budgets::BudgetBooks,
    lines: &'a [BudgetLine],
}

impl Allowances<'_> {
    /// Those that only calls of `unit` draw on.
    fn of(&self, dimension: &Dimension, unit: &Unit) -> Vec<BudgetLine> {
        let bundle = &self.books.bundle;
        let mut scopes = Vec::new();
        for (account, _) in &self.books.readings {
            let Some(tally) = bundle.tallies().get(account.tally) else { continue };
            let value = |dimension| value_in(&tally.dimensions, &account.scope, dimension);
            let is_here = value(&Dimension::Tenant).is_none_or(|tenant| tenant == unit.organisation);
            if is_here && value(dimension) == Some(unit.name.as_str()) {
                scopes.push(tally.scope_text(&account.scope));
            }
        }
        self.lines.iter().filter(|line| scopes.contains(&line.scope)).cloned().collect()
    }
}

pub(crate) fn works(key: &KeyListing, now_us: i64) -> bool {
    key.enabled && !key.user_inactive && key.expires_at_us.is_none_or(|end_us| end_us > now_us)
}

fn with_keys(user: User, keys: &[KeyListing]) -> Person {
    let own = keys.iter().filter(|key| user.owns(&key.tenant, key.user.as_deref())).cloned().collect();
    Person { user, keys: own }
}

/// A person who exists for the reader.
///
/// # Errors
/// `not_found` if there is none.
pub async fn find(state: &ConsoleState, reader: &Reader, id: &str) -> Result<Person, ConsoleError> {
    let found = state.metastore.user(id).await?.filter(|user| reader.reach.covers(&user.organisation));
    let user = found.ok_or_else(|| MetastoreError::Unknown { what: "user", name: id.to_owned() })?;
    Ok(with_keys(user, &reader.keys(state).await?))
}

/// Whether the reader may decide about a person at all.
#[must_use]
pub fn may_change(reader: &Reader, user: &User) -> bool {
    reader.may(Permission::ChangePeople) && reader.must_be_able_to_change(user).is_ok()
}

/// Puts someone into the directory.
///
/// # Errors
/// `already_exists` if the name is taken, `not_found` without the organisation or a team, `change_refused` if a name cannot be
/// used; `role_insufficient` or `reach_insufficient` if the reader may not give what is to be given.
pub async fn add(state: &ConsoleState, reader: &Reader, newcomer: Newcomer) -> Result<User, ConsoleError> {
    let organisation = reader.organisation(state, newcomer.organisation, "a person")?;
    let reach = newcomer.reach.of(&organisation, reader);
    reader.must_be_able_to_give(newcomer.role, &reach)?;
    let teams = teams(reader, &organisation, newcomer.teams.iter().map(String::as_str))?;
    let profile = tollgate_metastore::Profile {
        user_name: newcomer.user_name,
        external_id: None,
        display_name: newcomer.display_name,
        emails: newcomer.email.into_iter().collect(),
        active: true,
    };
    let user = NewUser { organisation, profile, role: newcomer.role, reach, teams };
    Ok(state.metastore.add_user(user, &reader.author).await?)
}

/// Changes a person as asked, all of it or nothing.
///
/// # Errors
/// `not_found` without the person or a team, `last_owner` if nobody else would be left who can make owners, `change_refused`
/// if a name cannot be used; `role_insufficient` or `reach_insufficient` if it is not the reader's to decide.
pub async fn change(state: &ConsoleState, reader: &Reader, id: &str, asked: &UserChange) -> Result<User, ConsoleError> {
    let Person { user, .. } = find(state, reader, id).await?;
    reader.must_be_able_to_change(&user)?;
    let reach = asked.reach.as_ref().unwrap_or(&user.reach);
    reader.must_be_able_to_give(asked.role.unwrap_or(user.role), reach)?;
    for name in asked.teams.iter().flatten() {
        reader.must_reach(name)?;
    }
    Ok(state.metastore.change_user(id, asked, &reader.author).await?)
}

/// The path of a link that signs a person in once, within three days.
///
/// # Errors
/// As [`change`]; `change_refused` if they have no role of their own, `sign_in_refused` if they are not active.
pub async fn invite(state: &ConsoleState, reader: &Reader, id: &str) -> Result<String, ConsoleError> {
    let Person { user, .. } = find(state, reader, id).await?;
    // Whoever makes the link could use it.
    reader.must_be_able_to_change(&user)?;
    let token = state.metastore.invite_user(id, &reader.author).await?;
    Ok(format!("/login?token={token}"))
}

/// Makes a team.
///
/// # Errors
/// `already_exists`, or `not_found` without its organisation; `reach_insufficient` if that is not the reader's.
pub async fn add_team(
    state: &ConsoleState,
    reader: &Reader,
    organisation: Option<String>,
    name: String,
) -> Result<TeamName, ConsoleError> {
    let organisation = reader.organisation(state, organisation, "a team")?;
    let name = TeamName { organisation, team: name };
    state.metastore.create_team(&name, &reader.author).await?;
    Ok(name)
}

/// Makes a project. Its organisation's name is returned.
///
/// # Errors
/// As [`add_team`].
pub async fn add_project(
    state: &ConsoleState,
    reader: &Reader,
    organisation: Option<String>,
    name: &str,
) -> Result<String, ConsoleError> {
    let organisation = reader.organisation(state, organisation, "a project")?;
    state.metastore.create_project(&organisation, name, &reader.author).await?;
    Ok(organisation)
}
