//! A real log in a temporary folder: rows in memory, a store on disk, a lake over it. Shared by the tests of analytics,
//! search and evidence.

use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use tollgate_flush::hot::{HotBuffer, HotRow};
use tollgate_flush::inbox::{self, Manifest};
use tollgate_flush::parquet_file::{self, BuiltFile, Table};
use tollgate_flush::store::{self, StoreOptions};
use tollgate_interaction::{
    Attempt, CostSource, Decision, EventId, Interaction, InteractionId, Outcome, Payload, Reason, Usage, UsageSource,
    Usd,
};
use tollgate_lake::{Lake, Mode};

/// 2026-11-23 10:00 UTC.
pub(crate) const MORNING_US: i64 = 1_795_428_000_000_000;

pub(crate) struct TestLog {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) lake: Arc<Lake>,
    pub(crate) hot: Arc<HotBuffer>,
}

impl TestLog {
    pub(crate) async fn new() -> TestLog {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}", dir.path().join("lake").display());
        let store = store::open(&url, &StoreOptions::default()).unwrap();
        let lake = Lake::open(store, Mode::Committer).await.unwrap();
        TestLog { dir, lake, hot: HotBuffer::new() }
    }

    /// Calls settle: they are in memory.
    pub(crate) fn settle(&self, rows: Vec<HotRow>) {
        self.hot.push(rows);
    }

    /// Everything in memory from `first_seq` to `last_seq` is written and committed; memory still holds it.
    pub(crate) async fn commit(&self, first_seq: u64, last_seq: u64) {
        let writer: tollgate_interaction::WriterId = "gw".parse().unwrap();
        let of_range = |batch: &arrow::array::RecordBatch| rows_between(batch, first_seq, last_seq);
        let chunks = self.hot.snapshot().chunks;
        let facts: Vec<_> = chunks.iter().map(|chunk| of_range(&chunk.batches.interactions)).collect();
        let payloads: Vec<_> = chunks.iter().map(|chunk| of_range(&chunk.batches.payloads)).collect();
        let name = inbox::file_stem(&writer, 1, first_seq, last_seq);
        let facts = parquet_file::build(Table::Interactions, &facts, &name).unwrap();
        let payloads = parquet_file::build(Table::Payloads, &payloads, &name).unwrap();
        self.put(Table::Payloads, &payloads).await;
        self.put(Table::Interactions, &facts).await;
        let listed = |files: &[BuiltFile]| files.iter().map(|file| file.listed.clone()).collect();
        let manifest = Manifest {
            format: inbox::FORMAT,
            nonce: format!("nonce-{first_seq}"),
            writer,
            epoch: 1,
            first_seq,
            last_seq,
            created_at_us: MORNING_US,
            // Of a writer that made no proofs: this crate's tests are about reading.
            schema_version: 1,
            interactions: listed(&facts),
            payloads: listed(&payloads),
            control_events: Vec::new(),
            access_events: Vec::new(),
            log_gaps: Vec::new(),
            price_corrections: Vec::new(),
            feedback: Vec::new(),
            header: None,
        };
        let content = serde_json::to_vec(&manifest).unwrap();
        self.lake.store().object_store.put(&manifest.path(), content.into()).await.unwrap();
        // What comes after a gap waits until the gap has lasted a while.
        let mut committed = 0;
        for _ in 0..100 {
            let report = self.lake.commit_inbox().await.unwrap();
            assert_eq!(report.rejected, 0, "{report:?}");
            committed += report.manifests;
            if committed > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(committed, 1, "rows {first_seq} to {last_seq}");
    }

    /// Memory forgets what the lake has.
    pub(crate) fn forget_committed(&self) {
        self.hot.drop_committed(&self.lake.snapshot().watermarks);
    }

    async fn put(&self, table: Table, files: &[BuiltFile]) {
        for file in files {
            let path = Path::from(format!("{}/{}", table.folder(), file.listed.path));
            self.lake.store().object_store.put(&path, file.content.clone().into()).await.unwrap();
        }
    }
}

