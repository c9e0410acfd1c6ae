//! `tollgate token`: API tokens for the console, the command line and sidecars.

use clap::{Subcommand, ValueEnum};
use tollgate_metastore::Role;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};
use tollgate_config::Config;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Creates a token and prints it, once.
    Create {
        /// What its holder may do.
        #[arg(long, value_enum)]
        role: RoleName,
    },
}

/// A role, as written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleName {
    /// Everything.
    Admin,
    /// Reading everything, content included.
    Auditor,
    /// Reading figures.
    Viewer,
    /// Downloading keys, policy and signals.
    Sidecar,
}

pub(crate) async fn run(common: Common, command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Create { role } = command;
    let data = DataDir::of_command(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let metastore = wire::open_metastore(&config, &data).await?;
    let token = metastore.create_api_token(role_of(role)).await?;
    if common.json {
        terminal::line(&serde_json::json!({"token": token}).to_string());
    } else {
        terminal::line(&token);
        terminal::note("the token is shown this once and only its hash is kept");
    }
    Ok(())
}

fn role_of(name: RoleName) -> Role {
    match name {
        RoleName::Admin => Role::Admin,
        RoleName::Auditor => Role::Auditor,
        RoleName::Viewer => Role::Viewer,
        RoleName::Sidecar => Role::Sidecar,
    }
}
