//! Ours, with everything on: keys and policy, a durable `opened` before each provider call, payloads, flushes and
//! Parquet files, and in the all-in-one the commits, the search index, the signals and the console too. Flushes come
//! twice as often as by default, so that several fall into a measurement. Afterwards the rows are counted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use fs_err as fs;
use serde_json::Value;

use super::Running;
use crate::call::{MODEL, Target};
use crate::server::Server;
use crate::stage::{self, Stage};

const FLUSH_SECONDS: u64 = 5;
/// The last flush, its commit and the search index are through by then.
const SETTLE: Duration = Duration::from_millis(FLUSH_SECONDS * 1000 + 2500);
const START_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// A sidecar's rows are in the table when the all-in-one has found and committed its last manifest.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);
const COMMIT_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What a call waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ack {
    /// That its beginning is on the disk.
    Intent,
    /// Nothing.
    Async,
}

/// Where the rows of a measured server can be counted.
pub(crate) struct Ledger {
    program: PathBuf,
    configuration: PathBuf,
    data: PathBuf,
    /// The all-in-one that commits what a measured sidecar hands over.
    committer: Option<Server>,
}

impl Ledger {
    /// The all-in-one behind a measured sidecar.
    pub(crate) fn committer(&mut self) -> Option<&mut Server> {
        self.committer.as_mut()
    }

    /// Stops everything in order and counts the rows of answered calls in the lake.
    ///
    /// # Errors
    /// If a process does not stop, or the lake cannot be read.
    pub(crate) async fn close(mut self, server: Server, expected: u64) -> anyhow::Result<u64> {
        server.stop(STOP_PATIENCE).await?;
        let mut waited = Duration::ZERO;
        while self.committer.is_some() && waited < COMMIT_PATIENCE && self.rows()? < expected {
            tokio::time::sleep(COMMIT_POLL_INTERVAL).await;
            waited += COMMIT_POLL_INTERVAL;
        }
        if let Some(committer) = self.committer.take() {
            committer.stop(STOP_PATIENCE).await?;
        }
        self.rows()
    }

    /// Asks the running server, or the lake if there is none, from any thread.
    pub(crate) fn reader(&self) -> Reader {
        Reader { program: self.program.clone(), configuration: self.configuration.clone(), data: self.data.clone() }
    }

    fn rows(&self) -> anyhow::Result<u64> {
        self.reader().rows()
    }

    fn tollgate(&self) -> std::process::Command {
        self.reader().tollgate()
    }
}

/// `tollgate sql` over one data directory: it sees the rows of a running server that are not in the lake yet.
#[derive(Clone)]
pub(crate) struct Reader {
    program: PathBuf,
    configuration: PathBuf,
    data: PathBuf,
}

impl Reader {
    /// Rows of answered calls.
    ///
    /// # Errors
    /// If the query fails.
    pub(crate) fn rows(&self) -> anyhow::Result<u64> {
        self.number("SELECT count(*) AS n FROM interactions WHERE outcome = 'success'")
    }