fn rows_between(batch: &arrow::array::RecordBatch, first_seq: u64, last_seq: u64) -> arrow::array::RecordBatch {
    use arrow::array::AsArray;
    let seqs = batch.column_by_name("seq").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
    let from = seqs.values().partition_point(|seq| *seq < first_seq as i64);
    let to = seqs.values().partition_point(|seq| *seq <= last_seq as i64);
    batch.slice(from, to - from)
}

/// The bodies are the conversation already.
pub(crate) fn transcribe(request: &[u8], response: &[u8]) -> Vec<(String, String)> {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    vec![("user".to_owned(), text(request)), ("assistant".to_owned(), text(response))]
}

/// Call number `seq`, a millisecond after the one before it.
pub(crate) fn call(seq: u64) -> HotRow {
    let started_at_us = MORNING_US + seq as i64 * 1_000;
    let mut random = [0; 10];
    random[2..].copy_from_slice(&seq.to_be_bytes());
    let cost = Usd::new(1_500_000_000);
    HotRow {
        id: EventId { writer: "gw".parse().unwrap(), epoch: 1, seq },
        needs_log_from: (1, seq),
        interaction: Interaction {
            interaction_id: InteractionId::new(started_at_us as u64 / 1_000, &random),
            started_at_us,
            ended_at_us: started_at_us + 250_000,
            tenant: "acme".into(),
            team: if seq.is_multiple_of(2) { "red".into() } else { "kyc".into() },
            api_key_id: Some("key-1".into()),
            model_requested: "assistant".into(),
            model_served: Some("small".into()),
            provider: Some("sandbox".into()),
            policy_bundle_hash: Some("ab".repeat(32)),
            decision_reasons: vec![Reason {
                rule: "default".into(),
                effect: "allow".into(),
                detail: "every known key may call".into(),
            }],
            attempts: vec![Attempt {
                provider: "sandbox".into(),
                model: "small".into(),
                http_status: Some(200),
                error_class: None,
                started_at_us,
                duration_us: 250_000,
                input_tokens: Some(10),
                output_tokens: Some(20),
                cost_usd: Some(cost),
            }],
            outcome: Outcome::Success,
            http_status: Some(200),
            finish_reasons: vec!["stop".into()],
            latency_us: 250_000 + seq,
            ttft_us: Some(100_000),
            gateway_overhead_us: Some(40),
            usage: Usage { input_tokens: Some(10), output_tokens: Some(20), ..Usage::default() },
            usage_source: UsageSource::Provider,
            cost_usd: Some(cost),
            cost_source: CostSource::Catalog,
            request_bytes: 5,
            response_bytes: 6,
            tags: vec![("feature".into(), "chat".into())],
            ..Interaction::blank()
        },
        request: Payload {
            content_type: "application/json".into(),
            body: format!("question {seq}").into_bytes().into(),
        },
        response: Payload {
            content_type: "application/json".into(),
            body: format!("answer {seq}").into_bytes().into(),
        },
        salt: [5; 32],
    }
}

pub(crate) fn calls(seqs: std::ops::RangeInclusive<u64>) -> Vec<HotRow> {
    seqs.map(call).collect()
}

/// A call that policy refused.
pub(crate) fn denied(seq: u64) -> HotRow {
    let mut row = call(seq);
    row.interaction.outcome = Outcome::Denied;
    row.interaction.decision = Decision::Deny;
    row.interaction.http_status = Some(403);
    row.interaction.error_type = Some("budget_exceeded".into());
    row.interaction.decision_reasons = vec![Reason {
        rule: "budgets/kyc".into(),
        effect: "deny".into(),
        detail: "team `kyc` has spent 100.00 of 100.00 USD".into(),
    }];
    row.interaction.provider = None;
    row.interaction.model_served = None;
    row.interaction.attempts.clear();
    row.interaction.cost_usd = None;
    row.interaction.usage = Usage::default();
    row.interaction.usage_source = UsageSource::None;
    row
}
