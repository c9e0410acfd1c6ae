//! Portkey's open gateway: one Node process, as its package starts it. The caller names the provider in headers; it
//! keeps no log on disk.

use std::time::Duration;

use fs_err as fs;
use serde_json::Value;

use super::Running;
use crate::call::Target;
use crate::server::Server;
use crate::stage::{self, Stage};

const START_PATIENCE: Duration = Duration::from_secs(30);
const PACKAGE: &str = "@portkey-ai/gateway";

pub(super) async fn start(stage: &Stage) -> anyhow::Result<Running> {
    let folder = stage.folder("portkey")?;
    let address = stage::free_address()?;
    let mut command = stage::command("node");
    command
        .arg(stage.node_module(&format!("{PACKAGE}/build/start-server.js"))?)
        .args(["--headless", &format!("--port={}", address.port())])
        .env("NODE_ENV", "production")
        .current_dir(&folder);
    let mut server = Server::start("portkey", &mut command, &folder)?;
    let provider = format!("http://{}/v1", stage.provider());
    let target = Target::new(
        address,
        &[("authorization", "Bearer sk-none"), ("x-portkey-provider", "openai"), ("x-portkey-custom-host", &provider)],
    );
    server.answers(&target, START_PATIENCE).await?;
    let manifest: Value = serde_json::from_slice(&fs::read(stage.node_module(&format!("{PACKAGE}/package.json"))?)?)?;
    let version = manifest["version"].as_str().unwrap_or_default().to_owned();
    Ok(Running::without_log(version, target, server))
}
