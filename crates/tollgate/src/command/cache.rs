//! `tollgate cache`: the answers that are kept to be given again. The running server is asked if there is one, since it alone
//! may touch the file meanwhile.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use tollgate_config::Config;
use tollgate_console::answers::{PurgeOrder, Purged};
use tollgate_gateway::CacheStats;
use tollgate_gateway::cache;
use tollgate_interaction::InteractionId;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::remote::Remote;
use crate::{terminal, wire};

/// What about the cache.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Shows how many answers there are, what they take, and how often they were given again.
    Status,
    /// Forgets answers, and leaves no byte of them in the file.
    Purge(PurgeArgs),
}

/// Which answers: those for which everything holds that is said.
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// Of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// First given to a call of this team.
    #[arg(long)]
    team: Option<String>,
    /// First given to this end user (`user_ref` in the log) or this virtual key (its id).
    #[arg(long, value_name = "USER_REF|KEY_ID")]
    subject: Option<String>,
    /// Asked for under this name of a model or alias.
    #[arg(long)]
    model: Option<String>,
    /// First given to the call with this id (`cached_from` in the log of those who got it again).
    #[arg(long, value_name = "ID")]
    interaction: Option<InteractionId>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["tenant", "team", "subject", "model", "interaction"])]
    all: bool,
}

/// Runs it.
///
/// # Errors
/// If neither a server answers nor the file can be used.
pub(crate) async fn run(common: Common, command: CacheCommand) -> anyhow::Result<()> {
    let config = Config::load(common.config.as_deref())?;
    let data = DataDir::of_command(&common.data)?;
    let (remote, folder) = (Remote::find(None, &data)?, config.cache_settings(data.path()).folder);
    match command {
        CacheCommand::Status => {
            let stats = match &remote {
                Some(remote) => {
                    let answer = remote.get("/api/v1/cache", "application/json").await?;
                    serde_json::from_slice(&answer).context("the server's answer is not the state of a cache")?
                }
                None => {
                    CacheStats { max_bytes: config.cache_settings(data.path()).max_bytes, ..cache::look_at(&folder)? }
                }
            };
            if common.json {
                terminal::line(&serde_json::to_string(&stats)?);
            } else {
                lines(&stats, remote.is_some()).iter().for_each(|line| terminal::line(line));
            }
        }
        CacheCommand::Purge(PurgeArgs { tenant, team, subject, model, interaction, all }) => {
            let interaction = interaction.map(|id| id.to_string());
            let order = PurgeOrder { tenant, team, subject, model, interaction, all, actor: String::new() };
            if !order.names_some() && !all {
                bail!(
                    "say which answers to forget, by --tenant, --team, --subject, --model or --interaction, or --all of them"
                );
            }
            let purged = match &remote {
                Some(remote) => {
                    let body = serde_json::to_value(&order)?;
                    let answer = remote.post("/api/v1/cache/purge", &body, "application/json").await?;
                    serde_json::from_slice(&answer).context("the server's answer does not say what is gone")?
                }
                None => Purged { answers: cache::purge_at(&folder, &wire::which(order.clone()))? },
            };
            if common.json {
                terminal::line(&serde_json::to_string(&purged)?);
            } else {
                let answers = if purged.answers == 1 { "answer is" } else { "answers are" };
                terminal::line(&format!("{} {answers} forgotten: {}", purged.answers, wire::about(&order)));
            }
        }
    }
    Ok(())
}

fn lines(stats: &CacheStats, is_running: bool) -> Vec<String> {
    let mut lines = vec![format!(
        "{} answers take {} of {} bytes; the file has {}",
        stats.entries, stats.taken_bytes, stats.max_bytes, stats.file_bytes
    )];
    if !is_running {
        lines.push("no server runs on this data directory".to_owned());
        return lines;
    }
    let consequence = match (stats.is_usable, stats.is_full) {
        (false, _) => "the file cannot be used just now, and is tried again: calls go to their providers",
        (true, true) => "what there is is given again, nothing is added until there is room",
        (true, false) => "no answer has been written since, but it is tried",
    };
    if let Some(trouble) = &stats.trouble {
        lines.push(format!("{trouble}; {consequence}"));
    } else if !stats.is_usable {
        lines.push(consequence.to_owned());
    }
    let hits = stats.exact_hits + stats.semantic_hits;
    lines.push(format!(
        "since the start: {hits} calls answered again ({} of them in other words), {} misses, {} went past it",
        stats.semantic_hits, stats.misses, stats.bypassed
    ));
    lines.push(format!(
        "{} stored, {} evicted, {} not stored, {} damaged, {} failures of the disk, {} of the embedding model",
        stats.stored, stats.evicted, stats.not_stored, stats.damaged, stats.failures, stats.embedding_failures
    ));
    lines
}
