//! Two committers at once over a store that fails each of them in its own way, with nothing but Delta's own conflict
//! between them: [`Lake::commit_inbox`] asks for no lease. Meanwhile several writers hand over. Whatever happens, every row
//! ends up in the table once.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tollgate_flush::flusher::{Committed, FlushSettings, Flusher};
use tollgate_flush::store::Store;
use tollgate_flush::{Watermarks, error_chain};
use tollgate_interaction::Outcome;
use tollgate_lake::{CommitReport, Lake, LakeError, Mode};

use crate::buckets::Server;
use crate::weather::{Dice, Mishap, Versions, Weather, with_weather};
use crate::writer::{assert_once, flush_settings, open_store, open_wal, record};

const WRITERS: u64 = 3;
/// Starts of each writer; every one is an epoch.
const ROUNDS: u64 = 4;
const CALLS_A_ROUND: u64 = 20;
const CALLS: u64 = WRITERS * ROUNDS * CALLS_A_ROUND;
/// How long it may take until everything is committed in spite of the store.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_committers_in_bad_weather_lose_and_double_nothing() {
    let contend_in_folder = |seed| async move {
        let folder = tempfile::tempdir().unwrap();
        let store = open_store(&folder.path().join("lake"));
        contend(folder.path(), store, seed).await
    };
    let (first, second, third) = futures::join!(contend_in_folder(1), contend_in_folder(2), contend_in_folder(3));
    let (mut happened, mut versions) = (BTreeMap::<Mishap, u64>::new(), [Versions::default(); 2]);
    for (committer, seen) in [first, second, third].into_iter().flat_map(|both| both.into_iter().enumerate()) {
        for (mishap, times) in seen.happened {
            *happened.entry(mishap).or_default() += times;
        }
        versions[committer].written += seen.versions.written;
        versions[committer].refused += seen.versions.refused;
    }
    // A test of a store that never failed, or of committers that never met, would prove nothing.
    for mishap in [Mishap::NeverArrives, Mishap::AnswerLost, Mishap::ExistsAlready, Mishap::Missed, Mishap::Stale] {
        assert!(happened.contains_key(&mishap), "no case of {mishap:?}: {happened:?}");
    }
    assert!(versions.iter().all(|versions| versions.written > 0), "both committed: {versions:?}");
    assert!(versions.iter().any(|versions| versions.refused > 0), "they met: {versions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_committers_on_s3_lose_and_double_nothing() {
    contend_on(Server::S3, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_committers_on_azure_lose_and_double_nothing() {
    contend_on(Server::Azure, 5).await;
}

async fn contend_on(server: Server, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = server.open(&folder) else { return };
    contend(folder.path(), store, seed).await;
}

/// What the store did to one of the committers.
#[derive(Debug)]
struct Seen {
    happened: BTreeMap<Mishap, u64>,
    versions: Versions,
}

async fn contend(folder: &FilePath, store: Store, seed: u64) -> [Seen; 2] {
    let (one_sees, one_weather) = with_weather(&store, 2 * seed);
    let (other_sees, other_weather) = with_weather(&store, 2 * seed + 1);
    let stop = CancellationToken::new();
    let one = tokio::spawn(commit_until(one_sees, one_weather.clone(), Dice::new(seed), stop.clone()));
    let other = tokio::spawn(commit_until(other_sees, other_weather.clone(), Dice::new(seed + 100), stop.clone()));
    let writers = (0..WRITERS).map(|number| tokio::spawn(write(folder.to_owned(), store.clone(), number)));
    let mut watermarks = Watermarks::new();
    for written in futures::future::join_all(writers).await {
        watermarks.extend(written.unwrap());
    }
    let when = format!("with seed {seed}");
    await_rows(&store, &when).await;
    for weather in [&one_weather, &other_weather] {
        weather.clear_up();
    }
    stop.cancel();
    let reports = [one.await.unwrap(), other.await.unwrap()];
    assert!(reports.iter().all(|report| report.rejected == 0), "nothing was wrong {when}: {reports:?}");

    let lake = Lake::open(store.clone(), Mode::ReadOnly).await.unwrap();
    assert_once(&lake, (1..=CALLS).map(|number| (number, Outcome::Success)), &when).await;
    assert_eq!(lake.snapshot().watermarks, watermarks, "watermarks, {when}");
    let left: Vec<_> = store.object_store.list(Some(&Path::from("inbox"))).try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?} is left in the inbox {when}");
    let seen =
        [one_weather, other_weather].map(|weather| Seen { happened: weather.happened(), versions: weather.versions() });
    eprintln!("{when}: {seen:?}");
    seen
}

/// A writer that is started again and again and hands over a few calls at a time; gives where its epochs ended.
async fn write(folder: std::path::PathBuf, store: Store, writer: u64) -> Watermarks {
    let folder = folder.join(format!("writer-{writer}"));
    let mut watermarks = Watermarks::new();
    for round in 0..ROUNDS {
        let wal = open_wal(&folder);
        let settings = FlushSettings { interval: Duration::from_millis(20), max_rows: 4, ..flush_settings(&folder) };
        let notify = Arc::new(Notify::new());
        let flusher = Flusher::new(settings, Arc::clone(&wal), store.clone(), Committed::HandedOver, notify).unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(flusher.run(shutdown.clone()));
        let first = (writer * ROUNDS + round) * CALLS_A_ROUND + 1;
        for number in first..first + CALLS_A_ROUND {
            record(&wal, [number]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shutdown.cancel();
        running.await.unwrap();
        watermarks.insert((wal.writer().clone(), wal.epoch()), wal.status().appended_seq);
    }
    watermarks
}

/// Commits again and again, and starts anew every now and then; once more when the weather has cleared up.
async fn commit_until(store: Store, weather: Arc<Weather>, mut dice: Dice, stop: CancellationToken) -> CommitReport {
    let (mut lake, mut done) = (None, CommitReport::default());
    loop {
        let is_last = stop.is_cancelled();
        match commit_once(&store, &mut lake).await {
            Ok(report) => {
                done.manifests += report.manifests;
                done.rows += report.rows;
                done.repeated += report.repeated;
                done.rejected += report.rejected;
                if is_last {
                    return done;
                }
            }
            Err(error) if is_last => panic!("the weather is fair, but {} ({:?})", error_chain(&error), weather),
            Err(_) => {}
        }
        if dice.below(12) == 0 {
            lake = None;
        }
        tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
    }
}

async fn commit_once(store: &Store, lake: &mut Option<Arc<Lake>>) -> Result<CommitReport, LakeError> {
    let open = match lake {
        Some(open) => Arc::clone(open),
        None => Lake::open(store.clone(), Mode::Committer).await?,
    };
    *lake = Some(Arc::clone(&open));
    let report = open.commit_inbox().await?;
    let snapshot = open.snapshot();
    let (facts, payloads) = (snapshot.interactions.rows(), snapshot.payloads.rows());
    assert_eq!(facts, payloads, "a snapshot holds both rows of a call or none");
    Ok(report)
}

async fn await_rows(store: &Store, when: &str) {
    let lake = Lake::open(store.clone(), Mode::ReadOnly).await.unwrap();
    let started = Instant::now();
    loop {
        let rows = lake.refresh().await.unwrap().interactions.rows();
        if rows >= CALLS {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{rows} of {CALLS} calls are committed after {PATIENCE:?} {when}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Of two processes that create a table at once, the library lets the later one say all of it again in the next version.
#[tokio::test]
async fn a_table_created_twice_is_no_upgrade_and_one_that_asks_for_more_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(folder.path());
    let lake = Lake::open(store, Mode::Committer).await.unwrap();
    let log = folder.path().join("feedback/_delta_log");
    let version = |number: u64| log.join(format!("{number:020}.json"));
    let created = std::fs::read_to_string(version(0)).unwrap();
    std::fs::write(version(1), &created).unwrap();
    lake.refresh().await.unwrap();
    let protocol = created.lines().find(|line| line.starts_with("{\"protocol\"")).unwrap();
    let more = protocol.replace("\"minWriterVersion\":2", "\"minWriterVersion\":6");
    assert_ne!(more, protocol);
    std::fs::write(version(2), more).unwrap();
    let refused = lake.refresh().await.unwrap_err();
    assert!(matches!(refused, LakeError::Unsupported { table: "feedback", .. }), "{refused}");
}
