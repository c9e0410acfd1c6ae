//! What the lake needs from time to time: compaction, retention, and deleting what nobody reads any more. Done by the process
//! that commits, on a thread of its own: the calls come first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tollgate_config::Config;
use tollgate_flush::committed_seq;
use tollgate_interaction::{ControlEvent, Governance};
use tollgate_lake::Lake;
use tollgate_lake::retain::{Expiry, HoldScope, RetentionClass, RetentionPolicy};
use tollgate_metastore::Metastore;
use tollgate_wal::Wal;

use super::feedback::pause;

/// How often it is looked whether files are to be compacted.
const COMPACT_INTERVAL: Duration = Duration::from_secs(60);
/// Tasks of one turn, so that other work of the lake has its turn too.
const TASKS_AT_ONCE: usize = 8;
/// How often it is looked whether something expires, and what can be deleted.
const CLEAN_INTERVAL: Duration = Duration::from_secs(3_600);
/// How long an announcement may take to reach the lake.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(300);

/// Who announces and executes what retention asks for.
pub(super) struct Maintenance {
    pub(super) lake: Arc<Lake>,
    pub(super) wal: Arc<Wal>,
    pub(super) metastore: Arc<dyn Metastore>,
    pub(super) classes: Vec<RetentionClass>,
    pub(super) keep_removed: Duration,
}

/// The classes of the configuration; those that name teams first, as the lake asks them in this order.
pub(crate) fn retention_classes(config: &Config) -> Vec<RetentionClass> {
    let class = |(name, class): (&String, &tollgate_config::Retention)| RetentionClass {
        name: name.clone(),
        teams: class.teams.clone(),
        payload_days: class.payload_days,
        record_days: class.record_days,
    };
    let mut classes: Vec<RetentionClass> =
        config.log.retention.iter().map(|(name, written)| class((name, &written.value))).collect();
    classes.sort_by_key(|class| class.teams.is_empty());
    classes
}

/// The rules with the holds that last now.
pub(crate) async fn retention_policy(
    classes: Vec<RetentionClass>,
    metastore: &dyn Metastore,
) -> anyhow::Result<RetentionPolicy> {
    let mut holds = Vec::new();
    for hold in metastore.list_holds().await? {
        let scope: HoldScope = serde_json::from_str(&hold.scope).with_context(|| {
            format!("the legal hold `{}` has the scope `{}`, which is none", hold.matter, hold.scope)
        })?;
        holds.push(scope);
    }
    Ok(RetentionPolicy { classes, holds })
}

impl Maintenance {
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let mut cleaned_at: Option<Instant> = None;
        while pause(COMPACT_INTERVAL, &shutdown).await {
            if !self.lake.commits() {
                continue;
            }
            self.compact().await;
            if cleaned_at.is_none_or(|at| at.elapsed() >= CLEAN_INTERVAL) {
                cleaned_at = Some(Instant::now());
                if let Err(error) = self.clean().await {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "retention could not do its work; it is tried again in an hour"
                    );
                }
            }
        }
    }

    async fn compact(&self) {
        let lake = Arc::clone(&self.lake);
        let now_us = chrono::Utc::now().timestamp_micros();
        let runtime = tokio::runtime::Handle::current();
        // Sorting and compressing take seconds: not on a thread that serves calls.
        let work = move || runtime.block_on(lake.compact(now_us, TASKS_AT_ONCE));
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(report)) if report.commits > 0 => tracing::info!(
                report.commits,
                report.rows,
                "{} files became {}",
                report.files_before,
                report.files_after
            ),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %tollgate_flush::error_chain(&error), "files could not be compacted; it is tried again");
            }
            Err(error) => tracing::warn!(%error, "a compaction was stopped"),
        }
    }

    async fn clean(&self) -> anyhow::Result<()> {
        let policy = retention_policy(self.classes.clone(), self.metastore.as_ref()).await?;
        let now_us = chrono::Utc::now().timestamp_micros();
        let mut expiries = self.lake.expired(&policy, now_us).await?;
        expiries.retain(|expiry| expiry.rows > 0);
        if !expiries.is_empty() {
            self.announce(&expiries, now_us).await?;
            // Once more: a hold may have been placed meanwhile.
            let policy = retention_policy(self.classes.clone(), self.metastore.as_ref()).await?;
            let done = self.lake.expire(&policy, &expiries, now_us).await?;
            tracing::info!(done.rows, done.commits, "{} rows expired", done.rows);
        }
        let deleted = self.lake.vacuum(self.keep_removed, false).await?;
        if !deleted.files.is_empty() {
            tracing::info!(
                "{} files that no reader can see were deleted, {} bytes",
                deleted.files.len(),
                deleted.bytes
            );
        }
        Ok(())
    }

    /// Records what is about to go, and waits until the record is in the lake: whoever verifies finds it there.
    async fn announce(&self, expiries: &[Expiry], now_us: i64) -> anyhow::Result<()> {
        let appender = self.wal.appender();
        let mut last_seq = 0;
        for expiry in expiries {
            let event = ControlEvent {
                event_id: format!("{}-{}-{}", expiry.action(), expiry.subject(), now_us),
                at_us: now_us,
                tenant: String::new(),
                actor: "retention".to_owned(),
                action: expiry.action().to_owned(),
                subject: expiry.subject(),
                detail: format!("class {}: {} rows, {} held", expiry.class, expiry.rows, expiry.held),
            };
            last_seq = appender.append_durable(&Governance::Control(event).into()).await?;
        }
        let (writer, epoch) = (self.wal.writer().clone(), self.wal.epoch());
        let mut snapshots = self.lake.watch();
        let reached = snapshots.wait_for(|snapshot| committed_seq(&snapshot.watermarks, &writer, epoch) >= last_seq);
        tokio::time::timeout(ANNOUNCE_TIMEOUT, reached).await.context("the announcement did not reach the lake")??;
        Ok(())
    }
}
