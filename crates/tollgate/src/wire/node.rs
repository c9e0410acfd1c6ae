//! A whole Tollgate in one process: started in the order of the data's way, stopped in the same order, so that every
//! part hands over what it holds to the next before that one stops.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_analytics::{Analytics, AnalyticsSettings};
use tollgate_config::Config;
use tollgate_console::ledger::LiveLedger;
use tollgate_console::state::{ConsoleSettings, ConsoleState};
use tollgate_flush::Watermarks;
use tollgate_flush::flusher::{Committed, FlushSettings, Flusher};
use tollgate_gateway::{Gateway, GatewaySettings};
use tollgate_lake::{Lake, LakeSnapshot, ProofSettings};
use tollgate_metastore::{Metastore, NewKey, Role};
use tollgate_policy::control::ControlSnapshot;
use tollgate_provider::transcript::of_call;
use tollgate_provider::translate::OnUnsupported;
use tollgate_search::Search;
use tollgate_wal::{Appender, Wal};

use super::answers::NodeAnswers;
use super::budgets::BudgetWatch;
use super::calls::CallBook;
use super::console::NodeInstruments;
use super::governance::{ControlOutbox, WalAccessLog};
use super::integrity::NodeIntegrity;
use super::maintenance::Maintenance;
use super::policy_file::{PolicyFile, Refusal};
use super::prices::{NodePrices, PastPrices};
use super::replicas::NodeReplicas;
use super::{feedback, open_metastore, open_store};
use crate::data_dir::{DataDir, RunningServer};

/// How often the inbox is looked at for what sidecars put there.
const INBOX_INTERVAL: Duration = Duration::from_secs(2);

/// Organisation of keys that are created without one.
const DEFAULT_TENANT: &str = "default";

/// What the command line changes about the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeOptions {
    /// Address of the gateway.
    pub(crate) gateway: Option<String>,
    /// Address of the console.
    pub(crate) console: Option<String>,
    /// How a command about this node begins, for people who are told one: `tollgate --config tollgate.yaml`.
    pub(crate) program: String,
}

/// A running Tollgate.
pub(crate) struct Node {
    /// URL of the gateway.
    pub(crate) gateway_url: String,
    /// URL of the console.
    pub(crate) console_url: String,
    /// The first virtual key, if this start made it.
    pub(crate) first_key: Option<String>,
    /// A one-time link into the console.
    pub(crate) login_url: String,
    /// Appends to the log; the demo writes its history through it.
    pub(crate) appender: Appender,
    /// Keys and users.
    pub(crate) metastore: Arc<dyn Metastore>,
    parts: Parts,
}

/// What has to be stopped, and in which order.
struct Parts {
    data: DataDir,
    wal: Arc<Wal>,
    lake: Arc<Lake>,
    serving: CancellationToken,
    flushing: CancellationToken,
    reading: CancellationToken,
    gateway: JoinHandle<anyhow::Result<()>>,
    outbox: JoinHandle<()>,
    flusher: JoinHandle<()>,
    tasks: TaskTracker,
}

impl Node {
    /// Starts everything. When this returns, calls are accepted.
    ///
    /// # Errors
    /// If any part cannot be started.
    pub(crate) async fn start(config: &Config, data: DataDir, options: &NodeOptions) -> anyhow::Result<Node> {
        // Before any bundle is loaded: one may want it.
        config.install_classifier()?;
        let policy = PolicyFile::read(config)?;
        let witness_policy = super::read_witness_policy(config)?;
        let book = config.price_book(data.path())?;
        // Before anything is bound: whoever can connect may expect an answer, and neither a log in use nor a lake of a newer
        // version gives one.
        let wal = Arc::new(Wal::open(config.wal_settings(data.join("wal"))).context("opening the write-ahead log")?);
        let store = open_store(config, &data)?;
        let proof = ProofSettings {
            keys: super::log_keys(&data),
            last_signed: data.join("keys/last-checkpoint"),
            interval: tollgate_lake::proof::INTERVAL,
            witnesses: witness_policy.clone().map(super::witness::settings),
        };
        let lake = Lake::open_proven(store.clone(), proof).await.context("opening the lake")?;

        let gateway_listener = bind(options.gateway.as_ref(), &config.server.gateway.value).await?;
        let console_listener = bind(options.console.as_ref(), &config.server.console.value).await?;
        let gateway_url = format!("http://{}", gateway_listener.local_addr()?);
        let reached_at = config.server.gateway_url.clone().unwrap_or_else(|| gateway_url.clone());
        let console_url = match &config.server.console_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", console_listener.local_addr()?),
        };

