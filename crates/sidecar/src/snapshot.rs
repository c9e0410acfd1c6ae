//! Keys, policy, signals and prices: downloaded from an all-in-one, kept on disk, and replaced while calls go on. A sidecar that
//! cannot reach its control plane works with what it has; the age of its signals is for policy to judge.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use bytes::Bytes;
use fs_err as fs;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tollgate_config::Config;
use tollgate_gateway::Gateway;
use tollgate_policy::control::{ControlDocument, ControlSnapshot};
use tollgate_policy::signals::SignalsSnapshot;

use crate::prices::PriceCopy;

const REFRESH_INTERVAL: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Half a million keys fit; more is not a control document.
const DOCUMENT_LIMIT_BYTES: usize = 256 << 20;

/// What the control plane hands out at `/api/v1/control`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Handout {
    control: ControlDocument,
    signals: SignalsSnapshot,
    /// Names the price catalogue that the control plane uses.
    #[serde(default)]
    prices: Option<String>,
}

/// The control plane as seen from here.
pub(crate) struct ControlPlane {
    url: String,
    token: String,
    kept: PathBuf,
    client: HttpClient,
    pub(crate) control: Arc<ArcSwap<ControlSnapshot>>,
    pub(crate) signals: Arc<ArcSwap<SignalsSnapshot>>,
    prices: ArcSwap<Option<String>>,
}

impl ControlPlane {
    /// Downloads keys and policy, or falls back to what was kept.
    ///
    /// # Errors
    /// If neither can be had: without keys no call could be admitted.
    pub(crate) async fn connect(config: &Config, data: &Path) -> anyhow::Result<ControlPlane> {
        let url = config.control.url.as_ref().context("a sidecar needs `control.url` in its configuration")?;
        let token = config.control.token.as_ref().context("a sidecar needs `control.token` in its configuration")?;
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let url = format!("{}/api/v1/control", url.value.trim_end_matches('/'));
        let kept = data.join("control.json");
        let handout = match download(&client, &url, &token.value).await {
            Ok(handout) => {
                keep(&kept, &handout)?;
                handout
            }
            Err(error) => {
                let handout = read_kept(&kept)
                    .with_context(|| format!("`{url}` gives no keys ({error:#}) and none were kept from before"))?;
                tracing::warn!(error = format!("{error:#}"), "starting with the keys and policy kept from before");
                handout
            }
        };
        let control = Arc::new(ArcSwap::from_pointee(ControlSnapshot::compile(&handout.control)?));
        let signals = Arc::new(ArcSwap::from_pointee(handout.signals));
        let prices = ArcSwap::from_pointee(handout.prices);
        Ok(ControlPlane { url, token: token.value.clone(), kept, client, control, signals, prices })
    }

    /// Refreshes until it is time to stop.
    pub(crate) async fn follow(&self, prices: &PriceCopy, gateway: &Gateway, shutdown: CancellationToken) {
        let mut reachable = true;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(REFRESH_INTERVAL) => {}
            }
            let refreshed = match self.refresh().await {
                Ok(()) => prices.keep_up(self, gateway).await,
                Err(error) => Err(error),
            };
            match refreshed {
                Ok(()) => {
                    if !reachable {
                        tracing::info!("the control plane answers again");
                    }
                    reachable = true;
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

    async fn refresh(&self) -> anyhow::Result<()> {
        let handout = download(&self.client, &self.url, &self.token).await?;
        if handout.control.revision != self.control.load().revision {
            self.control.store(Arc::new(ControlSnapshot::compile(&handout.control)?));
            keep(&self.kept, &handout)?;
        }
        self.signals.store(Arc::new(handout.signals));
        self.prices.store(Arc::new(handout.prices));
        Ok(())
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
        fetch(&self.client, &format!("{}/prices", self.url), &self.token).await
    }
}

type HttpClient = Client<hyper_rustls::HttpsConnector<HttpConnector>, Empty<Bytes>>;

async fn download(client: &HttpClient, url: &str, token: &str) -> anyhow::Result<Handout> {
    let body = fetch(client, url, token).await?;
    serde_json::from_slice(&body).with_context(|| format!("`{url}` did not answer with keys and policy"))
}

async fn fetch(client: &HttpClient, url: &str, token: &str) -> anyhow::Result<Bytes> {
    let request = hyper::Request::get(url)
        .header(hyper::header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = client.request(request).await.with_context(|| format!("asking `{url}`"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), DOCUMENT_LIMIT_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("reading the answer of `{url}`: {error}"))?.to_bytes();
        if !status.is_success() {
            bail!("`{url}` answered {status}; is the token one of role `sidecar`?");
        }
        Ok(body)
    };
    tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.with_context(|| format!("`{url}` took too long"))?
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
