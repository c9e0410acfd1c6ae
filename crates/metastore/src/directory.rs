//! Who there is: organisations, teams, projects, people and groups, after the core schema of SCIM (RFC 7643), so that an
//! identity provider can keep them up to date. Organisations, teams and projects are known by their names, which are what
//! rows of the log carry; people and groups have ids, because their names change.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::MetastoreError;
use crate::key::acceptable;
use crate::reach::Reach;
use crate::role::Role;
use crate::session::Session;

/// A team of an organisation; written `organisation/team`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TeamName {
    /// The organisation, which is the tenant of rows in the log.
    pub organisation: String,
    /// The team's own name.
    pub team: String,
}

/// A text that names no team.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` names no team; write `TEAM`, or `ORGANISATION/TEAM`")]
pub struct ParseTeamError {
    /// What was given.
    pub text: String,
}

/// A name and when it came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
}

/// A team or project as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Organisation it belongs to.
    pub organisation: String,
    /// Its name within the organisation.
    pub name: String,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
}

/// What an identity provider knows of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name they sign in by; unique in the organisation, whatever its case.
    pub user_name: String,
    /// The provider's own id.
    #[serde(default)]
    pub external_id: Option<String>,
    /// For people to read; may be empty.
    #[serde(default)]
    pub display_name: String,
    /// Addresses, the first one first.
    #[serde(default)]
    pub emails: Vec<String>,
    /// Whether they may do anything at all.
    pub active: bool,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Identifies them everywhere.
    pub id: String,
    /// Where they belong.
    pub organisation: String,
    /// What is known of them.
    pub profile: Profile,
    /// What they may do; `None`: only what their groups say when they sign in.
    pub role: Option<Role>,
    /// How far that reaches, whatever it comes from.
    pub reach: Reach,
    /// Teams they are members of.
    pub teams: Vec<TeamName>,
    /// Names of groups they are in.
    pub groups: Vec<String>,
    /// When they last signed in; `None` if they never did. Microseconds since 1970, UTC.
    pub signed_in_at_us: Option<i64>,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// Microseconds since 1970, UTC.
    pub changed_at_us: i64,
}

/// A person to be put into the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewUser {
    /// Where they belong.
    pub organisation: String,
    /// What is known of them.
    pub profile: Profile,
    /// What they may do; `None`: only what their groups say.
    pub role: Option<Role>,
    /// How far that reaches: the installation, or their own organisation.
    pub reach: Reach,
    /// Teams they are members of.
    pub teams: Vec<TeamName>,
}

/// What is to be different of a person; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// What they may do; `Some(None)`: only what their groups say.
    pub role: Option<Option<Role>>,
    /// How far that reaches.
    pub reach: Option<Reach>,
    /// The teams they are members of, and no others.
    pub teams: Option<Vec<TeamName>>,
    /// Whether they may do anything at all.
    pub active: Option<bool>,
    /// For people to read; may be empty.
    pub display_name: Option<String>,
}

/// A group as an identity provider keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Identifies it everywhere.
    pub id: String,
    /// Where it belongs.
    pub organisation: String,
    /// Its name, which the configuration gives a role to.
    pub display_name: String,
    /// The provider's own id.
    pub external_id: Option<String>,
    /// Ids of the users in it.
    pub members: Vec<String>,
    /// Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// Microseconds since 1970, UTC.
    pub changed_at_us: i64,
}

/// What a group is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its name.
    pub display_name: String,
    /// The provider's own id.
    pub external_id: Option<String>,
    /// Ids of the users in it.
    pub members: Vec<String>,
}

/// Which people are asked for. Empty fields do not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// With this name, whatever its case.
    pub user_name: Option<String>,
    /// With this id of the provider's.
    pub external_id: Option<String>,
    /// With this in their name or display name, whatever its case.
    pub holds: Option<String>,
    /// Members of this team.
    pub team: Option<TeamName>,
}

/// Some of a list, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// All there are.
    pub total: u64,
    /// Those asked for.
    pub items: Vec<T>,
}

/// Someone whom an identity provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Where they belong.
    pub organisation: String,
    /// What the provider says of them; `external_id` tells who they are.
    pub profile: Profile,
    /// What their groups make them; `None` leaves it to what the directory says.
    pub role: Option<Role>,
    /// How far it reaches if the directory does not know them yet.
    pub reach: Reach,
    /// Teams their groups make them members of.
    pub teams: Vec<TeamName>,
    /// The last moment the session may last to. Microseconds since 1970, UTC.
    pub until_us: Option<i64>,
}

