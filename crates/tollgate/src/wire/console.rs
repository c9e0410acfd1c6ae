//! What the console is told by the parts it does not link: the gateway, the log, the hot rows, the lake.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_console::budgets::BudgetBooks;
use tollgate_console::shell::Books;
use tollgate_console::state::{Instruments, Sample, SampleKind};
use tollgate_flush::flusher::FlushStatus;
use tollgate_flush::hot::HotBuffer;
use tollgate_gateway::Gateway;
use tollgate_interaction::Outcome;
use tollgate_lake::Lake;
use tollgate_policy::route::ModelsSnapshot;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_search::Search;
use tollgate_wal::Wal;

use super::budgets::BudgetWatch;
use super::policy_file::Refusal;
use super::replicas::NodeReplicas;

/// The instruments of a running node.
pub(super) struct NodeInstruments {
    pub(super) gateway: Arc<Gateway>,
    pub(super) wal: Arc<Wal>,
    pub(super) hot: Arc<HotBuffer>,
    pub(super) flush: watch::Receiver<FlushStatus>,
    pub(super) lake: Arc<Lake>,
    pub(super) search: Arc<Search>,
    pub(super) signals: Arc<ArcSwap<SignalsSnapshot>>,
    pub(super) budgets: Arc<BudgetWatch>,
    pub(super) replicas: Arc<NodeReplicas>,
    pub(super) policy_refusals: [Refusal; 2],
    /// Models that a client may name, the best for a first try first.
    pub(super) models: Vec<String>,
    /// Of these, aliases that leave out what a format cannot express.
    pub(super) tolerant_models: Vec<String>,
    /// Providers that list no models.
    pub(super) open_providers: Vec<String>,
}

impl Instruments for NodeInstruments {
    fn books(&self) -> Option<Books> {
        let snapshot = self.lake.snapshot();
        Some(Books {
            lake_version: snapshot.interactions.version,
            hot_rows: self.hot.snapshot().after(&snapshot.watermarks).rows() as u64,
            dropped: self.wal.status().dropped,
        })
    }

    fn samples(&self) -> Vec<Sample> {
        let mut samples = self.gateway_samples();
        samples.extend(self.log_samples());
        samples.extend(self.lake_samples());
        samples
    }

    fn signals(&self) -> Option<Arc<SignalsSnapshot>> {
        Some(self.signals.load_full())
    }

    fn routing(&self) -> Option<ModelsSnapshot> {
        Some(self.gateway.models())
    }

    fn tolerant_models(&self) -> Vec<String> {
        self.tolerant_models.clone()
    }

    fn models(&self) -> Vec<String> {
        self.models.clone()
    }

    fn budgets(&self) -> Option<BudgetBooks> {
        Some(self.budgets.books())
    }

    fn budget_trouble(&self) -> Option<String> {
        self.budgets.trouble()
    }

    fn alarms(&self) -> Vec<String> {
        let refusals = self.policy_refusals.iter().filter_map(|refusal| refusal.lock().clone());
        self.replicas.alarms().into_iter().chain(refusals).collect()
    }

    fn open_providers(&self) -> Vec<String> {
        self.open_providers.clone()
    }
}

impl NodeInstruments {
    fn gateway_samples(&self) -> Vec<Sample> {
        let stats = self.gateway.stats();
        let by_outcome = Outcome::ALL.iter().zip(stats.calls_by_outcome).map(|(outcome, calls)| Sample {
            labels: vec![("outcome", outcome.to_string())],
            ..counter("tollgate_gateway_calls_total", "Calls settled since the start, by outcome", calls)
        });
        let mut samples: Vec<Sample> = by_outcome.collect();
        samples.push(counter(
            "tollgate_gateway_calls_unpriced_total",
            "Calls settled since the start that reached a provider and have no known cost",
            stats.calls_unpriced,
        ));
        samples.push(counter(
            "tollgate_gateway_shadows_left_out_total",
            "Copies of calls that were not made because too many were under way",
            stats.shadows_left_out,
        ));
        let judged =
            [("known", stats.feedback_known), ("unsure", stats.feedback_unsure), ("refused", stats.feedback_refused)];
        samples.extend(judged.into_iter().map(|(call, judgements)| Sample {
            labels: vec![("call", call.to_owned())],
            ..counter(
                "tollgate_feedback_total",
                "Judgements since the start by their call: known here, not to be told here, or refused as there is none",
                judgements,
            )
        }));
        samples.extend(self.cache_samples());
        samples.push(gauge("tollgate_gateway_calls_in_flight", "Calls not settled yet", stats.calls_in_flight));
        samples.push(gauge(
            "tollgate_sidecars_on_another_bundle",
            "Sidecars that cannot decide by the active bundle and say so",
            self.replicas.troubled(),
        ));
        samples.push(gauge("tollgate_lease_holders", "Gateways that hold slices of budgets", self.replicas.holders()));
        samples.push(gauge(
            "tollgate_ledger_unavailable",
            "1 while the ledger that gateways share cannot be reached",
            u64::from(self.gateway.ledger_trouble().is_some()),
        ));
        samples.push(gauge("tollgate_gateway_connections", "Connections of clients", stats.connections));
        samples
    }

