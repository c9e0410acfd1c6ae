//! Questions to a real lake with rows in memory beside it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says by panicking what is wrong")]

mod experiments;
mod support;
mod tenants;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use support::{MORNING_US, TestLog, call, calls, denied};
use tollgate_analytics::report::{Bucket, CostGroup, InteractionFilter, Page, TimeRange, recorded_calls};
use tollgate_analytics::{Analytics, AnalyticsSettings, QueryLimits, SqlError, output};
use tollgate_flush::hot::{HotItem, HotRow};
use tollgate_interaction::{EventId, Governance, Operation, Outcome, PriceCorrection, UsageSource, Usd};
use tollgate_policy::ledger::Tally;
use tollgate_policy::scope::Dimension;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_policy::window::{Period, Window};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 86_400_000_000;

fn analytics(log: &TestLog) -> Arc<Analytics> {
    let settings = AnalyticsSettings { threads: 2, ..AnalyticsSettings::new(support::transcribe) };
    Analytics::new(Arc::clone(&log.lake), Some(Arc::clone(&log.hot)), settings).unwrap()
}

async fn one(analytics: &Analytics, sql: &str) -> serde_json::Value {
    let result = analytics.sql(sql, QueryLimits::default()).await.unwrap_or_else(|error| panic!("`{sql}`: {error:?}"));
    let rows = output::to_json(&result.batches);
    assert_eq!(rows.len(), 1, "`{sql}` gave {rows:?}");
    serde_json::Value::Object(rows[0].clone())
}

async fn refused(analytics: &Analytics, sql: &str) -> SqlError {
    analytics.sql(sql, QueryLimits::default()).await.expect_err(sql)
}

fn today() -> TimeRange {
    TimeRange::new(MORNING_US - MORNING_US % DAY_US, MORNING_US - MORNING_US % DAY_US + DAY_US)
}

#[tokio::test]
async fn every_call_is_seen_once_whether_in_memory_in_the_lake_or_in_both() {
    let log = TestLog::new().await;
    let analytics = analytics(&log);
    let count =
        "SELECT count(*) AS n, count(DISTINCT interaction_id) AS ids, min(seq) AS a, max(seq) AS z FROM interactions";
    assert_eq!(one(&analytics, count).await["n"], 0);
    log.settle(calls(1..=10));
    assert_eq!(one(&analytics, count).await, serde_json::json!({"n": 10, "ids": 10, "a": 1, "z": 10}));
    log.commit(1, 6).await;
    assert_eq!(one(&analytics, count).await, serde_json::json!({"n": 10, "ids": 10, "a": 1, "z": 10}));
    log.settle(calls(11..=12));
    log.forget_committed();
    assert_eq!(one(&analytics, count).await, serde_json::json!({"n": 12, "ids": 12, "a": 1, "z": 12}));
    log.commit(7, 12).await;
    log.forget_committed();
    assert_eq!(one(&analytics, count).await, serde_json::json!({"n": 12, "ids": 12, "a": 1, "z": 12}));
    let times = one(&analytics, "SELECT min(started_at) AS a, max(started_at) AS z FROM interactions").await;
    assert_eq!(times, serde_json::json!({"a": "2026-11-23T10:00:00.001000Z", "z": "2026-11-23T10:00:00.012000Z"}));
    let joined = "SELECT count(*) AS n FROM interactions JOIN payloads USING (interaction_id)";
    assert_eq!(one(&analytics, joined).await["n"], 12);
}

