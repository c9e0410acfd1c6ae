//! `tollgate serve`: everything in one process.

use std::path::Path;

use clap::Args;
use tollgate_config::Config;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::terminal;
use crate::wire::{Node, NodeOptions};

#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Address of the gateway, instead of the configured one; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) gateway: Option<String>,
    /// Address of the console, instead of the configured one; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) console: Option<String>,
}

impl ServeArgs {
    /// These, and of `others` what these leave open.
    pub(crate) fn or(self, others: ServeArgs) -> ServeArgs {
        ServeArgs { gateway: self.gateway.or(others.gateway), console: self.console.or(others.console) }
    }

    /// Whether nothing is stated.
    pub(crate) fn is_empty(&self) -> bool {
        self.gateway.is_none() && self.console.is_none()
    }
}

pub(crate) async fn run(common: Common, args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(common.config.as_deref())?;
    doubt(&config, common.config.as_deref());
    let data = DataDir::create(&common.data)?;
    let program = common.program();
    let options = NodeOptions { gateway: args.gateway, console: args.console, program };
    let node = Node::start(&config, data, &options).await?;
    if common.json {
        terminal::line(&as_json(&node));
    } else {
        greet(&node, &common);
    }
    node.run_until(stop_signal()).await
}

/// Says what may keep calls from being answered, before anything is started.
pub(crate) fn doubt(config: &Config, file: Option<&Path>) {
    let place = file.map(|file| format!("{}:", file.display())).unwrap_or_default();
    config.doubts().for_each(|doubt| terminal::note(&format!("warning: {place}{doubt}")));
}

/// The first line for machines: where it listens, and the two secrets that are shown once.
pub(crate) fn as_json(node: &Node) -> String {
    serde_json::json!({
        "gateway": node.gateway_url,
        "console": node.console_url,
        "login": node.login_url,
        "key": node.first_key,
        "process_id": std::process::id(),
    })
    .to_string()
}

fn greet(node: &Node, common: &Common) {
    let mut lines = vec![
        format!("Tollgate {}", env!("CARGO_PKG_VERSION")),
        String::new(),
        format!("  gateway   {}/v1", node.gateway_url),
        format!("  console   {}", node.login_url),
        "            (the link signs you in once, as admin; every start prints a new one)".to_owned(),
        format!("  data      {}", common.data.display()),
    ];
    if let Some(key) = &node.first_key {
        lines.push(format!("  key       {key}"));
        lines.push("            (a virtual key, shown this once; more with `tollgate key create NAME`)".to_owned());
        lines.push(String::new());
        lines.push("Try it, without any provider's key:".to_owned());
        lines.push(String::new());
        lines.push(format!("  curl {}/v1/chat/completions -H 'authorization: Bearer {key}' \\", node.gateway_url));
        lines.push("    -H 'content-type: application/json' \\".to_owned());
        lines.push(
            "    -d '{\"model\": \"sandbox/small\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello, ledger\"}]}'"
                .to_owned(),
        );
    }
    lines.push(String::new());
    terminal::line(&lines.join("\n"));
}

/// Resolves on SIGTERM or Ctrl+C.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "SIGTERM cannot be waited for; only Ctrl+C stops this process in order");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending::<()>().await },
    }
}
