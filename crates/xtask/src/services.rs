//! Servers that crates' own tests talk to: PostgreSQL, S3 and Azure Blob Storage, on loopback, for as long as the tests run.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fs_err as fs;

use crate::shell::{root, run, say, succeeds, target};
use crate::tools::Tools;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// What the tests of `tollgate-lake` expect.
const BUCKET: &str = "tollgate-test";
const S3_USERS: &str = r#"{"identities": [{"name": "tollgate",
  "credentials": [{"accessKey": "tollgate", "secretKey": "tollgate-secret"}],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}"#;
const AZURE_ACCOUNT: &str = "devstoreaccount1";
/// Azurite's built-in key, which its documentation prints: <https://github.com/Azure/Azurite#default-storage-account>.
const AZURE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Running servers; they end with this value.
pub(crate) struct Services {
    folder: PathBuf,
    /// PostgreSQL's, outside `folder`.
    postgres_data: PathBuf,
    running: Vec<Child>,
    postgres_url: String,
    s3_url: String,
    azure_url: String,
}

impl Services {
    /// Starts all of them.
    ///
    /// # Errors
    /// If one of them does not come up.
    pub(crate) fn start(tools: &Tools) -> anyhow::Result<Services> {
        let folder = target().join("tools").join(format!("services-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // PostgreSQL refuses to run as root, and its own user may not enter every folder: a short one of its own.
        let postgres_data = std::env::temp_dir().join(format!("tollgate-postgres-{}", std::process::id()));
        let (postgres_url, s3_url, azure_url) = (String::new(), String::new(), String::new());
        let mut services = Services { folder, postgres_data, running: Vec::new(), postgres_url, s3_url, azure_url };
        services.start_postgres().context("starting PostgreSQL")?;
        services.start_s3(tools).context("starting the S3 server")?;
        services.start_azure(tools).context("starting Azurite")?;
        Ok(services)
    }

    /// Tells a command's tests where the servers are.
    pub(crate) fn export<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("TOLLGATE_TEST_POSTGRES", &self.postgres_url)
            .env("TOLLGATE_TEST_S3", &self.s3_url)
            .env("TOLLGATE_TEST_AZURE", &self.azure_url)
    }

    fn start_postgres(&mut self) -> anyhow::Result<()> {
        let programs = newest_postgres()?;
        let data = self.postgres_data.clone();
        fs::create_dir_all(&data)?;
        fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))?;
        let as_server = |program: &Path| {
            if !succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"])) {
                return Command::new(program);
            }
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        };
        if succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"])) {
            let owned = succeeds(Command::new("chown").arg("postgres").arg(&data));
            anyhow::ensure!(owned, "`{}` cannot be given to the user `postgres`", data.display());
        }
        let port = free_port()?;
        let made = succeeds(
            as_server(&programs.join("initdb")).args(["--auth=trust", "--username=tollgate", "-D"]).arg(&data),
        );
        anyhow::ensure!(made, "`initdb` failed in `{}`", data.display());
        let log = fs::File::create(self.folder.join("postgres.log"))?.into_parts().0;
        let child = as_server(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.running.push(child);
        self.postgres_url = format!("postgres://tollgate@127.0.0.1:{port}/postgres");
        await_port(port)
    }

    fn start_s3(&mut self, tools: &Tools) -> anyhow::Result<()> {
        let data = self.folder.join("s3");
        fs::create_dir_all(&data)?;
        fs::write(self.folder.join("s3.json"), S3_USERS)?;
        let [master, volume, filer, s3] = [server_port()?, server_port()?, server_port()?, server_port()?];
        let log = fs::File::create(self.folder.join("s3.log"))?.into_parts().0;
        let child = tools
            .program("weed")
            .arg("server")
            .arg(format!("-dir={}", data.display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-filer", "-s3"])
            .args(["-master.volumeSizeLimitMB=64", "-volume.max=20", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-s3.config={}", self.folder.join("s3.json").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.running.push(child);
        self.s3_url = format!("http://127.0.0.1:{s3}");
        await_port(s3)?;
        let make_bucket = format!("echo 's3.bucket.create -name {BUCKET}' | \"$0\" shell -master=\"$1\" -filer=\"$2\"");
        let weed = tools.program("weed").get_program().to_owned();
        let deadline = Instant::now() + START_TIMEOUT;
        while !succeeds(
            Command::new("sh")
                .args(["-c", &make_bucket])
                .arg(&weed)
                .arg(format!("127.0.0.1:{master}"))
                .arg(format!("127.0.0.1:{filer}")),
        ) {
            anyhow::ensure!(Instant::now() < deadline, "the bucket `{BUCKET}` could not be made");
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    fn start_azure(&mut self, tools: &Tools) -> anyhow::Result<()> {
        let port = free_port()?;
        let log = fs::File::create(self.folder.join("azure.log"))?.into_parts().0;
        let child = tools
            .azurite()
            .args(["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.running.push(child);
        self.azure_url = format!("http://127.0.0.1:{port}/{AZURE_ACCOUNT}");
        await_port(port)?;
        run(Command::new("node").arg(root().join("crates/xtask/src/create_container.mjs")).envs([
            ("ENDPOINT", self.azure_url.as_str()),
            ("KEY", AZURE_KEY),
            ("CONTAINER", BUCKET),
        ]))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for child in &mut self.running {
            // SIGTERM first: PostgreSQL's workers end with it, and `runuser` passes it on.
            let ended = succeeds(Command::new("kill").args(["-TERM", &child.id().to_string()]));
            if !ended || child.wait().is_err() {
                say(&format!("process {} of the tests may still be running", child.id()));
            }
        }
        for folder in [&self.folder, &self.postgres_data] {
            if let Err(error) = fs::remove_dir_all(folder) {
                say(&format!("a folder of the tests is left behind: {error}"));
            }
        }
    }
}

fn newest_postgres() -> anyhow::Result<PathBuf> {
    let mut versions: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql")?.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    versions.retain(|programs| programs.join("initdb").exists());
    versions.sort();
    versions.pop().context("no `initdb` under /usr/lib/postgresql; install Debian's `postgresql`")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A port such that the one 10 000 above it, which SeaweedFS uses for gRPC, is free as well.
fn server_port() -> anyhow::Result<u16> {
    for _ in 0..1_000 {
        let port = free_port()?;
        if port < 50_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no pair of free ports was found")
}

fn await_port(port: u16) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        anyhow::ensure!(Instant::now() < deadline, "nothing listens on port {port} after {START_TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