/// The people of an installation. Part of [`crate::Metastore`].
///
/// # Errors
/// Every method fails with [`MetastoreError::Query`] if the database does; what else can go wrong is said at the method.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Creates an organisation. [`MetastoreError::Exists`] if there is one of this name.
    async fn create_organisation(&self, name: &str, author: &str) -> Result<(), MetastoreError>;

    /// Every organisation, by name.
    async fn list_organisations(&self) -> Result<Vec<Named>, MetastoreError>;

    /// Creates a team. [`MetastoreError::Exists`] if there is one; [`MetastoreError::Unknown`] without its organisation.
    async fn create_team(&self, name: &TeamName, author: &str) -> Result<(), MetastoreError>;

    /// Every team, by organisation and name.
    async fn list_teams(&self) -> Result<Vec<Unit>, MetastoreError>;

    /// Creates a project. [`MetastoreError::Exists`] if there is one; [`MetastoreError::Unknown`] without its organisation.
    async fn create_project(&self, organisation: &str, name: &str, author: &str) -> Result<(), MetastoreError>;

    /// Every project, by organisation and name.
    async fn list_projects(&self) -> Result<Vec<Unit>, MetastoreError>;

    /// How many people each team has, of those that have any.
    async fn team_sizes(&self) -> Result<Vec<(TeamName, u64)>, MetastoreError>;

    /// Creates a person. [`MetastoreError::Exists`] if the name is taken; [`MetastoreError::Unknown`] without the
    /// organisation or a team; [`MetastoreError::Unacceptable`] if the name, the role or its reach cannot be used.
    async fn add_user(&self, user: NewUser, author: &str) -> Result<User, MetastoreError>;

    /// [`Directory::add_user`] without a role and of no team.
    async fn create_user(&self, organisation: &str, profile: Profile, author: &str) -> Result<User, MetastoreError> {
        let organisation = organisation.to_owned();
        self.add_user(NewUser { organisation, profile, ..NewUser::default() }, author).await
    }

    /// Replaces what is known of a person. One who is no longer active is signed out and their keys stop.
    /// [`MetastoreError::Unknown`] if there is none; [`MetastoreError::Exists`] if the name is taken.
    async fn put_user(&self, id: &str, profile: Profile, author: &str) -> Result<User, MetastoreError>;

    /// Removes a person, their sessions and memberships. Their keys stop. [`MetastoreError::Unknown`] if there is none.
    async fn delete_user(&self, id: &str, author: &str) -> Result<(), MetastoreError>;

    /// The person with this id.
    async fn user(&self, id: &str) -> Result<Option<User>, MetastoreError>;

    /// People of an organisation, or of all, by organisation and name: `count` of them after the first `offset`.
    async fn list_users(
        &self,
        organisation: Option<&str>,
        filter: &UserFilter,
        offset: u32,
        count: u32,
    ) -> Result<Part<User>, MetastoreError>;

    /// Changes a person as asked, all of it or nothing, and signs them out if what they may do is different.
    /// [`MetastoreError::Unknown`] if there is no such person or team; [`MetastoreError::LastOwner`] if nobody else would be
    /// left who can make owners as far as they can.
    async fn change_user(&self, id: &str, change: &UserChange, author: &str) -> Result<User, MetastoreError>;

    /// Gives a person a role, or none. As [`Directory::change_user`].
    async fn set_user_role(&self, id: &str, role: Option<Role>, author: &str) -> Result<(), MetastoreError> {
        let change = UserChange { role: Some(role), ..UserChange::default() };
        self.change_user(id, &change, author).await.map(|_| ())
    }

    /// Makes a person a member of these teams and no others. As [`Directory::change_user`].
    async fn set_teams(&self, id: &str, teams: &[TeamName], author: &str) -> Result<(), MetastoreError> {
        let change = UserChange { teams: Some(teams.to_vec()), ..UserChange::default() };
        self.change_user(id, &change, author).await.map(|_| ())
    }

    /// Creates a group. [`MetastoreError::Exists`] if the name is taken; [`MetastoreError::Unknown`] for a member or
    /// organisation that there is not.
    async fn create_group(&self, organisation: &str, facts: GroupFacts, author: &str) -> Result<Group, MetastoreError>;

    /// Replaces a group. As [`Directory::create_group`].
    async fn put_group(&self, id: &str, facts: GroupFacts, author: &str) -> Result<Group, MetastoreError>;

    /// Removes a group. [`MetastoreError::Unknown`] if there is none.
    async fn delete_group(&self, id: &str, author: &str) -> Result<(), MetastoreError>;

    /// The group with this id.
    async fn group(&self, id: &str) -> Result<Option<Group>, MetastoreError>;

    /// Groups of an organisation by name, with this name if one is given: `count` of them after the first `offset`.
    async fn list_groups(
        &self,
        organisation: &str,
        display_name: Option<&str>,
        offset: u32,
        count: u32,
    ) -> Result<Part<Group>, MetastoreError>;

    /// Opens a session for someone a provider vouches for, whom it creates or brings up to date.
    /// [`MetastoreError::SignInRefused`] if they are not active here, or nothing gives them a role.
    async fn sign_in(&self, who: SignIn) -> Result<Session, MetastoreError>;
}

