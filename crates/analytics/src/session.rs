//! The engine: its threads, its memory, its two profiles, and the only store it can reach.
//!
//! Queries run on threads of their own, so that a heavy one cannot stop the proxy's sockets from being served. The
//! engine knows one object store under one name that nobody else uses; `file://` and every other address lead nowhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableProvider,
};
use datafusion::common::exec_err;
use datafusion::error::Result as EngineResult;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollgate_flush::hot::{HotBuffer, HotSnapshot};
use tollgate_interaction::schema::{Table, Transcribe};
use tollgate_lake::Lake;
use tollgate_policy::ledger::Tally;
use tollgate_policy::signals::SignalsSnapshot;

use crate::conversation;
use crate::costs::{self, COSTS};
use crate::error::{AnalyticsError, ReportError, SqlError};
use crate::query::{QueryLimits, QueryResult};
use crate::signals::{SignalsCache, SignalsState};
use crate::table::{LogTable, StorePlace};
use crate::view::Reading;
use crate::visibility::Visibility;

/// Scheme and host of the lake's store inside the engine. No other store has an address.
const STORE_ADDRESS: &str = "tollgate-lake://store";
/// Name of the catalogue in which the tables stand.
const CATALOG: &str = "tollgate";
const SCHEMA: &str = "public";

/// What queries may use.
#[derive(Clone, Debug)]
pub struct AnalyticsSettings {
    /// Tells `payloads.messages` from the bodies. Given by the binary: no wire format is known here.
    pub transcribe: Transcribe,
    /// Threads that queries run on.
    pub threads: usize,
    /// Memory that all running queries may hold together, in bytes.
    pub memory_bytes: usize,
    /// Memory for footers of Parquet files, in bytes.
    pub footer_cache_bytes: usize,
    /// Where sorts and aggregates that need more memory may put temporary files; `None`: they fail instead.
    pub spill_dir: Option<PathBuf>,
    /// How long one report may take.
    pub report_timeout: Duration,
    /// Statements of users that run at the same time; others wait, and their waiting counts as running time.
    pub concurrent_statements: usize,
}

impl AnalyticsSettings {
    /// As many threads as there are processors, 512 MiB for all queries.
    #[must_use]
    pub fn new(transcribe: Transcribe) -> Self {
        AnalyticsSettings {
            transcribe,
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            memory_bytes: 512 * 1024 * 1024,
            // Some thousand files; compaction leaves far fewer than that to be read.
            footer_cache_bytes: 32 * 1024 * 1024,
            spill_dir: None,
            report_timeout: Duration::from_secs(30),
            concurrent_statements: 4,
        }
    }
}

/// Questions to the log. Cheap to share; every question reads one consistent view of lake and memory.
pub struct Analytics {
    engine: Arc<Engine>,
    lake: Arc<Lake>,
    hot: Option<Arc<HotBuffer>>,
    signals: Arc<SignalsCache>,
}

impl Analytics {
    /// Sets the engine up over `lake` and, in a process that also writes, the rows on their way to it.
    ///
    /// # Errors
    /// [`AnalyticsError::Threads`] or [`AnalyticsError::Engine`] if it cannot be set up as asked.
    pub fn new(
        lake: Arc<Lake>,
        hot: Option<Arc<HotBuffer>>,
        settings: AnalyticsSettings,
    ) -> Result<Arc<Self>, AnalyticsError> {
        let engine = Arc::new(Engine::new(Arc::clone(&lake.store().object_store), settings)?);
        Ok(Arc::new(Analytics { engine, lake, hot, signals: Arc::default() }))
    }

    /// The log as of now. What is asked of one reading is answered from the same rows.
    #[must_use]
    pub fn reading(&self) -> Reading {
        // The order matters: a row leaves memory only after a snapshot that holds it was published, so memory first and
        // the snapshot second misses nothing, and `after` removes what both hold.
        let hot = self.hot.as_ref().map(|hot| hot.snapshot()).unwrap_or_default();
        let lake = self.lake.snapshot();
        let hot = hot.after(&lake.watermarks);
        Reading::new(Arc::clone(&self.engine), lake, hot)
    }

