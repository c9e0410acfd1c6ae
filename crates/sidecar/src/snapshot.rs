//! Keys, policy, signals and prices: downloaded from an all-in-one, kept on disk, and replaced while calls go on. A sidecar that
//! cannot reach its control plane works with what it has; the age of its signals is for policy to judge. A bundle that names a
//! target which is not served here is not taken up: the one before it stays, with the keys of the day, and it is said why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use bytes::Bytes;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tollgate_config::Config;
use tollgate_gateway::Gateway;
use tollgate_policy::Bundle;
use tollgate_policy::control::{ControlDocument, ControlSnapshot};
use tollgate_policy::signals::SignalsSnapshot;

use crate::door::Door;
use crate::prices::PriceCopy;

const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// What the control plane hands out at `/api/v1/control`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Handout {
    control: ControlDocument,
    signals: SignalsSnapshot,
    /// Names the price catalogue that the control plane uses.
    #[serde(default)]
    prices: Option<String>,
}

/// What a sidecar tells its control plane of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Report {
    position: String,
    bundle: String,
    trouble: Option<String>,
}

/// The control plane as seen from here.
pub(crate) struct ControlPlane {
    door: Arc<Door>,
    kept: PathBuf,
    /// From before this start; for a downloaded bundle that is not served here.
    before: Option<Handout>,
    /// What is in force, as it is kept on disk.
    handout: ArcSwap<Handout>,
    pub(crate) control: Arc<ArcSwap<ControlSnapshot>>,
    pub(crate) signals: Arc<ArcSwap<SignalsSnapshot>>,
    prices: ArcSwap<Option<String>>,
    /// Why the bundle of the control plane is not in force here.
    refused: ArcSwap<Option<String>>,
}

impl ControlPlane {
    /// Downloads keys and policy, or falls back to what was kept.
    ///
    /// # Errors
    /// If neither can be had: without keys no call could be admitted.
    pub(crate) async fn connect(config: &Config, data: &Path) -> anyhow::Result<ControlPlane> {
        let url = config.control.url.as_ref().context("a sidecar needs `control.url` in its configuration")?;
        let token = config.control.token.as_ref().context("a sidecar needs `control.token` in its configuration")?;
        let door = Arc::new(Door::new(&url.value, &token.value));
        let kept = data.join("control.json");
        let before = read_kept(&kept);
        let handout = match download(&door).await {
            Ok(handout) => handout,
            Err(error) => {
                let handout = before.as_ref().ok().cloned();
                let handout = handout.with_context(|| {
                    format!("`{}` gives no keys ({error:#}) and none were kept from before", url.value)
                })?;
                tracing::warn!(error = format!("{error:#}"), "starting with the keys and policy kept from before");
                handout
            }
        };
        let before = before.ok();
        let control = match (ControlSnapshot::compile(&handout.control), &before) {
            (Ok(control), _) => control,
            // Judged again in `settle`, which says so.
            (Err(_), Some(before)) => ControlSnapshot::compile(&before.control)?,
            (Err(error), None) => return Err(error.into()),
        };
        Ok(ControlPlane {
            door,
            kept,
            before,
            control: Arc::new(ArcSwap::from_pointee(control)),
            signals: Arc::new(ArcSwap::from_pointee(handout.signals.clone())),
            prices: ArcSwap::from_pointee(handout.prices.clone()),
            handout: ArcSwap::from_pointee(handout),
            refused: ArcSwap::from_pointee(None),
        })
    }

    /// Before the first call: holds the bundle against what is served here.
    ///
    /// # Errors
    /// If neither the control plane's bundle nor one kept from before can be used.
    pub(crate) fn settle(&self, gateway: &Gateway) -> anyhow::Result<()> {
        let handout = self.handout.load_full();
        let Err(trouble) = self.take(gateway, &handout) else { return Ok(()) };
        let before = self.before.as_ref().filter(|before| before.control.bundle_yaml != handout.control.bundle_yaml);
        let Some(before) = before else {
            anyhow::bail!("the control plane's policy bundle cannot be used here: {trouble}");
        };
        let bundle = ControlSnapshot::compile(&before.control)?.bundle;
        gateway
            .check_bundle(&bundle)
            .context("neither the policy bundle of the control plane nor the one kept from before is served here")?;
        self.stay(&handout, &before.control.bundle_yaml, bundle, trouble)
    }

