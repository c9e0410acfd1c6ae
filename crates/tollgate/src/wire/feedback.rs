//! The two snapshots the proxy reads: control (from the metastore) and signals (from the log). Each has one task that
//! replaces it; the proxy never waits for either.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tollgate_analytics::Analytics;
use tollgate_metastore::Metastore;
use tollgate_policy::control::ControlSnapshot;
use tollgate_policy::signals::SignalsSnapshot;

/// How often another process's changes of keys and policies are looked for.
const CONTROL_INTERVAL: Duration = Duration::from_millis(500);
/// How often spend and health are read from the log.
const SIGNALS_INTERVAL: Duration = Duration::from_secs(1);

/// Replaces the control snapshot whenever the metastore's revision has moved.
pub(super) async fn follow_control(
    metastore: Arc<dyn Metastore>,
    control: Arc<ArcSwap<ControlSnapshot>>,
    shutdown: CancellationToken,
) {
    while pause(CONTROL_INTERVAL, &shutdown).await {
        if let Err(error) = refresh_control(metastore.as_ref(), &control).await {
            tracing::error!(
                error = format!("{error:#}"),
                "keys and policies could not be refreshed; the last ones stay"
            );
        }
    }
}

async fn refresh_control(metastore: &dyn Metastore, control: &ArcSwap<ControlSnapshot>) -> anyhow::Result<()> {
    if metastore.revision().await? == control.load().revision {
        return Ok(());
    }
    let snapshot = ControlSnapshot::compile(&metastore.control_document().await?)?;
    tracing::info!(revision = snapshot.revision, "keys and policies changed");
    control.store(Arc::new(snapshot));
    Ok(())
}

/// Replaces the signals snapshot every second. While the log cannot be read the last one ages, which policy sees.
pub(super) async fn follow_signals(
    analytics: Arc<Analytics>,
    control: Arc<ArcSwap<ControlSnapshot>>,
    signals: Arc<ArcSwap<SignalsSnapshot>>,
    shutdown: CancellationToken,
) {
    while pause(SIGNALS_INTERVAL, &shutdown).await {
        analytics.follow_budgets(control.load().bundle.tallies());
        match analytics.signals(chrono::Utc::now().timestamp_micros()).await {
            Ok(snapshot) => signals.store(Arc::new(snapshot)),
            Err(error) => {
                tracing::error!(%error, "spend and health could not be read from the log; the last ones stay")
            }
        }
    }
}

/// Waits; false once it is time to stop.
pub(super) async fn pause(interval: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(interval) => true,
    }
}
