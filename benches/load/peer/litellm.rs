//! LiteLLM's proxy: one worker, as it starts by default, with one model, a master key because it refuses to start
//! without, and no database, so that it keeps no log. What it would fetch from the network at its start is turned off.

use std::time::Duration;

use fs_err as fs;

use super::Running;
use crate::call::{MODEL, Target};
use crate::server::Server;
use crate::stage::{self, Stage};

/// It imports for ten seconds and more.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Known to nobody but this run, and long enough for its check of weak keys.
const MASTER_KEY: &str = "sk-6b0f3a9c2d7e41580f9ac3be5d1274680b9e3f7a1c5d28463e7f9b0a4c6d8e12";

pub(super) async fn start(stage: &Stage) -> anyhow::Result<Running> {
    let folder = stage.folder("litellm")?;
    let address = stage::free_address()?;
    let configuration = format!(
        "model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/{MODEL}, api_base: \"http://{}/v1\", api_key: sk-none}}
",
        stage.provider()
    );
    let file = folder.join("litellm.yaml");
    fs::write(&file, configuration)?;
    let mut command = stage::command(stage.python("bin/litellm")?);
    command
        .arg("--config")
        .arg(&file)
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--telemetry", "False"])
        .env("LITELLM_MASTER_KEY", MASTER_KEY)
        .env("LITELLM_MODE", "PRODUCTION")
        .env("LITELLM_LOG", "ERROR")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .current_dir(&folder);
    let mut server = Server::start("litellm", &mut command, &folder)?;
    let target = Target::new(address, &[("authorization", &format!("Bearer {MASTER_KEY}"))]);
    server.answers(&target, START_PATIENCE).await?;
    Ok(Running::without_log(version(stage)?, target, server))
}

fn version(stage: &Stage) -> anyhow::Result<String> {
    let script = "import importlib.metadata as m; print(m.version('litellm'))";
    let output = stage::command(stage.python("bin/python")?).args(["-c", script]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
