//! The proof: an untouched lake verifies, and whatever is done to one is found and named.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tollgate_flush::keys::{KeySource, generate};
use tollgate_interaction::schema::Table;
use tollgate_interaction::{AccessEvent, ControlEvent, Governance, PriceCorrection, Usd};
use tollgate_lake::audit::{
    Disclosure, ProblemKind, Verification, VerifySettings, check_proof, prove, verify, verify_store,
};
use tollgate_lake::{Lake, Mode};

use crate::writer::{Process, eventually, interaction, open_store, open_wal};

/// A lake with some batches of calls and events, and the public key of its log.
struct Made {
    folder: tempfile::TempDir,
    key: String,
}

fn control(number: u64) -> Governance {
    Governance::Control(ControlEvent {
        event_id: format!("event-{number}"),
        at_us: crate::writer::STARTED_AT_US,
        tenant: "acme".into(),
        actor: "local".into(),
        action: "create_key".into(),
        subject: format!("key-{number}"),
        detail: String::new(),
    })
}

fn access(number: u64) -> Governance {
    Governance::Access(AccessEvent {
        event_id: format!("access-{number}"),
        at_us: crate::writer::STARTED_AT_US,
        tenant: "acme".into(),
        actor: "auditor".into(),
        action: "view".into(),
        subject: interaction(number).interaction_id.to_string(),
        purpose: "complaint 17".into(),
        rows: Some(1),
    })
}

async fn make() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), open_store(&folder.path().join("lake"))).await.unwrap();
    for round in 0..4 {
        process.record(round * 10 + 1..=round * 10 + 10).await;
        process.wal.appender().append_durable(&control(round).into()).await.unwrap();
        process.wal.appender().append_durable(&access(round * 10 + 1).into()).await.unwrap();
        let rows = 10 * (round + 1);
        eventually("rows are committed", || process.lake.snapshot().interactions.rows() == rows).await;
        eventually("events are committed", || process.lake.snapshot().access_events.rows() == round + 1).await;
    }
    let key = process.lake.proof().borrow().public_key.clone();
    process.stop().await;
    drop(wal);
    Made { folder, key }
}

impl Made {
    fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    async fn open(&self) -> Arc<Lake> {
        Lake::open(open_store(&self.lake()), Mode::ReadOnly).await.unwrap()
    }

    async fn verify_with(&self, older_checkpoint: Option<Bytes>) -> Verification {
        let settings = VerifySettings { keys: vec![self.key.clone()], older_checkpoint, policy: None };
        verify(self.open().await, settings).await.unwrap()
    }

    async fn verify(&self) -> Verification {
        self.verify_with(None).await
    }

    /// Demands that a problem of this kind names this.
    async fn assert_found(&self, kind: ProblemKind, named: &str) {
        let found = self.verify().await;
        assert!(!found.ok);
        let is_it = |problem: &&tollgate_lake::audit::Problem| problem.kind == kind && problem.subject.contains(named);
        assert!(found.problems.iter().any(|problem| is_it(&problem)), "{kind} {named}: {:#?}", found.problems);
    }

    /// Files of a table, in the order of their rows.
    fn files(&self, table: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.lake().join(table))
            .unwrap()
            .flat_map(|day| std::fs::read_dir(day.unwrap().path()).into_iter().flatten())
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
            .collect();
        files.sort_by_key(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let mut parts = name.split('.').skip(1).map(|part| part.parse::<u64>().unwrap_or(0));
            (parts.next(), parts.next())
        });
        files
    }

    /// Newest Delta commit of a table.
    fn last_commit(&self, table: &str) -> PathBuf {
        let mut commits: Vec<PathBuf> = std::fs::read_dir(self.lake().join(table).join("_delta_log"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        commits.sort();
        commits.pop().unwrap()
    }

    /// Rewrites a file with other rows, and the table's log with its new size, as somebody with all rights would.
    fn rewrite(&self, table: &str, file: &Path, change: impl Fn(RecordBatch) -> RecordBatch) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
        let schema = Arc::clone(reader.schema());
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let size_before = std::fs::metadata(file).unwrap().len();
        let mut content = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut content, schema, None).unwrap();
        for batch in batches {
            writer.write(&change(batch)).unwrap();
        }
        writer.close().unwrap();
        std::fs::write(file, &content).unwrap();
        self.edit_commits(table, |line| {
            let name = file.file_name().unwrap().to_str().unwrap();
            if line.contains(name) {
                Some(line.replace(&format!("\"size\":{size_before}"), &format!("\"size\":{}", content.len())))
            } else {
                Some(line.to_owned())
            }
        });
    }

    fn edit_commits(&self, table: &str, edit: impl Fn(&str) -> Option<String>) {
        let folder = self.lake().join(table).join("_delta_log");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(&path).unwrap();
                let edited: Vec<String> = text.lines().filter_map(&edit).collect();
                std::fs::write(&path, edited.join("\n")).unwrap();
            }
        }
    }
}

