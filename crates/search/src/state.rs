//! The index in a form that can be compared: tantivy's segments depend on when documents came and were merged, so two
//! indexes of the same calls have different bytes. What must be equal is which calls they hold and every field of each.
//! The documents of an index and those made anew from the lake go through the same digest.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tantivy::TantivyDocument;
use tantivy::schema::{Field, Value};
use tollgate_interaction::schema::Transcribe;
use tollgate_lake::{Lake, day_text};

use crate::cells;
use crate::error::SearchError;
use crate::fields::Fields;
use crate::index::Search;
use crate::lake_rows::Rows;

const US_PER_DAY: i64 = 86_400_000_000;

/// Everything that is in an index, as far as it can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexState {
    /// Last sequence number that is covered, by `writer/epoch`.
    pub watermarks: BTreeMap<String, u64>,
    /// As JSON, sorted. Of all days: `["calls", day, count, digest]`, with the digest of that day's lines. Of one day:
    /// `["call", id, digest]` for each of its calls.
    pub lines: Vec<String>,
}

/// Calls by UTC day (days since 1970): id and digest.
type Digests = BTreeMap<i32, Vec<(String, [u8; 32])>>;

impl Search {
    /// What the index holds now, of one UTC day or of all of them. `None` while it is catching up with the lake: then no
    /// watermark says what it holds. Reads every document; blocks.
    ///
    /// # Errors
    /// [`SearchError::Index`] if the index cannot be read.
    pub fn state(&self, day: Option<&str>) -> Result<Option<IndexState>, SearchError> {
        let opened = self.opened();
        let (progress, searcher) = opened.at_rest();
        if progress.is_catching_up() {
            return Ok(None);
        }
        let mut digests = Digests::new();
        for segment in searcher.segment_readers() {
            // Few blocks are kept: every document is read once, one after the other.
            let store = segment.get_store_reader(2).map_err(tantivy::TantivyError::from)?;
            for document in store.iter::<TantivyDocument>(segment.alive_bitset()) {
                add(&document?, &opened.fields, &mut digests);
            }
        }
        Ok(Some(IndexState { watermarks: progress.watermarks().clone(), lines: lines(digests, day) }))
    }

    /// What an index of the rows in the lake would hold: of those that the watermarks (`writer/epoch`) cover, or of all.
    /// Nothing but the lake is read.
    ///
    /// # Errors
    /// [`SearchError::Lake`] or [`SearchError::Column`] if the lake cannot be read.
    #[must_use]
    pub fn state_of_lake(
        lake: Arc<Lake>,
        transcribe: Transcribe,
        up_to: Option<BTreeMap<String, u64>>,
        day: Option<String>,
    ) -> BoxFuture<'static, Result<IndexState, SearchError>> {
        async move {
            let snapshot = lake.snapshot();
            let named = |((writer, epoch), seq): (&(_, u64), &u64)| (place(writer, *epoch), *seq);
            let watermarks = up_to.unwrap_or_else(|| snapshot.watermarks.iter().map(named).collect());
            let (_, fields) = Fields::build();
            let mut digests = Digests::new();
            for file in &snapshot.payloads.files {
                if day.as_ref().is_some_and(|day| *day != day_text(file.day)) {
                    continue;
                }
                let covered = |writer: &str, epoch| (0, watermarks.get(&place(&writer, epoch)).copied().unwrap_or(0));
                let mut rows = Rows::new(&lake, &snapshot, file, covered);
                while let Some((batch, facts)) = rows.next().await? {
                    for document in cells::documents(&batch, &file.path, &facts, covered, transcribe, &fields)? {
                        add(&document, &fields, &mut digests);
                    }
                    // Digesting is work for the processor: others get their turn after each batch.
                    tokio::task::yield_now().await;
                }
            }
            Ok(IndexState { lines: lines(digests, day.as_deref()), watermarks })
        }
        .boxed()
    }
}

fn place(writer: &dyn std::fmt::Display, epoch: u64) -> String {
    format!("{writer}/{epoch}")
}

fn add(document: &TantivyDocument, fields: &Fields, digests: &mut Digests) {
    let started_at_us = document.get_first(fields.started_at).and_then(|value| value.as_i64()).unwrap_or_default();
    let id = document.get_first(fields.interaction_id).and_then(|value| value.as_str()).unwrap_or_default();
    let day = i32::try_from(started_at_us.div_euclid(US_PER_DAY)).unwrap_or_default();
    digests.entry(day).or_default().push((id.to_owned(), digest(document, fields, started_at_us)));
}

/// Over every field with its values in order, each with its length before it.
fn digest(document: &TantivyDocument, fields: &Fields, started_at_us: i64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(started_at_us.to_be_bytes());
    let texts: [Field; 8] = [
        fields.interaction_id,
        fields.tenant,
        fields.team,
        fields.model,
        fields.provider,
        fields.outcome,
        fields.role,
        fields.body,
    ];
    for field in texts {
        let values: Vec<&str> = document.get_all(field).filter_map(|value| value.as_str()).collect();
        hash.update((values.len() as u64).to_be_bytes());
        for value in values {
            hash.update((value.len() as u64).to_be_bytes());
            hash.update(value.as_bytes());
        }
    }
    hash.finalize().into()
}

fn lines(digests: Digests, day: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    for (of, mut calls) in digests {
        calls.sort_unstable();
        let of_calls = calls.iter().map(|(id, digest)| serde_json::json!(["call", id, hex(digest)]).to_string());
        let of = day_text(of);
        match day {
            Some(day) if *day == of => lines.extend(of_calls),
            Some(_) => {}
            None => {
                let mut hash = Sha256::new();
                of_calls.for_each(|line| {
                    hash.update(line.as_bytes());
                    hash.update(b"\n");
                });
                let digest = hex(&hash.finalize());
                lines.push(serde_json::json!(["calls", of, calls.len(), digest]).to_string());
            }
        }
    }
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
