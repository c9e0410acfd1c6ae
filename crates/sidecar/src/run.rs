//! The sidecar's parts, started in order and stopped in the opposite one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fs_err as fs;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_config::Config;
use tollgate_flush::flusher::{Committed, FlushSettings, FlushStatus, Flusher};
use tollgate_flush::keys::KeySource;
use tollgate_flush::store;
use tollgate_gateway::{Gateway, LeaseSettings, Readiness};
use tollgate_wal::{Wal, WalStatus};

use crate::Arguments;
use crate::leases::Lender;
use crate::prices::PriceCopy;
use crate::snapshot::ControlPlane;

/// A sidecar shares its machine with an application: memory of the rows on their way to the bucket.
const HOT_MAX_BYTES: usize = 64 << 20;
const HAND_OVER_MAX_BYTES: usize = 16 << 20;

/// Serves until SIGTERM or Ctrl+C.
///
/// # Errors
/// If a part cannot be started; what was started before it is stopped with the process.
pub(crate) async fn until_stopped(config: Config, arguments: &Arguments) -> anyhow::Result<()> {
    let data = create_private(&arguments.data)?;
    let url = config.log.store.as_ref().context("a sidecar needs `log.store`, the bucket it writes to")?.value.clone();
    let address = arguments.gateway.clone().unwrap_or_else(|| config.server.gateway.value.clone());
    let listener = TcpListener::bind(&address).await.with_context(|| format!("listening on `{address}`"))?;
    let gateway_url = format!("http://{}", listener.local_addr()?);

    let wal = Arc::new(Wal::open(config.wal_settings(data.join("wal"))).context("opening the write-ahead log")?);
    let bucket = store::open(&url, &config.store_options())?;
    let flush = FlushSettings {
        interval: Duration::from_secs(config.log.flush_seconds),
        keys: KeySource::variable_or_file("TOLLGATE_WRITER_KEY", data.join("keys/writer.key")),
        max_bytes: HAND_OVER_MAX_BYTES,
        hot_max_bytes: HOT_MAX_BYTES,
        ..FlushSettings::new(data.join("flush"))
    };
    // Nobody commits in this process, so nobody waits for the notification.
    let flusher = Flusher::new(flush, Arc::clone(&wal), bucket, Committed::HandedOver, Arc::new(Notify::new()))?;
    let control_plane = ControlPlane::connect(&config, &data).await?;
    let prices = PriceCopy { config: config.clone(), data: data.clone() };
    if let Err(error) = prices.catch_up(&control_plane).await {
        tracing::warn!(error = format!("{error:#}"), "starting with the prices kept from before");
    }
    let mut settings = config.gateway_settings(secret(&data)?, format!("{}/{}", wal.writer(), wal.epoch()));
    if config.keeps_by_leases() {
        let office = Arc::new(Lender(control_plane.door()));
        settings.leases = Some(LeaseSettings { office, on_down: settings.on_ledger_down });
    }
    settings.cache = Some(config.cache_settings(&data));
    let gateway = Gateway::new(
        settings,
        wal.appender(),
        Arc::clone(&control_plane.control),
        Arc::clone(&control_plane.signals),
        prices.book()?.catalog,
    )?;
    control_plane.settle(&gateway)?;
    let control_plane = Arc::new(control_plane);
    let (log, handing_over) = (Arc::clone(&wal), flusher.status());
    let (asked, plane) = (Arc::downgrade(&gateway), Arc::clone(&control_plane));
    gateway.ask_readiness(move || {
        let mut readiness = readiness(&log.status(), &handing_over.borrow());
        let ledger = asked.upgrade().and_then(|gateway| gateway.ledger_trouble());
        readiness.problems.extend(ledger.map(|(why, mode)| format!("{why} (`on_ledger_down: {}`)", mode.as_str())));
        readiness.problems.extend(plane.refused());
        readiness
    });
    gateway.set_ready(true);
    announce(&gateway_url, arguments.json);

    let (serving, flushing) = (CancellationToken::new(), CancellationToken::new());
    let tasks = TaskTracker::new();
    let background = tasks.spawn(flusher.run(flushing.clone()));
    let (following, priced) = (serving.clone(), Arc::clone(&gateway));
    tasks.spawn(async move { control_plane.follow(&prices, &priced, following).await });
    let stopping = serving.clone();
    tasks.spawn(async move {
        wait_for_signal().await;
        stopping.cancel();
    });
    let served = gateway.serve(listener, serving.clone(), Duration::from_secs(config.server.drain_seconds)).await;
    serving.cancel();
    // Calls have ended: what they appended is handed over, as far as the bucket allows, and the rest stays in the log.
    flushing.cancel();
    if let Err(error) = background.await {
        tracing::error!(%error, "the flusher ended abnormally; the log keeps what it did not hand over");
    }
    if let Some(wal) = Arc::into_inner(wal) {
        wal.close()?;
    }
    Ok(served?)
}

/// For `/health/ready`. A sidecar that cannot reach the bucket goes on; one that cannot record does not.
fn readiness(wal: &WalStatus, flush: &FlushStatus) -> Readiness {
    let mut problems: Vec<String> = wal.problem().into_iter().collect();
    if flush.gaps > 0 {
        problems.push(format!(
            "{} places of the write-ahead log could not be read: the numbers that are missing are recorded in `log_gaps`",
            flush.gaps
        ));
    }
    if let Some(error) = &flush.last_error {
        problems.push(format!(
            "rows cannot be handed over to the store: the write-ahead log keeps them and it is tried again: {error}"
        ));
    }
    Readiness { ready: wal.takes_calls(), problems }
}

#[expect(clippy::print_stdout, reason = "where it listens is what the program has to say")]
fn announce(gateway: &str, json: bool) {
    if json {
        println!("{}", serde_json::json!({"gateway": gateway, "process_id": std::process::id()}));
    } else {
        println!("gateway  {gateway}");
    }
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be waited for; only Ctrl+C stops this process in order");
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

fn create_private(path: &Path) -> anyhow::Result<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    if !path.exists() {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(fs::canonicalize(path)?)
}

/// The key of the users' hashes: made once, kept for this sidecar.
fn secret(data: &Path) -> anyhow::Result<[u8; 32]> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = data.join("user-hash-key");
    if let Ok(kept) = fs::read(&path) {
        return kept.try_into().map_err(|_| anyhow::anyhow!("`{}` does not hold 32 bytes", path.display()));
    }
    let key: [u8; 32] = rand::random();
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(key)
}
