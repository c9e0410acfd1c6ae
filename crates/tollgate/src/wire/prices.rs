//! The prices of a running node: taken from the data directory and from what `catalog.prices` names, replaced when an update
//! is put there or the operator's own file changes, and applied again to
//! what was recorded when somebody asks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use fs_err as fs;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tollgate_analytics::Analytics;
use tollgate_analytics::report::RecordedCall;
use tollgate_config::{Config, PRICES_FILE, PriceBook};
use tollgate_console::prices::{BUILTIN, PriceGap, Prices, RepriceMode, RepriceOrder, Repricing};
use tollgate_gateway::Gateway;
use tollgate_metastore::Metastore;
use tollgate_provider::price::CatalogFiles;
use tollgate_wal::Wal;

use super::feedback::pause;
use super::reprice::PriceAgain;

/// How often the data directory and the operator's own files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long it may take until appended corrections can be read.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// The prices of this node.
pub(super) struct NodePrices {
    pub(super) config: Config,
    pub(super) data: PathBuf,
    pub(super) book: ArcSwap<PriceBook>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) ledger: Arc<PastPrices>,
}

/// What it takes to price recorded calls again.
pub(super) struct PastPrices {
    pub(super) analytics: Arc<Analytics>,
    pub(super) metastore: Arc<dyn Metastore>,
    pub(super) wal: Arc<Wal>,
    /// One order at a time: each begins with what the one before it left.
    pub(super) turn: Mutex<()>,
}

/// Tells one state of a file from another without reading it.
type Stamp = (PathBuf, std::time::SystemTime, u64, u64);

impl NodePrices {
    /// Takes up what `tollgate prices update` puts into the data directory, and what changes in the operator's own files.
    pub(super) async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let mut seen = self.stamp();
        while pause(INTERVAL, &shutdown).await {
            let now = self.stamp();
            if now == seen {
                continue;
            }
            seen = now;
            let prices = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || prices.take_up()).await {
                Ok(Ok(id)) => tracing::info!(catalog.id = id, "calls are priced by another catalogue from now on"),
                Ok(Err(error)) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the changed prices are not used; the last ones stay"
                    );
                }
                Err(error) => tracing::error!(%error, "reading the changed prices was abandoned; the last ones stay"),
            }
        }
    }

    fn take_up(&self) -> anyhow::Result<String> {
        let book = self.config.price_book(&self.data)?;
        self.gateway.use_prices(Arc::clone(&book.catalog));
        let id = book.id();
        self.book.store(Arc::new(book));
        Ok(id)
    }

    /// The update's, then those of the operator's own file or of the folder and what is in it.
    fn stamp(&self) -> Vec<Stamp> {
        let mut paths = vec![self.data.join(PRICES_FILE)];
        if let Some(own) = self.config.own_prices() {
            let within =
                fs::read_dir(&own).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
            paths.push(own);
            paths.extend(within.unwrap_or_else(|_| Vec::new()));
        }
        paths.sort();
        paths.into_iter().filter_map(stamp_of).collect()
    }
}

/// `None` where there is no such file.
fn stamp_of(path: PathBuf) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(&path).ok()?;
    let changed = found.modified().ok()?;
    Some((path, changed, found.len(), found.ino()))
}

impl Prices for NodePrices {
    fn update_id(&self) -> String {
        self.book.load().update.as_ref().map_or_else(|| BUILTIN.to_owned(), CatalogFiles::id)
    }

    fn update(&self) -> Result<Option<Bytes>, String> {
        let book = self.book.load();
        let json = book.update.as_ref().map(CatalogFiles::to_json).transpose();
        Ok(json.map_err(|error| error.to_string())?.map(Bytes::from))
    }

    fn gap(&self, call: &RecordedCall) -> Option<PriceGap> {
        let (book, names) = (self.book.load(), self.gateway.price_names());
        PriceAgain { book: &book, names: &names, now_us: 0 }.gap(call)
    }

    fn reprice(&self, order: RepriceOrder) -> BoxFuture<'static, Result<Repricing, String>> {
        let (book, names, ledger) = (self.book.load_full(), self.gateway.price_names(), Arc::clone(&self.ledger));
        async move {
            let now_us = chrono::Utc::now().timestamp_micros();
            let again = PriceAgain { book: &book, names: &names, now_us };
            ledger.price_again(&again, &order).await.map_err(|error| format!("{error:#}"))
        }
        .boxed()
    }
}

impl PastPrices {
    async fn price_again(&self, again: &PriceAgain<'_>, order: &RepriceOrder) -> anyhow::Result<Repricing> {
        let _turn = self.turn.lock().await;
        let appender = (order.mode == RepriceMode::Append).then(|| self.wal.appender());
        let reading = self.analytics.reading();
        let (repricing, last_seq) = again.run(&reading, order, appender.as_ref()).await?;
        if let Some(last_seq) = last_seq {
            self.until_visible(last_seq).await;
            let moment = |time_us| chrono::DateTime::from_timestamp_micros(time_us).unwrap_or_default().to_rfc3339();
            let subject = format!("from={} to={}", moment(order.from_us), moment(order.to_us));
            let Repricing { appended, old_usd, new_usd, catalog_id, .. } = &repricing;
            let detail = format!(
                "{appended} {} by catalogue {catalog_id}: {old_usd} USD became {new_usd} USD; {}",
                if *appended == 1 { "correction" } else { "corrections" },
                order.reason
            );
            self.metastore.record_change("prices.reapplied", &subject, &detail, &order.actor).await?;
        }
        Ok(repricing)
    }

    /// Waits until what was appended can be read, so that whoever asks next sees it.
    async fn until_visible(&self, last_seq: u64) {
        let place = (self.wal.writer().clone(), self.wal.epoch());
        let visible = async {
            while self.analytics.reading().watermarks().get(&place).is_none_or(|seq| *seq < last_seq) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(VISIBLE_WITHIN, visible).await.is_err() {
            tracing::warn!("the corrections are in the log, but reports do not show them yet");
        }
    }
}
