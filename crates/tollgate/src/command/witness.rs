//! `tollgate witness`: a second party's server, which cosigns checkpoints of the logs it is told of (C2SP `tlog-witness`). It
//! knows nothing of what the logs hold. What it cosigns, keeps and refuses is `tollgate_lake::witness`.

mod server;
pub(crate) mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio::net::TcpListener;
use tollgate_config::Config;
use tollgate_flush::keys::KeySource;
use tollgate_lake::witness::{self, Witness};

use crate::cli::Common;
use crate::command::serve::stop_signal;
use crate::data_dir::DataDir;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Address to listen on, instead of the configured one; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// Public key of a log to cosign, beside the configured ones; may be repeated.
    #[arg(long = "log", value_name = "VKEY")]
    logs: Vec<String>,
    /// Name of the witness's key, best a URL without its scheme; it is chosen when the key is made.
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    #[command(subcommand)]
    command: Option<WitnessCommand>,
}

#[derive(Debug, Subcommand)]
enum WitnessCommand {
    /// Prints the witness's public key, for policies; makes the key if there is none.
    Key,
}

/// Runs it.
///
/// # Errors
/// If the key, the memory of what was cosigned or the address cannot be used.
pub(crate) async fn run(common: Common, args: WitnessArgs) -> anyhow::Result<()> {
    let config = Config::load(common.config.as_deref())?;
    let data = DataDir::create(&common.data)?;
    if let Some(name) = &args.name {
        let is_name = !name.is_empty() && !name.chars().any(|letter| letter.is_whitespace() || letter == '+');
        anyhow::ensure!(is_name, "`{name}` cannot name a key: it must have no spaces and no `+`");
    }
    let source = KeySource::variable_or_file("TOLLGATE_WITNESS_KEY", data.join("witness/witness.key"));
    let key = witness::key(&source, args.name.as_deref())?;
    if let Some(WitnessCommand::Key) = args.command {
        terminal::line(&key.public);
        return Ok(());
    }
    let logs = [config.witness.logs, args.logs].concat();
    anyhow::ensure!(
        !logs.is_empty(),
        "a witness needs a log to cosign; give its public key, which `tollgate audit key` prints there, with `--log` or in \
         `witness.logs`"
    );
    let witness = Arc::new(Witness::open(&data.join("witness"), &key, &logs)?);
    let wanted = args.listen.map_or(config.witness.listen.value, |address| address.to_string());
    let listener = TcpListener::bind(&wanted).await;
    let listener = listener.with_context(|| format!("listening on `{wanted}`; is another server there?"))?;
    let url = format!("http://{}", listener.local_addr()?);
    if common.json {
        let line = serde_json::json!({"url": url, "key": key.public, "process_id": std::process::id()});
        terminal::line(&line.to_string());
    } else {
        terminal::line(&format!(
            "  witness   {url}\n  key       {}\n  logs      {}",
            key.public,
            logs.join("\n            ")
        ));
    }
    server::serve(listener, witness, stop_signal()).await;
    Ok(())
}