    /// Answers one statement that reads.
    ///
    /// # Errors
    /// [`SqlError`] says why there is no answer.
    pub fn sql(&self, sql: &str, limits: QueryLimits) -> BoxFuture<'static, Result<QueryResult, SqlError>> {
        self.reading().sql(sql, limits)
    }

    /// What the log shows right now, for policy and routing. Costs the rows that are new since the last call.
    ///
    /// # Errors
    /// [`ReportError`] if the lake could not be read; what was already known is kept.
    pub fn signals(&self, now_us: i64) -> BoxFuture<'static, Result<SignalsSnapshot, ReportError>> {
        let (cache, reading) = (Arc::clone(&self.signals), self.reading());
        async move { cache.take(&reading, now_us).await }.boxed()
    }

    /// Counts what these tallies add up in all signals from now on: those of the active bundle.
    pub fn follow_budgets(&self, tallies: &Arc<[Tally]>) {
        self.signals.follow(tallies);
    }

    /// What the signals of this process are made of, from the same sums.
    ///
    /// # Errors
    /// As [`Analytics::signals`].
    pub fn signals_state(&self, now_us: i64) -> BoxFuture<'static, Result<SignalsState, ReportError>> {
        let (cache, reading) = (Arc::clone(&self.signals), self.reading());
        async move { cache.state(&reading, now_us).await }.boxed()
    }

    /// What the signals of `taken_at_us` are made of, folded anew from the rows of the lake that the watermarks of another
    /// state cover (`writer/epoch`), or from all rows. Rows in memory and what was folded before are left out.
    ///
    /// # Errors
    /// [`ReportError`] if the lake could not be read.
    pub fn rebuilt_signals(
        &self,
        taken_at_us: i64,
        up_to: Option<BTreeMap<String, u64>>,
    ) -> BoxFuture<'static, Result<SignalsState, ReportError>> {
        let mut reading = Reading::new(Arc::clone(&self.engine), self.lake.snapshot(), HotSnapshot::default());
        reading.up_to = up_to.map(Arc::new);
        let cache = SignalsCache::default();
        cache.follow(&self.signals.followed());
        async move {
            let mut state = cache.state(&reading, taken_at_us).await?;
            if let Some(up_to) = reading.up_to {
                state.watermarks = Arc::unwrap_or_clone(up_to);
            }
            Ok(state)
        }
        .boxed()
    }
}

/// Which settings of the engine fit a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Reads most rows of the files it opens: conditions are applied after decoding.
    Aggregate,
    /// Looks for few rows: conditions are applied while decoding, column by column.
    Needle,
}

/// The threads and the two base sessions.
pub(crate) struct Engine {
    runtime: Option<Runtime>,
    aggregate: SessionState,
    needle: SessionState,
    messages: ScalarUDF,
    pub(crate) place: StorePlace,
    pub(crate) report_timeout: Duration,
    pub(crate) statements: Semaphore,
}