        let metastore = open_metastore(config, &data).await?;
        if let Some(policy) = &policy {
            policy.activate(metastore.as_ref()).await?;
        }
        let first_key = first_key(metastore.as_ref()).await?;
        let control = Arc::new(ArcSwap::from_pointee(ControlSnapshot::compile(&metastore.control_document().await?)?));

        let manifest_put = Arc::new(Notify::new());
        let (committed, following) = follow_watermarks(&lake);
        let flush = FlushSettings {
            interval: Duration::from_secs(config.log.flush_seconds),
            keys: super::writer_keys(&data),
            ..FlushSettings::new(data.join("flush"))
        };
        let flusher = Flusher::new(flush, Arc::clone(&wal), store, committed, Arc::clone(&manifest_put))?;
        let (hot, flush_status) = (flusher.hot(), flusher.status());

        let analytics = Analytics::new(Arc::clone(&lake), Some(Arc::clone(&hot)), AnalyticsSettings::new(of_call))?;
        let search = Search::open(data.join("search"), of_call).context("opening the search index")?;

        let tasks = TaskTracker::new();
        let (serving, flushing, reading) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        tasks.spawn(following.run(reading.clone()));
        let flusher = tasks.spawn(flusher.run(flushing.clone()));
        let holder = wal.writer().clone();
        tasks.spawn(Arc::clone(&lake).run_committer(holder, manifest_put, INBOX_INTERVAL, reading.clone()));
        tasks.spawn(search.run_indexer(Some(Arc::clone(&hot)), Arc::clone(&lake), reading.clone()));

        // Budgets must not be decided on half the log: replay and the first snapshot are awaited before calls are accepted.
        flush_status.clone().wait_for(|status| status.history_read).await.context("replaying the write-ahead log")?;
        analytics.follow_budgets(control.load().bundle.tallies());
        let signals = analytics.signals(chrono::Utc::now().timestamp_micros()).await.context("reading spend")?;
        let signals = Arc::new(ArcSwap::from_pointee(signals));
        let position = format!("{}/{}", wal.writer(), wal.epoch());
        let gateway = Gateway::new(
            GatewaySettings {
                cache: Some(config.cache_settings(data.path())),
                ..config.gateway_settings(data.secret("user-hash-key")?, position)
            },
            wal.appender(),
            Arc::clone(&control),
            Arc::clone(&signals),
            Arc::clone(&book.catalog),
        )?;
        let calls = Arc::new(CallBook {
            analytics: Arc::clone(&analytics),
            metastore: Arc::clone(&metastore),
            writer: wal.writer().as_str().to_owned(),
        });
        gateway.ask_calls(move |tenant, id| {
            let (calls, tenant) = (Arc::clone(&calls), tenant.to_owned());
            Box::pin(async move { calls.standing(&tenant, id).await })
        });
        let replicas = NodeReplicas::open(Arc::clone(&gateway), wal.appender(), data.join("lease-holders.json"))?;
        tasks.spawn(Arc::clone(&replicas).run(reading.clone()));
        let policy_refusal = policy.as_ref().map(PolicyFile::refusal).unwrap_or_default();
        if let Some(policy) = policy {
            tasks.spawn(policy.follow(config.clone(), Arc::clone(&metastore), reading.clone()));
        }
        let control_plane = feedback::ControlPlane {
            metastore: Arc::clone(&metastore),
            control: Arc::clone(&control),
            appender: wal.appender(),
            gateway: Arc::clone(&gateway),
            refusal: Refusal::default(),
        };
        let bundle_refusal = Arc::clone(&control_plane.refusal);
        tasks.spawn(control_plane.follow(reading.clone()));
        tasks.spawn(feedback::follow_signals(
            Arc::clone(&analytics),
            Arc::clone(&control),
            Arc::clone(&signals),
            reading.clone(),
        ));

        let prices = Arc::new(NodePrices {
            config: config.clone(),
            data: data.path().to_owned(),
            book: ArcSwap::from_pointee(book),
            gateway: Arc::clone(&gateway),
            ledger: Arc::new(PastPrices {
                analytics: Arc::clone(&analytics),
                metastore: Arc::clone(&metastore),
                wal: Arc::clone(&wal),
                turn: Mutex::default(),
            }),
        });
        tasks.spawn(Arc::clone(&prices).follow(reading.clone()));