    /// Refreshes until it is time to stop.
    pub(crate) async fn follow(&self, prices: &PriceCopy, gateway: &Gateway, shutdown: CancellationToken) {
        let mut reachable = true;
        let mut reported = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(REFRESH_INTERVAL) => {}
            }
            let refreshed = match self.refresh(gateway).await {
                Ok(()) => prices.keep_up(self, gateway).await,
                Err(error) => Err(error),
            };
            match refreshed {
                Ok(()) => {
                    if !reachable {
                        tracing::info!("the control plane answers again");
                    }
                    reachable = true;
                    self.report(gateway, &mut reported).await;
                }
                Err(error) => {
                    if reachable {
                        tracing::warn!(
                            error = format!("{error:#}"),
                            "the control plane is away; the last keys and prices stay"
                        );
                    }
                    reachable = false;
                }
            }
        }
    }

    async fn refresh(&self, gateway: &Gateway) -> anyhow::Result<()> {
        let handout = download(&self.door).await?;
        self.signals.store(Arc::new(handout.signals.clone()));
        self.prices.store(Arc::new(handout.prices.clone()));
        if handout.control.revision == self.control.load().revision {
            return Ok(());
        }
        if let Err(trouble) = self.take(gateway, &handout) {
            let (yaml, bundle) =
                (self.handout.load().control.bundle_yaml.clone(), Arc::clone(&self.control.load().bundle));
            self.stay(&handout, &yaml, bundle, trouble)?;
        }
        Ok(())
    }

    /// Puts a handout in force, if its bundle loads and every target that it names is served here; why not otherwise.
    fn take(&self, gateway: &Gateway, handout: &Handout) -> Result<(), String> {
        let control = ControlSnapshot::compile(&handout.control).map_err(|error| chain(&error))?;
        gateway.check_bundle(&control.bundle).map_err(|error| format!("in its policy bundle, {error}"))?;
        keep(&self.kept, handout).map_err(|error| format!("it cannot be kept: {error:#}"))?;
        self.control.store(Arc::new(control));
        self.handout.store(Arc::new(handout.clone()));
        if self.refused.swap(Arc::new(None)).is_some() {
            tracing::info!("the control plane's policy bundle is in force here again");
        }
        Ok(())
    }

    /// Takes the keys of a handout alone: the bundle that was in force stays.
    fn stay(&self, handout: &Handout, yaml: &str, bundle: Arc<Bundle>, trouble: String) -> anyhow::Result<()> {
        let document = ControlDocument { bundle_yaml: yaml.to_owned(), ..handout.control.clone() };
        let keys = document.principals()?;
        let (revision, issued_at_us) = (document.revision, document.issued_at_us);
        let mixed = Handout { control: document, ..handout.clone() };
        keep(&self.kept, &mixed)?;
        self.control.store(Arc::new(ControlSnapshot { revision, issued_at_us, bundle, keys }));
        self.handout.store(Arc::new(mixed));
        tracing::error!(
            error = trouble,
            "the control plane's policy bundle cannot be used here: the one before it stays"
        );
        self.refused.store(Arc::new(Some(trouble)));
        Ok(())
    }

    /// Why the control plane's bundle is not in force here; `None` if it is.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.load().as_ref().as_ref().map(|trouble| {
            format!("the control plane's policy bundle cannot be used here, the one before it stays: {trouble}")
        })
    }

    /// Tells the control plane at the start, for as long as there is something to tell, and once when it is over.
    async fn report(&self, gateway: &Gateway, reported: &mut Option<Report>) {
        let trouble = self.refused.load().as_ref().as_ref().map(|trouble| {
            format!(
                "keeps deciding by bundle {}: the active one cannot be used there: {trouble}",
                gateway.bundle().hash
            )
        });
        let report =
            Report { position: gateway.log_position().to_owned(), bundle: gateway.bundle().hash.clone(), trouble };
        // The first report may end the trouble of the process before this one.
        if report.trouble.is_none() && reported.as_ref().is_some_and(|last| last.trouble.is_none()) {
            return;
        }
        let Ok(body) = serde_json::to_vec(&report) else { return };
        match self.door.post("/api/v1/control/report", body).await {
            Ok(_) => *reported = Some(report),
            Err(error) => tracing::warn!(%error, "the control plane takes no report"),
        }
    }

    /// The way to the control plane, for others who need it.
    pub(crate) fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }

    /// Names the price catalogue that the control plane uses, as of the last refresh.
    pub(crate) fn prices(&self) -> Option<String> {
        self.prices.load().as_ref().clone()
    }

    /// The price update that the control plane uses; empty if it uses the prices that come with the program.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub(crate) async fn download_prices(&self) -> anyhow::Result<Bytes> {
        Ok(self.door.get("/api/v1/control/prices").await?)
    }
}

async fn download(door: &Door) -> anyhow::Result<Handout> {
    let body = door.get("/api/v1/control").await?;
    serde_json::from_slice(&body).context("the control plane did not answer with keys and policy")
}

/// An error with its causes, in one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// Written beside and renamed, so that a crash leaves the old copy or the new one. The keys in it are hashes.
fn keep(path: &Path, handout: &Handout) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(handout)?)?;
    file.sync_all()?;
    Ok(fs::rename(&temporary, path)?)
}

fn read_kept(path: &Path) -> anyhow::Result<Handout> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
