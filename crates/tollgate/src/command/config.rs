//! `tollgate config`: checks a configuration file and prints its schema.

use anyhow::Context as _;
use clap::Subcommand;

use crate::cli::Common;
use crate::{terminal, wire};
use tollgate_config::Config;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Reads the file named by --config, and the policies it names, and reports the first mistake.
    Check,
    /// Prints the JSON Schema of the file, for editors.
    Schema,
}

pub(crate) fn run(common: Common, command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check => {
            let path = common.config.context("name the file to check with --config")?;
            let config = Config::load(Some(&path))?;
            super::serve::doubt(&config, Some(&path));
            wire::PolicyFile::read(&config)?;
            wire::read_witness_policy(&config)?;
            config.price_book(&common.data)?;
            if common.json {
                terminal::line(&serde_json::json!({"file": path, "valid": true}).to_string());
            } else {
                terminal::line(&format!("{}: no mistake found", path.display()));
            }
        }
        ConfigCommand::Schema => {
            terminal::line(&serde_json::to_string_pretty(&schemars::schema_for!(Config))?);
        }
    }
    Ok(())
}
