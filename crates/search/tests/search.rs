//! Searching what was said, over a real lake with rows in memory beside it.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

#[path = "../../analytics/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{MORNING_US, TestLog, call, calls, denied};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_flush::hot::HotRow;
use tollgate_search::{Search, SearchError, SearchQuery};

fn said(seq: u64, question: &str, answer: &str) -> HotRow {
    let mut row = call(seq);
    row.request.body = question.to_owned().into_bytes().into();
    row.response.body = answer.to_owned().into_bytes().into();
    row
}

fn open(log: &TestLog) -> Arc<Search> {
    Search::open(log.dir.path().join("search"), support::transcribe).unwrap()
}

async fn catch_up(search: &Arc<Search>, log: &TestLog) -> (u64, u64) {
    let added = search.catch_up(Some(Arc::clone(&log.hot)), Arc::clone(&log.lake)).await.unwrap();
    (added.from_lake, added.from_memory)
}

/// The numbers of the calls that match, newest first.
fn found(search: &Search, text: &str) -> Vec<i64> {
    let query = SearchQuery { text: text.to_owned(), ..SearchQuery::default() };
    let result = search.find(&query).unwrap();
    assert_eq!(result.total, result.hits.len() as u64);
    result.hits.iter().map(|hit| (hit.started_at_us - MORNING_US) / 1_000).collect()
}

#[tokio::test]
async fn a_call_is_found_by_what_was_said_in_it() {
    let log = TestLog::new().await;
    let search = open(&log);
    log.settle(vec![
        said(1, "What is the interest rate of my loan?", "The rate is <b>4.5 %</b> & fixed."),
        said(2, "My interest in painting; rate it", "Nice Zürich street-scene."),
        said(3, "Ein Kredit, bitte", "Der Zinssatz: 4.5 %"),
        denied(4),
    ]);
    assert_eq!(catch_up(&search, &log).await, (0, 4));
    assert_eq!(found(&search, "interest rate"), [2, 1]);
    assert_eq!(found(&search, "\"interest rate\""), [1]);
    assert_eq!(found(&search, "interest -painting"), [1]);
    assert_eq!(found(&search, "zinssatz OR zurich"), [3, 2]);
    assert_eq!(found(&search, "pain*"), [2]);
    assert_eq!(found(&search, "rate team:red"), [2]);
    assert_eq!(found(&search, "model:small -rate"), [3]);
    assert_eq!(found(&search, "outcome:denied"), [4]);
    assert_eq!(found(&search, "nowhere"), [0; 0]);
    assert_eq!(found(&search, ""), [4, 3, 2, 1]);
    let query = SearchQuery { text: "fixed".into(), ..SearchQuery::default() };
    let hit = search.find(&query).unwrap().hits.remove(0);
    assert_eq!((hit.role.as_str(), hit.team.as_str(), hit.model.as_str()), ("assistant", "kyc", "assistant"));
    assert_eq!(hit.snippet_html, "The rate is &lt;b&gt;4.5 %&lt;/b&gt; &amp; <mark>fixed</mark>");
    let elsewhere = SearchQuery { only_tenant: Some("globex".into()), ..SearchQuery::default() };
    let result = search.find(&elsewhere).unwrap();
    assert_eq!((result.total, result.hits.len()), (0, 0), "nothing of another organisation exists");
    let own = SearchQuery { only_tenant: Some("acme".into()), ..SearchQuery::default() };
    assert_eq!(search.find(&own).unwrap().total, 4);
    let narrowed = SearchQuery { from_us: Some(MORNING_US + 2_000), limit: 1, ..SearchQuery::default() };
    let result = search.find(&narrowed).unwrap();
    assert_eq!((result.total, result.hits.len()), (3, 1));
    let broken = search.find(&SearchQuery { text: "\"open".into(), ..SearchQuery::default() });
    assert!(matches!(broken, Err(SearchError::Query(_))));
}

#[tokio::test]
async fn each_call_is_indexed_once_on_its_way_from_memory_into_the_lake() {
    let log = TestLog::new().await;
    let search = open(&log);
    log.settle(calls(1..=6));
    assert_eq!(catch_up(&search, &log).await, (0, 6));
    assert_eq!(catch_up(&search, &log).await, (0, 0));
    log.commit(1, 4).await;
    log.forget_committed();
    log.settle(calls(7..=8));
    assert_eq!(catch_up(&search, &log).await, (0, 2));
    log.commit(5, 8).await;
    log.forget_committed();
    assert_eq!(catch_up(&search, &log).await, (0, 0));
    assert_eq!(found(&search, "question").len(), 8);
}

#[tokio::test]
async fn an_index_that_was_deleted_is_built_again_from_the_lake() {
    let log = TestLog::new().await;
    log.settle(calls(1..=6));
    log.commit(1, 2).await;
    log.commit(3, 4).await;
    log.forget_committed();
    let search = open(&log);
    assert_eq!(catch_up(&search, &log).await, (4, 2));
    assert_eq!(found(&search, "question provider:sandbox outcome:success"), [6, 5, 4, 3, 2, 1]);
    drop(search);
    let again = open(&log);
    assert_eq!(again.status().documents, 6);
    assert_eq!(catch_up(&again, &log).await, (0, 0));
    drop(again);
    fs_err::remove_dir_all(log.dir.path().join("search")).unwrap();
    let anew = open(&log);
    assert_eq!(catch_up(&anew, &log).await, (4, 2));
    assert_eq!(found(&anew, "provider:sandbox").len(), 6);
    drop(anew);
    fs_err::write(log.dir.path().join("search/tollgate-index.json"), "{\"version\":0}").unwrap();
    let other_version = open(&log);
    assert_eq!(other_version.status().documents, 0);
    assert_eq!(catch_up(&other_version, &log).await, (4, 2));
    drop(other_version);
    fs_err::write(log.dir.path().join("search/meta.json"), "damaged").unwrap();
    assert_eq!(open(&log).status().documents, 0);
}

#[tokio::test]
async fn the_indexer_finds_a_new_call_within_a_second() {
    let log = TestLog::new().await;
    let search = open(&log);
    let shutdown = CancellationToken::new();
    let indexer = search.run_indexer(Some(Arc::clone(&log.hot)), Arc::clone(&log.lake), shutdown.clone());
    let tasks = TaskTracker::new();
    tasks.spawn(indexer);
    for seq in [1, 2] {
        log.settle(vec![call(seq)]);
        let settled = Instant::now();
        while found(&search, "question").len() < seq as usize {
            assert!(settled.elapsed() < Duration::from_secs(10), "call {seq} was never found");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
}
