//! `tollgate demo`: everything running, with a month behind it. The providers are the built-in sandbox under other names,
//! so nothing leaves the machine and nothing is spent; history goes through the log like every call, marked
//! `source = 'demo'`.

mod history;
mod scene;
mod trickle;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tollgate_config::Config;
use tollgate_metastore::NewKey;

use crate::cli::Common;
use crate::command::serve;
use crate::data_dir::DataDir;
use crate::terminal;
use crate::wire::{Node, NodeOptions};

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Days of history.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Calls a minute of live traffic; 0 for none.
    #[arg(long, default_value_t = 30)]
    calls_per_minute: u32,
    /// Address of the gateway; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// Address of the console; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) console: Option<String>,
}

impl DemoArgs {
    /// The same, listening at `addresses` where these leave that open.
    pub(crate) fn at(self, addresses: serve::ServeArgs) -> DemoArgs {
        let serve::ServeArgs { gateway, console } = addresses;
        DemoArgs { gateway: self.gateway.or(gateway), console: self.console.or(console), ..self }
    }
}

/// Where the demo keeps its data unless `--data` says otherwise: never among real records.
const DEMO_DATA: &str = "tollgate-demo";
/// Its configuration, kept in the data directory so that commands can be given it.
const DEMO_CONFIG: &str = "demo.yaml";
/// Left in the data directory once the history is in the log, so that a second start does not write it again.
const HISTORY_NOTE: &str = "demo-history";

pub(crate) async fn run(common: Common, args: DemoArgs) -> anyhow::Result<()> {
    let default = common.data == Path::new("tollgate-data");
    let path = if default { PathBuf::from(DEMO_DATA) } else { common.data.clone() };
    let config = Config::parse(scene::CONFIG, PathBuf::from("."), |_| None)?;
    let data = DataDir::create(&path)?;
    data.write_private(DEMO_CONFIG, scene::CONFIG.trim_start().as_bytes())?;
    let seen_with = Common { config: Some(path.join(DEMO_CONFIG)), data: path.clone(), ..common.clone() };
    let options = NodeOptions { gateway: args.gateway, console: args.console, program: seen_with.program() };
    let node = Node::start(&config, data.clone(), &options).await?;
    if !data.join(HISTORY_NOTE).exists() {
        // Removed first, should a previous start have died half-way: it would be written twice otherwise.
        let written = history::write(&node.appender, args.days, chrono::Utc::now().timestamp_micros())?;
        data.write_private(HISTORY_NOTE, written.to_string().as_bytes())?;
        if !common.json {
            terminal::note(&format!("{written} calls of the last {} days are in the log", args.days));
        }
    }
    let keys = keys_of_teams(&node).await.context("making the teams' keys")?;
    if common.json {
        terminal::line(&serve::as_json(&node));
    } else {
        terminal::line(&format!(
            "\nTollgate demo\n\n  gateway   {}/v1\n  console   {}\n            (the link signs you in once)\n  data      {}\n            (commands see it as `{} …`)\n",
            node.gateway_url,
            node.login_url,
            path.display(),
            seen_with.program()
        ));
    }
    let stop = CancellationToken::new();
    let trickle = trickle::run(node.gateway_url.clone(), keys, args.calls_per_minute, stop.clone());
    let serving = async {
        let result = node.run_until(serve::stop_signal()).await;
        stop.cancel();
        result
    };
    let (served, ()) = tokio::join!(serving, trickle);
    served
}

/// A fresh key for each team; those of earlier starts are revoked, since their secrets are gone.
async fn keys_of_teams(node: &Node) -> anyhow::Result<Vec<(&'static scene::Team, String)>> {
    for key in node.metastore.list_keys().await? {
        if key.name == scene::LIVE_KEY_NAME && key.enabled {
            node.metastore.revoke_key(&key.id).await?;
        }
    }
    let mut keys = Vec::new();
    for team in scene::TEAMS {
        let key = NewKey {
            name: scene::LIVE_KEY_NAME.to_owned(),
            tenant: scene::TENANT.to_owned(),
            project: Some(team.project.to_owned()),
            team: team.name.to_owned(),
            ..NewKey::default()
        };
        keys.push((team, node.metastore.create_key(key).await?.secret));
    }
    // The gateway looks for new keys twice a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(keys)
}
