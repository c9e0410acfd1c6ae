//! What is beside the calls on its way into the log: changes of the control plane, which the metastore keeps in the same
//! transaction as the change itself, and readings of content.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tollgate_analytics::{Analytics, QueryLimits};
use tollgate_console::AccessLog;
use tollgate_interaction::{AccessEvent, ControlEvent, Governance};
use tollgate_metastore::Metastore;
use tollgate_wal::Appender;

use super::feedback::pause;

/// How often another process's changes are looked for; those of this process are told of at once.
const INTERVAL: Duration = Duration::from_millis(500);
/// Changes looked at in one turn, newest first: more than can be made between two.
const RECENT: u32 = 10_000;

/// Copies changes into the log, each exactly once: what is in the log already, whoever put it there, is known by its id.
pub(super) struct ControlOutbox {
    metastore: Arc<dyn Metastore>,
    analytics: Arc<Analytics>,
    appender: Appender,
    /// Ids of the changes that are in the log; `None` until it has been asked.
    logged: Option<HashSet<String>>,
    revision: u64,
}

impl ControlOutbox {
    pub(super) fn new(metastore: Arc<dyn Metastore>, analytics: Arc<Analytics>, appender: Appender) -> Self {
        ControlOutbox { metastore, analytics, appender, logged: None, revision: 0 }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.metastore.changes();
        loop {
            if let Err(error) = self.carry_over().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "changes of the control plane could not be logged yet; trying again"
                );
            }
            tokio::select! {
                going_on = pause(INTERVAL, &shutdown) => if !going_on { break },
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
        // What was changed last is logged before the log closes.
        if let Err(error) = self.carry_over().await {
            tracing::warn!(
                error = format!("{error:#}"),
                "the last changes of the control plane will be logged at the next start"
            );
        }
    }

    async fn carry_over(&mut self) -> anyhow::Result<()> {
        let revision = self.metastore.revision().await?;
        if self.logged.is_some() && revision == self.revision {
            return Ok(());
        }
        let mut logged = match self.logged.take() {
            Some(logged) => logged,
            None => already_logged(&self.analytics).await?,
        };
        let mut changes = self.metastore.control_events(RECENT).await?;
        changes.reverse();
        for change in changes {
            // The number alone would mean another change after a metastore was replaced.
            let event_id = format!("{}-{}", change.revision, change.at_us);
            if logged.contains(&event_id) {
                continue;
            }
            let event = ControlEvent {
                event_id: event_id.clone(),
                at_us: change.at_us,
                tenant: String::new(),
                actor: change.author,
                action: change.action,
                subject: change.subject,
                detail: change.detail,
            };
            self.appender.append_durable(&Governance::Control(event).into()).await?;
            logged.insert(event_id);
        }
        self.logged = Some(logged);
        self.revision = revision;
        Ok(())
    }
}

async fn already_logged(analytics: &Analytics) -> anyhow::Result<HashSet<String>> {
    let limits = QueryLimits { max_rows: usize::MAX, ..QueryLimits::default() };
    let found = analytics.sql("SELECT event_id FROM control_events", limits).await?;
    let mut logged = HashSet::new();
    for batch in &found.batches {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        logged.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(logged)
}

/// Records readings in the write-ahead log.
pub(super) struct WalAccessLog {
    pub(super) appender: Appender,
}

impl AccessLog for WalAccessLog {
    fn record(&self, event: AccessEvent) -> BoxFuture<'static, Result<(), String>> {
        let appender = self.appender.clone();
        async move {
            let appended = appender.append_durable(&Governance::Access(event).into()).await;
            appended.map(|_| ()).map_err(|error| error.to_string())
        }
        .boxed()
    }
}
