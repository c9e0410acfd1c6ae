//! The binaries under test.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::client::Api;
use super::{PATIENCE, eventually, free_port, program};

/// A child process that is killed when dropped.
struct Process(Child);

impl Process {
    /// Starts a program and reads the one JSON line that says where it listens. Its standard error goes to a file
    /// that is shown when the start fails.
    fn start(command: &mut Command, log: &Path) -> (Process, Value) {
        let errors = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = Process(child);
        let Ok(listening) = serde_json::from_str(&line) else {
            panic!("{command:?} did not start: {}", std::fs::read_to_string(log).unwrap());
        };
        (process, listening)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM, then waits for an orderly end.
    fn stop(&mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = eventually("an orderly stop", Duration::from_secs(60), || self.0.try_wait().unwrap());
        assert!(status.success(), "stopped with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left running.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An all-in-one on free ports. Its data directory outlives restarts.
pub(crate) struct Tollgate {
    process: Option<Process>,
    folder: TempDir,
    config: Option<PathBuf>,
    environment: Vec<(String, String)>,
    /// Where the console is to listen, for those who must know before it starts.
    pub(crate) console_address: String,
    key: String,
    pub(crate) login_url: String,
    pub(crate) gateway_url: String,
    pub(crate) console_url: String,
}

impl Tollgate {
    /// With defaults, but flushing every second so that tests see the lake.
    pub(crate) fn start() -> Tollgate {
        Tollgate::with_config("log: {flush_seconds: 1}\n")
    }

    /// With this configuration file.
    pub(crate) fn with_config(yaml: &str) -> Tollgate {
        Tollgate::with_files(&[("tollgate.yaml", yaml)], &[])
    }

    /// With this configuration file, on a copy of what another process left in its data directory.
    pub(crate) fn on_data_of(left: &Path, yaml: &str) -> Tollgate {
        let mut tollgate = Tollgate::at_rest(&[("tollgate.yaml", yaml)], &[]);
        let copied = Command::new("cp").arg("-r").arg(left).arg(tollgate.data()).status().unwrap();
        assert!(copied.success(), "`{}` cannot be copied", left.display());
        // What git keeps of a mode is no more than whether a file can be executed.
        for key in ["log.key", "writer.key"].map(|key| tollgate.data().join("keys").join(key)) {
            if key.exists() {
                std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        tollgate.resume();
        tollgate
    }

    /// With this configuration file, and with `days` of made-up history in its log.
    pub(crate) fn with_history(yaml: &str, days: u32) -> Tollgate {
        let mut tollgate = Tollgate::at_rest(&[("tollgate.yaml", yaml)], &[]);
        tollgate.start_as(&["demo", "--days", &days.to_string(), "--calls-per-minute", "0"]);
        tollgate.stop();
        tollgate.resume();
        tollgate
    }

    /// With these files beside each other, the first of them the configuration, and these environment variables.
    pub(crate) fn with_files(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Tollgate {
        let mut tollgate = Tollgate::at_rest(files, environment);
        tollgate.resume();
        tollgate
    }

    /// As [`Tollgate::with_files`], and not started yet.
    pub(crate) fn at_rest(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Tollgate {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let config = files.first().map(|(name, _)| folder.path().join(name));
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Tollgate {
            process: None,
            folder,
            config,
            environment,
            console_address: "127.0.0.1:0".to_owned(),
            key: String::new(),
            login_url: String::new(),
            gateway_url: String::new(),
            console_url: String::new(),
        }
    }

    /// Starts the process again on the same data.
    pub(crate) fn resume(&mut self) {
        self.start_as(&["serve"]);
    }

    fn start_as(&mut self, subcommand: &[&str]) {
        let mut command = self.command();
        command.arg("--json").args(subcommand).args(["--gateway", "127.0.0.1:0"]);
        command.arg("--console").arg(&self.console_address);
        let (process, listening) = Process::start(&mut command, &self.folder.path().join("stderr.log"));
        self.process = Some(process);
        let text = |name: &str| listening[name].as_str().map(str::to_owned);
        if let Some(key) = text("key") {
            self.key = key;
        }
        self.login_url = text("login").unwrap();
        self.gateway_url = text("gateway").unwrap();
        self.console_url = text("console").unwrap();
    }

    /// Starts the process on data that it must refuse, and returns what it said.
    pub(crate) fn refused(&self) -> String {
        let said = self.folder.path().join("refused.log");
        let mut command = self.command();
        command.args(["serve", "--gateway", "127.0.0.1:0", "--console", "127.0.0.1:0"]);
        let (out, errors) = (std::fs::File::create(&said).unwrap(), std::fs::File::create(&said).unwrap());
        let mut process = Process(command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn().unwrap());
        let status = eventually("it refuses to start", Duration::from_secs(30), || process.0.try_wait().unwrap());
        let said = std::fs::read_to_string(said).unwrap();
        assert!(!status.success(), "it started: {said}");
        said
    }

    /// A command of this data directory and configuration.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(program("tollgate"));
        command.arg("--data").arg(self.data());
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command line as somebody types it who was told it, and returns all that was said.
    pub(crate) fn run_as_written(&self, line: &str) -> String {
        let program = program("tollgate");
        let folder = program.parent().unwrap().display();
        let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
        let output = Command::new("sh").args(["-c", line]).env("PATH", path).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Runs a command to its end and returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "tollgate {arguments:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the server wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// SIGTERM.
    pub(crate) fn stop(&mut self) {
        self.process.take().unwrap().stop();
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The gateway, admitted by the first key.
    pub(crate) fn gateway(&self) -> Api {
        Api::new(&self.gateway_url, &self.key)
    }

    /// The gateway, admitted by a new key of a team.
    pub(crate) fn gateway_of_team(&self, team: &str) -> Api {
        let created = self.run(&["--json", "key", "create", team, "--team", team]);
        let created: Value = serde_json::from_str(&created).unwrap();
        let api = Api::new(&self.gateway_url, created["key"].as_str().unwrap());
        eventually("the new key is known to the gateway", Duration::from_secs(10), || {
            (api.get("/v1/models").status == 200).then_some(())
        });
        api
    }

    /// The console's API, as the command line reaches it.
    pub(crate) fn console(&self) -> Api {
        let token = std::fs::read_to_string(self.data().join("api-token")).unwrap();
        Api::new(&self.console_url, token.trim())
    }

    /// Waits until `sql` counts `expected`.
    pub(crate) fn await_count(&self, sql: &str, expected: i64) {
        let console = self.console();
        let mut last = -1;
        let deadline = std::time::Instant::now() + Duration::from_secs(20) * PATIENCE;
        while std::time::Instant::now() < deadline {
            last = console.number(sql);
            if last == expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{sql} gave {last}, not {expected}; the server said: {}", self.log());
    }
}

/// A provider that answers with made-up text over HTTP.
pub(crate) struct Mock {
    _process: Process,
    _folder: TempDir,
    pub(crate) url: String,
}

impl Mock {
    pub(crate) fn start(arguments: &[&str]) -> Mock {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(program("tollgate"));
        command.args(["mock-provider", "--listen", "127.0.0.1:0", "--json"]).args(arguments);
        let (process, listening) = Process::start(&mut command, &folder.path().join("stderr.log"));
        let url = listening["url"].as_str().unwrap_or_else(|| panic!("no `url` in {listening}")).to_owned();
        Mock { _process: process, _folder: folder, url }
    }
}

/// A sidecar on a free port.
pub(crate) struct Sidecar {
    process: Option<Process>,
    folder: TempDir,
    environment: Vec<(String, String)>,
    pub(crate) gateway_url: String,
}

impl Sidecar {
    pub(crate) fn start(yaml: &str, environment: &[(&str, &str)]) -> Sidecar {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("tollgate.yaml"), yaml).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut sidecar = Sidecar { process: None, folder, environment, gateway_url: String::new() };
        sidecar.resume();
        sidecar
    }

    pub(crate) fn resume(&mut self) {
        let mut command = Command::new(program("tollgate-sidecar"));
        command
            .args(["--json", "--gateway", "127.0.0.1:0", "--config"])
            .arg(self.folder.path().join("tollgate.yaml"))
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let (process, listening) = Process::start(&mut command, &self.folder.path().join("stderr.log"));
        self.process = Some(process);
        self.gateway_url = listening["gateway"].as_str().unwrap().to_owned();
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub(crate) fn stop(&mut self) {
        self.process.take().unwrap().stop();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What of its memory is not the program itself. In bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let id = self.process.as_ref().unwrap().0.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn gateway(&self, key: &str) -> Api {
        Api::new(&self.gateway_url, key)
    }
}

/// A witness of one log. Its memory outlives restarts.
pub(crate) struct Witness {
    process: Option<Process>,
    folder: TempDir,
    log: String,
    listen: String,
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) url: String,
}

impl Witness {
    pub(crate) fn start(name: &str, log: &str) -> Witness {
        let mut witness = Witness {
            process: None,
            folder: TempDir::new().unwrap(),
            log: log.to_owned(),
            listen: format!("127.0.0.1:{}", free_port()),
            name: name.to_owned(),
            key: String::new(),
            url: String::new(),
        };
        witness.resume();
        witness
    }

    pub(crate) fn resume(&mut self) {
        let mut command = Command::new(program("tollgate"));
        command.arg("--data").arg(self.folder.path().join("data"));
        command.args(["--json", "witness", "--listen", &self.listen, "--name", &self.name, "--log", &self.log]);
        let (process, listening) = Process::start(&mut command, &self.folder.path().join("stderr.log"));
        self.process = Some(process);
        self.key = listening["key"].as_str().unwrap().to_owned();
        self.url = listening["url"].as_str().unwrap().to_owned();
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// The checkpoints that it cosigned last, in the order of their files.
    pub(crate) fn memory(&self) -> Vec<String> {
        let folder = self.folder.path().join("data/witness/logs");
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
    }
}
