//! `tollgate token`: API tokens for the console, the command line and sidecars.

use anyhow::bail;
use clap::Subcommand;
use tollgate_metastore::{Grant, LOCAL_AUTHOR, Reach, Role, TeamName};

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};
use tollgate_config::Config;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Creates a token and prints it, once.
    Create {
        /// What its holder may do: owner, admin, auditor, finance, developer, viewer or sidecar.
        #[arg(long)]
        role: Role,
        /// Team whose rows a developer's token may see, as `TEAM` or `ORGANISATION/TEAM`; may be repeated.
        #[arg(long = "team", value_name = "TEAM", value_parser = super::people::team)]
        teams: Vec<TeamName>,
        /// The one organisation that exists for its holder. Default: the whole installation.
        #[arg(long, alias = "tenant", value_name = "NAME")]
        organisation: Option<String>,
        /// What a person calls it.
        #[arg(long, default_value = "")]
        name: String,
    },
}

pub(crate) async fn run(common: Common, command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Create { role, teams, organisation, name } = command;
    if role.is_bound_to_teams() && teams.is_empty() {
        bail!("a token of role `{role}` sees the rows of its teams alone; name them with `--team`");
    }
    if !role.is_bound_to_teams() && !teams.is_empty() {
        bail!("a token of role `{role}` sees every team; leave `--team` out, or use the role `developer`");
    }
    if !role.is_for_people() && organisation.is_some() {
        bail!("a token of role `{role}` downloads what every organisation has; leave `--organisation` out");
    }
    let reach = organisation.map_or(Reach::Installation, Reach::Organisation);
    if let Some(team) = teams.iter().find(|team| !reach.covers(&team.organisation)) {
        bail!("team `{team}` is of another organisation than `--organisation` says");
    }
    let grant = Grant { role, teams, reach };
    let data = DataDir::of_command(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let metastore = wire::open_metastore(&config, &data).await?;
    let token = metastore.create_api_token_by(&grant, &name, LOCAL_AUTHOR).await?;
    if common.json {
        terminal::line(&serde_json::json!({"token": token}).to_string());
    } else {
        terminal::line(&token);
        terminal::note("the token is shown this once and only its hash is kept");
    }
    Ok(())
}