    fn cache_samples(&self) -> Vec<Sample> {
        let cache = self.gateway.cache_stats();
        let asked = [
            ("hit", cache.exact_hits),
            ("semantic", cache.semantic_hits),
            ("miss", cache.misses),
            ("bypass", cache.bypassed),
        ];
        let mut samples: Vec<Sample> = asked
            .into_iter()
            .map(|(result, calls)| Sample {
                labels: vec![("result", result.to_owned())],
                ..counter("tollgate_cache_calls_total", "Calls whose route keeps answers, by what they found", calls)
            })
            .collect();
        samples.extend([
            gauge("tollgate_cache_answers", "Answers kept to be given again", cache.entries),
            gauge("tollgate_cache_taken_bytes", "What they take, as counted against the bound", cache.taken_bytes),
            gauge("tollgate_cache_max_bytes", "The bound", cache.max_bytes),
            counter("tollgate_cache_stored_total", "Answers written down", cache.stored),
            counter("tollgate_cache_evicted_total", "Answers that made room for others", cache.evicted),
            counter(
                "tollgate_cache_not_stored_total",
                "Answers that could not be kept because the disk did not keep up or could not be used",
                cache.not_stored,
            ),
            counter("tollgate_cache_damaged_total", "Answers and files found damaged", cache.damaged),
            gauge(
                "tollgate_cache_trouble",
                "1 while answers cannot be kept, or not be given again; `tollgate cache status` says why",
                u64::from(cache.trouble.is_some() || !cache.is_usable),
            ),
            counter("tollgate_cache_failures_total", "Times that the disk failed or took too long", cache.failures),
            counter(
                "tollgate_cache_embedding_failures_total",
                "Questions whose meaning could not be had from the embedding model",
                cache.embedding_failures,
            ),
        ]);
        samples
    }

    fn log_samples(&self) -> Vec<Sample> {
        let wal = self.wal.status();
        vec![
            gauge("tollgate_wal_size_bytes", "Disk space of the write-ahead log", wal.size_bytes),
            gauge("tollgate_wal_quota_bytes", "Disk space it may take", wal.quota_bytes),
            gauge("tollgate_wal_unsynced_bytes", "Bytes written and not known to be on the disk", wal.unsynced_bytes),
            counter(
                "tollgate_wal_dropped_total",
                "Events lost because the operator lets the log fail open",
                wal.dropped,
            ),
            gauge("tollgate_wal_failed", "1 once the log takes no more events", u64::from(wal.failure.is_some())),
        ]
    }

    fn lake_samples(&self) -> Vec<Sample> {
        let flush = self.flush.borrow().clone();
        let snapshot = self.lake.snapshot();
        vec![
            gauge("tollgate_hot_size_bytes", "Memory of the rows on their way to the lake", self.hot.bytes() as u64),
            gauge("tollgate_flush_waiting_rows", "Rows not handed over to the store yet", flush.waiting_rows),
            counter("tollgate_flush_manifests_total", "Manifests put since the start", flush.manifests),
            counter(
                "tollgate_flush_interrupted_total",
                "Calls found in flight by replay at the start",
                flush.interrupted,
            ),
            counter("tollgate_flush_gaps_total", "Places of the log that could not be read", flush.gaps),
            gauge(
                "tollgate_flush_failing",
                "1 while the store does not take hand-overs",
                u64::from(flush.last_error.is_some()),
            ),
            gauge("tollgate_lake_version", "Version of the interactions table", snapshot.interactions.version),
            gauge("tollgate_lake_rows", "Rows of the interactions table", snapshot.interactions.rows()),
            gauge("tollgate_search_documents", "Calls in the search index", self.search.status().documents),
        ]
    }
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Sample {
    // Exact up to 2⁵³, which no gauge here reaches.
    Sample { name, help, kind: SampleKind::Gauge, labels: Vec::new(), value: value as f64 }
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Sample {
    Sample { kind: SampleKind::Counter, ..gauge(name, help, value) }
}
