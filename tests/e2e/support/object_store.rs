//! A real S3 server on loopback: SeaweedFS, from its Python package.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::python::Python;
use super::{eventually, free_port};

const BUCKET: &str = "tollgate-test";
const ACCESS_KEY: &str = "tollgate";
const SECRET_KEY: &str = "tollgate-secret";
const PUT_ONLY_ACCESS_KEY: &str = "sidecar";
const PUT_ONLY_SECRET_KEY: &str = "sidecar-secret";

/// The server with one bucket, one user who may do everything and one who may only write.
pub(crate) struct ObjectStore {
    process: Option<Child>,
    folder: TempDir,
    ports: [u16; 4],
}

impl ObjectStore {
    pub(crate) fn start() -> ObjectStore {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("s3.json"), identities()).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        // The server also listens 10 000 above each port, for gRPC.
        let ports = [(); 4].map(|()| {
            loop {
                let port = free_port();
                if port < 50_000 && std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
                    break port;
                }
            }
        });
        let mut store = ObjectStore { process: None, folder, ports };
        store.resume();
        store.create_bucket();
        store
    }

    pub(crate) fn resume(&mut self) {
        let [master, volume, filer, s3] = self.ports;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(Python::new().program("weed"))
            .arg("server")
            .arg(format!("-dir={}", self.folder.path().join("data").display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-filer", "-s3"])
            .args(["-master.volumeSizeLimitMB=64", "-volume.max=20", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-s3.config={}", self.folder.path().join("s3.json").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
        eventually("the S3 server listens", Duration::from_secs(60), || TcpStream::connect(("127.0.0.1", s3)).ok());
        // It listens a little before its storage is there.
        eventually("the S3 server stores", Duration::from_secs(60), || self.shell("s3.bucket.list").then_some(()));
    }

    /// Ends the server, as an outage would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn create_bucket(&self) {
        eventually("the bucket is made", Duration::from_secs(60), || {
            self.shell(&format!("s3.bucket.create -name {BUCKET}")).then_some(())
        });
    }

    fn shell(&self, command: &str) -> bool {
        use std::io::Write as _;
        let [master, _, filer, _] = self.ports;
        let mut shell = Command::new(Python::new().program("weed"))
            .arg("shell")
            .arg(format!("-master=127.0.0.1:{master}"))
            .arg(format!("-filer=127.0.0.1:{filer}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(shell.stdin.take().unwrap(), "{command}").unwrap();
        shell.wait().unwrap().success()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[3])
    }

    pub(crate) fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// The `log` section of a configuration that stores under `prefix`.
    pub(crate) fn log_section(&self, prefix: &str) -> String {
        self.section(prefix, ACCESS_KEY, SECRET_KEY)
    }

    /// The same for a writer that may do nothing but put.
    pub(crate) fn put_only_log_section(&self, prefix: &str) -> String {
        self.section(prefix, PUT_ONLY_ACCESS_KEY, PUT_ONLY_SECRET_KEY)
    }

    fn section(&self, prefix: &str, access_key: &str, secret_key: &str) -> String {
        format!(
            "log:\n  store: {}\n  flush_seconds: 1\n  s3: {{endpoint: \"{}\", access_key_id: {access_key}, secret_access_key: {secret_key}}}\n",
            self.url(prefix),
            self.endpoint()
        )
    }

    /// Environment by which other readers reach the bucket.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint().as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.stop();
    }
}

fn identities() -> String {
    let identity = |name: &str, secret: &str, actions: &[String]| {
        serde_json::json!({
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret}],
            "actions": actions,
        })
    };
    let all = ["Admin", "Read", "List", "Tagging", "Write"].map(str::to_owned);
    let put_only = [format!("Write:{BUCKET}")];
    serde_json::json!({
        "identities": [
            identity(ACCESS_KEY, SECRET_KEY, &all),
            identity(PUT_ONLY_ACCESS_KEY, PUT_ONLY_SECRET_KEY, &put_only),
        ]
    })
    .to_string()
}