        let login_url = format!("{console_url}/login?token={}", metastore.create_login_link().await?);
        write_local_token(&data, metastore.as_ref()).await?;
        let budgets = BudgetWatch::new(config, Arc::clone(&gateway), Arc::clone(&analytics), wal.appender())?;
        tasks.spawn(Arc::clone(&budgets).run(serving.clone()));
        let instruments = NodeInstruments {
            budgets,
            replicas: Arc::clone(&replicas),
            policy_refusals: [policy_refusal, bundle_refusal],
            gateway: Arc::clone(&gateway),
            wal: Arc::clone(&wal),
            hot: Arc::clone(&hot),
            flush: flush_status.clone(),
            lake: Arc::clone(&lake),
            search: Arc::clone(&search),
            signals,
            models: model_names(config),
            tolerant_models: tolerant_models(config),
            open_providers: open_providers(config),
        };
        let maintenance = Maintenance {
            lake: Arc::clone(&lake),
            wal: Arc::clone(&wal),
            metastore: Arc::clone(&metastore),
            classes: super::retention_classes(config),
            keep_removed: Duration::from_secs(config.log.keep_removed_hours * 3_600),
        };
        tasks.spawn(maintenance.run(serving.clone()));
        let outbox = ControlOutbox::new(Arc::clone(&metastore), Arc::clone(&analytics), wal.appender());
        let outbox = tasks.spawn(outbox.run(serving.clone()));
        let integrity = Arc::new(NodeIntegrity {
            wal: Arc::clone(&wal),
            hot: Arc::clone(&hot),
            flush: flush_status,
            lake: Arc::clone(&lake),
            proof: lake.proof(),
            witness_policy,
            trouble: lake.trouble(),
            quarantine: data.join("wal/quarantine"),
        });
        let asked = Arc::clone(&integrity);
        gateway.ask_readiness(move || asked.readiness());
        let sso = super::sso::door(config, &console_url)?;
        if let Some(sso) = &sso {
            tasks.spawn(super::provider_watch::watch(Arc::clone(sso), wal.appender(), reading.clone()));
        }
        let state = ConsoleState {
            ledger: Arc::new(LiveLedger::new(analytics, search, hot.changed())),
            access_log: Arc::new(WalAccessLog { appender: wal.appender() }),
            integrity,
            metastore: Arc::clone(&metastore),
            market: Arc::new(super::ConfiguredMarket(gateway.route_book())),
            standing: Arc::default(),
            sso,
            replicas,
            answers: Arc::new(NodeAnswers { gateway: Arc::clone(&gateway), appender: wal.appender() }),
            prices,
            instruments: Arc::new(instruments),
            settings: Arc::new(ConsoleSettings {
                gateway_url: reached_at.trim_end_matches('/').to_owned(),
                program: options.program.clone(),
                tenant: DEFAULT_TENANT.to_owned(),
                secure_cookies: console_url.starts_with("https://"),
                scratch_dir: data.join("scratch"),
                clock: || chrono::Utc::now().timestamp_micros(),
            }),
            shutdown: reading.clone(),
        };
        tasks.spawn(async move {
            if let Err(error) = tollgate_console::serve(console_listener, state).await {
                tracing::error!(%error, "the console stopped; the gateway and the log go on");
            }
        });

