//! The bundle that the configuration names: put in force at the start and again whenever its file changes. A text that is no
//! good bundle changes nothing; it is logged, and noted among the changes of the control plane.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tollgate_config::{Config, ConfigError};
use tollgate_metastore::Metastore;
use tollgate_policy::Bundle;
use tollgate_policy::bundle;
use tollgate_policy::residency::survey;

use super::feedback::pause;

/// How often the file is looked at. It is read whole: it is small, and an editor may leave its time of change as it was.
const INTERVAL: Duration = Duration::from_secs(1);
/// In whose name a file is put in force.
const AUTHOR: &str = "configuration";

/// A bundle that stands in a file.
pub(crate) struct PolicyFile {
    path: PathBuf,
    yaml: String,
    refusal: Refusal,
}

/// Why the file as it stands is not in force; `None` while it is.
pub(super) type Refusal = Arc<Mutex<Option<String>>>;

impl PolicyFile {
    /// The configured bundle, checked before anything is started; `None` if none is configured.
    ///
    /// # Errors
    /// If the file cannot be read or is no bundle.
    pub(crate) fn read(config: &Config) -> anyhow::Result<Option<PolicyFile>> {
        let Some((path, yaml)) = config.policies_text()? else { return Ok(None) };
        let mistake = |source| ConfigError::Mistake { path: path.clone(), source };
        let bundle = bundle::load(&yaml).map_err(mistake)?;
        config.check_routes(&bundle).map_err(mistake)?;
        warn_of_nowhere(config, &bundle);
        Ok(Some(PolicyFile { path, yaml, refusal: Refusal::default() }))
    }

    /// Makes it the active bundle if it is not already.
    ///
    /// # Errors
    /// If its test vectors fail, or the metastore does.
    pub(super) async fn activate(&self, metastore: &dyn Metastore) -> anyhow::Result<()> {
        if metastore.control_document().await?.bundle_yaml != self.yaml {
            let reason = format!("read from `{}` at start", self.path.display());
            metastore.put_bundle(&self.yaml, AUTHOR, &reason).await?;
        }
        Ok(())
    }

    /// Where it is said from now on that the file is not in force.
    pub(super) fn refusal(&self) -> Refusal {
        Arc::clone(&self.refusal)
    }

    /// Puts it in force again whenever its text changes.
    pub(super) async fn follow(mut self, config: Config, metastore: Arc<dyn Metastore>, shutdown: CancellationToken) {
        while pause(INTERVAL, &shutdown).await {
            // An editor that is about to write it anew may have taken it away.
            let Ok(yaml) = fs::read_to_string(&self.path) else { continue };
            if yaml == self.yaml {
                continue;
            }
            self.yaml = yaml;
            let reason = format!("`{}` changed", self.path.display());
            // A text that is no bundle at all is refused below, as are tests of it that fail.
            if let Ok(Err(source)) = bundle::load(&self.yaml).map(|bundle| config.check_routes(&bundle)) {
                let path = self.path.clone();
                self.refuse(metastore.as_ref(), ConfigError::Mistake { path, source }.into()).await;
                continue;
            }
            match metastore.put_bundle(&self.yaml, AUTHOR, &reason).await {
                Ok(revision) => {
                    *self.refusal.lock() = None;
                    tracing::info!(policy.hash = revision.hash, "{reason}; it is in force from now on");
                    if let Ok(bundle) = bundle::load(&self.yaml) {
                        warn_of_nowhere(&config, &bundle);
                    }
                }
                Err(error) => self.refuse(metastore.as_ref(), anyhow::Error::new(error)).await,
            }
        }
    }

    async fn refuse(&self, metastore: &dyn Metastore, error: anyhow::Error) {
        let (path, why) = (self.path.display().to_string(), format!("{error:#}"));
        tracing::error!(error = why, "`{path}` changed and is not put in force; the last bundle stays");
        *self.refusal.lock() = Some(format!("{path} changed and is not in force, the last bundle is: {why}"));
        if let Err(error) = metastore.record_change("bundle.refused", &path, &why, AUTHOR).await {
            tracing::warn!(%error, "that `{path}` was refused could not be noted");
        }
    }
}

/// A class of data that can go nowhere is no mistake of the bundle alone: the calls are denied by name, and this says so
/// before there are any.
fn warn_of_nowhere(config: &Config, bundle: &Bundle) {
    let targets = config.targets_with(bundle);
    let facts: Vec<_> = targets.iter().map(|target| (target.name.clone(), target.facts())).collect();
    for mistake in survey(bundle, &facts).stranded(bundle) {
        tracing::warn!("bundle `{}`: {mistake}; until then they will be denied", bundle.name);
    }
}
