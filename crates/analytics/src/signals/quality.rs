//! Quality of targets: what their answers were judged, from `feedback` joined with the calls it is about. That join looks a
//! month back, so it is made beside the signals and not in their way: a snapshot has the figures of the last one, and the
//! next begins once there is new feedback and the engine has had a long rest from the one before.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tollgate_interaction::Share;
use tollgate_interaction::schema::Table;
use tollgate_policy::signals::{QUALITY_DAYS, TargetSignals};

use crate::report::judged_targets;
use crate::statistics::wilson_lower;
use crate::view::{Reading, complete_files};

/// Shortest time between two joins.
const INTERVAL: Duration = Duration::from_secs(5);
/// Share of the time that joins may take: one in so many parts.
const ONE_PART_IN: u32 = 20;
const US_PER_DAY: i64 = 86_400_000_000;

/// The judged calls of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Judged {
    /// Calls.
    pub(crate) calls: u64,
    /// Mean over them of the mean of their scores, from −1 to 1.
    pub(crate) mean: f64,
}

#[derive(Default)]
pub(super) struct QualityCache {
    state: Arc<std::sync::Mutex<State>>,
    /// Stops with the cache.
    running: std::sync::Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct State {
    targets: BTreeMap<String, Judged>,
    /// What feedback they are from.
    seen: u64,
    due: Option<Instant>,
    is_running: bool,
}

impl QualityCache {
    /// Enters what is known into `targets`, and has the join made again if it is time.
    pub(super) fn enter(&self, reading: &Reading, now_us: i64, targets: &mut BTreeMap<String, TargetSignals>) {
        let rows = feedback_rows(reading);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, judged) in &state.targets {
            let signals = targets.entry(name.clone()).or_default();
            let share = (judged.mean + 1.0) / 2.0;
            signals.quality_mean = Share::from_f64(share);
            signals.quality_lower = wilson_lower(share, judged.calls).and_then(Share::from_f64);
            signals.quality_n = judged.calls;
        }
        let is_due = state.due.is_none_or(|due| Instant::now() >= due);
        if rows == state.seen || state.is_running || !is_due {
            return;
        }
        state.is_running = true;
        drop(state);
        let (reading, state) = (reading.clone(), Arc::clone(&self.state));
        let engine = Arc::clone(&reading.engine);
        let task = engine.start(async move {
            let begun = Instant::now();
            let found = judged_targets(&reading, now_us - QUALITY_DAYS * US_PER_DAY).await;
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_running = false;
            state.due = Some(Instant::now() + INTERVAL.max(begun.elapsed() * ONE_PART_IN));
            match found {
                Ok(targets) => (state.targets, state.seen) = (targets, rows),
                Err(error) => tracing::warn!(%error, "feedback could not be joined with its calls; trying again"),
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = task;
    }
}

/// Rows of feedback, which only grow while nothing expires.
fn feedback_rows(reading: &Reading) -> u64 {
    let files: u64 = complete_files(&reading.lake, Table::Feedback).iter().map(|file| file.rows).sum();
    let hot = reading.hot.chunks.iter().map(|chunk| chunk.batches.feedback.num_rows() as u64);
    files + hot.sum::<u64>()
}
