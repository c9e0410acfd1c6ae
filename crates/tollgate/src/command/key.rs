//! `tollgate key`: virtual keys. Works beside a running server, which notices within a second.

use clap::{Args, Subcommand};
use tollgate_metastore::NewKey;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};
use tollgate_config::Config;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Creates a key and prints it, once.
    Create(CreateArgs),
    /// Lists the keys, without their secrets.
    List,
    /// Revokes a key, at once and for good.
    Revoke {
        /// Id of the key, as listed.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What a person calls it.
    name: String,
    /// Team whose budget it draws on.
    #[arg(long, default_value = "default")]
    team: String,
    /// Organisation.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// Project.
    #[arg(long)]
    project: Option<String>,
}

pub(crate) async fn run(common: Common, command: KeyCommand) -> anyhow::Result<()> {
    let data = DataDir::of_command(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let metastore = wire::open_metastore(&config, &data).await?;
    match command {
        KeyCommand::Create(args) => {
            let key = NewKey { name: args.name, tenant: args.tenant, project: args.project, team: args.team };
            let created = metastore.create_key(key).await?;
            if common.json {
                terminal::line(&serde_json::json!({"id": created.id, "key": created.secret}).to_string());
            } else {
                terminal::line(&created.secret);
                terminal::note(&format!("key `{}`; it is shown this once and only its hash is kept", created.id));
            }
        }
        KeyCommand::List => {
            let keys = metastore.list_keys().await?;
            if common.json {
                terminal::line(&serde_json::to_string(&keys)?);
            } else {
                for key in keys {
                    let state = if key.enabled { "" } else { "  (revoked)" };
                    terminal::line(&format!("{}  {}  team {}{state}", key.id, key.name, key.team));
                }
            }
        }
        KeyCommand::Revoke { id } => {
            metastore.revoke_key(&id).await?;
            terminal::note(&format!("key `{id}` is revoked"));
        }
    }
    Ok(())
}