impl Engine {
    fn new(store: Arc<dyn ObjectStore>, settings: AnalyticsSettings) -> Result<Self, AnalyticsError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .thread_name("tollgate-query")
            .enable_all()
            .build()
            .map_err(AnalyticsError::Threads)?;
        let url = ObjectStoreUrl::parse(STORE_ADDRESS).map_err(AnalyticsError::Engine)?;
        let temporary =
            settings.spill_dir.clone().map_or(DiskManagerMode::Disabled, |dir| DiskManagerMode::Directories(vec![dir]));
        let environment = RuntimeEnvBuilder::new()
            .with_object_store_registry(Arc::new(OnlyTheLake { store: Arc::clone(&store) }))
            .with_memory_limit(settings.memory_bytes, 1.0)
            .with_metadata_cache_limit(settings.footer_cache_bytes)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(temporary))
            .build_arc()
            .map_err(AnalyticsError::Engine)?;
        let session = |profile| {
            SessionStateBuilder::new()
                .with_config(configuration(profile, settings.threads.max(1)))
                .with_runtime_env(Arc::clone(&environment))
                .with_default_features()
                .build()
        };
        Ok(Engine {
            aggregate: session(Profile::Aggregate),
            needle: session(Profile::Needle),
            messages: conversation::function(settings.transcribe),
            runtime: Some(runtime),
            place: StorePlace { store, url },
            report_timeout: settings.report_timeout,
            statements: Semaphore::new(settings.concurrent_statements.max(1)),
        })
    }

    /// A session in which the tables stand as they are in one view.
    pub(crate) fn session(&self, profile: Profile, tables: &Tables) -> EngineResult<SessionState> {
        let schema = MemorySchemaProvider::new();
        for (kind, table) in tables.all.iter() {
            let rows = tables.visibility.rows(*kind, Arc::clone(table) as _)?;
            let provider: Arc<dyn TableProvider> = match kind {
                Table::Payloads => Arc::new(conversation::payloads(rows, &self.messages)?),
                _ => rows,
            };
            schema.register_table(kind.folder().to_owned(), provider)?;
        }
        if let (Some(calls), Some(corrections)) = (tables.of(Table::Interactions), tables.of(Table::PriceCorrections)) {
            let calls = tables.visibility.rows(Table::Interactions, Arc::clone(calls) as _)?;
            schema.register_table(COSTS.to_owned(), Arc::new(costs::costs(calls, corrections)?))?;
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(schema))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let mut state = self.bare_session(profile);
        state.register_catalog_list(Arc::new(catalogs));
        Ok(state)
    }

    /// A session without tables.
    pub(crate) fn bare_session(&self, profile: Profile) -> SessionState {
        let mut state = match profile {
            Profile::Aggregate => self.aggregate.clone(),
            Profile::Needle => self.needle.clone(),
        };
        state.mark_start_execution();
        state
    }

    /// Runs `work` on the query threads; it is stopped when the returned future is dropped. `None` if it panicked or
    /// the threads are gone.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, self.runtime.as_ref()?.handle());
        match tasks.join_next().await? {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::error!(%error, "a query was abandoned");
                None
            }
        }
    }

    /// Like [`Engine::run`] for work that hands its results over bit by bit: it lives in the returned set.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(runtime) = &self.runtime {
            tasks.spawn_on(work, runtime.handle());
        }
        tasks
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which async code must not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The tables of one view.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) all: Arc<[(Table, Arc<LogTable>)]>,
    pub(crate) visibility: Visibility,
}

impl Tables {
    /// One of them.
    pub(crate) fn of(&self, table: Table) -> Option<&Arc<LogTable>> {
        self.all.iter().find(|(kind, _)| *kind == table).map(|(_, table)| table)
    }
}

fn configuration(profile: Profile, threads: usize) -> SessionConfig {
    let needle = profile == Profile::Needle;
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(threads);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = needle;
    options.execution.parquet.reorder_filters = needle;
    // DataFusion 55 mixes up the columns of both sides of a join when it moves a field of a map towards a scan.
    options.optimizer.enable_leaf_expression_pushdown = false;
    config
}

/// A registry of stores that has one, and takes no other.
#[derive(Debug)]
struct OnlyTheLake {
    store: Arc<dyn ObjectStore>,
}

impl ObjectStoreRegistry for OnlyTheLake {
    fn register_store(&self, _: &url::Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &url::Url) -> EngineResult<Arc<dyn ObjectStore>> {
        let is_lake = STORE_ADDRESS.split_once("://") == url.host_str().map(|host| (url.scheme(), host));
        if is_lake {
            return Ok(Arc::clone(&self.store));
        }
        exec_err!("no store at `{}`: a query can only read the tables of the lake", url.scheme())
    }
}
