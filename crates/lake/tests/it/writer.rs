//! A process with a log, a flusher and a committer, and the calls it records.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tollgate_flush::flusher::{Committed, FlushSettings, FlushStatus, Flusher};
use tollgate_flush::hot::HotBuffer;
use tollgate_flush::keys::KeySource;
use tollgate_flush::store::{self, Store, StoreOptions};
use tollgate_interaction::{Event, Interaction, Opened, Outcome, Payload, Settled};
use tollgate_lake::{DataFile, Lake, LakeError, ProofSettings};
use tollgate_wal::{Wal, WalError, WalSettings};

/// 2026-11-23 23:59:59.999 UTC: the next millisecond is the next day.
pub(crate) const STARTED_AT_US: i64 = 1_795_478_399_999_000;

pub(crate) fn interaction(number: u64) -> Interaction {
    tollgate_testkit::samples::interaction(number, STARTED_AT_US + i64::try_from(number).unwrap() * 100)
}

pub(crate) fn opened(number: u64) -> Event {
    let body = format!("{{\"call\":{number}}}");
    let request = Payload { content_type: "application/json".into(), body: body.into() };
    let interaction = Interaction { outcome: Outcome::Interrupted, ..interaction(number) };
    Event::Opened(Box::new(Opened { interaction, request }))
}

pub(crate) fn settled(number: u64) -> Event {
    let response = Payload { content_type: "application/json".into(), body: "{}".into() };
    Event::Settled(Box::new(Settled { interaction: interaction(number), request: None, response, salt: None }))
}

pub(crate) fn open_store(folder: &Path) -> Store {
    store::open(folder.to_str().unwrap(), &StoreOptions::default()).unwrap()
}

/// An all-in-one without a gateway.
pub(crate) struct Process {
    pub(crate) wal: Arc<Wal>,
    pub(crate) hot: Arc<HotBuffer>,
    pub(crate) status: watch::Receiver<FlushStatus>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) shutdown: CancellationToken,
    flushing: JoinHandle<()>,
    committing: JoinHandle<()>,
    stop_committing: CancellationToken,
}

/// Waits for the work of a killed process that was on the blocking pool and still holds the log.
pub(crate) fn open_wal(folder: &Path) -> Arc<Wal> {
    let settings = WalSettings { segment_bytes: 16 << 10, ..WalSettings::new(folder.join("wal")) };
    for _ in 0..200 {
        match Wal::open(settings.clone()) {
            Err(WalError::InUse { .. }) => std::thread::sleep(Duration::from_millis(20)),
            opened => return Arc::new(opened.unwrap()),
        }
    }
    panic!("the log in `{}` stays in use", folder.display());
}

pub(crate) fn flush_settings(folder: &Path) -> FlushSettings {
    FlushSettings {
        interval: Duration::from_millis(50),
        max_rows: 3_000,
        shutdown_timeout: Duration::from_secs(10),
        ..FlushSettings::new(folder.join("spool"))
    }
}

/// Keys beside the flusher's notes; a checkpoint at every turn of the committer.
pub(crate) fn proof_settings(folder: &Path) -> ProofSettings {
    ProofSettings {
        keys: KeySource::File(folder.join("log.key")),
        last_signed: folder.join("last-checkpoint"),
        interval: Duration::ZERO,
        witnesses: None,
    }
}

impl Process {
    /// Starts over the log in `folder`; fails if the store does.
    pub(crate) async fn start(wal: &Arc<Wal>, folder: &Path, store: Store) -> Result<Process, LakeError> {
        Process::start_with(wal, flush_settings(folder), store).await
    }

    pub(crate) async fn start_with(
        wal: &Arc<Wal>,
        settings: FlushSettings,
        store: Store,
    ) -> Result<Process, LakeError> {
        let proof = proof_settings(&settings.spool_dir);
        Process::start_proven(wal, settings, store, proof).await
    }

