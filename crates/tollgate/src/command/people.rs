//! `tollgate user` and `tollgate team`: who there is and what they may do. Works beside a running server.

use clap::{Subcommand, ValueEnum};
use tollgate_metastore::{
    LOCAL_AUTHOR, Metastore, MetastoreError, Profile, Reach, Role, TeamName, User, UserChange, UserFilter, find_person,
};

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};
use tollgate_config::Config;

/// Organisation of people and teams that are written without one.
const DEFAULT_ORGANISATION: &str = "default";
/// People listed at once; an installation has fewer, or a provider that keeps them.
const MAX_LISTED: u32 = 100_000;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Lists the people of an organisation.
    List {
        /// Organisation.
        #[arg(long, default_value = DEFAULT_ORGANISATION)]
        organisation: String,
    },
    /// Puts a person into the directory before they come.
    Create {
        /// The name they sign in by.
        name: String,
        /// Organisation.
        #[arg(long, default_value = DEFAULT_ORGANISATION)]
        organisation: String,
    },
    /// Gives a person a role, which goes before what their groups say, or takes it away; they sign in again.
    Role {
        /// Their id, or the name they sign in by, their e-mail or display name where that is theirs alone.
        user: String,
        /// owner, admin, auditor, finance, developer or viewer; without it, what their groups say.
        role: Option<Role>,
    },
    /// Says how far a person's role reaches; they sign in again.
    Reach {
        /// Their id, or the name they sign in by, their e-mail or display name where that is theirs alone.
        user: String,
        /// The whole installation, or their organisation alone.
        reach: ReachArg,
    },
    /// Makes a person a member of these teams and no others.
    Teams {
        /// Their id, or the name they sign in by, their e-mail or display name where that is theirs alone.
        user: String,
        /// `TEAM` or `ORGANISATION/TEAM`.
        #[arg(value_parser = team)]
        teams: Vec<TeamName>,
    },
    /// Removes a person: they are signed out and their keys are revoked.
    Remove {
        /// Their id, or the name they sign in by, their e-mail or display name where that is theirs alone.
        user: String,
    },
}

/// How far a role reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReachArg {
    /// Everywhere.
    Installation,
    /// The person's organisation.
    Organisation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TeamCommand {
    /// Lists the teams.
    List,
    /// Creates a team. Teams also come to be with the first key that names them.
    Create {
        /// `TEAM` or `ORGANISATION/TEAM`.
        #[arg(value_parser = team)]
        team: TeamName,
    },
}

pub(crate) async fn user(common: Common, command: UserCommand) -> anyhow::Result<()> {
    let metastore = open(&common).await?;
    match command {
        UserCommand::List { organisation } => {
            let people = metastore.list_users(Some(&organisation), &UserFilter::default(), 0, MAX_LISTED).await?;
            if common.json {
                terminal::line(&serde_json::to_string(&people.items)?);
            } else {
                people.items.iter().for_each(|user| terminal::line(&as_line(user)));
            }
        }
        UserCommand::Create { name, organisation } => {
            let profile = Profile { user_name: name, active: true, ..Profile::default() };
            let user = metastore.create_user(&organisation, profile, LOCAL_AUTHOR).await?;
            terminal::line(&if common.json { serde_json::to_string(&user)? } else { user.id });
        }
        UserCommand::Role { user, role } => {
            let user = person(metastore.as_ref(), &user).await?;
            metastore.set_user_role(&user.id, role, LOCAL_AUTHOR).await?;
            let role = role.map_or("what their groups say", Role::as_str);
            terminal::note(&format!("{} is {role} from the next sign-in on", called(&user)));
        }
        UserCommand::Reach { user, reach } => {
            let user = person(metastore.as_ref(), &user).await?;
            let reach = match reach {
                ReachArg::Installation => Reach::Installation,
                ReachArg::Organisation => Reach::Organisation(user.organisation.clone()),
            };
            let change = UserChange { reach: Some(reach.clone()), ..UserChange::default() };
            metastore.change_user(&user.id, &change, LOCAL_AUTHOR).await?;
            terminal::note(&format!("what {} may do reaches {reach} from the next sign-in on", called(&user)));
        }
        UserCommand::Teams { user, teams } => {
            let user = person(metastore.as_ref(), &user).await?;
            metastore.set_teams(&user.id, &teams, LOCAL_AUTHOR).await?;
            terminal::note(&format!("{} is a member of {} teams", called(&user), teams.len()));
        }
        UserCommand::Remove { user } => {
            let user = person(metastore.as_ref(), &user).await?;
            metastore.delete_user(&user.id, LOCAL_AUTHOR).await?;
            terminal::note(&format!("{} is removed", called(&user)));
        }
    }
    Ok(())
}