impl User {
    /// Whether a key of this organisation for this user name is theirs.
    #[must_use]
    pub fn owns(&self, tenant: &str, user_name: Option<&str>) -> bool {
        self.organisation == tenant && user_name.is_some_and(|name| name.to_lowercase() == self.profile.key())
    }
}

impl User {
    /// Whether there is something that only one of the two may do.
    pub(crate) fn may_do_other_things_than(&self, other: &User) -> bool {
        let of = |user: &User| (user.role, user.reach.clone(), user.teams.clone(), user.profile.active);
        of(self) != of(other)
    }

    /// What has happened to `before` that makes it this, as events with their details.
    pub(crate) fn differences_from(&self, before: &User) -> Vec<(&'static str, String)> {
        let mut events = Vec::new();
        if self.profile != before.profile {
            let detail = match (before.profile.active, self.profile.active) {
                (true, false) => "deactivated",
                (false, true) => "activated",
                _ => "",
            };
            events.push(("user.changed", detail.to_owned()));
        }
        if self.role != before.role {
            events.push(("user.role_set", self.role.map_or("none", Role::as_str).to_owned()));
        }
        if self.reach != before.reach {
            events.push(("user.reach_set", self.reach.to_string()));
        }
        if self.teams != before.teams {
            let names: Vec<String> = self.teams.iter().map(TeamName::to_string).collect();
            events.push(("user.teams_set", names.join(", ")));
        }
        events
    }
}

impl UserChange {
    /// What `user` is to be.
    pub(crate) fn applied_to(&self, user: &User) -> User {
        let mut after = user.clone();
        if let Some(role) = self.role {
            after.role = role;
        }
        if let Some(reach) = &self.reach {
            after.reach = reach.clone();
        }
        if let Some(teams) = &self.teams {
            after.teams.clone_from(teams);
            after.teams.sort();
            after.teams.dedup();
        }
        if let Some(active) = self.active {
            after.profile.active = active;
        }
        if let Some(name) = &self.display_name {
            after.profile.display_name.clone_from(name);
        }
        after
    }
}

/// # Errors
/// [`MetastoreError::Unacceptable`] if people cannot have this role; [`MetastoreError::ForeignReach`] if it is to reach
/// another organisation than theirs.
pub(crate) fn check_role(organisation: &str, role: Option<Role>, reach: &Reach) -> Result<(), MetastoreError> {
    if let Some(role) = role.filter(|role| !role.is_for_people()) {
        return Err(MetastoreError::Unacceptable { what: "role of a user", value: role.to_string() });
    }
    match reach.organisation() {
        Some(other) if other != organisation => {
            Err(MetastoreError::ForeignReach { organisation: organisation.to_owned(), other: other.to_owned() })
        }
        _ => Ok(()),
    }
}

impl Profile {
    pub(crate) fn check(&self) -> Result<(), MetastoreError> {
        acceptable("name of a user", &self.user_name)?;
        for (what, text) in [
            ("id of a user", self.external_id.as_deref().unwrap_or("-")),
            ("display name of a user", if self.display_name.is_empty() { "-" } else { &self.display_name }),
        ] {
            acceptable(what, text)?;
        }
        self.emails.iter().try_for_each(|email| acceptable("address of a user", email))
    }

    /// What tells two people apart.
    pub(crate) fn key(&self) -> String {
        self.user_name.to_lowercase()
    }
}

impl GroupFacts {
    pub(crate) fn check(&self) -> Result<(), MetastoreError> {
        acceptable("name of a group", &self.display_name)?;
        self.external_id.as_deref().map_or(Ok(()), |id| acceptable("id of a group", id))
    }
}

impl TeamName {
    /// Reads `ORGANISATION/TEAM`, or `TEAM` of `organisation`.
    ///
    /// # Errors
    /// [`ParseTeamError`] if a part is empty.
    pub fn within(organisation: &str, text: &str) -> Result<TeamName, ParseTeamError> {
        let (organisation, team) = text.split_once('/').unwrap_or((organisation, text));
        if organisation.is_empty() || team.is_empty() {
            return Err(ParseTeamError { text: text.to_owned() });
        }
        Ok(TeamName { organisation: organisation.to_owned(), team: team.to_owned() })
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organisation, self.team)
    }
}

impl FromStr for TeamName {
    type Err = ParseTeamError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TeamName::within("", text)
    }
}