        gateway.set_ready(true);
        let drain = Duration::from_secs(config.server.drain_seconds);
        let accepting = serving.clone();
        let gateway = tasks.spawn(async move { Ok(gateway.serve(gateway_listener, accepting, drain).await?) });
        data.announce(&RunningServer {
            gateway: gateway_url.clone(),
            console: console_url.clone(),
            process_id: std::process::id(),
            policies: config.policies.as_ref().map(|configured| configured.value.clone()),
        })?;
        let appender = wal.appender();
        let parts = Parts { data, wal, lake, serving, flushing, reading, gateway, outbox, flusher, tasks };
        Ok(Node { gateway_url, console_url, first_key, login_url, appender, metastore, parts })
    }

    /// Serves until `stop`, then stops in order: calls end, their rows are flushed and committed, readers go last.
    ///
    /// # Errors
    /// If a part ended by itself or could not be stopped in order. What was acknowledged is in the log all the same.
    pub(crate) async fn run_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Node { appender, parts, .. } = self;
        let mut gateway = parts.gateway;
        let served = tokio::select! {
            ended = &mut gateway => ended,
            () = stop => {
                tracing::info!("stopping: calls in flight may end");
                parts.serving.cancel();
                (&mut gateway).await
            }
        };
        drop(appender);
        parts.serving.cancel();
        if let Err(error) = parts.outbox.await {
            tracing::error!(%error, "the last changes of the control plane will be logged at the next start");
        }
        parts.flushing.cancel();
        if let Err(error) = parts.flusher.await {
            tracing::error!(%error, "the flusher ended abnormally; the log keeps what it did not hand over");
        }
        if parts.lake.commits()
            && let Err(error) = parts.lake.commit_inbox().await
        {
            tracing::warn!(%error, "the last rows are in the inbox and will be committed at the next start");
        }
        parts.reading.cancel();
        parts.tasks.close();
        parts.tasks.wait().await;
        parts.data.withdraw();
        if let Some(wal) = Arc::into_inner(parts.wal) {
            wal.close()?;
        }
        served.context("the gateway ended abnormally")?
    }
}

async fn bind(wanted: Option<&String>, configured: &str) -> anyhow::Result<TcpListener> {
    let address = wanted.map_or(configured, String::as_str);
    TcpListener::bind(address).await.with_context(|| format!("listening on `{address}`; is another server there?"))
}

/// A virtual key for a gateway that has none.
async fn first_key(metastore: &dyn Metastore) -> anyhow::Result<Option<String>> {
    if !metastore.list_keys().await?.is_empty() {
        return Ok(None);
    }
    let key = NewKey {
        name: "first".to_owned(),
        tenant: DEFAULT_TENANT.to_owned(),
        team: "default".to_owned(),
        ..NewKey::default()
    };
    Ok(Some(metastore.create_key(key).await?.secret))
}

/// What a newcomer may name: aliases first, then what providers list, then the sandbox.
fn model_names(config: &Config) -> Vec<String> {
    let listed = config
        .providers
        .iter()
        .flat_map(|(name, provider)| provider.models.iter().map(move |model| format!("{name}/{model}")));
    let mut names: Vec<String> = config.models.keys().cloned().chain(listed).collect();
    names.extend(tollgate_provider::sandbox::MODELS.iter().map(|model| format!("sandbox/{model}")));
    names
}

/// Aliases that leave out what a target's format cannot express.
fn tolerant_models(config: &Config) -> Vec<String> {
    let is_tolerant = |model: &tollgate_config::Model| model.on_unsupported == OnUnsupported::Drop;
    config.models.iter().filter(|(_, model)| is_tolerant(model)).map(|(alias, _)| alias.clone()).collect()
}

/// Providers whose models are not listed anywhere: they are asked for any.
fn open_providers(config: &Config) -> Vec<String> {
    let providers = config.gateway_settings([0; 32], String::new()).providers.into_iter();
    providers.filter(|provider| provider.models.is_none()).map(|provider| provider.name).collect()
}

/// The token by which commands on this machine reach this server.
async fn write_local_token(data: &DataDir, metastore: &dyn Metastore) -> anyhow::Result<()> {
    if let Some(kept) = data.local_token()
        && metastore.api_token(kept.trim()).await?.is_some()
    {
        return Ok(());
    }
    data.write_private("api-token", metastore.create_api_token(Role::Admin).await?.as_bytes())
}

/// Passes the watermarks of every published snapshot to the flusher, which does not know the lake.
struct FollowWatermarks {
    snapshots: watch::Receiver<Arc<LakeSnapshot>>,
    watermarks: watch::Sender<Option<Arc<Watermarks>>>,
}

fn follow_watermarks(lake: &Lake) -> (Committed, FollowWatermarks) {
    let mut snapshots = lake.watch();
    let now = Arc::new(snapshots.borrow_and_update().watermarks.clone());
    let (watermarks, committed) = watch::channel(Some(now));
    (Committed::InLake(committed), FollowWatermarks { snapshots, watermarks })
}

impl FollowWatermarks {
    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.snapshots.changed() => if changed.is_err() { return },
            }
            let now = Arc::new(self.snapshots.borrow_and_update().watermarks.clone());
            self.watermarks.send_replace(Some(now));
        }
    }
}
