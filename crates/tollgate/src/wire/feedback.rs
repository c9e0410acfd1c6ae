//! The two snapshots the proxy reads: control (from the metastore) and signals (from the log). Each has one task that
//! replaces it; the proxy never waits for either.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tollgate_analytics::Analytics;
use tollgate_gateway::Gateway;
use tollgate_interaction::{ControlEvent, Governance};
use tollgate_metastore::Metastore;
use tollgate_policy::Bundle;
use tollgate_policy::control::ControlSnapshot;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_wal::Appender;

use super::policy_file::Refusal;

/// How often another process's changes of keys and policies are looked for.
const CONTROL_INTERVAL: Duration = Duration::from_millis(500);
/// How often spend and health are read from the log.
const SIGNALS_INTERVAL: Duration = Duration::from_secs(1);

/// The control plane as the proxy follows it.
pub(super) struct ControlPlane {
    pub(super) metastore: Arc<dyn Metastore>,
    pub(super) control: Arc<ArcSwap<ControlSnapshot>>,
    pub(super) appender: Appender,
    pub(super) gateway: Arc<Gateway>,
    /// Why the active bundle is not in force here.
    pub(super) refusal: Refusal,
}

impl ControlPlane {
    /// Replaces the control snapshot whenever the metastore's revision has moved. While the metastore is away the last
    /// snapshot stays, and the log says from when to when that was.
    pub(super) async fn follow(self, shutdown: CancellationToken) {
        let mut away = false;
        self.look_at_the_first().await;
        while pause(CONTROL_INTERVAL, &shutdown).await {
            let refreshed = self.refresh().await;
            if let Err(error) = &refreshed {
                tracing::error!(
                    error = format!("{error:#}"),
                    "keys and policies could not be refreshed; the last ones stay"
                );
            }
            if refreshed.is_err() != away {
                away = refreshed.is_err();
                self.record(if away { "metastore.unreachable" } else { "metastore.reachable" }).await;
            }
        }
    }

    async fn refresh(&self) -> anyhow::Result<()> {
        if self.metastore.revision().await? == self.control.load().revision {
            return Ok(());
        }
        let mut snapshot = ControlSnapshot::compile(&self.metastore.control_document().await?)?;
        tracing::info!(revision = snapshot.revision, "keys and policies changed");
        self.hold(&mut snapshot).await;
        self.control.store(Arc::new(snapshot));
        Ok(())
    }

    /// There is no bundle before the first: one that names what is not served here is in force all the same.
    async fn look_at_the_first(&self) {
        let bundle = Arc::clone(&self.control.load().bundle);
        if let Err(mistake) = self.gateway.check_bundle(&bundle) {
            self.tell(&bundle, format!("names what is not served here, and such calls are denied: {mistake}")).await;
        }
    }

    /// A bundle that names what is not served here changes nothing: the last one stays, with the keys as they are now.
    async fn hold(&self, snapshot: &mut ControlSnapshot) {
        let last = Arc::clone(&self.control.load().bundle);
        match self.gateway.check_bundle(&snapshot.bundle) {
            Ok(()) => *self.refusal.lock() = None,
            Err(_) if last.hash == snapshot.bundle.hash => {}
            Err(mistake) => {
                let refused = std::mem::replace(&mut snapshot.bundle, last);
                self.tell(&refused, format!("is not in force here, the last bundle is: {mistake}")).await;
            }
        }
    }

    /// Says on every page, in the server's log and among the changes what is wrong with the active bundle, once.
    async fn tell(&self, bundle: &Bundle, what: String) {
        let subject = format!("{} {}", bundle.name, &bundle.hash[..12.min(bundle.hash.len())]);
        let said = format!("the bundle {subject} {what}");
        if self.refusal.lock().replace(said.clone()).is_some_and(|before| before == said) {
            return;
        }
        tracing::error!("{said}; activate one that fits this configuration (`tollgate policy check --config`)");
        self.append("bundle.refused", subject, what).await;
    }

    /// Straight into the log: the metastore, which would take it, is what it is about.
    async fn record(&self, action: &str) {
        let detail = format!("calls go on with control revision {}", self.control.load().revision);
        self.append(action, "metastore".to_owned(), detail).await;
    }

    async fn append(&self, action: &str, subject: String, detail: String) {
        let at_us = chrono::Utc::now().timestamp_micros();
        let event = ControlEvent {
            event_id: format!("{action}-{at_us}"),
            at_us,
            tenant: String::new(),
            actor: "gateway".to_owned(),
            action: action.to_owned(),
            subject,
            detail,
        };
        if let Err(error) = self.appender.append_durable(&Governance::Control(event).into()).await {
            tracing::warn!(%error, action, "the log took no record of this");
        }
    }
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