pub(crate) async fn teams(common: Common, command: TeamCommand) -> anyhow::Result<()> {
    let metastore = open(&common).await?;
    match command {
        TeamCommand::List => {
            let teams = metastore.list_teams().await?;
            if common.json {
                terminal::line(&serde_json::to_string(&teams)?);
            } else {
                teams.iter().for_each(|team| terminal::line(&format!("{}/{}", team.organisation, team.name)));
            }
        }
        TeamCommand::Create { team } => {
            metastore.create_team(&team, LOCAL_AUTHOR).await?;
            terminal::note(&format!("team `{team}` is there"));
        }
    }
    Ok(())
}

async fn open(common: &Common) -> anyhow::Result<std::sync::Arc<dyn Metastore>> {
    let data = DataDir::of_command(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    wire::open_metastore(&config, &data).await
}

/// The one person of the directory whom `text` names.
///
/// # Errors
/// If it names nobody, or several.
async fn person(metastore: &dyn Metastore, text: &str) -> anyhow::Result<User> {
    let people = metastore.list_users(None, &UserFilter::default(), 0, MAX_LISTED).await?;
    Ok(find_person(&people.items, text)?.clone())
}

/// The name that somebody of an organisation signs in by, who is named by that or in another way. A name that nobody there has
/// is left as it is: the metastore decides what becomes of it.
///
/// # Errors
/// If it names several people.
pub(crate) async fn sign_in_name(
    metastore: &dyn Metastore,
    organisation: &str,
    text: String,
) -> anyhow::Result<String> {
    let people = metastore.list_users(Some(organisation), &UserFilter::default(), 0, MAX_LISTED).await?;
    if people.items.iter().any(|user| user.owns(organisation, Some(&text))) {
        return Ok(text);
    }
    if people.items.is_empty() {
        terminal::note(&format!(
            "the directory knows nobody of organisation `{organisation}`, so the name `{text}` is not checked"
        ));
    }
    match find_person(&people.items, &text) {
        Ok(user) => Ok(user.profile.user_name.clone()),
        Err(MetastoreError::UnknownUser { .. }) => Ok(text),
        Err(error) => Err(error.into()),
    }
}

/// How a person is called in a sentence.
fn called(user: &User) -> String {
    format!("{} (`{}` of `{}`)", user.profile.user_name, user.id, user.organisation)
}

fn as_line(user: &User) -> String {
    let role = user.role.map_or("(by groups)", Role::as_str);
    let teams: Vec<&str> = user.teams.iter().map(|name| name.team.as_str()).collect();
    let reach = user.reach.organisation().map(|name| format!(" of {name}")).unwrap_or_default();
    let state = if user.profile.active { "" } else { "  (not active)" };
    format!("{}  {}  {role}{reach}  {}{state}", user.id, user.profile.user_name, teams.join(", "))
}

/// Reads `TEAM` or `ORGANISATION/TEAM`.
///
/// # Errors
/// In words for the command line.
pub(crate) fn team(text: &str) -> Result<TeamName, String> {
    TeamName::within(DEFAULT_ORGANISATION, text).map_err(|error| error.to_string())
}