    pub(crate) async fn start_proven(
        wal: &Arc<Wal>,
        settings: FlushSettings,
        store: Store,
        proof: ProofSettings,
    ) -> Result<Process, LakeError> {
        let lake = Lake::open_proven(store.clone(), proof).await?;
        let notify = Arc::new(Notify::new());
        let committed = Committed::InLake(lake.watermarks());
        let flusher = Flusher::new(settings, Arc::clone(wal), store, committed, Arc::clone(&notify)).unwrap();
        let (hot, status) = (flusher.hot(), flusher.status());
        let (shutdown, stop_committing) = (CancellationToken::new(), CancellationToken::new());
        let flushing = tokio::spawn(flusher.run(shutdown.clone()));
        let (holder, poll) = (wal.writer().clone(), Duration::from_millis(200));
        let committing = tokio::spawn(Arc::clone(&lake).run_committer(holder, notify, poll, stop_committing.clone()));
        Ok(Process { wal: Arc::clone(wal), hot, status, lake, shutdown, flushing, committing, stop_committing })
    }

    /// The process is gone from one moment to the next.
    pub(crate) async fn kill(self) {
        self.flushing.abort();
        self.committing.abort();
        drop((self.flushing.await, self.committing.await));
    }

    /// The process ends as it should.
    pub(crate) async fn stop(self) -> Arc<Lake> {
        self.shutdown.cancel();
        self.flushing.await.unwrap();
        self.stop_committing.cancel();
        self.committing.await.unwrap();
        self.lake
    }

    /// Records calls `numbers`, each opened and settled.
    pub(crate) async fn record(&self, numbers: impl IntoIterator<Item = u64>) {
        record(&self.wal, numbers).await;
    }
}

pub(crate) async fn record(wal: &Wal, numbers: impl IntoIterator<Item = u64>) {
    let appender = wal.appender();
    for number in numbers {
        appender.append_durable(&opened(number)).await.unwrap();
        appender.append_written(&settled(number)).unwrap();
    }
}

pub(crate) async fn read(lake: &Lake, file: &DataFile) -> Vec<RecordBatch> {
    lake.read_columns(file, None).await.unwrap().try_collect().await.unwrap()
}

/// How often each call is in each table of the lake, with its outcome.
pub(crate) async fn found_in(lake: &Lake) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, usize>) {
    let snapshot = lake.snapshot();
    let (mut facts, mut payloads) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::<String, usize>::new());
    for file in &snapshot.interactions.files {
        for batch in read(lake, file).await {
            let ids = batch.column_by_name("interaction_id").unwrap().as_string::<i32>();
            let outcomes = batch.column_by_name("outcome").unwrap().as_string::<i32>();
            for (id, outcome) in ids.iter().zip(outcomes) {
                facts.entry(id.unwrap().to_owned()).or_default().push(outcome.unwrap().to_owned());
            }
        }
    }
    for file in &snapshot.payloads.files {
        for batch in read(lake, file).await {
            let ids = batch.column_by_name("interaction_id").unwrap().as_string::<i32>();
            let requests = batch.column_by_name("request_body").unwrap().as_binary::<i32>();
            for (id, request) in ids.iter().zip(requests) {
                assert!(request.unwrap().starts_with(b"{\"call\":"), "the request came with its row");
                *payloads.entry(id.unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    (facts, payloads)
}

/// Demands that calls `numbers` are in both tables once, with these outcomes, and nothing else is.
pub(crate) async fn assert_once(lake: &Lake, numbers: impl IntoIterator<Item = (u64, Outcome)>, when: &str) {
    let (facts, payloads) = found_in(lake).await;
    let mut expected = BTreeMap::new();
    for (number, outcome) in numbers {
        expected.insert(interaction(number).interaction_id.to_string(), vec![outcome.as_str().to_owned()]);
    }
    assert_eq!(facts, expected, "facts, {when}");
    let once: BTreeMap<String, usize> = expected.into_keys().map(|id| (id, 1)).collect();
    assert_eq!(payloads, once, "payloads, {when}");
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not happen within 12 s");
}
