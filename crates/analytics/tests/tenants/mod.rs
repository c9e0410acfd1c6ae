//! What exists for a reader of one organisation, half of the rows on disk and half in memory.

use std::sync::Arc;

use tollgate_analytics::report::{Bucket, CostGroup, InteractionFilter, Page};
use tollgate_analytics::{Analytics, QueryLimits, SqlError, Visibility, output};
use tollgate_flush::hot::HotItem;
use tollgate_interaction::{ControlEvent, EventId, Governance};

use crate::support::{MORNING_US, TestLog, call};
use crate::{analytics, today};

/// Of every table that has rows of both organisations.
async fn two_organisations() -> (TestLog, Arc<Analytics>) {
    let log = TestLog::new().await;
    let mut rows = Vec::new();
    for seq in 1..=20 {
        let mut row = call(seq);
        if seq % 5 == 0 {
            row.interaction.tenant = "globex".into();
            row.interaction.team = "secret-team".into();
            row.request.body = "the merger".to_owned().into_bytes().into();
        }
        rows.push(row);
    }
    log.settle(rows);
    log.commit(1, 10).await;
    log.forget_committed();
    let events = (21..=22).map(|seq| {
        let event = ControlEvent {
            event_id: format!("event-{seq}"),
            at_us: MORNING_US + seq as i64,
            tenant: if seq == 21 { "globex".into() } else { String::new() },
            actor: "ada".into(),
            action: "key.created".into(),
            subject: "key-9".into(),
            detail: "of the merger".into(),
        };
        let id = EventId { writer: "gw".parse().unwrap(), epoch: 1, seq };
        HotItem::Event { id, event: Box::new(Governance::Control(event)) }
    });
    log.hot.push(events.collect::<Vec<_>>());
    let analytics = analytics(&log);
    (log, analytics)
}

async fn rows(
    analytics: &Analytics,
    visibility: Visibility,
    sql: &str,
) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, SqlError> {
    let result = analytics.reading().seen_by(visibility).sql(sql, QueryLimits::default()).await?;
    Ok(output::to_json(&result.batches))
}

fn acme() -> Visibility {
    Visibility::of_tenant("acme")
}

#[tokio::test]
async fn in_no_table_is_there_a_row_of_another_organisation() {
    let (_log, analytics) = two_organisations().await;
    for (table, whole, own) in [
        ("interactions", 20, 16),
        ("costs", 20, 16),
        ("payloads", 20, 16),
        ("control_events", 2, 0),
        ("access_events", 0, 0),
        ("log_gaps", 0, 0),
        ("price_corrections", 0, 0),
        ("feedback", 0, 0),
    ] {
        for (visibility, expected) in
            [(Visibility::everything(), whole), (acme(), own), (Visibility::of_tenant("acme' OR 1=1"), 0)]
        {
            let found = rows(&analytics, visibility, &format!("SELECT count(*) AS n FROM {table}")).await.unwrap();
            assert_eq!(found[0]["n"], expected, "{table}");
        }
        let all = rows(&analytics, acme(), &format!("SELECT * FROM {table}")).await.unwrap();
        assert_eq!(all.len(), own, "{table}");
        assert!(!serde_json::to_string(&all).unwrap().contains("globex"), "{table}");
    }
    for sql in [
        "SELECT DISTINCT tenant AS t FROM interactions",
        "SELECT DISTINCT i.tenant AS t FROM interactions i JOIN payloads p USING (interaction_id) WHERE p.seq > 2",
        "SELECT tenant AS t FROM interactions WHERE tenant = 'globex' OR seq < 3 UNION SELECT tenant FROM costs",
        "SELECT max(tenant) AS t FROM payloads WHERE messages[1]['content'] LIKE '%question%'",
    ] {
        let found = rows(&analytics, acme(), sql).await.unwrap();
        assert_eq!((found.len(), &found[0]["t"]), (1, &"acme".into()), "{sql}");
    }
    let narrowed = "SELECT seq FROM interactions WHERE started_at >= '2026-11-23T10:00:00.004Z' AND team = 'kyc' \
                    ORDER BY seq LIMIT 2";
    let found = rows(&analytics, acme(), narrowed).await.unwrap();
    assert_eq!((&found[0]["seq"], &found[1]["seq"]), (&7.into(), &9.into()));
}

/// An expression that fails quotes what it failed on, and a plan counts what it left out.
#[tokio::test]
async fn neither_an_error_nor_a_plan_tells_of_rows_that_do_not_exist() {
    let (_log, analytics) = two_organisations().await;
    // Of whole numbers as texts; `question 3` fails in whoever's rows it is.
    let fails =
        "SELECT count(*) AS n FROM interactions WHERE CAST(replace(replace(team, 'kyc', '1'), 'red', '2') AS INT) > 0";
    // In memory, and in a file, whose reader evaluates the condition itself.
    for half in ["seq > 10", "seq <= 10"] {
        let whole = rows(&analytics, Visibility::everything(), &format!("{fails} AND {half}")).await.unwrap_err();
        assert_eq!(whole.code(), "sql_value", "{half}: {whole:?}");
        assert!(whole.to_string().contains("secret-team"), "the query does not do what the test is about: {whole:?}");
    }
    assert_eq!(rows(&analytics, acme(), fails).await.unwrap()[0]["n"], 16);
    let divides = "SELECT count(*) AS n FROM interactions WHERE 1 / (seq % 5) >= 0 AND tenant <> 'x'";
    assert!(rows(&analytics, Visibility::everything(), divides).await.is_err());
    assert_eq!(rows(&analytics, acme(), divides).await.unwrap()[0]["n"], 16);
    for explain in ["EXPLAIN SELECT * FROM interactions", "EXPLAIN ANALYZE SELECT count(*) FROM payloads"] {
        assert!(matches!(rows(&analytics, acme(), explain).await, Err(SqlError::Tells)), "{explain}");
        assert!(rows(&analytics, Visibility::everything(), explain).await.is_ok());
    }
}

#[tokio::test]
async fn reports_are_of_the_readers_organisation_alone() {
    let (_log, analytics) = two_organisations().await;
    let reading = analytics.reading().seen_by(acme());
    let overview = reading.overview(today(), Bucket::Hour).await.unwrap();
    assert_eq!(overview.totals.calls, 16);
    assert!(overview.by_team.iter().all(|group| group.key != "secret-team"));
    assert_eq!(reading.costs(today(), CostGroup::Team).await.unwrap().total.calls, 16);
    let page = Page { limit: 50, after: None };
    let list = reading.interactions(&InteractionFilter::default(), page).await.unwrap();
    assert_eq!(list.rows.len(), 16);
    assert!(!reading.filter_values(today()).await.unwrap().teams.contains(&"secret-team".to_owned()));
    let theirs = call(5).interaction.interaction_id;
    assert!(reading.interaction(theirs).await.unwrap().is_none());
    assert!(analytics.reading().interaction(theirs).await.unwrap().is_some());
    assert!(reading.interaction(call(1).interaction.interaction_id).await.unwrap().unwrap().request.is_some());
}
