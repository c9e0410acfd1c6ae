//! Budget: a back-test takes at most 6 times as long as the engine takes to read the columns it needs, of the same rows, in the
//! order that it needs them in.
//!
//! The bundle has ten access rules, four of them with conditions over the call, and is not the one that decided, so that
//! every call is put to it: once without a budget, when calls are decided in any order, and once with one, when they are put
//! in their order and each goes by what those before it would have spent. Both read the same compacted files in this process,
//! in turns, with as many threads as processors.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use futures::StreamExt as _;
use serde_json::json;
use tollgate_analytics::backtest::{Market, Trial};
use tollgate_analytics::report::TimeRange;
use tollgate_analytics::{Analytics, AnalyticsSettings};
use tollgate_interaction::{Usage, Usd};
use tollgate_policy::bundle;
use tollgate_policy::route::{Offer, Way, WhenAllRest};

use super::median;
use crate::dataset::{DAY_BEGINS_US, Ordinary};
use crate::report::{Budget, Report, short};
use crate::stage::Stage;
use crate::writer::{Folders, make_lake, on_all_processors};
use crate::{Settings, say};

const BUDGET: f64 = 6.0;
const CALLS: u64 = 200_000;
const DAY_US: i64 = 86_400_000_000;

/// Ten rules, four of them over the call; the last lets it through.
fn bundle_text(has_budget: bool) -> String {
    let mut text = "apiVersion: tollgate/v1\nbundle: {name: bench, version: \"1\"}\naccess:\n".to_owned();
    for (id, when) in [
        ("a", "request.metadata.env == \"staging\""),
        ("b", "principal.team == \"nobody\" && request.hour < 6"),
        ("c", "request.stream && request.operation == \"embeddings\""),
        ("d", "request.weekday > 5 && request.model.startsWith(\"none/\")"),
    ] {
        text.push_str(&format!("  - {{id: {id}, when: '{when}', deny: \"not so\"}}\n"));
    }
    for number in 0..5 {
        text.push_str(&format!("  - {{id: r{number}, when: \"true\", allow: {{models: [\"none-{number}/*\"]}}}}\n"));
    }
    text.push_str("  - {id: all, when: \"true\", allow: {}}\n");
    if has_budget {
        text.push_str(
            "budgets:\n  - id: month-per-team\n    scope: {team: \"*\"}\n    limit: {usd: \"100000\", per: month}\n    \
             steps: [{at: 1.00, deny_unless: \"false\"}]\n",
        );
    }
    text
}

struct Flat;

impl Market for Flat {
    fn cost(&self, _: &str, _: &str, _: &Usage, _: i64) -> Option<Usd> {
        Some(Usd::new(1_000_000))
    }
    fn offer(&self, _: &str, _: &str) -> Option<Arc<dyn Offer>> {
        None
    }
    fn stands_for(&self, _: &str) -> Option<Way<Arc<dyn Offer>>> {
        None
    }
    fn when_all_rest(&self) -> WhenAllRest {
        WhenAllRest::Try
    }
}

/// Makes a lake, then puts its calls to both bundles.
///
/// # Errors
/// If the lake cannot be made, or not every call is replayed.
pub(crate) fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let calls = settings.calls.unwrap_or(CALLS);
    let title = format!("a lake of {calls} ordinary calls, compacted, the middle of {} rounds", settings.rounds);
    let mut report = Report::start("backtest", title, vec!["what", "s", "calls/s", "× scan"]);
    let folders = Folders::in_folder(stage.folder("backtest")?);
    say("backtest: making a lake");
    on_all_processors(make_lake(&folders, Ordinary::new(17, calls), 10_000.min(calls / 4).max(1)))?;
    on_all_processors(async {
        let lake = folders.open_lake().await?;
        while lake.compact(DAY_BEGINS_US + 3 * DAY_US, usize::MAX).await?.commits > 0 {}
        anyhow::Ok(())
    })?;
    for (name, has_budget) in [("without a budget", false), ("with a budget, in order", true)] {
        let (mut scans, mut tests) = (Vec::new(), Vec::new());
        for round in 1..=settings.rounds {
            say(&format!("backtest {name}, round {round} of {}", settings.rounds));
            let (scan_s, test_s) = on_all_processors(once(&folders, has_budget, calls))?;
            scans.push(scan_s);
            tests.push(test_s);
        }
        let (scan_s, test_s) = (median(scans), median(tests));
        for (what, seconds) in [(format!("scan, {name}"), scan_s), (format!("back-test, {name}"), test_s)] {
            let cells = vec![what.clone(), short(seconds), short(calls as f64 / seconds), short(seconds / scan_s)];
            report.row(cells, json!({"what": what, "elapsed_s": seconds}));
        }
        report.budget(Budget::at_most(format!("back-test / scan, {name}"), test_s / scan_s, BUDGET));
    }
    Ok(report)
}

async fn once(folders: &Folders, has_budget: bool, calls: u64) -> anyhow::Result<(f64, f64)> {
    let analytics = Analytics::new(folders.read_lake().await?, None, AnalyticsSettings::new(|_, _| Vec::new()))?;
    let trial = Trial {
        bundle: Arc::new(bundle::load(&bundle_text(has_budget))?),
        range: TimeRange::new(DAY_BEGINS_US - DAY_US, DAY_BEGINS_US + 30 * DAY_US),
        decided_by: None,
        sample: 20,
        guard_sample: 0,
        keys: Arc::default(),
        market: Arc::new(Flat),
    };
    let reading = analytics.reading();
    let started = Instant::now();
    let (mut rows, mut batches) = (0, reading.stream("scan", &trial.scan()));
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows() as u64;
    }
    let scan_s = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let found = reading.backtest(trial).await?;
    let test_s = started.elapsed().as_secs_f64();
    if rows != calls || found.replayed != calls {
        bail!("{rows} rows were read and {} replayed of {calls}", found.replayed);
    }
    Ok((scan_s, test_s))
}