fn replaced(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[batch.schema().index_of(name).unwrap()] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn place_of(batch: &RecordBatch, row: usize) -> String {
    let seq = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().value(row);
    let writer = batch.column_by_name("writer").unwrap().as_string::<i32>().value(row);
    let epoch = batch.column_by_name("epoch").unwrap().as_primitive::<Int64Type>().value(row);
    format!("{writer}/{epoch}/{seq}")
}

fn first_batch(file: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    reader.build().unwrap().next().unwrap().unwrap()
}

/// The proof with another last byte in what opens a commitment.
fn with_forged_opening(proof: &str, part: &str, member: &str) -> String {
    let line = proof.lines().find_map(|line| line.strip_prefix("extra ")).unwrap();
    let mut extra: serde_json::Value = serde_json::from_slice(&BASE64_STANDARD.decode(line).unwrap()).unwrap();
    let mut bytes = BASE64_STANDARD.decode(extra[part][member].as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    extra[part][member] = BASE64_STANDARD.encode(bytes).into();
    proof.replace(line, &BASE64_STANDARD.encode(extra.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untouched_lake_verifies_and_each_of_its_records_can_be_proven_alone() {
    let made = make().await;
    let found = made.verify().await;
    assert!(found.ok, "{:#?}", found.problems);
    assert_eq!((found.records, found.payloads, found.uncovered_batches), (48, 40, 0));
    assert!(found.batches >= 4 && found.checkpoint_size == found.batches);
    let id = interaction(25).interaction_id;
    let all = Disclosure { personal: true, payload: true };
    let proof = prove(made.open().await, id, all).await.unwrap();
    let proven = check_proof(&proof, std::slice::from_ref(&made.key), None).unwrap();
    assert_eq!(proven.checkpoint_size, found.checkpoint_size);
    assert!(proven.record.windows(36).any(|bytes| bytes == id.to_string().as_bytes()));
    assert_eq!(
        (proven.interaction_id.as_str(), proven.personal, proven.content),
        (id.to_string().as_str(), true, true)
    );
    for (part, member) in [("payload", "cbor"), ("payload", "salt"), ("personal", "cbor"), ("personal", "salt")] {
        let forged = with_forged_opening(&proof, part, member);
        let refused = check_proof(&forged, std::slice::from_ref(&made.key), None).unwrap_err().to_string();
        assert!(refused.contains("committed to"), "{part} {member}: {refused}");
    }
    let bare = prove(made.open().await, id, Disclosure::default()).await.unwrap();
    let bare = check_proof(&bare, std::slice::from_ref(&made.key), None).unwrap();
    assert!(!bare.personal && !bare.content);
    let forged = proof.replace("index ", "index 1");
    assert!(check_proof(&forged, std::slice::from_ref(&made.key), None).is_err());
    assert!(check_proof(&proof, &[generate("tollgate.log/other").unwrap().public], None).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_byte_is_found_and_its_file_named() {
    let made = make().await;
    let file = made.files("interactions").remove(1);
    let mut content = std::fs::read(&file).unwrap();
    let middle = content.len() / 3;
    content[middle] ^= 1;
    std::fs::write(&file, content).unwrap();
    let found = made.verify().await;
    assert!(!found.ok);
    let name = file.file_name().unwrap().to_str().unwrap();
    let batch = name.split('.').take(4).collect::<Vec<_>>();
    let batch = format!("{}/{}/", batch[0], batch[1]);
    let named =
        |problem: &tollgate_lake::audit::Problem| problem.subject.contains(name) || problem.subject.contains(&batch);
    assert!(found.problems.iter().any(named), "{:#?}", found.problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changed_cost_is_found_and_its_record_named() {
    let made = make().await;
    let file = made.files("interactions").remove(1);
    let named = place_of(&first_batch(&file), 0);
    made.rewrite("interactions", &file, |batch| {
        let costs = batch.column_by_name("cost_usd").unwrap();
        let of_rows = costs.as_primitive::<Decimal128Type>();
        let changed = (0..batch.num_rows()).map(|row| if row == 0 { Some(1) } else { Some(of_rows.value(row)) });
        let changed: Decimal128Array = changed.collect();
        replaced(&batch, "cost_usd", Arc::new(changed.with_data_type(costs.data_type().clone())))
    });
    made.assert_found(ProblemKind::RecordChanged, &named).await;
    made.assert_found(ProblemKind::BatchRoot, "batch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_of_a_price_is_proven_as_a_call_is() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), open_store(&folder.path().join("lake"))).await.unwrap();
    process.record(1..=3).await;
    let call = interaction(2);
    let correction = PriceCorrection {
        event_id: "price-2".into(),
        at_us: crate::writer::STARTED_AT_US + 1,
        tenant: "acme".into(),
        actor: "local".into(),
        reason: "the catalogue was wrong".into(),
        interaction_id: call.interaction_id,
        call_started_at_us: call.started_at_us,
        team: call.team,
        old_cost_usd: None,
        new_cost_usd: Usd::new(2_500_000_000_001),
        price_id: "sandbox/small@2026-11-01".into(),
        catalog_id: "ab".repeat(32),
    };
    process.wal.appender().append_durable(&Governance::Price(correction).into()).await.unwrap();
    let is_committed = || process.lake.snapshot().files(Table::PriceCorrections).rows() == 1;
    eventually("the correction is committed", is_committed).await;
    let key = process.lake.proof().borrow().public_key.clone();
    process.stop().await;
    drop(wal);
    let made = Made { folder, key };
    let found = made.verify().await;
    assert!(found.ok, "{:#?}", found.problems);
    assert_eq!(found.records, 4);
    let file = made.files("price_corrections").remove(0);
    made.rewrite("price_corrections", &file, |batch| {
        let costs = batch.column_by_name("new_cost_usd").unwrap();
        let recorded = costs.as_primitive::<Decimal128Type>().value(0);
        assert_eq!(recorded, 2_500_000_000_001);
        let lower = Decimal128Array::from(vec![recorded - 1]).with_data_type(costs.data_type().clone());
        replaced(&batch, "new_cost_usd", Arc::new(lower))
    });
    made.assert_found(ProblemKind::RecordChanged, "price-2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_row_is_found_and_its_batch_named() {
    let made = make().await;
    let file = made.files("interactions").remove(2);
    let named = place_of(&first_batch(&file), 0);
    let writer_and_epoch = &named[..named.rfind('/').unwrap()];
    made.rewrite("interactions", &file, |batch| batch.slice(1, batch.num_rows() - 1));
    made.assert_found(ProblemKind::BatchRows, writer_and_epoch).await;
    made.assert_found(ProblemKind::PayloadChanged, &named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rows_that_changed_places_are_found_and_named() {
    let made = make().await;
    let file = made.files("interactions").remove(0);
    let (first, second) = (place_of(&first_batch(&file), 0), place_of(&first_batch(&file), 1));
    made.rewrite("interactions", &file, |batch| {
        let order =
            UInt32Array::from_iter_values([1, 0].into_iter().chain(2..u32::try_from(batch.num_rows()).unwrap()));
        let swapped = take_record_batch(&batch, &order).unwrap();
        // Each takes the other's number, so that the order of the log seems to be another.
        let seqs = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>();
        replaced(&swapped, "seq", Arc::new(Int64Array::from_iter_values(seqs.values().iter().copied())))
    });
    made.assert_found(ProblemKind::RecordChanged, &first).await;
    made.assert_found(ProblemKind::RecordChanged, &second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_dated_record_is_found_and_named() {
    let made = make().await;
    let file = made.files("interactions").remove(0);
    let named = place_of(&first_batch(&file), 2);
    made.rewrite("interactions", &file, |batch| {
        let times = batch.column_by_name("started_at").unwrap();
        let of_rows = times.as_primitive::<TimestampMicrosecondType>();
        let earlier = |row| of_rows.value(row) - if row == 2 { 3_600_000_000 } else { 0 };
        let changed = TimestampMicrosecondArray::from_iter_values((0..batch.num_rows()).map(earlier));
        replaced(&batch, "started_at", Arc::new(changed.with_timezone("UTC")))
    });
    made.assert_found(ProblemKind::RecordChanged, &named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_tail_is_found_and_named() {
    let made = make().await;
    let file = made.files("interactions").pop().unwrap();
    std::fs::remove_file(&file).unwrap();
    made.assert_found(ProblemKind::FileMissing, file.file_name().unwrap().to_str().unwrap()).await;
    made.assert_found(ProblemKind::BatchRows, "batch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_batch_is_found_and_named() {
    let made = make().await;
    let file = made.files("interactions").remove(1);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    made.edit_commits("interactions", |line| (!line.contains(&name)).then(|| line.to_owned()));
    let mut parts = name.split('.');
    let named = format!("{}/{}", parts.next().unwrap(), parts.next().unwrap());
    made.assert_found(ProblemKind::BatchRows, &named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_rolled_back_is_found() {
    let made = make().await;
    std::fs::remove_file(made.last_commit("interactions")).unwrap();
    made.assert_found(ProblemKind::TableBehind, "interactions").await;
    made.assert_found(ProblemKind::BatchRows, "batch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_checkpoint_is_found_whoever_signed_it() {
    let made = make().await;
    let path = made.lake().join("log/checkpoint");
    let newest = std::fs::read_to_string(&path).unwrap();
    // One of another log.
    let other = make().await;
    std::fs::copy(other.lake().join("log/checkpoint"), &path).unwrap();
    made.assert_found(ProblemKind::CheckpointOrigin, "log/checkpoint").await;
    // One of another size that nobody signed.
    let size = newest.lines().nth(1).unwrap();
    std::fs::write(&path, newest.replacen(&format!("\n{size}\n"), "\n1\n", 1)).unwrap();
    made.assert_found(ProblemKind::CheckpointSignature, "log/checkpoint").await;
    std::fs::remove_file(&path).unwrap();
    made.assert_found(ProblemKind::CheckpointBehind, "log/checkpoint").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_checkpoint_put_back_is_found_and_one_kept_elsewhere_must_be_continued() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), open_store(&folder.path().join("lake"))).await.unwrap();
    let path = folder.path().join("lake/log/checkpoint");
    process.record(1..=10).await;
    eventually("a checkpoint is published", || path.exists()).await;
    let older = std::fs::read(&path).unwrap();
    for round in 1..=3 {
        process.record(round * 10 + 1..=round * 10 + 10).await;
        eventually("rows are committed", || process.lake.snapshot().interactions.rows() == (round + 1) * 10).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let key = process.lake.proof().borrow().public_key.clone();
    process.stop().await;
    let made = Made { folder, key };
    assert!(made.verify_with(Some(older.clone().into())).await.ok, "the log continues it");
    let other = make().await;
    let foreign = std::fs::read(other.lake().join("log/checkpoint")).unwrap();
    let found = made.verify_with(Some(foreign.into())).await;
    assert!(!found.ok && found.problems[0].subject == "the older checkpoint", "{:?}", found.problems);
    let newest = std::fs::read(&path).unwrap();
    std::fs::write(&path, older).unwrap();
    let found = made.verify_with(Some(newest.into())).await;
    let is_told = |problem: &tollgate_lake::audit::Problem| problem.subject == "the older checkpoint";
    assert!(found.problems.iter().any(is_told), "one that was kept shows it: {:?}", found.problems);
    made.assert_found(ProblemKind::CheckpointBehind, "log/checkpoint").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_says_it_is_older_than_the_proofs_is_not_believed() {
    let made = make().await;
    let file = made.files("interactions").remove(0);
    made.rewrite("interactions", &file, |batch| {
        let old = batch.slice(0, 1);
        let old = replaced(&old, "schema_version", Arc::new(Int32Array::from(vec![1])));
        let old = replaced(&old, "seq", Arc::new(Int64Array::from(vec![9_999])));
        // The calls of this lake are made up and older than its batches.
        let later = TimestampMicrosecondArray::from(vec![2_000_000_000_000_000]).with_timezone("UTC");
        let old = replaced(&old, "started_at", Arc::new(later));
        concat_batches(&batch.schema(), [&batch, &old]).unwrap()
    });
    made.assert_found(ProblemKind::RecordUnbatched, "/9999 (").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_its_first_commits_is_found_and_named() {
    let made = make().await;
    let log = made.lake().join("interactions/_delta_log");
    std::fs::remove_file(log.join("00000000000000000001.json")).unwrap();
    let settings = || VerifySettings { keys: vec![made.key.clone()], ..VerifySettings::default() };
    let found = verify_store(open_store(&made.lake()), settings()).await.unwrap();
    assert_eq!((found.ok, found.problems[0].kind), (false, ProblemKind::TableUnreadable), "{:?}", found.problems);
    assert!(found.problems[0].detail.contains("interactions/_delta_log"), "{}", found.problems[0].detail);
    std::fs::remove_dir_all(made.lake().join("interactions")).unwrap();
    let found = verify_store(open_store(&made.lake()), settings()).await.unwrap();
    assert_eq!((found.ok, found.problems[0].kind), (false, ProblemKind::TableUnreadable), "{:?}", found.problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_committed_after_a_version_that_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let wal = open_wal(folder.path());
    let process = Process::start(&wal, folder.path(), open_store(&folder.path().join("lake"))).await.unwrap();
    process.record(1..=10).await;
    eventually("rows are committed", || process.lake.snapshot().interactions.rows() == 10).await;
    let key = process.lake.proof().borrow().public_key.clone();
    let made = Made { folder, key };
    let (newest, aside) = (made.last_commit("interactions"), made.folder.path().join("aside"));
    std::fs::rename(&newest, &aside).unwrap();
    process.record(11..=20).await;
    let trouble = process.lake.trouble();
    let name = newest.file_name().unwrap().to_str().unwrap();
    eventually("it is told", || trouble.borrow().error.as_ref().is_some_and(|error| error.contains(name))).await;
    assert_eq!(process.lake.snapshot().interactions.rows(), 10);
    std::fs::rename(&aside, &newest).unwrap();
    eventually("the rows are committed", || process.lake.snapshot().interactions.rows() == 20).await;
    process.stop().await;
    assert!(made.verify().await.ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_content_and_missing_content_are_found_and_named() {
    let made = make().await;
    let file = made.files("payloads").remove(0);
    let named = place_of(&first_batch(&file), 4);
    made.rewrite("payloads", &file, |batch| {
        let bodies = batch.column_by_name("response_body").unwrap().as_binary::<i32>();
        let changed = (0..batch.num_rows()).map(|row| if row == 4 { b"[]".as_slice() } else { bodies.value(row) });
        replaced(&batch, "response_body", Arc::new(arrow::array::BinaryArray::from_iter_values(changed)))
    });
    made.assert_found(ProblemKind::PayloadChanged, &named).await;
    made.rewrite("payloads", &file, |batch| batch.slice(0, 4));
    made.assert_found(ProblemKind::PayloadMissing, &named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_entry_of_the_log_is_found_and_named() {
    let made = make().await;
    let folder = made.lake().join("log/tile/entries/000.p");
    let newest = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let newest = newest.max_by_key(|path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap()).unwrap();
    let content = std::fs::read(&newest).unwrap();
    let at = content.windows(5).position(|bytes| bytes == b"rows ").unwrap() + 5;
    let mut changed = content.clone();
    changed[at] = if changed[at] == b'9' { b'8' } else { changed[at] + 1 };
    std::fs::write(&newest, changed).unwrap();
    made.assert_found(ProblemKind::HeaderSignature, "entry 0").await;
    made.assert_found(ProblemKind::TreeRoot, "log/checkpoint").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_is_followed_from_the_old_one() {
    let made = make().await;
    let spool = made.folder.path().join("spool");
    KeySource::File(spool.join("log.key")).rotate().unwrap();
    KeySource::File(spool.join("writer.key")).rotate().unwrap();
    let wal = open_wal(made.folder.path());
    let process = Process::start(&wal, made.folder.path(), open_store(&made.lake())).await.unwrap();
    process.record(41..=50).await;
    eventually("rows are committed", || process.lake.snapshot().interactions.rows() == 50).await;
    let key = process.lake.proof().borrow().public_key.clone();
    process.stop().await;
    assert_ne!(key, made.key);
    let found = made.verify().await;
    assert!(found.ok, "with the old key: {:#?}", found.problems);
    assert_eq!(found.records, 58);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_signed_over_a_log_that_somebody_changed() {
    let made = make().await;
    let path = made.lake().join("log/checkpoint");
    let other = make().await;
    std::fs::copy(other.lake().join("log/checkpoint"), &path).unwrap();
    let foreign = std::fs::read(&path).unwrap();
    let wal = open_wal(made.folder.path());
    let process = Process::start(&wal, made.folder.path(), open_store(&made.lake())).await.unwrap();
    process.record(41..=50).await;
    eventually("rows are committed all the same", || process.lake.snapshot().interactions.rows() == 50).await;
    eventually("the problem is told", || process.lake.proof().borrow().problem.is_some()).await;
    let problem = process.lake.proof().borrow().problem.clone().unwrap();
    assert!(problem.contains("log/checkpoint") && problem.contains("origin"), "{problem}");
    assert_eq!(std::fs::read(&path).unwrap(), foreign, "nothing is overwritten");
    // A checkpoint that is merely gone is put back: this machine knows what it signed.
    std::fs::remove_file(&path).unwrap();
    eventually("the checkpoint is back", || path.exists()).await;
    process.stop().await;
    let found = made.verify().await;
    assert!(found.ok, "{:#?}", found.problems);
}