#[tokio::test]
async fn no_call_is_missed_or_doubled_while_rows_move_into_the_lake() {
    const ROUNDS: u64 = 12;
    let log = TestLog::new().await;
    let analytics = analytics(&log);
    let (begun, settled) = (AtomicU64::new(0), AtomicU64::new(0));
    let write = async {
        for round in 0..ROUNDS {
            let (first, last) = (round * 3 + 1, round * 3 + 3);
            begun.store(last, Ordering::SeqCst);
            log.settle(calls(first..=last));
            settled.store(last, Ordering::SeqCst);
            tokio::task::yield_now().await;
            log.commit(first, last).await;
            tokio::task::yield_now().await;
            log.forget_committed();
        }
    };
    let read = async {
        let sql = "SELECT count(DISTINCT interaction_id) AS ids, count(interaction_id) AS n, \
                   (SELECT count(DISTINCT interaction_id) FROM payloads) AS payloads FROM interactions";
        while settled.load(Ordering::SeqCst) < 3 * ROUNDS {
            let least = settled.load(Ordering::SeqCst);
            let row = one(&analytics, sql).await;
            let most = begun.load(Ordering::SeqCst);
            let found = row["n"].as_u64().unwrap();
            assert!((least..=most).contains(&found), "{found} calls were found when {least} to {most} had settled");
            assert_eq!((&row["ids"], &row["payloads"]), (&row["n"], &row["n"]));
        }
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn a_question_about_one_day_opens_the_files_of_that_day() {
    let log = TestLog::new().await;
    let mut later = call(2);
    later.interaction.started_at_us += DAY_US;
    let mut much_later = call(3);
    much_later.interaction.started_at_us += DAY_US + 60 * MINUTE_US;
    log.settle(vec![call(1), later, much_later]);
    log.commit(1, 1).await;
    log.commit(2, 2).await;
    log.commit(3, 3).await;
    log.forget_committed();
    let analytics = analytics(&log);
    for (condition, files) in [
        ("day = '2026-11-23'", 1),
        ("day >= '2026-11-24'", 2),
        ("started_at >= '2026-11-24T10:30:00Z'", 1),
        ("started_at < '2026-11-23T12:00:00Z' OR started_at > '2026-11-24T10:30:00Z'", 2),
        ("team = 'kyc'", 3),
        ("day = '2026-01-01'", 0),
    ] {
        let sql = format!("EXPLAIN SELECT team, cost_usd FROM interactions WHERE {condition}");
        let plan = analytics.sql(&sql, QueryLimits::default()).await.unwrap();
        let plan = serde_json::to_string(&output::to_json(&plan.batches)).unwrap();
        assert_eq!(plan.matches(".parquet").count(), files, "`{condition}`: {plan}");
        let selected = format!("SELECT count(*) AS n FROM interactions WHERE {condition}");
        let expected = if condition.starts_with("team") { 2 } else { files };
        assert_eq!(one(&analytics, &selected).await["n"], expected, "{condition}");
    }
}

#[tokio::test]
async fn nothing_but_the_tables_can_be_reached_and_nothing_can_be_written() {
    let log = TestLog::new().await;
    log.settle(calls(1..=2));
    let analytics = analytics(&log);
    let target = log.dir.path().join("stolen.csv");
    for sql in [
        format!("COPY (SELECT * FROM interactions) TO '{}'", target.display()),
        format!("EXPLAIN ANALYZE COPY (SELECT * FROM interactions) TO '{}'", target.display()),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "INSERT INTO interactions SELECT * FROM interactions".to_owned(),
    ] {
        assert!(matches!(refused(&analytics, &sql).await, SqlError::Refused { .. }), "{sql}");
    }
    assert!(!target.exists());
    assert!(matches!(refused(&analytics, "SELECT * FROM '/etc/passwd'").await, SqlError::Plan { .. }));
    let unknown = refused(&analytics, "SELECT teem FROM interactions").await.to_string();
    assert!(unknown.contains("team") && !unknown.contains("api_key_id"), "{unknown}");
    assert!(matches!(refused(&analytics, "SELECT 1 +").await, SqlError::Syntax { .. }));
    assert!(matches!(
        refused(&analytics, "SELECT CAST('x' AS INT)").await,
        SqlError::Value { .. } | SqlError::Plan { .. }
    ));
}

#[tokio::test]
async fn the_questions_people_ask_are_answered() {
    let log = TestLog::new().await;
    log.settle(calls(1..=6));
    log.commit(1, 3).await;
    log.forget_committed();
    let analytics = analytics(&log);
    for (sql, rows) in [
        ("SELECT team, sum(cost_usd) AS cost FROM interactions GROUP BY team ORDER BY cost DESC", 2),
        ("SELECT tags['feature'] AS feature, count(*) FROM interactions GROUP BY 1", 1),
        ("SELECT a['provider'], a['http_status'] FROM (SELECT unnest(attempts) AS a FROM interactions)", 6),
        ("SELECT attempts[1]['model'] AS m FROM interactions WHERE array_length(attempts) > 0", 6),
        (
            "SELECT date_bin(INTERVAL '1 hour', started_at) AS hour, approx_percentile_cont(latency_us, 0.95) FROM interactions GROUP BY 1",
            1,
        ),
        ("SELECT date_trunc('day', started_at) AS d, count(*) FROM interactions GROUP BY 1", 1),
        ("SELECT encode(record_commitment, 'hex') FROM interactions WHERE seq = 1", 1),
        ("SELECT interaction_id FROM payloads WHERE CAST(request_body AS VARCHAR) LIKE '%question 5%'", 1),
        ("SELECT m['role'], m['content'] FROM (SELECT unnest(messages) AS m FROM payloads WHERE seq = 2)", 2),
        (
            "SELECT * FROM interactions WHERE started_at > now() - INTERVAL '200 years' ORDER BY started_at DESC LIMIT 2",
            2,
        ),
        ("SELECT team, rank() OVER (ORDER BY count(*) DESC) FROM interactions GROUP BY team", 2),
        ("SELECT interaction_id FROM interactions WHERE model_served ~ '^sm.*l$' AND cost_usd > 0.001", 6),
        ("SELECT DISTINCT ON (team) team, interaction_id FROM interactions ORDER BY team, started_at DESC", 2),
        ("SELECT to_char(day, '%Y-%m') AS month, count(*) FROM interactions GROUP BY 1", 1),
    ] {
        let result = analytics.sql(sql, QueryLimits::default()).await;
        assert_eq!(result.as_ref().map(|result| result.rows).ok(), Some(rows), "`{sql}` gave {:?}", result.err());
    }
    let newest = "EXPLAIN SELECT interaction_id FROM interactions ORDER BY started_at DESC LIMIT 1";
    let plan = analytics.sql(newest, QueryLimits::default()).await.unwrap();
    let plan =
        output::to_json(&plan.batches).iter().map(|row| row["plan"].as_str().unwrap().to_owned()).collect::<String>();
    assert!(plan.contains("DynamicFilter"), "the newest rows are found without reading all files: {plan}");
}

#[tokio::test]
async fn what_does_not_fit_is_left_out_and_said_to_be() {
    let log = TestLog::new().await;
    log.settle(calls(1..=20));
    let analytics = analytics(&log);
    let ask = |max_rows, max_bytes| QueryLimits { max_rows, max_bytes, timeout: Duration::from_secs(20) };
    let all = analytics.sql("SELECT * FROM interactions", ask(20, 10_000_000)).await.unwrap();
    assert_eq!((all.rows, all.truncated), (20, false));
    let some = analytics.sql("SELECT * FROM interactions", ask(7, 10_000_000)).await.unwrap();
    assert_eq!((some.rows, some.truncated), (7, true));
    let few = analytics.sql("SELECT * FROM interactions", ask(20, 4_000)).await.unwrap();
    assert!((1..20).contains(&few.rows) && few.truncated, "{} rows", few.rows);
    let endless = "SELECT count(*) FROM range(1, 1000000000000) WHERE value % 7 = 3";
    let limits = QueryLimits { timeout: Duration::from_millis(300), ..QueryLimits::default() };
    assert!(matches!(analytics.sql(endless, limits).await, Err(SqlError::TimedOut { .. })));
    assert!(analytics.sql("SHOW TABLES", QueryLimits::default()).await.unwrap().rows >= 2);
    assert!(analytics.sql("DESCRIBE interactions", QueryLimits::default()).await.unwrap().rows > 50);
}

#[tokio::test]
async fn the_list_of_calls_pages_newest_first_without_repeating_any() {
    let log = TestLog::new().await;
    log.settle(calls(1..=9));
    log.commit(1, 5).await;
    log.forget_committed();
    let analytics = analytics(&log);
    let filter = InteractionFilter { team: Some("kyc".into()), ..InteractionFilter::default() };
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = analytics.interactions(&filter, Page { limit: 2, after }).await.unwrap();
        seen.extend(page.rows.iter().map(|row| (row.started_at_us - MORNING_US) / 1_000));
        match page.next {
            Some(next) => after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, [9, 7, 5, 3, 1]);
    let id = call(3).interaction.interaction_id.to_string();
    for length in [10, 36] {
        let filter = InteractionFilter { id: Some(id[..length].to_owned()), ..InteractionFilter::default() };
        let page = analytics.interactions(&filter, Page::default()).await.unwrap();
        assert!(page.rows.iter().any(|row| row.interaction_id.to_string() == id), "{length}");
    }
}

#[tokio::test]
async fn one_call_is_shown_with_everything_that_was_said() {
    let log = TestLog::new().await;
    log.settle(calls(1..=2));
    log.commit(1, 1).await;
    log.forget_committed();
    let analytics = analytics(&log);
    for seq in [1, 2] {
        let expected = call(seq);
        let detail = analytics.interaction(expected.interaction.interaction_id).await.unwrap().unwrap();
        assert_eq!(detail.hot, seq == 2);
        assert_eq!(detail.request.unwrap().bytes, expected.request.body.to_vec());
        assert_eq!(detail.response.unwrap().text.unwrap(), format!("answer {seq}"));
        assert_eq!(detail.messages[0].content, format!("question {seq}"));
        assert_eq!(detail.reasons[0].rule, "default");
        assert_eq!(detail.attempts[0].cost_usd, Some(Usd::new(1_500_000_000)));
        assert_eq!(detail.tags, [("feature".to_owned(), "chat".to_owned())]);
        assert_eq!(detail.columns["cost_usd"], "0.001500000000");
    }
    let unknown = call(77).interaction.interaction_id;
    assert!(analytics.interaction(unknown).await.unwrap().is_none());
}

#[tokio::test]
async fn what_providers_ask_nothing_for_is_not_unpriced() {
    let log = TestLog::new().await;
    let of = |number, operation, usage_source| {
        let mut call = call(number);
        (call.interaction.operation, call.interaction.usage_source) = (operation, usage_source);
        call.interaction.cost_usd = None;
        call
    };
    log.settle(vec![
        of(1, Operation::CountTokens, UsageSource::None),
        of(2, Operation::Files, UsageSource::None),
        // Some bill judgements by the token, and say how many there were; speech costs money, whether it is counted or not.
        of(3, Operation::Moderations, UsageSource::Provider),
        of(4, Operation::Speech, UsageSource::None),
    ]);
    let overview = analytics(&log).overview(today(), Bucket::Hour).await.unwrap();
    assert_eq!((overview.totals.calls, overview.totals.unpriced), (4, 2));
}

#[tokio::test]
async fn reports_count_what_the_rows_say() {
    let log = TestLog::new().await;
    let mut unpriced = call(4);
    unpriced.interaction.cost_usd = None;
    let mut failed = call(5);
    failed.interaction.outcome = Outcome::Failed;
    let mut yesterday = call(6);
    yesterday.interaction.started_at_us -= DAY_US;
    log.settle(vec![call(1), call(2), denied(3), unpriced, failed, yesterday]);
    log.commit(1, 3).await;
    log.forget_committed();
    let analytics = analytics(&log);
    let overview = analytics.overview(today(), Bucket::Hour).await.unwrap();
    let totals = &overview.totals;
    assert_eq!((totals.calls, totals.success, totals.denied, totals.failed, totals.unpriced), (5, 3, 1, 1, 1));
    assert_eq!(totals.cost_usd, Usd::new(4_500_000_000));
    assert_eq!(totals.latency_p50_us.map(|latency| latency / 1_000), Some(250));
    assert_eq!((overview.previous.calls, overview.series.len()), (1, 24));
    assert_eq!(overview.series.iter().map(|point| point.calls).collect::<Vec<_>>()[9..12], [0, 5, 0]);
    let teams: Vec<_> = overview.by_team.iter().map(|group| (group.key.as_str(), group.totals.calls)).collect();
    assert_eq!(teams, [("kyc", 3), ("red", 2)]);
    let costs = analytics.costs(today(), CostGroup::Team).await.unwrap();
    let rows: Vec<_> = costs.rows.iter().map(|row| (row.key.as_str(), row.cost_usd, row.share_basis_points)).collect();
    assert_eq!(rows, [("kyc", Usd::new(3_000_000_000), 6_666), ("red", Usd::new(1_500_000_000), 3_333)]);
    assert_eq!((costs.total.unpriced, costs.total.previous_cost_usd), (1, Usd::new(1_500_000_000)));
    assert_eq!(costs.days.len(), 1);
    let values = analytics.filter_values(today()).await.unwrap();
    assert_eq!(
        (values.teams, values.models),
        (vec!["kyc".to_owned(), "red".into()], vec!["assistant".into(), "small".into()])
    );
}

/// A correction of call `of`, appended as number `seq`.
fn correction(seq: u64, of: &HotRow, old: Option<Usd>, new: Usd) -> HotItem {
    let correction = PriceCorrection {
        event_id: format!("price-{seq}"),
        at_us: MORNING_US + 3_600_000_000 + seq as i64,
        tenant: "acme".into(),
        actor: "local".into(),
        reason: "dearer".into(),
        interaction_id: of.interaction.interaction_id,
        call_started_at_us: of.interaction.started_at_us,
        team: of.interaction.team.clone(),
        old_cost_usd: old,
        new_cost_usd: new,
        price_id: format!("p/m@{seq}"),
        catalog_id: "c".into(),
    };
    HotItem::Event { id: EventId { seq, ..of.id.clone() }, event: Box::new(Governance::Price(correction)) }
}

#[tokio::test]
async fn costs_count_with_the_last_correction_and_interactions_stay_as_recorded() {
    let log = TestLog::new().await;
    let mut unpriced = call(2);
    unpriced.interaction.cost_usd = None;
    let mut kept = call(3);
    kept.interaction.provider_cost_usd = Some(Usd::new(1_600_000_000));
    let (first, second) = (call(1), unpriced);
    log.settle(vec![first.clone(), second.clone(), kept]);
    log.commit(1, 3).await;
    log.forget_committed();
    let analytics = analytics(&log);
    let before = analytics.costs(today(), CostGroup::Team).await.unwrap();
    assert_eq!((before.total.unpriced, before.corrections.calls), (1, 0));
    assert_eq!((before.unpriced[0].calls, before.unpriced[0].model.as_str()), (1, "small"));
    let both = "SELECT sum(i.cost_usd) AS recorded, sum(c.cost_usd) AS now, sum(c.recorded_cost_usd) AS told, \
                count(c.corrected_at) AS corrected, max(c.price_id) AS price, count(*) AS calls \
                FROM interactions i JOIN costs c USING (interaction_id)";
    let plain = one(&analytics, both).await;
    assert_eq!((&plain["recorded"], &plain["now"]), (&"0.003000000000".into(), &"0.003000000000".into()));

    log.hot.push([
        correction(4, &first, first.interaction.cost_usd, Usd::from_dollars(1)),
        correction(5, &first, Some(Usd::from_dollars(1)), Usd::from_dollars(2)),
        correction(6, &second, None, Usd::from_dollars(3)),
    ]);
    let after = one(&analytics, both).await;
    let expected = serde_json::json!({
        "recorded": "0.003000000000", "now": "5.001500000000", "told": "0.003000000000", "corrected": 2,
        "price": "p/m@6", "calls": 3,
    });
    assert_eq!(after, expected);
    let sources = "SELECT cost_source, price_id FROM costs WHERE recorded_cost_usd IS NULL";
    assert_eq!(one(&analytics, sources).await, serde_json::json!({"cost_source": "catalog", "price_id": "p/m@6"}));
    let costs = analytics.costs(today(), CostGroup::Team).await.unwrap();
    assert_eq!((costs.total.cost_usd, costs.total.unpriced), (Usd::new(5_001_500_000_000), 0));
    assert!(costs.unpriced.is_empty());
    let corrections = costs.corrections;
    assert_eq!((corrections.calls, corrections.priced_since), (2, 1));
    assert_eq!(corrections.recorded_usd, Usd::new(1_500_000_000));
    assert_eq!(corrections.corrected_usd, Usd::from_dollars(5));
    let stated = &costs.reconciliation[0];
    assert_eq!((stated.calls, stated.differing), (1, 1));
    assert_eq!((stated.catalog_usd, stated.provider_usd), (Usd::new(1_500_000_000), Usd::new(1_600_000_000)));
    let overview = analytics.overview(today(), Bucket::Hour).await.unwrap();
    assert_eq!(overview.totals.cost_usd, costs.total.cost_usd);
    let page = analytics.interactions(&InteractionFilter::default(), Page::default()).await.unwrap();
    let listed: Vec<_> = page.rows.iter().map(|row| row.cost_usd).collect();
    assert_eq!(listed, [Some(Usd::new(1_500_000_000)), Some(Usd::from_dollars(3)), Some(Usd::from_dollars(2))]);
    // So do budgets: call 1 and 3 are of one team, call 2 of the other.
    let now_us = MORNING_US + 3 * MINUTE_US;
    analytics.follow_budgets(&tallies());
    let signals = analytics.signals(now_us).await.unwrap();
    let spent = |team| signals.budgets.spent(&tallies()[0], team, now_us).unwrap().usd;
    assert_eq!((spent("kyc"), spent("red")), (Usd::new(2_001_500_000_000), Usd::from_dollars(3)));
}

#[tokio::test]
async fn calls_are_read_with_what_a_price_is_looked_up_by() {
    let log = TestLog::new().await;
    let mut tiered = call(1);
    tiered.interaction.service_tier = Some("flex".into());
    tiered.interaction.usage.cache_read_input_tokens = Some(7);
    let mut without_usage = call(2);
    without_usage.interaction.usage = tollgate_interaction::Usage::default();
    let mut yesterday = call(3);
    yesterday.interaction.started_at_us -= DAY_US;
    let expected = tiered.interaction.clone();
    log.settle(vec![tiered, without_usage, yesterday]);
    let analytics = analytics(&log);
    let batches: Vec<_> = recorded_calls(&analytics.reading(), today()).try_collect().await.unwrap();
    let calls = batches.concat();
    assert_eq!(calls.len(), 1, "{calls:?}");
    let call = &calls[0];
    assert_eq!((call.interaction_id, call.usage), (expected.interaction_id, expected.usage));
    assert_eq!((call.service_tier.as_deref(), call.cost_usd), (Some("flex"), expected.cost_usd));
    assert_eq!(call.model_asked, expected.attempts.last().unwrap().model);
}

#[tokio::test]
async fn a_list_can_be_of_the_calls_without_a_known_cost() {
    let log = TestLog::new().await;
    let mut unpriced = call(2);
    unpriced.interaction.cost_usd = None;
    let id = unpriced.interaction.interaction_id;
    log.settle(vec![call(1), unpriced, denied(3)]);
    let filter = InteractionFilter { unpriced: true, ..InteractionFilter::default() };
    let page = analytics(&log).interactions(&filter, Page::default()).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.interaction_id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn signals_are_the_same_wherever_the_rows_are() {
    let log = TestLog::new().await;
    let analytics = analytics(&log);
    let now_us = MORNING_US + 5 * MINUTE_US;
    let mut last_month = call(5);
    last_month.interaction.started_at_us -= 30 * DAY_US;
    last_month.interaction.attempts.clear();
    let mut slow = call(6);
    slow.interaction.attempts[0].duration_us = 2_000_000;
    slow.interaction.attempts[0].http_status = Some(500);
    slow.interaction.outcome = Outcome::Failed;
    // Whoever hangs up in the middle of an answer says nothing about who gave it.
    let mut hung_up = call(4);
    hung_up.interaction.attempts[0].error_class = Some("client_disconnected".to_owned());
    log.settle(vec![call(1), call(2), denied(3), hung_up, last_month, slow]);
    let in_memory = analytics.signals(now_us).await.unwrap();
    assert_eq!(in_memory.watermarks["gw/1"], 6);
    let target = &in_memory.targets["sandbox/small"];
    assert_eq!((target.calls, target.errors, target.mean_cost), (4, 1, Some(Usd::new(1_500_000_000))));
    assert!((250..=282).contains(&target.p50_ms) && (2_000..=2_250).contains(&target.p95_ms), "{target:?}");
    for (first, last) in [(1, 2), (3, 6)] {
        log.commit(first, last).await;
        log.forget_committed();
        let taken = analytics.signals(now_us).await.unwrap();
        assert_eq!((&taken.watermarks, &taken.targets), (&in_memory.watermarks, &in_memory.targets));
    }
    let fresh = self::analytics(&log).signals(now_us).await.unwrap();
    assert_eq!(fresh.targets, in_memory.targets, "read anew, all from files");
    let later = self::analytics(&log).signals(now_us + 60 * MINUTE_US).await.unwrap();
    assert_eq!((later.targets.len(), later.watermarks["gw/1"]), (0, 6));
}

#[tokio::test]
async fn signals_that_were_lived_through_equal_those_folded_from_the_lake_alone() {
    let log = TestLog::new().await;
    let live = analytics(&log);
    let now_us = MORNING_US + MINUTE_US;
    log.settle(calls(1..=10));
    log.settle(vec![denied(11)]);
    live.signals(now_us).await.unwrap();
    // Half of what was folded from memory goes to the lake, and is folded with what comes after.
    log.commit(1, 6).await;
    live.signals(now_us).await.unwrap();
    log.settle(calls(12..=20));
    log.forget_committed();
    let lived = live.signals_state(now_us).await.unwrap();
    assert!(lived.lines.iter().any(|line| line.starts_with("[\"target\"")), "{lived:?}");
    log.commit(7, 20).await;
    log.settle(calls(21..=30));
    log.commit(21, 30).await;
    let rebuilt = analytics(&log).rebuilt_signals(now_us, Some(lived.watermarks.clone())).await.unwrap();
    assert_eq!(rebuilt, lived, "rows beyond the state's place are left out");
    let lived = live.signals_state(now_us).await.unwrap();
    let rebuilt = analytics(&log).rebuilt_signals(now_us, None).await.unwrap();
    assert_eq!(rebuilt, lived);
}

/// By team and month, by key in the last day, by organisation and day in a time zone.
fn tallies() -> Arc<[Tally]> {
    let zone = "Europe/Berlin".parse().unwrap();
    Arc::new([
        Tally::new(vec![Dimension::Team], Window::Calendar { per: Period::Month, zone: "UTC".parse().unwrap() }),
        Tally::new(vec![Dimension::Key, Dimension::Tag("env".into())], Window::Rolling { length_s: 86_400 }),
        Tally::new(vec![Dimension::Tenant], Window::Calendar { per: Period::Day, zone }),
    ])
}

#[tokio::test]
async fn budgets_are_the_same_wherever_the_rows_are_and_as_they_were_lived_through() {
    let log = TestLog::new().await;
    let live = analytics(&log);
    live.follow_budgets(&tallies());
    let now_us = MORNING_US + 5 * MINUTE_US;
    let with = |seq: u64, change: fn(&mut tollgate_interaction::Interaction)| {
        let mut row = call(seq);
        row.interaction.policy_bundle_hash = Some("ab".repeat(32));
        row.interaction.api_key_id = Some("key-1".into());
        row.interaction.tags = vec![("env".into(), "prod".into())];
        change(&mut row.interaction);
        row
    };
    log.settle(vec![
        with(1, |_| {}),
        with(2, |_| {}),
        // 23:01 and 22:59 of the evening before in UTC: the day in Berlin begins between the two.
        with(3, |call| call.started_at_us -= (10 * 60 + 59) * MINUTE_US),
        with(4, |call| call.started_at_us -= (11 * 60 + 1) * MINUTE_US),
        with(5, |call| call.tags.clear()),
        with(6, |call| call.started_at_us -= 40 * DAY_US),
        with(7, |call| call.outcome = Outcome::Denied),
    ]);
    let taken = live.signals(now_us).await.unwrap();
    let tallies = tallies();
    let spent = |signals: &SignalsSnapshot, place: usize, scope: &str| {
        signals.budgets.spent(&tallies[place], scope, now_us).unwrap()
    };
    let cost = call(1).interaction.cost_usd.unwrap();
    let kyc = spent(&taken, 0, "kyc");
    assert_eq!((kyc.usd, kyc.calls), (Usd::new(cost.get() * 4), 3), "rows 1, 3, 5, and 7, which was denied");
    assert_eq!(spent(&taken, 1, "key-1\u{1f}prod").calls, 4, "without the one that has no label");
    assert_eq!(spent(&taken, 2, "acme").calls, 4, "1, 2, 3 and 5 began on this day in Berlin");
    for (first, last) in [(1, 3), (4, 7)] {
        log.commit(first, last).await;
        log.forget_committed();
        assert_eq!(live.signals(now_us).await.unwrap().budgets, taken.budgets);
    }
    let fresh = analytics(&log);
    fresh.follow_budgets(&tallies);
    let rebuilt = fresh.rebuilt_signals(now_us, None).await.unwrap();
    assert_eq!(rebuilt, live.signals_state(now_us).await.unwrap());
    assert!(rebuilt.lines.iter().any(|line| line.starts_with("[\"budget\",\"tenant/day/Europe/Berlin\",\"acme\"")));
    // Another bundle with other windows has them counted anew.
    let week: Arc<[Tally]> = Arc::new([Tally::new(vec![Dimension::Team], Window::Rolling { length_s: 50 * 86_400 })]);
    live.follow_budgets(&week);
    let signals = live.signals(now_us).await.unwrap();
    assert_eq!(signals.budgets.spent(&week[0], "red", now_us).unwrap().calls, 3, "rows 2, 4 and 6");
    assert_eq!(signals.budgets.spent(&tallies[0], "kyc", now_us), None);
    let next_day = live.signals(now_us + 51 * DAY_US).await.unwrap();
    assert_eq!(next_day.budgets.spent(&week[0], "red", now_us + 51 * DAY_US).unwrap().calls, 0);
}