    /// The number in the first row of a query's answer.
    ///
    /// # Errors
    /// If the query fails or has no such number.
    pub(crate) fn number(&self, query: &str) -> anyhow::Result<u64> {
        let output = self.tollgate().args(["sql", query, "--format", "csv"]).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let number = said.lines().nth(1).and_then(|line| line.trim().parse().ok());
        number.with_context(|| {
            format!("`tollgate sql` gave no number: {said}{}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Folder of the lake.
    pub(crate) fn lake(&self) -> PathBuf {
        self.data.join("lake")
    }

    fn tollgate(&self) -> std::process::Command {
        let mut command = stage::command(&self.program);
        command.arg("--data").arg(&self.data).arg("--config").arg(&self.configuration);
        command
    }
}

pub(super) async fn start_tollgate(stage: &Stage, ack: Ack) -> anyhow::Result<Running> {
    let AllInOne { mut server, ledger, gateway, key, .. } = AllInOne::start(stage, ack).await?;
    let target = target(&gateway, &key)?;
    let answered = server.answers(&target, START_PATIENCE).await?;
    let version = version(&ledger.program)?;
    Ok(Running { version, target, server: Some(server), settle: SETTLE, answered, ledger: Some(ledger) })
}

pub(super) async fn start_sidecar(stage: &Stage) -> anyhow::Result<Running> {
    let program = stage.program("tollgate-sidecar")?;
    let AllInOne { server: committer, mut ledger, console, key, .. } = AllInOne::start(stage, Ack::Intent).await?;
    let token = ledger.sidecar_token()?;
    ledger.committer = Some(committer);

    let folder = stage.folder("sidecar")?;
    let file = folder.join("sidecar.yaml");
    let control = format!("control: {{url: \"{console}\", token: \"{token}\"}}\n");
    fs::write(&file, configuration(stage, &ledger.data, Ack::Intent) + &control)?;
    let mut command = stage::command(&program);
    command.arg("--config").arg(&file).arg("--data").arg(folder.join("data"));
    command.args(["--gateway", "127.0.0.1:0", "--json"]).env("TOLLGATE_LOG", "warn");
    let mut server = Server::start("sidecar", &mut command, &folder)?;
    let line: Value = serde_json::from_str(&server.first_line(START_PATIENCE).await?)?;
    let target = target(text(&line, "gateway")?, &key)?;
    let answered = server.answers(&target, START_PATIENCE).await?;
    Ok(Running {
        version: version(&program)?,
        target,
        server: Some(server),
        settle: SETTLE,
        answered,
        ledger: Some(ledger),
    })
}

/// A running `tollgate serve`.
struct AllInOne {
    server: Server,
    ledger: Ledger,
    gateway: String,
    console: String,
    key: String,
}

impl AllInOne {
    async fn start(stage: &Stage, ack: Ack) -> anyhow::Result<AllInOne> {
        let program = stage.program("tollgate")?;
        let folder = stage.folder("tollgate")?;
        let (file, data) = (folder.join("tollgate.yaml"), folder.join("data"));
        fs::create_dir(&data)?;
        fs::write(&file, configuration(stage, &data, ack))?;
        let ledger = Ledger { program, configuration: file, data, committer: None };
        let mut command = ledger.tollgate();
        command.args(["serve", "--gateway", "127.0.0.1:0", "--console", "127.0.0.1:0", "--json"]);
        command.env("TOLLGATE_LOG", "warn");
        let mut server = Server::start("tollgate", &mut command, &folder)?;
        let line: Value = serde_json::from_str(&server.first_line(START_PATIENCE).await?)?;
        let (gateway, console) = (text(&line, "gateway")?.to_owned(), text(&line, "console")?.to_owned());
        let key = text(&line, "key")?.to_owned();
        Ok(AllInOne { server, ledger, gateway, console, key })
    }
}

impl Ledger {
    fn sidecar_token(&self) -> anyhow::Result<String> {
        let output = self.tollgate().args(["token", "create", "--role", "sidecar", "--json"]).output()?;
        if !output.status.success() {
            bail!("`tollgate token create` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let line: Value = serde_json::from_slice(&output.stdout)?;
        Ok(text(&line, "token")?.to_owned())
    }
}

/// The alias makes the model's name be replaced on the way, as LiteLLM does too.
fn configuration(stage: &Stage, data: &Path, ack: Ack) -> String {
    let ack = match ack {
        Ack::Intent => "intent",
        Ack::Async => "async",
    };
    format!(
        "log: {{store: \"file://{}/lake\", ack: {ack}, flush_seconds: {FLUSH_SECONDS}}}
providers:
  upstream: {{dialect: openai, base_url: \"http://{}/v1\", api_key: sk-none, price_as: openai}}
models:
  {MODEL}: {{targets: [upstream/{MODEL}]}}
",
        data.display(),
        stage.provider()
    )
}

fn target(gateway: &str, key: &str) -> anyhow::Result<Target> {
    let address = gateway.strip_prefix("http://").context("the gateway's address is not http")?.parse()?;
    Ok(Target::new(address, &[("authorization", &format!("Bearer {key}"))]))
}

fn text<'a>(line: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    line[name].as_str().with_context(|| format!("the first line has no `{name}`: {line}"))
}

/// The program says its name and its version.
fn version(program: &Path) -> anyhow::Result<String> {
    let output = stage::command(program).arg("--version").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.trim().rsplit(' ').next().unwrap_or_default().to_owned())
}
