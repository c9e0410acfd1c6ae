//! The data directory: everything that is kept on this machine, and the note by which commands find the server that
//! runs on it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::terminal;

/// A data directory that exists and that only its owner can read.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// Where the running server of a data directory answers. Removed when it stops; one that was killed leaves it behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunningServer {
    /// URL of the gateway.
    pub(crate) gateway: String,
    /// URL of the console and the JSON API.
    pub(crate) console: String,
    /// Its process.
    pub(crate) process_id: u32,
    /// The policy file of its configuration, which every start puts in place.
    #[serde(default)]
    pub(crate) policies: Option<String>,
}

/// A process that was killed and that its parent has not asked about yet is listed, but it serves nobody.
fn is_running(process_id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

impl DataDir {
    /// The directory of a command that changes what is kept there, or shows it; says so if there was none.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(crate) fn of_command(path: &Path) -> anyhow::Result<DataDir> {
        let is_new = !path.exists();
        let data = DataDir::create(path)?;
        if is_new {
            let path = data.path.display();
            terminal::note(&format!(
                "`{path}` is new: no server has run on it yet; if one runs elsewhere, name its directory with --data"
            ));
        }
        Ok(data)
    }

    /// Creates the directory if need be.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(crate) fn create(path: &Path) -> anyhow::Result<DataDir> {
        use std::os::unix::fs::PermissionsExt as _;
        if !path.exists() {
            fs::create_dir_all(path)?;
            fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
        }
        // Relative paths must not change meaning, and the lake's URL needs an absolute one.
        let path = fs::canonicalize(path)?;
        Ok(DataDir { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The lake, unless the configuration puts it elsewhere.
    pub(crate) fn lake_url(&self) -> anyhow::Result<String> {
        let path = self.join("lake");
        let url = url::Url::from_directory_path(&path);
        url.map(String::from).map_err(|()| anyhow::anyhow!("`{}` cannot be written as a URL", path.display()))
    }

    /// The database, unless the configuration puts it elsewhere.
    pub(crate) fn metastore_url(&self) -> String {
        format!("sqlite:{}", self.join("meta.db").display())
    }

    /// A random secret of 32 bytes that is made once and kept.
    ///
    /// # Errors
    /// If it can be neither read nor made.
    pub(crate) fn secret(&self, name: &str) -> anyhow::Result<[u8; 32]> {
        let path = self.join(name);
        if let Ok(kept) = fs::read(&path) {
            let found = kept.len();
            return kept.try_into().ok().with_context(|| {
                format!("`{}` holds {found} bytes instead of 32; restore it from a backup", path.display())
            });
        }
        let secret: [u8; 32] = rand::random();
        self.write_private(name, &secret)?;
        Ok(secret)
    }

    /// Writes a file that only its owner can read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_private(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let temporary = self.join(&format!("{name}.new"));
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(fs::rename(&temporary, self.join(name))?)
    }

    /// The server that is running on this directory, as far as the note tells.
    pub(crate) fn running_server(&self) -> Option<RunningServer> {
        let note: RunningServer = serde_json::from_slice(&fs::read(self.join("server.json")).ok()?).ok()?;
        is_running(note.process_id).then_some(note)
    }

    /// Leaves the note for commands.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn announce(&self, server: &RunningServer) -> anyhow::Result<()> {
        self.write_private("server.json", &serde_json::to_vec(server)?)
    }

    /// Takes the note away.
    pub(crate) fn withdraw(&self) {
        if let Err(error) = fs::remove_file(self.join("server.json")) {
            tracing::warn!(%error, "the note about the running server could not be removed");
        }
    }

    /// The API token by which commands on this machine reach the running server.
    pub(crate) fn local_token(&self) -> Option<String> {
        fs::read_to_string(self.join("api-token")).ok()
    }
}
