//! Where a run takes place: its folder, the provider that everyone forwards to, and the programs that it starts.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use fs_err as fs;
use serde_json::Value;

use crate::call::Target;
use crate::server::Server;
use crate::upstream::StaticUpstream;

const START_PATIENCE: Duration = Duration::from_secs(20);

/// What plays the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Upstream {
    /// The same bytes for every request, from a thread of the load generator.
    Static,
    /// `tollgate mock-provider`, a process of its own.
    Mock,
}

/// Programs and folders of a run.
pub(crate) struct Stage {
    /// Where results are kept.
    pub(crate) results: PathBuf,
    /// Of this run alone: configurations, logs, data directories. On the same disk as the repository, because a
    /// write-ahead log on a RAM disk would be measured without its fsync.
    folder: tempfile::TempDir,
    provider: Provider,
    programs: PathBuf,
    tools: PathBuf,
}

enum Provider {
    Static(StaticUpstream),
    Mock { address: SocketAddr, _server: Server },
}

impl Stage {
    /// Makes the folder and starts the provider.
    ///
    /// # Errors
    /// If either cannot be had.
    pub(crate) async fn set(upstream: Upstream, programs: Option<PathBuf>) -> anyhow::Result<Stage> {
        let own = std::env::current_exe().context("finding the programs beside this one")?;
        let beside = own.parent().context("this program is in no folder")?;
        let target = beside.parent().context("this program is in no target directory")?;
        let programs = programs.unwrap_or_else(|| beside.to_path_buf());
        let results = target.join("bench");
        fs::create_dir_all(&results)?;
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&results)?;
        let tools = target.join("tools");
        let provider = match upstream {
            Upstream::Static => Provider::Static(StaticUpstream::start()?),
            Upstream::Mock => start_mock(&programs.join("tollgate"), folder.path()).await?,
        };
        Ok(Stage { results, folder, provider, programs, tools })
    }

    /// Where the provider listens.
    pub(crate) fn provider(&self) -> SocketAddr {
        match &self.provider {
            Provider::Static(upstream) => upstream.address(),
            Provider::Mock { address, .. } => *address,
        }
    }

    /// A new folder within that of the run.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(self.folder.path())?;
        Ok(folder.keep())
    }

    /// One of our own programs, built as this one was.
    ///
    /// # Errors
    /// If it has not been built.
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        existing(self.programs.join(name), "build it with `cargo build --release --workspace --bins`")
    }

    /// A program that a peer's Python package brought.
    ///
    /// # Errors
    /// If it has not been installed.
    pub(crate) fn python(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = std::env::var_os("TOLLGATE_TOOLS_PYTHON").map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| self.tools.join("python-bench"));
        existing(folder.join(name), "`cargo xtask bench` installs it")
    }

    /// A file of a peer's npm package.
    ///
    /// # Errors
    /// If it has not been installed.
    pub(crate) fn node_module(&self, path: &str) -> anyhow::Result<PathBuf> {
        let folder = std::env::var_os("TOLLGATE_TOOLS_NODE_MODULES").map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| self.tools.join("node-bench/node_modules"));
        existing(folder.join(path), "`cargo xtask bench` installs it")
    }
}

/// A command whose calls over the loopback go through no proxy.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
    command
}

/// A port of the loopback that is free now.
///
/// # Errors
/// If there is none.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").context("looking for a free port")?.local_addr()?)
}

async fn start_mock(program: &Path, folder: &Path) -> anyhow::Result<Provider> {
    let mut mock = command(program);
    mock.args(["mock-provider", "--listen", "127.0.0.1:0", "--json"]);
    let mut server = Server::start("mock-provider", &mut mock, folder)?;
    let line: Value = serde_json::from_str(&server.first_line(START_PATIENCE).await?)?;
    let address = line["address"].as_str().context("`tollgate mock-provider` did not say where it listens")?;
    let address: SocketAddr = address.parse()?;
    server.answers(&Target::new(address, &[]), START_PATIENCE).await?;
    Ok(Provider::Mock { address, _server: server })
}

fn existing(path: PathBuf, hint: &str) -> anyhow::Result<PathBuf> {
    if !path.exists() {
        bail!("`{}` is missing; {hint}", path.display());
    }
    Ok(path)
}
